/* latino.h - restore images with latent consistency models.
 *
 * y = A x + n is given (a small, blurred, noisy, holed picture), x is sought; the prior on x is a text-conditioned
 * latent consistency or diffusion model, the physics A is kept exactly. Method: LATINO, arXiv 2503.12615.
 *
 *     ltn_ctx *ctx; ltn_model *m; ltn_degradation *d; ltn_run *run; ltn_image y = {0}, x = {0}; ltn_status s;
 *     ltn_open(&ctx, NULL);
 *     ltn_image_read(ctx, "small.png", &y);
 *     ltn_model_open(ctx, "models/prior", &m);
 *     ltn_degradation_open_for(ctx, "downsample:factor=4", &y, &d);
 *     ltn_run_open(ctx, &(ltn_task){.model = m, .degradation = d, .y = &y}, &run);
 *     while (!(s = ltn_run_step(run))) ;
 *     ltn_run_estimate(run, &x);
 *     ltn_image_write(ctx, "large.png", &x, NULL);
 *
 * Every object is opened into an out-pointer and closed by its _close, which takes the address, accepts NULL and
 * leaves NULL behind. Parents outlive children: context > model, degradation > run. `const` parameters are borrowed
 * for the call; nothing else is ever taken over. A context and its children belong to one thread at a time; contexts
 * share nothing. Functions that return ltn_status leave the reason of a failure in ltn_error(ctx). */
#ifndef LATINO_H
#define LATINO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef LTN_API
#define LTN_API
#endif

typedef enum ltn_status {
    LTN_OK = 0,
    LTN_DONE = 1,     /* nothing left to do; not an error */
    LTN_EINVAL = -1,  /* a bad argument, option or spec */
    LTN_ENOMEM = -2,
    LTN_EIO = -3,     /* a file cannot be opened, read or written */
    LTN_EFORMAT = -4, /* a file is not what it should be */
    LTN_ESHAPE = -5,  /* sizes do not fit together */
    LTN_EDEVICE = -6,
    LTN_ECANCEL = -7
} ltn_status;

typedef struct ltn_ctx ltn_ctx;                 /* threads, allocator, log, last error */
typedef struct ltn_model ltn_model;             /* tokenizer + text encoder + UNet + VAE + schedule, mapped read-only */
typedef struct ltn_degradation ltn_degradation; /* A, for one picture size */
typedef struct ltn_run ltn_run;                 /* one restoration in progress */

/* Zero means default, in every field of every struct below. */
typedef struct ltn_options {
    const char *device; /* "cpu"; NULL takes the best */
    int threads;        /* 0: one per core. Beside other busy programs GNU's OpenMP needs GOMP_SPINCOUNT=1000 in the
                         * environment the process starts with (the program latino sees to it): waiting threads spin for
                         * long by default */
    void *(*realloc)(void *user, void *p, size_t n); /* n == 0 frees; NULL: the C library's */
    void (*log)(void *user, int level, const char *line); /* level 0 warning, 1 note; NULL: silent */
    void *user;
    size_t memory;      /* bytes that the process may hold at once; large pictures are then made stripe by stripe, more
                         * slowly; 0: no bound */
} ltn_options;

LTN_API const char *ltn_version(void);
LTN_API ltn_status ltn_open(ltn_ctx **out, const ltn_options *opt);
LTN_API void ltn_close(ltn_ctx **ctx);
LTN_API const char *ltn_error(const ltn_ctx *ctx); /* one line about the last call that failed; never NULL */

/* ---- Pictures ----
 * Planar: data[(c * height + y) * width + x], linear memory, nominal range [0,1] in the file's own encoding (sRGB as
 * a rule); values outside the range and any number of channels are legal in memory and in .npy files.
 * channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. */
typedef struct ltn_meta ltn_meta; /* what travels with a picture: ICC profile, EXIF, settings; opaque */
typedef struct ltn_image {
    int width, height, channels;
    float *data;    /* owned by the caller, allocated by the context when the library fills the struct */
    ltn_meta *meta; /* likewise; NULL: none */
} ltn_image;

typedef struct ltn_write_options {
    int bits;             /* PNG: 8 (default) or 16 */
    int quality;          /* JPEG, WebP: 1..100, default 95; WebP 100 is lossless */
    const char *settings; /* PNG: kept as text chunk "latino", read back by ltn_image_settings */
} ltn_write_options;

/* By content: PNG, JPEG, WebP, or .npy of shape (h, w) or (c, h, w) that holds floats, bool, or uint8 and uint16
 * (scaled to [0,1]). EXIF orientation is applied. */
LTN_API ltn_status ltn_image_read(ltn_ctx *ctx, const char *path, ltn_image *out);
/* By extension: .png .jpg .jpeg .webp (clipped to [0,1]) or .npy (float32, (c, h, w), not clipped). The file appears
 * whole or not at all. */
LTN_API ltn_status ltn_image_write(ltn_ctx *ctx, const char *path, const ltn_image *im, const ltn_write_options *opt);
/* A fresh picture of this size, zeros; meta is copied from `like` when that is not NULL. */
LTN_API ltn_status ltn_image_new(ltn_ctx *ctx, int width, int height, int channels, const ltn_image *like,
                                 ltn_image *out);
LTN_API void ltn_image_free(ltn_ctx *ctx, ltn_image *im);
LTN_API const char *ltn_image_settings(const ltn_image *im); /* the text written with it, or NULL */
/* The quality 1 .. 100 of libjpeg whose tables are nearest to those of the JPEG file that a picture was read from, and
 * in *full_chroma (may be NULL) whether its colours have full resolution; 0: it was not read from one. */
LTN_API int ltn_image_jpeg_quality(const ltn_image *im, int *full_chroma);
/* The quantisation tables themselves, 1 ... 255, 64 after 64 numbers, each in rows from the lowest frequency and turned
 * with the picture where EXIF says so: of Y, Cb and Cr, or of grey; those at the end that repeat the one before are
 * left out. *n (not NULL): how many there are, 1 ... 3. NULL and 0: no JPEG file, or one with steps beyond 255. The
 * picture owns them. */
LTN_API const unsigned char *ltn_image_jpeg_tables(const ltn_image *im, int *n);
/* Antialiased bicubic resize (a = -0.5), channels kept. */
LTN_API ltn_status ltn_image_resize(ltn_ctx *ctx, const ltn_image *im, int width, int height, ltn_image *out);

/* ---- Arrays: .npy files of any rank, for measurements that are no pictures and for a model's parts ---- */
typedef struct ltn_array {
    int rank;
    int64_t dim[8];
    float *data; /* C order */
} ltn_array;
LTN_API ltn_status ltn_array_read(ltn_ctx *ctx, const char *path, ltn_array *out);
LTN_API ltn_status ltn_array_write(ltn_ctx *ctx, const char *path, const ltn_array *a);
LTN_API void ltn_array_free(ltn_ctx *ctx, ltn_array *a);

/* ---- Models: a diffusers folder (model_index.json beside unet/, vae/, text_encoder/, tokenizer/, scheduler/), or one
 * file that holds all parts: .safetensors, .ckpt, .gguf of SD1.x, SD2.x and SDXL. What a file is, is read from its
 * tensors. Diffusions in pixels, which take no text: a folder of unet/ (UNet2DModel) and scheduler/, or both at its
 * top, as diffusers' DDPMPipeline has it; a file of guided-diffusion's weights. Their latent is the picture, 3 channels
 * in [-1, 1]. ---- */
typedef struct ltn_model_options {
    const char *unet;       /* a file or folder whose UNet takes the model's place */
    const char *vae;        /* the same for the autoencoder; a tiny one's two files: "ENCODER+DECODER" */
    const char *tokenizer;  /* a folder of CLIP's vocabulary, or its merges.txt; for files that bring none */
    const char *prediction; /* "epsilon", "sample" or "v_prediction", in place of what the model says */
    const char *const *lora; /* adapters (LoRA), FILE[:scale], merged into the weights that they name: W += scale alpha
                              * / rank up down; a file of which no layer is in the model, or whose shapes do not fit, is
                              * refused */
    int loras;
} ltn_model_options;
LTN_API ltn_status ltn_model_open(ltn_ctx *ctx, const char *path, ltn_model **out);
LTN_API ltn_status ltn_model_open_with(ltn_ctx *ctx, const char *path, const ltn_model_options *opt, ltn_model **out);
LTN_API void ltn_model_close(ltn_model **m);
/* A description in JSON: architecture, sizes, parameter counts, schedule. The model owns it. */
LTN_API const char *ltn_model_describe(const ltn_model *m);
/* What an adapter touches, its ranks and alphas, in JSON, cut to room. LTN_EFORMAT: the file is none, or of a kind that
 * is not supported (DoRA, LoHa, LoKr). */
LTN_API ltn_status ltn_lora_describe(ltn_ctx *ctx, const char *path, char *json, size_t room);
/* What a weight file is, by its tensors, in JSON (4096 bytes are room enough): "kind" (a whole model, a UNet, an
 * autoencoder, half of a tiny one, a text encoder), "family", for each part architecture, parameters and type, "use";
 * of an adapter what ltn_lora_describe says. LTN_EFORMAT: none of these. */
LTN_API ltn_status ltn_file_describe(ltn_ctx *ctx, const char *path, char *json, size_t room);
/* The parts, as diffusers lays them out: text (1, 77, d), for SDXL (1, 78, d), whose last row is the pooled text and
 * zeros; sample and latents (n, c, h, w); pictures (n, 3, 8h, 8w) in [-1, 1] scaled as the VAE's own encode and decode
 * do, latents multiplied by the scaling factor. */
LTN_API ltn_status ltn_model_text(ltn_model *m, const char *prompt, ltn_array *out);
/* text: NULL for a diffusion in pixels. */
LTN_API ltn_status ltn_model_unet(ltn_model *m, const ltn_array *sample, double t, const ltn_array *text,
                                  ltn_array *out);
LTN_API ltn_status ltn_model_encode(ltn_model *m, const ltn_array *picture, ltn_array *out);
LTN_API ltn_status ltn_model_decode(ltn_model *m, const ltn_array *latent, ltn_array *out);
/* The ids of a prompt: 77 (the model's length) of them, padded as the tokenizer pads. */
LTN_API ltn_status ltn_model_tokens(ltn_model *m, const char *prompt, int *ids, int n);

/* ---- Degradations: A, by spec; see ltn_list(LTN_DEGRADATIONS) ----
 * "downsample:factor=4,filter=bicubic", "blur:sigma=3", "inpaint:mask=hole.png", chains
 * "blur:sigma=2+downsample:factor=2" (left acts first). */
LTN_API ltn_status ltn_degradation_open(ltn_ctx *ctx, const char *spec, int width, int height, int channels,
                                        ltn_degradation **out);
/* The same, with the size of x found from that of the measurement y. */
LTN_API ltn_status ltn_degradation_open_for(ltn_ctx *ctx, const char *spec, const ltn_image *y, ltn_degradation **out);
/* A degradation whose parameters the measurement tells: key=auto in the last part of the chain gets its value.
 *     jpeg:quality, chroma   from the file that y was read from; a bare "jpeg" stands for both. Where the file's tables
 *                            are those of no quality, tables=... takes quality's place
 *     jpeg:tables            the file's
 *     blur:sigma             from y's spectrum
 *     blur:kernel            the likeliest of gaussians, discs, lines and the one that is found by edges (Pan et al.
 *                            2014), size x size taps. It is written to the file `kernel`, a picture of 16 bits, the
 *                            largest tap 1, whose name becomes the value; NULL: blur:kernel=auto is refused
 *     downsample:filter      the likeliest by y's spectrum; kernel is another name of it
 * All else is copied. LTN_EINVAL: y does not tell, or out is too small; LTN_ESHAPE: y is too small; LTN_EIO: the file
 * cannot be written. */
LTN_API ltn_status ltn_resolve(ltn_ctx *ctx, const char *spec, const ltn_image *y, const char *kernel, char *out,
                               size_t room);
/* 0: the measurement is no picture (a spectrum, line integrals): it travels as .npy, has no alpha, and --sigma is not
 * estimated from it. */
LTN_API int ltn_degradation_makes_picture(const ltn_degradation *d);
LTN_API void ltn_degradation_close(ltn_degradation **d);
/* y = A x + n; noise by spec ("gaussian:sigma=0.05" in units of [0,1]; NULL: none), drawn from the seed. */
LTN_API ltn_status ltn_degrade(ltn_degradation *d, const ltn_image *x, const char *noise, uint64_t seed, ltn_image *y);
LTN_API ltn_status ltn_adjoint(ltn_degradation *d, const ltn_image *y, ltn_image *x);
/* argmin_x gamma/2 |A x - y|^2 + 1/2 |x - u|^2 */
LTN_API ltn_status ltn_prox(ltn_degradation *d, const ltn_image *y, double gamma, const ltn_image *u, ltn_image *x);
/* The naive inverse: bicubic for downsampling, holes filled by averages, y itself for the rest. */
LTN_API ltn_status ltn_naive(ltn_degradation *d, const ltn_image *y, ltn_image *x);
/* An estimate of white gaussian noise in a picture, from the covariance of its patches, units of [0,1]. */
LTN_API ltn_status ltn_estimate_sigma(ltn_ctx *ctx, const ltn_image *y, double *sigma);
/* A spec of noise whose strength is told by y: a name alone, such as "poisson-gaussian", becomes one with parameters;
 * what already has them, and NULL (nothing, ""), is copied. y is A x + n, its values in [0,1]; only what A measures is
 * looked at. LTN_EINVAL: no such noise, or the measurement is no picture; LTN_ESHAPE: it is none of d's, or too little
 * of it is known to tell. */
LTN_API ltn_status ltn_estimate_noise(ltn_degradation *d, const ltn_image *y, const char *noise, char *spec,
                                      size_t room);
/* The root of the mean variance of the noise in a measurement: of a spec's noise, or (NULL) estimated, which is refused
 * where the measurement is no picture. */
LTN_API ltn_status ltn_noise_level(ltn_degradation *d, const ltn_image *y, const char *noise, double *sigma);

/* ---- Restoring. The loop is the caller's: look at the estimate between steps, or stop. ---- */
typedef struct ltn_task {
    ltn_model *model;
    ltn_degradation *degradation;
    const ltn_image *y;
    double sigma;        /* of the noise in y, units of [0,1]; 0 is exact (no noise); < 0: estimated from y */
    const char *noise_kind; /* "poisson:peak=30": what the noise in y is, by spec; NULL: white and gaussian. With sigma
                             * < 0 its deviation is the spec's */
    const char *solver;  /* NULL: "latino" */
    const char *prompt;  /* NULL: "" */
    const ltn_array *text; /* (1, 77, d), in the prompt's place: as ltn_run_text and ltn_model_text give it; NULL:
                            * none */
    double guidance;     /* told to models that take it as an input (LCM: time_cond_proj_dim), which others do not; 0:
                          * 8.5 */
    uint64_t seed;
    const ltn_array *noise; /* the solver's first standard normal draws (n, c, h, w), for comparisons; the others, and
                             * all when NULL, are from the seed */
} ltn_task;

typedef struct ltn_progress {
    int step, steps; /* done, in all */
    int calls;       /* network calls so far */
    int gradients;   /* of them, those that were differentiated */
    double sigma;    /* of the noise, as given or estimated, units of [0,1] */
    double t;        /* time step of the last call */
    double gamma;    /* weight of the data term in the last step */
    double residual; /* |A x - y| / (sigma sqrt(m)), or |A x - y| / |y| when sigma = 0 */
    double seconds;
} ltn_progress;

LTN_API ltn_status ltn_run_open(ltn_ctx *ctx, const ltn_task *task, ltn_run **out);
LTN_API ltn_status ltn_run_step(ltn_run *r); /* LTN_OK, LTN_DONE, or an error */
LTN_API ltn_progress ltn_run_progress(const ltn_run *r);
LTN_API ltn_status ltn_run_estimate(ltn_run *r, ltn_image *x);
/* The text that conditions the model now, (1, 77, d): the prompt's, or what solver latino-pro made of it. Rank 0:
 * the solver has no model. */
LTN_API ltn_status ltn_run_text(ltn_run *r, ltn_array *out);
/* What such a text says: how near it is to each caption, as the cosine of their differences from the empty prompt's
 * text. */
LTN_API ltn_status ltn_words(ltn_model *m, const ltn_array *text, const char *const *caption, int n, double *score);
LTN_API void ltn_run_cancel(ltn_run *r); /* the one call safe from another thread or a signal */
LTN_API void ltn_run_close(ltn_run **r);

/* A picture from a prompt, as the text-to-image and image-to-image pipelines of diffusers draw it: the sampler's steps
 * from noise, or from another picture. */
typedef struct ltn_generation {
    ltn_model *model;
    const char *prompt;     /* NULL: "" */
    const char *negative;   /* what guidance leads away from; NULL: the model's own text for no prompt. Needs
                             * guidance > 1 */
    double guidance;        /* weight of the prompt against the negative one, above 1 two network entries a step; 0: 1,
                             * which is the prompt alone, or 8.5 for models that take it as an input */
    int width, height;      /* pixels, any; 0: the image's, else the model's own size. Sides that the model cannot take
                             * are drawn larger and cut at the right and below */
    int steps;              /* of the sampler; 0: 8 */
    const char *sampler;    /* "euler:timestep_spacing=trailing", see ltn_list(LTN_SAMPLERS); what it does not give, and
                             * all when NULL, is as the model's scheduler_config.json has it */
    const ltn_image *image; /* what to begin with instead of noise, resized to the size; its alpha is left out */
    double strength;        /* with an image: (0, 1], the part of the steps that is made, from the image noised to their
                             * first; 0: 0.8 */
    uint64_t seed;
    const ltn_array *noise; /* standard normals (draws, c, h, w), h and w of the latent, for comparisons: the first is
                             * what it begins with, draw k + 1 that of step k; later ones, and all when NULL, are from
                             * the seed */
} ltn_generation;
/* out is RGB, nominal range [0,1], not clipped, and the caller's to free. LTN_EINVAL: an unknown sampler or option, or
 * values out of range; LTN_ESHAPE: noise of another shape. */
LTN_API ltn_status ltn_generate(ltn_ctx *ctx, const ltn_generation *g, ltn_image *out);

/* ---- Measuring: pictures of equal size, data range 1, by spec; see ltn_list(LTN_METRICS): "psnr" (dB), "ssim",
 * "ms_ssim:scales=4" ---- */
typedef struct ltn_metric ltn_metric; /* opened once, for any number of pictures */
LTN_API ltn_status ltn_metric_open(ltn_ctx *ctx, const char *spec, ltn_metric **out);
/* Adds a pair; *value (may be NULL) becomes its own distance. After an error nothing is added. "fid" compares two sets:
 * there pictures may differ in size, either may be NULL, and *value is NaN. */
LTN_API ltn_status ltn_metric_add(ltn_metric *m, const ltn_image *a, const ltn_image *b, double *value);
/* Of all pairs added so far: their mean, or the distance of the sets. */
LTN_API ltn_status ltn_metric_finish(ltn_metric *m, double *out);
LTN_API void ltn_metric_close(ltn_metric **m);
/* Open, add, finish and close, for one pair. */
LTN_API ltn_status ltn_measure(ltn_ctx *ctx, const char *metric, const ltn_image *a, const ltn_image *b, double *out);
/* How well x explains y: |A x - y| / (sigma sqrt(m)) over the m values that were measured, 1 when what is left is
 * the noise; |A x - y| / |y| when sigma is 0. Units of [0,1]. */
LTN_API ltn_status ltn_consistency(ltn_degradation *d, const ltn_image *x, const ltn_image *y, double sigma,
                                   double *chi);

/* ---- How fast a model's parts run here ---- */
typedef struct ltn_bench {
    const char *part; /* "unet"; see ltn_list(LTN_MODEL_PARTS) */
    int size;         /* pixels of a side; 0: the model's own */
    int batch;        /* pictures at once; 0: 1 */
    int rounds;       /* runs; 0: 3 */
} ltn_bench;
typedef struct ltn_speed_block { /* the steps of one kind that one kernel runs */
    char name[24];      /* "conv 3x3", "linear" (1x1 convolutions too), "matmul", "attention", "norm", "other" */
    const char *kernel; /* a constant: "winograd:conv2d", or the operation's name where the reference runs */
    int steps;
    double seconds; /* in the fastest run */
    double flop;    /* multiplications and additions of the plain sums */
    double bytes;   /* of arrays read and written, each once for each step; weights as their file holds them */
} ltn_speed_block;
typedef struct ltn_speed {
    int size;               /* as asked for, or the model's own */
    double plan_seconds;    /* from the open model to a plan, weights packed */
    double seconds, median; /* of a run: the fastest, the middle one */
    double flop, bytes;     /* of all blocks */
    size_t plan_bytes;      /* arrays that runs write into */
    ltn_speed_block *block;       /* slowest first; free with ltn_speed_free */
    int blocks;
} ltn_speed;
/* Plans the part if this model has not done so yet, and runs it on random numbers. LTN_EINVAL: an unknown part;
 * LTN_ESHAPE: a size that the model cannot take. */
LTN_API ltn_status ltn_bench_part(ltn_model *m, const ltn_bench *b, ltn_speed *out);
LTN_API void ltn_speed_free(ltn_ctx *ctx, ltn_speed *v);
/* What the machine can do at most, on all threads of the context. */
typedef struct ltn_machine {
    int threads;
    double flops;     /* floating-point operations a second of the library's inner product, its arrays in cache */
    double bandwidth; /* bytes a second of a = b + 3 c, over 400 MB that are allocated for that */
} ltn_machine;
LTN_API ltn_status ltn_bench_machine(ltn_ctx *ctx, ltn_machine *out);

/* ---- What there is. The command line, the tests and the manual are written from this and nothing else. ---- */
typedef enum ltn_kind {
    LTN_OPERATIONS, LTN_DEGRADATIONS, LTN_NOISES, LTN_SOLVERS, LTN_MODELS, LTN_METRICS, LTN_MODEL_PARTS, LTN_SAMPLERS
} ltn_kind;
typedef enum ltn_type { LTN_INT, LTN_FLOAT, LTN_STRING, LTN_CHOICE } ltn_type;
typedef struct ltn_param {
    const char *name, *help;
    ltn_type type;
    double def, min, max; /* LTN_CHOICE: def is the index in choices */
    const char *choices;  /* "bicubic|box|lanczos" */
    int required;         /* no default: the spec must give it */
    const char *alias;    /* another name, or NULL */
} ltn_param;
typedef struct ltn_entry {
    const char *name, *help, *cite;
    const ltn_param *param; /* ends with a NULL name; NULL: none */
    const char *alias;      /* other names people type, "a|b"; or NULL */
} ltn_entry;
LTN_API const ltn_entry *ltn_list(ltn_kind kind, int i); /* NULL past the last */

#ifdef __cplusplus
}
#endif
#endif
