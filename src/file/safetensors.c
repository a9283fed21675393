/* safetensors.c - weights where they lie in a mapped file: header length (u64), header (JSON), data.
 * Format: github.com/huggingface/safetensors. Anything malformed is refused with the tensor's name. */
#include "tensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100000000, MAX_RANK = 16 };

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
    {"U16", 2, -1},      {"U8", 1, -1},       {"BOOL", 1, -1},       {"F8_E4M3", 1, LTN_F8_E4M3},
     {"F8_E5M2", 1, LTN_F8_E5M2},
};

static const type *find_type(const char *name)
{
    for (int i = 0; name && i < LTN_COUNT(types); i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
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
    if (e->type->dtype >= 0 && elements == 0 && e->rank > 1) return bad(t, e->name, "a dimension is 0");
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

static ltn_status take_weights(ltn_tensors *t, const entry *e, int n, const uint8_t *data)
{
    ltn_status s = ltn__tensors_room(t, (size_t)n);
    for (int i = 0; i < n && !s; i++) {
        if (e[i].type->dtype < 0 || e[i].begin == e[i].end) continue; /* an empty one is a mark, "v_pred" */
        ltn_weight w = {.name = e[i].name, .dtype = (ltn_dtype)e[i].type->dtype, .rank = e[i].rank};
        memcpy(w.dim, e[i].dim, sizeof w.dim);
        s = ltn__tensors_add(t, w, data + e[i].begin, e[i].end - e[i].begin);
    }
    return s;
}

static ltn_status parse_header(ltn_tensors *t, const ltn_json *header, const uint8_t *data, uint64_t size)
{
    if (header->type != LTN_JSON_OBJECT)
        return ltn__fail(t->ctx, LTN_EFORMAT, "%s: its header is no JSON object", t->path);
    entry *e = ltn__alloc(t->ctx, (size_t)header->count + 1, sizeof *e);
    if (!e) return LTN_ENOMEM;
    ltn_status s = LTN_OK;
    int n = 0;
    t->header = header;
    t->metadata = ltn__json_get(header, "__metadata__");
    for (const ltn_json *j = header->child; j && !s; j = j->next)
        if (strcmp(j->key, "__metadata__")) s = read_entry(t, j, size, &e[n++]);
    if (!s) qsort(e, (size_t)n, sizeof *e, by_place);
    if (!s) s = check_tiling(t, e, n, size);
    if (!s) s = take_weights(t, e, n, data);
    ltn__free(t->ctx, e);
    return s;
}

ltn_status ltn__safetensors_parse(ltn_tensors *t, const uint8_t *p, size_t n)
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
