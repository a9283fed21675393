/* spectral.h - what the solvers share that walk a diffusion in pixels, coefficient by coefficient of the degradation's
 * singular value decomposition A = U diag(s) V^T. */
#ifndef LTN_SPECTRAL_H
#define LTN_SPECTRAL_H

#include "diffusion.h"

typedef struct ltn_spectral {
    const ltn_problem *q;
    ltn_prior *p;
    size_t count;          /* coefficients; 0: not opened for them */
    double noise;          /* deviation of a picture's value under unit noise on the latent: 1; grey, a mean of three,
                            * less */
    float *z, *z0, *eps;   /* latents: z_t, its prediction, a draw */
    float *x, *dx;         /* pictures: the prediction, a change */
    float *r;              /* a measurement */
    float *s, *data;       /* singular values; diag(s)^-1 U^T y */
    float *c, *c0, *ceps;  /* V^T of the next z / sqrt(ab), of the prediction, of the draw */
} ltn_spectral;
/* Coefficients only if asked for: then they are needed, by `who`. */
ltn_status ltn__spectral_open(ltn_spectral *d, const ltn_problem *q, ltn_prior *p, const char *who, bool coefficients);
void ltn__spectral_close(ltn_spectral *d);

/* The rule for one coefficient that A sees, in units of the picture (z / sqrt(ab)): its prediction c0, the data's
 * value, the deviation e = sigma / s of that, the level of the next time, a standard normal draw. */
typedef double ltn_coefficient(const void *how, double c0, double data, double e, double level, double draw);
/* z <- sqrt(next) (x0 + sqrt(1 - eta^2) l' (z / sqrt(ab) - x0) / l + eta l' eps) where A sees nothing, the rule's where
 * it does; l = sqrt((1 - ab) / ab), l' the same of next, x0 = D(z0). */
ltn_status ltn__spectral_step(ltn_spectral *d, double ab, double next, double eta, ltn_coefficient *rule,
                              const void *how);
/* A picture's change dx into a latent: z += scale dx. */
ltn_status ltn__add_picture(ltn_prior *p, const float *dx, double scale, float *room, float *z);

#endif
