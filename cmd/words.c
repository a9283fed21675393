/* words.c - a list of captions, one a line, and which of them are nearest to the text before and after a run. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 5, BEFORE = 0, AFTER = 1 };

void cmd_words_close(cmd_words *w)
{
    free(w->list);
    free(w->caption);
    free(w->score);
    *w = (cmd_words){0};
}

static char *read_whole(FILE *f)
{
    char *text = NULL;
    size_t n = 0, room = 0;
    for (;;) {
        if (n + 1 >= room) {
            char *more = realloc(text, room = room ? 2 * room : 4096);
            if (!more) break;
            text = more;
        }
        const size_t got = fread(text + n, 1, room - n - 1, f);
        n += got;
        text[n] = 0;
        if (!got) return text;
    }
    free(text);
    return NULL;
}

int cmd_words_open(cmd_words *w, const char *path)
{
    *w = (cmd_words){0};
    FILE *f = fopen(path, "r");
    if (!f) return cmd_say("%s: cannot be read", path), CMD_FAILED;
    w->list = read_whole(f);
    fclose(f);
    size_t lines = 1;
    for (const char *p = w->list; p && *p; p++) lines += *p == '\n';
    w->caption = calloc(lines, sizeof *w->caption);
    w->score = calloc(2 * lines, sizeof *w->score);
    if (!w->list || !w->caption || !w->score) return cmd_say("out of memory"), CMD_FAILED;
    for (char *line = strtok(w->list, "\r\n"); line; line = strtok(NULL, "\r\n")) w->caption[w->n++] = line;
    if (!w->n) return cmd_say("%s: no captions in it, one a line", path), CMD_FAILED;
    return CMD_DONE;
}

ltn_status cmd_words_compare(cmd_words *w, ltn_model *m, const ltn_array *before, const ltn_array *after)
{
    const ltn_status s = ltn_words(m, before, w->caption, w->n, w->score);
    return s ? s : ltn_words(m, after, w->caption, w->n, w->score + w->n);
}

/* The k-th nearest; equal ones in the list's order. */
static int nearest(const cmd_words *w, int when, int k)
{
    const double *s = w->score + when * w->n;
    for (int i = 0; i < w->n; i++) {
        int better = 0;
        for (int j = 0; j < w->n; j++) better += s[j] > s[i] || (s[j] == s[i] && j < i);
        if (better == k) return i;
    }
    return 0;
}

void cmd_words_print(const cmd_words *w)
{
    static const char *const name[] = {"before", "after"};
    for (int when = BEFORE; when <= AFTER; when++) {
        printf("  words %-6s ", name[when]);
        for (int k = 0; k < SHOWN && k < w->n; k++) {
            const int i = nearest(w, when, k);
            printf("%s %.2f %s", k ? "," : "", w->score[when * w->n + i], w->caption[i]);
        }
        puts("");
    }
}

void cmd_words_json(const cmd_words *w, cmd_json *j)
{
    static const char *const name[] = {"before", "after"};
    cmd_json_open(j, "words", '{');
    for (int when = BEFORE; when <= AFTER; when++) {
        cmd_json_open(j, name[when], '[');
        for (int k = 0; k < SHOWN && k < w->n; k++) {
            const int i = nearest(w, when, k);
            cmd_json_open(j, NULL, '{');
            cmd_json_text(j, "caption", w->caption[i]);
            cmd_json_number(j, "score", w->score[when * w->n + i]);
            cmd_json_close(j, '}');
        }
        cmd_json_close(j, ']');
    }
    cmd_json_close(j, '}');
}
