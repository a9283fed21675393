/* upsample.c - every pixel becomes factor x factor equal ones, and the adjoint: downsum adds up such squares.
 * i[0]: factor. */
#include "map.h"

#include <string.h>

ltn_node *ltn__upsample(ltn_graph *g, ltn_node *x, int factor)
{
    ltn_dims dims = x->dims;
    if (factor < 1) return ltn__graph_fail(g, LTN_ESHAPE, "upsample: by %d", factor);
    dims.d[1] *= factor;
    dims.d[2] *= factor;
    ltn_node *n = ltn__node(g, &ltn__op_upsample, dims, 1, &x);
    n->i[0] = factor;
    return n;
}

static void upsample_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t f = n->i[0], c = n->dims.d[3], width = n->src[0]->dims.d[2],
                  rows = ltn__count(n->src[0]->dims) / (width * c);
    const size_t pixel = (size_t)c * sizeof(real);
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
    for (int64_t row = 0; row < rows; row++) {
        const real *x = src[0] + row * width * c;
        real *y = dst + row * f * width * f * c;
        for (int64_t i = 0; i < width; i++)
            for (int64_t j = 0; j < f; j++) memcpy(y + (i * f + j) * c, x + i * c, pixel);
        for (int64_t j = 1; j < f; j++) memcpy(y + j * width * f * c, y, (size_t)(width * f) * pixel);
    }
}

static void upsample_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__downsum(g, dy, (int)n->i[0]);
}

static ltn_node *upsample_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 1, 1}}, {{2, 3, 5, 7}}, {{1, 9, 10, 64}}};
    return k < LTN_COUNT(dims) ? ltn__upsample(g, ltn__input(g, "x", dims[k]), k == 1 ? 3 : 2) : NULL;
}

static void upsample_rows(const ltn_node *n, ltn_span *make, ltn_span *need)
{
    const int64_t f = n->i[0];
    *need = (ltn_span){make->first / f, (make->end + f - 1) / f};
    *make = (ltn_span){need->first * f, need->end * f};
}

const ltn_op ltn__op_upsample = {
    .entry = {.name = "upsample", .help = "every pixel becomes factor x factor equal ones"},
    .run = upsample_run,
    .vjp = upsample_vjp,
    .example = upsample_example,
    .rows = upsample_rows,
};

ltn_node *ltn__downsum(ltn_graph *g, ltn_node *x, int factor)
{
    ltn_dims dims = x->dims;
    if (ltn__graph_status(g)) return ltn__node(g, &ltn__op_downsum, dims, 1, &x);
    if (factor < 1 || dims.d[1] % factor || dims.d[2] % factor)
        return ltn__graph_fail(g, LTN_ESHAPE, "downsum: %lld x %lld pixels by %d", (long long)dims.d[1],
                               (long long)dims.d[2], factor);
    dims.d[1] /= factor;
    dims.d[2] /= factor;
    ltn_node *n = ltn__node(g, &ltn__op_downsum, dims, 1, &x);
    n->i[0] = factor;
    return n;
}

LTN_KERNEL static void accumulate(const real *restrict x, real *restrict y, int64_t c)
{
    for (int64_t i = 0; i < c; i++) y[i] += x[i];
}

static void downsum_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t f = n->i[0], c = n->dims.d[3], width = n->dims.d[2],
                  rows = ltn__count(n->dims) / (width * c);
#pragma omp parallel for num_threads(threads) if (ltn__count(n->src[0]->dims) > LTN_SERIAL)
    for (int64_t row = 0; row < rows; row++) {
        const real *x = src[0] + row * f * width * f * c;
        real *y = dst + row * width * c;
        memset(y, 0, (size_t)(width * c) * sizeof(real));
        for (int64_t j = 0; j < f; j++)
            for (int64_t i = 0; i < width * f; i++) accumulate(x + (j * width * f + i) * c, y + i / f * c, c);
    }
}

static void downsum_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__upsample(g, dy, (int)n->i[0]);
}

static ltn_node *downsum_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 2, 2, 1}}, {{2, 6, 9, 7}}, {{1, 18, 20, 64}}};
    return k < LTN_COUNT(dims) ? ltn__downsum(g, ltn__input(g, "x", dims[k]), k == 1 ? 3 : 2) : NULL;
}

const ltn_op ltn__op_downsum = {
    .entry = {.name = "downsum", .help = "adds up squares of factor x factor pixels"},
    .run = downsum_run,
    .vjp = downsum_vjp,
    .example = downsum_example,
};
