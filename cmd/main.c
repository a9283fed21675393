/* main.c - `latino VERB ...`: finds the verb, reads its options, opens a context and runs it. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *verb_name(const void *self, int i)
{
    const cmd_verb *v = cmd_verb_at(i);
    return v ? v->name : NULL;
}

static const cmd_verb *find_verb(const char *name)
{
    for (int i = 0; cmd_verb_at(i); i++)
        if (!strcmp(cmd_verb_at(i)->name, name)) return cmd_verb_at(i);
    return NULL;
}

static void log_line(void *user, int level, const char *line)
{
    if (level == 0) cmd_say("warning: %s", line);
}

/* Options that stand alone, in place of a verb. */
static void print_version(FILE *f)
{
    fprintf(f, "latino %s\n", ltn_version());
}

static const struct {
    const char *name;
    void (*print)(FILE *f);
} alone[] = {
    {"--help", cmd_help}, {"-h", cmd_help}, {"help", cmd_help}, {"--version", print_version},
    {"--manual", cmd_manual}, {"--completion", cmd_completion}, {NULL, NULL},
};

/* Threads that wait for work spin for a millisecond by default, and take the processor from the ones that have it
 * wherever other programs run as well. GNU's OpenMP reads how long they may before main begins; so begin again. */
static void wait_briefly(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (!setenv("GOMP_SPINCOUNT", "1000", 0)) execv("/proc/self/exe", argv);
}

static int run(cmd_args *a)
{
    static char text[16384]; /* the words of --from */
    ltn_ctx *ctx = NULL;
    const ltn_options opt = {.threads = (int)cmd_number(a, "threads", 0),
                             .memory = (size_t)cmd_number(a, "memory", 0),
                             .log = log_line};
    if (ltn_open(&ctx, &opt) != LTN_OK) {
        cmd_say("out of memory");
        return CMD_FAILED;
    }
    int code = CMD_DONE;
    const char *from = cmd_text(a, "from");
    if (from) {
        cmd_args kept;
        code = cmd_settings_read(ctx, from, a->verb, text, sizeof text, &kept);
        if (!code) cmd_fill(a, &kept);
    }
    if (!code) code = cmd_check(a);
    if (!code) code = a->verb->run(ctx, a);
    ltn_close(&ctx);
    return cmd_caught() ? 128 + cmd_caught() : code;
}

static int start(int argc, char **argv)
{
    if (argc < 2) {
        cmd_help(stderr);
        return CMD_USAGE;
    }
    for (int i = 0; alone[i].name; i++) {
        if (strcmp(argv[1], alone[i].name)) continue;
        if (argc > 2) return cmd_usage("%s stands alone", argv[1]);
        alone[i].print(stdout);
        return CMD_DONE;
    }
    const cmd_verb *verb = find_verb(argv[1]);
    if (!verb) {
        const char *near = cmd_nearest(argv[1], verb_name, NULL);
        return near ? cmd_usage("unknown command \"%s\"; did you mean \"%s\"?", argv[1], near)
                    : cmd_usage("unknown command \"%s\"; see latino --help", argv[1]);
    }
    cmd_args a;
    const int code = cmd_parse(verb, argc - 2, (const char *const *)argv + 2, &a);
    if (code) return code;
    if (a.help) {
        cmd_verb_help(stdout, verb);
        return CMD_DONE;
    }
    wait_briefly(argv);
    cmd_catch_signals();
    return run(&a);
}

int main(int argc, char **argv)
{
    int code = start(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        cmd_say("standard output cannot be written");
        if (!code) code = CMD_FAILED;
    }
    return code;
}
