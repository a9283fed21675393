/* winograd.c - a cell for 3x3 convolutions of stride 1: F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308),
 *     Y = A^T [ (G g G^T) . (B^T d B) ] A
 * makes 4x4 pixels from a patch d of 6x6 with 36 multiplications where the sum has 144. Its polynomials are
 * taken at 0, +-3/4, +-3/2 and infinity: a quarter of the rounding error of the usual 0, +-1, +-2 (compare
 * Barabasz et al. 2018, arXiv 1803.10986). Patches go through in blocks that stay in the cache; what follows
 * the sum is done on the way out. The adjoint by x is the convolution of dy with w's taps reversed and its
 * channels exchanged. */
#include "real_math.h"
#include "tile.h"

enum { N = LTN_TILE_N, PATCH = 6, POINTS = PATCH * PATCH, OUT = 4, CACHE = 1 << 21 };
static const real P = (real)0.75, Q = (real)1.5;
typedef real lanes[N]; /* sixteen channels of one value */

typedef struct winograd {
    const ltn_node *n;
    ltn_fusion fuse;
    int64_t down, across, count, block; /* patches: in a column, in a row, in all, at once */
    int64_t in, panels;                 /* channels; panels of 16 outputs */
    int64_t top, left;                  /* padding */
    int threads;
    real *u; /* transformed weights: 36 matrices (in, out) in panels */
} winograd;

/* ---- Transforms of six or three values that lie `step` apart, sixteen channels at once ---- */

/* B^T d */
static inline void patch_to_points(lanes *d, int step, lanes *t, int to)
{
    const real p = P, q = Q, pp = p * p, qq = q * q;
#pragma omp simd
    for (int l = 0; l < N; l++) {
        const real d1 = d[step][l], d2 = d[2 * step][l], d3 = d[3 * step][l], d4 = d[4 * step][l];
        const real even_p = d4 - qq * d2, odd_p = p * (d3 - qq * d1), even_q = d4 - pp * d2,
                   odd_q = q * (d3 - pp * d1);
        t[0][l] = pp * qq * d[0][l] - (pp + qq) * d2 + d4;
        t[to][l] = even_p + odd_p;
        t[2 * to][l] = even_p - odd_p;
        t[3 * to][l] = even_q + odd_q;
        t[4 * to][l] = even_q - odd_q;
        t[5 * to][l] = pp * qq * d1 - (pp + qq) * d3 + d[5 * step][l];
    }
}

/* G g */
static inline void kernel_to_points(lanes *g, int step, lanes *t, int to)
{
    const real p = P, q = Q, pp = p * p, qq = q * q, at_p = 1 / (2 * pp * (pp - qq)),
               at_q = 1 / (2 * qq * (qq - pp));
#pragma omp simd
    for (int l = 0; l < N; l++) {
        const real g0 = g[0][l], g1 = g[step][l], g2 = g[2 * step][l];
        t[0][l] = g0 * (1 / (pp * qq));
        t[to][l] = (g0 + p * g1 + pp * g2) * at_p;
        t[2 * to][l] = (g0 - p * g1 + pp * g2) * at_p;
        t[3 * to][l] = (g0 + q * g1 + qq * g2) * at_q;
        t[4 * to][l] = (g0 - q * g1 + qq * g2) * at_q;
        t[5 * to][l] = g2;
    }
}

/* A^T m */
static inline void points_to_pixels(lanes *m, int step, lanes *y, int to)
{
    const real p = P, q = Q;
#pragma omp simd
    for (int l = 0; l < N; l++) {
        const real sum_p = m[step][l] + m[2 * step][l], odd_p = m[step][l] - m[2 * step][l];
        const real sum_q = m[3 * step][l] + m[4 * step][l], odd_q = m[3 * step][l] - m[4 * step][l];
        y[0][l] = m[0][l] + sum_p + sum_q;
        y[to][l] = p * odd_p + q * odd_q;
        y[2 * to][l] = p * p * sum_p + q * q * sum_q;
        y[3 * to][l] = p * p * p * odd_p + q * q * q * odd_q + m[5 * step][l];
    }
}

/* ---- The three stages of a block ---- */

/* Patch number i into row r of v, 36 matrices (block, in) in panels. */
LTN_KERNEL static void load_patch(const winograd *w, const real *x, int64_t i, int64_t r, real *v)
{
    const int64_t *s = w->n->src[0]->dims.d, per_image = w->down * w->across;
    const int64_t image = i / per_image, top = i % per_image / w->across * OUT - w->top,
                  left = i % w->across * OUT - w->left;
    const real *pixel[POINTS];
    for (int64_t k = 0; k < POINTS; k++) {
        const int64_t py = top + k / PATCH, px = left + k % PATCH;
        const bool inside = py >= 0 && py < s[1] && px >= 0 && px < s[2];
        pixel[k] = inside ? x + ((image * s[1] + py) * s[2] + px) * w->in : NULL;
    }
    for (int64_t c = 0; c < w->in; c += N) {
        lanes d[POINTS], t[POINTS];
        for (int k = 0; k < POINTS; k++) {
            if (pixel[k]) memcpy(d[k], pixel[k] + c, sizeof d[k]);
            else memset(d[k], 0, sizeof d[k]);
        }
        for (int k = 0; k < PATCH; k++) patch_to_points(d + k, PATCH, t + k, PATCH);
        for (int k = 0; k < PATCH; k++) patch_to_points(t + PATCH * k, 1, d + PATCH * k, 1);
        for (int k = 0; k < POINTS; k++) memcpy(v + (k * w->in + c) * w->block + r * N, d[k], sizeof d[k]);
    }
}

/* m, 36 matrices (block, out) in panels, from the first `count` rows of v. */
static void multiply(const winograd *w, real *v, int64_t count, real *m)
{
    const int64_t out = w->panels * N;
    for (int64_t k = 0; k < POINTS; k++)
        ltn__panel_product(0, count, out, w->in, (ltn_panels){v + k * w->block * w->in, w->block},
                           (ltn_panels){w->u + k * w->in * out, w->in},
                           (ltn_panels){m + k * w->block * out, w->block}, false);
}

static inline void add(real *y, const real *x)
{
#pragma omp simd
    for (int l = 0; l < N; l++) y[l] += x[l];
}

static inline void add_bias(lanes *y, const real *bias)
{
    for (int k = 0; k < OUT * OUT; k++) add(y[k], bias);
}

static inline void activate(const ltn_op *op, lanes *pixels)
{
    real *y = pixels[0];
    if (op == &ltn__op_relu) {
#pragma omp simd
        for (int i = 0; i < OUT * OUT * N; i++) y[i] = y[i] > 0 ? y[i] : 0;
    } else if (op == &ltn__op_silu) {
#pragma omp simd
        for (int i = 0; i < OUT * OUT * N; i++) y[i] = y[i] * fast_sigmoid(y[i]);
    }
}

/* Row r of m to the pixels of patch i. */
LTN_KERNEL static void store_patch(const winograd *w, const real *m, int64_t i, int64_t r,
                                   const real *bias, const real *residual, real *y)
{
    const int64_t *s = w->n->dims.d, per_image = w->down * w->across;
    const int64_t image = i / per_image, top = i % per_image / w->across * OUT, left = i % w->across * OUT;
    const int64_t rows = LTN_MIN(OUT, s[1] - top), columns = LTN_MIN(OUT, s[2] - left);
    for (int64_t p = 0; p < w->panels; p++) {
        lanes d[POINTS], t[OUT * PATCH], out[OUT * OUT];
        for (int64_t k = 0; k < POINTS; k++)
            memcpy(d[k], m + ((k * w->panels + p) * w->block + r) * N, sizeof d[k]);
        for (int k = 0; k < PATCH; k++) points_to_pixels(d + k, PATCH, t + k, PATCH);
        for (int k = 0; k < OUT; k++) points_to_pixels(t + PATCH * k, 1, out + OUT * k, 1);
        const int64_t at = ((image * s[1] + top) * s[2] + left) * s[3] + p * N;
        if (bias) add_bias(out, bias + p * N);
        if (w->fuse.before) activate(w->fuse.activation, out);
        for (int64_t k = 0; k < rows * columns && residual; k++)
            add(out[k / columns * OUT + k % columns],
                residual + at + (k / columns * s[2] + k % columns) * s[3]);
        if (!w->fuse.before) activate(w->fuse.activation, out);
        for (int64_t k = 0; k < rows * columns; k++)
            memcpy(y + at + (k / columns * s[2] + k % columns) * s[3], out[k / columns * OUT + k % columns],
                   sizeof out[0]);
    }
}

/* ---- The cell ---- */

/* Weights (out, in, 3, 3) to 36 matrices (in, out) in panels, or for the adjoint (out, in). */
LTN_KERNEL static void transform_weights(const real *g, int64_t from, int64_t panels, bool adjoint, real *u)
{
    for (int64_t p = 0; p < panels; p++)
        for (int64_t c = 0; c < from; c++) {
            lanes k[9], t[3 * PATCH], d[POINTS];
            for (int i = 0; i < 9; i++)
                for (int64_t o = 0; o < N; o++)
                    k[i][o] = adjoint ? g[(c * panels * N + p * N + o) * 9 + 8 - i]
                                      : g[((p * N + o) * from + c) * 9 + i];
            for (int i = 0; i < 3; i++) kernel_to_points(k + i, 3, t + i, 3);
            for (int i = 0; i < PATCH; i++) kernel_to_points(t + 3 * i, 1, d + PATCH * i, 1);
            for (int i = 0; i < POINTS; i++)
                memcpy(u + ((i * panels + p) * from + c) * N, d[i], sizeof d[i]);
        }
}

static real *transformed(ltn_ctx *ctx, ltn_weight *weight, int64_t in, int64_t panels, bool adjoint)
{
    const char *key = adjoint ? "winograd adjoint" : "winograd";
    real *u = ltn__weight_copy(weight, key);
    if (u) return u;
    const int64_t count = panels * N * in * 9;
    real *plain = ltn__alloc(ctx, (size_t)count, sizeof *plain);
    if (plain) u = ltn__weight_make_copy(ctx, weight, key, (size_t)(panels * N * in * POINTS) * sizeof *u);
    if (u) {
        ltn__weight_widen(weight, 0, count, plain);
        transform_weights(plain, in, panels, adjoint, u);
    }
    ltn__free(ctx, plain);
    return u;
}

static int64_t patches(const ltn_node *n)
{
    const int64_t *d = n->dims.d;
    return d[0] * ((d[1] + OUT - 1) / OUT) * ((d[2] + OUT - 1) / OUT);
}

/* The weights grow fourfold and are read once for each block of patches: there must be enough of those to pay
 * for it. */
static bool worth_it(const ltn_node *n)
{
    const int64_t *w = n->src[1]->dims.d;
    return patches(n) >= 16 && w[0] * w[1] <= 4096 * patches(n);
}

static bool fits(const ltn_node *n, const ltn_fusion *f)
{
    const int64_t *w = n->src[1]->dims.d;
    const bool activation =
        !f->activation || f->activation == &ltn__op_relu || f->activation == &ltn__op_silu;
    return n->src[1]->weight && activation && w[2] == 3 && w[3] == 3 && n->i[0] == 1 && w[0] % N == 0 &&
           w[1] % N == 0;
}

static ltn_status winograd_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                                ltn_kernel *out)
{
    if (!fits(n, fuse) || !worth_it(n)) return LTN_DONE;
    const bool adjoint = n->op == &ltn__op_conv2d_dx;
    const int64_t *d = n->dims.d, in = n->src[0]->dims.d[3];
    winograd w = {.n = n, .fuse = *fuse, .in = in, .panels = d[3] / N};
    w.top = adjoint ? 2 - n->i[1] : n->i[1];
    w.left = adjoint ? 2 - n->i[2] : n->i[2];
    w.down = (d[1] + OUT - 1) / OUT;
    w.across = (d[2] + OUT - 1) / OUT;
    w.count = patches(n);
    const int64_t room = CACHE / (int64_t)sizeof(real) / (POINTS * (in + d[3]));
    const double products = (double)(w.count * in * d[3]) * POINTS;
    w.threads = ltn__worth(threads, products);
    w.block = LTN_MIN(LTN_MAX(room, LTN_TILE_M), (w.count + w.threads - 1) / w.threads);
    w.block = (w.block + LTN_TILE_M - 1) / LTN_TILE_M * LTN_TILE_M;
    winograd *state = ltn__alloc(ctx, 1, sizeof *state);
    if (!state) return LTN_ENOMEM;
    w.u = transformed(ctx, n->src[1]->weight, in, w.panels, adjoint);
    *state = w;
    *out = (ltn_kernel){state, (size_t)(w.threads * POINTS * w.block * (in + d[3])) * sizeof(real), 1u << 1};
    if (w.u) return LTN_OK;
    ltn__free(ctx, state);
    return LTN_ENOMEM;
}

static void winograd_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const winograd *w = state;
    const int64_t blocks = (w->count + w->block - 1) / w->block,
                  part = POINTS * w->block * (w->in + w->panels * N);
    const real *residual = w->fuse.residual ? src[w->n->nsrc] : NULL;
#pragma omp parallel for num_threads(w->threads)
    for (int t = 0; t < w->threads; t++) {
        real *v = (real *)scratch + t * part;
        real *m = v + POINTS * w->block * w->in;
        for (int64_t b = blocks * t / w->threads; b < blocks * (t + 1) / w->threads; b++) {
            const int64_t first = b * w->block, count = LTN_MIN(w->block, w->count - first);
            for (int64_t r = 0; r < count; r++) load_patch(w, src[0], first + r, r, v);
            multiply(w, v, count, m);
            for (int64_t r = 0; r < count; r++) store_patch(w, m, first + r, r, src[2], residual, dst);
        }
    }
}

static void winograd_close(ltn_ctx *ctx, void *state)
{
    ltn__free(ctx, state);
}

const ltn_cell ltn__cell_winograd = {"winograd:conv2d", &ltn__op_conv2d, winograd_open, winograd_run,
                                     winograd_close};
const ltn_cell ltn__cell_winograd_dx = {"winograd:conv2d_dx", &ltn__op_conv2d_dx, winograd_open, winograd_run,
                                        winograd_close};
