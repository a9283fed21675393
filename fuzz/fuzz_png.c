/* fuzz_png.c - PNG files; the check sums of their chunks are made right, so that changes get past them. */
#include "fuzz.h"

#include <zlib.h>

extern const ltn_format ltn__format_png;

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A chunk is length, type, data, check sum of type and data. */
static void mend(uint8_t *p, size_t n)
{
    for (size_t at = 8; at + 12 <= n;) {
        const size_t length = big_endian(p + at);
        if (length > n - at - 12) return;
        const uint32_t sum = (uint32_t)crc32(0, p + at + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++) p[at + 8 + length + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
        at += length + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n + 1);
    if (!copy) return 0;
    memcpy(copy, p, n);
    mend(copy, n);
    fuzz_image(&ltn__format_png, copy, n);
    free(copy);
    return 0;
}
