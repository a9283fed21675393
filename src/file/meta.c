/* meta.c - what travels with a picture: ICC profile, EXIF, settings; and the EXIF orientation, which reading
 * undoes. EXIF is a TIFF structure: byte order, offset of the first directory, entries of 12 bytes (tag,
 * type, count, value). */
#include "file.h"

#include <string.h>

static ltn_meta *meta_of(ltn_ctx *ctx, ltn_image *im)
{
    if (!im->meta) im->meta = ltn__alloc(ctx, 1, sizeof *im->meta);
    return im->meta;
}

static ltn_status set_bytes(ltn_ctx *ctx, ltn_bytes *to, const void *p, size_t n)
{
    uint8_t *data = ltn__alloc(ctx, n + 1, 1);
    if (!data) return LTN_ENOMEM;
    memcpy(data, p, n);
    ltn__free(ctx, to->data);
    *to = (ltn_bytes){data, n};
    return LTN_OK;
}

ltn_status ltn__meta_add_icc(ltn_ctx *ctx, ltn_image *im, const void *p, size_t n)
{
    ltn_meta *m = meta_of(ctx, im);
    return m ? set_bytes(ctx, &m->icc, p, n) : LTN_ENOMEM;
}

ltn_status ltn__meta_add_exif(ltn_ctx *ctx, ltn_image *im, const void *p, size_t n)
{
    ltn_meta *m = meta_of(ctx, im);
    const size_t prefix = n >= 6 && !memcmp(p, "Exif\0\0", 6) ? 6 : 0;
    return m ? set_bytes(ctx, &m->exif, (const uint8_t *)p + prefix, n - prefix) : LTN_ENOMEM;
}

ltn_status ltn__meta_add_settings(ltn_ctx *ctx, ltn_image *im, const char *text)
{
    ltn_meta *m = meta_of(ctx, im);
    char *copy = m ? ltn__strdup(ctx, text) : NULL;
    if (!copy) return LTN_ENOMEM;
    ltn__free(ctx, m->settings);
    m->settings = copy;
    return LTN_OK;
}

ltn_status ltn__meta_add_jpeg(ltn_ctx *ctx, ltn_image *im, const ltn_jpeg_meta *j)
{
    ltn_meta *m = meta_of(ctx, im);
    if (!m) return LTN_ENOMEM;
    m->jpeg = *j;
    return LTN_OK;
}

int ltn_image_jpeg_quality(const ltn_image *im, int *full_chroma)
{
    if (full_chroma) *full_chroma = im->meta && im->meta->jpeg.full_chroma;
    return im->meta ? im->meta->jpeg.quality : 0;
}

const unsigned char *ltn_image_jpeg_tables(const ltn_image *im, int *n)
{
    *n = im->meta ? im->meta->jpeg.n : 0;
    return *n ? im->meta->jpeg.table[0] : NULL;
}

/* The colour space stands in bytes 16..19 of a profile. */
ltn_bytes ltn__meta_icc(ltn_ctx *ctx, const char *path, const ltn_image *im, bool grey)
{
    if (!im->meta || !im->meta->icc.size) return (ltn_bytes){0};
    const ltn_bytes icc = im->meta->icc;
    if (icc.size >= 128 && !memcmp(icc.data + 16, grey ? "GRAY" : "RGB ", 4)) return icc;
    ltn__log(ctx, 0, "%s: written without the colour profile, which is not for %s pictures", path,
             grey ? "grey" : "RGB");
    return (ltn_bytes){0};
}

ltn_bytes ltn__meta_exif(const ltn_image *im)
{
    return im->meta ? im->meta->exif : (ltn_bytes){0};
}

void ltn__meta_free(ltn_ctx *ctx, ltn_meta *m)
{
    if (!m) return;
    ltn__free(ctx, m->icc.data);
    ltn__free(ctx, m->exif.data);
    ltn__free(ctx, m->settings);
    ltn__free(ctx, m);
}

ltn_status ltn__meta_copy(ltn_ctx *ctx, const ltn_meta *m, ltn_meta **out)
{
    ltn_image im = {0};
    ltn_status s = LTN_OK;
    *out = NULL;
    if (!m) return LTN_OK;
    if (m->icc.data) s = ltn__meta_add_icc(ctx, &im, m->icc.data, m->icc.size);
    if (!s && m->exif.data) s = ltn__meta_add_exif(ctx, &im, m->exif.data, m->exif.size);
    if (!s && m->settings) s = ltn__meta_add_settings(ctx, &im, m->settings);
    if (s) ltn__meta_free(ctx, im.meta);
    else *out = im.meta;
    return s;
}

/* ---- Orientation ---- */

static uint32_t get(const uint8_t *p, int bytes, bool big)
{
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << 8 * (big ? bytes - 1 - i : i);
    return v;
}

int ltn__exif_take_orientation(ltn_bytes *exif)
{
    enum { ORIENTATION = 0x0112, SHORT = 3 };
    uint8_t *p = exif->data;
    const size_t n = exif->size;
    if (n < 10 || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4))) return 1;
    const bool big = p[0] == 'M';
    size_t at = get(p + 4, 4, big);
    if (at > n - 2) return 1;
    for (uint32_t entries = get(p + at, 2, big), i = 0; i < entries; i++) {
        if (at + 2 + 12 * (size_t)(i + 1) > n) return 1;
        uint8_t *e = p + at + 2 + 12 * (size_t)i;
        if (get(e, 2, big) != ORIENTATION || get(e + 2, 2, big) != SHORT) continue;
        const uint32_t o = get(e + 8, 2, big);
        e[8] = !big;
        e[9] = big;
        return o >= 1 && o <= 8 ? (int)o : 1;
    }
    return 1;
}

/* Frequencies along x and along y change places. */
static void swap_tables(ltn_jpeg_meta *j)
{
    const ltn_jpeg_meta was = *j;
    for (int k = 0; k < j->n; k++)
        for (int i = 0; i < 64; i++) j->table[k][i] = was.table[k][i % 8 * 8 + i / 8];
}

/* An upright pixel (x, y) is found among the stored ones by exchanging x and y, then counting from the far
 * end. */
ltn_status ltn__image_orient(ltn_ctx *ctx, ltn_image *im, int o)
{
    static const struct {
        bool swap, left, up;
    } turn[9] = {[2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1}, [5] = {1, 0, 0},
                 [6] = {1, 0, 1}, [7] = {1, 1, 1}, [8] = {1, 1, 0}};
    if (o < 2 || o > 8) return LTN_OK;
    const int w = turn[o].swap ? im->height : im->width, h = turn[o].swap ? im->width : im->height;
    float *data = ltn__alloc(ctx, (size_t)w * (size_t)h * (size_t)im->channels, sizeof *data), *to = data;
    if (!data) return LTN_ENOMEM;
    for (int c = 0; c < im->channels; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                int sx = turn[o].swap ? y : x, sy = turn[o].swap ? x : y;
                if (turn[o].left) sx = im->width - 1 - sx;
                if (turn[o].up) sy = im->height - 1 - sy;
                *to++ = im->data[((int64_t)c * im->height + sy) * im->width + sx];
            }
    ltn__free(ctx, im->data);
    im->data = data;
    im->width = w;
    im->height = h;
    if (turn[o].swap && im->meta) swap_tables(&im->meta->jpeg);
    return LTN_OK;
}
