/* diffusion.h - what the solvers that follow a diffusion backwards share: the grid of times, one step along it, the
 * gradient of the data term, Adam. */
#ifndef LTN_DIFFUSION_H
#define LTN_DIFFUSION_H

#include "solve.h"

/* Time k of `steps` that fall from train_steps - 1 as (1 - k / steps)^spacing does: evenly with spacing = 1, where the
 * last of them is train_steps / steps - 1; with more the small times lie closer (2: quadratically, as in arXiv
 * 2010.02502). */
int ltn__grid_time(const ltn_prior *p, int steps, double spacing, int k);
/* alpha_bar at time k, 1 behind the last (k = steps). */
double ltn__grid_alpha_bar(const ltn_prior *p, int steps, double spacing, int k);

#define LTN_SPACING_PARAM                                                                                            \
    {.name = "spacing",                                                                                              \
     .help = "times fall as (1 - k / steps)^spacing: 1 evenly, 2 closer together where noise is small",              \
     .type = LTN_FLOAT, .def = 1, .min = 1, .max = 4}

/* From alpha_bar = ab to next (DDIM, arXiv 2010.02502; eta = 1 is ancestral sampling, arXiv 2006.11239; eta = 0 draws
 * nothing):
 *     z <- sqrt(next) z0 + sqrt(1 - next - s^2) eps_hat + s eps,      eps_hat = (z - sqrt(ab) z0) / sqrt(1 - ab),
 *     s^2 = eta^2 (1 - next) / (1 - ab) (1 - ab / next).
 * eps may be NULL where s is 0: for eta = 0, and in the last step. */
void ltn__diffusion_step(const ltn_prior *p, double ab, double next, double eta, const float *z0, const float *eps,
                         float *z);

/* g = A^T (A x - y), the gradient of |A x - y|^2 / 2 at the picture x; returns |A x - y|. r has room for a
 * measurement. */
double ltn__data_gradient(const ltn_problem *q, const float *x, float *r, float *g);

/* g, the gradient by a latent of r^2 / 2 with r = |A x - y|, becomes Polyak's step towards the noise's
 * residual,     -zeta (r - sigma sqrt(m))+ / |grad r|^2 grad r. */
void ltn__polyak_step(const ltn_problem *q, size_t n, double zeta, double r, float *g);

/* x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2 for the prediction u at t, with gamma = weight times the
 * larger of the rules bayes (what the prior's error at t asks for) and discrepancy (what it takes to explain
 * y to its noise: an early u errs much more where A looks than elsewhere). Returns gamma; r has room for a
 * measurement. */
double ltn__data_step(const ltn_problem *q, const ltn_prior *p, int t, double weight, const float *u,
                      float *x, float *r);

/* Adam (arXiv 1412.6980), step k = 1, 2, ... of x along -g; the moments m and v, n numbers each, are zeros before the
 * first. */
typedef struct ltn_adam {
    double rate, beta1, beta2;
} ltn_adam;
void ltn__adam_step(ltn_adam a, int k, size_t n, const float *g, float *m, float *v, float *x);

#endif
