/* test_main.c - runs the tests of one program: all, or those whose names hold one of the words given, but none whose
 * name holds a word given as -WORD. With TEST_SECONDS set, the processor time of each goes to stderr. */
#define _GNU_SOURCE
#include "test.h"

#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static test_case *first, **last = &first;
static int failures;
static char reason[1024], row[256], skipped[256], temp_dir[64];

void test_enroll(test_case *t)
{
    *last = t;
    last = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...)
{
    if (failures++) return; /* the first one is shown */
    char text[700];
    va_list a;
    va_start(a, fmt);
    vsnprintf(text, sizeof text, fmt, a);
    va_end(a);
    const char *base = strrchr(file, '/');
    snprintf(reason, sizeof reason, "%s:%d: %s%s%s", base ? base + 1 : file, line, row, row[0] ? ": " : "", text);
}

void test_skip(const char *why)
{
    snprintf(skipped, sizeof skipped, "%s", why);
}

void test_name(const char *fmt, ...)
{
    va_list a;
    va_start(a, fmt);
    vsnprintf(row, sizeof row, fmt, a);
    va_end(a);
}

double test_error(const float *a, const float *b, size_t n)
{
    double worst = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) return INFINITY;
        worst = fmax(worst, fabs((double)a[i] - b[i]));
        low = fmin(low, b[i]);
        high = fmax(high, b[i]);
    }
    return n ? worst / fmax(fmax(high - low, fabs(high)), 1e-30) : 0;
}

static void *counting_realloc(void *user, void *p, size_t n)
{
    test_memory *m = user;
    if (!n) {
        m->alive -= p != NULL;
        free(p);
        return NULL;
    }
    if (++m->calls == m->fail_at) return NULL;
    void *q = realloc(p, n);
    m->alive += q && !p;
    return q;
}

ltn_options test_options(test_memory *m)
{
    return (ltn_options){.realloc = counting_realloc, .user = m};
}

static const char *pathf(const char *fmt, const char *a, const char *b)
{
    static char buffer[8][512];
    static int k;
    char *p = buffer[k++ % 8];
    snprintf(p, sizeof buffer[0], fmt, a, b);
    return p;
}

const char *test_golden(const char *file)
{
    return pathf("%s/tests/golden/%s", LTN_SOURCE_ROOT, file);
}

const char *test_shared(const char *file)
{
    const char *p = pathf("%s/../shared/%s", LTN_SOURCE_ROOT, file);
    return access(p, R_OK) ? NULL : p;
}

const char *test_temp(const char *file)
{
    if (!temp_dir[0]) {
        snprintf(temp_dir, sizeof temp_dir, "/tmp/latino-test-XXXXXX");
        if (!mkdtemp(temp_dir)) abort();
    }
    return pathf("%s/%s", temp_dir, file);
}

static bool chosen(const char *name, int words, char **word)
{
    bool any = false, named = false;
    for (int i = 0; i < words; i++) {
        const bool out = word[i][0] == '-';
        const bool holds = strstr(name, word[i] + out) != NULL;
        if (out && holds) return false;
        any |= !out;
        named |= !out && holds;
    }
    return named || !any;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (test_case *t = first; t; t = t->next) {
        if (!chosen(t->name, argc - 1, argv + 1)) continue;
        failures = 0;
        row[0] = skipped[0] = 0;
        const clock_t start = clock();
        t->run();
        if (getenv("TEST_SECONDS")) fprintf(stderr, "%8.2f %s\n", (double)(clock() - start) / CLOCKS_PER_SEC, t->name);
        if (failures) printf("not ok %s: %s\n", t->name, reason);
        else if (skipped[0]) printf("skip %s: %s\n", t->name, skipped);
        else printf("ok %s\n", t->name);
        fflush(stdout);
        bad += failures > 0;
    }
    if (temp_dir[0]) {
        char command[128];
        snprintf(command, sizeof command, "rm -rf '%s'", temp_dir);
        if (system(command)) bad++;
    }
    return bad > 0;
}
