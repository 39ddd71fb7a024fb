/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int clinux_signalfd(const int *signals, size_t count) {
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
  int failed = pthread_sigmask(SIG_BLOCK, &set, NULL);
  if (failed) {
    errno = failed;
    return -1;
  }
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_signal_is_ignored(int number) {
  struct sigaction action;
  return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void clinux_end_by_signal(int number) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  signal(number, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &set, NULL);
  raise(number);
  _exit(128 + number);
}

int clinux_terminal_columns(int fd) {
  struct winsize size;
  return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

int clinux_signal_read(int fd, int32_t *pid, uint32_t *uid) {
  struct signalfd_siginfo info;
  ssize_t got = read(fd, &info, sizeof info);
  if (got < 0) return errno == EAGAIN ? 0 : -1;
  if (got != sizeof info) return 0;
  *pid = (int32_t)info.ssi_pid;
  *uid = info.ssi_uid;
  return (int)info.ssi_signo;
}

int clinux_timerfd(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

int clinux_timerfd_arm(int fd, uint64_t nanoseconds) {
  struct itimerspec value;
  memset(&value, 0, sizeof value);
  value.it_value.tv_sec = (time_t)(nanoseconds / 1000000000u);
  value.it_value.tv_nsec = (long)(nanoseconds % 1000000000u);
  return timerfd_settime(fd, 0, &value, NULL);
}

uint64_t clinux_monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int clinux_prctl(int option, unsigned long argument) {
  return prctl(option, argument, 0ul, 0ul, 0ul);
}

int clinux_prctl_get(int option) { return prctl(option, 0ul, 0ul, 0ul, 0ul); }

/* Setting it fixes it: otherwise it grows with the largest block that was freed. */
int clinux_map_large_blocks(void) {
  return mallopt(M_MMAP_THRESHOLD, 128 * 1024) == 1 ? 0 : -1;
}

int clinux_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0ul, 0ul, 0ul); }

int clinux_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clinux_pidfd_send(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int clinux_limit_core_to_zero(void) {
  struct rlimit none = {0, 0};
  return setrlimit(RLIMIT_CORE, &none);
}

int clinux_locked_memory_limit(uint64_t *bytes) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0) return -1;
  *bytes = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
  return 0;
}

int clinux_thread_start(unsigned long *out, size_t stack, void *(*start)(void *), void *context,
                        int detached) {
  pthread_attr_t attributes;
  int failed = pthread_attr_init(&attributes);
  if (failed) return failed;
  failed = pthread_attr_setstacksize(&attributes, stack);
  if (!failed && detached)
    failed = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  /* Signals are the first thread's matter: in another a default action would end the process. Those
     that a fault of the thread itself raises are its own. */
  sigset_t all, before;
  sigfillset(&all);
  static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  if (!failed) failed = pthread_create(&thread, &attributes, start, context);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (!failed) *out = (unsigned long)thread;
  return failed;
}

int clinux_thread_join(unsigned long thread) { return pthread_join((pthread_t)thread, NULL); }

int clinux_spawn(pid_t *pid, const char *path, char *const argv[], char *const environment[],
                 const int *sources, const int *targets, size_t mapped, int first_closed,
                 int new_session) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failed = posix_spawn_file_actions_init(&actions);
  if (failed) return failed;
  failed = posix_spawnattr_init(&attributes);
  if (failed) {
    posix_spawn_file_actions_destroy(&actions);
    return failed;
  }
  for (size_t i = 0; i < mapped && !failed; i++)
    failed = posix_spawn_file_actions_adddup2(&actions, sources[i], targets[i]);
  if (!failed) failed = posix_spawn_file_actions_addclosefrom_np(&actions, first_closed);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  /* SIGKILL and SIGSTOP cannot be set; glibc's own two signals neither. */
  sigdelset(&all, SIGKILL);
  sigdelset(&all, SIGSTOP);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (new_session) flags |= POSIX_SPAWN_SETSID;
  if (!failed) failed = posix_spawnattr_setsigmask(&attributes, &none);
  if (!failed) failed = posix_spawnattr_setsigdefault(&attributes, &all);
  if (!failed) failed = posix_spawnattr_setflags(&attributes, flags);
  if (!failed) failed = posix_spawn(pid, path, &actions, &attributes, argv, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failed;
}

/* Nothing but system calls: this process is a fork of one that may have had threads. */
static void flush(const char *path, int write_back, int channel) {
  /* The caller's standard streams must not wait for a silent server. */
  if (dup2(channel, 0) < 0) _exit(1);
  close_range(1, ~0U, 0);
  prctl(PR_SET_NAME, "nbd-flush");
  int failed = 0;
  int device = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (device < 0 || (write_back && (fsync(device) < 0 || ioctl(device, BLKFLSBUF, 0) < 0)))
    failed = errno;
  if (write(0, &failed, sizeof failed) != sizeof failed) _exit(1);
  char end;
  while (read(0, &end, 1) < 0 && errno == EINTR) {
  }
  _exit(0);
}

int clinux_flush_apart(const char *path, int write_back, pid_t *pid) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return -1;
  *pid = fork();
  if (*pid == 0) flush(path, write_back, ends[1]);
  int error = errno;
  close(ends[1]);
  if (*pid < 0) {
    close(ends[0]);
    errno = error;
    return -1;
  }
  return ends[0];
}

int clinux_wait(pid_t pid, int without_blocking) {
  int status = 0;
  pid_t got;
  do got = waitpid(pid, &status, without_blocking ? WNOHANG : 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return -1;
  if (got == 0) {
    errno = EAGAIN;
    return -1;
  }
  if (WIFSIGNALED(status)) return 256 + WTERMSIG(status);
  return WEXITSTATUS(status);
}

void clinux_syslog_time(char out[16]) {
  static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  time_t now = time(NULL);
  struct tm local;
  out[0] = 0;
  if (!localtime_r(&now, &local)) return;
  char text[64];
  snprintf(text, sizeof text, "%s %2d %02d:%02d:%02d", months[(unsigned)local.tm_mon % 12],
           local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
  memcpy(out, text, 15);
  out[15] = 0;
}
