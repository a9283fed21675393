/* plan.c - turns a graph into a list of steps: what the outputs need, in order; a kernel for each, with what
 * may be fused into it; one slab in which every value has its place for as long as somebody will read it. */
#include "graph.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64, FOREVER = INT_MAX };

typedef struct step {
    const ltn_node *node; /* the operation */
    ltn_fusion fuse;      /* and what follows it in the same kernel */
    const ltn_cell *cell; /* NULL: the reference */
    ltn_kernel kernel;
    const real *src[LTN_MAXSRC + 1]; /* the residual stands after the sources */
    real *dst;
} step;

/* A part of the slab, taken from step `first` to step `last`. */
typedef struct buffer {
    size_t size, offset;
    int first, last;
} buffer;

struct ltn_plan {
    ltn_graph *g;
    ltn_ctx *ctx;
    int threads, nodes, nstep, nbuffer;
    bool frugal;
    step *step;
    buffer *buffer;
    /* By node id. */
    bool *needed;
    const ltn_node **reader; /* the only one, if not an output */
    const ltn_node **root;   /* whose memory the value is: aliases are followed */
    int *place;              /* roots: their buffer, or -1 */
    int *last;               /* roots: the last step that reads them */
    int64_t *at;             /* which of the root's values is the first */
    char *slab;
    size_t slab_size, scratch_size;
    bool shares; /* the context's scratch */
};

/* ---- What is needed ---- */

static void mark(ltn_plan *p)
{
    for (int i = p->nodes - 1; i >= 0; i--) {
        const ltn_node *n = ltn__graph_node(p->g, i);
        if (n->output || n->input) p->needed[i] = true;
        for (int k = 0; k < n->nsrc && p->needed[i]; k++)
            if (n->src[k]) p->needed[n->src[k]->id] = true;
    }
}

/* p->last counts the readers here, before it gets its own meaning. */
static void find_readers(ltn_plan *p)
{
    for (int i = 0; i < p->nodes; i++) {
        const ltn_node *n = ltn__graph_node(p->g, i);
        for (int k = 0; k < n->nsrc && p->needed[i]; k++) {
            if (!n->src[k]) continue;
            const int id = n->src[k]->id;
            p->reader[id] = p->last[id]++ || n->src[k]->output ? NULL : n;
        }
    }
}

/* ---- Which kernel ---- */

static ltn_status try_cells(ltn_plan *p, step *s)
{
    const ltn_cell *c;
    for (int i = 0; (c = ltn__cell(i)); i++) {
        if (c->op != s->node->op) continue;
        s->kernel = (ltn_kernel){0};
        const ltn_status status = c->open(p->ctx, s->node, &s->fuse, p->threads, &s->kernel);
        if (status == LTN_OK) s->cell = c;
        if (status != LTN_DONE) return status;
    }
    return LTN_DONE;
}

static ltn_status choose(ltn_plan *p, step *s, bool reference)
{
    ltn_fusion chain[LTN_MAXFUSION] = {{.result = s->node}};
    ltn_status status = LTN_DONE;
    const int count = reference ? 0 : ltn__fusions(s->node, p->reader, chain);
    for (int k = 0; k < count && status == LTN_DONE; k++) {
        s->fuse = chain[k];
        status = try_cells(p, s);
    }
    if (status != LTN_DONE) return status;
    s->fuse = (ltn_fusion){.result = s->node};
    s->kernel.scratch = s->node->op->scratch ? s->node->op->scratch(s->node, p->threads) : 0;
    return LTN_OK;
}

/* The nodes of a chain stand where its last one stood: everything it reads exists by then. */
static int compare_steps(const void *a, const void *b)
{
    const step *s = a, *t = b;
    return (s->fuse.result->id > t->fuse.result->id) - (s->fuse.result->id < t->fuse.result->id);
}

/* The residual is read from memory: no chain of its own may go through the sum. */
static void absorb(ltn_plan *p, const step *s)
{
    for (const ltn_node *n = s->node; n != s->fuse.result;) {
        n = p->reader[n->id];
        p->root[n->id] = NULL;
    }
    if (s->fuse.residual) p->reader[s->fuse.residual->id] = NULL;
}

/* Afterwards root[id] is NULL for links of a chain other than its operation. */
static ltn_status make_steps(ltn_plan *p, bool reference)
{
    for (int i = 0; i < p->nodes; i++) {
        const ltn_node *n = ltn__graph_node(p->g, i);
        if (!p->needed[i] || !n->op || n->op->alias || !p->root[i]) continue;
        step *s = &p->step[p->nstep++];
        s->node = n;
        const ltn_status status = choose(p, s, reference);
        if (status) return status;
        p->scratch_size = LTN_MAX(p->scratch_size, s->kernel.scratch);
        absorb(p, s);
    }
    qsort(p->step, (size_t)p->nstep, sizeof *p->step, compare_steps);
    return LTN_OK;
}

/* ---- Where the values lie ---- */

static int source_count(const step *s)
{
    return s->node->nsrc + (s->fuse.residual != NULL);
}

static const ltn_node *source(const step *s, int k)
{
    return k < s->node->nsrc ? s->node->src[k] : s->fuse.residual;
}

static void find_lifetimes(ltn_plan *p)
{
    for (int i = 0; i < p->nodes; i++) {
        const ltn_node *n = ltn__graph_node(p->g, i);
        const bool alias = n->op && n->op->alias;
        p->root[i] = alias ? p->root[n->src[0]->id] : n;
        p->at[i] = alias ? p->at[n->src[0]->id] + n->i[0] : 0;
        p->place[i] = p->last[i] = -1;
        if (n->output || n->input) p->last[p->root[i]->id] = FOREVER;
    }
    for (int i = 0; i < p->nstep; i++)
        for (int k = 0; k < source_count(&p->step[i]); k++) {
            const ltn_node *n = source(&p->step[i], k);
            if (!n) continue;
            int *last = &p->last[p->root[n->id]->id];
            *last = LTN_MAX(*last, i);
        }
}

static int new_buffer(ltn_plan *p, const ltn_node *n, int first)
{
    const size_t size = ((size_t)ltn__count(n->dims) * sizeof(real) + ALIGN - 1) / ALIGN * ALIGN;
    p->buffer[p->nbuffer] = (buffer){.size = size, .first = first, .last = LTN_MAX(first, p->last[n->id])};
    return p->nbuffer++;
}

/* The source whose memory the step may write into: it is all that lies there, and dies here. */
static const ltn_node *overwritten(const ltn_plan *p, int i)
{
    const step *s = &p->step[i];
    const int which = s->fuse.residual ? s->node->nsrc : 0;
    if (s->cell ? !s->fuse.residual : !s->node->op->inplace) return NULL;
    const ltn_node *n = p->root[source(s, which)->id];
    if (ltn__count(n->dims) != ltn__count(source(s, which)->dims)) return NULL;
    if (p->place[n->id] < 0 || p->buffer[p->place[n->id]].last != i) return NULL;
    for (int k = 0; k < source_count(s); k++)
        if (k != which && source(s, k) && p->place[p->root[source(s, k)->id]->id] == p->place[n->id])
            return NULL;
    return ltn__count(n->dims) == ltn__count(s->node->dims) ? n : NULL;
}

static void make_buffers(ltn_plan *p)
{
    for (int i = 0; i < p->nodes; i++)
        if (ltn__graph_node(p->g, i)->input) p->place[i] = new_buffer(p, ltn__graph_node(p->g, i), 0);
    for (int i = 0; i < p->nstep; i++) {
        const ltn_node *result = p->step[i].fuse.result, *old = overwritten(p, i);
        if (old) {
            p->place[result->id] = p->place[old->id];
            p->buffer[p->place[old->id]].last = LTN_MAX(i, p->last[result->id]);
        } else {
            p->place[result->id] = new_buffer(p, result, i);
        }
    }
}

static int compare_sizes(const void *a, const void *b)
{
    const buffer *x = *(buffer *const *)a, *y = *(buffer *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x > y) - (x < y);
}

/* The tightest gap among the buffers already placed (sorted by offset) that live at the same time. */
static size_t find_gap(buffer *const *placed, int count, const buffer *b)
{
    size_t end = 0, best = SIZE_MAX, best_room = SIZE_MAX;
    for (int i = 0; i < count; i++) {
        const buffer *q = placed[i];
        if (q->last < b->first || b->last < q->first) continue;
        if (q->offset >= end + b->size && q->offset - end < best_room) {
            best = end;
            best_room = q->offset - end;
        }
        end = LTN_MAX(end, q->offset + q->size);
    }
    return best == SIZE_MAX ? end : best;
}

/* Greedy, largest first. */
static ltn_status place_buffers(ltn_plan *p)
{
    buffer **order = ltn__alloc(p->ctx, (size_t)p->nbuffer + 1, 2 * sizeof *order);
    if (!order) return LTN_ENOMEM;
    buffer **placed = order + p->nbuffer;
    for (int i = 0; i < p->nbuffer; i++) order[i] = &p->buffer[i];
    qsort(order, (size_t)p->nbuffer, sizeof *order, compare_sizes);
    for (int i = 0; i < p->nbuffer; i++) {
        buffer *b = order[i];
        b->offset = find_gap(placed, i, b);
        p->slab_size = LTN_MAX(p->slab_size, b->offset + b->size);
        int at = i;
        for (; at > 0 && placed[at - 1]->offset > b->offset; at--) placed[at] = placed[at - 1];
        placed[at] = b;
    }
    ltn__free(p->ctx, order);
    return LTN_OK;
}

/* ---- Pointers ---- */

static real *computed(const ltn_plan *p, const ltn_node *n)
{
    const int place = p->place[p->root[n->id]->id];
    return place < 0 ? NULL : (real *)(void *)(p->slab + p->buffer[place].offset) + p->at[n->id];
}

static ltn_status value(const ltn_plan *p, const ltn_node *n, const real **out)
{
    const ltn_node *root = p->root[n->id];
    const real *leaf = root->weight ? ltn__weight_real(p->ctx, root->weight) : root->constant;
    *out = leaf ? leaf + p->at[n->id] : computed(p, n);
    return *out ? LTN_OK : LTN_ENOMEM;
}

static ltn_status connect(ltn_plan *p)
{
    for (int i = 0; i < p->nstep; i++) {
        step *s = &p->step[i];
        s->dst = computed(p, s->fuse.result);
        for (int k = 0; k < source_count(s); k++)
            if (source(s, k) && !(s->kernel.packed >> k & 1)) {
                const ltn_status status = value(p, source(s, k), &s->src[k]);
                if (status) return status;
            }
    }
    return LTN_OK;
}

/* ---- Scratch: kernels run one after another, whosever they are, so one room as large as the largest wants serves all
 * plans of a context ---- */

static size_t wanted_scratch(const ltn_plan *p)
{
    return p->ctx->scratch.room && p->scratch_size <= p->ctx->scratch.size ? 0 : p->scratch_size + 1;
}

static ltn_status take_scratch(ltn_plan *p)
{
    const size_t size = wanted_scratch(p);
    if (size) {
        void *room = ltn__alloc(p->ctx, size, 1);
        if (!room) return LTN_ENOMEM;
        ltn__free(p->ctx, p->ctx->scratch.room);
        p->ctx->scratch.room = room;
        p->ctx->scratch.size = size;
    }
    p->shares = true;
    p->ctx->scratch.plans++;
    return LTN_OK;
}

static void leave_scratch(ltn_plan *p)
{
    if (!p->shares || --p->ctx->scratch.plans) return;
    ltn__free(p->ctx, p->ctx->scratch.room);
    p->ctx->scratch.room = NULL;
    p->ctx->scratch.size = 0;
}

static ltn_status lay_out(ltn_plan *p, size_t most)
{
    find_lifetimes(p);
    make_buffers(p);
    const ltn_status status = place_buffers(p);
    if (status) return status;
    if (most && p->slab_size + wanted_scratch(p) > most) return LTN_DONE;
    p->slab = ltn__alloc(p->ctx, p->slab_size + 1, 1);
    return p->slab && !take_scratch(p) ? connect(p) : LTN_ENOMEM;
}

static bool make_tables(ltn_plan *p)
{
    const size_t n = (size_t)p->nodes + 1;
    p->step = ltn__alloc(p->ctx, n, sizeof *p->step);
    p->buffer = ltn__alloc(p->ctx, n, sizeof *p->buffer);
    p->needed = ltn__alloc(p->ctx, n, sizeof *p->needed);
    p->reader = ltn__alloc(p->ctx, n, sizeof *p->reader);
    p->root = ltn__alloc(p->ctx, n, sizeof *p->root);
    p->place = ltn__alloc(p->ctx, n, sizeof *p->place);
    p->last = ltn__alloc(p->ctx, n, sizeof *p->last);
    p->at = ltn__alloc(p->ctx, n, sizeof *p->at);
    for (int i = 0; i < p->nodes && p->root; i++) p->root[i] = ltn__graph_node(p->g, i);
    return p->step && p->buffer && p->needed && p->reader && p->root && p->place && p->last && p->at;
}

ltn_status ltn__plan_open(ltn_graph *g, const ltn_plan_options *opt, ltn_plan **out)
{
    *out = NULL;
    ltn_status status = ltn__graph_status(g);
    if (status) return status;
    ltn_ctx *ctx = ltn__graph_ctx(g);
    ltn_plan *p = *out = ltn__alloc(ctx, 1, sizeof *p);
    if (!p) return LTN_ENOMEM;
    p->g = g;
    p->ctx = ctx;
    p->threads = opt && opt->threads ? opt->threads : ctx->threads;
    p->frugal = opt && opt->frugal;
    p->nodes = ltn__graph_size(g);
    if (!make_tables(p)) {
        status = LTN_ENOMEM;
    } else {
        mark(p);
        find_readers(p);
        status = make_steps(p, opt && opt->reference);
        if (!status) status = lay_out(p, opt ? opt->most : 0);
    }
    for (int i = 0; i < p->nodes && p->frugal; i++)
        if (ltn__graph_node(g, i)->weight) ltn__weight_leave(ltn__graph_node(g, i)->weight);
    if (status) ltn__plan_close(out);
    return status;
}

void ltn__plan_close(ltn_plan **plan)
{
    ltn_plan *p = *plan;
    if (!p) return;
    for (int i = 0; i < p->nstep; i++)
        if (p->step[i].cell) p->step[i].cell->close(p->ctx, p->step[i].kernel.state);
    void *const parts[] = {p->step, p->buffer, p->needed, p->reader, p->root, p->place,
                           p->last, p->at,     p->slab};
    leave_scratch(p);
    for (int i = 0; i < LTN_COUNT(parts); i++) ltn__free(p->ctx, parts[i]);
    ltn__free(p->ctx, p);
    *plan = NULL;
}

static const ltn_node *find(const ltn_plan *p, const char *name)
{
    for (int i = 0; i < p->nodes; i++) {
        const ltn_node *n = ltn__graph_node(p->g, i);
        if ((n->input && !strcmp(n->input, name)) || (n->output && !strcmp(n->output, name))) return n;
    }
    return NULL;
}

real *ltn__plan_data(ltn_plan *p, const char *name)
{
    const ltn_node *n = find(p, name);
    return n ? computed(p, n) : NULL;
}

ltn_dims ltn__plan_dims(const ltn_plan *p, const char *name)
{
    const ltn_node *n = find(p, name);
    return n ? n->dims : ltn__dims(0, 0, 0, 0);
}

static void leave_weights(const step *s)
{
    for (int k = 0; k < s->node->nsrc; k++)
        if (s->node->src[k] && s->node->src[k]->weight) ltn__weight_leave(s->node->src[k]->weight);
}

static void run_steps(ltn_plan *p, int first, int end)
{
    for (int i = first; i < end; i++) {
        const step *s = &p->step[i];
        if (s->cell) s->cell->run(s->kernel.state, s->src, s->dst, p->ctx->scratch.room);
        else s->node->op->run(s->node, s->src, s->dst, p->ctx->scratch.room, p->threads);
        if (p->frugal) leave_weights(s);
    }
}

/* Steps stand in the order of their results. */
static int steps_to(const ltn_plan *p, const char *output)
{
    const ltn_node *n = find(p, output);
    int end = 0;
    while (n && end < p->nstep && p->step[end].fuse.result->id <= n->id) end++;
    return end;
}

void ltn__plan_run(ltn_plan *p)
{
    run_steps(p, 0, p->nstep);
}

void ltn__plan_run_to(ltn_plan *p, const char *output)
{
    run_steps(p, 0, steps_to(p, output));
}

void ltn__plan_run_on(ltn_plan *p, const char *output)
{
    run_steps(p, steps_to(p, output), p->nstep);
}

size_t ltn__plan_bytes(const ltn_plan *p)
{
    return p->slab_size + p->scratch_size;
}

int ltn__plan_steps(const ltn_plan *p)
{
    return p->nstep;
}

ltn_work ltn__plan_work(const ltn_plan *p, int i)
{
    const step *s = &p->step[i];
    ltn_work w = ltn__work(s->node, &s->fuse);
    if (s->cell) w.kernel = s->cell->name;
    return w;
}

void ltn__plan_run_timed(ltn_plan *p, double *seconds)
{
    for (int i = 0; i < p->nstep; i++) {
        const double start = ltn__seconds();
        run_steps(p, i, i + 1);
        seconds[i] = ltn__seconds() - start;
    }
}
