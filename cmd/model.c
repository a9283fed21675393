/* model.c - `latino model`: what a model's folder holds. */
#include "cmd.h"

static void print(const cmd_args *a, const char *json)
{
    if (cmd_text(a, "json")) puts(json);
    else cmd_json_readable(stdout, json);
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    ltn_model *m = NULL;
    char adapter[1024];
    if (!cmd_is_folder(a->operand[0]) && !ltn_lora_describe(ctx, a->operand[0], adapter, sizeof adapter)) {
        print(a, adapter);
        return CMD_DONE;
    }
    const ltn_status s = cmd_model_open(ctx, a->operand[0], a, &m);
    if (s) return cmd_fail(ctx, s);
    print(a, ltn_model_describe(m));
    ltn_model_close(&m);
    return CMD_DONE;
}

static const cmd_option options[] = {
    CMD_LORA,
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_model = {
    .name = "model",
    .operands = "DIR|LORA",
    .summary = "describes a model: parts, sizes, schedule",
    .about = "Opens a diffusers folder and prints its architectures, sizes, numbers of parameters and "
             "noise schedule; of an adapter (LoRA) which layers it touches, its ranks and alphas.",
    .min_operands = 1,
    .max_operands = 1,
    .option = options,
    .run = run,
};
