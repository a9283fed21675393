/* samples.c - what several draws say together: their mean, their deviation at every pixel, how the truth lies among
 * them, and the deviation as a picture in false colours beside a bar that tells what they mean. */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t count(const ltn_image *im, int channels)
{
    return (int64_t)im->width * im->height * channels;
}

static int colours(const ltn_image *im)
{
    return im->channels == 2 || im->channels == 4 ? im->channels - 1 : im->channels;
}

ltn_status cmd_spread(ltn_ctx *ctx, const ltn_image *draw, int n, ltn_image *mean, ltn_image *deviation)
{
    *deviation = (ltn_image){0};
    ltn_status s = ltn_image_new(ctx, draw->width, draw->height, draw->channels, draw, mean);
    if (!s) s = ltn_image_new(ctx, draw->width, draw->height, colours(draw), NULL, deviation);
    for (int64_t i = 0; !s && i < count(draw, draw->channels); i++) {
        double sum = 0, square = 0;
        for (int k = 0; k < n; k++) sum += draw[k].data[i];
        for (int k = 0; k < n; k++) square += pow(draw[k].data[i] - sum / n, 2);
        mean->data[i] = (float)(sum / n);
        if (i < count(draw, colours(draw))) deviation->data[i] = (float)sqrt(square / (n - 1));
    }
    return s;
}

double cmd_spread_mean(const ltn_image *deviation)
{
    double sum = 0;
    const int64_t n = count(deviation, deviation->channels);
    for (int64_t i = 0; i < n; i++) sum += pow(deviation->data[i], 2);
    return sqrt(sum / (double)n);
}

/* ---- Against the truth ---- */
static int ascending(const void *a, const void *b)
{
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

/* The value of rank h = 1 .. n of a sorted list, linear between. */
static double ranked(const float *v, int n, double h)
{
    const int k = (int)fmin(fmax(floor(h), 1), n);
    return k < n ? v[k - 1] + (h - k) * (v[k] - v[k - 1]) : v[n - 1];
}

void cmd_spread_check(const ltn_image *draw, int n, const ltn_image *mean, const ltn_image *deviation,
                      const ltn_image *truth, cmd_calibration *out)
{
    enum { TAIL = 20 }; /* a twentieth on either side */
    const int64_t all = count(draw, colours(truth) < colours(draw) ? colours(truth) : colours(draw));
    double error = 0, inside = 0;
    float *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; v && i < all; i++) {
        error += pow((double)truth->data[i] - mean->data[i], 2);
        for (int k = 0; k < n; k++) v[k] = draw[k].data[i];
        qsort(v, (size_t)n, sizeof *v, ascending);
        inside += truth->data[i] >= ranked(v, n, (n + 1.0) / TAIL) &&
                  truth->data[i] <= ranked(v, n, (n + 1) * (1 - 1.0 / TAIL));
    }
    free(v);
    *out = (cmd_calibration){sqrt(error / (double)all) / (cmd_spread_mean(deviation) * sqrt(1 + 1.0 / n)),
                             n >= TAIL - 1 && v ? inside / (double)all : NAN};
}

/* ---- The map ---- */
enum { GAP = 6, BAR = 10, GLYPH_W = 3, GLYPH_H = 5, LABEL = 6 };

/* From black over violet, red and orange to pale yellow: lightness grows all the way. */
static void false_colour(double v, float rgb[3])
{
    static const float stop[][3] = {{0, 0, 0.02f},        {0.25f, 0.05f, 0.4f},  {0.6f, 0.15f, 0.4f},
                                    {0.88f, 0.35f, 0.2f}, {0.98f, 0.65f, 0.15f}, {1, 1, 0.8f}};
    enum { LAST = sizeof stop / sizeof *stop - 1 };
    const double at = fmin(fmax(v, 0), 1) * LAST;
    const int k = at < LAST ? (int)at : LAST - 1;
    for (int c = 0; c < 3; c++) rgb[c] = stop[k][c] + (float)(at - k) * (stop[k + 1][c] - stop[k][c]);
}

static void put(ltn_image *im, int x, int y, const float rgb[3])
{
    if (x < 0 || y < 0 || x >= im->width || y >= im->height) return;
    for (int c = 0; c < 3; c++) im->data[((int64_t)c * im->height + y) * im->width + x] = rgb[c];
}

/* Digits and the point, 3 x 5 dots, rows from above, the left dot first. */
static void write_number(ltn_image *im, int x, int y, int scale, const char *text)
{
    static const int digit[10] = {0x7B6F, 0x2C97, 0x73E7, 0x73CF, 0x5BC9, 0x79CF, 0x79EF, 0x7249, 0x7BEF, 0x7BCF};
    static const float black[3] = {0, 0, 0};
    for (; *text; text++, x += (GLYPH_W + 1) * scale) {
        const int bits = *text == '.' ? 0x0002 : digit[*text - '0'];
        for (int i = 0; i < GLYPH_W * scale; i++)
            for (int j = 0; j < GLYPH_H * scale; j++)
                if (bits >> (GLYPH_W * GLYPH_H - 1 - (j / scale * GLYPH_W + i / scale)) & 1)
                    put(im, x + i, y + j, black);
    }
}

/* The least of 1, 2, 5 times a power of ten, 0.001 at least, that 99 in 100 values do not exceed. */
static double top_of_scale(const float *v, int64_t n)
{
    static const double step[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5};
    for (size_t k = 0; k < sizeof step / sizeof *step; k++) {
        int64_t above = 0;
        for (int64_t i = 0; i < n; i++) above += v[i] > step[k];
        if (above * 100 <= n) return step[k];
    }
    return 1;
}

/* The root of the mean square over the colours, in the first plane of out. */
static void over_colours(const ltn_image *deviation, float *out)
{
    const int64_t n = count(deviation, 1);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int c = 0; c < deviation->channels; c++) sum += pow(deviation->data[c * n + i], 2);
        out[i] = (float)sqrt(sum / deviation->channels);
    }
}

ltn_status cmd_spread_map(ltn_ctx *ctx, const ltn_image *deviation, ltn_image *out)
{
    const int w = deviation->width, h = deviation->height, least = 4 * GLYPH_H, tall = h > least ? h : least;
    const int scale = 1 + tall / 256, left = w + GAP * scale, right = left + BAR * scale;
    ltn_image one = {0};
    float rgb[3];
    char text[16];
    *out = (ltn_image){0};
    ltn_status s = ltn_image_new(ctx, w, h, 1, NULL, &one);
    if (!s) s = ltn_image_new(ctx, right + (2 + LABEL * (GLYPH_W + 1)) * scale, tall, 3, NULL, out);
    if (!s) {
        over_colours(deviation, one.data);
        const double top = top_of_scale(one.data, count(&one, 1));
        for (int64_t i = 0; i < count(out, 3); i++) out->data[i] = 1;
        for (int64_t i = 0; i < count(&one, 1); i++) {
            false_colour(one.data[i] / top, rgb);
            put(out, (int)(i % w), (int)(i / w), rgb);
        }
        for (int y = 0; y < tall; y++)
            for (int x = left; x < right; x++) {
                false_colour(1 - y / (tall - 1.0), rgb);
                put(out, x, y, rgb);
            }
        snprintf(text, sizeof text, "%g", top);
        write_number(out, right + 2 * scale, 0, scale, text);
        snprintf(text, sizeof text, "%g", top / 2);
        write_number(out, right + 2 * scale, (tall - GLYPH_H * scale) / 2, scale, text);
        write_number(out, right + 2 * scale, tall - GLYPH_H * scale, scale, "0");
    }
    ltn_image_free(ctx, &one);
    return s;
}
