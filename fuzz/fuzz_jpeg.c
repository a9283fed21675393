/* fuzz_jpeg.c - JPEG files. */
#include "fuzz.h"

extern const ltn_format ltn__format_jpeg;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    fuzz_image(&ltn__format_jpeg, p, n);
    return 0;
}
