/* rows.c - a cell for products with a weight: linear layers, their adjoints, and 1x1 convolutions. The weight is
 * read where it lies in its file and no copy is kept: what the inner product needs next is widened into panels that
 * stay in a thread's own cache, and a chunk of x's rows meets them there.
 *
 *     for tasks, a chunk of x's rows and six panels of y's columns:
 *         for slices of the depth:  widen the weight's panels;  c += rows by panels
 *         y = c, its bias, residual and activation
 *
 * Where pairs of terms pay (pairs.h), x is first brought into strips of rows, a block of it at a time. */
#include "finish.h"
#include "pairs.h"

enum { N = LTN_TILE_N, WIDE = 6, CHUNK = 43 * LTN_TILE_M, SLICE = 320, STRIPS = 1 << 22 /* numbers */, AHEAD = 8 };

typedef struct rows {
    const ltn_node *n;
    ltn_fusion fuse;
    const ltn_weight *w;
    bool adjoint;
    int64_t m, in, out;    /* y (m, out) = x (m, in) times the weight */
    int64_t panels, chunk; /* of out; rows at once */
    int64_t tasks;         /* of up to six panels, for each chunk */
    bool pairs;
    int64_t block;         /* rows of x in strips at once: chunks, or all */
    int threads;
} rows;

/* The depth [first, first + count) of panel p of the weight, in its orientation. */
static void pack_weight(const rows *s, int64_t p, int64_t first, int64_t count, real *out)
{
    if (!s->adjoint) {
        ltn__weight_panel(s->w, s->out, s->in, p, first, count, out);
        return;
    }
    const int64_t width = LTN_MIN(s->out - p * N, N);
    if (width < N) memset(out, 0, (size_t)(count * N) * sizeof *out);
    for (int64_t i = 0; i < count; i++)
        ltn__weight_widen(s->w, (first + i) * s->out + p * N, width, out + i * N);
}

/* A slice of the weight: panels [p, p + wide), and the depth from k on. */
typedef struct slice {
    int64_t p, wide, k;
} slice;

static int64_t depth_of(const rows *s, slice w) { return LTN_MIN(s->in - w.k, SLICE); }

/* Part i of n of a slice comes nearer from memory, while another one is at work. */
static void fetch(const rows *s, slice w, int64_t i, int64_t n)
{
    const int64_t depth = depth_of(s, w), columns = LTN_MIN(w.wide * N, s->out - w.p * N);
    const int64_t runs = s->adjoint ? depth : columns;
    for (int64_t r = runs * i / n; r < runs * (i + 1) / n; r++)
        if (s->adjoint) ltn__weight_fetch(s->w, (w.k + r) * s->out + w.p * N, columns);
        else ltn__weight_fetch(s->w, (w.p * N + r) * s->in + w.k, depth);
}

/* Sums c of a row, in n columns: what follows them, and away to y, where y's own columns `at` and on are. */
static inline void finish_row(const rows *s, real *c, int64_t at, int64_t n, const real *bias, const real *residual,
                              real *y)
{
    if (bias) add(c, bias + at, n);
    if (s->fuse.before) activate(s->fuse.activation, c, n);
    if (residual) add(c, residual, n);
    if (!s->fuse.before) activate(s->fuse.activation, c, n);
    memcpy(y, c, (size_t)n * sizeof *y);
}

/* The same for `count` rows from `row` on; what is AHEAD rows away comes nearer. Six whole panels are a number that the
 * compiler knows. */
LTN_KERNEL static void finish(const rows *s, real *c, int64_t row, int64_t count, int64_t at, int64_t n,
                              const real *bias, const real *residual, real *y)
{
    for (int64_t r = 0; r < count; r++, c += WIDE * N) {
        const int64_t place = (row + r) * s->out + at;
        const real *more = residual ? residual + place : NULL;
        ltn__fetch_to_write(y + place + AHEAD * s->out, (size_t)n * sizeof *y);
        if (residual) ltn__fetch(more + AHEAD * s->out, (size_t)n * sizeof *y);
        if (n == WIDE * N) finish_row(s, c, at, WIDE * N, bias, more, y + place);
        else finish_row(s, c, at, n, bias, more, y + place);
    }
}

/* ---- x in strips: of 24 rows each, and a strip is its slices of the depth, each with its head ---- */

static int64_t slice_size(int64_t depth) { return LTN_STRIP_HEAD + ltn__sixteens(depth) * LTN_TILE_M; }

static int64_t strip_size(const rows *s)
{
    return s->in / SLICE * slice_size(SLICE) + (s->in % SLICE ? slice_size(s->in % SLICE) : 0);
}

/* `count` rows of x, 24 at most, to a strip; each row's next slice comes nearer. */
static void make_strip(const rows *s, const real *x, int64_t count, real *strip)
{
    for (int64_t k = 0; k < s->in; k += SLICE) {
        const int64_t depth = LTN_MIN(s->in - k, SLICE);
        const int64_t whole = depth / N * N;
        real *a = strip + LTN_STRIP_HEAD;
        if (count < LTN_TILE_M || whole < depth) memset(strip, 0, (size_t)slice_size(depth) * sizeof *strip);
        for (int64_t r = 0; r < count; r++) {
            const real *from = x + r * s->in + k;
            ltn__fetch(from + SLICE, SLICE * sizeof *from);
            for (int64_t i = 0; i < whole; i += N) memcpy(a + i * LTN_TILE_M + r * N, from + i, N * sizeof *a);
            memcpy(a + whole * LTN_TILE_M + r * N, from + whole, (size_t)(depth - whole) * sizeof *a);
        }
        ltn__pairs_strip(count, ltn__sixteens(depth), a, LTN_TILE_M, strip);
        strip += slice_size(depth);
    }
}

/* The strips' slices by the panels, which are made ready; the next ones are fetched. */
static void pairs_product(const rows *s, int64_t count, slice w, slice next, const real *strips, real *panels, real *c)
{
    const int64_t depth = depth_of(s, w), whole = ltn__sixteens(depth);
    real head[WIDE][LTN_PANEL_HEAD] __attribute__((aligned(64)));
    for (int64_t j = 0; j < w.wide; j++) {
        real *b = panels + j * SLICE * N;
        memset(b + depth * N, 0, (size_t)((whole - depth) * N) * sizeof *b);
        ltn__pairs_panel(whole, b, head[j]);
    }
    strips += w.k / SLICE * slice_size(SLICE);
    for (int64_t i = 0; i < ltn__strips(count); i++, strips += strip_size(s)) {
        const int64_t r = i * LTN_TILE_M;
        fetch(s, next, i, ltn__strips(count));
        for (int64_t j = 0; j < w.wide; j++) {
            ltn__fetch_part(strips + strip_size(s), (size_t)slice_size(depth) * sizeof *strips, j, w.wide);
            ltn__pairs_product(LTN_MIN(count - r, LTN_TILE_M), whole, strips + LTN_STRIP_HEAD, LTN_TILE_M, strips,
                               panels + j * SLICE * N, head[j], c + r * WIDE * N + j * N, WIDE * N, w.k > 0);
        }
    }
}

/* x's rows themselves by the panels. */
static void rows_product(const rows *s, int64_t count, slice w, const real *x, const real *panels, real *c)
{
    for (int64_t j = 0; j < w.wide; j += LTN_WIDE)
        ltn__rows_product(count, depth_of(s, w), LTN_MIN(w.wide - j, LTN_WIDE), x + w.k, s->in, panels + j * SLICE * N,
                          SLICE * N, c + j * N, WIDE * N);
}

/* ---- Tasks ---- */

/* The first slice of task t of a chunk. */
static slice task_at(const rows *s, int64_t t)
{
    const int64_t p = t * s->panels / s->tasks;
    return (slice){p, (t + 1) * s->panels / s->tasks - p, 0};
}

/* `count` rows of x from `row` on by the panels of task t; strips: of these rows, where there are any. */
static void run_task(const rows *s, const real *const *src, int64_t row, int64_t count, int64_t t, const real *strips,
                     real *panels, real *y)
{
    const real *residual = s->fuse.residual ? src[s->n->nsrc] : NULL, *x = src[0] + row * s->in;
    const slice first = task_at(s, t), coming = task_at(s, (t + s->threads) % s->tasks);
    real *c = panels + WIDE * N * SLICE;
    if (!s->pairs) memset(c, 0, (size_t)(count * WIDE * N) * sizeof *c);
    for (slice w = first; w.k < s->in; w.k += SLICE) {
        const int64_t depth = depth_of(s, w);
        const slice next = w.k + SLICE < s->in ? (slice){w.p, w.wide, w.k + SLICE} : coming;
        for (int64_t j = 0; j < w.wide; j++) pack_weight(s, w.p + j, w.k, depth, panels + j * SLICE * N);
        if (s->pairs) pairs_product(s, count, w, next, strips, panels, c);
        else rows_product(s, count, w, x, panels, c);
    }
    finish(s, c, row, count, first.p * N, LTN_MIN(first.wide * N, s->out - first.p * N), src[2], residual, y);
}

/* Numbers of one thread: panels, and c for a chunk; and of all: strips of a block. */
static int64_t room(const rows *s) { return WIDE * N * (SLICE + ltn__eights(s->chunk)); }
static int64_t shared(const rows *s) { return s->pairs ? ltn__strips(s->block) * strip_size(s) : 0; }

/* By all threads. */
static void make_strips(const rows *s, const real *x, int64_t count, real *strips)
{
#pragma omp for
    for (int64_t i = 0; i < ltn__strips(count); i++)
        make_strip(s, x + i * LTN_TILE_M * s->in, LTN_MIN(LTN_TILE_M, count - i * LTN_TILE_M),
                   strips + i * strip_size(s));
}

static void run_block(const rows *s, const real *const *src, int64_t first, int64_t count, real *dst, real *strips)
{
    const int64_t chunks = (count + s->chunk - 1) / s->chunk;
    real *own = strips + shared(s) + ltn__thread() * room(s);
    if (s->pairs) make_strips(s, src[0] + first * s->in, count, strips);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < chunks * s->tasks; i++) {
        const int64_t row = i / s->tasks * s->chunk, t = i % s->tasks;
        run_task(s, src, first + row, LTN_MIN(s->chunk, count - row), t, strips + row / LTN_TILE_M * strip_size(s),
                 own, dst);
    }
}

static void rows_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const rows *s = state;
#pragma omp parallel num_threads(s->threads)
    for (int64_t first = 0; first < s->m; first += s->block)
        run_block(s, src, first, LTN_MIN(s->block, s->m - first), dst, scratch);
}

/* ---- The cell ---- */

static bool fits(const ltn_node *n, const ltn_fusion *f)
{
    if (!n->src[1]->weight || !can_finish(f)) return false;
    if (n->op == &ltn__op_linear) return true;
    const int64_t *w = n->src[1]->dims.d, *i = n->i;
    return w[2] == 1 && w[3] == 1 && i[0] == 1 && !i[1] && !i[2] && !i[3] && !i[4];
}

static ltn_status rows_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads, ltn_kernel *out)
{
    if (!fits(n, fuse)) return LTN_DONE;
    rows *s = ltn__alloc(ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *s = (rows){.n = n, .fuse = *fuse, .w = n->src[1]->weight, .in = n->src[0]->dims.d[3], .out = n->dims.d[3]};
    s->adjoint = n->op == &ltn__op_conv2d_dx || (n->op == &ltn__op_linear && n->i[0]);
    s->m = ltn__count(n->dims) / s->out;
    s->panels = ltn__panels(s->out);
    s->threads = ltn__worth(threads, (double)s->m * (double)s->in * (double)s->out);
    s->tasks = (s->panels + WIDE - 1) / WIDE;
    if (s->tasks > s->threads) s->tasks = (s->tasks + s->threads - 1) / s->threads * s->threads; /* as many for each */
    const int64_t chunks = (s->m + CHUNK - 1) / CHUNK;
    s->pairs = ltn__pairs() && s->m >= LTN_TILE_M;
    s->chunk = LTN_MIN(ltn__strips((s->m + chunks - 1) / chunks) * LTN_TILE_M, s->m);
    s->block = s->pairs ? LTN_MIN(s->m, s->chunk * LTN_MAX(1, STRIPS / (s->chunk * s->in))) : s->m;
    *out = (ltn_kernel){s, (size_t)(shared(s) + s->threads * room(s)) * sizeof(real), 1u << 1};
    return LTN_OK;
}

static void rows_close(ltn_ctx *ctx, void *state)
{
    ltn__free(ctx, state);
}

const ltn_cell ltn__cell_linear = {"rows:linear", &ltn__op_linear, rows_open, rows_run, rows_close};
const ltn_cell ltn__cell_conv1x1 = {"rows:conv2d", &ltn__op_conv2d, rows_open, rows_run, rows_close};
const ltn_cell ltn__cell_conv1x1_dx = {"rows:conv2d_dx", &ltn__op_conv2d_dx, rows_open, rows_run, rows_close};
