/* ddpm.c - UNet2DModel: the UNet of diffusion in pixels, which sees the time and nothing else. Ho et al. 2020,
 * arXiv 2006.11239; names as in diffusers. */
#include "model.h"

#include <string.h>

enum { MAX_LEVELS = 8, MAX_LAYERS = 8, MAX_WIDTH = 1 << 14 };

static const ltn_only only[] = {
    {"act_fn", "silu|swish"},
    {"center_input_sample", NULL},
    {"class_embed_type", NULL},
    {"downsample_padding", "0|1"},
    {"downsample_type", "conv|resnet"},
    {"mid_block_type", "UNetMidBlock2D"},
    {"num_class_embeds", NULL},
    {"resnet_time_scale_shift", "default|scale_shift"},
    {"time_embedding_type", "positional"},
    {"upsample_type", "conv|resnet"},
    {NULL, NULL},
};

/* What a block's type says. */
typedef struct block_type {
    const char *name;
    bool attends;
    bool resnet; /* it ends in a residual block of another resolution, not in a convolution */
} block_type;
static const block_type downs[] = {
    {"DownBlock2D", false, false}, {"AttnDownBlock2D", true, false}, {"ResnetDownsampleBlock2D", false, true}};
static const block_type ups[] = {
    {"UpBlock2D", false, false}, {"AttnUpBlock2D", true, false}, {"ResnetUpsampleBlock2D", false, true}};

typedef struct ddpm {
    int levels, layers;
    ltn_node *x, *emb; /* emb: silu of the time embedding */
    ltn_resnet resnet;
    ltn_node *skip[MAX_LEVELS * (MAX_LAYERS + 1) + 1];
    int skips;
} ddpm;

static int64_t width_at(ltn_nn b, int level)
{
    return ltn__config_at(b, "block_out_channels", level, 0, MAX_WIDTH);
}

/* Of the i-th block; an attending one may end in a residual block too, which the key `ends` says. */
static block_type type_of(ltn_nn b, const char *key, int i, const block_type type[3], const char *ends)
{
    for (int k = 0; k < 3; k++)
        if (ltn__config_is(b, key, i, type[k].name)) {
            block_type t = type[k];
            if (t.attends)
                t.resnet = ltn__config_has(b, ends) && !strcmp(ltn__json_str(b.config, ends, "conv"), "resnet");
            return t;
        }
    ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s[%d]: expected %s, %s or %s", key, i, type[0].name, type[1].name,
                    type[2].name);
    return type[0];
}

/* attention_head_dim is what it says here: the width of a head; null: one head. */
static ltn_node *attend(ltn_nn b, ltn_node *x)
{
    const int64_t width = x->dims.d[3];
    const bool whole = ltn__json_get(b.config, "attention_head_dim") && !ltn__config_has(b, "attention_head_dim");
    const int64_t head = whole ? width : ltn__config_int(b, "attention_head_dim", 8, MAX_WIDTH);
    if (width % head)
        ltn__graph_fail(b.g, LTN_ESHAPE, "%s: %d channels in heads of %d", b.path, (int)width, (int)head);
    return ltn__nn_self_attention(b, x, (int)LTN_MAX(width / head, 1));
}

static void layer(ltn_nn b, ddpm *u, ltn_node *x, int k, bool attends, int64_t width)
{
    u->x = ltn__nn_resnet_as(ltn__in_i(b, "resnets", k), x, u->emb, width, u->resnet);
    if (attends) u->x = attend(ltn__in_i(b, "attentions", k), u->x);
}

static ltn_resnet resampling(const ddpm *u, int by)
{
    ltn_resnet r = u->resnet;
    r.resample = by;
    return r;
}

static void down(ltn_nn b, ddpm *u, int level)
{
    const block_type type = type_of(b, "down_block_types", level, downs, "downsample_type");
    const int64_t width = width_at(b, level);
    const int pad = (int)ltn__config_num(b, "downsample_padding", 1);
    b = ltn__in_i(b, "down_blocks", level);
    for (int k = 0; k < u->layers; k++) {
        layer(b, u, u->x, k, type.attends, width);
        u->skip[u->skips++] = u->x;
    }
    if (level == u->levels - 1) return;
    u->x = type.resnet ? ltn__nn_resnet_as(ltn__in(b, "downsamplers.0"), u->x, u->emb, width, resampling(u, -1))
                       : ltn__nn_conv_down(ltn__in(b, "downsamplers.0.conv"), u->x, width, pad);
    u->skip[u->skips++] = u->x;
}

/* Here every sum is divided by mid_block_scale_factor, and attention's norm has groups of its own. */
static void middle(ltn_nn b, ddpm *u)
{
    const double scale = 1 / ltn__config_num(b, "mid_block_scale_factor", 1);
    const bool attends = ltn__config_bool(b, "add_attention", true);
    const int64_t width = u->x->dims.d[3];
    const int groups = ltn__config_has(b, "attn_norm_num_groups")
                           ? (int)ltn__config_int(b, "attn_norm_num_groups", 0, MAX_WIDTH)
                           : u->resnet.scales ? 0 : b.groups;
    if (ltn__json_get(b.config, "mid_block_type") && !ltn__config_has(b, "mid_block_type")) return;
    b = ltn__in(b, "mid_block");
    u->x = ltn__nn_resnet_as(ltn__in(b, "resnets.0"), u->x, u->emb, width, u->resnet);
    u->x = ltn__affine(b.g, u->x, scale, 0);
    if (attends) {
        ltn_nn own = ltn__in(b, "attentions.0");
        own.groups = groups;
        u->x = ltn__affine(b.g, attend(own, u->x), scale, 0);
    }
    u->x = ltn__nn_resnet_as(ltn__in(b, "resnets.1"), u->x, u->emb, width, u->resnet);
    u->x = ltn__affine(b.g, u->x, scale, 0);
}

static void up(ltn_nn b, ddpm *u, int i)
{
    const int level = u->levels - 1 - i;
    const block_type type = type_of(b, "up_block_types", i, ups, "upsample_type");
    const int64_t width = width_at(b, level);
    b = ltn__in_i(b, "up_blocks", i);
    for (int k = 0; k < u->layers + 1 && u->skips > 0; k++)
        layer(b, u, ltn__concat(b.g, u->x, u->skip[--u->skips], 3), k, type.attends, width);
    if (level == 0) return;
    u->x = type.resnet ? ltn__nn_resnet_as(ltn__in(b, "upsamplers.0"), u->x, u->emb, width, resampling(u, 1))
                       : ltn__nn_conv(ltn__in(b, "upsamplers.0.conv"), ltn__upsample(b.g, u->x, 2), width, 3);
}

static ltn_node *embed_time(ltn_nn b, int64_t n)
{
    const int64_t in = width_at(b, 0);
    b = ltn__in(b, "time_embedding");
    ltn_node *e = ltn__input(b.g, "time", ltn__dims(n, 1, 1, in));
    e = ltn__silu(b.g, ltn__nn_linear(ltn__in(b, "linear_1"), e, 4 * in));
    return ltn__silu(b.g, ltn__nn_linear(ltn__in(b, "linear_2"), e, 4 * in));
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn__config_only(b, only);
    ddpm u = {.levels = ltn__config_length(b, "block_out_channels", MAX_LEVELS),
              .layers = (int)ltn__config_int(b, "layers_per_block", 2, MAX_LAYERS), .resnet = ltn__resnet};
    const int64_t factor = (int64_t)1 << (u.levels - 1);
    if (s.h % factor || s.w % factor)
        ltn__graph_fail(b.g, LTN_ESHAPE, "pictures of %lld x %lld: sides must be divisible by %d", (long long)s.w,
                        (long long)s.h, (int)factor);
    u.resnet.scales = !strcmp(ltn__json_str(b.config, "resnet_time_scale_shift", "default"), "scale_shift");
    b.groups = (int)ltn__config_int(b, "norm_num_groups", 32, MAX_WIDTH);
    b.eps = ltn__config_num(b, "norm_eps", 1e-5);
    u.emb = embed_time(b, s.n);
    u.x = ltn__input(b.g, "sample", ltn__dims(s.n, s.h, s.w, ltn__config_int(b, "in_channels", 3, MAX_WIDTH)));
    u.x = ltn__nn_conv(ltn__in(b, "conv_in"), u.x, width_at(b, 0), 3);
    u.skip[u.skips++] = u.x;
    for (int i = 0; i < u.levels; i++) down(b, &u, i);
    middle(b, &u);
    for (int i = 0; i < u.levels; i++) up(b, &u, i);
    u.x = ltn__silu(b.g, ltn__nn_group_norm(ltn__in(b, "conv_norm_out"), u.x));
    ltn__output(b.g, "out",
                ltn__nn_conv(ltn__in(b, "conv_out"), u.x, ltn__config_int(b, "out_channels", 3, MAX_WIDTH), 3));
}

const ltn_arch ltn__arch_ddpm = {
    .entry = {.name = "UNet2DModel",
              .help = "a diffusion's UNet in pixels, without text (DDPM)",
              .cite = "Ho et al. 2020, arXiv 2006.11239"},
    .build = build,
};
