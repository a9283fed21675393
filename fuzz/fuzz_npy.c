/* fuzz_npy.c - .npy files, as pictures and as arrays. */
#include "fuzz.h"

extern const ltn_format ltn__format_npy;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_array a, again;
    ltn_bytes b;
    fuzz_image(&ltn__format_npy, p, n);
    if (!ltn__npy_decode(ctx, "input", p, n, &a) && !ltn__npy_encode(ctx, &a, &b)) {
        fuzz_claim(!ltn__npy_decode(ctx, "again", b.data, b.size, &again), ltn_error(ctx));
        fuzz_claim(again.rank == a.rank && !memcmp(again.dim, a.dim, sizeof a.dim), "the same shape again");
        ltn_array_free(ctx, &again);
        ltn__free(ctx, b.data);
    }
    ltn_array_free(ctx, &a);
    ltn_close(&ctx);
    return 0;
}
