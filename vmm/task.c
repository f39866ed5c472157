/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Task switches (Intel SDM vol. 3 chapter 7), to 32-bit and 16-bit TSSs, by JMP, CALL, IRET and
 * task gates.
 *
 * Up to the commit everything faults in the old task; from there on faults (of the LDT and the
 * segments, #TS, #NP, #SS, #GP) happen in the new one, at its first instruction.  The old TSS is
 * probed for writing first, so that a page fault comes before anything has changed.
 */
#include "system.h"

/* Both layouts as one. */
typedef struct {
  uint32_t cr3, eip, eflags, gpr[8];
  uint16_t segment[6], ldt;
  bool trap;
} Tss;

#define TSS32_EIP 0x20u
#define TSS32_SEGMENTS 0x48u
#define TSS32_LDT 0x60u
#define TSS32_LIMIT 0x67u
#define TSS16_IP 0x0eu
#define TSS16_SEGMENTS 0x22u
#define TSS16_LDT 0x2au
#define TSS16_LIMIT 0x2bu

static void
read_tss32 (VmmVcpu *c, uint32_t base, Tss *t)
{
  t->cr3 = vmm_read_linear32 (c, base + 0x1c, false);
  t->eip = vmm_read_linear32 (c, base + TSS32_EIP, false);
  t->eflags = vmm_read_linear32 (c, base + TSS32_EIP + 4, false);
  for (unsigned i = 0; i < 8; i++)
    t->gpr[i] = vmm_read_linear32 (c, base + TSS32_EIP + 8 + i * 4, false);
  for (unsigned i = 0; i < 6; i++)
    t->segment[i] = vmm_read_linear16 (c, base + TSS32_SEGMENTS + i * 4, false);
  t->ldt = vmm_read_linear16 (c, base + TSS32_LDT, false);
  t->trap = vmm_read_linear8 (c, base + 0x64, false) & 1;
}

static void
read_tss16 (VmmVcpu *c, uint32_t base, Tss *t)
{
  memset (t, 0, sizeof *t);
  t->eip = vmm_read_linear16 (c, base + TSS16_IP, false);
  t->eflags = vmm_read_linear16 (c, base + TSS16_IP + 2, false);
  for (unsigned i = 0; i < 8; i++)
    t->gpr[i] = 0xffff0000u | vmm_read_linear16 (c, base + TSS16_IP + 4 + i * 2, false);
  for (unsigned i = 0; i < 4; i++)
    t->segment[i] = vmm_read_linear16 (c, base + TSS16_SEGMENTS + i * 2, false);
  t->ldt = vmm_read_linear16 (c, base + TSS16_LDT, false);
}

/* The outgoing task's dynamic fields. */
static void
probe_tss (VmmVcpu *c)
{
  if (vmm_is_tss32 (&c->tr))
    {
      if (c->tr.limit < 0x5f)
        vmm_raise_error (c, EX_TS, c->tr.selector & 0xfffc);
      vmm_probe_write (c, c->tr.base + TSS32_EIP, 0x40, false);
    }
  else
    {
      if (c->tr.limit < 0x29)
        vmm_raise_error (c, EX_TS, c->tr.selector & 0xfffc);
      vmm_probe_write (c, c->tr.base + TSS16_IP, 0x1c, false);
    }
}

static void
save_tss (VmmVcpu *c, uint32_t eip, uint32_t eflags)
{
  uint32_t base = c->tr.base;
  if (vmm_is_tss32 (&c->tr))
    {
      vmm_write_linear32 (c, base + TSS32_EIP, eip, false);
      vmm_write_linear32 (c, base + TSS32_EIP + 4, eflags, false);
      for (unsigned i = 0; i < 8; i++)
        vmm_write_linear32 (c, base + TSS32_EIP + 8 + i * 4, c->gpr[i], false);
      for (unsigned i = 0; i < 6; i++)
        vmm_write_linear16 (c, base + TSS32_SEGMENTS + i * 4, c->seg[i].selector, false);
      return;
    }
  vmm_write_linear16 (c, base + TSS16_IP, (uint16_t) eip, false);
  vmm_write_linear16 (c, base + TSS16_IP + 2, (uint16_t) eflags, false);
  for (unsigned i = 0; i < 8; i++)
    vmm_write_linear16 (c, base + TSS16_IP + 4 + i * 2, (uint16_t) c->gpr[i], false);
  for (unsigned i = 0; i < 4; i++)
    vmm_write_linear16 (c, base + TSS16_SEGMENTS + i * 2, c->seg[i].selector, false);
}

/* The descriptor of the task to switch to, checked. */
static void
find_task (VmmVcpu *c, uint16_t selector, bool iret, VmmDescriptor *d)
{
  uint16_t error = selector & 0xfffc;
  unsigned vector = iret ? EX_TS : EX_GP;
  if ((selector & 4) || !error)
    vmm_raise_error (c, vector, error);
  vmm_descriptor_fetch (c, selector, vector, d);
  unsigned type = vmm_desc_type (d), busy = type & 2;
  if ((type & ~0xau) != 1 || !!busy != iret)
    vmm_raise_error (c, vector, error);
  if (!vmm_desc_present (d))
    vmm_raise_error (c, EX_NP, error);
  uint32_t limit = vmm_segment_from (d, selector).limit;
  if (limit < (type & 8 ? TSS32_LIMIT : TSS16_LIMIT))
    vmm_raise_error (c, EX_TS, error);
}

/* ---- In the new task ---- */

static void
load_ldt (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    return;
  if (selector & 4)
    vmm_raise_error (c, EX_TS, error);
  vmm_descriptor_fetch (c, selector, EX_TS, &d);
  if (vmm_desc_type (&d) != VMM_TYPE_LDT || !vmm_desc_present (&d))
    vmm_raise_error (c, EX_TS, error);
  c->ldtr = vmm_segment_from (&d, selector);
}

static void
load_code (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  unsigned rpl = selector & 3;
  if (!error)
    vmm_raise_error (c, EX_TS, 0);
  vmm_descriptor_fetch (c, selector, EX_TS, &d);
  if (!vmm_desc_is_code (&d))
    vmm_raise_error (c, EX_TS, error);
  if (vmm_desc_is_conforming (&d) ? vmm_desc_dpl (&d) > rpl : vmm_desc_dpl (&d) != rpl)
    vmm_raise_error (c, EX_TS, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  vmm_descriptor_accessed (c, &d);
  c->seg[VMM_CS] = vmm_segment_from (&d, selector);
  vmm_mode_changed (c);
}

static void
load_stack (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    vmm_raise_error (c, EX_TS, 0);
  vmm_descriptor_fetch (c, selector, EX_TS, &d);
  if ((selector & 3) != c->cpl || !vmm_desc_is_writable_data (&d) || vmm_desc_dpl (&d) != c->cpl)
    vmm_raise_error (c, EX_TS, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_SS, error);
  vmm_descriptor_accessed (c, &d);
  c->seg[VMM_SS] = vmm_segment_from (&d, selector);
  vmm_mode_changed (c);
}

static void
load_data (VmmVcpu *c, VmmSegId s, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    return;
  vmm_descriptor_fetch (c, selector, EX_TS, &d);
  bool readable = (d.high & 0x1000) && (!(d.high & 0x800) || (d.high & 0x200));
  unsigned dpl = vmm_desc_dpl (&d);
  if (!readable || (!vmm_desc_is_conforming (&d) && ((selector & 3u) > dpl || c->cpl > dpl)))
    vmm_raise_error (c, EX_TS, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  vmm_descriptor_accessed (c, &d);
  c->seg[s] = vmm_segment_from (&d, selector);
}

static void
load_segments (VmmVcpu *c, const Tss *t)
{
  load_ldt (c, t->ldt);
  if (vmm_v86 (c))
    {
      for (unsigned i = 0; i < VMM_SEGMENTS; i++)
        c->seg[i] = vmm_segment_v86 (t->segment[i]);
      vmm_mode_changed (c);
    }
  else
    {
      load_code (c, t->segment[VMM_CS]);
      load_stack (c, t->segment[VMM_SS]);
      load_data (c, VMM_ES, t->segment[VMM_ES]);
      load_data (c, VMM_DS, t->segment[VMM_DS]);
      load_data (c, VMM_FS, t->segment[VMM_FS]);
      load_data (c, VMM_GS, t->segment[VMM_GS]);
    }
  if (c->eip > c->seg[VMM_CS].limit)
    vmm_gp0 (c);
}

/* The point of no return: all registers, with segments that hold nothing but selectors yet. */
static void
commit (VmmVcpu *c, const Tss *t, const VmmSegment *tr)
{
  c->tr = *tr;
  c->tr.flags |= 2; /* busy */
  c->cr0 |= CR0_TS;
  if (vmm_is_tss32 (tr) && (c->cr0 & CR0_PG) && t->cr3 != c->cr3)
    vmm_set_cr3 (c, t->cr3);
  c->eip = t->eip;
  c->eflags = (t->eflags & FL_ALL) | FL_1;
  memcpy (c->gpr, t->gpr, sizeof t->gpr);
  for (unsigned i = 0; i < VMM_SEGMENTS; i++)
    c->seg[i] = vmm_segment_null (t->segment[i]);
  c->ldtr = vmm_segment_null (t->ldt);
  c->cpl = vmm_v86 (c) ? 3 : t->segment[VMM_CS] & 3;
  c->branched = true;
  c->step = false;
  if (c->dr[7] & 0x155)
    {
      c->dr[7] &= ~0x155u; /* the local enables */
      vmm_watchpoints_changed (c);
    }
  vmm_mode_changed (c);
}

static void
push_error (VmmVcpu *c, uint32_t error, bool o16)
{
  VmmStack stack = vmm_stack_current (c);
  vmm_stack_push (c, &stack, error, o16);
  c->gpr[VMM_ESP] = stack.sp;
}

void
vmm_task_switch (VmmVcpu *c, uint16_t selector, VmmTaskSource source, uint32_t next_eip,
                 bool has_error, uint32_t error)
{
  VmmDescriptor d, old;
  Tss t;
  bool nests = source == VMM_TASK_CALL || source == VMM_TASK_GATE;
  find_task (c, selector, source == VMM_TASK_IRET, &d);
  VmmSegment tr = vmm_segment_from (&d, selector);
  probe_tss (c);
  if (nests)
    vmm_probe_write (c, tr.base, 2, false);
  if (vmm_is_tss32 (&tr))
    read_tss32 (c, tr.base, &t);
  else
    read_tss16 (c, tr.base, &t);

  if (!nests && vmm_descriptor_read (c, c->tr.selector & 0xfff8, &old))
    vmm_descriptor_busy (c, &old, false);
  save_tss (c, next_eip, source == VMM_TASK_IRET ? c->eflags & ~FL_NT : c->eflags);
  if (nests)
    {
      vmm_write_linear16 (c, tr.base, c->tr.selector, false);
      t.eflags |= FL_NT;
    }
  if (source != VMM_TASK_IRET)
    vmm_descriptor_busy (c, &d, true);
  commit (c, &t, &tr);
  load_segments (c, &t);
  if (has_error)
    push_error (c, error, !vmm_is_tss32 (&tr));
  if (t.trap)
    vmm_debug_trap (c, 0x8000); /* BT, before the first instruction */
}
