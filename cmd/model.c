/* model.c - `latino model`: what a folder or a file holds. */
#include "cmd.h"

#include <string.h>

static void print(const cmd_args *a, const char *json)
{
    if (cmd_text(a, "json")) puts(json);
    else cmd_json_readable(stdout, json);
}

static int describe_model(ltn_ctx *ctx, const cmd_args *a)
{
    ltn_model *m = NULL;
    const ltn_status s = cmd_model_open(ctx, a->operand[0], a, &m);
    if (s) return cmd_fail(ctx, s);
    print(a, ltn_model_describe(m));
    ltn_model_close(&m);
    return CMD_DONE;
}

/* A file may be a part of a model, or an adapter. */
static int run(ltn_ctx *ctx, const cmd_args *a)
{
    char file[4096];
    const char *path = a->operand[0];
    if (cmd_is_folder(path)) return describe_model(ctx, a);
    const ltn_status s = ltn_file_describe(ctx, path, file, sizeof file);
    if (s) return cmd_fail(ctx, s);
    if (strstr(file, "\"whole model\"")) return describe_model(ctx, a);
    print(a, file);
    return CMD_DONE;
}

static const cmd_option options[] = {
    CMD_PARTS,
    CMD_LORA,
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_model = {
    .name = "model",
    .operands = "PATH",
    .summary = "describes a model: parts, sizes, schedule",
    .about = "Opens a diffusers folder or a file, finds out by its tensors what it is (a whole model, a UNet, an "
             "autoencoder, half of a tiny one, an adapter), and prints its family, architectures, sizes, numbers of "
             "parameters, their type, what it predicts and its noise schedule; of an adapter (LoRA) which layers it "
             "touches, its ranks and alphas.",
    .min_operands = 1,
    .max_operands = 1,
    .option = options,
    .run = run,
};
