/* image.c - the pictures and arrays of latino.h, in terms of the formats: chosen by content when read, by
 * extension when written. */
#include "file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FORMAT(name) extern const ltn_format ltn__format_##name;
#include "format.def"
#undef FORMAT

static const ltn_format *const formats[] = {
#define FORMAT(name) &ltn__format_##name,
#include "format.def"
#undef FORMAT
};

static const int64_t max_samples = (int64_t)1 << 28; /* 1 GiB */

const ltn_format *ltn__format_row(int i)
{
    return i >= 0 && i < LTN_COUNT(formats) ? formats[i] : NULL;
}

/* Appends to a list "a, b or c". */
static void list(char *text, size_t room, const char *word, size_t n, bool first, bool last)
{
    const size_t used = strlen(text);
    snprintf(text + used, room - used, "%s%.*s", first ? "" : last ? " or " : ", ", (int)n, word);
}

/* ---- Memory ---- */

ltn_status ltn__image_begin(ltn_ctx *ctx, const char *path, int64_t width, int64_t height, int channels,
                            ltn_image *out)
{
    *out = (ltn_image){0};
    if (width < 1 || height < 1 || channels < 1)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: a picture of %" PRId64 " x %" PRId64 " pixels, %d channels",
                         path, width, height, channels);
    if (width > max_samples || height > max_samples || width * height > max_samples / channels)
        return ltn__fail(ctx, LTN_ESHAPE,
                         "%s: %" PRId64 " x %" PRId64 " pixels, %d channels: more than 2^28 samples", path,
                         width, height, channels);
    float *data = ltn__alloc(ctx, (size_t)(width * height) * (size_t)channels, sizeof *data);
    if (!data) return LTN_ENOMEM;
    *out = (ltn_image){.width = (int)width, .height = (int)height, .channels = channels, .data = data};
    return LTN_OK;
}

ltn_status ltn_image_new(ltn_ctx *ctx, int width, int height, int channels, const ltn_image *like,
                         ltn_image *out)
{
    ltn_image fresh;
    ltn_status s = ltn__image_begin(ctx, "new picture", width, height, channels, &fresh);
    if (!s && like) s = ltn__meta_copy(ctx, like->meta, &fresh.meta);
    if (s) ltn_image_free(ctx, &fresh);
    *out = fresh;
    return s;
}

void ltn_image_free(ltn_ctx *ctx, ltn_image *im)
{
    if (!im) return;
    ltn__free(ctx, im->data);
    ltn__meta_free(ctx, im->meta);
    *im = (ltn_image){0};
}

const char *ltn_image_settings(const ltn_image *im)
{
    return im && im->meta ? im->meta->settings : NULL;
}

/* ---- Reading ---- */

static ltn_status unknown_content(ltn_ctx *ctx, const char *path)
{
    char names[256] = "";
    for (int i = 0; i < LTN_COUNT(formats); i++)
        list(names, sizeof names, formats[i]->name, strlen(formats[i]->name), i == 0,
             i + 1 == LTN_COUNT(formats));
    return ltn__fail(ctx, LTN_EFORMAT, "%s: not a %s file", path, names);
}

ltn_status ltn__image_decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out)
{
    const ltn_format *f = NULL;
    *out = (ltn_image){0};
    for (int i = 0; i < LTN_COUNT(formats) && !f; i++)
        if (formats[i]->matches(p, n)) f = formats[i];
    if (!n) return ltn__fail(ctx, LTN_EFORMAT, "%s: the file is empty", path);
    if (!f) return unknown_content(ctx, path);
    ltn_status s = f->decode(ctx, path, p, n, out);
    if (!s && out->meta) s = ltn__image_orient(ctx, out, ltn__exif_take_orientation(&out->meta->exif));
    if (s) ltn_image_free(ctx, out);
    return s;
}

ltn_status ltn_image_read(ltn_ctx *ctx, const char *path, ltn_image *out)
{
    ltn_bytes b;
    *out = (ltn_image){0};
    ltn_status s = ltn__file_read(ctx, path, &b);
    if (s) return s;
    s = ltn__image_decode(ctx, path, b.data, b.size, out);
    ltn__free(ctx, b.data);
    return s;
}

/* ---- Writing ---- */

static bool has_extension(const ltn_format *f, const char *extension)
{
    const size_t n = strlen(extension);
    for (const char *e = f->extensions; e; e = strchr(e, '|') ? strchr(e, '|') + 1 : NULL)
        if (strcspn(e, "|") == n && !strncasecmp(e, extension, n)) return true;
    return false;
}

static ltn_status unknown_extension(ltn_ctx *ctx, const char *path)
{
    char names[256] = "";
    for (int i = 0; i < LTN_COUNT(formats); i++)
        for (const char *e = formats[i]->extensions, *next; e; e = next) {
            next = strchr(e, '|') ? strchr(e, '|') + 1 : NULL;
            list(names, sizeof names, e, strcspn(e, "|"), !names[0], i + 1 == LTN_COUNT(formats) && !next);
        }
    return ltn__fail(ctx, LTN_EINVAL, "%s: the name of a picture ends in %s", path, names);
}

ltn_status ltn_image_write(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path, *dot = strrchr(name, '.');
    const ltn_write_options given = opt ? *opt : (ltn_write_options){0};
    const ltn_write_options all = {.bits = given.bits ? given.bits : 8,
                                   .quality = given.quality ? given.quality : 95,
                                   .settings = given.settings};
    const ltn_format *f = NULL;
    for (int i = 0; i < LTN_COUNT(formats) && dot && !f; i++)
        if (has_extension(formats[i], dot)) f = formats[i];
    if (!f) return unknown_extension(ctx, path);
    if (!im->data || im->width < 1 || im->height < 1 || im->channels < 1)
        return ltn__fail(ctx, LTN_EINVAL, "%s: there is no picture to write", path);
    if (all.bits != 8 && all.bits != 16)
        return ltn__fail(ctx, LTN_EINVAL, "%s: %d bits; expected 8 or 16", path, all.bits);
    if (all.quality < 1 || all.quality > 100)
        return ltn__fail(ctx, LTN_EINVAL, "%s: quality %d; expected 1 to 100", path, all.quality);
    if (f != &ltn__format_npy && im->channels > 4)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: %d channels; a %s has at most 4 (.npy holds any number)", path,
                         im->channels, f->name);
    ltn_bytes b = {0};
    ltn_status s = f->encode(ctx, path, im, &all, &b);
    if (!s) s = ltn__file_write(ctx, path, b.data, b.size);
    ltn__free(ctx, b.data);
    return s;
}

/* ---- Arrays ---- */

ltn_status ltn_array_read(ltn_ctx *ctx, const char *path, ltn_array *out)
{
    ltn_bytes b;
    *out = (ltn_array){0};
    ltn_status s = ltn__file_read(ctx, path, &b);
    if (s) return s;
    s = ltn__npy_decode(ctx, path, b.data, b.size, out);
    ltn__free(ctx, b.data);
    return s;
}

ltn_status ltn_array_write(ltn_ctx *ctx, const char *path, const ltn_array *a)
{
    ltn_bytes b;
    ltn_status s = ltn__npy_encode(ctx, a, &b);
    if (!s) s = ltn__file_write(ctx, path, b.data, b.size);
    ltn__free(ctx, b.data);
    return s;
}

void ltn_array_free(ltn_ctx *ctx, ltn_array *a)
{
    if (!a) return;
    ltn__free(ctx, a->data);
    *a = (ltn_array){0};
}
