/* rows.c - the CSV file of `latino eval`: lines "# key: value" with the settings that rows have in common,
 * one line of names, one line a row (RFC 4180). A last line without its end is no row. */
#include "eval.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { TEXTS = 4, MAXFIELD = TEXTS + EVAL_MAXMETRIC + EVAL_COSTS };
static const char *const text_names[] = {"task", "solver", "prompt", "file"};
static const char *const cost_names[] = {"chi", "calls", "gradients", "seconds", "peak_mb"};

const char *eval_column(const eval_table *t, int column)
{
    return column < t->metrics ? t->metric[column] : cost_names[column - t->metrics];
}

/* ---- Fields ---- */
/* Splits a line in place; returns the number of fields, -1 if it has too many or a quote stays open. */
static int split(char *line, const char **field)
{
    int n = 0;
    for (char *p = line;; p++) {
        if (n == MAXFIELD) return -1;
        char *to = p;
        field[n++] = to;
        bool quoted = false;
        for (; *p && (quoted || *p != ','); p++) {
            if (*p != '"') *to++ = *p;
            else if (quoted && p[1] == '"') *to++ = *++p;
            else quoted = !quoted;
        }
        if (quoted) return -1;
        const bool last = !*p;
        *to = 0;
        if (last) return n;
    }
}

static void put_text(FILE *f, const char *text)
{
    if (!text[strcspn(text, ",\"#")]) {
        fprintf(f, "%s,", text);
        return;
    }
    fputc('"', f);
    for (; *text; text++) fprintf(f, *text == '"' ? "\"\"" : "%c", *text);
    fputs("\",", f);
}

void eval_row_write(const eval_grid *g, int task, int way, int picture, const double *value, char *line,
                    size_t room)
{
    FILE *f = fmemopen(line, room, "w");
    if (!f) return;
    const double *cost = value + g->metrics;
    put_text(f, g->task[task].name);
    put_text(f, g->way[way].label);
    put_text(f, g->way[way].prompt);
    put_text(f, g->picture[picture].file);
    for (int i = 0; i < g->metrics; i++) fprintf(f, "%.6g,", value[i]);
    fprintf(f, "%.5g,%.0f,%.0f,%.5f,%.1f\n", cost[EVAL_CHI], cost[EVAL_CALLS], cost[EVAL_GRADIENTS],
            cost[EVAL_SECONDS], cost[EVAL_PEAK]);
    fclose(f);
}

const char *eval_row_read(eval_table *t, const char *line)
{
    const char *field[MAXFIELD], *why = NULL;
    const int columns = t->metrics + EVAL_COSTS;
    eval_row *more = realloc(t->row, sizeof *more * (size_t)(t->rows + 1));
    if (more) t->row = more;
    eval_row r = {.line = strdup(line)};
    if (!more || !r.line) {
        why = "out of memory";
    } else if (split(r.line, field) != TEXTS + columns) {
        why = "another number of fields than the names at the top";
    }
    for (int i = 0; i < columns && !why; i++) {
        char *end;
        r.value[i] = strtod(field[TEXTS + i], &end);
        if (end == field[TEXTS + i] || *end) why = "a field that is no number";
    }
    if (why) {
        free(r.line);
        return why;
    }
    r.task = field[0];
    r.label = field[1];
    r.prompt = field[2];
    r.file = field[3];
    t->row[t->rows++] = r;
    return NULL;
}

/* ---- Reading ---- */
static const char *read_names(eval_table *t, char *line)
{
    const char *field[MAXFIELD];
    const int n = split(line, field);
    if (n <= TEXTS + EVAL_COSTS) return "no names of columns of latino eval";
    for (int i = 0; i < n; i++) {
        const int cost = i - (n - EVAL_COSTS);
        const char *name = i < TEXTS ? text_names[i] : cost >= 0 ? cost_names[cost] : field[i];
        if (strcmp(field[i], name) || strlen(name) >= sizeof *t->metric)
            return "no names of columns of latino eval";
        if (i >= TEXTS && cost < 0) snprintf(t->metric[t->metrics++], sizeof *t->metric, "%s", name);
    }
    return NULL;
}

/* "# key: value"; other remarks pass. */
static const char *read_setting(eval_table *t, const char *line)
{
    const char *key = line + 1 + strspn(line + 1, " "), *colon = strstr(key, ": ");
    if (!colon) return NULL;
    eval_setting *more = realloc(t->setting, sizeof *more * (size_t)(t->settings + 1));
    if (!more) return "out of memory";
    t->setting = more;
    eval_setting *s = &more[t->settings++];
    snprintf(s->key, sizeof s->key, "%.*s", (int)(colon - key), key);
    snprintf(s->value, sizeof s->value, "%s", colon + 2);
    return NULL;
}

int eval_table_read(const char *path, eval_table *t)
{
    char line[EVAL_MAXLINE];
    *t = (eval_table){.path = path};
    FILE *f = fopen(path, "r");
    if (!f && errno == ENOENT) return CMD_DONE;
    const char *why = f ? NULL : strerror(errno);
    int number = 0;
    while (f && !why && fgets(line, sizeof line, f)) {
        char *end = strchr(line, '\n');
        if (!end && feof(f)) break;
        number++;
        if (end) *end = 0;
        if (!end) why = "too long";
        else if (line[0] == '#') why = read_setting(t, line);
        else why = t->metrics ? eval_row_read(t, line) : read_names(t, line);
        t->whole = ftell(f);
    }
    if (f) fclose(f);
    if (why && number) cmd_say("%s: line %d: %s", path, number, why);
    else if (why) cmd_say("%s: %s", path, why);
    else if (!t->metrics) cmd_say("%s: no names of columns of latino eval", path);
    return why || !t->metrics ? CMD_FAILED : CMD_DONE;
}

void eval_table_free(eval_table *t)
{
    for (int i = 0; i < t->rows; i++) free(t->row[i].line);
    free(t->row);
    free(t->setting);
    *t = (eval_table){0};
}

/* ---- Writing more ---- */
static const eval_setting *find_setting(const eval_table *t, const char *key)
{
    for (int i = 0; i < t->settings; i++)
        if (!strcmp(t->setting[i].key, key)) return &t->setting[i];
    return NULL;
}

int eval_table_refuse(const eval_table *t, const eval_grid *g)
{
    if (!t->metrics) return CMD_DONE;
    for (int i = 0; i < g->settings; i++) {
        const eval_setting *want = &g->setting[i], *has = find_setting(t, want->key);
        if (!has || !strcmp(has->value, want->value)) continue;
        cmd_say("%s: made with %s: %s; now it is %s; choose another -o", t->path, has->key, has->value,
                want->value);
        return CMD_FAILED;
    }
    bool same = t->metrics == g->metrics;
    for (int i = 0; i < g->metrics && same; i++) same = !strcmp(t->metric[i], g->metric[i]);
    if (!same) cmd_say("%s: made with other --metrics; choose another -o", t->path);
    return same ? CMD_DONE : CMD_FAILED;
}

/* The file as it begins, whole. */
static int begin(const char *path, const eval_grid *g)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f) return CMD_FAILED;
    fprintf(f, "# latino eval %s\n", ltn_version());
    for (int i = 0; i < g->settings; i++) fprintf(f, "# %s: %s\n", g->setting[i].key, g->setting[i].value);
    for (int i = 0; i < TEXTS; i++) fprintf(f, "%s,", text_names[i]);
    for (int i = 0; i < g->metrics; i++) fprintf(f, "%s,", g->metric[i]);
    for (int i = 0; i < EVAL_COSTS; i++) fprintf(f, "%s%c", cost_names[i], i + 1 < EVAL_COSTS ? ',' : '\n');
    fclose(f);
    const int code = cmd_write_text(path, text);
    free(text);
    return code;
}

/* Under the lock the file is read once more: another command may have added to it since. */
FILE *eval_table_append(eval_table *t, const eval_grid *g)
{
    const char *path = t->path;
    if (access(path, F_OK) && begin(path, g)) return NULL;
    FILE *f = fopen(path, "r+");
    if (!f) {
        cmd_say("%s: cannot be written: %s", path, strerror(errno));
        return NULL;
    }
    bool good = !flock(fileno(f), LOCK_EX | LOCK_NB);
    if (!good) cmd_say("%s: another latino eval is at work on it", path);
    eval_table_free(t);
    good = good && !eval_table_read(path, t) && !eval_table_refuse(t, g);
    if (good && (ftruncate(fileno(f), t->whole) || fseek(f, t->whole, SEEK_SET))) {
        cmd_say("%s: cannot be written: %s", path, strerror(errno));
        good = false;
    }
    for (int i = 0; i < g->settings && good; i++)
        if (!find_setting(t, g->setting[i].key))
            fprintf(f, "# %s: %s\n", g->setting[i].key, g->setting[i].value);
    if (good) return f;
    fclose(f);
    return NULL;
}
