/* maxpool.c - the largest value of every window of size x size pixels, by channel; windows begin every
 * `stride` pixels and lie inside the picture. With a second source, the value of the first at the place where
 * that one is largest; and the adjoint: maxpool_dx gives the cotangent of a window to that place. Of equal
 * values the first counts, a NaN is larger than all. i[0]: size, i[1]: stride. */
#include "map.h"

#include <string.h>

static int64_t windows(int64_t pixels, int64_t size, int64_t stride)
{
    return pixels < size ? 0 : (pixels - size) / stride + 1;
}

static ltn_dims pooled(ltn_dims x, int64_t size, int64_t stride)
{
    return ltn__dims(x.d[0], windows(x.d[1], size, stride), windows(x.d[2], size, stride), x.d[3]);
}

static ltn_node *make(ltn_graph *g, const ltn_op *op, ltn_dims dims, ltn_node *values, ltn_node *where,
                      int64_t size, int64_t stride)
{
    ltn_node *n = ltn__node(g, op, dims, 2, (ltn_node *[]){values, where});
    n->i[0] = size;
    n->i[1] = stride;
    return n;
}

ltn_node *ltn__maxpool(ltn_graph *g, ltn_node *x, int size, int stride)
{
    if (size < 1 || stride < 1)
        return ltn__graph_fail(g, LTN_ESHAPE, "maxpool: windows of %d pixels every %d", size, stride);
    return make(g, &ltn__op_maxpool, pooled(x->dims, size, stride), x, NULL, size, stride);
}

/* What one row of windows needs. */
typedef struct row {
    int64_t size, stride, width, channels; /* of the picture */
    int64_t windows;
    const real *where; /* the first line that the windows see */
} row;

static row row_at(const ltn_node *n, ltn_dims pooled, const real *where, int64_t k)
{
    const int64_t *x = n->src[n->src[1] ? 1 : 0]->dims.d, lines = pooled.d[1];
    const int64_t line = k / lines * x[1] + k % lines * n->i[1];
    return (row){n->i[0], n->i[1], x[2], x[3], pooled.d[2], where + line * x[2] * x[3]};
}

/* Where the largest value of channel c in window w lies, counted from r->where. */
static int64_t largest(const row *r, int64_t w, int64_t c)
{
    int64_t best = w * r->stride * r->channels + c;
    for (int64_t y = 0; y < r->size; y++)
        for (int64_t x = 0; x < r->size; x++) {
            const int64_t at = (y * r->width + w * r->stride + x) * r->channels + c;
            const real v = r->where[at];
            if (v > r->where[best] || v != v) best = at;
        }
    return best;
}

static void maxpool_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const real *where = n->src[1] ? src[1] : src[0];
    const int64_t rows = n->dims.d[0] * n->dims.d[1];
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
    for (int64_t k = 0; k < rows; k++) {
        const row r = row_at(n, n->dims, where, k);
        const real *values = src[0] + (r.where - where);
        real *y = dst + k * r.windows * r.channels;
        for (int64_t w = 0; w < r.windows; w++)
            for (int64_t c = 0; c < r.channels; c++) *y++ = values[largest(&r, w, c)];
    }
}

static void maxpool_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *where = n->src[n->src[1] ? 1 : 0];
    if (want[0]) gsrc[0] = make(g, &ltn__op_maxpool_dx, n->src[0]->dims, dy, where, n->i[0], n->i[1]);
}

/* Windows overlap along both axes, so pictures are what threads may share out. */
static void maxpool_dx_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const ltn_dims pooled = n->src[0]->dims;
    memset(dst, 0, (size_t)ltn__count(n->dims) * sizeof *dst);
#pragma omp parallel for num_threads(threads) if (ltn__count(n->dims) > LTN_SERIAL)
    for (int64_t picture = 0; picture < pooled.d[0]; picture++)
        for (int64_t k = picture * pooled.d[1]; k < (picture + 1) * pooled.d[1]; k++) {
            const row r = row_at(n, pooled, src[1], k);
            const real *dy = src[0] + k * r.windows * r.channels;
            real *dx = dst + (r.where - src[1]);
            for (int64_t w = 0; w < r.windows; w++)
                for (int64_t c = 0; c < r.channels; c++) dx[largest(&r, w, c)] += *dy++;
        }
}

static void maxpool_dx_vjp(ltn_graph *g, ltn_node *n, ltn_node *dx, const bool *want, ltn_node **gsrc)
{
    if (want[0]) gsrc[0] = make(g, &ltn__op_maxpool, n->src[0]->dims, dx, n->src[1], n->i[0], n->i[1]);
}

static const struct example {
    ltn_dims x;
    int size, stride;
} examples[] = {
    {{{1, 2, 2, 1}}, 2, 2}, {{{2, 5, 7, 3}}, 2, 2},    {{{1, 9, 8, 3}}, 3, 2},
    {{{1, 6, 5, 4}}, 2, 3}, {{{1, 17, 33, 64}}, 3, 2},
};

static ltn_node *maxpool_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    return ltn__maxpool(g, ltn__input(g, "apart", examples[k].x), examples[k].size, examples[k].stride);
}

static ltn_node *maxpool_dx_example(ltn_graph *g, int k)
{
    if (k >= LTN_COUNT(examples)) return NULL;
    const struct example *e = &examples[k];
    return make(g, &ltn__op_maxpool_dx, e->x, ltn__input(g, "dy", pooled(e->x, e->size, e->stride)),
                ltn__input(g, "apart", e->x), e->size, e->stride);
}

const ltn_op ltn__op_maxpool = {
    .entry = {.name = "maxpool",
              .help = "the largest value of every window, or another picture's value there"},
    .run = maxpool_run,
    .vjp = maxpool_vjp,
    .example = maxpool_example,
};

const ltn_op ltn__op_maxpool_dx = {
    .entry = {.name = "maxpool_dx", .help = "the adjoint of maxpool"},
    .run = maxpool_dx_run,
    .vjp = maxpool_dx_vjp,
    .example = maxpool_dx_example,
};
