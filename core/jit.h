/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Code that is made at run time has no symbols, so its profile is a list of addresses.  Who is told
 * of each block as it is translated, if the user wants it:
 *
 *   perf map   /tmp/perf-PID.map, names alone (perf report, perf top)
 *   jitdump    jit-PID.dump: names, code and guest instructions by time (perf inject --jit)
 *   gdb        the JIT interface: names
 *   log        a listing of the blocks that have a certain instruction
 *
 * Each costs time for each block, so all are off unless asked for.
 */
#pragma once

#include <glib.h>

#include "configuration.h"
#include "log.h"
#include "vmm.h"

G_BEGIN_DECLS

typedef struct TnJit TnJit;

/* *jit is NULL if nobody wants to be told.  `log_block`: hexadecimal linear address, or NULL. */
bool tn_jit_new (const TnConfig *config, const char *log_block, TnLog *log, TnJit **jit,
                 GError **error);
void tn_jit_free (TnJit *jit);
void tn_jit_translated (TnJit *jit, const VmmVcpu *cpu, const VmmTranslation *t);
/* All that was translated is gone. */
void tn_jit_forgotten (TnJit *jit);

/* ---- jit-dump.c ---- */

typedef struct TnJitDump TnJitDump;

TnJitDump *tn_jit_dump_new (const char *directory, GError **error);
void tn_jit_dump_add (TnJitDump *dump, const VmmTranslation *t);
void tn_jit_dump_free (TnJitDump *dump);

/* ---- jit-gdb.c ---- */

typedef struct TnJitGdb TnJitGdb;

TnJitGdb *tn_jit_gdb_new (void);
void tn_jit_gdb_add (TnJitGdb *gdb, const VmmTranslation *t);
void tn_jit_gdb_forget (TnJitGdb *gdb);
void tn_jit_gdb_free (TnJitGdb *gdb);

G_END_DECLS
