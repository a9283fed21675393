/* describe.c - what a weight file is, by its tensors: a whole model, a UNet, an autoencoder, half of a tiny one, a text
 * encoder, an adapter (lora.c); its family, its numbers of parameters, their type, and what it is good for. */
#include "layout.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *kind, *use;
} kinds[] = {
    [LTN_AT_TEXT] = {"text encoder", "a part of a model"},
    [LTN_AT_UNET] = {"UNet", "--unet FILE, in place of the UNet of a whole model of this family"},
    [LTN_AT_VAE] = {"autoencoder", "--vae FILE, in place of the autoencoder of a whole model"},
    [LTN_AT_TEXT_2] = {"second text encoder", "a part of a model"},
    [LTN_AT_HALF_ENCODER] = {"encoder of a tiny autoencoder", "--vae FILE+DECODER, with the decoder's file"},
    [LTN_AT_HALF_DECODER] = {"decoder of a tiny autoencoder", "--vae ENCODER+FILE, with the encoder's file"},
};
enum { PARTS = LTN_COUNT(kinds) };

const char *ltn__family(const ltn_json *unet)
{
    const ltn_json *cross = ltn__json_get(unet, "cross_attention_dim");
    const ltn_json *first = ltn__json_at(cross, 0);
    const double width = first ? first->number : cross ? cross->number : 0;
    if (ltn__json_str(unet, "addition_embed_type", NULL)) return "SDXL";
    return width == 768 ? "SD1" : width == 1024 ? "SD2" : "other";
}

const char *ltn__tensors_type(ltn_tensors *t, int64_t *parameters)
{
    int64_t of[LTN_Q6_K + 1] = {0};
    int most = LTN_F32;
    *parameters = 0;
    for (int i = 0; i < ltn__tensors_count(t); i++) {
        const ltn_weight *w = ltn__tensors_at(t, i);
        const int64_t n = ltn__weight_count(w);
        *parameters += n;
        of[w->dtype] += n;
        if (of[w->dtype] > of[most]) most = w->dtype;
    }
    return *parameters ? ltn__dtype_name((ltn_dtype)most) : "none";
}

/* What is known of one part. */
typedef struct part {
    const ltn_layout *layout;
    int64_t parameters;
    const char *type, *architecture, *family;
    double guided; /* the UNet takes the guidance as an input */
} part;

static ltn_status look(ltn_tensors *t, int f, ltn_arena *arena, part *out)
{
    ltn_tensors *view = NULL;
    ltn_json *config;
    *out = (part){.layout = ltn__layout_find(t, f)};
    if (!out->layout) return LTN_OK;
    ltn_status s = ltn__tensors_view(arena->ctx, ltn__tensors_path(t), 3 * ltn__tensors_count(t), &view);
    if (!s) s = ltn__layout_move(out->layout, t, view);
    if (!s) s = ltn__layout_config(out->layout, view, &(ltn_hints){0}, arena, &config);
    if (!s) {
        out->type = ltn__tensors_type(view, &out->parameters);
        out->architecture = ltn__config_architecture(config);
        if (f == LTN_AT_UNET) out->family = ltn__family(config);
        out->guided = ltn__json_num(config, "time_cond_proj_dim", 0);
    }
    ltn__tensors_close(&view);
    return s;
}

static const char *const keys[] = {"text_encoder", "unet", "vae", "text_encoder_2", "encoder", "decoder"};

static ltn_status write(ltn_ctx *ctx, ltn_tensors *t, const part *p, char *json, size_t room)
{
    int n = 0, only = -1;
    for (int f = 0; f < PARTS; f++)
        if (p[f].layout) n++, only = f;
    if (!n)
        return ltn__fail(ctx, LTN_EFORMAT, "%s: no part of a model that is known by its tensors", ltn__tensors_path(t));
    const bool whole = p[LTN_AT_TEXT].layout && p[LTN_AT_UNET].layout && p[LTN_AT_VAE].layout;
    const char *family = p[LTN_AT_UNET].layout ? p[LTN_AT_UNET].family : NULL;
    size_t at = (size_t)snprintf(json, room, "{\n  \"kind\": \"%s\",\n",
                                 whole    ? "whole model"
                                 : n == 1 ? kinds[only].kind
                                          : "parts of a model");
    if (family && at < room)
        at += (size_t)snprintf(json + at, room - at, "  \"family\": \"%s%s\",\n", family,
                               p[LTN_AT_UNET].guided ? ", guided (LCM)" : "");
    for (int f = 0; f < PARTS; f++)
        if (p[f].layout && at < room)
            at += (size_t)snprintf(
                json + at, room - at,
                "  \"%s\": {\"architecture\": \"%s\", \"parameters\": %lld, \"type\": \"%s\", \"prefix\": \"%s\"},\n",
                keys[f], p[f].architecture, (long long)p[f].parameters, p[f].type, p[f].layout->prefix);
    if (at < room && ltn__tensors_marked(t, "v_pred"))
        at += (size_t)snprintf(json + at, room - at, "  \"prediction\": \"v_prediction\",\n");
    if (at < room)
        at += (size_t)snprintf(json + at, room - at, "  \"use\": \"%s\"\n}",
                               whole    ? "--model FILE"
                               : n == 1 ? kinds[only].use
                                        : "--unet FILE or --vae FILE beside a whole model");
    return at < room ? LTN_OK : ltn__fail(ctx, LTN_EINVAL, "%s: its description needs more room", ltn__tensors_path(t));
}

ltn_status ltn_file_describe(ltn_ctx *ctx, const char *path, char *json, size_t room)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_tensors *t;
    part p[PARTS] = {{0}};
    ltn_status s = ltn__tensors_open(ctx, path, &t);
    const bool guided = !s && ltn__guided_matches(t); /* it has no parts */
    if (guided)
        snprintf(json, room, "{\n  \"kind\": \"whole model\",\n  \"family\": \"guided-diffusion\",\n"
                 "  \"use\": \"--model FILE\"\n}");
    bool parts = false;
    for (int f = 0; f < PARTS && !s && !guided; f++) {
        s = look(t, f, &arena, &p[f]);
        parts |= p[f].layout != NULL;
    }
    if (!s && !guided)
        s = parts || !ltn__lora_matches(t) ? write(ctx, t, p, json, room) : ltn__lora_describe(ctx, t, json, room);
    ltn__arena_free(&arena);
    ltn__tensors_close(&t);
    return s;
}
