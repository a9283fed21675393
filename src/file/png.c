/* png.c - PNG by libpng: 1 to 16 bits, grey, palette, RGB, with or without alpha; ICC profile, EXIF, and the
 * settings as text chunk "latino". */
#include "file.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

/* A picture on its way in or out; libpng's errors jump back into decode or encode. */
typedef struct job {
    ltn_ctx *ctx;
    const char *path;
    ltn_status status;
    png_structp png;
    png_infop info;
    const uint8_t *in, *end;
    ltn_sink sink;
    ltn_image im;
    uint8_t *pixels;
    png_bytepp rows;
} job;

static void on_error(png_structp png, png_const_charp text)
{
    job *j = png_get_error_ptr(png);
    if (!j->status) j->status = ltn__fail(j->ctx, LTN_EFORMAT, "%s: damaged PNG: %s", j->path, text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    const job *j = png_get_error_ptr(png);
    ltn__log(j->ctx, 1, "%s: %s", j->path, text);
}

static void on_read(png_structp png, png_bytep to, size_t n)
{
    job *j = png_get_io_ptr(png);
    if ((size_t)(j->end - j->in) < n) {
        j->status = ltn__fail(j->ctx, LTN_EFORMAT, "%s: truncated PNG", j->path);
        png_error(png, "truncated");
    }
    memcpy(to, j->in, n);
    j->in += n;
}

static void on_write(png_structp png, png_bytep p, size_t n)
{
    job *j = png_get_io_ptr(png);
    if (ltn__sink_put(&j->sink, p, n)) return;
    j->status = LTN_ENOMEM;
    png_error(png, "no memory");
}

static void on_flush(png_structp png)
{
}

/* ---- Reading ---- */

static bool matches(const uint8_t *p, size_t n)
{
    return n >= 8 && !png_sig_cmp(p, 0, 8);
}

static ltn_status take_meta(job *j)
{
    png_charp name;
    png_bytep p;
    png_uint_32 n;
    png_textp text;
    int way, texts = 0;
    ltn_status s = LTN_OK;
    if (png_get_iCCP(j->png, j->info, &name, &way, &p, &n)) s = ltn__meta_add_icc(j->ctx, &j->im, p, n);
    if (!s && png_get_eXIf_1(j->png, j->info, &n, &p)) s = ltn__meta_add_exif(j->ctx, &j->im, p, n);
    png_get_text(j->png, j->info, &text, &texts);
    for (int i = 0; i < texts && !s; i++)
        if (!strcmp(text[i].key, "latino") && text[i].text)
            s = ltn__meta_add_settings(j->ctx, &j->im, text[i].text);
    return s;
}

static void to_planes(job *j, int bits)
{
    const int64_t plane = (int64_t)j->im.width * j->im.height;
    const int channels = j->im.channels;
    for (int c = 0; c < channels; c++) {
        float *to = j->im.data + c * plane;
        if (bits == 8) {
            for (int64_t i = 0; i < plane; i++) to[i] = (float)j->pixels[i * channels + c] / 255;
            continue;
        }
        for (int64_t i = 0; i < plane; i++) {
            const uint8_t *p = j->pixels + 2 * (i * channels + c);
            to[i] = (float)(p[0] << 8 | p[1]) / 65535;
        }
    }
}

static ltn_status read_png(job *j)
{
    png_structp png = j->png;
    png_infop info = j->info;
    if (setjmp(png_jmpbuf(png))) return j->status;
    png_set_read_fn(png, j, on_read);
    png_read_info(png, info);
    png_set_expand(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const size_t height = png_get_image_height(png, info), stride = png_get_rowbytes(png, info);
    ltn_status s = ltn__image_begin(j->ctx, j->path, png_get_image_width(png, info), (int64_t)height,
                                    png_get_channels(png, info), &j->im);
    if (s) return s;
    j->pixels = ltn__alloc(j->ctx, height, stride);
    j->rows = ltn__alloc(j->ctx, height, sizeof *j->rows);
    if (!j->pixels || !j->rows) return LTN_ENOMEM;
    for (size_t y = 0; y < height; y++) j->rows[y] = j->pixels + y * stride;
    png_read_image(png, j->rows);
    png_read_end(png, info);
    to_planes(j, png_get_bit_depth(png, info));
    return take_meta(j);
}

static ltn_status decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out)
{
    job j = {.ctx = ctx, .path = path, .in = p, .end = p + n};
    j.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    ltn_status s = j.info ? read_png(&j) : ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for libpng", path);
    png_destroy_read_struct(&j.png, &j.info, NULL);
    ltn__free(ctx, j.pixels);
    ltn__free(ctx, j.rows);
    *out = j.im;
    return s;
}

/* ---- Writing ---- */

static void put_meta(job *j, const char *settings)
{
    const ltn_bytes icc = ltn__meta_icc(j->ctx, j->path, &j->im, j->im.channels < 3),
                    exif = ltn__meta_exif(&j->im);
    if (icc.size)
        png_set_iCCP(j->png, j->info, "profile", PNG_COMPRESSION_TYPE_BASE, icc.data, (png_uint_32)icc.size);
    if (exif.size) png_set_eXIf_1(j->png, j->info, (png_uint_32)exif.size, exif.data);
    if (!settings) return;
    bool ascii = true;
    for (const char *c = settings; *c; c++) ascii = ascii && (uint8_t)*c < 128;
    png_text text = {.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                     .key = (char[]){"latino"},
                     .text = (char *)settings}; /* libpng copies it */
    png_set_text(j->png, j->info, &text, 1);
}

/* One interleaved row, big-endian where 16 bits. */
static void from_planes(const ltn_image *im, int y, int bits, uint8_t *to)
{
    const size_t plane = (size_t)im->width * (size_t)im->height;
    const float *from = im->data + (size_t)y * (size_t)im->width;
    for (int x = 0; x < im->width; x++)
        for (int c = 0; c < im->channels; c++) {
            const unsigned v = ltn__sample(from[c * plane + x], bits == 8 ? 255 : 65535);
            if (bits == 16) *to++ = (uint8_t)(v >> 8);
            *to++ = (uint8_t)v;
        }
}

static ltn_status write_png(job *j, const ltn_write_options *opt)
{
    static const int color[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    png_structp png = j->png;
    if (setjmp(png_jmpbuf(png))) return j->status;
    png_set_benign_errors(png, 1); /* a profile that libpng does not like is left out */
    png_set_write_fn(png, j, on_write, on_flush);
    png_set_IHDR(png, j->info, (png_uint_32)j->im.width, (png_uint_32)j->im.height, opt->bits,
                 color[j->im.channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    put_meta(j, opt->settings);
    png_write_info(png, j->info);
    j->pixels = ltn__alloc(j->ctx, (size_t)j->im.width, (size_t)(j->im.channels * opt->bits / 8));
    if (!j->pixels) return LTN_ENOMEM;
    for (int y = 0; y < j->im.height; y++) {
        from_planes(&j->im, y, opt->bits, j->pixels);
        png_write_row(png, j->pixels);
    }
    png_write_end(png, j->info);
    return LTN_OK;
}

static ltn_status encode(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt,
                         ltn_bytes *out)
{
    job j = {.ctx = ctx, .path = path, .im = *im, .sink.ctx = ctx};
    j.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning);
    j.info = j.png ? png_create_info_struct(j.png) : NULL;
    ltn_status s = j.info ? write_png(&j, opt) : ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for libpng", path);
    png_destroy_write_struct(&j.png, &j.info);
    ltn__free(ctx, j.pixels);
    *out = j.sink.bytes;
    return s;
}

const ltn_format ltn__format_png = {
    .name = "PNG", .extensions = ".png", .matches = matches, .decode = decode, .encode = encode};
