/* npy.c - NumPy's arrays (format 1.0 - 3.0): magic, version, header length, a Python dict, the numbers.
 * Format: numpy.org/neps/nep-0001-npy-format.html. Written as <f4, version 1.0. */
#include "file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_RANK = 8 };

typedef struct header {
    char kind; /* f i u b */
    int size;  /* bytes per number */
    bool big, fortran;
    int rank;
    int64_t dim[MAX_RANK], count;
} header;

/* ---- The header, a Python dict of three members ---- */

typedef struct text {
    const char *p, *end;
} text;

static void skip(text *t)
{
    while (t->p < t->end && (*t->p == ' ' || *t->p == '\n')) t->p++;
}

static bool eat(text *t, const char *word)
{
    size_t n = strlen(word);
    skip(t);
    if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n)) return false;
    t->p += n;
    return true;
}

/* A string without escapes; what does not fit is cut. */
static bool eat_string(text *t, char *out, size_t room)
{
    skip(t);
    if (t->p == t->end || (*t->p != '\'' && *t->p != '"')) return false;
    const char quote = *t->p++, *begin = t->p;
    while (t->p < t->end && *t->p != quote) t->p++;
    if (t->p == t->end) return false;
    snprintf(out, room, "%.*s", (int)(t->p++ - begin), begin);
    return true;
}

static bool eat_shape(text *t, header *h)
{
    if (!eat(t, "(")) return false;
    for (h->rank = 0; !eat(t, ")"); eat(t, "L"), (void)eat(t, ",")) {
        if (h->rank == MAX_RANK || t->p == t->end || *t->p < '0' || *t->p > '9') return false;
        int64_t v = 0;
        for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
            if ((v = 10 * v + (*t->p - '0')) > INT32_MAX) return false;
        h->dim[h->rank++] = v;
    }
    return true;
}

static ltn_status bad(ltn_ctx *ctx, const char *path, const char *what)
{
    return ltn__fail(ctx, LTN_EFORMAT, "%s: %s", path, what);
}

static ltn_status read_descr(ltn_ctx *ctx, const char *path, const char *descr, header *h)
{
    static const char *const known[] = {"f2", "f4", "f8", "i1", "i2", "i4",
                                        "i8", "u1", "u2", "u4", "u8", "b1"};
    const char *type = descr + (*descr && strchr("<>|=", *descr) != NULL);
    for (int i = 0; i < LTN_COUNT(known); i++) {
        if (strcmp(type, known[i])) continue;
        h->kind = type[0];
        h->size = type[1] - '0';
        h->big = descr[0] == '>';
        return LTN_OK;
    }
    return ltn__fail(ctx, LTN_EFORMAT,
                     "%s: numbers of type '%s' cannot be read; expected floats, integers or bool", path,
                     descr);
}

static ltn_status read_dict(ltn_ctx *ctx, const char *path, text t, header *h)
{
    char key[32], descr[32] = "";
    bool order = false, shape = false;
    if (!eat(&t, "{")) return bad(ctx, path, "damaged .npy header");
    while (!eat(&t, "}")) {
        bool good = eat_string(&t, key, sizeof key) && eat(&t, ":");
        if (good && !strcmp(key, "descr") && !descr[0]) {
            if (eat(&t, "[")) return bad(ctx, path, "records cannot be read; expected plain numbers");
            good = eat_string(&t, descr, sizeof descr);
        } else if (good && !strcmp(key, "fortran_order") && !order) {
            h->fortran = eat(&t, "True");
            good = order = h->fortran || eat(&t, "False");
        } else if (good && !strcmp(key, "shape") && !shape) {
            good = shape = eat_shape(&t, h);
        } else {
            good = false;
        }
        if (!good || (!eat(&t, ",") && (t.p == t.end || *t.p != '}')))
            return bad(ctx, path, "damaged .npy header, or more than 8 dimensions");
    }
    if (!descr[0] || !order || !shape)
        return bad(ctx, path, "damaged .npy header: descr, fortran_order and shape are needed");
    return read_descr(ctx, path, descr, h);
}

static bool matches(const uint8_t *p, size_t n)
{
    return n >= 6 && !memcmp(p, "\x93NUMPY", 6);
}

/* Where the numbers begin goes to *start. */
static ltn_status read_header(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, header *h,
                              size_t *start)
{
    *h = (header){0};
    if (!matches(p, n)) return bad(ctx, path, "not a .npy file");
    if (n >= 8 && (p[6] < 1 || p[6] > 3)) return bad(ctx, path, "a .npy version that is not known");
    *start = n >= 12 && p[6] == 1 ? 10 : 12;
    if (n < *start) return bad(ctx, path, "truncated inside its header");
    size_t length = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1) length |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (length > n - *start) return bad(ctx, path, "truncated inside its header");
    ltn_status s =
        read_dict(ctx, path, (text){(const char *)p + *start, (const char *)p + *start + length}, h);
    if (s) return s;
    *start += length;
    h->count = 1;
    for (int i = 0; i < h->rank; i++) {
        if (!h->dim[i]) return bad(ctx, path, "a dimension is 0");
        if ((h->count *= h->dim[i]) > INT32_MAX) return bad(ctx, path, "more than 2^31 numbers");
    }
    if ((uint64_t)h->count * (unsigned)h->size <= n - *start) return LTN_OK;
    return ltn__fail(ctx, LTN_EFORMAT,
                     "%s: truncated: %" PRId64 " numbers of %d bytes announced, %" PRIu64 " bytes there",
                     path, h->count, h->size, (uint64_t)(n - *start));
}

/* ---- The numbers ---- */

static double half(uint16_t x)
{
    int e = x >> 10 & 31;
    double m = x & 1023, sign = x >> 15 ? -1 : 1;
    if (e == 31) return m ? NAN : sign * INFINITY;
    return sign * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24));
}

static double number(const header *h, const uint8_t *p)
{
    uint64_t u = 0;
    for (int i = 0; i < h->size; i++) u |= (uint64_t)p[h->big ? h->size - 1 - i : i] << 8 * i;
    if (h->kind == 'b') return u != 0;
    if (h->kind == 'u') return (double)u;
    if (h->kind == 'i') { /* sign extension */
        const int unused = 64 - 8 * h->size;
        return (double)((int64_t)(u << unused) >> unused);
    }
    if (h->size == 2) return half((uint16_t)u);
    union { uint64_t u; double d; } wide = {u};
    union { uint32_t u; float f; } narrow = {(uint32_t)u};
    return h->size == 8 ? wide.d : narrow.f;
}

/* In C order: the last index runs fastest here; in the file the first one does where h->fortran. */
static void read_numbers(const header *h, const uint8_t *p, float *out)
{
    int64_t stride[MAX_RANK], index[MAX_RANK] = {0}, at = 0, step = 1;
    for (int k = 0; k < h->rank; k++) {
        const int d = h->fortran ? k : h->rank - 1 - k;
        stride[d] = step;
        step *= h->dim[d];
    }
    for (int64_t i = 0; i < h->count; i++) {
        out[i] = (float)number(h, p + at * h->size);
        for (int d = h->rank - 1; d >= 0; d--) {
            at += stride[d];
            if (++index[d] < h->dim[d]) break;
            at -= stride[d] * h->dim[d];
            index[d] = 0;
        }
    }
}

ltn_status ltn__npy_decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_array *out)
{
    header h;
    size_t start;
    *out = (ltn_array){0};
    ltn_status s = read_header(ctx, path, p, n, &h, &start);
    if (s) return s;
    float *data = ltn__alloc(ctx, (size_t)h.count, sizeof *data);
    if (!data) return LTN_ENOMEM;
    read_numbers(&h, p + start, data);
    *out = (ltn_array){.rank = h.rank, .data = data};
    memcpy(out->dim, h.dim, sizeof out->dim);
    return LTN_OK;
}

ltn_status ltn__npy_encode(ltn_ctx *ctx, const ltn_array *a, ltn_bytes *out)
{
    char shape[MAX_RANK * 24] = "", head[512];
    int64_t count = 1;
    int n = 0;
    *out = (ltn_bytes){0};
    if (a->rank < 0 || a->rank > MAX_RANK)
        return ltn__fail(ctx, LTN_EINVAL, "an array of %d dimensions; at most 8", a->rank);
    for (int i = 0; i < a->rank; count *= a->dim[i++])
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRId64 "%s", i ? " " : "", a->dim[i],
                      i + 1 < a->rank || a->rank == 1 ? "," : "");
    n = snprintf(head, sizeof head,
                 "\x93NUMPY\x01%cXX{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", 0, shape);
    const int start = (n + 1 + 63) / 64 * 64, length = start - 10;
    if (!(out->data = ltn__alloc(ctx, (size_t)start + 4 * (size_t)count + 1, 1))) return LTN_ENOMEM;
    out->size = (size_t)start + 4 * (size_t)count;
    memset(out->data, ' ', (size_t)start);
    memcpy(out->data, head, (size_t)n);
    out->data[8] = (uint8_t)length;
    out->data[9] = (uint8_t)(length >> 8);
    out->data[start - 1] = '\n';
    memcpy(out->data + start, a->data, 4 * (size_t)count);
    return LTN_OK;
}

/* ---- As a picture: (h, w) or (c, h, w); bytes and 16-bit words are scaled to [0, 1] ---- */

static ltn_status check_picture(ltn_ctx *ctx, const char *path, const header *h)
{
    const int64_t *d = h->dim;
    if (h->rank != 2 && h->rank != 3)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: %d dimensions; a picture is (h, w) or (c, h, w)", path,
                         h->rank);
    if (h->rank == 3 && d[0] > 16 && d[2] <= 4)
        return ltn__fail(ctx, LTN_ESHAPE,
                         "%s: (%" PRId64 ", %" PRId64 ", %" PRId64
                         ") looks like (h, w, c); expected (c, h, w)",
                         path, d[0], d[1], d[2]);
    if (h->kind == 'i' || (h->kind == 'u' && h->size > 2))
        return ltn__fail(ctx, LTN_EFORMAT, "%s: integers other than uint8 and uint16 are no picture", path);
    return LTN_OK;
}

static ltn_status decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out)
{
    header h;
    size_t start;
    *out = (ltn_image){0};
    ltn_status s = read_header(ctx, path, p, n, &h, &start);
    if (!s) s = check_picture(ctx, path, &h);
    const int64_t *hw = h.dim + (h.rank == 3), c = h.rank == 3 ? h.dim[0] : 1;
    if (!s) s = ltn__image_begin(ctx, path, hw[1], hw[0], (int)c, out);
    if (s) return s;
    read_numbers(&h, p + start, out->data);
    const float scale = h.kind != 'u' ? 1 : h.size == 1 ? 255 : 65535;
    for (int64_t i = 0; i < h.count; i++) {
        out->data[i] /= scale;
        if (!isfinite(out->data[i])) return bad(ctx, path, "holds NaN or infinity");
    }
    return LTN_OK;
}

static ltn_status encode(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt,
                         ltn_bytes *out)
{
    return ltn__npy_encode(
        ctx, &(ltn_array){.rank = 3, .dim = {im->channels, im->height, im->width}, .data = im->data}, out);
}

const ltn_format ltn__format_npy = {
    .name = ".npy", .extensions = ".npy", .matches = matches, .decode = decode, .encode = encode};
