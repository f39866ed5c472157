/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MMX, and the instructions on MMX registers that came with SSE and SSE2.
 *
 * After Intel's Software Developer's Manual, volume 1 chapter 9.  They run on the host's own MMX
 * registers, which are the guest's x87 registers (fpu.h), so TOP, tags and exponents come out as
 * they should.  #UD with CR0.EM, #NM with CR0.TS, #MF with a pending x87 exception.  PADDQ, PSUBQ
 * and PMULUDQ came with SSE2; the forms with the prefixes 66, F2 or F3 are in sse2.c.
 */
#include "fpu.h"

static inline VmmHostStub
register_stub (unsigned opcode, unsigned modrm)
{
  return (VmmHostStub) (vmm_host_mmx + (((opcode - 0x60) * 72 + (modrm & 63)) << 2));
}

static inline VmmHostMemoryStub
memory_stub (unsigned opcode, unsigned reg)
{
  return (VmmHostMemoryStub) (vmm_host_mmx + (((opcode - 0x60) * 72 + 64 + reg) << 2));
}

uint64_t
vmm_mmx_get (unsigned n)
{
  uint64_t v;
  memory_stub (0x7f, n & 7) (&v);
  return v;
}

void
vmm_mmx_set (unsigned n, uint64_t v)
{
  memory_stub (0x6f, n & 7) (&v);
}

static VMM_HOT void
mmx_register (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  fpu_enter (c);
  register_stub (i->opcode, i->modrm) ();
  fpu_leave (c);
}

static inline void
load_operand (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  uint64_t operand = 0;
  mmx_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), size, size, VMM_CAN_READ);
  fpu_read (c, linear, &operand, size);
  fpu_enter (c);
  memory_stub (i->opcode, i->reg) (&operand);
  fpu_leave (c);
}

static VMM_HOT void
mmx_m64 (VmmVcpu *c, const VmmInsn *i)
{
  load_operand (c, i, 8);
}

static VMM_HOT void
mmx_m32 (VmmVcpu *c, const VmmInsn *i)
{
  load_operand (c, i, 4);
}

static inline void
store_operand (VmmVcpu *c, const VmmInsn *i, unsigned size)
{
  uint64_t operand;
  mmx_check (c);
  uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), size, size, VMM_CAN_WRITE);
  fpu_probe (c, linear, size);
  fpu_enter (c);
  memory_stub (0x7f, i->reg) (&operand);
  fpu_leave (c);
  fpu_write (c, linear, &operand, size);
}

static VMM_HOT void
movq_store (VmmVcpu *c, const VmmInsn *i)
{
  store_operand (c, i, 8);
}

static void
movd_store (VmmVcpu *c, const VmmInsn *i)
{
  store_operand (c, i, 4);
}

static void
movd_from_gpr (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  fpu_enter (c);
  vmm_mmx_set (i->reg, c->gpr[i->rm]);
  fpu_leave (c);
}

static void
movd_to_gpr (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  fpu_enter (c);
  c->gpr[i->rm] = (uint32_t) vmm_mmx_get (i->reg);
  fpu_leave (c);
}

/* 0F 71, 72, 73 with an immediate count are D1-F3 with that count in memory. */
static void
shift_immediate (VmmVcpu *c, const VmmInsn *i)
{
  uint64_t count = i->imm & 0xff;
  mmx_check (c);
  fpu_enter (c);
  unsigned row = i->reg == 2 ? 0xd0 : i->reg == 4 ? 0xe0 : 0xf0;
  memory_stub (row + (i->opcode & 3), i->rm) (&count);
  fpu_leave (c);
}

static void
emms (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  fpu_enter (c);
  __asm__ volatile("emms");
  fpu_leave (c);
}

/* ---- With SSE ---- */

uint64_t
vmm_mmx_shuffle (uint64_t v, unsigned order)
{
  uint64_t r = 0;
  for (unsigned n = 0; n < 4; n++)
    r |= (v >> (order >> (2 * n) & 3) * 16 & 0xffff) << (16 * n);
  return r;
}

static void
pshufw (VmmVcpu *c, const VmmInsn *i)
{
  uint64_t operand;
  mmx_check (c);
  if (i->flags & VMM_INSN_MEM)
    {
      uint32_t linear = fpu_linear (c, i->segment, vmm_ea (c, i), 8, 8, VMM_CAN_READ);
      fpu_read (c, linear, &operand, 8);
      fpu_enter (c);
    }
  else
    {
      fpu_enter (c);
      operand = vmm_mmx_get (i->rm);
    }
  vmm_mmx_set (i->reg, vmm_mmx_shuffle (operand, i->imm));
  fpu_leave (c);
}

static void
pinsrw (VmmVcpu *c, const VmmInsn *i)
{
  uint64_t word;
  mmx_check (c);
  if (i->flags & VMM_INSN_MEM)
    word = vmm_read16 (c, i->segment, vmm_ea (c, i));
  else
    word = c->gpr[i->rm] & 0xffff;
  fpu_enter (c);
  unsigned shift = (i->imm & 3) * 16;
  uint64_t v = vmm_mmx_get (i->reg);
  vmm_mmx_set (i->reg, (v & ~(0xffffull << shift)) | word << shift);
  fpu_leave (c);
}

static void
pextrw (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  fpu_enter (c);
  c->gpr[i->reg] = vmm_mmx_get (i->rm) >> (i->imm & 3) * 16 & 0xffff;
  fpu_leave (c);
}

static void
pmovmskb (VmmVcpu *c, const VmmInsn *i)
{
  uint32_t mask = 0;
  mmx_check (c);
  fpu_enter (c);
  uint64_t v = vmm_mmx_get (i->rm);
  for (unsigned n = 0; n < 8; n++)
    mask |= (uint32_t) (v >> (8 * n + 7) & 1) << n;
  c->gpr[i->reg] = mask;
  fpu_leave (c);
}

/* The bytes of a register whose mask bytes are negative, to DS:EDI.  All eight must be writable. */
static void
maskmovq (VmmVcpu *c, const VmmInsn *i)
{
  mmx_check (c);
  uint32_t offset = i->flags & VMM_INSN_A16 ? c->gpr[VMM_EDI] & 0xffff : c->gpr[VMM_EDI];
  fpu_enter (c);
  uint64_t v = vmm_mmx_get (i->reg), mask = vmm_mmx_get (i->rm);
  fpu_leave (c);
  uint32_t linear = fpu_linear (c, i->segment, offset, 8, 8, VMM_CAN_WRITE);
  vmm_probe_write (c, linear, 8, c->user);
  for (unsigned n = 0; n < 8; n++)
    if (mask >> (8 * n + 7) & 1)
      vmm_write_linear8 (c, linear + n, (uint8_t) (v >> (8 * n)), c->user);
}

/* ---- With SSE2: PADDQ, PMULUDQ, PSUBQ ---- */

static void
sse2_register (VmmVcpu *c, const VmmInsn *i)
{
  sse2_need (c);
  mmx_register (c, i);
}

static void
sse2_m64 (VmmVcpu *c, const VmmInsn *i)
{
  sse2_need (c);
  load_operand (c, i, 8);
}

/* ---- Which instruction is which ---- */

/* Opcodes of the form mm, mm/m64 by rows of sixteen: bit n of row r is opcode 16 * r + n. */
static const uint16_t plain[16] = {
  [0x6] = 0x8fff, /* 60-6B, 6F */
  [0x7] = 0x0070, /* 74-76 */
  [0xd] = 0xff2e, /* D1-D3, D5, D8-DF */
  [0xe] = 0xff3f, /* E0-E5, E8-EF */
  [0xf] = 0x776e, /* F1-F3, F5, F6, F8-FA, FC-FE */
};

static VmmHandler
shift_handler (uint8_t opcode, uint8_t modrm)
{
  unsigned reg = modrm >> 3 & 7;
  bool ok = reg == 2 || reg == 6 || (reg == 4 && opcode != 0x73);
  return ok && modrm >= 0xc0 ? shift_immediate : NULL;
}

VmmHandler
vmm_mmx_handler (uint8_t opcode, uint8_t modrm)
{
  bool memory = modrm < 0xc0;
  switch (opcode)
    {
    case 0x6e: return memory ? mmx_m32 : movd_from_gpr;
    case 0x70: return pshufw;
    case 0x71:
    case 0x72:
    case 0x73: return shift_handler (opcode, modrm);
    case 0x77: return emms;
    case 0x7e: return memory ? movd_store : movd_to_gpr;
    case 0x7f: return memory ? movq_store : mmx_register;
    case 0xc4: return pinsrw;
    case 0xc5: return memory ? NULL : pextrw;
    case 0xd4:
    case 0xf4:
    case 0xfb: return memory ? sse2_m64 : sse2_register;
    case 0xd7: return memory ? NULL : pmovmskb;
    case 0xe7: return memory ? movq_store : NULL;
    case 0xf7: return memory ? NULL : maskmovq;
    }
  if (!(plain[opcode >> 4] >> (opcode & 15) & 1))
    return NULL;
  if (!memory)
    return mmx_register;
  return opcode >= 0x60 && opcode <= 0x62 ? mmx_m32 : mmx_m64;
}
