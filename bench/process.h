// SPDX-License-Identifier: Apache-2.0
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct usage {
    double cpu;           // seconds, user and system
    double calls;         // system calls
    double peak_rss_mib;  // VmHWM, summed over the processes
    double idle;          // seconds, of all CPUs
    double ours;          // CPU seconds of client, server and this process
    double when;          // seconds
};

// What is watched: a command with all its descendants, or this process.
struct usage_probe {
    bool count_calls, self;
    pid_t pid, server;
    int counter;
};

uint64_t nanoseconds(void);
bool cpu_list(const char *text, cpu_set_t *set);

// Become the one to whom orphaned descendants fall, so that a client which
// puts itself into the background stays ours to measure and to end.
void process_prepare(void);
void process_start(struct usage_probe *probe, char **command, const cpu_set_t *cpus,
                   const char *log);
// Waits for the command itself; fails the run if it failed.
void process_wait(struct usage_probe *probe, struct usage *usage);
// Whether any descendant does.
bool process_lives(void);
// Gives descendants GRACE seconds to end by themselves, then ends them.
void process_end(double grace);

// How many CPUs others than client, server and we kept busy in between.
double foreign_cpus(const struct usage *before, const struct usage *after);

void usage_of_self(struct usage_probe *probe);
void usage_read(const struct usage_probe *probe, struct usage *usage);

#endif
