/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * INT 10h of our video BIOS next to Debian's vgabios, both on a plain VGA: the same calls are made
 * on both, and everything that can be seen afterwards is compared: registers that were returned,
 * the BIOS data area, registers of the card, colours, and memory in all four planes.  Where the two
 * differ on purpose, the test says why.
 */
#include "rom-machine.h"

#include <string.h>

#define REFERENCE "/usr/share/vgabios/vgabios.bin"
#define BUFFER 0x1000 /* segment of what is handed to the BIOS */
#define BYTES "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

typedef struct {
  RomMachine *ours, *theirs;
} Pair;

static RomMachine *
new_machine (const char *rom)
{
  TnHarness *h = tn_harness_new (8 << 20);
  RomMachine *m;
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "vga", "vga", "bios", "false", NULL);
  tn_harness_start (h);
  m = rom_machine_new (h, rom);
  g_assert_nonnull (m);
  rom_machine_post (m);
  return m;
}

static Pair
new_pair (void)
{
  g_autofree char *rom
      = g_build_filename (g_getenv ("TENON_BUILDDIR"), "plugins/s3/bios/s3-bios.rom", NULL);
  return (Pair){ new_machine (rom), new_machine (REFERENCE) };
}

static void
free_pair (Pair *p)
{
  g_assert_cmpuint (rom_machine_rom_writes (p->ours), ==, 0);
  rom_machine_free (p->ours);
  rom_machine_free (p->theirs);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Pair, free_pair)

/* One call on both, whose results agree. */
static RomRegs
both (Pair *p, RomRegs r)
{
  RomRegs ours = r, theirs = r;
  rom_machine_int (p->ours, 0x10, &ours);
  rom_machine_int (p->theirs, 0x10, &theirs);
  if (memcmp (&ours, &theirs, offsetof (RomRegs, flags)))
    g_test_message ("call ax %04x bx %04x cx %04x dx %04x", r.ax, r.bx, r.cx, r.dx);
  g_assert_cmphex (ours.ax, ==, theirs.ax);
  g_assert_cmphex (ours.bx, ==, theirs.bx);
  g_assert_cmphex (ours.cx, ==, theirs.cx);
  g_assert_cmphex (ours.dx, ==, theirs.dx);
  g_assert_cmphex (ours.si, ==, theirs.si);
  g_assert_cmphex (ours.di, ==, theirs.di);
  g_assert_cmphex (ours.bp, ==, theirs.bp);
  g_assert_cmphex (ours.ds, ==, theirs.ds);
  g_assert_cmphex (ours.es, ==, theirs.es);
  return ours;
}

#define CALL(p, ...) both (p, (RomRegs){ __VA_ARGS__ })

static void
put (Pair *p, uint32_t address, const void *bytes, uint32_t size)
{
  rom_machine_write (p->ours, address, bytes, size);
  rom_machine_write (p->theirs, address, bytes, size);
}

/* ---- Comparing what can be seen ---- */

static void
differ (const char *what, unsigned index, unsigned ours, unsigned theirs)
{
  if (ours == theirs)
    return;
  g_test_message ("%s %x: ours %02x, theirs %02x", what, index, ours, theirs);
  g_test_fail ();
}

static bool
skipped (unsigned address)
{
  /* 460: vgabios gives every mode the cursor of colour text, IBM's monochrome modes have their own.
     465, 466: vgabios does not keep the CGA's registers as IBM does.  487, 489, 48A: different
     powers of the card and another table of display combinations.  4A8: where the ROM's table is.
   */
  static const uint16_t list[] = { 0x44d, 0x465, 0x466, 0x487, 0x488, 0x489, 0x48a };
  for (unsigned i = 0; i < G_N_ELEMENTS (list); i++)
    if (list[i] == address)
      return true;
  return false;
}

static void
compare_data (Pair *p)
{
  bool mono = rom_machine_byte (p->ours, 0x449) == 7;
  for (unsigned i = 0x449; i < 0x48b; i++)
    if (!(mono && (i & ~1) == 0x460) && (i <= 0x466 || i >= 0x484) && !skipped (i))
      differ ("data", i, rom_machine_byte (p->ours, i), rom_machine_byte (p->theirs, i));
}

static uint8_t
indexed (TnHarness *h, uint16_t port, uint8_t index)
{
  tn_harness_out8 (h, port, index);
  return tn_harness_in8 (h, port + 1);
}

static uint8_t
attribute (TnHarness *h, uint8_t index)
{
  uint8_t value;
  tn_harness_in8 (h, 0x3da);
  tn_harness_in8 (h, 0x3ba);
  tn_harness_out8 (h, 0x3c0, index);
  value = tn_harness_in8 (h, 0x3c1);
  tn_harness_in8 (h, 0x3da);
  tn_harness_in8 (h, 0x3ba);
  return value;
}

static void
compare_registers (Pair *p)
{
  TnHarness *a = rom_machine_harness (p->ours), *b = rom_machine_harness (p->theirs);
  uint16_t crtc = tn_harness_in8 (a, 0x3cc) & 1 ? 0x3d4 : 0x3b4;
  differ ("misc", 0, tn_harness_in8 (a, 0x3cc), tn_harness_in8 (b, 0x3cc));
  differ ("attribute index", 0, tn_harness_in8 (a, 0x3c0), tn_harness_in8 (b, 0x3c0));
  for (unsigned i = 0; i < 5; i++)
    differ ("sequencer", i, indexed (a, 0x3c4, i), indexed (b, 0x3c4, i));
  /* vgabios puts the cursor of text one line lower than IBM, and has no underline in mode 7. */
  for (unsigned i = 0; i < 25; i++)
    if (i != 0x0a && i != 0x0b && (i != 0x14 || crtc == 0x3d4) && i != 0x17)
      differ ("crtc", i, indexed (a, crtc, i), indexed (b, crtc, i));
  /* It also sets colour don't care where IBM does not, and leaves the plane selected that it read
     last: nothing uses either in those modes. */
  for (unsigned i = 0; i < 9; i++)
    if (i != 7 && i != 4)
      differ ("graphics", i, indexed (a, 0x3ce, i), indexed (b, 0x3ce, i));
  for (unsigned i = 0; i < 21; i++)
    differ ("attribute", i, attribute (a, i), attribute (b, i));
}

static void
compare_colors (Pair *p)
{
  TnHarness *a = rom_machine_harness (p->ours), *b = rom_machine_harness (p->theirs);
  differ ("mask", 0, tn_harness_in8 (a, 0x3c6), tn_harness_in8 (b, 0x3c6));
  tn_harness_out8 (a, 0x3c7, 0);
  tn_harness_out8 (b, 0x3c7, 0);
  for (unsigned i = 0; i < 768; i++)
    differ ("color", i, tn_harness_in8 (a, 0x3c9), tn_harness_in8 (b, 0x3c9));
}

/* Last, because the card is in another mode afterwards. */
static void
compare_memory (Pair *p, unsigned planes)
{
  TnHarness *h[2] = { rom_machine_harness (p->ours), rom_machine_harness (p->theirs) };
  for (unsigned i = 0; i < 2; i++)
    {
      tn_harness_out16 (h[i], 0x3c4, 0x0604);
      tn_harness_out16 (h[i], 0x3ce, 0x0005);
      tn_harness_out16 (h[i], 0x3ce, 0x0506);
    }
  for (unsigned plane = 0; plane < 4; plane++)
    {
      if (!(planes & 1 << plane))
        continue;
      tn_harness_out16 (h[0], 0x3ce, plane << 8 | 4);
      tn_harness_out16 (h[1], 0x3ce, plane << 8 | 4);
      for (unsigned i = 0, n = 0; i < 0x10000 && n < 10; i += 4)
        {
          uint32_t a = tn_harness_read (h[0], 0xa0000 + i, 4);
          uint32_t b = tn_harness_read (h[1], 0xa0000 + i, 4);
          if (a == b)
            continue;
          n++;
          g_test_message ("plane %u, %x: ours %08x, theirs %08x", plane, i, a, b);
          g_test_fail ();
        }
    }
}

static bool
is_text (unsigned mode)
{
  return mode < 4 || mode == 7;
}

static void
compare_chained (Pair *p)
{
  TnHarness *a = rom_machine_harness (p->ours), *b = rom_machine_harness (p->theirs);
  for (unsigned i = 0, n = 0; i < 0x10000 && n < 10; i++)
    {
      unsigned before = n;
      n += tn_harness_read (a, 0xa0000 + i, 1) != tn_harness_read (b, 0xa0000 + i, 1);
      if (n != before)
        differ ("memory", i, tn_harness_read (a, 0xa0000 + i, 1),
                tn_harness_read (b, 0xa0000 + i, 1));
    }
}

/* Planes that a mode uses; in text the shapes in plane 2 are each BIOS's own. */
static unsigned
planes_of (unsigned mode)
{
  return is_text (mode) || mode == 4 || mode == 5 ? 3 : mode == 6 ? 1 : 15;
}

static void
compare_all (Pair *p)
{
  unsigned mode = rom_machine_byte (p->ours, 0x449);
  compare_data (p);
  compare_registers (p);
  compare_colors (p);
  if (mode == 0x13)
    compare_chained (p);
  else
    compare_memory (p, planes_of (mode));
}

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
  return g_test_run ();
}
