/* test_file.c - strangers' bytes: whole files, JSON, safetensors, and every allocation of the readers and
 * writers. */
#define _GNU_SOURCE
#include "test_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- Whole files ---- */

/* The device that is always full; root gets one of its own, which a mistake may replace without harm. */
TEST(a_device_is_written_and_not_replaced)
{
    const char *full = "/dev/full";
    struct stat st;
    begin();
    if (!geteuid() && mknod(full = test_temp("full"), S_IFCHR | 0666, makedev(1, 7))) {
        test_skip("no device can be made here");
    } else {
        const ltn_status s = ltn__file_write(ctx, full, "x", 1);
        CHECK(!stat(full, &st) && S_ISCHR(st.st_mode));
        if (strcmp(ltn_error(ctx) + strlen(full),
                   ": Permission denied")) /* a folder mounted without devices */
            said("full", s, "full: No space left on device");
        else test_skip("devices do not work here");
    }
    ltn_close(&ctx);
}

TEST(a_pipe_is_written_and_not_replaced)
{
    const char *path = test_temp("pipe");
    struct stat st;
    char got[4] = "";
    begin();
    CHECK(!mkfifo(path, 0600));
    const int fd = open(path, O_RDONLY | O_NONBLOCK);
    OK(ctx, ltn__file_write(ctx, path, "xyz", 3));
    CHECK(read(fd, got, sizeof got) == 3 && !memcmp(got, "xyz", 3));
    CHECK(!stat(path, &st) && S_ISFIFO(st.st_mode));
    close(fd);
    ltn_close(&ctx);
}

TEST(replacing_keeps_links_and_permissions)
{
    struct stat st;
    begin();
    const char *path = put("real.txt", "1", 1), *link = test_temp("link.txt");
    CHECK(!chmod(path, 0640) && !symlink(path, link));
    OK(ctx, ltn__file_write(ctx, link, "22", 2));
    CHECK(!lstat(link, &st) && S_ISLNK(st.st_mode));
    CHECK(!stat(path, &st) && st.st_size == 2 && (st.st_mode & 0777) == 0640);
    ltn_close(&ctx);
}

/* ---- JSON ---- */

TEST(json_is_a_tree)
{
    const char *text = "{\"a\": [1, 2.5e-3, true, null, \"x\\u00e9\\ud83d\\ude00\\n\\/\\\"\xc3\xa9\"], \"b\": {\"c\": "
                       "-7, \"d\": false}, \"e\": 123456789012345}";
    ltn_arena arena;
    ltn_json *j;
    begin();
    arena = (ltn_arena){.ctx = ctx};
    OK(ctx, ltn__json_parse(ctx, "x.json", text, strlen(text), &arena, &j));
    const ltn_json *a = ltn__json_get(j, "a"), *b = ltn__json_get(j, "b");
    CHECK(j->count == 3 && a->count == 5 && a->type == LTN_JSON_ARRAY && b->type == LTN_JSON_OBJECT);
    NEAR(ltn__json_at(a, 1)->number, 2.5e-3, 1e-18);
    CHECK(ltn__json_at(a, 2)->type == LTN_JSON_BOOL && ltn__json_at(a, 3)->type == LTN_JSON_NULL &&
          !ltn__json_at(a, 5));
    CHECK(!strcmp(ltn__json_at(a, 4)->string, "x\xc3\xa9\xf0\x9f\x98\x80\n/\"\xc3\xa9"));
    CHECK(ltn__json_num(b, "c", 0) == -7 && ltn__json_num(b, "d", 3) == 3 &&
          ltn__json_num(j, "e", 0) == 123456789012345.0);
    CHECK(!ltn__json_bool(b, "d", true) && ltn__json_bool(b, "absent", true) && !ltn__json_get(a, "b") &&
          !ltn__json_get(NULL, "b"));
    CHECK(!strcmp(ltn__json_str(j, "absent", "z"), "z") && !ltn__json_str(b, "c", NULL));
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

TEST(bad_json_is_refused)
{
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    const struct { const char *text, *message; size_t n; } bad[] = {
        {"", "x.json: line 1, column 1: not a value", 0},
        {"{\"a\": 1,}", "x.json: line 1, column 9: expected a key in quotes", 9},
        {"{\"a\" 1}", "expected :", 7},
        {"{\"a\": 1 2}", "expected , or }", 10},
        {"[1,]", "not a value", 4},
        {"[1 ", "expected , or ]", 3},
        {"\n[01]", "x.json: line 2, column 3: expected , or ]", 5},
        {"[1.]", "not a value", 4},
        {"[+1]", "not a value", 4},
        {"[NaN]", "not a value", 5},
        {"[1e999]", "a number too large", 7},
        {"[1] 2", "column 5: expected the end", 5},
        {"{\"a\": 1, \"a\": 2}", "x.json: \"a\" is given twice", 16},
        {"[\"a]", "a string without end", 4},
        {"[\"a\\", "a string without end", 4},
        {"[\"\xff\"]", "x.json: line 1, column 3: not UTF-8", 5},
        {"[\"\xc0\x80\"]", "not UTF-8", 6},
        {"[\"\n\"]", "a control character in a string", 5},
        {"[\"\\x\"]", "an escape that is not known", 6},
        {"[\"\\u0000\"]", "a \\u escape that is no character", 10},
        {"[\"\\ud83d\"]", "a \\u escape that is no character", 10},
        {"[\"\\u12\"]", "a \\u escape that is no character", 8},
        {deep, "column 65: nested deeper than 64", 400},
    };
    ltn_arena arena;
    ltn_json *j;
    begin();
    arena = (ltn_arena){.ctx = ctx};
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        said(bad[i].text, ltn__json_parse(ctx, "x.json", bad[i].text, bad[i].n, &arena, &j), bad[i].message);
        CHECK(!j);
    }
    said("missing", ltn__json_read(ctx, test_temp("no.json"), &arena, &j),
         "no.json: No such file or directory");
    ltn__arena_free(&arena);
    ltn_close(&ctx);
}

/* ---- safetensors ---- */

TEST(tensors_of_every_dtype)
{
    ltn_tensors *t;
    begin();
    OK(ctx, ltn__tensors_open(ctx, golden("mixed.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == 3 && !ltn__tensors_find(t, "ids") && !ltn__tensors_find(t, "mask") &&
          !ltn__tensors_find(t, ""));
    const ltn_weight *half = ltn__tensors_find(t, "half"), *twice = ltn__tensors_find(t, "double"),
                     *single = ltn__tensors_find(t, "single");
    CHECK(half && half->dtype == LTN_F16 && half->rank == 1 && half->dim[0] == 5);
    CHECK(single && single->dtype == LTN_F32 && single->rank == 2 && ((const float *)single->data)[3] == 7);
    CHECK(twice && twice->dtype == LTN_F64 && ((const double *)twice->data)[3] == 1);
    real v[5];
    ltn__weight_widen(half, 0, 5, v);
    for (int i = 0; i < 5; i++) CHECK(v[i] == i);
    CHECK(strstr(ltn__tensors_path(t), "mixed.safetensors"));
    ltn__tensors_close(&t);
    CHECK(!t);
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

TEST(tensors_are_written_as_others_write_them)
{
    ltn_tensors *t;
    ltn_bytes want, got;
    ltn_named_array a[3];
    begin();
    OK(ctx, ltn__tensors_open(ctx, golden("plain.safetensors"), &t));
    for (int i = 0; i < 3; i++) {
        const ltn_weight *w = ltn__tensors_at(t, i);
        a[i] = (ltn_named_array){w->name, {.rank = w->rank, .data = (float *)(uintptr_t)w->data}};
        memcpy(a[i].array.dim, w->dim, sizeof w->dim);
    }
    OK(ctx, ltn__tensors_write(ctx, test_temp("plain.safetensors"), a, 3));
    OK(ctx, ltn__file_read(ctx, golden("plain.safetensors"), &want));
    OK(ctx, ltn__file_read(ctx, test_temp("plain.safetensors"), &got));
    CHECK(want.size == got.size && !memcmp(want.data, got.data, got.size));
    ltn__free(ctx, want.data);
    ltn__free(ctx, got.data);
    ltn__tensors_close(&t);
    OK(ctx, ltn__tensors_write(ctx, test_temp("none.safetensors"), NULL, 0));
    OK(ctx, ltn__tensors_open(ctx, test_temp("none.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == 0 && !ltn__tensors_find(t, "x"));
    ltn__tensors_close(&t);
    said("name", ltn__tensors_write(ctx, test_temp("x.safetensors"), &(ltn_named_array){.name = "a\"b"}, 1),
         "a tensor's name cannot hold");
    ltn_close(&ctx);
}

/* A file with this header and n bytes of data, parsed. */
static ltn_status parse(const char *header, size_t n)
{
    uint8_t file[512] = {(uint8_t)strlen(header)};
    ltn_tensors *t;
    memcpy(file + 8, header, strlen(header));
    const ltn_status s = ltn__tensors_parse(ctx, "m.safetensors", file, 8 + strlen(header) + n, &t);
    ltn__tensors_close(&t);
    return s;
}

#define T(name, dtype, shape, begin, end)                                                                    \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

TEST(malformed_safetensors_are_refused)
{
    const struct { const char *header; size_t n; const char *message;
    } bad[] = {
        {"{" T("w", "F32", "2", "0", "8") "}", 4,
         "m.safetensors: w: ends beyond the file's end (truncated?)"},
        {"{" T("w", "F32", "2", "0", "8") "," T("v", "F32", "1", "4", "8") "}", 8,
         "m.safetensors: v: overlaps another tensor"},
        {"{" T("w", "F32", "1", "0", "4") "," T("v", "F32", "1", "8", "12") "}", 12,
         "m.safetensors: v: a hole stands before its data"},
        {"{" T("w", "F32", "1", "4", "8") "}", 8, "m.safetensors: w: a hole stands before its data"},
        {"{" T("w", "F32", "1", "0", "4") "}", 9, "m.safetensors: 5 bytes after the last tensor"},
        {"{" T("w", "F32", "3", "0", "8") "}", 8,
         "m.safetensors: w: dtype and shape disagree with the length of its data"},
        {"{" T("w", "F17", "2", "0", "8") "}", 8, "m.safetensors: w: dtype F17 is not known"},
        {"{" T("w", "F32", "2", "8", "0") "}", 8, "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{" T("w", "F32", "2", "-8", "0") "}", 8, "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{" T("w", "F32", "0.5", "0", "2") "}", 2, "m.safetensors: w: a dimension that is no whole number"},
        {"{" T("w", "F32", "-2", "0", "8") "}", 8, "m.safetensors: w: a dimension that is no whole number"},
        {"{" T("w", "F32", "0,3", "0", "0") "}", 0, "m.safetensors: w: a dimension is 0"},
        {"{" T("w", "F32", "1,1,1,1,1", "0", "4") "}", 4, "m.safetensors: w: more than 4 dimensions"},
        {"{" T("w", "F32", "4294967296,4294967296,4294967296", "0", "4") "}", 4,
         "m.safetensors: w: dtype and shape disagree"},
        {"{" T("w", "F32", "1", "0", "4") "," T("w", "F32", "1", "4", "8") "}", 8,
         "m.safetensors: \"w\" is given twice"},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
         "m.safetensors: w: data_offsets are not [begin, end]"},
        {"{\"w\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "m.safetensors: w: dtype (none) is not known"},
        {"{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "m.safetensors: w: no shape"},
        {"{\"w\":3}", 4, "m.safetensors: w: not a description of a tensor"},
        {"{\"w\xff\":3}", 4, "m.safetensors: line 1"},
        {"{", 0, "m.safetensors: line 1"},
        {"[]", 0, "m.safetensors: not a safetensors file"},
    };
    ltn_tensors *t;
    begin();
    for (int i = 0; i < LTN_COUNT(bad); i++)
        said(bad[i].header, parse(bad[i].header, bad[i].n), bad[i].message);
    OK(ctx, parse("{\"__metadata__\":{\"format\":\"pt\"}," T("w", "F32", "2", "0",
                                                             "8") "," T("i", "I64", "0,3", "8", "8") "}",
                  8));
    said("short", ltn__tensors_parse(ctx, "m", (const uint8_t *)"{}", 2, &t),
         "m: not a safetensors file: only 2 bytes");
    said("huge", ltn__tensors_parse(ctx, "m", (const uint8_t *)"\377\377\377\377\377\377\377\377{}", 10, &t),
         "a header of 18446744073709551615 bytes");
    said("cut", ltn__tensors_parse(ctx, "m", (const uint8_t *)"\20\0\0\0\0\0\0\0{}", 10, &t),
         "m: truncated inside its header");
    said("missing", ltn__tensors_open(ctx, test_temp("no.safetensors"), &t),
         "no.safetensors: No such file or directory");
    said("empty", ltn__tensors_open(ctx, put("e.safetensors", "", 0), &t),
         "e.safetensors: not a safetensors file: only 0 bytes");
    ltn_close(&ctx);
}

TEST(unaligned_weights_are_moved)
{
    uint8_t file[200];
    const char *header = "{" T("w", "F32", "2", "0", "8") "}";
    const float v[2] = {1.5f, -2};
    ltn_tensors *t;
    begin();
    for (int pad = 0; pad < 4; pad++) {
        memset(file, 0, sizeof file);
        file[0] = (uint8_t)(strlen(header) + (size_t)pad);
        snprintf((char *)file + 8, sizeof file - 8, "%s%*s", header, pad, "");
        memcpy(file + 8 + file[0], v, sizeof v);
        OK(ctx, ltn__tensors_parse(ctx, "m", file, 8 + file[0] + sizeof v, &t));
        const float *w = ltn__tensors_find(t, "w")->data;
        CHECK((uintptr_t)w % 4 == 0 && w[0] == 1.5f && w[1] == -2);
        ltn__tensors_close(&t);
    }
    ltn_close(&ctx);
}

TEST(nan_and_infinity_in_weights_are_seen)
{
    const float f[] = {1, -3e38f, INFINITY, NAN};
    const double d[] = {1, -1e308, -INFINITY, NAN};
    const uint16_t h[] = {0x3c00, 0xfbff, 0x7c00, 0x7e01}, b[] = {0x3f80, 0xff7f, 0xff80, 0x7fc1};
    const ltn_weight w[] = {{.dtype = LTN_F32, .data = f},
                            {.dtype = LTN_F64, .data = d},
                            {.dtype = LTN_F16, .data = h},
                            {.dtype = LTN_BF16, .data = b}};
    for (int i = 0; i < LTN_COUNT(w); i++)
        for (int n = 1; n <= 4; n++) {
            ltn_weight part = w[i];
            part.rank = 1;
            part.dim[0] = n;
            test_name("dtype %d, %d values", (int)part.dtype, n);
            CHECK(ltn__weight_finite(&part) == (n <= 2));
        }
}

TEST(many_tensors_are_found)
{
    enum { N = 700 };
    static char names[N][64];
    static ltn_named_array a[N];
    float v = 1;
    ltn_tensors *t;
    begin();
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "down_blocks.%d.resnets.%d.conv.weight", i % 7, i);
        a[i] = (ltn_named_array){names[i], {.rank = 1, .dim = {1}, .data = &v}};
    }
    OK(ctx, ltn__tensors_write(ctx, test_temp("many.safetensors"), a, N));
    OK(ctx, ltn__tensors_open(ctx, test_temp("many.safetensors"), &t));
    CHECK(ltn__tensors_count(t) == N);
    for (int i = 0; i < N; i++) CHECK(ltn__tensors_find(t, names[i]) == ltn__tensors_at(t, i));
    CHECK(!ltn__tensors_find(t, "down_blocks.0.resnets.0.conv.weigh") && !ltn__tensors_at(t, N) &&
          !ltn__tensors_at(t, -1));
    ltn__tensors_close(&t);
    ltn_close(&ctx);
}

/* ---- Memory: every allocation fails once ---- */

static ltn_status read_one(const char *name)
{
    ltn_image im;
    const ltn_status s = ltn_image_read(ctx, golden(name), &im);
    ltn_image_free(ctx, &im);
    return s;
}

static ltn_status write_one(const char *name)
{
    float data[12] = {0};
    uint8_t icc[200] = {[16] = 'R', 'G', 'B', ' '}, exif[20] = {1};
    ltn_meta meta = {.icc = {icc, sizeof icc}, .exif = {exif, sizeof exif}};
    const ltn_image im = {.width = 2, .height = 2, .channels = 3, .data = data, .meta = &meta};
    return ltn_image_write(ctx, test_temp(name), &im, &(ltn_write_options){.settings = "x"});
}

static ltn_status open_tensors(const char *name)
{
    ltn_tensors *t;
    const ltn_status s = ltn__tensors_open(ctx, golden(name), &t);
    CHECK(!s == (t != NULL));
    ltn__tensors_close(&t);
    return s;
}

static ltn_status write_tensors(const char *name)
{
    float v = 0;
    return ltn__tensors_write(ctx, test_temp(name), &(ltn_named_array){"v", {.data = &v}}, 1);
}

static ltn_status read_json(const char *name)
{
    ltn_arena arena = {.ctx = ctx};
    ltn_json *j;
    const ltn_status s = ltn__json_read(ctx, name, &arena, &j);
    ltn__arena_free(&arena);
    return s;
}

static ltn_status copy_array(const char *name)
{
    ltn_array a;
    ltn_status s = ltn_array_read(ctx, golden(name), &a);
    if (!s) s = ltn_array_write(ctx, test_temp(name), &a);
    ltn_array_free(ctx, &a);
    return s;
}

static ltn_status resize_one(const char *name)
{
    ltn_image im, out = {0};
    ltn_status s = ltn_image_read(ctx, golden(name), &im);
    if (!s) s = ltn_image_resize(ctx, &im, 4, 5, &out);
    ltn_image_free(ctx, &im);
    ltn_image_free(ctx, &out);
    return s;
}

TEST(every_allocation_fails_once)
{
    const struct { ltn_status (*act)(const char *); const char *name;
    } acts[] = {{read_one, "interlaced16.png"},
                {read_one, "orient5.png"},
                {read_one, "progressive6.jpg"},
                {read_one, "cmyk.jpg"},
                {read_one, "lossy.webp"},
                {read_one, "alpha.webp"},
                {read_one, "u1.npy"},
                {write_one, "w.png"},
                {write_one, "w.jpg"},
                {write_one, "w.webp"},
                {write_one, "w.npy"},
                {open_tensors, "mixed.safetensors"},
                {write_tensors, "w.safetensors"},
                {read_json, LTN_SOURCE_ROOT "/models/prior/model_index.json"},
                {copy_array, "fortran.npy"},
                {resize_one, "progressive6.jpg"}};
    for (int i = 0; i < LTN_COUNT(acts); i++) {
        ltn_status s = LTN_ENOMEM;
        for (long k = 1; s == LTN_ENOMEM; k++) {
            test_memory m = {0};
            const ltn_options opt = test_options(&m);
            OK(NULL, ltn_open(&ctx, &opt));
            const long base = m.alive;
            m.fail_at = m.calls + k;
            s = acts[i].act(acts[i].name);
            test_name("%s, allocation %ld: %s", acts[i].name, k, ltn_error(ctx));
            CHECK(s == LTN_ENOMEM || (s == LTN_OK && m.calls < m.fail_at));
            CHECK(m.alive == base);
            if (s == LTN_ENOMEM) CHECK(strstr(ltn_error(ctx), "memory"));
            ltn_close(&ctx);
            CHECK(m.alive == 0 && k < 1000);
        }
    }
}
