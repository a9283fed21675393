/* fourier.h - discrete Fourier and cosine transforms of real planes of any size. */
#ifndef LTN_FOURIER_H
#define LTN_FOURIER_H

#include <kiss_fft.h>

#include "../base/base.h"

typedef kiss_fft_cpx ltn_complex;

/* A complex transform of length n. */
typedef struct ltn_fft {
    int n, m; /* m: length of the library's transform: n, or more with Bluestein's method */
    kiss_fft_cfg forward, inverse; /* of length m */
    ltn_complex *chirp, *filter;   /* Bluestein's, or NULL */
} ltn_fft;

typedef enum ltn_basis { LTN_FOURIER, LTN_COSINE } ltn_basis;

/* A plane of width x height. Spectra lie transposed, frequency of x first: Fourier as complex
 * [width/2 + 1][height], cosine (DCT-II, not normalised) as real [width][height]. */
typedef struct ltn_plane {
    ltn_ctx *ctx;
    ltn_basis basis;
    int width, height, lines; /* lines: of the spectrum, width/2 + 1 or width */
    ltn_fft row, column;
    ltn_complex *turn[2]; /* cosine: exp(-i pi k / 2n) for rows and for columns */
    float *half;          /* after the first pass */
    ltn_complex *scratch; /* one slice per thread */
    size_t slice;
} ltn_plane;
/* Accepts half-opened planes; *p is zeroed before the first open. */
ltn_status ltn__plane_open(ltn_ctx *ctx, ltn_basis basis, int width, int height, ltn_plane *p);
void ltn__plane_close(ltn_plane *p);
size_t ltn__plane_floats(const ltn_plane *p); /* of a spectrum */
void ltn__plane_forward(const ltn_plane *p, const float *x, float *spectrum);
/* Scale included: the inverse of forward. */
void ltn__plane_inverse(const ltn_plane *p, const float *spectrum, float *x);
/* A spectrum as width x height real coefficients of an orthonormal basis, c[a * height + b]: cosines, or Hartley's,
 * where frequencies k and -k have two. Back again. */
void ltn__plane_pack(const ltn_plane *p, const float *spectrum, float *c);
void ltn__plane_unpack(const ltn_plane *p, const float *c, float *spectrum);
/* Where -k lies among those coefficients. */
size_t ltn__plane_opposite(const ltn_plane *p, int a, int b);
/* A Fourier spectrum as two pictures of all frequencies, the mean in the middle, orthonormal; and the spectrum whose
 * real plane is nearest to what such pictures are the transform of (the real part of their inverse). */
void ltn__plane_unfold(const ltn_plane *p, const float *spectrum, float *re, float *im);
void ltn__plane_fold(const ltn_plane *p, const float *re, const float *im, float *spectrum);
/* The least n' >= n whose transform is fast. */
int ltn__fast_length(int n);

#endif
