/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control and debug registers, EFLAGS, CPUID, the time stamp counter (Intel SDM vol. 3 chapters 2,
 * 17; vol. 2 CPUID).
 *
 * The processor is a Pentium III (family 6, model 8): no serial number, no brand string; if it is
 * configured, with SSE2.  The privilege of MOV CR and MOV DR is the business of the instructions'
 * handlers.
 */
#include "system.h"

/* ---- EFLAGS ---- */

void
vmm_set_eflags (VmmVcpu *c, uint32_t value, uint32_t mask)
{
  if (c->cpl != 0)
    mask &= ~FL_IOPL;
  if (c->cpl > (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT)
    mask &= ~FL_IF;
  c->eflags = (c->eflags & ~mask) | (value & mask & FL_ALL) | FL_1;
}

/* ---- Control registers ---- */

const char *
vmm_check_control (uint32_t cr0, uint32_t cr4)
{
  if ((cr0 & CR0_PG) && !(cr0 & CR0_PE))
    return "CR0.PG without CR0.PE";
  if ((cr0 & CR0_NW) && !(cr0 & CR0_CD))
    return "CR0.NW without CR0.CD";
  if (cr4 & ~VMM_CR4_WRITABLE)
    return "reserved bits of CR4";
  return NULL;
}

void
vmm_set_cr0 (VmmVcpu *c, uint32_t value)
{
  uint32_t changed;
  value = (value & VMM_CR0_WRITABLE) | CR0_ET;
  if (vmm_check_control (value, 0))
    vmm_gp0 (c);
  changed = value ^ c->cr0;
  if ((value & CR0_PG) && (c->cr4 & CR4_PAE) && (changed & (CR0_PG | CR0_CD | CR0_NW)))
    vmm_load_pdptr (c, c->cr3);
  c->cr0 = value;
  vmm_fpu_ready_changed (c);
  if (!(value & CR0_PE))
    c->cpl = 0;
  if (changed & (CR0_PG | CR0_PE | CR0_WP))
    vmm_tlb_flush (c, true);
  vmm_mode_changed (c);
}

void
vmm_set_cr3 (VmmVcpu *c, uint32_t value)
{
  if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE))
    vmm_load_pdptr (c, value);
  c->cr3 = value;
  vmm_tlb_flush (c, false);
  c->stop_block = true;
}

void
vmm_set_cr4 (VmmVcpu *c, uint32_t value)
{
  uint32_t changed = value ^ c->cr4;
  if (value & ~VMM_CR4_WRITABLE)
    vmm_gp0 (c);
  if ((value & CR4_PAE) && (c->cr0 & CR0_PG) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE)))
    vmm_load_pdptr (c, c->cr3);
  c->cr4 = value;
  if (changed & (CR4_PAE | CR4_PGE | CR4_PSE))
    vmm_tlb_flush (c, true);
  c->stop_block = true;
}

/* ---- Debug registers ---- */

#define DR6_ONES 0xffff0ff0u
#define DR6_WRITABLE 0xe00fu
#define DR7_ONE 0x400u
#define DR7_WRITABLE 0xffff23ffu
#define DR7_GD 0x2000u
#define DR6_BD 0x2000u

/* Which register, after the checks that reading and writing share. */
static unsigned
debug_register (VmmVcpu *c, unsigned n)
{
  if (n == 4 || n == 5)
    {
      if (c->cr4 & CR4_DE)
        vmm_ud (c);
      n += 2;
    }
  if (c->dr[7] & DR7_GD)
    {
      c->debug_hits = DR6_BD;
      vmm_raise (c, EX_DB);
    }
  return n;
}

uint32_t
vmm_read_dr (VmmVcpu *c, unsigned n)
{
  return c->dr[debug_register (c, n)];
}

void
vmm_write_dr (VmmVcpu *c, unsigned n, uint32_t value)
{
  n = debug_register (c, n);
  if (n == 6)
    {
      c->dr[6] = (value & DR6_WRITABLE) | DR6_ONES;
      return;
    }
  c->dr[n] = n == 7 ? (value & DR7_WRITABLE) | DR7_ONE : value;
  vmm_watchpoints_changed (c);
}

uint32_t
vmm_code_breakpoint (VmmVcpu *c, uint32_t linear)
{
  uint32_t hits = 0;
  for (unsigned i = 0; i < 4; i++)
    if ((c->dr[7] >> i * 2 & 3) && (c->dr[7] >> (16 + i * 4) & 3) == 0 && c->dr[i] == linear)
      hits |= 1u << i;
  return hits;
}

/* ---- CPUID ---- */

#define FEATURE_APIC 0x200u
#define FEATURE_CLFSH 0x80000u
#define FEATURE_SSE2 0x4000000u
/* Lines of CLFLUSH, in quadwords: what the processors that have it have (Java's virtual machines
   insist on 64 bytes), though leaf 2 tells of the Pentium III's caches. */
#define CLFLUSH_LINE (64 / 8)
/* FPU VME DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE-36 MMX FXSR SSE */
#define FEATURES 0x0383f9ffu

void
vmm_cpuid (VmmVcpu *c)
{
  uint32_t *r = c->gpr;
  switch (r[VMM_EAX])
    {
    case 0:
      r[VMM_EAX] = 2;
      r[VMM_EBX] = 0x756e6547; /* Genu */
      r[VMM_EDX] = 0x49656e69; /* ineI */
      r[VMM_ECX] = 0x6c65746e; /* ntel */
      break;
    case 1:
      r[VMM_EAX] = VMM_SIGNATURE;
      r[VMM_EBX] = 0x02 | c->config.index << 24; /* brand 2: Pentium III; initial APIC ID */
      r[VMM_ECX] = 0;
      r[VMM_EDX] = FEATURES;
      if (c->config.sse2)
        {
          r[VMM_EBX] |= CLFLUSH_LINE << 8;
          r[VMM_EDX] |= FEATURE_SSE2 | FEATURE_CLFSH;
        }
      /* Software may switch the APIC off in its MSR, and the feature goes with it. */
      if (c->config.apic && (c->apic_base & 0x800))
        r[VMM_EDX] |= FEATURE_APIC;
      break;
    default: /* beyond the highest leaf the processor gives the highest one */
      r[VMM_EAX] = 0x03020101;
      r[VMM_EBX] = 0;
      r[VMM_ECX] = 0;
      r[VMM_EDX] = 0x0c040882; /* 16 KiB + 16 KiB level 1, 256 KiB level 2 */
      break;
    }
}

/* ---- Time stamp counter ---- */

uint64_t
vmm_tsc (VmmVcpu *c)
{
  uint64_t now = c->config.read_tsc ? c->config.read_tsc (c->config.opaque) : vmm_retired (c);
  return now + c->tsc_offset;
}
