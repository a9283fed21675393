/* generate.c - `latino generate`: a picture from a prompt, alone or with another picture. */
#include "cmd.h"

#include <string.h>

/* "512x768" */
static int read_size(const char *text, int *width, int *height)
{
    int end = 0;
    if (!text) return CMD_DONE;
    if (sscanf(text, "%5dx%5d%n", width, height, &end) != 2 || text[end] || *width < 8 || *height < 8 ||
        *width > 8192 || *height > 8192)
        return cmd_usage("--size %s: expected WIDTHxHEIGHT, each from 8 to 8192", text);
    return CMD_DONE;
}

/* A diffusion in pixels takes no text; the others are told what to show. */
static bool takes_text(const ltn_model *m)
{
    return !strstr(ltn_model_describe(m), "\"text_length\": 0,");
}

static ltn_status draw(ltn_ctx *ctx, const cmd_args *a, ltn_generation *g)
{
    char settings[8192];
    ltn_image image = {0}, x = {0};
    const char *path = cmd_text(a, "image");
    ltn_status s = path ? ltn_image_read(ctx, path, &image) : LTN_OK;
    if (path) g->image = &image;
    if (!s) s = ltn_generate(ctx, g, &x);
    cmd_settings(a, NULL, settings, sizeof settings);
    if (!s) s = cmd_save(ctx, cmd_text(a, "o"), &x, a, settings);
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &image);
    return s;
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    cmd_path path;
    ltn_generation g = {
        .prompt = cmd_text(a, "prompt"),
        .negative = cmd_text(a, "negative"),
        .guidance = cmd_number(a, "guidance", 0),
        .steps = (int)cmd_number(a, "steps", 0),
        .sampler = cmd_text(a, "sampler"),
        .strength = cmd_number(a, "strength", 0),
        .seed = (uint64_t)cmd_number(a, "seed", 0),
    };
    int code = read_size(cmd_text(a, "size"), &g.width, &g.height);
    if (!code && g.strength && !cmd_text(a, "image")) code = cmd_usage("--strength needs --image FILE");
    if (!code) code = cmd_check_out(cmd_text(a, "o"));
    if (!code) code = cmd_model_path(a, &path);
    if (code) return code;
    ltn_status s = cmd_model_open(ctx, path.s, a, &g.model);
    if (!s && !g.prompt && takes_text(g.model))
        code = cmd_usage("generate needs --prompt TEXT: the model takes text; see latino generate --help");
    else if (!s) s = draw(ctx, a, &g);
    if (s) code = cmd_fail(ctx, s);
    ltn_model_close(&g.model);
    return code;
}

static const cmd_option options[] = {
    CMD_OUT("where the picture goes"),
    {.name = "prompt", .value = "TEXT", .type = CMD_TEXT, .setting = true,
     .help = "what to show; must be given unless the model takes no text"},
    {.name = "negative", .value = "TEXT", .type = CMD_TEXT, .setting = true,
     .help = "what not to show; needs --guidance above 1"},
    {.name = "guidance", .value = "W", .type = CMD_REAL, .min = 0, .max = 100, .setting = true,
     .help = "weight of the prompt against the negative one: without it 1, which is the prompt alone; diffusion models "
             "are made for about 7.5, distilled ones (LCM, DMD2, Turbo) for 1; models that take it as an input are "
             "told 8.5 without it"},
    CMD_MODEL,
    CMD_LORA,
    {.name = "size", .value = "WxH", .type = CMD_TEXT, .setting = true,
     .help = "pixels, as 768x512; without it the image's, else the model's own"},
    {.name = "steps", .value = "N", .type = CMD_INT, .min = 1, .max = 1000, .def = "8", .setting = true,
     .help = "steps of the sampler"},
    {.name = "sampler", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_SAMPLERS, .setting = true,
     .help = "how to go from noise to the picture, as euler or dpm:solver_order=3,use_karras_sigmas=true (latino list "
             "samplers); options that are not given, and all without it, are as the model's scheduler_config.json has "
             "them"},
    {.name = "image", .value = "FILE", .type = CMD_FILE, .setting = true,
     .help = "a picture to begin with instead of noise"},
    {.name = "strength", .value = "S", .type = CMD_REAL, .min = 0.001, .max = 1, .setting = true,
     .help = "the part of the steps that is made from it: 1 keeps next to nothing of it; without it 0.8"},
    CMD_SEED,
    CMD_BITS,
    CMD_QUALITY,
    CMD_FROM,
    CMD_THREADS,
    CMD_MEMORY,
    {.name = NULL},
};

const cmd_verb cmd_generate = {
    .name = "generate",
    .operands = "",
    .summary = "draws a picture from a prompt, alone or with another picture",
    .about = "Runs a sampler from noise, or from a noised picture, without a measurement, as the text-to-image and "
             "image-to-image pipelines of diffusers do.",
    .option = options,
    .run = run,
};
