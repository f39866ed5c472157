/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Far transfers: JMP, CALL, RET, IRET to another code segment, call gates, SYSENTER and SYSEXIT
 * (Intel SDM vol. 2, the operation sections; vol. 3 section 5.8).
 *
 * Each first reads and checks all it needs, then writes to the stack, then commits registers; a
 * fault on the way leaves the registers as they were.  Memory below the stack pointer may have been
 * written by then, as on the processor itself.
 */
#include "system.h"

static void
go (VmmVcpu *c, uint32_t eip)
{
  c->eip = eip;
  c->branched = true;
  vmm_mode_changed (c);
}

static void
jump_real (VmmVcpu *c, uint16_t selector, uint32_t offset)
{
  if (offset > c->seg[VMM_CS].limit)
    vmm_gp0 (c);
  vmm_load_segment_real (c, VMM_CS, selector);
  go (c, offset);
}

/* ---- Checks of code segments ---- */

/* A code segment that JMP or CALL may enter without a gate; returns it with RPL = CPL. */
static VmmSegment
enter_code (VmmVcpu *c, VmmDescriptor *d, uint16_t selector, uint32_t offset)
{
  uint16_t error = selector & 0xfffc;
  unsigned dpl = vmm_desc_dpl (d);
  if (vmm_desc_is_conforming (d) ? dpl > c->cpl : (selector & 3u) > c->cpl || dpl != c->cpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (d))
    vmm_raise_error (c, EX_NP, error);
  VmmSegment cs = vmm_segment_from (d, vmm_selector_rpl (selector, c->cpl));
  if (offset > cs.limit)
    vmm_gp0 (c);
  vmm_descriptor_accessed (c, d);
  cs.flags |= SEG_A;
  return cs;
}

/* A code segment that RET or IRET returns to, at the RPL of the selector. */
static VmmSegment
return_code (VmmVcpu *c, uint16_t selector, uint32_t offset)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  unsigned rpl = selector & 3;
  if (!error)
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if (!vmm_desc_is_code (&d) || rpl < c->cpl)
    vmm_raise_error (c, EX_GP, error);
  if (vmm_desc_is_conforming (&d) ? vmm_desc_dpl (&d) > rpl : vmm_desc_dpl (&d) != rpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  VmmSegment cs = vmm_segment_from (&d, selector);
  if (offset > cs.limit)
    vmm_gp0 (c);
  vmm_descriptor_accessed (c, &d);
  cs.flags |= SEG_A;
  return cs;
}

/* The stack segment that goes with a return to privilege `cpl`. */
static VmmSegment
return_stack (VmmVcpu *c, uint16_t selector, unsigned cpl)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if ((selector & 3u) != cpl || !vmm_desc_is_writable_data (&d) || vmm_desc_dpl (&d) != cpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_SS, error);
  vmm_descriptor_accessed (c, &d);
  return vmm_segment_from (&d, selector);
}

/* Segments that the outer level may not use are made null. */
static void
forget_inner_segments (VmmVcpu *c)
{
  static const VmmSegId data[] = { VMM_ES, VMM_DS, VMM_FS, VMM_GS };
  for (unsigned i = 0; i < 4; i++)
    {
      VmmSegment *s = &c->seg[data[i]];
      unsigned dpl = (s->flags & SEG_DPL) >> SEG_DPL_SHIFT;
      bool conforming = (s->flags & (SEG_S | SEG_CODE | SEG_EC)) == (SEG_S | SEG_CODE | SEG_EC);
      if (s->flags && dpl < c->cpl && !conforming)
        *s = vmm_segment_null (0);
    }
}

/* ---- Gates ---- */

typedef struct {
  uint16_t selector;
  uint32_t offset;
  bool o16;
  unsigned parameters;
  VmmDescriptor code;
} CallGate;

static bool
is_call_gate (const VmmDescriptor *d)
{
  return vmm_desc_type (d) == VMM_TYPE_CALL16 || vmm_desc_type (d) == VMM_TYPE_CALL32;
}

/* Rights to a gate or TSS by its own selector: #GP; presence: #NP. */
static void
check_system (VmmVcpu *c, const VmmDescriptor *d, uint16_t selector)
{
  if (vmm_desc_dpl (d) < c->cpl || vmm_desc_dpl (d) < (selector & 3u))
    vmm_raise_error (c, EX_GP, selector & 0xfffc);
  if (!vmm_desc_present (d))
    vmm_raise_error (c, EX_NP, selector & 0xfffc);
}

static void
open_gate (VmmVcpu *c, const VmmDescriptor *d, uint16_t selector, CallGate *gate)
{
  check_system (c, d, selector);
  gate->o16 = vmm_desc_type (d) == VMM_TYPE_CALL16;
  gate->selector = (uint16_t) (d->low >> 16);
  gate->offset = (d->low & 0xffff) | (gate->o16 ? 0 : d->high & 0xffff0000u);
  gate->parameters = d->high & 0x1f;
  uint16_t error = gate->selector & 0xfffc;
  if (!error)
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, gate->selector, EX_GP, &gate->code);
  if (!vmm_desc_is_code (&gate->code) || vmm_desc_dpl (&gate->code) > c->cpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&gate->code))
    vmm_raise_error (c, EX_NP, error);
}

/* A far transfer to something that is neither code nor call gate: a task, or #GP. */
static void
to_task (VmmVcpu *c, VmmDescriptor *d, uint16_t selector, VmmTaskSource source, uint32_t next_eip)
{
  switch (vmm_desc_type (d))
    {
    case VMM_TYPE_TASK_GATE:
      check_system (c, d, selector);
      vmm_task_switch (c, (uint16_t) (d->low >> 16), source, next_eip, false, 0);
      break;
    case VMM_TYPE_TSS16:
    case VMM_TYPE_TSS32:
      check_system (c, d, selector);
      vmm_task_switch (c, selector, source, next_eip, false, 0);
      break;
    default: vmm_raise_error (c, EX_GP, selector & 0xfffc);
    }
}

/* ---- JMP ---- */

void
vmm_far_jump (VmmVcpu *c, uint16_t selector, uint32_t offset, bool o16, uint32_t next_eip)
{
  VmmDescriptor d;
  CallGate gate;
  if (o16)
    offset &= 0xffff;
  if (!vmm_protected (c))
    {
      jump_real (c, selector, offset);
      return;
    }
  if (!(selector & 0xfffc))
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if (vmm_desc_is_code (&d))
    {
      c->seg[VMM_CS] = enter_code (c, &d, selector, offset);
      go (c, offset);
    }
  else if (is_call_gate (&d))
    {
      open_gate (c, &d, selector, &gate);
      /* Through a gate the RPL of its selector does not count. */
      c->seg[VMM_CS] = enter_code (c, &gate.code, gate.selector & 0xfffc, gate.offset);
      go (c, gate.offset);
    }
  else
    to_task (c, &d, selector, VMM_TASK_JUMP, next_eip);
}

/* ---- CALL ---- */

static void
call_same_level (VmmVcpu *c, const VmmSegment *cs, uint32_t offset, bool o16, uint32_t return_eip)
{
  VmmStack stack = vmm_stack_current (c);
  vmm_stack_push (c, &stack, c->seg[VMM_CS].selector, o16);
  vmm_stack_push (c, &stack, return_eip, o16);
  c->gpr[VMM_ESP] = stack.sp;
  c->seg[VMM_CS] = *cs;
  go (c, offset);
}

/* Reads `count` parameters from the current stack, topmost last in the array. */
static void
read_parameters (VmmVcpu *c, uint32_t *to, unsigned count, bool o16)
{
  for (unsigned i = 0; i < count; i++)
    to[i] = vmm_stack_at (c, i * (o16 ? 2 : 4), o16);
}

static void
call_inner (VmmVcpu *c, CallGate *gate, uint32_t return_eip)
{
  uint32_t parameters[31];
  unsigned cpl = vmm_desc_dpl (&gate->code);
  VmmStack stack = vmm_stack_inner (c, cpl);
  VmmSegment cs = vmm_segment_from (&gate->code, vmm_selector_rpl (gate->selector, cpl));
  if (gate->offset > cs.limit)
    vmm_gp0 (c);
  read_parameters (c, parameters, gate->parameters, gate->o16);
  vmm_stack_push (c, &stack, c->seg[VMM_SS].selector, gate->o16);
  vmm_stack_push (c, &stack, c->gpr[VMM_ESP], gate->o16);
  for (unsigned i = gate->parameters; i-- > 0;)
    vmm_stack_push (c, &stack, parameters[i], gate->o16);
  vmm_stack_push (c, &stack, c->seg[VMM_CS].selector, gate->o16);
  vmm_stack_push (c, &stack, return_eip, gate->o16);
  vmm_descriptor_accessed (c, &gate->code);
  cs.flags |= SEG_A;
  vmm_stack_commit (c, &stack);
  c->seg[VMM_CS] = cs;
  c->cpl = (uint8_t) cpl;
  go (c, gate->offset);
}

static void
call_gate (VmmVcpu *c, const VmmDescriptor *d, uint16_t selector, uint32_t return_eip)
{
  CallGate gate;
  open_gate (c, d, selector, &gate);
  if (!vmm_desc_is_conforming (&gate.code) && vmm_desc_dpl (&gate.code) < c->cpl)
    call_inner (c, &gate, return_eip);
  else
    {
      VmmSegment cs = enter_code (c, &gate.code, gate.selector & 0xfffc, gate.offset);
      call_same_level (c, &cs, gate.offset, gate.o16, return_eip);
    }
}

static void
call_real (VmmVcpu *c, uint16_t selector, uint32_t offset, bool o16, uint32_t return_eip)
{
  VmmStack stack = vmm_stack_current (c);
  if (offset > c->seg[VMM_CS].limit)
    vmm_gp0 (c);
  vmm_stack_push (c, &stack, c->seg[VMM_CS].selector, o16);
  vmm_stack_push (c, &stack, return_eip, o16);
  c->gpr[VMM_ESP] = stack.sp;
  jump_real (c, selector, offset);
}

void
vmm_far_call (VmmVcpu *c, uint16_t selector, uint32_t offset, bool o16, uint32_t return_eip)
{
  VmmDescriptor d;
  if (o16)
    offset &= 0xffff;
  if (!vmm_protected (c))
    {
      call_real (c, selector, offset, o16, return_eip);
      return;
    }
  if (!(selector & 0xfffc))
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if (vmm_desc_is_code (&d))
    {
      VmmSegment cs = enter_code (c, &d, selector, offset);
      call_same_level (c, &cs, offset, o16, return_eip);
    }
  else if (is_call_gate (&d))
    call_gate (c, &d, selector, return_eip);
  else
    to_task (c, &d, selector, VMM_TASK_CALL, return_eip);
}

/* ---- RET ---- */

/* ESP after a return to an outer stack; a 16-bit one leaves the upper half as it was. */
static void
set_outer_stack (VmmVcpu *c, const VmmSegment *ss, uint32_t sp)
{
  c->seg[VMM_SS] = *ss;
  if (ss->flags & SEG_DB)
    c->gpr[VMM_ESP] = sp;
  else
    c->gpr[VMM_ESP] = (c->gpr[VMM_ESP] & 0xffff0000u) | (sp & 0xffff);
}

static void
return_outer (VmmVcpu *c, const VmmSegment *cs, uint32_t eip, uint32_t release, bool o16)
{
  unsigned cpl = cs->selector & 3, size = o16 ? 2 : 4;
  uint32_t sp = vmm_stack_at (c, size * 2 + release, o16);
  uint16_t selector = (uint16_t) vmm_stack_at (c, size * 3 + release, o16);
  VmmSegment ss = return_stack (c, selector, cpl);
  set_outer_stack (c, &ss, sp + release);
  c->seg[VMM_CS] = *cs;
  c->cpl = (uint8_t) cpl;
  forget_inner_segments (c);
  go (c, eip);
}

void
vmm_far_return (VmmVcpu *c, uint32_t release, bool o16)
{
  unsigned size = o16 ? 2 : 4;
  uint32_t eip = vmm_stack_at (c, 0, o16);
  uint16_t selector = (uint16_t) vmm_stack_at (c, size, o16);
  if (!vmm_protected (c))
    {
      if (eip > c->seg[VMM_CS].limit)
        vmm_gp0 (c);
      vmm_set_sp (c, c->gpr[VMM_ESP] + size * 2 + release);
      jump_real (c, selector, eip);
      return;
    }
  VmmSegment cs = return_code (c, selector, eip);
  if ((selector & 3) > c->cpl)
    {
      return_outer (c, &cs, eip, release, o16);
      return;
    }
  vmm_set_sp (c, c->gpr[VMM_ESP] + size * 2 + release);
  c->seg[VMM_CS] = cs;
  go (c, eip);
}

/* ---- IRET ---- */

#define IRET_LOW                                                                                   \
  (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_TF | FL_IF | FL_DF | FL_OF | FL_IOPL | FL_NT)

/* v86 mode with IOPL < 3 and VME: IF is exchanged with VIF, 16-bit operands only. */
static void
iret_virtual (VmmVcpu *c)
{
  uint32_t eip = vmm_stack_at (c, 0, true), flags = vmm_stack_at (c, 4, true);
  uint16_t selector = (uint16_t) vmm_stack_at (c, 2, true);
  if (((flags & FL_IF) && (c->eflags & FL_VIP)) || (flags & FL_TF))
    vmm_gp0 (c);
  vmm_set_sp (c, c->gpr[VMM_ESP] + 6);
  vmm_set_eflags (c, flags | (flags & FL_IF ? FL_VIF : 0), (IRET_LOW & ~FL_IF) | FL_VIF | FL_RF);
  jump_real (c, selector, eip);
}

static void
iret_real (VmmVcpu *c, bool o16)
{
  unsigned size = o16 ? 2 : 4;
  uint32_t eip = vmm_stack_at (c, 0, o16), flags = vmm_stack_at (c, size * 2, o16);
  uint16_t selector = (uint16_t) vmm_stack_at (c, size, o16);
  if (eip > c->seg[VMM_CS].limit)
    vmm_gp0 (c);
  vmm_set_sp (c, c->gpr[VMM_ESP] + size * 3);
  vmm_set_eflags (c, flags, IRET_LOW | FL_RF | (o16 ? 0 : FL_AC | FL_ID));
  jump_real (c, selector, eip);
}

static void
iret_to_v86 (VmmVcpu *c, uint32_t eip, uint16_t cs, uint32_t flags)
{
  static const VmmSegId order[] = { VMM_SS, VMM_ES, VMM_DS, VMM_FS, VMM_GS };
  uint32_t sp = vmm_stack_at (c, 12, false);
  uint16_t selector[5];
  for (unsigned i = 0; i < 5; i++)
    selector[i] = (uint16_t) vmm_stack_at (c, 16 + i * 4, false);
  if (eip > 0xffff)
    vmm_gp0 (c);
  c->eflags = (flags & FL_ALL) | FL_1;
  c->cpl = 3;
  c->gpr[VMM_ESP] = sp;
  c->seg[VMM_CS] = vmm_segment_v86 (cs);
  for (unsigned i = 0; i < 5; i++)
    c->seg[order[i]] = vmm_segment_v86 (selector[i]);
  go (c, eip);
}

static void
iret_protected (VmmVcpu *c, bool o16)
{
  unsigned size = o16 ? 2 : 4;
  uint32_t eip = vmm_stack_at (c, 0, o16), flags = vmm_stack_at (c, size * 2, o16);
  uint16_t selector = (uint16_t) vmm_stack_at (c, size, o16);
  uint32_t mask = IRET_LOW | FL_RF | (o16 ? 0 : FL_AC | FL_ID);
  if (!o16 && (flags & FL_VM) && c->cpl == 0)
    {
      iret_to_v86 (c, eip, selector, flags);
      return;
    }
  if (!o16 && c->cpl == 0)
    mask |= FL_VIF | FL_VIP;
  VmmSegment cs = return_code (c, selector, eip);
  if ((selector & 3) == c->cpl)
    {
      vmm_set_sp (c, c->gpr[VMM_ESP] + size * 3);
      c->seg[VMM_CS] = cs;
      vmm_set_eflags (c, flags, mask);
    }
  else
    {
      uint32_t sp = vmm_stack_at (c, size * 3, o16);
      uint16_t ss_selector = (uint16_t) vmm_stack_at (c, size * 4, o16);
      VmmSegment ss = return_stack (c, ss_selector, selector & 3);
      vmm_set_eflags (c, flags, mask); /* by the rights of the inner level */
      set_outer_stack (c, &ss, sp);
      c->seg[VMM_CS] = cs;
      c->cpl = selector & 3;
      forget_inner_segments (c);
    }
  go (c, eip);
}

void
vmm_iret (VmmVcpu *c, bool o16, uint32_t next_eip)
{
  c->nmi_blocked = false; /* even if this IRET faults */
  if (vmm_v86 (c))
    {
      if ((c->eflags & FL_IOPL) == FL_IOPL)
        iret_real (c, o16);
      else if (o16 && (c->cr4 & CR4_VME))
        iret_virtual (c);
      else
        vmm_gp0 (c);
    }
  else if (!(c->cr0 & CR0_PE))
    iret_real (c, o16);
  else if (c->eflags & FL_NT)
    {
      uint16_t link = vmm_read_linear16 (c, c->tr.base, false);
      vmm_task_switch (c, link, VMM_TASK_IRET, next_eip, false, 0);
    }
  else
    iret_protected (c, o16);
}

/* ---- SYSENTER, SYSEXIT ---- */

/* What vmm_segment_update () makes of 4 GiB that may be read, and written unless they are code. */
#define FLAT(code, dpl)                                                                            \
  {                                                                                                \
    .limit = 0xffffffffu, .high = 0xffffffffu,                                                     \
    .flags = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_DB | SEG_G | (dpl) << SEG_DPL_SHIFT              \
             | ((code) ? SEG_CODE : 0),                                                            \
    .can = VMM_CAN_READ | ((code) ? 0 : VMM_CAN_WRITE), .read_end = UINT64_MAX,                    \
    .write_end = (code) ? 0 : UINT64_MAX                                                           \
  }
static const VmmSegment flat_code[2] = { FLAT (1, 0), FLAT (1, 3) };
static const VmmSegment flat_data[2] = { FLAT (0, 0), FLAT (0, 3) };

static void
go_flat (VmmVcpu *c, uint16_t cs, bool user, uint32_t eip)
{
  c->cpl = user ? 3 : 0;
  c->seg[VMM_CS] = flat_code[user];
  c->seg[VMM_CS].selector = cs;
  c->seg[VMM_SS] = flat_data[user];
  c->seg[VMM_SS].selector = (uint16_t) (cs + 8);
  go (c, eip);
}

void
vmm_sysenter (VmmVcpu *c)
{
  uint16_t cs = (uint16_t) c->sysenter_cs & 0xfffc;
  if (!(c->cr0 & CR0_PE) || !cs)
    vmm_gp0 (c);
  c->eflags &= ~(FL_VM | FL_IF | FL_RF);
  c->gpr[VMM_ESP] = (uint32_t) c->sysenter_esp;
  go_flat (c, cs, false, (uint32_t) c->sysenter_eip);
}

void
vmm_sysexit (VmmVcpu *c)
{
  uint16_t cs = (uint16_t) c->sysenter_cs & 0xfffc;
  if (!(c->cr0 & CR0_PE) || c->cpl != 0 || vmm_v86 (c) || !cs)
    vmm_gp0 (c);
  c->gpr[VMM_ESP] = c->gpr[VMM_ECX];
  go_flat (c, (uint16_t) ((cs + 16) | 3), true, c->gpr[VMM_EDX]);
}
