/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The test card on the fake bus: text, POST codes, exit, scratch places, interrupt lines,
 * buffering. */
#include <tenon/harness.h>

#include <string.h>

static TnHarness *
card_new (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add_char (h, "results");
  tn_harness_add (h, "test0", "testcard", "chardev", "results", NULL);
  tn_harness_start (h);
  return h;
}

static void
assert_text (TnHarness *h, const char *expected)
{
  GByteArray *text = tn_harness_char_take (h, "results");
  g_assert_cmpmem (text->data, text->len, expected, strlen (expected));
  g_byte_array_unref (text);
}

static void
test_text (void)
{
  TnHarness *h = card_new ();
  g_assert_cmphex (tn_harness_in8 (h, 0xe8), ==, 0xe9);
  tn_harness_out8 (h, 0xe8, 'o');
  tn_harness_outs (h, 0xe8, "k\n", 2, 1);
  assert_text (h, "ok\n");
  tn_harness_out8 (h, 0x80, 0x1c);
  assert_text (h, "\n@post 1C\n");
  tn_harness_out32 (h, 0xf4, 3);
  assert_text (h, "\n@exit 3\n");
  tn_harness_out8 (h, 0xf4, 0);
  assert_text (h, "\n@exit 0\n");
  tn_harness_free (h);
}

static void
test_text_waits (void)
{
  TnHarness *h = card_new ();
  tn_harness_char_limit (h, "results", 0);
  for (const char *p = "later"; *p; p++)
    tn_harness_out8 (h, 0xe8, *p);
  assert_text (h, "");
  tn_harness_char_limit (h, "results", SIZE_MAX);
  tn_harness_out8 (h, 0xe8, '!');
  assert_text (h, "later!");
  tn_harness_free (h);
}

static void
test_scratch (void)
{
  TnHarness *h = card_new ();
  g_assert_cmphex (tn_harness_in32 (h, 0xe0), ==, 0);
  tn_harness_out32 (h, 0xe0, 0x12345678);
  g_assert_cmphex (tn_harness_in8 (h, 0xe0), ==, 0x78);
  g_assert_cmphex (tn_harness_in16 (h, 0xe2), ==, 0x1234);
  tn_harness_out8 (h, 0xe1, 0xaa);
  g_assert_cmphex (tn_harness_in32 (h, 0xe0), ==, 0x1234aa78);
  tn_harness_out32 (h, 0xe4, 0xffffffff);

  tn_harness_write (h, 0xff000000, 0xdeadbeef, 4);
  tn_harness_write (h, 0xff00ffff, 0x5a, 1);
  g_assert_cmphex (tn_harness_read (h, 0xff000002, 2), ==, 0xdead);
  g_assert_cmphex (tn_harness_read (h, 0xff00ffff, 1), ==, 0x5a);
  tn_harness_free (h);
}

static void
test_lines (void)
{
  TnHarness *h = card_new ();
  tn_harness_out8 (h, 0x200a, 1);
  g_assert_true (tn_harness_line (h, "isa:10"));
  g_assert_false (tn_harness_line (h, "isa:11"));
  tn_harness_out8 (h, 0x200a, 0);
  g_assert_false (tn_harness_line (h, "isa:10"));
  tn_harness_out8 (h, 0x200f, 0x80);
  tn_harness_reset (h);
  g_assert_false (tn_harness_line (h, "isa:15"));
  tn_harness_free (h);
}

static void
test_state (void)
{
  GError *error = NULL;
  TnHarness *h = card_new ();
  tn_harness_out32 (h, 0xe0, 0xcafe);
  tn_harness_out8 (h, 0x2005, 1);
  tn_harness_write (h, 0xff001000, 0x77, 1);
  GBytes *state = tn_harness_save (h);
  tn_harness_reset (h);
  g_assert_true (tn_harness_load (h, state, &error));
  g_assert_no_error (error);
  g_assert_cmphex (tn_harness_in32 (h, 0xe0), ==, 0xcafe);
  g_assert_cmphex (tn_harness_read (h, 0xff001000, 1), ==, 0x77);
  g_assert_true (tn_harness_line (h, "isa:5"));
  g_bytes_unref (state);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/testcard/text", test_text);
  g_test_add_func ("/testcard/text-waits", test_text_waits);
  g_test_add_func ("/testcard/scratch", test_scratch);
  g_test_add_func ("/testcard/lines", test_lines);
  g_test_add_func ("/testcard/state", test_state);
  return g_test_run ();
}
