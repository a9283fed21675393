/* jpeg.c - JPEG by libjpeg-turbo: grey, YCbCr, RGB; CMYK and YCCK become RGB as (1 - C)(1 - K); EXIF (APP1)
 * and ICC profile (APP2) in and out. Damage that libjpeg would paint over is an error here. */
#include "file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

enum { MAX_SCANS = 200, MAX_MARKER = 65533, BUFFER = 1 << 16 };
static const char exif_prefix[6] = "Exif\0"; /* and a second zero */

/* A picture on its way in or out; libjpeg's errors jump back. The manager stands first: libjpeg knows only
 * that. */
typedef struct job {
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    ltn_ctx *ctx;
    const char *path;
    ltn_status status;
    ltn_image im;
    uint8_t *row;
    struct jpeg_source_mgr source;
    struct jpeg_destination_mgr target;
    struct jpeg_progress_mgr progress;
    struct jpeg_compress_struct tables; /* of every quality, to compare with */
    ltn_sink sink;
    uint8_t *buffer;
} job;

static job *job_of(j_common_ptr c)
{
    return (job *)(void *)c->err;
}

static void give_up(job *j, ltn_status s, const char *text)
{
    j->status = s == LTN_ENOMEM ? s : ltn__fail(j->ctx, s, "%s: %s", j->path, text);
    longjmp(j->jump, 1);
}

static void on_error(j_common_ptr c)
{
    char text[JMSG_LENGTH_MAX], line[JMSG_LENGTH_MAX + 32];
    c->err->format_message(c, text);
    snprintf(line, sizeof line, c->is_decompressor ? "damaged JPEG: %s" : "JPEG: %s", text);
    give_up(job_of(c), LTN_EFORMAT, line);
}

/* Negative levels are warnings; of these, the ones that mean lost picture data are errors. */
static void on_message(j_common_ptr c, int level)
{
    static const int fatal[] = {JWRN_HUFF_BAD_CODE, JWRN_HIT_MARKER, JWRN_MUST_RESYNC, JWRN_BOGUS_PROGRESSION,
                                JWRN_NOT_SEQUENTIAL};
    for (int i = 0; level < 0 && i < LTN_COUNT(fatal); i++)
        if (c->err->msg_code == fatal[i]) on_error(c);
}

static void open_errors(job *j)
{
    jpeg_std_error(&j->errors);
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
}

/* ---- Reading ---- */

static bool matches(const uint8_t *p, size_t n)
{
    return n >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff;
}

static void on_nothing(j_decompress_ptr d)
{
}

static boolean on_end_of_data(j_decompress_ptr d)
{
    give_up(job_of((j_common_ptr)d), LTN_EFORMAT, "truncated JPEG");
    return FALSE;
}

static void on_skip(j_decompress_ptr d, long n)
{
    if (n <= 0) return;
    if ((size_t)n > d->src->bytes_in_buffer) on_end_of_data(d);
    d->src->next_input_byte += n;
    d->src->bytes_in_buffer -= (size_t)n;
}

/* A small file may claim thousands of scans over a large picture. */
static void on_progress(j_common_ptr c)
{
    if (c->is_decompressor && ((j_decompress_ptr)c)->input_scan_number > MAX_SCANS)
        give_up(job_of(c), LTN_EFORMAT, "damaged JPEG: too many scans");
}

static ltn_status take_meta(job *j, j_decompress_ptr d)
{
    JOCTET *icc = NULL;
    unsigned n;
    ltn_status s = LTN_OK;
    for (jpeg_saved_marker_ptr m = d->marker_list; m && !s; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && !memcmp(m->data, exif_prefix, 6))
            s = ltn__meta_add_exif(j->ctx, &j->im, m->data, m->data_length);
    if (s || !jpeg_read_icc_profile(d, &icc, &n)) return s;
    if (d->num_components < 4) s = ltn__meta_add_icc(j->ctx, &j->im, icc, n);
    else ltn__log(j->ctx, 0, "%s: converted from CMYK without its colour profile", j->path);
    free(icc);
    return s;
}

/* Sum of |a - b| of two tables. */
static long difference(const JQUANT_TBL *a, const JQUANT_TBL *b)
{
    long sum = 0;
    for (int i = 0; i < DCTSIZE2; i++) sum += labs((long)a->quantval[i] - b->quantval[i]);
    return sum;
}

/* libjpeg makes its tables for every quality; those of the file lie nearest to one. c has the job's errors. */
static int nearest_quality(j_decompress_ptr d, struct jpeg_compress_struct *c)
{
    int best = 0;
    long least = 0;
    jpeg_create_compress(c);
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    for (int q = 1; q <= 100; q++) {
        long sum = 0;
        jpeg_set_quality(c, q, TRUE);
        for (int k = 0; k < LTN_MIN(d->num_components, 2); k++) {
            const JQUANT_TBL *t = d->comp_info[k].quant_table;
            if (t) sum += difference(t, c->quant_tbl_ptrs[k]);
            else return 0;
        }
        if (!best || sum < least) best = q, least = sum;
    }
    return best;
}

/* The tables that were used, but for repeated ones at the end; none if one is missing or beyond 255. */
static void take_tables(j_decompress_ptr d, ltn_jpeg_meta *out)
{
    int n = 0;
    for (int k = 0; k < d->num_components; k++) {
        const JQUANT_TBL *t = d->comp_info[k].quant_table;
        for (int i = 0; i < DCTSIZE2; i++) {
            if (!t || t->quantval[i] < 1 || t->quantval[i] > 255) return;
            out->table[k][i] = (uint8_t)t->quantval[i];
        }
        if (!k || memcmp(out->table[k], out->table[k - 1], DCTSIZE2)) n = k + 1;
    }
    out->n = n;
}

static ltn_status take_quality(job *j, j_decompress_ptr d)
{
    const jpeg_component_info *luma = d->comp_info;
    ltn_jpeg_meta found = {0};
    if (d->num_components > 3) return LTN_OK;
    found.full_chroma = d->num_components == 1 ||
                        (luma[0].h_samp_factor == luma[1].h_samp_factor &&
                         luma[0].v_samp_factor == luma[1].v_samp_factor);
    found.quality = nearest_quality(d, &j->tables);
    take_tables(d, &found);
    return found.quality ? ltn__meta_add_jpeg(j->ctx, &j->im, &found) : LTN_OK;
}

/* Adobe's CMYK is stored upside down. */
static void cmyk_to_rgb(uint8_t *p, int width, bool adobe)
{
    const int flip = adobe ? 0 : 255;
    for (int x = 0; x < width; x++)
        for (int c = 0; c < 3; c++)
            p[3 * x + c] = (uint8_t)(((p[4 * x + c] ^ flip) * (p[4 * x + 3] ^ flip) + 127) / 255);
}

static ltn_status read_jpeg(job *j, j_decompress_ptr d)
{
    if (setjmp(j->jump)) return j->status;
    jpeg_create_decompress(d);
    d->src = &j->source;
    d->progress = &j->progress;
    jpeg_save_markers(d, JPEG_APP0 + 1, 0xffff);
    jpeg_save_markers(d, JPEG_APP0 + 2, 0xffff);
    jpeg_read_header(d, TRUE);
    const int n = d->num_components, channels = LTN_MIN(n, 3);
    if (n != 1 && n != 3 && n != 4)
        return ltn__fail(j->ctx, LTN_EFORMAT, "%s: a JPEG of %d components", j->path, n);
    d->out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    ltn_status s = ltn__image_begin(j->ctx, j->path, d->image_width, d->image_height, channels, &j->im);
    if (!s) s = take_meta(j, d);
    if (s) return s;
    if (!(j->row = ltn__alloc(j->ctx, d->image_width, (size_t)n))) return LTN_ENOMEM;
    jpeg_start_decompress(d);
    const int64_t width = j->im.width, plane = width * j->im.height;
    while (d->output_scanline < d->output_height) {
        float *to = j->im.data + d->output_scanline * width;
        jpeg_read_scanlines(d, &j->row, 1);
        if (n == 4) cmyk_to_rgb(j->row, j->im.width, d->saw_Adobe_marker);
        for (int c = 0; c < channels; c++)
            for (int64_t x = 0; x < width; x++) to[c * plane + x] = (float)j->row[x * channels + c] / 255;
    }
    s = take_quality(j, d); /* the tables may stand behind the header */
    jpeg_finish_decompress(d);
    return s;
}

static ltn_status decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out)
{
    job j = {.ctx = ctx,
             .path = path,
             .source = {.next_input_byte = p,
                        .bytes_in_buffer = n,
                        .init_source = on_nothing,
                        .term_source = on_nothing,
                        .fill_input_buffer = on_end_of_data,
                        .skip_input_data = on_skip,
                        .resync_to_restart = jpeg_resync_to_restart},
             .progress.progress_monitor = on_progress};
    struct jpeg_decompress_struct d = {.err = &j.errors};
    open_errors(&j);
    j.tables.err = &j.errors;
    ltn_status s = read_jpeg(&j, &d);
    jpeg_destroy_compress(&j.tables);
    jpeg_destroy_decompress(&d);
    ltn__free(ctx, j.row);
    *out = j.im;
    return s;
}

/* ---- Writing ---- */

static void on_start(j_compress_ptr c)
{
    job *j = job_of((j_common_ptr)c);
    j->target.next_output_byte = j->buffer;
    j->target.free_in_buffer = BUFFER;
}

static void flush(j_compress_ptr c, size_t n)
{
    job *j = job_of((j_common_ptr)c);
    if (!ltn__sink_put(&j->sink, j->buffer, n)) give_up(j, LTN_ENOMEM, "no memory");
    on_start(c);
}

static boolean on_full(j_compress_ptr c)
{
    flush(c, BUFFER);
    return TRUE;
}

static void on_finish(j_compress_ptr c)
{
    flush(c, BUFFER - c->dest->free_in_buffer);
}

static void put_meta(job *j, j_compress_ptr c)
{
    const ltn_bytes icc = ltn__meta_icc(j->ctx, j->path, &j->im, c->input_components == 1),
                    exif = ltn__meta_exif(&j->im);
    if (exif.size > MAX_MARKER - sizeof exif_prefix) {
        ltn__log(j->ctx, 0, "%s: written without EXIF, which is too long for a JPEG", j->path);
    } else if (exif.size) {
        jpeg_write_m_header(c, JPEG_APP0 + 1, (unsigned)(exif.size + sizeof exif_prefix));
        for (size_t i = 0; i < sizeof exif_prefix; i++) jpeg_write_m_byte(c, exif_prefix[i]);
        for (size_t i = 0; i < exif.size; i++) jpeg_write_m_byte(c, exif.data[i]);
    }
    if (icc.size) jpeg_write_icc_profile(c, icc.data, (unsigned)icc.size);
}

static void configure(j_compress_ptr c, const ltn_image *im, int quality)
{
    c->image_width = (JDIMENSION)im->width;
    c->image_height = (JDIMENSION)im->height;
    c->input_components = im->channels < 3 ? 1 : 3;
    c->in_color_space = im->channels < 3 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, quality, TRUE);
    c->optimize_coding = TRUE;
    if (quality >= 90)
        c->comp_info[0].h_samp_factor = c->comp_info[0].v_samp_factor = 1; /* colour at full resolution */
}

static ltn_status write_jpeg(job *j, j_compress_ptr c, int quality)
{
    if (setjmp(j->jump)) return j->status;
    jpeg_create_compress(c);
    c->dest = &j->target;
    configure(c, &j->im, quality);
    const int n = c->input_components;
    j->buffer = ltn__alloc(j->ctx, BUFFER, 1);
    j->row = ltn__alloc(j->ctx, c->image_width, (size_t)n);
    if (!j->buffer || !j->row) return LTN_ENOMEM;
    if (j->im.channels != n)
        ltn__log(j->ctx, 0, "%s: written without alpha, which a JPEG cannot hold", j->path);
    jpeg_start_compress(c, TRUE);
    put_meta(j, c);
    const int64_t width = j->im.width, plane = width * j->im.height;
    while (c->next_scanline < c->image_height) {
        const float *from = j->im.data + c->next_scanline * width;
        for (int64_t x = 0; x < width; x++)
            for (int k = 0; k < n; k++) j->row[x * n + k] = (uint8_t)ltn__sample(from[k * plane + x], 255);
        jpeg_write_scanlines(c, &j->row, 1);
    }
    jpeg_finish_compress(c);
    return LTN_OK;
}

static ltn_status encode(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt,
                         ltn_bytes *out)
{
    job j = {.ctx = ctx,
             .path = path,
             .im = *im,
             .sink.ctx = ctx,
             .target = {.init_destination = on_start,
                        .empty_output_buffer = on_full,
                        .term_destination = on_finish}};
    struct jpeg_compress_struct c = {.err = &j.errors};
    open_errors(&j);
    ltn_status s = write_jpeg(&j, &c, opt->quality);
    jpeg_destroy_compress(&c);
    ltn__free(ctx, j.row);
    ltn__free(ctx, j.buffer);
    *out = j.sink.bytes;
    return s;
}

const ltn_format ltn__format_jpeg = {
    .name = "JPEG", .extensions = ".jpg|.jpeg", .matches = matches, .decode = decode, .encode = encode};
