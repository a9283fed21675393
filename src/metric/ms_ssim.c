/* ms_ssim.c - multi-scale structural similarity (Wang, Simoncelli, Bovik, Asilomar 2003):
 *
 *     product over the scales k = 1 .. n - 1 of cs_k^beta_k, times ssim_n^beta_n
 *
 * with cs the mean of SSIM's factor for contrast and structure, where its window lies inside the picture,
 * over pixels and colours; from one scale to the next pictures shrink by averages of 2 x 2 pixels. A mean
 * below zero counts as zero. Five scales have the paper's weights; fewer have its first ones, divided by
 * their sum. */
#include <math.h>

#include "metric.h"

enum { MAX_SCALES = 5, WINDOW = 11 };
static const double betas[MAX_SCALES] = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};

typedef struct state {
    int scales;
    double beta[MAX_SCALES];
} state;

static ltn_status open_state(ltn_metric *m, const ltn_spec *s)
{
    state *t = m->state = ltn__alloc(m->ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    double sum = 0;
    t->scales = (int)ltn__num(s, "scales");
    for (int k = 0; k < t->scales; k++) sum += betas[k];
    for (int k = 0; k < t->scales; k++) t->beta[k] = t->scales < MAX_SCALES ? betas[k] / sum : betas[k];
    return LTN_OK;
}

static void close_state(ltn_metric *m)
{
    ltn__free(m->ctx, m->state);
}

/* Averages of 2 x 2 pixels, an odd border left out; y may be x. */
static void shrink(const float *x, int width, int height, float *y)
{
    for (int i = 0; i < height / 2; i++) {
        const float *p = x + (int64_t)2 * i * width, *q = p + width;
        for (int j = 0; j < width / 2; j++, p += 2, q += 2) *y++ = (p[0] + p[1] + q[0] + q[1]) / 4;
    }
}

/* Adds what each scale of one colour gives to mean[]; small holds two planes of a quarter of the pixels. */
static ltn_status colour(const ltn_metric *m, const float *a, const float *b, int width, int height,
                         float *small, double *mean)
{
    const int scales = ((const state *)m->state)->scales;
    float *p = small, *q = small + (int64_t)(width / 2) * (height / 2);
    for (int k = 0; k < scales; k++) {
        const bool last = k == scales - 1;
        double v = 0;
        const ltn_status s = ltn__ssim(m->ctx, a, b, width, height, last ? &v : NULL, last ? NULL : &v);
        if (s) return s;
        mean[k] += v;
        shrink(a, width, height, p);
        shrink(b, width, height, q);
        a = p, b = q;
        width /= 2, height /= 2;
    }
    return LTN_OK;
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    const state *t = m->state;
    const int least = WINDOW << (t->scales - 1), colours = ltn__colours(a);
    const size_t plane = (size_t)a->width * (size_t)a->height;
    double mean[MAX_SCALES] = {0};
    if (a->width < least || a->height < least)
        return ltn__fail(m->ctx, LTN_ESHAPE, "ms_ssim: %d scales need %d x %d pixels, not %d x %d", t->scales,
                         least, least, a->width, a->height);
    float *small = ltn__alloc(m->ctx, plane / 2, sizeof *small);
    ltn_status s = small ? LTN_OK : LTN_ENOMEM;
    for (size_t c = 0; c < (size_t)colours && !s; c++)
        s = colour(m, a->data + c * plane, b->data + c * plane, a->width, a->height, small, mean);
    ltn__free(m->ctx, small);
    *value = 1;
    for (int k = 0; k < t->scales; k++) *value *= pow(mean[k] < 0 ? 0 : mean[k] / colours, t->beta[k]);
    return s;
}

static const ltn_param params[] = {
    {.name = "scales",
     .help = "how often pictures shrink to half, plus one; n need 11 2^(n - 1) pixels a side",
     .type = LTN_INT,
     .def = MAX_SCALES,
     .min = 1,
     .max = MAX_SCALES},
    {.name = NULL},
};

const ltn_metric_row ltn__metric_ms_ssim = {
    .entry = {.name = "ms_ssim", .help = "multi-scale structural similarity, at most 1, higher is better",
              .cite = "Wang, Simoncelli, Bovik, Asilomar Conf. Signals, Systems and Computers, 2003",
              .param = params, .alias = "ms-ssim"},
    .open = open_state,
    .measure = measure,
    .close = close_state,
};
