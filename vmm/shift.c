/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Shifts and rotates: ROL ROR RCL RCR SHL SHR SAL SAR, SHLD SHRD, by the host's instructions.  The
 * host starts with the guest's flags, so that rotates keep what they keep and undefined flags are
 * what the silicon gives.  A count of zero (after masking to five bits) changes nothing.
 */
#include "insn.h"

/* OF after a rotate by more than one is undefined; it is what the last step of one bit would give,
   as Intel's processors do (the host may be of another make). */
#define OF_LEFT(bits) (((uint32_t) a >> (bits - 1)) ^ c->eflags)
#define OF_RIGHT(bits) (((uint32_t) a >> (bits - 1)) ^ ((uint32_t) a >> (bits - 2)))
#define OF_HOST(bits) (c->eflags >> 11)

#define SHIFT_SIZE(op, bits, suffix, overflow)                                                     \
  VMM_INLINE VmmType##bits do_##op##bits (VmmVcpu *c, VmmType##bits a, uint8_t count)              \
  {                                                                                                \
    uint32_t ax = vmm_give_ax (c), of = vmm_give_of (c);                                           \
    if ((count & 31) == 0)                                                                         \
      return a;                                                                                    \
    asm(VMM_GIVE_FLAGS #op suffix " %%cl, %[a]\n\t" VMM_TAKE_FLAGS                                 \
        : [a] "+q"(a), "+&a"(ax), [of] "+&q"(of)                                                   \
        : "c"(count)                                                                               \
        : "cc");                                                                                   \
    vmm_take_flags (c, ax);                                                                        \
    c->eflags = (c->eflags & ~FL_OF) | (overflow (bits) & 1) << 11;                                \
    return a;                                                                                      \
  }                                                                                                \
  SHIFT_FORM (op, bits, i, i->imm)                                                                 \
  SHIFT_FORM (op, bits, cl, c->gpr[VMM_ECX])
#define SHIFT_FORM(op, bits, form, count)                                                          \
  static void op##_##form##bits (VmmVcpu *c, const VmmInsn *i)                                     \
  {                                                                                                \
    vmm_set##bits (c, i->rm, do_##op##bits (c, vmm_get##bits (c, i->rm), (uint8_t) (count)));      \
  }                                                                                                \
  VMM_GENERAL void op##_##form##bits##mem (VmmVcpu *c, const VmmInsn *i)                           \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old = vmm_open_mem##bits (c, i, &rmw);                                           \
    vmm_rmw_write (c, &rmw, do_##op##bits (c, old, (uint8_t) (count)), sizeof old);                \
  }                                                                                                \
  static void op##_##form##bits##flat (VmmVcpu *c, const VmmInsn *i)                               \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, write, op##_##form##bits##mem)                                      \
    *p = do_##op##bits (c, *p, (uint8_t) (count));                                                 \
  }
#define SHIFT(op, overflow)                                                                        \
  SHIFT_SIZE (op, 8, "b", overflow)                                                                \
  SHIFT_SIZE (op, 16, "w", overflow)                                                               \
  SHIFT_SIZE (op, 32, "l", overflow)

SHIFT (rol, OF_LEFT)
SHIFT (ror, OF_RIGHT)
SHIFT (rcl, OF_LEFT)
SHIFT (rcr, OF_RIGHT)
SHIFT (shl, OF_HOST)
SHIFT (shr, OF_HOST)
SHIFT (sar, OF_HOST)

/* /6 is SHL too. */
#define ALL(form)                                                                                  \
  {                                                                                                \
    VMM_FORMS (rol_##form), VMM_FORMS (ror_##form), VMM_FORMS (rcl_##form),                        \
        VMM_FORMS (rcr_##form), VMM_FORMS (shl_##form), VMM_FORMS (shr_##form),                    \
        VMM_FORMS (shl_##form), VMM_FORMS (sar_##form)                                             \
  }
const VmmForms vmm_shift_i[8] = ALL (i);
const VmmForms vmm_shift_cl[8] = ALL (cl);

/* ---- Double shifts; 16 bits with a count above 16 is undefined, and what the host does ---- */

#define DOUBLE_SIZE(op, bits, suffix)                                                              \
  VMM_INLINE VmmType##bits do_##op##bits (VmmVcpu *c, VmmType##bits a, VmmType##bits b,            \
                                          uint8_t count)                                           \
  {                                                                                                \
    uint32_t ax = vmm_give_ax (c), of = vmm_give_of (c);                                           \
    if ((count & 31) == 0)                                                                         \
      return a;                                                                                    \
    asm(VMM_GIVE_FLAGS #op suffix " %%cl, %[b], %[a]\n\t" VMM_TAKE_FLAGS                           \
        : [a] "+q"(a), "+&a"(ax), [of] "+&q"(of)                                                   \
        : "c"(count), [b] "q"(b)                                                                   \
        : "cc");                                                                                   \
    vmm_take_flags (c, ax);                                                                        \
    return a;                                                                                      \
  }                                                                                                \
  DOUBLE_FORM (op, bits, i, i->imm)                                                                \
  DOUBLE_FORM (op, bits, cl, c->gpr[VMM_ECX])
#define DOUBLE_FORM(op, bits, form, count)                                                         \
  static void op##_##form##bits (VmmVcpu *c, const VmmInsn *i)                                     \
  {                                                                                                \
    vmm_set##bits (c, i->rm,                                                                       \
                   do_##op##bits (c, vmm_get##bits (c, i->rm), vmm_get##bits (c, i->reg),          \
                                  (uint8_t) (count)));                                             \
  }                                                                                                \
  VMM_GENERAL void op##_##form##bits##mem (VmmVcpu *c, const VmmInsn *i)                           \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old = vmm_open_mem##bits (c, i, &rmw);                                           \
    old = do_##op##bits (c, old, vmm_get##bits (c, i->reg), (uint8_t) (count));                    \
    vmm_rmw_write (c, &rmw, old, sizeof old);                                                      \
  }
#define DOUBLE(op)                                                                                 \
  DOUBLE_SIZE (op, 16, "w")                                                                        \
  DOUBLE_SIZE (op, 32, "l")                                                                        \
  DOUBLE_TABLE (op, i)                                                                             \
  DOUBLE_TABLE (op, cl)
#define DOUBLE_TABLE(op, form)                                                                     \
  const VmmForms vmm_##op##_##form = {                                                             \
    { NULL, op##_##form##16, op##_##form##32 },                                                    \
    { NULL, op##_##form##16mem, op##_##form##32mem },                                              \
    { NULL, op##_##form##16mem, op##_##form##32mem },                                              \
  };
DOUBLE (shld)
DOUBLE (shrd)
