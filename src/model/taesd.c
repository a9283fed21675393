/* taesd.c - AutoencoderTiny: stacks of small residual blocks relu(x + conv relu conv relu conv x), halved and
 * doubled between stages. Bohan's TAESD, https://github.com/madebyollin/taesd; names as in diffusers, which
 * numbers the layers of encoder and decoder through. Whether a block has a branch more, and how an encoder begins, is
 * seen by the weights. */
#include "model.h"

enum { MAX_STAGES = 8, MAX_BLOCKS = 64, MAX_WIDTH = 1 << 14 };

static const ltn_only only[] = {
    {"act_fn", "relu"},
    {"upsample_fn", "nearest"},
    {"upsampling_scaling_factor", "2"},
    {NULL, NULL},
};

/* x + a look at more channels, normed over the whole picture: TAEF2's blocks in the middle have it. */
static ltn_node *pool(ltn_nn b, ltn_node *x)
{
    const int64_t c = x->dims.d[3];
    b.groups = 4;
    b.eps = 1e-5;
    ltn_node *h = ltn__nn_conv(ltn__plain(ltn__in(b, "0")), x, 4 * c, 1);
    h = ltn__relu(b.g, ltn__nn_group_norm(ltn__in(b, "1"), h));
    return ltn__add(b.g, x, ltn__nn_conv(ltn__plain(ltn__in(b, "3")), h, c, 1));
}

static ltn_node *block(ltn_nn b, ltn_node *x)
{
    const int64_t c = x->dims.d[3];
    if (ltn__has(b, "pool.0.weight")) x = pool(ltn__in(b, "pool"), x);
    ltn_node *h = ltn__relu(b.g, ltn__nn_conv(ltn__in(b, "conv.0"), x, c, 3));
    h = ltn__relu(b.g, ltn__nn_conv(ltn__in(b, "conv.2"), h, c, 3));
    h = ltn__nn_conv(ltn__in(b, "conv.4"), h, c, 3);
    return ltn__relu(b.g, ltn__add(b.g, h, x));
}

static ltn_node *blocks(ltn_nn b, const char *key, int stage, ltn_node *x, int *layer)
{
    const int n = (int)ltn__config_at(b, key, stage, 0, MAX_BLOCKS);
    for (int k = 0; k < n; k++) x = block(ltn__in_i(b, "layers", (*layer)++), x);
    return x;
}

/* Encoders of 32 pixels to a latent (TAESANA) begin with convolutions that halve, each with a relu, a layer of its
 * own. */
static bool halves_at_once(ltn_nn b, int layer)
{
    return !ltn__has(ltn__in_i(b, "layers", 1), "conv.0.weight") && ltn__has(ltn__in_i(b, "layers", 2), "bias") &&
           layer <= 2;
}

/* Pictures come in [-1,1] and are turned to [0,1]. */
static ltn_node *encoder(ltn_nn b, ltn_node *x, int64_t latent)
{
    const int stages = ltn__config_length(b, "num_encoder_blocks", MAX_STAGES);
    int layer = 0;
    b = ltn__in(b, "encoder");
    x = ltn__affine(b.g, x, 0.5, 0.5);
    for (int i = 0; i < stages; i++) {
        const int64_t width = ltn__config_at(b, "encoder_block_out_channels", i, 0, MAX_WIDTH);
        const bool stem = halves_at_once(b, layer);
        ltn_nn conv = ltn__in_i(b, "layers", layer++);
        x = i || stem ? ltn__nn_conv_down(stem ? conv : ltn__plain(conv), x, width, 1)
                      : ltn__nn_conv(conv, x, width, 3);
        if (stem) x = ltn__relu(b.g, x), layer++;
        if (!stem || i) x = blocks(b, "num_encoder_blocks", i, x, &layer);
    }
    return ltn__nn_conv(ltn__in_i(b, "layers", layer), x, latent, 3);
}

/* Latents are softly clamped to [-3,3]. The relu after the first convolution is layer 1, each doubling is a
 * layer. */
static ltn_node *decoder(ltn_nn b, ltn_node *z, int64_t out)
{
    const int stages = ltn__config_length(b, "num_decoder_blocks", MAX_STAGES);
    int layer = 2;
    b = ltn__in(b, "decoder");
    z = ltn__affine(b.g, ltn__tanh(b.g, ltn__affine(b.g, z, 1. / 3, 0)), 3, 0);
    const int64_t first = ltn__config_at(b, "decoder_block_out_channels", 0, 0, MAX_WIDTH);
    ltn_node *x = ltn__relu(b.g, ltn__nn_conv(ltn__in(b, "layers.0"), z, first, 3));
    for (int i = 0; i < stages; i++) {
        x = blocks(b, "num_decoder_blocks", i, x, &layer);
        if (i == stages - 1) break;
        const int64_t width = ltn__config_at(b, "decoder_block_out_channels", i + 1, 0, MAX_WIDTH);
        layer++;
        x = ltn__nn_conv(ltn__plain(ltn__in_i(b, "layers", layer++)), ltn__upsample(b.g, x, 2), width, 3);
    }
    x = ltn__nn_conv(ltn__in_i(b, "layers", layer), x, out, 3);
    return ltn__affine(b.g, x, 2, -1);
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn__config_only(b, only);
    const int64_t latent = ltn__config_int(b, "latent_channels", 4, MAX_WIDTH);
    const double scale = ltn__config_num(b, "scaling_factor", 1);
    const double shift = ltn__config_num(b, "shift_factor", 0);
    if (part == LTN_ENCODE) {
        const int64_t in = ltn__config_int(b, "in_channels", 3, 16);
        ltn_node *x = ltn__input(b.g, "picture", ltn__dims(s.n, s.h, s.w, in));
        ltn__output(b.g, "out", ltn__affine(b.g, encoder(b, x, latent), scale, -shift * scale));
    } else {
        ltn_node *z = ltn__input(b.g, "latent", ltn__dims(s.n, s.h, s.w, latent));
        z = ltn__affine(b.g, z, 1 / scale, shift);
        ltn__output(b.g, "out", decoder(b, z, ltn__config_int(b, "out_channels", 3, 16)));
    }
}

const ltn_arch ltn__arch_tiny = {
    .entry = {.name = "AutoencoderTiny",
              .help = "a small, fast autoencoder for latent diffusion",
              .cite = "https://github.com/madebyollin/taesd"},
    .build = build,
};
