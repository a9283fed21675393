/* fuzz_webp.c - WebP files. */
#include "fuzz.h"

extern const ltn_format ltn__format_webp;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    fuzz_image(&ltn__format_webp, p, n);
    return 0;
}
