/* tikhonov.c - smooth restoration, a floor without a network:
 *     x = argmin |A x - y|^2 / 2 sigma^2 + weight/2 |grad x|^2
 * Tikhonov 1963; grad by differences of neighbours, none across the border. */
#include <math.h>

#include "stationary.h"

static const double pi = 3.14159265358979323846;

/* 4 sin^2(pi k / 2 n): what |grad|^2 gives on the k-th cosine of n. */
static double stiffness(int k, int n)
{
    return 4 * pow(sin(pi * k / (2.0 * n)), 2);
}

static ltn_status tikhonov_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s,
                                void **state, int *steps)
{
    ltn_stationary *g = ltn__alloc(q->ctx, 1, sizeof *g);
    if (!g) return LTN_ENOMEM;
    *state = g;
    *steps = (int)ltn__num(s, "iterations");
    const ltn_status status = ltn__stationary_open(g, q, *steps);
    if (status) return status;
    const ltn_size z = q->a->x;
    const double weight = ltn__num(s, "weight") / 4; /* [-1, 1] has four times the square */
    for (int k = 0; k < z.width; k++)
        for (int l = 0; l < z.height; l++)
            g->precision[k * z.height + l] =
                (float)(weight * (stiffness(k, z.width) + stiffness(l, z.height)));
    ltn__stationary_begin(g);
    return LTN_OK;
}

static const ltn_param tikhonov_params[] = {
    {.name = "weight",
     .help = "of |grad x|^2, one over the variance of neighbours' differences, in units of [0, 1]",
     .type = LTN_FLOAT, .def = 70, .max = 1e9},
    {.name = "iterations", .help = "of conjugate gradients, at most", .type = LTN_INT, .def = 200,
     .min = 1, .max = 1e6},
    {0},
};

const ltn_solver_row ltn__solver_tikhonov = {
    .entry = {.name = "tikhonov", .alias = "smooth", .help = "smallest squared gradient, no model",
              .cite = "Tikhonov 1963",
              .param = tikhonov_params},
    .open = tikhonov_open,
    .step = ltn__stationary_step,
    .estimate = ltn__stationary_estimate,
    .close = ltn__stationary_close,
};
