/* settings.c - the command that made a picture, as one line that a shell would take: kept in the PNG, read by
 * --from. */
#include "cmd.h"

#include <string.h>

/* Appends to text[0..room); what does not fit is cut. */
static void append(char *text, size_t room, const char *s)
{
    const size_t n = strlen(text);
    snprintf(text + n, room - n, "%s", s);
}

static void append_word(char *text, size_t room, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,+@%";
    append(text, room, " ");
    if (*word && !word[strspn(word, plain)]) {
        append(text, room, word);
        return;
    }
    append(text, room, "'");
    for (const char *p = word; *p; p++) {
        const char one[2] = {*p, 0};
        append(text, room, *p == '\'' ? "'\\''" : one);
    }
    append(text, room, "'");
}

void cmd_settings(const cmd_args *a, const char *in, char *text, size_t room)
{
    snprintf(text, room, "latino %s", a->verb->name);
    if (in) append_word(text, room, in);
    for (int i = 0; a->verb->option[i].name; i++) {
        const cmd_option *o = &a->verb->option[i];
        const char *value;
        for (int k = 0; o->setting && (value = cmd_nth(a, o->name, k)); k++) {
            append(text, room, " --");
            append(text, room, o->name);
            append_word(text, room, value);
        }
    }
}

/* Splits a line into words in place, as a shell does with '...' and \x; returns their number, or -1. */
static int split(char *line, const char **word, int max)
{
    int n = 0;
    char *to = line;
    for (const char *p = line; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        if (n == max) return -1;
        word[n++] = to;
        bool quoted = false;
        for (; *p && (quoted || *p != ' '); p++) {
            if (*p == '\'') quoted = !quoted;
            else *to++ = !quoted && *p == '\\' && p[1] ? *++p : *p;
        }
        if (quoted) return -1;
        if (*p) p++;
        *to++ = 0;
    }
    return n;
}

int cmd_settings_read(ltn_ctx *ctx, const char *path, const cmd_verb *verb, char *text, size_t room,
                      cmd_args *out)
{
    ltn_image im = {0};
    const ltn_status s = ltn_image_read(ctx, path, &im);
    if (s) return cmd_fail(ctx, s);
    const char *kept = ltn_image_settings(&im);
    const bool fits = kept && strlen(kept) < room;
    snprintf(text, room, "%s", fits ? kept : "");
    ltn_image_free(ctx, &im);
    const char *word[2 * (CMD_MAXOPTION + CMD_MAXMORE) + CMD_MAXOPERAND + 2];
    const int n = split(text, word, (int)(sizeof word / sizeof *word));
    if (n < 2 || strcmp(word[0], "latino") || strcmp(word[1], verb->name)) {
        cmd_say("%s: no settings of latino %s in this file", path, verb->name);
        return CMD_FAILED;
    }
    return cmd_parse(verb, n - 2, word + 2, out);
}
