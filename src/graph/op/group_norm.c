/* group_norm.c - (x - mean) / sqrt(variance + eps) over all pixels and the channels of a group, times w, plus
 * b (Wu and He 2018); a cell does it with the silu that follows. i[0]: groups, f[0]: eps. A fourth source, if
 * any, holds what x is a part of: mean and 1 / sqrt(variance + eps) of each group, (1, 1, groups, 2). */
#include "group_norm.h"
#include "real_math.h"

bool ltn__group_check(ltn_graph *g, const char *name, const ltn_node *x, const ltn_node *w, const ltn_node *b,
                      int groups)
{
    const int64_t c = x->dims.d[3];
    if (ltn__graph_status(g)) return false;
    if (groups < 1 || c % groups) {
        ltn__graph_fail(g, LTN_ESHAPE, "%s: %lld channels in %d groups", name, (long long)c, groups);
        return false;
    }
    for (int k = 0; k < 2; k++) {
        const ltn_node *p = k ? b : w;
        if (!p || ltn__same_dims(p->dims, ltn__dims(1, 1, 1, c))) continue;
        ltn__graph_fail(g, LTN_ESHAPE, "%s: %s has %lld values for %lld channels", name, k ? "b" : "w",
                        (long long)ltn__count(p->dims), (long long)c);
        return false;
    }
    return true;
}

ltn_node *ltn__group_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, int groups, double eps)
{
    ltn_node *n = ltn__node(g, &ltn__op_group_norm, x->dims, 3, (ltn_node *[]){x, w, b});
    if (!ltn__group_check(g, "group_norm", x, w, b, groups)) return n;
    n->i[0] = groups;
    n->f[0] = eps;
    return n;
}

/* ---- Statistics ---- */

ltn_groups ltn__groups(const ltn_node *n)
{
    const int64_t *d = n->dims.d, pixels = d[1] * d[2];
    return (ltn_groups){
        .images = d[0],
        .pixels = pixels,
        .c = d[3],
        .groups = n->i[0],
        .width = d[3] / n->i[0],
        .blocks = (pixels + LTN_BLOCK - 1) / LTN_BLOCK,
        .strips = (d[3] + LTN_STRIP - 1) / LTN_STRIP,
        .eps = n->f[0],
    };
}

void ltn__block_sums(const ltn_groups *k, ltn_block_sums *f, const real *x, const real *y, const real *mean,
                     real *sums, int threads)
{
#pragma omp parallel for num_threads(threads) if (k->images * k->pixels * k->c > LTN_SERIAL)
    for (int64_t job = 0; job < k->images * k->blocks * k->strips; job++) {
        const int64_t block = job / k->strips, image = block / k->blocks, first = job % k->strips * LTN_STRIP;
        const int64_t at = (image * k->pixels + block % k->blocks * LTN_BLOCK) * k->c + first;
        real *a = sums + 2 * block * k->c + first;
        f(x + at, y ? y + at : NULL, mean ? mean + image * k->c + first : NULL, k->c,
          ltn__block_length(k, block % k->blocks), LTN_MIN(LTN_STRIP, k->c - first), a, a + k->c);
    }
}

/* Each channel's mean, then its squares around that: no cancellation. */
LTN_KERNEL static void moments(const real *x, const real *none, const real *nil, int64_t c, int64_t pixels,
                               int64_t width, real *restrict mean, real *restrict squares)
{
    real sum[LTN_STRIP] = {0}, square[LTN_STRIP] = {0};
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < width; j++) sum[j] += x[p * c + j];
    for (int64_t j = 0; j < width; j++) mean[j] = sum[j] / (real)pixels;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < width; j++) square[j] += (x[p * c + j] - mean[j]) * (x[p * c + j] - mean[j]);
    for (int64_t j = 0; j < width; j++) squares[j] = square[j];
}

/* The channels' moments (blocks, 2, c) of one group put together. */
static void combine(const ltn_groups *k, const real *moment, double *stat)
{
    const double count = (double)(k->pixels * k->width);
    double mean = 0, squares = 0;
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t j = 0; j < k->width; j++)
            mean += (double)ltn__block_length(k, block) * (double)moment[2 * block * k->c + j];
    mean /= count;
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t j = 0; j < k->width; j++) {
            const double away = (double)moment[2 * block * k->c + j] - mean;
            squares += (double)moment[(2 * block + 1) * k->c + j] +
                       (double)ltn__block_length(k, block) * away * away;
        }
    stat[0] = mean;
    stat[1] = 1 / sqrt(squares / count + k->eps);
}

void ltn__group_statistics(const ltn_groups *k, const real *x, real *sums, double *stat, int threads)
{
    ltn__block_sums(k, moments, x, NULL, NULL, sums, threads);
#pragma omp parallel for num_threads(threads) if (k->images * k->blocks * k->c > LTN_SERIAL)
    for (int64_t job = 0; job < k->images * k->groups; job++)
        combine(k, sums + job / k->groups * 2 * k->blocks * k->c + job % k->groups * k->width,
                stat + 2 * job);
}

/* ---- The row ---- */

/* stat (images, groups, 2) in double, then sums (images, blocks, 2, c), then mean, scale and shift (images,
 * 3, c). */
static size_t group_norm_scratch(const ltn_node *n, int threads)
{
    const ltn_groups k = ltn__groups(n);
    return (size_t)(2 * k.images * k.groups) * sizeof(double) +
           (size_t)(k.images * (2 * k.blocks + 3) * k.c) * sizeof(real);
}

/* y = (x - s[0]) s[1] + s[2] */
LTN_KERNEL static void apply(const real *x, const real *s, real *y, int64_t pixels, int64_t c)
{
    for (int64_t p = 0; p < pixels; p++, x += c, y += c) {
#pragma omp simd
        for (int64_t j = 0; j < c; j++) y[j] = (x[j] - s[j]) * s[c + j] + s[2 * c + j];
    }
}

LTN_KERNEL static void apply_silu(const real *x, const real *s, real *y, int64_t pixels, int64_t c)
{
    for (int64_t p = 0; p < pixels; p++, x += c, y += c) {
#pragma omp simd
        for (int64_t j = 0; j < c; j++) {
            const real v = (x[j] - s[j]) * s[c + j] + s[2 * c + j];
            y[j] = v * fast_sigmoid(v);
        }
    }
}

static void per_channel(const ltn_groups *k, const double *stat, const real *w, const real *b, real *s)
{
    for (int64_t image = 0; image < k->images; image++, s += 3 * k->c)
        for (int64_t j = 0; j < k->c; j++) {
            const double *at = stat + 2 * (image * k->groups + j / k->width);
            s[j] = (real)at[0];
            s[k->c + j] = (real)(w ? at[1] * (double)w[j] : at[1]);
            s[2 * k->c + j] = b ? b[j] : 0;
        }
}

static void norm(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads, bool silu)
{
    const ltn_groups k = ltn__groups(n);
    double *stat = scratch;
    real *sums = (real *)(stat + 2 * k.images * k.groups), *scales = sums + 2 * k.images * k.blocks * k.c;
    if (n->src[3])
        for (int64_t j = 0; j < 2 * k.groups; j++) stat[j] = (double)src[3][j];
    else
        ltn__group_statistics(&k, src[0], sums, stat, threads);
    per_channel(&k, stat, src[1], src[2], scales);
#pragma omp parallel for num_threads(threads) if (k.images * k.pixels * k.c > LTN_SERIAL)
    for (int64_t block = 0; block < k.images * k.blocks; block++) {
        const int64_t image = block / k.blocks, at = (image * k.pixels + block % k.blocks * LTN_BLOCK) * k.c;
        (silu ? apply_silu : apply)(src[0] + at, scales + 3 * image * k.c, dst + at,
                                    ltn__block_length(&k, block % k.blocks), k.c);
    }
}

static void group_norm_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    norm(n, src, dst, scratch, threads, false);
}

static void group_norm_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0], *w = n->src[1];
    const int groups = (int)n->i[0];
    const ltn_dims one = ltn__dims(1, 1, 1, n->dims.d[3]);
    if (want[0]) gsrc[0] = ltn__group_norm_dx(g, dy, x, w, groups, n->f[0]);
    if (want[1])
        gsrc[1] = ltn__sum_to(g, ltn__mul(g, dy, ltn__group_norm(g, x, NULL, NULL, groups, n->f[0])), one);
    if (want[2]) gsrc[2] = ltn__sum_to(g, dy, one);
}

int ltn__group_example(int k, ltn_dims *dims)
{
    static const struct {
        ltn_dims x;
        int groups;
    } cases[] = {{{{1, 1, 1, 4}}, 1},
                 {{{2, 3, 5, 12}}, 4},
                 {{{1, 9, 8, 15}}, 5},
                 {{{2, 13, 11, 320}}, 32},
                 {{{1, 3, 3, 6}}, 6}};
    if (k >= LTN_COUNT(cases)) return 0;
    *dims = cases[k].x;
    return cases[k].groups;
}

static ltn_node *group_norm_example(ltn_graph *g, int k)
{
    ltn_dims dims;
    const int groups = ltn__group_example(k, &dims);
    if (!groups) return NULL;
    const ltn_dims one = ltn__dims(1, 1, 1, dims.d[3]);
    ltn_node *w = k != 1 ? ltn__input(g, "w", one) : NULL, *b = k != 2 ? ltn__input(g, "b", one) : NULL;
    return ltn__group_norm(g, ltn__input(g, "x", dims), w, b, groups, 1e-5);
}

const ltn_op ltn__op_group_norm = {
    .entry = {.name = "group_norm",
              .help = "(x - mean) / sqrt(variance + eps) over pixels and channel groups, times w, plus b"},
    .run = group_norm_run,
    .scratch = group_norm_scratch,
    .vjp = group_norm_vjp,
    .example = group_norm_example,
    .rows = ltn__same_rows,
    .inplace = true,
};

/* ---- With silu ---- */

typedef struct with_silu {
    const ltn_node *n;
    int threads;
} with_silu;

static ltn_status silu_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                            ltn_kernel *out)
{
    if (fuse->activation != &ltn__op_silu || fuse->residual) return LTN_DONE;
    with_silu *s = out->state = ltn__alloc(ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *s = (with_silu){n, threads};
    out->scratch = group_norm_scratch(n, threads);
    return LTN_OK;
}

static void silu_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const with_silu *s = state;
    norm(s->n, src, dst, scratch, s->threads, true);
}

static void silu_close(ltn_ctx *ctx, void *state)
{
    ltn__free(ctx, state);
}

const ltn_cell ltn__cell_group_norm_silu = {
    .name = "group_norm_silu",
    .op = &ltn__op_group_norm,
    .open = silu_open,
    .run = silu_run,
    .close = silu_close,
};
