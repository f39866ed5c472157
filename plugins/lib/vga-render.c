/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a VGA shows: from the registers and planes to pixels.  See vga-core.h.
 *
 * A row of the picture is made as the chip makes it, character clock by character clock: the CRTC
 * counts an address, the addressing mode turns it into one of the planes, the graphics controller
 * shifts the four bytes there out as pixels, the attribute controller and the DAC colour them.
 * Scan lines that only repeat the one before (double scanning, cells of two lines in graphics) are
 * left out, as are doubled pixels of the 256-colour modes: mode 13h is a picture of 320 by 200.
 *
 * Departures: the picture is made of one instant, so registers changed within a frame act on the
 * whole frame (but for the split screen); the border is not shown; blinking in graphics modes is
 * not done.
 */
#include "vga-core.h"

#include <string.h>

enum {
  SEQ_RESET = 0,
  SEQ_CLOCKING = 1,
  SEQ_CLOCKING_8_DOTS = 0x01,
  SEQ_CLOCKING_OFF = 0x20,
  SEQ_FONTS = 3,

  CR_H_DISPLAY_END = 0x01,
  CR_OVERFLOW = 0x07,
  CR_PRESET_ROW = 0x08,
  CR_MAX_SCAN_LINE = 0x09,
  CR_MAX_SCAN_LINE_DOUBLE = 0x80,
  CR_CURSOR_START = 0x0a,
  CR_CURSOR_START_OFF = 0x20,
  CR_CURSOR_END = 0x0b,
  CR_START_HIGH = 0x0c,
  CR_START_LOW = 0x0d,
  CR_CURSOR_HIGH = 0x0e,
  CR_CURSOR_LOW = 0x0f,
  CR_V_DISPLAY_END = 0x12,
  CR_OFFSET = 0x13,
  CR_UNDERLINE = 0x14,
  CR_UNDERLINE_COUNT_4 = 0x20,
  CR_UNDERLINE_DWORD = 0x40,
  CR_MODE = 0x17,
  CR_MODE_ROW_A13 = 0x01,
  CR_MODE_ROW_A14 = 0x02,
  CR_MODE_DOUBLE_LINES = 0x04,
  CR_MODE_COUNT_2 = 0x08,
  CR_MODE_WRAP_A15 = 0x20,
  CR_MODE_BYTE = 0x40,
  CR_LINE_COMPARE = 0x18,

  GR_MODE = 5,
  GR_MODE_CGA = 0x20,
  GR_MODE_256 = 0x40,
  GR_MISC = 6,
  GR_MISC_GRAPHICS = 0x01,

  ATTR_SCREEN_ON = 0x20,
  ATTR_MODE = 0x10,
  ATTR_MODE_MONO = 0x02,
  ATTR_MODE_LINE_GRAPHICS = 0x04,
  ATTR_MODE_BLINK = 0x08,
  ATTR_MODE_PAN_SPLIT = 0x20,
  ATTR_MODE_HALF_PIXELS = 0x40,
  ATTR_MODE_P54 = 0x80,
  ATTR_OVERSCAN = 0x11,
  ATTR_PLANES = 0x12,
  ATTR_PAN = 0x13,
  ATTR_SELECT = 0x14,

  BUFFER_SIZE = TN_DISPLAY_MAX_WIDTH + 2 * 9,
  CURSOR_FRAMES = 8,
  BLINK_FRAMES = 16,
};

typedef struct {
  const VgaCore *vga;
  uint32_t colors[256]; /* of pixels, or of the 16 attributes */
  bool graphics, blank;
  bool cursor_on, blink_on;
  uint32_t characters, dots; /* per line; per character */
  uint32_t width, height;    /* of the picture */
  uint32_t scale, lines;     /* scan lines per row of the picture; in all */
  uint32_t doubled;          /* scan lines per count of the row scan counter */
  uint32_t cell;             /* row scan counts per row of characters */
  uint32_t start, pitch, compare;
  uint32_t pan, pan_bytes;
  uint8_t fonts[2]; /* 8 KiB units in plane 2, by bit 3 of the attribute */
} Frame;

/* ---- Colours ---- */

uint32_t
vga_color (const VgaCore *vga, uint8_t index)
{
  const uint8_t *c = &vga->palette[3 * (index & vga->dac_mask)];
  uint32_t r = c[0] << 2 | c[0] >> 4, g = c[1] << 2 | c[1] >> 4, b = c[2] << 2 | c[2] >> 4;

  return r << 16 | g << 8 | b;
}

static void
find_colors (Frame *f)
{
  const VgaCore *vga = f->vga;
  const uint8_t *a = vga->attribute;

  if (f->graphics && (a[ATTR_MODE] & ATTR_MODE_HALF_PIXELS))
    {
      for (unsigned i = 0; i < 256; i++)
        f->colors[i] = vga_color (vga, i);
      return;
    }
  for (unsigned i = 0; i < 16; i++)
    {
      uint8_t index = a[i & a[ATTR_PLANES] & 0x0f];

      if (a[ATTR_MODE] & ATTR_MODE_P54)
        index = (index & 0x0f) | (a[ATTR_SELECT] & 3) << 4;
      f->colors[i] = vga_color (vga, index | (a[ATTR_SELECT] & 0x0c) << 4);
    }
}

/* ---- Geometry ---- */

static uint32_t
bit_at (uint8_t value, unsigned bit, unsigned to)
{
  return (uint32_t) (value >> bit & 1) << to;
}

static void
find_lines (Frame *f)
{
  const uint8_t *c = f->vga->crtc, over = c[CR_OVERFLOW];
  const VgaExtension *e = &f->vga->extension;

  f->lines = (c[CR_V_DISPLAY_END] | bit_at (over, 1, 8) | bit_at (over, 6, 9) | e->v_display) + 1;
  f->compare = c[CR_LINE_COMPARE] | bit_at (over, 4, 8) | bit_at (c[CR_MAX_SCAN_LINE], 6, 9)
               | e->line_compare;
  if (c[CR_MODE] & CR_MODE_DOUBLE_LINES)
    {
      f->lines *= 2;
      f->compare *= 2;
    }
  f->doubled = c[CR_MAX_SCAN_LINE] & CR_MAX_SCAN_LINE_DOUBLE ? 2 : 1;
  f->cell = (c[CR_MAX_SCAN_LINE] & 0x1f) + 1;
  f->scale = f->doubled;
  if (f->graphics && (c[CR_MODE] & 3) == 3)
    f->scale *= f->cell;
  f->height = f->lines / f->scale;
}

static void
find_panning (Frame *f)
{
  uint8_t pan = f->vga->attribute[ATTR_PAN] & 0x0f;

  f->pan_bytes = f->vga->crtc[CR_PRESET_ROW] >> 5 & 3;
  if (f->graphics && (f->vga->attribute[ATTR_MODE] & ATTR_MODE_HALF_PIXELS))
    f->pan = (pan & 7) / 2;
  else if (f->dots == 9)
    f->pan = pan >= 8 ? 0 : pan + 1;
  else
    f->pan = pan & 7;
}

static bool
find_frame (Frame *f, const VgaCore *vga, int64_t now)
{
  const uint8_t *c = vga->crtc, *a = vga->attribute;
  int64_t frame;

  memset (f, 0, sizeof *f);
  f->vga = vga;
  if (!vga_frame (vga, now, &frame))
    return false;
  f->graphics = vga->graphics[GR_MISC] & GR_MISC_GRAPHICS;
  f->blank = (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_OFF)
             || (vga->sequencer[SEQ_RESET] & 3) != 3 || !(vga->attribute_index & ATTR_SCREEN_ON)
             || vga->extension.blank;
  f->cursor_on = frame / CURSOR_FRAMES & 1;
  f->blink_on = frame / BLINK_FRAMES & 1;
  f->dots = 8;
  if (!f->graphics && !(vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS))
    f->dots = 9;
  if (f->graphics && (a[ATTR_MODE] & ATTR_MODE_HALF_PIXELS))
    f->dots = 4;
  f->characters
      = MIN (c[CR_H_DISPLAY_END] + vga->extension.h_display + 1, TN_DISPLAY_MAX_WIDTH / f->dots);
  f->width = f->characters * f->dots;
  f->start = c[CR_START_HIGH] << 8 | c[CR_START_LOW] | vga->extension.start;
  f->pitch = 2 * (c[CR_OFFSET] + vga->extension.offset);
  f->fonts[1] = (vga->sequencer[SEQ_FONTS] >> 1 & 6) | (vga->sequencer[SEQ_FONTS] >> 5 & 1);
  f->fonts[0] = (vga->sequencer[SEQ_FONTS] << 1 & 6) | (vga->sequencer[SEQ_FONTS] >> 4 & 1);
  find_lines (f);
  find_panning (f);
  find_colors (f);
  return f->height > 0;
}

/* ---- Addresses ---- */

typedef struct {
  uint32_t base; /* address count of the first character */
  uint32_t scan; /* row scan counter */
  uint32_t pan;
} Line;

static Line
find_line (const Frame *f, uint32_t y)
{
  Line line = { .base = f->start + f->pan_bytes, .pan = f->pan };
  uint32_t count = y / f->doubled + (f->vga->crtc[CR_PRESET_ROW] & 0x1f);

  if (y > f->compare)
    {
      count = (y - f->compare - 1) / f->doubled;
      line.base = f->pan_bytes;
      if (f->vga->attribute[ATTR_MODE] & ATTR_MODE_PAN_SPLIT)
        line.base = line.pan = 0;
    }
  line.base += count / f->cell * f->pitch;
  line.scan = count % f->cell;
  return line;
}

/* The four planes that a character clock fetches. */
static uint32_t
fetch (const Frame *f, const Line *line, uint32_t character)
{
  const VgaCore *vga = f->vga;
  uint8_t mode = vga->crtc[CR_MODE], underline = vga->crtc[CR_UNDERLINE];
  uint32_t count = line->base, address, word;

  if (vga->extension.dwords)
    {
      mode = (mode | CR_MODE_BYTE) & ~CR_MODE_COUNT_2;
      underline = 0;
    }
  if (underline & CR_UNDERLINE_COUNT_4)
    count += character / 4;
  else
    count += mode & CR_MODE_COUNT_2 ? character / 2 : character;
  if (underline & CR_UNDERLINE_DWORD)
    address = count << 2 | (count >> 14 & 3);
  else if (!(mode & CR_MODE_BYTE))
    address = count << 1 | (count >> (mode & CR_MODE_WRAP_A15 ? 15 : 13) & 1);
  else
    address = count;
  if (!(mode & CR_MODE_ROW_A13))
    address = (address & ~0x2000u) | (line->scan & 1) << 13;
  if (!(mode & CR_MODE_ROW_A14))
    address = (address & ~0x4000u) | (line->scan & 2) << 13;
  if (!vga->extension.no_wrap)
    address &= 0xffff;
  address %= vga->addresses;
  memcpy (&word, vga->memory + 4 * (size_t) address, 4);
  return word;
}

/* ---- Lines of pixels ---- */

static void
text_line (const Frame *f, const Line *line, uint32_t *to)
{
  const VgaCore *vga = f->vga;
  const uint8_t *c = vga->crtc;
  uint8_t mode = vga->attribute[ATTR_MODE], start = c[CR_CURSOR_START], end = c[CR_CURSOR_END];
  uint32_t cursor = (c[CR_CURSOR_HIGH] << 8 | c[CR_CURSOR_LOW]) + (end >> 5 & 3);
  bool cursor_here = f->cursor_on && !(start & CR_CURSOR_START_OFF) && line->scan >= (start & 0x1fu)
                     && line->scan <= (end & 0x1fu);
  bool underline = (mode & ATTR_MODE_MONO) && line->scan == (c[CR_UNDERLINE] & 0x1fu);

  for (uint32_t x = 0; x <= f->characters; x++)
    {
      uint32_t word = fetch (f, line, x);
      uint8_t character = word, attribute = word >> 8, ink = attribute & 0x0f;
      uint8_t paper = attribute >> 4;
      uint32_t at = f->fonts[attribute >> 3 & 1] * 0x2000u
                    + (vga->extension.fast_text ? line->scan * 256u + character
                                                : character * 32u + line->scan);
      uint32_t bits = vga->memory[4 * (size_t) (at % vga->addresses) + 2] << 1;

      if (mode & ATTR_MODE_BLINK)
        {
          if ((attribute & 0x80) && !f->blink_on)
            ink = paper & 7;
          paper &= 7;
        }
      if ((mode & ATTR_MODE_LINE_GRAPHICS) && (character & 0xe0) == 0xc0)
        bits |= bits >> 1 & 1;
      if (underline && (attribute & 7) == 1)
        bits = 0x1ff;
      if (cursor_here && ((line->base + x) & 0xffff) == (cursor & 0xffff))
        {
          bits = 0x1ff;
          ink = attribute & 0x0f;
        }
      for (uint32_t i = 0; i < f->dots; i++)
        *to++ = f->colors[bits >> (8 - i) & 1 ? ink : paper];
    }
}

static void
planar_pixels (const Frame *f, uint32_t word, uint32_t *to)
{
  for (unsigned i = 0; i < 8; i++, word <<= 1)
    *to++ = f->colors[(word >> 7 & 1) | (word >> 14 & 2) | (word >> 21 & 4) | (word >> 28 & 8)];
}

/* Two bits a pixel, first from planes 0 and 2, then from 1 and 3. */
static void
cga_pixels (const Frame *f, uint32_t word, uint32_t *to)
{
  for (unsigned half = 0; half < 2; half++, word >>= 8)
    for (int shift = 6; shift >= 0; shift -= 2)
      *to++ = f->colors[(word >> shift & 3) | (word >> 16 >> shift & 3) << 2];
}

/* Four dots of 8 bits, or eight of 4. */
static void
byte_pixels (const Frame *f, uint32_t word, uint32_t *to)
{
  if (f->dots == 4)
    for (unsigned i = 0; i < 4; i++)
      *to++ = f->colors[word >> 8 * i & 0xff];
  else if (f->vga->extension.nibbles)
    for (unsigned i = 0; i < 8; i++)
      *to++ = vga_color (f->vga, i & 1 ? word >> 8 * (i / 2) << 4 & 0xf0 : word >> 8 * (i / 2));
  else
    for (unsigned i = 0; i < 8; i++)
      *to++ = f->colors[word >> (8 * (i / 2) + (i & 1 ? 0 : 4)) & 0x0f];
}

static void
graphics_line (const Frame *f, const Line *line, uint32_t *to)
{
  uint8_t mode = f->vga->graphics[GR_MODE];

  for (uint32_t x = 0; x <= f->characters; x++, to += f->dots)
    {
      uint32_t word = fetch (f, line, x);

      if ((mode & GR_MODE_256) || f->dots == 4)
        byte_pixels (f, word, to);
      else if (mode & GR_MODE_CGA)
        cga_pixels (f, word, to);
      else
        planar_pixels (f, word, to);
    }
}

void
vga_put_line (TnDisplay *display, uint32_t *pixels, uint32_t width, uint32_t y,
              const uint32_t *line)
{
  uint32_t *to = pixels + (size_t) y * width, first = 0, last = width;

  if (memcmp (to, line, width * sizeof *to) == 0)
    return;
  while (to[first] == line[first])
    first++;
  while (to[last - 1] == line[last - 1])
    last--;
  memcpy (to + first, line + first, (last - first) * sizeof *to);
  tn_display_dirty (display, first, y, last - first, 1);
}

static void
draw (const Frame *f, TnDisplay *display, uint32_t *pixels)
{
  uint32_t buffer[BUFFER_SIZE];

  for (uint32_t y = 0; y < f->height; y++)
    {
      Line line = find_line (f, y * f->scale);

      if (f->blank)
        for (uint32_t x = 0; x < f->width; x++)
          buffer[x + line.pan] = 0;
      else if (f->graphics)
        graphics_line (f, &line, buffer);
      else
        text_line (f, &line, buffer);
      vga_put_line (display, pixels, f->width, y, buffer + line.pan);
    }
}

/* ---- Cells of text ---- */

static void
tell_text (const Frame *f, TnDisplay *display)
{
  const uint8_t *c = f->vga->crtc;
  uint32_t rows = MIN (f->height, TN_DISPLAY_MAX_HEIGHT) / f->cell, step = f->cell * f->doubled;
  uint32_t cursor = c[CR_CURSOR_HIGH] << 8 | c[CR_CURSOR_LOW];
  bool cursor_shown = !(c[CR_CURSOR_START] & CR_CURSOR_START_OFF) && !f->blank;
  TnTextCell *cells;
  int32_t at = -1;

  if (f->graphics || rows == 0)
    {
      tn_display_text (display, 0, 0, -1);
      return;
    }
  cells = tn_display_text (display, f->characters, rows, -1);
  for (uint32_t y = 0; y < rows; y++)
    {
      Line line = find_line (f, y * step);

      for (uint32_t x = 0; x < f->characters; x++, cells++)
        {
          uint32_t word = fetch (f, &line, x);
          uint8_t paper = word >> 12 & 0x0f;

          if (f->vga->attribute[ATTR_MODE] & ATTR_MODE_BLINK)
            paper &= 7;
          cells->character = f->blank ? ' ' : vga_unicode (word);
          cells->foreground = f->colors[word >> 8 & 0x0f];
          cells->background = f->blank ? 0 : f->colors[paper];
          if (cursor_shown && ((line.base + x) & 0xffff) == cursor)
            at = y * f->characters + x;
        }
    }
  tn_display_text (display, f->characters, rows, at);
}

/* ---- The whole ---- */

void
vga_refresh (VgaCore *vga, VgaPicture *picture, TnDisplay *display, int64_t now)
{
  unsigned phase;
  uint32_t *pixels;
  Frame f;

  if (!find_frame (&f, vga, now))
    {
      tn_display_mode (display, 0, 0);
      tn_display_text (display, 0, 0, -1);
      picture->drawn = false;
      return;
    }
  phase = f.graphics ? 0 : f.cursor_on | f.blink_on << 1;
  if (picture->drawn && !vga->changed && phase == picture->phase)
    return;
  pixels = tn_display_mode (display, f.width, f.height);
  f.height = MIN (f.height, TN_DISPLAY_MAX_HEIGHT);
  draw (&f, display, pixels);
  if (!picture->drawn || vga->changed)
    tell_text (&f, display);
  picture->drawn = true;
  picture->phase = phase;
  vga->changed = false;
}
