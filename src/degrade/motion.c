/* motion.c - a shaken camera: the kernel is the trace of a random walk whose direction drifts, drawn with
 * bilinear points and centred on its centre of mass, as in Levin et al. 2009 real traces look. */
#include <math.h>
#include <string.h>

#include "convolve.h"

enum { STEPS = 2000 };

void ltn__kernel_point(ltn_kernel *k, double x, double y)
{
    const int j = (int)floor(x), i = (int)floor(y);
    const float u = (float)(x - j), v = (float)(y - i);
    const float w[4] = {(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v};
    for (int q = 0; q < 4; q++) {
        const int a = j + q % 2, b = i + q / 2;
        if (a >= 0 && b >= 0 && a < k->width && b < k->height) k->tap[b * k->width + a] += w[q];
    }
}

/* A walk of STEPS points about its centre of mass; returns its greatest distance from there along an axis. */
static double walk(uint64_t seed, double bend, double (*at)[2])
{
    const ltn_rng rng = {seed, LTN_STREAM_KERNEL};
    double x = 0, y = 0, mean[2] = {0, 0}, reach = 0;
    double angle = 2 * M_PI * ltn__uniform(rng, STEPS);
    for (int i = 0; i < STEPS; i++) {
        angle += bend * M_PI / sqrt(STEPS) * ltn__normal(rng, (uint64_t)i);
        at[i][0] = x += cos(angle);
        at[i][1] = y += sin(angle);
        mean[0] += x / STEPS;
        mean[1] += y / STEPS;
    }
    for (int i = 0; i < STEPS; i++)
        for (int a = 0; a < 2; a++) {
            at[i][a] -= mean[a];
            reach = LTN_MAX(reach, fabs(at[i][a]));
        }
    return reach;
}

static ltn_status draw(ltn_ctx *ctx, const ltn_spec *s, ltn_kernel *k)
{
    const int half = (int)ltn__num(s, "size") / 2;
    double (*at)[2] = ltn__alloc(ctx, STEPS, sizeof *at);
    if (!at) return LTN_ENOMEM;
    const double scale = half / LTN_MAX(walk((uint64_t)ltn__num(s, "seed"), ltn__num(s, "bend"), at), 1e-9);
    for (int i = 0; i < STEPS; i++) ltn__kernel_point(k, half + scale * at[i][0], half + scale * at[i][1]);
    ltn__free(ctx, at);
    return ltn__kernel_normalize(ctx, s->entry->name, k);
}

static int size(const ltn_spec *s)
{
    return (int)ltn__num(s, "size") / 2 * 2 + 1;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    return ltn__convolve_input(s, size(s), size(s), y, x);
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    ltn_kernel k;
    ltn_status st = ltn__kernel_new(op->ctx, size(s), size(s), &k);
    if (!st) st = draw(op->ctx, s, &k);
    if (!st) st = ltn__convolve_open(op, s, &k, ltn__num(s, "order") != 0);
    ltn__free(op->ctx, k.tap);
    return st;
}

static const ltn_param params[] = {
    {.name = "size", .help = "of the kernel, pixels (made odd)", .type = LTN_INT, .def = 31, .min = 1,
     .max = 999},
    {.name = "bend", .help = "how much the path turns, 0 straight", .type = LTN_FLOAT, .def = 1, .min = 0,
     .max = 10},
    {.name = "seed", .help = "of the path", .type = LTN_INT, .def = 0, .min = 0, .max = 1e15},
    LTN_BORDER_PARAM,
    LTN_ORDER_PARAM,
    {0},
};

const ltn_degradation_row ltn__degradation_motion = {
    .entry = {.name = "motion", .alias = "shake", .help = "camera shake: blur along a random path",
              .param = params},
    .input_size = input_size, .open = open, .close = ltn__convolve_close,
};
