/* help.c - the help texts, written from the tables of verbs and options. */
#include "cmd.h"

#include <string.h>

enum { WIDTH = 100, COLUMN = 24 };

/* Prints text between columns `left` and WIDTH, broken at blanks; the cursor stands at column `at`. */
static void wrap(FILE *f, const char *text, int at, int left)
{
    for (; at < left; at++) fputc(' ', f);
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (at > left && at + 1 + n > WIDTH) {
            fprintf(f, "\n%*s", left, "");
            at = left;
        }
        at += fprintf(f, "%s%.*s", at > left ? " " : "", n, text);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', f);
}

static void print_option(FILE *f, const cmd_option *o)
{
    char text[512];
    const int at = fprintf(f, "  %s%s%s%s", o->name[1] ? "--" : "-", o->name, o->value ? " " : "",
                           o->value ? o->value : "");
    snprintf(text, sizeof text, o->def && *o->def ? "%s (default %s)" : "%s", o->help, o->def);
    if (at + 2 > COLUMN) fputc('\n', f);
    wrap(f, text, at + 2 > COLUMN ? 0 : at, COLUMN);
}

void cmd_verb_help(FILE *f, const cmd_verb *verb)
{
    fprintf(f, "usage: latino %s %s [OPTION]...\n\n", verb->name, verb->operands);
    wrap(f, verb->about, 0, 0);
    if (verb->option[0].name) fputs("\noptions:\n", f);
    for (int i = 0; verb->option[i].name; i++) print_option(f, &verb->option[i]);
}

void cmd_help(FILE *f)
{
    fputs("latino restores pictures with a latent consistency model as prior: what is known of the damage "
          "is\n"
          "kept exactly, the model fills in the rest.\n\n",
          f);
    for (int i = 0; cmd_verb_at(i); i++) {
        const cmd_verb *v = cmd_verb_at(i);
        wrap(f, v->summary, fprintf(f, "  latino %-9s ", v->name), 19);
    }
    fputs("  latino VERB --help explains a command; latino --version, --manual (a manual page) and\n"
          "  --completion (for bash) print what they say.\n\n"
          "for example:\n"
          "  latino degrade photo.png -o small.png --degradation downsample:factor=4 --noise "
          "gaussian:sigma=0.02\n"
          "  latino restore small.png -o large.png --degradation downsample:factor=4 --sigma 0.02\n"
          "  latino measure large.png photo.png\n",
          f);
}
