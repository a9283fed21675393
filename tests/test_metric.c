/* test_metric.c - metrics against torchmetrics (tests/golden/metric.safetensors) and closed forms. */
#include "file/file.h"
#include "metric/metric.h"
#include "test.h"

static ltn_image picture(ltn_weight *w)
{
    return (ltn_image){.channels = (int)w->dim[0], .height = (int)w->dim[1], .width = (int)w->dim[2],
                       .data = (float *)w->data};
}

TEST(metric_golden)
{
    ltn_ctx *ctx;
    ltn_tensors *t = NULL;
    ltn_open(&ctx, NULL);
    OK(ctx, ltn__tensors_open(ctx, test_golden("metric.safetensors"), &t));
    const ltn_entry *e;
    int cases = 0;
    for (int k = 0; t && k < 5; k++) {
        char name[32];
        ltn_weight *a, *b, *want;
        snprintf(name, sizeof name, "a%d", k);
        a = ltn__tensors_find(t, name);
        snprintf(name, sizeof name, "b%d", k);
        b = ltn__tensors_find(t, name);
        for (int i = 0; (e = ltn__metric_entry(i)); i++) {
            snprintf(name, sizeof name, "%s%d", e->name, k);
            test_name("%s", name);
            want = ltn__tensors_find(t, name);
            CHECK(a && b && want);
            if (!a || !b || !want) break;
            const ltn_image x = picture(a), y = picture(b);
            double v = NAN, turned = NAN;
            OK(ctx, ltn__measure(ctx, e->name, &x, &y, &v));
            OK(ctx, ltn__measure(ctx, e->name, &y, &x, &turned));
            NEAR(v, *(const float *)want->data, 1e-5);
            NEAR(v, turned, 1e-12);
            cases++;
        }
    }
    CHECK(cases == 10);
    ltn__tensors_close(&t);
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
                double psnr, ssim;
                OK(ctx, ltn__measure(ctx, "psnr", &a, &b, &psnr));
                OK(ctx, ltn__measure(ctx, "ssim", &a, &b, &ssim));
                CHECK(psnr == INFINITY);
                NEAR(ssim, 1, 1e-12);
                const ltn_image opaque = {w, h, colours, data, NULL};
                if (alpha) OK(ctx, ltn__measure(ctx, "psnr", &a, &opaque, &psnr));
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
        OK(ctx, ltn__measure(ctx, "psnr", &a, &b, &v));
        NEAR(v, -20 * log10(0.5), 1e-9);
        OK(ctx, ltn__measure(ctx, "ssim", &a, &b, &v));
        NEAR(v, (2 * 0.25 * 0.75 + 1e-4) / (0.0625 + 0.5625 + 1e-4), 1e-9);
    }
    q[1] = NAN;
    double v;
    OK(ctx, ltn__measure(ctx, "psnr", &(ltn_image){2, 2, 1, p, NULL}, &(ltn_image){2, 2, 1, q, NULL}, &v));
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
    CHECK(ltn__measure(ctx, "pnsr", &a, &a, &v) == LTN_EINVAL);
    CHECK(!strcmp(ltn_error(ctx), "unknown metric \"pnsr\"; did you mean \"psnr\"?"));
    CHECK(ltn__measure(ctx, "psnr", &a, &narrow, &v) == LTN_ESHAPE &&
          strstr(ltn_error(ctx), "2 x 2 x 3 and 1 x 2 x 3"));
    CHECK(ltn__measure(ctx, "psnr", &a, &grey, &v) == LTN_ESHAPE);
    CHECK(ltn__measure(ctx, "psnr", &empty, &empty, &v) == LTN_ESHAPE);
    m.fail_at = m.calls + 1;
    CHECK(ltn__measure(ctx, "ssim", &a, &a, &v) == LTN_ENOMEM);
    CHECK(m.alive == 1);
    ltn_close(&ctx);
}
