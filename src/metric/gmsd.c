/* gmsd.c - gradient magnitude similarity deviation (Xue, Zhang, Mou, Bovik, IEEE TIP 23(2), 2014): the
 * standard deviation over the pixels of
 *
 *     (2 ga gb + T) / (ga^2 + gb^2 + T),   g = |(Prewitt x, Prewitt y)|,   T = 170 / 255^2,
 *
 * on the luminance at half the size, zeros beyond the border. 0 for equal pictures; lower is better. */
#include <math.h>

#include "metric.h"

/* The value at (x, y), 0 outside. */
static double at(const double *p, int width, int height, int x, int y)
{
    return x >= 0 && x < width && y >= 0 && y < height ? p[(int64_t)y * width + x] : 0;
}

/* The squared length of the Prewitt gradient. */
static double gradient2(const double *p, int width, int height, int x, int y)
{
    double gx = 0, gy = 0;
    for (int k = -1; k <= 1; k++) {
        gx += at(p, width, height, x + 1, y + k) - at(p, width, height, x - 1, y + k);
        gy += at(p, width, height, x + k, y + 1) - at(p, width, height, x + k, y - 1);
    }
    return (gx * gx + gy * gy) / 9;
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    static const double luminance[3] = {0.299, 0.587, 0.114}, grey[3] = {1};
    const double *weight = ltn__colours(a) == 1 ? grey : luminance;
    const int width = (a->width + 1) / 2, height = (a->height + 1) / 2;
    const int64_t n = (int64_t)width * height;
    const double T = 170. / (255 * 255);
    const ltn_status s = ltn__metric_wants(m, a, 1, 1);
    if (s) return s;
    double *p = ltn__alloc(m->ctx, (size_t)n, 3 * sizeof *p), *q = p + n, *similarity = q + n;
    if (!p) return LTN_ENOMEM;
    ltn__metric_half(a, weight, p);
    ltn__metric_half(b, weight, q);
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) {
        const int x = (int)(i % width), y = (int)(i / width);
        const double aa = gradient2(p, width, height, x, y), bb = gradient2(q, width, height, x, y);
        mean += similarity[i] = (2 * sqrt(aa * bb) + T) / (aa + bb + T);
    }
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) variance += (similarity[i] - mean) * (similarity[i] - mean);
    *value = sqrt(variance / (double)n);
    ltn__free(m->ctx, p);
    return LTN_OK;
}

const ltn_metric_row ltn__metric_gmsd = {
    .entry = {.name = "gmsd",
              .help = "gradient magnitude similarity deviation, 0 for equal pictures, lower is better",
              .cite = "Xue, Zhang, Mou, Bovik, IEEE Trans. Image Processing 23(2), 2014"},
    .measure = measure,
};
