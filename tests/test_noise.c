/* test_noise.c - noises: their moments, and the estimate of a white noise's level. */
#include "degrade.h"

TEST(noises_have_their_moments)
{
    static const struct {
        const char *spec;
        double mean, deviation; /* of y from x = 0.25 */
    } cases[] = {
        {"gaussian:sigma=0.2", 0.25, 0.2},     {"uniform:amplitude=0.3", 0.25, 0.3 / 1.7320508},
        {"speckle:sigma=0.4", 0.25, 0.1},      {"salt-pepper:p=0.2", 0.3, 0.2449490},
        {"poisson:gain=0.05", 0.25, 0.1118034}, {"poisson:gain=0.0001", 0.25, 0.005},
        {"poisson:gain=1", 0.25, 0.5},
    };
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, "identity", 300, 200, 1, &d));
    ltn_image x, y;
    OK(ctx, ltn_image_new(ctx, 300, 200, 1, NULL, &x));
    for (int i = 0; i < 60000; i++) x.data[i] = 0.25f;
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        double mean = 0, square = 0;
        test_name("%s", cases[i].spec);
        OK(ctx, ltn_degrade(d, &x, cases[i].spec, 7, &y));
        for (int k = 0; k < 60000; k++)
            mean += y.data[k] / 60000, square += (double)y.data[k] * y.data[k] / 60000;
        NEAR(mean, cases[i].mean, 5 * cases[i].deviation / sqrt(60000));
        NEAR(sqrt(square - mean * mean), cases[i].deviation, 0.02 * cases[i].deviation);
        ltn_image again;
        OK(ctx, ltn_degrade(d, &x, cases[i].spec, 7, &again));
        CHECK(!memcmp(again.data, y.data, 60000 * sizeof(float)));
        ltn_image_free(ctx, &again);
        OK(ctx, ltn_degrade(d, &x, cases[i].spec, 8, &again));
        CHECK(memcmp(again.data, y.data, 60000 * sizeof(float)));
        ltn_image_free(ctx, &again);
        ltn_image_free(ctx, &y);
    }
    int zeros = 0; /* of counts of mean 2 */
    OK(ctx, ltn_degrade(d, &x, "poisson:gain=0.125", 7, &y));
    for (int k = 0; k < 60000; k++) zeros += y.data[k] == 0;
    NEAR(zeros / 60000.0, exp(-2), 0.007);
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &x);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- The noise level of a photo, whole, small, blurred, with holes, in grey ---- */
TEST(sigma_is_estimated)
{
    static const struct {
        const char *spec;
        double bound; /* relative error */
    } cases[] = {{"identity", 0.15},
                 {"downsample:factor=4", 0.25},
                 {"blur:sigma=2", 0.1},
                 {"inpaint:random=0.5", 0.25},
                 {"inpaint:box=30:30:50:60", 0.15}};
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "degrade.safetensors");
    const ltn_image x = tensor(ctx, t, "photo");
    for (int i = 0; i < LTN_COUNT(cases); i++)
        for (int k = 0; k < 4; k++) {
            const double sigma = (const double[]){0.01, 0.03, 0.1, 0.2}[k];
            char noise[64];
            ltn_degradation *d = NULL;
            ltn_image y;
            double found = 0;
            snprintf(noise, sizeof noise, "gaussian:sigma=%g", sigma);
            test_name("%s with %s", cases[i].spec, noise);
            OK(ctx, ltn_degradation_open(ctx, cases[i].spec, x.width, x.height, x.channels, &d));
            OK(ctx, ltn_degrade(d, &x, noise, 3, &y));
            OK(ctx, ltn_estimate_sigma(ctx, &y, &found));
            NEAR(found / sigma, 1, cases[i].bound);
            ltn_image_free(ctx, &y);
            ltn_degradation_close(&d);
        }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(sigma_of_odd_pictures)
{
    ltn_ctx *ctx = context();
    float *n = numbers(3 * 80 * 80, 4), zero[48] = {0};
    double sigma = -1;
    for (int i = 0; i < 3 * 80 * 80; i++) n[i] = 0.5f + 0.1f * n[i];
    const ltn_image grey = {80, 80, 1, n, NULL}, line = {200, 1, 3, n, NULL}, one = {1, 1, 1, n, NULL},
                    two = {3, 3, 3, n, NULL}, black = {4, 4, 3, zero, NULL};
    OK(ctx, ltn_estimate_sigma(ctx, &grey, &sigma));
    NEAR(sigma, 0.1, 0.01);
    OK(ctx, ltn_estimate_sigma(ctx, &two, &sigma));
    NEAR(sigma, 0.1, 0.06);
    const ltn_image *nothing[] = {&line, &one, &black};
    for (int i = 0; i < 3; i++) {
        OK(ctx, ltn_estimate_sigma(ctx, nothing[i], &sigma));
        NEAR(sigma, 0, 0);
    }
    free(n);
    ltn_close(&ctx);
}

/* ---- The strength of every kind of noise, on a photo whole, small, and with holes that hold anything ---- */
TEST(the_strength_of_every_kind_of_noise_is_estimated)
{
    static const struct {
        const char *noise, *name;
        double truth, bound, second; /* the first parameter and how far it may be off; with a second the variance at 1/2 may be */
    } cases[] = {{"gaussian:sigma=0.05", "gaussian", 0.05, 0.2, 0},
                 {"uniform:amplitude=0.1", "uniform", 0.1, 0.2, 0},
                 {"poisson:gain=0.02", "poisson", 0.02, 0.25, 0},
                 {"poisson:gain=0.1", "poisson", 0.1, 0.25, 0},
                 {"speckle:sigma=0.2", "speckle", 0.2, 0.2, 0},
                 {"salt-pepper:p=0.1", "salt-pepper", 0.1, 0.1, 0},
                 {"salt-pepper:p=0.5", "salt-pepper", 0.5, 0.1, 0},
                 {"poisson-gaussian:gain=0.02,sigma=0.05", "poisson-gaussian", 0.02, 0.3, 0.05}};
    static const char *const spec[] = {"identity", "downsample:factor=2", "inpaint:random=0.1", "inpaint:random=0.3", "inpaint:random=0.5"};
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "degrade.safetensors");
    const ltn_image x = tensor(ctx, t, "photo");
    for (int i = 0; i < LTN_COUNT(cases); i++)
        for (int k = 0; k < LTN_COUNT(spec); k++) {
            ltn_degradation *d = NULL;
            ltn_image y;
            char found[128];
            test_name("%s with %s", spec[k], cases[i].noise);
            OK(ctx, ltn_degradation_open(ctx, spec[k], x.width, x.height, x.channels, &d));
            OK(ctx, ltn_degrade(d, &x, cases[i].noise, 3, &y));
            const int m = y.width * y.height * y.channels;
            float *seen = malloc((size_t)m * sizeof *seen);
            for (int j = 0; j < m; j++) seen[j] = 1;
            ltn__measured(d, seen);
            for (int j = 0; j < m; j++) y.data[j] = seen[j] != 0 ? y.data[j] : 0.3f;
            free(seen);
            OK(ctx, ltn_estimate_noise(d, &y, cases[i].name, found, sizeof found));
            const char *first = strchr(found, '='), *second = first ? strchr(first + 1, '=') : NULL;
            const double a = first ? atof(first + 1) : 0, b = second ? atof(second + 1) : 0, c = cases[i].truth, e = cases[i].second;
            if (e > 0) NEAR((a / 2 + b * b) / (c / 2 + e * e), 1, cases[i].bound);
            else NEAR(a / c, 1, cases[i].bound);
            OK(ctx, ltn_estimate_noise(d, &y, cases[i].noise, found, sizeof found));
            CHECK(!strcmp(found, cases[i].noise));
            ltn_image_free(ctx, &y);
            ltn_degradation_close(&d);
        }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(too_few_places_tell_no_strength)
{
    static const char *const family[] = {"poisson", "speckle", "poisson-gaussian"};
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    ltn_image x, y;
    char found[128];
    OK(ctx, ltn_image_new(ctx, 64, 64, 3, NULL, &x));
    for (int i = 0; i < 64 * 64 * 3; i++) x.data[i] = 0.5f;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.95", 64, 64, 3, &d));
    OK(ctx, ltn_degrade(d, &x, "poisson:gain=0.02", 3, &y));
    for (int i = 0; i < LTN_COUNT(family); i++) {
        CHECK(ltn_estimate_noise(d, &y, family[i], found, sizeof found) == LTN_ESHAPE);
        CHECK(strstr(ltn_error(ctx), family[i]) && strstr(ltn_error(ctx), "too little"));
    }
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &y);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}
