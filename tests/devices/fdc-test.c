/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Floppy controller 82077AA on the fake bus, with the DMA controller of the board. */
#include "hostile.h"
#include "roundtrip.h"

#include <errno.h>

enum { DOR = 0x3f2, MSR = 0x3f4, DSR = 0x3f4, FIFO = 0x3f5, DIR_REG = 0x3f7, CCR = 0x3f7 };
enum { RQM = 0x80, DIO = 0x40, NDMA = 0x20, CB = 0x10 };

#define MS INT64_C (1000000)
#define IRQ "isa:6"
#define MEMORY 0x4000
#define SIZE_HD (2880 * 512)

static uint8_t disk[2880 * 1024], disk_b[720 * 1024];

/* ---- The bus ---- */

static void
fill (uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i++)
    bytes[i] = i / 512 * 7 + i % 512;
}

static TnHarness *
bare_machine (uint64_t size, bool read_only, const char *name, const char *value)
{
  TnHarness *h = tn_harness_new (1 << 20);
  fill (disk, sizeof disk);
  tn_harness_add_block (h, "fd", disk, size, 512, read_only, true);
  tn_harness_add (h, "dma", "dma", NULL);
  tn_harness_add (h, "fdc", "fdc", "drive-a", "fd", name, value, NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0xd6, 0xc0); /* cascade */
  tn_harness_out8 (h, 0xd4, 0x00);
  return h;
}

/* Runs until the interrupt, or for so long; returns whether it came. */
static bool
wait_irq (TnHarness *h, unsigned ms)
{
  for (unsigned i = 0; i < ms * 10; i++)
    {
      tn_harness_settle (h);
      if (tn_harness_line (h, IRQ))
        return true;
      tn_harness_clock_step (h, MS / 10);
    }
  return false;
}

static void
send (TnHarness *h, const uint8_t *bytes, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    {
      g_assert_cmphex (tn_harness_in8 (h, MSR) & (RQM | DIO), ==, RQM);
      tn_harness_out8 (h, FIFO, bytes[i]);
    }
}

#define SEND(h, ...) send (h, (const uint8_t[]){ __VA_ARGS__ }, sizeof (uint8_t[]){ __VA_ARGS__ })

static void
receive (TnHarness *h, uint8_t *bytes, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    {
      g_assert_cmphex (tn_harness_in8 (h, MSR) & (RQM | DIO | CB), ==, RQM | DIO | CB);
      bytes[i] = tn_harness_in8 (h, FIFO);
    }
  g_assert_cmphex (tn_harness_in8 (h, MSR) & (RQM | DIO | CB), ==, RQM);
}

#define EXPECT(h, ...)                                                                             \
  do                                                                                               \
    {                                                                                              \
      const uint8_t want_[] = { __VA_ARGS__ };                                                     \
      uint8_t got_[sizeof want_];                                                                  \
      receive (h, got_, sizeof want_);                                                             \
      g_assert_cmpmem (got_, sizeof got_, want_, sizeof want_);                                    \
    }                                                                                              \
  while (0)

static void
reset_by_dor (TnHarness *h)
{
  tn_harness_out8 (h, DOR, 0x00);
  tn_harness_out8 (h, DOR, 0x1c);
  g_assert_true (wait_irq (h, 5));
  for (unsigned i = 0; i < 4; i++)
    {
      SEND (h, 0x08);
      EXPECT (h, 0xc0 | i, 0);
      g_assert_false (tn_harness_line (h, IRQ));
    }
}

/* As a driver starts: reset, SPECIFY, CONFIGURE, rate, RECALIBRATE. */
static void
bring_up (TnHarness *h, uint8_t rate)
{
  reset_by_dor (h);
  SEND (h, 0x03, 0xdf, 0x02);
  SEND (h, 0x13, 0x00, 0x1a, 0x00);
  tn_harness_out8 (h, CCR, rate);
  SEND (h, 0x07, 0x00);
  g_assert_true (wait_irq (h, 300));
  SEND (h, 0x08);
  EXPECT (h, 0x20, 0x00);
}

static TnHarness *
new_machine (uint64_t size, uint8_t rate)
{
  TnHarness *h = bare_machine (size, false, NULL, NULL);
  bring_up (h, rate);
  return h;
}

static void
seek (TnHarness *h, uint8_t track)
{
  SEND (h, 0x0f, 0x00, track);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM | 1);
  g_assert_true (wait_irq (h, 2000));
  SEND (h, 0x08);
  EXPECT (h, 0x20, track);
}

/* Channel 2; mode 46h: memory to disk is 4Ah. */
static void
program_dma (TnHarness *h, uint8_t mode, uint32_t address, uint16_t bytes)
{
  tn_harness_out8 (h, 0x0a, 0x06);
  tn_harness_out8 (h, 0x0c, 0);
  tn_harness_out8 (h, 0x0b, mode);
  tn_harness_out8 (h, 0x04, address);
  tn_harness_out8 (h, 0x04, address >> 8);
  tn_harness_out8 (h, 0x81, address >> 16);
  tn_harness_out8 (h, 0x05, bytes - 1);
  tn_harness_out8 (h, 0x05, (bytes - 1) >> 8);
  tn_harness_out8 (h, 0x0a, 0x02);
}

enum { TO_MEMORY = 0x46, FROM_MEMORY = 0x4a };

static void
check_memory (TnHarness *h, uint64_t offset, size_t size)
{
  g_autofree uint8_t *got = g_malloc (size);
  tn_harness_mem_read (h, MEMORY, got, size);
  g_assert_cmpmem (got, size, disk + offset, size);
}

/* ---- The controller alone ---- */

static void
test_registers (void)
{
  TnHarness *h = bare_machine (SIZE_HD, false, NULL, NULL);
  g_assert_cmphex (tn_harness_in8 (h, DOR), ==, 0);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, 0);
  tn_harness_out8 (h, FIFO, 0x10); /* nobody listens during a reset */
  reset_by_dor (h);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM);
  tn_harness_out8 (h, 0x3f3, 0x02);
  g_assert_cmphex (tn_harness_in8 (h, 0x3f3) & 3, ==, 2);
  SEND (h, 0x10);
  EXPECT (h, 0x90);
  SEND (h, 0x18); /* PART ID is of later parts */
  EXPECT (h, 0x80);
  SEND (h, 0x08); /* nothing to sense */
  EXPECT (h, 0x80);
  SEND (h, 0x8e);
  EXPECT (h, 0x80);
  tn_harness_free (h);
}

/* The chain by which Linux tells an 82077: DUMPREG has ten bytes, and so on. */
static void
test_identification (void)
{
  TnHarness *h = bare_machine (SIZE_HD, false, NULL, NULL);
  reset_by_dor (h);
  SEND (h, 0x0e);
  EXPECT (h, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0);
  SEND (h, 0x03, 0xdf, 0x06);
  SEND (h, 0x13, 0x00, 0x5a, 0x07);
  SEND (h, 0x12, 0x84);
  SEND (h, 0x12, 0x03); /* without OW the drives' bits stay */
  SEND (h, 0x0e);
  EXPECT (h, 0, 0, 0, 0, 0xdf, 0x06, 0, 0x07, 0x5a, 0x07);
  SEND (h, 0x14);
  EXPECT (h, 0x00);
  SEND (h, 0x94);
  EXPECT (h, 0x10);
  reset_by_dor (h); /* locked: FIFO and precompensation stay */
  SEND (h, 0x0e);
  EXPECT (h, 0, 0, 0, 0, 0xdf, 0x06, 0, 0x84, 0x0a, 0x07);
  SEND (h, 0x14);
  EXPECT (h, 0x00);
  tn_harness_out8 (h, DSR, 0x80); /* clears itself */
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, 0);
  g_assert_true (wait_irq (h, 5));
  SEND (h, 0x0e);
  EXPECT (h, 0, 0, 0, 0, 0xdf, 0x06, 0, 0x04, 0x20, 0);
  tn_harness_free (h);
}

static void
test_gate (void)
{
  TnHarness *h = bare_machine (SIZE_HD, false, NULL, NULL);
  tn_harness_out8 (h, DOR, 0x04);
  g_assert_false (wait_irq (h, 5));
  tn_harness_out8 (h, DOR, 0x0c);
  g_assert_true (tn_harness_line (h, IRQ));
  tn_harness_free (h);
}

/* ---- Heads ---- */

static void
test_seek (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  int64_t start = tn_harness_now (h);
  SEND (h, 0x04, 0x00);
  EXPECT (h, 0x38); /* ready, two sides, track 0 */
  seek (h, 40);     /* SRT D: 3 ms a step at 500 kb/s */
  g_assert_cmpint (tn_harness_now (h) - start, >=, 120 * MS);
  g_assert_cmpint (tn_harness_now (h) - start, <, 125 * MS);
  SEND (h, 0x04, 0x04);
  EXPECT (h, 0x2c);
  SEND (h, 0xcf, 0x00, 0x05); /* relative, inward */
  g_assert_true (wait_irq (h, 100));
  SEND (h, 0x08);
  EXPECT (h, 0x20, 45);
  SEND (h, 0x8f, 0x00, 0x0a);
  g_assert_true (wait_irq (h, 100));
  SEND (h, 0x08);
  EXPECT (h, 0x20, 35);
  SEND (h, 0x0a, 0x00); /* FM: no marks */
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x40, 0x01, 0, 0, 0, 0, 0);
  SEND (h, 0x4a, 0x00);
  g_assert_true (wait_irq (h, 500));
  uint8_t id[7];
  receive (h, id, 7);
  g_assert_cmphex (id[0], ==, 0x00);
  g_assert_cmpuint (id[3], ==, 35);
  g_assert_cmpuint (id[5], >=, 1);
  g_assert_cmpuint (id[5], <=, 18);
  g_assert_cmpuint (id[6], ==, 2);
  SEND (h, 0x07, 0x01); /* drive B is not there */
  g_assert_true (wait_irq (h, 2000));
  SEND (h, 0x08);
  EXPECT (h, 0x71, 0x00);
  tn_harness_free (h);
}

/* Both heads move at once; each end is sensed, with an edge for each. */
static void
test_overlapped (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add_block (h, "a", disk, SIZE_HD, 512, false, true);
  tn_harness_add_block (h, "b", disk_b, sizeof disk_b, 512, false, true);
  tn_harness_add (h, "fdc", "fdc", "drive-a", "a", "drive-b", "b", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, DOR, 0x3c);
  g_assert_true (wait_irq (h, 5));
  SEND (h, 0x0f, 0x00, 10);
  SEND (h, 0x0f, 0x01, 10);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM | 3);
  tn_harness_clock_step (h, 500 * MS);
  SEND (h, 0x08);
  tn_harness_line_edges (h, IRQ);
  EXPECT (h, 0x20, 10);
  g_assert_true (tn_harness_line (h, IRQ));
  SEND (h, 0x08);
  EXPECT (h, 0x21, 10);
  g_assert_false (tn_harness_line (h, IRQ));
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM);
  tn_harness_free (h);
}

/* ---- Reading and writing ---- */

static void
test_read (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0xe6, 0x00, 0, 0, 5, 2, 18, 0x1b, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, CB);
  g_assert_false (tn_harness_line (h, IRQ)); /* never at once */
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 0, 0, 6, 2);
  g_assert_false (tn_harness_line (h, IRQ));
  check_memory (h, 4 * 512, 512);

  /* Both sides of a cylinder with one command, in two turns and what it takes to begin. */
  seek (h, 30);
  program_dma (h, TO_MEMORY, MEMORY, 36 * 512);
  int64_t start = tn_harness_now (h);
  SEND (h, 0xe6, 0x00, 30, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 900));
  EXPECT (h, 0x04, 0, 0, 31, 0, 1, 2);
  check_memory (h, 30 * 36 * 512, 36 * 512);
  g_assert_cmpint (tn_harness_now (h) - start, >=, 400 * MS);
  g_assert_cmpint (tn_harness_now (h) - start, <=, 805 * MS);

  /* The end of the track before terminal count. */
  program_dma (h, TO_MEMORY, MEMORY, 0x2000);
  SEND (h, 0x46, 0x04, 30, 1, 17, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 900));
  EXPECT (h, 0x44, 0x80, 0, 30, 1, 18, 2);
  check_memory (h, ((30 * 2 + 1) * 18 + 16) * 512, 1024);

  /* Terminal count within a sector. */
  program_dma (h, TO_MEMORY, MEMORY, 700);
  SEND (h, 0x46, 0x00, 30, 0, 3, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 30, 0, 5, 2);
  check_memory (h, (30 * 36 + 2) * 512, 700);
  tn_harness_free (h);
}

static void
test_write (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  uint8_t data[1024];
  memset (data, 0xa5, sizeof data);
  tn_harness_mem_write (h, MEMORY, data, sizeof data);
  seek (h, 79);
  program_dma (h, FROM_MEMORY, MEMORY, 1024);
  SEND (h, 0xc5, 0x04, 79, 1, 17, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x04, 0, 0, 80, 0, 1, 2);
  g_assert_cmpmem (disk + SIZE_HD - 1024, 1024, data, 1024);
  /* What terminal count cuts short is filled with zeros. */
  program_dma (h, FROM_MEMORY, MEMORY, 100);
  SEND (h, 0x45, 0x00, 79, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0, 79, 0, 2, 2);
  memset (data + 100, 0, 412);
  g_assert_cmpmem (disk + 79 * 36 * 512, 512, data, 512);
  tn_harness_free (h);
}

static void
check_error (TnHarness *h, const uint8_t *command, const uint8_t *want)
{
  uint8_t got[7];
  program_dma (h, command[0] & 1 ? FROM_MEMORY : TO_MEMORY, MEMORY, 512);
  send (h, command, 9);
  g_assert_true (wait_irq (h, 500));
  receive (h, got, 7);
  g_assert_cmpmem (got, 7, want, 7);
}

static void
test_errors (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  static const uint8_t no_sector[] = { 0x66, 0, 0, 0, 19, 2, 19, 0x1b, 0xff };
  static const uint8_t wrong_cylinder[] = { 0x66, 0, 7, 0, 1, 2, 18, 0x1b, 0xff };
  static const uint8_t wrong_size[] = { 0x66, 0, 0, 0, 1, 3, 18, 0x1b, 0xff };
  static const uint8_t good[] = { 0x66, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };
  static const uint8_t write[] = { 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff };
  check_error (h, no_sector, (const uint8_t[]){ 0x40, 0x04, 0, 0, 0, 19, 2 });
  check_error (h, wrong_cylinder, (const uint8_t[]){ 0x40, 0x04, 0x10, 7, 0, 1, 2 });
  check_error (h, wrong_size, (const uint8_t[]){ 0x40, 0x04, 0, 0, 0, 1, 3 });
  tn_harness_out8 (h, CCR, 2); /* wrong rate: no address mark */
  check_error (h, good, (const uint8_t[]){ 0x40, 0x01, 0, 0, 0, 1, 2 });
  tn_harness_out8 (h, CCR, 0);
  tn_harness_block_error (h, "fd", EIO);
  check_error (h, good, (const uint8_t[]){ 0x40, 0x20, 0x20, 0, 0, 1, 2 });
  check_error (h, write, (const uint8_t[]){ 0x40, 0x20, 0, 0, 0, 1, 2 });
  tn_harness_block_error (h, "fd", 0);
  /* A host that gives no byte. */
  tn_harness_out8 (h, 0x0a, 0x06);
  send (h, write, 9);
  g_assert_true (wait_irq (h, 700));
  EXPECT (h, 0x40, 0x10, 0, 0, 0, 1, 2);
  tn_harness_free (h);

  h = bare_machine (SIZE_HD, true, NULL, NULL);
  bring_up (h, 0);
  SEND (h, 0x04, 0x00);
  EXPECT (h, 0x78);
  check_error (h, write, (const uint8_t[]){ 0x40, 0x02, 0, 0, 0, 1, 2 });
  tn_harness_free (h);
}

/* Deleted data do not exist: one sector with CM, or with SK none at all. */
static void
test_deleted (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  program_dma (h, TO_MEMORY, MEMORY, 1024);
  SEND (h, 0x4c, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0x40, 0, 0, 3, 2);
  check_memory (h, 512, 512);
  SEND (h, 0x6c, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 900));
  EXPECT (h, 0x40, 0x80, 0x40, 0, 0, 18, 2);
  tn_harness_free (h);
}

static void
test_verify_scan_track (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  SEND (h, 0x56, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0, 1, 0, 1, 2);
  SEND (h, 0x56, 0x80, 0, 0, 3, 2, 18, 0x1b, 4); /* EC: four sectors */
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0, 0, 0, 7, 2);

  /* The fourth sector's bytes, in any of sectors 2 to 6. */
  tn_harness_mem_write (h, MEMORY, disk + 3 * 512, 512);
  for (unsigned i = 0; i < 3; i++)
    tn_harness_mem_write (h, MEMORY + i * 512, disk + 3 * 512, 512);
  program_dma (h, FROM_MEMORY, MEMORY, 5 * 512);
  SEND (h, 0x51, 0x00, 0, 0, 2, 2, 6, 0x1b, 1);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0x08, 0, 0, 5, 2);
  program_dma (h, FROM_MEMORY, MEMORY, 5 * 512);
  SEND (h, 0x51, 0x00, 0, 0, 5, 2, 6, 0x1b, 1);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x00, 0, 0x04, 1, 0, 1, 2);

  program_dma (h, TO_MEMORY, MEMORY, 18 * 512);
  SEND (h, 0x42, 0x04, 0, 1, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 900));
  EXPECT (h, 0x04, 0, 0, 1, 1, 1, 2);
  check_memory (h, 18 * 512, 18 * 512);
  tn_harness_free (h);
}

/* Four bytes a sector through DMA; the bytes of the track become the filler. */
static void
test_format (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  uint8_t ids[18 * 4], track[18 * 512];
  seek (h, 12);
  for (unsigned i = 0; i < 18; i++)
    {
      ids[4 * i] = 12;
      ids[4 * i + 1] = 1;
      ids[4 * i + 2] = i % 2 * 9 + i / 2 + 1; /* interleaved */
      ids[4 * i + 3] = 2;
    }
  tn_harness_mem_write (h, MEMORY, ids, sizeof ids);
  program_dma (h, FROM_MEMORY, MEMORY, sizeof ids);
  SEND (h, 0x4d, 0x04, 2, 18, 0x54, 0xf6);
  g_assert_true (wait_irq (h, 900));
  uint8_t result[7];
  receive (h, result, 7);
  g_assert_cmphex (result[0], ==, 0x04);
  g_assert_cmphex (result[1], ==, 0);
  memset (track, 0xf6, sizeof track);
  g_assert_cmpmem (disk + (12 * 2 + 1) * 18 * 512, sizeof track, track, sizeof track);
  g_assert_cmphex (disk[12 * 36 * 512 + 5], !=, 0xf6);
  /* Another format does not go into the image. */
  ids[3] = 3;
  tn_harness_mem_write (h, MEMORY, ids, sizeof ids);
  program_dma (h, FROM_MEMORY, MEMORY, sizeof ids);
  SEND (h, 0x4d, 0x04, 3, 9, 0x54, 0xf6);
  g_assert_true (wait_irq (h, 900));
  receive (h, result, 7);
  g_assert_cmphex (result[0], ==, 0x44);
  g_assert_cmphex (result[1], ==, 0x05);
  tn_harness_free (h);
}

/* Without DMA every byte has its interrupt, and there is no terminal count. */
static void
test_pio (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  uint8_t byte;
  SEND (h, 0x03, 0xdf, 0x03);
  SEND (h, 0x46, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  for (unsigned i = 0; i < 512; i++)
    {
      g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM | DIO | NDMA | CB);
      g_assert_true (tn_harness_line (h, IRQ));
      byte = tn_harness_in8 (h, FIFO);
      g_assert_cmphex (byte, ==, disk[17 * 512 + i]);
      g_assert_false (tn_harness_line (h, IRQ));
      if (i < 511)
        tn_harness_clock_step (h, 20 * 1000);
    }
  g_assert_true (wait_irq (h, 5));
  EXPECT (h, 0x40, 0x80, 0, 0, 0, 18, 2);

  SEND (h, 0x45, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  for (unsigned i = 0; i < 512; i++)
    {
      g_assert_cmphex (tn_harness_in8 (h, MSR), ==, RQM | NDMA | CB);
      tn_harness_out8 (h, FIFO, i ^ 0x55);
    }
  g_assert_true (wait_irq (h, 50));
  EXPECT (h, 0x40, 0x80, 0, 0, 0, 18, 2);
  for (unsigned i = 0; i < 512; i++)
    g_assert_cmphex (disk[17 * 512 + i], ==, (uint8_t) (i ^ 0x55));
  tn_harness_free (h);
}

static void
test_implied_seek (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  SEND (h, 0x13, 0x00, 0x5a, 0x00);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 50, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 900));
  EXPECT (h, 0x20, 0, 0, 50, 0, 2, 2);
  check_memory (h, 50 * 36 * 512, 512);
  tn_harness_free (h);
}

/* Nobody has set a rate, nor configured anything, nor moved the head. */
static void
test_bochs (void)
{
  TnHarness *h = bare_machine (720 * 1024, false, "fast", "true");
  reset_by_dor (h);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0xe6, 0x04, 33, 1, 9, 2, 9, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 20));
  EXPECT (h, 0x24, 0, 0, 34, 0, 1, 2);
  check_memory (h, ((33 * 2 + 1) * 9 + 8) * 512, 512);
  tn_harness_free (h);
}

/* ---- Media ---- */

/* All usual sizes: the last sector of each, at the rate that the drive needs for it. */
static void
test_formats (void)
{
  static const struct {
    unsigned kib;
    uint8_t cylinders, heads, sectors, code, rate;
    const char *drive;
  } formats[] = {
    { 160, 40, 1, 8, 2, 2, "auto" },    { 180, 40, 1, 9, 2, 2, "auto" },
    { 320, 40, 2, 8, 2, 2, "auto" },    { 360, 40, 2, 9, 2, 2, "auto" },
    { 360, 40, 2, 9, 2, 1, "1.2m" },    { 640, 80, 2, 8, 2, 2, "auto" },
    { 720, 80, 2, 9, 2, 2, "auto" },    { 720, 80, 2, 9, 2, 2, "1.44m" },
    { 1200, 80, 2, 15, 2, 0, "auto" },  { 1232, 77, 2, 8, 3, 0, "auto" },
    { 1440, 80, 2, 18, 2, 0, "auto" },  { 1680, 80, 2, 21, 2, 0, "auto" },
    { 1440, 80, 2, 18, 2, 0, "2.88m" }, { 2880, 80, 2, 36, 2, 3, "auto" },
  };
  for (unsigned i = 0; i < G_N_ELEMENTS (formats); i++)
    {
      uint8_t last = formats[i].cylinders - 1, head = formats[i].heads - 1;
      unsigned size = 128 << formats[i].code;
      bool wide = formats[i].rate == 1;
      uint8_t result[7];
      TnHarness *h = bare_machine (formats[i].kib * 1024, false, "drive-a-type", formats[i].drive);
      bring_up (h, formats[i].rate);
      seek (h, wide ? 2 * last : last);
      program_dma (h, TO_MEMORY, MEMORY, size);
      SEND (h, 0x46, head << 2, last, head, formats[i].sectors, formats[i].code, formats[i].sectors,
            0x1b, 0xff);
      g_assert_true (wait_irq (h, 500));
      receive (h, result, 7);
      g_assert_cmphex (result[0], ==, head << 2);
      check_memory (h, formats[i].kib * 1024 - size, size);
      tn_harness_free (h);
    }
}

/* A boot sector alone is a disk; what it lacks is zeros, and not for writing. */
static void
test_short_image (void)
{
  TnHarness *h = new_machine (512, 0);
  static const uint8_t zeros[512];
  uint8_t got[512];
  program_dma (h, TO_MEMORY, MEMORY, 1024);
  SEND (h, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 0, 0, 3, 2);
  check_memory (h, 0, 512);
  tn_harness_mem_read (h, MEMORY + 512, got, 512);
  g_assert_cmpmem (got, 512, zeros, 512);
  check_error (h, (const uint8_t[]){ 0x45, 0, 0, 0, 2, 2, 18, 0x1b, 0xff },
               (const uint8_t[]){ 0x40, 0x20, 0x20, 0, 0, 2, 2 });
  tn_harness_free (h);
}

static void
test_change (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0x80); /* since power on */
  seek (h, 1);
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0);
  tn_harness_block_present (h, "fd", false);
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0x80);
  tn_harness_out8 (h, DOR, 0x0c); /* not without the motor */
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0);
  tn_harness_out8 (h, DOR, 0x1c);
  seek (h, 2); /* still empty */
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0x80);
  /* A read waits for the index; the new medium brings it. */
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 2, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_false (wait_irq (h, 1500));
  tn_harness_block_present (h, "fd", true);
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0x80);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 2, 0, 2, 2);
  seek (h, 3);
  g_assert_cmphex (tn_harness_in8 (h, DIR_REG) & 0x80, ==, 0);
  /* Taken out in the middle of a command. */
  program_dma (h, TO_MEMORY, MEMORY, 18 * 512);
  SEND (h, 0x46, 0x00, 3, 0, 1, 2, 18, 0x1b, 0xff);
  tn_harness_settle (h);
  tn_harness_clock_step (h, 60 * MS);
  tn_harness_block_present (h, "fd", false);
  g_assert_true (wait_irq (h, 500));
  uint8_t result[7];
  receive (h, result, 7);
  g_assert_cmphex (result[0], ==, 0x40);
  tn_harness_free (h);
}

/* What the BIOS finds in the CMOS memory, whichever card was made first. */
static void
test_facts (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add_block (h, "a", disk, 1200 * 1024, 512, false, true);
  tn_harness_add (h, "rtc", "rtc", NULL);
  tn_harness_add (h, "fdc", "fdc", "drive-a", "a", "drive-b-type", "1.44m", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0x70, 0x10);
  g_assert_cmphex (tn_harness_in8 (h, 0x71), ==, 0x24);
  tn_harness_out8 (h, 0x70, 0x14);
  g_assert_cmphex (tn_harness_in8 (h, 0x71) & 0xc1, ==, 0x41);
  tn_harness_free (h);
}

/* ---- State ---- */

/* Saved, loaded and swapped at any time in a command, the bytes come out the same. */
static void
test_state (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  roundtrip (h, "fdc");
  seek (h, 5);
  roundtrip (h, "fdc");
  program_dma (h, TO_MEMORY, MEMORY, 18 * 512);
  SEND (h, 0x46, 0x00, 5, 0);
  roundtrip (h, "fdc");
  SEND (h, 1, 2, 18, 0x1b, 0xff);
  for (unsigned i = 0; i < 100 && !tn_harness_line (h, IRQ); i++)
    {
      roundtrip (h, "fdc");
      tn_harness_settle (h);
      tn_harness_clock_step (h, 7 * MS);
    }
  EXPECT (h, 0, 0, 0, 6, 0, 1, 2);
  check_memory (h, 5 * 36 * 512, 18 * 512);
  SEND (h, 0x0f, 0x00, 60);
  tn_harness_clock_step (h, 10 * MS);
  roundtrip (h, "fdc");
  g_assert_true (wait_irq (h, 500));
  roundtrip (h, "fdc");
  SEND (h, 0x08);
  EXPECT (h, 0x20, 60);
  tn_harness_free (h);
}

/* Hours after a command it can still be saved and loaded; and while one is under way, whatever rate
   the guest has set meanwhile, and whatever there was on the other drive before. */
static void
test_late_state (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  fill (disk, sizeof disk);
  tn_harness_add_block (h, "a", disk, SIZE_HD, 512, false, true);
  tn_harness_add_block (h, "b", disk, 1232 * 1024, 512, false, true);
  tn_harness_add (h, "dma", "dma", NULL);
  tn_harness_add (h, "fdc", "fdc", "drive-a", "a", "drive-b", "b", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0xd6, 0xc0);
  tn_harness_out8 (h, 0xd4, 0x00);
  bring_up (h, 0);
  tn_harness_out8 (h, DOR, 0x3d);
  SEND (h, 0x07, 0x01);
  g_assert_true (wait_irq (h, 900));
  SEND (h, 0x08);
  EXPECT (h, 0x21, 0x00);
  program_dma (h, TO_MEMORY, MEMORY, 1024);
  SEND (h, 0x46, 0x01, 0, 0, 1, 3, 8, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0x01, 0, 0, 0, 0, 2, 3);
  tn_harness_clock_step (h, 10000 * TN_NS_PER_S);
  roundtrip (h, "fdc");

  program_dma (h, TO_MEMORY, MEMORY, 18 * 512);
  SEND (h, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  for (unsigned i = 0; i < 100; i++)
    {
      roundtrip (h, "fdc");
      tn_harness_settle (h);
      tn_harness_clock_step (h, 4 * MS);
    }
  EXPECT (h, 0, 0, 0, 1, 0, 1, 2);
  check_memory (h, 0, 18 * 512);

  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  tn_harness_out8 (h, CCR, 2);
  for (unsigned i = 0; i < 100; i++)
    {
      roundtrip (h, "fdc");
      tn_harness_settle (h);
      tn_harness_clock_step (h, 4 * MS);
    }
  EXPECT (h, 0, 0, 0, 0, 0, 2, 2);

  /* The host's disk was asleep when a track was to be formatted. */
  tn_harness_out8 (h, CCR, 0);
  SEND (h, 0x03, 0xdf, 0x03);
  SEND (h, 0x4d, 0x00, 2, 18, 0x54, 0xf6);
  for (unsigned sector = 1; sector < 3; sector++)
    {
      g_assert_true (wait_irq (h, 500));
      for (unsigned i = 0; i < 4; i++)
        tn_harness_out8 (h, FIFO, (const uint8_t[]){ 0, 0, sector, 2 }[i]);
      tn_harness_clock_step (h, 10000 * TN_NS_PER_S);
      g_assert_true (wait_irq (h, 500));
      roundtrip (h, "fdc");
    }
  tn_harness_free (h);
}

/* An automatic drive stays what its first disk made it, even if another plugin finds it empty. */
static void
test_swap_empty (void)
{
  TnHarness *h = new_machine (2880 * 1024, 3);
  tn_harness_block_present (h, "fd", false);
  roundtrip (h, "fdc");
  tn_harness_block_present (h, "fd", true);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 0, 0, 36, 2, 36, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 1, 0, 1, 2);
  check_memory (h, 35 * 512, 512);
  tn_harness_free (h);
}

/* A reset while the image's bytes are on their way. */
static void
test_abort (void)
{
  TnHarness *h = new_machine (SIZE_HD, 0);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  tn_harness_clock_step (h, 250 * MS); /* asked for, and not settled */
  tn_harness_out8 (h, DOR, 0x18);
  tn_harness_out8 (h, DOR, 0x1c);
  tn_harness_clock_step (h, MS);
  tn_harness_out8 (h, CCR, 0);
  SEND (h, 0x46, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
  tn_harness_clock_step (h, 250 * MS);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 0, 0, 3, 2);
  check_memory (h, 512, 512);
  tn_harness_free (h);
}

/* Whatever a guest does, and whatever state it is given: no crash, and it can be reset. */
static void
test_fuzz (void)
{
  const char *seed = g_getenv ("TENON_FUZZ_SEED"), *rounds = g_getenv ("TENON_FUZZ_ROUNDS");
  g_autoptr (GRand) rand = g_rand_new_with_seed (seed ? atoi (seed) : 1);
  unsigned n = rounds ? atoi (rounds) : 60000;
  static const uint8_t opcodes[]
      = { 0x46, 0xe6, 0x45, 0xc5, 0x49, 0x4c, 0x42, 0x56, 0x51, 0x59, 0x5d, 0x4d,
          0x4a, 0x0f, 0x07, 0x08, 0x13, 0x03, 0x0e, 0x04, 0x12, 0x94, 0x8f, 0xcf };
  TnHarness *h = bare_machine (SIZE_HD, false, NULL, NULL);
  bring_up (h, 0);
  for (unsigned i = 0; i < n; i++)
    switch (g_rand_int_range (rand, 0, 24))
      {
      case 0 ... 7:
        if (g_rand_boolean (rand))
          tn_harness_out8 (h, FIFO, g_rand_int_range (rand, 0, 40));
        else
          tn_harness_out8 (h, FIFO, opcodes[g_rand_int_range (rand, 0, sizeof opcodes)]);
        break;
      case 8 ... 12:
        for (unsigned j = g_rand_int_range (rand, 1, 8); j; j--)
          tn_harness_in8 (h, FIFO);
        break;
      case 13 ... 16: tn_harness_clock_step (h, g_rand_int_range (rand, 0, 200) * MS); break;
      case 17: tn_harness_settle (h); break;
      case 18:
        program_dma (h, g_rand_boolean (rand) ? TO_MEMORY : FROM_MEMORY, MEMORY,
                     g_rand_int_range (rand, 1, 0x4000));
        break;
      case 19:
        tn_harness_out8 (h, DOR, g_rand_int_range (rand, 0, 8) ? 0x1c : g_rand_int (rand));
        break;
      case 20:
        tn_harness_out8 (h, g_rand_boolean (rand) ? CCR : DSR,
                         g_rand_int_range (rand, 0, 8) ? 0 : g_rand_int (rand));
        break;
      case 21:
        if (!g_rand_int_range (rand, 0, 10))
          tn_harness_block_present (h, "fd", g_rand_int_range (rand, 0, 3));
        break;
      case 22:
        if (!g_rand_int_range (rand, 0, 20))
          load_tampered (h, rand);
        break;
      default: tn_harness_in8 (h, g_rand_boolean (rand) ? MSR : DIR_REG);
      }
  tn_harness_block_present (h, "fd", true);
  tn_harness_settle (h);
  tn_harness_reset (h);
  tn_harness_out8 (h, 0xd6, 0xc0);
  tn_harness_out8 (h, 0xd4, 0x00);
  reset_by_dor (h);
  SEND (h, 0x07, 0x00); /* from beyond track 79 the first one does not reach track 0 */
  g_assert_true (wait_irq (h, 3000));
  bring_up (h, 0);
  program_dma (h, TO_MEMORY, MEMORY, 512);
  SEND (h, 0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
  g_assert_true (wait_irq (h, 500));
  EXPECT (h, 0, 0, 0, 0, 0, 2, 2);
  check_memory (h, 0, 512);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fdc/registers", test_registers);
  g_test_add_func ("/fdc/identification", test_identification);
  g_test_add_func ("/fdc/gate", test_gate);
  g_test_add_func ("/fdc/seek", test_seek);
  g_test_add_func ("/fdc/overlapped", test_overlapped);
  g_test_add_func ("/fdc/read", test_read);
  g_test_add_func ("/fdc/write", test_write);
  g_test_add_func ("/fdc/errors", test_errors);
  g_test_add_func ("/fdc/deleted", test_deleted);
  g_test_add_func ("/fdc/verify-scan-track", test_verify_scan_track);
  g_test_add_func ("/fdc/format", test_format);
  g_test_add_func ("/fdc/pio", test_pio);
  g_test_add_func ("/fdc/implied-seek", test_implied_seek);
  g_test_add_func ("/fdc/bochs", test_bochs);
  g_test_add_func ("/fdc/formats", test_formats);
  g_test_add_func ("/fdc/short-image", test_short_image);
  g_test_add_func ("/fdc/change", test_change);
  g_test_add_func ("/fdc/facts", test_facts);
  g_test_add_func ("/fdc/state", test_state);
  g_test_add_func ("/fdc/late-state", test_late_state);
  g_test_add_func ("/fdc/swap-empty", test_swap_empty);
  g_test_add_func ("/fdc/abort", test_abort);
  g_test_add_func ("/fdc/fuzz", test_fuzz);
  return g_test_run ();
}
