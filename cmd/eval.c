/* eval.c - `latino eval`: pictures x tasks x solvers. Each pair of a task and a solver is worked on by
 * processes of its own, whose peak memory is thus its own; they send their rows through pipes to this one,
 * which alone writes. */
#include "eval.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAXJOBS = 64 };

/* Pictures [from, to) of a task with a solver. */
typedef struct unit {
    int task, way, from, to;
} unit;

typedef struct child {
    pid_t pid; /* 0: none */
    int fd;
    unit unit;
    char line[EVAL_MAXLINE]; /* what came of the next row */
    size_t length;
} child;

typedef struct crew {
    eval_grid grid;
    eval_table table;
    FILE *csv;
    cmd_path pictures;
    char *mark; /* (task, way, picture): done */
    int jobs, todo, done, failed, next; /* next: the unit to begin */
    double start;
    child child[MAXJOBS];
} crew;

static char *mark(const crew *c, int task, int way, int picture)
{
    return &c->mark[(task * c->grid.ways + way) * (int64_t)c->grid.pictures + picture];
}

/* Marks the cell that the row is of; rows that this command does not ask for are left alone. */
static void mark_row(crew *c, const eval_row *r)
{
    const eval_grid *g = &c->grid;
    int t = 0, w = 0, k = 0;
    while (t < g->tasks && strcmp(g->task[t].name, r->task)) t++;
    while (w < g->ways && strcmp(g->way[w].label, r->label)) w++;
    while (k < g->pictures && strcmp(g->picture[k].file, r->file)) k++;
    if (t < g->tasks && w < g->ways && k < g->pictures) *mark(c, t, w, k) = 1;
}

static bool mark_all(crew *c)
{
    free(c->mark);
    c->mark = calloc((size_t)c->grid.tasks * (size_t)c->grid.ways, (size_t)c->grid.pictures);
    for (int i = 0; i < c->table.rows && c->mark; i++) mark_row(c, &c->table.row[i]);
    if (!c->mark) cmd_say("out of memory");
    return c->mark;
}

/* The cells that are still to come. */
static int count(const crew *c, const unit *u)
{
    int n = 0;
    for (int k = u->from; k < u->to; k++) n += !*mark(c, u->task, u->way, k);
    return n;
}

static int count_all(const crew *c)
{
    const eval_grid *g = &c->grid;
    int n = 0;
    for (int t = 0; t < g->tasks; t++)
        for (int w = 0; w < g->ways; w++) n += count(c, &(unit){t, w, 0, g->pictures});
    return n;
}

/* ---- In the child ---- */
static int work(const crew *c, const unit *u, int fd)
{
    const eval_grid *g = &c->grid;
    char line[EVAL_MAXLINE];
    double value[EVAL_MAXMETRIC + EVAL_COSTS];
    eval_worker w;
    const int opened = eval_worker_open(&w, g, c->pictures.s);
    int code = opened;
    for (int k = u->from; k < u->to && !opened; k++) {
        if (*mark(c, u->task, u->way, k)) continue;
        if (eval_cell(&w, u->task, u->way, k, value)) {
            cmd_say("%s, %s, %s: %s", g->task[u->task].name, g->way[u->way].label, g->picture[k].file,
                    ltn_error(w.ctx));
            code = CMD_FAILED;
        } else {
            eval_row_write(g, u->task, u->way, k, value, line, sizeof line);
            if (write(fd, line, strlen(line)) < 0) _exit(CMD_FAILED);
        }
    }
    eval_worker_close(&w);
    return code;
}

/* In a process of its own, before this one has threads. */
static int check(const crew *c)
{
    int status;
    const pid_t pid = fork();
    if (!pid) {
        eval_worker w;
        const int code = eval_worker_open(&w, &c->grid, NULL);
        _exit(code ? code : eval_worker_check(&w));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        cmd_say("the tasks and solvers could not be tried");
        return CMD_FAILED;
    }
    return WEXITSTATUS(status);
}

/* ---- In the parent ---- */
/* The i-th unit: each pair of task and solver in as many pieces as there are jobs. */
static bool unit_at(const crew *c, int i, unit *u)
{
    const eval_grid *g = &c->grid;
    const int pieces = c->jobs < g->pictures ? c->jobs : g->pictures, pair = i / pieces, piece = i % pieces;
    *u = (unit){pair / g->ways, pair % g->ways, eval_spread(piece, pieces, g->pictures),
                eval_spread(piece + 1, pieces, g->pictures)};
    return u->task < g->tasks;
}

static bool begin(crew *c, child *one, const unit *u)
{
    int ends[2];
    if (pipe(ends)) return false;
    fflush(NULL);
    const pid_t pid = fork();
    if (!pid) {
        close(ends[0]);
        for (int i = 0; i < c->jobs; i++)
            if (c->child[i].pid) close(c->child[i].fd);
        close(fileno(c->csv)); /* and with it the lock */
        cmd_hold(false);
        const int code = work(c, u, ends[1]);
        _exit(code);
    }
    close(ends[1]);
    if (pid < 0) close(ends[0]);
    else *one = (child){.pid = pid, .fd = ends[0], .unit = *u};
    return pid > 0;
}

/* Seconds that the rows to come take, by the mean of those of their solver that are there, else by the mean
 * of all. */
static double left(const crew *c)
{
    const eval_grid *g = &c->grid;
    const int column = g->metrics + EVAL_SECONDS;
    double all = 0, sum = 0;
    for (int i = 0; i < c->table.rows; i++) all += c->table.row[i].value[column] / c->table.rows;
    for (int w = 0; w < g->ways; w++) {
        double own = 0;
        int n = 0, to_come = 0;
        for (int i = 0; i < c->table.rows; i++) {
            if (strcmp(c->table.row[i].label, g->way[w].label)) continue;
            own += c->table.row[i].value[column];
            n++;
        }
        for (int t = 0; t < g->tasks; t++) to_come += count(c, &(unit){t, w, 0, g->pictures});
        sum += to_come * (n ? own / n : all);
    }
    return sum / c->jobs;
}

static void show(const crew *c, const unit *u)
{
    if (!isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K%d of %d: %s, %s, %.0f s", c->done, c->todo, c->grid.task[u->task].name,
            c->grid.way[u->way].label, cmd_seconds() - c->start);
    if (c->done) fprintf(stderr, ", %.0f s left", left(c));
    fflush(stderr);
}

/* Whole lines become rows. */
static void take(crew *c, child *one)
{
    const ssize_t n = read(one->fd, one->line + one->length, sizeof one->line - 1 - one->length);
    if (n <= 0) return;
    one->length += (size_t)n;
    one->line[one->length] = 0;
    for (char *end; (end = strchr(one->line, '\n'));) {
        const size_t size = (size_t)(end + 1 - one->line);
        bool good = fwrite(one->line, 1, size, c->csv) == size && !fflush(c->csv);
        *end = 0;
        if (!good) cmd_say("%s: cannot be written: %s", c->table.path, strerror(errno));
        const char *why = good ? eval_row_read(&c->table, one->line) : NULL;
        if (why) cmd_say("%s: %s", one->line, why);
        else if (good) mark_row(c, &c->table.row[c->table.rows - 1]);
        c->failed += !good || why;
        c->done++;
        one->length -= size;
        memmove(one->line, end + 1, one->length + 1);
    }
    show(c, &one->unit);
}

static void finish(crew *c, child *one)
{
    int status = 0;
    close(one->fd);
    while (waitpid(one->pid, &status, 0) < 0 && errno == EINTR) continue;
    one->pid = 0;
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return;
    c->failed++;
    if (WIFSIGNALED(status) && !cmd_caught())
        cmd_say("%s, %s: ended by signal %d (%s), %d pictures left", c->grid.task[one->unit.task].name,
                c->grid.way[one->unit.way].label, WTERMSIG(status), strsignal(WTERMSIG(status)),
                count(c, &one->unit));
}

static int alive(const crew *c)
{
    int n = 0;
    for (int i = 0; i < c->jobs; i++) n += c->child[i].pid > 0;
    return n;
}

/* Gives every idle place the next unit that has something to do. */
static bool employ(crew *c)
{
    unit u;
    for (int i = 0; i < c->jobs; i++) {
        while (!c->child[i].pid && unit_at(c, c->next, &u)) {
            if (count(c, &u) && !begin(c, &c->child[i], &u)) {
                cmd_say("no process for %s, %s: %s", c->grid.task[u.task].name, c->grid.way[u.way].label,
                        strerror(errno));
                return false;
            }
            if (c->child[i].pid) show(c, &u);
            c->next++;
        }
    }
    return alive(c) > 0;
}

static void stop(crew *c)
{
    for (int i = 0; i < c->jobs; i++)
        if (c->child[i].pid) kill(c->child[i].pid, SIGTERM);
}

static void conduct(crew *c)
{
    struct pollfd p[MAXJOBS];
    while (!cmd_caught() && employ(c)) {
        for (int i = 0; i < c->jobs; i++)
            p[i] = (struct pollfd){c->child[i].pid ? c->child[i].fd : -1, POLLIN, 0};
        if (poll(p, (nfds_t)c->jobs, 1000) <= 0) continue;
        for (int i = 0; i < c->jobs; i++) {
            if (p[i].revents & POLLIN) take(c, &c->child[i]);
            else if (p[i].revents) finish(c, &c->child[i]);
        }
    }
    stop(c);
    for (int i = 0; i < c->jobs; i++)
        if (c->child[i].pid) finish(c, &c->child[i]);
    cmd_progress_end();
}

/* What is not there yet is computed. */
static int fill(crew *c)
{
    int code = eval_table_refuse(&c->table, &c->grid);
    if (!code && !mark_all(c)) code = CMD_FAILED;
    if (code || !count_all(c)) return code;
    code = check(c);
    if (code) return code;
    c->csv = eval_table_append(&c->table, &c->grid);
    if (!c->csv || !mark_all(c) || (c->grid.shown && cmd_make_folder(c->pictures.s))) return CMD_FAILED;
    c->todo = count_all(c);
    c->start = cmd_seconds();
    cmd_hold(true);
    conduct(c);
    if (fclose(c->csv)) c->failed++;
    cmd_hold(false);
    if (cmd_caught()) cmd_say("interrupted; the same command goes on from here");
    else if (c->failed) cmd_say("%d of %d rows are missing", count_all(c), c->todo);
    return c->failed ? CMD_FAILED : CMD_DONE;
}

static void share_threads(crew *c, const cmd_args *a)
{
    const int cores = (int)sysconf(_SC_NPROCESSORS_ONLN), all = (int)cmd_number(a, "threads", cores);
    c->jobs = (int)cmd_number(a, "jobs", 1);
    c->grid.threads = all > c->jobs ? all / c->jobs : 1;
}

/* REPORT without the extension of one of its files. */
static cmd_path stem_of(const char *report)
{
    static const char *const extension[] = {".csv", ".html", ".md", NULL};
    cmd_path p;
    snprintf(p.s, sizeof p.s - 8, "%s", report);
    char *dot = strrchr(p.s, '.');
    for (int i = 0; dot && extension[i]; i++)
        if (!strcmp(dot, extension[i])) {
            *dot = 0;
            break;
        }
    return p;
}

static int run(ltn_ctx *ctx, const cmd_args *a)
{
    static crew c;
    const cmd_path stem = stem_of(cmd_text(a, "o"));
    cmd_path csv;
    snprintf(csv.s, sizeof csv.s, "%.*s.csv", (int)sizeof csv.s - 8, stem.s);
    snprintf(c.pictures.s, sizeof c.pictures.s, "%.*s.d", (int)sizeof c.pictures.s - 8, stem.s);
    const size_t n = strlen(stem.s);
    int code = !n || stem.s[n - 1] == '/' ? cmd_usage("-o %s: a name is missing", cmd_text(a, "o")) : CMD_DONE;
    if (!code) code = eval_table_read(csv.s, &c.table);
    if (!code && a->operands) code = eval_grid_open(a, &c.grid);
    share_threads(&c, a);
    if (!code && a->operands) code = fill(&c);
    else if (!code && !c.table.rows) {
        cmd_say("%s: no rows; give the folder of the pictures", csv.s);
        code = CMD_FAILED;
    }
    if (c.table.rows && !cmd_caught() && eval_report(&c.table, stem.s, c.pictures.s)) code = CMD_FAILED;
    eval_grid_free(&c.grid);
    eval_table_free(&c.table);
    free(c.mark);
    return code;
}

static const cmd_option options[] = {
    {.name = "o", .value = "REPORT", .type = CMD_FILE, .required = true,
     .help = "writes REPORT.csv, and from it REPORT.html and REPORT.md; rows that are there are not computed "
             "again"},
    {.name = "tasks", .value = "LIST", .type = CMD_SPEC, .kind = LTN_DEGRADATIONS, .repeat = true,
     .def = "sr4-.05,denoise-.05,inpaint-.05",
     .help = "[NAME=]DEGRADATION[@NOISE[@SIGMA]] with commas between, for instance downsample:factor=4@0.05 "
             "or blur:sigma=2@poisson:gain=.01@estimated; NOISE is a sigma or a spec, SIGMA what solvers are "
             "told. Or one of sr4-.01 sr4-.05 sr8-.05 denoise-.05 denoise-.2 denoise-.3 inpaint-0 "
             "inpaint-.05 inpaint92-.05 blur3-.01"},
    {.name = "solvers", .value = "LIST", .type = CMD_SPEC, .kind = LTN_SOLVERS, .repeat = true,
     .help = "[NAME=]SPEC[@PROMPT] with commas between, for instance naive,tv:weight=.01,latino@empty; naive "
             "is the naive inverse; without this option naive,latino"},
    {.name = "solver", .value = "ENTRY", .type = CMD_SPEC, .kind = LTN_SOLVERS, .repeat = true,
     .help = "one more, whole: its prompt may hold commas"},
    {.name = "prompt", .value = "P", .type = CMD_TEXT,
     .help = "of the solvers that have no own: caption, empty, or a text; without it caption where there are "
             "captions"},
    {.name = "metrics", .value = "LIST", .type = CMD_SPEC, .kind = LTN_METRICS,
     .def = "psnr,ssim,gmsd,haarpsi", .help = "names with commas between (latino list metrics)"},
    {.name = "captions", .value = "FILE", .type = CMD_FILE,
     .help = "a line for each picture: its name, a tab, the caption; without it FOLDER/captions.tsv if that "
             "is there"},
    {.name = "n", .value = "N", .type = CMD_INT, .min = 1, .max = 1e6,
     .help = "only N of the pictures, evenly spread over their names"},
    {.name = "show", .value = "N", .type = CMD_INT, .max = 1e6, .def = "4",
     .help = "so many of the pictures are kept in the folder REPORT.d while they are computed, for the "
             "report"},
    CMD_MODEL,
    CMD_LORA,
    {.name = "seed", .value = "N", .type = CMD_INT, .max = 9007199254740992., .def = "1",
     .help = "of the solvers; the noise of the k-th picture always has the seed k"},
    {.name = "jobs", .value = "N", .type = CMD_INT, .min = 1, .max = MAXJOBS, .def = "1",
     .help = "so many processes at once, which share the threads: the quickest way to use many cores"},
    CMD_THREADS,
    {.name = NULL},
};

const cmd_verb cmd_eval = {
    .name = "eval",
    .operands = "[FOLDER]",
    .summary = "compares solvers on a folder of pictures, and writes a report",
    .about = "Degrades every picture of FOLDER for every task, restores it with every solver, and measures "
             "how near to the picture that comes. The command can be interrupted and repeated, and tasks and "
             "solvers can be added: it computes what is missing. Without FOLDER the report is made again from "
             "REPORT.csv.",
    .min_operands = 0,
    .max_operands = 1,
    .option = options,
    .run = run,
};
