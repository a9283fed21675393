/* dps.h - a step of diffusion posterior sampling in two halves, between which psld adds its term to the loss;
 * the first of them is latino-gradient's too. */
#ifndef LTN_DPS_H
#define LTN_DPS_H

#include "diffusion.h"

typedef struct ltn_dps {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps;
    double zeta, pull, eta; /* zeta = 0: by the rule */
    double spacing;
    double norm, goal;      /* |A x - y|; what it is when x is right */
    float *z, *z0, *eps;    /* latents: z_t, its prediction, noise */
    float *x;               /* D(z0) */
    float *dx, *dz0, *dz;   /* gradients of the loss: by x, by z0 other than through x, by z_t */
    float *r;               /* a measurement */
} ltn_dps;
/* Reads LTN_DPS_PARAMS. */
ltn_status ltn__dps_open(ltn_dps *d, const ltn_problem *q, ltn_prior *p, const ltn_spec *s, int *steps);
void ltn__dps_close(ltn_dps *d);
/* z0, x and norm from z at time t; dx is the gradient of norm, dz0 is 0. */
ltn_status ltn__dps_misfit(ltn_dps *d, int t);
/* The same at the grid's time; the first z is draw 0. */
ltn_status ltn__dps_look(ltn_dps *d);
/* Takes the gradient back to z_t and goes on to the next time: LTN_OK, LTN_DONE or an error. */
ltn_status ltn__dps_move(ltn_dps *d, ltn_progress *progress);

#define LTN_DPS_PARAMS \
    {.name = "steps", .help = "network calls, each with a gradient", \
     .type = LTN_INT, .def = 100, .min = 1, .max = 1000}, \
    LTN_SPACING_PARAM, \
    {.name = "zeta", .help = "step along the gradient, the same in all steps as in the paper; 0: by the residual", \
     .type = LTN_FLOAT, .max = 1e6}, \
    {.name = "pull", .help = "with zeta=0: part of the excess of |A x - y| that a step is to remove", \
     .type = LTN_FLOAT, .def = 0.8, .max = 10}, \
    {.name = "eta", .help = "fresh noise in every step: 1 ancestral sampling, 0 none (DDIM)", \
     .type = LTN_FLOAT, .def = 1, .max = 1}

#endif
