/* group_norm_dx.c - the gradient of group norm by x: with u = (x - mean) r, r = 1 / sqrt(variance + eps) and
 * means over the group, dx = r (w dy - mean(w dy) - u mean(w dy u)). Sources dy, x, w; i[0]: groups,
 * f[0]: eps. */
#include "group_norm.h"

ltn_node *ltn__group_norm_dx(ltn_graph *g, ltn_node *dy, ltn_node *x, ltn_node *w, int groups, double eps)
{
    if (!ltn__graph_status(g) && !ltn__same_dims(dy->dims, x->dims))
        return ltn__graph_fail(g, LTN_ESHAPE, "group_norm_dx: dy and x of different shapes");
    ltn_node *n = ltn__node(g, &ltn__op_group_norm_dx, x->dims, 3, (ltn_node *[]){dy, x, w});
    if (!ltn__group_check(g, "group_norm_dx", x, w, NULL, groups)) return n;
    n->i[0] = groups;
    n->f[0] = eps;
    return n;
}

/* stat (images, groups, 2) in double, then sums (images, blocks, 2, c), then the channels' means (images, c)
 * and the three factors of apply (images, 3, c). */
static size_t group_norm_dx_scratch(const ltn_node *n, int threads)
{
    const ltn_groups k = ltn__groups(n);
    return (size_t)(2 * k.images * k.groups) * sizeof(double) +
           (size_t)(k.images * (2 * k.blocks + 4) * k.c) * sizeof(real);
}

/* Sums of dy and of dy (x - mean). */
LTN_KERNEL static void correlate(const real *x, const real *dy, const real *mean, int64_t c, int64_t pixels,
                                 int64_t width, real *restrict plain, real *restrict weighted)
{
    real sum[LTN_STRIP] = {0}, product[LTN_STRIP] = {0};
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < width; j++) {
            sum[j] += dy[p * c + j];
            product[j] += dy[p * c + j] * (x[p * c + j] - mean[j]);
        }
    for (int64_t j = 0; j < width; j++) {
        plain[j] = sum[j];
        weighted[j] = product[j];
    }
}

/* dx = f[0] dy - f[1] (x - mean) - f[2] */
LTN_KERNEL static void apply(const real *x, const real *dy, const real *mean, const real *f, real *dx,
                             int64_t pixels, int64_t c)
{
    for (int64_t p = 0; p < pixels; p++, x += c, dy += c, dx += c) {
#pragma omp simd
        for (int64_t j = 0; j < c; j++) dx[j] = f[j] * dy[j] - f[c + j] * (x[j] - mean[j]) - f[2 * c + j];
    }
}

/* The factors of one group's channels. */
static void combine(const ltn_groups *k, const real *sums, const double *stat, const real *w, real *f)
{
    const double r = stat[1], count = (double)(k->pixels * k->width);
    double plain = 0, weighted = 0;
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t j = 0; j < k->width; j++) {
            const double weight = w ? (double)w[j] : 1;
            plain += weight * (double)sums[2 * block * k->c + j];
            weighted += weight * (double)sums[(2 * block + 1) * k->c + j];
        }
    for (int64_t j = 0; j < k->width; j++) {
        f[j] = (real)(w ? r * (double)w[j] : r);
        f[k->c + j] = (real)(r * r * r * weighted / count);
        f[2 * k->c + j] = (real)(r * plain / count);
    }
}

static void group_norm_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch,
                              int threads)
{
    const ltn_groups k = ltn__groups(n);
    const real *dy = src[0], *x = src[1], *w = src[2];
    double *stat = scratch;
    real *sums = (real *)(stat + 2 * k.images * k.groups), *mean = sums + 2 * k.images * k.blocks * k.c,
         *f = mean + k.images * k.c;
    ltn__group_statistics(&k, x, sums, stat, threads);
    for (int64_t j = 0; j < k.images * k.c; j++) mean[j] = (real)stat[2 * (j / k.width)];
    ltn__block_sums(&k, correlate, x, dy, mean, sums, threads);
    for (int64_t job = 0; job < k.images * k.groups; job++) {
        const int64_t image = job / k.groups, first = job % k.groups * k.width;
        combine(&k, sums + 2 * image * k.blocks * k.c + first, stat + 2 * job, w ? w + first : NULL,
                f + 3 * image * k.c + first);
    }
#pragma omp parallel for num_threads(threads) if (k.images * k.pixels * k.c > LTN_SERIAL)
    for (int64_t block = 0; block < k.images * k.blocks; block++) {
        const int64_t image = block / k.blocks, at = (image * k.pixels + block % k.blocks * LTN_BLOCK) * k.c;
        apply(x + at, dy + at, mean + image * k.c, f + 3 * image * k.c, dst + at,
              ltn__block_length(&k, block % k.blocks), k.c);
    }
}

static ltn_node *group_norm_dx_decompose(ltn_graph *g, ltn_node *n)
{
    const ltn_groups k = ltn__groups(n);
    const double inverse = 1.0 / (double)(k.pixels * k.width);
    const ltn_dims split = ltn__dims(k.images, k.pixels, k.groups, k.width),
                   one = ltn__dims(k.images, 1, k.groups, 1);
    ltn_node *dy = n->src[2] ? ltn__mul(g, n->src[0], n->src[2]) : n->src[0];
    ltn_node *v = ltn__reshape(g, dy, split), *x = ltn__reshape(g, n->src[1], split);
    ltn_node *away = ltn__sub(g, x, ltn__affine(g, ltn__sum_to(g, x, one), inverse, 0));
    ltn_node *r = ltn__rsqrt(g, ltn__affine(g, ltn__sum_to(g, ltn__mul(g, away, away), one), inverse, k.eps));
    ltn_node *u = ltn__mul(g, away, r);
    ltn_node *plain = ltn__affine(g, ltn__sum_to(g, v, one), inverse, 0);
    ltn_node *weighted = ltn__affine(g, ltn__sum_to(g, ltn__mul(g, v, u), one), inverse, 0);
    ltn_node *dx = ltn__mul(g, ltn__sub(g, ltn__sub(g, v, plain), ltn__mul(g, u, weighted)), r);
    return ltn__reshape(g, dx, n->dims);
}

static ltn_node *group_norm_dx_example(ltn_graph *g, int k)
{
    ltn_dims dims;
    const int groups = ltn__group_example(k, &dims);
    if (!groups) return NULL;
    ltn_node *w = k != 1 ? ltn__input(g, "w", ltn__dims(1, 1, 1, dims.d[3])) : NULL;
    return ltn__group_norm_dx(g, ltn__input(g, "dy", dims), ltn__input(g, "x", dims), w, groups, 1e-5);
}

const ltn_op ltn__op_group_norm_dx = {
    .entry = {.name = "group_norm_dx", .help = "the gradient of group_norm by x"},
    .run = group_norm_dx_run,
    .scratch = group_norm_dx_scratch,
    .decompose = group_norm_dx_decompose,
    .example = group_norm_dx_example,
    .inplace = true,
};
