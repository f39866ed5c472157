/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The graphics engine as the processor sees it: registers at ports x2E8h and their second halves at
 * x2EAh, commands, and data for them.
 *
 *   42E8 SUBSYS_STAT/CNTL   4AE8 ADVFUNC_CNTL   82E8, 86E8 CUR_Y, CUR_X   8AE8 DESTY_AXSTP
 *   8EE8 DESTX_DIASTP   92E8 ERR_TERM   96E8 MAJ_AXIS_PCNT   9AE8 CMD, GP_STAT   9EE8 SHORT_STROKE
 *   A2E8 BKGD_COLOR   A6E8 FRGD_COLOR   AAE8 WRT_MASK   AEE8 RD_MASK   B2E8 COLOR_CMP
 *   B6E8 BKGD_MIX   BAE8 FRGD_MIX   BEE8 MULTIFUNC_CNTL   E2E8 PIX_TRANS
 *
 * A command is carried out at once, so that the FIFO is always empty; GP_STAT says busy once after
 * each, as some drivers wait for it.  Data go through in units of 8, 16 or 32 bits as the command
 * chose; each row of a rectangle begins with a new unit, or, with the second of the two 32-bit
 * choices and one bit a pixel, with a new byte.
 */
#include "s3.h"

#include <string.h>

enum {
  CMD_WRITE = 0x0001,
  CMD_ACROSS = 0x0002,
  CMD_WAIT = 0x0100,
  CMD_BUS = 0x0600,
  CMD_BUS_8 = 0x0000,
  CMD_BUS_16 = 0x0200,
  CMD_BUS_32 = 0x0400,
  CMD_BUS_32_BYTES = 0x0600,
  CMD_SWAP = 0x1000,

  MF_MIN_AXIS = 0x0,
  MF_MEM_CNTL = 0x5,
  MF_PIX_CNTL = 0xa,
  MF_MISC2 = 0xd,
  MF_MISC = 0xe,
  MF_READ_SEL = 0xf,
  MISC_HIGH_WORD = 0x010,
  MISC_32_BITS = 0x200,

  STAT_BUSY = 0x0200,
  STAT_EMPTY = 0x0400,
  STAT_DATA = 0x0100,
};

/* ---- Registers of 16 bits ---- */

static uint16_t *
plain_register (S3Engine *e, uint32_t port)
{
  switch (port)
    {
    case 0x82e8: return &e->cur_y;
    case 0x82ea: return &e->cur_y2;
    case 0x86e8: return &e->cur_x;
    case 0x86ea: return &e->cur_x2;
    case 0x8ae8: return &e->dest_y;
    case 0x8aea: return &e->dest_y2;
    case 0x8ee8: return &e->dest_x;
    case 0x8eea: return &e->dest_x2;
    case 0x92e8: return &e->err_term;
    case 0x92ea: return &e->err_term2;
    case 0x96e8: return &e->maj_axis;
    case 0x96ea: return &e->maj_axis2;
    case 0xb6e8: return &e->bkgd_mix;
    case 0xbae8: return &e->frgd_mix;
    }
  return NULL;
}

static uint32_t *
wide_register (S3Engine *e, uint32_t port)
{
  switch (port & ~2u)
    {
    case 0xa2e8 & ~2u: return &e->bkgd_color;
    case 0xa6e8 & ~2u: return &e->frgd_color;
    case 0xaae8 & ~2u: return &e->wrt_mask;
    case 0xaee8 & ~2u: return &e->rd_mask;
    case 0xb2e8 & ~2u: return &e->color_cmp;
    }
  return NULL;
}

static uint16_t
read_selected (S3 *s3)
{
  static const uint8_t index[16] = { 0, 1, 2, 3, 4, MF_PIX_CNTL, MF_MISC };
  S3Engine *e = &s3->engine;
  unsigned n = e->read_sel & 0x0f;

  e->read_sel = (n + 1) & 0x0f;
  if (n < 7)
    return e->multifunc[index[n]];
  switch (n)
    {
    case 7: return e->cmd;
    case 8: return s3->subsys_enable;
    case 9: return 0;
    case 10: return e->multifunc[MF_MISC2];
    }
  return 0xffff;
}

static uint32_t
status (S3Engine *e)
{
  uint32_t value = STAT_EMPTY;

  if (e->waiting || !e->busy_seen)
    value |= STAT_BUSY;
  if (e->waiting && !(e->cmd & CMD_WRITE))
    value |= STAT_DATA;
  e->busy_seen = true;
  return value;
}

/* Two halves of 32 bits come and go through the port in turn, unless 32 bits are asked for. */
static unsigned
wide_half (S3 *s3, uint32_t port, unsigned size)
{
  S3Engine *e = &s3->engine;
  unsigned shift = port & 2 ? 16 : 0;

  if (size == 2 && !(port & 3) && s3_bytes_per_pixel (s3) == 4
      && !(e->multifunc[MF_MISC] & MISC_32_BITS))
    {
      shift = e->multifunc[MF_MISC] & MISC_HIGH_WORD ? 16 : 0;
      e->multifunc[MF_MISC] ^= MISC_HIGH_WORD;
    }
  return shift;
}

static uint16_t
read16 (S3 *s3, uint32_t port)
{
  S3Engine *e = &s3->engine;
  uint16_t *plain = plain_register (e, port);
  uint32_t *wide;

  if (plain)
    return *plain;
  if (port == 0x9ae8)
    return status (e);
  if (port == 0xbee8)
    return read_selected (s3);
  if (port == 0x42e8)
    return s3_subsys_read (s3);
  if (port == 0x4ae8)
    return s3->adv_func;
  wide = wide_register (e, port);
  return wide ? *wide >> wide_half (s3, port, 2) : 0xffff;
}

static void
write_multifunc (S3Engine *e, uint16_t value)
{
  unsigned index = value >> 12;

  if (index == MF_READ_SEL)
    e->read_sel = value & 0x0f;
  e->multifunc[index] = value & 0x0fff;
}

static void
write_command (S3 *s3, uint16_t value)
{
  S3Engine *e = &s3->engine;

  e->cmd = value;
  e->busy_seen = false;
  e->waiting = e->has_half = false;
  e->multifunc[MF_MISC] &= ~MISC_HIGH_WORD;
  if (value & CMD_WAIT)
    s3_draw_start (s3);
  else
    s3_draw_command (s3);
}

static void
write_strokes (S3 *s3, uint16_t value)
{
  S3Engine *e = &s3->engine;

  e->short_stroke = value;
  s3_draw_stroke (s3, e->cmd & CMD_SWAP ? value : value >> 8);
  s3_draw_stroke (s3, e->cmd & CMD_SWAP ? value >> 8 : value);
}

static void
write_adv_func (S3 *s3, uint16_t value)
{
  uint16_t old = s3->adv_func;

  s3->adv_func = (value & 0x3f) | 0x02;
  if ((old ^ s3->adv_func) & 0x30)
    s3_update_map (s3);
  s3->all_dirty = true;
}

static void
write16 (S3 *s3, uint32_t port, uint16_t value)
{
  S3Engine *e = &s3->engine;
  uint16_t *plain = plain_register (e, port);
  uint32_t *wide;
  unsigned shift;

  if (plain)
    *plain = value;
  else if (port == 0x9ae8)
    write_command (s3, value);
  else if (port == 0x9ee8)
    write_strokes (s3, value);
  else if (port == 0xbee8)
    write_multifunc (e, value);
  else if (port == 0x42e8)
    s3_subsys_write (s3, value);
  else if (port == 0x4ae8)
    write_adv_func (s3, value);
  else if ((wide = wide_register (e, port)) != NULL)
    {
      shift = wide_half (s3, port, 2);
      *wide = (*wide & ~(0xffffu << shift)) | (uint32_t) value << shift;
    }
}

/* ---- Cycles ---- */

uint32_t
s3_engine_read (S3 *s3, uint32_t port, unsigned size)
{
  uint32_t *wide = port & 3 ? NULL : wide_register (&s3->engine, port);

  if ((port & ~3u) == 0xe2e8)
    return s3_pixels_read (s3, size);
  if (size == 4 && wide)
    return *wide;
  if (size == 4)
    return read16 (s3, port) | (uint32_t) read16 (s3, port + 2) << 16;
  return read16 (s3, port & ~1u) >> 8 * (port & 1);
}

/* A byte is half of a register; commands start with their upper one. */
static void
write8 (S3 *s3, uint32_t port, uint8_t value)
{
  S3Engine *e = &s3->engine;
  uint16_t *plain = plain_register (e, port & ~1u);
  uint32_t *wide = plain ? NULL : wide_register (e, port & ~1u);
  unsigned shift = 8 * (port & 1);

  if (plain)
    *plain = (*plain & ~(0xff << shift)) | value << shift;
  else if (wide)
    {
      shift += port & 2 ? 16 : 0;
      *wide = (*wide & ~(0xffu << shift)) | (uint32_t) value << shift;
    }
  else if ((port & ~1u) == 0x9ae8 || (port & ~1u) == 0x9ee8 || (port & ~1u) == 0xbee8
           || (port & ~1u) == 0x42e8)
    {
      if (port & 1)
        write16 (s3, port & ~1u, e->half | value << 8);
      else
        e->half = value;
    }
  else if (port == 0x4ae8)
    write_adv_func (s3, value);
}

void
s3_engine_write (S3 *s3, uint32_t port, uint32_t value, unsigned size)
{
  uint32_t *wide = port & 3 ? NULL : wide_register (&s3->engine, port);

  if ((port & ~3u) == 0xe2e8)
    s3_pixels_write (s3, value, size);
  else if (size == 1)
    write8 (s3, port, value);
  else if (size == 4 && wide)
    *wide = value;
  else
    {
      write16 (s3, port, value);
      if (size == 4)
        write16 (s3, port + 2, value >> 16);
    }
}

/* ---- Data of a command ---- */

static bool
one_bit (const S3Engine *e)
{
  return (e->cmd & CMD_ACROSS) || (e->multifunc[MF_PIX_CNTL] >> 6 & 3) == 2;
}

/* Puts a unit's bytes into the order in which they are used. */
static void
order (const S3Engine *e, uint8_t *bytes, unsigned n, uint32_t value, bool whole_pixels)
{
  bool low_first = (e->cmd & CMD_SWAP) || whole_pixels;

  for (unsigned i = 0; i < n; i++)
    bytes[low_first ? i : n - 1 - i] = value >> 8 * i;
}

static void
write_bits (S3 *s3, const S3Draw *d, const uint8_t *bytes, unsigned n)
{
  S3Engine *e = &s3->engine;
  bool by_bytes = (e->cmd & CMD_BUS) == CMD_BUS_32_BYTES;

  for (unsigned i = 0; i < 8 * n && e->waiting; i++)
    {
      bool bit = bytes[i / 8] >> (7 - i % 8) & 1;
      uint32_t row = e->y;

      s3_draw_next (s3, d, bit, bit ? d->mask : 0);
      if (e->waiting && e->y != row && !by_bytes)
        return;
      if (e->y != row)
        i |= 7;
    }
}

static void
write_colors (S3 *s3, const S3Draw *d, const uint8_t *bytes, unsigned n)
{
  S3Engine *e = &s3->engine;

  for (unsigned i = 0; i + d->bytes <= n && e->waiting; i += d->bytes)
    {
      uint32_t color = 0, row = e->y;

      memcpy (&color, bytes + i, d->bytes);
      s3_draw_next (s3, d, true, color);
      if (e->y != row)
        return;
    }
}

/* A unit on the bus that is narrower than a pixel waits for its other half. */
static bool
collect (S3Engine *e, uint32_t pixel, uint32_t *value, unsigned *n)
{
  if (*n >= pixel)
    return true;
  if (!e->has_half)
    {
      e->half = *value;
      e->has_half = true;
      return false;
    }
  *value = (e->half & ((1u << 8 * *n) - 1)) | *value << 8 * *n;
  *n *= 2;
  e->has_half = false;
  return *n >= pixel;
}

static void
write_unit (S3 *s3, uint32_t value, unsigned n)
{
  S3Engine *e = &s3->engine;
  uint8_t bytes[4];
  S3Draw d;

  if (!e->waiting || !(e->cmd & CMD_WRITE))
    return;
  s3_draw_init (&d, s3);
  if (one_bit (e))
    {
      order (e, bytes, n, value, false);
      write_bits (s3, &d, bytes, n);
    }
  else if (collect (e, d.bytes, &value, &n))
    {
      order (e, bytes, n, value, d.bytes > 1);
      write_colors (s3, &d, bytes, n);
    }
}

static unsigned
unit_size (const S3Engine *e)
{
  return (e->cmd & CMD_BUS) == CMD_BUS_8 ? 1 : (e->cmd & CMD_BUS) == CMD_BUS_16 ? 2 : 4;
}

/* Cycles of another width than the command's are taken apart, or filled up. */
void
s3_pixels_write (S3 *s3, uint32_t value, unsigned size)
{
  unsigned unit = unit_size (&s3->engine);

  if (size <= unit)
    {
      write_unit (s3, value, unit == 4 && size < 4 && !one_bit (&s3->engine) ? size : unit);
      return;
    }
  for (unsigned i = 0; i < size; i += unit)
    write_unit (s3, value >> 8 * i, unit);
}

static uint32_t
read_unit (S3 *s3, unsigned n)
{
  S3Engine *e = &s3->engine;
  uint8_t bytes[4] = { 0 };
  uint32_t value = 0, row = e->y;
  bool bits = e->cmd & CMD_ACROSS;
  S3Draw d;

  s3_draw_init (&d, s3);
  for (unsigned i = 0; i < (bits ? 8 * n : n / MIN (d.bytes, n)) && e->waiting && e->y == row; i++)
    {
      uint32_t pixel = s3_draw_fetch (s3, &d);

      if (bits)
        bytes[i / 8] |= ((pixel & e->rd_mask & d.mask) == (e->rd_mask & d.mask)) << (7 - i % 8);
      else
        memcpy (bytes + i * d.bytes, &pixel, MIN (d.bytes, n));
      s3_draw_advance (s3);
    }
  for (unsigned i = 0; i < n; i++)
    value |= (uint32_t) bytes[(e->cmd & CMD_SWAP) || (!bits && d.bytes > 1) ? i : n - 1 - i]
             << 8 * i;
  return value;
}

uint32_t
s3_pixels_read (S3 *s3, unsigned size)
{
  S3Engine *e = &s3->engine;
  uint32_t value;

  if (!e->waiting || (e->cmd & CMD_WRITE))
    return UINT32_MAX;
  if (e->has_half) /* the second word of a pixel of 32 bits */
    {
      e->has_half = false;
      return e->half;
    }
  value = read_unit (s3, size < 4 && s3_bytes_per_pixel (s3) == 4 ? 4 : size);
  if (size == 2 && s3_bytes_per_pixel (s3) == 4)
    {
      e->half = value >> 16;
      e->has_half = e->waiting;
    }
  return value;
}

/* ---- Life ---- */

void
s3_engine_reset (S3 *s3)
{
  memset (&s3->engine, 0, sizeof s3->engine);
  s3->engine.busy_seen = true;
}

bool
s3_engine_restored (const S3Engine *e)
{
  for (unsigned i = 0; i < G_N_ELEMENTS (e->multifunc); i++)
    if (e->multifunc[i] > 0x0fff)
      return false;
  return e->read_sel <= 0x0f && e->x <= 0x0fff && e->y <= 0x0fff;
}

const TnField s3_engine_fields[] = {
  TN_FIELD (S3Engine, cur_x, 1),
  TN_FIELD (S3Engine, cur_y, 1),
  TN_FIELD (S3Engine, cur_x2, 1),
  TN_FIELD (S3Engine, cur_y2, 1),
  TN_FIELD (S3Engine, dest_x, 1),
  TN_FIELD (S3Engine, dest_y, 1),
  TN_FIELD (S3Engine, dest_x2, 1),
  TN_FIELD (S3Engine, dest_y2, 1),
  TN_FIELD (S3Engine, err_term, 1),
  TN_FIELD (S3Engine, err_term2, 1),
  TN_FIELD (S3Engine, maj_axis, 1),
  TN_FIELD (S3Engine, maj_axis2, 1),
  TN_FIELD (S3Engine, cmd, 1),
  TN_FIELD (S3Engine, short_stroke, 1),
  TN_FIELD (S3Engine, bkgd_color, 1),
  TN_FIELD (S3Engine, frgd_color, 1),
  TN_FIELD (S3Engine, wrt_mask, 1),
  TN_FIELD (S3Engine, rd_mask, 1),
  TN_FIELD (S3Engine, color_cmp, 1),
  TN_FIELD (S3Engine, bkgd_mix, 1),
  TN_FIELD (S3Engine, frgd_mix, 1),
  TN_FIELD (S3Engine, multifunc, 1),
  TN_FIELD (S3Engine, read_sel, 1),
  TN_FIELD (S3Engine, busy_seen, 1),
  TN_FIELD (S3Engine, waiting, 1),
  TN_FIELD (S3Engine, x, 1),
  TN_FIELD (S3Engine, y, 1),
  TN_FIELD (S3Engine, line_x, 1),
  TN_FIELD (S3Engine, line_y, 1),
  TN_FIELD (S3Engine, error, 1),
  TN_FIELD (S3Engine, half, 1),
  TN_FIELD (S3Engine, has_half, 1),
  TN_FIELD_END,
};
