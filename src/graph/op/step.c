/* step.c - 1 where x > 0, else 0; its derivative is zero. */
#include "map.h"

ltn_node *ltn__step(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_step, x->dims, 1, &x);
}

LTN_KERNEL static void step_part(const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0;
}

static void step_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    ltn__map(step_part, src[0], dst, ltn__count(n->dims), threads);
}

/* No gradient for any source. */
static void step_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
}

static ltn_node *step_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__step(g, x) : NULL;
}

const ltn_op ltn__op_step = {
    .entry = {.name = "step", .help = "1 where x > 0, else 0"},
    .run = step_run,
    .vjp = step_vjp,
    .example = step_example,
    .inplace = true,
};
