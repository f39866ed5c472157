/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests do to the translator while it runs (VmmVcpuConfig.stress): nothing of it may be seen
 * by the guest.  The rest of these modes stands where it acts: block.c, engine.c, jump.c.
 */
#include "engine.h"

#define KICK_US 50

static uint32_t
roll (VmmVcpu *c)
{
  c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t) (c->random >> 33);
}

void
vmm_stress_block (VmmVcpu *c)
{
  uint32_t n = roll (c);
  if ((c->config.stress & VMM_STRESS_MOVE) && n / 16 % 1024 == 0)
    vmm_vcpu_relocate (c);
  if (!(c->config.stress & VMM_STRESS_DROP))
    return;
  if (n % 16 == 0)
    vmm_tlb_flush (c, true);
  if (n % 16 == 1)
    for (unsigned user = 0; user < 2; user++)
      vmm_jump_flush (c, c->tables[user]);
  if (n % 4096 == 2)
    vmm_blocks_flush (c);
}

void
vmm_stress_enter (VmmVcpu *c)
{
  if ((c->config.stress & VMM_STRESS_KICK) && !c->pacing)
    {
      c->stress_kicks = true;
      vmm_vcpu_pace (c, KICK_US);
    }
}

/* ---- Relocation ---- */

/* No translated code is on the co-routine's stack: neither here nor at the end of a slice. */
bool
vmm_vcpu_relocate (VmmVcpu *c)
{
  if (!c->engine || c->in_exit || !vmm_code_move (c->engine))
    return false;
  for (unsigned user = 0; user < 2; user++)
    {
      VmmTables *copy = vmm_tables_copy (c->tables[user]);
      if (!copy)
        return false;
      if (c->now == c->tables[user])
        c->now = copy;
      vmm_tables_free (c->tables[user]);
      c->tables[user] = copy;
    }
  if (c->config.forgotten)
    c->config.forgotten (c->config.opaque);
  return true;
}
