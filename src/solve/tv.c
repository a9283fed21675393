/* tv.c - total variation restoration, the classical floor to compare with:
 *     x = argmin 1/2 |A x - y|^2 + weight sum_pixels sqrt(sum_colours |grad x|^2)     (x, y in [0, 1])
 * Rudin, Osher and Fatemi 1992, colours coupled (Blomgren and Chan 1998), with the operator's own prox, by
 * the primal-dual method of Chambolle and Pock 2011:
 *     e  <- project(e + s grad(v)) on |e| <= weight
 *     x' <- prox(x - tau grad^T e), gamma = tau,       v <- 2 x' - x,      s tau |grad|^2 <= 1, |grad|^2 <= 8
 * or by the alternating directions of Boyd et al. 2011 on x = v, d = grad v, over-relaxed. With the multipliers
 * inside of w (v plus that of x) and e (grad v plus that of d) these read (Eckstein and Bertsekas 1992):
 *     x <- prox(2 v - w), gamma = tau                               w <- w + relax (x - v)
 *     d <- shrink(2 grad v - e) by weight/eta                       e <- e + relax (d - grad v)
 *     v <- (1/tau + eta grad^T grad)^-1 (w/tau + eta grad^T e)      by the cosine transform */
#include <math.h>
#include <string.h>

#include "../degrade/fourier.h"
#include "solve.h"

enum { SMALL = 1 << 15 }; /* below this many values a second thread costs more than it gives */
static const double pi = 3.14159265358979323846, relax = 1.8;

typedef struct tv {
    const ltn_problem *q;
    const struct method *method;
    double weight, tau, eta; /* weight in units of [-1, 1], where the solver works: twice the user's */
    int step, steps;
    float *x, *v, *e[2], *r; /* e along x and y, 0 behind the last column and row; r: a measurement */
    float *pull; /* prox(u) - u of the step before: where the next prox starts */
    float *w, *s, *inverse; /* admm's: a picture, a plane's spectrum, 1 / (1/tau + eta |grad|^2) there */
    ltn_plane plane;
} tv;

typedef struct method {
    void (*open)(const tv *t); /* x stands at the naive inverse, e at 0 */
    void (*advance)(const tv *t);
    int steps; /* that are enough, as a rule */
    bool cosine;
} method;

/* The differences of v at a pixel, none across the border. */
static inline void gradient(const tv *t, size_t at, bool last_column, bool last_row, float g[2])
{
    g[0] = last_column ? 0 : t->v[at + 1] - t->v[at];
    g[1] = last_row ? 0 : t->v[at + (size_t)t->q->a->x.width] - t->v[at];
}

/* (grad^T e)[at]: row and column are those of the pixel. */
static inline float divergence(const tv *t, size_t at, size_t column, int row)
{
    const float left = column ? t->e[0][at - 1] : 0, above = row ? t->e[1][at - (size_t)t->q->a->x.width] : 0;
    return left - t->e[0][at] + above - t->e[1][at];
}

/* Calls f(t, i) for rows 0 .. n - 1. */
static void over_rows(const tv *t, int n, void (*f)(const tv *t, int i))
{
    const int threads = ltn__size_count(t->q->a->x) < SMALL ? 1 : t->q->ctx->threads;
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < n; i++) f(t, i);
}

/* ---- Primal and dual ---- */
/* e += s grad(v), then back to |e| <= weight, pixel by pixel. */
static void dual_row(const tv *t, int i)
{
    const ltn_size z = t->q->a->x;
    const size_t w = (size_t)z.width, plane = w * (size_t)z.height;
    const float s = (float)(1 / (8 * t->tau));
    float g[2];
    for (size_t j = 0; j < w; j++) {
        float square = 0;
        for (size_t c = 0, at = (size_t)i * w + j; c < (size_t)z.channels; c++, at += plane) {
            gradient(t, at, j + 1 == w, i + 1 == z.height, g);
            for (int k = 0; k < 2; k++) t->e[k][at] += s * g[k], square += t->e[k][at] * t->e[k][at];
        }
        const float shrink = square > t->weight * t->weight ? (float)(t->weight / sqrt(square)) : 1;
        for (size_t c = 0, at = (size_t)i * w + j; c < (size_t)z.channels; c++, at += plane)
            for (int k = 0; k < 2; k++) t->e[k][at] *= shrink;
    }
}

/* v = x - tau grad^T e */
static void primal_row(const tv *t, int i)
{
    const ltn_size z = t->q->a->x;
    const size_t w = (size_t)z.width, first = (size_t)i * w;
    const float tau = (float)t->tau;
    for (size_t j = 0; j < w; j++)
        t->v[first + j] = t->x[first + j] - tau * divergence(t, first + j, j, i % z.height);
}

/* u becomes prox(u). */
static void prox(const tv *t, float *u)
{
    const size_t n = ltn__size_count(t->q->a->x);
    float *const x = t->pull;
    for (size_t i = 0; i < n; i++) x[i] += u[i];
    ltn__prox_from(t->q->a, t->q->y, t->tau, u, x);
    for (size_t i = 0; i < n; i++) {
        const float found = x[i];
        t->pull[i] = found - u[i];
        u[i] = found;
    }
}

static void primal_dual(const tv *t)
{
    const ltn_size z = t->q->a->x;
    over_rows(t, z.height, dual_row);
    over_rows(t, z.height * z.channels, primal_row);
    prox(t, t->v);
    for (size_t i = 0; i < ltn__size_count(z); i++) {
        const float before = t->x[i];
        t->x[i] = t->v[i];
        t->v[i] = 2 * t->x[i] - before;
    }
}

static void primal_dual_open(const tv *t)
{
    memcpy(t->v, t->x, ltn__size_count(t->q->a->x) * sizeof *t->v);
}

/* ---- Alternating directions ---- */
/* e += relax (shrink(2 grad v - e) - grad v), pixel by pixel. */
static void split_row(const tv *t, int i)
{
    const ltn_size z = t->q->a->x;
    const size_t w = (size_t)z.width, plane = w * (size_t)z.height;
    const float limit = (float)(t->weight / t->eta);
    float g[2];
    for (size_t j = 0; j < w; j++) {
        const bool column = j + 1 == w, row = i + 1 == z.height;
        float square = 0;
        for (size_t c = 0, at = (size_t)i * w + j; c < (size_t)z.channels; c++, at += plane) {
            gradient(t, at, column, row, g);
            for (int k = 0; k < 2; k++) square += (2 * g[k] - t->e[k][at]) * (2 * g[k] - t->e[k][at]);
        }
        const float shrink = square > limit * limit ? 1 - limit / sqrtf(square) : 0;
        for (size_t c = 0, at = (size_t)i * w + j; c < (size_t)z.channels; c++, at += plane) {
            gradient(t, at, column, row, g);
            for (int k = 0; k < 2; k++)
                t->e[k][at] += (float)relax * (shrink * (2 * g[k] - t->e[k][at]) - g[k]);
        }
    }
}

/* v = w/tau + eta grad^T e */
static void gather_row(const tv *t, int i)
{
    const ltn_size z = t->q->a->x;
    const size_t w = (size_t)z.width, first = (size_t)i * w;
    const float rho = (float)(1 / t->tau), eta = (float)t->eta;
    for (size_t j = 0; j < w; j++)
        t->v[first + j] = rho * t->w[first + j] + eta * divergence(t, first + j, j, i % z.height);
}

static void admm(const tv *t)
{
    const ltn_size z = t->q->a->x;
    const size_t n = ltn__size_count(z), modes = ltn__plane_floats(&t->plane);
    for (size_t i = 0; i < n; i++) t->x[i] = 2 * t->v[i] - t->w[i];
    prox(t, t->x);
    for (size_t i = 0; i < n; i++) t->w[i] += (float)relax * (t->x[i] - t->v[i]);
    over_rows(t, z.height, split_row);
    over_rows(t, z.height * z.channels, gather_row);
    for (size_t c = 0; c < (size_t)z.channels; c++) {
        ltn__plane_forward(&t->plane, t->v + c * modes, t->s);
        for (size_t k = 0; k < modes; k++) t->s[k] *= t->inverse[k];
        ltn__plane_inverse(&t->plane, t->s, t->v + c * modes);
    }
}

static void admm_open(const tv *t)
{
    const ltn_size z = t->q->a->x;
    const size_t n = ltn__size_count(z), w = (size_t)z.width, h = (size_t)z.height;
    float g[2];
    memcpy(t->v, t->x, n * sizeof *t->v);
    memcpy(t->w, t->x, n * sizeof *t->w);
    for (size_t at = 0; at < n; at++) {
        gradient(t, at, at % w + 1 == w, at / w % h + 1 == h, g);
        t->e[0][at] = g[0];
        t->e[1][at] = g[1];
    }
    for (size_t i = 0; i < w; i++)
        for (size_t j = 0; j < h; j++) {
            const double a = sin(pi * (double)i / (2.0 * (double)w));
            const double b = sin(pi * (double)j / (2.0 * (double)h));
            t->inverse[i * h + j] = (float)(1 / (1 / t->tau + 4 * t->eta * (a * a + b * b)));
        }
}

static const method methods[] = {
    {primal_dual_open, primal_dual, 200, false},
    {admm_open, admm, 60, true},
};

/* ---- The solver ---- */
static ltn_status tv_step(void *state, ltn_progress *progress)
{
    tv *t = state;
    t->method->advance(t);
    progress->step = ++t->step;
    progress->gamma = t->tau;
    if (t->step == t->steps || t->step % 10 == 0) progress->residual = ltn__chi(t->q, t->x, t->r);
    return t->step == t->steps ? LTN_DONE : LTN_OK;
}

static const float *tv_estimate(const void *state)
{
    const tv *t = state;
    return t->x;
}

static void tv_close(ltn_ctx *ctx, void *state)
{
    tv *t = state;
    float *const block[] = {t->x, t->v, t->e[0], t->e[1], t->r, t->pull, t->w, t->s, t->inverse};
    for (int i = 0; i < LTN_COUNT(block); i++) ltn__free(ctx, block[i]);
    ltn__plane_close(&t->plane);
    ltn__free(ctx, t);
}

/* Where no weight is given: the deviation of A^T n (J^T n at x), n the noise, which the variation has to outweigh; a
 * small number where there is none. Uses v and r as scratch. */
static double default_weight(const tv *t)
{
    const ltn_problem *q = t->q;
    const size_t n = ltn__size_count(q->a->x);
    double square = 0;
    ltn__normals(q->rng, 0, t->r, ltn__size_count(q->a->y));
    ltn__vjp(q->a, t->x, t->r, t->v);
    for (size_t i = 0; i < n; i++) square += (double)t->v[i] * t->v[i];
    return LTN_MAX(q->sigma * sqrt(square / (double)n), 4e-4);
}

static ltn_status open_memory(tv *t)
{
    ltn_ctx *ctx = t->q->ctx;
    const ltn_size z = t->q->a->x;
    float **const picture[] = {&t->x, &t->v, &t->e[0], &t->e[1], &t->pull, &t->w};
    float **const spectrum[] = {&t->s, &t->inverse};
    if (ltn__alloc_each(ctx, ltn__size_count(z), picture, LTN_COUNT(picture) - !t->method->cosine)) return LTN_ENOMEM;
    if (!(t->r = ltn__alloc(ctx, ltn__size_count(t->q->a->y), sizeof *t->r))) return LTN_ENOMEM;
    if (!t->method->cosine) return LTN_OK;
    if (ltn__alloc_each(ctx, (size_t)z.width * (size_t)z.height, spectrum, LTN_COUNT(spectrum))) return LTN_ENOMEM;
    return ltn__plane_open(ctx, LTN_COSINE, z.width, z.height, &t->plane);
}

static ltn_status tv_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s, void **state, int *steps)
{
    tv *t = ltn__alloc(q->ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    *state = t;
    t->q = q;
    t->method = &methods[(int)ltn__num(s, "method")];
    const int given = (int)ltn__num(s, "iterations");
    *steps = t->steps = given ? given : t->method->steps;
    const ltn_status status = open_memory(t);
    if (status) return status;
    ltn__naive(q->a, q->y, t->x);
    t->weight = LTN_MAX(ltn__given(s, "weight") ? 2 * ltn__num(s, "weight") : default_weight(t), 1e-6);
    /* The size of e to that of x - naive: the fastest over all tasks tried. */
    t->tau = t->method->cosine ? 1 / (3 * t->weight) : LTN_MIN(1e3, 0.1 / t->weight);
    t->eta = 4 * t->weight;
    t->method->open(t);
    return LTN_OK;
}

static const ltn_param tv_params[] = {
    {.name = "weight", .help = "of the total variation, in units of [0, 1]; without it, from sigma",
     .type = LTN_FLOAT, .max = 1e3},
    {.name = "method", .help = "two ways to the same x: the first is faster, but for blur",
     .type = LTN_CHOICE,
     .choices = "primal-dual|admm"},
    {.name = "iterations", .help = "0: 200 of primal-dual, 60 of admm", .type = LTN_INT, .max = 1e6},
    {0},
};

const ltn_solver_row ltn__solver_tv = {
    .entry = {.name = "tv", .alias = "total-variation", .help = "total variation, no model",
              .cite = "Rudin, Osher, Fatemi 1992", .param = tv_params},
    .nonlinear = true,
    .open = tv_open,
    .step = tv_step,
    .estimate = tv_estimate,
    .close = tv_close,
};
