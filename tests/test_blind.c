/* test_blind.c - what a measurement tells of its degradation: a blur's width, a JPEG's quality; and specs that ask for it. */
#include "degrade.h"

static ltn_image cat(ltn_ctx *ctx)
{
    ltn_image x = {0};
    OK(ctx, ltn_image_read(ctx, test_golden("cat128.png"), &x));
    return x;
}

TEST(the_width_of_a_gaussian_blur_is_found)
{
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx);
    for (int i = 0; i < 10; i++) {
        const double sigma = (const double[]){0.7, 1, 1.5, 2, 3}[i % 5];
        char spec[64], found[64];
        ltn_degradation *d;
        ltn_image y;
        snprintf(spec, sizeof spec, "blur:sigma=%g", sigma);
        test_name("%s, noise %g", spec, i < 5 ? 0.002 : 0.02);
        OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, x.channels, &d));
        OK(ctx, ltn_degrade(d, &x, i < 5 ? "gaussian:sigma=0.002" : "gaussian:sigma=0.02", 3, &y));
        OK(ctx, ltn_resolve(ctx, "blur:sigma=auto,boundary=circular", &y, NULL, found, sizeof found));
        CHECK(!strncmp(found, "blur:sigma=", 11) && strstr(found, ",boundary=circular"));
        NEAR(atof(found + 11) / sigma, 1, sigma < 1 ? 0.35 : 0.25);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

TEST(the_quality_of_a_jpeg_file_is_read)
{
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx), y;
    char found[64], expected[64];
    int full;
    CHECK(ltn_image_jpeg_quality(&x, &full) == 0 && !full);
    for (int q = 1; q <= 100; q += 11) {
        OK(ctx, ltn_image_write(ctx, test_temp("q.jpg"), &x, &(ltn_write_options){.quality = q}));
        OK(ctx, ltn_image_read(ctx, test_temp("q.jpg"), &y));
        test_name("quality %d", q);
        CHECK(ltn_image_jpeg_quality(&y, &full) == q);
        snprintf(expected, sizeof expected, "jpeg:quality=%d,chroma=%s", q, full ? "4:4:4" : "4:2:0");
        OK(ctx, ltn_resolve(ctx, "jpeg", &y, NULL, found, sizeof found));
        CHECK(!strcmp(found, expected));
        ltn_image_free(ctx, &y);
    }
    static const char *const by_pillow[] = {"file/progressive6.jpg", "file/grey.jpg"}; /* tools/golden/file.py */
    for (int i = 0; i < LTN_COUNT(by_pillow); i++) {
        OK(ctx, ltn_image_read(ctx, test_golden(by_pillow[i]), &y));
        CHECK(ltn_image_jpeg_quality(&y, &full) == (i ? 90 : 85) && full == i);
        ltn_image_free(ctx, &y);
    }
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

TEST(what_is_not_asked_for_is_copied)
{
    static const char *const same[] = {"identity", "jpeg", "blur:sigma=2+downsample:factor=2", "blur:kernel='a,b+sigma=auto'", "nonsense:x=1", "",
                                       "jpg:quality=20"};
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx), small;
    char found[128];
    for (int i = 0; i < LTN_COUNT(same); i++) {
        test_name("%s", same[i]);
        OK(ctx, ltn_resolve(ctx, same[i], &x, NULL, found, sizeof found));
        CHECK(!strcmp(found, same[i]));
    }
    OK(ctx, ltn_resolve(ctx, "inpaint:random=0.5+blur:sigma=auto", &x, NULL, found, sizeof found));
    CHECK(!strncmp(found, "inpaint:random=0.5+blur:sigma=0.", 32));
    CHECK(ltn_resolve(ctx, "jpeg:chroma=auto", &x, NULL, found, sizeof found) == LTN_EINVAL && strstr(ltn_error(ctx), "not read from a JPEG file"));
    CHECK(ltn_resolve(ctx, "blur:across=auto", &x, NULL, found, sizeof found) == LTN_EINVAL && strstr(ltn_error(ctx), "only sigma"));
    CHECK(ltn_resolve(ctx, "blur:kernel=auto", &x, NULL, found, sizeof found) == LTN_EINVAL && strstr(ltn_error(ctx), "no file is named"));
    CHECK(ltn_resolve(ctx, "motion:length=auto", &x, NULL, found, sizeof found) == LTN_EINVAL && strstr(ltn_error(ctx), "not found from a measurement"));
    CHECK(ltn_resolve(ctx, "blur:sigma=2+downsample:factor=2", &x, NULL, found, 10) == LTN_EINVAL && strstr(ltn_error(ctx), "longer than 9 letters"));
    OK(ctx, ltn_image_new(ctx, 20, 30, 3, NULL, &small));
    CHECK(ltn_resolve(ctx, "blur:sigma=auto", &small, NULL, found, sizeof found) == LTN_ESHAPE);
    ltn_image_free(ctx, &small);
    OK(ctx, ltn_image_new(ctx, 40, 30, 3, NULL, &small));
    CHECK(ltn_resolve(ctx, "blur:sigma=auto", &small, NULL, found, sizeof found) == LTN_EINVAL && strstr(ltn_error(ctx), "nothing is to be seen"));
    ltn_image_free(ctx, &small);
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}
