/* ssim.c - structural similarity (Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004):
 *
 *     (2 ma mb + c1) (2 sab + c2) / ((ma^2 + mb^2 + c1) (saa + sbb + c2)),   c1 = 0.01^2, c2 = 0.03^2,
 *
 * with means m and covariances s under a gaussian window (11 x 11, sigma 1.5) around each pixel, averaged
 * over pixels and colours. Pictures are mirrored at their borders without repeating the edge, as often as a
 * small one needs. */
#include <math.h>

#include "metric.h"

enum { RADIUS = 5, TAPS = 2 * RADIUS + 1, MAPS = 5 }; /* windowed: a, b, aa, bb, ab */

/* One colour of the two pictures on its way. */
typedef struct scan {
    const float *a, *b;
    int width, height;
    double window[TAPS];
    double *row[TAPS][MAPS]; /* filtered along x; that of line y stands at y % TAPS */
    double *wide[MAPS];      /* one line with its mirrored borders, width + 2 RADIUS */
    double *sum[MAPS];       /* one line filtered along x and y */
} scan;

static void filter_along_x(scan *s, int y)
{
    const float *a = s->a + (size_t)y * (size_t)s->width, *b = s->b + (size_t)y * (size_t)s->width;
    for (int x = 0; x < s->width + 2 * RADIUS; x++) {
        const int64_t from = ltn__mirror(x - RADIUS, s->width);
        const double p = a[from], q = b[from];
        s->wide[0][x] = p;
        s->wide[1][x] = q;
        s->wide[2][x] = p * p;
        s->wide[3][x] = q * q;
        s->wide[4][x] = p * q;
    }
    for (int m = 0; m < MAPS; m++) {
        double *out = s->row[y % TAPS][m];
        for (int x = 0; x < s->width; x++) {
            double v = 0;
            for (int k = 0; k < TAPS; k++) v += s->window[k] * s->wide[m][x + k];
            out[x] = v;
        }
    }
}

static void filter_along_y(scan *s, int y)
{
    for (int m = 0; m < MAPS; m++) {
        for (int x = 0; x < s->width; x++) s->sum[m][x] = 0;
        for (int k = 0; k < TAPS; k++) {
            const double *from = s->row[ltn__mirror(y + k - RADIUS, s->height) % TAPS][m];
            for (int x = 0; x < s->width; x++) s->sum[m][x] += s->window[k] * from[x];
        }
    }
}

/* The sum of one line of the map. */
static double line(const scan *s)
{
    const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    double total = 0;
    for (int x = 0; x < s->width; x++) {
        const double ma = s->sum[0][x], mb = s->sum[1][x];
        const double saa = fmax(s->sum[2][x] - ma * ma, 0), sbb = fmax(s->sum[3][x] - mb * mb, 0);
        const double sab = s->sum[4][x] - ma * mb;
        total += (2 * ma * mb + c1) * (2 * sab + c2) / ((ma * ma + mb * mb + c1) * (saa + sbb + c2));
    }
    return total;
}

static double colour(scan *s)
{
    double total = 0;
    for (int y = 0, next = 0; y < s->height; y++) {
        for (; next < s->height && next <= y + RADIUS; next++) filter_along_x(s, next);
        filter_along_y(s, y);
        total += line(s);
    }
    return total;
}

static ltn_status measure(ltn_ctx *ctx, const ltn_image *a, const ltn_image *b, double *out)
{
    scan s = {.width = a->width, .height = a->height};
    const size_t wide = (size_t)a->width + 2 * RADIUS, plane = (size_t)a->width * (size_t)a->height;
    double *block = ltn__alloc(ctx, (TAPS + 2) * MAPS, wide * sizeof *block), *p = block;
    if (!block) return LTN_ENOMEM;
    for (int m = 0; m < MAPS; m++) {
        for (int k = 0; k < TAPS; k++, p += wide) s.row[k][m] = p;
        s.wide[m] = p, p += wide;
        s.sum[m] = p, p += wide;
    }
    double norm = 0, total = 0;
    for (int k = 0; k < TAPS; k++) {
        const double x = (k - RADIUS) / 1.5;
        norm += s.window[k] = exp(-x * x / 2);
    }
    for (int k = 0; k < TAPS; k++) s.window[k] /= norm;
    for (int c = 0; c < ltn__colors(a); c++) {
        s.a = a->data + (size_t)c * plane;
        s.b = b->data + (size_t)c * plane;
        total += colour(&s);
    }
    *out = total / (double)plane / ltn__colors(a);
    ltn__free(ctx, block);
    return LTN_OK;
}

const ltn_metric_row ltn__metric_ssim = {
    .entry = {.name = "ssim", .help = "structural similarity, at most 1, higher is better",
              .cite = "Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13(4), 2004"},
    .measure = measure,
};
