/* prompt.c - what the prompt is worth: every picture of a folder restored from three severe degradations with its own
 * caption, with that of another class and with none, one CSV row each.
 *
 *     build/bench/prompt FOLDER REPORT.csv [-n PICTURES] [-m MODEL] [-t TASK] [-p true|wrong|empty] [-s SOLVER] [-k METRIC,...]
 *
 * FOLDER holds PNG pictures and captions.tsv (file, caption). Rows that REPORT.csv has already are not computed again;
 * bench/prompt.py reads it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latino.h"

typedef struct task {
    const char *name, *degradation;
    double sigma;
} task;
static const task tasks[] = {
    {"sr8-.05", "downsample:factor=8", 0.05},
    {"inpaint92-.05", "inpaint:random=0.92,seed=7", 0.05},
    {"denoise-.3", "identity", 0.3},
};
static const char *const starts[] = {"true", "wrong", "empty"};
enum { TASKS = sizeof tasks / sizeof *tasks, STARTS = sizeof starts / sizeof *starts, MAXPICTURES = 1000, MAXMETRICS = 8 };

typedef struct picture {
    char file[256], caption[256];
} picture;
typedef struct bench {
    ltn_ctx *ctx;
    ltn_model *model;
    const char *folder, *report, *solver;
    char *metric[MAXMETRICS];
    int metrics, count;
    picture list[MAXPICTURES];
    char *known; /* what the report holds already */
} bench;

static void die(const bench *b, const char *what)
{
    fprintf(stderr, "prompt: %s: %s\n", what, b->ctx ? ltn_error(b->ctx) : "failed");
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

/* Animals are called the sea, scenes are called a cat. */
static const char *prompt_of(const picture *p, const char *start)
{
    if (!strcmp(start, "true")) return p->caption;
    if (!strcmp(start, "empty")) return "";
    return strncmp(p->file, "scene", 5) ? "a photo of the sea" : "a photo of a cat";
}

static void clip(ltn_image *x)
{
    size_t n = (size_t)x->width * (size_t)x->height * (size_t)x->channels;
    for (size_t i = 0; i < n; i++) x->data[i] = x->data[i] < 0 ? 0 : x->data[i] > 1 ? 1 : x->data[i];
}

static void restore(bench *b, const ltn_task *job, ltn_image *x, ltn_progress *progress)
{
    ltn_run *run;
    ltn_status s;
    if (ltn_run_open(b->ctx, job, &run)) die(b, b->solver);
    while (!(s = ltn_run_step(run))) continue;
    if (s < 0 || ltn_run_estimate(run, x)) die(b, b->solver);
    *progress = ltn_run_progress(run);
    ltn_run_close(&run);
    clip(x);
}

static void add_row(bench *b, const char *key, const ltn_image *x, const ltn_image *truth, const ltn_progress *progress)
{
    FILE *f = fopen(b->report, "a");
    if (!f) die(b, b->report);
    fputs(key, f);
    for (int i = 0; i < b->metrics; i++) {
        double v;
        if (ltn_measure(b->ctx, b->metric[i], x, truth, &v)) die(b, b->metric[i]);
        fprintf(f, "%.5f,", v);
    }
    fprintf(f, "%d,%.2f\n", progress->calls, progress->seconds);
    if (fclose(f)) die(b, b->report);
}

static void one(bench *b, const task *t, const char *start, int k)
{
    const picture *p = &b->list[k];
    char key[600], path[1024], noise[64];
    int at = snprintf(key, sizeof key, "%s,", t->name);
    for (const char *c = b->solver; *c && at < 300; c++) key[at++] = *c == ',' ? ';' : *c;
    snprintf(key + at, sizeof key - (size_t)at, ",%s,%s,", start, p->file);
    if (strstr(b->known, key)) return;
    snprintf(path, sizeof path, "%s/%s", b->folder, p->file);
    snprintf(noise, sizeof noise, "gaussian:sigma=%g", t->sigma);
    ltn_image truth = {0}, y = {0}, x = {0};
    ltn_degradation *d;
    ltn_progress progress;
    if (ltn_image_read(b->ctx, path, &truth) ||
        ltn_degradation_open(b->ctx, t->degradation, truth.width, truth.height, truth.channels, &d) ||
        ltn_degrade(d, &truth, noise, (uint64_t)k + 1, &y))
        die(b, path);
    const ltn_task job = {.model = b->model, .degradation = d, .y = &y, .sigma = t->sigma, .solver = b->solver,
                          .prompt = prompt_of(p, start), .seed = 1};
    restore(b, &job, &x, &progress);
    add_row(b, key, &x, &truth, &progress);
    ltn_degradation_close(&d);
    ltn_image_free(b->ctx, &truth);
    ltn_image_free(b->ctx, &y);
    ltn_image_free(b->ctx, &x);
}

static void take_metrics(bench *b, char *list)
{
    for (char *name = strtok(list, ","); name && b->metrics < MAXMETRICS; name = strtok(NULL, ",")) b->metric[b->metrics++] = name;
}

int main(int argc, char **argv)
{
    static bench b = {.solver = "latino-pro"};
    static char metrics[] = "psnr,ssim";
    const char *model = "models/prior", *only_task = NULL, *only_start = NULL;
    char *names = metrics;
    int wanted = 0;
    if (argc < 3) return fprintf(stderr, "usage: prompt FOLDER REPORT.csv [-n N] [-m MODEL] [-t TASK] [-p START] [-s SOLVER] [-k METRICS]\n"), 2;
    b.folder = argv[1], b.report = argv[2];
    for (int i = 3; i + 1 < argc; i += 2) {
        char *value = argv[i + 1];
        if (!strcmp(argv[i], "-n")) wanted = atoi(value);
        else if (!strcmp(argv[i], "-m")) model = value;
        else if (!strcmp(argv[i], "-t")) only_task = value;
        else if (!strcmp(argv[i], "-p")) only_start = value;
        else if (!strcmp(argv[i], "-s")) b.solver = value;
        else if (!strcmp(argv[i], "-k")) names = value;
        else return fprintf(stderr, "prompt: unknown option %s\n", argv[i]), 2;
    }
    take_metrics(&b, names);
    if (ltn_open(&b.ctx, NULL) || ltn_model_open(b.ctx, model, &b.model)) die(&b, model);
    read_captions(&b, wanted);
    read_report(&b);
    for (int k = 0; k < b.count; k++) /* picture by picture, so that a run that is stopped has as many of each */
        for (int t = 0; t < TASKS; t++)
            for (int s = 0; s < STARTS; s++)
                if (!(only_task && strcmp(only_task, tasks[t].name)) && !(only_start && strcmp(only_start, starts[s])))
                    one(&b, &tasks[t], starts[s], k);
    free(b.known);
    ltn_model_close(&b.model);
    ltn_close(&b.ctx);
    return 0;
}
