/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NS16550A on the fake bus, after the PC16550D data sheet and what Linux's 8250 driver asks of it.
 */
#include "hostile.h"
#include "roundtrip.h"

enum { RBR = 0x3f8, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define CHAR_115200 INT64_C (86806) /* ns, ten bits, rounded up */

static TnHarness *
new_port (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add_char (h, "term");
  tn_harness_add (h, "com1", "uart16550a", "chardev", "term", NULL);
  tn_harness_start (h);
  return h;
}

static void
set_line (TnHarness *h, unsigned divisor, uint8_t lcr)
{
  tn_harness_out8 (h, LCR, 0x80 | lcr);
  tn_harness_out8 (h, RBR, divisor);
  tn_harness_out8 (h, IER, divisor >> 8);
  tn_harness_out8 (h, LCR, lcr);
}

static void
check_output (TnHarness *h, const char *expected)
{
  GByteArray *got = tn_harness_char_take (h, "term");
  g_byte_array_append (got, (const uint8_t *) "", 1);
  g_assert_cmpstr ((const char *) got->data, ==, expected);
  g_byte_array_unref (got);
}

static void
test_reset (void)
{
  TnHarness *h = new_port ();
  g_assert_cmphex (tn_harness_in8 (h, IER), ==, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x01);
  g_assert_cmphex (tn_harness_in8 (h, LCR), ==, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, MCR), ==, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  g_assert_cmphex (tn_harness_in8 (h, MSR) & 0x0f, ==, 0x00);
  tn_harness_free (h);
}

/* What autoconfig () of the 8250 driver does. */
static void
test_detection (void)
{
  TnHarness *h = new_port ();
  tn_harness_out8 (h, IER, 0x0f);
  g_assert_cmphex (tn_harness_in8 (h, IER), ==, 0x0f);
  tn_harness_out8 (h, IER, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, IER), ==, 0x0f);
  tn_harness_out8 (h, IER, 0);
  tn_harness_out8 (h, MCR, 0x1a);
  g_assert_cmphex (tn_harness_in8 (h, MSR) & 0xf0, ==, 0x90);
  tn_harness_out8 (h, MCR, 0);
  tn_harness_out8 (h, IIR, 0x01);
  g_assert_cmphex (tn_harness_in8 (h, IIR) >> 6, ==, 3);
  tn_harness_out8 (h, LCR, 0xbf);
  g_assert_cmphex (tn_harness_in8 (h, IIR), !=, 0); /* no EFR */
  tn_harness_out8 (h, LCR, 0x80);
  tn_harness_out8 (h, IIR, 0x21);
  g_assert_cmphex (tn_harness_in8 (h, IIR) & 0x20, ==, 0); /* no 64-byte FIFO */
  tn_harness_out8 (h, LCR, 0);
  for (unsigned i = 0; i < 256; i++)
    {
      tn_harness_out8 (h, SCR, i);
      g_assert_cmphex (tn_harness_in8 (h, SCR), ==, i);
    }
  tn_harness_free (h);
}

/* The interrupt of an empty transmitter comes each time that IER bit 1 goes up. */
static void
test_thre_interrupt (void)
{
  TnHarness *h = new_port ();
  tn_harness_out8 (h, MCR, 0x08);
  for (unsigned i = 0; i < 3; i++)
    {
      tn_harness_out8 (h, IER, 0x02);
      g_assert_true (tn_harness_line (h, "isa:4"));
      g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x02);
      g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x01);
      g_assert_false (tn_harness_line (h, "isa:4"));
      tn_harness_out8 (h, IER, 0x00);
    }
  tn_harness_out8 (h, MCR, 0);
  tn_harness_out8 (h, IER, 0x02); /* OUT2 gates the pin, not the register */
  g_assert_false (tn_harness_line (h, "isa:4"));
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x02);
  tn_harness_free (h);
}

static void
test_transmit_pace (void)
{
  TnHarness *h = new_port ();
  set_line (h, 1, 3);
  tn_harness_out8 (h, RBR, 'a');
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x20); /* in the shift register */
  tn_harness_out8 (h, RBR, 'b');
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x00);
  check_output (h, "");
  tn_harness_clock_step (h, CHAR_115200 - 2);
  check_output (h, "");
  tn_harness_clock_step (h, 2);
  check_output (h, "a");
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x20);
  tn_harness_clock_step (h, CHAR_115200);
  check_output (h, "b");
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  tn_harness_free (h);
}

/* A microsecond for what the guest sees; the back end waits if nobody else does. */
static void
test_transmit_fast (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add_char (h, "term");
  tn_harness_add (h, "com1", "uart16550a", "chardev", "term", "fast", "true", NULL);
  tn_harness_start (h);
  set_line (h, 1, 3);
  tn_harness_out8 (h, RBR, 'a');
  tn_harness_out8 (h, RBR, 'b');
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x00);
  tn_harness_clock_step (h, 1000);
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x20);
  check_output (h, "a");
  tn_harness_clock_step (h, 1000);
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  check_output (h, "b");
  tn_harness_out8 (h, RBR, 'c'); /* and nobody looks */
  tn_harness_clock_step (h, 600000);
  check_output (h, "c");
  roundtrip (h, "com1");
  tn_harness_out8 (h, RBR, 'd');
  roundtrip (h, "com1");
  tn_harness_clock_step (h, 600000);
  check_output (h, "d");
  tn_harness_out8 (h, MCR, 0x08);
  tn_harness_out8 (h, RBR, 'e');
  tn_harness_out8 (h, RBR, 'f');
  tn_harness_out8 (h, IER, 0x02); /* now an interrupt is waited for */
  g_assert_false (tn_harness_line (h, "isa:4"));
  tn_harness_clock_step (h, 1000);
  g_assert_true (tn_harness_line (h, "isa:4"));
  tn_harness_clock_step (h, 1000);
  check_output (h, "ef");
  tn_harness_out8 (h, IER, 0x01);
  tn_harness_out8 (h, RBR, 'g');
  tn_harness_out8 (h, MCR, 0x18); /* it comes back, and that is an interrupt */
  tn_harness_clock_step (h, 1000);
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x04);
  g_assert_cmphex (tn_harness_in8 (h, RBR), ==, 'g');
  check_output (h, "");
  tn_harness_free (h);
}

static void
test_transmit_fifo (void)
{
  TnHarness *h = new_port ();
  set_line (h, 12, 3); /* 9600 */
  tn_harness_out8 (h, IIR, 0x07);
  tn_harness_out8 (h, MCR, 0x08);
  tn_harness_out8 (h, IER, 0x02);
  tn_harness_in8 (h, IIR);
  tn_harness_line_edges (h, "isa:4");
  for (unsigned i = 0; i < 16; i++)
    tn_harness_out8 (h, RBR, 'A' + i);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:4"), ==, 0);
  tn_harness_clock_step (h, 15 * 12 * CHAR_115200);
  g_assert_true (tn_harness_line (h, "isa:4")); /* the FIFO is empty, one character is on its way */
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x20);
  check_output (h, "ABCDEFGHIJKLMNO");
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0xc2);
  tn_harness_clock_step (h, 12 * CHAR_115200);
  check_output (h, "P");
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  /* A single character: its interrupt comes when it has left. */
  tn_harness_out8 (h, RBR, 'x');
  g_assert_false (tn_harness_line (h, "isa:4"));
  tn_harness_clock_step (h, 12 * CHAR_115200);
  g_assert_true (tn_harness_line (h, "isa:4"));
  check_output (h, "x");
  tn_harness_free (h);
}

/* A back end that takes nothing stops the transmitter; nothing is lost, over a swap neither. */
static void
test_slow_back_end (void)
{
  TnHarness *h = new_port ();
  set_line (h, 1, 3);
  tn_harness_out8 (h, IIR, 0x07);
  tn_harness_char_limit (h, "term", 2);
  for (unsigned i = 0; i < 8; i++)
    tn_harness_out8 (h, RBR, '0' + i);
  tn_harness_clock_step (h, TN_NS_PER_S);
  check_output (h, "01");
  g_assert_cmphex (tn_harness_in8 (h, LSR) & 0x40, ==, 0);
  roundtrip (h, "com1");
  tn_harness_clock_step (h, TN_NS_PER_S);
  tn_harness_out8 (h, RBR, '8');
  tn_harness_char_limit (h, "term", SIZE_MAX);
  tn_harness_clock_step (h, TN_NS_PER_S);
  check_output (h, "2345678");
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  tn_harness_free (h);
}

static void
test_receive (void)
{
  TnHarness *h = new_port ();
  tn_harness_out8 (h, MCR, 0x08);
  tn_harness_out8 (h, IER, 0x01);
  tn_harness_char_feed (h, "term", "hi", 2);
  tn_harness_settle (h);
  g_assert_true (tn_harness_line (h, "isa:4"));
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0x04);
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x61);
  g_assert_cmphex (tn_harness_in8 (h, RBR), ==, 'h' & 0x1f); /* five-bit words after reset */
  g_assert_false (tn_harness_line (h, "isa:4"));
  set_line (h, 1, 3);
  tn_harness_clock_step (h, 10 * CHAR_115200);
  g_assert_cmphex (tn_harness_in8 (h, RBR), ==, 'i');
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  tn_harness_free (h);
}

static void
test_receive_fifo (void)
{
  TnHarness *h = new_port ();
  set_line (h, 1, 3);
  tn_harness_out8 (h, IIR, 0x87); /* trigger at 8 */
  tn_harness_out8 (h, MCR, 0x08);
  tn_harness_out8 (h, IER, 0x01);
  tn_harness_char_feed (h, "term", "abc", 3);
  tn_harness_settle (h);
  g_assert_false (tn_harness_line (h, "isa:4"));
  tn_harness_clock_step (h, 4 * CHAR_115200 + 1);
  g_assert_true (tn_harness_line (h, "isa:4"));
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0xcc);
  g_assert_cmphex (tn_harness_in8 (h, RBR), ==, 'a');
  g_assert_false (tn_harness_line (h, "isa:4")); /* a read starts the timeout over */
  tn_harness_clock_step (h, 4 * CHAR_115200 + 1);
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0xcc);
  tn_harness_char_feed (h, "term", "defghij", 7);
  tn_harness_settle (h);
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0xc4);
  roundtrip (h, "com1");
  for (char c = 'b'; c <= 'j'; c++)
    g_assert_cmphex (tn_harness_in8 (h, RBR), ==, c);
  g_assert_cmphex (tn_harness_in8 (h, IIR), ==, 0xc1);
  tn_harness_free (h);
}

/* More than the FIFO holds waits outside, and comes at the line's speed. */
static void
test_receive_flood (void)
{
  TnHarness *h = new_port ();
  char text[200];
  unsigned got = 0;
  set_line (h, 1, 3);
  tn_harness_out8 (h, IIR, 0x07);
  for (unsigned i = 0; i < sizeof text; i++)
    text[i] = i;
  tn_harness_char_feed (h, "term", text, sizeof text);
  for (unsigned step = 0; step < 400 && got < sizeof text; step++)
    {
      uint8_t lsr = tn_harness_in8 (h, LSR);
      g_assert_cmphex (lsr & 0x02, ==, 0);
      if (lsr & 1)
        g_assert_cmphex (tn_harness_in8 (h, RBR), ==, got++);
      else
        tn_harness_clock_step (h, CHAR_115200);
      if (step % 50 == 0)
        roundtrip (h, "com1");
    }
  g_assert_cmpuint (got, ==, sizeof text);
  g_assert_cmpint (tn_harness_now (h), >, 180 * CHAR_115200);
  tn_harness_free (h);
}

static void
test_loopback (void)
{
  TnHarness *h = new_port ();
  set_line (h, 1, 3);
  tn_harness_out8 (h, MCR, 0x10);
  tn_harness_out8 (h, IIR, 0x07);
  for (unsigned i = 0; i < 40; i++)
    {
      tn_harness_out8 (h, RBR, i);
      tn_harness_clock_step (h, CHAR_115200);
    }
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x63); /* overrun: 16 are kept */
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x61);
  for (unsigned i = 0; i < 16; i++)
    g_assert_cmphex (tn_harness_in8 (h, RBR), ==, i);
  g_assert_cmphex (tn_harness_in8 (h, LSR), ==, 0x60);
  check_output (h, "");
  /* RI has a delta at its trailing edge only. */
  tn_harness_in8 (h, MSR);
  tn_harness_out8 (h, MCR, 0x14);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, 0x40);
  tn_harness_out8 (h, MCR, 0x10);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, 0x04);
  g_assert_cmphex (tn_harness_in8 (h, MSR), ==, 0x00);
  tn_harness_free (h);
}

static void
fuzz_step (TnHarness *h, GRand *rand)
{
  uint16_t port = RBR + g_rand_int_range (rand, 0, 8);
  uint32_t value = g_rand_int (rand);
  switch (g_rand_int_range (rand, 0, 6))
    {
    case 0:
      tn_harness_clock_step (h, value % 1000000);
      break;
    case 1:
      tn_harness_char_feed (h, "term", &value, 1);
      break;
    case 2:
      tn_harness_out32 (h, port, value);
      break;
    case 3:
      tn_harness_in8 (h, port);
      break;
    default:
      tn_harness_out8 (h, port, value);
    }
}

static void
test_fuzz (void)
{
  TnHarness *h = new_port ();
  GRand *rand = g_rand_new_with_seed (16550);
  for (unsigned i = 0; i < 30000; i++)
    {
      fuzz_step (h, rand);
      if (i % 3000 == 0)
        roundtrip (h, "com1");
    }
  g_rand_free (rand);
  tn_harness_free (h);
}

static void
test_hostile_state (void)
{
  TnHarness *h = new_port ();
  GRand *rand = g_rand_new_with_seed (4);
  unsigned taken = 0;
  for (unsigned i = 0; i < 2000; i++)
    {
      for (unsigned j = 0; j < 20; j++)
        fuzz_step (h, rand);
      taken += load_tampered (h, rand);
    }
  g_test_message ("%u of 2000 were taken", taken);
  g_rand_free (rand);
  tn_harness_free (h);
}

static void
test_bad_port (void)
{
  g_autoptr (GError) error = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "com1", "uart16550a", "port", "0x3f9", NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, "multiple of 8"));
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/uart16550a/reset", test_reset);
  g_test_add_func ("/uart16550a/detection", test_detection);
  g_test_add_func ("/uart16550a/thre", test_thre_interrupt);
  g_test_add_func ("/uart16550a/transmit-pace", test_transmit_pace);
  g_test_add_func ("/uart16550a/transmit-fast", test_transmit_fast);
  g_test_add_func ("/uart16550a/transmit-fifo", test_transmit_fifo);
  g_test_add_func ("/uart16550a/slow-back-end", test_slow_back_end);
  g_test_add_func ("/uart16550a/receive", test_receive);
  g_test_add_func ("/uart16550a/receive-fifo", test_receive_fifo);
  g_test_add_func ("/uart16550a/receive-flood", test_receive_flood);
  g_test_add_func ("/uart16550a/loopback", test_loopback);
  g_test_add_func ("/uart16550a/fuzz", test_fuzz);
  g_test_add_func ("/uart16550a/hostile-state", test_hostile_state);
  g_test_add_func ("/uart16550a/bad-port", test_bad_port);
  return g_test_run ();
}
