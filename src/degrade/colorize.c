/* colorize.c - a colour picture seen in grey: y = w . x per pixel, w the luma of ITU-R BT.601. A A^T = |w|^2,
 * so the prox is x = u + w (y - w . u) / (|w|^2 + 1/gamma). */
#include <math.h>
#include <string.h>

#include "degrade.h"

static const float luma[3] = {0.299f, 0.587f, 0.114f};

static size_t pixels(const ltn_operator *op)
{
    return ltn__plane_count(op->y);
}

static float length(void)
{
    return sqrtf(luma[0] * luma[0] + luma[1] * luma[1] + luma[2] * luma[2]);
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const size_t n = pixels(op);
    for (size_t i = 0; i < n; i++) y[i] = luma[0] * x[i] + luma[1] * x[n + i] + luma[2] * x[2 * n + i];
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const size_t n = pixels(op);
    for (int c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++) x[(size_t)c * n + i] = luma[c] * y[i];
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const size_t n = pixels(op);
    const double square = luma[0] * luma[0] + luma[1] * luma[1] + luma[2] * luma[2];
    const float over = (float)(1 / (square + 1 / gamma));
    for (size_t i = 0; i < n; i++) {
        const float v = over * (y[i] - (luma[0] * u[i] + luma[1] * u[n + i] + luma[2] * u[2 * n + i]));
        for (size_t c = 0; c < 3; c++) x[c * n + i] = u[c * n + i] + luma[c] * v;
    }
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const size_t n = pixels(op);
    for (size_t c = 0; c < 3; c++) memcpy(x + c * n, y, n * sizeof *x);
}

/* s = |w| everywhere, U = 1, V = w / |w|. */
static void values(const ltn_operator *op, float *s)
{
    for (size_t i = 0; i < pixels(op); i++) s[i] = length();
}

static void vt(const ltn_operator *op, const float *x, float *c)
{
    forward(op, x, c);
    for (size_t i = 0; i < pixels(op); i++) c[i] /= length();
}

static void v(const ltn_operator *op, const float *c, float *x)
{
    adjoint(op, c, x);
    for (size_t i = 0; i < 3 * pixels(op); i++) x[i] /= length();
}

static void copy(const ltn_operator *op, const float *from, float *to)
{
    memcpy(to, from, pixels(op) * sizeof *to);
}

static const ltn_svd svd = {pixels, values, vt, v, copy, copy};

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    if (y.channels != 1)
        return ltn__fail(ctx, LTN_ESHAPE, "colorize: the measurement has %d channels, not 1 (grey)",
                         y.channels);
    *x = (ltn_size){y.width, y.height, 3};
    return LTN_OK;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    if (op->x.channels != 3)
        return ltn__fail(op->ctx, LTN_ESHAPE, "colorize: the picture has %d channels, not 3 (colour)",
                         op->x.channels);
    op->y.channels = 1;
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .prox = prox, .naive = naive, .exact = true,
                        .gram = length() * length(), .svd = &svd};
    return LTN_OK;
}

const ltn_degradation_row ltn__degradation_colorize = {
    .entry = {.name = "colorize", .alias = "grey|gray|decolorize",
              .help = "the grey of a colour picture (luma of BT.601)", .cite = "ITU-R BT.601"},
    .input_size = input_size, .open = open,
};
