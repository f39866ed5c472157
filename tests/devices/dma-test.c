/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 8237A pair on the fake bus: registers, widths, directions, terminal count, autoinit, masks. */
#include "roundtrip.h"

#include <string.h>

enum { WRITE_MEMORY = 0x44, READ_MEMORY = 0x48, VERIFY = 0x40, AUTO = 0x10, DOWN = 0x20 };

static const uint16_t page_port[8] = { 0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a };

static TnHarness *
new_dma (void)
{
  TnHarness *h = tn_harness_new (4 << 20);
  tn_harness_add (h, "dma", "dma", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0xd6, 0xc0); /* channel 4 is the cascade */
  tn_harness_out8 (h, 0xd4, 0x00);
  return h;
}

static uint16_t
reg (unsigned channel, unsigned n)
{
  return channel < 4 ? n : 0xc0 + 2 * n;
}

static void
word_out (TnHarness *h, uint16_t port, uint16_t value)
{
  tn_harness_out8 (h, port, value);
  tn_harness_out8 (h, port, value >> 8);
}

static uint16_t
word_in (TnHarness *h, unsigned channel, unsigned n)
{
  tn_harness_out8 (h, reg (channel, 0x0c), 0);
  uint8_t low = tn_harness_in8 (h, reg (channel, n));
  return low | tn_harness_in8 (h, reg (channel, n)) << 8;
}

/* address: of bytes, whatever the width; count: of bytes or words. */
static void
program (TnHarness *h, unsigned channel, unsigned mode, uint32_t address, unsigned count)
{
  unsigned n = channel & 3;
  tn_harness_out8 (h, reg (channel, 0x0a), 4 | n);
  tn_harness_out8 (h, reg (channel, 0x0b), mode | n);
  tn_harness_out8 (h, reg (channel, 0x0c), 0);
  word_out (h, reg (channel, 2 * n), channel < 4 ? address : address >> 1);
  word_out (h, reg (channel, 2 * n + 1), count - 1);
  tn_harness_out8 (h, page_port[channel], address >> 16);
}

static void
unmask (TnHarness *h, unsigned channel)
{
  tn_harness_out8 (h, reg (channel, 0x0a), channel & 3);
}

static uint8_t
status (TnHarness *h, unsigned channel)
{
  return tn_harness_in8 (h, reg (channel, 8));
}

static void
test_registers (void)
{
  TnHarness *h = new_dma ();
  word_out (h, 0x02, 0x1234);
  word_out (h, 0x03, 0x5678);
  g_assert_cmphex (word_in (h, 1, 2), ==, 0x1234);
  g_assert_cmphex (word_in (h, 1, 3), ==, 0x5678);
  word_out (h, 0xcc, 0xabcd);
  g_assert_cmphex (word_in (h, 7, 6), ==, 0xabcd);
  for (unsigned i = 0; i < 16; i++)
    tn_harness_out8 (h, 0x80 + i, 0x30 + i);
  for (unsigned i = 0; i < 16; i++)
    g_assert_cmphex (tn_harness_in8 (h, 0x80 + i), ==, 0x30 + i);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f), ==, 0xff);
  tn_harness_out8 (h, 0x0a, 2);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f), ==, 0xfb);
  tn_harness_out8 (h, 0x0f, 0x05);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f), ==, 0xf5);
  tn_harness_out8 (h, 0x0e, 0);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f), ==, 0xf0);
  tn_harness_in8 (h, 0x00); /* the flip-flop is in the middle */
  tn_harness_out8 (h, 0x0d, 0);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f), ==, 0xff);
  word_out (h, 0x00, 0x1122);
  g_assert_cmphex (word_in (h, 0, 0), ==, 0x1122);
  roundtrip (h, "dma");
  tn_harness_free (h);
}

static void
test_to_memory (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[300], memory[302];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = i * 7 + 1;
  tn_harness_add_dma (h, 2);
  program (h, 2, WRITE_MEMORY, 0x12345, 256);
  tn_harness_dma_give (h, 2, bytes, 100); /* waits behind the mask */
  g_assert_cmphex (status (h, 2), ==, 0x40);
  unmask (h, 2);
  g_assert_cmphex (word_in (h, 2, 4), ==, 0x2345 + 100);
  g_assert_cmphex (word_in (h, 2, 5), ==, 155);
  roundtrip (h, "dma");
  tn_harness_dma_give (h, 2, bytes + 100, 200);
  g_assert_cmphex (word_in (h, 2, 5), ==, 0xffff);
  g_assert_cmphex (status (h, 2) & 0x0f, ==, 0x04);
  g_assert_cmphex (status (h, 2) & 0x0f, ==, 0); /* cleared by reading */
  g_assert_cmphex (tn_harness_in8 (h, 0x0f) & 0x04, ==, 0x04);
  tn_harness_mem_read (h, 0x12345, memory, 257);
  g_assert_cmpmem (memory, 256, bytes, 256);
  g_assert_cmphex (memory[256], ==, 0);
  tn_harness_free (h);
}

static void
test_from_memory_words (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[64];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = 0xc0 - i;
  tn_harness_mem_write (h, 0x2fff0, bytes, sizeof bytes);
  tn_harness_add_dma (h, 5);
  program (h, 5, READ_MEMORY, 0x2fff0, 32); /* crosses 64 KiB within the 128 KiB page */
  unmask (h, 5);
  g_autoptr (GByteArray) taken = tn_harness_dma_take (h, 5, 100);
  g_assert_cmpmem (taken->data, taken->len, bytes, sizeof bytes);
  g_assert_cmphex (status (h, 5) & 0x0f, ==, 0x02);
  tn_harness_free (h);
}

static void
test_wrap (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[32], memory[16];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = i + 1;
  tn_harness_add_dma (h, 1);
  program (h, 1, WRITE_MEMORY, 0x3fff0, 32);
  unmask (h, 1);
  tn_harness_dma_give (h, 1, bytes, 32);
  tn_harness_mem_read (h, 0x3fff0, memory, 16);
  g_assert_cmpmem (memory, 16, bytes, 16);
  tn_harness_mem_read (h, 0x30000, memory, 16); /* not 40000: pages do not carry */
  g_assert_cmpmem (memory, 16, bytes + 16, 16);
  tn_harness_mem_read (h, 0x40000, memory, 1);
  g_assert_cmphex (memory[0], ==, 0);
  tn_harness_free (h);
}

static void
test_down (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, memory[8];
  static const uint8_t reversed[8] = { 8, 7, 6, 5, 4, 3, 2, 1 };
  static const uint8_t words[8] = { 7, 8, 5, 6, 3, 4, 1, 2 };
  tn_harness_add_dma (h, 1);
  program (h, 1, WRITE_MEMORY | DOWN, 0x50007, 8);
  unmask (h, 1);
  tn_harness_dma_give (h, 1, bytes, 8);
  tn_harness_mem_read (h, 0x50000, memory, 8);
  g_assert_cmpmem (memory, 8, reversed, 8);
  g_assert_cmphex (word_in (h, 1, 2), ==, 0xffff);

  tn_harness_add_dma (h, 6);
  program (h, 6, READ_MEMORY | DOWN, 0x50006, 4);
  tn_harness_mem_write (h, 0x50000, bytes, 8);
  unmask (h, 6);
  g_autoptr (GByteArray) taken = tn_harness_dma_take (h, 6, 8);
  g_assert_cmpmem (taken->data, taken->len, words, 8);
  tn_harness_free (h);
}

static void
test_autoinit (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[40], memory[16];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = i + 1;
  tn_harness_add_dma (h, 3);
  program (h, 3, WRITE_MEMORY | AUTO, 0x10000, 16);
  unmask (h, 3);
  tn_harness_dma_give (h, 3, bytes, 40);
  g_assert_cmphex (word_in (h, 3, 6), ==, 8);
  g_assert_cmphex (word_in (h, 3, 7), ==, 7);
  g_assert_cmphex (tn_harness_in8 (h, 0x0f) & 8, ==, 0);
  g_assert_cmphex (status (h, 3) & 0x0f, ==, 8);
  tn_harness_mem_read (h, 0x10000, memory, 16);
  g_assert_cmpmem (memory, 8, bytes + 32, 8);
  g_assert_cmpmem (memory + 8, 8, bytes + 24, 8);
  roundtrip (h, "dma");
  tn_harness_free (h);
}

/* A requester that takes for ever must not hold up the machine. */
static void
test_endless (void)
{
  TnHarness *h = new_dma ();
  tn_harness_add_dma (h, 0);
  program (h, 0, READ_MEMORY | AUTO, 0x10000, 1);
  unmask (h, 0);
  g_autoptr (GByteArray) taken = tn_harness_dma_take (h, 0, 1 << 20);
  g_assert_cmpuint (taken->len, <=, 1 << 17);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  tn_harness_free (h);
}

static void
test_gates (void)
{
  TnHarness *h = new_dma ();
  uint8_t bytes[4] = { 1, 2, 3, 4 };
  tn_harness_add_dma (h, 1);
  program (h, 1, WRITE_MEMORY, 0x10000, 64);
  tn_harness_out8 (h, 0xd4, 0x04); /* the cascade is masked */
  unmask (h, 1);
  tn_harness_dma_give (h, 1, bytes, 4);
  g_assert_cmphex (word_in (h, 1, 3), ==, 63);
  tn_harness_out8 (h, 0x08, 0x04); /* controller 1 is disabled */
  tn_harness_out8 (h, 0xd4, 0x00);
  g_assert_cmphex (word_in (h, 1, 3), ==, 63);
  tn_harness_out8 (h, 0x08, 0x00);
  g_assert_cmphex (word_in (h, 1, 3), ==, 59);
  program (h, 1, VERIFY, 0x10000, 64);
  unmask (h, 1);
  tn_harness_mem_write (h, 0x10000, "abcd", 4);
  tn_harness_dma_give (h, 1, bytes, 4);
  g_assert_cmphex (word_in (h, 1, 3), ==, 59);
  g_assert_cmphex (tn_harness_read (h, 0x10000, 4), ==, 0x64636261);
  program (h, 1, 0xc0, 0x10000, 64); /* cascade: moves nothing here */
  unmask (h, 1);
  tn_harness_dma_give (h, 1, bytes, 4);
  g_assert_cmphex (word_in (h, 1, 3), ==, 63);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/dma/registers", test_registers);
  g_test_add_func ("/dma/to-memory", test_to_memory);
  g_test_add_func ("/dma/from-memory-words", test_from_memory_words);
  g_test_add_func ("/dma/wrap", test_wrap);
  g_test_add_func ("/dma/down", test_down);
  g_test_add_func ("/dma/autoinit", test_autoinit);
  g_test_add_func ("/dma/endless", test_endless);
  g_test_add_func ("/dma/gates", test_gates);
  return g_test_run ();
}
