/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For fuzzers of devices.  A case is made from a seed alone, on twins: two machines that are
 * treated alike in all but one thing, so that whatever can be seen of them has to be alike, too.
 * What the one thing is, the fuzzer chooses; twins_disturb () saves, loads and swaps the second one
 * only.
 *
 *   TENON_FUZZ_SECONDS=n   how long (default 3)
 *   TENON_FUZZ_SEED=n      seed of the first case, each has the one after the last; without it 1,
 *                          so that make check does the same each time, or with a time any
 *   TENON_FUZZ_COUNT=n     how many cases, instead of a time
 *
 *   TENON_FUZZ_VERBOSE=1   says what is done
 *
 * A case that fails says how it is repeated.
 */
#pragma once

#include "hostile.h"
#include "roundtrip.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  TnHarness *h[2];
  const char *device;    /* that is under test */
  unsigned swaps_a_load; /* states that are large take long to be loaded */
} Twins;

static GRand *dice;
static uint32_t fuzz_case; /* its seed */
static bool fuzz_verbose;

#define TELL(...) (fuzz_verbose ? (void) fprintf (stderr, __VA_ARGS__) : (void) 0)

static inline uint32_t
roll (uint32_t below)
{
  return below ? g_rand_int (dice) % below : 0;
}

static inline bool
one_in (uint32_t n)
{
  return roll (n) == 0;
}

static inline uint32_t
pick (const uint32_t *values, unsigned n)
{
  return values[roll (n)];
}

#define PICK(...)                                                                                  \
  pick ((const uint32_t[]){ __VA_ARGS__ }, sizeof (uint32_t[]){ __VA_ARGS__ } / sizeof (uint32_t))

static inline void
random_bytes (uint8_t *bytes, size_t size)
{
  uint32_t value = g_rand_int (dice);
  for (size_t i = 0; i < size; i++)
    bytes[i] = (value = value * 1664525 + 1013904223) >> 24;
}

/* ---- Twins ---- */

#define BOTH(t, i) for (unsigned i = 0; i < 2; i++)

static inline void
twins_free (Twins *t)
{
  BOTH (t, i)
  tn_harness_free (t->h[i]);
}

static inline uint32_t
twins_in (Twins *t, uint16_t port, unsigned size)
{
  uint32_t value[2];
  BOTH (t, i)
  value[i] = size == 1   ? tn_harness_in8 (t->h[i], port)
             : size == 2 ? tn_harness_in16 (t->h[i], port)
                         : tn_harness_in32 (t->h[i], port);
  TELL ("in%u %x: %x\n", 8 * size, port, value[0]);
  if (value[0] != value[1])
    g_error ("port %x reads %x, and %x in the other one", port, value[0], value[1]);
  return value[0];
}

static inline void
twins_out (Twins *t, uint16_t port, uint32_t value, unsigned size)
{
  TELL ("out%u %x, %x\n", 8 * size, port, value);
  BOTH (t, i)
  if (size == 1)
    tn_harness_out8 (t->h[i], port, value);
  else if (size == 2)
    tn_harness_out16 (t->h[i], port, value);
  else
    tn_harness_out32 (t->h[i], port, value);
}

static inline void
twins_ins (Twins *t, uint16_t port, void *items, uint32_t count, unsigned size)
{
  g_autofree uint8_t *other = g_malloc0 (count * size + 1);
  TELL ("ins%u %x, %u\n", 8 * size, port, count);
  tn_harness_ins (t->h[0], port, items, count, size);
  tn_harness_ins (t->h[1], port, other, count, size);
  g_assert_cmpmem (items, count * size, other, count * size);
}

static inline void
twins_outs (Twins *t, uint16_t port, const void *items, uint32_t count, unsigned size)
{
  TELL ("outs%u %x, %u\n", 8 * size, port, count);
  BOTH (t, i)
  tn_harness_outs (t->h[i], port, items, count, size);
}

static inline void
twins_mem_write (Twins *t, uint32_t address, const void *bytes, size_t size)
{
  BOTH (t, i)
  tn_harness_mem_write (t->h[i], address, bytes, size);
}

static inline void
twins_mem_read (Twins *t, uint32_t address, void *bytes, size_t size)
{
  g_autofree uint8_t *other = g_malloc (size);
  tn_harness_mem_read (t->h[0], address, bytes, size);
  tn_harness_mem_read (t->h[1], address, other, size);
  g_assert_cmpmem (bytes, size, other, size);
}

static inline void
twins_pci_write (Twins *t, unsigned devfn, unsigned offset, uint32_t value, unsigned size)
{
  TELL ("pci %x, %x, %u\n", offset, value, size);
  BOTH (t, i)
  tn_harness_pci_write (t->h[i], 0, devfn, offset, value, size);
}

static inline void
twins_step (Twins *t, int64_t ns)
{
  TELL ("step %" G_GINT64_FORMAT "\n", ns);
  BOTH (t, i)
  tn_harness_clock_step (t->h[i], ns);
}

static inline void
twins_settle (Twins *t)
{
  TELL ("settle\n");
  BOTH (t, i)
  tn_harness_settle (t->h[i]);
}

static inline void
twins_reset (Twins *t)
{
  TELL ("reset\n");
  BOTH (t, i)
  tn_harness_reset (t->h[i]);
}

static inline bool
twins_line (Twins *t, const char *name)
{
  bool level[2];
  BOTH (t, i)
  level[i] = tn_harness_line (t->h[i], name);
  if (level[0] != level[1])
    g_error ("%s is %d, and %d in the other one", name, level[0], level[1]);
  return level[0];
}

/* Requests that are under way may be before it or behind it, and not alike: they come home first.
 */
static inline void
twins_block (Twins *t, const char *name, bool present, int error)
{
  TELL ("block %s present %d error %d\n", name, present, error);
  twins_settle (t);
  BOTH (t, i)
  {
    tn_harness_block_present (t->h[i], name, present);
    tn_harness_block_error (t->h[i], name, error);
  }
}

/* The second one goes through what a swap or a saved machine goes through.  A swap waits for the
   disks' requests, so the first one's have to come home as well. */
static inline void
twins_disturb (Twins *t)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) state = NULL;
  unsigned what = one_in (1 + t->swaps_a_load) ? roll (3) : 1;
  TELL ("disturb %u\n", what);
  switch (what)
    {
    case 0: roundtrip (t->h[1], t->device); break;
    case 1:
      tn_harness_swap (t->h[1], t->device, NULL, &error);
      g_assert_no_error (error);
      break;
    default:
      state = tn_harness_save (t->h[1]);
      tn_harness_load (t->h[1], state, &error);
      g_assert_no_error (error);
    }
  twins_settle (t);
}

static inline char *
state_text (GBytes *bytes)
{
  g_autoptr (GVariant) state
      = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
  return g_variant_print (state, FALSE);
}

/* All that would be saved is alike. */
static inline void
twins_compare (Twins *t)
{
  g_autoptr (GBytes) a = tn_harness_save (t->h[0]), b = tn_harness_save (t->h[1]);
  if (g_bytes_equal (a, b))
    return;
  g_autofree char *one = state_text (a), *other = state_text (b);
  size_t n = 0;
  while (one[n] && one[n] == other[n])
    n++;
  n -= MIN (n, 100);
  g_error ("states differ:\n%.200s\n%.200s", one + n, other + n);
}

/* The first one's state goes into the second one, tampered with, and is taken over by the first if
   it was taken: whatever it is, both go on alike. */
static inline void
twins_tamper (Twins *t)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GBytes) before = tn_harness_save (t->h[0]), state = NULL;
  TELL ("tamper\n");
  if (!load_tampered (t->h[1], dice))
    {
      g_assert_true (tn_harness_load (t->h[1], before, &error));
      g_assert_no_error (error);
      return;
    }
  state = tn_harness_save (t->h[1]);
  g_assert_true (tn_harness_load (t->h[0], state, &error));
  g_assert_no_error (error);
}

/* ---- The loop ---- */

#define FUZZ_LEAST 20 /* cases, however little of the time a busy host leaves for them */

static inline void
fuzz_failed (int number)
{
  char text[80];
  int size
      = snprintf (text, sizeof text, "\nagain: TENON_FUZZ_SEED=%u TENON_FUZZ_COUNT=1\n", fuzz_case);
  signal (number, SIG_DFL);
  if (write (STDERR_FILENO, text, size) == size)
    raise (number);
}

static inline void
fuzz_loop (gconstpointer data)
{
  void (*one) (void) = *(void (*const *) (void)) data;
  const char *seconds = g_getenv ("TENON_FUZZ_SECONDS"), *seed = g_getenv ("TENON_FUZZ_SEED");
  const char *count = g_getenv ("TENON_FUZZ_COUNT");
  int64_t end = g_get_monotonic_time () + (seconds ? atoll (seconds) : 3) * G_USEC_PER_SEC;
  uint32_t first = seed      ? strtoul (seed, NULL, 0)
                   : seconds ? g_random_int ()
                             : 1; /* make check does the same each time */
  uint32_t left = count ? strtoul (count, NULL, 0) : UINT32_MAX;

  signal (SIGABRT, fuzz_failed);
  signal (SIGSEGV, fuzz_failed);
  signal (SIGTRAP, fuzz_failed);
  dice = g_rand_new ();
  fuzz_verbose = g_getenv ("TENON_FUZZ_VERBOSE") != NULL;
  for (fuzz_case = first;
       left > 0 && (count || fuzz_case - first < FUZZ_LEAST || g_get_monotonic_time () < end);
       left--)
    {
      g_rand_set_seed (dice, fuzz_case);
      one ();
      fuzz_case++;
    }
  g_test_message ("%u cases from TENON_FUZZ_SEED=%u on", fuzz_case - first, first);
  g_assert_cmpuint (fuzz_case, !=, first);
  g_rand_free (dice);
}

/* A test program that runs `one` again and again, each time with dice of another seed. */
static inline int
fuzz_main (int argc, char **argv, const char *path, void (*one) (void))
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func (path, &one, fuzz_loop);
  return g_test_run ();
}
