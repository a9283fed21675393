/* safetensors.c - weights where they lie in a mapped file: header length (u64), header (JSON), data.
 * Format: github.com/huggingface/safetensors. Anything malformed is refused with the tensor's name. */
#include "file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, MAX_RANK = 16 };

struct ltn_tensors {
    ltn_ctx *ctx;
    const char *path;
    ltn_bytes mapped; /* empty when parsed from memory */
    ltn_arena arena;
    ltn_weight *weight; /* in file order */
    int count;
    int *slot; /* open addressing by name: index + 1, or 0 */
    uint32_t mask;
};

/* An entry of the header. */
typedef struct entry {
    const char *name;
    const struct type *type;
    int rank;
    int64_t dim[MAX_RANK];
    uint64_t begin, end; /* in the data */
} entry;

typedef struct type {
    const char *name;
    int size;
    int dtype; /* ltn_dtype, or -1: legal, but no weight */
} type;

static const type types[] = {
    {"F32", 4, LTN_F32}, {"F16", 2, LTN_F16}, {"BF16", 2, LTN_BF16}, {"F64", 8, LTN_F64}, {"I64", 8, -1},
    {"I32", 4, -1},      {"I16", 2, -1},      {"I8", 1, -1},         {"U64", 8, -1},      {"U32", 4, -1},
    {"U16", 2, -1},      {"U8", 1, -1},       {"BOOL", 1, -1},       {"F8_E4M3", 1, -1},  {"F8_E5M2", 1, -1},
};

static const type *find_type(const char *name)
{
    for (int i = 0; name && i < LTN_COUNT(types); i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
}

static uint32_t hash(const char *s) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    while (*s) h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

/* A whole number of 0 .. 2^53. */
static bool whole(const ltn_json *j, double *v)
{
    if (!j || j->type != LTN_JSON_NUMBER) return false;
    *v = j->number;
    return *v >= 0 && *v <= 9007199254740992.0 && *v == (double)(int64_t)*v;
}

static ltn_status bad(ltn_tensors *t, const char *name, const char *what)
{
    return ltn__fail(t->ctx, LTN_EFORMAT, "%s: %s: %s", t->path, name, what);
}

static ltn_status read_shape(ltn_tensors *t, const ltn_json *shape, entry *e, double *elements)
{
    if (!shape || shape->type != LTN_JSON_ARRAY) return bad(t, e->name, "no shape");
    if (shape->count > MAX_RANK) return bad(t, e->name, "too many dimensions");
    for (const ltn_json *d = shape->child; d; d = d->next) {
        double v;
        if (!whole(d, &v)) return bad(t, e->name, "a dimension that is no whole number");
        e->dim[e->rank++] = (int64_t)v;
        *elements *= v;
    }
    return LTN_OK;
}

static ltn_status read_entry(ltn_tensors *t, const ltn_json *j, uint64_t size, entry *e)
{
    double begin, end, elements = 1;
    *e = (entry){.name = j->key, .type = find_type(ltn__json_str(j, "dtype", NULL))};
    if (j->type != LTN_JSON_OBJECT) return bad(t, e->name, "not a description of a tensor");
    if (!e->type) return ltn__fail(t->ctx, LTN_EFORMAT, "%s: %s: dtype %s is not known", t->path, e->name,
                                   ltn__json_str(j, "dtype", "(none)"));
    ltn_status s = read_shape(t, ltn__json_get(j, "shape"), e, &elements);
    if (s) return s;
    const ltn_json *at = ltn__json_get(j, "data_offsets");
    if (!at || at->count != 2 || !whole(ltn__json_at(at, 0), &begin) || !whole(ltn__json_at(at, 1), &end) ||
        end < begin)
        return bad(t, e->name, "data_offsets are not [begin, end]");
    if (end > (double)size) return bad(t, e->name, "ends beyond the file's end (truncated?)");
    if (elements * e->type->size != end - begin)
        return bad(t, e->name, "dtype and shape disagree with the length of its data");
    e->begin = (uint64_t)begin;
    e->end = (uint64_t)end;
    if (e->type->dtype >= 0 && e->rank > 4) return bad(t, e->name, "more than 4 dimensions");
    if (e->type->dtype >= 0 && elements == 0) return bad(t, e->name, "a dimension is 0");
    return LTN_OK;
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end < y->end ? -1 : 1) : strcmp(x->name, y->name);
}

/* The tensors must tile the data, without overlap or hole. */
static ltn_status check_tiling(ltn_tensors *t, const entry *e, int n, uint64_t size)
{
    uint64_t at = 0;
    for (int i = 0; i < n; at = e[i++].end) {
        if (e[i].begin < at) return bad(t, e[i].name, "overlaps another tensor");
        if (e[i].begin > at) return bad(t, e[i].name, "a hole stands before its data");
    }
    if (at == size) return LTN_OK;
    return ltn__fail(t->ctx, LTN_EFORMAT, "%s: %" PRIu64 " bytes after the last tensor", t->path, size - at);
}

/* Old writers did not pad the header: weights that are not aligned to their type are copied. */
static const void *aligned(ltn_tensors *t, const uint8_t *p, const entry *e)
{
    if (!((uintptr_t)p % (unsigned)e->type->size)) return p;
    void *q = ltn__arena_alloc(&t->arena, e->end - e->begin, 1);
    if (q) memcpy(q, p, e->end - e->begin);
    return q;
}

static ltn_status take_weights(ltn_tensors *t, const entry *e, int n, const uint8_t *data)
{
    uint32_t slots = 8;
    while (slots < 2 * (uint32_t)n) slots *= 2;
    t->mask = slots - 1;
    t->weight = ltn__arena_alloc(&t->arena, (size_t)n + 1, sizeof *t->weight);
    t->slot = ltn__arena_alloc(&t->arena, slots, sizeof *t->slot);
    if (!t->weight || !t->slot) return LTN_ENOMEM;
    for (int i = 0; i < n; i++) {
        if (e[i].type->dtype < 0) continue;
        ltn_weight *w = &t->weight[t->count++];
        *w = (ltn_weight){.name = e[i].name, .dtype = (ltn_dtype)e[i].type->dtype, .rank = e[i].rank};
        memcpy(w->dim, e[i].dim, sizeof w->dim);
        if (!(w->data = aligned(t, data + e[i].begin, &e[i]))) return LTN_ENOMEM;
        uint32_t h = hash(w->name);
        while (t->slot[h & t->mask]) h++;
        t->slot[h & t->mask] = t->count;
    }
    return LTN_OK;
}

static ltn_status parse_header(ltn_tensors *t, const ltn_json *header, const uint8_t *data, uint64_t size)
{
    if (header->type != LTN_JSON_OBJECT)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s: its header is no JSON object", t->path);
    entry *e = ltn__alloc(t->ctx, (size_t)header->count + 1, sizeof *e);
    if (!e) return LTN_ENOMEM;
    ltn_status s = LTN_OK;
    int n = 0;
    for (const ltn_json *j = header->child; j && !s; j = j->next)
        if (strcmp(j->key, "__metadata__")) s = read_entry(t, j, size, &e[n++]);
    if (!s) qsort(e, (size_t)n, sizeof *e, by_place);
    if (!s) s = check_tiling(t, e, n, size);
    if (!s) s = take_weights(t, e, n, data);
    ltn__free(t->ctx, e);
    return s;
}

static ltn_status parse(ltn_tensors *t, const uint8_t *p, uint64_t n)
{
    uint64_t length = 0;
    if (n < 8)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s: not a safetensors file: only %d bytes", t->path, (int)n);
    for (int i = 0; i < 8; i++) length |= (uint64_t)p[i] << 8 * i;
    if (n > 8 && p[8] != '{') return ltn__fail(t->ctx, LTN_EFORMAT, "%s: not a safetensors file", t->path);
    if (length > MAX_HEADER)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s: not a safetensors file: a header of %" PRIu64 " bytes",
                         t->path, length);
    if (length > n - 8) return ltn__fail(t->ctx, LTN_EFORMAT, "%s: truncated inside its header", t->path);
    ltn_json *header;
    ltn_status s = ltn__json_parse(t->ctx, t->path, (const char *)p + 8, (size_t)length, &t->arena, &header);
    return s ? s : parse_header(t, header, p + 8 + length, n - 8 - length);
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

bool ltn__weight_finite(const ltn_weight *w)
{
    int64_t n = 1;
    for (int i = 0; i < w->rank; i++) n *= w->dim[i];
    switch (w->dtype) {
    case LTN_F32: return finite32(w->data, n);
    case LTN_F64: return finite64(w->data, n);
    case LTN_F16: return finite16(w->data, n, 0x7c00);
    case LTN_BF16: return finite16(w->data, n, 0x7f80);
    }
    return false;
}

/* ---- Writing ---- */

static int64_t bytes(const ltn_array *a)
{
    int64_t n = 4;
    for (int i = 0; i < a->rank; i++) n *= a->dim[i];
    return n;
}

/* One member of the header; a NULL `to` only measures. */
static int put_member(char *to, size_t room, const ltn_named_array *a, int64_t begin, bool first)
{
    char shape[8 * 24] = "";
    int n = 0;
    for (int i = 0; i < a->array.rank; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRId64, i ? "," : "", a->array.dim[i]);
    return snprintf(to, room,
                    "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}",
                    first ? "{" : ",", a->name, shape, begin, begin + bytes(&a->array));
}

static ltn_status check_name(ltn_ctx *ctx, const char *path, const char *name)
{
    for (const char *c = name; *c; c++)
        if ((uint8_t)*c < ' ' || *c == '"' || *c == '\\')
            return ltn__fail(ctx, LTN_EINVAL,
                             "%s: a tensor's name cannot hold quotes, backslashes or control characters",
                             path);
    return LTN_OK;
}

ltn_status ltn__tensors_write(ltn_ctx *ctx, const char *path, const ltn_named_array *a, int n)
{
    size_t length = n ? 1 : 2; /* of the header: members, and the braces that stand in no member */
    int64_t size = 0, begin = 0; /* of the data */
    for (int i = 0; i < n; i++) {
        ltn_status s = check_name(ctx, path, a[i].name);
        if (s) return s;
        length += (size_t)put_member(NULL, 0, &a[i], size, i == 0);
        size += bytes(&a[i].array);
    }
    const size_t padded = (length + 7) / 8 * 8, total = 8 + padded + (size_t)size;
    size_t at = 8;
    uint8_t *p = ltn__alloc(ctx, total + 1, 1);
    if (!p) return LTN_ENOMEM;
    uint8_t *data = p + 8 + padded;
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    for (int i = 0; i < n; begin += bytes(&a[i++].array))
        at += (size_t)put_member((char *)p + at, total + 1 - at, &a[i], begin, i == 0);
    if (!n) p[at++] = '{';
    p[at++] = '}';
    memset(p + at, ' ', 8 + padded - at);
    for (int i = 0; i < n; data += bytes(&a[i++].array))
        memcpy(data, a[i].array.data, (size_t)bytes(&a[i].array));
    ltn_status s = ltn__file_write(ctx, path, p, total);
    ltn__free(ctx, p);
    return s;
}
