/* group_norm.c - (x - mean) / sqrt(variance + eps) over all pixels and the channels of a group, times w, plus b
 * (Wu and He 2018); a cell does it with the silu that follows. i[0]: groups, f[0]: eps.
 *
 * Each channel of each block of pixels gets its mean and its sum of squares around it; a group's are put together from
 * those in double, always in the same order, so the result does not depend on the number of threads. */
#include "map.h"
#include "real_math.h"

enum { PIXELS = 64, STRIP = 256 }; /* a block that the second pass over it finds in the cache */

ltn_node *ltn__group_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, int groups, double eps)
{
    const int64_t c = x->dims.d[3];
    if (ltn__graph_status(g)) return ltn__node(g, &ltn__op_group_norm, x->dims, 1, &x);
    if (groups < 1 || c % groups)
        return ltn__graph_fail(g, LTN_ESHAPE, "group_norm: %lld channels in %d groups", (long long)c, groups);
    for (int k = 0; k < 2; k++) {
        const ltn_node *p = k ? b : w;
        if (p && !ltn__same_dims(p->dims, ltn__dims(1, 1, 1, c)))
            return ltn__graph_fail(g, LTN_ESHAPE, "group_norm: %s has %lld values for %lld channels", k ? "b" : "w",
                                   (long long)ltn__count(p->dims), (long long)c);
    }
    ltn_node *n = ltn__node(g, &ltn__op_group_norm, x->dims, 3, (ltn_node *[]){x, w, b});
    n->i[0] = groups;
    n->f[0] = eps;
    return n;
}

static int64_t pixels_of(const ltn_node *n)
{
    return n->dims.d[1] * n->dims.d[2];
}

static int64_t blocks_of(const ltn_node *n)
{
    return (pixels_of(n) + PIXELS - 1) / PIXELS;
}

/* Per image: the moments (2, c) of each block, then mean, scale and shift (3, c). */
static size_t norm_scratch(const ltn_node *n, int threads)
{
    return (size_t)(n->dims.d[0] * (2 * blocks_of(n) + 3) * n->dims.d[3]) * sizeof(real);
}

/* mean[j] and squares[j] = sum of (x - mean[j])^2 of `width` channels over `pixels` pixels that lie c apart. */
LTN_KERNEL static void moments(const real *x, int64_t c, int64_t pixels, int64_t width, real *restrict mean, real *restrict squares)
{
    real sum[STRIP] = {0}, square[STRIP] = {0};
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < width; j++) sum[j] += x[p * c + j];
    for (int64_t j = 0; j < width; j++) mean[j] = sum[j] / (real)pixels;
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t j = 0; j < width; j++) square[j] += (x[p * c + j] - mean[j]) * (x[p * c + j] - mean[j]);
    for (int64_t j = 0; j < width; j++) squares[j] = square[j];
}

/* Group k of one image: its blocks' moments to mean, scale and shift of its channels. */
static void finish(const ltn_node *n, int64_t k, const real *moment, const real *w, const real *b, real *out)
{
    const int64_t c = n->dims.d[3], width = c / n->i[0], pixels = pixels_of(n), first = k * width;
    double mean = 0, squares = 0;
    for (int64_t block = 0; block < blocks_of(n); block++)
        for (int64_t j = first; j < first + width; j++)
            mean += (double)LTN_MIN(PIXELS, pixels - block * PIXELS) * (double)moment[2 * block * c + j];
    mean /= (double)(pixels * width);
    for (int64_t block = 0; block < blocks_of(n); block++)
        for (int64_t j = first; j < first + width; j++) {
            const double away = (double)moment[2 * block * c + j] - mean;
            squares += (double)moment[(2 * block + 1) * c + j] + (double)LTN_MIN(PIXELS, pixels - block * PIXELS) * away * away;
        }
    const double scale = 1 / sqrt(squares / (double)(pixels * width) + n->f[0]);
    for (int64_t j = first; j < first + width; j++) {
        out[j] = (real)mean;
        out[c + j] = (real)(w ? scale * (double)w[j] : scale);
        out[2 * c + j] = b ? b[j] : 0;
    }
}

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

static void norm_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads, bool silu)
{
    const int64_t images = n->dims.d[0], c = n->dims.d[3], pixels = pixels_of(n), blocks = blocks_of(n), groups = n->i[0];
    const int64_t strips = (c + STRIP - 1) / STRIP, count = ltn__count(n->dims);
    real *moment = scratch, *scales = moment + 2 * images * blocks * c;
#pragma omp parallel num_threads(threads) if (count > LTN_SERIAL)
    {
#pragma omp for
        for (int64_t job = 0; job < images * blocks * strips; job++) {
            const int64_t block = job / strips, first = job % strips * STRIP;
            const int64_t image = block / blocks, pixel = block % blocks * PIXELS;
            real *m = moment + 2 * block * c + first;
            moments(src[0] + (image * pixels + pixel) * c + first, c, LTN_MIN(PIXELS, pixels - pixel),
                    LTN_MIN(STRIP, c - first), m, m + c);
        }
#pragma omp for
        for (int64_t job = 0; job < images * groups; job++) {
            const int64_t image = job / groups;
            finish(n, job % groups, moment + 2 * image * blocks * c, src[1], src[2], scales + 3 * image * c);
        }
#pragma omp for
        for (int64_t block = 0; block < images * blocks; block++) {
            const int64_t image = block / blocks, pixel = block % blocks * PIXELS, at = (image * pixels + pixel) * c;
            (silu ? apply_silu : apply)(src[0] + at, scales + 3 * image * c, dst + at, LTN_MIN(PIXELS, pixels - pixel), c);
        }
    }
}

static void group_norm_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    norm_run(n, src, dst, scratch, threads, false);
}

static ltn_node *group_norm_decompose(ltn_graph *g, ltn_node *n)
{
    ltn_node *x = n->src[0], *w = n->src[1], *b = n->src[2];
    const int64_t images = n->dims.d[0], groups = n->i[0], width = n->dims.d[3] / groups, pixels = pixels_of(n);
    const double inverse = 1.0 / (double)(pixels * width);
    const ltn_dims one = ltn__dims(images, 1, groups, 1);
    ltn_node *split = ltn__reshape(g, x, ltn__dims(images, pixels, groups, width));
    ltn_node *centred = ltn__sub(g, split, ltn__affine(g, ltn__sum_to(g, split, one), inverse, 0));
    ltn_node *squares = ltn__sum_to(g, ltn__mul(g, centred, centred), one);
    ltn_node *y = ltn__mul(g, centred, ltn__rsqrt(g, ltn__affine(g, squares, inverse, n->f[0])));
    y = ltn__reshape(g, y, n->dims);
    if (w) y = ltn__mul(g, y, w);
    return b ? ltn__add(g, y, b) : y;
}

static ltn_node *group_norm_example(ltn_graph *g, int k)
{
    static const struct {
        ltn_dims x;
        int groups;
    } cases[] = {{{{1, 1, 1, 4}}, 1}, {{{2, 3, 5, 12}}, 4}, {{{1, 9, 8, 15}}, 5}, {{{2, 13, 11, 320}}, 32}, {{{1, 3, 3, 6}}, 6}};
    if (k >= LTN_COUNT(cases)) return NULL;
    const ltn_dims one = ltn__dims(1, 1, 1, cases[k].x.d[3]);
    ltn_node *x = ltn__input(g, "x", cases[k].x);
    ltn_node *w = k != 1 ? ltn__input(g, "w", one) : NULL, *b = k != 2 ? ltn__input(g, "b", one) : NULL;
    return ltn__group_norm(g, x, w, b, cases[k].groups, 1e-5);
}

const ltn_op ltn__op_group_norm = {
    .entry = {.name = "group_norm", .help = "(x - mean) / sqrt(variance + eps) over pixels and groups of channels, times w, plus b"},
    .run = group_norm_run,
    .scratch = norm_scratch,
    .decompose = group_norm_decompose,
    .example = group_norm_example,
    .inplace = true,
};


/* ---- With silu ---- */

typedef struct with_silu {
    const ltn_node *n;
    int threads;
} with_silu;

static ltn_status silu_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads, ltn_kernel *out)
{
    if (fuse->activation != &ltn__op_silu || fuse->residual) return LTN_DONE;
    with_silu *s = out->state = ltn__alloc(ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *s = (with_silu){n, threads};
    out->scratch = norm_scratch(n, threads);
    return LTN_OK;
}

static void silu_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const with_silu *s = state;
    norm_run(s->n, src, dst, scratch, s->threads, true);
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
