/* erf.c - the error function; its derivative is 2 / sqrt(pi) e^(-x^2). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__erf(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_erf, x->dims, 1, &x);
}

LTN_KERNEL static void erf_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = fast_erf(x[i]);
}

static void erf_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(erf_part, src[0], dst, ltn__count(n->dims), threads);
}

static void erf_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0];
    ltn_node *bell = ltn__exp(g, ltn__affine(g, ltn__mul(g, x, x), -1, 0));
    gsrc[0] = ltn__mul(g, dy, ltn__affine(g, bell, 1.1283791670955126, 0));
}

static ltn_node *erf_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__erf(g, x) : NULL;
}

const ltn_op ltn__op_erf = {
    .entry = {.name = "erf", .help = "error function"},
    .run = erf_run,
    .vjp = erf_vjp,
    .example = erf_example,
    .inplace = true,
};
