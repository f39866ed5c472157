/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the processor looks up for at instruction boundaries: requests of the host (kick, flush,
 * A20, code written by devices) and events of the guest, in the order of Intel SDM vol. 3 table
 * 6-2: SMI, INIT, NMI, local APIC, INTR.  Idle states (HLT, shutdown, wait for SIPI) are waited for
 * here.
 *
 * The bits of c->attention are set by any thread.  ATT_INTR follows a level, ATT_APIC is kept by
 * apic.c; the rest are latched and cleared by whoever serves them.
 */
#include "engine.h"
#include "system.h"

void
vmm_alert_changed (VmmVcpu *c)
{
  uint32_t alert = ~0u;
  if (c->smm)
    alert &= ~(ATT_SMI | ATT_INIT);
  if (c->nmi_blocked)
    alert &= ~ATT_NMI;
  c->alerts[0] = alert & ~(ATT_INTR | ATT_APIC);
  c->alerts[1] = vmm_apic_passes_intr (c) ? alert : alert & ~ATT_INTR;
  c->alert = c->alerts[c->eflags & FL_IF ? 1 : 0];
  c->if_free = !(c->eflags & FL_VM) && c->cpl <= (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

static void
clear (VmmVcpu *c, uint32_t bits)
{
  atomic_fetch_and (&c->attention, ~bits);
}

void
vmm_halt (VmmVcpu *c, uint32_t next_eip)
{
  c->eip = next_eip;
  c->branched = true;
  c->stop_block = true;
  c->activity = VMM_HALTED;
  atomic_fetch_or (&c->attention, ATT_IDLE);
}

static void
wake (VmmVcpu *c)
{
  c->activity = VMM_ACTIVE;
  clear (c, ATT_IDLE);
}

void
vmm_shut_down (VmmVcpu *c)
{
  vmm_log (c, 3, "shutdown: vector %u while delivering %u at %04x:%08x", c->fault.vector,
           c->delivering_vector, c->seg[VMM_CS].selector, c->eip);
  c->delivering = c->delivering_exception = c->external = false;
  c->activity = VMM_SHUT_DOWN;
  atomic_fetch_or (&c->attention, ATT_IDLE);
  vmm_attend (c);
}

static void
start_up (VmmVcpu *c)
{
  clear (c, ATT_SIPI);
  c->seg[VMM_CS].selector = (uint16_t) (c->sipi_vector << 8);
  c->seg[VMM_CS].base = (uint32_t) c->sipi_vector << 12;
  vmm_segment_update (&c->seg[VMM_CS]);
  c->eip = 0;
  wake (c);
  vmm_mode_changed (c);
}

static bool
take_apic (VmmVcpu *c)
{
  int vector = vmm_apic_pending (c);
  if (vector < 0)
    return false;
  vmm_apic_acknowledge (c, (uint8_t) vector);
  wake (c);
  vmm_external_interrupt (c, (uint8_t) vector, false);
  return true;
}

static void
take_intr (VmmVcpu *c)
{
  c->exit.value = 0;
  vmm_leave (c, VMM_EXIT_INTA);
  vmm_apic_intr_taken (c);
  wake (c);
  vmm_external_interrupt (c, (uint8_t) c->exit.value, false);
}

/* The event of highest priority that may be taken now; false if there is none. */
static bool
take_event (VmmVcpu *c, uint32_t attention)
{
  bool shadow = c->inhibit & VMM_INHIBIT_SS;
  if ((attention & ATT_SMI) && !c->smm && !shadow && c->activity != VMM_WAIT_SIPI)
    {
      clear (c, ATT_SMI);
      vmm_enter_smm (c); /* looks at c->activity itself */
      wake (c);
      return true;
    }
  if ((attention & ATT_INIT) && !c->smm)
    {
      clear (c, ATT_INIT);
      wake (c);
      vmm_init_processor (c);
      return true;
    }
  if (c->activity == VMM_WAIT_SIPI)
    {
      if (!(attention & ATT_SIPI))
        return false;
      start_up (c);
      return true;
    }
  if ((attention & ATT_NMI) && !c->nmi_blocked && !shadow)
    {
      clear (c, ATT_NMI);
      wake (c);
      vmm_external_interrupt (c, EX_NMI, true);
      return true;
    }
  if (!(c->eflags & FL_IF) || c->inhibit || c->activity == VMM_SHUT_DOWN)
    return false;
  if ((attention & ATT_APIC) && take_apic (c))
    return true;
  if ((attention & ATT_INTR) && vmm_apic_passes_intr (c))
    {
      take_intr (c);
      return true;
    }
  return false;
}

bool
vmm_attend (VmmVcpu *c)
{
  bool changed = false;
  for (;;)
    {
      uint32_t attention = atomic_load (&c->attention);
      if (attention & ATT_KICK)
        {
          clear (c, ATT_KICK);
          vmm_space_sample (c);
          c->slice_ended = atomic_exchange (&c->kicked, false) || !c->stress_kicks;
          vmm_leave (c, VMM_EXIT_TIME_SLICE);
          changed = true;
          continue;
        }
      if (attention & ATT_FLUSH)
        {
          clear (c, ATT_FLUSH);
          vmm_tlb_flush (c, true);
          changed = true;
        }
      if (attention & ATT_A20)
        {
          vmm_a20_update (c);
          changed = true;
        }
      if (attention & ATT_CODE)
        {
          clear (c, ATT_CODE);
          vmm_blocks_attend (c);
          changed = true;
        }
      if (c->activity == VMM_ACTIVE)
        clear (c, ATT_IDLE);
      if (take_event (c, attention))
        return true;
      if (c->activity == VMM_ACTIVE)
        return changed;
      vmm_leave (c, c->activity == VMM_SHUT_DOWN ? VMM_EXIT_SHUTDOWN : VMM_EXIT_HLT);
      changed = true;
    }
}
