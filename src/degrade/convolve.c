/* convolve.c - y = k * x by Fourier transforms. Circular borders: A = F^H H F, so the prox is
 * x = u + F^H conj(H) (F y - H F u) / (|H|^2 + 1/gamma). Mirror borders with a kernel symmetric about both
 * axes: the same with the cosine transform, for A is diagonal there (Martucci 1994). Otherwise the picture is
 * extended (or not: valid) to a grid of a fast size, convolved there and cut; the prox is left to conjugate
 * gradients. */
#include "convolve.h"

#include <math.h>
#include <string.h>

enum { MIRROR, CIRCULAR, VALID };

typedef struct convolution {
    ltn_plane plane;
    float *response;      /* H, laid out as a spectrum */
    float *spectrum[2];
    /* Extension to a grid, else NULL: grid (i, j) shows pixel (at[1][i], at[0][j]) of x; y begins at
     * (top, left). */
    float *grid;
    int *at[2], extent[2]; /* columns, rows */
    int left, top;
} convolution;

/* ---- Diagonal ---- */
/* dst = response (or its conjugate) times src. */
static void multiply(const convolution *c, bool adjoint, const float *src, float *dst)
{
    const size_t n = ltn__plane_floats(&c->plane);
    const float *h = c->response;
    if (c->plane.basis == LTN_COSINE) {
        for (size_t i = 0; i < n; i++) dst[i] = h[i] * src[i];
        return;
    }
    const float sign = adjoint ? -1 : 1;
    for (size_t i = 0; i < n; i += 2) {
        const float a = src[i], b = src[i + 1], hr = h[i], hi = sign * h[i + 1];
        dst[i] = hr * a - hi * b;
        dst[i + 1] = hr * b + hi * a;
    }
}

static void filter_plane(const convolution *c, bool adjoint, const float *x, float *y)
{
    ltn__plane_forward(&c->plane, x, c->spectrum[0]);
    multiply(c, adjoint, c->spectrum[0], c->spectrum[0]);
    ltn__plane_inverse(&c->plane, c->spectrum[0], y);
}

static void diagonal(const ltn_operator *op, bool adjoint, const float *x, float *y)
{
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    for (int i = 0; i < op->x.channels; i++)
        filter_plane(op->state, adjoint, x + (size_t)i * n, y + (size_t)i * n);
}

static void diagonal_forward(const ltn_operator *op, const float *x, float *y)
{
    diagonal(op, false, x, y);
}

static void diagonal_adjoint(const ltn_operator *op, const float *y, float *x)
{
    diagonal(op, true, y, x);
}

/* In the spectrum: u += conj(H) (y - H u) / (|H|^2 + lambda). */
static void prox_spectrum(const convolution *c, float lambda, const float *y, float *u)
{
    const size_t n = ltn__plane_floats(&c->plane);
    const float *h = c->response;
    if (c->plane.basis == LTN_COSINE) {
        for (size_t i = 0; i < n; i++) u[i] += h[i] * (y[i] - h[i] * u[i]) / (h[i] * h[i] + lambda);
        return;
    }
    for (size_t i = 0; i < n; i += 2) {
        const float hr = h[i], hi = h[i + 1], over = 1 / (hr * hr + hi * hi + lambda);
        const float a = y[i] - (hr * u[i] - hi * u[i + 1]), b = y[i + 1] - (hr * u[i + 1] + hi * u[i]);
        u[i] += (hr * a + hi * b) * over;
        u[i + 1] += (hr * b - hi * a) * over;
    }
}

static void diagonal_prox(const ltn_operator *op, const float *y, double gamma, const float *u, float *x)
{
    const convolution *c = op->state;
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    for (size_t i = 0; i < n * (size_t)op->x.channels; i += n) {
        ltn__plane_forward(&c->plane, y + i, c->spectrum[0]);
        ltn__plane_forward(&c->plane, u + i, c->spectrum[1]);
        prox_spectrum(c, (float)(1 / gamma), c->spectrum[0], c->spectrum[1]);
        ltn__plane_inverse(&c->plane, c->spectrum[1], x + i);
    }
}

/* ---- Singular values, where A is diagonal: s = |H|, V the real basis of the transform, U = V turned by the
 * phase of H. Cosine: orthonormal DCT-II. Fourier: Hartley's, c(k) = (Re - Im) f(k) / sqrt(n), which is real,
 * orthonormal and has n coefficients; k and -k are the half spectrum's real and imaginary parts. ---- */
/* f times H / |H|, or its conjugate; where H is 0, times 1. */
static void turn(const convolution *c, bool back, float *f)
{
    const size_t n = ltn__plane_floats(&c->plane);
    const float *h = c->response;
    if (c->plane.basis == LTN_COSINE) {
        for (size_t i = 0; i < n; i++) f[i] = h[i] < 0 ? -f[i] : f[i];
        return;
    }
    for (size_t i = 0; i < n; i += 2) {
        const float s = hypotf(h[i], h[i + 1]), re = s > 0 ? h[i] / s : 1,
                    im = s > 0 ? (back ? -1 : 1) * h[i + 1] / s : 0, a = f[i], b = f[i + 1];
        f[i] = re * a - im * b;
        f[i + 1] = re * b + im * a;
    }
}

static size_t count(const ltn_operator *op)
{
    return ltn__size_count(op->x);
}

static void values(const ltn_operator *op, float *s)
{
    const convolution *c = op->state;
    const ltn_plane *p = &c->plane;
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    const float *h = c->response;
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < p->height; b++) {
            const size_t k = (size_t)(a * p->height + b);
            if (p->basis == LTN_COSINE) s[k] = fabsf(h[k]);
            else s[ltn__plane_opposite(p, a, b)] = s[k] = hypotf(h[2 * k], h[2 * k + 1]);
        }
    for (int i = 1; i < op->x.channels; i++) memcpy(s + (size_t)i * n, s, n * sizeof *s);
}

static void analyse(const ltn_operator *op, bool turned, const float *x, float *out)
{
    const convolution *c = op->state;
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    for (size_t i = 0; i < count(op); i += n) {
        ltn__plane_forward(&c->plane, x + i, c->spectrum[0]);
        if (turned) turn(c, true, c->spectrum[0]);
        ltn__plane_pack(&c->plane, c->spectrum[0], out + i);
    }
}

static void synthesise(const ltn_operator *op, bool turned, const float *in, float *x)
{
    const convolution *c = op->state;
    const size_t n = (size_t)op->x.width * (size_t)op->x.height;
    for (size_t i = 0; i < count(op); i += n) {
        ltn__plane_unpack(&c->plane, in + i, c->spectrum[0]);
        if (turned) turn(c, false, c->spectrum[0]);
        ltn__plane_inverse(&c->plane, c->spectrum[0], x + i);
    }
}

static void vt(const ltn_operator *op, const float *x, float *c) { analyse(op, false, x, c); }
static void v(const ltn_operator *op, const float *c, float *x) { synthesise(op, false, c, x); }
static void ut(const ltn_operator *op, const float *y, float *c) { analyse(op, true, y, c); }
static void u(const ltn_operator *op, const float *c, float *y) { synthesise(op, true, c, y); }
static const ltn_svd svd = {count, values, vt, v, ut, u};

/* ---- On an extended grid ---- */
static void grid_forward(const ltn_operator *op, const float *x, float *y)
{
    const convolution *c = op->state;
    const size_t row = (size_t)c->plane.width;
    for (int k = 0; k < op->x.channels; k++) {
        memset(c->grid, 0, row * (size_t)c->plane.height * sizeof *c->grid);
        for (int i = 0; i < c->extent[1]; i++) {
            const float *from = x + (size_t)c->at[1][i] * (size_t)op->x.width;
            for (int j = 0; j < c->extent[0]; j++) c->grid[(size_t)i * row + (size_t)j] = from[c->at[0][j]];
        }
        filter_plane(c, false, c->grid, c->grid);
        for (int i = 0; i < op->y.height; i++)
            memcpy(y + (size_t)i * (size_t)op->y.width, c->grid + (size_t)(i + c->top) * row + c->left,
                   (size_t)op->y.width * sizeof *y);
        x += (size_t)op->x.width * (size_t)op->x.height;
        y += (size_t)op->y.width * (size_t)op->y.height;
    }
}

static void grid_adjoint(const ltn_operator *op, const float *y, float *x)
{
    const convolution *c = op->state;
    const size_t row = (size_t)c->plane.width, n = (size_t)op->x.width * (size_t)op->x.height;
    for (int k = 0; k < op->x.channels; k++) {
        memset(c->grid, 0, row * (size_t)c->plane.height * sizeof *c->grid);
        for (int i = 0; i < op->y.height; i++)
            memcpy(c->grid + (size_t)(i + c->top) * row + c->left, y + (size_t)i * (size_t)op->y.width,
                   (size_t)op->y.width * sizeof *y);
        filter_plane(c, true, c->grid, c->grid);
        memset(x, 0, n * sizeof *x);
        for (int i = 0; i < c->extent[1]; i++) {
            float *to = x + (size_t)c->at[1][i] * (size_t)op->x.width;
            for (int j = 0; j < c->extent[0]; j++) to[c->at[0][j]] += c->grid[(size_t)i * row + (size_t)j];
        }
        x += n;
        y += (size_t)op->y.width * (size_t)op->y.height;
    }
}

/* Laid into the grid, the spectrum divided by |H|^2 + lambda, cut out again: exact but for the border. */
static void grid_precondition(const ltn_operator *op, double lambda, const float *r, float *z)
{
    const convolution *c = op->state;
    const size_t row = (size_t)c->plane.width, w = (size_t)op->x.width, n = ltn__plane_floats(&c->plane);
    const float *h = c->response, l = (float)lambda;
    float *f = c->spectrum[0];
    for (int k = 0; k < op->x.channels; k++) {
        memset(c->grid, 0, row * (size_t)c->plane.height * sizeof *c->grid);
        for (size_t i = 0; i < (size_t)op->x.height; i++) memcpy(c->grid + i * row, r + i * w, w * sizeof *r);
        ltn__plane_forward(&c->plane, c->grid, f);
        for (size_t i = 0; i < n; i += 2) {
            const float over = 1 / (h[i] * h[i] + h[i + 1] * h[i + 1] + l);
            f[i] *= over;
            f[i + 1] *= over;
        }
        ltn__plane_inverse(&c->plane, f, c->grid);
        for (size_t i = 0; i < (size_t)op->x.height; i++) memcpy(z + i * w, c->grid + i * row, w * sizeof *z);
        r += w * (size_t)op->x.height;
        z += w * (size_t)op->x.height;
    }
}

/* Valid: y in the middle, its border pixels repeated outwards. */
static void grid_naive(const ltn_operator *op, const float *y, float *x)
{
    const int left = (op->x.width - op->y.width) / 2, top = (op->x.height - op->y.height) / 2;
    for (int k = 0; k < op->x.channels; k++)
        for (int i = 0; i < op->x.height; i++) {
            const int from = LTN_MAX(0, LTN_MIN(i - top, op->y.height - 1)) + k * op->y.height;
            for (int j = 0; j < op->x.width; j++, x++)
                *x = y[(size_t)from * (size_t)op->y.width +
                       (size_t)LTN_MAX(0, LTN_MIN(j - left, op->y.width - 1))];
        }
}

/* ---- Opening ---- */
static bool symmetric(const ltn_kernel *k)
{
    if (k->width % 2 == 0 || k->height % 2 == 0) return false;
    for (int i = 0; i < k->height; i++)
        for (int j = 0; j < k->width; j++) {
            const float t = k->tap[i * k->width + j];
            if (t != k->tap[(k->height - 1 - i) * k->width + j] ||
                t != k->tap[i * k->width + k->width - 1 - j])
                return false;
        }
    return true;
}

/* H(p, q) = sum k(i, j) cos(pi p i / h) cos(pi q j / w), first over rows, then over columns. */
static ltn_status cosine_response(ltn_ctx *ctx, convolution *c, const ltn_kernel *k)
{
    const int64_t w = c->plane.width, h = c->plane.height;
    double *part = ltn__alloc(ctx, (size_t)k->height, sizeof *part);
    double *wave = ltn__alloc(ctx, (size_t)(2 * h), sizeof *wave);
    for (int64_t i = 0; wave && i < 2 * h; i++) wave[i] = cos(M_PI * (double)i / (double)h);
    for (int64_t q = 0; part && wave && q < w; q++) {
        for (int i = 0; i < k->height; i++) {
            part[i] = 0;
            for (int j = 0; j < k->width; j++)
                part[i] += k->tap[i * k->width + j] *
                           cos(M_PI * (double)(q * (j - k->width / 2) % (2 * w)) / (double)w);
        }
        for (int64_t p = 0; p < h; p++) {
            double sum = 0;
            for (int64_t i = 0; i < k->height; i++)
                sum += part[i] * wave[p * llabs(i - k->height / 2) % (2 * h)];
            c->response[q * h + p] = (float)sum;
        }
    }
    const bool ok = part && wave;
    ltn__free(ctx, part);
    ltn__free(ctx, wave);
    return ok ? LTN_OK : LTN_ENOMEM;
}

/* The transform of the kernel laid around pixel (0, 0); what does not fit is wrapped. */
static ltn_status fourier_response(ltn_ctx *ctx, convolution *c, const ltn_kernel *k)
{
    const int w = c->plane.width, h = c->plane.height;
    float *around = ltn__alloc(ctx, (size_t)w * (size_t)h, sizeof *around);
    if (!around) return LTN_ENOMEM;
    for (int i = 0; i < k->height; i++) {
        const int y = ((i - k->height / 2) % h + h) % h;
        for (int j = 0; j < k->width; j++) {
            const int x = ((j - k->width / 2) % w + w) % w;
            around[(size_t)y * (size_t)w + (size_t)x] += k->tap[i * k->width + j];
        }
    }
    ltn__plane_forward(&c->plane, around, c->response);
    ltn__free(ctx, around);
    return LTN_OK;
}

/* For one axis: which pixel of x, of length n, each place of the grid shows. */
static int *extension(ltn_ctx *ctx, bool mirror, int n, int taps, int *extent)
{
    *extent = mirror ? n + taps - 1 : n;
    const int before = mirror ? taps - 1 - taps / 2 : 0;
    int *at = ltn__alloc(ctx, (size_t)*extent, sizeof *at);
    for (int i = 0; at && i < *extent; i++) {
        const int p = ((i - before) % (2 * n) + 2 * n) % (2 * n);
        at[i] = p < n ? p : 2 * n - 1 - p;
    }
    return at;
}

static ltn_status open_grid(ltn_operator *op, convolution *c, bool mirror, const ltn_kernel *k)
{
    c->at[0] = extension(op->ctx, mirror, op->x.width, k->width, &c->extent[0]);
    c->at[1] = extension(op->ctx, mirror, op->x.height, k->height, &c->extent[1]);
    if (!c->at[0] || !c->at[1]) return LTN_ENOMEM;
    c->left = k->width - 1 - k->width / 2;
    c->top = k->height - 1 - k->height / 2;
    op->y.width = c->extent[0] - k->width + 1;
    op->y.height = c->extent[1] - k->height + 1;
    op->map = (ltn_map){.forward = grid_forward, .adjoint = grid_adjoint, .precondition = grid_precondition,
                        .naive = mirror ? NULL : grid_naive};
    const int w = ltn__fast_length(c->extent[0]), h = ltn__fast_length(c->extent[1]);
    const ltn_status s = ltn__plane_open(op->ctx, LTN_FOURIER, w, h, &c->plane);
    c->grid = ltn__alloc(op->ctx, (size_t)w * (size_t)h, sizeof *c->grid);
    return s ? s : c->grid ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open_state(ltn_operator *op, int border, const ltn_kernel *k)
{
    convolution *c = op->state = ltn__alloc(op->ctx, 1, sizeof *c);
    if (!c) return LTN_ENOMEM;
    const bool cosine = border == MIRROR && symmetric(k);
    ltn_status s;
    if (border == CIRCULAR || cosine) {
        op->map = (ltn_map){.forward = diagonal_forward, .adjoint = diagonal_adjoint, .prox = diagonal_prox,
                            .svd = &svd};
        s = ltn__plane_open(op->ctx, cosine ? LTN_COSINE : LTN_FOURIER, op->x.width, op->x.height, &c->plane);
    } else {
        s = open_grid(op, c, border == MIRROR, k);
    }
    if (s) return s;
    const size_t n = ltn__plane_floats(&c->plane);
    c->response = ltn__alloc(op->ctx, n, sizeof *c->response);
    c->spectrum[0] = ltn__alloc(op->ctx, n, sizeof *c->response);
    c->spectrum[1] = ltn__alloc(op->ctx, n, sizeof *c->response);
    if (!c->response || !c->spectrum[0] || !c->spectrum[1]) return LTN_ENOMEM;
    return cosine ? cosine_response(op->ctx, c, k) : fourier_response(op->ctx, c, k);
}

ltn_status ltn__kernel_new(ltn_ctx *ctx, int width, int height, ltn_kernel *k)
{
    *k = (ltn_kernel){width, height, ltn__alloc(ctx, (size_t)width * (size_t)height, sizeof *k->tap)};
    return k->tap ? LTN_OK : LTN_ENOMEM;
}

ltn_status ltn__kernel_normalize(ltn_ctx *ctx, const char *name, ltn_kernel *k)
{
    const size_t n = (size_t)k->width * (size_t)k->height;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += k->tap[i];
    if (!(fabs(sum) > 1e-12) || !isfinite(sum))
        return ltn__fail(ctx, LTN_EINVAL, "%s: the kernel's sum is %g: it cannot be normalised", name, sum);
    for (size_t i = 0; i < n; i++) k->tap[i] = (float)(k->tap[i] / sum);
    return LTN_OK;
}

void ltn__kernel_turn(ltn_kernel *k)
{
    const int n = k->width * k->height;
    for (int i = 0; i < n / 2; i++) {
        const float tap = k->tap[i];
        k->tap[i] = k->tap[n - 1 - i];
        k->tap[n - 1 - i] = tap;
    }
}

ltn_status ltn__convolve_open(ltn_operator *op, const ltn_spec *s, const ltn_kernel *k, bool turned)
{
    const int border = (int)ltn__num(s, "boundary");
    if (border == VALID && (k->width > op->x.width || k->height > op->x.height))
        return ltn__fail(op->ctx, LTN_ESHAPE, "%s: the kernel, %d x %d, is larger than the picture, %d x %d",
                         s->entry->name, k->width, k->height, op->x.width, op->x.height);
    if (!turned) return open_state(op, border, k);
    ltn_kernel back;
    ltn_status st = ltn__kernel_new(op->ctx, k->width, k->height, &back);
    if (!st) memcpy(back.tap, k->tap, (size_t)k->width * (size_t)k->height * sizeof *k->tap);
    if (!st) ltn__kernel_turn(&back);
    if (!st) st = open_state(op, border, &back);
    ltn__free(op->ctx, back.tap);
    return st;
}

void ltn__convolve_close(ltn_operator *op)
{
    convolution *c = op->state;
    if (!c) return;
    ltn__plane_close(&c->plane);
    ltn__free(op->ctx, c->response);
    ltn__free(op->ctx, c->spectrum[0]);
    ltn__free(op->ctx, c->spectrum[1]);
    ltn__free(op->ctx, c->grid);
    ltn__free(op->ctx, c->at[0]);
    ltn__free(op->ctx, c->at[1]);
    ltn__free(op->ctx, c);
    op->state = NULL;
}

ltn_status ltn__convolve_input(const ltn_spec *s, int kernel_width, int kernel_height, ltn_size y,
                               ltn_size *x)
{
    *x = y;
    if (ltn__num(s, "boundary") == VALID) x->width += kernel_width - 1, x->height += kernel_height - 1;
    return LTN_OK;
}
