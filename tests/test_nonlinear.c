/* test_nonlinear.c - degradations that are not linear: their derivatives against differences, their prox against all
 * that is near it, JPEG against Pillow's files (tools/golden/operators.py), and who refuses them. */
#include "degrade.h"

typedef struct example {
    const char *spec;
    int width, height, channels;
    bool differs; /* vjp is the true derivative: not where values are rounded */
} example;

static const example examples[] = {
    {"clip", 19, 13, 3, true},
    {"hdr:gain=3,pivot=0", 19, 13, 1, true},
    {"phase:masks=3", 12, 9, 2, true},
    {"blur:sigma=1+clip", 19, 13, 3, true},
    {"clip:gain=1.5+blur:sigma=1", 19, 13, 1, true},
    {"phase:oversample=2", 12, 9, 2, true},
    {"phase:oversample=1.5", 13, 9, 1, true},
    {"downsample:factor=2+phase:masks=2+inpaint:random=0.2", 12, 10, 1, true},
    {"jpeg:quality=20", 32, 16, 3, false},
    {"jpeg:quality=50,chroma=4:4:4", 16, 24, 3, false},
    {"jpeg:quality=50", 19, 13, 1, false},
    {"jpeg:quality=50", 1, 1, 3, false},
    {"blur:sigma=1+jpeg:quality=40", 19, 13, 3, false},
};

/* A picture in [0, 1]: smooth, with some noise. */
static float *picture(const ltn_degradation *d, uint64_t seed)
{
    const size_t n = ltn__size_count(d->x);
    float *x = numbers(n, seed);
    for (size_t i = 0; i < n; i++)
        x[i] = 0.5f + 0.3f * sinf(0.3f * (float)(i % (size_t)d->x.width) + (float)seed) + 0.1f * x[i];
    return x;
}

static void each(void (*f)(const example *e, ltn_degradation *d, size_t n, size_t m))
{
    ltn_ctx *ctx = context();
    for (int i = 0; i < LTN_COUNT(examples); i++) {
        const example *e = &examples[i];
        ltn_degradation *d = NULL;
        test_name("%s on %d x %d", e->spec, e->width, e->height);
        OK(ctx, ltn_degradation_open(ctx, e->spec, e->width, e->height, e->channels, &d));
        if (d) f(e, d, ltn__size_count(d->x), ltn__size_count(d->y));
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

/* d/dt <w, A(x + t v)> = <v, J^T w>, on [0, 1] and on [-1, 1]. */
static void check_derivative(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    CHECK(!d->linear);
    if (!e->differs) return;
    const ltn_degradation s = ltn__signed(d);
    for (int k = 0; k < 2; k++) {
        const ltn_degradation *a = k ? &s : d;
        float *x = picture(d, 1), *v = numbers(n, 2), *w = numbers(m, 3), *g = numbers(n, 4), *at = numbers(n, 5),
              *y[2];
        const double h = 1e-3;
        for (size_t i = 0; k && i < n; i++) x[i] = 2 * x[i] - 1;
        for (int side = 0; side < 2; side++) {
            y[side] = numbers(m, 6);
            for (size_t i = 0; i < n; i++) at[i] = x[i] + (side ? 1 : -1) * (float)h * v[i];
            ltn__forward(a, at, y[side]);
        }
        ltn__vjp(a, x, w, g);
        const double want = (dot(w, y[1], m) - dot(w, y[0], m)) / (2 * h);
        NEAR(dot(g, v, n) / (norm(g, n) * norm(v, n)), want / (norm(g, n) * norm(v, n)), 5e-3);
        free(x), free(v), free(w), free(g), free(at), free(y[0]), free(y[1]);
    }
}
TEST(derivatives) { each(check_derivative); }

/* |r|^2 / 2 for the row's r. */
static double cost(const ltn_degradation *d, double lambda, const float *y, const float *u, const float *x, float *r)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    double far = 0;
    ltn__misfit(d, y, x, r);
    for (size_t i = 0; i < n; i++) far += pow((double)x[i] - u[i], 2);
    return dot(r, r, m) + lambda * far;
}

/* Nothing near the prox is better than it, and u is not. Where x is bound to intervals, what leaves them is no
 * rival. */
static void check_prox(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *truth = picture(d, 1), *u = picture(d, 2), *y = numbers(m, 3), *x = numbers(n, 4), *other = numbers(n, 5),
          *noise = numbers(m, 6), *r = numbers(m, 7);
    ltn__forward(d, truth, y);
    for (size_t i = 0; i < m && e->differs; i++) y[i] += 0.01f * noise[i];
    for (double gamma = 0.1; gamma < 200; gamma *= 10) {
        test_name("%s, gamma %g", e->spec, gamma);
        ltn__prox(d, y, gamma, u, x);
        const double best = cost(d, 1 / gamma, y, u, x, r);
        CHECK(!e->differs || best <= cost(d, 1 / gamma, y, u, u, r) * (1 + 1e-6));
        for (int k = 0; k < 8 && e->differs; k++) {
            ltn__normals((ltn_rng){(uint64_t)k, 98}, 0, other, n);
            for (size_t i = 0; i < n; i++) other[i] = x[i] + 0.02f * other[i];
            CHECK(cost(d, 1 / gamma, y, u, other, r) >= best * (1 - 1e-3));
        }
    }
    memcpy(x, u, n * sizeof *x);
    ltn__prox(d, y, 2, x, x); /* in place */
    ltn__prox(d, y, 2, u, other);
    NEAR(distance(x, other, n), 0, 1e-6);
    ltn__prox(d, y, 0, u, x);
    NEAR(distance(x, u, n), 0, 1e-6);
    ltn__prox(d, y, INFINITY, u, x);
    for (size_t i = 0; i < n; i++) CHECK(isfinite(x[i]));
    free(truth), free(u), free(y), free(x), free(other), free(noise), free(r);
}
TEST(prox_is_the_least) { each(check_prox); }

/* The signed prox is that of [0, 1]; the naive picture is finite. */
static void check_signed(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    const ltn_degradation s = ltn__signed(d);
    float *x = picture(d, 1), *u = picture(d, 2), *y = numbers(m, 3), *a = numbers(n, 4), *b = numbers(n, 5),
          *back = numbers(n, 6);
    ltn__forward(d, x, y);
    ltn__prox(d, y, 3, u, a);
    ltn__naive(d, y, back);
    for (size_t i = 0; i < n; i++) CHECK(isfinite(back[i]));
    ltn__to_signed(&s, y, y);
    for (size_t i = 0; i < n; i++) u[i] = 2 * u[i] - 1;
    ltn__prox(&s, y, 3, u, b);
    for (size_t i = 0; i < n; i++) b[i] = (b[i] + 1) / 2;
    NEAR(distance(b, a, n), 0, d->n == 1 ? 1e-5 : 2e-3);
    free(x), free(u), free(y), free(a), free(b), free(back);
}
TEST(in_both_ranges) { each(check_signed); }

/* gamma = infinity on clipped values: what was measured is met, what was lost stays u's, on its side of the end. */
TEST(clipped_values)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, "clip:gain=2", 4, 1, 1, &d));
    const float y[4] = {0.5f, 1, 1, 0}, u[4] = {0.9f, 0.9f, 0.6f, 0.1f}, want[4] = {0.5f, 0.9f, 0.75f, 0.1f};
    float x[4];
    ltn__prox(d, y, INFINITY, u, x);
    for (int i = 0; i < 4; i++) NEAR(x[i], want[i], 1e-6);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- Phases ---- */
/* Without masks a picture and itself turned by 180 degrees have one measurement; the search finds it from exact values,
 * the brighter half above or, turned, the darker; and channels alike. */
TEST(what_amid_zeros_is_found)
{
    enum { WIDTH = 16, HEIGHT = 12, N = WIDTH * HEIGHT };
    ltn_ctx *ctx = context();
    float x[3 * N], turned[3 * N], y[12 * N], same[12 * N], found[3 * N];
    for (size_t i = 0; i < 3 * N; i++) {
        const float row = (float)(i % N / WIDTH) / HEIGHT, column = (float)(i % WIDTH) / WIDTH;
        x[i] = 0.8f - 0.4f * row + 0.15f * sinf(9 * row + 7 * column + (float)(i / N)) * cosf(11 * column);
        turned[i / N * N + N - 1 - i % N] = x[i];
    }
    for (int k = 0; k < 2; k++) {
        ltn_degradation *d = NULL;
        test_name("turned=%d", k);
        OK(ctx,
           ltn_degradation_open(ctx, k ? "phase:oversample=2,turned=1" : "phase:oversample=2", WIDTH, HEIGHT, 3, &d));
        ltn__forward(d, x, y);
        ltn__forward(d, turned, same);
        NEAR(distance(same, y, 12 * N), 0, 1e-5);
        ltn__naive(d, y, found);
        NEAR(distance(found, k ? turned : x, 3 * N), 0, 0.01);
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

/* ---- JPEG ---- */
static const struct {
    const char *name, *spec;
} files[] = {{"420_10", "jpeg:quality=10"}, {"420_60", "jpeg:quality=60"}, {"444_30", "jpeg:quality=30,chroma=4:4:4"},
             {"odd_20", "jpeg:quality=20"}, {"grey_20", "jpeg:quality=20"}};

static ltn_image bytes(ltn_ctx *ctx, ltn_tensors *t, const char *what, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", what, name);
    const ltn_image all = tensor(ctx, t, full);
    ltn_image out = {0};
    OK(ctx, ltn_image_new(ctx, all.width, all.height, all.channels, NULL, &out));
    for (int i = 0; i < all.width * all.height * all.channels; i++) out.data[i] = all.data[i] / 255;
    return out;
}

/* What A makes of x against a decoder's y: the rms of what is off by a level at most, and the share of the rest. */
static void compare(ltn_ctx *ctx, const char *spec, const ltn_image *x, const ltn_image *want, double *rms, double *off)
{
    ltn_degradation *d = NULL;
    ltn_image y = {0};
    OK(ctx, ltn_degradation_open(ctx, spec, x->width, x->height, x->channels, &d));
    OK(ctx, ltn_degrade(d, x, NULL, 0, &y));
    const int n = x->width * x->height * x->channels;
    double square = 0;
    *off = 0;
    for (int k = 0; k < n; k++) {
        const double e = 255 * fabs((double)y.data[k] - want->data[k]);
        square += e > 1.5 ? 0 : e * e / n;
        *off += e > 1.5 ? 1.0 / n : 0;
    }
    *rms = sqrt(square);
    ltn_image_free(ctx, &y);
    ltn_degradation_close(&d);
}

/* Pillow's files, whose integers round in other places: to a level in nearly all pixels, but for a block here and there
 * in which a coefficient between two multiples went the other way. */
TEST(jpeg_as_pillow)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "operators.safetensors");
    for (int i = 0; i < LTN_COUNT(files); i++) {
        ltn_image x = bytes(ctx, t, "jpeg_from_", files[i].name), want = bytes(ctx, t, "jpeg_", files[i].name);
        double rms, off;
        compare(ctx, files[i].spec, &x, &want, &rms, &off);
        test_name("%s: rms %.3f, %.3f off by more than one", files[i].name, rms, off);
        CHECK(rms < 0.7 && off < 0.07);
        ltn_image_free(ctx, &x), ltn_image_free(ctx, &want);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* A prox that y hardly pulls is the projection on what may have become y: it lies nearer to the truth than u does,
 * stays where it is when done again, and leaves the truth alone. Rounding's deviation is known to a factor of two. */
static void check_intervals(ltn_ctx *ctx, const char *spec, const ltn_image *x, bool cut)
{
    ltn_image y = {0}, again = {0}, u = {0}, near = {0};
    ltn_degradation *d = NULL;
    double sigma = 0;
    OK(ctx, ltn_degradation_open(ctx, spec, x->width, x->height, x->channels, &d));
    OK(ctx, ltn_degrade(d, x, NULL, 0, &y));
    const size_t n = ltn__size_count(d->x);
    OK(ctx, ltn_image_new(ctx, x->width, x->height, x->channels, NULL, &u));
    for (size_t k = 0; k < n; k++) u.data[k] = x->data[k] + 0.05f * (float)ltn__normal((ltn_rng){1, 9}, k);
    OK(ctx, ltn_prox(d, &y, 1e-6, &u, &near));
    OK(ctx, ltn_prox(d, &y, 1e-6, &near, &again));
    CHECK(distance(near.data, u.data, n) > 1e-3);
    if (!cut) NEAR(distance(again.data, near.data, n), 0, 1e-4);
    CHECK(distance(near.data, x->data, n) < distance(u.data, x->data, n));
    ltn_image_free(ctx, &near);
    OK(ctx, ltn_prox(d, &y, 1e-6, x, &near));
    NEAR(distance(near.data, x->data, n), 0, cut ? 0.05 : 0.01);
    OK(ctx, ltn_noise_level(d, &y, NULL, &sigma));
    double square = 0;
    for (size_t k = 0; k < n; k++) square += pow((double)y.data[k] - x->data[k], 2) / (double)n;
    CHECK(sigma > 0.5 * sqrt(square) && sigma < 2 * sqrt(square));
    ltn_image *const all[] = {&y, &again, &u, &near};
    for (int k = 0; k < LTN_COUNT(all); k++) ltn_image_free(ctx, all[k]);
    ltn_degradation_close(&d);
}

TEST(jpeg_keeps_the_intervals)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "operators.safetensors");
    for (int i = 0; i < LTN_COUNT(files); i++) {
        ltn_image x = bytes(ctx, t, "jpeg_from_", files[i].name);
        test_name("%s", files[i].name);
        check_intervals(ctx, files[i].spec, &x, !strcmp(files[i].name, "odd_20"));
        ltn_image_free(ctx, &x);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* Files of the same picture with tables of their own (tools/golden/operators.py): table k has 12 + k in its corner,
 * `right` more for each column, `down` more for each row. The one that lies on its side comes back upright, its tables
 * with it. */
static const struct {
    const char *file, *chroma;
    int n, right, down, turn;
} own[] = {{"jpeg_own_420.jpg", "4:2:0", 2, 7, 3, 1}, {"jpeg_own_444.jpg", "4:4:4", 3, 7, 3, 1},
           {"jpeg_own_turned.jpg", "4:4:4", 1, 3, 7, 6}};

TEST(jpeg_with_tables_of_its_own)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "operators.safetensors");
    for (int i = 0; i < LTN_COUNT(own); i++) {
        ltn_image x = bytes(ctx, t, "jpeg_from_", "420_10"), y = {0};
        char spec[1024], expected[1024] = "jpeg:tables=", nearest[64];
        size_t at = strlen(expected);
        int n = 0;
        OK(ctx, ltn__image_orient(ctx, &x, own[i].turn));
        OK(ctx, ltn_image_read(ctx, test_golden(own[i].file), &y));
        OK(ctx, ltn_resolve(ctx, "jpeg", &y, NULL, spec, sizeof spec));
        for (int k = 0; k < 64 * own[i].n; k++)
            at += (size_t)snprintf(expected + at, sizeof expected - at, "%s%d", !k ? "" : k % 64 ? ":" : "/",
                                   12 + k / 64 + own[i].right * (k % 8) + own[i].down * (k % 64 / 8));
        snprintf(expected + at, sizeof expected - at, ",chroma=%s", own[i].chroma);
        test_name("%s: %s", own[i].file, spec);
        CHECK(!strcmp(spec, expected));
        CHECK(ltn_image_jpeg_tables(&y, &n) && n == own[i].n);
        double rms, off, rms_of_quality, off_of_quality;
        compare(ctx, spec, &x, &y, &rms, &off);
        snprintf(nearest, sizeof nearest, "jpeg:quality=%d,chroma=%s", ltn_image_jpeg_quality(&y, NULL), own[i].chroma);
        compare(ctx, nearest, &x, &y, &rms_of_quality, &off_of_quality);
        test_name("%s: rms %.3f, %.3f off by more than one; %s %.3f, %.3f", own[i].file, rms, off, nearest,
                  rms_of_quality, off_of_quality);
        CHECK(rms < 0.7 && off < 0.07);
        CHECK(off_of_quality > 0.2);
        check_intervals(ctx, spec, &x, false);
        ltn_image_free(ctx, &x), ltn_image_free(ctx, &y);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(quality_by_its_tables_is_the_same)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx, "operators.safetensors");
    ltn_image x = bytes(ctx, t, "jpeg_from_", "420_10"), y = {0}, a = {0}, b = {0};
    ltn_degradation *by[2] = {NULL};
    char spec[1024];
    OK(ctx, ltn_image_write(ctx, test_temp("q.jpg"), &x, &(ltn_write_options){.quality = 30}));
    OK(ctx, ltn_image_read(ctx, test_temp("q.jpg"), &y));
    OK(ctx, ltn_resolve(ctx, "jpeg:tables=auto,chroma=4:2:0", &y, NULL, spec, sizeof spec));
    CHECK(!strncmp(spec, "jpeg:tables=27:18:17:27:40:66:85:101:20:", 40));
    OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, 3, &by[0]));
    OK(ctx, ltn_degradation_open(ctx, "jpeg:quality=30", x.width, x.height, 3, &by[1]));
    OK(ctx, ltn_degrade(by[0], &x, NULL, 0, &a));
    OK(ctx, ltn_degrade(by[1], &x, NULL, 0, &b));
    CHECK(!memcmp(a.data, b.data, ltn__size_count(by[0]->x) * sizeof *a.data));
    for (int i = 0; i < 2; i++) ltn_degradation_close(&by[i]);
    ltn_image *const all[] = {&x, &y, &a, &b};
    for (int k = 0; k < LTN_COUNT(all); k++) ltn_image_free(ctx, all[k]);
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* "first", then n - 1 times ":7", then "end". */
static bool tables_refused(ltn_ctx *ctx, const char *first, int n, const char *end, const char *why)
{
    char spec[1024];
    ltn_degradation *d = NULL;
    size_t at = (size_t)snprintf(spec, sizeof spec, "jpeg:tables=%s", first);
    for (int i = 1; i < n; i++) at += (size_t)snprintf(spec + at, sizeof spec - at, i % 64 ? ":7" : "/7");
    snprintf(spec + at, sizeof spec - at, "%s", end);
    test_name("%s", spec);
    return ltn_degradation_open(ctx, spec, 8, 8, 1, &d) == LTN_EINVAL && !d && strstr(ltn_error(ctx), why);
}

TEST(tables_that_are_none)
{
    ltn_ctx *ctx = context();
    ltn_image x = {0}, y = {0};
    char spec[64];
    CHECK(tables_refused(ctx, "0", 64, "", "\"0\", number 1, is no whole number from 1 to 255"));
    CHECK(tables_refused(ctx, "7", 63, ":256", "\"256\", number 64, is no whole number from 1 to 255"));
    CHECK(tables_refused(ctx, "1.5", 64, "", "\"1.5\", number 1, is"));
    CHECK(tables_refused(ctx, "", 1, "", "\"\", number 1, is"));
    CHECK(tables_refused(ctx, "auto", 1, "", "\"auto\", number 1, is"));
    CHECK(tables_refused(ctx, "7", 64, "/", "\"\", number 65, is"));
    CHECK(tables_refused(ctx, "7", 63, "", "after number 63 stands \"\""));
    CHECK(tables_refused(ctx, "7", 64, ":7", "after number 64 stands \":7\""));
    CHECK(tables_refused(ctx, "7", 100, "", "expected one to three of 64 numbers"));
    CHECK(tables_refused(ctx, "7", 192, "/7", "after number 192 stands \"/7\""));
    CHECK(tables_refused(ctx, "7", 2, " 7", "after number 2 stands \" 7\""));
    CHECK(tables_refused(ctx, "7", 64, ",quality=30", "quality and tables exclude each other"));
    OK(ctx, ltn_image_new(ctx, 8, 8, 1, NULL, &x));
    CHECK(ltn_resolve(ctx, "jpeg:tables=auto", &x, NULL, spec, sizeof spec) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "tables=auto: the measurement was not read from a JPEG file"));
    OK(ctx, ltn_image_write(ctx, test_temp("q.jpg"), &x, NULL));
    OK(ctx, ltn_image_read(ctx, test_temp("q.jpg"), &y));
    CHECK(ltn_resolve(ctx, "jpeg:tables=auto", &y, NULL, spec, sizeof spec) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "longer than 63 letters"));
    ltn_image_free(ctx, &x);
    ltn_image_free(ctx, &y);
    ltn_close(&ctx);
}

/* ---- Who refuses them, and what makes no picture ---- */
TEST(refused_in_one_line)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    float v[192] = {0};
    const ltn_image y = {8, 8, 1, v, NULL};
    ltn_image x;
    ltn_run *run = NULL;
    double sigma;
    OK(ctx, ltn_degradation_open(ctx, "clip", 8, 8, 1, &d));
    CHECK(ltn_adjoint(d, &y, &x) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "the adjoint needs a linear degradation, and \"clip\" is none"));
    CHECK(ltn__svd_needed(d, "ddrm") == LTN_EINVAL);
    static const char *const solver[] = {"wiener", "tikhonov"};
    for (int i = 0; i < LTN_COUNT(solver); i++) {
        const ltn_task task = {.degradation = d, .y = &y, .sigma = 0.1, .solver = solver[i]};
        CHECK(ltn_run_open(ctx, &task, &run) == LTN_EINVAL && strstr(ltn_error(ctx), solver[i]) &&
              strstr(ltn_error(ctx), "linear"));
    }
    ltn_degradation_close(&d);
    OK(ctx, ltn_degradation_open(ctx, "blur:sigma=1+phase:masks=1", 8, 8, 1, &d));
    CHECK(!ltn_degradation_makes_picture(d));
    CHECK(ltn_noise_level(d, &y, NULL, &sigma) == LTN_EINVAL && strstr(ltn_error(ctx), "give sigma"));
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

TEST(every_allocation_fails_once)
{
    for (int i = 0; i < LTN_COUNT(examples); i++) {
        const example *e = &examples[i];
        each_allocation_fails(e->spec, e->width, e->height, e->channels);
    }
}
