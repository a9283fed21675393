/* report.c - the table of means: as text on standard output, as Markdown in REPORT.md. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void eval_interval(const eval_summary *s, int column, eval_stat v, bool sign, char *text, size_t room)
{
    const int digits = eval_digits(s, column);
    if (!v.n) snprintf(text, room, "-");
    else if (v.n < 2) snprintf(text, room, sign ? "%+.*f" : "%.*f", digits, v.mean);
    else snprintf(text, room, sign ? "%+.*f ± %.*f" : "%.*f ± %.*f", digits, v.mean, digits, v.half);
}

void eval_cell_text(const eval_summary *s, int task, int label, int column, char *text, size_t room)
{
    const int cost = column - s->table->metrics;
    const eval_stat v = eval_mean(s, task, label, column);
    if (cost < 0) eval_interval(s, column, v, false, text, room);
    else if (!v.n) snprintf(text, room, "-");
    else if (cost == EVAL_CHI) snprintf(text, room, "%.3f", v.mean);
    else if (cost == EVAL_SECONDS) snprintf(text, room, v.mean < 100 ? "%.3g" : "%.0f", v.mean);
    else if (cost == EVAL_PEAK) snprintf(text, room, "%.0f", eval_highest(s, task, label, column));
    else snprintf(text, room, v.mean == floor(v.mean) ? "%.0f" : "%.1f", v.mean);
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
    for (int c = 0; c < s->columns; c++)
        fprintf(f, " %s |%s", eval_column(s->table, c), c ? "" : " difference |");
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
            eval_interval(s, c, eval_difference(s, task, l, c), true, text, sizeof text);
            fprintf(f, " %s |", l ? text : "");
        }
        fputc('\n', f);
    }
    fputc('\n', f);
}

/* The first two metrics of every task and solver. */
static void markdown_overview(FILE *f, const eval_summary *s)
{
    char text[64];
    fputs("| task |", f);
    for (int l = 0; l < s->labels; l++) {
        fputc(' ', f);
        put_markdown(f, s->label[l]);
        fputs(" |", f);
    }
    fputs("\n|---|", f);
    for (int l = 0; l < s->labels; l++) fputs("---|", f);
    for (int t = 0; t < s->tasks; t++) {
        fputs("\n| ", f);
        put_markdown(f, s->task[t]);
        fputs(" |", f);
        for (int l = 0; l < s->labels; l++) {
            eval_cell_text(s, t, l, 0, text, sizeof text);
            fprintf(f, " %s", text);
            if (s->table->metrics > 1)
                fprintf(f, " / %.*f", eval_digits(s, 1) - 1, eval_mean(s, t, l, 1).mean);
            fputs(" |", f);
        }
    }
    fputs("\n\n", f);
}

static int write_markdown(const eval_summary *s, const char *path)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) return CMD_FAILED;
    fprintf(f, "# Evaluation\nMeans ± half width of the 95 %% interval (Student's t); the difference is that of %s "
               "to the first solver, picture by picture; peak_mb is the highest.\n\n", eval_column(s->table, 0));
    markdown_overview(f, s);
    for (int t = 0; t < s->tasks; t++) markdown_table(f, s, t);
    fclose(f);
    const int code = cmd_write_text(path, text);
    free(text);
    return code;
}

static int write_html(const eval_summary *s, const char *path, const char *pictures)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *text = NULL, title[EVAL_NAME];
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) return CMD_FAILED;
    snprintf(title, sizeof title, "%.*s", (int)(strlen(name) - strlen(".html")), name);
    eval_html(f, s, title, pictures);
    fclose(f);
    const int code = cmd_write_text(path, text);
    free(text);
    return code;
}

int eval_report(const eval_table *t, const char *stem, const char *pictures)
{
    eval_summary s;
    cmd_path path;
    int code = eval_summary_of(t, &s);
    if (!code) {
        for (int i = 0; i < s.tasks; i++) text_table(stdout, &s, i);
        snprintf(path.s, sizeof path.s, "%s.md", stem);
        code = write_markdown(&s, path.s);
        snprintf(path.s, sizeof path.s, "%s.html", stem);
        if (!code) code = write_html(&s, path.s, pictures);
    }
    eval_summary_free(&s);
    return code;
}
