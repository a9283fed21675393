/* table.c - the table of results: restores every picture of a folder for every task with every method, one CSV row each.
 *
 *     build/bench/table FOLDER REPORT.csv [-n PICTURES] [-m MODEL] [-t TASK] [-s METHOD] [-e (empty prompt)]
 *
 * METHOD is a solver as the program takes it, or "naive"; in the report its commas are semicolons.
  * FOLDER holds PNG pictures and captions.tsv (file, caption). Rows that REPORT.csv has already are not computed again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latino.h"

typedef struct task {
    const char *name, *degradation;
    double sigma;
} task;
static const task tasks[] = {
    {"sr4-.01", "downsample:factor=4", 0.01},      {"sr4-.05", "downsample:factor=4", 0.05},
    {"denoise-.05", "identity", 0.05},             {"denoise-.2", "identity", 0.2},
    {"inpaint-0", "inpaint:random=0.5,seed=7", 0}, {"inpaint-.05", "inpaint:random=0.5,seed=7", 0.05},
    {"blur3-.01", "blur:sigma=3", 0.01},
};
enum { TASKS = sizeof tasks / sizeof *tasks, MAXPICTURES = 1000 };

typedef struct picture {
    char file[256], caption[256];
} picture;
typedef struct bench {
    ltn_ctx *ctx;
    ltn_model *model;
    const char *folder, *report;
    picture list[MAXPICTURES];
    int count, empty_prompt;
    char *known; /* what the report holds already */
} bench;

static void die(const bench *b, const char *what)
{
    fprintf(stderr, "table: %s: %s\n", what, b->ctx ? ltn_error(b->ctx) : "failed");
    exit(1);
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const picture *)a)->file, ((const picture *)b)->file);
}

static void read_captions(bench *b, int wanted)
{
    char path[1024], line[512];
    snprintf(path, sizeof path, "%s/captions.tsv", b->folder);
    FILE *f = fopen(path, "r");
    if (!f) die(b, path);
    while (fgets(line, sizeof line, f) && b->count < MAXPICTURES) {
        picture *p = &b->list[b->count];
        if (sscanf(line, "%255[^\t]\t%255[^\n]", p->file, p->caption) == 2) b->count++;
    }
    fclose(f);
    qsort(b->list, (size_t)b->count, sizeof *b->list, by_file);
    if (wanted && wanted < b->count) { /* evenly through the sorted list, so that every kind is met */
        for (int i = 0; i < wanted; i++) b->list[i] = b->list[(long)i * b->count / wanted];
        b->count = wanted;
    }
}

static void read_report(bench *b)
{
    FILE *f = fopen(b->report, "r");
    long size = 0;
    if (f && !fseek(f, 0, SEEK_END)) size = ftell(f);
    b->known = calloc((size_t)size + 1, 1);
    if (!f) return;
    rewind(f);
    if (fread(b->known, 1, (size_t)size, f) != (size_t)size) die(b, b->report);
    fclose(f);
}

static void restore(bench *b, const task *t, const char *method, const picture *p, ltn_degradation *d, const ltn_image *y,
                    ltn_image *x, ltn_progress *progress)
{
    ltn_run *run;
    ltn_task job = {.model = b->model, .degradation = d, .y = y, .sigma = t->sigma, .solver = method,
                    .prompt = b->empty_prompt ? "" : p->caption, .seed = 1};
    if (ltn_run_open(b->ctx, &job, &run)) die(b, method);
    ltn_status s;
    while (!(s = ltn_run_step(run))) continue;
    if (s < 0 || ltn_run_estimate(run, x)) die(b, method);
    *progress = ltn_run_progress(run);
    ltn_run_close(&run);
}

static void clip(ltn_image *x)
{
    size_t n = (size_t)x->width * (size_t)x->height * (size_t)x->channels;
    for (size_t i = 0; i < n; i++) x->data[i] = x->data[i] < 0 ? 0 : x->data[i] > 1 ? 1 : x->data[i];
}

static void one(bench *b, const task *t, const char *method, int k)
{
    const picture *p = &b->list[k];
    char key[600], path[1024], noise[64];
    int at = snprintf(key, sizeof key, "%s,", t->name);
    for (const char *c = method; *c && at < 300; c++) key[at++] = *c == ',' ? ';' : *c;
    snprintf(key + at, sizeof key - (size_t)at, ",%s,", p->file);
    if (strstr(b->known, key)) return;
    snprintf(path, sizeof path, "%s/%s", b->folder, p->file);
    snprintf(noise, sizeof noise, "gaussian:sigma=%g", t->sigma);
    ltn_image truth = {0}, y = {0}, x = {0};
    ltn_degradation *d;
    ltn_progress progress = {0};
    double psnr, ssim;
    if (ltn_image_read(b->ctx, path, &truth) ||
        ltn_degradation_open(b->ctx, t->degradation, truth.width, truth.height, truth.channels, &d) ||
        ltn_degrade(d, &truth, t->sigma > 0 ? noise : NULL, (uint64_t)k + 1, &y))
        die(b, path);
    if (strcmp(method, "naive")) restore(b, t, method, p, d, &y, &x, &progress);
    else if (ltn_naive(d, &y, &x)) die(b, path);
    clip(&x);
    if (ltn_measure(b->ctx, "psnr", &x, &truth, &psnr) || ltn_measure(b->ctx, "ssim", &x, &truth, &ssim)) die(b, path);
    FILE *f = fopen(b->report, "a");
    if (!f || fprintf(f, "%s%.4f,%.5f,%d,%.3f\n", key, psnr, ssim, progress.calls, progress.seconds) < 0 || fclose(f)) die(b, b->report);
    ltn_degradation_close(&d);
    ltn_image_free(b->ctx, &truth);
    ltn_image_free(b->ctx, &y);
    ltn_image_free(b->ctx, &x);
}

int main(int argc, char **argv)
{
    static bench b;
    const char *model = "models/prior", *only_task = NULL, *method = "latino";
    int wanted = 0;
    if (argc < 3) return fprintf(stderr, "usage: table FOLDER REPORT.csv [-n N] [-m MODEL] [-t TASK] [-s METHOD] [-e]\n"), 2;
    b.folder = argv[1], b.report = argv[2];
    for (int i = 3; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "-e")) b.empty_prompt = 1;
        else if (!strcmp(argv[i], "-n")) wanted = atoi(value), i++;
        else if (!strcmp(argv[i], "-m")) model = value, i++;
        else if (!strcmp(argv[i], "-t")) only_task = value, i++;
        else if (!strcmp(argv[i], "-s")) method = value, i++;
        else return fprintf(stderr, "table: unknown option %s\n", argv[i]), 2;
    }
    if (ltn_open(&b.ctx, NULL) || ltn_model_open(b.ctx, model, &b.model)) die(&b, model);
    read_captions(&b, wanted);
    read_report(&b);
    for (int t = 0; t < TASKS; t++)
        for (int k = 0; k < b.count && !(only_task && strcmp(only_task, tasks[t].name)); k++) one(&b, &tasks[t], method, k);
    free(b.known);
    ltn_model_close(&b.model);
    ltn_close(&b.ctx);
    return 0;
}
