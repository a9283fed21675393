/* downsample.c - a smaller picture: A = R_h (x) R_w, antialiased resampling of rows and columns, so that
 * A A^T = (Q_h D_h Q_h^T) (x) (Q_w D_w Q_w^T) and the prox is exact:
 * x = u + A^T (Q_h (x) Q_w) [1 / (d_i e_j + 1/gamma)] (Q_h (x) Q_w)^T (y - A u).
 * boundary=clip: pixels are areas, y(i) looks at the middle of its factor x factor pixels, and the filter
 * ends at the border, as in PIL and most programs. boundary=circular: y(i) = (k * x)(factor i) with a kernel
 * of 4 factor taps (bicubic), as in deepinv, where factor i is left of the kernel's middle; with
 * order=correlation, right of it, as in deepinv before 0.4: half a pixel off in either case. boundary=mirror: as clip,
 * but that the picture goes on as its mirror image, as in MATLAB's imresize. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "blind.h"

enum { LARGEST = 1024 }; /* side of y up to which eigenvectors are computed */
enum { SMALL = 64 * 64 };  /* fewer values: one thread */
enum { ROWS, COLUMNS };

/* Per axis: R and R^T, the eigenvectors of R R^T as rows of q, columns of qt, bicubic enlargement. */
typedef struct axis {
    ltn_sparse down, up, naive;
    float *q, *qt;
    double *value;
} axis;

typedef struct resizer {
    axis axis[2];
    float *between, *part[2], *back; /* planes */
    float *value, *whole, *turned;   /* singular values of all channels; two measurements */
} resizer;

static size_t small(const ltn_operator *op) { return (size_t)op->y.width * (size_t)op->y.height; }
static size_t large(const ltn_operator *op) { return (size_t)op->x.width * (size_t)op->x.height; }

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const resizer *r = op->state;
    for (int c = 0; c < op->x.channels; c++)
        ltn__sparse_apply(&r->axis[ROWS].down, &r->axis[COLUMNS].down, x + (size_t)c * large(op), r->between,
                          y + (size_t)c * small(op), op->ctx->threads);
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const resizer *r = op->state;
    for (int c = 0; c < op->x.channels; c++)
        ltn__sparse_apply(&r->axis[ROWS].up, &r->axis[COLUMNS].up, y + (size_t)c * small(op), r->between,
                          x + (size_t)c * large(op), op->ctx->threads);
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const resizer *r = op->state;
    for (int c = 0; c < op->x.channels; c++)
        ltn__sparse_apply(&r->axis[ROWS].naive, &r->axis[COLUMNS].naive, y + (size_t)c * small(op),
                          r->between, x + (size_t)c * large(op), op->ctx->threads);
}

/* c (m x n) = a (m x k) b (k x n), four rows of b at a time. */
static void product(const float *a, const float *b, float *c, int m, int k, int n, int threads)
{
    const size_t w = (size_t)n, d = (size_t)k;
#pragma omp parallel for num_threads(m * n < SMALL ? 1 : threads)
    for (int i = 0; i < m; i++) {
        const float *r = a + (size_t)i * d;
        float *restrict to = c + (size_t)i * w;
        size_t p = 0;
        memset(to, 0, w * sizeof *to);
        for (; p + 4 <= d; p += 4) {
            const float *b0 = b + p * w, *b1 = b0 + w, *b2 = b1 + w, *b3 = b2 + w;
            for (size_t j = 0; j < w; j++)
                to[j] += r[p] * b0[j] + r[p + 1] * b1[j] + r[p + 2] * b2[j] + r[p + 3] * b3[j];
        }
        for (; p < d; p++)
            for (size_t j = 0; j < w; j++) to[j] += r[p] * b[p * w + j];
    }
}

/* part[0] = (A A^T + lambda)^-1 part[0]; where both vanish, 0. */
static void solve(const ltn_operator *op, double lambda)
{
    const resizer *r = op->state;
    const axis *v = &r->axis[ROWS], *h = &r->axis[COLUMNS];
    const int n = op->y.height, m = op->y.width, threads = op->ctx->threads;
    product(v->q, r->part[0], r->part[1], n, n, m, threads);
    product(r->part[1], h->qt, r->part[0], n, m, m, threads);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            const double s = LTN_MAX(v->value[i], 0) * LTN_MAX(h->value[j], 0);
            r->part[0][i * m + j] *= s + lambda > 1e-12 ? (float)(1 / (s + lambda)) : 0;
        }
    product(v->qt, r->part[0], r->part[1], n, n, m, threads);
    product(r->part[1], h->q, r->part[0], n, m, m, threads);
}

static void prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const resizer *r = op->state;
    const axis *v = &r->axis[ROWS], *h = &r->axis[COLUMNS];
    const size_t n = small(op), big = large(op);
    for (int c = 0; c < op->x.channels; c++, u += big, x += big, y += n) {
        ltn__sparse_apply(&v->down, &h->down, u, r->between, r->part[0], op->ctx->threads);
        for (size_t i = 0; i < n; i++) r->part[0][i] = y[i] - r->part[0][i];
        solve(op, 1 / gamma);
        ltn__sparse_apply(&v->up, &h->up, r->part[0], r->between, r->back, op->ctx->threads);
        for (size_t i = 0; i < big; i++) x[i] = u[i] + r->back[i];
    }
}

/* ---- Singular values: A A^T = U S^2 U^T, V = A^T U S^-1 ---- */
static size_t count(const ltn_operator *op)
{
    return ltn__size_count(op->y);
}

static void values(const ltn_operator *op, float *s)
{
    const resizer *r = op->state;
    memcpy(s, r->value, count(op) * sizeof *s);
}

/* What is below a thousandth of the largest is taken for 0: V would be rounding errors there. */
static void find_values(const ltn_operator *op)
{
    const resizer *r = op->state;
    float *s = r->value;
    const int n = op->y.height, m = op->y.width;
    float most = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) {
            const double square = LTN_MAX(r->axis[ROWS].value[i], 0) * LTN_MAX(r->axis[COLUMNS].value[j], 0);
            s[i * m + j] = (float)sqrt(square);
            most = LTN_MAX(most, s[i * m + j]);
        }
    for (size_t i = 0; i < small(op); i++) s[i] = s[i] > 1e-3f * most ? s[i] : 0;
    for (int c = 1; c < op->x.channels; c++) memcpy(s + (size_t)c * small(op), s, small(op) * sizeof *s);
}

static void ut(const ltn_operator *op, const float *y, float *c)
{
    const resizer *r = op->state;
    const int n = op->y.height, m = op->y.width, threads = op->ctx->threads;
    for (int k = 0; k < op->y.channels; k++, y += small(op), c += small(op)) {
        product(r->axis[ROWS].q, y, r->part[1], n, n, m, threads);
        product(r->part[1], r->axis[COLUMNS].qt, c, n, m, m, threads);
    }
}

static void u(const ltn_operator *op, const float *c, float *y)
{
    const resizer *r = op->state;
    const int n = op->y.height, m = op->y.width, threads = op->ctx->threads;
    for (int k = 0; k < op->y.channels; k++, y += small(op), c += small(op)) {
        product(r->axis[ROWS].qt, c, r->part[1], n, n, m, threads);
        product(r->part[1], r->axis[COLUMNS].q, y, n, m, m, threads);
    }
}

/* c /= s, 0 where s is 0. */
static void over_values(const ltn_operator *op, float *c)
{
    const resizer *r = op->state;
    for (size_t i = 0; i < count(op); i++) c[i] = r->value[i] > 0 ? c[i] / r->value[i] : 0;
}

static void vt(const ltn_operator *op, const float *x, float *c)
{
    const resizer *r = op->state;
    forward(op, x, r->whole);
    ut(op, r->whole, c);
    over_values(op, c);
}

static void v(const ltn_operator *op, const float *c, float *x)
{
    const resizer *r = op->state;
    memcpy(r->whole, c, count(op) * sizeof *c);
    over_values(op, r->whole);
    u(op, r->whole, r->turned);
    adjoint(op, r->turned, x);
}

static const ltn_svd svd = {count, values, vt, v, ut, u};

/* ---- Opening ---- */
static ltn_status open_vectors(ltn_ctx *ctx, axis *a)
{
    const int n = a->down.rows;
    const size_t count = (size_t)n * (size_t)n;
    double *gram = ltn__alloc(ctx, count, sizeof *gram);
    a->q = ltn__alloc(ctx, count, sizeof *a->q);
    a->qt = ltn__alloc(ctx, count, sizeof *a->qt);
    a->value = ltn__alloc(ctx, (size_t)n, sizeof *a->value);
    ltn_status s = gram && a->q && a->qt && a->value ? LTN_OK : LTN_ENOMEM;
    for (int p = 0; !s && p < a->up.rows; p++)
        for (int i = a->up.start[p]; i < a->up.start[p + 1]; i++)
            for (int j = a->up.start[p]; j < a->up.start[p + 1]; j++)
                gram[(size_t)a->up.index[i] * (size_t)n + (size_t)a->up.index[j]] +=
                    (double)a->up.weight[i] * a->up.weight[j];
    if (!s) s = ltn__eigen(ctx, n, gram, a->value);
    for (size_t i = 0; !s && i < count; i++) {
        a->q[i] = (float)gram[i];
        a->qt[i % (size_t)n * (size_t)n + i / (size_t)n] = (float)gram[i];
    }
    ltn__free(ctx, gram);
    return s;
}

static ltn_status open_values(ltn_operator *op)
{
    resizer *r = op->state;
    float **const room[] = {&r->value, &r->whole, &r->turned};
    if (ltn__alloc_each(op->ctx, count(op), room, LTN_COUNT(room))) return LTN_ENOMEM;
    find_values(op);
    return LTN_OK;
}

/* Where sample i of y looks: clip: the middle of its pixels; circular: factor i plus the centre of the
 * kernel. */
static ltn_status open_axis(ltn_operator *op, const ltn_spec *s, int in, int out, bool vectors, axis *a)
{
    const ltn_filter filter = (ltn_filter)ltn__num(s, "filter");
    const int factor = (int)ltn__num(s, "factor");
    const ltn_line_end end = (ltn_line_end)ltn__num(s, "boundary");
    const bool wrap = end == LTN_WRAP, turned = ltn__num(s, "order") != 0;
    const double scale = end == LTN_CLIP ? (double)in / out : factor;
    double centre = scale / 2;
    if (wrap) centre = ltn__filter_span(filter, scale) % 2 ? 0.5 : turned ? 0 : 1;
    else if (filter == LTN_NEAREST) centre = floor(centre) + 0.5;
    const ltn_sampling down = {in, out, filter, scale, wrap ? centre - scale / 2 : 0, end};
    const ltn_sampling enlarge = {out, in, LTN_BICUBIC, 1 / scale, 0.5 - centre / scale, LTN_CLIP};
    ltn_status st = ltn__sparse_sampling(op->ctx, &down, &a->down);
    if (!st) st = ltn__sparse_transpose(op->ctx, &a->down, &a->up);
    if (!st) st = ltn__sparse_sampling(op->ctx, &enlarge, &a->naive);
    return st || !vectors ? st : open_vectors(op->ctx, a);
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    const int f = (int)ltn__num(s, "factor");
    if (f > op->x.width || f > op->x.height)
        return ltn__fail(op->ctx, LTN_ESHAPE, "downsample: factor %d is larger than the picture, %d x %d", f,
                         op->x.width, op->x.height);
    op->y.width = (op->x.width + f - 1) / f;
    op->y.height = (op->x.height + f - 1) / f;
    const bool vectors = LTN_MAX(op->y.width, op->y.height) <= LARGEST;
    resizer *r = op->state = ltn__alloc(op->ctx, 1, sizeof *r);
    if (!r) return LTN_ENOMEM;
    ltn_status st = open_axis(op, s, op->x.height, op->y.height, vectors, &r->axis[ROWS]);
    if (!st) st = open_axis(op, s, op->x.width, op->y.width, vectors, &r->axis[COLUMNS]);
    if (st) return st;
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .prox = vectors ? prox : NULL, .naive = naive,
                        .exact = vectors && ltn__num(s, "filter") != LTN_GAUSSIAN,
                        .svd = vectors ? &svd : NULL};
    const size_t between = LTN_MAX((size_t)op->x.height * (size_t)op->y.width,
                                   (size_t)op->y.height * (size_t)op->x.width);
    r->between = ltn__alloc(op->ctx, between, sizeof *r->between);
    r->part[0] = ltn__alloc(op->ctx, small(op), sizeof(float));
    r->part[1] = ltn__alloc(op->ctx, small(op), sizeof(float));
    r->back = ltn__alloc(op->ctx, large(op), sizeof(float));
    if (!r->between || !r->part[0] || !r->part[1] || !r->back) return LTN_ENOMEM;
    return vectors ? open_values(op) : LTN_OK;
}

static void close(ltn_operator *op)
{
    resizer *r = op->state;
    if (!r) return;
    for (int i = 0; i < 2; i++) {
        ltn__sparse_free(op->ctx, &r->axis[i].down);
        ltn__sparse_free(op->ctx, &r->axis[i].up);
        ltn__sparse_free(op->ctx, &r->axis[i].naive);
        ltn__free(op->ctx, r->axis[i].q);
        ltn__free(op->ctx, r->axis[i].qt);
        ltn__free(op->ctx, r->axis[i].value);
        ltn__free(op->ctx, r->part[i]);
    }
    ltn__free(op->ctx, r->between);
    ltn__free(op->ctx, r->back);
    ltn__free(op->ctx, r->value);
    ltn__free(op->ctx, r->whole);
    ltn__free(op->ctx, r->turned);
    ltn__free(op->ctx, r);
    op->state = NULL;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    const int f = (int)ltn__num(s, "factor");
    if (y.width > INT32_MAX / f || y.height > INT32_MAX / f)
        return ltn__fail(ctx, LTN_ESHAPE, "downsample: %d x %d times %d is too large", y.width, y.height, f);
    *x = (ltn_size){f * y.width, f * y.height, y.channels};
    return LTN_OK;
}

static ltn_status find(ltn_ctx *ctx, const ltn_evidence *e, const char **key, char *value, size_t room)
{
    static const char names[] = LTN_FILTER_NAMES;
    const char *name = names;
    ltn_filter filter;
    if (strcmp(*key, "filter") && strcmp(*key, "kernel"))
        return ltn__fail(ctx, LTN_EINVAL, "downsample: %s=auto: only filter is found from a measurement", *key);
    const ltn_status s = ltn__down_filter(ctx, e->y, (int)ltn__num(e->told, "factor"), &filter);
    for (int i = 0; !s && i < (int)filter; i++) name = strchr(name, '|') + 1;
    if (!s) snprintf(value, room, "%.*s", (int)strcspn(name, "|"), name);
    return s;
}

static const ltn_param params[] = {
    {.name = "factor", .help = "how many times smaller y is", .type = LTN_INT, .def = 4, .min = 1,
     .max = 1024},
    {.name = "filter", .help = "against aliasing; none takes single pixels; auto: found", .type = LTN_CHOICE,
     .choices = LTN_FILTER_NAMES, .alias = "kernel"},
    {.name = "boundary", .help = "clip: centred, cut at the border, as PIL; circular: as deepinv; mirror: as MATLAB",
     .type = LTN_CHOICE, .choices = "clip|circular|mirror"},
    {.name = "order", .help = "circular: as deepinv since 0.4, or as before", .type = LTN_CHOICE,
     .choices = "convolution|correlation"},
    {0},
};

const ltn_degradation_row ltn__degradation_downsample = {
    .entry = {.name = "downsample", .alias = "upscale|sr|superresolution|super-resolution",
              .help = "a smaller picture, to be enlarged", .param = params},
    .input_size = input_size, .open = open, .find = find, .close = close,
};
