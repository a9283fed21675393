/* latino.h - the pieces of LATINO's loop (arXiv 2503.12615), for the solver of that name, LATINO-PRO and the ablations.
 *
 *     z  = sqrt(ab_t) E(x) + sqrt(1 - ab_t) eps       ltn__latino_noised, or ltn__latino_moved
 *     z0 = f(z, t, c), u = D(z0)                      ltn__latino_predict
 *     x  = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2   ltn__latino_data */
#ifndef LTN_SOLVE_LATINO_H
#define LTN_SOLVE_LATINO_H

#include "matched.h"

enum { LTN_START_OWN, LTN_START_NAIVE, LTN_START_ADJOINT };

/* All memory exists when open returns. */
typedef struct ltn_latino {
    const ltn_problem *q;
    ltn_prior *p;
    const ltn_rule *rule; /* NULL: matched */
    const void *rule_data;
    ltn_matched matched;
    int draws;           /* of noise so far */
    bool begun;          /* there is a prediction */
    size_t n;            /* of a picture */
    float *x, *u;        /* the last prox, the last prediction */
    float *z, *z0, *eps; /* latents */
    float *r;            /* a measurement */
} ltn_latino;
/* rule: "matched" or a rule of rule.c. */
ltn_status ltn__latino_open(ltn_latino *l, const ltn_problem *q, ltn_prior *p, const char *rule);
void ltn__latino_close(ltn_latino *l);
/* Writes the start x. */
void ltn__latino_start(ltn_latino *l, int how);
/* The rule's own time step; only with matched. */
int ltn__latino_time(const ltn_latino *l);
/* z = sqrt(ab) E(x) + sqrt(1 - ab) eps, eps the next draw. */
ltn_status ltn__latino_noised(ltn_latino *l, double ab);
/* z = sqrt(ab) (z0 + E(x) - E(u)), before the first prediction sqrt(ab) E(x). */
ltn_status ltn__latino_moved(ltn_latino *l, double ab);
ltn_status ltn__latino_predict(ltn_latino *l, int t);
/* The prox with the rule's gamma, which is returned. */
double ltn__latino_data(ltn_latino *l, int t);
/* One whole step at t, z as the rule wants it; sets what the progress knows of it. */
ltn_status ltn__latino_step(ltn_latino *l, int t, ltn_progress *progress);
void ltn__latino_report(ltn_latino *l, int t, double gamma, ltn_progress *progress);

/* "999/749/499/249": falling time steps, into t (room for train_steps); returns how many, 0 if it is no such list. */
int ltn__times_by_list(const char *list, int train_steps, int *t);
/* `steps` of them at equal distances, from the last. */
int ltn__times_by_default(int steps, int train_steps, int *t);

#endif
