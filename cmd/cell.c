/* cell.c - one cell of the grid: y = A x + n is made of a picture x, restored, and measured. The noise has
 * the seed k + 1 for the k-th picture, whatever the solver, so that solvers can be compared picture by
 * picture. */
#include "eval.h"

#include <math.h>
#include <string.h>

/* One picture under way. */
typedef struct cell {
    ltn_image truth, y, x;
    ltn_degradation *degradation;
    ltn_run *run;
    ltn_progress progress;
} cell;

int eval_worker_open(eval_worker *w, const eval_grid *g, const char *pictures)
{
    *w = (eval_worker){.grid = g, .pictures = pictures};
    const ltn_options opt = {.threads = g->threads};
    ltn_status s = ltn_open(&w->ctx, &opt);
    if (s) {
        cmd_say("out of memory");
        return CMD_FAILED;
    }
    for (int i = 0; i < g->metrics && !s; i++) s = ltn_metric_open(w->ctx, g->metric[i], &w->metric[i]);
    return s ? cmd_fail(w->ctx, s) : CMD_DONE;
}

void eval_worker_close(eval_worker *w)
{
    for (int i = 0; i < w->grid->metrics; i++) ltn_metric_close(&w->metric[i]);
    ltn_model_close(&w->model);
    ltn_close(&w->ctx);
}

static void close_cell(const eval_worker *w, cell *c)
{
    ltn_run_close(&c->run);
    ltn_degradation_close(&c->degradation);
    ltn_image_free(w->ctx, &c->truth);
    ltn_image_free(w->ctx, &c->y);
    ltn_image_free(w->ctx, &c->x);
}

static ltn_status degrade(const eval_worker *w, const eval_task *t, int picture, cell *c)
{
    const eval_grid *g = w->grid;
    const char *noise = *t->noise ? t->noise : NULL;
    ltn_status s = ltn_image_read(w->ctx, cmd_join(g->folder, g->picture[picture].file).s, &c->truth);
    if (s) return s;
    s = ltn_degradation_open(w->ctx, t->degradation, c->truth.width, c->truth.height, c->truth.channels,
                             &c->degradation);
    return s ? s : ltn_degrade(c->degradation, &c->truth, noise, (uint64_t)picture + 1, &c->y);
}

static const char *prompt_of(const eval_way *v, const eval_picture *p)
{
    return !strcmp(v->prompt, "caption") ? p->caption : !strcmp(v->prompt, "empty") ? "" : v->prompt;
}

/* A model is opened only for a solver that does not work without: others have no part of its memory. */
static ltn_status open_run(eval_worker *w, const eval_task *t, const eval_way *v, int picture, cell *c)
{
    ltn_task task = {.model = w->model,
                     .degradation = c->degradation,
                     .y = &c->y,
                     .sigma = t->sigma,
                     .solver = v->spec,
                     .prompt = prompt_of(v, &w->grid->picture[picture]),
                     .seed = w->grid->seed};
    ltn_status s = ltn_run_open(w->ctx, &task, &c->run);
    if (s != LTN_EINVAL || w->model) return s;
    s = cmd_model_open(w->ctx, w->grid->model.s, w->grid->args, &w->model);
    task.model = w->model;
    return s ? s : ltn_run_open(w->ctx, &task, &c->run);
}

static bool is_naive(const eval_way *v)
{
    return !strcmp(v->spec, "naive");
}

static ltn_status restore(eval_worker *w, const eval_task *t, const eval_way *v, int picture, cell *c)
{
    if (is_naive(v)) {
        const double start = cmd_seconds();
        const ltn_status s = ltn_naive(c->degradation, &c->y, &c->x);
        c->progress.seconds = cmd_seconds() - start;
        return s;
    }
    ltn_status s = open_run(w, t, v, picture, c);
    while (!s) s = ltn_run_step(c->run);
    if (s != LTN_DONE) return s;
    c->progress = ltn_run_progress(c->run);
    return ltn_run_estimate(c->run, &c->x);
}

static int64_t size(const ltn_image *im)
{
    return (int64_t)im->width * im->height * im->channels;
}

/* chi is that of x before it is clipped. */
static ltn_status measure(const eval_worker *w, const eval_task *t, cell *c, double *value)
{
    const eval_grid *g = w->grid;
    double *cost = value + g->metrics, sigma = t->sigma;
    ltn_status s = sigma < 0 ? ltn_estimate_sigma(w->ctx, &c->y, &sigma) : LTN_OK;
    if (!s) s = ltn_consistency(c->degradation, &c->x, &c->y, sigma, &cost[EVAL_CHI]);
    for (int64_t i = 0; i < size(&c->x) && !s; i++) c->x.data[i] = fminf(fmaxf(c->x.data[i], 0), 1);
    for (int i = 0; i < g->metrics && !s; i++) s = ltn_metric_add(w->metric[i], &c->x, &c->truth, &value[i]);
    cost[EVAL_CALLS] = c->progress.calls;
    cost[EVAL_GRADIENTS] = c->progress.gradients;
    cost[EVAL_SECONDS] = c->progress.seconds;
    cost[EVAL_PEAK] = cmd_peak_memory() / 1e6;
    return s;
}

/* ---- Pictures for the report ---- */
cmd_path eval_shown_path(const char *folder, const char *task, const char *label, const char *file,
                         bool large)
{
    char name[64];
    uint64_t h = eval_digest(0, task, strlen(task) + 1);
    h = eval_digest(h, label, strlen(label) + 1);
    h = eval_digest(h, file, strlen(file) + 1);
    snprintf(name, sizeof name, "%.24s", file);
    for (char *p = name; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *p)) *p = '_';
    snprintf(name + strlen(name), 32, "-%016llx.%s", (unsigned long long)h, large ? "jpg" : "png");
    return cmd_join(folder, name);
}

static ltn_status keep(const eval_worker *w, const char *task, const char *label, int picture,
                       const ltn_image *im)
{
    enum { LARGE = 320, QUALITY = 90 };
    const bool large = (im->width > LARGE || im->height > LARGE) && im->channels % 2;
    const cmd_path path = eval_shown_path(w->pictures, task, label, w->grid->picture[picture].file, large);
    cmd_hold(true);
    const ltn_status s = ltn_image_write(w->ctx, path.s, im, &(ltn_write_options){.quality = QUALITY});
    cmd_hold(false);
    return s;
}

static bool is_shown(const eval_grid *g, int picture)
{
    const int n = g->shown < g->pictures ? g->shown : g->pictures;
    for (int i = 0; i < n; i++)
        if (eval_spread(i, n, g->pictures) == picture) return true;
    return false;
}

ltn_status eval_cell(eval_worker *w, int task, int way, int picture, double *value)
{
    const eval_task *t = &w->grid->task[task];
    cell c = {0};
    ltn_status s = degrade(w, t, picture, &c);
    if (!s) s = restore(w, t, &w->grid->way[way], picture, &c);
    if (!s) s = measure(w, t, &c, value);
    if (is_shown(w->grid, picture)) {
        if (!s) s = keep(w, "", "truth", picture, &c.truth);
        if (!s) s = keep(w, t->name, "input", picture, &c.y);
        if (!s) s = keep(w, t->name, w->grid->way[way].label, picture, &c.x);
    }
    close_cell(w, &c);
    return s;
}

int eval_worker_check(eval_worker *w)
{
    const eval_grid *g = w->grid;
    double v;
    for (int t = 0; t < g->tasks; t++) {
        cell c = {0};
        ltn_status s = degrade(w, &g->task[t], 0, &c);
        for (int i = 0; i < g->ways && !t && !s; i++) {
            if (!is_naive(&g->way[i])) s = open_run(w, &g->task[t], &g->way[i], 0, &c);
            ltn_run_close(&c.run);
        }
        for (int i = 0; i < g->metrics && !t && !s; i++)
            s = ltn_metric_add(w->metric[i], &c.truth, &c.truth, &v);
        close_cell(w, &c);
        if (s) return cmd_fail(w->ctx, s);
    }
    return CMD_DONE;
}
