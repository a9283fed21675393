/* test_pickle.c - weights in torch's files, old and new (tools/golden/pickle.py), and everything that may be wrong
 * with them. */
#include "test_file.h"

static void equal(const char *name, ltn_tensors *got, ltn_tensors *want)
{
    CHECK(ltn__tensors_count(got) == ltn__tensors_count(want));
    for (int i = 0; i < ltn__tensors_count(want); i++) {
        ltn_weight *w = ltn__tensors_at(want, i), *v = ltn__tensors_find(got, w->name);
        test_name("%s: %s", name, w->name);
        CHECK(v && v->dtype == w->dtype && v->rank == w->rank);
        if (!v || v->rank != w->rank) continue;
        for (int k = 0; k < w->rank; k++) CHECK(v->dim[k] == w->dim[k]);
        const real *a = ltn__weight_real(ctx, v), *b = ltn__weight_real(ctx, w);
        for (int64_t k = 0; k < ltn__weight_count(w); k++) CHECK(a[k] == b[k]);
        CHECK((uintptr_t)v->data % (w->dtype == LTN_F64 ? 8 : w->dtype == LTN_F32 ? 4 : 2) == 0);
    }
}

TEST(torch_files_hold_what_safetensors_hold)
{
    static const char *const pair[][2] = {
        {"pickle_plain_old.pth", "pickle_plain.safetensors"},   {"pickle_plain_new.pth", "pickle_plain.safetensors"},
        {"pickle_protocol4.pth", "pickle_plain.safetensors"},   {"pickle_nested_old.pth", "pickle_nested.safetensors"},
        {"pickle_nested_new.pth", "pickle_nested.safetensors"}, {"pickle_training.ckpt", "pickle_plain.safetensors"},
    };
    begin();
    for (int i = 0; i < LTN_COUNT(pair); i++) {
        ltn_tensors *got = NULL, *want = NULL;
        OK(ctx, ltn__tensors_open(ctx, golden(pair[i][0]), &got));
        OK(ctx, ltn__tensors_open(ctx, golden(pair[i][1]), &want));
        if (got && want) equal(pair[i][0], got, want);
        ltn__tensors_close(&got);
        ltn__tensors_close(&want);
    }
    ltn_close(&ctx);
}

TEST(strangers_files_open)
{
    static const struct { const char *file; int count; const char *name; } some[] = {
        {"data/lpips/alex.pth", 5, "lin4.model.1.weight"},
        {"data/taef2/taef2_decoder.pth", 79, "3.conv.0.bias"},
    };
    begin();
    for (int i = 0; i < LTN_COUNT(some); i++) {
        ltn_tensors *t = NULL;
        const char *path = test_shared(some[i].file);
        if (!path) {
            test_skip("no shared folder");
            break;
        }
        test_name("%s", path);
        OK(ctx, ltn__tensors_open(ctx, path, &t));
        CHECK(t && ltn__tensors_count(t) == some[i].count && ltn__tensors_find(t, some[i].name));
        for (int k = 0; t && k < some[i].count; k++) CHECK(ltn__weight_finite(ltn__tensors_at(t, k)));
        ltn__tensors_close(&t);
    }
    ltn_close(&ctx);
}

TEST(what_no_weight_file_holds)
{
    static const char *const bad[][2] = {
        {"pickle_call.pth", "pickle_call.pth: refers to posix.system, which a weight file has no business with"},
        {"pickle_list.pth", "pickle_list.pth: holds no dictionary of weights"},
        {"pickle_packed.pth", "a compressed entry; torch stores weights as they are"},
        {"pickle_other.pth", "a zip archive without weights of torch"},
    };
    ltn_tensors *t;
    begin();
    for (int i = 0; i < LTN_COUNT(bad); i++) said(bad[i][0], ltn__tensors_open(ctx, golden(bad[i][0]), &t), bad[i][1]);
    ltn_close(&ctx);
}

/* Every file that ends too early, and every file with one bit turned, is read or refused in one line. */
TEST(broken_torch_files_are_refused)
{
    static const char *const file[] = {"pickle_nested_old.pth", "pickle_nested_new.pth"};
    begin();
    for (int i = 0; i < LTN_COUNT(file); i++) {
        ltn_bytes b = {0};
        ltn_tensors *t;
        OK(ctx, ltn__file_read(ctx, golden(file[i]), &b));
        for (size_t n = 16; n < b.size; n += 1 + n / 200) {
            test_name("%s cut at %zu", file[i], n);
            CHECK(ltn__tensors_parse(ctx, "f", b.data, n, &t) < 0 && !t && !strncmp(ltn_error(ctx), "f: ", 3));
        }
        for (size_t at = 0; at < b.size; at += 3) {
            b.data[at] ^= (uint8_t)(1 << at % 8);
            test_name("%s turned at %zu", file[i], at);
            if (ltn__tensors_parse(ctx, "f", b.data, b.size, &t))
                CHECK(!strncmp(ltn_error(ctx), "f: ", 3) && !strchr(ltn_error(ctx), '\n'));
            ltn__tensors_close(&t);
            b.data[at] ^= (uint8_t)(1 << at % 8);
        }
        ltn__free(ctx, b.data);
    }
    ltn_close(&ctx);
}

/* Old files by hand: the dictionary, the keys, the storages. */
#define HEAD "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.}."
#define KEYS "](U\1"  "0e."
#define TWO "\2\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40"
#define STORAGE(type) "(U\7storagectorch\n" type "Storage\nU\1" "0U\3cpuK\2tQ"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n("
#define TENSOR(storage, place) REBUILD storage place "\x89}tR"
#define WHOLE TENSOR(STORAGE("Float"), "K\0K\2\x85K\1\x85")
#define DICT(items) "}(" items "u."
#define FILE_OF(text) text, sizeof text - 1

static const struct { const char *bytes; size_t n; const char *message; } hand[] = {
    {FILE_OF(HEAD DICT("U\1w" WHOLE) KEYS TWO), NULL},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) KEYS TWO "x"), "f: 1 bytes after the last storage"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE "U\1w" WHOLE) KEYS TWO), "f: w: appears twice"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) "]." TWO), "f: 0: a storage that is missing"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) "](U\1"  "0U\1" "0e." TWO TWO),
     "f: 0: a storage that is no tensor's, or is listed twice"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) "](U\1"  "0U\1" "1e." TWO TWO), "f: 1: a storage that is no tensor's"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) KEYS "\1\0\0\0\0\0\0\0\0\0\0\0"), "f: w: its storage is not as long as it says"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) KEYS "\377\377\377\377\377\377\377\377"), "f: 0: truncated inside this storage"},
    {FILE_OF(HEAD DICT("U\1w" WHOLE) KEYS "\1"), "f: 0: truncated before this storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\1K\2\x85K\1\x85")) KEYS TWO),
     "f: w: ends outside its storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "J\377\377\377\377K\2\x85K\1\x85")) KEYS TWO),
     "f: w: begins outside its storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0K\2\x85K\2\x85")) KEYS TWO),
     "f: w: ends outside its storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0K\2K\2\x86K\0K\1\x86")) KEYS TWO),
     "f: w: has more elements than its storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"),
                                     "K\0K\2\x85\x8a\x8\377\377\377\377\377\377\377\177\x85")) KEYS TWO),
     "f: w: ends outside its storage"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0K\0\x85K\1\x85")) KEYS TWO), "f: w: a dimension is 0"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0K\2\x85J\377\377\377\377\x85")) KEYS TWO),
     "f: w: a negative dimension or stride"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0(K\1K\1K\1K\1K\2t(K\1K\1K\1K\1K\1t")) KEYS TWO),
     "f: w: more than 4 dimensions"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Float"), "K\0K\2\x85)")) KEYS TWO),
     "f: a broken pickle: a function with arguments that are not its own"},
    {FILE_OF(HEAD DICT("U\1v" WHOLE "U\1w" TENSOR(STORAGE("Half"), "K\0K\2\x85K\1\x85")) KEYS TWO),
     "f: 0: a storage of two types"},
    {FILE_OF(HEAD DICT("U\1w" TENSOR(STORAGE("Quaternion"), "")) KEYS TWO),
     "f: refers to torch.QuaternionStorage, which"},
    {FILE_OF(HEAD DICT("NU\1w" "N" WHOLE) KEYS TWO), "f: : a key that is no name"},
    {FILE_OF(HEAD "U\2osU\4exec\x93."), "f: refers to os.exec, which a weight file has no business with"},
    {FILE_OF(HEAD "cos\nsystem\n."), "f: refers to os.system, which a weight file has no business with"},
    {FILE_OF(HEAD "cos"), "f: a broken pickle: a name without an end"},
    {FILE_OF(HEAD "}q\1U\1wh\1s.]."), "f: w.: a dictionary that stands in two places"},
    {FILE_OF(HEAD "}U\1a}U\1b}U\1c}U\1d}U\1e}U\1f}U\1g}U\1h}ssssssss.]."),
     "f: a.b.c.d.e.f.g.h.: dictionaries nested too deep"},
    {FILE_OF(HEAD "}r\377\377\377\377."), "f: a broken pickle: a number in its memo that is out of turn"},
    {FILE_OF(HEAD "h\7."), "f: a broken pickle: it refers to a value that is not there"},
    {FILE_OF(HEAD "s."), "f: a broken pickle: a value is missing"},
    {FILE_OF(HEAD "u."), "f: a broken pickle: a mark is missing"},
    {FILE_OF(HEAD "}(Nu."), "f: a broken pickle: a key without a value"},
    {FILE_OF(HEAD "]NNs."), "f: a broken pickle: items for no container of theirs"},
    {FILE_OF(HEAD "(."), "f: a broken pickle: it ends with more or less than one value"},
    {FILE_OF(HEAD "NN."), "f: a broken pickle: it ends with more or less than one value"},
    {FILE_OF(HEAD "N)R."), "f: a broken pickle: it calls what is no function"},
    {FILE_OF(HEAD "NNb."), "f: a broken pickle: attributes for what is no dictionary"},
    {FILE_OF(HEAD ")Q."), "f: a broken pickle: a storage that is not described as one"},
    {FILE_OF(HEAD "(U\7storagectorch\nFloatStorage\nU\1" "0U\3cpuK\2K\1tQ."), "f: storage 0 is a view of another one"},
    {FILE_OF(HEAD "\x8a\x09\1\1\1\1\1\1\1\1\1."), "f: a broken pickle: a number of more than 8 bytes"},
    {FILE_OF(HEAD "X\377\377\377\377"), "f: a broken pickle: it ends too early (truncated?)"},
    {FILE_OF(HEAD "\x8d\377\377\377\377\377\377\377\377"), "f: a broken pickle: it ends too early (truncated?)"},
    {FILE_OF(HEAD "\xfe."), "f: a broken pickle: operation 0xfe is none that weight files have"},
    {FILE_OF(HEAD "K\1."), "f: a broken pickle: it ends too early"}, /* no keys */
    {FILE_OF(HEAD "K\1.]."), "f: holds no dictionary of weights"},
    {FILE_OF("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe8\3."),
     "f: a protocol of torch.save other than 1001"},
    {FILE_OF("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.}U\15little_endian\x89s."),
     "f: its numbers are not little-endian"},
};

TEST(malformed_pickles_are_refused)
{
    begin();
    for (int i = 0; i < LTN_COUNT(hand); i++) {
        ltn_tensors *t;
        char name[16];
        snprintf(name, sizeof name, "case %d", i);
        const ltn_status s = ltn__tensors_parse(ctx, "f", (const uint8_t *)hand[i].bytes, hand[i].n, &t);
        if (hand[i].message) said(name, s, hand[i].message);
        else OK(ctx, s);
        ltn__tensors_close(&t);
    }
    ltn_close(&ctx);
}

/* Many pieces that are described as the same bytes cannot fill the memory. */
TEST(a_small_file_stays_small)
{
    begin();
    ltn_sink k = {.ctx = ctx};
    ltn_tensors *t;
    ltn__sink_put(&k, HEAD "}(", sizeof HEAD "}(" - 1);
    for (int i = 0; i < 4000; i++) {
        const uint8_t key[] = {'M', (uint8_t)i, (uint8_t)(i >> 8)};
        ltn__sink_put(&k, key, sizeof key);
        if (!i)
            ltn__sink_put(&k, FILE_OF(REBUILD "(U\7storagectorch\nFloatStorage\nU\1"
                                              "0U\3cpuM\0\4tQK\0M\0\2K\2\x86K\1M\0\2\x86\x89}tq\2Rq\1"));
        else ltn__sink_put(&k, FILE_OF("ctorch._utils\n_rebuild_tensor_v2\nh\2R"));
    }
    ltn__sink_put(&k, FILE_OF("u." KEYS "\0\4\0\0\0\0\0\0"));
    static const uint8_t zeros[4096];
    ltn__sink_put(&k, zeros, sizeof zeros);
    said("shared", ltn__tensors_parse(ctx, "f", k.bytes.data, k.bytes.size, &t), "more weights than the file can hold");
    ltn__free(ctx, k.bytes.data);
    ltn_close(&ctx);
}

/* Archives: the golden one with one field changed. */
TEST(malformed_archives_are_refused)
{
    enum { END = 22, LOCATOR = 20, LOCAL = 30 };
    ltn_bytes b = {0};
    ltn_tensors *t;
    begin();
    OK(ctx, ltn__file_read(ctx, golden("pickle_plain_new.pth"), &b));
    uint8_t *end = b.data + b.size - END, *central = b.data, saved[64];
    while (memcmp(central, "PK\1\2", 4)) central++;
    uint8_t *const record64 = end - LOCATOR - 56;
    const struct { uint8_t *at; uint8_t value; const char *message; } bad[] = {
        {end, 'x', "no zip directory at its end"},
        {end - LOCATOR + 9, 0x7f, "its zip64 directory is missing"},
        {record64 + 55, 1, "its zip directory lies outside the file"},
        {record64 + 33, 1, "its zip directory is shorter than it says"},
        {central, 'x', "a broken entry in its zip directory"},
        {central + 29, 0xff, "a broken entry in its zip directory"},
        {central + 8, 1, "an encrypted entry"},
        {central + 10, 8, "a compressed entry"},
        {central + 20, 1, "a compressed entry"},
        {central + 42, 1, "an entry that does not begin where its directory says"},
        {central + 46, 'x', "an entry whose two names differ"},
        {b.data + 29, 0xff, "an entry that ends outside the file"},
    };
    for (int i = 0; i < LTN_COUNT(bad); i++) {
        const uint8_t was = *bad[i].at;
        *bad[i].at = bad[i].value;
        said(bad[i].message, ltn__tensors_parse(ctx, "f", b.data, b.size, &t), bad[i].message);
        *bad[i].at = was;
    }
    uint8_t *second = central + 46 + central[28] + central[30] + central[32];
    memcpy(saved, second + 42, 4);
    memcpy(second + 42, central + 42, 4); /* two entries at one place */
    CHECK(ltn__tensors_parse(ctx, "f", b.data, b.size, &t) < 0);
    memcpy(second + 42, saved, 4);
    memcpy(saved, central + 20, 8);
    memcpy(central + 20, "\0\4\0\0\0\4\0\0", 8); /* shorter than it is: the pickle is cut */
    said("short entry", ltn__tensors_parse(ctx, "f", b.data, b.size, &t), "f: a broken pickle: ");
    memcpy(central + 20, "\0\x0c\0\0\0\x0c\0\0", 8); /* longer: over the next entries */
    said("long entry", ltn__tensors_parse(ctx, "f", b.data, b.size, &t), "two entries that overlap");
    memcpy(central + 20, saved, 8);
    OK(ctx, ltn__tensors_parse(ctx, "f", b.data, b.size, &t));
    ltn__tensors_close(&t);
    ltn__free(ctx, b.data);
    ltn_close(&ctx);
}

TEST(torch_memory)
{
    static const char *const file[] = {"pickle_nested_old.pth", "pickle_nested_new.pth"};
    test_memory m = {0};
    ltn_options o = test_options(&m);
    ltn_open(&ctx, &o);
    for (int i = 0; i < LTN_COUNT(file); i++) {
        ltn_status s = LTN_ENOMEM;
        ltn_tensors *t;
        for (int k = 1; s == LTN_ENOMEM && k < 200; k++) {
            m.fail_at = m.calls + k;
            s = ltn__tensors_open(ctx, golden(file[i]), &t);
            ltn__tensors_close(&t);
            CHECK(m.alive == 1);
        }
        m.fail_at = 0;
        OK(ctx, s);
    }
    ltn_close(&ctx);
}
