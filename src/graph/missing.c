/* missing.c - constructors whose rows are not built in. */
#include "graph.h"

ltn_node *ltn__add(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return ltn__graph_fail(g, LTN_EINVAL, "add is not built in");
}

ltn_node *ltn__sub(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return ltn__graph_fail(g, LTN_EINVAL, "sub is not built in");
}

ltn_node *ltn__mul(ltn_graph *g, ltn_node *a, ltn_node *b)
{
    return ltn__graph_fail(g, LTN_EINVAL, "mul is not built in");
}

ltn_node *ltn__affine(ltn_graph *g, ltn_node *x, double scale, double shift)
{
    return ltn__graph_fail(g, LTN_EINVAL, "affine is not built in");
}

ltn_node *ltn__silu(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "silu is not built in");
}

ltn_node *ltn__relu(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "relu is not built in");
}

ltn_node *ltn__gelu(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "gelu is not built in");
}

ltn_node *ltn__gelu_tanh(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "gelu_tanh is not built in");
}

ltn_node *ltn__quick_gelu(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "quick_gelu is not built in");
}

ltn_node *ltn__sigmoid(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "sigmoid is not built in");
}

ltn_node *ltn__tanh(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "tanh is not built in");
}

ltn_node *ltn__exp(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "exp is not built in");
}

ltn_node *ltn__erf(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "erf is not built in");
}

ltn_node *ltn__step(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "step is not built in");
}

ltn_node *ltn__rsqrt(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "rsqrt is not built in");
}

ltn_node *ltn__geglu(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "geglu is not built in");
}

ltn_node *ltn__group_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, int groups, double eps)
{
    return ltn__graph_fail(g, LTN_EINVAL, "group_norm is not built in");
}

ltn_node *ltn__layer_norm(ltn_graph *g, ltn_node *x, ltn_node *w, ltn_node *b, double eps)
{
    return ltn__graph_fail(g, LTN_EINVAL, "layer_norm is not built in");
}

ltn_node *ltn__softmax(ltn_graph *g, ltn_node *x)
{
    return ltn__graph_fail(g, LTN_EINVAL, "softmax is not built in");
}

ltn_node *ltn__reshape(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    return ltn__graph_fail(g, LTN_EINVAL, "reshape is not built in");
}

ltn_node *ltn__permute(ltn_graph *g, ltn_node *x, int a, int b, int c, int d)
{
    return ltn__graph_fail(g, LTN_EINVAL, "permute is not built in");
}

ltn_node *ltn__concat(ltn_graph *g, ltn_node *a, ltn_node *b, int axis)
{
    return ltn__graph_fail(g, LTN_EINVAL, "concat is not built in");
}

ltn_node *ltn__slice(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count)
{
    return ltn__graph_fail(g, LTN_EINVAL, "slice is not built in");
}

ltn_node *ltn__place(ltn_graph *g, ltn_node *x, int axis, int64_t first, int64_t count)
{
    return ltn__graph_fail(g, LTN_EINVAL, "place is not built in");
}

ltn_node *ltn__sum_to(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    return ltn__graph_fail(g, LTN_EINVAL, "sum_to is not built in");
}

ltn_node *ltn__expand(ltn_graph *g, ltn_node *x, ltn_dims dims)
{
    return ltn__graph_fail(g, LTN_EINVAL, "expand is not built in");
}

ltn_node *ltn__upsample(ltn_graph *g, ltn_node *x, int factor)
{
    return ltn__graph_fail(g, LTN_EINVAL, "upsample is not built in");
}

ltn_node *ltn__downsum(ltn_graph *g, ltn_node *x, int factor)
{
    return ltn__graph_fail(g, LTN_EINVAL, "downsum is not built in");
}

ltn_node *ltn__gather(ltn_graph *g, ltn_node *table, ltn_node *ids)
{
    return ltn__graph_fail(g, LTN_EINVAL, "gather is not built in");
}

ltn_node *ltn__scatter(ltn_graph *g, ltn_node *x, ltn_node *ids, int64_t rows)
{
    return ltn__graph_fail(g, LTN_EINVAL, "scatter is not built in");
}
