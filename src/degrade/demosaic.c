/* demosaic.c - a sensor's colour filter array (Bayer, US patent 3971065): y = x(colour of the pixel's filter), one
 * value per pixel. A A^T = 1, so the prox takes (u + gamma y) / (1 + gamma) where a filter is and u elsewhere. The
 * naive picture is bilinear: what a colour lacks is the mean, weighed by 1 2 1 each way, of its samples around. */
#include <math.h>
#include <string.h>

#include "degrade.h"

/* By [pattern][row % 2][column % 2]: 0 red, 1 green, 2 blue. */
static const uint8_t filters[][2][2] = {{{0, 1}, {1, 2}}, {{2, 1}, {1, 0}}, {{1, 0}, {2, 1}}, {{1, 2}, {0, 1}}};

static size_t pixels(const ltn_operator *op)
{
    return ltn__plane_count(op->y);
}

static size_t colour(const ltn_operator *op, int i, int j)
{
    const uint8_t(*f)[2] = op->state;
    return f[i % 2][j % 2];
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const size_t w = (size_t)op->y.width;
    for (int i = 0; i < op->y.height; i++)
        for (int j = 0; j < op->y.width; j++) {
            const size_t at = (size_t)i * w + (size_t)j;
            y[at] = x[colour(op, i, j) * pixels(op) + at];
        }
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const size_t w = (size_t)op->y.width;
    memset(x, 0, ltn__size_count(op->x) * sizeof *x);
    for (int i = 0; i < op->y.height; i++)
        for (int j = 0; j < op->y.width; j++) {
            const size_t at = (size_t)i * w + (size_t)j;
            x[colour(op, i, j) * pixels(op) + at] = y[at];
        }
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    const size_t w = (size_t)op->y.width;
    if (x != u) memcpy(x, u, ltn__size_count(op->x) * sizeof *x);
    for (int i = 0; i < op->y.height; i++)
        for (int j = 0; j < op->y.width; j++) {
            const size_t at = (size_t)i * w + (size_t)j, to = colour(op, i, j) * pixels(op) + at;
            x[to] = pull == 1 ? y[at] : x[to] + pull * (y[at] - x[to]);
        }
}

/* Of one colour at one pixel. */
static float mean(const ltn_operator *op, const float *y, size_t c, int i, int j)
{
    float sum = 0, weight = 0;
    for (int a = LTN_MAX(0, i - 1); a < LTN_MIN(op->y.height, i + 2); a++)
        for (int b = LTN_MAX(0, j - 1); b < LTN_MIN(op->y.width, j + 2); b++) {
            if (colour(op, a, b) != c) continue;
            const float w = (float)((a == i ? 2 : 1) * (b == j ? 2 : 1));
            sum += w * y[(size_t)a * (size_t)op->y.width + (size_t)b];
            weight += w;
        }
    return weight > 0 ? sum / weight : y[(size_t)i * (size_t)op->y.width + (size_t)j];
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    for (size_t c = 0; c < 3; c++)
        for (int i = 0; i < op->y.height; i++)
            for (int j = 0; j < op->y.width; j++, x++) {
                const bool seen = colour(op, i, j) == c;
                *x = seen ? y[(size_t)i * (size_t)op->y.width + (size_t)j] : mean(op, y, c, i, j);
            }
}

/* The coefficients are the measured values, s = 1. */
static void values(const ltn_operator *op, float *s)
{
    for (size_t i = 0; i < pixels(op); i++) s[i] = 1;
}

static void copy(const ltn_operator *op, const float *from, float *to)
{
    memcpy(to, from, pixels(op) * sizeof *to);
}

static const ltn_svd svd = {pixels, values, forward, adjoint, copy, copy};

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    if (y.channels != 1)
        return ltn__fail(ctx, LTN_ESHAPE, "demosaic: the measurement has %d channels, not 1", y.channels);
    *x = (ltn_size){y.width, y.height, 3};
    return LTN_OK;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    if (op->x.channels != 3)
        return ltn__fail(op->ctx, LTN_ESHAPE, "demosaic: the picture has %d channels, not 3 (colour)", op->x.channels);
    op->y.channels = 1;
    op->state = (void *)(uintptr_t)filters[(int)ltn__num(s, "pattern")];
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .prox = prox, .naive = naive, .exact = true, .gram = 1,
                        .svd = &svd};
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "pattern", .help = "the colours of the upper left 2 x 2 pixels, row by row", .type = LTN_CHOICE,
     .choices = "rggb|bggr|grbg|gbrg"},
    {0},
};

const ltn_degradation_row ltn__degradation_demosaic = {
    .entry = {.name = "demosaic", .alias = "bayer|demosaicing|mosaic",
              .help = "one colour per pixel, as a camera's sensor sees", .cite = "Bayer 1976", .param = params},
    .input_size = input_size, .open = open,
};
