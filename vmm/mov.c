/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Moves: MOV, MOVZX, MOVSX, LEA, XCHG, XADD, CMPXCHG, CMOVcc, SETcc, and small instructions on the
 * accumulator and single flags.
 */
#include "insn.h"

/* ---- MOV ---- */

#define MOV_SIZE(bits)                                                                             \
  static void mov_rm_r##bits (VmmVcpu *c, const VmmInsn *i)                                        \
  {                                                                                                \
    vmm_set##bits (c, i->rm, vmm_get##bits (c, i->reg));                                           \
  }                                                                                                \
  VMM_GENERAL void mov_rm_r##bits##mem (VmmVcpu *c, const VmmInsn *i)                              \
  {                                                                                                \
    vmm_store_mem##bits (c, i, vmm_get##bits (c, i->reg));                                         \
  }                                                                                                \
  static void mov_rm_r##bits##flat (VmmVcpu *c, const VmmInsn *i)                                  \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, write, mov_rm_r##bits##mem)                                         \
    *p = vmm_get##bits (c, i->reg);                                                                \
  }                                                                                                \
  static void mov_r_rm##bits (VmmVcpu *c, const VmmInsn *i)                                        \
  {                                                                                                \
    vmm_set##bits (c, i->reg, vmm_get##bits (c, i->rm));                                           \
  }                                                                                                \
  VMM_GENERAL void mov_r_rm##bits##mem (VmmVcpu *c, const VmmInsn *i)                              \
  {                                                                                                \
    vmm_set##bits (c, i->reg, vmm_load_mem##bits (c, i));                                          \
  }                                                                                                \
  static void mov_r_rm##bits##flat (VmmVcpu *c, const VmmInsn *i)                                  \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, read, mov_r_rm##bits##mem)                                          \
    vmm_set##bits (c, i->reg, *p);                                                                 \
  }                                                                                                \
  static void mov_rm_i##bits (VmmVcpu *c, const VmmInsn *i)                                        \
  {                                                                                                \
    vmm_set##bits (c, i->rm, (VmmType##bits) i->imm);                                              \
  }                                                                                                \
  VMM_GENERAL void mov_rm_i##bits##mem (VmmVcpu *c, const VmmInsn *i)                              \
  {                                                                                                \
    vmm_store_mem##bits (c, i, (VmmType##bits) i->imm);                                            \
  }                                                                                                \
  static void mov_rm_i##bits##flat (VmmVcpu *c, const VmmInsn *i)                                  \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, write, mov_rm_i##bits##mem)                                         \
    *p = (VmmType##bits) i->imm;                                                                   \
  }                                                                                                \
  void vmm_op_mov_r##bits##_i (VmmVcpu *c, const VmmInsn *i)                                       \
  {                                                                                                \
    vmm_set##bits (c, i->reg, (VmmType##bits) i->imm);                                             \
  }
MOV_SIZE (8)
MOV_SIZE (16)
MOV_SIZE (32)
const VmmForms vmm_mov_rm_r = VMM_FORMS (mov_rm_r);
const VmmForms vmm_mov_r_rm = VMM_FORMS (mov_r_rm);
const VmmForms vmm_mov_rm_i = VMM_FORMS (mov_rm_i);

/* ---- MOVZX and MOVSX: the size is that of the destination ---- */

#define EXTEND(name, from, type, bits)                                                             \
  static void name##from##_##bits (VmmVcpu *c, const VmmInsn *i)                                   \
  {                                                                                                \
    vmm_set##bits (c, i->reg, (VmmType##bits) (type) vmm_get##from (c, i->rm));                    \
  }                                                                                                \
  VMM_GENERAL void name##from##_##bits##mem (VmmVcpu *c, const VmmInsn *i)                         \
  {                                                                                                \
    vmm_set##bits (c, i->reg, (VmmType##bits) (type) vmm_load_mem##from (c, i));                   \
  }                                                                                                \
  static void name##from##_##bits##flat (VmmVcpu *c, const VmmInsn *i)                             \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##from, read, name##from##_##bits##mem)                                     \
    vmm_set##bits (c, i->reg, (VmmType##bits) (type) *p);                                          \
  }
#define EXTENDS(name, from, type)                                                                  \
  EXTEND (name, from, type, 16)                                                                    \
  EXTEND (name, from, type, 32)                                                                    \
  const VmmForms vmm_##name##from = {                                                              \
    { NULL, name##from##_##16, name##from##_##32 },                                                \
    { NULL, name##from##_##16mem, name##from##_##32mem },                                          \
    { NULL, name##from##_##16flat, name##from##_##32flat },                                        \
  };
EXTENDS (movzx, 8, uint8_t)
EXTENDS (movzx, 16, uint16_t)
EXTENDS (movsx, 8, int8_t)
EXTENDS (movsx, 16, int16_t)

static void
lea16 (VmmVcpu *c, const VmmInsn *i)
{
  vmm_set16 (c, i->reg, (uint16_t) vmm_ea (c, i));
}

static void
lea32 (VmmVcpu *c, const VmmInsn *i)
{
  c->gpr[i->reg] = vmm_ea (c, i);
}

static void
lea32flat (VmmVcpu *c, const VmmInsn *i)
{
  c->gpr[i->reg] = vmm_ea_flat (c, i);
}

const VmmForms vmm_lea = { { NULL }, { NULL, lea16, lea32 }, { NULL, lea16, lea32flat } };

/* ---- Exchanges.  XCHG with memory locks by itself. ---- */

VMM_HOST_BINARY (add, 8, "b", "")
VMM_HOST_BINARY (add, 16, "w", "")
VMM_HOST_BINARY (add, 32, "l", "")
VMM_HOST_BINARY (cmp, 8, "b", "")
VMM_HOST_BINARY (cmp, 16, "w", "")
VMM_HOST_BINARY (cmp, 32, "l", "")

#define EXCHANGE_SIZE(bits)                                                                        \
  static void xchg##bits (VmmVcpu *c, const VmmInsn *i)                                            \
  {                                                                                                \
    VmmType##bits a = vmm_get##bits (c, i->rm);                                                    \
    vmm_set##bits (c, i->rm, vmm_get##bits (c, i->reg));                                           \
    vmm_set##bits (c, i->reg, a);                                                                  \
  }                                                                                                \
  VMM_GENERAL void xchg##bits##mem (VmmVcpu *c, const VmmInsn *i)                                  \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old = vmm_open_mem##bits (c, i, &rmw), v = vmm_get##bits (c, i->reg);            \
    if (vmm_rmw_atomic (&rmw, sizeof old))                                                         \
      old = __atomic_exchange_n ((VmmType##bits *) rmw.host, v, __ATOMIC_SEQ_CST);                 \
    else                                                                                           \
      vmm_rmw_write (c, &rmw, v, sizeof old);                                                      \
    vmm_set##bits (c, i->reg, old);                                                                \
  }                                                                                                \
  static void xadd##bits (VmmVcpu *c, const VmmInsn *i)                                            \
  {                                                                                                \
    VmmType##bits a = vmm_get##bits (c, i->rm);                                                    \
    VmmType##bits sum = do_add##bits (c, a, vmm_get##bits (c, i->reg));                            \
    vmm_set##bits (c, i->reg, a);                                                                  \
    vmm_set##bits (c, i->rm, sum);                                                                 \
  }                                                                                                \
  VMM_GENERAL void xadd##bits##mem (VmmVcpu *c, const VmmInsn *i)                                  \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old, v;                                                                          \
    do                                                                                             \
      {                                                                                            \
        old = vmm_open_mem##bits (c, i, &rmw);                                                     \
        v = do_add##bits (c, old, vmm_get##bits (c, i->reg));                                      \
      }                                                                                            \
    while (!vmm_close_mem##bits (c, i, &rmw, old, v));                                             \
    vmm_set##bits (c, i->reg, old);                                                                \
  }                                                                                                \
  static void cmpxchg##bits (VmmVcpu *c, const VmmInsn *i)                                         \
  {                                                                                                \
    VmmType##bits a = vmm_get##bits (c, i->rm), acc = vmm_get##bits (c, 0);                        \
    do_cmp##bits (c, acc, a);                                                                      \
    if (acc == a)                                                                                  \
      vmm_set##bits (c, i->rm, vmm_get##bits (c, i->reg));                                         \
    else                                                                                           \
      vmm_set##bits (c, 0, a);                                                                     \
  }                                                                                                \
  /* The write is always made, with the old value if they differ. */                               \
  VMM_GENERAL void cmpxchg##bits##mem (VmmVcpu *c, const VmmInsn *i)                               \
  {                                                                                                \
    VmmRmw rmw;                                                                                    \
    VmmType##bits old, acc = vmm_get##bits (c, 0);                                                 \
    do                                                                                             \
      {                                                                                            \
        old = vmm_open_mem##bits (c, i, &rmw);                                                     \
        do_cmp##bits (c, acc, old);                                                                \
      }                                                                                            \
    while (!vmm_close_mem##bits (c, i, &rmw, old, acc == old ? vmm_get##bits (c, i->reg) : old));  \
    if (acc != old)                                                                                \
      vmm_set##bits (c, 0, old);                                                                   \
  }
EXCHANGE_SIZE (8)
EXCHANGE_SIZE (16)
EXCHANGE_SIZE (32)
#define NO_FLAT(name)                                                                              \
  {                                                                                                \
    VMM_3 (name, ), VMM_3 (name, mem), VMM_3 (name, mem)                                           \
  }
const VmmForms vmm_xchg = NO_FLAT (xchg);
const VmmForms vmm_xadd = NO_FLAT (xadd);
const VmmForms vmm_cmpxchg = NO_FLAT (cmpxchg);

void
vmm_op_cmpxchg8b (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t linear = vmm_linear (c, i->segment, vmm_ea (c, i), 8, VMM_CAN_WRITE);
  uint64_t old, wanted = (uint64_t) c->gpr[VMM_EDX] << 32 | c->gpr[VMM_EAX];
  uint64_t v = (uint64_t) c->gpr[VMM_ECX] << 32 | c->gpr[VMM_EBX];
  vmm_probe_write (c, linear, 8, c->user);
  uint64_t *host = (uint64_t *) vmm_flat_for_write (c, linear, 8);
  if (host != NULL && (i->flags & VMM_INSN_LOCK) && ((uintptr_t) host & 63) <= 56)
    {
      old = wanted;
      __atomic_compare_exchange_n (host, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
  else
    {
      old = vmm_read_linear64 (c, linear, c->user);
      vmm_write_linear64 (c, linear, old == wanted ? v : old, c->user);
    }
  if (old == wanted)
    c->eflags |= FL_ZF;
  else
    {
      c->eflags &= ~FL_ZF;
      c->gpr[VMM_EAX] = (uint32_t) old;
      c->gpr[VMM_EDX] = (uint32_t) (old >> 32);
    }
}

/* ---- CMOVcc reads its operand in any case; SETcc ---- */

#define CONDITIONAL(n)                                                                             \
  static void cmov##n##_16 (VmmVcpu *c, const VmmInsn *i)                                          \
  {                                                                                                \
    uint16_t v = vmm_load_rm16 (c, i);                                                             \
    if (vmm_condition (c->eflags, n))                                                              \
      vmm_set16 (c, i->reg, v);                                                                    \
  }                                                                                                \
  static void cmov##n##_32 (VmmVcpu *c, const VmmInsn *i)                                          \
  {                                                                                                \
    c->gpr[i->reg] = c->gpr[vmm_condition (c->eflags, n) ? i->rm : i->reg];                        \
  }                                                                                                \
  static void cmov##n##_32mem (VmmVcpu *c, const VmmInsn *i)                                       \
  {                                                                                                \
    uint32_t v = vmm_load_mem32 (c, i);                                                            \
    if (vmm_condition (c->eflags, n))                                                              \
      c->gpr[i->reg] = v;                                                                          \
  }                                                                                                \
  static void cmov##n##_32flat (VmmVcpu *c, const VmmInsn *i)                                      \
  {                                                                                                \
    VMM_FLAT (p, VmmMem32, read, cmov##n##_32mem)                                                  \
    if (vmm_condition (c->eflags, n))                                                              \
      c->gpr[i->reg] = *p;                                                                         \
  }                                                                                                \
  static void setcc##n (VmmVcpu *c, const VmmInsn *i)                                              \
  {                                                                                                \
    VMM_R8 (c, i->rm) = vmm_condition (c->eflags, n);                                              \
  }                                                                                                \
  VMM_GENERAL void setcc##n##mem (VmmVcpu *c, const VmmInsn *i)                                    \
  {                                                                                                \
    vmm_store_mem8 (c, i, vmm_condition (c->eflags, n));                                           \
  }
#define CMOV_FORMS(n)                                                                              \
  {                                                                                                \
    { NULL, cmov##n##_16, cmov##n##_32 }, { NULL, cmov##n##_16, cmov##n##_32mem },                 \
    {                                                                                              \
      NULL, cmov##n##_16, cmov##n##_32flat                                                         \
    }                                                                                              \
  }
#define SETCC_FORMS(n)                                                                             \
  {                                                                                                \
    { setcc##n }, { setcc##n##mem }, { setcc##n##mem }                                             \
  }
#define ALL(X, s)                                                                                  \
  X (0)                                                                                            \
  s X (1) s X (2) s X (3) s X (4) s X (5) s X (6) s X (7) s X (8) s X (9) s X (10) s X (11)        \
      s X (12) s X (13) s X (14) s X (15)
#define COMMA ,
ALL (CONDITIONAL, )
const VmmForms vmm_cmov[16] = { ALL (CMOV_FORMS, COMMA) };
const VmmForms vmm_setcc[16] = { ALL (SETCC_FORMS, COMMA) };

/* ---- Accumulator and flags ---- */

void
vmm_op_nop (VmmVcpu *c, const VmmInsn *i)
{
}

void
vmm_op_xchg_a_r16 (VmmVcpu *c, const VmmInsn *i)
{
  uint16_t a = vmm_get16 (c, VMM_EAX);
  vmm_set16 (c, VMM_EAX, vmm_get16 (c, i->reg));
  vmm_set16 (c, i->reg, a);
}

void
vmm_op_xchg_a_r32 (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t a = c->gpr[VMM_EAX];
  c->gpr[VMM_EAX] = c->gpr[i->reg];
  c->gpr[i->reg] = a;
}

/* With a 16-bit operand BSWAP is undefined; processors clear the register's low half. */
void
vmm_op_bswap (VmmVcpu *c, const VmmInsn *i)
{
  if (vmm_o16 (i))
    vmm_set16 (c, i->reg, 0);
  else
    c->gpr[i->reg] = __builtin_bswap32 (c->gpr[i->reg]);
}

void
vmm_op_xlat (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t offset = (c->gpr[VMM_EBX] + (uint8_t) c->gpr[VMM_EAX]) & vmm_address_mask (i);
  VMM_R8 (c, 0) = vmm_read8 (c, i->segment, offset);
}

void
vmm_op_cbw (VmmVcpu *c, const VmmInsn *i)
{
  if (vmm_o16 (i))
    vmm_set16 (c, VMM_EAX, (uint16_t) (int8_t) c->gpr[VMM_EAX]);
  else
    c->gpr[VMM_EAX] = (uint32_t) (int16_t) c->gpr[VMM_EAX];
}

void
vmm_op_cwd (VmmVcpu *c, const VmmInsn *i)
{
  if (vmm_o16 (i))
    vmm_set16 (c, VMM_EDX, (int16_t) c->gpr[VMM_EAX] < 0 ? 0xffff : 0);
  else
    c->gpr[VMM_EDX] = (int32_t) c->gpr[VMM_EAX] < 0 ? 0xffffffffu : 0;
}

void
vmm_op_lahf (VmmVcpu *c, const VmmInsn *i)
{
  VMM_R8 (c, 1) = (uint8_t) c->eflags;
}

void
vmm_op_sahf (VmmVcpu *c, const VmmInsn *i)
{
  vmm_set_flags (c, FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF, VMM_R8 (c, 1));
}

/* Undocumented (D6): AL becomes the carry in all its bits. */
void
vmm_op_salc (VmmVcpu *c, const VmmInsn *i)
{
  VMM_R8 (c, 0) = c->eflags & FL_CF ? 0xff : 0;
}

void
vmm_op_clc (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags &= ~FL_CF;
}

void
vmm_op_stc (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags |= FL_CF;
}

void
vmm_op_cmc (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags ^= FL_CF;
}

void
vmm_op_cld (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags &= ~FL_DF;
}

void
vmm_op_std (VmmVcpu *c, const VmmInsn *i)
{
  c->eflags |= FL_DF;
}
