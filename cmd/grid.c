/* grid.c - what `latino eval` is asked for: lists of tasks, solvers and metrics, pictures with captions, and
 * a digest of what decides the rows. */
#include "eval.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The tasks of doc/results.md. */
static const struct {
    const char *name, *text;
} known_tasks[] = {
    {"sr4-.01", "downsample:factor=4@0.01"},
    {"sr4-.05", "downsample:factor=4@0.05"},
    {"sr8-.05", "downsample:factor=8@0.05"},
    {"denoise-.05", "identity@0.05"},
    {"denoise-.2", "identity@0.2"},
    {"denoise-.3", "identity@0.3"},
    {"inpaint-0", "inpaint:random=0.5,seed=7@0"},
    {"inpaint-.05", "inpaint:random=0.5,seed=7@0.05"},
    {"inpaint92-.05", "inpaint:random=0.92,seed=7@0.05"},
    {"blur3-.01", "blur:sigma=3@0.01"},
    {NULL, NULL},
};

/* ---- Lists: "a:x=1,y=2, label=b, c@text" ---- */
static bool in_words(const char *words, const char *w, size_t n)
{
    for (const char *p = words; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (strcspn(p, "|") == n && !strncmp(p, w, n)) return true;
    return false;
}

/* Whether a spec of this table begins here. */
static bool begins_spec(ltn_kind kind, const char *text)
{
    const size_t n = strcspn(text, ":@+, ");
    if (kind == LTN_SOLVERS && in_words("naive", text, n)) return true;
    for (int i = 0; ltn_list(kind, i); i++)
        if (in_words(ltn_list(kind, i)->name, text, n) || in_words(ltn_list(kind, i)->alias, text, n))
            return true;
    return false;
}

/* The length of a label "label=" in front of an entry, or 0: then an "=" belongs to a parameter. */
static size_t label_length(const char *entry)
{
    const size_t n = strcspn(entry, "=:@+,");
    return entry[n] == '=' ? n : 0;
}

/* Whether after a comma the spec before goes on: "y=2" does, unless y labels a spec of its own. */
static bool goes_on(ltn_kind kind, const char *text)
{
    const size_t n = label_length(text);
    return n && !begins_spec(kind, text + n + 1);
}

static void trim(char *s)
{
    size_t n = strlen(s), blanks = 0;
    while (n && isspace((unsigned char)s[n - 1])) s[--n] = 0;
    while (isspace((unsigned char)s[blanks])) blanks++;
    memmove(s, s + blanks, n - blanks + 1);
}

/* Takes the next entry off the list; false after the last. */
static bool next_entry(const char **list, ltn_kind kind, char *entry, size_t room)
{
    const char *p = *list += strspn(*list, " \t\n,");
    if (!*p) return false;
    for (; *p; p++) {
        const char *close = *p == '\'' && p > *list && p[-1] == '=' ? strchr(p + 1, '\'') : NULL;
        if (close) p = close;
        if (*p == ',' && !goes_on(kind, p + 1 + strspn(p + 1, " \t\n"))) break;
    }
    snprintf(entry, room, "%.*s", (int)(p - *list), *list);
    trim(entry);
    *list = p;
    return true;
}

/* Cuts text at the first '@' after which `fits` holds; returns what follows, or NULL. */
static char *cut_at(char *text, bool (*fits)(const char *))
{
    for (char *p = strchr(text, '@'); p; p = strchr(p + 1, '@')) {
        if (fits && !fits(p + 1)) continue;
        *p = 0;
        return p + 1;
    }
    return NULL;
}

/* Names must stand in a CSV file and on a line; the commas of a spec become semicolons. */
static void name_of(char *name, const char *text)
{
    snprintf(name, EVAL_NAME, "%s", text);
    for (char *p = name; *p; p++)
        if (*p == ',') *p = ';';
}

static int bad_entry(const char *entry)
{
    if (strlen(entry) >= EVAL_NAME)
        return cmd_usage("%.40s...: too long; at most %d letters", entry, EVAL_NAME - 1);
    if (strchr(entry, '\n')) return cmd_usage("%.40s: one line expected", entry);
    return CMD_DONE;
}

static void *grow(void *list, int n, size_t size)
{
    void *more = realloc(list, size * (size_t)(n + 1));
    if (!more) cmd_say("out of memory");
    else memset((char *)more + size * (size_t)n, 0, size);
    return more;
}

/* ---- Tasks ---- */
static bool is_number(const char *text)
{
    char *end;
    const double v = strtod(text, &end);
    return end > text && (!*end || *end == '@') && v >= 0 && v <= 10;
}

static bool is_sigma(const char *text)
{
    return is_number(text) || !strcmp(text, "estimated");
}

static bool is_noise(const char *text)
{
    return is_number(text) || begins_spec(LTN_NOISES, text);
}

static const char *task_name(const void *self, int i)
{
    return known_tasks[i].name;
}

static const char *built_in(const char *name)
{
    for (int i = 0; known_tasks[i].name; i++)
        if (!strcmp(known_tasks[i].name, name)) return known_tasks[i].text;
    return NULL;
}

/* [NAME=]DEGRADATION[@NOISE[@SIGMA]] or the name of a task of the table. */
static int add_task(eval_grid *g, const char *entry)
{
    if (bad_entry(entry)) return CMD_USAGE;
    eval_task *list = grow(g->task, g->tasks, sizeof *list);
    if (!list) return CMD_FAILED;
    g->task = list;
    eval_task *t = &list[g->tasks];
    const size_t label = label_length(entry);
    const char *spec = entry + label + (label > 0), *known = built_in(spec);
    name_of(t->name, entry);
    if (label) t->name[label] = 0;
    snprintf(t->text, sizeof t->text, "%s", known ? known : spec);
    snprintf(t->degradation, sizeof t->degradation, "%s", t->text);
    char *noise = cut_at(t->degradation, is_noise), *sigma = noise ? cut_at(noise, is_sigma) : NULL;
    if (!begins_spec(LTN_DEGRADATIONS, t->degradation)) {
        const char *near = cmd_nearest(entry, task_name, NULL);
        return cmd_usage("--tasks: \"%s\": neither a task nor a degradation%s%s%s", entry,
                         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    const bool number = noise && is_number(noise);
    if (number && strtod(noise, NULL) > 0)
        snprintf(t->noise, sizeof t->noise, "gaussian:sigma=%g", strtod(noise, NULL));
    else if (noise && !number) snprintf(t->noise, sizeof t->noise, "%s", noise);
    const char *told = sigma ? sigma : number ? noise : noise ? "estimated" : "0";
    t->sigma = is_number(told) ? strtod(told, NULL) : -1;
    for (int i = 0; i < g->tasks; i++)
        if (!strcmp(list[i].name, t->name)) return cmd_usage("--tasks: two tasks are called \"%s\"", t->name);
    g->tasks++;
    return CMD_DONE;
}

/* ---- Solvers ---- */
/* [LABEL=]SPEC[@PROMPT] */
static int add_way(eval_grid *g, const char *entry, const char *prompt)
{
    if (bad_entry(entry)) return CMD_USAGE;
    eval_way *list = grow(g->way, g->ways, sizeof *list);
    if (!list) return CMD_FAILED;
    g->way = list;
    eval_way *w = &list[g->ways];
    const size_t label = label_length(entry);
    name_of(w->label, entry);
    if (label) w->label[label] = 0;
    snprintf(w->spec, sizeof w->spec, "%s", entry + label + (label > 0));
    const char *own = cut_at(w->spec, NULL);
    snprintf(w->prompt, sizeof w->prompt, "%s", !strcmp(w->spec, "naive") ? "empty" : own ? own : prompt);
    for (int i = 0; i < g->ways; i++)
        if (!strcmp(list[i].label, w->label))
            return cmd_usage("--solvers: two solvers are called \"%s\"", w->label);
    g->ways++;
    return CMD_DONE;
}

static const char *metric_name(const void *self, int i)
{
    return ltn_list(LTN_METRICS, i) ? ltn_list(LTN_METRICS, i)->name : NULL;
}

static int add_metric(eval_grid *g, const char *entry)
{
    if (bad_entry(entry)) return CMD_USAGE;
    if (!begins_spec(LTN_METRICS, entry)) {
        const char *near = cmd_nearest(entry, metric_name, NULL);
        return cmd_usage("--metrics: unknown metric \"%s\"%s%s%s", entry, near ? "; did you mean \"" : "",
                         near ? near : "", near ? "\"?" : "");
    }
    if (g->metrics == EVAL_MAXMETRIC) return cmd_usage("--metrics: at most %d", EVAL_MAXMETRIC);
    for (int i = 0; i < g->metrics; i++)
        if (!strcmp(g->metric[i], entry)) return cmd_usage("--metrics: \"%s\" stands there twice", entry);
    snprintf(g->metric[g->metrics++], sizeof *g->metric, "%s", entry);
    return CMD_DONE;
}

static int add_lists(const cmd_args *a, eval_grid *g, const char *prompt)
{
    char entry[2 * EVAL_NAME];
    int code = CMD_DONE;
    const char *list;
    for (int i = 0; (list = cmd_nth(a, "tasks", i)); i++)
        while (!code && next_entry(&list, LTN_DEGRADATIONS, entry, sizeof entry)) code = add_task(g, entry);
    const bool one = cmd_text(a, "solver"), any = one || cmd_text(a, "solvers");
    for (int i = 0; (list = any ? cmd_nth(a, "solvers", i) : i ? NULL : "naive,latino"); i++)
        while (!code && next_entry(&list, LTN_SOLVERS, entry, sizeof entry)) code = add_way(g, entry, prompt);
    for (int i = 0; !code && (list = cmd_nth(a, "solver", i)); i++) code = add_way(g, list, prompt);
    list = cmd_text(a, "metrics");
    while (!code && next_entry(&list, LTN_METRICS, entry, sizeof entry)) code = add_metric(g, entry);
    if (!code && !(g->tasks && g->ways && g->metrics))
        code = cmd_usage("eval needs at least one task, one solver and one metric");
    return code;
}

/* ---- Pictures ---- */
int eval_spread(int i, int n, int of)
{
    return (int)((int64_t)i * of / n);
}

char *eval_read_all(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb"), *text;
    char *s = NULL, part[4096];
    size_t n;
    if (!f || !(text = open_memstream(&s, size))) return NULL;
    while ((n = fread(part, 1, sizeof part, f))) fwrite(part, 1, n, text);
    fclose(text);
    const int bad = ferror(f), why = errno;
    fclose(f);
    if (!bad) return s;
    free(s);
    errno = why;
    return NULL;
}

/* file<TAB>caption, a line each; pictures without a line have no caption. */
static int read_captions(const cmd_args *a, eval_grid *g)
{
    const char *given = cmd_text(a, "captions");
    const cmd_path usual = cmd_join(g->folder, "captions.tsv");
    const char *path = given ? given : usual.s;
    size_t size;
    g->captions = eval_read_all(path, &size);
    if (!g->captions && (given || errno != ENOENT)) {
        cmd_say("%s: %s", path, strerror(errno));
        return CMD_FAILED;
    }
    int number = 0;
    for (char *line = g->captions, *end; line && *line; line = end) {
        const size_t n = strcspn(line, "\n");
        end = line + n + (line[n] != 0);
        line[n] = 0;
        if (n && line[n - 1] == '\r') line[n - 1] = 0;
        number++;
        char *tab = strchr(line, '\t');
        if (!tab && *line) {
            cmd_say("%s: line %d: expected a file name, a tab and a caption", path, number);
            return CMD_FAILED;
        }
        if (tab) *tab = 0;
        for (int i = 0; i < g->pictures && tab; i++)
            if (!strcmp(g->picture[i].file, line)) g->picture[i].caption = tab + 1;
    }
    return CMD_DONE;
}

static int choose_pictures(const cmd_args *a, eval_grid *g)
{
    const int code = cmd_names(g->folder, &g->names, &g->found), wanted = (int)cmd_number(a, "n", 0);
    if (code) return code;
    g->pictures = wanted && wanted < g->found ? wanted : g->found;
    g->picture = calloc((size_t)g->pictures, sizeof *g->picture);
    if (!g->picture) return CMD_FAILED;
    for (int i = 0; i < g->pictures; i++) {
        const char *file = g->names[eval_spread(i, g->pictures, g->found)];
        if (strchr(file, '\n') || strlen(file) >= EVAL_NAME) {
            cmd_say("%s: a name of one line is expected", file);
            return CMD_FAILED;
        }
        g->picture[i].file = file;
    }
    return CMD_DONE;
}

/* Every solver that is told captions has them. */
static int check_captions(const eval_grid *g)
{
    for (int w = 0; w < g->ways; w++)
        for (int i = 0; i < g->pictures; i++) {
            if (strcmp(g->way[w].prompt, "caption") || g->picture[i].caption) continue;
            return cmd_usage(
                "%s has the prompt \"caption\", but %s has none: captions.tsv or --captions gives them",
                g->way[w].label, g->picture[i].file);
        }
    return CMD_DONE;
}

/* ---- Settings: what may not change between rows of one file ---- */
enum { TAIL = 4096 };

uint64_t eval_digest(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* Of a file its size and its end: where weights and pictures differ. */
static uint64_t digest_file(uint64_t h, const char *path)
{
    char end[TAIL];
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f) return h;
    if (!fstat(fileno(f), &st)) {
        const int64_t size = st.st_size;
        h = eval_digest(h, &size, sizeof size);
        fseek(f, size > TAIL ? (long)size - TAIL : 0, SEEK_SET);
        h = eval_digest(h, end, fread(end, 1, sizeof end, f));
    }
    fclose(f);
    return h;
}

/* The card of a model and its list of words say something about it and decide nothing. */
static bool is_prose(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (!strcmp(dot, ".md") || !strcmp(dot, ".txt"));
}

/* Sums over the files of a folder and of those in it, so that their order does not matter. */
static uint64_t digest_folder(const char *path, int depth)
{
    enum { DEEPEST = 2 };
    uint64_t sum = 0;
    DIR *d = opendir(path);
    if (!d) return digest_file(0xcbf29ce484222325u, path);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || (!depth && is_prose(e->d_name))) continue;
        const cmd_path below = cmd_join(path, e->d_name);
        const uint64_t name = eval_digest(0xcbf29ce484222325u, e->d_name, strlen(e->d_name));
        if (!cmd_is_folder(below.s)) sum += digest_file(name, below.s);
        else if (depth < DEEPEST) sum += name ^ digest_folder(below.s, depth + 1);
    }
    closedir(d);
    return sum;
}

static uint64_t digest_pictures(const eval_grid *g)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < g->pictures; i++) {
        const eval_picture *p = &g->picture[i];
        h = eval_digest(h, p->file, strlen(p->file) + 1);
        h = digest_file(h, cmd_join(g->folder, p->file).s);
        if (p->caption) h = eval_digest(h, p->caption, strlen(p->caption) + 1);
    }
    return h;
}

static const char *last_name(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    return path + n;
}

/* An adapter as the settings have it: its name, its scale and its file's digest. */
static void note_adapter(const char *spec, eval_setting *s)
{
    cmd_path file;
    const char *colon = strrchr(spec, ':');
    const bool whole = !colon || !access(spec, R_OK);
    snprintf(file.s, sizeof file.s, "%.*s", whole ? (int)strlen(spec) : (int)(colon - spec), spec);
    snprintf(s->key, sizeof s->key, "lora");
    snprintf(s->value, sizeof s->value, "%.*s, digest %016llx", EVAL_SPEC, last_name(spec),
             (unsigned long long)digest_file(0, file.s));
}

static int note_settings(eval_grid *g)
{
    int adapters = 0;
    while (cmd_nth(g->args, "lora", adapters)) adapters++;
    g->setting = calloc((size_t)(3 + adapters + g->tasks + g->ways), sizeof *g->setting);
    if (!g->setting) return CMD_FAILED;
    eval_setting *s = g->setting;
    snprintf(s->key, sizeof s->key, "pictures");
    snprintf(s++->value, sizeof s->value, "%d of %d, digest %016llx", g->pictures, g->found,
             (unsigned long long)digest_pictures(g));
    snprintf(s->key, sizeof s->key, "model");
    snprintf(s++->value, sizeof s->value, "%.*s, digest %016llx", EVAL_SPEC, last_name(g->model.s),
             (unsigned long long)digest_folder(g->model.s, 0));
    for (int i = 0; i < adapters; i++) note_adapter(cmd_nth(g->args, "lora", i), s++);
    snprintf(s->key, sizeof s->key, "seed");
    snprintf(s++->value, sizeof s->value, "%llu", (unsigned long long)g->seed);
    for (int i = 0; i < g->tasks; i++, s++) {
        snprintf(s->key, sizeof s->key, "task %s", g->task[i].name);
        snprintf(s->value, sizeof s->value, "%s", g->task[i].text);
    }
    for (int i = 0; i < g->ways; i++, s++) {
        snprintf(s->key, sizeof s->key, "solver %s", g->way[i].label);
        snprintf(s->value, sizeof s->value, "%s@%s", g->way[i].spec, g->way[i].prompt);
    }
    g->settings = (int)(s - g->setting);
    return CMD_DONE;
}

int eval_grid_open(const cmd_args *a, eval_grid *g)
{
    *g = (eval_grid){.folder = a->operand[0], .args = a, .seed = (uint64_t)cmd_number(a, "seed", 1),
                     .shown = (int)cmd_number(a, "show", 0)};
    int code = choose_pictures(a, g);
    if (!code) code = read_captions(a, g);
    const bool captions = !code && g->captions;
    const char *prompt = cmd_text(a, "prompt");
    if (!code) code = add_lists(a, g, prompt ? prompt : captions ? "caption" : "empty");
    if (!code) code = check_captions(g);
    if (!code) code = cmd_model_path(a, &g->model);
    return code ? code : note_settings(g);
}

void eval_grid_free(eval_grid *g)
{
    cmd_names_free(g->names, g->found);
    free(g->captions);
    free(g->picture);
    free(g->task);
    free(g->way);
    free(g->setting);
    *g = (eval_grid){0};
}
