/* sigmoid.c - 1 / (1 + e^-x); its derivative is y (1 - y). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__sigmoid(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_sigmoid, x->dims, 1, &x);
}

LTN_KERNEL static void sigmoid_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = fast_sigmoid(x[i]);
}

static void sigmoid_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(sigmoid_part, src[0], dst, ltn__count(n->dims), threads);
}

static void sigmoid_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__mul(g, dy, ltn__mul(g, n, ltn__affine(g, n, -1, 1)));
}

static ltn_node *sigmoid_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__sigmoid(g, x) : NULL;
}

const ltn_op ltn__op_sigmoid = {
    .entry = {.name = "sigmoid", .help = "1 / (1 + e^-x)"},
    .run = sigmoid_run,
    .vjp = sigmoid_vjp,
    .example = sigmoid_example,
    .inplace = true,
};
