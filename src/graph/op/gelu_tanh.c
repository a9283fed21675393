/* gelu_tanh.c - x Phi(x) with Phi(x) by (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (Hendrycks and Gimpel
 * 2016). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__gelu_tanh(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_gelu_tanh, x->dims, 1, &x);
}

#define SQRT_2_PI 0.79788456080286536

static inline real gauss(real x)
{
    const real t = fast_tanh((real)SQRT_2_PI * (x + (real)0.044715 * x * x * x));
    return (real)0.5 * (1 + t);
}

LTN_KERNEL static void gelu_tanh_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * gauss(x[i]);
}

static void gelu_tanh_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(gelu_tanh_part, src[0], dst, ltn__count(n->dims), threads);
}

static ltn_node *gelu_tanh_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0];
    ltn_node *cubic = ltn__mul(g, x, ltn__affine(g, ltn__mul(g, x, x), 0.044715 * SQRT_2_PI, SQRT_2_PI));
    return ltn__mul(g, x, ltn__affine(g, ltn__tanh(g, cubic), 0.5, 0.5));
}

static ltn_node *gelu_tanh_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__gelu_tanh(g, x) : NULL;
}

const ltn_op ltn__op_gelu_tanh = {
    .entry = {.name = "gelu_tanh", .help = "x Phi(x), by tanh"},
    .run = gelu_tanh_run,
    .decompose = gelu_tanh_decompose,
    .example = gelu_tanh_example,
    .inplace = true,
};
