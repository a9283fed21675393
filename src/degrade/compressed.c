/* compressed.c - compressed sensing by a subsampled randomised transform: y = M T D x per channel, D random signs, T
 * the orthonormal cosine or Walsh-Hadamard transform of the plane, M a random choice of its values (Do et al. 2012). y
 * has the size of x and is 0 where nothing was measured. The rows are orthonormal: x = u + A^T (y - A u) gamma / (1 +
 * gamma). */
#include <math.h>
#include <string.h>

#include "degrade.h"
#include "fourier.h"

typedef struct sensing {
    bool hadamard;
    ltn_plane plane; /* of cosines */
    uint8_t *known;
    float *sign;
    size_t count;
    float *spectrum, *turned; /* planes */
} sensing;

/* The transform of all n values at once is that of rows and then columns, for both sides are powers of two. */
static void walsh(float *v, size_t n)
{
    const float scale = 1 / sqrtf((float)n);
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i++) {
            if (i & half) continue;
            const float a = v[i], b = v[i + half];
            v[i] = a + b;
            v[i + half] = a - b;
        }
    for (size_t i = 0; i < n; i++) v[i] *= scale;
}

/* y = T D x, the values laid out as columns of frequencies for the cosine transform. */
static void transform(const ltn_operator *op, const float *x, float *y)
{
    const sensing *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    float *signed_x = s->hadamard ? y : s->turned;
    for (size_t i = 0; i < n; i++) signed_x[i] = s->sign[i] * x[i];
    if (s->hadamard) {
        walsh(y, n);
        return;
    }
    ltn__plane_forward(&s->plane, s->turned, s->spectrum);
    ltn__plane_pack(&s->plane, s->spectrum, s->turned);
    for (size_t i = 0; i < n; i++)
        y[i % (size_t)op->x.height * (size_t)op->x.width + i / (size_t)op->x.height] = s->turned[i];
}

static void inverse(const ltn_operator *op, const float *y, float *x)
{
    const sensing *s = op->state;
    const size_t n = ltn__plane_count(op->x);
    if (s->hadamard) {
        if (x != y) memcpy(x, y, n * sizeof *x);
        walsh(x, n);
    } else {
        for (size_t i = 0; i < n; i++)
            s->turned[i] = y[i % (size_t)op->x.height * (size_t)op->x.width + i / (size_t)op->x.height];
        ltn__plane_unpack(&s->plane, s->turned, s->spectrum);
        ltn__plane_inverse(&s->plane, s->spectrum, x);
    }
    for (size_t i = 0; i < n; i++) x[i] *= s->sign[i];
}

static size_t measured(const ltn_operator *op, float *y)
{
    const sensing *s = op->state;
    for (size_t i = 0; y && i < ltn__size_count(op->y); i++) y[i] = s->known[i % ltn__plane_count(op->x)] ? y[i] : 0;
    return s->count * (size_t)op->y.channels;
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    for (size_t i = 0; i < ltn__size_count(op->x); i += ltn__plane_count(op->x)) transform(op, x + i, y + i);
    measured(op, y);
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    memcpy(x, y, ltn__size_count(op->x) * sizeof *x);
    measured(op, x);
    for (size_t i = 0; i < ltn__size_count(op->x); i += ltn__plane_count(op->x)) inverse(op, x + i, x + i);
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const sensing *s = op->state;
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    const size_t n = ltn__plane_count(op->x);
    if (x != u) memcpy(x, u, ltn__size_count(op->x) * sizeof *x);
    for (int c = 0; c < op->x.channels; c++, x += n, y += n) {
        float *t = s->spectrum + n;
        transform(op, x, t);
        for (size_t i = 0; i < n; i++) t[i] = s->known[i] ? pull * (y[i] - t[i]) : 0;
        inverse(op, t, t);
        for (size_t i = 0; i < n; i++) x[i] += t[i];
    }
}

/* The coefficients are the measured values, s = 1. */
static size_t count(const ltn_operator *op)
{
    return measured(op, NULL);
}

static void values(const ltn_operator *op, float *s)
{
    for (size_t i = 0; i < count(op); i++) s[i] = 1;
}

static void gather(const ltn_operator *op, const float *y, float *c)
{
    const sensing *s = op->state;
    for (size_t i = 0; i < ltn__size_count(op->y); i++)
        if (s->known[i % ltn__plane_count(op->x)]) *c++ = y[i];
}

static void scatter(const ltn_operator *op, const float *c, float *y)
{
    const sensing *s = op->state;
    for (size_t i = 0; i < ltn__size_count(op->y); i++) y[i] = s->known[i % ltn__plane_count(op->x)] ? *c++ : 0;
}

static void vt(const ltn_operator *op, const float *x, float *c)
{
    const sensing *s = op->state;
    float *t = s->spectrum + ltn__plane_count(op->x);
    for (int k = 0; k < op->x.channels; k++, x += ltn__plane_count(op->x)) {
        transform(op, x, t);
        for (size_t i = 0; i < ltn__plane_count(op->x); i++)
            if (s->known[i]) *c++ = t[i];
    }
}

static void v(const ltn_operator *op, const float *c, float *x)
{
    scatter(op, c, x);
    for (size_t i = 0; i < ltn__size_count(op->x); i += ltn__plane_count(op->x)) inverse(op, x + i, x + i);
}

static const ltn_svd svd = {count, values, vt, v, gather, scatter};

static bool power_of_two(int n)
{
    return (n & (n - 1)) == 0;
}

static ltn_status open(ltn_operator *op, const ltn_spec *spec)
{
    sensing *s = op->state = ltn__alloc(op->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    const int w = op->x.width, h = op->x.height;
    s->hadamard = ltn__num(spec, "transform") != 0;
    if (s->hadamard && !(power_of_two(w) && power_of_two(h)))
        return ltn__fail(op->ctx, LTN_ESHAPE,
                         "compressed: transform=hadamard takes sides that are powers of two, not %d x %d", w, h);
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .prox = prox, .naive = adjoint, .gram = 1,
                        .exact = true, .measured = measured, .svd = &svd};
    const ltn_status st = s->hadamard ? LTN_OK : ltn__plane_open(op->ctx, LTN_COSINE, w, h, &s->plane);
    if (st) return st;
    const size_t n = ltn__plane_count(op->x);
    s->known = ltn__alloc(op->ctx, n, 1);
    s->sign = ltn__alloc(op->ctx, n, sizeof *s->sign);
    s->spectrum = ltn__alloc(op->ctx, 2 * n, sizeof *s->spectrum);
    s->turned = ltn__alloc(op->ctx, n, sizeof *s->turned);
    if (!s->known || !s->sign || !s->spectrum || !s->turned) return LTN_ENOMEM;
    const uint64_t seed = (uint64_t)ltn__num(spec, "seed");
    for (size_t i = 0; i < n; i++) {
        s->known[i] = ltn__uniform((ltn_rng){seed, LTN_STREAM_MASK}, i) < ltn__num(spec, "ratio");
        s->sign[i] = ltn__uniform((ltn_rng){seed, LTN_STREAM_KERNEL}, i) < 0.5 ? -1 : 1;
        s->count += s->known[i];
    }
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    sensing *s = op->state;
    if (!s) return;
    ltn__plane_close(&s->plane);
    ltn__free(op->ctx, s->known);
    ltn__free(op->ctx, s->sign);
    ltn__free(op->ctx, s->spectrum);
    ltn__free(op->ctx, s->turned);
    ltn__free(op->ctx, s);
    op->state = NULL;
}

static const ltn_param params[] = {
    {.name = "ratio", .help = "measurements for each value of the picture", .type = LTN_FLOAT, .def = 0.25,
     .min = 0.001, .max = 1},
    {.name = "transform", .help = "what mixes the values; hadamard takes sides that are powers of two",
     .type = LTN_CHOICE, .choices = "dct|hadamard"},
    {.name = "seed", .help = "of the signs and the choice", .type = LTN_INT, .max = 1e15},
    {0},
};

const ltn_degradation_row ltn__degradation_compressed = {
    .entry = {.name = "compressed", .alias = "cs|compressed-sensing", .help = "few random mixtures of all pixels",
              .cite = "Do, Gan, Nguyen, Tran 2012", .param = params},
    .open = open, .abstract = true, .close = close,
};
