/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

const int clinux_ipproto_tcp = IPPROTO_TCP, clinux_tcp_nodelay = TCP_NODELAY,
          clinux_tcp_keepidle = TCP_KEEPIDLE, clinux_tcp_keepintvl = TCP_KEEPINTVL,
          clinux_tcp_keepcnt = TCP_KEEPCNT, clinux_tcp_user_timeout = TCP_USER_TIMEOUT,
          clinux_tcp_ulp = TCP_ULP, clinux_sol_tls = SOL_TLS;
const int clinux_so_sndbuf = SO_SNDBUF, clinux_so_rcvbuf = SO_RCVBUF,
          clinux_so_sndbufforce = SO_SNDBUFFORCE, clinux_so_rcvbufforce = SO_RCVBUFFORCE,
          clinux_so_keepalive = SO_KEEPALIVE, clinux_so_error = SO_ERROR, clinux_so_type = SO_TYPE,
          clinux_so_domain = SO_DOMAIN, clinux_so_meminfo = SO_MEMINFO;

socklen_t clinux_address_ipv4(clinux_address *out, const uint8_t bytes[4], uint16_t port) {
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  memcpy(&address.sin_addr, bytes, 4);
  memcpy(out, &address, sizeof address);
  return sizeof address;
}

socklen_t clinux_address_ipv6(clinux_address *out, const uint8_t bytes[16], uint16_t port,
                              uint32_t scope) {
  struct sockaddr_in6 address;
  memset(&address, 0, sizeof address);
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_scope_id = scope;
  memcpy(&address.sin6_addr, bytes, 16);
  memcpy(out, &address, sizeof address);
  return sizeof address;
}

socklen_t clinux_address_unix(clinux_address *out, const uint8_t *name, size_t length) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (length == 0 || length >= sizeof address.sun_path) return 0;
  memcpy(address.sun_path, name, length);
  memcpy(out, &address, sizeof address);
  /* An abstract name is as long as given; a path ends at its NUL. */
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] ? 1 : 0));
}

socklen_t clinux_address_vsock(clinux_address *out, uint32_t cid, uint32_t port) {
  struct sockaddr_vm address;
  memset(&address, 0, sizeof address);
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  memcpy(out, &address, sizeof address);
  return sizeof address;
}

int clinux_address_read(const clinux_address *address, socklen_t length, uint8_t bytes[108],
                        size_t *count, uint32_t *port, uint32_t *scope) {
  *count = 0;
  *port = *scope = 0;
  if (length < sizeof(sa_family_t)) return -1;
  switch (address->any.sa_family) {
  case AF_INET: {
    struct sockaddr_in in;
    if (length < sizeof in) return -1;
    memcpy(&in, address, sizeof in);
    memcpy(bytes, &in.sin_addr, *count = 4);
    *port = ntohs(in.sin_port);
    return AF_INET;
  }
  case AF_INET6: {
    struct sockaddr_in6 in;
    if (length < sizeof in) return -1;
    memcpy(&in, address, sizeof in);
    memcpy(bytes, &in.sin6_addr, *count = 16);
    *port = ntohs(in.sin6_port);
    *scope = in.sin6_scope_id;
    return AF_INET6;
  }
  case AF_UNIX: {
    size_t start = offsetof(struct sockaddr_un, sun_path);
    size_t size = length > start ? length - start : 0;
    if (size > 108) size = 108;
    const char *name = (const char *)address + start;
    if (size && name[0]) size = strnlen(name, size);
    memcpy(bytes, name, *count = size);
    return AF_UNIX;
  }
  case AF_VSOCK: {
    struct sockaddr_vm vm;
    if (length < sizeof vm) return -1;
    memcpy(&vm, address, sizeof vm);
    *port = vm.svm_port;
    *scope = vm.svm_cid;
    return AF_VSOCK;
  }
  }
  return -1;
}

int clinux_setsockopt_int(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value);
}

int clinux_getsockopt_int(int fd, int level, int option, int *value) {
  socklen_t length = sizeof *value;
  return getsockopt(fd, level, option, value, &length);
}

int clinux_input_queued(int fd) {
  char byte;
  ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  return got < 0 ? -1 : got > 0;
}

ssize_t clinux_send_to(int fd, const void *bytes, size_t count, const clinux_address *to,
                       socklen_t length) {
  return sendto(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL, &to->any, length);
}

ssize_t clinux_send_gathered(int fd, const void *first, size_t first_count, const void *second,
                             size_t second_count) {
  struct iovec parts[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int clinux_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int clinux_netlink_open(int protocol, uint32_t *port) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  if (fd < 0) return -1;
  struct sockaddr_nl address;
  memset(&address, 0, sizeof address);
  address.nl_family = AF_NETLINK;
  socklen_t length = sizeof address;
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
    int failed = errno;
    close(fd);
    errno = failed;
    return -1;
  }
  *port = address.nl_pid;
  /* Both are improvements only: the driver's error texts, and the request left out of its acks. */
  int on = 1;
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return fd;
}

int clinux_netlink_join(int fd, uint32_t group) {
  int value = (int)group;
  return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &value, sizeof value);
}

ssize_t clinux_netlink_send(int fd, const void *bytes, size_t count) {
  struct sockaddr_nl kernel;
  memset(&kernel, 0, sizeof kernel);
  kernel.nl_family = AF_NETLINK;
  return sendto(fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&kernel, sizeof kernel);
}

ssize_t clinux_netlink_receive(int fd, void *bytes, size_t count, uint32_t *sender,
                               int *truncated) {
  struct sockaddr_nl from;
  memset(&from, 0, sizeof from);
  struct iovec part = {bytes, count};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
  *sender = from.nl_pid;
  *truncated = got >= 0 && (message.msg_flags & MSG_TRUNC) != 0;
  return got;
}
