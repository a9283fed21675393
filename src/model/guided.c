/* guided.c - the UNet of guided-diffusion's files (Dhariwal & Nichol 2021, arXiv 2105.05233; FFHQ and ImageNet 256 as
 * users of DPS have them), in pixels. The file is a state dict alone: levels, widths, attention and the way of
 * resampling are found from its tensors; heads are 64 wide and in the order of QKVAttentionLegacy, as in all that was
 * released. */
#include "model.h"

#include <stdio.h>
#include <string.h>

enum { MAX_BLOCKS = 64, HEAD = 64, GROUPS = 32 };

static const ltn_resnet resnet = {
    .name = {"in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"}};

typedef struct guided {
    int blocks, layers; /* input blocks; of them, residual blocks a level */
    ltn_node *x, *emb;
    ltn_node *skip[MAX_BLOCKS];
} guided;

static ltn_nn second_or_third(ltn_nn b, int k)
{
    return ltn__in(b, k == 1 ? "1" : "2");
}

/* The first dimension of the weight, 0 if there is none. */
static int64_t rows_of(ltn_nn b, const char *name)
{
    const ltn_nn at = ltn__in(b, name);
    const ltn_weight *w = ltn__tensors_find(b.w, at.path);
    return w ? w->dim[0] : 0;
}

static ltn_node *residual(ltn_nn b, ltn_node *x, ltn_node *emb, int by)
{
    const int64_t out = rows_of(b, "in_layers.2.weight");
    ltn_resnet how = resnet;
    how.resample = by;
    how.scales = rows_of(b, "emb_layers.1.weight") == 2 * out;
    if (!out) return ltn__graph_fail(b.g, LTN_EFORMAT, "%s.in_layers.2.weight: no such weight in the file", b.path);
    return ltn__nn_resnet_as(b, x, emb, out, how);
}

/* Channels of qkv: head by head, its query, its key, its value. */
static ltn_node *part_of(ltn_graph *g, ltn_node *qkv, int64_t heads, int part)
{
    const ltn_dims s = qkv->dims;
    const int64_t c = s.d[3] / 3;
    ltn_node *x = ltn__reshape(g, qkv, ltn__dims(s.d[0] * s.d[2], heads, 3, c / heads));
    return ltn__reshape(g, ltn__slice(g, x, 2, part, 1), ltn__dims(s.d[0], 1, s.d[2], c));
}

static ltn_node *attention(ltn_nn b, ltn_node *x)
{
    const ltn_dims s = x->dims;
    const int64_t c = s.d[3], heads = c / HEAD;
    if (c % HEAD) return ltn__graph_fail(b.g, LTN_ESHAPE, "%s: %d channels in heads of %d", b.path, (int)c, HEAD);
    ltn_node *h = ltn__reshape(b.g, ltn__nn_group_norm(ltn__in(b, "norm"), x),
                               ltn__dims(s.d[0], 1, s.d[1] * s.d[2], c));
    h = ltn__nn_linear(ltn__in(b, "qkv"), h, 3 * c);
    h = ltn__attention(b.g, part_of(b.g, h, heads, 0), part_of(b.g, h, heads, 1), part_of(b.g, h, heads, 2), (int)heads,
                       false);
    return ltn__add(b.g, x, ltn__reshape(b.g, ltn__nn_linear(ltn__in(b, "proj_out"), h, c), s));
}

/* Input block i: the first convolution, layers of a level, or what ends it. */
static void down(ltn_nn b, guided *u, int i)
{
    const bool ends = i % (u->layers + 1) == 0;
    b = ltn__in_i(b, "input_blocks", i);
    if (ltn__has(b, "0.op.weight")) u->x = ltn__nn_conv_down(ltn__in(b, "0.op"), u->x, u->x->dims.d[3], 1);
    else u->x = residual(ltn__in(b, "0"), u->x, u->emb, ends ? -1 : 0);
    if (ltn__has(b, "1.norm.weight")) u->x = attention(ltn__in(b, "1"), u->x);
}

/* Output block i; the last of a level goes on to the next one's resolution. */
static void up(ltn_nn b, guided *u, int i)
{
    b = ltn__in_i(b, "output_blocks", i);
    u->x = residual(ltn__in(b, "0"), ltn__concat(b.g, u->x, u->skip[u->blocks - 1 - i], 3), u->emb, 0);
    int next = 1;
    if (ltn__has(b, "1.norm.weight")) u->x = attention(second_or_third(b, next++), u->x);
    if (i % (u->layers + 1) != u->layers || i == u->blocks - 1) return;
    b = second_or_third(b, next);
    if (ltn__has(b, "conv.weight"))
        u->x = ltn__nn_conv(ltn__in(b, "conv"), ltn__upsample(b.g, u->x, 2), u->x->dims.d[3], 3);
    else u->x = residual(b, u->x, u->emb, 1);
}

/* How many input blocks, and residual blocks a level: the first output block that goes up ends its level. */
static void count_blocks(ltn_nn b, guided *u)
{
    char name[64];
    bool goes_up = false;
    do snprintf(name, sizeof name, "input_blocks.%d.0.%s", ++u->blocks, "in_layers.2.weight");
    while (u->blocks < MAX_BLOCKS &&
           (ltn__has(b, name) || ltn__has(ltn__in_i(b, "input_blocks", u->blocks), "0.op.weight")));
    for (u->layers = 0; !goes_up && u->layers < u->blocks; u->layers++)
        for (int k = 1; k <= 2; k++) {
            const ltn_nn last = second_or_third(ltn__in_i(b, "output_blocks", u->layers), k);
            goes_up |= ltn__has(last, "conv.weight") || ltn__has(last, "in_layers.2.weight");
        }
    u->layers = LTN_MAX(u->layers - 1, 1);
    if (!goes_up || u->blocks % (u->layers + 1))
        ltn__graph_fail(b.g, LTN_EFORMAT, "%d input blocks, %d layers a level: not guided-diffusion's UNet", u->blocks,
                        u->layers);
}

static ltn_node *embed_time(ltn_nn b, int64_t n, int64_t width)
{
    ltn_node *e = ltn__input(b.g, "time", ltn__dims(n, 1, 1, width));
    e = ltn__silu(b.g, ltn__nn_linear(ltn__in(b, "time_embed.0"), e, 4 * width));
    return ltn__silu(b.g, ltn__nn_linear(ltn__in(b, "time_embed.2"), e, 4 * width));
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    const int64_t width = rows_of(b, "input_blocks.0.0.weight"), out = rows_of(b, "out.2.weight");
    guided u = {0};
    b.groups = GROUPS;
    b.eps = 1e-5;
    if (ltn__has(b, "label_emb.weight"))
        ltn__graph_fail(b.g, LTN_EFORMAT, "label_emb.weight: models that are told a class are not supported");
    count_blocks(b, &u);
    if (ltn__graph_status(b.g)) return;
    const int64_t factor = (int64_t)1 << (u.blocks / (u.layers + 1) - 1);
    if (s.h % factor || s.w % factor)
        ltn__graph_fail(b.g, LTN_ESHAPE, "pictures of %lld x %lld: sides must be divisible by %d", (long long)s.w,
                        (long long)s.h, (int)factor);
    u.emb = embed_time(b, s.n, width);
    u.x = ltn__nn_conv(ltn__in(b, "input_blocks.0.0"), ltn__input(b.g, "sample", ltn__dims(s.n, s.h, s.w, 3)), width,
                       3);
    u.skip[0] = u.x;
    for (int i = 1; i < u.blocks; i++) down(b, &u, i), u.skip[i] = u.x;
    u.x = residual(ltn__in(b, "middle_block.0"), u.x, u.emb, 0);
    u.x = attention(ltn__in(b, "middle_block.1"), u.x);
    u.x = residual(ltn__in(b, "middle_block.2"), u.x, u.emb, 0);
    for (int i = 0; i < u.blocks; i++) up(b, &u, i);
    u.x = ltn__silu(b.g, ltn__nn_group_norm(ltn__in(b, "out.0"), u.x));
    u.x = ltn__nn_conv(ltn__in(b, "out.2"), u.x, out, 3);
    ltn__output(b.g, "out", out == 6 ? ltn__slice(b.g, u.x, 3, 0, 3) : u.x); /* the other half is the variance's */
}

bool ltn__guided_matches(const ltn_tensors *t)
{
    ltn_tensors *w = (ltn_tensors *)t;
    return ltn__tensors_find(w, "input_blocks.0.0.weight") && ltn__tensors_find(w, "time_embed.0.weight") &&
           ltn__tensors_find(w, "out.2.weight") && ltn__tensors_find(w, "middle_block.1.qkv.weight");
}

/* As many levels as there are, all as wide as the first; the picture's side is what guided-diffusion gives models of as
 * many levels. */
ltn_status ltn__guided_config(ltn_ctx *ctx, ltn_tensors *t, ltn_arena *arena, ltn_json **out)
{
    guided u = {0};
    ltn_graph *g;
    ltn_status s = ltn__graph_open(ctx, &g);
    if (s) return s;
    ltn_nn b = {.g = g, .w = t};
    count_blocks(b, &u);
    s = ltn__graph_status(g);
    ltn__graph_close(&g);
    if (s) return s;
    const int levels = u.blocks / (u.layers + 1), width = (int)rows_of(b, "input_blocks.0.0.weight");
    const char *widths = ltn__arena_format(arena, "%d", width);
    for (int i = 1; i < levels && widths; i++) widths = ltn__arena_format(arena, "%s, %d", widths, width);
    if (!widths) return LTN_ENOMEM;
    const char *text = ltn__arena_format(arena, "{\"_class_name\": \"guided-diffusion\", \"block_out_channels\": [%s], "
                                         "\"sample_size\": %d}", widths, 4 << LTN_MIN(levels, 7));
    return text ? ltn__json_parse(ctx, "guided-diffusion", text, strlen(text), arena, out) : LTN_ENOMEM;
}

const ltn_arch ltn__arch_guided = {
    .entry = {.name = "guided-diffusion",
              .help = "guided-diffusion's UNet in pixels, unconditional: a file of weights, .pt",
              .cite = "Dhariwal & Nichol 2021, arXiv 2105.05233"},
    .build = build,
};
