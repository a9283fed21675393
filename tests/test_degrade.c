/* test_degrade.c - every example spec below is an operator: its adjoint, linearity and prox are checked; golden values
 * come from deepinv, PIL and SciPy (tools/golden/degrade.py). */
#include <unistd.h>

#include "degrade/degrade.h"
#include "degrade/fourier.h"
#include "degrade/resample.h"
#include "file/file.h"
#include "test.h"

typedef struct example {
    const char *spec;
    int width, height, channels;
    double most_gamma; /* up to which the prox solves its equation to 1e-5; conjugate gradients stop after 200 steps */
} example;

static const example examples[] = {
    {"identity", 37, 53, 3, INFINITY},
    {"denoise", 1, 1, 1, INFINITY},
    {"downsample:factor=4", 64, 48, 3, INFINITY},
    {"downsample:factor=3,filter=lanczos", 37, 53, 3, INFINITY},
    {"downsample:factor=2,filter=box", 31, 17, 2, INFINITY},
    {"downsample:factor=2,filter=bilinear", 40, 31, 1, INFINITY},
    {"downsample:factor=4,filter=gaussian", 37, 53, 1, 1e3},
    {"downsample:factor=5,filter=none", 37, 53, 1, INFINITY},
    {"downsample:factor=1", 37, 11, 1, INFINITY},
    {"downsample:factor=7", 7, 7, 3, INFINITY},
    {"upscale:factor=4,boundary=circular", 32, 48, 3, INFINITY},
    {"sr:factor=4,boundary=circular,order=correlation", 37, 53, 1, INFINITY},
    {"downsample:factor=2,filter=gaussian,boundary=circular", 32, 48, 1, 1e3},
    {"blur:sigma=3", 37, 53, 3, 1e6},
    {"blur:sigma=3,boundary=circular", 37, 53, 3, 1e6},
    {"blur:sigma=1,boundary=circular", 1, 200, 1, 1e6},
    {"blur:sigma=1", 200, 1, 1, 1e6},
    {"blur:sigma=1", 1, 1, 1, 1e6},
    {"blur:sigma=20", 16, 11, 1, 1e6},
    {"blur:sigma=20,boundary=circular", 16, 11, 1, 1e6},
    {"blur:sigma=1.5,boundary=valid", 37, 53, 2, 1e3},
    {"motion:size=15,seed=3", 37, 53, 1, 1e3},
    {"motion:size=15,seed=3,order=correlation,boundary=circular", 64, 48, 3, 1e6},
    {"motion:size=9,bend=4,boundary=valid", 37, 53, 1, 1e3},
    {"motion:size=41,seed=5", 16, 9, 1, 1e2},
    {"defocus:radius=2.5", 37, 53, 3, 1e6},
    {"defocus:radius=4,boundary=circular", 97, 31, 1, 1e6},
    {"inpaint:random=0.5,seed=3", 37, 53, 3, INFINITY},
    {"inpaint:box=3:4:10:5/20:1:2:2", 37, 53, 3, INFINITY},
    {"colorize", 37, 53, 3, INFINITY},
    {"blur:sigma=1+downsample:factor=2", 37, 53, 3, 1e3},
    {"blur:sigma=1+downsample:factor=2+inpaint:random=0.3", 37, 53, 1, 1e2},
    {"downsample:factor=2+colorize", 24, 26, 3, 1e3},
};

static ltn_ctx *context(void)
{
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, &(ltn_options){.threads = 2})) abort();
    return ctx;
}

static float *numbers(size_t n, uint64_t seed)
{
    float *v = malloc(n * sizeof *v);
    ltn__normals((ltn_rng){seed, 99}, 0, v, n);
    return v;
}

static double dot(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += (double)a[i] * b[i];
    return s;
}

static double norm(const float *a, size_t n) { return sqrt(dot(a, a, n)); }

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) s += pow((double)a[i] - b[i], 2);
    return sqrt(s) / fmax(norm(b, n), 1e-30);
}

/* Calls f on every example, opened. */
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

static void check_adjoint(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *x = numbers(n, 1), *y = numbers(m, 2), *ax = numbers(m, 3), *aty = numbers(n, 4);
    ltn__forward(d, x, ax);
    ltn__adjoint(d, y, aty);
    NEAR(dot(ax, y, m), dot(x, aty, n), 1e-5 * fmax(norm(ax, m) * norm(y, m), 1e-3));
    CHECK(norm(ax, m) > 0);
    free(x), free(y), free(ax), free(aty);
}
TEST(adjoint) { each(check_adjoint); }

static void check_linear(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *a = numbers(n, 1), *b = numbers(n, 2), *aa = numbers(m, 3), *ab = numbers(m, 4), *sum = numbers(m, 5);
    ltn__forward(d, a, aa);
    ltn__forward(d, b, ab);
    for (size_t i = 0; i < n; i++) a[i] = 3 * a[i] - 2 * b[i];
    ltn__forward(d, a, sum);
    for (size_t i = 0; i < m; i++) aa[i] = 3 * aa[i] - 2 * ab[i];
    NEAR(distance(sum, aa, m), 0, 1e-5);
    free(a), free(b), free(aa), free(ab), free(sum);
}
TEST(linear) { each(check_linear); }

/* |(A^T A + l) x - (A^T y + l u)| / |A^T y + l u|, l = 1/gamma. */
static double prox_error(ltn_degradation *d, double gamma, const float *y, const float *u, const float *x)
{
    const size_t n = ltn__size_count(d->x), m = ltn__size_count(d->y);
    float *t = numbers(m, 1), *left = numbers(n, 1), *right = numbers(n, 1);
    ltn__forward(d, x, t);
    ltn__adjoint(d, t, left);
    ltn__adjoint(d, y, right);
    for (size_t i = 0; i < n; i++) {
        left[i] += (float)(x[i] / gamma);
        right[i] += (float)(u[i] / gamma);
    }
    const double e = distance(left, right, n);
    free(t), free(left), free(right);
    return e;
}

static void check_prox(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *y = numbers(m, 1), *u = numbers(n, 2), *x = numbers(n, 3), *clean = numbers(m, 4);
    ltn__forward(d, x, clean);
    for (size_t i = 0; i < m; i++) y[i] = clean[i] + 0.05f * y[i];
    free(clean);
    for (double gamma = 1e-4; gamma <= fmin(e->most_gamma, 1e6); gamma *= 10) {
        test_name("%s on %d x %d, gamma %g", e->spec, e->width, e->height, gamma);
        const int steps = ltn__prox(d, y, gamma, u, x);
        NEAR(prox_error(d, gamma, y, u, x), 0, 1e-5);
        CHECK(steps <= 200);
        CHECK((steps == 0) == !d->cg[0]);
    }
    memcpy(x, u, n * sizeof *x);
    ltn__prox(d, y, 0.5, x, x); /* in place */
    float *z = numbers(n, 4);
    ltn__prox(d, y, 0.5, u, z);
    NEAR(distance(x, z, n), 0, 1e-6);
    ltn__prox(d, y, 0, u, x); /* no data */
    NEAR(distance(x, u, n), 0, 1e-6);
    free(y), free(u), free(x), free(z);
}
TEST(prox_solves_its_equation) { each(check_prox); }

/* gamma = INFINITY: A x = y for a y that has a picture, and x - u in the range of A^T (seen by a second prox: it stays). */
static void check_exact(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    CHECK((e->most_gamma == INFINITY) == (d->n == 1 && d->part[0].map.exact));
    float *truth = numbers(n, 1), *u = numbers(n, 2), *y = numbers(m, 3), *x = numbers(n, 4), *ax = numbers(m, 5);
    ltn__forward(d, truth, y);
    ltn__prox(d, y, INFINITY, u, x);
    for (size_t i = 0; i < n; i++) CHECK(isfinite(x[i]));
    if (e->most_gamma == INFINITY) {
        ltn__forward(d, x, ax);
        NEAR(distance(ax, y, m), 0, 1e-5);
        double inner = 0; /* x - u is orthogonal to truth - x, which A does not see */
        for (size_t i = 0; i < n; i++) inner += ((double)x[i] - u[i]) * ((double)truth[i] - x[i]);
        NEAR(inner / (norm(truth, n) * norm(u, n)), 0, 1e-5);
    }
    free(truth), free(u), free(y), free(x), free(ax);
}
TEST(exact_where_claimed) { each(check_exact); }

/* The naive picture is defined, and of a flat picture it is that picture. */
static void check_naive(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *x = numbers(n, 1), *y = numbers(m, 2), *s = numbers(m, 3);
    for (size_t i = 0; i < n; i++) x[i] = 0.25f;
    ltn__forward(d, x, y);
    ltn__to_signed(d, y, s);
    ltn__naive(d, y, x);
    for (size_t i = 0; i < n; i++) NEAR(x[i], 0.25, 1e-5);
    for (size_t i = 0; i < n; i++) x[i] = 2 * 0.25f - 1;
    ltn__forward(d, x, y);
    for (size_t i = 0; i < m; i++) NEAR(s[i], y[i], 1e-5);
    free(x), free(y), free(s);
}
TEST(naive_and_signed) { each(check_naive); }

static void check_for(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    ltn_degradation *back = NULL;
    const ltn_image y = {d->y.width, d->y.height, d->y.channels, NULL, NULL};
    OK(d->ctx, ltn_degradation_open_for(d->ctx, e->spec, &y, &back));
    if (back) CHECK(back->y.width == d->y.width && back->y.height == d->y.height && back->y.channels == d->y.channels);
    ltn_degradation_close(&back);
}
TEST(opened_for_a_measurement) { each(check_for); }

/* Conjugate gradients, not something slower that also arrives: 12 distinct eigenvalues end after about 12 steps. */
TEST(conjugate_gradients_are_quick)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "identity+blur:sigma=1.2,boundary=circular", 32, 32, 1, &d));
    float *y = numbers(1024, 1), *u = numbers(1024, 2), *x = numbers(1024, 3);
    const int steps = ltn__prox(d, y, 100, u, x);
    CHECK(steps > 10 && steps <= 60);
    NEAR(prox_error(d, 100, y, u, x), 0, 3e-6);
    CHECK(ltn__prox(d, y, 100, x, x) <= steps);
    const int warm = ltn__prox(d, y, 1e-4, u, x);
    CHECK(warm > 0 && warm <= 4);
    free(y), free(u), free(x);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- The tools below ---- */
TEST(transforms_of_any_length)
{
    ltn_ctx *ctx = context();
    const int sizes[][2] = {{1, 1}, {2, 3}, {1, 8}, {13, 1}, {16, 12}, {17, 26}, {97, 29}, {101, 40}};
    for (int i = 0; i < LTN_COUNT(sizes); i++)
        for (int basis = LTN_FOURIER; basis <= LTN_COSINE; basis++) {
            const int w = sizes[i][0], h = sizes[i][1], n = w * h;
            ltn_plane p = {0};
            test_name("%d x %d, basis %d", w, h, basis);
            OK(ctx, ltn__plane_open(ctx, (ltn_basis)basis, w, h, &p));
            float *x = numbers((size_t)n, 1), *back = numbers((size_t)n, 2), *f = numbers(ltn__plane_floats(&p), 3);
            ltn__plane_forward(&p, x, f);
            ltn__plane_inverse(&p, f, back);
            NEAR(distance(back, x, (size_t)n), 0, 2e-6);
            for (int a = 0; a < p.lines; a += 1 + p.lines / 3)
                for (int b = 0; b < h; b += 1 + h / 3) {
                    double re = 0, im = 0;
                    for (int k = 0; k < n; k++) {
                        const double u = k % w, v = k / w;
                        if (basis == LTN_COSINE) re += x[k] * cos(M_PI * a * (u + .5) / w) * cos(M_PI * b * (v + .5) / h);
                        else re += x[k] * cos(2 * M_PI * (a * u / w + b * v / h)), im -= x[k] * sin(2 * M_PI * (a * u / w + b * v / h));
                    }
                    const int at = a * h + b;
                    NEAR(f[basis == LTN_COSINE ? at : 2 * at], re, 1e-5 * n);
                    if (basis == LTN_FOURIER) NEAR(f[2 * at + 1], im, 1e-5 * n);
                }
            free(x), free(back), free(f);
            ltn__plane_close(&p);
        }
    ltn_close(&ctx);
}

TEST(eigenvectors)
{
    ltn_ctx *ctx = context();
    for (int n = 1; n <= 33; n += 8)
        for (int kind = 0; kind < 3; kind++) {
            double *a = calloc((size_t)(n * n), sizeof *a), *v = calloc((size_t)(n * n), sizeof *v), *d = calloc((size_t)n, sizeof *d);
            test_name("%d x %d, kind %d", n, n, kind);
            for (int i = 0; i < n; i++)
                for (int j = 0; j <= i; j++)
                    a[i * n + j] = a[j * n + i] =
                        kind == 0 ? ltn__normal((ltn_rng){7, 1}, (uint64_t)(i * n + j)) : kind == 1 ? i == j : 1.0 / (1 + i + j);
            memcpy(v, a, (size_t)(n * n) * sizeof *v);
            OK(ctx, ltn__eigen(ctx, n, v, d));
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) {
                    double unit = 0, back = 0;
                    for (int k = 0; k < n; k++) unit += v[i * n + k] * v[j * n + k], back += v[k * n + i] * d[k] * v[k * n + j];
                    NEAR(unit, i == j, 1e-12);
                    NEAR(back, a[i * n + j], 1e-12 * n);
                }
            free(a), free(v), free(d);
        }
    ltn_close(&ctx);
}
