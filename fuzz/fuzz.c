/* fuzz.c - what the targets share. */
#include "fuzz.h"

#include <stdio.h>

static void *modest_realloc(void *user, void *p, size_t n)
{
    (void)user;
    if (n > (size_t)1 << 26) return NULL;
    if (n) return realloc(p, n);
    free(p);
    return NULL;
}

ltn_ctx *fuzz_open(void)
{
    ltn_ctx *ctx;
    const ltn_options opt = {.realloc = modest_realloc, .threads = 1};
    return ltn_open(&ctx, &opt) ? NULL : ctx;
}

void fuzz_claim(int x, const char *what)
{
    if (x) return;
    fprintf(stderr, "broken claim: %s\n", what);
    abort();
}

void fuzz_image(const ltn_format *f, const uint8_t *p, size_t n)
{
    enum { SMALL = 1 << 14 }; /* samples; larger ones would only be slow */
    const ltn_write_options opt = {.bits = 16, .quality = 90};
    ltn_ctx *ctx = fuzz_open();
    ltn_image im, again;
    ltn_bytes b = {0};
    const ltn_status s = f->matches(p, n) ? ltn__image_decode(ctx, "input", p, n, &im) : LTN_DONE;
    if (s < 0)
        fuzz_claim(!im.data && !im.meta && !strncmp(ltn_error(ctx), "input: ", 7 * (s != LTN_ENOMEM)),
                   "a clean failure");
    if (s == LTN_OK && im.width * (int64_t)im.height * im.channels <= SMALL && im.channels <= 4) {
        fuzz_claim(!f->encode(ctx, "output", &im, &opt, &b), ltn_error(ctx));
        fuzz_claim(!ltn__image_decode(ctx, "again", b.data, b.size, &again), ltn_error(ctx));
        fuzz_claim(again.width == im.width && again.height == im.height, "the same size again");
        ltn_image_free(ctx, &again);
        ltn__free(ctx, b.data);
    }
    if (s == LTN_OK) ltn_image_free(ctx, &im);
    ltn_close(&ctx);
}

void fuzz_weights(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_tensors *t;
    if (ltn__tensors_parse(ctx, "input", p, n, &t)) fuzz_claim(!t && ltn_error(ctx)[0], "a clean failure");
    else
        for (int i = 0; i < ltn__tensors_count(t); i++) {
            ltn_weight *w = ltn__tensors_at(t, i);
            fuzz_claim(ltn__tensors_find(t, w->name) == w, "found by its name");
            w->used = ltn__weight_finite(w);
        }
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}
