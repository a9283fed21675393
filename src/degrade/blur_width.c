/* blur_width.c - the width of a gaussian blur from the spectrum of what it has blurred. Over frequencies f of equal
 * length, the mean power of a picture's cosine coefficients falls about as f^-a, so that of the measurement is about
 *
 *     P(f) = C f^-a exp(-(2 pi f sigma)^2) + N
 *
 * (white noise N). sigma, a, C and N are those that make the sum of (log S(f) - log P(f))^2 / 2 v^2 + (a - a0)^2 / 2
 * w^2 least, S what is seen; v is how far pictures stray from such a law, a0 and w how a is spread among them. */
#include <math.h>
#include <stdio.h>

#include "blind.h"

enum { BINS = 40, LEAST_SIDE = 24 };
static const double first = 0.02, last = 0.5; /* cycles per pixel */
static const double strays = 0.3, usual = 2.4, spread = 0.35;

typedef struct spectrum {
    int n;
    double f[BINS], s[BINS]; /* frequency, mean power */
} spectrum;

/* Mean power of the mean of the colours. */
static ltn_status measure(ltn_ctx *ctx, const ltn_image *y, spectrum *out)
{
    const size_t n = (size_t)y->width * (size_t)y->height;
    ltn_plane plane = {0};
    double sum[BINS] = {0}, at[BINS] = {0}, count[BINS] = {0};
    float *grey = ltn__alloc(ctx, 2 * n, sizeof *grey), *c = grey + n;
    ltn_status s = grey ? ltn__plane_open(ctx, LTN_COSINE, y->width, y->height, &plane) : LTN_ENOMEM;
    if (!s) {
        ltn__mean_colour(y, grey);
        ltn__plane_forward(&plane, grey, c);
        for (size_t i = 0; i < n; i++) {
            const double u = (double)(i / (size_t)y->height) / (2 * y->width),
                         v = (double)(i % (size_t)y->height) / (2 * y->height);
            const double f = sqrt(u * u + v * v);
            if (f < first || f >= last || u == 0 || v == 0) continue;
            const int k = (int)(BINS * log(f / first) / log(last / first));
            sum[k] += (double)c[i] * c[i] / (double)n, at[k] += f, count[k]++;
        }
        for (int k = 0; k < BINS; k++)
            if (count[k] >= 4 && sum[k] > 0) out->f[out->n] = at[k] / count[k], out->s[out->n++] = sum[k] / count[k];
    }
    ltn__plane_close(&plane);
    ltn__free(ctx, grey);
    return s;
}

/* The objective for sigma, a and N, log C by Gauss-Newton. */
static double misfit(const spectrum *p, double sigma, double a, double noise)
{
    double h[BINS], log_c = 0, sum = 0;
    for (int i = 0; i < p->n; i++) h[i] = pow(p->f[i], -a) * exp(-pow(2 * M_PI * p->f[i] * sigma, 2));
    for (int i = 0; i < 4; i++) log_c += log(p->s[i] / h[i]) / 4;
    for (int round = 0; round < 6; round++) {
        double top = 0, bottom = 1e-12;
        for (int i = 0; i < p->n; i++) {
            const double c = exp(log_c) * h[i], model = c + noise, slope = c / model;
            top += slope * log(p->s[i] / model), bottom += slope * slope;
        }
        log_c += top / bottom;
    }
    for (int i = 0; i < p->n; i++) sum += pow(log(p->s[i] / (exp(log_c) * h[i] + noise)) / strays, 2) / 2;
    return sum + pow((a - usual) / spread, 2) / 2;
}

ltn_status ltn__blur_width(ltn_ctx *ctx, const ltn_image *y, double *sigma)
{
    enum { WIDTHS = 60, SLOPES = 16, FLOORS = 12 };
    spectrum p = {0};
    if (y->width < LEAST_SIDE || y->height < LEAST_SIDE)
        return ltn__fail(ctx, LTN_ESHAPE, "blur: sigma=auto needs %d pixels a side, not %d x %d", LEAST_SIDE, y->width,
                         y->height);
    const ltn_status s = measure(ctx, y, &p);
    if (s) return s;
    if (p.n < BINS / 2) return ltn__fail(ctx, LTN_EINVAL, "blur: sigma=auto: nothing is to be seen in the measurement");
    double best = INFINITY, least = p.s[0];
    for (int i = 0; i < p.n; i++) least = fmin(least, p.s[i]);
    for (int k = 0; k < WIDTHS; k++)
        for (int j = 0; j < SLOPES; j++)
            for (int i = 0; i < FLOORS; i++) {
                const double w = 0.2 * pow(50, k / (WIDTHS - 1.0)), a = 1.6 + 0.12 * j,
                             noise = least * pow(0.5, i) * 1.05;
                const double d = misfit(&p, w, a, noise);
                if (d < best) best = d, *sigma = w;
            }
    return LTN_OK;
}
