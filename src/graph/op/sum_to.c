/* sum_to.c - the sum over the dimensions that are 1 in the result, and its adjoint: expand repeats them. */
#include "map.h"

enum { COLUMNS = 64, ROWS = 64 };

ltn_node *ltn__sum_to(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    if (ltn__same_dims(x->dims, dims)) return x;
    for (int k = 0; k < 4; k++)
        if (dims.d[k] != 1 && dims.d[k] != x->dims.d[k])
            return ltn__graph_fail(g, LTN_ESHAPE, "sum_to: dimension %d goes from %lld to %lld", k,
                                   (long long)x->dims.d[k], (long long)dims.d[k]);
    return ltn__node(g, &ltn__op_sum_to, dims, 1, &x);
}

/* Adds the `n` rows of x that lie `row` apart, over columns [0, width), to sum: ROWS of them in real, then in
 * double. */
LTN_KERNEL static void add_rows(const real *x, int64_t n, int64_t row, int64_t width, double *sum)
{
    for (int64_t first = 0; first < n; first += ROWS) {
        real part[COLUMNS] = {0};
        for (int64_t i = first; i < LTN_MIN(first + ROWS, n); i++)
            for (int64_t j = 0; j < width; j++) part[j] += x[i * row + j];
        for (int64_t j = 0; j < width; j++) sum[j] += (double)part[j];
    }
}

LTN_KERNEL static double add_all(const real *x, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}

/* A job is one result of the first three dimensions, and up to COLUMNS of the last. */
static void sum_to_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t *d = n->dims.d, *s = n->src[0]->dims.d, blocks = (d[3] + COLUMNS - 1) / COLUMNS;
    const bool whole = d[1] == 1 && d[2] == 1; /* pictures summed as one long column of pixels */
    const int64_t r0 = s[0] / d[0], r1 = whole ? 1 : s[1] / d[1], r2 = whole ? s[1] * s[2] : s[2] / d[2];
#pragma omp parallel for num_threads(threads) if (ltn__count(n->src[0]->dims) > LTN_SERIAL)
    for (int64_t job = 0; job < d[0] * d[1] * d[2] * blocks; job++) {
        const int64_t out = job / blocks, first = job % blocks * COLUMNS,
                      width = LTN_MIN(COLUMNS, d[3] - first);
        const int64_t o0 = out / (d[1] * d[2]), o1 = out / d[2] % d[1], o2 = out % d[2];
        double sum[COLUMNS] = {0};
        for (int64_t i = 0; i < r0; i++)
            for (int64_t j = 0; j < r1; j++) {
                const real *x = src[0] + (((o0 + i) * s[1] + o1 + j) * s[2] + o2) * s[3] + first;
                if (d[3] == s[3]) add_rows(x, r2, s[3], width, sum);
                else sum[0] += add_all(x, r2 * s[3]);
            }
        for (int64_t j = 0; j < width; j++) dst[out * d[3] + first + j] = (real)sum[j];
    }
}

static void sum_to_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__expand(g, dy, n->src[0]->dims);
}

static const ltn_dims large[] = {{{2, 3, 5, 7}}, {{2, 3, 5, 7}},    {{2, 3, 5, 7}},
                                 {{2, 3, 5, 7}}, {{1, 40, 30, 70}}, {{2, 9, 16, 10}}};
static const ltn_dims small[] = {{{1, 1, 1, 1}}, {{1, 3, 1, 7}},  {{2, 1, 5, 1}},
                                 {{2, 3, 5, 1}}, {{1, 1, 1, 70}}, {{2, 1, 16, 1}}};

static ltn_node *sum_to_example(ltn_graph *g, int k)
{
    return k < LTN_COUNT(large) ? ltn__sum_to(g, ltn__input(g, "x", large[k]), small[k]) : NULL;
}

const ltn_op ltn__op_sum_to = {
    .entry = {.name = "sum_to", .help = "the sum over the dimensions that are 1 in the result"},
    .run = sum_to_run,
    .vjp = sum_to_vjp,
    .example = sum_to_example,
};

ltn_node *ltn__expand(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    if (ltn__same_dims(x->dims, dims)) return x;
    for (int k = 0; k < 4; k++)
        if (x->dims.d[k] != 1 && x->dims.d[k] != dims.d[k])
            return ltn__graph_fail(g, LTN_ESHAPE, "expand: dimension %d goes from %lld to %lld", k,
                                   (long long)x->dims.d[k], (long long)dims.d[k]);
    return ltn__node(g, &ltn__op_expand, dims, 1, &x);
}

static void expand_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const ltn_walk w = ltn__walk(n->dims, n->src[0]->dims, n->src[0]->dims);
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
    for (int64_t run = 0; run < ltn__count(w.outer); run++) {
        const real *x = src[0] + ltn__walk_offset(&w, 0, run);
        real *y = dst + run * w.length;
        if (w.step[0])
            for (int64_t i = 0; i < w.length; i++) y[i] = x[i];
        else
            for (int64_t i = 0; i < w.length; i++) y[i] = *x;
    }
}

static void expand_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__sum_to(g, dy, n->src[0]->dims);
}

static ltn_node *expand_example(ltn_graph *g, int k)
{
    return k < LTN_COUNT(large) ? ltn__expand(g, ltn__input(g, "x", small[k]), large[k]) : NULL;
}

const ltn_op ltn__op_expand = {
    .entry = {.name = "expand", .help = "repeats the dimensions that are 1"},
    .run = expand_run,
    .vjp = expand_vjp,
    .example = expand_example,
};
