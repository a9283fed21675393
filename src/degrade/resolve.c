/* resolve.c - degradations that are told in part: key=auto in a spec becomes what the measurement says of that
 * parameter, "blur:sigma=auto" -> "blur:sigma=2.1". Only of the last part of a chain: y shows what that has done. */
#include <stdio.h>
#include <string.h>

#include "degrade.h"

typedef struct place {
    ltn_ctx *ctx;
    const ltn_degradation_row *row;
    ltn_evidence evidence;
    ltn_spec told; /* of the part, without what is asked for */
    ltn_arena arena;
    char *out;
    size_t room;
} place;

static bool append(place *p, const char *text, size_t n)
{
    const size_t used = strlen(p->out);
    if (used + n + 1 > p->room) return false;
    memcpy(p->out + used, text, n);
    p->out[used + n] = 0;
    return true;
}

static ltn_status too_long(const place *p)
{
    return ltn__fail(p->ctx, LTN_EINVAL, "a degradation that is longer than %zu letters", p->room - 1);
}

/* A string as a spec has it. */
static bool append_value(place *p, const char *text)
{
    if (!text[strcspn(text, "',+=")]) return append(p, text, strlen(text));
    bool ok = append(p, "'", 1);
    for (; *text; text++) ok = ok && append(p, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
    return ok && append(p, "'", 1);
}

/* The length of the key=value that text begins with. */
static size_t piece(const char *text)
{
    bool quoted = false;
    size_t n = 0;
    for (; text[n] && (quoted || text[n] != ','); n++) quoted ^= text[n] == '\'';
    return n;
}

static bool is_asked_for(const char *text, size_t n)
{
    const char *eq = memchr(text, '=', n);
    return eq && n == (size_t)(eq - text) + 5 && !memcmp(eq, "=auto", 5);
}

/* What the part says without what is asked for, which is read only if anything is. */
static ltn_status read_told(place *p, const char *text)
{
    const size_t n = strcspn(text, ":") + 1;
    char *rest = ltn__arena_format(&p->arena, "%s", text);
    size_t used = n;
    if (!rest) return LTN_ENOMEM;
    for (const char *q = text + n; *q; q += piece(q), q += *q == ',') {
        if (is_asked_for(q, piece(q))) continue;
        if (used > n) rest[used++] = ',';
        memcpy(rest + used, q, piece(q));
        used += piece(q);
    }
    rest[used == n ? n - 1 : used] = 0;
    p->evidence.told = &p->told;
    return ltn__spec_parse(p->ctx, "degradation", ltn__degradation_entry, rest, &p->arena, &p->told);
}

/* One key=value, its comma or end not included, of a part. */
static ltn_status assignment(place *p, const char *whole, const char *text, size_t n)
{
    if (!is_asked_for(text, n)) return append(p, text, n) ? LTN_OK : too_long(p);
    char word[32], value[1024];
    const char *key = word;
    snprintf(word, sizeof word, "%.*s", (int)(n - 5), text);
    if (!p->row->find)
        return ltn__fail(p->ctx, LTN_EINVAL, "%s: %s=auto: that is not found from a measurement", p->row->entry.name,
                         key);
    ltn_status s = p->evidence.told ? LTN_OK : read_told(p, whole);
    if (!s) s = p->row->find(p->ctx, &p->evidence, &key, value, sizeof value);
    if (s) return s;
    return append(p, key, strlen(key)) && append(p, "=", 1) && append_value(p, value) ? LTN_OK : too_long(p);
}

/* The last part of a chain. */
static ltn_status part(place *p, const char *text)
{
    char name[64], implied[128];
    const size_t n = strcspn(text, ":");
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    const int k = ltn__find(ltn__degradation_entry, name);
    p->row = k < 0 ? NULL : ltn__degradation_row(k);
    if (!p->row) return append(p, text, strlen(text)) ? LTN_OK : too_long(p); /* open complains */
    const size_t begun = strlen(p->out);
    if (!text[n] && p->row->implied) {
        snprintf(implied, sizeof implied, "%s:%s", name, p->row->implied);
        if (!part(p, implied)) return LTN_OK;
        p->out[begun] = 0; /* y does not tell: as it was */
        p->evidence.told = NULL;
    }
    if (!append(p, text, n + (text[n] == ':'))) return too_long(p);
    for (const char *q = text + n + (text[n] == ':'); *q;) {
        const size_t length = piece(q);
        const ltn_status s = assignment(p, text, q, length);
        if (s) return s;
        q += length;
        if (*q && !append(p, q++, 1)) return too_long(p);
    }
    return LTN_OK;
}

ltn_status ltn_resolve(ltn_ctx *ctx, const char *spec, const ltn_image *y, const char *kernel, char *out, size_t room)
{
    place p = {.ctx = ctx, .evidence = {.y = y, .kernel = kernel}, .arena = {.ctx = ctx}, .out = out, .room = room};
    bool quoted = false;
    size_t last = 0;
    out[0] = 0;
    for (size_t i = 0; spec[i]; i++) {
        quoted ^= spec[i] == '\'';
        if (spec[i] == '+' && !quoted) last = i + 1;
    }
    if (!append(&p, spec, last)) return too_long(&p);
    const ltn_status s = part(&p, spec + last);
    ltn__arena_free(&p.arena);
    return s;
}
