/* test_blind.c - what a measurement tells of its degradation: a blur's width and kernel, a reduction's filter, a JPEG's
 * quality; and specs that ask for it. */
#include "degrade.h"

static ltn_image cat(ltn_ctx *ctx)
{
    ltn_image x = {0};
    OK(ctx, ltn_image_read(ctx, test_golden("cat128.png"), &x));
    return x;
}

static bool refused(ltn_ctx *ctx, const char *spec, const ltn_image *y, const char *path, ltn_status status,
                    const char *why)
{
    char found[512];
    return ltn_resolve(ctx, spec, y, path, found, sizeof found) == status && strstr(ltn_error(ctx), why);
}

/* A black picture tells nothing, a small one too little. */
static void black_is_refused(ltn_ctx *ctx, const char *spec)
{
    ltn_image x;
    OK(ctx, ltn_image_new(ctx, 20, 30, 3, NULL, &x));
    CHECK(refused(ctx, spec, &x, NULL, LTN_ESHAPE, "not 20 x 30"));
    ltn_image_free(ctx, &x);
    OK(ctx, ltn_image_new(ctx, 40, 30, 3, NULL, &x));
    CHECK(refused(ctx, spec, &x, NULL, LTN_EINVAL, "nothing is to be seen"));
    ltn_image_free(ctx, &x);
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
    static const char *const same[] = {"identity", "jpeg", "blur:sigma=2+downsample:factor=2",
                                       "blur:kernel='a,b+sigma=auto'", "nonsense:x=1", "", "jpg:quality=20"};
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx);
    char found[128];
    for (int i = 0; i < LTN_COUNT(same); i++) {
        test_name("%s", same[i]);
        OK(ctx, ltn_resolve(ctx, same[i], &x, NULL, found, sizeof found));
        CHECK(!strcmp(found, same[i]));
    }
    OK(ctx, ltn_resolve(ctx, "inpaint:random=0.5+blur:sigma=auto", &x, NULL, found, sizeof found));
    CHECK(!strncmp(found, "inpaint:random=0.5+blur:sigma=0.", 32));
    CHECK(refused(ctx, "jpeg:chroma=auto", &x, NULL, LTN_EINVAL, "not read from a JPEG file"));
    CHECK(refused(ctx, "blur:across=auto", &x, NULL, LTN_EINVAL, "only sigma"));
    CHECK(refused(ctx, "blur:kernel=auto", &x, NULL, LTN_EINVAL, "no file is named"));
    CHECK(refused(ctx, "motion:length=auto", &x, NULL, LTN_EINVAL, "not found from a measurement"));
    CHECK(ltn_resolve(ctx, "blur:sigma=2+downsample:factor=2", &x, NULL, found, 10) == LTN_EINVAL);
    CHECK(strstr(ltn_error(ctx), "longer than 9 letters"));
    black_is_refused(ctx, "blur:sigma=auto");
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

/* ---- blur:kernel=auto ---- */
enum { TRUE_SIDE = 33 };

/* What a degradation makes of a point: its kernel, in the middle of TRUE_SIDE x TRUE_SIDE pixels. */
static ltn_image kernel_of(ltn_ctx *ctx, const char *spec)
{
    ltn_image point = {0}, k = {0};
    ltn_degradation *d;
    OK(ctx, ltn_image_new(ctx, TRUE_SIDE, TRUE_SIDE, 1, NULL, &point));
    point.data[TRUE_SIDE * TRUE_SIDE / 2] = 1;
    OK(ctx, ltn_degradation_open(ctx, spec, TRUE_SIDE, TRUE_SIDE, 1, &d));
    OK(ctx, ltn_degrade(d, &point, NULL, 1, &k));
    ltn_degradation_close(&d);
    ltn_image_free(ctx, &point);
    return k;
}

static double tap_at(const ltn_image *k, int y, int x)
{
    return y >= 0 && x >= 0 && y < k->height && x < k->width ? k->data[y * k->width + x] : 0;
}

/* |found / its sum - truth| / |truth| after the best shift, and the same for found turned by half a circle. */
static double kernel_error(const ltn_image *truth, const ltn_image *found, bool turned)
{
    enum { FURTHEST = 5 };
    const int n = truth->width / 2, m = found->width / 2, w = turned ? -1 : 1;
    double sum = 0, size = 0, best = INFINITY;
    for (int i = 0; i < found->width * found->height; i++) sum += found->data[i];
    for (int i = 0; i < truth->width * truth->height; i++) size += pow(truth->data[i], 2);
    for (int shift = 0; shift < (2 * FURTHEST + 1) * (2 * FURTHEST + 1); shift++) {
        const int down = shift / (2 * FURTHEST + 1) - FURTHEST, right = shift % (2 * FURTHEST + 1) - FURTHEST;
        double error = 0;
        for (int i = -n; i <= n; i++)
            for (int j = -n; j <= n; j++)
                error += pow(tap_at(truth, n + i, n + j) - tap_at(found, m + w * i + down, m + w * j + right) / sum, 2);
        best = fmin(best, sqrt(error / size));
    }
    return best;
}

/* Root mean square distance of a kernel from its centre of mass. */
static double spread(const ltn_image *k)
{
    double sum = 0, y = 0, x = 0, square = 0;
    for (int i = 0; i < k->width * k->height; i++) {
        const double v = k->data[i], a = i / k->width, b = i % k->width;
        sum += v, y += v * a, x += v * b, square += v * (a * a + b * b);
    }
    return sqrt(square / sum - (y * y + x * x) / (sum * sum));
}

TEST(a_kernel_that_has_a_name_is_found)
{
    static const struct {
        const char *spec;
        double error, spread; /* bounds of the errors of the kernel and of its width */
    } rows[] = {
        {"blur:sigma=1.5,boundary=circular", 0.2, 0.15},
        {"defocus:radius=3,boundary=circular", 0.1, 0.05},
        {"motion:size=11,bend=0,seed=3,boundary=circular", 0.1, 0.05},
    };
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx), y, found;
    char resolved[512], *path = strdup(test_temp("kernel.png"));
    for (int i = 0; i < LTN_COUNT(rows); i++) {
        ltn_degradation *d;
        ltn_image truth = kernel_of(ctx, rows[i].spec);
        test_name("%s", rows[i].spec);
        OK(ctx, ltn_degradation_open(ctx, rows[i].spec, x.width, x.height, x.channels, &d));
        OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.005", 3, &y));
        OK(ctx, ltn_resolve(ctx, "blur:kernel=auto,size=15,boundary=circular", &y, path, resolved, sizeof resolved));
        CHECK(!strncmp(resolved, "blur:kernel=", 12) && strstr(resolved, "kernel.png,size=15,boundary=circular"));
        OK(ctx, ltn_image_read(ctx, path, &found));
        CHECK(found.width == 15 && found.height == 15 && found.channels == 1);
        NEAR(kernel_error(&truth, &found, false), 0, rows[i].error);
        NEAR(spread(&found) / spread(&truth), 1, rows[i].spread);
        ltn_image_free(ctx, &truth);
        ltn_image_free(ctx, &found);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    free(path);
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

/* Overlapping rectangles. */
static ltn_image shapes(ltn_ctx *ctx, int side)
{
    const ltn_rng rng = {5, 98};
    ltn_image x = {0};
    OK(ctx, ltn_image_new(ctx, side, side, 1, NULL, &x));
    for (uint64_t k = 0; k < 60; k++) {
        const int top = (int)(side * ltn__uniform(rng, 5 * k)) - side / 8;
        const int left = (int)(side * ltn__uniform(rng, 5 * k + 1)) - side / 8;
        const int height = 4 + (int)(side / 3.0 * ltn__uniform(rng, 5 * k + 2));
        const int width = 4 + (int)(side / 3.0 * ltn__uniform(rng, 5 * k + 3));
        for (int i = 0; i < side * side; i++)
            if (i / side >= top && i / side < top + height && i % side >= left && i % side < left + width)
                x.data[i] = (float)ltn__uniform(rng, 5 * k + 4);
    }
    return x;
}

TEST(a_kernel_without_a_name_is_found_by_edges)
{
    ltn_ctx *ctx = context();
    const char *spec = "motion:size=9,seed=2,boundary=circular";
    ltn_image x = shapes(ctx, 128), truth = kernel_of(ctx, spec), y, found;
    char resolved[512], *path = strdup(test_temp("kernel.png"));
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, x.channels, &d));
    OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.005", 3, &y));
    for (int turned = 0; turned < 2; turned++) {
        const char *asked = turned ? "blur:kernel=auto,size=13,order=correlation" : "blur:size=13,kernel=auto";
        test_name("%s", asked);
        OK(ctx, ltn_resolve(ctx, asked, &y, path, resolved, sizeof resolved));
        OK(ctx, ltn_image_read(ctx, path, &found));
        CHECK(found.width == 13 && found.height == 13);
        NEAR(kernel_error(&truth, &found, turned), 0, 0.4);
        CHECK(kernel_error(&truth, &found, !turned) > 0.6);
        ltn_image_free(ctx, &found);
    }
    ltn_degradation_close(&d);
    free(path);
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &truth);
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

TEST(what_tells_of_no_kernel_is_refused)
{
    static const char *const flat = "blur:kernel=auto,size=5";
    ltn_ctx *ctx = context();
    ltn_image x = {0};
    char found[512], *path = strdup(test_temp("none.png"));
    OK(ctx, ltn_image_new(ctx, 14, 40, 3, NULL, &x));
    CHECK(refused(ctx, flat, &x, path, LTN_ESHAPE, "needs 24 pixels a side, not 14 x 40"));
    ltn_image_free(ctx, &x);
    OK(ctx, ltn_image_new(ctx, 40, 40, 3, NULL, &x));
    CHECK(refused(ctx, flat, &x, path, LTN_EINVAL, "nothing is to be seen"));
    for (int i = 0; i < 3 * 40 * 40; i++) x.data[i] = NAN;
    CHECK(ltn_resolve(ctx, flat, &x, path, found, sizeof found) == LTN_EINVAL);
    ltn__normals((ltn_rng){1, 2}, 0, x.data, 3 * 40 * 40);
    CHECK(ltn_resolve(ctx, flat, &x, path, found, sizeof found) == LTN_EINVAL);
    CHECK(refused(ctx, "blur:kernel=auto,size=5,q=1", &x, path, LTN_EINVAL, "unknown parameter \"q\""));
    FILE *f = fopen(path, "rb");
    CHECK(!f);
    if (f) fclose(f);
    ltn_image_free(ctx, &x);
    x = shapes(ctx, 64);
    CHECK(refused(ctx, flat, &x, path, LTN_EINVAL, "no blur is to be seen"));
    free(path);
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}

TEST(the_filter_of_a_reduction_is_found)
{
    static const char *const filters[] = {"bicubic", "bilinear", "gaussian"};
    ltn_ctx *ctx = context();
    ltn_image x = cat(ctx), y;
    char spec[64], found[64];
    for (int i = 0; i < LTN_COUNT(filters); i++) {
        ltn_degradation *d;
        snprintf(spec, sizeof spec, "downsample:factor=2,kernel=%s", filters[i]);
        test_name("%s", spec);
        OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, x.channels, &d));
        OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.005", 3, &y));
        OK(ctx, ltn_resolve(ctx, "downsample:factor=2,kernel=auto", &y, NULL, found, sizeof found));
        CHECK(!strcmp(found, spec));
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    CHECK(refused(ctx, "downsample:factor=auto", &x, NULL, LTN_EINVAL, "only filter is found"));
    black_is_refused(ctx, "downsample:kernel=auto");
    black_is_refused(ctx, "downsample:filter=auto");
    ltn_image_free(ctx, &x);
    ltn_close(&ctx);
}
