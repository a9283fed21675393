/* tanh.c - the hyperbolic tangent; its derivative is 1 - y^2. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__tanh(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_tanh, x->dims, 1, &x);
}

LTN_KERNEL static void tanh_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = fast_tanh(x[i]);
}

static void tanh_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(tanh_part, src[0], dst, ltn__count(n->dims), threads);
}

static void tanh_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__mul(g, dy, ltn__affine(g, ltn__mul(g, n, n), -1, 1));
}

static ltn_node *tanh_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__tanh(g, x) : NULL;
}

const ltn_op ltn__op_tanh = {
    .entry = {.name = "tanh", .help = "hyperbolic tangent"},
    .run = tanh_run,
    .vjp = tanh_vjp,
    .example = tanh_example,
    .rows = ltn__same_rows,
    .inplace = true,
};
