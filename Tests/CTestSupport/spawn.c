/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "CTestSupport.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/fsuid.h>
#include <unistd.h>

int tests_spawn(pid_t *pid, const char *path, char *const argv[], char *const envp[],
                const char *directory, const int *descriptors, int count) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t signals;
  /* Sources move out of the way first: one may have the number of another's target. */
  const int base = 1000;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < count; i++)
    posix_spawn_file_actions_adddup2(&actions, descriptors[i], base + i);
  for (int i = 0; i < count; i++)
    posix_spawn_file_actions_adddup2(&actions, base + i, i);
  posix_spawn_file_actions_addclosefrom_np(&actions, count);
  if (directory)
    posix_spawn_file_actions_addchdir_np(&actions, directory);
  posix_spawnattr_init(&attributes);
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
  int error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

int tests_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

uid_t tests_setfsuid(uid_t user) { return (uid_t)setfsuid(user); }
