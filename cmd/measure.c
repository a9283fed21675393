/* measure.c - `latino measure`: how far two pictures are apart, or a picture from explaining a measurement. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

static void tell(cmd_json *j, const char *name, double v)
{
    if (j) cmd_json_number(j, name, v);
    else printf("%s %.4f\n", name, v);
}

/* Every metric of the list "psnr,ssim", in its order. */
static int distances(ltn_ctx *ctx, const char *metrics, const ltn_image *p, const ltn_image *q, cmd_json *j)
{
    char spec[4096];
    while (cmd_next_spec(&metrics, spec, sizeof spec)) {
        double v;
        const ltn_status s = ltn_measure(ctx, spec, p, q, &v);
        if (s) return cmd_fail(ctx, s);
        tell(j, spec, v);
    }
    return CMD_DONE;
}

/* How well picture p explains measurement q. */
static int consistency(ltn_ctx *ctx, const cmd_args *a, const ltn_image *p, const ltn_image *q, cmd_json *j)
{
    ltn_degradation *d;
    const int colours = p->channels - (p->channels == 2 || p->channels == 4);
    double v = 0;
    ltn_status s = ltn_degradation_open(ctx, cmd_text(a, "degradation"), p->width, p->height, colours, &d);
    if (!s) s = ltn_consistency(d, p, q, cmd_number(a, "sigma", 0), &v);
    ltn_degradation_close(&d);
    if (s) return cmd_fail(ctx, s);
    tell(j, "chi", v);
    return CMD_DONE;
}

static int measure(ltn_ctx *ctx, const cmd_args *a, const ltn_image *p, const ltn_image *q, cmd_json *j)
{
    if (cmd_given(a, "degradation")) return consistency(ctx, a, p, q, j);
    return distances(ctx, cmd_text(a, "metric"), p, q, j);
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    ltn_image p = {0}, q = {0};
    if (cmd_given(a, "degradation") && cmd_given(a, "metric"))
        return cmd_usage("--metric compares two pictures, --degradation a picture with a measurement");
    if (cmd_given(a, "sigma") && !cmd_given(a, "degradation"))
        return cmd_usage("--sigma says how exact a measurement is; --degradation is missing");
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
        code = measure(ctx, a, &p, &q, &j);
        cmd_json_close(&j, '}');
        fclose(j.f);
        if (!code) fputs(text, stdout);
        free(text);
    } else {
        code = measure(ctx, a, &p, &q, NULL);
    }
    ltn_image_free(ctx, &p);
    ltn_image_free(ctx, &q);
    return code;
}

static const cmd_option options[] = {
    {.name = "metric", .value = "LIST", .type = CMD_SPEC, .kind = LTN_METRICS, .def = "psnr,ssim",
     .help = "names with commas between (latino list metrics)"},
    {.name = "degradation", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_DEGRADATIONS,
     .help = "takes B for a measurement of A and prints chi = |A x - y| / (sigma sqrt(m)), 1 when nothing but the "
             "noise is left"},
    {.name = "sigma", .value = "S", .type = CMD_REAL, .max = 1e6, .def = "0",
     .help = "deviation of the noise in B, white is 1; 0: chi = |A x - y| / |y|"},
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_measure = {
    .name = "measure",
    .operands = "A B",
    .summary = "compares two pictures, or a picture with a measurement",
    .about = "Prints the distance between two pictures of equal size, as 8-bit, 16-bit or .npy files hold "
             "them; white is 1. With --degradation, how well picture A explains measurement B.",
    .min_operands = 2,
    .max_operands = 2,
    .option = options,
    .run = run,
};
