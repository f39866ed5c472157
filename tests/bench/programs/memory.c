/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory: bandwidth beyond the second cache, and the time from load to load in the first.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define MB (1u << 20)
#define SIZE (8 * MB)
#define COPY_SIZE (4 * MB)
#define CHAIN (16384u / sizeof (void *))

static uint32_t *
make_buffer (Run *run, size_t size)
{
  uint32_t *buffer = malloc (size);
  uint32_t seed = 3;
  if (!buffer)
    run_fail (run, "no memory");
  for (size_t i = 0; i < size / sizeof *buffer; i++)
    buffer[i] = bench_random (&seed);
  return buffer;
}

/* Rounds of so many MB that make up the amount. */
static unsigned long
rounds_of (Run *run, unsigned long mb)
{
  unsigned long rounds = (run->amount + mb - 1) / mb;
  run->amount = rounds * mb;
  return rounds;
}

void
bench_read (Run *run)
{
  uint32_t *buffer = make_buffer (run, SIZE), sum = 0;
  unsigned long rounds = rounds_of (run, SIZE / MB);
  run_start (run);
  for (unsigned long i = 0; i < rounds; i++)
    {
      uint32_t a = 0, b = 0;
      FORGET (buffer);
      for (const uint32_t *p = buffer; p < buffer + SIZE / sizeof *p; p += 8)
        {
          a += p[0] + p[1] + p[2] + p[3];
          b += p[4] + p[5] + p[6] + p[7];
        }
      sum += a ^ b;
    }
  run_stop (run);
  run_check (run, &sum, sizeof sum);
  free (buffer);
}

void
bench_write (Run *run)
{
  uint32_t *buffer = make_buffer (run, SIZE);
  unsigned long rounds = rounds_of (run, SIZE / MB);
  run_start (run);
  for (unsigned long i = 0; i < rounds; i++)
    {
      uint32_t value = (uint32_t) i;
      for (volatile uint32_t *p = buffer; p < buffer + SIZE / sizeof *p; p += 8)
        {
          p[0] = value;
          p[1] = value;
          p[2] = value;
          p[3] = value;
          p[4] = value;
          p[5] = value;
          p[6] = value;
          p[7] = value;
        }
    }
  run_stop (run);
  run_check (run, buffer, 4096);
  run_check (run, buffer + SIZE / sizeof *buffer - 1024, 4096);
  free (buffer);
}

__attribute__ ((noinline, optimize ("no-tree-loop-distribute-patterns"))) static void
copy_by_loop (uint32_t *to, const uint32_t *from)
{
  for (size_t i = 0; i < COPY_SIZE / sizeof *to; i += 4)
    {
      to[i] = from[i];
      to[i + 1] = from[i + 1];
      to[i + 2] = from[i + 2];
      to[i + 3] = from[i + 3];
    }
}

__attribute__ ((noinline)) static void
copy_by_library (uint32_t *to, const uint32_t *from)
{
  memcpy (to, from, COPY_SIZE);
}

__attribute__ ((noinline)) static void
copy_by_string (uint32_t *to, const uint32_t *from)
{
  size_t count = COPY_SIZE / sizeof *to;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void
run_copies (Run *run, void (*copy) (uint32_t *to, const uint32_t *from))
{
  uint32_t *from = make_buffer (run, COPY_SIZE), *to = make_buffer (run, COPY_SIZE);
  unsigned long rounds = rounds_of (run, COPY_SIZE / MB);
  run_start (run);
  for (unsigned long i = 0; i < rounds; i++)
    {
      from[i % 1024] ^= (uint32_t) i;
      copy (to, from);
    }
  run_stop (run);
  if (memcmp (to, from, COPY_SIZE))
    run->check = 0xbad;
  run_check (run, to, 4096);
  free (from);
  free (to);
}

void
bench_copy (Run *run)
{
  run_copies (run, copy_by_loop);
}

void
bench_memcpy (Run *run)
{
  run_copies (run, copy_by_library);
}

void
bench_rep_movs (Run *run)
{
  run_copies (run, copy_by_string);
}

void
bench_chase (Run *run)
{
  static void *chain[CHAIN];
  uint32_t offset;
  /* An odd step goes through every place of a power of two. */
  for (size_t i = 0; i < CHAIN; i++)
    chain[i] = &chain[(i + 1021) % CHAIN];
  void **p = chain;
  run->amount = (run->amount + 3) & ~3ul;
  run_start (run);
  for (unsigned long i = 0; i < run->amount; i += 4)
    {
      p = *p;
      p = *p;
      p = *p;
      p = *p;
    }
  run_stop (run);
  offset = (uint32_t) (p - chain);
  run_check (run, &offset, sizeof offset);
}
