/* psld.c - posterior sampling with latent diffusion (Rout et al., arXiv 2307.00619): dps.c with a second term in the
 * loss, that holds z0 where the encoder would put a picture v that agrees with y:
 *
 *     loss = |A x - y| + gamma |z0 - E(v)|,    x = D(z0)
 *     v    = argmin_v w/2 |A v - y|^2 + 1/2 |v - x|^2,    w = r^2 / sigma^2
 *
 * whose gradient goes back through z0, E and D; gamma is that of the paper over its step on the data. The paper has
 * v = A^T y + (I - A^T A) x, which is this v where A is a mask (A A^T = I) and y has no noise (w infinite). Else A^T y
 * has the wrong size (1 / factor^2 for downsampling; the authors' program enlarges y by repetition instead), and v
 * would carry all noise of y, amplified where A is small; w weighs it against r^2, what the prior errs by at t = 0. */
#include <math.h>
#include <string.h>

#include "dps.h"

typedef struct psld {
    ltn_dps dps; /* comes first: dps's estimate is this one's */
    double gamma, weight;
    float *v;    /* a picture */
    float *e;    /* a latent: E(v), then the direction of z0 - E(v) */
    float *zero; /* a measurement of zeros */
} psld;

/* The gradients of gamma |z0 - E(v)|, to dz0 and dx. */
static ltn_status add_glue(psld *l)
{
    ltn_dps *d = &l->dps;
    const ltn_problem *q = d->q;
    double square = 0;
    ltn__prox(q->a, q->y, l->weight, d->x, l->v);
    ltn_status s = d->p->encode_kept(d->p, l->v, l->e);
    if (s) return s;
    for (size_t i = 0; i < d->p->latent_count; i++) {
        l->e[i] = d->z0[i] - l->e[i];
        square += (double)l->e[i] * l->e[i];
    }
    const double norm = fmax(sqrt(square), 1e-12);
    for (size_t i = 0; i < d->p->latent_count; i++) d->dz0[i] = l->e[i] *= (float)(l->gamma / norm);
    if ((s = d->p->encode_back(d->p, l->e, l->v))) return s;
    ltn__prox(q->a, l->zero, l->weight, l->v, l->v); /* (1 + w A^T A)^-1 is its own transpose */
    for (size_t i = 0, n = ltn__size_count(q->a->x); i < n; i++) d->dx[i] -= l->v[i];
    return LTN_OK;
}

static ltn_status psld_step(void *state, ltn_progress *progress)
{
    psld *l = state;
    ltn_status s = ltn__dps_look(&l->dps);
    if (!s && l->gamma > 0) s = add_glue(l);
    return s ? s : ltn__dps_move(&l->dps, progress);
}

static const float *psld_estimate(const void *state)
{
    const psld *l = state;
    return l->dps.x;
}

static void psld_close(ltn_ctx *ctx, void *state)
{
    psld *l = state;
    ltn__dps_close(&l->dps);
    float *const block[] = {l->v, l->e, l->zero};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, l);
}

static ltn_status psld_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    psld *l = ltn__alloc(q->ctx, 1, sizeof *l);
    if (!l) return LTN_ENOMEM;
    *state = l;
    l->gamma = ltn__num(s, "gamma");
    l->weight = q->sigma > 0 ? p->error(p, 0) / (q->sigma * q->sigma) : INFINITY;
    if (!(l->v = ltn__alloc(q->ctx, ltn__size_count(q->a->x), sizeof *l->v))) return LTN_ENOMEM;
    if (!(l->e = ltn__alloc(q->ctx, p->latent_count, sizeof *l->e))) return LTN_ENOMEM;
    if (!(l->zero = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *l->zero))) return LTN_ENOMEM;
    return ltn__dps_open(&l->dps, q, p, s, steps);
}

static const ltn_param psld_params[] = {
    LTN_DPS_PARAMS,
    {.name = "gamma", .help = "weight of |z0 - E(v)| beside |A x - y|", .type = LTN_FLOAT, .def = 0.1, .max = 1e6},
    {0},
};

const ltn_solver_row ltn__solver_psld = {
    .entry = {.name = "psld", .help = "dps that also holds the latent where the encoder would put it",
              .cite = "arXiv 2307.00619", .param = psld_params},
    .needs_prior = true,
    .open = psld_open,
    .step = psld_step,
    .estimate = psld_estimate,
    .close = psld_close,
};
