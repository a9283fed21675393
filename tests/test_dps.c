/* test_dps.c - dps and psld on the Gaussian prior: the recursion that they follow there, what psld adds where it is
 * known, noise-free data, draws. */
#include "test.h"

#include "gaussian.h"

/* Denoising one constant y0: every pixel of z follows one affine recursion, for |x - y| of many pixels is as good as
 * its expectation. Mean and variance of the last x. */
static void recursion(const gaussian *g, int steps, double zeta, double pull, double eta, double y0, double sigma,
                      double *mean, double *variance)
{
    double m = 0, v = 1;
    for (int k = 0; k < steps; k++) {
        const double ab = g->alpha_bar[999 - 1000 * k / steps], a = shrink(ab);
        const double next = k + 1 < steps ? g->alpha_bar[999 - 1000 * (k + 1) / steps] : 1;
        const double norm = sqrt(N * (a * a * v + (a * m - y0) * (a * m - y0))),
                     goal = sqrt(N * (sigma * sigma + g->base.error(&g->base, 0)));
        const double length = zeta > 0 ? zeta : pull * fmax(norm - goal, 0) / (a * a);
        const double noise = eta * sqrt((1 - next) / (1 - ab) * (1 - ab / next)),
                     b = sqrt((1 - next - noise * noise) / (1 - ab));
        const double c = sqrt(next) * a + b * (1 - sqrt(ab) * a) - length * a * a / norm; /* of z */
        m = c * m + length * a * y0 / norm;
        v = c * c * v + noise * noise;
    }
    *mean = m;
    *variance = v;
}

TEST(dps_follows_the_closed_form_recursion)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    static float y[N];
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    static const struct {
        const char *spec;
        int steps;
        double zeta, pull, eta;
    } row[] = {{"dps", 100, 0, 0.8, 1},
               {"dps:zeta=2,steps=50", 50, 2, 0, 1},
               {"dps:zeta=4,steps=30,eta=0.5", 30, 4, 0, 0.5},
               {"dps:steps=40,pull=0.3", 40, 0, 0.3, 1},
               {"dps:zeta=0.3,steps=1000", 1000, 0.3, 0, 1}};
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s", row[i].spec);
        static outcome o;
        double mean, variance, m, v;
        recursion(&g, row[i].steps, row[i].zeta, row[i].pull, row[i].eta, 0.7, 0.3, &mean, &variance);
        solve(ctx, "identity", row[i].spec, y, 0.3, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == row[i].steps && o.gradients == row[i].steps);
        CHECK(o.progress.step == row[i].steps && o.progress.t == 1000 / row[i].steps - 1 + (row[i].steps == 30));
        moments(o.x, &m, &v);
        NEAR(m, mean, 6 * sqrt(variance / N));
        NEAR(v / variance, 1, 6 * sqrt(2.0 / N));
    }
    ltn_close(&ctx);
}

/* With more steps the rule comes near a draw of the posterior, whose variance is S2 sigma^2 / (S2 + sigma^2); a
 * constant step that is too long returns y without a spread. */
TEST(dps_spreads_nearly_as_the_posterior)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    const double sigma = 0.2, posterior = S2 * sigma * sigma / (S2 + sigma * sigma);
    static float y[N];
    static outcome o;
    double mean, v;
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    for (int i = 0; i < N; i++) y[i] *= (float)sqrt(S2 + sigma * sigma);
    static const struct {
        const char *spec;
        double low, high;
    } row[] = {{"dps:steps=1000", 1, 1.25}, {"dps", 1, 1.5}, {"dps:steps=1000,zeta=4", 0, 0.1}};
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s", row[i].spec);
        solve(ctx, "identity", row[i].spec, y, sigma, 1, &o);
        double with_y = 0, square = 0;
        for (int k = 0; k < N; k++) with_y += (double)o.x[k] * y[k], square += (double)y[k] * y[k];
        for (int k = 0; k < N; k++) o.x[k] -= (float)(with_y / square) * y[k];
        moments(o.x, &mean, &v);
        CHECK(v / posterior >= row[i].low && v / posterior < row[i].high);
    }
    ltn_close(&ctx);
}

/* Where the autoencoder is the identity, A a mask and y without noise, z0 - E(v) is A^T (A z0 - y): the second term is
 * the first again. With noise v goes only part of the way, w / (1 + w), and so does the gradient. */
TEST(psld_adds_its_weight_to_that_of_the_data)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    static const char *const row[][2] = {{"psld:zeta=2,gamma=0.25,steps=20", "dps:zeta=2.5,steps=20"},
                                         {"psld:pull=1.5,gamma=0.5,steps=20", "dps:pull=1,steps=20"},
                                         {"psld:gamma=0,steps=20", "dps:steps=20"}};
    static const char *const task[] = {"identity", "inpaint:random=0.5"};
    static outcome o, same;
    for (int i = 0; i < LTN_COUNT(row) * LTN_COUNT(task); i++) {
        const char *const *r = row[i / 2];
        test_name("%s, %s", task[i % 2], r[0]);
        solve(ctx, task[i % 2], r[0], y, 0, 1, &o);
        solve(ctx, task[i % 2], r[1], y, 0, 1, &same);
        CHECK(o.status == LTN_DONE && same.status == LTN_DONE && o.calls == 20 && o.gradients == 20);
        CHECK(test_error(o.x, same.x, N) < 1e-4);
    }
    static gaussian g;
    make_gaussian(&g);
    const double sigma = 0.03, w = g.base.error(&g.base, 0) / (sigma * sigma);
    char dps[64];
    snprintf(dps, sizeof dps, "dps:steps=20,zeta=%.9g", 2 * (1 + 0.25 * w / (1 + w)));
    solve(ctx, "identity", row[0][0], y, sigma, 1, &o);
    solve(ctx, "identity", dps, y, sigma, 1, &same);
    CHECK(w > 0.5 && test_error(o.x, same.x, N) < 1e-4);
    ltn_close(&ctx);
}

/* A draw of the prior, measured without noise or with: known pixels are met, the others are draws of the prior. */
TEST(dps_and_psld_explain_the_data)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float x[N], y[N], noise[N];
    static outcome o, again, other;
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5", W, H, 3, &d));
    ltn__normals((ltn_rng){4, 9}, 0, x, N);
    ltn__normals((ltn_rng){5, 9}, 0, noise, N);
    static const char *const solver[] = {"dps", "psld"};
    for (int i = 0; i < 2 * LTN_COUNT(solver); i++) {
        const double sigma = i < 2 ? 0 : 0.2;
        test_name("%s, sigma %g", solver[i % 2], sigma);
        for (int j = 0; j < N; j++) y[j] = (float)(sqrt(S2) * x[j] + sigma * noise[j]);
        ltn__forward(d, y, y);
        solve(ctx, "inpaint:random=0.5", solver[i % 2], y, sigma, 1, &o);
        CHECK(o.status == LTN_DONE);
        NEAR(o.progress.residual, sigma > 0, 0.15);
        double hole = 0, count = 0;
        for (int j = 0; j < N; j++)
            if (y[j] == 0) hole += (double)o.x[j] * o.x[j], count++;
        NEAR(hole / count, S2, 0.03);
        solve(ctx, "inpaint:random=0.5", solver[i % 2], y, sigma, 1, &again);
        solve(ctx, "inpaint:random=0.5", solver[i % 2], y, sigma, 2, &other);
        CHECK(!memcmp(o.x, again.x, sizeof o.x));
        CHECK(memcmp(o.x, other.x, sizeof o.x));
    }
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}
