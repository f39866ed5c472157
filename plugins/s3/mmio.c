/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registers in memory, as offsets of the 64 KiB of new MMIO (BAR0 + 1000000h); the old MMIO of
 * A0000h has the same ones.
 *
 *   0000-7FFF   pixel transfer            8000-803F   PCI configuration
 *   8100-814B   packed engine registers   8180-81FF   streams
 *   83B0-83DF   VGA                       8504, 850C  subsystem, advanced function
 *   FF20        serial port (DDC)         else from 82E8 on, registers at their ports' numbers
 */
#include "s3.h"

#include <string.h>

enum {
  MMIO_PIXELS_END = 0x8000,
  MMIO_PACKED = 0x8100,
  MMIO_PACKED_END = 0x8150,
  MMIO_STREAMS = 0x8180,
  MMIO_STREAMS_END = 0x8200,
  MMIO_VGA = 0x83b0,
  MMIO_VGA_END = 0x83e0,
  MMIO_SUBSYS = 0x8504,
  MMIO_ADVFUNC = 0x850c,
  MMIO_SERIAL = 0xff20,
};

/* Packed registers: the ports of the two halves; 0: nothing; 32 bits wide in whole if `wide`. */
static const struct {
  uint16_t low, high;
  bool wide;
} packed[] = {
  { 0x82e8, 0x86e8, false },                            /* 8100 CUR_Y, CUR_X */
  { 0x82ea, 0x86ea, false }, { 0x8ae8, 0x8ee8, false }, /* 8108 DESTY_AXSTP, DESTX_DIASTP */
  { 0x8aea, 0x8eea, false }, { 0x92e8, 0x92ea, false }, /* 8110 ERR_TERM */
  { 0, 0, false },           { 0x9ae8, 0x9aea, false }, /* 8118 CMD */
  { 0x9ee8, 0, false },                                 /* 811C SHORT_STROKE */
  { 0xa2e8, 0, true },                                  /* 8120 BKGD_COLOR */
  { 0xa6e8, 0, true },       { 0xaae8, 0, true },       { 0xaee8, 0, true },
  { 0xb2e8, 0, true },       { 0xb6e8, 0xbae8, false }, /* 8134 BKGD_MIX, FRGD_MIX */
  { 0x1000, 0x2000, false }, /* 8138 scissors: indices of MULTIFUNC from here on */
  { 0x3000, 0x4000, false }, { 0xa000, 0xd000, false }, /* 8140 PIX_CNTL, MULT_MISC2 */
  { 0xe000, 0xf000, false },                            /* 8144 MULT_MISC, READ_SEL */
  { 0x0000, 0x96e8, false },                            /* 8148 MIN_AXIS_PCNT, MAJ_AXIS_PCNT */
  { 0x96ea, 0, false },
};

static bool
is_multifunc (uint16_t port, uint32_t offset)
{
  return (port & 0xfff) == 0 && (port != 0 || offset == 0x8148);
}

static void
packed_half (S3 *s3, uint32_t offset, uint16_t value)
{
  unsigned n = (offset - MMIO_PACKED) / 4;
  uint16_t port;

  if (n >= G_N_ELEMENTS (packed))
    return;
  if (packed[n].wide)
    {
      s3_engine_write (s3, packed[n].low + (offset & 2), value, 2);
      return;
    }
  port = offset & 2 ? packed[n].high : packed[n].low;
  if (is_multifunc (port, offset))
    s3_engine_write (s3, 0xbee8, (port & 0xf000) | (value & 0x0fff), 2);
  else if (port)
    s3_engine_write (s3, port, value, 2);
}

static void
packed_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size)
{
  unsigned n = (offset - MMIO_PACKED) / 4;

  if (n < G_N_ELEMENTS (packed) && packed[n].wide && size == 4)
    s3_engine_write (s3, packed[n].low, value, 4);
  else if (size == 4)
    {
      packed_half (s3, offset, value);
      packed_half (s3, offset + 2, value >> 16);
    }
  else if (size == 2)
    packed_half (s3, offset, value);
  else if (n < G_N_ELEMENTS (packed) && !(offset & 1) && packed[n].wide)
    s3_engine_write (s3, packed[n].low + (offset & 2), value, 1);
  else if (!(offset & 1))
    packed_half (s3, offset, value);
}

static uint32_t
packed_read (S3 *s3, uint32_t offset, unsigned size)
{
  unsigned n = (offset - MMIO_PACKED) / 4;
  uint32_t value;

  if (n >= G_N_ELEMENTS (packed))
    return UINT32_MAX;
  if (packed[n].wide)
    return s3_engine_read (s3, packed[n].low + (offset & 3), size);
  value = 0;
  for (unsigned half = 0; half < 4; half += 2)
    {
      uint16_t port = half ? packed[n].high : packed[n].low;
      uint32_t part = 0;

      if (is_multifunc (port, (offset & ~3u) | half))
        part = s3->engine.multifunc[port >> 12];
      else if (port)
        part = s3_engine_read (s3, port, 2) & 0xffff;
      value |= part << 8 * half;
    }
  return value >> 8 * (offset & 3);
}

/* ---- Streams: kept here, used by picture.c ---- */

static void
streams_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size)
{
  uint8_t *bytes = (uint8_t *) &s3->streams[(offset - MMIO_STREAMS) / 4];

  memcpy (bytes + (offset & 3), &value, size);
  s3->all_dirty = true;
}

static uint32_t
streams_read (const S3 *s3, uint32_t offset)
{
  return s3->streams[(offset - MMIO_STREAMS) / 4] >> 8 * (offset & 3);
}

/* ---- The whole ---- */

static uint32_t
vga_read (S3 *s3, uint32_t offset, unsigned size)
{
  uint32_t value = 0;

  for (unsigned i = 0; i < size && offset + i < MMIO_VGA_END; i++)
    value |= (uint32_t) s3_port_read (s3, offset - 0x8000 + i) << 8 * i;
  return value;
}

uint32_t
s3_mmio_read (S3 *s3, uint32_t offset, unsigned size)
{
  uint32_t value = 0;

  if (offset < MMIO_PIXELS_END)
    return s3_pixels_read (s3, size);
  if (offset + size <= 0x8040)
    {
      memcpy (&value, tn_pci_bytes (s3->pci) + (offset - 0x8000), size);
      return value;
    }
  if (offset >= MMIO_PACKED && offset < MMIO_PACKED_END)
    return packed_read (s3, offset, size);
  if (offset >= MMIO_STREAMS && offset < MMIO_STREAMS_END)
    return streams_read (s3, offset);
  if (offset >= MMIO_VGA && offset < MMIO_VGA_END)
    return vga_read (s3, offset, size);
  if ((offset & ~3u) == MMIO_SUBSYS)
    return s3_subsys_read (s3) >> 8 * (offset & 3);
  if ((offset & ~3u) == MMIO_ADVFUNC)
    return s3->adv_func >> 8 * (offset & 3);
  if ((offset & ~3u) == MMIO_SERIAL)
    return offset == MMIO_SERIAL ? s3_ddc_read (s3) : 0;
  if (offset >= 0x82e8)
    return s3_engine_read (s3, offset, size);
  return UINT32_MAX;
}

void
s3_mmio_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size)
{
  if (offset < MMIO_PIXELS_END)
    s3_pixels_write (s3, value, size);
  else if (offset >= MMIO_PACKED && offset < MMIO_PACKED_END)
    packed_write (s3, offset, value, size);
  else if (offset >= MMIO_STREAMS && offset < MMIO_STREAMS_END)
    streams_write (s3, offset, value, size);
  else if (offset >= MMIO_VGA && offset < MMIO_VGA_END)
    for (unsigned i = 0; i < size && offset + i < MMIO_VGA_END; i++)
      s3_port_write (s3, offset - 0x8000 + i, value >> 8 * i);
  else if (offset == MMIO_SUBSYS && size >= 2)
    s3_subsys_write (s3, value);
  else if (offset == MMIO_ADVFUNC)
    s3_engine_write (s3, 0x4ae8, value, MIN (size, 2));
  else if (offset == MMIO_SERIAL)
    s3_ddc_write (s3, value);
  else if (offset >= 0x82e8 && offset < 0xff00)
    s3_engine_write (s3, offset, value, size);
}
