/* fuzz_gguf.c - GGUF files; every weight is found by its name and read whole. The first four bytes are made right. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_tensors *t;
    uint8_t *copy = malloc(n + !n);
    if (!copy) return 0;
    memcpy(copy, p, n);
    if (n >= 4) memcpy(copy, "GGUF", 4);
    if (ltn__tensors_parse(ctx, "input", copy, n, &t)) fuzz_claim(!t && ltn_error(ctx)[0], "a clean failure");
    else
        for (int i = 0; i < ltn__tensors_count(t); i++) {
            ltn_weight *w = ltn__tensors_at(t, i);
            fuzz_claim(ltn__tensors_find(t, w->name) == w, "found by its name");
            w->used = ltn__weight_finite(w);
        }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
    free(copy);
    return 0;
}
