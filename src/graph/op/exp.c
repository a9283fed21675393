/* exp.c - e^x. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__exp(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_exp, x->dims, 1, &x);
}

LTN_KERNEL static void exp_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = fast_exp(x[i]);
}

static void exp_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(exp_part, src[0], dst, ltn__count(n->dims), threads);
}

static void exp_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__mul(g, dy, n);
}

static ltn_node *exp_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__exp(g, x) : NULL;
}

const ltn_op ltn__op_exp = {
    .entry = {.name = "exp", .help = "e^x"},
    .run = exp_run,
    .vjp = exp_vjp,
    .example = exp_example,
    .inplace = true,
};
