/* fuzz_gguf.c - GGUF files; every weight is found by its name and read whole. The first four bytes are made right. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n + !n);
    if (!copy) return 0;
    memcpy(copy, p, n);
    if (n >= 4) memcpy(copy, "GGUF", 4);
    fuzz_weights(copy, n);
    free(copy);
    return 0;
}
