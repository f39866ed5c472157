/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Architectural state in and out.
 *
 * A state that comes from a file is hostile.  What this processor's code relies on is checked here
 * before anything is changed: enumerations, control register combinations, reserved bits that fault
 * on the host (MXCSR), modes that fit their segments and privilege.  Cached descriptors themselves
 * may hold anything: every access goes through limits and the TLB.
 */
#include "exit.h"
#include "system.h"

/* ---- Out ---- */

static VmmSegmentState
segment_state (const VmmSegment *s)
{
  return (VmmSegmentState){
    .selector = s->selector,
    .flags = s->flags,
    .base = s->base,
    .limit = s->limit,
  };
}

static void
get_msrs (const VmmVcpu *c, VmmVcpuState *s)
{
  s->tsc_offset = c->tsc_offset;
  s->apic_base = c->apic_base;
  s->sysenter_cs = c->sysenter_cs;
  s->sysenter_esp = c->sysenter_esp;
  s->sysenter_eip = c->sysenter_eip;
  s->mtrr_cap = c->mtrr_cap;
  s->mtrr_def_type = c->mtrr_def_type;
  memcpy (s->mtrr_fixed, c->mtrr_fixed, sizeof s->mtrr_fixed);
  memcpy (s->mtrr_physbase, c->mtrr_physbase, sizeof s->mtrr_physbase);
  memcpy (s->mtrr_physmask, c->mtrr_physmask, sizeof s->mtrr_physmask);
  s->pat = c->pat;
  s->debugctl = c->debugctl;
  s->microcode = c->microcode;
  s->mcg_status = c->mcg_status;
  memcpy (s->mc_ctl, c->mc_ctl, sizeof s->mc_ctl);
  memcpy (s->mc_status, c->mc_status, sizeof s->mc_status);
}

void
vmm_vcpu_get_state (VmmVcpu *c, VmmVcpuState *s)
{
  uint32_t attention = atomic_load (&c->attention), pins = atomic_load (&c->pins);
  memset (s, 0, sizeof *s);
  s->version = VMM_VCPU_STATE_VERSION;
  s->size = sizeof *s;
  memcpy (s->gpr, c->gpr, sizeof s->gpr);
  s->eip = c->eip;
  s->eflags = c->eflags;
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    s->segment[i] = segment_state (&c->seg[i]);
  s->ldtr = segment_state (&c->ldtr);
  s->tr = segment_state (&c->tr);
  s->gdt_base = c->gdt_base;
  s->gdt_limit = c->gdt_limit;
  s->idt_base = c->idt_base;
  s->idt_limit = c->idt_limit;
  s->cr0 = c->cr0;
  s->cr2 = c->cr2;
  s->cr3 = c->cr3;
  s->cr4 = c->cr4;
  memcpy (s->dr, c->dr, sizeof s->dr);
  s->dr[4] = s->dr[5] = 0;
  s->cpl = c->cpl;
  s->activity = c->activity;
  s->inhibit = c->inhibit;
  s->nmi_blocked = c->nmi_blocked;
  s->nmi_pending = !!(attention & ATT_NMI);
  s->smi_pending = !!(attention & ATT_SMI);
  s->init_pending = !!(attention & ATT_INIT);
  s->smm = c->smm;
  s->smbase = c->smbase;
  s->intr = !!(attention & ATT_INTR);
  s->a20 = !!(pins & VMM_PIN_A20);
  s->ignne = c->fpu.ignne;
  s->ferr = c->fpu.ferr;
  s->sse2 = c->config.sse2;
  memcpy (s->pdptr, c->pdptr, sizeof s->pdptr);
  get_msrs (c, s);
  vmm_fpu_sync (c);
  memcpy (s->fx, c->fpu.fx, sizeof s->fx);
  vmm_apic_get_state (c, s);
}

/* ---- Checks ---- */

static const char *
check_mode (const VmmVcpuState *s)
{
  bool v86 = s->eflags & FL_VM;
  if ((s->eflags & ~FL_ALL) || !(s->eflags & FL_1))
    return "reserved bits of EFLAGS";
  if (vmm_check_control (s->cr0, s->cr4))
    return vmm_check_control (s->cr0, s->cr4);
  if ((s->cr0 & ~VMM_CR0_WRITABLE) != CR0_ET)
    return "reserved bits of CR0";
  if (!(s->cr0 & CR0_PE) && (v86 || s->cpl != 0))
    return "v86 mode or privilege in real mode";
  if (s->cpl > 3 || (v86 && s->cpl != 3))
    return "privilege level";
  for (unsigned i = 0; v86 && i < VMM_SEGMENTS; i++)
    if (s->segment[i].base != (uint32_t) s->segment[i].selector << 4
        || s->segment[i].limit != 0xffff || s->segment[i].flags != 0xf3)
      return "segments of v86 mode";
  return NULL;
}

static const char *
check_segments (const VmmVcpuState *s)
{
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    if (s->segment[i].flags & 0x0f00)
      return "flags of a segment";
  if (!(s->segment[VMM_CS].flags & SEG_P) || !(s->segment[VMM_CS].flags & SEG_S))
    return "code segment";
  if ((s->ldtr.flags & 0x0f00)
      || ((s->ldtr.flags & SEG_P) && (s->ldtr.flags & 0x1f) != VMM_TYPE_LDT))
    return "LDTR";
  if ((s->tr.flags & 0x0f00) || (s->tr.flags & 0x15) != 1)
    return "TR";
  if (s->gdt_limit > 0xffff || s->idt_limit > 0xffff)
    return "limit of GDT or IDT";
  return NULL;
}

static bool
is_flag (uint32_t v)
{
  return v <= 1;
}

static const char *
check_activity (const VmmVcpuState *s)
{
  if (s->activity > VMM_WAIT_SIPI)
    return "activity";
  if (s->inhibit & ~(uint32_t) (VMM_INHIBIT_STI | VMM_INHIBIT_SS))
    return "interrupt shadow";
  if (!is_flag (s->nmi_blocked) || !is_flag (s->nmi_pending) || !is_flag (s->smi_pending)
      || !is_flag (s->init_pending) || !is_flag (s->smm) || !is_flag (s->intr) || !is_flag (s->a20)
      || !is_flag (s->ignne) || !is_flag (s->ferr) || !is_flag (s->sse2))
    return "a flag that is neither 0 nor 1";
  if ((s->dr[6] & ~0xe00fu) != 0xffff0ff0u || (s->dr[7] & ~0xffff23ffu) != 0x400)
    return "reserved bits of DR6 or DR7";
  return NULL;
}

static bool
is_memory_type (uint64_t type)
{
  return type == 0 || type == 1 || type == 4 || type == 5 || type == 6;
}

static const char *
check_msrs (const VmmVcpu *c, const VmmVcpuState *s)
{
  if (s->sse2 && !c->config.sse2)
    return "the state is that of a processor with SSE2, which this one has not";
  const char *wrong = vmm_fpu_check_image (c, s->fx);
  if (wrong)
    return wrong;
  if (s->apic_base & ~0xffffff900ull)
    return "APIC base";
  if (s->mtrr_cap != VMM_MTRR_CAP || (s->mtrr_def_type & ~0xcffull)
      || !is_memory_type (s->mtrr_def_type & 0xff))
    return "MTRR default type";
  for (unsigned i = 0; i < 8; i++)
    if ((s->mtrr_physbase[i] & ~0xffffff0ffull) || (s->mtrr_physmask[i] & ~0xffffff800ull))
      return "MTRR range";
  if ((s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE))
    for (unsigned i = 0; i < 4; i++)
      if ((s->pdptr[i] & 1) && (s->pdptr[i] & 0xfffffff0000001e6ull))
        return "page directory pointers";
  if (s->sysenter_cs >> 32 || s->sysenter_esp >> 32 || s->sysenter_eip >> 32)
    return "SYSENTER registers";
  return NULL;
}

/* ---- In ---- */

static void
set_segment (VmmSegment *to, const VmmSegmentState *s)
{
  *to = (VmmSegment){
    .base = s->base,
    .limit = s->limit,
    .selector = s->selector,
    .flags = s->flags,
  };
  vmm_segment_update (to);
}

static void
set_msrs (VmmVcpu *c, const VmmVcpuState *s)
{
  c->tsc_offset = s->tsc_offset;
  c->apic_base = s->apic_base;
  c->sysenter_cs = s->sysenter_cs;
  c->sysenter_esp = s->sysenter_esp;
  c->sysenter_eip = s->sysenter_eip;
  c->mtrr_cap = s->mtrr_cap;
  c->mtrr_def_type = s->mtrr_def_type;
  memcpy (c->mtrr_fixed, s->mtrr_fixed, sizeof s->mtrr_fixed);
  memcpy (c->mtrr_physbase, s->mtrr_physbase, sizeof s->mtrr_physbase);
  memcpy (c->mtrr_physmask, s->mtrr_physmask, sizeof s->mtrr_physmask);
  c->pat = s->pat;
  c->debugctl = s->debugctl & 0x7f;
  c->microcode = s->microcode;
  c->mcg_status = s->mcg_status & 7;
  memcpy (c->mc_ctl, s->mc_ctl, sizeof s->mc_ctl);
  memcpy (c->mc_status, s->mc_status, sizeof s->mc_status);
}

static void
set_attention (VmmVcpu *c, const VmmVcpuState *s)
{
  uint32_t bits = ATT_FLUSH | (s->nmi_pending ? ATT_NMI : 0) | (s->smi_pending ? ATT_SMI : 0)
                  | (s->init_pending ? ATT_INIT : 0) | (s->intr ? ATT_INTR : 0)
                  | (s->activity != VMM_ACTIVE ? ATT_IDLE : 0);
  atomic_fetch_and (&c->attention, ATT_KICK | ATT_APIC);
  atomic_fetch_or (&c->attention, bits);
  if (s->a20)
    atomic_fetch_or (&c->pins, VMM_PIN_A20);
  else
    atomic_fetch_and (&c->pins, ~VMM_PIN_A20);
}

static void
set_registers (VmmVcpu *c, const VmmVcpuState *s)
{
  memcpy (c->gpr, s->gpr, sizeof s->gpr);
  c->eip = s->eip;
  c->eflags = s->eflags;
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    set_segment (&c->seg[i], &s->segment[i]);
  set_segment (&c->ldtr, &s->ldtr);
  set_segment (&c->tr, &s->tr);
  c->gdt_base = s->gdt_base;
  c->gdt_limit = s->gdt_limit;
  c->idt_base = s->idt_base;
  c->idt_limit = s->idt_limit;
  c->cr0 = s->cr0;
  c->cr2 = s->cr2;
  c->cr3 = s->cr3;
  c->cr4 = s->cr4;
  memcpy (c->dr, s->dr, sizeof c->dr);
  memcpy (c->pdptr, s->pdptr, sizeof c->pdptr);
  c->cpl = (uint8_t) s->cpl;
  c->activity = (uint8_t) s->activity;
  c->inhibit = (uint8_t) s->inhibit;
  c->nmi_blocked = s->nmi_blocked;
  c->smm = s->smm;
  c->smbase = s->smbase;
  c->debug_hits = 0;
  c->step = false;
}

const char *
vmm_vcpu_set_state (VmmVcpu *c, const VmmVcpuState *s)
{
  const char *wrong;
  if (s->version != VMM_VCPU_STATE_VERSION || s->size != sizeof *s)
    return "a processor state of another version";
  if ((wrong = check_mode (s)) || (wrong = check_segments (s)) || (wrong = check_activity (s))
      || (wrong = check_msrs (c, s)))
    return wrong;
  uint64_t apic_base = c->apic_base;
  c->apic_base = s->apic_base; /* decides whether its requests are deliverable */
  if ((wrong = vmm_apic_set_state (c, s)))
    {
      c->apic_base = apic_base;
      return wrong;
    }
  vmm_coroutine_abandon (c);
  set_registers (c, s);
  set_msrs (c, s);
  set_attention (c, s);
  vmm_fpu_set_image (c, s->fx);
  c->fpu.ignne = s->ignne;
  c->fpu.ferr = s->ferr;
  vmm_a20_update (c);
  vmm_watchpoints_changed (c);
  vmm_blocks_flush (c);
  vmm_tlb_flush (c, true);
  vmm_mode_changed (c);
  return NULL;
}
