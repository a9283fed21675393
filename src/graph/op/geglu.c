/* geglu.c - the gated linear unit with gelu: the first half of the channels times gelu of the second (Shazeer
 * 2020); and its gradient, geglu_dx(dy, x): with x = (a, b) and the normal distribution's Phi and phi,
 *     da = dy b Phi(b),   db = dy a (Phi(b) + b phi(b)). */
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

static void geglu_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0];
    gsrc[0] = ltn__node(g, &ltn__op_geglu_dx, x->dims, 2, (ltn_node *[]){dy, x});
}

LTN_KERNEL static void geglu_dx_row(const real *dy, const real *a, const real *b, real *da, real *db,
                                    int64_t c)
{
    const real half = (real)0.5;
#pragma omp simd
    for (int64_t i = 0; i < c; i++) {
        const real big = half + half * fast_erf(b[i] * (real)0.70710678118654752);
        const real small = (real)0.39894228040143268 * fast_exp(-half * b[i] * b[i]);
        da[i] = dy[i] * b[i] * big;
        db[i] = dy[i] * a[i] * (big + b[i] * small);
    }
}

static void geglu_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3] / 2, count = ltn__count(n->dims);
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t row = 0; row < count / (2 * c); row++) {
        const real *a = src[1] + 2 * c * row;
        real *da = dst + 2 * c * row;
        geglu_dx_row(src[0] + c * row, a, a + c, da, da + c, c);
    }
}

static ltn_node *geglu_dx_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *dy = n->src[0], *x = n->src[1];
    const int64_t c = n->dims.d[3] / 2;
    ltn_node *a = ltn__slice(g, x, 3, 0, c), *b = ltn__slice(g, x, 3, c, c);
    ltn_node *big = ltn__affine(g, ltn__erf(g, ltn__affine(g, b, 0.70710678118654752, 0)), 0.5, 0.5);
    ltn_node *small = ltn__exp(g, ltn__affine(g, ltn__mul(g, b, b), -0.5, 0));
    ltn_node *slope = ltn__add(g, big, ltn__affine(g, ltn__mul(g, b, small), 0.39894228040143268, 0));
    return ltn__concat(g, ltn__mul(g, dy, ltn__mul(g, b, big)), ltn__mul(g, ltn__mul(g, dy, a), slope), 3);
}

static const ltn_dims examples[] = {{{1, 1, 1, 2}}, {{2, 1, 5, 14}}, {{1, 1, 77, 514}}};

static ltn_node *geglu_example(ltn_graph *g, int k)
{
    return k < LTN_COUNT(examples) ? ltn__geglu(g, ltn__input(g, "x", examples[k])) : NULL;
}

static ltn_node *geglu_dx_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    ltn_dims dims = examples[k];
    dims.d[3] /= 2;
    ltn_node *dy = ltn__input(g, "dy", dims), *x = ltn__input(g, "x", examples[k]);
    return ltn__node(g, &ltn__op_geglu_dx, x->dims, 2, (ltn_node *[]){dy, x});
}

const ltn_op ltn__op_geglu = {
    .entry = {.name = "geglu", .help = "first half of the channels times gelu of the second"},
    .run = geglu_run,
    .vjp = geglu_vjp,
    .example = geglu_example,
};

const ltn_op ltn__op_geglu_dx = {
    .entry = {.name = "geglu_dx", .help = "the gradient of geglu"},
    .run = geglu_dx_run,
    .decompose = geglu_dx_decompose,
    .example = geglu_dx_example,
};
