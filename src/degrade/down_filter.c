/* down_filter.c - which filter has made a picture smaller. What it lets through of the power of photographs folds into
 * the frequencies f that are left, in units of the small picture's pixels:
 *
 *     |K(f)|^2 = sum_m |k((f + m) / factor)|^2 (|f + m| / |f|)^-a
 *
 * and is held against the spectrum that is seen (kernel_power.c). Bicubic is what most programs do, and has a start. */
#include <math.h>

#include "blind.h"

enum { FILTERS = LTN_NEAREST + 1, MIDDLE = 16, ALIASES = 3 };
static const double slope = 2.4; /* a of photographs */
static const double start = 45;  /* of the log likelihood: pictures are softer than the law, as if by softer filters */

/* |k|^2 at i / 2n cycles per pixel of the large picture, i = 0 ... n. */
static ltn_status response(ltn_ctx *ctx, ltn_filter filter, int factor, int n, double *out)
{
    const ltn_sampling line = {2 * MIDDLE * factor, 2 * MIDDLE, filter, factor, 0, LTN_WRAP};
    ltn_sparse m = {0};
    const ltn_status s = ltn__sparse_sampling(ctx, &line, &m);
    for (int i = 0; !s && i <= n; i++) {
        double re = 0, im = 0;
        for (int j = m.start[MIDDLE]; j < m.start[MIDDLE + 1]; j++) {
            const double angle = M_PI * i / n * m.index[j];
            re += m.weight[j] * cos(angle), im += m.weight[j] * sin(angle);
        }
        out[i] = re * re + im * im;
    }
    ltn__sparse_free(ctx, &m);
    return s;
}

/* |K|^2 of all frequencies of p, of n = factor side / 2 responses. */
static void fold(ltn_power *p, const double *k, int n)
{
    const int side = p->side;
    for (int i = 0; i < p->n; i++) {
        const int u = p->at[i] / side, v = p->at[i] % side;
        const double r = hypot(u, v > side / 2 ? v - side : v);
        double sum = 0;
        for (int a = u - ALIASES * side; a <= u + ALIASES * side; a += side)
            for (int b = v - (ALIASES + 1) * side; b <= v + ALIASES * side; b += side)
                if (abs(a) <= n && abs(b) <= n) sum += k[abs(a)] * k[abs(b)] * pow(hypot(a, b) / r, -slope);
        p->power[i] = (float)sum;
    }
}

/* The likeliest, of a spectrum that is open. */
static ltn_status search(ltn_ctx *ctx, ltn_power *p, int factor, ltn_filter *found)
{
    const int n = factor * p->side / 2;
    double least = INFINITY, *k = ltn__alloc(ctx, (size_t)n + 1, sizeof *k);
    ltn_status s = k ? LTN_OK : LTN_ENOMEM;
    for (int i = 0; i < FILTERS && !s; i++) {
        s = response(ctx, (ltn_filter)i, factor, n, k);
        if (s) break;
        fold(p, k, n);
        const double misfit = ltn__power_least(p) - (i == LTN_BICUBIC ? start : 0);
        if (misfit < least) least = misfit, *found = (ltn_filter)i;
    }
    ltn__free(ctx, k);
    return s;
}

ltn_status ltn__down_filter(ltn_ctx *ctx, const ltn_image *y, int factor, ltn_filter *found)
{
    if (y->width < LTN_POWER_SIDE || y->height < LTN_POWER_SIDE)
        return ltn__fail(ctx, LTN_ESHAPE, "downsample: filter=auto needs %d pixels a side, not %d x %d", LTN_POWER_SIDE,
                         y->width, y->height);
    ltn_image grey = {0};
    ltn_power power = {0};
    *found = LTN_BICUBIC;
    ltn_status s = ltn__grey(ctx, y, &grey);
    if (!s) s = ltn__power_open(ctx, &grey, "downsample: filter=auto", &power);
    if (!s) s = search(ctx, &power, factor, found);
    ltn__power_close(&power);
    ltn_image_free(ctx, &grey);
    return s;
}
