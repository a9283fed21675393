/* memory.c - blocks from the context's realloc, zeroed and aligned to 64 bytes, and arenas made of them. */
#include <stdio.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base.h"

enum { LARGE = 1 << 20, ALIGN = 64, ARENA_ALIGN = 16, ARENA_BLOCK = 16384, PROGRAM = 48 << 20 };

/* Stands right before every aligned block. */
typedef struct header {
    void *raw; /* what realloc gave */
    size_t bytes;
} header;

static bool product(size_t count, size_t size, size_t *bytes)
{
    if (size && count > (SIZE_MAX - ALIGN - sizeof(header)) / size) return false;
    *bytes = count * size;
    return true;
}

static void *blank(ltn_ctx *ctx, size_t count, size_t size)
{
    size_t bytes = 0;
    char *raw = NULL;
    if (product(count, size, &bytes))
        raw = ctx->opt.realloc(ctx->opt.user, NULL, bytes + ALIGN + sizeof(header));
    if (!raw) {
        ltn__fail(ctx, LTN_ENOMEM, "out of memory (%zu x %zu bytes)", count, size);
        return NULL;
    }
    const uintptr_t first = (uintptr_t)raw + sizeof(header);
    char *p = raw + sizeof(header) + (ALIGN - first % ALIGN) % ALIGN;
    ((header *)(void *)p)[-1] = (header){raw, bytes};
    ctx->used += bytes;
    return p;
}

void *ltn__alloc(ltn_ctx *ctx, size_t count, size_t size)
{
    void *p = blank(ctx, count, size);
    return p ? memset(p, 0, count * size) : NULL;
}

ltn_status ltn__alloc_each(ltn_ctx *ctx, size_t count, float **const *room, int n)
{
    for (int i = 0; i < n; i++)
        if (!(*room[i] = ltn__alloc(ctx, count, sizeof **room[i]))) return LTN_ENOMEM;
    return LTN_OK;
}

void *ltn__grow(ltn_ctx *ctx, void *p, size_t old_count, size_t count, size_t size)
{
    char *q = blank(ctx, count, size);
    if (!q) return NULL;
    const size_t kept = p ? LTN_MIN(old_count, count) * size : 0;
    if (kept) memcpy(q, p, kept);
    memset(q + kept, 0, count * size - kept);
    ltn__free(ctx, p);
    return q;
}

/* The C library keeps freed blocks of up to 32 MB for its next ones, as many as they are. */
static void return_to_system(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void ltn__free(ltn_ctx *ctx, void *p)
{
    if (!p) return;
    const header h = ((header *)p)[-1];
    ctx->used -= h.bytes;
    ctx->opt.realloc(ctx->opt.user, h.raw, 0);
    if (ctx->opt.memory && h.bytes >= LARGE) return_to_system();
}

/* The program and its libraries take their part. */
size_t ltn__memory_left(const ltn_ctx *ctx)
{
    const size_t taken = ctx->used + PROGRAM;
    if (!ctx->opt.memory) return SIZE_MAX;
    return ctx->opt.memory > taken ? ctx->opt.memory - taken : 0;
}

char *ltn__strdup(ltn_ctx *ctx, const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = blank(ctx, n, 1);
    return p ? memcpy(p, s, n) : NULL;
}

char *ltn__format(ltn_ctx *ctx, const char *fmt, ...)
{
    va_list a, b;
    va_start(a, fmt);
    va_copy(b, a);
    const size_t n = (size_t)vsnprintf(NULL, 0, fmt, a) + 1;
    char *p = blank(ctx, n, 1);
    if (p) vsnprintf(p, n, fmt, b);
    va_end(b);
    va_end(a);
    return p;
}

/* ---- Arena ---- */
struct ltn_block {
    struct ltn_block *next;
    size_t used, size; /* bytes of data[] */
    _Alignas(ARENA_ALIGN) char data[];
};

void *ltn__arena_alloc(ltn_arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (!product(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        ltn__fail(a->ctx, LTN_ENOMEM, "out of memory (%zu x %zu bytes)", count, size);
        return NULL;
    }
    bytes = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    struct ltn_block *b = a->head;
    if (!b || b->size - b->used < bytes) {
        const size_t room = LTN_MAX(bytes, (size_t)ARENA_BLOCK);
        b = ltn__alloc(a->ctx, 1, sizeof *b + room);
        if (!b) return NULL;
        b->size = room;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

char *ltn__arena_format(ltn_arena *a, const char *fmt, ...)
{
    va_list x, y;
    va_start(x, fmt);
    va_copy(y, x);
    const size_t n = (size_t)vsnprintf(NULL, 0, fmt, x) + 1;
    char *p = ltn__arena_alloc(a, n, 1);
    if (p) vsnprintf(p, n, fmt, y);
    va_end(y);
    va_end(x);
    return p;
}

void ltn__arena_free(ltn_arena *a)
{
    for (struct ltn_block *b = a->head, *next; b; b = next) {
        next = b->next;
        ltn__free(a->ctx, b);
    }
    a->head = NULL;
}
