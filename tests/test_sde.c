/* test_sde.c - LATINO as a sampler on the Gaussian prior: its draws have the mean and the deviation of the posterior, and
 * the truth lies among them as it should. */
#include "test.h"

#include "gaussian.h"

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

/* The draws' mean squared distance to the truth over what their own spread says: 1, if the truth might be one of them. */
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

static void draw_all(ltn_ctx *ctx, const char *spec, const char *solver, const pair *o, double sigma, float draw[DRAWS][N])
{
    static outcome out;
    for (int k = 0; k < DRAWS; k++) {
        solve(ctx, spec, solver, o->y, sigma, (uint64_t)k + 1, &out);
        CHECK(out.status == LTN_DONE);
        memcpy(draw[k], out.x, sizeof out.x);
    }
}

TEST(the_spread_of_latino_sde_is_that_of_the_posterior)
{
    static const struct {
        const char *spec, *solver;
        double sigma;
    } task[] = {{"identity", "latino-sde", 0.3}, {"identity", "latino-sde:steps=50,inner=1", 0.3}, {"identity", "latino-sde:steps=4,inner=3", 0.1},
                {"inpaint:random=0.5", "latino-sde", 0.1}, {"downsample:factor=2", "latino-sde:steps=8", 0.1}, {"blur:sigma=1", "latino-sde:steps=8", 0.2}};
    static float draw[DRAWS][N];
    static pair o, other;
    static spread s;
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    for (int i = 0; i < LTN_COUNT(task); i++) {
        test_name("%s, %s", task[i].spec, task[i].solver);
        ltn_degradation *d;
        OK(ctx, ltn_degradation_open(ctx, task[i].spec, W, H, 3, &d));
        draw_pair(d, task[i].sigma, 1, &o);
        draw_all(ctx, task[i].spec, task[i].solver, &o, task[i].sigma, draw);
        look(draw, o.x, &s);
        NEAR(s.z, 1, 0.05);
        NEAR(s.inside, 0.9, 0.025);
        double variance = 0, drawn = 0;
        for (int k = 2; k < 12; k++) draw_pair(d, task[i].sigma, (uint64_t)k, &other), variance += distance2(other.x, other.mean) / 10;
        for (int k = 0; k < N; k++) drawn += s.variance[k] / N;
        NEAR(drawn / variance, 1, 0.03);
        NEAR(distance2(s.mean, o.mean) / (variance / DRAWS), 1, 0.15); /* the draws' mean errs by as much as a mean of so many */
        ltn_degradation_close(&d);
    }
    ltn_close(&ctx);
}

/* The same measure tells a method that does not spread enough. */
TEST(plain_latino_spreads_too_little)
{
    static float draw[DRAWS][N];
    static pair o;
    static spread s;
    ltn_ctx *ctx;
    ltn_degradation *d;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn_degradation_open(ctx, "identity", W, H, 3, &d));
    draw_pair(d, 0.3, 1, &o);
    draw_all(ctx, "identity", "latino:rule=bayes", &o, 0.3, draw);
    look(draw, o.x, &s);
    CHECK(s.z > 1.2 && s.inside < 0.8);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}
