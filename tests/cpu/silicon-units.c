/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The silicon test's x87, MMX and SSE instructions: the Pentium III's.  SSE2: silicon-sse2.c. */
#include "silicon-generate.h"

/* ---- x87 ---- */

/* Bytes of the operand; 0 for what does not exist, or has a place of its own (image). */
static const uint8_t x87_sizes[8][8] = {
  { 4, 4, 4, 4, 4, 4, 4, 4 },   { 4, 0, 4, 4, 0, 2, 0, 2 }, { 4, 4, 4, 4, 4, 4, 4, 4 },
  { 4, 0, 4, 4, 0, 10, 0, 10 }, { 8, 8, 8, 8, 8, 8, 8, 8 }, { 8, 0, 8, 8, 0, 0, 0, 2 },
  { 2, 2, 2, 2, 2, 2, 2, 2 },   { 2, 0, 2, 2, 10, 8, 10, 8 },
};

/* Which modrm bytes from C0 on there are, by rows of sixteen. */
static const uint16_t x87_registers[8][4] = {
  { 0xffff, 0xffff, 0xffff, 0xffff }, { 0xffff, 0xff01, 0x7f33, 0xffff },
  { 0xffff, 0xffff, 0x0200, 0 },      { 0xffff, 0xffff, 0xff1f, 0x00ff },
  { 0xffff, 0xffff, 0xffff, 0xffff }, { 0xffff, 0xffff, 0xffff, 0 },
  { 0xffff, 0x02ff, 0xffff, 0xffff }, { 0xffff, 0xffff, 0xff01, 0x00ff },
};

/* FLDENV, FNSTENV, FRSTOR, FNSAVE, FXSAVE, FXRSTOR where both sides' images may differ. */
static void
image (Gen *g, Draft *d)
{
  static const uint16_t kinds[] = { 0xd904, 0xd906, 0xdd04, 0xdd06, 0x0f00, 0x0f01 };
  unsigned kind = PICK (g, kinds), reg = kind & 7;
  bool fx = kind >> 8 == 0x0f, store = fx ? reg == 0 : reg == 6;
  uint32_t at = IMAGE_START + (fx ? below (g, 2) * 512 : below (g, IMAGE_WINDOW - 108));
  if ((!store && g->stored) || g->sel[SEG_DS] != SEL_FLAT || g->k->code16)
    {
      byte (&d->i, 0x90);
      return;
    }
  if (percent (g, 10))
    at = IMAGE_START + below (g, IMAGE_WINDOW);
  /* FXRSTOR elsewhere might find bits in MXCSR that the host alone knows. */
  if (fx && !store && at % 16 == 0 && at % 512 && at <= IMAGE_START + IMAGE_WINDOW - 512)
    at = IMAGE_START;
  bool o16 = !fx && pick_o16 (g, d, 25);
  byte (&d->i, fx ? 0x0f : kind >> 8);
  if (fx)
    byte (&d->i, 0xae);
  byte (&d->i, reg << 3 | 5);
  dword (&d->i, at);
  g->k->image[g->k->images].kind = fx ? IMAGE_FX : o16 ? IMAGE_ENV16 : IMAGE_ENV32;
  g->k->image[g->k->images].address = store ? at : 0;
  g->k->images++;
  g->stored |= store;
}

void
x87 (Gen *g, Draft *d)
{
  unsigned opcode = below (g, 8), reg = below (g, 8), size = x87_sizes[opcode][reg];
  if (percent (g, 4))
    {
      image (g, d);
      return;
    }
  if (percent (g, 3))
    {
      byte (&d->i, 0x9b);
      return;
    }
  if (below (g, 2000) == 0) /* what never was an instruction */
    {
      byte (&d->i, opcode & 1 ? 0xdb : 0xdd);
      memory (g, d, opcode & 1 ? 4 : 5, 4);
      return;
    }
  if (percent (g, 50) && size)
    {
      byte (&d->i, 0xd8 + opcode);
      memory (g, d, reg, size);
      return;
    }
  unsigned form = below (g, 64);
  while (!(x87_registers[opcode][form >> 4] >> (form & 15) & 1) && !percent (g, 1))
    form = below (g, 64);
  byte (&d->i, 0xd8 + opcode);
  byte (&d->i, 0xc0 | form);
  if (opcode == 7)
    forget (g, EAX_);
}

/* ---- MMX and SSE ---- */

void
mmx (Gen *g, Draft *d)
{
  static const uint8_t plain[]
      = { 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6f, 0x74, 0x75,
          0x76, 0xd1, 0xd2, 0xd3, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1,
          0xe2, 0xe3, 0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3,
          0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfc, 0xfd, 0xfe, 0x7f };
  static const uint8_t odd[]
      = { 0x6e, 0x7e, 0x70, 0x71, 0x72, 0x73, 0x77, 0xc4, 0xc5, 0xd7, 0xe7, 0xf7 };
  unsigned opcode = percent (g, 65) ? PICK (g, plain) : PICK (g, odd), reg = below (g, 8);
  bool is_memory = percent (g, 50);
  unsigned size = opcode == 0x6e || opcode == 0x7e || opcode <= 0x62 ? 4 : opcode == 0xc4 ? 2 : 8;
  byte (&d->i, 0x0f);
  byte (&d->i, opcode);
  if (opcode >= 0x71 && opcode <= 0x73)
    {
      static const uint8_t shifts[] = { 2, 4, 6, 2, 4, 6, 0, 1, 3, 5, 7 };
      byte (&d->i, 0xc0 | PICK (g, shifts) << 3 | below (g, 8));
      byte (&d->i, percent (g, 70) ? below (g, 70) : below (g, 256));
      return;
    }
  if (opcode == 0x77)
    return;
  if (opcode == 0xc5 || opcode == 0xd7 || opcode == 0xf7)
    is_memory = percent (g, 3);
  if (opcode == 0xe7)
    is_memory = !percent (g, 3);
  if (opcode == 0xc5 || opcode == 0xd7)
    reg = pick_destination (g);
  unsigned rm = opcode == 0x7e ? pick_destination (g) : below (g, 8);
  if (is_memory)
    memory (g, d, reg, size);
  else
    byte (&d->i, 0xc0 | reg << 3 | rm);
  if (opcode == 0x70 || opcode == 0xc4 || opcode == 0xc5)
    byte (&d->i, below (g, 256));
  if (opcode == 0xc5 || opcode == 0xd7)
    forget (g, 1u << reg);
  if (opcode == 0x7e)
    forget (g, 1u << rm);
}

/* LDMXCSR of a value without the bits that the host alone knows, above bit 15. */
static void
load_mxcsr (Gen *g, Draft *d)
{
  uint32_t at = DATA + 0x1000 + below (g, 0x800) * 4, v = (uint32_t) (next (&g->random) & 0xffff);
  if (percent (g, 5))
    v |= 0x10000u << below (g, 16);
  if (percent (g, 70))
    v |= 0x1f80;
  v &= 0xffff | ~native_host ()->mxcsr_mask; /* AMD's bit 17 */
  literal (d, "\xc7\x05", 2); /* mov [at], v */
  dword (&d->i, at);
  dword (&d->i, v);
  literal (d, "\x0f\xae\x15", 3);
  dword (&d->i, at);
}

static void
mxcsr (Gen *g, Draft *d)
{
  bool load = percent (g, 30) && !g->k->code16 && g->sel[SEG_DS] == SEL_FLAT;
  if (load)
    {
      load_mxcsr (g, d);
      return;
    }
  byte (&d->i, 0x0f);
  byte (&d->i, 0xae);
  memory (g, d, 3, 4);
}

void
sse (Gen *g, Draft *d)
{
  static const uint8_t packed[]
      = { 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2a, 0x2b, 0x2c,
          0x2d, 0x2e, 0x2f, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
          0x5c, 0x5d, 0x5e, 0x5f, 0xc2, 0xc6, 0x51, 0x58, 0x59, 0x5c, 0x5e };
  static const uint8_t scalar[] = { 0x10, 0x11, 0x2a, 0x2c, 0x2d, 0x51, 0x52, 0x53,
                                    0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f, 0xc2 };
  bool single = percent (g, 40), is_memory = percent (g, 50);
  unsigned opcode = single ? PICK (g, scalar) : PICK (g, packed), reg = below (g, 8);
  unsigned size = single || opcode == 0x2e || opcode == 0x2f ? 4 : 16;
  bool to_gpr = opcode == 0x50 || (single && (opcode == 0x2c || opcode == 0x2d));
  if (percent (g, 3))
    {
      mxcsr (g, d);
      return;
    }
  if (percent (g, 1))
    {
      byte (&d->i, 0x0f);
      byte (&d->i, percent (g, 50) ? 0xae : 0x18);
      if (d->i.bytes[1] == 0xae)
        byte (&d->i, 0xf8);
      else
        memory (g, d, below (g, 4), 16);
      return;
    }
  if (!single
      && (opcode == 0x12 || opcode == 0x13 || opcode == 0x16 || opcode == 0x17 || opcode == 0x2a
          || opcode == 0x2c || opcode == 0x2d))
    size = 8;
  if (opcode == 0x13 || opcode == 0x17 || opcode == 0x2b)
    is_memory = !percent (g, 2);
  if (opcode == 0x50)
    is_memory = percent (g, 2);
  if (to_gpr)
    reg = pick_destination (g);
  if (single)
    prefix (d, 0xf3);
  byte (&d->i, 0x0f);
  byte (&d->i, opcode);
  if (is_memory)
    memory_at (g, d, reg, pick_linear (g, size, percent (g, 85)));
  else
    byte (&d->i, 0xc0 | reg << 3 | below (g, 8));
  if (opcode == 0xc2)
    byte (&d->i, below (g, 8));
  if (opcode == 0xc6)
    byte (&d->i, below (g, 256));
  if (to_gpr)
    forget (g, 1u << reg);
}
