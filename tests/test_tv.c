/* test_tv.c - total variation restoration against scikit-image and against Condat's and Vu's method, which
 * needs no prox (tools/golden/degrade.py). */
#include "degrade/degrade.h"
#include "file/file.h"
#include "test.h"

static ltn_tensors *golden(ltn_ctx *ctx)
{
    ltn_tensors *t = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden("degrade.safetensors"), &t));
    return t;
}

/* A picture whose values the tensors own. */
static ltn_image tensor(ltn_ctx *ctx, ltn_tensors *t, const char *name)
{
    ltn_weight *w = ltn__tensors_find(t, name);
    test_name("%s", name);
    CHECK(w != NULL);
    if (!w) return (ltn_image){0};
    const int channels = w->rank == 2 ? 1 : (int)w->dim[0];
    const real *v = ltn__weight_real(ctx, w);
    return (ltn_image){(int)w->dim[w->rank - 1], (int)w->dim[w->rank - 2], channels, (float *)(uintptr_t)v,
                       NULL};
}

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) d += pow((double)a[i] - b[i], 2), s += (double)b[i] * b[i];
    return sqrt(d / s);
}

static double variation(const float *x, ltn_size s)
{
    const int n = s.width * s.height;
    double sum = 0;
    for (int p = 0; p < n; p++) {
        double square = 0;
        for (int c = 0; c < s.channels; c++) {
            const float *v = x + c * n + p;
            if (p % s.width + 1 < s.width) square += pow(v[1] - v[0], 2);
            if (p + s.width < n) square += pow(v[s.width] - v[0], 2);
        }
        sum += sqrt(square);
    }
    return sum;
}

/* 1/2 |A x - y|^2 + weight TV(x) */
static double objective(const ltn_degradation *d, const float *x, const float *y, double weight)
{
    const size_t m = ltn__size_count(d->y);
    float *ax = malloc(m * sizeof *ax);
    double sum = 0;
    ltn__forward(d, x, ax);
    for (size_t i = 0; i < m; i++) sum += pow((double)ax[i] - y[i], 2) / 2;
    free(ax);
    return sum + weight * variation(x, d->x);
}

/* Either method against scikit-image on grey, and against Condat's and Vu's method on colour. */
TEST(total_variation)
{
    static const struct {
        const char *spec, *y, *x;
        double weight;
    } cases[] = {
        {"identity", "tv_noisy", "tv_grey", 0.08}, /* its first plane */
        {"identity", "tv_identity_y", "tv_identity", 0.08},
        {"inpaint:box=10:8:10:6", "tv_inpaint_y", "tv_inpaint", 0.02},
        {"blur:sigma=1,boundary=circular", "tv_blur_y", "tv_blur", 0.002},
        {"downsample:factor=2,filter=box", "tv_downsample_y", "tv_downsample", 0.01},
    };
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, NULL)) abort();
    ltn_tensors *t = golden(ctx);
    for (int j = 0; j < 2 * LTN_COUNT(cases); j++) {
        const int i = j / 2;
        const ltn_image want = tensor(ctx, t, cases[i].x);
        ltn_image y = tensor(ctx, t, cases[i].y), x = {0};
        y.channels = want.channels;
        ltn_degradation *d = NULL;
        ltn_run *run = NULL;
        char solver[64];
        snprintf(solver, sizeof solver, "tv:weight=%g,method=%s,iterations=1000", cases[i].weight,
                 j % 2 ? "admm" : "primal-dual");
        test_name("%s %s", cases[i].x, solver);
        OK(ctx, ltn_degradation_open_for(ctx, cases[i].spec, &y, &d));
        OK(ctx,
           ltn_run_open(ctx, &(ltn_task){.degradation = d, .y = &y, .sigma = 0.1, .solver = solver}, &run));
        if (!run) break;
        while (ltn_run_step(run) == LTN_OK) {}
        CHECK(ltn_run_progress(run).step == 1000);
        CHECK(isfinite(ltn_run_progress(run).residual) && ltn_run_progress(run).residual > 0);
        OK(ctx, ltn_run_estimate(run, &x));
        const double least = objective(d, want.data, y.data, cases[i].weight);
        NEAR(objective(d, x.data, y.data, cases[i].weight) / least, 1, 5e-5);
        if (i < 2) NEAR(test_error(x.data, want.data, ltn__size_count(d->x)), 0, 1e-3);
        ltn_image_free(ctx, &x);
        ltn_run_close(&run);
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* Its own weight helps, and no memory is lost when there is none. */
TEST(total_variation_by_default)
{
    for (long k = 0;; k++) {
        test_memory m = {0};
        const ltn_options o = test_options(&m);
        ltn_ctx *ctx = NULL;
        if (ltn_open(&ctx, &o)) abort();
        ltn_tensors *t = golden(ctx);
        const ltn_image y = tensor(ctx, t, "tv_noisy"), clean = tensor(ctx, t, "tv_clean");
        ltn_degradation *d = NULL;
        ltn_run *run = NULL;
        ltn_image x = {0};
        OK(ctx, ltn_degradation_open_for(ctx, "identity", &y, &d));
        if (k) m.fail_at = m.calls + k;
        const ltn_status s =
            ltn_run_open(ctx, &(ltn_task){.degradation = d, .y = &y, .sigma = 0.1, .solver = "tv"}, &run);
        const bool reached = k && m.calls >= m.fail_at;
        if (reached) CHECK(s == LTN_ENOMEM && !run);
        if (!k) {
            while (ltn_run_step(run) == LTN_OK) {}
            OK(ctx, ltn_run_estimate(run, &x));
            NEAR(distance(x.data, clean.data, 3 * 32 * 32) / distance(y.data, clean.data, 3 * 32 * 32), 0,
                 0.7);
            ltn_image_free(ctx, &x);
        }
        ltn_run_close(&run);
        ltn_degradation_close(&d);
        ltn__tensors_close(&t);
        ltn_close(&ctx);
        CHECK(m.alive == 0);
        if (k && !reached) break;
    }
}
