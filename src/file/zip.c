/* zip.c - the directory of a zip archive as torch writes it: entries stored, not compressed, one after the
 * other. Format: PKWARE APPNOTE 6.3, with the fields of zip64. Refused: anything compressed or encrypted,
 * entries that overlap or lie outside the file, counts that disagree. */
#include "tensors.h"

#include <stdlib.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22, END64 = 56, LOCATOR = 20 }; /* sizes of records */

typedef struct reader {
    ltn_ctx *ctx;
    const char *path;
    const uint8_t *p;
    size_t n;
    uint64_t entries, directory, directory_size;
} reader;

static uint64_t number(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

/* Whether a record of this many bytes and this signature stands at `at`. */
static bool stands(const reader *r, uint64_t at, size_t bytes, const char signature[4])
{
    return at <= r->n && bytes <= r->n - at && !memcmp(r->p + at, signature, 4);
}

static ltn_status bad(const reader *r, const char *what)
{
    return ltn__fail(r->ctx, LTN_EFORMAT, "%s: %s", r->path, what);
}

bool ltn__zip_matches(const uint8_t *p, size_t n)
{
    return n > 8 && !memcmp(p, "PK\3\4", 4) && p[8] != '{';
}

/* Finds the directory, by the record at the file's very end. */
static ltn_status find_directory(reader *r)
{
    if (r->n < END || !stands(r, r->n - END, END, "PK\5\6"))
        return bad(r, "no zip directory at its end (truncated?)");
    const uint8_t *end = r->p + (r->n - END);
    r->entries = number(end + 10, 2);
    r->directory_size = number(end + 12, 4);
    r->directory = number(end + 16, 4);
    if (r->n >= END + LOCATOR && stands(r, r->n - END - LOCATOR, LOCATOR, "PK\6\7")) {
        const uint64_t at = number(end - LOCATOR + 8, 8);
        if (!stands(r, at, END64, "PK\6\6")) return bad(r, "its zip64 directory is missing");
        r->entries = number(r->p + at + 32, 8);
        r->directory_size = number(r->p + at + 40, 8);
        r->directory = number(r->p + at + 48, 8);
    }
    if (r->directory > r->n || r->directory_size > r->n - r->directory)
        return bad(r, "its zip directory lies outside the file");
    if (r->entries > r->directory_size / CENTRAL) return bad(r, "its zip directory is shorter than it says");
    return LTN_OK;
}

/* Sizes and place of 4 bytes that are all ones stand in the extra field of zip64 instead, in this order. */
static bool widen(const uint8_t *extra, size_t n, uint64_t *const value[3])
{
    bool missing = false;
    for (int k = 0; k < 3; k++) missing |= *value[k] == 0xffffffff;
    while (missing && n >= 4) {
        const size_t id = number(extra, 2), size = number(extra + 2, 2);
        if (size > n - 4) return false;
        if (id == 1) {
            size_t at = 0;
            for (int k = 0; k < 3; k++) {
                if (*value[k] != 0xffffffff) continue;
                if (at + 8 > size) return false;
                *value[k] = number(extra + 4 + at, 8);
                at += 8;
            }
            return true;
        }
        extra += 4 + size, n -= 4 + size;
    }
    return !missing;
}

/* The entry at p[*at] of the directory; *at moves behind it. */
static ltn_status read_entry(const reader *r, uint64_t *at, ltn_zip_entry *e)
{
    const uint64_t end = r->directory + r->directory_size;
    if (!stands(r, *at, CENTRAL, "PK\1\2") || end - *at < CENTRAL)
        return bad(r, "a broken entry in its zip directory");
    const uint8_t *c = r->p + *at;
    const size_t name = number(c + 28, 2), extra = number(c + 30, 2), comment = number(c + 32, 2);
    uint64_t packed = number(c + 20, 4), size = number(c + 24, 4), place = number(c + 42, 4);
    if (end - *at - CENTRAL < name + extra + comment) return bad(r, "a broken entry in its zip directory");
    *at += CENTRAL + name + extra + comment;
    if (!widen(c + CENTRAL + name, extra, (uint64_t *const[]){&size, &packed, &place}))
        return bad(r, "an entry without its zip64 sizes");
    if (number(c + 8, 2) & 1) return bad(r, "an encrypted entry");
    if (number(c + 10, 2) || packed != size)
        return bad(r, "a compressed entry; torch stores weights as they are");
    if (place >= r->directory || !stands(r, place, LOCAL, "PK\3\4"))
        return bad(r, "an entry that does not begin where its directory says");
    const uint8_t *l = r->p + place;
    const uint64_t data = place + LOCAL + number(l + 26, 2) + number(l + 28, 2);
    if (data > r->directory || size > r->directory - data)
        return bad(r, "an entry that ends outside the file");
    if (number(l + 26, 2) != name || memcmp(l + LOCAL, c + CENTRAL, name))
        return bad(r, "an entry whose two names differ");
    *e =
        (ltn_zip_entry){.name = l + LOCAL, .length = name, .place = place, .data = r->p + data, .size = size};
    return LTN_OK;
}

static int by_place(const void *a, const void *b)
{
    const ltn_zip_entry *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int by_name(const void *a, const void *b)
{
    const ltn_zip_entry *x = a, *y = b;
    const int d = memcmp(x->name, y->name, LTN_MIN(x->length, y->length));
    return d ? d : x->length < y->length ? -1 : x->length > y->length;
}

ltn_status ltn__zip_parse(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_arena *arena,
                          ltn_zip *out)
{
    reader r = {.ctx = ctx, .path = path, .p = p, .n = n};
    ltn_status s = find_directory(&r);
    if (s) return s;
    *out = (ltn_zip){ltn__arena_alloc(arena, (size_t)r.entries + 1, sizeof *out->entry), (size_t)r.entries};
    if (!out->entry) return LTN_ENOMEM;
    uint64_t at = r.directory;
    for (size_t i = 0; i < out->count && !s; i++) s = read_entry(&r, &at, &out->entry[i]);
    if (s) return s;
    qsort(out->entry, out->count, sizeof *out->entry, by_place);
    for (size_t i = 1; i < out->count; i++)
        if (out->entry[i - 1].data + out->entry[i - 1].size > p + out->entry[i].place)
            return bad(&r, "two entries that overlap");
    qsort(out->entry, out->count, sizeof *out->entry, by_name);
    for (size_t i = 1; i < out->count; i++)
        if (!by_name(&out->entry[i - 1], &out->entry[i])) return bad(&r, "two entries of the same name");
    return LTN_OK;
}

const ltn_zip_entry *ltn__zip_find(const ltn_zip *z, const char *name)
{
    const ltn_zip_entry wanted = {.name = (const uint8_t *)name, .length = strlen(name)};
    return z->count ? bsearch(&wanted, z->entry, z->count, sizeof wanted, by_name) : NULL;
}
