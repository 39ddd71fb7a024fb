// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 256
#define TRACEFS "/sys/kernel/tracing"

uint64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool cpu_list(const char *text, cpu_set_t *set) {
    CPU_ZERO(set);
    for (char *end; *text; text = *end ? end + 1 : end) {
        long cpu = strtol(text, &end, 10);
        if (end == text || cpu < 0 || cpu >= CPU_SETSIZE) errx(64, "bad list of CPUs");
        CPU_SET((size_t)cpu, set);
    }
    return true;
}

// MARK: descendants

// Children hang on the thread that made them.
static unsigned descendants(pid_t pid, pid_t *pids, unsigned count) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return count;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (!isdigit((unsigned char)task->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, task->d_name);
        FILE *f = fopen(path, "re");
        if (!f) continue;
        for (int child; count < MAX_PROCESSES && fscanf(f, "%d", &child) == 1;) {
            pids[count++] = child;
            count = descendants(child, pids, count);
        }
        fclose(f);
    }
    closedir(tasks);
    return count;
}

static double cpu_seconds(pid_t pid) {
    clockid_t clock;
    struct timespec t;
    if (!pid) return 0;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds_of(const struct rusage *r) {
    return (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
           (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec) / 1e6;
}

static double peak_rss_mib(pid_t pid) {
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %lf", &kib) == 1) break;
    fclose(f);
    return kib / 1024;
}

static double idle_seconds(void) {
    double idle = 0, waiting = 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f && fscanf(f, "cpu %*f %*f %*f %lf %lf", &idle, &waiting) != 2) idle = waiting = 0;
    if (f) fclose(f);
    return (idle + waiting) / (double)sysconf(_SC_CLK_TCK);
}

// MARK: counting system calls

// The number of the tracepoint; tracefs is mounted, where it is not, in a
// namespace of a child's own.
static long tracepoint(void) {
    int ends[2];
    long id = -1;
    if (pipe2(ends, O_CLOEXEC)) err(1, "pipe");
    pid_t child = fork();
    if (child == 0) {
        const char *path = TRACEFS "/events/raw_syscalls/sys_enter/id";
        if (access(path, R_OK) && !unshare(CLONE_NEWNS) &&
            !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
            mount("tracefs", TRACEFS, "tracefs", 0, NULL);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%ld", &id) == 1 && write(ends[1], &id, sizeof id) < 0) _exit(1);
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &id, sizeof id) != sizeof id) id = -1;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return id;
}

static int count_calls(pid_t pid) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_TRACEPOINT, .size = sizeof attributes, .inherit = 1};
    long id = tracepoint();
    attributes.config = (uint64_t)id;
    int fd = id < 0 ? -1
                    : (int)syscall(SYS_perf_event_open, &attributes, pid, -1, -1,
                                   PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) errx(2, "system calls cannot be counted here (needs root and tracefs)");
    return fd;
}

static double calls_so_far(const struct usage_probe *probe) {
    uint64_t count;
    if (!probe->count_calls) return 0;
    return read(probe->counter, &count, sizeof count) == sizeof count ? (double)count : 0;
}

// MARK: start, measure, end

void process_prepare(void) {
    if (prctl(PR_SET_CHILD_SUBREAPER, 1)) err(1, "subreaper");
    signal(SIGPIPE, SIG_IGN);
}

void process_start(struct usage_probe *probe, char **command, const cpu_set_t *cpus,
                   const char *log) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC)) err(1, "pipe");
    probe->pid = fork();
    if (probe->pid < 0) err(1, "fork");
    if (probe->pid == 0) {
        char byte;
        close(gate[1]);
        // Held until the counter is attached.
        if (read(gate[0], &byte, 1) != 1) _exit(127);
        if (cpus) sched_setaffinity(0, sizeof *cpus, cpus);
        setpriority(PRIO_PROCESS, 0, 0);
        signal(SIGPIPE, SIG_DFL);
        // Should the run be killed, the command goes too.
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(null, 0), dup2(out, 1), dup2(out, 2);
        execvp(command[0], command);
        err(127, "%s", command[0]);
    }
    if (probe->count_calls) probe->counter = count_calls(probe->pid);
    if (write(gate[1], "", 1) != 1) err(1, "%s", command[0]);
    close(gate[0]), close(gate[1]);
}

void process_wait(struct usage_probe *probe, struct usage *usage) {
    struct rusage r;
    int status;
    while (wait4(probe->pid, &status, 0, &r) < 0)
        if (errno != EINTR) err(1, "wait");
    if (status) errx(1, "the command failed (status %#x)", (unsigned)status);
    usage->cpu = seconds_of(&r);
    usage->peak_rss_mib = (double)r.ru_maxrss / 1024;
    usage->calls = calls_so_far(probe);
    if (probe->count_calls) close(probe->counter);
}

void usage_of_self(struct usage_probe *probe) {
    probe->self = true;
    probe->pid = getpid();
    if (probe->count_calls) probe->counter = count_calls(0);
}

void usage_read(const struct usage_probe *probe, struct usage *usage) {
    pid_t pids[MAX_PROCESSES] = {probe->pid};
    unsigned count = probe->self ? 1 : descendants(getpid(), pids, 0);
    *usage = (struct usage){.calls = calls_so_far(probe)};
    usage->when = (double)nanoseconds() / 1e9;
    usage->idle = idle_seconds();
    for (unsigned i = 0; i < count; i++) {
        usage->cpu += cpu_seconds(pids[i]);
        usage->peak_rss_mib += peak_rss_mib(pids[i]);
    }
    struct rusage ended;
    getrusage(RUSAGE_CHILDREN, &ended);
    usage->ours = seconds_of(&ended) + cpu_seconds(probe->server) +
                  (probe->self ? 0 : cpu_seconds(getpid())) + usage->cpu;
}

double foreign_cpus(const struct usage *before, const struct usage *after) {
    double took = after->when - before->when;
    double cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);
    return cpus - (after->idle - before->idle + after->ours - before->ours) / took;
}

bool process_lives(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    pid_t pids[MAX_PROCESSES];
    return descendants(getpid(), pids, 0) > 0;
}

static bool all_gone(double seconds) {
    const uint64_t until = nanoseconds() + (uint64_t)(seconds * 1e9);
    for (;;) {
        if (!process_lives()) return true;
        if (nanoseconds() >= until) return false;
        usleep(2000);
    }
}

static void signal_all(int number) {
    pid_t pids[MAX_PROCESSES];
    unsigned count = descendants(getpid(), pids, 0);
    for (unsigned i = 0; i < count; i++) kill(pids[i], number);
}

void process_end(double grace) {
    if (all_gone(grace)) return;
    signal_all(SIGTERM);
    if (all_gone(2)) return;
    signal_all(SIGKILL);
    all_gone(2);
}
