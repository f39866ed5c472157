/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VHD images, after the specification: layout, checksums, geometry, block table and bitmaps are
 * looked at in the file itself, by code that shares nothing with the plugin's.
 */
#define _GNU_SOURCE
#include "block.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#define MiB (1u << 20)
#define BLOCK (2 * MiB)

typedef struct {
  char *dir;
  Back lib; /* keeps the plugin loaded, for the operations that need no instance */
} Fixture;

static void
set_up (Fixture *f, const void *data)
{
  f->dir = g_dir_make_tmp ("disk-vhd-XXXXXX", NULL);
  back_load (&f->lib, "disk-vhd");
}

static void
tear_down (Fixture *f, const void *data)
{
  GDir *dir = g_dir_open (f->dir, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (f->dir, name, NULL);

      g_unlink (path);
    }
  g_dir_close (dir);
  g_rmdir (f->dir);
  g_free (f->dir);
  back_close (&f->lib);
}

static char *
path_of (Fixture *f, const char *name)
{
  return g_build_filename (f->dir, name, NULL);
}

static char *
make (Fixture *f, const char *name, const char *type, uint64_t size, const char *parent)
{
  char *path = path_of (f, name);
  TnImageSpec spec = { .path = path, .size = size, .type = type, .parent = parent };
  GError *error = NULL;

  f->lib.image->create (&spec, &error);
  g_assert_no_error (error);
  return path;
}

static void
open_disk (Back *b, const char *path)
{
  back_open (b, "disk-vhd", (const char *[]){ "file", path, NULL });
}

/* ---- The file as bytes ---- */

static uint64_t
big (const uint8_t *p, unsigned size)
{
  uint64_t value = 0;

  for (unsigned n = 0; n < size; n++)
    value = value << 8 | p[n];
  return value;
}

static uint8_t *
slurp (const char *path, size_t *size)
{
  char *bytes;

  g_assert_true (g_file_get_contents (path, &bytes, size, NULL));
  return (uint8_t *) bytes;
}

static void
spill (const char *path, const uint8_t *bytes, size_t size)
{
  g_assert_true (g_file_set_contents (path, (const char *) bytes, size, NULL));
}

static uint32_t
sum (const uint8_t *bytes, size_t size, size_t at)
{
  uint32_t total = 0;

  for (size_t n = 0; n < size; n++)
    total += n - at < 4 ? 0 : bytes[n];
  return ~total;
}

static void
seal (uint8_t *bytes, size_t size, size_t at)
{
  uint32_t value = sum (bytes, size, at);

  for (unsigned n = 0; n < 4; n++)
    bytes[at + n] = value >> (24 - 8 * n);
}

static void
check_footer (const uint8_t *f, unsigned type, uint64_t size)
{
  g_assert_cmpmem (f, 8, "conectix", 8);
  g_assert_cmphex (big (f + 8, 4), ==, 2);
  g_assert_cmphex (big (f + 12, 4), ==, 0x10000);
  g_assert_cmphex (big (f + 16, 8), ==, type == 2 ? UINT64_MAX : 512);
  g_assert_cmpuint (big (f + 40, 8), ==, size);
  g_assert_cmpuint (big (f + 48, 8), ==, size);
  g_assert_cmpuint (big (f + 60, 4), ==, type);
  g_assert_cmphex (big (f + 64, 4), ==, sum (f, 512, 64));
}

/* ---- New images ---- */

static void
test_layout (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", NULL, 10 * MiB, NULL);
  size_t length;
  g_autofree uint8_t *bytes = slurp (path, &length);
  uint64_t size = big (bytes + 48, 8);

  check_footer (bytes, 3, size);
  g_assert_cmpmem (bytes, 512, bytes + length - 512, 512);
  g_assert_cmpuint (size, >=, 10 * MiB);
  g_assert_cmpuint (size, <, 11 * MiB);
  g_assert_cmpuint (big (bytes + 56, 2) * bytes[58] * bytes[59] * 512, ==, size);
  g_assert_cmpmem (bytes + 512, 8, "cxsparse", 8);
  g_assert_cmphex (big (bytes + 512 + 8, 8), ==, UINT64_MAX);
  g_assert_cmpuint (big (bytes + 512 + 16, 8), ==, 1536);
  g_assert_cmpuint (big (bytes + 512 + 28, 4), ==, 6);
  g_assert_cmpuint (big (bytes + 512 + 32, 4), ==, BLOCK);
  g_assert_cmphex (big (bytes + 512 + 36, 4), ==, sum (bytes + 512, 1024, 36));
  g_assert_cmpuint (length, ==, 1536 + 512 + 512);
  for (unsigned n = 1536; n < 2048; n++)
    g_assert_cmphex (bytes[n], ==, 0xff);
}

static void
test_fixed (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", "fixed", 5 * MiB, NULL);
  uint8_t text[1024] = "fixed", *bytes;
  size_t length;
  uint64_t size;
  struct stat st;
  Back b;

  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_blocks * 512, <, MiB); /* a hole */
  open_disk (&b, path);
  size = back_size (&b);
  back_write (&b, size - 1024, text, 1024);
  g_assert_cmpint (b.ops->write (b.self, size - 512, text, 1024), ==, EIO);
  g_assert_cmpint (b.ops->write (b.self, 1, text, 512), ==, EIO);
  back_flush (&b);
  back_close (&b);
  bytes = slurp (path, &length);
  g_assert_cmpuint (length, ==, size + 512);
  check_footer (bytes + size, 2, size);
  g_assert_cmpmem (bytes + size - 1024, 1024, text, 1024);
  g_free (bytes);
}

/* The appendix: how many cylinders, heads and sectors a disk has. */
static void
test_geometry (Fixture *f, const void *data)
{
  static const struct {
    uint64_t sectors;
    unsigned c, h, s;
  } disks[] = {
    { 20480, 301, 4, 17 }, /* 10 MiB */
    { 65535ull * 16 * 255, 65535, 16, 255 },
    { 65536ull * 16 * 255, 65535, 16, 255 }, /* beyond */
    { 65535ull * 16 * 63, 16191, 16, 255 },
    { 1023 * 16 * 31, 1023, 16, 31 },
  };

  for (unsigned n = 0; n < G_N_ELEMENTS (disks); n++)
    {
      g_autofree char *path = path_of (f, "g.vhd");
      TnImageSpec spec = { .path = path, .size = disks[n].sectors * 512, .exact = true };
      g_autofree uint8_t *bytes = NULL;
      size_t length;

      g_assert_true (f->lib.image->create (&spec, NULL));
      bytes = slurp (path, &length);
      g_assert_cmpuint (big (bytes + 56, 2), ==, disks[n].c);
      g_assert_cmpuint (bytes[58], ==, disks[n].h);
      g_assert_cmpuint (bytes[59], ==, disks[n].s);
      g_assert_cmpuint (big (bytes + 48, 8), ==, disks[n].sectors * 512);
      g_unlink (path);
    }
}

/* ---- Blocks ---- */

static void
test_blocks (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", "dynamic", 64 * MiB, NULL);
  uint8_t one[512], two[1024], in[4096], *bytes;
  size_t length;
  Back b;

  memset (one, 1, sizeof one);
  memset (two, 2, sizeof two);
  open_disk (&b, path);
  back_read (&b, 5 * BLOCK - 2048, in, sizeof in);
  g_assert_true (in[0] == 0 && memcmp (in, in + 1, sizeof in - 1) == 0);
  back_write (&b, 7 * BLOCK, one, 512);
  back_write (&b, 5 * BLOCK - 512, two, 1024); /* across two blocks */
  memset (in, 0, sizeof in);
  back_write (&b, 11 * BLOCK, in, sizeof in); /* zeros need no block */
  back_flush (&b);
  back_swap (&b);
  back_read (&b, 5 * BLOCK - 1024, in, 2048);
  g_assert_cmpmem (in + 512, 1024, two, 1024);
  g_assert_cmphex (in[0], ==, 0);
  g_assert_cmphex (in[1536], ==, 0);
  back_close (&b);

  bytes = slurp (path, &length);
  g_assert_cmpuint (length, ==, 2048 + 3 * (512 + BLOCK) + 512);
  check_footer (bytes + length - 512, 3, big (bytes + 48, 8));
  g_assert_cmpuint (big (bytes + 1536 + 7 * 4, 4) * 512, ==, 2048);
  g_assert_cmpuint (big (bytes + 1536 + 4 * 4, 4) * 512, ==, 2048 + 512 + BLOCK);
  g_assert_cmpuint (big (bytes + 1536 + 5 * 4, 4) * 512, ==, 2048 + 2 * (512 + BLOCK));
  g_assert_cmphex (big (bytes + 1536 + 11 * 4, 4), ==, 0xffffffff);
  g_assert_cmphex (bytes[2048], ==, 0xff);
  g_assert_cmpmem (bytes + 2048 + 512, 512, one, 512);
  g_free (bytes);
}

/* Sectors whose bit is clear are zeros, whatever is in their place (some programs set bits as they
   write); writing one sets its bit. */
static void
test_bitmap (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", "dynamic", 64 * MiB, NULL);
  uint8_t junk[4096], in[4096], *bytes;
  size_t length;
  Back b;

  memset (junk, 0x77, sizeof junk);
  open_disk (&b, path);
  back_write (&b, 0, junk, sizeof junk);
  back_close (&b);
  bytes = slurp (path, &length);
  bytes[2048] = 0xa0; /* sectors 0 and 2 */
  memset (bytes + 2049, 0, 511);
  spill (path, bytes, length);
  g_free (bytes);
  open_disk (&b, path);
  back_read (&b, 0, in, sizeof in);
  for (unsigned n = 0; n < 8; n++)
    g_assert_cmphex (in[n * 512 + 100], ==, n == 0 || n == 2 ? 0x77 : 0);
  back_write (&b, 3 * 512, junk, 512);
  back_close (&b);
  bytes = slurp (path, &length);
  g_assert_cmphex (bytes[2048], ==, 0xb0);
  g_free (bytes);
}

/* The host's disk is full: an error, and nothing that was there is harmed. */
static void
test_full (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", data, 64 * MiB, NULL);
  struct rlimit before, limit;
  Found found = { { 0 } };
  uint8_t out[4096], in[4096];
  unsigned written = 0;
  Back b;

  signal (SIGXFSZ, SIG_IGN);
  getrlimit (RLIMIT_FSIZE, &before);
  open_disk (&b, path);
  limit = before;
  limit.rlim_cur = 11 * MiB;
  setrlimit (RLIMIT_FSIZE, &limit);
  for (; written < 32; written++)
    {
      memset (out, written + 1, sizeof out);
      if (b.ops->write (b.self, written * BLOCK + 1024, out, sizeof out) != 0)
        break;
    }
  g_assert_cmpuint (written, >, 0);
  g_assert_cmpuint (written, <, 6);
  for (unsigned n = 0; n < 3; n++) /* again and again */
    g_assert_cmpint (b.ops->write (b.self, 20 * BLOCK, out, sizeof out), !=, 0);
  back_flush (&b);
  setrlimit (RLIMIT_FSIZE, &before);
  back_write (&b, 30 * BLOCK, out, sizeof out); /* somebody made room */
  back_close (&b);
  g_assert_true (image_check (f->lib.image, path, false, &found));
  open_disk (&b, path);
  for (unsigned n = 0; n < written; n++)
    {
      back_read (&b, n * BLOCK + 1024, in, sizeof in);
      g_assert_true (in[0] == n + 1 && memcmp (in, in + 1, sizeof in - 1) == 0);
    }
  back_read (&b, 20 * BLOCK, in, sizeof in);
  g_assert_true (in[0] == 0 && memcmp (in, in + 1, sizeof in - 1) == 0);
  back_read (&b, 30 * BLOCK, in, sizeof in);
  g_assert_cmpmem (in, sizeof in, out, sizeof out);
  back_close (&b);
  g_free (found.text);
}

/* Against a plain array: reads, writes, flushes, swaps, openings. */
static void
random_run (Fixture *f, const char *path, uint8_t *model, size_t size, unsigned rounds)
{
  GRand *rand = g_rand_new_with_seed (7);
  uint8_t *buffer = g_malloc (4 * MiB);
  Back b;

  open_disk (&b, path);
  for (unsigned n = 0; n < rounds; n++)
    {
      size_t count = g_rand_int_range (rand, 1, g_rand_int_range (rand, 2, 40)) * 512;
      size_t at = g_rand_int_range (rand, 0, (size - count) / 512 + 1) * 512ul;
      unsigned what = g_rand_int_range (rand, 0, 100);

      if (g_rand_int_range (rand, 0, 40) == 0)
        count = MIN (3 * MiB, size - at);
      if (what < 55)
        {
          memset (buffer, what < 8 ? 0 : g_rand_int (rand), count);
          back_write (&b, at, buffer, count);
          memcpy (model + at, buffer, count);
        }
      else if (what < 95)
        {
          back_read (&b, at, buffer, count);
          g_assert_true (memcmp (buffer, model + at, count) == 0);
        }
      else if (what < 97)
        back_flush (&b);
      else if (what < 98)
        back_swap (&b);
      else
        {
          back_close (&b);
          open_disk (&b, path);
        }
    }
  back_close (&b);
  open_disk (&b, path);
  for (size_t at = 0; at < size; at += MIN (MiB, size - at))
    {
      back_read (&b, at, buffer, MIN (MiB, size - at));
      g_assert_true (memcmp (buffer, model + at, MIN (MiB, size - at)) == 0);
    }
  back_close (&b);
  g_free (buffer);
  g_rand_free (rand);
}

static void
test_random (Fixture *f, const void *data)
{
  const char *type = data;
  g_autofree char *base = make (f, "base.vhd", "dynamic", 24 * MiB, NULL), *path = NULL;
  Found found = { { 0 } };
  uint8_t *model;
  uint64_t size;
  Back b;

  open_disk (&b, base);
  size = back_size (&b);
  back_close (&b);
  model = g_malloc0 (size);
  random_run (f, base, model, size, 300);
  if (strcmp (type, "differencing") == 0)
    path = make (f, "child.vhd", type, 0, base);
  else
    {
      path = make (f, "other.vhd", type, size, NULL);
      memset (model, 0, size);
    }
  random_run (f, path, model, size, 2000);
  g_assert_true (image_check (f->lib.image, path, false, &found));
  g_assert_cmpuint (found.count[TN_IMAGE_NOTE], ==, 0);
  g_free (found.text);
  g_free (model);
}

/* ---- Parents ---- */

static void
fill (const char *path, uint64_t offset, uint8_t value, size_t size)
{
  g_autofree uint8_t *bytes = g_malloc (size);
  Back b;

  memset (bytes, value, size);
  open_disk (&b, path);
  back_write (&b, offset, bytes, size);
  back_close (&b);
}

static uint8_t
peek (const char *path, uint64_t offset)
{
  uint8_t bytes[512];
  Back b;

  back_open (&b, "disk-vhd", (const char *[]){ "file", path, "read-only", "true", NULL });
  back_read (&b, offset, bytes, sizeof bytes);
  back_close (&b);
  return bytes[0];
}

static void
refuse (const char *path, const char *name, const char *value, const char *expected)
{
  g_autoptr (GError) error = NULL;
  Back b;

  g_assert_false (
      back_try (&b, "disk-vhd", (const char *[]){ "file", path, name, value, NULL }, &error));
  g_test_message ("%s", error->message);
  if (strstr (error->message, expected) == NULL)
    g_error ("expected \"%s\", found: %s", expected, error->message);
  g_assert_true (g_str_has_prefix (error->message, "disk: "));
  g_assert_true (g_utf8_validate (error->message, -1, NULL));
  for (const char *c = error->message; *c; c = g_utf8_next_char (c))
    g_assert_false (g_unichar_iscntrl (g_utf8_get_char (c)));
}

/* Every locator and the name alone lead to the parent; wrong ones are no harm. */
static void
test_locators (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "bäse.vhd", NULL, 8 * MiB, NULL);
  g_autofree char *child = NULL, *moved = NULL;
  uint8_t *bytes;
  size_t length;

  fill (base, 4096, 0x42, 512);
  child = make (f, "child.vhd", NULL, 0, base);
  moved = path_of (f, "moved.vhd");
  bytes = slurp (child, &length);
  g_assert_cmpmem (bytes + 512 + 576, 4, "W2ru", 4);
  g_assert_cmpmem (bytes + 512 + 600, 4, "MacX", 4);
  for (unsigned keep = 0; keep < 3; keep++) /* W2ru, MacX, neither: the name */
    {
      g_autofree uint8_t *copy = g_memdup2 (bytes, length);

      for (unsigned n = 0; n < 2; n++)
        if (n != keep)
          memset (copy + 512 + 576 + 24 * n, 0, 24);
      if (keep < 2)
        memset (copy + 512 + 64, 0, 512);
      seal (copy + 512, 1024, 36);
      spill (moved, copy, length);
      g_assert_cmphex (peek (moved, 4096), ==, 0x42);
      /* A locator that points to what is no parent. */
      memcpy (copy + 512 + 576 + 24 * 5, "W2ku", 4);
      copy[512 + 576 + 24 * 5 + 11] = 20;
      seal (copy + 512, 1024, 36);
      spill (moved, copy, length);
      g_assert_cmphex (peek (moved, 4096), ==, 0x42);
    }
  /* Windows' absolute path: the bare name is looked for beside the image. */
  memset (bytes + 512 + 576, 0, 48);
  seal (bytes + 512, 1024, 36);
  spill (moved, bytes, length);
  g_assert_cmphex (peek (moved, 4096), ==, 0x42);
  /* Nothing at all, and then by hand. */
  memset (bytes + 512 + 64, 0, 512);
  seal (bytes + 512, 1024, 36);
  spill (moved, bytes, length);
  refuse (moved, NULL, NULL, "does not say where its parent is");
  {
    Back b;

    back_open (&b, "disk-vhd", (const char *[]){ "file", moved, "parent", base, NULL });
    back_close (&b);
  }
  g_free (bytes);
}

/* What an image says of its parent is shown as text, whatever it is. */
static void
test_unreadable_locator (Fixture *f, const void *data)
{
  static const char url[] = "file:///\x1b[31mn%1b\x9b\xc2\x9b\xff\xfeowhere\n";
  g_autofree char *base = make (f, "base.vhd", NULL, 8 * MiB, NULL);
  g_autofree char *child = make (f, "child.vhd", NULL, 0, base);
  size_t length;
  g_autofree uint8_t *bytes = slurp (child, &length);
  uint64_t at = 0;

  for (unsigned n = 0; n < 8; n++)
    at = at << 8 | bytes[512 + 600 + 16 + n];
  memcpy (bytes + at, url, sizeof url);
  memset (bytes + 512 + 576, 0, 24);
  memset (bytes + 512 + 64, 0, 512);
  bytes[512 + 600 + 11] = sizeof url;
  bytes[512 + 600 + 10] = 0;
  seal (bytes + 512, 1024, 36);
  spill (child, bytes, length);
  refuse (child, NULL, NULL, "was not found (/?[31mn?");
}

static void
test_wrong_parent (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "base.vhd", NULL, 8 * MiB, NULL);
  g_autofree char *other = make (f, "other.vhd", NULL, 8 * MiB, NULL);
  g_autofree char *child = make (f, "child.vhd", NULL, 0, base);
  g_autofree char *secret = path_of (f, "secret");
  struct utimbuf times = { 1000000000, 1000000000 };
  struct stat st;
  uint8_t *bytes;
  size_t length;
  Back b;

  refuse (child, "parent", other, "its UUID is another one");
  g_assert_cmpint (stat (base, &st), ==, 0);
  g_assert_cmpint (utime (base, &times), ==, 0);
  refuse (child, NULL, NULL, "was modified after");
  back_open (&b, "disk-vhd", (const char *[]){ "file", child, "parent-time", "ignore", NULL });
  back_close (&b);
  times.modtime = st.st_mtime;
  g_assert_cmpint (utime (base, &times), ==, 0);
  g_assert_cmphex (peek (child, 0), ==, 0);

  /* An image must not be able to name any file of the host as its raw parent. */
  spill (secret, (const uint8_t *) memset (g_alloca (8192), 's', 8192), 8192);
  bytes = slurp (child, &length);
  memset (bytes + 512 + 40, 0, 16);
  memset (bytes + 512 + 64, 0, 512);
  memset (bytes + 512 + 576, 0, 48);
  for (unsigned n = 0; n < 6; n++)
    bytes[512 + 64 + 2 * n + 1] = "secret"[n];
  seal (bytes + 512, 1024, 36);
  spill (child, bytes, length);
  refuse (child, NULL, NULL, "must be named");
  g_free (bytes);
  g_unlink (base);
  child = (g_free (child), make (f, "child2.vhd", NULL, 0, other));
  g_unlink (other);
  refuse (child, NULL, NULL, "was not found");
}

/* Two images that are parents of each other; a chain without end. */
static void
test_loops (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "base.vhd", NULL, 8 * MiB, NULL);
  g_autofree char *child = make (f, "child.vhd", NULL, 0, base);
  uint8_t *bytes;
  size_t length;
  char *last = g_strdup (base);

  bytes = slurp (child, &length);
  memcpy (bytes + 512 + 40, bytes + 68, 16); /* its own UUID as the parent's */
  seal (bytes + 512, 1024, 36);
  spill (base, bytes, length);
  refuse (base, "read-only", "true", "parent of itself");
  for (unsigned n = 0; n < 9; n++) /* its own name, too */
    bytes[512 + 64 + 2 * n + 1] = "child.vhd"[n];
  memset (bytes + 512 + 576, 0, 48);
  seal (bytes + 512, 1024, 36);
  spill (child, bytes, length);
  refuse (child, "read-only", "true", "parent of itself");
  g_free (bytes);

  g_unlink (base);
  g_free (make (f, "base.vhd", NULL, 8 * MiB, NULL));
  for (unsigned n = 0; n < 70; n++)
    {
      g_autofree char *name = g_strdup_printf ("chain%u.vhd", n), *path = path_of (f, name);
      TnImageSpec spec = { .path = path, .parent = last };
      g_autoptr (GError) error = NULL;

      if (!f->lib.image->create (&spec, &error))
        {
          g_assert_cmpuint (n, ==, 65);
          g_assert_nonnull (strstr (error->message, "stand on one another"));
          break;
        }
      g_assert_cmpuint (n, <, 65);
      g_free (last);
      last = g_steal_pointer (&path);
    }
  refuse (last, NULL, NULL, "stand on one another");
  g_free (last);
}

static void
test_chain (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "0.vhd", "fixed", 8 * MiB, NULL);
  g_autofree char *first = NULL, *second = NULL;
  Back a, b;

  fill (base, 0, 0x10, 4096);
  first = make (f, "1.vhd", NULL, 0, base);
  fill (first, 512, 0x11, 512);
  second = make (f, "2.vhd", NULL, 0, first);
  fill (second, 1024, 0x12, 512);
  g_assert_cmphex (peek (second, 0), ==, 0x10);
  g_assert_cmphex (peek (second, 512), ==, 0x11);
  g_assert_cmphex (peek (second, 1024), ==, 0x12);
  g_assert_cmphex (peek (second, 1536), ==, 0x10);
  g_assert_cmphex (peek (first, 1024), ==, 0x10);
  /* While the child is in use nobody writes to its parents. */
  open_disk (&a, second);
  refuse (first, NULL, NULL, "in use");
  refuse (base, NULL, NULL, "in use");
  refuse (second, "read-only", "true", "in use");
  back_open (&b, "disk-vhd", (const char *[]){ "file", first, "read-only", "true", NULL });
  back_swap (&a);
  refuse (base, NULL, NULL, "in use");
  back_close (&b);
  back_close (&a);
}

/* ---- Commit, discard, undo ---- */

static void
commit (const char *path)
{
  TnImageMonitor monitor = { .progress = image_progress };
  GError *error = NULL;
  Back b;

  open_disk (&b, path);
  b.image->commit (b.self, &monitor, &error);
  g_assert_no_error (error);
  back_close (&b);
}

static bool
stop_half_way (void *data, uint64_t done, uint64_t total)
{
  return done < total / 2;
}

static void
test_commit (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "base.vhd", NULL, 16 * MiB, NULL);
  g_autofree char *child = NULL;
  TnImageMonitor half = { .progress = stop_half_way };
  g_autoptr (GError) error = NULL;
  struct stat st;
  Back b;

  fill (base, 0, 1, MiB);
  child = make (f, "child.vhd", NULL, 0, base);
  fill (child, 512, 2, 512);
  fill (child, 15 * MiB, 3, MiB);
  open_disk (&b, child);
  g_assert_false (b.image->commit (b.self, &half, &error));
  g_assert_nonnull (strstr (error->message, "commit again"));
  back_close (&b);
  g_assert_cmphex (peek (base, 512), ==, 2); /* half of it is there */
  g_assert_cmphex (peek (child, 15 * MiB), ==, 3);
  commit (child);
  g_assert_cmphex (peek (base, 15 * MiB), ==, 3);
  g_assert_cmphex (peek (base, 1024), ==, 1);
  g_assert_cmphex (peek (child, 15 * MiB), ==, 3);
  g_assert_cmpint (stat (child, &st), ==, 0);
  g_assert_cmpint (st.st_size, <, 8192);
  fill (child, 0, 9, 512); /* it goes on as a difference */
  g_assert_cmphex (peek (child, 0), ==, 9);
  open_disk (&b, child);
  g_assert_true (b.image->discard (b.self, NULL));
  back_close (&b);
  g_assert_cmphex (peek (child, 0), ==, 1);
  open_disk (&b, base);
  g_clear_error (&error);
  g_assert_false (b.image->discard (b.self, &error));
  g_assert_nonnull (strstr (error->message, "has no parent"));
  back_close (&b);
}

static void
undo_open (Back *b, const char *file, const char *undo, const char *end)
{
  back_open (b, "disk-vhd", (const char *[]){ "file", file, "undo", undo, "undo-end", end, NULL });
}

/* Over a raw image, which stays as it is. */
static void
test_undo (Fixture *f, const void *data)
{
  g_autofree char *raw = path_of (f, "disk.img"), *undo = path_of (f, "disk.vud");
  g_autofree uint8_t *bytes = g_malloc0 (4 * MiB), *now = NULL;
  uint8_t sector[512], in[512];
  size_t length;
  Back b;

  memset (bytes, 'r', 4 * MiB);
  spill (raw, bytes, 4 * MiB);
  memset (sector, 'u', 512);
  undo_open (&b, raw, undo, "keep");
  g_assert_cmpuint (back_size (&b), ==, 4 * MiB);
  back_write (&b, 1024, sector, 512);
  back_swap (&b);
  back_read (&b, 1024, in, 512);
  g_assert_cmpmem (in, 512, sector, 512);
  back_read (&b, 1536, in, 512);
  g_assert_cmphex (in[0], ==, 'r');
  back_close (&b);
  now = slurp (raw, &length);
  g_assert_cmpmem (now, length, bytes, 4 * MiB);
  undo_open (&b, raw, undo, "discard"); /* what was left goes, too */
  back_read (&b, 1024, in, 512);
  g_assert_cmphex (in[0], ==, 'r');
  back_write (&b, 0, sector, 512);
  back_close (&b);
  undo_open (&b, raw, undo, "commit");
  back_read (&b, 0, in, 512);
  g_assert_cmphex (in[0], ==, 'r');
  back_write (&b, 2048, sector, 512);
  back_close (&b);
  memcpy (bytes + 2048, sector, 512);
  g_free (now);
  now = slurp (raw, &length);
  g_assert_cmpmem (now, length, bytes, 4 * MiB);
  undo_open (&b, raw, undo, "keep");
  back_read (&b, 2048, in, 512);
  g_assert_cmpmem (in, 512, sector, 512);
  back_close (&b);
}

/* ---- What is wrong ---- */

static void
poke (const char *path, long at, const void *bytes, size_t size)
{
  int fd = open (path, O_RDWR);

  if (at < 0)
    at += lseek (fd, 0, SEEK_END);
  g_assert_cmpint (pwrite (fd, bytes, size, at), ==, (ssize_t) size);
  close (fd);
}

static void
test_check (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", NULL, 32 * MiB, NULL);
  const TnImageOps *image = f->lib.image;
  Found found = { { 0 } };
  struct stat st;

  fill (path, 0, 1, 512);
  fill (path, 8 * MiB, 2, 512);
  g_assert_true (image_check (image, path, false, &found));
  g_assert_null (found.text);

  poke (path, -512, "XXXX", 4);
  g_assert_false (image_check (image, path, false, &found));
  g_assert_cmpuint (found.count[TN_IMAGE_DAMAGE], ==, 1);
  g_assert_cmphex (peek (path, 8 * MiB), ==, 2); /* the copy serves */
  g_assert_true (image_check (image, path, true, &found));
  g_assert_true (image_check (image, path, false, &found));
  g_assert_null (found.text);

  poke (path, 3, "XXXX", 4);
  g_assert_false (image_check (image, path, false, &found));
  g_assert_true (image_check (image, path, true, &found));
  g_assert_true (image_check (image, path, false, &found));

  g_assert_cmpint (stat (path, &st), ==, 0);
  poke (path, 1536 + 4 * 9, "\0\x7f\0\0", 4); /* far outside */
  refuse (path, NULL, NULL, "outside of the file");
  g_assert_false (image_check (image, path, false, &found));
  g_assert_cmpuint (found.count[TN_IMAGE_LOSS], ==, 1);
  g_assert_true (image_check (image, path, true, &found));
  g_assert_cmphex (peek (path, 8 * MiB), ==, 2);

  poke (path, 1536 + 4 * 9, "\0\0\0\x05", 4); /* on block 0 */
  refuse (path, NULL, NULL, "has block");
  g_assert_false (image_check (image, path, true, &found));
  poke (path, 1536 + 4 * 9, "\xff\xff\xff\xff", 4);
  g_assert_true (image_check (image, path, false, &found));

  g_assert_cmpint (truncate (path, 100000), ==, 0);
  refuse (path, NULL, NULL, "truncated");
  g_assert_false (image_check (image, path, false, &found));
  g_assert_cmpint (truncate (path, 100), ==, 0);
  refuse (path, NULL, NULL, "no VHD");
  g_assert_cmpint (truncate (path, 0), ==, 0);
  refuse (path, NULL, NULL, "no VHD");
  g_free (found.text);
}

/* Before 2004 a footer had 511 bytes. */
static void
test_old_footer (Fixture *f, const void *data)
{
  g_autofree char *path = make (f, "a.vhd", "fixed", 5 * MiB, NULL);
  struct stat st;

  fill (path, 0, 5, 512);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (truncate (path, st.st_size - 1), ==, 0);
  g_assert_cmphex (peek (path, 0), ==, 5);
}

/* Virtual PC's guests saw the size of the geometry. */
static void
test_sizes (Fixture *f, const void *data)
{
  static const char *const creators[] = { "vpc ", "qemu", "win ", "tap" };
  g_autofree char *path = path_of (f, "a.vhd");
  TnImageSpec spec = { .path = path, .size = 10 * MiB, .exact = true };

  g_assert_true (f->lib.image->create (&spec, NULL));
  for (unsigned n = 0; n < G_N_ELEMENTS (creators); n++)
    {
      size_t length;
      g_autofree uint8_t *bytes = slurp (path, &length);
      Back b;

      memcpy (bytes + 28, creators[n], 4);
      seal (bytes, 512, 64);
      memcpy (bytes + length - 512, bytes, 512);
      spill (path, bytes, length);
      open_disk (&b, path);
      g_assert_cmpuint (back_size (&b), ==, n < 2 ? 301 * 4 * 17 * 512 : 10 * MiB);
      back_close (&b);
    }
}

static void
test_refused (Fixture *f, const void *data)
{
  g_autofree char *base = make (f, "base.vhd", NULL, 8 * MiB, NULL), *path = path_of (f, "x.vhd");
  static const struct {
    TnImageSpec spec;
    const char *text;
  } bad[] = {
    { { .size = 0 }, "size" },
    { { .size = 1000 }, "whole sectors" },
    { { .size = UINT64_C (2041) << 30 }, "2040 GiB" },
    { { .size = MiB, .block_size = 3 * MiB }, "power of two" },
    { { .size = MiB, .block_size = 512 }, "power of two" },
    { { .size = UINT64_C (2000) << 30, .block_size = 4096 }, "too small" },
    { { .size = MiB, .type = "round" }, "expected fixed" },
    { { .size = MiB, .type = "differencing" }, "needs a parent" },
  };

  for (unsigned n = 0; n < G_N_ELEMENTS (bad); n++)
    {
      TnImageSpec spec = bad[n].spec;
      g_autoptr (GError) error = NULL;

      spec.path = path;
      g_assert_false (f->lib.image->create (&spec, &error));
      g_assert_nonnull (strstr (error->message, bad[n].text));
      g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
    }
}

#define TEST(name, func) g_test_add ("/disk-vhd/" name, Fixture, NULL, set_up, func, tear_down)

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  TEST ("layout", test_layout);
  TEST ("fixed", test_fixed);
  TEST ("geometry", test_geometry);
  TEST ("blocks", test_blocks);
  TEST ("bitmap", test_bitmap);
  for (unsigned n = 0; n < 3; n++)
    {
      static const char *const types[] = { "dynamic", "fixed", "differencing" };
      g_autofree char *name = g_strconcat ("/disk-vhd/random/", types[n], NULL);

      g_test_add (name, Fixture, types[n], set_up, test_random, tear_down);
    }
  g_test_add ("/disk-vhd/full", Fixture, "dynamic", set_up, test_full, tear_down);
  TEST ("locators", test_locators);
  TEST ("unreadable-locator", test_unreadable_locator);
  TEST ("wrong-parent", test_wrong_parent);
  TEST ("loops", test_loops);
  TEST ("chain", test_chain);
  TEST ("commit", test_commit);
  TEST ("undo", test_undo);
  TEST ("check", test_check);
  TEST ("old-footer", test_old_footer);
  TEST ("sizes", test_sizes);
  TEST ("refused", test_refused);
  return g_test_run ();
}
