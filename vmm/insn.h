/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the integer instructions share: how a handler reaches its operands, how flags
 * are taken from the host, and the sets of handlers from which the decoder chooses.
 *
 * An instruction with a ModRM byte has one handler per operand form, so that none has to look at
 * prefixes or at the addressing mode while the guest runs:
 *   reg    r/m is a register
 *   mem    r/m is memory, any segment, any address size, LOCK allowed
 *   flat   r/m is memory, 32-bit address, the segment is flat (VMM_KEY_FLAT), no LOCK, no #AC
 * each for operand sizes of 8, 16 and 32 bits.
 *
 * Registers of 8 bits: the decoder turns their number into the offset of the byte in c->gpr (AL 0,
 * CL 4, ... AH 1, CH 5 ...), so i->reg and i->rm of such instructions are offsets, see VMM_R8.
 */
#pragma once

#include "vcpu.h"

#define VMM_INLINE static inline __attribute__ ((always_inline))
/* The general handler behind a flat one: inlined there it would cost the fast path a stack frame.
 */
#define VMM_GENERAL static __attribute__ ((noinline))

enum
{
  VMM_SIZE_8,
  VMM_SIZE_16,
  VMM_SIZE_32,
  VMM_SIZES
};

typedef uint8_t VmmType8;
typedef uint16_t VmmType16;
typedef uint32_t VmmType32;
/* The same in guest memory. */
typedef uint8_t VmmMem8;
typedef uint16_t VmmMem16 __attribute__ ((aligned (1), may_alias));
typedef uint32_t VmmMem32 __attribute__ ((aligned (1), may_alias));
typedef uint64_t VmmMem64 __attribute__ ((aligned (1), may_alias));

typedef struct
{
  VmmHandler reg[VMM_SIZES], mem[VMM_SIZES], flat[VMM_SIZES];
} VmmForms;

/* ---- Registers ---- */

#define VMM_R8(c, n) (((uint8_t *)(c)->gpr)[n])

#define VMM_REG_ACCESS_(bits, type, place)                                                         \
  VMM_INLINE type vmm_get##bits (const VmmVcpu *c, unsigned n) { return (type)(place); }
VMM_REG_ACCESS_ (8, uint8_t, ((const uint8_t *)c->gpr)[n])
VMM_REG_ACCESS_ (16, uint16_t, c->gpr[n])
VMM_REG_ACCESS_ (32, uint32_t, c->gpr[n])
#undef VMM_REG_ACCESS_

VMM_INLINE void
vmm_set8 (VmmVcpu *c, unsigned n, uint8_t v)
{
  VMM_R8 (c, n) = v;
}

VMM_INLINE void
vmm_set16 (VmmVcpu *c, unsigned n, uint16_t v)
{
  c->gpr[n] = (c->gpr[n] & 0xffff0000u) | v;
}

VMM_INLINE void
vmm_set32 (VmmVcpu *c, unsigned n, uint32_t v)
{
  c->gpr[n] = v;
}

/* ---- Flags from the host: LAHF and SETO (1.8 ns for a whole ADD handler; with PUSHFQ 2.0) ---- */

#define VMM_TAKE_FLAGS "lahf\n\tseto %%al"
/* Flags that the host leaves alone must be the guest's: give all six to the host first.  AH is the
   low byte of EFLAGS, `of` is 0 or 1 and is used up. */
#define VMM_GIVE_FLAGS "addb $0x7f, %b[of]\n\tsahf\n\t"

VMM_INLINE void
vmm_take_flags (VmmVcpu *c, uint32_t ax)
{
  c->eflags = (c->eflags & ~FL_ARITH) | (uint8_t)(ax >> 8) | (ax & 0xff) << 11;
}

VMM_INLINE uint32_t
vmm_give_ax (const VmmVcpu *c)
{
  return c->eflags << 8;
}

VMM_INLINE uint32_t
vmm_give_of (const VmmVcpu *c)
{
  return (c->eflags >> 11) & 1;
}

/* do_add32 (c, a, b) and the like, by the host's instruction; `before` may load the guest's carry.
 */
#define VMM_HOST_BINARY(name, bits, suffix, before)                                                \
  VMM_INLINE VmmType##bits do_##name##bits (VmmVcpu *c, VmmType##bits a, VmmType##bits b)          \
  {                                                                                                \
    uint32_t ax;                                                                                   \
    asm(before #name suffix " %[b], %[a]\n\t" VMM_TAKE_FLAGS                                       \
        : [a] "+q"(a), "=&a"(ax)                                                                   \
        : [b] "q"(b), [flags] "r"(c->eflags)                                                       \
        : "cc");                                                                                   \
    vmm_take_flags (c, ax);                                                                        \
    return a;                                                                                      \
  }
#define VMM_HOST_CARRY "btl $0, %[flags]\n\t"

VMM_INLINE void
vmm_set_flags (VmmVcpu *c, uint32_t mask, uint32_t value)
{
  c->eflags = (c->eflags & ~mask) | (value & mask);
}

/* SF, ZF and PF of a result. */
VMM_INLINE void
vmm_set_szp (VmmVcpu *c, uint8_t v)
{
  uint32_t f = (v ? 0 : FL_ZF) | (v & FL_SF) | (__builtin_parity (v) ? 0 : FL_PF);
  vmm_set_flags (c, FL_SF | FL_ZF | FL_PF, f);
}

/* The sixteen conditions of Jcc, SETcc and CMOVcc; `f` is EFLAGS. */
VMM_INLINE bool
vmm_condition (uint32_t f, unsigned n)
{
  bool r = false;
  switch (n >> 1)
    {
    case 0:
      r = f & FL_OF;
      break;
    case 1:
      r = f & FL_CF;
      break;
    case 2:
      r = f & FL_ZF;
      break;
    case 3:
      r = f & (FL_CF | FL_ZF);
      break;
    case 4:
      r = f & FL_SF;
      break;
    case 5:
      r = f & FL_PF;
      break;
    case 6:
      r = (f ^ f >> 4) & FL_SF;
      break;
    case 7:
      r = ((f ^ f >> 4) & FL_SF) | (f & FL_ZF);
      break;
    }
  return r ^ (n & 1);
}

/* ---- Memory operands ---- */

VMM_INLINE uint32_t
vmm_ea_flat (const VmmVcpu *c, const VmmInsn *i)
{
  return c->gpr[i->base] + (c->gpr[i->index] << i->scale) + i->disp;
}

/* Host address of the operand of a flat handler, or NULL if the access is not that simple. */
VMM_INLINE uint8_t *
vmm_flat_for_read (const VmmVcpu *c, uint32_t linear, unsigned size)
{
  return vmm_direct (c->now->read, linear, size);
}

VMM_INLINE uint8_t *
vmm_flat_for_write (const VmmVcpu *c, uint32_t linear, unsigned size)
{
  return vmm_direct (c->now->write, linear, size);
}

/* Opens the operand of a flat handler, or leaves it to the general one (a tail call, so that the
   fast path needs no stack frame). */
#define VMM_FLAT(pointer, type, access, general)                                                   \
  type *pointer = (type *)vmm_flat_for_##access (c, vmm_ea_flat (c, i), sizeof (type));            \
  if (VMM_UNLIKELY (pointer == NULL))                                                              \
    {                                                                                              \
      general (c, i);                                                                              \
      return;                                                                                      \
    }

/* vmm_load_mem32 (c, i), vmm_store_mem8 (c, i, v) and so on; open: read-modify-write. */
#define VMM_OPERANDS_(bits, type)                                                                  \
  VMM_INLINE type vmm_load_mem##bits (VmmVcpu *c, const VmmInsn *i)                                \
  {                                                                                                \
    return vmm_read##bits (c, i->segment, vmm_ea (c, i));                                          \
  }                                                                                                \
  VMM_INLINE void vmm_store_mem##bits (VmmVcpu *c, const VmmInsn *i, type v)                       \
  {                                                                                                \
    vmm_write##bits (c, i->segment, vmm_ea (c, i), v);                                             \
  }                                                                                                \
  VMM_INLINE type vmm_open_mem##bits (VmmVcpu *c, const VmmInsn *i, VmmRmw *rmw)                   \
  {                                                                                                \
    return (type)vmm_rmw_open (c, i->segment, vmm_ea (c, i), sizeof (type), rmw);                  \
  }                                                                                                \
  /* r/m of the forms that are not worth a handler each */                                         \
  VMM_INLINE type vmm_load_rm##bits (VmmVcpu *c, const VmmInsn *i)                                 \
  {                                                                                                \
    return i->flags & VMM_INSN_MEM ? vmm_load_mem##bits (c, i) : vmm_get##bits (c, i->rm);         \
  }                                                                                                \
  VMM_INLINE void vmm_store_rm##bits (VmmVcpu *c, const VmmInsn *i, type v)                        \
  {                                                                                                \
    if (i->flags & VMM_INSN_MEM)                                                                   \
      vmm_store_mem##bits (c, i, v);                                                               \
    else                                                                                           \
      vmm_set##bits (c, i->rm, v);                                                                 \
  }                                                                                                \
  /* Puts back what vmm_open_* read as `old`.  With LOCK, on plain memory, atomically: false if    \
     somebody else changed it meanwhile, and the instruction starts again. */                      \
  VMM_INLINE bool vmm_close_mem##bits (VmmVcpu *c, const VmmInsn *i, const VmmRmw *rmw, type old,  \
                                       type v)                                                     \
  {                                                                                                \
    if (VMM_UNLIKELY (i->flags & VMM_INSN_LOCK) && vmm_rmw_atomic (rmw, sizeof (type)))            \
      return __atomic_compare_exchange_n ((type *)rmw->host, &old, v, false, __ATOMIC_SEQ_CST,     \
                                          __ATOMIC_SEQ_CST);                                       \
    vmm_rmw_write (c, rmw, v, sizeof (type));                                                      \
    return true;                                                                                   \
  }

/* Plain memory, and within a cache line: hosts may punish split locks. */
VMM_INLINE bool
vmm_rmw_atomic (const VmmRmw *rmw, unsigned size)
{
  return rmw->host != NULL && ((uintptr_t)rmw->host & 63) + size <= 64;
}

VMM_OPERANDS_ (8, uint8_t)
VMM_OPERANDS_ (16, uint16_t)
VMM_OPERANDS_ (32, uint32_t)
#undef VMM_OPERANDS_

VMM_INLINE bool
vmm_o16 (const VmmInsn *i)
{
  return i->flags & VMM_INSN_O16;
}

VMM_INLINE uint32_t
vmm_address_mask (const VmmInsn *i)
{
  return i->flags & VMM_INSN_A16 ? 0xffffu : 0xffffffffu;
}

/* A counter or index register under the address size. */
VMM_INLINE void
vmm_set_masked (VmmVcpu *c, unsigned n, uint32_t value, uint32_t mask)
{
  c->gpr[n] = (c->gpr[n] & ~mask) | (value & mask);
}

VMM_INLINE unsigned
vmm_iopl (const VmmVcpu *c)
{
  return (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;
}

/* The instruction is not finished: it stays at c->eip and is executed again. */
VMM_INLINE void
vmm_again (VmmVcpu *c)
{
  c->branched = true;
}

/* Tables of forms from functions called prefix8suffix ... prefix32suffix, without and with mem,
 * flat. */
#define VMM_3(prefix, suffix)                                                                      \
  {                                                                                                \
    prefix##8##suffix, prefix##16##suffix, prefix##32##suffix                                      \
  }
#define VMM_FORMS(name)                                                                            \
  {                                                                                                \
    VMM_3 (name, ), VMM_3 (name, mem), VMM_3 (name, flat)                                          \
  }
/* The same for all addressing. */
#define VMM_FORMS_ALL(name)                                                                        \
  {                                                                                                \
    VMM_3 (name, ), VMM_3 (name, ), VMM_3 (name, )                                                 \
  }

/* ---- The decoder ---- */

/* What decoded code depends on beside its bytes. */
#define VMM_KEY_CODE32  1u  /* CS.D */
#define VMM_KEY_STACK32 2u  /* SS.B */
#define VMM_KEY_FLAT    4u  /* DS, ES and SS are flat and writable, #AC is off */
#define VMM_KEY_SMM     8u  /* other memory at the same address */
#define VMM_KEY_SINGLE  16u /* one instruction a block */
#define VMM_KEY_USER    32u /* in look-ups only */
#define VMM_KEY_SPACE   128u /* user program with a space (space.c): 32 bits, flat, CS too */
#define VMM_KEY_ADDITIONS 64u /* synthetic instructions exist (the same for all of a processor) */
#define VMM_KEYS        128u

/* How an instruction leaves its block. */
#define VMM_DECODED_END  1 /* ends it */
#define VMM_DECODED_SYNC 2 /* ends it, and mode, segments or attention may have changed */

/* Decodes the instruction at `bytes`, of which `available` may be read.  Returns its length; 0 if
   that was not enough; -1 if it is longer than 15 bytes.  What does not exist gets vmm_op_ud. */
int vmm_decode (const uint8_t *bytes, unsigned available, unsigned key, VmmInsn *insn,
                unsigned *decoded);

/* ---- Handlers ---- */

void vmm_op_ud (VmmVcpu *c, const VmmInsn *i);

enum
{
  VMM_ADD,
  VMM_OR,
  VMM_ADC,
  VMM_SBB,
  VMM_AND,
  VMM_SUB,
  VMM_XOR,
  VMM_CMP
};
extern const VmmForms vmm_alu_rm_r[8], vmm_alu_r_rm[8], vmm_alu_rm_i[8];
extern const VmmForms vmm_test_rm_r, vmm_test_rm_i, vmm_inc, vmm_dec, vmm_not, vmm_neg;
extern const VmmForms vmm_mov_rm_r, vmm_mov_r_rm, vmm_mov_rm_i, vmm_movzx8, vmm_movzx16, vmm_movsx8,
    vmm_movsx16, vmm_lea, vmm_xchg, vmm_xadd, vmm_cmpxchg;
extern const VmmForms vmm_cmov[16], vmm_setcc[16];
/* ROL ROR RCL RCR SHL SHR SAL SAR by 1 or an immediate, and by CL. */
extern const VmmForms vmm_shift_i[8], vmm_shift_cl[8];
extern const VmmForms vmm_shld_i, vmm_shld_cl, vmm_shrd_i, vmm_shrd_cl;
extern const VmmForms vmm_mul, vmm_imul, vmm_div, vmm_idiv, vmm_imul_r_rm, vmm_imul_r_rm_i;
/* BT BTS BTR BTC */
extern const VmmForms vmm_bit_r[4], vmm_bit_i[4], vmm_bsf, vmm_bsr;
extern const VmmForms vmm_push_r, vmm_pop_r, vmm_push_i, vmm_push_rm, vmm_leave_forms;
extern const VmmForms vmm_jcc[16], vmm_jmp_rel, vmm_call_rel, vmm_ret, vmm_ret_i, vmm_jmp_rm,
    vmm_call_rm;

#define VMM_HANDLER(name) void vmm_op_##name (VmmVcpu *c, const VmmInsn *i)
/* mov.c */
VMM_HANDLER (nop);
VMM_HANDLER (xchg_a_r16);
VMM_HANDLER (xchg_a_r32);
VMM_HANDLER (mov_r8_i);
VMM_HANDLER (mov_r16_i);
VMM_HANDLER (mov_r32_i);
VMM_HANDLER (inc_r16);
VMM_HANDLER (inc_r32);
VMM_HANDLER (dec_r16);
VMM_HANDLER (dec_r32);
VMM_HANDLER (bswap);
VMM_HANDLER (xlat);
VMM_HANDLER (cbw);
VMM_HANDLER (cwd);
VMM_HANDLER (lahf);
VMM_HANDLER (sahf);
VMM_HANDLER (salc);
VMM_HANDLER (cmpxchg8b);
VMM_HANDLER (clc);
VMM_HANDLER (stc);
VMM_HANDLER (cmc);
VMM_HANDLER (cld);
VMM_HANDLER (std);
/* bcd.c */
VMM_HANDLER (daa);
VMM_HANDLER (das);
VMM_HANDLER (aaa);
VMM_HANDLER (aas);
VMM_HANDLER (aam);
VMM_HANDLER (aad);
/* stack.c */
VMM_HANDLER (push_segment);
VMM_HANDLER (pop_segment);
VMM_HANDLER (pop_rm);
VMM_HANDLER (pusha);
VMM_HANDLER (popa);
VMM_HANDLER (pushf);
VMM_HANDLER (popf);
VMM_HANDLER (enter);
VMM_HANDLER (leave);

/* flow.c */
VMM_HANDLER (loop);
VMM_HANDLER (loope);
VMM_HANDLER (loopne);
VMM_HANDLER (jcxz);
VMM_HANDLER (bound);
VMM_HANDLER (jmp_far);
VMM_HANDLER (call_far);
VMM_HANDLER (jmp_far_m);
VMM_HANDLER (call_far_m);
VMM_HANDLER (ret_far);
VMM_HANDLER (iret);
VMM_HANDLER (int3);
VMM_HANDLER (int_n);
VMM_HANDLER (into);
VMM_HANDLER (icebp);
/* string.c: 8 bits and the operand size, without and with a REP prefix */
#define VMM_STRING_HANDLERS(name)                                                                  \
  VMM_HANDLER (name##8);                                                                           \
  VMM_HANDLER (name##16);                                                                          \
  VMM_HANDLER (name##32);                                                                          \
  VMM_HANDLER (rep_##name##8);                                                                     \
  VMM_HANDLER (rep_##name##16);                                                                    \
  VMM_HANDLER (rep_##name##32);
VMM_STRING_HANDLERS (movs)
VMM_STRING_HANDLERS (cmps)
VMM_STRING_HANDLERS (stos)
VMM_STRING_HANDLERS (lods)
VMM_STRING_HANDLERS (scas)
VMM_STRING_HANDLERS (ins)
VMM_STRING_HANDLERS (outs)
/* sysinsn.c */
VMM_HANDLER (cli);
VMM_HANDLER (sti);
VMM_HANDLER (hlt);
VMM_HANDLER (in8_i);
VMM_HANDLER (in_i);
VMM_HANDLER (in8_dx);
VMM_HANDLER (in_dx);
VMM_HANDLER (out8_i);
VMM_HANDLER (out_i);
VMM_HANDLER (out8_dx);
VMM_HANDLER (out_dx);
VMM_HANDLER (mov_rm_segment);
VMM_HANDLER (mov_segment_rm);
VMM_HANDLER (load_far_pointer);
VMM_HANDLER (arpl);
VMM_HANDLER (sldt);
VMM_HANDLER (str);
VMM_HANDLER (lldt);
VMM_HANDLER (ltr);
VMM_HANDLER (verr);
VMM_HANDLER (verw);
VMM_HANDLER (sgdt);
VMM_HANDLER (sidt);
VMM_HANDLER (lgdt);
VMM_HANDLER (lidt);
VMM_HANDLER (smsw);
VMM_HANDLER (lmsw);
VMM_HANDLER (invlpg);
VMM_HANDLER (lar);
VMM_HANDLER (lsl);
VMM_HANDLER (clts);
VMM_HANDLER (invd);
VMM_HANDLER (mov_r_cr);
VMM_HANDLER (mov_cr_r);
VMM_HANDLER (mov_r_dr);
VMM_HANDLER (mov_dr_r);
VMM_HANDLER (wrmsr);
VMM_HANDLER (rdmsr);
VMM_HANDLER (rdtsc);
VMM_HANDLER (rdpmc);
VMM_HANDLER (cpuid);
VMM_HANDLER (sysenter);
VMM_HANDLER (sysexit);
VMM_HANDLER (rsm);
VMM_HANDLER (additions);
