/* args.c - the words of a command line, held against the table of options of its verb. */
#include "cmd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERB(id) extern const cmd_verb cmd_##id;
#include "verb.def"
#undef VERB
static const cmd_verb *const verbs[] = {
#define VERB(id) &cmd_##id,
#include "verb.def"
#undef VERB
    NULL};

const cmd_verb *cmd_verb_at(int i)
{
    return verbs[i];
}

/* Edit distance with exchanged neighbours as one error (restricted Damerau-Levenshtein), of words up to 63
 * letters. */
static int distance(const char *a, const char *b)
{
    enum { ROOM = 64 };
    int d[3][ROOM];
    const int n = (int)strlen(a), m = (int)strlen(b);
    if (n >= ROOM || m >= ROOM) return ROOM;
    for (int j = 0; j <= m; j++) d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = d[i % 3];
        const int *up = d[(i + 2) % 3], *upper = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && upper[j - 2] + 1 < best)
                best = upper[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

const char *cmd_nearest(const char *word, const char *(*list)(const void *self, int i), const void *self)
{
    const char *best = NULL;
    int least = 1 + (int)strlen(word) / 2;
    for (int i = 0; list(self, i); i++) {
        const int d = distance(word, list(self, i));
        if (d < least) {
            least = d;
            best = list(self, i);
        }
    }
    return best;
}

static const char *option_name(const void *self, int i)
{
    return ((const cmd_verb *)self)->option[i].name;
}

static int find(const cmd_verb *verb, const char *name, size_t length)
{
    for (int i = 0; verb->option[i].name; i++)
        if (strlen(verb->option[i].name) == length && !strncmp(verb->option[i].name, name, length)) return i;
    return -1;
}

static const char *dashes(const char *name)
{
    return name[1] ? "--" : "-";
}

static int unknown_option(const cmd_verb *verb, const char *word, const char *name, size_t length)
{
    char bare[64];
    snprintf(bare, sizeof bare, "%.*s", (int)length, name);
    const char *near = cmd_nearest(bare, option_name, verb);
    if (!near)
        return cmd_usage("%s: unknown option \"%s\"; see latino %s --help", verb->name, word, verb->name);
    return cmd_usage("%s: unknown option \"%s\"; did you mean \"%s%s\"?", verb->name, word, dashes(near),
                     near);
}

static bool has_word(const char *words, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = words; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (!strncmp(p, word, n) && (p[n] == '|' || !p[n])) return n > 0;
    return false;
}

/* A number, with K, M or G behind it if that is legal; *end is where it ends. */
static double number(const char *text, bool size, char **end)
{
    static const char *const units = "KMG";
    const double v = strtod(text, end);
    const char *unit = size && *end != text && **end ? strchr(units, **end) : NULL;
    *end += unit != NULL;
    return unit ? v * pow(1000, (double)(unit - units + 1)) : v;
}

static int check_value(const cmd_option *o, const char *text)
{
    const char *dash = dashes(o->name);
    if (o->type == CMD_CHOICE && !has_word(o->value, text))
        return cmd_usage("%s%s %s: expected one of %s", dash, o->name, text, o->value);
    if (o->automatic && !strcmp(text, "auto")) return CMD_DONE;
    if (o->type != CMD_INT && o->type != CMD_REAL && o->type != CMD_SIZE) return CMD_DONE;
    char *end;
    const double v = number(text, o->type == CMD_SIZE, &end);
    const char *what = o->type == CMD_INT ? "a whole number" : o->type == CMD_SIZE ? "a size, as 2.5G," : "a number";
    if (end == text || *end || !isfinite(v) || (o->type == CMD_INT && v != floor(v)))
        return cmd_usage("%s%s %s: expected %s", dash, o->name, text, what);
    if (v < o->min || v > o->max)
        return cmd_usage("%s%s %s: expected %s from %.16g to %.16g", dash, o->name, text, what, o->min,
                         o->max);
    return CMD_DONE;
}

/* Reads the option in word[i]; returns the number of words it takes, or 0 after a message. */
static int read_option(cmd_args *a, int n, const char *const *word, int i)
{
    const char *name = word[i] + (word[i][1] == '-' ? 2 : 1);
    const size_t length = strcspn(name, "=");
    const bool one_dash = name == word[i] + 1;
    const int k = find(a->verb, name, length);
    if (k < 0 || one_dash != (length == 1)) {
        unknown_option(a->verb, word[i], name, length);
        return 0;
    }
    const cmd_option *o = &a->verb->option[k];
    const bool attached = name[length] == '=';
    if (o->type == CMD_FLAG) {
        a->value[k] = "";
        if (attached) cmd_usage("--%s takes no value", o->name);
        return !attached;
    }
    if (!attached && i + 1 == n) {
        cmd_usage("%s%s needs %s", dashes(o->name), o->name, o->value);
        return 0;
    }
    const char *value = attached ? name + length + 1 : word[i + 1];
    if (o->repeat && a->value[k]) {
        if (a->mores == CMD_MAXMORE) {
            cmd_usage("--%s: given too often", o->name);
            return 0;
        }
        a->more[a->mores++] = (cmd_more){k, value};
    } else {
        a->value[k] = value;
    }
    return check_value(o, value) ? 0 : 2 - attached;
}

int cmd_parse(const cmd_verb *verb, int n, const char *const *word, cmd_args *a)
{
    *a = (cmd_args){.verb = verb};
    bool options = true;
    for (int i = 0; i < n;) {
        const char *w = word[i];
        if (options && !strcmp(w, "--")) {
            options = false;
            i++;
        } else if (options && (!strcmp(w, "--help") || !strcmp(w, "-h"))) {
            a->help = true;
            return CMD_DONE;
        } else if (options && w[0] == '-' && w[1]) {
            const int taken = read_option(a, n, word, i);
            if (!taken) return CMD_USAGE;
            i += taken;
        } else {
            if (a->operands == verb->max_operands)
                return cmd_usage("%s: unexpected; usage: latino %s %s", w, verb->name, verb->operands);
            a->operand[a->operands++] = w;
            i++;
        }
    }
    return CMD_DONE;
}

void cmd_fill(cmd_args *a, const cmd_args *from)
{
    for (int i = 0; a->verb->option[i].name; i++) {
        if (a->value[i]) continue;
        a->value[i] = from->value[i];
        for (int m = 0; m < from->mores && a->mores < CMD_MAXMORE; m++)
            if (from->more[m].option == i) a->more[a->mores++] = from->more[m];
    }
    for (int i = a->operands; i < from->operands; i++) a->operand[a->operands++] = from->operand[i];
}

int cmd_check(const cmd_args *a)
{
    const cmd_verb *v = a->verb;
    if (a->operands < v->min_operands)
        return cmd_usage("%s needs %s; see latino %s --help", v->name, v->operands, v->name);
    for (int i = 0; v->option[i].name; i++) {
        const cmd_option *o = &v->option[i];
        if (o->required && !a->value[i])
            return cmd_usage("%s needs %s%s %s; see latino %s --help", v->name, dashes(o->name), o->name,
                             o->value, v->name);
    }
    return CMD_DONE;
}

const char *cmd_text(const cmd_args *a, const char *name)
{
    const int k = find(a->verb, name, strlen(name));
    if (k < 0) return NULL;
    return a->value[k] ? a->value[k] : a->verb->option[k].def;
}

const char *cmd_nth(const cmd_args *a, const char *name, int i)
{
    const int k = find(a->verb, name, strlen(name));
    if (!i) return cmd_text(a, name);
    for (int m = 0; m < a->mores; m++)
        if (a->more[m].option == k && !--i) return a->more[m].value;
    return NULL;
}

double cmd_number(const cmd_args *a, const char *name, double absent)
{
    const char *text = cmd_text(a, name);
    char *end;
    return text && strcmp(text, "auto") ? number(text, true, &end) : absent;
}

bool cmd_given(const cmd_args *a, const char *name)
{
    const int k = find(a->verb, name, strlen(name));
    return k >= 0 && a->value[k];
}

bool cmd_next_spec(const char **list, char *out, size_t room)
{
    const char *p = *list;
    bool quoted = false;
    if (!*p) return false;
    for (; *p; p++) {
        if (*p == '\'') quoted = !quoted;
        if (*p == ',' && !quoted && p[1 + strcspn(p + 1, ":=,+'")] != '=') break;
    }
    snprintf(out, room, "%.*s", (int)(p - *list), *list);
    *list = p + (*p == ',');
    return true;
}

void cmd_set(cmd_args *a, const char *name, const char *value)
{
    const int k = find(a->verb, name, strlen(name));
    if (k >= 0) a->value[k] = value;
}
