/* rows.c - a cell for products with a weight: linear layers, their adjoints, and 1x1 convolutions. The weight is
 * read where it lies in its file and no copy is kept: what the inner product needs next is widened into panels that
 * stay in a thread's own cache, and a chunk of x's rows meets them there.
 *
 *     for tasks, a chunk of x's rows and three panels of y's columns:
 *         for slices of the depth:  widen the weight's panels;  c += rows by panels
 *         y = c, its bias, residual and activation */
#include "finish.h"
#include "tile.h"

enum { N = LTN_TILE_N, WIDE = LTN_WIDE, CHUNK = 1024, SLICE = 640 };

typedef struct rows {
    const ltn_node *n;
    ltn_fusion fuse;
    const ltn_weight *w;
    bool adjoint;
    int64_t m, in, out;    /* y (m, out) = x (m, in) times the weight */
    int64_t panels, chunk; /* of out; rows at once */
    int64_t tasks;         /* of panels, for each chunk */
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

/* Sums c of `count` rows from `row` on, in `n` columns from `at` on: what follows them, and away to y. */
LTN_KERNEL static void finish(const rows *s, real *c, int64_t row, int64_t count, int64_t at, int64_t n, const real *bias,
                              const real *residual, real *y)
{
    for (int64_t r = 0; r < count; r++, c += WIDE * N) {
        const int64_t place = (row + r) * s->out + at;
        if (bias) add(c, bias + at, n);
        if (s->fuse.before) activate(s->fuse.activation, c, n);
        if (residual) add(c, residual + place, n);
        if (!s->fuse.before) activate(s->fuse.activation, c, n);
        memcpy(y + place, c, (size_t)n * sizeof *y);
    }
}

/* `count` rows of x from `row` on by the panels [p, p + wide). */
static void run_task(const rows *s, const real *const *src, int64_t row, int64_t count, int64_t p, int64_t wide,
                     real *panels, real *c, real *y)
{
    const real *residual = s->fuse.residual ? src[s->n->nsrc] : NULL, *x = src[0] + row * s->in;
    memset(c, 0, (size_t)(count * WIDE * N) * sizeof *c);
    for (int64_t k = 0; k < s->in; k += SLICE) {
        const int64_t depth = LTN_MIN(s->in - k, SLICE);
        for (int64_t j = 0; j < wide; j++) pack_weight(s, p + j, k, depth, panels + j * SLICE * N);
        ltn__rows_product(count, depth, wide, x + k, s->in, panels, SLICE * N, c, WIDE * N);
    }
    finish(s, c, row, count, p * N, LTN_MIN(wide * N, s->out - p * N), src[2], residual, y);
}

static int64_t room(const rows *s) { return WIDE * N * (SLICE + s->chunk); }

static void rows_run(void *state, const real *const *src, real *dst, void *scratch)
{
    const rows *s = state;
    const int64_t chunks = (s->m + s->chunk - 1) / s->chunk;
#pragma omp parallel for schedule(dynamic) num_threads(s->threads)
    for (int64_t i = 0; i < chunks * s->tasks; i++) {
        real *panels = (real *)scratch + ltn__thread() * room(s);
        const int64_t row = i / s->tasks * s->chunk, p = i % s->tasks * WIDE;
        run_task(s, src, row, LTN_MIN(s->chunk, s->m - row), p, LTN_MIN(WIDE, s->panels - p), panels,
                 panels + WIDE * N * SLICE, dst);
    }
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
    const int64_t chunks = (s->m + CHUNK - 1) / CHUNK;
    s->chunk = LTN_MIN(ltn__eights((s->m + chunks - 1) / chunks), s->m);
    *out = (ltn_kernel){s, (size_t)(s->threads * room(s)) * sizeof(real), 1u << 1};
    return LTN_OK;
}

static void rows_close(ltn_ctx *ctx, void *state)
{
    ltn__free(ctx, state);
}

const ltn_cell ltn__cell_linear = {"rows:linear", &ltn__op_linear, rows_open, rows_run, rows_close};
const ltn_cell ltn__cell_conv1x1 = {"rows:conv2d", &ltn__op_conv2d, rows_open, rows_run, rows_close};
const ltn_cell ltn__cell_conv1x1_dx = {"rows:conv2d_dx", &ltn__op_conv2d_dx, rows_open, rows_run, rows_close};
