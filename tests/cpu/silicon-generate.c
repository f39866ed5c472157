/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the cases of the silicon test: sequences of the Pentium III's and SSE2's instructions, with
 * operands that mostly lie in the data pages, across their ends, and now and then where nothing is.
 *
 * Left out is what the two sides cannot agree on: system calls, far transfers to other code,
 * selectors of the host's GDT, RDTSC, CPUID, SGDT and its like (the host emulates them), and every
 * encoding that became an instruction after those.  Branches go forward only, within the
 * sequence.
 */
#include "silicon-generate.h"

/* ---- Places in memory ---- */

static uint32_t
segment_base (uint16_t selector)
{
  return selector & 4 && selector >> 3 < LDT_COUNT ? ldt_entries[selector >> 3].base : 0;
}

uint32_t
pick_linear (Gen *g, unsigned size, bool align)
{
  static const uint8_t rw[] = { 1, 2, 5 }, ro[] = { 4, 6 }, edge[] = { 1, 3, 4, 5, 6, 7, 2 };
  uint32_t chance = below (g, 1000), a;
  if (chance < 760)
    a = DATA + PICK (g, rw) * 4096 + below (g, 4096 - 16);
  else if (chance < 860)
    a = DATA + 2 * 4096 - 20 + below (g, 24);
  else if (chance < 900)
    a = DATA + PICK (g, ro) * 4096 + below (g, 4096 - 16);
  else if (chance < 985)
    {
      a = DATA + PICK (g, edge) * 4096 - 12 + below (g, 16);
      if (percent (g, 60))
        a = (a & ~0xfffu) - ((a & 0x800) ? 0 : size); /* just inside */
    }
  else if (chance < 992)
    a = DATA + below (g, DATA_PAGES * 4096);
  else
    a = random32 (g);
  return align || percent (g, 60) ? a & ~(size - 1) : a;
}

/* ---- Drafts ---- */

void
byte (Insn *i, unsigned v)
{
  if (i->length < sizeof i->bytes)
    i->bytes[i->length++] = (uint8_t) v;
}

void
word (Insn *i, unsigned v)
{
  byte (i, v & 0xff);
  byte (i, v >> 8 & 0xff);
}

void
dword (Insn *i, uint32_t v)
{
  word (i, v & 0xffff);
  word (i, v >> 16);
}

void
literal (Draft *d, const char *bytes, unsigned count)
{
  for (unsigned n = 0; n < count; n++)
    byte (&d->i, (uint8_t) bytes[n]);
}

void
prefix (Draft *d, unsigned v)
{
  for (unsigned n = 0; n < d->prefixes; n++)
    if (d->prefix[n] == v)
      return;
  if (d->prefixes < sizeof d->prefix)
    d->prefix[d->prefixes++] = (uint8_t) v;
}

static void
finish (Draft *d, Insn *to)
{
  *to = d->i;
  memcpy (to->bytes, d->prefix, d->prefixes);
  memcpy (to->bytes + d->prefixes, d->i.bytes, d->i.length);
  to->length = (uint8_t) (d->prefixes + d->i.length);
  to->at = (uint8_t) (d->i.at + d->prefixes);
}

static const uint8_t segment_prefix[6] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

/* An override now and then; returns the segment in use. */
static unsigned
pick_segment (Gen *g, Draft *d, unsigned usual)
{
  if (!percent (g, 12))
    return usual;
  unsigned s = percent (g, 50) ? SEG_GS : below (g, 6);
  prefix (d, segment_prefix[s]);
  return s;
}

static void
modrm16 (Gen *g, Draft *d, unsigned reg, uint32_t linear)
{
  static const uint8_t first[8] = { EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX };
  static const uint8_t second[8] = { ESI, EDI, ESI, EDI, 8, 8, 8, 8 };
  unsigned rm = below (g, 8);
  bool absolute = rm == 6 && percent (g, 60);
  bool stack = !absolute && (rm == 2 || rm == 3 || rm == 6);
  unsigned s = pick_segment (g, d, stack ? SEG_SS : SEG_DS);
  uint32_t offset = linear - segment_base (g->sel[s]);
  if (!absolute)
    offset -= g->k->gpr[first[rm]] + (second[rm] < 8 ? g->k->gpr[second[rm]] : 0);
  offset &= 0xffff;
  bool fits = (int16_t) offset == (int8_t) offset;
  unsigned mod = absolute ? 0 : fits ? 1 : 2;
  byte (&d->i, mod << 6 | reg << 3 | rm);
  if (mod == 1)
    byte (&d->i, offset & 0xff);
  else
    word (&d->i, offset);
}

static void
modrm32 (Gen *g, Draft *d, unsigned reg, uint32_t linear)
{
  unsigned base = below (g, 8), index = 4, scale = 0;
  for (unsigned tries = 0; tries < 6 && !(g->known >> base & 1); tries++)
    base = below (g, 8);
  bool absolute = percent (g, 25), sib = percent (g, 30) || (base == ESP && !absolute);
  unsigned s = pick_segment (g, d, !absolute && (base == ESP || base == EBP) ? SEG_SS : SEG_DS);
  uint32_t offset = linear - segment_base (g->sel[s]);
  if (sib)
    {
      index = below (g, 8);
      if (index != ESP && !(g->known >> index & 1) && percent (g, 95))
        index = ESP; /* none */
      scale = below (g, 4);
      if (index != ESP)
        offset -= g->k->gpr[index] << scale;
    }
  if (!absolute)
    offset -= g->k->gpr[base];
  unsigned mod = absolute ? 0 : (int32_t) offset == (int8_t) offset ? 1 : 2;
  if (!absolute && offset == 0 && base != EBP && percent (g, 80))
    mod = 0;
  byte (&d->i, mod << 6 | reg << 3 | (sib ? 4 : absolute ? 5 : base));
  if (sib)
    byte (&d->i, scale << 6 | index << 3 | (absolute ? 5 : base));
  if (mod == 1)
    byte (&d->i, offset & 0xff);
  else if (mod == 2 || absolute)
    dword (&d->i, offset);
}

void
memory_at (Gen *g, Draft *d, unsigned reg, uint32_t linear)
{
  bool a16 = g->k->code16;
  if (percent (g, 4))
    {
      prefix (d, 0x67);
      a16 = !a16;
    }
  (a16 ? modrm16 : modrm32) (g, d, reg, linear);
}

void
memory (Gen *g, Draft *d, unsigned reg, unsigned size)
{
  memory_at (g, d, reg, pick_linear (g, size, false));
}

unsigned
pick_destination (Gen *g)
{
  return percent (g, 85) ? below (g, 3) : below (g, 8);
}

bool
pick_o16 (Gen *g, Draft *d, unsigned chance)
{
  if (!percent (g, chance))
    return g->k->code16;
  prefix (d, 0x66);
  return !g->k->code16;
}

void
forget (Gen *g, unsigned registers)
{
  g->known &= (uint8_t) ~registers;
}

/* ---- Integer instructions ---- */

enum { NONE, REG = 1, MEM = 2, RM = 3 };
enum { I0, I8, IZ, IE };
#define R 8
#define BYTE 0x001 /* 8-bit operands */
#define WORD 0x002 /* 16-bit operand in memory */
#define SOURCE8 0x004
#define QUAD 0x008
#define PAIR 0x010
#define WREG 0x020
#define WRM 0x040
#define LOCK 0x080
#define BITS 0x100 /* the register is a bit number: keep it small */

typedef struct {
  uint8_t map, opcode, digit, form, imm;
  uint16_t flags;
  uint8_t clobbers;
} Op;

#define X(map, opcode, digit, form, imm, flags, clobbers)                                          \
  { map, opcode, digit, form, imm, flags, clobbers },
static const Op table[] = {
#include "silicon-table.inc"
};
#undef X

static void
immediate (Gen *g, Draft *d, const Op *op, bool o16)
{
  uint32_t v = random32 (g);
  if (op->imm == I8)
    byte (&d->i, v & 0xff);
  else if (op->imm == IZ && o16)
    word (&d->i, v & 0xffff);
  else if (op->imm == IZ)
    dword (&d->i, v);
  else if (op->imm == IE)
    {
      word (&d->i, below (g, 64));
      byte (&d->i, percent (g, 70) ? 0 : below (g, 40));
    }
}

/* A sequence may end before the undefined flags are hidden: it makes a NOP instead. */
static bool
cannot_hide (Gen *g, Draft *d)
{
  if (!g->traps)
    return false;
  *d = (Draft){ 0 };
  byte (&d->i, 0x90);
  return true;
}

/* OF after DAA and DAS is undefined, after AAA and AAS SF, ZF and PF are too.  Ours are Intel's;
   on hosts of AMD they are hidden, and what is defined is kept. */
static void
hide_adjusted (Gen *g, Draft *d, bool ascii)
{
  if (!native_host ()->amd || cannot_hide (g, d))
    return;
  if (ascii) /* MOV EDX, EAX; LAHF; AND AH, 11h; SAHF; MOV EAX, EDX */
    literal (d, "\x89\xc2\x9f\x80\xe4\x11\x9e\x89\xd0", 9);
  else /* LAHF; TEST AL, AL; SAHF */
    literal (d, "\x9f\x84\xc0\x9e", 4);
  forget (g, EAX_ | EDX_);
}

static void
from_op (Gen *g, Draft *d, const Op *op)
{
  bool o16 = pick_o16 (g, d, 15);
  unsigned size = op->flags & (BYTE | SOURCE8) ? 1 : op->flags & WORD || o16 ? 2 : 4;
  unsigned reg = op->digit == R ? below (g, 8) : op->digit;
  bool is_memory = op->form == MEM || (op->form == RM && percent (g, 55));
  if (op->flags & PAIR)
    size *= 2;
  if (op->flags & QUAD)
    size = 8;
  if (op->flags & WREG && op->digit == R)
    reg = pick_destination (g);
  if (op->flags & BITS)
    reg = ECX;
  if (percent (g, is_memory && op->flags & LOCK ? 10 : 0) || below (g, 2000) == 0)
    prefix (d, 0xf0);
  if (op->map == 1)
    byte (&d->i, 0x0f);
  byte (&d->i, op->opcode);
  if (is_memory)
    memory (g, d, reg, size);
  else if (op->form != NONE)
    {
      unsigned rm = op->flags & WRM ? pick_destination (g) : below (g, 8);
      byte (&d->i, 0xc0 | reg << 3 | rm);
      if (op->flags & WRM)
        forget (g, 1u << (op->flags & BYTE ? rm & 3 : rm));
    }
  immediate (g, d, op, o16);
  if (op->flags & WREG)
    forget (g, 1u << (op->flags & BYTE ? reg & 3 : reg));
  forget (g, op->clobbers);
  if (op->map == 0 && (op->opcode & 0xe7) == 0x27 && op->form == NONE)
    hide_adjusted (g, d, op->opcode >= 0x37);
}

/* ADD OR ADC SBB AND SUB XOR CMP in all their forms. */
static void
arithmetic (Gen *g, Draft *d)
{
  unsigned operation = below (g, 8), form = below (g, 8);
  bool lockable = operation != 7;
  Op op = { 0, 0, R, RM, I0, (uint16_t) (form & 1 ? 0 : BYTE), 0 };
  op.opcode = (uint8_t) (operation * 8 + form);
  switch (form)
    {
    case 0:
    case 1:
      op.flags |= lockable ? WRM | LOCK : 0;
      break;
    case 2:
    case 3:
      op.flags |= lockable ? WREG : 0;
      break;
    case 4:
    case 5:
      op.form = NONE;
      op.imm = form == 4 ? I8 : IZ;
      op.clobbers = EAX_;
      break;
    default: /* group 1 */
      op.opcode = (uint8_t) (0x80 + below (g, 4));
      op.digit = (uint8_t) operation;
      op.imm = op.opcode == 0x81 ? IZ : I8;
      op.flags = (op.opcode & 1 ? 0 : BYTE) | (lockable ? WRM | LOCK : 0);
    }
  from_op (g, d, &op);
}

static void
shift (Gen *g, Draft *d)
{
  static const uint8_t opcodes[] = { 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3 };
  Op op = { 0, PICK (g, opcodes), (uint8_t) below (g, 8), RM, I0, WRM, 0 };
  op.imm = op.opcode < 0xd0 ? I8 : I0;
  op.flags |= op.opcode & 1 ? 0 : BYTE;
  from_op (g, d, &op);
  if (op.digit >= 4 || (op.opcode & 0xfe) == 0xd0 || cannot_hide (g, d))
    return;
  /* OF after a rotate by more than one is undefined, and processors differ: LAHF; TEST; SAHF. */
  literal (d, "\x9f\x84\xc0\x9e", 4);
  forget (g, EAX_);
}

/* PUSH of a segment register, of 16 bits: of 32, newer processors write but two bytes. */
static void
push_segment (Gen *g, Draft *d)
{
  static const uint8_t all[] = { 0x06, 0x0e, 0x16, 0x1e, 0xa0, 0xa8 };
  unsigned opcode = PICK (g, all);
  if (!g->k->code16)
    prefix (d, 0x66);
  if (opcode >= 0xa0)
    byte (&d->i, 0x0f);
  byte (&d->i, opcode);
  forget (g, ESP_);
}

/* Registers in the low bits of the opcode; SETcc, CMOVcc. */
static void
by_opcode (Gen *g, Draft *d)
{
  unsigned n = pick_destination (g);
  Op op = { 0, 0, 0, NONE, I0, 0, (uint8_t) (1u << n) };
  switch (below (g, 10))
    {
    case 0:
      op.opcode = (uint8_t) (0x40 + n);
      break;
    case 1:
      op.opcode = (uint8_t) (0x48 + n);
      break;
    case 2:
      op.opcode = (uint8_t) (0x50 + below (g, 8));
      op.clobbers = ESP_;
      break;
    case 3:
      op.opcode = (uint8_t) (0x58 + n);
      op.clobbers |= ESP_;
      break;
    case 4:
      op.opcode = (uint8_t) (0x90 + n);
      op.clobbers |= EAX_;
      break;
    case 5:
      op.opcode = (uint8_t) (0xb0 + n);
      op.imm = I8;
      op.clobbers = (uint8_t) (1u << (n & 3));
      op.flags = BYTE;
      break;
    case 6:
      op.opcode = (uint8_t) (0xb8 + n);
      op.imm = IZ;
      break;
    case 7:
      byte (&d->i, 0x0f); /* BSWAP: of 16 bits it is undefined */
      if (g->k->code16)
        prefix (d, 0x66);
      byte (&d->i, 0xc8 + n);
      forget (g, op.clobbers);
      return;
    case 8:
      op = (Op){ 1, (uint8_t) (0x40 + below (g, 16)), R, RM, I0, WREG, 0 };
      break;
    default:
      op = (Op){ 1, (uint8_t) (0x90 + below (g, 16)), 0, RM, I0, BYTE | WRM, 0 };
    }
  from_op (g, d, &op);
}

static void
string (Gen *g, Draft *d)
{
  static const uint8_t opcodes[]
      = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xd7 };
  unsigned opcode = PICK (g, opcodes);
  pick_o16 (g, d, 15);
  if (percent (g, 60) && opcode != 0xd7)
    prefix (d, percent (g, 50) ? 0xf3 : 0xf2);
  if (percent (g, 3))
    prefix (d, 0x67);
  pick_segment (g, d, SEG_DS);
  byte (&d->i, opcode);
  forget (g, 1u << ECX | 1u << ESI | 1u << EDI | EAX_);
}

/* MOV with an absolute offset. */
static void
moffs (Gen *g, Draft *d)
{
  unsigned opcode = 0xa0 + below (g, 4);
  unsigned s = pick_segment (g, d, SEG_DS);
  pick_o16 (g, d, 15);
  byte (&d->i, opcode);
  uint32_t offset = pick_linear (g, 4, false) - segment_base (g->sel[s]);
  if (g->k->code16)
    word (&d->i, offset & 0xffff);
  else
    dword (&d->i, offset);
  if (opcode < 0xa2)
    forget (g, EAX_);
}

static void
integer (Gen *g, Draft *d)
{
  switch (below (g, 56) ? below (g, 14) : 99)
    {
    case 99:
      push_segment (g, d);
      break;
    case 0:
    case 1:
    case 2:
    case 3:
      arithmetic (g, d);
      break;
    case 4:
    case 5:
      shift (g, d);
      break;
    case 6:
    case 7:
      by_opcode (g, d);
      break;
    case 8:
      string (g, d);
      break;
    case 9:
      moffs (g, d);
      break;
    default:
      from_op (g, d, &PICK (g, table));
    }
}

/* ---- Branches, all forward ---- */

static unsigned
patch_size (unsigned kind)
{
  if (kind == PATCH_REL8)
    return 1;
  return kind == PATCH_REL16 || kind == PATCH_ABS16 ? 2 : 4;
}

static void
patch (Gen *g, Draft *d, unsigned index, unsigned kind)
{
  d->i.patch = (uint8_t) kind;
  d->i.at = d->i.length;
  d->i.target = (uint8_t) (index + 1 + below (g, g->count - index));
  for (unsigned n = patch_size (kind); n; n--)
    byte (&d->i, 0);
}

/* PUSH CS itself leaves the high half of the dword alone on newer processors. */
static void
push_cs (Gen *g, Draft *d)
{
  byte (&d->i, 0x68);
  if (g->k->code16)
    word (&d->i, g->k->cs);
  else
    dword (&d->i, g->k->cs);
}

/* A branch with the other operand size: of 16 bits it leaves the high half of EIP behind. */
static void
other_branch (Gen *g, Draft *d, unsigned index)
{
  unsigned form = below (g, 4);
  prefix (d, 0x66);
  if (form == 0)
    byte (&d->i, 0x0f);
  byte (&d->i, form > 1 ? 0xe6 + form : (form == 0 ? 0x80 : 0x70) + below (g, 16));
  patch (g, d, index, form == 1 ? PATCH_REL8 : g->k->code16 ? PATCH_REL32 : PATCH_REL16);
  forget (g, ESP_);
}

static void
flow (Gen *g, Draft *d, unsigned index)
{
  bool c16 = g->k->code16;
  if (percent (g, 3))
    {
      other_branch (g, d, index);
      return;
    }
  unsigned rel = c16 ? PATCH_REL16 : PATCH_REL32, abs = c16 ? PATCH_ABS16 : PATCH_ABS32;
  unsigned n = pick_destination (g);
  switch (below (g, 14))
    {
    case 0:
    case 1:
    case 2:
      byte (&d->i, 0x70 + below (g, 16));
      patch (g, d, index, PATCH_REL8);
      return;
    case 3:
      byte (&d->i, 0x0f);
      byte (&d->i, 0x80 + below (g, 16));
      patch (g, d, index, rel);
      return;
    case 4:
      byte (&d->i, 0xe0 + below (g, 4));
      patch (g, d, index, PATCH_REL8);
      forget (g, 1u << ECX);
      return;
    case 5:
      byte (&d->i, percent (g, 50) ? 0xe9 : 0xe8);
      patch (g, d, index, rel);
      break;
    case 6:
      byte (&d->i, 0xeb);
      patch (g, d, index, PATCH_REL8);
      return;
    case 7: /* mov n, target; jmp n or call n */
      byte (&d->i, 0xb8 + n);
      patch (g, d, index, abs);
      byte (&d->i, 0xff);
      byte (&d->i, (percent (g, 50) ? 0xe0 : 0xd0) + n);
      forget (g, 1u << n);
      break;
    case 8: /* push target; ret */
      byte (&d->i, 0x68);
      patch (g, d, index, abs);
      if (percent (g, 50))
        byte (&d->i, 0xc3);
      else
        {
          byte (&d->i, 0xc2);
          word (&d->i, below (g, 40));
        }
      break;
    case 9: /* push cs; push target; retf */
      push_cs (g, d);
      byte (&d->i, 0x68);
      patch (g, d, index, abs);
      byte (&d->i, 0xcb);
      break;
    case 10: /* pushf; push cs; push target; iret */
      if (g->k->eflags & 0x4000)
        {
          byte (&d->i, 0x90);
          return;
        }
      byte (&d->i, 0x9c);
      push_cs (g, d);
      byte (&d->i, 0x68);
      patch (g, d, index, abs);
      byte (&d->i, 0xcf);
      break;
    case 11: /* jmp far, call far */
      byte (&d->i, percent (g, 50) ? 0xea : 0x9a);
      patch (g, d, index, abs);
      word (&d->i, g->k->cs);
      break;
    case 12: /* push flags; popf */
      byte (&d->i, 0x68);
      {
        uint32_t flags
            = (uint32_t) next (&g->random) & (percent (g, 10) ? 0xffffbfffu : 0xfffbbeffu);
        g->traps |= flags & 0x100;
        if (c16)
          word (&d->i, flags & 0xffff);
        else
          dword (&d->i, flags);
      }
      byte (&d->i, 0x9d);
      break;
    default: /* through memory */
      if (c16 || g->sel[SEG_DS] != SEL_FLAT)
        {
          byte (&d->i, 0x90);
          return;
        }
      uint32_t at = DATA + 0x1000 + below (g, 0x1ff8);
      literal (d, "\xc7\x05", 2);
      dword (&d->i, at);
      patch (g, d, index, abs);
      byte (&d->i, 0xff);
      byte (&d->i, percent (g, 50) ? 0x25 : 0x15);
      dword (&d->i, at);
    }
  forget (g, ESP_);
}

/* ---- What privilege 3 may not do, or what traps; selectors ---- */

static void
selector (Gen *g, Draft *d)
{
  static const uint8_t loads[] = { SEG_ES, SEG_DS, SEG_GS, SEG_SS };
  static const uint16_t selectors[]
      = { 0, SEL_FLAT, SEL_FLAT, SEL_FLAT, SEL_CODE32, SEL_LDT (0), SEL_LDT (1), SEL_LDT (2),
          SEL_LDT (3), SEL_LDT (4), SEL_LDT (6), SEL_LDT (0) & ~3, SEL_LDT (1) & ~1, SEL_LDT (12) };
  uint16_t value = PICK (g, selectors);
  unsigned n = pick_destination (g), s = PICK (g, loads);
  if (n == ESP)
    n = EAX;
  prefix (d, 0x66); /* mov n, selector, of 16 bits */
  if (g->k->code16)
    d->prefixes = 0;
  byte (&d->i, 0xb8 + n);
  word (&d->i, value);
  forget (g, 1u << n);
  switch (below (g, 6))
    {
    case 0: /* LAR, LSL */
      byte (&d->i, 0x0f);
      byte (&d->i, 2 + below (g, 2));
      byte (&d->i, 0xc0 | n);
      forget (g, EAX_);
      return;
    case 1: /* VERR, VERW */
      byte (&d->i, 0x0f);
      byte (&d->i, 0);
      byte (&d->i, (percent (g, 50) ? 0xe0 : 0xe8) | n);
      return;
    case 2: /* push n; pop s */
      if (s == SEG_GS)
        break;
      byte (&d->i, 0x50 + n);
      byte (&d->i, s << 3 | 7);
      forget (g, ESP_);
      if (value > 3 || s != SEG_SS)
        g->sel[s] = value;
      return;
    }
  byte (&d->i, 0x8e);
  byte (&d->i, 0xc0 | s << 3 | n);
  if (value > 3 || s != SEG_SS)
    g->sel[s] = value;
}

static void
privileged (Gen *g, Draft *d)
{
  static const struct {
    uint8_t length, bytes[3];
  } all[] = {
    { 1, { 0xf4 } },
    { 1, { 0xfa } },
    { 1, { 0xfb } },
    { 1, { 0xec } },
    { 1, { 0xed } },
    { 1, { 0xee } },
    { 1, { 0xef } },
    { 1, { 0x6c } },
    { 1, { 0x6d } },
    { 1, { 0x6e } },
    { 1, { 0x6f } },
    { 2, { 0x0f, 0x06 } },
    { 2, { 0x0f, 0x08 } },
    { 2, { 0x0f, 0x09 } },
    { 2, { 0x0f, 0x30 } },
    { 2, { 0x0f, 0x32 } },
    { 3, { 0x0f, 0x20, 0xc0 } },
    { 3, { 0x0f, 0x22, 0xd8 } },
    { 3, { 0x0f, 0x21, 0xf8 } },
    { 3, { 0x0f, 0x23, 0xc1 } },
    { 2, { 0x0f, 0x0b } },
    { 1, { 0xcc } },
    { 1, { 0xce } },
    { 1, { 0xf1 } },
    { 2, { 0x0f, 0xaa } },
    { 3, { 0x0f, 0x01, 0xf0 } },
    { 2, { 0x0f, 0x35 } },
  };
  unsigned n = below (g, sizeof all / sizeof all[0]);
  if (percent (g, 20))
    {
      unsigned vector = below (g, 256);
      byte (&d->i, 0xcd);
      byte (&d->i, vector == 0x80 ? 3 : vector); /* not the host's system call */
      return;
    }
  for (unsigned m = 0; m < all[n].length; m++)
    byte (&d->i, all[n].bytes[m]);
}

/* LDS, LES, LSS, LGS of a pointer made just before. */
static void
far_pointer (Gen *g, Draft *d)
{
  static const uint16_t selectors[] = { 0, SEL_FLAT, SEL_FLAT, SEL_CODE32, SEL_LDT (0), SEL_LDT (2),
                                        SEL_LDT (3), SEL_LDT (4), SEL_LDT (12), SEL_LDT (0) & ~3 };
  static const uint8_t which[] = { SEG_DS, SEG_ES, SEG_SS, SEG_GS },
                       opcode[] = { 0xc5, 0xc4, 0xb2, 0xb5 };
  unsigned n = below (g, 4), reg = pick_destination (g), at = DATA + 0x1000 + below (g, 0x1ff0);
  uint16_t value = PICK (g, selectors);
  bool o16 = percent (g, 15);
  if (g->k->code16 || g->sel[SEG_DS] != SEL_FLAT)
    {
      byte (&d->i, 0x90);
      return;
    }
  literal (d, "\xc7\x05", 2); /* mov dword [at], offset */
  dword (&d->i, at);
  dword (&d->i, random32 (g));
  literal (d, "\x66\xc7\x05", 3); /* mov word [at + 2 or 4], selector */
  dword (&d->i, at + (o16 ? 2 : 4));
  word (&d->i, value);
  if (o16)
    byte (&d->i, 0x66);
  if (n >= 2)
    byte (&d->i, 0x0f);
  byte (&d->i, opcode[n]);
  byte (&d->i, reg << 3 | 5);
  dword (&d->i, at);
  forget (g, 1u << reg);
  if (value > 3 || which[n] != SEG_SS)
    g->sel[which[n]] = value;
}

/* Prefixes up to and past fifteen bytes. */
static void
long_instruction (Gen *g, Draft *d)
{
  static const uint8_t prefixes[] = { 0x66, 0x67, 0x2e, 0x3e, 0x26, 0x36, 0x65 };
  /* Too long and cut off by a missing page: which fault it is depends on how bytes are fetched. */
  for (unsigned n = 8 + below (g, g->traps ? 5 : 10); n; n--)
    byte (&d->i, PICK (g, prefixes));
  if (percent (g, 50))
    byte (&d->i, 0x90);
  else
    {
      byte (&d->i, below (g, 6) << 3 | 3); /* an operation on two registers */
      byte (&d->i, 0xc0);
      forget (g, EAX_);
    }
}

static void
system_insn (Gen *g, Draft *d)
{
  if (percent (g, 10))
    long_instruction (g, d);
  else if (percent (g, 20))
    far_pointer (g, d);
  else if (percent (g, 75))
    selector (g, d);
  else
    privileged (g, d);
}

/* ---- Cases ---- */

static void
instruction (Gen *g, unsigned index)
{
  static const uint8_t weights[KINDS] = { 42, 16, 8, 12, 12, 7, 3 };
  Draft d = { 0 };
  unsigned kind, chance;
  do
    {
      chance = below (g, 100);
      for (kind = 0; kind < KINDS - 1 && chance >= weights[kind]; kind++)
        chance -= weights[kind];
    }
  while (!(g->options->kinds >> kind & 1));
  switch (kind)
    {
    case KIND_INTEGER:
      integer (g, &d);
      break;
    case KIND_X87:
      x87 (g, &d);
      break;
    case KIND_MMX:
      mmx (g, &d);
      break;
    case KIND_SSE:
      sse (g, &d);
      break;
    case KIND_SSE2:
      sse2 (g, &d);
      break;
    case KIND_FLOW:
      flow (g, &d, index);
      break;
    default:
      system_insn (g, &d);
    }
  finish (&d, &g->k->insn[index]);
}

static void
pick_segments (Gen *g, unsigned area)
{
  static const uint16_t gs[] = {
    SEL_LDT (LDT_DATA), SEL_LDT (LDT_ODD), SEL_LDT (LDT_RO), SEL_LDT (LDT_DOWN), 0, SEL_FLAT
  };
  Case *k = g->k;
  k->code16 = percent (g, 10);
  k->cs = k->code16 ? SEL_LDT (LDT_CODE16_0 + area) : SEL_CODE32;
  k->ds = k->es = k->ss = SEL_FLAT;
  k->gs = PICK (g, gs);
  if (k->code16 || percent (g, 3))
    {
      k->ds = k->es = SEL_LDT (LDT_DATA);
      k->ss = SEL_LDT (percent (g, 50) ? LDT_STACK16 : LDT_DATA);
    }
  g->sel[SEG_ES] = k->es;
  g->sel[SEG_CS] = k->cs;
  g->sel[SEG_SS] = k->ss;
  g->sel[SEG_DS] = k->ds;
  g->sel[SEG_FS] = 0;
  g->sel[SEG_GS] = k->gs;
}

static void
pick_registers (Gen *g)
{
  Case *k = g->k;
  const uint16_t via[8] = { 0, 0, 0, k->ds, k->ss, k->ss, k->ds, k->es };
  for (unsigned n = 0; n < 8; n++)
    k->gpr[n] = random32 (g);
  for (unsigned n = EBX; n < 8; n++)
    if (percent (g, n == ESP ? 97 : 85))
      k->gpr[n] = pick_linear (g, 4, false) - segment_base (via[n]);
  if (percent (g, 80))
    k->gpr[ESP] = (DATA + 0x1100 + below (g, 0x1e00) - segment_base (k->ss))
                  & (percent (g, 80) ? ~3u : ~0u);
  if (percent (g, 60))
    k->gpr[ECX] = below (g, 40);
  /* IRET to a 16-bit stack keeps the high half of the inner ESP. */
  if (k->ss == SEL_LDT (LDT_STACK16))
    k->gpr[ESP] = (k->gpr[ESP] & 0xffff) | (OUR_STACK & 0xffff0000u);
  k->eflags = (uint32_t) (next (&g->random) & 0x8d5) | 0x202;
  if (percent (g, 50))
    k->eflags &= ~0x400u;
  if (percent (g, 4))
    k->eflags |= 0x40000; /* AC */
  if (percent (g, 3))
    k->eflags |= 0x204000; /* ID NT */
}

static void
make_case (Gen *g, unsigned slot, unsigned area)
{
  Case *k = g->k;
  memset (k, 0, sizeof *k);
  g->count = 1 + below (g, g->options->length);
  g->known = 0xff;
  g->stored = false;
  g->traps = slot == BATCH - 1; /* cut off: no room to hide undefined flags */
  pick_segments (g, area);
  pick_registers (g);
  random_fx (g, k->fx);
  unsigned room = SLOT_SIZE - 16, length = 8;
  for (unsigned n = 0; n < g->count; n++)
    {
      instruction (g, n);
      if (k->insn[n].length > room)
        g->count = n ? n : 1;
      else
        {
          room -= k->insn[n].length;
          length += k->insn[n].length;
        }
    }
  k->count = (uint8_t) g->count;
  if (slot < BATCH - 1)
    k->start = (uint16_t) (SLOT (slot) + below (g, SLOT_SIZE - length));
  else
    k->start = (uint16_t) (CODE_SIZE - 1 - below (g, length < 120 ? length : 120));
}

void
silicon_generate (Batch *batch, const Options *options, uint64_t number, unsigned area)
{
  Gen g = { .random = options->seed * 0x2545f4914f6cdd1dull + number * 0xd1342543de82ef95ull,
            .options = options };
  fill_memory (&g, batch->memory, sizeof batch->memory);
  fill_memory (&g, batch->image, sizeof batch->image);
  random_fx (&g, batch->image);
  random_fx (&g, batch->image + 512);
  batch->count = BATCH;
  for (unsigned n = 0; n < BATCH; n++)
    {
      g.k = &batch->cases[n];
      make_case (&g, n, area);
    }
}

static void
put_target (const Case *k, unsigned n, unsigned count, unsigned area, uint8_t *out)
{
  const Insn *i = &k->insn[n];
  uint32_t to = k->offset[i->target < count ? i->target : count];
  uint32_t relative = to - (uint32_t) (k->offset[n] + i->length);
  uint32_t absolute = to + k->start + (k->code16 ? 0 : CODE (area));
  bool is_relative = i->patch == PATCH_REL8 || i->patch == PATCH_REL16 || i->patch == PATCH_REL32;
  uint32_t v = is_relative ? relative : absolute;
  unsigned size = patch_size (i->patch);
  memcpy (out + k->offset[n] + i->at, &v, size);
}

void
silicon_emit (Case *k, unsigned slot, unsigned count, unsigned area, uint8_t *code)
{
  const uint32_t back = RETURN, selector = SEL_RETURN;
  uint8_t out[SLOT_SIZE];
  unsigned at = 0, room = CODE_SIZE - k->start;
  for (unsigned n = 0; n < count; n++)
    {
      k->offset[n] = (uint16_t) at;
      memcpy (out + at, k->insn[n].bytes, k->insn[n].length);
      at += k->insn[n].length;
    }
  k->offset[count] = (uint16_t) at;
  k->count = (uint8_t) count;
  for (unsigned n = 0; n < count; n++)
    if (k->insn[n].patch)
      put_target (k, n, count, area, out);
  if (k->code16)
    out[at++] = 0x66;
  out[at++] = 0xea;
  memcpy (out + at, &back, 4);
  memcpy (out + at + 4, &selector, 2);
  at += 6;
  unsigned end = SLOT (slot) + SLOT_SIZE < CODE_SIZE ? SLOT (slot) + SLOT_SIZE : CODE_SIZE;
  /* A jump of the last case to behind the end of a 16-bit segment comes out at its beginning, and
     must not fall into the first case from there. */
  if (!slot)
    memset (code, 0xf4, SLOT (0));
  memset (code + SLOT (slot), 0xf4, end - SLOT (slot));
  memcpy (code + k->start, out, at < room ? at : room);
}
