/* bicubic.c - the naive inverse as a solver, the lowest floor: bicubic enlargement for downsampling, holes filled by
 * averages, y itself for the rest (Keys 1981 for the kernel). */
#include "solve.h"

typedef struct bicubic {
    const ltn_problem *q;
    float *x, *r;
} bicubic;

static ltn_status bicubic_step(void *state, ltn_progress *progress)
{
    const bicubic *b = state;
    ltn__naive(b->q->a, b->q->y, b->x);
    progress->step = 1;
    progress->residual = ltn__chi(b->q, b->x, b->r);
    return LTN_DONE;
}

static const float *bicubic_estimate(const void *state)
{
    const bicubic *b = state;
    return b->x;
}

static void bicubic_close(ltn_ctx *ctx, void *state)
{
    bicubic *b = state;
    ltn__free(ctx, b->x);
    ltn__free(ctx, b->r);
    ltn__free(ctx, b);
}

static ltn_status bicubic_open(const ltn_problem *q, ltn_prior *p, const ltn_spec *s,
                               void **state, int *steps)
{
    bicubic *b = ltn__alloc(q->ctx, 1, sizeof *b);
    if (!b) return LTN_ENOMEM;
    *state = b;
    b->q = q;
    *steps = 1;
    b->x = ltn__alloc(q->ctx, ltn__size_count(q->a->x), sizeof *b->x);
    b->r = ltn__alloc(q->ctx, ltn__size_count(q->a->y), sizeof *b->r);
    return b->x && b->r ? LTN_OK : LTN_ENOMEM;
}

const ltn_solver_row ltn__solver_bicubic = {
    .entry = {.name = "bicubic", .alias = "naive",
              .help = "bicubic, or what else is naive for the degradation, no model",
              .cite = "Keys 1981"},
    .nonlinear = true,
    .open = bicubic_open,
    .step = bicubic_step,
    .estimate = bicubic_estimate,
    .close = bicubic_close,
};
