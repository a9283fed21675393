/* p2l.c - P2L: the text embedding is tuned to the measurement while a latent diffusion runs (Chung et al.,
 * arXiv 2310.01110, ICML 2024).
 *
 * For falling t, with r(z, c) = |A D(f(z, t, c)) - y|:
 *     c  <- Adam on r(z, c)^2 / 2, a few steps                           the prompt
 *     z0 = f(z, t, c),  u = D(z0)
 *     x  = argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2,  z0' = E(x)     every few t; else z0' = z0
 *     z  <- sqrt(ab') z0' + sqrt(1 - ab') eps_hat - rho grad_z r(z, c)   DDIM and latent DPS; eps_hat is z0's
 *
 * The paper walks through 1000 t with constants found for each task. Here they follow from sigma and the
 * prior's calibration, so that few t do: gamma is that of ltn__data_step (the paper: 1), and rho is Polyak's
 * step towards a residual of the noise's size, zeta (r - sigma sqrt(m))+ / |grad r|^2 (the paper: numbers).
 * The result is the x of the last t, where the paper decodes z0. */
#include "diffusion.h"

#include <math.h>
#include <string.h>

typedef struct p2l {
    const ltn_problem *q;
    ltn_prior *p;
    int step, steps, every, inner, tuned; /* tuned: steps of Adam so far */
    double zeta, weight;
    ltn_adam adam;
    float *x, *u, *dx;           /* the estimate, the prediction, a gradient */
    float *z, *z0, *dz0, *shift; /* latents; shift: what is added to z after DDIM */
    float *dc, *m, *v;           /* of the text */
    float *r;                    /* a measurement */
} p2l;

/* z0 = f(z, t, c), u = D(z0), and the gradient of r^2 / 2 by the latent or by the text; returns r in *r. */
static ltn_status residual(p2l *s, int t, float *dz, float *dc, double *r)
{
    ltn_status status = s->p->predict_kept(s->p, s->z, t, dc ? LTN_WRT_TEXT : LTN_WRT_LATENT, s->z0);
    if (status || (status = s->p->decode_kept(s->p, s->z0, s->u))) return status;
    *r = ltn__data_gradient(s->q, s->u, s->r, s->dx);
    if ((status = s->p->decode_back(s->p, s->dx, s->dz0))) return status;
    return s->p->predict_back(s->p, s->dz0, dz, dc);
}

static ltn_status tune(p2l *s, int t)
{
    for (int i = 0; i < s->inner; i++) {
        double r;
        ltn_status status = residual(s, t, NULL, s->dc, &r);
        if (status) return status;
        ltn__adam_step(s->adam, ++s->tuned, s->p->text_count, s->dc, s->m, s->v, s->p->text);
    }
    return LTN_OK;
}

/* z0, u; shift = -rho grad r */
static ltn_status guide(p2l *s, int t)
{
    double r = 0;
    ltn_status status = residual(s, t, s->shift, NULL, &r);
    ltn__polyak_step(s->q, s->p->latent_count, s->zeta, r, s->shift);
    return status;
}

/* z0 and u alone: nothing follows the last t, and zeta = 0 follows no gradient. */
static ltn_status look(p2l *s, int t)
{
    ltn_status status = s->p->predict(s->p, s->z, t, s->z0);
    memset(s->shift, 0, s->p->latent_count * sizeof *s->shift);
    return status ? status : s->p->decode(s->p, s->z0, s->u);
}

/* x from u, shift += sqrt(ab') (E(x) - z0). */
static ltn_status project(p2l *s, int t, double next, ltn_progress *progress)
{
    progress->gamma = ltn__data_step(s->q, s->p, t, s->weight, s->u, s->x, s->r);
    ltn_status status = s->p->encode(s->p, s->x, s->dz0);
    const float a = (float)sqrt(next);
    for (size_t i = 0; i < s->p->latent_count; i++) s->shift[i] += a * (s->dz0[i] - s->z0[i]);
    return status;
}

static ltn_status p2l_step(void *state, ltn_progress *progress)
{
    p2l *s = state;
    const int k = s->step, t = ltn__grid_time(s->p, s->steps, 1, k);
    const bool last = k == s->steps - 1;
    const double ab = s->p->alpha_bar[t], next = ltn__grid_alpha_bar(s->p, s->steps, 1, k + 1);
    if (!k) ltn__step_noise(s->q, s->p, 0, s->z);
    ltn_status status = tune(s, t);
    if (!status) status = last || s->zeta == 0 ? look(s, t) : guide(s, t);
    if (status) return status;
    if (last || k % s->every == 0) status = project(s, t, next, progress);
    else memcpy(s->x, s->u, ltn__size_count(s->q->a->x) * sizeof *s->x);
    ltn__diffusion_step(s->p, ab, next, 0, s->z0, NULL, s->z);
    for (size_t i = 0; i < s->p->latent_count; i++) s->z[i] += s->shift[i];
    progress->residual = ltn__chi(s->q, s->x, s->r);
    progress->step = ++s->step;
    progress->t = t;
    return status ? status : last ? LTN_DONE : LTN_OK;
}

static const float *p2l_estimate(const void *state)
{
    const p2l *s = state;
    return s->x;
}

static void p2l_close(ltn_ctx *ctx, void *state)
{
    p2l *s = state;
    float *const block[] = {s->x, s->u, s->dx, s->z, s->z0, s->dz0, s->shift, s->dc, s->m, s->v, s->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, s);
}

static ltn_status p2l_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *spec, void **state, int *steps)
{
    p2l *s = ltn__alloc(q->ctx, 1, sizeof *s);
    if (!s) return LTN_ENOMEM;
    *state = s;
    s->q = q;
    s->p = p;
    *steps = s->steps = (int)ltn__num(spec, "steps");
    s->every = (int)ltn__num(spec, "every");
    s->inner = (int)ltn__num(spec, "inner");
    s->zeta = ltn__num(spec, "zeta");
    s->weight = ltn__num(spec, "weight");
    s->adam = (ltn_adam){.rate = ltn__num(spec, "rate"), .beta1 = 0.9, .beta2 = 0.999};
    float **const picture[] = {&s->x, &s->u, &s->dx}, **const latent[] = {&s->z, &s->z0, &s->dz0, &s->shift},
          **const text[] = {&s->dc, &s->m, &s->v};
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->text_count, text, LTN_COUNT(text))) return LTN_ENOMEM;
    if (!(s->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *s->r))) return LTN_ENOMEM;
    ltn__naive(q->a, q->y, s->x);
    return LTN_OK;
}

static const ltn_param p2l_params[] = {
    {.name = "steps", .help = "time steps", .type = LTN_INT, .def = 25, .min = 1, .max = 1000},
    {.name = "inner", .help = "steps of the text at each time", .type = LTN_INT, .def = 1, .min = 0, .max = 100},
    {.name = "rate", .help = "of Adam there", .type = LTN_FLOAT, .def = 1e-3, .min = 1e-9, .max = 10},
    {.name = "every", .help = "times from one projection on the data to the next", .type = LTN_INT, .def = 4,
     .min = 1, .max = 1000},
    {.name = "weight", .help = "of the data in it, in units of what the noise and the prior's error ask for",
     .type = LTN_FLOAT, .def = 1, .min = 1e-6, .max = 1e6},
    {.name = "zeta", .help = "how far a gradient step goes towards the noise's residual; 0: none",
     .type = LTN_FLOAT, .def = 0.5, .min = 0, .max = 10},
    {0},
};

const ltn_solver_row ltn__solver_p2l = {
    .entry = {.name = "p2l", .help = "latent diffusion whose prompt is tuned to the measurement",
              .cite = "arXiv 2310.01110",
              .param = p2l_params},
    .needs_prior = true,
    .needs_text = true,
    .open = p2l_open,
    .step = p2l_step,
    .estimate = p2l_estimate,
    .close = p2l_close,
};
