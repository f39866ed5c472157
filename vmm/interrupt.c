/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Delivery of exceptions and interrupts in real, protected and v86 mode (Intel SDM vol. 3 chapters
 * 6 and 20).
 *
 * Life of a fault: some function calls vmm_raise () with everything still as before the
 * instruction; control is back in the loop, which calls vmm_deliver_fault ().  Delivery can itself
 * fault: then vmm_raise () comes back to the loop again, c->delivering tells that there was a first
 * event, and the pair becomes a double fault, a shutdown, or is served one after the other (SDM
 * table 6-5).
 *
 * Registers are committed at the very end, so the second fault finds the state of the first.
 */
#include "system.h"

typedef struct {
  uint8_t vector;
  bool software; /* INT n, INT3, INTO: the gate's DPL counts */
  bool has_error;
  uint32_t error;
  uint32_t eip;   /* return address */
  uint32_t flags; /* image to push */
} Event;

/* ---- Real mode ---- */

static void
enter_handler (VmmVcpu *c, uint32_t eip, uint32_t cleared)
{
  c->eflags &= ~cleared;
  c->eip = eip;
  c->branched = true;
  c->step = false;
  vmm_mode_changed (c);
}

static void
deliver_real (VmmVcpu *c, const Event *e)
{
  VmmStack stack = vmm_stack_current (c);
  uint32_t at = e->vector * 4u;
  if (at + 3 > c->idt_limit)
    vmm_raise_error (c, EX_GP, e->vector * 8u + 2);
  uint16_t ip = vmm_read_linear16 (c, c->idt_base + at, false);
  uint16_t cs = vmm_read_linear16 (c, c->idt_base + at + 2, false);
  vmm_stack_push (c, &stack, e->flags, true);
  vmm_stack_push (c, &stack, c->seg[VMM_CS].selector, true);
  vmm_stack_push (c, &stack, e->eip, true);
  if (ip > c->seg[VMM_CS].limit)
    vmm_gp0 (c);
  c->gpr[VMM_ESP] = stack.sp;
  vmm_load_segment_real (c, VMM_CS, cs);
  enter_handler (c, ip, FL_IF | FL_TF | FL_AC | FL_RF);
}

/* ---- Protected mode ---- */

typedef struct {
  bool o16, trap;
  uint16_t selector;
  uint32_t offset;
  VmmDescriptor code;
} Gate;

static void
push_frame (VmmVcpu *c, VmmStack *stack, const Event *e, bool o16)
{
  vmm_stack_push (c, stack, e->flags, o16);
  vmm_stack_push (c, stack, c->seg[VMM_CS].selector, o16);
  vmm_stack_push (c, stack, e->eip, o16);
  if (e->has_error)
    vmm_stack_push (c, stack, e->error, o16);
}

static void
through_gate (VmmVcpu *c, Gate *gate, const Event *e)
{
  static const VmmSegId data[] = { VMM_GS, VMM_FS, VMM_DS, VMM_ES };
  unsigned dpl = vmm_desc_dpl (&gate->code);
  uint16_t error = gate->selector & 0xfffc;
  bool inner = !vmm_desc_is_conforming (&gate->code) && dpl < c->cpl, v86 = vmm_v86 (c);
  unsigned cpl = inner ? dpl : c->cpl;
  if (v86 && (!inner || dpl != 0))
    vmm_raise_error (c, EX_GP, error);
  VmmStack stack = inner ? vmm_stack_inner (c, dpl) : vmm_stack_current (c);
  VmmSegment cs = vmm_segment_from (&gate->code, vmm_selector_rpl (gate->selector, cpl));
  if (gate->offset > cs.limit)
    vmm_gp0 (c);
  for (unsigned i = 0; v86 && i < 4; i++)
    vmm_stack_push (c, &stack, c->seg[data[i]].selector, gate->o16);
  if (inner)
    {
      vmm_stack_push (c, &stack, c->seg[VMM_SS].selector, gate->o16);
      vmm_stack_push (c, &stack, c->gpr[VMM_ESP], gate->o16);
    }
  push_frame (c, &stack, e, gate->o16);
  vmm_descriptor_accessed (c, &gate->code);
  cs.flags |= SEG_A;
  for (unsigned i = 0; v86 && i < 4; i++)
    c->seg[data[i]] = vmm_segment_null (0);
  vmm_stack_commit (c, &stack);
  c->seg[VMM_CS] = cs;
  c->cpl = (uint8_t) cpl;
  enter_handler (c, gate->offset, FL_TF | FL_VM | FL_RF | FL_NT | (gate->trap ? 0 : FL_IF));
}

static void
to_task (VmmVcpu *c, uint16_t selector, const Event *e)
{
  c->eflags = e->flags; /* RF as a fault leaves it; the outgoing task resumes with it */
  c->step = false;
  vmm_task_switch (c, selector, VMM_TASK_GATE, e->eip, e->has_error, e->error);
}

static void
deliver_protected (VmmVcpu *c, const Event *e)
{
  uint32_t at = e->vector * 8u, error = at + 2;
  VmmDescriptor d;
  Gate gate;
  if (at + 7 > c->idt_limit)
    vmm_raise_error (c, EX_GP, error);
  d.low = vmm_read_linear32 (c, c->idt_base + at, false);
  d.high = vmm_read_linear32 (c, c->idt_base + at + 4, false);
  unsigned type = vmm_desc_type (&d);
  if (type != VMM_TYPE_TASK_GATE && type != VMM_TYPE_INT16 && type != VMM_TYPE_TRAP16
      && type != VMM_TYPE_INT32 && type != VMM_TYPE_TRAP32)
    vmm_raise_error (c, EX_GP, error);
  if (e->software && vmm_desc_dpl (&d) < c->cpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  gate.selector = (uint16_t) (d.low >> 16);
  if (type == VMM_TYPE_TASK_GATE)
    {
      to_task (c, gate.selector, e);
      return;
    }
  gate.o16 = !(type & 8);
  gate.trap = type & 1;
  gate.offset = (d.low & 0xffff) | (gate.o16 ? 0 : d.high & 0xffff0000u);
  if (!(gate.selector & 0xfffc))
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, gate.selector, EX_GP, &gate.code);
  if (!vmm_desc_is_code (&gate.code) || vmm_desc_dpl (&gate.code) > c->cpl)
    vmm_raise_error (c, EX_GP, gate.selector & 0xfffc);
  if (!vmm_desc_present (&gate.code))
    vmm_raise_error (c, EX_NP, gate.selector & 0xfffc);
  through_gate (c, &gate, e);
}

static void
deliver (VmmVcpu *c, const Event *e)
{
  if (c->cr0 & CR0_PE)
    deliver_protected (c, e);
  else
    deliver_real (c, e);
}

/* ---- v86 mode with VME: INT n to the handler of the 8086 program ---- */

/* Does the TSS's redirection bitmap leave this vector to the program? */
static bool
redirected (VmmVcpu *c, uint8_t vector)
{
  if (!(c->cr4 & CR4_VME) || !vmm_is_tss32 (&c->tr) || c->tr.limit < 103)
    return false;
  uint32_t at = vmm_read_linear16 (c, c->tr.base + 102, false);
  if (at < 32 || at - 32 + vector / 8 > c->tr.limit)
    return false;
  uint8_t map = vmm_read_linear8 (c, c->tr.base + at - 32 + vector / 8, false);
  return !(map >> (vector & 7) & 1);
}

static void
deliver_v86 (VmmVcpu *c, uint8_t vector, uint32_t return_eip)
{
  VmmStack stack = vmm_stack_current (c);
  bool virtual_if = (c->eflags & FL_IOPL) != FL_IOPL;
  uint32_t flags = c->eflags;
  if (virtual_if)
    flags = (flags & ~FL_IF) | FL_IOPL | (flags & FL_VIF ? FL_IF : 0);
  uint16_t ip = vmm_read_linear16 (c, vector * 4u, false);
  uint16_t cs = vmm_read_linear16 (c, vector * 4u + 2, false);
  vmm_stack_push (c, &stack, flags, true);
  vmm_stack_push (c, &stack, c->seg[VMM_CS].selector, true);
  vmm_stack_push (c, &stack, return_eip, true);
  c->gpr[VMM_ESP] = stack.sp;
  c->seg[VMM_CS] = vmm_segment_v86 (cs);
  enter_handler (c, ip, FL_TF | FL_RF | (virtual_if ? FL_VIF : FL_IF));
}

/* ---- Events ---- */

static void
begin (VmmVcpu *c, uint8_t vector, bool exception, bool external)
{
  c->delivering = true;
  c->delivering_vector = vector;
  c->delivering_exception = exception;
  c->external = external;
}

static void
end (VmmVcpu *c)
{
  c->delivering = c->delivering_exception = c->external = false;
}

void
vmm_software_exception (VmmVcpu *c, uint8_t vector, uint32_t return_eip)
{
  Event e = { .vector = vector, .software = true, .eip = return_eip, .flags = c->eflags };
  c->stat.interrupts++;
  begin (c, vector, false, false);
  deliver (c, &e);
  end (c);
}

void
vmm_software_interrupt (VmmVcpu *c, uint8_t vector, uint32_t return_eip, bool icebp)
{
  if (icebp)
    {
      Event e = { .vector = vector, .eip = return_eip, .flags = c->eflags };
      begin (c, vector, true, true);
      deliver (c, &e);
      end (c);
      return;
    }
  if (vmm_v86 (c))
    {
      if (redirected (c, vector))
        {
          c->stat.interrupts++;
          deliver_v86 (c, vector, return_eip);
          return;
        }
      if ((c->eflags & FL_IOPL) != FL_IOPL)
        vmm_gp0 (c);
    }
  vmm_software_exception (c, vector, return_eip);
}

void
vmm_external_interrupt (VmmVcpu *c, uint8_t vector, bool nmi)
{
  Event e = { .vector = vector, .eip = c->eip, .flags = c->eflags };
  c->stat.interrupts++;
  if (nmi)
    c->nmi_blocked = true;
  begin (c, vector, false, true);
  deliver (c, &e);
  end (c);
}

/* 0 benign, 1 contributory, 2 page fault. */
static int
fault_class (uint8_t vector)
{
  switch (vector)
    {
    case EX_PF: return 2;
    case EX_DE:
    case EX_TS:
    case EX_NP:
    case EX_SS:
    case EX_GP: return 1;
    default: return 0;
    }
}

/* What a fault during the delivery of another becomes: the second, #DF, or -1 for shutdown. */
static int
combine (const VmmVcpu *c, uint8_t second)
{
  int first_class = fault_class (c->delivering_vector), second_class = fault_class (second);
  if (!c->delivering || !c->delivering_exception || second_class == 0)
    return second;
  if (c->delivering_vector == EX_DF)
    return -1;
  if (first_class == 2 || (first_class == 1 && second_class == 1))
    return EX_DF;
  return second;
}

static void
enter_debug (VmmVcpu *c, uint32_t dr6)
{
  c->dr[6] |= dr6 | c->debug_hits;
  c->dr[7] &= ~0x2000u; /* GD */
}

void
vmm_deliver_fault (VmmVcpu *c)
{
  Event e = {
    .vector = c->fault.vector,
    .has_error = c->fault.has_error,
    .error = c->fault.error,
    .eip = c->eip,
    .flags = c->eflags | FL_RF,
  };
  int vector = combine (c, e.vector);
  c->stat.faults++;
  if (e.vector == EX_PF)
    c->cr2 = c->fault.cr2;
  if (vector < 0)
    {
      vmm_shut_down (c);
      return;
    }
  if (vector != e.vector)
    {
      e.vector = (uint8_t) vector;
      e.has_error = true;
      e.error = 0;
    }
  if (e.vector == EX_DB)
    {
      /* A fault-like #DB (code breakpoint, GD) leaves it to its handler to set RF. */
      e.flags = c->eflags;
      enter_debug (c, 0);
    }
  c->debug_hits = 0;
  c->inhibit = 0;
  begin (c, e.vector, true, true);
  deliver (c, &e);
  end (c);
}

void
vmm_debug_trap (VmmVcpu *c, uint32_t dr6)
{
  Event e = { .vector = EX_DB, .eip = c->eip, .flags = c->eflags };
  enter_debug (c, dr6);
  c->debug_hits = 0;
  if (c->activity == VMM_HALTED)
    c->activity = VMM_ACTIVE;
  begin (c, EX_DB, true, true);
  deliver (c, &e);
  end (c);
}
