/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's work: system calls, processes, pipes, page faults.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define FILE_PAGES 4096u

void
bench_syscall (Run *run)
{
  long parent = getppid (), wrong = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    wrong |= syscall (SYS_getppid) ^ parent;
  run_stop (run);
  run_check (run, &wrong, sizeof wrong);
}

void
bench_int80 (Run *run)
{
  long parent = getppid (), wrong = 0;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      long result;
      __asm__ volatile("int $0x80" : "=a"(result) : "0"(SYS_getppid) : "memory");
      wrong |= result ^ parent;
    }
  run_stop (run);
  run_check (run, &wrong, sizeof wrong);
}

static void
reap (Run *run, pid_t child)
{
  int status;
  if (waitpid (child, &status, 0) != child || !WIFEXITED (status) || WEXITSTATUS (status))
    run_fail (run, "a child process failed");
  run_check (run, &status, sizeof status);
}

void
bench_fork_exit (Run *run)
{
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      pid_t child = fork ();
      if (child < 0)
        run_fail (run, "fork");
      if (child == 0)
        _exit (0);
      reap (run, child);
    }
  run_stop (run);
}

void
bench_fork_exec (Run *run)
{
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    {
      pid_t child = fork ();
      if (child < 0)
        run_fail (run, "fork");
      if (child == 0)
        {
          execl (run->self, "guest-bench", "nothing", (char *) NULL);
          _exit (127);
        }
      reap (run, child);
    }
  run_stop (run);
}

static void
echo_bytes (int from, int to)
{
  uint8_t byte;
  while (read (from, &byte, 1) == 1)
    {
      byte++;
      if (write (to, &byte, 1) != 1)
        _exit (1);
    }
  _exit (0);
}

void
bench_ping_pong (Run *run)
{
  int there[2], back[2];
  uint8_t byte = 0;
  if (pipe (there) || pipe (back))
    run_fail (run, "pipe");
  pid_t child = fork ();
  if (child < 0)
    run_fail (run, "fork");
  if (child == 0)
    {
      close (there[1]);
      close (back[0]);
      echo_bytes (there[0], back[1]);
    }
  close (there[0]);
  close (back[1]);
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i++)
    if (write (there[1], &byte, 1) != 1 || read (back[0], &byte, 1) != 1)
      run_fail (run, "pipe");
  close (there[1]);
  reap (run, child); /* its processor time is known then */
  run_stop (run);
  run_check (run, &byte, sizeof byte);
}

/* A file of FILE_PAGES pages, each beginning with its number; it has no name any more. */
static int
make_file (Run *run)
{
  static uint32_t page[PAGE / sizeof (uint32_t)];
  char name[256];
  snprintf (name, sizeof name, "%s/bench-XXXXXX", run->directory);
  int fd = mkstemp (name);
  if (fd < 0)
    run_fail (run, name);
  unlink (name);
  for (uint32_t i = 0; i < FILE_PAGES; i++)
    {
      page[0] = i;
      if (write (fd, page, PAGE) != PAGE)
        run_fail (run, "cannot write a file");
    }
  return fd;
}

/* Maps the file anew for each FILE_PAGES pages and touches each of them once, in an order that no
 * read-ahead expects. */
static void
touch_pages (Run *run, bool write)
{
  int fd = make_file (run);
  unsigned long rounds = (run->amount + FILE_PAGES - 1) / FILE_PAGES;
  int protection = write ? PROT_READ | PROT_WRITE : PROT_READ;
  uint32_t sum = 0;
  run->amount = rounds * FILE_PAGES;
  run_start (run);
  for (unsigned long i = 0; i < rounds; i++)
    {
      uint8_t *map = mmap (NULL, FILE_PAGES * PAGE, protection, MAP_PRIVATE, fd, 0);
      if (map == MAP_FAILED)
        run_fail (run, "mmap");
      for (uint32_t n = 0; n < FILE_PAGES; n++)
        {
          volatile uint32_t *word = (volatile uint32_t *) (map + (n * 1597 % FILE_PAGES) * PAGE);
          if (write)
            (*word)++;
          sum = sum * 5 + *word;
        }
      munmap (map, FILE_PAGES * PAGE);
    }
  run_stop (run);
  close (fd);
  run_check (run, &sum, sizeof sum);
}

void
bench_fault_file (Run *run)
{
  touch_pages (run, false);
}

void
bench_fault_copy (Run *run)
{
  touch_pages (run, true);
}
