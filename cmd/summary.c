/* summary.c - the rows of a CSV file as (task, solver, picture, column), and means over the pictures. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where the name stands in the list; it is added if it does not. */
static int place(const char ***list, int *n, const char *name)
{
    for (int i = 0; i < *n; i++)
        if (!strcmp((*list)[i], name)) return i;
    const char **more = realloc(*list, sizeof *more * (size_t)(*n + 1));
    if (!more) return -1;
    *list = more;
    more[*n] = name;
    return (*n)++;
}

static double *at(const eval_summary *s, int task, int label, int file, int column)
{
    return &s->value[((task * s->labels + label) * (int64_t)s->files + file) * s->columns + column];
}

static bool has_rows(const eval_table *t, const char *task, const char *label)
{
    for (int i = 0; i < t->rows; i++)
        if ((task && !strcmp(t->row[i].task, task)) || (label && !strcmp(t->row[i].label, label)))
            return true;
    return false;
}

/* Tasks and solvers stand in the order in which they were asked for, pictures in that of their names. */
static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool name_all(eval_summary *s)
{
    const eval_table *t = s->table;
    bool good = true;
    for (int i = 0; i < t->settings && good; i++) {
        const char *key = t->setting[i].key;
        if (!strncmp(key, "task ", 5) && has_rows(t, key + 5, NULL))
            good = place(&s->task, &s->tasks, key + 5) >= 0;
        if (!strncmp(key, "solver ", 7) && has_rows(t, NULL, key + 7))
            good = place(&s->label, &s->labels, key + 7) >= 0;
    }
    for (int i = 0; i < t->rows && good; i++)
        good = place(&s->task, &s->tasks, t->row[i].task) >= 0 &&
               place(&s->label, &s->labels, t->row[i].label) >= 0 &&
               place(&s->file, &s->files, t->row[i].file) >= 0;
    if (good && s->files) qsort(s->file, (size_t)s->files, sizeof *s->file, by_name);
    return good;
}

double eval_value(const eval_summary *s, int task, int label, int file, int column)
{
    enum { BEST = 100 }; /* dB: two equal pictures count as that in a mean */
    const double v = *at(s, task, label, file, column);
    return isinf(v) && v > 0 ? BEST : v;
}

/* Over the pictures where it is a number; against < 0: of the values themselves. */
static eval_stat collect(const eval_summary *s, int task, int label, int against, int column)
{
    double *v = malloc(sizeof *v * (size_t)(s->files + 1));
    int n = 0;
    for (int k = 0; k < s->files && v; k++) {
        const double minus = against < 0 ? 0 : eval_value(s, task, against, k, column);
        v[n] = eval_value(s, task, label, k, column) - minus;
        n += isfinite(v[n]);
    }
    const eval_stat result = eval_stat_of(v, n);
    free(v);
    return result;
}

static int64_t cell(const eval_summary *s, int task, int label, int column)
{
    return (task * (int64_t)s->labels + label) * s->columns + column;
}

static bool average(eval_summary *s)
{
    const size_t n = (size_t)cell(s, s->tasks, 0, 0);
    s->mean = malloc(sizeof *s->mean * (n + 1));
    s->difference = malloc(sizeof *s->difference * (n + 1));
    if (!s->mean || !s->difference) return false;
    for (int t = 0; t < s->tasks; t++)
        for (int l = 0; l < s->labels; l++)
            for (int c = 0; c < s->columns; c++) {
                s->mean[cell(s, t, l, c)] = collect(s, t, l, -1, c);
                s->difference[cell(s, t, l, c)] = collect(s, t, l, 0, c);
            }
    return true;
}

eval_stat eval_mean(const eval_summary *s, int task, int label, int column)
{
    return s->mean[cell(s, task, label, column)];
}

eval_stat eval_difference(const eval_summary *s, int task, int label, int column)
{
    return s->difference[cell(s, task, label, column)];
}

double eval_highest(const eval_summary *s, int task, int label, int column)
{
    double most = NAN;
    for (int k = 0; k < s->files; k++) most = fmax(most, eval_value(s, task, label, k, column));
    return most;
}

int eval_most(const eval_summary *s, int task)
{
    int most = 0;
    for (int l = 0; l < s->labels; l++) {
        const int n = eval_mean(s, task, l, s->table->metrics).n;
        most = n > most ? n : most;
    }
    return most;
}

int eval_digits(const eval_summary *s, int column)
{
    double most = 0;
    for (int t = 0; t < s->tasks; t++)
        for (int l = 0; l < s->labels; l++) most = fmax(most, fabs(eval_mean(s, t, l, column).mean));
    return most >= 2 ? 2 : 4;
}

int eval_summary_of(const eval_table *t, eval_summary *s)
{
    *s = (eval_summary){.table = t, .columns = t->metrics + EVAL_COSTS};
    const bool named = name_all(s);
    const size_t n = (size_t)s->tasks * (size_t)s->labels * (size_t)s->files * (size_t)s->columns;
    s->value = named ? malloc(sizeof *s->value * (n + 1)) : NULL;
    for (size_t i = 0; i < n && s->value; i++) s->value[i] = NAN;
    for (int i = 0; i < t->rows && s->value; i++) {
        const eval_row *r = &t->row[i];
        const int task = place(&s->task, &s->tasks, r->task), label = place(&s->label, &s->labels, r->label);
        memcpy(at(s, task, label, place(&s->file, &s->files, r->file), 0), r->value,
               sizeof *s->value * (size_t)s->columns);
    }
    if (s->value && average(s)) return CMD_DONE;
    cmd_say("out of memory");
    return CMD_FAILED;
}

void eval_summary_free(eval_summary *s)
{
    free(s->task);
    free(s->label);
    free(s->file);
    free(s->value);
    free(s->mean);
    free(s->difference);
    *s = (eval_summary){0};
}
