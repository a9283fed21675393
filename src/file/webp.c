/* webp.c - WebP by libwebp: lossy, lossless, alpha; ICC profile and EXIF by libwebpmux. One frame only. */
#include "file.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

static bool matches(const uint8_t *p, size_t n)
{
    return n >= 12 && !memcmp(p, "RIFF", 4) && !memcmp(p + 8, "WEBP", 4);
}

static ltn_status bad(ltn_ctx *ctx, const char *path, const char *what)
{
    return ltn__fail(ctx, LTN_EFORMAT, "%s: %s", path, what);
}

/* ---- Reading ---- */

static ltn_status take_meta(ltn_ctx *ctx, const char *path, const WebPData *file, ltn_image *im)
{
    WebPMux *mux = WebPMuxCreate(file, 0);
    WebPData icc, exif;
    ltn_status s = LTN_OK;
    if (!mux) return bad(ctx, path, "damaged or truncated WebP");
    if (WebPMuxGetChunk(mux, "ICCP", &icc) == WEBP_MUX_OK)
        s = ltn__meta_add_icc(ctx, im, icc.bytes, icc.size);
    if (!s && WebPMuxGetChunk(mux, "EXIF", &exif) == WEBP_MUX_OK)
        s = ltn__meta_add_exif(ctx, im, exif.bytes, exif.size);
    WebPMuxDelete(mux);
    return s;
}

static ltn_status read_pixels(ltn_ctx *ctx, const char *path, const WebPData *file, uint8_t *pixels,
                              const ltn_image *im)
{
    WebPDecoderConfig d;
    if (!WebPInitDecoderConfig(&d)) return bad(ctx, path, "this libwebp cannot be used");
    d.output.colorspace = im->channels == 4 ? MODE_RGBA : MODE_RGB;
    d.output.is_external_memory = 1;
    d.output.u.RGBA.rgba = pixels;
    d.output.u.RGBA.stride = im->width * im->channels;
    d.output.u.RGBA.size = (size_t)im->width * (size_t)im->height * (size_t)im->channels;
    const VP8StatusCode code = WebPDecode(file->bytes, file->size, &d);
    WebPFreeDecBuffer(&d.output);
    if (code == VP8_STATUS_OK) return LTN_OK;
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for libwebp", path);
    return bad(ctx, path,
               code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED ? "truncated WebP"
                                                                                  : "damaged WebP");
}

static ltn_status decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out)
{
    const WebPData file = {p, n};
    WebPBitstreamFeatures f;
    *out = (ltn_image){0};
    const VP8StatusCode code = WebPGetFeatures(p, n, &f);
    if (code == VP8_STATUS_NOT_ENOUGH_DATA) return bad(ctx, path, "truncated WebP");
    if (code != VP8_STATUS_OK) return bad(ctx, path, "damaged WebP");
    if (f.has_animation) return bad(ctx, path, "an animated WebP; expected a single picture");
    ltn_status s = ltn__image_begin(ctx, path, f.width, f.height, f.has_alpha ? 4 : 3, out);
    if (s) return s;
    const int64_t plane = (int64_t)f.width * f.height;
    const int channels = out->channels;
    uint8_t *pixels = ltn__alloc(ctx, (size_t)plane, (size_t)channels);
    s = pixels ? read_pixels(ctx, path, &file, pixels, out) : LTN_ENOMEM;
    for (int c = 0; !s && c < channels; c++)
        for (int64_t i = 0; i < plane; i++) out->data[c * plane + i] = (float)pixels[i * channels + c] / 255;
    ltn__free(ctx, pixels);
    return s ? s : take_meta(ctx, path, &file, out);
}

/* ---- Writing ---- */

static int on_write(const uint8_t *p, size_t n, const WebPPicture *picture)
{
    return ltn__sink_put(picture->custom_ptr, p, n);
}

/* Grey becomes RGB: WebP has no grey. */
static uint8_t *to_pixels(ltn_ctx *ctx, const ltn_image *im, bool alpha)
{
    const int64_t plane = (int64_t)im->width * im->height;
    const bool grey = im->channels < 3;
    const int channels = 3 + alpha;
    uint8_t *pixels = ltn__alloc(ctx, (size_t)plane, (size_t)channels);
    for (int c = 0; pixels && c < channels; c++) {
        const float *from = im->data + (c == 3 ? im->channels - 1 : grey ? 0 : c) * plane;
        for (int64_t i = 0; i < plane; i++) pixels[i * channels + c] = (uint8_t)ltn__sample(from[i], 255);
    }
    return pixels;
}

/* quality 100 is lossless, and keeps the colour of what cannot be seen. */
static bool configure(WebPConfig *config, WebPPicture *picture, const ltn_image *im, int quality)
{
    if (!WebPConfigInit(config) || !WebPPictureInit(picture)) return false;
    config->lossless = config->exact = picture->use_argb = quality == 100;
    if (quality < 100) config->quality = (float)quality;
    picture->width = im->width;
    picture->height = im->height;
    return true;
}

static ltn_status write_pixels(ltn_ctx *ctx, const char *path, const ltn_image *im, int quality,
                               ltn_sink *sink)
{
    const bool alpha = im->channels % 2 == 0;
    WebPConfig config;
    WebPPicture picture;
    if (!configure(&config, &picture, im, quality)) return bad(ctx, path, "this libwebp cannot be used");
    uint8_t *pixels = to_pixels(ctx, im, alpha);
    if (!pixels) return LTN_ENOMEM;
    const bool taken = alpha ? WebPPictureImportRGBA(&picture, pixels, 4 * im->width)
                             : WebPPictureImportRGB(&picture, pixels, 3 * im->width);
    picture.writer = on_write;
    picture.custom_ptr = sink;
    const bool good = taken && WebPEncode(&config, &picture);
    WebPPictureFree(&picture);
    ltn__free(ctx, pixels);
    if (good) return LTN_OK;
    if (picture.error_code == VP8_ENC_ERROR_BAD_WRITE) return LTN_ENOMEM; /* the sink has said so */
    return ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for libwebp (its error %d)", path,
                     (int)picture.error_code);
}

/* The same file with profile and EXIF around the picture. */
static ltn_status add_meta(ltn_ctx *ctx, const char *path, const ltn_bytes *icc, const ltn_bytes *exif,
                           ltn_sink *sink)
{
    const WebPData image = {sink->bytes.data, sink->bytes.size}, i = {icc->data, icc->size},
                   e = {exif->data, exif->size};
    WebPData all = {0};
    WebPMux *mux = WebPMuxNew();
    bool good = mux && WebPMuxSetImage(mux, &image, 0) == WEBP_MUX_OK;
    if (good && i.size) good = WebPMuxSetChunk(mux, "ICCP", &i, 0) == WEBP_MUX_OK;
    if (good && e.size) good = WebPMuxSetChunk(mux, "EXIF", &e, 0) == WEBP_MUX_OK;
    good = good && WebPMuxAssemble(mux, &all) == WEBP_MUX_OK;
    WebPMuxDelete(mux);
    ltn_sink whole = {.ctx = ctx};
    good = good && ltn__sink_put(&whole, all.bytes, all.size);
    WebPDataClear(&all);
    if (!good) return ltn__fail(ctx, LTN_ENOMEM, "%s: no memory for the WebP file", path);
    ltn__free(ctx, sink->bytes.data);
    *sink = whole;
    return LTN_OK;
}

static ltn_status encode(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt,
                         ltn_bytes *out)
{
    ltn_sink sink = {.ctx = ctx};
    if (im->width > WEBP_MAX_DIMENSION || im->height > WEBP_MAX_DIMENSION)
        return ltn__fail(ctx, LTN_ESHAPE, "%s: %d x %d pixels; a WebP has at most %d x %d", path, im->width,
                         im->height, WEBP_MAX_DIMENSION, WEBP_MAX_DIMENSION);
    const ltn_bytes icc = ltn__meta_icc(ctx, path, im, false), exif = ltn__meta_exif(im);
    ltn_status s = write_pixels(ctx, path, im, opt->quality, &sink);
    if (!s && (icc.size || exif.size)) s = add_meta(ctx, path, &icc, &exif, &sink);
    *out = sink.bytes;
    return s;
}

const ltn_format ltn__format_webp = {
    .name = "WebP", .extensions = ".webp", .matches = matches, .decode = decode, .encode = encode};
