/* relu.c - max(x, 0); and its gradient, relu_dx(dy, y): dy where y > 0. It looks at the result, which is
 * needed anyway, so that x need not be kept. */
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

static ltn_node *dx(ltn_graph *g, ltn_node *dy, ltn_node *y)
{
    return ltn__node(g, &ltn__op_relu_dx, y->dims, 2, (ltn_node *[]){dy, y});
}

static void relu_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = dx(g, dy, n);
}

LTN_KERNEL static void relu_dx_part(const real *dy, const real *y, real *d, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) d[i] = y[i] > 0 ? dy[i] : 0;
}

static void relu_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map2(relu_dx_part, src[0], src[1], dst, ltn__count(n->dims), threads);
}

/* By y it is constant. */
static void relu_dx_vjp(ltn_graph *g, ltn_node *n, ltn_node *d, const bool *want, ltn_node **gsrc)
{
    if (want[0]) gsrc[0] = dx(g, d, n->src[1]);
}

static ltn_node *relu_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__relu(g, x) : NULL;
}

static ltn_node *relu_dx_example(ltn_graph *g, int k)
{
    ltn_node *y = ltn__example_input(g, "of", k);
    return y ? dx(g, ltn__example_input(g, "dy", k), y) : NULL;
}

const ltn_op ltn__op_relu = {
    .entry = {.name = "relu", .help = "max(x, 0)"},
    .run = relu_run,
    .vjp = relu_vjp,
    .example = relu_example,
    .rows = ltn__same_rows,
    .inplace = true,
};

const ltn_op ltn__op_relu_dx = {
    .entry = {.name = "relu_dx", .help = "the gradient of relu, by its result"},
    .run = relu_dx_run,
    .vjp = relu_dx_vjp,
    .example = relu_dx_example,
    .inplace = true,
};
