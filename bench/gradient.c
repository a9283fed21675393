/* gradient.c - times gradients beside what they are the gradients of: `bench_gradient THREADS` layers at the
 * shapes of Stable Diffusion's networks and of the small prior, `bench_gradient THREADS MODEL [SIDE [PART]]`
 * the parts of a diffusers folder, or one of them, for pictures of that size: forward, both halves of the
 * gradient's plan, and memory. */
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static ltn_ctx *ctx;

static void check(ltn_status s)
{
    if (!s) return;
    fprintf(stderr, "bench_gradient: %s\n", ltn_error(ctx));
    exit(1);
}

static void fill_inputs(ltn_graph *g, ltn_plan *p)
{
    for (int i = 0; i < ltn__graph_size(g); i++) {
        const ltn_node *n = ltn__graph_node(g, i);
        if (n->input)
            ltn__normals((ltn_rng){1, (uint64_t)i}, 0, ltn__plan_data(p, n->input),
                         (size_t)ltn__count(n->dims));
    }
}

/* Processor time of one thread; of more, the time that passes. */
static double now(void)
{
    return ctx->threads == 1 ? (double)clock() / CLOCKS_PER_SEC : ltn__seconds();
}

/* The best of the runs within half a second. */
static double best_run(ltn_graph *g)
{
    ltn_plan *p = NULL;
    check(ltn__plan_open(g, NULL, &p));
    fill_inputs(g, p);
    ltn__plan_run(p);
    double best = 1e9;
    const double end = ltn__seconds() + 0.5;
    do {
        const double start = now();
        ltn__plan_run(p);
        best = LTN_MIN(best, now() - start);
    } while (ltn__seconds() < end);
    ltn__plan_close(&p);
    return best;
}

typedef struct layer {
    const char *name;
    ltn_node *(*build)(ltn_graph *g, const struct layer *l, ltn_weight *w, ltn_node *wrt[3]);
    ltn_dims x;
    int64_t size[3];
} layer;

/* size: keys, heads */
static ltn_node *attention(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    const ltn_dims from = ltn__dims(l->x.d[0], 1, l->size[0], l->x.d[3]);
    wrt[0] = ltn__input(g, "q", l->x);
    wrt[1] = ltn__input(g, "k", from);
    wrt[2] = ltn__input(g, "v", from);
    return ltn__attention(g, wrt[0], wrt[1], wrt[2], (int)l->size[1], false);
}

static void random_weight(ltn_weight *w, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const size_t n = (size_t)(a * b * c * d);
    float *data = calloc(n, sizeof *data);
    if (data) ltn__normals((ltn_rng){2, 0}, 0, data, n);
    *w = (ltn_weight){.name = "w", .dtype = LTN_F32, .rank = 4, .dim = {a, b, c, d}, .data = data};
}

/* size: channels out, kernel, stride */
static ltn_node *convolution(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    const int pad = (int)l->size[1] / 2;
    random_weight(w, l->size[0], l->x.d[3], l->size[1], l->size[1]);
    wrt[0] = ltn__input(g, "x", l->x);
    return ltn__conv2d(g, wrt[0], ltn__weight_node(g, w), NULL, (int)l->size[2], pad, pad, pad, pad);
}

/* size: channels out */
static ltn_node *linear(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    random_weight(w, l->size[0], l->x.d[3], 1, 1);
    wrt[0] = ltn__input(g, "x", l->x);
    return ltn__linear(g, wrt[0], ltn__weight_node(g, w), NULL);
}

static ltn_node *per_channel(ltn_graph *g, const char *name, const layer *l)
{
    return ltn__input(g, name, ltn__dims(1, 1, 1, l->x.d[3]));
}

static ltn_node *layer_norm(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    wrt[0] = ltn__input(g, "x", l->x);
    return ltn__layer_norm(g, wrt[0], per_channel(g, "w", l), per_channel(g, "b", l), 1e-5);
}

static ltn_node *group_norm_silu(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    wrt[0] = ltn__input(g, "x", l->x);
    return ltn__silu(g, ltn__group_norm(g, wrt[0], per_channel(g, "w", l), per_channel(g, "b", l), 32, 1e-5));
}

static ltn_node *geglu(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    return ltn__geglu(g, wrt[0] = ltn__input(g, "x", l->x));
}

static ltn_node *relu(ltn_graph *g, const layer *l, ltn_weight *w, ltn_node *wrt[3])
{
    return ltn__relu(g, wrt[0] = ltn__input(g, "x", l->x));
}

static const layer layers[] = {
    {"attention", attention, {{1, 1, 64, 256}}, {64, 4}},
    {"attention", attention, {{1, 1, 64, 256}}, {77, 4}},
    {"attention", attention, {{1, 1, 4096, 320}}, {4096, 8}},
    {"attention", attention, {{1, 1, 4096, 320}}, {77, 8}},
    {"attention", attention, {{1, 1, 1024, 640}}, {1024, 8}},
    {"convolution", convolution, {{1, 16, 16, 128}}, {128, 3, 1}},
    {"convolution", convolution, {{1, 8, 8, 256}}, {256, 3, 1}},
    {"convolution", convolution, {{1, 16, 16, 128}}, {128, 3, 2}},
    {"convolution", convolution, {{1, 128, 128, 64}}, {64, 3, 1}},
    {"convolution", convolution, {{1, 128, 128, 64}}, {3, 3, 1}},
    {"convolution", convolution, {{1, 64, 64, 320}}, {320, 3, 1}},
    {"convolution", convolution, {{1, 64, 64, 320}}, {320, 3, 2}},
    {"convolution", convolution, {{1, 16, 16, 1280}}, {1280, 3, 1}},
    {"linear", linear, {{1, 1, 64, 256}}, {2048}},
    {"linear", linear, {{1, 1, 4096, 320}}, {2560}},
    {"layer_norm", layer_norm, {{1, 1, 64, 256}}, {0}},
    {"layer_norm", layer_norm, {{1, 1, 4096, 320}}, {0}},
    {"group_norm_silu", group_norm_silu, {{1, 16, 16, 128}}, {0}},
    {"group_norm_silu", group_norm_silu, {{1, 64, 64, 320}}, {0}},
    {"geglu", geglu, {{1, 1, 64, 2048}}, {0}},
    {"geglu", geglu, {{1, 1, 4096, 2560}}, {0}},
    {"relu", relu, {{1, 128, 128, 64}}, {0}},
};

static double time_layer(const layer *l, bool gradient)
{
    ltn_graph *g = NULL;
    ltn_weight w = {0};
    ltn_node *wrt[3] = {NULL}, *grad[3] = {NULL};
    check(ltn__graph_open(ctx, &g));
    ltn_node *y = l->build(g, l, &w, wrt);
    if (gradient) {
        const int count = wrt[1] ? 3 : 1;
        check(ltn__grad(g, y, ltn__input(g, "dy", y->dims), wrt, count, grad));
        for (int k = 0; k < count; k++) ltn__output(g, (const char *[]){"dx", "dk", "dv"}[k], grad[k]);
    } else {
        ltn__output(g, "y", y);
    }
    const double seconds = best_run(g);
    ltn__graph_close(&g);
    ltn__weight_free(ctx, &w);
    free((void *)w.data);
    return seconds;
}

/* The whole plan if output is NULL, else the half before it, and the other half. */
static void run(ltn_plan *p, const char *output, bool back)
{
    if (!output) ltn__plan_run(p);
    else if (back) ltn__plan_run_on(p, output);
    else ltn__plan_run_to(p, output);
}

static double best_half(ltn_plan *p, const char *output, bool back)
{
    double best = 1e9;
    const double end = ltn__seconds() + 1;
    do {
        const double start = now();
        run(p, output, back);
        best = LTN_MIN(best, now() - start);
    } while (ltn__seconds() < end);
    return best;
}

static void time_part(ltn_model *m, const char *name, ltn_part_kind kind, ltn_part_kind gradient,
                      int64_t side)
{
    ltn_part *plain, *back;
    struct rusage usage;
    check(ltn__model_part(m, kind, 1, side, side, &plain));
    fill_inputs(plain->graph, plain->plan);
    const double forward = best_half(plain->plan, NULL, false);
    getrusage(RUSAGE_SELF, &usage);
    printf("%-16s %4d  forward %9.2f ms %7.1f MB, resident %6ld MB", name, (int)side, forward * 1e3,
           (double)ltn__plan_bytes(plain->plan) * 1e-6, usage.ru_maxrss / 1024);
    fflush(stdout);
    check(ltn__model_part(m, gradient, 1, side, side, &back));
    fill_inputs(back->graph, back->plan);
    const double half = best_half(back->plan, "out", false),
                 gradient_half = best_half(back->plan, "out", true);
    getrusage(RUSAGE_SELF, &usage);
    printf("; kept %9.2f ms, back %9.2f ms %5.2f %7.1f MB, resident %6ld MB\n", half * 1e3,
           gradient_half * 1e3, gradient_half / forward, (double)ltn__plan_bytes(back->plan) * 1e-6,
           usage.ru_maxrss / 1024);
    fflush(stdout);
}

static void time_model(const char *path, int64_t side, const char *only)
{
    static const struct {
        const char *name;
        ltn_part_kind forward, gradient;
        bool pixels;
    } part[] = {{"unet by text", LTN_UNET, LTN_UNET_BY_TEXT, false},
                {"unet by sample", LTN_UNET, LTN_UNET_BY_SAMPLE, false},
                {"decode", LTN_DECODE, LTN_DECODE_BACK, false},
                {"encode", LTN_ENCODE, LTN_ENCODE_BACK, true}};
    ltn_model *m = NULL;
    check(ltn_model_open(ctx, path, &m));
    for (int k = 0; k < LTN_COUNT(part); k++)
        if (!only || !strcmp(only, part[k].name))
            time_part(m, part[k].name, part[k].forward, part[k].gradient,
                      part[k].pixels ? side : side / m->factor);
    ltn_model_close(&m);
}

static void time_layers(void)
{
    for (int k = 0; k < LTN_COUNT(layers); k++) {
        const layer *l = &layers[k];
        const double forward = time_layer(l, false), backward = time_layer(l, true);
        printf("%-16s %3d x %4d x %4d %5d %4d %d  forward %8.3f ms  gradient %8.3f ms  %5.2f\n", l->name,
               (int)l->x.d[1], (int)l->x.d[2], (int)l->x.d[3], (int)l->size[0], (int)l->size[1],
               (int)l->size[2], forward * 1e3, backward * 1e3, backward / forward);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    if (ltn_open(&ctx, &(ltn_options){.threads = argc > 1 ? atoi(argv[1]) : 0})) return 1;
    if (argc > 2) time_model(argv[2], argc > 3 ? atoi(argv[3]) : 128, argc > 4 ? argv[4] : NULL);
    else time_layers();
    ltn_close(&ctx);
    return 0;
}
