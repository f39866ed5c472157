/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Posted writes: a ring of cycles that the processor's thread has made and that no card has seen.
 *
 * The processor's thread adds to it without the machine's lock.  Whoever takes the lock from
 * outside finds the ring empty: tn_machine_lock () lets everything arrive first, in the order of
 * the guest's writes.  As all code of devices runs under the lock - other accesses of the guest,
 * exits, INTA cycles, timers, descriptors, bus masters, requests of the user, saving, swaps and
 * resets - nothing can observe that a write was late.  The processor's thread takes the lock at
 * each exit and each end of a slice, so that no write waits longer than that.
 *
 * Entries bear no time: reading the clock costs more than all the rest.  A card whose write depends
 * on the time is no card for TN_IO_POSTED (sdk/tenon/bus.h).  In counted time nothing is posted, or
 * the moment at which a user asks for something would be part of the run.
 */
#include "internal.h"

#include <stdatomic.h>

#define ENTRIES 1024u /* a power of 2 */

typedef struct {
  uint32_t address, value;
  uint8_t size;
  bool port, smm;
} Entry;

struct TnPosted {
  _Atomic uint32_t head; /* written by the processor's thread; counts without wrapping at ENTRIES */
  _Atomic uint32_t tail; /* written under the lock */
  Entry entries[ENTRIES];
  uint64_t full; /* by the processor's thread */
  uint64_t arrived, rounds;
};

TnPosted *
tn_posted_new (void)
{
  return g_new0 (TnPosted, 1);
}

void
tn_posted_free (TnPosted *posted)
{
  g_free (posted);
}

static bool
add (TnPosted *posted, const Entry *entry)
{
  uint32_t head = atomic_load_explicit (&posted->head, memory_order_relaxed);

  if (head - atomic_load_explicit (&posted->tail, memory_order_acquire) == ENTRIES)
    {
      posted->full++;
      return false;
    }
  posted->entries[head % ENTRIES] = *entry;
  atomic_store_explicit (&posted->head, head + 1, memory_order_release);
  return true;
}

bool
tn_machine_post_port (TnMachine *m, uint16_t port, uint32_t value, unsigned size)
{
  return add (m->posted, &(Entry){ port, value, size, true, false });
}

bool
tn_machine_post_mem (TnMachine *m, uint32_t address, uint32_t value, unsigned size, bool smm)
{
  return add (m->posted, &(Entry){ address, value, size, false, smm });
}

bool
tn_posted_waiting (TnPosted *posted)
{
  return atomic_load_explicit (&posted->head, memory_order_acquire)
         != atomic_load_explicit (&posted->tail, memory_order_relaxed);
}

/* What is posted meanwhile, while another thread holds the lock, waits for the next time. */
void
tn_posted_arrive (TnMachine *m)
{
  TnPosted *posted = m->posted;
  uint32_t head = atomic_load_explicit (&posted->head, memory_order_acquire);
  uint32_t tail = atomic_load_explicit (&posted->tail, memory_order_relaxed);

  posted->rounds++;
  posted->arrived += head - tail;
  for (; tail != head; tail++)
    {
      Entry e = posted->entries[tail % ENTRIES];

      atomic_store_explicit (&posted->tail, tail + 1, memory_order_release);
      if (e.port)
        tn_machine_port_write (m, e.address, e.value, e.size);
      else
        tn_machine_mem_write (m, e.address, e.value, e.size, e.smm);
    }
}

void
tn_machine_posted_counts (TnMachine *m, TnPostedCounts *counts)
{
  counts->arrived = m->posted->arrived;
  counts->rounds = m->posted->rounds;
  counts->full = m->posted->full;
}
