/* grad.c - reverse mode: walks back from y and hands each node's cotangent to its sources, summed where a
 * value has several readers. What comes out is graph, so it can be differentiated again. To save memory a
 * walk can make values again as it comes to them, instead of reading those of the first half (Chen et al.
 * 2016, arXiv 1604.06174). */
#include "graph.h"

#include <string.h>

typedef struct walk {
    ltn_graph *g;
    bool *between; /* by id: depends on some wrt */
    ltn_node **cotangent;
    ltn_node **again; /* the values made again; NULL: all are kept */
} walk;

static ltn_status reverse(ltn_graph *g, ltn_node *y, ltn_node *cotangent, int first, ltn_node *const *wrt,
                          int n, bool again, ltn_node **grad);

/* ---- Values made again ---- */

/* What is not made again: leaves, outputs, attention, which takes long for its size, and the sums of two values of one
 * shape, which in a network of residual blocks stand between any two of them. */
static bool kept(const ltn_node *n)
{
    if (!n->op || n->output || n->op == &ltn__op_attention) return true;
    return n->op == &ltn__op_add && ltn__same_dims(n->src[0]->dims, n->src[1]->dims);
}

static ltn_node *made_again(walk *w, ltn_node *n);

/* The operation on sources that may be those made again. */
static ltn_node *repeat(walk *w, const ltn_node *n)
{
    ltn_node *src[LTN_MAXSRC];
    for (int k = 0; k < n->nsrc; k++) src[k] = n->src[k] ? made_again(w, n->src[k]) : NULL;
    ltn_node *copy = ltn__node(w->g, n->op, n->dims, n->nsrc, src);
    memcpy(copy->i, n->i, sizeof n->i);
    memcpy(copy->f, n->f, sizeof n->f);
    return copy;
}

static ltn_node *made_again(walk *w, ltn_node *n)
{
    if (kept(n)) return n;
    if (!w->again[n->id]) w->again[n->id] = repeat(w, n);
    return w->again[n->id];
}

/* ---- The walk ---- */

static void accumulate(walk *w, const ltn_node *n, ltn_node *more)
{
    ltn_node **sum = &w->cotangent[n->id];
    if (!ltn__same_dims(n->dims, more->dims))
        ltn__graph_fail(w->g, LTN_ESHAPE, "gradient of another shape than its %s",
                        n->op ? n->op->entry.name : "leaf");
    *sum = *sum ? ltn__add(w->g, *sum, more) : more;
}

/* Rebuilds the node's value from simpler operations and differentiates those. */
static void through_parts(walk *w, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *wrt[LTN_MAXSRC], *grad[LTN_MAXSRC];
    int count = 0;
    for (int k = 0; k < n->nsrc; k++)
        if (want[k]) wrt[count++] = n->src[k];
    const int first = ltn__graph_size(w->g);
    ltn_node *value = n->op->decompose(w->g, n);
    if (reverse(w->g, value, dy, first, wrt, count, false, grad)) return;
    for (int k = n->nsrc - 1; k >= 0; k--)
        if (want[k]) gsrc[k] = grad[--count];
}

/* What a gradient reads in the place of n: its sources made again, and its value if that was not kept. */
static ltn_node *stand_in(walk *w, ltn_node *n)
{
    if (!w->again) return n;
    if (!kept(n)) return made_again(w, n);
    ltn_node *copy = repeat(w, n);
    copy->value = n;
    return copy;
}

/* A source that stands twice in a node is wanted twice by a vjp, which has one gradient per place, but once
 * by a decomposition, which has one per value. */
static void step_back(walk *w, ltn_node *n)
{
    ltn_node *gsrc[LTN_MAXSRC] = {NULL};
    bool want[LTN_MAXSRC] = {false}, any = false;
    for (int k = 0; k < n->nsrc; k++) {
        want[k] = n->src[k] && w->between[n->src[k]->id];
        for (int j = 0; j < k && !n->op->vjp; j++)
            if (n->src[j] == n->src[k]) want[k] = false;
        any |= want[k];
    }
    if (!any) return;
    ltn_node *read = stand_in(w, n);
    if (n->op->vjp) n->op->vjp(w->g, read, w->cotangent[n->id], want, gsrc);
    else if (n->op->decompose) through_parts(w, read, w->cotangent[n->id], want, gsrc);
    else ltn__graph_fail(w->g, LTN_EINVAL, "%s has no gradient", n->op->entry.name);
    for (int k = 0; k < n->nsrc; k++)
        if (want[k] && gsrc[k]) accumulate(w, n->src[k], gsrc[k]);
}

/* Only nodes from `first` on are walked. A wrt among them is passed through as well: a total gradient. */
static ltn_status reverse(ltn_graph *g, ltn_node *y, ltn_node *cotangent, int first, ltn_node *const *wrt,
                          int n, bool again, ltn_node **grad)
{
    if (ltn__graph_status(g)) return ltn__graph_status(g);
    ltn_ctx *ctx = ltn__graph_ctx(g);
    const int count = ltn__graph_size(g);
    walk w = {g, ltn__alloc(ctx, (size_t)count, sizeof(bool)),
              ltn__alloc(ctx, (size_t)count, sizeof(ltn_node *)),
              again ? ltn__alloc(ctx, (size_t)count, sizeof(ltn_node *)) : NULL};
    if (!w.between || !w.cotangent || (again && !w.again)) {
        ltn__graph_fail(g, LTN_ENOMEM, "no memory for the gradient of %d nodes", count);
    } else {
        for (int k = 0; k < n; k++) w.between[wrt[k]->id] = true;
        for (int i = first; i <= y->id; i++) {
            const ltn_node *v = ltn__graph_node(g, i);
            for (int k = 0; k < v->nsrc; k++)
                if (v->src[k] && w.between[v->src[k]->id]) w.between[i] = true;
        }
        w.cotangent[y->id] = cotangent;
        for (int i = y->id; i >= first && !ltn__graph_status(g); i--) {
            ltn_node *v = ltn__graph_node(g, i);
            if (w.cotangent[i] && w.between[i] && v->op) step_back(&w, v);
        }
        for (int k = 0; k < n; k++) grad[k] = w.between[y->id] ? w.cotangent[wrt[k]->id] : NULL;
    }
    ltn__free(ctx, w.between);
    ltn__free(ctx, w.cotangent);
    ltn__free(ctx, w.again);
    return ltn__graph_status(g);
}

static ltn_status gradient(ltn_graph *g, ltn_node *y, ltn_node *cotangent, ltn_node *const *wrt, int n,
                           bool again, ltn_node **grad)
{
    if (!ltn__same_dims(y->dims, cotangent->dims))
        ltn__graph_fail(g, LTN_ESHAPE, "a cotangent of another shape than its value");
    return reverse(g, y, cotangent, 0, wrt, n, again, grad);
}

ltn_status ltn__grad(ltn_graph *g, ltn_node *y, ltn_node *cotangent, ltn_node *const *wrt, int n,
                     ltn_node **grad)
{
    return gradient(g, y, cotangent, wrt, n, false, grad);
}

ltn_status ltn__grad_sparing(ltn_graph *g, ltn_node *y, ltn_node *cotangent, ltn_node *const *wrt, int n,
                             ltn_node **grad)
{
    return gradient(g, y, cotangent, wrt, n, true, grad);
}
