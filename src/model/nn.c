/* nn.c - layers by the names they have in model files: a path is opened scope by scope, the layer at its end
 * names its weight and its bias, once. Whatever is missing or has another shape fails the graph with the
 * whole path. */
#include "model.h"

#include <stdio.h>
#include <string.h>

static void extend(ltn_nn *b, const char *name)
{
    const size_t n = strlen(b->path);
    snprintf(b->path + n, sizeof b->path - n, "%s%s", n ? "." : "", name);
}

ltn_nn ltn__in(ltn_nn b, const char *name)
{
    extend(&b, name);
    return b;
}

ltn_nn ltn__in_i(ltn_nn b, const char *name, int i)
{
    char index[16];
    snprintf(index, sizeof index, "%d", i);
    return ltn__in(ltn__in(b, name), index);
}

ltn_nn ltn__plain(ltn_nn b)
{
    b.plain = true;
    return b;
}

bool ltn__has(ltn_nn b, const char *name)
{
    extend(&b, name);
    return ltn__tensors_find(b.w, b.path) != NULL;
}

static const char *shape_text(char *out, size_t size, int rank, const int64_t *d)
{
    size_t n = (size_t)snprintf(out, size, "(");
    for (int k = 0; k < rank && n < size; k++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", k ? ", " : "", (long long)d[k]);
    if (n < size) snprintf(out + n, size - n, ")");
    return out;
}

static ltn_node *misshapen(ltn_nn b, const ltn_weight *w, int rank, const int64_t *want)
{
    char has[96], needs[96];
    return ltn__graph_fail(b.g, LTN_ESHAPE, "%s: shape %s, expected %s", b.path,
                           shape_text(has, sizeof has, w->rank, w->dim),
                           shape_text(needs, sizeof needs, rank, want));
}

ltn_node *ltn__param(ltn_nn b, const char *name, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    extend(&b, name);
    const int64_t want[4] = {d0, d1, d2, d3};
    ltn_weight *w = ltn__tensors_find(b.w, b.path);
    if (!w) return ltn__graph_fail(b.g, LTN_EFORMAT, "%s: no such weight in the file", b.path);
    if (w->rank != rank || memcmp(w->dim, want, (size_t)rank * sizeof *want))
        return misshapen(b, w, rank, want);
    w->used = true;
    return ltn__weight_node(b.g, w);
}

static ltn_node *bias(ltn_nn b, int64_t out)
{
    return b.plain ? NULL : ltn__param(b, "bias", 1, out, 0, 0, 0);
}

ltn_node *ltn__nn_linear(ltn_nn b, ltn_node *x, int64_t out)
{
    const int64_t in = x->dims.d[3];
    ltn_nn scope = ltn__in(b, "weight");
    const ltn_weight *file = ltn__tensors_find(b.w, scope.path);
    ltn_node *w = file && file->rank == 4 ? ltn__param(b, "weight", 4, out, in, 1, 1)
                                          : ltn__param(b, "weight", 2, out, in, 0, 0);
    return ltn__linear(b.g, x, w, bias(b, out));
}

ltn_node *ltn__nn_conv(ltn_nn b, ltn_node *x, int64_t out, int kernel)
{
    if (kernel == 1) return ltn__nn_linear(b, x, out);
    const int pad = kernel / 2;
    ltn_node *w = ltn__param(b, "weight", 4, out, x->dims.d[3], kernel, kernel);
    return ltn__conv2d(b.g, x, w, bias(b, out), 1, pad, pad, pad, pad);
}

ltn_node *ltn__nn_conv_down(ltn_nn b, ltn_node *x, int64_t out, int pad)
{
    ltn_node *w = ltn__param(b, "weight", 4, out, x->dims.d[3], 3, 3);
    return ltn__conv2d(b.g, x, w, bias(b, out), 2, pad, pad, 1, 1);
}

ltn_node *ltn__nn_group_norm(ltn_nn b, ltn_node *x)
{
    const int64_t c = x->dims.d[3];
    ltn_node *w = ltn__param(b, "weight", 1, c, 0, 0, 0);
    if (c % b.groups)
        return ltn__graph_fail(b.g, LTN_ESHAPE, "%s: %lld channels in %d groups", b.path, (long long)c,
                               b.groups);
    return ltn__group_norm(b.g, x, w, bias(b, c), b.groups, b.eps);
}

ltn_node *ltn__nn_layer_norm(ltn_nn b, ltn_node *x)
{
    const int64_t c = x->dims.d[3];
    ltn_node *w = ltn__param(b, "weight", 1, c, 0, 0, 0);
    return ltn__layer_norm(b.g, x, w, bias(b, c), b.eps);
}

ltn_node *ltn__nn_attention(ltn_nn b, const char *const name[4], ltn_node *x, ltn_node *context, int heads,
                            bool causal)
{
    const int64_t c = x->dims.d[3];
    if (!context) context = x;
    ltn_node *q = ltn__nn_linear(ltn__in(b, name[0]), x, c);
    ltn_node *k = ltn__nn_linear(ltn__in(b, name[1]), context, c);
    ltn_node *v = ltn__nn_linear(ltn__in(b, name[2]), context, c);
    b.plain = false;
    if (c % heads)
        return ltn__graph_fail(b.g, LTN_ESHAPE, "%s: %lld channels in %d heads", b.path, (long long)c, heads);
    return ltn__nn_linear(ltn__in(b, name[3]), ltn__attention(b.g, q, k, v, heads, causal), c);
}

ltn_node *ltn__nn_resnet(ltn_nn b, ltn_node *x, ltn_node *emb, int64_t out)
{
    ltn_graph *g = b.g;
    ltn_node *h = ltn__silu(g, ltn__nn_group_norm(ltn__in(b, "norm1"), x));
    h = ltn__nn_conv(ltn__in(b, "conv1"), h, out, 3);
    if (emb) h = ltn__add(g, h, ltn__nn_linear(ltn__in(b, "time_emb_proj"), emb, out));
    h = ltn__silu(g, ltn__nn_group_norm(ltn__in(b, "norm2"), h));
    h = ltn__nn_conv(ltn__in(b, "conv2"), h, out, 3);
    if (x->dims.d[3] != out) x = ltn__nn_conv(ltn__in(b, "conv_shortcut"), x, out, 1);
    return ltn__add(g, x, h);
}

ltn_status ltn__nn_check_unused(ltn_ctx *ctx, ltn_tensors *w)
{
    for (int i = 0; i < ltn__tensors_count(w); i++) {
        const ltn_weight *t = ltn__tensors_at(w, i);
        if (!t->used)
            return ltn__fail(ctx, LTN_EFORMAT, "%s: left over, no layer of this architecture has it",
                             t->name);
    }
    return LTN_OK;
}
