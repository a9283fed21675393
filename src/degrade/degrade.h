/* degrade.h - degradations A as operators on planar pictures: forward, adjoint, prox; noises and their likelihood.
 *
 * A row gives forward and adjoint; the prox (A^T A + 1/gamma)^-1 is conjugate gradients unless the row has a
 * closed form. A chain "a+b" is itself an operator made of rows. Values have no range where A is linear: solvers use
 * [-1, 1], users [0, 1], and there is no offset, so both are right. Rows that are not linear take pictures in [0, 1];
 * ltn__signed makes of such a chain one for [-1, 1]. Rows act on every channel alike, except those that say
 * otherwise. */
#ifndef LTN_DEGRADE_H
#define LTN_DEGRADE_H

#include "../base/base.h"

typedef struct ltn_size {
    int width, height, channels;
} ltn_size;
static inline size_t ltn__plane_count(ltn_size s) /* pixels */
{
    return (size_t)s.width * (size_t)s.height;
}
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
    /* What is not linear has no adjoint but J(x)^T y, J the derivative at x, and always a prox. */
    bool nonlinear;
    void (*vjp)(const ltn_operator *op, const float *x, const float *y, float *out);
    /* The r whose |r|^2 is the data term, where that is not A x - y; NULL: it is. vjp takes it. */
    void (*misfit)(const ltn_operator *op, const float *y, const float *x, float *r);
    /* The deviation of what A itself adds to y, where that counts as noise; NULL: nothing. */
    double (*level)(const ltn_operator *op, const float *y);
    double gram; /* A A^T = gram on what is measured; 0: it is no multiple of 1 */
    bool exact; /* prox takes gamma = INFINITY: the x nearest to u among those with A x = y */
    /* x from y without a prior, for a start and for comparison; NULL: y itself (the sizes agree). */
    void (*naive)(const ltn_operator *op, const float *y, float *x);
    /* Where part of y is no measurement: clears that part and returns the number of values that are (y may be
     * NULL); NULL: all are. */
    size_t (*measured)(const ltn_operator *op, float *y);
    const ltn_svd *svd; /* NULL: none is offered */
} ltn_map;

/* What a value is found from: a measurement, what else is told of the part, where a kernel may be written (or NULL). */
typedef struct ltn_evidence {
    const ltn_image *y;
    const ltn_spec *told;
    const char *kernel;
} ltn_evidence;

typedef struct ltn_degradation_row {
    ltn_entry entry;
    /* The size of x that gives a measurement of size y (before open). */
    ltn_status (*input_size)(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x); /* NULL: the same */
    /* Fills map and state, and y where it differs from x; op->x is set. */
    ltn_status (*open)(ltn_operator *op, const ltn_spec *s);
    /* The value that y tells of the parameter *key, as a spec has it; *key may become another one, which says it
     * better. NULL: y tells of none. implied: what a bare name stands for where y tells it. */
    ltn_status (*find)(ltn_ctx *ctx, const ltn_evidence *e, const char **key, char *value, size_t room);
    const char *implied;
    bool abstract; /* y is no picture: it has no alpha, and the noise in it is not estimated */
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

enum { LTN_CHAIN = 8 };
typedef struct ltn_likelihood ltn_likelihood;
struct ltn_degradation {
    ltn_ctx *ctx;
    int n;               /* parts of the chain; part[0] acts first */
    ltn_operator *part;
    ltn_size x, y;
    bool linear, abstract, is_signed;
    ltn_likelihood *noise; /* of the measurement at hand; NULL: white gaussian */
    float *one;          /* A 1; 0 where A is not linear */
    float *point[LTN_CHAIN]; /* A not linear: x in [0, 1], and the pictures between the parts at x */
    float *half;         /* A not linear: y in [0, 1] */
    float *between[2];   /* pictures between the parts of a chain */
    float *cg[5];        /* conjugate gradients, where no closed form is; else NULL */
    char *spec;
};
/* The same degradation for pictures in [-1, 1], 2 A((x + 1) / 2) where it is not linear; d's own memory, not closed. */
ltn_degradation ltn__signed(const ltn_degradation *d);
/* All memory exists when open returns; these neither allocate nor fail. They share the degradation's scratch:
 * one at a time. */
void ltn__forward(const ltn_degradation *d, const float *x, float *y);
void ltn__adjoint(const ltn_degradation *d, const float *y, float *x); /* of what is linear */
/* r = A x - y, or what a row says instead. */
void ltn__misfit(const ltn_degradation *d, const float *y, const float *x, float *r);
/* out = J(x)^T y; x is not looked at where A is linear. */
void ltn__vjp(const ltn_degradation *d, const float *x, const float *y, float *out);
/* LTN_EINVAL and one line that names `who` and the degradation, if that is not linear. */
ltn_status ltn__linear_needed(const ltn_degradation *d, const char *who);
/* x may be u. Returns the iterations of conjugate gradients (0: closed form): down to a relative residual of
 * 1e-6, at most 200; where A is not linear, of descent, at most 60). Where the form is not exact, 1/gamma is taken as
 * 1e-7 at least. */
int ltn__prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x);
/* The same; x, another array than u, holds where conjugate gradients start. */
int ltn__prox_from(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x);
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

/* ---- Noise: one row of noise.def. Values are in [0, 1], where no noise but gaussian has another unit. ---- */
/* What a picture tells of its noise (estimate.c): places sorted into classes by their brightness, the variance of the
 * noise in each of them. */
enum { LTN_CLASSES = 8 };
typedef struct ltn_noise_levels {
    int n;
    double mean[LTN_CLASSES], variance[LTN_CLASSES];
    double sigma;    /* of noise that is the same everywhere */
    bool told;       /* enough was seen for sigma */
    double impulses; /* share of values that are black or white amid others */
} ltn_noise_levels;
typedef struct ltn_noise_row {
    ltn_entry entry;
    /* The parameters that fit best, as they stand in a spec: "gain=0.01"; false: there are no levels to fit. */
    bool (*fit)(const ltn_noise_levels *l, char *text, size_t room);
    void (*add)(const ltn_spec *s, ltn_rng rng, float *y, size_t n);
    /* The variance of a value whose expectation is v. */
    double (*variance)(const ltn_spec *s, double v);
    /* What follows makes a likelihood that is not white gaussian; NULL: none of it. */
    /* The gaussian measurement *seen +- sqrt(*variance) that says of v what y says, when v is known to be v0 with
     * variance tau: their product has the moments of the posterior. */
    void (*observe)(const ltn_spec *s, double y, double v0, double tau, double *seen, double *variance);
    bool (*lost)(const ltn_spec *s, double y); /* y says nothing */
} ltn_noise_row;
const ltn_entry *ltn__noise_entry(int i);
const ltn_noise_row *ltn__noise_row(int i);

/* ---- Likelihood (likelihood.c): noise that is not white and gaussian, as weights W on the values of one measurement
 * and values y' in y's place, anew for every prediction u:
 *     x = argmin gamma/2 |W (A x - y')|^2 + 1/2 |x - u|^2,  W_i^2 = sigma^2 / variance_i ---- */
struct ltn_likelihood {
    const ltn_noise_row *row;
    const ltn_spec *spec;
    double sigma, gain; /* deviation of y, in [-1, 1]; tr(A A^T) / m */
    size_t lost;        /* values of y that say nothing: W = 0 */
    uint8_t *is_lost;
    float *weight2, *seen; /* W^2, y' */
    float *zero;           /* a measurement of zeros */
    double mean_weight2;
    float *cg[5]; /* where the degradation has none */
};
/* Binds d, which is of ltn__signed, to the noise of y, in [0, 1], of deviation sigma; spec is borrowed. Then
 * ltn__forward, measured and prox know of it. Where the noise is white and gaussian nothing is bound. */
ltn_status ltn__likelihood_open(ltn_degradation *d, const ltn_spec *spec, const float *y, double sigma);
void ltn__likelihood_close(ltn_degradation *d);
/* The two halves of ltn__prox: weights for a prediction u and a gamma; the prox under the last weights, of y' or of
 * another measurement. Without a likelihood the first does nothing and the second is all. */
void ltn__weigh(const ltn_degradation *d, const float *y, double gamma, const float *u);
int ltn__prox_weighed(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x);
/* White noise n as the measurement has it under the last weights: n_i / W_i. */
void ltn__noise_like(const ltn_degradation *d, const float *n, float *out);
/* Clears what is lost of a measurement (y may be NULL); returns how many values are. */
size_t ltn__lost(const ltn_degradation *d, float *y);

/* The width of the gaussian that has blurred y (blur_width.c). */
ltn_status ltn__blur_width(ltn_ctx *ctx, const ltn_image *y, double *sigma);

/* LTN_ESHAPE and one line if y is no measurement of d. */
ltn_status ltn__fits(const ltn_degradation *d, const ltn_image *y);
/* Looks at the places where seen is not 0 (NULL: all). LTN_ESHAPE and one line: there are too few. */
ltn_status ltn__noise_levels(ltn_ctx *ctx, const float *y, const float *seen, ltn_size s, ltn_noise_levels *out);
/* The variances of levels that have been found, again, by what of y's noise is left when it is evened out as if it were
 * the row's of that strength: more exact, since all colours together tell noise from texture. */
ltn_status ltn__noise_evened(ltn_ctx *ctx, const float *y, const float *seen, ltn_size s, const ltn_noise_row *row,
                             const ltn_spec *spec, ltn_noise_levels *l);
/* Deviation of white gaussian noise in y (estimate.c); *told: enough of y is known for it. 0 and *status = LTN_ENOMEM
 * if memory fails. */
double ltn__estimate_sigma(ltn_ctx *ctx, const float *y, ltn_size s, bool *told, ltn_status *status);

#endif
