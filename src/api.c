/* api.c - what of latino.h belongs to no layer: the version, and the tables of all layers by kind. */
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
    [LTN_OPERATIONS] = ltn__op_entry, [LTN_DEGRADATIONS] = ltn__degradation_entry,
    [LTN_NOISES] = ltn__noise_entry,  [LTN_SOLVERS] = ltn__solver_entry,
    [LTN_MODELS] = ltn__arch_entry,   [LTN_METRICS] = ltn__metric_entry,
    [LTN_MODEL_PARTS] = ltn__part_entry, [LTN_SAMPLERS] = ltn__sampler_entry,
};

const ltn_entry *ltn_list(ltn_kind kind, int i)
{
    return (int)kind >= 0 && (int)kind < LTN_COUNT(tables) && i >= 0 ? tables[kind](i) : NULL;
}
