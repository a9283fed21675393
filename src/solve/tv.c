/* tv.c - total variation restoration, the classical floor to compare with:
 *     x = argmin 1/2 |A x - y|^2 + weight sum_pixels sqrt(sum_colours |grad x|^2)     (x, y in [0, 1])
 * Rudin, Osher and Fatemi 1992, colours coupled (Blomgren and Chan 1998), by the primal-dual method of
 * Chambolle and Pock 2011 with the operator's own prox:
 *     p  <- project(p + s grad(2 x - x_before)) on |p| <= weight
 *     x  <- prox(x - tau grad^T p), gamma = tau,          s tau |grad|^2 <= 1, |grad|^2 <= 8. */
#include <math.h>
#include <string.h>

#include "solve.h"

enum { SMALL = 1 << 15 }; /* below this many values a second thread costs more than it gives */

typedef struct tv {
    const ltn_problem *q;
    double weight, tau; /* weight in units of [-1, 1], where the solver works: twice the user's */
    int step, steps;
    float *x, *bar, *p[2], *r; /* bar = 2 x - x_before; p along x and y; r: a measurement */
} tv;

/* p += s grad(bar), then back to |p| <= weight, pixel by pixel. */
static void dual_row(const tv *v, int i)
{
    const ltn_size z = v->q->a->x;
    const size_t w = (size_t)z.width, plane = w * (size_t)z.height;
    const float s = (float)(1 / (8 * v->tau));
    for (size_t j = 0; j < w; j++) {
        float square = 0;
        for (size_t c = 0; c < (size_t)z.channels; c++) {
            const size_t at = c * plane + (size_t)i * w + j;
            const float here = v->bar[at];
            if (j + 1 < w) v->p[0][at] += s * (v->bar[at + 1] - here);
            if (i + 1 < z.height) v->p[1][at] += s * (v->bar[at + w] - here);
            square += v->p[0][at] * v->p[0][at] + v->p[1][at] * v->p[1][at];
        }
        const float shrink = square > v->weight * v->weight ? (float)(v->weight / sqrt(square)) : 1;
        for (size_t c = 0; c < (size_t)z.channels; c++) {
            const size_t at = c * plane + (size_t)i * w + j;
            v->p[0][at] *= shrink;
            v->p[1][at] *= shrink;
        }
    }
}

/* bar = x - tau grad^T p; p is 0 behind the last column and row. */
static void primal_row(const tv *v, int c, int i)
{
    const ltn_size z = v->q->a->x;
    const size_t w = (size_t)z.width, first = ((size_t)c * (size_t)z.height + (size_t)i) * w;
    const float tau = (float)v->tau;
    for (size_t at = first; at < first + w; at++) {
        const float left = at > first ? v->p[0][at - 1] : 0, above = i ? v->p[1][at - w] : 0;
        v->bar[at] = v->x[at] + tau * (v->p[0][at] - left + v->p[1][at] - above);
    }
}

static ltn_status tv_step(void *state, ltn_progress *progress)
{
    tv *v = state;
    const ltn_degradation *a = v->q->a;
    const size_t n = ltn__size_count(a->x);
#pragma omp parallel for num_threads(n < SMALL ? 1 : v->q->ctx->threads)
    for (int i = 0; i < a->x.height; i++) dual_row(v, i);
#pragma omp parallel for num_threads(n < SMALL ? 1 : v->q->ctx->threads)
    for (int i = 0; i < a->x.channels * a->x.height; i++) primal_row(v, i / a->x.height, i % a->x.height);
    ltn__prox(a, v->q->y, v->tau, v->bar, v->bar);
    for (size_t i = 0; i < n; i++) {
        const float before = v->x[i];
        v->x[i] = v->bar[i];
        v->bar[i] = 2 * v->x[i] - before;
    }
    progress->step = ++v->step;
    progress->gamma = v->tau;
    if (v->step == v->steps || v->step % 10 == 0) progress->residual = ltn__chi(v->q, v->x, v->r);
    return v->step == v->steps ? LTN_DONE : LTN_OK;
}

static const float *tv_estimate(const void *state)
{
    const tv *v = state;
    return v->x;
}

static void tv_close(ltn_ctx *ctx, void *state)
{
    tv *v = state;
    float *const block[] = {v->x, v->bar, v->p[0], v->p[1], v->r};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__free(ctx, v);
}

/* Where no weight is given: the deviation of A^T n, n the noise, which the variation has to outweigh; a small
 * number where there is none. Uses bar and r as scratch. */
static double default_weight(const tv *v)
{
    const ltn_problem *q = v->q;
    const size_t n = ltn__size_count(q->a->x);
    double square = 0;
    ltn__normals(q->rng, 0, v->r, ltn__size_count(q->a->y));
    ltn__adjoint(q->a, v->r, v->bar);
    for (size_t i = 0; i < n; i++) square += (double)v->bar[i] * v->bar[i];
    return LTN_MAX(q->sigma * sqrt(square / (double)n), 4e-4);
}

static ltn_status tv_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    tv *v = ltn__alloc(q->ctx, 1, sizeof *v);
    if (!v) return LTN_ENOMEM;
    *state = v;
    v->q = q;
    *steps = v->steps = (int)ltn__num(s, "iterations");
    const size_t n = ltn__size_count(q->a->x);
    float **const picture[] = {&v->x, &v->bar, &v->p[0], &v->p[1]};
    for (int i = 0; i < LTN_COUNT(picture); i++)
        if (!(*picture[i] = ltn__alloc(q->ctx, n, sizeof(float)))) return LTN_ENOMEM;
    if (!(v->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *v->r))) return LTN_ENOMEM;
    v->weight = ltn__given(s, "weight") ? 2 * ltn__num(s, "weight") : default_weight(v);
    v->tau = LTN_MIN(1e3, 0.1 / LTN_MAX(v->weight, 1e-6)); /* the size of p to that of x - naive */
    ltn__naive(q->a, q->y, v->x);
    memcpy(v->bar, v->x, n * sizeof *v->x);
    return LTN_OK;
}

static const ltn_param tv_params[] = {
    {.name = "weight", .help = "of the total variation, in units of [0, 1]; without it, from sigma",
     .type = LTN_FLOAT, .max = 1e3},
    {.name = "iterations", .help = "primal-dual steps", .type = LTN_INT, .def = 200, .min = 1, .max = 1e6},
    {0},
};

const ltn_solver_row ltn__solver_tv = {
    .entry = {.name = "tv", .alias = "total-variation", .help = "total variation, no model",
              .cite = "Rudin, Osher, Fatemi 1992", .param = tv_params},
    .open = tv_open,
    .step = tv_step,
    .estimate = tv_estimate,
    .close = tv_close,
};
