/* model.h - a diffusers folder as a prior: tokenizer, text encoder, UNet, autoencoder, noise schedule.
 * Architectures are read from config.json; the table model.def names those that are known. */
#ifndef LTN_MODEL_H
#define LTN_MODEL_H

#include "../file/file.h"
#include "../graph/graph.h"
#include "sampler.h"

/* ---- Tokenizer: CLIP's byte-pair encoding (tokenizer.c) ---- */
typedef struct ltn_tokenizer ltn_tokenizer;
/* From vocab.json, merges.txt, tokenizer_config.json. */
ltn_status ltn__tokenizer_open(ltn_ctx *ctx, const char *dir, ltn_tokenizer **out);
/* From the files' bytes; config and map may be missing (no data). dir is for messages only. */
typedef struct ltn_tokenizer_files {
    ltn_bytes vocab, merges, config, map; /* vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json */
} ltn_tokenizer_files;
ltn_status ltn__tokenizer_parse(ltn_ctx *ctx, const char *dir, const ltn_tokenizer_files *files, ltn_tokenizer **out);
/* The folder's, with another word for padding. */
ltn_status ltn__tokenizer_open_padded(ltn_ctx *ctx, const char *dir, const char *pad, ltn_tokenizer **out);
/* From merges.txt alone, as CLIP numbers its words: bytes, bytes that end a word, what the merges make, start and end.
 * exclaims: padded with "!", as open_clip does. */
ltn_status ltn__tokenizer_open_merges(ltn_ctx *ctx, const char *path, bool exclaims, ltn_tokenizer **out);
void ltn__tokenizer_close(ltn_tokenizer **t);
/* length ids: BOS, the text's (cut), EOS, padding; the attention of CLIP is causal, so no mask is needed. */
ltn_status ltn__tokenize(ltn_tokenizer *t, const char *utf8, int *ids, int length);
int ltn__tokenizer_length(const ltn_tokenizer *t); /* model_max_length, 77 */
int ltn__tokenizer_size(const ltn_tokenizer *t);   /* highest id + 1: the text encoder must have as many rows */

/* ---- nn.c: how model files are written. An `nn` is passed down by value; in() opens a scope. ---- */
typedef struct ltn_nn {
    ltn_graph *g;
    ltn_tensors *w;
    const ltn_json *config; /* config.json */
    int groups;             /* of group norms */
    double eps;             /* of norms */
    bool plain;             /* this layer has no bias */
    char path[160];         /* "down_blocks.0.resnets.1" */
} ltn_nn;
ltn_nn ltn__in(ltn_nn b, const char *name);
ltn_nn ltn__in_i(ltn_nn b, const char *name, int i); /* name.i */
ltn_nn ltn__plain(ltn_nn b);
bool ltn__has(ltn_nn b, const char *name);
/* The weight path.name, checked against these dimensions; a missing or misshapen one fails the graph with its
 * whole path. */
ltn_node *ltn__param(ltn_nn b, const char *name, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3);
/* Stride 1, odd kernel, same size. */
ltn_node *ltn__nn_conv(ltn_nn b, ltn_node *x, int64_t out, int kernel);
/* 3x3, stride 2, padded by 1 on all sides (pad 1), or right and below only (pad 0). */
ltn_node *ltn__nn_conv_down(ltn_nn b, ltn_node *x, int64_t out, int pad);
ltn_node *ltn__nn_linear(ltn_nn b, ltn_node *x, int64_t out); /* accepts a 1x1 or 1 convolution's weight */
ltn_node *ltn__nn_group_norm(ltn_nn b, ltn_node *x);
ltn_node *ltn__nn_layer_norm(ltn_nn b, ltn_node *x);
/* Attention of x (n,1,t,c) to context (n,1,s,d), NULL: to itself. name: query, key, value and output
 * projections; b.plain is for the first three. */
ltn_node *ltn__nn_attention(ltn_nn b, const char *const name[4], ltn_node *x, ltn_node *context, int heads,
                            bool causal);
/* x + conv2 silu norm2 (conv1 silu norm1 x + time_emb_proj emb), x through conv_shortcut where the width
 * changes; emb NULL: none. */
ltn_node *ltn__nn_resnet(ltn_nn b, ltn_node *x, ltn_node *emb, int64_t out);
/* The same with other names, at another resolution, the time as a factor too. */
typedef struct ltn_resnet {
    struct {
        const char *norm1, *conv1, *time, *norm2, *conv2, *shortcut;
    } name;
    int resample; /* 1: both branches are doubled by repetition before conv1; -1: halved by averaging */
    bool scales;  /* the time's projection has both a factor 1 + s and a summand for norm2's result */
} ltn_resnet;
extern const ltn_resnet ltn__resnet; /* what ltn__nn_resnet does */
ltn_node *ltn__nn_resnet_as(ltn_nn b, ltn_node *x, ltn_node *emb, int64_t out, ltn_resnet how);
/* x + attention of all its places to each other, as diffusers names it now or did; b.groups 0: without its norm. */
ltn_node *ltn__nn_self_attention(ltn_nn b, ltn_node *x, int heads);
/* x + proj_out of depth transformer blocks over themselves and the text (n,1,s,d); in unet.c. */
ltn_node *ltn__nn_transformer(ltn_nn b, ltn_node *x, ltn_node *text, int heads, int depth);
/* After all parts are built: every tensor of the file must have been used. */
ltn_status ltn__nn_check_unused(ltn_ctx *ctx, ltn_tensors *w);

/* ---- config.c: config.json. What is missing or out of range fails the graph with the key's name. ---- */
const char *ltn__config_architecture(const ltn_json *config); /* architectures[0], else _class_name, else "" */
bool ltn__config_has(ltn_nn b, const char *key); /* there, and not null */
/* Whole numbers from 1 to max; absent 0: the key is required. */
int64_t ltn__config_int(ltn_nn b, const char *key, int64_t absent, int64_t max);
/* One number for all, or the i-th of a list. */
int64_t ltn__config_at(ltn_nn b, const char *key, int i, int64_t absent, int64_t max);
double ltn__config_num(ltn_nn b, const char *key, double absent);
bool ltn__config_bool(ltn_nn b, const char *key, bool absent);
int ltn__config_length(ltn_nn b, const char *key, int max);              /* of a list, 1..max; required */
bool ltn__config_is(ltn_nn b, const char *key, int i, const char *word); /* is the list's i-th this word? */
/* What an architecture has no other value for: the key must be absent, null or this word; alternatives "a|b";
 * NULL: false. */
typedef struct ltn_only {
    const char *key, *value;
} ltn_only;
void ltn__config_only(ltn_nn b, const ltn_only *only); /* ends with a NULL key */

/* ---- Architectures: one row of model.def each ---- */
typedef enum ltn_part_kind {
    LTN_TEXT,
    LTN_TEXT_INNER,  /* SDXL's first text encoder: what its last layer but one gives */
    LTN_TEXT_POOLED, /* its second: the same, and "pooled", the projected end of the prompt */
    LTN_UNET,
    LTN_ENCODE,
    LTN_DECODE,
    /* The same with gradients: for the input "cotangent" of out's shape, the outputs "d_sample" and "d_text",
     * "d_picture", "d_latent". */
    LTN_UNET_BY_SAMPLE,
    LTN_UNET_BY_TEXT,
    LTN_UNET_BY_BOTH,
    LTN_ENCODE_BACK,
    LTN_DECODE_BACK,
    LTN_PARTS
} ltn_part_kind;
typedef struct ltn_part_size {
    int64_t n, h, w; /* latents for unet and decode, pixels for encode */
    int64_t tokens;  /* text and unet */
} ltn_part_size;
typedef struct ltn_arch {
    ltn_entry entry;         /* name: the _class_name or architectures[0] in config.json */
    /* Builds this part's graph. Inputs, channels last: "ids" (n,1,tokens,1), "end" (n,1,1,tokens), one at the prompt's
     * end token, else zero; "sample", "time" (the sinusoid, (n,1,1,c)), "text" (n,1,tokens,c), SDXL: one token more,
     * which holds the pooled text and zeros, and "place" (n,1,1,6 c), ltn__place_sinusoids; "picture" in [-1,1];
     * "latent". Output: "out". Latents are the UNet's everywhere: what the autoencoder gives, minus its shift factor,
     * times its scaling factor. */
    void (*build)(ltn_nn b, ltn_part_kind part, ltn_part_size s);
} ltn_arch;
/* guided.c: is this file of weights one of guided-diffusion's? Its configuration, found from its tensors. */
bool ltn__guided_matches(const ltn_tensors *t);
ltn_status ltn__guided_config(ltn_ctx *ctx, ltn_tensors *t, ltn_arena *arena, ltn_json **out);
const ltn_arch *ltn__arch_row(int i);
const ltn_entry *ltn__arch_entry(int i);

/* A part for one shape, planned, or in stripes; kept by the model until it closes. */
typedef struct ltn_part {
    ltn_part_kind kind;
    int64_t n, h, w;
    ltn_graph *graph;
    ltn_plan *plan;
    ltn_stripes *stripes; /* in the plan's place */
    struct ltn_part *next;
} ltn_part;

struct ltn_model {
    ltn_ctx *ctx;
    ltn_arena arena;           /* the strings and configurations below */
    char *path;
    int folders;               /* text_encoder, unet, vae; SDXL: text_encoder_2 */
    ltn_json *config[4];
    const ltn_arch *arch[4];
    ltn_tensors *tensors[4];
    ltn_tensors **source;      /* files that those are views of */
    int sources;
    ltn_json *index;           /* model_index.json; NULL: the model is one file */
    ltn_tokenizer *tokenizer[2];
    ltn_schedule schedule;
    int latent_channels, factor; /* of the autoencoder: 8 */
    int sample_size;           /* latent side the UNet was trained at */
    int tokens;                /* of a prompt, 77 */
    int text_length, text_width; /* of a text: its tokens and, for SDXL, a row that holds the pooled text */
    int pooled_width;          /* 0: no such row */
    bool pixels;               /* neither text nor autoencoder: a diffusion in pixels */
    bool zero_empty;           /* no text at all is zeros, not the empty prompt's text */
    bool finite[LTN_PARTS];    /* this part's weights have been looked through for NaN and infinity */
    ltn_part *parts;
    char *description;
    ltn_json *calibration;     /* latino.json beside model_index.json, or NULL */
};
/* ---- calibration.c: latino.json ---- */
enum { LTN_OCTAVES = 7 }; /* of grey, then of colour, in its rows of spectra */
enum { LTN_LOG_X = 1, LTN_LOG_Y = 2 };
/* Refuses tables that are not known or not such rows as are looked up. */
ltn_status ltn__calibration_check(ltn_ctx *ctx, const char *path, const ltn_json *calibration);
/* Column `of` at x, linear between the rows (of the logarithm of x, of the logarithm of the column), ends held; absent
 * where there is no such table. calibration: checked, or NULL. */
double ltn__calibrated(const ltn_json *calibration, const char *table, int of, double x, int scale, double absent);

/* ---- lora.c: adapters. FILE or FILE:scale, merged into the model's weights, before the first plan. ---- */
ltn_status ltn__lora_merge(ltn_model *m, const char *spec);
bool ltn__lora_matches(ltn_tensors *t); /* is this file an adapter? */
ltn_status ltn__lora_describe(ltn_ctx *ctx, ltn_tensors *t, char *json, size_t room); /* as ltn_lora_describe */
/* The plan of a part for this shape, made on first use. */
ltn_status ltn__model_part(ltn_model *m, ltn_part_kind kind, int64_t n, int64_t h, int64_t w, ltn_part **out);
const ltn_entry *ltn__part_entry(int i); /* the parts by name, as ltn_bench_part takes them */
/* The autoencoder's half for one picture of this shape, LTN_ENCODE or LTN_DECODE: in stripes where the context's bound
 * on memory leaves too little for a plan. Its arrays by name; its run. */
ltn_status ltn__model_coder(ltn_model *m, ltn_part_kind kind, int64_t h, int64_t w, ltn_part **out);
float *ltn__coder_data(ltn_part *p, const char *name);
ltn_status ltn__coder_run(ltn_model *m, ltn_part *p);
/* The sinusoid that goes into the UNet's time embedding, ltn__time_width values. */
void ltn__time_sinusoid(const ltn_model *m, double t, float *out);
int ltn__time_width(const ltn_model *m);
int ltn__unet_factor(const ltn_model *m);          /* divides the sides of its latents */
#define LTN_GUIDANCE 8.5 /* what such models are told where nothing is said: their pipeline's default */
/* Tells a UNet's plan the guidance w, if it takes that; it stays until another is told. */
void ltn__tell_guidance(ltn_plan *unet, double w);
bool ltn__unet_takes_guidance(const ltn_model *m); /* as an input (LCM): time_cond_proj_dim */
/* Those of SDXL's six numbers, in pixels: height and width of the whole picture, top and left of the part of it that
 * the UNet sees, height and width of that part. */
void ltn__place_sinusoids(const ltn_model *m, const int64_t place[6], float *out);
/* The text that stands for no text: the null of guidance, from which others are counted. */
ltn_status ltn__model_empty(ltn_model *m, ltn_array *out);
/* Planar (n, c, h, w) <-> channels last. */
void ltn__to_last(const float *planar, float *last, int64_t n, int64_t c, int64_t hw);
void ltn__to_planar(const float *last, float *planar, int64_t n, int64_t c, int64_t hw);

#endif
