/* silu.c - x sigmoid(x) (Elfwing et al. 2017). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__silu(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_silu, x->dims, 1, &x);
}

LTN_KERNEL static void silu_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * fast_sigmoid(x[i]);
}

static void silu_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(silu_part, src[0], dst, ltn__count(n->dims), threads);
}

static ltn_node *silu_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0];
    return ltn__mul(g, x, ltn__sigmoid(g, x));
}

static ltn_node *silu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__silu(g, x) : NULL;
}

const ltn_op ltn__op_silu = {
    .entry = {.name = "silu", .help = "x sigmoid(x)"},
    .run = silu_run,
    .decompose = silu_decompose,
    .example = silu_example,
    .inplace = true,
};
