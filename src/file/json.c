/* json.c - JSON texts (RFC 8259) as a read-only tree in an arena. Strict: UTF-8, no duplicate keys, no U+0000
 * in strings, at most 64 levels; numbers are doubles whatever the locale. Beyond the RFC, -Infinity, which Python
 * writes for "no lower bound" (lambda_min_clipped), reads as null. */
#include "file.h"

#include <string.h>

#include <utf8proc.h>

enum { MAX_DEPTH = 64 };

typedef struct parser {
    ltn_ctx *ctx;
    const char *path;
    ltn_arena *arena;
    const char *begin, *p, *end;
    int depth;
} parser;

static ltn_status wrong(const parser *j, const char *what)
{
    int line = 1, column = 1;
    for (const char *c = j->begin; c < j->p; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    return ltn__fail(j->ctx, LTN_EFORMAT, "%s: line %d, column %d: %s", j->path, line, column, what);
}

/* The next character that is no white space, or 0 at the end. */
static char peek(parser *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t')) j->p++;
    return j->p < j->end ? *j->p : 0;
}

static bool eat(parser *j, const char *word)
{
    const size_t n = strlen(word);
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n)) return false;
    j->p += n;
    return true;
}

/* ---- Strings ---- */

/* Four hexadecimal digits, or -1. */
static int32_t hexadecimal(parser *j)
{
    int32_t v = 0;
    if (j->end - j->p < 4) return -1;
    for (int i = 0; i < 4; i++, j->p++) {
        const char c = *j->p, low = (char)(c | 32);
        if (c >= '0' && c <= '9') v = 16 * v + c - '0';
        else if (low >= 'a' && low <= 'f') v = 16 * v + low - 'a' + 10;
        else return -1;
    }
    return v;
}

/* What stands behind a backslash, as UTF-8. */
static ltn_status escape(parser *j, char **to)
{
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    const char *k = j->p < j->end && *j->p ? strchr(from, *j->p) : NULL;
    if (k) {
        *(*to)++ = plain[k - from];
        j->p++;
        return LTN_OK;
    }
    if (!eat(j, "u")) return wrong(j, "an escape that is not known");
    int32_t c = hexadecimal(j);
    if (c >= 0xd800 && c < 0xdc00 && eat(j, "\\u")) {
        const int32_t low = hexadecimal(j);
        c = low >= 0xdc00 && low < 0xe000 ? 0x10000 + (c - 0xd800) * 0x400 + low - 0xdc00 : -1;
    }
    if (c < 1 || (c >= 0xd800 && c < 0xe000)) return wrong(j, "a \\u escape that is no character");
    *to += utf8proc_encode_char(c, (utf8proc_uint8_t *)*to);
    return LTN_OK;
}

/* Copies one character that stands for itself. */
static ltn_status character(parser *j, char **to)
{
    utf8proc_int32_t c = *j->p;
    utf8proc_ssize_t n = 1;
    if (c & 0x80) n = utf8proc_iterate((const utf8proc_uint8_t *)j->p, j->end - j->p, &c);
    if (n < 1) return wrong(j, "not UTF-8");
    if (c < ' ') return wrong(j, "a control character in a string");
    for (utf8proc_ssize_t i = 0; i < n; i++) *(*to)++ = *j->p++;
    return LTN_OK;
}

static ltn_status string(parser *j, const char **out)
{
    const char *close = j->p + 1;
    while (close < j->end && *close != '"') close += *close == '\\' ? 2 : 1;
    if (close >= j->end) return wrong(j, "a string without end");
    char *to = ltn__arena_alloc(j->arena, (size_t)(close - j->p), 1); /* never longer than in the text */
    if (!to) return LTN_ENOMEM;
    *out = to;
    j->p++;
    while (j->p < close) {
        const ltn_status s = eat(j, "\\") ? escape(j, &to) : character(j, &to);
        if (s) return s;
    }
    j->p++;
    return LTN_OK;
}

/* ---- Numbers ---- */

static bool digits(parser *j)
{
    const char *first = j->p;
    while (j->p < j->end && *j->p >= '0' && *j->p <= '9') j->p++;
    return j->p > first;
}

static ltn_status number(parser *j, double *out)
{
    char copy[64]; /* the text need not end with a zero */
    const char *first = j->p, *end;
    eat(j, "-");
    bool good = eat(j, "0") || digits(j);
    if (good && eat(j, ".")) good = digits(j);
    if (good && (eat(j, "e") || eat(j, "E"))) {
        if (!eat(j, "+")) eat(j, "-");
        good = digits(j);
    }
    const size_t n = (size_t)(j->p - first);
    if (!good || n >= sizeof copy) return wrong(j, "not a value");
    memcpy(copy, first, n);
    copy[n] = 0;
    *out = ltn__parse_number(copy, &end);
    return end == copy + n ? LTN_OK : wrong(j, "a number too large");
}

/* ---- Values ---- */

static ltn_status value(parser *j, ltn_json **out);

static uint32_t hash(const char *s) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    while (*s) h = (h ^ (uint8_t)*s++) * 16777619u;
    return h;
}

static ltn_status check_keys(const parser *j, const ltn_json *object)
{
    uint32_t slots = 8;
    while (slots < 2 * (uint32_t)object->count) slots *= 2;
    const char **seen = ltn__alloc(j->ctx, slots, sizeof *seen);
    const ltn_json *m = object->child;
    if (!seen) return LTN_ENOMEM;
    for (bool twice = false; m; m = m->next) {
        uint32_t h = hash(m->key) & (slots - 1);
        for (; seen[h] && !twice; h = (h + 1) & (slots - 1)) twice = !strcmp(seen[h], m->key);
        if (twice) break;
        seen[h] = m->key;
    }
    ltn__free(j->ctx, seen);
    return m ? ltn__fail(j->ctx, LTN_EFORMAT, "%s: \"%.200s\" is given twice", j->path, m->key) : LTN_OK;
}

static ltn_status member(parser *j, bool keyed, ltn_json **out)
{
    const char *key = NULL;
    ltn_status s = LTN_OK;
    if (keyed) {
        if (peek(j) != '"') return wrong(j, "expected a key in quotes");
        if ((s = string(j, &key))) return s;
        if (peek(j) != ':') return wrong(j, "expected :");
        j->p++;
    }
    s = value(j, out);
    if (!s) (*out)->key = key;
    return s;
}

/* The members of an array or object, up to its closing bracket. */
static ltn_status members(parser *j, ltn_json *to, char close)
{
    ltn_json **last = &to->child;
    if (++j->depth > MAX_DEPTH) return wrong(j, "nested deeper than 64");
    j->p++;
    for (char c; (c = peek(j)) != close; to->count++, last = &(*last)->next) {
        if (to->count && c != ',') return wrong(j, close == ']' ? "expected , or ]" : "expected , or }");
        j->p += to->count > 0;
        const ltn_status s = member(j, close == '}', last);
        if (s) return s;
    }
    j->p++;
    j->depth--;
    return close == '}' ? check_keys(j, to) : LTN_OK;
}

static ltn_status value(parser *j, ltn_json **out)
{
    static const struct { const char *word; ltn_json_type type; double number; } words[] = {
        {"null", LTN_JSON_NULL, 0}, {"true", LTN_JSON_BOOL, 1}, {"false", LTN_JSON_BOOL, 0},
        {"-Infinity", LTN_JSON_NULL, 0}};
    ltn_json *v = *out = ltn__arena_alloc(j->arena, 1, sizeof *v);
    const char c = peek(j);
    if (!v) return LTN_ENOMEM;
    v->type = c == '{'   ? LTN_JSON_OBJECT
              : c == '[' ? LTN_JSON_ARRAY
              : c == '"' ? LTN_JSON_STRING
                         : LTN_JSON_NUMBER;
    if (c == '{') return members(j, v, '}');
    if (c == '[') return members(j, v, ']');
    if (c == '"') return string(j, &v->string);
    for (int i = 0; i < LTN_COUNT(words); i++) {
        if (!eat(j, words[i].word)) continue;
        v->type = words[i].type;
        v->number = words[i].number;
        return LTN_OK;
    }
    return number(j, &v->number);
}

ltn_status ltn__json_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_arena *arena,
                           ltn_json **out)
{
    parser j = {.ctx = ctx, .path = path, .arena = arena, .begin = text, .p = text, .end = text + n};
    ltn_status s = value(&j, out);
    if (!s) peek(&j);
    if (!s && j.p < j.end) s = wrong(&j, "expected the end");
    if (s) *out = NULL;
    return s;
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
