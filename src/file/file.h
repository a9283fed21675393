/* file.h - strangers' bytes: whatever the library reads from or writes to disk. All parsers are fuzzed.
 * Every function names the file in its message: "cat.png: not a PNG, JPEG, WebP or .npy file". */
#ifndef LTN_FILE_H
#define LTN_FILE_H

#include "../base/base.h"
#include "../graph/graph.h" /* ltn_weight, ltn_dtype */

/* ---- Whole files ---- */
typedef struct ltn_bytes {
    uint8_t *data; /* a zero byte stands after the last one */
    size_t size;
} ltn_bytes;
ltn_status ltn__file_read(ltn_ctx *ctx, const char *path, ltn_bytes *out); /* free data with ltn__free */
ltn_status ltn__file_map(ltn_ctx *ctx, const char *path, ltn_bytes *out); /* read-only, no zero byte */
void ltn__file_unmap(ltn_bytes *b);
/* Beside, fsync, then rename: the file appears whole or not at all, and the temporary one is gone in either
 * case. */
ltn_status ltn__file_write(ltn_ctx *ctx, const char *path, const void *data, size_t size);
/* Bytes that grow at the end, for encoders. */
typedef struct ltn_sink {
    ltn_ctx *ctx;
    ltn_bytes bytes;
    size_t room;
} ltn_sink;
bool ltn__sink_put(ltn_sink *k, const void *p, size_t n); /* false: no memory */
bool ltn__file_exists(const char *path);
char *ltn__path_join(ltn_ctx *ctx, const char *dir, const char *name);

/* ---- Pictures in memory; path is for messages only. The functions of latino.h are built on these. ---- */
typedef struct ltn_jpeg_meta { /* of the file a picture was read from: not copied with the rest */
    int quality; /* 0: no JPEG */
    bool full_chroma;
    int n; /* tables, each in rows */
    uint8_t table[3][64];
} ltn_jpeg_meta;
struct ltn_meta {
    ltn_bytes icc, exif; /* exif without the "Exif\0\0" prefix, orientation already set to 1 */
    char *settings;
    ltn_jpeg_meta jpeg;
};
/* For decoders: copy what travels into a picture. */
ltn_status ltn__meta_add_icc(ltn_ctx *ctx, ltn_image *im, const void *p, size_t n);
ltn_status ltn__meta_add_exif(ltn_ctx *ctx, ltn_image *im, const void *p, size_t n);
ltn_status ltn__meta_add_settings(ltn_ctx *ctx, ltn_image *im, const char *text);
ltn_status ltn__meta_add_jpeg(ltn_ctx *ctx, ltn_image *im, const ltn_jpeg_meta *j);
/* For encoders: the profile, if it fits a grey or a colour file; otherwise empty. */
ltn_bytes ltn__meta_icc(ltn_ctx *ctx, const char *path, const ltn_image *im, bool grey);
ltn_bytes ltn__meta_exif(const ltn_image *im);
void ltn__meta_free(ltn_ctx *ctx, ltn_meta *m);
ltn_status ltn__meta_copy(ltn_ctx *ctx, const ltn_meta *m, ltn_meta **out);

/* An image format: one row of format.def. */
typedef struct ltn_format {
    const char *name, *extensions; /* "PNG", ".png"; "JPEG", ".jpg|.jpeg" */
    bool (*matches)(const uint8_t *p, size_t n);
    ltn_status (*decode)(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out);
    ltn_status (*encode)(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt,
                         ltn_bytes *out);
} ltn_format;
const ltn_format *ltn__format_row(int i); /* NULL past the last */
/* Checks a size that a stranger's file claims (1 .. 2^28 samples) and makes room: what every decoder does
 * first. */
ltn_status ltn__image_begin(ltn_ctx *ctx, const char *path, int64_t width, int64_t height, int channels,
                            ltn_image *out);
/* The value as a sample of 0 .. max, rounded half up, clipped; NaN is 0. */
static inline unsigned ltn__sample(float v, unsigned max)
{
    return !(v > 0) ? 0 : v >= 1 ? max : (unsigned)(v * (float)max + 0.5f);
}
ltn_status ltn__image_decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_image *out);
/* The EXIF orientation, 1..8 (1 where there is none); it is set to 1 in the bytes. */
int ltn__exif_take_orientation(ltn_bytes *exif);
/* Turns the picture, and a JPEG's tables with it, so that EXIF orientation o (1..8) becomes 1. */
ltn_status ltn__image_orient(ltn_ctx *ctx, ltn_image *im, int o);

/* ---- npy ---- */
ltn_status ltn__npy_decode(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_array *out);
ltn_status ltn__npy_encode(ltn_ctx *ctx, const ltn_array *a, ltn_bytes *out);

/* ---- JSON: a read-only tree in an arena ---- */
typedef enum ltn_json_type {
    LTN_JSON_NULL, LTN_JSON_BOOL, LTN_JSON_NUMBER, LTN_JSON_STRING, LTN_JSON_ARRAY, LTN_JSON_OBJECT
} ltn_json_type;
typedef struct ltn_json {
    ltn_json_type type;
    double number;        /* bool: 0 or 1 */
    const char *string;   /* UTF-8, zero-terminated */
    const char *key;      /* inside an object */
    struct ltn_json *child, *next; /* first member, next sibling, in file order */
    int count;            /* members */
} ltn_json;
ltn_status ltn__json_parse(ltn_ctx *ctx, const char *path, const char *text, size_t n, ltn_arena *arena,
                           ltn_json **out);
ltn_status ltn__json_read(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_json **out);
const ltn_json *ltn__json_get(const ltn_json *object, const char *key); /* NULL: absent, or not an object */
double ltn__json_num(const ltn_json *object, const char *key, double absent);
bool ltn__json_bool(const ltn_json *object, const char *key, bool absent);
const char *ltn__json_str(const ltn_json *object, const char *key, const char *absent);
const ltn_json *ltn__json_at(const ltn_json *array, int i); /* NULL past the last */

/* ---- Weights, mapped read-only: safetensors (header length u64, JSON, then the data), and what torch.save writes,
 * old (pickles in a row) and new (a zip archive), told apart by content. No pickle is executed. Refused with the
 * tensor's name: overlap, hole, offsets outside the file, dtype and shape that disagree with the length. ---- */
typedef struct ltn_tensors ltn_tensors;
ltn_status ltn__tensors_open(ltn_ctx *ctx, const char *path, ltn_tensors **out);
/* From memory that outlives it (fuzzing, tests). */
ltn_status ltn__tensors_parse(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_tensors **out);
void ltn__tensors_close(ltn_tensors **t);
int ltn__tensors_count(const ltn_tensors *t);
/* In file order; dtypes that are no weights (I64 position_ids) are left out. */
ltn_weight *ltn__tensors_at(ltn_tensors *t, int i);
ltn_weight *ltn__tensors_find(ltn_tensors *t, const char *name); /* NULL: no such tensor */
const char *ltn__tensors_path(const ltn_tensors *t);
const ltn_json *ltn__tensors_metadata(const ltn_tensors *t); /* what a safetensors file says of itself; NULL: nothing */
bool ltn__tensors_marked(ltn_tensors *t, const char *name); /* a tensor of this name, be it empty */
ltn_ctx *ltn__tensors_ctx(const ltn_tensors *t);
/* Tensors of other files under names of one's own (a part of a file, a model in shards): a list with room for so many;
 * the files whose bytes are lent outlive it. */
ltn_status ltn__tensors_view(ltn_ctx *ctx, const char *path, int room, ltn_tensors **out);
ltn_status ltn__tensors_lend(ltn_tensors *view, const ltn_weight *w, const char *name);
/* Rows [first, first + rows) of w. */
ltn_status ltn__tensors_lend_rows(ltn_tensors *view, const ltn_weight *w, int64_t first, int64_t rows,
                                  const char *name);
/* The matrix w turned, as a copy in f32. */
ltn_status ltn__tensors_lend_transposed(ltn_tensors *view, const ltn_weight *w, const char *name);
bool ltn__weight_finite(const ltn_weight *w); /* no NaN, no infinity */
/* Writing safetensors, for tests and tools: f32, whole or not at all. */
typedef struct ltn_named_array {
    const char *name;
    ltn_array array;
} ltn_named_array;
ltn_status ltn__tensors_write(ltn_ctx *ctx, const char *path, const ltn_named_array *a, int n);

#endif
