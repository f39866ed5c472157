/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pairs: a compare and the conditional jump behind it, which ends most blocks, as one handler.
 *
 * Both instructions stay in the block, one behind the other, and are counted; the pair is executed
 * in place of the first (VmmBlock.last points to it).  It advances c->eip to the jump before the
 * jump can fault.  The jump is decided by the operands, so that it need not wait for EFLAGS, which
 * are computed all the same.
 */
#include "block.h"

VMM_HOST_BINARY (cmp, 8, "b", "")
VMM_HOST_BINARY (cmp, 32, "l", "")
VMM_HOST_BINARY (test, 8, "b", "")
VMM_HOST_BINARY (test, 32, "l", "")

VMM_INLINE void
jump_if (VmmVcpu *c, const VmmInsn *jump, bool taken)
{
  if (taken)
    vmm_branch (c, c->eip + jump->imm);
  else
    {
      c->eip += jump->length;
      c->branched = true;
    }
}

/* Condition n after CMP a, b; the flags are there for the rare ones. */
#define DECIDE(bits, stype)                                                                        \
  VMM_INLINE bool cmp_decides##bits (const VmmVcpu *c, VmmType##bits a, VmmType##bits b,           \
                                     unsigned n)                                                   \
  {                                                                                                \
    switch (n >> 1)                                                                                \
      {                                                                                            \
      case 1: return (a < b) ^ (n & 1);                                                            \
      case 2: return (a == b) ^ (n & 1);                                                           \
      case 3: return (a <= b) ^ (n & 1);                                                           \
      case 4: return ((stype) (a - b) < 0) ^ (n & 1);                                              \
      case 6: return ((stype) a < (stype) b) ^ (n & 1);                                            \
      case 7: return ((stype) a <= (stype) b) ^ (n & 1);                                           \
      default: return vmm_condition (c->eflags, n);                                                \
      }                                                                                            \
  }                                                                                                \
  VMM_INLINE bool test_decides##bits (const VmmVcpu *c, VmmType##bits a, VmmType##bits b,          \
                                      unsigned n)                                                  \
  {                                                                                                \
    switch (n >> 1)                                                                                \
      {                                                                                            \
      case 2:                                                                                      \
      case 3: return ((a & b) == 0) ^ (n & 1);                                                     \
      case 4:                                                                                      \
      case 6: return ((stype) (a & b) < 0) ^ (n & 1);                                              \
      case 7: return ((stype) (a & b) <= 0) ^ (n & 1);                                             \
      default: return vmm_condition (c->eflags, n);                                                \
      }                                                                                            \
  }
DECIDE (8, int8_t)
DECIDE (32, int32_t)

/* Two operands that are there; or one of them in flat memory, for which `general` does the compare
   if the access is not simple. */
#define PAIR(name, op, bits, x, y, n)                                                              \
  static void name##_##n (VmmVcpu *c, const VmmInsn *i)                                            \
  {                                                                                                \
    VmmType##bits a = (VmmType##bits) (x), b = (VmmType##bits) (y);                                \
    do_##op##bits (c, a, b);                                                                       \
    c->eip += i->length;                                                                           \
    jump_if (c, i + 1, op##_decides##bits (c, a, b, n));                                           \
  }
#define PAIR_MEMORY(name, op, bits, x, y, n, general)                                              \
  static __attribute__ ((noinline)) void name##_slow_##n (VmmVcpu *c, const VmmInsn *i)            \
  {                                                                                                \
    general (c, i);                                                                                \
    c->eip += i->length;                                                                           \
    jump_if (c, i + 1, vmm_condition (c->eflags, n));                                              \
  }                                                                                                \
  static void name##_##n (VmmVcpu *c, const VmmInsn *i)                                            \
  {                                                                                                \
    VMM_FLAT (p, VmmMem##bits, read, name##_slow_##n)                                              \
    VmmType##bits a = (VmmType##bits) (x), b = (VmmType##bits) (y);                                \
    do_##op##bits (c, a, b);                                                                       \
    c->eip += i->length;                                                                           \
    jump_if (c, i + 1, op##_decides##bits (c, a, b, n));                                           \
  }

#define PAIRS(n)                                                                                   \
  PAIR (cmp_rm_r, cmp, 32, c->gpr[i->rm], c->gpr[i->reg], n)                                       \
  PAIR (cmp_r_rm, cmp, 32, c->gpr[i->reg], c->gpr[i->rm], n)                                       \
  PAIR (cmp_rm_i, cmp, 32, c->gpr[i->rm], i->imm, n)                                               \
  PAIR (cmp_rm_r8, cmp, 8, VMM_R8 (c, i->rm), VMM_R8 (c, i->reg), n)                               \
  PAIR (cmp_rm_i8, cmp, 8, VMM_R8 (c, i->rm), i->imm, n)                                           \
  PAIR (test_rm_r, test, 32, c->gpr[i->rm], c->gpr[i->reg], n)                                     \
  PAIR (test_rm_i, test, 32, c->gpr[i->rm], i->imm, n)                                             \
  PAIR (test_rm_r8, test, 8, VMM_R8 (c, i->rm), VMM_R8 (c, i->reg), n)                             \
  PAIR (test_rm_i8, test, 8, VMM_R8 (c, i->rm), i->imm, n)                                         \
  PAIR_MEMORY (cmp_m_r, cmp, 32, *p, c->gpr[i->reg], n, vmm_alu_rm_r[VMM_CMP].mem[VMM_SIZE_32])    \
  PAIR_MEMORY (cmp_r_m, cmp, 32, c->gpr[i->reg], *p, n, vmm_alu_r_rm[VMM_CMP].mem[VMM_SIZE_32])    \
  PAIR_MEMORY (cmp_m_i, cmp, 32, *p, i->imm, n, vmm_alu_rm_i[VMM_CMP].mem[VMM_SIZE_32])            \
  PAIR_MEMORY (cmp_m_i8, cmp, 8, *p, i->imm, n, vmm_alu_rm_i[VMM_CMP].mem[VMM_SIZE_8])             \
  PAIR_MEMORY (test_m_i8, test, 8, *p, i->imm, n, vmm_test_rm_i.mem[VMM_SIZE_8])

#define ALL(X, name, s)                                                                            \
  X (name, 0)                                                                                      \
  s X (name, 1) s X (name, 2) s X (name, 3) s X (name, 4) s X (name, 5) s X (name, 6) s X (name,   \
                                                                                           7) s    \
  X (name, 8) s                                                                                    \
  X (name, 9) s                                                                                    \
  X (name, 10) s                                                                                   \
  X (name, 11) s                                                                                   \
  X (name, 12) s                                                                                   \
  X (name, 13) s                                                                                   \
  X (name, 14) s                                                                                   \
  X (name, 15)
#define DEFINE(name, n) PAIRS (n)
#define NAME(name, n) name##_##n
#define COMMA ,
ALL (DEFINE, , )

typedef struct {
  const VmmHandler *first; /* the compare's own handler */
  VmmHandler pair[16];     /* by condition */
} Pair;
#define ENTRY(where, name)                                                                         \
  {                                                                                                \
    &(where), { ALL (NAME, name, COMMA) }                                                          \
  }

static const Pair pairs[] = {
  ENTRY (vmm_test_rm_r.reg[VMM_SIZE_32], test_rm_r),
  ENTRY (vmm_alu_rm_i[VMM_CMP].reg[VMM_SIZE_32], cmp_rm_i),
  ENTRY (vmm_alu_rm_r[VMM_CMP].reg[VMM_SIZE_32], cmp_rm_r),
  ENTRY (vmm_alu_r_rm[VMM_CMP].reg[VMM_SIZE_32], cmp_r_rm),
  ENTRY (vmm_test_rm_r.reg[VMM_SIZE_8], test_rm_r8),
  ENTRY (vmm_test_rm_i.reg[VMM_SIZE_8], test_rm_i8),
  ENTRY (vmm_test_rm_i.reg[VMM_SIZE_32], test_rm_i),
  ENTRY (vmm_alu_rm_r[VMM_CMP].reg[VMM_SIZE_8], cmp_rm_r8),
  ENTRY (vmm_alu_rm_i[VMM_CMP].reg[VMM_SIZE_8], cmp_rm_i8),
  ENTRY (vmm_alu_rm_r[VMM_CMP].flat[VMM_SIZE_32], cmp_m_r),
  ENTRY (vmm_alu_r_rm[VMM_CMP].flat[VMM_SIZE_32], cmp_r_m),
  ENTRY (vmm_alu_rm_i[VMM_CMP].flat[VMM_SIZE_32], cmp_m_i),
  ENTRY (vmm_alu_rm_i[VMM_CMP].flat[VMM_SIZE_8], cmp_m_i8),
  ENTRY (vmm_test_rm_i.flat[VMM_SIZE_8], test_m_i8),
};

void
vmm_block_fuse (VmmBlock *b)
{
  VmmInsn *jump = &b->insns[b->count - 1], *first = jump - 1;
  if (b->count < 2 || jump->handler != vmm_jcc[jump->opcode & 15].reg[VMM_SIZE_32])
    return;
  for (unsigned n = 0; n < sizeof pairs / sizeof pairs[0]; n++)
    if (first->handler == *pairs[n].first)
      {
        b->final = pairs[n].pair[jump->opcode & 15];
        b->last = first;
        return;
      }
}
