/* measure.c - `latino measure`: how far two pictures are apart. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

/* Calls every metric that the list "psnr,ssim" names, in its order. */
static int measure(ltn_ctx *ctx, const char *metrics, const ltn_image *p, const ltn_image *q, cmd_json *j)
{
    while (*metrics) {
        char name[64];
        const size_t n = strcspn(metrics, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, metrics);
        metrics += n + (metrics[n] == ',');
        double v;
        const ltn_status s = ltn_measure(ctx, name, p, q, &v);
        if (s) return cmd_fail(ctx, s);
        if (j) cmd_json_number(j, name, v);
        else printf("%s %.4f\n", name, v);
    }
    return CMD_DONE;
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    ltn_image p = {0}, q = {0};
    char *text = NULL;
    size_t size;
    int code = CMD_DONE;
    ltn_status s = ltn_image_read(ctx, a->operand[0], &p);
    if (!s) s = ltn_image_read(ctx, a->operand[1], &q);
    if (s) {
        code = cmd_fail(ctx, s);
    } else if (cmd_text(a, "json")) {
        cmd_json j = {.f = open_memstream(&text, &size)};
        cmd_json_open(&j, NULL, '{');
        cmd_json_text(&j, "a", a->operand[0]);
        cmd_json_text(&j, "b", a->operand[1]);
        cmd_json_number(&j, "width", p.width);
        cmd_json_number(&j, "height", p.height);
        cmd_json_number(&j, "channels", p.channels);
        code = measure(ctx, cmd_text(a, "metric"), &p, &q, &j);
        cmd_json_close(&j, '}');
        fclose(j.f);
        if (!code) fputs(text, stdout);
        free(text);
    } else {
        code = measure(ctx, cmd_text(a, "metric"), &p, &q, NULL);
    }
    ltn_image_free(ctx, &p);
    ltn_image_free(ctx, &q);
    return code;
}

static const cmd_option options[] = {
    {.name = "metric", .value = "LIST", .type = CMD_SPEC, .kind = LTN_METRICS, .def = "psnr,ssim",
     .help = "names with commas between (latino list metrics)"},
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_measure = {
    .name = "measure",
    .operands = "A B",
    .summary = "compares two pictures: PSNR, SSIM",
    .about = "Prints the distance between two pictures of equal size, as 8-bit, 16-bit or .npy files hold "
             "them; white is 1.",
    .min_operands = 2,
    .max_operands = 2,
    .option = options,
    .run = run,
};
