/* generate.c - a picture from a prompt alone: noise, then f(z, t, c) along the schedule's own steps.
 *
 * A consistency model (LCMScheduler) renoises its prediction, z' = sqrt(ab') z0 + sqrt(1 - ab') eps (Luo et al. 2023); any
 * other goes on along its predicted noise, z' = sqrt(ab') z0 + sqrt(1 - ab') (z - sqrt(ab) z0) / sqrt(1 - ab) (DDIM). */
#include <math.h>

#include "prior.h"

typedef struct generator {
    ltn_prior *p;
    const ltn_schedule *schedule;
    ltn_rng rng;
    float *z, *z0, *eps;
    int t[1000];
} generator;

static void next_latent(generator *g, int step, int t, int next)
{
    double ab = g->schedule->alpha_bar[t], to = g->schedule->alpha_bar[next], a = sqrt(to), b = sqrt(1 - to);
    size_t n = g->p->latent_count;
    if (g->schedule->consistency)
        ltn__normals((ltn_rng){g->rng.seed, g->rng.stream + (uint64_t)step + 1}, 0, g->eps, n);
    else
        for (size_t i = 0; i < n; i++) g->eps[i] = (float)((g->z[i] - sqrt(ab) * g->z0[i]) / sqrt(1 - ab));
    for (size_t i = 0; i < n; i++) g->z[i] = (float)(a * g->z0[i] + b * g->eps[i]);
}

static ltn_status run_generator(generator *g, int steps)
{
    steps = ltn__schedule_steps(g->schedule, steps, g->t);
    ltn__normals(g->rng, 0, g->z, g->p->latent_count);
    for (int k = 0; k < steps; k++) {
        ltn_status s = g->p->predict(g->p, g->z, g->t[k], g->z0);
        if (s) return s;
        if (k + 1 < steps) next_latent(g, k, g->t[k], g->t[k + 1]);
    }
    return LTN_OK;
}

ltn_status ltn_generate(ltn_ctx *ctx, const ltn_generation *o, ltn_image *out)
{
    ltn_model *m = o->model;
    int side = m->sample_size * m->factor, steps = o->steps ? o->steps : 8;
    ltn_size size = {o->width ? o->width : side, o->height ? o->height : side, 3};
    generator g = {.schedule = &m->schedule, .rng = {o->seed, LTN_STREAM_SOLVER}};
    *out = (ltn_image){0};
    if (size.width < 1 || size.height < 1) return ltn__fail(ctx, LTN_EINVAL, "a picture cannot be %d x %d", size.width, size.height);
    if (steps < 1 || steps > LTN_MIN(LTN_COUNT(g.t), m->schedule.train_steps))
        return ltn__fail(ctx, LTN_EINVAL, "steps must be 1 .. %d, not %d", LTN_MIN(LTN_COUNT(g.t), m->schedule.train_steps), steps);
    ltn_status s = ltn__prior_open(m, size, o->prompt ? o->prompt : "", &g.p);
    if (s) return s;
    g.z = ltn__alloc(ctx, g.p->latent_count, sizeof *g.z);
    g.z0 = ltn__alloc(ctx, g.p->latent_count, sizeof *g.z0);
    g.eps = ltn__alloc(ctx, g.p->latent_count, sizeof *g.eps);
    s = g.z && g.z0 && g.eps ? run_generator(&g, steps) : LTN_ENOMEM;
    if (!s) s = ltn_image_new(ctx, size.width, size.height, 3, NULL, out);
    if (!s) s = g.p->decode(g.p, g.z0, out->data);
    if (!s)
        for (size_t i = 0; i < ltn__size_count(size); i++) out->data[i] = (out->data[i] + 1) / 2;
    ltn__free(ctx, g.z);
    ltn__free(ctx, g.z0);
    ltn__free(ctx, g.eps);
    ltn__prior_close(&g.p);
    return s;
}
