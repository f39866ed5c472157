/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The silicon test's SSE2 instructions, in all their forms, and some that are none. */
#include "silicon-generate.h"

/* What r/m may be; now and then it is the other, which does not exist. */
#define MEM 0x01
#define REG 0x02
#define BOTH (MEM | REG)
#define IMM 0x04    /* a byte follows */
#define TO_REG 0x08 /* writes a general register: that of reg */
#define TO_RM 0x10  /* that of r/m */
#define FREE 0x20   /* the operand of 16 bytes need not be aligned */

typedef struct {
  uint8_t prefix, opcode, size, flags;
} Instruction;

static const Instruction floating[] = {
  { 0x66, 0x51, 16, BOTH },       { 0x66, 0x54, 16, BOTH },       { 0x66, 0x55, 16, BOTH },
  { 0x66, 0x56, 16, BOTH },       { 0x66, 0x57, 16, BOTH },       { 0x66, 0x58, 16, BOTH },
  { 0x66, 0x59, 16, BOTH },       { 0x66, 0x5a, 16, BOTH },       { 0x66, 0x5b, 16, BOTH },
  { 0x66, 0x5c, 16, BOTH },       { 0x66, 0x5d, 16, BOTH },       { 0x66, 0x5e, 16, BOTH },
  { 0x66, 0x5f, 16, BOTH },       { 0xf2, 0x51, 8, BOTH },        { 0xf2, 0x58, 8, BOTH },
  { 0xf2, 0x59, 8, BOTH },        { 0xf2, 0x5a, 8, BOTH },        { 0xf2, 0x5c, 8, BOTH },
  { 0xf2, 0x5d, 8, BOTH },        { 0xf2, 0x5e, 8, BOTH },        { 0xf2, 0x5f, 8, BOTH },
  { 0x00, 0x5a, 8, BOTH },        { 0x00, 0x5b, 16, BOTH },       { 0xf3, 0x5a, 4, BOTH },
  { 0xf3, 0x5b, 16, BOTH },       { 0xf2, 0xe6, 16, BOTH },       { 0x66, 0xe6, 16, BOTH },
  { 0xf3, 0xe6, 8, BOTH },        { 0x66, 0x2a, 8, BOTH },        { 0xf2, 0x2a, 4, BOTH },
  { 0x66, 0x2c, 16, BOTH },       { 0x66, 0x2d, 16, BOTH },       { 0xf2, 0x2c, 8, BOTH | TO_REG },
  { 0x66, 0x2e, 8, BOTH },        { 0x66, 0x2f, 8, BOTH },        { 0xf2, 0x2d, 8, BOTH | TO_REG },
  { 0x66, 0xc6, 16, BOTH | IMM }, { 0x66, 0xc2, 16, BOTH | IMM }, { 0xf2, 0xc2, 8, BOTH | IMM },
  { 0x66, 0x14, 16, BOTH },       { 0x66, 0x15, 16, BOTH },       { 0x66, 0x50, 16, REG | TO_REG },
};

static const Instruction moves[] = {
  { 0x66, 0x10, 16, BOTH | FREE },
  { 0x66, 0x11, 16, BOTH | FREE },
  { 0xf3, 0x6f, 16, BOTH | FREE },
  { 0xf3, 0x7f, 16, BOTH | FREE },
  { 0xf2, 0x10, 8, BOTH },
  { 0xf2, 0x11, 8, BOTH },
  { 0x66, 0x12, 8, MEM },
  { 0x66, 0x13, 8, MEM },
  { 0x66, 0x16, 8, MEM },
  { 0x66, 0x17, 8, MEM },
  { 0x66, 0x28, 16, BOTH },
  { 0x66, 0x29, 16, BOTH },
  { 0x66, 0x2b, 16, MEM },
  { 0x66, 0x6f, 16, BOTH },
  { 0x66, 0x7f, 16, BOTH },
  { 0x66, 0xe7, 16, MEM },
  { 0x66, 0x6e, 4, BOTH },
  { 0xf3, 0x7e, 8, BOTH },
  { 0x66, 0x7e, 4, BOTH | TO_RM },
  { 0x66, 0xd6, 8, BOTH },
  { 0xf3, 0xd6, 8, REG },
  { 0xf2, 0xd6, 8, REG },
  { 0x00, 0xc3, 4, MEM },
  { 0x66, 0xf7, 16, REG },
  { 0x66, 0x70, 16, BOTH | IMM },
  { 0xf2, 0x70, 16, BOTH | IMM },
  { 0xf3, 0x70, 16, BOTH | IMM },
  { 0x66, 0xc4, 2, BOTH | IMM },
  { 0x66, 0xc5, 2, REG | IMM | TO_REG },
  { 0x66, 0xd7, 16, REG | TO_REG },
};

/* 66 xx of 16 bytes each. */
static const uint8_t integers[] = {
  0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x74,
  0x75, 0x76, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
  0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1,
  0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe,
};

/* On MMX registers. */
static const Instruction additions[] = {
  { 0x00, 0xd4, 8, BOTH },
  { 0x00, 0xf4, 8, BOTH },
  { 0x00, 0xfb, 8, BOTH },
};

/* Prefixes that the opcode never got. */
static const Instruction missing[] = {
  { 0x66, 0x52, 16, BOTH }, { 0x66, 0x53, 16, BOTH }, { 0xf2, 0x52, 8, BOTH },
  { 0xf2, 0x54, 8, BOTH },  { 0xf3, 0x55, 4, BOTH },  { 0xf2, 0x5b, 8, BOTH },
  { 0xf2, 0x6f, 8, BOTH },  { 0xf2, 0x7f, 8, BOTH },  { 0xf3, 0x60, 8, BOTH },
  { 0xf2, 0xfe, 8, BOTH },  { 0xf3, 0xd4, 8, BOTH },  { 0xf3, 0x14, 8, BOTH },
  { 0xf2, 0x14, 8, BOTH },  { 0xf3, 0x28, 8, BOTH },  { 0xf2, 0x29, 8, BOTH },
  { 0xf2, 0x2e, 8, BOTH },  { 0xf2, 0xe7, 8, BOTH },  { 0x00, 0xd6, 8, BOTH },
  { 0x00, 0xe6, 8, BOTH },  { 0x00, 0x6c, 8, BOTH },  { 0xf3, 0xf7, 8, BOTH },
};

/* Shifts by an immediate count: 71, 72, 73. */
static void
shift_by_byte (Gen *g, Draft *d)
{
  static const uint8_t kinds[] = { 2, 4, 6, 2, 6, 3, 7, 3, 7, 0, 1, 5 };
  prefix (d, 0x66);
  byte (&d->i, 0x0f);
  byte (&d->i, 0x71 + below (g, 3));
  byte (&d->i, 0xc0 | PICK (g, kinds) << 3 | below (g, 8));
  byte (&d->i, percent (g, 80) ? below (g, 70) : below (g, 256));
}

/* LFENCE, MFENCE, CLFLUSH, PAUSE */
static void
hint (Gen *g, Draft *d)
{
  unsigned which = below (g, 4);
  if (which == 3)
    {
      prefix (d, 0xf3);
      byte (&d->i, 0x90);
      return;
    }
  byte (&d->i, 0x0f);
  byte (&d->i, 0xae);
  if (which == 2)
    memory (g, d, 7, 1);
  else
    byte (&d->i, 0xe8 + 8 * which);
}

static void
emit (Gen *g, Draft *d, const Instruction *n)
{
  unsigned reg = n->flags & TO_REG ? pick_destination (g) : below (g, 8);
  unsigned rm = n->flags & TO_RM ? pick_destination (g) : below (g, 8);
  bool is_memory = (n->flags & BOTH) == BOTH ? percent (g, 50) : n->flags & MEM;
  if (percent (g, 1))
    is_memory = !is_memory;
  if (n->prefix)
    prefix (d, n->prefix);
  if (n->prefix > 0x66 && percent (g, 3))
    prefix (d, 0x66); /* is of no effect beside F2 and F3 */
  byte (&d->i, 0x0f);
  byte (&d->i, n->opcode);
  if (is_memory)
    memory_at (g, d, reg, pick_linear (g, n->size, percent (g, n->flags & FREE ? 20 : 85)));
  else
    byte (&d->i, 0xc0 | reg << 3 | rm);
  if (n->flags & IMM)
    byte (&d->i, n->opcode == 0xc2 ? below (g, 8) : below (g, 256));
  if (n->flags & TO_REG)
    forget (g, 1u << reg);
  if (n->flags & TO_RM && !is_memory)
    forget (g, 1u << rm);
}

void
sse2 (Gen *g, Draft *d)
{
  unsigned chance = below (g, 200);
  if (chance < 80)
    emit (g, d, &PICK (g, floating));
  else if (chance < 130)
    {
      Instruction n = { 0x66, PICK (g, integers), 16, BOTH };
      emit (g, d, &n);
    }
  else if (chance < 184)
    emit (g, d, &PICK (g, moves));
  else if (chance < 192)
    shift_by_byte (g, d);
  else if (chance < 196)
    emit (g, d, &PICK (g, additions));
  else if (chance < 199)
    hint (g, d);
  else
    emit (g, d, &PICK (g, missing));
}
