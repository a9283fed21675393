/* test_base.c - messages, memory, random numbers, spec strings. */
#include <locale.h>

#include "base/base.h"
#include "test.h"

/* ---- Context ---- */
TEST(base_open_close)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx = NULL;
    OK(ctx, ltn_open(&ctx, &o));
    CHECK(ctx && ctx->threads >= 1);
    CHECK(!strcmp(ltn_error(ctx), ""));
    ltn_close(&ctx);
    CHECK(!ctx && m.alive == 0);
    ltn_close(&ctx);
    ltn_close(NULL);
    CHECK(strlen(ltn_error(NULL)) > 0);

    m.fail_at = m.calls + 1;
    CHECK(ltn_open(&ctx, &o) == LTN_ENOMEM && !ctx);
    o = (ltn_options){.device = "abacus"};
    CHECK(ltn_open(&ctx, &o) == LTN_EDEVICE && !ctx);
    o = (ltn_options){.threads = -1};
    CHECK(ltn_open(&ctx, &o) == LTN_EINVAL && !ctx);
    o = (ltn_options){.threads = 3, .device = "cpu"};
    OK(ctx, ltn_open(&ctx, &o));
    CHECK(ctx->threads == 3);
    ltn_close(&ctx);
}

TEST(base_messages)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    CHECK(ltn__fail(ctx, LTN_EFORMAT, "%d x %d", 3, 4) == LTN_EFORMAT);
    CHECK(!strcmp(ltn_error(ctx), "3 x 4"));
    CHECK(ltn__within(ctx, LTN_EFORMAT, "cat.%s", "png") == LTN_EFORMAT);
    CHECK(!strcmp(ltn_error(ctx), "cat.png: 3 x 4"));
    ltn__fail(ctx, LTN_EIO, "%s: gone", ltn_error(ctx)); /* its own message may be an argument */
    CHECK(!strcmp(ltn_error(ctx), "cat.png: 3 x 4: gone"));
    ltn__fail(ctx, LTN_EIO, "two\nlines\033[31m");
    CHECK(!strcmp(ltn_error(ctx), "two?lines?[31m"));
    char long_text[5000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    ltn__fail(ctx, LTN_EIO, "%s", long_text);
    ltn__within(ctx, LTN_EIO, "%s", long_text);
    CHECK(strlen(ltn_error(ctx)) == sizeof ctx->error - 1);
    ltn_close(&ctx);
}

static void take_line(void *user, int level, const char *line)
{
    snprintf(user, 64, "%d %s", level, line);
}

TEST(base_log)
{
    char seen[64] = "";
    ltn_ctx *ctx;
    ltn_options o = {.log = take_line, .user = seen};
    OK(NULL, ltn_open(&ctx, &o));
    ltn__log(ctx, 1, "%s of %d", "step", 8);
    CHECK(!strcmp(seen, "1 step of 8"));
    ltn_close(&ctx);
    OK(NULL, ltn_open(&ctx, NULL));
    ltn__log(ctx, 0, "nobody listens");
    ltn_close(&ctx);
}

/* ---- Memory ---- */
TEST(base_memory)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    for (size_t n = 0; n < 200; n += 7) {
        unsigned char *p = ltn__alloc(ctx, n, 3);
        CHECK(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < 3 * n; i++) CHECK(p[i] == 0);
        memset(p, 1, 3 * n);
        p = ltn__grow(ctx, p, n, 2 * n + 1, 3);
        CHECK(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < 3 * (2 * n + 1); i++) CHECK(p[i] == (i < 3 * n));
        unsigned char *same = p;
        m.fail_at = m.calls + 1;
        CHECK(!ltn__grow(ctx, p, 2 * n + 1, 1000, 3));
        CHECK(p == same && (n == 0 || p[0] == 1));
        ltn__free(ctx, p);
    }
    ltn__free(ctx, NULL);
    CHECK(!ltn__alloc(ctx, SIZE_MAX, 1));
    CHECK(!ltn__alloc(ctx, SIZE_MAX / 4, 5));
    CHECK(!ltn__alloc(ctx, (size_t)1 << 33, (size_t)1 << 32));
    CHECK(strstr(ltn_error(ctx), "out of memory"));
    int *fresh = ltn__grow(ctx, NULL, 0, 4, sizeof *fresh);
    CHECK(fresh && !fresh[3]);
    ltn__free(ctx, fresh);
    char *s = ltn__format(ctx, "%s-%03d", "a", 7), *t = ltn__strdup(ctx, s);
    CHECK(!strcmp(s, "a-007") && !strcmp(t, s) && s != t);
    ltn__free(ctx, s);
    ltn__free(ctx, t);
    CHECK(m.alive == 1);
    ltn_close(&ctx);
    CHECK(m.alive == 0);
}

TEST(base_arena)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    ltn_arena a = {.ctx = ctx};
    char *kept[300];
    for (int k = 0; k < 300; k++) {
        kept[k] = ltn__arena_alloc(&a, (size_t)k, 5);
        CHECK(kept[k] && (uintptr_t)kept[k] % 16 == 0);
        for (int i = 0; i < 5 * k; i++) CHECK(kept[k][i] == 0);
        memset(kept[k], k % 100, (size_t)(5 * k));
    }
    for (int k = 0; k < 300; k++)
        for (int i = 0; i < 5 * k; i++) CHECK(kept[k][i] == k % 100);
    CHECK(!strcmp(ltn__arena_format(&a, "%d", 42), "42"));
    CHECK(ltn__arena_alloc(&a, 1 << 20, 1));
    CHECK(!ltn__arena_alloc(&a, SIZE_MAX / 2, 3));
    CHECK(m.alive < 40);
    ltn__arena_free(&a);
    ltn__arena_free(&a);
    CHECK(m.alive == 1);
    m.fail_at = m.calls + 1;
    CHECK(!ltn__arena_alloc(&a, 1, 1));
    ltn_close(&ctx);
}

/* ---- Random numbers ---- */
/* Known answers of Random123 1.14: counter, key, result. */
TEST(base_philox)
{
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
         0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
         0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int k = 0; k < 3; k++) {
        const uint32_t *v = known[k];
        const ltn_rng r = {.seed = (uint64_t)v[5] << 32 | v[4], .stream = (uint64_t)v[3] << 32 | v[2]};
        uint32_t out[4];
        ltn__philox(r, (uint64_t)v[1] << 32 | v[0], out);
        CHECK(!memcmp(out, v + 6, sizeof out));
    }
}

TEST(base_normals)
{
    enum { N = 200000 };
    static float x[N], y[N];
    const ltn_rng r = {.seed = 1, .stream = 2};
    ltn__normals(r, 0, x, N);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0;
    for (int i = 0; i < N; i++) {
        const double v = x[i];
        m1 += v / N, m2 += v * v / N, m3 += v * v * v / N, m4 += v * v * v * v / N;
        if (i) lag += v * x[i - 1] / N;
    }
    NEAR(m1, 0, 0.01);
    NEAR(m2, 1, 0.015);
    NEAR(m3, 0, 0.04);
    NEAR(m4, 3, 0.1);
    NEAR(lag, 0, 0.01);
    ltn__normals(r, 12345, y, 777); /* any part alone is the same */
    CHECK(!memcmp(y, x + 12345, 777 * sizeof *y));
    ltn__normals(r, 12346, y, 2);
    CHECK(!memcmp(y, x + 12346, 2 * sizeof *y));
    ltn__normals(r, 1, y, 1);
    CHECK(y[0] == x[1] && x[1] == (float)ltn__normal(r, 1));
    ltn__normals((ltn_rng){.seed = 1, .stream = 3}, 0, y, 1);
    CHECK(y[0] != x[0]);
    double mean = 0, low = 1, high = 0;
    for (int i = 0; i < N; i++) {
        const double u = ltn__uniform(r, (uint64_t)i);
        mean += u / N, low = fmin(low, u), high = fmax(high, u);
    }
    NEAR(mean, 0.5, 0.003);
    CHECK(low >= 0 && low < 1e-4 && high < 1 && high > 1 - 1e-4);
}

/* ---- Numbers and specs ---- */
TEST(base_numbers)
{
    static const char *text[] = {"0", "-0", "3", "+3", "0.1", ".5", "5.", "-2.5e-3", "1E3", "123456789012345",
                                 "0.3", "1e22", "6.02214076e23", "1.7976931348623157e308", "4.9e-324",
                                 "1e-400", "00012.500", "99999999999999999999999", "0.000000000000000000000001"};
    const char *end;
    for (int k = 0; k < LTN_COUNT(text); k++) {
        const double v = ltn__parse_number(text[k], &end), oracle = strtod(text[k], NULL);
        test_name("%s", text[k]);
        CHECK(*end == 0 && fabs(v - oracle) <= 4e-16 * fabs(oracle));
        CHECK(k >= 11 || v == oracle);
    }
    static const char *bad[] = {"", "-", ".", "e5", "nan", "inf", "0x10", "1e999", " 1"};
    for (int k = 0; k < LTN_COUNT(bad); k++) {
        test_name("\"%s\"", bad[k]);
        ltn__parse_number(bad[k], &end);
        CHECK(end == bad[k] || !strcmp(bad[k], "0x10"));
    }
    CHECK((ltn__parse_number("1e", &end), *end == 'e'));
    CHECK((ltn__parse_number("3x4", &end), *end == 'x'));
    CHECK(ltn__parse_number("2,5", &end) == 2 && *end == ',');
}

static const ltn_param blur_param[] = {
    {.name = "sigma", .help = "width", .type = LTN_FLOAT, .def = 1.5, .min = 0, .max = 100},
    {.name = "size", .help = "pixels", .type = LTN_INT, .def = 5, .min = 1, .max = INFINITY},
    {.name = "filter", .help = "shape", .type = LTN_CHOICE, .def = 1, .choices = "box|gauss|lanczos"},
    {.name = "kernel", .help = "a file", .type = LTN_STRING},
    {.name = "shift", .help = "any number", .type = LTN_FLOAT},
    {0}};
static const ltn_param mask_param[] = {
    {.name = "file", .help = "white is known", .type = LTN_STRING, .required = 1},
    {0}};
static const ltn_entry table[] = {{.name = "blur", .param = blur_param, .alias = "smooth|soften"},
                                  {.name = "inpaint", .param = mask_param},
                                  {.name = "identity", .alias = "denoise"}};

static const ltn_entry *table_row(int i)
{
    return i < LTN_COUNT(table) ? &table[i] : NULL;
}

TEST(base_spec_values)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    ltn_arena a = {.ctx = ctx};
    ltn_spec s;
    OK(ctx, ltn__spec_parse(ctx, "degradation", table_row, "blur", &a, &s));
    CHECK(s.row == 0 && s.entry == table && ltn__num(&s, "sigma") == 1.5 && ltn__num(&s, "size") == 5);
    CHECK(ltn__num(&s, "filter") == 1 && !strcmp(ltn__str(&s, "filter"), "gauss") && !ltn__str(&s, "kernel"));
    CHECK(!ltn__given(&s, "sigma") && !ltn__given(&s, "nothing"));
    const char *full = " smooth: sigma = 3 ,filter=lanczos,kernel='a,b=c+''d''.npy', shift=-1e3";
    OK(ctx, ltn__spec_parse(ctx, "degradation", table_row, full, &a, &s));
    CHECK(s.row == 0 && ltn__num(&s, "sigma") == 3 && ltn__num(&s, "filter") == 2 &&
          !strcmp(ltn__str(&s, "filter"), "lanczos"));
    CHECK(!strcmp(ltn__str(&s, "kernel"), "a,b=c+'d'.npy") && ltn__given(&s, "kernel") &&
          !ltn__given(&s, "size"));
    CHECK(ltn__num(&s, "shift") == -1000);
    OK(ctx, ltn__spec_parse(ctx, "degradation", table_row, "inpaint:file=C:\\x y=z.png", &a, &s));
    CHECK(s.row == 1 && !strcmp(ltn__str(&s, "file"), "C:\\x y=z.png"));
    OK(ctx, ltn__spec_parse(ctx, "degradation", table_row, "denoise:", &a, &s));
    CHECK(s.row == 2 && ltn__find(table_row, "soften") == 0 && ltn__find(table_row, "soft") == -1);
    ltn__arena_free(&a);
    ltn_close(&ctx);
}

TEST(base_spec_messages)
{
    static const char *bad[][2] = {
        {"blurr", "unknown degradation \"blurr\"; did you mean \"blur\"?"},
        {"Blur", "unknown degradation \"Blur\"; did you mean \"blur\"?"},
        {"bulr:sigma=3", "unknown degradation \"bulr\"; did you mean \"blur\"?"},
        {"inp", "unknown degradation \"inp\"; did you mean \"inpaint\"?"},
        {"denoize", "unknown degradation \"denoize\"; did you mean \"identity\"?"},
        {"x", "unknown degradation \"x\"; known: blur, inpaint, identity"},
        {"", "no degradation is named in \"\""},
        {":sigma=3", "no degradation is named in \":sigma=3\""},
        {"blur:sgima=3", "blur: unknown parameter \"sgima\"; did you mean \"sigma\"?"},
        {"blur:q=3", "blur: unknown parameter \"q\"; known: sigma, size, filter, kernel, shift"},
        {"identity:q=3", "identity: unknown parameter \"q\"; known: none"},
        {"blur:sigma=3,sigma=3", "blur: sigma is given twice"},
        {"blur:sigma", "blur: \"sigma\" is not of the form key=value"},
        {"blur:sigma=3,", "blur: \"\" is not of the form key=value"},
        {"blur:sigma=abc", "blur: sigma=abc is not a number"},
        {"blur:sigma=", "blur: sigma= is not a number"},
        {"blur:sigma=nan", "blur: sigma=nan is not a number"},
        {"blur:sigma=1e999", "blur: sigma=1e999 is not a number"},
        {"blur:sigma=3px", "blur: sigma=3px is not a number"},
        {"blur:sigma=-1", "blur: sigma=-1 must be from 0 to 100"},
        {"blur:sigma=101", "blur: sigma=101 must be from 0 to 100"},
        {"blur:size=0", "blur: size=0 must be at least 1"},
        {"blur:size=2.5", "blur: size=2.5 is not a whole number"},
        {"blur:size=1e300", "blur: size=1e300 is not a whole number"},
        {"blur:filter=gaus", "blur: unknown filter \"gaus\"; did you mean \"gauss\"?"},
        {"blur:filter=7", "blur: unknown filter \"7\"; known: box, gauss, lanczos"},
        {"blur:kernel='a", "blur: a quote is not closed in \"kernel='a\""},
        {"inpaint", "inpaint: file=... is required: white is known"}};
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    ltn_arena a = {.ctx = ctx};
    ltn_spec s;
    for (int k = 0; k < LTN_COUNT(bad); k++) {
        CHECK(ltn__spec_parse(ctx, "degradation", table_row, bad[k][0], &a, &s) == LTN_EINVAL);
        test_name("%s gives %s", bad[k][0], ltn_error(ctx));
        CHECK(!strcmp(ltn_error(ctx), bad[k][1]));
    }
    CHECK(!strcmp(ltn__nearest(table_row, "inpiant"), "inpaint") && !ltn__nearest(table_row, "zzz"));
    ltn__arena_free(&a);
    ltn_close(&ctx);
}

TEST(base_spec_locale)
{
    static const char *comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    int k = 0;
    while (k < LTN_COUNT(comma) && !setlocale(LC_NUMERIC, comma[k])) k++;
    if (k == LTN_COUNT(comma)) {
        test_skip("no locale with a decimal comma is installed");
        return;
    }
    const char *end;
    CHECK(ltn__parse_number("2.5", &end) == 2.5 && !*end);
    setlocale(LC_NUMERIC, "C");
}

TEST(base_spec_split)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    ltn_arena a = {.ctx = ctx};
    const char *part[3];
    CHECK(ltn__spec_split(ctx, "blur:sigma=2 + inpaint:file='a+b'", '+', &a, part, 3) == 2);
    CHECK(!strcmp(part[0], "blur:sigma=2") && !strcmp(part[1], "inpaint:file='a+b'"));
    CHECK(ltn__spec_split(ctx, "a", '+', &a, part, 3) == 1 && !strcmp(part[0], "a"));
    CHECK(ltn__spec_split(ctx, "a++b", '+', &a, part, 3) == -1 && strstr(ltn_error(ctx), "nothing stands"));
    CHECK(ltn__spec_split(ctx, "", '+', &a, part, 3) == -1);
    CHECK(ltn__spec_split(ctx, "a+b+c+d", '+', &a, part, 3) == -1 && strstr(ltn_error(ctx), "more than 3"));
    CHECK(ltn__spec_split(ctx, "a'+b", '+', &a, part, 3) == -1 && strstr(ltn_error(ctx), "quote"));
    ltn__arena_free(&a);
    ltn_close(&ctx);
}

TEST(base_spec_memory)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    ltn_status s = LTN_ENOMEM;
    for (long k = 1; s == LTN_ENOMEM; k++) {
        ltn_arena a = {.ctx = ctx};
        ltn_spec spec;
        m.fail_at = m.calls + k;
        s = ltn__spec_parse(ctx, "degradation", table_row, "blur:kernel=x", &a, &spec);
        ltn__arena_free(&a);
        CHECK(m.alive == 1 && (k > 1 || s == LTN_ENOMEM));
    }
    OK(ctx, s);
    ltn_close(&ctx);
}

TEST(base_clock)
{
    const double a = ltn__seconds(), b = ltn__seconds();
    CHECK(b >= a && b - a < 10 && ltn__cores() >= 1);
}
