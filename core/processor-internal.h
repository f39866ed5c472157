/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What processor.c shares with processor-state.c. */
#pragma once

#include "processor.h"

#include "jit.h"

#include <stdatomic.h>

struct TnProcessor {
  TnMachine *machine;
  TnClock *clock;
  TnLog *log;
  TnProcessorHost host;
  VmmVcpu *cpu;
  GThread *thread;
  TnEvent *apic_timer;
  bool stop_on_fault;

  atomic_bool in_guest;
  atomic_uint wishes;
  GMutex gate;
  GCond wake;    /* the processor's thread waits here */
  GCond stopped; /* the others do */
  unsigned quiesced, parks;
  bool parked, reset, quit;
  bool halted;         /* the thread waits in HLT, and nothing has ended that */
  bool sees_to_events; /* of real time: in HLT */
  bool boundary;       /* no exit is in progress */

  /* counted time */
  bool counted;
  bool paced; /* the VMM comes back by itself, the slice is no matter */
  uint64_t ips, tsc_hz;
  int64_t skipped; /* ns passed in HLT */
  uint64_t slice;  /* instructions to run before the next look */
  int64_t planned; /* the deadline for which the slice was planned */

  /* real time: while the host's TSC is below this, and the earliest event is still that one,
     nothing is due, and the clock need not be read */
  uint64_t quiet_until;
  int64_t quiet_deadline;
  int64_t followed; /* real time: when the clock last heard that the processor goes on */

  /* counters */
  uint64_t halts_ns, resets;
  uint32_t *ports; /* cycles at each port; they wrap */
  TnJit *jit; /* who is told of translated code; or NULL */
  uint8_t *timed;  /* ports whose devices ask for the time */
};
