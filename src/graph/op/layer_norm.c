/* layer_norm.c - (x - mean) / sqrt(variance + eps) over the channels, times w, plus b (Ba et al.
 * 2016). f[0]: eps. */
#include "map.h"
#include "real_math.h"

ltn_node *ltn__layer_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, double eps)
{
    const int64_t c = x->dims.d[3];
    for (int k = 0; k < 2; k++) {
        const ltn_node *p = k ? b : w;
        if (p && !ltn__same_dims(p->dims, ltn__dims(1, 1, 1, c)) && !ltn__graph_status(g))
            return ltn__graph_fail(g, LTN_ESHAPE, "layer_norm: %s has %lld values for %lld channels",
                                   k ? "b" : "w", (long long)ltn__count(p->dims), (long long)c);
    }
    ltn_node *n = ltn__node(g, &ltn__op_layer_norm, x->dims, 3, (ltn_node *[]){x, w, b});
    n->f[0] = eps;
    return n;
}

/* The mean first, then the squares around it: no cancellation. */
LTN_KERNEL static void layer_norm_row(const real *x, const real *w, const real *b, real *y, int64_t c,
                                      real eps)
{
    real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < c; i++) sum += x[i];
    const real mean = sum / (real)c;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < c; i++) squares += (x[i] - mean) * (x[i] - mean);
    const real scale = 1 / real_sqrt(squares / (real)c + eps);
    if (w && b) {
#pragma omp simd
        for (int64_t i = 0; i < c; i++) y[i] = (x[i] - mean) * scale * w[i] + b[i];
    } else {
        for (int64_t i = 0; i < c; i++) y[i] = (x[i] - mean) * scale * (w ? w[i] : 1) + (b ? b[i] : 0);
    }
}

static void layer_norm_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3], count = ltn__count(n->dims);
    const real eps = (real)n->f[0];
#pragma omp parallel for num_threads(threads) if (count > LTN_SERIAL)
    for (int64_t row = 0; row < count / c; row++)
        layer_norm_row(src[0] + c * row, src[1], src[2], dst + c * row, c, eps);
}

static void layer_norm_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0], *w = n->src[1];
    const ltn_dims one = ltn__dims(1, 1, 1, n->dims.d[3]);
    if (want[0]) gsrc[0] = ltn__layer_norm_dx(g, dy, x, w, n->f[0]);
    if (want[1]) gsrc[1] = ltn__sum_to(g, ltn__mul(g, dy, ltn__layer_norm(g, x, NULL, NULL, n->f[0])), one);
    if (want[2]) gsrc[2] = ltn__sum_to(g, dy, one);
}

static ltn_node *layer_norm_example(ltn_graph *g, int k)
{
    static const ltn_dims dims[] = {{{1, 1, 3, 7}}, {{2, 1, 5, 33}}, {{1, 2, 3, 12}}, {{1, 1, 77, 320}}};
    if (k >= LTN_COUNT(dims)) return NULL;
    ltn_node *x = ltn__input(g, "x", dims[k]);
    ltn_node *w = k != 1 ? ltn__input(g, "w", ltn__dims(1, 1, 1, dims[k].d[3])) : NULL;
    ltn_node *b = k != 2 ? ltn__input(g, "b", ltn__dims(1, 1, 1, dims[k].d[3])) : NULL;
    return ltn__layer_norm(g, x, w, b, 1e-5);
}

const ltn_op ltn__op_layer_norm = {
    .entry = {.name = "layer_norm",
              .help = "(x - mean) / sqrt(variance + eps) over the channels, times w, plus b"},
    .run = layer_norm_run,
    .vjp = layer_norm_vjp,
    .example = layer_norm_example,
    .inplace = true,
};
