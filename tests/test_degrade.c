/* test_degrade.c - every example spec below is an operator: its adjoint, linearity and prox are checked;
 * golden values come from deepinv, PIL and SciPy (tools/golden/degrade.py). */
#include <unistd.h>

#include "degrade/degrade.h"
#include "degrade/fourier.h"
#include "degrade/resample.h"
#include "file/file.h"
#include "test.h"

typedef struct example {
    const char *spec;
    int width, height, channels;
    double most_gamma; /* up to which the prox solves its equation to 1e-5 */
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
    {"blur:sigma=1.5,boundary=valid", 37, 53, 2, 1e4},
    {"motion:size=15,seed=3", 37, 53, 1, 1e3},
    {"motion:size=15,seed=3,order=correlation,boundary=circular", 64, 48, 3, 1e6},
    {"motion:size=9,bend=4,boundary=valid", 37, 53, 1, 1e6},
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
    float *a = numbers(n, 1), *b = numbers(n, 2), *aa = numbers(m, 3), *ab = numbers(m, 4),
          *sum = numbers(m, 5);
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

/* gamma = INFINITY: A x = y for a y that has a picture, and x - u in the range of A^T (seen by a second prox:
 * it stays). */
static void check_exact(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    CHECK((e->most_gamma == INFINITY) == (d->n == 1 && d->part[0].map.exact));
    float *truth = numbers(n, 1), *u = numbers(n, 2), *y = numbers(m, 3), *x = numbers(n, 4),
          *ax = numbers(m, 5);
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
    if (back)
        CHECK(back->y.width == d->y.width && back->y.height == d->y.height &&
              back->y.channels == d->y.channels);
    ltn_degradation_close(&back);
}
TEST(opened_for_a_measurement) { each(check_for); }

/* Conjugate gradients, not something slower that also arrives. */
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

/* The preconditioner knows the spectrum; without it 200 steps are too few here. */
TEST(preconditioned)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "motion:size=9,boundary=valid", 80, 60, 1, &d));
    float *y = numbers(4800, 1), *u = numbers(4800, 2), *x = numbers(4800, 3);
    ltn__forward(d, x, y);
    const int steps = ltn__prox(d, y, 1e4, u, x);
    CHECK(steps > 5 && steps <= 170);
    free(y), free(u), free(x);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* The same numbers from one thread and from three, on pictures large enough to be shared out. */
TEST(threads_agree)
{
    static const char *specs[] = {"downsample:factor=3", "blur:sigma=2", "blur:sigma=2,boundary=circular",
                                  "motion:size=9"};
    enum { W = 151, H = 130, N = 3 * W * H };
    float *x = numbers(N, 1), *u = numbers(N, 2), *first = numbers(N, 3), *y = numbers(N, 4);
    for (int i = 0; i < LTN_COUNT(specs); i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            ltn_ctx *ctx = NULL;
            ltn_degradation *d = NULL;
            float *out = numbers(N, 5);
            test_name("%s, %d threads", specs[i], threads);
            if (ltn_open(&ctx, &(ltn_options){.threads = threads})) abort();
            OK(ctx, ltn_degradation_open(ctx, specs[i], W, H, 3, &d));
            ltn__forward(d, x, y);
            ltn__prox(d, y, 10, u, out);
            if (threads == 1) memcpy(first, out, N * sizeof *out);
            CHECK(!memcmp(first, out, N * sizeof *out));
            NEAR(prox_error(d, 10, y, u, out), 0, 1e-5);
            free(out);
            ltn_degradation_close(&d);
            ltn_close(&ctx);
        }
    free(x), free(u), free(first), free(y);
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
            float *x = numbers((size_t)n, 1), *back = numbers((size_t)n, 2),
                  *f = numbers(ltn__plane_floats(&p), 3);
            ltn__plane_forward(&p, x, f);
            ltn__plane_inverse(&p, f, back);
            NEAR(distance(back, x, (size_t)n), 0, 2e-6);
            for (int a = 0; a < p.lines; a += 1 + p.lines / 3)
                for (int b = 0; b < h; b += 1 + h / 3) {
                    double re = 0, im = 0;
                    for (int k = 0; k < n; k++) {
                        const double u = k % w, v = k / w;
                        if (basis == LTN_COSINE)
                            re += x[k] * cos(M_PI * a * (u + .5) / w) * cos(M_PI * b * (v + .5) / h);
                        else
                            re += x[k] * cos(2 * M_PI * (a * u / w + b * v / h)),
                                im -= x[k] * sin(2 * M_PI * (a * u / w + b * v / h));
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
            double *a = calloc((size_t)(n * n), sizeof *a), *v = calloc((size_t)(n * n), sizeof *v),
                   *d = calloc((size_t)n, sizeof *d);
            test_name("%d x %d, kind %d", n, n, kind);
            for (int i = 0; i < n; i++)
                for (int j = 0; j <= i; j++) {
                    const double random = ltn__normal((ltn_rng){7, 1}, (uint64_t)(i * n + j));
                    const double value = kind == 0 ? random : kind == 1 ? i == j : 1.0 / (1 + i + j);
                    a[i * n + j] = a[j * n + i] = value;
                }
            memcpy(v, a, (size_t)(n * n) * sizeof *v);
            OK(ctx, ltn__eigen(ctx, n, v, d));
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++) {
                    double unit = 0, back = 0;
                    for (int k = 0; k < n; k++)
                        unit += v[i * n + k] * v[j * n + k], back += v[k * n + i] * d[k] * v[k * n + j];
                    NEAR(unit, i == j, 1e-12);
                    NEAR(back, a[i * n + j], 1e-12 * n);
                }
            free(a), free(v), free(d);
        }
    ltn_close(&ctx);
}

/* ---- Golden values ---- */
static ltn_tensors *golden(ltn_ctx *ctx)
{
    ltn_tensors *t = NULL;
    OK(ctx, ltn__tensors_open(ctx, test_golden("degrade.safetensors"), &t));
    return t;
}

/* A tensor's values and size; the tensors own them. */
static ltn_image tensor(ltn_ctx *ctx, ltn_tensors *t, const char *name)
{
    ltn_weight *w = ltn__tensors_find(t, name);
    test_name("%s", name);
    CHECK(w != NULL);
    if (!w) return (ltn_image){0};
    const bool plane = w->rank == 2;
    const real *v = ltn__weight_real(ctx, w);
    return (ltn_image){(int)w->dim[w->rank - 1], (int)w->dim[w->rank - 2], plane ? 1 : (int)w->dim[0],
                       (float *)(uintptr_t)v, NULL};
}

static const struct {
    const char *name, *spec, *from;
} values[] = {
    {"pil_bicubic", "downsample:factor=4", "x"},
    {"pil_bilinear", "downsample:factor=4,filter=bilinear", "x"},
    {"pil_box", "downsample:factor=4,filter=box", "x"},
    {"pil_lanczos", "downsample:factor=4,filter=lanczos", "x"},
    {"pil_none", "downsample:factor=4,filter=none", "x"},
    {"pil_odd_bicubic", "downsample:factor=3", "odd"},
    {"pil_odd_bilinear", "downsample:factor=3,filter=bilinear", "odd"},
    {"pil_odd_box", "downsample:factor=3,filter=box", "odd"},
    {"pil_odd_lanczos", "downsample:factor=3,filter=lanczos", "odd"},
    {"pil_odd_none", "downsample:factor=3,filter=none", "odd"},
    {"deepinv_bicubic", "downsample:factor=4,boundary=circular", "x"},
    {"correlation_bicubic", "downsample:factor=4,boundary=circular,order=correlation", "x"},
    {"deepinv_bilinear", "downsample:factor=4,filter=bilinear,boundary=circular", "x"},
    {"deepinv_gaussian", "downsample:factor=4,filter=gaussian,boundary=circular", "x"},
    {"deepinv_None", "downsample:factor=4,filter=none,boundary=circular", "x"},
    {"blur", "blur:sigma=2,boundary=circular", "x"},
    {"blur_mirror", "blur:sigma=2", "x"},
    {"kernel_circular", "blur:boundary=circular,kernel=", "x"},
    {"kernel_circular_correlation", "blur:boundary=circular,order=correlation,kernel=", "x"},
    {"kernel_valid", "blur:boundary=valid,kernel=", "x"},
    {"kernel_valid_correlation", "blur:boundary=valid,order=correlation,kernel=", "x"},
    {"kernel_mirror", "blur:kernel=", "x"},
    {"grey", "colorize", "x"},
};

static const char *kernel_file(ltn_ctx *ctx, ltn_tensors *t, const char *name)
{
    const ltn_image k = tensor(ctx, t, "kernel");
    const char *path = test_temp(name);
    OK(ctx, ltn_array_write(ctx, path, &(ltn_array){2, {k.height, k.width}, k.data}));
    return path;
}

TEST(golden_values)
{
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx);
    const char *kernel = kernel_file(ctx, t, "kernel.npy");
    for (int i = 0; i < LTN_COUNT(values); i++) {
        char spec[1024];
        const size_t n = strlen(values[i].spec);
        snprintf(spec, sizeof spec, "%s%s", values[i].spec, values[i].spec[n - 1] == '=' ? kernel : "");
        ltn_degradation *d = NULL;
        const ltn_image x = tensor(ctx, t, values[i].from), want = tensor(ctx, t, values[i].name);
        ltn_image y = {0};
        OK(ctx, ltn_degradation_open(ctx, spec, x.width, x.height, x.channels, &d));
        OK(ctx, ltn_degrade(d, &x, NULL, 0, &y));
        CHECK(y.width == want.width && y.height == want.height && y.channels == want.channels);
        NEAR(test_error(y.data, want.data, ltn__size_count(d->y)), 0, 1e-5);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(golden_prox)
{
    static const struct {
        const char *y, *adjoint, *prox, *spec;
        double gamma;
    } cases[] = {
        {"deepinv_bicubic", "deepinv_bicubic_adjoint", "deepinv_bicubic_prox",
         "downsample:factor=4,boundary=circular", 3},
        {"blur", NULL, "blur_prox", "blur:sigma=2,boundary=circular", 100},
    };
    ltn_ctx *ctx = context();
    ltn_tensors *t = golden(ctx);
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        const ltn_image y = tensor(ctx, t, cases[i].y), u = tensor(ctx, t, "u"),
                        want = tensor(ctx, t, cases[i].prox);
        ltn_degradation *d = NULL;
        ltn_image x = {0};
        OK(ctx, ltn_degradation_open_for(ctx, cases[i].spec, &y, &d));
        OK(ctx, ltn_prox(d, &y, cases[i].gamma, &u, &x));
        NEAR(test_error(x.data, want.data, ltn__size_count(d->x)), 0, 1e-5);
        ltn_image_free(ctx, &x);
        if (cases[i].adjoint) {
            const ltn_image back = tensor(ctx, t, cases[i].adjoint);
            OK(ctx, ltn_adjoint(d, &y, &x));
            NEAR(test_error(x.data, back.data, ltn__size_count(d->x)), 0, 1e-5);
            ltn_image_free(ctx, &x);
        }
        ltn_degradation_close(&d);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* ---- Files and what they may hold ---- */
static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f) abort();
    fputs(text, f);
    fclose(f);
}

/* The same kernel as text, as a picture and as an array gives the same blur. */
TEST(kernels_of_every_format)
{
    ltn_ctx *ctx = context();
    float taps[6] = {0.2f, 0, 1, 0.4f, 0.6f, 0.8f}, *x = numbers(20 * 20, 1), y[3][400];
    const char *path[3] = {test_temp("k.npy"), test_temp("k.png"), test_temp("k.txt")};
    OK(ctx, ltn_array_write(ctx, path[0], &(ltn_array){2, {2, 3}, taps}));
    OK(ctx, ltn_image_write(ctx, path[1], &(ltn_image){3, 2, 1, taps, NULL}, NULL));
    write_text(path[2], "2 3\n0.2 0 1\n4e-1 .6\t0.8\n");
    for (int i = 0; i < 3; i++) {
        char spec[600];
        ltn_degradation *d = NULL;
        snprintf(spec, sizeof spec, "blur:kernel=%s", path[i]);
        OK(ctx, ltn_degradation_open(ctx, spec, 20, 20, 1, &d));
        if (d) ltn__forward(d, x, y[i]);
        ltn_degradation_close(&d);
        NEAR(distance(y[i], y[0], 400), 0, 1e-5);
    }
    char spec[600];
    ltn_degradation *d = NULL;
    snprintf(spec, sizeof spec, "blur:kernel=%s,normalize=0", path[2]);
    OK(ctx, ltn_degradation_open(ctx, spec, 20, 20, 1, &d));
    if (d) {
        NEAR(d->one[0], 3, 1e-5);
        for (int i = 0; i < 400; i++) x[i] = (float)i / 400;
        ltn__forward(d, x, y[0]);
        ltn__to_signed(d, y[0], y[0]);
        for (int i = 0; i < 400; i++) x[i] = 2 * x[i] - 1;
        ltn__forward(d, x, y[1]);
        NEAR(distance(y[0], y[1], 400), 0, 1e-5);
    }
    ltn_degradation_close(&d);
    free(x);
    ltn_close(&ctx);
}

/* Random and boxed holes, a mask file, and all of them at once; the hole is 0 whatever the noise. */
TEST(masks)
{
    ltn_ctx *ctx = context();
    float white[12 * 10];
    for (int i = 0; i < 120; i++) white[i] = i % 12 < 9;
    OK(ctx, ltn_image_write(ctx, test_temp("mask.png"), &(ltn_image){12, 10, 1, white, NULL}, NULL));
    for (int invert = 0; invert < 2; invert++) {
        char spec[600];
        ltn_degradation *d = NULL;
        snprintf(spec, sizeof spec, "inpaint:mask=%s,invert=%d,box=0:0:2:3", test_temp("mask.png"), invert);
        OK(ctx, ltn_degradation_open(ctx, spec, 12, 10, 3, &d));
        if (!d) break;
        ltn_image x, y = {0};
        OK(ctx, ltn_image_new(ctx, 12, 10, 3, NULL, &x));
        for (int i = 0; i < 360; i++) x.data[i] = 0.5f;
        OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.1", 1, &y));
        size_t known = 0;
        for (int i = 0; i < 360; i++) {
            const int p = i % 120;
            const bool is = (white[p] > 0) != invert && !(p % 12 < 2 && p / 12 < 3);
            known += is;
            CHECK((y.data[i] != 0) == is);
        }
        CHECK(ltn__measured(d, NULL) == known);
        ltn_image_free(ctx, &x);
        ltn_image_free(ctx, &y);
        ltn_degradation_close(&d);
    }
    ltn_degradation *a = NULL, *b = NULL;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.3,seed=5", 100, 80, 1, &a));
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.3,seed=6", 100, 80, 1, &b));
    NEAR(ltn__measured(a, NULL) / 8000.0, 0.7, 0.02);
    CHECK(memcmp(a->one, b->one, 8000 * sizeof(float)));
    ltn_degradation_close(&a);
    ltn_degradation_close(&b);
    ltn_close(&ctx);
}

/* A linear ramp with half of its pixels gone comes back nearly whole. */
TEST(holes_are_filled)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    OK(ctx, ltn_degradation_open(ctx, "inpaint:random=0.5,box=20:10:8:8", 64, 40, 1, &d));
    float x[64 * 40], y[64 * 40], worst = 0;
    for (int i = 0; i < 64 * 40; i++) x[i] = (float)(i % 64) / 64;
    ltn__forward(d, x, y);
    ltn__naive(d, y, y);
    for (int i = 0; i < 64 * 40; i++) worst = fmaxf(worst, fabsf(x[i] - y[i]));
    NEAR(worst, 0, 0.06);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- Bad input: what the message must hold ---- */
TEST(bad_input)
{
    static const struct {
        const char *spec;
        int width, height, channels;
        ltn_status status;
        const char *says;
    } cases[] = {
        {"blurr:sigma=3", 9, 9, 1, LTN_EINVAL, "blur"},
        {"blur:sigme=3", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:sigma=-1", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:sigma=x", 9, 9, 1, LTN_EINVAL, "sigma"},
        {"blur:boundary=circle", 9, 9, 1, LTN_EINVAL, "circular"},
        {"blur:sigma=3,kernel=k.npy", 9, 9, 1, LTN_EINVAL, "exclude"},
        {"blur:kernel=/nowhere/k.npy", 9, 9, 1, LTN_EIO, "/nowhere/k.npy"},
        {"blur:sigma=3,boundary=valid", 9, 9, 1, LTN_ESHAPE, "23 x 23"},
        {"downsample:factor=8", 5, 20, 3, LTN_ESHAPE, "factor 8 is larger than the picture, 5 x 20"},
        {"downsample:factor=0", 9, 9, 1, LTN_EINVAL, "factor"},
        {"downsample:factor=2.5", 9, 9, 1, LTN_EINVAL, "factor"},
        {"inpaint", 9, 9, 1, LTN_EINVAL, "mask=FILE"},
        {"inpaint:box=1:2:3", 9, 9, 1, LTN_EINVAL, "x:y:width:height"},
        {"inpaint:box=1:2:3:4x", 9, 9, 1, LTN_EINVAL, "x:y:width:height"},
        {"inpaint:box=5:5:5:2", 9, 9, 1, LTN_ESHAPE, "9 x 9"},
        {"inpaint:random=1.5", 9, 9, 1, LTN_EINVAL, "random"},
        {"colorize", 9, 9, 1, LTN_ESHAPE, "1 channels"},
        {"identity", 0, 9, 1, LTN_ESHAPE, "empty"},
        {"identity", 1 << 16, 1 << 16, 3, LTN_ESHAPE, "too large"},
        {"blur+", 9, 9, 1, LTN_EINVAL, ""},
        {"", 9, 9, 1, LTN_EINVAL, ""},
        {"identity+identity+identity+identity+identity+identity+identity+identity+identity", 9, 9, 1,
         LTN_EINVAL, ""},
    };
    ltn_ctx *ctx = context();
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        ltn_degradation *d = (void *)1;
        test_name("%s", cases[i].spec);
        const ltn_status s = ltn_degradation_open(ctx, cases[i].spec, cases[i].width, cases[i].height,
                                                  cases[i].channels, &d);
        if (s != cases[i].status || !strstr(ltn_error(ctx), cases[i].says))
            test_fail(__FILE__, __LINE__, "%d: %s", s, ltn_error(ctx));
        CHECK(!d);
    }
    CHECK(ltn_degradation_open(ctx, NULL, 9, 9, 1, &(ltn_degradation *){NULL}) == LTN_EINVAL);
    ltn_close(&ctx);
}

TEST(bad_files)
{
    ltn_ctx *ctx = context();
    float v[12 * 10] = {0};
    OK(ctx, ltn_image_write(ctx, test_temp("small.png"), &(ltn_image){12, 10, 1, v, NULL}, NULL));
    write_text(test_temp("zero.txt"), "2 2\n0 0 0 0\n");
    write_text(test_temp("short.txt"), "2 2\n1 0 0\n");
    write_text(test_temp("huge.txt"), "99999 2\n1 0 0\n");
    write_text(test_temp("word.txt"), "2 2\n1 0 nan 0\n");
    OK(ctx, ltn_array_write(ctx, test_temp("cube.npy"), &(ltn_array){3, {2, 2, 2}, v}));
    static const struct {
        const char *spec, *file, *says;
    } cases[] = {
        {"inpaint:mask", "small.png", "the mask is 12 x 10, the picture 9 x 8"},
        {"inpaint:mask", "none.png", "none.png"},
        {"blur:kernel", "zero.txt", "sum is 0"},
        {"blur:kernel", "short.txt", "expected 4 numbers, found 3"},
        {"blur:kernel", "huge.txt", "at most 4096"},
        {"blur:kernel", "word.txt", "found 2"},
        {"blur:kernel", "cube.npy", "two dimensions"},
        {"blur:kernel", "small.png", "sum is 0"},
    };
    for (int i = 0; i < LTN_COUNT(cases); i++) {
        char spec[600];
        ltn_degradation *d = NULL;
        test_name("%s=%s", cases[i].spec, cases[i].file);
        snprintf(spec, sizeof spec, "%s=%s", cases[i].spec, test_temp(cases[i].file));
        CHECK(ltn_degradation_open(ctx, spec, 9, 8, 1, &d) < 0 && !d);
        CHECK(strstr(ltn_error(ctx), cases[i].says) &&
              strstr(ltn_error(ctx), cases[i].file[0] == 'z' ? "zero" : cases[i].file));
        const ltn_image y = {9, 8, 1, v, NULL};
        CHECK(ltn_degradation_open_for(ctx, spec, &y, &d) < 0 && !d);
    }
    ltn_close(&ctx);
}

TEST(bad_pictures)
{
    ltn_ctx *ctx = context();
    ltn_degradation *d = NULL;
    float v[64] = {0};
    const ltn_image right = {8, 8, 1, v, NULL}, wrong = {8, 4, 1, v, NULL};
    ltn_image out;
    OK(ctx, ltn_degradation_open(ctx, "identity", 8, 8, 1, &d));
    CHECK(ltn_degrade(d, &wrong, NULL, 0, &out) == LTN_ESHAPE && strstr(ltn_error(ctx), "8 x 4"));
    CHECK(ltn_adjoint(d, &wrong, &out) == LTN_ESHAPE && !out.data);
    CHECK(ltn_naive(d, &wrong, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &right, 1, &wrong, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &wrong, 1, &right, &out) == LTN_ESHAPE);
    CHECK(ltn_prox(d, &right, -1, &right, &out) == LTN_EINVAL && strstr(ltn_error(ctx), "gamma"));
    CHECK(ltn_prox(d, &right, NAN, &right, &out) == LTN_EINVAL);
    CHECK(ltn_degrade(d, &right, "gausian", 0, &out) == LTN_EINVAL && strstr(ltn_error(ctx), "gaussian"));
    CHECK(ltn_degrade(d, &right, "gaussian:sigma=-1", 0, &out) == LTN_EINVAL &&
          strstr(ltn_error(ctx), "sigma"));
    ltn_degradation_close(&d);
    ltn_degradation_close(&d);
    ltn_degradation_close(NULL);
    const ltn_image colours = {8, 8, 3, v, NULL}, huge = {1 << 20, 1, 1, v, NULL};
    CHECK(ltn_degradation_open_for(ctx, "colorize", &colours, &d) == LTN_ESHAPE);
    CHECK(ltn_degradation_open_for(ctx, "downsample:factor=1024+downsample:factor=1024", &huge, &d) ==
          LTN_ESHAPE);
    ltn_close(&ctx);
}

TEST(every_allocation_fails_once)
{
    for (int i = 0; i < LTN_COUNT(examples); i++) {
        const example *e = &examples[i];
        test_name("%s", e->spec);
        for (long k = 1;; k++) {
            test_memory m = {0};
            const ltn_options o = test_options(&m);
            ltn_ctx *ctx = NULL;
            ltn_degradation *d = NULL;
            if (ltn_open(&ctx, &o)) abort();
            m.fail_at = m.calls + k;
            const ltn_status s = ltn_degradation_open(ctx, e->spec, e->width, e->height, e->channels, &d);
            const bool reached = m.calls >= m.fail_at;
            if (reached) CHECK(s == LTN_ENOMEM && !d);
            ltn_degradation_close(&d);
            ltn_close(&ctx);
            CHECK(m.alive == 0);
            if (!reached) break;
        }
    }
}

/* ---- Noise ---- */
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
    ltn_tensors *t = golden(ctx);
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
