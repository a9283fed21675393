/* test_degrade.c - every example spec below is an operator: its adjoint, linearity, prox and singular values are
 * checked. */
#include "degrade.h"

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
    {"downsample:factor=3,boundary=mirror", 37, 53, 3, INFINITY},
    {"downsample:factor=7,boundary=mirror,filter=lanczos", 7, 8, 1, INFINITY},
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
    {"inpaint:scratches=5,text='Latino, 8 steps?',thick=1.5,seed=3", 37, 53, 3, INFINITY},
    {"blur:sigma=3,across=1,angle=30", 37, 53, 1, 1e4},
    {"blur:sigma=1.5,across=0.8,angle=-60,boundary=circular", 37, 53, 3, 1e6},
    {"varying:sigma=0.5,corner=2,levels=3", 37, 53, 3, 1e2},
    {"varying:boundary=circular,sigma=2,corner=1", 24, 26, 1, 1e2},
    {"varying:levels=1,boundary=valid,corner=1", 37, 53, 1, 1e2},
    {"varying:levels=5,boundary=valid,corner=1", 37, 53, 1, 1e2},
    {"colorize", 37, 53, 3, INFINITY},
    {"demosaic", 37, 53, 3, INFINITY},
    {"demosaic:pattern=gbrg", 24, 10, 3, INFINITY},
    {"bayer:pattern=bggr", 1, 1, 3, INFINITY},
    {"mri", 37, 53, 3, INFINITY},
    {"mri:acceleration=3,pattern=equispaced,centre=0.1,seed=2", 24, 26, 1, INFINITY},
    {"mri:acceleration=1", 8, 5, 1, INFINITY},
    {"compressed:ratio=0.3", 37, 53, 3, INFINITY},
    {"compressed:ratio=0.3,transform=hadamard,seed=4", 32, 16, 2, INFINITY},
    {"tomography:angles=20", 24, 24, 1, 1e2},
    {"tomography:angles=9,range=90,circle=1", 17, 17, 3, 1e2},
    {"blur:sigma=1+mri", 24, 26, 1, 1e2},
    {"tomography:angles=12+inpaint:random=0.3", 16, 16, 1, 1e2},
    {"blur:sigma=1+downsample:factor=2", 37, 53, 3, 1e3},
    {"blur:sigma=1+downsample:factor=2+inpaint:random=0.3", 37, 53, 1, 1e2},
    {"downsample:factor=2+colorize", 24, 26, 3, 1e3},
};

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
    ltn__prox_from(d, y, 0.5, u, x); /* from the solution, and from elsewhere */
    CHECK(ltn__prox_from(d, y, 0.5, u, x) <= 2);
    NEAR(distance(x, z, n), 0, 1e-5);
    for (size_t i = 0; i < n; i++) x[i] = y[i % m] - 3;
    ltn__prox_from(d, y, 0.5, u, x);
    NEAR(distance(x, z, n), 0, 1e-5);
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

/* The naive picture is defined, and of a flat picture it is that picture, where y is a picture. */
static void check_naive(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    float *x = numbers(n, 1), *y = numbers(m, 2), *s = numbers(m, 3);
    for (size_t i = 0; i < n; i++) x[i] = 0.25f;
    ltn__forward(d, x, y);
    ltn__to_signed(d, y, s);
    ltn__naive(d, y, x);
    for (size_t i = 0; i < n; i++) CHECK(d->abstract ? isfinite(x[i]) : fabs(x[i] - 0.25) <= 1e-5);
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

/* A = U S V^T, U and V orthonormal where s > 0, and the pseudo-inverse's four conditions, of which the prox's tests
 * hold two. */
static void check_svd(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    if (ltn__svd_needed(d, "ddrm")) {
        CHECK(d->n > 1 || !d->part[0].map.svd);
        CHECK(strstr(ltn_error(d->ctx), "ddrm") && strstr(ltn_error(d->ctx), e->spec));
        return;
    }
    const size_t r = ltn__svd_count(d);
    float *x = numbers(n, 1), *y = numbers(m, 2), *c = numbers(r, 3), *k = numbers(r, 4), *s = numbers(r, 5),
          *ax = numbers(m, 6), *back = numbers(n, 7);
    ltn__svd_values(d, s);
    ltn__forward(d, x, ax);
    ltn__svd_vt(d, x, c);
    for (size_t i = 0; i < r; i++) c[i] *= s[i];
    ltn__svd_u(d, c, y);
    bool cut = false; /* values below a thousandth are */
    for (size_t i = 0; i < r; i++) cut |= s[i] == 0;
    NEAR(distance(y, ax, m), 0, cut ? 1e-3 : 2e-5);
    ltn__svd_ut(d, ax, k);
    for (size_t i = 0; i < r; i++)
        if (s[i] == 0) k[i] = 0;
    NEAR(distance(k, c, r), 0, 2e-5);
    ltn__normals((ltn_rng){8, 99}, 0, c, r);
    for (size_t i = 0; i < r; i++) {
        CHECK(s[i] >= 0);
        if (s[i] == 0) c[i] = 0;
    }
    ltn__svd_v(d, c, back);
    NEAR(norm(back, n), norm(c, r), 1e-4 * norm(c, r));
    ltn__svd_vt(d, back, k);
    NEAR(distance(k, c, r), 0, 1e-4);
    ltn__svd_u(d, c, y);
    NEAR(norm(y, m), norm(c, r), 1e-4 * norm(c, r));
    ltn__svd_ut(d, y, k);
    NEAR(distance(k, c, r), 0, 1e-4);
    free(x), free(y), free(c), free(k), free(s), free(ax), free(back);
}
TEST(singular_values) { each(check_svd); }

/* A A^+ A x = A x, and A^+ y lies in the range of A^T: A^+ A A^+ y is it again. */
static void check_pseudo_inverse(const example *e, ltn_degradation *d, size_t n, size_t m)
{
    if (!ltn__exact(d)) return;
    float *x = numbers(n, 1), *y = numbers(m, 2), *p = numbers(n, 3), *q = numbers(n, 4), *ap = numbers(m, 5);
    ltn__forward(d, x, y);
    ltn__pseudo_inverse(d, y, p);
    ltn__forward(d, p, ap);
    NEAR(distance(ap, y, m), 0, 1e-5);
    ltn__pseudo_inverse(d, ap, q);
    NEAR(distance(q, p, n), 0, 1e-4);
    NEAR(dot(p, x, n), dot(p, p, n), 1e-4 * dot(x, x, n));
    free(x), free(y), free(p), free(q), free(ap);
}
TEST(pseudo_inverse) { each(check_pseudo_inverse); }

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

/* A point out of focus is a disc: 1 / (pi R^2) where it covers a pixel, nothing outside, all in all 1; along an axis it
 * varies by R^2 / 4, and a pixel by 1 / 12 more. */
TEST(a_point_out_of_focus_is_a_disc)
{
    enum { SIDE = 33, MIDDLE = SIDE / 2 };
    const double radius = 6.3;
    static float x[SIDE * SIDE], y[SIDE * SIDE];
    ltn_ctx *ctx = context();
    ltn_degradation *d;
    OK(ctx, ltn_degradation_open(ctx, "defocus:radius=6.3,boundary=circular", SIDE, SIDE, 1, &d));
    x[MIDDLE * SIDE + MIDDLE] = 1;
    ltn__forward(d, x, y);
    double sum = 0, along = 0, across = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        const double a = i % SIDE - MIDDLE, b = i / SIDE - MIDDLE, away = hypot(a, b);
        sum += y[i], along += a * a * y[i], across += b * b * y[i];
        if (away < radius - 0.8) NEAR(y[i] * acos(-1) * radius * radius, 1, 0.005);
        if (away > radius + 0.8) NEAR(y[i], 0, 1e-6);
    }
    NEAR(sum, 1, 1e-5);
    NEAR(along / (radius * radius / 4 + 1.0 / 12), 1, 0.005);
    NEAR(across / along, 1, 1e-4);
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
TEST(every_allocation_fails_once)
{
    for (int i = 0; i < LTN_COUNT(examples); i++) {
        const example *e = &examples[i];
        each_allocation_fails(e->spec, e->width, e->height, e->channels);
    }
}
