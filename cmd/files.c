/* files.c - folders of pictures, where results go, and where the default model lies. */
#include "cmd.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

bool cmd_is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

cmd_path cmd_join(const char *folder, const char *name)
{
    cmd_path p;
    const size_t n = strlen(folder);
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    if (snprintf(p.s, sizeof p.s, "%s%s%s", folder, slash, name) >= (int)sizeof p.s)
        p.s[0] = 0; /* no such file */
    return p;
}

/* What latino.h reads and writes by extension. */
static bool is_picture(const char *name)
{
    static const char *const extension[] = {".png", ".jpg", ".jpeg", ".webp", ".npy", NULL};
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && extension[i]; i++)
        if (!strcasecmp(dot, extension[i])) return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void cmd_names_free(char **names, int n)
{
    for (int i = 0; i < n; i++) free(names[i]);
    free(names);
}

int cmd_names(const char *folder, char ***names, int *n)
{
    DIR *d = opendir(folder);
    char **list = NULL;
    int count = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.' || !is_picture(e->d_name) || cmd_is_folder(cmd_join(folder, e->d_name).s))
            continue;
        char **more = realloc(list, sizeof *list * (size_t)(count + 1));
        if (more) list = more;
        if (!more || !(list[count] = strdup(e->d_name))) break;
        count++;
    }
    if (d) closedir(d);
    if (!d) cmd_say("%s: %s", folder, strerror(errno));
    else if (!count) cmd_say("%s: no picture in this folder", folder);
    if (count) qsort(list, (size_t)count, sizeof *list, by_name);
    *names = list;
    *n = count;
    return count ? CMD_DONE : CMD_FAILED;
}

int cmd_make_folder(const char *path)
{
    if (cmd_is_folder(path) || !mkdir(path, 0777)) return CMD_DONE;
    cmd_say("%s: %s", path, errno == EEXIST ? "is no folder" : strerror(errno));
    return CMD_FAILED;
}

bool cmd_same_file(const char *a, const char *b)
{
    struct stat s, t;
    return !stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

int cmd_check_place(const char *path)
{
    cmd_path folder;
    const char *slash = strrchr(path, '/');
    snprintf(folder.s, sizeof folder.s, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (cmd_is_folder(path)) cmd_say("%s: is a folder", path);
    else if (access(folder.s, F_OK)) cmd_say("%s: cannot be written: %s", path, strerror(errno));
    else if (!cmd_is_folder(folder.s)) cmd_say("%s: cannot be written: %s is no folder", path, folder.s);
    else if (access(folder.s, W_OK)) cmd_say("%s: cannot be written: %s", path, strerror(errno));
    else return CMD_DONE;
    return CMD_FAILED;
}

int cmd_check_out(const char *path)
{
    if (is_picture(path)) return cmd_check_place(path);
    return cmd_usage("%s: no name of a picture; expected .png, .jpg, .jpeg, .webp or .npy", path);
}

ltn_status cmd_save(ltn_ctx *ctx, const char *path, const ltn_image *im, const cmd_args *a,
                    const char *settings)
{
    const ltn_write_options opt = {.bits = (int)cmd_number(a, "bits", 0),
                                   .quality = (int)cmd_number(a, "quality", 0),
                                   .settings = settings};
    cmd_hold(true);
    const ltn_status s = ltn_image_write(ctx, path, im, &opt);
    cmd_hold(false);
    return s;
}

ltn_status cmd_save_array(ltn_ctx *ctx, const char *path, const ltn_array *a)
{
    cmd_hold(true);
    const ltn_status s = ltn_array_write(ctx, path, a);
    cmd_hold(false);
    return s;
}

int cmd_write_text(const char *path, const char *text)
{
    if (!strcmp(path, "-")) return fputs(text, stdout) < 0 ? CMD_FAILED : CMD_DONE;
    cmd_path beside;
    snprintf(beside.s, sizeof beside.s, "%s.XXXXXX", path);
    cmd_hold(true);
    const int fd = mkstemp(beside.s);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    const mode_t mask = umask(0);
    umask(mask);
    bool good = f && !fchmod(fd, 0666 & ~mask) && fputs(text, f) >= 0;
    if (f) good = !fclose(f) && good;
    good = good && !rename(beside.s, path);
    const int why = errno;
    if (fd >= 0 && !good) unlink(beside.s);
    cmd_hold(false);
    if (!good) cmd_say("%s: cannot be written: %s", path, strerror(why));
    return good ? CMD_DONE : CMD_FAILED;
}

/* A folder that comes with latino, known by a file in it: of the build tree, or of the installation. */
static bool find_own(cmd_path *out, const char *name, const char *file)
{
    cmd_path here, inside;
    const ssize_t n = readlink("/proc/self/exe", here.s, sizeof here.s - 1);
    here.s[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 4 && strrchr(here.s, '/'); up++) { /* build/cmd/latino, PREFIX/bin/latino */
        static const char *const places[] = {"models", "share/latino"};
        *strrchr(here.s, '/') = 0;
        for (int i = 0; i < 2; i++) {
            inside = cmd_join(here.s, places[i]);
            *out = cmd_join(inside.s, name);
            if (!access(cmd_join(out->s, file).s, R_OK)) return true;
        }
    }
    *out = cmd_join(CMD_DATADIR, name);
    return !access(cmd_join(out->s, file).s, R_OK);
}

int cmd_model_path(const cmd_args *a, cmd_path *out)
{
    const char *given = cmd_text(a, "model");
    if (!given) given = getenv("LATINO_MODEL");
    if (given && *given) {
        snprintf(out->s, sizeof out->s, "%s", given);
        return CMD_DONE;
    }
    if (find_own(out, "prior", "model_index.json")) return CMD_DONE;
    cmd_say("no model: neither --model nor LATINO_MODEL is given, and %s/prior is not there", CMD_DATADIR);
    return CMD_FAILED;
}

ltn_status cmd_model_open(ltn_ctx *ctx, const char *path, const cmd_args *a, ltn_model **out)
{
    const char *lora[CMD_MAXMORE + 1];
    cmd_path merges;
    ltn_model_options opt = {.lora = lora,
                             .unet = cmd_text(a, "unet"),
                             .vae = cmd_text(a, "vae"),
                             .tokenizer = cmd_text(a, "tokenizer"),
                             .prediction = cmd_text(a, "prediction")};
    if (!opt.tokenizer && !cmd_is_folder(path) && find_own(&merges, "clip", "merges.txt")) opt.tokenizer = merges.s;
    while (opt.loras < CMD_MAXMORE + 1 && (lora[opt.loras] = cmd_nth(a, "lora", opt.loras))) opt.loras++;
    return ltn_model_open_with(ctx, path, &opt, out);
}
