/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a VGA shows in its standard modes: pixels worked out by hand from the data sheet. */
#include "roundtrip.h"
#include "vga-screen.h"

static TnHarness *
new_card (const ScreenMode *mode)
{
  TnHarness *h = tn_harness_new (8 << 20);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "vga", "vga", "bios", "false", NULL);
  tn_harness_start (h);
  screen_mode (h, mode);
  return h;
}

static void
assert_size (const TnScreen *screen, uint32_t width, uint32_t height)
{
  g_assert_cmpuint (screen->width, ==, width);
  g_assert_cmpuint (screen->height, ==, height);
}

static void
assert_color (const TnScreen *screen, uint32_t x, uint32_t y, unsigned color)
{
  g_assert_cmphex (screen_pixel (screen, x, y), ==, screen_color (color));
}

/* Glyph of character c, line n: c ^ n; written as the BIOS writes fonts, into plane 2. */
static void
load_font (TnHarness *h, uint32_t at)
{
  screen_set (h, 0x3c4, 2, 0x04);
  screen_set (h, 0x3c4, 4, 0x06);
  screen_set (h, 0x3ce, 5, 0x00);
  screen_set (h, 0x3ce, 6, 0x05);
  for (unsigned c = 0; c < 256; c++)
    for (unsigned n = 0; n < 16; n++)
      tn_harness_write (h, 0xa0000 + at + 32 * c + n, c ^ n, 1);
  screen_set (h, 0x3c4, 2, 0x03);
  screen_set (h, 0x3c4, 4, 0x02);
  screen_set (h, 0x3ce, 5, 0x10);
  screen_set (h, 0x3ce, 6, 0x0e);
}

static void
test_no_signal (void)
{
  TnHarness *h = tn_harness_new (8 << 20);
  tn_harness_add (h, "vga", "vga", "bios", "false", NULL);
  tn_harness_start (h);
  assert_size (tn_harness_screen (h, "vga"), 0, 0);
  tn_harness_free (h);
}

static void
test_text (void)
{
  TnHarness *h = new_card (&screen_text80);
  const TnScreen *screen;
  load_font (h, 0);
  screen_set (h, 0x3d4, 0x0a, 0x20);              /* no cursor */
  tn_harness_write (h, 0xb8000, 0x1e41, 2);       /* A: 41h, yellow on blue */
  tn_harness_write (h, 0xb8002, 0x2fc5, 2);       /* C5h: the ninth dot repeats the eighth */
  tn_harness_write (h, 0xb8000 + 160, 0x07a5, 2); /* second row: none there */
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 720, 400);
  g_assert_cmpuint (screen->columns, ==, 80);
  g_assert_cmpuint (screen->rows, ==, 25);
  g_assert_cmpuint (screen->cells[0].character, ==, 'A');
  g_assert_cmphex (screen->cells[0].foreground, ==, screen_color (14));
  g_assert_cmphex (screen->cells[0].background, ==, screen_color (1));
  for (unsigned y = 0; y < 16; y++)
    for (unsigned x = 0; x < 9; x++)
      {
        bool first = x < 8 && (0x41 ^ y) >> (7 - x) & 1;
        bool second = (0xc5 ^ y) >> (x < 8 ? 7 - x : 0) & 1;
        bool third = x < 8 && (0xa5 ^ y) >> (7 - x) & 1;
        assert_color (screen, x, y, first ? 14 : 1);
        assert_color (screen, 9 + x, y, second ? 15 : 2);
        assert_color (screen, x, 16 + y, third ? 7 : 0);
      }
  tn_harness_free (h);
}

/* Blinking characters go and come twice as slowly as the cursor: 16 and 8 frames of 14.27 ms. */
static void
test_blink (void)
{
  TnHarness *h = new_card (&screen_text80);
  unsigned cursor = 0, character = 0, last_cursor = 0, last_character = 0;
  load_font (h, 0);
  tn_harness_write (h, 0xb8000, 0x07ff, 2);
  tn_harness_write (h, 0xb8002, 0x87ff, 2);
  screen_set (h, 0x3d4, 0x0a, 0x0d);
  screen_set (h, 0x3d4, 0x0b, 0x0e);
  screen_set (h, 0x3d4, 0x0f, 2);
  tn_harness_write (h, 0xb8004, 0x0400, 2);
  for (unsigned i = 0; i < 1000; i++)
    {
      const TnScreen *screen = tn_harness_screen (h, "vga");
      unsigned on = screen_pixel (screen, 18, 13) == screen_color (4);
      unsigned lit = screen_pixel (screen, 9, 0) == screen_color (7);
      assert_color (screen, 18, 12, 0 ^ 12 ? (12 >> 7 & 1 ? 4 : 0) : 0);
      assert_color (screen, 0, 0, 7);
      g_assert_cmpint (screen->cursor, ==, 2);
      cursor += on != last_cursor;
      character += lit != last_character;
      last_cursor = on;
      last_character = lit;
      tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
    }
  g_assert_cmpuint (cursor, >=, 86); /* 10 s / 8 frames of 1/70.09 s */
  g_assert_cmpuint (cursor, <=, 90);
  g_assert_cmpuint (character, >=, 42);
  g_assert_cmpuint (character, <=, 46);
  tn_harness_free (h);
}

static void
test_underline_and_fonts (void)
{
  TnHarness *h = new_card (&screen_text80);
  const TnScreen *screen;
  load_font (h, 0x4000);
  screen_set (h, 0x3d4, 0x0a, 0x20);
  screen_set (h, 0x3c4, 3, 0x04); /* bit 3 of the attribute: font at 16K */
  screen_attribute (h, 0x10, 0x0e);
  screen_set (h, 0x3d4, 0x14, 0x0c);
  tn_harness_write (h, 0xb8000, 0x0155, 2);
  tn_harness_write (h, 0xb8002, 0x0955, 2);
  screen = tn_harness_screen (h, "vga");
  assert_color (screen, 0, 11, 0); /* empty glyph of the other font */
  assert_color (screen, 0, 12, 1);
  assert_color (screen, 8, 12, 1);
  assert_color (screen, 9 + 1, 0, 9);
  assert_color (screen, 9 + 0, 0, 0);
  assert_color (screen, 9 + 0, 12, 9);
  tn_harness_free (h);
}

static void
test_planar (void)
{
  TnHarness *h = new_card (&screen_planar);
  const TnScreen *screen;
  for (unsigned plane = 0; plane < 4; plane++)
    {
      screen_set (h, 0x3c4, 2, 1 << plane);
      tn_harness_write (h, 0xa0000 + 80 * 479 + 79, 0x0f << plane, 1);
    }
  screen_attribute (h, 5, 0x3b);
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 640, 480);
  g_assert_cmpuint (screen->columns, ==, 0);
  for (unsigned x = 0; x < 8; x++)
    {
      unsigned color = 0;
      for (unsigned plane = 0; plane < 4; plane++)
        color |= (0x0f << plane >> (7 - x) & 1) << plane;
      assert_color (screen, 632 + x, 479, color == 5 ? 0x3b : color);
    }
  screen_attribute (h, 0x12, 0x07); /* plane 3 is not shown */
  assert_color (tn_harness_screen (h, "vga"), 635, 479, 6);
  tn_harness_free (h);
}

static void
test_256 (void)
{
  TnHarness *h = new_card (&screen_256);
  const TnScreen *screen;
  for (unsigned i = 0; i < 64000; i++)
    tn_harness_write (h, 0xa0000 + i, (i ^ i / 320) & 0xff, 1);
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 320, 200);
  g_assert_cmpuint (screen->aspect_x * 3, ==, screen->aspect_y * 4);
  for (unsigned i = 0; i < 64000; i++)
    assert_color (screen, i % 320, i / 320, (i ^ i / 320) & 0xff);
  tn_harness_out8 (h, 0x3c6, 0x0f);
  assert_color (tn_harness_screen (h, "vga"), 255, 0, 0x0f);
  screen_attribute (h, 0x13, 4); /* two pixels to the left */
  assert_color (tn_harness_screen (h, "vga"), 0, 0, 2);
  tn_harness_free (h);
}

static void
test_x (void)
{
  TnHarness *h = new_card (&screen_x);
  const TnScreen *screen;
  for (unsigned plane = 0; plane < 4; plane++)
    {
      screen_set (h, 0x3c4, 2, 1 << plane);
      for (unsigned i = 0; i < 80 * 400; i++)
        tn_harness_write (h, 0xa0000 + i, (4 * i + plane) * 7 % 251, 1);
    }
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 320, 240);
  for (unsigned i = 0; i < 320 * 240; i++)
    assert_color (screen, i % 320, i / 320, i * 7 % 251);
  screen_set (h, 0x3d4, 0x0c, 0x25);
  screen_set (h, 0x3d4, 0x0d, 0x01);
  assert_color (tn_harness_screen (h, "vga"), 3, 1, (4 * (0x2501 + 80) + 3) * 7 % 251);
  tn_harness_free (h);
}

/* Below line 199 (of 480) the picture begins at address 0 again; above it is panned. */
static void
test_split (void)
{
  TnHarness *h = new_card (&screen_planar);
  const TnScreen *screen;
  screen_set (h, 0x3c4, 2, 0x0f);
  screen_set (h, 0x3ce, 5, 0x02);
  tn_harness_write (h, 0xa0000, 0x05, 1);
  tn_harness_write (h, 0xa0000 + 0x2000, 0x06, 1);
  tn_harness_write (h, 0xa0001 + 0x2000, 0x03, 1);
  screen_set (h, 0x3d4, 0x0c, 0x20);
  screen_set (h, 0x3d4, 0x18, 199);
  screen_set (h, 0x3d4, 0x07, 0x2e);
  screen_set (h, 0x3d4, 0x09, 0x00);
  screen_attribute (h, 0x13, 3);
  screen = tn_harness_screen (h, "vga");
  assert_color (screen, 4, 0, 6);
  assert_color (screen, 5, 0, 3);
  assert_color (screen, 4, 200, 5); /* panned, too */
  assert_color (screen, 5, 200, 0);
  assert_color (screen, 0, 199, 0);
  screen_attribute (h, 0x10, 0x21);
  screen = tn_harness_screen (h, "vga");
  assert_color (screen, 4, 0, 6);
  assert_color (screen, 7, 200, 5); /* no panning below the split */
  assert_color (screen, 8, 200, 0);
  tn_harness_free (h);
}

static void
test_cga (void)
{
  TnHarness *h = new_card (&screen_cga4);
  const TnScreen *screen;
  tn_harness_write (h, 0xb8000, 0x1b, 1);          /* 0 1 2 3 */
  tn_harness_write (h, 0xb8000 + 0x2000, 0xe4, 1); /* line 1: 3 2 1 0 */
  tn_harness_write (h, 0xb8001 + 80, 0x1b, 1);     /* line 2, second byte */
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 320, 200);
  for (unsigned x = 0; x < 4; x++)
    {
      assert_color (screen, x, 0, x);
      assert_color (screen, x, 1, 3 - x);
      assert_color (screen, 4 + x, 2, x);
    }
  tn_harness_free (h);

  h = new_card (&screen_cga2);
  tn_harness_write (h, 0xb8000 + 0x2000 + 79, 0x01, 1);
  screen = tn_harness_screen (h, "vga");
  assert_size (screen, 640, 200);
  assert_color (screen, 639, 1, 1);
  assert_color (screen, 638, 1, 0);
  tn_harness_free (h);
}

static void
test_off (void)
{
  TnHarness *h = new_card (&screen_256);
  tn_harness_write (h, 0xa0000, 0x11, 1);
  assert_color (tn_harness_screen (h, "vga"), 0, 0, 0x11);
  screen_set (h, 0x3c4, 1, 0x21);
  g_assert_cmphex (screen_pixel (tn_harness_screen (h, "vga"), 0, 0), ==, 0);
  screen_set (h, 0x3c4, 1, 0x01);
  assert_color (tn_harness_screen (h, "vga"), 0, 0, 0x11);
  tn_harness_in8 (h, 0x3da);
  tn_harness_out8 (h, 0x3c0, 0x00); /* the processor has the palette */
  g_assert_cmphex (screen_pixel (tn_harness_screen (h, "vga"), 0, 0), ==, 0);
  tn_harness_free (h);
}

/* The picture outlives a swap, and a load brings back the one that was saved. */
static void
test_state (void)
{
  TnHarness *h = new_card (&screen_256);
  g_autoptr (GBytes) state = NULL;
  g_autofree char *before = NULL, *after = NULL, *loaded = NULL;
  for (unsigned i = 0; i < 64000; i++)
    tn_harness_write (h, 0xa0000 + i, i * 31 >> 3 & 0xff, 1);
  before = screen_hash (tn_harness_screen (h, "vga"));
  state = tn_harness_save (h);
  g_assert_true (tn_harness_swap (h, "vga", NULL, NULL));
  after = screen_hash (tn_harness_screen (h, "vga"));
  g_assert_cmpstr (before, ==, after);
  screen_mode (h, &screen_text80);
  assert_size (tn_harness_screen (h, "vga"), 720, 400);
  g_assert_true (tn_harness_load (h, state, NULL));
  loaded = screen_hash (tn_harness_screen (h, "vga"));
  g_assert_cmpstr (before, ==, loaded);
  roundtrip (h, "vga");
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/vga-screen/no-signal", test_no_signal);
  g_test_add_func ("/vga-screen/text", test_text);
  g_test_add_func ("/vga-screen/blink", test_blink);
  g_test_add_func ("/vga-screen/underline-and-fonts", test_underline_and_fonts);
  g_test_add_func ("/vga-screen/planar", test_planar);
  g_test_add_func ("/vga-screen/256", test_256);
  g_test_add_func ("/vga-screen/x", test_x);
  g_test_add_func ("/vga-screen/split", test_split);
  g_test_add_func ("/vga-screen/cga", test_cga);
  g_test_add_func ("/vga-screen/off", test_off);
  g_test_add_func ("/vga-screen/state", test_state);
  return g_test_run ();
}
