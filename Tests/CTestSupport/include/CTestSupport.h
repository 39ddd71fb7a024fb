/* SPDX-License-Identifier: Apache-2.0 */
/* What Swift cannot see of glibc without _GNU_SOURCE. */
#pragma once
#include <sys/types.h>

/*
 * Starts a program in a session of its own, with default signal handling, the given descriptors as
 * its 0, 1, 2, ... and no others. Returns 0 or an errno value.
 */
int tests_spawn(pid_t *pid, const char *path, char *const argv[], char *const envp[],
                const char *directory, const int *descriptors, int count);

/* A pipe, both ends close-on-exec. Returns 0 or -1 with errno. */
int tests_pipe(int ends[2]);

/* setfsuid(2), of the calling thread alone: returns who it was before. */
uid_t tests_setfsuid(uid_t user);
