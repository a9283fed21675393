/* manual.c - the manual page and the completion for bash, written from the same tables as the help. */
#include "cmd.h"

#include <string.h>

/* ---- The manual page, in roff's man macros ---- */

/* Text with what roff would take for itself escaped. */
static void roff(FILE *f, const char *text)
{
    if (*text == '.' || *text == '\'') fputs("\\&", f);
    for (; *text; text++) {
        if (*text == '\\') fputs("\\e", f);
        else if (*text == '-') fputs("\\-", f);
        else fputc(*text, f);
    }
}

static void line(FILE *f, const char *text)
{
    roff(f, text);
    fputc('\n', f);
}

static void manual_option(FILE *f, const cmd_option *o)
{
    fprintf(f, ".TP\n\\fB%s", o->name[1] ? "\\-\\-" : "\\-");
    roff(f, o->name);
    fputs("\\fR", f);
    if (o->value) {
        fputs(" \\fI", f);
        roff(f, o->value);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    roff(f, o->help);
    if (o->def && *o->def) {
        fputs(" (default ", f);
        roff(f, o->def);
        fputc(')', f);
    }
    fputc('\n', f);
}

static void manual_verb(FILE *f, const cmd_verb *v)
{
    fprintf(f, ".SS latino %s ", v->name);
    line(f, v->operands);
    line(f, v->about);
    for (int i = 0; v->option[i].name; i++) manual_option(f, &v->option[i]);
}

static void manual_table(FILE *f, const char *title, ltn_kind kind)
{
    fprintf(f, ".SH %s\n", title);
    for (int i = 0; ltn_list(kind, i); i++) {
        const ltn_entry *e = ltn_list(kind, i);
        fputs(".TP\n\\fB", f);
        roff(f, e->name);
        fputs("\\fR", f);
        fputc('\n', f);
        line(f, e->help);
        for (const ltn_param *p = e->param; p && p->name; p++) {
            fprintf(f, ".br\n\\fI%s\\fR: ", p->name);
            line(f, p->help);
        }
    }
}

void cmd_manual(FILE *f)
{
    fprintf(f, ".TH LATINO 1 \"\" \"latino %s\" \"User Commands\"\n", ltn_version());
    fputs(".SH NAME\nlatino \\- restore pictures with latent consistency models\n"
          ".SH SYNOPSIS\n\\fBlatino\\fR \\fIVERB\\fR [\\fIOPTION\\fR]...\n"
          ".SH DESCRIPTION\n"
          "A picture that is small, blurred, noisy or has holes is y = A x + n: A is the degradation, n noise.\n"
          ".B latino\nlooks for x. It keeps to the degradation exactly and takes the rest from a latent\n"
          "consistency model.\n"
          "Pictures are PNG, JPEG, WebP or .npy (float32, neither clipped nor rounded); a folder of them\n"
          "gives a folder.\n"
          "The settings are written into every PNG, so that \\fB\\-\\-from\\fR can repeat the command.\n"
          ".SH COMMANDS\n",
          f);
    for (int i = 0; cmd_verb_at(i); i++) manual_verb(f, cmd_verb_at(i));
    manual_table(f, "DEGRADATIONS", LTN_DEGRADATIONS);
    manual_table(f, "NOISES", LTN_NOISES);
    manual_table(f, "SOLVERS", LTN_SOLVERS);
    manual_table(f, "METRICS", LTN_METRICS);
    manual_table(f, "SAMPLERS", LTN_SAMPLERS);
    manual_table(f, "PARTS OF A MODEL", LTN_MODEL_PARTS);
    fputs(".SH ENVIRONMENT\n.TP\nLATINO_MODEL\nthe model where \\fB\\-\\-model\\fR is not given.\n"
          ".SH EXIT STATUS\n0: done. 1: failed. 2: wrong usage. 130: interrupted; no half\\-written file\n"
          "is left.\n"
          ".SH SEE ALSO\nLATINO: arXiv 2503.12615.\n",
          f);
}

/* ---- Completion for bash ---- */
static void complete_value(FILE *f, const cmd_option *o)
{
    if (o->type != CMD_CHOICE && o->type != CMD_SPEC) return;
    fprintf(f, "        *\" %s%s \") words='", o->name[1] ? "--" : "-", o->name);
    if (o->type == CMD_CHOICE)
        for (const char *p = o->value; *p; p++) fputc(*p == '|' ? ' ' : *p, f);
    else
        for (int i = 0; ltn_list(o->kind, i); i++)
            fprintf(f, "%s%s", i ? " " : "", ltn_list(o->kind, i)->name);
    fputs("' ;;\n", f);
}

static bool seen_before(int verb, const char *name)
{
    for (int v = 0; v < verb; v++)
        for (const cmd_option *o = cmd_verb_at(v)->option; o->name; o++)
            if (!strcmp(o->name, name)) return true;
    return false;
}

void cmd_completion(FILE *f)
{
    fputs("# completion for latino in bash; written by latino --completion\n"
          "_latino()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
          "    case \"$COMP_CWORD ${COMP_WORDS[1]}\" in\n        1\\ *) words='", f);
    for (int v = 0; cmd_verb_at(v); v++) fprintf(f, "%s ", cmd_verb_at(v)->name);
    fputs("--help --version' ;;\n", f);
    for (int v = 0; cmd_verb_at(v); v++) {
        fprintf(f, "        *\\ %s) words='--help", cmd_verb_at(v)->name);
        for (const cmd_option *o = cmd_verb_at(v)->option; o->name; o++)
            fprintf(f, " %s%s", o->name[1] ? "--" : "-", o->name);
        fputs("' ;;\n", f);
    }
    fputs("    esac\n    case \" $before \" in\n", f);
    for (int v = 0; cmd_verb_at(v); v++)
        for (const cmd_option *o = cmd_verb_at(v)->option; o->name; o++)
            if (!seen_before(v, o->name)) complete_value(f, o);
    fputs("    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\n"
          "complete -o default -o bashdefault -F _latino latino\n", f);
}
