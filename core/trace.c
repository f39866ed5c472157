/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream between two runs in lockstep: records of one point each, see trace.h.  Processors of
 * one program are numbered in the order in which they were made, and share the stream.
 */
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER (256u << 10)
#define FPU_NAMES "x87, MMX and SSE registers"

typedef struct {
  uint32_t magic, processor;
  VmmTraceState state;
} Record;
#define MAGIC 0x746e6f6eu

typedef struct Follower Follower;
struct Follower {
  Follower *next;
  Trace *trace;
  VmmVcpu *vcpu;
  uint32_t processor;
  VmmTraceState last; /* where both agreed */
};

struct Trace {
  FILE *file;
  bool check, ended, pending; /* pending: `record` was read and is not yet compared */
  uint64_t every, points, ram_points;
  uint32_t processors;
  Record record;
  Follower *followers;
};

Trace *
trace_open (const char *path, bool check, uint64_t every)
{
  Trace *trace = calloc (1, sizeof *trace);

  if (!trace)
    return NULL;
  trace->file = fopen (path, check ? "r" : "w");
  if (!trace->file)
    {
      int error = errno;

      free (trace);
      errno = error;
      return NULL;
    }
  setvbuf (trace->file, NULL, _IOFBF, BUFFER);
  trace->check = check;
  trace->every = every ? every : 1;
  return trace;
}

/* ---- What differs ---- */

typedef struct {
  const char *name;
  size_t at, size;
} Field;
#define FIELD(member) offsetof (VmmTraceState, member), sizeof ((VmmTraceState *) 0)->member
static const Field fields[] = {
  { "eax", FIELD (gpr[0]) },
  { "ecx", FIELD (gpr[1]) },
  { "edx", FIELD (gpr[2]) },
  { "ebx", FIELD (gpr[3]) },
  { "esp", FIELD (gpr[4]) },
  { "ebp", FIELD (gpr[5]) },
  { "esi", FIELD (gpr[6]) },
  { "edi", FIELD (gpr[7]) },
  { "eip", FIELD (eip) },
  { "eflags", FIELD (eflags) },
  { "es", FIELD (segment[0].selector) },
  { "cs", FIELD (segment[1].selector) },
  { "ss", FIELD (segment[2].selector) },
  { "ds", FIELD (segment[3].selector) },
  { "fs", FIELD (segment[4].selector) },
  { "gs", FIELD (segment[5].selector) },
  { "es.base", FIELD (segment[0].base) },
  { "cs.base", FIELD (segment[1].base) },
  { "ss.base", FIELD (segment[2].base) },
  { "ds.base", FIELD (segment[3].base) },
  { "fs.base", FIELD (segment[4].base) },
  { "gs.base", FIELD (segment[5].base) },
  { "es.limit", FIELD (segment[0].limit) },
  { "cs.limit", FIELD (segment[1].limit) },
  { "ss.limit", FIELD (segment[2].limit) },
  { "ds.limit", FIELD (segment[3].limit) },
  { "fs.limit", FIELD (segment[4].limit) },
  { "gs.limit", FIELD (segment[5].limit) },
  { "es.flags", FIELD (segment[0].flags) },
  { "cs.flags", FIELD (segment[1].flags) },
  { "ss.flags", FIELD (segment[2].flags) },
  { "ds.flags", FIELD (segment[3].flags) },
  { "fs.flags", FIELD (segment[4].flags) },
  { "gs.flags", FIELD (segment[5].flags) },
  { "ldtr", FIELD (ldtr.selector) },
  { "ldtr.base", FIELD (ldtr.base) },
  { "tr", FIELD (tr.selector) },
  { "tr.base", FIELD (tr.base) },
  { "gdt", FIELD (gdt_base) },
  { "idt", FIELD (idt_base) },
  { "cr0", FIELD (cr0) },
  { "cr2", FIELD (cr2) },
  { "cr3", FIELD (cr3) },
  { "cr4", FIELD (cr4) },
  { "dr6", FIELD (dr6) },
  { "dr7", FIELD (dr7) },
  { "cpl", FIELD (cpl) },
  { "activity", FIELD (activity) },
  { "inhibit", FIELD (inhibit) },
  { "smm", FIELD (smm) },
  { "fcw", offsetof (VmmTraceState, fx[0]), 2 },
  { "fsw", offsetof (VmmTraceState, fx[2]), 2 },
  { "ftw", offsetof (VmmTraceState, fx[4]), 1 },
  { "fop", offsetof (VmmTraceState, fx[6]), 2 },
  { "fip", offsetof (VmmTraceState, fx[8]), 4 },
  { "fcs", offsetof (VmmTraceState, fx[12]), 2 },
  { "fdp", offsetof (VmmTraceState, fx[16]), 4 },
  { "fds", offsetof (VmmTraceState, fx[20]), 2 },
  { "mxcsr", offsetof (VmmTraceState, fx[24]), 4 },
  { "sum of " FPU_NAMES, FIELD (fpu) },
  { "sum of RAM", FIELD (ram) },
};

static uint64_t
value (const VmmTraceState *s, const Field *f)
{
  uint64_t v = 0;

  memcpy (&v, (const uint8_t *) s + f->at, f->size);
  return v;
}

static void
print_code (const Follower *f, const char *what, const VmmTraceState *s)
{
  uint8_t code[64];
  uint32_t linear = s->segment[1].base + s->eip, n = vmm_vcpu_peek (f->vcpu, linear, code, 64);

  fprintf (stderr, "lockstep: %s %04x:%08x (%s):", what, s->segment[1].selector, s->eip,
           s->segment[1].flags & 0x4000 ? "32 bits" : "16 bits");
  for (uint32_t i = 0; i < n; i++)
    fprintf (stderr, " %02x", code[i]);
  fprintf (stderr, "\n");
}

static _Noreturn void
differs (Follower *f, const VmmTraceState *mine, const char *how)
{
  const VmmTraceState *theirs = &f->trace->record.state;

  fprintf (stderr,
           "lockstep: processor %u, after %" PRIu64 " points: %s\n"
           "lockstep: instructions: written %" PRIu64 ", here %" PRIu64 ", equal before %" PRIu64
           "\n",
           f->processor, f->trace->points, how, theirs->instructions, mine->instructions,
           f->last.instructions);
  print_code (f, "from", &f->last);
  print_code (f, "to (written)", theirs);
  print_code (f, "to (here)", mine);
  fprintf (stderr, "lockstep: %-10s %10s %10s %10s\n", "", "before", "written", "here");
  for (size_t n = 0; n < sizeof fields / sizeof *fields; n++)
    {
      uint64_t a = value (theirs, &fields[n]), b = value (mine, &fields[n]);

      if (n < 10 || a != b)
        fprintf (stderr, "lockstep: %-10s %10" PRIx64 " %10" PRIx64 " %10" PRIx64 "%s\n",
                 fields[n].name, value (&f->last, &fields[n]), a, b, a == b ? "" : "  <--");
    }
  fflush (NULL);
  _Exit (TRACE_DIFFERS);
}

/* ---- Points ---- */

static void
write_point (Follower *f, const VmmTraceState *state)
{
  Trace *trace = f->trace;
  Record r = { .magic = MAGIC, .processor = f->processor, .state = *state };

  if (trace->ended || fwrite (&r, sizeof r, 1, trace->file) == 1)
    return;
  fprintf (stderr, "lockstep: nobody reads any more: %s\n", strerror (errno));
  trace->ended = true;
}

/* Is there a record that waits to be compared? */
static bool
read_point (Trace *trace)
{
  if (trace->pending || trace->ended)
    return trace->pending;
  trace->pending = fread (&trace->record, sizeof trace->record, 1, trace->file) == 1
                   && trace->record.magic == MAGIC;
  trace->ended = !trace->pending;
  return trace->pending;
}

static void
compare (Follower *f, const VmmTraceState *mine)
{
  Trace *trace = f->trace;

  if (!read_point (trace) || trace->record.processor != f->processor)
    return;
  if (mine->instructions != trace->record.state.instructions)
    differs (f, mine, "the number of instructions differs");
  if (memcmp (mine, &trace->record.state, sizeof *mine) != 0)
    differs (f, mine, "the states differ");
  f->last = *mine;
  trace->pending = false;
  trace->ram_points += mine->ram != 0;
}

static uint64_t
point (void *opaque, VmmVcpu *vcpu, const VmmTraceState *state)
{
  Follower *f = opaque;
  Trace *trace = f->trace;

  f->vcpu = vcpu;
  if (!trace->check)
    {
      if (state)
        {
          write_point (f, state);
          f->last.instructions = state->instructions;
          trace->points++;
        }
      return trace->ended ? UINT64_MAX : f->last.instructions + trace->every;
    }
  if (state)
    {
      compare (f, state);
      trace->points++;
    }
  return read_point (trace) && trace->record.processor == f->processor
             ? trace->record.state.instructions
             : UINT64_MAX;
}

void
trace_attach (Trace *trace, VmmVcpuConfig *config)
{
  Follower *f = calloc (1, sizeof *f);

  if (!f)
    abort ();
  f->trace = trace;
  f->processor = trace->processors++;
  f->next = trace->followers;
  trace->followers = f;
  config->trace = point;
  config->trace_opaque = f;
  config->trace_exact = trace->check;
}

bool
trace_close (Trace *trace)
{
  bool more = trace->check && read_point (trace);

  if (more)
    fprintf (stderr, "lockstep: the run that was written went on to %" PRIu64 " instructions\n",
             trace->record.state.instructions);
  fprintf (stderr, "lockstep: %" PRIu64 " points %s, %" PRIu64 " sums of RAM\n", trace->points,
           trace->check ? "are equal" : "written", trace->ram_points);
  fclose (trace->file);
  while (trace->followers)
    {
      Follower *f = trace->followers;

      trace->followers = f->next;
      free (f);
    }
  free (trace);
  return !more;
}

/* ---- Stress ---- */

static const struct {
  const char *name;
  uint8_t stress;
} modes[] = {
  { "unlinked", VMM_STRESS_UNLINKED }, { "drop", VMM_STRESS_DROP }, { "short", VMM_STRESS_SHORT },
  { "move", VMM_STRESS_MOVE },         { "kick", VMM_STRESS_KICK },
  { "spaces", VMM_STRESS_SPACES },
};

static bool
add_mode (const char *name, size_t length, VmmVcpuConfig *config)
{
  bool all = length == 3 && !memcmp (name, "all", 3), found = all;

  for (size_t n = 0; n < sizeof modes / sizeof *modes; n++)
    if (all || (strlen (modes[n].name) == length && !memcmp (name, modes[n].name, length)))
      {
        config->stress |= modes[n].stress;
        found = true;
      }
  if (all || (length == 5 && !memcmp (name, "small", 5)))
    {
      config->code_cache = 1;
      found = true;
    }
  if (all || (length == 3 && !memcmp (name, "hot", 3)))
    {
      config->heat = 0;
      found = true;
    }
  if (length == 5 && !memcmp (name, "plain", 5))
    found = config->plain_host = true;
  return found;
}

const char *
trace_stress (const char *list, VmmVcpuConfig *config)
{
  while (*list)
    {
      size_t length = strcspn (list, ",");

      if (length && !add_mode (list, length, config))
        return list;
      list += length + (list[length] != 0);
    }
  return NULL;
}
