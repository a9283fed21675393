/* list.c - `latino list`: what there is, from the library's own tables. */
#include "cmd.h"

#include <string.h>

static const struct {
    const char *name;
    ltn_kind kind;
} kinds[] = {{"operations", LTN_OPERATIONS}, {"degradations", LTN_DEGRADATIONS}, {"noises", LTN_NOISES},
             {"solvers", LTN_SOLVERS},       {"models", LTN_MODELS},             {"metrics", LTN_METRICS},
             {"samplers", LTN_SAMPLERS},     {"parts", LTN_MODEL_PARTS}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static const char *kind_name(const void *self, int i)
{
    return i < KINDS ? kinds[i].name : NULL;
}

/* The n-th of "a|b|c". */
static void choice(const char *words, int n, char *out, size_t room)
{
    for (; n > 0 && strchr(words, '|'); n--) words = strchr(words, '|') + 1;
    snprintf(out, room, "%.*s", (int)strcspn(words, "|"), words);
}

static void default_of(const ltn_param *p, char *out, size_t room)
{
    if (p->required) snprintf(out, room, "...");
    else if (p->type == LTN_CHOICE) choice(p->choices, (int)p->def, out, room);
    else if (p->type == LTN_STRING) snprintf(out, room, "...");
    else snprintf(out, room, "%.6g", p->def);
}

static void print_param(const ltn_param *p)
{
    char def[64], name[128];
    default_of(p, def, sizeof def);
    snprintf(name, sizeof name, "%s=%s", p->name, def);
    printf("      %-18s %s", name, p->help);
    if (p->type == LTN_CHOICE) printf(" (%s)", p->choices);
    else if (p->type != LTN_STRING && p->max > p->min) printf(" (%.6g to %.6g)", p->min, p->max);
    if (p->alias) printf("; also %s", p->alias);
    puts(p->required ? "; must be given" : "");
}

static void print_kind(int k)
{
    printf("%s\n", kinds[k].name);
    for (int i = 0; ltn_list(kinds[k].kind, i); i++) {
        const ltn_entry *e = ltn_list(kinds[k].kind, i);
        printf("  %-20s %s", e->name, e->help);
        if (e->alias) printf("; also %s", e->alias);
        if (e->cite) printf(" [%s]", e->cite);
        puts("");
        for (const ltn_param *p = e->param; p && p->name; p++) print_param(p);
    }
}

static void json_param(cmd_json *j, const ltn_param *p)
{
    static const char *const type[] = {"int", "float", "string", "choice"};
    char def[64];
    cmd_json_open(j, NULL, '{');
    cmd_json_text(j, "name", p->name);
    if (p->alias) cmd_json_text(j, "alias", p->alias);
    cmd_json_text(j, "help", p->help);
    cmd_json_text(j, "type", type[p->type]);
    cmd_json_bool(j, "required", p->required);
    if (p->type == LTN_CHOICE) {
        choice(p->choices, (int)p->def, def, sizeof def);
        cmd_json_text(j, "default", def);
        cmd_json_text(j, "choices", p->choices);
    } else if (p->type != LTN_STRING) {
        if (!p->required) cmd_json_number(j, "default", p->def);
        cmd_json_number(j, "min", p->min);
        cmd_json_number(j, "max", p->max);
    }
    cmd_json_close(j, '}');
}

static void json_kind(cmd_json *j, int k)
{
    cmd_json_open(j, kinds[k].name, '[');
    for (int i = 0; ltn_list(kinds[k].kind, i); i++) {
        const ltn_entry *e = ltn_list(kinds[k].kind, i);
        cmd_json_open(j, NULL, '{');
        cmd_json_text(j, "name", e->name);
        cmd_json_text(j, "help", e->help);
        if (e->alias) cmd_json_text(j, "alias", e->alias);
        if (e->cite) cmd_json_text(j, "cite", e->cite);
        cmd_json_open(j, "parameters", '[');
        for (const ltn_param *p = e->param; p && p->name; p++) json_param(j, p);
        cmd_json_close(j, ']');
        cmd_json_close(j, '}');
    }
    cmd_json_close(j, ']');
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    const char *want = a->operands ? a->operand[0] : NULL;
    int only = -1;
    for (int k = 0; want && k < KINDS; k++)
        if (!strcmp(kinds[k].name, want)) only = k;
    if (want && only < 0) {
        const char *near = cmd_nearest(want, kind_name, NULL);
        return near ? cmd_usage("unknown table \"%s\"; did you mean \"%s\"?", want, near)
                    : cmd_usage("unknown table \"%s\"; see latino list --help", want);
    }
    const bool json = cmd_text(a, "json") != NULL;
    cmd_json j = {.f = stdout};
    if (json) cmd_json_open(&j, NULL, '{');
    for (int k = 0; k < KINDS; k++) {
        if (only >= 0 && k != only) continue;
        if (json) json_kind(&j, k);
        else print_kind(k);
    }
    if (json) cmd_json_close(&j, '}');
    return CMD_DONE;
}

static const cmd_option options[] = {
    {.name = "json", .type = CMD_FLAG, .help = "prints JSON"},
    {.name = NULL},
};

const cmd_verb cmd_list = {
    .name = "list",
    .operands = "[operations|degradations|noises|solvers|models|metrics|samplers|parts]",
    .summary = "shows what there is, with every parameter",
    .about = "Lists degradations, noises, solvers, samplers, metrics, kinds of models, parts of a model and operations "
             "of the engine, with the parameters that a SPEC may give: name:key=value,key=value.",
    .max_operands = 1,
    .option = options,
    .run = run,
};
