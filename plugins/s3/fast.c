/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The commands that desktops live on, by rows: rectangles of one colour, copies within memory,
 * patterns.  Whatever is not simple (colour compare, choices by pixel, scissors turned inside out,
 * coordinates that wrap) is left to draw.c, which a test holds this file to.
 *
 * With a source of one colour every mix is D' = (D & a) ^ x, bit by bit.
 */
#include "s3.h"

#include <string.h>

enum {
  CMD_DRAW = 0x0010,
  CMD_X_PLUS = 0x0020,
  CMD_Y_PLUS = 0x0080,
  OP_RECTANGLE = 2,
  OP_BLT = 6,
  OP_PATTERN = 7,
  MF_MIN_AXIS = 0x0,
  MF_PIX_CNTL = 0xa,
  MF_MISC = 0xe,
  MISC_OUTSIDE = 0x020,
  MISC_COMPARE = 0x100,
  COORDINATE = 0x0fff,
};

typedef struct {
  int32_t x, y, width, height; /* clipped */
  int32_t shift_x, shift_y;    /* from target to source */
} Area;

static uint64_t
repeat (const S3Draw *d, uint32_t value)
{
  value &= d->mask;
  if (d->bytes == 1)
    return value * UINT64_C (0x0101010101010101);
  return d->bytes == 2 ? value * UINT64_C (0x0001000100010001) : value * UINT64_C (0x100000001);
}

static uint64_t
mix64 (unsigned mix, uint64_t s, uint64_t d)
{
  return (uint64_t) s3_mix (mix, s >> 32, d >> 32) << 32 | s3_mix (mix, s, d);
}

/* The rectangle that the command covers, from its upper left corner, within the scissors.  False if
   it wraps. */
static bool
find_area (const S3Draw *d, uint32_t at_x, uint32_t at_y, Area *area)
{
  const S3Engine *e = d->e;
  int32_t width = (e->maj_axis & COORDINATE) + 1;
  int32_t height = (e->multifunc[MF_MIN_AXIS] & COORDINATE) + 1;
  int32_t x = at_x & COORDINATE, y = at_y & COORDINATE, right, bottom;

  if (!(e->cmd & CMD_X_PLUS))
    x -= width - 1;
  if (!(e->cmd & CMD_Y_PLUS))
    y -= height - 1;
  if (x < 0 || y < 0 || x + width > COORDINATE + 1 || y + height > COORDINATE + 1)
    return false;
  right = MIN (x + width - 1, d->right);
  bottom = MIN (y + height - 1, d->bottom);
  area->x = MAX (x, d->left);
  area->y = MAX (y, d->top);
  area->width = right - area->x + 1;
  area->height = bottom - area->y + 1;
  return true;
}

static bool
is_empty (const Area *area)
{
  return area->width <= 0 || area->height <= 0;
}

/* Do all rows lie within memory? */
static bool
fits (const S3Draw *d, uint32_t base, int32_t x, int32_t y, const Area *area)
{
  uint64_t last;

  if (x < 0 || y < 0 || x + area->width > COORDINATE + 1 || y + area->height > COORDINATE + 1)
    return false;
  last = base + ((uint64_t) (y + area->height - 1) * d->pitch + x + area->width) * d->bytes;
  return last <= d->s3->size;
}

static uint8_t *
row (const S3Draw *d, uint32_t base, int32_t x, int32_t y)
{
  return d->s3->vram + base + ((size_t) y * d->pitch + x) * d->bytes;
}

static void
touch_rows (const S3Draw *d, const Area *area)
{
  for (int32_t y = 0; y < area->height; y++)
    s3_touch (d->s3, row (d, d->target, area->x, area->y + y) - d->s3->vram,
              area->width * d->bytes);
}

/* ---- One colour ---- */

static void
fill_row (uint8_t *to, size_t size, uint64_t and, uint64_t xor)
{
  uint64_t word;
  size_t n = 0;

  for (; n + 8 <= size; n += 8)
    {
      memcpy (&word, to + n, 8);
      word = (word & and) ^ xor;
      memcpy (to + n, &word, 8);
    }
  for (; n < size; n++)
    to[n] = (to[n] & and >> 8 * (n % 8)) ^ xor >> 8 * (n % 8);
}

static bool
fill (const S3Draw *d, unsigned mix, uint32_t color)
{
  S3Engine *e = d->e;
  uint64_t mask = repeat (d, e->wrt_mask), source = repeat (d, color);
  uint64_t zero = mix64 (mix, source, 0), one = mix64 (mix, source, UINT64_MAX);
  uint32_t at_x = e->cmd >> 13 == OP_RECTANGLE ? e->cur_x : e->dest_x;
  uint32_t at_y = e->cmd >> 13 == OP_RECTANGLE ? e->cur_y : e->dest_y;
  Area area;

  if (!find_area (d, at_x, at_y, &area))
    return false;
  if (is_empty (&area))
    return true;
  if (!fits (d, d->target, area.x, area.y, &area))
    return false;
  for (int32_t y = 0; y < area.height; y++)
    fill_row (row (d, d->target, area.x, area.y + y), (size_t) area.width * d->bytes,
              (zero ^ one) | ~mask, zero & mask);
  touch_rows (d, &area);
  return true;
}

/* ---- From memory to memory ---- */

static void
mix_row (uint8_t *to, const uint8_t *from, size_t size, unsigned mix, uint64_t mask)
{
  for (size_t n = 0; n < size; n += 8)
    {
      size_t some = MIN (size - n, 8);
      uint64_t s = 0, t = 0;

      memcpy (&s, from + n, some);
      memcpy (&t, to + n, some);
      t = (t & ~mask) | (mix64 (mix, s, t) & mask);
      memcpy (to + n, &t, some);
    }
}

/* Rows are copied whole: right only if no pixel is read after it was written. */
static bool
overlaps (const S3Draw *d, const Area *a)
{
  const uint8_t *from = row (d, d->source, a->x + a->shift_x, a->y + a->shift_y);
  const uint8_t *to = row (d, d->target, a->x, a->y);
  size_t span = ((size_t) (a->height - 1) * d->pitch + a->width) * d->bytes;

  return from < to + span && to < from + span;
}

/* A copy in place is right if the rows go away from where they come from and a row does not run
   into itself. */
static bool
order_is_safe (const S3Draw *d, const Area *a)
{
  bool down = d->e->cmd & CMD_Y_PLUS, right = d->e->cmd & CMD_X_PLUS;

  if (d->source != d->target || (uint32_t) a->x + a->width > d->pitch
      || (uint32_t) (a->x + a->shift_x + a->width) > d->pitch)
    return false;
  if (a->shift_y != 0)
    return down == (a->shift_y > 0);
  return right == (a->shift_x >= 0);
}

static void
copy_rows (const S3Draw *d, const Area *a, unsigned mix, bool through_buffer)
{
  uint64_t mask = repeat (d, d->e->wrt_mask);
  size_t size = (size_t) a->width * d->bytes;
  uint8_t buffer[(COORDINATE + 1) * 4];

  for (int32_t n = 0; n < a->height; n++)
    {
      int32_t y = d->e->cmd & CMD_Y_PLUS ? n : a->height - 1 - n;
      uint8_t *to = row (d, d->target, a->x, a->y + y);
      const uint8_t *from = row (d, d->source, a->x + a->shift_x, a->y + y + a->shift_y);

      if (mix == 7 && mask == UINT64_MAX)
        {
          memmove (to, from, size);
          continue;
        }
      if (through_buffer)
        from = memcpy (buffer, from, size);
      mix_row (to, from, size, mix, mask);
    }
}

static bool
copy (const S3Draw *d, unsigned mix)
{
  S3Engine *e = d->e;
  bool overlap;
  Area area;

  if (!find_area (d, e->dest_x, e->dest_y, &area))
    return false;
  if (is_empty (&area))
    return true;
  area.shift_x = (e->cur_x & COORDINATE) - (e->dest_x & COORDINATE);
  area.shift_y = (e->cur_y & COORDINATE) - (e->dest_y & COORDINATE);
  if (!fits (d, d->target, area.x, area.y, &area)
      || !fits (d, d->source, area.x + area.shift_x, area.y + area.shift_y, &area))
    return false;
  overlap = overlaps (d, &area);
  if (overlap && !order_is_safe (d, &area))
    return false;
  copy_rows (d, &area, mix, overlap);
  touch_rows (d, &area);
  return true;
}

/* ---- Patterns of 8 by 8 ---- */

static bool
pattern (const S3Draw *d, unsigned mix)
{
  S3Engine *e = d->e;
  uint64_t mask = repeat (d, e->wrt_mask);
  size_t line_size = (size_t) d->pitch * d->bytes;
  uint8_t tile[8][8 * 4], line[(COORDINATE + 1) * 4];
  const Area eight = { .width = 8, .height = 8 };
  const uint8_t *from, *to;
  Area area;

  if (!find_area (d, e->dest_x, e->dest_y, &area))
    return false;
  if (is_empty (&area))
    return true;
  if (!fits (d, d->target, area.x, area.y, &area))
    return false;
  if (!fits (d, d->source, e->cur_x & COORDINATE, e->cur_y & COORDINATE, &eight))
    return false;
  from = row (d, d->source, e->cur_x & COORDINATE, e->cur_y & COORDINATE);
  to = row (d, d->target, area.x, area.y);
  /* A pattern that is drawn over changes on the way, and rows may not run into each other. */
  if ((uint32_t) area.x + area.width > d->pitch
      || (from < to + area.height * line_size && to < from + 8 * line_size))
    return false;
  for (unsigned y = 0; y < 8; y++)
    memcpy (tile[y], from + y * line_size, 8 * d->bytes);
  for (int32_t y = area.y; y < area.y + area.height; y++)
    {
      for (int32_t x = 0; x < area.width; x++)
        memcpy (line + x * d->bytes, &tile[y & 7][((area.x + x) & 7) * d->bytes], d->bytes);
      mix_row (row (d, d->target, area.x, y), line, (size_t) area.width * d->bytes, mix, mask);
    }
  touch_rows (d, &area);
  return true;
}

/* ---- Which ---- */

static bool
simple (const S3Draw *d)
{
  const S3Engine *e = d->e;
  uint16_t misc = e->multifunc[MF_MISC];

  return (e->cmd & CMD_DRAW) && !(misc & (MISC_OUTSIDE | MISC_COMPARE))
         && !(e->multifunc[MF_PIX_CNTL] & 0x80) && (d->s3->size & (d->s3->size - 1)) == 0;
}

bool
s3_fast_command (S3 *s3)
{
  S3Engine *e = &s3->engine;
  unsigned op = e->cmd >> 13, source = e->frgd_mix >> 5 & 3, mix = e->frgd_mix & 15;
  bool done = false;
  S3Draw d;

  s3_draw_init (&d, s3);
  if (!simple (&d) || op < OP_RECTANGLE || op == 3 || op == 4 || op == 5)
    return false;
  if (source == 0)
    done = fill (&d, mix, e->bkgd_color);
  else if (source == 1)
    done = fill (&d, mix, e->frgd_color);
  else if (source == 3 && op == OP_BLT)
    done = copy (&d, mix);
  else if (source == 3 && op == OP_PATTERN)
    done = pattern (&d, mix);
  if (done)
    e->x = e->y = 0; /* as draw.c leaves them */
  if (done && op == OP_RECTANGLE)
    {
      int32_t height = (e->multifunc[MF_MIN_AXIS] & COORDINATE) + 1;

      e->cur_y = (e->cur_y + (e->cmd & CMD_Y_PLUS ? height : -height)) & COORDINATE;
    }
  return done;
}
