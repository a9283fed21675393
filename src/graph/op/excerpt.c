/* excerpt.c - some of an array's values that stand in a row, under dimensions of their own; the plan lets them be
 * where they are. i[0]: the first of them. */
#include "map.h"

#include <string.h>

ltn_node *ltn__excerpt(ltn_graph *g, ltn_node *x, int64_t first, ltn_dims dims)
{
    const int64_t all = ltn__count(x->dims), count = ltn__count(dims);
    if (count == all && !first) return ltn__reshape(g, x, dims);
    if ((first < 0 || first > all - count) && !ltn__graph_status(g))
        return ltn__graph_fail(g, LTN_ESHAPE, "excerpt: %lld values from %lld on, of %lld", (long long)count,
                               (long long)first, (long long)all);
    ltn_node *n = ltn__node(g, &ltn__op_excerpt, dims, 1, &x);
    n->i[0] = first;
    return n;
}

static void excerpt_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    memcpy(dst, src[0] + n->i[0], (size_t)ltn__count(n->dims) * sizeof(real));
}

/* Zeros around dy. */
static void excerpt_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    ltn_node *row = ltn__reshape(g, dy, ltn__dims(1, 1, 1, ltn__count(dy->dims)));
    row = ltn__place(g, row, 3, n->i[0], ltn__count(n->src[0]->dims));
    gsrc[0] = ltn__reshape(g, row, n->src[0]->dims);
}

static ltn_node *excerpt_example(ltn_graph *g, int k)
{
    static const int64_t first[] = {0, 3, 100};
    static const ltn_dims from[] = {{{1, 1, 1, 6}}, {{2, 3, 5, 4}}, {{1, 4, 5, 6}}};
    static const ltn_dims to[] = {{{1, 2, 2, 1}}, {{1, 1, 23, 5}}, {{1, 1, 4, 5}}};
    return k < LTN_COUNT(from) ? ltn__excerpt(g, ltn__input(g, "x", from[k]), first[k], to[k]) : NULL;
}

const ltn_op ltn__op_excerpt = {
    .entry = {.name = "excerpt", .help = "values that stand in a row, under other dimensions"},
    .run = excerpt_run,
    .vjp = excerpt_vjp,
    .example = excerpt_example,
    .alias = true,
};
