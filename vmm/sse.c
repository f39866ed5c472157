/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE, and the way to SSE2, MMX and the FXSAVE group.
 *
 * After Intel's Software Developer's Manual, volume 1 chapters 10 and 11.  XMM registers are in
 * c->fpu.fx; arithmetic is done by the host's instruction on copies of the operands, under the
 * guest's MXCSR with all exceptions masked.  What it raised is looked at before the result is
 * committed: an unmasked exception becomes #XM (#UD without CR4.OSXMMEXCPT) with the flags that the
 * processor would have set, and nothing else changed.
 *
 *  - Denormals-are-zeros (MXCSR bit 6) exists with SSE2; without, the bit is reserved.
 *  - RCP and RSQRT are approximations; their bits are those of the host's maker.
 *  - Hints (PREFETCH, SFENCE, the non-temporal stores) order nothing here.
 */
#include "sse.h"

/* ---- Overflow and underflow that are not masked ---- */

typedef uint16_t (*VmmHostExactness) (const double *a, const double *b, const uint16_t *control);

static double
element (SseForm form, Xmm v)
{
  return form & 1 ? v.g[0] : (double) v.f[0];
}

/* Is the result not a number of 53 (24) bits, whatever its exponent?  The x87 unit, set to round to
   so many, has a range in which nothing of the operands' sizes overflows.  (A denormal that MXCSR
   makes a zero of never leads to a result out of range.) */
static bool
inexact (VmmVcpu *c, unsigned opcode, SseForm form, Xmm first, Xmm second)
{
  bool narrows = opcode == 0x5a;
  uint16_t control = !narrows && (form & 1) ? 0x27f : 0x07f;
  double a = narrows ? 1 : element (form, first), b = element (form, second);
  unsigned index = narrows ? 0x59 - 0x58 : opcode - 0x58u;
  vmm_fpu_sync (c); /* the unit is taken */
  return ((VmmHostExactness) (vmm_host_exactness + 16 * index)) (&a, &b, &control) & FSW_PE;
}

/* With overflow or underflow unmasked the flags are not those of the masked instruction: every tiny
   result underflows, be it exact or not (flushing to zero tells which are tiny); and a result out
   of range is inexact only if its bits are.  One element at a time. */
static uint32_t
range_flags (VmmVcpu *c, unsigned opcode, SseForm form, Xmm first, Xmm second)
{
  unsigned scalar = form & 1 ? SSE_SD : SSE_SS;
  VmmHostSse stub = sse_stub (vmm_host_sse, (opcode - 0x50) * SSE_FORMS + scalar);
  bool underflow = !(fx_get32 (c->fpu.fx, FX_MXCSR) & FSW_UE << MXCSR_MASKS_SHIFT);
  bool overflow = !(fx_get32 (c->fpu.fx, FX_MXCSR) & FSW_OE << MXCSR_MASKS_SHIFT);
  Xmm r = first;
  uint32_t work = sse_host_mxcsr (c), tiny = sse_host_mxcsr (c) | MXCSR_FTZ;
  stub (&r, &second, &work);
  r = first;
  stub (&r, &second, &tiny);
  uint32_t flags = work & FSW_EXCEPTIONS;
  if ((underflow && (tiny & FSW_UE)) || (overflow && (flags & FSW_OE)))
    {
      flags |= tiny & FSW_UE;
      flags &= ~FSW_PE;
      sse_restore_mxcsr (0);
      if (inexact (c, opcode, form, first, second))
        flags |= FSW_PE;
    }
  return flags;
}

/* ADD, MUL, SUB, DIV; a double to a float */
static inline bool
has_range (unsigned opcode, SseForm form)
{
  return opcode == 0x58 || opcode == 0x59 || opcode == 0x5c || opcode == 0x5e
         || (opcode == 0x5a && (form & 1));
}

__attribute__ ((noinline)) void
vmm_sse_take_range_flags (VmmVcpu *c, const VmmInsn *i, SseForm form, const Xmm *source)
{
  Xmm first = sse_get (c, i->reg);
  uint32_t flags = 0;
  if (!has_range (i->opcode, form))
    return;
  for (unsigned n = 0; n < (form >= SSE_SS ? 1u : form == SSE_PD ? 2u : 4u); n++)
    {
      Xmm a = { { 0 } }, b = { { 0 } };
      if (form & 1)
        a.q[0] = first.q[n], b.q[0] = source->q[n];
      else
        a.d[0] = first.d[n], b.d[0] = source->d[n];
      flags |= range_flags (c, i->opcode, form, a, b);
    }
  sse_restore_mxcsr (0);
  sse_take_flags (c, flags);
}

/* ---- Arithmetic ---- */

static VMM_HOT void
arithmetic_packed (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_arithmetic (c, i, SSE_PS, 16);
}

static VMM_HOT void
arithmetic_scalar (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_arithmetic (c, i, SSE_SS, 4);
}

static void
compare_packed (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_compare (c, i, SSE_PS, 16);
}

static void
compare_scalar (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_compare (c, i, SSE_SS, 4);
}

static void
comiss (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_compare_flags (c, i, 4);
}

/* ---- Logic and movement ---- */

VMM_HOT void
vmm_sse_logical (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = sse_packed (c, i), d = sse_get (c, i->reg);
  for (unsigned n = 0; n < 2; n++)
    switch (i->opcode)
      {
      case 0x54: d.q[n] &= s.q[n]; break;
      case 0x55: d.q[n] = ~d.q[n] & s.q[n]; break;
      case 0x56: d.q[n] |= s.q[n]; break;
      default: d.q[n] ^= s.q[n];
      }
  sse_set (c, i->reg, &d);
}

/* UNPCKLPS (14), UNPCKHPS (15) */
static void
unpack (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = sse_packed (c, i), d = sse_get (c, i->reg);
  unsigned n = i->opcode == 0x15 ? 2 : 0;
  Xmm r = { { d.d[n], s.d[n], d.d[n + 1], s.d[n + 1] } };
  sse_set (c, i->reg, &r);
}

static void
shufps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = sse_packed (c, i), d = sse_get (c, i->reg);
  unsigned o = i->imm;
  Xmm r = { { d.d[o & 3], d.d[o >> 2 & 3], s.d[o >> 4 & 3], s.d[o >> 6 & 3] } };
  sse_set (c, i->reg, &r);
}

VMM_HOT void
vmm_sse_load (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = sse_packed (c, i);
  sse_set (c, i->reg, &v);
}

/* MOVAPS (29) and MOVNTPS (2B) */
VMM_HOT void
vmm_sse_save (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  if (i->flags & VMM_INSN_MEM)
    sse_store (c, sse_aligned_linear (c, i, VMM_CAN_WRITE), fx_xmm (c, i->reg), 16);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), 16);
}

VMM_HOT void
vmm_sse_load_unaligned (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = sse_low (c, i, 16);
  sse_set (c, i->reg, &v);
}

VMM_HOT void
vmm_sse_save_unaligned (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  if (i->flags & VMM_INSN_MEM)
    sse_store (c, sse_linear (c, i, 16, VMM_CAN_WRITE), fx_xmm (c, i->reg), 16);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), 16);
}

static VMM_HOT void
movss_load (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_load_scalar (c, i, 4);
}

static VMM_HOT void
movss_store (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_store_scalar (c, i, 4);
}

/* MOVLPS, MOVHLPS (12), MOVHPS, MOVLHPS (16) */
void
vmm_sse_load_half (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v;
  bool high = i->opcode == 0x16;
  if (i->flags & VMM_INSN_MEM)
    v = sse_low (c, i, 8);
  else
    memcpy (&v, fx_xmm (c, i->rm) + (high ? 0 : 8), 8);
  memcpy (fx_xmm (c, i->reg) + (high ? 8 : 0), &v, 8);
}

void
vmm_sse_save_half (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  const uint8_t *from = fx_xmm (c, i->reg) + (i->opcode == 0x17 ? 8 : 0);
  sse_store (c, sse_linear (c, i, 8, VMM_CAN_WRITE), from, 8);
}

static void
movmskps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = sse_get (c, i->rm);
  c->gpr[i->reg] = v.d[0] >> 31 | v.d[1] >> 31 << 1 | v.d[2] >> 31 << 2 | v.d[3] >> 31 << 3;
}

/* ---- Conversions ---- */

static void
cvtpi2ps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_from_mmx (c, i, SSE_CVTPI2PS);
}

static void
cvtsi2ss (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_from_gpr (c, i, SSE_CVTSI2SS);
}

static void
cvtss2si (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_to_gpr (c, i, SSE_CVTSS2SI, 4);
}

static void
cvtps2pi (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  sse_to_mmx (c, i, SSE_CVTPS2PI, 8);
}

/* ---- The rest ---- */

static void
ldmxcsr (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  uint32_t v = vmm_read32 (c, i->segment, vmm_ea (c, i));
  if (v & ~mxcsr_mask (c))
    vmm_gp0 (c);
  fx_put32 (c->fpu.fx, FX_MXCSR, v);
}

static void
stmxcsr (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  vmm_write32 (c, i->segment, vmm_ea (c, i), fx_get32 (c->fpu.fx, FX_MXCSR));
}

static void
hint (VmmVcpu *c, const VmmInsn *i)
{
}

static VmmHandler
group_ae (uint8_t modrm)
{
  if (modrm >= 0xc0)
    return modrm >= 0xf8 ? hint : NULL; /* SFENCE */
  switch (modrm >> 3 & 7)
    {
    case 0: return vmm_fpu_fxsave;
    case 1: return vmm_fpu_fxrstor;
    case 2: return ldmxcsr;
    case 3: return stmxcsr;
    }
  return NULL;
}

static VmmHandler
packed_handler (uint8_t opcode, bool memory)
{
  switch (opcode)
    {
    case 0x10: return vmm_sse_load_unaligned;
    case 0x11: return vmm_sse_save_unaligned;
    case 0x12:
    case 0x16: return vmm_sse_load_half;
    case 0x13:
    case 0x17: return memory ? vmm_sse_save_half : NULL;
    case 0x14:
    case 0x15: return unpack;
    case 0x28: return vmm_sse_load;
    case 0x29: return vmm_sse_save;
    case 0x2a: return cvtpi2ps;
    case 0x2b: return memory ? vmm_sse_save : NULL;
    case 0x2c:
    case 0x2d: return cvtps2pi;
    case 0x2e:
    case 0x2f: return comiss;
    case 0x50: return memory ? NULL : movmskps;
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57: return vmm_sse_logical;
    case 0x51:
    case 0x52:
    case 0x53:
    case 0x58:
    case 0x59:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f: return arithmetic_packed;
    case 0xc2: return compare_packed;
    case 0xc6: return shufps;
    }
  return NULL;
}

static VmmHandler
scalar_handler (uint8_t opcode)
{
  switch (opcode)
    {
    case 0x10: return movss_load;
    case 0x11: return movss_store;
    case 0x2a: return cvtsi2ss;
    case 0x2c:
    case 0x2d: return cvtss2si;
    case 0x51:
    case 0x52:
    case 0x53:
    case 0x58:
    case 0x59:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f: return arithmetic_scalar;
    case 0xc2: return compare_scalar;
    }
  return NULL;
}

VmmHandler
vmm_simd_handler (uint8_t opcode, uint8_t modrm, uint8_t prefix)
{
  if (opcode == 0x18)
    return hint; /* PREFETCHh */
  VmmHandler handler = vmm_sse2_handler (opcode, modrm, prefix);
  if (handler)
    return handler;
  if (prefix)
    return prefix == 0xf3 ? scalar_handler (opcode) : NULL;
  if (opcode == 0xae)
    return group_ae (modrm);
  handler = packed_handler (opcode, modrm < 0xc0);
  return handler ? handler : vmm_mmx_handler (opcode, modrm);
}
