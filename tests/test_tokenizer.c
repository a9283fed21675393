/* test_tokenizer.c - ids against transformers' CLIPTokenizer (tests/golden/tokenizer.json, made by
 * tools/golden/tokenizer.py). */
#include <sys/stat.h>

#include "model/model.h"
#include "test.h"

enum { LENGTH = 77 };

static const char *small_folder(void)
{
    return LTN_SOURCE_ROOT "/models/prior/tokenizer";
}

static void copy_file(const char *from, const char *to)
{
    FILE *a = fopen(from, "rb"), *b = fopen(to, "wb");
    CHECK(a && b);
    for (int c; a && b && (c = getc(a)) != EOF;) putc(c, b);
    if (a) fclose(a);
    if (b) fclose(b);
}

static void write_text(const char *path, const char *s)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fputs(s, f) >= 0);
    if (f) fclose(f);
}

/* A folder in the temporary one, with the small vocabulary and these settings (NULL: no such file). */
static const char *folder(const char *name, const char *config, const char *map)
{
    static char dir[512];
    char to[600], from[600];
    snprintf(dir, sizeof dir, "%s", test_temp(name));
    mkdir(dir, 0700);
    static const char *file[] = {"vocab.json", "merges.txt"};
    for (int k = 0; k < 2; k++) {
        snprintf(from, sizeof from, "%s/%s", small_folder(), file[k]);
        snprintf(to, sizeof to, "%s/%s", dir, file[k]);
        copy_file(from, to);
    }
    snprintf(to, sizeof to, "%s/tokenizer_config.json", dir);
    config ? write_text(to, config) : (void)remove(to);
    snprintf(to, sizeof to, "%s/special_tokens_map.json", dir);
    map ? write_text(to, map) : (void)remove(to);
    return dir;
}

/* ---- CLIP's whole vocabulary, from its merges: the bytes' letters, those at a word's end, what merges make,
 * two names. ---- */
static void put_letter(FILE *f, int c)
{
    if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
    else if (c < 0x80) putc(c, f);
    else fprintf(f, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 63));
}

static int letter(int i) /* of the i-th word: printable Latin-1, then U+0100 ... */
{
    const int plain[3][2] = {{33, 94}, {161, 12}, {174, 82}};
    for (int k = 0; k < 3; k++) {
        if (i < plain[k][1]) return plain[k][0] + i;
        i -= plain[k][1];
    }
    return 256 + i;
}

static const char *full_folder(void)
{
    static char dir[512];
    if (dir[0]) return dir;
    snprintf(dir, sizeof dir, "%s", test_temp("clip"));
    mkdir(dir, 0700);
    char path[600], line[256];
    snprintf(path, sizeof path, "%s/merges.txt", dir);
    copy_file(LTN_SOURCE_ROOT "/models/clip/merges.txt", path);
    FILE *merges = fopen(path, "rb");
    snprintf(path, sizeof path, "%s/vocab.json", dir);
    FILE *f = fopen(path, "wb");
    CHECK(f && merges);
    if (!f || !merges) return dir;
    for (int i = 0; i < 512; i++) {
        fputs(i ? ", \"" : "{\"", f);
        put_letter(f, letter(i % 256));
        fprintf(f, "%s\": %d", i < 256 ? "" : "</w>", i);
    }
    int id = 512;
    while (fgets(line, sizeof line, merges)) {
        if (!strncmp(line, "#version", 8)) continue;
        fputs(", \"", f);
        for (const char *p = line; *p && *p != '\n'; p++) {
            if (*p == '"' || *p == '\\') putc('\\', f);
            if (*p != ' ') putc(*p, f);
        }
        fprintf(f, "\": %d", id++);
    }
    fprintf(f, ", \"<|startoftext|>\": %d, \"<|endoftext|>\": %d}", id, id + 1);
    fclose(f);
    fclose(merges);
    return dir;
}

/* ---- Golden ids ---- */
static void same_ids(ltn_tokenizer *t, const char *s, const ltn_json *want, int pad)
{
    int ids[LENGTH];
    if (ltn__tokenize(t, s, ids, LENGTH)) {
        test_fail(__FILE__, __LINE__, "failed");
        return;
    }
    const ltn_json *e = want->child;
    for (int i = 0; i < LENGTH; i++, e = e ? e->next : NULL) {
        const int id = e ? (int)e->number : pad;
        if (ids[i] != id) {
            test_fail(__FILE__, __LINE__, "token %d of \"%s\" is %d, expected %d", i, s, ids[i], id);
            return;
        }
    }
}

static void golden_strings(const char *dir, int column, int size)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    ltn_arena a = {.ctx = ctx};
    ltn_json *golden = NULL;
    ltn_tokenizer *t;
    OK(ctx, ltn__json_read(ctx, test_golden("tokenizer.json"), &a, &golden));
    OK(ctx, ltn__tokenizer_open(ctx, dir, &t));
    if (golden && t) {
        const ltn_json *all = ltn__json_get(golden, "strings");
        CHECK(all->count == 1000 && ltn__tokenizer_length(t) == 77 && ltn__tokenizer_size(t) == size);
        for (const ltn_json *e = all->child; e; e = e->next)
            same_ids(t, e->child->string, ltn__json_at(e, column), size - 1);
    }
    ltn__tokenizer_close(&t);
    ltn__arena_free(&a);
    ltn_close(&ctx);
}

TEST(tokenizer_golden_full)
{
    golden_strings(full_folder(), 1, 49408);
}

TEST(tokenizer_golden_prior)
{
    golden_strings(small_folder(), 2, 1114);
}

TEST(tokenizer_golden_settings)
{
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    ltn_arena a = {.ctx = ctx};
    ltn_json *golden = NULL;
    OK(ctx, ltn__json_read(ctx, test_golden("tokenizer.json"), &a, &golden));
    const ltn_json *all = ltn__json_get(golden, "settings");
    CHECK(all && all->count == 8);
    for (const ltn_json *e = all ? all->child : NULL; e; e = e->next) {
        ltn_tokenizer *t;
        test_name("%s", ltn__json_str(e, "name", ""));
        const char *config = ltn__json_str(e, "config", NULL), *map = ltn__json_str(e, "map", NULL);
        OK(ctx, ltn__tokenizer_open(ctx, folder("settings", config, map), &t));
        for (const ltn_json *s = ltn__json_get(e, "strings")->child; s && t; s = s->next)
            same_ids(t, s->child->string, ltn__json_at(s, 1), -1);
        ltn__tokenizer_close(&t);
    }
    ltn__arena_free(&a);
    ltn_close(&ctx);
}

/* ---- Broken UTF-8 reads as U+FFFD, one for each longest broken sequence (Unicode 15, table 3-8) ---- */
TEST(tokenizer_broken_utf8)
{
#define R "\xEF\xBF\xBD"
    static const char *same[][2] = {
        {"a\xFF" "b", "a" R "b"}, {"\xC0\xAF", R R}, {"\xE2\x82", R}, {"\xE2\x82z", R "z"},
        {"\xF0\x9F\x98", R}, {"\xED\xA0\x80", R R R}, {"\xF4\x90\x80\x80", R R R R},
        {"\xF1\x80\x80\xE1\x80\xC2" "b", R R R "b"}, {"\x80\xBF", R R}, {"\xE0\x80\xAF", R R R},
        {"\xF8\x88\x80\x80\x80", R R R R R}, {"\xC3\xA9\xC3", "\xC3\xA9" R}};
    ltn_ctx *ctx;
    ltn_tokenizer *t;
    ltn_open(&ctx, NULL);
    OK(ctx, ltn__tokenizer_open(ctx, small_folder(), &t));
    for (int k = 0; t && k < LTN_COUNT(same); k++) {
        int a[LENGTH], b[LENGTH];
        test_name("case %d", k);
        OK(ctx, ltn__tokenize(t, same[k][0], a, LENGTH));
        OK(ctx, ltn__tokenize(t, same[k][1], b, LENGTH));
        CHECK(!memcmp(a, b, sizeof a));
    }
    ltn__tokenizer_close(&t);
    ltn_close(&ctx);
}

TEST(tokenizer_lengths)
{
    ltn_ctx *ctx;
    ltn_tokenizer *t;
    ltn_open(&ctx, NULL);
    OK(ctx, ltn__tokenizer_open(ctx, small_folder(), &t));
    int a[LENGTH], b[8], c[2];
    OK(ctx, ltn__tokenize(t, "a photo of a cat, and more than eight of its tokens", a, LENGTH));
    OK(ctx, ltn__tokenize(t, "a photo of a cat, and more than eight of its tokens", b, 8));
    OK(ctx, ltn__tokenize(t, "a photo", c, 2));
    CHECK(!memcmp(a, b, 7 * sizeof *a) && b[7] == 1113 && c[0] == 1112 && c[1] == 1113);
    CHECK(ltn__tokenize(t, "a", c, 1) == LTN_EINVAL);

    enum { MANY = 500000 }; /* one endless word takes no quadratic time */
    char *word = malloc(MANY + 1);
    for (int i = 0; i < MANY; i++) word[i] = "aenrst"[i * 7 % 6];
    word[MANY] = 0;
    const double start = ltn__seconds();
    OK(ctx, ltn__tokenize(t, word, a, LENGTH));
    CHECK(ltn__seconds() - start < 20);
    free(word);
    ltn__tokenizer_close(&t);
    ltn_close(&ctx);
}

TEST(tokenizer_bad_files)
{
    static const char *bad[][3] = {
        {"vocab.json", "[1, 2]", "not an object"}, {"vocab.json", "{}", "not an object"},
        {"vocab.json", "{\"a\": 1", "vocab.json"},
        {"vocab.json", "{\"a\": -1}", "\"a\": not an id"}, {"vocab.json", "{\"a\": 1.5}", "not an id"},
        {"vocab.json", "{\"a\": \"b\"}", "not an id"}, {"vocab.json", "{\"a\": 1e30}", "not an id"},
        {"vocab.json", "{\"a\": 1}", "bos_token \"<|startoftext|>\" is not in vocab.json"},
        {"merges.txt", "a", "line 1 is not a pair"},
        {"merges.txt", "#version: 0.2\na b c\n", "line 2 is not a pair"},
        {"merges.txt", "i n\n\n", "line 2 is not a pair"},
        {"merges.txt", "q q\n", "line 1: a word that vocab.json does not have"},
        {"tokenizer_config.json", "{\"pad_token\": \"nowhere\"}", "\"nowhere\" is not in vocab.json"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {}}}", "\"x\" is not an id"},
        {"tokenizer_config.json", "nonsense", "tokenizer_config.json"}};
    ltn_ctx *ctx;
    ltn_tokenizer *t;
    ltn_open(&ctx, NULL);
    for (int k = 0; k < LTN_COUNT(bad); k++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder("bad", NULL, NULL), bad[k][0]);
        write_text(path, bad[k][1]);
        CHECK(ltn__tokenizer_open(ctx, test_temp("bad"), &t) == LTN_EFORMAT && !t);
        test_name("%s gives %s", bad[k][1], ltn_error(ctx));
        CHECK(strstr(ltn_error(ctx), bad[k][2]));
    }
    test_name("no folder");
    CHECK(ltn__tokenizer_open(ctx, test_temp("nowhere"), &t) == LTN_EIO && !t);
    CHECK(strstr(ltn_error(ctx), "vocab.json"));
    test_name("an odd length is not believed, extra tokens are");
    const char *config = "{\"model_max_length\": 1e30, \"added_tokens_decoder\": {\"1114\": {\"content\": "
                         "\"<Cat>\"}, \"5\": {\"content\": \"\"}}}";
    OK(ctx, ltn__tokenizer_open(ctx, folder("odd", config, NULL), &t));
    int ids[4];
    CHECK(t && ltn__tokenizer_length(t) == 77 && ltn__tokenizer_size(t) == 1115);
    if (t) OK(ctx, ltn__tokenize(t, " <Cat>", ids, 4));
    CHECK(t && ids[1] == 1114 && ids[2] == 1113);
    ltn__tokenizer_close(&t);
    ltn_close(&ctx);
}

TEST(tokenizer_memory)
{
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_ctx *ctx;
    ltn_open(&ctx, &o);
    ltn_tokenizer *t = NULL;
    ltn_status s = LTN_ENOMEM;
    const char *config = "{\"eos_token\": {\"content\": \"<|endoftext|>\", \"normalized\": true}}";
    for (long k = 1; s == LTN_ENOMEM; k++) {
        m.fail_at = m.calls + k;
        s = ltn__tokenizer_open(ctx, folder("memory", config, NULL), &t);
        CHECK(s ? !t && m.alive == 1 : t != NULL);
    }
    OK(ctx, s);
    s = LTN_ENOMEM;
    const long alive = m.alive;
    int ids[LENGTH];
    for (long k = 1; t && s == LTN_ENOMEM; k++) {
        m.fail_at = m.calls + k;
        s = ltn__tokenize(t, "a <|startoftext|> b", ids, LENGTH);
        CHECK(m.alive == alive);
    }
    OK(ctx, s);
    ltn__tokenizer_close(&t);
    ltn__tokenizer_close(&t);
    CHECK(m.alive == 1);
    ltn_close(&ctx);
}

/* Opening is part of every start of the program: well under a second even where the machine is busy. */
TEST(tokenizer_opens_quickly)
{
    const char *dir[2] = {small_folder(), full_folder()};
    ltn_ctx *ctx;
    ltn_open(&ctx, NULL);
    for (int k = 0; k < 2; k++) {
        double best = INFINITY;
        for (int i = 0; i < 5; i++) {
            ltn_tokenizer *t;
            const double start = ltn__seconds();
            OK(ctx, ltn__tokenizer_open(ctx, dir[k], &t));
            best = fmin(best, ltn__seconds() - start);
            ltn__tokenizer_close(&t);
        }
        CHECK(best < (k ? 1 : 0.1));
    }
    ltn_close(&ctx);
}
