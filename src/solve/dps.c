/* dps.c - diffusion posterior sampling (Chung et al., arXiv 2209.14687), in its latent form through the decoder D,
 * which is the identity in pixels:
 *
 *     z0 = f(z, t, c),  x = D(z0)
 *     z <- ancestral step from (z, z0) to the next time (diffusion.h)  -  zeta g,      g = grad_z |A x - y|
 *
 * The gradient goes back through A, D and f. The paper's zeta is one constant, found for each task. Without it a
 * step is to remove what |A x - y| has in excess of a right x, as far as the gradient tells (Polyak's step for a
 * known minimum), where a right x errs by the noise and by what the prior cannot do better (r^2 per pixel at t = 0):
 *     zeta = pull max(|A x - y| - sqrt(m (sigma^2 + r^2 tr(A A^T) / m)), 0) / |g|^2 */
#include "dps.h"

#include <math.h>
#include <string.h>

ltn_status ltn__dps_misfit(ltn_dps *d, int t)
{
    ltn_prior *p = d->p;
    ltn_status s = p->predict_kept(p, d->z, t, LTN_WRT_LATENT, d->z0);
    if (!s) s = p->decode_kept(p, d->z0, d->x);
    if (s) return s;
    d->norm = fmax(ltn__data_gradient(d->q, d->x, d->r, d->dx), 1e-12);
    for (size_t i = 0, n = ltn__size_count(d->q->a->x); i < n; i++) d->dx[i] /= (float)d->norm;
    memset(d->dz0, 0, p->latent_count * sizeof *d->dz0);
    return LTN_OK;
}

ltn_status ltn__dps_look(ltn_dps *d)
{
    if (!d->step) ltn__step_noise(d->q, d->p, 0, d->z);
    return ltn__dps_misfit(d, ltn__grid_time(d->p, d->steps, d->spacing, d->step));
}

static double step_length(const ltn_dps *d)
{
    double square = 1e-30;
    if (d->zeta > 0) return d->zeta;
    for (size_t i = 0; i < d->p->latent_count; i++) square += (double)d->dz[i] * d->dz[i];
    return d->pull * fmax(d->norm - d->goal, 0) / square;
}

ltn_status ltn__dps_move(ltn_dps *d, ltn_progress *progress)
{
    ltn_prior *p = d->p;
    const int k = d->step++;
    ltn_status s = p->decode_back(p, d->dx, d->dz);
    if (s) return s;
    for (size_t i = 0; i < p->latent_count; i++) d->dz0[i] += d->dz[i];
    if ((s = p->predict_back(p, d->dz0, d->dz, NULL))) return s;
    const double ab = ltn__grid_alpha_bar(p, d->steps, d->spacing, k);
    const double next = ltn__grid_alpha_bar(p, d->steps, d->spacing, k + 1);
    if (d->step < d->steps) ltn__step_noise(d->q, p, d->step, d->eps);
    ltn__diffusion_step(p, ab, next, d->eta, d->z0, d->eps, d->z);
    const double zeta = step_length(d);
    for (size_t i = 0; i < p->latent_count; i++) d->z[i] -= (float)(zeta * d->dz[i]);
    if (d->step == d->steps && (s = p->decode(p, d->z, d->x))) return s;
    progress->step = d->step;
    progress->t = ltn__grid_time(p, d->steps, d->spacing, k);
    progress->gamma = zeta;
    progress->residual = ltn__chi(d->q, d->x, d->r);
    return d->step == d->steps ? LTN_DONE : LTN_OK;
}

void ltn__dps_close(ltn_dps *d)
{
    if (!d->q) return;
    float *const block[] = {d->z, d->z0, d->eps, d->x, d->dx, d->dz0, d->dz, d->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(d->q->ctx, block[i]);
}

/* sqrt(m sigma^2 + r^2 tr(A A^T)), the trace by a white probe. */
static double goal_of(const ltn_dps *d)
{
    const ltn_problem *q = d->q;
    double trace = 0;
    ltn__normals((ltn_rng){q->rng.seed, LTN_STREAM_PROBE}, 0, d->x, ltn__size_count(q->a->x));
    ltn__forward(q->a, d->x, d->r);
    for (size_t i = 0, m = ltn__size_count(q->a->y); i < m; i++) trace += (double)d->r[i] * d->r[i];
    return sqrt((double)ltn__measured(q->a, NULL) * q->sigma * q->sigma + d->p->error(d->p, 0) * trace);
}

ltn_status ltn__dps_open(ltn_dps *d, const ltn_problem *q, ltn_prior *p, const ltn_spec *s, int *steps)
{
    *d = (ltn_dps){.q = q, .p = p};
    d->zeta = ltn__num(s, "zeta");
    d->pull = ltn__num(s, "pull");
    d->eta = ltn__num(s, "eta");
    d->spacing = ltn__num(s, "spacing");
    *steps = d->steps = LTN_MIN((int)ltn__num(s, "steps"), p->train_steps);
    float **const picture[] = {&d->x, &d->dx}, **const latent[] = {&d->z, &d->z0, &d->eps, &d->dz0, &d->dz};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (!(d->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *d->r))) return LTN_ENOMEM;
    d->goal = goal_of(d);
    return LTN_OK;
}

static ltn_status dps_step(void *state, ltn_progress *progress)
{
    ltn_status s = ltn__dps_look(state);
    return s ? s : ltn__dps_move(state, progress);
}

static const float *dps_estimate(const void *state)
{
    const ltn_dps *d = state;
    return d->x;
}

static void dps_close(ltn_ctx *ctx, void *state)
{
    ltn__dps_close(state);
    ltn__free(ctx, state);
}

static ltn_status dps_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    *state = ltn__alloc(q->ctx, 1, sizeof(ltn_dps));
    return *state ? ltn__dps_open(*state, q, p, s, steps) : LTN_ENOMEM;
}

static const ltn_param dps_params[] = {LTN_DPS_PARAMS, {0}};

const ltn_solver_row ltn__solver_dps = {
    .entry = {.name = "dps", .help = "diffusion posterior sampling, through the decoder",
              .cite = "arXiv 2209.14687", .param = dps_params},
    .needs_prior = true,
    .open = dps_open,
    .step = dps_step,
    .estimate = dps_estimate,
    .close = dps_close,
};
