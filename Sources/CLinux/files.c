/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CLinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int clinux_open(const char *path, int flags, unsigned mode) {
  return open(path, flags | O_CLOEXEC, mode);
}

int clinux_ioctl(int fd, unsigned long request, unsigned long argument) {
  return ioctl(fd, request, argument);
}

int clinux_ioctl_pointer(int fd, unsigned long request, void *argument) {
  return ioctl(fd, request, argument);
}

int clinux_duplicate(int fd, int lowest) { return fcntl(fd, F_DUPFD_CLOEXEC, lowest); }

int clinux_set_cloexec(int fd, int on) { return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0); }

int clinux_set_nonblocking(int fd, int on) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -1;
  return fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

int clinux_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int64_t clinux_seek_data(int fd, int64_t offset) { return lseek(fd, offset, SEEK_DATA); }

int64_t clinux_seek_hole(int fd, int64_t offset) { return lseek(fd, offset, SEEK_HOLE); }

int clinux_punch_hole(int fd, int64_t offset, int64_t length) {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

static struct flock whole_file(void) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

int clinux_lock_exclusive(int fd) {
  struct flock lock = whole_file();
  return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_lock_probe(int fd) {
  struct flock lock = whole_file();
  if (fcntl(fd, F_OFD_GETLK, &lock) < 0) return -1;
  return lock.l_type != F_UNLCK;
}

int clinux_rename_no_replace(const char *old_path, const char *new_path) {
  return renameat2(AT_FDCWD, old_path, AT_FDCWD, new_path, RENAME_NOREPLACE);
}

int clinux_list_directory(const char *path, void *context,
                          void (*each)(void *context, const char *name)) {
  DIR *directory = opendir(path);
  if (!directory) return -1;
  int failed = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(directory);
    if (!entry) {
      failed = errno;
      break;
    }
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    each(context, entry->d_name);
  }
  closedir(directory);
  errno = failed;
  return failed ? -1 : 0;
}

static void facts_of(const struct stat *from, clinux_file_facts *out) {
  out->mode = from->st_mode;
  out->uid = from->st_uid;
  out->gid = from->st_gid;
  out->device_major = major(from->st_dev);
  out->device_minor = minor(from->st_dev);
  out->special_major = major(from->st_rdev);
  out->special_minor = minor(from->st_rdev);
  out->size = from->st_size < 0 ? 0 : (uint64_t)from->st_size;
  out->inode = from->st_ino;
  out->links = from->st_nlink;
  out->modified_seconds = from->st_mtim.tv_sec;
  out->modified_nanoseconds = (uint32_t)from->st_mtim.tv_nsec;
}

int clinux_stat(const char *path, int follow, clinux_file_facts *out) {
  struct stat status;
  if ((follow ? stat(path, &status) : lstat(path, &status)) < 0) return -1;
  facts_of(&status, out);
  return 0;
}

int clinux_fstat(int fd, clinux_file_facts *out) {
  struct stat status;
  if (fstat(fd, &status) < 0) return -1;
  facts_of(&status, out);
  return 0;
}

void clinux_wipe(void *bytes, size_t count) { explicit_bzero(bytes, count); }
