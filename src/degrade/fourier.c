/* fourier.c - Fourier and cosine transforms of real planes: kissfft along rows and columns, two real lines
 * per complex transform; lengths with prime factors above 11 by Bluestein's chirp convolution (1970); the
 * cosine transform through a Fourier transform of the same length (Makhoul 1980). */
#include "fourier.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 8 };       /* columns gathered together, so that whole cache lines are used */
enum { SMALL = 128 * 64 }; /* below this many pixels a second thread costs more than it gives */

/* ---- One line ---- */
static ltn_complex times(ltn_complex a, ltn_complex b)
{
    return (ltn_complex){a.r * b.r - a.i * b.i, a.r * b.i + a.i * b.r};
}

static ltn_complex conjugate(ltn_complex a)
{
    return (ltn_complex){a.r, -a.i};
}

/* exp(-i pi k / n) */
static ltn_complex root(int64_t k, int64_t n)
{
    const double a = -M_PI * (double)(k % (2 * n)) / (double)n;
    return (ltn_complex){(float)cos(a), (float)sin(a)};
}

static bool smooth(int n)
{
    const int primes[] = {2, 3, 5, 7, 11};
    for (int i = 0; i < LTN_COUNT(primes); i++)
        while (n % primes[i] == 0) n /= primes[i];
    return n == 1;
}

int ltn__fast_length(int n)
{
    return kiss_fft_next_fast_size(n);
}

static kiss_fft_cfg open_kiss(ltn_ctx *ctx, int n, int inverse)
{
    size_t size = 0;
    kiss_fft_alloc(n, inverse, NULL, &size);
    void *memory = ltn__alloc(ctx, 1, size);
    return memory ? kiss_fft_alloc(n, inverse, memory, &size) : NULL;
}

static void close_fft(ltn_ctx *ctx, ltn_fft *f)
{
    ltn__free(ctx, f->forward);
    ltn__free(ctx, f->inverse);
    ltn__free(ctx, f->chirp);
    ltn__free(ctx, f->filter);
}

/* w_j = exp(-i pi j^2 / n); filter: the transform of its conjugate, laid around 0, over m for the inverse's
 * scale. */
static ltn_status open_chirp(ltn_ctx *ctx, ltn_fft *f)
{
    f->chirp = ltn__alloc(ctx, (size_t)f->n, sizeof *f->chirp);
    f->filter = ltn__alloc(ctx, (size_t)f->m, sizeof *f->filter);
    ltn_complex *around = ltn__alloc(ctx, (size_t)f->m, sizeof *around);
    if (f->chirp && f->filter && around) {
        for (int64_t j = 0; j < f->n; j++) {
            f->chirp[j] = root(j * j, f->n);
            around[j] = around[j ? f->m - j : 0] = conjugate(f->chirp[j]);
        }
        kiss_fft(f->forward, around, f->filter);
        for (int j = 0; j < f->m; j++) f->filter[j].r /= (float)f->m, f->filter[j].i /= (float)f->m;
    }
    const bool ok = f->chirp && f->filter && around;
    ltn__free(ctx, around);
    return ok ? LTN_OK : LTN_ENOMEM;
}

static ltn_status open_fft(ltn_ctx *ctx, int n, ltn_fft *f)
{
    f->n = n;
    f->m = smooth(n) ? n : ltn__fast_length(2 * n - 1);
    f->forward = open_kiss(ctx, f->m, 0);
    f->inverse = open_kiss(ctx, f->m, 1);
    if (!f->forward || !f->inverse) return LTN_ENOMEM;
    return f->m == n ? LTN_OK : open_chirp(ctx, f);
}

/* Not scaled in either direction. scratch has 2 m numbers. */
static void transform(const ltn_fft *f, bool inverse, const ltn_complex *in, ltn_complex *out,
                      ltn_complex *scratch)
{
    if (!f->chirp) {
        kiss_fft(inverse ? f->inverse : f->forward, in, out);
        return;
    }
    ltn_complex *a = scratch, *b = scratch + f->m;
    for (int j = 0; j < f->n; j++) a[j] = times(inverse ? conjugate(in[j]) : in[j], f->chirp[j]);
    memset(a + f->n, 0, (size_t)(f->m - f->n) * sizeof *a);
    kiss_fft(f->forward, a, b);
    for (int j = 0; j < f->m; j++) b[j] = times(b[j], f->filter[j]);
    kiss_fft(f->inverse, b, a);
    for (int j = 0; j < f->n; j++) {
        const ltn_complex v = times(a[j], f->chirp[j]);
        out[j] = inverse ? conjugate(v) : v;
    }
}

/* ---- Two real lines as one complex line ---- */
/* z holds the transform of a + i b: the k-th values of a's and b's transforms. */
static void part(const ltn_complex *z, int n, int k, ltn_complex *a, ltn_complex *b)
{
    const ltn_complex p = z[k], q = conjugate(z[k ? n - k : 0]);
    *a = (ltn_complex){0.5f * (p.r + q.r), 0.5f * (p.i + q.i)};
    *b = (ltn_complex){0.5f * (p.i - q.i), -0.5f * (p.r - q.r)};
}

/* Cosine: the line is laid out as x0 x2 x4 ... x5 x3 x1. */
static int laid(int n, int j)
{
    return j < (n + 1) / 2 ? 2 * j : 2 * (n - 1 - j) + 1;
}

/* Cosine transform of lines a and b, element j of a line at [j * stride]; b may be NULL (then xb is not
 * written). */
static void cosine(const ltn_fft *f, const ltn_complex *turn, const float *a, const float *b, int64_t stride,
                   float *xa, float *xb, int64_t out_stride, ltn_complex *s)
{
    const int n = f->n;
    for (int j = 0; j < n; j++) {
        const int64_t at = laid(n, j) * stride;
        s[j] = (ltn_complex){a[at], b ? b[at] : 0};
    }
    transform(f, false, s, s + n, s + 2 * n);
    for (int k = 0; k < n; k++) {
        ltn_complex va, vb;
        part(s + n, n, k, &va, &vb);
        xa[k * out_stride] = times(va, turn[k]).r;
        if (b) xb[k * out_stride] = times(vb, turn[k]).r;
    }
}

/* Its inverse: v_k = exp(i pi k / 2n) (X_k - i X_{n-k}). */
static void uncosine(const ltn_fft *f, const ltn_complex *turn, const float *xa, const float *xb,
                     int64_t stride, float *a, float *b, int64_t out_stride, ltn_complex *s)
{
    const int n = f->n;
    const float scale = 1 / (float)n;
    for (int k = 0; k < n; k++) {
        const ltn_complex w = conjugate(turn[k]);
        const int64_t at = k * stride, mirror = (n - k) * stride;
        const ltn_complex va = times(w, (ltn_complex){xa[at], k ? -xa[mirror] : 0});
        const ltn_complex vb = xb ? times(w, (ltn_complex){xb[at], k ? -xb[mirror] : 0})
                                  : (ltn_complex){0, 0};
        s[k] = (ltn_complex){va.r - vb.i, va.i + vb.r};
    }
    transform(f, true, s, s + n, s + 2 * n);
    for (int j = 0; j < n; j++) {
        const int64_t at = laid(n, j) * out_stride;
        a[at] = s[n + j].r * scale;
        if (xb) b[at] = s[n + j].i * scale;
    }
}

/* Fourier transform of the real lines a and b: half-complex, n/2 + 1 values each. */
static void fourier(const ltn_fft *f, const float *a, const float *b, ltn_complex *fa, ltn_complex *fb,
                    ltn_complex *s)
{
    const int n = f->n;
    for (int j = 0; j < n; j++) s[j] = (ltn_complex){a[j], b ? b[j] : 0};
    transform(f, false, s, s + n, s + 2 * n);
    for (int k = 0; k <= n / 2; k++) {
        ltn_complex va, vb;
        part(s + n, n, k, &va, &vb);
        fa[k] = va;
        if (b) fb[k] = vb;
    }
}

static void unfourier(const ltn_fft *f, const ltn_complex *fa, const ltn_complex *fb, float scale, float *a,
                      float *b, ltn_complex *s)
{
    const int n = f->n;
    for (int k = 0; k <= n / 2; k++) {
        ltn_complex va = fa[k], vb = fb ? fb[k] : (ltn_complex){0, 0};
        if (k == 0 || 2 * k == n) va.i = 0, vb.i = 0;
        s[k] = (ltn_complex){va.r - vb.i, va.i + vb.r};
        if (k) s[n - k] = (ltn_complex){va.r + vb.i, vb.r - va.i};
    }
    transform(f, true, s, s + n, s + 2 * n);
    for (int j = 0; j < n; j++) {
        a[j] = s[n + j].r * scale;
        if (fb) b[j] = s[n + j].i * scale;
    }
}

/* ---- Planes ---- */
/* Calls pass(p, first, count, scratch) on blocks of `step` lines out of `lines`, each thread with its own
 * scratch. */
typedef struct lines_in_out {
    const float *in;
    float *out;
} lines_in_out;
typedef void pass(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *scratch);

static void over_lines(const ltn_plane *p, pass *f, lines_in_out io, int lines, int step)
{
    const int blocks = (lines + step - 1) / step,
              threads = p->width * p->height < SMALL ? 1 : p->ctx->threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        for (int b = t; b < blocks; b += threads)
            f(p, io, b * step, LTN_MIN(step, lines - b * step), p->scratch + (size_t)t * p->slice);
}

static void cosine_rows(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, at = first * w;
    cosine(&p->row, p->turn[0], io.in + at, count > 1 ? io.in + at + w : NULL, 1, io.out + at,
           io.out + at + w, 1, s);
}

static void uncosine_rows(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, at = first * w;
    uncosine(&p->row, p->turn[0], io.in + at, count > 1 ? io.in + at + w : NULL, 1, io.out + at,
             io.out + at + w, 1, s);
}

static void cosine_columns(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, h = p->height;
    for (int64_t i = first; i < first + count; i += 2)
        cosine(&p->column, p->turn[1], io.in + i, i + 1 < first + count ? io.in + i + 1 : NULL, w,
               io.out + i * h, io.out + (i + 1) * h, 1, s);
}

static void uncosine_columns(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, h = p->height;
    for (int64_t i = first; i < first + count; i += 2)
        uncosine(&p->column, p->turn[1], io.in + i * h, i + 1 < first + count ? io.in + (i + 1) * h : NULL, 1,
                 io.out + i, io.out + i + 1, w, s);
}

static void fourier_rows(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, k = p->lines;
    const float *in = io.in + first * w;
    ltn_complex *out = (ltn_complex *)io.out + first * k;
    fourier(&p->row, in, count > 1 ? in + w : NULL, out, out + k, s);
}

static void unfourier_rows(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t w = p->width, k = p->lines;
    const ltn_complex *in = (const ltn_complex *)io.in + first * k;
    float *out = io.out + first * w;
    unfourier(&p->row, in, count > 1 ? in + k : NULL, 1 / ((float)p->width * (float)p->height), out, out + w,
              s);
}

static void fourier_columns(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t h = p->height, k = p->lines;
    const ltn_complex *in = (const ltn_complex *)io.in + first;
    ltn_complex *out = (ltn_complex *)io.out + first * h;
    for (int64_t y = 0; y < h; y++)
        for (int i = 0; i < count; i++) s[i * h + y] = in[y * k + i];
    for (int i = 0; i < count; i++) transform(&p->column, false, s + i * h, out + i * h, s + BLOCK * h);
}

static void unfourier_columns(const ltn_plane *p, lines_in_out io, int first, int count, ltn_complex *s)
{
    const int64_t h = p->height, k = p->lines;
    const ltn_complex *in = (const ltn_complex *)io.in + first * h;
    ltn_complex *out = (ltn_complex *)io.out + first;
    for (int i = 0; i < count; i++) transform(&p->column, true, in + i * h, s + i * h, s + BLOCK * h);
    for (int64_t y = 0; y < h; y++)
        for (int i = 0; i < count; i++) out[y * k + i] = s[i * h + y];
}

void ltn__plane_forward(const ltn_plane *p, const float *x, float *spectrum)
{
    const bool c = p->basis == LTN_COSINE;
    over_lines(p, c ? cosine_rows : fourier_rows, (lines_in_out){x, p->half}, p->height, 2);
    over_lines(p, c ? cosine_columns : fourier_columns, (lines_in_out){p->half, spectrum}, p->lines, BLOCK);
}

void ltn__plane_inverse(const ltn_plane *p, const float *spectrum, float *x)
{
    const bool c = p->basis == LTN_COSINE;
    over_lines(p, c ? uncosine_columns : unfourier_columns, (lines_in_out){spectrum, p->half}, p->lines,
               BLOCK);
    over_lines(p, c ? uncosine_rows : unfourier_rows, (lines_in_out){p->half, x}, p->height, 2);
}

/* ---- Other layouts of a spectrum ---- */
/* The factor that makes the basis orthonormal, for frequency (a, b). */
static float unit(const ltn_plane *p, int a, int b)
{
    const double n = (double)p->width * p->height;
    if (p->basis == LTN_FOURIER) return (float)(1 / sqrt(n));
    return (float)(sqrt((a ? 2 : 1) * (b ? 2 : 1) / n));
}

/* Where -k lies among the n coefficients, laid out [width][height]. */
size_t ltn__plane_opposite(const ltn_plane *p, int a, int b)
{
    return (size_t)((p->width - a) % p->width * p->height + (p->height - b) % p->height);
}

void ltn__plane_pack(const ltn_plane *p, const float *f, float *c)
{
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < p->height; b++) {
            const size_t k = (size_t)(a * p->height + b);
            if (p->basis == LTN_COSINE) {
                c[k] = f[k] * unit(p, a, b);
            } else {
                c[ltn__plane_opposite(p, a, b)] = (f[2 * k] + f[2 * k + 1]) * unit(p, a, b);
                c[k] = (f[2 * k] - f[2 * k + 1]) * unit(p, a, b);
            }
        }
}

void ltn__plane_unpack(const ltn_plane *p, const float *c, float *f)
{
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < p->height; b++) {
            const size_t k = (size_t)(a * p->height + b);
            const float over = 1 / unit(p, a, b);
            if (p->basis == LTN_COSINE) {
                f[k] = c[k] * over;
            } else {
                f[2 * k] = (c[k] + c[ltn__plane_opposite(p, a, b)]) * 0.5f * over;
                f[2 * k + 1] = (c[ltn__plane_opposite(p, a, b)] - c[k]) * 0.5f * over;
            }
        }
}

/* Where frequency (a, b) stands in a spectrum laid out as a picture with the mean in the middle. */
static size_t centred(const ltn_plane *p, int a, int b)
{
    const int row = (b + p->height / 2) % p->height, column = (a + p->width / 2) % p->width;
    return (size_t)row * (size_t)p->width + (size_t)column;
}

void ltn__plane_unfold(const ltn_plane *p, const float *f, float *re, float *im)
{
    const float scale = unit(p, 0, 0);
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < p->height; b++) {
            const float *at = f + 2 * (size_t)(a * p->height + b);
            const size_t here = centred(p, a, b),
                         there = centred(p, (p->width - a) % p->width, (p->height - b) % p->height);
            re[there] = scale * at[0], im[there] = -scale * at[1];
            re[here] = scale * at[0], im[here] = scale * at[1];
        }
}

void ltn__plane_fold(const ltn_plane *p, const float *re, const float *im, float *f)
{
    const float over = 0.5f / unit(p, 0, 0);
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < p->height; b++) {
            float *at = f + 2 * (size_t)(a * p->height + b);
            const size_t here = centred(p, a, b),
                         there = centred(p, (p->width - a) % p->width, (p->height - b) % p->height);
            at[0] = over * (re[here] + re[there]);
            at[1] = over * (im[here] - im[there]);
        }
}

size_t ltn__plane_floats(const ltn_plane *p)
{
    return (size_t)p->lines * (size_t)p->height * (p->basis == LTN_COSINE ? 1 : 2);
}

ltn_status ltn__plane_open(ltn_ctx *ctx, ltn_basis basis, int width, int height, ltn_plane *p)
{
    *p = (ltn_plane){.ctx = ctx, .basis = basis, .width = width, .height = height};
    p->lines = basis == LTN_COSINE ? width : width / 2 + 1;
    if (open_fft(ctx, width, &p->row) || open_fft(ctx, height, &p->column)) goto fail;
    for (int i = 0; i < 2 && basis == LTN_COSINE; i++) {
        const int n = i ? height : width;
        if (!(p->turn[i] = ltn__alloc(ctx, (size_t)n, sizeof **p->turn))) goto fail;
        for (int k = 0; k < n; k++) p->turn[i][k] = root(k, 2 * n);
    }
    p->slice = 2 * (size_t)LTN_MAX(p->row.m + width, p->column.m + height) + BLOCK * (size_t)height;
    p->half = ltn__alloc(ctx, ltn__plane_floats(p), sizeof *p->half);
    p->scratch = ltn__alloc(ctx, p->slice * (size_t)ctx->threads, sizeof *p->scratch);
    if (p->half && p->scratch) return LTN_OK;
fail:
    ltn__plane_close(p);
    return LTN_ENOMEM;
}

void ltn__plane_close(ltn_plane *p)
{
    if (!p->ctx) return;
    close_fft(p->ctx, &p->row);
    close_fft(p->ctx, &p->column);
    ltn__free(p->ctx, p->turn[0]);
    ltn__free(p->ctx, p->turn[1]);
    ltn__free(p->ctx, p->half);
    ltn__free(p->ctx, p->scratch);
    *p = (ltn_plane){0};
}
