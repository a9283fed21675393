/* kernel_power.c - how likely a kernel makes the spectrum of what it has blurred. Mean power of a photograph at a
 * frequency f of length r and direction t is about C r^-a exp(b1 cos 2t + b2 sin 2t + b3 cos 4t + b4 sin 4t), so that
 * of the measurement
 *
 *     P(f) = |K(f)|^2 exp(p . basis(f)) + N,   p = (log C, a, b1 .. b4)
 *
 * with white noise N. What is seen, S(f), is the mean over tiles under a window (Welch 1967); S / P is taken for the
 * square of a variate of Student's, as lines and textures stand out far. The misfit of a kernel is minus the logarithm
 * of that likelihood and of the prior of p, under the p that makes it least (scoring). */
#include <math.h>
#include <string.h>

#include "blind.h"

enum { TILE = 128, TERMS = LTN_POWER_TERMS, ROUNDS = 12 };
static const double first = 0.03, last = 0.5;   /* cycles per pixel */
static const double freedom = 3;                /* Student's */
static const double usual = 2.4;                /* a of photographs */
/* 1 / variance of p, times the share of frequencies that stray alone */
static const double tight[TERMS] = {0, 160, 220, 220, 220, 220};

void ltn__power_close(ltn_power *p)
{
    ltn__plane_close(&p->plane);
    ltn__free(p->ctx, p->at);
    ltn__free(p->ctx, p->seen);
    ltn__free(p->ctx, p->basis);
    ltn__free(p->ctx, p->power);
    ltn__free(p->ctx, p->tile);
    ltn__free(p->ctx, p->spectrum);
    *p = (ltn_power){0};
}

/* The k-th of n beginnings of tiles. */
static int begin(int k, int n, int all, int side)
{
    return n > 1 ? (int)((double)k * (all - side) / (n - 1)) : (all - side) / 2;
}

/* A tile under a window of Hann's, its mean taken off; returns the window's power. */
static double cut(const ltn_power *p, const ltn_image *grey, int top, int left)
{
    const int n = p->side;
    double sum = 0, weight = 0, power = 0;
    for (int i = 0; i < n * n; i++) {
        const double w = sin(M_PI * (i / n + 0.5) / n) * sin(M_PI * (i % n + 0.5) / n);
        const float v = grey->data[(size_t)(top + i / n) * (size_t)grey->width + (size_t)(left + i % n)];
        sum += w * w * v, weight += w * w;
    }
    for (int i = 0; i < n * n; i++) {
        const double w = sin(M_PI * (i / n + 0.5) / n) * sin(M_PI * (i % n + 0.5) / n);
        const float v = grey->data[(size_t)(top + i / n) * (size_t)grey->width + (size_t)(left + i % n)];
        p->tile[i] = (float)(w * w * (v - sum / weight)), power += w * w * w * w;
    }
    return power;
}

static void look(ltn_power *p, const ltn_image *grey)
{
    const int n = p->side;
    const int rows = (grey->height - n + n / 2 - 1) / (n / 2) + 1;
    const int columns = (grey->width - n + n / 2 - 1) / (n / 2) + 1;
    for (int k = 0; k < rows * columns; k++) {
        const int top = begin(k / columns, rows, grey->height, n), left = begin(k % columns, columns, grey->width, n);
        const double power = cut(p, grey, top, left);
        ltn__plane_forward(&p->plane, p->tile, p->spectrum);
        for (int i = 0; i < p->n; i++) {
            const double re = p->spectrum[2 * p->at[i]], im = p->spectrum[2 * p->at[i] + 1];
            p->seen[i] += (re * re + im * im) / (power * rows * columns);
        }
    }
}

/* The frequencies that count, one of each pair f and -f. */
static void choose(ltn_power *p)
{
    const int n = p->side;
    for (int a = 0; a < p->plane.lines; a++)
        for (int b = 0; b < n; b++) {
            const double u = (double)a / n, v = (double)(b > n / 2 ? b - n : b) / n;
            const double r = hypot(u, v), t = atan2(v, u);
            if (r < first || r > last || (a == 0 && v < 0)) continue;
            const double row[TERMS] = {1, -log(r / 0.1), cos(2 * t), sin(2 * t), cos(4 * t), sin(4 * t)};
            for (int k = 0; k < TERMS; k++) p->basis[p->n * TERMS + k] = (float)row[k];
            p->at[p->n++] = a * n + b;
        }
}

void ltn__mean_colour(const ltn_image *y, float *out)
{
    const size_t n = (size_t)y->width * (size_t)y->height;
    const int colours = y->channels < 3 ? 1 : 3;
    memset(out, 0, n * sizeof *out);
    for (size_t i = 0; i < n * (size_t)colours; i++) out[i % n] += y->data[i] / (float)colours;
}

ltn_status ltn__grey(ltn_ctx *ctx, const ltn_image *y, ltn_image *grey)
{
    const ltn_status s = ltn_image_new(ctx, y->width, y->height, 1, NULL, grey);
    if (!s) ltn__mean_colour(y, grey->data);
    return s;
}

ltn_status ltn__power_open(ltn_ctx *ctx, const ltn_image *grey, const char *asked, ltn_power *p)
{
    bool known;
    ltn_status s;
    *p = (ltn_power){.ctx = ctx};
    const double sigma = ltn__estimate_sigma(ctx, grey->data, (ltn_size){grey->width, grey->height, 1}, &known, &s);
    if (s) return s;
    const int n = LTN_MIN(TILE, LTN_MIN(grey->width, grey->height)) / 2 * 2;
    const size_t count = (size_t)n * (size_t)n;
    *p = (ltn_power){.ctx = ctx, .side = n, .noise = fmax(sigma * sigma, 1e-8)};
    s = ltn__plane_open(ctx, LTN_FOURIER, n, n, &p->plane);
    if (s) return s;
    float **const planes[] = {&p->tile, &p->seen, &p->power};
    if (ltn__alloc_each(ctx, count, planes, LTN_COUNT(planes))) return LTN_ENOMEM;
    p->at = ltn__alloc(ctx, count, sizeof *p->at);
    p->basis = ltn__alloc(ctx, count * TERMS, sizeof *p->basis);
    p->spectrum = ltn__alloc(ctx, ltn__plane_floats(&p->plane), sizeof *p->spectrum);
    if (!p->at || !p->basis || !p->spectrum) return LTN_ENOMEM;
    choose(p);
    look(p, grey);
    double mean = 0;
    for (int i = 0; i < p->n; i++) mean += p->seen[i] / (double)p->n;
    p->start[0] = log(mean), p->start[1] = usual;
    if (mean > 3 * p->noise) return LTN_OK; /* false of numbers that are none */
    return ltn__fail(ctx, LTN_EINVAL, "%s: nothing is to be seen in the measurement", asked);
}

/* x of a x = b, a symmetric and positive (Cholesky, in place). */
static void solve(double a[TERMS][TERMS], const double *b, double *x)
{
    for (int i = 0; i < TERMS; i++)
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (int k = 0; k < j; k++) sum -= a[i][k] * a[j][k];
            a[i][j] = i == j ? sqrt(fmax(sum, 1e-9)) : sum / a[j][j];
        }
    for (int i = 0; i < TERMS; i++) {
        x[i] = b[i];
        for (int k = 0; k < i; k++) x[i] -= a[i][k] * x[k];
        x[i] /= a[i][i];
    }
    for (int i = TERMS - 1; i >= 0; i--) {
        for (int k = i + 1; k < TERMS; k++) x[i] -= a[k][i] * x[k];
        x[i] /= a[i][i];
    }
}

static double law(const ltn_power *p, const double *at, int i)
{
    double sum = 0;
    for (int k = 0; k < TERMS; k++) sum += at[k] * p->basis[i * TERMS + k];
    return p->power[i] * exp(fmin(sum, 60));
}

static double misfit(const ltn_power *p, const double *at)
{
    double sum = 0;
    for (int i = 0; i < p->n; i++) {
        const double model = law(p, at, i) + p->noise;
        sum += log(model) + (freedom + 1) * log1p(p->seen[i] / (freedom * model));
    }
    for (int k = 1; k < TERMS; k++) sum += tight[k] * pow(at[k] - (k == 1 ? usual : 0), 2) / 2;
    return sum;
}

/* One step of scoring; returns its largest part. */
static double step(const ltn_power *p, double *at)
{
    double a[TERMS][TERMS] = {{0}}, b[TERMS] = {0}, move[TERMS], most = 0;
    for (int i = 0; i < p->n; i++) {
        const float *row = p->basis + i * TERMS;
        const double c = law(p, at, i), model = c + p->noise, z = p->seen[i] / model, slope = c / model;
        const double pull = slope * ((freedom + 1) * z / (freedom + z) - 1), weight = 0.7 * slope * slope;
        for (int k = 0; k < TERMS; k++) {
            b[k] += pull * row[k];
            for (int j = 0; j <= k; j++) a[k][j] += weight * row[k] * row[j];
        }
    }
    for (int k = 0; k < TERMS; k++) {
        b[k] -= tight[k] * (at[k] - (k == 1 ? usual : 0));
        a[k][k] += tight[k] + 1e-6;
    }
    solve(a, b, move);
    for (int k = 0; k < TERMS; k++) most = fmax(most, fabs(move[k]));
    for (int k = 0; k < TERMS; k++) at[k] += move[k] * fmin(1, 2 / most);
    return most;
}

double ltn__power_least(ltn_power *p)
{
    double at[TERMS];
    memcpy(at, p->start, sizeof at);
    for (int round = 0; round < ROUNDS && step(p, at) > 1e-3; round++) {}
    return misfit(p, at);
}

double ltn__power_misfit(ltn_power *p, const ltn_kernel *k)
{
    const int n = p->side;
    memset(p->tile, 0, (size_t)n * (size_t)n * sizeof *p->tile);
    for (int i = 0; i < k->height; i++) /* where it lies does not matter to its power, nor that it goes around */
        for (int j = 0; j < k->width; j++) p->tile[i % n * n + j % n] += k->tap[i * k->width + j];
    ltn__plane_forward(&p->plane, p->tile, p->spectrum);
    for (int i = 0; i < p->n; i++) {
        const float re = p->spectrum[2 * p->at[i]], im = p->spectrum[2 * p->at[i] + 1];
        p->power[i] = re * re + im * im;
    }
    return ltn__power_least(p);
}
