/* api.c - what of latino.h belongs to no layer: the version, the tables of all layers by kind, and measuring by name. */
#include "degrade/degrade.h"
#include "graph/graph.h"
#include "metric/metric.h"
#include "model/model.h"
#include "solve/solve.h"

const char *ltn_version(void)
{
    return LTN_VERSION;
}

static ltn_rows *const tables[] = {
    [LTN_OPERATIONS] = ltn__op_entry, [LTN_DEGRADATIONS] = ltn__degradation_entry, [LTN_NOISES] = ltn__noise_entry,
    [LTN_SOLVERS] = ltn__solver_entry, [LTN_MODELS] = ltn__arch_entry, [LTN_METRICS] = ltn__metric_entry,
};

const ltn_entry *ltn_list(ltn_kind kind, int i)
{
    return (int)kind >= 0 && (int)kind < LTN_COUNT(tables) && i >= 0 ? tables[kind](i) : NULL;
}

ltn_status ltn_measure(ltn_ctx *ctx, const char *metric, const ltn_image *a, const ltn_image *b, double *out)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_spec spec;
    const ltn_status s = ltn__spec_parse(ctx, "metric", ltn__metric_entry, metric, &arena, &spec);
    ltn__arena_free(&arena);
    if (s) return s;
    if (a->width != b->width || a->height != b->height || a->channels != b->channels)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: the pictures differ in size: %d x %d x %d and %d x %d x %d", metric, a->width,
                         a->height, a->channels, b->width, b->height, b->channels);
    return ltn__metric_row(spec.row)->measure(ctx, a, b, out);
}
