/* fuse.c - the pattern table: which chains of nodes may become one kernel. A chain is an operation, its sum
 * with another value of the same shape, and an activation, in either order; each link but the last has no
 * other reader. */
#include "graph.h"

#include <string.h>

static const struct pattern {
    const char *op;
    bool residual;
    const char *activation[2]; /* either of these */
} patterns[] = {
    {"conv2d", true, {"relu", "silu"}},
    {"linear", true, {"relu", "silu"}},
    {"group_norm", false, {"silu", NULL}},
};

static bool is(const ltn_node *n, const char *name)
{
    return name && !strcmp(n->op->entry.name, name);
}

/* Makes the chain f longer by its reader r; false if the pattern ends here. */
static bool extend(const struct pattern *p, const ltn_node *r, ltn_fusion *f)
{
    if (!r) return false;
    if (!f->activation && (is(r, p->activation[0]) || is(r, p->activation[1]))) {
        f->activation = r->op;
        f->before = !f->residual;
    } else if (p->residual && !f->residual && is(r, "add")) {
        const ltn_node *other = r->src[r->src[0] == f->result];
        if (other == f->result || !ltn__same_dims(other->dims, r->dims) ||
            !ltn__same_dims(f->result->dims, r->dims))
            return false;
        f->residual = other;
    } else {
        return false;
    }
    f->result = r;
    return true;
}

int ltn__fusions(const ltn_node *n, const ltn_node *const *reader, ltn_fusion out[LTN_MAXFUSION])
{
    ltn_fusion chain[LTN_MAXFUSION] = {{.result = n}};
    int length = 1;
    for (int k = 0; k < LTN_COUNT(patterns); k++) {
        if (!is(n, patterns[k].op)) continue;
        while (length < LTN_MAXFUSION) {
            chain[length] = chain[length - 1];
            if (!extend(&patterns[k], reader[chain[length].result->id], &chain[length])) break;
            length++;
        }
    }
    for (int k = 0; k < length; k++) out[k] = chain[length - 1 - k];
    return length;
}
