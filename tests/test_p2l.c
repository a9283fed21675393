/* test_p2l.c - P2L and TReg on a Gaussian prior, where what they do to mean, spread and text is known in
 * closed form. */
#include "solve/diffusion.h"

#include "test.h"

#include "gaussian.h"

/* Pixels are N(mean, variance); a solver's step maps them by slope z + offset. */
typedef struct normal {
    double mean, variance;
} normal;

static normal affine(normal z, double slope, double offset, double fresh)
{
    return (normal){slope * z.mean + offset, slope * slope * z.variance + fresh};
}

static double rms(normal u, double y)
{
    return sqrt((u.mean - y) * (u.mean - y) + u.variance);
}

/* gamma of pixels known up to sigma, for predictions u: 1 / (1 + gamma) = sigma / |u - y| leaves a residual
 * of sigma. */
static double gamma_for(const gaussian *g, int t, double sigma, double weight, normal u, double y)
{
    return weight * fmax(gaussian_error(&g->base, t) / (sigma * sigma), rms(u, y) / sigma - 1);
}

static bool is_near(const char *what, const float *x, normal want)
{
    double mean, variance;
    test_name("%s", what);
    moments(x, &mean, &variance);
    NEAR(mean, want.mean, 5 * sqrt(want.variance / N) + 2e-3);
    NEAR(variance / want.variance, 1, 0.05);
    return true;
}

/* ---- P2L ---- */

/* With u = s z, s = shrink(ab), the gradient of r = |u - y| by z is s (u - y) / r, its square s^2. */
static normal follow_p2l(const gaussian *g, int steps, int every, double weight, double zeta, double y,
                         double sigma)
{
    normal z = {0, 1}, x = {0, 0};
    for (int k = 0; k < steps; k++) {
        const int t = ltn__grid_time(&g->base, steps, 1, k);
        const double ab = g->alpha_bar[t], next = ltn__grid_alpha_bar(&g->base, steps, 1, k + 1), s = shrink(ab);
        const normal u = affine(z, s, 0, 0);
        const double gamma = gamma_for(g, t, sigma, weight, u, y);
        const double guide = zeta * fmax(1 - sigma / rms(u, y), 0);
        const double keep = k % every ? 1 : 1 / (1 + gamma);
        x = affine(u, 1 / (1 + gamma), gamma / (1 + gamma) * y, 0);
        z = affine(z, sqrt(next) * keep * s + sqrt((1 - next) / (1 - ab)) * (1 - sqrt(ab) * s) - guide,
                   sqrt(next) * (1 - keep) * y + guide * y / s, 0);
    }
    return x;
}

TEST(p2l_follows_the_closed_form_recursion)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    static float y[N];
    static outcome o, again, other;
    static const struct {
        const char *solver;
        int steps, every, gradients;
        double weight, zeta;
    } row[] = {{"p2l:inner=0,steps=10,every=3,weight=0.5,zeta=0.4", 10, 3, 9, 0.5, 0.4},
               {"p2l:inner=0,steps=8,every=1,weight=1,zeta=0", 8, 1, 0, 1, 0},
               {"p2l:inner=0,steps=12,every=100,weight=0.1,zeta=1", 12, 100, 11, 0.1, 1}};
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    for (int i = 0; i < LTN_COUNT(row); i++) {
        solve(ctx, "identity", row[i].solver, y, 0.3, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == row[i].steps && o.gradients == row[i].gradients);
        CHECK(o.progress.step == row[i].steps && o.progress.t == ltn__grid_time(&g.base, row[i].steps, 1,
                                                                                row[i].steps - 1));
        is_near(row[i].solver, o.x, follow_p2l(&g, row[i].steps, row[i].every, row[i].weight, row[i].zeta,
                                               0.7, 0.3));
    }
    solve(ctx, "downsample:factor=2", "p2l:steps=5", y, 0.3, 1, &o);
    solve(ctx, "downsample:factor=2", "p2l:steps=5", y, 0.3, 1, &again);
    solve(ctx, "downsample:factor=2", "p2l:steps=5", y, 0.3, 2, &other);
    CHECK(!memcmp(o.x, again.x, sizeof o.x));
    CHECK(memcmp(o.x, other.x, sizeof o.x));
    ltn_close(&ctx);
}

/* The text that explains y best has the mean of y; its second column, on which nothing depends, stays. */
TEST(p2l_finds_the_text)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static outcome o;
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    for (int i = 0; i < N; i++) y[i] = 0.7f + 0.5f * y[i];
    solve_with(ctx, &g, -0.5f, "identity", "p2l:steps=1,inner=100,rate=0.05", y, 0.1, 1, &o);
    CHECK(o.status == LTN_DONE && o.calls == 101 && o.gradients == 100);
    NEAR(text_mean(&g.base), 0.7, 0.05);
    for (int j = 0; j < TOKENS; j++) CHECK(g.text[j * WIDTH + 1] == -0.5f);
    solve_with(ctx, &g, -0.5f, "identity", "p2l:steps=1,inner=1,rate=0.05", y, 0.1, 1, &o);
    NEAR(text_mean(&g.base), -0.45, 1e-4); /* Adam's first step is its rate long */
    solve_with(ctx, &g, -0.5f, "identity", "p2l:steps=4,inner=3", y, 0.1, 1, &o);
    CHECK(o.calls == 4 * 4 && o.gradients == 4 * 3 + 3);
    solve_with(ctx, &g, -0.5f, "identity", "p2l:steps=4,inner=0", y, 0.1, 1, &o);
    CHECK(o.calls == 4 && text_mean(&g.base) == -0.5);
    ltn_close(&ctx);
}

/* ---- TReg ---- */

/* Guidance between two texts predicts as the text of mean n + w (c - n); Adam moves n, one number. Of z0, the
 * share `keep` stays in next z0y + (1 - next) z0. */
static normal follow_treg(const gaussian *g, int steps, int every, double w, double rate, double zeta,
                          double c, double y, double sigma)
{
    normal z = {0, 1}, x = {0, 0};
    float n = 0, m = 0, v = 0;
    int adam = 0;
    for (int k = 0; k < steps; k++) {
        const int t = ltn__grid_time(&g->base, steps, 1, k);
        const double ab = g->alpha_bar[t], next = ltn__grid_alpha_bar(&g->base, steps, 1, k + 1);
        const double s = shrink(ab), q = 1 - s * sqrt(ab);
        const double b = sqrt((1 - next) / (1 - ab)), mean = k % every && zeta > 0 ? c : n + w * (c - n);
        const normal u = affine(z, s, q * mean, 0);
        const double gamma = gamma_for(g, t, sigma, 1, u, y);
        x = affine(u, 1 / (1 + gamma), gamma / (1 + gamma) * y, 0);
        if (k % every) {
            const double guide = zeta * fmax(1 - sigma / rms(u, y), 0); /* as in P2L */
            z = affine(z, sqrt(next) * s + b * q - guide,
                       (sqrt(next) - b * sqrt(ab)) * q * mean + guide * (y - q * mean) / s, 0);
            continue;
        }
        const double e = (1 - next) / sqrt(1 - ab), keep = next / (1 + gamma) + 1 - next;
        const float gradient = (float)(x.mean - s * z.mean - q * n);
        z = affine(z, sqrt(next) * keep * s + e * q,
                   (sqrt(next) * keep - e * sqrt(ab)) * q * mean + sqrt(next) * (1 - keep) * y,
                   next * (1 - next));
        if (rate > 0) ltn__adam_step((ltn_adam){rate, 0.9, 0.999}, ++adam, 1, &gradient, &m, &v, &n);
    }
    return x;
}

TEST(treg_follows_the_closed_form_recursion)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static outcome o, again, other;
    static const struct {
        const char *solver;
        int steps, every, calls, gradients;
        double guidance, negation, zeta;
    } row[] = {{"treg:steps=10,every=3,guidance=2,negation=0,zeta=0", 10, 3, 20, 0, 2, 0, 0},
               {"treg:steps=10,every=3,guidance=2,negation=0.05,zeta=0", 10, 3, 20, 3, 2, 0.05, 0},
               {"treg:steps=9,every=2,guidance=-0.5,negation=0.1,zeta=0", 9, 2, 18, 4, -0.5, 0.1, 0},
               {"treg:steps=9,every=2,guidance=3,negation=0.1,zeta=0.6", 9, 2, 14, 8, 3, 0.1, 0.6},
               {"treg:steps=8,every=1,guidance=1", 8, 1, 8, 0, 1, 0, 0}};
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    for (int i = 0; i < LTN_COUNT(row); i++) {
        solve_with(ctx, &g, 0.4f, "identity", row[i].solver, y, 0.3, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == row[i].calls && o.gradients == row[i].gradients);
        is_near(row[i].solver, o.x,
                follow_treg(&g, row[i].steps, row[i].every, row[i].guidance, row[i].negation, row[i].zeta,
                            0.4, 0.7, 0.3));
        for (int j = 0; j < TOKENS * WIDTH; j++) CHECK(g.text[j] == 0.4f && g.empty[j] == 0);
    }
    solve(ctx, "downsample:factor=2", "treg:steps=5", y, 0.3, 1, &o);
    solve(ctx, "downsample:factor=2", "treg:steps=5", y, 0.3, 1, &again);
    solve(ctx, "downsample:factor=2", "treg:steps=5", y, 0.3, 2, &other);
    CHECK(!memcmp(o.x, again.x, sizeof o.x));
    CHECK(memcmp(o.x, other.x, sizeof o.x));
    ltn_close(&ctx);
}
