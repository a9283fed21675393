/* test_ablation.c - latino-gradient and latino-ddim: pixel by pixel on the Gaussian prior, where every formula of
 * a step is affine and known. */
#include "test.h"

#include "gaussian.h"

enum { SEED = 5 };
typedef struct setting {
    const char *degradation, *spec;
    int steps;
    double sigma, first, second; /* zeta and pull; or eta, and 1: by the discrepancy */
} setting;

/* What was measured (1 or 0), y there, and the naive inverse. */
typedef struct mask {
    float known[N], y[N], naive[N];
} mask;

static void measure(ltn_ctx *ctx, const char *degradation, double sigma, mask *m)
{
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, degradation, W, H, 3, &d));
    for (int i = 0; i < N; i++) {
        m->known[i] = 1;
        const double truth = 0.4 + 0.5 * ltn__normal((ltn_rng){1, 1}, (uint64_t)i);
        m->y[i] = (float)(truth + sigma * ltn__normal((ltn_rng){1, 2}, (uint64_t)i));
    }
    ltn__measured(d, m->known);
    ltn__measured(d, m->y);
    ltn__naive(d, m->y, m->naive);
    ltn_degradation_close(&d);
}

static double noise(int draw, int i)
{
    return ltn__normal((ltn_rng){SEED, LTN_STREAM_SOLVER + (uint64_t)draw}, (uint64_t)i);
}

static double grid(const gaussian *g, int steps, int k)
{
    return k < steps ? g->alpha_bar[TRAIN - 1 - TRAIN * k / steps] : 1;
}

/* |A x - y| of what was measured. */
static double misfit(const mask *m, const double *x)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += m->known[i] > 0 ? (x[i] - m->y[i]) * (x[i] - m->y[i]) : 0;
    return sqrt(sum);
}

static double count(const mask *m)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += m->known[i];
    return sum;
}

/* Of y = 0.4 + noise of S2 + noise of sigma: f is z0 = a z, so g0 = (z0 - y) / norm and g = a g0. */
static void gradient_loop(const gaussian *g, const setting *s, const mask *m, double goal, double *x)
{
    for (int i = 0; i < N; i++) x[i] = m->naive[i];
    for (int k = 0; k < s->steps; k++) {
        const double ab = grid(g, s->steps, k), a = shrink(ab);
        for (int i = 0; i < N; i++) x[i] = a * (sqrt(ab) * x[i] + sqrt(1 - ab) * noise(k, i));
        const double norm = misfit(m, x);
        const double zeta = s->first > 0 ? s->first : s->second * fmax(norm - goal, 0) / a;
        for (int i = 0; i < N; i++) x[i] -= m->known[i] * zeta * a * (x[i] - m->y[i]) / norm;
    }
}

TEST(latino_gradient_follows_the_closed_form)
{
    static const setting row[] = {
        {"identity", "latino-gradient:loop=renoised", 8, 0.3, 0, 1},
        {"identity", "latino-gradient:loop=renoised,zeta=30,steps=5", 5, 0.3, 30, 0},
        {"inpaint:random=0.5,seed=3", "latino-gradient:loop=renoised,pull=0.6,steps=12", 12, 0.1, 0, 0.6},
    };
    static gaussian g;
    static mask m;
    static outcome o;
    static double x[N];
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    make_gaussian(&g);
    for (int r = 0; r < LTN_COUNT(row); r++) {
        test_name("%s %s", row[r].degradation, row[r].spec);
        measure(ctx, row[r].degradation, row[r].sigma, &m);
        double trace = 0; /* of A A^T, by the solver's probe */
        for (int i = 0; i < N; i++)
            trace += m.known[i] * pow(ltn__normal((ltn_rng){SEED, LTN_STREAM_PROBE}, (uint64_t)i), 2);
        const double noise2 = row[r].sigma * row[r].sigma, prior2 = gaussian_error(&g.base, 0);
        const double goal = sqrt(count(&m) * noise2 + prior2 * trace);
        gradient_loop(&g, &row[r], &m, goal, x);
        solve(ctx, row[r].degradation, row[r].spec, m.y, row[r].sigma, SEED, &o);
        CHECK(o.status == LTN_DONE && o.calls == row[r].steps && o.gradients == row[r].steps);
        CHECK(o.progress.step == row[r].steps);
        CHECK(o.progress.t == TRAIN - 1 - TRAIN * (row[r].steps - 1) / row[r].steps);
        double worst = 0;
        for (int i = 0; i < N; i++) worst = fmax(worst, fabs(x[i] - o.x[i]));
        NEAR(worst, 0, 2e-5);
        if (row[r].second == 1) NEAR(o.progress.residual, 1, 0.01); /* y is explained, and no better */
    }
    ltn_close(&ctx);
}

/* x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2 where A is a mask. */
static void prox(const mask *m, double gamma, const double *u, double *x)
{
    for (int i = 0; i < N; i++) x[i] = m->known[i] > 0 ? (u[i] + gamma * m->y[i]) / (1 + gamma) : u[i];
}

static void ddim_loop(const gaussian *g, const setting *s, const mask *m, double *x)
{
    static double z[N], u[N];
    const double target = sqrt(count(m)) * s->sigma;
    for (int i = 0; i < N; i++) x[i] = m->naive[i];
    for (int k = 0, draw = 1; k < s->steps; k++) {
        const double ab = grid(g, s->steps, k), next = grid(g, s->steps, k + 1), a = shrink(ab);
        const double e = s->first * sqrt((1 - next) / (1 - ab) * (1 - ab / next));
        for (int i = 0; i < N; i++) {
            if (!k) z[i] = sqrt(ab) * x[i] + sqrt(1 - ab) * noise(0, i);
            u[i] = a * z[i];
        }
        const double r2 = gaussian_error(&g->base, TRAIN - 1 - TRAIN * k / s->steps);
        /* by the discrepancy: |A x - y| = |A u - y| / (1 + gamma) */
        prox(m, s->second ? fmax(misfit(m, u) / target - 1, 0) : r2 / (s->sigma * s->sigma), u, x);
        for (int i = 0; i < N; i++) {
            const double toward = (z[i] - sqrt(ab) * u[i]) / sqrt(1 - ab);
            z[i] = sqrt(next) * x[i] + sqrt(1 - next - e * e) * toward + (e > 0 ? e * noise(draw, i) : 0);
        }
        draw += e > 0;
    }
}

TEST(latino_ddim_follows_the_closed_form)
{
    static const setting row[] = {
        {"identity", "latino-ddim:rule=bayes", 50, 0.3, 0, 0},
        {"identity", "latino-ddim:rule=discrepancy,steps=20", 20, 0.3, 0, 1},
        {"inpaint:random=0.5,seed=3", "latino-ddim:rule=bayes,eta=0.7,steps=30", 30, 0.1, 0.7, 0},
    };
    static gaussian g;
    static mask m;
    static outcome o;
    static double x[N];
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    make_gaussian(&g);
    for (int r = 0; r < LTN_COUNT(row); r++) {
        test_name("%s %s", row[r].degradation, row[r].spec);
        measure(ctx, row[r].degradation, row[r].sigma, &m);
        ddim_loop(&g, &row[r], &m, x);
        solve(ctx, row[r].degradation, row[r].spec, m.y, row[r].sigma, SEED, &o);
        CHECK(o.status == LTN_DONE && o.calls == row[r].steps && o.gradients == 0);
        CHECK(o.progress.step == row[r].steps);
        double worst = 0;
        for (int i = 0; i < N; i++) worst = fmax(worst, fabs(x[i] - o.x[i]));
        NEAR(worst, 0, row[r].second ? 1e-3 : 2e-5); /* the discrepancy's gamma is found to 1e-4 */
    }
    ltn_close(&ctx);
}

/* What is not measured is a draw of the prior, or nearly: DDIM with few steps loses some of its spread. */
TEST(latino_ddim_fills_holes_from_the_prior)
{
    static mask m;
    static outcome o;
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    measure(ctx, "inpaint:random=0.5,seed=3", 0, &m);
    solve(ctx, "inpaint:random=0.5,seed=3", "latino-ddim:rule=bayes,steps=500", m.y, 0, SEED, &o);
    double mean = 0, square = 0, worst = 0;
    for (int i = 0; i < N; i++) {
        if (m.known[i] > 0) worst = fmax(worst, fabs(o.x[i] - m.y[i]));
        else mean += o.x[i] / (N - count(&m)), square += (double)o.x[i] * o.x[i] / (N - count(&m));
    }
    CHECK(worst == 0);
    NEAR(mean, 0, 0.05);
    NEAR(square, S2, 0.03);
    ltn_close(&ctx);
}
