/* bench.c - times kernels, `bench THREADS`: typical layers, and every operation's examples. Each line is the best
 * of several runs. (The parts of a model: `latino bench`.) */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ltn_ctx *ctx;

static void check(ltn_status s)
{
    if (!s) return;
    fprintf(stderr, "bench: %s\n", ltn_error(ctx));
    exit(1);
}

/* Seconds of the plan's best run within half a second. */
static double best_run(ltn_plan *p)
{
    double best = 1e9;
    const double end = ltn__seconds() + 0.5;
    do {
        const double start = ltn__seconds();
        ltn__plan_run(p);
        const double t = ltn__seconds() - start;
        best = LTN_MIN(best, t);
    } while (ltn__seconds() < end);
    return best;
}

static void fill_inputs(ltn_graph *g, ltn_plan *p)
{
    for (int i = 0; i < ltn__graph_size(g); i++) {
        const ltn_node *n = ltn__graph_node(g, i);
        real *x = n->input ? ltn__plan_data(p, n->input) : NULL;
        for (int64_t j = 0; x && j < ltn__count(n->dims); j++)
            x[j] = (real)(strncmp(n->input, "ids", 3)
                              ? 0.5 + ltn__uniform((ltn_rng){1, (uint64_t)i}, (uint64_t)j)
                              : (double)(j % 3));
    }
}

static double time_graph(ltn_graph *g, bool reference)
{
    ltn_plan *p = NULL;
    check(ltn__plan_open(g, &(ltn_plan_options){.reference = reference}, &p));
    fill_inputs(g, p);
    const double t = best_run(p);
    ltn__plan_close(&p);
    return t;
}

static void report(const char *name, ltn_graph *g, double flop)
{
    const double plan = time_graph(g, false), reference = time_graph(g, true);
    printf("%-40s %9.3f ms", name, plan * 1e3);
    if (flop > 0) printf(" %7.0f GFLOP/s", flop / plan * 1e-9);
    printf("   reference %9.3f ms\n", reference * 1e3);
    fflush(stdout);
}

static void time_rows(void)
{
    const ltn_op *op;
    for (int i = 0; (op = ltn__op(i)); i++)
        for (int k = 0;; k++) {
            char name[80];
            ltn_graph *g = NULL;
            check(ltn__graph_open(ctx, &g));
            ltn_node *n = op->example(g, k);
            snprintf(name, sizeof name, "%s %d", op->entry.name, k);
            if (n) {
                ltn__output(g, "y", n);
                report(name, g, 0);
            }
            ltn__graph_close(&g);
            if (!n) break;
        }
}

static ltn_weight random_weight(int64_t a, int64_t b, int64_t c, int64_t d)
{
    const size_t n = (size_t)(a * b * c * d);
    float *data = calloc(n, sizeof *data);
    if (data) ltn__normals((ltn_rng){2, 0}, 0, data, n);
    return (ltn_weight){.name = "w", .dtype = LTN_F32, .rank = 4, .dim = {a, b, c, d}, .data = data};
}

/* A product of x with weights that lie in a file. */
static void time_layer(ltn_dims x, int64_t out, int kernel, int stride)
{
    char name[80];
    ltn_weight w = random_weight(out, x.d[3], kernel, kernel), b = random_weight(1, 1, 1, out);
    ltn_graph *g = NULL;
    check(ltn__graph_open(ctx, &g));
    ltn_node *n = ltn__input(g, "x", x), *wn = ltn__weight_node(g, &w), *bn = ltn__weight_node(g, &b);
    const int pad = kernel / 2;
    n = kernel ? ltn__conv2d(g, n, wn, bn, stride, pad, pad, pad, pad) : ltn__linear(g, n, wn, bn);
    ltn__output(g, "y", n);
    snprintf(name, sizeof name, "conv %dx%d /%d  %lldx%lldx%lldx%lld -> %lld", kernel, kernel, stride,
             (long long)x.d[0], (long long)x.d[1], (long long)x.d[2], (long long)x.d[3], (long long)out);
    report(name, g, 2.0 * (double)ltn__count(n->dims) * (double)(x.d[3] * kernel * kernel));
    ltn__graph_close(&g);
    ltn__weight_free(ctx, &w);
    ltn__weight_free(ctx, &b);
    free((void *)w.data);
    free((void *)b.data);
}

static void time_attention(int64_t n, int64_t t, int64_t s, int64_t c, int heads)
{
    char name[80];
    ltn_graph *g = NULL;
    check(ltn__graph_open(ctx, &g));
    ltn_node *k = ltn__input(g, "k", ltn__dims(n, 1, s, c)), *q = ltn__input(g, "q", ltn__dims(n, 1, t, c));
    ltn__output(g, "y", ltn__attention(g, q, k, ltn__input(g, "v", k->dims), heads, false));
    snprintf(name, sizeof name, "attention %lldx%lld over %lld, %d heads of %lld", (long long)n, (long long)t,
             (long long)s, heads, (long long)(c / heads));
    report(name, g, 4.0 * (double)(n * t * s * c));
    ltn__graph_close(&g);
}

static void time_layers(void)
{
    static const struct {
        int64_t n, side, in, out;
        int kernel, stride;
    } layer[] = {{1, 128, 3, 64, 3, 1},   {1, 128, 64, 64, 3, 1},  {1, 128, 64, 64, 3, 2},
                 {1, 128, 64, 3, 3, 1},   {1, 16, 64, 64, 3, 1},   {8, 16, 32, 128, 3, 1},
                 {1, 16, 128, 128, 3, 1}, {8, 16, 128, 128, 3, 1}, {1, 8, 256, 256, 3, 1},
                 {8, 8, 256, 256, 3, 1},  {8, 8, 512, 512, 3, 1},  {8, 16, 256, 128, 1, 1},
                 {1, 64, 320, 320, 3, 1}, {1, 32, 640, 640, 3, 1}};
    for (int k = 0; k < LTN_COUNT(layer); k++)
        time_layer(ltn__dims(layer[k].n, layer[k].side, layer[k].side, layer[k].in), layer[k].out,
                   layer[k].kernel, layer[k].stride);
    time_attention(8, 64, 64, 256, 4);
    time_attention(8, 64, 77, 256, 4);
    time_attention(1, 1024, 1024, 512, 8);
    time_attention(1, 4096, 4096, 320, 8);
    time_attention(1, 4096, 77, 320, 8);
}

int main(int argc, char **argv)
{
    if (ltn_open(&ctx, &(ltn_options){.threads = argc > 1 ? atoi(argv[1]) : 0})) return 1;
    time_layers();
    time_rows();
    ltn_close(&ctx);
}
