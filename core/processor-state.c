/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The processor's part of a saved machine, its counters, and what its translator made. */
#include "processor-internal.h"

#include "listing.h"

#include <string.h>

#define STATE_TYPE "(uay)"
#define BUSY_PORTS 24
#define BUSY_OPCODES 16

/* ---- State ---- */

GVariant *
tn_processor_save (TnProcessor *p)
{
  VmmVcpuState state;

  if (!p || !p->cpu)
    return NULL;
  vmm_vcpu_get_state (p->cpu, &state);
  return g_variant_new ("(u@ay)", (guint32) VMM_VCPU_STATE_VERSION,
                        g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, &state, sizeof state, 1));
}

bool
tn_processor_load (TnProcessor *p, GVariant *state, bool check, GError **error)
{
  g_autoptr (GVariant) bytes = NULL;
  const void *data;
  gsize size;
  guint32 version;
  VmmVcpuState s;
  const char *refusal;

  if (!p || !p->cpu)
    return true;
  if (!g_variant_is_of_type (state, G_VARIANT_TYPE (STATE_TYPE)))
    {
      g_set_error (error, TN_ERROR, TN_ERROR_STATE, "cpu: the saved state is of another form");
      return false;
    }
  g_variant_get (state, "(u@ay)", &version, &bytes);
  data = g_variant_get_fixed_array (bytes, &size, 1);
  if (version != VMM_VCPU_STATE_VERSION || size != sizeof s)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_STATE,
                   "cpu: expected a state of version %d with %zu bytes, found version %u with %zu",
                   VMM_VCPU_STATE_VERSION, sizeof s, version, (size_t) size);
      return false;
    }
  memcpy (&s, data, size);
  if (check)
    return true;
  refusal = vmm_vcpu_set_state (p->cpu, &s);
  if (refusal)
    g_set_error (error, TN_ERROR, TN_ERROR_STATE, "cpu: %s", refusal);
  return !refusal;
}

/* ---- Counters ---- */

static void
port_stat (TnProcessor *p, uint32_t port, TnStatFunc func, void *data)
{
  g_autofree char *name = g_strdup_printf ("port.%04xh", port);

  func (data, name, p->ports[port]);
}

/* All ports that were used, or those that are used most. */
static void
port_stats (TnProcessor *p, bool all, TnStatFunc func, void *data)
{
  uint32_t top[BUSY_PORTS] = { 0 };
  unsigned used = 0;

  for (uint32_t port = 0; port < 0x10000; port++)
    {
      unsigned at = MIN (used, BUSY_PORTS - 1);

      if (all && p->ports[port])
        port_stat (p, port, func, data);
      if (all || p->ports[port] == 0 || (used == BUSY_PORTS && p->ports[port] <= p->ports[top[at]]))
        continue;
      for (; at > 0 && p->ports[top[at - 1]] < p->ports[port]; at--)
        top[at] = top[at - 1];
      top[at] = port;
      used = MIN (used + 1, BUSY_PORTS);
    }
  for (unsigned i = 0; i < used; i++)
    port_stat (p, top[i], func, data);
}

void
tn_processor_stats (TnProcessor *p, bool all, TnStatFunc func, void *data)
{
  g_autofree VmmStat *stats = g_new (VmmStat, VMM_STATS_MAX);
  size_t n = vmm_vcpu_stats (p->cpu, stats, VMM_STATS_MAX), opcodes = 0;

  func (data, "cpu.instructions", vmm_vcpu_instructions (p->cpu));
  for (size_t i = 0; i < MIN (n, VMM_STATS_MAX); i++)
    {
      g_autofree char *name = g_strdup_printf ("cpu.%s", stats[i].name);

      if (strcmp (name, "cpu.instructions") == 0
          || (g_str_has_prefix (name, "cpu.by-handler.") && opcodes++ >= BUSY_OPCODES && !all))
        continue;
      func (data, name, stats[i].value);
    }
  func (data, "cpu.halted-ns", p->halts_ns);
  func (data, "cpu.resets", p->resets);
  port_stats (p, all, func, data);
}

/* ---- Translated blocks ---- */

#define LISTINGS_MAX 16 /* several blocks may run into one another */

unsigned
tn_processor_listing (TnProcessor *p, uint32_t linear, GString *out)
{
  g_autofree VmmTranslation *t = g_new (VmmTranslation, 1);
  uint32_t position = 0;
  unsigned n = 0;

  tn_machine_lock (p->machine);
  tn_processor_quiesce (p);
  while (n < LISTINGS_MAX && vmm_vcpu_translation (p->cpu, linear, &position, t))
    {
      if (n++)
        g_string_append_c (out, '\n');
      tn_listing (p->cpu, t, out);
    }
  tn_processor_resume (p);
  tn_machine_unlock (p->machine);
  return n;
}
