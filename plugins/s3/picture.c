/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The picture of the enhanced modes: pixels of 8 to 32 bits one after the other, the streams of the
 * video overlay, the hardware cursor.  Modes of the VGA are drawn by its core.
 *
 * A line is drawn anew if one of its pages was written to, and all are if a register was.
 *
 * Departures: as in the VGA core; streams are scaled without filters, and blend by colour key
 * alone.
 */
#include "s3.h"

#include <string.h>

enum {
  CURSOR_SIZE = 64,
  CURSOR_BYTES = 1024,
  CURSOR_ON = 0x01,

  STREAM_PRIMARY_CONTROL = 0,   /* 8180 */
  STREAM_KEY = 1,               /* 8184 */
  STREAM_SECONDARY_CONTROL = 4, /* 8190 */
  STREAM_SECONDARY_SCALE = 6,   /* 8198 */
  STREAM_BLEND = 8,             /* 81A0 */
  STREAM_PRIMARY_ADDRESS = 16,  /* 81C0, 81C4 */
  STREAM_PRIMARY_STRIDE = 18,
  STREAM_BUFFERS = 19,           /* 81CC */
  STREAM_SECONDARY_ADDRESS = 20, /* 81D0, 81D4 */
  STREAM_SECONDARY_STRIDE = 22,
  STREAM_K1 = 24,            /* 81E0: K1 - 1 of vertical scaling */
  STREAM_K2 = 25,            /* 81E4 */
  STREAM_DDA = 26,           /* 81E8 */
  STREAM_PRIMARY_START = 28, /* 81F0 */
  STREAM_PRIMARY_SIZE = 29,
  STREAM_SECONDARY_START = 30,
  STREAM_SECONDARY_SIZE = 31,
};

typedef enum { FORMAT_8, FORMAT_15, FORMAT_16, FORMAT_24, FORMAT_32, FORMAT_YUV } Format;

typedef struct {
  Format format;
  uint32_t start, pitch; /* bytes */
  uint32_t width, height;
  uint32_t scale; /* scan lines per row */
} Frame;

static const uint8_t bytes_of[] = { 1, 2, 2, 3, 4, 2 };

/* ---- Geometry ---- */

static Format
pixel_format (const S3 *s3)
{
  switch (s3_cr (s3, CR_PIXELS) >> 4)
    {
    case 3: return FORMAT_15;
    case 5: return FORMAT_16;
    case 7: return FORMAT_24;
    case 0xd: return FORMAT_32;
    }
  return FORMAT_8;
}

static uint32_t
bit (uint8_t value, unsigned from, unsigned to)
{
  return (uint32_t) (value >> from & 1) << to;
}

static void
find_frame (const S3 *s3, Frame *f)
{
  const uint8_t *c = s3->vga.crtc;
  const VgaExtension *e = &s3->vga.extension;
  uint32_t lines = (c[0x12] | bit (c[7], 1, 8) | bit (c[7], 6, 9) | e->v_display) + 1;

  *f = (Frame){ .format = pixel_format (s3) };
  f->width = (c[1] + e->h_display + 1) * 8;
  if (f->format == FORMAT_15 || f->format == FORMAT_16)
    f->width /= 2; /* the CRTC counts at twice the rate */
  f->scale = ((c[9] & 0x1f) + 1) * (c[9] & 0x80 ? 2 : 1);
  if (s3_cr (s3, CR_MODE_CONTROL) & CR_MODE_CONTROL_INTERLACE)
    lines *= 2;
  f->height = lines / f->scale;
  f->start = (c[0x0c] << 8 | c[0x0d] | e->start) * 4;
  f->pitch = (c[0x13] + e->offset) * 8;
  f->width = MIN (f->width, TN_DISPLAY_MAX_WIDTH);
  f->height = MIN (f->height, TN_DISPLAY_MAX_HEIGHT);
}

/* The primary stream may have its own place in memory. */
static void
find_primary (const S3 *s3, Frame *f)
{
  static const uint8_t formats[8]
      = { FORMAT_8, FORMAT_8, FORMAT_8, FORMAT_15, FORMAT_15, FORMAT_16, FORMAT_24, FORMAT_32 };
  unsigned buffer = s3->streams[STREAM_BUFFERS] & 1;

  f->format = formats[s3->streams[STREAM_PRIMARY_CONTROL] >> 24 & 7];
  f->start = s3->streams[STREAM_PRIMARY_ADDRESS + buffer] & 0x3fffff;
  f->pitch = s3->streams[STREAM_PRIMARY_STRIDE] & 0x0fff;
}

/* ---- Pixels ---- */

static uint32_t
wide_color (Format format, uint32_t v)
{
  uint32_t r, g, b;

  if (format >= FORMAT_24)
    return v & 0xffffff;
  r = format == FORMAT_15 ? v >> 10 & 31 : v >> 11 & 31;
  g = format == FORMAT_15 ? (v >> 5 & 31) << 1 | (v >> 9 & 1) : v >> 5 & 63;
  b = v & 31;
  return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static uint32_t
load (const S3 *s3, uint32_t at, uint32_t bytes)
{
  uint32_t value = 0;

  for (uint32_t i = 0; i < bytes; i++)
    value |= (uint32_t) s3->vram[(at + i) % s3->size] << 8 * i;
  return value;
}

static void
line_of_pixels (const S3 *s3, const Frame *f, const uint32_t *palette, uint32_t y, uint32_t *to)
{
  uint32_t bytes = bytes_of[f->format], at = (f->start + y * f->pitch) % s3->size;
  bool whole = at + (uint64_t) f->width * bytes <= s3->size;
  const uint8_t *from = s3->vram + at;

  for (uint32_t x = 0; x < f->width; x++, from += bytes, at += bytes)
    {
      uint32_t value = 0;

      if (whole)
        memcpy (&value, from, bytes);
      else
        value = load (s3, at, bytes);
      to[x] = f->format == FORMAT_8 ? palette[value] : wide_color (f->format, value);
    }
}

/* ---- Secondary stream ---- */

static uint32_t
yuv_color (uint32_t pair, bool second)
{
  int32_t y = (int32_t) (second ? pair >> 16 & 0xff : pair & 0xff) - 16;
  int32_t u = (int32_t) (pair >> 8 & 0xff) - 128, v = (int32_t) (pair >> 24) - 128;
  int32_t r = (298 * y + 409 * v + 128) >> 8;
  int32_t g = (298 * y - 100 * u - 208 * v + 128) >> 8;
  int32_t b = (298 * y + 516 * u + 128) >> 8;

  return (uint32_t) CLAMP (r, 0, 255) << 16 | (uint32_t) CLAMP (g, 0, 255) << 8
         | (uint32_t) CLAMP (b, 0, 255);
}

static uint32_t
secondary_pixel (const S3 *s3, uint32_t line, uint32_t x, unsigned format)
{
  switch (format)
    {
    case 1:
    case 2: return yuv_color (load (s3, line + (x & ~1u) * 2, 4), x & 1);
    case 3: return wide_color (FORMAT_15, load (s3, line + 2 * x, 2));
    case 5: return wide_color (FORMAT_16, load (s3, line + 2 * x, 2));
    case 6: return load (s3, line + 3 * x, 3);
    case 7: return load (s3, line + 4 * x, 4) & 0xffffff;
    }
  return 0;
}

/* K1 steps of the source for K1 - K2 more: source = target * K1 / (K1 + K2'), by the data book's
   accumulator, which starts at a negative value and carries. */
static uint32_t
scaled (uint32_t n, uint32_t k1, uint32_t k2)
{
  uint32_t step = k1 + k2;

  return step ? (uint32_t) ((uint64_t) n * k1 / step) : n;
}

static bool
keyed (const S3 *s3, uint32_t pixel)
{
  uint32_t control = s3->streams[STREAM_KEY];
  uint32_t keep = 0xff & ~((1u << (7 - (control >> 24 & 7))) - 1);

  keep = keep << 16 | keep << 8 | keep;
  return !(control & 0x10000000) || ((pixel ^ control) & keep) == 0;
}

static void
secondary_line (const S3 *s3, uint32_t width, uint32_t y, uint32_t *to)
{
  const uint32_t *r = s3->streams;
  uint32_t left = (r[STREAM_SECONDARY_START] >> 16 & 0x7ff) - 1;
  uint32_t top = (r[STREAM_SECONDARY_START] & 0x7ff) - 1;
  uint32_t columns = (r[STREAM_SECONDARY_SIZE] >> 16 & 0x7ff) + 1;
  uint32_t rows = r[STREAM_SECONDARY_SIZE] & 0x7ff;
  uint32_t kx1 = (r[STREAM_SECONDARY_SCALE] & 0x7ff) + 1;
  uint32_t kx2 = -((int32_t) (r[STREAM_SECONDARY_SCALE] << 5) >> 21) & 0x7ff;
  uint32_t ky1 = (r[STREAM_K1] & 0x7ff) + 1;
  uint32_t ky2 = -((int32_t) (r[STREAM_K2] << 21) >> 21) & 0x7ff;
  uint32_t start = r[STREAM_SECONDARY_ADDRESS + (r[STREAM_BUFFERS] >> 1 & 1)] & 0x3fffff;
  unsigned format = r[STREAM_SECONDARY_CONTROL] >> 24 & 7, blend = r[STREAM_BLEND] >> 24 & 7;
  uint32_t line;

  if (y - top >= rows || blend == 1)
    return;
  /* K2 holds the difference between the sizes, negated: source = target - that. */
  line = start + scaled (y - top, ky1, ky2) * (r[STREAM_SECONDARY_STRIDE] & 0x0fff);
  for (uint32_t x = 0; x < columns && left + x < width; x++)
    if (blend != 5 || keyed (s3, to[left + x]))
      to[left + x] = secondary_pixel (s3, line, scaled (x, kx1, kx2), format);
}

/* ---- Cursor ---- */

static uint32_t
cursor_color (const S3 *s3, const Frame *f, const uint8_t *stack)
{
  if (f->format == FORMAT_8)
    return vga_color (&s3->vga, stack[0]);
  return wide_color (f->format, stack[0] | stack[1] << 8 | stack[2] << 16);
}

static uint32_t
cursor_address (const S3 *s3)
{
  return (s3_cr (s3, CR_CURSOR_ADDRESS) << 8 | s3_cr (s3, CR_CURSOR_ADDRESS + 1)) % 0x1000
         * CURSOR_BYTES % s3->size;
}

/* A row: four times 16 bits of AND and 16 of XOR, the leftmost pixel in the highest bit of the
   first byte. */
static void
cursor_line (const S3 *s3, const Frame *f, uint32_t y, uint32_t *to)
{
  uint32_t row = y - s3->cursor_y + (s3_cr (s3, CR_CURSOR_OFFSET_Y) & 0x3f);
  uint32_t offset = s3_cr (s3, CR_CURSOR_OFFSET_X) & 0x3f;
  uint32_t ink = cursor_color (s3, f, s3->ink), paper = cursor_color (s3, f, s3->paper);
  bool x11 = s3_cr (s3, CR_DAC) & CR_DAC_X11;
  const uint8_t *from;

  if (!(s3_cr (s3, CR_CURSOR_MODE) & CURSOR_ON) || y < s3->cursor_y || row >= CURSOR_SIZE)
    return;
  from = s3->vram + cursor_address (s3) + row * 16;
  for (uint32_t n = offset; n < CURSOR_SIZE; n++)
    {
      uint32_t x = s3->cursor_x + n - offset, at = n / 16 * 4 + n % 16 / 8;
      bool and = from[at] >> (7 - n % 8) & 1, xor = from[at + 2] >> (7 - n % 8) & 1;

      if (x >= f->width)
        break;
      if (x11 ? and : !and)
        to[x] = xor? ink : paper;
      else if (!x11 && xor)
        to[x] ^= 0xffffff;
    }
}

/* ---- What is new ---- */

static bool
take_page (S3 *s3, uint32_t page)
{
  bool dirty = tn_region_take_dirty (s3->linear, page * S3_PAGE) || s3->dirty[page];

  s3->dirty[page] = 0;
  return dirty;
}

/* Marks of all pages go into `dirty`; returns whether there were any. */
static bool
take_pages (S3 *s3, uint8_t *dirty)
{
  bool any = s3->all_dirty;

  for (uint32_t page = 0; page < s3->size / S3_PAGE; page++)
    any |= dirty[page] = take_page (s3, page) || s3->all_dirty;
  s3->all_dirty = false;
  return any;
}

static bool
line_dirty (const S3 *s3, const Frame *f, const uint8_t *dirty, uint32_t y)
{
  uint32_t first = f->start + y * f->pitch, pages = s3->size / S3_PAGE;
  uint32_t last = first + MAX (f->width * bytes_of[f->format], 1) - 1;

  for (uint32_t page = first / S3_PAGE; page <= last / S3_PAGE; page++)
    if (dirty[page % pages])
      return true;
  return false;
}

/* ---- The whole ---- */

static void
draw (S3 *s3, const Frame *f, TnDisplay *display, const uint8_t *dirty, bool all)
{
  uint32_t palette[256], line[TN_DISPLAY_MAX_WIDTH];
  uint32_t *pixels = tn_display_mode (display, f->width, f->height);
  bool blank = (s3->vga.sequencer[1] & 0x20) || s3->vga.extension.blank;
  bool streams = s3_cr (s3, CR_PIXELS) & CR_PIXELS_STREAMS;

  for (unsigned i = 0; i < 256; i++)
    palette[i] = vga_color (&s3->vga, i);
  for (uint32_t y = 0; y < f->height; y++)
    {
      if (!all && !line_dirty (s3, f, dirty, y))
        continue;
      if (blank)
        memset (line, 0, f->width * sizeof *line);
      else
        {
          line_of_pixels (s3, f, palette, y, line);
          if (streams)
            secondary_line (s3, f->width, y, line);
          cursor_line (s3, f, y, line);
        }
      vga_put_line (display, pixels, f->width, y, line);
    }
}

void
s3_refresh (void *self, TnDisplay *display, void *data)
{
  S3 *s3 = self;
  uint8_t dirty[S3_PAGES_MAX];
  bool enhanced = s3_is_enhanced (s3), any = take_pages (s3, dirty);
  uint8_t streams = s3_cr (s3, CR_PIXELS) & CR_PIXELS_STREAMS;
  int64_t frame, now = tn_device_now (s3->device);
  bool all;
  Frame f;

  if (!enhanced || !vga_frame (&s3->vga, now, &frame))
    {
      s3->vga.changed |= any;
      s3->in_enhanced = false;
      vga_refresh (&s3->vga, &s3->picture, display, now);
      return;
    }
  find_frame (s3, &f);
  if (streams == CR_PIXELS_STREAMS)
    find_primary (s3, &f);
  tn_display_text (display, 0, 0, -1);
  /* The cursor's picture and the overlay may lie anywhere. */
  all = s3->vga.changed || !s3->in_enhanced || dirty[cursor_address (s3) / S3_PAGE]
        || (streams && any);
  if (all || any)
    draw (s3, &f, display, dirty, all);
  s3->in_enhanced = true;
  s3->picture.drawn = false;
  s3->vga.changed = false;
}
