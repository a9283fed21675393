/* reshape.c - the same values under other dimensions; the plan lets it be its source's memory. */
#include "map.h"

#include <string.h>

ltn_node *ltn__reshape(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    if (ltn__same_dims(x->dims, dims)) return x;
    if (ltn__count(x->dims) != ltn__count(dims) && !ltn__graph_status(g))
        return ltn__graph_fail(g, LTN_ESHAPE, "reshape: %lld values into %lld",
                               (long long)ltn__count(x->dims), (long long)ltn__count(dims));
    return ltn__node(g, &ltn__op_reshape, dims, 1, &x);
}

static void reshape_run(const ltn_node *n, const real *const *src, real *dst, void *scratch, int threads)
{
    if (dst != src[0]) memcpy(dst, src[0], (size_t)ltn__count(n->dims) * sizeof(real));
}

static void reshape_vjp(ltn_graph *g, ltn_node *n, ltn_node *dy, const bool *want, ltn_node **gsrc)
{
    gsrc[0] = ltn__reshape(g, dy, n->src[0]->dims);
}

static ltn_node *reshape_example(ltn_graph *g, int k)
{
    static const ltn_dims from[] = {{{1, 1, 1, 6}}, {{2, 3, 5, 4}}}, to[] = {{{1, 2, 3, 1}}, {{1, 1, 24, 5}}};
    return k < LTN_COUNT(from) ? ltn__reshape(g, ltn__input(g, "x", from[k]), to[k]) : NULL;
}

const ltn_op ltn__op_reshape = {
    .entry = {.name = "reshape", .help = "the same values under other dimensions"},
    .run = reshape_run,
    .vjp = reshape_vjp,
    .example = reshape_example,
    .inplace = true,
    .alias = true,
};
