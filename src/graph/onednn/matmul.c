/* matmul.c - the rows linear and matmul by oneDNN's matrix product. */
#include "product.h"

/* rows x columns, which lie as columns x rows if `transposed`. */
static product_array matrix(int64_t rows, int64_t columns, bool transposed)
{
    return (product_array){{rows, columns}, {transposed ? 1 : columns, transposed ? rows : 1}};
}

static product_array batch_of(int64_t count, int64_t rows, int64_t columns, bool transposed)
{
    const product_array m = matrix(rows, columns, transposed);
    return (product_array){{count, rows, columns}, {rows * columns, m.stride[0], m.stride[1]}};
}

static ltn_status linear_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                              ltn_kernel *out)
{
    const int64_t from = n->src[0]->dims.d[3], to = n->dims.d[3], rows = ltn__count(n->dims) / to;
    const product_task t = {
        .kind = MATMUL,
        .key = n->i[0] ? "linear adjoint" : "linear",
        .ndims = 2,
        .a = matrix(rows, from, false),
        .w = matrix(from, to, !n->i[0]),
        .y = matrix(rows, to, false),
        .bias = {{n->src[2] ? 1 : 0, to}, {to, 1}},
        .fuse = fuse,
        .n = n,
        .pack = true,
        .threads = threads,
    };
    return ltn__product_open(ctx, &t, out);
}

static ltn_status matmul_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                              ltn_kernel *out)
{
    const int64_t *d = n->dims.d, k = n->src[0]->dims.d[n->i[0] ? 2 : 3], count = d[0] * d[1];
    const product_task t = {
        .kind = MATMUL,
        .key = "matmul",
        .ndims = 3,
        .a = batch_of(count, d[2], k, n->i[0]),
        .w = batch_of(count, k, d[3], n->i[1]),
        .y = batch_of(count, d[2], d[3], false),
        .fuse = fuse,
        .n = n,
        .threads = threads,
    };
    return ltn__product_open(ctx, &t, out);
}

const ltn_cell ltn__cell_onednn_linear = {"onednn:linear", &ltn__op_linear, linear_open, ltn__product_run,
                                          ltn__product_close};
const ltn_cell ltn__cell_onednn_matmul = {"onednn:matmul", &ltn__op_matmul, matmul_open, ltn__product_run,
                                          ltn__product_close};
