/* restore.c - `latino restore`: x from y = A x + n, step by step. */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAXSTEP = 1024, METRICS = 2, MAXDRAW = 256 };
static const char *const metrics[METRICS] = {"psnr", "ssim"}; /* what a restoration is compared with its reference by */

/* One picture's paths; all but `in` and `out` may be NULL. */
typedef struct job {
    const char *in, *out, *reference, *compare, *preview, *text;
} job;

/* What all pictures of a command share. */
typedef struct session {
    ltn_ctx *ctx;
    const cmd_args *args;
    ltn_model *model;
    const char *model_path;
    ltn_array text;  /* in the prompt's place; data NULL: none */
    cmd_words words; /* none: there is no list of captions */
    cmd_json *json;  /* NULL: not wanted */
} session;

/* One picture under way. */
typedef struct work {
    const job *job;
    cmd_args args; /* the session's, with this picture's sigma */
    char sigma_text[32], noise_text[256], degradation_text[2048], settings[8192];
    bool estimated, found, kernel; /* the noise, the degradation; its kernel, in a file beside the result */
    ltn_image y, naive, x, reference;
    ltn_degradation *degradation;
    ltn_run *run;
    ltn_progress step[MAXSTEP];
    int steps;
    double metric[2][METRICS]; /* of naive and x against the reference */
    ltn_array text[2];         /* that conditions the model, before and after */
    bool words;                /* what it says is asked for, or new */
    ltn_image draw[MAXDRAW], deviation; /* x is the mean of the draws, if there are any */
    int draws;
    cmd_calibration calibration;
} work;

static void close_work(const session *s, work *w)
{
    cmd_watch(NULL);
    ltn_run_close(&w->run);
    ltn_degradation_close(&w->degradation);
    ltn_image_free(s->ctx, &w->y);
    ltn_image_free(s->ctx, &w->naive);
    ltn_image_free(s->ctx, &w->x);
    ltn_image_free(s->ctx, &w->reference);
    ltn_image_free(s->ctx, &w->deviation);
    for (int i = 0; i < w->draws; i++) ltn_image_free(s->ctx, &w->draw[i]);
    for (int i = 0; i < 2; i++) ltn_array_free(s->ctx, &w->text[i]);
}

/* The k-th draw has the k-th seed. */
static double seed_of(const session *s, int k)
{
    return cmd_number(s->args, "seed", 0) + k;
}

static ltn_status open_run(const session *s, work *w, int k)
{
    const ltn_task task = {
        .model = s->model,
        .degradation = w->degradation,
        .y = &w->y,
        .sigma = cmd_number(&w->args, "sigma", 0), /* as the settings have it: they repeat it exactly */
        .noise_kind = cmd_text(&w->args, "noise"),
        .solver = cmd_text(s->args, "solver"),
        .prompt = cmd_text(s->args, "prompt"),
        .guidance = cmd_number(s->args, "guidance", 0),
        .text = s->text.data ? &s->text : NULL,
        .seed = (uint64_t)seed_of(s, k),
    };
    return ltn_run_open(s->ctx, &task, &w->run);
}

static ltn_status measure(const session *s, const ltn_image *x, const ltn_image *reference, double *out)
{
    ltn_status status = LTN_OK;
    for (int i = 0; i < METRICS && !status; i++)
        status = ltn_measure(s->ctx, metrics[i], x, reference, &out[i]);
    return status;
}

/* What is not told of the noise, from y. */
static ltn_status take_noise(work *w, double *sigma)
{
    const char *noise = cmd_text(&w->args, "noise");
    ltn_status s = LTN_OK;
    if (noise) s = ltn_estimate_noise(w->degradation, &w->y, noise, w->noise_text, sizeof w->noise_text);
    if (!s && noise) cmd_set(&w->args, "noise", w->noise_text);
    w->estimated = !noise || strcmp(noise, w->noise_text);
    return s ? s : ltn_noise_level(w->degradation, &w->y, cmd_text(&w->args, "noise"), sigma);
}

/* x.png -> x-WHAT */
static cmd_path beside(const char *path, const char *what)
{
    cmd_path p;
    snprintf(p.s, sizeof p.s, "%.*s-%s", (int)(strrchr(path, '.') - path), path, what);
    return p;
}

/* Everything that can be wrong is found before the long work begins. */
static ltn_status prepare(const session *s, work *w)
{
    ltn_status status = ltn_image_read(s->ctx, w->job->in, &w->y);
    double sigma = cmd_number(s->args, "sigma", -1);
    w->estimated = sigma < 0;
    const char *asked = cmd_text(s->args, "degradation");
    const cmd_path kernel = beside(w->job->out, "kernel.png");
    if (!status) status = ltn_resolve(s->ctx, asked, &w->y, kernel.s, w->degradation_text, sizeof w->degradation_text);
    w->found = !status && strcmp(asked, w->degradation_text);
    w->kernel = w->found && strstr(w->degradation_text, kernel.s) && !strstr(asked, kernel.s);
    cmd_set(&w->args, "degradation", w->degradation_text);
    if (!status) status = ltn_degradation_open_for(s->ctx, w->degradation_text, &w->y, &w->degradation);
    if (!status && w->estimated) status = take_noise(w, &sigma);
    if (!status) status = ltn_naive(w->degradation, &w->y, &w->naive);
    if (!status && w->job->reference) status = ltn_image_read(s->ctx, w->job->reference, &w->reference);
    if (!status && w->job->reference) status = measure(s, &w->naive, &w->reference, w->metric[0]);
    if (status) return status;
    snprintf(w->sigma_text, sizeof w->sigma_text, "%.6g", sigma);
    cmd_set(&w->args, "sigma", w->sigma_text);
    cmd_settings(&w->args, w->job->in, w->settings, sizeof w->settings);
    status = open_run(s, w, 0);
    return status ? status : ltn_run_text(w->run, &w->text[0]);
}

/* The text after the run: saved, and put in words where the solver has changed it. */
static ltn_status look_at_text(session *s, work *w)
{
    ltn_status status = ltn_run_text(w->run, &w->text[1]);
    const ltn_array *before = &w->text[0], *after = &w->text[1];
    if (status || !after->rank) return status;
    if (w->job->text) status = cmd_save_array(s->ctx, w->job->text, after);
    const size_t bytes = sizeof(float) * (size_t)(after->dim[0] * after->dim[1] * after->dim[2]);
    w->words = s->words.n && (cmd_text(s->args, "captions") || memcmp(before->data, after->data, bytes));
    return status || !w->words ? status : cmd_words_compare(&s->words, s->model, before, after);
}

static ltn_status preview(const session *s, work *w)
{
    const ltn_status status = ltn_run_estimate(w->run, &w->x);
    return status ? status : cmd_save(s->ctx, w->job->preview, &w->x, s->args, NULL);
}

static ltn_status steps(const session *s, work *w)
{
    cmd_watch(w->run);
    ltn_status status;
    ltn_progress p = ltn_run_progress(w->run);
    cmd_progress(&p);
    while ((status = ltn_run_step(w->run)) >= 0) {
        p = ltn_run_progress(w->run);
        if (w->steps < MAXSTEP) w->step[w->steps++] = p;
        cmd_progress(&p);
        ltn_image_free(s->ctx, &w->x);
        const ltn_status seen = w->job->preview ? preview(s, w) : LTN_OK;
        if (seen) status = seen;
        if (status) break;
    }
    cmd_progress_end();
    if (status != LTN_DONE) return status;
    ltn_image_free(s->ctx, &w->x);
    return ltn_run_estimate(w->run, &w->x);
}

/* Draws after draw; x becomes their mean. */
static ltn_status draw_all(const session *s, work *w)
{
    const int n = (int)cmd_number(s->args, "samples", 0);
    ltn_status status = LTN_OK;
    for (int k = 0; k < n && !status; k++) {
        if (k) {
            cmd_watch(NULL);
            ltn_run_close(&w->run);
            w->steps = 0;
            status = open_run(s, w, k);
        }
        if (!status) status = steps(s, w);
        if (status) break;
        w->draw[w->draws++] = w->x;
        w->x = (ltn_image){0};
    }
    if (!status) status = cmd_spread(s->ctx, w->draw, n, &w->x, &w->deviation);
    if (!status && w->reference.data)
        cmd_spread_check(w->draw, n, &w->x, &w->deviation, &w->reference, &w->calibration);
    return status;
}

static cmd_path draw_name(const char *path, int k)
{
    char what[64];
    snprintf(what, sizeof what, "sample-%02d%s", k + 1, strrchr(path, '.'));
    return beside(path, what);
}

/* The settings of a draw are those of one picture. */
static ltn_status save_draw(const session *s, work *w, int k)
{
    char seed[32], settings[sizeof w->settings];
    cmd_args own = w->args;
    snprintf(seed, sizeof seed, "%.17g", seed_of(s, k));
    cmd_set(&own, "seed", seed);
    cmd_set(&own, "samples", NULL);
    cmd_settings(&own, w->job->in, settings, sizeof settings);
    return cmd_save(s->ctx, draw_name(w->job->out, k).s, &w->draw[k], s->args, settings);
}

static ltn_status save_spread(const session *s, work *w)
{
    ltn_image map;
    ltn_status status = cmd_spread_map(s->ctx, &w->deviation, &map);
    if (!status) status = cmd_save(s->ctx, beside(w->job->out, "deviation.png").s, &map, s->args, NULL);
    if (!status) status = cmd_save(s->ctx, beside(w->job->out, "deviation.npy").s, &w->deviation, s->args, NULL);
    ltn_image_free(s->ctx, &map);
    for (int k = 0; k < w->draws && !status; k++) status = save_draw(s, w, k);
    return status;
}

/* What was written goes again when not all of it could be. */
static ltn_status save_all(const session *s, work *w)
{
    ltn_status status = w->draws ? save_spread(s, w) : LTN_OK;
    if (!status) status = cmd_save(s->ctx, w->job->out, &w->x, s->args, w->settings);
    if (!status || !w->draws) return status;
    unlink(beside(w->job->out, "deviation.png").s);
    unlink(beside(w->job->out, "deviation.npy").s);
    for (int k = 0; k < w->draws; k++) unlink(draw_name(w->job->out, k).s);
    return status;
}

/* The naive inverse, the restoration and, if there is one, the reference, side by side on white. */
static ltn_status compare(const session *s, const work *w)
{
    enum { GAP = 4 };
    const ltn_image *const panel[] = {&w->naive, &w->x, &w->reference};
    const int n = w->reference.data ? 3 : 2, width = w->x.width, height = w->x.height;
    const bool opaque = n == 3 && w->reference.channels < w->x.channels; /* alpha is not compared then */
    const int channels = opaque ? w->reference.channels : w->x.channels;
    ltn_image out = {0};
    ltn_status status = ltn_image_new(s->ctx, n * width + (n - 1) * GAP, height, channels, NULL, &out);
    if (status) return status;
    const int64_t rows = (int64_t)height * channels;
    for (int64_t i = 0; i < rows * out.width; i++) out.data[i] = 1;
    for (int k = 0; k < n; k++)
        for (int64_t row = 0; row < rows; row++)
            memcpy(out.data + row * out.width + k * (width + GAP), panel[k]->data + row * width,
                   sizeof(float) * (size_t)width);
    status = cmd_save(s->ctx, w->job->compare, &out, s->args, NULL);
    ltn_image_free(s->ctx, &out);
    return status;
}

static void print_report(const session *s, const work *w)
{
    const ltn_progress p = ltn_run_progress(w->run);
    const bool kind = w->estimated && *w->noise_text;
    printf("%s: %d x %d from %d x %d, %s%s%s, %d step%s in %.2f s, peak memory %.0f MB\n", w->job->out,
           w->x.width, w->x.height, w->y.width, w->y.height, kind ? "noise " : "sigma ",
           kind ? w->noise_text : w->sigma_text, w->estimated ? " (estimated)" : "",
           p.step, p.step == 1 ? "" : "s", p.seconds, cmd_peak_memory() / 1e6);
    if (w->found) printf("  degradation %s (estimated)\n", w->degradation_text);
    static const char *const name[] = {"naive", "restored"};
    for (int k = 0; k < 2 && w->reference.data; k++) {
        printf("  %-8s", name[k]);
        for (int i = 0; i < METRICS; i++)
            printf("  %s %.4f", metrics[i], w->metric[k][i]);
        puts("");
    }
    if (w->draws) {
        printf("  %d samples, deviation %.4f", w->draws, cmd_spread_mean(&w->deviation));
        if (w->reference.data) printf("  z-score %.3f", w->calibration.z);
        if (w->reference.data && !isnan(w->calibration.coverage))
            printf("  in the 90 %% interval %.3f", w->calibration.coverage);
        puts("");
    }
    if (w->words) cmd_words_print(&s->words);
}

static void json_step(cmd_json *j, const ltn_progress *p)
{
    cmd_json_open(j, NULL, '{');
    cmd_json_number(j, "step", p->step);
    cmd_json_number(j, "t", p->t);
    cmd_json_number(j, "gamma", p->gamma);
    cmd_json_number(j, "residual", p->residual);
    cmd_json_number(j, "calls", p->calls);
    cmd_json_number(j, "seconds", p->seconds);
    cmd_json_close(j, '}');
}

static void json_metrics(cmd_json *j, const work *w)
{
    static const char *const name[] = {"naive", "restored"};
    cmd_json_open(j, "metrics", '{');
    for (int k = 0; k < 2; k++) {
        cmd_json_open(j, name[k], '{');
        for (int i = 0; i < METRICS; i++)
            cmd_json_number(j, metrics[i], w->metric[k][i]);
        cmd_json_close(j, '}');
    }
    cmd_json_close(j, '}');
}

static void json_spread(cmd_json *j, const work *w)
{
    cmd_json_number(j, "samples", w->draws);
    cmd_json_number(j, "deviation", cmd_spread_mean(&w->deviation));
    if (!w->reference.data) return;
    cmd_json_number(j, "z_score", w->calibration.z);
    cmd_json_number(j, "coverage", w->calibration.coverage);
}

static void json_report(const session *s, const work *w)
{
    cmd_json *j = s->json;
    const ltn_progress p = ltn_run_progress(w->run);
    cmd_json_open(j, NULL, '{');
    cmd_json_text(j, "version", ltn_version());
    cmd_json_text(j, "input", w->job->in);
    cmd_json_text(j, "output", w->job->out);
    cmd_json_text(j, "settings", w->settings);
    cmd_json_text(j, "model", s->model_path);
    cmd_json_text(j, "degradation", cmd_text(&w->args, "degradation"));
    cmd_json_number(j, "sigma", cmd_number(&w->args, "sigma", 0));
    cmd_json_text(j, "noise", cmd_text(&w->args, "noise"));
    cmd_json_bool(j, "sigma_estimated", w->estimated);
    cmd_json_text(j, "solver", cmd_text(&w->args, "solver"));
    cmd_json_text(j, "prompt", cmd_text(&w->args, "prompt"));
    cmd_json_number(j, "seed", cmd_number(&w->args, "seed", 0));
    cmd_json_number(j, "width", w->x.width);
    cmd_json_number(j, "height", w->x.height);
    cmd_json_number(j, "channels", w->x.channels);
    cmd_json_number(j, "seconds", p.seconds);
    cmd_json_number(j, "peak_memory", cmd_peak_memory());
    cmd_json_number(j, "calls", p.calls);
    cmd_json_open(j, "steps", '[');
    for (int i = 0; i < w->steps; i++) json_step(j, &w->step[i]);
    cmd_json_close(j, ']');
    if (w->reference.data) json_metrics(j, w);
    if (w->draws) json_spread(j, w);
    if (w->words) cmd_words_json(&s->words, j);
    cmd_json_close(j, '}');
}

static int restore_one(session *s, const job *paths)
{
    const char *const out[] = {paths->out, paths->compare, paths->preview, paths->text};
    for (int i = 0; i < 4; i++) {
        const int code = out[i] ? cmd_check_out(out[i]) : CMD_DONE;
        if (code) return code;
    }
    static work w; /* too large for a stack that may be small */
    w = (work){.job = paths, .args = *s->args};
    ltn_status status = prepare(s, &w);
    if (!status) status = cmd_given(s->args, "samples") ? draw_all(s, &w) : steps(s, &w);
    if (!status && w.reference.data) status = measure(s, &w.x, &w.reference, w.metric[1]);
    if (!status) status = save_all(s, &w);
    if (!status && paths->compare) status = compare(s, &w);
    if (!status) status = look_at_text(s, &w);
    int code = CMD_DONE;
    if (status && w.kernel) unlink(beside(paths->out, "kernel.png").s);
    if (status) {
        code = cmd_fail(s->ctx, status);
    } else {
        print_report(s, &w);
        if (s->json) json_report(s, &w);
    }
    close_work(s, &w);
    return code;
}

/* A measurement in .npy becomes a picture; pictures keep their names. */
static cmd_path result_name(const char *name)
{
    cmd_path p;
    const char *dot = strrchr(name, '.');
    const bool array = !strcmp(dot, ".npy");
    snprintf(p.s, sizeof p.s, "%.*s%s", (int)(dot - name), name, array ? ".png" : dot);
    return p;
}

static cmd_path text_name(const char *name)
{
    cmd_path p;
    snprintf(p.s, sizeof p.s, "%.*s.npy", (int)(strrchr(name, '.') - name), name);
    return p;
}

static cmd_path within(const char *folder, const char *name)
{
    return cmd_join(folder ? folder : "", name);
}

static int restore_named(session *s, const job *all, const char *name)
{
    const cmd_path result = result_name(name), in = within(all->in, name), out = within(all->out, result.s);
    const cmd_path reference = within(all->reference, result.s), beside = within(all->compare, result.s);
    const cmd_path preview = within(all->preview, result.s), text = within(all->text, text_name(name).s);
    const job one = {.in = in.s, .out = out.s, .reference = all->reference ? reference.s : NULL,
                     .compare = all->compare ? beside.s : NULL, .preview = all->preview ? preview.s : NULL,
                     .text = all->text ? text.s : NULL};
    return restore_one(s, &one);
}

static int restore_folder(session *s, const job *all)
{
    char **name;
    int n, worst = cmd_names(all->in, &name, &n);
    const char *const folder[] = {all->out, all->compare, all->preview, all->text};
    for (int i = 0; i < 4 && !worst; i++) {
        if (folder[i]) worst = cmd_make_folder(folder[i]);
        if (!worst && folder[i] && cmd_same_file(all->in, folder[i]))
            worst = cmd_usage("%s: is the folder of the pictures themselves", folder[i]);
    }
    const bool stop = worst;
    for (int i = 0; i < n && !stop && !cmd_caught(); i++)
        if (restore_named(s, all, name[i])) worst = CMD_FAILED;
    cmd_names_free(name, n);
    return worst;
}

static int restore_all(session *s, const job *j)
{
    char *text = NULL;
    size_t size;
    const char *file = cmd_text(s->args, "json");
    const bool folder = cmd_is_folder(j->in);
    cmd_json json = {.f = file ? open_memstream(&text, &size) : NULL};
    s->json = json.f ? &json : NULL;
    if (json.f && folder) cmd_json_open(&json, NULL, '[');
    int code = folder ? restore_folder(s, j) : restore_one(s, j);
    if (json.f && folder) cmd_json_close(&json, ']');
    if (json.f) {
        fclose(json.f);
        if (*text && cmd_write_text(file, text)) code = CMD_FAILED;
        free(text);
    }
    return code;
}

/* The list that comes with a model need not be there. */
static int open_words(session *s)
{
    const char *given = cmd_text(s->args, "captions");
    const cmd_path own = cmd_join(s->model_path, "captions.txt");
    return given ? cmd_words_open(&s->words, given) : access(own.s, R_OK) ? CMD_DONE : cmd_words_open(&s->words, own.s);
}

/* Who asks for several pictures wants them as different as they may be. */
static int run(ltn_ctx *ctx, const cmd_args *given)
{
    cmd_path path;
    cmd_args own = *given;
    const cmd_args *const a = &own;
    if (cmd_given(a, "samples") && !cmd_given(a, "solver")) cmd_set(&own, "solver", "latino-sde");
    if (cmd_model_path(a, &path)) return CMD_FAILED;
    session s = {.ctx = ctx, .args = a, .model_path = path.s};
    const job j = {.in = a->operand[0], .out = cmd_text(a, "o"), .reference = cmd_text(a, "reference"),
                   .compare = cmd_text(a, "compare"), .preview = cmd_text(a, "preview"),
                   .text = cmd_text(a, "save-text")};
    int code = open_words(&s);
    ltn_status status = LTN_OK;
    if (!code && cmd_text(a, "text")) status = ltn_array_read(ctx, cmd_text(a, "text"), &s.text);
    if (!code && !status) status = cmd_model_open(ctx, path.s, a, &s.model);
    if (!code) code = status ? cmd_fail(ctx, status) : restore_all(&s, &j);
    ltn_model_close(&s.model);
    ltn_array_free(ctx, &s.text);
    cmd_words_close(&s.words);
    return code;
}

static const cmd_option options[] = {
    CMD_OUT("where the restored picture goes"),
    CMD_DEGRADATION,
    {.name = "sigma", .value = "S|auto", .type = CMD_REAL, .max = 10, .setting = true, .automatic = true,
     .help = "standard deviation of the noise in IN, white being 1; auto, or nothing: estimated from IN"},
    {.name = "noise", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_NOISES, .setting = true,
     .help = "what the noise in IN is, for instance poisson:peak=30 (latino list noises); a bare name such as "
             "poisson-gaussian has its strength estimated from IN; without it white and gaussian"},
    CMD_MODEL,
    CMD_LORA,
    {.name = "prompt", .value = "TEXT", .type = CMD_TEXT, .def = "", .setting = true,
     .help = "what the picture shows"},
    {.name = "text", .value = "FILE", .type = CMD_FILE, .setting = true,
     .help = "a text that --save-text wrote, in the prompt's place"},
    {.name = "solver", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_SOLVERS, .def = "latino",
     .setting = true,
     .help = "for instance latino:steps=8 (latino list solvers)"},
    {.name = "guidance", .value = "W", .type = CMD_REAL, .max = 100, .setting = true,
     .help = "told to models that take it as an input (LCM's full models); without it 8.5"},
    CMD_SEED,
    {.name = "samples", .value = "N", .type = CMD_INT, .min = 2, .max = MAXDRAW, .setting = true,
     .help = "draws N pictures that explain IN, with the seeds from --seed on: OUT becomes their mean, and beside it "
             "lie OUT-sample-01 and so on, and OUT-deviation as a map in false colours (.png, white being 1) and in "
             ".npy; the solver is latino-sde unless --solver says otherwise"},
    {.name = "reference", .value = "X", .type = CMD_FILE,
     .help = "the true picture: prints PSNR and SSIM of the naive inverse and of the restoration"},
    {.name = "compare", .value = "FILE", .type = CMD_FILE,
     .help = "writes naive inverse, restoration and reference side by side"},
    {.name = "preview", .value = "FILE", .type = CMD_FILE, .help = "writes the estimate after every step"},
    {.name = "json", .value = "FILE", .type = CMD_FILE,
     .help = "writes settings, time, memory, steps and metrics; - is standard output"},
    {.name = "save-text", .value = "FILE", .type = CMD_FILE,
     .help = "writes the text that conditioned the model, as solver latino-pro found it, in .npy"},
    {.name = "captions", .value = "FILE", .type = CMD_FILE,
     .help = "captions, one a line: prints which are nearest to the text before and after; without it those "
             "that come with the model, where the solver changes the text"},
    CMD_BITS,
    CMD_QUALITY,
    CMD_FROM,
    CMD_THREADS,
    CMD_MEMORY,
    {.name = NULL},
};

const cmd_verb cmd_restore = {
    .name = "restore",
    .operands = "IN",
    .summary = "restores a picture, or a folder of them, with a model",
    .about = "Finds the picture that the model finds likely and that the degradation turns into IN. IN is "
             "a picture, a measurement in .npy, or a folder; with a folder, OUT, --reference, --compare "
             "and --preview are folders too, pictures keep their names, and one that fails does not stop "
             "the others.",
    .min_operands = 1,
    .max_operands = 1,
    .option = options,
    .run = run,
};
