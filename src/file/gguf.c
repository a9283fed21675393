/* gguf.c - weights where they lie in a GGUF file: "GGUF", version, numbers of tensors and of settings, the settings,
 * the tensors' names, shapes (last dimension first), types and places, and the data. Format: github.com/ggml-org/ggml,
 * docs/gguf.md; the shapes that a writer had to change are a setting "comfy.gguf.orig_shape.NAME"
 * (github.com/city96/ComfyUI-GGUF). */
#include "tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 20, LONGEST = 1000, DEEPEST = 4, ARRAY = 9, STRING = 8 };

/* An entry of the list of tensors. */
typedef struct entry {
    const char *name;
    int dtype, rank;
    int64_t dim[4];
    uint64_t offset, bytes;
} entry;

/* A shape that stands among the settings. */
typedef struct shape {
    const char *name;
    int rank;
    int64_t dim[4];
} shape;

typedef struct reader {
    ltn_tensors *t;
    const uint8_t *p, *end;
    uint64_t align;
    shape *shapes;
    size_t count, room;
    const char *at; /* the setting or tensor that is read, for messages */
} reader;

static const struct {
    uint32_t code;
    ltn_dtype dtype;
} types[] = {
    {0, LTN_F32},   {1, LTN_F16},   {2, LTN_Q4_0},  {3, LTN_Q4_1},  {6, LTN_Q5_0},  {7, LTN_Q5_1},
    {8, LTN_Q8_0},  {12, LTN_Q4_K}, {13, LTN_Q5_K}, {14, LTN_Q6_K}, {28, LTN_F64},  {30, LTN_BF16},
};

static ltn_status bad(const reader *r, const char *what)
{
    if (r->at) return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: %s: %s", r->t->path, r->at, what);
    return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: %s", r->t->path, what);
}

static ltn_status number(reader *r, int bytes, uint64_t *v)
{
    *v = 0;
    if (r->end - r->p < bytes) return bad(r, "truncated inside its header");
    for (int i = 0; i < bytes; i++) *v |= (uint64_t)r->p[i] << 8 * i;
    r->p += bytes;
    return LTN_OK;
}

/* A length and so many bytes; *out is NULL where it may be no name. */
static ltn_status string(reader *r, const char **out)
{
    uint64_t n;
    *out = NULL;
    const ltn_status s = number(r, 8, &n);
    if (s) return s;
    if (n > (uint64_t)(r->end - r->p)) return bad(r, "truncated inside its header");
    bool plain = n > 0 && n <= LONGEST;
    for (uint64_t i = 0; i < n && plain; i++) plain = r->p[i] >= ' ';
    if (plain && !(*out = ltn__arena_format(&r->t->arena, "%.*s", (int)n, (const char *)r->p))) return LTN_ENOMEM;
    r->p += n;
    return LTN_OK;
}

/* ---- Settings ---- */
static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}; /* by type; 8 a string, 9 an array */

static ltn_status skip(reader *r, uint64_t type, int depth)
{
    const char *text;
    uint64_t of, n;
    if (type >= (uint64_t)LTN_COUNT(sizes)) return bad(r, "a setting of a type that is not known");
    if (type == STRING) return string(r, &text);
    if (type != ARRAY) {
        uint64_t v;
        return number(r, sizes[type], &v);
    }
    ltn_status s = number(r, 4, &of);
    if (!s) s = number(r, 8, &n);
    if (s) return s;
    if (depth == DEEPEST) return bad(r, "lists nested too deep");
    if (of >= (uint64_t)LTN_COUNT(sizes)) return bad(r, "a setting of a type that is not known");
    const uint64_t least = sizes[of] ? (uint64_t)sizes[of] : of == STRING ? 8 : 12;
    if (n > (uint64_t)(r->end - r->p) / least) return bad(r, "a list longer than the file");
    if (sizes[of]) {
        r->p += n * least;
        return LTN_OK;
    }
    for (uint64_t i = 0; i < n && !s; i++) s = skip(r, of, depth + 1);
    return s;
}

/* An array of one to four whole numbers of 32 or 64 bits. */
static ltn_status take_shape(reader *r, const char *name)
{
    uint64_t of, n, d;
    shape f = {.name = name};
    ltn_status s = number(r, 4, &of);
    if (!s) s = number(r, 8, &n);
    if (s) return s;
    if ((of != 4 && of != 5 && of != 10 && of != 11) || n < 1 || n > 4) return bad(r, "no shape of whole numbers");
    for (uint64_t i = 0; i < n && !s; i++) {
        s = number(r, sizes[of], &d);
        f.dim[f.rank++] = d <= (uint64_t)1 << 40 ? (int64_t)d : 0;
    }
    if (s) return s;
    if (r->count == r->room) {
        const size_t room = 2 * r->room + 64;
        shape *more = ltn__grow(r->t->ctx, r->shapes, r->room, room, sizeof *more);
        if (!more) return LTN_ENOMEM;
        r->shapes = more;
        r->room = room;
    }
    r->shapes[r->count++] = f;
    return LTN_OK;
}

static ltn_status read_setting(reader *r)
{
    static const char shape_key[] = "comfy.gguf.orig_shape.";
    uint64_t type;
    r->at = NULL;
    ltn_status s = string(r, &r->at);
    if (!s) s = number(r, 4, &type);
    if (s) return s;
    const char *key = r->at ? r->at : "";
    if (type == ARRAY && !strncmp(key, shape_key, sizeof shape_key - 1))
        return take_shape(r, key + sizeof shape_key - 1);
    if (!strcmp(key, "general.alignment")) {
        if (type != 4) return bad(r, "expected a number of 32 bits");
        s = number(r, 4, &r->align);
        if (!s && (!r->align || r->align > 1 << 20 || r->align & (r->align - 1)))
            return bad(r, "expected a power of two");
        return s;
    }
    return skip(r, type, 0);
}

/* ---- Tensors ---- */
static ltn_status read_type(reader *r, entry *e, uint64_t code)
{
    int i = 0;
    while (i < LTN_COUNT(types) && types[i].code != code) i++;
    if (i == LTN_COUNT(types))
        return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: %s: type %" PRIu64 " is not supported", r->t->path, e->name,
                         code);
    e->dtype = types[i].dtype;
    const ltn_block_type *b = ltn__block_type(e->dtype);
    double count = 1;
    for (int k = 0; k < e->rank; k++) count *= (double)e->dim[k];
    if (count > 1e12) return bad(r, "more values than any file has");
    if (b && e->dim[e->rank - 1] % b->values) return bad(r, "its rows are no whole blocks");
    const ltn_weight w = {.dtype = (ltn_dtype)e->dtype, .rank = e->rank,
                          .dim = {e->dim[0], e->dim[1], e->dim[2], e->dim[3]}};
    e->bytes = ltn__weight_bytes(&w);
    return LTN_OK;
}

static ltn_status read_entry(reader *r, entry *e)
{
    uint64_t rank, code, d;
    *e = (entry){.name = NULL};
    r->at = NULL;
    ltn_status s = string(r, &e->name);
    if (!s && !e->name) return bad(r, "a tensor without a name");
    r->at = e->name;
    if (!s) s = number(r, 4, &rank);
    if (s) return s;
    if (rank < 1 || rank > 4) return bad(r, "expected 1 to 4 dimensions");
    e->rank = (int)rank;
    for (int k = e->rank - 1; k >= 0 && !s; k--) {
        s = number(r, 8, &d);
        if (!s && (d < 1 || d > (uint64_t)1 << 40)) return bad(r, "a dimension is 0, or beyond reason");
        if (!s) e->dim[k] = (int64_t)d;
    }
    if (!s) s = number(r, 4, &code);
    if (!s) s = number(r, 8, &e->offset);
    return s ? s : read_type(r, e, code);
}

static int by_place(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static ltn_status check_places(reader *r, const entry *e, size_t n, uint64_t size)
{
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        r->at = e[i].name;
        if (e[i].offset % r->align) return bad(r, "its place is no multiple of the file's alignment");
        if (e[i].offset < end) return bad(r, "overlaps another tensor");
        if (e[i].offset > size || e[i].bytes > size - e[i].offset)
            return bad(r, "ends beyond the file's end (truncated?)");
        end = e[i].offset + e[i].bytes;
    }
    return LTN_OK;
}

/* The shape before the writer changed it. */
static ltn_status restore_shape(reader *r, ltn_weight *w)
{
    int64_t count = 1;
    size_t i = 0;
    while (i < r->count && strcmp(r->shapes[i].name, w->name)) i++;
    if (i == r->count) return LTN_OK;
    const shape *f = &r->shapes[i];
    const int64_t own = ltn__weight_count(w);
    for (int k = 0; k < f->rank && count; k++) count = f->dim[k] && count <= own / f->dim[k] ? count * f->dim[k] : 0;
    r->at = w->name;
    if (count != own) return bad(r, "its first shape has another number of values");
    w->rank = f->rank;
    memcpy(w->dim, f->dim, sizeof w->dim);
    return LTN_OK;
}

static ltn_status take(reader *r, const entry *e, size_t n, const uint8_t *data)
{
    ltn_status s = ltn__tensors_room(r->t, n);
    for (size_t i = 0; i < n && !s; i++) {
        ltn_weight w = {.name = e[i].name, .dtype = (ltn_dtype)e[i].dtype, .rank = e[i].rank};
        memcpy(w.dim, e[i].dim, sizeof w.dim);
        s = restore_shape(r, &w);
        if (!s) s = ltn__tensors_add(r->t, w, data + e[i].offset, e[i].bytes);
    }
    return s;
}

bool ltn__gguf_matches(const uint8_t *p, size_t n)
{
    return n >= 4 && !memcmp(p, "GGUF", 4); /* the length of a safetensors header is never so large */
}

static ltn_status parse(reader *r, const uint8_t *first, entry **list)
{
    uint64_t version, tensors, settings;
    ltn_status s = number(r, 4, &version);
    if (!s && version != 2 && version != 3)
        return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: GGUF of version %" PRIu64 ", expected 2 or 3", r->t->path,
                         version);
    if (!s) s = number(r, 8, &tensors);
    if (!s) s = number(r, 8, &settings);
    if (s) return s;
    const uint64_t left = (uint64_t)(r->end - r->p); /* an entry takes at least 24 bytes, a setting 13 */
    if (tensors > LTN_MIN(left / 24, MOST) || settings > LTN_MIN(left / 13, MOST))
        return ltn__fail(r->t->ctx, LTN_EFORMAT,
                         "%s: %" PRIu64 " tensors and %" PRIu64 " settings are more than it can hold", r->t->path,
                         tensors, settings);
    for (uint64_t i = 0; i < settings && !s; i++) s = read_setting(r);
    entry *e = *list = s ? NULL : ltn__alloc(r->t->ctx, (size_t)tensors + 1, sizeof *e);
    if (!e) return s ? s : LTN_ENOMEM;
    for (uint64_t i = 0; i < tensors && !s; i++) s = read_entry(r, &e[i]);
    if (s) return s;
    r->at = NULL;
    const uint64_t at = ((uint64_t)(r->p - first) + r->align - 1) / r->align * r->align,
                   size = (uint64_t)(r->end - first);
    if (at > size) return bad(r, "truncated behind its header");
    qsort(e, (size_t)tensors, sizeof *e, by_place);
    s = check_places(r, e, (size_t)tensors, size - at);
    return s ? s : take(r, e, (size_t)tensors, first + at);
}

ltn_status ltn__gguf_parse(ltn_tensors *t, const uint8_t *p, size_t n)
{
    reader r = {.t = t, .p = p + 4, .end = p + n, .align = 32};
    entry *e = NULL;
    const ltn_status s = parse(&r, p, &e);
    ltn__free(t->ctx, e);
    ltn__free(t->ctx, r.shapes);
    return s;
}
