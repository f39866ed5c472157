/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PIIX4 IDE function with an ATA disk and an ATAPI CD on the fake bus. */
#include "hostile.h"
#include "roundtrip.h"

#include <errno.h>

#define DISK_SECTORS 20000
#define CD_BLOCKS    700
#define DEVFN        (7 << 3 | 1)
#define BM           0xc000
#define PRD          0x1000

enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS };
enum { PRIMARY = 0x1f0, SECONDARY = 0x170 };
enum { DRQ = 0x08, ERR = 0x01, READY = 0x50, BSY = 0x80 };

static uint8_t disk[DISK_SECTORS * 512], cd[CD_BLOCKS * 2048];

static void
fill (uint8_t *bytes, size_t size, uint32_t seed)
{
  for (size_t i = 0; i < size; i += 4)
    {
      seed = seed * 1664525 + 1013904223;
      memcpy (bytes + i, &seed, 4);
    }
}

static TnHarness *
new_controller (bool decode)
{
  TnHarness *h = tn_harness_new (1 << 20);
  fill (disk, sizeof disk, 1);
  fill (cd, sizeof cd, 2);
  tn_harness_add_block (h, "hd", disk, sizeof disk, 512, false, false);
  tn_harness_add_block (h, "cd", cd, sizeof cd, 2048, true, true);
  tn_harness_add (h, "ide", "ide", "primary-master", "hd", "secondary-master", "cd", NULL);
  tn_harness_start (h);
  if (decode)
    {
      tn_harness_pci_write (h, 0, DEVFN, 0x20, BM, 4);
      tn_harness_pci_write (h, 0, DEVFN, 0x04, 5, 2);
      tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x80008000, 4);
    }
  return h;
}

/* Until the back end and the drive have done what they do. */
static void
settle (TnHarness *h)
{
  tn_harness_settle (h);
  tn_harness_clock_step (h, 100 * 1000);
  tn_harness_settle (h);
}

static uint8_t
status (TnHarness *h, uint16_t base)
{
  settle (h);
  return tn_harness_in8 (h, base + STATUS);
}

static void
set_lba (TnHarness *h, uint16_t base, uint32_t lba, uint8_t count)
{
  tn_harness_out8 (h, base + COUNT, count);
  tn_harness_out8 (h, base + LOW, lba);
  tn_harness_out8 (h, base + MID, lba >> 8);
  tn_harness_out8 (h, base + HIGH, lba >> 16);
  tn_harness_out8 (h, base + DEVICE, 0xe0 | lba >> 24);
}

static void
command (TnHarness *h, uint16_t base, uint8_t value)
{
  tn_harness_out8 (h, base + STATUS, value);
}

/* ---- PCI function ---- */

static void
test_decode (void)
{
  TnHarness *h = new_controller (false);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0, 4), ==, 0x71118086);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 8, 4) >> 8, ==, 0x010180);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0x20, 4), ==, 1);
  g_assert_cmphex (tn_harness_pci_read (h, 0, DEVFN, 0x3d, 1), ==, 0);
  g_assert_cmphex (tn_harness_in8 (h, 0x1f7), ==, 0xff);
  tn_harness_pci_write (h, 0, DEVFN, 0x04, 1, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x1f7), ==, 0xff);
  tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x8000, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x1f7), ==, 0x50);
  g_assert_cmphex (tn_harness_in8 (h, 0x3f6), ==, 0x50);
  g_assert_cmphex (tn_harness_in8 (h, 0x177), ==, 0xff);
  tn_harness_pci_write (h, 0, DEVFN, 0x42, 0x8000, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x177), ==, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, 0x1e8), ==, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, 0x3e0), ==, 0xff);
  tn_harness_pci_write (h, 0, DEVFN, 0x04, 0, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x1f7), ==, 0xff);
  tn_harness_free (h);
}

static void
check_present (TnHarness *h, uint16_t base, uint8_t device, bool present)
{
  static const uint8_t pairs[3][2] = { { 0x55, 0xaa }, { 0xaa, 0x55 }, { 0x55, 0xaa } };
  bool same;
  tn_harness_out8 (h, base + DEVICE, device);
  for (unsigned i = 0; i < 3; i++)
    {
      tn_harness_out8 (h, base + COUNT, pairs[i][0]);
      tn_harness_out8 (h, base + LOW, pairs[i][1]);
    }
  same = tn_harness_in8 (h, base + COUNT) == 0x55 && tn_harness_in8 (h, base + LOW) == 0xaa;
  g_assert_cmpint (same, ==, present);
}

/* As the BIOS and libata look for drives. */
static void
test_presence (void)
{
  TnHarness *h = new_controller (true);
  check_present (h, PRIMARY, 0xa0, true);
  check_present (h, PRIMARY, 0xb0, false);
  check_present (h, SECONDARY, 0xa0, true);
  check_present (h, SECONDARY, 0xb0, false);
  tn_harness_out8 (h, PRIMARY + DEVICE, 0xb0);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, 0);
  tn_harness_out8 (h, 0x3f6, 0x08);
  tn_harness_out8 (h, 0x3f6, 0x0c);
  g_assert_cmphex (tn_harness_in8 (h, 0x3f6) & BSY, ==, BSY);
  tn_harness_out8 (h, 0x3f6, 0x08);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, READY);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + COUNT), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + LOW), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + MID), ==, 0);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + HIGH), ==, 0);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + DEVICE), ==, 0xa0);
  tn_harness_out8 (h, 0x376, 0x04);
  tn_harness_out8 (h, 0x376, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + STATUS), ==, 0);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + COUNT), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + MID), ==, 0x14);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + HIGH), ==, 0xeb);
  tn_harness_free (h);
}

static void
test_empty_channel (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "ide", "ide", NULL);
  tn_harness_start (h);
  tn_harness_pci_write (h, 0, DEVFN, 0x04, 5, 2);
  tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x80008000, 4);
  g_assert_cmphex (tn_harness_in8 (h, 0x1f7), ==, 0x7f);
  check_present (h, PRIMARY, 0xa0, false);
  check_present (h, SECONDARY, 0xb0, false);
  tn_harness_free (h);
}

/* ---- Disk ---- */

static uint16_t
word (const uint8_t *id, unsigned n)
{
  return id[2 * n] | id[2 * n + 1] << 8;
}

static void
test_identify (void)
{
  TnHarness *h = new_controller (true);
  uint8_t id[512], sum = 0;
  command (h, PRIMARY, 0xec);
  tn_harness_settle (h);
  g_assert_cmphex (tn_harness_in8 (h, 0x3f6), ==, BSY); /* never at once */
  g_assert_false (tn_harness_line (h, "isa:14"));
  roundtrip (h, "ide");
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:14"));
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, READY | DRQ);
  g_assert_false (tn_harness_line (h, "isa:14"));
  tn_harness_ins (h, PRIMARY, id, 256, 2);
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  g_assert_cmphex (word (id, 0), ==, 0x0040);
  g_assert_cmpuint (word (id, 60) | word (id, 61) << 16, ==, DISK_SECTORS);
  g_assert_cmpuint (word (id, 1), ==, DISK_SECTORS / 16 / 63);
  g_assert_cmphex (word (id, 49) & 0x0300, ==, 0x0300);
  g_assert_cmphex (word (id, 83) & 0x0400, ==, 0); /* no 48-bit addresses */
  g_assert_cmpmem (id + 54, 6, "ETON N", 6);
  for (unsigned i = 0; i < 512; i++)
    sum += id[i];
  g_assert_cmphex (sum, ==, 0);
  command (h, PRIMARY, 0xa1);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 0x04);
  tn_harness_free (h);
}

static void
check_read (TnHarness *h, uint8_t opcode, uint32_t lba, unsigned count, unsigned per_block,
            unsigned size)
{
  g_autofree uint8_t *got = g_malloc (count * 512);
  unsigned done = 0;
  set_lba (h, PRIMARY, lba, count);
  command (h, PRIMARY, opcode);
  while (done < count)
    {
      unsigned n = MIN (per_block, count - done);
      settle (h);
      g_assert_true (tn_harness_line (h, "isa:14"));
      g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, READY | DRQ);
      tn_harness_ins (h, PRIMARY, got + done * 512, n * 512 / size, size);
      done += n;
      if (done == n)
        roundtrip (h, "ide");
    }
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  g_assert_false (tn_harness_line (h, "isa:14"));
  g_assert_cmpmem (got, count * 512, disk + lba * 512, count * 512);
}

static void
test_read (void)
{
  TnHarness *h = new_controller (true);
  check_read (h, 0x20, 0, 1, 1, 2);
  check_read (h, 0x20, 5, 3, 1, 4);
  check_read (h, 0x21, DISK_SECTORS - 256, 256, 1, 2);
  command (h, PRIMARY, 0xc4); /* multiple mode is off */
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  set_lba (h, PRIMARY, 0, 16);
  command (h, PRIMARY, 0xc6);
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  check_read (h, 0xc4, 7, 130, 16, 4);
  tn_harness_free (h);
}

/* Reads one data word at a time, as a guest without REP does. */
static void
test_read_words (void)
{
  TnHarness *h = new_controller (true);
  set_lba (h, PRIMARY, 9, 1);
  command (h, PRIMARY, 0x20);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | DRQ);
  for (unsigned i = 0; i < 256; i++)
    g_assert_cmphex (tn_harness_in16 (h, PRIMARY), ==, word (disk + 9 * 512, i));
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  tn_harness_free (h);
}

static void
test_chs (void)
{
  TnHarness *h = new_controller (true);
  uint8_t got[512];
  tn_harness_out8 (h, PRIMARY + COUNT, 1);
  tn_harness_out8 (h, PRIMARY + LOW, 5);
  tn_harness_out8 (h, PRIMARY + MID, 2);
  tn_harness_out8 (h, PRIMARY + HIGH, 0);
  tn_harness_out8 (h, PRIMARY + DEVICE, 0xa3);
  command (h, PRIMARY, 0x20);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | DRQ);
  tn_harness_ins (h, PRIMARY, got, 256, 2);
  g_assert_cmpmem (got, 512, disk + ((2 * 16 + 3) * 63 + 4) * 512, 512);
  tn_harness_out8 (h, PRIMARY + COUNT, 17);
  tn_harness_out8 (h, PRIMARY + DEVICE, 0xa3);
  command (h, PRIMARY, 0x91); /* 4 heads, 17 sectors */
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  tn_harness_out8 (h, PRIMARY + COUNT, 1);
  tn_harness_out8 (h, PRIMARY + LOW, 18);
  command (h, PRIMARY, 0x20);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 0x10);
  tn_harness_free (h);
}

static void
test_write (void)
{
  TnHarness *h = new_controller (true);
  uint8_t data[300 * 512];
  fill (data, sizeof data, 77);
  set_lba (h, PRIMARY, 100, 200);
  command (h, PRIMARY, 0x30);
  for (unsigned i = 0; i < 200; i++)
    {
      g_assert_cmphex (status (h, PRIMARY), ==, READY | DRQ);
      tn_harness_outs (h, PRIMARY, data + i * 512, 256, 2);
      settle (h);
      g_assert_true (tn_harness_line (h, "isa:14"));
      if (i == 3 || i == 127)
        roundtrip (h, "ide");
    }
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  g_assert_cmpmem (disk + 100 * 512, 200 * 512, data, 200 * 512);
  command (h, PRIMARY, 0xe7);
  g_assert_cmphex (status (h, PRIMARY), ==, READY);
  tn_harness_free (h);
}

static void
test_errors (void)
{
  TnHarness *h = new_controller (true);
  set_lba (h, PRIMARY, DISK_SECTORS - 1, 2);
  command (h, PRIMARY, 0x20);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 0x10);
  tn_harness_block_error (h, "hd", EIO);
  set_lba (h, PRIMARY, 10, 2);
  command (h, PRIMARY, 0x20);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 0x40);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + LOW), ==, 10);
  tn_harness_block_error (h, "hd", 0);
  command (h, PRIMARY, 0x24); /* READ SECTORS EXT */
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + ERROR), ==, 0x04);
  tn_harness_free (h);
}

static void
test_interrupt_mask (void)
{
  TnHarness *h = new_controller (true);
  tn_harness_out8 (h, 0x3f6, 0x0a);
  command (h, PRIMARY, 0xec);
  settle (h);
  g_assert_false (tn_harness_line (h, "isa:14"));
  tn_harness_out8 (h, 0x3f6, 0x08);
  g_assert_true (tn_harness_line (h, "isa:14"));
  tn_harness_in8 (h, 0x3f6); /* alternate status does not drop it */
  g_assert_true (tn_harness_line (h, "isa:14"));
  tn_harness_out8 (h, PRIMARY + DEVICE, 0xb0);
  g_assert_false (tn_harness_line (h, "isa:14"));
  tn_harness_free (h);
}

/* ---- Bus master ---- */

static void
put_prd (TnHarness *h, unsigned n, uint32_t address, uint16_t count, bool last)
{
  tn_harness_write (h, PRD + 8 * n, address, 4);
  tn_harness_write (h, PRD + 8 * n + 4, count | (uint32_t) last << 31, 4);
}

static void
test_dma_read (void)
{
  TnHarness *h = new_controller (true);
  uint8_t got[256 * 512];
  put_prd (h, 0, 0x10000, 0, false); /* 64 KiB */
  put_prd (h, 1, 0x40000, 512, false);
  put_prd (h, 2, 0x50000, 65536 - 512, true);
  tn_harness_out32 (h, BM + 4, PRD);
  tn_harness_out8 (h, BM + 2, 0x06);
  tn_harness_out8 (h, BM, 0x08);
  set_lba (h, PRIMARY, 50, 0);
  command (h, PRIMARY, 0xc8);
  settle (h);
  g_assert_false (tn_harness_line (h, "isa:14"));
  roundtrip (h, "ide");
  tn_harness_out8 (h, BM, 0x09);
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:14"));
  g_assert_cmphex (tn_harness_in8 (h, BM + 2) & 7, ==, 4);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, READY);
  tn_harness_out8 (h, BM, 0);
  tn_harness_out8 (h, BM + 2, 4);
  g_assert_cmphex (tn_harness_in8 (h, BM + 2) & 7, ==, 0);
  tn_harness_mem_read (h, 0x10000, got, 65536);
  tn_harness_mem_read (h, 0x40000, got + 65536, 512);
  tn_harness_mem_read (h, 0x50000, got + 65536 + 512, 65536 - 512);
  g_assert_cmpmem (got, sizeof got, disk + 50 * 512, sizeof got);
  tn_harness_free (h);
}

static void
test_dma_write (void)
{
  TnHarness *h = new_controller (true);
  uint8_t data[8 * 512];
  fill (data, sizeof data, 99);
  tn_harness_mem_write (h, 0x20000, data, sizeof data);
  put_prd (h, 0, 0x20000, sizeof data, true);
  tn_harness_out32 (h, BM + 4, PRD);
  set_lba (h, PRIMARY, 1000, 8);
  command (h, PRIMARY, 0xca);
  tn_harness_out8 (h, BM, 0x01);
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:14"));
  g_assert_cmphex (tn_harness_in8 (h, BM + 2) & 7, ==, 4);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + STATUS), ==, READY);
  g_assert_cmpmem (disk + 1000 * 512, sizeof data, data, sizeof data);
  tn_harness_free (h);
}

/* ---- CD ---- */

static void
packet (TnHarness *h, const uint8_t *bytes, unsigned limit, bool dma)
{
  uint8_t cdb[12] = { 0 };
  memcpy (cdb, bytes, 12);
  tn_harness_out8 (h, SECONDARY + DEVICE, 0xa0);
  tn_harness_out8 (h, SECONDARY + ERROR, dma);
  tn_harness_out8 (h, SECONDARY + MID, limit);
  tn_harness_out8 (h, SECONDARY + HIGH, limit >> 8);
  command (h, SECONDARY, 0xa0);
  g_assert_cmphex (status (h, SECONDARY), ==, READY | DRQ);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + COUNT) & 7, ==, 1);
  tn_harness_outs (h, SECONDARY, cdb, 6, 2);
  settle (h);
}

/* Takes the data of a packet command; returns how many bytes came. */
static unsigned
take_data (TnHarness *h, uint8_t *to, unsigned room)
{
  unsigned total = 0;
  while (tn_harness_in8 (h, SECONDARY + STATUS) & DRQ)
    {
      unsigned n = tn_harness_in8 (h, SECONDARY + MID) | tn_harness_in8 (h, SECONDARY + HIGH) << 8;
      g_assert_cmphex (tn_harness_in8 (h, SECONDARY + COUNT) & 7, ==, 2);
      g_assert_cmpuint (total + n + 1, <=, room + 1);
      tn_harness_ins (h, SECONDARY, to + total, (n + 1) / 2, 2);
      total += n;
      settle (h);
    }
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + COUNT) & 7, ==, 3);
  return total;
}

static void
check_sense (TnHarness *h, uint8_t key, uint8_t asc)
{
  static const uint8_t cdb[12] = { 0x03, 0, 0, 0, 18 };
  uint8_t sense[18];
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + STATUS) & ERR, ==, ERR);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + ERROR) >> 4, ==, key);
  packet (h, cdb, 0xfffe, false);
  g_assert_cmpuint (take_data (h, sense, sizeof sense), ==, 18);
  g_assert_cmphex (sense[2], ==, key);
  g_assert_cmphex (sense[12], ==, asc);
}

static const uint8_t test_unit_ready[12];

static void
test_packet_start (void)
{
  TnHarness *h = new_controller (true);
  uint8_t id[512];
  command (h, SECONDARY, 0xec);
  g_assert_cmphex (status (h, SECONDARY), ==, READY | ERR);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + MID), ==, 0x14);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + HIGH), ==, 0xeb);
  command (h, SECONDARY, 0xa1);
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:15"));
  g_assert_cmphex (status (h, SECONDARY), ==, READY | DRQ);
  tn_harness_ins (h, SECONDARY, id, 256, 2);
  g_assert_cmphex (word (id, 0), ==, 0x85c0);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x29);
  packet (h, test_unit_ready, 0, false);
  g_assert_true (tn_harness_line (h, "isa:15"));
  g_assert_cmphex (status (h, SECONDARY), ==, READY);
  tn_harness_free (h);
}

static void
test_packet_read (void)
{
  static const uint8_t capacity[12] = { 0x25 };
  static const uint8_t read10[12] = { 0x28, 0, 0, 0, 0, 16, 0, 0, 70 };
  static const uint8_t past[12] = { 0x28, 0, 0, 0, 0x02, 0xbb, 0, 0, 2 };
  static const uint8_t raw[12] = { 0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0xf8 };
  TnHarness *h = new_controller (true);
  uint8_t got[70 * 2048];
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x29);
  packet (h, capacity, 8, false);
  g_assert_cmpuint (take_data (h, got, 8), ==, 8);
  g_assert_cmpuint (got[2] << 8 | got[3], ==, CD_BLOCKS - 1);
  g_assert_cmpuint (got[6] << 8, ==, 2048);
  packet (h, read10, 2048, false);
  roundtrip (h, "ide");
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, sizeof got);
  g_assert_cmpmem (got, sizeof got, cd + 16 * 2048, sizeof got);
  packet (h, read10, 0xfffe, false);
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, sizeof got);
  g_assert_cmpmem (got, sizeof got, cd + 16 * 2048, sizeof got);
  packet (h, past, 2048, false);
  check_sense (h, 5, 0x21);
  packet (h, raw, 0xfffe, false);
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, 2 * 2352);
  g_assert_cmpmem (got + 16, 2048, cd + 3 * 2048, 2048);
  g_assert_cmpmem (got + 2352 + 16, 2048, cd + 4 * 2048, 2048);
  g_assert_cmphex (got[2352 + 14], ==, 0x04); /* frame 154 = 00:02:04 */
  tn_harness_free (h);
}

static void
test_packet_dma (void)
{
  static const uint8_t read10[12] = { 0x28, 0, 0, 0, 0, 1, 0, 0, 60 };
  TnHarness *h = new_controller (true);
  uint8_t got[60 * 2048];
  packet (h, test_unit_ready, 0, false);
  put_prd (h, 0, 0x20000, 0, false);
  put_prd (h, 1, 0x30000, 60 * 2048 - 65536, true);
  tn_harness_out32 (h, BM + 8 + 4, PRD);
  packet (h, read10, 0, true);
  tn_harness_out8 (h, BM + 8, 0x09);
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:15"));
  g_assert_cmphex (tn_harness_in8 (h, BM + 8 + 2) & 7, ==, 4);
  g_assert_cmphex (tn_harness_in8 (h, SECONDARY + STATUS), ==, READY);
  tn_harness_mem_read (h, 0x20000, got, sizeof got);
  g_assert_cmpmem (got, sizeof got, cd + 2048, sizeof got);
  tn_harness_free (h);
}

/* Parameters that come before the drive asks for them are lost, and it asks. */
static void
test_packet_hasty (void)
{
  static const uint8_t select[12] = { 0x55, 0, 0, 0, 0, 0, 0, 0, 16 };
  TnHarness *h = new_controller (true);
  uint8_t parameters[16] = { 0 };
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x29);
  tn_harness_out8 (h, SECONDARY + ERROR, 0);
  tn_harness_out8 (h, SECONDARY + MID, 16);
  tn_harness_out8 (h, SECONDARY + HIGH, 0);
  command (h, SECONDARY, 0xa0);
  settle (h);
  tn_harness_outs (h, SECONDARY, select, 6, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x376), ==, BSY);
  tn_harness_outs (h, SECONDARY, parameters, 8, 2);
  settle (h);
  g_assert_true (tn_harness_line (h, "isa:15"));
  g_assert_cmphex (status (h, SECONDARY), ==, READY | DRQ);
  tn_harness_outs (h, SECONDARY, parameters, 8, 2);
  g_assert_cmphex (status (h, SECONDARY), ==, READY);
  tn_harness_free (h);
}

static void
test_packet_answers (void)
{
  static const uint8_t inquiry[12] = { 0x12, 0, 0, 0, 36 },
                       toc[12] = { 0x43, 2, 0, 0, 0, 0, 0, 0, 20 };
  static const uint8_t page2a[12] = { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255 };
  static const uint8_t unknown[12] = { 0xff };
  TnHarness *h = new_controller (true);
  uint8_t got[256];
  packet (h, inquiry, 36, false); /* even before the unit attention */
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, 36);
  g_assert_cmphex (got[0], ==, 5);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x29);
  packet (h, toc, 20, false);
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, 20);
  g_assert_cmphex (got[6], ==, 1);
  g_assert_cmphex (got[14], ==, 0xaa);
  g_assert_cmphex (got[18], ==, (CD_BLOCKS + 150) / 75 % 60);
  packet (h, page2a, 255, false);
  g_assert_cmpuint (take_data (h, got, sizeof got), ==, 28);
  g_assert_cmphex (got[8], ==, 0x2a);
  packet (h, unknown, 0, false);
  check_sense (h, 5, 0x20);
  tn_harness_free (h);
}

static void
test_medium_change (void)
{
  static const uint8_t eject[12] = { 0x1b, 0, 0, 0, 2 }, load[12] = { 0x1b, 0, 0, 0, 3 };
  static const uint8_t lock[12] = { 0x1e, 0, 0, 0, 1 }, unlock[12] = { 0x1e };
  static const uint8_t event[12] = { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 };
  TnHarness *h = new_controller (true);
  uint8_t got[8];
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x29);
  tn_harness_block_present (h, "cd", false);
  packet (h, event, 8, false);
  take_data (h, got, sizeof got);
  g_assert_cmphex (got[4], ==, 3);
  g_assert_cmphex (got[5], ==, 0);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x28);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 2, 0x3a);
  tn_harness_block_present (h, "cd", true);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x28);
  packet (h, lock, 0, false);
  packet (h, eject, 0, false);
  check_sense (h, 5, 0x53);
  packet (h, unlock, 0, false);
  packet (h, eject, 0, false);
  g_assert_cmphex (status (h, SECONDARY), ==, READY);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 2, 0x3a);
  packet (h, load, 0, false);
  packet (h, test_unit_ready, 0, false);
  check_sense (h, 6, 0x28);
  packet (h, test_unit_ready, 0, false);
  g_assert_cmphex (status (h, SECONDARY), ==, READY);
  tn_harness_free (h);
}

/* ---- Anything goes ---- */

static void
fuzz_step (TnHarness *h, GRand *rand)
{
  static const uint8_t commands[] = { 0x20, 0x30, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xec, 0xa0,
                                      0xa1, 0x08, 0x90, 0x91, 0xe7, 0xef, 0x40, 0x70, 0xe5, 0xb0 };
  static const uint8_t packets[] = { 0x28, 0xa8, 0xbe, 0xb9, 0x43, 0x46, 0x4a, 0x5a, 0x1a, 0x55,
                                     0x15, 0x03, 0x12, 0x1b, 0x1e, 0x42, 0x51, 0x52, 0xbd };
  uint16_t base = g_rand_boolean (rand) ? PRIMARY : SECONDARY;
  uint16_t items[300];
  uint32_t value = g_rand_int (rand);
  switch (g_rand_int_range (rand, 0, 10))
    {
    case 0:
      command (h, base, commands[value % sizeof commands]);
      break;
    case 1:
      command (h, base, value);
      break;
    case 2:
      memset (items, 0, sizeof items);
      items[0] = packets[value % sizeof packets];
      items[4] = value >> 8;
      items[g_rand_int_range (rand, 0, 6)] ^= value >> 16;
      tn_harness_outs (h, base, items, g_rand_int_range (rand, 0, 300), 2);
      break;
    case 3:
      tn_harness_ins (h, base, items, g_rand_int_range (rand, 0, 150),
                      g_rand_boolean (rand) ? 2 : 4);
      break;
    case 4:
      tn_harness_out32 (h, BM + (value & 12), value >> 8);
      break;
    case 5:
      tn_harness_out8 (h, BM + (value & 15), value >> 8);
      break;
    case 6:
      tn_harness_out8 (h, base == PRIMARY ? 0x3f6 : 0x376, value & 1 ? 0 : value);
      break;
    case 7:
      settle (h);
      break;
    case 8:
      tn_harness_in32 (h, base + (value & 7));
      break;
    default:
      if (value % 64 == 0)
        tn_harness_block_present (h, "cd", value & 0x100);
      tn_harness_out16 (h, base + (value & 7), value >> 8);
    }
}

static void
test_fuzz (void)
{
  TnHarness *h = new_controller (true);
  const char *seed = g_getenv ("TENON_FUZZ_SEED"), *rounds = g_getenv ("TENON_FUZZ_ROUNDS");
  GRand *rand = g_rand_new_with_seed (seed ? atoi (seed) : 7111);
  unsigned n = rounds ? atoi (rounds) : 40000;
  for (unsigned i = 0; i < n; i++)
    {
      fuzz_step (h, rand);
      if (i % 2000 == 0)
        roundtrip (h, "ide");
      if (i % 5000 == 0)
        {
          tn_harness_reset (h);
          tn_harness_pci_write (h, 0, DEVFN, 0x20, BM, 4);
          tn_harness_pci_write (h, 0, DEVFN, 0x04, 5, 2);
          tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x80008000, 4);
        }
    }
  g_rand_free (rand);
  tn_harness_free (h);
}

static void
test_hostile_state (void)
{
  TnHarness *h = new_controller (true);
  GRand *rand = g_rand_new_with_seed (14);
  unsigned taken = 0;
  for (unsigned i = 0; i < 600; i++)
    {
      for (unsigned j = 0; j < 10; j++)
        fuzz_step (h, rand);
      taken += load_tampered (h, rand);
      for (unsigned j = 0; j < 20; j++)
        fuzz_step (h, rand);
      tn_harness_pci_write (h, 0, DEVFN, 0x04, 5, 2);
      tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x80008000, 4);
    }
  g_test_message ("%u of 600 were taken", taken);
  g_rand_free (rand);
  tn_harness_free (h);
}

/* ---- SMART ---- */

static uint8_t
smart (TnHarness *h, uint8_t feature, uint8_t low, uint8_t count, uint8_t *sector)
{
  tn_harness_out8 (h, PRIMARY + DEVICE, 0xa0);
  tn_harness_out8 (h, PRIMARY + ERROR, feature);
  tn_harness_out8 (h, PRIMARY + COUNT, count);
  tn_harness_out8 (h, PRIMARY + LOW, low);
  tn_harness_out8 (h, PRIMARY + MID, 0x4f);
  tn_harness_out8 (h, PRIMARY + HIGH, 0xc2);
  command (h, PRIMARY, 0xb0);
  if (status (h, PRIMARY) & DRQ)
    {
      uint8_t sum = 0;
      tn_harness_ins (h, PRIMARY, sector, 256, 2);
      for (unsigned i = 0; i < 512; i++)
        sum += sector[i];
      g_assert_cmphex (sum, ==, 0);
    }
  return status (h, PRIMARY);
}

static void
fail_reads (TnHarness *h, unsigned n)
{
  tn_harness_block_error (h, "hd", EIO);
  while (n--)
    {
      set_lba (h, PRIMARY, 7, 1);
      command (h, PRIMARY, 0x20);
      g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
    }
  tn_harness_block_error (h, "hd", 0);
}

static void
test_smart (void)
{
  TnHarness *h = new_controller (true);
  uint8_t data[512], limits[512], log[512];
  command (h, PRIMARY, 0xec);
  settle (h);
  tn_harness_ins (h, PRIMARY, data, 256, 2);
  g_assert_cmphex (word (data, 82) & 1, ==, 1);
  g_assert_cmphex (word (data, 85) & 1, ==, 1);
  tn_harness_clock_step (h, INT64_C (7300) * 1000000000); /* two hours and a bit */
  fail_reads (h, 3);
  g_assert_cmphex (smart (h, 0xd0, 0, 0, data), ==, READY);
  g_assert_cmphex (smart (h, 0xd1, 0, 0, limits), ==, READY);
  for (unsigned i = 2; i < 362; i += 12)
    {
      g_assert_cmphex (data[i], ==, limits[i]);
      if (data[i] == 9)
        g_assert_cmpuint (data[i + 5], ==, 2);
      if (data[i] == 1)
        g_assert_cmpuint (data[i + 5], ==, 3);
    }
  /* A self test, and its place in the log. */
  g_assert_cmphex (smart (h, 0xd4, 1, 0, NULL), ==, READY);
  g_assert_cmphex (smart (h, 0xd5, 6, 1, log), ==, READY);
  g_assert_cmpmem (log + 2, 4, "\1\0\2\0", 4);
  g_assert_cmphex (log[508], ==, 1);
  g_assert_cmphex (smart (h, 0xd5, 1, 1, log), ==, READY);
  g_assert_cmpuint (log[452], ==, 3);
  g_assert_cmphex (smart (h, 0xd5, 0x40, 1, log), ==, READY | ERR);
  g_assert_cmphex (smart (h, 0xda, 0, 0, NULL), ==, READY);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + MID), ==, 0x4f);
  roundtrip (h, "ide");
  /* Too many errors: the disk says so, and a captive self test fails. */
  fail_reads (h, 60);
  g_assert_cmphex (smart (h, 0xda, 0, 0, NULL), ==, READY);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + MID), ==, 0xf4);
  g_assert_cmphex (tn_harness_in8 (h, PRIMARY + HIGH), ==, 0x2c);
  g_assert_cmphex (smart (h, 0xd4, 0x81, 0, NULL), ==, READY | ERR);
  /* Off, nothing but on is understood; without the key not even that. */
  g_assert_cmphex (smart (h, 0xd9, 0, 0, NULL), ==, READY);
  g_assert_cmphex (smart (h, 0xd0, 0, 0, data), ==, READY | ERR);
  g_assert_cmphex (smart (h, 0xd8, 0, 0, NULL), ==, READY);
  tn_harness_out8 (h, PRIMARY + MID, 0);
  tn_harness_out8 (h, PRIMARY + ERROR, 0xd0);
  command (h, PRIMARY, 0xb0);
  g_assert_cmphex (status (h, PRIMARY), ==, READY | ERR);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ide/decode", test_decode);
  g_test_add_func ("/ide/presence", test_presence);
  g_test_add_func ("/ide/empty-channel", test_empty_channel);
  g_test_add_func ("/ide/identify", test_identify);
  g_test_add_func ("/ide/read", test_read);
  g_test_add_func ("/ide/read-words", test_read_words);
  g_test_add_func ("/ide/chs", test_chs);
  g_test_add_func ("/ide/write", test_write);
  g_test_add_func ("/ide/errors", test_errors);
  g_test_add_func ("/ide/interrupt-mask", test_interrupt_mask);
  g_test_add_func ("/ide/dma-read", test_dma_read);
  g_test_add_func ("/ide/dma-write", test_dma_write);
  g_test_add_func ("/ide/smart", test_smart);
  g_test_add_func ("/ide/packet-start", test_packet_start);
  g_test_add_func ("/ide/packet-read", test_packet_read);
  g_test_add_func ("/ide/packet-dma", test_packet_dma);
  g_test_add_func ("/ide/packet-hasty", test_packet_hasty);
  g_test_add_func ("/ide/packet-answers", test_packet_answers);
  g_test_add_func ("/ide/medium-change", test_medium_change);
  g_test_add_func ("/ide/fuzz", test_fuzz);
  g_test_add_func ("/ide/hostile-state", test_hostile_state);
  return g_test_run ();
}
