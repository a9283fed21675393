/* spec.c - spec strings "name:key=value,key='quoted, value'", read against a table of entries; whoever
 * mistypes is told the nearest known word (edit distance with transpositions: Damerau 1964, optimal string
 * alignment). */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base.h"

enum { LONGEST = 63 }; /* of a name or key */

/* A piece of the text, not zero-terminated. */
typedef struct slice {
    const char *p;
    size_t n;
} slice;

static slice trim(slice s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

static bool same(slice s, const char *word)
{
    return strlen(word) == s.n && !memcmp(s.p, word, s.n);
}

#define SHOW(s) (int)LTN_MIN((s).n, 200), (s).p /* for %.*s */

/* ---- Words of a list "a|b|c" ---- */
static bool word(const char *list, int i, slice *out)
{
    if (!list) return false;
    for (; i; i--) {
        list = strchr(list, '|');
        if (!list) return false;
        list++;
    }
    *out = (slice){list, strcspn(list, "|")};
    return true;
}

/* ---- Nearest word ---- */
/* Steps from a to b: insert, delete, replace, swap neighbours; capitals do not count. */
static int distance(slice a, slice b)
{
    int row[3][LONGEST + 1]; /* two rows back, one row back, this row */
    if (a.n > LONGEST || b.n > LONGEST) return LONGEST;
    for (int j = 0; j <= (int)b.n; j++) row[1][j] = j;
    for (int i = 1; i <= (int)a.n; i++) {
        row[2][0] = i;
        for (int j = 1; j <= (int)b.n; j++) {
            const int x = tolower((unsigned char)a.p[i - 1]), y = tolower((unsigned char)b.p[j - 1]);
            int d = LTN_MIN(row[1][j], row[2][j - 1]) + 1;
            d = LTN_MIN(d, row[1][j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b.p[j - 2]) &&
                y == tolower((unsigned char)a.p[i - 2]))
                d = LTN_MIN(d, row[0][j - 2] + 1);
            row[2][j] = d;
        }
        memcpy(row[0], row[1], sizeof row[0]);
        memcpy(row[1], row[2], sizeof row[1]);
    }
    return row[1][b.n];
}

/* How far `typed` is from `known`; LONGEST: too far to be meant. A start of three letters or more is near. */
static int farness(slice typed, slice known)
{
    const int d = distance(typed, known);
    if (d <= (int)LTN_MAX(typed.n, known.n) / 3 || d == 1) return d;
    if (typed.n >= 3 && typed.n < known.n && !distance(typed, (slice){known.p, typed.n})) return 3;
    return LONGEST;
}

/* Puts the word of the list that is nearest to `typed` into best, if it beats *least. */
static bool nearer(const char *list, slice typed, slice *best, int *least)
{
    bool found = false;
    slice w;
    for (int i = 0; word(list, i, &w); i++) {
        const int d = farness(typed, w);
        if (d < *least) *least = d, *best = w, found = true;
    }
    return found;
}

static const char *nearest(ltn_rows *rows, slice typed)
{
    const char *best = NULL;
    int least = LONGEST;
    const ltn_entry *e;
    slice ignored;
    for (int i = 0; (e = rows(i)); i++) {
        if (nearer(e->name, typed, &ignored, &least)) best = e->name;
        if (nearer(e->alias, typed, &ignored, &least)) best = e->name;
    }
    return best;
}

const char *ltn__nearest(ltn_rows *rows, const char *name)
{
    return nearest(rows, (slice){name, strlen(name)});
}

static int find(ltn_rows *rows, slice name)
{
    const ltn_entry *e;
    for (int i = 0; (e = rows(i)); i++) {
        if (same(name, e->name)) return i;
        slice a;
        for (int k = 0; word(e->alias, k, &a); k++)
            if (a.n == name.n && !memcmp(a.p, name.p, a.n)) return i;
    }
    return -1;
}

int ltn__find(ltn_rows *rows, const char *name)
{
    return find(rows, (slice){name, strlen(name)});
}

/* ---- Numbers ---- */
/* mantissa 10^exponent; correctly rounded up to 15 digits and small exponents, within an ulp or two
 * otherwise. */
static double scaled(uint64_t mantissa, int exponent)
{
    if (mantissa < (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)mantissa / pow(10, -exponent) : (double)mantissa * pow(10, exponent);
    return (double)((long double)mantissa * powl(10, LTN_MAX(-400, LTN_MIN(exponent, 400))));
}

double ltn__parse_number(const char *s, const char **end)
{
    const char *p = s;
    const bool minus = *p == '-';
    uint64_t mantissa = 0;
    int exponent = 0, digits = 0;
    bool point = false;
    for (p += *p == '-' || *p == '+'; (*p >= '0' && *p <= '9') || (*p == '.' && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        digits++;
        const bool room = mantissa < 1000000000000000000u;
        if (room) mantissa = mantissa * 10 + (uint64_t)(*p - '0');
        exponent += room ? -(int)point : !point;
    }
    *end = s;
    if (!digits) return 0;
    *end = p;
    if (*p == 'e' || *p == 'E') {
        const char *q = p + 1;
        const int sign = *q == '-' ? -1 : 1;
        int e = 0;
        q += *q == '-' || *q == '+';
        if (*q >= '0' && *q <= '9') {
            for (; *q >= '0' && *q <= '9'; q++) e = LTN_MIN(e * 10 + (*q - '0'), 100000);
            exponent += sign * e;
            *end = q;
        }
    }
    const double v = scaled(mantissa, exponent);
    if (!isfinite(v)) *end = s;
    return minus ? -v : v;
}

/* ---- Messages ---- */
/* "a, b, c" in a line of limited length. */
typedef struct words {
    char text[400];
    size_t n;
} words;

static void append(words *w, slice s)
{
    if (w->n + s.n + 3 > sizeof w->text) return;
    if (w->n) memcpy(w->text + w->n, ", ", 2), w->n += 2;
    memcpy(w->text + w->n, s.p, s.n);
    w->n += s.n;
}

static ltn_status unknown_row(ltn_ctx *ctx, const char *what, ltn_rows *rows, slice name)
{
    words all = {0};
    const ltn_entry *e;
    const char *best = nearest(rows, name);
    if (best)
        return ltn__fail(ctx, LTN_EINVAL, "unknown %s \"%.*s\"; did you mean \"%s\"?", what, SHOW(name),
                         best);
    for (int i = 0; (e = rows(i)); i++) append(&all, (slice){e->name, strlen(e->name)});
    return ltn__fail(ctx, LTN_EINVAL, "unknown %s \"%.*s\"; known: %s", what, SHOW(name), all.text);
}

static ltn_status unknown_key(ltn_ctx *ctx, const ltn_entry *e, slice key)
{
    words all = {0};
    slice best;
    int least = LONGEST;
    for (const ltn_param *p = e->param; p && p->name; p++) {
        nearer(p->name, key, &best, &least);
        append(&all, (slice){p->name, strlen(p->name)});
    }
    if (least < LONGEST)
        return ltn__fail(ctx, LTN_EINVAL, "%s: unknown parameter \"%.*s\"; did you mean \"%.*s\"?", e->name,
                         SHOW(key), SHOW(best));
    return ltn__fail(ctx, LTN_EINVAL, "%s: unknown parameter \"%.*s\"; known: %s", e->name, SHOW(key),
                     all.n ? all.text : "none");
}

static ltn_status unknown_choice(ltn_ctx *ctx, const ltn_entry *e, const ltn_param *p, const char *value)
{
    words all = {0};
    slice best, w;
    int least = LONGEST;
    for (int i = 0; word(p->choices, i, &w); i++) append(&all, w);
    if (nearer(p->choices, (slice){value, strlen(value)}, &best, &least))
        return ltn__fail(ctx, LTN_EINVAL, "%s: unknown %s \"%.200s\"; did you mean \"%.*s\"?", e->name,
                         p->name, value, SHOW(best));
    return ltn__fail(ctx, LTN_EINVAL, "%s: unknown %s \"%.200s\"; known: %s", e->name, p->name, value,
                     all.text);
}

/* ---- Values ---- */
/* Without its quotes; '' inside quotes is one quote. */
static char *unquote(ltn_arena *arena, slice s)
{
    char *out = ltn__arena_alloc(arena, s.n + 1, 1), *q = out;
    bool quoted = false;
    for (size_t i = 0; out && i < s.n; i++) {
        if (s.p[i] != '\'') *q++ = s.p[i];
        else if (quoted && i + 1 < s.n && s.p[i + 1] == '\'') *q++ = s.p[i++];
        else quoted = !quoted;
    }
    return out;
}

static ltn_status take_number(ltn_ctx *ctx, const ltn_entry *e, const ltn_param *p, const char *value,
                              double *out)
{
    const char *end;
    const double v = ltn__parse_number(value, &end);
    if (end == value || *end)
        return ltn__fail(ctx, LTN_EINVAL, "%s: %s=%.200s is not a number", e->name, p->name, value);
    if (p->type == LTN_INT && (v != floor(v) || fabs(v) > 0x1p53))
        return ltn__fail(ctx, LTN_EINVAL, "%s: %s=%.200s is not a whole number", e->name, p->name, value);
    if (p->min < p->max && v < p->min && isinf(p->max))
        return ltn__fail(ctx, LTN_EINVAL, "%s: %s=%.200s must be at least %g", e->name, p->name, value,
                         p->min);
    if (p->min < p->max && (v < p->min || v > p->max))
        return ltn__fail(ctx, LTN_EINVAL, "%s: %s=%.200s must be from %g to %g", e->name, p->name, value,
                         p->min, p->max);
    *out = v;
    return LTN_OK;
}

/* The i-th word of a list of choices, in the arena. */
static const char *choice(ltn_arena *arena, const ltn_param *p, int i)
{
    slice w;
    if (!word(p->choices, i, &w)) return NULL;
    return ltn__arena_format(arena, "%.*s", (int)w.n, w.p);
}

static ltn_status take(ltn_ctx *ctx, const ltn_entry *e, int k, slice text, ltn_arena *arena, ltn_spec *out)
{
    const ltn_param *p = &e->param[k];
    if (out->given[k]) return ltn__fail(ctx, LTN_EINVAL, "%s: %s is given twice", e->name, p->name);
    out->given[k] = true;
    const char *value = unquote(arena, text);
    if (!value) return LTN_ENOMEM;
    if (p->type == LTN_STRING) return out->str[k] = value, LTN_OK;
    if (p->type != LTN_CHOICE) return take_number(ctx, e, p, value, &out->num[k]);
    slice w;
    for (int i = 0; word(p->choices, i, &w); i++)
        if (same(w, value)) return out->num[k] = i, out->str[k] = value, LTN_OK;
    return unknown_choice(ctx, e, p, value);
}

/* ---- Specs ---- */
/* The length of text up to the first `stop` that stands in no quotes; -1: a quote stays open. */
static ptrdiff_t span(const char *text, char stop)
{
    bool quoted = false;
    size_t n = 0;
    for (; text[n] && (quoted || text[n] != stop); n++) quoted ^= text[n] == '\'';
    return quoted ? -1 : (ptrdiff_t)n;
}

int ltn__spec_split(ltn_ctx *ctx, const char *text, char sep, ltn_arena *arena, const char **part, int max)
{
    int count = 0;
    for (const char *p = text;; p++) {
        const ptrdiff_t n = span(p, sep);
        if (n < 0) return ltn__fail(ctx, LTN_EINVAL, "\"%.200s\": a quote is not closed", text);
        const slice s = trim((slice){p, (size_t)n});
        if (!s.n) return ltn__fail(ctx, LTN_EINVAL, "\"%.200s\": nothing stands beside a %c", text, sep);
        if (count == max) return ltn__fail(ctx, LTN_EINVAL, "\"%.200s\": more than %d parts", text, max);
        char *copy = ltn__arena_alloc(arena, s.n + 1, 1);
        if (!copy) return LTN_ENOMEM;
        part[count++] = memcpy(copy, s.p, s.n);
        p += n;
        if (!*p) return count;
    }
}

/* One key=value. */
static ltn_status assign(ltn_ctx *ctx, const ltn_entry *e, slice s, ltn_arena *arena, ltn_spec *out)
{
    const char *eq = memchr(s.p, '=', s.n);
    if (!eq) return ltn__fail(ctx, LTN_EINVAL, "%s: \"%.*s\" is not of the form key=value", e->name, SHOW(s));
    const slice key = trim((slice){s.p, (size_t)(eq - s.p)});
    const slice value = trim((slice){eq + 1, s.n - (size_t)(eq + 1 - s.p)});
    for (int k = 0; k < LTN_MAXPARAM && e->param && e->param[k].name; k++) {
        const ltn_param *p = &e->param[k];
        if (same(key, p->name) || (p->alias && same(key, p->alias))) return take(ctx, e, k, value, arena, out);
    }
    return unknown_key(ctx, e, key);
}

static ltn_status defaults(ltn_ctx *ctx, const ltn_entry *e, ltn_arena *arena, ltn_spec *out)
{
    for (int k = 0; k < LTN_MAXPARAM && e->param && e->param[k].name; k++) {
        const ltn_param *p = &e->param[k];
        if (out->given[k]) continue;
        if (p->required)
            return ltn__fail(ctx, LTN_EINVAL, "%s: %s=... is required: %s", e->name, p->name, p->help);
        out->num[k] = p->def;
        if (p->type == LTN_CHOICE && !(out->str[k] = choice(arena, p, (int)p->def))) return LTN_ENOMEM;
    }
    return LTN_OK;
}

ltn_status ltn__spec_parse(ltn_ctx *ctx, const char *what, ltn_rows *rows, const char *text, ltn_arena *arena,
                           ltn_spec *out)
{
    *out = (ltn_spec){0};
    const slice name = trim((slice){text, strcspn(text, ":")});
    if (!name.n) return ltn__fail(ctx, LTN_EINVAL, "no %s is named in \"%.200s\"", what, text);
    out->row = find(rows, name);
    if (out->row < 0) return unknown_row(ctx, what, rows, name);
    const ltn_entry *e = out->entry = rows(out->row);
    const char *p = text + strcspn(text, ":");
    bool more = *p && p[1 + strspn(p + 1, " \t")];
    while (more) {
        p++;
        const ptrdiff_t n = span(p, ',');
        if (n < 0) return ltn__fail(ctx, LTN_EINVAL, "%s: a quote is not closed in \"%.200s\"", e->name, p);
        const ltn_status s = assign(ctx, e, trim((slice){p, (size_t)n}), arena, out);
        if (s) return s;
        p += n;
        more = *p;
    }
    return defaults(ctx, e, arena, out);
}

/* ---- Reading a spec: a name that is not in the table is the caller's mistake and reads as absent ---- */
static int slot(const ltn_spec *s, const char *name)
{
    for (int k = 0; k < LTN_MAXPARAM && s->entry->param && s->entry->param[k].name; k++)
        if (!strcmp(s->entry->param[k].name, name)) return k;
    return -1;
}

double ltn__num(const ltn_spec *s, const char *name)
{
    const int k = slot(s, name);
    return k < 0 ? NAN : s->num[k];
}

const char *ltn__str(const ltn_spec *s, const char *name)
{
    const int k = slot(s, name);
    return k < 0 ? NULL : s->str[k];
}

bool ltn__given(const ltn_spec *s, const char *name)
{
    const int k = slot(s, name);
    return k >= 0 && s->given[k];
}
