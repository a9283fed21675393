/* gather.c - rows of a table by number (an embedding), and the adjoint: scatter adds each x to its row of
 * zeros. A number that no row has reads zeros, and is not written. */
#include "map.h"

#include <string.h>

/* The row that a value names, or -1. */
static int64_t row_of(real id, int64_t rows)
{
    return id >= 0 && id < (real)rows ? (int64_t)id : -1;
}

static bool are_ids(const ltn_node *ids)
{
    return ids->dims.d[1] == 1 && ids->dims.d[3] == 1;
}

ltn_node *ltn__gather(ltn_graph *g, ltn_node *table, ltn_node *ids)
{
    const int64_t *t = table->dims.d, *d = ids->dims.d;
    if ((t[0] != 1 || t[1] != 1 || !are_ids(ids)) && !ltn__graph_status(g))
        return ltn__graph_fail(g, LTN_ESHAPE,
                               "gather: a table of %lld x %lld matrices, %lld x %lld values an id",
                               (long long)t[0], (long long)t[1], (long long)d[1], (long long)d[3]);
    return ltn__node(g, &ltn__op_gather, ltn__dims(d[0], 1, d[2], t[3]), 2, (ltn_node *[]){table, ids});
}

/* The rows of the table, or where that is NULL of the weight that the node's is. */
static void take_rows(const ltn_node *n, const real *table, const real *ids, real *dst)
{
    const int64_t c = n->dims.d[3], rows = n->src[0]->dims.d[2];
    for (int64_t k = 0; k < ltn__count(n->src[1]->dims); k++) {
        const int64_t row = row_of(ids[k], rows);
        if (row < 0) memset(dst + k * c, 0, (size_t)c * sizeof(real));
        else if (table) memcpy(dst + k * c, table + row * c, (size_t)c * sizeof(real));
        else ltn__weight_widen(n->src[0]->weight, row * c, c, dst + k * c);
    }
}

static void gather_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    take_rows(n, src[0], src[1], dst);
}

static void gather_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    if (want[0]) gsrc[0] = ltn__scatter(g, dy, n->src[1], n->src[0]->dims.d[2]);
}

static ltn_node *gather_example(ltn_graph *g, int k)
{
    if (k > 1) return NULL;
    return ltn__gather(g, ltn__input(g, "table", k ? ltn__dims(1, 1, 2, 3) : ltn__dims(1, 1, 5, 7)),
                       ltn__input(g, "ids", k ? ltn__dims(1, 1, 3, 1) : ltn__dims(2, 1, 4, 1)));
}

const ltn_op ltn__op_gather = {
    .entry = {.name = "gather", .help = "rows of a table by number"},
    .run = gather_run,
    .vjp = gather_vjp,
    .example = gather_example,
};

/* ---- A cell: the rows of a weight where it lies in its file ---- */

static ltn_status gather_open(ltn_ctx *ctx, const ltn_node *n, const ltn_fusion *fuse, int threads, ltn_kernel *out)
{
    if (!n->src[0]->weight || fuse->residual || fuse->activation) return LTN_DONE;
    *out = (ltn_kernel){(void *)n, 0, 1u << 0};
    return LTN_OK;
}

static void gather_rows(void *state, const real *const *src, real *dst, void *scratch)
{
    take_rows(state, NULL, src[1], dst);
}

static void gather_close(ltn_ctx *ctx, void *state)
{
}

const ltn_cell ltn__cell_gather = {"rows:gather", &ltn__op_gather, gather_open, gather_rows, gather_close};

ltn_node *ltn__scatter(ltn_graph *g, ltn_node *x, ltn_node *ids, int64_t rows)
{
    const int64_t *s = x->dims.d, *d = ids->dims.d;
    if ((s[0] != d[0] || s[1] != 1 || s[2] != d[2] || !are_ids(ids)) && !ltn__graph_status(g))
        return ltn__graph_fail(g, LTN_ESHAPE, "scatter: %lld x %lld x %lld rows for %lld x %lld x %lld ids",
                               (long long)s[0], (long long)s[1], (long long)s[2], (long long)d[0],
                               (long long)d[1], (long long)d[2]);
    return ltn__node(g, &ltn__op_scatter, ltn__dims(1, 1, rows, s[3]), 2, (ltn_node *[]){x, ids});
}

static void scatter_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    const int64_t c = n->dims.d[3];
    memset(dst, 0, (size_t)ltn__count(n->dims) * sizeof(real));
    for (int64_t k = 0; k < ltn__count(n->src[1]->dims); k++) {
        const int64_t row = row_of(src[1][k], n->dims.d[2]);
        for (int64_t j = 0; row >= 0 && j < c; j++) dst[row * c + j] += src[0][k * c + j];
    }
}

static void scatter_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    if (want[0]) gsrc[0] = ltn__gather(g, dy, n->src[1]);
}

static ltn_node *scatter_example(ltn_graph *g, int k)
{
    if (k > 1) return NULL;
    const ltn_dims ids = k ? ltn__dims(1, 1, 3, 1) : ltn__dims(2, 1, 4, 1);
    return ltn__scatter(g, ltn__input(g, "x", ltn__dims(ids.d[0], 1, ids.d[2], 7)), ltn__input(g, "ids", ids),
                        k ? 2 : 5);
}

const ltn_op ltn__op_scatter = {
    .entry = {.name = "scatter", .help = "adds rows to the rows of zeros that their numbers name"},
    .run = scatter_run,
    .vjp = scatter_vjp,
    .example = scatter_example,
};
