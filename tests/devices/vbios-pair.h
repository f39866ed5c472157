/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For vbios-test.c: our video BIOS and Debian's vgabios, each with a processor and a plain VGA of
 * its own, and how what they leave behind is compared.
 */
#pragma once

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
