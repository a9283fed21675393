/* unet.c - UNet2DConditionModel: residual blocks that know the time and transformers that see the text, down
 * through the levels, a middle, and up again beside the skips. Rombach et al. 2022, arXiv 2112.10752; names
 * as in diffusers. SDXL's (Podell et al. 2023, arXiv 2307.01952) is told the pooled text and the picture's sizes
 * too. */
#include "model.h"

#include <math.h>
#include <string.h>

enum { MAX_LEVELS = 8, MAX_LAYERS = 8, MAX_WIDTH = 1 << 14, PLACES = 6 };

/* Keys that change the result and have one value here. */
static const ltn_only only[] = {
    {"act_fn", "silu|swish"},
    {"addition_embed_type", "text_time"},
    {"attention_type", "default"},
    {"center_input_sample", NULL},
    {"class_embed_type", NULL},
    {"class_embeddings_concat", NULL},
    {"cross_attention_norm", NULL},
    {"downsample_padding", "0|1"},
    {"dual_cross_attention", NULL},
    {"encoder_hid_dim", NULL},
    {"encoder_hid_dim_type", NULL},
    {"mid_block_only_cross_attention", NULL},
    {"mid_block_type", "UNetMidBlock2DCrossAttn"},
    {"num_attention_heads", NULL},
    {"num_class_embeds", NULL},
    {"only_cross_attention", NULL},
    {"resnet_out_scale_factor", "1"},
    {"resnet_skip_time_act", NULL},
    {"resnet_time_scale_shift", "default"},
    {"reverse_transformer_layers_per_block", NULL},
    {"time_embedding_act_fn", NULL},
    {"time_embedding_type", "positional"},
    {"timestep_post_act", NULL},
    {NULL, NULL},
};

typedef struct unet {
    int levels;
    ltn_node *x, *emb, *text; /* emb: silu of the time embedding */
    ltn_node *skip[MAX_LEVELS * (MAX_LAYERS + 1) + 1];
    int skips;
} unet;

static const char *const projections[4] = {"to_q", "to_k", "to_v", "to_out.0"};

static ltn_node *transformer_block(ltn_nn b, ltn_node *x, ltn_node *text, int heads)
{
    ltn_graph *g = b.g;
    const int64_t c = x->dims.d[3];
    ltn_node *h = ltn__nn_layer_norm(ltn__in(b, "norm1"), x);
    h = ltn__nn_attention(ltn__plain(ltn__in(b, "attn1")), projections, h, NULL, heads, false);
    x = ltn__add(g, x, h);
    h = ltn__nn_layer_norm(ltn__in(b, "norm2"), x);
    h = ltn__nn_attention(ltn__plain(ltn__in(b, "attn2")), projections, h, text, heads, false);
    x = ltn__add(g, x, h);
    h = ltn__nn_layer_norm(ltn__in(b, "norm3"), x);
    h = ltn__geglu(g, ltn__nn_linear(ltn__in(b, "ff.net.0.proj"), h, 8 * c));
    return ltn__add(g, x, ltn__nn_linear(ltn__in(b, "ff.net.2"), h, c));
}

/* proj_in and proj_out are 1x1 convolutions or linear layers (use_linear_projection): channels last, the same
 * thing. */
ltn_node *ltn__nn_transformer(ltn_nn b, ltn_node *x, ltn_node *text, int heads, int depth)
{
    const ltn_dims s = x->dims;
    const int64_t c = s.d[3];
    b.eps = 1e-6;
    ltn_node *h = ltn__nn_group_norm(ltn__in(b, "norm"), x);
    b.eps = 1e-5;
    h = ltn__nn_linear(ltn__in(b, "proj_in"), h, c);
    h = ltn__reshape(b.g, h, ltn__dims(s.d[0], 1, s.d[1] * s.d[2], c));
    for (int i = 0; i < depth; i++)
        h = transformer_block(ltn__in_i(b, "transformer_blocks", i), h, text, heads);
    h = ltn__nn_linear(ltn__in(b, "proj_out"), ltn__reshape(b.g, h, s), c);
    return ltn__add(b.g, x, h);
}

/* The key's name is a mistake that diffusers keeps. */
static int heads_at(ltn_nn b, int level)
{
    return (int)ltn__config_at(b, "attention_head_dim", level, 0, MAX_WIDTH);
}

static ltn_node *attend(ltn_nn b, const unet *u, ltn_node *x, int level)
{
    const int depth = (int)ltn__config_at(b, "transformer_layers_per_block", level, 1, 64);
    return ltn__nn_transformer(b, x, u->text, heads_at(b, level), depth);
}

static int layers_at(ltn_nn b, int level)
{
    return (int)ltn__config_at(b, "layers_per_block", level, 0, MAX_LAYERS);
}

static int64_t width_at(ltn_nn b, int level)
{
    return ltn__config_at(b, "block_out_channels", level, 0, MAX_WIDTH);
}

/* Does the i-th block cross-attend? Other block types fail. */
static bool crosses(ltn_nn b, const char *key, int i, const char *cross, const char *plain)
{
    if (ltn__config_is(b, key, i, cross)) return true;
    if (!ltn__config_is(b, key, i, plain))
        ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s[%d]: expected %s or %s", key, i, cross, plain);
    return false;
}

static void down(ltn_nn b, unet *u, int level)
{
    const bool cross = crosses(b, "down_block_types", level, "CrossAttnDownBlock2D", "DownBlock2D");
    const int64_t width = width_at(b, level);
    const int layers = layers_at(b, level), pad = (int)ltn__config_num(b, "downsample_padding", 1);
    b = ltn__in_i(b, "down_blocks", level);
    for (int i = 0; i < layers; i++) {
        u->x = ltn__nn_resnet(ltn__in_i(b, "resnets", i), u->x, u->emb, width);
        if (cross) u->x = attend(ltn__in_i(b, "attentions", i), u, u->x, level);
        u->skip[u->skips++] = u->x;
    }
    if (level == u->levels - 1) return;
    u->x = ltn__nn_conv_down(ltn__in(b, "downsamplers.0.conv"), u->x, width, pad);
    u->skip[u->skips++] = u->x;
}

/* (x + h) / scale. The resnets' own factor is 1 elsewhere. */
static ltn_node *middle_resnet(ltn_nn b, const unet *u, int64_t width)
{
    const double scale = ltn__config_num(b, "mid_block_scale_factor", 1);
    ltn_node *x = ltn__nn_resnet(b, u->x, u->emb, width);
    return scale == 1 ? x : ltn__affine(b.g, x, 1 / scale, 0);
}

static void middle(ltn_nn b, unet *u)
{
    const ltn_json *type = ltn__json_get(b.config, "mid_block_type");
    if (type && type->type == LTN_JSON_NULL) return; /* some small UNets have none */
    const int64_t width = width_at(b, u->levels - 1);
    b = ltn__in(b, "mid_block");
    u->x = middle_resnet(ltn__in(b, "resnets.0"), u, width);
    u->x = attend(ltn__in(b, "attentions.0"), u, u->x, u->levels - 1);
    u->x = middle_resnet(ltn__in(b, "resnets.1"), u, width);
}

static void up(ltn_nn b, unet *u, int i)
{
    const int level = u->levels - 1 - i;
    const bool cross = crosses(b, "up_block_types", i, "CrossAttnUpBlock2D", "UpBlock2D");
    const int64_t width = width_at(b, level);
    const int layers = layers_at(b, level) + 1;
    b = ltn__in_i(b, "up_blocks", i);
    for (int k = 0; k < layers && u->skips > 0; k++) {
        ltn_node *both = ltn__concat(b.g, u->x, u->skip[--u->skips], 3);
        u->x = ltn__nn_resnet(ltn__in_i(b, "resnets", k), both, u->emb, width);
        if (cross) u->x = attend(ltn__in_i(b, "attentions", k), u, u->x, level);
    }
    if (level == 0) return;
    u->x = ltn__nn_conv(ltn__in(b, "upsamplers.0.conv"), ltn__upsample(b.g, u->x, 2), width, 3);
}

/* Models distilled with guidance as an input (LCM) are told it as ltn__tell_guidance writes it: added to the time,
 * projected. */
static ltn_node *guidance(ltn_nn b, ltn_node *time)
{
    const int64_t n = ltn__config_int(b, "time_cond_proj_dim", 0, 4096);
    ltn_node *w = ltn__input(b.g, "guidance", ltn__dims(1, 1, 1, n));
    return ltn__add(b.g, time, ltn__nn_linear(ltn__plain(ltn__in(b, "cond_proj")), w, time->dims.d[3]));
}

/* linear_2 silu linear_1 x */
static ltn_node *embed(ltn_nn b, ltn_node *x, int64_t width)
{
    x = ltn__silu(b.g, ltn__nn_linear(ltn__in(b, "linear_1"), x, width));
    return ltn__nn_linear(ltn__in(b, "linear_2"), x, width);
}

static ltn_node *embed_time(ltn_nn b, int64_t n, int64_t width)
{
    const int64_t in = width_at(b, 0);
    const bool guided = ltn__config_has(b, "time_cond_proj_dim");
    b = ltn__in(b, "time_embedding");
    ltn_node *e = ltn__input(b.g, "time", ltn__dims(n, 1, 1, in));
    if (guided) e = guidance(b, e);
    return embed(b, e, width);
}

/* Of the pooled text, which is the text's last row, and of the sinusoids of six sizes. */
static ltn_node *embed_place(ltn_nn b, ltn_node *text, int64_t width)
{
    const int64_t place = PLACES * ltn__config_int(b, "addition_time_embed_dim", 0, 1 << 12);
    const int64_t all = ltn__config_int(b, "projection_class_embeddings_input_dim", 0, 1 << 17), pooled = all - place;
    const ltn_dims d = text->dims;
    if (pooled < 1 || pooled > d.d[3])
        return ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: projection_class_embeddings_input_dim is %d, "
                               "expected %d and 1 to %d for the pooled text", (int)all, (int)place, (int)d.d[3]);
    ltn_node *x = ltn__slice(b.g, ltn__slice(b.g, text, 2, d.d[2] - 1, 1), 3, 0, pooled);
    x = ltn__concat(b.g, x, ltn__input(b.g, "place", ltn__dims(d.d[0], 1, 1, place)), 3);
    return embed(ltn__in(b, "add_embedding"), x, width);
}

/* Text and time into u; every resnet begins with the silu of the time embedding. */
static void condition(ltn_nn b, unet *u, ltn_part_size s)
{
    const int64_t width = ltn__config_int(b, "time_embedding_dim", 4 * width_at(b, 0), 1 << 16);
    const int64_t text = ltn__config_at(b, "cross_attention_dim", 0, 0, 1 << 16);
    const bool placed = ltn__config_has(b, "addition_embed_type");
    ltn_node *time = embed_time(b, s.n, width);
    u->text = ltn__input(b.g, "text", ltn__dims(s.n, 1, s.tokens + placed, text));
    if (placed) {
        time = ltn__add(b.g, time, embed_place(b, u->text, width));
        u->text = ltn__slice(b.g, u->text, 2, 0, s.tokens);
    }
    u->emb = ltn__silu(b.g, time);
}

static int odd_kernel(ltn_nn b, const char *key)
{
    const int k = (int)ltn__config_int(b, key, 3, 15);
    if (k % 2 == 0)
        ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s is %d, only odd kernels are supported", key, k);
    return k;
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn__config_only(b, only);
    unet u = {.levels = ltn__config_length(b, "block_out_channels", MAX_LEVELS)};
    const int64_t factor = (int64_t)1 << (u.levels - 1);
    if (s.h % factor || s.w % factor)
        ltn__graph_fail(b.g, LTN_ESHAPE, "latents of %lld x %lld: sides must be divisible by %d",
                        (long long)s.w, (long long)s.h, (int)factor);
    b.groups = (int)ltn__config_int(b, "norm_num_groups", 32, MAX_WIDTH);
    b.eps = ltn__config_num(b, "norm_eps", 1e-5);

    const int64_t in = ltn__config_int(b, "in_channels", 4, MAX_WIDTH);
    const int64_t out = ltn__config_int(b, "out_channels", 4, MAX_WIDTH);
    ltn_node *sample = ltn__input(b.g, "sample", ltn__dims(s.n, s.h, s.w, in));
    condition(b, &u, s);
    u.x = ltn__nn_conv(ltn__in(b, "conv_in"), sample, width_at(b, 0), odd_kernel(b, "conv_in_kernel"));
    u.skip[u.skips++] = u.x;
    for (int i = 0; i < u.levels; i++) down(b, &u, i);
    middle(b, &u);
    for (int i = 0; i < u.levels; i++) up(b, &u, i);
    u.x = ltn__silu(b.g, ltn__nn_group_norm(ltn__in(b, "conv_norm_out"), u.x));
    u.x = ltn__nn_conv(ltn__in(b, "conv_out"), u.x, out, odd_kernel(b, "conv_out_kernel"));
    ltn__output(b.g, "out", u.x);
}

const ltn_arch ltn__arch_unet = {
    .entry = {.name = "UNet2DConditionModel",
              .help = "latent diffusion's text-conditioned UNet (SD1, SD2, SDXL, LCM)",
              .cite = "Rombach et al. 2022, arXiv 2112.10752"},
    .build = build,
};
