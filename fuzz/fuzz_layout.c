/* fuzz_layout.c - weight files to parts: each that the file holds is moved under our names, its configuration is read
 * off its shapes, and its graph is built. */
#include "fuzz.h"

#include "model/layout.h"

static void build(ltn_ctx *ctx, ltn_tensors *view, const ltn_json *config, ltn_part_kind k)
{
    const int row = ltn__find(ltn__arch_entry, ltn__config_architecture(config));
    ltn_graph *g;
    fuzz_claim(row >= 0, "a known architecture");
    if (ltn__graph_open(ctx, &g)) return;
    ltn__arch_row(row)->build((ltn_nn){.g = g, .w = view, .config = config}, k, (ltn_part_size){1, 64, 64, 77});
    fuzz_claim(!ltn__graph_status(g) || ltn_error(ctx)[0], "a clean failure");
    ltn__graph_close(&g);
}

static void part(ltn_ctx *ctx, ltn_tensors *t, int f, ltn_part_kind k)
{
    const ltn_layout *l = ltn__layout_find(t, f);
    ltn_arena arena = {.ctx = ctx};
    ltn_tensors *view = NULL;
    ltn_json *config;
    if (!l || ltn__tensors_view(ctx, "view", 3 * ltn__tensors_count(t), &view)) return;
    ltn_status s = ltn__layout_move(l, t, view);
    if (!s) s = ltn__layout_config(l, view, &(ltn_hints){.pooled = 64}, &arena, &config);
    fuzz_claim(!s || s == LTN_ENOMEM || ltn_error(ctx)[0], "a clean failure");
    if (!s) build(ctx, view, config, k);
    ltn__tensors_close(&view);
    ltn__arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_tensors *t;
    if (!ltn__tensors_parse(ctx, "input", p, n, &t)) {
        part(ctx, t, LTN_AT_UNET, LTN_UNET);
        part(ctx, t, LTN_AT_VAE, LTN_DECODE);
        part(ctx, t, LTN_AT_TEXT, LTN_TEXT);
        part(ctx, t, LTN_AT_TEXT_2, LTN_TEXT_POOLED);
        part(ctx, t, LTN_AT_HALF_DECODER, LTN_DECODE);
    }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
    return 0;
}
