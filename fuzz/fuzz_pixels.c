/* fuzz_pixels.c - networks of diffusions in pixels: a UNet2DModel's config.json or nothing (guided-diffusion, whose
 * configuration is found from its tensors), a blank line, the names and shapes of tensors, one a line; the graph that
 * they ask for is built. */
#include "fuzz.h"

#include <stdio.h>

#include "model/model.h"

enum { MOST = 1000, LINE = 200 };

/* "conv_in.weight 16 3 3 3"; no data stand behind it, for building looks at none. */
static void put(ltn_tensors *view, char *line)
{
    static const float none[1];
    ltn_weight w = {.name = line, .dtype = LTN_F32, .data = none};
    char *at = strchr(line, ' ');
    if (!at) return;
    for (*at++ = 0; w.rank < 4 && *at >= '0' && *at <= '9'; w.rank++) {
        const long d = strtol(at, &at, 10);
        w.dim[w.rank] = LTN_MIN(LTN_MAX(d, 1), 1 << 20);
        at += *at == ' ';
    }
    if (w.rank && !ltn__tensors_find(view, line)) ltn__tensors_lend(view, &w, line);
}

static void put_all(ltn_tensors *view, const char *p, const char *end)
{
    for (char line[LINE]; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop) stop = end;
        snprintf(line, sizeof line, "%.*s", (int)LTN_MIN(stop - p, LINE - 1), p);
        put(view, line);
        p = stop + 1;
    }
}

static void build(ltn_ctx *ctx, ltn_tensors *view, const ltn_json *config)
{
    const int row = ltn__find(ltn__arch_entry, ltn__config_architecture(config));
    ltn_graph *g;
    if (row < 0 || ltn__graph_open(ctx, &g)) return;
    ltn__arch_row(row)->build((ltn_nn){.g = g, .w = view, .config = config}, LTN_UNET, (ltn_part_size){1, 64, 64, 77});
    fuzz_claim(!ltn__graph_status(g) || ltn_error(ctx)[0], "a clean failure");
    ltn__graph_close(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_arena arena = {.ctx = ctx};
    ltn_tensors *view = NULL;
    ltn_json *config;
    size_t split = 0;
    while (split + 1 < n && (p[split] != '\n' || p[split + 1] != '\n')) split++;
    if (split + 1 < n && !ltn__tensors_view(ctx, "view", MOST, &view)) {
        put_all(view, (const char *)p + split + 2, (const char *)p + n);
        const bool guided = ltn__guided_matches(view);
        const ltn_status s = guided ? ltn__guided_config(ctx, view, &arena, &config)
                                    : ltn__json_parse(ctx, "input", (const char *)p, split, &arena, &config);
        fuzz_claim(!s || ltn_error(ctx)[0], "a clean failure");
        if (!s) build(ctx, view, config);
    }
    ltn__tensors_close(&view);
    ltn__arena_free(&arena);
    ltn_close(&ctx);
    return 0;
}
