/* haarpsi.c - Haar wavelet-based perceptual similarity (Reisenhofer, Bosse, Kutyniok, Wiegand, Signal
 * Processing: Image Communication 61, 2018), on pictures of half the size, in YIQ, white 255:
 *
 *     (l^-1(sum w l(s) / sum w))^2,   l(s) = 1 / (1 + exp(-alpha s)),   alpha = 4.2,
 *
 * summed over the pixels and over two directions: s the mean of S(|ha|, |hb|) over the Haar coefficients h of
 * widths 2 and 4, w the larger coefficient of width 8, S(p, q) = (2 p q + C) / (p^2 + q^2 + C), C = 30.
 * Colour is a third term: S of the averages of I and of Q over 2 x 2 pixels, w the mean of the other two. 1
 * for equal pictures. */
#include <math.h>

#include "metric.h"

enum { LEAST = 16 }; /* pixels a side */
static const double alpha = 4.2, C = 30;

/* The integral of a plane: sum[y][x] is over the pixels above and left of (x, y); of row width + 1. */
typedef struct integral {
    int width, height;
    double *sum;
} integral;

static double box(const integral *p, int x, int y, int width, int height)
{
    const int64_t row = p->width + 1;
    const int64_t l = LTN_MAX(0, LTN_MIN(x, p->width)), r = LTN_MAX(0, LTN_MIN(x + width, p->width));
    const int64_t t = LTN_MAX(0, LTN_MIN(y, p->height)), b = LTN_MAX(0, LTN_MIN(y + height, p->height));
    return p->sum[b * row + r] - p->sum[b * row + l] - p->sum[t * row + r] + p->sum[t * row + l];
}

/* The Haar coefficient of width k around (x, y), zeros beyond the border: upper half less lower half, or left
 * less right. */
static double haar(const integral *p, int x, int y, int k, bool across)
{
    const int h = k / 2;
    x -= h - 1, y -= h - 1;
    const double d = across ? box(p, x, y, h, k) - box(p, x + h, y, h, k)
                            : box(p, x, y, k, h) - box(p, x, y + h, k, h);
    return fabs(d) / k;
}

static double similar(double p, double q)
{
    return (2 * p * q + C) / (p * p + q * q + C);
}

static double logistic(double s)
{
    return 1 / (1 + exp(-alpha * s));
}

/* Adds w l(s) and w of one pixel; a and b: Y, I and Q. */
static void pixel(const integral *a, const integral *b, int planes, int x, int y, double sum[2])
{
    double both = 0;
    for (int across = 0; across < 2; across++) {
        const double s = similar(haar(a, x, y, 2, across), haar(b, x, y, 2, across)) / 2 +
                         similar(haar(a, x, y, 4, across), haar(b, x, y, 4, across)) / 2;
        const double w = fmax(haar(a, x, y, 8, across), haar(b, x, y, 8, across));
        sum[0] += w * logistic(s);
        sum[1] += w;
        both += w;
    }
    if (planes == 1) return;
    double s = 0;
    for (int c = 1; c < 3; c++)
        s += similar(fabs(box(&a[c], x, y, 2, 2)) / 4, fabs(box(&b[c], x, y, 2, 2)) / 4) / 2;
    sum[0] += both / 2 * logistic(s);
    sum[1] += both / 2;
}

/* The integrals of a picture's planes; half is room for one. */
static void integrate(const ltn_image *im, int planes, double *half, integral *out)
{
    static const double yiq[3][3] = {
        {0.299, 0.587, 0.114}, {0.5959, -0.2746, -0.3213}, {0.2115, -0.5227, 0.3112}};
    static const double grey[3] = {1};
    for (int c = 0; c < planes; c++) {
        const int64_t row = out[c].width + 1;
        ltn__metric_half(im, planes == 1 ? grey : yiq[c], half);
        for (int y = 0; y < out[c].height; y++) {
            double line = 0, *above = out[c].sum + y * row;
            for (int x = 0; x < out[c].width; x++) {
                line += 255 * half[(int64_t)y * out[c].width + x];
                above[row + x + 1] = above[x + 1] + line;
            }
        }
    }
}

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    const ltn_status status = ltn__metric_wants(m, a, LEAST, LEAST);
    if (status) return status;
    const int width = (a->width + 1) / 2, height = (a->height + 1) / 2, planes = ltn__colours(a);
    const size_t size = (size_t)(width + 1) * (size_t)(height + 1);
    double *room = ltn__alloc(m->ctx, 7 * size, sizeof *room), sum[2] = {0};
    if (!room) return LTN_ENOMEM;
    integral p[3], q[3];
    for (int c = 0; c < 3; c++) {
        p[c] = (integral){width, height, room + (size_t)c * size};
        q[c] = (integral){width, height, room + (size_t)(c + 3) * size};
    }
    integrate(a, planes, room + 6 * size, p);
    integrate(b, planes, room + 6 * size, q);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) pixel(p, q, planes, x, y, sum);
    ltn__free(m->ctx, room);
    const double l = sum[1] == 0 ? logistic(1) : sum[0] / sum[1]; /* two black pictures are equal */
    *value = log(l / (1 - l)) / alpha;
    *value *= *value;
    return LTN_OK;
}

const ltn_metric_row ltn__metric_haarpsi = {
    .entry = {.name = "haarpsi",
              .help = "Haar wavelet-based perceptual similarity, at most 1, higher is better",
              .cite =
                  "Reisenhofer, Bosse, Kutyniok, Wiegand, Signal Processing: Image Communication 61, 2018"},
    .measure = measure,
};
