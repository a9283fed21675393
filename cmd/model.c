/* model.c - `latino model`: what a model's folder holds. */
#include "cmd.h"

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    ltn_model *m = NULL;
    const ltn_status s = ltn_model_open(ctx, a->operand[0], &m);
    if (s) return cmd_fail(ctx, s);
    if (cmd_text(a, "json")) puts(ltn_model_describe(m));
    else cmd_json_readable(stdout, ltn_model_describe(m));
    ltn_model_close(&m);
    return CMD_DONE;
}

static const cmd_option options[] = {
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_model = {
    .name = "model",
    .operands = "DIR",
    .summary = "describes a model: parts, sizes, schedule",
    .about = "Opens a diffusers folder and prints its architectures, sizes, numbers of parameters and "
             "noise schedule.",
    .min_operands = 1,
    .max_operands = 1,
    .option = options,
    .run = run,
};
