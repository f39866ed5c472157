/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MC146818 on the fake bus: calendar, formats, SET and divider, the three interrupts, the BIOS's
 * configuration bytes, the file.  Counted time begins on 2004-01-01 00:00:00 UTC, a Thursday.
 */
#include "roundtrip.h"

#include <glib/gstdio.h>
#include <string.h>

enum { A = 0x0a, B = 0x0b, C = 0x0c, D = 0x0d, CENTURY = 0x32 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, DM = 0x04, H24 = 0x02 };

static TnHarness *
new_rtc (void)
{
  TnHarness *h = tn_harness_new (256 << 20);
  tn_harness_add (h, "rtc", "rtc", NULL);
  tn_harness_start (h);
  return h;
}

static uint8_t
get (TnHarness *h, unsigned index)
{
  tn_harness_out8 (h, index & 0x80 ? 0x72 : 0x70, index & 0x7f);
  return tn_harness_in8 (h, index & 0x80 ? 0x73 : 0x71);
}

static void
set (TnHarness *h, unsigned index, uint8_t value)
{
  tn_harness_out8 (h, index & 0x80 ? 0x72 : 0x70, index & 0x7f);
  tn_harness_out8 (h, index & 0x80 ? 0x73 : 0x71, value);
}

static void
expect_time (TnHarness *h, const char *text)
{
  g_autofree char *now
      = g_strdup_printf ("%02x%02x-%02x-%02x %02x:%02x:%02x w%x", get (h, CENTURY), get (h, 9),
                         get (h, 8), get (h, 7), get (h, 4), get (h, 2), get (h, 0), get (h, 6));
  g_assert_cmpstr (now, ==, text);
}

/* century, year, month, day, hour, minute, second, weekday */
static void
set_time (TnHarness *h, const uint8_t bytes[8])
{
  static const uint8_t index[8] = { CENTURY, 9, 8, 7, 4, 2, 0, 6 };
  uint8_t b = get (h, B);
  set (h, B, b | SET);
  for (unsigned i = 0; i < 8; i++)
    set (h, index[i], bytes[i]);
  set (h, B, b);
}

static void
test_calendar (void)
{
  TnHarness *h = new_rtc ();
  g_assert_cmphex (get (h, A), ==, 0x26);
  g_assert_cmphex (get (h, B), ==, 0x02);
  g_assert_cmphex (get (h, D), ==, 0x80);
  g_assert_cmphex (tn_harness_in8 (h, 0x70), ==, 0xff);
  expect_time (h, "2004-01-01 00:00:00 w5");
  tn_harness_clock_step (h, 61 * TN_NS_PER_S);
  expect_time (h, "2004-01-01 00:01:01 w5");
  set_time (h, (const uint8_t[]){ 0x20, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59, 0x02 });
  expect_time (h, "2000-02-28 23:59:59 w2");
  tn_harness_clock_step (h, TN_NS_PER_S);
  expect_time (h, "2000-02-29 00:00:00 w3");
  roundtrip (h, "rtc");
  expect_time (h, "2000-02-29 00:00:00 w3");
  set_time (h, (const uint8_t[]){ 0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, 0x01 }); /* "Sunday" */
  tn_harness_clock_step (h, TN_NS_PER_S);
  expect_time (h, "2000-01-01 00:00:00 w2"); /* the part only counts the days */
  set_time (h, (const uint8_t[]){ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff });
  tn_harness_clock_step (h, TN_NS_PER_S);
  set (h, 9, 0x38); /* a single register while it runs */
  g_assert_cmphex (get (h, 9), ==, 0x38);
  tn_harness_free (h);
}

static void
test_formats (void)
{
  TnHarness *h = new_rtc ();
  set_time (h, (const uint8_t[]){ 0x20, 0x04, 0x11, 0x23, 0x14, 0x38, 0x45, 0x03 });
  set (h, B, 0); /* 12 hours, BCD */
  g_assert_cmphex (get (h, 4), ==, 0x82);
  set (h, B, DM);
  g_assert_cmphex (get (h, 4), ==, 0x82);
  g_assert_cmpuint (get (h, 2), ==, 38);
  set (h, B, DM | H24);
  g_assert_cmpuint (get (h, 4), ==, 14);
  g_assert_cmpuint (get (h, CENTURY), ==, 20);
  set (h, B, DM | SET);
  set (h, 4, 12); /* midnight of 12 hours */
  set (h, B, DM);
  set (h, B, DM | H24);
  g_assert_cmpuint (get (h, 4), ==, 0);
  set (h, B, SET);
  set (h, 4, 0x92);
  set (h, B, 0);
  set (h, B, H24);
  g_assert_cmphex (get (h, 4), ==, 0x12); /* noon */
  tn_harness_free (h);
}

static void
test_set_and_divider (void)
{
  TnHarness *h = new_rtc ();
  set (h, B, SET | UIE | H24);
  g_assert_cmphex (get (h, B), ==, SET | H24); /* SET clears UIE */
  tn_harness_clock_step (h, 5 * TN_NS_PER_S);
  g_assert_cmphex (get (h, 0), ==, 0x00);
  set (h, B, H24);
  g_assert_cmphex (get (h, 0), ==, 0x00);
  set (h, A, 0x76); /* divider in reset */
  set (h, 0, 0x30);
  tn_harness_clock_step (h, 3 * TN_NS_PER_S);
  g_assert_cmphex (get (h, 0), ==, 0x30);
  roundtrip (h, "rtc");
  set (h, A, 0x26);
  tn_harness_clock_step (h, 499 * TN_NS_PER_MS);
  g_assert_cmphex (get (h, 0), ==, 0x30);
  g_assert_cmphex (get (h, A), ==, 0xa6); /* update in progress */
  tn_harness_clock_step (h, 2 * TN_NS_PER_MS);
  g_assert_cmphex (get (h, 0), ==, 0x31); /* half a second after the release */
  g_assert_cmphex (get (h, A), ==, 0x26);
  tn_harness_free (h);
}

static void
test_update (void)
{
  TnHarness *h = new_rtc ();
  get (h, C);
  tn_harness_clock_step (h, 1500 * TN_NS_PER_MS);
  g_assert_cmphex (get (h, C) & 0x90, ==, 0x10); /* the flag without the interrupt */
  set (h, B, UIE | H24);
  tn_harness_line_edges (h, "isa:8");
  tn_harness_clock_step (h, 499 * TN_NS_PER_MS);
  g_assert_false (tn_harness_line (h, "isa:8"));
  tn_harness_clock_step (h, 2 * TN_NS_PER_MS);
  g_assert_true (tn_harness_line (h, "isa:8"));
  roundtrip (h, "rtc");
  g_assert_cmphex (get (h, C) & 0x90, ==, 0x90);
  g_assert_false (tn_harness_line (h, "isa:8"));
  g_assert_cmphex (get (h, C), ==, 0);
  for (unsigned i = 0; i < 10; i++)
    {
      tn_harness_clock_step (h, TN_NS_PER_S);
      g_assert_cmphex (get (h, C) & 0x90, ==, 0x90);
    }
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:8"), ==, 11);
  tn_harness_reset (h);
  g_assert_cmphex (get (h, B), ==, H24);
  tn_harness_free (h);
}

static void
test_periodic (void)
{
  TnHarness *h = new_rtc ();
  unsigned seen = 0;
  set (h, B, PIE | H24); /* 1024 Hz */
  tn_harness_line_edges (h, "isa:8");
  for (unsigned i = 0; i < 10000; i++)
    {
      tn_harness_clock_step (h, 100 * TN_NS_PER_US);
      if (tn_harness_line (h, "isa:8"))
        seen += get (h, C) == 0xc0;
    }
  g_assert_cmpuint (seen, >=, 1023); /* the last second's flags may have come together */
  g_assert_cmpuint (seen, <=, 1025);
  set (h, A, 0x2f); /* 2 Hz */
  get (h, C);
  tn_harness_line_edges (h, "isa:8");
  tn_harness_clock_step (h, 510 * TN_NS_PER_MS);
  g_assert_cmphex (get (h, C) & 0xc0, ==, 0xc0);
  roundtrip (h, "rtc");
  set (h, A, 0x20); /* off */
  get (h, C);
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_cmphex (get (h, C) & 0x40, ==, 0);
  tn_harness_free (h);
}

static void
test_alarm (void)
{
  TnHarness *h = new_rtc ();
  set_time (h, (const uint8_t[]){ 0x20, 0x04, 0x01, 0x05, 0x08, 0x00, 0x00, 0x02 });
  set (h, 5, 0x09);
  set (h, 3, 0x30);
  set (h, 1, 0x15);
  set (h, B, AIE | H24);
  get (h, C);
  tn_harness_clock_step (h, (5400 + 14) * TN_NS_PER_S);
  g_assert_false (tn_harness_line (h, "isa:8"));
  roundtrip (h, "rtc");
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_true (tn_harness_line (h, "isa:8"));
  g_assert_cmphex (get (h, C) & 0xa0, ==, 0xa0);
  set (h, 5, 0xff); /* any hour, any minute: at second 15 */
  set (h, 3, 0xc0);
  tn_harness_line_edges (h, "isa:8");
  for (unsigned i = 0; i < 600; i++)
    {
      tn_harness_clock_step (h, TN_NS_PER_S);
      get (h, C);
    }
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:8"), ==, 10);
  set (h, 3, 0x75); /* no such minute */
  tn_harness_clock_step (h, 90000 * TN_NS_PER_S);
  g_assert_cmphex (get (h, C) & 0xa0, ==, 0);
  tn_harness_free (h);
}

static void
test_nmi_mask (void)
{
  TnHarness *h = new_rtc ();
  tn_harness_out8 (h, 0x70, 0x8f);
  g_assert_true (tn_harness_line (h, "nmi:disable"));
  tn_harness_out8 (h, 0x71, 0x55);
  tn_harness_out8 (h, 0x70, 0x0f);
  g_assert_false (tn_harness_line (h, "nmi:disable"));
  g_assert_cmphex (tn_harness_in8 (h, 0x71), ==, 0x55);
  set (h, 0xff, 0x77);
  g_assert_cmphex (get (h, 0xff), ==, 0x77);
  g_assert_cmphex (get (h, 0x7f), ==, 0x00);
  tn_harness_free (h);
}

static unsigned
sum (TnHarness *h)
{
  unsigned total = 0;
  for (unsigned i = 0x10; i <= 0x2d; i++)
    total += get (h, i);
  return total;
}

static void
test_configuration (void)
{
  TnHarness *h = new_rtc ();
  g_assert_cmphex (get (h, 0x15) | get (h, 0x16) << 8, ==, 0x0280);
  g_assert_cmphex (get (h, 0x17) | get (h, 0x18) << 8, ==, 0xfc00);
  g_assert_cmphex (get (h, 0x30) | get (h, 0x31) << 8, ==, 0xfc00);
  g_assert_cmphex (get (h, 0x34) | get (h, 0x35) << 8, ==, 0x0f00); /* 256 MiB */
  g_assert_cmphex (get (h, 0x3d), ==, 0x23);                        /* CD, then disk */
  g_assert_cmphex (get (h, 0x38), ==, 0x11);                        /* then floppy */
  g_assert_cmphex (get (h, 0x10), ==, 0x00);
  g_assert_cmphex (get (h, 0x14), ==, 0x06);
  g_assert_cmphex (get (h, 0x3f) & 1, ==, 1);
  g_assert_cmphex (get (h, 0x2e) << 8 | get (h, 0x2f), ==, sum (h));
  tn_harness_free (h);

  h = tn_harness_new (8 << 20);
  tn_harness_add (h, "rtc", "rtc", "boot", "floppy, disk", "floppy-a", "1.44m", "floppy-b", "1.2m",
                  "fast-boot", "false", "check-floppy", "true", "translation", "none", NULL);
  tn_harness_start (h);
  g_assert_cmphex (get (h, 0x17) | get (h, 0x18) << 8, ==, 7 << 10);
  g_assert_cmphex (get (h, 0x34) | get (h, 0x35) << 8, ==, 0);
  g_assert_cmphex (get (h, 0x10), ==, 0x42);
  g_assert_cmphex (get (h, 0x14), ==, 0x47);
  g_assert_cmphex (get (h, 0x3d), ==, 0x21);
  g_assert_cmphex (get (h, 0x38), ==, 0x00);
  g_assert_cmphex (get (h, 0x2d) & 0x20, ==, 0x20);
  g_assert_cmphex (get (h, 0x3f) & 1, ==, 0);
  g_assert_cmphex (get (h, 0x39), ==, 0);
  g_assert_cmphex (get (h, 0x2e) << 8 | get (h, 0x2f), ==, sum (h));
  tn_harness_free (h);
}

static void
expect_failure (const char *name, const char *value, const char *text)
{
  GError *error = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "rtc", "rtc", name, value, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, text));
  g_error_free (error);
  tn_harness_free (h);
}

static void
test_bad_configuration (void)
{
  expect_failure ("boot", "cdrom,tape", "found \"tape\"");
  expect_failure ("boot", "cdrom,disk,floppy,network", "at most three");
}

static void
test_nvram (void)
{
  g_autofree char *dir = g_dir_make_tmp ("tenon-rtc-XXXXXX", NULL);
  g_autofree char *file = g_build_filename (dir, "cmos", NULL);
  TnHarness *h = tn_harness_new (64 << 20);
  tn_harness_add (h, "rtc", "rtc", "nvram", file, NULL);
  tn_harness_start (h);
  set (h, 0x50, 0xa5);
  set (h, 0xd0, 0x5a);
  set (h, 0x3d, 0x12);
  set_time (h, (const uint8_t[]){ 0x20, 0x06, 0x01, 0x01, 0x00, 0x00, 0x00, 0x01 });
  g_assert_false (g_file_test (file, G_FILE_TEST_EXISTS));
  tn_harness_clock_step (h, 5 * TN_NS_PER_S);
  g_assert_true (g_file_test (file, G_FILE_TEST_EXISTS));
  roundtrip (h, "rtc");
  set (h, 0x51, 0x11); /* written at the end */
  tn_harness_free (h);

  h = tn_harness_new (32 << 20);
  tn_harness_add (h, "rtc", "rtc", "nvram", file, NULL);
  tn_harness_start (h);
  g_assert_cmphex (get (h, 0x50), ==, 0xa5);
  g_assert_cmphex (get (h, 0x51), ==, 0x11);
  g_assert_cmphex (get (h, 0xd0), ==, 0x5a);
  g_assert_cmphex (get (h, 0x3d), ==, 0x12); /* the guest's boot order stays */
  g_assert_cmphex (get (h, 0x35), ==, 0x01); /* the size of memory does not */
  expect_time (h, "2006-01-01 00:00:00 w1");
  tn_harness_free (h);

  g_assert_true (g_file_set_contents (file, "short", 5, NULL));
  expect_failure ("nvram", file, "expected 264 bytes, found 5");
  g_remove (file);
  g_rmdir (dir);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rtc/calendar", test_calendar);
  g_test_add_func ("/rtc/formats", test_formats);
  g_test_add_func ("/rtc/set-and-divider", test_set_and_divider);
  g_test_add_func ("/rtc/update", test_update);
  g_test_add_func ("/rtc/periodic", test_periodic);
  g_test_add_func ("/rtc/alarm", test_alarm);
  g_test_add_func ("/rtc/nmi-mask", test_nmi_mask);
  g_test_add_func ("/rtc/configuration", test_configuration);
  g_test_add_func ("/rtc/bad-configuration", test_bad_configuration);
  g_test_add_func ("/rtc/nvram", test_nvram);
  return g_test_run ();
}
