/* model.h - a diffusers folder as a prior: tokenizer, text encoder, UNet, autoencoder, noise schedule.
 * Architectures are read from config.json; the table model.def names those that are known. */
#ifndef LTN_MODEL_H
#define LTN_MODEL_H

#include "../file/file.h"
#include "../graph/graph.h"

/* ---- Tokenizer: CLIP's byte-pair encoding (tokenizer.c) ---- */
typedef struct ltn_tokenizer ltn_tokenizer;
ltn_status ltn__tokenizer_open(ltn_ctx *ctx, const char *dir, ltn_tokenizer **out); /* vocab.json, merges.txt, tokenizer_config.json */
void ltn__tokenizer_close(ltn_tokenizer **t);
/* length ids: BOS, the text's (cut), EOS, padding; the attention of CLIP is causal, so no mask is needed. */
ltn_status ltn__tokenize(ltn_tokenizer *t, const char *utf8, int *ids, int length);
int ltn__tokenizer_length(const ltn_tokenizer *t); /* model_max_length, 77 */

/* ---- Schedule (schedule.c): alpha-bar of the 1,000 training steps, from scheduler_config.json ---- */
typedef enum ltn_prediction { LTN_EPSILON, LTN_SAMPLE, LTN_V } ltn_prediction;
typedef struct ltn_schedule {
    char name[64];        /* _class_name */
    int train_steps;
    double *alpha_bar;    /* train_steps of them */
    double final_alpha;   /* set_alpha_to_one */
    ltn_prediction prediction;
    bool consistency;     /* LCMScheduler: c_skip, c_out act on the prediction */
    int original_steps, steps_offset;
    double timestep_scaling, sigma_data; /* LCM: 10, 0.5 */
    char spacing[16];
} ltn_schedule;
ltn_status ltn__schedule_read(ltn_ctx *ctx, const char *path, ltn_schedule *out);
void ltn__schedule_free(ltn_ctx *ctx, ltn_schedule *s);
/* The clean latent from a network output at time t (elementwise, n values): z0 = c_skip z + c_out x0(z, out). */
void ltn__schedule_predict(const ltn_schedule *s, int t, const float *z, const float *net, float *z0, size_t n);
/* The scheduler's own n time steps, largest first, as diffusers sets them. */
int ltn__schedule_steps(const ltn_schedule *s, int n, int *t);

/* ---- nn.c: how model files are written. An `nn` is passed down by value; in() opens a scope. ---- */
typedef struct ltn_nn {
    ltn_graph *g;
    ltn_tensors *w;
    const char *path;   /* "down_blocks.0.resnets.1" */
    int groups;         /* group norm */
    double eps;
} ltn_nn;
ltn_nn ltn__in(ltn_nn b, const char *name);
ltn_nn ltn__in_i(ltn_nn b, const char *name, int i); /* name.i */
bool ltn__has(ltn_nn b, const char *name);
/* The weight path.name, checked against these dimensions (0: any); a missing or misshapen one fails the graph with its
 * whole path. */
ltn_node *ltn__param(ltn_nn b, const char *name, int rank, int64_t d0, int64_t d1, int64_t d2, int64_t d3);
ltn_node *ltn__nn_conv(ltn_nn b, ltn_node *x, int64_t out, int kernel);           /* stride 1, same size; bias if there is one */
ltn_node *ltn__nn_conv_down(ltn_nn b, ltn_node *x, int64_t out, int pad);        /* 3x3 stride 2; pad 1: symmetric; 0: right and bottom */
ltn_node *ltn__nn_linear(ltn_nn b, ltn_node *x, int64_t out);                     /* accepts a 1x1 convolution's weight */
ltn_node *ltn__nn_group_norm(ltn_nn b, ltn_node *x);
ltn_node *ltn__nn_layer_norm(ltn_nn b, ltn_node *x);
/* After all parts are built: every tensor of the file must have been used. */
ltn_status ltn__nn_check_unused(ltn_ctx *ctx, ltn_tensors *w);

/* ---- Architectures: one row of model.def each ---- */
typedef enum ltn_part_kind { LTN_TEXT, LTN_UNET, LTN_ENCODE, LTN_DECODE, LTN_PARTS } ltn_part_kind;
typedef struct ltn_arch {
    ltn_entry entry;         /* name: the _class_name or architectures[0] in config.json */
    /* Builds this part's graph from inputs of size n, h, w (in that part's own units: latents for unet and decode,
     * pixels for encode, tokens for text). Input names: "ids"; "sample", "time" (the sinusoid, (n,1,1,c)), "text";
     * "picture"; "latent". Output name: "out". */
    void (*build)(ltn_nn b, const ltn_json *config, ltn_part_kind part, int64_t n, int64_t h, int64_t w);
} ltn_arch;
const ltn_arch *ltn__arch_row(int i);
const ltn_entry *ltn__arch_entry(int i);

/* A part planned for one shape; kept by the model until it closes. */
typedef struct ltn_part {
    ltn_part_kind kind;
    int64_t n, h, w;
    ltn_graph *graph;
    ltn_plan *plan;
    struct ltn_part *next;
} ltn_part;

struct ltn_model {
    ltn_ctx *ctx;
    char *path;
    ltn_arena arena;
    ltn_json *config[3];       /* text_encoder, unet, vae */
    const ltn_arch *arch[3];
    ltn_tensors *tensors[3];
    ltn_tokenizer *tokenizer;
    ltn_schedule schedule;
    int latent_channels, factor; /* of the autoencoder: 8 */
    int sample_size;           /* latent side the UNet was trained at */
    int text_length, text_width;
    double scaling, shift;     /* z = (latent - shift) * scaling */
    ltn_part *parts;
    char *description;
    ltn_json *calibration;     /* latino.json beside model_index.json, or NULL */
};
/* The plan of a part for this shape, made on first use. */
ltn_status ltn__model_part(ltn_model *m, ltn_part_kind kind, int64_t n, int64_t h, int64_t w, ltn_part **out);
/* The sinusoid that goes into the UNet's time embedding, `width` values. */
void ltn__time_sinusoid(const ltn_model *m, double t, float *out);
int ltn__time_width(const ltn_model *m);
/* Planar (n, c, h, w) <-> channels last. */
void ltn__to_last(const float *planar, float *last, int64_t n, int64_t c, int64_t hw);
void ltn__to_planar(const float *last, float *planar, int64_t n, int64_t c, int64_t hw);

#endif
