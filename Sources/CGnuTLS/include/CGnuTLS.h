/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The version of the library that is loaded, as "3.7.9". */
const char *cgt_library_version(void);

/* Silences debug output that the environment may ask for: at high levels it prints key material. */
void cgt_quieten(void);

/* Whether this CPU has AES and carry-less multiplication instructions. */
bool cgt_cpu_has_aes(void);

/* explicit_bzero, which Swift does not see everywhere. */
void cgt_wipe(void *bytes, size_t count);

/* gnutls_free is a variable holding a function. */
void cgt_free(void *pointer);

/* Constants whose C forms Swift does not import. */
enum { cgt_profile_medium_flags = GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM) };
extern const char *const cgt_purpose_server, *const cgt_purpose_client;

/* The most bytes one TLS record carries. */
enum { cgt_record_limit = 16384 };

/*
 * A client session over a connected stream socket, with buffers of its own on both sides, allocated
 * once. No call blocks, whatever the mode of the socket; the caller polls. One thread at a time.
 */
typedef struct cgt_channel cgt_channel;

/* Does not own `fd`. NULL when memory is short or the library refuses. */
cgt_channel *cgt_channel_new(int fd);

/* Frees session and buffers, Sends nothing, closes nothing. */
void cgt_channel_free(cgt_channel *channel);

gnutls_session_t cgt_channel_session(const cgt_channel *channel);

/*
 * A step of the handshake: the library's code. GNUTLS_E_AGAIN also comes after a record that ended
 * inside a message: only where the channel is starved, or has output, is the socket to be waited for.
 */
int cgt_channel_handshake(cgt_channel *channel);

/* Whether the last handshake step or receive wanted bytes that the socket did not have. */
bool cgt_channel_is_starved(const cgt_channel *channel);

/*
 * The next decrypted bytes. > 0: so many; 0: the peer's close_notify; GNUTLS_E_AGAIN: nothing
 * complete is there (or many records without data: see cgt_channel_buffered_input); else an error.
 */
ssize_t cgt_channel_receive(cgt_channel *channel, void *bytes, size_t count);

/*
 * Encrypts into the output buffer, as many full records as have room. The count taken, 0 when there
 * is no room, or an error.
 */
ssize_t cgt_channel_send(cgt_channel *channel, const void *bytes, size_t count);

/* Writes the output buffer with one system call. 1: nothing is left; 0: something is; or -errno. */
int cgt_channel_flush(cgt_channel *channel);

/* Records of data sent so far. */
uint64_t cgt_channel_records_sent(const cgt_channel *channel);

/* Encrypted bytes not yet handed to the socket. */
size_t cgt_channel_pending_output(const cgt_channel *channel);

/* Bytes that can be had without the socket: decrypted ones, and raw ones in our buffer. */
size_t cgt_channel_buffered_input(const cgt_channel *channel);

/* Whether everything pulled so far ends with a whole record and nothing is buffered anywhere. */
bool cgt_channel_is_idle(const cgt_channel *channel);

/* After a handshake of TLS 1.3: from here on every record must look like ciphertext. */
void cgt_channel_expect_ciphertext(cgt_channel *channel);

/* Whether the peer's stream ended inside a record. */
bool cgt_channel_was_cut(const cgt_channel *channel);

/* errno of the last receive or send that failed for good, or 0; EBADMSG for a record
   that cannot be one. */
int cgt_channel_socket_error(const cgt_channel *channel);

/*
 * Waits until the socket has input (if `for_input`), or takes what is pending. -1 milliseconds: for
 * ever. 1: there is something to do; 0: the time passed; or -errno.
 */
int cgt_channel_wait(const cgt_channel *channel, bool for_input, int milliseconds);

/* Reads and drops what the peer still sends. 1: its end was reached; 0: nothing there; or -errno. */
int cgt_channel_discard_input(cgt_channel *channel);

/* shutdown(2) of the socket: 0 or -errno. */
int cgt_shutdown(int fd, bool only_writing);

/* Sizes of the buffers. */
size_t cgt_channel_input_capacity(void);
size_t cgt_channel_output_capacity(void);
