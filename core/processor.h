/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread that executes the guest's processor, and the ways to stop it.
 *
 *   quiesce/resume   with the machine lock held: no guest code runs between the two, but the
 * processor may stand in the middle of an instruction (for changes of the memory map) park/unpark
 * without the lock: the processor stands at an instruction boundary (for swaps, pauses and saving)
 *   request_reset    noted, and carried out by the processor's own thread before it goes on
 *
 * Real time: the clock's events are fired by the main loop (see alarm.h), by this thread between
 * slices and before a device is accessed, and by this thread alone while the processor is halted.
 * Counted time: this thread makes the time, from the instructions that it retired, and HLT skips to
 * the next event.
 */
#pragma once

#include "configuration.h"
#include "log.h"
#include "machine.h"
#include "trace.h"

G_BEGIN_DECLS

typedef struct TnProcessor TnProcessor;

/* What the processor's thread needs of the program. */
typedef struct {
  void (*triple_fault) (void *opaque); /* the configuration wants a stop */
  void (*poweroff) (void *opaque);     /* the guest's additions want it; the machine is locked */
  /* Real time: someone else is to fire the clock's events from `when` on (TN_TIME_NEVER: nobody,
     this thread does).  The machine is locked. */
  void (*alarm) (void *opaque, int64_t when);
  void *opaque;
  Trace *trace;       /* lockstep with another run, or NULL */
  const char *stress; /* how the translator is tested, or NULL; see trace_stress () */
  const char *log_block; /* translations of this instruction are logged; or NULL */
} TnProcessorHost;

/* After the machine was made, before its devices are realized. */
TnProcessor *tn_processor_new (TnMachine *machine, const TnConfig *config, TnLog *log,
                               const TnProcessorHost *host, GError **error);
/* Ends the thread and frees the VMM's part; the machine must not be locked.  From then on the hooks
   do nothing, so that the machine can be freed; the rest is freed after it. */
void tn_processor_detach (TnProcessor *p);
void tn_processor_free (TnProcessor *p);
/* Starts the thread.  If `parked`, it waits for tn_processor_unpark (). */
void tn_processor_start (TnProcessor *p, bool parked);

/* [any thread but the processor's; not with the lock].  They nest. */
void tn_processor_park (TnProcessor *p);
void tn_processor_unpark (TnProcessor *p);
/* [any thread] */
void tn_processor_request_reset (TnProcessor *p, TnResetKind kind);

/* Hooks of the machine; p may be NULL while there is none yet. */
void tn_processor_quiesce (TnProcessor *p);
void tn_processor_resume (TnProcessor *p);
/* Returns whether this thread sees to it. */
bool tn_processor_deadline (TnProcessor *p);
bool tn_processor_send_apic (TnProcessor *p, const TnApicMessage *message);
GVariant *tn_processor_save (TnProcessor *p);
bool tn_processor_load (TnProcessor *p, GVariant *state, bool check, GError **error);

/* Appends listings of the translated blocks that have this byte; returns how many there are. */
unsigned tn_processor_listing (TnProcessor *p, uint32_t linear, GString *out);

typedef void (*TnStatFunc) (void *data, const char *name, uint64_t value);
/* Counters of the processor and of its thread; parked or not (then they are approximate). */
void tn_processor_stats (TnProcessor *p, bool all, TnStatFunc func, void *data);

G_END_DECLS
