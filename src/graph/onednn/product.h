/* product.h - what all oneDNN cells are: y = a * w + bias, with a sum and an activation behind it, where * is
 * a convolution, its adjoint, or a matrix product. */
#ifndef LTN_PRODUCT_H
#define LTN_PRODUCT_H

#include "../graph.h"
#include "dialect.h"

typedef enum product_kind { CONVOLUTION, CONVOLUTION_DX, MATMUL } product_kind;

/* An array as oneDNN sees it. */
typedef struct product_array {
    dnnl_dims_t dim, stride;
} product_array;

typedef struct product_task {
    product_kind kind;
    const char *key;             /* of the way in which w is read: part of the name of its packed copies */
    int ndims;
    product_array a, w, y, bias; /* bias.dim[0] == 0: none */
    convolution convolution;
    const ltn_fusion *fuse;
    const ltn_node *n;           /* sources: a, w, bias */
    bool pack;                   /* w may be brought into a layout that oneDNN prefers */
    int threads;
} product_task;

/* As an ltn_cell's open, run and close. */
ltn_status ltn__product_open(ltn_ctx *ctx, const product_task *t, ltn_kernel *out);
void ltn__product_run(void *state, const real *const *src, real *dst, void *scratch);
void ltn__product_close(ltn_ctx *ctx, void *state);

#endif
