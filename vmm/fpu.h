/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What fpu.c, mmx.c, sse.c and sse2.c share: the image, the host's stubs, operands in memory.
 *
 * The guest's x87 and MMX registers live in one of two places.  While c->fpu.live they are in the
 * host's own registers, and c->fpu.fip, fdp, fcs, fds and fop hold the guest's pointers; else all
 * of it is in c->fpu.fx.  XMM and MXCSR are in c->fpu.fx whenever C runs (engine.asm).  State with
 * a pending unmasked exception is never left live, so that the host's own #MF cannot strike:
 *
 *   fpu_check (c);           #NM, #MF
 *   ... read the operand or probe the place of the result (may fault, may exit, may sync) ...
 *   fpu_enter (c);           live from here on
 *   stub ();
 *   fpu_leave (c);           looks for a new unmasked exception
 */
#pragma once

#include "vcpu.h"

/* The FXSAVE image. */
enum {
  FX_FCW = 0,
  FX_FSW = 2,
  FX_FTW = 4,
  FX_FOP = 6,
  FX_FIP = 8,
  FX_FCS = 12,
  FX_FDP = 16,
  FX_FDS = 20,
  FX_MXCSR = 24,
  FX_MASK = 28,
  FX_ST = 32,
  FX_XMM = 160,
  FX_XMM_END = 288,
};

#define FSW_IE 0x01u
#define FSW_DE 0x02u
#define FSW_ZE 0x04u
#define FSW_OE 0x08u
#define FSW_UE 0x10u
#define FSW_PE 0x20u
#define FSW_SF 0x40u
#define FSW_ES 0x80u
#define FSW_TOP 0x3800u
#define FSW_TOP_SHIFT 11
#define FSW_B 0x8000u
#define FSW_EXCEPTIONS 0x3fu

#define MXCSR_DAZ 0x40u /* denormals are zeros; with SSE2 */
#define MXCSR_FTZ 0x8000u
#define MXCSR_RESET 0x1f80u
#define MXCSR_MASKS 0x1f80u
#define MXCSR_MASKS_SHIFT 7

typedef void (*VmmHostStub) (void);
typedef void (*VmmHostMemoryStub) (void *operand);

extern const uint8_t vmm_host_x87_register[], vmm_host_x87_memory[], vmm_host_fcmov[],
    vmm_host_fcomi[], vmm_host_mmx[], vmm_host_sse[], vmm_host_cmp[], vmm_host_convert[],
    vmm_host_integer[], vmm_host_comis[], vmm_host_exactness[], vmm_host_packed[];
void vmm_host_fx_load (const void *fx);
void vmm_host_fx_store (void *fx);

/* ---- fpu.c ---- */

/* c->fpu.fx into the host's registers. */
void vmm_fpu_load (VmmVcpu *c);
/* A waiting instruction met a pending exception: raises #MF, or asserts FERR# and lets the
   instruction wait for the interrupt, or returns if IGNNE# says to go on. */
void vmm_fpu_error (VmmVcpu *c);
/* After an instruction with unmasked exceptions: brings the image up to date if one is pending;
   returns those that this instruction raised. */
unsigned vmm_fpu_leave_slow (VmmVcpu *c);
/* Takes FERR# away if nothing is pending any more. */
void vmm_fpu_update_ferr (VmmVcpu *c);
void vmm_fpu_fxsave (VmmVcpu *c, const VmmInsn *i);
void vmm_fpu_fxrstor (VmmVcpu *c, const VmmInsn *i);

/* ---- mmx.c ---- */

VmmHandler vmm_mmx_handler (uint8_t opcode, uint8_t modrm);
/* An MMX register, while live. */
uint64_t vmm_mmx_get (unsigned n);
void vmm_mmx_set (unsigned n, uint64_t v);
/* The words of v in the order of an immediate byte, as PSHUFW has it. */
uint64_t vmm_mmx_shuffle (uint64_t v, unsigned order);

static inline uint16_t
fx_get16 (const uint8_t *fx, unsigned offset)
{
  uint16_t v;
  memcpy (&v, fx + offset, sizeof v);
  return v;
}

static inline uint32_t
fx_get32 (const uint8_t *fx, unsigned offset)
{
  uint32_t v;
  memcpy (&v, fx + offset, sizeof v);
  return v;
}

static inline void
fx_put16 (uint8_t *fx, unsigned offset, uint16_t v)
{
  memcpy (fx + offset, &v, sizeof v);
}

static inline void
fx_put32 (uint8_t *fx, unsigned offset, uint32_t v)
{
  memcpy (fx + offset, &v, sizeof v);
}

static inline uint8_t *
fx_xmm (VmmVcpu *c, unsigned n)
{
  return c->fpu.fx + FX_XMM + 16 * (n & 7);
}

/* What may be set in MXCSR. */
static inline uint32_t
mxcsr_mask (const VmmVcpu *c)
{
  return c->config.sse2 ? 0xffffu : 0xffffu & ~MXCSR_DAZ;
}

/* Unmasked exceptions that are pending in an image. */
static inline unsigned
fx_pending (const uint8_t *fx)
{
  return fx_get16 (fx, FX_FSW) & ~fx_get16 (fx, FX_FCW) & FSW_EXCEPTIONS;
}

static inline void
fpu_check_pending (VmmVcpu *c)
{
  if (VMM_UNLIKELY (!c->fpu.live) && VMM_UNLIKELY (fx_pending (c->fpu.fx)))
    vmm_fpu_error (c);
}

/* Start of a waiting x87 instruction. */
static inline void
fpu_check (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->cr0 & (CR0_EM | CR0_TS)))
    vmm_raise (c, EX_NM);
  fpu_check_pending (c);
}

/* Start of an MMX instruction. */
static inline void
mmx_check (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->cr0 & (CR0_EM | CR0_TS)))
    vmm_raise (c, c->cr0 & CR0_EM ? EX_UD : EX_NM);
  fpu_check_pending (c);
}

/* Start of an SSE instruction. */
static inline void
sse_check (VmmVcpu *c)
{
  if (VMM_UNLIKELY ((c->cr0 & (CR0_EM | CR0_TS)) || !(c->cr4 & CR4_OSFXSR)))
    vmm_raise (c, (c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR) ? EX_UD : EX_NM);
}

/* First of all in what came with SSE2, whatever it works on. */
static inline void
sse2_need (VmmVcpu *c)
{
  if (VMM_UNLIKELY (!c->config.sse2))
    vmm_ud (c);
}

static inline void
fpu_enter (VmmVcpu *c)
{
  if (VMM_UNLIKELY (!c->fpu.live))
    vmm_fpu_load (c);
}

/* Returns the unmasked exceptions that the instruction raised. */
static inline unsigned
fpu_leave (VmmVcpu *c)
{
  return VMM_LIKELY (c->fpu.masked) ? 0 : vmm_fpu_leave_slow (c);
}

/* ---- Operands in memory ---- */

/* Linear address after the segment's checks; `align` a power of two for #AC (1: none). */
static inline uint32_t
fpu_linear (VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned size, unsigned align, unsigned can)
{
  const VmmSegment *seg = &c->seg[s];
  uint32_t last = offset + size - 1;
  if (VMM_UNLIKELY (offset < seg->low || last > seg->high || last < offset || !(seg->can & can)))
    if (!vmm_wraps (seg, can))
      vmm_segment_fault (c, s);
  uint32_t linear = seg->base + offset;
  if (vmm_ac_on (c) && (linear & (align - 1)))
    vmm_alignment_check (c, linear, align);
  return linear;
}

/* The same without faults: is it certain that nothing forbids the access? */
static inline bool
fpu_linear_ok (const VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned size, unsigned can)
{
  const VmmSegment *seg = &c->seg[s];
  uint32_t last = offset + size - 1;
  return offset >= seg->low && last <= seg->high && last >= offset && (seg->can & can)
         && !vmm_ac_on (c);
}

/* An operand of 80 bits is one of 64 that should be aligned, and one of 16 behind it. */
static inline uint32_t
fpu_linear80 (VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned can)
{
  uint32_t linear = fpu_linear (c, s, offset, 8, 8, can);
  fpu_linear (c, s, offset + 8, 2, 1, can);
  return linear;
}

static inline void
fpu_read (VmmVcpu *c, uint32_t linear, void *to, unsigned size)
{
  const uint8_t *host = vmm_direct (c->tables[c->user]->read, linear, size);
  if (VMM_LIKELY (host != NULL))
    memcpy (to, host, size);
  else if (size <= 8 && !(size & (size - 1)))
    {
      uint64_t v = vmm_read_slow (c, linear, size, c->user);
      memcpy (to, &v, size);
    }
  else
    vmm_read_bytes (c, linear, to, size, c->user);
}

/* Is it known that a write cannot fault? */
static inline bool
fpu_writable (const VmmVcpu *c, uint32_t linear, unsigned size)
{
  return vmm_direct (c->tables[c->user]->write, linear, size) != NULL;
}

static inline void
fpu_probe (VmmVcpu *c, uint32_t linear, unsigned size)
{
  if (VMM_UNLIKELY (!fpu_writable (c, linear, size)))
    vmm_probe_write (c, linear, size, c->user);
}

static inline void
fpu_write (VmmVcpu *c, uint32_t linear, const void *from, unsigned size)
{
  uint8_t *host = vmm_direct (c->tables[c->user]->write, linear, size);
  if (VMM_LIKELY (host != NULL))
    memcpy (host, from, size);
  else if (size <= 8 && !(size & (size - 1)))
    {
      uint64_t v = 0;
      memcpy (&v, from, size);
      vmm_write_slow (c, linear, v, size, c->user);
    }
  else
    vmm_write_bytes (c, linear, from, size, c->user);
}
