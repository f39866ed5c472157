/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is told of translated code, and the perf map, which is a line of text for each block. */
#include "jit.h"

#include "listing.h"

#include <errno.h>
#include <stdio.h>
#include <tenon/device.h>
#include <unistd.h>

struct TnJit {
  TnLog *log;
  FILE *perf_map;
  TnJitDump *dump;
  TnJitGdb *gdb;
  bool logs;
  uint32_t log_block; /* with `logs`: linear address */
};

static bool
open_perf_map (TnJit *jit, GError **error)
{
  g_autofree char *name = g_strdup_printf ("/tmp/perf-%d.map", (int) getpid ());

  jit->perf_map = fopen (name, "we");
  if (!jit->perf_map)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_IO, "cannot write %s: %s", name, g_strerror (errno));
      return false;
    }
  setvbuf (jit->perf_map, NULL, _IOLBF, 0); /* perf may read it at any time */
  return true;
}

bool
tn_jit_new (const TnConfig *config, const char *log_block, TnLog *log, TnJit **jit, GError **error)
{
  TnJit *j;

  *jit = NULL;
  if (!config->perf_map && !config->jitdump && !config->gdb_jit && !log_block)
    return true;
  j = g_new0 (TnJit, 1);
  j->log = log;
  j->logs = log_block;
  if ((log_block && !tn_listing_address (log_block, &j->log_block, error))
      || (config->perf_map && !open_perf_map (j, error))
      || (config->jitdump && !(j->dump = tn_jit_dump_new (config->jitdump, error))))
    {
      tn_jit_free (j);
      return false;
    }
  if (config->gdb_jit)
    j->gdb = tn_jit_gdb_new ();
  *jit = j;
  return true;
}

void
tn_jit_free (TnJit *jit)
{
  if (!jit)
    return;
  if (jit->perf_map)
    fclose (jit->perf_map);
  tn_jit_dump_free (jit->dump);
  tn_jit_gdb_free (jit->gdb);
  g_free (jit);
}

static void
log_listing (TnJit *jit, const VmmVcpu *cpu, const VmmTranslation *t)
{
  g_autoptr (GString) text = NULL;

  if (jit->log_block - t->linear >= t->guest_size)
    return;
  text = g_string_new (NULL);
  tn_listing (cpu, t, text);
  tn_log_write (jit->log, "cpu", TN_LOG_INFO, NULL, text->str);
}

void
tn_jit_translated (TnJit *jit, const VmmVcpu *cpu, const VmmTranslation *t)
{
  if (jit->perf_map)
    fprintf (jit->perf_map, "%zx %x guest_%08x\n", (size_t) t->code, t->straight, t->linear);
  if (jit->dump)
    tn_jit_dump_add (jit->dump, t);
  if (jit->gdb)
    tn_jit_gdb_add (jit->gdb, t);
  if (jit->logs)
    log_listing (jit, cpu, t);
}

void
tn_jit_forgotten (TnJit *jit)
{
  if (jit->gdb)
    tn_jit_gdb_forget (jit->gdb);
}
