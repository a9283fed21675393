/* test_resample.c - ReSample and RED-diff on a Gaussian prior, where what they do to mean and spread is
 * known in closed form. */
#include "solve/diffusion.h"

#include "test.h"

#include "gaussian.h"

/* ---- ReSample ---- */
enum { STEPS = 4, FROM = 2, EVERY = 3 };
#define PIXELS "resample:steps=4,pixel=0.5,latent=1,interval=3,gamma=0.5"

typedef struct normal {
    double mean, variance;
} normal;

/* One pixel of value y, known up to sigma, or in a hole (sigma = INFINITY): every step maps z ~ N to z ~ N.
 * The pixel stage pulls u = z0 to y by the factor that leaves a residual of sigma: x = y + s (u - y). */
static normal follow(const gaussian *g, double y, double sigma)
{
    normal z = {0, 1}, x = {0, 0};
    for (int k = 0; k < STEPS; k++) {
        const double ab = g->alpha_bar[999 - 250 * k];
        const double next = k + 1 < STEPS ? g->alpha_bar[999 - 250 * (k + 1)] : 1;
        const double c = shrink(ab), b = sqrt((1 - next) / (1 - ab));
        const double ddim = sqrt(next) * c + b * (1 - sqrt(ab) * c);
        const double residual = sqrt((c * z.mean - y) * (c * z.mean - y) + c * c * z.variance);
        const double s = fmin(1, sigma / residual);
        x = (normal){y + s * (c * z.mean - y), s * s * c * c * z.variance};
        if (k < FROM || (k - FROM) % EVERY) {
            z = (normal){ddim * z.mean, ddim * ddim * z.variance};
        } else if (next < 1) {
            const double s2 = 0.5 * (1 - next) / ab * (1 - ab / next), w = s2 / (s2 + 1 - next);
            const double slope = w * sqrt(next) * s * c + (1 - w) * ddim;
            z.mean = slope * z.mean + w * sqrt(next) * (1 - s) * y;
            z.variance = slope * slope * z.variance + s2 * (1 - next) / (s2 + 1 - next);
        }
    }
    return x;
}

TEST(resample_follows_the_closed_form_recursion)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    static float y[N];
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    const normal want = follow(&g, 0.7, 0.3);
    static outcome o, again, other;
    double mean, variance;
    solve(ctx, "identity", PIXELS, y, 0.3, 1, &o);
    CHECK(o.status == LTN_DONE && o.calls == STEPS && o.gradients == 0);
    CHECK(o.progress.step == STEPS && o.progress.t == 249);
    NEAR(o.progress.residual, 1, 1e-3);
    moments(o.x, &mean, &variance);
    NEAR(mean, want.mean, 4 * sqrt(want.variance / N) + 2e-3);
    NEAR(variance / want.variance, 1, 0.1);
    solve(ctx, "identity", PIXELS, y, 0.3, 1, &again);
    solve(ctx, "identity", PIXELS, y, 0.3, 2, &other);
    CHECK(!memcmp(o.x, again.x, sizeof o.x));
    CHECK(memcmp(o.x, other.x, sizeof o.x));
    ltn_close(&ctx);
}

/* Known pixels come out as they are, those in holes as draws whose spread the recursion knows: pixels to
 * the bit, latents to the tolerance. */
TEST(resample_without_noise_keeps_the_data)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    make_gaussian(&g);
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5", W, H, 3, &d));
    static float x[N], y[N], one[N], back[N];
    for (int i = 0; i < N; i++) one[i] = 1;
    ltn__normals((ltn_rng){4, 9}, 0, x, N);
    ltn__forward(d, x, y);
    ltn__forward(d, one, one);
    static outcome o;
    const normal want = follow(&g, 0, INFINITY);
    static const struct {
        const char *solver;
        double tolerance;
    } row[] = {{PIXELS, 0}, {"resample:steps=4,pixel=0.5,latent=0.5,interval=3,gamma=0.5,inner=300", 1.001e-3}};
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s", row[i].solver);
        solve(ctx, "inpaint:random=0.5", row[i].solver, y, 0, 1, &o);
        ltn__forward(d, o.x, back);
        double worst = 0, square = 0, holes = 0;
        for (int k = 0; k < N; k++) {
            worst += one[k] > 0 ? (back[k] - y[k]) * (back[k] - y[k]) : 0;
            square += one[k] > 0 ? 0 : o.x[k] * o.x[k], holes += one[k] == 0;
        }
        CHECK(o.status == LTN_DONE && sqrt(worst / (N - holes)) <= row[i].tolerance);
        NEAR(square / holes / want.variance, 1, 3 * sqrt(2 / holes));
    }
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* Where latents are sought, the descent stops at tau sigma, or when its steps are spent. */
TEST(resample_stops_at_the_noise)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    static outcome o;
    static const struct {
        const char *solver;
        double residual, within;
    } row[] = {{"resample:steps=5,latent=0,pixel=0,inner=1000", 1, 0.02},
               {"resample:steps=5,latent=0,pixel=0,inner=1000,tau=0.5", 0.5, 0.02},
               {"resample:steps=5,latent=1,tau=1.5", 1.5, 1e-3},
               {"resample:steps=1,latent=0,inner=0", 5, 0.2}}; /* nothing was done: |0 - y| */
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("%s", row[i].solver);
        solve(ctx, "identity", row[i].solver, y, 0.2, 1, &o);
        CHECK(o.status == LTN_DONE);
        NEAR(o.progress.residual, row[i].residual, row[i].within);
    }
    ltn_close(&ctx);
}

/* ---- RED-diff ---- */

/* With one alpha_bar for all t the descent has one goal: (mu - y) / sigma^2 + w E eps_hat = 0, where
 * eps_hat = z sqrt(1 - ab) / (ab S2 + 1 - ab), z = sqrt(ab) mu + sqrt(1 - ab) eps,
 * w = lambda ((1 - ab) / ab)^(power / 2). */
TEST(red_diff_finds_the_fixed_point)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static gaussian g;
    static float y[N];
    static const struct {
        double ab, sigma, lambda, power;
    } row[] = {{0.5, 0.3, 5, 1}, {0.8, 0.3, 5, 1}, {0.8, 0.3, 5, 0}, {0.3, 0.5, 3, 2}, {0.5, 0, 5, 1}};
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, "identity", W, H, 3, &d));
    for (int i = 0; i < N; i++) y[i] = 0.7f;
    for (int i = 0; i < LTN_COUNT(row); i++) {
        test_name("ab %g, sigma %g, lambda %g, power %g", row[i].ab, row[i].sigma, row[i].lambda,
                  row[i].power);
        make_gaussian(&g);
        for (int t = 0; t < TRAIN; t++) g.alpha_bar[t] = row[i].ab;
        const ltn_problem q = {.ctx = ctx, .a = d, .y = y, .sigma = row[i].sigma,
                               .rng = {1, LTN_STREAM_SOLVER}};
        ltn_arena arena = {.ctx = ctx};
        ltn_spec spec;
        char text[128];
        snprintf(text, sizeof text, "red-diff:steps=400,rate=0.01,lambda=%g,power=%g", row[i].lambda,
                 row[i].power);
        OK(ctx, ltn__spec_parse(ctx, "solver", ltn__solver_entry, text, &arena, &spec));
        const ltn_solver_row *solver = ltn__solver_row(spec.row);
        void *state = NULL;
        ltn_progress progress = {0};
        OK(ctx, solver->open(&q, &g.base, &spec, &state, &progress.steps));
        while (!solver->step(state, &progress)) continue;
        CHECK(progress.step == 400 && g.base.calls == 400 && g.base.gradients == 0);
        const double ab = row[i].ab, sigma = fmax(row[i].sigma, 0.01);
        const double w = row[i].lambda * pow((1 - ab) / ab, row[i].power / 2);
        const double weight = w * sqrt(ab * (1 - ab)) / (ab * S2 + 1 - ab);
        double mean, variance;
        moments(solver->estimate(state), &mean, &variance);
        NEAR(mean, 0.7 / (1 + sigma * sigma * weight), 0.005);
        CHECK(variance < 0.01);
        solver->close(ctx, state);
        ltn__arena_free(&arena);
    }
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

TEST(red_diff_is_a_function_of_its_seed)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    static float y[N];
    static outcome o, again, other;
    ltn__normals((ltn_rng){3, 9}, 0, y, N);
    solve(ctx, "downsample:factor=2", "red-diff:steps=7", y, 0.1, 1, &o);
    solve(ctx, "downsample:factor=2", "red-diff:steps=7", y, 0.1, 1, &again);
    solve(ctx, "downsample:factor=2", "red-diff:steps=7", y, 0.1, 2, &other);
    CHECK(o.status == LTN_DONE && o.calls == 7 && o.progress.t == 142);
    CHECK(!memcmp(o.x, again.x, sizeof o.x));
    CHECK(memcmp(o.x, other.x, sizeof o.x));
    ltn_close(&ctx);
}
