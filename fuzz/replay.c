/* replay.c - gives every file of a corpus to one target, whole, cut in half, and with one bit turned; a crash
 * is a failure. Prints "ok fuzz_NAME (37 inputs)". */
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>

/* The inputs come as fresh blocks of exactly their size, so that a sanitizer sees every byte read beyond. */
static void give(const uint8_t *p, size_t n, size_t turned)
{
    uint8_t *copy = malloc(n + !n);
    if (!copy) return;
    memcpy(copy, p, n);
    if (turned < n) copy[turned] ^= 1 << turned % 8;
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(void)
{
    const char *folder = LTN_SOURCE_ROOT "/fuzz/corpus/" FUZZ_NAME;
    struct dirent **entry;
    ltn_ctx *ctx = fuzz_open();
    const int n = scandir(folder, &entry, visible, alphasort);
    int read = 0;
    for (int i = 0; i < n; i++) {
        ltn_bytes b;
        char *path = ltn__path_join(ctx, folder, entry[i]->d_name);
        if (!ltn__file_read(ctx, path, &b)) {
            read++;
            give(b.data, b.size, b.size);
            give(b.data, b.size / 2, b.size);
            give(b.data, b.size, b.size * 2 / 3);
            ltn__free(ctx, b.data);
        }
        ltn__free(ctx, path);
        free(entry[i]);
    }
    if (n >= 0) free(entry);
    ltn_close(&ctx);
    if (read > 0) printf("ok fuzz_%s (%d inputs)\n", FUZZ_NAME, read);
    else printf("not ok fuzz_%s: no inputs in %s\n", FUZZ_NAME, folder);
    return read == 0;
}
