/* half.c - a picture seen from farther away, as GMSD and HaarPSI look at it: one plane of its colours,
 * averaged over squares of 2 x 2 pixels. */
#include "metric.h"

void ltn__metric_half(const ltn_image *im, const double weight[3], double *out)
{
    const int width = (im->width + 1) / 2, height = (im->height + 1) / 2, colours = ltn__colours(im);
    const size_t plane = (size_t)im->width * (size_t)im->height;
    for (int64_t i = 0; i < (int64_t)width * height; i++) out[i] = 0;
    for (int c = 0; c < colours; c++) {
        const float *p = im->data + (size_t)c * plane;
        for (int y = 0; y < im->height; y++)
            for (int x = 0; x < im->width; x++)
                out[(int64_t)(y / 2) * width + x / 2] += weight[c] / 4 * *p++;
    }
}
