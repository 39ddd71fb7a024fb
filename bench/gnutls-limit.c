// SPDX-License-Identifier: Apache-2.0
//
// What the cipher alone costs: GnuTLS records of 16 KiB through memory, no
// socket, no relay, one thread. Sending is what a client's writes cost,
// receiving what its reads do.

#define _GNU_SOURCE
#include "process.h"

#include <err.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECORD_BYTES 16384
#define BATCH_RECORDS 16

// One direction of the wire.
struct pipe {
    size_t read, written;
    unsigned char bytes[1 << 20];
};

struct end {
    gnutls_session_t session;
    struct pipe *in, *out;
};

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t n) {
    struct end *end = ptr;
    if (end->out->written + n > sizeof end->out->bytes) errx(1, "wire full");
    memcpy(end->out->bytes + end->out->written, data, n);
    end->out->written += n;
    return (ssize_t)n;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t n) {
    struct end *end = ptr;
    size_t there = end->in->written - end->in->read;
    if (!there) return gnutls_transport_set_errno(end->session, EAGAIN), -1;
    if (n > there) n = there;
    memcpy(data, end->in->bytes + end->in->read, n);
    end->in->read += n;
    if (end->in->read == end->in->written) end->in->read = end->in->written = 0;
    return (ssize_t)n;
}

static int ready(gnutls_transport_ptr_t ptr, unsigned ms) {
    struct end *end = ptr;
    (void)ms;
    return end->in->written > end->in->read;
}

static void check(int code, const char *what) {
    if (code < 0) errx(1, "%s: %s", what, gnutls_strerror(code));
}

static void start(struct end *end, unsigned flags, const char *priority,
                  gnutls_certificate_credentials_t credentials) {
    check(gnutls_init(&end->session, flags | GNUTLS_NONBLOCK), "init");
    check(gnutls_priority_set_direct(end->session, priority, NULL), "priority");
    check(gnutls_credentials_set(end->session, GNUTLS_CRD_CERTIFICATE, credentials), "credentials");
    gnutls_transport_set_ptr(end->session, end);
    gnutls_transport_set_push_function(end->session, push);
    gnutls_transport_set_pull_function(end->session, pull);
    gnutls_transport_set_pull_timeout_function(end->session, ready);
}

static double cpu_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    static struct pipe up, down;
    static unsigned char record[RECORD_BYTES];
    struct end server = {.in = &up, .out = &down}, client = {.in = &down, .out = &up};
    char certificate[4096], key[4096], priority[256];
    if (argc != 5 || (strcmp(argv[1], "read") && strcmp(argv[1], "write")))
        errx(64, "usage: gnutls-limit read|write PKI-DIR CIPHER SECONDS");
    const bool reading = !strcmp(argv[1], "read");
    const double seconds = atof(argv[4]);

    snprintf(certificate, sizeof certificate, "%s/server-cert.pem", argv[2]);
    snprintf(key, sizeof key, "%s/server-key.pem", argv[2]);
    snprintf(priority, sizeof priority, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+%s", argv[3]);
    gnutls_certificate_credentials_t own, none;
    check(gnutls_certificate_allocate_credentials(&own), "credentials");
    check(gnutls_certificate_allocate_credentials(&none), "credentials");
    check(gnutls_certificate_set_x509_key_file(own, certificate, key, GNUTLS_X509_FMT_PEM), "key");
    start(&server, GNUTLS_SERVER | GNUTLS_NO_TICKETS, priority, own);
    start(&client, GNUTLS_CLIENT, priority, none);
    for (int a = -1, b = -1; a || b;) {
        if (a && (a = gnutls_handshake(client.session)) && gnutls_error_is_fatal(a)) check(a, "client");
        if (b && (b = gnutls_handshake(server.session)) && gnutls_error_is_fatal(b)) check(b, "server");
    }

    // The data goes from server to client when reading; only the client's half
    // of the work is timed.
    struct end *from = reading ? &server : &client, *to = reading ? &client : &server;
    double sending = 0, receiving = 0, bytes = 0;
    const double stop = (double)nanoseconds() / 1e9 + seconds;
    while ((double)nanoseconds() / 1e9 < stop) {
        double begin = cpu_now();
        for (int i = 0; i < BATCH_RECORDS; i++)
            check((int)gnutls_record_send(from->session, record, sizeof record), "send");
        double middle = cpu_now();
        for (size_t got = 0; got < BATCH_RECORDS * sizeof record;) {
            ssize_t n = gnutls_record_recv(to->session, record, sizeof record);
            if (n != GNUTLS_E_AGAIN) check((int)n, "receive"), got += (size_t)n;
        }
        sending += middle - begin;
        receiving += cpu_now() - middle;
        bytes += BATCH_RECORDS * sizeof record;
    }
    const double mib = bytes / (1 << 20), cpu = reading ? receiving : sending;
    printf("mib_s=%.3f\tiops=%.1f\tcpu_s_per_gib=%.5f\n", mib / cpu, mib * 8 / cpu,
           cpu / (mib / 1024));
    return 0;
}
