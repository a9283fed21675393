/* stripes.c - runs a graph from one picture to another in bounded memory, stripe of rows by stripe, and yet
 * exactly: there are no seams, for a stripe is made from all the rows that it depends on, and group norms take
 * mean and variance of the whole picture.
 *
 * A sum of two values and what a group norm reads are made in a pass of their own, from those made before that
 * are still kept. A pass goes over the picture once, gathers the statistics that norms need, and keeps the value
 * where there is memory; where there is none, later passes make it again. Values whose last reader is the pass
 * at hand give their rows back on the way, so a residual block takes little more memory than its input.
 *
 * A stripe is a graph of its own: the same nodes with the rows they need, padded at the picture's border only.
 * Stripes that look alike share one plan. */
#include "op/group_norm.h"
#include "store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct value {
    const ltn_node *n;
    bool pass; /* is made in a pass of its own */
    bool kept; /* in the store, or the input */
    bool last; /* kept, and the pass at hand reads it last */
    ltn_store store;
    ltn_span need;  /* the rows that the stripe at hand has of it */
    ltn_node *part; /* its node in the stripe's graph */
    /* A group norm's, for each group: mean and sum of squares around it of `count` numbers; what it takes. */
    double *moment, count;
    real *stat;
} value;

struct ltn_stripes {
    ltn_ctx *ctx;
    int nodes;
    size_t memory;  /* of a run; 0: no bound */
    int64_t height; /* of stripes; 0: what the memory allows */
    value *v;
    const ltn_node *from, *to; /* the input, the output */
    real *in, *out;
    ltn_graph *graph; /* of a stripe */
    ltn_plan *plan;
};

static bool norms(const value *v, const ltn_node *n)
{
    return v->n->op == &ltn__op_group_norm && v->n->src[0] == n;
}

/* ---- Which rows a stripe needs ---- */

static bool empty(ltn_span r)
{
    return r.first >= r.end;
}

/* What of [first, end) the source has: all of it where its height is one, for it is repeated. */
static ltn_span within(ltn_span r, const ltn_node *source)
{
    const int64_t height = source->dims.d[1];
    if (height == 1) return (ltn_span){0, 1};
    return (ltn_span){LTN_MAX(r.first, 0), LTN_MIN(r.end, height)};
}

/* What node n reads to make rows *make. */
static ltn_span reach(const ltn_node *n, ltn_span *make)
{
    ltn_span need = {0, INT64_MAX};
    if (n->op->rows) n->op->rows(n, make, &need);
    else *make = (ltn_span){0, n->dims.d[1]};
    return need;
}

/* Back from rows of value `id` to what is kept. */
static void walk(ltn_stripes *s, int id, ltn_span rows)
{
    for (int i = 0; i < s->nodes; i++) s->v[i].need = (ltn_span){0, 0};
    s->v[id].need = rows;
    for (int i = id; i >= 0; i--) {
        value *v = &s->v[i];
        if (empty(v->need) || !v->n->op || (v->kept && i != id)) continue;
        const ltn_span need = reach(v->n, &v->need);
        for (int k = 0; k < v->n->nsrc; k++) {
            const ltn_node *source = v->n->src[k];
            if (!source || (!source->op && !source->input)) continue;
            ltn_span *all = &s->v[source->id].need, part = within(need, source);
            *all = empty(*all) ? part
                               : (ltn_span){LTN_MIN(all->first, part.first), LTN_MAX(all->end, part.end)};
        }
    }
}

/* ---- The graph of a stripe ---- */

static ltn_node *leaf(ltn_graph *g, const ltn_node *n)
{
    return n->weight ? ltn__weight_node(g, n->weight) : ltn__constant(g, n->dims, n->constant);
}

static ltn_node *given(ltn_graph *g, const value *v)
{
    char name[24];
    ltn_dims dims = v->n->dims;
    dims.d[1] = v->need.end - v->need.first;
    snprintf(name, sizeof name, "%d", v->n->id);
    return ltn__input(g, name, dims);
}

/* The rows of source k that node v reads. */
static ltn_node *source_of(ltn_stripes *s, ltn_graph *g, value *v, int k, ltn_span need)
{
    if (!v->n->src[k]) return NULL;
    value *source = &s->v[v->n->src[k]->id];
    if (!source->n->op && !source->n->input) return leaf(g, source->n);
    const ltn_span part = within(need, source->n);
    return ltn__slice(g, source->part, 1, part.first - source->need.first, part.end - part.first);
}

/* Only a convolution reaches beyond the picture: there its padding (i[1] above, i[3] below) stands. */
static ltn_node *made(ltn_stripes *s, ltn_graph *g, value *v)
{
    ltn_node *src[LTN_MAXSRC] = {NULL};
    const ltn_node *n = v->n;
    const ltn_span need = reach(n, &v->need);
    ltn_dims dims = n->dims;
    dims.d[1] = v->need.end - v->need.first;
    for (int k = 0; k < n->nsrc; k++) src[k] = source_of(s, g, v, k, need);
    if (v->stat) src[3] = ltn__constant(g, ltn__dims(1, 1, n->i[0], 2), v->stat);
    ltn_node *part = ltn__node(g, n->op, dims, v->stat ? 4 : n->nsrc, src);
    memcpy(part->i, n->i, sizeof part->i);
    memcpy(part->f, n->f, sizeof part->f);
    if (n->op == &ltn__op_conv2d) {
        part->i[1] = LTN_MAX(-need.first, 0);
        part->i[3] = LTN_MAX(need.end - n->src[0]->dims.d[1], 0);
    }
    return part;
}

static void build(ltn_stripes *s, ltn_graph *g, int id)
{
    for (int i = 0; i <= id; i++) {
        value *v = &s->v[i];
        if (empty(v->need)) continue;
        v->part = !v->n->op || (v->kept && i != id) ? given(g, v) : made(s, g, v);
    }
    ltn__output(g, "out", s->v[id].part);
}

static bool same_node(const ltn_node *a, const ltn_node *b)
{
    bool same = a->op == b->op && ltn__same_dims(a->dims, b->dims) && a->nsrc == b->nsrc && a->weight == b->weight &&
                !memcmp(a->i, b->i, sizeof a->i) && !a->input == !b->input;
    for (int k = 0; k < a->nsrc && same; k++)
        same = a->src[k] && b->src[k] ? a->src[k]->id == b->src[k]->id : a->src[k] == b->src[k];
    return same;
}

/* Of one pass: inputs and numbers that are the same for all of its stripes are not compared. */
static bool same_graph(const ltn_graph *a, const ltn_graph *b)
{
    bool same = ltn__graph_size(a) == ltn__graph_size(b);
    for (int i = 0; i < ltn__graph_size(a) && same; i++)
        same = same_node(ltn__graph_node(a, i), ltn__graph_node(b, i));
    return same;
}

static void close_plan(ltn_stripes *s)
{
    ltn__plan_close(&s->plan);
    ltn__graph_close(&s->graph);
}

/* Graph and plan for these rows; LTN_DONE: it takes more than `most` bytes. */
static ltn_status prepare(ltn_stripes *s, int id, ltn_span rows, size_t most)
{
    ltn_graph *g;
    ltn_status status = ltn__graph_open(s->ctx, &g);
    if (status) return status;
    walk(s, id, rows);
    build(s, g, id);
    if (!(status = ltn__graph_status(g)) && s->plan && same_graph(s->graph, g)) {
        ltn__graph_close(&g);
        return LTN_OK;
    }
    close_plan(s);
    s->graph = g;
    return status ? status : ltn__plan_open(g, &(ltn_plan_options){.most = most}, &s->plan);
}

/* ---- Statistics ---- */

/* Chan, Golub and LeVeque 1983: moments of two parts put together. */
static void add_moments(value *norm, const ltn_groups *k, const double *stat)
{
    const double count = (double)(k->pixels * k->width), total = norm->count + count;
    for (int64_t j = 0; j < k->groups; j++) {
        double *m = norm->moment + 2 * j;
        const double mean = stat[2 * j], r = stat[2 * j + 1], away = mean - m[0];
        m[0] += away * count / total;
        m[1] += count * (1 / (r * r) - k->eps) + away * away * norm->count * count / total;
        norm->stat[2 * j] = (real)m[0];
        norm->stat[2 * j + 1] = (real)(1 / sqrt(m[1] / total + k->eps));
    }
    norm->count = total;
}

static ltn_status measure(ltn_stripes *s, value *norm, const real *x, int64_t rows)
{
    ltn_node part = *norm->n;
    part.dims.d[1] = rows;
    const ltn_groups k = ltn__groups(&part);
    double *stat = ltn__alloc(s->ctx, (size_t)(2 * k.groups), sizeof *stat);
    real *sums = ltn__alloc(s->ctx, (size_t)(2 * k.blocks * k.c), sizeof *sums);
    if (stat && sums) {
        ltn__group_statistics(&k, x, sums, stat, s->ctx->threads);
        add_moments(norm, &k, stat);
    }
    const bool ok = stat && sums;
    ltn__free(s->ctx, stat);
    ltn__free(s->ctx, sums);
    return ok ? LTN_OK : LTN_ENOMEM;
}

/* ---- A pass ---- */

/* Which values no pass after this one reads, given what is kept. */
static void find_last(ltn_stripes *s, int id)
{
    for (int i = 0; i < s->nodes; i++) s->v[i].last = s->v[i].kept;
    for (int later = id + 1; later < s->nodes; later++) {
        if (!s->v[later].pass) continue;
        walk(s, later, (ltn_span){0, s->v[later].n->dims.d[1]});
        for (int i = 0; i < later; i++)
            if (!empty(s->v[i].need)) s->v[i].last = false;
    }
}

/* Bytes in the stores at most while value `id` is made. */
static size_t most_kept(ltn_stripes *s, int id, size_t size)
{
    size_t staying = 0, leaving = 0;
    find_last(s, id);
    for (int i = 0; i < id; i++) {
        const value *v = &s->v[i];
        if (v->store.row) *(v->last ? &leaving : &staying) += ltn__store_bytes(v->n->dims, v->store.rounded);
    }
    return staying + LTN_MAX(leaving, size);
}

/* Stores may take three quarters of the memory; the stripe at hand has the rest. */
static ltn_status choose_store(ltn_stripes *s, int id, size_t *held)
{
    value *v = &s->v[id];
    const size_t room = s->memory ? s->memory / 4 * 3 : SIZE_MAX;
    for (int rounded = 0; rounded < 2 && v->n != s->to; rounded++) {
        v->kept = true;
        if ((*held = most_kept(s, id, ltn__store_bytes(v->n->dims, rounded))) <= room)
            return ltn__store_open(s->ctx, v->n->dims, rounded, &v->store);
    }
    v->kept = false;
    *held = most_kept(s, id, 0);
    return LTN_OK;
}

/* What a pass is like. */
typedef struct shape {
    bool whole; /* something in it needs all rows at once */
    size_t row; /* bytes of the largest value, for a row of the result */
} shape;

static shape shape_of(ltn_stripes *s, int id)
{
    shape p = {0};
    walk(s, id, (ltn_span){0, 1});
    for (int i = 0; i <= id; i++) {
        const value *v = &s->v[i];
        if (empty(v->need)) continue;
        const size_t size = (size_t)ltn__count(v->n->dims) * sizeof(real);
        p.row = LTN_MAX(p.row, size / (size_t)s->v[id].n->dims.d[1]);
        if (!v->n->op || (v->kept && i != id)) continue;
        p.whole = p.whole || !v->n->op->rows;
    }
    return p;
}

/* A plan has about five of its largest values; the divisor of winograd.c's patches makes no edges. */
static int64_t first_height(const ltn_stripes *s, const shape *p, int64_t height, size_t most)
{
    enum { VALUES = 5, PATCH = 4 };
    if (p->whole) return height;
    int64_t step = s->height ? s->height : s->memory ? (int64_t)(most / (VALUES * p->row)) : height;
    if (!s->height && step > PATCH) step -= step % PATCH;
    return LTN_MIN(LTN_MAX(step, 1), height);
}

static ltn_status run_stripe(ltn_stripes *s, int id, ltn_span rows)
{
    value *v = &s->v[id];
    char name[24];
    for (int i = 0; i < id; i++) {
        value *from = &s->v[i];
        if (!from->kept || empty(from->need)) continue;
        const int64_t first = from->need.first, n = from->need.end - first;
        const size_t row = (size_t)(ltn__count(from->n->dims) / from->n->dims.d[1]);
        snprintf(name, sizeof name, "%d", i);
        real *x = ltn__plan_data(s->plan, name);
        if (from->n->input) memcpy(x, s->in + (size_t)first * row, (size_t)n * row * sizeof *x);
        else ltn__store_get(&from->store, first, n, x, s->ctx->threads);
        if (from->last && from->store.row) ltn__store_drop(s->ctx, &from->store, first);
    }
    ltn__plan_run(s->plan);
    const real *y = ltn__plan_data(s->plan, "out");
    const size_t row = (size_t)(ltn__count(v->n->dims) / v->n->dims.d[1]);
    const int64_t n = rows.end - rows.first;
    ltn_status status = LTN_OK;
    for (int i = id + 1; i < s->nodes && !status; i++)
        if (norms(&s->v[i], v->n)) status = measure(s, &s->v[i], y, n);
    if (v->n == s->to) memcpy(s->out + (size_t)rows.first * row, y, (size_t)n * row * sizeof *y);
    if (!status && v->kept) status = ltn__store_put(s->ctx, &v->store, rows.first, n, y, s->ctx->threads);
    return status;
}

static void end_pass(ltn_stripes *s, int id)
{
    close_plan(s);
    for (int i = 0; i < s->nodes; i++) {
        value *v = &s->v[i];
        if (i == id || !v->last || !v->store.row) continue;
        ltn__store_close(s->ctx, &v->store);
        v->kept = false;
    }
}

static ltn_status pass(ltn_stripes *s, int id)
{
    const int64_t height = s->v[id].n->dims.d[1];
    size_t held;
    ltn_status status = choose_store(s, id, &held);
    const shape p = shape_of(s, id);
    const size_t most = s->memory > held ? s->memory - held : 1;
    int64_t step = first_height(s, &p, height, most), first = 0;
    while (!status && first < height) {
        const ltn_span rows = {first, LTN_MIN(first + step, height)};
        status = prepare(s, id, rows, s->memory && !s->height ? most : 0);
        if (!status && !(status = run_stripe(s, id, rows))) first = rows.end;
        if (status != LTN_DONE) continue;
        step = p.whole ? 0 : step * 3 / 4;
        status = step ? LTN_OK
                      : ltn__fail(s->ctx, LTN_ENOMEM, "%zu bytes are too few for a picture of this size", s->memory);
    }
    end_pass(s, id);
    return status;
}

ltn_status ltn__stripes_run(ltn_stripes *s, size_t memory)
{
    ltn_status status = LTN_OK;
    s->memory = memory - memory / 8; /* the rest for statistics, the kernels' own states, gaps between rows */
    for (int i = 0; i < s->nodes; i++) {
        value *v = &s->v[i];
        v->count = 0;
        if (v->moment) memset(v->moment, 0, (size_t)(2 * v->n->i[0]) * sizeof *v->moment);
    }
    for (int i = 0; i < s->nodes && !status; i++)
        if (s->v[i].pass) status = pass(s, i);
    for (int i = 0; i < s->nodes; i++) {
        ltn__store_close(s->ctx, &s->v[i].store);
        s->v[i].kept = s->v[i].n->input != NULL;
    }
    return status;
}

/* ---- Opening ---- */

static bool is_sum(const ltn_node *n)
{
    return n->op == &ltn__op_add && ltn__same_dims(n->src[0]->dims, n->src[1]->dims) && n->src[0]->op && n->src[1]->op;
}

static ltn_status enter(ltn_stripes *s, const ltn_node *n)
{
    value *v = &s->v[n->id];
    v->n = n;
    if (n->input) s->from = n;
    if (n->output) s->to = n;
    v->kept = n->input != NULL;
    v->pass = v->pass || n->output || is_sum(n);
    if (n->op != &ltn__op_group_norm) return LTN_OK;
    s->v[n->src[0]->id].pass = true;
    v->moment = ltn__alloc(s->ctx, (size_t)(2 * n->i[0]), sizeof *v->moment);
    v->stat = ltn__alloc(s->ctx, (size_t)(2 * n->i[0]), sizeof *v->stat);
    return v->moment && v->stat ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open_all(ltn_stripes *s, ltn_graph *g)
{
    ltn_status status = LTN_OK;
    s->v = ltn__alloc(s->ctx, (size_t)s->nodes, sizeof *s->v);
    if (!s->v) return LTN_ENOMEM;
    for (int i = 0; i < s->nodes && !status; i++) status = enter(s, ltn__graph_node(g, i));
    if (status) return status;
    if (!s->from || !s->to || s->from->dims.d[0] != 1)
        return ltn__fail(s->ctx, LTN_ESHAPE, "stripes: expected a graph from one picture to one picture");
    const size_t in = (size_t)ltn__count(s->from->dims), out = (size_t)ltn__count(s->to->dims);
    s->in = ltn__alloc(s->ctx, in, sizeof *s->in);
    s->out = ltn__alloc(s->ctx, out, sizeof *s->out);
    return s->in && s->out ? LTN_OK : LTN_ENOMEM;
}

ltn_status ltn__stripes_open(ltn_graph *g, int64_t height, ltn_stripes **out)
{
    *out = NULL;
    ltn_status status = ltn__graph_status(g);
    if (status) return status;
    ltn_ctx *ctx = ltn__graph_ctx(g);
    ltn_stripes *s = *out = ltn__alloc(ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    s->ctx = ctx;
    s->nodes = ltn__graph_size(g);
    s->height = height;
    status = open_all(s, g);
    if (status) ltn__stripes_close(out);
    return status;
}

void ltn__stripes_close(ltn_stripes **stripes)
{
    ltn_stripes *s = *stripes;
    if (!s) return;
    for (int i = 0; i < s->nodes && s->v; i++) {
        ltn__free(s->ctx, s->v[i].moment);
        ltn__free(s->ctx, s->v[i].stat);
    }
    ltn__free(s->ctx, s->v);
    ltn__free(s->ctx, s->in);
    ltn__free(s->ctx, s->out);
    ltn__free(s->ctx, s);
    *stripes = NULL;
}

real *ltn__stripes_data(ltn_stripes *s, const char *name)
{
    if (!strcmp(name, s->from->input)) return s->in;
    return strcmp(name, s->to->output) ? NULL : s->out;
}
