/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A virtual processor's life: creation, reset, INIT, its pins and counters.
 *
 * Reset values follow Intel SDM vol. 3, table 9-1, for the P6 family.
 */
#include "engine.h"
#include "exit.h"
#include "system.h"

#include <stdlib.h>
#include <sys/mman.h>

static void
reset_segments (VmmVcpu *c)
{
  for (int i = 0; i < VMM_SEGMENTS; i++)
    {
      c->seg[i] = (VmmSegment){ .limit = 0xffff, .flags = SEG_P | SEG_S | SEG_RW | SEG_A };
      vmm_segment_update (&c->seg[i]);
    }
  c->seg[VMM_CS].selector = 0xf000;
  c->seg[VMM_CS].base = 0xffff0000u;
  c->seg[VMM_CS].flags |= SEG_CODE;
  vmm_segment_update (&c->seg[VMM_CS]);
  c->ldtr = (VmmSegment){ .limit = 0xffff, .flags = SEG_P | 0x2 };
  c->tr = (VmmSegment){ .limit = 0xffff, .flags = SEG_P | 0xb };
}

/* What RESET and INIT have in common. */
static void
reset_core (VmmVcpu *c)
{
  memset (c->gpr, 0, sizeof c->gpr);
  c->gpr[VMM_EDX] = VMM_SIGNATURE;
  c->eip = 0xfff0;
  c->eflags = FL_1;
  c->cr2 = c->cr3 = c->cr4 = 0;
  memset (c->dr, 0, sizeof c->dr);
  c->dr[6] = 0xffff0ff0u;
  c->dr[7] = 0x400;
  memset (c->pdptr, 0, sizeof c->pdptr);
  c->gdt_base = c->idt_base = 0;
  c->gdt_limit = c->idt_limit = 0xffff;
  c->cpl = 0;
  c->inhibit = 0;
  c->nmi_blocked = false;
  c->debug_hits = 0;
  c->step = false;
  c->smm = false;
  c->activity = VMM_ACTIVE;
  c->delivering = c->delivering_exception = c->external = false;
  reset_segments (c);
  vmm_a20_update (c);
  vmm_watchpoints_changed (c);
  vmm_mode_changed (c);
}

void
vmm_init_processor (VmmVcpu *c)
{
  uint32_t kept = c->cr0 & (CR0_CD | CR0_NW);
  reset_core (c);
  c->cr0 = kept | CR0_ET;
  vmm_mode_changed (c);
  vmm_apic_reset (c, true);
  vmm_fpu_reset (c, true);
  if (!(c->apic_base & 0x100))
    {
      c->activity = VMM_WAIT_SIPI;
      atomic_fetch_or (&c->attention, ATT_IDLE);
    }
}

static void
reset_msrs (VmmVcpu *c)
{
  c->tsc_offset = 0;
  if (c->config.read_tsc)
    c->tsc_offset = 0 - c->config.read_tsc (c->config.opaque);
  c->apic_base = 0xfee00000u | (c->config.apic ? 0x800 : 0) | (c->config.index == 0 ? 0x100 : 0);
  c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
  c->mtrr_cap = VMM_MTRR_CAP;
  c->mtrr_def_type = 0;
  memset (c->mtrr_fixed, 0, sizeof c->mtrr_fixed);
  memset (c->mtrr_physbase, 0, sizeof c->mtrr_physbase);
  memset (c->mtrr_physmask, 0, sizeof c->mtrr_physmask);
  c->pat = 0x0007040600070406ull;
  c->debugctl = c->microcode = c->mcg_status = 0;
  memset (c->mc_ctl, 0, sizeof c->mc_ctl);
  memset (c->mc_status, 0, sizeof c->mc_status);
}

void
vmm_vcpu_reset (VmmVcpu *c)
{
  vmm_coroutine_abandon (c);
  reset_core (c);
  c->cr0 = CR0_ET | CR0_CD | CR0_NW;
  c->smbase = 0x30000;
  reset_msrs (c);
  vmm_mode_changed (c);
  vmm_fpu_reset (c, false);
  vmm_apic_reset (c, false);
  vmm_blocks_flush (c);
  vmm_tlb_flush (c, true);
  /* Edges that were latched are gone; levels are still there. */
  atomic_fetch_and (&c->attention, ATT_INTR | ATT_KICK | ATT_A20);
  if (c->config.index != 0)
    {
      c->activity = VMM_WAIT_SIPI;
      atomic_fetch_or (&c->attention, ATT_IDLE);
    }
}

static int
free_slot (const VmmVm *vm)
{
  for (int i = 0; i < (int) (sizeof vm->vcpu / sizeof vm->vcpu[0]); i++)
    if (!vm->vcpu[i])
      return i;
  return -1;
}

VmmVcpu *
vmm_vcpu_new (VmmVm *vm, const VmmVcpuConfig *config, const char **error)
{
  int slot = free_slot (vm);
  VmmVcpu *c;
  *error = "no room for another processor";
  if (slot < 0)
    return NULL;
  *error = "out of memory";
  c = mmap (NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (c == MAP_FAILED)
    return NULL;
  c->vm = vm;
  c->config = *config;
  c->trace.next = UINT64_MAX;
  c->trace.ram_next = config->trace_ram;
  atomic_store (&c->pins, VMM_PIN_A20);
  if (!vmm_traps_install () || !(c->tables[0] = vmm_tables_new ())
      || !(c->tables[1] = vmm_tables_new ()) || !vmm_coroutine_new (c)
      || !(c->blocks = vmm_blocks_new (c)) || !(c->apic = vmm_apic_new (c))
      || (config->engine == VMM_ENGINE_TRANSLATE && !(c->engine = vmm_engine_new (c, error)))
      || !vmm_spaces_new (c))
    {
      vmm_vcpu_free (c);
      return NULL;
    }
  vm->vcpu[slot] = c;
  if (vm->vcpus < (unsigned) slot + 1)
    vm->vcpus = (unsigned) slot + 1;
  vmm_vcpu_reset (c);
  *error = NULL;
  return c;
}

void
vmm_vcpu_free (VmmVcpu *c)
{
  if (!c)
    return;
  for (unsigned i = 0; i < c->vm->vcpus; i++)
    if (c->vm->vcpu[i] == c)
      c->vm->vcpu[i] = NULL;
  if (c->apic)
    vmm_apic_free (c->apic);
  if (c->blocks)
    vmm_blocks_free (c->blocks);
  c->blocks = NULL;
  vmm_pace_end (c);
  vmm_spaces_free (c);
  vmm_engine_free (c->engine);
  vmm_coroutine_free (c);
  vmm_tables_free (c->tables[0]);
  vmm_tables_free (c->tables[1]);
  munmap (c, sizeof *c);
}

VmmExit *
vmm_vcpu_exit (VmmVcpu *c)
{
  return &c->exit;
}

VmmExitReason
vmm_vcpu_execute (VmmVcpu *c, uint64_t budget)
{
  uint64_t retired = vmm_retired (c); /* it may go on in the middle of a block */
  c->budget_end = retired + budget;
  if (c->budget_end < retired)
    c->budget_end = UINT64_MAX;
  vmm_trace_begin (c);
  VmmVcpu *before = vmm_traps_enter (c);
  VmmExitReason reason;
  do
    {
      if (VMM_UNLIKELY (c->config.stress))
        vmm_stress_enter (c);
      reason = vmm_coroutine_enter (c);
    }
  while (VMM_UNLIKELY (c->config.stress) && reason == VMM_EXIT_TIME_SLICE && !c->slice_ended);
  vmm_traps_leave (before);
  return reason;
}

void
vmm_vcpu_kick (VmmVcpu *c)
{
  atomic_store (&c->kicked, true);
  vmm_attention (c, ATT_KICK);
}

uint64_t
vmm_vcpu_instructions (const VmmVcpu *c)
{
  return vmm_retired (c);
}

bool
vmm_vcpu_runnable (VmmVcpu *c)
{
  uint32_t attention = atomic_load (&c->attention);
  switch (c->activity)
    {
    case VMM_ACTIVE: return true;
    case VMM_WAIT_SIPI: return attention & ATT_SIPI;
    case VMM_SHUT_DOWN: return (attention & ATT_INIT) || ((attention & ATT_NMI) && !c->nmi_blocked);
    default: break;
    }
  if ((attention & ATT_SMI) && !c->smm)
    return true;
  if ((attention & ATT_INIT) && !c->smm)
    return true;
  if ((attention & ATT_NMI) && !c->nmi_blocked)
    return true;
  if (!(c->eflags & FL_IF))
    return false;
  return (attention & ATT_APIC) || ((attention & ATT_INTR) && vmm_apic_passes_intr (c));
}

/* ---- Pins ---- */

/* Returns whether the level rose. */
static bool
set_pin (VmmVcpu *c, uint32_t pin, bool level)
{
  uint32_t before = level ? atomic_fetch_or (&c->pins, pin) : atomic_fetch_and (&c->pins, ~pin);
  return level && !(before & pin);
}

void
vmm_vcpu_set_intr (VmmVcpu *c, bool level)
{
  if (!level)
    atomic_fetch_and (&c->attention, ~ATT_INTR);
  else if (!(atomic_load (&c->attention) & ATT_INTR))
    {
      vmm_attention (c, ATT_INTR);
      vmm_apic_lint0 (c);
    }
}

void
vmm_vcpu_set_nmi (VmmVcpu *c, bool level)
{
  if (set_pin (c, VMM_PIN_NMI, level))
    vmm_attention (c, ATT_NMI);
}

void
vmm_vcpu_set_smi (VmmVcpu *c, bool level)
{
  if (set_pin (c, VMM_PIN_SMI, level))
    vmm_attention (c, ATT_SMI);
}

void
vmm_vcpu_set_init (VmmVcpu *c, bool level)
{
  if (set_pin (c, VMM_PIN_INIT, level))
    vmm_attention (c, ATT_INIT);
}

void
vmm_vcpu_set_a20 (VmmVcpu *c, bool level)
{
  set_pin (c, VMM_PIN_A20, level);
  vmm_attention (c, ATT_A20);
}

void
vmm_vcpu_set_ignne (VmmVcpu *c, bool level)
{
  c->fpu.ignne = level;
}

void
vmm_a20_update (VmmVcpu *c)
{
  /* A20M# is ignored in system management mode. */
  bool passes = c->smm || (atomic_load (&c->pins) & VMM_PIN_A20);
  uint32_t mask = passes ? ~0u : ~(1u << 20);
  atomic_fetch_and (&c->attention, ~ATT_A20);
  if (mask == c->a20_mask)
    return;
  c->a20_mask = mask;
  vmm_tlb_flush (c, true);
  c->stop_block = true;
}

/* ---- Counters ---- */

size_t
vmm_vcpu_stats (const VmmVcpu *c, VmmStat *stats, size_t max)
{
  static const char *const exits[VMM_EXIT_REASONS] = {
    "exit-time-slice", "exit-io-in",     "exit-io-out",     "exit-io-ins",
    "exit-io-outs",    "exit-mmio-read", "exit-mmio-write", "exit-hlt",
    "exit-inta",       "exit-shutdown",  "exit-debug",      "exit-additions-call",
  };
  const VmmStat fixed[] = {
    { "instructions", c->instructions },
    { "blocks-decoded", c->stat.blocks_decoded },
    { "blocks-invalidated", c->stat.blocks_invalidated },
    { "tlb-fills", c->stat.tlb_fills },
    { "tlb-flushes", c->stat.tlb_flushes },
    { "faults", c->stat.faults },
    { "interrupts", c->stat.interrupts },
    { "slow-reads", c->stat.slow_reads },
    { "slow-writes", c->stat.slow_writes },
    { "fast-io-in", c->stat.fast_ins },
    { "fast-io-out", c->stat.fast_outs },
    { "fast-io-ins", c->stat.fast_block_ins },
    { "fast-io-outs", c->stat.fast_block_outs },
    { "posted-out", c->stat.posted_outs },
    { "fast-mmio-read", c->stat.fast_mmio_reads },
    { "fast-mmio-write", c->stat.fast_mmio_writes },
    { "posted-mmio-write", c->stat.posted_mmio_writes },
    { "synthetic", c->stat.synthetic },
    { "translations", c->stat.translations },
    { "retranslations", c->stat.retranslations },
    { "translated-instructions", c->stat.translated_insns },
    { "code-guest-bytes", c->stat.translated_bytes },
    { "translate-ns", c->stat.translate_ns },
    { "code-flushes", c->stat.code_flushes },
    { "code-bytes", c->stat.code_bytes },
    { "code-blocks", c->engine ? c->engine->count : 0 },
    { "code-cache-used", c->engine ? vmm_code_used (c->engine) : 0 },
    { "engine-bytes", vmm_engine_bytes (c) },
    { "enters", c->stat.enters },
    { "links", c->stat.links },
    { "indirect-misses", c->stat.indirect },
    { "table-misses", c->stat.misses },
    { "slow-calls", c->stat.slow_calls },
    { "tails", c->stat.tails },
    { "traps", c->stat.traps },
    { "table-traps", c->stat.table_traps },
    { "window-repairs", c->stat.window_repairs },
    { "kicks", c->stat.kicks },
    { "space-gains", c->stat.space_gains },
    { "space-losses", c->stat.space_losses },
    { "space-switches", c->stat.space_switches },
    { "space-faults", c->stat.space_faults },
    { "blocks-interpreted", c->stat.blocks_interpreted },
  };
  size_t count = sizeof fixed / sizeof fixed[0], n = 0;
  for (size_t i = 0; i < count; i++, n++)
    if (n < max)
      stats[n] = fixed[i];
  for (size_t i = 0; i < VMM_EXIT_REASONS; i++, n++)
    if (n < max)
      stats[n] = (VmmStat){ exits[i], c->stat.exits[i] };
  if (c->engine)
    {
      VmmStat opcodes[VMM_OPCODES];
      size_t more = vmm_engine_stats (c->engine, opcodes);
      for (size_t i = 0; i < more; i++, n++)
        if (n < max)
          stats[n] = opcodes[i];
    }
  return n;
}
