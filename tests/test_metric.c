/* test_metric.c - metrics against torchmetrics and piq (tests/golden/metric.safetensors) and closed forms. */
#include "degrade/degrade.h"
#include "file/file.h"
#include "metric/metric.h"
#include "test.h"

/* Picture "a3" of the golden file. */
static ltn_image picture(ltn_ctx *ctx, ltn_tensors *t, char which, int k)
{
    char name[16];
    snprintf(name, sizeof name, "%c%d", which, k);
    ltn_weight *w = ltn__tensors_find(t, name);
    if (!w) return test_fail(__FILE__, __LINE__, "%s is missing", name), (ltn_image){0};
    return (ltn_image){.channels = (int)w->dim[0], .height = (int)w->dim[1], .width = (int)w->dim[2],
                       .data = (float *)ltn__weight_real(ctx, w)};
}

/* Tensor "3 ms_ssim:scales=4" is the value of pair 3. */
TEST(metric_golden)
{
    ltn_ctx *ctx;
    ltn_tensors *t = NULL;
    int cases = 0;
    ltn_open(&ctx, NULL);
    OK(ctx, ltn__tensors_open(ctx, test_golden("metric.safetensors"), &t));
    for (int i = 0; t && i < ltn__tensors_count(t); i++) {
        const ltn_weight *want = ltn__tensors_at(t, i);
        const char *spec = strchr(want->name, ' ');
        if (!spec) continue;
        test_name("%s", want->name);
        const ltn_image x = picture(ctx, t, 'a', atoi(want->name)), y = picture(ctx, t, 'b', atoi(want->name));
        double v = NAN, turned = NAN;
        OK(ctx, ltn_measure(ctx, spec + 1, &x, &y, &v));
        OK(ctx, ltn_measure(ctx, spec + 1, &y, &x, &turned));
        NEAR(v, *(const double *)want->data, strstr(spec, "psnr") ? 1e-5 : 1e-7); /* torchmetrics' log is in float */
        NEAR(v, turned, 1e-12);
        cases++;
    }
    CHECK(cases == 26);
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* Many pairs through one metric: the mean of their values; an error adds nothing. */
TEST(metric_of_many)
{
    ltn_ctx *ctx;
    ltn_metric *m = NULL;
    float p[12], q[12];
    for (int i = 0; i < 12; i++) p[i] = 0.25f, q[i] = 0.75f;
    const ltn_image a = {2, 2, 3, p, NULL}, b = {2, 2, 3, q, NULL}, small = {4, 1, 3, p, NULL},
                    other = {4, 1, 3, q, NULL};
    double v = 0, sum = 0;
    ltn_open(&ctx, NULL);
    OK(ctx, ltn_metric_open(ctx, "ssim", &m));
    CHECK(ltn_metric_finish(m, &v) == LTN_EINVAL && !strcmp(ltn_error(ctx), "ssim: no pictures to compare"));
    OK(ctx, ltn_metric_add(m, &a, &b, &v));
    sum += v;
    CHECK(ltn_metric_add(m, &a, &other, &v) == LTN_ESHAPE);
    OK(ctx, ltn_metric_add(m, &a, &a, NULL));
    OK(ctx, ltn_metric_add(m, &small, &other, &v));
    sum += v;
    OK(ctx, ltn_metric_finish(m, &v));
    NEAR(v, (sum + 1) / 3, 1e-12);
    ltn_metric_close(&m);
    CHECK(!m);
    ltn_metric_close(&m);
    ltn_close(&ctx);
}

/* 128 x 128 in RGB takes less than 20 ms, in the best of ten tries: machines are busy. */
TEST(metric_speed)
{
    static float data[2][3 * 128 * 128];
    static const char *const specs[] = {"ssim", "ms_ssim:scales=4", "gmsd", "haarpsi"};
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    for (int k = 0; k < 2; k++) ltn__normals((ltn_rng){3, (uint64_t)k}, 0, data[k], LTN_COUNT(data[k]));
    const ltn_image a = {128, 128, 3, data[0], NULL}, b = {128, 128, 3, data[1], NULL};
    for (int i = 0; i < LTN_COUNT(specs); i++) {
        double best = INFINITY, v;
        test_name("%s", specs[i]);
        for (int k = 0; k < 10 && best > 0.02; k++) {
            const double start = ltn__seconds();
            OK(ctx, ltn_measure(ctx, specs[i], &a, &b, &v));
            best = fmin(best, ltn__seconds() - start);
        }
#ifndef __SANITIZE_ADDRESS__
        CHECK(best < 0.02);
#endif
    }
    ltn_close(&ctx);
}

/* Equal pictures are best, whatever their size; alpha does not count. */
TEST(metric_equal_pictures)
{
    static float data[4 * 20 * 20], other[4 * 20 * 20];
    ltn__normals((ltn_rng){3, 4}, 0, data, LTN_COUNT(data));
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    for (int c = 1; c <= 5; c++)
        for (int w = 1; w <= 16; w += 3)
            for (int h = 1; h <= 16; h += 5) {
                const ltn_image a = {w, h, c, data, NULL}, b = {w, h, c, other, NULL};
                const int colours = c == 2 || c == 4 ? c - 1 : c, alpha = c - colours;
                test_name("%d x %d x %d", w, h, c);
                for (int i = 0; i < w * h * c; i++) other[i] = data[i] + (i >= w * h * colours);
                double psnr, ssim, gmsd;
                OK(ctx, ltn_measure(ctx, "psnr", &a, &b, &psnr));
                OK(ctx, ltn_measure(ctx, "ssim", &a, &b, &ssim));
                CHECK(psnr == INFINITY);
                if (colours < 4) OK(ctx, ltn_measure(ctx, "gmsd", &a, &b, &gmsd));
                if (colours < 4) NEAR(gmsd, 0, 1e-12);
                NEAR(ssim, 1, 1e-12);
                const ltn_image opaque = {w, h, colours, data, NULL};
                if (alpha) OK(ctx, ltn_measure(ctx, "psnr", &a, &opaque, &psnr));
            }
    ltn_close(&ctx);
}

/* Constant pictures: (2ab + c1) / (a^2 + b^2 + c1), and -20 log10 |a - b|. */
TEST(metric_constant_pictures)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    float p[12], q[12];
    for (int i = 0; i < 12; i++) p[i] = 0.25f, q[i] = 0.75f;
    for (int w = 1; w <= 4; w++) {
        const ltn_image a = {w, 3, 1, p, NULL}, b = {w, 3, 1, q, NULL};
        double v;
        OK(ctx, ltn_measure(ctx, "psnr", &a, &b, &v));
        NEAR(v, -20 * log10(0.5), 1e-9);
        OK(ctx, ltn_measure(ctx, "ssim", &a, &b, &v));
        NEAR(v, (2 * 0.25 * 0.75 + 1e-4) / (0.0625 + 0.5625 + 1e-4), 1e-9);
    }
    q[1] = NAN;
    double v;
    OK(ctx, ltn_measure(ctx, "psnr", &(ltn_image){2, 2, 1, p, NULL}, &(ltn_image){2, 2, 1, q, NULL}, &v));
    CHECK(isnan(v));
    ltn_close(&ctx);
}

TEST(metric_refusals)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    float p[12] = {0};
    double v;
    const ltn_image a = {2, 2, 3, p, NULL}, narrow = {1, 2, 3, p, NULL}, grey = {2, 2, 1, p, NULL};
    const ltn_image empty = {0};
    CHECK(ltn_measure(ctx, "pnsr", &a, &a, &v) == LTN_EINVAL);
    CHECK(!strcmp(ltn_error(ctx), "unknown metric \"pnsr\"; did you mean \"psnr\"?"));
    CHECK(ltn_measure(ctx, "psnr", &a, &narrow, &v) == LTN_ESHAPE &&
          strstr(ltn_error(ctx), "2 x 2 x 3 and 1 x 2 x 3"));
    CHECK(ltn_measure(ctx, "psnr", &a, &grey, &v) == LTN_ESHAPE);
    CHECK(ltn_measure(ctx, "psnr", &empty, &empty, &v) == LTN_ESHAPE);
    const ltn_image five = {1, 2, 5, p, NULL};
    CHECK(ltn_measure(ctx, "gmsd", &five, &five, &v) == LTN_ESHAPE);
    CHECK(!strcmp(ltn_error(ctx), "gmsd: pictures must be grey or RGB, not of 5 colours"));
    CHECK(ltn_measure(ctx, "haarpsi", &a, &a, &v) == LTN_ESHAPE);
    CHECK(!strcmp(ltn_error(ctx), "haarpsi: pictures must have 16 x 16 pixels at least, not 2 x 2"));
    CHECK(ltn_measure(ctx, "ms_ssim", &a, &a, &v) == LTN_ESHAPE);
    CHECK(!strcmp(ltn_error(ctx), "ms_ssim: 5 scales need 176 x 176 pixels, not 2 x 2"));
    CHECK(m.alive == 1);
    ltn_close(&ctx);
}

TEST(metric_memory)
{
    static float data[3 * 24 * 24];
    static const char *const specs[] = {"psnr", "ssim", "ms_ssim:scales=2", "gmsd", "haarpsi"};
    const ltn_image a = {24, 24, 3, data, NULL};
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    for (int i = 0; i < LTN_COUNT(specs); i++) {
        ltn_status s = LTN_ENOMEM;
        double v;
        test_name("%s", specs[i]);
        for (int k = 1; s == LTN_ENOMEM && k < 100; k++) {
            m.fail_at = m.calls + k;
            s = ltn_measure(ctx, specs[i], &a, &a, &v);
            CHECK(m.alive == 1);
        }
        m.fail_at = 0;
        OK(ctx, s);
    }
    ltn_close(&ctx);
}

/* chi of a measurement with its own noise is 1, of the picture itself |n| / sigma sqrt(m); holes do not count. */
TEST(metric_consistency)
{
    static float data[3 * 64 * 64];
    ltn_ctx *ctx;
    ltn_degradation *d;
    ltn_image y = {0}, exact = {0};
    double v = 0;
    ltn_open(&ctx, NULL);
    ltn__normals((ltn_rng){3, 4}, 0, data, LTN_COUNT(data));
    const ltn_image x = {64, 64, 3, data, NULL};
    static const char *const specs[] = {"identity", "downsample:factor=2", "inpaint:random=0.7,seed=3"};
    for (int i = 0; i < LTN_COUNT(specs); i++) {
        test_name("%s", specs[i]);
        OK(ctx, ltn_degradation_open(ctx, specs[i], 64, 64, 3, &d));
        OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.1", 7, &y));
        OK(ctx, ltn_degrade(d, &x, NULL, 7, &exact));
        OK(ctx, ltn_consistency(d, &x, &y, 0.1, &v));
        NEAR(v, 1, 0.05);
        OK(ctx, ltn_consistency(d, &x, &exact, 0.1, &v));
        NEAR(v, 0, 1e-6);
        double error = 0, length = 0;
        for (int64_t k = 0; k < (int64_t)y.width * y.height * 3; k++) {
            error += pow((double)y.data[k] - exact.data[k], 2);
            length += pow(y.data[k], 2);
        }
        OK(ctx, ltn_consistency(d, &x, &y, 0, &v));
        NEAR(v, sqrt(error / length), 1e-6);
        CHECK(ltn_consistency(d, &x, &y, -1, &v) == LTN_EINVAL);
        if (i == 1) CHECK(ltn_consistency(d, &y, &y, 1, &v) == LTN_ESHAPE);
        ltn_image_free(ctx, &y);
        ltn_image_free(ctx, &exact);
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}
