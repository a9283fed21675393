/* json.c - JSON texts as a read-only tree in an arena; the grammar is left to libjansson. */
#include "file.h"

#include <jansson.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

static char *copy_string(ltn_arena *arena, const char *s, size_t n)
{
    char *p = ltn__arena_alloc(arena, n + 1, 1);
    if (p) memcpy(p, s, n);
    return p;
}

static ltn_status copy(ltn_arena *arena, json_t *from, int depth, ltn_json **out);

static ltn_status copy_elements(ltn_arena *arena, json_t *from, int depth, ltn_json *to)
{
    ltn_json **last = &to->child;
    for (size_t i = 0; i < json_array_size(from); i++, last = &(*last)->next) {
        ltn_status s = copy(arena, json_array_get(from, i), depth, last);
        if (s) return s;
    }
    return LTN_OK;
}

static ltn_status copy_members(ltn_arena *arena, json_t *from, int depth, ltn_json *to)
{
    ltn_json **last = &to->child;
    for (void *i = json_object_iter(from); i; i = json_object_iter_next(from, i), last = &(*last)->next) {
        const char *key = json_object_iter_key(i);
        ltn_status s = copy(arena, json_object_iter_value(i), depth, last);
        if (s) return s;
        if (!((*last)->key = copy_string(arena, key, strlen(key)))) return LTN_ENOMEM;
    }
    return LTN_OK;
}

static ltn_status copy(ltn_arena *arena, json_t *from, int depth, ltn_json **out)
{
    if (depth == MAX_DEPTH) return ltn__fail(arena->ctx, LTN_EFORMAT, "nested deeper than %d", MAX_DEPTH);
    ltn_json *to = *out = ltn__arena_alloc(arena, 1, sizeof *to);
    if (!to) return LTN_ENOMEM;
    switch (json_typeof(from)) {
    case JSON_NULL:
        return LTN_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        to->type = LTN_JSON_BOOL;
        to->number = json_is_true(from);
        return LTN_OK;
    case JSON_INTEGER:
    case JSON_REAL:
        to->type = LTN_JSON_NUMBER;
        to->number = json_number_value(from);
        return LTN_OK;
    case JSON_STRING:
        to->type = LTN_JSON_STRING;
        to->string = copy_string(arena, json_string_value(from), json_string_length(from));
        return to->string ? LTN_OK : LTN_ENOMEM;
    case JSON_ARRAY:
        to->type = LTN_JSON_ARRAY;
        to->count = (int)json_array_size(from);
        return copy_elements(arena, from, depth + 1, to);
    case JSON_OBJECT:
        to->type = LTN_JSON_OBJECT;
        to->count = (int)json_object_size(from);
        return copy_members(arena, from, depth + 1, to);
    }
    return LTN_EFORMAT;
}

ltn_status ltn__json_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_arena *arena, ltn_json **out)
{
    json_error_t e;
    *out = NULL;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &e);
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for its JSON text", path);
    if (!root) return ltn__fail(ctx, LTN_EFORMAT, "%s: line %d, column %d: %s", path, e.line, e.column, e.text);
    ltn_status s = copy(arena, root, 0, out);
    json_decref(root);
    if (s) *out = NULL;
    return s == LTN_EFORMAT ? ltn__within(ctx, s, "%s", path) : s;
}

ltn_status ltn__json_read(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_json **out)
{
    ltn_bytes b;
    *out = NULL;
    ltn_status s = ltn__file_read(ctx, path, &b);
    if (s) return s;
    s = ltn__json_parse(ctx, path, (const char *)b.data, b.size, arena, out);
    ltn__free(ctx, b.data);
    return s;
}

const ltn_json *ltn__json_get(const ltn_json *object, const char *key)
{
    if (!object || object->type != LTN_JSON_OBJECT) return NULL;
    const ltn_json *m = object->child;
    while (m && strcmp(m->key, key)) m = m->next;
    return m;
}

double ltn__json_num(const ltn_json *object, const char *key, double absent)
{
    const ltn_json *m = ltn__json_get(object, key);
    return m && m->type == LTN_JSON_NUMBER ? m->number : absent;
}

bool ltn__json_bool(const ltn_json *object, const char *key, bool absent)
{
    const ltn_json *m = ltn__json_get(object, key);
    return m && m->type == LTN_JSON_BOOL ? m->number != 0 : absent;
}

const char *ltn__json_str(const ltn_json *object, const char *key, const char *absent)
{
    const ltn_json *m = ltn__json_get(object, key);
    return m && m->type == LTN_JSON_STRING ? m->string : absent;
}

const ltn_json *ltn__json_at(const ltn_json *array, int i)
{
    if (!array || array->type != LTN_JSON_ARRAY) return NULL;
    const ltn_json *m = array->child;
    while (m && i-- > 0) m = m->next;
    return m;
}
