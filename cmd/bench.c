/* bench.c - `latino bench`: seconds and memory of a model's parts, and for each block of their work how near it
 * comes to the roofline, max(operations / peak, bytes / bandwidth) (Williams et al. 2009). */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

typedef struct result {
    const char *part;
    ltn_speed speed;
    double peak; /* resident memory, bytes */
} result;

/* The least seconds that this machine needs for a block. */
static double least(const ltn_machine *m, const ltn_speed_block *b)
{
    const double compute = b->flop / m->flops, traffic = b->bytes / m->bandwidth;
    return compute > traffic ? compute : traffic;
}

/* ---- The table ---- */

static void print_line(const ltn_machine *m, const ltn_speed *v, const ltn_speed_block *b, double seconds)
{
    printf("  %-12s %-22s %5d %9.3f %5.1f %%  %9.3f %8.1f  %9.2f %7.1f  %4.0f %%\n", b->name, b->kernel, b->steps,
           1e3 * b->seconds, 100 * b->seconds / v->seconds, 1e-9 * b->flop, 1e-9 * b->flop / b->seconds,
           1e-6 * b->bytes, 1e-9 * b->bytes / b->seconds, 100 * seconds / b->seconds);
}

static void print_result(const ltn_machine *m, const result *r)
{
    const ltn_speed *v = &r->speed;
    ltn_speed_block all = {.name = "all", .kernel = "", .seconds = v->seconds, .flop = v->flop, .bytes = v->bytes};
    double sum = 0;
    printf("\n%s, %d x %d: %.4f s (median %.4f), plan made in %.2f s, %.1f MB; resident at most %.0f MB\n", r->part,
           v->size, v->size, v->seconds, v->median, v->plan_seconds, 1e-6 * (double)v->plan_bytes, 1e-6 * r->peak);
    printf("  %-12s %-22s %5s %9s %7s  %9s %8s  %9s %7s  %6s\n", "block", "kernel", "steps", "ms", "share", "GFLOP",
           "GFLOP/s", "MB", "GB/s", "roof");
    for (int k = 0; k < v->blocks; k++) {
        print_line(m, v, &v->block[k], least(m, &v->block[k]));
        sum += least(m, &v->block[k]);
        all.steps += v->block[k].steps;
    }
    print_line(m, v, &all, sum);
    fflush(stdout);
}

/* ---- JSON ---- */

static void json_block(cmd_json *j, const ltn_machine *m, const ltn_speed_block *b)
{
    cmd_json_open(j, NULL, '{');
    cmd_json_text(j, "name", b->name);
    cmd_json_text(j, "kernel", b->kernel);
    cmd_json_number(j, "steps", b->steps);
    cmd_json_number(j, "seconds", b->seconds);
    cmd_json_number(j, "gflop", 1e-9 * b->flop);
    cmd_json_number(j, "mb", 1e-6 * b->bytes);
    cmd_json_number(j, "roof", least(m, b) / b->seconds);
    cmd_json_close(j, '}');
}

static void json_result(cmd_json *j, const ltn_machine *m, const result *r)
{
    const ltn_speed *v = &r->speed;
    cmd_json_open(j, NULL, '{');
    cmd_json_text(j, "part", r->part);
    cmd_json_number(j, "size", v->size);
    cmd_json_number(j, "plan_seconds", v->plan_seconds);
    cmd_json_number(j, "seconds", v->seconds);
    cmd_json_number(j, "median", v->median);
    cmd_json_number(j, "gflop", 1e-9 * v->flop);
    cmd_json_number(j, "mb", 1e-6 * v->bytes);
    cmd_json_number(j, "plan_mb", 1e-6 * (double)v->plan_bytes);
    cmd_json_number(j, "peak_mb", 1e-6 * r->peak);
    cmd_json_open(j, "blocks", '[');
    for (int k = 0; k < v->blocks; k++) json_block(j, m, &v->block[k]);
    cmd_json_close(j, ']');
    cmd_json_close(j, '}');
}

/* ---- The work ---- */

/* A model of its own for each part, so that the memory is that part's. */
static ltn_status measure(ltn_ctx *ctx, const cmd_args *a, const char *model, const ltn_bench *b, result *r)
{
    ltn_model *m = NULL;
    cmd_forget_peak();
    ltn_status s = cmd_model_open(ctx, model, a, &m);
    if (!s) s = ltn_bench_part(m, b, &r->speed);
    r->peak = cmd_peak_memory();
    ltn_model_close(&m);
    return s;
}

static const char *part_name(const void *self, int i)
{
    return ltn_list(LTN_MODEL_PARTS, i) ? ltn_list(LTN_MODEL_PARTS, i)->name : NULL;
}

/* Known now, before the minutes that those before it take. */
static int check_parts(const char *list)
{
    char part[64];
    while (cmd_next_spec(&list, part, sizeof part)) {
        int i = 0;
        while (part_name(NULL, i) && strcmp(part_name(NULL, i), part)) i++;
        if (part_name(NULL, i)) continue;
        const char *near = cmd_nearest(part, part_name, NULL);
        return near ? cmd_usage("unknown part \"%s\"; did you mean \"%s\"?", part, near)
                    : cmd_usage("unknown part \"%s\"; see latino list parts", part);
    }
    return CMD_DONE;
}

/* Every part of the list, into the table or j. */
static ltn_status measure_all(ltn_ctx *ctx, const cmd_args *a, const char *model, const ltn_machine *m, cmd_json *j)
{
    const char *list = cmd_text(a, "parts");
    char part[64];
    const ltn_bench b = {.part = part, .size = (int)cmd_number(a, "size", 0), .batch = (int)cmd_number(a, "batch", 0),
                         .rounds = (int)cmd_number(a, "rounds", 0)};
    ltn_status s = LTN_OK;
    while (!s && cmd_next_spec(&list, part, sizeof part)) {
        result r = {.part = part};
        s = measure(ctx, a, model, &b, &r);
        if (!s && j) json_result(j, m, &r);
        else if (!s) print_result(m, &r);
        ltn_speed_free(ctx, &r.speed);
    }
    return s;
}

static int report_json(ltn_ctx *ctx, const cmd_args *a, const char *model, const ltn_machine *m)
{
    char *text = NULL;
    size_t size;
    cmd_json j = {.f = open_memstream(&text, &size)};
    cmd_json_open(&j, NULL, '{');
    cmd_json_text(&j, "version", ltn_version());
    cmd_json_text(&j, "model", model);
    cmd_json_number(&j, "threads", m->threads);
    cmd_json_number(&j, "batch", cmd_number(a, "batch", 0));
    cmd_json_number(&j, "rounds", cmd_number(a, "rounds", 0));
    cmd_json_number(&j, "peak_gflops", 1e-9 * m->flops);
    cmd_json_number(&j, "peak_gbs", 1e-9 * m->bandwidth);
    cmd_json_open(&j, "parts", '[');
    const ltn_status s = measure_all(ctx, a, model, m, &j);
    cmd_json_close(&j, ']');
    cmd_json_close(&j, '}');
    fclose(j.f);
    const int code = s ? cmd_fail(ctx, s) : cmd_write_text(cmd_text(a, "json"), text);
    free(text);
    return code;
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    cmd_path path;
    ltn_machine m;
    const char *json = cmd_text(a, "json");
    int code = check_parts(cmd_text(a, "parts"));
    if (!code && json && strcmp(json, "-")) code = cmd_check_place(json);
    if (!code) code = cmd_model_path(a, &path);
    if (code) return code;
    ltn_status s = ltn_bench_machine(ctx, &m);
    if (s) return cmd_fail(ctx, s);
    if (json) return report_json(ctx, a, path.s, &m);
    printf("%s, %d thread%s; peaks of the machine: %.0f GFLOP/s, %.1f GB/s\n", path.s, m.threads,
           m.threads > 1 ? "s" : "", 1e-9 * m.flops, 1e-9 * m.bandwidth);
    fflush(stdout);
    s = measure_all(ctx, a, path.s, &m, NULL);
    return s ? cmd_fail(ctx, s) : CMD_DONE;
}

static const cmd_option options[] = {
    CMD_MODEL,
    CMD_LORA,
    {.name = "size", .value = "N", .type = CMD_INT, .min = 8, .max = 8192,
     .help = "pixels of a side; without it the model's own size"},
    {.name = "parts", .value = "LIST", .type = CMD_SPEC, .kind = LTN_MODEL_PARTS, .def = "text,unet,encode,decode",
     .help = "names with commas between (latino list parts)"},
    {.name = "batch", .value = "N", .type = CMD_INT, .min = 1, .max = 64, .def = "1", .help = "pictures at once"},
    {.name = "rounds", .value = "N", .type = CMD_INT, .min = 1, .max = 1000, .def = "3",
     .help = "runs of each part, of which the fastest counts"},
    CMD_THREADS,
    {.name = "json", .value = "FILE", .type = CMD_FILE,
     .help = "writes JSON there instead of a table to standard output; - is standard output"},
    {.name = NULL},
};

const cmd_verb cmd_bench = {
    .name = "bench",
    .operands = "",
    .summary = "measures the speed and memory of a model's parts",
    .about = "Plans each part, runs it on random numbers and shows where the time goes: for the steps of each kind and "
             "kernel milliseconds, operations of the plain sums, bytes of arrays, each counted once, and what part of "
             "the roofline that is: the time in which the machine, by its peaks in this very run, could compute or "
             "move as much. Winograd's convolutions need fewer operations than the plain sum and may pass 100 %.",
    .option = options,
    .run = run,
};
