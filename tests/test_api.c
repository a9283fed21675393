/* test_api.c - what of latino.h belongs to no layer: version, tables, measuring; and what several
 * layers promise together. */
#include "test.h"

#include <time.h>

static const ltn_kind kinds[] = {LTN_OPERATIONS, LTN_DEGRADATIONS, LTN_NOISES,
                                 LTN_SOLVERS,    LTN_MODELS,       LTN_METRICS,
                                 LTN_MODEL_PARTS, LTN_SAMPLERS};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

TEST(version_is_three_numbers)
{
    int a, b, c, end = 0;
    CHECK(sscanf(ltn_version(), "%d.%d.%d%n", &a, &b, &c, &end) == 3);
    CHECK(!ltn_version()[end]);
}

TEST(every_table_has_rows)
{
    for (int k = 0; k < KINDS; k++) {
        test_name("table %d", k);
        CHECK(ltn_list(kinds[k], 0));
        CHECK(!ltn_list(kinds[k], -1));
        CHECK(!ltn_list(kinds[k], 10000));
    }
    test_name("no table");
    CHECK(!ltn_list((ltn_kind)99, 0));
    CHECK(!ltn_list((ltn_kind)-1, 0));
}

/* A name as specs can hold it, and one line of help. */
static void check_words(const char *name, const char *help)
{
    test_name("%s", name ? name : "(null)");
    CHECK(name && *name && !strpbrk(name, ":,+= '"));
    CHECK(help && *help && !strchr(help, '\n'));
    CHECK(help && help[strlen(help) - 1] != '.');
}

static int words(const char *choices)
{
    int n = 1;
    for (; *choices; choices++) n += *choices == '|';
    return n;
}

static void check_param(const ltn_param *p)
{
    check_words(p->name, p->help);
    CHECK(p->type >= LTN_INT && p->type <= LTN_CHOICE);
    CHECK((p->type == LTN_CHOICE) == (p->choices != NULL));
    if (p->type == LTN_CHOICE) CHECK(p->def >= 0 && p->def < words(p->choices));
    if ((p->type == LTN_INT || p->type == LTN_FLOAT) && !p->required)
        CHECK(p->def >= p->min && p->def <= p->max);
}

TEST(rows_are_described)
{
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; ltn_list(kinds[k], i); i++) {
            const ltn_entry *e = ltn_list(kinds[k], i);
            check_words(e->name, e->help);
            for (const ltn_param *p = e->param; p && p->name; p++) check_param(p);
        }
}

/* Whether `name` is this row's name or among its other names. */
static int named(const ltn_entry *e, const char *name, size_t n)
{
    if (strlen(e->name) == n && !strncmp(e->name, name, n)) return 1;
    int count = 0;
    for (const char *p = e->alias; p && *p; p += strcspn(p, "|"), p += *p == '|')
        count += strcspn(p, "|") == n && !strncmp(p, name, n);
    return count;
}

TEST(names_are_unique)
{
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; ltn_list(kinds[k], i); i++) {
            const ltn_entry *e = ltn_list(kinds[k], i);
            int rows = 0, aliases = 0;
            for (int j = 0; ltn_list(kinds[k], j); j++) {
                rows += named(ltn_list(kinds[k], j), e->name, strlen(e->name));
                if (e->alias) aliases += named(ltn_list(kinds[k], j), e->alias, strcspn(e->alias, "|"));
            }
            test_name("%s", e->name);
            CHECK(rows == 1);
            CHECK(!e->alias || aliases == 1);
        }
}

TEST(measuring)
{
    ltn_ctx *ctx;
    if (ltn_open(&ctx, NULL)) return;
    float zero[16 * 16] = {0}, tenth[16 * 16];
    for (int i = 0; i < 16 * 16; i++) tenth[i] = 0.1f;
    const ltn_image a = {.width = 16, .height = 16, .channels = 1, .data = zero};
    const ltn_image b = {.width = 16, .height = 16, .channels = 1, .data = tenth};
    const ltn_image narrow = {.width = 8, .height = 16, .channels = 1, .data = tenth};
    double v = 0;
    OK(ctx, ltn_measure(ctx, "psnr", &a, &b, &v));
    NEAR(v, 20, 1e-5);
    CHECK(ltn_measure(ctx, "pnsr", &a, &b, &v) == LTN_EINVAL);
    CHECK(strstr(ltn_error(ctx), "did you mean \"psnr\"?"));
    CHECK(ltn_measure(ctx, "psnr", &a, &narrow, &v) == LTN_ESHAPE);
    CHECK(strstr(ltn_error(ctx), "16 x 16 x 1 and 8 x 16 x 1"));
    ltn_close(&ctx);
}

/* The best of several, for machines that are busy. */
TEST(opening_the_prior_takes_no_time)
{
    ltn_ctx *ctx;
    if (ltn_open(&ctx, NULL)) return;
    double best = INFINITY;
    for (int i = 0; i < 10; i++) {
        struct timespec a, b;
        ltn_model *m = NULL;
        clock_gettime(CLOCK_MONOTONIC, &a);
        OK(ctx, ltn_model_open(ctx, LTN_SOURCE_ROOT "/models/prior", &m));
        clock_gettime(CLOCK_MONOTONIC, &b);
        ltn_model_close(&m);
        best = fmin(best, (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec));
    }
    CHECK(best < 0.050);
    ltn_close(&ctx);
}

/* Grey with alpha: A and its noise act on the grey; alpha goes along at the new size. */
TEST(alpha_is_no_colour)
{
    ltn_ctx *ctx;
    if (ltn_open(&ctx, NULL)) return;
    ltn_image x = {0}, y = {0}, back = {0};
    ltn_degradation *d = NULL, *e = NULL;
    OK(ctx, ltn_image_new(ctx, 16, 8, 2, NULL, &x));
    for (int i = 0; i < 16 * 8; i++) x.data[i] = 0.5f;
    for (int i = 0; i < 16 * 8; i++) x.data[16 * 8 + i] = 0.25f;
    OK(ctx, ltn_degradation_open(ctx, "downsample:factor=2", x.width, x.height, x.channels, &d));
    OK(ctx, ltn_degrade(d, &x, "gaussian:sigma=0.1", 1, &y));
    CHECK(y.width == 8 && y.height == 4 && y.channels == 2);
    int noisy = 0;
    for (int i = 0; y.data && i < 8 * 4; i++) {
        noisy += fabsf(y.data[i] - 0.5f) > 0.01f;
        NEAR(y.data[8 * 4 + i], 0.25, 1e-6);
    }
    CHECK(noisy > 20);
    OK(ctx, ltn_degradation_open_for(ctx, "downsample:factor=2", &y, &e));
    OK(ctx, ltn_naive(e, &y, &back));
    CHECK(back.width == 16 && back.height == 8 && back.channels == 2);
    for (int i = 0; back.data && i < 16 * 8; i++) NEAR(back.data[16 * 8 + i], 0.25, 1e-6);
    ltn_image_free(ctx, &back);
    ltn_image_free(ctx, &y);
    ltn_image_free(ctx, &x);
    ltn_degradation_close(&e);
    ltn_degradation_close(&d);
    ltn_close(&ctx);
}
