/* cmd.h - the program: each verb is one file that ends with its descriptor, and one line in verb.def. The
 * help, the manual page and the shell completion are written from these tables and from ltn_list. */
#ifndef CMD_H
#define CMD_H

#include <stdbool.h>
#include <stdio.h>

#include <latino.h>

enum { CMD_DONE = 0, CMD_FAILED = 1, CMD_USAGE = 2 }; /* exit codes; 128 + n after signal n */
enum { CMD_MAXOPTION = 40, CMD_MAXOPERAND = 2, CMD_MAXMORE = 64 };

typedef enum cmd_type { CMD_FLAG, CMD_TEXT, CMD_FILE, CMD_CHOICE, CMD_INT, CMD_REAL, CMD_SIZE, CMD_SPEC } cmd_type;
typedef struct cmd_option {
    const char *name;  /* "sigma"; one letter is written -o */
    const char *value; /* as the help shows it: "S"; of a choice, the words: "8|16" */
    const char *help;
    const char *def;   /* shown, and used when the option is absent; NULL: none */
    cmd_type type;
    double min, max;   /* of numbers */
    ltn_kind kind;     /* of specs: the table that names come from */
    bool required;
    bool automatic;    /* "auto" is the same as absent */
    bool repeat;       /* given again, it adds */
    bool setting;      /* decides the result: kept in the picture's settings */
} cmd_option;

typedef struct cmd_args cmd_args;
typedef struct cmd_verb {
    const char *name, *operands, *summary;
    const char *about; /* a paragraph of the help and the manual */
    int min_operands, max_operands;
    const cmd_option *option; /* ends with a NULL name */
    int (*run)(ltn_ctx *ctx, const cmd_args *a); /* returns an exit code, its message printed */
} cmd_verb;
typedef struct cmd_more {
    int option; /* its place in verb->option */
    const char *value;
} cmd_more;
struct cmd_args {
    const cmd_verb *verb;
    const char *operand[CMD_MAXOPERAND];
    int operands;
    const char *value[CMD_MAXOPTION]; /* by place in verb->option; NULL: not given */
    cmd_more more[CMD_MAXMORE]; /* what is given after the first time */
    int mores;
    bool help;
};

/* Options that several verbs share. */
#define CMD_OUT(what) \
    {.name = "o", .value = "OUT", .type = CMD_FILE, .required = true, .help = what}
#define CMD_DEGRADATION                                                                               \
    {                                                                                                 \
        .name = "degradation", .value = "SPEC", .type = CMD_SPEC, .kind = LTN_DEGRADATIONS,           \
        .required = true, .setting = true,                                                            \
        .help = "what was done to the picture, for instance downsample:factor=4,filter=bicubic or a " \
                "chain blur:sigma=2+downsample:factor=2 (latino list degradations)"                   \
    }
#define CMD_SEED                                                                                            \
    {.name = "seed", .value = "N", .type = CMD_INT, .max = 9007199254740992., .def = "0", .setting = true,  \
     .help = "of the random numbers; the same seed gives the same picture"}
#define CMD_MODEL                                                                                           \
    {.name = "model", .value = "PATH", .type = CMD_FILE, .setting = true,                                   \
     .help = "a diffusers folder, or one .safetensors, .ckpt or .gguf file of SD1, SD2 or SDXL; without it " \
             "$LATINO_MODEL, then the small prior that comes with latino"},                                 \
    CMD_PARTS
/* What stands in for a part of the model, or says what its file does not. */
#define CMD_PARTS                                                                                           \
    {.name = "unet", .value = "PATH", .type = CMD_FILE, .setting = true,                                    \
     .help = "a file or folder whose UNet takes the place of the model's"},                                 \
    {.name = "vae", .value = "PATH", .type = CMD_FILE, .setting = true,                                     \
     .help = "the same for the autoencoder; ENCODER+DECODER are the two files of a tiny one"},              \
    {.name = "tokenizer", .value = "PATH", .type = CMD_FILE, .setting = true,                               \
     .help = "a folder with vocab.json and merges.txt, or a merges.txt; without it the model's own, or CLIP's"}, \
    {.name = "prediction", .value = "epsilon|sample|v_prediction", .type = CMD_CHOICE, .setting = true,     \
     .help = "what the UNet predicts, in place of what the model says"}
#define CMD_LORA                                                                                            \
    {.name = "lora", .value = "FILE[:SCALE]", .type = CMD_FILE, .setting = true, .repeat = true,            \
     .help = "an adapter (LoRA, LCM-LoRA) that is merged into the model; given again, one more"}
#define CMD_THREADS                                                              \
    {                                                                            \
        .name = "threads", .value = "N", .type = CMD_INT, .min = 1, .max = 1024, \
        .help = "processor threads; without it one per core"                     \
    }
#define CMD_MEMORY                                                                                     \
    {                                                                                                  \
        .name = "memory", .value = "SIZE", .type = CMD_SIZE, .min = 1e8, .max = 1e15,                  \
        .help = "bytes to make do with, as 800M or 2.5G; large pictures then take longer"              \
    }
#define CMD_BITS \
    {.name = "bits", .value = "8|16", .type = CMD_CHOICE, .def = "8", .help = "of a PNG's samples"}
#define CMD_QUALITY \
    {.name = "quality", .value = "Q", .type = CMD_INT, .min = 1, .max = 100, .def = "95", \
     .help = "of JPEG and WebP; 100 makes WebP lossless"}
#define CMD_FROM                                                                                            \
    {.name = "from", .value = "FILE", .type = CMD_FILE,                                                     \
     .help = "takes what is not given here from the settings that latino wrote into this PNG"}

/* ---- args.c ---- */
const cmd_verb *cmd_verb_at(int i); /* NULL past the last */
/* Reads the words after the verb; names and numbers are checked, CMD_USAGE has left its message. */
int cmd_parse(const cmd_verb *verb, int n, const char *const *word, cmd_args *a);
/* Fills what `a` does not give from `from`. */
void cmd_fill(cmd_args *a, const cmd_args *from);
/* Whether everything required is there. */
int cmd_check(const cmd_args *a);
const char *cmd_text(const cmd_args *a, const char *name); /* given or default; NULL: neither */
const char *cmd_nth(const cmd_args *a, const char *name, int i); /* the i-th time it is given; NULL past the last */
double cmd_number(const cmd_args *a, const char *name, double absent); /* 2.5G is 2.5e9 */
bool cmd_given(const cmd_args *a, const char *name);
/* Cuts the first spec off a list "psnr,ms_ssim:scales=4,ssim"; a comma before key= belongs to the spec. False: the
 * list is at its end. A spec that does not fit comes out cut. */
bool cmd_next_spec(const char **list, char *out, size_t room);
void cmd_set(cmd_args *a, const char *name, const char *value);
/* The word of the list nearest to `word`, or NULL if none is near; list(i) is NULL past the last. */
const char *cmd_nearest(const char *word, const char *(*list)(const void *self, int i), const void *self);

/* ---- settings.c: a command as one line of text, quoted as a shell wants it ---- */
void cmd_settings(const cmd_args *a, const char *in, char *text, size_t room);
/* Reads the settings in picture `path`; `room` holds the words. */
int cmd_settings_read(ltn_ctx *ctx, const char *path, const cmd_verb *verb, char *text, size_t room,
                      cmd_args *out);

/* ---- help.c ---- */
void cmd_help(FILE *f);
void cmd_verb_help(FILE *f, const cmd_verb *verb);
/* ---- manual.c ---- */
void cmd_manual(FILE *f);
void cmd_completion(FILE *f); /* for bash */

/* ---- say.c: messages and progress on stderr, signals ---- */
void cmd_say(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "latino: ..." */
int cmd_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* the same; CMD_USAGE */
int cmd_fail(ltn_ctx *ctx, ltn_status s); /* says ltn_error; returns the exit code */
void cmd_progress(const ltn_progress *p); /* one line, rewritten, on a terminal only */
void cmd_progress_end(void);
void cmd_catch_signals(void);
void cmd_watch(ltn_run *run); /* a signal cancels this run; NULL: none any more */
int cmd_caught(void);         /* the signal, or 0 */
double cmd_peak_memory(void); /* of this process so far, bytes */
void cmd_forget_peak(void);   /* so far begins anew, where the system can do that */
double cmd_seconds(void);     /* of a clock that only goes on */
void cmd_hold(bool on);       /* while on, a signal waits */

/* ---- files.c ---- */
typedef struct cmd_path {
    char s[4096];
} cmd_path;
bool cmd_is_folder(const char *path);
cmd_path cmd_join(const char *folder, const char *name);
/* The pictures of a folder by name, sorted; free with cmd_names_free. */
int cmd_names(const char *folder, char ***names, int *n);
void cmd_names_free(char **names, int n);
int cmd_make_folder(const char *path);
bool cmd_same_file(const char *a, const char *b);
/* A complaint now, before the work, about a file that could not be written after it. */
int cmd_check_place(const char *path);
int cmd_check_out(const char *path); /* the same for a picture, whose name says its format */
ltn_status cmd_save(ltn_ctx *ctx, const char *path, const ltn_image *im, const cmd_args *a,
                    const char *settings);
ltn_status cmd_save_array(ltn_ctx *ctx, const char *path, const ltn_array *a);
int cmd_write_text(const char *path, const char *text); /* whole or not at all; "-" is standard output */
/* Options given by the user, else $LATINO_MODEL, else the prior of the build tree or the installation. */
int cmd_model_path(const cmd_args *a, cmd_path *out);
/* Opens it with what else the command says of it. */
ltn_status cmd_model_open(ltn_ctx *ctx, const char *path, const cmd_args *a, ltn_model **out);

/* ---- json.c: writing ---- */
typedef struct cmd_json {
    FILE *f;
    int depth;
    bool begun; /* something stands before, at this depth */
} cmd_json;
void cmd_json_open(cmd_json *j, const char *key, char bracket); /* '{' or '['; key NULL inside a list */
void cmd_json_close(cmd_json *j, char bracket);
void cmd_json_text(cmd_json *j, const char *key, const char *value); /* NULL: null */
void cmd_json_number(cmd_json *j, const char *key, double value);    /* not finite: null */
void cmd_json_bool(cmd_json *j, const char *key, bool value);
/* Prints JSON as indented "key: value" lines. */
void cmd_json_readable(FILE *f, const char *json);

/* ---- samples.c: several draws of one picture, n >= 2 of them ---- */
/* Their mean, with all channels, and their deviation, without alpha. */
ltn_status cmd_spread(ltn_ctx *ctx, const ltn_image *draw, int n, ltn_image *mean, ltn_image *deviation);
double cmd_spread_mean(const ltn_image *deviation); /* the root of the mean square */
typedef struct cmd_calibration {
    double z;        /* rms distance of truth and mean over what the spread says; above 1 the spread is too small */
    double coverage; /* share of the truth's values in the interval that holds a draw with 90 %; NaN for n < 19 */
} cmd_calibration;
void cmd_spread_check(const ltn_image *draw, int n, const ltn_image *mean, const ltn_image *deviation,
                      const ltn_image *truth, cmd_calibration *out);
/* The deviation over all colours in false colours, a bar with numbers at its right. */
ltn_status cmd_spread_map(ltn_ctx *ctx, const ltn_image *deviation, ltn_image *out);

/* ---- words.c: what a text says, by a list of captions ---- */
typedef struct cmd_words {
    char *list;
    const char **caption;
    double *score; /* of the text before, then of that after */
    int n;
} cmd_words;
int cmd_words_open(cmd_words *w, const char *path); /* captions, one a line */
void cmd_words_close(cmd_words *w);
ltn_status cmd_words_compare(cmd_words *w, ltn_model *m, const ltn_array *before, const ltn_array *after);
void cmd_words_print(const cmd_words *w);
void cmd_words_json(const cmd_words *w, cmd_json *j);

#endif
