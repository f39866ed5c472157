/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decoder: bytes to a VmmInsn with the handler that suits its operands, for a Pentium III
 * with SSE2 (Intel SDM vol. 2, opcode maps).  Where SSE2 is not configured its handlers raise #UD.
 *
 * Tables (decode.inc) say for each opcode which operands follow and which handlers there are.  The
 * decoder never reads beyond the bytes it was given: it answers "not enough", and the caller
 * decides whether there are more.  What does not exist becomes vmm_op_ud; so do LOCK where it is
 * not allowed and register or memory operands where the other is wanted.
 *
 * Why not Zydis: `make bench` measures both on the benchmark's integer code (Xeon, Zydis 4.0.0):
 * this decoder takes 10 ns an instruction and yields the handler; ZydisDecoderDecodeInstruction,
 * which leaves the operands out, takes 51 ns, and its answer would still have to be turned into a
 * handler.  Zydis is what tests/cpu/decode-test compares lengths and existence with.
 */
#include "insn.h"

/* What an opcode takes. */
#define MODRM 0x0001u
#define BYTE 0x0002u    /* operands of 8 bits: i->reg and i->rm (or the opcode's register) too */
#define BYTE_RM 0x0004u /* r/m alone has 8 bits */
#define OPREG 0x0008u   /* i->reg is in the opcode's low three bits */
#define OPSEG 0x0010u   /* i->reg is the segment in the opcode's bits 5:3 */
#define MEM_ONLY 0x0020u
#define REG_ONLY 0x0040u
#define NO_MOD 0x0080u /* mod is ignored: r/m is a register */
#define LOCKABLE 0x0100u
#define STACK 0x0200u  /* "flat" forms need a flat 32-bit stack */
#define GROUP 0x0400u  /* modrm.reg chooses in .group */
#define STRING 0x0800u /* .repeated is for REP prefixes */
#define REL 0x1000u    /* the length is added to imm */
#define FPU 0x2000u
#define SIMD 0x4000u
#define END 0x8000u
#define SYNC 0x10000u

typedef enum {
  NONE,
  IMM8,  /* zero-extended */
  IMM8S, /* sign-extended */
  IMM16,
  IMMZ,  /* 16 or 32 bits */
  ONE,   /* no byte: the constant 1 */
  FAR,   /* offset of the operand size, selector */
  FRAME, /* ENTER: 16 bits, 8 bits */
  MOFFS  /* offset of the address size, a memory operand */
} Immediate;

typedef struct Opcode Opcode;
struct Opcode {
  const VmmForms *forms; /* by operand and size, or */
  VmmHandler handler;    /* one for all */
  VmmHandler wide;       /* ... unless the operand size is 32 bits */
  const VmmHandler *repeated;
  const Opcode *group;
  uint32_t flags;
  uint8_t immediate; /* Immediate */
};

#include "decode.inc"

typedef struct {
  const uint8_t *bytes;
  unsigned at, available;
  bool short_of; /* wanted a byte that is not there */
  unsigned key;
  uint8_t mandatory; /* 66, F2 or F3 as SSE sees it */
  bool segment_given, o16, a16;
} Decoder;

static inline uint32_t
take (Decoder *d, unsigned n)
{
  uint32_t v = 0;
  if (VMM_UNLIKELY (d->at + n > d->available))
    {
      d->at += n;
      d->short_of = true;
      return 0;
    }
  memcpy (&v, d->bytes + d->at, n);
  d->at += n;
  return v;
}

static inline uint8_t
take8 (Decoder *d)
{
  if (VMM_UNLIKELY (d->at >= d->available))
    {
      d->at++;
      d->short_of = true;
      return 0;
    }
  return d->bytes[d->at++];
}

/* ---- Prefixes ---- */

static uint8_t
take_prefixes (Decoder *d, VmmInsn *i)
{
  for (;;)
    {
      uint8_t b = take8 (d);
      switch (b)
        {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
          i->segment = (b >> 3) & 3;
          d->segment_given = true;
          break;
        case 0x64:
        case 0x65:
          i->segment = b == 0x64 ? VMM_FS : VMM_GS;
          d->segment_given = true;
          break;
        case 0x66:
          i->flags |= VMM_INSN_66;
          d->o16 = d->key & VMM_KEY_CODE32;
          break;
        case 0x67: d->a16 = d->key & VMM_KEY_CODE32; break;
        case 0xf0: i->flags |= VMM_INSN_LOCK; break;
        case 0xf2:
        case 0xf3:
          i->flags &= (uint8_t) ~(VMM_INSN_REP | VMM_INSN_REPNE);
          i->flags |= b == 0xf2 ? VMM_INSN_REPNE : VMM_INSN_REP;
          d->mandatory = b;
          break;
        default: return b;
        }
      if (VMM_UNLIKELY (d->short_of || d->at > 15))
        return 0;
    }
}

/* ---- ModRM ---- */

static void
default_segment (Decoder *d, VmmInsn *i, bool stack)
{
  if (!d->segment_given)
    i->segment = stack ? VMM_SS : VMM_DS;
}

static void
take_address16 (Decoder *d, VmmInsn *i, unsigned mod)
{
  static const uint8_t bases[8]
      = { VMM_EBX, VMM_EBX, VMM_EBP, VMM_EBP, VMM_ZERO, VMM_ZERO, VMM_EBP, VMM_EBX };
  static const uint8_t indices[8]
      = { VMM_ESI, VMM_EDI, VMM_ESI, VMM_EDI, VMM_ESI, VMM_EDI, VMM_ZERO, VMM_ZERO };
  i->base = bases[i->rm];
  i->index = indices[i->rm];
  if (mod == 0 && i->rm == 6)
    {
      i->base = VMM_ZERO;
      i->disp = take (d, 2);
    }
  else if (mod == 1)
    i->disp = (uint32_t) (int8_t) take8 (d);
  else if (mod == 2)
    i->disp = take (d, 2);
  default_segment (d, i, i->base == VMM_EBP);
}

static void
take_address32 (Decoder *d, VmmInsn *i, unsigned mod)
{
  i->base = i->rm;
  if (i->rm == 4)
    {
      uint8_t sib = take8 (d);
      i->base = sib & 7;
      i->scale = sib >> 6;
      i->index = (sib >> 3) & 7;
      if (i->index == 4)
        {
          i->index = VMM_ZERO;
          i->scale = 0;
        }
    }
  default_segment (d, i, i->base == VMM_ESP || (i->base == VMM_EBP && mod != 0));
  if (mod == 0 && i->base == 5)
    {
      i->base = VMM_ZERO;
      i->disp = take (d, 4);
    }
  else if (mod == 1)
    i->disp = (uint32_t) (int8_t) take8 (d);
  else if (mod == 2)
    i->disp = take (d, 4);
}

static void
take_modrm (Decoder *d, VmmInsn *i, uint32_t flags)
{
  unsigned mod = i->modrm >> 6;
  i->reg = (i->modrm >> 3) & 7;
  i->rm = i->modrm & 7;
  if (mod == 3 || (flags & NO_MOD))
    return;
  i->flags |= VMM_INSN_MEM;
  if (d->a16)
    take_address16 (d, i, mod);
  else
    take_address32 (d, i, mod);
}

/* ---- Immediates ---- */

static void
take_immediate (Decoder *d, VmmInsn *i, Immediate kind)
{
  switch (kind)
    {
    case NONE: break;
    case IMM8: i->imm = take8 (d); break;
    case IMM8S: i->imm = (uint32_t) (int8_t) take8 (d); break;
    case IMM16: i->imm = take (d, 2); break;
    case IMMZ: i->imm = d->o16 ? (uint32_t) (int16_t) take (d, 2) : take (d, 4); break;
    case ONE: i->imm = 1; break;
    case FAR:
      i->imm = take (d, d->o16 ? 2 : 4);
      i->imm2 = (uint16_t) take (d, 2);
      break;
    case FRAME:
      i->imm = take (d, 2);
      i->imm2 = take8 (d);
      break;
    case MOFFS:
      i->disp = take (d, d->a16 ? 2 : 4);
      i->flags |= VMM_INSN_MEM;
      default_segment (d, i, false);
      break;
    }
}

/* ---- Which handler ---- */

static VmmHandler
choose_form (const Decoder *d, const VmmInsn *i, const Opcode *op)
{
  unsigned size = op->flags & BYTE ? VMM_SIZE_8 : d->o16 ? VMM_SIZE_16 : VMM_SIZE_32;
  bool flat = (d->key & VMM_KEY_FLAT) && !(i->flags & VMM_INSN_LOCK);
  if (op->flags & STACK)
    return (flat && (d->key & VMM_KEY_STACK32) ? op->forms->flat : op->forms->reg)[size];
  if (!(i->flags & VMM_INSN_MEM))
    return op->forms->reg[size];
  flat = flat && !d->a16 && (i->segment == VMM_DS || i->segment == VMM_SS || i->segment == VMM_ES);
  return (flat ? op->forms->flat : op->forms->mem)[size];
}

static VmmHandler
choose (const Decoder *d, const VmmInsn *i, const Opcode *op)
{
  bool memory = i->flags & VMM_INSN_MEM;
  if ((op->flags & MODRM) && (op->flags & (memory ? REG_ONLY : MEM_ONLY)))
    return vmm_op_ud;
  if ((i->flags & VMM_INSN_LOCK) && !((op->flags & LOCKABLE) && memory))
    return vmm_op_ud;
  if (op->forms)
    return choose_form (d, i, op);
  if (op->flags & STRING)
    {
      unsigned size = op->flags & BYTE ? VMM_SIZE_8 : d->o16 ? VMM_SIZE_16 : VMM_SIZE_32;
      bool rep = i->flags & (VMM_INSN_REP | VMM_INSN_REPNE);
      return op->repeated[size + (rep ? VMM_SIZES : 0)];
    }
  if (op->flags & FPU)
    return vmm_fpu_handler (i->opcode, i->modrm);
  if (op->flags & SIMD)
    return vmm_simd_handler (i->opcode, i->modrm, d->mandatory);
  return op->wide && !d->o16 ? op->wide : op->handler;
}

static inline uint8_t
byte_register (uint8_t n)
{
  return (uint8_t) ((n & 3) * 4 + (n >> 2));
}

static void
number_registers (VmmInsn *i, const Opcode *op, uint32_t flags)
{
  if (flags & OPREG)
    i->reg = i->opcode & 7;
  if (flags & OPSEG)
    i->reg = (i->opcode >> 3) & 7;
  if (flags & BYTE)
    i->reg = byte_register (i->reg);
  if (flags & (BYTE | BYTE_RM))
    i->rm = byte_register (i->rm);
}

/* The opcode's entry; its ModRM byte is taken with it, for groups are chosen by that. */
static const Opcode *
take_opcode (Decoder *d, VmmInsn *i)
{
  uint8_t b = take_prefixes (d, i);
  const Opcode *op = &one_byte[b];
  if (b == 0x0f)
    {
      b = take8 (d);
      op = &two_bytes[b];
      i->map = 1;
    }
  i->opcode = b;
  if (op->flags & MODRM)
    i->modrm = take8 (d);
  uint32_t flags = op->flags;
  if (flags & GROUP)
    op = &op->group[(i->modrm >> 3) & 7];
  if (VMM_UNLIKELY (op == &group9[1]) && i->modrm == 0xc8 && (d->key & VMM_KEY_ADDITIONS))
    op = &synthetic;
  if (flags & MODRM)
    take_modrm (d, i, op->flags);
  return op;
}

int
vmm_decode (const uint8_t *bytes, unsigned available, unsigned key, VmmInsn *i, unsigned *decoded)
{
  bool code32 = key & VMM_KEY_CODE32;
  Decoder d
      = { .bytes = bytes, .available = available, .key = key, .o16 = !code32, .a16 = !code32 };
  *i = (VmmInsn){ .base = VMM_ZERO, .index = VMM_ZERO, .segment = VMM_DS };
  const Opcode *op = take_opcode (&d, i);
  take_immediate (&d, i, op->immediate);
  /* Bytes that are not there were taken as zeros: how long it would be is not yet known.  The page
     of the sixteenth byte has to be there before it is too long. */
  if (VMM_UNLIKELY (d.short_of))
    return available < 16 ? 0 : -1;
  if (VMM_UNLIKELY (d.at > 15))
    return -1;
  i->length = (uint8_t) d.at;
  i->flags |= (d.o16 ? VMM_INSN_O16 : 0) | (d.a16 ? VMM_INSN_A16 : 0);
  if (!d.mandatory && (i->flags & VMM_INSN_66))
    d.mandatory = 0x66;
  i->handler = choose (&d, i, op);
  number_registers (i, op, op->flags);
  if (op->flags & REL)
    i->imm += i->length;
  *decoded = (op->flags & END ? VMM_DECODED_END : 0)
             | (op->flags & SYNC ? VMM_DECODED_END | VMM_DECODED_SYNC : 0);
  if (!i->handler || i->handler == vmm_op_ud)
    {
      i->handler = vmm_op_ud;
      *decoded = VMM_DECODED_END;
    }
  if (*decoded)
    i->flags |= VMM_INSN_END;
  return i->length;
}
