/* metric.h - distances between two pictures: one row of metric.def each. */
#ifndef LTN_METRIC_H
#define LTN_METRIC_H

#include "../base/base.h"

typedef struct ltn_metric_row {
    ltn_entry entry;
    /* For pictures of equal sizes, not empty. */
    ltn_status (*measure)(ltn_ctx *ctx, const ltn_image *a, const ltn_image *b, double *out);
} ltn_metric_row;
/* What ltn_measure does: the row of this name, after the sizes are checked. Alpha (channel 2 of 2, 4 of 4)
 * does not count. */
ltn_status ltn__measure(ltn_ctx *ctx, const char *metric, const ltn_image *a, const ltn_image *b,
                        double *out);
int ltn__colors(const ltn_image *im);
const ltn_entry *ltn__metric_entry(int i);
const ltn_metric_row *ltn__metric_row(int i);

#endif
