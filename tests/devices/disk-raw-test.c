/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw images behind an IDE controller: sizes, locks, sparse files, read-only, errors. */
#define _GNU_SOURCE
#include "block.h"
#include "roundtrip.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVFN (7 << 3 | 1)
#define SIZE (1 << 20)

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

/* Until the back end and the drive have done what they do. */
static void
settle (TnHarness *h)
{
  tn_harness_settle (h);
  tn_harness_clock_step (h, 100 * 1000);
  tn_harness_settle (h);
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
  settle (h);
  if (tn_harness_in8 (h, 0x1f7) & 0x08)
    {
      if (command == 0x20)
        tn_harness_ins (h, 0x1f0, data, 256, 2);
      else
        tn_harness_outs (h, 0x1f0, data, 256, 2);
    }
  settle (h);
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

/* ---- Media ---- */

static void
write_file (const char *name, size_t size, uint8_t byte)
{
  g_autofree char *bytes = g_malloc (size);
  memset (bytes, byte, size);
  g_assert_true (g_file_set_contents (name, bytes, size, NULL));
}

static void
check_change (TnHarness *h, const char *name, const char *file, const char *message)
{
  g_autoptr (GError) error = NULL;
  bool done = tn_harness_change_medium (h, name, file, false, &error);
  g_assert_cmpint (done, ==, !message);
  if (message)
    g_assert_nonnull (strstr (error->message, message));
}

/* The first byte of the CD in the secondary master, or the sense key << 16 | ASC. */
static uint32_t
read_cd (TnHarness *h)
{
  static const uint8_t read[6] = { 0x28, 0, 0, 0, 0, 0 }, sense[6] = { 0x03, 0, 0, 0, 18, 0 };
  uint8_t packet[12] = { 0 }, data[2048];
  for (unsigned pass = 0; pass < 2; pass++)
    {
      memcpy (packet, pass ? sense : read, 6);
      packet[8] = pass ? 0 : 1;
      tn_harness_out8 (h, 0x174, 0x00);
      tn_harness_out8 (h, 0x175, 0x08);
      tn_harness_out8 (h, 0x176, 0xa0);
      tn_harness_out8 (h, 0x177, 0xa0);
      tn_harness_outs (h, 0x170, packet, 6, 2);
      settle (h);
      if (!(tn_harness_in8 (h, 0x177) & 0x08))
        continue; /* it failed: ask why */
      tn_harness_ins (h, 0x170, data, pass ? 9 : 1024, 2);
      return pass ? data[2] << 16 | data[12] : data[0];
    }
  return UINT32_MAX;
}

static void
lock_cd (TnHarness *h, bool locked)
{
  uint8_t packet[12] = { 0x1e, 0, 0, 0, locked };
  tn_harness_out8 (h, 0x176, 0xa0);
  tn_harness_out8 (h, 0x177, 0xa0);
  tn_harness_outs (h, 0x170, packet, 6, 2);
  settle (h);
  g_assert_cmphex (tn_harness_in8 (h, 0x177), ==, 0x50);
}

static void
test_change (void)
{
  Fixture f;
  g_autofree char *other = NULL;
  TnHarness *h = tn_harness_new (1 << 20);
  make_image (&f, SIZE);
  other = g_build_filename (f.dir, "other", NULL);
  write_file (f.name, 8192, 0x11);
  write_file (other, 16384, 0x22);
  tn_harness_add (h, "cd", "disk-raw", "cdrom", "true", NULL);
  tn_harness_add (h, "hd", "disk-raw", "file", f.name, "read-only", "true", NULL);
  tn_harness_add (h, "ide", "ide", "secondary-master", "cd", "primary-master", "hd", NULL);
  tn_harness_start (h);
  tn_harness_pci_write (h, 0, DEVFN, 0x04, 1, 2);
  tn_harness_pci_write (h, 0, DEVFN, 0x40, 0x80008000, 4);
  g_assert_cmphex (read_cd (h), ==, 0x060029); /* reset */
  g_assert_cmphex (read_cd (h), ==, 0x02003a); /* no medium */
  check_change (h, "cd", NULL, "no medium");
  check_change (h, "hd", other, "fixed disk");
  check_change (h, "ide", other, "not a disk back end");
  check_change (h, "cd", f.name, NULL);
  g_assert_cmphex (read_cd (h), ==, 0x060028); /* changed */
  g_assert_cmphex (read_cd (h), ==, 0x11);
  check_change (h, "cd", "/nowhere", "cannot open");
  check_change (h, "cd", f.dir, "neither a file");
  g_assert_cmphex (read_cd (h), ==, 0x11);
  check_change (h, "cd", f.name, NULL); /* the same again */
  g_assert_cmphex (read_cd (h), ==, 0x060028);
  lock_cd (h, true);
  check_change (h, "cd", other, "locked");
  g_assert_true (tn_harness_swap (h, "ide", NULL, NULL));
  check_change (h, "cd", NULL, "locked");
  g_assert_true (tn_harness_change_medium (h, "cd", other, true, NULL));
  g_assert_cmphex (read_cd (h), ==, 0x060028);
  g_assert_cmphex (read_cd (h), ==, 0x22);
  lock_cd (h, false);
  g_assert_true (tn_harness_swap (h, "cd", NULL, NULL));
  g_assert_cmphex (read_cd (h), ==, 0x22);
  check_change (h, "cd", NULL, NULL);
  g_assert_true (tn_harness_swap (h, "cd", NULL, NULL));
  g_assert_cmphex (read_cd (h), ==, 0x060028);
  g_assert_cmphex (read_cd (h), ==, 0x02003a);
  tn_harness_free (h);
  unlink (other);
  remove_image (&f);
}

/* A floppy whose file may not be written is write protected. */
static void
test_protected (void)
{
  Fixture f;
  TnHarness *h = tn_harness_new (1 << 20);
  make_image (&f, 1440 * 1024);
  tn_harness_add (h, "fd", "disk-raw", "removable", "true", NULL);
  tn_harness_add (h, "fdc", "fdc", "drive-a", "fd", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0x3f2, 0x1c);
  tn_harness_clock_step (h, 1000000);
  for (unsigned pass = 0; pass < 2; pass++)
    {
      g_assert_cmpint (chmod (f.name, pass ? 0400 : 0600), ==, 0);
      check_change (h, "fd", f.name, NULL);
      tn_harness_out8 (h, 0x3f5, 0x04);
      tn_harness_out8 (h, 0x3f5, 0x00);
      g_assert_cmphex (tn_harness_in8 (h, 0x3f5) & 0x40, ==, pass && geteuid () ? 0x40 : 0);
    }
  tn_harness_free (h);
  remove_image (&f);
}

static int64_t
room (const Fixture *f)
{
  struct stat st;
  g_assert_cmpint (stat (f->name, &st), ==, 0);
  return (int64_t) st.st_blocks * 512;
}

/* Zeros become holes, unless the file was allocated as a whole, or is to stay as it is. */
static void
test_holes (void)
{
  static const struct {
    bool full;
    const char *sparse;
    bool holes;
  } cases[] = { { false, "true", true }, { false, "false", false }, { true, "true", false } };
  g_autofree uint8_t *bytes = g_malloc (SIZE), *in = g_malloc (SIZE);
  for (unsigned n = 0; n < G_N_ELEMENTS (cases); n++)
    {
      Fixture f;
      Back b;
      make_image (&f, SIZE);
      memset (bytes, 0x5a, SIZE);
      if (cases[n].full)
        g_assert_true (g_file_set_contents (f.name, (char *) bytes, SIZE, NULL));
      back_open (&b, "disk-raw",
                 (const char *[]){ "file", f.name, "sparse", cases[n].sparse, NULL });
      back_write (&b, 0, bytes, SIZE / 2);
      memset (bytes, 0, SIZE / 2);
      back_write (&b, 512, bytes, SIZE / 4 + 1024);
      back_flush (&b);
      g_assert_true ((room (&f) < SIZE / 2 - SIZE / 8) == cases[n].holes);
      back_read (&b, 0, in, SIZE / 2);
      for (unsigned i = 0; i < SIZE / 2; i++)
        g_assert_cmphex (in[i], ==, i >= 512 && i < 512 + SIZE / 4 + 1024 ? 0 : 0x5a);
      g_assert_true (b.image->stored != NULL);
      back_close (&b);
      remove_image (&f);
    }
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
  g_test_add_func ("/disk-raw/change", test_change);
  g_test_add_func ("/disk-raw/protected", test_protected);
  g_test_add_func ("/disk-raw/holes", test_holes);
  return g_test_run ();
}
