/* layout.c - the parts that a weight file holds, known by their tensors whatever the file is called: each is brought
 * under diffusers' names (its bytes stay where they are), and its configuration is read off its shapes. Layouts: the
 * original code's (latent-diffusion; open_clip, whose q, k and v stand in one matrix), transformers', diffusers', and
 * the two halves of a tiny autoencoder as their author saves them. */
#include "layout.h"

#include <stdio.h>
#include <string.h>

enum { NAME = 192, MOST = 128, LEVELS = 8 };

/* ---- Moving tensors ---- */
typedef struct job {
    ltn_tensors *from, *to;
    const char *prefix;
    ltn_status status; /* the first that went wrong; after it nothing is moved */
} job;

typedef struct name {
    char s[NAME];
} name;

static name at(const char *fmt, ...) LTN_PRINTF(1, 2);
static name at(const char *fmt, ...)
{
    name n;
    va_list a;
    va_start(a, fmt);
    vsnprintf(n.s, sizeof n.s, fmt, a);
    va_end(a);
    return n;
}

static ltn_weight *find(job *j, const char *tensor)
{
    return ltn__tensors_find(j->from, at("%s%s", j->prefix, tensor).s);
}

/* Whether w stands at this scope or inside it; then *rest is what follows, with its dot. */
static bool inside(const ltn_weight *w, const char *scope, const char **rest)
{
    const size_t n = strlen(scope);
    *rest = w->name + n;
    return !strncmp(w->name, scope, n) && (!w->name[n] || w->name[n] == '.');
}

static bool any(job *j, const char *scope)
{
    const name whole = at("%s%s", j->prefix, scope);
    const char *rest;
    for (int i = 0; i < ltn__tensors_count(j->from); i++)
        if (inside(ltn__tensors_at(j->from, i), whole.s, &rest)) return true;
    return false;
}

/* What stands inside `from` goes to `to`; NULL: it is nothing to us. */
static void move(job *j, const char *from, const char *to)
{
    const name whole = at("%s%s", j->prefix, from);
    for (int i = 0; i < ltn__tensors_count(j->from) && !j->status; i++) {
        ltn_weight *w = ltn__tensors_at(j->from, i);
        const char *rest;
        if (w->used || !inside(w, whole.s, &rest)) continue;
        w->used = true;
        if (to) j->status = ltn__tensors_lend(j->to, w, at("%s%s", to, rest + (!*to && *rest == '.')).s);
    }
}

typedef struct pair {
    const char *from, *to;
} pair;

/* Each of a table's scopes, inside one of the file's to inside one of ours. */
static void move_all(job *j, const pair *table, const char *from, const char *to)
{
    for (; table->from; table++)
        move(j, at("%s%s%s", from, *from ? "." : "", table->from).s, at("%s%s%s", to, *to ? "." : "", table->to).s);
}

/* ---- The original UNet: its blocks are numbered through, and a change of size is one of them ---- */
static const pair unet_ends[] = {
    {"time_embed.0", "time_embedding.linear_1"}, {"time_embed.2", "time_embedding.linear_2"},
    {"time_embed.cond_proj", "time_embedding.cond_proj"}, {"label_emb.0.0", "add_embedding.linear_1"},
    {"label_emb.0.2", "add_embedding.linear_2"}, {"input_blocks.0.0", "conv_in"}, {"out.0", "conv_norm_out"},
    {"out.2", "conv_out"}, {NULL, NULL}};
static const pair unet_resnet[] = {
    {"in_layers.0", "norm1"}, {"in_layers.2", "conv1"}, {"emb_layers.1", "time_emb_proj"}, {"out_layers.0", "norm2"},
    {"out_layers.3", "conv2"}, {"skip_connection", "conv_shortcut"}, {NULL, NULL}};

static void unet_down(job *j)
{
    for (int i = 1, level = 0, layer = 0; i < MOST && any(j, at("input_blocks.%d", i).s); i++) {
        if (any(j, at("input_blocks.%d.0.op", i).s)) {
            move(j, at("input_blocks.%d.0.op", i).s, at("down_blocks.%d.downsamplers.0.conv", level++).s);
            layer = 0;
            continue;
        }
        move_all(j, unet_resnet, at("input_blocks.%d.0", i).s, at("down_blocks.%d.resnets.%d", level, layer).s);
        move(j, at("input_blocks.%d.1", i).s, at("down_blocks.%d.attentions.%d", level, layer++).s);
    }
}

static void unet_up(job *j)
{
    for (int i = 0, level = 0, layer = 0; i < MOST && any(j, at("output_blocks.%d", i).s); i++) {
        int larger = 0; /* where in this block the convolution stands that ends a level */
        for (int k = 1; k < 3; k++)
            if (any(j, at("output_blocks.%d.%d.conv", i, k).s)) larger = k;
        move_all(j, unet_resnet, at("output_blocks.%d.0", i).s, at("up_blocks.%d.resnets.%d", level, layer).s);
        if (larger) move(j, at("output_blocks.%d.%d.conv", i, larger).s, at("up_blocks.%d.upsamplers.0.conv", level).s);
        move(j, at("output_blocks.%d.1", i).s, at("up_blocks.%d.attentions.%d", level, layer++).s);
        if (larger) level++, layer = 0;
    }
}

static void unet_original(job *j)
{
    move_all(j, unet_ends, "", "");
    unet_down(j);
    move_all(j, unet_resnet, "middle_block.0", "mid_block.resnets.0");
    move(j, "middle_block.1", "mid_block.attentions.0");
    move_all(j, unet_resnet, "middle_block.2", "mid_block.resnets.1");
    unet_up(j);
}

/* ---- The original autoencoder, whose decoder counts its levels from the picture's side ---- */
static const pair vae_ends[] = {
    {"conv_in", "conv_in"}, {"norm_out", "conv_norm_out"}, {"conv_out", "conv_out"}, {NULL, NULL}};
static const pair vae_resnet[] = {
    {"norm1", "norm1"}, {"conv1", "conv1"}, {"norm2", "norm2"}, {"conv2", "conv2"}, {"nin_shortcut", "conv_shortcut"},
    {NULL, NULL}};
static const pair vae_attention[] = {
    {"norm", "group_norm"}, {"q", "to_q"}, {"k", "to_k"}, {"v", "to_v"}, {"proj_out", "to_out.0"}, {NULL, NULL}};

static void vae_half(job *j, const char *half, const char *way)
{
    int levels = 0;
    while (levels < LEVELS && any(j, at("%s.%s.%d", half, way, levels).s)) levels++;
    move_all(j, vae_ends, half, half);
    move_all(j, vae_resnet, at("%s.mid.block_1", half).s, at("%s.mid_block.resnets.0", half).s);
    move_all(j, vae_attention, at("%s.mid.attn_1", half).s, at("%s.mid_block.attentions.0", half).s);
    move_all(j, vae_resnet, at("%s.mid.block_2", half).s, at("%s.mid_block.resnets.1", half).s);
    for (int i = 0; i < levels; i++) {
        const name to = at("%s.%s_blocks.%d", half, way, !strcmp(way, "up") ? levels - 1 - i : i);
        move(j, at("%s.%s.%d.%ssample.conv", half, way, i, way).s, at("%.150s.%ssamplers.0.conv", to.s, way).s);
        for (int k = 0; k < LEVELS; k++)
            move_all(j, vae_resnet, at("%s.%s.%d.block.%d", half, way, i, k).s, at("%.150s.resnets.%d", to.s, k).s);
    }
}

static void vae_original(job *j)
{
    vae_half(j, "encoder", "down");
    vae_half(j, "decoder", "up");
    move(j, "quant_conv", "quant_conv");
    move(j, "post_quant_conv", "post_quant_conv");
    move(j, "loss", NULL); /* of the training */
    move(j, "model_ema", NULL);
}

/* ---- Text encoders ---- */
static const pair clip_layer[] = {
    {"ln_1", "layer_norm1"}, {"ln_2", "layer_norm2"}, {"attn.out_proj", "self_attn.out_proj"}, {"mlp.c_fc", "mlp.fc1"},
    {"mlp.c_proj", "mlp.fc2"}, {NULL, NULL}};

/* One array with the rows of q, k and v. */
static void split(job *j, const char *from, const char *to, const char *what)
{
    static const char *const third[] = {"q_proj", "k_proj", "v_proj"};
    ltn_weight *w = find(j, from);
    if (!w || j->status) return;
    if (w->dim[0] % 3) {
        j->status = ltn__fail(ltn__tensors_ctx(j->to), LTN_EFORMAT, "%s: %s: its rows are no three equal parts",
                              ltn__tensors_path(j->from), w->name);
        return;
    }
    w->used = true;
    const int64_t rows = w->dim[0] / 3;
    for (int k = 0; k < 3 && !j->status; k++)
        j->status = ltn__tensors_lend_rows(j->to, w, k * rows, rows, at("%s.self_attn.%s.%s", to, third[k], what).s);
}

static void clip_open(job *j, bool projected)
{
    int layers = 0;
    while (layers < MOST && any(j, at("transformer.resblocks.%d", layers).s)) layers++;
    const int used = projected || layers == 23 ? layers : layers - 1; /* SD2's text is the last layer but one */
    for (int i = 0; i < layers; i++) {
        const name from = at("transformer.resblocks.%d", i), to = at("text_model.encoder.layers.%d", i);
        if (i >= used) {
            move(j, from.s, NULL);
            continue;
        }
        split(j, at("%.100s.attn.in_proj_weight", from.s).s, to.s, "weight");
        split(j, at("%.100s.attn.in_proj_bias", from.s).s, to.s, "bias");
        move_all(j, clip_layer, from.s, to.s);
    }
    move(j, "token_embedding", "text_model.embeddings.token_embedding");
    move(j, "positional_embedding", "text_model.embeddings.position_embedding.weight");
    move(j, "ln_final", "text_model.final_layer_norm");
    ltn_weight *w = projected ? find(j, "text_projection") : NULL;
    if (w && w->rank == 2 && !j->status) {
        w->used = true;
        j->status = ltn__tensors_lend_transposed(j->to, w, "text_projection.weight");
    }
    move(j, "text_projection", NULL);
    move(j, "logit_scale", NULL);
    move(j, "attn_mask", NULL);
}

static void clip_open_text(job *j)
{
    clip_open(j, false);
}

static void clip_open_pooled(job *j)
{
    clip_open(j, true);
}

static const ltn_weight *table_of(ltn_tensors *t)
{
    const ltn_weight *w = ltn__tensors_find(t, "text_model.embeddings.token_embedding.weight");
    return w ? w : ltn__tensors_find(t, "embeddings.token_embedding.weight");
}

/* transformers' names, which stay; SD2's last layer is not used. */
static void clip_plain(job *j)
{
    const ltn_weight *table = find(j, "text_model.embeddings.token_embedding.weight");
    if (table && table->rank == 2 && table->dim[1] == 1024) move(j, "text_model.encoder.layers.23", NULL);
    move(j, "text_model.embeddings.position_ids", NULL);
    move(j, "text_model.text_projection", "text_projection.weight");
    move(j, "text_model", "text_model");
    move(j, "text_projection", "text_projection");
    move(j, "embeddings", "embeddings");
    move(j, "encoder", "encoder");
    move(j, "final_layer_norm", "final_layer_norm");
    move(j, "logit_scale", NULL);
}

/* ---- What has our names already ---- */
static void as_it_is(job *j)
{
    for (int i = 0; i < ltn__tensors_count(j->from) && !j->status; i++) {
        ltn_weight *w = ltn__tensors_at(j->from, i);
        const size_t n = strlen(j->prefix);
        if (w->used || strncmp(w->name, j->prefix, n)) continue;
        w->used = true;
        j->status = ltn__tensors_lend(j->to, w, w->name + n);
    }
}

/* The halves of a tiny autoencoder: layers by their numbers; the decoder's first clamps and is no layer of
 * diffusers'. */
static void tiny_half(job *j, const char *to, int first)
{
    for (int i = first; i < MOST; i++) move(j, at("%d", i).s, at("%s.layers.%d", to, i - first).s);
}

static void tiny_encoder(job *j)
{
    tiny_half(j, "encoder", 0);
}

static void tiny_decoder(job *j)
{
    tiny_half(j, "decoder", 1);
}

/* ---- Configurations ---- */
typedef struct text {
    char s[4096];
    size_t n;
} text;

static void put(text *t, const char *fmt, ...) LTN_PRINTF(2, 3);
static void put(text *t, const char *fmt, ...)
{
    va_list a;
    va_start(a, fmt);
    const int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, fmt, a);
    va_end(a);
    t->n = LTN_MIN(t->n + (size_t)LTN_MAX(n, 0), sizeof t->s - 1);
}

static void put_list(text *t, const char *key, const int64_t *v, int n)
{
    put(t, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) put(t, "%s%lld", i ? ", " : "", (long long)v[i]);
    put(t, "]");
}

/* The k-th dimension of a tensor; 0: it has none. */
static int64_t dim(ltn_tensors *t, int k, const char *tensor)
{
    const ltn_weight *w = ltn__tensors_find(t, tensor);
    return w && k < w->rank ? w->dim[k] : 0;
}

static bool has(ltn_tensors *t, const char *tensor)
{
    return ltn__tensors_find(t, tensor) != NULL;
}

static int count(ltn_tensors *t, const char *before, const char *after, int most)
{
    int n = 0;
    while (n < most && has(t, at("%s.%d.%s", before, n, after).s)) n++;
    return n;
}

static void put_blocks(text *o, ltn_tensors *t, const char *key, const char *blocks, const char *cross,
                       const char *plain, int n)
{
    put(o, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        const bool crosses = has(t, at("%s.%d.attentions.0.norm.weight", blocks, i).s);
        put(o, "%s\"%s\"", i ? ", " : "", crosses ? cross : plain);
    }
    put(o, "]");
}

/* A transformer of the UNet that sees the text. */
static name some_transformer(ltn_tensors *t, int levels)
{
    if (has(t, "mid_block.attentions.0.proj_in.weight")) return at("mid_block.attentions.0");
    int i = 0;
    while (i < levels && !has(t, at("down_blocks.%d.attentions.0.proj_in.weight", i).s)) i++;
    return at("down_blocks.%d.attentions.0", i);
}

/* SD1 has 8 heads everywhere, all later ones heads of 64; those have linear projections too. */
static void unet_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    const int levels = count(t, "down_blocks", "resnets.0.conv1.weight", LEVELS);
    const int layers = count(t, "down_blocks.0.resnets", "conv1.weight", LEVELS);
    const name some = some_transformer(t, levels);
    const int64_t cross = dim(t, 1, at("%.150s.transformer_blocks.0.attn2.to_k.weight", some.s).s);
    const ltn_weight *in = ltn__tensors_find(t, at("%.150s.proj_in.weight", some.s).s);
    const bool eight = cross == 768 || (in && in->rank == 4);
    const int64_t placed = dim(t, 1, "add_embedding.linear_1.weight"),
                  guided = dim(t, 1, "time_embedding.cond_proj.weight");
    int64_t width[LEVELS] = {0}, heads[LEVELS], depth[LEVELS];
    for (int i = 0; i < levels; i++) {
        const name here = i == levels - 1 ? at("mid_block.attentions.0") : at("down_blocks.%d.attentions.0", i);
        width[i] = dim(t, 0, at("down_blocks.%d.resnets.0.conv1.weight", i).s);
        heads[i] = eight ? 8 : LTN_MAX(width[i] / 64, 1);
        depth[i] = LTN_MAX(count(t, at("%.100s.transformer_blocks", here.s).s, "norm1.weight", 64), 1);
    }
    put(o, "{\"_class_name\": \"UNet2DConditionModel\", \"in_channels\": %lld, \"out_channels\": %lld",
        (long long)dim(t, 1, "conv_in.weight"), (long long)dim(t, 0, "conv_out.weight"));
    put_list(o, "block_out_channels", width, levels);
    put_list(o, "attention_head_dim", heads, levels);
    put_list(o, "transformer_layers_per_block", depth, levels);
    put_blocks(o, t, "down_block_types", "down_blocks", "CrossAttnDownBlock2D", "DownBlock2D", levels);
    put_blocks(o, t, "up_block_types", "up_blocks", "CrossAttnUpBlock2D", "UpBlock2D", levels);
    put(o, ", \"layers_per_block\": %d, \"cross_attention_dim\": %lld, \"norm_num_groups\": 32, \"sample_size\": %d",
        layers, (long long)cross, placed ? 128 : cross == 1024 && !h->epsilon ? 96 : 64);
    put(o, ", \"time_embedding_dim\": %lld", (long long)dim(t, 0, "time_embedding.linear_1.weight"));
    if (!has(t, "mid_block.resnets.0.conv1.weight")) put(o, ", \"mid_block_type\": null");
    if (guided) put(o, ", \"time_cond_proj_dim\": %lld", (long long)guided);
    if (placed)
        put(o, ", \"addition_embed_type\": \"text_time\", \"projection_class_embeddings_input_dim\": %lld, "
               "\"addition_time_embed_dim\": %lld", (long long)placed,
            (long long)(h->pooled && placed > h->pooled ? (placed - h->pooled) / 6 : 256));
    put(o, "}");
}

static void vae_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    const int levels = count(t, "encoder.down_blocks", "resnets.0.conv1.weight", LEVELS);
    const int64_t latent = dim(t, 1, "decoder.conv_in.weight");
    int64_t width[LEVELS] = {0};
    put(o,
        "{\"_class_name\": \"AutoencoderKL\", \"in_channels\": %lld, \"out_channels\": %lld, \"latent_channels\": %lld",
        (long long)dim(t, 1, "encoder.conv_in.weight"), (long long)dim(t, 0, "decoder.conv_out.weight"),
        (long long)latent);
    for (int i = 0; i < levels; i++) width[i] = dim(t, 0, at("encoder.down_blocks.%d.resnets.0.conv1.weight", i).s);
    put_list(o, "block_out_channels", width, levels);
    put_blocks(o, t, "down_block_types", "encoder.down_blocks", "?", "DownEncoderBlock2D", levels);
    put_blocks(o, t, "up_block_types", "decoder.up_blocks", "?", "UpDecoderBlock2D", levels);
    put(o, ", \"layers_per_block\": %d, \"norm_num_groups\": 32, \"scaling_factor\": %g",
        count(t, "encoder.down_blocks.0.resnets", "conv1.weight", LEVELS), h->xl ? 0.13025 : 0.18215);
    put(o, ", \"use_quant_conv\": %s, \"use_post_quant_conv\": %s, \"mid_block_add_attention\": %s}",
        has(t, "quant_conv.weight") ? "true" : "false", has(t, "post_quant_conv.weight") ? "true" : "false",
        has(t, "decoder.mid_block.attentions.0.group_norm.weight") ? "true" : "false");
}

/* The first encoder of SD1 and SDXL is OpenAI's, with its own activation and 768 channels; open_clip's have the exact
 * one. */
static void clip_config(text *o, ltn_tensors *t, bool quick, bool projected)
{
    const ltn_weight *table = table_of(t);
    const char *top = table && !strncmp(table->name, "text_model.", 11) ? "text_model." : "";
    const int64_t words = table && table->rank == 2 ? table->dim[0] : 0, width = words ? table->dim[1] : 0;
    put(o, "{\"architectures\": [\"%s\"], \"vocab_size\": %lld, \"hidden_size\": %lld, \"num_attention_heads\": %lld",
        projected ? "CLIPTextModelWithProjection" : "CLIPTextModel", (long long)words, (long long)width,
        (long long)LTN_MAX(width / 64, 1));
    put(o, ", \"intermediate_size\": %lld, \"num_hidden_layers\": %d, \"max_position_embeddings\": %lld",
        (long long)dim(t, 0, at("%sencoder.layers.0.mlp.fc1.weight", top).s),
        count(t, at("%sencoder.layers", top).s, "layer_norm1.weight", MOST),
        (long long)dim(t, 0, at("%sembeddings.position_embedding.weight", top).s));
    put(o, ", \"hidden_act\": \"%s\", \"projection_dim\": %lld, \"eos_token_id\": 2}", quick ? "quick_gelu" : "gelu",
        (long long)LTN_MAX(dim(t, 0, "text_projection.weight"), 1));
}

static void clip_open_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    clip_config(o, t, false, false);
}

static void clip_pooled_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    clip_config(o, t, false, true);
}

static void clip_plain_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    const ltn_weight *table = table_of(t);
    clip_config(o, t, !table || table->rank < 2 || table->dim[1] != 1024, false);
}

/* Convolutions with the blocks that follow them; the last convolution is the end, its width returned. */
static int64_t tiny_stages(text *o, ltn_tensors *t, const char *half)
{
    int64_t width[MOST] = {0}, blocks[MOST] = {0};
    int64_t last = 0;
    int n = 0;
    for (int i = 0; i < MOST; i++) {
        const int64_t out = dim(t, 0, at("%s.layers.%d.weight", half, i).s);
        if (out) width[n++] = last = out;
        else if (n && has(t, at("%s.layers.%d.conv.0.weight", half, i).s)) blocks[n - 1]++;
    }
    n = LTN_MIN(LTN_MAX(n - 1, 0), LEVELS);
    put_list(o, at("%s_block_out_channels", half).s, width, n);
    put_list(o, at("num_%s_blocks", half).s, blocks, n);
    return last;
}

static void tiny_config(text *o, ltn_tensors *t, const ltn_hints *h)
{
    put(o, "{\"_class_name\": \"AutoencoderTiny\", \"in_channels\": 3, \"out_channels\": 3");
    const int64_t latent = tiny_stages(o, t, "encoder");
    tiny_stages(o, t, "decoder");
    put(o, ", \"latent_channels\": %lld}", (long long)(latent ? latent : dim(t, 1, "decoder.layers.0.weight")));
}

/* ---- The table ---- */
static const char unet_mark[] = "input_blocks.0.0.weight", unet_own[] = "down_blocks.0.resnets.0.conv1.weight",
                  vae_mark[] = "encoder.down.0.block.0.conv1.weight",
                  vae_own[] = "encoder.down_blocks.0.resnets.0.conv1.weight",
                  clip_own[] = "text_model.embeddings.token_embedding.weight",
                  clip_old[] = "embeddings.token_embedding.weight", clip_mark[] = "token_embedding.weight";
static const ltn_layout layouts[] = {
    {LTN_AT_UNET, "model.diffusion_model.", unet_mark, NULL, unet_original, unet_config},
    {LTN_AT_UNET, "diffusion_model.", unet_mark, NULL, unet_original, unet_config},
    {LTN_AT_UNET, "", unet_mark, NULL, unet_original, unet_config},
    {LTN_AT_UNET, "model.diffusion_model.", unet_own, NULL, as_it_is, unet_config},
    {LTN_AT_UNET, "unet.", unet_own, NULL, as_it_is, unet_config},
    {LTN_AT_UNET, "", unet_own, "time_embedding.linear_1.weight", as_it_is, unet_config},
    {LTN_AT_VAE, "first_stage_model.", vae_mark, NULL, vae_original, vae_config},
    {LTN_AT_VAE, "vae.", vae_mark, NULL, vae_original, vae_config},
    {LTN_AT_VAE, "", vae_mark, NULL, vae_original, vae_config},
    {LTN_AT_VAE, "first_stage_model.", vae_own, NULL, as_it_is, vae_config},
    {LTN_AT_VAE, "vae.", vae_own, NULL, as_it_is, vae_config},
    {LTN_AT_VAE, "", vae_own, NULL, as_it_is, vae_config},
    {LTN_AT_VAE, "", "encoder.layers.0.weight", "decoder.layers.0.weight", as_it_is, tiny_config},
    {LTN_AT_TEXT, "cond_stage_model.transformer.", clip_own, NULL, clip_plain, clip_plain_config},
    {LTN_AT_TEXT, "cond_stage_model.transformer.", clip_old, NULL, clip_plain, clip_plain_config},
    {LTN_AT_TEXT, "cond_stage_model.model.", clip_mark, NULL, clip_open_text, clip_open_config},
    {LTN_AT_TEXT, "conditioner.embedders.0.transformer.", clip_own, NULL, clip_plain, clip_plain_config},
    {LTN_AT_TEXT_2, "conditioner.embedders.1.model.", clip_mark, NULL, clip_open_pooled, clip_pooled_config},
    {LTN_AT_TEXT_2, "conditioner.embedders.1.transformer.", clip_own, NULL, clip_plain, clip_pooled_config},
    {LTN_AT_TEXT_2, "cond_stage_model.1.transformer.", clip_own, NULL, clip_plain, clip_pooled_config},
    {LTN_AT_HALF_ENCODER, "", "0.weight", "1.conv.0.weight", tiny_encoder, tiny_config},
    {LTN_AT_HALF_ENCODER, "", "0.weight", "4.conv.0.weight", tiny_encoder, tiny_config}, /* of 32 pixels to a latent */
    {LTN_AT_HALF_DECODER, "", "1.weight", "3.conv.0.weight", tiny_decoder, tiny_config},
};

const ltn_layout *ltn__layout_find(ltn_tensors *t, int part)
{
    for (int i = 0; i < LTN_COUNT(layouts); i++) {
        const ltn_layout *l = &layouts[i];
        if (l->part == part && has(t, at("%s%s", l->prefix, l->mark).s) &&
            (!l->beside || has(t, at("%s%s", l->prefix, l->beside).s)))
            return l;
    }
    return NULL;
}

ltn_status ltn__layout_move(const ltn_layout *l, ltn_tensors *from, ltn_tensors *to)
{
    job j = {.from = from, .to = to, .prefix = l->prefix};
    l->move(&j);
    return j.status;
}

ltn_status ltn__layout_config(const ltn_layout *l, ltn_tensors *t, const ltn_hints *h, ltn_arena *arena, ltn_json **out)
{
    text o = {.n = 0};
    l->config(&o, t, h);
    return ltn__json_parse(arena->ctx, ltn__tensors_path(t), o.s, o.n, arena, out);
}
