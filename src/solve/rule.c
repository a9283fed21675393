/* rule.c - how much the data weigh in a step: gamma in x = argmin gamma/2 |A x - y|^2 + 1/2 |x - u|^2, by name.
 *
 *   discrepancy  |A prox_gamma(u) - y|^2 = m sigma^2 (Morozov 1966); 0 if u already explains y so well
 *   bayes        r_t^2 / sigma^2, with r_t^2 the prior's own mean squared error at t: the posterior mean if u's
 *                error were white
 *   released     delta_t (1 - ab_t) / sigma^2 with the table of arXiv 2503.12615's code, which knows some tasks only
 *
 * In the released code df = |A x - y| is taken with fresh noise added to y, so it is random; here it is the root of the
 * expected square, which is the same on average. */
#include "solve.h"

#include <math.h>
#include <string.h>

/* log of residual over target after a prox with this gamma: decreasing in gamma, zero where the rule is met. */
static double discrepancy_at(const ltn_rule_input *in, double log_gamma, double target)
{
    ltn__prox(in->q->a, in->q->y, exp(log_gamma), in->u, in->x);
    return log(ltn__residual2(in->q->a, in->x, in->q->y, in->r) / target);
}

/* Regula falsi with the Illinois modification in log gamma, from a bracket grown by factors of 30. */
static double discrepancy(const ltn_rule_input *in)
{
    double sigma = in->q->sigma;
    if (sigma == 0) return INFINITY;
    double target = (double)ltn__measured(in->q->a, NULL) * sigma * sigma;
    double residual = ltn__residual2(in->q->a, in->u, in->q->y, in->r);
    if (residual <= target) return 0;
    double lo = log(0.01), flo = log(residual / target), hi, fhi;
    for (hi = lo; (fhi = discrepancy_at(in, hi, target)) > 0; hi += log(30)) {
        if (hi > log(1e8)) return exp(hi); /* y lies outside A's range: as near as it gets */
        lo = hi, flo = fhi;
    }
    if (hi == lo) lo -= log(1e4);
    double g = hi;
    for (int i = 0, side = 0; i < 30 && hi - lo > 1e-4; i++) {
        g = (lo * fhi - hi * flo) / (fhi - flo);
        double f = discrepancy_at(in, g, target);
        if (fabs(f) < 1e-4) break;
        if (f > 0) {
            lo = g, flo = f;
            if (side == 1) fhi /= 2;
            side = 1;
        } else {
            hi = g, fhi = f;
            if (side == -1) flo /= 2;
            side = -1;
        }
    }
    return exp(g);
}

static double bayes(const ltn_rule_input *in)
{
    double sigma = in->q->sigma;
    return sigma == 0 ? INFINITY : in->p->error(in->p, in->t) / (sigma * sigma);
}

/* The released table: delta_t = (df, or 1) * early for t > switch_at, else * late. The task is the first row whose
 * operator and range of the parameter fit; "other" is for operators that have no row of their own. */
typedef struct preset {
    const char *task, *param;
    double from, to;
    bool times_df;
    double switch_at, early, late;
} preset;
static const preset presets[] = {
#define PRESET(task, param, from, to, times_df, switch_at, early, late)                                                \
    {task, param, from, to, times_df, switch_at, early, late},
#include "preset.def"
#undef PRESET
};

static const preset *find_preset(const char *task, const ltn_spec *spec)
{
    bool known = false;
    for (int i = 0; i < LTN_COUNT(presets); i++) {
        const preset *p = &presets[i];
        bool same = !strcmp(p->task, task);
        known |= same;
        if (!known && !strcmp(p->task, "other")) return p;
        if (!same) continue;
        double value = p->param[0] ? ltn__num(spec, p->param) : 0;
        if (value >= p->from && value < p->to) return p;
    }
    return NULL;
}

static ltn_status released_open(const ltn_problem *q, const void **data)
{
    ltn_arena arena = {.ctx = q->ctx};
    ltn_spec spec;
    ltn_status s = LTN_OK;
    if (q->a->n == 1) s = ltn__spec_parse(q->ctx, "degradation", ltn__degradation_entry, q->a->spec, &arena, &spec);
    if (!s && !(*data = find_preset(q->a->n == 1 ? spec.entry->name : "other", &spec)))
        s = ltn__fail(q->ctx, LTN_EINVAL, "rule=released: the released table has no row for \"%s\"; take another rule",
                      q->a->spec);
    ltn__arena_free(&arena);
    return s;
}

static double released(const ltn_rule_input *in)
{
    const ltn_problem *q = in->q;
    if (q->sigma == 0) return INFINITY;
    const preset *p = in->data;
    double s2 = q->sigma * q->sigma, m = (double)ltn__measured(q->a, NULL);
    double df = sqrt(ltn__residual2(q->a, in->u, q->y, in->r) + m * s2);
    double delta = (in->t > p->switch_at ? p->early : p->late) * (p->times_df ? df : 1);
    return delta * (1 - in->p->alpha_bar[in->t]) / s2;
}

static const ltn_rule rules[] = {
    {"discrepancy", "gamma such that |A x - y|^2 = m sigma^2 (Morozov)", NULL, discrepancy},
    {"bayes", "gamma = r_t^2 / sigma^2, r_t^2 the prior's own error", NULL, bayes},
    {"released", "the table of the paper's code, for the tasks it knows", released_open, released},
};

const ltn_rule *ltn__rule(int i)
{
    return i >= 0 && i < LTN_COUNT(rules) ? &rules[i] : NULL;
}

const ltn_rule *ltn__rule_named(const char *name)
{
    for (int i = 0; i < LTN_COUNT(rules); i++)
        if (!strcmp(rules[i].name, name)) return &rules[i];
    return NULL;
}
