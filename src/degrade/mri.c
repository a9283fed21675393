/* mri.c - masked Fourier measurements: y = M F x, F the orthonormal transform with the mean in the middle and its
 * phases those of a picture whose middle is the origin (as fastMRI and deepinv have it), M the columns that a scanner
 * takes, or a mask. y holds real and imaginary part of each channel, 0 where nothing was measured. A picture is real,
 * so that frequencies k and -k say the same and A^T A is diagonal: m = (M(k) + M(-k)) / 2. The prox is x^(k) = (s(k) +
 * u^(k) / gamma) / (m + 1/gamma), s the mean of M y(k) and the conjugate of M y(-k). */
#include <math.h>
#include <string.h>

#include "degrade.h"
#include "fourier.h"

typedef struct scan {
    ltn_plane plane;
    uint8_t *known; /* as y is laid out */
    size_t count;
    float *spectrum[2];
    float *re, *im; /* a measurement of one channel */
    float *weight;  /* m, laid out as ltn__plane_pack does */
    float *picture; /* all channels of x, twice */
    float *turned;  /* a plane whose middle pixel comes first */
} scan;

/* The plane's middle pixel goes to its corner, or back. */
static void turn(const ltn_operator *op, bool back, const float *from, float *to)
{
    const int w = op->x.width, h = op->x.height;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            const int corner = i * w + j, middle = (i + h / 2) % h * w + (j + w / 2) % w;
            to[back ? middle : corner] = from[back ? corner : middle];
        }
}

static void to_spectrum(const ltn_operator *op, const float *x, float *spectrum)
{
    const scan *s = op->state;
    turn(op, false, x, s->turned);
    ltn__plane_forward(&s->plane, s->turned, spectrum);
}

static void from_spectrum(const ltn_operator *op, const float *spectrum, float *x)
{
    const scan *s = op->state;
    ltn__plane_inverse(&s->plane, spectrum, s->turned);
    turn(op, true, s->turned, x);
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const scan *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n, y += 2 * n) {
        to_spectrum(op, x, s->spectrum[0]);
        ltn__plane_unfold(&s->plane, s->spectrum[0], y, y + n);
        for (size_t i = 0; i < 2 * n; i++) y[i] = s->known[i % n] ? y[i] : 0;
    }
}

/* The spectrum of Re F^H M y for one channel. */
static void fold(const ltn_operator *op, const float *y, float *spectrum)
{
    const scan *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (size_t i = 0; i < n; i++) {
        s->re[i] = s->known[i] ? y[i] : 0;
        s->im[i] = s->known[i] ? y[n + i] : 0;
    }
    ltn__plane_fold(&s->plane, s->re, s->im, spectrum);
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const scan *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n, y += 2 * n) {
        fold(op, y, s->spectrum[0]);
        from_spectrum(op, s->spectrum[0], x);
    }
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const scan *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    const float lambda = (float)(1 / gamma);
    for (int c = 0; c < op->x.channels; c++, x += n, u += n, y += 2 * n) {
        fold(op, y, s->spectrum[0]);
        to_spectrum(op, u, s->spectrum[1]);
        for (size_t i = 0; i < ltn__plane_floats(&s->plane); i++) {
            const float m = s->weight[i / 2], sum = m + lambda;
            if (m > 0)
                s->spectrum[1][i] = isinf(lambda) ? s->spectrum[1][i]
                                                  : (s->spectrum[0][i] + lambda * s->spectrum[1][i]) / sum;
        }
        from_spectrum(op, s->spectrum[1], x);
    }
}

static size_t measured(const ltn_operator *op, float *y)
{
    const scan *s = op->state;
    for (size_t i = 0; y && i < ltn__size_count(op->y); i++) y[i] = s->known[i % ltn__plane_count(op->x)] ? y[i] : 0;
    return s->count * (size_t)op->y.channels;
}

/* ---- Singular values: V is Hartley's basis, s = sqrt(m), U = A V / s ---- */
static size_t count(const ltn_operator *op)
{
    return ltn__size_count(op->x);
}

static void values(const ltn_operator *op, float *out)
{
    const scan *s = op->state;
    for (size_t i = 0; i < count(op); i++) out[i] = sqrtf(s->weight[i % ltn__plane_count(op->x)]);
}

static void vt(const ltn_operator *op, const float *x, float *c)
{
    const scan *s = op->state;
    for (size_t i = 0; i < count(op); i += ltn__plane_count(op->x)) {
        to_spectrum(op, x + i, s->spectrum[0]);
        ltn__plane_pack(&s->plane, s->spectrum[0], c + i);
    }
}

static void v(const ltn_operator *op, const float *c, float *x)
{
    const scan *s = op->state;
    for (size_t i = 0; i < count(op); i += ltn__plane_count(op->x)) {
        ltn__plane_unpack(&s->plane, c + i, s->spectrum[0]);
        from_spectrum(op, s->spectrum[0], x + i);
    }
}

static void over_values(const ltn_operator *op, float *c)
{
    const scan *s = op->state;
    for (size_t i = 0; i < count(op); i++) {
        const float m = s->weight[i % ltn__plane_count(op->x)];
        c[i] = m > 0 ? c[i] / sqrtf(m) : 0;
    }
}

static void ut(const ltn_operator *op, const float *y, float *c)
{
    const scan *s = op->state;
    adjoint(op, y, s->picture);
    vt(op, s->picture, c);
    over_values(op, c);
}

static void u(const ltn_operator *op, const float *c, float *y)
{
    const scan *s = op->state;
    float *scaled = s->picture + count(op);
    memcpy(scaled, c, count(op) * sizeof *c);
    over_values(op, scaled);
    v(op, scaled, s->picture);
    forward(op, s->picture, y);
}

static const ltn_svd svd = {count, values, vt, v, ut, u};

/* ---- Opening ---- */
/* `kept` of w columns, the `middle` ones among them; the others are spread evenly or drawn (fastMRI, Zbontar et al.
 * 2018). */
static void choose_columns(const ltn_spec *spec, int w, uint8_t *column)
{
    const double acceleration = ltn__num(spec, "acceleration"), kept = w / acceleration;
    const int middle = LTN_MAX(1, LTN_MIN(w, (int)(w * ltn__num(spec, "centre") + 0.5)));
    const ltn_rng rng = {(uint64_t)ltn__num(spec, "seed"), LTN_STREAM_MASK};
    const double share = w > middle ? fmin(fmax((kept - middle) / (w - middle), 0), 1) : 0;
    const double offset = share > 0 ? ltn__uniform(rng, 0) / share : 0;
    const bool even = ltn__num(spec, "pattern") != 0;
    for (int i = 0; i < w && !even; i++) column[i] = ltn__uniform(rng, (uint64_t)i) < share;
    for (double at = offset; even && share > 0 && at < w; at += 1 / share) column[(int)at] = 1;
    for (int i = 0; i < middle; i++) column[w / 2 - middle / 2 + i] = 1;
}

static ltn_status read_mask(ltn_operator *op, const char *path)
{
    const scan *s = op->state;
    ltn_image im = {0};
    ltn_status st = ltn_image_read(op->ctx, path, &im);
    if (!st && (im.width != op->x.width || im.height != op->x.height))
        st = ltn__fail(op->ctx, LTN_ESHAPE, "%s: the mask is %d x %d, the picture %d x %d", path, im.width, im.height,
                       op->x.width, op->x.height);
    for (size_t i = 0; !st && i < ltn__plane_count(op->x); i++) s->known[i] = im.data[i] > 0.5f;
    ltn_image_free(op->ctx, &im);
    return st;
}

static ltn_status choose(ltn_operator *op, const ltn_spec *spec)
{
    scan *s = op->state;
    uint8_t *column = ltn__alloc(op->ctx, (size_t)op->x.width, 1);
    if (!column) return LTN_ENOMEM;
    choose_columns(spec, op->x.width, column);
    for (size_t i = 0; i < ltn__plane_count(op->x); i++) s->known[i] = column[i % (size_t)op->x.width];
    ltn__free(op->ctx, column);
    return ltn__str(spec, "mask") ? read_mask(op, ltn__str(spec, "mask")) : LTN_OK;
}

/* m, by the way that a mask is folded: a spectrum of ones has all of it. */
static void weigh(ltn_operator *op)
{
    scan *s = op->state;
    const int w = op->x.width, h = op->x.height;
    for (int a = 0; a < w; a++)
        for (int b = 0; b < h; b++) {
            const int here = (b + h / 2) % h * w + (a + w / 2) % w,
                      there = ((h - b) % h + h / 2) % h * w + ((w - a) % w + w / 2) % w;
            s->weight[a * h + b] = (float)(s->known[here] + s->known[there]) / 2;
        }
    for (size_t i = 0; i < ltn__plane_count(op->x); i++) s->count += s->known[i];
}

static ltn_status open(ltn_operator *op, const ltn_spec *spec)
{
    scan *s = op->state = ltn__alloc(op->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    if (op->x.channels > INT32_MAX / 2) return ltn__fail(op->ctx, LTN_ESHAPE, "mri: too many channels");
    op->y.channels = 2 * op->x.channels;
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .prox = prox, .naive = adjoint, .exact = true,
                        .measured = measured, .svd = &svd};
    ltn_status st = ltn__plane_open(op->ctx, LTN_FOURIER, op->x.width, op->x.height, &s->plane);
    if (st) return st;
    float **const spectrum[] = {&s->spectrum[0], &s->spectrum[1]},
                  **const plane[] = {&s->re, &s->im, &s->weight, &s->turned};
    if (ltn__alloc_each(op->ctx, ltn__plane_floats(&s->plane), spectrum, 2)) return LTN_ENOMEM;
    if (ltn__alloc_each(op->ctx, ltn__plane_count(op->x), plane, 4)) return LTN_ENOMEM;
    s->known = ltn__alloc(op->ctx, ltn__plane_count(op->x), 1);
    s->picture = ltn__alloc(op->ctx, 2 * count(op), sizeof *s->picture);
    if (!s->known || !s->picture) return LTN_ENOMEM;
    st = choose(op, spec);
    weigh(op);
    return st;
}

static void close(ltn_operator *op)
{
    scan *s = op->state;
    if (!s) return;
    float *const block[] = {s->spectrum[0], s->spectrum[1], s->re, s->im, s->weight, s->picture, s->turned};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(op->ctx, block[i]);
    ltn__free(op->ctx, s->known);
    ltn__plane_close(&s->plane);
    ltn__free(op->ctx, s);
    op->state = NULL;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    if (y.channels % 2)
        return ltn__fail(ctx, LTN_ESHAPE,
                         "mri: the measurement has %d channels; expected real and imaginary parts in turn", y.channels);
    *x = (ltn_size){y.width, y.height, y.channels / 2};
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "acceleration", .help = "how many times fewer columns of frequencies than there are", .type = LTN_FLOAT,
     .def = 4, .min = 1, .max = 1000},
    {.name = "centre", .help = "share of the columns, around the mean, that is always taken", .type = LTN_FLOAT,
     .def = 0.08, .max = 1},
    {.name = "pattern", .help = "how the others are chosen", .type = LTN_CHOICE, .choices = "random|equispaced"},
    {.name = "seed", .help = "of the choice", .type = LTN_INT, .max = 1e15},
    {.name = "mask", .help = "a picture in place of these: white frequencies are taken, the mean is in the middle",
     .type = LTN_STRING},
    {0},
};

const ltn_degradation_row ltn__degradation_mri = {
    .entry = {.name = "mri", .alias = "masked-fourier|fourier",
              .help = "some of the frequencies, as a scanner takes them",
              .cite = "Zbontar et al. 2018", .param = params},
    .input_size = input_size, .open = open, .abstract = true, .close = close,
};
