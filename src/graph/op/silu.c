/* silu.c - x s(x), s the sigmoid (Elfwing et al. 2017); and its gradient, silu_dx(dy, x) = dy s (1 + x (1 -
 * s)). */
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

static ltn_node *dx(ltn_graph *g, ltn_node *dy, ltn_node *x)
{
    return ltn__node(g, &ltn__op_silu_dx, x->dims, 2, (ltn_node *[]){dy, x});
}

static void silu_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = dx(g, dy, n->src[0]);
}

LTN_KERNEL static void silu_dx_part(const real *dy, const real *x, real *d, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const real s = fast_sigmoid(x[i]);
        d[i] = dy[i] * s * (1 + x[i] * (1 - s));
    }
}

static void silu_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map2(silu_dx_part, src[0], src[1], dst, ltn__count(n->dims), threads);
}

static ltn_node *silu_dx_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[1], *s = ltn__sigmoid(g, x);
    ltn_node *slope = ltn__affine(g, ltn__mul(g, x, ltn__affine(g, s, -1, 1)), 1, 1);
    return ltn__mul(g, n->src[0], ltn__mul(g, s, slope));
}

static ltn_node *silu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__silu(g, x) : NULL;
}

static ltn_node *silu_dx_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? dx(g, ltn__example_input(g, "dy", k), x) : NULL;
}

const ltn_op ltn__op_silu = {
    .entry = {.name = "silu", .help = "x sigmoid(x)"},
    .run = silu_run,
    .vjp = silu_vjp,
    .example = silu_example,
    .rows = ltn__same_rows,
    .inplace = true,
};

const ltn_op ltn__op_silu_dx = {
    .entry = {.name = "silu_dx", .help = "the gradient of silu"},
    .run = silu_dx_run,
    .decompose = silu_dx_decompose,
    .example = silu_dx_example,
    .inplace = true,
};
