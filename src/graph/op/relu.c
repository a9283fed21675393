/* relu.c - max(x, 0); its derivative is step(x). */
#include "map.h"

ltn_node *ltn__relu(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_relu, x->dims, 1, &x);
}

LTN_KERNEL static void relu_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(relu_part, src[0], dst, ltn__count(n->dims), threads);
}

static void relu_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__mul(g, dy, ltn__step(g, n->src[0]));
}

static ltn_node *relu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__relu(g, x) : NULL;
}

const ltn_op ltn__op_relu = {
    .entry = {.name = "relu", .help = "max(x, 0)"},
    .run = relu_run,
    .vjp = relu_vjp,
    .example = relu_example,
    .inplace = true,
};
