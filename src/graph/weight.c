/* weight.c - weights where they lie in their file, widened from f16, bf16, f32 or f64 to real, and the copies
 * in other layouts that all plans of a model share. */
#include "../base/half.h"
#include "graph.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

static inline float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* One loop for each type, so that it becomes vector code. */
#define WIDEN(name, type, value)                                                \
    LTN_KERNEL static void name(const char *p, int64_t n, real *restrict out)   \
    {                                                                           \
        for (int64_t i = 0; i < n; i++) {                                       \
            type v;                                                             \
            memcpy(&v, p + (size_t)i * sizeof v, sizeof v);                     \
            out[i] = (real)(value);                                             \
        }                                                                       \
    }
WIDEN(widen_f32, float, v)
WIDEN(widen_bf16, uint16_t, from_bits((uint32_t)v << 16))
WIDEN(widen_f64, double, v)

static void widen_f16(const char *p, int64_t n, real *restrict out)
{
    enum { SOME = 256 };
    float some[SOME];
    if (sizeof(real) == sizeof(float)) {
        ltn__halves(p, n, (float *)(void *)out);
        return;
    }
    for (int64_t i = 0; i < n; i += SOME) {
        const int64_t count = LTN_MIN(n - i, SOME);
        ltn__halves(p + 2 * i, count, some);
        for (int64_t k = 0; k < count; k++) out[i + k] = (real)some[k];
    }
}

static const size_t size[] = {[LTN_F32] = 4, [LTN_F16] = 2, [LTN_BF16] = 2, [LTN_F64] = 8};

const char *ltn__dtype_name(ltn_dtype d)
{
    static const char *const name[] = {[LTN_F32] = "f32", [LTN_F16] = "f16", [LTN_BF16] = "bf16", [LTN_F64] = "f64"};
    const ltn_block_type *b = ltn__block_type(d);
    return b ? b->name : name[d];
}

size_t ltn__weight_bytes(const ltn_weight *w)
{
    const ltn_block_type *b = ltn__block_type(w->dtype);
    size_t n = 1;
    for (int k = 0; k < w->rank; k++) n *= (size_t)w->dim[k];
    return b ? n / (size_t)b->values * (size_t)b->bytes : n * size[w->dtype];
}

/* Whole blocks, of which those at the ends may be wanted in part. */
static void widen_blocks(const ltn_block_type *b, const uint8_t *p, int64_t first, int64_t n, real *out)
{
    enum { MOST = 256 };
    float y[MOST];
    for (int64_t i = first; i < first + n;) {
        const int64_t block = i / b->values, from = i - block * b->values;
        const int64_t some = LTN_MIN(b->values - from, first + n - i);
        b->widen(p + (size_t)block * (size_t)b->bytes, y);
        for (int64_t k = 0; k < some; k++) *out++ = (real)y[from + k];
        i += some;
    }
}

void ltn__weight_widen(const ltn_weight *w, int64_t first, int64_t n, real *out)
{
    static void (*const widen[])(const char *, int64_t, real *) = {
        [LTN_F32] = widen_f32, [LTN_F16] = widen_f16, [LTN_BF16] = widen_bf16, [LTN_F64] = widen_f64};
    const ltn_block_type *b = ltn__block_type(w->dtype);
    if (b) widen_blocks(b, w->data, first, n, out);
    else widen[w->dtype]((const char *)w->data + (size_t)first * size[w->dtype], n, out);
}

void ltn__weight_fetch(const ltn_weight *w, int64_t first, int64_t n)
{
    if (ltn__block_type(w->dtype)) return;
    ltn__fetch((const char *)w->data + (size_t)first * size[w->dtype], (size_t)n * size[w->dtype]);
}

void ltn__weight_leave(const ltn_weight *w)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)w->data / page * page;
    if (w->mapped) madvise((void *)first, (uintptr_t)w->data + ltn__weight_bytes(w) - first, MADV_DONTNEED);
}

int64_t ltn__weight_count(const ltn_weight *w)
{
    int64_t n = 1;
    for (int k = 0; k < w->rank; k++) n *= w->dim[k];
    return n;
}

const real *ltn__weight_real(ltn_ctx *ctx, ltn_weight *w)
{
    const ltn_dtype own = sizeof(real) == sizeof(double) ? LTN_F64 : LTN_F32;
    if (w->dtype == own && (uintptr_t)w->data % sizeof(real) == 0) return w->data;
    real *copy = ltn__weight_copy(w, "real");
    if (copy) return copy;
    const int64_t n = ltn__weight_count(w);
    copy = ltn__weight_make_copy(ctx, w, "real", (size_t)n * sizeof(real));
    if (copy) ltn__weight_widen(w, 0, n, copy);
    return copy;
}
