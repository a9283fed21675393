/* quick_gelu.c - x sigmoid(1.702 x), the first CLIP's approximation of gelu (Hendrycks and Gimpel 2016). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__quick_gelu(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_quick_gelu, x->dims, 1, &x);
}

LTN_KERNEL static void quick_gelu_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * fast_sigmoid((real)1.702 * x[i]);
}

static void quick_gelu_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(quick_gelu_part, src[0], dst, ltn__count(n->dims), threads);
}

static ltn_node *quick_gelu_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0];
    return ltn__mul(g, x, ltn__sigmoid(g, ltn__affine(g, x, 1.702, 0)));
}

static ltn_node *quick_gelu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__quick_gelu(g, x) : NULL;
}

const ltn_op ltn__op_quick_gelu = {
    .entry = {.name = "quick_gelu", .help = "x sigmoid(1.702 x)"},
    .run = quick_gelu_run,
    .decompose = quick_gelu_decompose,
    .example = quick_gelu_example,
    .inplace = true,
};
