/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE.  ESP is written last, so that a fault leaves
 * it.
 *
 * The "flat" forms are chosen when the stack segment is flat and 32 bits wide and the operand is
 * too.
 */
#include "insn.h"

/* ---- PUSH ---- */

#define PUSH_SIZES(name, value16, value32)                                                         \
  static void name##16(VmmVcpu * c, const VmmInsn *i) { vmm_push (c, value16, true); }             \
  VMM_GENERAL void name##32(VmmVcpu * c, const VmmInsn *i) { vmm_push (c, value32, false); }
#define PUSH_FLAT(name, value)                                                                     \
  static void name##32flat(VmmVcpu * c, const VmmInsn *i)                                          \
  {                                                                                                \
    uint32_t sp = c->gpr[VMM_ESP] - 4;                                                             \
    VmmMem32 *p = (VmmMem32 *) vmm_flat_for_write (c, sp, 4);                                      \
    if (VMM_UNLIKELY (p == NULL))                                                                  \
      {                                                                                            \
        name##32(c, i);                                                                            \
        return;                                                                                    \
      }                                                                                            \
    *p = value;                                                                                    \
    c->gpr[VMM_ESP] = sp;                                                                          \
  }
PUSH_SIZES (push_r, c->gpr[i->reg], c->gpr[i->reg])
PUSH_FLAT (push_r, c->gpr[i->reg])
PUSH_SIZES (push_i, i->imm, i->imm)
PUSH_FLAT (push_i, i->imm)
PUSH_SIZES (push_rm, vmm_load_rm16 (c, i), vmm_load_rm32 (c, i))

static void
push_rm32flat (VmmVcpu *c, const VmmInsn *i)
{
  VMM_FLAT (from, VmmMem32, read, push_rm32)
  uint32_t sp = c->gpr[VMM_ESP] - 4, v = *from;
  VmmMem32 *p = (VmmMem32 *) vmm_flat_for_write (c, sp, 4);
  if (VMM_UNLIKELY (p == NULL || !c->stack32))
    {
      push_rm32 (c, i);
      return;
    }
  *p = v;
  c->gpr[VMM_ESP] = sp;
}

#define STACK_FORMS(name)                                                                          \
  { NULL, name##16, name##32 }, { NULL, name##16, name##32 }
const VmmForms vmm_push_r = { STACK_FORMS (push_r), { NULL, push_r16, push_r32flat } };
const VmmForms vmm_push_i = { STACK_FORMS (push_i), { NULL, push_i16, push_i32flat } };
const VmmForms vmm_push_rm = { STACK_FORMS (push_rm), { NULL, push_rm16, push_rm32flat } };

void
vmm_op_push_segment (VmmVcpu *c, const VmmInsn *i)
{
  vmm_push (c, c->seg[i->reg].selector, vmm_o16 (i));
}

/* ---- POP ---- */

static void
pop_r16 (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t v = vmm_stack_at (c, 0, true);
  vmm_set_sp (c, c->gpr[VMM_ESP] + 2);
  vmm_set16 (c, i->reg, (uint16_t) v);
}

VMM_GENERAL void
pop_r32 (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t v = vmm_stack_at (c, 0, false);
  vmm_set_sp (c, c->gpr[VMM_ESP] + 4);
  c->gpr[i->reg] = v;
}

static void
pop_r32flat (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t sp = c->gpr[VMM_ESP];
  VmmMem32 *p = (VmmMem32 *) vmm_flat_for_read (c, sp, 4);
  if (VMM_UNLIKELY (p == NULL))
    {
      pop_r32 (c, i);
      return;
    }
  c->gpr[VMM_ESP] = sp + 4;
  c->gpr[i->reg] = *p;
}

const VmmForms vmm_pop_r = { STACK_FORMS (pop_r), { NULL, pop_r16, pop_r32flat } };

/* The stack pointer after `n` more bytes were popped. */
static uint32_t
popped (const VmmVcpu *c, uint32_t n)
{
  uint32_t mask = vmm_stack_mask (c), esp = c->gpr[VMM_ESP];
  return (esp & ~mask) | ((esp + n) & mask);
}

/* An address based on ESP counts from after the pop. */
void
vmm_op_pop_rm (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  uint32_t v = vmm_stack_at (c, 0, o16), esp = popped (c, o16 ? 2 : 4);
  if (i->flags & VMM_INSN_MEM)
    {
      uint32_t ea = vmm_ea (c, i);
      if (i->base == VMM_ESP)
        ea += esp - c->gpr[VMM_ESP];
      if (o16)
        vmm_write16 (c, i->segment, ea, (uint16_t) v);
      else
        vmm_write32 (c, i->segment, ea, v);
      c->gpr[VMM_ESP] = esp;
    }
  else
    {
      c->gpr[VMM_ESP] = esp;
      if (o16)
        vmm_set16 (c, i->rm, (uint16_t) v);
      else
        c->gpr[i->rm] = v;
    }
}

/* POP SS holds off interrupts and traps for one instruction. */
void
vmm_op_pop_segment (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  uint32_t v = vmm_stack_at (c, 0, o16), esp = popped (c, o16 ? 2 : 4);
  vmm_load_segment (c, i->reg, (uint16_t) v);
  c->gpr[VMM_ESP] = esp;
  if (i->reg == VMM_SS)
    c->inhibit |= VMM_INHIBIT_SS;
}

/* ---- PUSHA, POPA ---- */

void
vmm_op_pusha (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  uint32_t n = o16 ? 2 : 4, mask = vmm_stack_mask (c), sp = c->gpr[VMM_ESP], at[8];
  for (unsigned r = 0; r < 8; r++)
    {
      uint32_t offset = (sp - (r + 1) * n) & mask;
      at[r] = vmm_linear (c, VMM_SS, offset, n, VMM_CAN_WRITE);
      vmm_probe_write (c, at[r], n, c->user);
    }
  for (unsigned r = 0; r < 8; r++)
    if (o16)
      vmm_write_linear16 (c, at[r], (uint16_t) c->gpr[r], c->user);
    else
      vmm_write_linear32 (c, at[r], c->gpr[r], c->user);
  vmm_set_sp (c, sp - 8 * n);
}

void
vmm_op_popa (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  uint32_t n = o16 ? 2 : 4, v[8];
  for (unsigned r = 8; r-- > 0;)
    v[r] = vmm_stack_at (c, (7 - r) * n, o16);
  uint32_t esp = popped (c, 8 * n);
  for (unsigned r = 0; r < 8; r++)
    if (r == VMM_ESP)
      c->gpr[r] = esp;
    else if (o16)
      vmm_set16 (c, r, (uint16_t) v[r]);
    else
      c->gpr[r] = v[r];
}

/* ---- PUSHF, POPF ---- */

/* In virtual-8086 mode with IOPL < 3 the 16-bit forms work on VIF if VME is on. */
static bool
flags_are_virtual (VmmVcpu *c, bool o16)
{
  if (!(c->eflags & FL_VM) || vmm_iopl (c) == 3)
    return false;
  if (!(c->cr4 & CR4_VME) || !o16)
    vmm_gp0 (c);
  return true;
}

void
vmm_op_pushf (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t image = c->eflags & ~(FL_VM | FL_RF);
  if (flags_are_virtual (c, vmm_o16 (i)))
    image = (image & ~FL_IF) | FL_IOPL | (c->eflags & FL_VIF ? FL_IF : 0);
  vmm_push (c, image, vmm_o16 (i));
}

#define FL_POPPED (FL_ARITH | FL_TF | FL_DF | FL_NT)

void
vmm_op_popf (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i), is_virtual = flags_are_virtual (c, o16);
  uint32_t v = vmm_stack_at (c, 0, o16), mask = FL_POPPED;
  if (is_virtual)
    {
      if ((v & FL_TF) || ((c->eflags & FL_VIP) && (v & FL_IF)))
        vmm_gp0 (c);
      mask |= FL_VIF;
      v = (v & ~FL_VIF) | (v & FL_IF ? FL_VIF : 0);
    }
  else
    {
      if (c->cpl == 0)
        mask |= FL_IOPL;
      if (c->cpl <= vmm_iopl (c))
        mask |= FL_IF;
      if (!o16)
        mask |= FL_AC | FL_ID | FL_RF;
    }
  vmm_set_sp (c, c->gpr[VMM_ESP] + (o16 ? 2 : 4));
  c->eflags = (c->eflags & ~mask) | (v & mask & ~FL_RF);
}

/* ---- ENTER, LEAVE ---- */

/* Pushes on a stack whose pointer is not yet the guest's. */
static void
push_at (VmmVcpu *c, uint32_t *sp, uint32_t v, bool o16)
{
  *sp = (*sp - (o16 ? 2 : 4)) & vmm_stack_mask (c);
  if (o16)
    vmm_write16 (c, VMM_SS, *sp, (uint16_t) v);
  else
    vmm_write32 (c, VMM_SS, *sp, v);
}

void
vmm_op_enter (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  unsigned level = i->imm2 & 31;
  uint32_t n = o16 ? 2 : 4, mask = vmm_stack_mask (c), sp = c->gpr[VMM_ESP] & mask;
  uint32_t bp = c->gpr[VMM_EBP];
  push_at (c, &sp, bp, o16);
  uint32_t frame = (c->gpr[VMM_ESP] & ~mask) | sp;
  for (unsigned l = 1; l < level; l++)
    {
      bp -= n;
      uint32_t v = o16 ? vmm_read16 (c, VMM_SS, bp & mask) : vmm_read32 (c, VMM_SS, bp & mask);
      push_at (c, &sp, v, o16);
    }
  if (level > 0)
    push_at (c, &sp, frame, o16);
  sp = (sp - i->imm) & mask;
  /* The processor touches the new top as if it wrote there. */
  vmm_probe_write (c, vmm_linear (c, VMM_SS, sp, n, VMM_CAN_WRITE), n, c->user);
  if (o16)
    vmm_set16 (c, VMM_EBP, (uint16_t) frame);
  else
    c->gpr[VMM_EBP] = frame;
  vmm_set_sp (c, sp);
}

void
vmm_op_leave (VmmVcpu *c, const VmmInsn *i)
{
  bool o16 = vmm_o16 (i);
  uint32_t bp = c->gpr[VMM_EBP] & vmm_stack_mask (c);
  uint32_t v = o16 ? vmm_read16 (c, VMM_SS, bp) : vmm_read32 (c, VMM_SS, bp);
  vmm_set_sp (c, bp + (o16 ? 2 : 4));
  if (o16)
    vmm_set16 (c, VMM_EBP, (uint16_t) v);
  else
    c->gpr[VMM_EBP] = v;
}

static void
leave32flat (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t bp = c->gpr[VMM_EBP];
  VmmMem32 *p = (VmmMem32 *) vmm_flat_for_read (c, bp, 4);
  if (VMM_UNLIKELY (p == NULL))
    {
      vmm_op_leave (c, i);
      return;
    }
  c->gpr[VMM_ESP] = bp + 4;
  c->gpr[VMM_EBP] = *p;
}

const VmmForms vmm_leave_forms = { { NULL, vmm_op_leave, vmm_op_leave },
                                   { NULL, vmm_op_leave, vmm_op_leave },
                                   { NULL, vmm_op_leave, leave32flat } };
