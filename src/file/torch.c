/* torch.c - weights as torch.save writes them: a pickle that describes a (nested) dictionary of tensors, and
 * their storages. New files are zip archives: X/data.pkl and X/data/KEY; old ones five pickles in a row (a
 * magic number, the version of the protocol, the machine, the dictionary, the keys), then for each key the
 * number of elements and the elements. */
#include "tensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 8, MOST = 1 << 20, VERSION = 1001 };
static const uint8_t magic[] = {0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

/* The bytes of one storage. */
typedef struct storage {
    const char *key;
    const ltn_pickle *described; /* in old files */
    const uint8_t *data;
    size_t size;
} storage;

/* A tensor under its whole name. */
typedef struct named {
    const char *name;
    const ltn_pickle *tensor;
} named;

typedef struct reader {
    ltn_tensors *t;
    named *list; /* in the dictionary's order */
    size_t count, room;
    storage *storage; /* by key */
    size_t storages;
} reader;

static ltn_status bad(const reader *r, const char *name, const char *what)
{
    return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: %s: %s", r->t->path, name, what);
}

/* Where the pickles after the magic number begin; 0: it is not there. */
static size_t after_magic(const uint8_t *p, size_t n)
{
    static const size_t places[] = {2, 11}; /* after the protocol, and after a frame's length */
    for (int i = 0; i < LTN_COUNT(places); i++)
        if (n >= places[i] + sizeof magic && p[0] == 0x80 && !memcmp(p + places[i], magic, sizeof magic))
            return places[i] + sizeof magic;
    return 0;
}

bool ltn__torch_matches(const uint8_t *p, size_t n)
{
    return ltn__zip_matches(p, n) || after_magic(p, n);
}

/* ---- The dictionary ---- */
static ltn_status keep(reader *r, const char *name, const ltn_pickle *tensor)
{
    if (r->count == r->room) {
        const size_t room = 2 * r->room + 64;
        named *more = ltn__grow(r->t->ctx, r->list, r->room, room, sizeof *more);
        if (!more) return LTN_ENOMEM;
        r->list = more;
        r->room = room;
    }
    r->list[r->count++] = (named){name, tensor};
    return r->count <= MOST ? LTN_OK
                            : ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: more than %d tensors", r->t->path, MOST);
}

/* Lists the tensors of a dictionary and of those inside it, their names joined by dots; prefix ends with one,
 * or is empty. What is no tensor says nothing. */
static ltn_status walk(reader *r, ltn_pickle *dict, const char *prefix, int depth)
{
    ltn_status s = LTN_OK;
    if (depth == DEEPEST) return bad(r, prefix, "dictionaries nested too deep");
    if (dict->seen) return bad(r, prefix, "a dictionary that stands in two places");
    dict->seen = true;
    for (size_t i = 0; i < dict->count && !s; i += 2) {
        const ltn_pickle *key = dict->item[i];
        ltn_pickle *v = dict->item[i + 1];
        if (v->type != LTN_PICKLE_TENSOR && v->type != LTN_PICKLE_DICT) continue;
        if (key->type != LTN_PICKLE_TEXT && key->type != LTN_PICKLE_INT)
            return bad(r, prefix, "a key that is no name");
        const char *dot = v->type == LTN_PICKLE_DICT ? "." : "";
        const char *name = key->type == LTN_PICKLE_TEXT
                               ? ltn__arena_format(&r->t->arena, "%s%s%s", prefix, key->text, dot)
                               : ltn__arena_format(&r->t->arena, "%s%" PRId64 "%s", prefix, key->number, dot);
        if (!name) return LTN_ENOMEM;
        s = v->type == LTN_PICKLE_DICT ? walk(r, v, name, depth + 1) : keep(r, name, v);
    }
    return s;
}

static ltn_status list_tensors(reader *r, ltn_pickle *top)
{
    if (top->type != LTN_PICKLE_DICT)
        return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: holds no dictionary of weights", r->t->path);
    for (size_t i = 0; i < top->count; i += 2) { /* what a training writes keeps the weights under this key */
        const ltn_pickle *key = top->item[i], *v = top->item[i + 1];
        if (key->type == LTN_PICKLE_TEXT && !strcmp(key->text, "state_dict") && v->type == LTN_PICKLE_DICT)
            return walk(r, top->item[i + 1], "", 0);
    }
    return walk(r, top, "", 0);
}

/* ---- Tensors ---- */
static int by_key(const void *a, const void *b)
{
    return strcmp(((const storage *)a)->key, ((const storage *)b)->key);
}

static const storage *find_storage(const reader *r, const char *key)
{
    const storage wanted = {.key = key};
    return r->storages ? bsearch(&wanted, r->storage, r->storages, sizeof wanted, by_key) : NULL;
}

/* A tensor's place in its storage, in elements. */
typedef struct view {
    int rank;
    int64_t dim[4], stride[4], offset, count;
    bool dense; /* the elements follow one another */
} view;

/* Reads it, and sees to it that no element lies beyond the storage's. */
static ltn_status read_view(const reader *r, const named *n, view *v)
{
    ltn_pickle *const *item = n->tensor->item;
    const int64_t elements = item[0]->number;
    *v = (view){.rank = (int)item[2]->count, .offset = item[1]->number, .count = 1, .dense = true};
    int64_t last = v->offset;
    if (v->offset < 0 || v->offset > elements) return bad(r, n->name, "begins outside its storage");
    for (int i = v->rank - 1; i >= 0; i--) {
        const int64_t d = v->dim[i] = item[2]->item[i]->number,
                      stride = v->stride[i] = item[3]->item[i]->number;
        if (d == 0) return bad(r, n->name, "a dimension is 0");
        if (d < 0 || stride < 0) return bad(r, n->name, "a negative dimension or stride");
        if (d > elements / v->count) return bad(r, n->name, "has more elements than its storage");
        if (d > 1 && stride > (elements - last) / (d - 1)) return bad(r, n->name, "ends outside its storage");
        v->dense &= d == 1 || stride == v->count;
        last += (d - 1) * stride;
        v->count *= d;
    }
    return last < elements ? LTN_OK : bad(r, n->name, "ends outside its storage");
}

/* The elements of a view in order, where strides scatter them. */
static const uint8_t *gather(const reader *r, const char *name, const view *v, const uint8_t *from,
                             size_t size, ltn_status *s)
{
    uint8_t *out = ltn__tensors_copy(r->t, name, (size_t)v->count * size, s);
    int64_t at[4] = {0}, place = 0;
    for (int64_t i = 0; out && i < v->count; i++) {
        memcpy(out + (size_t)i * size, from + (size_t)place * size, size);
        for (int k = v->rank - 1; k >= 0; k--) {
            place += v->stride[k];
            if (++at[k] < v->dim[k]) break;
            place -= v->dim[k] * v->stride[k];
            at[k] = 0;
        }
    }
    return out;
}

static ltn_status take_tensor(reader *r, const named *n)
{
    const ltn_pickle *described = n->tensor->item[0];
    const ltn_pickle_global *type = described->global;
    const storage *from = find_storage(r, described->text);
    if (!from) return bad(r, n->name, "its storage is missing");
    if (from->size / (size_t)type->size != (size_t)described->number || from->size % (size_t)type->size)
        return bad(r, n->name, "its storage is not as long as it says");
    if (type->dtype < 0) return LTN_OK;
    if (n->tensor->item[2]->count > 4) return bad(r, n->name, "more than 4 dimensions");
    view v;
    ltn_status s = read_view(r, n, &v);
    if (s) return s;
    ltn_weight w = {.name = n->name, .dtype = (ltn_dtype)type->dtype, .rank = v.rank};
    memcpy(w.dim, v.dim, sizeof w.dim);
    const size_t size = (size_t)type->size;
    const uint8_t *data = from->data + (size_t)v.offset * size;
    if (!v.dense && !(data = gather(r, n->name, &v, data, size, &s))) return s;
    return ltn__tensors_add(r->t, w, data, (size_t)v.count * size);
}

static ltn_status take_tensors(reader *r)
{
    ltn_status s = ltn__tensors_room(r->t, r->count);
    for (size_t i = 0; i < r->count && !s; i++) s = take_tensor(r, &r->list[i]);
    return s;
}

/* ---- New files ---- */
/* The name of the folder that all entries are in, "X/", by its data.pkl. */
static ltn_status find_folder(const reader *r, const ltn_zip *z, const char **folder)
{
    static const char last[] = "data.pkl";
    const size_t n = sizeof last - 1;
    *folder = NULL;
    for (size_t i = 0; i < z->count; i++) {
        const ltn_zip_entry *e = &z->entry[i];
        const uint8_t *slash = memchr(e->name, '/', e->length);
        if (!slash || e->length != (size_t)(slash - e->name) + 1 + n || memcmp(slash + 1, last, n)) continue;
        if (*folder)
            return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: two dictionaries in one archive", r->t->path);
        *folder = ltn__arena_format(&r->t->arena, "%.*s", (int)(e->length - n), (const char *)e->name);
        if (!*folder) return LTN_ENOMEM;
    }
    if (*folder) return LTN_OK;
    return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: a zip archive without weights of torch", r->t->path);
}

/* Lists the entries "X/data/KEY"; `folder` is "X/". */
static ltn_status list_storages(reader *r, const ltn_zip *z, const char *folder)
{
    const char *prefix = ltn__arena_format(&r->t->arena, "%sdata/", folder);
    r->storage = ltn__arena_alloc(&r->t->arena, z->count + 1, sizeof *r->storage);
    if (!prefix || !r->storage) return LTN_ENOMEM;
    const size_t n = strlen(prefix);
    for (size_t i = 0; i < z->count; i++) {
        const ltn_zip_entry *e = &z->entry[i];
        if (e->length <= n || memcmp(e->name, prefix, n)) continue;
        const char *key =
            ltn__arena_format(&r->t->arena, "%.*s", (int)(e->length - n), (const char *)e->name + n);
        if (!key) return LTN_ENOMEM;
        r->storage[r->storages++] = (storage){.key = key, .data = e->data, .size = e->size};
    }
    qsort(r->storage, r->storages, sizeof *r->storage, by_key);
    return LTN_OK;
}

static ltn_status parse_archive(reader *r, const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = r->t->ctx;
    const char *path = r->t->path, *folder, *name;
    ltn_zip z;
    ltn_pickle *top = NULL, *storages;
    size_t at = 0;
    ltn_status s = ltn__zip_parse(ctx, path, p, n, &r->t->arena, &z);
    if (!s) s = find_folder(r, &z, &folder);
    if (s) return s;
    if (!(name = ltn__arena_format(&r->t->arena, "%sbyteorder", folder))) return LTN_ENOMEM;
    const ltn_zip_entry *e = ltn__zip_find(&z, name);
    if (e && (e->size != 6 || memcmp(e->data, "little", 6)))
        return ltn__fail(ctx, LTN_EFORMAT, "%s: its numbers are not little-endian", path);
    if (!(name = ltn__arena_format(&r->t->arena, "%sdata.pkl", folder))) return LTN_ENOMEM;
    e = ltn__zip_find(&z, name);
    if (!e) return ltn__fail(ctx, LTN_EFORMAT, "%s: a zip archive without weights of torch", path);
    s = ltn__pickle_load(ctx, path, e->data, e->size, &at, &r->t->arena, &top, &storages);
    if (!s) s = list_tensors(r, top);
    if (!s) s = list_storages(r, &z, folder);
    return s ? s : take_tensors(r);
}

/* ---- Old files ---- */
/* Lists the storages by their keys, with their descriptions, in the order of the dictionary. */
static ltn_status describe_storages(reader *r, const ltn_pickle *keys, const ltn_pickle *described)
{
    if (keys->type != LTN_PICKLE_LIST)
        return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: no list of storages", r->t->path);
    r->storage = ltn__arena_alloc(&r->t->arena, keys->count + 1, sizeof *r->storage);
    if (!r->storage) return LTN_ENOMEM;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->item[i]->type != LTN_PICKLE_TEXT)
            return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: a storage without a name", r->t->path);
        r->storage[r->storages++].key = keys->item[i]->text;
    }
    qsort(r->storage, r->storages, sizeof *r->storage, by_key);
    for (size_t i = 0; i < described->count; i++) {
        storage *s = (storage *)find_storage(r, described->item[i]->text);
        if (!s) return bad(r, described->item[i]->text, "a storage that is missing");
        if (s->described && s->described->global != described->item[i]->global)
            return bad(r, s->key, "a storage of two types");
        s->described = described->item[i];
    }
    return LTN_OK;
}

/* The storages lie in the order of their keys in the list. */
static ltn_status place_storages(reader *r, const ltn_pickle *keys, const uint8_t *p, size_t n, size_t at)
{
    for (size_t i = 0; i < keys->count; i++) {
        storage *s = (storage *)find_storage(r, keys->item[i]->text);
        uint64_t count = 0;
        if (!s->described || s->data)
            return bad(r, s->key, "a storage that is no tensor's, or is listed twice");
        const size_t size = (size_t)s->described->global->size;
        if (n - at < 8) return bad(r, s->key, "truncated before this storage");
        for (int k = 0; k < 8; k++) count |= (uint64_t)p[at++] << 8 * k;
        if (count > (n - at) / size) return bad(r, s->key, "truncated inside this storage");
        s->data = p + at;
        s->size = (size_t)count * size;
        at += s->size;
    }
    if (at == n) return LTN_OK;
    return ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: %zu bytes after the last storage", r->t->path, n - at);
}

static bool big_endian(const ltn_pickle *machine)
{
    for (size_t i = 0; machine->type == LTN_PICKLE_DICT && i < machine->count; i += 2)
        if (machine->item[i]->type == LTN_PICKLE_TEXT && !strcmp(machine->item[i]->text, "little_endian"))
            return !machine->item[i + 1]->number;
    return false;
}

static ltn_status parse_row(reader *r, const uint8_t *p, size_t n)
{
    enum { PROTOCOL, MACHINE, DICTIONARY, KEYS, PICKLES };
    ltn_pickle *v[PICKLES] = {0}, *storages[PICKLES] = {0};
    size_t at = after_magic(p, n);
    ltn_status s = LTN_OK;
    for (int i = 0; i < PICKLES && !s; i++) {
        s = ltn__pickle_load(r->t->ctx, r->t->path, p, n, &at, &r->t->arena, &v[i], &storages[i]);
        if (!s && i == PROTOCOL && (v[i]->type != LTN_PICKLE_INT || v[i]->number != VERSION))
            s = ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: a protocol of torch.save other than %d", r->t->path,
                          VERSION);
        if (!s && i == MACHINE && big_endian(v[i]))
            s = ltn__fail(r->t->ctx, LTN_EFORMAT, "%s: its numbers are not little-endian", r->t->path);
    }
    if (!s) s = list_tensors(r, v[DICTIONARY]);
    if (!s) s = describe_storages(r, v[KEYS], storages[DICTIONARY]);
    if (!s) s = place_storages(r, v[KEYS], p, n, at);
    return s ? s : take_tensors(r);
}

ltn_status ltn__torch_parse(ltn_tensors *t, const uint8_t *p, size_t n)
{
    reader r = {.t = t};
    const ltn_status s = ltn__zip_matches(p, n) ? parse_archive(&r, p, n) : parse_row(&r, p, n);
    ltn__free(t->ctx, r.list);
    return s;
}
