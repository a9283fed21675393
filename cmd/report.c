/* report.c - the table of means: as text on standard output, as Markdown in REPORT.md. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void eval_interval(char *text, size_t room, eval_stat s)
{
    const int digits = fabs(s.mean) >= 2 ? 2 : 4;
    if (!s.n) snprintf(text, room, "-");
    else if (s.n < 2) snprintf(text, room, "%.*f", digits, s.mean);
    else snprintf(text, room, "%.*f ± %.*f", digits, s.mean, digits, s.half);
}

void eval_cell_text(const eval_summary *s, int task, int label, int column, char *text, size_t room)
{
    const int cost = column - s->table->metrics;
    const eval_stat mean = eval_mean(s, task, label, column);
    if (cost < 0) eval_interval(text, room, mean);
    else if (!mean.n) snprintf(text, room, "-");
    else if (cost == EVAL_CHI) snprintf(text, room, "%.3f", mean.mean);
    else if (cost == EVAL_SECONDS) snprintf(text, room, "%.3f", mean.mean);
    else if (cost == EVAL_PEAK) snprintf(text, room, "%.0f", eval_highest(s, task, label, column));
    else snprintf(text, room, mean.mean == floor(mean.mean) ? "%.0f" : "%.1f", mean.mean);
}

/* Letters, not bytes. */
static int width(const char *utf8)
{
    int n = 0;
    for (; *utf8; utf8++) n += (*utf8 & 0xc0) != 0x80;
    return n;
}

static void pad(FILE *f, const char *text, int to)
{
    fprintf(f, "%s%*s", text, to > width(text) ? to - width(text) : 0, "");
}

static void text_table(FILE *f, const eval_summary *s, int task)
{
    char text[64];
    int wide = 8;
    for (int l = 0; l < s->labels; l++) wide = width(s->label[l]) > wide ? width(s->label[l]) : wide;
    fprintf(f, "%s, %d pictures\n  ", s->task[task], eval_most(s, task));
    pad(f, "", wide);
    for (int c = 0; c < s->columns; c++) {
        fputs("  ", f);
        pad(f, eval_column(s->table, c), c < s->table->metrics ? 17 : 9);
    }
    fputc('\n', f);
    for (int l = 0; l < s->labels; l++) {
        if (!eval_mean(s, task, l, s->table->metrics).n) continue;
        fputs("  ", f);
        pad(f, s->label[l], wide);
        for (int c = 0; c < s->columns; c++) {
            eval_cell_text(s, task, l, c, text, sizeof text);
            fputs("  ", f);
            pad(f, text, c < s->table->metrics ? 17 : 9);
        }
        fputc('\n', f);
    }
    fputc('\n', f);
}

static void put_markdown(FILE *f, const char *text)
{
    for (; *text; text++) fprintf(f, *text == '|' ? "\\|" : "%c", *text);
}

/* Metrics, then paired differences of the first metric to the first solver, then costs. */
static void markdown_table(FILE *f, const eval_summary *s, int task)
{
    char text[64];
    fputs("## ", f);
    put_markdown(f, s->task[task]);
    fprintf(f, "\n%d pictures\n\n| solver |", eval_most(s, task));
    for (int c = 0; c < s->columns; c++) fprintf(f, " %s |%s", eval_column(s->table, c), c ? "" : " difference |");
    fputs("\n|---|---|", f);
    for (int c = 0; c < s->columns; c++) fputs("---|", f);
    fputc('\n', f);
    for (int l = 0; l < s->labels; l++) {
        if (!eval_mean(s, task, l, s->table->metrics).n) continue;
        fputs("| ", f);
        put_markdown(f, s->label[l]);
        fputs(" |", f);
        for (int c = 0; c < s->columns; c++) {
            eval_cell_text(s, task, l, c, text, sizeof text);
            fprintf(f, " %s |", text);
            if (c) continue;
            eval_interval(text, sizeof text, eval_difference(s, task, l, c));
            fprintf(f, " %s |", l ? text : "");
        }
        fputc('\n', f);
    }
    fputc('\n', f);
}

static int write_markdown(const eval_summary *s, const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) return CMD_FAILED;
    fprintf(f, "# Evaluation\nMeans ± half width of the 95 %% interval (Student's t); the difference is that of %s to the first "
               "solver, picture by picture; peak_mb is the highest.\n\n", eval_column(s->table, 0));
    for (int t = 0; t < s->tasks; t++) markdown_table(f, s, t);
    fclose(f);
    const int code = cmd_write_text(path, text);
    free(text);
    return code;
}

int eval_report(const eval_table *t, const char *stem)
{
    eval_summary s;
    cmd_path path;
    int code = eval_summary_of(t, &s);
    if (!code) {
        for (int i = 0; i < s.tasks; i++) text_table(stdout, &s, i);
        snprintf(path.s, sizeof path.s, "%s.md", stem);
        code = write_markdown(&s, path.s);
    }
    eval_summary_free(&s);
    return code;
}
