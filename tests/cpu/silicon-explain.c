/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The silicon test: the differences that README.md explains.  Either the host is newer than a
 * Pentium III, or the manual leaves the matter to the maker of the processor and the host's differs
 * from ours.  What only AMD's processors do is looked for on hosts of AMD alone.
 *
 * A case is explained twice, after each of its runs on our side, so what is written here into the
 * host's result has to explain itself.
 */
#include "silicon.h"

#include <Zydis/Zydis.h>
#include <string.h>

#define FLAG_RF 0x10000u
#define FX_XMM 160
#define FSW_ES 0x80   /* of its low byte */
#define FSW_B_C1 0x82 /* of its high byte */
enum { GPR_ESP = 4, GPR_EBP = 5 };

/* ---- x87 state ---- */

static void
clear (uint8_t *image, uint32_t at, unsigned size)
{
  for (unsigned b = 0; b < size; b++)
    if (at + b < IMAGE_WINDOW)
      image[at + b] = 0;
}

/* AMD's processors give FIP only while an unmasked exception is pending.  Where it became pending
   by a change of the mask, FIP is 0 if the host looked after another process in between: it saved
   and loaded the unit before there was anything to give. */
static bool
keeps_fip (uint8_t fsw_low, const uint8_t *fip, unsigned size)
{
  static const uint8_t none[4];
  if (!ours_has_pointers ())
    return false;
  return !native_host ()->amd || (fsw_low & FSW_ES && memcmp (fip, none, size));
}

typedef struct {
  uint8_t fsw, fip, fip_size;
  uint8_t masked[4][2]; /* offset, size */
} Layout;

/* The same of an image in memory.  One that a later image may have been written over cannot tell;
   one that was not reached is the same on both sides anyway. */
static bool
image_keeps_fip (const Case *k, unsigned n, const Result *native, const Layout *l)
{
  uint32_t image = k->image[n].address - IMAGE_START, at = image + l->fsw, fip = image + l->fip;
  for (unsigned m = n + 1; m < k->images && native_host ()->amd; m++)
    if (k->image[m].address && k->image[m].address - IMAGE_START - at + 512 <= 512)
      return false;
  return at < IMAGE_WINDOW && fip <= IMAGE_WINDOW - l->fip_size
         && keeps_fip (native->image[at], native->image + fip, l->fip_size);
}

/* What the host's image has that a Pentium III's has not, or the other way round: FOP is noted by
   each instruction, FDP too, and FCS and FDS are real. */
static void
mask_images (const Case *k, Result *native, Result *ours)
{
  Result *const both[2] = { native, ours };
  static const Layout kinds[] = {
    [IMAGE_ENV16] = { 2, 6, 2, { { 8, 6 } } },
    [IMAGE_ENV32] = { 4, 12, 4, { { 16, 12 } } },
    [IMAGE_FX] = { 2, 8, 4, { { 6, 2 }, { 12, 4 }, { 16, 8 }, { 28, 4 } } },
  };
  bool fip[MAX_INSNS];
  for (unsigned n = 0; n < k->images; n++)
    fip[n] = image_keeps_fip (k, n, native, &kinds[k->image[n].kind]);
  for (unsigned r = 0; r < 2; r++)
    for (unsigned n = 0; n < k->images; n++)
      {
        uint8_t *image = both[r]->image, kind = k->image[n].kind;
        uint32_t at = k->image[n].address - IMAGE_START;
        if (!k->image[n].address)
          continue;
        for (unsigned f = 0; f < 4; f++)
          clear (image, at + kinds[kind].masked[f][0], kinds[kind].masked[f][1]);
        if (!fip[n])
          clear (image, at + kinds[kind].fip, kinds[kind].fip_size);
      }
}

static void
mask_fx (const Result *native, uint8_t *fx)
{
  memset (fx + 5, 0, 3);   /* FOP */
  memset (fx + 12, 0, 12); /* FCS FDP FDS */
  memset (fx + 28, 0, 4);  /* MXCSR mask */
  memset (fx + 288, 0, 224);
  if (!keeps_fip (native->fx[2], native->fx + 8, 4))
    memset (fx + 8, 0, 4);
}

/* The x87 registers by number instead of by place in the stack, and TOP forgotten. */
static void
forget_top (uint8_t *fx)
{
  uint8_t st[128];
  unsigned top = fx[3] >> 3 & 7;
  memcpy (st, fx + 32, sizeof st);
  for (unsigned n = 0; n < 8; n++)
    memcpy (fx + 32 + 16 * n, st + 16 * ((n - top) & 7), 16);
  fx[3] &= 0xc7;
}

/* ---- The instruction that faulted ---- */

/* The opcode: one byte, or two as 0FXX; 0 if it cannot be told. */
static unsigned
faulting_opcode (const Case *k, const Result *r, unsigned area, const uint8_t *code)
{
  static const uint8_t prefixes[]
      = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3 };
  uint32_t at = r->eip - (k->code16 ? 0 : CODE (area));
  while (at < CODE_SIZE && memchr (prefixes, code[at], sizeof prefixes))
    at++;
  if (at >= CODE_SIZE || r->vector == VECTOR_END)
    return 0;
  if (code[at] != 0x0f)
    return code[at];
  return at + 1 < CODE_SIZE ? 0x0f00u | code[at + 1] : 0;
}

/* What is left behind by an instruction that faulted half way. */
static void
explain_fault (unsigned opcode, Result *native, Result *ours)
{
  switch (opcode)
    {
    case 0xdb: /* a store of 80 bits is one of 64 and one of 16 */
    case 0xdf:
    case 0x60: /* PUSHA has pushed some, POPA has popped some */
      native->lines = ours->lines = 0;
      native->checksum = ours->checksum = 0;
      break;
    case 0x61: memcpy (native->gpr, ours->gpr, sizeof native->gpr); break;
    case 0xd9: /* blocks of x87 state: which byte of the page is missed first is open */
    case 0xdd:
    case 0x0fae:
      native->cr2 &= ~0xfffu;
      ours->cr2 &= ~0xfffu;
      break;
    case 0x0f7e: /* MMX stores have already set TOP to 0 */
    case 0x0f7f:
    case 0x0fe7:
    case 0x0ff7:
      forget_top (native->fx);
      forget_top (ours->fx);
      break;
    }
}

/* ---- Operands in memory, for what follows ---- */

typedef struct {
  uint32_t offset, linear, size;
  uint16_t selector;
  bool written;
} Operand;

#define MAX_OPERANDS 4

static bool
is_flat (uint16_t selector)
{
  return (selector | 3) == SEL_FLAT || (selector | 3) == SEL_CODE32;
}

static uint16_t
selector_of (const Result *r, ZydisRegister segment)
{
  switch (segment)
    {
    case ZYDIS_REGISTER_ES: return r->es;
    case ZYDIS_REGISTER_CS: return r->cs;
    case ZYDIS_REGISTER_SS: return r->ss;
    case ZYDIS_REGISTER_DS: return r->ds;
    case ZYDIS_REGISTER_GS: return r->gs;
    default: return 0;
    }
}

static const LdtEntry *
ldt_entry (uint16_t selector)
{
  return selector & 4 && selector >> 3 < LDT_COUNT ? &ldt_entries[selector >> 3] : NULL;
}

/* Whether the limit of its segment forbids the first bytes of the operand. */
static bool
is_outside (const Operand *o, uint32_t size)
{
  const LdtEntry *e = ldt_entry (o->selector);
  uint64_t last = (uint64_t) o->offset + size - 1;
  if (e && e->down)
    return o->offset <= e->limit || last > UINT32_MAX;
  return e ? last > e->limit : !is_flat (o->selector) || last > UINT32_MAX;
}

/* BT and its kin with a register: how far from its operand the bits begin that it reaches. */
static uint32_t
bit_string_offset (const ZydisDisassembledInstruction *d, const ZydisRegisterContext *registers)
{
  const ZydisDecodedOperand *bit = &d->operands[1];
  switch (d->info.mnemonic)
    {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
      if (bit->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return 0;
      return bit->size == 16 ? ((int16_t) registers->values[bit->reg.value] >> 4) * 2
                             : ((int32_t) registers->values[bit->reg.value] >> 5) * 4;
    default: return 0;
    }
}

/* What POP and RET read: prefixes for the size of addresses do not concern the stack. */
static bool
is_read_from_flat_stack (const Result *r, const ZydisDecodedOperand *o)
{
  return o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && is_flat (r->ss)
         && (o->mem.base == ZYDIS_REGISTER_ESP || o->mem.base == ZYDIS_REGISTER_SP)
         && o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
}

/* The operands in memory of the instruction at r->eip, with the registers of *r. */
static unsigned
find_operands (const Case *k, const Result *r, unsigned area, const uint8_t *code,
               Operand out[MAX_OPERANDS])
{
  uint32_t at = r->eip - (k->code16 ? 0 : CODE (area));
  ZydisRegisterContext registers = { 0 };
  ZydisDisassembledInstruction d;
  unsigned count = 0;
  for (unsigned n = 0; n < 8; n++)
    {
      registers.values[ZYDIS_REGISTER_EAX + n] = r->gpr[n];
      registers.values[ZYDIS_REGISTER_AX + n] = r->gpr[n] & 0xffff;
    }
  if (at >= CODE_SIZE
      || !ZYAN_SUCCESS (ZydisDisassembleIntel (k->code16 ? ZYDIS_MACHINE_MODE_LEGACY_16
                                                         : ZYDIS_MACHINE_MODE_LEGACY_32,
                                               r->eip, code + at, CODE_SIZE - at, &d)))
    return 0;
  for (unsigned n = 0; n < d.info.operand_count && count < MAX_OPERANDS; n++)
    {
      const ZydisDecodedOperand *o = &d.operands[n];
      ZyanU64 offset;
      if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type != ZYDIS_MEMOP_TYPE_MEM
          || !ZYAN_SUCCESS (ZydisCalcAbsoluteAddressEx (&d.info, o, r->eip, &registers, &offset)))
        continue;
      if (n == 0 && d.info.address_width == 32)
        offset += bit_string_offset (&d, &registers);
      if (is_read_from_flat_stack (r, o))
        offset = r->gpr[GPR_ESP];
      uint16_t selector = selector_of (r, o->mem.segment);
      const LdtEntry *e = ldt_entry (selector);
      out[count++] = (Operand){ .offset = (uint32_t) offset,
                                .linear = (uint32_t) offset + (e ? e->base : 0),
                                .size = o->size / 8,
                                .selector = selector,
                                .written = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE };
    }
  return count;
}

/* ---- What AMD's processors do otherwise ---- */

static bool
is_operand_fault (const Result *r)
{
  return r->vector == 12 || r->vector == 13 || r->vector == 14 || r->vector == 17;
}

static void
take_fault (Result *native, const Result *ours)
{
  native->vector = ours->vector;
  native->error = ours->error;
  native->cr2 = ours->cr2;
}

static bool
lies_in (const Operand *o, uint32_t linear)
{
  return linear - o->linear < o->size;
}

static bool
is_fault_of (const Result *r, const Operand *o)
{
  return r->vector == 14 ? lies_in (o, r->cr2) : is_outside (o, o->size);
}

/* REPE CMPSB reads DS:ESI first.  Each side has to name the operand that it reads first. */
static void
explain_cmps (const Operand *o, unsigned operands, Result *native, const Result *ours)
{
  if (operands == 2 && is_fault_of (native, &o[0]) && is_fault_of (ours, &o[1]))
    take_fault (native, ours);
}

/* An operand of 80 bits is one of 64 and one of 16, a far pointer an offset and a selector,
   MASKMOVDQU's two of 64: the page of the first part is looked at before the limit of the segment
   for the second. */
static void
explain_parts (const Operand *o, unsigned operands, unsigned opcode, Result *native,
               const Result *ours)
{
  bool far = opcode == 0xc4 || opcode == 0xc5 || opcode == 0x0fb2 || opcode == 0x0fb4
             || opcode == 0x0fb5;
  bool masked = opcode == 0x0ff7 && o->size == 16;
  if (operands != 1 || !(far || masked || (opcode == 0xdb && o->size == 10)) || native->vector != 14
      || (ours->vector != 12 && ours->vector != 13) || ours->error != 0)
    return;
  unsigned first = masked ? 8 : o->size - 2;
  if (!is_outside (o, first) && is_outside (o, o->size) && native->cr2 - o->linear < first)
    take_fault (native, ours);
}

/* An operand that goes past the end of a segment of 4 GiB: #GP or #SS; ours goes on at 0. */
static void
explain_wrap (const Operand *o, unsigned operands, unsigned opcode, Result *native,
              const Result *ours)
{
  uint32_t room = opcode == 0xc8 ? 32 * 4 : 8 * 4; /* ENTER; PUSHA pushes the most otherwise */
  bool wraps = native->vector == 12 && is_flat (native->ss)
               && (native->gpr[GPR_ESP] < room || (opcode == 0xc8 && native->gpr[GPR_EBP] < room));
  for (unsigned n = 0; n < operands; n++)
    wraps |= is_flat (o[n].selector) && is_outside (&o[n], o[n].size);
  if (wraps && (native->vector == 12 || native->vector == 13) && native->error == 0
      && ((ours->vector == 14 && ours->cr2 >= -room) || ours->vector == 17))
    take_fault (native, ours);
}

static bool
is_comparison (unsigned opcode)
{
  return opcode == 0xa6 || opcode == 0xa7 || opcode == 0xae || opcode == 0xaf;
}

/* A trap between two rounds of a repeated string instruction does not set RF. */
static void
explain_rounds (unsigned opcode, Result *native, const Result *ours)
{
  bool string = is_comparison (opcode) || opcode == 0xa4 || opcode == 0xa5
                || (opcode >= 0xaa && opcode <= 0xad);
  if (string && native->vector == 1 && ours->vector == 1)
    native->eflags |= ours->eflags & FLAG_RF;
}

/* BOUND reads the upper bound too when the lower one decides. */
static void
explain_bound (const Operand *o, unsigned operands, Result *native, const Result *ours)
{
  if (operands != 1 || ours->vector != 5 || is_outside (o, o->size / 2))
    return;
  if (is_fault_of (native, o) && (native->vector != 14 || native->cr2 - o->linear >= o->size / 2))
    take_fault (native, ours);
}

/* CALL to beyond the limit looks at its target before it pushes. */
static void
explain_call (Result *native, Result *ours)
{
  if (native->vector == 13 && ours->vector == 13 && native->error == 0)
    {
      native->lines = ours->lines = 0;
      native->checksum = ours->checksum = 0;
    }
}

static bool
has_prefix (const Case *k, const Result *r, unsigned area, const uint8_t *code, uint8_t wanted)
{
  uint32_t at = r->eip - (k->code16 ? 0 : CODE (area));
  unsigned opcode = faulting_opcode (k, r, area, code) & 0xff;
  for (; at < CODE_SIZE && code[at] != opcode; at++)
    if (code[at] == wanted)
      return true;
  return false;
}

/* ---- Faults that ours went past ---- */

/* MOVUPS, MOVUPD; MOVDQU; MASKMOVDQU */
static bool
is_movups (const Case *k, const Result *r, unsigned area, const uint8_t *code)
{
  unsigned opcode = faulting_opcode (k, r, area, code);
  if (has_prefix (k, r, area, code, 0xf3))
    return opcode == 0x0f6f || opcode == 0x0f7f;
  if (has_prefix (k, r, area, code, 0xf2))
    return false;
  return opcode == 0x0f10 || opcode == 0x0f11
         || (opcode == 0x0ff7 && has_prefix (k, r, area, code, 0x66));
}

unsigned
silicon_passed_fault (const Case *k, const Result *native, const Result *ours, unsigned area,
                      const uint8_t *code)
{
  unsigned opcode = faulting_opcode (k, native, area, code);
  uint32_t at = native->eip - k->start - (k->code16 ? 0 : CODE (area));
  Operand o[MAX_OPERANDS];
  if (!native_host ()->amd || !is_operand_fault (native) || ours->eip == native->eip
      || find_operands (k, native, area, code, o) != 1)
    return 0;
  bool x87_store = opcode >= 0xd8 && opcode <= 0xdf && o->written;
  bool unaligned = is_movups (k, native, area, code) && native->vector == 17 && o->linear & 15;
  for (unsigned n = 0; n < k->count && (x87_store || unaligned); n++)
    if (k->offset[n] == at)
      return n + 1;
  return 0;
}

unsigned
silicon_comparison (const Case *k, const Result *native, const Result *ours, unsigned area,
                    const uint8_t *code)
{
  uint32_t at = native->eip - k->start - (k->code16 ? 0 : CODE (area));
  bool trap = native->vector == 1 && ours->vector == 1;
  if (!native_host ()->amd || !(trap || is_operand_fault (native)) || ours->eip != native->eip
      || !((native->eflags ^ ours->eflags) & ARITHMETIC_FLAGS)
      || !is_comparison (faulting_opcode (k, native, area, code))
      || !(has_prefix (k, native, area, code, 0xf2) || has_prefix (k, native, area, code, 0xf3)))
    return k->count;
  for (unsigned n = 0; n < k->count; n++)
    if (k->offset[n] == at)
      return n;
  return k->count;
}

void
silicon_explain_comparison (Result *native, const Result *ours, const Result *before)
{
  if (before->eip == ours->eip && !((before->eflags ^ ours->eflags) & ARITHMETIC_FLAGS))
    native->eflags = (native->eflags & ~ARITHMETIC_FLAGS) | (ours->eflags & ARITHMETIC_FLAGS);
}

/* Ours stands behind the instruction that faulted on the host (silicon_passed_fault); puts it
   before. */
static void
step_back (const Result *native, Result *ours)
{
  take_fault (ours, native);
  ours->eip = native->eip;
  ours->eflags |= native->eflags & FLAG_RF;
}

/* A store that an unmasked exception suppresses: the host looks at the destination all the same,
   ours has noted the exception. */
static void
explain_store (const Result *native, Result *ours)
{
  static const uint8_t exceptions = 0x7f; /* and the stack fault */
  uint32_t fip;
  memcpy (&fip, ours->fx + 8, 4);
  if (fip != native->eip || !(ours->fx[2] & FSW_ES) || native->fx[2] & FSW_ES)
    return;
  step_back (native, ours);
  ours->fx[2] = (ours->fx[2] & ~(exceptions | FSW_ES)) | (native->fx[2] & exceptions);
  ours->fx[3] = (ours->fx[3] & ~FSW_B_C1) | (native->fx[3] & FSW_B_C1);
}

/* MOVUPS and its like ask for alignment with EFLAGS.AC; ours has moved. */
static void
explain_movups (unsigned opcode, uint8_t modrm, const Result *native, Result *ours)
{
  unsigned at = FX_XMM + 16 * (modrm >> 3 & 7);
  step_back (native, ours);
  if (opcode == 0x0f10 || opcode == 0x0f6f)
    memcpy (ours->fx + at, native->fx + at, 16);
  else
    {
      ours->lines = native->lines;
      ours->checksum = native->checksum;
    }
}

static uint8_t
modrm_of (const Case *k, const Result *r, unsigned area, const uint8_t *code)
{
  uint32_t at = r->eip - (k->code16 ? 0 : CODE (area));
  while (at < CODE_SIZE - 2 && code[at] != 0x0f)
    at++;
  return at < CODE_SIZE - 2 ? code[at + 2] : 0;
}

static void
explain_amd (const Case *k, Result *native, Result *ours, unsigned area, const uint8_t *code)
{
  unsigned opcode = faulting_opcode (k, native, area, code);
  bool repe = has_prefix (k, native, area, code, 0xf3);
  bool repne = has_prefix (k, native, area, code, 0xf2);
  Operand o[MAX_OPERANDS];
  unsigned operands = find_operands (k, native, area, code, o);
  bool movups = is_movups (k, native, area, code);
  if (silicon_passed_fault (k, native, ours, area, code))
    {
      if (movups)
        explain_movups (opcode, modrm_of (k, native, area, code), native, ours);
      else
        explain_store (native, ours);
    }
  /* INT1 below a hypervisor that takes #DB for itself: EIP is that of the instruction. */
  if (opcode == 0xf1 && native_host ()->guest && native->vector == 1 && ours->vector == 1
      && native->eip + 1 == ours->eip)
    native->eip = ours->eip;
  if (native->eip != ours->eip)
    return;
  if (repe || repne)
    explain_rounds (opcode, native, ours);
  if (!is_operand_fault (native))
    return;
  if (opcode == 0x62)
    explain_bound (o, operands, native, ours);
  if (k->code16 && (opcode == 0xe8 || opcode == 0xff))
    explain_call (native, ours);
  if (!is_operand_fault (ours))
    return;
  if (movups && native->vector == 17 && ours->vector == 14 && operands == 1 && o->linear & 15)
    take_fault (native, ours);
  explain_parts (o, operands, opcode, native, ours);
  explain_wrap (o, operands, opcode, native, ours);
  if (opcode == 0xa6 && repe)
    explain_cmps (o, operands, native, ours);
}

void
silicon_explain (const Case *k, Result *native, Result *ours, unsigned area, const uint8_t *code)
{
  Result *both[2] = { native, ours };
  if (native_host ()->amd && native->vector != VECTOR_END)
    explain_amd (k, native, ours, area, code);
  if (native->vector == ours->vector && native->eip == ours->eip)
    explain_fault (faulting_opcode (k, native, area, code), native, ours);
  mask_images (k, native, ours);
  mask_fx (native, ours->fx);
  mask_fx (native, native->fx);
  for (unsigned n = 0; n < 2; n++)
    if (both[n]->vector == 14)
      {
        both[n]->error &= ~0x10u; /* no-execute did not exist */
        if (both[n]->cr2 >= OUR_STACK - 0x3000)
          both[n]->error |= 1; /* our side's kernel is there */
      }
    else
      both[n]->cr2 = 0;
}
