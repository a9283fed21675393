/* degrade.h - degradations A as linear operators on planar pictures: forward, adjoint, normal inverse; and noises.
 *
 * A row gives forward and adjoint; the prox (A^T A + 1/gamma)^-1 is conjugate gradients unless the row has a closed form.
 * A chain "a+b" is itself an operator made of rows. Values have no range here: solvers use [-1, 1], users [0, 1]; all
 * rows are linear (no offset), so both are right. */
#ifndef LTN_DEGRADE_H
#define LTN_DEGRADE_H

#include "../base/base.h"

typedef struct ltn_size {
    int width, height, channels;
} ltn_size;
static inline size_t ltn__size_count(ltn_size s) { return (size_t)s.width * (size_t)s.height * (size_t)s.channels; }

typedef struct ltn_operator ltn_operator; /* one row with its state, for one size */
typedef struct ltn_degradation_row {
    ltn_entry entry;
    /* The size of x that gives a measurement of size y (before open). */
    ltn_status (*input_size)(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x); /* NULL: the same */
    /* Fills op->y and op->state; op->x is set. */
    ltn_status (*open)(ltn_operator *op, const ltn_spec *s);
    void (*close)(ltn_operator *op);
    void (*forward)(const ltn_operator *op, const float *x, float *y);
    void (*adjoint)(const ltn_operator *op, const float *y, float *x);
    /* x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2, x may be u; NULL: conjugate gradients. gamma may be INFINITY
     * (the constraint A x = y) where `exact` is set. */
    void (*prox)(const ltn_operator *op, const float *y, double gamma, const float *u, float *x);
    bool exact;
    /* x from y without a prior, for a start and for comparison; NULL: A^T y normalised, or y if the sizes agree. */
    void (*naive)(const ltn_operator *op, const float *y, float *x);
} ltn_degradation_row;
struct ltn_operator {
    ltn_ctx *ctx;
    const ltn_degradation_row *row;
    ltn_size x, y;
    void *state;
};
const ltn_entry *ltn__degradation_entry(int i);
const ltn_degradation_row *ltn__degradation_row(int i);

struct ltn_degradation {
    ltn_ctx *ctx;
    int n;               /* parts of the chain; part[0] acts first */
    ltn_operator *part;
    ltn_size x, y;
    float *work[8];      /* conjugate gradients and intermediate pictures, allocated at open */
    char *spec;
};
/* All memory exists when open returns; these neither allocate nor fail. */
void ltn__forward(const ltn_degradation *d, const float *x, float *y);
void ltn__adjoint(const ltn_degradation *d, const float *y, float *x);
/* Returns the iterations of conjugate gradients (0: closed form). Tolerance 1e-6 relative residual, at most 200 steps. */
int ltn__prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x);
void ltn__naive(const ltn_degradation *d, const float *y, float *x);

/* ---- Noise: one row of noise.def ---- */
typedef struct ltn_noise_row {
    ltn_entry entry;
    void (*add)(const ltn_spec *s, ltn_rng rng, float *y, size_t n); /* y in [0, 1] */
} ltn_noise_row;
const ltn_entry *ltn__noise_entry(int i);
const ltn_noise_row *ltn__noise_row(int i);

/* Standard deviation of white gaussian noise: median(|d|) / 0.6745 of the finest diagonal Haar band, least over channels' mean. */
double ltn__estimate_sigma(ltn_ctx *ctx, const float *y, ltn_size s, ltn_status *status);

#endif
