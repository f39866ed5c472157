/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 8254, port 61h and NMI on the fake bus: six modes, BCD, latches, read-back, gate, IRQ 0. */
#include "roundtrip.h"

#define HZ 1193182
#define CONTROL 0x43

static TnHarness *
new_pit (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "pit", "pit", NULL);
  tn_harness_start (h);
  return h;
}

/* Just past the n-th clock after origin (periods begin at whole nanoseconds, rounded up). */
static void
clocks_from (TnHarness *h, int64_t origin, int64_t n)
{
  tn_harness_clock_step (h, origin + tn_ticks_to_ns (n, HZ) + 10 - tn_harness_now (h));
}

static void
program (TnHarness *h, unsigned counter, uint8_t control, uint16_t count)
{
  tn_harness_out8 (h, CONTROL, counter << 6 | 0x30 | control);
  tn_harness_out8 (h, 0x40 + counter, count);
  tn_harness_out8 (h, 0x40 + counter, count >> 8);
}

static uint16_t
count (TnHarness *h, unsigned counter)
{
  tn_harness_out8 (h, CONTROL, counter << 6);
  uint8_t low = tn_harness_in8 (h, 0x40 + counter);
  return low | tn_harness_in8 (h, 0x40 + counter) << 8;
}

static uint8_t
status (TnHarness *h, unsigned counter)
{
  tn_harness_out8 (h, CONTROL, 0xe0 | 2 << counter);
  return tn_harness_in8 (h, 0x40 + counter);
}

static bool
out (TnHarness *h, unsigned counter)
{
  return status (h, counter) & 0x80;
}

/* The count is in the counting element one clock after it was written. */
static int64_t
loaded (TnHarness *h)
{
  return tn_harness_now (h) + tn_ticks_to_ns (1, HZ);
}

static void
gate2 (TnHarness *h, bool level)
{
  tn_harness_out8 (h, 0x61, level ? 1 : 0);
}

static void
test_mode0 (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 0, 1000);
  int64_t t = loaded (h);
  g_assert_false (out (h, 0));
  clocks_from (h, t, 0);
  g_assert_cmpuint (count (h, 0), ==, 1000);
  clocks_from (h, t, 999);
  g_assert_cmpuint (count (h, 0), ==, 1);
  g_assert_false (out (h, 0));
  g_assert_false (tn_harness_line (h, "isa:0"));
  tn_harness_line_edges (h, "isa:0");
  clocks_from (h, t, 1000);
  g_assert_true (out (h, 0));
  g_assert_true (tn_harness_line (h, "isa:0"));
  clocks_from (h, t, 1001);
  g_assert_cmphex (count (h, 0), ==, 0xffff); /* goes on below zero */
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1);
  roundtrip (h, "pit");

  tn_harness_out8 (h, 0x40, 0x10); /* the first byte of a count stops it */
  g_assert_false (out (h, 0));
  uint16_t before = count (h, 0);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_cmpuint (count (h, 0), ==, before);
  tn_harness_out8 (h, 0x40, 0);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1);
  tn_harness_free (h);
}

static void
test_mode0_gate (void)
{
  TnHarness *h = new_pit ();
  gate2 (h, true);
  program (h, 2, 0, 500);
  int64_t t = loaded (h);
  clocks_from (h, t, 100);
  gate2 (h, false);
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_cmpuint (count (h, 2), ==, 400);
  roundtrip (h, "pit");
  gate2 (h, true);
  t = tn_harness_now (h);
  clocks_from (h, t, 399);
  g_assert_cmphex (tn_harness_in8 (h, 0x61) & 0x20, ==, 0);
  clocks_from (h, t, 401);
  g_assert_cmphex (tn_harness_in8 (h, 0x61) & 0x20, ==, 0x20);
  tn_harness_free (h);
}

static void
test_mode1 (void)
{
  TnHarness *h = new_pit ();
  program (h, 2, 2, 300);
  g_assert_true (out (h, 2));
  g_assert_cmphex (status (h, 2) & 0x40, ==, 0x40); /* null count until the trigger */
  gate2 (h, true);
  int64_t t = loaded (h);
  clocks_from (h, t, 299);
  g_assert_false (out (h, 2));
  gate2 (h, false); /* does not matter */
  gate2 (h, true);  /* starts over */
  t = loaded (h);
  clocks_from (h, t, 299);
  g_assert_false (out (h, 2));
  g_assert_cmpuint (count (h, 2), ==, 1);
  clocks_from (h, t, 300);
  g_assert_true (out (h, 2));
  roundtrip (h, "pit");
  tn_harness_free (h);
}

static void
test_mode2 (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 4, 1193); /* 1000.15 Hz */
  int64_t t = loaded (h);
  tn_harness_line_edges (h, "isa:0");
  clocks_from (h, t, 1191);
  g_assert_true (out (h, 0));
  clocks_from (h, t, 1192);
  g_assert_cmpuint (count (h, 0), ==, 1);
  g_assert_false (out (h, 0));
  clocks_from (h, t, 1193);
  g_assert_cmpuint (count (h, 0), ==, 1193);
  g_assert_true (out (h, 0));
  clocks_from (h, t, 1193 * 1000 + 5);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1000);
  roundtrip (h, "pit");
  g_assert_cmpuint (count (h, 0), ==, 1188);

  tn_harness_out8 (h, 0x40, 2000 & 0xff); /* a new count begins with the next period */
  tn_harness_out8 (h, 0x40, 2000 >> 8);
  g_assert_cmphex (status (h, 0) & 0x40, ==, 0x40);
  clocks_from (h, t, 1193 * 1001 - 1);
  g_assert_cmpuint (count (h, 0), ==, 1);
  clocks_from (h, t, 1193 * 1001 + 1);
  g_assert_cmpuint (count (h, 0), ==, 1999);
  g_assert_cmphex (status (h, 0) & 0x40, ==, 0);
  tn_harness_line_edges (h, "isa:0");
  clocks_from (h, t, 1193 * 1001 + 2000 * 7 + 1);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 7);
  tn_harness_free (h);
}

static void
test_mode3 (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 6, 10);
  int64_t t = loaded (h);
  static const uint8_t even[] = { 10, 8, 6, 4, 2, 10, 8, 6, 4, 2 };
  for (unsigned i = 0; i < 30; i++)
    {
      clocks_from (h, t, i);
      g_assert_cmpuint (count (h, 0), ==, even[i % 10]);
      g_assert_cmpint (out (h, 0), ==, i % 10 < 5);
    }
  program (h, 1, 6, 5);
  t = loaded (h);
  static const uint8_t odd[] = { 4, 2, 0, 4, 2 };
  for (unsigned i = 0; i < 15; i++)
    {
      clocks_from (h, t, i);
      g_assert_cmpuint (count (h, 1), ==, odd[i % 5]);
      g_assert_cmpint (out (h, 1), ==, i % 5 < 3);
    }
  program (h, 0, 6, 0); /* 65536, as a BIOS sets it */
  t = loaded (h);
  tn_harness_line_edges (h, "isa:0");
  clocks_from (h, t, 65536 * 18 + 100);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 18);
  roundtrip (h, "pit");
  tn_harness_free (h);
}

static void
test_mode3_gate (void)
{
  TnHarness *h = new_pit ();
  program (h, 2, 6, 1000);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_true (out (h, 2)); /* the gate is low */
  gate2 (h, true);
  int64_t t = loaded (h);
  clocks_from (h, t, 700);
  g_assert_false (out (h, 2));
  gate2 (h, false);
  g_assert_true (out (h, 2));
  gate2 (h, true); /* starts over */
  t = loaded (h);
  clocks_from (h, t, 100);
  g_assert_cmpuint (count (h, 2), ==, 800);
  roundtrip (h, "pit");
  tn_harness_free (h);
}

static void
test_mode4 (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 8, 4773);
  int64_t t = loaded (h);
  g_assert_true (out (h, 0));
  tn_harness_line_edges (h, "isa:0");
  clocks_from (h, t, 4773);
  g_assert_false (out (h, 0));
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 0);
  roundtrip (h, "pit");
  clocks_from (h, t, 4774);
  g_assert_true (out (h, 0));
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1);
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 0);
  tn_harness_out8 (h, 0x40, 100); /* a new count starts it again */
  tn_harness_out8 (h, 0x40, 0);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1);
  tn_harness_free (h);
}

static void
test_mode5 (void)
{
  TnHarness *h = new_pit ();
  program (h, 2, 10, 50);
  gate2 (h, true);
  int64_t t = loaded (h);
  clocks_from (h, t, 49);
  g_assert_true (out (h, 2));
  clocks_from (h, t, 50);
  g_assert_false (out (h, 2));
  clocks_from (h, t, 51);
  g_assert_true (out (h, 2));
  tn_harness_free (h);
}

static void
test_bcd (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 5, 0x1000); /* mode 2, BCD: 1000 */
  int64_t t = loaded (h);
  clocks_from (h, t, 1);
  g_assert_cmphex (count (h, 0), ==, 0x0999);
  clocks_from (h, t, 1000 - 10);
  g_assert_cmphex (count (h, 0), ==, 0x0010);
  program (h, 0, 1, 0); /* mode 0: 10000 */
  t = loaded (h);
  clocks_from (h, t, 1);
  g_assert_cmphex (count (h, 0), ==, 0x9999);
  clocks_from (h, t, 10000);
  g_assert_true (out (h, 0));
  clocks_from (h, t, 10001);
  g_assert_cmphex (count (h, 0), ==, 0x9999);
  program (h, 0, 5, 0xffff); /* not BCD at all: only must not harm */
  tn_harness_clock_step (h, TN_NS_PER_S);
  count (h, 0);
  tn_harness_free (h);
}

static void
test_access (void)
{
  TnHarness *h = new_pit ();
  tn_harness_out8 (h, CONTROL, 0x94); /* counter 2, low byte, mode 2 */
  gate2 (h, true);
  tn_harness_out8 (h, 0x42, 0x80);
  int64_t t = loaded (h);
  clocks_from (h, t, 0x10);
  g_assert_cmphex (tn_harness_in8 (h, 0x42), ==, 0x70);
  tn_harness_out8 (h, CONTROL, 0xa4); /* high byte */
  tn_harness_out8 (h, 0x42, 0x80);
  t = loaded (h);
  clocks_from (h, t, 0x100);
  g_assert_cmphex (tn_harness_in8 (h, 0x42), ==, 0x7f);
  clocks_from (h, t, 0x1ff);
  g_assert_cmphex (tn_harness_in8 (h, 0x42), ==, 0x7e);
  /* Without a latch each byte is read when it is read. */
  program (h, 2, 4, 0x8000);
  t = loaded (h);
  clocks_from (h, t, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, 0x42), ==, 0x01);
  clocks_from (h, t, 0x101);
  g_assert_cmphex (tn_harness_in8 (h, 0x42), ==, 0x7e);
  tn_harness_free (h);
}

static void
test_read_back (void)
{
  TnHarness *h = new_pit ();
  program (h, 0, 4, 0x1234);
  int64_t t = loaded (h);
  clocks_from (h, t, 0x34);
  tn_harness_out8 (h, CONTROL, 0xc2); /* count and status of counter 0 */
  clocks_from (h, t, 0x100);
  tn_harness_out8 (h, CONTROL, 0xc2); /* ignored until they were read */
  roundtrip (h, "pit");
  g_assert_cmphex (tn_harness_in8 (h, 0x40), ==, 0xb4);
  g_assert_cmphex (tn_harness_in8 (h, 0x40), ==, 0x00);
  g_assert_cmphex (tn_harness_in8 (h, 0x40), ==, 0x12);
  g_assert_cmphex (tn_harness_in8 (h, 0x40), ==, 0x34);
  g_assert_cmphex (tn_harness_in8 (h, 0x40), ==, 0x11);
  tn_harness_free (h);
}

static void
test_port61 (void)
{
  TnHarness *h = new_pit ();
  unsigned toggles = 0;
  uint8_t last = tn_harness_in8 (h, 0x61) & 0x10;
  for (unsigned i = 0; i < 1000; i++)
    {
      tn_harness_clock_step (h, 2000);
      uint8_t now = tn_harness_in8 (h, 0x61) & 0x10;
      toggles += now != last;
      last = now;
    }
  g_assert_cmpuint (toggles, >=, 132); /* 2 ms of 15.085 us */
  g_assert_cmpuint (toggles, <=, 133);
  tn_harness_out8 (h, 0x61, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, 0x61) & 0xcf, ==, 0x0f);
  tn_harness_free (h);
}

static void
test_nmi (void)
{
  TnHarness *h = new_pit ();
  tn_harness_set_line (h, "pci:serr", true);
  g_assert_true (tn_harness_line (h, "cpu:nmi"));
  g_assert_cmphex (tn_harness_in8 (h, 0x61) & 0xc0, ==, 0x80);
  tn_harness_set_line (h, "nmi:disable", true);
  g_assert_false (tn_harness_line (h, "cpu:nmi"));
  tn_harness_set_line (h, "nmi:disable", false);
  g_assert_true (tn_harness_line (h, "cpu:nmi"));
  roundtrip (h, "pit");
  g_assert_true (tn_harness_line (h, "cpu:nmi"));
  tn_harness_set_line (h, "pci:serr", false);
  tn_harness_out8 (h, 0x61, 0x04);
  g_assert_false (tn_harness_line (h, "cpu:nmi"));
  tn_harness_set_line (h, "isa:iochk", true);
  g_assert_cmphex (tn_harness_in8 (h, 0x61) & 0xc0, ==, 0x40);
  tn_harness_free (h);
}

/* What a tickless guest does: one shot after the other; and a count that no timer could follow. */
static void
test_rates (void)
{
  TnHarness *h = new_pit ();
  tn_harness_out8 (h, CONTROL, 0x38);
  tn_harness_line_edges (h, "isa:0");
  for (unsigned i = 0; i < 100; i++)
    {
      tn_harness_out8 (h, 0x40, 0x00);
      tn_harness_out8 (h, 0x40, 0x10);
      g_assert_true (tn_harness_swap (h, "pit", NULL, NULL));
      tn_harness_clock_step (h, 4 * TN_NS_PER_MS);
      g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), ==, 1);
    }
  program (h, 0, 4, 2);
  tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:0"), <=, 1001);
  program (h, 0, 4, 1);
  tn_harness_clock_step (h, TN_NS_PER_S);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pit/mode0", test_mode0);
  g_test_add_func ("/pit/mode0-gate", test_mode0_gate);
  g_test_add_func ("/pit/mode1", test_mode1);
  g_test_add_func ("/pit/mode2", test_mode2);
  g_test_add_func ("/pit/mode3", test_mode3);
  g_test_add_func ("/pit/mode3-gate", test_mode3_gate);
  g_test_add_func ("/pit/mode4", test_mode4);
  g_test_add_func ("/pit/mode5", test_mode5);
  g_test_add_func ("/pit/bcd", test_bcd);
  g_test_add_func ("/pit/access", test_access);
  g_test_add_func ("/pit/read-back", test_read_back);
  g_test_add_func ("/pit/port61", test_port61);
  g_test_add_func ("/pit/nmi", test_nmi);
  g_test_add_func ("/pit/rates", test_rates);
  return g_test_run ();
}
