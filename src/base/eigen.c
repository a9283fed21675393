/* eigen.c - all eigenvectors of a symmetric matrix: Householder's tridiagonal form, then QL steps with
 * Wilkinson's shift (Golub and Van Loan, Matrix Computations, 8.3). Vectors are kept as rows, so that each
 * rotation runs along memory. */
#include <float.h>
#include <math.h>

#include "base.h"

/* Reduces a to diagonal d and subdiagonal e (e[i] couples i and i + 1); reflector k stays in row k of a,
 * right of the diagonal, with its factor in t[k]: H_k = 1 - t v v^T. */
static void tridiagonal(int n, double *a, double *d, double *e, double *t, double *p)
{
    for (int k = 0; k + 1 < n; k++) {
        double *v = a + (size_t)k * (size_t)n, norm = 0;
        for (int j = k + 1; j < n; j++) norm += v[j] * v[j];
        norm = sqrt(norm);
        d[k] = v[k];
        e[k] = v[k + 1] > 0 ? -norm : norm;
        v[k + 1] -= e[k];
        t[k] = norm > 0 ? -1 / (e[k] * v[k + 1]) : 0;
        double dot = 0;
        for (int i = k + 1; i < n; i++) {
            const double *row = a + (size_t)i * (size_t)n;
            p[i] = 0;
            for (int j = k + 1; j < n; j++) p[i] += row[j] * v[j];
            p[i] *= t[k];
            dot += p[i] * v[i];
        }
        for (int i = k + 1; i < n; i++) p[i] -= 0.5 * t[k] * dot * v[i];
        for (int i = k + 1; i < n; i++) {
            double *row = a + (size_t)i * (size_t)n;
            for (int j = k + 1; j < n; j++) row[j] -= v[i] * p[j] + p[i] * v[j];
        }
    }
    d[n - 1] = a[(size_t)n * (size_t)n - 1];
    e[n - 1] = 0;
}

/* z = (H_0 H_1 ... )^T, from the reflectors in a. */
static void reflections(int n, const double *a, const double *t, double *z)
{
    for (int i = 0; i < n; i++) z[(size_t)i * (size_t)n + (size_t)i] = 1;
    for (int k = n - 2; k >= 0; k--) {
        const double *v = a + (size_t)k * (size_t)n;
        for (int i = k + 1; i < n; i++) {
            double *row = z + (size_t)i * (size_t)n, dot = 0;
            for (int j = k + 1; j < n; j++) dot += row[j] * v[j];
            for (int j = k + 1; j < n; j++) row[j] -= t[k] * dot * v[j];
        }
    }
}

/* Rows a and b: a' = c a - s b, b' = s a + c b. */
static void rotate(int n, double *restrict a, double *restrict b, double c, double s)
{
    for (int k = 0; k < n; k++) {
        const double f = b[k];
        b[k] = s * a[k] + c * f;
        a[k] = c * a[k] - s * f;
    }
}

/* One implicit QL step on the block l..m. */
static void ql_step(int n, int l, int m, double *d, double *e, double *z)
{
    double g = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(g, 1), s = 1, c = 1, p = 0;
    g = d[m] - d[l] + e[l] / (g + copysign(r, g));
    for (int i = m - 1; i >= l; i--) {
        const double f = s * e[i], b = c * e[i];
        e[i + 1] = r = hypot(f, g);
        if (r == 0) {
            d[i + 1] -= p;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        rotate(n, z + (size_t)i * (size_t)n, z + (size_t)(i + 1) * (size_t)n, c, s);
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0;
}

ltn_status ltn__eigen(ltn_ctx *ctx, int n, double *a, double *value)
{
    const size_t count = (size_t)n * (size_t)n;
    double *z = ltn__alloc(ctx, count, sizeof *z), *e = ltn__alloc(ctx, 3 * (size_t)n, sizeof *e);
    if (z && e) {
        tridiagonal(n, a, value, e, e + n, e + 2 * n);
        reflections(n, a, e + n, z);
        for (int l = 0; l < n; l++)
            for (int step = 0, m; step < 60; step++) {
                for (m = l; m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(value[m]) + fabs(value[m + 1]));
                     m++) {}
                if (m == l) break;
                ql_step(n, l, m, value, e, z);
            }
        for (size_t i = 0; i < count; i++) a[i] = z[i];
    }
    const bool ok = z && e;
    ltn__free(ctx, z);
    ltn__free(ctx, e);
    return ok ? LTN_OK : LTN_ENOMEM;
}
