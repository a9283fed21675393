/* kernel_fit.c - the kernel between known pictures: k = argmin sum |k * g - h|^2 + ridge |k|^2, k >= 0. Its normal
 * equations are R k = b, R(i, j) = r(i - j) with r the correlation of g with itself and b that of g with h, at the lags
 * of a kernel: two transforms of a picture, after which all is as small as the kernel. Accelerated projected gradients
 * (Beck and Teboulle 2009). */
#include <math.h>
#include <string.h>

#include "blind.h"

enum { ROUNDS = 150 };

ltn_status ltn__kernel_fit_open(ltn_ctx *ctx, int width, int height, int size, ltn_kernel_fit *f)
{
    *f = (ltn_kernel_fit){.size = size};
    const int twice = ltn__fast_length(2 * size);
    ltn_status s = ltn__plane_open(ctx, LTN_FOURIER, width, height, &f->plane);
    if (!s) s = ltn__plane_open(ctx, LTN_FOURIER, twice, twice, &f->small);
    if (s) return s;
    float **const large[] = {&f->g, &f->h, &f->gram, &f->right}, **const little[] = {&f->response, &f->spectrum};
    float **const taps[] = {&f->b, &f->slope, &f->point, &f->before};
    s = ltn__alloc_each(ctx, ltn__plane_floats(&f->plane), large, LTN_COUNT(large));
    if (!s) s = ltn__alloc_each(ctx, ltn__plane_floats(&f->small), little, LTN_COUNT(little));
    if (!s) s = ltn__alloc_each(ctx, (size_t)size * (size_t)size, taps, LTN_COUNT(taps));
    f->lags = ltn__alloc(ctx, (size_t)width * (size_t)height, sizeof *f->lags);
    f->cut = ltn__alloc(ctx, (size_t)twice * (size_t)twice, sizeof *f->cut);
    return s ? s : f->lags && f->cut ? LTN_OK : LTN_ENOMEM;
}

void ltn__kernel_fit_close(ltn_ctx *ctx, ltn_kernel_fit *f)
{
    float *const block[] = {f->g, f->h,     f->gram,  f->right,  f->response, f->spectrum,
                            f->b, f->slope, f->point, f->before, f->lags,     f->cut};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__plane_close(&f->plane);
    ltn__plane_close(&f->small);
    *f = (ltn_kernel_fit){0};
}

void ltn__kernel_fit_clear(ltn_kernel_fit *f)
{
    memset(f->gram, 0, ltn__plane_floats(&f->plane) * sizeof *f->gram);
    memset(f->right, 0, ltn__plane_floats(&f->plane) * sizeof *f->right);
}

void ltn__kernel_fit_add(ltn_kernel_fit *f, const float *g, const float *h)
{
    ltn__plane_forward(&f->plane, g, f->g);
    ltn__plane_forward(&f->plane, h, f->h);
    for (size_t i = 0; i < ltn__plane_floats(&f->plane); i += 2) {
        const float gr = f->g[i], gi = f->g[i + 1], hr = f->h[i], hi = f->h[i + 1];
        f->gram[i] += gr * gr + gi * gi;
        f->right[i] += gr * hr + gi * hi;
        f->right[i + 1] += gr * hi - gi * hr;
    }
}

/* What a plane that goes around holds at (y, x), which may be below 0. */
static float at(const float *plane, int width, int height, int y, int x)
{
    return plane[(size_t)((y + height) % height) * (size_t)width + (size_t)((x + width) % width)];
}

/* slope = R k - b, R's ridge included. */
static void slope(ltn_kernel_fit *f, double ridge, const float *k)
{
    const int n = f->size, w = f->small.width;
    memset(f->cut, 0, (size_t)w * (size_t)w * sizeof *f->cut);
    for (int i = 0; i < n; i++) memcpy(f->cut + i * w, k + i * n, (size_t)n * sizeof *k);
    ltn__plane_forward(&f->small, f->cut, f->spectrum);
    for (size_t i = 0; i < ltn__plane_floats(&f->small); i += 2) {
        const float a = f->spectrum[i], b = f->spectrum[i + 1], hr = f->response[i], hi = f->response[i + 1];
        f->spectrum[i] = a * hr - b * hi;
        f->spectrum[i + 1] = a * hi + b * hr;
    }
    ltn__plane_inverse(&f->small, f->spectrum, f->cut);
    for (int i = 0; i < n * n; i++) f->slope[i] = f->cut[i / n * w + i % n] + (float)ridge * k[i] - f->b[i];
}

/* b, and the response of r; all divided by r(0), which is returned. */
static double equations(ltn_kernel_fit *f)
{
    const int n = f->size, half = n / 2, w = f->plane.width, h = f->plane.height, m = f->small.width;
    ltn__plane_inverse(&f->plane, f->gram, f->lags);
    const double whole = f->lags[0];
    if (!(whole > 0)) return 0;
    memset(f->cut, 0, (size_t)m * (size_t)m * sizeof *f->cut);
    for (int i = 1 - n; i < n; i++)
        for (int j = 1 - n; j < n; j++)
            f->cut[(i + m) % m * m + (j + m) % m] = (float)(at(f->lags, w, h, i, j) / whole);
    ltn__plane_forward(&f->small, f->cut, f->response);
    ltn__plane_inverse(&f->plane, f->right, f->lags);
    for (int i = 0; i < n * n; i++) f->b[i] = (float)(at(f->lags, w, h, i / n - half, i % n - half) / whole);
    return whole;
}

bool ltn__kernel_fit_solve(ltn_kernel_fit *f, double ridge, float *k)
{
    const int n = f->size * f->size;
    if (!(equations(f) > 0)) return false;
    double most = 0, t = 1;
    for (size_t i = 0; i < ltn__plane_floats(&f->small); i += 2)
        most = fmax(most, hypot(f->response[i], f->response[i + 1]));
    const double step = 1 / (most + ridge);
    memcpy(f->point, k, (size_t)n * sizeof *k);
    for (int round = 0; round < ROUNDS; round++) {
        slope(f, ridge, f->point);
        const double next = (1 + sqrt(1 + 4 * t * t)) / 2, on = (t - 1) / next;
        double uphill = 0; /* the last move against the slope: momentum starts anew (O'Donoghue and Candes 2015) */
        for (int i = 0; i < n; i++) {
            f->before[i] = k[i];
            k[i] = fmaxf(0, f->point[i] - (float)step * f->slope[i]);
            uphill += (double)f->slope[i] * (k[i] - f->before[i]);
        }
        t = uphill > 0 ? 1 : next;
        for (int i = 0; i < n; i++) f->point[i] = k[i] + (uphill > 0 ? 0 : (float)on) * (k[i] - f->before[i]);
    }
    return true;
}
