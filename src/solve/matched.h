/* matched.h - the rule "matched": what LATINO does in a step is set by the error that x is measured to carry. */
#ifndef LTN_MATCHED_H
#define LTN_MATCHED_H

#include "solve.h"

/* State of the rule for one problem. All memory exists when open returns. */
typedef struct ltn_matched {
    const ltn_problem *q;
    const ltn_prior *p;
    double gain;   /* tr(A A^T) / m, by a probe; where A is not linear, found at every u */
    double error2; /* mean squared error that x is thought to carry */
    float *w, *n;  /* the probes: white noise as a picture, as a measurement */
    float *zero;   /* a measurement of zeros */
    float *a, *b;  /* room for pictures */
    float *c;      /* and a third where A is not linear */
    float *r;      /* room for a measurement */
    float *row;    /* room for a padded row */
} ltn_matched;
/* The caller's probes (tests) or NULL: drawn from the problem's rng. */
ltn_status ltn__matched_open(ltn_matched *m, const ltn_problem *q, const ltn_prior *p);
void ltn__matched_close(ltn_matched *m);
/* Writes the start x and sets the error that it carries. */
void ltn__matched_start(ltn_matched *m, float *x);
/* The time step at which the prior expects as much noise as x carries. */
int ltn__matched_time(const ltn_matched *m);
/* gamma for the prediction u; sets the error that the x after this prox will carry. */
double ltn__matched_gamma(ltn_matched *m, const float *u);

#endif
