/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What sse.c and sse2.c share: XMM registers, operands, MXCSR and its exceptions, the host's stubs.
 *
 * Instructions of one opcode differ by their mandatory prefix.  An SseForm names which of the four
 * it is, and is the index of its stub in the host's tables (host_ops.asm): bit 0 tells that
 * elements are doubles, bit 1 that there is only one.
 */
#pragma once

#include "fpu.h"

typedef enum {
  SSE_PS, /* no prefix: four floats */
  SSE_PD, /* 66: two doubles */
  SSE_SS, /* F3: a float */
  SSE_SD, /* F2: a double */
} SseForm;
#define SSE_FORMS 4u

typedef void (*VmmHostSse) (void *destination, const void *source, uint32_t *mxcsr);
typedef uint64_t (*VmmHostInteger) (void *, const void *source, uint32_t *mxcsr);
typedef uint32_t (*VmmHostCompare) (const void *first, const void *second, uint32_t *mxcsr);

typedef union {
  uint32_t d[4];
  uint8_t b[16];
  uint16_t w[8];
  uint64_t q[2];
  float f[4];
  double g[2];
} __attribute__ ((aligned (16))) Xmm;

static inline Xmm
sse_get (VmmVcpu *c, unsigned n)
{
  Xmm v;
  memcpy (&v, fx_xmm (c, n), 16);
  return v;
}

static inline void
sse_set (VmmVcpu *c, unsigned n, const Xmm *v)
{
  memcpy (fx_xmm (c, n), v, 16);
}

/* Start of an SSE2 instruction on XMM registers. */
static inline void
sse2_check (VmmVcpu *c)
{
  sse2_need (c);
  sse_check (c);
}

/* ---- Operands ---- */

/* 16 bytes that must be aligned: #GP(0), before the segment's limit is looked at. */
static inline uint32_t
sse_aligned_linear (VmmVcpu *c, const VmmInsn *i, unsigned can)
{
  uint32_t ea = vmm_ea (c, i);
  if (VMM_UNLIKELY ((c->seg[i->segment].base + ea) & 15))
    vmm_gp0 (c);
  return fpu_linear (c, i->segment, ea, 16, 1, can);
}

/* What #AC asks of an operand; unaligned moves of 16 bytes are free. */
static inline unsigned
sse_alignment (unsigned size)
{
  return size < 16 ? size : 1;
}

static inline uint32_t
sse_linear (VmmVcpu *c, const VmmInsn *i, unsigned size, unsigned can)
{
  return fpu_linear (c, i->segment, vmm_ea (c, i), size, sse_alignment (size), can);
}

static inline Xmm
sse_packed (VmmVcpu *c, const VmmInsn *i)
{
  Xmm v;
  if (i->flags & VMM_INSN_MEM)
    fpu_read (c, sse_aligned_linear (c, i, VMM_CAN_READ), &v, 16);
  else
    v = sse_get (c, i->rm);
  return v;
}

/* The low `size` bytes of a register or memory, the rest zero. */
static inline Xmm
sse_low (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  Xmm v = { { 0 } };
  if (i->flags & VMM_INSN_MEM)
    fpu_read (c, sse_linear (c, i, size, VMM_CAN_READ), &v, size);
  else
    memcpy (&v, fx_xmm (c, i->rm), size);
  return v;
}

static inline void
sse_store (VmmVcpu *c, uint32_t linear, const void *from, unsigned size)
{
  fpu_probe (c, linear, size);
  fpu_write (c, linear, from, size);
}

/* MOVSS and MOVSD: what comes from memory clears the rest of the register. */
static inline void
sse_load_scalar (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  Xmm v = sse_low (c, i, size);
  memcpy (fx_xmm (c, i->reg), &v, i->flags & VMM_INSN_MEM ? 16 : size);
}

static inline void
sse_store_scalar (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  if (i->flags & VMM_INSN_MEM)
    sse_store (c, sse_linear (c, i, size, VMM_CAN_WRITE), fx_xmm (c, i->reg), size);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), size);
}

/* ---- MXCSR and exceptions ---- */

/* What the host's MXCSR is loaded with: the guest's control bits, exceptions masked, no flags. */
static inline uint32_t
sse_host_mxcsr (VmmVcpu *c)
{
  uint32_t mxcsr = fx_get32 (c->fpu.fx, FX_MXCSR);
  uint32_t host = (mxcsr & ~FSW_EXCEPTIONS) | MXCSR_MASKS;
  /* Flush-to-zero has no effect while underflow is unmasked. */
  return mxcsr & FSW_UE << MXCSR_MASKS_SHIFT ? host : host & ~MXCSR_FTZ;
}

static inline void
sse_restore_mxcsr (uint32_t used)
{
  if (VMM_UNLIKELY ((used & ~FSW_EXCEPTIONS) != MXCSR_RESET))
    {
      const uint32_t usual = MXCSR_RESET;
      __asm__ volatile("ldmxcsr %0" : : "m"(usual));
    }
}

/* Notes the flags that an instruction raised while all were masked; raises what is unmasked.  Where
   an exception found before computing is unmasked there is no computation and none of its flags. */
static inline void
sse_take_flags (VmmVcpu *c, uint32_t raised)
{
  uint32_t mxcsr = fx_get32 (c->fpu.fx, FX_MXCSR);
  raised &= FSW_EXCEPTIONS;
  uint32_t unmasked = raised & ~(mxcsr >> MXCSR_MASKS_SHIFT);
  if (VMM_LIKELY (!unmasked))
    {
      if (raised & ~mxcsr)
        fx_put32 (c->fpu.fx, FX_MXCSR, mxcsr | raised);
      return;
    }
  if (unmasked & (FSW_IE | FSW_DE | FSW_ZE))
    raised &= FSW_IE | FSW_DE | FSW_ZE;
  fx_put32 (c->fpu.fx, FX_MXCSR, mxcsr | raised);
  vmm_raise (c, c->cr4 & CR4_OSXMMEXCPT ? EX_XM : EX_UD);
}

static inline bool
sse_range_unmasked (VmmVcpu *c)
{
  const uint32_t both = (FSW_OE | FSW_UE) << MXCSR_MASKS_SHIFT;
  return (fx_get32 (c->fpu.fx, FX_MXCSR) & both) != both;
}

/* Raises what sse_run would not notice, or notice wrongly, while overflow or underflow is unmasked.
 */
void vmm_sse_take_range_flags (VmmVcpu *c, const VmmInsn *i, SseForm form, const Xmm *source);

/* ---- The host's instructions ---- */

static inline VmmHostSse
sse_stub (const uint8_t *table, unsigned index)
{
  return (VmmHostSse) (table + 32 * index);
}

static inline void
sse_run (VmmVcpu *c, unsigned n, VmmHostSse stub, const Xmm *source)
{
  Xmm destination = sse_get (c, n);
  uint32_t work = sse_host_mxcsr (c);
  stub (&destination, source, &work);
  sse_restore_mxcsr (work);
  sse_take_flags (c, work);
  sse_set (c, n, &destination);
}

/* 0F 50 .. 0F 5F with a source of 16 bytes, aligned in memory, or of less. */
static inline void
sse_arithmetic (VmmVcpu *c, const VmmInsn *i, SseForm form, unsigned bytes)
{
  Xmm source = bytes == 16 ? sse_packed (c, i) : sse_low (c, i, bytes);
  if (VMM_UNLIKELY (sse_range_unmasked (c)))
    vmm_sse_take_range_flags (c, i, form, &source);
  sse_run (c, i->reg, sse_stub (vmm_host_sse, (i->opcode - 0x50u) * SSE_FORMS + form), &source);
}

static inline void
sse_compare (VmmVcpu *c, const VmmInsn *i, SseForm form, unsigned bytes)
{
  Xmm source = bytes == 16 ? sse_packed (c, i) : sse_low (c, i, bytes);
  sse_run (c, i->reg, sse_stub (vmm_host_cmp, (i->imm & 7) * SSE_FORMS + form), &source);
}

/* UCOMISx (2E), COMISx (2F) */
static inline void
sse_compare_flags (VmmVcpu *c, const VmmInsn *i, unsigned bytes)
{
  Xmm source = sse_low (c, i, bytes), first = sse_get (c, i->reg);
  uint32_t work = sse_host_mxcsr (c);
  unsigned index = (i->opcode & 1) + (bytes == 8 ? 2 : 0);
  uint32_t flags = ((VmmHostCompare) (vmm_host_comis + 32 * index)) (&first, &source, &work);
  sse_restore_mxcsr (work);
  sse_take_flags (c, work);
  c->eflags = (c->eflags & ~FL_ARITH) | (flags >> 8 & (FL_ARITH & 0xff)) | (flags & 1) * FL_OF;
}

/* ORDER: conversions, host_ops.asm */
typedef enum {
  SSE_CVTPI2PS,
  SSE_CVTSI2SS,
  SSE_CVTSI2SD,
  SSE_CVTDQ2PD,
  SSE_CVTTPD2DQ,
  SSE_CVTPD2DQ,
} SseConversion;

/* To an integer or a pair of them; the rounding one of two, the truncating one follows.
   ORDER: integers, host_ops.asm */
typedef enum {
  SSE_CVTSS2SI = 0,
  SSE_CVTPS2PI = 2,
  SSE_CVTSD2SI = 4,
  SSE_CVTPD2PI = 6,
} SseToInteger;

static inline void
sse_convert (VmmVcpu *c, const VmmInsn *i, SseConversion which, const Xmm *source)
{
  sse_run (c, i->reg, sse_stub (vmm_host_convert, which), source);
}

/* CVTSI2SS, CVTSI2SD */
static inline void
sse_from_gpr (VmmVcpu *c, const VmmInsn *i, SseConversion which)
{
  Xmm source = { { 0 } };
  source.d[0] = i->flags & VMM_INSN_MEM ? vmm_read32 (c, i->segment, vmm_ea (c, i)) : c->gpr[i->rm];
  sse_convert (c, i, which, &source);
}

/* CVTPI2PS, CVTPI2PD */
static inline void
sse_from_mmx (VmmVcpu *c, const VmmInsn *i, SseConversion which)
{
  Xmm source = { { 0 } };
  if (i->flags & VMM_INSN_MEM)
    source = sse_low (c, i, 8);
  else
    {
      mmx_check (c);
      fpu_enter (c);
      source.q[0] = vmm_mmx_get (i->rm);
      fpu_leave (c);
    }
  sse_convert (c, i, which, &source);
}

static inline uint64_t
sse_to_integer (VmmVcpu *c, const VmmInsn *i, SseToInteger which, const Xmm *source)
{
  uint32_t work = sse_host_mxcsr (c);
  unsigned index = which + (i->opcode == 0x2c); /* 2C truncates, 2D rounds */
  uint64_t v = ((VmmHostInteger) (vmm_host_integer + 32 * index)) (NULL, source, &work);
  sse_restore_mxcsr (work);
  sse_take_flags (c, work);
  return v;
}

static inline void
sse_to_gpr (VmmVcpu *c, const VmmInsn *i, SseToInteger which, unsigned bytes)
{
  Xmm source = sse_low (c, i, bytes);
  c->gpr[i->reg] = (uint32_t) sse_to_integer (c, i, which, &source);
}

/* CVTPS2PI, CVTPD2PI */
static inline void
sse_to_mmx (VmmVcpu *c, const VmmInsn *i, SseToInteger which, unsigned bytes)
{
  mmx_check (c);
  Xmm source = bytes == 16 ? sse_packed (c, i) : sse_low (c, i, bytes);
  fpu_enter (c);
  vmm_mmx_get (i->reg); /* the x87 unit turns to MMX before an exception */
  uint64_t v = sse_to_integer (c, i, which, &source);
  vmm_mmx_set (i->reg, v);
  fpu_leave (c);
}

/* ---- sse.c: handlers that SSE2 has under other names ---- */

void vmm_sse_load (VmmVcpu *c, const VmmInsn *i); /* 16 bytes, aligned */
void vmm_sse_save (VmmVcpu *c, const VmmInsn *i);
void vmm_sse_load_unaligned (VmmVcpu *c, const VmmInsn *i);
void vmm_sse_save_unaligned (VmmVcpu *c, const VmmInsn *i);
void vmm_sse_load_half (VmmVcpu *c, const VmmInsn *i);
void vmm_sse_save_half (VmmVcpu *c, const VmmInsn *i);
void vmm_sse_logical (VmmVcpu *c, const VmmInsn *i);

/* ---- sse2.c ---- */

/* What came with SSE2, and NULL for all else. */
VmmHandler vmm_sse2_handler (uint8_t opcode, uint8_t modrm, uint8_t prefix);
