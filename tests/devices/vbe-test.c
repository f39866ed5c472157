/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VBE 2.0 of our video BIOS on the S3 Trio64V+: what the specification says of each function, and
 * what the chip's registers say of each mode.
 */
#include "rom-machine.h"

#include <string.h>

#define BUFFER  0x1000 /* segment */
#define INFO    (BUFFER << 4)
#define BASE    0xe0000000u
#define CRYSTAL 14318.18

/* ---- The machine ---- */

static void
map_linear (TnHarness *h)
{
  tn_harness_pci_write (h, 0, 9 << 3, 0x10, BASE, 4);
  tn_harness_pci_write (h, 0, 9 << 3, 0x04, 3, 2);
}

static RomMachine *
new_machine (const char *megabytes)
{
  g_autofree char *rom
      = g_build_filename (g_getenv ("TENON_BUILDDIR"), "plugins/s3/bios/s3-bios.rom", NULL);
  TnHarness *h = tn_harness_new (8 << 20);
  RomMachine *m;
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_add (h, "vga", "s3", "legacy-rom", "false", "memory", megabytes, NULL);
  tn_harness_start (h);
  map_linear (h);
  m = rom_machine_new (h, rom);
  g_assert_nonnull (m);
  rom_machine_post (m);
  return m;
}

static void
free_machine (RomMachine *m)
{
  g_assert_cmpuint (rom_machine_rom_writes (m), ==, 0);
  rom_machine_free (m);
}

static RomRegs
call (RomMachine *m, RomRegs r)
{
  rom_machine_int (m, 0x10, &r);
  return r;
}

#define CALL(m, ...) call (m, (RomRegs) { __VA_ARGS__ })
#define GOOD(m, ...) g_assert_cmphex (CALL (m, __VA_ARGS__).ax, ==, 0x004f)

static uint8_t
cr (RomMachine *m, uint8_t index)
{
  tn_harness_out8 (rom_machine_harness (m), 0x3d4, index);
  return tn_harness_in8 (rom_machine_harness (m), 0x3d5);
}

static uint8_t
sr (RomMachine *m, uint8_t index)
{
  tn_harness_out8 (rom_machine_harness (m), 0x3c4, index);
  return tn_harness_in8 (rom_machine_harness (m), 0x3c5);
}

/* ---- 4F00h ---- */

static void
test_controller (void)
{
  RomMachine *m = new_machine ("2");
  char name[32] = "";
  rom_machine_write (m, INFO, "VBE2", 4);
  rom_machine_write (m, INFO + 508, "abcdefgh", 8);
  GOOD (m, .ax = 0x4f00, .es = BUFFER);
  g_assert_cmphex (rom_machine_dword (m, INFO), ==, 0x41534556);
  g_assert_cmphex (rom_machine_word (m, INFO + 4), ==, 0x0200);
  g_assert_cmphex (rom_machine_word (m, INFO + 18), ==, 32);
  g_assert_cmphex (rom_machine_dword (m, INFO + 508), ==, 0);
  g_assert_cmphex (rom_machine_dword (m, INFO + 512), ==, 0x68676665);
  rom_machine_read (m, rom_machine_word (m, INFO + 26) + (rom_machine_word (m, INFO + 28) << 4),
                    name, sizeof name - 1);
  g_assert_cmpstr (name, ==, "S3 86C765 Trio64V+");
  free_machine (m);
}

/* Without the signature 256 bytes are written, and no mode is listed that does not fit. */
static void
test_controller_old (void)
{
  for (unsigned mb = 1; mb <= 4; mb *= 2)
    {
      g_autofree char *size = g_strdup_printf ("%u", mb);
      RomMachine *m = new_machine (size);
      unsigned count = 0;
      rom_machine_write (m, INFO, "\0\0\0\0", 4);
      rom_machine_write (m, INFO + 256, "abcd", 4);
      GOOD (m, .ax = 0x4f00, .es = BUFFER);
      g_assert_cmphex (rom_machine_dword (m, INFO + 256), ==, 0x64636261);
      g_assert_cmphex (rom_machine_word (m, INFO + 16), ==, BUFFER);
      for (uint32_t at = INFO + rom_machine_word (m, INFO + 14);
           rom_machine_word (m, at) != 0xffff; at += 2, count++)
        {
          uint16_t mode = rom_machine_word (m, at);
          uint32_t bytes;
          GOOD (m, .ax = 0x4f01, .cx = mode, .es = 0x2000);
          bytes = rom_machine_word (m, 0x20000 + 16) * rom_machine_word (m, 0x20000 + 20);
          if (rom_machine_byte (m, 0x20000 + 27) == 3)
            bytes *= 4;
          g_assert_cmpuint (bytes, <=, mb << 20);
        }
      g_assert_cmpuint (count, >, 20 + 5 * mb);
      free_machine (m);
    }
}

/* ---- Every mode ---- */

typedef struct {
  uint16_t number, width, height, pitch;
  uint8_t bits, model, planes;
  uint32_t base;
} Mode;

static Mode
mode_of (RomMachine *m, uint16_t number)
{
  uint32_t at = 0x20000;
  uint16_t attributes;
  Mode mode = { .number = number };
  GOOD (m, .ax = 0x4f01, .cx = number, .es = at >> 4);
  attributes = rom_machine_word (m, at);
  mode.pitch = rom_machine_word (m, at + 16);
  mode.width = rom_machine_word (m, at + 18);
  mode.height = rom_machine_word (m, at + 20);
  mode.planes = rom_machine_byte (m, at + 24);
  mode.bits = rom_machine_byte (m, at + 25);
  mode.model = rom_machine_byte (m, at + 27);
  mode.base = rom_machine_dword (m, at + 40);
  g_assert_cmphex (attributes & 0x0f, ==, 0x0f);
  g_assert_cmphex (attributes >> 4 & 1, ==, mode.model != 0);
  g_assert_cmphex (attributes >> 7 & 1, ==, mode.model >= 4);
  g_assert_cmphex (mode.base, ==, mode.model >= 4 ? BASE : 0);
  return mode;
}

/* Frames a second by the registers; the chip's limits are kept. */
static double
check_timing (RomMachine *m, const Mode *mode)
{
  unsigned mask = mode->bits == 15 || mode->bits == 16 ? 2 : 1;
  unsigned total = ((cr (m, 0) | (cr (m, 0x5d) & 1) << 8) + 5) * 8 / mask;
  unsigned width = ((cr (m, 1) | (cr (m, 0x5d) & 2) << 7) + 1) * 8 / mask;
  unsigned over = cr (m, 7), over_2 = cr (m, 0x5e);
  unsigned lines
      = (cr (m, 6) | (over & 1) << 8 | (over & 0x20) << 4 | (over_2 & 1) << 10) + 2;
  unsigned shown
      = (cr (m, 0x12) | (over & 2) << 7 | (over & 0x40) << 3 | (over_2 & 2) << 9) + 1;
  unsigned n = sr (m, 0x12), multiplier = sr (m, 0x13) + 2;
  double oscillator = CRYSTAL * multiplier / ((n & 0x1f) + 2), clock = oscillator / (1 << (n >> 5));
  unsigned limit = mode->bits <= 8 ? 135000 : mode->bits <= 16 ? 80000 : 50000;
  if (sr (m, 1) & 8)
    clock /= 2;
  g_assert_cmpfloat (oscillator, >, 134000);
  g_assert_cmpfloat (oscillator, <, 271000);
  g_assert_cmpfloat (clock, <, limit * 1.005);
  if (mode->model)
    {
      g_assert_cmpuint (width, ==, mode->width);
      g_assert_cmpuint (shown / (cr (m, 9) & 0x80 ? 2 : 1), ==, mode->height);
    }
  g_assert_cmpuint (cr (m, 9) & 0x1f, ==, mode->model ? 0 : rom_machine_byte (m, 0x485) - 1);
  g_assert_cmphex (cr (m, 0x67) & 0x0c, ==, 0);
  return 1000 * clock / (total * lines);
}

static void
check_data (RomMachine *m, const Mode *mode)
{
  RomRegs r = CALL (m, .ax = 0x0f00);
  unsigned height = rom_machine_byte (m, 0x485);
  g_assert_cmpuint (r.ax >> 8, ==, mode->model ? mode->width / 8 : mode->width);
  g_assert_cmpuint (rom_machine_byte (m, 0x484) + 1, ==,
                    mode->model ? mode->height / height : mode->height);
  r = CALL (m, .ax = 0x4f03);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmphex (r.bx, ==, mode->number);
}

static void
all_modes (RomMachine *m, void (*func) (RomMachine *m, const Mode *mode))
{
  uint32_t at;
  GOOD (m, .ax = 0x4f00, .es = BUFFER);
  at = INFO + rom_machine_word (m, INFO + 14);
  for (unsigned i = 0; rom_machine_word (m, at + 2 * i) != 0xffff; i++)
    {
      Mode mode = mode_of (m, rom_machine_word (m, at + 2 * i));
      g_test_message ("mode %x: %u by %u, %u bits", mode.number, mode.width, mode.height,
                      mode.bits);
      GOOD (m, .ax = 0x4f02, .bx = mode.number);
      func (m, &mode);
    }
}

static void
check_mode (RomMachine *m, const Mode *mode)
{
  double frames = check_timing (m, mode);
  g_assert_cmpfloat (frames, >, mode->width >= 512 && mode->bits >= 15 ? 24 : 49);
  g_assert_cmpfloat (frames, <, 76);
  check_data (m, mode);
}

static void
test_modes (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_mode);
  free_machine (m);
}

/* Memory through the window and, where there is one, the linear window; nothing is left of before. */
static void
check_memory (RomMachine *m, const Mode *mode)
{
  TnHarness *h = rom_machine_harness (m);
  unsigned windows = (mode->pitch * mode->height + 0xffff) >> 16;
  if (mode->model < 4)
    return;
  for (unsigned i = 0; i < windows; i++)
    {
      GOOD (m, .ax = 0x4f05, .bx = 0, .dx = i);
      g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 0x0100).dx, ==, i);
      g_assert_cmphex (tn_harness_read (h, 0xa1230, 4), ==, 0);
      tn_harness_write (h, 0xa1230, 0x12345678 + i, 4);
    }
  GOOD (m, .ax = 0x4f02, .bx = mode->number | 0xc000);
  g_assert_cmphex (CALL (m, .ax = 0x4f03).bx, ==, mode->number | 0xc000);
  for (unsigned i = 0; i < windows; i++)
    g_assert_cmphex (tn_harness_read (h, BASE + 0x10000 * i + 0x1230, 4), ==, 0x12345678 + i);
  g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 0).ax, ==, 0x034f);
  GOOD (m, .ax = 0x4f02, .bx = mode->number);
  tn_harness_pci_write (h, 0, 9 << 3, 0x04, 3, 2);
}

static void
test_memory (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_memory);
  free_machine (m);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/vbe/controller", test_controller);
  g_test_add_func ("/vbe/controller-old", test_controller_old);
  g_test_add_func ("/vbe/modes", test_modes);
  g_test_add_func ("/vbe/memory", test_memory);
  return g_test_run ();
}
