/* resample.h - filters between two sampling grids of a line, as sparse matrices, and the separable operators
 * they make. */
#ifndef LTN_RESAMPLE_H
#define LTN_RESAMPLE_H

#include "../base/base.h"

/* The order of the names in LTN_FILTER_NAMES. */
typedef enum ltn_filter {
    LTN_BICUBIC, LTN_BILINEAR, LTN_BOX, LTN_LANCZOS, LTN_GAUSSIAN, LTN_NEAREST
} ltn_filter;
#define LTN_FILTER_NAMES "bicubic|bilinear|box|lanczos|gaussian|none"

/* Row o holds entries start[o] ... start[o + 1] - 1. */
typedef struct ltn_sparse {
    int rows, columns;
    int *start, *index;
    float *weight;
} ltn_sparse;

/* Sample o looks at the place (o + 1/2) scale + shift of a line whose pixel p covers p ... p + 1, through a
 * filter that is widened by the scale where that is above 1. Weights sum to 1; at the border the line ends, goes on
 * around, or comes back (c b a | a b c). */
typedef enum ltn_line_end { LTN_CLIP, LTN_WRAP, LTN_REFLECT } ltn_line_end;
typedef struct ltn_sampling {
    int in, out;
    ltn_filter filter;
    double scale, shift;
    ltn_line_end end;
} ltn_sampling;
ltn_status ltn__sparse_sampling(ltn_ctx *ctx, const ltn_sampling *s, ltn_sparse *m);
ltn_status ltn__sparse_transpose(ltn_ctx *ctx, const ltn_sparse *m, ltn_sparse *t);
void ltn__sparse_free(ltn_ctx *ctx, ltn_sparse *m);
/* The number of pixels that the filter spans at this scale. */
int ltn__filter_span(ltn_filter f, double scale);

/* out[i][j] = sum rows[i][a] columns[j][b] in[a][b]; between has rows->columns * columns->rows values. */
void ltn__sparse_apply(const ltn_sparse *rows, const ltn_sparse *columns, const float *in, float *between,
                       float *out, int threads);

#endif
