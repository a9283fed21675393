/* blocks.c - runs one part of a model on .npy files, so that anyone can hold it against diffusers:
 *
 *     blocks MODEL text "a photo of a cat" text.npy      (1, 77, d); SDXL: (1, 78, d), the last row is the pooled text
 *     blocks MODEL unet sample.npy 499 text.npy out.npy  latents (n, c, h, w), time step, text
 *     blocks MODEL encode picture.npy latent.npy         picture (n, 3, 8h, 8w) in [-1, 1]
 *     blocks MODEL decode latent.npy picture.npy */
#include <latino.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ltn_status text(ltn_ctx *ctx, ltn_model *m, char **arg, ltn_array *out)
{
    return ltn_model_text(m, arg[0], out);
}

static ltn_status unet(ltn_ctx *ctx, ltn_model *m, char **arg, ltn_array *out)
{
    ltn_array sample = {0}, words = {0};
    ltn_status s = ltn_array_read(ctx, arg[0], &sample);
    if (!s) s = ltn_array_read(ctx, arg[2], &words);
    if (!s) s = ltn_model_unet(m, &sample, atof(arg[1]), &words, out);
    ltn_array_free(ctx, &sample);
    ltn_array_free(ctx, &words);
    return s;
}

static ltn_status encode(ltn_ctx *ctx, ltn_model *m, char **arg, ltn_array *out)
{
    ltn_array picture = {0};
    ltn_status s = ltn_array_read(ctx, arg[0], &picture);
    if (!s) s = ltn_model_encode(m, &picture, out);
    ltn_array_free(ctx, &picture);
    return s;
}

static ltn_status decode(ltn_ctx *ctx, ltn_model *m, char **arg, ltn_array *out)
{
    ltn_array latent = {0};
    ltn_status s = ltn_array_read(ctx, arg[0], &latent);
    if (!s) s = ltn_model_decode(m, &latent, out);
    ltn_array_free(ctx, &latent);
    return s;
}

static const struct {
    const char *name;
    int args; /* the last one is the file to write */
    ltn_status (*run)(ltn_ctx *ctx, ltn_model *m, char **arg, ltn_array *out);
} parts[] = {{"text", 2, text}, {"unet", 4, unet}, {"encode", 2, encode}, {"decode", 2, decode}};

int main(int argc, char **argv)
{
    int part = -1;
    for (int i = 0; i < 4 && argc > 2; i++)
        if (!strcmp(argv[2], parts[i].name) && argc == 3 + parts[i].args) part = i;
    if (part < 0)
        return fprintf(stderr, "usage: %s MODEL text|unet|encode|decode ARGUMENT... OUT.npy\n", argv[0]), 2;
    ltn_ctx *ctx = NULL;
    ltn_model *model = NULL;
    ltn_array out = {0};
    if (ltn_open(&ctx, NULL)) return 1;
    ltn_status s = ltn_model_open(ctx, argv[1], &model);
    if (!s) s = parts[part].run(ctx, model, argv + 3, &out);
    if (!s) s = ltn_array_write(ctx, argv[argc - 1], &out);
    if (s) fprintf(stderr, "%s\n", ltn_error(ctx));
    ltn_array_free(ctx, &out);
    ltn_model_close(&model);
    ltn_close(&ctx);
    return s != LTN_OK;
}
