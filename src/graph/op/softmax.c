/* softmax.c - e^x / sum(e^x) over the last dimension, the largest x being subtracted first. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__softmax(ltn_graph *g, ltn_node *x)
{
    return ltn__node(g, &ltn__op_softmax, x->dims, 1, &x);
}

LTN_KERNEL static void softmax_row(const real *x, real *y, int64_t c)
{
    real most = x[0], sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < c; i++) most = x[i] > most ? x[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < c; i++) {
        y[i] = fast_exp(x[i] - most);
        sum += y[i];
    }
    const real scale = 1 / sum;
#pragma omp simd
    for (int64_t i = 0; i < c; i++) y[i] *= scale;
}

static void softmax_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3], count = ltn__count(n->dims);
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t row = 0; row < count / c; row++) softmax_row(src[0] + c * row, dst + c * row, c);
}

/* dx = y (dy - <y, dy>) */
static void softmax_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_dims one = n->dims;
    one.d[3] = 1;
    gsrc[0] = ltn__mul(g, ltn__sub(g, dy, ltn__sum_to(g, ltn__mul(g, n, dy), one)), n);
}

static ltn_node *softmax_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 1, 1}}, {{2, 1, 5, 14}}, {{2, 3, 7, 77}}, {{1, 4, 40, 129}}};
    return k < LTN_COUNT(dims) ? ltn__softmax(g, ltn__input(g, "x", dims[k])) : NULL;
}

const ltn_op ltn__op_softmax = {
    .entry = {.name = "softmax", .help = "e^x / sum(e^x) over the last dimension"},
    .run = softmax_run,
    .vjp = softmax_vjp,
    .example = softmax_example,
    .inplace = true,
};
