/* ops.c - milliseconds of elementwise operations and norms at the shapes of Stable Diffusion's networks;
 * bench/ops.py puts PyTorch's beside them. Usage: bench_ops [threads] */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>

static ltn_node *per_channel(ltn_graph *g, const char *name, const ltn_node *x)
{
    return ltn__input(g, name, ltn__dims(1, 1, 1, x->dims.d[3]));
}

static ltn_node *group_norm(ltn_graph *g, ltn_node *x)
{
    return ltn__group_norm(g, x, per_channel(g, "w", x), per_channel(g, "b", x), 32, 1e-5);
}

static ltn_node *group_norm_silu(ltn_graph *g, ltn_node *x)
{
    return ltn__silu(g, group_norm(g, x));
}

static ltn_node *group_norm_gradient(ltn_graph *g, ltn_node *x)
{
    ltn_node *dx = NULL, *y = group_norm(g, x);
    ltn__grad(g, y, ltn__input(g, "dy", x->dims), &x, 1, &dx);
    return dx;
}

static ltn_node *layer_norm(ltn_graph *g, ltn_node *x)
{
    return ltn__layer_norm(g, x, per_channel(g, "w", x), per_channel(g, "b", x), 1e-5);
}

static ltn_node *add(ltn_graph *g, ltn_node *x)
{
    return ltn__add(g, x, ltn__input(g, "y", x->dims));
}

static ltn_node *add_channels(ltn_graph *g, ltn_node *x)
{
    return ltn__add(g, x, per_channel(g, "y", x));
}

static ltn_node *concat(ltn_graph *g, ltn_node *x)
{
    return ltn__concat(g, x, ltn__input(g, "y", x->dims), 3);
}

static ltn_node *upsample(ltn_graph *g, ltn_node *x)
{
    return ltn__upsample(g, x, 2);
}

static ltn_node *to_planes(ltn_graph *g, ltn_node *x)
{
    return ltn__permute(g, x, 0, 3, 1, 2);
}

static ltn_node *sum_pixels(ltn_graph *g, ltn_node *x)
{
    return ltn__sum_to(g, x, ltn__dims(1, 1, 1, x->dims.d[3]));
}

static const struct {
    const char *name;
    ltn_node *(*build)(ltn_graph *g, ltn_node *x);
    ltn_dims x;
} cases[] = {
    {"group_norm_silu", group_norm_silu, {{1, 16, 16, 256}}},
    {"group_norm_silu", group_norm_silu, {{1, 64, 64, 320}}},
    {"group_norm_silu", group_norm_silu, {{1, 8, 8, 1280}}},
    {"group_norm_silu", group_norm_silu, {{8, 64, 64, 320}}},
    {"group_norm_silu", group_norm_silu, {{1, 512, 512, 128}}},
    {"group_norm", group_norm, {{1, 64, 64, 320}}},
    {"group_norm_gradient", group_norm_gradient, {{1, 64, 64, 320}}},
    {"layer_norm", layer_norm, {{1, 1, 4096, 320}}},
    {"layer_norm", layer_norm, {{1, 1, 77, 768}}},
    {"geglu", ltn__geglu, {{1, 1, 4096, 2560}}},
    {"geglu", ltn__geglu, {{1, 1, 256, 2048}}},
    {"silu", ltn__silu, {{1, 16, 16, 256}}},
    {"silu", ltn__silu, {{1, 64, 64, 320}}},
    {"gelu", ltn__gelu, {{1, 1, 77, 3072}}},
    {"quick_gelu", ltn__quick_gelu, {{1, 1, 77, 3072}}},
    {"relu", ltn__relu, {{1, 128, 128, 64}}},
    {"tanh", ltn__tanh, {{1, 64, 64, 320}}},
    {"softmax", ltn__softmax, {{1, 8, 1024, 1024}}},
    {"add", add, {{1, 64, 64, 320}}},
    {"add_channels", add_channels, {{1, 64, 64, 320}}},
    {"concat", concat, {{1, 64, 64, 320}}},
    {"upsample", upsample, {{1, 32, 32, 640}}},
    {"to_planes", to_planes, {{1, 64, 64, 320}}},
    {"sum_pixels", sum_pixels, {{1, 64, 64, 320}}},
};

static void fill(ltn_graph *g, ltn_plan *p)
{
    for (int k = 0; k < ltn__graph_size(g); k++) {
        const ltn_node *n = ltn__graph_node(g, k);
        if (n->input)
            ltn__normals((ltn_rng){1, (uint64_t)k}, 0, ltn__plan_data(p, n->input),
                         (size_t)ltn__count(n->dims));
    }
}

/* The fastest of the runs that fit into `seconds`. */
static double fastest(ltn_plan *p, double seconds)
{
    double best = 1e9;
    ltn__plan_run(p);
    for (const double end = ltn__seconds() + seconds; ltn__seconds() < end;) {
        const double start = ltn__seconds();
        ltn__plan_run(p);
        best = LTN_MIN(best, ltn__seconds() - start);
    }
    return best;
}

int main(int argc, char **argv)
{
    const ltn_plan_options options = {.threads = argc > 1 ? atoi(argv[1]) : 0};
    ltn_ctx *ctx = NULL;
    if (ltn_open(&ctx, NULL)) return 1;
    for (int k = 0; k < LTN_COUNT(cases); k++) {
        ltn_graph *g = NULL;
        ltn_plan *p = NULL;
        if (ltn__graph_open(ctx, &g)) return 1;
        ltn__output(g, "result", cases[k].build(g, ltn__input(g, "x", cases[k].x)));
        if (ltn__plan_open(g, &options, &p)) {
            fprintf(stderr, "%s: %s\n", cases[k].name, ltn_error(ctx));
            return 1;
        }
        fill(g, p);
        const int64_t *d = cases[k].x.d;
        printf("%s %d %d %d %d %.4f\n", cases[k].name, (int)d[0], (int)d[1], (int)d[2], (int)d[3],
               1e3 * fastest(p, 0.5));
        fflush(stdout);
        ltn__plan_close(&p);
        ltn__graph_close(&g);
    }
    ltn_close(&ctx);
    return 0;
}
