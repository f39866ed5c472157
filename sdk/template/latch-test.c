/* SPDX-License-Identifier: MIT */
/* The latch on the fake bus: registers, interrupt, state, swap, two at once. */
#include <tenon/harness.h>

#define PORT 0x2a0

static void
test_registers (void)
{
  TnHarness *h = tn_harness_new (1 << 20);

  tn_harness_add (h, "latch", "latch", "irq", "5", NULL);
  tn_harness_start (h);
  g_assert_false (tn_harness_line (h, "isa:5"));
  tn_harness_out8 (h, PORT, 0x42);
  g_assert_true (tn_harness_line (h, "isa:5"));
  g_assert_cmphex (tn_harness_in8 (h, PORT + 1), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, PORT), ==, 0x42);
  g_assert_false (tn_harness_line (h, "isa:5"));
  tn_harness_reset (h);
  g_assert_cmphex (tn_harness_in16 (h, PORT), ==, 0);
  tn_harness_free (h);
}

static void
test_state (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  GBytes *before, *after;
  GError *error = NULL;

  tn_harness_add (h, "one", "latch", NULL);
  tn_harness_add (h, "two", "latch", "port", "0x2b0", "irq", "10", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, PORT, 0x17);
  before = tn_harness_save (h);
  tn_harness_reset (h);
  g_assert_false (tn_harness_line (h, "isa:9"));
  g_assert_true (tn_harness_load (h, before, &error));
  after = tn_harness_save (h);
  g_assert_true (g_bytes_equal (before, after));
  g_assert_true (tn_harness_swap (h, "one", NULL, &error));
  g_assert_true (tn_harness_line (h, "isa:9"));
  g_assert_cmphex (tn_harness_in8 (h, PORT), ==, 0x17);
  g_assert_cmphex (tn_harness_in8 (h, 0x2b0), ==, 0);
  g_bytes_unref (before);
  g_bytes_unref (after);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/latch/registers", test_registers);
  g_test_add_func ("/latch/state", test_state);
  return g_test_run ();
}
