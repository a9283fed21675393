/* plot.c - quality against cost as inline SVG: one mark a solver, named at the right in the order of their
 * heights; cost on a logarithmic axis with a place for 0 left of it. Bars are the 95 % interval of the paired
 * difference to the first solver: that of the mean itself says how unlike the pictures
 * are, not the solvers. */
#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 300, LEFT = 56, RIGHT = 180, TOP = 14, BOTTOM = 44 };
enum { GUTTER = 44, LINE = 16, LETTERS = 26 };

typedef struct point {
    int label;
    double x, y, half; /* cost, mean, half the interval */
} point;

typedef struct axes {
    double x0, x1, y0, y1; /* log10 of the cost, the metric */
    double left;           /* where the logarithmic axis begins */
    bool zero, positive;   /* costs that there are */
} axes;

static const char *const colors[] = {"#4269d0", "#c2500f", "#2b8a3e", "#a463f2", "#d6336c",
                                     "#0b7285", "#9c6b1e", "#495057", "#862e9c", "#5c940d"};

const char *eval_color(int label)
{
    return colors[label % (int)(sizeof colors / sizeof *colors)];
}

static int collect(const eval_summary *s, int task, int metric, int cost, point *p)
{
    int n = 0;
    for (int l = 0; l < s->labels; l++) {
        const eval_stat x = eval_mean(s, task, l, cost), y = eval_mean(s, task, l, metric);
        if (!x.n || !y.n) continue;
        const double half = l ? eval_difference(s, task, l, metric).half : 0;
        p[n++] = (point){.label = l, .x = x.mean, .y = y.mean, .half = isfinite(half) ? half : 0};
    }
    return n;
}

/* A span without width gets one; the rest gets a margin. */
static void widen(double *a, double *b, double least)
{
    const double margin = *b - *a > least ? 0.08 * (*b - *a) : least;
    *a -= margin;
    *b += margin;
}

static axes span(const point *p, int n)
{
    axes a = {.x0 = INFINITY, .x1 = -INFINITY, .y0 = INFINITY, .y1 = -INFINITY};
    for (int i = 0; i < n; i++) {
        a.y0 = fmin(a.y0, p[i].y - p[i].half);
        a.y1 = fmax(a.y1, p[i].y + p[i].half);
        if (p[i].x > 0) {
            a.positive = true;
            a.x0 = fmin(a.x0, log10(p[i].x));
            a.x1 = fmax(a.x1, log10(p[i].x));
        } else {
            a.zero = true;
        }
    }
    a.left = LEFT + (a.zero ? GUTTER : 0);
    if (a.positive) widen(&a.x0, &a.x1, 0.15);
    widen(&a.y0, &a.y1, 1e-3);
    return a;
}

static double across(const axes *a, double x)
{
    if (!(x > 0)) return LEFT + GUTTER / 2.;
    return a->left + (log10(x) - a->x0) / (a->x1 - a->x0) * (WIDTH - RIGHT - a->left);
}

static double down(const axes *a, double y)
{
    return TOP + (a->y1 - y) / (a->y1 - a->y0) * (HEIGHT - TOP - BOTTOM);
}

/* ---- Axes ---- */
static void x_tick(FILE *f, const axes *a, double x)
{
    const double px = across(a, x);
    fprintf(f, "<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>"
               "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n",
            px, px, TOP, HEIGHT - BOTTOM, px, HEIGHT - BOTTOM + 15, x);
}

static void x_axis(FILE *f, const axes *a, const char *name)
{
    static const double step[] = {1, 2, 5};
    const int steps = a->x1 - a->x0 > 2.5 ? 1 : 3;
    if (a->zero) x_tick(f, a, 0);
    if (a->zero && a->positive)
        fprintf(f, "<line class='break' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>", a->left, a->left, TOP,
                HEIGHT - BOTTOM);
    for (int k = (int)floor(a->x0); a->positive && k <= (int)ceil(a->x1); k++)
        for (int i = 0; i < steps; i++) {
            const double x = step[i] * pow(10, k);
            if (log10(x) >= a->x0 && log10(x) <= a->x1) x_tick(f, a, x);
        }
    fprintf(f, "<text class='name' x='%.1f' y='%d' text-anchor='middle'>%s</text>\n",
            (LEFT + WIDTH - RIGHT) / 2., HEIGHT - 8, name);
}

/* About five ticks at 1, 2 or 5 times a power of ten. */
static void y_axis(FILE *f, const axes *a, const char *name)
{
    const double raw = (a->y1 - a->y0) / 5, ten = pow(10, floor(log10(raw)));
    const double step = ten * (raw / ten < 1.5 ? 1 : raw / ten < 3.5 ? 2 : raw / ten < 7.5 ? 5 : 10);
    for (double k = ceil(a->y0 / step); k * step <= a->y1; k++) {
        const double py = down(a, k * step);
        fprintf(f, "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>"
                   "<text x='%d' y='%.1f' text-anchor='end'>%.6g</text>\n",
                LEFT, WIDTH - RIGHT, py, py, LEFT - 6, py + 4, k * step);
    }
    fprintf(f, "<text class='name' transform='translate(14 %.1f) rotate(-90)' text-anchor='middle'>",
            (TOP + HEIGHT - BOTTOM) / 2.);
    eval_escape(f, name);
    fputs("</text>\n", f);
}

/* ---- Points ---- */
/* Colours come again after ten solvers, with another shape. */
static void mark(FILE *f, int label, double x, double y)
{
    static const char *const shape[] = {"m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0", "m-4-4h8v8h-8z",
                                        "m0-5l5 9h-10z", "m0-6l5 6l-5 6l-5-6z"};
    fprintf(f, "<path fill='%s' d='M%.1f %.1f%s'/>", eval_color(label), x, y,
            shape[label / (int)(sizeof colors / sizeof *colors) % 4]);
}

/* The bytes of the first letters. */
static int cut(const char *utf8, int letters)
{
    int n = 0;
    for (; utf8[n] && letters >= 0; n++)
        if ((utf8[n] & 0xc0) != 0x80 && !letters--) break;
    return n;
}

static int by_height(const void *a, const void *b)
{
    const double d = ((const point *)b)->y - ((const point *)a)->y;
    return (d > 0) - (d < 0);
}

static void draw(FILE *f, const axes *a, const point *p)
{
    const double x = across(a, p->x);
    if (p->half > 0)
        fprintf(f, "<line stroke='%s' stroke-width='1.5' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>",
                eval_color(p->label), x, x, down(a, p->y - p->half), down(a, p->y + p->half));
    mark(f, p->label, x, down(a, p->y));
}

static void name(FILE *f, const eval_summary *s, const point *p, int row, int rows)
{
    const char *label = s->label[p->label];
    const double line = fmin(LINE, (double)(HEIGHT - TOP) / rows), y = TOP + (row + 0.5) * line;
    char text[4 * LETTERS + 4];
    const int n = cut(label, LETTERS);
    snprintf(text, sizeof text, "%.*s%s", n, label, label[n] ? "…" : "");
    mark(f, p->label, WIDTH - RIGHT + 18, y);
    fprintf(f, "<text class='label' x='%d' y='%.1f'>", WIDTH - RIGHT + 28, y + 4);
    eval_escape(f, text);
    fputs("</text>\n", f);
}

void eval_plot(FILE *f, const eval_summary *s, int task, int metric, int cost)
{
    point *p = calloc((size_t)s->labels + 1, sizeof *p);
    const int n = p ? collect(s, task, metric, cost, p) : 0;
    if (n) {
        const axes a = span(p, n);
        fprintf(f, "<svg viewBox='0 0 %d %d' role='img' aria-label='", WIDTH, HEIGHT);
        eval_escape(f, eval_column(s->table, metric));
        fprintf(f, " against %s'>\n", eval_column(s->table, cost));
        x_axis(f, &a, cost - s->table->metrics == EVAL_CALLS ? "network calls" : "seconds a picture");
        y_axis(f, &a, eval_column(s->table, metric));
        qsort(p, (size_t)n, sizeof *p, by_height);
        for (int i = 0; i < n; i++) draw(f, &a, &p[i]);
        for (int i = 0; i < n; i++) name(f, s, &p[i], i, n);
        fputs("</svg>\n", f);
    }
    free(p);
}
