/* dps.h - a step of diffusion posterior sampling in two halves, between which psld adds its term to the loss. */
#ifndef LTN_DPS_H
#define LTN_DPS_H

#include "diffusion.h"

typedef struct ltn_dps {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps;
    double zeta, eta;
    float *z, *z0, *eps; /* latents: z_t, its prediction, noise */
    float *x;            /* D(z0) */
    float *dx, *dz0, *dz; /* gradients of the loss: by x, by z0 other than through x, by z_t */
    float *r;            /* a measurement */
    double weight;       /* zeta / |A x - y| */
} ltn_dps;
/* Reads steps, zeta and eta; draws the first z. */
ltn_status ltn__dps_open(ltn_dps *d, const ltn_problem *q, ltn_prior *p, const ltn_spec *s, int *steps);
void ltn__dps_close(ltn_dps *d);
/* z0 and x, dx = zeta grad |A x - y|, dz0 = 0. */
ltn_status ltn__dps_look(ltn_dps *d);
/* Takes the gradient back to z_t and goes on to the next time: LTN_OK, LTN_DONE or an error. */
ltn_status ltn__dps_move(ltn_dps *d, ltn_progress *progress);

#endif
