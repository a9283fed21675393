/* clip.c - CLIP's text encoder: token and position embeddings, causal transformer layers (x + attention norm
 * x, x + mlp norm x), a final norm; the last hidden state is the output. Radford et al. 2021. SDXL (Podell et
 * al. 2023) takes what the last layer but one gives, and of its second encoder the normed end token, projected. */
#include "model.h"

#include <string.h>

static const ltn_only only[] = {{"hidden_act", "quick_gelu|gelu"}, {NULL, NULL}};

static const char *const projections[4] = {"q_proj", "k_proj", "v_proj", "out_proj"};

static ltn_node *embed(ltn_nn b, ltn_node *ids, int64_t width)
{
    const int64_t tokens = ids->dims.d[2];
    const int64_t vocabulary = ltn__config_int(b, "vocab_size", 0, 1 << 24);
    const int64_t positions = ltn__config_int(b, "max_position_embeddings", 77, 1 << 16);
    ltn_nn e = ltn__in(b, "embeddings");
    if (tokens > positions)
        return ltn__graph_fail(b.g, LTN_ESHAPE, "%lld tokens, at most %lld", (long long)tokens,
                               (long long)positions);
    ltn_weight *unused = ltn__tensors_find(b.w, ltn__in(e, "position_ids").path); /* of old files: 0, 1, 2 */
    if (unused) unused->used = true;
    ltn_node *words = ltn__param(ltn__in(e, "token_embedding"), "weight", 2, vocabulary, width, 0, 0);
    ltn_node *place = ltn__param(ltn__in(e, "position_embedding"), "weight", 2, positions, width, 0, 0);
    return ltn__add(b.g, ltn__gather(b.g, words, ids), ltn__slice(b.g, place, 2, 0, tokens));
}

static ltn_node *layer(ltn_nn b, ltn_node *x, int heads, int64_t inner)
{
    ltn_graph *g = b.g;
    const bool quick = strcmp(ltn__json_str(b.config, "hidden_act", "quick_gelu"), "gelu") != 0;
    ltn_node *h = ltn__nn_layer_norm(ltn__in(b, "layer_norm1"), x);
    x = ltn__add(g, x, ltn__nn_attention(ltn__in(b, "self_attn"), projections, h, NULL, heads, true));
    h = ltn__nn_layer_norm(ltn__in(b, "layer_norm2"), x);
    h = ltn__nn_linear(ltn__in(b, "mlp.fc1"), h, inner);
    h = quick ? ltn__quick_gelu(g, h) : ltn__gelu(g, h);
    return ltn__add(g, x, ltn__nn_linear(ltn__in(b, "mlp.fc2"), h, x->dims.d[3]));
}

/* The final norm's value at the end token, projected. */
static ltn_node *pool(ltn_nn b, ltn_node *x)
{
    const int64_t out = ltn__config_int(b, "projection_dim", 0, 1 << 16);
    ltn_node *end = ltn__input(b.g, "end", ltn__dims(x->dims.d[0], 1, 1, x->dims.d[2]));
    x = ltn__matmul(b.g, end, x, false, false);
    return ltn__nn_linear(ltn__plain(ltn__in(b, "text_projection")), x, out);
}

static void build(ltn_nn b, ltn_part_kind part, ltn_part_size s)
{
    ltn__config_only(b, only);
    const int64_t width = ltn__config_int(b, "hidden_size", 0, 1 << 16);
    const int64_t inner = ltn__config_int(b, "intermediate_size", 0, 1 << 18);
    const int heads = (int)ltn__config_int(b, "num_attention_heads", 0, 1 << 10);
    const int layers = (int)ltn__config_int(b, "num_hidden_layers", 0, 256);
    b.eps = ltn__config_num(b, "layer_norm_eps", 1e-5);
    const ltn_nn top = b;
    if (ltn__has(b, "text_model.embeddings.token_embedding.weight")) b = ltn__in(b, "text_model");

    ltn_node *x = embed(b, ltn__input(b.g, "ids", ltn__dims(s.n, 1, s.tokens, 1)), width), *before = x;
    for (int i = 0; i < layers; i++) {
        before = x;
        x = layer(ltn__in_i(b, "encoder.layers", i), x, heads, inner);
    }
    x = ltn__nn_layer_norm(ltn__in(b, "final_layer_norm"), x);
    ltn__output(b.g, "out", part == LTN_TEXT ? x : before);
    if (part == LTN_TEXT_POOLED) ltn__output(b.g, "pooled", pool(top, x));
}

const ltn_arch ltn__arch_clip = {
    .entry = {.name = "CLIPTextModel",
              .help = "CLIP's text encoder",
              .alias = "CLIPTextModelWithProjection",
              .cite = "Radford et al. 2021, arXiv 2103.00020"},
    .build = build,
};
