/* layer_norm_dx.c - the gradient of layer norm by x: with u = (x - mean) r, r = 1 / sqrt(variance + eps) and
 * means over the channels, dx = r (w dy - mean(w dy) - u mean(w dy u)). Sources dy, x, w; f[0]: eps. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__layer_norm_dx(ltn_graph *g, ltn_node *dy, ltn_node *x, ltn_node *w, double eps)
{
    ltn_node *n = ltn__node(g, &ltn__op_layer_norm_dx, x->dims, 3, (ltn_node *[]){dy, x, w});
    n->f[0] = eps;
    return n;
}

LTN_KERNEL static void layer_norm_dx_row(const real *dy, const real *x, const real *w, real *dx, int64_t c,
                                         real eps)
{
    real sum = 0, squares = 0, plain = 0, weighted = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < c; i++) sum += x[i];
    const real mean = sum / (real)c;
#pragma omp simd reduction(+ : squares, plain, weighted)
    for (int64_t i = 0; i < c; i++) {
        const real away = x[i] - mean, v = w ? dy[i] * w[i] : dy[i];
        squares += away * away;
        plain += v;
        weighted += v * away;
    }
    const real r = 1 / real_sqrt(squares / (real)c + eps), slope = r * r * weighted / (real)c;
    plain /= (real)c;
#pragma omp simd
    for (int64_t i = 0; i < c; i++)
        dx[i] = r * ((w ? dy[i] * w[i] : dy[i]) - plain - slope * (x[i] - mean));
}

static void layer_norm_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch,
                              int threads)
{
    const int64_t c = n->dims.d[3], count = ltn__count(n->dims);
    const real eps = (real)n->f[0];
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t row = 0; row < count / c; row++)
        layer_norm_dx_row(src[0] + c * row, src[1] + c * row, src[2], dst + c * row, c, eps);
}

static ltn_node *mean_of(ltn_graph *g, ltn_node *x)
{
    ltn_dims one = x->dims;
    one.d[3] = 1;
    return ltn__affine(g, ltn__sum_to(g, x, one), 1.0 / (double)x->dims.d[3], 0);
}

static ltn_node *layer_norm_dx_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[1], *v = n->src[2] ? ltn__mul(g, n->src[0], n->src[2]) : n->src[0];
    ltn_node *away = ltn__sub(g, x, mean_of(g, x));
    ltn_node *r = ltn__rsqrt(g, ltn__affine(g, mean_of(g, ltn__mul(g, away, away)), 1, n->f[0]));
    ltn_node *u = ltn__mul(g, away, r);
    ltn_node *rest = ltn__add(g, mean_of(g, v), ltn__mul(g, u, mean_of(g, ltn__mul(g, v, u))));
    return ltn__mul(g, ltn__sub(g, v, rest), r);
}

static ltn_node *layer_norm_dx_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 3, 7}}, {{2, 1, 5, 33}}, {{1, 2, 3, 12}}, {{1, 1, 77, 320}}};
    if (k >= LTN_COUNT(dims)) return NULL;
    ltn_node *w = k != 1 ? ltn__input(g, "w", ltn__dims(1, 1, 1, dims[k].d[3])) : NULL;
    return ltn__layer_norm_dx(g, ltn__input(g, "dy", dims[k]), ltn__input(g, "x", dims[k]), w, 1e-5);
}

const ltn_op ltn__op_layer_norm_dx = {
    .entry = {.name = "layer_norm_dx", .help = "the gradient of layer_norm by x"},
    .run = layer_norm_dx_run,
    .decompose = layer_norm_dx_decompose,
    .example = layer_norm_dx_example,
    .inplace = true,
};
