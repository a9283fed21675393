/* psnr.c - peak signal-to-noise ratio in dB: 10 log10(1 / mean (a - b)^2), over all pixels and colours;
 * infinite for equal pictures. */
#include <math.h>

#include "metric.h"

static ltn_status measure(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value)
{
    const int64_t n = (int64_t)a->width * a->height * ltn__colours(a);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a->data[i] - b->data[i];
        sum += d * d;
    }
    *value = sum > 0 ? 10 * log10((double)n / sum) : sum == 0 ? INFINITY : NAN;
    return LTN_OK;
}

const ltn_metric_row ltn__metric_psnr = {
    .entry = {.name = "psnr", .help = "peak signal-to-noise ratio, dB, higher is better"},
    .measure = measure,
};
