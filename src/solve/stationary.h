/* stationary.h - the posterior mean under a stationary Gaussian prior, by conjugate gradients: what wiener and
 * tikhonov share. */
#ifndef LTN_STATIONARY_H
#define LTN_STATIONARY_H

#include "../degrade/fourier.h"
#include "solve.h"

/* State of a solver. precision is the caller's to fill between open and begin. */
typedef struct ltn_stationary {
    const ltn_problem *q;
    ltn_plane plane;
    float *precision; /* 1 / variance of every orthonormal cosine coefficient, in the order of a plane's spectrum */
    double noise2;    /* sigma^2, or a small number where there is none */
    double gain;      /* tr(A^T A) / n, by a probe */
    double rz, enough;
    int step, steps;
    float *x, *r, *p, *mp, *z; /* pictures: the estimate; conjugate gradients' own */
    float *t, *s;              /* a measurement, a spectrum */
} ltn_stationary;

ltn_status ltn__stationary_open(ltn_stationary *g, const ltn_problem *q, int steps);
/* From the naive inverse, once precision stands. */
void ltn__stationary_begin(ltn_stationary *g);
/* out = the function of the prior that is diagonal, value[k], on the cosine coefficients; out may be x. */
void ltn__stationary_filter(const ltn_stationary *g, const float *value, const float *x, float *out);
/* The functions of a row of solver.def. */
ltn_status ltn__stationary_step(void *state, ltn_progress *progress);
const float *ltn__stationary_estimate(const void *state);
void ltn__stationary_close(ltn_ctx *ctx, void *state);

#endif
