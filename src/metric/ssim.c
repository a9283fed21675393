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
    double similarity, contrast; /* summed over the pixels */
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

/* Adds one line of the map. */
static void line(scan *s, int y)
{
    const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    const bool inside = y >= RADIUS && y < s->height - RADIUS;
    for (int x = 0; x < s->width; x++) {
        const double ma = s->sum[0][x], mb = s->sum[1][x];
        const double saa = fmax(s->sum[2][x] - ma * ma, 0), sbb = fmax(s->sum[3][x] - mb * mb, 0);
        const double sab = s->sum[4][x] - ma * mb;
        const double contrast = (2 * sab + c2) / (saa + sbb + c2);
        s->similarity += (2 * ma * mb + c1) / (ma * ma + mb * mb + c1) * contrast;
        if (inside && x >= RADIUS && x < s->width - RADIUS) s->contrast += contrast;
    }
}

static void window(double w[TAPS])
{
    double norm = 0;
    for (int k = 0; k < TAPS; k++) {
        const double x = (k - RADIUS) / 1.5;
        norm += w[k] = exp(-x * x / 2);
    }
    for (int k = 0; k < TAPS; k++) w[k] /= norm;
}

ltn_status ltn__ssim(ltn_ctx *ctx, const float *a, const float *b, int width, int height, double *similarity,
                     double *contrast)
{
    scan s = {.a = a, .b = b, .width = width, .height = height};
    const size_t wide = (size_t)width + 2 * RADIUS;
    double *block = ltn__alloc(ctx, (TAPS + 2) * MAPS, wide * sizeof *block), *p = block;
    if (!block) return LTN_ENOMEM;
    for (int m = 0; m < MAPS; m++) {
        for (int k = 0; k < TAPS; k++, p += wide) s.row[k][m] = p;
        s.wide[m] = p, p += wide;
        s.sum[m] = p, p += wide;
    }
    window(s.window);
    for (int y = 0, next = 0; y < height; y++) {
        for (; next < height && next <= y + RADIUS; next++) filter_along_x(&s, next);
        filter_along_y(&s, y);
        line(&s, y);
    }
    ltn__free(ctx, block);
    const double inside = LTN_MAX(width - 2. * RADIUS, 0) * LTN_MAX(height - 2. * RADIUS, 0);
    if (similarity) *similarity = s.similarity / ((double)width * height);
    if (contrast) *contrast = inside ? s.contrast / inside : 0;
    return LTN_OK;
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    const int colours = ltn__colours(a);
    const size_t plane = (size_t)a->width * (size_t)a->height;
    ltn_status status = LTN_OK;
    double total = 0, one = 0;
    for (size_t c = 0; c < (size_t)colours && !status; c++, total += one)
        status = ltn__ssim(m->ctx, a->data + c * plane, b->data + c * plane, a->width, a->height, &one, NULL);
    *value = total / colours;
    return status;
}

const ltn_metric_row ltn__metric_ssim = {
    .entry = {.name = "ssim", .help = "structural similarity, at most 1, higher is better",
              .cite = "Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13(4), 2004"},
    .measure = measure,
};
