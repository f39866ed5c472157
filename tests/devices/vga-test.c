/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VGA on the fake bus, behind a host bridge that routes A0000-BFFFF and C0000 to it. */
#include "hostile.h"
#include "roundtrip.h"

#include <glib/gstdio.h>
#include <unistd.h>

static TnHarness *
new_card (const char *name, const char *value)
{
  TnHarness *h = tn_harness_new (8 << 20);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "vga", "vga", name, value, NULL);
  tn_harness_start (h);
  return h;
}

static void
set (TnHarness *h, uint16_t port, uint8_t index, uint8_t value)
{
  tn_harness_out16 (h, port, index | value << 8);
}

static uint8_t
get (TnHarness *h, uint16_t port, uint8_t index)
{
  tn_harness_out8 (h, port, index);
  return tn_harness_in8 (h, port + 1);
}

/* The values of mode 3 (80 by 25, 16 colours, 400 lines), as far as timing and memory go. */
static void
text_mode (TnHarness *h)
{
  static const uint8_t crtc[25]
      = { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
          0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff };
  tn_harness_out8 (h, 0x3c2, 0x67);
  set (h, 0x3c4, 1, 0x00);
  set (h, 0x3c4, 2, 0x03);
  set (h, 0x3c4, 4, 0x02);
  set (h, 0x3d4, 0x11, 0x00);
  for (unsigned i = 0; i < 25; i++)
    set (h, 0x3d4, i, crtc[i]);
  set (h, 0x3ce, 5, 0x10);
  set (h, 0x3ce, 6, 0x0e);
  set (h, 0x3ce, 8, 0xff);
}

static void
planar_mode (TnHarness *h)
{
  tn_harness_out8 (h, 0x3c2, 0xe3);
  set (h, 0x3c4, 2, 0x0f);
  set (h, 0x3c4, 4, 0x06);
  set (h, 0x3ce, 0, 0);
  set (h, 0x3ce, 1, 0);
  set (h, 0x3ce, 3, 0);
  set (h, 0x3ce, 5, 0);
  set (h, 0x3ce, 6, 0x05);
  set (h, 0x3ce, 8, 0xff);
}

static uint8_t
plane (TnHarness *h, unsigned n, uint32_t address)
{
  set (h, 0x3ce, 4, n);
  return tn_harness_read (h, 0xa0000 + address, 1);
}

static void
test_registers (void)
{
  TnHarness *h = new_card (NULL, NULL);
  g_assert_cmphex (tn_harness_in8 (h, 0x3d4), ==, 0xff); /* monochrome after reset */
  g_assert_cmphex (tn_harness_in8 (h, 0x3b4), ==, 0x00);
  tn_harness_out8 (h, 0x3c2, 0x67);
  g_assert_cmphex (tn_harness_in8 (h, 0x3cc), ==, 0x67);
  g_assert_cmphex (tn_harness_in8 (h, 0x3b4), ==, 0xff);
  set (h, 0x3c4, 2, 0xff);
  g_assert_cmphex (get (h, 0x3c4, 2), ==, 0x0f);
  set (h, 0x3ce, 5, 0xff);
  g_assert_cmphex (get (h, 0x3ce, 5), ==, 0x7b);
  /* CRTC 0-7 are locked by bit 7 of 11h, all but the line compare bit. */
  set (h, 0x3d4, 0, 0x5f);
  set (h, 0x3d4, 0x11, 0x80);
  set (h, 0x3d4, 0, 0x11);
  g_assert_cmphex (get (h, 0x3d4, 0), ==, 0x5f);
  set (h, 0x3d4, 7, 0xff);
  g_assert_cmphex (get (h, 0x3d4, 7), ==, 0x10);
  tn_harness_free (h);
}

static void
test_attributes (void)
{
  TnHarness *h = new_card (NULL, NULL);
  tn_harness_out8 (h, 0x3c2, 0x67);
  tn_harness_in8 (h, 0x3da);
  tn_harness_out8 (h, 0x3c0, 0x03);
  tn_harness_out8 (h, 0x3c0, 0xff);
  tn_harness_out8 (h, 0x3c0, 0x03);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c1), ==, 0x3f);
  tn_harness_in8 (h, 0x3da); /* the next write is an index again */
  tn_harness_out8 (h, 0x3c0, 0x23);
  tn_harness_out8 (h, 0x3c0, 0x01); /* this card's palette is open while the screen is on */
  g_assert_cmphex (tn_harness_in8 (h, 0x3c1), ==, 0x01);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c0), ==, 0x23);
  tn_harness_reset (h); /* stays so */
  tn_harness_out8 (h, 0x3c2, 0x67);
  tn_harness_in8 (h, 0x3da);
  tn_harness_out8 (h, 0x3c0, 0x24);
  tn_harness_out8 (h, 0x3c0, 0x12);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c1), ==, 0x12);
  tn_harness_free (h);
}

static void
test_dac (void)
{
  TnHarness *h = new_card (NULL, NULL);
  tn_harness_out8 (h, 0x3c8, 254);
  for (unsigned i = 0; i < 9; i++)
    tn_harness_out8 (h, 0x3c9, 0xc0 + i);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c7), ==, 0);
  tn_harness_out8 (h, 0x3c7, 255);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c7), ==, 3);
  for (unsigned i = 3; i < 9; i++)
    g_assert_cmphex (tn_harness_in8 (h, 0x3c9), ==, i);
  tn_harness_free (h);
}

static void
test_text_memory (void)
{
  TnHarness *h = new_card (NULL, NULL);
  text_mode (h);
  tn_harness_write (h, 0xb8000, 0x07410742, 4);
  g_assert_cmphex (tn_harness_read (h, 0xb8000, 4), ==, 0x07410742);
  g_assert_cmphex (tn_harness_read (h, 0xa0000, 1), ==, 0xff);
  g_assert_cmphex (tn_harness_read (h, 0xb0000, 1), ==, 0xff);
  set (h, 0x3ce, 6, 0x0a);
  g_assert_cmphex (tn_harness_read (h, 0xb0000, 2), ==, 0x0742);
  planar_mode (h);
  g_assert_cmphex (plane (h, 0, 0), ==, 0x42); /* characters and attributes lie at even addresses */
  g_assert_cmphex (plane (h, 1, 0), ==, 0x07);
  g_assert_cmphex (plane (h, 0, 2), ==, 0x41);
  g_assert_cmphex (plane (h, 0, 1), ==, 0x00);
  tn_harness_free (h);
}

static void
test_write_modes (void)
{
  TnHarness *h = new_card (NULL, NULL);
  planar_mode (h);
  /* Mode 0 with rotate, set/reset and map mask. */
  set (h, 0x3ce, 0, 0x05);
  set (h, 0x3ce, 1, 0x0c);
  set (h, 0x3ce, 3, 0x04);
  set (h, 0x3c4, 2, 0x0e);
  tn_harness_write (h, 0xa0010, 0x12, 1);
  g_assert_cmphex (plane (h, 0, 0x10), ==, 0x00); /* masked */
  g_assert_cmphex (plane (h, 1, 0x10), ==, 0x21);
  g_assert_cmphex (plane (h, 2, 0x10), ==, 0xff);
  g_assert_cmphex (plane (h, 3, 0x10), ==, 0x00);
  /* Mode 1 copies the latches. */
  set (h, 0x3c4, 2, 0x0f);
  set (h, 0x3ce, 5, 0x01);
  tn_harness_write (h, 0xa0020, 0x55, 1);
  g_assert_cmphex (plane (h, 1, 0x20), ==, 0x21);
  g_assert_cmphex (plane (h, 2, 0x20), ==, 0xff);
  /* Mode 2: a colour, through the bit mask, XORed with the latches. */
  set (h, 0x3ce, 5, 0x02);
  set (h, 0x3ce, 3, 0x18);
  set (h, 0x3ce, 8, 0x0f);
  tn_harness_read (h, 0xa0020, 1);
  tn_harness_write (h, 0xa0020, 0x06, 1);
  g_assert_cmphex (plane (h, 0, 0x20), ==, 0x00);
  g_assert_cmphex (plane (h, 1, 0x20), ==, 0x2e);
  g_assert_cmphex (plane (h, 2, 0x20), ==, 0xf0);
  /* Mode 3: set/reset through the processor's byte and the bit mask. */
  set (h, 0x3ce, 5, 0x03);
  set (h, 0x3ce, 3, 0x00);
  set (h, 0x3ce, 0, 0x01);
  tn_harness_read (h, 0xa0020, 1);
  tn_harness_write (h, 0xa0020, 0x3c, 1);
  g_assert_cmphex (plane (h, 0, 0x20), ==, 0x0c);
  g_assert_cmphex (plane (h, 1, 0x20), ==, 0x22);
  tn_harness_free (h);
}

static void
test_read_mode_1 (void)
{
  TnHarness *h = new_card (NULL, NULL);
  planar_mode (h);
  set (h, 0x3ce, 5, 0x02);
  set (h, 0x3ce, 8, 0xf0);
  tn_harness_write (h, 0xa0000, 0x05, 1);
  set (h, 0x3ce, 5, 0x0a);
  set (h, 0x3ce, 2, 0x05);
  set (h, 0x3ce, 7, 0x0f);
  g_assert_cmphex (tn_harness_read (h, 0xa0000, 1), ==, 0xf0);
  set (h, 0x3ce, 7, 0x02); /* only plane 1 counts, and it is 0 everywhere */
  g_assert_cmphex (tn_harness_read (h, 0xa0000, 1), ==, 0xff);
  tn_harness_free (h);
}

static void
test_chain4 (void)
{
  TnHarness *h = new_card (NULL, NULL);
  planar_mode (h);
  set (h, 0x3c4, 4, 0x0e);
  tn_harness_write (h, 0xa0004, 0x44332211, 4);
  g_assert_cmphex (tn_harness_read (h, 0xa0004, 4), ==, 0x44332211);
  set (h, 0x3c4, 4, 0x06);
  g_assert_cmphex (plane (h, 0, 4), ==, 0x11);
  g_assert_cmphex (plane (h, 3, 4), ==, 0x44);
  tn_harness_free (h);
}

/* 449 lines of 900 dots at 28.322 MHz: 70 frames a second, two of 449 lines in retrace. */
static void
test_retrace (void)
{
  TnHarness *h = new_card (NULL, NULL);
  unsigned retrace = 0, blank = 0, frames = 0, last = 0;
  text_mode (h);
  g_assert_cmphex (tn_harness_in8 (h, 0x3ba), ==, 0xff);
  for (unsigned i = 0; i < 50000; i++)
    {
      uint8_t status = tn_harness_in8 (h, 0x3da);
      retrace += !!(status & 8);
      blank += status & 1;
      frames += (status & 8) && !last;
      last = status & 8;
      tn_harness_clock_step (h, 20 * TN_NS_PER_US);
    }
  g_assert_cmpuint (frames, >=, 69);
  g_assert_cmpuint (frames, <=, 71);
  g_assert_cmpuint (retrace, >=, 200);
  g_assert_cmpuint (retrace, <=, 245);
  g_assert_cmpuint (blank, >=, 13800); /* 1 - 400 / 449 * 720 / 900 of all */
  g_assert_cmpuint (blank, <=, 14900);
  tn_harness_free (h);
}

/* A guest that polls, on a host that does not let it: no retrace is lost, none is seen twice. */
static void
test_retrace_stalls (void)
{
  TnHarness *h = new_card (NULL, NULL);
  text_mode (h);
  for (unsigned us = 20; us <= 2500; us += 31)
    {
      unsigned frames = 0, last = 8;
      for (unsigned t = 0; t < 1000000; t += us)
        {
          unsigned now = tn_harness_in8 (h, 0x3da) & 8;
          frames += now && !last;
          last = now;
          tn_harness_clock_step (h, us * TN_NS_PER_US);
        }
      g_assert_cmpuint (frames, >=, 69);
      g_assert_cmpuint (frames, <=, 71);
    }
  /* Who looks once in a while sees what is, the second time as the first. */
  for (unsigned i = 0; i < 100; i++)
    {
      tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
      unsigned now = tn_harness_in8 (h, 0x3da) & 8;
      g_assert_cmphex (tn_harness_in8 (h, 0x3da) & 8, ==, now);
    }
  tn_harness_free (h);
}

static void
write_rom (const char *name, uint8_t first)
{
  g_autofree char *rom = g_malloc0 (2048);
  rom[0] = first;
  rom[1] = (char) 0xaa;
  rom[2] = 4;
  g_assert_true (g_file_set_contents (name, rom, 2048, NULL));
}

static void
test_bios (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vga-XXXXXX", NULL);
  g_autofree char *name = g_build_filename (dir, "rom", NULL);
  g_autoptr (GError) error = NULL;
  TnHarness *h;
  write_rom (name, 0x55);
  h = new_card ("rom", name);
  g_assert_cmphex (tn_harness_read (h, 0xc0000, 4), ==, 0x0004aa55);
  g_assert_cmphex (tn_harness_read (h, 0xc0800, 1), ==, 0xff);
  tn_harness_write (h, 0xc0000, 0, 4);
  g_assert_cmphex (tn_harness_read (h, 0xc0000, 4), ==, 0x0004aa55);
  roundtrip (h, "vga");
  tn_harness_free (h);

  write_rom (name, 0x12);
  h = tn_harness_new (1 << 20);
  tn_harness_add (h, "vga", "vga", "rom", name, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, "55 AA"));
  tn_harness_free (h);
  unlink (name);
  rmdir (dir);
}

static void
test_screen_file (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vga-XXXXXX", NULL);
  g_autofree char *name = g_build_filename (dir, "screen", NULL);
  g_autofree char *text = NULL;
  TnHarness *h = new_card ("screen-file", name);
  text_mode (h);
  for (unsigned i = 0; i < 2000; i++)
    tn_harness_write (h, 0xb8000 + 2 * i, 0x0720, 2);
  tn_harness_write (h, 0xb8000, 0x07, 1);
  tn_harness_write (h, 0xb8000 + 160, 'H', 1);
  tn_harness_write (h, 0xb8002 + 160, 'i', 1);
  tn_harness_write (h, 0xb8004 + 160, 0x81, 1);
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_true (g_file_get_contents (name, &text, NULL, NULL));
  g_assert_true (g_str_has_prefix (text, "•\nHiü\n\n"));
  g_assert_cmpuint (strlen (text), ==, 4 + 5 + 23);
  tn_harness_free (h);
  unlink (name);
  rmdir (dir);
}

static void
fuzz_step (TnHarness *h, GRand *rand)
{
  uint32_t value = g_rand_int (rand), address = 0xa0000 + (g_rand_int (rand) & 0x1fffc);
  switch (g_rand_int_range (rand, 0, 6))
    {
    case 0: tn_harness_write (h, address, value, 4); break;
    case 1: tn_harness_read (h, address, 4); break;
    case 2: tn_harness_in16 (h, 0x3b0 + (value & 0x2f)); break;
    case 3: tn_harness_clock_step (h, value & 0xfffff); break;
    default: tn_harness_out16 (h, 0x3b0 + (value & 0x2f), value >> 8);
    }
}

static void
test_fuzz (void)
{
  g_autofree char *dir = g_dir_make_tmp ("vga-XXXXXX", NULL);
  g_autofree char *name = g_build_filename (dir, "screen", NULL);
  TnHarness *h = new_card ("screen-file", name);
  GRand *rand = g_rand_new_with_seed (256);
  for (unsigned i = 0; i < 60000; i++)
    {
      fuzz_step (h, rand);
      if (i % 50 == 0)
        tn_harness_screen (h, "vga");
      if (i % 6000 == 0)
        roundtrip (h, "vga");
    }
  for (unsigned i = 0; i < 300; i++)
    {
      fuzz_step (h, rand);
      load_tampered (h, rand);
      if (i % 10 == 0)
        tn_harness_clock_step (h, TN_NS_PER_S);
    }
  g_rand_free (rand);
  tn_harness_free (h);
  unlink (name);
  rmdir (dir);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!g_file_test ("/usr/share/vgabios/vgabios.bin", G_FILE_TEST_EXISTS))
    return 77;
  g_test_add_func ("/vga/registers", test_registers);
  g_test_add_func ("/vga/attributes", test_attributes);
  g_test_add_func ("/vga/dac", test_dac);
  g_test_add_func ("/vga/text-memory", test_text_memory);
  g_test_add_func ("/vga/write-modes", test_write_modes);
  g_test_add_func ("/vga/read-mode-1", test_read_mode_1);
  g_test_add_func ("/vga/chain4", test_chain4);
  g_test_add_func ("/vga/retrace", test_retrace);
  g_test_add_func ("/vga/retrace-stalls", test_retrace_stalls);
  g_test_add_func ("/vga/bios", test_bios);
  g_test_add_func ("/vga/screen-file", test_screen_file);
  g_test_add_func ("/vga/fuzz", test_fuzz);
  return g_test_run ();
}
