/* config.c - config.json as the model builders read it: what is missing, out of range or unsupported fails
 * the graph with the key's name. */
#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const ltn_json *get(ltn_nn b, const char *key)
{
    const ltn_json *v = ltn__json_get(b.config, key);
    return v && v->type != LTN_JSON_NULL ? v : NULL;
}

const char *ltn__config_architecture(const ltn_json *config)
{
    const ltn_json *first = ltn__json_at(ltn__json_get(config, "architectures"), 0);
    return first && first->type == LTN_JSON_STRING ? first->string : ltn__json_str(config, "_class_name", "");
}

bool ltn__config_has(ltn_nn b, const char *key)
{
    return get(b, key) != NULL;
}

/* All of these return 1 or the default when they fail: a number that no builder trips over. */
static int64_t missing(ltn_nn b, const char *key)
{
    ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: no %s", key);
    return 1;
}

static int64_t whole(ltn_nn b, const char *key, const ltn_json *v, int64_t max)
{
    if (v->type == LTN_JSON_NUMBER && v->number >= 1 && v->number <= (double)max &&
        v->number == floor(v->number))
        return (int64_t)v->number;
    ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s: expected whole numbers from 1 to %lld", key,
                    (long long)max);
    return 1;
}

int64_t ltn__config_int(ltn_nn b, const char *key, int64_t absent, int64_t max)
{
    const ltn_json *v = get(b, key);
    if (!v) return absent ? absent : missing(b, key);
    return whole(b, key, v, max);
}

double ltn__config_num(ltn_nn b, const char *key, double absent)
{
    const ltn_json *v = get(b, key);
    if (v && v->type != LTN_JSON_NUMBER)
        ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s: expected a number", key);
    return v && v->type == LTN_JSON_NUMBER ? v->number : absent;
}

bool ltn__config_bool(ltn_nn b, const char *key, bool absent)
{
    const ltn_json *v = get(b, key);
    if (v && v->type != LTN_JSON_BOOL)
        ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s: expected true or false", key);
    return v && v->type == LTN_JSON_BOOL ? v->number != 0 : absent;
}

int ltn__config_length(ltn_nn b, const char *key, int max)
{
    const ltn_json *v = get(b, key);
    if (!v) return (int)missing(b, key);
    if (v->type == LTN_JSON_ARRAY && v->count >= 1 && v->count <= max) return v->count;
    ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s: expected a list of 1 to %d", key, max);
    return 1;
}

int64_t ltn__config_at(ltn_nn b, const char *key, int i, int64_t absent, int64_t max)
{
    const ltn_json *v = get(b, key);
    if (!v) return absent ? absent : missing(b, key);
    if (v->type != LTN_JSON_ARRAY) return whole(b, key, v, max);
    const ltn_json *e = ltn__json_at(v, i);
    if (e) return whole(b, key, e, max);
    ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s: expected more than %d numbers", key, i);
    return 1;
}

bool ltn__config_is(ltn_nn b, const char *key, int i, const char *word)
{
    const ltn_json *e = ltn__json_at(get(b, key), i);
    return e && e->type == LTN_JSON_STRING && !strcmp(e->string, word);
}

static const char *value_text(const ltn_json *v, char *out, size_t size)
{
    switch (v->type) {
    case LTN_JSON_NUMBER: snprintf(out, size, "%g", v->number); break;
    case LTN_JSON_BOOL: snprintf(out, size, "%s", v->number ? "true" : "false"); break;
    case LTN_JSON_STRING: snprintf(out, size, "%s", v->string); break;
    default: snprintf(out, size, "a list"); break;
    }
    return out;
}

static bool one_of(const char *words, const char *s)
{
    const size_t n = strlen(s);
    for (const char *p = words; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, s, n) && (!p[n] || p[n] == '|')) return true;
    return false;
}

void ltn__config_only(ltn_nn b, const ltn_only *only)
{
    for (; only->key; only++) {
        const ltn_json *v = get(b, only->key);
        char text[64];
        if (!v || one_of(only->value ? only->value : "false", value_text(v, text, sizeof text))) continue;
        if (only->value)
            ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s is %s, only %s is supported", only->key, text,
                            only->value);
        else
            ltn__graph_fail(b.g, LTN_EFORMAT, "config.json: %s is %s, which is not supported", only->key,
                            text);
    }
}
