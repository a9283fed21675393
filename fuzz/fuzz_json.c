/* fuzz_json.c - JSON texts; the tree is walked whole. */
#include "fuzz.h"

static int walk(const ltn_json *j)
{
    int n = 0;
    for (const ltn_json *m = j->child; m; m = m->next, n++) {
        fuzz_claim((j->type == LTN_JSON_OBJECT) == (m->key != NULL),
                   "members of objects, and only these, have a key");
        if (m->key) fuzz_claim(ltn__json_get(j, m->key) == m, "found by its key");
        walk(m);
    }
    fuzz_claim(n == j->count, "as many members as counted");
    return j->string ? (int)strlen(j->string) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_arena arena = {.ctx = ctx};
    ltn_json *j;
    if (!ltn__json_parse(ctx, "input", (const char *)p, n, &arena, &j)) walk(j);
    else fuzz_claim(!j && ltn_error(ctx)[0], "a clean failure");
    ltn__arena_free(&arena);
    ltn_close(&ctx);
    return 0;
}
