/* pndm.c - pseudo numerical methods on diffusion manifolds (Liu et al. 2022, arXiv 2202.09778): steps
 *
 *     phi(z, e, t, t') = sqrt(ab'/ab) z - (ab' - ab) e / (ab sqrt(1 - ab') + sqrt(ab (1 - ab) ab'))         eq. 11
 *
 * along a combination e of network outputs: the first three by the Runge-Kutta method of four calls each, or
 * (skip_prk_steps) the first by Heun's of two; then by the linear multistep method of the last four,
 * (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3) / 24. */
#include <math.h>

#include "../sampler.h"

/* array: past outputs; the latent a step starts from; the sum of its outputs */
enum { ORDER = 4, KEPT = ORDER, SUM, ARRAYS };

static bool skips(const ltn_sampler *s)
{
    return ltn__option(s->s, "skip_prk_steps", 0) != 0;
}

static int prk_calls(const ltn_sampler *s)
{
    return skips(s) ? 0 : 4 * (ORDER - 1);
}

static int stride(const ltn_sampler *s)
{
    return s->s->train_steps / s->steps;
}

/* t: the n even time steps on entry, then those of all calls; the second is taken twice. */
static void twice(double *t, int n)
{
    for (int i = n; i > 1; i--) t[i] = t[i - 1];
}

/* Three steps of the calls t, middle, middle, end; the rest once. `half`: between two time steps. */
static void runge_kutta(double *t, int n, int half)
{
    const double first[ORDER] = {t[0], t[1], t[2], t[3]};
    for (int i = n - 1; i >= ORDER - 1; i--) t[i + 4 * (ORDER - 1) - (ORDER - 1)] = t[i];
    for (int i = 0; i < ORDER - 1; i++) {
        t[4 * i] = first[i];
        t[4 * i + 1] = t[4 * i + 2] = first[i + 1] + half;
        t[4 * i + 3] = first[i + 1];
    }
}

static ltn_status plan(ltn_sampler *s)
{
    const int n = s->steps, extra = !skips(s) ? 3 * (ORDER - 1) : n > 1;
    if (s->s->prediction == LTN_SAMPLE)
        return ltn__fail(s->ctx, LTN_EINVAL, "prediction_type is sample, which is not supported");
    if (!skips(s) && n < ORDER)
        return ltn__fail(s->ctx, LTN_EINVAL, "without skip_prk_steps it takes 4 steps at least, not %d", n);
    if (!skips(s) && s->begin)
        return ltn__fail(s->ctx, LTN_EINVAL, "from a picture it needs skip_prk_steps=true");
    const ltn_status e = ltn__sampler_room(s, n + extra);
    if (e) return e;
    ltn__sampler_spaced(s, s->s->train_steps, false, s->t);
    for (int i = 0; i < n; i++) s->t[i] = rint(s->t[i]);
    if (!skips(s)) runge_kutta(s->t, n, stride(s) / 2);
    else if (n > 1) twice(s->t, n);
    for (int i = 0; i < s->calls; i++) s->level[i] = ltn__level_at(s->s, (int)s->t[i]);
    s->level[s->calls] = (ltn_level){1, 0};
    return LTN_OK;
}

/* phi; of a v-prediction, e = sqrt(ab) v + sqrt(1 - ab) z. */
static void transfer(const ltn_sampler *s, const float *from, const float *e, int t, int to, float *z)
{
    const ltn_level at = ltn__level_at(s->s, t), next = ltn__level_before(s->s, to);
    const double ab = at.a * at.a, ab_next = next.a * next.a;
    const double of_z = next.a / at.a, of_e = -(ab_next - ab) / (ab * next.b + at.a * at.b * next.a);
    const bool v = s->s->prediction == LTN_V;
    ltn__mix(z, s->n, (const ltn_term[]){{of_z + (v ? of_e * at.b : 0), from}, {of_e * (v ? at.a : 1), e}}, 2);
}

static void prk_step(ltn_sampler *s, const float *net, float *z)
{
    static const double weight[] = {1 / 6., 1 / 3., 1 / 3., 1 / 6.};
    const int part = s->k % 4, t = (int)s->t[s->k - part], to = (int)s->t[s->k] - (part % 2 ? 0 : stride(s) / 2);
    float *sum = s->array[SUM], *kept = s->array[KEPT];
    if (part == 0) {
        ltn__sampler_shift(s, ORDER);
        ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, net}}, 1);
        ltn__mix(kept, s->n, (const ltn_term[]){{1, z}}, 1);
    }
    ltn__mix(sum, s->n, (const ltn_term[]){{part > 0, sum}, {weight[part], net}}, 2);
    transfer(s, kept, part == 3 ? sum : net, t, to, z);
}

static void plms_step(ltn_sampler *s, const float *net, float *z)
{
    static const double weight[ORDER][ORDER] = {
        {1}, {3 / 2., -1 / 2.}, {23 / 12., -16 / 12., 5 / 12.}, {55 / 24., -59 / 24., 37 / 24., -9 / 24.}};
    const int call = s->k - s->begin, t = (int)s->t[s->k];
    float *kept = s->array[KEPT], *sum = s->array[SUM];
    if (call == 1) { /* the first step once more, by the mean of both ends */
        ltn__mix(sum, s->n, (const ltn_term[]){{0.5, net}, {0.5, s->array[0]}}, 2);
        transfer(s, kept, sum, t + stride(s), t, z);
        return;
    }
    ltn__sampler_shift(s, ORDER);
    ltn__mix(s->array[0], s->n, (const ltn_term[]){{1, net}}, 1);
    if (call == 0) ltn__mix(kept, s->n, (const ltn_term[]){{1, z}}, 1);
    const int past = skips(s) ? LTN_MIN(LTN_MAX(call, 1), ORDER) : ORDER;
    const double *w = weight[past - 1];
    ltn__mix(sum, s->n, (const ltn_term[]){{w[0], s->array[0]}, {w[1], s->array[1]}, {w[2], s->array[2]},
                                           {w[3], s->array[3]}}, ORDER);
    transfer(s, z, sum, t, t - stride(s), z);
}

static void step(ltn_sampler *s, const float *net, const float *noise, float *z)
{
    if (s->k < prk_calls(s)) prk_step(s, net, z);
    else plms_step(s, net, z);
}

static const ltn_param params[] = {
    LTN_BETAS(0.0001, 0.02, 0, LTN_BETA_SCHEDULES),
    {.name = "prediction_type", .help = "what the network gives", .type = LTN_CHOICE,
     .choices = "epsilon|v_prediction"},
    LTN_SPACING(0),
    LTN_ALPHA_TO_ONE(0),
    LTN_TRUTH("skip_prk_steps", 0, "begins without the three steps of four calls"),
    {0},
};

const ltn_sampler_row ltn__sampler_pndm = {
    .entry = {.name = "pndm", .alias = "PNDMScheduler", .help = "pseudo numerical methods on diffusion manifolds",
              .cite = "Liu et al. 2022, arXiv 2202.09778", .param = params},
    .arrays = ARRAYS,
    .plan = plan,
    .step = step,
};
