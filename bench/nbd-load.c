// SPDX-License-Identifier: Apache-2.0
//
// Starts a client under test, plays its kernel (or its local NBD client) and
// measures. One run, one line of tab-separated figures; see usage().

#define _GNU_SOURCE
#include "nbd-standin.h"
#include "process.h"

#include <arpa/inet.h>
#include <endian.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/nbd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS STANDIN_MAX_SOCKETS
#define MAX_DEPTH 128
#define MAX_REQUEST (1u << 20)
#define RECEIVE_BYTES (256u << 10)
#define MAX_PIECES 128
#define START_SECONDS 10.0
#define STALL_SECONDS 10
#define REQUEST_BYTES 28
#define REPLY_BYTES 16
// The driver receives in a WQ_HIGHPRI workqueue: it takes each reply at once,
// before the client that sent it goes on. So do we.
#define DRIVER_NICE (-20)

struct workload {
    const char *name;
    bool write, random;
    uint32_t size;
    unsigned depth;
};

static const struct workload workloads[] = {
    {"read-128k-q16", false, false, 128 << 10, 16}, {"write-128k-q16", true, false, 128 << 10, 16},
    {"read-1m-q8", false, false, 1 << 20, 8},       {"write-1m-q8", true, false, 1 << 20, 8},
    {"randread-4k-q1", false, true, 4 << 10, 1},    {"randread-4k-q16", false, true, 4 << 10, 16},
    {"randread-4k-q64", false, true, 4 << 10, 64},  {"randwrite-4k-q16", true, true, 4 << 10, 16},
};

// MARK: latency, in logarithmic steps of 1/64

#define STEPS 64
static uint64_t histogram[64 * STEPS];

static unsigned bucket(uint64_t ns) {
    if (ns < STEPS) return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - 6;
    return (shift + 1) * STEPS + (unsigned)((ns >> shift) - STEPS);
}

static double percentile_us(double share) {
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < 64 * STEPS; i++) total += histogram[i];
    for (unsigned i = 0; i < 64 * STEPS; i++) {
        seen += histogram[i];
        if (!histogram[i] || (double)seen < share * (double)total) continue;
        if (i < STEPS) return i / 1e3;
        unsigned shift = i / STEPS - 1;
        return ((double)((uint64_t)(i % STEPS + STEPS) << shift) + (double)(1ull << shift) / 2) / 1e3;
    }
    return 0;
}

// MARK: one connection

struct request {
    unsigned char header[REQUEST_BYTES];
    uint64_t started;
    bool busy;
};

struct connection {
    int fd;
    unsigned depth, in_flight;
    struct request requests[MAX_DEPTH];
    // Those not wholly sent yet, in order; `sent` bytes of the first are gone.
    unsigned queue[MAX_DEPTH], queued;
    size_t sent;
    // A reply header in parts, and how much of a read's payload is to come.
    unsigned char header[REPLY_BYTES];
    unsigned header_bytes;
    uint32_t payload;
    unsigned replying;
    uint64_t next_offset;
};

static const struct workload *job;
static uint64_t export_size;
static uint64_t random_state = 0x9e3779b97f4a7c15u;
static unsigned char payload[MAX_REQUEST];
static unsigned char received[RECEIVE_BYTES];
static uint64_t operations;
static bool measuring;

static uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void put32(unsigned char *p, uint32_t v) { v = htobe32(v), memcpy(p, &v, 4); }
static void put64(unsigned char *p, uint64_t v) { v = htobe64(v), memcpy(p, &v, 8); }
static uint32_t get32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return be32toh(v);
}
static uint64_t get64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return be64toh(v);
}

static void encode(unsigned char *p, unsigned type, uint64_t cookie, uint64_t offset,
                   uint32_t length) {
    put32(p, NBD_REQUEST_MAGIC);
    put32(p + 4, type);
    put64(p + 8, cookie);
    put64(p + 16, offset);
    put32(p + 24, length);
}

static void fill(struct connection *c, uint64_t now) {
    for (unsigned i = 0; i < c->depth && c->in_flight < c->depth; i++) {
        struct request *r = &c->requests[i];
        if (r->busy) continue;
        uint64_t offset;
        if (job->random) {
            offset = random_number() % (export_size / job->size) * job->size;
        } else {
            offset = c->next_offset;
            c->next_offset += job->size;
            if (c->next_offset + job->size > export_size) c->next_offset = 0;
        }
        encode(r->header, job->write ? NBD_CMD_WRITE : NBD_CMD_READ, i, offset, job->size);
        r->busy = true;
        r->started = now;
        c->in_flight++;
        c->queue[c->queued++] = i;
    }
}

static void flush_queue(struct connection *c) {
    const size_t whole = REQUEST_BYTES + (job->write ? job->size : 0);
    while (c->queued) {
        struct iovec pieces[MAX_PIECES];
        int count = 0;
        for (unsigned i = 0; i < c->queued && count + 2 <= MAX_PIECES; i++) {
            size_t skip = i ? 0 : c->sent;
            if (skip < REQUEST_BYTES)
                pieces[count++] = (struct iovec){c->requests[c->queue[i]].header + skip,
                                                 REQUEST_BYTES - skip};
            size_t into = skip > REQUEST_BYTES ? skip - REQUEST_BYTES : 0;
            if (job->write) pieces[count++] = (struct iovec){payload + into, job->size - into};
        }
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) err(1, "send to the client");
        size_t done = c->sent + (size_t)n;
        unsigned complete = (unsigned)(done / whole);
        c->sent = done % whole;
        c->queued -= complete;
        memmove(c->queue, c->queue + complete, c->queued * sizeof c->queue[0]);
        if ((size_t)n < REQUEST_BYTES) return;
    }
}

static void complete(struct connection *c, uint64_t now) {
    struct request *r = &c->requests[c->replying];
    r->busy = false;
    c->in_flight--;
    if (!measuring) return;
    operations++;
    histogram[bucket(now - r->started)]++;
}

static void parse(struct connection *c, const unsigned char *p, size_t n, uint64_t now) {
    while (n) {
        if (c->payload) {
            size_t take = n < c->payload ? n : c->payload;
            c->payload -= (uint32_t)take;
            p += take, n -= take;
            if (!c->payload) complete(c, now);
            continue;
        }
        size_t take = REPLY_BYTES - c->header_bytes;
        if (take > n) take = n;
        memcpy(c->header + c->header_bytes, p, take);
        c->header_bytes += (unsigned)take;
        p += take, n -= take;
        if (c->header_bytes < REPLY_BYTES) return;
        c->header_bytes = 0;
        uint64_t cookie = get64(c->header + 8);
        if (get32(c->header) != NBD_REPLY_MAGIC) errx(1, "bad reply magic");
        if (get32(c->header + 4)) errx(1, "request failed: error %u", get32(c->header + 4));
        if (cookie >= c->depth || !c->requests[cookie].busy) errx(1, "reply to nothing in flight");
        c->replying = (unsigned)cookie;
        c->payload = job->write ? 0 : job->size;
        if (!c->payload) complete(c, now);
    }
}

// WAIT: block for the first byte, as the driver's receiver does.
static void receive(struct connection *c, bool wait) {
    ssize_t n = recv(c->fd, received, sizeof received, wait ? 0 : MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN && !wait) return;
    if (n < 0) err(1, "receive from the client");
    if (n == 0) errx(1, "the client closed the connection");
    parse(c, received, (size_t)n, nanoseconds());
}

static void wait_and_receive(struct connection *connections, unsigned count) {
    if (count == 1 && !connections[0].queued) return receive(&connections[0], true);
    struct pollfd polls[MAX_CONNECTIONS];
    for (unsigned i = 0; i < count; i++)
        polls[i] = (struct pollfd){.fd = connections[i].fd,
                                   .events = POLLIN | (connections[i].queued ? POLLOUT : 0)};
    if (poll(polls, count, STALL_SECONDS * 1000) <= 0) errx(1, "the client stalled");
    for (unsigned i = 0; i < count; i++)
        if (polls[i].revents & ~POLLOUT) receive(&connections[i], false);
}

// MARK: negotiation in plaintext, for proxies and for no client at all

static void exactly(int fd, void *buffer, size_t n) {
    for (size_t got = 0; got < n;) {
        ssize_t r = recv(fd, (char *)buffer + got, n - got, 0);
        if (r <= 0) errx(1, "negotiation: the server closed");
        got += (size_t)r;
    }
}

// NBD_OPT_EXPORT_NAME of the default export: the shortest there is.
static uint64_t negotiate(int fd) {
    unsigned char greeting[18], answer[4] = {0}, option[16], reply[10];
    exactly(fd, greeting, sizeof greeting);
    if (memcmp(greeting, "NBDMAGICIHAVEOPT", 16)) errx(1, "negotiation: not newstyle");
    answer[3] = greeting[17] & 3;
    memcpy(option, "IHAVEOPT", 8);
    put32(option + 8, 1);
    put32(option + 12, 0);
    if (send(fd, answer, 4, MSG_NOSIGNAL) != 4 || send(fd, option, 16, MSG_NOSIGNAL) != 16)
        err(1, "negotiation");
    exactly(fd, reply, sizeof reply);
    if (!(greeting[17] & 2)) {
        unsigned char zeroes[124];
        exactly(fd, zeroes, sizeof zeroes);
    }
    return get64(reply);
}

static int connect_to(const char *where, double until) {
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *address = (struct sockaddr *)&local;
    socklen_t length = sizeof local;
    if (*where == '/') {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", where);
    } else {
        remote.sin_port = htons((uint16_t)atoi(where));
        address = (struct sockaddr *)&remote;
        length = sizeof remote;
    }
    for (;;) {
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
        if (fd < 0) err(1, "socket");
        if (!connect(fd, address, length)) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            return fd;
        }
        close(fd);
        if ((double)nanoseconds() / 1e9 > until) err(1, "connect to %s", where);
        usleep(5000);
    }
}

// MARK: the stand-in's other end

static int listen_in(const char *dir) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/" STANDIN_SOCKET, dir);
    unlink(address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4))
        err(1, "listen in %s", dir);
    return fd;
}

static unsigned take_over(int listener, struct connection *connections, int *control) {
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    const double until = (double)nanoseconds() / 1e9 + START_SECONDS;
    while (poll(&wait, 1, 20) != 1)
        if (!process_lives() || (double)nanoseconds() / 1e9 > until)
            errx(1, "the client did not start its device");
    *control = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct standin_handover handover = {0};
    char rights[CMSG_SPACE(STANDIN_MAX_SOCKETS * sizeof(int))];
    struct iovec iov = {&handover, sizeof handover};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = rights,
                             .msg_controllen = sizeof rights};
    if (*control < 0 || recvmsg(*control, &message, MSG_CMSG_CLOEXEC) != sizeof handover ||
        handover.magic != STANDIN_MAGIC || !CMSG_FIRSTHDR(&message))
        errx(1, "bad hand-over");
    int fds[STANDIN_MAX_SOCKETS];
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), handover.sockets * sizeof(int));
    for (unsigned i = 0; i < handover.sockets; i++) connections[i].fd = fds[i];
    export_size = handover.size;
    return handover.sockets;
}

// MARK: a run

struct options {
    const char *standin, *preload, *connect, *log;
    unsigned connections;
    double seconds, warm_up;
    cpu_set_t own, client;
    bool pin_own, pin_client, count_calls;
    unsigned repeat;
    pid_t server;
    double bytes;
};

static void report(double seconds, double ops, double bytes, double cpu, double calls, double rss,
                   double foreign) {
    const double mib = bytes / (1 << 20);
    if (bytes > 0)
        printf("mib_s=%.3f\tiops=%.1f\tcpu_s_per_gib=%.5f\t", mib / seconds, ops / seconds,
               cpu / (mib / 1024));
    if (bytes > 0 && calls >= 0) printf("syscalls_per_mib=%.3f\t", calls / mib);
    if (percentile_us(0.5) > 0)
        printf("p50_us=%.2f\tp99_us=%.2f\t", percentile_us(0.5), percentile_us(0.99));
    printf("peak_rss_mib=%.2f\tforeign_cpus=%.3f\n", rss, foreign);
}

static void prepare(struct connection *c, unsigned count, unsigned index) {
    int flags = fcntl(c->fd, F_GETFL);
    struct timeval stall = {.tv_sec = STALL_SECONDS};
    // The driver ignores O_NONBLOCK; here it would make the receiver spin.
    fcntl(c->fd, F_SETFL, flags & ~O_NONBLOCK);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
    c->depth = job->depth / count + (index < job->depth % count);
    c->next_offset = export_size / count * index / job->size * job->size;
}

static void load(const struct options *o, struct connection *connections, unsigned count,
                 struct usage_probe *probe) {
    for (unsigned i = 0; i < count; i++) prepare(&connections[i], count, i);
    // A connection that got no request at this depth stays idle.
    unsigned active = job->depth < count ? job->depth : count;
    uint64_t start = 0, begin = nanoseconds() + (uint64_t)(o->warm_up * 1e9);
    const uint64_t window = (uint64_t)(o->seconds * 1e9);
    struct usage before = {0}, after;
    for (;;) {
        uint64_t now = nanoseconds();
        if (!measuring && now >= begin) {
            usage_read(probe, &before);
            start = now = nanoseconds();
            measuring = true;
        } else if (measuring && now - start >= window) {
            break;
        }
        for (unsigned i = 0; i < active; i++) {
            fill(&connections[i], now);
            flush_queue(&connections[i]);
        }
        wait_and_receive(connections, active);
    }
    measuring = false;
    double elapsed = (double)(nanoseconds() - start) / 1e9;
    usage_read(probe, &after);
    for (unsigned i = 0; i < active; i++)
        while (connections[i].in_flight) {
            flush_queue(&connections[i]);
            wait_and_receive(&connections[i], 1);
        }
    double ops = (double)operations;
    double calls = o->count_calls ? after.calls - before.calls : -1;
    report(elapsed, ops, ops * job->size, after.cpu - before.cpu, calls, after.peak_rss_mib,
           foreign_cpus(&before, &after));
}

static void play(const struct options *o, char **command) {
    static struct connection connections[MAX_CONNECTIONS];
    unsigned count = o->connections;
    int control = -1, listener = o->standin ? listen_in(o->standin) : -1;
    struct usage_probe probe = {.count_calls = o->count_calls, .server = o->server};
    if (command) {
        if (o->standin) {
            setenv(STANDIN_ENV, o->standin, 1);
            setenv("LD_PRELOAD", o->preload, 1);
        }
        process_start(&probe, command, o->pin_client ? &o->client : NULL, o->log);
        unsetenv("LD_PRELOAD");
    } else {
        usage_of_self(&probe);
    }
    if (o->standin) {
        count = take_over(listener, connections, &control);
        if (count != o->connections) errx(1, "%u connections instead of %u", count, o->connections);
    } else {
        double until = (double)nanoseconds() / 1e9 + START_SECONDS;
        for (unsigned i = 0; i < count; i++) {
            connections[i].fd = connect_to(o->connect, until);
            export_size = negotiate(connections[i].fd);
        }
    }
    if (export_size < MAX_REQUEST) errx(1, "the export is too small");
    load(o, connections, count, &probe);

    for (unsigned i = 0; i < count; i++) {
        unsigned char bye[REQUEST_BYTES];
        encode(bye, NBD_CMD_DISC, 0, 0, 0);
        send(connections[i].fd, bye, sizeof bye, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(connections[i].fd);
    }
    if (control >= 0) close(control);
    process_end(o->standin ? 1.0 : 0.0);
}

// The command is the whole workload. Without a number of bytes its wall time is
// what counts, as the latency.
static void repeat(const struct options *o, char **command) {
    double wall = 0, cpu = 0, rss = 0, calls = 0;
    struct usage_probe all = {.server = o->server};
    struct usage before, after;
    usage_read(&all, &before);
    for (unsigned i = 0; i < o->repeat; i++) {
        struct usage_probe probe = {.count_calls = o->count_calls};
        struct usage usage;
        uint64_t start = nanoseconds();
        process_start(&probe, command, o->pin_client ? &o->client : NULL, o->log);
        process_wait(&probe, &usage);
        uint64_t took = nanoseconds() - start;
        if (o->bytes <= 0) histogram[bucket(took)]++;
        wall += (double)took / 1e9;
        cpu += usage.cpu;
        calls += usage.calls;
        if (usage.peak_rss_mib > rss) rss = usage.peak_rss_mib;
    }
    usage_read(&all, &after);
    const double bytes = o->bytes * o->repeat;
    report(wall, job ? bytes / job->size : 0, bytes, cpu, o->count_calls ? calls : -1, rss,
           foreign_cpus(&before, &after));
}

// A failed run leaves no process behind either.
static void end_now(void) { process_end(0); }

static _Noreturn void usage(void) {
    fputs("usage: nbd-load [--own-cpus LIST] [--client-cpus LIST] [--calls] [--log FILE]\n"
          "                MODE [-- COMMAND...]\n"
          "  --standin DIR --preload LIB --workload W   play the kernel of COMMAND\n"
          "  --connect PATH|PORT --workload W           be an NBD client (of COMMAND, or of nobody)\n"
          "  --repeat N [--bytes B --workload W]         time COMMAND itself, N times\n"
          "further: --connections N, --seconds S, --warm-up S, --server PID\n", stderr);
    exit(64);
}

int main(int argc, char **argv) {
    static const struct option names[] = {
        {"standin", 1, NULL, 's'},     {"preload", 1, NULL, 'p'}, {"connect", 1, NULL, 'c'},
        {"workload", 1, NULL, 'w'},    {"repeat", 1, NULL, 'r'},  {"bytes", 1, NULL, 'b'},
        {"connections", 1, NULL, 'n'}, {"seconds", 1, NULL, 't'}, {"warm-up", 1, NULL, 'u'},
        {"own-cpus", 1, NULL, 'o'},    {"client-cpus", 1, NULL, 'k'}, {"calls", 0, NULL, 'y'},
        {"log", 1, NULL, 'l'},         {"server", 1, NULL, 'e'},     {0}};
    struct options o = {.connections = 1, .seconds = 1, .warm_up = 0.2, .log = "/dev/null"};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) switch (c) {
        case 's': o.standin = optarg; break;
        case 'p': o.preload = optarg; break;
        case 'c': o.connect = optarg; break;
        case 'r': o.repeat = (unsigned)atoi(optarg); break;
        case 'b': o.bytes = atof(optarg); break;
        case 'n': o.connections = (unsigned)atoi(optarg); break;
        case 't': o.seconds = atof(optarg); break;
        case 'u': o.warm_up = atof(optarg); break;
        case 'o': o.pin_own = cpu_list(optarg, &o.own); break;
        case 'k': o.pin_client = cpu_list(optarg, &o.client); break;
        case 'y': o.count_calls = true; break;
        case 'e': o.server = atoi(optarg); break;
        case 'l': o.log = optarg; break;
        case 'w':
            for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
                if (!strcmp(optarg, workloads[i].name)) job = &workloads[i];
            if (!job) errx(64, "no workload %s", optarg);
            break;
        default: usage();
        }
    char **command = optind < argc ? argv + optind : NULL;
    bool plays = o.standin || o.connect;
    if (plays == (o.repeat > 0) || ((plays || o.bytes > 0) && !job) || (!o.connect && !command) ||
        (o.standin && !o.preload) || !o.connections || o.connections > MAX_CONNECTIONS)
        usage();
    for (size_t i = 0; i < sizeof payload; i++) payload[i] = (unsigned char)random_number();
    atexit(end_now);
    if (o.pin_own) sched_setaffinity(0, sizeof o.own, &o.own);
    process_prepare();
    if (plays && setpriority(PRIO_PROCESS, 0, DRIVER_NICE))
        warn("without the driver's priority, depth above 1 flatters clients that send replies singly");
    if (plays) play(&o, command);
    else repeat(&o, command);
    return 0;
}
