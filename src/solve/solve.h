/* solve.h - solvers see a problem (A, y, sigma) and a prior (encode, decode, predict), never a file or an architecture. */
#ifndef LTN_SOLVE_H
#define LTN_SOLVE_H

#include "../degrade/degrade.h"

/* A latent prior. Pictures are planar, [-1, 1], of the problem's size; latents (c, h, w) channels last, as the prior likes.
 * All memory exists when it is opened. t is a training time step, 0..train_steps-1. */
typedef struct ltn_prior {
    void *self;
    size_t latent_count;
    int64_t latent[3];               /* h, w, c */
    int train_steps;
    const double *alpha_bar;
    int calls;                       /* of predict so far */
    ltn_status (*encode)(struct ltn_prior *p, const float *x, float *z);
    ltn_status (*decode)(struct ltn_prior *p, const float *z, float *x);
    ltn_status (*predict)(struct ltn_prior *p, const float *z, int t, float *z0); /* f(z, t, c): the clean latent */
    void (*close)(struct ltn_prior *p);
    /* Calibrated once per prior on clean pictures: mean squared error, in [-1,1] pixels, of D(f(noised E(x), t)). */
    double (*error)(const struct ltn_prior *p, int t);
} ltn_prior;

typedef struct ltn_problem {
    ltn_ctx *ctx;
    const ltn_degradation *a;
    const float *y;      /* [-1, 1] */
    double sigma;        /* of y in [-1, 1] units: twice the user's */
    ltn_rng rng;
    const float *noise;  /* (steps, latent) standard normals, or NULL: from rng */
} ltn_problem;

typedef struct ltn_solver_row {
    ltn_entry entry;
    ltn_status (*open)(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps);
    ltn_status (*step)(void *state, ltn_progress *progress); /* LTN_OK, LTN_DONE */
    const float *(*estimate)(void *state);                   /* [-1, 1] */
    void (*close)(ltn_ctx *ctx, void *state);
} ltn_solver_row;
const ltn_entry *ltn__solver_entry(int i);
const ltn_solver_row *ltn__solver_row(int i);

#endif
