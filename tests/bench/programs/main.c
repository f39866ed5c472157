/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The workloads of `make bench`, as one static 32-bit program that runs in a guest and on the host.
 *
 *   guest-bench list              what there is: name, group, unit, description
 *   guest-bench NAME [SCALE]      runs one, or "empty", which does nothing; SCALE is in per cent of
 *                                 the usual work
 *   guest-bench time NAME PROGRAM [ARGUMENT...]
 *                                 runs another program and takes its time; for wrappers
 *
 * It prints
 *   @begin NAME                                   the clock starts; sent before it does
 *   @end NAME                                     the clock has stopped
 *   @result NAME VALUE UNIT SECONDS BUSY CHECKSUM
 * The first two let whoever is at the other end of the line take the time by a clock of his own.
 * BUSY is the processor time of the program and its children between them.  All run on one
 * processor, as in the guest, so that the host's other processors do not help.
 *
 * Environment: BENCH_BUSYBOX, a static 32-bit busybox [/bin/busybox]; BENCH_DIRECTORY, where files
 * may be made [/tmp].
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Amounts: 0.3 to 0.5 s on a processor of about 2022. */
static const Workload workloads[] = {
  { "core-mix", "integer", "s", 25000, bench_core_mix, "lists, matrices, a state machine, CRC" },
  { "records", "integer", "s", 8500000, bench_records, "records, strings, procedure calls" },
  { "qsort", "integer", "s", 3000000, bench_qsort, "the C library's qsort on integers" },
  { "sha256sum", "integer", "s", 80, bench_sha256sum, "busybox sha256sum, MB" },
  { "gzip", "integer", "s", 70, bench_gzip, "busybox gzip -9, then gunzip, 100 kB" },
  { "shell", "integer", "s", 200000, bench_shell, "a counting loop of busybox sh" },
  { "x87-recurrence", "x87", "s", 24000000, bench_recurrence, "add, multiply, divide, root" },
  { "x87-matmul", "x87", "s", 400, bench_matmul, "products of matrices of doubles" },
  { "x87-libm", "x87", "s", 8000000, bench_libm, "sin and exp of the C library" },
  { "syscall", "syscall", "us", 2000000, bench_syscall, "getppid" },
  { "fork-exit", "fork-exit", "us", 5000, bench_fork_exit, "fork, exit, wait" },
  { "fork-exec", "fork-exec", "us", 1000, bench_fork_exec, "fork, exec of a static program, wait" },
  { "ping-pong", "ping-pong", "us", 80000, bench_ping_pong, "a byte to another process and back" },
  { "fault-file", "fault-file", "us", 1600000, bench_fault_file, "pages of a mapped file, read" },
  { "fault-copy", "further", "us", 160000, bench_fault_copy,
    "pages of a private mapping, written" },
  { "int80", "further", "us", 100000, bench_int80, "getppid through int 0x80" },
  { "lcg", "further", "s", 400000000, bench_lcg, "a chain of multiplications and shifts" },
  { "calls", "further", "s", 400, bench_calls, "recursive calls" },
  { "dispatch", "further", "s", 8000, bench_dispatch, "a byte code interpreter" },
  { "chase", "further", "ns", 350000000, bench_chase, "a chain of pointers in 16 kB" },
  { "read", "further", "MB/s", 13000, bench_read, "8 MB added up" },
  { "write", "further", "MB/s", 10000, bench_write, "8 MB filled" },
  { "copy", "further", "MB/s", 7000, bench_copy, "4 MB copied by a loop" },
  { "memcpy", "further", "MB/s", 15000, bench_memcpy, "4 MB copied by the C library" },
  { "rep-movs", "further", "MB/s", 15000, bench_rep_movs, "4 MB copied by REP MOVSD" },
};

static void
do_nothing (Run *run)
{
  run_start (run);
  run_stop (run);
}

static double
processor_time (int who)
{
  struct rusage u;
  getrusage (who, &u);
  return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec)
         + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double
busy (void)
{
  return processor_time (RUSAGE_SELF) + processor_time (RUSAGE_CHILDREN);
}

static double
now (void)
{
  struct timespec t;
  clock_gettime (CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

void
run_start (Run *run)
{
  printf ("@begin %s\n", run->workload->name);
  fflush (stdout);
  tcdrain (STDOUT_FILENO); /* no terminal, no matter */
  run->busy = -busy ();
  run->seconds = -now ();
}

void
run_stop (Run *run)
{
  run->seconds += now ();
  run->busy += busy ();
  printf ("@end %s\n", run->workload->name);
  fflush (stdout);
}

void
run_check (Run *run, const void *data, size_t size)
{
  const uint8_t *bytes = data;
  uint32_t crc = ~run->check;
  for (size_t i = 0; i < size; i++)
    {
      crc ^= bytes[i];
      for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
  run->check = ~crc;
}

void
run_fail (Run *run, const char *what)
{
  fprintf (stderr, "%s: %s%s%s\n", run->workload->name, what, errno ? ": " : "",
           errno ? strerror (errno) : "");
  exit (1);
}

static double
value (const Run *run)
{
  const char *unit = run->workload->unit;
  double amount = (double) run->amount;
  if (!strcmp (unit, "us"))
    return run->seconds * 1e6 / amount;
  if (!strcmp (unit, "ns"))
    return run->seconds * 1e9 / amount;
  if (!strcmp (unit, "MB/s"))
    return amount / run->seconds;
  return run->seconds;
}

static const Workload *
find (const char *name)
{
  for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
    if (!strcmp (workloads[i].name, name))
      return &workloads[i];
  return NULL;
}

static int
list (void)
{
  for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
    {
      const Workload *w = &workloads[i];
      printf ("%s %s %s %s\n", w->name, w->group, w->unit, w->what);
    }
  return 0;
}

static const char *
setting (const char *name, const char *otherwise)
{
  const char *text = getenv (name);
  return text && *text ? text : otherwise;
}

/* A single processor may be all there is, or all that is allowed: then there is nothing to do. */
static void
use_one_processor (void)
{
  cpu_set_t set;
  CPU_ZERO (&set);
  CPU_SET ((size_t) sched_getcpu (), &set);
  sched_setaffinity (0, sizeof set, &set);
}

static int
usage (void)
{
  fputs ("usage: guest-bench list | NAME [SCALE] | time NAME PROGRAM [ARGUMENT...]\n", stderr);
  return 2;
}

static int
perform (const Workload *workload, double scale, char *const *command)
{
  Run run = { .workload = workload,
              .amount = (unsigned long) ((double) workload->amount * scale / 100),
              .command = command,
              .self = "/proc/self/exe",
              .busybox = setting ("BENCH_BUSYBOX", "/bin/busybox"),
              .directory = setting ("BENCH_DIRECTORY", "/tmp") };
  if (run.amount == 0)
    run.amount = 1;
  use_one_processor ();
  workload->run (&run);
  printf ("@result %s %.6g %s %.6f %.6f %08x\n", workload->name, value (&run), workload->unit,
          run.seconds, run.busy, (unsigned) run.check);
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc == 2 && !strcmp (argv[1], "nothing")) /* what fork-exec executes */
    _exit (0);
  if (argc == 2 && !strcmp (argv[1], "list"))
    return list ();
  if (argc > 3 && !strcmp (argv[1], "time"))
    return perform (&(Workload){ argv[2], "", "s", 1, bench_command, "" }, 100, argv + 3);
  static const Workload empty = { "empty", "", "s", 1, do_nothing, "" };
  const Workload *workload = argc == 2 || argc == 3 ? find (argv[1]) : NULL;
  if (argc > 1 && !strcmp (argv[1], empty.name))
    workload = &empty;
  double scale = argc == 3 ? atof (argv[2]) : 100;
  if (!workload || !(scale > 0 && scale <= 10000))
    return usage ();
  return perform (workload, scale, NULL);
}
