/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE of the Pentium III, and the way to MMX and the FXSAVE group.
 *
 * After Intel's Software Developer's Manual, volume 1 chapters 10 and 11.  XMM registers are in
 * c->fpu.fx; arithmetic is done by the host's instruction on copies of the operands, under the
 * guest's MXCSR with all exceptions masked.  What it raised is looked at before the result is
 * committed: an unmasked exception becomes #XM (#UD without CR4.OSXMMEXCPT) with the flags that the
 * processor would have set, and nothing else changed.
 *
 *  - There is no denormals-are-zeros (MXCSR bit 6 is reserved), but flush-to-zero.
 *  - RCP and RSQRT are approximations; their bits are those of the host's maker.
 *  - Forms with the prefixes 66 and F2 came with SSE2: #UD.
 *  - Hints (PREFETCH, SFENCE, the non-temporal stores) order nothing here.
 */
#include "fpu.h"

typedef void (*VmmHostSse) (void *destination, const void *source, uint32_t *mxcsr);
typedef uint64_t (*VmmHostInteger) (void *, const void *source, uint32_t *mxcsr);
typedef uint32_t (*VmmHostCompare) (const void *first, const void *second, uint32_t *mxcsr);

typedef union {
  uint32_t d[4];
  uint64_t q[2];
  float f[4];
} __attribute__ ((aligned (16))) Xmm;

static inline Xmm
get (VmmVcpu *c, unsigned n)
{
  Xmm v;
  memcpy (&v, fx_xmm (c, n), 16);
  return v;
}

static inline void
set (VmmVcpu *c, unsigned n, const Xmm *v)
{
  memcpy (fx_xmm (c, n), v, 16);
}

/* ---- Operands ---- */

/* 16 bytes that must be aligned: #GP(0), before the segment's limit is looked at. */
static inline uint32_t
aligned_linear (VmmVcpu *c, const VmmInsn *i, unsigned can)
{
  uint32_t ea = vmm_ea (c, i);
  if (VMM_UNLIKELY ((c->seg[i->segment].base + ea) & 15))
    vmm_gp0 (c);
  return fpu_linear (c, i->segment, ea, 16, 1, can);
}

static inline Xmm
source_packed (VmmVcpu *c, const VmmInsn *i)
{
  Xmm v;
  if (i->flags & VMM_INSN_MEM)
    fpu_read (c, aligned_linear (c, i, VMM_CAN_READ), &v, 16);
  else
    v = get (c, i->rm);
  return v;
}

/* What #AC asks of an operand; unaligned moves of 16 bytes are free. */
static inline unsigned
alignment (unsigned size)
{
  return size < 16 ? size : 1;
}

/* The low `size` bytes of a register or memory, the rest zero. */
static inline Xmm
source_low (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  Xmm v = { { 0 } };
  if (i->flags & VMM_INSN_MEM)
    fpu_read (c, fpu_linear (c, i->segment, vmm_ea (c, i), size, alignment (size), VMM_CAN_READ),
              &v, size);
  else
    memcpy (&v, fx_xmm (c, i->rm), size);
  return v;
}

/* ---- MXCSR and exceptions ---- */

/* What the host's MXCSR is loaded with: the guest's control bits, exceptions masked, no flags. */
static inline uint32_t
host_mxcsr (VmmVcpu *c)
{
  uint32_t mxcsr = fx_get32 (c->fpu.fx, FX_MXCSR);
  uint32_t host = (mxcsr & ~FSW_EXCEPTIONS) | MXCSR_MASKS;
  /* Flush-to-zero has no effect while underflow is unmasked. */
  return mxcsr & FSW_UE << MXCSR_MASKS_SHIFT ? host : host & ~MXCSR_FTZ;
}

static inline void
restore_mxcsr (uint32_t used)
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
take_flags (VmmVcpu *c, uint32_t raised)
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
range_unmasked (VmmVcpu *c)
{
  const uint32_t both = (FSW_OE | FSW_UE) << MXCSR_MASKS_SHIFT;
  return (fx_get32 (c->fpu.fx, FX_MXCSR) & both) != both;
}

/* Is a op b not a number of 24 bits, whatever its exponent?  In double precision nothing overflows;
   what is inexact there, or has more bits, is inexact. */
static bool
inexact (unsigned opcode, float x, float y)
{
  double a = x, b = y;
  uint32_t csr = MXCSR_RESET, usual = MXCSR_RESET;
  uint64_t bits;
  switch (opcode)
    {
    case 0x58:
      __asm__ volatile("ldmxcsr %2\n\taddsd %3, %0\n\tstmxcsr %1"
                       : "+x"(a), "=m"(csr)
                       : "m"(usual), "x"(b));
      break;
    case 0x59:
      __asm__ volatile("ldmxcsr %2\n\tmulsd %3, %0\n\tstmxcsr %1"
                       : "+x"(a), "=m"(csr)
                       : "m"(usual), "x"(b));
      break;
    case 0x5c:
      __asm__ volatile("ldmxcsr %2\n\tsubsd %3, %0\n\tstmxcsr %1"
                       : "+x"(a), "=m"(csr)
                       : "m"(usual), "x"(b));
      break;
    default:
      __asm__ volatile("ldmxcsr %2\n\tdivsd %3, %0\n\tstmxcsr %1"
                       : "+x"(a), "=m"(csr)
                       : "m"(usual), "x"(b));
    }
  memcpy (&bits, &a, sizeof bits);
  return (csr & FSW_PE) || (bits & 0x1fffffff);
}

/* With overflow or underflow unmasked the flags are not those of the masked instruction: every tiny
   result underflows, be it exact or not (flushing to zero tells which are tiny); and a result out
   of range is inexact only if its 24 bits are.  One element at a time. */
static uint32_t
range_flags (VmmVcpu *c, unsigned opcode, Xmm first, Xmm second)
{
  VmmHostSse stub = (VmmHostSse) (vmm_host_sse + 32 * ((opcode - 0x50) * 2 + 1));
  bool underflow = !(fx_get32 (c->fpu.fx, FX_MXCSR) & FSW_UE << MXCSR_MASKS_SHIFT);
  bool overflow = !(fx_get32 (c->fpu.fx, FX_MXCSR) & FSW_OE << MXCSR_MASKS_SHIFT);
  Xmm r = first;
  uint32_t work = host_mxcsr (c), tiny = host_mxcsr (c) | MXCSR_FTZ;
  stub (&r, &second, &work);
  r = first;
  stub (&r, &second, &tiny);
  uint32_t flags = work & FSW_EXCEPTIONS;
  if ((underflow && (tiny & FSW_UE)) || (overflow && (flags & FSW_OE)))
    {
      flags |= tiny & FSW_UE;
      flags &= ~FSW_PE;
      if (inexact (opcode, first.f[0], second.f[0]))
        flags |= FSW_PE;
    }
  return flags;
}

static inline bool
has_range (unsigned opcode)
{
  return opcode == 0x58 || opcode == 0x59 || opcode == 0x5c || opcode == 0x5e;
}

/* Raises what `run` would not notice, or notice wrongly. */
static __attribute__ ((noinline)) void
take_range_flags (VmmVcpu *c, const VmmInsn *i, unsigned elements, const Xmm *source)
{
  Xmm first = get (c, i->reg);
  uint32_t flags = 0;
  for (unsigned n = 0; n < elements; n++)
    {
      Xmm a = { { first.d[n] } }, b = { { source->d[n] } };
      flags |= range_flags (c, i->opcode, a, b);
    }
  restore_mxcsr (0);
  take_flags (c, flags);
}

static inline void
run (VmmVcpu *c, unsigned n, VmmHostSse stub, const Xmm *source)
{
  Xmm destination = get (c, n);
  uint32_t work = host_mxcsr (c);
  stub (&destination, source, &work);
  restore_mxcsr (work);
  take_flags (c, work);
  set (c, n, &destination);
}

/* ---- Arithmetic ---- */

static inline VmmHostSse
stub_at (const uint8_t *table, unsigned index)
{
  return (VmmHostSse) (table + 32 * index);
}

static VMM_HOT void
arithmetic_packed (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_packed (c, i);
  if (VMM_UNLIKELY (range_unmasked (c)) && has_range (i->opcode))
    take_range_flags (c, i, 4, &source);
  run (c, i->reg, stub_at (vmm_host_sse, (i->opcode - 0x50u) * 2), &source);
}

static VMM_HOT void
arithmetic_scalar (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_low (c, i, 4);
  if (VMM_UNLIKELY (range_unmasked (c)) && has_range (i->opcode))
    take_range_flags (c, i, 1, &source);
  run (c, i->reg, stub_at (vmm_host_sse, (i->opcode - 0x50u) * 2 + 1), &source);
}

static void
compare_packed (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_packed (c, i);
  run (c, i->reg, stub_at (vmm_host_cmp, (i->imm & 7) * 2), &source);
}

static void
compare_scalar (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_low (c, i, 4);
  run (c, i->reg, stub_at (vmm_host_cmp, (i->imm & 7) * 2 + 1), &source);
}

/* UCOMISS (2E), COMISS (2F) */
static void
comiss (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_low (c, i, 4), first = get (c, i->reg);
  uint32_t work = host_mxcsr (c);
  VmmHostCompare stub = (VmmHostCompare) (vmm_host_comiss + 32 * (i->opcode & 1));
  uint32_t flags = stub (&first, &source, &work);
  restore_mxcsr (work);
  take_flags (c, work);
  c->eflags = (c->eflags & ~FL_ARITH) | (flags >> 8 & (FL_ARITH & 0xff)) | (flags & 1) * FL_OF;
}

/* ---- Logic and movement ---- */

static VMM_HOT void
logical (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = source_packed (c, i), d = get (c, i->reg);
  for (unsigned n = 0; n < 2; n++)
    switch (i->opcode)
      {
      case 0x54: d.q[n] &= s.q[n]; break;
      case 0x55: d.q[n] = ~d.q[n] & s.q[n]; break;
      case 0x56: d.q[n] |= s.q[n]; break;
      default: d.q[n] ^= s.q[n];
      }
  set (c, i->reg, &d);
}

/* UNPCKLPS (14), UNPCKHPS (15) */
static void
unpack (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = source_packed (c, i), d = get (c, i->reg);
  unsigned n = i->opcode == 0x15 ? 2 : 0;
  Xmm r = { { d.d[n], s.d[n], d.d[n + 1], s.d[n + 1] } };
  set (c, i->reg, &r);
}

static void
shufps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm s = source_packed (c, i), d = get (c, i->reg);
  unsigned o = i->imm;
  Xmm r = { { d.d[o & 3], d.d[o >> 2 & 3], s.d[o >> 4 & 3], s.d[o >> 6 & 3] } };
  set (c, i->reg, &r);
}

static VMM_HOT void
movaps_load (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = source_packed (c, i);
  set (c, i->reg, &v);
}

static inline void
store (VmmVcpu *c, uint32_t linear, const void *from, unsigned size)
{
  fpu_probe (c, linear, size);
  fpu_write (c, linear, from, size);
}

/* MOVAPS (29) and MOVNTPS (2B) */
static VMM_HOT void
movaps_store (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  if (i->flags & VMM_INSN_MEM)
    store (c, aligned_linear (c, i, VMM_CAN_WRITE), fx_xmm (c, i->reg), 16);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), 16);
}

static VMM_HOT void
movups_load (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = source_low (c, i, 16);
  set (c, i->reg, &v);
}

static VMM_HOT void
movups_store (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  if (i->flags & VMM_INSN_MEM)
    store (c, fpu_linear (c, i->segment, vmm_ea (c, i), 16, alignment (16), VMM_CAN_WRITE),
           fx_xmm (c, i->reg), 16);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), 16);
}

static VMM_HOT void
movss_load (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = source_low (c, i, 4);
  memcpy (fx_xmm (c, i->reg), &v, i->flags & VMM_INSN_MEM ? 16 : 4);
}

static VMM_HOT void
movss_store (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  if (i->flags & VMM_INSN_MEM)
    store (c, fpu_linear (c, i->segment, vmm_ea (c, i), 4, 4, VMM_CAN_WRITE), fx_xmm (c, i->reg),
           4);
  else
    memmove (fx_xmm (c, i->rm), fx_xmm (c, i->reg), 4);
}

/* MOVLPS, MOVHLPS (12), MOVHPS, MOVLHPS (16) */
static void
move_half (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v;
  bool high = i->opcode == 0x16;
  if (i->flags & VMM_INSN_MEM)
    v = source_low (c, i, 8);
  else
    memcpy (&v, fx_xmm (c, i->rm) + (high ? 0 : 8), 8);
  memcpy (fx_xmm (c, i->reg) + (high ? 8 : 0), &v, 8);
}

static void
move_half_store (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  store (c, fpu_linear (c, i->segment, vmm_ea (c, i), 8, 8, VMM_CAN_WRITE),
         fx_xmm (c, i->reg) + (i->opcode == 0x17 ? 8 : 0), 8);
}

static void
movmskps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm v = get (c, i->rm);
  c->gpr[i->reg] = v.d[0] >> 31 | v.d[1] >> 31 << 1 | v.d[2] >> 31 << 2 | v.d[3] >> 31 << 3;
}

/* ---- Conversions ---- */

static void
cvtpi2ps (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = { { 0 } };
  if (i->flags & VMM_INSN_MEM)
    source = source_low (c, i, 8);
  else
    {
      mmx_check (c);
      fpu_enter (c);
      source.q[0] = vmm_mmx_get (i->rm);
      fpu_leave (c);
    }
  run (c, i->reg, stub_at (vmm_host_convert, 0), &source);
}

static void
cvtsi2ss (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = { { 0 } };
  source.d[0] = i->flags & VMM_INSN_MEM ? vmm_read32 (c, i->segment, vmm_ea (c, i)) : c->gpr[i->rm];
  run (c, i->reg, stub_at (vmm_host_convert, 1), &source);
}

static inline uint64_t
to_integer (VmmVcpu *c, unsigned index, const Xmm *source)
{
  uint32_t work = host_mxcsr (c);
  uint64_t v = ((VmmHostInteger) (vmm_host_integer + 32 * index)) (NULL, source, &work);
  restore_mxcsr (work);
  take_flags (c, work);
  return v;
}

/* CVTTSS2SI (2C), CVTSS2SI (2D) */
static void
cvtss2si (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  Xmm source = source_low (c, i, 4);
  c->gpr[i->reg] = (uint32_t) to_integer (c, i->opcode == 0x2c, &source);
}

/* CVTTPS2PI (2C), CVTPS2PI (2D) */
static void
cvtps2pi (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  mmx_check (c);
  Xmm source = source_low (c, i, 8);
  fpu_enter (c);
  vmm_mmx_get (i->reg); /* the x87 unit turns to MMX before an exception */
  uint64_t v = to_integer (c, 2 + (i->opcode == 0x2c), &source);
  vmm_mmx_set (i->reg, v);
  fpu_leave (c);
}

/* ---- The rest ---- */

static void
ldmxcsr (VmmVcpu *c, const VmmInsn *i)
{
  sse_check (c);
  uint32_t v = vmm_read32 (c, i->segment, vmm_ea (c, i));
  if (v & ~MXCSR_MASK)
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
    case 0x10: return movups_load;
    case 0x11: return movups_store;
    case 0x12:
    case 0x16: return move_half;
    case 0x13:
    case 0x17: return memory ? move_half_store : NULL;
    case 0x14:
    case 0x15: return unpack;
    case 0x28: return movaps_load;
    case 0x29: return movaps_store;
    case 0x2a: return cvtpi2ps;
    case 0x2b: return memory ? movaps_store : NULL;
    case 0x2c:
    case 0x2d: return cvtps2pi;
    case 0x2e:
    case 0x2f: return comiss;
    case 0x50: return memory ? NULL : movmskps;
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57: return logical;
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
  if (prefix == 0xf3)
    return scalar_handler (opcode);
  if (prefix)
    return NULL;
  if (opcode == 0xae)
    return group_ae (modrm);
  VmmHandler handler = packed_handler (opcode, modrm < 0xc0);
  return handler ? handler : vmm_mmx_handler (opcode, modrm);
}
