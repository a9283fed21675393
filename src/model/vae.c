/* vae.c - AutoencoderKL: a convolutional encoder to the mean of a gaussian over latents, and a decoder, each
 * with one self-attention in the middle. Rombach et al. 2022, arXiv 2112.10752; names as in diffusers. */
#include "model.h"

enum { MAX_LEVELS = 8, MAX_LAYERS = 8, MAX_WIDTH = 1 << 14 };

static const ltn_only only[] = {
    {"act_fn", "silu|swish"},
    {"latents_mean", NULL},
    {"latents_std", NULL},
    {NULL, NULL},
};

static int64_t width_at(ltn_nn b, int level)
{
    return ltn__config_at(b, "block_out_channels", level, 0, MAX_WIDTH);
}

static ltn_node *middle(ltn_nn b, ltn_node *x)
{
    const bool attends = ltn__config_bool(b, "mid_block_add_attention", true);
    const int64_t width = x->dims.d[3];
    b = ltn__in(b, "mid_block");
    x = ltn__nn_resnet(ltn__in(b, "resnets.0"), x, NULL, width);
    if (attends) x = ltn__nn_self_attention(ltn__in(b, "attentions.0"), x, 1);
    return ltn__nn_resnet(ltn__in(b, "resnets.1"), x, NULL, width);
}

/* Norm, silu, convolution: how both halves end. */
static ltn_node *finish(ltn_nn b, ltn_node *x, int64_t out)
{
    x = ltn__silu(b.g, ltn__nn_group_norm(ltn__in(b, "conv_norm_out"), x));
    return ltn__nn_conv(ltn__in(b, "conv_out"), x, out, 3);
}

static void check_types(ltn_nn b, const char *key, const char *type, int levels)
{
    for (int i = 0; i < levels; i++)
        if (!ltn__config_is(b, key, i, type))
            ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s[%d]: expected %s", key, i, type);
}

static ltn_node *encoder(ltn_nn b, ltn_node *x, int levels, int layers, int64_t latent)
{
    check_types(b, "down_block_types", "DownEncoderBlock2D", levels);
    b = ltn__in(b, "encoder");
    x = ltn__nn_conv(ltn__in(b, "conv_in"), x, width_at(b, 0), 3);
    for (int i = 0; i < levels; i++) {
        const int64_t width = width_at(b, i);
        ltn_nn block = ltn__in_i(b, "down_blocks", i);
        for (int k = 0; k < layers; k++) x = ltn__nn_resnet(ltn__in_i(block, "resnets", k), x, NULL, width);
        if (i < levels - 1) x = ltn__nn_conv_down(ltn__in(block, "downsamplers.0.conv"), x, width, 0);
    }
    return finish(b, middle(b, x), 2 * latent);
}

static ltn_node *decoder(ltn_nn b, ltn_node *z, int levels, int layers, int64_t out)
{
    check_types(b, "up_block_types", "UpDecoderBlock2D", levels);
    b = ltn__in(b, "decoder");
    ltn_node *x = middle(b, ltn__nn_conv(ltn__in(b, "conv_in"), z, width_at(b, levels - 1), 3));
    for (int i = 0; i < levels; i++) {
        const int64_t width = width_at(b, levels - 1 - i);
        ltn_nn block = ltn__in_i(b, "up_blocks", i);
        for (int k = 0; k < layers + 1; k++)
            x = ltn__nn_resnet(ltn__in_i(block, "resnets", k), x, NULL, width);
        if (i < levels - 1)
            x = ltn__nn_conv(ltn__in(block, "upsamplers.0.conv"), ltn__upsample(b.g, x, 2), width, 3);
    }
    return finish(b, x, out);
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn__config_only(b, only);
    const int levels = ltn__config_length(b, "block_out_channels", MAX_LEVELS);
    const int layers = (int)ltn__config_int(b, "layers_per_block", 1, MAX_LAYERS);
    const int64_t latent = ltn__config_int(b, "latent_channels", 4, MAX_WIDTH);
    const double scale = ltn__config_num(b, "scaling_factor", 0.18215);
    const double shift = ltn__config_num(b, "shift_factor", 0);
    b.groups = (int)ltn__config_int(b, "norm_num_groups", 32, MAX_WIDTH);
    b.eps = 1e-6;
    if (part == LTN_ENCODE) {
        const int64_t in = ltn__config_int(b, "in_channels", 3, 16);
        ltn_node *x = ltn__input(b.g, "picture", ltn__dims(s.n, s.h, s.w, in));
        x = encoder(b, x, levels, layers, latent);
        if (ltn__config_bool(b, "use_quant_conv", true))
            x = ltn__nn_conv(ltn__in(b, "quant_conv"), x, 2 * latent, 1);
        x = ltn__slice(b.g, x, 3, 0, latent); /* the mean; the rest is the log of the variance */
        ltn__output(b.g, "out", ltn__affine(b.g, x, scale, -shift * scale));
    } else {
        ltn_node *z = ltn__input(b.g, "latent", ltn__dims(s.n, s.h, s.w, latent));
        z = ltn__affine(b.g, z, 1 / scale, shift);
        if (ltn__config_bool(b, "use_post_quant_conv", true))
            z = ltn__nn_conv(ltn__in(b, "post_quant_conv"), z, latent, 1);
        ltn__output(b.g, "out", decoder(b, z, levels, layers, ltn__config_int(b, "out_channels", 3, 16)));
    }
}

const ltn_arch ltn__arch_kl = {
    .entry = {.name = "AutoencoderKL",
              .help = "latent diffusion's autoencoder",
              .cite = "Rombach et al. 2022, arXiv 2112.10752"},
    .build = build,
};
