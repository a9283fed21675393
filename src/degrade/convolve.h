/* convolve.h - convolution with a kernel as an operator, whatever the kernel is of: blur, motion, defocus. */
#ifndef LTN_CONVOLVE_H
#define LTN_CONVOLVE_H

#include "degrade.h"
#include "fourier.h"

/* tap[y * width + x]; the centre is tap (height / 2, width / 2), whole numbers. */
typedef struct ltn_kernel {
    int width, height;
    float *tap;
} ltn_kernel;

/* What lies beyond the border: the picture again (circular), its mirror image (d c b a | a b c d | d c b a),
 * or nothing that is known, so that y is smaller than x by the kernel's size - 1 (valid). */
#define LTN_BORDER_PARAM                                                                                \
    {.name = "boundary", .type = LTN_CHOICE, .choices = "mirror|circular|valid",                        \
     .help = "beyond the border: the mirror image, the other side, or nothing, y is smaller"}
/* y(i) = sum_j k(j) x(i - j + centre), or with x(i + j - centre): the kernel turned by half a circle. */
#define LTN_ORDER_PARAM                                                                        \
    {.name = "order", .help = "convolution, or correlation: the kernel turned by 180 degrees", \
     .type = LTN_CHOICE, .choices = "convolution|correlation"}

/* Opens op with this kernel, which is borrowed, and the spec's boundary. turned: correlation. */
ltn_status ltn__convolve_open(ltn_operator *op, const ltn_spec *s, const ltn_kernel *k, bool turned);
void ltn__convolve_close(ltn_operator *op);
/* The size of x for a kernel of this size. */
ltn_status ltn__convolve_input(const ltn_spec *s, int kernel_width, int kernel_height, ltn_size y,
                               ltn_size *x);
/* A kernel of zeros; its taps are freed with ltn__free. */
ltn_status ltn__kernel_new(ltn_ctx *ctx, int width, int height, ltn_kernel *k);
/* From a file: .npy, a picture, or text (blur.c). On failure k->tap may have to be freed. */
ltn_status ltn__kernel_read(ltn_ctx *ctx, const char *path, ltn_kernel *k);
/* Divides by the sum; refuses a kernel whose sum is 0 or no number. */
ltn_status ltn__kernel_normalize(ltn_ctx *ctx, const char *name, ltn_kernel *k);

/* A gaussian with sigma along an axis that is turned by `angle` degrees from the rows towards the columns, across
 * along the other (blur.c); a disc, each tap the part of its pixel that it covers (defocus.c). Not normalised, on all
 * of k. */
void ltn__kernel_gaussian(ltn_kernel *k, double sigma, double across, double angle);
void ltn__kernel_disc(ltn_kernel *k, double radius);
/* Adds a point of weight 1 at (x, y), pixels, to the four taps around it (motion.c). */
void ltn__kernel_point(ltn_kernel *k, double x, double y);
/* Turned by 180 degrees, in place. */
void ltn__kernel_turn(ltn_kernel *k);

#endif
