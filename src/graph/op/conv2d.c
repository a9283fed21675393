/* conv2d.c - convolution and its two adjoints:
 *     y[oy,ox,o]      = bias[o] + sum over c, ky, kx of x[oy s - top + ky, ox s - left + kx, c] w[o,c,ky,kx]
 *     conv2d_dx(y, w) = the x that a cotangent y gives,   conv2d_dw(x, y) = the w that it gives.
 * The three are closed under differentiation. Kernels gather the pixels that meet the taps of w into rows of
 * a matrix and multiply. i: stride, top, left, bottom, right. */
#include "tile.h"

#include <string.h>

enum { STRIDE, TOP, LEFT, BOTTOM, RIGHT };
enum { ROWS = 24, DEPTH = 96 }; /* pixels gathered at once, by conv2d and _dx, by _dw */

static int64_t out_size(int64_t in, int64_t before, int64_t after, int64_t kernel, int64_t stride)
{
    return in + before + after < kernel ? 0 : (in + before + after - kernel) / stride + 1;
}

/* The shape of conv2d of an x of this shape. */
static ltn_dims conv_dims(ltn_dims x, ltn_dims w, const int64_t *i)
{
    return ltn__dims(x.d[0], out_size(x.d[1], i[TOP], i[BOTTOM], w.d[2], i[STRIDE]),
                     out_size(x.d[2], i[LEFT], i[RIGHT], w.d[3], i[STRIDE]), w.d[0]);
}

static ltn_node *make(ltn_graph *g, const ltn_op *op, ltn_dims dims, ltn_node *a, ltn_node *b, ltn_node *bias,
                      const int64_t *i)
{
    ltn_node *n = ltn__node(g, op, dims, 3, (ltn_node *[]){a, b, bias});
    for (int k = STRIDE; k <= RIGHT; k++) n->i[k] = i[k];
    return n;
}

ltn_node *ltn__conv2d(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *bias, int stride, int top, int left,
                      int bottom, int right)
{
    const int64_t i[] = {stride, top, left, bottom, right};
    if (x->dims.d[3] != w->dims.d[1])
        return ltn__graph_fail(g, LTN_ESHAPE, "conv2d: %lld channels into weights for %lld",
                               (long long)x->dims.d[3], (long long)w->dims.d[1]);
    if (bias && ltn__count(bias->dims) != w->dims.d[0])
        return ltn__graph_fail(g, LTN_ESHAPE, "conv2d: %lld biases, not %lld",
                               (long long)ltn__count(bias->dims), (long long)w->dims.d[0]);
    return make(g, &ltn__op_conv2d, conv_dims(x->dims, w->dims, i), x, w, bias, i);
}

/* Where tap t of place i reads, outside of the source's range if nowhere. */
static int64_t reach(int64_t i, int64_t t, int64_t pad, int64_t stride, bool adjoint)
{
    if (!adjoint) return i * stride - pad + t;
    i += pad - t;
    return i % stride ? -1 : i / stride;
}

typedef struct window {
    ltn_dims x;     /* of the array that is read */
    int64_t kh, kw; /* taps */
    const int64_t *i;
    bool adjoint;
} window;

/* What the tap (ky, kx) sees from place (y, x) of the n-th picture: a pixel, or NULL for zeros. */
static const real *pixel(const window *v, const real *data, int64_t n, int64_t y, int64_t x, int64_t ky,
                         int64_t kx)
{
    const int64_t *d = v->x.d;
    const int64_t sy = reach(y, ky, v->i[TOP], v->i[STRIDE], v->adjoint),
                  sx = reach(x, kx, v->i[LEFT], v->i[STRIDE], v->adjoint);
    if (sy < 0 || sy >= d[1] || sx < 0 || sx >= d[2]) return NULL;
    return data + ((n * d[1] + sy) * d[2] + sx) * d[3];
}

/* A row of kh kw c numbers: what all taps see. */
static void gather(const window *v, const real *data, int64_t n, int64_t y, int64_t x, real *row)
{
    const size_t bytes = (size_t)v->x.d[3] * sizeof(real);
    for (int64_t ky = 0; ky < v->kh; ky++)
        for (int64_t kx = 0; kx < v->kw; kx++, row += v->x.d[3]) {
            const real *p = pixel(v, data, n, y, x, ky, kx);
            if (p) memcpy(row, p, bytes);
            else memset(row, 0, bytes);
        }
}

static int64_t depth(const ltn_node *n)
{
    return n->src[0]->dims.d[3] * n->src[1]->dims.d[2] * n->src[1]->dims.d[3];
}

static size_t gather_scratch(const ltn_node *n, int threads)
{
    return (size_t)(depth(n) * (ltn__panels(n->dims.d[3]) * LTN_TILE_N + (int64_t)threads * ROWS)) *
           sizeof(real);
}

/* w, (out, in, kh, kw), as panels with a row for each tap and each channel of the source. */
static void pack(const ltn_node *n, const real *w, real *panels, int threads)
{
    const int64_t *d = n->src[1]->dims.d;
    const bool adjoint = n->op == &ltn__op_conv2d_dx;
    const int64_t taps = d[2] * d[3], row = adjoint ? d[1] * taps : taps,
                  column = adjoint ? taps : d[1] * taps;
    const int64_t from = n->src[0]->dims.d[3], to = n->dims.d[3];
#pragma omp parallel for num_threads(threads)
    for (int64_t p = 0; p < ltn__panels(to); p++)
        for (int64_t t = 0; t < taps; t++)
            ltn__panel(from, to, p, w + t, row, column, panels + (p * taps + t) * from * LTN_TILE_N);
}

static void gather_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t *d = n->dims.d;
    const int64_t k = depth(n), lines = d[0] * d[1];
    const window v = {n->src[0]->dims, n->src[1]->dims.d[2], n->src[1]->dims.d[3], n->i,
                      n->op == &ltn__op_conv2d_dx};
    real *panels = scratch, *all_rows = panels + k * ltn__panels(d[3]) * LTN_TILE_N;
    threads = ltn__worth(threads, (double)ltn__count(n->dims) * (double)k);
    pack(n, src[1], panels, threads);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        real *rows = all_rows + t * ROWS * k;
        for (int64_t line = lines * t / threads; line < lines * (t + 1) / threads; line++)
            for (int64_t x = 0; x < d[2]; x += ROWS) {
                const int64_t m = LTN_MIN(ROWS, d[2] - x);
                for (int64_t r = 0; r < m; r++)
                    gather(&v, src[0], line / d[1], line % d[1], x + r, rows + r * k);
                ltn__product(m, d[3], k, rows, k, panels, src[2], dst + (line * d[2] + x) * d[3], d[3]);
            }
    }
}

/* conv2d_dw is a product of y^T, (out, pixels), with the gathered x, (pixels, taps c). A strip is the part of
 * it that belongs to one tap and 16 channels; each thread has its strips, and walks over the pixels DEPTH at
 * a time. */
typedef struct strips {
    int64_t taps, panels, tiles; /* per tap; per strip */
    ltn_tile *sum;
    real *part; /* per thread: DEPTH of y^T, and a panel of x */
    int64_t part_size;
} strips;

static strips strips_of(const ltn_node *n, void *scratch)
{
    const int64_t *w = n->dims.d;
    strips s = {w[2] * w[3], ltn__panels(w[1]), (w[0] + LTN_TILE_M - 1) / LTN_TILE_M, scratch, NULL, 0};
    s.part_size = DEPTH * (s.tiles * LTN_TILE_M + LTN_TILE_N) + 15;
    s.part_size -= s.part_size % 16;
    if (scratch) s.part = (real *)(s.sum + s.taps * s.panels * s.tiles);
    return s;
}

static size_t dw_scratch(const ltn_node *n, int threads)
{
    const strips s = strips_of(n, NULL);
    return (size_t)(s.taps * s.panels * s.tiles) * sizeof(ltn_tile) +
           (size_t)(threads * s.part_size) * sizeof(real);
}

/* Adds the pixels [first, first + DEPTH) to the strips [begin, end). */
static void dw_add(const ltn_node *n, const window *v, const real *const *src, const strips *s, int64_t first,
                   int64_t begin, int64_t end, real *yt, real *panel)
{
    const int64_t *y = n->src[1]->dims.d, in = n->dims.d[1], out = y[3], pixels = y[0] * y[1] * y[2];
    const int64_t k = LTN_MIN(DEPTH, pixels - first);
    for (int64_t p = 0; p < k; p++)
        for (int64_t o = 0; o < out; o++) yt[o * DEPTH + p] = src[1][(first + p) * out + o];
    for (int64_t strip = begin; strip < end; strip++) {
        const int64_t tap = strip / s->panels, c = strip % s->panels * LTN_TILE_N,
                      width = LTN_MIN(LTN_TILE_N, in - c);
        memset(panel, 0, sizeof(real) * DEPTH * LTN_TILE_N);
        for (int64_t p = 0; p < k; p++) {
            const int64_t at = first + p;
            const real *x =
                pixel(v, src[0], at / (y[1] * y[2]), at / y[2] % y[1], at % y[2], tap / v->kw, tap % v->kw);
            if (x) memcpy(panel + p * LTN_TILE_N, x + c, (size_t)width * sizeof(real));
        }
        for (int64_t t = 0; t < s->tiles; t++) {
            const real *rows[LTN_TILE_M];
            for (int64_t r = 0; r < LTN_TILE_M; r++) rows[r] = yt + (t * LTN_TILE_M + r) * DEPTH;
            ltn__tile(LTN_MIN(LTN_TILE_M, out - t * LTN_TILE_M), k, rows, panel,
                      &s->sum[strip * s->tiles + t]);
        }
    }
}

static void dw_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t *w = n->dims.d, *y = n->src[1]->dims.d;
    const strips s = strips_of(n, scratch);
    const window v = {n->src[0]->dims, w[2], w[3], n->i, false};
    const int64_t count = s.taps * s.panels, pixels = y[0] * y[1] * y[2];
    memset(scratch, 0, dw_scratch(n, threads));
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; t++) {
        real *yt = s.part + t * s.part_size, *panel = s.part + (t + 1) * s.part_size - DEPTH * LTN_TILE_N;
        for (int64_t first = 0; first < pixels; first += DEPTH)
            dw_add(n, &v, src, &s, first, count * t / threads, count * (t + 1) / threads, yt, panel);
    }
    for (int64_t o = 0; o < w[0]; o++)
        for (int64_t c = 0; c < w[1]; c++)
            for (int64_t tap = 0; tap < s.taps; tap++)
                dst[(o * w[1] + c) * s.taps + tap] =
                    s.sum[(tap * s.panels + c / LTN_TILE_N) * s.tiles + o / LTN_TILE_M]
                        .v[o % LTN_TILE_M][c % LTN_TILE_N];
}

static ltn_node *bias_gradient(ltn_graph *g, ltn_node *dy, const ltn_node *bias)
{
    return ltn__reshape(g, ltn__sum_to(g, dy, ltn__dims(1, 1, 1, dy->dims.d[3])), bias->dims);
}

static void conv2d_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0], *w = n->src[1];
    if (want[0]) gsrc[0] = make(g, &ltn__op_conv2d_dx, x->dims, dy, w, NULL, n->i);
    if (want[1]) gsrc[1] = make(g, &ltn__op_conv2d_dw, w->dims, x, dy, NULL, n->i);
    if (want[2]) gsrc[2] = bias_gradient(g, dy, n->src[2]);
}

static void conv2d_dx_vjp(ltn_graph *g, ltn_node *n, ltn_node *gx, const bool *want, ltn_node **gsrc)
{
    ltn_node *dy = n->src[0], *w = n->src[1];
    if (want[0]) gsrc[0] = make(g, &ltn__op_conv2d, dy->dims, gx, w, NULL, n->i);
    if (want[1]) gsrc[1] = make(g, &ltn__op_conv2d_dw, w->dims, gx, dy, NULL, n->i);
}

static void conv2d_dw_vjp(ltn_graph *g, ltn_node *n, ltn_node *gw, const bool *want, ltn_node **gsrc)
{
    ltn_node *x = n->src[0], *dy = n->src[1];
    if (want[0]) gsrc[0] = make(g, &ltn__op_conv2d_dx, x->dims, dy, gw, NULL, n->i);
    if (want[1]) gsrc[1] = make(g, &ltn__op_conv2d, dy->dims, x, gw, NULL, n->i);
}

/* The three rows share their cases: odd sizes, every stride and padding, channel counts around the tile's. */
static const struct example {
    ltn_dims x, w;
    int64_t i[5];
    bool bias;
} examples[] = {
    {{{1, 5, 6, 3}}, {{4, 3, 3, 3}}, {1, 1, 1, 1, 1}, true},
    {{{2, 7, 9, 17}}, {{19, 17, 3, 3}}, {2, 0, 0, 1, 1}, true},
    {{{1, 6, 7, 5}}, {{2, 5, 3, 2}}, {2, 1, 0, 2, 1}, false},
    {{{2, 16, 16, 32}}, {{48, 32, 3, 3}}, {1, 1, 1, 1, 1}, true},
    {{{1, 12, 31, 64}}, {{16, 64, 1, 1}}, {1, 0, 0, 0, 0}, true},
    {{{1, 32, 32, 64}}, {{3, 64, 3, 3}}, {1, 1, 1, 1, 1}, true},
    {{{1, 17, 16, 64}}, {{64, 64, 3, 3}}, {2, 1, 1, 1, 1}, false},
    {{{2, 15, 13, 16}}, {{32, 16, 3, 3}}, {1, 1, 0, 0, 2}, true},
    {{{1, 23, 26, 3}}, {{8, 3, 11, 11}}, {4, 2, 2, 2, 2}, true},
};

static ltn_node *conv2d_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    const struct example *e = &examples[k];
    ltn_node *bias = e->bias ? ltn__input(g, "bias", ltn__dims(1, 1, 1, e->w.d[0])) : NULL;
    return ltn__conv2d(g, ltn__input(g, "x", e->x), ltn__input(g, "w", e->w), bias, (int)e->i[STRIDE],
                       (int)e->i[TOP], (int)e->i[LEFT], (int)e->i[BOTTOM], (int)e->i[RIGHT]);
}

static ltn_node *conv2d_dx_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    const struct example *e = &examples[k];
    return make(g, &ltn__op_conv2d_dx, e->x, ltn__input(g, "dy", conv_dims(e->x, e->w, e->i)),
                ltn__input(g, "w", e->w), NULL, e->i);
}

static ltn_node *conv2d_dw_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    const struct example *e = &examples[k];
    return make(g, &ltn__op_conv2d_dw, e->w, ltn__input(g, "x", e->x),
                ltn__input(g, "dy", conv_dims(e->x, e->w, e->i)), NULL, e->i);
}

static void conv2d_rows(const ltn_node *n, ltn_span *make, ltn_span *need)
{
    const int64_t stride = n->i[STRIDE];
    *need = (ltn_span){make->first * stride - n->i[TOP], (make->end - 1) * stride - n->i[TOP] + n->src[1]->dims.d[2]};
}

const ltn_op ltn__op_conv2d = {
    .entry = {.name = "conv2d", .help = "convolution with stride and padding, bias added"},
    .run = gather_run,
    .scratch = gather_scratch,
    .vjp = conv2d_vjp,
    .example = conv2d_example,
    .rows = conv2d_rows,
};

const ltn_op ltn__op_conv2d_dx = {
    .entry = {.name = "conv2d_dx", .help = "the adjoint of conv2d with respect to its picture"},
    .run = gather_run,
    .scratch = gather_scratch,
    .vjp = conv2d_dx_vjp,
    .example = conv2d_dx_example,
};

const ltn_op ltn__op_conv2d_dw = {
    .entry = {.name = "conv2d_dw", .help = "the adjoint of conv2d with respect to its weights"},
    .run = dw_run,
    .scratch = dw_scratch,
    .vjp = conv2d_dw_vjp,
    .example = conv2d_dw_example,
};
