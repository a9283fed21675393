/* test_file.h - what the tests of files and of pictures share. */
#ifndef LTN_TEST_FILE_H
#define LTN_TEST_FILE_H

#include "file/file.h"
#include "test.h"

static ltn_ctx *ctx; /* of the test that runs */
static char logged[512];

static void on_log(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    snprintf(logged, sizeof logged, "%s", text);
}

static inline void begin(void)
{
    logged[0] = 0;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.log = on_log}));
}

/* The last call failed, and this is what it said (in part). */
static inline void said(const char *what, ltn_status s, const char *message)
{
    if (s >= 0 || !strstr(ltn_error(ctx), message))
        test_fail(__FILE__, __LINE__, "%s: status %d, message '%s', expected '%s'", what, s, ltn_error(ctx),
                  message);
}

static inline const char *golden(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", test_golden("file"), name);
    return path;
}

static inline const char *put(const char *name, const void *p, size_t n)
{
    const char *path = test_temp(name);
    OK(ctx, ltn__file_write(ctx, path, p, n));
    return path;
}

#endif
