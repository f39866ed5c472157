/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Programs nobody here wrote: applets of Debian's static i386 busybox, the same file in the guest
 * and on the host.  Their output is the checksum.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MB (1u << 20)
#define VOCABULARY 800

static void
check_output (Run *run, int fd)
{
  static uint8_t buffer[65536];
  uint32_t a = run->check, b = 0;
  ssize_t n;
  /* A sum that costs next to nothing: it is part of the time that is taken. */
  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    for (ssize_t i = 0; i < n; i++)
      {
        a += buffer[i];
        b += a;
      }
  run->check = a * 31 + b;
}

/* Runs a program to its end, with its output on the checksum. */
static void
run_program (Run *run, const char *program, char *const argv[])
{
  int fds[2], status;
  if (pipe (fds))
    run_fail (run, "pipe");
  pid_t child = fork ();
  if (child < 0)
    run_fail (run, "fork");
  if (child == 0)
    {
      dup2 (fds[1], STDOUT_FILENO);
      close (fds[0]);
      close (fds[1]);
      execv (program, argv);
      perror (program);
      _exit (127);
    }
  close (fds[1]);
  check_output (run, fds[0]);
  close (fds[0]);
  if (waitpid (child, &status, 0) != child || status)
    {
      errno = 0;
      run_fail (run, "the command failed");
    }
}

static size_t
make_word (char *word, uint32_t *seed)
{
  static const char letters[] = "etaoinshrdlucmfwypvbgkqjxz";
  size_t length = 1 + bench_random (seed) % 5 + bench_random (seed) % 5;
  for (size_t i = 0; i < length; i++)
    word[i] = letters[bench_random (seed) % 26 * (bench_random (seed) % 26) / 26];
  word[length] = '\0';
  return length;
}

/* Text that packs about as well as prose: few words are frequent, many are rare. */
static void
make_text (Run *run, const char *name, size_t size)
{
  static char words[VOCABULARY][12];
  uint32_t seed = 11;
  size_t column = 0;
  FILE *file = fopen (name, "w");
  if (!file)
    run_fail (run, name);
  for (size_t i = 0; i < VOCABULARY; i++)
    make_word (words[i], &seed);
  for (size_t length = 0; length < size;)
    {
      uint32_t a = bench_random (&seed) % VOCABULARY, b = bench_random (&seed) % VOCABULARY;
      int n = fprintf (file, "%s%s", words[a * b / VOCABULARY], column > 70 ? ".\n" : " ");
      column = column > 70 ? 0 : column + (size_t) n;
      length += (size_t) n;
    }
  if (fclose (file))
    run_fail (run, name);
}

void
bench_sha256sum (Run *run)
{
  char name[256], count[24];
  unsigned long rounds = (run->amount + 3) / 4;
  /* The shell repeats the name; its work is nothing beside the hashing. */
  char script[] = "i=0; while [ $i -lt $1 ]; do \"$2\" sha256sum < \"$3\"; i=$((i + 1)); done";
  snprintf (name, sizeof name, "%s/bench-%d", run->directory, (int) getpid ());
  make_text (run, name, 4 * MB);
  snprintf (count, sizeof count, "%lu", rounds);
  char *argv[] = { "sh", "-c", script, "sh", count, (char *) run->busybox, name, NULL };
  run_start (run);
  run_program (run, run->busybox, argv);
  run_stop (run);
  unlink (name);
}

void
bench_gzip (Run *run)
{
  char name[256];
  char script[]
      = "\"$1\" gzip -9 -c \"$2\" > \"$2.gz\" && \"$1\" gunzip -c \"$2.gz\"; rm -f \"$2.gz\"";
  snprintf (name, sizeof name, "%s/bench-%d", run->directory, (int) getpid ());
  make_text (run, name, run->amount * 100000);
  char *argv[] = { "sh", "-c", script, "sh", (char *) run->busybox, name, NULL };
  run_start (run);
  run_program (run, run->busybox, argv);
  run_stop (run);
  unlink (name);
}

void
bench_shell (Run *run)
{
  char count[24];
  char script[] = "i=0; while [ $i -lt $1 ]; do i=$((i + 1)); done; echo $i";
  snprintf (count, sizeof count, "%lu", run->amount);
  char *argv[] = { "sh", "-c", script, "sh", count, NULL };
  run_start (run);
  run_program (run, run->busybox, argv);
  run_stop (run);
}

void
bench_command (Run *run)
{
  run_start (run);
  run_program (run, run->command[0], run->command);
  run_stop (run);
}
