/* test_ddrm.c - ddrm, ddnm, diffpir and pigdm on the Gaussian prior: the recursions that they follow there, the
 * posterior that they should draw from, noise-free data, what they refuse. */
#include "test.h"

#include "gaussian.h"

/* A line in (data y0, last value, draw): the next value of every pixel of x = z / sqrt(ab). */
typedef struct affine {
    double shift, keep, draw;
} affine;

/* Denoising one constant: x0 = a sqrt(ab) x, level l, next level to. */
static affine ddrm_rule(double ab, double next, double y0, double sigma, double eta, double b)
{
    const double a = shrink(ab) * sqrt(ab), to = sqrt((1 - next) / next);
    if (to < sigma) {
        const double part = sqrt(1 - eta * eta) * to / sigma;
        return (affine){part * y0, (1 - part) * a, eta * to};
    }
    return (affine){b * y0, (1 - b) * a, sqrt(to * to - b * b * sigma * sigma)};
}

static affine diffpir_rule(double ab, double next, double y0, double sigma, double lambda, double zeta)
{
    const double a = shrink(ab) * sqrt(ab), l = sqrt((1 - ab) / ab), to = sqrt((1 - next) / next);
    const double gamma = l * l / (lambda * sigma * sigma), w = gamma / (1 + gamma);
    if (next == 1) return (affine){w * y0, (1 - w) * a, 0};
    const double part = sqrt(1 - zeta) * to / l;
    return (affine){(1 - part) * w * y0, (1 - part) * (1 - w) * a + part, sqrt(zeta) * to};
}

static affine pigdm_rule(double ab, double next, double y0, double sigma, double eta)
{
    const double a = shrink(ab), r2 = 1 - ab, w = r2 / (r2 + sigma * sigma),
                 s = eta * sqrt((1 - next) / (1 - ab) * (1 - ab / next));
    const double b = sqrt(fmax(1 - next - s * s, 0) / (1 - ab)), g = sqrt(ab * next) * a * w;
    const double z = sqrt(next) * a + b * (1 - sqrt(ab) * a) - g * a; /* of z, gives z */
    return (affine){g * y0 / sqrt(next), z * sqrt(ab / next), s / sqrt(next)};
}

enum kind { DDRM, DIFFPIR, PIGDM };
typedef struct way {
    const char *spec;
    enum kind kind;
    int steps;
    double sigma, p, q; /* the rule's two parameters */
    int spacing;         /* 1 or 2 */
} way;

static affine rule_at(const way *w, double ab, double next, double y0)
{
    if (w->kind == DDRM) return ddrm_rule(ab, next, y0, w->sigma, w->p, w->q);
    if (w->kind == DIFFPIR) return diffpir_rule(ab, next, y0, w->sigma, w->p, w->q);
    return pigdm_rule(ab, next, y0, w->sigma, w->p);
}

/* 999 - floor(1000 (1 - (1 - k / n)^spacing)), in whole numbers. */
static int time_at(const way *w, int k)
{
    const int64_t n = w->steps, left = n - k;
    return w->spacing == 2 ? 999 - (int)(1000 * (n * n - left * left) / (n * n)) : 999 - (int)(1000 * k / n);
}

static void recursion(const gaussian *g, const way *w, double y0, double *mean, double *variance)
{
    const double ab0 = g->alpha_bar[999], l = sqrt((1 - ab0) / ab0);
    double m = w->kind == DDRM ? y0 : 0, v = w->kind == DDRM ? l * l - w->sigma * w->sigma : 1 / ab0;
    for (int k = 0; k < w->steps; k++) {
        const double ab = g->alpha_bar[time_at(w, k)];
        const double next = k + 1 < w->steps ? g->alpha_bar[time_at(w, k + 1)] : 1;
        const affine f = rule_at(w, ab, next, y0);
        m = f.shift + f.keep * m;
        v = f.keep * f.keep * v + f.draw * f.draw;
    }
    *mean = m;
    *variance = v;
}

TEST(they_follow_the_closed_form_recursion)
{
    static const way ways[] = {
        {"ddrm", DDRM, 100, 0.3, 0.85, 1, 1},
        {"ddrm:steps=20,eta=0.5,eta_b=0.7", DDRM, 20, 0.3, 0.5, 0.7, 1},
        {"ddrm:steps=40,eta_b=0.9", DDRM, 40, 0.6, 0.85, 0.9, 1},
        {"ddnm", DDRM, 100, 0.3, 0.85, 1, 1}, /* where they coincide */
        {"ddnm:steps=30,eta=0.2", DDRM, 30, 0.5, 0.2, 1, 1},
        {"diffpir", DIFFPIR, 100, 0.3, 1.75, 0.3, 1},
        {"diffpir:steps=15,lambda=2,zeta=0.9", DIFFPIR, 15, 0.2, 2, 0.9, 1},
        {"pigdm", PIGDM, 100, 0.3, 1, 0, 1},
        {"pigdm:steps=20,eta=0.4", PIGDM, 20, 0.5, 0.4, 0, 1},
        {"ddrm:steps=8,spacing=2", DDRM, 8, 0.3, 0.85, 1, 2},
        {"ddnm:steps=20,spacing=2", DDRM, 20, 0.3, 0.85, 1, 2},
        {"diffpir:steps=15,spacing=2", DIFFPIR, 15, 0.3, 1.75, 0.3, 2},
        {"pigdm:steps=100,spacing=2", PIGDM, 100, 0.3, 1, 0, 2},
    };
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static outcome o;
    make_gaussian(&g);
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    for (int i = 0; i < LTN_COUNT(ways); i++) {
        const way *w = &ways[i];
        double mean, variance, m, v;
        test_name("%s", w->spec);
        recursion(&g, w, 0.7, &mean, &variance);
        /* ddnm draws its first latent from the prior: the data come at the first step */
        solve(ctx, "identity", w->spec, y, w->sigma, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == w->steps && o.gradients == (w->kind == PIGDM ? w->steps : 0));
        CHECK(o.progress.step == w->steps && o.progress.t == time_at(w, w->steps - 1));
        moments(o.x, &m, &v);
        NEAR(m, mean, 6 * sqrt(variance / N) + 1e-4);
        NEAR(v / variance, 1, 6 * sqrt(2.0 / N));
    }
    ltn_close(&ctx);
}

/* Measured with noise: the error of a draw of the posterior is twice its variance, that of its mean once. */
TEST(they_end_between_the_posterior_mean_and_a_draw)
{
    static const char *const solver[] = {"ddrm", "ddnm", "diffpir:lambda=1", "pigdm"};
    static const char *const task[] = {"identity", "blur:sigma=0.6,boundary=circular"};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float x[N], y[N], n[N];
    static outcome o;
    for (int i = 0; i < LTN_COUNT(solver) * LTN_COUNT(task); i++) {
        const char *a = task[i % 2];
        const double sigma = 0.3;
        double mean = 0;
        ltn_degradation *d;
        test_name("%s, %s", solver[i / 2], a);
        OK(ctx, ltn_degradation_open(ctx, a, W, H, 3, &d));
        ltn__normals((ltn_rng){5, 9}, 0, x, N);
        ltn__normals((ltn_rng){6, 9}, 0, n, N);
        for (int k = 0; k < N; k++) x[k] *= (float)sqrt(S2);
        ltn__forward(d, x, y);
        for (int k = 0; k < N; k++) y[k] += (float)sigma * n[k];
        ltn__svd_values(d, n);
        for (size_t k = 0, count = ltn__svd_count(d); k < count; k++)
            mean += S2 * sigma * sigma / (S2 * n[k] * n[k] + sigma * sigma) / (double)count;
        solve(ctx, a, solver[i / 2], y, sigma, 1, &o);
        double error = 0;
        for (int k = 0; k < N; k++) error += ((double)o.x[k] - x[k]) * ((double)o.x[k] - x[k]) / N;
        /* pigdm takes the prior for wider than it is: r^2 = 1 - ab is that of unit variance */
        CHECK(o.status == LTN_DONE && error > 0.95 * mean && error < (i / 2 == 3 ? 3.5 : 2.5) * mean);
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

/* The variance of a pixel that was not measured: there x goes on with a part eta of its noise drawn anew. */
static double hole_variance(const gaussian *g, const char *solver)
{
    const double eta = strncmp(solver, "diffpir", 7) ? 0.85 : sqrt(0.3), ab0 = g->alpha_bar[999];
    double v = 1 / ab0;
    for (int k = 0; k < 100; k++) {
        const double ab = g->alpha_bar[999 - 10 * k], next = k + 1 < 100 ? g->alpha_bar[999 - 10 * (k + 1)] : 1;
        affine f = pigdm_rule(ab, next, 0, INFINITY, 1);
        if (strncmp(solver, "pigdm", 5)) {
            const double a = shrink(ab) * sqrt(ab), l = sqrt((1 - ab) / ab), to = sqrt((1 - next) / next);
            f = (affine){0, a + sqrt(1 - eta * eta) * to / l * (1 - a), eta * to};
        }
        v = f.keep * f.keep * v + f.draw * f.draw;
    }
    return v;
}

/* Without noise what was measured is met, and what was not is spread as the recursion says. */
TEST(noise_free_data_are_met)
{
    static const char *const solver[] = {"ddrm", "ddnm", "ddnm:steps=30,travel=5,repeat=3", "diffpir", "pigdm"};
    static const char *const task[] = {"inpaint:random=0.5", "downsample:factor=2,boundary=circular"};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float x[N], y[N], back[N];
    static outcome o, again, other;
    static gaussian g;
    make_gaussian(&g);
    for (int i = 0; i < LTN_COUNT(solver) * LTN_COUNT(task); i++) {
        const char *a = task[i % 2], *s = solver[i / 2];
        ltn_degradation *d;
        test_name("%s, %s", s, a);
        OK(ctx, ltn_degradation_open(ctx, a, W, H, 3, &d));
        ltn__normals((ltn_rng){4, 9}, 0, x, N);
        for (int k = 0; k < N; k++) x[k] *= (float)sqrt(S2);
        memset(y, 0, sizeof y);
        ltn__forward(d, x, y);
        solve(ctx, a, s, y, 0, 1, &o);
        CHECK(o.status == LTN_DONE);
        memset(back, 0, sizeof back);
        ltn__forward(d, o.x, back);
        CHECK(test_error(back, y, ltn__size_count(d->y)) < (strncmp(s, "pigdm", 5) ? 2e-3 : 0.05));
        double hole = 0, count = 0;
        for (int k = 0; k < N && i % 2 == 0; k++)
            if (y[k] == 0) hole += (double)o.x[k] * o.x[k], count++;
        if (count && !strstr(s, "travel")) NEAR(hole / count / hole_variance(&g, s), 1, 0.1);
        solve(ctx, a, s, y, 0, 1, &again);
        solve(ctx, a, s, y, 0, 2, &other);
        CHECK(!memcmp(o.x, again.x, sizeof o.x) && memcmp(o.x, other.x, sizeof o.x));
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

TEST(time_travel_takes_its_calls)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    static outcome o;
    solve(ctx, "identity", "ddnm:steps=20,travel=5,repeat=3", y, 0, 1, &o);
    CHECK(o.status == LTN_DONE && o.calls == 20 + 15 * 2 && o.progress.steps == o.calls && o.progress.step == o.calls);
    solve(ctx, "identity", "ddnm:steps=7,travel=3,repeat=2", y, 0.1, 1, &o);
    CHECK(o.status == LTN_DONE && o.calls == 7 + 6 && o.progress.steps == o.calls);
    ltn_close(&ctx);
}

TEST(what_they_need_is_said)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    static outcome o;
    const char *const chain = "blur:sigma=1+inpaint:random=0.5";
    solve(ctx, chain, "ddrm", y, 0.1, 1, &o);
    CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "ddrm needs singular values, and \"blur:sigma=1+inpaint"));
    solve(ctx, chain, "ddnm", y, 0.1, 1, &o);
    CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "ddnm with noise needs singular values"));
    solve(ctx, chain, "ddnm:steps=3", y, 0, 1, &o);
    CHECK(o.status == LTN_DONE);
    ltn_close(&ctx);
}
