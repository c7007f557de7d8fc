/* A disk in trouble, for one process and its children: loaded with LD_PRELOAD.

   FAULTS_UNDER   only files whose path begins so
   FAULTS         a file that says what fails now: "write ERRNO" everything that changes files,
                  "sync ERRNO" what forces them to the disk; empty or missing, nothing
   FAULTS_LOG     a file that gets a line for each sync ("sync PATH") and rename ("rename OLD NEW") */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int ours(const char *path) {
    const char *under = getenv("FAULTS_UNDER");
    return under && path && strncmp(path, under, strlen(under)) == 0;
}

/* By system calls, since the functions are the ones below. */
static int told(const char *operation) {
    const char *path = getenv("FAULTS");
    char said[64] = {0}, what[16] = {0};
    int number = 0, file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0) : -1;
    if (file < 0) return 0;
    syscall(SYS_read, file, said, sizeof said - 1);
    syscall(SYS_close, file);
    if (sscanf(said, "%15s %d", what, &number) != 2) return 0;
    return strcmp(what, operation) == 0 ? number : 0;
}

static void note(const char *line) {
    const char *path = getenv("FAULTS_LOG");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (file < 0) return;
    syscall(SYS_write, file, line, strlen(line));
    syscall(SYS_close, file);
}

static void path_of(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
}

static int fails_at(const char *path, const char *operation) {
    int number = ours(path) ? told(operation) : 0;
    if (number) errno = number;
    return number;
}

static int fails(int file, const char *operation) {
    char path[4096];
    path_of(file, path, sizeof path);
    return fails_at(path, operation);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode_t mode = va_arg(rest, mode_t);                               \
        va_end(rest);                                                     \
        if ((flags & WRITES) && fails_at(path, "write")) return -1;       \
        return REAL(name)(path, flags, mode);                             \
    }
OPEN(open)
OPEN(open64)

#define FD(result, name, operation, parameters, arguments)                \
    result name parameters {                                              \
        if (fails(file, operation)) return -1;                            \
        return REAL(name) arguments;                                      \
    }
FD(ssize_t, write, "write", (int file, const void *bytes, size_t size), (file, bytes, size))
FD(ssize_t, pwrite, "write", (int file, const void *b, size_t n, off_t at), (file, b, n, at))
FD(ssize_t, pwrite64, "write", (int file, const void *b, size_t n, off64_t at), (file, b, n, at))
FD(int, ftruncate, "write", (int file, off_t size), (file, size))
FD(int, ftruncate64, "write", (int file, off64_t size), (file, size))

#define PATH(name, parameters, arguments)                                 \
    int name parameters {                                                 \
        if (fails_at(path, "write")) return -1;                           \
        return REAL(name) arguments;                                      \
    }
PATH(mkdir, (const char *path, mode_t mode), (path, mode))
PATH(unlink, (const char *path), (path))
PATH(rmdir, (const char *path), (path))
PATH(truncate, (const char *path, off_t size), (path, size))
PATH(truncate64, (const char *path, off64_t size), (path, size))

int rename(const char *path, const char *to) {
    if (fails_at(path, "write")) return -1;
    int result = REAL(rename)(path, to);
    if (result == 0 && ours(path)) {
        char line[8300];
        snprintf(line, sizeof line, "rename %s %s\n", path, to);
        note(line);
    }
    return result;
}

static int synced(int file, int (*real)(int)) {
    char path[4096], line[4200];
    if (fails(file, "sync")) return -1;
    int result = real(file);
    path_of(file, path, sizeof path);
    if (result == 0 && ours(path)) {
        snprintf(line, sizeof line, "sync %s\n", path);
        note(line);
    }
    return result;
}
int fsync(int file) { return synced(file, REAL(fsync)); }
int fdatasync(int file) { return synced(file, REAL(fdatasync)); }
