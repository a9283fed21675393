/* generate.c - `latino generate`: a picture from a prompt alone. */
#include "cmd.h"

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    cmd_path path;
    char settings[8192];
    int code = cmd_check_out(cmd_text(a, "o"));
    if (!code) code = cmd_model_path(a, &path);
    if (code) return code;
    ltn_model *m = NULL;
    ltn_image x = {0};
    ltn_status s = cmd_model_open(ctx, path.s, a, &m);
    const ltn_generation g = {
        .model = m,
        .prompt = cmd_text(a, "prompt"),
        .width = (int)cmd_number(a, "width", 0),
        .height = (int)cmd_number(a, "height", 0),
        .steps = (int)cmd_number(a, "steps", 0),
        .seed = (uint64_t)cmd_number(a, "seed", 0),
    };
    if (!s) s = ltn_generate(ctx, &g, &x);
    cmd_settings(a, NULL, settings, sizeof settings);
    if (!s) s = cmd_save(ctx, cmd_text(a, "o"), &x, a, settings);
    if (s) code = cmd_fail(ctx, s);
    ltn_image_free(ctx, &x);
    ltn_model_close(&m);
    return code;
}

static const cmd_option options[] = {
    CMD_OUT("where the picture goes"),
    {.name = "prompt", .value = "TEXT", .type = CMD_TEXT, .required = true, .setting = true,
     .help = "what to show"},
    CMD_MODEL,
    CMD_LORA,
    {.name = "width", .value = "W", .type = CMD_INT, .min = 8, .max = 8192, .setting = true,
     .help = "without it the model's own size"},
    {.name = "height", .value = "H", .type = CMD_INT, .min = 8, .max = 8192, .setting = true,
     .help = "without it the model's own size"},
    {.name = "steps", .value = "N", .type = CMD_INT, .min = 1, .max = 1000, .def = "8", .setting = true,
     .help = "network calls"},
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
    .summary = "draws a picture from a prompt alone",
    .about = "Runs the model's own scheduler from noise, without a measurement.",
    .option = options,
    .run = run,
};
