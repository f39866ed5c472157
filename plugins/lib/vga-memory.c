/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VGA memory: the path of a processor's byte through the graphics controller, and the text screen
 * as it lies in the planes.  See vga-core.h.
 *
 * The four planes at one address are handled as one 32-bit word, plane 0 in its low byte.
 */
#include "vga-core.h"

#include <string.h>

enum {
  MISC_RAM = 0x02,

  SEQ_MAP_MASK = 2,
  SEQ_MEMORY = 4,
  SEQ_MEMORY_SEQUENTIAL = 0x04, /* odd/even off */
  SEQ_MEMORY_CHAIN4 = 0x08,

  GR_SET_RESET = 0,
  GR_ENABLE_SET_RESET = 1,
  GR_COMPARE = 2,
  GR_ROTATE = 3,
  GR_READ_MAP = 4,
  GR_MODE = 5,
  GR_MODE_READ1 = 0x08,
  GR_MODE_ODD_EVEN = 0x10,
  GR_MISC = 6,
  GR_MISC_GRAPHICS = 0x01,
  GR_DONT_CARE = 7,
  GR_BIT_MASK = 8,

  CR_H_DISPLAY_END = 0x01,
  CR_OVERFLOW = 0x07,
  CR_MAX_SCAN_LINE = 0x09,
  CR_START_HIGH = 0x0c,
  CR_START_LOW = 0x0d,
  CR_V_DISPLAY_END = 0x12,
  CR_OFFSET = 0x13,
};

/* A word whose byte n is all ones when bit n is set. */
static uint32_t
planes (uint8_t bits)
{
  return (bits & 1 ? 0xffu : 0) | (bits & 2 ? 0xff00u : 0) | (bits & 4 ? 0xff0000u : 0)
         | (bits & 8 ? 0xff000000u : 0);
}

static uint32_t
load (const VgaCore *vga, uint32_t address)
{
  uint32_t word;
  memcpy (&word, vga->memory + 4 * (size_t) ((address + vga->extension.bank) % vga->addresses), 4);
  return word;
}

static void
store (VgaCore *vga, uint32_t address, uint32_t word)
{
  memcpy (vga->memory + 4 * (size_t) ((address + vga->extension.bank) % vga->addresses), &word, 4);
}

/* Maps an offset from A0000 into the window that the graphics controller decodes. */
static bool
in_window (const VgaCore *vga, uint32_t *offset)
{
  static const struct {
    uint32_t first, size;
  } window[4] = { { 0, 0x20000 }, { 0, 0x10000 }, { 0x10000, 0x8000 }, { 0x18000, 0x8000 } };
  unsigned map = vga->graphics[GR_MISC] >> 2 & 3;
  *offset -= window[map].first;
  return (vga->misc & MISC_RAM) && *offset < window[map].size;
}

uint8_t
vga_memory_read (VgaCore *vga, uint32_t offset)
{
  unsigned plane = vga->graphics[GR_READ_MAP];
  uint32_t differ;
  if (!in_window (vga, &offset))
    return 0xff;
  if (vga->sequencer[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4)
    {
      plane = offset & 3;
      offset &= ~3u;
    }
  else if (vga->graphics[GR_MODE] & GR_MODE_ODD_EVEN)
    {
      plane = (plane & 2) | (offset & 1);
      offset &= ~1u;
    }
  vga->latch = load (vga, offset);
  if (!(vga->graphics[GR_MODE] & GR_MODE_READ1))
    return vga->latch >> 8 * plane;
  differ = (vga->latch ^ planes (vga->graphics[GR_COMPARE])) & planes (vga->graphics[GR_DONT_CARE]);
  return ~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

static uint8_t
rotate (const VgaCore *vga, uint8_t value)
{
  unsigned by = vga->graphics[GR_ROTATE] & 7;
  return value >> by | value << (8 - by);
}

/* Function select: replace, AND, OR, XOR with the latches. */
static uint32_t
combine (const VgaCore *vga, uint32_t data)
{
  switch (vga->graphics[GR_ROTATE] >> 3)
    {
    case 1: return data & vga->latch;
    case 2: return data | vga->latch;
    case 3: return data ^ vga->latch;
    }
  return data;
}

/* What the planes get, by write mode. */
static uint32_t
write_data (const VgaCore *vga, uint8_t value)
{
  uint32_t mask = vga->graphics[GR_BIT_MASK] * 0x01010101u, data;
  uint32_t set = planes (vga->graphics[GR_SET_RESET]);
  uint32_t enabled = planes (vga->graphics[GR_ENABLE_SET_RESET]);
  switch (vga->graphics[GR_MODE] & 3)
    {
    case 0: data = (rotate (vga, value) * 0x01010101u & ~enabled) | (set & enabled); break;
    case 1: return vga->latch;
    case 2: data = planes (value); break;
    default: mask &= rotate (vga, value) * 0x01010101u; data = set;
    }
  return (combine (vga, data) & mask) | (vga->latch & ~mask);
}

void
vga_memory_write (VgaCore *vga, uint32_t offset, uint8_t value)
{
  uint8_t maps = vga->sequencer[SEQ_MAP_MASK];
  uint32_t mask;
  if (!in_window (vga, &offset))
    return;
  if (vga->sequencer[SEQ_MEMORY] & SEQ_MEMORY_CHAIN4)
    {
      maps &= 1 << (offset & 3);
      offset &= ~3u;
    }
  else if (!(vga->sequencer[SEQ_MEMORY] & SEQ_MEMORY_SEQUENTIAL))
    {
      maps &= offset & 1 ? 0x0a : 0x05;
      offset &= ~1u;
    }
  vga->changed = true;
  mask = planes (maps);
  store (vga, offset, (load (vga, offset) & ~mask) | (write_data (vga, value) & mask));
}

/* ---- Text screen ---- */

/* Code page 437 as it is shown, from 0 on; the control characters have pictures, too. */
static const char *const cp437_low = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼";
static const char *const cp437_high
    = "⌂ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧"
      "╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";

gunichar
vga_unicode (uint8_t character)
{
  if (character < 32)
    return g_utf8_get_char (g_utf8_offset_to_pointer (cp437_low, character));
  if (character < 127)
    return character;
  return g_utf8_get_char (g_utf8_offset_to_pointer (cp437_high, character - 127));
}

static void
append_row (const VgaCore *vga, GString *text, uint32_t start, unsigned columns)
{
  gsize end = text->len;
  for (unsigned i = 0; i < columns; i++)
    {
      gunichar c = vga_unicode (load (vga, 2 * (start + i)));
      g_string_append_unichar (text, c);
      if (c != ' ')
        end = text->len;
    }
  g_string_truncate (text, end);
  g_string_append_c (text, '\n');
}

char *
vga_text (const VgaCore *vga)
{
  const uint8_t *c = vga->crtc;
  uint32_t lines
      = (c[CR_V_DISPLAY_END] | (c[CR_OVERFLOW] & 2) << 7 | (c[CR_OVERFLOW] & 0x40) << 3) + 1;
  uint32_t start = c[CR_START_HIGH] << 8 | c[CR_START_LOW];
  unsigned height = (c[CR_MAX_SCAN_LINE] & 0x1f) + 1;
  GString *text;
  if (vga->graphics[GR_MISC] & GR_MISC_GRAPHICS)
    return NULL;
  if (c[CR_MAX_SCAN_LINE] & 0x80)
    lines /= 2;
  text = g_string_new (NULL);
  for (unsigned row = 0; row < lines / height; row++)
    append_row (vga, text, start + row * c[CR_OFFSET] * 2, c[CR_H_DISPLAY_END] + 1);
  return g_string_free (text, FALSE);
}
