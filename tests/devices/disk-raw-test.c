/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw images behind an IDE controller: sizes, locks, sparse files, read-only, errors. */
#define _GNU_SOURCE
#include "roundtrip.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVFN (7 << 3 | 1)
#define SIZE  (1 << 20)

typedef struct {
  char *dir, *name;
} Fixture;

static void
make_image (Fixture *f, off_t size)
{
  int fd;
  f->dir = g_dir_make_tmp ("disk-raw-XXXXXX", NULL);
  f->name = g_build_filename (f->dir, "image", NULL);
  fd = g_open (f->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  g_assert_cmpint (ftruncate (fd, size), ==, 0);
  close (fd);
}

static void
remove_image (Fixture *f)
{
  unlink (f->name);
  rmdir (f->dir);
  g_free (f->dir);
  g_free (f->name);
}

static TnHarness *
new_machine (const Fixture *f, const char *name, const char *value)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "hd", "disk-raw", "file", f->name, name, value, NULL);
  tn_harness_add (h, "ide", "ide", "primary-master", "hd", NULL);
  tn_harness_start (h);
  tn_harness_pci_write (h, 0, DEVFN, 0x04, 1, 2);
  tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x8000, 2);
  return h;
}

static void
check_refused (const Fixture *f, const char *name, const char *value, const char *message)
{
  g_autoptr (GError) error = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "hd", "disk-raw", "file", f->name, name, value, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, message));
  tn_harness_free (h);
}

static uint8_t
transfer (TnHarness *h, uint8_t command, uint32_t lba, void *data)
{
  tn_harness_out8 (h, 0x1f2, 1);
  tn_harness_out8 (h, 0x1f3, lba);
  tn_harness_out8 (h, 0x1f4, lba >> 8);
  tn_harness_out8 (h, 0x1f5, lba >> 16);
  tn_harness_out8 (h, 0x1f6, 0xe0);
  tn_harness_out8 (h, 0x1f7, command);
  tn_harness_settle (h);
  if (tn_harness_in8 (h, 0x1f7) & 0x08)
    {
      if (command == 0x20)
        tn_harness_ins (h, 0x1f0, data, 256, 2);
      else
        tn_harness_outs (h, 0x1f0, data, 256, 2);
    }
  tn_harness_settle (h);
  return tn_harness_in8 (h, 0x1f7);
}

static void
test_read_write (void)
{
  Fixture f;
  TnHarness *h;
  uint8_t out[512], in[512];
  struct stat st;
  make_image (&f, SIZE);
  h = new_machine (&f, NULL, NULL);
  for (unsigned i = 0; i < 512; i++)
    out[i] = i * 7;
  g_assert_cmphex (transfer (h, 0x30, 1000, out), ==, 0x50);
  g_assert_true (tn_harness_swap (h, "hd", NULL, NULL));
  g_assert_cmphex (transfer (h, 0x20, 1000, in), ==, 0x50);
  g_assert_cmpmem (in, 512, out, 512);
  g_assert_cmphex (transfer (h, 0x20, 3, in), ==, 0x50);
  for (unsigned i = 0; i < 512; i++)
    g_assert_cmphex (in[i], ==, 0);
  g_assert_cmphex (transfer (h, 0xe7, 0, NULL), ==, 0x50);
  g_assert_cmpint (stat (f.name, &st), ==, 0);
  g_assert_cmpint (st.st_size, ==, SIZE);
  g_assert_cmpint (st.st_blocks * 512, <, SIZE / 2); /* still sparse */
  tn_harness_free (h);
  remove_image (&f);
}

static void
test_read_only (void)
{
  Fixture f;
  TnHarness *h;
  uint8_t data[512] = { 1 };
  make_image (&f, SIZE);
  g_assert_cmpint (chmod (f.name, 0400), ==, 0);
  h = new_machine (&f, "read-only", "true");
  g_assert_cmphex (transfer (h, 0x30, 0, data), ==, 0x51);
  g_assert_cmphex (transfer (h, 0x20, 0, data), ==, 0x50);
  g_assert_cmphex (data[0], ==, 0);
  tn_harness_free (h);
  remove_image (&f);
}

/* Somebody cuts the file while the machine runs. */
static void
test_cut (void)
{
  Fixture f;
  TnHarness *h;
  uint8_t data[512];
  make_image (&f, SIZE);
  h = new_machine (&f, NULL, NULL);
  g_assert_cmpint (truncate (f.name, 512), ==, 0);
  g_assert_cmphex (transfer (h, 0x20, 0, data), ==, 0x50);
  g_assert_cmphex (transfer (h, 0x20, 1, data), ==, 0x51);
  tn_harness_free (h);
  remove_image (&f);
}

static void
test_refused (void)
{
  Fixture f;
  make_image (&f, SIZE + 100);
  check_refused (&f, NULL, NULL, "truncated");
  remove_image (&f);
  make_image (&f, 3 * 512);
  check_refused (&f, "cdrom", "true", "truncated");
  remove_image (&f);
  make_image (&f, 0);
  check_refused (&f, NULL, NULL, "is empty");
  unlink (f.name);
  check_refused (&f, NULL, NULL, "cannot open");
  g_assert_cmpint (mkdir (f.name, 0700), ==, 0);
  check_refused (&f, "read-only", "true", "neither a file");
  rmdir (f.name);
  remove_image (&f);
}

static void
test_lock (void)
{
  Fixture f;
  TnHarness *h;
  make_image (&f, SIZE);
  h = new_machine (&f, NULL, NULL);
  check_refused (&f, NULL, NULL, "in use");
  check_refused (&f, "read-only", "true", "in use");
  g_assert_true (tn_harness_swap (h, "hd", NULL, NULL));
  check_refused (&f, NULL, NULL, "in use");
  tn_harness_free (h);
  h = new_machine (&f, "read-only", "true");
  tn_harness_free (new_machine (&f, "read-only", "true"));
  check_refused (&f, NULL, NULL, "in use");
  tn_harness_free (h);
  remove_image (&f);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/disk-raw/read-write", test_read_write);
  g_test_add_func ("/disk-raw/read-only", test_read_only);
  g_test_add_func ("/disk-raw/cut", test_cut);
  g_test_add_func ("/disk-raw/refused", test_refused);
  g_test_add_func ("/disk-raw/lock", test_lock);
  return g_test_run ();
}
