/* ddrm.c - denoising diffusion restoration models (Kawar et al. 2022, arXiv 2201.11793): in the coefficients c = V^T x
 * of the degradation A = U diag(s) V^T, with x = z / sqrt(ab), level l = sqrt((1 - ab) / ab), data d = U^T y / s of
 * deviation e = sigma / s, the prediction c0 and the next level l',
 *
 *     s = 0:    c' ~ N(c0 + sqrt(1 - eta^2) l' (c - c0) / l,  eta^2 l'^2)
 *     l' < e:   c' ~ N(c0 + sqrt(1 - eta^2) l' (d - c0) / e,  eta^2 l'^2)
 *     l' >= e:  c' ~ N((1 - b) c0 + b d,                      l'^2 - e^2 b^2)         b = eta_b
 *
 * from c ~ N(d, l^2 - e^2) where l >= e, N(0, l^2) elsewhere. */
#include "spectral.h"

#include <math.h>

typedef struct ddrm {
    ltn_spectral d;
    int step, steps;
    double eta, eta_b, spacing;
} ddrm;

static double next_value(const void *how, double c0, double data, double e, double level, double draw)
{
    const ddrm *s = how;
    if (level < e) return c0 + sqrt(1 - s->eta * s->eta) * level * (data - c0) / e + s->eta * level * draw;
    const double left = sqrt(fmax(level * level - e * e * s->eta_b * s->eta_b, 0));
    return (1 - s->eta_b) * c0 + s->eta_b * data + left * draw;
}

static double first_value(const void *how, double c0, double data, double e, double level, double draw)
{
    return level < e ? level * draw : data + sqrt(level * level - e * e) * draw;
}

/* A draw of the first level, the data put in: the step from a prediction of 0 with eta = 1. */
static ltn_status begin(ltn_spectral *d, double ab)
{
    ltn__step_noise(d->q, d->p, 0, d->eps);
    return ltn__spectral_step(d, ab, ab, 1, first_value, NULL);
}

static ltn_status ddrm_step(void *state, ltn_progress *progress)
{
    ddrm *s = state;
    ltn_spectral *d = &s->d;
    const int k = s->step, t = ltn__grid_time(d->p, s->steps, s->spacing, k);
    const double ab = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, k);
    const double next = ltn__grid_alpha_bar(d->p, s->steps, s->spacing, k + 1);
    ltn_status status = k ? LTN_OK : begin(d, ab);
    if (status || (status = d->p->predict(d->p, d->z, t, d->z0))) return status;
    if ((status = d->p->decode(d->p, d->z0, d->x))) return status;
    s->step++;
    if (s->step < s->steps) ltn__step_noise(d->q, d->p, s->step, d->eps);
    if ((status = ltn__spectral_step(d, ab, next, s->eta, next_value, s))) return status;
    if (s->step == s->steps && (status = d->p->decode(d->p, d->z, d->x))) return status;
    progress->step = s->step;
    progress->t = t;
    progress->residual = ltn__chi(d->q, d->x, d->r);
    return s->step == s->steps ? LTN_DONE : LTN_OK;
}

static const float *ddrm_estimate(const void *state)
{
    return ((const ddrm *)state)->d.x;
}

static void ddrm_close(ltn_ctx *ctx, void *state)
{
    ltn__spectral_close(&((ddrm *)state)->d);
    ltn__free(ctx, state);
}

static ltn_status ddrm_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state, int *steps)
{
    ddrm *s = *state = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    s->eta = ltn__num(spec, "eta");
    s->spacing = ltn__num(spec, "spacing");
    s->eta_b = ltn__num(spec, "eta_b");
    *steps = s->steps = LTN_MIN((int)ltn__num(spec, "steps"), p->train_steps);
    return ltn__spectral_open(&s->d, q, p, "ddrm", true);
}

static const ltn_param ddrm_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 100, .min = 1, .max = 1000},
    LTN_SPACING_PARAM,
    {.name = "eta", .help = "fresh noise where the data say less than the prior", .type = LTN_FLOAT, .def = 0.85,
     .max = 1},
    {.name = "eta_b", .help = "weight of the data where they say more", .type = LTN_FLOAT, .def = 1, .max = 1},
    {0},
};

const ltn_solver_row ltn__solver_ddrm = {
    .entry = {.name = "ddrm", .help = "a diffusion in pixels, value by singular value of the degradation",
              .cite = "arXiv 2201.11793", .param = ddrm_params},
    .needs_prior = true,
    .needs_pixels = true,
    .open = ddrm_open,
    .step = ddrm_step,
    .estimate = ddrm_estimate,
    .close = ddrm_close,
};
