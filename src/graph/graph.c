/* graph.c - building a graph: leaves, nodes, outputs, and the error that sticks. */
#include "graph.h"

#include <stdio.h>
#include <string.h>

struct ltn_graph {
    ltn_ctx *ctx;
    ltn_arena arena;
    ltn_node **node;
    int count, room;
    ltn_status status;
    char error[512];
    ltn_node bad; /* what constructors return once the graph has failed */
};

bool ltn__same_dims(ltn_dims a, ltn_dims b)
{
    return !memcmp(&a, &b, sizeof a);
}

ltn_status ltn__graph_open(ltn_ctx *ctx, ltn_graph **out)
{
    ltn_graph *g = *out = ltn__alloc(ctx, 1, sizeof *g);
    if (!g) return LTN_ENOMEM;
    g->ctx = ctx;
    g->arena.ctx = ctx;
    g->bad.dims = ltn__dims(1, 1, 1, 1);
    return LTN_OK;
}

void ltn__graph_close(ltn_graph **graph)
{
    ltn_graph *g = *graph;
    if (!g) return;
    ltn__arena_free(&g->arena);
    ltn__free(g->ctx, g->node);
    ltn__free(g->ctx, g);
    *graph = NULL;
}

ltn_ctx *ltn__graph_ctx(ltn_graph *g)
{
    return g->ctx;
}

ltn_status ltn__graph_status(const ltn_graph *g)
{
    return g->status ? ltn__fail(g->ctx, g->status, "%s", g->error) : LTN_OK;
}

int ltn__graph_size(const ltn_graph *g)
{
    return g->count;
}

ltn_node *ltn__graph_node(const ltn_graph *g, int id)
{
    return g->node[id];
}

ltn_node *ltn__graph_fail(ltn_graph *g, ltn_status s, const char *fmt, ...)
{
    if (!g->status) {
        va_list a;
        va_start(a, fmt);
        vsnprintf(g->error, sizeof g->error, fmt, a);
        va_end(a);
        g->status = ltn__fail(g->ctx, s, "%s", g->error);
    }
    return &g->bad;
}

static bool dims_fit(ltn_dims s)
{
    int64_t n = 1;
    for (int k = 0; k < 4; k++) {
        if (s.d[k] < 1 || s.d[k] > INT64_MAX / 64 / n) return false;
        n *= s.d[k];
    }
    return true;
}

static ltn_node *new_node(ltn_graph *g, ltn_dims dims)
{
    if (g->status) return &g->bad;
    if (!dims_fit(dims))
        return ltn__graph_fail(g, LTN_ESHAPE, "array of %lld x %lld x %lld x %lld values",
                               (long long)dims.d[0], (long long)dims.d[1], (long long)dims.d[2],
                               (long long)dims.d[3]);
    if (g->count == g->room) {
        const int room = g->room ? 2 * g->room : 64;
        ltn_node **p = ltn__grow(g->ctx, g->node, (size_t)g->room, (size_t)room, sizeof *p);
        if (!p) return ltn__graph_fail(g, LTN_ENOMEM, "no memory for a graph of %d nodes", room);
        g->node = p;
        g->room = room;
    }
    ltn_node *n = ltn__arena_alloc(&g->arena, 1, sizeof *n);
    if (!n) return ltn__graph_fail(g, LTN_ENOMEM, "no memory for a graph of %d nodes", g->count + 1);
    n->dims = dims;
    n->id = g->count;
    g->node[g->count++] = n;
    return n;
}

ltn_node *ltn__node(ltn_graph *g, const ltn_op *op, ltn_dims dims, int nsrc, ltn_node *const *src)
{
    ltn_node *n = new_node(g, dims);
    if (n == &g->bad) return n;
    n->op = op;
    n->nsrc = nsrc;
    for (int k = 0; k < nsrc; k++) n->src[k] = src[k];
    return n;
}

static const char *keep(ltn_graph *g, const char *name)
{
    const char *s = ltn__arena_format(&g->arena, "%s", name);
    if (!s) ltn__graph_fail(g, LTN_ENOMEM, "no memory for the name %s", name);
    return s;
}

ltn_node *ltn__input(ltn_graph *g, const char *name, ltn_dims dims)
{
    ltn_node *n = new_node(g, dims);
    if (n != &g->bad) n->input = keep(g, name);
    return n;
}

ltn_node *ltn__weight_node(ltn_graph *g, ltn_weight *w)
{
    ltn_dims s = ltn__dims(1, 1, 1, 1);
    if (w->rank > 4) return ltn__graph_fail(g, LTN_ESHAPE, "%s: %d dimensions", w->name, w->rank);
    for (int k = 0; k < w->rank; k++) s.d[4 - w->rank + k] = w->dim[k];
    ltn_node *n = new_node(g, s);
    if (n == &g->bad) return n;
    n->weight = w;
    w->used = true;
    return n;
}

static ltn_node *new_constant(ltn_graph *g, ltn_dims dims, real **values)
{
    ltn_node *n = new_node(g, dims);
    if (n == &g->bad) return n;
    n->constant = *values = ltn__arena_alloc(&g->arena, (size_t)ltn__count(dims), sizeof(real));
    if (*values) return n;
    return ltn__graph_fail(g, LTN_ENOMEM, "no memory for %lld constants", (long long)ltn__count(dims));
}

ltn_node *ltn__constant(ltn_graph *g, ltn_dims dims, const real *values)
{
    real *own = NULL;
    ltn_node *n = new_constant(g, dims, &own);
    if (own) memcpy(own, values, (size_t)ltn__count(dims) * sizeof(real));
    return n;
}

ltn_node *ltn__fill(ltn_graph *g, ltn_dims dims, double value)
{
    real *own = NULL;
    ltn_node *n = new_constant(g, dims, &own);
    for (int64_t i = 0; own && i < ltn__count(dims); i++) own[i] = (real)value;
    return n;
}

ltn_node *ltn__output(ltn_graph *g, const char *name, ltn_node *n)
{
    if (!n->op || n->output)
        n = ltn__affine(g, n, 1, 0); /* a leaf's memory, and one that has a name, are no place for it */
    if (!g->status) n->output = keep(g, name);
    return n;
}

static const ltn_op *const rows[] = {
#define ROW(name) &ltn__op_##name,
#include "op.def"
#undef ROW
};

const ltn_op *ltn__op(int i)
{
    return i >= 0 && i < LTN_COUNT(rows) ? rows[i] : NULL;
}

void ltn__same_rows(const ltn_node *n, ltn_span *make, ltn_span *need)
{
    *need = *make;
}

const ltn_entry *ltn__op_entry(int i)
{
    const ltn_op *op = ltn__op(i);
    return op ? &op->entry : NULL;
}
