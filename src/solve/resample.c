/* resample.c - ReSample: latent diffusion with hard data consistency (arXiv 2307.08123, ICLR 2024).
 *
 *     z0  = f(z, t),   z' = sqrt(ab') z0 + sqrt(1 - ab') eps_hat                DDIM from ab to ab'
 * and every few steps, once the noise has come down,
 *     z0y = argmin |y - A D(z)|^2, from z0, stopped at the noise level
 *     z   ~ N((s^2 sqrt(ab') z0y + (1 - ab') z') / (s^2 + 1 - ab'), s^2 (1 - ab') / (s^2 + 1 - ab')),
 *           s^2 = gamma (1 - ab') / ab (1 - ab / ab').
 * In the first, pixel stage z0y = E(x), where x is as near to D(z0) as |y - A x|^2 = m (tau sigma)^2
 * allows, in closed form. In the later, latent stage gradients descend through the decoder. The last step
 * always ends with the data. */
#include "diffusion.h"

#include <math.h>
#include <string.h>

static const double floor_sigma = 1e-3; /* where y is exact the latent stage stops at this error */

typedef struct resample {
    const ltn_problem *q;
    ltn_problem goal; /* the same with sigma times tau */
    ltn_prior *p;
    int step, steps, draws, pixel_from, latent_from, interval, inner;
    double gamma;
    float *x, *u;                         /* the estimate; a prediction or a gradient */
    float *z, *z0, *g, *before, *eps, *r; /* latents, gradients; r: a measurement */
} resample;

/* x nearest to D(z0) among those that explain y to the noise; z0 = E(x). */
static ltn_status pixel_consistency(resample *s, int t, ltn_progress *progress)
{
    ltn_status status = s->p->decode(s->p, s->z0, s->u);
    if (status) return status;
    const ltn_rule_input in = {.q = &s->goal, .p = s->p, .t = t, .u = s->u, .x = s->x, .r = s->r};
    progress->gamma = ltn__rule_named("discrepancy")->gamma(&in);
    if (progress->gamma > 0) ltn__prox(s->q->a, s->q->y, progress->gamma, s->u, s->x);
    else memcpy(s->x, s->u, ltn__size_count(s->q->a->x) * sizeof *s->x);
    return s->p->encode(s->p, s->x, s->z0);
}

/* a of the step -a g: first Polyak's, then that of Barzilai and Borwein, <dz, dg> / <dg, dg> with dz = -a
 * before, but no farther than where, on the parabola of that curvature, |y - A D(z)| comes down to
 * `enough`. Descent keeps to the gradients' span: what the data do not see stays as the diffusion has it
 * (Adam, which the release takes, moves it too). */
static double step_size(const resample *s, double residual, double enough, double a)
{
    double square = 1e-30, along = 0, bend = 0;
    for (size_t i = 0; i < s->p->latent_count; i++) {
        const double g = s->g[i], dg = g - s->before[i];
        square += g * g;
        along -= dg * s->before[i];
        bend += dg * dg;
    }
    const double excess = (residual * residual - enough * enough) / square;
    if (a * along <= 0) return excess / 2;
    a *= along / bend;
    return a * (1 - sqrt(fmax(1 - excess / a, 0)));
}

/* z0 by gradient descent on |y - A D(z0)|^2 / 2, x = D(z0). */
static ltn_status latent_consistency(resample *s)
{
    const double enough = fmax(s->goal.sigma, floor_sigma) * sqrt((double)ltn__measured(s->q->a, NULL));
    double a = 0;
    for (int k = 0;; k++) {
        ltn_status status = s->p->decode_kept(s->p, s->z0, s->x);
        if (status) return status;
        const double residual = ltn__data_gradient(s->q, s->x, s->r, s->u);
        if (residual <= enough || k == s->inner) return LTN_OK;
        if ((status = s->p->decode_back(s->p, s->u, s->g))) return status;
        a = step_size(s, residual, enough, a);
        for (size_t i = 0; i < s->p->latent_count; i++) s->z0[i] -= (float)a * s->g[i];
        float *before = s->before;
        s->before = s->g;
        s->g = before;
    }
}

/* z, which holds z' at `ab`, is drawn anew about z0y; `before` is alpha_bar one step earlier. */
static void draw_anew(resample *s, double before, double ab)
{
    const double s2 = s->gamma * (1 - ab) / before * (1 - before / ab), w = s2 / (s2 + 1 - ab);
    const float to_z0 = (float)(w * sqrt(ab)), to_z = (float)(1 - w), to_eps = (float)sqrt(w * (1 - ab));
    ltn__step_noise(s->q, s->p, s->draws++, s->eps);
    for (size_t i = 0; i < s->p->latent_count; i++)
        s->z[i] = to_z0 * s->z0[i] + to_z * s->z[i] + to_eps * s->eps[i];
}

static ltn_status resample_step(void *state, ltn_progress *progress)
{
    resample *s = state;
    const int k = s->step, t = ltn__grid_time(s->p, s->steps, 1, k);
    const bool last = k == s->steps - 1;
    const double ab = s->p->alpha_bar[t], next = ltn__grid_alpha_bar(s->p, s->steps, 1, k + 1);
    if (!k) ltn__step_noise(s->q, s->p, s->draws++, s->z);
    ltn_status status = s->p->predict(s->p, s->z, t, s->z0);
    if (status) return status;
    ltn__diffusion_step(s->p, ab, next, 0, s->z0, NULL, s->z);
    if (last || (k >= s->pixel_from && (k - s->pixel_from) % s->interval == 0)) {
        status = k < s->latent_from ? pixel_consistency(s, t, progress) : latent_consistency(s);
        if (status) return status;
        if (!last) draw_anew(s, ab, next);
        progress->residual = ltn__chi(s->q, s->x, s->r);
    }
    progress->step = ++s->step;
    progress->t = t;
    return last ? LTN_DONE : LTN_OK;
}

static const float *resample_estimate(const void *state)
{
    const resample *s = state;
    return s->x;
}

static void resample_close(ltn_ctx *ctx, void *state)
{
    resample *s = state;
    float *const block[] = {s->x, s->u, s->z, s->z0, s->g, s->before, s->eps, s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status resample_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state,
                                int *steps)
{
    resample *s = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *state = s;
    s->q = q;
    s->goal = *q;
    s->goal.sigma *= ltn__num(spec, "tau");
    s->p = p;
    *steps = s->steps = (int)ltn__num(spec, "steps");
    s->interval = (int)ltn__num(spec, "interval");
    s->inner = (int)ltn__num(spec, "inner");
    s->pixel_from = (int)(s->steps * ltn__num(spec, "pixel"));
    s->latent_from = (int)(s->steps * ltn__num(spec, "latent"));
    s->gamma = ltn__num(spec, "gamma");
    float **const picture[] = {&s->x, &s->u}, **const latent[] = {&s->z, &s->z0, &s->g, &s->before, &s->eps};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (!(s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r))) return LTN_ENOMEM;
    ltn__naive(q->a, q->y, s->x);
    return LTN_OK;
}

static const ltn_param resample_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 50, .min = 1, .max = 1000},
    {.name = "interval", .help = "steps from one hard consistency to the next", .type = LTN_INT, .def = 4,
     .min = 1, .max = 1000},
    {.name = "pixel", .help = "the fraction of the steps after which consistency begins, among pixels",
     .type = LTN_FLOAT, .def = 0.33, .min = 0, .max = 1},
    {.name = "latent", .help = "and from which on it is sought among latents", .type = LTN_FLOAT, .def = 0.6,
     .min = 0, .max = 1},
    {.name = "inner", .help = "at most so many steps through the decoder each time", .type = LTN_INT,
     .def = 10, .min = 0, .max = 10000},
    {.name = "tau", .help = "y is explained when |A x - y| = tau sigma sqrt(m)", .type = LTN_FLOAT, .def = 1,
     .min = 0, .max = 100},
    {.name = "gamma", .help = "how far the new draw follows the data rather than the diffusion",
     .type = LTN_FLOAT, .def = 40, .min = 0, .max = 1e9},
    {0},
};

const ltn_solver_row ltn__solver_resample = {
    .entry = {.name = "resample", .help = "latent diffusion with hard data consistency",
              .cite = "arXiv 2307.08123", .param = resample_params},
    .needs_prior = true,
    .open = resample_open,
    .step = resample_step,
    .estimate = resample_estimate,
    .close = resample_close,
};
