/* defocus.c - a lens out of focus: the kernel is a disc, each tap the part of its pixel that it covers. */
#include <math.h>
#include <stdlib.h>

#include "convolve.h"

enum { FINE = 16 }; /* points per pixel and axis */

static int half_size(const ltn_spec *s)
{
    return (int)ceil(ltn__num(s, "radius") - 0.5);
}

static float covered(double x, double y, double radius)
{
    int inside = 0;
    for (int i = 0; i < FINE; i++)
        for (int j = 0; j < FINE; j++) {
            const double v = y + (i + 0.5) / FINE - 0.5, u = x + (j + 0.5) / FINE - 0.5;
            inside += u * u + v * v <= radius * radius;
        }
    return (float)inside / (FINE * FINE);
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    const int n = 2 * half_size(s) + 1;
    return ltn__convolve_input(s, n, n, y, x);
}

void ltn__kernel_disc(ltn_kernel *k, double radius)
{
    const int a = k->height / 2, b = k->width / 2;
    for (int i = 0; i < k->width * k->height; i++)
        k->tap[i] = covered(abs(i % k->width - b), abs(i / k->width - a), radius);
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    const int n = 2 * half_size(s) + 1;
    ltn_kernel k;
    ltn_status st = ltn__kernel_new(op->ctx, n, n, &k);
    if (!st) ltn__kernel_disc(&k, ltn__num(s, "radius"));
    if (!st) st = ltn__kernel_normalize(op->ctx, s->entry->name, &k);
    if (!st) st = ltn__convolve_open(op, s, &k, false);
    ltn__free(op->ctx, k.tap);
    return st;
}

static const ltn_param params[] = {
    {.name = "radius", .help = "of the disc, pixels", .type = LTN_FLOAT, .def = 3, .min = 0.5, .max = 500},
    LTN_BORDER_PARAM,
    {0},
};

const ltn_degradation_row ltn__degradation_defocus = {
    .entry = {.name = "defocus", .alias = "disc|disk", .help = "out of focus: blur by a disc",
              .param = params},
    .input_size = input_size, .open = open, .close = ltn__convolve_close,
};
