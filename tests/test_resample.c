/* test_resample.c - ReSample and RED-diff on a Gaussian prior, where what they do to mean and spread is
 * known in closed form, and on the small prior against independent PyTorch scripts that draw the same
 * random numbers (tools/golden/resample.py). */
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

/* ---- Both ---- */

static ltn_status open_with(ltn_ctx *ctx, const char *solver, long fail, test_memory *memory, bool *reached)
{
    static gaussian g;
    static float y[N];
    make_gaussian(&g);
    ltn_degradation *d = NULL;
    ltn_arena arena = {.ctx = ctx};
    ltn_spec spec;
    void *state = NULL;
    int steps;
    OK(ctx, ltn_degradation_open(ctx, "identity", W, H, 3, &d));
    OK(ctx, ltn__spec_parse(ctx, "solver", ltn__solver_entry, solver, &arena, &spec));
    const ltn_problem q = {.ctx = ctx, .a = d, .y = y, .sigma = 0.1};
    memory->fail_at = memory->calls + fail;
    const ltn_status s = ltn__solver_row(spec.row)->open(&q, &g.base, &spec, &state, &steps);
    *reached = memory->calls >= memory->fail_at;
    if (state) ltn__solver_row(spec.row)->close(ctx, state);
    ltn__arena_free(&arena);
    ltn_degradation_close(&d);
    return s;
}

TEST(failed_allocations_leave_nothing)
{
    static const char *const solver[] = {"resample", "red-diff"};
    for (int i = 0; i < LTN_COUNT(solver); i++) {
        test_name("%s", solver[i]);
        bool reached = true;
        for (long k = 1; reached; k++) {
            test_memory memory = {0};
            const ltn_options options = test_options(&memory);
            ltn_ctx *ctx = NULL;
            OK(NULL, ltn_open(&ctx, &options));
            const ltn_status s = open_with(ctx, solver[i], k, &memory, &reached);
            CHECK(s == (reached ? LTN_ENOMEM : LTN_OK));
            ltn_close(&ctx);
            CHECK(memory.alive == 0);
        }
    }
}

enum { SIDE = 128, PICTURE = 3 * SIDE * SIDE, LATENT = 8192, DRAWS = 6 };
static const struct {
    const char *name, *degradation;
    double sigma;
    const char *solver, *prompt;
} cases[] = {
    {"resample_sr", "downsample:factor=4,boundary=circular,order=correlation", 0.05,
     "resample:steps=6,interval=1,pixel=0.34,latent=0.67,inner=3", ""},
    {"resample_inpaint", "inpaint:random=0.5,seed=7", 0.05,
     "resample:steps=6,interval=2,pixel=0.17,latent=1,tau=0.9,gamma=1", "a photo of a cat"},
    {"red_diff_blur", "blur:sigma=3,boundary=circular", 0, "red-diff:steps=6,lambda=30,rate=0.05",
     "a photo of a cat"},
    {"red_diff_denoise", "identity", 0.1, "red-diff:steps=6,lambda=20,power=0.5,rate=0.1", ""},
};

static void restore(ltn_ctx *ctx, const ltn_task *t, ltn_image *x)
{
    ltn_run *run = NULL;
    OK(ctx, ltn_run_open(ctx, t, &run));
    while (!ltn_run_step(run)) continue;
    CHECK(ltn_run_step(run) == LTN_DONE);
    OK(ctx, ltn_run_estimate(run, x));
    for (int k = 0; k < PICTURE; k++) x->data[k] = fminf(fmaxf(x->data[k], 0), 1);
    ltn_run_close(&run);
}

/* The script's draws: draw k is stream 100 + k of seed 77, in the order (c, h, w). */
TEST(both_equal_the_pytorch_scripts)
{
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    ltn_model *m = NULL;
    OK(ctx, ltn_model_open(ctx, LTN_SOURCE_ROOT "/models/prior", &m));
    static float draws[DRAWS * LATENT];
    for (int k = 0; k < DRAWS; k++)
        ltn__normals((ltn_rng){77, 100 + (uint64_t)k}, 0, draws + k * LATENT, LATENT);
    const ltn_array noise = {4, {DRAWS, 32, 16, 16}, draws};
    ltn_image truth = {0};
    OK(ctx, ltn_image_read(ctx, test_golden("cat128.png"), &truth));
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        test_name("%s", cases[i].name);
        ltn_degradation *d = NULL;
        ltn_image y = {0}, x = {0}, golden = {0};
        char spec[64], file[64];
        snprintf(spec, sizeof spec, "gaussian:sigma=%g", cases[i].sigma);
        snprintf(file, sizeof file, "%s.png", cases[i].name);
        OK(ctx, ltn_image_read(ctx, test_golden(file), &golden));
        OK(ctx, ltn_degradation_open(ctx, cases[i].degradation, SIDE, SIDE, 3, &d));
        OK(ctx, ltn_degrade(d, &truth, spec, 5, &y));
        restore(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y, .sigma = cases[i].sigma,
                                 .solver = cases[i].solver, .prompt = cases[i].prompt, .noise = &noise}, &x);
        double worst = 0, ours = 0, theirs = 0;
        for (int k = 0; k < PICTURE; k++) worst = fmax(worst, fabs(x.data[k] - golden.data[k]));
        OK(ctx, ltn_measure(ctx, "psnr", &x, &truth, &ours));
        OK(ctx, ltn_measure(ctx, "psnr", &golden, &truth, &theirs));
        NEAR(worst, 0, 2.0 / 255);
        NEAR(ours, theirs, 0.05);
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_image_free(ctx, &golden);
        ltn_degradation_close(&d);
    }
    ltn_image_free(ctx, &truth);
    ltn_model_close(&m);
    ltn_close(&ctx);
}
