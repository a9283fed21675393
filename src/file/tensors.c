/* tensors.c - weights of any kind of file, where they lie in it: the kind is recognised by content, and a
 * weight found by its name. */
#include "tensors.h"

#include <math.h>
#include <string.h>

enum { SHARED = 8 }; /* how often the bytes of a file may be copied */

static uint32_t hash(const char *s) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    while (*s) h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

ltn_status ltn__tensors_room(ltn_tensors *t, size_t n)
{
    uint32_t slots = 8;
    while (slots < 2 * n) slots *= 2;
    t->mask = slots - 1;
    t->weight = ltn__arena_alloc(&t->arena, n + 1, sizeof *t->weight);
    t->slot = ltn__arena_alloc(&t->arena, slots, sizeof *t->slot);
    return t->weight && t->slot ? LTN_OK : LTN_ENOMEM;
}

static int element(ltn_dtype d)
{
    return d == LTN_F64 ? 8 : d == LTN_F32 ? 4 : d == LTN_F16 || d == LTN_BF16 ? 2 : 1;
}

void *ltn__tensors_copy(ltn_tensors *t, const char *name, size_t bytes, ltn_status *s)
{
    *s = bytes <= t->copies
             ? LTN_OK
             : ltn__fail(t->ctx, LTN_EFORMAT, "%s: %s: more weights than the file can hold", t->path, name);
    void *p = *s ? NULL : ltn__arena_alloc(&t->arena, bytes, 1);
    if (!*s && !p) *s = LTN_ENOMEM;
    t->copies -= p ? bytes : 0;
    return p;
}

static ltn_status insert(ltn_tensors *t, ltn_weight w)
{
    uint32_t h = hash(w.name);
    for (; t->slot[h & t->mask]; h++)
        if (!strcmp(t->weight[t->slot[h & t->mask] - 1].name, w.name))
            return ltn__fail(t->ctx, LTN_EFORMAT, "%s: %s: appears twice", t->path, w.name);
    t->weight[t->count++] = w;
    t->slot[h & t->mask] = t->count;
    return LTN_OK;
}

ltn_status ltn__tensors_add(ltn_tensors *t, ltn_weight w, const uint8_t *p, size_t bytes)
{
    w.data = p;
    w.mapped = t->mapped.data && p >= t->mapped.data && p - t->mapped.data < (ptrdiff_t)t->mapped.size;
    if ((uintptr_t)p % (unsigned)element(w.dtype)) {
        ltn_status s;
        void *q = ltn__tensors_copy(t, w.name, bytes, &s);
        if (!q) return s;
        w.data = memcpy(q, p, bytes);
        w.mapped = false;
    }
    return insert(t, w);
}

static ltn_status parse(ltn_tensors *t, const uint8_t *p, size_t n)
{
    t->copies = n < SIZE_MAX / SHARED ? SHARED * n : n;
    if (ltn__gguf_matches(p, n)) return ltn__gguf_parse(t, p, n);
    return ltn__torch_matches(p, n) ? ltn__torch_parse(t, p, n) : ltn__safetensors_parse(t, p, n);
}

static ltn_status fresh(ltn_ctx *ctx, const char *path, ltn_tensors **out)
{
    ltn_tensors *t = *out = ltn__alloc(ctx, 1, sizeof *t);
    if (!t) return LTN_ENOMEM;
    t->ctx = ctx;
    t->arena.ctx = ctx;
    t->path = ltn__arena_format(&t->arena, "%s", path);
    return t->path ? LTN_OK : LTN_ENOMEM;
}

ltn_status ltn__tensors_parse(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_tensors **out)
{
    ltn_status s = fresh(ctx, path, out);
    if (!s) s = parse(*out, p, n);
    if (s) ltn__tensors_close(out);
    return s;
}

ltn_status ltn__tensors_open(ltn_ctx *ctx, const char *path, ltn_tensors **out)
{
    ltn_status s = fresh(ctx, path, out);
    if (!s) s = ltn__file_map(ctx, path, &(*out)->mapped);
    if (!s) s = parse(*out, (*out)->mapped.data, (*out)->mapped.size);
    if (s) ltn__tensors_close(out);
    return s;
}

ltn_status ltn__tensors_view(ltn_ctx *ctx, const char *path, int room, ltn_tensors **out)
{
    ltn_status s = fresh(ctx, path, out);
    if (!s) s = ltn__tensors_room(*out, (size_t)room);
    if (!s) (*out)->room = room;
    if (s) ltn__tensors_close(out);
    return s;
}

ltn_status ltn__tensors_lend(ltn_tensors *view, const ltn_weight *w, const char *name)
{
    ltn_weight mine = *w;
    if (view->count == view->room)
        return ltn__fail(view->ctx, LTN_EFORMAT, "%s: %s: one tensor more than there is room for", view->path, name);
    mine.name = ltn__arena_format(&view->arena, "%s", name);
    mine.copies = NULL;
    mine.used = false;
    return mine.name ? insert(view, mine) : LTN_ENOMEM;
}

ltn_status ltn__tensors_lend_rows(ltn_tensors *view, const ltn_weight *w, int64_t first, int64_t rows, const char *name)
{
    ltn_weight part = *w;
    part.dim[0] = rows;
    part.data = (const uint8_t *)w->data + ltn__weight_bytes(w) / (size_t)w->dim[0] * (size_t)first;
    return ltn__tensors_lend(view, &part, name);
}

ltn_status ltn__tensors_lend_transposed(ltn_tensors *view, const ltn_weight *w, const char *name)
{
    const int64_t rows = w->dim[0], columns = w->dim[1];
    ltn_weight turned = {.dtype = LTN_F32, .rank = 2, .dim = {columns, rows}};
    real *row = ltn__alloc(view->ctx, (size_t)columns, sizeof *row);
    float *data = ltn__arena_alloc(&view->arena, (size_t)(rows * columns), sizeof *data);
    for (int64_t i = 0; row && data && i < rows; i++) {
        ltn__weight_widen(w, i * columns, columns, row);
        for (int64_t k = 0; k < columns; k++) data[k * rows + i] = (float)row[k];
    }
    turned.data = data;
    const ltn_status s = row && data ? ltn__tensors_lend(view, &turned, name) : LTN_ENOMEM;
    ltn__free(view->ctx, row);
    return s;
}

void ltn__tensors_close(ltn_tensors **out)
{
    ltn_tensors *t = *out;
    *out = NULL;
    if (!t) return;
    for (int i = 0; i < t->count; i++) ltn__weight_free(t->ctx, &t->weight[i]);
    ltn__file_unmap(&t->mapped);
    ltn__arena_free(&t->arena);
    ltn__free(t->ctx, t);
}

int ltn__tensors_count(const ltn_tensors *t)
{
    return t->count;
}

ltn_weight *ltn__tensors_at(ltn_tensors *t, int i)
{
    return i >= 0 && i < t->count ? &t->weight[i] : NULL;
}

ltn_weight *ltn__tensors_find(ltn_tensors *t, const char *name)
{
    for (uint32_t h = hash(name); t->slot[h & t->mask]; h++) {
        ltn_weight *w = &t->weight[t->slot[h & t->mask] - 1];
        if (!strcmp(w->name, name)) return w;
    }
    return NULL;
}

const ltn_json *ltn__tensors_metadata(const ltn_tensors *t)
{
    return t->metadata;
}

bool ltn__tensors_marked(ltn_tensors *t, const char *name)
{
    return ltn__tensors_find(t, name) || ltn__json_get(t->header, name);
}

ltn_ctx *ltn__tensors_ctx(const ltn_tensors *t)
{
    return t->ctx;
}

const char *ltn__tensors_path(const ltn_tensors *t)
{
    return t->path;
}

/* A number is finite unless all bits of its exponent are set. Flags as wide as the numbers: so the loops run
 * in vectors. */
static bool finite16(const uint16_t *p, int64_t n, uint16_t exponent)
{
    uint16_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (p[i] & exponent) == exponent;
    return !bad;
}

static bool finite32(const uint32_t *p, int64_t n)
{
    const uint32_t exponent = 0x7f800000;
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (p[i] & exponent) == exponent;
    return !bad;
}

static bool finite64(const uint64_t *p, int64_t n)
{
    const uint64_t exponent = (uint64_t)0x7ff << 52;
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (p[i] & exponent) == exponent;
    return !bad;
}

static bool finite_blocks(const ltn_weight *w, int64_t n)
{
    enum { SOME = 1024 };
    real y[SOME];
    for (int64_t i = 0; i < n; i += SOME) {
        const int64_t some = LTN_MIN(n - i, SOME);
        ltn__weight_widen(w, i, some, y);
        for (int64_t k = 0; k < some; k++)
            if (!isfinite(y[k])) return false;
    }
    return true;
}

bool ltn__weight_finite(const ltn_weight *w)
{
    const int64_t n = ltn__weight_count(w);
    switch (w->dtype) {
    case LTN_F32: return finite32(w->data, n);
    case LTN_F64: return finite64(w->data, n);
    case LTN_F16: return finite16(w->data, n, 0x7c00);
    case LTN_BF16: return finite16(w->data, n, 0x7f80);
    default: return finite_blocks(w, n);
    }
}
