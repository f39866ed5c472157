/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A serial port on files: output, input, truncation, append, swap, errors. */
#include "serial.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct {
  char *dir, *out, *in;
} Files;

static void
files_new (Files *f)
{
  f->dir = g_dir_make_tmp ("char-file-XXXXXX", NULL);
  f->out = g_build_filename (f->dir, "out", NULL);
  f->in = g_build_filename (f->dir, "in", NULL);
}

static void
files_free (Files *f)
{
  unlink (f->out);
  unlink (f->in);
  rmdir (f->dir);
  g_free (f->dir);
  g_free (f->out);
  g_free (f->in);
}

static void
check_file (const char *name, const char *expected)
{
  g_autofree char *text = NULL;
  g_assert_true (g_file_get_contents (name, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, expected);
}

static void
test_output (void)
{
  Files f;
  TnHarness *h;
  files_new (&f);
  g_assert_true (g_file_set_contents (f.out, "old", -1, NULL));
  h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-file", "file", f.out, NULL);
  serial_start (h);
  g_assert_true (serial_carrier (h));
  check_file (f.out, "");
  serial_send (h, "Hello, ", 7);
  roundtrip (h, "back");
  tn_harness_clock_step (h, TN_NS_PER_S);
  serial_send (h, "world\n", 6);
  check_file (f.out, "Hello, world\n");
  tn_harness_reset (h);
  tn_harness_clock_step (h, TN_NS_PER_S);
  check_file (f.out, "Hello, world\n");
  tn_harness_free (h);

  h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-file", "file", f.out, "append", "true", NULL);
  serial_start (h);
  serial_send (h, "!", 1);
  check_file (f.out, "Hello, world\n!");
  tn_harness_free (h);
  files_free (&f);
}

static void
test_input (void)
{
  Files f;
  TnHarness *h;
  char text[3000], got[3000];
  unsigned n;
  files_new (&f);
  for (unsigned i = 0; i < sizeof text; i++)
    text[i] = i * 31 >> 3;
  g_assert_true (g_file_set_contents (f.in, text, sizeof text, NULL));
  h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-file", "file", f.out, "input", f.in, NULL);
  serial_start (h);
  n = serial_receive (h, got, 1000);
  roundtrip (h, "back");
  roundtrip (h, "com1");
  n += serial_receive (h, got + n, 1000);
  roundtrip (h, "back");
  n += serial_receive (h, got + n, sizeof got - n);
  g_assert_cmpmem (got, n, text, sizeof text);
  tn_harness_free (h);
  files_free (&f);
}

static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-file", "file", "/nonexistent/file", NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, "cannot write /nonexistent/file"));
  tn_harness_free (h);
}

/* A full disk ends the output, not the machine. */
static void
test_full (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "back", "char-file", "file", "/dev/full", NULL);
  serial_start (h);
  g_assert_cmpuint (serial_send (h, "abc", 3), ==, 3);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/char-file/output", test_output);
  g_test_add_func ("/char-file/input", test_input);
  g_test_add_func ("/char-file/refused", test_refused);
  g_test_add_func ("/char-file/full", test_full);
  return g_test_run ();
}
