/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A workload does a fixed amount of work and times itself:
 *
 *   prepare; run_start (run); work; run_stop (run); run_check (run, results)
 *
 * The amount comes from the table in main.c, scaled by the command line.  What the checksum covers
 * must depend on nothing but the amount, so that it is the same on every machine that computes
 * correctly.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Run Run;

typedef struct {
  const char *name;
  const char *group;    /* row of the table of floors; "further" for the others */
  const char *unit;     /* s, us, ns (per piece of work) or MB/s (pieces are MB) */
  unsigned long amount; /* pieces of work at scale 100 */
  void (*run) (Run *run);
  const char *what;
} Workload;

struct Run {
  const Workload *workload;
  unsigned long amount; /* pieces of work to do, at least 1; a workload may round it */
  const char *self;     /* this program, to be executed again */
  const char *busybox;
  char *const *command;  /* for bench_command: program and arguments */
  const char *directory; /* for files, in memory (tmpfs) */
  double seconds;        /* by the clock here */
  double busy;           /* processor time, in seconds */
  uint32_t check;
};

void run_start (Run *run);
void run_stop (Run *run);
void run_check (Run *run, const void *data, size_t size);
/* Ends the program with a message; errno's text is added if it is not 0. */
void run_fail (Run *run, const char *what) __attribute__ ((noreturn));

/* Next of a fixed sequence of pseudorandom numbers. */
static inline uint32_t
bench_random (uint32_t *state)
{
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* Makes the compiler forget what it knows of *p and of memory. */
#define FORGET(p) __asm__ volatile("" : : "r"(p) : "memory")

/* integer.c */
void bench_core_mix (Run *run);
void bench_qsort (Run *run);
void bench_lcg (Run *run);
void bench_calls (Run *run);
void bench_dispatch (Run *run);
/* records.c */
void bench_records (Run *run);
/* x87.c */
void bench_recurrence (Run *run);
void bench_matmul (Run *run);
void bench_libm (Run *run);
/* system.c */
void bench_syscall (Run *run);
void bench_int80 (Run *run);
void bench_fork_exit (Run *run);
void bench_fork_exec (Run *run);
void bench_ping_pong (Run *run);
void bench_fault_file (Run *run);
void bench_fault_copy (Run *run);
/* memory.c */
void bench_read (Run *run);
void bench_write (Run *run);
void bench_copy (Run *run);
void bench_memcpy (Run *run);
void bench_rep_movs (Run *run);
void bench_chase (Run *run);
/* busybox.c */
void bench_sha256sum (Run *run);
void bench_gzip (Run *run);
void bench_shell (Run *run);
void bench_command (Run *run);

#endif
