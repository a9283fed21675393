/* resample.c - the weights of antialiased resampling: y_o = sum_p w((p + 1/2 - c_o) / s) x_p / sum, c_o the
 * place that sample o looks at, s = max(1, scale); bicubic is Keys' (1981) with a = -1/2. */
#include "resample.h"

#include <math.h>
#include <string.h>

enum { SMALL = 128 * 64 }; /* below this many pixels a second thread costs more than it gives */

static double bicubic(double x)
{
    const double a = -0.5;
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double bilinear(double x)
{
    return x < 1 ? 1 - x : 0;
}

static double box(double x)
{
    return 1;
}

static double sinc(double x)
{
    return x == 0 ? 1 : sin(M_PI * x) / (M_PI * x);
}

static double lanczos(double x)
{
    return x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static double gaussian(double x)
{
    return exp(-x * x / 2);
}

/* By ltn_filter; radius in units of the scale. The gaussian's depends on the scale: see radius(). */
static const struct {
    double (*weight)(double x);
    double radius;
} filters[] = {{bicubic, 2}, {bilinear, 1}, {box, 0.5}, {lanczos, 3}, {gaussian, 0}, {box, 0}};

static double radius(ltn_filter f, double scale)
{
    return f == LTN_GAUSSIAN ? (int)(scale / 0.3 + 1) + 0.5 : filters[f].radius * scale;
}

int ltn__filter_span(ltn_filter f, double scale)
{
    return f == LTN_NEAREST ? 1 : (int)(2 * radius(f, LTN_MAX(1, scale)));
}

static ltn_status sparse_new(ltn_ctx *ctx, int rows, int columns, size_t entries, ltn_sparse *m)
{
    *m = (ltn_sparse){rows, columns, ltn__alloc(ctx, (size_t)rows + 1, sizeof(int)),
                      ltn__alloc(ctx, entries, sizeof(int)), ltn__alloc(ctx, entries, sizeof(float))};
    return m->start && m->index && m->weight ? LTN_OK : LTN_ENOMEM;
}

void ltn__sparse_free(ltn_ctx *ctx, ltn_sparse *m)
{
    ltn__free(ctx, m->start);
    ltn__free(ctx, m->index);
    ltn__free(ctx, m->weight);
    *m = (ltn_sparse){0};
}

/* The pixels that sample o sees; a filter that falls between pixels takes the nearest. */
static void seen(const ltn_sampling *s, double at, double reach, int *first, int *last)
{
    *first = (int)floor(at - reach + 0.5);
    *last = (int)floor(at + reach + 0.5) - 1;
    if (s->filter == LTN_NEAREST || *last < *first) *first = *last = (int)floor(at);
    if (s->end != LTN_CLIP) return;
    *first = LTN_MAX(0, LTN_MIN(*first, s->in - 1));
    *last = LTN_MAX(*first, LTN_MIN(*last, s->in - 1));
}

/* The pixel that stands at position p of the line. */
static int place(const ltn_sampling *s, int p)
{
    const int period = s->end == LTN_REFLECT ? 2 * s->in : s->in, q = (p % period + period) % period;
    return q < s->in ? q : period - 1 - q;
}

ltn_status ltn__sparse_sampling(ltn_ctx *ctx, const ltn_sampling *s, ltn_sparse *m)
{
    const double wide = LTN_MAX(1, s->scale), reach = radius(s->filter, wide);
    const ltn_status st = sparse_new(ctx, s->out, s->in, (size_t)s->out * (size_t)(2 * reach + 2), m);
    if (st) return st;
    int n = 0;
    for (int o = 0; o < s->out; o++) {
        const double at = (o + 0.5) * s->scale + s->shift;
        int first, last;
        double sum = 0;
        seen(s, at, reach, &first, &last);
        for (int p = first; p <= last; p++) sum += filters[s->filter].weight(fabs(p + 0.5 - at) / wide);
        for (int p = first; p <= last; p++, n++) {
            m->index[n] = place(s, p);
            m->weight[n] = (float)(filters[s->filter].weight(fabs(p + 0.5 - at) / wide) / sum);
        }
        m->start[o + 1] = n;
    }
    return LTN_OK;
}

ltn_status ltn__sparse_transpose(ltn_ctx *ctx, const ltn_sparse *m, ltn_sparse *t)
{
    const ltn_status st = sparse_new(ctx, m->columns, m->rows, (size_t)m->start[m->rows], t);
    if (st) return st;
    for (int k = 0; k < m->start[m->rows]; k++) t->start[m->index[k] + 1]++;
    for (int i = 0; i < t->rows; i++) t->start[i + 1] += t->start[i];
    for (int o = 0; o < m->rows; o++)
        for (int k = m->start[o]; k < m->start[o + 1]; k++) {
            const int at = t->start[m->index[k]]++;
            t->index[at] = o;
            t->weight[at] = m->weight[k];
        }
    memmove(t->start + 1, t->start, (size_t)t->rows * sizeof *t->start);
    t->start[0] = 0;
    return LTN_OK;
}

void ltn__sparse_apply(const ltn_sparse *rows, const ltn_sparse *columns, const float *in, float *between,
                       float *out, int threads)
{
    const size_t wide = (size_t)columns->columns, n = (size_t)columns->rows;
#pragma omp parallel for num_threads((size_t)rows->columns * wide < SMALL ? 1 : threads)
    for (int i = 0; i < rows->columns; i++) {
        const float *x = in + (size_t)i * wide;
        for (size_t o = 0; o < n; o++) {
            float sum = 0;
            for (int k = columns->start[o]; k < columns->start[o + 1]; k++)
                sum += columns->weight[k] * x[columns->index[k]];
            between[(size_t)i * n + o] = sum;
        }
    }
#pragma omp parallel for num_threads((size_t)rows->columns * wide < SMALL ? 1 : threads)
    for (int o = 0; o < rows->rows; o++) {
        float *y = out + (size_t)o * n;
        memset(y, 0, n * sizeof *y);
        for (int k = rows->start[o]; k < rows->start[o + 1]; k++) {
            const float w = rows->weight[k], *x = between + (size_t)rows->index[k] * n;
            for (size_t j = 0; j < n; j++) y[j] += w * x[j];
        }
    }
}
