/* spectrum.c - the singular values of a degradation, A = U diag(s) V^T, and its pseudo-inverse: those of its one
 * part; a chain has none. */
#include <math.h>
#include <string.h>

#include "degrade.h"

static const ltn_svd *svd_of(const ltn_degradation *d)
{
    return d->n == 1 ? d->part[0].map.svd : NULL;
}

ltn_status ltn__svd_needed(const ltn_degradation *d, const char *who)
{
    if (svd_of(d)) return LTN_OK;
    return ltn__fail(d->ctx, LTN_EINVAL, "%s needs singular values, and \"%s\" offers none", who, d->spec);
}

size_t ltn__svd_count(const ltn_degradation *d)
{
    return svd_of(d)->count(&d->part[0]);
}

void ltn__svd_values(const ltn_degradation *d, float *s)
{
    svd_of(d)->values(&d->part[0], s);
}

void ltn__svd_vt(const ltn_degradation *d, const float *x, float *c)
{
    svd_of(d)->vt(&d->part[0], x, c);
}

void ltn__svd_v(const ltn_degradation *d, const float *c, float *x)
{
    svd_of(d)->v(&d->part[0], c, x);
}

void ltn__svd_ut(const ltn_degradation *d, const float *y, float *c)
{
    svd_of(d)->ut(&d->part[0], y, c);
}

void ltn__svd_u(const ltn_degradation *d, const float *c, float *y)
{
    svd_of(d)->u(&d->part[0], c, y);
}

bool ltn__exact(const ltn_degradation *d)
{
    return d->n == 1 && d->part[0].map.exact;
}

/* The prox that knows nothing but the data: the x nearest to 0. */
void ltn__pseudo_inverse(const ltn_degradation *d, const float *y, float *x)
{
    memset(x, 0, ltn__size_count(d->x) * sizeof *x);
    ltn__prox(d, y, INFINITY, x, x);
}
