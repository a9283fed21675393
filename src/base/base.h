/* base.h - what every other file may use: status and message, memory, random numbers, spec strings, threads.
 * Depends on the C library alone. */
#ifndef LTN_BASE_H
#define LTN_BASE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#define LTN_API __attribute__((visibility("default"))) /* the library's own objects are compiled hidden */
#endif
#include "latino.h"

#ifdef __GNUC__
#define LTN_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define LTN_PRINTF(a, b)
#endif

/* ---- Context ---- */
struct ltn_ctx {
    ltn_options opt;
    int threads;
    size_t used; /* bytes allocated now */
    struct {
        void *room;
        size_t size;
        int plans; /* that are open */
    } scratch; /* of the kernels of all plans (graph/plan.c) */
    char error[1024];
};

/* Puts one line into the context, with no final stop, and returns s. */
ltn_status ltn__fail(ltn_ctx *ctx, ltn_status s, const char *fmt, ...) LTN_PRINTF(3, 4);
/* Puts "what: " in front of the message that stands there; returns s. For callers who know the path. */
ltn_status ltn__within(ltn_ctx *ctx, ltn_status s, const char *fmt, ...) LTN_PRINTF(3, 4);
void ltn__log(ltn_ctx *ctx, int level, const char *fmt, ...) LTN_PRINTF(3, 4);

/* ---- Memory: all of it goes through the context's realloc; NULL has left LTN_ENOMEM ----
 * Blocks are zeroed and aligned to 64 bytes. ltn__free accepts NULL. */
void *ltn__alloc(ltn_ctx *ctx, size_t count, size_t size); /* refuses products that overflow */
/* Room for `count` floats at each of n pointers. On failure those before stay the caller's to free. */
ltn_status ltn__alloc_each(ltn_ctx *ctx, size_t count, float **const *room, int n);
/* The new tail is zeroed; p stays on failure. */
void *ltn__grow(ltn_ctx *ctx, void *p, size_t old_count, size_t count, size_t size);
void ltn__free(ltn_ctx *ctx, void *p);
/* What the bound in the options leaves for more of it; SIZE_MAX: there is none. */
size_t ltn__memory_left(const ltn_ctx *ctx);
char *ltn__strdup(ltn_ctx *ctx, const char *s);
char *ltn__format(ltn_ctx *ctx, const char *fmt, ...) LTN_PRINTF(2, 3);

/* An arena: many small blocks, freed at once. */
typedef struct ltn_arena {
    ltn_ctx *ctx;
    struct ltn_block *head;
} ltn_arena;
void *ltn__arena_alloc(ltn_arena *a, size_t count, size_t size);
char *ltn__arena_format(ltn_arena *a, const char *fmt, ...) LTN_PRINTF(2, 3);
void ltn__arena_free(ltn_arena *a);

/* ---- Random numbers: Philox 4x32-10 (Salmon et al. 2011), counter based ----
 * Value i of stream s of a seed is the same on every machine and for every number of threads. */
typedef struct ltn_rng {
    uint64_t seed, stream;
} ltn_rng;
/* Streams, so that no two uses of one seed meet. */
enum {
    LTN_STREAM_NOISE = 1, LTN_STREAM_MASK = 2, LTN_STREAM_KERNEL = 3, LTN_STREAM_PROBE = 4 /* and 5 */,
    LTN_STREAM_SOLVER = 16 /* + step */
};
void ltn__philox(ltn_rng r, uint64_t i, uint32_t out[4]);
double ltn__uniform(ltn_rng r, uint64_t i);                    /* [0, 1) */
double ltn__normal(ltn_rng r, uint64_t i);                     /* N(0, 1), Box-Muller */
void ltn__normals(ltn_rng r, uint64_t first, float *out, size_t n); /* out[k] = ltn__normal(r, first + k) */

/* ---- Spec strings: name:key=value,key=value ----
 * Parsed against a table of entries (row(i) is the i-th, NULL past the last); unknown names and keys are
 * refused with the nearest known one; numbers are checked against their range (min < max bounds a number;
 * otherwise any is legal). A value may be quoted with '...' to hold , + or =, and '' inside stands for one
 * quote. */
typedef const ltn_entry *ltn_rows(int i);
enum { LTN_MAXPARAM = 32 };
typedef struct ltn_spec {
    int row; /* index in the table */
    const ltn_entry *entry;
    double num[LTN_MAXPARAM];      /* value or default; choices: their index */
    const char *str[LTN_MAXPARAM]; /* strings: value or NULL; lives in the arena */
    bool given[LTN_MAXPARAM];
} ltn_spec;
ltn_status ltn__spec_parse(ltn_ctx *ctx, const char *what, ltn_rows *rows, const char *text, ltn_arena *arena,
                           ltn_spec *out);
double ltn__num(const ltn_spec *s, const char *name);
/* LTN_STRING: NULL if absent; LTN_CHOICE: the word */
const char *ltn__str(const ltn_spec *s, const char *name);
bool ltn__given(const ltn_spec *s, const char *name);
/* Splits "a+b+c" at top level; returns the number of parts, at most max, or a status < 0. */
int ltn__spec_split(ltn_ctx *ctx, const char *text, char sep, ltn_arena *arena, const char **part, int max);
/* A number in the C locale's notation whatever the locale, no NaN or infinity; *end is set behind it, or to s
 * if there is none. */
double ltn__parse_number(const char *s, const char **end);
/* The row whose name or alias is `name`, or -1. */
int ltn__find(ltn_rows *rows, const char *name);
/* The known name nearest to `name` (edit distance), or NULL if none is near. */
const char *ltn__nearest(ltn_rows *rows, const char *name);

/* ---- Eigenvectors as the rows of a (n x n, symmetric on entry), and eigenvalues ---- */
ltn_status ltn__eigen(ltn_ctx *ctx, int n, double *a, double *value);

/* ---- Threads and time ---- */
int ltn__cores(void);
double ltn__seconds(void); /* monotonic */

static inline double ltn__dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* Asks the memory for what will be read soon, or written. */
enum { LTN_LINE = 64 };
static inline void ltn__fetch(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LTN_LINE) __builtin_prefetch((const char *)p + i, 0, 2);
}
static inline void ltn__fetch_to_write(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LTN_LINE) __builtin_prefetch((char *)p + i, 1, 2);
}

/* Part i of n of what will be read. */
static inline void ltn__fetch_part(const void *p, size_t bytes, int64_t i, int64_t n)
{
    const size_t first = bytes * (size_t)i / (size_t)n, end = bytes * (size_t)(i + 1) / (size_t)n;
    ltn__fetch((const char *)p + first, end - first);
}

/* Where position i lies in 0 .. n - 1 mirrored without end, the edges not repeated. */
static inline int64_t ltn__mirror(int64_t i, int64_t n)
{
    if (n == 1) return 0;
    const int64_t period = 2 * (n - 1);
    i = (i % period + period) % period;
    return i < n ? i : period - i;
}

#define LTN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define LTN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define LTN_COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

#endif
