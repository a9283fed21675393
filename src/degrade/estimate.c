/* estimate.c - the noise level of a picture from its patches: small patches of natural pictures fill only
 * some directions of their space, so the least eigenvalues of their covariance are the noise's alone. The set
 * of eigenvalues is cut from above until its mean is its median (Chen, Zhu and Heng, ICCV 2015); sigma^2 is
 * that mean. Patches span the colours, whose detail is nearly shared: this is what tells noise from fine
 * texture. Pixels that are exactly black in all colours are holes or clipped, and count as unknown: each
 * covariance is taken over the patches that know both of its pixels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "degrade.h"
#include "resample.h"

enum { SIDE = 4, COLOURS = 3, MOST = SIDE * SIDE * COLOURS, PATCHES = 20000, DIFFERENCES = 30 };

typedef struct moments {
    int n; /* values per patch */
    /* Of value i, of i times j, and how often, where both are known. */
    double sum[MOST][MOST], square[MOST][MOST], count[MOST][MOST];
} moments;

/* Unknown values become NaN. */
static void read_patch(const float *y, ltn_size s, int colours, int top, int left, float *v)
{
    const size_t plane = (size_t)s.width * (size_t)s.height;
    for (int p = 0; p < SIDE * SIDE; p++) {
        const size_t at = (size_t)(top + p / SIDE) * (size_t)s.width + (size_t)(left + p % SIDE);
        bool black = true;
        for (int c = 0; c < colours; c++) black &= y[(size_t)c * plane + at] == 0;
        for (int c = 0; c < colours; c++) v[c * SIDE * SIDE + p] = black ? NAN : y[(size_t)c * plane + at];
    }
}

static void add_patch(moments *m, const float *v)
{
    int known[MOST], n = 0;
    for (int i = 0; i < m->n; i++)
        if (!isnan(v[i])) known[n++] = i;
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++) {
            const int i = known[a], j = known[b];
            m->count[i][j] += 1;
            m->sum[i][j] += v[i];
            m->square[i][j] += (double)v[i] * v[j];
        }
}

static void gather(const float *y, ltn_size s, int colours, moments *m)
{
    const int64_t wide = s.width - SIDE + 1, all = wide * (s.height - SIDE + 1);
    /* A stride without a common factor with the width, so that samples do not line up in columns. */
    const int64_t stride = all <= PATCHES ? 1 : all / PATCHES + (wide % (all / PATCHES) == 0);
    float v[MOST];
    m->n = colours * SIDE * SIDE;
    for (int64_t k = 0; k < all; k += stride) {
        read_patch(y, s, colours, (int)(k / wide), (int)(k % wide), v);
        add_patch(m, v);
    }
}

/* False: some pair of values was never seen together, or too seldom. */
static bool covariance(const moments *m, double *c)
{
    for (int i = 0; i < m->n; i++)
        for (int j = 0; j < m->n; j++) {
            const double n = m->count[i][j];
            if (n < 4 * m->n) return false;
            c[i * m->n + j] = m->square[i][j] / n - m->sum[i][j] / n * (m->sum[j][i] / n);
        }
    return true;
}

/* The mean of the least eigenvalues, as many of them as have half below their mean and half above. */
static double floor_of(double *value, int n)
{
    for (int i = 1; i < n; i++) /* insertion sort, least first */
        for (int j = i; j > 0 && value[j] < value[j - 1]; j--) {
            const double t = value[j];
            value[j] = value[j - 1];
            value[j - 1] = t;
        }
    double sum = 0;
    for (int i = 0; i < n; i++) sum += value[i];
    for (; n > 1; sum -= value[--n]) {
        const double median = 0.5 * (value[(n - 1) / 2] + value[n / 2]);
        if (sum / n <= median) break;
    }
    return sum / n;
}

/* Few patches: half the least squares of the finest diagonal differences, |d| / 2 ~ N(0, sigma^2), by their
 * median. */
static int ascending(const void *a, const void *b)
{
    return (*(const float *)a > *(const float *)b) - (*(const float *)a < *(const float *)b);
}

static double by_differences(ltn_ctx *ctx, const float *y, ltn_size s, int colours, bool *told, ltn_status *status)
{
    const size_t w = (size_t)s.width, h = (size_t)s.height;
    float *d = ltn__alloc(ctx, w * h * (size_t)colours, sizeof *d);
    size_t n = 0;
    *told = false;
    *status = d ? LTN_OK : LTN_ENOMEM;
    for (int c = 0; d && c < colours; c++)
        for (size_t i = 0; i + 1 < h; i++)
            for (size_t j = 0; j + 1 < w; j++) {
                const float *p = y + ((size_t)c * h + i) * w + j;
                if (p[0] == 0 || p[1] == 0 || p[w] == 0 || p[w + 1] == 0) continue;
                d[n++] = fabsf(p[0] - p[1] - p[w] + p[w + 1]) / 2;
            }
    if (n) qsort(d, n, sizeof *d, ascending);
    const double sigma = n ? d[n / 2] / 0.6745 : 0;
    *told = n >= DIFFERENCES;
    ltn__free(ctx, d);
    return sigma;
}

double ltn__estimate_sigma(ltn_ctx *ctx, const float *y, ltn_size s, bool *told, ltn_status *status)
{
    const int colours = s.channels < COLOURS ? 1 : COLOURS;
    double sigma = by_differences(ctx, y, s, colours, told, status);
    if (*status || s.width < SIDE || s.height < SIDE) return sigma;
    moments *m = ltn__alloc(ctx, 1, sizeof *m);
    double c[MOST * MOST], value[MOST];
    *status = m ? LTN_OK : LTN_ENOMEM;
    if (m) {
        gather(y, s, colours, m);
        if (covariance(m, c) && (*told = true) && !(*status = ltn__eigen(ctx, m->n, c, value)))
            sigma = LTN_MIN(sigma, sqrt(LTN_MAX(floor_of(value, m->n), 0)));
    }
    ltn__free(ctx, m);
    return sigma;
}

/* ---- Noise that depends on the brightness: the same eigenvalues for places of like brightness, colour by
 * colour ---- */
enum { NOISE_PATCHES = 60000, ENOUGH = 400, LEAST_SEEN = SIDE * SIDE / 2 };

/* A patch without its mean, which is returned; what is not seen becomes NaN. NaN: too little of it is seen, or too much
 * may be clipped. */
static double centred_patch(const float *y, const float *seen, int width, size_t at, float *v)
{
    double sum = 0;
    int clipped = 0, n = 0;
    for (int p = 0; p < SIDE * SIDE; p++) {
        const size_t i = at + (size_t)(p / SIDE) * (size_t)width + (size_t)(p % SIDE);
        v[p] = NAN;
        if (seen && seen[i] == 0) continue;
        clipped += y[i] <= 0 || y[i] >= 1;
        sum += v[p] = y[i];
        n++;
    }
    if (n < LEAST_SEEN || clipped > 1) return NAN;
    for (int p = 0; p < SIDE * SIDE; p++) v[p] -= (float)(sum / n);
    return sum / n;
}

/* Visits every stride-th patch of all colours. classes NULL: the means go to `mean`; else patches are added to the
 * class whose bound lies above theirs. Returns how many patches count. */
static size_t visit(const float *y, const float *seen, ltn_size s, float *mean, const double *bound, moments *class,
                    double *sum, double *patches)
{
    const int64_t wide = s.width - SIDE + 1, tall = s.height - SIDE + 1, all = wide * tall * s.channels;
    const int64_t stride = all <= NOISE_PATCHES ? 1 : all / NOISE_PATCHES + (wide % (all / NOISE_PATCHES) == 0);
    size_t n = 0;
    float v[SIDE * SIDE];
    for (int64_t k = 0; k < all; k += stride) {
        const int64_t c = k / (wide * tall), at = (c * s.height + k % (wide * tall) / wide) * s.width + k % wide;
        const double m = centred_patch(y, seen, s.width, (size_t)at, v);
        if (!(m > 1e-3)) continue; /* nothing depends on what is black */
        if (!class) {
            mean[n++] = (float)m;
            continue;
        }
        int i = 0;
        while (i < LTN_CLASSES - 1 && m > bound[i]) i++;
        add_patch(&class[i], v);
        sum[i] += m, patches[i]++;
        n++;
    }
    return n;
}

/* Classes of equal size; those that cannot be told apart are left out. */
static ltn_status classes(ltn_ctx *ctx, const float *y, const float *seen, ltn_size s, ltn_noise_levels *out)
{
    float *mean = ltn__alloc(ctx, 2 * NOISE_PATCHES + 2, sizeof *mean);
    moments *class = ltn__alloc(ctx, LTN_CLASSES, sizeof *class);
    double bound[LTN_CLASSES] = {0}, sum[LTN_CLASSES] = {0}, patches[LTN_CLASSES] = {0}, c[MOST * MOST], value[MOST];
    ltn_status status = mean && class ? LTN_OK : LTN_ENOMEM;
    const size_t n = status ? 0 : visit(y, seen, s, mean, NULL, NULL, NULL, NULL);
    if (n >= ENOUGH) {
        qsort(mean, n, sizeof *mean, ascending);
        for (int i = 0; i < LTN_CLASSES; i++)
            bound[i] = mean[(n - 1) * (size_t)(i + 1) / LTN_CLASSES], class[i].n = SIDE * SIDE;
        visit(y, seen, s, NULL, bound, class, sum, patches);
    }
    for (int i = 0; i < LTN_CLASSES && n >= ENOUGH && !status; i++) {
        if (!covariance(&class[i], c) || (status = ltn__eigen(ctx, SIDE * SIDE, c, value))) continue;
        int least = 0;
        for (int k = 1; k < SIDE * SIDE; k++) least = value[k] < value[least] ? k : least;
        value[least] = value[SIDE * SIDE - 1]; /* of the constant patch: 0, for means are taken off */
        out->mean[out->n] = sum[i] / patches[i];
        out->variance[out->n++] = LTN_MAX(floor_of(value, SIDE * SIDE - 1), 0);
    }
    ltn__free(ctx, mean);
    ltn__free(ctx, class);
    return status;
}

/* The share of black and white values at places whose neighbours, black and white ones apart, are neither. */
static double impulses(const float *y, const float *seen, ltn_size s)
{
    double extreme = 0, all = 0;
    for (int c = 0; c < s.channels; c++)
        for (int i = 1; i + 1 < s.height; i++)
            for (int j = 1; j + 1 < s.width; j++) {
                const size_t at = ((size_t)c * (size_t)s.height + (size_t)i) * (size_t)s.width + (size_t)j;
                double sum = 0;
                int n = 0;
                for (int k = 0; k < 9; k++) {
                    const size_t to = at + (size_t)(k / 3) * (size_t)s.width + (size_t)(k % 3) - (size_t)s.width - 1;
                    if (to == at || (seen && seen[to] == 0) || y[to] <= 0 || y[to] >= 1) continue;
                    sum += y[to], n++;
                }
                if ((seen && seen[at] == 0) || n < 2 || sum < 0.1 * n || sum > 0.9 * n) continue;
                extreme += y[at] <= 0 || y[at] >= 1;
                all++;
            }
    return all > 0 ? extreme / all : 0;
}

ltn_status ltn__noise_levels(ltn_ctx *ctx, const float *y, const float *seen, ltn_size s, ltn_noise_levels *out)
{
    *out = (ltn_noise_levels){0};
    ltn_status status = LTN_OK;
    if (s.width < 2 * SIDE || s.height < 2 * SIDE)
        return ltn__fail(ctx, LTN_ESHAPE, "a measurement of %d x %d is too small to tell its noise by", s.width,
                         s.height);
    float *known = ltn__alloc(ctx, ltn__size_count(s), sizeof *known);
    if (!known) return LTN_ENOMEM;
    for (size_t i = 0; i < ltn__size_count(s); i++) known[i] = seen && seen[i] == 0 ? 0 : y[i];
    out->sigma = ltn__estimate_sigma(ctx, known, s, &out->told, &status);
    out->impulses = impulses(y, seen, s);
    ltn__free(ctx, known);
    return status ? status : classes(ctx, y, seen, s, out);
}

/* ---- The same with noise made even: z = integral dv / sqrt(V(v)) has noise of deviation 1 wherever V is the variance
 * (Anscombe 1948 for Poisson's), and then patches of all colours tell how large it is. What it should be, bends of z,
 * counts and clipped values heeded, noise tells that is drawn on the picture's local means: half the difference of two
 * such pictures. Where there is more noise than that, V is larger by as much. ---- */
enum { BENDS = 1024, KNOWN = 100 /* added to z, since 0 is unknown */ };

typedef struct evening {
    double top, z[BENDS + 1]; /* at k top / BENDS */
} evening;

static double even(const evening *e, double v)
{
    const double at = LTN_MIN(LTN_MAX(v, 0) / e->top * BENDS, BENDS - 1e-6);
    const int k = (int)at;
    return e->z[k] + (at - k) * (e->z[k + 1] - e->z[k]) + LTN_MIN(v, 0) * (e->z[1] - e->z[0]) / e->top * BENDS;
}

/* Below half of the darkest class V is taken for what it is there: z would run away. */
static void make_even(const ltn_noise_row *row, const ltn_spec *spec, const ltn_noise_levels *l, double top, evening *e)
{
    e->top = top;
    e->z[0] = 0;
    for (int k = 0; k < BENDS; k++) {
        const double v = LTN_MAX((k + 0.5) * top / BENDS, l->mean[0] / 2);
        e->z[k + 1] = e->z[k] + top / BENDS / sqrt(LTN_MAX(row->variance(spec, v), 1e-12));
    }
}

/* Of what is seen in a square of 5 pixels a side around (i, j). */
static float local_mean(const float *y, const float *seen, int64_t width, int64_t height, int64_t i, int64_t j)
{
    enum { AWAY = 2 };
    double sum = 0, n = 0;
    for (int64_t a = LTN_MAX(i - AWAY, 0); a <= LTN_MIN(i + AWAY, height - 1); a++)
        for (int64_t b = LTN_MAX(j - AWAY, 0); b <= LTN_MIN(j + AWAY, width - 1); b++)
            if (seen[a * width + b] != 0) sum += y[a * width + b], n++;
    return n > 0 ? (float)LTN_MAX(sum / n, 0) : 0;
}

static void local_means(const float *y, const float *seen, ltn_size s, float *mean)
{
    const size_t plane = (size_t)s.width * (size_t)s.height;
    for (int c = 0; c < s.channels; c++, y += plane, seen += plane)
        for (int i = 0; i < s.height; i++)
            for (int j = 0; j < s.width; j++) *mean++ = local_mean(y, seen, s.width, s.height, i, j);
}

/* z of y where all colours are seen, and of half the difference of the drawn ones, which take the places of both. */
static void even_out(const evening *e, const float *y, const float *seen, ltn_size s, float *z, float *drawn,
                     const float *other)
{
    const size_t n = ltn__size_count(s), plane = n / (size_t)s.channels;
    for (size_t i = 0; i < plane; i++) {
        bool known = true;
        for (size_t k = i; k < n; k += plane) known &= seen[k] != 0;
        for (size_t k = i; k < n; k += plane) {
            z[k] = known ? (float)(even(e, y[k]) + KNOWN) : 0;
            drawn[k] = known ? (float)((even(e, drawn[k]) - even(e, other[k])) / sqrt(2) + KNOWN) : 0;
        }
    }
}

ltn_status ltn__noise_evened(ltn_ctx *ctx, const float *y, const float *seen, ltn_size s, const ltn_noise_row *row,
                             const ltn_spec *spec, ltn_noise_levels *l)
{
    const size_t n = ltn__size_count(s);
    float *z = NULL, *drawn[2] = {NULL, NULL}, top = 0, bottom = 0;
    ltn_status status = ltn__alloc_each(ctx, n, (float **const[]){&z, &drawn[0], &drawn[1]}, 3);
    double sigma = 0, due = 0;
    bool told = false;
    if (!status) {
        evening e;
        for (size_t i = 0; i < n; i++) top = LTN_MAX(top, y[i]), bottom = LTN_MIN(bottom, y[i]);
        make_even(row, spec, l, top, &e);
        local_means(y, seen, s, drawn[0]);
        memcpy(drawn[1], drawn[0], n * sizeof *drawn[1]);
        for (int k = 0; k < 2; k++) {
            row->add(spec, (ltn_rng){(uint64_t)k, LTN_STREAM_PROBE}, drawn[k], n);
            for (size_t i = 0; i < n; i++) drawn[k][i] = LTN_MIN(LTN_MAX(drawn[k][i], bottom), top);
        }
        even_out(&e, y, seen, s, z, drawn[0], drawn[1]);
        sigma = ltn__estimate_sigma(ctx, z, s, &told, &status);
    }
    if (!status) due = ltn__estimate_sigma(ctx, drawn[0], s, &told, &status);
    for (int i = 0; i < l->n && told && due > 0 && !status; i++)
        l->variance[i] = sigma * sigma / (due * due) * row->variance(spec, l->mean[i]);
    ltn__free(ctx, z);
    for (int k = 0; k < 2; k++) ltn__free(ctx, drawn[k]);
    return status;
}
