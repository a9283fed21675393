/* red_diff.c - RED-diff: the posterior as one point found by stochastic descent, a diffusion as regulariser
 * (arXiv 2305.04391, ICLR 2024), in the latent space, or in pixels, where D is the identity.
 *
 *     mu = argmin |y - A D(mu)|^2 / (2 sigma^2) + w_t <stopgrad(eps_hat(z_t) - eps), mu>,
 *     z_t = sqrt(ab) mu + sqrt(1 - ab) eps,      w_t = lambda (sqrt(1 - ab) / sqrt(ab))^power,
 * by Adam, one t a step, falling, from E(naive inverse). As eps_hat = (z_t - sqrt(ab) f(z_t, t)) / sqrt(1 -
 * ab), the second gradient is w_t sqrt(ab) / sqrt(1 - ab) (mu - f(z_t, t)): with the paper's power = 1 it
 * is lambda (mu - f(z_t, t)). The release has lambda = .25 beside |y - A mu|^2 / 2, whatever the noise;
 * here sigma stands where Bayes has it. */
#include "diffusion.h"

#include <math.h>

static const double floor_sigma = 0.01; /* where y is exact, or nearly: one step of 8 bits, in [-1, 1] */

typedef struct red_diff {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps;
    double lambda, power;
    ltn_adam adam;
    float *x, *dx;                       /* D(mu), a gradient there */
    float *mu, *z, *z0, *g, *m, *v, *r; /* latents; r: a measurement */
} red_diff;

/* z0 = f(sqrt(ab) mu + sqrt(1 - ab) eps, t) */
static ltn_status denoised(red_diff *s, int t, double ab)
{
    const float a = (float)sqrt(ab), b = (float)sqrt(1 - ab);
    ltn__step_noise(s->q, s->p, s->step, s->z);
    for (size_t i = 0; i < s->p->latent_count; i++) s->z[i] = a * s->mu[i] + b * s->z[i];
    return s->p->predict(s->p, s->z, t, s->z0);
}

static ltn_status red_diff_step(void *state, ltn_progress *progress)
{
    red_diff *s = state;
    const int t = ltn__grid_time(s->p, s->steps, 1, s->step);
    const double ab = s->p->alpha_bar[t], sigma = fmax(s->q->sigma, floor_sigma);
    ltn_status status = denoised(s, t, ab);
    if (status || (status = s->p->decode_kept(s->p, s->mu, s->x))) return status;
    ltn__data_gradient(s->q, s->x, s->r, s->dx);
    if ((status = s->p->decode_back(s->p, s->dx, s->g))) return status;
    const float data = (float)(1 / (sigma * sigma));
    const float prior = (float)(s->lambda * pow((1 - ab) / ab, (s->power - 1) / 2));
    for (size_t i = 0; i < s->p->latent_count; i++)
        s->g[i] = data * s->g[i] + prior * (s->mu[i] - s->z0[i]);
    ltn__adam_step(s->adam, ++s->step, s->p->latent_count, s->g, s->m, s->v, s->mu);
    progress->step = s->step;
    progress->t = t;
    const bool last = s->step == s->steps;
    if (last && (status = s->p->decode(s->p, s->mu, s->x))) return status;
    progress->residual = ltn__chi(s->q, s->x, s->r);
    return last ? LTN_DONE : LTN_OK;
}

static const float *red_diff_estimate(const void *state)
{
    const red_diff *s = state;
    return s->x;
}

static void red_diff_close(ltn_ctx *ctx, void *state)
{
    red_diff *s = state;
    float *const block[] = {s->x, s->dx, s->mu, s->z, s->z0, s->g, s->m, s->v, s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status red_diff_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state,
                                int *steps)
{
    red_diff *s = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *state = s;
    s->q = q;
    s->p = p;
    *steps = s->steps = (int)ltn__num(spec, "steps");
    s->lambda = ltn__num(spec, "lambda");
    s->power = ltn__num(spec, "power");
    s->adam = (ltn_adam){.rate = ltn__num(spec, "rate"), .beta1 = 0.9, .beta2 = 0.99};
    float **const picture[] = {&s->x, &s->dx};
    float **const latent[] = {&s->mu, &s->z, &s->z0, &s->g, &s->m, &s->v};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (!(s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r))) return LTN_ENOMEM;
    ltn__naive(q->a, q->y, s->x);
    return p->encode(p, s->x, s->mu);
}

static const ltn_param red_diff_params[] = {
    {.name = "steps", .help = "of Adam, one network call each", .type = LTN_INT, .def = 100, .min = 1,
     .max = 1000},
    {.name = "lambda", .help = "weight of the prior", .type = LTN_FLOAT, .def = 10, .min = 0, .max = 1e6},
    {.name = "power", .help = "the prior's weight over time is (sqrt(1 - ab) / sqrt(ab))^power",
     .type = LTN_FLOAT, .def = 1, .min = 0, .max = 4},
    {.name = "rate", .help = "of Adam; the paper has .1", .type = LTN_FLOAT, .def = 0.03, .min = 1e-6, .max = 10},
    {0},
};

const ltn_solver_row ltn__solver_red_diff = {
    .entry = {.name = "red-diff", .alias = "reddiff", .cite = "arXiv 2305.04391", .param = red_diff_params,
              .help = "one point by stochastic descent, a latent diffusion as regulariser"},
    .needs_prior = true,
    .open = red_diff_open,
    .step = red_diff_step,
    .estimate = red_diff_estimate,
    .close = red_diff_close,
};
