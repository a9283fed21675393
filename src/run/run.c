/* run.c - one restoration: binds a picture, a model and a degradation to a solver.
 *
 * Users' pictures are in [0, 1], solvers work in [-1, 1]; alpha stays outside and is resized with the picture. */
#include <math.h>
#include <string.h>

#include "prior.h"

struct ltn_run {
    ltn_ctx *ctx;
    ltn_arena arena;
    ltn_problem problem;
    ltn_degradation a; /* the task's, for pictures in [-1, 1] and this measurement's noise */
    ltn_spec noise_spec;
    ltn_prior *prior;
    const ltn_solver_row *solver;
    void *state;
    float *y, *noise; /* in [-1, 1]; the caller's draws in the prior's order */
    ltn_image alpha;  /* resized to x's size; data NULL: none */
    ltn_meta *meta;
    ltn_progress progress;
    bool done;
    atomic_bool cancel;
};

static bool has_alpha(const ltn_image *y, const ltn_degradation *d)
{
    return y->channels == d->y.channels + 1 && y->channels % 2 == 0;
}

static ltn_status check_task(ltn_ctx *ctx, const ltn_task *t)
{
    const ltn_degradation *d = t->degradation;
    if (!d || !t->y) return ltn__fail(ctx, LTN_EINVAL, "a task needs a degradation and a measurement");
    const ltn_image *y = t->y;
    if (y->width != d->y.width || y->height != d->y.height || (y->channels != d->y.channels && !has_alpha(y, d)))
        return ltn__fail(ctx, LTN_ESHAPE, "the measurement is %d x %d with %d channels; \"%s\" gives %d x %d with %d",
                         y->width, y->height, y->channels, d->spec, d->y.width, d->y.height, d->y.channels);
    if (isnan(t->sigma) || isinf(t->sigma)) return ltn__fail(ctx, LTN_EINVAL, "sigma is not a number");
    size_t n = (size_t)y->width * (size_t)y->height * (size_t)y->channels;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(y->data[i]))
            return ltn__fail(ctx, LTN_EINVAL, "the measurement holds values that are not finite");
    return LTN_OK;
}

/* A likelihood other than that of white gaussian noise. */
static ltn_status take_noise_kind(ltn_run *r, const ltn_task *t, double sigma)
{
    if (!t->noise_kind) return LTN_OK;
    const ltn_status s =
        ltn__spec_parse(r->ctx, "noise", ltn__noise_entry, t->noise_kind, &r->arena, &r->noise_spec);
    return s ? s : ltn__likelihood_open(&r->a, &r->noise_spec, t->y->data, sigma);
}

static ltn_status take_measurement(ltn_run *r, const ltn_task *t)
{
    const ltn_degradation *d = t->degradation;
    ltn_status s = LTN_OK;
    r->y = ltn__alloc(r->ctx, ltn__size_count(d->y), sizeof *r->y);
    if (!r->y) return LTN_ENOMEM;
    r->a = ltn__signed(d);
    r->problem = (ltn_problem){.ctx = r->ctx, .a = &r->a, .y = r->y, .rng = {t->seed, LTN_STREAM_SOLVER}};
    double sigma = t->sigma;
    if (sigma < 0) s = ltn_noise_level(t->degradation, t->y, t->noise_kind, &sigma);
    if (!s) s = take_noise_kind(r, t, sigma);
    ltn__to_signed(&r->a, t->y->data, r->y);
    r->problem.sigma = 2 * sigma;
    if (s || (s = ltn__meta_copy(r->ctx, t->y->meta, &r->meta)) || !has_alpha(t->y, d)) return s;
    ltn_image plane = {t->y->width, t->y->height, 1, t->y->data + ltn__size_count(d->y), NULL};
    return ltn_image_resize(r->ctx, &plane, d->x.width, d->x.height, &r->alpha);
}

/* The caller's draws (steps, c, h, w) in the prior's order (steps, h, w, c). */
static ltn_status take_noise(ltn_run *r, const ltn_array *a)
{
    if (!a) return LTN_OK;
    int64_t l[3];
    ltn__prior_latent(r->prior, l);
    if (a->rank != 4 || a->dim[0] < 1 || a->dim[1] != l[2] || a->dim[2] != l[0] || a->dim[3] != l[1])
        return ltn__fail(r->ctx, LTN_ESHAPE, "the noise must be draws of %lld x %lld x %lld", (long long)l[2],
                         (long long)l[0], (long long)l[1]);
    r->noise = ltn__alloc(r->ctx, (size_t)a->dim[0] * r->prior->latent_count, sizeof *r->noise);
    if (!r->noise) return LTN_ENOMEM;
    ltn__to_last(a->data, r->noise, a->dim[0], l[2], l[0] * l[1]);
    r->problem.noise = r->noise;
    r->problem.noise_count = (int)a->dim[0];
    return LTN_OK;
}

/* The caller's text in the prompt's place. */
static ltn_status take_text(ltn_run *r, const ltn_array *a)
{
    const ltn_prior *p = r->prior;
    if (!a) return LTN_OK;
    if (!p->tokens) return ltn__fail(r->ctx, LTN_EINVAL, "the model works in pixels and takes no text");
    int64_t width = (int64_t)(p->text_count / (size_t)p->tokens);
    if (a->rank != 3 || a->dim[0] != 1 || a->dim[1] != p->tokens || a->dim[2] != width)
        return ltn__fail(r->ctx, LTN_ESHAPE, "the text must be 1 x %d x %lld for this model", p->tokens,
                         (long long)width);
    for (size_t i = 0; i < p->text_count; i++)
        if (!isfinite(a->data[i])) return ltn__fail(r->ctx, LTN_EINVAL, "the text holds values that are not finite");
    memcpy(p->text, a->data, p->text_count * sizeof *p->text);
    return LTN_OK;
}

static ltn_status open_solver(ltn_run *r, const ltn_task *t)
{
    ltn_spec spec;
    ltn_status s = ltn__spec_parse(r->ctx, "solver", ltn__solver_entry, t->solver ? t->solver : "latino", &r->arena,
                                   &spec);
    if (s) return s;
    r->solver = ltn__solver_row(spec.row);
    if (!r->solver->nonlinear && (s = ltn__linear_needed(&r->a, r->solver->entry.name))) return s;
    if (r->solver->needs_prior) {
        if (!t->model) return ltn__fail(r->ctx, LTN_EINVAL, "solver %s needs a model", r->solver->entry.name);
        s = ltn__prior_open(t->model, t->degradation->x, t->prompt ? t->prompt : "", &r->prior);
        if (!s) s = take_text(r, t->text);
        if (!s && t->guidance) s = ltn__prior_guide(r->prior, t->guidance);
        if (!s && r->solver->needs_pixels && !r->prior->pixels)
            s = ltn__fail(r->ctx, LTN_EINVAL, "solver %s needs a model that works in pixels", r->solver->entry.name);
        if (!s && r->solver->needs_text && !r->prior->tokens)
            s = ltn__fail(r->ctx, LTN_EINVAL, "solver %s needs a model that takes text", r->solver->entry.name);
    }
    if (!s) s = r->solver->open(&r->problem, r->prior, &spec, &r->state, &r->progress.steps);
    if (!s && r->prior) s = take_noise(r, t->noise);
    return s;
}

ltn_status ltn_run_open(ltn_ctx *ctx, const ltn_task *task, ltn_run **out)
{
    *out = NULL;
    ltn_status s = check_task(ctx, task);
    if (s) return s;
    ltn_run *r = ltn__alloc(ctx, 1, sizeof *r);
    if (!r) return LTN_ENOMEM;
    r->ctx = r->arena.ctx = ctx;
    double start = ltn__seconds();
    if ((s = take_measurement(r, task)) || (s = open_solver(r, task))) {
        ltn_run_close(&r);
        return s;
    }
    r->progress.sigma = r->problem.sigma / 2;
    r->progress.seconds = ltn__seconds() - start;
    *out = r;
    return LTN_OK;
}

ltn_status ltn_run_step(ltn_run *r)
{
    if (atomic_load(&r->cancel)) return ltn__fail(r->ctx, LTN_ECANCEL, "cancelled");
    if (r->done) return LTN_DONE;
    double start = ltn__seconds();
    ltn_status s = r->solver->step(r->state, &r->progress);
    r->progress.seconds += ltn__seconds() - start;
    if (r->prior) r->progress.calls = r->prior->calls, r->progress.gradients = r->prior->gradients;
    r->done = s == LTN_DONE;
    return s;
}

ltn_progress ltn_run_progress(const ltn_run *r)
{
    return r->progress;
}

void ltn_run_cancel(ltn_run *r)
{
    atomic_store(&r->cancel, true);
}

ltn_status ltn_run_estimate(ltn_run *r, ltn_image *x)
{
    ltn_size size = r->problem.a->x;
    size_t n = ltn__size_count(size);
    const ltn_image like = {.meta = r->meta};
    ltn_status s = ltn_image_new(r->ctx, size.width, size.height, size.channels + (r->alpha.data != NULL), &like, x);
    if (s) return s;
    const float *estimate = r->solver->estimate(r->state);
    for (size_t i = 0; i < n; i++) x->data[i] = (estimate[i] + 1) / 2;
    if (r->alpha.data) memcpy(x->data + n, r->alpha.data, (size_t)size.width * (size_t)size.height * sizeof *x->data);
    return LTN_OK;
}

ltn_status ltn_run_text(ltn_run *r, ltn_array *out)
{
    const ltn_prior *p = r->prior;
    *out = (ltn_array){0};
    if (!p || !p->tokens) return LTN_OK;
    float *data = ltn__alloc(r->ctx, p->text_count, sizeof *data);
    if (!data) return LTN_ENOMEM;
    memcpy(data, p->text, p->text_count * sizeof *data);
    *out = (ltn_array){3, {1, p->tokens, (int64_t)(p->text_count / (size_t)p->tokens)}, data};
    return LTN_OK;
}

void ltn_run_close(ltn_run **pr)
{
    ltn_run *r = pr ? *pr : NULL;
    if (!r) return;
    if (r->state) r->solver->close(r->ctx, r->state);
    ltn__prior_close(&r->prior);
    ltn__likelihood_close(&r->a);
    ltn__free(r->ctx, r->y);
    ltn__free(r->ctx, r->noise);
    ltn_image_free(r->ctx, &r->alpha);
    ltn__meta_free(r->ctx, r->meta);
    ltn__arena_free(&r->arena);
    ltn__free(r->ctx, r);
    *pr = NULL;
}
