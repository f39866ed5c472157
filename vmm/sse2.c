/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE2: doubles, and MMX's integers, in XMM registers.
 *
 * After Intel's Software Developer's Manual, volume 1 chapter 11 and volume 2.  All of it is #UD on
 * a processor that is configured without SSE2, before anything else is looked at.
 *
 * What differs from an instruction of SSE by its name alone (MOVAPD, ANDPD) is that instruction's
 * handler behind the check.  Arithmetic is sse.h's, with the host's stub that the prefix chooses;
 * integers are the host's stub of the opcode.  Moves, shuffles and what works on bytes of the whole
 * register are done here.  Which instruction is which stands in the tables at the end.
 *
 *  - CLFLUSH checks its operand as a byte that is read; LFENCE and MFENCE order nothing here.
 *  - MASKMOVDQU wants all sixteen bytes to be writable, whatever the mask is.
 */
#include "sse.h"

#define HANDLER(name, ...)                                                                         \
  static void name (VmmVcpu *c, const VmmInsn *i)                                                  \
  {                                                                                                \
    sse2_check (c);                                                                                \
    __VA_ARGS__;                                                                                   \
  }

/* ---- As in SSE ---- */

#define AS_IN_SSE(name)                                                                            \
  static VMM_HOT void name (VmmVcpu *c, const VmmInsn *i)                                          \
  {                                                                                                \
    sse2_need (c);                                                                                 \
    vmm_sse_##name (c, i);                                                                         \
  }
AS_IN_SSE (load)
AS_IN_SSE (save)
AS_IN_SSE (load_unaligned)
AS_IN_SSE (save_unaligned)
AS_IN_SSE (load_half)
AS_IN_SSE (save_half)
AS_IN_SSE (logical)

/* ---- Floating point ---- */

/* 0F 50 .. 0F 5F by prefix and by what the source has. */
HANDLER (arithmetic_pd, sse_arithmetic (c, i, SSE_PD, 16))
HANDLER (arithmetic_sd, sse_arithmetic (c, i, SSE_SD, 8))
HANDLER (cvtps2pd, sse_arithmetic (c, i, SSE_PS, 8))
HANDLER (cvtss2sd, sse_arithmetic (c, i, SSE_SS, 4))
HANDLER (cvtdq2ps, sse_arithmetic (c, i, SSE_PS, 16))
HANDLER (cvttps2dq, sse_arithmetic (c, i, SSE_SS, 16))

HANDLER (compare_pd, sse_compare (c, i, SSE_PD, 16))
HANDLER (compare_sd, sse_compare (c, i, SSE_SD, 8))
HANDLER (comisd, sse_compare_flags (c, i, 8))

HANDLER (cvtpi2pd, sse_from_mmx (c, i, SSE_CVTDQ2PD))
HANDLER (cvtsi2sd, sse_from_gpr (c, i, SSE_CVTSI2SD))
HANDLER (cvtsd2si, sse_to_gpr (c, i, SSE_CVTSD2SI, 8))
HANDLER (cvtpd2pi, sse_to_mmx (c, i, SSE_CVTPD2PI, 16))

static void
cvtdq2pd (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm source = sse_low (c, i, 8);
  sse_convert (c, i, SSE_CVTDQ2PD, &source);
}

/* CVTPD2DQ (F2), CVTTPD2DQ (66) */
static void
cvtpd2dq (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm source = sse_packed (c, i);
  bool rounds = i->flags & VMM_INSN_REPNE;
  sse_convert (c, i, rounds ? SSE_CVTPD2DQ : SSE_CVTTPD2DQ, &source);
}

static void
shufpd (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm s = sse_packed (c, i), d = sse_get (c, i->reg);
  Xmm r = { .q = { d.q[i->imm & 1], s.q[i->imm >> 1 & 1] } };
  sse_set (c, i->reg, &r);
}

static void
movmskpd (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = sse_get (c, i->rm);
  c->gpr[i->reg] = (uint32_t) (v.q[0] >> 63 | v.q[1] >> 63 << 1);
}

/* ---- Integers by the host's instruction ---- */

typedef void (*VmmHostPacked) (void *destination, const void *source);

static inline void
packed (VmmVcpu *c, unsigned n, unsigned opcode, const Xmm *source)
{
  Xmm destination = sse_get (c, n);
  ((VmmHostPacked) (vmm_host_packed + 16 * (opcode - 0x60))) (&destination, source);
  sse_set (c, n, &destination);
}

static VMM_HOT void
integer (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm source = sse_packed (c, i);
  packed (c, i->reg, i->opcode, &source);
}

/* UNPCKLPD (14) is PUNPCKLQDQ (6C), UNPCKHPD (15) is PUNPCKHQDQ (6D). */
static void
unpack_pd (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm source = sse_packed (c, i);
  packed (c, i->reg, i->opcode + 0x6cu - 0x14u, &source);
}

/* 71, 72, 73 with an immediate count are D1 .. F3 with that count in memory. */
static void
shift_elements (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm count = { { i->imm } };
  unsigned row = i->reg == 2 ? 0xd0 : i->reg == 4 ? 0xe0 : 0xf0;
  packed (c, i->rm, row + (i->opcode & 3), &count);
}

/* PSRLDQ (73 /3), PSLLDQ (73 /7): by bytes */
static void
shift_register (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = sse_get (c, i->rm), r = { { 0 } };
  unsigned count = i->imm < 16 ? i->imm : 16;
  if (i->reg == 3)
    memcpy (r.b, v.b + count, 16 - count);
  else
    memcpy (r.b + count, v.b, 16 - count);
  sse_set (c, i->rm, &r);
}

/* ---- Shuffles ---- */

static void
pshufd (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm s = sse_packed (c, i), r;
  for (unsigned n = 0; n < 4; n++)
    r.d[n] = s.d[i->imm >> 2 * n & 3];
  sse_set (c, i->reg, &r);
}

/* PSHUFLW (F2), PSHUFHW (F3) */
static void
pshufw_half (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = sse_packed (c, i);
  unsigned half = i->flags & VMM_INSN_REP ? 1 : 0;
  v.q[half] = vmm_mmx_shuffle (v.q[half], i->imm);
  sse_set (c, i->reg, &v);
}

static void
pinsrw (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  bool memory = i->flags & VMM_INSN_MEM;
  uint32_t word = memory ? vmm_read16 (c, i->segment, vmm_ea (c, i)) : c->gpr[i->rm];
  Xmm v = sse_get (c, i->reg);
  v.w[i->imm & 7] = (uint16_t) word;
  sse_set (c, i->reg, &v);
}

static void
pextrw (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  c->gpr[i->reg] = sse_get (c, i->rm).w[i->imm & 7];
}

static VMM_HOT void
pmovmskb (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t mask = 0;
  sse2_check (c);
  Xmm v = sse_get (c, i->rm);
  for (unsigned n = 0; n < 16; n++)
    mask |= (uint32_t) (v.b[n] >> 7) << n;
  c->gpr[i->reg] = mask;
}

/* ---- Moves ---- */

HANDLER (movsd_load, sse_load_scalar (c, i, 8))
HANDLER (movsd_store, sse_store_scalar (c, i, 8))

/* MOVQ (F3 7E, and 66 D6 to a register): the rest becomes zero. */
static VMM_HOT void
movq (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = sse_low (c, i, 8);
  sse_set (c, i->reg, &v);
}

static void
movq_to_register (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = { .q = { sse_get (c, i->reg).q[0] } };
  sse_set (c, i->rm, &v);
}

static void
movd_load (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  Xmm v = { { 0 } };
  if (i->flags & VMM_INSN_MEM)
    v = sse_low (c, i, 4);
  else
    v.d[0] = c->gpr[i->rm];
  sse_set (c, i->reg, &v);
}

static void
movd_store (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  if (i->flags & VMM_INSN_MEM)
    sse_store (c, sse_linear (c, i, 4, VMM_CAN_WRITE), fx_xmm (c, i->reg), 4);
  else
    c->gpr[i->rm] = sse_get (c, i->reg).d[0];
}

static void
movdq2q (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  mmx_check (c);
  fpu_enter (c);
  vmm_mmx_set (i->reg, sse_get (c, i->rm).q[0]);
  fpu_leave (c);
}

static void
movq2dq (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  mmx_check (c);
  fpu_enter (c);
  Xmm v = { .q = { vmm_mmx_get (i->rm) } };
  fpu_leave (c);
  sse_set (c, i->reg, &v);
}

/* The bytes of a register whose mask bytes are negative, to DS:EDI. */
static void
maskmovdqu (VmmVcpu *c, const VmmInsn *i)
{
  sse2_check (c);
  uint32_t offset = i->flags & VMM_INSN_A16 ? c->gpr[VMM_EDI] & 0xffff : c->gpr[VMM_EDI];
  Xmm v = sse_get (c, i->reg), mask = sse_get (c, i->rm);
  uint32_t linear = fpu_linear (c, i->segment, offset, 16, sse_alignment (16), VMM_CAN_WRITE);
  vmm_probe_write (c, linear, 16, c->user);
  for (unsigned n = 0; n < 16; n++)
    if (mask.b[n] >> 7)
      vmm_write_linear8 (c, linear + n, v.b[n], c->user);
}

/* ---- Without XMM registers ---- */

static void
movnti (VmmVcpu *c, const VmmInsn *i)
{
  sse2_need (c);
  vmm_write32 (c, i->segment, vmm_ea (c, i), c->gpr[i->reg]);
}

/* LFENCE, MFENCE */
static void
fence (VmmVcpu *c, const VmmInsn *i)
{
  sse2_need (c);
}

/* A segment of code that cannot be read will do. */
static void
clflush (VmmVcpu *c, const VmmInsn *i)
{
  sse2_need (c);
  const VmmSegment *seg = &c->seg[i->segment];
  uint32_t ea = vmm_ea (c, i), linear = seg->base + ea;
  bool allowed = (seg->can & VMM_CAN_READ) || (seg->flags & SEG_CODE);
  if (ea < seg->low || ea > seg->high || !allowed)
    vmm_segment_fault (c, i->segment);
  if (!vmm_direct (c->tables[c->user]->read, linear, 1))
    vmm_probe_read (c, linear, 1, c->user);
}

/* ---- Which instruction is which ---- */

typedef struct {
  VmmHandler reg, mem; /* by what r/m is */
} Forms;
#define BOTH(handler)                                                                              \
  {                                                                                                \
    .reg = handler, .mem = handler                                                                 \
  }
#define REG(handler)                                                                               \
  {                                                                                                \
    .reg = handler                                                                                 \
  }
#define MEM(handler)                                                                               \
  {                                                                                                \
    .mem = handler                                                                                 \
  }

static const Forms unprefixed[256] = {
  [0x5a] = BOTH (cvtps2pd),
  [0x5b] = BOTH (cvtdq2ps),
  [0xc3] = MEM (movnti),
};

static const Forms with_66[256] = {
  [0x10] = BOTH (load_unaligned),
  [0x11] = BOTH (save_unaligned),
  [0x12] = MEM (load_half),
  [0x13] = MEM (save_half),
  [0x14 ... 0x15] = BOTH (unpack_pd),
  [0x16] = MEM (load_half),
  [0x17] = MEM (save_half),
  [0x28] = BOTH (load),
  [0x29] = BOTH (save),
  [0x2a] = BOTH (cvtpi2pd),
  [0x2b] = MEM (save),
  [0x2c ... 0x2d] = BOTH (cvtpd2pi),
  [0x2e ... 0x2f] = BOTH (comisd),
  [0x50] = REG (movmskpd),
  [0x51] = BOTH (arithmetic_pd),
  [0x54 ... 0x57] = BOTH (logical),
  [0x58 ... 0x5f] = BOTH (arithmetic_pd),
  [0x60 ... 0x6d] = BOTH (integer),
  [0x6e] = BOTH (movd_load),
  [0x6f] = BOTH (load),
  [0x70] = BOTH (pshufd),
  /* 71 - 73 are groups */
  [0x74 ... 0x76] = BOTH (integer),
  [0x7e] = BOTH (movd_store),
  [0x7f] = BOTH (save),
  [0xc2] = BOTH (compare_pd),
  [0xc4] = BOTH (pinsrw),
  [0xc5] = REG (pextrw),
  [0xc6] = BOTH (shufpd),
  [0xd1 ... 0xd5] = BOTH (integer),
  [0xd6] = { movq_to_register, movsd_store },
  [0xd7] = REG (pmovmskb),
  [0xd8 ... 0xe5] = BOTH (integer),
  [0xe6] = BOTH (cvtpd2dq),
  [0xe7] = MEM (save),
  [0xe8 ... 0xef] = BOTH (integer),
  [0xf1 ... 0xf6] = BOTH (integer),
  [0xf7] = REG (maskmovdqu),
  [0xf8 ... 0xfe] = BOTH (integer),
};

static const Forms with_f3[256] = {
  [0x5a] = BOTH (cvtss2sd),    [0x5b] = BOTH (cvttps2dq), [0x6f] = BOTH (load_unaligned),
  [0x70] = BOTH (pshufw_half), [0x7e] = BOTH (movq),      [0x7f] = BOTH (save_unaligned),
  [0xd6] = REG (movq2dq),      [0xe6] = BOTH (cvtdq2pd),
};

static const Forms with_f2[256] = {
  [0x10] = BOTH (movsd_load),
  [0x11] = BOTH (movsd_store),
  [0x2a] = BOTH (cvtsi2sd),
  [0x2c ... 0x2d] = BOTH (cvtsd2si),
  [0x51] = BOTH (arithmetic_sd),
  [0x58 ... 0x5a] = BOTH (arithmetic_sd),
  [0x5c ... 0x5f] = BOTH (arithmetic_sd),
  [0x70] = BOTH (pshufw_half),
  [0xc2] = BOTH (compare_sd),
  [0xd6] = REG (movdq2q),
  [0xe6] = BOTH (cvtpd2dq),
};

static VmmHandler
shift_handler (uint8_t opcode, unsigned reg)
{
  if (opcode == 0x73 && (reg == 3 || reg == 7))
    return shift_register;
  bool arithmetic = reg == 4 && opcode != 0x73;
  return reg == 2 || reg == 6 || arithmetic ? shift_elements : NULL;
}

static VmmHandler
cache_handler (unsigned reg, bool memory)
{
  if (memory)
    return reg == 7 ? clflush : NULL;
  return reg == 5 || reg == 6 ? fence : NULL;
}

VmmHandler
vmm_sse2_handler (uint8_t opcode, uint8_t modrm, uint8_t prefix)
{
  bool memory = modrm < 0xc0;
  unsigned reg = modrm >> 3 & 7;
  if (prefix == 0 && opcode == 0xae)
    return cache_handler (reg, memory);
  if (prefix == 0x66 && opcode >= 0x71 && opcode <= 0x73)
    return memory ? NULL : shift_handler (opcode, reg);
  const Forms *forms = prefix == 0      ? unprefixed
                       : prefix == 0x66 ? with_66
                       : prefix == 0xf3 ? with_f3
                                        : with_f2;
  return memory ? forms[opcode].mem : forms[opcode].reg;
}

bool
vmm_is_sse2 (const VmmInsn *i)
{
  uint8_t prefix = i->flags & VMM_INSN_REP     ? 0xf3
                   : i->flags & VMM_INSN_REPNE ? 0xf2
                   : i->flags & VMM_INSN_66    ? 0x66
                                               : 0;
  bool on_mmx = prefix == 0 && (i->opcode == 0xd4 || i->opcode == 0xf4 || i->opcode == 0xfb);
  return i->map && (on_mmx || vmm_sse2_handler (i->opcode, i->modrm, prefix));
}
