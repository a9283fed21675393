/* gelu.c - x Phi(x) with the normal distribution's Phi (Hendrycks and Gimpel 2016). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__gelu(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_gelu, x->dims, 1, &x);
}

LTN_KERNEL static void gelu_part(const real *x, real *y, int64_t n)
{
    const real half = (real)0.5;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * (half + half * fast_erf(x[i] * (real)0.70710678118654752));
}

static void gelu_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(gelu_part, src[0], dst, ltn__count(n->dims), threads);
}

static ltn_node *gelu_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0];
    ltn_node *phi = ltn__affine(g, ltn__erf(g, ltn__affine(g, x, 0.70710678118654752, 0)), 0.5, 0.5);
    return ltn__mul(g, x, phi);
}

static ltn_node *gelu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__gelu(g, x) : NULL;
}

const ltn_op ltn__op_gelu = {
    .entry = {.name = "gelu", .help = "x Phi(x), by erf"},
    .run = gelu_run,
    .decompose = gelu_decompose,
    .example = gelu_example,
    .inplace = true,
};
