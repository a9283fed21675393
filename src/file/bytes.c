/* bytes.c - whole files: read, mapped, and written so that they appear whole or not at all (a temporary file
 * beside, fsync, rename). */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t max_size = (size_t)1 << 32;

static ltn_status io_error(ltn_ctx *ctx, const char *path)
{
    return ltn__fail(ctx, LTN_EIO, "%s: %s", path, strerror(errno));
}

static ltn_status too_large(ltn_ctx *ctx, const char *path)
{
    return ltn__fail(ctx, LTN_EIO, "%s: larger than 4 GiB", path);
}

/* A descriptor for reading, or -1 with the message set. */
static int open_input(ltn_ctx *ctx, const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, st)) io_error(ctx, path);
    else if (S_ISDIR(st->st_mode)) ltn__fail(ctx, LTN_EIO, "%s: is a folder, not a file", path);
    else return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Bytes read, 0 at the end, -1 on error; signals interrupt nothing. */
static ssize_t read_some(int fd, void *p, size_t n)
{
    ssize_t got;
    do got = read(fd, p, n);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Reads to the end into *data, which has this much room and grows where the size was not known (pipes). */
static ltn_status read_all(ltn_ctx *ctx, const char *path, int fd, uint8_t **data, size_t room, size_t *size)
{
    for (*size = 0;;) {
        if (*size + 1 == room) {
            uint8_t *more = ltn__grow(ctx, *data, room, 2 * room, 1);
            if (!more) return LTN_ENOMEM;
            *data = more;
            room *= 2;
        }
        ssize_t got = read_some(fd, *data + *size, room - *size - 1);
        if (got < 0) return io_error(ctx, path);
        if (!got) return LTN_OK;
        *size += (size_t)got;
        if (*size > max_size) return too_large(ctx, path);
    }
}

ltn_status ltn__file_read(ltn_ctx *ctx, const char *path, ltn_bytes *out)
{
    struct stat st;
    *out = (ltn_bytes){0};
    int fd = open_input(ctx, path, &st);
    if (fd < 0) return LTN_EIO;
    ltn_status s = (uint64_t)st.st_size > max_size ? too_large(ctx, path) : LTN_OK;
    size_t room = S_ISREG(st.st_mode) ? (size_t)st.st_size + 2 : 65536, size = 0;
    uint8_t *data = s ? NULL : ltn__alloc(ctx, room, 1);
    if (!s) s = data ? read_all(ctx, path, fd, &data, room, &size) : LTN_ENOMEM;
    close(fd);
    if (s) {
        ltn__free(ctx, data);
        return s;
    }
    data[size] = 0;
    *out = (ltn_bytes){data, size};
    return LTN_OK;
}

ltn_status ltn__file_map(ltn_ctx *ctx, const char *path, ltn_bytes *out)
{
    struct stat st;
    *out = (ltn_bytes){0};
    int fd = open_input(ctx, path, &st);
    if (fd < 0) return LTN_EIO;
    ltn_status s = LTN_OK;
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) s = io_error(ctx, path);
        else *out = (ltn_bytes){p, (size_t)st.st_size};
    }
    close(fd);
    return s;
}

void ltn__file_unmap(ltn_bytes *b)
{
    if (b->data) munmap(b->data, b->size);
    *b = (ltn_bytes){0};
}

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

/* A fresh file beside `target`. */
static ltn_status open_beside(ltn_ctx *ctx, const char *path, const char *target, char **name, int *fd)
{
    for (int k = 0; k < 1000; k++) {
        *name = ltn__format(ctx, "%s.%ld-%d.part", target, (long)getpid(), k);
        if (!*name) return LTN_ENOMEM;
        *fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) return LTN_OK;
        int why = errno;
        ltn__free(ctx, *name);
        *name = NULL;
        errno = why;
        if (why != EEXIST) break;
    }
    return io_error(ctx, path);
}

/* Devices and pipes are written as they are. */
static ltn_status write_directly(ltn_ctx *ctx, const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write_all(fd, data, size);
    ltn_status s = good ? LTN_OK : io_error(ctx, path);
    if (fd >= 0 && close(fd) && good) s = io_error(ctx, path);
    return s;
}

/* `path` is what the caller calls it, `target` where it really lies. */
static ltn_status replace(ltn_ctx *ctx, const char *path, const char *target, const struct stat *old,
                          const void *data, size_t size)
{
    char *temporary = NULL;
    int fd = -1;
    ltn_status s = open_beside(ctx, path, target, &temporary, &fd);
    if (s) return s;
    bool good = write_all(fd, data, size) && (!old || !fchmod(fd, old->st_mode & 07777)) && !fsync(fd);
    if (!good) s = io_error(ctx, path);
    if (close(fd) && good) s = io_error(ctx, path);
    if (!s && rename(temporary, target)) s = io_error(ctx, path);
    if (s) unlink(temporary);
    ltn__free(ctx, temporary);
    return s;
}

ltn_status ltn__file_write(ltn_ctx *ctx, const char *path, const void *data, size_t size)
{
    struct stat st;
    if (stat(path, &st)) return replace(ctx, path, path, NULL, data, size);
    if (S_ISDIR(st.st_mode)) return ltn__fail(ctx, LTN_EIO, "%s: is a folder, not a file", path);
    if (!S_ISREG(st.st_mode)) return write_directly(ctx, path, data, size);
    char *target = realpath(path, NULL); /* a link stays a link */
    if (!target) return io_error(ctx, path);
    ltn_status s = replace(ctx, path, target, &st, data, size);
    free(target);
    return s;
}

bool ltn__sink_put(ltn_sink *k, const void *p, size_t n)
{
    if (k->room - k->bytes.size < n) {
        const size_t room = LTN_MAX(2 * k->room, k->bytes.size + n + 4096);
        uint8_t *more = ltn__grow(k->ctx, k->bytes.data, k->room, room, 1);
        if (!more) return false;
        k->bytes.data = more;
        k->room = room;
    }
    if (n) memcpy(k->bytes.data + k->bytes.size, p, n);
    k->bytes.size += n;
    return true;
}

bool ltn__file_exists(const char *path)
{
    struct stat st;
    return !stat(path, &st);
}

char *ltn__path_join(ltn_ctx *ctx, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return ltn__format(ctx, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name);
}
