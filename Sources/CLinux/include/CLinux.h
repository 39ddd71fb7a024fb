/* SPDX-License-Identifier: Apache-2.0 */
/* What Swift cannot see of the kernel's interface: variadic calls, macros, and structures that the
 * importer leaves out. Every function returns what the system call returns and leaves errno alone. */
#pragma once
#include <linux/tls.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Files. Plain libc open(), so that a preloaded library can stand in for /dev/nbdN. */
int clinux_open(const char *path, int flags, unsigned mode);
int clinux_ioctl(int fd, unsigned long request, unsigned long argument);
int clinux_ioctl_pointer(int fd, unsigned long request, void *argument);
int clinux_duplicate(int fd, int lowest);
int clinux_set_cloexec(int fd, int on);
int clinux_set_nonblocking(int fd, int on);
int clinux_memfd(const char *name);
/* lseek() with SEEK_DATA or SEEK_HOLE, and fallocate() that punches a hole. */
int64_t clinux_seek_data(int fd, int64_t offset);
int64_t clinux_seek_hole(int fd, int64_t offset);
int clinux_punch_hole(int fd, int64_t offset, int64_t length);
/* An open-file-description lock over the whole file; a probe returns 1 when someone holds one. */
int clinux_lock_exclusive(int fd);
int clinux_lock_probe(int fd);
/* rename(2) that fails with EEXIST where something has the new name; EINVAL where the file system
   cannot. */
int clinux_rename_no_replace(const char *old_path, const char *new_path);
/* Lists a directory: calls back with each name but "." and "..". Returns 0, or -1 with errno. */
int clinux_list_directory(const char *path, void *context,
                          void (*each)(void *context, const char *name));

/* Sockets. */
typedef union {
  struct sockaddr any;
  struct sockaddr_storage storage;
} clinux_address;
socklen_t clinux_address_ipv4(clinux_address *out, const uint8_t bytes[4], uint16_t port);
socklen_t clinux_address_ipv6(clinux_address *out, const uint8_t bytes[16], uint16_t port,
                              uint32_t scope);
/* The name may be abstract (first byte NUL). Returns 0 when it is too long. */
socklen_t clinux_address_unix(clinux_address *out, const uint8_t *name, size_t length);
socklen_t clinux_address_vsock(clinux_address *out, uint32_t cid, uint32_t port);
/* What an address holds: bytes (4, 16, or the Unix name), its length, port or vsock port, scope or
 * cid. Returns the family, or -1. */
int clinux_address_read(const clinux_address *address, socklen_t length, uint8_t bytes[108],
                        size_t *count, uint32_t *port, uint32_t *scope);
int clinux_setsockopt_int(int fd, int level, int option, int value);
int clinux_getsockopt_int(int fd, int level, int option, int *value);
extern const int clinux_ipproto_tcp, clinux_tcp_nodelay, clinux_tcp_keepidle, clinux_tcp_keepintvl,
    clinux_tcp_keepcnt, clinux_tcp_user_timeout, clinux_tcp_ulp, clinux_sol_tls;
extern const int clinux_so_sndbuf, clinux_so_rcvbuf, clinux_so_sndbufforce, clinux_so_rcvbufforce,
    clinux_so_keepalive, clinux_so_error, clinux_so_type, clinux_so_domain, clinux_so_meminfo;
int clinux_input_queued(int fd);
/* One datagram to an address, never blocking, never SIGPIPE. */
ssize_t clinux_send_to(int fd, const void *bytes, size_t count, const clinux_address *to,
                       socklen_t length);
ssize_t clinux_send_gathered(int fd, const void *first, size_t first_count, const void *second,
                             size_t second_count);
int clinux_accept(int fd);

/* Events. */
int clinux_eventfd(void);
int clinux_signalfd(const int *signals, size_t count);
/* Returns the signal's number and sender, 0 when there is none, -1 with errno. */
int clinux_signal_read(int fd, int32_t *pid, uint32_t *uid);
int clinux_signal_is_ignored(int number);
/* Unblocks a signal, and has it do to the process what it does by default: to end it. */
_Noreturn void clinux_end_by_signal(int number);
/* Columns of a terminal, 0 where that is not known. */
int clinux_terminal_columns(int fd);
int clinux_timerfd(void);
/* Nanoseconds from now; 0 disarms. */
int clinux_timerfd_arm(int fd, uint64_t nanoseconds);
uint64_t clinux_monotonic(void);

/* Processes and threads. */
int clinux_prctl(int option, unsigned long argument);
int clinux_prctl_get(int option);
int clinux_set_name(const char *name);

/* Lets malloc map large blocks one by one from now on, and unmap them when they are freed. */
int clinux_map_large_blocks(void);
int clinux_pidfd_open(int pid);
int clinux_pidfd_send(int pidfd, int signal);
int clinux_limit_core_to_zero(void);
int clinux_locked_memory_limit(uint64_t *bytes);
/* Starts a thread whose stack has `stack` bytes; start(context) runs on it. */
int clinux_thread_start(unsigned long *out, size_t stack, void *(*start)(void *), void *context,
                        int detached);
int clinux_thread_join(unsigned long thread);
/* Starts a program: descriptors sources[i] become targets[i], all others are closed; signal
 * dispositions and mask as at a login. Returns an errno value, 0 for success. */
int clinux_spawn(pid_t *pid, const char *path, char *const argv[], char *const environment[],
                 const int *sources, const int *targets, size_t mapped, int first_closed,
                 int new_session);
/* Forks a process that opens the block device exclusively and, if asked to, writes back what the
 * kernel holds of it. It writes its errno (0 for success) as an int to the socket that is returned,
 * and keeps the device open until that socket is closed. In a process, since a flush whose server is
 * gone cannot be interrupted: it can be left behind, a thread cannot. Returns -1 with errno. */
int clinux_flush_apart(const char *path, int write_back, pid_t *pid);
/* Exit status 0..255, or 256 + signal; -1 with errno. */
int clinux_wait(pid_t pid, int without_blocking);
void clinux_syslog_time(char out[16]);
void clinux_wipe(void *bytes, size_t count);

/* The nbd driver. */
extern const unsigned long clinux_nbd_set_sock, clinux_nbd_set_blksize, clinux_nbd_do_it,
    clinux_nbd_clear_sock, clinux_nbd_clear_que, clinux_nbd_set_size_blocks,
    clinux_nbd_disconnect, clinux_nbd_set_timeout, clinux_nbd_set_flags, clinux_blkroset,
    clinux_blkrrpart;

/* Netlink. */
int clinux_netlink_open(int protocol, uint32_t *port);
int clinux_netlink_join(int fd, uint32_t group);
ssize_t clinux_netlink_send(int fd, const void *bytes, size_t count);
/* *sender receives the sender's port (0: the kernel); *truncated whether it was longer. */
ssize_t clinux_netlink_receive(int fd, void *bytes, size_t count, uint32_t *sender,
                               int *truncated);

/* A file's facts, smaller and steadier than struct stat. */
typedef struct {
  uint32_t mode, uid, gid;
  uint32_t device_major, device_minor, special_major, special_minor;
  uint64_t size, inode, links;
  int64_t modified_seconds;
  uint32_t modified_nanoseconds;
} clinux_file_facts;
int clinux_stat(const char *path, int follow, clinux_file_facts *out);
int clinux_fstat(int fd, clinux_file_facts *out);
