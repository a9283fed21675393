/* stationary.c - the posterior mean under a stationary Gaussian prior with precision P, unknown mean:
 *
 *     x = argmin |A x - y|^2 / 2 sigma^2 + 1/2 x^T P x,     (A^T A + sigma^2 P) x = A^T y
 *
 * P is diagonal on the cosine basis, which is the spectrum of a picture mirrored at its borders; P 1 = 0. By
 * conjugate gradients (Hestenes and Stiefel 1952), made fast by (tr(A^T A) / n + sigma^2 P)^-1: one step where
 * A = 1. Without noise sigma is small enough to be felt nowhere, and a last prox makes A x = y. */
#include "stationary.h"

#include <math.h>
#include <string.h>

static const double tolerance = 1e-4, least_pull = 1e-3;

void ltn__stationary_filter(const ltn_stationary *g, const float *value, const float *x, float *out)
{
    const size_t n = ltn__plane_floats(&g->plane);
    for (size_t c = 0; c < (size_t)g->q->a->x.channels; c++) {
        ltn__plane_forward(&g->plane, x + c * n, g->s);
        for (size_t k = 0; k < n; k++) g->s[k] *= value[k];
        ltn__plane_inverse(&g->plane, g->s, out + c * n);
    }
}

/* out = (A^T A + sigma^2 P) x; z is scratch. */
static void normal(const ltn_stationary *g, const float *x, float *out)
{
    const size_t n = ltn__size_count(g->q->a->x);
    ltn__forward(g->q->a, x, g->t);
    ltn__adjoint(g->q->a, g->t, out);
    ltn__stationary_filter(g, g->precision, x, g->z);
    for (size_t i = 0; i < n; i++) out[i] += (float)g->noise2 * g->z[i];
}

/* z = (gain + sigma^2 P)^-1 r */
static void precondition(const ltn_stationary *g, const float *r)
{
    const size_t n = ltn__plane_floats(&g->plane);
    for (size_t c = 0; c < (size_t)g->q->a->x.channels; c++) {
        ltn__plane_forward(&g->plane, r + c * n, g->s);
        for (size_t k = 0; k < n; k++) g->s[k] /= (float)(g->gain + g->noise2 * g->precision[k]);
        ltn__plane_inverse(&g->plane, g->s, g->z + c * n);
    }
}

void ltn__stationary_begin(ltn_stationary *g)
{
    const ltn_degradation *a = g->q->a;
    const size_t n = ltn__size_count(a->x), modes = ltn__plane_floats(&g->plane);
    double precision = 0;
    for (size_t k = 0; k < modes; k++) precision += g->precision[k] / (double)modes;
    g->noise2 = fmax(g->q->sigma * g->q->sigma, least_pull * g->gain / precision);
    ltn__adjoint(a, g->q->y, g->r);
    ltn__naive(a, g->q->y, g->x);
    normal(g, g->x, g->mp);
    for (size_t i = 0; i < n; i++) g->r[i] -= g->mp[i];
    precondition(g, g->r);
    g->rz = ltn__dot(g->r, g->z, n);
    g->enough = tolerance * tolerance * g->rz;
    memcpy(g->p, g->z, n * sizeof *g->p);
}

static void iterate(ltn_stationary *g)
{
    const size_t n = ltn__size_count(g->q->a->x);
    normal(g, g->p, g->mp);
    const double before = g->rz, curvature = ltn__dot(g->p, g->mp, n);
    const double alpha = curvature > 0 ? before / curvature : 0;
    for (size_t i = 0; i < n; i++) {
        g->x[i] += (float)alpha * g->p[i];
        g->r[i] -= (float)alpha * g->mp[i];
    }
    precondition(g, g->r);
    g->rz = alpha > 0 ? ltn__dot(g->r, g->z, n) : 0;
    const double beta = before > 0 ? g->rz / before : 0;
    for (size_t i = 0; i < n; i++) g->p[i] = g->z[i] + (float)beta * g->p[i];
}

ltn_status ltn__stationary_step(void *state, ltn_progress *progress)
{
    ltn_stationary *g = state;
    const ltn_problem *q = g->q;
    if (g->rz > g->enough) iterate(g);
    progress->step = ++g->step;
    progress->gamma = 1 / g->noise2;
    const bool done = g->step == g->steps || !(g->rz > g->enough);
    if (done && q->sigma == 0) ltn__prox(q->a, q->y, INFINITY, g->x, g->x);
    if (done || g->step % 10 == 0) progress->residual = ltn__chi(q, g->x, g->t);
    return done ? LTN_DONE : LTN_OK;
}

const float *ltn__stationary_estimate(const void *state)
{
    const ltn_stationary *g = state;
    return g->x;
}

void ltn__stationary_close(ltn_ctx *ctx, void *state)
{
    ltn_stationary *g = state;
    float *const block[] = {g->x, g->r, g->p, g->mp, g->z, g->t, g->s, g->precision};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__plane_close(&g->plane);
    ltn__free(ctx, g);
}

/* E |A^T n|^2 = tr(A A^T) for white n. */
static double probe_gain(const ltn_stationary *g)
{
    const ltn_problem *q = g->q;
    const size_t n = ltn__size_count(q->a->x);
    ltn__normals((ltn_rng){q->rng.seed, LTN_STREAM_PROBE}, 0, g->t, ltn__size_count(q->a->y));
    ltn__adjoint(q->a, g->t, g->r);
    return fmax(ltn__dot(g->r, g->r, n) / (double)n, 1e-12);
}

ltn_status ltn__stationary_open(ltn_stationary *g, const ltn_problem *q, int steps)
{
    const ltn_size size = q->a->x;
    g->q = q;
    g->steps = steps;
    const ltn_status s = ltn__plane_open(q->ctx, LTN_COSINE, size.width, size.height, &g->plane);
    if (s) return s;
    float **const picture[] = {&g->x, &g->r, &g->p, &g->mp, &g->z};
    float **const spectrum[] = {&g->s, &g->precision};
    if (ltn__alloc_each(q->ctx, ltn__size_count(size), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    if (ltn__alloc_each(q->ctx, ltn__plane_floats(&g->plane), spectrum, LTN_COUNT(spectrum))) return LTN_ENOMEM;
    if (!(g->t = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *g->t))) return LTN_ENOMEM;
    g->gain = probe_gain(g);
    return LTN_OK;
}
