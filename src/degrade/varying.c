/* varying.c - blur that differs from place to place: y = sum_k w_k (h_k * x), kernels h_0 ... h_{n-1} and weights w_k
 * of the pixels of y that are shares of one, linear between neighbours (product-convolution; Nagy and O'Leary 1998;
 * Escande and Weiss 2017). A pixel's place between the first kernel and the last is its distance from the middle, or a
 * map's grey. The kernels are gaussians, or files. The prox is left to conjugate gradients. */
#include <math.h>
#include <string.h>

#include "convolve.h"

enum { MOST = 16 };

typedef struct varying {
    int n;
    ltn_operator blur[MOST];
    float *place;       /* of each pixel of y, 0 ... n - 1 */
    float *part, *seen; /* h_k^T (w_k y); h_k * x, or w_k y */
} varying;

static float weight(float place, int k)
{
    return fmaxf(1 - fabsf(place - (float)k), 0);
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const varying *v = op->state;
    const size_t m = ltn__size_count(op->y), pixels = m / (size_t)op->y.channels;
    memset(y, 0, m * sizeof *y);
    for (int k = 0; k < v->n; k++) {
        v->blur[k].map.forward(&v->blur[k], x, v->seen);
        for (size_t i = 0; i < m; i++) y[i] += weight(v->place[i % pixels], k) * v->seen[i];
    }
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const varying *v = op->state;
    const size_t n = ltn__size_count(op->x), m = ltn__size_count(op->y), pixels = m / (size_t)op->y.channels;
    memset(x, 0, n * sizeof *x);
    for (int k = 0; k < v->n; k++) {
        for (size_t i = 0; i < m; i++) v->seen[i] = weight(v->place[i % pixels], k) * y[i];
        v->blur[k].map.adjoint(&v->blur[k], v->seen, v->part);
        for (size_t i = 0; i < n; i++) x[i] += v->part[i];
    }
}

/* The first kernel's: pixels repeated outwards where the border is not measured. */
static void naive(const ltn_operator *op, const float *y, float *x)
{
    const varying *v = op->state;
    if (v->blur[0].map.naive) v->blur[0].map.naive(&v->blur[0], y, x);
    else memcpy(x, y, ltn__size_count(op->x) * sizeof *x);
}

/* ---- Opening ---- */
/* Gaussian k of n: its deviation goes evenly from sigma to corner. All have the size of the widest. */
static ltn_status gaussian(ltn_ctx *ctx, const ltn_spec *s, int k, int n, ltn_kernel *out)
{
    const double from = ltn__num(s, "sigma"), to = ltn__num(s, "corner"),
                 sigma = from + (to - from) * k / LTN_MAX(n - 1, 1);
    const int c = (int)(LTN_MAX(from, to) / 0.3 + 1), side = 2 * c + 1;
    const ltn_status st = ltn__kernel_new(ctx, side, side, out);
    for (int i = 0; !st && i < side * side; i++) {
        const double y = i / side - c, x = i % side - c;
        out->tap[i] = (float)exp(-(x * x + y * y) / (2 * sigma * sigma));
    }
    return st;
}

/* The k-th kernel and the number of them; the caller frees the taps. */
static ltn_status kernel(ltn_ctx *ctx, const ltn_spec *s, int k, int *n, ltn_kernel *out)
{
    const char *files = ltn__str(s, "kernels");
    ltn_arena arena = {.ctx = ctx};
    const char *path[MOST];
    *out = (ltn_kernel){0};
    *n = files ? ltn__spec_split(ctx, files, ':', &arena, path, MOST) : (int)ltn__num(s, "levels");
    ltn_status st = *n < 0 ? (ltn_status)*n : LTN_OK;
    if (!st && files && (ltn__given(s, "sigma") || ltn__given(s, "corner") || ltn__given(s, "levels")))
        st = ltn__fail(ctx, LTN_EINVAL, "varying: kernels excludes sigma, corner and levels");
    if (!st) st = files ? ltn__kernel_read(ctx, path[k], out) : gaussian(ctx, s, k, *n, out);
    if (!st) st = ltn__kernel_normalize(ctx, files ? path[k] : "varying", out);
    ltn__arena_free(&arena);
    return st;
}

/* Pixel (i, j) of y lies at (i + top, j + left) of x. */
static void by_distance(const ltn_operator *op, int left, int top, float *place)
{
    const double w = op->x.width, h = op->x.height, far = hypot(w - 1, h - 1) / 2;
    for (int i = 0; i < op->y.height; i++)
        for (int j = 0; j < op->y.width; j++)
            *place++ = far > 0 ? (float)(hypot(j + left - (w - 1) / 2, i + top - (h - 1) / 2) / far) : 0;
}

static ltn_status by_map(const ltn_operator *op, const char *path, int left, int top, float *place)
{
    ltn_image im = {0};
    ltn_status s = ltn_image_read(op->ctx, path, &im);
    const size_t plane = (size_t)op->x.width * (size_t)op->x.height;
    const int colours = im.channels > 2 ? 3 : 1;
    if (!s && (im.width != op->x.width || im.height != op->x.height))
        s = ltn__fail(op->ctx, LTN_ESHAPE, "%s: the map is %d x %d, the picture %d x %d", path, im.width, im.height,
                      op->x.width, op->x.height);
    for (int i = 0; !s && i < op->y.height; i++)
        for (int j = 0; j < op->y.width; j++, place++)
            for (int c = 0; c < colours; c++)
                *place += im.data[(size_t)c * plane + (size_t)(i + top) * (size_t)im.width + (size_t)(j + left)] /
                          (float)colours;
    ltn_image_free(op->ctx, &im);
    return s;
}

static ltn_status open_blurs(ltn_operator *op, varying *v, const ltn_spec *s)
{
    ltn_status st = LTN_OK;
    int n = 1;
    for (int k = 0; !st && k < n; k++) {
        ltn_kernel h;
        v->blur[k] = (ltn_operator){.ctx = op->ctx, .row = op->row, .x = op->x, .y = op->x};
        st = kernel(op->ctx, s, k, &n, &h);
        v->n = k + 1;
        if (!st) st = ltn__convolve_open(&v->blur[k], s, &h, false);
        ltn__free(op->ctx, h.tap);
        if (!st && k && (v->blur[k].y.width != v->blur[0].y.width || v->blur[k].y.height != v->blur[0].y.height))
            st = ltn__fail(op->ctx, LTN_ESHAPE, "varying: boundary=valid needs kernels of one size");
    }
    return st;
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    varying *v = op->state = ltn__alloc(op->ctx, 1, sizeof *v);
    if (!v) return LTN_ENOMEM;
    const ltn_status st = open_blurs(op, v, s);
    if (st) return st;
    op->y = v->blur[0].y;
    const size_t n = ltn__size_count(op->x), pixels = (size_t)op->y.width * (size_t)op->y.height;
    const int left = (op->x.width - op->y.width) / 2, top = (op->x.height - op->y.height) / 2;
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .naive = naive};
    v->place = ltn__alloc(op->ctx, pixels, sizeof *v->place);
    v->part = ltn__alloc(op->ctx, n, sizeof *v->part);
    v->seen = ltn__alloc(op->ctx, ltn__size_count(op->y), sizeof *v->seen);
    if (!v->place || !v->part || !v->seen) return LTN_ENOMEM;
    const char *map = ltn__str(s, "map");
    const ltn_status read = map ? by_map(op, map, left, top, v->place) : LTN_OK;
    if (!map) by_distance(op, left, top, v->place);
    for (size_t i = 0; i < pixels; i++) v->place[i] = fminf(fmaxf(v->place[i], 0), 1) * (float)(v->n - 1);
    return read;
}

static void close(ltn_operator *op)
{
    varying *v = op->state;
    if (!v) return;
    for (int k = 0; k < v->n; k++) ltn__convolve_close(&v->blur[k]);
    ltn__free(op->ctx, v->place);
    ltn__free(op->ctx, v->part);
    ltn__free(op->ctx, v->seen);
    ltn__free(op->ctx, v);
    op->state = NULL;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    ltn_kernel h;
    int n;
    const ltn_status st = kernel(ctx, s, 0, &n, &h);
    ltn__free(ctx, h.tap);
    return st ? st : ltn__convolve_input(s, h.width, h.height, y, x);
}

static const ltn_param params[] = {
    {.name = "sigma", .help = "of the gaussian in the middle, or where the map is black, pixels", .type = LTN_FLOAT,
     .def = 0.5, .min = 0.05, .max = 100},
    {.name = "corner", .help = "of the gaussian in the corners, or where the map is white", .type = LTN_FLOAT, .def = 4,
     .min = 0.05, .max = 100},
    {.name = "levels", .help = "gaussians from one to the other, between which it is linear", .type = LTN_INT, .def = 4,
     .min = 1, .max = MOST},
    {.name = "map", .help = "a picture of the same size: black is the first kernel, white the last",
     .type = LTN_STRING},
    {.name = "kernels", .help = "files in the gaussians' place, FILE:FILE", .type = LTN_STRING},
    LTN_BORDER_PARAM,
    {0},
};

const ltn_degradation_row ltn__degradation_varying = {
    .entry = {.name = "varying", .alias = "varying-blur|space-varying|space-varying-blur",
              .help = "blur that differs from place to place", .cite = "Nagy and O'Leary 1998", .param = params},
    .input_size = input_size, .open = open, .close = close,
};
