/* resolve.c - degradations that are told in part: key=auto in a spec becomes what the measurement says of that parameter,
 * "blur:sigma=auto" -> "blur:sigma=2.1". Only of the last part of a chain: y shows what that has done. */
#include <stdio.h>
#include <string.h>

#include "degrade.h"

typedef struct place {
    ltn_ctx *ctx;
    const ltn_image *y;
    const ltn_degradation_row *row;
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

/* One key=value, its comma or end not included. */
static ltn_status assignment(place *p, const char *text, size_t n)
{
    const char *eq = memchr(text, '=', n);
    if (!eq || n != (size_t)(eq - text) + 5 || memcmp(eq, "=auto", 5)) return append(p, text, n) ? LTN_OK : too_long(p);
    char key[32], value[64];
    snprintf(key, sizeof key, "%.*s", (int)(eq - text), text);
    ltn_status s = LTN_EINVAL;
    if (p->row->find) s = p->row->find(p->ctx, p->y, key, value, sizeof value);
    else ltn__fail(p->ctx, s, "%s: %s=auto: that is not found from a measurement", p->row->entry.name, key);
    if (s) return s;
    return append(p, text, (size_t)(eq - text) + 1) && append(p, value, strlen(value)) ? LTN_OK : too_long(p);
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
    }
    if (!append(p, text, n + (text[n] == ':'))) return too_long(p);
    for (const char *q = text + n + (text[n] == ':'); *q;) {
        bool quoted = false;
        size_t length = 0;
        for (; q[length] && (quoted || q[length] != ','); length++) quoted ^= q[length] == '\'';
        const ltn_status s = assignment(p, q, length);
        if (s) return s;
        q += length;
        if (*q && !append(p, q++, 1)) return too_long(p);
    }
    return LTN_OK;
}

ltn_status ltn_resolve(ltn_ctx *ctx, const char *spec, const ltn_image *y, char *out, size_t room)
{
    place p = {.ctx = ctx, .y = y, .out = out, .room = room};
    bool quoted = false;
    size_t last = 0;
    out[0] = 0;
    for (size_t i = 0; spec[i]; i++) {
        quoted ^= spec[i] == '\'';
        if (spec[i] == '+' && !quoted) last = i + 1;
    }
    if (!append(&p, spec, last)) return too_long(&p);
    return part(&p, spec + last);
}
