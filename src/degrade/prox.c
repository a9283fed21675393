/* prox.c - x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2: a single part's own closed form, otherwise conjugate
 * gradients (Hestenes and Stiefel 1952) on (A^T A + 1/gamma) x = A^T y + u/gamma, started at u or where told;
 * where A is not linear, descent along J^T (A x - y) + (x - u)/gamma. */
#include <math.h>
#include <string.h>

#include "degrade.h"

enum { MAX_STEPS = 200, MAX_DESCENT = 60, MAX_HALVINGS = 30 };
static const double tolerance = 1e-6, least_lambda = 1e-7;

/* ---- Conjugate gradients ---- */
/* t = W^2 t, the weights of a likelihood. */
static void weigh(const ltn_degradation *d, float *t)
{
    for (size_t i = 0; d->noise && i < ltn__size_count(d->y); i++) t[i] *= d->noise->weight2[i];
}

/* q = (A^T W^2 A + lambda) p */
static void normal(const ltn_degradation *d, double lambda, const float *p, float *t, float *q)
{
    const size_t n = ltn__size_count(d->x);
    ltn__forward(d, p, t);
    weigh(d, t);
    ltn__adjoint(d, t, q);
    for (size_t i = 0; i < n; i++) q[i] += (float)lambda * p[i];
}

/* r = A^T W^2 (y - A x) + lambda (u - x); returns |A^T W^2 y + lambda u|^2. */
static double residual(const ltn_degradation *d, double lambda, const float *y, const float *u, const float *x,
                       float *t, float *r)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    double norm = 0;
    memcpy(t, y, m * sizeof *t);
    weigh(d, t);
    ltn__adjoint(d, t, r);
    for (size_t i = 0; i < n; i++) norm += pow(r[i] + lambda * u[i], 2);
    ltn__forward(d, x, t);
    for (size_t i = 0; i < m; i++) t[i] = y[i] - t[i];
    weigh(d, t);
    ltn__adjoint(d, t, r);
    for (size_t i = 0; i < n; i++) r[i] += (float)lambda * (u[i] - x[i]);
    return norm;
}

/* z = M^-1 r; a chain has M = 1. With weights, M is that of their mean: a prox of y = 0 is a factor of (A^T A +
 * l)^-1. */
static void precondition(const ltn_degradation *d, double lambda, const float *r, float *z)
{
    const ltn_operator *op = &d->part[0];
    const size_t n = ltn__size_count(d->x);
    if (d->noise) lambda = LTN_MAX(lambda / d->noise->mean_weight2, 1e-3);
    if (d->n == 1 && op->map.precondition) {
        op->map.precondition(op, lambda, r, z);
    } else if (d->n == 1 && d->noise) {
        for (size_t i = 0; i < n; i++) z[i] = (float)(r[i] / lambda);
        op->map.prox(op, d->noise->zero, 1 / lambda, z, z);
    } else {
        memcpy(z, r, n * sizeof *z);
    }
}

/* x, which may be u, is where it starts. */
static int conjugate_gradients(const ltn_degradation *d, double lambda, const float *y, const float *u, float *x)
{
    const size_t n = ltn__size_count(d->x);
    float *const p = d->cg[0], *const q = d->cg[1], *const r = d->cg[2], *const z = d->cg[3],
                 *const t = d->cg[4];
    const double enough = tolerance * tolerance * residual(d, lambda, y, u, x, t, r);
    precondition(d, lambda, r, z);
    memcpy(p, z, n * sizeof *p);
    double rz = ltn__dot(r, z, n);
    int step = 0;
    for (; ltn__dot(r, r, n) > enough && step < MAX_STEPS; step++) {
        normal(d, lambda, p, t, q);
        const double pq = ltn__dot(p, q, n), alpha = rz / pq;
        if (!(pq > 0)) break;
        for (size_t i = 0; i < n; i++) {
            x[i] += (float)alpha * p[i];
            r[i] -= (float)alpha * q[i];
        }
        const double before = rz;
        precondition(d, lambda, r, z);
        rz = ltn__dot(r, z, n);
        const float beta = (float)(rz / before);
        for (size_t i = 0; i < n; i++) p[i] = z[i] + beta * p[i];
    }
    return step;
}

/* ---- What is not linear ---- */
/* A row's own prox, for pictures in [-1, 1]: the same gamma, for both squares are 4 times as large. */
static int unit_prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    const ltn_operator *op = &d->part[0];
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    if (!d->is_signed) {
        op->map.prox(op, y, gamma, u, x);
        return 0;
    }
    for (size_t i = 0; i < n; i++) d->point[0][i] = (u[i] + 1) / 2;
    for (size_t i = 0; i < m; i++) d->half[i] = y[i] / 2;
    op->map.prox(op, d->half, gamma, d->point[0], x);
    for (size_t i = 0; i < n; i++) x[i] = 2 * x[i] - 1;
    return 0;
}

/* |r(x)|^2 / 2 + lambda/2 |x - u|^2 */
static double objective(const ltn_degradation *d, double lambda, const float *y, const float *u, const float *x,
                        float *r)
{
    double sum = 0;
    ltn__misfit(d, y, x, r);
    for (size_t i = 0; i < ltn__size_count(d->y); i++) sum += (double)r[i] * r[i];
    for (size_t i = 0; i < ltn__size_count(d->x); i++) sum += lambda * ((double)x[i] - u[i]) * ((double)x[i] - u[i]);
    return sum / 2;
}

/* Gradients with the step of Barzilai and Borwein 1988, halved until the objective falls (Armijo). */
static int descend(const ltn_degradation *d, const float *y, double gamma, const float *u0, float *x)
{
    const size_t n = ltn__size_count(d->x);
    float *const u = d->cg[0], *const g = d->cg[1], *const fresh = d->cg[2], *const before = d->cg[3],
                 *const r = d->cg[4];
    const double lambda = 1 / gamma;
    memcpy(u, u0, n * sizeof *u);
    if (x != u0) memcpy(x, u0, n * sizeof *x);
    double value = gamma > 0 ? objective(d, lambda, y, u, x, r) : 0, rate = 1, first = 0;
    for (int step = 0; gamma > 0 && step < MAX_DESCENT; step++) {
        ltn__vjp(d, x, r, g);
        for (size_t i = 0; i < n; i++) g[i] += (float)(lambda * ((double)x[i] - u[i]));
        const double square = ltn__dot(g, g, n);
        if (!step) first = square;
        if (square <= 1e-10 * first) return step;
        if (step) {
            double sg = 0, ss = 0;
            for (size_t i = 0; i < n; i++) {
                const double s = (double)x[i] - fresh[i];
                sg += s * ((double)g[i] - before[i]), ss += s * s;
            }
            rate = sg > 0 ? ss / sg : 2 * rate;
        }
        memcpy(before, g, n * sizeof *g);
        memcpy(fresh, x, n * sizeof *x);
        double next;
        for (int halvings = 0;; halvings++, rate /= 2) {
            for (size_t i = 0; i < n; i++) x[i] = fresh[i] - (float)rate * g[i];
            next = objective(d, lambda, y, u, x, r);
            if (next <= value - 1e-4 * rate * square) break;
            if (halvings < MAX_HALVINGS) continue;
            memcpy(x, fresh, n * sizeof *x);
            return step;
        }
        value = next;
    }
    return MAX_DESCENT;
}

/* A A^T = gram on what is measured: x = u + A^T W^2 (y - A u) / (gram W^2 + 1/gamma). */
static void diagonal_prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    const float *w2 = d->noise->weight2;
    float *t = d->cg[4], *back = d->cg[0];
    ltn__forward(d, u, t);
    for (size_t i = 0; i < m; i++) {
        const double over = w2[i] > 0 ? 1 / (d->part[0].map.gram + 1 / (gamma * w2[i])) : 0;
        t[i] = (float)(over * ((double)y[i] - t[i]));
    }
    ltn__adjoint(d, t, back);
    for (size_t i = 0; i < n; i++) x[i] = u[i] + back[i];
}

/* begun: x is where conjugate gradients start, not u. */
static int prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x, bool begun)
{
    const ltn_operator *op = &d->part[0];
    if (d->noise && d->n == 1 && op->map.gram > 0) {
        if (gamma > 0) diagonal_prox(d, y, gamma, u, x);
        else if (x != u) memcpy(x, u, ltn__size_count(d->x) * sizeof *x);
        return 0;
    }
    const bool closed = !d->cg[0];
    if (!closed || !op->map.exact) gamma = LTN_MIN(gamma, 1 / least_lambda);
    if (closed && d->linear) {
        op->map.prox(op, y, gamma, u, x);
        return 0;
    }
    if (closed) return unit_prox(d, y, gamma, u, x);
    if (!d->linear) return descend(d, y, gamma, u, x);
    if (x != u && !(begun && gamma > 0)) memcpy(x, u, ltn__size_count(d->x) * sizeof *x);
    return gamma > 0 ? conjugate_gradients(d, 1 / gamma, y, u, x) : 0;
}

int ltn__prox_weighed(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    return prox(d, y, gamma, u, x, false);
}

int ltn__prox(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    ltn__weigh(d, y, gamma, u);
    return ltn__prox_weighed(d, d->noise ? d->noise->seen : y, gamma, u, x);
}

int ltn__prox_from(const ltn_degradation *d, const float *y, double gamma, const float *u, float *x)
{
    ltn__weigh(d, y, gamma, u);
    return prox(d, d->noise ? d->noise->seen : y, gamma, u, x, true);
}
