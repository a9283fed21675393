/* gaussian.h - a prior whose denoiser and posterior are known in closed form, for the tests of solvers: pixels are
 * independent N(m, S2), the autoencoder is the identity, f(z, t, c) = E[x | z]. The mean m is that of the text's first
 * column (0 by default), so the text that explains a picture best is known too. */
#ifndef LTN_GAUSSIAN_H
#define LTN_GAUSSIAN_H

#include <string.h>

#include "solve/solve.h"

enum { W = 40, H = 30, N = W * H * 3, TRAIN = 1000, TOKENS = 8, WIDTH = 2 };
static const double S2 = 0.25;

typedef struct gaussian {
    ltn_prior base;
    double alpha_bar[TRAIN];
    float text[TOKENS * WIDTH], empty[TOKENS * WIDTH];
    int t; /* of the prediction kept */
} gaussian;

static ltn_status gaussian_copy(ltn_prior *p, const float *a, float *b)
{
    (void)p;
    memmove(b, a, N * sizeof *a);
    return LTN_OK;
}

/* d E[x | z] / dz */
static double shrink(double ab)
{
    return sqrt(ab) * S2 / (ab * S2 + 1 - ab);
}

static double text_mean(const ltn_prior *p)
{
    double sum = 0;
    for (int j = 0; j < TOKENS; j++) sum += p->text[j * WIDTH];
    return sum / TOKENS;
}

static ltn_status gaussian_predict(ltn_prior *p, const float *z, int t, float *z0)
{
    const double ab = p->alpha_bar[t], m = text_mean(p);
    for (int i = 0; i < N; i++) z0[i] = (float)(m + shrink(ab) * (z[i] - sqrt(ab) * m));
    p->calls++;
    return LTN_OK;
}

static ltn_status gaussian_predict_kept(ltn_prior *p, const float *z, int t, int wrt, float *z0)
{
    (void)wrt;
    ((gaussian *)p)->t = t;
    return gaussian_predict(p, z, t, z0);
}

static ltn_status gaussian_predict_back(ltn_prior *p, const float *dz0, float *dz, float *dtext)
{
    const double ab = p->alpha_bar[((gaussian *)p)->t];
    double sum = 0;
    for (int i = 0; i < N; i++) sum += dz0[i];
    for (int i = 0; i < N && dz; i++) dz[i] = (float)(shrink(ab) * dz0[i]);
    for (int j = 0; j < TOKENS * WIDTH && dtext; j++)
        dtext[j] = j % WIDTH ? 0 : (float)(sum * (1 - shrink(ab) * sqrt(ab)) / TOKENS);
    p->gradients++;
    return LTN_OK;
}

static double gaussian_error(const ltn_prior *p, int t)
{
    double ab = p->alpha_bar[t];
    return S2 * (1 - ab) / (ab * S2 + 1 - ab);
}

/* Noise e on x: z = sqrt(ab) (x + e n) has the level of t where (1 - ab) / ab = e^2. */
static int gaussian_time_of(const ltn_prior *p, double e)
{
    int t = 0;
    while (t < TRAIN - 1 && (1 - p->alpha_bar[t]) / p->alpha_bar[t] < e * e) t++;
    return t;
}

static double gaussian_error_at(const ltn_prior *p, double e)
{
    (void)p;
    return S2 * e * e / (S2 + e * e);
}

/* SD's scaled-linear schedule; the text is all zeros. */
static void make_gaussian(gaussian *g)
{
    *g = (gaussian){.base = {.latent_count = N, .pixels = true, .train_steps = TRAIN, .tokens = TOKENS,
                             .text_count = TOKENS * WIDTH,
                             .encode = gaussian_copy, .decode = gaussian_copy, .predict = gaussian_predict,
                             .encode_kept = gaussian_copy, .decode_kept = gaussian_copy,
                             .predict_kept = gaussian_predict_kept,
                             .encode_back = gaussian_copy, .decode_back = gaussian_copy,
                             .predict_back = gaussian_predict_back,
                             .error = gaussian_error, .latent_error = gaussian_error, .time_of = gaussian_time_of,
                             .error_at = gaussian_error_at}};
    double product = 1;
    for (int i = 0; i < TRAIN; i++) {
        double b = sqrt(0.00085) + (sqrt(0.012) - sqrt(0.00085)) * i / (TRAIN - 1);
        g->alpha_bar[i] = product *= 1 - b * b;
    }
    g->base.alpha_bar = g->alpha_bar;
    g->base.text = g->text;
    g->base.empty = g->empty;
}

/* One run of a solver on y; x and the progress after the last step. */
typedef struct outcome {
    float x[N];
    ltn_progress progress;
    int calls, gradients;
    ltn_status status;
} outcome;

static void solve_under(ltn_ctx *ctx, ltn_prior *p, const char *degradation, const char *solver, const float *y,
                        double sigma, uint64_t seed, outcome *o)
{
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, degradation, W, H, 3, &d));
    static float measured[N];
    memcpy(measured, y, sizeof measured);
    ltn__measured(d, measured); /* holes are 0 */
    ltn_problem q = {.ctx = ctx, .a = d, .y = measured, .sigma = sigma, .rng = {seed, LTN_STREAM_SOLVER}};
    ltn_arena arena = {.ctx = ctx};
    ltn_spec spec;
    OK(ctx, ltn__spec_parse(ctx, "solver", ltn__solver_entry, solver, &arena, &spec));
    const ltn_solver_row *row = ltn__solver_row(spec.row);
    void *state = NULL;
    memset(o, 0, sizeof *o);
    o->status = row->open(&q, p, &spec, &state, &o->progress.steps);
    while (!o->status) o->status = row->step(state, &o->progress);
    if (o->status == LTN_DONE) memcpy(o->x, row->estimate(state), sizeof o->x);
    if (state) row->close(ctx, state);
    o->calls = p->calls;
    o->gradients = p->gradients;
    ltn__arena_free(&arena);
    ltn_degradation_close(&d);
}

/* With the text all `text`; what the solver made of the text stays in *g. */
static inline void solve_with(ltn_ctx *ctx, gaussian *g, float text, const char *degradation, const char *solver,
                              const float *y, double sigma, uint64_t seed, outcome *o)
{
    make_gaussian(g);
    for (int i = 0; i < TOKENS * WIDTH; i++) g->text[i] = text;
    solve_under(ctx, &g->base, degradation, solver, y, sigma, seed, o);
}

static inline void solve(ltn_ctx *ctx, const char *degradation, const char *solver, const float *y, double sigma,
                         uint64_t seed, outcome *o)
{
    static gaussian g;
    solve_with(ctx, &g, 0, degradation, solver, y, sigma, seed, o);
}

static inline void moments(const float *x, double *mean, double *variance)
{
    double s = 0, s2 = 0;
    for (int i = 0; i < N; i++) s += x[i], s2 += (double)x[i] * x[i];
    *mean = s / N;
    *variance = s2 / N - *mean * *mean;
}

#endif
