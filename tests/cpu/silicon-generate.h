/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the generator share: chance, the sequence being made, one instruction of it. */
#pragma once

#include "silicon.h"

#include <string.h>

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
#define EAX_ 0x01
#define EDX_ 0x04
#define ESP_ 0x10
#define EBP_ 0x20

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };

typedef struct {
  uint64_t random;
  const Options *options;
  bool traps;     /* EFLAGS.TF may be on: a sequence can end between any two instructions */
  Case *k;
  uint8_t known;  /* general registers that still hold what they began with */
  unsigned count; /* instructions in this sequence */
  bool stored;    /* an image was stored that differs between processors */
  uint16_t sel[6]; /* ES CS SS DS FS GS now */
} Gen;

typedef struct {
  Insn i;
  uint8_t prefix[6], prefixes;
} Draft;

/* ---- Chance ---- */

static inline uint64_t
next (uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

static inline uint32_t
below (Gen *g, uint32_t n)
{
  return (uint32_t) ((next (&g->random) >> 32) * n >> 32);
}

static inline bool
percent (Gen *g, uint32_t n)
{
  return below (g, 100) < n;
}

#define PICK(g, array) ((array)[below ((g), sizeof (array) / sizeof (array)[0])])

static inline uint32_t
random32 (Gen *g)
{
  static const uint32_t edges[]
      = { 0,          1,      2,      0x7f,    0x80,       0xff,       0x100,
          0x7fff,     0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
          0xfffffffe, 31,     32,     16,      9,          10 };
  uint32_t v = (uint32_t) next (&g->random);
  switch (below (g, 8))
    {
    case 0:
      return PICK (g, edges);
    case 1:
      return v & 0xff;
    case 2:
      return v & 0xffff;
    case 3:
      return (uint32_t) (int32_t) (int8_t) v;
    }
  return v;
}

/* ---- silicon-values.c: operands ---- */

void random_fx (Gen *g, uint8_t fx[512]);
void fill_memory (Gen *g, uint8_t *to, unsigned size);

/* ---- silicon-generate.c: places, bytes, operands ---- */

/* Where an operand of `size` bytes may lie; mostly it is aligned, `align`: always. */
uint32_t pick_linear (Gen *g, unsigned size, bool align);
void byte (Insn *i, unsigned v);
void word (Insn *i, unsigned v);
void dword (Insn *i, uint32_t v);
void literal (Draft *d, const char *bytes, unsigned count);
void prefix (Draft *d, unsigned v);
/* The modrm byte and what follows, for an operand at a linear address, or somewhere. */
void memory_at (Gen *g, Draft *d, unsigned reg, uint32_t linear);
void memory (Gen *g, Draft *d, unsigned reg, unsigned size);
/* A register to write to: rather not one that points somewhere. */
unsigned pick_destination (Gen *g);
/* Another operand size now and then; returns whether it is 16 bits. */
bool pick_o16 (Gen *g, Draft *d, unsigned chance);
/* These general registers have another value now. */
void forget (Gen *g, unsigned registers);

/* ---- silicon-units.c: x87, MMX, SSE ---- */

void x87 (Gen *g, Draft *d);
void mmx (Gen *g, Draft *d);
void sse (Gen *g, Draft *d);

/* ---- silicon-sse2.c ---- */

void sse2 (Gen *g, Draft *d);

