/* winograd.c - a cell for 3x3 convolutions of stride 1: F(4x4, 3x3) (Lavin and Gray, arXiv 1509.09308),
 *     Y = A^T [ (G g G^T) . (B^T d B) ] A
 * makes 4x4 pixels from a patch d of 6x6 with 36 multiplications where the sum has 144. Its polynomials are
 * taken at 0, +-3/4, +-3/2 and infinity: a quarter of the rounding error of the usual 0, +-1, +-2 (compare
 * Barabasz et al. 2018, arXiv 1803.10986). The adjoint by x is the convolution of dy with w's taps reversed and
 * its channels exchanged.
 *
 *     V = B^T d B       for a block of patches
 *     U = G g G^T       for a group of panels of the result's channels, from the file's weights: no copy is kept
 *     M = V U           point by point and a slice of the channels after the other
 *     Y = A^T M A       then bias, residual, activation
 *
 * Where there are many patches U is made first, all of it, as one group, and each block goes through it point by point;
 * where there are few, V is made first and each group meets all blocks.
 *
 * Rows and panels stand one line further apart than they are long, so that the 36 points of a patch do not meet in
 * the same place of a cache. Where pairs of terms pay (pairs.h), the heads of V's strips and of U's panels, one for
 * each slice of the channels, stand behind them. */
#include "finish.h"
#include "pairs.h"

enum { N = LTN_TILE_N, PATCH = 6, POINTS = PATCH * PATCH, OUT = 4 };
enum { BLOCK = 4 * LTN_TILE_M, SLICE = 128, GROUP = 2, CACHE = 12 << 20 };
static const real P = (real)0.75, Q = (real)1.5;
typedef real lanes[N]; /* sixteen channels of one value */

typedef struct winograd {
    const ltn_node *n;
    ltn_fusion fuse;
    const ltn_weight *weight;
    bool adjoint;
    int64_t down, across, count; /* patches: in a column, in a row, in all */
    bool many;
    int64_t block, blocks;       /* patches at once, and how often */
    int64_t in, panels;          /* channels; panels of 16 outputs */
    int64_t group, groups;       /* panels at once, and how often */
    int64_t depth;               /* channels of x in U at once */
    int64_t tile, apart;         /* rows of V that run as one; lines from one point to the next */
    bool pairs;
    int64_t rows;                /* from one panel to the next in M */
    int64_t top, left;           /* padding */
    int threads;
} winograd;

/* ---- Transforms of six or three values that lie `step` apart, sixteen channels at once ---- */

/* B^T d */
static inline void patch_to_points(lanes *d, int64_t step, lanes *t, int64_t to)
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
static inline void kernel_to_points(lanes *g, int64_t step, lanes *t, int64_t to)
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
static inline void points_to_pixels(lanes *m, int64_t step, lanes *y, int64_t to)
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

/* ---- The stages ---- */

/* Patch number i into row r of the block v, which holds for each point tiles of [in / 16][tile][16]. */
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
    lanes *point = (lanes *)v + r / w->tile * (w->in / N) * w->tile + r % w->tile;
    for (int64_t c = 0; c < w->in; c += N, point += w->tile) {
        lanes d[POINTS], t[POINTS];
        for (int k = 0; k < POINTS; k++) {
            if (pixel[k]) memcpy(d[k], pixel[k] + c, sizeof d[k]);
            else memset(d[k], 0, sizeof d[k]);
        }
        for (int k = 0; k < PATCH; k++) patch_to_points(d + k, PATCH, t + k, PATCH);
        for (int k = 0; k < PATCH; k++) patch_to_points(t + PATCH * k, 1, point + PATCH * k * w->apart, w->apart);
    }
}

/* Taps [c][9][16] of `count` channels to u: [36][group][depth + 1][16]. */
LTN_KERNEL static void transform_taps(lanes *tap, int64_t count, lanes *u, int64_t apart)
{
    for (int64_t c = 0; c < count; c++, tap += 9, u++) {
        lanes t[3 * PATCH];
        for (int i = 0; i < 3; i++) kernel_to_points(tap + i, 3, t + i, 3);
        for (int i = 0; i < PATCH; i++) kernel_to_points(t + 3 * i, 1, u + PATCH * i * apart, apart);
    }
}

/* The taps between channels [first, first + count) of x and panel p of the result: of weights (out, in, 3, 3), or for
 * the adjoint (in, out, 3, 3) with the taps reversed. */
LTN_KERNEL static void load_taps(const winograd *w, int64_t p, int64_t first, int64_t count, lanes *tap)
{
    if (!w->adjoint) {
        ltn__weight_panel(w->weight, w->panels * N, w->in * 9, p, first * 9, count * 9, tap[0]);
        return;
    }
    for (int64_t c = 0; c < count; c++, tap += 9) {
        real row[9 * N];
        ltn__weight_widen(w->weight, ((first + c) * w->panels + p) * 9 * N, 9 * N, row);
        for (int i = 0; i < 9; i++)
            for (int o = 0; o < N; o++) tap[i][o] = row[9 * o + 8 - i];
    }
}

/* ---- Heads, where there are any ---- */

static int64_t slices(int64_t channels) { return (channels + SLICE - 1) / SLICE; }
static int64_t tiles(const winograd *w) { return (w->block + w->tile - 1) / w->tile; }

/* Of slice c of V at point k and tile t; of U at point k and panel p. */
static real *v_head(const winograd *w, const real *v, int64_t k, int64_t t, int64_t c)
{
    return (real *)v + POINTS * w->apart * N + ((k * tiles(w) + t) * slices(w->in) + c) * LTN_STRIP_HEAD;
}

static real *u_head(const winograd *w, const real *u, int64_t k, int64_t p, int64_t c)
{
    const int64_t panels = POINTS * w->group * (w->depth + 1) * N;
    return (real *)u + panels + ((k * w->group + p) * slices(w->depth) + c) * LTN_PANEL_HEAD;
}

/* Of V at point k: the tile that begins with row r, from channel c on. */
static real *strip_of(const winograd *w, const real *v, int64_t k, int64_t r, int64_t c)
{
    return (real *)v + k * w->apart * N + r * w->in + c * w->tile;
}

/* Channels [first, end) of x, `depth` of them at most, into panel p of the result, a group's u. */
static void load_weights(const winograd *w, int64_t p, int64_t first, int64_t end, real *u)
{
    const int64_t k = p % w->group;
    for (int64_t c = first; c < end; c += SLICE) {
        _Alignas(64) lanes tap[9 * SLICE];
        const int64_t some = LTN_MIN(end - c, SLICE);
        lanes *to = (lanes *)u + k * (w->depth + 1) + c - first;
        load_taps(w, p, c, some, tap);
        transform_taps(tap, some, to, w->group * (w->depth + 1));
        for (int64_t i = 0; i < POINTS && w->pairs; i++)
            ltn__pairs_panel(some, to[i * w->group * (w->depth + 1)], u_head(w, u, i, k, (c - first) / SLICE));
    }
}

/* Their part of m, [36][group][rows][16], for the first `count` patches of block v: a panel's slice meets all rows. The
 * next point's rows come nearer, and where U does not stay in a thread's cache the next panel. */
static void multiply(const winograd *w, const real *v, const real *u, int64_t first, int64_t end, int64_t count,
                     int64_t panels, real *m)
{
    for (int64_t k = 0; k < POINTS; k++)
        for (int64_t c = first; c < end; c += SLICE)
            for (int64_t p = 0; p < panels; p++)
                for (int64_t r = 0; r < count; r += w->tile) {
                    const int64_t some = LTN_MIN(count - r, w->tile), depth = LTN_MIN(end - c, SLICE);
                    const real *a = strip_of(w, v, k, r, c);
                    const real *b = u + ((k * w->group + p) * (w->depth + 1) + c - first) * N;
                    real *to = m + ((k * w->group + p) * w->rows + r) * N;
                    ltn__fetch_part(strip_of(w, v, k + 1, r, c), (size_t)(depth * w->tile) * sizeof *v, p, panels);
                    if (w->many)
                        ltn__fetch_part(b + (w->depth + 1) * N, (size_t)(depth * N) * sizeof *b, r / w->tile, tiles(w));
                    if (w->pairs)
                        ltn__pairs_product(some, depth, a, w->tile, v_head(w, v, k, r / w->tile, c / SLICE), b,
                                           u_head(w, u, k, p, (c - first) / SLICE), to, N, c > 0);
                    else
                        ltn__panel_product(0, some, N, depth, (ltn_panels){(real *)a, w->tile},
                                           (ltn_panels){(real *)b, w->depth + 1}, (ltn_panels){to, w->rows}, c > 0);
                }
}

static inline void add_bias(lanes *y, const real *bias)
{
    for (int k = 0; k < OUT * OUT; k++) add(y[k], bias, N);
}

/* A patch's points in m, `apart` lines apart, to the pixels of patch i in panel p. */
LTN_KERNEL static void store_patch(const winograd *w, lanes *m, int64_t i, int64_t p, const real *bias,
                                   const real *residual, real *y)
{
    const int64_t *s = w->n->dims.d, per_image = w->down * w->across, apart = w->group * w->rows;
    const int64_t image = i / per_image, top = i % per_image / w->across * OUT, left = i % w->across * OUT;
    const int64_t rows = LTN_MIN(OUT, s[1] - top), columns = LTN_MIN(OUT, s[2] - left);
    const int64_t at = ((image * s[1] + top) * s[2] + left) * s[3] + p * N;
    lanes t[OUT * PATCH], out[OUT * OUT];
    for (int k = 0; k < PATCH; k++) points_to_pixels(m + k * apart, PATCH * apart, t + k, PATCH);
    for (int k = 0; k < OUT; k++) points_to_pixels(t + PATCH * k, 1, out + OUT * k, 1);
    if (bias) add_bias(out, bias + p * N);
    if (w->fuse.before) activate(w->fuse.activation, out[0], OUT * OUT * N);
    for (int64_t k = 0; k < rows * columns && residual; k++)
        add(out[k / columns * OUT + k % columns], residual + at + (k / columns * s[2] + k % columns) * s[3], N);
    if (!w->fuse.before) activate(w->fuse.activation, out[0], OUT * OUT * N);
    for (int64_t k = 0; k < rows * columns; k++)
        memcpy(y + at + (k / columns * s[2] + k % columns) * s[3], out[k / columns * OUT + k % columns], sizeof out[0]);
}

/* Numbers in one block's V, one group's U, and M for both. */
static int64_t v_size(const winograd *w)
{
    return POINTS * (w->apart * N + (w->pairs ? tiles(w) * slices(w->in) * LTN_STRIP_HEAD : 0));
}

static int64_t u_size(const winograd *w)
{
    return POINTS * w->group * ((w->depth + 1) * N + (w->pairs ? slices(w->depth) * LTN_PANEL_HEAD : 0));
}

static int64_t m_size(const winograd *w) { return POINTS * w->group * w->rows * N; }

static int64_t panels_of(const winograd *w, int64_t group)
{
    return LTN_MIN(w->group, w->panels - group * w->group);
}

static int64_t patches_of(const winograd *w, int64_t block)
{
    return LTN_MIN(w->block, w->count - block * w->block);
}

/* The patches of tile t of a block, if there are any. */
static void load_tile(const winograd *w, const real *x, int64_t block, int64_t t, real *v)
{
    const int64_t first = t * w->tile, end = LTN_MIN(first + w->tile, patches_of(w, block));
    for (int64_t r = first; r < end; r++) load_patch(w, x, block * w->block + r, r, v);
    for (int64_t k = 0; k < POINTS && w->pairs && first < end; k++)
        for (int64_t c = 0; c < w->in; c += SLICE)
            ltn__pairs_strip(end - first, LTN_MIN(w->in - c, SLICE), strip_of(w, v, k, first, c), w->tile,
                             v_head(w, v, k, t, c / SLICE));
}

static void store(const winograd *w, const real *const *src, real *m, int64_t block, int64_t group, real *y)
{
    const real *residual = w->fuse.residual ? src[w->n->nsrc] : NULL;
    for (int64_t k = 0; k < panels_of(w, group); k++)
        for (int64_t r = 0; r < patches_of(w, block); r++)
            store_patch(w, (lanes *)m + k * w->rows + r, block * w->block + r, group * w->group + k, src[2], residual,
                        y);
}

/* Many patches: one block through all panels; u holds them all. */
static void run_block(const winograd *w, const real *const *src, const real *u, int64_t block, real *v, real *m,
                      real *y)
{
    const int64_t count = patches_of(w, block);
    for (int64_t t = 0; t * w->tile < count; t++) load_tile(w, src[0], block, t, v);
    multiply(w, v, u, 0, w->in, count, w->panels, m);
    store(w, src, m, block, 0, y);
}

/* Few patches: one group meets all blocks, whose v is there; a single block a slice of the weights at a time. */
static void run_group(const winograd *w, const real *const *src, const real *v, int64_t group, real *u, real *m,
                      real *y)
{
    for (int64_t c = 0; c < w->in; c += w->depth) {
        const int64_t end = LTN_MIN(c + w->depth, w->in);
        for (int64_t p = 0; p < panels_of(w, group); p++) load_weights(w, group * w->group + p, c, end, u);
        for (int64_t b = 0; b < w->blocks; b++) {
            multiply(w, v + b * v_size(w), u, c, end, patches_of(w, b), panels_of(w, group), m);
            if (end == w->in) store(w, src, m, b, group, y);
        }
    }
}

/* ---- The cell ---- */

static int64_t patches(const ltn_node *n)
{
    const int64_t *d = n->dims.d;
    return d[0] * ((d[1] + OUT - 1) / OUT) * ((d[2] + OUT - 1) / OUT);
}

static bool fits(const ltn_node *n, const ltn_fusion *f)
{
    const int64_t *w = n->src[1]->dims.d;
    return n->src[1]->weight && can_finish(f) && w[2] == 3 && w[3] == 3 && n->i[0] == 1 && w[0] % N == 0 &&
           w[1] % N == 0;
}

/* How the work is cut: by what the cache holds, and so that all threads have some. */
static void share_work(winograd *w)
{
    const int64_t cached = CACHE / (POINTS * w->in * (int64_t)sizeof(real)) / LTN_TILE_M * LTN_TILE_M;
    w->many = w->count >= w->panels * N / 2;
    w->group = w->many ? w->panels : w->panels >= 4 * w->threads ? GROUP : 1;
    w->block = LTN_MIN(w->count, BLOCK);
    if (w->many) { /* as many blocks for each thread */
        const int64_t most = w->threads * LTN_MIN(w->block, LTN_MAX(cached, LTN_TILE_M));
        const int64_t blocks = (w->count + most - 1) / most * w->threads;
        w->block = (w->count + blocks - 1) / blocks;
    }
    w->block = ltn__eights(w->block);
    w->blocks = (w->count + w->block - 1) / w->block;
    w->groups = (w->panels + w->group - 1) / w->group;
    w->depth = w->many || w->blocks > 1 ? w->in : SLICE;
    w->rows = w->block + 1;
    w->tile = LTN_MIN(LTN_TILE_M, w->block);
    w->apart = (w->block + w->tile - 1) / w->tile * w->tile * (w->in / N) + 1;
}

static ltn_status winograd_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads,
                                ltn_kernel *out)
{
    if (!fits(n, fuse)) return LTN_DONE;
    winograd *w = ltn__alloc(ctx, 1, sizeof *w);
    if (!w) return LTN_ENOMEM;
    const int64_t *d = n->dims.d;
    *w = (winograd){.n = n, .fuse = *fuse, .weight = n->src[1]->weight, .in = n->src[0]->dims.d[3], .panels = d[3] / N};
    w->adjoint = n->op == &ltn__op_conv2d_dx;
    w->top = w->adjoint ? 2 - n->i[1] : n->i[1];
    w->left = w->adjoint ? 2 - n->i[2] : n->i[2];
    w->down = (d[1] + OUT - 1) / OUT;
    w->across = (d[2] + OUT - 1) / OUT;
    w->count = patches(n);
    w->threads = ltn__worth(threads, (double)(w->count * w->in * d[3]) * POINTS);
    w->pairs = ltn__pairs();
    share_work(w);
    const int64_t shared = w->many ? w->groups * u_size(w) : w->blocks * v_size(w);
    const int64_t own = (w->many ? v_size(w) : u_size(w)) + m_size(w);
    *out = (ltn_kernel){w, (size_t)(shared + w->threads * own) * sizeof(real), 1u << 1};
    return LTN_OK;
}

static void run_many(const winograd *w, const real *const *src, real *u, real *v, real *y)
{
    real *m = v + v_size(w);
#pragma omp for
    for (int64_t p = 0; p < w->panels; p++) load_weights(w, p, 0, w->in, u);
#pragma omp for schedule(dynamic)
    for (int64_t b = 0; b < w->blocks; b++) run_block(w, src, u, b, v, m, y);
}

static void run_few(const winograd *w, const real *const *src, real *v, real *u, real *y)
{
    real *m = u + u_size(w);
#pragma omp for
    for (int64_t i = 0; i < w->blocks * tiles(w); i++)
        load_tile(w, src[0], i / tiles(w), i % tiles(w), v + i / tiles(w) * v_size(w));
#pragma omp for schedule(dynamic)
    for (int64_t g = 0; g < w->groups; g++) run_group(w, src, v, g, u, m, y);
}

static void winograd_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const winograd *w = state;
    real *shared = scratch, *rooms = shared + (w->many ? w->groups * u_size(w) : w->blocks * v_size(w));
#pragma omp parallel num_threads(w->threads)
    {
        real *own = rooms + ltn__thread() * ((w->many ? v_size(w) : u_size(w)) + m_size(w));
        (w->many ? run_many : run_few)(w, src, shared, own, dst);
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
