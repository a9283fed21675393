/* html.c - REPORT.html: tables, plots and pictures in one file that needs nothing else; well-formed XML too. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
    ":root { color-scheme: light dark; --ink: #1b1f24; --dim: #667080; --rule: #d9dde3; --page: #fff; "
    "--band: #f5f7f9;\n"
    "  --good: #19753a; --bad: #b3261e }\n"
    "@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ea; --dim: #98a2b0; --rule: #363c45; "
    "--page: #16191d;\n"
    "  --band: #1f242a; --good: #6fce8d; --bad: #f08d85 } }\n"
    "body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); "
    "max-width: 84rem;\n"
    "  margin: 2.5rem auto; padding: 0 1.5rem }\n"
    "h1 { font-size: 1.7rem; margin: 0 0 .3rem }\n"
    "h2 { font-size: 1.25rem; margin: 3rem 0 .2rem; padding-top: 1rem; border-top: 1px solid "
    "var(--rule) }\n"
    "h3 { font-size: 1rem; margin: 1.6rem 0 .4rem }\n"
    "p { margin: .3rem 0 .8rem; max-width: 60rem }\n"
    "a { color: inherit }\n"
    "small { font-size: .82em; display: block }\n"
    ".dim, small { color: var(--dim) }\n"
    ".wide { overflow-x: auto }\n"
    "table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }\n"
    "th, td { padding: .35rem .6rem; text-align: right; vertical-align: top; white-space: nowrap;\n"
    "  border-bottom: 1px solid var(--rule) }\n"
    "th { font-weight: 600 }\n"
    "thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom }\n"
    "th:first-child, td:first-child { text-align: left }\n"
    "tbody tr:nth-child(even) { background: var(--band) }\n"
    ".best { font-weight: 700 }\n"
    ".good { color: var(--good) }\n"
    ".bad { color: var(--bad) }\n"
    ".dot { display: inline-block; width: .65em; height: .65em; border-radius: 50%; margin-right: .5em }\n"
    ".plots { display: flex; flex-wrap: wrap; gap: 1rem }\n"
    "svg { flex: 1 1 28rem; max-width: 40rem; height: auto }\n"
    "svg text { font: 11px system-ui, sans-serif; fill: var(--dim) }\n"
    "svg .name { fill: var(--ink); font-size: 12px }\n"
    "svg .label { fill: var(--ink) }\n"
    ".grid { stroke: var(--rule) }\n"
    ".break { stroke: var(--dim); stroke-dasharray: 2 4 }\n"
    ".row { display: flex; flex-wrap: wrap; gap: .8rem; margin: .4rem 0 1.4rem }\n"
    "figure { margin: 0; width: 10rem }\n"
    "figure img { width: 100%; display: block; border-radius: 3px }\n"
    "figcaption { font-size: .8rem; line-height: 1.35; margin-top: .25rem; overflow-wrap: anywhere }\n"
    ".raw img { image-rendering: pixelated }\n"
    "dt { font-weight: 600 }\n"
    "dd { margin: 0 0 .4rem }\n"
    "code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }\n";

/* ---- Text ---- */
/* The length of the UTF-8 letter here, 0 if it is none. */
static int letter(const unsigned char *p)
{
    const int lead = *p, two = lead >= 0xc2, three = lead >= 0xe0, four = lead >= 0xf0;
    const int n = lead < 0x80 ? 1 : two && lead < 0xf5 ? 2 + three + four : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return n == 1 && *p < 0x20 ? 0 : n;
}

void eval_escape(FILE *f, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const name[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        const int n = letter(p);
        const char *known = n == 1 ? strchr(special, *p) : NULL;
        if (known) fputs(name[known - special], f);
        else if (n) fprintf(f, "%.*s", n, (const char *)p);
        else fputs("\xef\xbf\xbd", f); /* the replacement character */
        p += n ? n : 1;
    }
}

static void code(FILE *f, const char *text)
{
    fputs("<code>", f);
    eval_escape(f, text);
    fputs("</code>", f);
}

static void solver(FILE *f, const eval_summary *s, int label)
{
    fprintf(f, "<span class='dot' style='background:%s'></span>", eval_color(label));
    eval_escape(f, s->label[label]);
}

/* ---- Tables ---- */
static const ltn_entry *metric_entry(const char *column)
{
    const size_t n = strcspn(column, ":");
    for (int i = 0; ltn_list(LTN_METRICS, i); i++)
        if (strlen(ltn_list(LTN_METRICS, i)->name) == n &&
            !strncmp(ltn_list(LTN_METRICS, i)->name, column, n))
            return ltn_list(LTN_METRICS, i);
    return NULL;
}

/* 1 when higher is better, -1 when lower, 0 when neither, as the help of the metric says. */
static int direction(const eval_summary *s, int column)
{
    const ltn_entry *e = column < s->table->metrics ? metric_entry(s->table->metric[column]) : NULL;
    return !e ? 0 : strstr(e->help, "higher is better") ? 1 : strstr(e->help, "lower is better") ? -1 : 0;
}

static int best(const eval_summary *s, int task, int column)
{
    const int sign = direction(s, column);
    int best = -1;
    double most = -INFINITY;
    for (int l = 0; l < s->labels && sign; l++) {
        const double v = sign * eval_mean(s, task, l, column).mean;
        if (!(v > most)) continue;
        most = v;
        best = l;
    }
    return best;
}

static void heads(FILE *f, const eval_summary *s)
{
    fputs("<thead><tr><th>solver</th>", f);
    for (int c = 0; c < s->columns; c++) {
        const int sign = direction(s, c);
        fputs("<th>", f);
        eval_escape(f, eval_column(s->table, c));
        fprintf(f, "%s</th>", sign > 0 ? " ↑" : sign < 0 ? " ↓" : "");
    }
    fputs("</tr></thead>\n", f);
}

static void difference(FILE *f, const eval_summary *s, int task, int label, int column)
{
    char text[64];
    const eval_stat d = eval_difference(s, task, label, column);
    const double sure = direction(s, column) * d.mean;
    if (!d.n) return;
    eval_interval(s, column, d, true, text, sizeof text);
    const char *kind = !(fabs(d.mean) > d.half) || !sure ? "dim" : sure > 0 ? "good" : "bad";
    fprintf(f, "<small class='%s'>%s</small>", kind, text);
}

static void cells(FILE *f, const eval_summary *s, int task, int label)
{
    char text[64];
    for (int c = 0; c < s->columns; c++) {
        const bool metric = c < s->table->metrics;
        eval_cell_text(s, task, label, c, text, sizeof text);
        fprintf(f, "<td><span%s>%s</span>", best(s, task, c) == label ? " class='best'" : "", text);
        if (metric && label) difference(f, s, task, label, c);
        fputs("</td>", f);
    }
}

static void table(FILE *f, const eval_summary *s, int task)
{
    const int most = eval_most(s, task);
    fputs("<div class='wide'><table>", f);
    heads(f, s);
    fputs("<tbody>\n", f);
    for (int l = 0; l < s->labels; l++) {
        const int n = eval_mean(s, task, l, s->table->metrics + EVAL_CALLS).n;
        if (!n) continue;
        fputs("<tr><td>", f);
        solver(f, s, l);
        if (n < most) fprintf(f, "<small>only %d pictures</small>", n);
        fputs("</td>", f);
        cells(f, s, task, l);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

/* The first metric of every task and solver. */
static void overview(FILE *f, const eval_summary *s)
{
    char text[64];
    fputs("<div class='wide'><table><thead><tr><th>", f);
    eval_escape(f, eval_column(s->table, 0));
    fputs("</th>", f);
    for (int l = 0; l < s->labels; l++) {
        fputs("<th>", f);
        solver(f, s, l);
        fputs("</th>", f);
    }
    fputs("</tr></thead><tbody>\n", f);
    for (int t = 0; t < s->tasks; t++) {
        fprintf(f, "<tr><td><a href='#task%d'>", t);
        eval_escape(f, s->task[t]);
        fputs("</a></td>", f);
        for (int l = 0; l < s->labels; l++) {
            eval_cell_text(s, t, l, 0, text, sizeof text);
            fprintf(f, "<td%s>%s</td>", best(s, t, 0) == l ? " class='best'" : "", text);
        }
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

static void plots(FILE *f, const eval_summary *s, int task)
{
    const int costs[] = {s->table->metrics + EVAL_CALLS, s->table->metrics + EVAL_SECONDS};
    for (int m = 0; m < s->table->metrics; m++) {
        if (m == 1) fputs("<details><summary>plots of the other metrics</summary>\n", f);
        fputs("<div class='plots'>\n", f);
        for (int i = 0; i < 2; i++) eval_plot(f, s, task, m, costs[i]);
        fputs("</div>\n", f);
    }
    if (s->table->metrics > 1) fputs("</details>\n", f);
}

/* ---- Pictures ---- */
static void base64(FILE *f, const unsigned char *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const size_t m = n - i < 3 ? n - i : 3;
        const unsigned v =
            (unsigned)p[i] << 16 | (m > 1 ? (unsigned)p[i + 1] << 8 : 0) | (m > 2 ? p[i + 2] : 0);
        fputc(digit[v >> 18], f);
        fputc(digit[v >> 12 & 63], f);
        fputc(m > 1 ? digit[v >> 6 & 63] : '=', f);
        fputc(m > 2 ? digit[v & 63] : '=', f);
    }
}

/* An image of the folder's picture, as it is kept: PNG, or JPEG where it is large. False: there is none. */
static bool picture(FILE *f, const char *folder, const char *task, const char *label, const char *file)
{
    static const char *const type[] = {"png", "jpeg"};
    size_t n = 0;
    char *bytes = NULL;
    int i = 0;
    for (; i < 2 && !bytes; i++)
        bytes = eval_read_all(eval_shown_path(folder, task, label, file, i > 0).s, &n);
    if (!bytes) return false;
    fprintf(f, "<img alt='' src='data:image/%s;base64,", type[i - 1]);
    base64(f, (const unsigned char *)bytes, n);
    fputs("'/>", f);
    free(bytes);
    return true;
}

static void figure(FILE *f, const eval_summary *s, int task, int label, int file, const char *folder)
{
    char *image = NULL;
    size_t size;
    FILE *m = open_memstream(&image, &size);
    const bool there = m && picture(m, folder, s->task[task], s->label[label], s->file[file]);
    if (m) fclose(m);
    if (there) {
        fprintf(f, "<figure>%s<figcaption>", image);
        solver(f, s, label);
        fputs("<br/>", f);
        eval_escape(f, eval_column(s->table, 0));
        fprintf(f, " %.2f</figcaption></figure>\n", eval_value(s, task, label, file, 0));
    }
    free(image);
}

static void pictures(FILE *f, const eval_summary *s, int task, const char *folder)
{
    for (int k = 0; k < s->files; k++) {
        char *truth = NULL;
        size_t size;
        FILE *m = open_memstream(&truth, &size);
        const bool there = m && picture(m, folder, "", "truth", s->file[k]);
        if (m) fclose(m);
        if (there) {
            fputs("<h3>", f);
            eval_escape(f, s->file[k]);
            fputs("</h3><div class='row'>\n<figure class='raw'>", f);
            picture(f, folder, s->task[task], "input", s->file[k]);
            fputs("<figcaption>input</figcaption></figure>\n", f);
            for (int l = 0; l < s->labels; l++) figure(f, s, task, l, k, folder);
            fprintf(f, "<figure>%s<figcaption>truth</figcaption></figure>\n</div>\n", truth);
        }
        free(truth);
    }
}

/* ---- The whole ---- */
static const char *setting(const eval_summary *s, const char *kind, const char *name)
{
    const size_t n = strlen(kind);
    for (int i = 0; i < s->table->settings; i++)
        if (!strncmp(s->table->setting[i].key, kind, n) && !strcmp(s->table->setting[i].key + n, name))
            return s->table->setting[i].value;
    return "";
}

static void section(FILE *f, const eval_summary *s, int task, const char *folder)
{
    fprintf(f, "<h2 id='task%d'>", task);
    eval_escape(f, s->task[task]);
    fputs("</h2>\n<p class='dim'>", f);
    code(f, setting(s, "task ", s->task[task]));
    fprintf(f, ", %d picture%s</p>\n", eval_most(s, task), eval_most(s, task) == 1 ? "" : "s");
    table(f, s, task);
    plots(f, s, task);
    pictures(f, s, task, folder);
}

static void entry(FILE *f, const char *name, const char *text)
{
    fputs("<dt>", f);
    eval_escape(f, name);
    fputs("</dt><dd>", f);
    eval_escape(f, text);
    fputs("</dd>\n", f);
}

static void legend(FILE *f, const eval_summary *s)
{
    fputs("<h2>What the columns say</h2>\n<dl>\n", f);
    for (int c = 0; c < s->table->metrics; c++) {
        const ltn_entry *e = metric_entry(s->table->metric[c]);
        entry(f, s->table->metric[c], e ? e->help : "");
    }
    entry(f, "chi",
          "|A x - y| / (sigma sqrt(m)): 1 when the restored picture explains the measurement up to its "
          "noise; |A x - y| / |y| where there is no noise");
    entry(f, "calls, gradients",
          "of the network, for one picture: evaluations, and those of them that were differentiated");
    entry(f, "seconds", "for one picture, mean");
    entry(f, "peak_mb", "the highest memory of the process that did nothing but this, in millions of bytes");
    fputs("</dl>\n<h2>Solvers</h2>\n<dl>\n", f);
    for (int l = 0; l < s->labels; l++) {
        fputs("<dt>", f);
        solver(f, s, l);
        fputs("</dt><dd>", f);
        code(f, setting(s, "solver ", s->label[l]));
        fputs("</dd>\n", f);
    }
    fputs("</dl>\n", f);
}

void eval_html(FILE *f, const eval_summary *s, const char *title, const char *folder)
{
    fputs("<!DOCTYPE html>\n<html lang='en'>\n<head><meta charset='utf-8'/>"
          "<meta name='viewport' content='width=device-width,initial-scale=1'/>\n<title>", f);
    eval_escape(f, title);
    fprintf(f, "</title>\n<style>\n%s</style></head>\n<body>\n<h1>", style);
    eval_escape(f, title);
    fputs("</h1>\n<p class='dim'>", f);
    for (int i = 0; i < s->table->settings; i++) {
        const eval_setting *e = &s->table->setting[i];
        if (strchr(e->key, ' ')) continue; /* of a task or a solver: below */
        fputs(i ? "; " : "", f);
        eval_escape(f, e->key);
        fputs(": ", f);
        eval_escape(f, e->value);
    }
    fputs("</p>\n", f);
    overview(f, s);
    fputs("<p class='dim'>Mean ± half width of the 95 % interval (Student’s t); the best mean in bold. "
          "Below, the second line is the paired difference to ", f);
    eval_escape(f, s->labels ? s->label[0] : "");
    fputs(", picture by picture: green or red where its interval leaves out 0. Bars in plots are that "
          "interval too.</p>\n", f);
    for (int t = 0; t < s->tasks; t++) section(f, s, t, folder);
    legend(f, s);
    fputs("</body>\n</html>\n", f);
}
