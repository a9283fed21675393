/* fuzz_spec.c - spec strings: a chain "a:k=v,k=v+b" against a table with every type of parameter; key=auto in it; and
 * JPEG's tables, which have a grammar of their own. */
#include <math.h>

#include "fuzz.h"

static const ltn_param params[] = {
    {.name = "sigma", .help = "a width", .type = LTN_FLOAT, .def = 1, .min = 0, .max = 10},
    {.name = "size", .help = "a count", .type = LTN_INT, .def = 3, .min = 1, .max = INFINITY},
    {.name = "filter", .help = "a word", .type = LTN_CHOICE, .def = 1, .choices = "box|cubic|lanczos"},
    {.name = "kernel", .help = "a file", .type = LTN_STRING},
    {0}};
static const ltn_param needed[] = {
    {.name = "mask", .help = "a file", .type = LTN_STRING, .required = 1},
    {0}};
static const ltn_entry table[] = {
    {.name = "blur", .param = params, .alias = "smooth|soften"},
    {.name = "inpaint", .param = needed},
    {.name = "identity"}};

static const ltn_entry *row(int i)
{
    return i < LTN_COUNT(table) ? &table[i] : NULL;
}

static void parse(ltn_ctx *ctx, const char *text)
{
    ltn_arena a = {.ctx = ctx};
    ltn_spec s;
    if (ltn__spec_parse(ctx, "degradation", row, text, &a, &s)) {
        fuzz_claim(ltn_error(ctx)[0] && !strchr(ltn_error(ctx), '\n'), "a failure has one line");
    } else if (s.row == 0) {
        const double sigma = ltn__num(&s, "sigma"), size = ltn__num(&s, "size");
        const double filter = ltn__num(&s, "filter");
        fuzz_claim(sigma >= 0 && sigma <= 10 && size >= 1 && size == floor(size),
                   "numbers lie in their range");
        fuzz_claim((filter == 0 || filter == 1 || filter == 2) && ltn__str(&s, "filter"),
                   "choices are known words");
        fuzz_claim(ltn__given(&s, "kernel") == (ltn__str(&s, "kernel") != NULL),
                   "a string is there if it was given");
    } else {
        fuzz_claim(s.row == 2 || ltn__str(&s, "mask"), "what is required is there");
    }
    ltn__arena_free(&a);
}

/* What a picture that is too small for any estimate tells. */
static void resolve(ltn_ctx *ctx, const char *text)
{
    float black[4 * 4] = {0};
    char found[64];
    const ltn_image y = {4, 4, 1, black, NULL};
    if (ltn_resolve(ctx, text, &y, NULL, found, sizeof found))
        fuzz_claim(ltn_error(ctx)[0] && !strchr(ltn_error(ctx), '\n'), "a failure has one line");
    else
        fuzz_claim(!strcmp(found, text), "nothing was found");
}

/* Of one part, so that no file is opened. */
static void open_jpeg(ltn_ctx *ctx, const char *text)
{
    ltn_degradation *d = NULL;
    if (strncmp(text, "jpeg:", 5) || strchr(text, '+')) return;
    if (ltn_degradation_open(ctx, text, 4, 4, 1, &d))
        fuzz_claim(ltn_error(ctx)[0] && !strchr(ltn_error(ctx), '\n'), "a failure has one line");
    else
        fuzz_claim(d != NULL, "what was opened is there");
    ltn_degradation_close(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    ltn_ctx *ctx = fuzz_open();
    ltn_arena a = {.ctx = ctx};
    char *text = ltn__arena_alloc(&a, n + 1, 1);
    const char *part[4];
    if (text) memcpy(text, p, n);
    const int count = text ? ltn__spec_split(ctx, text, '+', &a, part, 4) : 0;
    if (count < 0) fuzz_claim(ltn_error(ctx)[0], "a failure has a message");
    for (int k = 0; k < count; k++) parse(ctx, part[k]);
    if (text) parse(ctx, text);
    if (text) resolve(ctx, text);
    if (text) open_jpeg(ctx, text);
    ltn__arena_free(&a);
    ltn_close(&ctx);
    return 0;
}
