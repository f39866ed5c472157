/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile drivers of the S3 Trio64V+: modes of all kinds and nearly those, commands of the engine
 * by ports and by memory, with data that are too few or too many, windows that move, cursor and
 * overlay anywhere.  The twins differ in two ways: the second one draws with short cuts, and it is
 * saved, loaded and swapped besides.  So whatever happens,
 *
 *   all reads, the interrupt, memory and registers are alike
 *   pictures are alike, though the first one draws only what has changed since its last one
 *
 * See fuzz.h for the environment.
 */
#include "fuzz.h"
#include "vga-screen.h"

enum { DEVFN = 9 << 3, BASE = 0xe0000000, MMIO = BASE + 0x1000000 };

static Twins twins;
static uint32_t vram; /* bytes */

/* ---- Machine ---- */

static void
set (uint16_t port, uint8_t index, uint8_t value)
{
  twins_out (&twins, port, index | value << 8, 2);
}

static void
crtc (uint8_t index, uint8_t value)
{
  set (0x3d4, index, value);
}

static void
unlock (void)
{
  twins_out (&twins, 0x3c2, 0x67, 1);
  crtc (0x38, 0x48);
  crtc (0x39, 0xa5);
  set (0x3c4, 8, 0x06);
}

static void
map_memory (void)
{
  twins_pci_write (&twins, DEVFN, 0x10, BASE, 4);
  twins_pci_write (&twins, DEVFN, 4, 3, 2);
  unlock ();
  crtc (0x58, 0x13);
  crtc (0x53, PICK (0x08, 0x08, 0x18, 0x38));
  crtc (0x40, 0x01);
}

static void
make_machine (void)
{
  static const char *const sizes[] = { "1", "1", "2", "4" };
  unsigned size = roll (4);
  twins.device = "vga";
  twins.swaps_a_load = 8;
  vram = strtoul (sizes[size], NULL, 10) << 20;
  BOTH (&twins, i)
  {
    twins.h[i] = tn_harness_new (8 << 20);
    tn_harness_add (twins.h[i], "bridge", "i440bx", NULL);
    tn_harness_add (twins.h[i], "vga", "s3", "memory", sizes[size], "fast", i ? "true" : "false",
                    NULL);
    tn_harness_start (twins.h[i]);
  }
  map_memory ();
}

/* ---- Modes ---- */

static void
standard_mode (void)
{
  static const ScreenMode *const modes[]
      = { &screen_text80, &screen_planar, &screen_256, &screen_x, &screen_cga4, &screen_cga2 };
  const ScreenMode *mode = modes[roll (G_N_ELEMENTS (modes))];
  BOTH (&twins, i)
  screen_mode (twins.h[i], mode);
  unlock ();
  TELL ("mode %p\n", (void *) mode);
}

static void
enhanced_mode (void)
{
  static const struct {
    uint8_t pixels, length, bytes;
  } depths[] = { { 0x00, 0x00, 1 }, { 0x30, 0x10, 2 }, { 0x50, 0x10, 2 },
                 { 0x70, 0x00, 3 }, { 0xd0, 0x30, 4 }, { 0x10, 0x00, 1 } };
  static const uint8_t lines[] = { 0x00, 0x01, 0x40, 0x41, 0x80, 0x81, 0xc0 };
  unsigned n = roll (G_N_ELEMENTS (depths));
  uint32_t width = PICK (64, 320, 640, 640, 800, 1024), height = PICK (30, 200, 480, 600);
  uint32_t across = width / 8 * (depths[n].pixels == 0x30 || depths[n].pixels == 0x50 ? 2 : 1) - 1;
  uint32_t pitch = width * depths[n].bytes / 8;
  BOTH (&twins, i)
  screen_mode (twins.h[i], &screen_256);
  unlock ();
  crtc (0x11, 0x00);
  crtc (0x00, across + 20);
  crtc (0x01, across);
  crtc (0x5d, (across + 20) >> 8 | (across >> 8) << 1);
  crtc (0x06, height + 30);
  crtc (0x12, height - 1);
  crtc (0x07, ((height + 30) >> 8 & 1) | ((height - 1) >> 8 & 1) << 1
                  | ((height + 30) >> 9 & 1) << 5 | ((height - 1) >> 9 & 1) << 6);
  crtc (0x09, 0x40);
  crtc (0x13, pitch);
  crtc (0x51, (pitch >> 8) << 4);
  crtc (0x3a, 0x15);
  crtc (0x31, 0x09 | (one_in (4) ? 2 : 0));
  crtc (0x32, 0x00);
  crtc (0x67, depths[n].pixels);
  crtc (0x50, depths[n].length | lines[roll (sizeof lines)]);
}

static void
any_register (void)
{
  static const uint16_t indexed[] = { 0x3d4, 0x3d4, 0x3d4, 0x3c4, 0x3ce };
  uint32_t value = g_rand_int (dice);
  switch (roll (6))
    {
    case 0: set (indexed[roll (G_N_ELEMENTS (indexed))], value & 0x7f, value >> 8); break;
    case 1:
      twins_in (&twins, 0x3da, 1);
      twins_out (&twins, 0x3c0, value & 0x3f, 1);
      twins_out (&twins, 0x3c0, value >> 8, 1);
      break;
    case 2:
      twins_out (&twins, 0x3c8, value, 1);
      for (unsigned n = roll (7); n > 0; n--)
        twins_out (&twins, 0x3c9, g_rand_int (dice), 1);
      break;
    case 3: twins_out (&twins, 0x3b0 + (value & 0x2f), value >> 8, 1 << (value >> 24) % 3); break;
    case 4: twins_in (&twins, 0x3b0 + (value & 0x2f), 1 << (value >> 24) % 3); break;
    default:
      crtc (PICK (0x0c, 0x0d, 0x69, 0x18, 0x08, 0x13, 0x51, 0x67, 0x3a, 0x31, 0x5d, 0x5e), value);
    }
}

/* ---- Memory ---- */

static uint32_t
both_read (uint32_t address, unsigned size)
{
  uint32_t a = tn_harness_read (twins.h[0], address, size);
  uint32_t b = tn_harness_read (twins.h[1], address, size);
  if (a != b)
    g_error ("%x reads %x, and %x in the other one", address, a, b);
  return a;
}

static void
both_write (uint32_t address, uint32_t value, unsigned size)
{
  TELL ("write%u %x, %x\n", size, address, value);
  BOTH (&twins, i)
  tn_harness_write (twins.h[i], address, value, size);
}

/* In the linear window, at its end, behind it, or in the old window. */
static void
touch_memory (void)
{
  uint32_t at = BASE + (one_in (8) ? vram - roll (64) : roll (one_in (2) ? 0x8000 : vram));
  uint8_t bytes[600];
  unsigned size = 1 << roll (3);
  if (one_in (4))
    at = 0xa0000 + roll (0x20000);
  at &= -size;
  switch (roll (4))
    {
    case 0: both_read (at, size); break;
    case 1:
      random_bytes (bytes, sizeof bytes);
      twins_mem_write (&twins, at, bytes, roll (sizeof bytes));
      break;
    case 2: twins_mem_read (&twins, at, bytes, roll (sizeof bytes)); break;
    default: both_write (at, g_rand_int (dice), size); break;
    }
}

/* ---- Engine ---- */

static uint16_t
coordinate (void)
{
  return one_in (12) ? g_rand_int (dice) : roll (one_in (4) ? 1024 : 128);
}

/* A register by its port or by one of its addresses in memory. */
static void
engine (uint16_t port, uint32_t value)
{
  if (one_in (4))
    both_write (MMIO + port, value, one_in (2) ? 4 : 2);
  else
    twins_out (&twins, port, value, one_in (8) ? 4 : 2);
}

static void
set_engine (void)
{
  static const uint16_t places[]
      = { 0x82e8, 0x86e8, 0x8ae8, 0x8ee8, 0x92e8, 0x82ea, 0x86ea, 0x8aea, 0x8eea, 0x92ea, 0x96ea };
  if (one_in (8))
    engine (0x4ae8, PICK (0x0003, 0x0001, 0x0013, 0x0007, 0x0000));
  for (unsigned n = 0; n < G_N_ELEMENTS (places); n++)
    if (n < 5 || one_in (8))
      engine (places[n], coordinate ());
  engine (0x96e8, roll (one_in (8) ? 200 : 60));
  engine (0xbee8, roll (one_in (8) ? 100 : 30));
  engine (0xbae8, 0x20 * roll (4) | roll (16));
  engine (0xb6e8, 0x20 * roll (4) | roll (16));
  for (uint32_t at = 0x8120; at < 0x8134; at += 4)
    both_write (MMIO + at, one_in (2) ? UINT32_MAX : g_rand_int (dice), 4);
  engine (0xbee8, 0x1000 | (one_in (3) ? roll (64) : 0));
  engine (0xbee8, 0x2000 | (one_in (3) ? roll (64) : 0));
  engine (0xbee8, 0x3000 | (one_in (3) ? roll (512) : 0xfff));
  engine (0xbee8, 0x4000 | (one_in (3) ? roll (512) : 0xfff));
  engine (0xbee8, 0xa000 | PICK (0, 0, 0x80, 0x80, 0xc0, 0x40));
  engine (0xbee8, 0xd000 | (one_in (4) ? roll (256) : 0));
  engine (0xbee8, 0xe000 | (one_in (2) ? 0x200 : 0) | (one_in (4) ? roll (0x1b0) : 0));
}

/* As many data as may be asked for, or some more, in cycles of all widths. */
static void
send_data (bool reads)
{
  for (unsigned n = roll (one_in (4) ? 400 : 60); n > 0; n--)
    {
      unsigned size = 1 << roll (3), count = one_in (4) ? roll (20) : 1;
      uint8_t bytes[80];
      uint32_t at = MMIO + (roll (0x8000) & -4u);
      random_bytes (bytes, sizeof bytes);
      if (one_in (3) && reads)
        both_read (at, size);
      else if (one_in (3))
        both_write (at, g_rand_int (dice), size);
      else if (reads)
        twins_ins (&twins, 0xe2e8, bytes, count, size);
      else
        twins_outs (&twins, 0xe2e8, bytes, count, size);
      if (one_in (40))
        twins_disturb (&twins);
    }
}

static void
draw (void)
{
  uint16_t command = PICK (0x2000, 0x4000, 0x4000, 0x6000, 0xc000, 0xc000, 0xe000, 0x0000)
                     | (g_rand_int (dice) & 0x10ec) | 0x11;
  if (one_in (3))
    command |= 0x100 | (g_rand_int (dice) & 0x0602); /* the processor gives or takes data */
  if (one_in (6))
    command &= ~(1 << roll (13));
  if (!one_in (5))
    set_engine ();
  if (one_in (10))
    engine (0x9ee8, g_rand_int (dice));
  if (one_in (4))
    both_write (MMIO + 0x8118, command, one_in (2) ? 2 : 4);
  else
    twins_out (&twins, 0x9ae8, command, 2);
  if (command & 0x100)
    send_data (!(command & 1));
  both_read (MMIO + 0x8100 + (roll (0x50) & -4u), 4);
  twins_in (&twins, PICK (0x9ae8, 0xbee8, 0x82e8, 0x86e8, 0xa6e8, 0xe2e8), 1 << roll (3));
}

/* ---- Cursor, overlay, the rest ---- */

static void
set_cursor (void)
{
  static const uint8_t order[] = { 0x4c, 0x4d, 0x4e, 0x4f, 0x46, 0x47, 0x49, 0x48 };
  for (unsigned n = 0; n < sizeof order; n++)
    crtc (order[n], order[n] == 0x46 || order[n] == 0x48 ? roll (one_in (8) ? 256 : 3)
                    : order[n] == 0x4c                   ? roll (one_in (4) ? 16 : 4)
                                                         : g_rand_int (dice));
  twins_out (&twins, 0x3d4, 0x45, 1);
  twins_in (&twins, 0x3d5, 1);
  for (unsigned n = 0; n < 6; n++)
    crtc (0x4a + n / 3, g_rand_int (dice));
  crtc (0x45, roll (one_in (3) ? 256 : 2));
  crtc (0x55, one_in (2) ? 0x10 : 0);
}

static void
set_overlay (void)
{
  for (uint32_t at = 0x8180; at < 0x8200; at += 4)
    if (one_in (2))
      both_write (MMIO + at, one_in (4) ? g_rand_int (dice) : roll (1 << 11) | roll (1 << 11) << 16,
                  4);
  if (one_in (2))
    {
      both_write (MMIO + 0x8190, roll (8) << 24, 4);
      both_write (MMIO + 0x81d0, roll (vram) & -8u, 4);
      both_write (MMIO + 0x81d8, roll (2048), 4);
      both_write (MMIO + 0x81f8, roll (300) << 16 | roll (200), 4);
      both_write (MMIO + 0x81fc, roll (200) << 16 | roll (100), 4);
    }
  crtc (0x67, PICK (0x04, 0x0c, 0x00, 0xd4));
}

static void
anything_else (void)
{
  uint32_t value = g_rand_int (dice);
  switch (roll (9))
    {
    case 0: both_write (MMIO + 0xff20, value & 0x13, 1); break;
    case 1: both_read (MMIO + (value & 0xfffc), 4); break;
    case 2:
      both_write (MMIO + 0x8000 + (value & 0x7ffc & (one_in (8) ? UINT32_MAX : 0x7ff)), value >> 3,
                  4);
      break;
    case 3: twins_out (&twins, 0x42e8, value & 0x0fff, 2); break;
    case 4: twins_in (&twins, 0x42e8, 2); break;
    case 5: twins_out (&twins, PICK (0x46e8, 0x102), value, 1); break;
    case 6: twins_pci_write (&twins, DEVFN, PICK (4, 0x10, 0x30, 0x3c), value, 4); break;
    case 7: set (0x3c4, 0x10 + roll (8), value); break;
    default:
      if (one_in (4))
        twins_reset (&twins);
    }
  if (one_in (2))
    map_memory ();
}

/* ---- Comparison ---- */

static void
compare_pictures (void)
{
  const TnScreen *a = tn_harness_screen (twins.h[0], "vga"),
                 *b = tn_harness_screen (twins.h[1], "vga");
  TELL ("picture %u by %u\n", a->width, a->height);
  g_assert_cmpuint (a->width, ==, b->width);
  g_assert_cmpuint (a->height, ==, b->height);
  for (uint32_t n = 0; n < a->width * a->height; n++)
    if (a->pixels[n] != b->pixels[n])
      g_error ("pixel %u, %u is %x, and %x in the other one", n % a->width, n / a->width,
               a->pixels[n], b->pixels[n]);
}

static void
compare_memory (void)
{
  g_autofree uint8_t *bytes = g_malloc (vram);
  map_memory ();
  twins_mem_read (&twins, BASE, bytes, vram);
}

static void
step (void)
{
  switch (roll (14))
    {
    case 0: standard_mode (); break;
    case 1: enhanced_mode (); break;
    case 2 ... 3: any_register (); break;
    case 4 ... 5: touch_memory (); break;
    case 6: set_cursor (); break;
    case 7: set_overlay (); break;
    case 8: anything_else (); break;
    case 9: twins_step (&twins, roll (20 * TN_NS_PER_MS)); break;
    default: draw (); break;
    }
  twins_line (&twins, "pci:0:9:0");
  if (one_in (20))
    twins_disturb (&twins);
  if (one_in (6))
    compare_pictures ();
}

static void
one (void)
{
  bool tampering = one_in (4);
  make_machine ();
  enhanced_mode ();
  for (unsigned n = 50 + roll (150); n > 0; n--)
    {
      step ();
      if (tampering && one_in (20))
        {
          twins_tamper (&twins);
          map_memory ();
        }
    }
  twins_compare (&twins);
  compare_memory ();
  compare_pictures ();
  twins_reset (&twins);
  map_memory ();
  g_assert_cmphex (both_read (BASE, 4), ==, both_read (BASE, 4));
  twins_free (&twins);
}

int
main (int argc, char **argv)
{
  return fuzz_main (argc, argv, "/s3-fuzz", one);
}
