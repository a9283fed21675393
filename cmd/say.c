/* say.c - what the program tells while it works: messages and progress on stderr; and what a signal does to
 * the work. */
#include "cmd.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught, held;
static ltn_run *volatile running;

static void say(const char *fmt, va_list a)
{
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
    fputs("latino: ", stderr);
    vfprintf(stderr, fmt, a);
    fputc('\n', stderr);
}

void cmd_say(const char *fmt, ...)
{
    va_list a;
    va_start(a, fmt);
    say(fmt, a);
    va_end(a);
}

int cmd_usage(const char *fmt, ...)
{
    va_list a;
    va_start(a, fmt);
    say(fmt, a);
    va_end(a);
    return CMD_USAGE;
}

int cmd_fail(ltn_ctx *ctx, ltn_status s)
{
    cmd_say("%s", s == LTN_ECANCEL ? "interrupted" : ltn_error(ctx));
    return s == LTN_EINVAL ? CMD_USAGE : CMD_FAILED;
}

void cmd_progress(const ltn_progress *p)
{
    if (!isatty(STDERR_FILENO)) return;
    const double left = p->step ? p->seconds / p->step * (p->steps - p->step) : 0;
    fprintf(stderr, "\r\033[Kstep %d of %d", p->step, p->steps);
    if (p->step) fprintf(stderr, ", residual %.3f, %.0f s left", p->residual, left);
    fflush(stderr);
}

void cmd_progress_end(void)
{
    if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

/* A step under way is cancelled and a file under way is finished; whoever asks twice, or while there is
 * nothing to tidy up, is obeyed at once. */
static void on_signal(int sig)
{
    const bool again = caught != 0;
    caught = sig;
    if (held) return;
    if (running && !again) ltn_run_cancel(running);
    else _exit(128 + sig);
}

void cmd_catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

void cmd_watch(ltn_run *run)
{
    running = run;
}

int cmd_caught(void)
{
    return caught;
}

void cmd_hold(bool on)
{
    held = on;
}

double cmd_peak_memory(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return 1024. * (double)u.ru_maxrss;
}

void cmd_forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    if (!f) return;
    fputs("5", f);
    fclose(f);
}

double cmd_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
