/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Integer arithmetic and logic: ADD OR ADC SBB AND SUB XOR CMP, TEST, INC DEC NOT NEG.
 *
 * Each operation is executed by the host's own instruction and the flags are taken from it, so that
 * flags which the manuals leave undefined are what the silicon gives.
 */
#include "insn.h"

#define FORM_R(op, bits, dst, form, expression)                                                    \
  static void form##_##op##bits (VmmVcpu *c, const VmmInsn *i)                                     \
  {                                                                                                \
    vmm_set##bits (c, i->dst, do_##op##bits (c, vmm_get##bits (c, i->dst), expression));           \
  }
#define FORM_M(op, bits, form, expression)                                                         \
  VMM_GENERAL void form##_##op##bits##mem (VmmVcpu *c, const VmmInsn *i)                           \
  {                                                                                                \
    uint32_t flags = c->eflags;                                                                    \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old, v;                                                                          \
    do                                                                                             \
      {                                                                                            \
        old = vmm_open_mem##bits (c, i, &rmw);                                                     \
        c->eflags = flags;                                                                         \
        v = do_##op##bits (c, old, expression);                                                    \
      }                                                                                            \
    while (!vmm_close_mem##bits (c, i, &rmw, old, v));                                             \
  }                                                                                                \
  static void form##_##op##bits##flat (VmmVcpu *c, const VmmInsn *i)                               \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, write, form##_##op##bits##mem)                                      \
    *p = do_##op##bits (c, *p, expression);                                                        \
  }
#define FORM_LOAD(op, bits)                                                                        \
  VMM_GENERAL void r_rm_##op##bits##mem (VmmVcpu *c, const VmmInsn *i)                             \
  {                                                                                                \
    VmmType##bits b = vmm_load_mem##bits (c, i);                                                   \
    vmm_set##bits (c, i->reg, do_##op##bits (c, vmm_get##bits (c, i->reg), b));                    \
  }                                                                                                \
  static void r_rm_##op##bits##flat (VmmVcpu *c, const VmmInsn *i)                                 \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, read, r_rm_##op##bits##mem)                                         \
    vmm_set##bits (c, i->reg, do_##op##bits (c, vmm_get##bits (c, i->reg), *p));                   \
  }

#define OPERATION_SIZE(op, bits, suffix, before)                                                   \
  VMM_HOST_BINARY (op, bits, suffix, before)                                                       \
  FORM_R (op, bits, rm, rm_r, vmm_get##bits (c, i->reg))                                           \
  FORM_M (op, bits, rm_r, vmm_get##bits (c, i->reg))                                               \
  FORM_R (op, bits, reg, r_rm, vmm_get##bits (c, i->rm))                                           \
  FORM_LOAD (op, bits)                                                                             \
  FORM_R (op, bits, rm, rm_i, (VmmType##bits) i->imm)                                              \
  FORM_M (op, bits, rm_i, (VmmType##bits) i->imm)

#define OPERATION(op, before)                                                                      \
  OPERATION_SIZE (op, 8, "b", before)                                                              \
  OPERATION_SIZE (op, 16, "w", before)                                                             \
  OPERATION_SIZE (op, 32, "l", before)

OPERATION (add, "")
OPERATION (or, "")
OPERATION (adc, VMM_HOST_CARRY)
OPERATION (sbb, VMM_HOST_CARRY)
OPERATION (and, "")
OPERATION (sub, "")
OPERATION (xor, "")

/* CMP and TEST write nothing but flags.  r: the operand that is not memory. */
#define COMPARE_FORM(op, bits, form, r)                                                            \
  static void form##_##op##bits (VmmVcpu *c, const VmmInsn *i)                                     \
  {                                                                                                \
    do_##op##bits (c, vmm_get##bits (c, i->rm), r);                                                \
  }                                                                                                \
  VMM_GENERAL void form##_##op##bits##mem (VmmVcpu *c, const VmmInsn *i)                           \
  {                                                                                                \
    VmmType##bits m = vmm_load_mem##bits (c, i);                                                   \
    do_##op##bits (c, m, r);                                                                       \
  }                                                                                                \
  static void form##_##op##bits##flat (VmmVcpu *c, const VmmInsn *i)                               \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, read, form##_##op##bits##mem)                                       \
    do_##op##bits (c, *p, r);                                                                      \
  }
#define COMPARE_SIZE(op, bits, suffix)                                                             \
  VMM_HOST_BINARY (op, bits, suffix, "")                                                           \
  COMPARE_FORM (op, bits, rm_r, vmm_get##bits (c, i->reg))                                         \
  COMPARE_FORM (op, bits, rm_i, (VmmType##bits) i->imm)
#define COMPARE_LOADS(op, bits)                                                                    \
  static void r_rm_##op##bits (VmmVcpu *c, const VmmInsn *i)                                       \
  {                                                                                                \
    do_##op##bits (c, vmm_get##bits (c, i->reg), vmm_get##bits (c, i->rm));                        \
  }                                                                                                \
  VMM_GENERAL void r_rm_##op##bits##mem (VmmVcpu *c, const VmmInsn *i)                             \
  {                                                                                                \
    VmmType##bits m = vmm_load_mem##bits (c, i);                                                   \
    do_##op##bits (c, vmm_get##bits (c, i->reg), m);                                               \
  }                                                                                                \
  static void r_rm_##op##bits##flat (VmmVcpu *c, const VmmInsn *i)                                 \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, read, r_rm_##op##bits##mem)                                         \
    do_##op##bits (c, vmm_get##bits (c, i->reg), *p);                                              \
  }
COMPARE_SIZE (cmp, 8, "b")
COMPARE_SIZE (cmp, 16, "w")
COMPARE_SIZE (cmp, 32, "l")
COMPARE_LOADS (cmp, 8)
COMPARE_LOADS (cmp, 16)
COMPARE_LOADS (cmp, 32)
COMPARE_SIZE (test, 8, "b")
COMPARE_SIZE (test, 16, "w")
COMPARE_SIZE (test, 32, "l")

/* ORDER: VMM_ADD ... */
#define ALL(form)                                                                                  \
  {                                                                                                \
    VMM_FORMS (form##_add), VMM_FORMS (form##_or), VMM_FORMS (form##_adc), VMM_FORMS (form##_sbb), \
        VMM_FORMS (form##_and), VMM_FORMS (form##_sub), VMM_FORMS (form##_xor),                    \
        VMM_FORMS (form##_cmp)                                                                     \
  }
const VmmForms vmm_alu_rm_r[8] = ALL (rm_r);
const VmmForms vmm_alu_r_rm[8] = ALL (r_rm);
const VmmForms vmm_alu_rm_i[8] = ALL (rm_i);
const VmmForms vmm_test_rm_r = VMM_FORMS (rm_r_test);
const VmmForms vmm_test_rm_i = VMM_FORMS (rm_i_test);

/* ---- One operand; INC and DEC keep CF, NOT keeps all ---- */

#define UNARY_SIZE(op, bits, suffix, keep)                                                         \
  VMM_INLINE VmmType##bits do_##op##bits (VmmVcpu *c, VmmType##bits a)                             \
  {                                                                                                \
    uint32_t ax, kept = c->eflags & (keep);                                                        \
    asm(#op suffix " %[a]\n\t" VMM_TAKE_FLAGS : [a] "+q"(a), "=&a"(ax) : : "cc");                  \
    vmm_take_flags (c, ax);                                                                        \
    if (keep)                                                                                      \
      vmm_set_flags (c, keep, kept);                                                               \
    return a;                                                                                      \
  }                                                                                                \
  static void op##_##bits (VmmVcpu *c, const VmmInsn *i)                                           \
  {                                                                                                \
    vmm_set##bits (c, i->rm, do_##op##bits (c, vmm_get##bits (c, i->rm)));                         \
  }                                                                                                \
  VMM_GENERAL void op##_##bits##mem (VmmVcpu *c, const VmmInsn *i)                                 \
  {                                                                                                \
    uint32_t flags = c->eflags;                                                                    \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old, v;                                                                          \
    do                                                                                             \
      {                                                                                            \
        old = vmm_open_mem##bits (c, i, &rmw);                                                     \
        c->eflags = flags;                                                                         \
        v = do_##op##bits (c, old);                                                                \
      }                                                                                            \
    while (!vmm_close_mem##bits (c, i, &rmw, old, v));                                             \
  }                                                                                                \
  static void op##_##bits##flat (VmmVcpu *c, const VmmInsn *i)                                     \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, write, op##_##bits##mem)                                            \
    *p = do_##op##bits (c, *p);                                                                    \
  }
#define UNARY(op, keep)                                                                            \
  UNARY_SIZE (op, 8, "b", keep)                                                                    \
  UNARY_SIZE (op, 16, "w", keep)                                                                   \
  UNARY_SIZE (op, 32, "l", keep)                                                                   \
  const VmmForms vmm_##op = VMM_FORMS (op##_);
UNARY (inc, FL_CF)
UNARY (dec, FL_CF)
UNARY (neg, 0)
UNARY (not, FL_ARITH)

void
vmm_op_inc_r16 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_set16 (c, i->reg, do_inc16 (c, vmm_get16 (c, i->reg)));
}

void
vmm_op_inc_r32 (VmmVcpu *c, const VmmInsn *i)
{
  c->gpr[i->reg] = do_inc32 (c, c->gpr[i->reg]);
}

void
vmm_op_dec_r16 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_set16 (c, i->reg, do_dec16 (c, vmm_get16 (c, i->reg)));
}

void
vmm_op_dec_r32 (VmmVcpu *c, const VmmInsn *i)
{
  c->gpr[i->reg] = do_dec32 (c, c->gpr[i->reg]);
}
