/* single.h - whole models in one file in the original layout, and the same as a folder, from tests/golden/model/X.map
 * (tools/golden/single.py), by the formula of recipe.h. */
#ifndef LTN_SINGLE_H
#define LTN_SINGLE_H

#include "folder.h"

/* A tensor of the folder, and where a single file has it. */
typedef struct line {
    char file[200], part[32], name[200], how;
    long dim[4];
    int rank;
} line;

static inline int read_map(const char *map, line **out)
{
    char text[512];
    int n = 0, room = 0;
    *out = NULL;
    FILE *in = fopen(golden_name(map, ".map"), "r");
    while (in && fgets(text, sizeof text, in)) {
        line l = {.dim = {1, 1, 1, 1}};
        if (text[0] == '#') continue;
        l.rank = sscanf(text, "%199s %31s %199s %c %ld %ld %ld %ld", l.file, l.part, l.name, &l.how, &l.dim[0],
                        &l.dim[1], &l.dim[2], &l.dim[3]) -
                 4;
        if (n == room) *out = realloc(*out, (size_t)(room = 2 * room + 64) * sizeof **out);
        (*out)[n++] = l;
    }
    if (in) fclose(in);
    CHECK(n > 0);
    return n;
}

static inline size_t line_count(const line *l)
{
    return (size_t)(l->dim[0] * l->dim[1] * l->dim[2] * l->dim[3]);
}

/* The tensor's values by the formula. */
static inline float *line_values(const line *l)
{
    const size_t n = line_count(l);
    float *v = malloc(n * sizeof *v);
    const rule law = rule_of(l->name, l->rank, (double)n / (double)l->dim[0]);
    for (size_t i = 0; i < n; i++) v[i] = weight_value(law, noise(hash(l->name), (uint32_t)i));
    return v;
}

/* Bytes that a file is made of: a header of JSON, then data. */
typedef struct single {
    char *header;
    uint8_t *data;
    size_t header_size, data_size;
} single;

/* Opens a tensor in the header; its data are appended next. */
static inline void single_name(single *s, const char *name, const char *type, int rank, const long *dim, size_t bytes)
{
    s->header = room_for(s->header, s->header_size, 512);
    char *h = s->header + s->header_size;
    h += sprintf(h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", s->header_size ? "," : "{", name, type);
    for (int k = 0; k < rank; k++) h += sprintf(h, "%s%ld", k ? "," : "", dim[k]);
    h += sprintf(h, "],\"data_offsets\":[%zu,%zu]}", s->data_size, s->data_size + bytes);
    s->header_size = (size_t)(h - s->header);
}

static inline void single_data(single *s, const void *p, size_t n)
{
    s->data = room_for(s->data, s->data_size, n);
    memcpy(s->data + s->data_size, p, n);
    s->data_size += n;
}

static inline uint8_t *single_whole(single *s, size_t *size)
{
    const uint64_t header = (s->header_size + 1 + 7) / 8 * 8;
    *size = 8 + header + s->data_size;
    uint8_t *p = malloc(*size);
    memcpy(p, &header, 8);
    memset(p + 8, ' ', header);
    memcpy(p + 8, s->header, s->header_size);
    p[8 + s->header_size] = '}';
    memcpy(p + 8 + header, s->data, s->data_size);
    free(s->header);
    free(s->data);
    return p;
}

static inline void single_values(single *s, ltn_dtype type, const float *v, size_t n)
{
    uint8_t some[4];
    for (size_t i = 0; i < n; i++) single_data(s, some, put(some, type, v[i]));
}

/* One part's folder, f32. */
static inline void write_map_part(const line *l, int n, const char *part, const char *config)
{
    char path[256];
    single s = {0};
    size_t size;
    snprintf(path, sizeof path, "m/%s", part);
    mkdir(test_temp(path), 0755);
    for (int i = 0; i < n; i++) {
        if (strcmp(l[i].part, part)) continue;
        float *v = line_values(&l[i]);
        single_name(&s, l[i].name, "F32", l[i].rank, l[i].dim, line_count(&l[i]) * 4);
        single_values(&s, LTN_F32, v, line_count(&l[i]));
        free(v);
    }
    uint8_t *p = single_whole(&s, &size);
    snprintf(path, sizeof path, "m/%s/%s", part,
             strncmp(part, "text", 4) ? "diffusion_pytorch_model.safetensors" : "model.safetensors");
    write_bytes(test_temp(path), p, size);
    free(p);
    snprintf(path, sizeof path, "m/%s/config.json", part);
    const char *text = read_text(golden_name(config, ".json"));
    write_bytes(test_temp(path), text, strlen(text));
}

typedef struct family {
    const char *map, *unet, *vae, *text, *text_2, *prediction;
    const char *pad; /* of the first tokenizer */
} family;

static inline const char *write_map_folder(const family *f)
{
    char command[512];
    line *l;
    const int n = read_map(f->map, &l);
    snprintf(command, sizeof command, "rm -rf '%s'", test_temp("m"));
    if (system(command)) test_fail(__FILE__, __LINE__, "%s", command);
    mkdir(test_temp("m"), 0755);
    const char *index = f->text_2 ? "{\"unet\": [], \"vae\": [], \"text_encoder\": [], \"text_encoder_2\": []}"
                                  : "{\"unet\": [], \"vae\": [], \"text_encoder\": []}";
    write_bytes(test_temp("m/model_index.json"), index, strlen(index));
    write_map_part(l, n, "unet", f->unet);
    write_map_part(l, n, "vae", f->vae);
    write_map_part(l, n, "text_encoder", f->text);
    write_tokenizer("tokenizer", f->pad);
    if (f->text_2) {
        write_map_part(l, n, "text_encoder_2", f->text_2);
        write_tokenizer("tokenizer_2", "\"pad_token\": \"!\"");
    }
    mkdir(test_temp("m/scheduler"), 0755);
    const char *text = read_text(golden_name("ddim_sd", ".json"));
    write_bytes(test_temp("m/scheduler/scheduler_config.json"), text, strlen(text));
    free(l);
    return test_temp("m");
}

/* What can be different about a file. */
typedef struct change {
    ltn_dtype type;
    const char *without, *with; /* a tensor of the file's to leave out, one to add */
    const char *only;           /* of these parts */
    const char *strip;          /* off the names */
    const char *empty;          /* a tensor of no elements to add */
} change;

static inline uint8_t *cook_single(const char *map, const change *c, size_t *size)
{
    static const char *const types[] = {[LTN_F32] = "F32", [LTN_F16] = "F16", [LTN_BF16] = "BF16"};
    line *l;
    single s = {0};
    const int n = read_map(map, &l);
    const size_t each = c->type == LTN_F32 ? 4 : 2, strip = c->strip ? strlen(c->strip) : 0;
    for (int i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && strchr("kv", l[k].how) && !strcmp(l[k].file, l[i].file);) k++;
        if ((c->without && !strcmp(c->without, l[i].file)) || (c->only && strcmp(c->only, l[i].part))) continue;
        line whole = l[i];
        whole.dim[0] *= k - i;
        if (l[i].how == 't') whole.dim[0] = l[i].dim[1], whole.dim[1] = l[i].dim[0];
        single_name(&s, l[i].file + strip, types[c->type], whole.rank, whole.dim, line_count(&whole) * each);
        for (int j = i; j < k; j++) {
            float *v = line_values(&l[j]), *turned = malloc(line_count(&l[j]) * sizeof *turned);
            const long rows = l[j].dim[0], columns = l[j].dim[1];
            for (long x = 0; l[j].how == 't' && x < rows * columns; x++)
                turned[x % columns * rows + x / columns] = v[x];
            single_values(&s, c->type, l[j].how == 't' ? turned : v, line_count(&l[j]));
            free(v);
            free(turned);
        }
    }
    if (c->empty) single_name(&s, c->empty, "F32", 1, (const long[]){0}, 0);
    if (c->with) {
        single_name(&s, c->with, types[c->type], 1, (const long[]){3}, 3 * each);
        single_values(&s, c->type, (const float[]){1, 2, 3}, 3);
    }
    free(l);
    return single_whole(&s, size);
}

static inline const char *write_single(const char *name, const char *map, const change *c)
{
    size_t size;
    uint8_t *p = cook_single(map, c, &size);
    write_bytes(test_temp(name), p, size);
    free(p);
    return test_temp(name);
}

/* ---- What a model answers ---- */
typedef struct answers {
    ltn_array text, unet, latent, picture;
} answers;

static inline void answers_free(ltn_ctx *ctx, answers *a)
{
    ltn_array_free(ctx, &a->text);
    ltn_array_free(ctx, &a->unet);
    ltn_array_free(ctx, &a->latent);
    ltn_array_free(ctx, &a->picture);
}

static inline answers ask(ltn_ctx *ctx, ltn_model *m)
{
    answers a = {0};
    ltn_array z = {.rank = 4, .dim = {1, 4, 8, 8}, .data = values("sample", 256, 2)};
    ltn_array x = {.rank = 4, .dim = {1, 3, 16, 16}, .data = values("picture", 768, 1)};
    OK(ctx, ltn_model_text(m, "a photo of a cat", &a.text));
    if (a.text.data) OK(ctx, ltn_model_unet(m, &z, 519, &a.text, &a.unet));
    OK(ctx, ltn_model_encode(m, &x, &a.latent));
    OK(ctx, ltn_model_decode(m, &z, &a.picture));
    free(z.data);
    free(x.data);
    return a;
}

static inline double apart(const ltn_array *a, const ltn_array *b)
{
    size_t n = 1;
    if (!a->data || !b->data || a->rank != b->rank || memcmp(a->dim, b->dim, sizeof a->dim)) return INFINITY;
    for (int k = 0; k < a->rank; k++) n *= (size_t)a->dim[k];
    return test_error(a->data, b->data, n);
}

/* 0: bit-identical. */
static inline void same_answers(const answers *a, const answers *b, double tolerance)
{
    NEAR(apart(&a->text, &b->text), 0, tolerance);
    NEAR(apart(&a->unet, &b->unet), 0, tolerance);
    NEAR(apart(&a->latent, &b->latent), 0, tolerance);
    NEAR(apart(&a->picture, &b->picture), 0, tolerance);
}

static const family families[] = {
    {"single_sd1", "single_unet_sd1", "single_vae", "single_text", NULL, NULL, "\"pad_token\": \"<|endoftext|>\""},
    {"single_sd2", "single_unet_sd2", "single_vae", "single_text_open", NULL, NULL, "\"pad_token\": \"!\""},
    {"single_sdxl", "single_unet_sdxl", "single_vae_xl", "single_text", "single_text_2", NULL,
     "\"pad_token\": \"<|endoftext|>\""},
};

static inline answers folder_answers(ltn_ctx *ctx, const family *f)
{
    ltn_model *m;
    answers a = {0};
    OK(ctx, ltn_model_open(ctx, write_map_folder(f), &m));
    if (m) a = ask(ctx, m);
    ltn_model_close(&m);
    return a;
}

/* The file answers as the folder does. */
static inline void answers_as(ltn_ctx *ctx, const char *path, const ltn_model_options *opt, const answers *want,
                              double tolerance)
{
    ltn_model *m;
    OK(ctx, ltn_model_open_with(ctx, path, opt, &m));
    if (m) {
        answers a = ask(ctx, m);
        same_answers(&a, want, tolerance);
        answers_free(ctx, &a);
    }
    ltn_model_close(&m);
}

#endif
