/* geglu.c - the gated linear unit with gelu: the first half of the channels times gelu of the second (Shazeer
 * 2020). */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__geglu(ltn_graph *g, ltn_node *x)
{
    ltn_dims dims = x->dims;
    if (dims.d[3] % 2 && !ltn__graph_status(g))
        return ltn__graph_fail(g, LTN_ESHAPE, "geglu: %lld channels have no halves", (long long)dims.d[3]);
    dims.d[3] /= 2;
    return ltn__node(g, &ltn__op_geglu, dims, 1, &x);
}

LTN_KERNEL static void geglu_row(const real *a, const real *b, real *y, int64_t c)
{
    const real half = (real)0.5;
#pragma omp simd
    for (int64_t i = 0; i < c; i++)
        y[i] = a[i] * b[i] * (half + half * fast_erf(b[i] * (real)0.70710678118654752));
}

static void geglu_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3], count = ltn__count(n->dims);
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t row = 0; row < count / c; row++) {
        const real *a = src[0] + 2 * c * row;
        geglu_row(a, a + c, dst + c * row, c);
    }
}

static ltn_node *geglu_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0];
    const int64_t c = n->dims.d[3];
    return ltn__mul(g, ltn__slice(g, x, 3, 0, c), ltn__gelu(g, ltn__slice(g, x, 3, c, c)));
}

static ltn_node *geglu_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 1, 2}}, {{2, 1, 5, 14}}, {{1, 1, 77, 514}}};
    return k < LTN_COUNT(dims) ? ltn__geglu(g, ltn__input(g, "x", dims[k])) : NULL;
}

const ltn_op ltn__op_geglu = {
    .entry = {.name = "geglu", .help = "first half of the channels times gelu of the second"},
    .run = geglu_run,
    .decompose = geglu_decompose,
    .example = geglu_example,
};
