/* fuzz_config.c - config.json to graphs: every part of the architecture that it names is built, on no weights at all,
 * so that it must fail, in one line. */
#include "fuzz.h"

#include "model/model.h"

static void build(ltn_ctx *ctx, const ltn_arch *a, const ltn_json *config, ltn_tensors *none)
{
    for (ltn_part_kind k = LTN_TEXT; k <= LTN_DECODE; k++) {
        ltn_graph *g;
        if (ltn__graph_open(ctx, &g)) return;
        a->build((ltn_nn){.g = g, .w = none, .config = config}, k, (ltn_part_size){1, 64, 64, 77});
        fuzz_claim(ltn__graph_status(g) < 0 && ltn_error(ctx)[0], "a clean failure");
        ltn__graph_close(&g);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_arena arena = {.ctx = ctx};
    ltn_json *j;
    ltn_tensors *none;
    if (!ltn__json_parse(ctx, "input", (const char *)p, n, &arena, &j) && !ltn__tensors_view(ctx, "none", 1, &none)) {
        const int row = ltn__find(ltn__arch_entry, ltn__json_str(j, "_class_name", ""));
        if (row >= 0) build(ctx, ltn__arch_row(row), j, none);
        ltn__tensors_close(&none);
    }
    ltn__arena_free(&arena);
    ltn_close(&ctx);
    return 0;
}
