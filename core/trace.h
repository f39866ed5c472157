/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lockstep of two runs of one machine.  One writes what its processor's state is between two
 * instructions, now and then; the other, which reads it through a FIFO, stops at the same places,
 * compares, and ends the program with TRACE_DIFFERS at the first difference.
 *
 *   trace_attach (trace_open (path, check, every), &config);     before vmm_vcpu_new ()
 *   trace_close (trace);                                         says how many points there were
 *
 * Both runs must be counted.  And how tests make the translator's life hard.  Nothing but libc and
 * vmm.h: the tests of the processor use it, too.
 */
#pragma once

#include "vmm.h"

typedef struct Trace Trace;

#define TRACE_DIFFERS 3 /* exit status */

/* every: a point no sooner than so many instructions after the last, at least 1.  NULL: errno. */
Trace *trace_open (const char *path, bool check, uint64_t every);
void trace_attach (Trace *trace, VmmVcpuConfig *config);
/* False if the run that was written went further than this one. */
bool trace_close (Trace *trace);

/* Modes of VMM_STRESS_* and others by name, separated by commas: unlinked, drop, short, move, kick;
   small (a code cache of the smallest size), hot (everything is translated at once), plain (as on
   an older host), all (everything but plain).  NULL, or the word that is none of them. */
const char *trace_stress (const char *modes, VmmVcpuConfig *config);
