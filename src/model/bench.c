/* bench.c - how fast a model's parts run here: a part is planned, fed random numbers, run a few times with a
 * clock between its steps, and its steps are summed by kind and kernel. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    ltn_entry entry;
    ltn_part_kind kind;
} parts[] = {
    {{.name = "text", .help = "a prompt's tokens to text"}, LTN_TEXT},
    {{.name = "unet", .help = "latent, time and text to a prediction"}, LTN_UNET},
    {{.name = "encode", .help = "a picture to a latent"}, LTN_ENCODE},
    {{.name = "decode", .help = "a latent to a picture"}, LTN_DECODE},
    {{.name = "unet-by-sample", .help = "unet, and back to the gradient by the latent"}, LTN_UNET_BY_SAMPLE},
    {{.name = "unet-by-text", .help = "unet, and back to the gradient by the text"}, LTN_UNET_BY_TEXT},
    {{.name = "unet-by-both", .help = "unet, and back to both gradients"}, LTN_UNET_BY_BOTH},
    {{.name = "encode-back", .help = "encode, and back to the gradient by the picture"}, LTN_ENCODE_BACK},
    {{.name = "decode-back", .help = "decode, and back to the gradient by the latent"}, LTN_DECODE_BACK},
};

const ltn_entry *ltn__part_entry(int i)
{
    return i >= 0 && i < LTN_COUNT(parts) ? &parts[i].entry : NULL;
}

/* Encoders and what is made of them take pixels. */
static bool takes_pixels(ltn_part_kind k)
{
    return k == LTN_ENCODE || k == LTN_ENCODE_BACK;
}

/* The planned part, and what that took. */
static ltn_status open_part(ltn_model *m, const ltn_bench *b, ltn_part **out, ltn_speed *v)
{
    ltn_arena arena = {.ctx = m->ctx};
    ltn_spec spec;
    ltn_status s = ltn__spec_parse(m->ctx, "part", ltn__part_entry, b->part, &arena, &spec);
    ltn__arena_free(&arena);
    if (s) return s;
    const double start = ltn__seconds();
    const int side = b->size ? b->size : m->sample_size * m->factor;
    const ltn_part_kind kind = parts[spec.row].kind;
    if (side < 1 || side % m->factor)
        return ltn__fail(m->ctx, LTN_ESHAPE, "%s: size %d: expected a multiple of %d", b->part, side, m->factor);
    const int64_t h = kind == LTN_TEXT ? 1 : takes_pixels(kind) ? side : side / m->factor;
    s = ltn__model_part(m, kind, b->batch ? b->batch : 1, h, h, out);
    v->size = side;
    v->plan_seconds = ltn__seconds() - start;
    return s ? ltn__within(m->ctx, s, "%s, size %d", b->part, side) : LTN_OK;
}

/* Normal numbers; the ids of tokens are 0, 1, 2. */
static void fill_inputs(ltn_part *p)
{
    for (int i = 0; i < ltn__graph_size(p->graph); i++) {
        const ltn_node *n = ltn__graph_node(p->graph, i);
        if (!n->input) continue;
        float *x = ltn__plan_data(p->plan, n->input);
        const int64_t count = ltn__count(n->dims);
        if (strcmp(n->input, "ids")) ltn__normals((ltn_rng){1, (uint64_t)i}, 0, x, (size_t)count);
        else
            for (int64_t k = 0; k < count; k++) x[k] = (float)(k % 3);
    }
}

/* Adds the step to the block of its kind and kernel. */
static void add_step(ltn_speed *v, const ltn_work *w, double seconds)
{
    int k = 0;
    while (k < v->blocks && (strcmp(v->block[k].name, w->kind) || strcmp(v->block[k].kernel, w->kernel))) k++;
    ltn_speed_block *b = &v->block[k];
    if (k == v->blocks) {
        v->blocks++;
        memcpy(b->name, w->kind, sizeof b->name);
        b->kernel = w->kernel;
    }
    b->steps++;
    b->seconds += seconds;
    b->flop += w->flop;
    b->bytes += w->bytes;
    v->flop += w->flop;
    v->bytes += w->bytes;
}

static int slower_block(const void *a, const void *b)
{
    const ltn_speed_block *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sum(const double *x, int n)
{
    double s = 0;
    for (int i = 0; i < n; i++) s += x[i];
    return s;
}

/* Runs the plan; `step` gets the seconds of each step in the fastest run, `whole` those of each run, sorted. */
static void run_rounds(ltn_plan *p, int rounds, double *step, double *now, double *whole)
{
    const int n = ltn__plan_steps(p);
    for (int r = 0; r < rounds; r++) {
        ltn__plan_run_timed(p, now);
        whole[r] = sum(now, n);
        if (!r || whole[r] < sum(step, n)) memcpy(step, now, (size_t)n * sizeof *step);
    }
    qsort(whole, (size_t)rounds, sizeof *whole, compare);
}

ltn_status ltn_bench_part(ltn_model *m, const ltn_bench *b, ltn_speed *out)
{
    ltn_part *p;
    *out = (ltn_speed){0};
    const int rounds = b->rounds ? b->rounds : 3;
    if (rounds < 0 || b->batch < 0)
        return ltn__fail(m->ctx, LTN_EINVAL, "%s: %d rounds of a batch of %d: expected positive numbers", b->part,
                         rounds, b->batch);
    const ltn_status s = open_part(m, b, &p, out);
    if (s) return s;
    out->plan_bytes = ltn__plan_bytes(p->plan);
    const int n = ltn__plan_steps(p->plan);
    double *room = ltn__alloc(m->ctx, (size_t)(2 * n + rounds), sizeof *room);
    double *step = room, *now = step + n, *whole = now + n;
    out->block = room ? ltn__alloc(m->ctx, (size_t)n, sizeof *out->block) : NULL;
    if (!out->block) {
        ltn__free(m->ctx, room);
        return LTN_ENOMEM;
    }
    fill_inputs(p);
    run_rounds(p->plan, rounds, step, now, whole);
    out->seconds = whole[0];
    out->median = (whole[(rounds - 1) / 2] + whole[rounds / 2]) / 2;
    for (int i = 0; i < n; i++) {
        const ltn_work w = ltn__plan_work(p->plan, i);
        add_step(out, &w, step[i]);
    }
    qsort(out->block, (size_t)out->blocks, sizeof *out->block, slower_block);
    ltn__free(m->ctx, room);
    return LTN_OK;
}

void ltn_speed_free(ltn_ctx *ctx, ltn_speed *v)
{
    ltn__free(ctx, v->block);
    *v = (ltn_speed){0};
}

ltn_status ltn_bench_machine(ltn_ctx *ctx, ltn_machine *out)
{
    *out = (ltn_machine){.threads = ctx->threads};
    const ltn_status s = ltn__peak_flops(ctx, out->threads, &out->flops);
    return s ? s : ltn__peak_bandwidth(ctx, out->threads, &out->bandwidth);
}
