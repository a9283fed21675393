/* solve.h - solvers see a problem (A, y, sigma) and a prior (encode, decode, predict), never a file or an
 * architecture. */
#ifndef LTN_SOLVE_H
#define LTN_SOLVE_H

#include "../degrade/degrade.h"

enum { LTN_WRT_LATENT = 1, LTN_WRT_TEXT = 2 };

/* What errors are sorted by: grey or colour, octaves of frequency. */
enum { LTN_GREY, LTN_COLOUR, LTN_PARTS_OF_COLOUR };
enum { LTN_BANDS = 7 };
/* The octave, 0 .. LTN_BANDS - 1 and between, of a cosine whose frequencies are x and y of the highest there is: whole
 * ones stand for 1/128, 1/64 .. 1/2 of a period a pixel. */
double ltn__band(double x, double y);

/* A latent prior. Pictures are planar, in [-1, 1], of the problem's size; latents are `latent_count` numbers whose
 * order is the prior's own business. All memory exists when it is opened. t is a training time step, 0 .. train_steps -
 * 1. */
typedef struct ltn_prior ltn_prior;
struct ltn_prior {
    size_t latent_count;
    bool pixels; /* the latent is the picture: encode and decode only put it in another order */
    int train_steps;
    const double *alpha_bar;
    int calls;     /* of predict and predict_kept so far */
    int gradients; /* of predict_back so far */
    float *text;   /* the condition c that predict uses, (tokens, width); solvers may change it */
    const float *empty; /* that of the empty prompt */
    int tokens;
    size_t text_count;  /* tokens times width */
    ltn_status (*encode)(ltn_prior *p, const float *x, float *z);
    ltn_status (*decode)(ltn_prior *p, const float *z, float *x);
    ltn_status (*predict)(ltn_prior *p, const float *z, int t, float *z0); /* f(z, t, c): the clean latent */
    /* The same three, keeping what their gradient needs until the next call of the same function; wrt: LTN_WRT_
     * or-ed. */
    ltn_status (*encode_kept)(ltn_prior *p, const float *x, float *z);
    ltn_status (*decode_kept)(ltn_prior *p, const float *z, float *x);
    ltn_status (*predict_kept)(ltn_prior *p, const float *z, int t, int wrt, float *z0);
    /* Vector-Jacobian products there: a cotangent of the result gives one of the argument. dz or dtext NULL: not
     * wanted; what was not in wrt may not be. */
    ltn_status (*encode_back)(ltn_prior *p, const float *dz, float *dx);
    ltn_status (*decode_back)(ltn_prior *p, const float *dx, float *dz);
    ltn_status (*predict_back)(ltn_prior *p, const float *dz0, float *dz, float *dtext);
    /* Calibrated once per prior on clean pictures: the mean squared error, in [-1, 1] pixels, of D(f(noised E(x),
     * t)). */
    double (*error)(const ltn_prior *p, int t);
    /* And that of the clean latent f(z, t) itself. */
    double (*latent_error)(const ltn_prior *p, int t);
    /* The variance of that picture error's orthonormal cosine coefficients in an octave where those of the prediction
     * have the mean square `energy`; part: LTN_GREY or LTN_COLOUR. NULL: not known, and taken for white. */
    double (*spectrum)(const ltn_prior *p, int t, int part, int band, double energy);
    /* And for pictures with white noise of deviation e, in [-1, 1]: the t at which one call f(sqrt(ab) E(x + e n), t)
     * errs least, and its mean squared error there. */
    int (*time_of)(const ltn_prior *p, double e);
    double (*error_at)(const ltn_prior *p, double e);
};

typedef struct ltn_problem {
    ltn_ctx *ctx;
    const ltn_degradation *a;
    const float *y;     /* planar, [-1, 1] */
    double sigma;       /* of y, in [-1, 1] units: twice the user's */
    ltn_rng rng;        /* its stream is the first of the solver's */
    const float *noise; /* standard normals for the first draws, one latent after the other; the others are from rng */
    int noise_count;    /* draws in noise */
} ltn_problem;

/* A solver: one row of solver.def. The loop is the caller's. */
typedef struct ltn_solver_row {
    ltn_entry entry;
    bool needs_prior;
    bool needs_pixels; /* a prior whose latent is the picture */
    bool needs_text; /* of the prior: it changes the text or sets texts against each other */
    bool nonlinear; /* takes degradations that are not linear */
    ltn_status (*open)(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps);
    ltn_status (*step)(void *state, ltn_progress *progress); /* LTN_OK, LTN_DONE, or an error */
    const float *(*estimate)(const void *state);             /* the current x, planar, [-1, 1] */
    void (*close)(ltn_ctx *ctx, void *state);
} ltn_solver_row;
const ltn_entry *ltn__solver_entry(int i);
const ltn_solver_row *ltn__solver_row(int i);

/* The standard normals of draw k: the problem's own array, or drawn. */
void ltn__step_noise(const ltn_problem *q, const ltn_prior *p, int k, float *eps);
/* |A x - y|^2; r has room for a measurement. */
double ltn__residual2(const ltn_degradation *a, const float *x, const float *y, float *r);
/* chi = |A x - y| / (sigma sqrt(m)), near 1 when y is explained and not overfitted; |A x - y| / |y| when sigma = 0. */
double ltn__chi(const ltn_problem *q, const float *x, float *r);

/* ---- Rules for the weight gamma of the data term (rule.c) ---- */
typedef struct ltn_rule_input {
    const ltn_problem *q;
    const ltn_prior *p;
    const void *data; /* what the rule's open found */
    int t;
    const float *u;   /* the prior's prediction */
    float *x, *r;   /* room for a picture and for a measurement */
} ltn_rule_input;
typedef struct ltn_rule {
    const char *name, *help;
    /* Refuses a task that it does not know; NULL: it knows all. */
    ltn_status (*open)(const ltn_problem *q, const void **data);
    double (*gamma)(const ltn_rule_input *in); /* INFINITY: A x = y exactly; 0: x = u */
} ltn_rule;
const ltn_rule *ltn__rule(int i); /* NULL past the last */
const ltn_rule *ltn__rule_named(const char *name); /* NULL: none */

#endif
