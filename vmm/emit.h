/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The encoder: x86-64 instructions as bytes (Intel SDM vol. 2).  It knows encodings, not what they
 * are for; translate*.c know that.
 *
 * Registers are host numbers 0 to 15.  A memory operand is base + index << scale + displacement;
 * the encoder chooses the shortest form.  Bytes go to `at`; past `end` nothing is written and
 * `overflow` is set, so that whoever emits looks once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  uint8_t *at, *end;
  bool overflow;
} Emit;

enum {
  R_AX,
  R_CX,
  R_DX,
  R_BX,
  R_SP,
  R_BP,
  R_SI,
  R_DI,
  R_8,
  R_9,
  R_10,
  R_11,
  R_12,
  R_13,
  R_14,
  R_15
};
#define R_NONE (-1)

typedef struct {
  int base, index; /* R_NONE if absent; index is never R_SP */
  uint8_t scale;
  int32_t disp;
  bool space; /* in the space at GS; the address has 32 bits */
} EmitMem;

static inline void
emit_bytes (Emit *e, const void *bytes, unsigned n)
{
  if ((size_t) (e->end - e->at) < n)
    {
      e->overflow = true;
      return;
    }
  memcpy (e->at, bytes, n);
  e->at += n;
}

static inline void
emit8 (Emit *e, unsigned v)
{
  uint8_t b = (uint8_t) v;
  emit_bytes (e, &b, 1);
}

static inline void
emit16 (Emit *e, unsigned v)
{
  uint16_t w = (uint16_t) v;
  emit_bytes (e, &w, 2);
}

static inline void
emit32 (Emit *e, uint32_t v)
{
  emit_bytes (e, &v, 4);
}

#define REX_W 0x48u

static inline void
emit_rex (Emit *e, unsigned rex, int reg, int index, int base)
{
  unsigned v
      = (rex & 0xff) | (reg >= 8 ? 0x44 : 0) | (index >= 8 ? 0x42 : 0) | (base >= 8 ? 0x41 : 0);
  if (v)
    emit8 (e, v);
}

static inline void
emit_opcode (Emit *e, unsigned opcode) /* 0F xx and 0F 38 xx are written out: 0x0fb6 */
{
  if (opcode > 0xffff)
    emit8 (e, opcode >> 16);
  if (opcode > 0xff)
    emit8 (e, opcode >> 8);
  emit8 (e, opcode);
}

/* opcode reg, r/m with a register for r/m. */
static inline void
emit_rr (Emit *e, unsigned rex, unsigned opcode, int reg, int rm)
{
  emit_rex (e, rex, reg, 0, rm);
  emit_opcode (e, opcode);
  emit8 (e, 0xc0 | (unsigned) (reg & 7) << 3 | (unsigned) (rm & 7));
}

static inline void
emit_modrm_mem (Emit *e, int reg, EmitMem m)
{
  unsigned r = (unsigned) (reg & 7) << 3;
  bool sib = m.index != R_NONE || m.base == R_NONE || (m.base & 7) == R_SP;
  unsigned mod = 0x80;
  if (m.base == R_NONE)
    mod = 0; /* with SIB base 5: 32-bit displacement alone */
  else if (m.disp == 0 && (m.base & 7) != R_BP)
    mod = 0;
  else if (m.disp == (int8_t) m.disp)
    mod = 0x40;
  emit8 (e, mod | r | (sib ? 4u : (unsigned) (m.base & 7)));
  if (sib)
    emit8 (e, (unsigned) m.scale << 6 | (m.index == R_NONE ? 4u : (unsigned) (m.index & 7)) << 3
                  | (m.base == R_NONE ? 5u : (unsigned) (m.base & 7)));
  if (mod == 0x40)
    emit8 (e, (unsigned) m.disp);
  else if (mod == 0x80 || m.base == R_NONE)
    emit32 (e, (uint32_t) m.disp);
}

/* opcode reg, r/m with memory for r/m. */
static inline void
emit_rm (Emit *e, unsigned rex, unsigned opcode, int reg, EmitMem m)
{
  if (m.space)
    emit16 (e, 0x6765); /* GS, 32-bit address */
  emit_rex (e, rex, reg, m.index == R_NONE ? 0 : m.index, m.base == R_NONE ? 0 : m.base);
  emit_opcode (e, opcode);
  emit_modrm_mem (e, reg, m);
}

static inline EmitMem
emit_at (int base, int32_t disp)
{
  return (EmitMem){ .base = base, .index = R_NONE, .disp = disp };
}

static inline void
emit_mov_ri (Emit *e, int reg, uint32_t v)
{
  emit_rex (e, 0, 0, 0, reg);
  emit8 (e, 0xb8 | (unsigned) (reg & 7));
  emit32 (e, v);
}

static inline void
emit_mov_rr (Emit *e, int to, int from) /* 32 bits */
{
  emit_rr (e, 0, 0x8b, to, from);
}

static inline void
emit_lea (Emit *e, int to, EmitMem m) /* 32 bits */
{
  emit_rm (e, 0, 0x8d, to, m);
}

/* mov dword [m], imm32 */
static inline void
emit_mov_mi (Emit *e, EmitMem m, uint32_t v)
{
  emit_rm (e, 0, 0xc7, 0, m);
  emit32 (e, v);
}

/* SHRX to, from, count (BMI2): leaves the flags alone. */
static inline void
emit_shrx (Emit *e, int to, int from, int count)
{
  emit8 (e, 0xc4);
  emit8 (e, (to >= 8 ? 0u : 0x80u) | 0x40u | (from >= 8 ? 0u : 0x20u) | 2u);
  emit8 (e, (unsigned) (~count & 15) << 3 | 3u);
  emit8 (e, 0xf7);
  emit8 (e, 0xc0 | (unsigned) (to & 7) << 3 | (unsigned) (from & 7));
}

/* RORX to, from, count (BMI2). */
static inline void
emit_rorx (Emit *e, int to, int from, unsigned count)
{
  emit8 (e, 0xc4);
  emit8 (e, (to >= 8 ? 0u : 0x80u) | 0x40u | (from >= 8 ? 0u : 0x20u) | 3u);
  emit8 (e, 0x7b);
  emit8 (e, 0xf0);
  emit8 (e, 0xc0 | (unsigned) (to & 7) << 3 | (unsigned) (from & 7));
  emit8 (e, count);
}

/* Jumps; return where the 32-bit distance stands. */
static inline uint8_t *
emit_jmp (Emit *e)
{
  emit8 (e, 0xe9);
  emit32 (e, 0);
  return e->at - 4;
}

static inline uint8_t *
emit_jcc (Emit *e, unsigned condition)
{
  emit8 (e, 0x0f);
  emit8 (e, 0x80 | condition);
  emit32 (e, 0);
  return e->at - 4;
}

static inline void
emit_target (uint8_t *distance, const uint8_t *target)
{
  int32_t v = (int32_t) (target - (distance + 4));
  memcpy (distance, &v, 4);
}

#define CC_AE 3u
#define CC_E 4u
#define CC_NE 5u
#define CC_A 7u
#define CC_S 8u
