/* json.c - writes JSON, two blanks a level; and prints it readable. */
#include "cmd.h"

#include <math.h>
#include <string.h>

static void quote(FILE *f, const char *s)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        if (*p == '"' || *p == '\\') fprintf(f, "\\%c", *p);
        else if (*p < 0x20) fprintf(f, "\\u%04x", (unsigned)*p);
        else fputc(*p, f);
    }
    fputc('"', f);
}

static void key_of(cmd_json *j, const char *key)
{
    if (j->begun) fputc(',', j->f);
    if (j->depth) fprintf(j->f, "\n%*s", 2 * j->depth, "");
    j->begun = true;
    if (!key) return;
    quote(j->f, key);
    fputs(": ", j->f);
}

void cmd_json_open(cmd_json *j, const char *key, char bracket)
{
    key_of(j, key);
    fputc(bracket, j->f);
    j->depth++;
    j->begun = false;
}

void cmd_json_close(cmd_json *j, char bracket)
{
    j->depth--;
    if (j->begun) fprintf(j->f, "\n%*s", 2 * j->depth, "");
    fputc(bracket, j->f);
    if (!j->depth) fputc('\n', j->f);
    j->begun = true;
}

void cmd_json_text(cmd_json *j, const char *key, const char *value)
{
    key_of(j, key);
    if (value) quote(j->f, value);
    else fputs("null", j->f);
}

void cmd_json_number(cmd_json *j, const char *key, double value)
{
    key_of(j, key);
    if (isfinite(value)) fprintf(j->f, "%.12g", value);
    else fputs("null", j->f);
}

void cmd_json_bool(cmd_json *j, const char *key, bool value)
{
    key_of(j, key);
    fputs(value ? "true" : "false", j->f);
}

static const char *blanks(const char *p)
{
    return p + strspn(p, " \n\r\t");
}

/* A string or a number as it stands, without quotes. */
static const char *readable_plain(FILE *f, const char *p)
{
    const bool string = *p == '"';
    size_t n = string ? 1 : strcspn(p, ",]} \n\r\t");
    while (string && p[n] && p[n] != '"') n += p[n] == '\\' && p[n + 1] ? 2 : 1;
    fprintf(f, "%.*s", (int)(n - string), p + string);
    return p + n + (string && p[n]);
}

/* Prints the value at p; members of objects on lines of their own, plain values of a list on one. */
static const char *readable(FILE *f, const char *p, int depth)
{
    p = blanks(p);
    if (*p != '{' && *p != '[') return readable_plain(f, p);
    const bool object = *p == '{';
    p = blanks(p + 1);
    for (bool first = true; *p && *p != '}' && *p != ']'; first = false) {
        if (object) {
            if (!first || depth) fprintf(f, "\n%*s", 2 * depth, "");
            p = blanks(readable_plain(f, p)); /* the key */
            fputs(": ", f);
            p += *p == ':';
        } else if (!first) {
            fputs(", ", f);
        }
        p = blanks(readable(f, p, depth + 1));
        p = blanks(p + (*p == ','));
    }
    return p + (*p != 0);
}

void cmd_json_readable(FILE *f, const char *json)
{
    readable(f, json, 0);
    fputc('\n', f);
}
