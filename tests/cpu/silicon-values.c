/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values for the silicon test: floating-point numbers of every class, states of the x87 and SSE
 * units, contents of memory.
 */
#include "silicon-generate.h"

/* ---- Values of floating point ---- */

static uint32_t
random_float (Gen *g)
{
  uint32_t v = (uint32_t) next (&g->random);
  switch (below (g, 12))
    {
    case 0:
      return v & 0x80000000u;
    case 1:
      return (v & 0x80000000u) | 0x7f800000u; /* infinity */
    case 2:
      return v | 0x7fc00000u;
    case 3:
      return (v & ~0x00400000u) | 0x7f800001u; /* signalling */
    case 4:
      return v & 0x807fffffu; /* denormal */
    case 5:
      return (v & 0x81ffffffu); /* about the smallest */
    case 6:
      return v | 0x7e000000u; /* about the greatest */
    case 7:
      return v;
    case 8:
      return (v & 0x80f00000u) | 0x3f800000u;
    }
  return (v & 0x81ffffffu) | 0x3f000000u;
}

static uint64_t
random_double (Gen *g)
{
  uint64_t v = next (&g->random);
  switch (below (g, 14))
    {
    case 10:
      return v & 0x801fffffffffffffull; /* about the smallest */
    case 11:
      return v | 0x7fc0000000000000ull; /* about the greatest */
    case 12:
      return (v & 0x8fffffffffffffffull) | 0x3000000000000000ull; /* a product may be tiny */
    case 13: /* about the smallest and the greatest float */
      v &= 0x800fffffffffffffull;
      v |= (uint64_t) (percent (g, 50) ? 0x369 : 0x47e) << 52;
      return v + ((uint64_t) below (g, 32) << 52);
    case 0:
      return v & 0x8000000000000000ull;
    case 1:
      return (v & 0x8000000000000000ull) | 0x7ff0000000000000ull;
    case 2:
      return v | 0x7ff8000000000000ull;
    case 3:
      return (v & ~0x0008000000000000ull) | 0x7ff0000000000001ull;
    case 4:
      return v & 0x800fffffffffffffull;
    case 5:
      return v;
    case 6:
      return (v & 0x80f0000000000000ull) | 0x3ff0000000000000ull;
    }
  return (v & 0x803fffffffffffffull) | 0x3fe0000000000000ull;
}

static void
random_extended (Gen *g, uint8_t to[10])
{
  uint64_t mantissa = next (&g->random) | 1ull << 63;
  uint16_t exponent = (uint16_t) next (&g->random);
  uint16_t sign = exponent & 0x8000;
  switch (below (g, 14))
    {
    case 0:
      mantissa = 0;
      exponent = sign;
      break;
    case 1:
      mantissa = 1ull << 63;
      exponent = sign | 0x7fff;
      break;
    case 2:
      exponent = sign | 0x7fff; /* NaN, quiet or not */
      break;
    case 3:
      mantissa &= ~(1ull << 63);
      exponent = sign; /* denormal */
      break;
    case 4:
      exponent = sign; /* pseudo-denormal */
      break;
    case 5:
      mantissa &= ~(1ull << 63); /* unsupported */
      break;
    case 6:
      break;
    case 7:
      mantissa &= 0xff00000000000000ull;
      exponent = sign | (uint16_t) (0x3ffe + below (g, 10));
      break;
    case 8:
      exponent
          = sign | (uint16_t) (0x3fff - 16383 + 64 + below (g, 64)); /* about the smallest double */
      break;
    case 9:
      exponent = sign | (uint16_t) (0x3fff + 1000 + below (g, 48)); /* about the greatest */
      break;
    default:
      exponent = sign | (uint16_t) (0x3ff0 + below (g, 32));
    }
  memcpy (to, &mantissa, 8);
  memcpy (to + 8, &exponent, 2);
}

void
random_fx (Gen *g, uint8_t fx[512])
{
  static const uint16_t controls[]
      = { 0x37f, 0x37f, 0x27f, 0x7f, 0x77f, 0xb7f, 0xf7f, 0x67f, 0x1e7f };
  uint16_t fcw = PICK (g, controls), fsw = (uint16_t) next (&g->random);
  uint8_t ftw = percent (g, 60) ? (uint8_t) next (&g->random) : percent (g, 70) ? 0xff : 0;
  uint32_t mxcsr = 0x1f80 | (next (&g->random) & 0x603f);
  memset (fx, 0, 512);
  if (percent (g, 20))
    fcw = (fcw & 0xffc0) | (next (&g->random) & 0x3f);
  fsw &= 0x7fff & ~0x80;
  if (!percent (g, 5))
    fsw &= ~(~fcw & 0x3f); /* nothing pending */
  if (fsw & ~fcw & 0x3f)
    fsw |= 0x8080;
  if (percent (g, 10))
    mxcsr |= 0x8000;
  if (percent (g, 15))
    mxcsr |= 0x40;
  if (percent (g, 25))
    mxcsr ^= next (&g->random) & 0x1f80;
  memcpy (fx, &fcw, 2);
  memcpy (fx + 2, &fsw, 2);
  fx[4] = ftw;
  memcpy (fx + 24, &mxcsr, 4);
  for (unsigned n = 0; n < 8; n++)
    random_extended (g, fx + 32 + 16 * n);
  for (unsigned n = 0; n < 16; n++)
    {
      uint64_t v = percent (g, 50) ? random_double (g)
                                   : random_float (g) | (uint64_t) random_float (g) << 32;
      memcpy (fx + 160 + 8 * n, &v, 8);
    }
}

void
fill_memory (Gen *g, uint8_t *to, unsigned size)
{
  for (unsigned n = 0; n < size; n += 16)
    {
      uint64_t v[2] = { next (&g->random), next (&g->random) };
      uint8_t chunk[16];
      unsigned kind = below (g, 6);
      memcpy (chunk, v, 16);
      for (unsigned m = 0; m < 4 && kind < 2; m++)
        {
          uint32_t f = kind ? random_float (g) : random32 (g);
          memcpy (chunk + 4 * m, &f, 4);
        }
      for (unsigned m = 0; m < 2 && kind == 2; m++)
        {
          uint64_t d = random_double (g);
          memcpy (chunk + 8 * m, &d, 8);
        }
      if (kind == 3)
        random_extended (g, chunk);
      if (kind == 4) /* packed decimals, or nearly */
        for (unsigned m = 0; m < 16; m++)
          chunk[m] = (uint8_t) (below (g, 10) << 4 | below (g, 10));
      memcpy (to + n, chunk, 16);
    }
}
