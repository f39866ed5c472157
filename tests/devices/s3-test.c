/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* S3 Trio64V+ on the fake bus. */
#include "hostile.h"
#include "roundtrip.h"
#include "vga-screen.h"

#include <string.h>

enum { DEVFN = 9 << 3, BASE = 0xe0000000, MMIO = BASE + 0x1000000, VRAM = 4 << 20 };

static void
crtc (TnHarness *h, uint8_t index, uint8_t value)
{
  screen_set (h, 0x3d4, index, value);
}

static uint8_t
get_crtc (TnHarness *h, uint8_t index)
{
  tn_harness_out8 (h, 0x3d4, index);
  return tn_harness_in8 (h, 0x3d5);
}

static void
unlock (TnHarness *h)
{
  tn_harness_out8 (h, 0x3c2, 0x67);
  crtc (h, 0x38, 0x48);
  crtc (h, 0x39, 0xa5);
  screen_set (h, 0x3c4, 8, 0x06);
}

static TnHarness *
new_card (const char *name, const char *value)
{
  TnHarness *h = tn_harness_new (8 << 20);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "vga", "s3", name, value, NULL);
  tn_harness_start (h);
  tn_harness_pci_write (h, 0, DEVFN, 0x10, BASE, 4);
  tn_harness_pci_write (h, 0, DEVFN, 4, 3, 2);
  unlock (h);
  crtc (h, 0x58, 0x13);
  crtc (h, 0x53, 0x08);
  crtc (h, 0x40, 0x01);
  return h;
}

/* A picture of width by height in an enhanced mode, with `pixels` for register 67h. */
static void
enhanced (TnHarness *h, uint32_t width, uint32_t height, uint8_t pixels, uint32_t bytes)
{
  uint32_t across = width / 8 * (pixels == 0x30 || pixels == 0x50 ? 2 : 1) - 1;
  uint32_t pitch = width * bytes / 8;
  screen_mode (h, &screen_256);
  unlock (h);
  crtc (h, 0x11, 0x00);
  crtc (h, 0x00, across + 20);
  crtc (h, 0x01, across);
  crtc (h, 0x5d, (across + 20) >> 8 | (across >> 8) << 1);
  crtc (h, 0x06, height + 30);
  crtc (h, 0x12, height - 1);
  crtc (h, 0x07,
        ((height + 30) >> 8 & 1) | ((height - 1) >> 8 & 1) << 1 | ((height + 30) >> 9 & 1) << 5
            | ((height - 1) >> 9 & 1) << 6);
  crtc (h, 0x09, 0x40);
  crtc (h, 0x13, pitch);
  crtc (h, 0x51, (pitch >> 8) << 4);
  crtc (h, 0x3a, 0x15);
  crtc (h, 0x31, 0x09);
  crtc (h, 0x32, 0x00);
  crtc (h, 0x67, pixels);
}

static void
test_identity (void)
{
  TnHarness *h = new_card (NULL, NULL);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0, 4), ==, 0x88115333);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 8, 4), ==, 0x03000040);
  tn_harness_pci_write (h, 0, DEVFN, 0x10, 0xffffffff, 4);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0x10, 4), ==, 0xfc000000);
  g_assert_cmphex (get_crtc (h, 0x2d), ==, 0x88);
  g_assert_cmphex (get_crtc (h, 0x2e), ==, 0x11);
  g_assert_cmphex (get_crtc (h, 0x2f), ==, 0x40);
  g_assert_cmphex (get_crtc (h, 0x30), ==, 0xe1);
  g_assert_cmphex (get_crtc (h, 0x36), ==, 0x0e); /* 4 MiB */
  tn_harness_free (h);
  h = new_card ("memory", "1");
  g_assert_cmphex (get_crtc (h, 0x36) >> 5, ==, 6);
  tn_harness_free (h);
  h = new_card ("memory", "2");
  g_assert_cmphex (get_crtc (h, 0x36) >> 5, ==, 4);
  tn_harness_free (h);
}

static void
test_locks (void)
{
  TnHarness *h = new_card (NULL, NULL);
  /* The palette, while the screen is on. */
  tn_harness_out8 (h, 0x3c2, 0x67);
  tn_harness_in8 (h, 0x3da);
  tn_harness_out8 (h, 0x3c0, 0x03);
  tn_harness_out8 (h, 0x3c0, 0x15);
  tn_harness_out8 (h, 0x3c0, 0x23);
  tn_harness_out8 (h, 0x3c0, 0x01);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c1), ==, 0x15);
  crtc (h, 0x38, 0x00);
  crtc (h, 0x39, 0x00);
  crtc (h, 0x35, 0x03);
  crtc (h, 0x54, 0x55);
  g_assert_cmphex (get_crtc (h, 0x35), ==, 0x00);
  g_assert_cmphex (get_crtc (h, 0x54), ==, 0x00);
  crtc (h, 0x38, 0x48);
  crtc (h, 0x35, 0x03);
  g_assert_cmphex (get_crtc (h, 0x35), ==, 0x03);
  crtc (h, 0x36, 0xff);
  g_assert_cmphex (get_crtc (h, 0x36), ==, 0x0e);
  crtc (h, 0x39, 0xa5);
  crtc (h, 0x54, 0x55);
  g_assert_cmphex (get_crtc (h, 0x54), ==, 0x55);
  screen_set (h, 0x3c4, 8, 0x00);
  tn_harness_out8 (h, 0x3c4, 0x12);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c5), ==, 0xff);
  screen_set (h, 0x3c4, 8, 0x06);
  screen_set (h, 0x3c4, 0x12, 0x2a);
  g_assert_cmphex (tn_harness_in8 (h, 0x3c5), ==, 0x2a);
  tn_harness_free (h);
}

/* The same bytes through the linear window and through banks, and the base from either side. */
static void
test_windows (void)
{
  TnHarness *h = new_card (NULL, NULL);
  screen_mode (h, &screen_256);
  unlock (h);
  crtc (h, 0x31, 0x09);
  tn_harness_write (h, BASE + 0x123456, 0x87654321, 4);
  crtc (h, 0x6a, 0x12);
  g_assert_cmphex (tn_harness_read (h, 0xa3456, 4), ==, 0x87654321);
  tn_harness_write (h, 0xa3458, 0xbeef, 2);
  g_assert_cmphex (tn_harness_read (h, BASE + 0x123456, 4), ==, 0xbeef4321);
  crtc (h, 0x6a, 0x00);
  crtc (h, 0x35, 0x02); /* the old way */
  crtc (h, 0x51, 0x04);
  g_assert_cmphex (tn_harness_read (h, 0xa3456, 4), ==, 0xbeef4321);
  crtc (h, 0x59, 0xd0);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0x10, 4), ==, 0xd0000000);
  g_assert_cmphex (tn_harness_read (h, 0xd0123456, 4), ==, 0xbeef4321);
  g_assert_cmphex (tn_harness_read (h, BASE + 0x123456, 4), ==, 0xffffffff);
  crtc (h, 0x58, 0x03);
  g_assert_cmphex (tn_harness_read (h, 0xd0123456, 4), ==, 0xffffffff);
  tn_harness_out16 (h, 0x4ae8, 0x0011); /* the engine's own switch */
  g_assert_cmphex (tn_harness_read (h, 0xd0123456, 4), ==, 0xbeef4321);
  tn_harness_pci_write (h, 0, DEVFN, 4, 1, 2);
  g_assert_cmphex (tn_harness_read (h, 0xd0123456, 4), ==, 0xffffffff);
  tn_harness_free (h);
}

static void
test_clock (void)
{
  TnHarness *h = new_card (NULL, NULL);
  unsigned frames = 0, last = 0;
  /* 14.31818 MHz * (104 + 2) / ((5 + 2) * 2^2) = 54.2 MHz: at 900 by 449 dots 134 frames a second
   */
  screen_mode (h, &screen_text80);
  unlock (h);
  screen_set (h, 0x3c4, 0x12, 2 << 5 | 5);
  screen_set (h, 0x3c4, 0x13, 104);
  screen_set (h, 0x3c4, 0x15, 0x00);
  screen_set (h, 0x3c4, 0x15, 0x20);
  screen_set (h, 0x3c4, 0x15, 0x00);
  tn_harness_out8 (h, 0x3c2, 0x6f);
  for (unsigned i = 0; i < 100000; i++)
    {
      unsigned now = tn_harness_in8 (h, 0x3da) & 8;
      frames += now && !last;
      last = now;
      tn_harness_clock_step (h, 10 * TN_NS_PER_US);
    }
  g_assert_cmpuint (frames, >=, 133);
  g_assert_cmpuint (frames, <=, 135);
  tn_harness_free (h);
}

/* ---- DDC, as a driver drives it ---- */

static void
i2c (TnHarness *h, unsigned scl, unsigned sda)
{
  tn_harness_write (h, MMIO + 0xff20, 0x10 | sda << 1 | scl, 1);
}

static unsigned
i2c_bit (TnHarness *h, unsigned sda)
{
  unsigned value;
  i2c (h, 0, sda);
  i2c (h, 1, sda);
  value = tn_harness_read (h, MMIO + 0xff20, 1) >> 3 & 1;
  i2c (h, 0, sda);
  return value;
}

static unsigned
i2c_write (TnHarness *h, uint8_t byte)
{
  for (int i = 7; i >= 0; i--)
    i2c_bit (h, byte >> i & 1);
  return i2c_bit (h, 1);
}

static uint8_t
i2c_read (TnHarness *h, unsigned last)
{
  uint8_t byte = 0;
  for (int i = 7; i >= 0; i--)
    byte |= i2c_bit (h, 1) << i;
  i2c_bit (h, last);
  return byte;
}

static void
i2c_start (TnHarness *h)
{
  i2c (h, 0, 1);
  i2c (h, 1, 1);
  i2c (h, 1, 0);
  i2c (h, 0, 0);
}

static void
test_ddc (void)
{
  TnHarness *h = new_card (NULL, NULL);
  uint8_t edid[128], sum = 0;
  i2c_start (h);
  g_assert_cmpuint (i2c_write (h, 0xa2), ==, 1); /* nobody at 51h */
  i2c_start (h);
  g_assert_cmpuint (i2c_write (h, 0xa0), ==, 0);
  g_assert_cmpuint (i2c_write (h, 0x00), ==, 0);
  i2c_start (h);
  g_assert_cmpuint (i2c_write (h, 0xa1), ==, 0);
  for (unsigned i = 0; i < 128; i++)
    sum += edid[i] = i2c_read (h, i == 127);
  g_assert_cmpuint (sum, ==, 0);
  g_assert_cmphex (edid[0], ==, 0x00);
  g_assert_cmphex (edid[1], ==, 0xff);
  g_assert_cmphex (edid[18], ==, 1);
  g_assert_cmpuint ((edid[54] | edid[55] << 8), ==, 6500);
  tn_harness_free (h);
}

/* ---- Pictures ---- */

static void
test_depths (void)
{
  static const struct {
    uint8_t pixels, bytes;
    uint32_t value, color;
  } depths[] = { { 0x00, 1, 0x25, 0 },
                 { 0x30, 2, 0x7c1f, 0xff00ff },
                 { 0x50, 2, 0x07e0, 0x00ff00 },
                 { 0x70, 3, 0x123456, 0x123456 },
                 { 0xd0, 4, 0xff654321, 0x654321 } };
  for (unsigned n = 0; n < G_N_ELEMENTS (depths); n++)
    {
      TnHarness *h = new_card (NULL, NULL);
      const TnScreen *screen;
      uint32_t color = depths[n].color ? depths[n].color : screen_color (0x25);
      uint32_t at = (479 * 640 + 639) * depths[n].bytes;
      enhanced (h, 640, 480, depths[n].pixels, depths[n].bytes);
      for (unsigned i = 0; i < depths[n].bytes; i++)
        tn_harness_write (h, BASE + at + i, depths[n].value >> 8 * i & 0xff, 1);
      screen = tn_harness_screen (h, "vga");
      g_assert_cmpuint (screen->width, ==, 640);
      g_assert_cmpuint (screen->height, ==, 480);
      g_assert_cmphex (screen_pixel (screen, 639, 479), ==, color);
      /* A page that is written to later is found, and no other. */
      tn_harness_write (h, BASE + 3 * 640 * depths[n].bytes, 0xff, 1);
      screen = tn_harness_screen (h, "vga");
      g_assert_cmphex (screen_pixel (screen, 0, 3), !=, screen_pixel (screen, 0, 4));
      /* The start address, in dwords. */
      crtc (h, 0x0d, 640 * depths[n].bytes / 4 & 0xff);
      crtc (h, 0x0c, 640 * depths[n].bytes / 4 >> 8);
      screen = tn_harness_screen (h, "vga");
      g_assert_cmphex (screen_pixel (screen, 639, 478), ==, color);
      tn_harness_free (h);
    }
}

/* With CR31 bit 3 a character or dot takes four bytes, in modes of the VGA, too: s3fb's text. */
static void
test_dense (void)
{
  TnHarness *h = new_card (NULL, NULL);
  g_autofree uint32_t *wide = NULL;
  const TnScreen *screen;
  screen_mode (h, &screen_text80);
  unlock (h);
  crtc (h, 0x31, 0x05);
  for (unsigned i = 0; i < 256 * 32; i++) /* a font */
    tn_harness_write (h, BASE + 4 * i + 2, i * 37 >> 3, 1);
  for (unsigned i = 0; i < 80 * 25; i++)
    tn_harness_write (h, BASE + 8 * i, (i * 0x4b1) & 0x7fff, 2);
  screen = tn_harness_screen (h, "vga");
  wide = g_memdup2 (screen->pixels, (size_t) screen->width * screen->height * 4);
  for (unsigned i = 0; i < 80 * 25; i++)
    tn_harness_write (h, BASE + 4 * i, (i * 0x4b1) & 0x7fff, 2);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmpint (memcmp (wide, screen->pixels, (size_t) screen->width * screen->height * 4), !=,
                   0);
  crtc (h, 0x31, 0x0d);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmpmem (wide, (size_t) screen->width * screen->height * 4, screen->pixels,
                   (size_t) screen->width * screen->height * 4);
  tn_harness_free (h);
}

/* Dots of four bits one after the other, as s3fb has them: colours are every 16th of the DAC, and
   lines go on past 256 KiB. */
static void
test_nibbles (void)
{
  TnHarness *h = new_card (NULL, NULL);
  const TnScreen *screen;
  screen_mode (h, &screen_planar);
  unlock (h);
  crtc (h, 0x31, 0x0d);
  crtc (h, 0x32, 0x40);
  crtc (h, 0x0c, 0xf0);
  screen_set (h, 0x3ce, 5, 0x40);
  tn_harness_out8 (h, 0x3c6, 0xf0);
  for (unsigned i = 0; i < 16; i++)
    {
      tn_harness_out8 (h, 0x3c8, i * 16);
      for (unsigned k = 0; k < 3; k++)
        tn_harness_out8 (h, 0x3c9, i + 16 * k);
    }
  for (unsigned i = 0; i < 320 * 480; i++)
    tn_harness_write (h, BASE + 0x3c000 + i, i * 0x65 >> 2, 1);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmpuint (screen->width, ==, 640);
  for (unsigned i = 0; i < 640 * 480; i++)
    {
      unsigned byte = (i / 2 * 0x65 >> 2) & 0xff, dot = i & 1 ? byte & 0x0f : byte >> 4;
      g_assert_cmphex (screen->pixels[i] >> 16, ==, dot << 2);
      g_assert_cmphex (screen->pixels[i] >> 10 & 0x3f, ==, dot + 16);
    }
  tn_harness_free (h);
}

/* The widest lines that the registers can ask for are cut to what a display takes. */
static void
test_widest (void)
{
  TnHarness *h = new_card (NULL, NULL);
  screen_mode (h, &screen_text80);
  unlock (h);
  crtc (h, 0x01, 0xff);
  crtc (h, 0x5d, 0x02);
  crtc (h, 0x12, 0xff);
  crtc (h, 0x07, 0xff);
  crtc (h, 0x5e, 0x02);
  g_assert_cmpuint (tn_harness_screen (h, "vga")->width, <=, TN_DISPLAY_MAX_WIDTH);
  g_assert_cmpuint (tn_harness_screen (h, "vga")->height, <=, TN_DISPLAY_MAX_HEIGHT);
  crtc (h, 0x09, 0x00); /* a row of text a line */
  g_assert_cmpuint (tn_harness_screen (h, "vga")->rows, >, 1024);
  enhanced (h, 640, 480, 0xd0, 4);
  crtc (h, 0x01, 0xff);
  crtc (h, 0x5d, 0x02);
  crtc (h, 0x5e, 0x02);
  g_assert_cmpuint (tn_harness_screen (h, "vga")->width, <=, TN_DISPLAY_MAX_WIDTH);
  tn_harness_free (h);
}

static void
test_cursor (void)
{
  TnHarness *h = new_card (NULL, NULL);
  const TnScreen *screen;
  enhanced (h, 640, 480, 0x00, 1);
  /* Row 0: pixels 0 and 8 AND 0 XOR 0, pixel 1 AND 0 XOR 1, 2 inverts, the rest is clear. */
  for (unsigned i = 0; i < 256; i++)
    tn_harness_write (h, BASE + 0x100000 + 4 * i, 0x0000ffff, 4);
  tn_harness_write (h, BASE + 0x100000, 0x3f, 1);
  tn_harness_write (h, BASE + 0x100001, 0x7f, 1);
  tn_harness_write (h, BASE + 0x100002, 0x60, 1);
  crtc (h, 0x4c, 0x04);
  crtc (h, 0x4d, 0x00);
  get_crtc (h, 0x45);
  crtc (h, 0x4a, 0x33);
  crtc (h, 0x4b, 0x44);
  crtc (h, 0x46, 0);
  crtc (h, 0x47, 100);
  crtc (h, 0x49, 50);
  crtc (h, 0x48, 0);
  crtc (h, 0x45, 0x01);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmphex (screen_pixel (screen, 100, 50), ==, screen_color (0x44));
  g_assert_cmphex (screen_pixel (screen, 101, 50), ==, screen_color (0x33));
  g_assert_cmphex (screen_pixel (screen, 102, 50), ==, screen_color (0) ^ 0xffffff);
  g_assert_cmphex (screen_pixel (screen, 103, 50), ==, screen_color (0));
  g_assert_cmphex (screen_pixel (screen, 108, 50), ==, screen_color (0x44));
  g_assert_cmphex (screen_pixel (screen, 100, 51), ==, screen_color (0));
  crtc (h, 0x47, 90); /* not before 48h is written */
  g_assert_cmphex (screen_pixel (tn_harness_screen (h, "vga"), 100, 50), ==, screen_color (0x44));
  crtc (h, 0x48, 0);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmphex (screen_pixel (screen, 90, 50), ==, screen_color (0x44));
  g_assert_cmphex (screen_pixel (screen, 100, 50), ==, screen_color (0));
  tn_harness_write (h, BASE + 0x100001, 0xff, 1);
  g_assert_cmphex (screen_pixel (tn_harness_screen (h, "vga"), 98, 50), ==, screen_color (0));
  tn_harness_free (h);
}

/* A picture of 4 by 2 pixels, 16 bits each, is shown at twice its size from 10, 20 on. */
static void
test_overlay (void)
{
  TnHarness *h = new_card (NULL, NULL);
  const TnScreen *screen;
  enhanced (h, 640, 480, 0x00, 1);
  for (unsigned i = 0; i < 8; i++)
    tn_harness_write (h, BASE + 0x200000 + i % 4 * 2 + i / 4 * 16, i % 2 ? 0xf800 : 0x001f, 2);
  tn_harness_write (h, MMIO + 0x8190, 5 << 24, 4);
  tn_harness_write (h, MMIO + 0x8198, 3 | (-4 & 0x7ff) << 16, 4);
  tn_harness_write (h, MMIO + 0x81a0, 0, 4);
  tn_harness_write (h, MMIO + 0x81d0, 0x200000, 4);
  tn_harness_write (h, MMIO + 0x81d8, 16, 4);
  tn_harness_write (h, MMIO + 0x81e0, 1, 4);
  tn_harness_write (h, MMIO + 0x81e4, -2 & 0x7ff, 4);
  tn_harness_write (h, MMIO + 0x81f8, 11 << 16 | 21, 4);
  tn_harness_write (h, MMIO + 0x81fc, 7 << 16 | 4, 4);
  crtc (h, 0x67, 0x04);
  screen = tn_harness_screen (h, "vga");
  for (unsigned y = 19; y < 26; y++)
    for (unsigned x = 9; x < 20; x++)
      g_assert_cmphex (screen_pixel (screen, x, y), ==,
                       x < 10 || x >= 18 || y < 20 || y >= 24 ? screen_color (0)
                       : (x - 10) / 2 % 2                     ? 0xff0000u
                                                              : 0x0000ffu);
  /* Where the picture below has the key's colour. */
  tn_harness_write (h, BASE + 640 * 20 + 10, 0x55, 1);
  tn_harness_write (h, MMIO + 0x81a0, 5 << 24, 4);
  tn_harness_write (h, MMIO + 0x8184, 0x17000000 | screen_color (0x55), 4);
  screen = tn_harness_screen (h, "vga");
  g_assert_cmphex (screen_pixel (screen, 10, 20), ==, 0x0000ff);
  g_assert_cmphex (screen_pixel (screen, 11, 20), ==, screen_color (0));
  crtc (h, 0x67, 0x00);
  g_assert_cmphex (screen_pixel (tn_harness_screen (h, "vga"), 10, 20), ==, screen_color (0x55));
  tn_harness_free (h);
}

/* ---- Engine ---- */

static void
out (TnHarness *h, uint16_t port, uint32_t value)
{
  tn_harness_out16 (h, port, value);
}

static uint8_t
vram8 (TnHarness *h, uint32_t x, uint32_t y)
{
  return tn_harness_read (h, BASE + 1024 * y + x, 1);
}

static void
engine_on (TnHarness *h)
{
  enhanced (h, 1024, 768, 0x00, 1);
  crtc (h, 0x50, 0x00);
  out (h, 0x4ae8, 0x0003);
  out (h, 0xbee8, 0x1000);
  out (h, 0xbee8, 0x2000);
  out (h, 0xbee8, 0x3fff);
  out (h, 0xbee8, 0x4fff);
  out (h, 0xbee8, 0xa000);
  out (h, 0xbee8, 0xe000);
  out (h, 0xbee8, 0xd000);
  out (h, 0xaae8, 0xffff);
  out (h, 0xaae8, 0xffff);
  out (h, 0xaee8, 0xffff);
  out (h, 0xb6e8, 0x0007);
  out (h, 0xbae8, 0x0027);
}

static void
test_rectangle (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  out (h, 0xa6e8, 0x5a);
  out (h, 0x86e8, 100);
  out (h, 0x82e8, 50);
  out (h, 0x96e8, 9);
  out (h, 0xbee8, 4);
  out (h, 0xbee8, 0x2000 | 102); /* left edge of the scissors */
  out (h, 0x9ae8, 0x40b1);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8) & 0x0200, ==, 0x0200); /* busy once */
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8), ==, 0x0400);
  g_assert_cmpuint (tn_harness_in16 (h, 0x82e8), ==, 55);
  g_assert_cmpuint (tn_harness_in16 (h, 0x86e8), ==, 100);
  for (unsigned y = 49; y < 56; y++)
    for (unsigned x = 99; x < 111; x++)
      g_assert_cmphex (vram8 (h, x, y), ==, x >= 102 && x < 110 && y >= 50 && y < 55 ? 0x5a : 0x00);
  tn_harness_free (h);
}

static void
test_blit (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  for (unsigned i = 0; i < 64; i++)
    tn_harness_write (h, BASE + 1024 * (i / 8) + i % 8, i + 1, 1);
  out (h, 0xbae8, 0x0067);
  out (h, 0x86e8, 7); /* from the lower right, as the areas overlap */
  out (h, 0x82e8, 7);
  out (h, 0x8ee8, 10);
  out (h, 0x8ae8, 9);
  out (h, 0x96e8, 7);
  out (h, 0xbee8, 7);
  out (h, 0x9ae8, 0xc011);
  for (unsigned i = 0; i < 64; i++)
    g_assert_cmphex (vram8 (h, 3 + i % 8, 2 + i / 8), ==, i + 1);
  g_assert_cmpuint (tn_harness_in16 (h, 0x8ee8), ==, 10);
  /* A pattern lies where the screen's grid of eight has it. */
  out (h, 0x86e8, 3);
  out (h, 0x82e8, 2);
  out (h, 0x8ee8, 101);
  out (h, 0x8ae8, 203);
  out (h, 0x96e8, 15);
  out (h, 0xbee8, 15);
  out (h, 0x9ae8, 0xe0b1);
  for (unsigned y = 203; y < 219; y++)
    for (unsigned x = 101; x < 117; x++)
      g_assert_cmphex (vram8 (h, x, y), ==, (y & 7) * 8 + (x & 7) + 1);
  tn_harness_free (h);
}

/* Text by the processor's bits: a new row begins with a new word; low bytes first with bit 12. */
static void
test_bits (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  out (h, 0xa6e8, 0x0f);
  out (h, 0xa2e8, 0x01);
  out (h, 0xbee8, 0xa080);
  out (h, 0x86e8, 20);
  out (h, 0x82e8, 30);
  out (h, 0x96e8, 9);
  out (h, 0xbee8, 1);
  out (h, 0x9ae8, 0x53b3);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8) & 0x0200, ==, 0x0200);
  out (h, 0xe2e8, 0x40a5);
  out (h, 0xe2e8, 0x80ff);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8), ==, 0x0400);
  out (h, 0xe2e8, 0xffff); /* too many */
  for (unsigned x = 0; x < 10; x++)
    {
      unsigned first = x < 8 ? 0xa5 >> (7 - x) & 1 : 0x40 >> (15 - x) & 1;
      unsigned second = x < 8 ? 1 : 0x80 >> (15 - x) & 1;
      g_assert_cmphex (vram8 (h, 20 + x, 30), ==, first ? 0x0f : 0x01);
      g_assert_cmphex (vram8 (h, 20 + x, 31), ==, second ? 0x0f : 0x01);
    }
  g_assert_cmphex (vram8 (h, 20, 32), ==, 0);
  tn_harness_free (h);
}

static void
test_line (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  /* From 10, 10 to 20, 14: dx 10, dy 4; Bresenham's terms. */
  out (h, 0xa6e8, 0x77);
  out (h, 0x86e8, 10);
  out (h, 0x82e8, 10);
  out (h, 0x8ae8, 2 * 4);
  out (h, 0x8ee8, (2 * 4 - 2 * 10) & 0x3fff);
  out (h, 0x92e8, (2 * 4 - 10) & 0x3fff);
  out (h, 0x96e8, 10);
  out (h, 0x9ae8, 0x20b1);
  for (unsigned x = 10; x <= 20; x++)
    {
      unsigned y = 10 + ((x - 10) * 4 + 5) / 10;
      g_assert_cmphex (vram8 (h, x, y), ==, 0x77);
    }
  g_assert_cmpuint (tn_harness_in16 (h, 0x86e8), ==, 20);
  g_assert_cmpuint (tn_harness_in16 (h, 0x82e8), ==, 14);
  /* A radial line up, its last pixel off; then a short stroke of five to the left. */
  out (h, 0x96e8, 5);
  out (h, 0x9ae8, 0x205d);
  g_assert_cmphex (vram8 (h, 20, 10), ==, 0x77);
  g_assert_cmphex (vram8 (h, 20, 9), ==, 0x00);
  g_assert_cmpuint (tn_harness_in16 (h, 0x82e8), ==, 9);
  out (h, 0x9ae8, 0x1019);
  out (h, 0x9ee8, 0x0094);
  for (unsigned x = 16; x <= 20; x++)
    g_assert_cmphex (vram8 (h, x, 9), ==, 0x77);
  g_assert_cmphex (vram8 (h, 15, 9), ==, 0x00);
  tn_harness_free (h);
}

static void
test_read_back (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  for (unsigned i = 0; i < 6; i++)
    tn_harness_write (h, BASE + 1024 * (5 + i / 3) + 40 + i % 3, 0x11 * (i + 1), 1);
  out (h, 0x86e8, 40);
  out (h, 0x82e8, 5);
  out (h, 0x96e8, 2);
  out (h, 0xbee8, 1);
  out (h, 0x9ae8, 0x53b0);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8) & 0x0100, ==, 0x0100);
  g_assert_cmphex (tn_harness_in16 (h, 0xe2e8), ==, 0x2211);
  g_assert_cmphex (tn_harness_in16 (h, 0xe2e8) & 0xff, ==, 0x33);
  g_assert_cmphex (tn_harness_in16 (h, 0xe2e8), ==, 0x5544);
  g_assert_cmphex (tn_harness_in16 (h, 0xe2e8) & 0xff, ==, 0x66);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8), ==, 0x0400);
  tn_harness_free (h);
}

/* The same rectangle by packed registers of the new MMIO at 32 bits, and by the old MMIO. */
static void
test_mmio (void)
{
  TnHarness *h = new_card (NULL, NULL);
  engine_on (h);
  enhanced (h, 640, 480, 0xd0, 4);
  crtc (h, 0x50, 0x30);
  tn_harness_write (h, MMIO + 0x8100, 7 | 5 << 16, 4);
  tn_harness_write (h, MMIO + 0x8124, 0x00abcdef, 4);
  tn_harness_write (h, MMIO + 0x8128, 0xffffffff, 4);
  tn_harness_write (h, MMIO + 0x8134, 0x00270007, 4);
  tn_harness_write (h, MMIO + 0x8148, 1 | 2 << 16, 4);
  tn_harness_write (h, MMIO + 0x8118, 0x40b1, 4);
  g_assert_cmphex (tn_harness_read (h, BASE + 4 * (1024 * 7 + 5), 4), ==, 0x00abcdef);
  g_assert_cmphex (tn_harness_read (h, MMIO + 0x8100, 4), ==, 9 | 5 << 16);
  crtc (h, 0x53, 0x18);
  g_assert_cmphex (tn_harness_read (h, 0xa8100, 4), ==, 9 | 5 << 16);
  tn_harness_write (h, 0xaa6e8, 0x123456, 4);
  tn_harness_write (h, 0xa9ae8, 0x40b1, 2);
  g_assert_cmphex (tn_harness_read (h, BASE + 4 * (1024 * 9 + 5), 4), ==, 0x00123456);
  /* Two words of a colour through a port of 16 bits. */
  out (h, 0xa6e8, 0x5678);
  out (h, 0xa6e8, 0x1234);
  g_assert_cmphex (tn_harness_read (h, MMIO + 0x8124, 4), ==, 0x12345678);
  tn_harness_free (h);
}

static void
random_command (TnHarness *h, TnHarness *other, GRand *rand)
{
  static const uint16_t ports[] = { 0x82e8, 0x86e8, 0x8ae8, 0x8ee8, 0x92e8, 0x96e8 };
  static const uint16_t ops[] = { 0x2000, 0x4000, 0x4000, 0xc000, 0xc000, 0xe000, 0x6000 };
  TnHarness *both[2] = { h, other };
  uint32_t values[32];
  uint16_t command = ops[g_rand_int_range (rand, 0, G_N_ELEMENTS (ops))];
  command |= (g_rand_int (rand) & 0x10ec) | 0x11;
  for (unsigned i = 0; i < G_N_ELEMENTS (values); i++)
    values[i] = g_rand_int (rand);
  for (unsigned n = 0; n < 2; n++)
    {
      for (unsigned i = 0; i < G_N_ELEMENTS (ports); i++)
        out (both[n], ports[i], values[i] & (values[20] % 8 ? 0xff : 0xfff));
      out (both[n], 0x96e8, values[6] & 0x7f);
      out (both[n], 0xbee8, values[7] & 0x3f);
      out (both[n], 0xbae8, 0x20 * (values[8] >> 8 & 3) | (values[8] & 15));
      out (both[n], 0xb6e8, 0x20 * (values[9] >> 8 & 1) | (values[9] & 15));
      tn_harness_write (both[n], MMIO + 0x8120, values[10], 4);
      tn_harness_write (both[n], MMIO + 0x8124, values[11], 4);
      tn_harness_write (both[n], MMIO + 0x8128, values[12] % 3 ? 0xffffffff : values[13], 4);
      tn_harness_write (both[n], MMIO + 0x812c, values[14] & 0x0f0f0f0f, 4);
      tn_harness_write (both[n], MMIO + 0x8130, values[11], 4);
      out (both[n], 0xbee8, 0x1000 | (values[15] & 0x1f));
      out (both[n], 0xbee8, 0x2000 | (values[16] & 0x1f));
      out (both[n], 0xbee8, 0x3000 | (values[17] & 0x1ff));
      out (both[n], 0xbee8, 0x4000 | (values[18] & 0x1ff));
      out (both[n], 0xbee8, 0xa000 | (values[19] % 5 ? 0 : values[19] >> 8 & 0xc0));
      out (both[n], 0xbee8, 0xe200 | (values[21] % 4 ? 0 : values[22] & 0x1af));
      out (both[n], 0x9ae8, command);
    }
}

/* Any command does the same with and without short cuts. */
static void
test_fast (void)
{
  static const struct {
    uint8_t pixels, length, bytes;
  } depths[] = { { 0x00, 0x00, 1 }, { 0x50, 0x10, 2 }, { 0xd0, 0x30, 4 } };
  static uint8_t first[VRAM], second[VRAM];
  GRand *rand = g_rand_new_with_seed (765);
  for (unsigned n = 0; n < G_N_ELEMENTS (depths); n++)
    {
      TnHarness *h = new_card ("fast", "true"), *slow = new_card ("fast", "false");
      TnHarness *both[2] = { h, slow };
      for (unsigned i = 0; i < VRAM; i++)
        first[i] = g_rand_int (rand);
      for (unsigned i = 0; i < 2; i++)
        {
          engine_on (both[i]);
          enhanced (both[i], 640, 480, depths[n].pixels, depths[n].bytes);
          crtc (both[i], 0x50, depths[n].length | 0x40); /* lines of 640 */
          tn_harness_mem_write (both[i], BASE, first, VRAM);
        }
      for (unsigned i = 0; i < 3000; i++)
        {
          random_command (h, slow, rand);
          if (i % 50 != 49)
            continue;
          tn_harness_mem_read (h, BASE, first, VRAM);
          tn_harness_mem_read (slow, BASE, second, VRAM);
          g_assert_cmpint (memcmp (first, second, VRAM), ==, 0);
          for (uint32_t at = 0x8100; at < 0x814c; at += 4)
            g_assert_cmphex (tn_harness_read (h, MMIO + at, 4), ==,
                             tn_harness_read (slow, MMIO + at, 4));
        }
      tn_harness_free (h);
      tn_harness_free (slow);
    }
  g_rand_free (rand);
}

static void
test_interrupt (void)
{
  TnHarness *h = new_card (NULL, NULL);
  screen_mode (h, &screen_text80);
  unlock (h);
  out (h, 0x42e8, 0x010f);
  crtc (h, 0x32, 0x50);
  g_assert_false (tn_harness_line (h, "pci:0:9:0"));
  tn_harness_clock_step (h, 15 * TN_NS_PER_MS); /* a frame has 14.27 */
  g_assert_true (tn_harness_line (h, "pci:0:9:0"));
  g_assert_cmphex (tn_harness_in16 (h, 0x42e8) & 0x0f, ==, 0x01);
  out (h, 0x42e8, 0x0101);
  g_assert_false (tn_harness_line (h, "pci:0:9:0"));
  tn_harness_clock_step (h, 15 * TN_NS_PER_MS);
  g_assert_true (tn_harness_line (h, "pci:0:9:0"));
  /* A frame that is seen over by a read raises the line at once. */
  out (h, 0x42e8, 0x0001);
  tn_harness_clock_step (h, 15 * TN_NS_PER_MS);
  out (h, 0x42e8, 0x0100);
  g_assert_cmphex (tn_harness_in16 (h, 0x42e8) & 1, ==, 1);
  g_assert_true (tn_harness_line (h, "pci:0:9:0"));
  roundtrip (h, "vga");
  out (h, 0x42e8, 0x0001);
  tn_harness_clock_step (h, 50 * TN_NS_PER_MS);
  g_assert_false (tn_harness_line (h, "pci:0:9:0"));
  tn_harness_free (h);
}

/* In the middle of a transfer, a picture on the screen: swap, save, load. */
static void
test_state (void)
{
  TnHarness *h = new_card (NULL, NULL);
  g_autofree char *before = NULL, *after = NULL;
  engine_on (h);
  for (unsigned i = 0; i < 100; i++)
    tn_harness_write (h, BASE + 1024 * i + 7 * i, 0x01020304 * i, 4);
  before = screen_hash (tn_harness_screen (h, "vga"));
  out (h, 0xbee8, 0xa080);
  out (h, 0x86e8, 20);
  out (h, 0x82e8, 30);
  out (h, 0x96e8, 31);
  out (h, 0xbee8, 1);
  out (h, 0x9ae8, 0x53b3);
  out (h, 0xe2e8, 0x0000);
  roundtrip (h, "vga");
  g_assert_cmphex (tn_harness_read (h, BASE + 1024 + 7, 4), ==, 0x01020304);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8) & 0x0200, ==, 0x0200);
  for (unsigned i = 0; i < 3; i++)
    out (h, 0xe2e8, 0x0000);
  g_assert_cmphex (tn_harness_in16 (h, 0x9ae8), ==, 0x0400);
  after = screen_hash (tn_harness_screen (h, "vga"));
  g_assert_cmpstr (before, ==, after);
  tn_harness_free (h);
}

static void
fuzz_step (TnHarness *h, GRand *rand)
{
  static const uint16_t ports[]
      = { 0x42e8, 0x4ae8, 0x82e8, 0x86e8, 0x8ae8, 0x8ee8, 0x92e8, 0x96e8, 0x9ae8, 0x9ee8, 0xa2e8,
          0xa6e8, 0xaae8, 0xaee8, 0xb2e8, 0xb6e8, 0xbae8, 0xbee8, 0xe2e8, 0x46e8, 0x102 };
  uint32_t value = g_rand_int (rand);
  unsigned size = 1 << (value >> 28 & 3) % 3;
  switch (g_rand_int_range (rand, 0, 12))
    {
    case 0:
    case 1: crtc (h, g_rand_int_range (rand, 0, 0x80), value); break;
    case 2: tn_harness_out16 (h, 0x3b0 + (value & 0x2f), value >> 8); break;
    case 3: tn_harness_in16 (h, 0x3b0 + (value & 0x2f)); break;
    case 4:
      /* Large commands take their time, and find nothing that small ones do not. */
      tn_harness_out16 (h, 0x96e8, value & 0x7f);
      tn_harness_out16 (h, 0xbee8, value >> 8 & 0x1f);
      tn_harness_out16 (h, 0x9ae8, value >> 16);
      break;
    case 5:
      case 6: {
        uint16_t port = ports[value % G_N_ELEMENTS (ports)];
        if (port == 0x9ae8)
          break;
        tn_harness_out16 (h, port + (value >> 8 & 2), value >> 16);
        tn_harness_in32 (h, port);
        break;
      }
    case 7: tn_harness_write (h, MMIO + 0x8000 + (value & 0x7ff & -size), value >> 9, size); break;
    case 8: tn_harness_read (h, MMIO + (value & 0xffff & -size), size); break;
    case 9: tn_harness_write (h, 0xa0000 + (value & 0x1ffff & -size), value >> 5, size); break;
    case 10: tn_harness_pci_write (h, 0, DEVFN, 4, 3, 2); break;
    case 11: tn_harness_clock_step (h, value & 0xfffff); break;
    }
  if (value % 64 == 0)
    {
      unlock (h);
      tn_harness_pci_write (h, 0, DEVFN, 0x10, BASE, 4);
      crtc (h, 0x53, 0x08);
      crtc (h, 0x58, 0x13);
    }
  if (value % 199 == 0)
    tn_harness_screen (h, "vga");
}

static void
test_fuzz (void)
{
  const char *rounds = g_getenv ("TENON_ROUNDS");
  TnHarness *h = new_card (NULL, NULL);
  GRand *rand = g_rand_new_with_seed (86);
  unsigned n = rounds ? strtoul (rounds, NULL, 0) : 40000;
  for (unsigned i = 0; i < n; i++)
    {
      fuzz_step (h, rand);
      if (i % 10000 == 9999)
        roundtrip (h, "vga");
    }
  for (unsigned i = 0; i < 60; i++)
    {
      load_tampered (h, rand);
      for (unsigned k = 0; k < 20; k++)
        fuzz_step (h, rand);
      tn_harness_screen (h, "vga");
    }
  g_rand_free (rand);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/s3/identity", test_identity);
  g_test_add_func ("/s3/locks", test_locks);
  g_test_add_func ("/s3/windows", test_windows);
  g_test_add_func ("/s3/clock", test_clock);
  g_test_add_func ("/s3/dense", test_dense);
  g_test_add_func ("/s3/nibbles", test_nibbles);
  g_test_add_func ("/s3/ddc", test_ddc);
  g_test_add_func ("/s3/depths", test_depths);
  g_test_add_func ("/s3/widest", test_widest);
  g_test_add_func ("/s3/cursor", test_cursor);
  g_test_add_func ("/s3/overlay", test_overlay);
  g_test_add_func ("/s3/rectangle", test_rectangle);
  g_test_add_func ("/s3/blit", test_blit);
  g_test_add_func ("/s3/bits", test_bits);
  g_test_add_func ("/s3/line", test_line);
  g_test_add_func ("/s3/read-back", test_read_back);
  g_test_add_func ("/s3/mmio", test_mmio);
  g_test_add_func ("/s3/fast", test_fast);
  g_test_add_func ("/s3/interrupt", test_interrupt);
  g_test_add_func ("/s3/state", test_state);
  g_test_add_func ("/s3/fuzz", test_fuzz);
  return g_test_run ();
}
