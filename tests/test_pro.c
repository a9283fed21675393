/* test_pro.c - LATINO-PRO: the text of greatest likelihood on a Gaussian prior, where it is known. */
#include "test.h"

#include "gaussian.h"

/* y = x + n, x ~ N(m, S2): p(y | c) is greatest where the text's mean is that of y. */
static double text_found(ltn_ctx *ctx, const char *solver, double mean, outcome *o)
{
    static gaussian g;
    static float y[N];
    ltn__normals((ltn_rng){5, 9}, 0, y, N);
    for (int i = 0; i < N; i++) y[i] = (float)(mean + sqrt(S2 + 0.01) * y[i]);
    solve_with(ctx, &g, 0, "identity", solver, y, 0.1, 1, o);
    return text_mean(&g.base);
}

TEST(pro_finds_the_text_of_greatest_likelihood)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    const char *const solver[] = {"rule=matched", "rule=bayes", "rule=discrepancy", "rule=bayes,score=sampled"};
    for (int i = 0; i < LTN_COUNT(solver); i++)
        for (double mean = -0.4; mean < 1; mean += 0.8) {
            char spec[128];
            test_name("%s, mean %g", solver[i], mean);
            snprintf(spec, sizeof spec, "latino-pro:%s,frozen=0,rounds=30,momentum=0,step=0.03,unit=one", solver[i]);
            NEAR(text_found(ctx, spec, mean, &o), mean, 0.02);
            CHECK(o.status == LTN_DONE && o.calls == 30 * 4 + 8 && o.gradients == 30 * 3);
        }
    ltn_close(&ctx);
}

TEST(pro_counts_as_the_paper_does)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    const double found = text_found(ctx, "latino-pro:frozen=0", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 45 && o.progress.step == 68 && o.progress.steps == 68);
    CHECK(found > 0.1);
    text_found(ctx, "latino-pro:rule=bayes,rounds=2,times=900/700/20,steps=3,last=bayes", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 9 && o.gradients == 4 && o.progress.t == 333);
    text_found(ctx, "latino-pro:rounds=3,estimator=samples,samples=5", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 45);
    text_found(ctx, "latino-pro:rounds=3,estimator=samples,samples=5,rule=discrepancy", 0.5, &o);
    CHECK(o.status == LTN_DONE && o.calls == 68 && o.gradients == 60);
    text_found(ctx, "latino-pro:rule=bayes,times=900", 0.5, &o);
    CHECK(o.status == LTN_EINVAL && strstr(ltn_error(ctx), "falling time steps"));
    ltn_close(&ctx);
}

TEST(pro_with_no_rounds_is_latino)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome pro, plain;
    text_found(ctx, "latino-pro:rounds=0,last=bayes", 0.5, &pro);
    text_found(ctx, "latino:rule=bayes", 0.5, &plain);
    CHECK(pro.status == LTN_DONE && !memcmp(pro.x, plain.x, sizeof pro.x));
    ltn_close(&ctx);
}

/* Adam on the misfit of samples goes to the text that explains y, too. */
TEST(pro_by_samples_goes_the_same_way)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static outcome o;
    for (double mean = -0.4; mean < 1; mean += 0.8) {
        NEAR(text_found(ctx, "latino-pro:estimator=samples,frozen=0,rounds=60,step=0.03,unit=one", mean, &o), mean, 0.1);
        NEAR(text_found(ctx, "latino-pro:estimator=samples,rule=bayes,frozen=0,rounds=60,step=0.03,unit=one", mean, &o), mean, 0.1);
    }
    ltn_close(&ctx);
}

TEST(pro_leaves_what_it_must)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static outcome o;
    for (int i = 0; i < N; i++) y[i] = 0.9f;
    solve_with(ctx, &g, 0.2f, "identity", "latino-pro:frozen=3,radius=0.5,rounds=6", y, 0.1, 1, &o);
    for (int i = 0; i < TOKENS * WIDTH; i++) {
        const float moved = g.text[i] - 0.2f;
        if (i < 3 * WIDTH || i % WIDTH) CHECK(moved == 0);
        else NEAR(moved, 0.5 * sqrt(2) * 0.2, 1e-6); /* on the ball: radius 1/2 of a token's length */
    }
    ltn_close(&ctx);
}
