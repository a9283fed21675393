/* degrade.h - degradations A as linear operators on planar pictures: forward, adjoint, prox; and noises.
 *
 * A row gives forward and adjoint; the prox (A^T A + 1/gamma)^-1 is conjugate gradients unless the row has a
 * closed form. A chain "a+b" is itself an operator made of rows. Values have no range here: solvers use
 * [-1, 1], users [0, 1]; all rows are linear (no offset), so both are right. Rows act on every channel alike,
 * except those that say otherwise. */
#ifndef LTN_DEGRADE_H
#define LTN_DEGRADE_H

#include "../base/base.h"

typedef struct ltn_size {
    int width, height, channels;
} ltn_size;
static inline size_t ltn__size_count(ltn_size s)
{
    return (size_t)s.width * (size_t)s.height * (size_t)s.channels;
}

typedef struct ltn_operator ltn_operator; /* one row with its state, for one size */

/* A thin singular value decomposition A = U diag(s) V^T with count() coefficients, in no order: U^T U = V^T V = 1,
 * and what A does not see of a picture is x - V V^T x. Where s is 0, V^T and U^T may write 0 instead (values below
 * a thousandth of the largest may be taken for 0). A row has all six functions or none. In- and output are different
 * arrays. */
typedef struct ltn_svd {
    size_t (*count)(const ltn_operator *op);
    void (*values)(const ltn_operator *op, float *s);            /* s >= 0 */
    void (*vt)(const ltn_operator *op, const float *x, float *c); /* c = V^T x */
    void (*v)(const ltn_operator *op, const float *c, float *x);  /* x = V c */
    void (*ut)(const ltn_operator *op, const float *y, float *c); /* c = U^T y */
    void (*u)(const ltn_operator *op, const float *c, float *y);  /* y = U c */
} ltn_svd;

/* What an operator does. Nothing here allocates or fails, and no output overlaps an input except where it
 * says so. */
typedef struct ltn_map {
    void (*forward)(const ltn_operator *op, const float *x, float *y);
    void (*adjoint)(const ltn_operator *op, const float *y, float *x);
    /* x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2, x may be u; NULL: conjugate gradients. */
    void (*prox)(const ltn_operator *op, const float *y, double gamma, const float *u, float *x);
    /* z = roughly (A^T A + lambda)^-1 r, symmetric and positive: makes conjugate gradients fast; or NULL. */
    void (*precondition)(const ltn_operator *op, double lambda, const float *r, float *z);
    bool exact; /* prox takes gamma = INFINITY: the x nearest to u among those with A x = y */
    /* x from y without a prior, for a start and for comparison; NULL: y itself (the sizes agree). */
    void (*naive)(const ltn_operator *op, const float *y, float *x);
    /* Where part of y is no measurement: clears that part and returns the number of values that are (y may be
     * NULL); NULL: all are. */
    size_t (*measured)(const ltn_operator *op, float *y);
    const ltn_svd *svd; /* NULL: none is offered */
} ltn_map;

typedef struct ltn_degradation_row {
    ltn_entry entry;
    /* The size of x that gives a measurement of size y (before open). */
    ltn_status (*input_size)(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x); /* NULL: the same */
    /* Fills map and state, and y where it differs from x; op->x is set. */
    ltn_status (*open)(ltn_operator *op, const ltn_spec *s);
    void (*close)(ltn_operator *op); /* also of an operator whose open failed; NULL: nothing to free */
} ltn_degradation_row;

struct ltn_operator {
    ltn_ctx *ctx;
    const ltn_degradation_row *row;
    ltn_map map;
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
    float *one;          /* A 1 */
    float *between[2];   /* pictures between the parts of a chain */
    float *cg[5];        /* conjugate gradients, where no closed form is; else NULL */
    char *spec;
};
/* All memory exists when open returns; these neither allocate nor fail. They share the degradation's scratch:
 * one at a time. */
void ltn__forward(const ltn_degradation *d, const float *x, float *y);
void ltn__adjoint(const ltn_degradation *d, const float *y, float *x);
/* x may be u. Returns the iterations of conjugate gradients (0: closed form): down to a relative residual of
 * 1e-6, at most 200. Where the form is not exact, 1/gamma is taken as 1e-7 at least. */
int ltn__prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x);
void ltn__naive(const ltn_degradation *d, const float *y, float *x);
/* A measurement in [0, 1] as one of a picture in [-1, 1]: 2 y - A 1, and 0 where nothing was measured. out
 * may be y. */
void ltn__to_signed(const ltn_degradation *d, const float *y, float *out);
/* How many values of y are measurements: all of them, but for holes; y's other values become 0 (y may be
 * NULL). */
size_t ltn__measured(const ltn_degradation *d, float *y);

/* ---- Singular values (spectrum.c): see ltn_svd. A chain has them only when it is of one part. ---- */
/* LTN_EINVAL and one line that names `who` and the degradation, if there are none. The others are only for what this
 * has let pass. */
ltn_status ltn__svd_needed(const ltn_degradation *d, const char *who);
size_t ltn__svd_count(const ltn_degradation *d);
void ltn__svd_values(const ltn_degradation *d, float *s);
void ltn__svd_vt(const ltn_degradation *d, const float *x, float *c);
void ltn__svd_v(const ltn_degradation *d, const float *c, float *x);
void ltn__svd_ut(const ltn_degradation *d, const float *y, float *c);
void ltn__svd_u(const ltn_degradation *d, const float *c, float *y);
/* x = A^+ y, the shortest x with the least |A x - y|: exactly so where ltn__exact says so, otherwise
 * (A^T A + 1e-7)^-1 A^T y. Any linear degradation, chains too. */
void ltn__pseudo_inverse(const ltn_degradation *d, const float *y, float *x);
bool ltn__exact(const ltn_degradation *d);

/* ---- Noise: one row of noise.def ---- */
typedef struct ltn_noise_row {
    ltn_entry entry;
    void (*add)(const ltn_spec *s, ltn_rng rng, float *y, size_t n); /* y in [0, 1] */
} ltn_noise_row;
const ltn_entry *ltn__noise_entry(int i);
const ltn_noise_row *ltn__noise_row(int i);

/* Deviation of white gaussian noise in y (estimate.c); 0 and *status = LTN_ENOMEM if memory fails. */
double ltn__estimate_sigma(ltn_ctx *ctx, const float *y, ltn_size s, ltn_status *status);

#endif
