/* degradation.c - a chain of operators as one: forward, adjoint and derivative are compositions; how a spec becomes
 * one, and latino.h on pictures. */
#include <math.h>
#include <string.h>

#include "degrade.h"

#define ROW(id) extern const ltn_degradation_row ltn__degradation_##id;
#include "degradation.def"
#undef ROW
#define ROW(id) &ltn__degradation_##id,
static const ltn_degradation_row *const rows[] = {
#include "degradation.def"
};
#undef ROW

const ltn_degradation_row *ltn__degradation_row(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

const ltn_entry *ltn__degradation_entry(int i)
{
    const ltn_degradation_row *r = ltn__degradation_row(i);
    return r ? &r->entry : NULL;
}

/* ---- The chain ---- */
static void forward(const ltn_degradation *d, const float *x, float *y)
{
    for (int i = 0; i < d->n; i++) {
        float *to = i + 1 < d->n ? d->between[i % 2] : y;
        d->part[i].map.forward(&d->part[i], x, to);
        x = to;
    }
}

/* x in [0, 1], where the parts that are not linear want it. */
static const float *unit(const ltn_degradation *d, const float *x)
{
    if (d->linear || !d->is_signed) return x;
    for (size_t i = 0; i < ltn__size_count(d->x); i++) d->point[0][i] = (x[i] + 1) / 2;
    return d->point[0];
}

static void times(float factor, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] *= factor;
}

ltn_degradation ltn__signed(const ltn_degradation *d)
{
    ltn_degradation s = *d;
    s.is_signed = true;
    return s;
}

ltn_status ltn__linear_needed(const ltn_degradation *d, const char *who)
{
    if (d->linear) return LTN_OK;
    return ltn__fail(d->ctx, LTN_EINVAL, "%s needs a linear degradation, and \"%s\" is none", who, d->spec);
}

void ltn__forward(const ltn_degradation *d, const float *x, float *y)
{
    forward(d, unit(d, x), y);
    if (!d->linear && d->is_signed) times(2, y, ltn__size_count(d->y));
    ltn__lost(d, y);
}

void ltn__adjoint(const ltn_degradation *d, const float *y, float *x)
{
    for (int i = d->n - 1; i >= 0; i--) {
        float *to = i ? d->between[i % 2] : x;
        d->part[i].map.adjoint(&d->part[i], y, to);
        y = to;
    }
}

/* y is 2 y there if d is for [-1, 1]: halved for the row, and r doubled. */
void ltn__misfit(const ltn_degradation *d, const float *y, const float *x, float *r)
{
    const ltn_operator *last = &d->part[d->n - 1];
    const size_t m = ltn__size_count(d->y);
    if (!last->map.misfit) {
        ltn__forward(d, x, r);
        for (size_t i = 0; i < m; i++) r[i] -= y[i];
        return;
    }
    x = unit(d, x);
    for (int i = 0; i + 1 < d->n; x = d->between[i++ % 2])
        d->part[i].map.forward(&d->part[i], x, d->between[i % 2]);
    for (size_t i = 0; i < m; i++) d->half[i] = d->is_signed ? y[i] / 2 : y[i];
    last->map.misfit(last, d->half, x, r);
    if (d->is_signed) times(2, r, m);
}

/* Both factors 2 of [-1, 1] cancel. */
void ltn__vjp(const ltn_degradation *d, const float *x, const float *y, float *out)
{
    if (d->linear) {
        ltn__adjoint(d, y, out);
        return;
    }
    const float *at[LTN_CHAIN] = {unit(d, x)};
    for (int i = 0; i + 1 < d->n; i++) {
        d->part[i].map.forward(&d->part[i], at[i], d->point[i + 1]);
        at[i + 1] = d->point[i + 1];
    }
    for (int i = d->n - 1; i >= 0; i--) {
        const ltn_operator *op = &d->part[i];
        float *to = i ? d->between[i % 2] : out;
        if (op->map.nonlinear) op->map.vjp(op, at[i], y, to);
        else op->map.adjoint(op, y, to);
        y = to;
    }
}

void ltn__naive(const ltn_degradation *d, const float *y, float *x)
{
    const bool shift = !d->linear && d->is_signed;
    for (size_t i = 0; shift && i < ltn__size_count(d->y); i++) d->half[i] = y[i] / 2;
    if (shift) y = d->half;
    for (int i = d->n - 1; i >= 0; i--) {
        const ltn_operator *op = &d->part[i];
        float *to = i ? d->between[i % 2] : x;
        if (op->map.naive) op->map.naive(op, y, to);
        else memcpy(to, y, ltn__size_count(op->x) * sizeof *to);
        y = to;
    }
    for (size_t i = 0; shift && i < ltn__size_count(d->x); i++) x[i] = 2 * x[i] - 1;
}

size_t ltn__measured(const ltn_degradation *d, float *y)
{
    const ltn_operator *last = &d->part[d->n - 1];
    const size_t n = last->map.measured ? last->map.measured(last, y) : ltn__size_count(d->y);
    return n - ltn__lost(d, y);
}

void ltn__to_signed(const ltn_degradation *d, const float *y, float *out)
{
    const size_t n = ltn__size_count(d->y);
    for (size_t i = 0; i < n; i++) out[i] = 2 * y[i] - d->one[i];
    ltn__measured(d, out);
}

/* ---- Opening ---- */
static ltn_status parse(ltn_ctx *ctx, const char *text, ltn_arena *arena, ltn_spec *spec, int *n)
{
    const char *part[LTN_CHAIN];
    if (!text) return ltn__fail(ctx, LTN_EINVAL, "no degradation given");
    *n = ltn__spec_split(ctx, text, '+', arena, part, LTN_CHAIN);
    ltn_status s = *n < 0 ? (ltn_status)*n : LTN_OK;
    for (int i = 0; !s && i < *n; i++)
        s = ltn__spec_parse(ctx, "degradation", ltn__degradation_entry, part[i], arena, &spec[i]);
    return s;
}

static ltn_status check_size(ltn_ctx *ctx, const char *name, ltn_size s)
{
    if (s.width < 1 || s.height < 1 || s.channels < 1)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: a picture of %d x %d, %d channels, is empty", name, s.width,
                         s.height, s.channels);
    if ((double)s.width * s.height * s.channels > INT32_MAX)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: a picture of %d x %d, %d channels, is too large", name,
                         s.width, s.height, s.channels);
    return LTN_OK;
}

static ltn_status open_parts(ltn_degradation *d, const ltn_spec *spec, int n)
{
    ltn_ctx *ctx = d->ctx;
    ltn_size size = d->x;
    if (!(d->part = ltn__alloc(ctx, (size_t)n, sizeof *d->part))) return LTN_ENOMEM;
    ltn_status s = check_size(ctx, spec[0].entry->name, size);
    d->linear = true;
    for (int i = 0; !s && i < n; i++) {
        d->part[i] =
            (ltn_operator){.ctx = ctx, .row = ltn__degradation_row(spec[i].row), .x = size, .y = size};
        d->n = i + 1;
        s = d->part[i].row->open(&d->part[i], &spec[i]);
        size = d->part[i].y;
        d->linear &= !d->part[i].map.nonlinear;
        d->abstract |= d->part[i].row->abstract;
    }
    d->y = size;
    return s;
}

static ltn_status open_memory(ltn_degradation *d)
{
    const size_t x = ltn__size_count(d->x), y = ltn__size_count(d->y);
    size_t largest = 0;
    for (int i = 1; i < d->n; i++) largest = LTN_MAX(largest, ltn__size_count(d->part[i].x));
    for (int i = 0; i < 2 && d->n > 1; i++)
        if (!(d->between[i] = ltn__alloc(d->ctx, largest, sizeof(float)))) return LTN_ENOMEM;
    for (int i = 0; i < LTN_COUNT(d->cg) && (d->n > 1 || !d->part[0].map.prox); i++)
        if (!(d->cg[i] = ltn__alloc(d->ctx, i < 4 ? x : y, sizeof(float)))) return LTN_ENOMEM;
    for (int i = 0; i < d->n && !d->linear; i++)
        if (!(d->point[i] = ltn__alloc(d->ctx, ltn__size_count(d->part[i].x), sizeof(float)))) return LTN_ENOMEM;
    if (!d->linear && !(d->half = ltn__alloc(d->ctx, y, sizeof *d->half))) return LTN_ENOMEM;
    float *one = ltn__alloc(d->ctx, x, sizeof *one);
    d->one = ltn__alloc(d->ctx, y, sizeof *d->one);
    if (one && d->one && d->linear) {
        for (size_t i = 0; i < x; i++) one[i] = 1;
        ltn__forward(d, one, d->one);
    }
    ltn__free(d->ctx, one);
    return one && d->one ? LTN_OK : LTN_ENOMEM;
}

static ltn_status build(ltn_ctx *ctx, const char *text, const ltn_spec *spec, int n, ltn_size x,
                        ltn_degradation **out)
{
    ltn_degradation *d = ltn__alloc(ctx, 1, sizeof *d);
    if (!d) return LTN_ENOMEM;
    d->ctx = ctx;
    d->x = x;
    d->spec = ltn__strdup(ctx, text);
    ltn_status s = d->spec ? open_parts(d, spec, n) : LTN_ENOMEM;
    if (!s) s = open_memory(d);
    if (s) ltn_degradation_close(&d);
    *out = d;
    return s;
}

/* Alpha is no colour: it stays outside of A and is resized with the picture. */
static int colours(int channels)
{
    return channels == 2 || channels == 4 ? channels - 1 : channels;
}

ltn_status ltn_degradation_open(ltn_ctx *ctx, const char *text, int width, int height, int channels,
                                ltn_degradation **out)
{
    ltn_spec spec[LTN_CHAIN];
    ltn_arena arena = {.ctx = ctx};
    int n = 0;
    *out = NULL;
    ltn_status s = parse(ctx, text, &arena, spec, &n);
    if (!s) s = build(ctx, text, spec, n, (ltn_size){width, height, colours(channels)}, out);
    ltn__arena_free(&arena);
    return s;
}

ltn_status ltn_degradation_open_for(ltn_ctx *ctx, const char *text, const ltn_image *y, ltn_degradation **out)
{
    ltn_spec spec[LTN_CHAIN];
    ltn_arena arena = {.ctx = ctx};
    int n = 0;
    *out = NULL;
    ltn_status s = parse(ctx, text, &arena, spec, &n);
    bool abstract = false;
    for (int i = 0; !s && i < n; i++) abstract |= ltn__degradation_row(spec[i].row)->abstract;
    ltn_size size = {y->width, y->height, abstract ? y->channels : colours(y->channels)};
    if (!s) s = check_size(ctx, spec[0].entry->name, size);
    for (int i = n - 1; !s && i >= 0; i--) {
        const ltn_degradation_row *row = ltn__degradation_row(spec[i].row);
        if (row->input_size) s = row->input_size(ctx, &spec[i], size, &size);
    }
    if (!s) s = build(ctx, text, spec, n, size, out);
    ltn__arena_free(&arena);
    return s;
}

int ltn_degradation_makes_picture(const ltn_degradation *d)
{
    return !d->abstract;
}

void ltn_degradation_close(ltn_degradation **out)
{
    if (!out || !*out) return;
    ltn_degradation *d = *out;
    for (int i = 0; i < d->n; i++)
        if (d->part[i].row->close) d->part[i].row->close(&d->part[i]);
    for (int i = 0; i < LTN_COUNT(d->between); i++) ltn__free(d->ctx, d->between[i]);
    for (int i = 0; i < LTN_COUNT(d->cg); i++) ltn__free(d->ctx, d->cg[i]);
    for (int i = 0; i < LTN_COUNT(d->point); i++) ltn__free(d->ctx, d->point[i]);
    ltn__free(d->ctx, d->half);
    ltn__free(d->ctx, d->part);
    ltn__free(d->ctx, d->one);
    ltn__free(d->ctx, d->spec);
    ltn__free(d->ctx, d);
    *out = NULL;
}

/* ---- latino.h on pictures ---- */
static ltn_status fits(const ltn_degradation *d, const char *what, const ltn_image *im, ltn_size s, bool alpha)
{
    const int channels = alpha ? colours(im->channels) : im->channels;
    if (im->width == s.width && im->height == s.height && channels == s.channels) return LTN_OK;
    return ltn__fail(d->ctx, LTN_ESHAPE, "%s: the %s is %d x %d, %d channels; expected %d x %d, %d", d->spec,
                     what, im->width, im->height, im->channels, s.width, s.height, s.channels);
}

ltn_status ltn__fits(const ltn_degradation *d, const ltn_image *y)
{
    return fits(d, "measurement", y, d->y, !d->abstract);
}

/* A picture of size s, with what travels with `like`: its metadata and its alpha. */
static ltn_status fresh(const ltn_degradation *d, ltn_size s, const ltn_image *like, ltn_image *out)
{
    const int colour = colours(like->channels), alpha = d->abstract ? 0 : like->channels - colour;
    ltn_status status = ltn_image_new(d->ctx, s.width, s.height, s.channels + alpha, like, out);
    if (status || !alpha) return status;
    const size_t pixels = (size_t)like->width * (size_t)like->height;
    const ltn_image plane = {like->width, like->height, 1, like->data + (size_t)colour * pixels, NULL};
    ltn_image sized;
    status = ltn_image_resize(d->ctx, &plane, s.width, s.height, &sized);
    if (status) return status;
    memcpy(out->data + ltn__size_count(s), sized.data,
           (size_t)s.width * (size_t)s.height * sizeof *sized.data);
    ltn_image_free(d->ctx, &sized);
    return LTN_OK;
}

ltn_status ltn_degrade(ltn_degradation *d, const ltn_image *x, const char *noise, uint64_t seed, ltn_image *y)
{
    ltn_arena arena = {.ctx = d->ctx};
    ltn_spec spec;
    *y = (ltn_image){0};
    ltn_status s = fits(d, "picture", x, d->x, true);
    if (!s && noise) s = ltn__spec_parse(d->ctx, "noise", ltn__noise_entry, noise, &arena, &spec);
    if (!s) s = fresh(d, d->y, x, y);
    if (!s) ltn__forward(d, x->data, y->data);
    if (!s && noise) {
        ltn__noise_row(spec.row)->add(&spec, (ltn_rng){seed, LTN_STREAM_NOISE}, y->data,
                                      ltn__size_count(d->y));
        ltn__measured(d, y->data);
    }
    ltn__arena_free(&arena);
    return s;
}

ltn_status ltn_adjoint(ltn_degradation *d, const ltn_image *y, ltn_image *x)
{
    *x = (ltn_image){0};
    ltn_status s = ltn__linear_needed(d, "the adjoint");
    if (!s) s = ltn__fits(d, y);
    if (!s) s = fresh(d, d->x, y, x);
    if (!s) ltn__adjoint(d, y->data, x->data);
    return s;
}

ltn_status ltn_prox(ltn_degradation *d, const ltn_image *y, double gamma, const ltn_image *u, ltn_image *x)
{
    *x = (ltn_image){0};
    if (!(gamma >= 0))
        return ltn__fail(d->ctx, LTN_EINVAL, "%s: gamma is %g; expected 0 or more", d->spec, gamma);
    ltn_status s = ltn__fits(d, y);
    if (!s) s = fits(d, "picture", u, d->x, true);
    if (!s) s = fresh(d, d->x, u, x);
    if (!s) ltn__prox(d, y->data, gamma, u->data, x->data);
    return s;
}

ltn_status ltn_consistency(ltn_degradation *d, const ltn_image *x, const ltn_image *y, double sigma, double *chi)
{
    if (!(sigma >= 0))
        return ltn__fail(d->ctx, LTN_EINVAL, "%s: sigma is %g; expected 0 or more", d->spec, sigma);
    ltn_status s = fits(d, "picture", x, d->x, true);
    if (!s) s = ltn__fits(d, y);
    if (s) return s;
    const size_t n = ltn__size_count(d->y);
    float *ax = ltn__alloc(d->ctx, n, 2 * sizeof *ax), *known = ax + n;
    if (!ax) return LTN_ENOMEM;
    memcpy(known, y->data, n * sizeof *known);
    const double m = (double)ltn__measured(d, known);
    double error = 0, length = 0;
    ltn__forward(d, x->data, ax);
    for (size_t i = 0; i < n; i++) {
        error += ((double)ax[i] - known[i]) * ((double)ax[i] - known[i]);
        length += (double)known[i] * known[i];
    }
    *chi = sqrt(error / fmax(sigma > 0 ? sigma * sigma * m : length, 1e-30));
    ltn__free(d->ctx, ax);
    return LTN_OK;
}

ltn_status ltn_naive(ltn_degradation *d, const ltn_image *y, ltn_image *x)
{
    *x = (ltn_image){0};
    ltn_status s = ltn__fits(d, y);
    if (!s) s = fresh(d, d->x, y, x);
    if (!s) ltn__naive(d, y->data, x->data);
    return s;
}

ltn_status ltn_estimate_sigma(ltn_ctx *ctx, const ltn_image *y, double *sigma)
{
    const ltn_size size = {y->width, y->height, colours(y->channels)};
    ltn_status s = check_size(ctx, "noise estimate", size);
    bool told;
    *sigma = s ? 0 : ltn__estimate_sigma(ctx, y->data, size, &told, &s);
    return s;
}
