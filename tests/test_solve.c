/* test_solve.c - solvers on a Gaussian prior, whose denoiser is known in closed form: mean, spread, number of calls. */
#include "test.h"

#include "gaussian.h"

/* Denoising one constant: x_k = (gamma y + w z) / (1 + gamma), z = sqrt(ab) x_{k-1} + sqrt(1 - ab) eps is an affine
 * recursion. */
TEST(latino_bayes_follows_the_closed_form_recursion)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    const double y0 = 0.7, sigma = 0.3;
    static float y[N];
    for (int i = 0; i < N; i++) y[i] = (float)y0;
    double mean = y0, variance = 0;
    for (int k = 0; k < 8; k++) {
        int t = 999 - 125 * k;
        double ab = g.alpha_bar[t], gamma = gaussian_error(&g.base, t) / (sigma * sigma), w = shrink(ab) / (1 + gamma);
        mean = gamma / (1 + gamma) * y0 + w * sqrt(ab) * mean;
        variance = w * w * (ab * variance + 1 - ab);
    }
    static outcome o;
    double m, v;
    solve(ctx, "identity", "latino:rule=bayes", y, sigma, 1, &o);
    CHECK(o.status == LTN_DONE && o.calls == 8 && o.progress.step == 8 && o.progress.t == 124);
    moments(o.x, &m, &v);
    NEAR(m, mean, 4 * sqrt(variance / N));
    NEAR(v / variance, 1, 4 * sqrt(2.0 / N));
    static outcome again, other;
    solve(ctx, "identity", "latino:rule=bayes", y, sigma, 1, &again);
    solve(ctx, "identity", "latino:rule=bayes", y, sigma, 2, &other);
    CHECK(!memcmp(o.x, again.x, sizeof o.x));
    CHECK(memcmp(o.x, other.x, sizeof o.x));
    ltn_close(&ctx);
}

TEST(latino_discrepancy_leaves_the_noise_unexplained)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    for (int i = 0; i < N; i++) y[i] *= 0.6f;
    static outcome o;
    const char *const task[] = {"identity", "blur:sigma=1", "inpaint:random=0.5"};
    for (int i = 0; i < LTN_COUNT(task); i++) {
        test_name("%s", task[i]);
        solve(ctx, task[i], "latino:rule=discrepancy,steps=4", y, 0.2, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == 4);
        NEAR(o.progress.residual, 1, 2e-3);
    }
    ltn_close(&ctx);
}

/* Solvers that end in pixels. */
TEST(without_noise_known_pixels_come_out_to_the_bit)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5", W, H, 3, &d));
    static float x[N], y[N], back[N];
    ltn__normals((ltn_rng){4, 9}, 0, x, N);
    ltn__forward(d, x, y);
    static outcome o;
    const char *const solver[] = {"latino", "latino:rule=discrepancy", "latino:rule=bayes", "p2l:steps=4",
                                  "treg:steps=4"};
    for (int i = 0; i < LTN_COUNT(solver); i++) {
        test_name("%s", solver[i]);
        solve(ctx, "inpaint:random=0.5", solver[i], y, 0, 1, &o);
        ltn__forward(d, o.x, back);
        CHECK(o.status == LTN_DONE && !memcmp(back, y, sizeof y));
    }
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

TEST(latino_released_table)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    static float y[N];
    static outcome o;
    solve(ctx, "inpaint:random=0.5", "latino:rule=released", y, 0.1, 1, &o);
    NEAR(o.progress.gamma, 0.5 * (1 - g.alpha_bar[124]) / 0.01, 1e-6); /* the row for inpainting: .5 below t = 500 */
    solve(ctx, "identity", "latino:rule=released,times=300", y, 0.1, 1, &o);
    NEAR(o.progress.gamma, 0.01 * (1 - g.alpha_bar[300]) / 0.01, 1e-6);
    solve(ctx, "downsample:factor=4", "latino:rule=released", y, 0.1, 1, &o);
    CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "no row for \"downsample:factor=4\""));
    ltn_close(&ctx);
}

/* Denoising a draw of the prior: the posterior mean errs by S2 sigma^2 / (S2 + sigma^2), and the rule comes near it. */
TEST(latino_matched_reaches_the_posterior_mean)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float x[N], y[N];
    static outcome o;
    for (double sigma = 0.1; sigma < 1; sigma *= 2) {
        test_name("sigma %g", sigma);
        ltn__normals((ltn_rng){5, 9}, 0, x, N);
        ltn__normals((ltn_rng){6, 9}, 0, y, N);
        for (int i = 0; i < N; i++) y[i] = (x[i] *= (float)sqrt(S2)) + (float)sigma * y[i];
        solve(ctx, "identity", "latino", y, sigma, 1, &o);
        CHECK(o.status == LTN_DONE && o.calls == 8);
        double error = 0, best = S2 * sigma * sigma / (S2 + sigma * sigma);
        for (int i = 0; i < N; i++) error += ((double)o.x[i] - x[i]) * ((double)o.x[i] - x[i]) / N;
        CHECK(error > 0.9 * best && error < 1.25 * best);
    }
    ltn_close(&ctx);
}

TEST(latino_refuses_bad_times)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    static outcome o;
    const char *const bad[] = {"latino:rule=bayes,times=1000", "latino:rule=bayes,times=500/500",
                               "latino:rule=bayes,times=x", "latino:rule=bayes,times=9/",
                               "latino:rule=bayes,times=99/100"};
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        test_name("%s", bad[i]);
        solve(ctx, "identity", bad[i], y, 0.1, 1, &o);
        CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "falling time steps"));
    }
    ltn_close(&ctx);
}

/* Opens and closes with the k-th allocation of open failing; whether there was one. */
static bool fails_cleanly(const char *solver, long k)
{
    static gaussian g;
    static float y[N];
    test_memory m = {0};
    const ltn_options options = test_options(&m);
    ltn_ctx *ctx;
    ltn_degradation *d;
    ltn_spec spec;
    void *state = NULL;
    int steps;
    OK(NULL, ltn_open(&ctx, &options));
    OK(ctx, ltn_degradation_open(ctx, "identity", W, H, 3, &d));
    ltn_arena arena = {.ctx = ctx};
    OK(ctx, ltn__spec_parse(ctx, "solver", ltn__solver_entry, solver, &arena, &spec));
    const ltn_solver_row *row = ltn__solver_row(spec.row);
    const ltn_problem q = {.ctx = ctx, .a = d, .y = y, .sigma = 0.1, .rng = {1, LTN_STREAM_SOLVER}};
    make_gaussian(&g);
    m.fail_at = m.calls + k;
    const ltn_status s = row->open(&q, &g.base, &spec, &state, &steps);
    const bool reached = m.calls >= m.fail_at;
    CHECK(s == (reached ? LTN_ENOMEM : LTN_OK));
    if (state) row->close(ctx, state);
    ltn__arena_free(&arena);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
    CHECK(m.alive == 0);
    return reached;
}

TEST(every_solver_without_memory)
{
    for (int i = 0; ltn__solver_row(i); i++) {
        test_name("%s", ltn__solver_row(i)->entry.name);
        long k = 1;
        while (fails_cleanly(ltn__solver_row(i)->entry.name, k)) k++;
        CHECK(k > 1);
    }
}
