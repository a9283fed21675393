/* tomography.c - parallel-beam projections: y(theta, s) is the mean over the picture's side of the values along a line,
 * from the picture turned by theta, bilinear, as scikit-image's radon but for the factor 1 / side. The adjoint is the
 * transpose of the same weights. A^T A is about angles / (pi side^2 rho) at frequency rho, which makes conjugate
 * gradients fast. The naive picture is filtered back-projection (Ramachandran and Lakshminarayanan 1971). */
#include <math.h>
#include <string.h>

#include "degrade.h"
#include "fourier.h"

typedef struct tomograph {
    int side, detectors, angles, before; /* before: rows and columns of zeros ahead of the picture */
    double range;                        /* degrees */
    ltn_plane plane, line;               /* of a picture; of a projection with room for its filter */
    float *ramp, *filtered, *padded;     /* its response; a filtered projection; one with zeros behind */
    float *spectrum[2];
} tomograph;

/* Four pixels around a place and their weights; what lies outside has weight 0. */
typedef struct corners {
    size_t at[4];
    float weight[4];
} corners;

static bool look(const tomograph *t, double x, double y, corners *k)
{
    const int j = (int)floor(x), i = (int)floor(y), n = t->side;
    if (j < -1 || i < -1 || j >= n || i >= n) return false;
    const float u = (float)(x - j), v = (float)(y - i);
    for (int q = 0; q < 4; q++) {
        const int a = i + q / 2, b = j + q % 2;
        const bool inside = a >= 0 && b >= 0 && a < n && b < n;
        k->at[q] = inside ? (size_t)a * (size_t)n + (size_t)b : 0;
        k->weight[q] = inside ? (q / 2 ? v : 1 - v) * (q % 2 ? u : 1 - u) / (float)n : 0;
    }
    return true;
}

/* The projection of one angle, or (back) its transpose, which adds to the picture. */
static void project(const tomograph *t, int angle, bool back, float *picture, float *line)
{
    const double theta = angle * t->range / t->angles * M_PI / 180, c = cos(theta), s = sin(theta);
    const int middle = t->detectors / 2;
    for (int b = 0; b < t->detectors; b++) {
        float sum = 0;
        for (int a = 0; a < t->detectors; a++) {
            corners k;
            const double x = middle + c * (b - middle) + s * (a - middle),
                         y = middle - s * (b - middle) + c * (a - middle);
            if (!look(t, x - t->before, y - t->before, &k)) continue;
            for (int q = 0; q < 4; q++) {
                if (back) picture[k.at[q]] += k.weight[q] * line[b];
                else sum += k.weight[q] * picture[k.at[q]];
            }
        }
        if (!back) line[b] = sum;
    }
}

static void forward(const ltn_operator *op, const float *x, float *y)
{
    const tomograph *t = op->state;
    const size_t n = (size_t)t->side * (size_t)t->side, m = (size_t)t->detectors;
#pragma omp parallel for num_threads(op->ctx->threads)
    for (int i = 0; i < op->x.channels * t->angles; i++)
        project(t, i % t->angles, false, (float *)(uintptr_t)x + (size_t)(i / t->angles) * n, y + (size_t)i * m);
}

static void adjoint(const ltn_operator *op, const float *y, float *x)
{
    const tomograph *t = op->state;
    const size_t n = (size_t)t->side * (size_t)t->side, m = (size_t)t->detectors;
    memset(x, 0, ltn__size_count(op->x) * sizeof *x);
#pragma omp parallel for num_threads(op->ctx->threads)
    for (int k = 0; k < op->x.channels; k++)
        for (int i = 0; i < t->angles; i++)
            project(t, i, true, x + (size_t)k * n,
                    (float *)(uintptr_t)y + ((size_t)k * (size_t)t->angles + (size_t)i) * m);
}

static void precondition(const ltn_operator *op, double lambda, const float *r, float *z)
{
    const tomograph *t = op->state;
    const int n = t->side;
    for (int k = 0; k < op->x.channels; k++, r += n * n, z += n * n) {
        ltn__plane_forward(&t->plane, r, t->spectrum[0]);
        for (int a = 0; a < t->plane.lines; a++)
            for (int b = 0; b < n; b++) {
                const double rho = fmax(hypot(a, LTN_MIN(b, n - b)) / n, 0.5 / n);
                const float over = (float)(1 / (t->angles / (M_PI * n * n * rho) + lambda));
                t->spectrum[0][2 * (a * n + b)] *= over;
                t->spectrum[0][2 * (a * n + b) + 1] *= over;
            }
        ltn__plane_inverse(&t->plane, t->spectrum[0], z);
    }
}

/* ---- Filtered back-projection ---- */
static void filter(const tomograph *t, const float *line)
{
    memset(t->padded, 0, (size_t)t->line.width * sizeof *t->padded);
    memcpy(t->padded, line, (size_t)t->detectors * sizeof *line);
    ltn__plane_forward(&t->line, t->padded, t->spectrum[1]);
    for (int i = 0; i < 2 * t->line.lines; i++) t->spectrum[1][i] *= t->ramp[i / 2];
    ltn__plane_inverse(&t->line, t->spectrum[1], t->filtered);
}

static void smear(const tomograph *t, int angle, float *x)
{
    const double theta = angle * t->range / t->angles * M_PI / 180;
    const float scale = (float)(M_PI / 2 / t->angles * t->range / 180 * t->side);
    const int middle = t->side / 2;
    for (int i = 0; i < t->side; i++)
        for (int j = 0; j < t->side; j++, x++) {
            const double at = (j - middle) * cos(theta) - (i - middle) * sin(theta) + t->detectors / 2;
            const int k = (int)floor(at);
            const float part = (float)(at - k);
            if (k < 0 || k >= t->detectors) continue;
            *x += scale * ((1 - part) * t->filtered[k] + (k + 1 < t->detectors ? part * t->filtered[k + 1] : 0));
        }
}

static void naive(const ltn_operator *op, const float *y, float *x)
{
    const tomograph *t = op->state;
    memset(x, 0, ltn__size_count(op->x) * sizeof *x);
    for (int i = 0; i < op->x.channels * t->angles; i++) {
        filter(t, y + (size_t)i * (size_t)t->detectors);
        smear(t, i % t->angles, x + (size_t)(i / t->angles) * (size_t)t->side * (size_t)t->side);
    }
}

/* The ramp by its samples: 1/4 at 0, -1 / (pi i)^2 at odd i (Kak and Slaney 1988), twice the transform. */
static void open_ramp(const tomograph *t)
{
    const int n = t->line.width;
    memset(t->padded, 0, (size_t)n * sizeof *t->padded);
    t->padded[0] = 0.25f;
    for (int i = 1; i < n; i += 2) t->padded[i] = (float)(-1 / pow(M_PI * LTN_MIN(i, n - i), 2));
    ltn__plane_forward(&t->line, t->padded, t->spectrum[1]);
    for (int i = 0; i < t->line.lines; i++) t->ramp[i] = 2 * t->spectrum[1][2 * i];
}

static ltn_status open(ltn_operator *op, const ltn_spec *s)
{
    if (op->x.width != op->x.height)
        return ltn__fail(op->ctx, LTN_ESHAPE, "tomography: the picture is %d x %d; expected a square", op->x.width,
                         op->x.height);
    tomograph *t = op->state = ltn__alloc(op->ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    const bool circle = ltn__num(s, "circle") != 0;
    t->side = op->x.width;
    t->detectors = circle ? t->side : (int)ceil(sqrt(2) * t->side);
    t->before = t->detectors / 2 - t->side / 2;
    t->angles = (int)ltn__num(s, "angles");
    t->range = ltn__num(s, "range");
    op->y.width = t->detectors;
    op->y.height = t->angles;
    op->map = (ltn_map){.forward = forward, .adjoint = adjoint, .precondition = precondition, .naive = naive};
    int length = 64;
    while (length < 2 * t->detectors) length *= 2;
    ltn_status st = ltn__plane_open(op->ctx, LTN_FOURIER, t->side, t->side, &t->plane);
    if (!st) st = ltn__plane_open(op->ctx, LTN_FOURIER, length, 1, &t->line);
    if (st) return st;
    float **const line[] = {&t->ramp, &t->filtered, &t->padded};
    if (ltn__alloc_each(op->ctx, (size_t)length, line, LTN_COUNT(line))) return LTN_ENOMEM;
    t->spectrum[0] = ltn__alloc(op->ctx, ltn__plane_floats(&t->plane), sizeof(float));
    t->spectrum[1] = ltn__alloc(op->ctx, ltn__plane_floats(&t->line), sizeof(float));
    if (!t->spectrum[0] || !t->spectrum[1]) return LTN_ENOMEM;
    open_ramp(t);
    return LTN_OK;
}

static void close(ltn_operator *op)
{
    tomograph *t = op->state;
    if (!t) return;
    float *const block[] = {t->ramp, t->filtered, t->padded, t->spectrum[0], t->spectrum[1]};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(op->ctx, block[i]);
    ltn__plane_close(&t->plane);
    ltn__plane_close(&t->line);
    ltn__free(op->ctx, t);
    op->state = NULL;
}

static ltn_status input_size(ltn_ctx *ctx, const ltn_spec *s, ltn_size y, ltn_size *x)
{
    const int angles = (int)ltn__num(s, "angles");
    const int side = ltn__num(s, "circle") != 0 ? y.width : (int)(y.width / sqrt(2));
    if (y.height != angles)
        return ltn__fail(ctx, LTN_ESHAPE, "tomography: the measurement has %d projections, not angles=%d", y.height,
                         angles);
    *x = (ltn_size){side, side, y.channels};
    return LTN_OK;
}

static const ltn_param params[] = {
    {.name = "angles", .help = "projections, evenly spread", .type = LTN_INT, .def = 60, .min = 1, .max = 10000},
    {.name = "range", .help = "degrees that they are spread over; less than 180: limited angle", .type = LTN_FLOAT,
     .def = 180, .min = 1, .max = 360},
    {.name = "circle",
     .help = "1: the detector is as wide as the picture, and does not see its corners; 0: as its diagonal",
     .type = LTN_INT, .max = 1},
    {0},
};

const ltn_degradation_row ltn__degradation_tomography = {
    .entry = {.name = "tomography", .alias = "ct|radon",
              .help = "sums along parallel lines at many angles, as X-rays see",
              .cite = "Kak and Slaney 1988", .param = params},
    .input_size = input_size, .open = open, .abstract = true, .close = close,
};
