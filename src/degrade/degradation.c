/* degradation.c - a chain of operators as one: forward and adjoint are compositions; the prox of a single
 * part is its own closed form, otherwise conjugate gradients (Hestenes and Stiefel 1952) on (A^T A + 1/gamma)
 * x = A^T y + u/gamma, started at u. */
#include <math.h>
#include <string.h>

#include "degrade.h"

enum { LONGEST = 8, MAX_STEPS = 200 };
static const double tolerance = 1e-6, least_lambda = 1e-7;

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
void ltn__forward(const ltn_degradation *d, const float *x, float *y)
{
    for (int i = 0; i < d->n; i++) {
        float *to = i + 1 < d->n ? d->between[i % 2] : y;
        d->part[i].map.forward(&d->part[i], x, to);
        x = to;
    }
}

void ltn__adjoint(const ltn_degradation *d, const float *y, float *x)
{
    for (int i = d->n - 1; i >= 0; i--) {
        float *to = i ? d->between[i % 2] : x;
        d->part[i].map.adjoint(&d->part[i], y, to);
        y = to;
    }
}

void ltn__naive(const ltn_degradation *d, const float *y, float *x)
{
    for (int i = d->n - 1; i >= 0; i--) {
        const ltn_operator *op = &d->part[i];
        float *to = i ? d->between[i % 2] : x;
        if (op->map.naive) op->map.naive(op, y, to);
        else memcpy(to, y, ltn__size_count(op->x) * sizeof *to);
        y = to;
    }
}

size_t ltn__measured(const ltn_degradation *d, float *y)
{
    const ltn_operator *last = &d->part[d->n - 1];
    return last->map.measured ? last->map.measured(last, y) : ltn__size_count(d->y);
}

void ltn__to_signed(const ltn_degradation *d, const float *y, float *out)
{
    const size_t n = ltn__size_count(d->y);
    for (size_t i = 0; i < n; i++) out[i] = 2 * y[i] - d->one[i];
    ltn__measured(d, out);
}

/* ---- Conjugate gradients ---- */
static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* q = (A^T A + lambda) p */
static void normal(const ltn_degradation *d, double lambda, const float *p, float *t, float *q)
{
    const size_t n = ltn__size_count(d->x);
    ltn__forward(d, p, t);
    ltn__adjoint(d, t, q);
    for (size_t i = 0; i < n; i++) q[i] += (float)lambda * p[i];
}

/* r = A^T (y - A x); returns |A^T y + lambda x|^2. */
static double residual(const ltn_degradation *d, double lambda, const float *y, const float *x, float *t,
                       float *r)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    double norm = 0;
    ltn__adjoint(d, y, r);
    for (size_t i = 0; i < n; i++) norm += pow(r[i] + lambda * x[i], 2);
    ltn__forward(d, x, t);
    for (size_t i = 0; i < m; i++) t[i] = y[i] - t[i];
    ltn__adjoint(d, t, r);
    return norm;
}

/* z = M^-1 r; a chain has M = 1. */
static void precondition(const ltn_degradation *d, double lambda, const float *r, float *z)
{
    const ltn_operator *op = &d->part[0];
    if (d->n == 1 && op->map.precondition) op->map.precondition(op, lambda, r, z);
    else memcpy(z, r, ltn__size_count(d->x) * sizeof *z);
}

static int conjugate_gradients(const ltn_degradation *d, double lambda, const float *y, float *x)
{
    const size_t n = ltn__size_count(d->x);
    float *const p = d->cg[0], *const q = d->cg[1], *const r = d->cg[2], *const z = d->cg[3],
                 *const t = d->cg[4];
    const double enough = tolerance * tolerance * residual(d, lambda, y, x, t, r);
    precondition(d, lambda, r, z);
    memcpy(p, z, n * sizeof *p);
    double rz = dot(r, z, n);
    int step = 0;
    for (; dot(r, r, n) > enough && step < MAX_STEPS; step++) {
        normal(d, lambda, p, t, q);
        const double pq = dot(p, q, n), alpha = rz / pq;
        if (!(pq > 0)) break;
        for (size_t i = 0; i < n; i++) {
            x[i] += (float)alpha * p[i];
            r[i] -= (float)alpha * q[i];
        }
        const double before = rz;
        precondition(d, lambda, r, z);
        rz = dot(r, z, n);
        const float beta = (float)(rz / before);
        for (size_t i = 0; i < n; i++) p[i] = z[i] + beta * p[i];
    }
    return step;
}

int ltn__prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    const ltn_operator *op = &d->part[0];
    const bool closed = !d->cg[0];
    if (!closed || !op->map.exact) gamma = LTN_MIN(gamma, 1 / least_lambda);
    if (closed) {
        op->map.prox(op, y, gamma, u, x);
        return 0;
    }
    if (x != u) memcpy(x, u, ltn__size_count(d->x) * sizeof *x);
    return gamma > 0 ? conjugate_gradients(d, 1 / gamma, y, x) : 0;
}

/* ---- Opening ---- */
static ltn_status parse(ltn_ctx *ctx, const char *text, ltn_arena *arena, ltn_spec *spec, int *n)
{
    const char *part[LONGEST];
    if (!text) return ltn__fail(ctx, LTN_EINVAL, "no degradation given");
    *n = ltn__spec_split(ctx, text, '+', arena, part, LONGEST);
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
    for (int i = 0; !s && i < n; i++) {
        d->part[i] =
            (ltn_operator){.ctx = ctx, .row = ltn__degradation_row(spec[i].row), .x = size, .y = size};
        d->n = i + 1;
        s = d->part[i].row->open(&d->part[i], &spec[i]);
        size = d->part[i].y;
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
    float *one = ltn__alloc(d->ctx, x, sizeof *one);
    d->one = ltn__alloc(d->ctx, y, sizeof *d->one);
    if (one && d->one) {
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
    ltn_spec spec[LONGEST];
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
    ltn_spec spec[LONGEST];
    ltn_arena arena = {.ctx = ctx};
    int n = 0;
    ltn_size size = {y->width, y->height, colours(y->channels)};
    *out = NULL;
    ltn_status s = parse(ctx, text, &arena, spec, &n);
    if (!s) s = check_size(ctx, spec[0].entry->name, size);
    for (int i = n - 1; !s && i >= 0; i--) {
        const ltn_degradation_row *row = ltn__degradation_row(spec[i].row);
        if (row->input_size) s = row->input_size(ctx, &spec[i], size, &size);
    }
    if (!s) s = build(ctx, text, spec, n, size, out);
    ltn__arena_free(&arena);
    return s;
}

void ltn_degradation_close(ltn_degradation **out)
{
    if (!out || !*out) return;
    ltn_degradation *d = *out;
    for (int i = 0; i < d->n; i++)
        if (d->part[i].row->close) d->part[i].row->close(&d->part[i]);
    for (int i = 0; i < LTN_COUNT(d->between); i++) ltn__free(d->ctx, d->between[i]);
    for (int i = 0; i < LTN_COUNT(d->cg); i++) ltn__free(d->ctx, d->cg[i]);
    ltn__free(d->ctx, d->part);
    ltn__free(d->ctx, d->one);
    ltn__free(d->ctx, d->spec);
    ltn__free(d->ctx, d);
    *out = NULL;
}

/* ---- latino.h on pictures ---- */
static ltn_status fits(const ltn_degradation *d, const char *what, const ltn_image *im, ltn_size s)
{
    if (im->width == s.width && im->height == s.height && colours(im->channels) == s.channels) return LTN_OK;
    return ltn__fail(d->ctx, LTN_ESHAPE, "%s: the %s is %d x %d, %d channels; expected %d x %d, %d", d->spec,
                     what, im->width, im->height, im->channels, s.width, s.height, s.channels);
}

/* A picture of size s, with what travels with `like`: its metadata and its alpha. */
static ltn_status fresh(const ltn_degradation *d, ltn_size s, const ltn_image *like, ltn_image *out)
{
    const int colour = colours(like->channels), alpha = like->channels - colour;
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
    ltn_status s = fits(d, "picture", x, d->x);
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
    ltn_status s = fits(d, "measurement", y, d->y);
    if (!s) s = fresh(d, d->x, y, x);
    if (!s) ltn__adjoint(d, y->data, x->data);
    return s;
}

ltn_status ltn_prox(ltn_degradation *d, const ltn_image *y, double gamma, const ltn_image *u, ltn_image *x)
{
    *x = (ltn_image){0};
    if (!(gamma >= 0))
        return ltn__fail(d->ctx, LTN_EINVAL, "%s: gamma is %g; expected 0 or more", d->spec, gamma);
    ltn_status s = fits(d, "measurement", y, d->y);
    if (!s) s = fits(d, "picture", u, d->x);
    if (!s) s = fresh(d, d->x, u, x);
    if (!s) ltn__prox(d, y->data, gamma, u->data, x->data);
    return s;
}

ltn_status ltn_consistency(ltn_degradation *d, const ltn_image *x, const ltn_image *y, double sigma, double *chi)
{
    if (!(sigma >= 0))
        return ltn__fail(d->ctx, LTN_EINVAL, "%s: sigma is %g; expected 0 or more", d->spec, sigma);
    ltn_status s = fits(d, "picture", x, d->x);
    if (!s) s = fits(d, "measurement", y, d->y);
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
    ltn_status s = fits(d, "measurement", y, d->y);
    if (!s) s = fresh(d, d->x, y, x);
    if (!s) ltn__naive(d, y->data, x->data);
    return s;
}

ltn_status ltn_estimate_sigma(ltn_ctx *ctx, const ltn_image *y, double *sigma)
{
    const ltn_size size = {y->width, y->height, colours(y->channels)};
    ltn_status s = check_size(ctx, "noise estimate", size);
    *sigma = s ? 0 : ltn__estimate_sigma(ctx, y->data, size, &s);
    return s;
}
