/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Model-specific registers of the P6 family (Intel SDM vol. 4, "MSRs in the P6 family processors").
 *
 * Memory types have no effect on this processor: MTRRs and PAT are storage with the checks of the
 * part.  Performance counters read zero and ignore writes.  Anything else is #GP(0).
 */
#include "system.h"

enum {
  MSR_P5_MC_ADDR = 0x00,
  MSR_P5_MC_TYPE = 0x01,
  MSR_TSC = 0x10,
  MSR_PLATFORM_ID = 0x17,
  MSR_APIC_BASE = 0x1b,
  MSR_EBL_CR_POWERON = 0x2a,
  MSR_TEST_CTL = 0x33,
  MSR_BIOS_UPDT_TRIG = 0x79,
  MSR_BIOS_SIGN = 0x8b,
  MSR_PERFCTR0 = 0xc1,
  MSR_PERFCTR1 = 0xc2,
  MSR_MTRR_CAP = 0xfe,
  MSR_BBL_CR_CTL = 0x119,
  MSR_BBL_CR_CTL3 = 0x11e,
  MSR_SYSENTER_CS = 0x174,
  MSR_SYSENTER_ESP = 0x175,
  MSR_SYSENTER_EIP = 0x176,
  MSR_MCG_CAP = 0x179,
  MSR_MCG_STATUS = 0x17a,
  MSR_EVNTSEL0 = 0x186,
  MSR_EVNTSEL1 = 0x187,
  MSR_DEBUGCTL = 0x1d9,
  MSR_LAST_BRANCH_FROM = 0x1db,
  MSR_LAST_INT_TO = 0x1de,
  MSR_ROB_CR_BKUPTMPDR6 = 0x1e0,
  MSR_MTRR_PHYS = 0x200,
  MSR_MTRR_FIX64K = 0x250,
  MSR_MTRR_FIX16K = 0x258,
  MSR_MTRR_FIX4K = 0x268,
  MSR_PAT = 0x277,
  MSR_MTRR_DEF_TYPE = 0x2ff,
  MSR_MC0_CTL = 0x400,
};

#define MC_BANKS 5u
#define PHYSICAL_MASK 0xffffff000ull /* 36 bits */

static bool
is_memory_type (uint64_t type)
{
  return type == 0 || type == 1 || type == 4 || type == 5 || type == 6;
}

static bool
are_memory_types (uint64_t types, uint64_t also)
{
  for (unsigned i = 0; i < 8; i++, types >>= 8)
    if (!is_memory_type (types & 0xff) && (types & 0xff) != also)
      return false;
  return true;
}

/* Index into mtrr_fixed, or -1. */
static int
fixed_range (uint32_t index)
{
  if (index == MSR_MTRR_FIX64K)
    return 0;
  if (index == MSR_MTRR_FIX16K || index == MSR_MTRR_FIX16K + 1)
    return 1 + (int) (index - MSR_MTRR_FIX16K);
  if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8)
    return 3 + (int) (index - MSR_MTRR_FIX4K);
  return -1;
}

static bool
is_variable_range (uint32_t index)
{
  return index >= MSR_MTRR_PHYS && index < MSR_MTRR_PHYS + 16;
}

static bool
is_machine_check_bank (uint32_t index)
{
  return index >= MSR_MC0_CTL && index < MSR_MC0_CTL + MC_BANKS * 4;
}

static uint64_t
read_range (VmmVcpu *c, uint32_t index)
{
  unsigned i = index - MSR_MTRR_PHYS;
  if (is_variable_range (index))
    return i & 1 ? c->mtrr_physmask[i / 2] : c->mtrr_physbase[i / 2];
  if (fixed_range (index) >= 0)
    return c->mtrr_fixed[fixed_range (index)];
  if (is_machine_check_bank (index))
    switch (index & 3)
      {
      case 0: return c->mc_ctl[(index - MSR_MC0_CTL) / 4];
      case 1: return c->mc_status[(index - MSR_MC0_CTL) / 4];
      default: return 0;
      }
  vmm_log (c, 4, "RDMSR of unknown %x", index);
  vmm_gp0 (c);
}

uint64_t
vmm_read_msr (VmmVcpu *c, uint32_t index)
{
  switch (index)
    {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
    case MSR_PLATFORM_ID:
    case MSR_EBL_CR_POWERON:
    case MSR_TEST_CTL:
    case MSR_PERFCTR0:
    case MSR_PERFCTR1:
    case MSR_BBL_CR_CTL:
    case MSR_BBL_CR_CTL3:
    case MSR_EVNTSEL0:
    case MSR_EVNTSEL1:
    case MSR_LAST_BRANCH_FROM ... MSR_LAST_INT_TO:
    case MSR_ROB_CR_BKUPTMPDR6: return 0;
    case MSR_TSC: return vmm_tsc (c);
    case MSR_APIC_BASE:
      if (!c->config.apic)
        break;
      return c->apic_base;
    case MSR_BIOS_SIGN: return c->microcode;
    case MSR_MTRR_CAP: return c->mtrr_cap;
    case MSR_SYSENTER_CS: return c->sysenter_cs;
    case MSR_SYSENTER_ESP: return c->sysenter_esp;
    case MSR_SYSENTER_EIP: return c->sysenter_eip;
    case MSR_MCG_CAP: return MC_BANKS;
    case MSR_MCG_STATUS: return c->mcg_status;
    case MSR_DEBUGCTL: return c->debugctl;
    case MSR_PAT: return c->pat;
    case MSR_MTRR_DEF_TYPE: return c->mtrr_def_type;
    default: break;
    }
  return read_range (c, index);
}

static void
write_range (VmmVcpu *c, uint32_t index, uint64_t value)
{
  unsigned i = index - MSR_MTRR_PHYS;
  if (is_variable_range (index))
    {
      uint64_t low = i & 1 ? 0x800 : 0xff;
      if ((value & ~(PHYSICAL_MASK | low)) || (!(i & 1) && !is_memory_type (value & 0xff)))
        vmm_gp0 (c);
      *(i & 1 ? &c->mtrr_physmask[i / 2] : &c->mtrr_physbase[i / 2]) = value;
      return;
    }
  if (fixed_range (index) >= 0)
    {
      if (!are_memory_types (value, 0))
        vmm_gp0 (c);
      c->mtrr_fixed[fixed_range (index)] = value;
      return;
    }
  if (is_machine_check_bank (index))
    {
      /* Control takes all ones or zeros; the rest can only be cleared. */
      if ((index & 3) == 0)
        c->mc_ctl[(index - MSR_MC0_CTL) / 4] = value;
      else if (value)
        vmm_gp0 (c);
      else if ((index & 3) == 1)
        c->mc_status[(index - MSR_MC0_CTL) / 4] = 0;
      return;
    }
  vmm_log (c, 4, "WRMSR of unknown %x", index);
  vmm_gp0 (c);
}

static void
write_apic_base (VmmVcpu *c, uint64_t value)
{
  if (!c->config.apic || (value & ~(PHYSICAL_MASK | 0x900)))
    vmm_gp0 (c);
  /* The bootstrap flag is the wiring's, not software's. */
  c->apic_base = (value & (PHYSICAL_MASK | 0x800)) | (c->apic_base & 0x100);
  vmm_apic_pending (c); /* what was deliverable may no longer be, and the other way round */
  vmm_tlb_flush (c, true);
  c->stop_block = true;
}

void
vmm_write_msr (VmmVcpu *c, uint32_t index, uint64_t value)
{
  switch (index)
    {
    case MSR_P5_MC_ADDR:
    case MSR_P5_MC_TYPE:
    case MSR_EBL_CR_POWERON:
    case MSR_TEST_CTL:
    case MSR_BIOS_UPDT_TRIG: /* an update is taken for done; its signature does not change */
    case MSR_PERFCTR0:
    case MSR_PERFCTR1:
    case MSR_BBL_CR_CTL:
    case MSR_BBL_CR_CTL3:
    case MSR_EVNTSEL0:
    case MSR_EVNTSEL1: return;
    case MSR_TSC:
      /* The P6 family writes the lower half and clears the upper one. */
      c->tsc_offset += (uint32_t) value - vmm_tsc (c);
      return;
    case MSR_APIC_BASE: write_apic_base (c, value); return;
    case MSR_BIOS_SIGN: c->microcode = value & 0xffffffff00000000ull; return;
    case MSR_SYSENTER_CS: c->sysenter_cs = (uint32_t) value; return;
    case MSR_SYSENTER_ESP: c->sysenter_esp = (uint32_t) value; return;
    case MSR_SYSENTER_EIP: c->sysenter_eip = (uint32_t) value; return;
    case MSR_MCG_STATUS:
      if (value & ~7ull)
        vmm_gp0 (c);
      c->mcg_status = value;
      return;
    case MSR_DEBUGCTL: c->debugctl = value & 0x7f; return;
    case MSR_PAT:
      if (!are_memory_types (value, 7))
        vmm_gp0 (c);
      c->pat = value;
      return;
    case MSR_MTRR_DEF_TYPE:
      if ((value & ~0xcffull) || !is_memory_type (value & 0xff))
        vmm_gp0 (c);
      c->mtrr_def_type = value;
      return;
    default: write_range (c, index, value);
    }
}
