/* blind.c - the kernel that has blurred a picture, and nothing told: from coarse to fine, in turn a picture of few
 * edges, by half-quadratic splitting (Xu, Zheng and Jia 2013; Pan et al. 2014),
 *
 *     x = argmin |k * x - y|^2 + lambda |grad x|_0
 *
 * and the kernel that makes of its strongest gradients those of y (kernel_fit.c). y is grey, and goes around at its
 * borders by a frame in which its sides run into one another; gradients there are not looked at. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blind.h"

enum { ROUNDS = 5, LEAST_KERNEL = 5, DIRECTIONS = 4 };
static const double ratio = 0.70710678118654752; /* of one scale to the next finer */
static const double edges = 1.6e-2; /* lambda at first; it falls */
static const double least_edges = 1e-4;
static const double ridge = 3e-3;
static const double least_gain = 0.05; /* of the log likelihood, for each frequency: of a blur over none */
static const double free_gain = 50;    /* of the log likelihood: of a kernel without a name over one that has a name */
static const double largest_tap = 0.1; /* smaller ones than this part of the largest are noise */
static const double least_part = 0.1;  /* of the kernel's sum: smaller islands are noise */

/* One scale. Planes are width x height: the picture, seen_w x seen_h, and its frame. */
typedef struct scale {
    ltn_ctx *ctx;
    int width, height, seen_w, seen_h, size;
    ltn_plane plane;
    float *y, *x, *gx, *gy, *bx, *by, *seen;          /* planes; seen: 1 where gradients count */
    float *fy, *fx, *response;                        /* spectra */
    float *k;
    ltn_kernel_fit fit;
} scale;

static void close_scale(scale *s)
{
    float *const block[] = {s->y, s->x, s->gx, s->gy, s->bx, s->by, s->seen, s->fy, s->fx, s->response, s->k};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(s->ctx, block[i]);
    ltn__plane_close(&s->plane);
    ltn__kernel_fit_close(s->ctx, &s->fit);
}

/* ---- The frame ---- */
/* Behind n pixels, up to all: the mirror images of both sides, one fading into the other. */
static void frame_line(float *v, size_t stride, int n, int all)
{
    for (int i = n; i < all; i++) {
        const double u = (i - n + 1.0) / (all - n + 1), t = u * u * (3 - 2 * u);
        const int left = LTN_MAX(0, 2 * n - 1 - i), right = LTN_MIN(n - 1, all - 1 - i);
        v[(size_t)i * stride] = (float)((1 - t) * v[(size_t)left * stride] + t * v[(size_t)right * stride]);
    }
}

static ltn_status open_scale(ltn_ctx *ctx, const ltn_image *grey, int size, scale *s)
{
    *s = (scale){.ctx = ctx, .seen_w = grey->width, .seen_h = grey->height, .size = size};
    const int w = s->width = ltn__fast_length(grey->width + 2 * size);
    const int h = s->height = ltn__fast_length(grey->height + 2 * size);
    ltn_status st = ltn__plane_open(ctx, LTN_FOURIER, w, h, &s->plane);
    if (!st) st = ltn__kernel_fit_open(ctx, w, h, size, &s->fit);
    if (st) return st;
    float **const planes[] = {&s->y, &s->x, &s->gx, &s->gy, &s->bx, &s->by, &s->seen};
    float **const spectra[] = {&s->fy, &s->fx, &s->response};
    st = ltn__alloc_each(ctx, (size_t)w * (size_t)h, planes, LTN_COUNT(planes));
    if (!st) st = ltn__alloc_each(ctx, ltn__plane_floats(&s->plane), spectra, LTN_COUNT(spectra));
    if (st || !(s->k = ltn__alloc(ctx, (size_t)size * (size_t)size, sizeof *s->k))) return LTN_ENOMEM;
    for (int i = 0; i < s->seen_h; i++) {
        float *line = s->y + (size_t)i * (size_t)w;
        memcpy(line, grey->data + (size_t)i * (size_t)s->seen_w, (size_t)s->seen_w * sizeof *line);
        frame_line(line, 1, s->seen_w, w);
        for (int j = 0; j + 1 < s->seen_w && i + 1 < s->seen_h; j++) s->seen[(size_t)i * (size_t)w + (size_t)j] = 1;
    }
    for (int j = 0; j < w; j++) frame_line(s->y + j, (size_t)w, s->seen_h, h);
    ltn__plane_forward(&s->plane, s->y, s->fy);
    return LTN_OK;
}

/* ---- The picture ---- */
/* Differences to the next pixel on the right and below. */
static void gradient(const scale *s, const float *x, float *gx, float *gy)
{
    const int w = s->width, h = s->height;
    for (int i = 0; i < h; i++) {
        const float *row = x + (size_t)i * (size_t)w, *next = x + (size_t)((i + 1) % h) * (size_t)w;
        for (int j = 0; j < w; j++) {
            gx[(size_t)i * (size_t)w + (size_t)j] = row[(j + 1) % w] - row[j];
            gy[(size_t)i * (size_t)w + (size_t)j] = next[j] - row[j];
        }
    }
}

/* Its adjoint. */
static void gradient_adjoint(const scale *s, const float *gx, const float *gy, float *x)
{
    const int w = s->width, h = s->height;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            const size_t row = (size_t)i * (size_t)w, at = row + (size_t)j;
            const size_t left = row + (size_t)((j + w - 1) % w);
            const size_t above = (size_t)((i + h - 1) % h) * (size_t)w + (size_t)j;
            x[at] = gx[left] - gx[at] + gy[above] - gy[at];
        }
}

/* The kernel around pixel (0, 0). */
static void respond(scale *s)
{
    const int n = s->size, w = s->width, h = s->height;
    memset(s->x, 0, (size_t)w * (size_t)h * sizeof *s->x);
    for (int i = 0; i < n * n; i++) {
        const int row = (i / n - n / 2 + h) % h, column = (i % n - n / 2 + w) % w;
        s->x[(size_t)row * (size_t)w + (size_t)column] = s->k[i];
    }
    ltn__plane_forward(&s->plane, s->x, s->response);
}

/* x = argmin |k * x - y|^2 + beta |grad x - (gx, gy)|^2; x holds the adjoint of the gradient of (gx, gy). */
static void join(scale *s, double beta)
{
    const ltn_plane *p = &s->plane;
    ltn__plane_forward(p, s->x, s->fx);
    for (int a = 0; a < p->lines; a++) {
        const double across = 2 - 2 * cos(2 * M_PI * a / p->width);
        for (int b = 0; b < p->height; b++) {
            const size_t i = 2 * (size_t)(a * p->height + b);
            const double length = across + 2 - 2 * cos(2 * M_PI * b / p->height);
            const float hr = s->response[i], hi = s->response[i + 1], yr = s->fy[i], yi = s->fy[i + 1];
            const float over = 1 / (hr * hr + hi * hi + (float)(beta * length) + 1e-8f);
            s->fx[i] = (hr * yr + hi * yi + (float)beta * s->fx[i]) * over;
            s->fx[i + 1] = (hr * yi - hi * yr + (float)beta * s->fx[i + 1]) * over;
        }
    }
    ltn__plane_inverse(p, s->fx, s->x);
}

/* The picture of few edges under the kernel; its gradient is left in gx, gy. */
static void sharpen(scale *s, double lambda)
{
    const size_t n = (size_t)s->width * (size_t)s->height;
    respond(s);
    memcpy(s->x, s->y, n * sizeof *s->x);
    for (double beta = 2 * lambda; beta < 1e5; beta *= 2) {
        gradient(s, s->x, s->gx, s->gy);
        const float least = (float)(lambda / beta);
        for (size_t i = 0; i < n; i++)
            if (s->gx[i] * s->gx[i] + s->gy[i] * s->gy[i] < least) s->gx[i] = s->gy[i] = 0;
        gradient_adjoint(s, s->gx, s->gy, s->x);
        join(s, beta);
    }
    gradient(s, s->x, s->gx, s->gy);
}

/* ---- The kernel ---- */
static int descending(const void *a, const void *b)
{
    return (*(const float *)b > *(const float *)a) - (*(const float *)b < *(const float *)a);
}

/* The length of gradient of which each direction has two for each tap of a line of the kernel. */
static float strong(const scale *s, float *room)
{
    const size_t n = (size_t)s->width * (size_t)s->height;
    float least = INFINITY;
    for (int d = 0; d < DIRECTIONS; d++) {
        size_t found = 0;
        for (size_t i = 0; i < n; i++) {
            if (s->seen[i] == 0) continue;
            const double angle = atan2(s->gy[i], s->gx[i]) / M_PI + 1; /* modulo half a circle */
            if ((int)(angle * DIRECTIONS) % DIRECTIONS == d) room[found++] = hypotf(s->gx[i], s->gy[i]);
        }
        qsort(room, found, sizeof *room, descending);
        const size_t k = (size_t)(2 * s->size);
        least = fminf(least, found > k ? room[k] : 0);
    }
    return least;
}

static void centre_of_mass(const float *k, int n, double *y, double *x)
{
    double sum = 0;
    *y = *x = 0;
    for (int i = 0; i < n * n; i++) sum += k[i], *y += i / n * (double)k[i], *x += i % n * (double)k[i];
    *y /= sum, *x /= sum;
}

static double tap(const float *k, int n, int i, int j)
{
    return i >= 0 && j >= 0 && i < n && j < n ? k[i * n + j] : 0;
}

/* to, m x m: from, n x n, enlarged by `grow`, its centre of mass in the middle, its sum 1 (bilinear). */
static void place(const float *from, int n, double grow, float *to, int m)
{
    double y, x, sum = 0;
    centre_of_mass(from, n, &y, &x);
    for (int i = 0; i < m * m; i++) {
        const double v = (i / m - m / 2) / grow + y, u = (i % m - m / 2) / grow + x;
        const int a = (int)floor(v), b = (int)floor(u);
        const double q = v - a, p = u - b;
        to[i] = (float)((1 - q) * ((1 - p) * tap(from, n, a, b) + p * tap(from, n, a, b + 1)) +
                        q * ((1 - p) * tap(from, n, a + 1, b) + p * tap(from, n, a + 1, b + 1)));
        sum += to[i];
    }
    for (int i = 0; i < m * m; i++) to[i] = (float)(to[i] / sum);
}

/* Moves the centre of mass to the middle, by whole taps. */
static void centre(const float *from, int n, float *to)
{
    double y, x;
    centre_of_mass(from, n, &y, &x);
    const int down = (int)lround(y) - n / 2, right = (int)lround(x) - n / 2;
    for (int i = 0; i < n * n; i++) to[i] = (float)tap(from, n, i / n + down, i % n + right);
}

/* Marks the taps that hang together with tap i by a number; returns their sum. */
static double island(const float *k, int n, int i, int number, int *mark, int *stack)
{
    int top = 0;
    double sum = 0;
    stack[top++] = i, mark[i] = number;
    while (top) {
        const int at = stack[--top];
        sum += k[at];
        for (int q = 0; q < 9; q++) {
            const int y = at / n + q / 3 - 1, x = at % n + q % 3 - 1, to = y * n + x;
            if (y < 0 || x < 0 || y >= n || x >= n || mark[to] || !(k[to] > 0)) continue;
            mark[to] = number, stack[top++] = to;
        }
    }
    return sum;
}

/* Small taps and small islands become 0, the sum 1; false: nothing is left. room: 2 n n. */
static bool tidy(float *k, int n, double cut, int *room)
{
    double most = 0, all = 0, sum = 0;
    for (int i = 0; i < n * n; i++) most = fmax(most, k[i]);
    for (int i = 0; i < n * n; i++) all += k[i] = k[i] < cut * most ? 0 : k[i];
    memset(room, 0, (size_t)(n * n) * sizeof *room);
    for (int i = 0; i < n * n; i++) {
        if (room[i] || !(k[i] > 0)) continue;
        if (island(k, n, i, i + 1, room, room + n * n) >= least_part * all) continue;
        for (int j = 0; j < n * n; j++)
            if (room[j] == i + 1) k[j] = 0;
    }
    for (int i = 0; i < n * n; i++) sum += k[i];
    for (int i = 0; i < n * n && sum > 0; i++) k[i] = (float)(k[i] / sum);
    return sum > 0;
}

/* The rounds of one scale; false: there are no edges. */
static bool alternate(scale *s, double *lambda, int *room)
{
    const size_t n = (size_t)s->width * (size_t)s->height;
    float least = 0;
    gradient(s, s->y, s->bx, s->by);
    for (size_t i = 0; i < n; i++) s->bx[i] *= s->seen[i], s->by[i] *= s->seen[i];
    for (int round = 0; round < ROUNDS; round++) {
        sharpen(s, *lambda);
        if (round == 0) least = strong(s, s->x);
        for (size_t i = 0; i < n; i++)
            if (s->seen[i] == 0 || hypotf(s->gx[i], s->gy[i]) < least) s->gx[i] = s->gy[i] = 0;
        ltn__kernel_fit_clear(&s->fit);
        ltn__kernel_fit_add(&s->fit, s->gx, s->bx);
        ltn__kernel_fit_add(&s->fit, s->gy, s->by);
        if (!ltn__kernel_fit_solve(&s->fit, ridge, s->k)) return false;
        if (!tidy(s->k, s->size, 0, room)) return false;
        *lambda = fmax(*lambda / 1.1, least_edges);
        least /= 1.1f;
    }
    return true;
}

/* ---- From coarse to fine ---- */
static int odd(double v)
{
    return 2 * (int)(v / 2) + 1;
}

/* k, of the last scale's size, or of none, becomes this scale's; *seen: there are edges. */
static ltn_status one_scale(ltn_ctx *ctx, const ltn_image *grey, int size, double shrunk, double *lambda, int *room,
                            float *k, int last, bool *seen)
{
    ltn_image small = {0};
    scale s = {.ctx = ctx};
    const int width = (int)(grey->width * shrunk + 0.5), height = (int)(grey->height * shrunk + 0.5);
    ltn_status st = ltn_image_resize(ctx, grey, width, height, &small);
    if (!st) st = open_scale(ctx, &small, size, &s);
    if (!st) {
        if (last) place(k, last, 1 / ratio, s.k, size);
        else s.k[size * size / 2] = s.k[size * size / 2 + 1] = 0.5f;
        *seen = alternate(&s, lambda, room);
        memcpy(k, s.k, (size_t)(size * size) * sizeof *k);
    }
    close_scale(&s);
    ltn_image_free(ctx, &small);
    return st;
}

/* The kernel of a picture of few edges, into k, which has a size; k stays if there are none. */
static ltn_status from_edges(ltn_ctx *ctx, const ltn_image *grey, ltn_kernel *k)
{
    const int size = k->width;
    const size_t taps = (size_t)size * (size_t)size;
    int last = 0, scales = 1;
    double lambda = edges;
    bool seen = true;
    while (size * pow(ratio, scales) >= LEAST_KERNEL) scales++;
    float *found = ltn__alloc(ctx, taps, sizeof *found);
    int *room = ltn__alloc(ctx, 2 * taps, sizeof *room);
    ltn_status st = found && room ? LTN_OK : LTN_ENOMEM;
    for (int i = scales - 1; i >= 0 && !st && seen; i--) {
        const double shrunk = pow(ratio, i);
        const int n = i ? odd(size * shrunk) : size;
        st = one_scale(ctx, grey, n, shrunk, &lambda, room, found, last, &seen);
        last = n;
    }
    if (!st && seen && tidy(found, size, largest_tap, room)) centre(found, size, k->tap);
    ltn__free(ctx, found);
    ltn__free(ctx, room);
    return st;
}

/* k = the likeliest of what has a name, of what the edges tell, and of no blur, which is refused. */
static ltn_status likeliest(ltn_ctx *ctx, const ltn_image *grey, ltn_power *power, ltn_kernel *k)
{
    ltn_kernel free_form;
    float one = 1;
    const double none = ltn__power_misfit(power, &(ltn_kernel){1, 1, &one}), named = ltn__kernel_family(power, k);
    ltn_status st = ltn__kernel_new(ctx, k->width, k->height, &free_form);
    if (!st) st = from_edges(ctx, grey, &free_form);
    if (!st) {
        const double edged = ltn__power_misfit(power, &free_form);
        if (edged < named - free_gain) memcpy(k->tap, free_form.tap, (size_t)(k->width * k->height) * sizeof *k->tap);
        if (!(fmin(edged, named) < none - least_gain * power->n))
            st = ltn__fail(ctx, LTN_EINVAL, "blur: kernel=auto: no blur is to be seen in the measurement");
    }
    ltn__free(ctx, free_form.tap);
    return st;
}

ltn_status ltn__blur_kernel(ltn_ctx *ctx, const ltn_image *y, int size, ltn_kernel *k)
{
    const int least = LTN_MAX(3 * size, LTN_POWER_SIDE);
    *k = (ltn_kernel){0};
    if (y->width < least || y->height < least)
        return ltn__fail(ctx, LTN_ESHAPE, "blur: kernel=auto of size %d needs %d pixels a side, not %d x %d", size,
                         least, y->width, y->height);
    ltn_image grey = {0};
    ltn_power power = {0};
    ltn_status st = ltn__grey(ctx, y, &grey);
    if (!st) st = ltn__power_open(ctx, &grey, "blur: kernel=auto", &power);
    if (!st) st = ltn__kernel_new(ctx, size, size, k);
    if (!st) st = likeliest(ctx, &grey, &power, k);
    ltn__power_close(&power);
    ltn_image_free(ctx, &grey);
    return st;
}
