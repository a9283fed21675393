/* blind.h - a kernel from the picture that it has blurred, or a filter from the one that it has made smaller. */
#ifndef LTN_BLIND_H
#define LTN_BLIND_H

#include "convolve.h"
#include "resample.h"

/* The kernel when pictures are known (kernel_fit.c): k = argmin sum |k * g - h|^2 + ridge |k|^2 with k >= 0,
 * over pairs of planes g, h of one size that go around at their borders; (k * g)(i) = sum_j k(j) g(i - j + centre) */
typedef struct ltn_kernel_fit {
    ltn_plane plane, small; /* of the pictures; of twice the kernel */
    int size;               /* k is size x size, odd */
    float *g, *h;           /* spectra */
    float *gram, *right;    /* spectra of sum g correlated with g, and with h */
    float *lags, *cut;      /* planes: all lags; those that fit into `small` */
    float *response, *spectrum; /* of `small` */
    float *b, *slope, *point, *before; /* size x size */
} ltn_kernel_fit;
/* Accepts half-opened ones. */
ltn_status ltn__kernel_fit_open(ltn_ctx *ctx, int width, int height, int size, ltn_kernel_fit *f);
void ltn__kernel_fit_close(ltn_ctx *ctx, ltn_kernel_fit *f);
void ltn__kernel_fit_clear(ltn_kernel_fit *f);
void ltn__kernel_fit_add(ltn_kernel_fit *f, const float *g, const float *h);
/* From what was added since clear. ridge is relative to what is seen of a single tap, sum |g|^2; k holds a start.
 * False: g is 0 all over, and k stays. */
bool ltn__kernel_fit_solve(ltn_kernel_fit *f, double ridge, float *k);

/* Which kernel makes the spectrum of a measurement likely (kernel_power.c). */
enum { LTN_POWER_TERMS = 6, LTN_POWER_SIDE = 24 };
typedef struct ltn_power {
    ltn_ctx *ctx;
    ltn_plane plane; /* of a tile, side x side */
    int side, n;     /* n: frequencies that count */
    int *at;         /* where they lie in a spectrum */
    float *seen, *basis, *power; /* of n: S; LTN_POWER_TERMS for each; |K|^2 of the kernel that is asked about */
    float *tile, *spectrum;
    double noise, start[LTN_POWER_TERMS];
} ltn_power;
/* The mean of the colours, without alpha: width x height; as a picture its data are the caller's. */
void ltn__mean_colour(const ltn_image *y, float *out);
ltn_status ltn__grey(ltn_ctx *ctx, const ltn_image *y, ltn_image *grey);
/* grey: LTN_POWER_SIDE pixels a side at least. LTN_EINVAL: there is nothing but noise, whose sigma is estimated; the
 * complaint begins with `asked`. */
ltn_status ltn__power_open(ltn_ctx *ctx, const ltn_image *grey, const char *asked, ltn_power *p);
void ltn__power_close(ltn_power *p);
/* Less is more likely; by the natural logarithm of how much. least: of p->power, which the caller has filled: element
 * i is of frequency (at[i] / side, at[i] % side) / side. */
double ltn__power_misfit(ltn_power *p, const ltn_kernel *k);
double ltn__power_least(ltn_power *p);

/* Of all gaussians, discs and lines that fit into k, which has a size, the likeliest; returns its misfit
 * (kernel_family.c). */
double ltn__kernel_family(ltn_power *power, ltn_kernel *k);

/* The kernel that has blurred y, size x size (odd), >= 0, its sum 1, its centre of mass in the middle (blind.c).
 * LTN_ESHAPE: the picture is too small for it; LTN_EINVAL: there is nothing to be seen, or no blur. */
ltn_status ltn__blur_kernel(ltn_ctx *ctx, const ltn_image *y, int size, ltn_kernel *k);

/* The filter of an antialiased reduction by a factor (down_filter.c). LTN_ESHAPE: the picture is too small;
 * LTN_EINVAL: there is nothing to be seen. */
ltn_status ltn__down_filter(ltn_ctx *ctx, const ltn_image *y, int factor, ltn_filter *found);

#endif
