/* weight.c - weights where they lie in their file, widened from f16, bf16, f32 or f64 to real, and the copies
 * in other layouts that all plans of a model share. */
#include "graph.h"

#include <string.h>

struct ltn_copy {
    struct ltn_copy *next;
    void *data;
    char key[];
};

void *ltn__weight_copy(const ltn_weight *w, const char *key)
{
    for (const struct ltn_copy *c = w->copies; c; c = c->next)
        if (!strcmp(c->key, key)) return c->data;
    return NULL;
}

void *ltn__weight_make_copy(ltn_ctx *ctx, ltn_weight *w, const char *key, size_t bytes)
{
    const size_t length = strlen(key) + 1;
    struct ltn_copy *c = ltn__alloc(ctx, 1, sizeof *c + length);
    void *data = ltn__alloc(ctx, bytes, 1);
    if (!c || !data) {
        ltn__free(ctx, c);
        ltn__free(ctx, data);
        return NULL;
    }
    memcpy(c->key, key, length);
    c->data = data;
    c->next = w->copies;
    w->copies = c;
    return data;
}

void ltn__weight_free(ltn_ctx *ctx, ltn_weight *w)
{
    while (w->copies) {
        struct ltn_copy *c = w->copies;
        w->copies = c->next;
        ltn__free(ctx, c->data);
        ltn__free(ctx, c);
    }
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The exponent is moved up by multiplying with 2^112, which makes f16's subnormals normal as well. */
static float from_half(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    if (rest >= 0x7c00u << 13) return from_bits(sign | 0x7f800000u | rest);
    return from_bits(sign | 0x3f800000u) * (from_bits(rest) * 0x1p112f);
}

void ltn__weight_widen(const ltn_weight *w, int64_t first, int64_t n, real *out)
{
    static const size_t size[] = {[LTN_F32] = 4, [LTN_F16] = 2, [LTN_BF16] = 2, [LTN_F64] = 8};
    const char *p = (const char *)w->data + (size_t)first * size[w->dtype];
    for (int64_t i = 0; i < n; i++, p += size[w->dtype]) {
        uint16_t half;
        float single;
        double twice;
        switch (w->dtype) {
        case LTN_F32: memcpy(&single, p, 4); out[i] = single; break;
        case LTN_F16: memcpy(&half, p, 2); out[i] = from_half(half); break;
        case LTN_BF16: memcpy(&half, p, 2); out[i] = from_bits((uint32_t)half << 16); break;
        case LTN_F64: memcpy(&twice, p, 8); out[i] = (real)twice; break;
        }
    }
}

const real *ltn__weight_real(ltn_ctx *ctx, ltn_weight *w)
{
    const ltn_dtype own = sizeof(real) == sizeof(double) ? LTN_F64 : LTN_F32;
    if (w->dtype == own && (uintptr_t)w->data % sizeof(real) == 0) return w->data;
    real *copy = ltn__weight_copy(w, "real");
    if (copy) return copy;
    int64_t n = 1;
    for (int k = 0; k < w->rank; k++) n *= w->dim[k];
    copy = ltn__weight_make_copy(ctx, w, "real", (size_t)n * sizeof(real));
    if (copy) ltn__weight_widen(w, 0, n, copy);
    return copy;
}
