/* tensors.h - what the readers of weight files share: the list of weights they fill, and the parts of torch's
 * files. */
#ifndef LTN_TENSORS_H
#define LTN_TENSORS_H

#include "file.h"

struct ltn_tensors {
    ltn_ctx *ctx;
    const char *path;
    ltn_bytes mapped; /* empty when parsed from memory */
    ltn_arena arena;
    ltn_weight *weight; /* in file order */
    int count;
    int *slot; /* open addressing by name: index + 1, or 0 */
    uint32_t mask;
    size_t copies; /* bytes that may still be copied */
    const ltn_json *metadata; /* safetensors' own, or NULL */
    const ltn_json *header;   /* its header, or NULL */
    int room; /* of a view */
};
/* Makes room for n weights; comes before the first of them. */
ltn_status ltn__tensors_room(ltn_tensors *t, size_t n);
/* Room for a copy of a weight's bytes. Files that describe the same bytes again and again are refused. */
void *ltn__tensors_copy(ltn_tensors *t, const char *name, size_t bytes, ltn_status *s);
/* Adds w, whose data are the bytes at p: where they lie, or a copy if they are not aligned to their type. */
ltn_status ltn__tensors_add(ltn_tensors *t, ltn_weight w, const uint8_t *p, size_t bytes);
ltn_status ltn__safetensors_parse(ltn_tensors *t, const uint8_t *p, size_t n);
bool ltn__gguf_matches(const uint8_t *p, size_t n);
ltn_status ltn__gguf_parse(ltn_tensors *t, const uint8_t *p, size_t n);
bool ltn__torch_matches(const uint8_t *p, size_t n);
ltn_status ltn__torch_parse(ltn_tensors *t, const uint8_t *p, size_t n);

/* ---- zip.c: archives as torch writes them, nothing compressed ---- */
typedef struct ltn_zip_entry {
    const uint8_t *name; /* not zero-terminated */
    size_t length;       /* of the name */
    size_t place;        /* where the entry begins in the file */
    const uint8_t *data;
    size_t size;
} ltn_zip_entry;
typedef struct ltn_zip {
    ltn_zip_entry *entry; /* by name */
    size_t count;
} ltn_zip;
bool ltn__zip_matches(const uint8_t *p, size_t n);
ltn_status ltn__zip_parse(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, ltn_arena *arena,
                          ltn_zip *out);
/* The entry of this name, NULL if there is none. */
const ltn_zip_entry *ltn__zip_find(const ltn_zip *z, const char *name);

/* ---- pickle.c: what a pickle of a state dict builds ---- */
typedef enum ltn_pickle_type {
    LTN_PICKLE_NONE, LTN_PICKLE_BOOL, LTN_PICKLE_INT, LTN_PICKLE_OTHER /* a value that is not kept */,
    LTN_PICKLE_TEXT, LTN_PICKLE_TUPLE, LTN_PICKLE_LIST, LTN_PICKLE_DICT, LTN_PICKLE_GLOBAL,
    LTN_PICKLE_STORAGE, LTN_PICKLE_TENSOR, LTN_PICKLE_MARK
} ltn_pickle_type;
/* A name that a pickle may refer to. */
typedef struct ltn_pickle_global ltn_pickle_global;
typedef struct ltn_pickle {
    ltn_pickle_type type;
    int64_t number;       /* BOOL, INT; of a STORAGE how many elements */
    const char *text;     /* TEXT, and the key of a STORAGE; zero-terminated, no zero inside */
    const ltn_pickle_global *global; /* GLOBAL, and the type of a STORAGE */
    /* TUPLE, LIST, DICT (keys and values in turn), TENSOR (storage, offset, sizes, strides) */
    struct ltn_pickle **item;
    size_t count, room;
    bool seen; /* for whoever walks */
} ltn_pickle;
struct ltn_pickle_global {
    const char *module, *name;
    /* What calling it with this tuple gives; NULL: a type of storage. */
    ltn_status (*call)(ltn_ctx *ctx, const char *path, ltn_arena *arena, ltn_pickle *args, ltn_pickle **out);
    int size;  /* of an element of the storage */
    int dtype; /* ltn_dtype, or -1: legal, but no weight */
};
/* One pickle from p[*at] to behind its STOP, where *at is then; nothing of it is executed. storages becomes
 * the list of the storages it names. */
ltn_status ltn__pickle_load(ltn_ctx *ctx, const char *path, const uint8_t *p, size_t n, size_t *at,
                            ltn_arena *arena, ltn_pickle **out, ltn_pickle **storages);

#endif
