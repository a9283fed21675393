/* metric.h - distances between pictures: one row of metric.def each. A metric is opened once, is given pairs
 * of pictures, and ends with one number of all of them: the mean of the pairs' values, or a distance between
 * the two sets. */
#ifndef LTN_METRIC_H
#define LTN_METRIC_H

#include "../base/base.h"

typedef struct ltn_metric_row {
    ltn_entry entry;
    /* Reads the parameters and makes the state; NULL: there is none. */
    ltn_status (*open)(ltn_metric *m, const ltn_spec *s);
    /* The value of a pair of equal sizes, not empty. With `finish`: takes each picture into its set; either
     * may be NULL, sizes may differ, and there is no value. */
    ltn_status (*measure)(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value);
    /* The distance of the sets; NULL: the mean of the values. */
    ltn_status (*finish)(ltn_metric *m, double *out);
    void (*close)(ltn_metric *m); /* also of a state half made; NULL: nothing to free */
} ltn_metric_row;

struct ltn_metric {
    ltn_ctx *ctx;
    const ltn_metric_row *row;
    void *state;
    double sum; /* of the pairs' values */
    int64_t pairs;
};
const ltn_entry *ltn__metric_entry(int i);
const ltn_metric_row *ltn__metric_row(int i);

/* Alpha (channel 2 of 2, 4 of 4) does not count. */
int ltn__colours(const ltn_image *im);
/* Refuses pictures that are neither grey nor RGB, or smaller than this. */
ltn_status ltn__metric_wants(ltn_metric *m, const ltn_image *im, int width, int height);
/* A plane of half the size, rounded up: the sum of weight[c] times colour c, averaged over squares of 2 x 2
 * pixels, zeros beyond the border. */
void ltn__metric_half(const ltn_image *im, const double weight[3], double *out);
/* The mean over a plane's pixels of the structural similarity, and of its factor contrast x structure over
 * those at least 5 pixels away from the border (0: there are none). Either may be NULL. */
ltn_status ltn__ssim(ltn_ctx *ctx, const float *a, const float *b, int width, int height, double *similarity,
                     double *contrast);

#endif
