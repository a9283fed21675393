/* metric.h - distances between two pictures: one row of metric.def each. */
#ifndef LTN_METRIC_H
#define LTN_METRIC_H

#include "../base/base.h"

typedef struct ltn_metric_row {
    ltn_entry entry;
    ltn_status (*measure)(ltn_ctx *ctx, const ltn_image *a, const ltn_image *b, double *out); /* equal sizes */
} ltn_metric_row;
const ltn_entry *ltn__metric_entry(int i);
const ltn_metric_row *ltn__metric_row(int i);

#endif
