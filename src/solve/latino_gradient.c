/* latino_gradient.c - LATINO with a gradient in the place of the prox, the ablation of arXiv 2503.12615 that
 * shows what the prox saves: a step goes back through the decoder and the network, and keeps what that needs.
 *
 *     z   = sqrt(ab_t) z0'                             z0' = E(x) of the start before the first step
 *     z0  = f(z, t, c),  x = D(z0)
 *     g   = grad_z |A x - y|
 *     z0' = z0 - zeta g                                behind the last step x = D(z0')
 *
 * with start and t of matched.c, as if a prox had followed x; so the prox is all that differs from `latino`. In
 * the paper's loop (loop=renoised) t falls from the last time step in equal parts, the start is the naive inverse
 * and z has fresh noise, sqrt(1 - ab_t) eps.
 *
 * Without a zeta z0 goes along g as far as `pull` of the excess of |A x - y| over that of a right x (dps.c) would
 * need along the gradient by z0 itself, g0: zeta = pull excess / (|g| |g0|). */
#include "dps.h"
#include "matched.h"

#include <math.h>

typedef struct latino_gradient {
    ltn_dps d;
    bool renoised;
    ltn_matched matched; /* unless renoised */
} latino_gradient;

static double length(const float *g, size_t n)
{
    double square = 1e-30;
    for (size_t i = 0; i < n; i++) square += (double)g[i] * g[i];
    return sqrt(square);
}

static ltn_status start(latino_gradient *l)
{
    ltn_dps *d = &l->d;
    if (l->renoised) ltn__naive(d->q->a, d->q->y, d->x);
    else ltn__matched_start(&l->matched, d->x);
    return d->p->encode(d->p, d->x, d->z0);
}

/* z at t from z0'. */
static void onward(latino_gradient *l, int t)
{
    ltn_dps *d = &l->d;
    const double a = sqrt(d->p->alpha_bar[t]), b = l->renoised ? sqrt(1 - d->p->alpha_bar[t]) : 0;
    if (l->renoised) ltn__step_noise(d->q, d->p, d->step, d->eps);
    for (size_t i = 0; i < d->p->latent_count; i++) d->z[i] = (float)(a * d->z0[i] + b * d->eps[i]);
}

static ltn_status latino_gradient_step(void *state, ltn_progress *progress)
{
    latino_gradient *l = state;
    ltn_dps *d = &l->d;
    ltn_prior *p = d->p;
    ltn_status s = d->step ? LTN_OK : start(l);
    const int t = l->renoised ? ltn__grid_time(p, d->steps, 1, d->step) : ltn__matched_time(&l->matched);
    onward(l, t);
    if (s || (s = ltn__dps_misfit(d, t)) || (s = p->decode_back(p, d->dx, d->dz0)) ||
        (s = p->predict_back(p, d->dz0, d->dz, NULL)))
        return s;
    if (!l->renoised) ltn__matched_gamma(&l->matched, d->x);
    const double whole = length(d->dz, p->latent_count) * length(d->dz0, p->latent_count);
    const double zeta = d->zeta > 0 ? d->zeta : d->pull * fmax(d->norm - d->goal, 0) / whole;
    for (size_t i = 0; i < p->latent_count; i++) d->z0[i] -= (float)(zeta * d->dz[i]);
    progress->t = t;
    progress->step = ++d->step;
    if (d->step == d->steps && (s = p->decode(p, d->z0, d->x))) return s;
    progress->gamma = zeta;
    progress->residual = ltn__chi(d->q, d->x, d->r);
    return d->step == d->steps ? LTN_DONE : LTN_OK;
}

static const float *latino_gradient_estimate(const void *state)
{
    const latino_gradient *l = state;
    return l->d.x;
}

static void latino_gradient_close(ltn_ctx *ctx, void *state)
{
    latino_gradient *l = state;
    ltn__dps_close(&l->d);
    ltn__matched_close(&l->matched);
    ltn__free(ctx, l);
}

static ltn_status latino_gradient_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s,
                                       void **state, int *steps)
{
    latino_gradient *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l;
    l->renoised = ltn__num(s, "loop") == 1;
    const ltn_status status = ltn__dps_open(&l->d, q, p, s, steps);
    return status || l->renoised ? status : ltn__matched_open(&l->matched, q, p);
}

static const ltn_param latino_gradient_params[] = {
    {.name = "steps", .help = "network calls, each with a gradient", .type = LTN_INT, .def = 8, .min = 1,
     .max = 1000},
    {.name = "loop", .help = "start and times as latino's rule=matched, or the paper's with fresh noise",
     .type = LTN_CHOICE, .choices = "matched|renoised"},
    {.name = "zeta", .help = "step along the gradient; 0: by the residual", .type = LTN_FLOAT, .max = 1e6},
    {.name = "pull", .help = "with zeta=0: part of the excess of |A x - y| that a step is to remove",
     .type = LTN_FLOAT,
     .def = 1, .max = 100},
    {0},
};

const ltn_solver_row ltn__solver_latino_gradient = {
    .entry = {.name = "latino-gradient",
              .help = "LATINO with the data's gradient through network and decoder for the prox",
              .cite = "arXiv 2503.12615", .param = latino_gradient_params},
    .needs_prior = true,
    .open = latino_gradient_open,
    .step = latino_gradient_step,
    .estimate = latino_gradient_estimate,
    .close = latino_gradient_close,
};
