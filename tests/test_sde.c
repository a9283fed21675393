/* test_sde.c - LATINO as a sampler on Gaussian priors: its draws have the mean and the deviation of the posterior, and
 * the truth lies among them as it should. */
#include "test.h"

#include "gaussian.h"
#include "solve/coloured.h"

enum { DRAWS = 19 };

/* Mean and variance of p(x | y), pixels being independent N(0, S2): x = S2 A^T (S2 A A^T + sigma^2)^-1 y is the prox of
 * u = 0 with gamma = S2 / sigma^2; the mean variance is that of the errors of the prox on fresh pairs (x, y). */
typedef struct pair {
    float x[N], y[N], mean[N];
} pair;
static void draw_pair(ltn_degradation *d, double sigma, uint64_t seed, pair *o)
{
    static float zero[N], n[N];
    ltn__normals((ltn_rng){seed, 9}, 0, o->x, N);
    ltn__normals((ltn_rng){seed, 10}, 0, n, N);
    for (int i = 0; i < N; i++) o->x[i] *= (float)sqrt(S2);
    ltn__forward(d, o->x, o->y);
    for (size_t i = 0; i < ltn__size_count(d->y); i++) o->y[i] += (float)sigma * n[i];
    ltn__measured(d, o->y);
    ltn__prox(d, o->y, S2 / (sigma * sigma), zero, o->mean);
}

static double distance2(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum / N;
}

/* The draws' mean squared distance to the truth over what their own spread says: 1, if the truth might be one of
 * them. */
typedef struct spread {
    float mean[N], variance[N];
    double z, inside; /* z-score; share of the truth between the least and the greatest draw: 18 in 20 */
} spread;
static void look(float draw[DRAWS][N], const float *truth, spread *o)
{
    double error = 0, variance = 0;
    int inside = 0;
    for (int i = 0; i < N; i++) {
        double sum = 0, square = 0;
        float lo = draw[0][i], hi = draw[0][i];
        for (int k = 0; k < DRAWS; k++) {
            sum += draw[k][i], square += (double)draw[k][i] * draw[k][i];
            lo = fminf(lo, draw[k][i]), hi = fmaxf(hi, draw[k][i]);
        }
        o->mean[i] = (float)(sum / DRAWS);
        o->variance[i] = (float)((square - sum * sum / DRAWS) / (DRAWS - 1));
        error += pow(truth[i] - sum / DRAWS, 2), variance += o->variance[i];
        inside += truth[i] >= lo && truth[i] <= hi;
    }
    o->z = sqrt(error / (variance * (1 + 1.0 / DRAWS)));
    o->inside = inside / (double)N;
}

static void draw_all(ltn_ctx *ctx, ltn_prior *p, const char *spec, const char *solver, const pair *o, double sigma,
                     float draw[DRAWS][N])
{
    static outcome out;
    for (int k = 0; k < DRAWS; k++) {
        solve_under(ctx, p, spec, solver, o->y, sigma, (uint64_t)k + 1, &out);
        CHECK(out.status == LTN_DONE);
        memcpy(draw[k], out.x, sizeof out.x);
    }
}

static double mean_of(const float *x)
{
    double sum = 0;
    for (int k = 0; k < N; k++) sum += x[k] / N;
    return sum;
}

/* The spread of a posterior of that mean variance: it may be `of_variance` off, and the draws' mean errs by as much as
 * a mean of so many, within `of_mean`. */
static void check_spread(float draw[DRAWS][N], const pair *o, double variance, double of_variance, double of_mean)
{
    static spread s;
    look(draw, o->x, &s);
    NEAR(s.z, 1, 0.05);
    NEAR(s.inside, 0.9, 0.025);
    NEAR(mean_of(s.variance) / variance, 1, of_variance);
    NEAR(distance2(s.mean, o->mean) / (variance / DRAWS), 1, of_mean);
}

TEST(the_spread_of_latino_sde_is_that_of_the_posterior)
{
    static const struct {
        const char *spec, *solver;
        double sigma;
    } task[] = {{"identity", "latino-sde", 0.3}, {"identity", "latino-sde:steps=50,inner=1", 0.3},
                {"identity", "latino-sde:steps=4,inner=3", 0.1}, {"inpaint:random=0.5", "latino-sde", 0.1},
                {"downsample:factor=2", "latino-sde:steps=8", 0.1}, {"blur:sigma=1", "latino-sde:steps=8", 0.2}};
    static gaussian white;
    static float draw[DRAWS][N];
    static pair o, other;
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    make_gaussian(&white);
    for (int i = 0; i < LTN_COUNT(task); i++) {
        test_name("%s, %s", task[i].spec, task[i].solver);
        ltn_degradation *d;
        OK(ctx, ltn_degradation_open(ctx, task[i].spec, W, H, 3, &d));
        draw_pair(d, task[i].sigma, 1, &o);
        draw_all(ctx, &white.base, task[i].spec, task[i].solver, &o, task[i].sigma, draw);
        double variance = 0;
        for (int k = 2; k < 12; k++) {
            draw_pair(d, task[i].sigma, (uint64_t)k, &other);
            variance += distance2(other.x, other.mean) / 10;
        }
        check_spread(draw, &o, variance, 0.03, 0.15);
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

/* The same measure tells a method that does not spread enough. */
TEST(plain_latino_spreads_too_little)
{
    static gaussian white;
    static float draw[DRAWS][N];
    static pair o;
    static spread s;
    ltn_ctx *ctx;
    ltn_degradation *d;
    OK(NULL, ltn_open(&ctx, NULL));
    make_gaussian(&white);
    OK(ctx, ltn_degradation_open(ctx, "identity", W, H, 3, &d));
    draw_pair(d, 0.3, 1, &o);
    draw_all(ctx, &white.base, "identity", "latino:rule=bayes", &o, 0.3, draw);
    look(draw, o.x, &s);
    CHECK(s.z > 1.2 && s.inside < 0.8);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}

/* ---- A prior with a spectrum: pictures are independent N(0, V) in every cosine, grey apart from colour, V halves with
 * each octave; the autoencoder is the identity, f = E[x | z], whose error has V (1 - ab) / (ab V + 1 - ab). ---- */

typedef struct coloured {
    gaussian g;
    ltn_plane plane;
} coloured;

static double prior_variance(int part, double band)
{
    return (part == LTN_GREY ? 4 : 1) * pow(0.5, band);
}

static double error_variance(double v, double ab)
{
    return v * (1 - ab) / (ab * v + 1 - ab);
}

static double wiener(double v, double ab)
{
    return sqrt(ab) * v / (ab * v + 1 - ab);
}

static double deviation(double v, double unused)
{
    (void)unused;
    return sqrt(v);
}

static double share_of_signal(double v, double noise2)
{
    return v / (v + noise2);
}

static double left_unknown(double v, double noise2)
{
    return v * noise2 / (v + noise2);
}

/* Mean of f(V, with) over the coefficients of a picture. */
static double mean_over_cosines(double (*f)(double v, double with), double with)
{
    double sum = 0;
    for (int a = 0; a < W; a++)
        for (int b = 0; b < H; b++) {
            const double band = ltn__band((double)a / W, (double)b / H);
            sum += f(prior_variance(LTN_GREY, band), with) + 2 * f(prior_variance(LTN_COLOUR, band), with);
        }
    return sum / N;
}

/* out = F^T f(V, with) F x */
static void filter_cosines(const coloured *c, double (*f)(double v, double with), double with, const float *x,
                           float *out)
{
    static float s[N];
    for (int k = 0; k < 3; k++) ltn__plane_forward(&c->plane, x + k * W * H, s + k * W * H);
    for (int i = 0; i < W * H; i++) {
        const double band = ltn__band((double)(i / H) / W, (double)(i % H) / H);
        const double mean = ((double)s[i] + s[i + W * H] + s[i + 2 * W * H]) / 3;
        const double grey = f(prior_variance(LTN_GREY, band), with);
        const double colour = f(prior_variance(LTN_COLOUR, band), with);
        for (int k = 0; k < 3; k++)
            s[i + k * W * H] = (float)(grey * mean + colour * (s[i + k * W * H] - mean));
    }
    for (int k = 0; k < 3; k++) ltn__plane_inverse(&c->plane, s + k * W * H, out + k * W * H);
}

static ltn_status coloured_predict(ltn_prior *p, const float *z, int t, float *z0)
{
    filter_cosines((const coloured *)p, wiener, p->alpha_bar[t], z, z0);
    return LTN_OK;
}

static double coloured_error(const ltn_prior *p, int t)
{
    return mean_over_cosines(error_variance, p->alpha_bar[t]);
}

static double coloured_spectrum(const ltn_prior *p, int t, int part, int band, double energy)
{
    (void)energy;
    return error_variance(prior_variance(part, band), p->alpha_bar[t]);
}

static double whole_spectrum(const ltn_prior *p, int t, int part, int band, double energy)
{
    (void)p, (void)t, (void)energy;
    return prior_variance(part, band);
}

static void make_coloured(ltn_ctx *ctx, coloured *c)
{
    make_gaussian(&c->g);
    c->g.base.predict = coloured_predict;
    c->g.base.error = c->g.base.latent_error = coloured_error;
    c->g.base.spectrum = coloured_spectrum;
    OK(ctx, ltn__plane_open(ctx, LTN_COSINE, W, H, &c->plane));
}

/* x ~ N(0, V), y = A x + noise and the posterior's mean: in closed form where A = 1, else the prox of u = 0. */
static void draw_coloured_pair(ltn_ctx *ctx, const coloured *c, ltn_degradation *d, double sigma, uint64_t seed,
                               pair *o)
{
    static float zero[N], n[N];
    ltn__normals((ltn_rng){seed, 9}, 0, n, N);
    filter_cosines(c, deviation, 0, n, o->x);
    ltn__normals((ltn_rng){seed, 10}, 0, n, N);
    ltn__forward(d, o->x, o->y);
    for (size_t i = 0; i < ltn__size_count(d->y); i++) o->y[i] += (float)sigma * n[i];
    ltn__measured(d, o->y);
    if (!strcmp(d->spec, "identity")) {
        filter_cosines(c, share_of_signal, sigma * sigma, o->y, o->mean);
        return;
    }
    const ltn_problem q = {.ctx = ctx, .a = d, .y = o->y, .sigma = sigma, .rng = {seed, LTN_STREAM_SOLVER}};
    const ltn_prior whole = {.spectrum = whole_spectrum};
    ltn_coloured prox = {0};
    OK(ctx, ltn__coloured_open(&prox, &q));
    ltn__coloured_at(&prox, &whole, 0, zero);
    ltn__coloured_prox(&prox, o->y, 1, zero, o->mean);
    ltn__coloured_close(&prox);
}

TEST(the_spread_is_that_of_the_posterior_where_the_error_has_a_spectrum)
{
    static const struct {
        const char *spec, *solver;
        double sigma;
    } task[] = {{"identity", "latino-sde:steps=1,inner=40", 0.3}, {"identity", "latino-sde:steps=8,inner=12", 0.3},
                {"inpaint:random=0.5", "latino-sde:steps=8,inner=12", 0.1},
                {"downsample:factor=2", "latino-sde:steps=4,inner=20", 0.1},
                {"blur:sigma=1", "latino-sde:steps=8,inner=12", 0.2}};
    static coloured c;
    static float draw[DRAWS][N];
    static pair o, other;
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    make_coloured(ctx, &c);
    for (int i = 0; i < LTN_COUNT(task); i++) {
        const double sigma = task[i].sigma;
        test_name("%s, %s", task[i].spec, task[i].solver);
        ltn_degradation *d;
        OK(ctx, ltn_degradation_open(ctx, task[i].spec, W, H, 3, &d));
        draw_coloured_pair(ctx, &c, d, sigma, 1, &o);
        draw_all(ctx, &c.g.base, task[i].spec, task[i].solver, &o, sigma, draw);
        double variance = 0;
        for (int k = 2; k < 12; k++) {
            draw_coloured_pair(ctx, &c, d, sigma, (uint64_t)k, &other);
            variance += distance2(other.x, other.mean) / 10;
        }
        if (!strcmp(task[i].spec, "identity")) NEAR(variance / mean_over_cosines(left_unknown, sigma * sigma), 1, 0.03);
        check_spread(draw, &o, variance, 0.05, 0.2);
        ltn_degradation_close(&d);
    }
    ltn__plane_close(&c.plane);
    ltn_close(&ctx);
}

/* ---- The prox on a picture small enough for whole matrices: x = u + C A^T (A C A^T + sigma^2)^-1 (y - A u) ---- */

enum { LITTLE_W = 8, LITTLE_H = 6, LITTLE = LITTLE_W * LITTLE_H * 3 };
typedef double matrix[LITTLE][LITTLE];

static double cosine(int k, int i, int n)
{
    return sqrt((k ? 2.0 : 1.0) / n) * cos(acos(-1) * k * (i + 0.5) / n);
}

static void fill_covariance(matrix c)
{
    enum { PIXELS = LITTLE_W * LITTLE_H };
    for (int i = 0; i < LITTLE; i++)
        for (int j = 0; j < LITTLE; j++) {
            const int p = i % PIXELS, q = j % PIXELS, same = i / PIXELS == j / PIXELS;
            c[i][j] = 0;
            for (int a = 0; a < LITTLE_W; a++)
                for (int b = 0; b < LITTLE_H; b++) {
                    const double band = ltn__band((double)a / LITTLE_W, (double)b / LITTLE_H);
                    const double v = prior_variance(LTN_GREY, band) / 3 +
                                     prior_variance(LTN_COLOUR, band) * (same - 1.0 / 3);
                    c[i][j] += v * cosine(a, p % LITTLE_W, LITTLE_W) * cosine(a, q % LITTLE_W, LITTLE_W) *
                               cosine(b, p / LITTLE_W, LITTLE_H) * cosine(b, q / LITTLE_W, LITTLE_H);
                }
        }
}

/* b = m^-1 b of the first n rows, m symmetric and positive; both are used up. */
static void eliminate(matrix m, double *b, int n)
{
    for (int k = 0; k < n; k++)
        for (int i = k + 1; i < n; i++) {
            const double f = m[i][k] / m[k][k];
            for (int j = k; j < n; j++) m[i][j] -= f * m[k][j];
            b[i] -= f * b[k];
        }
    for (int k = n - 1; k >= 0; k--) {
        for (int j = k + 1; j < n; j++) b[k] -= m[k][j] * b[j];
        b[k] /= m[k][k];
    }
}

/* rows of A C, (m, LITTLE), and d = C A^T (A C A^T + sigma^2)^-1 r */
static void dense_correction(ltn_degradation *a, matrix c, double sigma, const float *r, double *d)
{
    static matrix ac, aca;
    static float in[LITTLE], out[LITTLE];
    const int m = (int)ltn__size_count(a->y);
    double b[LITTLE];
    for (int j = 0; j < LITTLE; j++) {
        for (int i = 0; i < LITTLE; i++) in[i] = (float)c[i][j];
        ltn__forward(a, in, out);
        for (int i = 0; i < m; i++) ac[i][j] = out[i];
    }
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < LITTLE; j++) in[j] = (float)ac[i][j];
        ltn__forward(a, in, out);
        for (int j = 0; j < m; j++) aca[i][j] = out[j] + (i == j ? sigma * sigma : 0);
        b[i] = r[i];
    }
    eliminate(aca, b, m);
    for (int j = 0; j < LITTLE; j++) {
        d[j] = 0;
        for (int i = 0; i < m; i++) d[j] += ac[i][j] * b[i];
    }
}

TEST(the_coloured_prox_is_that_of_whole_matrices)
{
    static const char *const specs[] = {"identity", "inpaint:random=0.5", "blur:sigma=1", "downsample:factor=2"};
    static matrix c;
    static float u[LITTLE], y[LITTLE], x[LITTLE], r[LITTLE];
    double d[LITTLE];
    const ltn_prior whole = {.spectrum = whole_spectrum};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    fill_covariance(c);
    for (int k = 0; k < LTN_COUNT(specs); k++) {
        test_name("%s", specs[k]);
        ltn_degradation *a;
        OK(ctx, ltn_degradation_open(ctx, specs[k], LITTLE_W, LITTLE_H, 3, &a));
        const int m = (int)ltn__size_count(a->y);
        ltn__normals((ltn_rng){1, 1}, 0, u, LITTLE);
        ltn__normals((ltn_rng){1, 2}, 0, y, (size_t)m);
        ltn__measured(a, y);
        ltn_problem q = {.ctx = ctx, .a = a, .y = y, .sigma = 0.2, .rng = {1, LTN_STREAM_SOLVER}};
        ltn_coloured prox = {0};
        OK(ctx, ltn__coloured_open(&prox, &q));
        ltn__coloured_at(&prox, &whole, 0, u);
        ltn__coloured_prox(&prox, y, 1, u, x);
        ltn__forward(a, u, r);
        for (int i = 0; i < m; i++) r[i] = y[i] - r[i];
        ltn__measured(a, r);
        dense_correction(a, c, q.sigma, r, d);
        double error = 0, size = 0;
        for (int i = 0; i < LITTLE; i++) error += pow(x[i] - u[i] - d[i], 2), size += d[i] * d[i];
        NEAR(sqrt(error / size), 0, 5e-3); /* the prox stops at 1e-3 of the residual */
        ltn__coloured_close(&prox);
        ltn_degradation_close(&a);
    }
    ltn_close(&ctx);
}

TEST(octaves_hold_all_that_a_picture_has)
{
    static float x[N], spectra[N], room[W * H];
    ltn_octaves o = {0};
    ltn_plane plane;
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__plane_open(ctx, LTN_COSINE, W, H, &plane));
    ltn__normals((ltn_rng){1, 1}, 0, x, N);
    ltn__octaves(&plane, 3, x, spectra, room, &o);
    double square = 0, modes = 0, size = 0;
    for (int k = 0; k < LTN_BANDS; k++) {
        square += o.square[LTN_GREY][k] + o.square[LTN_COLOUR][k];
        modes += o.modes[LTN_GREY][k] + o.modes[LTN_COLOUR][k];
    }
    for (int i = 0; i < N; i++) size += (double)x[i] * x[i];
    NEAR(square / size, 1, 1e-5);
    NEAR(modes, N, 0);
    ltn__plane_close(&plane);
    ltn_close(&ctx);
}
