/* pigdm.c - pseudo-inverse guidance (Song et al. 2023, ICLR): the data's likelihood with the prediction's own spread,
 *
 *     x0 = D(f(z, t)),      log p(y | z) = -1/2 |y - A x0|^2 in the metric of r^2 A A^T + sigma^2,      r^2 = 1 - ab,
 *     g = r^2 grad_z log p(y | z) = J^T (u - x0),    J = dx0 / dz,
 *     u = argmin r^2 / sigma^2 |A x - y|^2 + |x - x0|^2,
 *     z <- DDIM(z, z0; eta) + sqrt(ab ab') g.
 *
 * u - x0 is r^2 A^T (r^2 A A^T + sigma^2)^-1 (y - A x0), without noise A^+ (y - A x0): the prox knows it for any linear
 * A. */
#include "diffusion.h"

#include <math.h>

typedef struct pigdm {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps;
    double eta, spacing;
    float *z, *z0, *eps, *dz, *dz0, *x, *u, *r;
} pigdm;

/* dz = g, at z; gamma is told. */
static ltn_status guide(pigdm *s, int t, double ab, double *gamma)
{
    const size_t n = ltn__size_count(s->q->a->x);
    ltn_status status = s->p->predict_kept(s->p, s->z, t, LTN_WRT_LATENT, s->z0);
    if (status || (status = s->p->decode_kept(s->p, s->z0, s->x))) return status;
    *gamma = s->q->sigma > 0 ? (1 - ab) / (s->q->sigma * s->q->sigma) : INFINITY;
    ltn__prox(s->q->a, s->q->y, *gamma, s->x, s->u);
    for (size_t i = 0; i < n; i++) s->u[i] -= s->x[i];
    if ((status = s->p->decode_back(s->p, s->u, s->dz0))) return status;
    return s->p->predict_back(s->p, s->dz0, s->dz, NULL);
}

static ltn_status pigdm_step(void *state, ltn_progress *progress)
{
    pigdm *s = state;
    const int k = s->step, t = ltn__grid_time(s->p, s->steps, s->spacing, k);
    const double ab = ltn__grid_alpha_bar(s->p, s->steps, s->spacing, k);
    const double next = ltn__grid_alpha_bar(s->p, s->steps, s->spacing, k + 1);
    if (!k) ltn__step_noise(s->q, s->p, 0, s->z);
    ltn_status status = guide(s, t, ab, &progress->gamma);
    if (status) return status;
    s->step++;
    if (s->step < s->steps) ltn__step_noise(s->q, s->p, s->step, s->eps);
    ltn__diffusion_step(s->p, ab, next, s->eta, s->z0, s->eps, s->z);
    const float scale = (float)sqrt(ab * next);
    for (size_t i = 0; i < s->p->latent_count; i++) s->z[i] += scale * s->dz[i];
    if (s->step == s->steps && (status = s->p->decode(s->p, s->z, s->x))) return status;
    progress->step = s->step;
    progress->t = t;
    progress->residual = ltn__chi(s->q, s->x, s->r);
    return s->step == s->steps ? LTN_DONE : LTN_OK;
}

static const float *pigdm_estimate(const void *state)
{
    return ((const pigdm *)state)->x;
}

static void pigdm_close(ltn_ctx *ctx, void *state)
{
    pigdm *s = state;
    float *const block[] = {s->z, s->z0, s->eps, s->dz, s->dz0, s->x, s->u, s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status pigdm_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state, int *steps)
{
    pigdm *s = *state = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    s->q = q;
    s->p = p;
    s->eta = ltn__num(spec, "eta");
    s->spacing = ltn__num(spec, "spacing");
    *steps = s->steps = LTN_MIN((int)ltn__num(spec, "steps"), p->train_steps);
    float **const picture[] = {&s->x, &s->u}, **const latent[] = {&s->z, &s->z0, &s->eps, &s->dz, &s->dz0};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r);
    return s->r ? LTN_OK : LTN_ENOMEM;
}

static const ltn_param pigdm_params[] = {
    {.name = "steps", .help = "network calls, each with a gradient", .type = LTN_INT, .def = 100, .min = 1,
     .max = 1000},
    LTN_SPACING_PARAM,
    {.name = "eta", .help = "fresh noise in every step: 1 ancestral sampling, 0 none (DDIM)", .type = LTN_FLOAT,
     .def = 1, .max = 1},
    {0},
};

const ltn_solver_row ltn__solver_pigdm = {
    .entry = {.name = "pigdm", .alias = "pgdm", .help = "pseudo-inverse guided diffusion",
              .cite = "Song et al. 2023, ICLR", .param = pigdm_params},
    .needs_prior = true,
    .open = pigdm_open,
    .step = pigdm_step,
    .estimate = pigdm_estimate,
    .close = pigdm_close,
};
