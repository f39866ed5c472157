/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VBE 2.0 of our video BIOS on the S3 Trio64V+: what the specification says of each function, and
 * what the chip's registers say of each mode.
 */
#include "rom-machine.h"

#include <string.h>

#define BUFFER 0x1000 /* segment */
#define INFO (BUFFER << 4)
#define BASE 0xe0000000u
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
  tn_harness_add (h, "vga", "s3", "memory", megabytes, NULL);
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

#define CALL(m, ...) call (m, (RomRegs){ __VA_ARGS__ })
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
      for (uint32_t at = INFO + rom_machine_word (m, INFO + 14); rom_machine_word (m, at) != 0xffff;
           at += 2, count++)
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
  unsigned lines = (cr (m, 6) | (over & 1) << 8 | (over & 0x20) << 4 | (over_2 & 1) << 10) + 2;
  unsigned shown = (cr (m, 0x12) | (over & 2) << 7 | (over & 0x40) << 3 | (over_2 & 2) << 9) + 1;
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
  g_assert_cmpuint (cr (m, 0x13) | (cr (m, 0x51) & 0x30) << 4, ==,
                    mode->pitch
                        / (mode->model == 0   ? 4
                           : mode->model == 3 ? 2
                                              : 8));
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
  g_assert_cmphex (r.bx, ==, mode->number | 0x8000);
}

/* Without clearing the screen each time, which is most of the work. */
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
      GOOD (m, .ax = 0x4f02, .bx = mode.number | 0x8000);
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

/* Memory through the window and, where there is one, the linear window; nothing is left of before.
 */
static void
check_memory (RomMachine *m, const Mode *mode)
{
  TnHarness *h = rom_machine_harness (m);
  unsigned windows = (mode->pitch * mode->height + 0xffff) >> 16;
  if (mode->model < 4 || windows > 32)
    return;
  GOOD (m, .ax = 0x4f02, .bx = mode->number);
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
}

static void
test_memory (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_memory);
  free_machine (m);
}

/* ---- 4F05h by the pointer, 4F06h, 4F07h ---- */

static void
test_window_function (void)
{
  RomMachine *m = new_machine ("2");
  uint32_t pointer;
  RomRegs r = { .bx = 0, .dx = 3 };
  GOOD (m, .ax = 0x4f01, .cx = 0x101, .es = 0x2000);
  pointer = rom_machine_dword (m, 0x20000 + 12);
  GOOD (m, .ax = 0x4f02, .bx = 0x101);
  rom_machine_far (m, pointer >> 16, pointer, &r);
  g_assert_cmphex (cr (m, 0x6a), ==, 3);
  r = (RomRegs){ .bx = 0x0100 };
  rom_machine_far (m, pointer >> 16, pointer, &r);
  g_assert_cmphex (r.dx, ==, 3);
  g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 0, .dx = 31).ax, ==, 0x004f);
  g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 0, .dx = 32).ax, ==, 0x014f); /* of 2 MiB */
  g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 1, .dx = 0).ax, ==, 0x014f);  /* no window B */
  GOOD (m, .ax = 0x4f02, .bx = 0x104); /* windows of planes are 64 KiB, too */
  GOOD (m, .ax = 0x4f05, .bx = 0, .dx = 1);
  g_assert_cmphex (cr (m, 0x6a), ==, 4);
  GOOD (m, .ax = 0x4f02, .bx = 3);
  g_assert_cmphex (CALL (m, .ax = 0x4f05, .bx = 0, .dx = 0).ax, ==, 0x034f);
  free_machine (m);
}

static void
check_lines (RomMachine *m, const Mode *mode)
{
  unsigned bytes = (mode->bits + 7) / 8;
  RomRegs r;
  if (mode->model < 4)
    return;
  r = CALL (m, .ax = 0x4f06, .bx = 1);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmpuint (r.bx, ==, mode->pitch);
  g_assert_cmpuint (r.cx, ==, mode->pitch / bytes);
  r = CALL (m, .ax = 0x4f06, .bx = 3);
  g_assert_cmpuint (r.bx, ==, 0x3ff * 8);
  r = CALL (m, .ax = 0x4f06, .bx = 0, .cx = mode->width + 64);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmpuint (r.bx, >=, (mode->width + 64) * bytes);
  g_assert_cmpuint (r.bx, <, (mode->width + 64) * bytes + 8);
  g_assert_cmpuint ((cr (m, 0x13) | (cr (m, 0x51) & 0x30) << 4) * 8, ==, r.bx);
  g_assert_cmpuint (r.dx, ==, (4 << 20) / r.bx);
  g_assert_cmphex (CALL (m, .ax = 0x4f06, .bx = 0, .cx = mode->width - 8).ax, ==, 0x014f);
  g_assert_cmphex (CALL (m, .ax = 0x4f06, .bx = 2, .cx = 8 * 0x400).ax, ==, 0x014f);
  GOOD (m, .ax = 0x4f06, .bx = 2, .cx = mode->pitch);
  g_assert_cmpuint ((cr (m, 0x13) | (cr (m, 0x51) & 0x30) << 4) * 8, ==, mode->pitch);
}

static void
check_start (RomMachine *m, const Mode *mode)
{
  unsigned bytes = (mode->bits + 7) / 8, last = (4 << 20) / mode->pitch - mode->height;
  uint32_t start;
  RomRegs r;
  if (mode->model < 4)
    return;
  GOOD (m, .ax = 0x4f07, .bx = 0, .cx = 0, .dx = last);
  start = (cr (m, 0x0c) << 8 | cr (m, 0x0d) | (cr (m, 0x69) & 0x1f) << 16) * 4;
  g_assert_cmpuint (start, ==, last * mode->pitch);
  r = CALL (m, .ax = 0x4f07, .bx = 1);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmpuint (r.dx, ==, last);
  g_assert_cmpuint (r.cx, ==, 0);
  g_assert_cmphex (CALL (m, .ax = 0x4f07, .bx = 0, .dx = last + 2).ax, ==, 0x014f);
  if (last > 1)
    {
      GOOD (m, .ax = 0x4f07, .bx = 0x80, .cx = 8, .dx = 1);
      start = (cr (m, 0x0c) << 8 | cr (m, 0x0d) | (cr (m, 0x69) & 0x1f) << 16) * 4;
      g_assert_cmpuint (start, ==, mode->pitch + 8 * bytes);
    }
}

static void
test_lines (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_lines);
  free_machine (m);
}

static void
test_start (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_start);
  free_machine (m);
}

/* ---- 4F04h ---- */

static void
test_state (void)
{
  RomMachine *m = new_machine ("2");
  static const uint8_t registers[] = { 0x31, 0x3a, 0x50, 0x51, 0x58, 0x5d, 0x5e, 0x67, 0x6a, 0x13 };
  uint8_t before[sizeof registers], clock[2];
  RomRegs r = CALL (m, .ax = 0x4f04, .dx = 0, .cx = 15);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmpuint (r.bx, >, 13);
  g_assert_cmpuint (r.bx, <, 32);
  GOOD (m, .ax = 0x4f02, .bx = 0x4114);
  for (unsigned i = 0; i < sizeof registers; i++)
    before[i] = cr (m, registers[i]);
  clock[0] = sr (m, 0x12);
  clock[1] = sr (m, 0x13);
  GOOD (m, .ax = 0x4f04, .dx = 1, .cx = 15, .bx = 0, .es = BUFFER);
  GOOD (m, .ax = 0x4f02, .bx = 0x0003);
  g_assert_cmphex (CALL (m, .ax = 0x4f03).bx, ==, 0x0003);
  GOOD (m, .ax = 0x4f04, .dx = 2, .cx = 15, .bx = 0, .es = BUFFER);
  g_assert_cmphex (CALL (m, .ax = 0x4f03).bx, ==, 0x4114);
  for (unsigned i = 0; i < sizeof registers; i++)
    g_assert_cmphex (cr (m, registers[i]), ==, before[i]);
  g_assert_cmphex (sr (m, 0x12), ==, clock[0]);
  g_assert_cmphex (sr (m, 0x13), ==, clock[1]);
  g_assert_cmphex (CALL (m, .ax = 0x4f04, .dx = 3, .cx = 1).ax, ==, 0x014f);
  free_machine (m);
}

/* ---- 4F08h, 4F09h, 4F10h ---- */

static void
test_palette (void)
{
  static const uint8_t colors[] = { 1, 2, 3, 0, 4, 5, 6, 0, 0x3f, 0x20, 0x10, 0 };
  RomMachine *m = new_machine ("2");
  RomRegs r;
  uint8_t back[12];
  GOOD (m, .ax = 0x4f02, .bx = 0x101);
  r = CALL (m, .ax = 0x4f08, .bx = 0x0800);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmphex (r.bx >> 8, ==, 6);
  rom_machine_write (m, INFO, colors, sizeof colors);
  GOOD (m, .ax = 0x4f09, .bx = 0, .cx = 3, .dx = 0x40, .es = BUFFER);
  tn_harness_out8 (rom_machine_harness (m), 0x3c7, 0x40);
  g_assert_cmphex (tn_harness_in8 (rom_machine_harness (m), 0x3c9), ==, 3); /* red */
  GOOD (m, .ax = 0x4f09, .bx = 1, .cx = 3, .dx = 0x40, .es = BUFFER, .di = 0x100);
  rom_machine_read (m, INFO + 0x100, back, sizeof back);
  g_assert_cmpmem (back, sizeof back, colors, sizeof colors);
  GOOD (m, .ax = 0x4f09, .bx = 0x80, .cx = 1, .dx = 0xff, .es = BUFFER);
  g_assert_cmphex (CALL (m, .ax = 0x4f09, .bx = 0, .cx = 2, .dx = 0xff).ax, ==, 0x014f);
  g_assert_cmphex (CALL (m, .ax = 0x4f09, .bx = 2, .cx = 1, .dx = 0).ax, ==, 0x024f);
  GOOD (m, .ax = 0x4f02, .bx = 0x111);
  g_assert_cmphex (CALL (m, .ax = 0x4f09, .bx = 0, .cx = 1, .dx = 0).ax, ==, 0x034f);
  g_assert_cmphex (CALL (m, .ax = 0x4f08, .bx = 1).ax, ==, 0x034f);
  free_machine (m);
}

static void
test_power (void)
{
  static const uint8_t states[] = { 1, 2, 4, 0 };
  RomMachine *m = new_machine ("2");
  RomRegs r = CALL (m, .ax = 0x4f10);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmphex (r.bx, ==, 0x0710);
  for (unsigned i = 0; i < sizeof states; i++)
    {
      GOOD (m, .ax = 0x4f10, .bx = 1 | states[i] << 8);
      r = CALL (m, .ax = 0x4f10, .bx = 2);
      g_assert_cmphex (r.bx >> 8, ==, states[i]);
      g_assert_cmphex (sr (m, 1) & 0x20, ==, states[i] ? 0x20 : 0);
    }
  g_assert_cmphex (CALL (m, .ax = 0x4f10, .bx = 0x0301).ax, ==, 0x014f);
  free_machine (m);
}

/* ---- 4F15h ---- */

static void
test_edid (void)
{
  static const uint8_t head[] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
  RomMachine *m = new_machine ("2");
  uint8_t edid[129], sum = 0, memory = cr (m, 0x53);
  RomRegs r = CALL (m, .ax = 0x4f15);
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmphex (r.bx & 3, ==, 2);
  rom_machine_write (m, INFO + 128, "x", 1);
  GOOD (m, .ax = 0x4f15, .bx = 1, .es = BUFFER);
  rom_machine_read (m, INFO, edid, sizeof edid);
  g_assert_cmpmem (edid, sizeof head, head, sizeof head);
  for (unsigned i = 0; i < 128; i++)
    sum += edid[i];
  g_assert_cmphex (sum, ==, 0);
  g_assert_cmphex (edid[128], ==, 'x');
  g_assert_cmphex (cr (m, 0x53), ==, memory);
  GOOD (m, .ax = 0x4f15, .bx = 1, .es = BUFFER); /* the bus was left idle */
  g_assert_cmphex (CALL (m, .ax = 0x4f15, .bx = 1, .dx = 2).ax, ==, 0x014f);
  free_machine (m);
}

/* ---- 4F0Ah: the functions are copied elsewhere and called in 32-bit code ---- */

static uint32_t
protected_call (RomMachine *m, unsigned n, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t *edx)
{
  uint32_t at = 0x30000 + rom_machine_word (m, 0x30000 + 2 * n);
  rom_machine_near32 (m, at, &eax, ebx, ecx, edx, INFO);
  return eax & 0xffff;
}

static void
test_protected (void)
{
  static const uint8_t colors[] = { 1, 2, 3, 0, 4, 5, 6, 0 };
  RomMachine *m = new_machine ("2");
  RomRegs r = CALL (m, .ax = 0x4f0a);
  g_autofree uint8_t *code = g_malloc (r.cx);
  uint32_t edx = 5;
  g_assert_cmphex (r.ax, ==, 0x004f);
  g_assert_cmpuint (r.cx, <, 1024);
  rom_machine_read (m, (r.es << 4) + r.di, code, r.cx);
  rom_machine_write (m, 0x30000, code, r.cx);
  GOOD (m, .ax = 0x4f02, .bx = 0x101);
  g_assert_cmphex (protected_call (m, 0, 0x4f05, 0, 0x1234, &edx), ==, 0x004f);
  g_assert_cmphex (cr (m, 0x6a), ==, 5);
  edx = 0;
  protected_call (m, 0, 0x4f05, 0x0100, 0, &edx);
  g_assert_cmphex (edx, ==, 5);
  edx = 0x0001;
  protected_call (m, 1, 0x4f07, 0x80, 0x2345, &edx);
  g_assert_cmphex (cr (m, 0x0c), ==, 0x23);
  g_assert_cmphex (cr (m, 0x0d), ==, 0x45);
  g_assert_cmphex (cr (m, 0x69), ==, 0x01);
  rom_machine_write (m, INFO, colors, sizeof colors);
  edx = 0x10;
  protected_call (m, 2, 0x4f09, 0x80, 2, &edx);
  tn_harness_out8 (rom_machine_harness (m), 0x3c7, 0x11);
  g_assert_cmphex (tn_harness_in8 (rom_machine_harness (m), 0x3c9), ==, 6);
  GOOD (m, .ax = 0x4f02, .bx = 0x104);
  edx = 1;
  protected_call (m, 0, 0x4f05, 0, 0, &edx);
  g_assert_cmphex (cr (m, 0x6a), ==, 4);
  edx = 0;
  protected_call (m, 0, 0x4f05, 0x0100, 0, &edx);
  g_assert_cmphex (edx, ==, 1);
  free_machine (m);
}

/* ---- INT 10h in modes of VBE ---- */

static uint32_t
pixel (RomMachine *m, const Mode *mode, unsigned x, unsigned y)
{
  TnHarness *h = rom_machine_harness (m);
  unsigned bytes = (mode->bits + 7) / 8;
  uint32_t at = y * mode->pitch + x * bytes, value = 0;
  if (mode->model < 4)
    return CALL (m, .ax = 0x0d00, .cx = x, .dx = y).ax & 0xff;
  for (unsigned i = 0; i < bytes; i++)
    value |= tn_harness_read (h, BASE + at + i, 1) << 8 * i;
  return value;
}

static void
open_linear (RomMachine *m)
{
  TnHarness *h = rom_machine_harness (m);
  tn_harness_out16 (h, 0x3d4, 0x58 | (cr (m, 0x58) | 0x10) << 8);
}

/* The character is there as its shape says, in white on nothing, at the very end of the screen and
   above after scrolling; the window did not move. */
static void
check_text (RomMachine *m, const Mode *mode)
{
  unsigned columns = mode->width / 8, rows = rom_machine_byte (m, 0x484) + 1;
  unsigned height = rom_machine_byte (m, 0x485), column = columns - 2;
  uint32_t font = (rom_machine_word (m, 0x10e) << 4) + rom_machine_word (m, 0x10c), white;
  if (!mode->model || mode->pitch * mode->height > 3 << 19) /* scrolling takes its time */
    return;
  open_linear (m);
  CALL (m, .ax = 0x0600, .bx = 0, .cx = (rows - 3) << 8, .dx = 0xffff);
  tn_harness_out16 (rom_machine_harness (m), 0x3d4, 0x016a);
  CALL (m, .ax = 0x0200, .dx = (rows - 1) << 8 | column);
  CALL (m, .ax = 0x0e41, .bx = 0x000f);
  CALL (m, .ax = 0x0800, .bx = 0);
  CALL (m, .ax = 0x0200, .dx = (rows - 1) << 8 | column);
  g_assert_cmphex (CALL (m, .ax = 0x0800).ax & 0xff, ==, 'A');
  white = pixel (m, mode, mode->width, 0);
  CALL (m, .ax = 0x0c0f, .cx = 3, .dx = 2);
  white = pixel (m, mode, 3, 2);
  g_assert_cmphex (white, !=, 0);
  CALL (m, .ax = 0x0c00, .cx = 3, .dx = 2);
  g_assert_cmphex (pixel (m, mode, 3, 2), ==, 0);
  CALL (m, .ax = 0x0200, .dx = (rows - 1) << 8);
  CALL (m, .ax = 0x0e0a);
  for (unsigned y = 0; y < height; y++)
    for (unsigned x = 0; x < 8; x++)
      {
        uint8_t shape = rom_machine_byte (m, font + 'A' * height + y);
        g_assert_cmphex (pixel (m, mode, 8 * column + x, (rows - 2) * height + y), ==,
                         shape & 0x80 >> x ? white : 0);
        g_assert_cmphex (pixel (m, mode, 8 * column + x, (rows - 1) * height + y), ==, 0);
      }
  g_assert_cmphex (cr (m, 0x6a), ==, 1);
}

/* Colour 12 where pixels are no indexes: red in full, the others a third */
static void
check_color (RomMachine *m, const Mode *mode)
{
  uint32_t wanted = mode->bits == 15   ? 0x7d4a
                    : mode->bits == 16 ? 0xfaaa
                    : mode->bits >= 24 ? 0xfc5454
                                       : 12;
  if (!mode->model)
    return;
  open_linear (m);
  CALL (m, .ax = 0x0c00, .cx = 6, .dx = 7);
  CALL (m, .ax = 0x0c0c, .cx = 5, .dx = 7);
  g_assert_cmphex (pixel (m, mode, 5, 7), ==, wanted);
  g_assert_cmphex (pixel (m, mode, 6, 7), ==, 0);
  CALL (m, .ax = 0x0600, .bx = 0x0c00, .cx = 0x0101, .dx = 0x0102);
  g_assert_cmphex (pixel (m, mode, 8, rom_machine_byte (m, 0x485)), ==, wanted);
}

static void
test_color (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_color);
  free_machine (m);
}

static void
test_text (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_text);
  free_machine (m);
}

/* Whatever came before, a mode of the VGA is one of 256 KiB at the usual clocks. */
static void
check_return (RomMachine *m, const Mode *mode)
{
  CALL (m, .ax = 0x0003);
  g_assert_cmphex (CALL (m, .ax = 0x4f03).bx, ==, 0x0003);
  g_assert_cmphex (cr (m, 0x67), ==, 0);
  g_assert_cmphex (cr (m, 0x6a), ==, 0);
  g_assert_cmphex (cr (m, 0x5d) | cr (m, 0x5e) | cr (m, 0x51), ==, 0);
  g_assert_cmphex (cr (m, 0x58) & 0x10, ==, 0);
  g_assert_cmphex (cr (m, 0x32) & 0x40, ==, 0x40);
  g_assert_cmphex (cr (m, 0x3a) & 0x10, ==, 0);
  g_assert_cmphex (tn_harness_in8 (rom_machine_harness (m), 0x3cc), ==, 0x67);
  g_assert_cmphex (tn_harness_read (rom_machine_harness (m), 0xb8000, 4), ==, 0x07200720);
}

static void
test_return (void)
{
  RomMachine *m = new_machine ("4");
  all_modes (m, check_return);
  free_machine (m);
}

static bool
have_card (void)
{
  g_auto (GStrv) folders = g_strsplit (g_getenv ("TENON_PLUGIN_PATH"), ":", 0);
  for (unsigned i = 0; folders[i]; i++)
    {
      g_autofree char *file = g_build_filename (folders[i], "s3.so", NULL);
      if (g_file_test (file, G_FILE_TEST_EXISTS))
        return true;
    }
  return false;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (!have_card ())
    return 77;
  g_test_add_func ("/vbe/controller", test_controller);
  g_test_add_func ("/vbe/controller-old", test_controller_old);
  g_test_add_func ("/vbe/modes", test_modes);
  g_test_add_func ("/vbe/memory", test_memory);
  g_test_add_func ("/vbe/window-function", test_window_function);
  g_test_add_func ("/vbe/lines", test_lines);
  g_test_add_func ("/vbe/start", test_start);
  g_test_add_func ("/vbe/state", test_state);
  g_test_add_func ("/vbe/palette", test_palette);
  g_test_add_func ("/vbe/power", test_power);
  g_test_add_func ("/vbe/edid", test_edid);
  g_test_add_func ("/vbe/protected", test_protected);
  g_test_add_func ("/vbe/text", test_text);
  g_test_add_func ("/vbe/color", test_color);
  g_test_add_func ("/vbe/return", test_return);
  return g_test_run ();
}
