/* treg.c - TReg: regularization by text, a latent diffusion guided by a prompt against a null embedding that
 * is learned on the way (Kim et al., arXiv 2311.15658, ICLR 2025).
 *
 * With c the prompt and n the null embedding, at first the empty prompt's; for falling t, at every few
 *     z0 = f(z, t, n) + w (f(z, t, c) - f(z, t, n))                                 classifier-free guidance
 *     u  = D(z0),  x = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2,  z0y = E(x)    the data
 *     n  <- Adam up the loss |f(z, t, n) - z0y|^2 / 2                               adaptive negation
 *     z  <- sqrt(ab') (ab' z0y + (1 - ab') z0) + (1 - ab') eps_hat + sqrt(ab' (1 - ab')) eps
 * and at those between, with eps_hat always that of z0,
 *     z  <- sqrt(ab') z0 + sqrt(1 - ab') eps_hat                                    DDIM
 * or, with zeta > 0, that for z0 = f(z, t, c), less rho grad_z |A D(z0) - y|: the released code's option.
 *
 * The paper's negation makes n unlike the CLIP image embedding of x. Here it needs no second network: n is
 * moved to where the denoiser itself finds the estimate unlikely, which is what the guidance then moves away
 * from. gamma is that of ltn__data_step (the paper: 10^4), rho Polyak's step (the code: sqrt(ab')); the
 * result is the x of the last t, where the paper decodes z0. The gradient between is on by default: E
 * brings back 40 % of the residual that x took away where random pixels are known, and 3 % after SR. */
#include "diffusion.h"

#include <math.h>
#include <string.h>

typedef struct treg {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps, every, draws, negated; /* negated: steps of Adam so far */
    double guidance, weight, zeta;
    ltn_adam adam;
    float *x, *u;              /* the estimate, the prediction or a gradient */
    float *z, *z0, *zn, *z0y, *eps; /* latents; zn = f(z, t, n); eps: or a gradient */
    float *c, *n, *dn, *m, *v; /* of the text */
    float *r;                  /* a measurement */
} treg;

/* The condition that predict uses. */
static void condition(treg *s, const float *text)
{
    memcpy(s->p->text, text, s->p->text_count * sizeof *text);
}

/* z0; with keep, zn stays differentiable by n. */
static ltn_status guided(treg *s, int t, bool keep)
{
    ltn_prior *p = s->p;
    ltn_status status = LTN_OK;
    if (s->guidance != 1) {
        condition(s, s->n);
        status = keep ? p->predict_kept(p, s->z, t, LTN_WRT_TEXT, s->zn) : p->predict(p, s->z, t, s->zn);
        condition(s, s->c);
    }
    if (status || (status = p->predict(p, s->z, t, s->z0))) return status;
    const float w = (float)s->guidance;
    for (size_t i = 0; i < p->latent_count && w != 1; i++) s->z0[i] = s->zn[i] + w * (s->z0[i] - s->zn[i]);
    return LTN_OK;
}

static ltn_status consistent(treg *s, int t, ltn_progress *progress)
{
    ltn_status status = s->p->decode(s->p, s->z0, s->u);
    if (status) return status;
    progress->gamma = ltn__data_step(s->q, s->p, t, s->weight, s->u, s->x, s->r);
    return s->p->encode(s->p, s->x, s->z0y);
}

static ltn_status negate(treg *s)
{
    for (size_t i = 0; i < s->p->latent_count; i++) s->zn[i] = s->z0y[i] - s->zn[i];
    ltn_status status = s->p->predict_back(s->p, s->zn, NULL, s->dn);
    ltn__adam_step(s->adam, ++s->negated, s->p->text_count, s->dn, s->m, s->v, s->n);
    return status;
}

/* As a step to z0 with noise of deviation s = sqrt(ab' (1 - ab')), which leaves sqrt(1 - ab' - s^2) = 1 - ab'
 * to eps_hat; then what z0y moves. */
static void renoise(treg *s, double ab, double next)
{
    const double eta = sqrt(next * (1 - ab) / (1 - ab / next));
    ltn__step_noise(s->q, s->p, s->draws++, s->eps);
    ltn__diffusion_step(s->p, ab, next, eta, s->z0, s->eps, s->z);
    const float a = (float)(sqrt(next) * next);
    for (size_t i = 0; i < s->p->latent_count; i++) s->z[i] += a * (s->z0y[i] - s->z0[i]);
}

/* z0y, n and the next z, or the last x. */
static ltn_status data_time(treg *s, int t, double ab, double next, ltn_progress *progress)
{
    const bool last = next == 1, learns = !last && s->guidance != 1 && s->adam.rate > 0;
    ltn_status status = guided(s, t, learns);
    if (!status) status = consistent(s, t, progress);
    if (!status && learns) status = negate(s);
    if (!status && !last) renoise(s, ab, next);
    return status;
}

/* z0 = f(z, t, c); eps = -rho grad |A D(z0) - y| */
static ltn_status pulled(treg *s, int t)
{
    ltn_prior *p = s->p;
    float *dx = s->u, *dz0 = s->z0y;
    ltn_status status = p->predict_kept(p, s->z, t, LTN_WRT_LATENT, s->z0);
    if (status || (status = p->decode_kept(p, s->z0, s->x))) return status;
    const double r = ltn__data_gradient(s->q, s->x, s->r, dx);
    if ((status = p->decode_back(p, dx, dz0))) return status;
    status = p->predict_back(p, dz0, s->eps, NULL);
    ltn__polyak_step(s->q, p->latent_count, s->zeta, r, s->eps);
    return status;
}

static ltn_status time_between(treg *s, int t, double ab, double next)
{
    ltn_status status = s->zeta > 0 ? pulled(s, t) : guided(s, t, false);
    ltn__diffusion_step(s->p, ab, next, 0, s->z0, NULL, s->z);
    for (size_t i = 0; i < s->p->latent_count && s->zeta > 0; i++) s->z[i] += s->eps[i];
    return status;
}

static ltn_status treg_step(void *state, ltn_progress *progress)
{
    treg *s = state;
    const int k = s->step, t = ltn__grid_time(s->p, s->steps, 1, k);
    const bool last = k == s->steps - 1;
    const double ab = s->p->alpha_bar[t], next = ltn__grid_alpha_bar(s->p, s->steps, 1, k + 1);
    if (!k) ltn__step_noise(s->q, s->p, s->draws++, s->z);
    const bool data = last || k % s->every == 0;
    ltn_status status = data ? data_time(s, t, ab, next, progress) : time_between(s, t, ab, next);
    if (status) return status;
    progress->residual = ltn__chi(s->q, s->x, s->r);
    progress->step = ++s->step;
    progress->t = t;
    return last ? LTN_DONE : LTN_OK;
}

static const float *treg_estimate(const void *state)
{
    const treg *s = state;
    return s->x;
}

static void treg_close(ltn_ctx *ctx, void *state)
{
    treg *s = state;
    float *const block[] = {s->x, s->u, s->z, s->z0, s->zn, s->z0y, s->eps, s->c, s->n, s->dn, s->m, s->v,
                            s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status treg_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state,
                            int *steps)
{
    treg *s = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *state = s;
    s->q = q;
    s->p = p;
    *steps = s->steps = (int)ltn__num(spec, "steps");
    s->every = (int)ltn__num(spec, "every");
    s->guidance = ltn__num(spec, "guidance");
    s->weight = ltn__num(spec, "weight");
    s->zeta = ltn__num(spec, "zeta");
    s->adam = (ltn_adam){.rate = ltn__num(spec, "negation"), .beta1 = 0.9, .beta2 = 0.999};
    float **const picture[] = {&s->x, &s->u}, **const latent[] = {&s->z, &s->z0, &s->zn, &s->z0y, &s->eps},
          **const text[] = {&s->c, &s->n, &s->dn, &s->m, &s->v};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->text_count, text, LTN_COUNT(text))) return LTN_ENOMEM;
    if (!(s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r))) return LTN_ENOMEM;
    memcpy(s->c, p->text, p->text_count * sizeof *s->c);
    memcpy(s->n, p->empty, p->text_count * sizeof *s->n);
    ltn__naive(q->a, q->y, s->x);
    return LTN_OK;
}

static const ltn_param treg_params[] = {
    {.name = "steps", .help = "time steps", .type = LTN_INT, .def = 24, .min = 1, .max = 1000},
    {.name = "every", .help = "times from one data consistency to the next", .type = LTN_INT, .def = 3, .min = 1,
     .max = 1000},
    {.name = "weight", .help = "of the data in it, in units of what the noise and the prior's error ask for",
     .type = LTN_FLOAT, .def = 1, .min = 1e-6, .max = 1e6},
    {.name = "guidance", .help = "the weight w of the prompt against the null embedding; 1: the prompt alone",
     .type = LTN_FLOAT, .def = 2, .min = -100, .max = 100},
    {.name = "negation", .help = "the rate at which the null embedding leaves the estimate; 0: it stays",
     .type = LTN_FLOAT, .def = 1e-3, .min = 0, .max = 10},
    {.name = "zeta", .help = "between, how far a gradient step goes towards the noise's residual; 0: none",
     .type = LTN_FLOAT, .def = 0.5, .min = 0, .max = 10},
    {0},
};

const ltn_solver_row ltn__solver_treg = {
    .entry = {.name = "treg", .help = "latent diffusion, a prompt guided against a learned null embedding",
              .cite = "arXiv 2311.15658",
              .param = treg_params},
    .needs_prior = true,
    .needs_text = true,
    .open = treg_open,
    .step = treg_step,
    .estimate = treg_estimate,
    .close = treg_close,
};
