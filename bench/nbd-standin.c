// SPDX-License-Identifier: Apache-2.0
//
// A stand-in for the nbd driver, preloaded into an unmodified client. It
// answers the opening of /dev/nbdN, the NBD ioctls and /sys/block/nbdN, and
// NBD_DO_IT hands the sockets to the load generator, which plays the kernel.

#define _GNU_SOURCE
#include "nbd-standin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/nbd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#define NBD_MAJOR_NUMBER 43

// One process drives one device: that is all a benchmark needs.
static struct {
    pthread_mutex_t lock;
    int sockets[STANDIN_MAX_SOCKETS];
    unsigned count;
    int control;
    uint64_t size;
    uint32_t block_size;
    uint32_t flags;
    int read_only;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .control = -1, .block_size = 1024};

#define REAL(name)                                                              \
    static __typeof__(&name) real;                                              \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static const char *directory(void) { return getenv(STANDIN_ENV); }

// "nbd" and digits, nothing behind but the end or `/`: the index, else -1.
static int device_index(const char *name, const char **rest) {
    if (strncmp(name, "nbd", 3) || name[3] < '0' || name[3] > '9') return -1;
    char *end;
    long index = strtol(name + 3, &end, 10);
    if (index > 1023 || (*end && *end != '/')) return -1;
    *rest = end;
    return (int)index;
}

static void put(const char *dir, const char *name, const char *text) {
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return;
    REAL(open);
    int fd = real(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (write(fd, text, strlen(text)) < 0) { /* a figure for show */ }
    close(fd);
}

// What sysfs shows of a free device.
static void make_sysfs(const char *dir) {
    char queue[PATH_MAX];
    if (snprintf(queue, sizeof queue, "%s/queue", dir) >= (int)sizeof queue) return;
    if (mkdir(dir, 0700) || mkdir(queue, 0700)) return;
    put(dir, "size", "0\n");
    put(dir, "ro", "0\n");
    put(dir, "inflight", "       0        0\n");
    put(dir, "stat", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
    put(queue, "max_sectors_kb", "1280\n");
    put(queue, "logical_block_size", "512\n");
}

// Where PATH really leads; NULL if it is none of ours.
static const char *redirect(const char *path, char *buffer) {
    static const char *const prefixes[] = {"/dev/", "/sys/block/", "/sys/class/block/"};
    const char *dir = directory();
    if (!dir || !path || path[0] != '/') return NULL;
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(prefixes[i]);
        const char *rest;
        if (strncmp(path, prefixes[i], n)) continue;
        int index = device_index(path + n, &rest);
        if (index < 0 || (i == 0 && *rest)) return NULL;
        snprintf(buffer, PATH_MAX, "%s/%snbd%d", dir, i ? "sys/" : "", index);
        if (i) make_sysfs(buffer);
        size_t used = strlen(buffer);
        snprintf(buffer + used, PATH_MAX - used, "%s", rest);
        return buffer;
    }
    return NULL;
}

static bool is_device_path(const char *path) { return path && !strncmp(path, "/dev/nbd", 8); }

// Whether FD is one of ours, and of which device.
static int device_of(int fd) {
    const char *dir = directory();
    char link[64], path[PATH_MAX];
    if (!dir) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return -1;
    path[n] = 0;
    size_t used = strlen(dir);
    const char *rest;
    if (strncmp(path, dir, used) || path[used] != '/') return -1;
    int index = device_index(path + used + 1, &rest);
    return index >= 0 && !*rest ? index : -1;
}

static void write_sysfs(int index, const char *name, const char *text) {
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s/sys/nbd%d", directory(), index);
    make_sysfs(dir);
    put(dir, name, text);
}

// MARK: paths

static int open_at(int (*real)(int, const char *, int, ...), int dir, const char *path, int flags,
                   mode_t mode) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer);
    if (!other) return real(dir, path, flags, mode);
    if (!is_device_path(path)) return real(dir, other, flags, mode);
    flags &= ~(O_EXCL | O_DIRECT | O_TRUNC);
    return real(dir, other, flags | O_CREAT, 0600);
}

#define MODE_ARGUMENT                                                           \
    mode_t mode = 0;                                                            \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                      \
        va_list list;                                                           \
        va_start(list, flags);                                                  \
        mode = va_arg(list, mode_t);                                            \
        va_end(list);                                                           \
    }

int openat(int dir, const char *path, int flags, ...) {
    MODE_ARGUMENT
    REAL(openat);
    return open_at(real, dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...) {
    MODE_ARGUMENT
    REAL(openat64);
    return open_at(real, dir, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    MODE_ARGUMENT
    REAL(openat);
    return open_at(real, AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_ARGUMENT
    REAL(openat64);
    return open_at(real, AT_FDCWD, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags) { return open64(path, flags); }

FILE *fopen(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer);
    REAL(fopen);
    return real(other ? other : path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer);
    REAL(fopen64);
    return real(other ? other : path, mode);
}

int access(const char *path, int mode) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer);
    if (other && is_device_path(path)) return 0;
    REAL(access);
    return real(other ? other : path, mode);
}

int faccessat(int dir, const char *path, int mode, int flags) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer);
    if (other && is_device_path(path)) return 0;
    REAL(faccessat);
    return real(dir, other ? other : path, mode, flags);
}

// MARK: stat

static void as_device(struct stat *st, int index) {
    st->st_mode = S_IFBLK | 0600;
    st->st_rdev = makedev(NBD_MAJOR_NUMBER, (unsigned)index);
    st->st_size = 0;
}

static int stat_at(const char *path, struct stat *st, int dir, int flags) {
    char buffer[PATH_MAX];
    const char *other = redirect(path, buffer), *rest;
    REAL(fstatat);
    if (!other || !is_device_path(path)) return real(dir, other ? other : path, st, flags);
    memset(st, 0, sizeof *st);
    as_device(st, device_index(path + 5, &rest));
    return 0;
}

// On this ABI struct stat64 is struct stat.
_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one stat only");

int stat(const char *path, struct stat *st) { return stat_at(path, st, AT_FDCWD, 0); }
int lstat(const char *path, struct stat *st) {
    return stat_at(path, st, AT_FDCWD, AT_SYMLINK_NOFOLLOW);
}
int stat64(const char *path, struct stat64 *st) { return stat(path, (struct stat *)st); }
int lstat64(const char *path, struct stat64 *st) { return lstat(path, (struct stat *)st); }
int fstatat(int dir, const char *path, struct stat *st, int flags) {
    return stat_at(path, st, dir, flags);
}
int fstatat64(int dir, const char *path, struct stat64 *st, int flags) {
    return stat_at(path, (struct stat *)st, dir, flags);
}

int fstat(int fd, struct stat *st) {
    REAL(fstat);
    int result = real(fd, st);
    if (!result && S_ISREG(st->st_mode)) {
        int index = device_of(fd);
        if (index >= 0) as_device(st, index);
    }
    return result;
}
int fstat64(int fd, struct stat64 *st) { return fstat(fd, (struct stat *)st); }

// MARK: ioctl

static void set_size(int fd, int index, uint64_t size) {
    char text[32];
    state.size = size;
    if (ftruncate(fd, (off_t)size)) { /* only SEEK_END would notice */ }
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)size / 512);
    write_sysfs(index, "size", text);
}

static void drop_sockets(void) {
    for (unsigned i = 0; i < state.count; i++) close(state.sockets[i]);
    state.count = 0;
}

static int hand_over(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", directory(), STANDIN_SOCKET);
    int control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (control < 0) return -1;
    if (connect(control, (struct sockaddr *)&address, sizeof address)) goto fail;

    struct standin_handover handover = {
        .magic = STANDIN_MAGIC, .sockets = state.count, .size = state.size,
        .block_size = state.block_size, .flags = state.flags};
    char rights[CMSG_SPACE(sizeof state.sockets)] = {0};
    struct iovec iov = {&handover, sizeof handover};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = rights,
                             .msg_controllen = CMSG_SPACE(state.count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(state.count * sizeof(int));
    memcpy(CMSG_DATA(header), state.sockets, state.count * sizeof(int));
    if (sendmsg(control, &message, MSG_NOSIGNAL) < 0) goto fail;
    return control;
fail:
    close(control);
    return -1;
}

// Blocks as the driver does: until a disconnect, or a signal.
static int do_it(int index) {
    char text[32];
    pthread_mutex_lock(&state.lock);
    int control = state.count ? hand_over() : -1;
    state.control = control;
    pthread_mutex_unlock(&state.lock);
    if (control < 0) return errno = EINVAL, -1;

    snprintf(text, sizeof text, "%d\n", getpid());
    write_sysfs(index, "pid", text);
    char byte;
    ssize_t n = recv(control, &byte, 1, 0);
    int saved = errno;

    pthread_mutex_lock(&state.lock);
    state.control = -1;
    for (unsigned i = 0; i < state.count; i++) shutdown(state.sockets[i], SHUT_RDWR);
    pthread_mutex_unlock(&state.lock);
    close(control);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/sys/nbd%d/pid", directory(), index);
    unlink(path);
    return n < 0 ? (errno = saved, -1) : 0;
}

static int device_ioctl(int fd, int index, unsigned long request, unsigned long value) {
    switch (request) {
    case NBD_SET_SOCK: {
        int copy = fcntl((int)value, F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return -1;
        if (state.count == STANDIN_MAX_SOCKETS) return close(copy), errno = EBUSY, -1;
        state.sockets[state.count++] = copy;
        return 0;
    }
    case NBD_SET_BLKSIZE:
        state.block_size = (uint32_t)value;
        return 0;
    case NBD_SET_SIZE:
        set_size(fd, index, value);
        return 0;
    case NBD_SET_SIZE_BLOCKS:
        set_size(fd, index, value * state.block_size);
        return 0;
    case NBD_SET_FLAGS:
        state.flags = (uint32_t)value;
        return 0;
    case NBD_DO_IT:
        return do_it(index);
    case NBD_DISCONNECT:
        if (state.control >= 0 && send(state.control, "D", 1, MSG_NOSIGNAL) < 0) return -1;
        return 0;
    case NBD_CLEAR_SOCK:
        if (state.control < 0) drop_sockets();
        return 0;
    case NBD_SET_TIMEOUT:
    case NBD_CLEAR_QUE:
    case BLKFLSBUF:
    case BLKRRPART:
        return 0;
    case BLKROSET:
        state.read_only = *(const int *)value;
        write_sysfs(index, "ro", state.read_only ? "1\n" : "0\n");
        return 0;
    case BLKROGET:
        *(int *)value = state.read_only;
        return 0;
    case BLKGETSIZE64:
        *(uint64_t *)value = state.size;
        return 0;
    case BLKGETSIZE:
        *(unsigned long *)value = (unsigned long)(state.size / 512);
        return 0;
    case BLKSSZGET:
    case BLKBSZGET:
        *(int *)value = (int)state.block_size;
        return 0;
    case BLKPBSZGET:
        *(unsigned *)value = state.block_size;
        return 0;
    default:
        return errno = ENOTTY, -1;
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    unsigned long value = va_arg(list, unsigned long);
    va_end(list);
    // Only the NBD (0xab) and block (0x12) groups can concern a device.
    unsigned group = _IOC_TYPE(request);
    int index = group == 0xab || group == 0x12 ? device_of(fd) : -1;
    if (index >= 0) return device_ioctl(fd, index, request, value);
    REAL(ioctl);
    return real(fd, request, value);
}
