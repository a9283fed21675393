/* wiener.c - the posterior mean under the power law of natural pictures, a floor without a network (Wiener 1949):
 *     x = E[x | y],   x stationary and Gaussian with spectral density  power |f|^-exponent,  f in cycles per pixel
 * where power, if it is not given, is what y shows at the low frequencies that nearly every A lets through:
 *     power = (B(N y) - sigma^2 B(N n)) / B(N A w),     B(x) = sum_{0 < |f| < 1/16} |x_f|^2 |f|^exponent
 * with N the naive inverse, n white, w a draw of the prior of power 1. (Spectrum: Field 1987.) */
#include <math.h>
#include <string.h>

#include "stationary.h"

static const double band = 1.0 / 16;

/* |f|^2 of the i-th coefficient. */
static double square_frequency(const ltn_stationary *g, size_t i)
{
    const size_t h = (size_t)g->plane.height;
    return pow((double)(i / h) / (2.0 * g->plane.width), 2) + pow((double)(i % h) / (2.0 * (double)h), 2);
}

/* B(N y), precision holding |f|^exponent. */
static double band_energy(const ltn_stationary *g, const float *y)
{
    const size_t n = ltn__plane_floats(&g->plane);
    double sum = 0;
    ltn__naive(g->q->a, y, g->p);
    for (size_t c = 0; c < (size_t)g->q->a->x.channels; c++) {
        ltn__plane_forward(&g->plane, g->p + c * n, g->s);
        for (size_t i = 1; i < n; i++)
            if (square_frequency(g, i) < band * band) sum += (double)g->s[i] * g->s[i] * g->precision[i];
    }
    return sum;
}

/* Of the density, in squared units of [-1, 1]. */
static double estimate_power(const ltn_stationary *g)
{
    const ltn_problem *q = g->q;
    const ltn_rng rng = {q->rng.seed, LTN_STREAM_PROBE};
    const size_t n = ltn__plane_floats(&g->plane);
    float *root = g->mp;
    for (size_t i = 0; i < n; i++) root[i] = g->precision[i] > 0 ? 1 / sqrtf(g->precision[i]) : 0;
    ltn__normals(rng, 0, g->r, ltn__size_count(q->a->x));
    ltn__stationary_filter(g, root, g->r, g->r);
    ltn__forward(q->a, g->r, g->t);
    const double unit = band_energy(g, g->t);
    ltn__normals((ltn_rng){rng.seed, rng.stream + 1}, 0, g->t, ltn__size_count(q->a->y));
    ltn__measured(q->a, g->t);
    const double noise = q->sigma * q->sigma * band_energy(g, g->t);
    return fmax((band_energy(g, q->y) - noise) / fmax(unit, 1e-30), 1e-9);
}

static ltn_status wiener_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    ltn_stationary *g = ltn__alloc(q->ctx, 1, sizeof *g);
    if (!g) return LTN_ENOMEM;
    *state = g;
    *steps = (int)ltn__num(s, "iterations");
    const ltn_status status = ltn__stationary_open(g, q, *steps);
    if (status) return status;
    const size_t n = ltn__plane_floats(&g->plane);
    for (size_t i = 0; i < n; i++)
        g->precision[i] = (float)pow(square_frequency(g, i), ltn__num(s, "exponent") / 2);
    const double given = ltn__num(s, "power"), power = given > 0 ? 4 * fmax(given, 1e-9) : estimate_power(g);
    for (size_t i = 0; i < n; i++) g->precision[i] /= (float)power;
    ltn__stationary_begin(g);
    return LTN_OK;
}

static const ltn_param wiener_params[] = {
    {.name = "exponent", .help = "of the power law; 2 for large photographs, up to 3 for small ones",
     .type = LTN_FLOAT, .def = 3, .min = 0.1, .max = 6},
    {.name = "power",
     .help = "spectral density at one cycle per pixel, squared units of [0, 1]; 0: from y",
     .type = LTN_FLOAT, .max = 1e6},
    {.name = "iterations", .help = "of conjugate gradients, at most", .type = LTN_INT, .def = 200,
     .min = 1, .max = 1e6},
    {0},
};

const ltn_solver_row ltn__solver_wiener = {
    .entry = {.name = "wiener", .help = "posterior mean under a power law, no model",
              .cite = "Wiener 1949", .param = wiener_params},
    .open = wiener_open,
    .step = ltn__stationary_step,
    .estimate = ltn__stationary_estimate,
    .close = ltn__stationary_close,
};
