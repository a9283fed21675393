/* eval.h - the parts of `latino eval`: the grid that is asked for (grid.c), one cell of it (cell.c), the rows
 * that are done (rows.c), their statistics (stats.c, summary.c), and the report (report.c, html.c,
 * plot.c). */
#ifndef EVAL_H
#define EVAL_H

#include "cmd.h"

enum { EVAL_MAXMETRIC = 16, EVAL_MAXLINE = 4096, EVAL_NAME = 256, EVAL_SPEC = 1024 };
/* The columns of numbers: the metrics, then these. */
enum { EVAL_CHI, EVAL_CALLS, EVAL_GRADIENTS, EVAL_SECONDS, EVAL_PEAK, EVAL_COSTS };

/* ---- grid.c: pictures x tasks x solvers ---- */
typedef struct eval_task {
    char name[EVAL_NAME];
    char text[EVAL_SPEC]; /* DEGRADATION@NOISE@SIGMA, as written */
    char degradation[EVAL_SPEC], noise[EVAL_SPEC]; /* noise "": none */
    double sigma;         /* that solvers are told; < 0: they estimate it */
} eval_task;
typedef struct eval_way { /* a solver with a prompt */
    char label[EVAL_NAME], spec[EVAL_SPEC];
    char prompt[EVAL_SPEC]; /* "caption", "empty", or the text */
} eval_way;
typedef struct eval_picture {
    const char *file, *caption; /* caption NULL: none */
} eval_picture;
typedef struct eval_setting { /* what rows of one file have in common */
    char key[EVAL_NAME + 16], value[2 * EVAL_SPEC];
} eval_setting;
typedef struct eval_grid {
    const char *folder;
    cmd_path model;
    const cmd_args *args; /* what else is said of the model */
    eval_task *task;
    eval_way *way;
    eval_picture *picture;
    eval_setting *setting;
    int tasks, ways, pictures, settings, metrics;
    char metric[EVAL_MAXMETRIC][EVAL_SPEC];
    uint64_t seed;
    int threads, shown; /* shown: how many pictures the report shows */
    char **names; /* of all pictures in the folder */
    int found;
    char *captions; /* the bytes of the file */
} eval_grid;
int eval_grid_open(const cmd_args *a, eval_grid *g); /* an exit code; a half-built grid may be freed */
void eval_grid_free(eval_grid *g);
char *eval_read_all(const char *path, size_t *n); /* a zero follows; NULL: errno */
uint64_t eval_digest(uint64_t h, const void *bytes, size_t n); /* FNV-1a, 64 bits */
/* The i-th of n pictures chosen evenly from `of`. */
int eval_spread(int i, int n, int of);

/* ---- cell.c: one picture, one task, one solver; in a process of its own ---- */
typedef struct eval_worker {
    const eval_grid *grid;
    const char *pictures; /* the folder for those that the report shows */
    ltn_ctx *ctx;
    ltn_metric *metric[EVAL_MAXMETRIC];
    ltn_model *model; /* opened by the first solver that needs one */
} eval_worker;
int eval_worker_open(eval_worker *w, const eval_grid *g, const char *pictures);
void eval_worker_close(eval_worker *w);
/* Opens every task and every solver once on the first picture: an exit code, the complaint made. */
int eval_worker_check(eval_worker *w);
/* value: metrics, then costs. */
ltn_status eval_cell(eval_worker *w, int task, int way, int picture, double *value);
/* Where a picture that the report shows lies, a PNG, or a JPEG of a large one; also of the "input" of a task
 * and of the "truth" of task "". */
cmd_path eval_shown_path(const char *folder, const char *task, const char *label, const char *file,
                         bool large);

/* ---- rows.c: the CSV file ---- */
typedef struct eval_row {
    const char *task, *label, *prompt, *file;
    double value[EVAL_MAXMETRIC + EVAL_COSTS];
    char *line; /* holds the texts */
} eval_row;
typedef struct eval_table {
    const char *path;
    eval_row *row;
    eval_setting *setting;
    int rows, settings, metrics;
    char metric[EVAL_MAXMETRIC][EVAL_SPEC];
    long whole; /* bytes up to the end of the last whole line */
} eval_table;
int eval_table_read(const char *path, eval_table *t); /* an exit code; no such file: no rows */
void eval_table_free(eval_table *t);
/* A row as its line, and back: what is wrong with it, or NULL. */
void eval_row_write(const eval_grid *g, int task, int way, int picture, const double *value, char *line,
                    size_t room);
const char *eval_row_read(eval_table *t, const char *line);
/* An exit code, said why, if the file holds rows made with other settings. */
int eval_table_refuse(const eval_table *t, const eval_grid *g);
/* Opens the file for more rows, alone; t is what it holds then. NULL: said why. */
FILE *eval_table_append(eval_table *t, const eval_grid *g);

/* ---- stats.c ---- */
typedef struct eval_stat {
    int n;
    double mean, half; /* mean +- half is the 95 % interval, by Student's t; NaN for n < 2 */
} eval_stat;
eval_stat eval_stat_of(const double *v, int n);
/* The number that |T| stays below with probability 0.95, for T of Student's distribution. */
double eval_t95(int freedom);

/* ---- summary.c: the rows as (task, solver, picture, column) ---- */
typedef struct eval_summary {
    const eval_table *table;
    const char **task, **label, **file;
    int tasks, labels, files, columns;
    double *value; /* NaN: not there */
    eval_stat *mean, *difference; /* (task, solver, column) */
} eval_summary;
int eval_summary_of(const eval_table *t, eval_summary *s);
void eval_summary_free(eval_summary *s);
double eval_value(const eval_summary *s, int task, int label, int file, int column);
const char *eval_column(const eval_table *t, int column); /* its name */
eval_stat eval_mean(const eval_summary *s, int task, int label, int column);
/* Of the differences to the first solver, over the pictures that both have. */
eval_stat eval_difference(const eval_summary *s, int task, int label, int column);
double eval_highest(const eval_summary *s, int task, int label, int column);

/* The number of pictures of a task that the fullest solver has. */
int eval_most(const eval_summary *s, int task);

/* The largest mean of a column says how many digits after the point its numbers get. */
int eval_digits(const eval_summary *s, int column);

/* ---- report.c ---- */
/* A cell of a table: metrics with their interval, costs as means, memory as the highest. */
void eval_cell_text(const eval_summary *s, int task, int label, int column, char *text, size_t room);
void eval_interval(const eval_summary *s, int column, eval_stat v, bool sign, char *text, size_t room);
/* REPORT.md and REPORT.html, and the table on standard output; pictures: the folder of those to be shown. */
int eval_report(const eval_table *t, const char *stem, const char *pictures);

/* ---- html.c, plot.c ---- */
void eval_html(FILE *f, const eval_summary *s, const char *title, const char *pictures);
void eval_escape(FILE *f, const char *text); /* for HTML */
const char *eval_color(int label);
void eval_plot(FILE *f, const eval_summary *s, int task, int metric, int cost);
#endif
