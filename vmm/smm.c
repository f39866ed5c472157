/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System management mode (Intel SDM vol. 3, "System Management Mode"; the 32-bit state save map).
 *
 * The map lies at SMBASE + FE00h .. FFFFh; offsets below count from SMBASE + 8000h.  Besides the
 * documented slots the reserved ones hold what else RSM must bring back, in a layout of our own:
 *
 *   7F08 + n * 12  base, limit, flags of ES CS SS DS FS GS LDTR TR
 *   7F68  GDT base and limit, IDT base and limit     7F78  CR4
 *   7F7C  CPL (1:0), NMI blocked (2), halted (3)     7F80  PDPTRs
 *
 * The revision is 00020000h: SMBASE relocation, no restart of I/O instructions.
 *
 * The handler may write anything there: RSM checks what it loads and shuts the processor down if no
 * processor could hold it.
 */
#include "system.h"

enum {
  SLOT_SMBASE = 0x7ef8,
  SLOT_REVISION = 0x7efc,
  SLOT_IO_RESTART = 0x7f00,
  SLOT_AUTO_HALT = 0x7f02,
  SLOT_HIDDEN = 0x7f08,
  SLOT_TABLES = 0x7f68,
  SLOT_CR4 = 0x7f78,
  SLOT_FLAGS = 0x7f7c,
  SLOT_PDPTR = 0x7f80,
  SLOT_ES = 0x7fa8, /* ES CS SS DS FS GS */
  SLOT_LDTR = 0x7fc0,
  SLOT_TR = 0x7fc4,
  SLOT_DR7 = 0x7fc8,
  SLOT_DR6 = 0x7fcc,
  SLOT_EAX = 0x7fd0, /* EAX ECX EDX EBX ESP EBP ESI EDI */
  SLOT_EIP = 0x7ff0,
  SLOT_EFLAGS = 0x7ff4,
  SLOT_CR3 = 0x7ff8,
  SLOT_CR0 = 0x7ffc,
};

#define REVISION 0x00020000u
#define FLAG_NMI_BLOCKED 4u
#define FLAG_HALTED 8u

static void
put (VmmVcpu *c, uint32_t slot, uint32_t value)
{
  vmm_phys_write (c, c->smbase + 0x8000 + slot, value, 4);
}

static uint32_t
get (VmmVcpu *c, uint32_t slot)
{
  return vmm_phys_read (c, c->smbase + 0x8000 + slot, 4);
}

static void
put_segment (VmmVcpu *c, unsigned n, const VmmSegment *s)
{
  put (c, SLOT_HIDDEN + n * 12, s->base);
  put (c, SLOT_HIDDEN + n * 12 + 4, s->limit);
  put (c, SLOT_HIDDEN + n * 12 + 8, s->flags);
}

static VmmSegment
get_segment (VmmVcpu *c, unsigned n, uint32_t selector_slot)
{
  VmmSegment s = {
    .base = get (c, SLOT_HIDDEN + n * 12),
    .limit = get (c, SLOT_HIDDEN + n * 12 + 4),
    .flags = get (c, SLOT_HIDDEN + n * 12 + 8) & 0xf0ff,
    .selector = (uint16_t) get (c, selector_slot),
  };
  vmm_segment_update (&s);
  return s;
}

static void
save (VmmVcpu *c)
{
  put (c, SLOT_CR0, c->cr0);
  put (c, SLOT_CR3, c->cr3);
  put (c, SLOT_CR4, c->cr4);
  put (c, SLOT_EFLAGS, c->eflags);
  put (c, SLOT_EIP, c->eip);
  for (unsigned i = 0; i < 8; i++)
    put (c, SLOT_EAX + i * 4, c->gpr[i]);
  put (c, SLOT_DR6, c->dr[6]);
  put (c, SLOT_DR7, c->dr[7]);
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    {
      put (c, SLOT_ES + i * 4, c->seg[i].selector);
      put_segment (c, i, &c->seg[i]);
    }
  put (c, SLOT_LDTR, c->ldtr.selector);
  put_segment (c, 6, &c->ldtr);
  put (c, SLOT_TR, c->tr.selector);
  put_segment (c, 7, &c->tr);
  put (c, SLOT_TABLES, c->gdt_base);
  put (c, SLOT_TABLES + 4, c->gdt_limit);
  put (c, SLOT_TABLES + 8, c->idt_base);
  put (c, SLOT_TABLES + 12, c->idt_limit);
  put (c, SLOT_FLAGS,
       c->cpl | (c->nmi_blocked ? FLAG_NMI_BLOCKED : 0)
           | (c->activity == VMM_HALTED ? FLAG_HALTED : 0));
  for (unsigned i = 0; i < 4; i++)
    {
      put (c, SLOT_PDPTR + i * 8, (uint32_t) c->pdptr[i]);
      put (c, SLOT_PDPTR + i * 8 + 4, (uint32_t) (c->pdptr[i] >> 32));
    }
  put (c, SLOT_SMBASE, c->smbase);
  put (c, SLOT_REVISION, REVISION);
  /* I/O restart (no), auto halt restart */
  put (c, SLOT_IO_RESTART, c->activity == VMM_HALTED ? 1u << 16 : 0);
}

/* Everything that depends on the view of memory and on control registers; decoded blocks are kept
   apart by their keys. */
static void
switch_view (VmmVcpu *c)
{
  vmm_a20_update (c);
  vmm_watchpoints_changed (c); /* flushes the TLB */
  vmm_mode_changed (c);
}

void
vmm_enter_smm (VmmVcpu *c)
{
  c->smm = true;
  vmm_a20_update (c);
  save (c);
  c->nmi_blocked = true;
  c->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
  c->cr4 = 0;
  c->eflags = FL_1;
  c->eip = 0x8000;
  c->dr[7] = 0x400;
  c->cpl = 0;
  c->inhibit = 0;
  c->debug_hits = 0;
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    {
      c->seg[i]
          = (VmmSegment){ .limit = 0xffffffffu, .flags = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G };
      vmm_segment_update (&c->seg[i]);
    }
  c->seg[VMM_CS].selector = (uint16_t) (c->smbase >> 4);
  c->seg[VMM_CS].base = c->smbase;
  switch_view (c);
}

/* Privilege and mode as they belong together, whatever the slots say. */
static void
settle_privilege (VmmVcpu *c, uint32_t flags)
{
  if (!(c->cr0 & CR0_PE))
    {
      c->eflags &= ~FL_VM;
      c->cpl = 0;
    }
  else if (c->eflags & FL_VM)
    {
      c->cpl = 3;
      for (unsigned i = 0; i < VMM_SEGMENTS; i++)
        c->seg[i] = vmm_segment_v86 (c->seg[i].selector);
    }
  else
    c->cpl = flags & 3;
}

static void
restore (VmmVcpu *c, uint32_t flags)
{
  c->eflags = (get (c, SLOT_EFLAGS) & FL_ALL) | FL_1;
  c->eip = get (c, SLOT_EIP);
  for (unsigned i = 0; i < 8; i++)
    c->gpr[i] = get (c, SLOT_EAX + i * 4);
  c->cr3 = get (c, SLOT_CR3);
  c->dr[6] = (get (c, SLOT_DR6) & 0xe00f) | 0xffff0ff0u;
  c->dr[7] = (get (c, SLOT_DR7) & 0xffff23ffu) | 0x400;
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    c->seg[i] = get_segment (c, i, SLOT_ES + i * 4);
  c->ldtr = get_segment (c, 6, SLOT_LDTR);
  c->tr = get_segment (c, 7, SLOT_TR);
  c->gdt_base = get (c, SLOT_TABLES);
  c->gdt_limit = get (c, SLOT_TABLES + 4) & 0xffff;
  c->idt_base = get (c, SLOT_TABLES + 8);
  c->idt_limit = get (c, SLOT_TABLES + 12) & 0xffff;
  for (unsigned i = 0; i < 4; i++)
    c->pdptr[i] = get (c, SLOT_PDPTR + i * 8) | (uint64_t) get (c, SLOT_PDPTR + i * 8 + 4) << 32;
  settle_privilege (c, flags);
}

void
vmm_rsm (VmmVcpu *c)
{
  if (!c->smm)
    vmm_ud (c);
  uint32_t cr0 = get (c, SLOT_CR0), cr4 = get (c, SLOT_CR4), flags = get (c, SLOT_FLAGS);
  uint32_t smbase = get (c, SLOT_SMBASE);
  bool halt = (flags & FLAG_HALTED) && (get (c, SLOT_IO_RESTART) & 1u << 16);
  if (vmm_check_control (cr0, cr4))
    {
      vmm_shut_down (c);
      return;
    }
  c->cr0 = (cr0 & VMM_CR0_WRITABLE) | CR0_ET;
  c->cr4 = cr4;
  restore (c, flags);
  c->smbase = smbase;
  c->nmi_blocked = flags & FLAG_NMI_BLOCKED;
  c->smm = false;
  c->branched = true;
  c->step = false;
  switch_view (c);
  if (halt)
    vmm_halt (c, c->eip);
}
