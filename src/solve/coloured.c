/* coloured.c - the prox for an error u - x of covariance C, diagonal on the cosine basis, grey apart from colour:
 *
 *     x = argmin |W (A x - y)|^2 / 2 sigma^2 + 1/2 (x - u)^T C^-1 (x - u)
 *     x = u + d,   (A^T W^2 A + sigma^2 C^-1) d = A^T W^2 (y - A u)
 *
 * by conjugate gradients (Hestenes and Stiefel 1952), made fast by (tr(A^T A) / n + sigma^2 C^-1)^-1: one step where
 * A = 1. W are the weights of a likelihood. Without noise sigma is small enough to be felt nowhere, and a last prox
 * makes A x = y. */
#include "coloured.h"

#include <math.h>
#include <string.h>

enum { MAX_STEPS = 100 };
static const double tolerance = 1e-3, least_noise = 1e-3; /* of the residual; of the mean error */
static const double least_variance = 1e-9;                 /* of a coefficient: those of a flat picture are zero */

/* What a coefficient of variance v is multiplied with. */
typedef struct factor {
    enum { ROOT, PRECISION, SMOOTHED } kind;
    double noise2, gain;
} factor;
static double factor_of(const factor *f, double v)
{
    if (f->kind == ROOT) return sqrt(v);
    return f->kind == PRECISION ? f->noise2 / v : 1 / (f->gain + f->noise2 / v);
}

/* Grey is the mean of the channels; what is left of each is colour. */
static void filter(ltn_coloured *c, factor f, const float *x, float *out)
{
    const size_t n = ltn__plane_floats(&c->plane), channels = (size_t)c->q->a->x.channels;
    for (size_t k = 0; k < channels; k++) ltn__plane_forward(&c->plane, x + k * n, c->s + k * n);
    for (size_t i = 0; i < n; i++) {
        const double grey = factor_of(&f, c->variance[LTN_GREY][i]);
        const double colour = factor_of(&f, c->variance[LTN_COLOUR][i]);
        double mean = 0;
        for (size_t k = 0; k < channels; k++) mean += c->s[k * n + i] / (double)channels;
        for (size_t k = 0; k < channels; k++)
            c->s[k * n + i] = (float)(colour * (c->s[k * n + i] - mean) + grey * mean);
    }
    for (size_t k = 0; k < channels; k++) ltn__plane_inverse(&c->plane, c->s + k * n, out + k * n);
}

void ltn__coloured_noise(ltn_coloured *c, const float *n, float *out)
{
    filter(c, (factor){.kind = ROOT}, n, out);
}

static void weigh(const ltn_degradation *a, float *t)
{
    for (size_t i = 0; a->noise && i < ltn__size_count(a->y); i++) t[i] *= a->noise->weight2[i];
}

/* out = (A^T W^2 A + noise2 C^-1) x */
static void normal(ltn_coloured *c, double noise2, const float *x, float *out)
{
    const ltn_degradation *a = c->q->a;
    ltn__forward(a, x, c->t);
    weigh(a, c->t);
    ltn__adjoint(a, c->t, out);
    filter(c, (factor){.kind = PRECISION, .noise2 = noise2}, x, c->z);
    for (size_t i = 0; i < ltn__size_count(a->x); i++) out[i] += c->z[i];
}

/* d = (A^T W^2 A + noise2 C^-1)^-1 r; r is used up. */
static void solve(ltn_coloured *c, double noise2, double gain, float *r, float *d)
{
    const size_t n = ltn__size_count(c->q->a->x);
    const factor smooth = {SMOOTHED, noise2, gain};
    memset(d, 0, n * sizeof *d);
    filter(c, smooth, r, c->z);
    memcpy(c->p, c->z, n * sizeof *c->p);
    double rz = ltn__dot(r, c->z, n);
    const double enough = tolerance * tolerance * rz;
    for (int step = 0; step < MAX_STEPS && rz > enough; step++) {
        normal(c, noise2, c->p, c->mp);
        const double before = rz, curvature = ltn__dot(c->p, c->mp, n);
        if (!(curvature > 0)) return;
        for (size_t i = 0; i < n; i++) {
            d[i] += (float)(rz / curvature) * c->p[i];
            r[i] -= (float)(rz / curvature) * c->mp[i];
        }
        filter(c, smooth, r, c->z);
        rz = ltn__dot(r, c->z, n);
        for (size_t i = 0; i < n; i++) c->p[i] = c->z[i] + (float)(rz / before) * c->p[i];
    }
}

/* |A^T W n|^2 / n for white n. */
static double probe(ltn_coloured *c)
{
    const ltn_degradation *a = c->q->a;
    const size_t n = ltn__size_count(a->x), m = ltn__size_count(a->y);
    ltn__normals((ltn_rng){c->q->rng.seed, LTN_STREAM_PROBE}, 0, c->t, m);
    for (size_t i = 0; a->noise && i < m; i++) c->t[i] *= sqrtf(a->noise->weight2[i]);
    ltn__measured(a, c->t);
    ltn__adjoint(a, c->t, c->b);
    return fmax(ltn__dot(c->b, c->b, n) / (double)n, 1e-12);
}

double ltn__coloured_gain(ltn_coloured *c)
{
    const ltn_degradation *a = c->q->a;
    ltn__normals((ltn_rng){c->q->rng.seed, LTN_STREAM_PROBE}, 0, c->b, ltn__size_count(a->x));
    ltn__coloured_noise(c, c->b, c->b);
    ltn__forward(a, c->b, c->t);
    return ltn__dot(c->t, c->t, ltn__size_count(a->y)) / (double)ltn__measured(a, NULL);
}

void ltn__coloured_prox(ltn_coloured *c, const float *y, double scale, const float *u, float *x)
{
    const ltn_problem *q = c->q;
    const size_t n = ltn__size_count(q->a->x), m = ltn__size_count(q->a->y);
    const size_t modes = ltn__plane_floats(&c->plane);
    double mean = 0;
    for (size_t i = 0; i < modes; i++) mean += c->variance[LTN_GREY][i] / (double)modes;
    const double gain = probe(c);
    const double noise2 = fmax(q->sigma * q->sigma, least_noise * gain * scale * mean) / scale;
    ltn__forward(q->a, u, c->t);
    for (size_t i = 0; i < m; i++) c->t[i] = y[i] - c->t[i];
    ltn__measured(q->a, c->t);
    weigh(q->a, c->t);
    ltn__adjoint(q->a, c->t, c->r);
    solve(c, noise2, gain, c->r, c->d);
    for (size_t i = 0; i < n; i++) x[i] = u[i] + c->d[i];
    if (q->sigma == 0) ltn__prox(q->a, y, INFINITY, x, x);
}

void ltn__octaves(const ltn_plane *f, int channels, const float *x, float *spectra, float *room, ltn_octaves *o)
{
    const size_t n = ltn__plane_floats(f);
    for (int c = 0; c < channels; c++) {
        ltn__plane_forward(f, x + (size_t)c * n, room);
        ltn__plane_pack(f, room, spectra + (size_t)c * n);
    }
    for (size_t i = 0; i < n; i++) {
        const double a = (double)(i / (size_t)f->height) / f->width, b = (double)(i % (size_t)f->height) / f->height;
        const int k = (int)lrint(ltn__band(a, b));
        double sum = 0, square = 0;
        for (int c = 0; c < channels; c++) {
            const double v = spectra[(size_t)c * n + i];
            sum += v, square += v * v;
        }
        o->square[LTN_GREY][k] += sum * sum / channels, o->modes[LTN_GREY][k] += 1;
        o->square[LTN_COLOUR][k] += square - sum * sum / channels, o->modes[LTN_COLOUR][k] += channels - 1;
    }
}

/* A part's variances from those of its octaves: linear between, both in logarithms. */
static void spread_octaves(const ltn_plane *f, const double band[LTN_BANDS], float *variance)
{
    for (int a = 0; a < f->width; a++)
        for (int b = 0; b < f->height; b++) {
            const double at = ltn__band((double)a / f->width, (double)b / f->height);
            const int k = LTN_MIN((int)at, LTN_BANDS - 2);
            variance[a * f->height + b] = (float)(band[k] * pow(band[k + 1] / band[k], at - k));
        }
}

void ltn__coloured_at(ltn_coloured *c, const ltn_prior *p, int t, const float *u)
{
    ltn_octaves o = {0};
    ltn__octaves(&c->plane, c->q->a->x.channels, u, c->s, c->z, &o);
    for (int part = 0; part < LTN_PARTS_OF_COLOUR; part++) {
        double band[LTN_BANDS];
        for (int k = 0; k < LTN_BANDS; k++) {
            const double energy = o.square[part][k] / fmax(o.modes[part][k], 1);
            band[k] = fmax(p->spectrum(p, t, part, k, energy), least_variance);
        }
        spread_octaves(&c->plane, band, c->variance[part]);
    }
}

void ltn__coloured_close(ltn_coloured *c)
{
    if (!c->q) return;
    float *const block[] = {c->variance[0], c->variance[1], c->s, c->b, c->d, c->r, c->p, c->mp, c->z, c->t};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(c->q->ctx, block[i]);
    ltn__plane_close(&c->plane);
    c->q = NULL;
}

ltn_status ltn__coloured_open(ltn_coloured *c, const ltn_problem *q)
{
    const ltn_size size = q->a->x;
    c->q = q;
    const ltn_status s = ltn__plane_open(q->ctx, LTN_COSINE, size.width, size.height, &c->plane);
    if (s) return s;
    float **const picture[] = {&c->s, &c->b, &c->d, &c->r, &c->p, &c->mp, &c->z};
    float **const spectrum[] = {&c->variance[0], &c->variance[1]};
    if (ltn__alloc_each(q->ctx, ltn__size_count(size), picture, LTN_COUNT(picture))) return LTN_ENOMEM;
    const size_t modes = ltn__plane_floats(&c->plane);
    if (ltn__alloc_each(q->ctx, modes, spectrum, LTN_COUNT(spectrum))) return LTN_ENOMEM;
    c->t = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *c->t);
    return c->t ? LTN_OK : LTN_ENOMEM;
}
