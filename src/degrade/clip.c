/* clip.c - too bright and too dark to be told apart: y = min(max(gain (x - pivot) + pivot, 0), 1), high dynamic range
 * in a camera that has less. The prox is exact, value by value: of the three pieces, below, between and above, the one
 * whose least gamma/2 (A x - y)^2 + 1/2 (x - u)^2 is least. The derivative is gain between the ends and 0 beyond. */
#include <math.h>

#include "degrade.h"

typedef struct clipping {
    double gain, pivot, lowest, highest; /* the x that give 0 and 1 */
} clipping;

static double apply(const clipping *c, double x)
{
    return fmin(fmax(c->gain * (x - c->pivot) + c->pivot, 0), 1);
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    for (size_t i = 0; i < ltn__size_count(op->x); i++) y[i] = (float)apply(op->state, x[i]);
}

static void vjp(const ltn_operator *op, const float *x, const float *y, float *out)
{
    const clipping *c = op->state;
    for (size_t i = 0; i < ltn__size_count(op->x); i++)
        out[i] = x[i] > c->lowest && x[i] < c->highest ? (float)c->gain * y[i] : 0;
}

/* Divided by gamma, so that gamma may be infinite. */
static double cost(const clipping *c, double y, double lambda, double u, double x)
{
    const double d = apply(c, x) - y;
    return d * d + lambda * (x - u) * (x - u);
}

static double nearest(const clipping *c, double y, double lambda, double u)
{
    const double offset = c->pivot - c->gain * c->pivot; /* A x = gain x + offset between the ends */
    const double between = (c->gain * (y - offset) + lambda * u) / (c->gain * c->gain + lambda);
    double x[3] = {fmin(fmax(between, c->lowest), c->highest), fmin(u, c->lowest), fmax(u, c->highest)}, best = x[0];
    for (int k = 1; k < 3; k++) { /* where all cost the same, the one that moves least */
        const double now = cost(c, y, lambda, u, x[k]), least = cost(c, y, lambda, u, best);
        if (now < least || (now == least && fabs(x[k] - u) < fabs(best - u))) best = x[k];
    }
    return best;
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    for (size_t i = 0; i < ltn__size_count(op->x); i++)
        x[i] = gamma > 0 ? (float)nearest(op->state, fmin(fmax(y[i], 0), 1), 1 / gamma, u[i]) : u[i];
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const clipping *c = op->state;
    for (size_t i = 0; i < ltn__size_count(op->x); i++) x[i] = (float)((y[i] - c->pivot) / c->gain + c->pivot);
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    clipping *c = op->state = ltn__alloc(op->ctx, 1, sizeof *c);
    if (!c) return LTN_ENOMEM;
    c->gain = ltn__num(s, "gain");
    c->pivot = ltn__num(s, "pivot");
    c->lowest = c->pivot - c->pivot / c->gain;
    c->highest = c->pivot + (1 - c->pivot) / c->gain;
    op->map = (ltn_map){.forward = forward, .nonlinear = true, .vjp = vjp, .prox = prox, .naive = naive, .exact = true};
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    ltn__free(op->ctx, op->state);
    op->state = NULL;
}

static const ltn_param params[] = {
    {.name = "gain", .help = "contrast before it is cut off", .type = LTN_FLOAT, .def = 2, .min = 0.01, .max = 1000},
    {.name = "pivot", .help = "the brightness that stays: 0.5 loses shadows and lights, 0 lights alone",
     .type = LTN_FLOAT, .def = 0.5, .max = 1},
    {0},
};

const ltn_degradation_row ltn__degradation_clip = {
    .entry = {.name = "clip", .alias = "hdr|clipping|saturation",
              .help = "bright and dark parts cut off, as high dynamic range is", .param = params},
    .open = open, .close = close,
};
