/* diffpir.c - DiffPIR: a diffusion as the denoiser of half-quadratic splitting (Zhu et al. 2023, arXiv 2305.08995):
 *
 *     x0 = D(f(z, t)),      u = argmin |y - A x|^2 + rho |x - x0|^2,      rho = lambda sigma^2 ab / (1 - ab)
 *     z <- sqrt(ab') E(u) + sqrt(1 - ab') (sqrt(1 - zeta) eps_hat + sqrt(zeta) eps),
 *     eps_hat = (z - sqrt(ab) E(u)) / sqrt(1 - ab).
 *
 * The picture is the last u. The release's lambda goes with a sigma of pictures in [0, 1] beside an ab of pictures in
 * [-1, 1]; here both are of [-1, 1], which makes the paper's 7 a 7 / 4. */
#include "diffusion.h"

#include <math.h>

typedef struct diffpir {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps;
    double lambda, zeta, spacing;
    float *z, *z0, *eps, *x, *r;
} diffpir;

static ltn_status diffpir_step(void *state, ltn_progress *progress)
{
    diffpir *s = state;
    const int k = s->step++, t = ltn__grid_time(s->p, s->steps, s->spacing, k);
    const double ab = ltn__grid_alpha_bar(s->p, s->steps, s->spacing, k);
    const double next = ltn__grid_alpha_bar(s->p, s->steps, s->spacing, k + 1);
    const double sigma = s->q->sigma, gamma = sigma > 0 ? (1 - ab) / (ab * s->lambda * sigma * sigma) : INFINITY;
    if (!k) ltn__step_noise(s->q, s->p, 0, s->z);
    ltn_status status = s->p->predict(s->p, s->z, t, s->z0);
    if (status || (status = s->p->decode(s->p, s->z0, s->x))) return status;
    ltn__prox(s->q->a, s->q->y, gamma, s->x, s->x);
    progress->step = s->step;
    progress->t = t;
    progress->gamma = gamma;
    progress->residual = ltn__chi(s->q, s->x, s->r);
    if (s->step == s->steps) return LTN_DONE;
    if ((status = s->p->encode(s->p, s->x, s->z0))) return status;
    ltn__step_noise(s->q, s->p, s->step, s->eps);
    const double keep = sqrt((1 - s->zeta) * (1 - next)), fresh = sqrt(s->zeta * (1 - next));
    for (size_t i = 0; i < s->p->latent_count; i++) {
        const double toward = (s->z[i] - sqrt(ab) * s->z0[i]) / sqrt(1 - ab);
        s->z[i] = (float)(sqrt(next) * s->z0[i] + keep * toward + fresh * s->eps[i]);
    }
    return LTN_OK;
}

static const float *diffpir_estimate(const void *state)
{
    return ((const diffpir *)state)->x;
}

static void diffpir_close(ltn_ctx *ctx, void *state)
{
    diffpir *s = state;
    float *const block[] = {s->z, s->z0, s->eps, s->x, s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status diffpir_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state, int *steps)
{
    diffpir *s = *state = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    s->q = q;
    s->p = p;
    s->lambda = ltn__num(spec, "lambda");
    s->spacing = ltn__num(spec, "spacing");
    s->zeta = ltn__num(spec, "zeta");
    *steps = s->steps = LTN_MIN((int)ltn__num(spec, "steps"), p->train_steps);
    float **const picture[] = {&s->x}, **const latent[] = {&s->z, &s->z0, &s->eps};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r);
    return s->r ? LTN_OK : LTN_ENOMEM;
}

static const ltn_param diffpir_params[] = {
    {.name = "steps", .help = "network calls", .type = LTN_INT, .def = 100, .min = 1, .max = 1000},
    LTN_SPACING_PARAM,
    {.name = "lambda", .help = "weight of the prediction beside the data; the paper's 7 is 1.75 in these units",
     .type = LTN_FLOAT, .def = 1.75, .min = 1e-6, .max = 1e6},
    {.name = "zeta", .help = "part of the noise that is drawn anew in every step", .type = LTN_FLOAT, .def = 0.3,
     .max = 1},
    {0},
};

const ltn_solver_row ltn__solver_diffpir = {
    .entry = {.name = "diffpir",
              .help = "a diffusion as plug-and-play denoiser: the prox of the data after every prediction",
              .cite = "arXiv 2305.08995", .param = diffpir_params},
    .needs_prior = true,
    .open = diffpir_open,
    .step = diffpir_step,
    .estimate = diffpir_estimate,
    .close = diffpir_close,
};
