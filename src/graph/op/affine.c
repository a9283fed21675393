/* affine.c - scale x + shift. f[0]: scale, f[1]: shift. */
#include "map.h"

ltn_node *ltn__affine(ltn_graph *g, ltn_node *x, double scale, double shift)
{
    ltn_node *n = ltn__node(g, &ltn__op_affine, x->dims, 1, &x);
    n->f[0] = scale;
    n->f[1] = shift;
    return n;
}

LTN_KERNEL static void affine_part(real scale, real shift, const real *x, real *y, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = scale * x[i] + shift;
}

static void affine_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const real scale = (real)n->f[0], shift = (real)n->f[1];
    const int64_t count = ltn__count(n->dims);
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t i = 0; i < count; i += LTN_PART)
        affine_part(scale, shift, src[0] + i, dst + i, LTN_MIN(LTN_PART, count - i));
}

static void affine_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__affine(g, dy, n->f[0], 0);
}

static ltn_node *affine_example(ltn_graph *g, int k)
{
    ltn_node *x = ltn__example_input(g, "x", k);
    return x ? ltn__affine(g, x, k - 1.5, 0.25 * k) : NULL;
}

const ltn_op ltn__op_affine = {
    .entry = {.name = "affine", .help = "scale x + shift"},
    .run = affine_run,
    .vjp = affine_vjp,
    .example = affine_example,
    .rows = ltn__same_rows,
    .inplace = true,
};
