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
    const int rank = file && (file->rank == 3 || file->rank == 4) ? file->rank : 2;
    ltn_node *w = ltn__param(b, "weight", rank, out, in, 1, 1);
    if (!ltn__graph_status(b.g)) w->dims = rank == 2 ? ltn__dims(1, 1, out, in) : ltn__dims(out, in, 1, 1);
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

static ltn_node *resample(ltn_graph *g, ltn_node *x, int by)
{
    if (by > 0) return ltn__upsample(g, x, 2);
    return by < 0 ? ltn__affine(g, ltn__downsum(g, x, 2), 0.25, 0) : x;
}

/* norm2 h, with the embedding added before it, or (1 + scale) norm2 h + shift with both of the embedding. */
static ltn_node *norm_of_time(ltn_nn b, ltn_node *h, ltn_node *emb, int64_t out, const ltn_resnet *how)
{
    const ltn_nn norm = ltn__in(b, how->name.norm2), time = ltn__in(b, how->name.time);
    if (!emb) return ltn__nn_group_norm(norm, h);
    if (!how->scales) return ltn__nn_group_norm(norm, ltn__add(b.g, h, ltn__nn_linear(time, emb, out)));
    ltn_node *both = ltn__nn_linear(time, emb, 2 * out);
    h = ltn__mul(b.g, ltn__nn_group_norm(norm, h), ltn__affine(b.g, ltn__slice(b.g, both, 3, 0, out), 1, 1));
    return ltn__add(b.g, h, ltn__slice(b.g, both, 3, out, out));
}

ltn_node *ltn__nn_resnet_as(ltn_nn b, ltn_node *x, ltn_node *emb, int64_t out, ltn_resnet how)
{
    ltn_graph *g = b.g;
    ltn_node *h = ltn__silu(g, ltn__nn_group_norm(ltn__in(b, how.name.norm1), x));
    h = ltn__nn_conv(ltn__in(b, how.name.conv1), resample(g, h, how.resample), out, 3);
    h = ltn__silu(g, norm_of_time(b, h, emb, out, &how));
    h = ltn__nn_conv(ltn__in(b, how.name.conv2), h, out, 3);
    x = resample(g, x, how.resample);
    if (x->dims.d[3] != out) x = ltn__nn_conv(ltn__in(b, how.name.shortcut), x, out, 1);
    return ltn__add(g, x, h);
}

const ltn_resnet ltn__resnet = {
    .name = {"norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"}};

ltn_node *ltn__nn_resnet(ltn_nn b, ltn_node *x, ltn_node *emb, int64_t out)
{
    return ltn__nn_resnet_as(b, x, emb, out, ltn__resnet);
}

ltn_node *ltn__nn_self_attention(ltn_nn b, ltn_node *x, int heads)
{
    static const char *const now[4] = {"to_q", "to_k", "to_v", "to_out.0"};
    static const char *const before[4] = {"query", "key", "value", "proj_attn"}; /* diffusers before 0.15 */
    const ltn_dims s = x->dims;
    ltn_node *h = b.groups ? ltn__nn_group_norm(ltn__in(b, "group_norm"), x) : x;
    h = ltn__reshape(b.g, h, ltn__dims(s.d[0], 1, s.d[1] * s.d[2], s.d[3]));
    h = ltn__nn_attention(b, ltn__has(b, "query.weight") ? before : now, h, NULL, heads, false);
    return ltn__add(b.g, x, ltn__reshape(b.g, h, s));
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
