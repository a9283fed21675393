/* resize.c - antialiased bicubic resize: each output sample is a weighted mean of the input around its
 * centre, weights k(d / s) with Keys' cubic kernel k, a = -1/2 (Keys 1981), s = max(1, input / output);
 * renormalised at the borders. */
#include "file.h"

#include <math.h>

/* Where the taps of each output sample begin, how many they are, and their weights, `room` apart. */
typedef struct taps {
    int room;
    int *begin, *count;
    double *weight;
} taps;

static double keys(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static void taps_close(ltn_ctx *ctx, taps *t)
{
    ltn__free(ctx, t->begin);
    ltn__free(ctx, t->count);
    ltn__free(ctx, t->weight);
}

static ltn_status taps_open(ltn_ctx *ctx, int in, int out, taps *t)
{
    const double step = (double)in / out, scale = fmax(1, step), support = 2 * scale;
    t->room = (int)ceil(2 * support) + 1;
    t->begin = ltn__alloc(ctx, (size_t)out, sizeof *t->begin);
    t->count = ltn__alloc(ctx, (size_t)out, sizeof *t->count);
    t->weight = ltn__alloc(ctx, (size_t)out * (size_t)t->room, sizeof *t->weight);
    if (!t->begin || !t->count || !t->weight) return LTN_ENOMEM;
    for (int i = 0; i < out; i++) {
        const double centre = (i + 0.5) * step;
        const int first = (int)fmax(0, floor(centre - support + 0.5)),
                  last = (int)fmin(in, floor(centre + support + 0.5));
        double *w = t->weight + (size_t)i * (size_t)t->room, sum = 0;
        t->begin[i] = first;
        t->count[i] = last - first;
        for (int k = 0; k < last - first; k++) sum += w[k] = keys((first + k + 0.5 - centre) / scale);
        for (int k = 0; k < last - first; k++) w[k] /= sum;
    }
    return LTN_OK;
}

/* Resamples the middle axis of (outer, in, inner) to (outer, out, inner). */
static void resample(const taps *t, int64_t outer, int64_t in, int64_t out, int64_t inner, const float *from,
                     float *to)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < out; i++) {
            const double *w = t->weight + i * t->room;
            const float *p = from + (o * in + t->begin[i]) * inner;
            for (int64_t j = 0; j < inner; j++) {
                double sum = 0;
                for (int k = 0; k < t->count[i]; k++) sum += w[k] * p[k * inner + j];
                *to++ = (float)sum;
            }
        }
}

ltn_status ltn_image_resize(ltn_ctx *ctx, const ltn_image *im, int width, int height, ltn_image *out)
{
    taps across = {0}, down = {0};
    ltn_image wide = {0}, fresh = {0}; /* width x old height, then width x height */
    ltn_status s = ltn__image_begin(ctx, "resize", width, im->height, im->channels, &wide);
    if (!s) s = ltn_image_new(ctx, width, height, im->channels, im, &fresh);
    if (!s) s = taps_open(ctx, im->width, width, &across);
    if (!s) s = taps_open(ctx, im->height, height, &down);
    if (!s) {
        resample(&across, (int64_t)im->channels * im->height, im->width, width, 1, im->data, wide.data);
        resample(&down, im->channels, im->height, height, width, wide.data, fresh.data);
    }
    taps_close(ctx, &across);
    taps_close(ctx, &down);
    ltn_image_free(ctx, &wide);
    if (s) ltn_image_free(ctx, &fresh);
    *out = fresh;
    return s;
}
