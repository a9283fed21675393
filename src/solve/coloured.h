/* coloured.h - the prox where the prior's error has a spectrum: what latino-sde conditions a draw with. */
#ifndef LTN_COLOURED_H
#define LTN_COLOURED_H

#include "../degrade/fourier.h"
#include "solve.h"

/* Sums over orthonormal cosine coefficients, by octaves: of squares, and how many there are. */
typedef struct ltn_octaves {
    double square[LTN_PARTS_OF_COLOUR][LTN_BANDS], modes[LTN_PARTS_OF_COLOUR][LTN_BANDS];
} ltn_octaves;
/* Adds those of x, `channels` planes: grey, the channels' mean times the root of their number, and colour, what each
 * differs by from that mean. spectra has room for the planes, room for one. */
void ltn__octaves(const ltn_plane *f, int channels, const float *x, float *spectra, float *room, ltn_octaves *o);

typedef struct ltn_coloured {
    const ltn_problem *q;
    ltn_plane plane;
    float *variance[LTN_PARTS_OF_COLOUR]; /* of the error's orthonormal cosine coefficients, in a spectrum's order */
    float *s;                             /* the spectra of a picture's channels */
    float *b, *d, *r, *p, *mp, *z;        /* pictures: conjugate gradients' own */
    float *t;                             /* a measurement */
} ltn_coloured;

/* The prior has a spectrum. Close accepts what is half opened, and zeros. */
ltn_status ltn__coloured_open(ltn_coloured *c, const ltn_problem *q);
void ltn__coloured_close(ltn_coloured *c);
/* C becomes the covariance of the error at t of a prediction that looks like u. */
void ltn__coloured_at(ltn_coloured *c, const ltn_prior *p, int t, const float *u);
/* out = C^(1/2) n; out may be n. */
void ltn__coloured_noise(ltn_coloured *c, const float *n, float *out);
/* tr(A C A^T) / m, by a probe. */
double ltn__coloured_gain(ltn_coloured *c);
/* x = argmin |W (A x - y)|^2 / 2 sigma^2 + 1/2 (x - u)^T (scale C)^-1 (x - u); x is not u. */
void ltn__coloured_prox(ltn_coloured *c, const float *y, double scale, const float *u, float *x);

#endif
