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
        double truth, bound, second; /* the first parameter and how far it may be off; with a second the variance at 1/2
                                      * may be */
    } cases[] = {{"gaussian:sigma=0.05", "gaussian", 0.05, 0.2, 0},
                 {"uniform:amplitude=0.1", "uniform", 0.1, 0.2, 0},
                 {"poisson:gain=0.02", "poisson", 0.02, 0.1, 0},
                 {"poisson:gain=0.005", "poisson", 0.005, 0.15, 0},
                 {"poisson:gain=0.1", "poisson", 0.1, 0.15, 0},
                 {"speckle:sigma=0.2", "speckle", 0.2, 0.1, 0},
                 {"salt-pepper:p=0.1", "salt-pepper", 0.1, 0.1, 0},
                 {"salt-pepper:p=0.5", "salt-pepper", 0.5, 0.1, 0},
                 {"poisson-gaussian:gain=0.02,sigma=0.05", "poisson-gaussian", 0.02, 0.1, 0.05}};
    static const char *const spec[] = {"identity", "downsample:factor=2", "inpaint:random=0.1", "inpaint:random=0.3",
                                       "inpaint:random=0.5"};
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
            const double a = first ? atof(first + 1) : 0, b = second ? atof(second + 1) : 0, c = cases[i].truth,
                         e = cases[i].second;
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
    static const char *const family[] = {"poisson", "speckle", "poisson-gaussian", "gaussian", "uniform"};
    double sigma = -1;
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
    CHECK(ltn_noise_level(d, &y, NULL, &sigma) == LTN_ESHAPE && sigma == 0);
    CHECK(strstr(ltn_error(ctx), "give sigma"));
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &y);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- The data terms against Bayes' rule by quadrature ---- */

/* p(y | v), up to a factor, written here once more from what the noises are. */
static double poisson_mass(double k, double mean)
{
    return mean > 0 ? exp(k * log(mean) - mean - lgamma(k + 1)) : k == 0;
}
static double normal_density(double x, double deviation)
{
    return exp(-x * x / (2 * deviation * deviation)) / deviation;
}
static double of_gaussian(double y, double v) { return normal_density(y - v, 0.1); }
static double of_poisson(double y, double v) { return poisson_mass(round(y / 0.02), v / 0.02); }
static double of_few_photons(double y, double v) { return poisson_mass(round(y / 0.2), v / 0.2); }
static double of_poisson_gaussian(double y, double v)
{
    double sum = 0;
    for (int k = 0; k < 150; k++) sum += poisson_mass(k, v / 0.02) * normal_density(y - 0.02 * k, 0.05);
    return sum;
}
static double of_speckle(double y, double v) { return normal_density(y - v, 0.2 * fabs(v) + 1e-6); }
static double of_uniform(double y, double v) { return fabs(y - v) <= 0.1; }

/* Mean and variance of p(v | y), v ~ N(v0, tau). */
static void integrate(double (*of)(double y, double v), double y, double v0, double tau, double *mean, double *variance)
{
    enum { POINTS = 1501 };
    double sum = 0, first = 0, second = 0;
    for (int i = 0; i < POINTS; i++) {
        const double at = 16.0 * i / (POINTS - 1) - 8, v = v0 + at * sqrt(tau), p = exp(-at * at / 2) * of(y, v);
        sum += p, first += p * v, second += p * v * v;
    }
    *mean = first / sum;
    *variance = second / sum - *mean * *mean;
}

typedef struct data_term {
    const char *noise;
    double (*of)(double y, double v);
    double mean, variance; /* how far they may be off: in posterior deviations, and as a share */
} data_term;
static const data_term terms[] = {{"gaussian:sigma=0.1", of_gaussian, 1e-4, 1e-4},
                                  {"poisson:gain=0.02", of_poisson, 0.2, 0.07},
                                  {"poisson:gain=0.2", of_few_photons, 0.12, 0.14},
                                  {"poisson-gaussian:gain=0.02,sigma=0.05", of_poisson_gaussian, 0.13, 0.07},
                                  {"speckle:sigma=0.2", of_speckle, 0.3, 0.3},
                                  {"uniform:amplitude=0.1", of_uniform, 0.01, 0.015}};

/* A value that the noise can give. */
static double possible(const data_term *t, double y)
{
    const double photon = t->of == of_few_photons ? 0.2 : t->of == of_poisson ? 0.02 : 0;
    return photon > 0 ? photon * round(y / photon) : y;
}

/* The moments of N(v0, tau) and the row's gaussian measurement, as a solver takes their product. */
TEST(data_terms_have_the_moments_of_the_posterior)
{
    ltn_ctx *ctx = context();
    ltn_arena arena = {.ctx = ctx};
    for (int i = 0; i < LTN_COUNT(terms); i++) {
        ltn_spec spec;
        double mean_off = 0, variance_off = 0;
        OK(ctx, ltn__spec_parse(ctx, "noise", ltn__noise_entry, terms[i].noise, &arena, &spec));
        const ltn_noise_row *row = ltn__noise_row(spec.row);
        for (int k = 0; k < 27; k++) {
            const double v0 = 0.3 + 0.25 * (k % 3), y = possible(&terms[i], v0 + 0.06 * (k / 3 % 3 - 1)),
                         tau = pow(0.03 * (1 << k / 9), 2);
            double seen = y, variance = row->variance(&spec, v0), mean, square;
            if (row->observe) row->observe(&spec, y, v0, tau, &seen, &variance);
            const double part = tau / (tau + variance), found = v0 + part * (seen - v0), left = tau * (1 - part);
            integrate(terms[i].of, y, v0, tau, &mean, &square);
            mean_off = fmax(mean_off, fabs(found - mean) / sqrt(square));
            variance_off = fmax(variance_off, fabs(left / square - 1));
        }
        test_name("%s: mean off by %.4f deviations, variance by %.4f", terms[i].noise, mean_off, variance_off);
        CHECK(mean_off <= terms[i].mean && variance_off <= terms[i].variance);
    }
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

/* The same from outside: the prox of a whole picture, in [-1, 1], is the posterior mean of every value. */
TEST(the_prox_under_every_noise_is_the_posterior_mean)
{
    enum { SIDE = 64, ALL = SIDE * SIDE };
    const double sigma = 0.1, tau = 0.0064;
    ltn_ctx *ctx = context();
    ltn_arena arena = {.ctx = ctx};
    float *u = numbers(ALL, 1), *y = numbers(ALL, 2), *x = numbers(ALL, 3), *seen = numbers(ALL, 4);
    for (int i = 0; i < LTN_COUNT(terms); i++) {
        ltn_degradation *d = NULL;
        ltn_spec spec;
        double worst = 0;
        OK(ctx, ltn__spec_parse(ctx, "noise", ltn__noise_entry, terms[i].noise, &arena, &spec));
        OK(ctx, ltn_degradation_open(ctx, "identity", SIDE, SIDE, 1, &d));
        for (int k = 0; k < ALL; k++) {
            const double v0 = 0.3 + 0.5 * (k % 13) / 12;
            u[k] = (float)(2 * v0 - 1), y[k] = (float)possible(&terms[i], v0 + 0.05 * (k % 3 - 1));
        }
        ltn_degradation a = ltn__signed(d);
        OK(ctx, ltn__likelihood_open(&a, &spec, y, sigma));
        ltn__to_signed(&a, y, seen);
        ltn__prox(&a, seen, tau / (sigma * sigma), u, x);
        for (int k = 0; k < 39; k++) {
            double mean, variance;
            integrate(terms[i].of, y[k], (u[k] + 1) / 2.0, tau, &mean, &variance);
            worst = fmax(worst, fabs((x[k] + 1) / 2 - mean) / sqrt(variance));
        }
        test_name("%s: off by %.4f deviations", terms[i].noise, worst);
        CHECK(worst <= terms[i].mean + 0.02); /* the rows see a variance that is probed */
        ltn__likelihood_close(&a);
        ltn_degradation_close(&d);
    }
    free(u), free(y), free(x), free(seen);
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

/* Black and white values say nothing, all others are exact. */
TEST(salt_and_pepper_are_left_to_the_prediction)
{
    static const float y[6] = {0, 0.25f, 1, 0.5f, 0.999f, 1};
    float u[6] = {-0.5f, 0.5f, 0.75f, 0, 0.2f, -1}, x[6], seen[6];
    ltn_ctx *ctx = context();
    ltn_arena arena = {.ctx = ctx};
    ltn_degradation *d = NULL;
    ltn_spec spec;
    OK(ctx, ltn__spec_parse(ctx, "noise", ltn__noise_entry, "salt-pepper:p=0.3", &arena, &spec));
    OK(ctx, ltn_degradation_open(ctx, "identity", 3, 2, 1, &d));
    ltn_degradation a = ltn__signed(d);
    OK(ctx, ltn__likelihood_open(&a, &spec, y, 0));
    CHECK(ltn__measured(&a, NULL) == 3);
    ltn__to_signed(&a, y, seen);
    ltn__prox(&a, seen, INFINITY, u, x);
    for (int k = 0; k < 6; k++) NEAR(x[k], y[k] <= 0 || y[k] >= 1 ? u[k] : 2 * y[k] - 1, 1e-5);
    ltn__likelihood_close(&a);
    ltn_degradation_close(&d);
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}
