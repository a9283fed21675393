/* rsqrt.c - 1 / sqrt(x); its derivative is -y^3 / 2. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__rsqrt(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_rsqrt, x->dims, 1, &x);
}

LTN_KERNEL static void rsqrt_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = 1 / real_sqrt(x[i]);
}

static void rsqrt_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(rsqrt_part, src[0], dst, ltn__count(n->dims), threads);
}

static void rsqrt_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__mul(g, dy, ltn__affine(g, ltn__mul(g, n, ltn__mul(g, n, n)), -0.5, 0));
}

static ltn_node *rsqrt_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "positive", k);
    return x ? ltn__rsqrt(g, x) : NULL;
}

const ltn_op ltn__op_rsqrt = {
    .entry = {.name = "rsqrt", .help = "1 / sqrt(x)"},
    .run = rsqrt_run,
    .vjp = rsqrt_vjp,
    .example = rsqrt_example,
    .inplace = true,
};
