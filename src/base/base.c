/* base.c - the context: its one error line, its log, its options; cores and the clock. */
#define _GNU_SOURCE
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mman.h>
#endif

enum { LINE = sizeof((ltn_ctx *)0)->error };

/* One line stays one line, whatever a stranger's file name holds. */
static void keep(char *dst, const char *src)
{
    size_t n = strnlen(src, LINE - 1);
    for (size_t k = 0; k < n; k++) dst[k] = (unsigned char)src[k] < 32 || src[k] == 127 ? '?' : src[k];
    dst[n] = 0;
}

ltn_status ltn__fail(ltn_ctx *ctx, ltn_status s, const char *fmt, ...)
{
    char line[LINE];
    va_list a;
    va_start(a, fmt);
    vsnprintf(line, sizeof line, fmt, a);
    va_end(a);
    keep(ctx->error, line);
    return s;
}

ltn_status ltn__within(ltn_ctx *ctx, ltn_status s, const char *fmt, ...)
{
    char line[2 * LINE];
    va_list a;
    va_start(a, fmt);
    vsnprintf(line, LINE, fmt, a);
    va_end(a);
    size_t n = strlen(line);
    snprintf(line + n, sizeof line - n, ": %s", ctx->error);
    keep(ctx->error, line);
    return s;
}

void ltn__log(ltn_ctx *ctx, int level, const char *fmt, ...)
{
    if (!ctx->opt.log) return;
    char line[LINE], clean[LINE];
    va_list a;
    va_start(a, fmt);
    vsnprintf(line, sizeof line, fmt, a);
    va_end(a);
    keep(clean, line);
    ctx->opt.log(ctx->opt.user, level, clean);
}

/* Large blocks ask for large pages: kernels go through many places of a slab in turn, and each small page would take an
 * entry of the processor's table. */
static void *large(size_t n)
{
    void *p = malloc(n);
#ifdef MADV_HUGEPAGE
    enum { PAGE = 2 << 20 };
    const uintptr_t first = ((uintptr_t)p + PAGE - 1) / PAGE * PAGE, end = ((uintptr_t)p + n) / PAGE * PAGE;
    if (p && end > first) madvise((void *)first, end - first, MADV_HUGEPAGE);
#endif
    return p;
}

static void *libc_realloc(void *user, void *p, size_t n)
{
    enum { LARGE = 4 << 20 };
    if (!p && n >= LARGE) return large(n);
    if (n) return realloc(p, n);
    free(p);
    return NULL;
}

ltn_status ltn_open(ltn_ctx **out, const ltn_options *opt)
{
    *out = NULL;
    ltn_options o = opt ? *opt : (ltn_options){0};
    if (!o.realloc) o.realloc = libc_realloc;
    if (o.threads < 0) return LTN_EINVAL;
    if (o.device && strcmp(o.device, "cpu")) return LTN_EDEVICE;
    ltn_ctx *ctx = o.realloc(o.user, NULL, sizeof *ctx);
    if (!ctx) return LTN_ENOMEM;
    o.device = "cpu";
    *ctx = (ltn_ctx){.opt = o, .threads = o.threads ? o.threads : ltn__cores()};
    *out = ctx;
    return LTN_OK;
}

void ltn_close(ltn_ctx **ctx)
{
    if (!ctx || !*ctx) return;
    const ltn_options o = (*ctx)->opt;
    o.realloc(o.user, *ctx, 0);
    *ctx = NULL;
}

const char *ltn_error(const ltn_ctx *ctx)
{
    return ctx ? ctx->error : "no context: out of memory, an unknown device or a negative number of threads";
}

int ltn__cores(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return LTN_MAX(1, CPU_COUNT(&set));
#endif
    return LTN_MAX(1, (int)sysconf(_SC_NPROCESSORS_ONLN));
}

double ltn__seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
