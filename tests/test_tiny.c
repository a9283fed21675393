/* test_tiny.c - tiny autoencoders as their authors' two files hold them: TAESD and those of 16 channels, TAEF2 with its
 * pooled branch, TAESANA with 32 pixels to a latent, beside an implementation in PyTorch (tools/golden/tiny.py). */
#include "model/layout.h"
#include "recipe.h"

static float *input(const char *name, ltn_dims d)
{
    if (!strstr(name, "encode")) return values("latent", (size_t)ltn__count(d), 1);
    float *v = malloc((size_t)ltn__count(d) * sizeof *v), *p = v;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < d.d[1]; y++)
            for (int x = 0; x < d.d[2]; x++)
                *p++ = (float)(0.8 * sin(0.07 * y * (c + 1) + 0.05 * x) * cos(0.11 * x - 0.3 * c));
    return v;
}

static void run(ltn_ctx *ctx, const char *name, ltn_graph *g, double tolerance)
{
    const bool encodes = strstr(name, "encode") != NULL;
    ltn_plan *plan = NULL;
    OK(ctx, ltn__plan_open(g, NULL, &plan));
    if (!plan) return;
    const char *in = encodes ? "picture" : "latent";
    const ltn_dims d = ltn__plan_dims(plan, in), o = ltn__plan_dims(plan, "out");
    float *x = input(name, d), *out = malloc((size_t)ltn__count(o) * sizeof *out);
    ltn__to_last(x, ltn__plan_data(plan, in), 1, d.d[3], d.d[1] * d.d[2]);
    ltn__plan_run(plan);
    ltn__to_planar(ltn__plan_data(plan, "out"), out, 1, o.d[3], o.d[1] * o.d[2]);
    against_golden(ctx, "tiny.safetensors", name, out, (size_t)ltn__count(o), tolerance);
    free(x);
    free(out);
    ltn__plan_close(&plan);
}

/* One half, found by its tensors, under diffusers' names, with the configuration that these say. */
static void half(ltn_ctx *ctx, const char *name, ltn_tensors *file)
{
    const bool encodes = strstr(name, "encode") != NULL;
    const ltn_layout *l = ltn__layout_find(file, encodes ? LTN_AT_HALF_ENCODER : LTN_AT_HALF_DECODER);
    ltn_arena arena = {.ctx = ctx};
    ltn_json *config = NULL;
    ltn_tensors *view = NULL;
    ltn_graph *g = NULL;
    test_name("%s", name);
    CHECK(l && !ltn__layout_find(file, encodes ? LTN_AT_HALF_DECODER : LTN_AT_HALF_ENCODER));
    if (!l) return;
    OK(ctx, ltn__tensors_view(ctx, name, ltn__tensors_count(file), &view));
    OK(ctx, ltn__layout_move(l, file, view));
    OK(ctx, ltn__layout_config(l, view, &(ltn_hints){0}, &arena, &config));
    OK(ctx, ltn__graph_open(ctx, &g));
    const ltn_arch *arch = ltn__arch_row(ltn__find(ltn__arch_entry, "AutoencoderTiny"));
    const ltn_part_size size = encodes ? (ltn_part_size){1, 64, 96, 0} : (ltn_part_size){1, 2, 3, 0};
    if (config && g) {
        arch->build((ltn_nn){.g = g, .w = view, .config = config}, encodes ? LTN_ENCODE : LTN_DECODE, size);
        OK(ctx, ltn__graph_status(g));
        OK(ctx, ltn__nn_check_unused(ctx, view));
        OK(ctx, ltn__nn_check_unused(ctx, file));
        if (!ltn__graph_status(g)) run(ctx, name, g, 1e-4);
    }
    ltn__graph_close(&g);
    ltn__tensors_close(&view);
    ltn__arena_free(&arena);
}

TEST(halves_of_every_family)
{
    static const char *const names[] = {"tiny_encoder", "tiny_decoder", "tiny_pooled_encoder", "tiny_pooled_decoder",
                                        "tiny_32_encoder", "tiny_32_decoder"};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    for (int i = 0; i < LTN_COUNT(names); i++) {
        ltn_tensors *t = NULL;
        size_t size;
        uint8_t *p = cook(&(recipe){.names = names[i]}, &size);
        OK(ctx, ltn__tensors_parse(ctx, names[i], p, size, &t));
        if (t) half(ctx, names[i], t);
        ltn__tensors_close(&t);
        free(p);
    }
    ltn_close(&ctx);
}

TEST(real_taef2_and_taesana)
{
    static const char *const names[] = {"taef2_encoder", "taef2_decoder", "taesana_encoder"};
    ltn_ctx *ctx;
    if (!test_shared("data/taef2/taef2_encoder.pth")) {
        test_skip("no ../shared/data/taef2");
        return;
    }
    OK(NULL, ltn_open(&ctx, NULL));
    for (int i = 0; i < LTN_COUNT(names); i++) {
        char file[64];
        ltn_tensors *t = NULL;
        snprintf(file, sizeof file, "data/taef2/%s.pth", names[i]);
        OK(ctx, ltn__tensors_open(ctx, test_shared(file), &t));
        if (t) half(ctx, names[i], t);
        ltn__tensors_close(&t);
    }
    ltn_close(&ctx);
}
