/* test_floors.c - solvers without a network: against dense linear algebra (tools/golden/floors.py), on a photo,
 * and on pictures drawn from the prior. */
#include "degrade/degrade.h"
#include "file/file.h"
#include "test.h"

static ltn_tensors *golden(ltn_ctx *ctx, const char *file)
{
    ltn_tensors *t = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden(file), &t));
    return t;
}

/* A picture whose values the tensors own. */
static ltn_image tensor(ltn_ctx *ctx, ltn_tensors *t, const char *name)
{
    ltn_weight *w = ltn__tensors_find(t, name);
    test_name("%s", name);
    CHECK(w != NULL);
    if (!w) return (ltn_image){0};
    return (ltn_image){(int)w->dim[2], (int)w->dim[1], (int)w->dim[0],
                       (float *)(uintptr_t)ltn__weight_real(ctx, w), NULL};
}

/* The estimate of a solver and what its progress says at the end. */
static ltn_progress solve(ltn_ctx *ctx, ltn_degradation *d, const ltn_image *y, double sigma,
                          const char *solver, ltn_image *x)
{
    ltn_run *run = NULL;
    ltn_status s;
    *x = (ltn_image){0};
    OK(ctx, ltn_run_open(ctx, &(ltn_task){.degradation = d, .y = y, .sigma = sigma, .solver = solver}, &run));
    if (!run) return (ltn_progress){0};
    while (!(s = ltn_run_step(run))) continue;
    CHECK(s == LTN_DONE);
    const ltn_progress p = ltn_run_progress(run);
    OK(ctx, ltn_run_estimate(run, x));
    ltn_run_close(&run);
    return p;
}

/* The posterior means are those of dense matrices, and soon: one step of conjugate gradients where A = 1. */
TEST(gaussian_floors)
{
    static const struct {
        const char *name, *spec;
        int most;
    } cases[] = {
        {"identity", "identity", 2},
        {"blur", "blur:sigma=1,boundary=circular", 30},
        {"inpaint", "inpaint:box=5:4:6:4", 30},
        {"downsample", "downsample:factor=2,filter=box", 30},
    };
    static const char *const solver[][2] = {{"tikhonov", "tikhonov:weight=40"},
                                            {"wiener", "wiener:exponent=1.7,power=.002"}};
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, NULL)) abort();
    ltn_tensors *t = golden(ctx, "floors.safetensors");
    for (int i = 0; i < LTN_COUNT(cases); i++)
        for (int j = 0; j < LTN_COUNT(solver); j++) {
            char name[64];
            snprintf(name, sizeof name, "%s_y", cases[i].name);
            const ltn_image y = tensor(ctx, t, name);
            snprintf(name, sizeof name, "%s_%s", cases[i].name, solver[j][0]);
            const ltn_image want = tensor(ctx, t, name);
            ltn_degradation *d = NULL;
            ltn_image x;
            OK(ctx, ltn_degradation_open_for(ctx, cases[i].spec, &y, &d));
            const ltn_progress p = solve(ctx, d, &y, 0.1, solver[j][1], &x);
            NEAR(test_error(x.data, want.data, ltn__size_count(d->x)), 0, 2e-4);
            CHECK(p.step >= 1 && p.step <= cases[i].most && p.residual > 0);
            ltn_image_free(ctx, &x);
            ltn_degradation_close(&d);
        }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

static double psnr(ltn_ctx *ctx, const ltn_image *a, const ltn_image *b)
{
    double v = 0;
    OK(ctx, ltn_measure(ctx, "psnr", a, b, &v));
    return v;
}

/* With nothing given but sigma, every floor is better than the naive inverse, which bicubic is. Without noise
 * what was measured stays as it is. */
TEST(floors_by_default)
{
    static const struct {
        const char *spec, *noise;
        double sigma, gain; /* of the least of them over naive, dB */
    } cases[] = {
        {"identity", "gaussian:sigma=0.1", 0.1, 4},
        {"downsample:factor=4", "gaussian:sigma=0.02", 0.02, 0.2},
        {"inpaint:random=0.5,seed=7", "gaussian:sigma=0.05", 0.05, 0.5},
        {"inpaint:random=0.5,seed=7", NULL, 0, 0.1},
        {"blur:sigma=2", "gaussian:sigma=0.01", 0.01, 1},
    };
    static const char *const solver[] = {"tikhonov", "wiener", "tv", "tv:method=admm"};
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, NULL)) abort();
    ltn_tensors *t = golden(ctx, "degrade.safetensors");
    const ltn_image photo = tensor(ctx, t, "photo");
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        ltn_degradation *d = NULL;
        ltn_image y = {0}, naive = {0}, x = {0};
        OK(ctx, ltn_degradation_open(ctx, cases[i].spec, photo.width, photo.height, photo.channels, &d));
        OK(ctx, ltn_degrade(d, &photo, cases[i].noise, 3, &y));
        OK(ctx, ltn_naive(d, &y, &naive));
        ltn_progress p = solve(ctx, d, &y, cases[i].sigma, "bicubic", &x);
        NEAR(test_error(x.data, naive.data, ltn__size_count(d->x)), 0, 1e-6);
        CHECK(p.step == 1 && p.steps == 1);
        ltn_image_free(ctx, &x);
        for (int j = 0; j < LTN_COUNT(solver); j++) {
            p = solve(ctx, d, &y, cases[i].sigma, solver[j], &x);
            test_name("%s %s", cases[i].spec, solver[j]);
            CHECK(psnr(ctx, &x, &photo) > psnr(ctx, &naive, &photo) + cases[i].gain);
            if (cases[i].sigma == 0 && j < 2) NEAR(p.residual, 0, 1e-6);
            ltn_image_free(ctx, &x);
        }
        ltn_image_free(ctx, &y);
        ltn_image_free(ctx, &naive);
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* wiener's power is that of a picture drawn from the law, whatever A hides of it and whatever sigma adds. */
TEST(wiener_finds_the_power)
{
    static const struct {
        const char *spec, *noise;
        double sigma;
    } cases[] = {{"identity", "gaussian:sigma=0.5", 0.5}, /* most of the band is noise */
                 {"downsample:factor=2", "gaussian:sigma=0.1", 0.1},
                 {"inpaint:random=0.5,seed=1", "gaussian:sigma=0.1", 0.1}};
    enum { N = 64 };
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, NULL)) abort();
    ltn_image x = {0};
    OK(ctx, ltn_image_new(ctx, N, N, 1, NULL, &x));
    for (int i = 1; i < N * N; i++) {
        const double k = i % N, l = i / N, f2 = (k * k + l * l) / (4.0 * N * N);
        const double c = ltn__normal((ltn_rng){9, 9}, (uint64_t)i) * sqrt(.001 / f2) * 2 / N;
        for (int p = 0; p < N * N; p++)
            x.data[p] += (float)(c * cos(M_PI * k * (p % N + .5) / N) * cos(M_PI * l * (p / N + .5) / N) *
                                 (k > 0 ? 1 : sqrt(.5)) * (l > 0 ? 1 : sqrt(.5)));
    }
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        ltn_degradation *d = NULL;
        ltn_image y = {0}, found, known;
        OK(ctx, ltn_degradation_open(ctx, cases[i].spec, N, N, 1, &d));
        OK(ctx, ltn_degrade(d, &x, cases[i].noise, 3, &y));
        solve(ctx, d, &y, cases[i].sigma, "wiener:exponent=2", &found);
        solve(ctx, d, &y, cases[i].sigma, "wiener:exponent=2,power=.001", &known);
        test_name("%s", cases[i].spec);
        NEAR(psnr(ctx, &found, &x), psnr(ctx, &known, &x), 0.05);
        NEAR(test_error(found.data, known.data, N * N), 0, 0.04);
        ltn_image_free(ctx, &y);
        ltn_image_free(ctx, &found);
        ltn_image_free(ctx, &known);
        ltn_degradation_close(&d);
    }
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

/* The k-th allocation fails, and no memory is lost. */
TEST(floors_without_memory)
{
    static const char *const solver[] = {"tikhonov", "wiener", "bicubic", "tv:method=admm"};
    for (int j = 0; j < LTN_COUNT(solver); j++)
        for (long k = 1;; k++) {
            test_memory m = {0};
            const ltn_options o = test_options(&m);
            ltn_ctx *ctx = NULL;
            if (ltn_open(&ctx, &o)) abort();
            float data[20 * 12] = {0};
            const ltn_image y = {20, 12, 1, data, NULL};
            ltn_degradation *d = NULL;
            ltn_run *run = NULL;
            OK(ctx, ltn_degradation_open_for(ctx, "identity", &y, &d));
            m.fail_at = m.calls + k;
            const ltn_task task = {.degradation = d, .y = &y, .sigma = 0.1, .solver = solver[j]};
            const ltn_status s = ltn_run_open(ctx, &task, &run);
            const bool reached = m.calls >= m.fail_at;
            test_name("%s, allocation %ld", solver[j], k);
            CHECK(reached ? s == LTN_ENOMEM && !run : s == LTN_OK);
            ltn_run_close(&run);
            ltn_degradation_close(&d);
            ltn_close(&ctx);
            CHECK(m.alive == 0);
            if (!reached) break;
        }
}
