/* spectral.c - a diffusion's step by singular values: what A does not see follows the prior, what it sees a rule
 * (spectral.h). */
#include "spectral.h"

#include <math.h>

ltn_status ltn__spectral_open(ltn_spectral *d, const ltn_problem *q, ltn_prior *p, const char *who, bool coefficients)
{
    *d = (ltn_spectral){.q = q, .p = p, .noise = q->a->x.channels == 1 ? sqrt(1 / 3.) : 1};
    float **const picture[] = {&d->x, &d->dx}, **const latent[] = {&d->z, &d->z0, &d->eps};
    float **const values[] = {&d->s, &d->data, &d->c, &d->c0, &d->ceps};
    ltn_status s = coefficients ? ltn__svd_needed(q->a, who) : ltn__linear_needed(q->a, who);
    if (s) return s;
    if (ltn__alloc_each(q->ctx, ltn__size_count(q->a->x), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, p->latent_count, latent, LTN_COUNT(latent))) return LTN_ENOMEM;
    if (!(d->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *d->r))) return LTN_ENOMEM;
    if (!coefficients) return LTN_OK;
    d->count = ltn__svd_count(q->a);
    if (ltn__alloc_each(q->ctx, d->count, values, LTN_COUNT(values))) return LTN_ENOMEM;
    ltn__svd_values(q->a, d->s);
    ltn__svd_ut(q->a, q->y, d->data);
    float largest = 0;
    for (size_t i = 0; i < d->count; i++) largest = fmaxf(largest, d->s[i]);
    for (size_t i = 0; i < d->count; i++) {
        if (d->s[i] < 1e-3f * largest) d->s[i] = 0; /* for which V^T may be 0 */
        d->data[i] = d->s[i] > 0 ? d->data[i] / d->s[i] : 0;
    }
    return LTN_OK;
}

void ltn__spectral_close(ltn_spectral *d)
{
    if (!d->q) return;
    float *const block[] = {d->z, d->z0, d->eps, d->x, d->dx, d->r, d->s, d->data, d->c, d->c0, d->ceps};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(d->q->ctx, block[i]);
}

ltn_status ltn__add_picture(ltn_prior *p, const float *dx, double scale, float *room, float *z)
{
    const ltn_status s = p->encode(p, dx, room);
    for (size_t i = 0; i < p->latent_count && !s; i++) z[i] += (float)scale * room[i];
    return s;
}

/* z / sqrt(ab) as it would go on if A saw nothing, into z. */
static void go_on(ltn_spectral *d, double ab, double next, double eta)
{
    const double level = sqrt((1 - ab) / ab), to = sqrt((1 - next) / next), keep = sqrt(1 - eta * eta) * to / level;
    for (size_t i = 0; i < d->p->latent_count; i++) {
        const double x = d->z[i] / sqrt(ab), draw = to > 0 ? eta * to * d->eps[i] : 0;
        d->z[i] = (float)(d->z0[i] + keep * (x - d->z0[i]) + draw);
    }
}

ltn_status ltn__spectral_step(ltn_spectral *d, double ab, double next, double eta, ltn_coefficient *rule,
                              const void *how)
{
    const ltn_degradation *a = d->q->a;
    const double to = d->noise * sqrt((1 - next) / next);
    ltn_status s;
    ltn__svd_vt(a, d->x, d->c0);
    go_on(d, ab, next, eta);
    if ((s = d->p->decode(d->p, d->z, d->dx))) return s;
    ltn__svd_vt(a, d->dx, d->c);
    if ((s = d->p->decode(d->p, d->eps, d->dx))) return s;
    ltn__svd_vt(a, d->dx, d->ceps);
    for (size_t i = 0; i < d->count; i++) {
        const double draw = to > 0 ? d->ceps[i] / d->noise : 0;
        d->c[i] = d->s[i] > 0 ? (float)rule(how, d->c0[i], d->data[i], d->q->sigma / d->s[i], to, draw) - d->c[i] : 0;
    }
    ltn__svd_v(a, d->c, d->dx);
    s = ltn__add_picture(d->p, d->dx, 1, d->eps, d->z);
    for (size_t i = 0; i < d->p->latent_count; i++) d->z[i] *= (float)sqrt(next);
    return s;
}
