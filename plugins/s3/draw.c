/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine's commands do to memory, pixel by pixel: the model that fast.c is held to.
 *
 * A pixel's fate: the scissors, the choice between the two mixes, the mix's source, the comparison
 * of colours, the mix, the write mask.  Coordinates have 12 bits; addresses wrap at the end of
 * memory.
 *
 * Departure: polygons are filled between two edges of a straight slope in steps of 1/2^20 pixel.
 */
#include "s3.h"

#include <string.h>

enum {
  CMD_WRITE = 0x0001,
  CMD_LAST_OFF = 0x0004,
  CMD_RADIAL = 0x0008,
  CMD_DRAW = 0x0010,
  CMD_X_PLUS = 0x0020,
  CMD_Y_MAJOR = 0x0040,
  CMD_Y_PLUS = 0x0080,

  OP_NONE = 0,
  OP_LINE = 1,
  OP_RECTANGLE = 2,
  OP_POLYGON = 3,
  OP_BLT = 6,
  OP_PATTERN = 7,

  MF_MIN_AXIS = 0x0,
  MF_TOP = 0x1,
  MF_LEFT = 0x2,
  MF_BOTTOM = 0x3,
  MF_RIGHT = 0x4,
  MF_PIX_CNTL = 0xa,
  MF_MISC2 = 0xd,
  MF_MISC = 0xe,
  MISC_OUTSIDE = 0x020,
  MISC_EQUAL = 0x080,
  MISC_COMPARE = 0x100,

  SOURCE_BKGD = 0,
  SOURCE_FRGD = 1,
  SOURCE_CPU = 2,
  SOURCE_MEMORY = 3,

  COORDINATE = 0x0fff,
};

/* ---- Memory ---- */

static unsigned
operation (const S3Engine *e)
{
  return e->cmd >> 13;
}

static uint32_t
line_pixels (const S3 *s3)
{
  uint8_t v = s3_cr (s3, 0x50);

  switch ((v >> 5 & 6) | (v & 1))
    {
    case 1: return 1152;
    case 2: return 640;
    case 4: return s3->adv_func & 0x04 ? 1600 : 800;
    case 5: return 1600;
    case 6: return 1280;
    }
  return s3_cr (s3, 0x31) & 0x02 ? 2048 : 1024;
}

static uint32_t
clip_value (const S3Engine *e, unsigned index)
{
  return e->multifunc[index] & COORDINATE;
}

void
s3_draw_init (S3Draw *d, S3 *s3)
{
  S3Engine *e = &s3->engine;
  uint16_t misc = e->multifunc[MF_MISC], misc2 = e->multifunc[MF_MISC2];

  *d = (S3Draw){ .s3 = s3,
                 .e = e,
                 .bytes = s3_bytes_per_pixel (s3),
                 .pitch = line_pixels (s3),
                 .left = clip_value (e, MF_LEFT),
                 .right = clip_value (e, MF_RIGHT),
                 .top = clip_value (e, MF_TOP),
                 .bottom = clip_value (e, MF_BOTTOM),
                 .outside = misc & MISC_OUTSIDE };
  d->mask = d->bytes == 4 ? UINT32_MAX : (1u << 8 * d->bytes) - 1;
  d->target = (misc2 & 7 ? misc2 & 7u : misc & 3u) << 20;
  d->source = (misc2 >> 4 & 7 ? misc2 >> 4 & 7u : misc >> 2 & 3u) << 20;
}

static uint32_t
address (const S3Draw *d, uint32_t base, uint32_t x, uint32_t y)
{
  uint32_t at = base + ((y & COORDINATE) * d->pitch + (x & COORDINATE)) * d->bytes;

  return at % d->s3->size;
}

uint32_t
s3_draw_get (const S3Draw *d, uint32_t base, uint32_t x, uint32_t y)
{
  uint32_t value = 0;

  memcpy (&value, d->s3->vram + address (d, base, x, y), d->bytes);
  return value;
}

void
s3_touch (S3 *s3, uint32_t offset, uint32_t size)
{
  uint32_t last = MIN (offset + size - 1, s3->size - 1) / S3_PAGE;

  for (uint32_t page = offset / S3_PAGE; page <= last; page++)
    s3->dirty[page] = 1;
}

/* ---- One pixel ---- */

uint32_t
s3_mix (unsigned mix, uint32_t s, uint32_t d)
{
  switch (mix & 15)
    {
    case 0x0: return ~d;
    case 0x1: return 0;
    case 0x2: return UINT32_MAX;
    case 0x3: return d;
    case 0x4: return ~s;
    case 0x5: return s ^ d;
    case 0x6: return ~(s ^ d);
    case 0x7: return s;
    case 0x8: return ~(s & d);
    case 0x9: return ~s | d;
    case 0xa: return s | ~d;
    case 0xb: return s | d;
    case 0xc: return s & d;
    case 0xd: return s & ~d;
    case 0xe: return ~s & d;
    }
  return ~(s | d);
}

static bool
clipped (const S3Draw *d, int32_t x, int32_t y)
{
  bool inside = x >= d->left && x <= d->right && y >= d->top && y <= d->bottom;

  return inside == d->outside;
}

/* The processor's bit, or whether what lies in memory has all the bits of the read mask. */
static bool
takes_foreground (const S3Draw *d, uint32_t memory, bool bit)
{
  uint32_t mask = d->e->rd_mask & d->mask;

  switch (d->e->multifunc[MF_PIX_CNTL] >> 6 & 3)
    {
    case 2: return bit;
    case 3: return (memory & mask) == mask;
    }
  return true;
}

void
s3_draw_pixel (const S3Draw *d, uint32_t x, uint32_t y, uint32_t source, bool bit, uint32_t color)
{
  S3Engine *e = d->e;
  uint32_t at, old = 0, value, mask = e->wrt_mask & d->mask;
  uint16_t mix, misc = e->multifunc[MF_MISC];

  x &= COORDINATE;
  y &= COORDINATE;
  if (clipped (d, x, y) || !(e->cmd & CMD_DRAW))
    return;
  at = address (d, d->target, x, y);
  memcpy (&old, d->s3->vram + at, d->bytes);
  if (operation (e) < OP_BLT) /* no other place: what lies here decides */
    source = old;
  mix = takes_foreground (d, source, bit) ? e->frgd_mix : e->bkgd_mix;
  switch (mix >> 5 & 3)
    {
    case SOURCE_BKGD: value = e->bkgd_color; break;
    case SOURCE_FRGD: value = e->frgd_color; break;
    case SOURCE_CPU: value = color; break;
    default: value = source;
    }
  value &= d->mask;
  if ((misc & MISC_COMPARE) && (value == (e->color_cmp & d->mask)) != !!(misc & MISC_EQUAL))
    return;
  value = (old & ~mask) | (s3_mix (mix, value, old) & mask);
  if (value == old)
    return;
  memcpy (d->s3->vram + at, &value, d->bytes);
  s3_touch (d->s3, at, d->bytes);
}

/* ---- Rectangles, blits, patterns ---- */

static uint32_t
width_of (const S3Engine *e)
{
  return (e->maj_axis & COORDINATE) + 1;
}

static uint32_t
height_of (const S3Engine *e)
{
  return (e->multifunc[MF_MIN_AXIS] & COORDINATE) + 1;
}

static int32_t
step_x (const S3Engine *e)
{
  return e->cmd & CMD_X_PLUS ? 1 : -1;
}

static int32_t
step_y (const S3Engine *e)
{
  return e->cmd & CMD_Y_PLUS ? 1 : -1;
}

static bool
is_rectangle (const S3Engine *e)
{
  unsigned op = operation (e);

  return op == OP_RECTANGLE || op == OP_BLT || op == OP_PATTERN;
}

/* Where pixel (e->x, e->y) of the rectangle goes, and what lies at its source. */
static void
rectangle_pixel (S3Engine *e, const S3Draw *d, bool bit, uint32_t color)
{
  int32_t dx = (int32_t) e->x * step_x (e), dy = (int32_t) e->y * step_y (e);
  uint32_t x, y, source = 0;

  switch (operation (e))
    {
    case OP_RECTANGLE:
      x = e->cur_x + dx;
      y = e->cur_y + dy;
      break;
    case OP_BLT:
      x = e->dest_x + dx;
      y = e->dest_y + dy;
      source = s3_draw_get (d, d->source, e->cur_x + dx, e->cur_y + dy);
      break;
    default:
      x = e->dest_x + dx;
      y = e->dest_y + dy;
      source = s3_draw_get (d, d->source, e->cur_x + (x & 7), e->cur_y + (y & 7));
    }
  s3_draw_pixel (d, x, y, source, bit, color);
}

static void
rectangle_done (S3Engine *e)
{
  if (operation (e) == OP_RECTANGLE)
    e->cur_y = (e->cur_y + (int32_t) height_of (e) * step_y (e)) & COORDINATE;
}

/* ---- Lines ---- */

static int32_t
signed_term (uint16_t value)
{
  return (int32_t) ((uint32_t) value << 18) >> 18; /* 14 bits */
}

static void
step_radial (S3Engine *e, unsigned direction)
{
  static const int8_t x[8] = { 1, 1, 0, -1, -1, -1, 0, 1 };
  static const int8_t y[8] = { 0, -1, -1, -1, 0, 1, 1, 1 };

  e->line_x = (e->line_x + x[direction]) & COORDINATE;
  e->line_y = (e->line_y + y[direction]) & COORDINATE;
}

static void
step_line (S3Engine *e)
{
  bool diagonal;

  if (e->cmd & CMD_RADIAL)
    {
      step_radial (e, e->cmd >> 5 & 7);
      return;
    }
  diagonal = e->error >= 0;
  e->error = signed_term (e->error + signed_term (diagonal ? e->dest_x : e->dest_y));
  if (diagonal || (e->cmd & CMD_Y_MAJOR))
    e->line_y = (e->line_y + step_y (e)) & COORDINATE;
  if (diagonal || !(e->cmd & CMD_Y_MAJOR))
    e->line_x = (e->line_x + step_x (e)) & COORDINATE;
}

static void
line_start (S3Engine *e)
{
  e->line_x = e->cur_x & COORDINATE;
  e->line_y = e->cur_y & COORDINATE;
  e->error = signed_term (e->err_term);
  e->x = e->y = 0;
}

static bool
line_last (const S3Engine *e)
{
  return e->x >= (e->maj_axis & (uint32_t) COORDINATE);
}

static void
line_pixel (S3Engine *e, const S3Draw *d, bool bit, uint32_t color)
{
  if (!line_last (e) || !(e->cmd & CMD_LAST_OFF))
    s3_draw_pixel (d, e->line_x, e->line_y, 0, bit, color);
}

static void
line_done (S3Engine *e)
{
  e->cur_x = e->line_x;
  e->cur_y = e->line_y;
  if (!(e->cmd & CMD_RADIAL))
    e->err_term = e->error & 0x3fff;
}

/* A vector of up to 16 pixels: direction, draw or move, length. */
void
s3_draw_stroke (S3 *s3, uint8_t stroke)
{
  S3Engine *e = &s3->engine;
  uint16_t command = e->cmd;
  S3Draw d;

  s3_draw_init (&d, s3);
  line_start (e);
  e->cmd = (e->cmd & ~(0xe000 | CMD_DRAW)) | (stroke & 0x10 ? CMD_DRAW : 0);
  for (unsigned left = stroke & 0x0f;; left--)
    {
      if (left > 0 || !(e->cmd & CMD_LAST_OFF))
        s3_draw_pixel (&d, e->line_x, e->line_y, 0, true, 0);
      if (left == 0)
        break;
      step_radial (e, stroke >> 5);
    }
  e->cmd = command;
  e->cur_x = e->line_x;
  e->cur_y = e->line_y;
  e->busy_seen = false;
}

/* ---- Polygons: between the edges CUR to DEST and CUR2 to DEST2 ---- */

typedef struct {
  int64_t x, step; /* 44.20 */
} Edge;

static int32_t
signed_coordinate (uint16_t value)
{
  return (int32_t) ((uint32_t) value << 19) >> 19; /* 13 bits */
}

static Edge
edge_of (uint16_t x0, uint16_t y0, uint16_t x1, uint16_t y1)
{
  int32_t rows = signed_coordinate (y1) - signed_coordinate (y0);
  Edge edge = { (int64_t) signed_coordinate (x0) * (1 << 20), 0 };

  if (rows > 0)
    edge.step = (int64_t) (signed_coordinate (x1) - signed_coordinate (x0)) * (1 << 20) / rows;
  return edge;
}

static void
polygon (S3 *s3)
{
  S3Engine *e = &s3->engine;
  Edge a = edge_of (e->cur_x, e->cur_y, e->dest_x, e->dest_y);
  Edge b = edge_of (e->cur_x2, e->cur_y2, e->dest_x2, e->dest_y2);
  int32_t y = signed_coordinate (e->cur_y);
  int32_t end = MIN (signed_coordinate (e->dest_y), signed_coordinate (e->dest_y2));
  S3Draw d;

  s3_draw_init (&d, s3);
  for (; y < end; y++, a.x += a.step, b.x += b.step)
    {
      int32_t from = MIN (a.x, b.x) >> 20, to = MAX (a.x, b.x) >> 20;

      for (int32_t x = MAX (from, 0); x <= MIN (to, COORDINATE) && y >= 0; x++)
        s3_draw_pixel (&d, x, y, 0, true, 0);
    }
  e->cur_x = a.x >> 20 & COORDINATE;
  e->cur_x2 = b.x >> 20 & COORDINATE;
  e->cur_y = e->cur_y2 = y & COORDINATE;
}

/* ---- Commands ---- */

bool
s3_draw_advance (S3 *s3)
{
  S3Engine *e = &s3->engine;

  if (operation (e) == OP_LINE)
    {
      if (line_last (e))
        {
          line_done (e);
          e->waiting = false;
          return false;
        }
      e->x++;
      step_line (e);
      return true;
    }
  if (++e->x < width_of (e))
    return true;
  e->x = 0;
  if (++e->y < height_of (e))
    return true;
  e->y = 0;
  rectangle_done (e);
  e->waiting = false;
  return false;
}

bool
s3_draw_next (S3 *s3, const S3Draw *d, bool bit, uint32_t color)
{
  S3Engine *e = &s3->engine;

  if (operation (e) == OP_LINE)
    line_pixel (e, d, bit, color);
  else
    rectangle_pixel (e, d, bit, color);
  return s3_draw_advance (s3);
}

uint32_t
s3_draw_fetch (S3 *s3, const S3Draw *d)
{
  S3Engine *e = &s3->engine;

  if (operation (e) == OP_LINE)
    return s3_draw_get (d, d->target, e->line_x, e->line_y);
  return s3_draw_get (d, d->target, e->cur_x + (int32_t) e->x * step_x (e),
                      e->cur_y + (int32_t) e->y * step_y (e));
}

void
s3_draw_start (S3 *s3)
{
  S3Engine *e = &s3->engine;

  if (operation (e) == OP_LINE)
    line_start (e);
  else if (!is_rectangle (e))
    return;
  e->x = e->y = 0;
  e->waiting = true;
}

void
s3_draw_command (S3 *s3)
{
  S3Engine *e = &s3->engine;
  S3Draw d;

  if (operation (e) == OP_POLYGON)
    polygon (s3);
  else if (operation (e) == OP_LINE || is_rectangle (e))
    {
      if (s3->fast && s3_fast_command (s3))
        return;
      s3_draw_init (&d, s3);
      s3_draw_start (s3);
      while (s3_draw_next (s3, &d, true, 0))
        continue;
    }
}
