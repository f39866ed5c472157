/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Branches, calls, returns, far transfers and software interrupts.
 *
 * The decoder puts the length into i->imm of relative branches: the target is c->eip + i->imm, cut
 * to 16 bits with a 16-bit operand size.
 */
#include "insn.h"

VMM_INLINE uint32_t
cut (uint32_t eip, bool o16)
{
  return o16 ? eip & 0xffff : eip;
}

/* ---- Jcc, LOOP, JCXZ ---- */

#define JCC(n)                                                                                     \
  static void jcc##n##_16 (VmmVcpu *c, const VmmInsn *i)                                           \
  {                                                                                                \
    if (vmm_condition (c->eflags, n))                                                              \
      vmm_branch (c, (c->eip + i->imm) & 0xffff);                                                  \
  }                                                                                                \
  static void jcc##n##_32 (VmmVcpu *c, const VmmInsn *i)                                           \
  {                                                                                                \
    if (vmm_condition (c->eflags, n))                                                              \
      vmm_branch (c, c->eip + i->imm);                                                             \
  }
#define JCC_FORMS(n)                                                                               \
  {                                                                                                \
    {                                                                                              \
      NULL, jcc##n##_16, jcc##n##_32                                                               \
    }                                                                                              \
  }
#define ALL(X, s)                                                                                  \
  X (0)                                                                                            \
  s X (1) s X (2) s X (3) s X (4) s X (5) s X (6) s X (7) s X (8) s X (9) s X (10) s X (11)        \
      s X (12) s X (13) s X (14) s X (15)
#define COMMA ,
ALL (JCC, )
const VmmForms vmm_jcc[16] = { ALL (JCC_FORMS, COMMA) };

static void
loop_if (VmmVcpu *c, const VmmInsn *i, bool condition)
{
  uint32_t mask = vmm_address_mask (i), count = (c->gpr[VMM_ECX] - 1) & mask;
  if (count != 0 && condition)
    vmm_branch (c, cut (c->eip + i->imm, vmm_o16 (i)));
  vmm_set_masked (c, VMM_ECX, count, mask);
}

void
vmm_op_loop (VmmVcpu *c, const VmmInsn *i)
{
  loop_if (c, i, true);
}

void
vmm_op_loope (VmmVcpu *c, const VmmInsn *i)
{
  loop_if (c, i, c->eflags & FL_ZF);
}

void
vmm_op_loopne (VmmVcpu *c, const VmmInsn *i)
{
  loop_if (c, i, !(c->eflags & FL_ZF));
}

void
vmm_op_jcxz (VmmVcpu *c, const VmmInsn *i)
{
  if ((c->gpr[VMM_ECX] & vmm_address_mask (i)) == 0)
    vmm_branch (c, cut (c->eip + i->imm, vmm_o16 (i)));
}

/* ---- JMP and CALL within the segment ---- */

static void
jmp_rel16 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_branch (c, (c->eip + i->imm) & 0xffff);
}

static void
jmp_rel32 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_branch (c, c->eip + i->imm);
}

static void
jmp_rm16 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_branch (c, vmm_load_rm16 (c, i));
}

VMM_GENERAL void
jmp_rm32 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_branch (c, vmm_load_rm32 (c, i));
}

/* The silicon pushes before it looks at the target, but keeps ESP if that is outside. */
VMM_INLINE void
call (VmmVcpu *c, const VmmInsn *i, uint32_t target, bool o16)
{
  uint32_t esp = c->gpr[VMM_ESP];
  vmm_push (c, vmm_next_eip (c, i), o16);
  if (VMM_UNLIKELY (target > c->seg[VMM_CS].limit))
    {
      c->gpr[VMM_ESP] = esp;
      vmm_gp0 (c);
    }
  vmm_branch (c, target);
}

VMM_INLINE bool
call_flat (VmmVcpu *c, const VmmInsn *i, uint32_t target)
{
  uint32_t sp = c->gpr[VMM_ESP] - 4;
  VmmMem32 *p = (VmmMem32 *) vmm_flat_for_write (c, sp, 4);
  if (VMM_UNLIKELY (p == NULL || target > c->seg[VMM_CS].limit))
    return false;
  *p = vmm_next_eip (c, i);
  c->gpr[VMM_ESP] = sp;
  c->eip = target;
  c->branched = true;
  return true;
}

static void
call_rel16 (VmmVcpu *c, const VmmInsn *i)
{
  call (c, i, (c->eip + i->imm) & 0xffff, true);
}

VMM_GENERAL void
call_rel32 (VmmVcpu *c, const VmmInsn *i)
{
  call (c, i, c->eip + i->imm, false);
}

static void
call_rel32flat (VmmVcpu *c, const VmmInsn *i)
{
  if (VMM_UNLIKELY (!call_flat (c, i, c->eip + i->imm)))
    call_rel32 (c, i);
}

static void
call_rm16 (VmmVcpu *c, const VmmInsn *i)
{
  call (c, i, vmm_load_rm16 (c, i), true);
}

VMM_GENERAL void
call_rm32 (VmmVcpu *c, const VmmInsn *i)
{
  call (c, i, vmm_load_rm32 (c, i), false);
}

static void
jmp_rm32flat (VmmVcpu *c, const VmmInsn *i)
{
  VMM_FLAT (p, VmmMem32, read, jmp_rm32)
  vmm_branch (c, *p);
}

/* Nothing is pushed before the target is read, so the general way may start anew. */
static void
call_rm32flat (VmmVcpu *c, const VmmInsn *i)
{
  VMM_FLAT (p, VmmMem32, read, call_rm32)
  if (VMM_UNLIKELY (!(c->stack32) || !call_flat (c, i, *p)))
    call_rm32 (c, i);
}

/* ---- RET ---- */

VMM_INLINE void
ret (VmmVcpu *c, uint32_t release, bool o16)
{
  uint32_t target = vmm_stack_at (c, 0, o16);
  vmm_branch (c, target);
  vmm_set_sp (c, c->gpr[VMM_ESP] + (o16 ? 2 : 4) + release);
}

VMM_INLINE bool
ret_flat (VmmVcpu *c, uint32_t release)
{
  uint32_t sp = c->gpr[VMM_ESP];
  VmmMem32 *p = (VmmMem32 *) vmm_flat_for_read (c, sp, 4);
  if (VMM_UNLIKELY (p == NULL || *p > c->seg[VMM_CS].limit))
    return false;
  c->eip = *p;
  c->gpr[VMM_ESP] = sp + 4 + release;
  c->branched = true;
  return true;
}

static void
ret16 (VmmVcpu *c, const VmmInsn *i)
{
  ret (c, 0, true);
}

VMM_GENERAL void
ret32 (VmmVcpu *c, const VmmInsn *i)
{
  ret (c, 0, false);
}

static void
ret32flat (VmmVcpu *c, const VmmInsn *i)
{
  if (VMM_UNLIKELY (!ret_flat (c, 0)))
    ret32 (c, i);
}

static void
ret_i16 (VmmVcpu *c, const VmmInsn *i)
{
  ret (c, i->imm, true);
}

VMM_GENERAL void
ret_i32 (VmmVcpu *c, const VmmInsn *i)
{
  ret (c, i->imm, false);
}

static void
ret_i32flat (VmmVcpu *c, const VmmInsn *i)
{
  if (VMM_UNLIKELY (!ret_flat (c, i->imm)))
    ret_i32 (c, i);
}

#define NEAR_FORMS(name, flat)                                                                     \
  {                                                                                                \
    { NULL, name##16, name##32 }, { NULL, name##16, name##32 }, { NULL, name##16, flat }           \
  }
const VmmForms vmm_jmp_rel = NEAR_FORMS (jmp_rel, jmp_rel32);
const VmmForms vmm_jmp_rm = NEAR_FORMS (jmp_rm, jmp_rm32flat);
const VmmForms vmm_call_rel = NEAR_FORMS (call_rel, call_rel32flat);
const VmmForms vmm_call_rm = NEAR_FORMS (call_rm, call_rm32flat);
const VmmForms vmm_ret = NEAR_FORMS (ret, ret32flat);
const VmmForms vmm_ret_i = NEAR_FORMS (ret_i, ret_i32flat);

/* ---- Far transfers ---- */

void
vmm_op_jmp_far (VmmVcpu *c, const VmmInsn *i)
{
  vmm_far_jump (c, i->imm2, i->imm, vmm_o16 (i), vmm_next_eip (c, i));
}

void
vmm_op_call_far (VmmVcpu *c, const VmmInsn *i)
{
  vmm_far_call (c, i->imm2, i->imm, vmm_o16 (i), vmm_next_eip (c, i));
}

/* A far pointer in memory: offset, then selector. */
static uint16_t
load_pointer (VmmVcpu *c, const VmmInsn *i, uint32_t *offset)
{
  uint32_t ea = vmm_ea (c, i);
  *offset = vmm_o16 (i) ? vmm_read16 (c, i->segment, ea) : vmm_read32 (c, i->segment, ea);
  ea = (ea + (vmm_o16 (i) ? 2 : 4)) & vmm_address_mask (i);
  return vmm_read16 (c, i->segment, ea);
}

void
vmm_op_jmp_far_m (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t offset;
  uint16_t selector = load_pointer (c, i, &offset);
  vmm_far_jump (c, selector, offset, vmm_o16 (i), vmm_next_eip (c, i));
}

void
vmm_op_call_far_m (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t offset;
  uint16_t selector = load_pointer (c, i, &offset);
  vmm_far_call (c, selector, offset, vmm_o16 (i), vmm_next_eip (c, i));
}

void
vmm_op_ret_far (VmmVcpu *c, const VmmInsn *i)
{
  vmm_far_return (c, i->imm, vmm_o16 (i));
}

void
vmm_op_iret (VmmVcpu *c, const VmmInsn *i)
{
  vmm_iret (c, vmm_o16 (i), vmm_next_eip (c, i));
}

/* LES LDS LSS LFS LGS. */
void
vmm_op_load_far_pointer (VmmVcpu *c, const VmmInsn *i)
{
  static const uint8_t segment[256]
      = { [0xc4] = VMM_ES, [0xc5] = VMM_DS, [0xb2] = VMM_SS, [0xb4] = VMM_FS, [0xb5] = VMM_GS };
  uint32_t offset;
  uint16_t selector = load_pointer (c, i, &offset);
  vmm_load_segment (c, segment[i->opcode], selector);
  if (vmm_o16 (i))
    vmm_set16 (c, i->reg, (uint16_t) offset);
  else
    c->gpr[i->reg] = offset;
}

/* ---- Interrupts ---- */

void
vmm_op_int3 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_software_exception (c, EX_BP, vmm_next_eip (c, i));
}

void
vmm_op_icebp (VmmVcpu *c, const VmmInsn *i)
{
  vmm_software_interrupt (c, EX_DB, vmm_next_eip (c, i), true);
}

void
vmm_op_into (VmmVcpu *c, const VmmInsn *i)
{
  if (c->eflags & FL_OF)
    vmm_software_exception (c, EX_OF, vmm_next_eip (c, i));
}

void
vmm_op_int_n (VmmVcpu *c, const VmmInsn *i)
{
  vmm_software_interrupt (c, (uint8_t) i->imm, vmm_next_eip (c, i), false);
}

/* The index is signed and must lie within two bounds in memory. */
void
vmm_op_bound (VmmVcpu *c, const VmmInsn *i)
{
  /* The upper bound is not read if the index is below the lower one. */
  uint32_t ea = vmm_ea (c, i), mask = vmm_address_mask (i);
  int32_t index, low, high;
  if (vmm_o16 (i))
    {
      index = (int16_t) c->gpr[i->reg];
      low = (int16_t) vmm_read16 (c, i->segment, ea);
      high = index < low ? low : (int16_t) vmm_read16 (c, i->segment, (ea + 2) & mask);
    }
  else
    {
      index = (int32_t) c->gpr[i->reg];
      low = (int32_t) vmm_read32 (c, i->segment, ea);
      high = index < low ? low : (int32_t) vmm_read32 (c, i->segment, (ea + 4) & mask);
    }
  if (index < low || index > high)
    vmm_raise (c, EX_BR);
}
