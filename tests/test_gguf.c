/* test_gguf.c - weights in blocks and in eight bits: every type against the package gguf and torch
 * (tools/golden/gguf.py), whole models in GGUF files, and what such files can be wrong about. */
#include "single.h"

static const ltn_model_options tokens = {.tokenizer = PRIOR "/tokenizer"};

static void same_values(ltn_ctx *ctx, ltn_tensors *t, ltn_tensors *golden, const char *name)
{
    const ltn_weight *w = ltn__tensors_find(t, name), *v = ltn__tensors_find(golden, name);
    test_name("%s", name);
    CHECK(w && v && w->rank == v->rank && !memcmp(w->dim, v->dim, sizeof w->dim));
    if (!w || !v) return;
    const int64_t n = ltn__weight_count(w);
    float *out = malloc((size_t)n * sizeof *out);
    const float *want = v->data;
    for (int64_t first = 0; first < n; first += first < 3 ? 1 : n / 3) { /* whole, and from within a block */
        ltn__weight_widen(w, first, n - first, out);
        bool same = true;
        for (int64_t i = 0; i < n - first; i++)
            same &= out[i] == want[first + i] || (isnan(out[i]) && isnan(want[first + i]));
        CHECK(same);
    }
    ltn__weight_widen(w, n / 2 + 1, 5, out);
    CHECK(out[4] == want[n / 2 + 5] || isnan(out[4]));
    free(out);
}

TEST(every_type)
{
    static const char *const blocks[] = {"f32",  "f16",  "bf16", "q8_0", "q4_0", "q4_1",
                                         "q5_0", "q5_1", "q4_k", "q5_k", "q6_k", "conv"};
    static const char *const eights[] = {"f8_e4m3", "f8_e5m2"};
    ltn_ctx *ctx;
    ltn_tensors *golden, *t;
    OK(NULL, ltn_open(&ctx, NULL));
    OK(ctx, ltn__tensors_open(ctx, test_golden("gguf.safetensors"), &golden));
    OK(ctx, ltn__tensors_open(ctx, test_golden("file/types.gguf"), &t));
    for (int i = 0; t && i < LTN_COUNT(blocks); i++) {
        same_values(ctx, t, golden, blocks[i]);
        const ltn_weight *w = ltn__tensors_find(t, blocks[i]);
        CHECK(w && (!strcmp(ltn__dtype_name(w->dtype), blocks[i]) || !strcmp(blocks[i], "conv")) &&
              ltn__weight_finite(w) && w->mapped);
    }
    ltn__tensors_close(&t);
    OK(ctx, ltn__tensors_open(ctx, test_golden("file/fp8.safetensors"), &t));
    for (int i = 0; t && i < LTN_COUNT(eights); i++) {
        same_values(ctx, t, golden, eights[i]);
        CHECK(!ltn__weight_finite(ltn__tensors_find(t, eights[i])));
    }
    ltn__tensors_close(&t);
    ltn__tensors_close(&golden);
    ltn_close(&ctx);
}

/* ---- Whole models ---- */
static void bytes(single *s, const void *p, size_t n)
{
    single_data(s, p, n);
}

static void whole(single *s, uint64_t v, size_t n)
{
    bytes(s, &v, n);
}

static void text(single *s, const char *t)
{
    whole(s, strlen(t), 8);
    bytes(s, t, strlen(t));
}

/* d q with the d that the largest of 32 values gives; v becomes what can be read again. */
static void q8_0(single *s, float *v)
{
    float most = 0;
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(v[i]));
    uint32_t b;
    const float scale = most / 127;
    memcpy(&b, &scale, 4);
    const uint16_t half = f16_of(b);
    float d = ldexpf((float)(half >> 10 & 31 ? 1024 | (half & 1023) : half & 1023),
                     (half >> 10 & 31 ? half >> 10 & 31 : 1) - 25);
    bytes(s, &half, 2);
    for (int i = 0; i < 32; i++) {
        const int8_t q = (int8_t)fmaxf(-127, fminf(127, d ? rintf(v[i] / d) : 0));
        bytes(s, &q, 1);
        v[i] = d * q;
    }
}

/* The file of a map as GGUF, and as safetensors of f32 what can be read from it. */
static void cook_gguf(const char *map, int type, const char *gguf, const char *plain)
{
    line *l;
    single head = {0}, data = {0}, same = {0};
    size_t size;
    const int n = read_map(map, &l);
    uint64_t tensors = 0;
    single list = {0};
    for (int i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && strchr("kv", l[k].how) && !strcmp(l[k].file, l[i].file);) k++;
        line w = l[i];
        w.dim[0] *= k - i;
        float *v = malloc(line_count(&w) * sizeof *v), *to = v;
        for (int j = i; j < k; j++, to += line_count(&l[j])) {
            float *part = line_values(&l[j]);
            const long rows = l[j].dim[0], columns = l[j].dim[1];
            for (long x = 0; x < (long)line_count(&l[j]); x++)
                to[l[j].how == 't' ? x % columns * rows + x / columns : x] = part[x];
            free(part);
        }
        if (l[i].how == 't') w.dim[0] = l[i].dim[1], w.dim[1] = l[i].dim[0];
        const bool blocks = type == 8 && w.rank > 1 && w.dim[w.rank - 1] % 32 == 0;
        while (data.data_size % 32) bytes(&data, "", 1);
        text(&list, w.file);
        whole(&list, (uint64_t)(w.rank ? w.rank : 1), 4);
        for (int d = w.rank ? w.rank - 1 : 0; d >= 0; d--) whole(&list, (uint64_t)w.dim[d], 8);
        whole(&list, blocks ? 8 : type == 8 ? 0 : (uint64_t)type, 4);
        whole(&list, data.data_size, 8);
        for (size_t x = 0; blocks && x < line_count(&w); x += 32) q8_0(&data, v + x);
        if (!blocks) single_values(&data, type == 1 ? LTN_F16 : type == 30 ? LTN_BF16 : LTN_F32, v, line_count(&w));
        single_name(&same, w.file, "F32", w.rank, w.dim, line_count(&w) * 4);
        single_values(&same, LTN_F32, v, line_count(&w));
        free(v);
        tensors++;
    }
    bytes(&head, "GGUF", 4);
    whole(&head, 3, 4);
    whole(&head, tensors, 8);
    whole(&head, 1, 8);
    text(&head, "general.architecture");
    whole(&head, 8, 4);
    text(&head, "sd1");
    bytes(&head, list.data, list.data_size);
    while (head.data_size % 32) bytes(&head, "", 1);
    bytes(&head, data.data, data.data_size);
    write_bytes(test_temp(gguf), head.data, head.data_size);
    uint8_t *p = single_whole(&same, &size);
    write_bytes(test_temp(plain), p, size);
    free(p);
    free(l);
    free(head.data);
    free(list.data);
    free(data.data);
}

TEST(whole_models)
{
    static const int types[] = {0, 1, 30, 8};
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, &(ltn_options){.threads = 1}));
    for (int i = 0; i < LTN_COUNT(families); i++)
        for (int k = 0; k < LTN_COUNT(types); k++) {
            ltn_model *m;
            test_name("%s, type %d", families[i].map, types[k]);
            cook_gguf(families[i].map, types[k], "a", "b");
            OK(ctx, ltn_model_open_with(ctx, test_temp("b"), &tokens, &m));
            if (!m) continue;
            answers want = ask(ctx, m);
            ltn_model_close(&m);
            answers_as(ctx, test_temp("a"), &tokens, &want, 0);
            answers_free(ctx, &want);
        }
    ltn_close(&ctx);
}

/* ---- Bad files ---- */

/* A file of settings "k" and tensors "w"; what the numbers say may be wrong. */
typedef struct wrong {
    uint64_t version, tensors, settings, rank, dim, type, offset, value_type;
    size_t data;
    const char *message;
    const char *second; /* another tensor's name */
    uint64_t second_offset;
} wrong;

TEST(bad_files)
{
    static const wrong rows[] = {
        {1, 1, 1, 1, 32, 0, 0, 4, 128, "GGUF of version 1, expected 2 or 3", NULL, 0},
        {3, (uint64_t)1 << 40, 1, 1, 32, 0, 0, 4, 128, " tensors and 1 settings are more than it can hold", NULL, 0},
        {3, 1, UINT64_MAX, 1, 32, 0, 0, 4, 128, " settings are more than it can hold", NULL, 0},
        {3, 3, 1, 1, 32, 0, 0, 4, 160, ": a tensor without a name", NULL, 0},
        {3, 1, 1, 0, 32, 0, 0, 4, 128, "w: expected 1 to 4 dimensions", NULL, 0},
        {3, 1, 1, 5, 32, 0, 0, 4, 128, "w: expected 1 to 4 dimensions", NULL, 0},
        {3, 1, 1, 1, 0, 0, 0, 4, 128, "w: a dimension is 0, or beyond reason", NULL, 0},
        {3, 1, 1, 1, UINT64_MAX, 0, 0, 4, 128, "w: a dimension is 0, or beyond reason", NULL, 0},
        {3, 1, 1, 1, 32, 16, 0, 4, 128, "w: type 16 is not supported", NULL, 0},
        {3, 1, 1, 1, 33, 8, 0, 4, 128, "w: its rows are no whole blocks", NULL, 0},
        {3, 1, 1, 1, 32, 0, 5, 4, 128, "w: its place is no multiple of the file's alignment", NULL, 0},
        {3, 1, 1, 1, 32, 0, 0, 4, 127, "w: ends beyond the file's end (truncated?)", NULL, 0},
        {3, 1, 1, 1, 32, 0, (uint64_t)1 << 62, 4, 128, "w: ends beyond the file's end (truncated?)", NULL, 0},
        {3, 1, 1, 1, 32, 0, 0, 13, 128, "k: a setting of a type that is not known", NULL, 0},
        {3, 2, 1, 1, 32, 0, 0, 4, 256, "overlaps another tensor", "v", 64},
        {3, 2, 1, 1, 32, 0, 0, 4, 256, "w: appears twice", "w", 128},
    };
    ltn_ctx *ctx;
    OK(NULL, ltn_open(&ctx, NULL));
    for (int i = 0; i < LTN_COUNT(rows); i++) {
        const wrong *w = &rows[i];
        single f = {0};
        ltn_tensors *t;
        bytes(&f, "GGUF", 4);
        whole(&f, w->version, 4);
        whole(&f, w->tensors, 8);
        whole(&f, w->settings, 8);
        text(&f, "k");
        whole(&f, w->value_type, 4);
        whole(&f, 7, 4);
        for (int k = 0; k < (w->second ? 2 : 1); k++) {
            text(&f, k ? w->second : "w");
            whole(&f, w->rank, 4);
            whole(&f, w->dim, 8);
            whole(&f, w->type, 4);
            whole(&f, k ? w->second_offset : w->offset, 8);
        }
        while (f.data_size % 32) bytes(&f, "", 1);
        for (size_t k = 0; k < w->data; k++) bytes(&f, "", 1);
        test_name("%s", w->message);
        CHECK(ltn__tensors_parse(ctx, "m.gguf", f.data, f.data_size, &t) == LTN_EFORMAT && !t);
        if (strncmp(ltn_error(ctx), "m.gguf: ", 8) || !strstr(ltn_error(ctx), w->message))
            test_fail(__FILE__, __LINE__, "message: %s", ltn_error(ctx));
        free(f.data);
    }
    ltn_close(&ctx);
}
