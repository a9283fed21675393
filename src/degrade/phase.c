/* phase.c - phase retrieval from coded diffraction: y_l = |B_l x|, B_l x = F (m_l x) / sqrt(L) for L masks of random signs,
 * F the orthonormal Fourier transform (Candes, Li and Soltanolkotabi 2015). sum B_l^T B_l = 1, and |B x| - y is at most
 * B x - y p for any phases p, with equality for those of B x; so the prox repeats
 * x <- (u + gamma B^T (y B x / |B x|)) / (1 + gamma), each step of which lowers the objective (Fienup 1982 with a prior).
 * J^T y = B^T (y B x / |B x|). The naive picture: such steps without u from a flat one, kept in [0, 1]. */
#include <math.h>
#include <string.h>

#include "degrade.h"
#include "fourier.h"

enum { PROX_STEPS = 30, NAIVE_STEPS = 100 };

typedef struct diffraction {
    ltn_plane plane;
    int masks;
    float *sign;             /* masks planes */
    float *spectrum, *coded; /* of one mask */
    float *re, *im, *back;   /* planes */
} diffraction;

/* B_l x of a plane, in re and im. */
static void diffract(const ltn_operator *op, int l, const float *x)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    const float scale = 1 / sqrtf((float)d->masks);
    for (size_t i = 0; i < n; i++) d->coded[i] = scale * d->sign[(size_t)l * n + i] * x[i];
    ltn__plane_forward(&d->plane, d->coded, d->spectrum);
    ltn__plane_unfold(&d->plane, d->spectrum, d->re, d->im);
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n)
        for (int l = 0; l < d->masks; l++, y += n) {
            diffract(op, l, x);
            for (size_t i = 0; i < n; i++) y[i] = hypotf(d->re[i], d->im[i]);
        }
}

/* back = B^T (y B x / |B x|) for one channel; where B x is 0 the phase is taken for 1. */
static void with_phases(const ltn_operator *op, const float *x, const float *y)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    const float scale = 1 / sqrtf((float)d->masks);
    memset(d->back, 0, n * sizeof *d->back);
    for (int l = 0; l < d->masks; l++, y += n) {
        diffract(op, l, x);
        for (size_t i = 0; i < n; i++) {
            const float size = hypotf(d->re[i], d->im[i]);
            d->re[i] = size > 0 ? y[i] * d->re[i] / size : y[i];
            d->im[i] = size > 0 ? y[i] * d->im[i] / size : 0;
        }
        ltn__plane_fold(&d->plane, d->re, d->im, d->spectrum);
        ltn__plane_inverse(&d->plane, d->spectrum, d->coded);
        for (size_t i = 0; i < n; i++) d->back[i] += scale * d->sign[(size_t)l * n + i] * d->coded[i];
    }
}

static void vjp(const ltn_operator *op, const float *x, const float *y, float *out)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n, out += n, y += n * (size_t)d->masks) {
        with_phases(op, x, y);
        memcpy(out, d->back, n * sizeof *out);
    }
}

/* x may be u: u is what x - pull back says of it, kept as the part of x that does not change. */
static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    float *prior = d->back + n;
    for (int c = 0; c < op->x.channels; c++, x += n, u += n, y += n * (size_t)d->masks) {
        memcpy(prior, u, n * sizeof *u);
        memcpy(x, prior, n * sizeof *x);
        for (int step = 0; step < PROX_STEPS && pull > 0; step++) {
            with_phases(op, x, y);
            for (size_t i = 0; i < n; i++) x[i] = prior[i] + pull * (d->back[i] - prior[i]);
        }
    }
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const diffraction *d = op->state;
    const size_t n = ltn__plane_count(op->x);
    for (int c = 0; c < op->x.channels; c++, x += n, y += n * (size_t)d->masks) {
        for (size_t i = 0; i < n; i++) x[i] = 0.5f;
        for (int step = 0; step < NAIVE_STEPS; step++) {
            with_phases(op, x, y);
            for (size_t i = 0; i < n; i++) x[i] = fminf(fmaxf(d->back[i], 0), 1);
        }
    }
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    diffraction *d = op->state = ltn__alloc(op->ctx, 1, sizeof *d);
    if (!d) return LTN_ENOMEM;
    const size_t n = ltn__plane_count(op->x);
    d->masks = (int)ltn__num(s, "masks");
    if ((double)d->masks * (double)ltn__size_count(op->x) > INT32_MAX)
        return ltn__fail(op->ctx, LTN_ESHAPE, "phase: %d masks of %d x %d are too large", d->masks, op->x.width, op->x.height);
    op->y.channels = d->masks * op->x.channels;
    op->map = (ltn_map){.forward = forward, .nonlinear = true, .vjp = vjp, .prox = prox, .naive = naive, .exact = true};
    const ltn_status st = ltn__plane_open(op->ctx, LTN_FOURIER, op->x.width, op->x.height, &d->plane);
    if (st) return st;
    float **const plane[] = {&d->coded, &d->re, &d->im};
    if (ltn__alloc_each(op->ctx, n, plane, LTN_COUNT(plane))) return LTN_ENOMEM;
    d->back = ltn__alloc(op->ctx, 2 * n, sizeof *d->back);
    d->spectrum = ltn__alloc(op->ctx, ltn__plane_floats(&d->plane), sizeof *d->spectrum);
    d->sign = ltn__alloc(op->ctx, n * (size_t)d->masks, sizeof *d->sign);
    if (!d->back || !d->spectrum || !d->sign) return LTN_ENOMEM;
    const ltn_rng rng = {(uint64_t)ltn__num(s, "seed"), LTN_STREAM_MASK};
    for (size_t i = 0; i < n * (size_t)d->masks; i++) d->sign[i] = ltn__uniform(rng, i) < 0.5 ? -1 : 1;
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    diffraction *d = op->state;
    if (!d) return;
    float *const block[] = {d->sign, d->spectrum, d->coded, d->re, d->im, d->back};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(op->ctx, block[i]);
    ltn__plane_close(&d->plane);
    ltn__free(op->ctx, d);
    op->state = NULL;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    const int masks = (int)ltn__num(s, "masks");
    if (y.channels % masks)
        return ltn__fail(ctx, LTN_ESHAPE, "phase: the measurement has %d channels; expected a multiple of masks=%d", y.channels,
                         masks);
    *x = (ltn_size){y.width, y.height, y.channels / masks};
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "masks", .help = "exposures, each behind its own mask of random signs", .type = LTN_INT, .def = 4, .min = 1,
     .max = 64},
    {.name = "seed", .help = "of the masks", .type = LTN_INT, .max = 1e15},
    {0},
};

const ltn_degradation_row ltn__degradation_phase = {
    .entry = {.name = "phase", .alias = "phase-retrieval|coded-diffraction",
              .help = "magnitudes of Fourier transforms, their phases lost", .cite = "Candes, Li, Soltanolkotabi 2015",
              .param = params},
    .input_size = input_size, .open = open, .abstract = true, .close = close,
};
