/* SPDX-License-Identifier: Apache-2.0 */
#include "CGnuTLS.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
  input_capacity = 256 * 1024,
  output_capacity = 512 * 1024,
  /* Room that data leaves free, for alerts, key updates and the overhead of a record. */
  output_reserve = 32 * 1024,
  /* Header, explicit nonce, content type, tag; and a key update that may go first. */
  record_overhead = 512,
  record_header = 5,
  /* Records without data (tickets, key updates) handled in one call, so that a flood of them cannot
     hold the caller past its deadline. */
  dataless_records_at_once = 64,
};

struct cgt_channel {
  gnutls_session_t session;
  int fd;
  int socket_error;
  bool saw_end;
  /* Set by pull when the socket had nothing: tells "no data" from "a record without data". */
  bool starved;
  /* The last recv took all there was: the next would only say so. Believed once, then asked again;
     who polls in between misses nothing. */
  bool drained;
  uint64_t records_sent;

  size_t input_start, input_end;
  size_t output_start, output_length; /* a ring */

  /* Where in a record the library's reading stands. */
  unsigned char header[record_header];
  size_t header_got, body_left;
  bool ciphertext_only;

  unsigned char *input, *output;
};

/*
 * Follows the record framing through the bytes that the library takes. After the handshake of TLS
 * 1.3 every header is the same but for its length; the library does not look at the type, so a
 * changed one would pass (RFC 8446, 5.2).
 */
static bool follow_records(cgt_channel *c, const unsigned char *bytes, size_t count) {
  while (count > 0) {
    if (c->body_left > 0) {
      size_t n = count < c->body_left ? count : c->body_left;
      c->body_left -= n, bytes += n, count -= n;
      continue;
    }
    c->header[c->header_got++] = *bytes++, count--;
    if (c->header_got == record_header) {
      c->body_left = (size_t)c->header[3] << 8 | c->header[4];
      c->header_got = 0;
      if (c->ciphertext_only && (c->header[0] != 23 || c->header[1] != 3 || c->header[2] != 3))
        return false;
    }
  }
  return true;
}

static ssize_t pull(gnutls_transport_ptr_t pointer, void *bytes, size_t count) {
  cgt_channel *c = pointer;
  if (c->input_start == c->input_end) {
    ssize_t n;
    if (c->drained) {
      c->drained = false;
      c->starved = true;
      gnutls_transport_set_errno(c->session, EAGAIN);
      return -1;
    }
    do n = recv(c->fd, c->input, input_capacity, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == 0) {
      c->saw_end = true;
      return 0;
    }
    if (n < 0) {
      int error = errno;
      if (error == EAGAIN || error == EWOULDBLOCK) {
        c->starved = true;
        error = EAGAIN;
      } else {
        c->socket_error = error;
      }
      gnutls_transport_set_errno(c->session, error);
      return -1;
    }
    c->input_start = 0;
    c->input_end = (size_t)n;
    c->drained = n < input_capacity;
  }
  size_t n = c->input_end - c->input_start;
  if (n > count) n = count;
  memcpy(bytes, c->input + c->input_start, n);
  c->input_start += n;
  if (!follow_records(c, bytes, n)) {
    c->socket_error = EBADMSG;
    gnutls_transport_set_errno(c->session, EBADMSG);
    return -1;
  }
  return (ssize_t)n;
}

static int pull_timeout(gnutls_transport_ptr_t pointer, unsigned int milliseconds) {
  cgt_channel *c = pointer;
  if (c->input_start != c->input_end || c->saw_end) return 1;
  struct pollfd p = {.fd = c->fd, .events = POLLIN};
  int timeout = milliseconds == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)milliseconds;
  int n = poll(&p, 1, timeout);
  if (n < 0) gnutls_transport_set_errno(c->session, errno);
  return n;
}

/* All of it or nothing, so that the library never keeps half a record back. */
static ssize_t push(gnutls_transport_ptr_t pointer, const giovec_t *parts, int count) {
  cgt_channel *c = pointer;
  size_t total = 0;
  for (int i = 0; i < count; i++) total += parts[i].iov_len;
  if (total > output_capacity - c->output_length) {
    gnutls_transport_set_errno(c->session, EAGAIN);
    return -1;
  }
  for (int i = 0; i < count; i++) {
    const unsigned char *bytes = parts[i].iov_base;
    size_t left = parts[i].iov_len;
    while (left > 0) {
      size_t at = (c->output_start + c->output_length) % output_capacity;
      size_t n = output_capacity - at < left ? output_capacity - at : left;
      memcpy(c->output + at, bytes, n);
      c->output_length += n, bytes += n, left -= n;
    }
  }
  return (ssize_t)total;
}

/* Takes the place of the library's own, which writes secrets to the file that SSLKEYLOGFILE names. */
static int log_no_keys(gnutls_session_t session, const char *label, const gnutls_datum_t *secret) {
  (void)session, (void)label, (void)secret;
  return 0;
}

cgt_channel *cgt_channel_new(int fd) {
  cgt_channel *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->fd = fd;
  c->input = malloc(input_capacity);
  c->output = malloc(output_capacity);
  /* Forced: whether our certificate will do is for the server to say, not for us to guess. */
  unsigned flags = GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_FORCE_CLIENT_CERT;
  if (!c->input || !c->output || gnutls_init(&c->session, flags) < 0) {
    free(c->input), free(c->output), free(c);
    return NULL;
  }
  gnutls_transport_set_ptr(c->session, c);
  gnutls_transport_set_pull_function(c->session, pull);
  gnutls_transport_set_pull_timeout_function(c->session, pull_timeout);
  gnutls_transport_set_vec_push_function(c->session, push);
  gnutls_session_set_keylog_function(c->session, log_no_keys);
  return c;
}

void cgt_channel_free(cgt_channel *c) {
  if (!c) return;
  gnutls_deinit(c->session);
  /* Both hold ciphertext only: nothing to wipe. */
  free(c->input), free(c->output), free(c);
}

gnutls_session_t cgt_channel_session(const cgt_channel *c) { return c->session; }

int cgt_channel_handshake(cgt_channel *c) {
  c->starved = false;
  return gnutls_handshake(c->session);
}

bool cgt_channel_is_starved(const cgt_channel *c) { return c->starved; }

ssize_t cgt_channel_receive(cgt_channel *c, void *bytes, size_t count) {
  for (int i = 0; i < dataless_records_at_once; i++) {
    c->starved = false;
    ssize_t n = gnutls_record_recv(c->session, bytes, count);
    if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED) return n;
    if (c->starved) break;
  }
  return GNUTLS_E_AGAIN;
}

ssize_t cgt_channel_send(cgt_channel *c, const void *bytes, size_t count) {
  size_t taken = 0;
  while (taken < count) {
    size_t part = count - taken < cgt_record_limit ? count - taken : cgt_record_limit;
    if (c->output_length + part + record_overhead > output_capacity - output_reserve) break;
    ssize_t n = gnutls_record_send(c->session, (const char *)bytes + taken, part);
    if (n < 0) return taken > 0 ? (ssize_t)taken : n;
    taken += (size_t)n;
    c->records_sent++;
  }
  return (ssize_t)taken;
}

int cgt_channel_flush(cgt_channel *c) {
  if (c->output_length == 0) return 1;
  size_t first = output_capacity - c->output_start;
  if (first > c->output_length) first = c->output_length;
  struct iovec parts[2] = {
      {.iov_base = c->output + c->output_start, .iov_len = first},
      {.iov_base = c->output, .iov_len = c->output_length - first},
  };
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = c->output_length > first ? 2 : 1};
  ssize_t n;
  do n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
    c->socket_error = errno;
    return -errno;
  }
  c->output_length -= (size_t)n;
  c->output_start = c->output_length == 0 ? 0 : (c->output_start + (size_t)n) % output_capacity;
  return c->output_length == 0;
}

uint64_t cgt_channel_records_sent(const cgt_channel *c) { return c->records_sent; }

size_t cgt_channel_pending_output(const cgt_channel *c) { return c->output_length; }

size_t cgt_channel_buffered_input(const cgt_channel *c) {
  return c->input_end - c->input_start + gnutls_record_check_pending(c->session);
}

bool cgt_channel_is_idle(const cgt_channel *c) {
  return c->output_length == 0 && c->header_got == 0 && c->body_left == 0 &&
         cgt_channel_buffered_input(c) == 0 &&
         gnutls_record_check_corked(c->session) == 0;
}

void cgt_channel_expect_ciphertext(cgt_channel *c) { c->ciphertext_only = true; }

bool cgt_channel_was_cut(const cgt_channel *c) {
  return c->saw_end && (c->header_got > 0 || c->body_left > 0);
}

int cgt_channel_socket_error(const cgt_channel *c) { return c->socket_error; }

int cgt_channel_wait(const cgt_channel *c, bool for_input, int milliseconds) {
  struct pollfd p = {.fd = c->fd};
  if (for_input) p.events |= POLLIN;
  if (c->output_length > 0) p.events |= POLLOUT;
  int n = poll(&p, 1, milliseconds);
  return n < 0 ? (errno == EINTR ? 1 : -errno) : n;
}

int cgt_channel_discard_input(cgt_channel *c) {
  c->input_start = c->input_end = 0;
  ssize_t n;
  do n = recv(c->fd, c->input, input_capacity, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
  return n == 0;
}

int cgt_shutdown(int fd, bool only_writing) {
  return shutdown(fd, only_writing ? SHUT_WR : SHUT_RDWR) < 0 ? -errno : 0;
}

size_t cgt_channel_input_capacity(void) { return input_capacity; }

size_t cgt_channel_output_capacity(void) { return output_capacity; }
