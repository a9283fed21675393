/* ddnm.c - denoising diffusion null-space models (Wang et al. 2022, arXiv 2212.00490): what A sees of a prediction is
 * replaced by the data,
 *
 *     x0' = x0 + A^+ (y - A x0),      z <- sqrt(ab') x0' + sqrt(1 - ab') (eta eps + sqrt(1 - eta^2) eps_hat).
 *
 * With noise in y (ddnm+, by singular values s, in units of x = z / sqrt(ab), level l', deviation e = sigma / s of the
 * data d):
 *     c' = c0 + lambda (d - c0) + phi eps,     lambda = 1, phi^2 = l'^2 - e^2                       where l' >= e,
 *                                              lambda = sqrt(1 - eta^2) l' / e, phi = eta l'        elsewhere.
 * Time travel: every `travel` steps the last `travel` are gone again, `repeat` times in all, from z noised back to
 * there. */
#include "spectral.h"

#include <math.h>

typedef struct ddnm {
    ltn_spectral d;
    int step, steps, all; /* steps of the grid; with all that is repeated */
    int k, pass, draws;   /* where on the grid; how often this stretch was gone; draws so far */
    int travel, repeat;
    double eta, spacing;
} ddnm;

static double next_value(const void *how, double c0, double data, double e, double level, double draw)
{
    const ddnm *s = how;
    const double lambda = level >= e ? 1 : sqrt(1 - s->eta * s->eta) * level / e;
    const double phi = level >= e ? sqrt(level * level - e * e) : s->eta * level;
    return c0 + lambda * (data - c0) + phi * draw;
}

/* x becomes x0', z0 with it. */
static ltn_status replace_data(ltn_spectral *d)
{
    const size_t m = ltn__size_count(d->q->a->y), n = ltn__size_count(d->q->a->x);
    ltn__forward(d->q->a, d->x, d->r);
    for (size_t i = 0; i < m; i++) d->r[i] = d->q->y[i] - d->r[i];
    ltn__pseudo_inverse(d->q->a, d->r, d->dx);
    for (size_t i = 0; i < n; i++) d->x[i] += d->dx[i];
    return LTN_OK;
}

static ltn_status exact_step(ddnm *s, double ab, double next)
{
    ltn_spectral *d = &s->d;
    const double keep = sqrt(1 - s->eta * s->eta);
    for (size_t i = 0; i < d->p->latent_count; i++) {
        const double toward = (d->z[i] - sqrt(ab) * d->z0[i]) / sqrt(1 - ab), draw = next < 1 ? s->eta * d->eps[i] : 0;
        d->z[i] = (float)(sqrt(next) * d->z0[i] + sqrt(1 - next) * (draw + keep * toward));
    }
    replace_data(d);
    return ltn__add_picture(d->p, d->dx, sqrt(next), d->eps, d->z);
}

/* Back by `travel` steps of the grid. */
static void go_back(ddnm *s)
{
    ltn_spectral *d = &s->d;
    const double ab = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, s->k);
    s->k -= s->travel;
    const double part = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, s->k) / ab;
    ltn__step_noise(d->q, d->p, s->draws++, d->eps);
    for (size_t i = 0; i < d->p->latent_count; i++)
        d->z[i] = (float)(sqrt(part) * d->z[i] + sqrt(1 - part) * d->eps[i]);
}

static bool ends_stretch(const ddnm *s)
{
    return s->k % s->travel == 0 && s->k < s->steps;
}

static ltn_status ddnm_step(void *state, ltn_progress *progress)
{
    ddnm *s = state;
    ltn_spectral *d = &s->d;
    if (!s->step) ltn__step_noise(d->q, d->p, s->draws++, d->z);
    const int t = ltn__grid_time(d->p, s->steps, s->spacing, s->k);
    const double ab = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, s->k);
    const double next = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, s->k + 1);
    ltn_status status = d->p->predict(d->p, d->z, t, d->z0);
    if (status || (status = d->p->decode(d->p, d->z0, d->x))) return status;
    s->step++;
    s->k++;
    if (s->k < s->steps) ltn__step_noise(d->q, d->p, s->draws++, d->eps);
    status = d->count ? ltn__spectral_step(d, ab, next, s->eta, next_value, s) : exact_step(s, ab, next);
    if (status) return status;
    if (s->k == s->steps && d->count && (status = d->p->decode(d->p, d->z, d->x))) return status;
    progress->step = s->step;
    progress->t = t;
    progress->residual = ltn__chi(d->q, d->x, d->r);
    if (s->k == s->steps) return LTN_DONE;
    if (ends_stretch(s) && ++s->pass < s->repeat) go_back(s);
    else if (ends_stretch(s)) s->pass = 0;
    return LTN_OK;
}

static const float *ddnm_estimate(const void *state)
{
    return ((const ddnm *)state)->d.x;
}

static void ddnm_close(ltn_ctx *ctx, void *state)
{
    ltn__spectral_close(&((ddnm *)state)->d);
    ltn__free(ctx, state);
}

static ltn_status ddnm_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state, int *steps)
{
    ddnm *s = *state = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    s->eta = ltn__num(spec, "eta");
    s->spacing = ltn__num(spec, "spacing");
    s->travel = (int)ltn__num(spec, "travel");
    s->repeat = (int)ltn__num(spec, "repeat");
    s->steps = LTN_MIN((int)ltn__num(spec, "steps"), p->train_steps);
    *steps = s->all = s->steps + (s->steps - 1) / s->travel * s->travel * (s->repeat - 1);
    return ltn__spectral_open(&s->d, q, p, "ddnm with noise", q->sigma > 0);
}

static const ltn_param ddnm_params[] = {
    {.name = "steps", .help = "of the grid, a network call each", .type = LTN_INT, .def = 100, .min = 1, .max = 1000},
    LTN_SPACING_PARAM,
    {.name = "eta", .help = "fresh noise in every step", .type = LTN_FLOAT, .def = 0.85, .max = 1},
    {.name = "travel", .help = "steps that time travel goes back", .type = LTN_INT, .def = 1, .min = 1, .max = 1000},
    {.name = "repeat", .help = "times that every stretch of time travel is gone; 1: no time travel", .type = LTN_INT,
     .def = 1, .min = 1, .max = 100},
    {0},
};

const ltn_solver_row ltn__solver_ddnm = {
    .entry = {.name = "ddnm", .alias = "ddnm+", .cite = "arXiv 2212.00490", .param = ddnm_params,
              .help = "a diffusion in pixels whose predictions get the data in place of what the degradation sees"},
    .needs_prior = true,
    .needs_pixels = true,
    .open = ddnm_open,
    .step = ddnm_step,
    .estimate = ddnm_estimate,
    .close = ddnm_close,
};
