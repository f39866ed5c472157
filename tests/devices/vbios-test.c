/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * INT 10h of our video BIOS next to Debian's vgabios, both on a plain VGA: the same calls are made
 * on both, and everything that can be seen afterwards is compared: registers that were returned,
 * the BIOS data area, registers of the card, colours, and memory in all four planes.  Where the two
 * differ on purpose, the test says why.
 */
#include "vbios-pair.h"

/* ---- Modes ---- */

/* Not 0F: vgabios makes it a colour mode. */
static const uint8_t modes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13 };

static void
test_modes (void)
{
  for (unsigned i = 0; i < sizeof modes; i++)
    {
      g_auto (Pair) p = new_pair ();
      g_test_message ("mode %x", modes[i]);
      CALL (&p, .ax = modes[i]);
      CALL (&p, .ax = 0x0f00);
      compare_all (&p);
    }
}

/* ---- Text ---- */

static void
say (Pair *p, unsigned page, const char *text)
{
  for (; *text; text++)
    CALL (p, .ax = 0x0e00 | (uint8_t) *text, .bx = page << 8 | 0x07);
}

/* vgabios does not keep CX here. */
static void
set_shape (Pair *p, uint16_t shape)
{
  RomRegs ours = { .ax = 0x0100, .cx = shape }, theirs = ours;
  rom_machine_int (p->ours, 0x10, &ours);
  rom_machine_int (p->theirs, 0x10, &theirs);
}

static void
begin_text (Pair *p, unsigned mode)
{
  *p = new_pair ();
  CALL (p, .ax = mode);
  set_shape (p, 0x0607);
  for (unsigned i = 0; i < 60; i++)
    {
      char line[16];
      g_snprintf (line, sizeof line, "line %u %c\r\n", i, 'A' + i);
      say (p, 0, line);
    }
}

static void
test_text_teletype (void)
{
  for (unsigned mode = 0; mode < 8; mode += mode == 3 ? 4 : 1)
    {
      g_auto (Pair) p = { 0 };
      begin_text (&p, mode);
      say (&p, 0,
           "\b\bover\bthe edge of a line that is much longer than the screen is wide, "
           "and one more time: the edge of a line that is much longer");
      say (&p, 1, "page one\rP\n");
      CALL (&p, .ax = 0x0300);
      CALL (&p, .ax = 0x0300, .bx = 0x0100);
      compare_all (&p);
    }
}

static void
test_text_write (void)
{
  for (unsigned mode = 1; mode < 8; mode += mode == 1 ? 2 : 4)
    {
      g_auto (Pair) p = { 0 };
      begin_text (&p, mode);
      CALL (&p, .ax = 0x0200, .dx = 0x0a26);
      CALL (&p, .ax = 0x0941, .bx = 0x001f, .cx = 100);
      CALL (&p, .ax = 0x0a42, .bx = 0x002e, .cx = 3);
      CALL (&p, .ax = 0x0800);
      CALL (&p, .ax = 0x0200, .bx = 0x0200, .dx = 0x0503);
      CALL (&p, .ax = 0x0943, .bx = 0x0233, .cx = 2);
      CALL (&p, .ax = 0x0800, .bx = 0x0200);
      CALL (&p, .ax = 0x0502);
      CALL (&p, .ax = 0x0200, .bx = 0x0200, .dx = 0x0604);
      CALL (&p, .ax = 0x0f00);
      compare_all (&p);
    }
}

static void
test_text_scroll (void)
{
  static const struct {
    uint16_t ax, bx, cx, dx;
  } scrolls[] = {
    { 0x0601, 0x1700, 0x0000, 0x184f }, { 0x0603, 0x2700, 0x0205, 0x0b10 },
    { 0x0702, 0x3700, 0x0305, 0x1420 }, { 0x0700, 0x4700, 0x0808, 0x0a0a },
    { 0x0600, 0x5700, 0x1600, 0x1803 }, { 0x0604, 0x6700, 0x1010, 0x1212 },
    { 0x0701, 0x7100, 0x0000, 0x184f }, { 0x0605, 0x1700, 0x0000, 0x0427 },
    { 0x0602, 0x1700, 0x0a00, 0xffff }, { 0x0617, 0x2100, 0x0101, 0x171f },
  };
  for (unsigned mode = 1; mode < 8; mode += mode == 1 ? 2 : 4)
    for (unsigned i = 0; i <= G_N_ELEMENTS (scrolls); i++)
      {
        g_auto (Pair) p = { 0 };
        begin_text (&p, mode);
        for (unsigned j = i < G_N_ELEMENTS (scrolls) ? i : 0;
             j < G_N_ELEMENTS (scrolls) && (j == i || i == G_N_ELEMENTS (scrolls)); j++)
          CALL (&p, .ax = scrolls[j].ax, .bx = scrolls[j].bx, .cx = scrolls[j].cx,
                .dx = scrolls[j].dx);
        g_test_message ("mode %x, scroll %u", mode, i);
        compare_all (&p);
      }
}

static void
test_text_string (void)
{
  for (unsigned i = 0; i < 4; i++)
    {
      g_auto (Pair) p = { 0 };
      begin_text (&p, 3);
      put (&p, BUFFER << 4, "Hello\r\nwide \bworld " BYTES, 54);
      CALL (&p, .ax = 0x1300 | i, .bx = 0x004f, .cx = 27, .dx = 0x0c30, .es = BUFFER);
      CALL (&p, .ax = 0x1300 | i, .bx = 0x014f, .cx = 20, .dx = 0x1648, .es = BUFFER, .bp = 4);
      CALL (&p, .ax = 0x0300);
      compare_all (&p);
    }
}

/* ---- Graphics ---- */

/* The same shapes for both: those of vgabios, which uses no others. */
static void
common_font (Pair *p)
{
  RomRegs r = { .ax = 0x1130 };
  uint8_t font[4096], upper[1024];
  unsigned height = rom_machine_byte (p->ours, 0x485), rows = rom_machine_byte (p->ours, 0x484);
  r.bx = height == 8 ? 0x0300 : height == 14 ? 0x0200 : 0x0600;
  rom_machine_int (p->theirs, 0x10, &r);
  rom_machine_read (p->theirs, (r.es << 4) + r.bp, font, 256 * height);
  put (p, 0x20000, font, sizeof font);
  r = (RomRegs){ .ax = 0x1130, .bx = 0x0400 };
  rom_machine_int (p->theirs, 0x10, &r);
  rom_machine_read (p->theirs, (r.es << 4) + r.bp, upper, sizeof upper);
  put (p, 0x30000, upper, sizeof upper);
  r = (RomRegs){ .ax = 0x1121, .cx = height, .dx = rows + 1, .es = 0x2000 };
  rom_machine_int (p->ours, 0x10, &r);
  r = (RomRegs){ .ax = 0x1120, .es = 0x3000 };
  rom_machine_int (p->ours, 0x10, &r);
}

static const uint8_t graphics[] = { 4, 5, 6, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13 };

static void
dots (Pair *p, unsigned width)
{
  unsigned mode = rom_machine_byte (p->ours, 0x449);
  for (unsigned i = 0; i < 150; i++)
    {
      unsigned x = i * 37 % width, y = i * 11 % 200, color = i * 5 & 0x0f;
      if (mode != 0x13)
        color |= i % 3 == 0 ? 0x80 : 0;
      CALL (p, .ax = 0x0c00 | color, .cx = x, .dx = y);
      if (mode == 6)
        continue; /* vgabios always reads 0 here */
      CALL (p, .ax = 0x0d00, .cx = x, .dx = y);
      CALL (p, .ax = 0x0d00, .cx = x + 1, .dx = y);
    }
}

static void
test_graphics_pixels (void)
{
  for (unsigned i = 0; i < sizeof graphics; i++)
    {
      g_auto (Pair) p = new_pair ();
      g_test_message ("mode %x", graphics[i]);
      CALL (&p, .ax = graphics[i]);
      dots (&p, rom_machine_word (p.ours, 0x44a) * 8);
      compare_all (&p);
    }
}

/* Of shapes that are alike, the first is found.  vgabios does not read in graphics. */
static void
check_character (Pair *p, unsigned c)
{
  RomRegs r = { .ax = 0x0800 };
  unsigned height = rom_machine_byte (p->ours, 0x485);
  uint8_t shapes[2][32];
  rom_machine_int (p->ours, 0x10, &r);
  rom_machine_read (p->ours, 0x20000 + height * c, shapes[0], height);
  rom_machine_read (p->ours, 0x20000 + height * (r.ax & 0xff), shapes[1], height);
  g_assert_cmpmem (shapes[0], height, shapes[1], height);
}

static void
test_graphics_characters (void)
{
  for (unsigned i = 0; i < sizeof graphics && graphics[i] != 0x13; i++)
    {
      g_auto (Pair) p = new_pair ();
      g_test_message ("mode %x", graphics[i]);
      CALL (&p, .ax = graphics[i]);
      common_font (&p);
      for (unsigned c = 0; c < 256; c++)
        {
          CALL (&p, .ax = 0x0200, .dx = (c / 32) << 8 | (c % 32));
          CALL (&p, .ax = 0x0900 | c, .bx = (c & 8) | 7, .cx = 1);
          check_character (&p, c);
        }
      say (&p, 0, "\r\nSome text in a graphics mode\r\n that is written like on a teletype\b!");
      CALL (&p, .ax = 0x0300);
      compare_all (&p);
    }
}

static void
check_dots (RomMachine *m, const uint8_t *shape, unsigned row, unsigned column, uint8_t color)
{
  for (unsigned y = 0; y < 8; y++)
    for (unsigned x = 0; x < 8; x++)
      g_assert_cmphex (tn_harness_read (rom_machine_harness (m),
                                        0xa0000 + 320 * (8 * row + y) + 8 * column + x, 1),
                       ==, shape[y] & 0x80 >> x ? color : 0);
}

/* vgabios doubles the column in mode 13. */
static void
test_graphics_linear (void)
{
  g_auto (Pair) p = new_pair ();
  RomRegs r = { .ax = 0x0013 };
  uint8_t font[2048];
  rom_machine_int (p.ours, 0x10, &r);
  common_font (&p);
  rom_machine_read (p.ours, 0x20000, font, sizeof font);
  for (unsigned c = 0; c < 256; c++)
    {
      r = (RomRegs){ .ax = 0x0200, .dx = (c / 40) << 8 | (c % 40) };
      rom_machine_int (p.ours, 0x10, &r);
      r = (RomRegs){ .ax = 0x0900 | c, .bx = c | 0x80, .cx = c % 40 == 39 ? 2 : 1 };
      rom_machine_int (p.ours, 0x10, &r);
      check_character (&p, c);
    }
  for (unsigned c = 0; c < 256; c++)
    check_dots (p.ours, font + 8 * c, c / 40, c % 40, c | 0x80);
  check_dots (p.ours, font, 7, 0, 0);
}

static void
test_graphics_scroll (void)
{
  for (unsigned i = 0; i < sizeof graphics; i++)
    {
      g_auto (Pair) p = new_pair ();
      unsigned width;
      g_test_message ("mode %x", graphics[i]);
      CALL (&p, .ax = graphics[i]);
      width = rom_machine_word (p.ours, 0x44a);
      dots (&p, 8 * width);
      CALL (&p, .ax = 0x0602, .bx = 0, .cx = 0x0203, .dx = 0x0c1f);
      CALL (&p, .ax = 0x0703, .bx = 0, .cx = 0x0106, .dx = 0x0f22);
      CALL (&p, .ax = 0x0601, .bx = 0x0500, .cx = 0x0000, .dx = 0x1800 | (width - 1));
      CALL (&p, .ax = 0x0600, .bx = 0x0300, .cx = 0x0403, .dx = 0x0505);
      compare_all (&p);
    }
}

/* ---- Colours ---- */

static void
test_palette (void)
{
  static const uint8_t some[] = { 1, 2, 3, 60, 50, 40, 7, 8, 9, 63, 0, 63 };
  static const uint8_t list[] = { 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21 };
  g_auto (Pair) p = new_pair ();
  put (&p, BUFFER << 4, list, sizeof list);
  put (&p, (BUFFER << 4) + 0x100, some, sizeof some);
  CALL (&p, .ax = 0x0003);
  CALL (&p, .ax = 0x1000, .bx = 0x0211);
  CALL (&p, .ax = 0x1001, .bx = 0x0300);
  CALL (&p, .ax = 0x1003, .bx = 0x0000);
  CALL (&p, .ax = 0x1007, .bx = 0x0001);
  CALL (&p, .ax = 0x1008);
  CALL (&p, .ax = 0x1009, .dx = 0x200, .es = BUFFER);
  CALL (&p, .ax = 0x1010, .bx = 0x0033, .cx = 0x2a3b, .dx = 0x1500);
  CALL (&p, .ax = 0x1012, .bx = 0x0040, .cx = 4, .dx = 0x100, .es = BUFFER);
  CALL (&p, .ax = 0x1015, .bx = 0x0041);
  CALL (&p, .ax = 0x1017, .bx = 0x003e, .cx = 8, .dx = 0x220, .es = BUFFER);
  CALL (&p, .ax = 0x1018, .bx = 0x007f);
  CALL (&p, .ax = 0x1019);
  CALL (&p, .ax = 0x1013, .bx = 0x0001);
  CALL (&p, .ax = 0x1013, .bx = 0x0201);
  CALL (&p, .ax = 0x101a);
  CALL (&p, .ax = 0x1013, .bx = 0x0100);
  CALL (&p, .ax = 0x1013, .bx = 0x0b01);
  CALL (&p, .ax = 0x101a);
  CALL (&p, .ax = 0x101b, .bx = 0x0008, .cx = 60);
  for (unsigned i = 0; i < 0x240; i += 4)
    g_assert_cmphex (rom_machine_dword (p.ours, (BUFFER << 4) + i), ==,
                     rom_machine_dword (p.theirs, (BUFFER << 4) + i));
  compare_all (&p);
}

/* vgabios writes palette registers while the screen uses them, which the card does not take. */
static void
test_palette_one (void)
{
  g_auto (Pair) p = new_pair ();
  RomRegs r = { .ax = 0x1000, .bx = 0x3f01 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (attribute (rom_machine_harness (p.ours), 1), ==, 0x3f);
  g_assert_cmphex (tn_harness_in8 (rom_machine_harness (p.ours), 0x3c0) & 0x20, ==, 0);
  r = (RomRegs){ .ax = 0x1007, .bx = 0x0001 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.bx, ==, 0x3f01);
  put (&p, BUFFER << 4, BYTES, 17);
  r = (RomRegs){ .ax = 0x1002, .es = BUFFER };
  rom_machine_int (p.ours, 0x10, &r);
  for (unsigned i = 0; i < 17; i++)
    g_assert_cmphex (attribute (rom_machine_harness (p.ours), i < 16 ? i : 0x11), ==,
                     i < 16 ? BYTES[i] & 0x3f : BYTES[i]);
}

/* In graphics; vgabios changes the palette of text modes too, and leaves the border alone. */
static void
test_palette_cga (void)
{
  static const uint16_t calls[]
      = { 0x0000, 0x0001, 0x0012, 0x001f, 0x0100, 0x0101, 0x0008, 0x0100 };
  for (unsigned mode = 4; mode < 6; mode++)
    for (unsigned i = 0; i < G_N_ELEMENTS (calls); i++)
      {
        g_auto (Pair) p = new_pair ();
        g_test_message ("mode %u, call %u", mode, i);
        CALL (&p, .ax = mode);
        for (unsigned j = 0; j <= i; j++)
          CALL (&p, .ax = 0x0b00, .bx = calls[j]);
        for (unsigned j = 0; j < 16; j++)
          differ ("attribute", j, attribute (rom_machine_harness (p.ours), j),
                  attribute (rom_machine_harness (p.theirs), j));
      }
}

static void
test_palette_kept (void)
{
  g_auto (Pair) p = new_pair ();
  CALL (&p, .ax = 0x1010, .bx = 0x0003, .cx = 0x2a3b, .dx = 0x1500);
  CALL (&p, .ax = 0x1201, .bx = 0x0031);
  CALL (&p, .ax = 0x0003);
  compare_colors (&p);
  CALL (&p, .ax = 0x1200, .bx = 0x0031);
  CALL (&p, .ax = 0x1200, .bx = 0x0033);
  CALL (&p, .ax = 0x0003);
  compare_colors (&p);
}

/* ---- Choices ---- */

static void
test_lines (void)
{
  for (unsigned lines = 0; lines < 3; lines++)
    for (unsigned mode = 1; mode < 8; mode += mode == 1 ? 2 : 4)
      {
        g_auto (Pair) p = new_pair ();
        RomRegs r = { .ax = 0x1200 | lines, .bx = 0x30 };
        rom_machine_int (p.ours, 0x10, &r);
        g_assert_cmphex (r.ax, ==, 0x1212);
        r = (RomRegs){ .ax = mode };
        rom_machine_int (p.ours, 0x10, &r);
        g_test_message ("mode %x", mode);
        if (mode == 7 && lines == 0)
          continue;
        g_assert_cmpuint (rom_machine_byte (p.ours, 0x485), ==,
                          lines == 0   ? 8
                          : lines == 1 ? 14
                                       : 16);
        g_assert_cmpuint (rom_machine_byte (p.ours, 0x484), ==, 24);
      }
}

/* ---- Fonts ---- */

static void
say_ours (Pair *p, const char *text)
{
  for (; *text; text++)
    {
      RomRegs r = { .ax = 0x0e00 | (uint8_t) *text, .bx = 7 };
      rom_machine_int (p->ours, 0x10, &r);
    }
}

static void
read_plane_2 (RomMachine *m, uint32_t offset, uint8_t *bytes, unsigned size)
{
  TnHarness *h = rom_machine_harness (m);
  tn_harness_out16 (h, 0x3c4, 0x0604);
  tn_harness_out16 (h, 0x3ce, 0x0204);
  tn_harness_out16 (h, 0x3ce, 0x0005);
  tn_harness_out16 (h, 0x3ce, 0x0506);
  for (unsigned i = 0; i < size; i++)
    bytes[i] = tn_harness_read (h, 0xa0000 + offset + i, 1);
}

static uint32_t
font_at (RomMachine *m, unsigned which)
{
  RomRegs r = { .ax = 0x1130, .bx = which << 8 };
  rom_machine_int (m, 0x10, &r);
  g_assert_cmpuint (r.cx, ==, rom_machine_byte (m, 0x485));
  g_assert_cmpuint (r.dx & 0xff, ==, rom_machine_byte (m, 0x484));
  return (r.es << 4) + r.bp;
}

static void
test_font_information (void)
{
  g_auto (Pair) p = new_pair ();
  uint32_t f8 = font_at (p.ours, 3), f14 = font_at (p.ours, 2), f16 = font_at (p.ours, 6);
  g_assert_cmphex (font_at (p.ours, 4), ==, f8 + 1024);
  g_assert_cmphex (font_at (p.ours, 0), ==, f8 + 1024); /* INT 1Fh */
  g_assert_cmphex (font_at (p.ours, 1), ==, f16);       /* INT 43h */
  g_assert_cmphex (rom_machine_byte (p.ours, font_at (p.ours, 5)), ==, 0);
  g_assert_cmphex (rom_machine_byte (p.ours, font_at (p.ours, 7)), ==, 0);
  for (unsigned c = 0; c < 256; c++)
    for (unsigned y = 0; y < 14; y++)
      g_assert_cmphex (rom_machine_byte (p.ours, f14 + 14 * c + y), ==,
                       rom_machine_byte (p.ours, f16 + 16 * c + y + 1));
  g_assert_cmphex (rom_machine_dword (p.ours, f16 + 16 * 0xdb), ==, 0xffffffff);
  g_assert_cmphex (rom_machine_dword (p.ours, f8 + 8 * ' '), ==, 0);
}

/* What a program loads is in its block, the rest of the screen as it was. */
static void
test_font_user (void)
{
  static const uint32_t at[8] = { 0, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000 };
  for (unsigned block = 0; block < 8; block++)
    {
      g_auto (Pair) p = new_pair ();
      uint8_t ours[96], theirs[96];
      put (&p, BUFFER << 4, BYTES, 36);
      CALL (&p, .ax = 0x0003);
      CALL (&p, .ax = 0x1100, .bx = 0x0c00 | block, .cx = 3, .dx = 0x41, .es = BUFFER);
      compare_registers (&p);
      read_plane_2 (p.ours, at[block] + 32 * 0x41, ours, sizeof ours);
      read_plane_2 (p.theirs, at[block] + 32 * 0x41, theirs, sizeof theirs);
      for (unsigned i = 0; i < 3; i++)
        {
          g_assert_cmpmem (ours + 32 * i, 12, &BYTES[12 * i], 12);
          g_assert_cmpmem (theirs + 32 * i, 12, &BYTES[12 * i], 12);
        }
    }
}

/* IBM: rows = lines / height, page = rows * columns * 2, end of display = rows * height.  (vgabios
   goes other ways with the last two.) */
static void
test_font_rows (void)
{
  static const struct {
    uint16_t ax, height, rows;
  } fonts[] = { { 0x1112, 8, 50 }, { 0x1111, 14, 28 }, { 0x1114, 16, 25 }, { 0x1110, 10, 40 } };
  for (unsigned mode = 1; mode < 8; mode += mode == 1 ? 2 : 4)
    for (unsigned i = 0; i < G_N_ELEMENTS (fonts); i++)
      {
        g_auto (Pair) p = new_pair ();
        TnHarness *h = rom_machine_harness (p.ours);
        uint16_t crtc = mode == 7 ? 0x3b4 : 0x3d4;
        unsigned columns;
        g_test_message ("mode %u, font %u", mode, i);
        CALL (&p, .ax = mode);
        set_shape (&p, 0x0607);
        CALL (&p, .ax = fonts[i].ax, .bx = fonts[i].height << 8, .cx = 256, .es = BUFFER);
        columns = rom_machine_word (p.ours, 0x44a);
        g_assert_cmpuint (rom_machine_byte (p.ours, 0x484) + 1, ==, fonts[i].rows);
        g_assert_cmpuint (rom_machine_word (p.ours, 0x485), ==, fonts[i].height);
        g_assert_cmpuint (rom_machine_word (p.ours, 0x44c), ==, fonts[i].rows * columns * 2);
        g_assert_cmpuint (rom_machine_byte (p.theirs, 0x484) + 1, ==, fonts[i].rows);
        differ ("crtc", 9, indexed (h, crtc, 9), indexed (rom_machine_harness (p.theirs), crtc, 9));
        g_assert_cmphex (indexed (h, crtc, 0x12), ==, (fonts[i].rows * fonts[i].height - 1) & 0xff);
        g_assert_cmpuint (indexed (h, crtc, 0x0b), <, fonts[i].height);
        g_assert_cmpuint (indexed (h, crtc, 0x0a) + 1, ==, indexed (h, crtc, 0x0b));
        say_ours (&p, "\r\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
                      "\n\n\n\n\n\n\n\n\n\n\n\n\n\nend");
        g_assert_cmphex (
            tn_harness_read (h, (mode == 7 ? 0xb0000 : 0xb8000) + (fonts[i].rows - 1) * columns * 2,
                             4),
            ==, 0x076e0765);
      }
}

static void
test_font_blocks (void)
{
  g_auto (Pair) p = new_pair ();
  CALL (&p, .ax = 0x0003);
  CALL (&p, .ax = 0x1103, .bx = 0x0026);
  compare_registers (&p);
}

/* INT 43h and 1Fh, rows by number */
static void
test_font_graphics (void)
{
  static const uint8_t rows[4] = { 60, 14, 25, 43 };
  g_auto (Pair) p = new_pair ();
  RomRegs r = { .ax = 0x0012 };
  rom_machine_int (p.ours, 0x10, &r);
  for (unsigned i = 0; i < 4; i++)
    {
      r = (RomRegs){ .ax = 0x1123, .bx = i, .dx = 60 };
      rom_machine_int (p.ours, 0x10, &r);
      g_assert_cmpuint (rom_machine_byte (p.ours, 0x484), ==, rows[i] - 1);
      g_assert_cmpuint (rom_machine_word (p.ours, 0x485), ==, 8);
      g_assert_cmphex (font_at (p.ours, 1), ==, font_at (p.ours, 3));
    }
  r = (RomRegs){ .ax = 0x1121, .bx = 2, .cx = 13, .es = BUFFER, .bp = 0x20 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (font_at (p.ours, 1), ==, (BUFFER << 4) + 0x20);
  g_assert_cmpuint (rom_machine_word (p.ours, 0x485), ==, 13);
}

/* A program's own table of parameters and fonts, by the save pointer table */
static void
test_save_pointers (void)
{
  static const uint8_t text_font[] = { 8, 0, 2, 0, 'A', 0, 0, 0, 0x00, 0x11, 25, 3, 0xff };
  g_auto (Pair) p = new_pair ();
  uint32_t old = rom_machine_dword (p.ours, 0x4a8), table[7] = { 0 }, at = BUFFER << 16;
  uint8_t shapes[40];
  RomRegs r = { .ax = 0x0003 };
  rom_machine_read (p.ours, (old >> 16 << 4) + (old & 0xffff), table, sizeof table);
  table[1] = (BUFFER << 16) + 0x100; /* dynamic save area */
  table[2] = (BUFFER << 16) + 0x200; /* font for text */
  put (&p, BUFFER << 4, table, sizeof table);
  put (&p, (BUFFER << 4) + 0x200, text_font, sizeof text_font);
  put (&p, 0x11000, BYTES, 36);
  rom_machine_write (p.ours, 0x4a8, &at, 4);
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (rom_machine_byte (p.ours, (BUFFER << 4) + 0x106), ==, 0x14);
  g_assert_cmphex (rom_machine_byte (p.ours, (BUFFER << 4) + 0x10f), ==, 0x3f);
  g_assert_cmpuint (rom_machine_byte (p.ours, 0x485), ==, 8);
  read_plane_2 (p.ours, 32 * 'A', shapes, sizeof shapes);
  g_assert_cmpmem (shapes, 8, BYTES, 8);
  g_assert_cmpmem (shapes + 32, 8, &BYTES[8], 8);
}

/* ---- AH = 12h, 1Ah, 1Bh, 1Ch ---- */

static void
test_choices (void)
{
  g_auto (Pair) p = new_pair ();
  RomRegs r = { .ax = 0x1200, .bx = 0x0010 };
  CALL (&p, .ax = 0x0003);
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.bx, ==, 0x0003); /* colour, 256 KiB */
  g_assert_cmphex (r.cx, ==, 0x0f09);
  CALL (&p, .ax = 0x1201, .bx = 0x0034);
  g_assert_cmphex (rom_machine_byte (p.ours, 0x487) & 1, ==, 1);
  set_shape (&p, 0x0607);
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, 0x0a), ==, 6);
  CALL (&p, .ax = 0x1200, .bx = 0x0034);
  set_shape (&p, 0x0607);
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, 0x0a), ==, 13);
  set_shape (&p, 0x0007); /* a block */
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, 0x0a), ==, 0);
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, 0x0b), ==, 15);
  set_shape (&p, 0x2000); /* none */
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, 0x0a) & 0x20, ==, 0x20);
  CALL (&p, .ax = 0x1201, .bx = 0x0036);
  g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3c4, 1) & 0x20, ==, 0x20);
  CALL (&p, .ax = 0x1200, .bx = 0x0036);
  compare_registers (&p);
  CALL (&p, .ax = 0x1201, .bx = 0x0032);
  g_assert_cmphex (tn_harness_in8 (rom_machine_harness (p.ours), 0x3cc) & 2, ==, 0);
  CALL (&p, .ax = 0x1200, .bx = 0x0032);
  compare_registers (&p);
}

static void
test_display_code (void)
{
  g_auto (Pair) p = new_pair ();
  RomRegs r = { .ax = 0x1a01, .bx = 0x0007 };
  g_assert_cmphex (CALL (&p, .ax = 0x1a00).bx, ==, 0x0008);
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.ax & 0xff, ==, 0x1a);
  r = (RomRegs){ .ax = 0x1a00 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.bx, ==, 0x0007);
  r = (RomRegs){ .ax = 0x1a01, .bx = 0x0404 }; /* no such pair: nothing changes */
  rom_machine_int (p.ours, 0x10, &r);
  r = (RomRegs){ .ax = 0x1a00 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.bx, ==, 0x0007);
}

static void
test_information (void)
{
  for (unsigned i = 0; i < sizeof modes; i++)
    {
      g_auto (Pair) p = new_pair ();
      uint8_t ours[65], theirs[65];
      put (&p, (BUFFER << 4) + 64, "x", 1);
      CALL (&p, .ax = modes[i]);
      g_test_message ("mode %x", modes[i]);
      CALL (&p, .ax = 0x1b00, .es = BUFFER);
      rom_machine_read (p.ours, BUFFER << 4, ours, sizeof ours);
      rom_machine_read (p.theirs, BUFFER << 4, theirs, sizeof theirs);
      /* What is in the data area is compared elsewhere.  vgabios gives rows less one, no colours
         of monochrome modes, other numbers of pages, 400 for 480 lines, and no memory; flags of
         what the two BIOSes can do differ. */
      for (unsigned j = 0x23; j < 64; j++)
        if (j != 0x27 && j != 0x28 && j != 0x29 && j != 0x2a && j != 0x2d && j != 0x31 && j != 0x32)
          differ ("information", j, ours[j], theirs[j]);
      g_assert_cmpuint (ours[0x22], ==, rom_machine_byte (p.ours, 0x484) + 1);
      g_assert_cmpuint (ours[0x31], ==, 3);
      g_assert_cmphex (ours[64], ==, 'x');
      if (modes[i] == 0x13)
        g_assert_cmphex (ours[0x27] | ours[0x28] << 8, ==, 256);
    }
}

static void
test_state (void)
{
  for (unsigned parts = 1; parts < 8; parts++)
    {
      g_auto (Pair) p = new_pair ();
      Pair q = { p.ours, p.ours };
      RomRegs r = { .ax = 0x0012 };
      uint8_t before[25], data[64];
      rom_machine_int (p.ours, 0x10, &r);
      r = (RomRegs){ .ax = 0x1010, .bx = 0x77, .cx = 0x1234, .dx = 0x3000 };
      rom_machine_int (p.ours, 0x10, &r);
      for (unsigned i = 0; i < 25; i++)
        before[i] = indexed (rom_machine_harness (p.ours), 0x3d4, i);
      rom_machine_read (p.ours, 0x449, data, sizeof data);
      r = (RomRegs){ .ax = 0x1c00, .cx = parts };
      rom_machine_int (p.ours, 0x10, &r);
      g_assert_cmphex (r.ax & 0xff, ==, 0x1c);
      g_assert_cmpuint (r.bx, >=, parts & 4 ? 13 : 1);
      g_assert_cmpuint (r.bx, <=, 15);
      put (&q, (BUFFER << 4) + 64 * r.bx, "end", 3);
      r = (RomRegs){ .ax = 0x1c01, .cx = parts, .es = BUFFER };
      rom_machine_int (p.ours, 0x10, &r);
      r = (RomRegs){ .ax = 0x0003 };
      rom_machine_int (p.ours, 0x10, &r);
      r = (RomRegs){ .ax = 0x1c02, .cx = parts, .es = BUFFER };
      rom_machine_int (p.ours, 0x10, &r);
      for (unsigned i = 0; i < 25 && (parts & 1); i++)
        g_assert_cmphex (indexed (rom_machine_harness (p.ours), 0x3d4, i), ==, before[i]);
      g_assert_cmphex (rom_machine_byte (p.ours, 0x449), ==, parts & 2 ? 0x12 : 0x03);
      for (unsigned i = 0; i < 30 && (parts & 2); i++)
        g_assert_cmphex (rom_machine_byte (p.ours, 0x449 + i), ==, data[i]);
      r = (RomRegs){ .ax = 0x1015, .bx = 0x77 };
      rom_machine_int (p.ours, 0x10, &r);
      g_assert_cmphex (r.cx, ==, parts & 4 ? 0x1234 : 0);
    }
}

/* ---- What vgabios does not have as IBM had it ---- */

static void
test_monochrome (void)
{
  static const uint8_t crtc[25]
      = { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x40, 0x00, 0x00, 0x00,
          0x00, 0x00, 0x00, 0x83, 0x85, 0x5d, 0x28, 0x0f, 0x63, 0xba, 0xe3, 0xff };
  g_auto (Pair) p = new_pair ();
  TnHarness *h = rom_machine_harness (p.ours);
  RomRegs r = { .ax = 0x000f };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (rom_machine_word (p.ours, 0x463), ==, 0x3b4);
  for (unsigned i = 0; i < 25; i++)
    g_assert_cmphex (indexed (h, 0x3b4, i), ==, crtc[i]);
  g_assert_cmphex (attribute (h, 1), ==, 0x08);
  g_assert_cmphex (attribute (h, 0x12), ==, 0x05);
  r = (RomRegs){ .ax = 0x0c05, .cx = 100, .dx = 100 };
  rom_machine_int (p.ours, 0x10, &r);
  r = (RomRegs){ .ax = 0x0d00, .cx = 100, .dx = 100 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (r.ax & 0xff, ==, 0x05);
  r = (RomRegs){ .ax = 0x0007 };
  rom_machine_int (p.ours, 0x10, &r);
  g_assert_cmphex (rom_machine_word (p.ours, 0x460), ==, 0x0b0c);
  g_assert_cmphex (tn_harness_read (h, 0xb0000, 4), ==, 0x07200720);
}

/* ---- Whatever is asked ---- */

static void
test_fuzz (void)
{
  g_auto (Pair) p = new_pair ();
  GRand *rand = g_rand_new_with_seed (0x10);
  for (unsigned i = 0; i < 6000; i++)
    {
      RomRegs r = { .ax = g_rand_int (rand),
                    .bx = g_rand_int (rand),
                    .cx = g_rand_int (rand),
                    .dx = g_rand_int (rand),
                    .es = 0x4000,
                    .bp = g_rand_int (rand) & 0x7fff,
                    .di = g_rand_int (rand) & 0x7fff };
      r.ax = (r.ax & 0xff) | g_rand_int_range (rand, 0, 0x1d) << 8;
      if (g_rand_boolean (rand))
        r.ax &= 0xff1f;
      if (g_rand_boolean (rand))
        r.bx &= 0x071f;
      if (g_rand_boolean (rand))
        r.dx &= 0x183f;
      r.cx &= 0x03ff;
      if (r.ax >> 8 == 0x1c || r.ax == 0x1120 || r.ax == 0x1121)
        r.bx = 0x1000; /* what is restored must have been saved */
      if (r.ax >> 8 == 0x1c && (r.ax & 0xff) == 2)
        continue;
      rom_machine_int (p.ours, 0x10, &r);
      g_assert_cmphex (rom_machine_dword (p.ours, 0x40) >> 16, ==, 0xc000);
    }
  g_rand_free (rand);
  CALL (&p, .ax = 0x1200, .bx = 0x31);
  CALL (&p, .ax = 0x1200, .bx = 0x33);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!g_file_test (REFERENCE, G_FILE_TEST_EXISTS))
    return 77;
  g_test_add_func ("/vbios/modes", test_modes);
  g_test_add_func ("/vbios/text/teletype", test_text_teletype);
  g_test_add_func ("/vbios/text/write", test_text_write);
  g_test_add_func ("/vbios/text/scroll", test_text_scroll);
  g_test_add_func ("/vbios/text/string", test_text_string);
  g_test_add_func ("/vbios/graphics/pixels", test_graphics_pixels);
  g_test_add_func ("/vbios/graphics/characters", test_graphics_characters);
  g_test_add_func ("/vbios/graphics/linear", test_graphics_linear);
  g_test_add_func ("/vbios/graphics/scroll", test_graphics_scroll);
  g_test_add_func ("/vbios/palette/registers", test_palette);
  g_test_add_func ("/vbios/palette/one", test_palette_one);
  g_test_add_func ("/vbios/palette/cga", test_palette_cga);
  g_test_add_func ("/vbios/palette/kept", test_palette_kept);
  g_test_add_func ("/vbios/lines", test_lines);
  g_test_add_func ("/vbios/font/information", test_font_information);
  g_test_add_func ("/vbios/font/user", test_font_user);
  g_test_add_func ("/vbios/font/rows", test_font_rows);
  g_test_add_func ("/vbios/font/blocks", test_font_blocks);
  g_test_add_func ("/vbios/font/graphics", test_font_graphics);
  g_test_add_func ("/vbios/save-pointers", test_save_pointers);
  g_test_add_func ("/vbios/choices", test_choices);
  g_test_add_func ("/vbios/display-code", test_display_code);
  g_test_add_func ("/vbios/information", test_information);
  g_test_add_func ("/vbios/state", test_state);
  g_test_add_func ("/vbios/monochrome", test_monochrome);
  g_test_add_func ("/vbios/fuzz", test_fuzz);
  return g_test_run ();
}
