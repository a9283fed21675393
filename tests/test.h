/* test.h - the whole test framework: a test is TEST(name) { ... }, a claim is CHECK, OK or NEAR; main() is test_main.c.
 * Each test prints "ok NAME", "not ok NAME: why" or "skip NAME: why"; ./check counts these lines. */
#ifndef LTN_TEST_H
#define LTN_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latino.h"

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;
void test_enroll(test_case *t);
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void test_skip(const char *why);   /* then return */
void test_name(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* of a row, shown when it fails */

#define TEST(id)                                                                       \
    static void id(void);                                                              \
    __attribute__((constructor)) static void enroll_##id(void)                         \
    {                                                                                  \
        static test_case t = {#id, id, NULL};                                          \
        test_enroll(&t);                                                               \
    }                                                                                  \
    static void id(void)

#define CHECK(x)                                                                       \
    do {                                                                               \
        if (!(x)) test_fail(__FILE__, __LINE__, "%s", #x);                             \
    } while (0)
/* s is LTN_OK; otherwise the context's message is shown. */
#define OK(ctx, x)                                                                     \
    do {                                                                               \
        if ((x) != LTN_OK) test_fail(__FILE__, __LINE__, "%s: %s", #x, ltn_error(ctx)); \
    } while (0)
#define NEAR(a, b, tol)                                                                                                \
    do {                                                                                                               \
        double a_ = (a), b_ = (b), t_ = (tol);                                                                         \
        if (!(fabs(a_ - b_) <= t_))                                                                                    \
            test_fail(__FILE__, __LINE__, "%s = %.9g, %s = %.9g, tolerance %g", #a, a_, #b, b_, t_);                   \
    } while (0)

/* max |a - b| / max(|b|'s range, tiny): the error that the tables of results bound. NaN counts as infinite. */
double test_error(const float *a, const float *b, size_t n);
/* An allocator that fails once, at the k-th call (k = 1, 2, ...; 0: never), and counts blocks alive. */
typedef struct test_memory {
    long fail_at, calls, alive;
} test_memory;
ltn_options test_options(test_memory *m);
/* The folder of files that tests bring along, "tests/golden" in the source tree; and ../shared, or NULL. */
const char *test_golden(const char *file);
const char *test_shared(const char *file);
/* A name in a fresh temporary folder that goes with the process. */
const char *test_temp(const char *file);

#endif
