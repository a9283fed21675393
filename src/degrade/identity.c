/* identity.c - A = 1: what is left to do is denoising. */
#include <math.h>
#include <string.h>

#include "degrade.h"

static void copy(const ltn_operator *op, const float *x, float *y)
{
    memcpy(y, x, ltn__size_count(op->x) * sizeof *y);
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const size_t n = ltn__size_count(op->x);
    const float pull = (float)(isinf(gamma) ? 1 : gamma / (1 + gamma));
    for (size_t i = 0; i < n; i++) x[i] = pull == 1 ? y[i] : u[i] + pull * (y[i] - u[i]);
}

static size_t count(const ltn_operator *op)
{
    return ltn__size_count(op->x);
}

static void values(const ltn_operator *op, float *s)
{
    for (size_t i = 0; i < count(op); i++) s[i] = 1;
}

static const ltn_svd svd = {count, values, copy, copy, copy, copy};

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    op->map = (ltn_map){.forward = copy, .adjoint = copy, .prox = prox, .gram = 1, .exact = true, .svd = &svd};
    return LTN_OK;
}

const ltn_degradation_row ltn__degradation_identity = {
    .entry = {.name = "identity", .alias = "denoise|denoising|none", .help = "nothing but noise"},
    .open = open,
};
