/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile VHDs: valid images of all types whose fields, tables, locators, bitmaps and lengths are
 * changed, with checksums made right again, go through all that a machine and `tenon disk` do with
 * an image.  Whatever the file says, each operation works or fails with an error; and
 *
 *   what was written to an image that could be opened is read back, before and after it is closed
 *   an image that was open for writing can be opened again; the parent may have to be named if what
 *     leads to it lay in a block
 *   an image that was repaired has nothing left to repair
 *
 * See fuzz.h for the environment; a case is an image here, and there are no twins.
 */
#define _GNU_SOURCE
#include "block.h"
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MiB (1u << 20)
#define MAX_WRITES 12

static char *dir, *image_path, *base_path;
static Back lib;
static unsigned opened, refused, repaired;

/* ---- Valid images ---- */

typedef struct {
  const char *type;
  uint64_t size;
  uint32_t block_size;
  GByteArray *bytes;
} Template;

static Template templates[] = {
  { "fixed", MiB, 0, NULL },
  { "dynamic", 12 * MiB, 2 * MiB, NULL },
  { "dynamic", 3 * MiB, 4096, NULL },
  { "dynamic", UINT64_C (100) << 30, 2 * MiB, NULL },
  { "differencing", 0, 2 * MiB, NULL },
  { "differencing", 0, 64 << 10, NULL },
};

static GByteArray *base;

static GByteArray *
load_file (const char *path)
{
  char *bytes;
  gsize size;

  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  return g_byte_array_new_take ((guint8 *) bytes, size);
}

static void
make (const char *path, const Template *t)
{
  bool child = t->size == 0;
  TnImageSpec spec = { .path = path,
                       .size = t->size,
                       .type = t->type,
                       .exact = true,
                       .block_size = t->block_size,
                       .parent = child ? base_path : NULL };
  uint8_t bytes[4096];
  GError *error = NULL;
  Back b;

  g_unlink (path);
  lib.image->create (&spec, &error);
  g_assert_no_error (error);
  back_open (&b, "disk-vhd", (const char *[]){ "file", path, NULL });
  for (unsigned n = 0; n < 4; n++)
    {
      memset (bytes, n + 1, sizeof bytes);
      back_write (&b, n * 128u * 1024, bytes, sizeof bytes);
    }
  back_close (&b);
}

static void
make_templates (void)
{
  static const Template parent = { "dynamic", 4 * MiB, 64 << 10, NULL };

  make (base_path, &parent);
  for (unsigned n = 0; n < G_N_ELEMENTS (templates); n++)
    {
      make (image_path, &templates[n]);
      templates[n].bytes = load_file (image_path);
    }
  base = load_file (base_path);
}

/* ---- Changes ---- */

static uint64_t
nice_value (const GByteArray *f)
{
  static const uint64_t values[] = { 0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     5,
                                     16,
                                     511,
                                     512,
                                     513,
                                     1024,
                                     1536,
                                     2048,
                                     4096,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xfffffffe,
                                     0xffffffff,
                                     0x100000000,
                                     INT64_MAX,
                                     UINT64_MAX,
                                     UINT64_MAX - 511,
                                     UINT64_C (2040) << 30,
                                     0x00200000,
                                     0x10000000 };

  switch (roll (6))
    {
    case 0: return g_rand_int (dice);
    case 1: return f->len / 512 - 4 + roll (8);
    case 2: return f->len - 1024 + roll (2048);
    case 3: return UINT64_C (1) << roll (64);
    default: return values[roll (G_N_ELEMENTS (values))] + (roll (4) ? 0 : roll (5) - 2);
    }
}

static void
put (GByteArray *f, uint64_t at, uint64_t value, unsigned size)
{
  for (unsigned n = 0; n < size; n++)
    if (at + n < f->len)
      f->data[at + n] = value >> 8 * (size - 1 - n);
}

static uint64_t
get (const GByteArray *f, uint64_t at, unsigned size)
{
  uint64_t value = 0;

  for (unsigned n = 0; n < size; n++)
    value = value << 8 | (at + n < f->len ? f->data[at + n] : 0);
  return value;
}

static void
seal (GByteArray *f, uint64_t start, unsigned size, unsigned hole)
{
  uint32_t sum = 0;

  for (unsigned n = 0; n < size && start + n < f->len; n++)
    sum += n - hole < 4 ? 0 : f->data[start + n];
  put (f, start + hole, (uint32_t) ~sum, 4);
}

static void
change_footer (GByteArray *f)
{
  static const uint8_t fields[][2]
      = { { 0, 8 },  { 8, 4 },  { 12, 4 }, { 16, 8 }, { 24, 4 }, { 28, 4 }, { 40, 8 }, { 48, 8 },
          { 48, 8 }, { 56, 2 }, { 58, 1 }, { 59, 1 }, { 60, 4 }, { 60, 4 }, { 68, 8 }, { 84, 1 } };
  const uint8_t *field = fields[roll (G_N_ELEMENTS (fields))];
  uint64_t value = field[0] == 60 ? roll (6) : nice_value (f), where[2] = { f->len - 512, 0 };
  unsigned which = roll (4);

  if (field[0] == 48 && roll (2)) /* a plausible size */
    value = (uint64_t) roll (1 << 24) * 512;
  for (unsigned n = 0; n < 2; n++)
    {
      if (f->len < 512 || which == n)
        continue;
      put (f, where[n] + field[0], value, field[1]);
      if (roll (20))
        seal (f, where[n], 512, 64);
    }
}

static void
change_header (GByteArray *f)
{
  static const uint16_t fields[][2]
      = { { 0, 8 },  { 8, 8 },  { 16, 8 }, { 16, 8 }, { 24, 4 }, { 28, 4 },
          { 28, 4 }, { 32, 4 }, { 32, 4 }, { 40, 8 }, { 56, 4 }, { 64, 8 } };
  const uint16_t *field = fields[roll (G_N_ELEMENTS (fields))];

  put (f, 512 + field[0], field[0] == 32 && roll (2) ? 1u << roll (32) : nice_value (f), field[1]);
  if (roll (20))
    seal (f, 512, 1024, 36);
}

static void
put_path (GByteArray *f, uint64_t at, bool little)
{
  static const char *const paths[] = { "base.vhd",
                                       ".\\base.vhd",
                                       "image.vhd",
                                       "..\\..\\etc\\passwd",
                                       "/dev/zero",
                                       "/dev/full",
                                       "/proc/self/mem",
                                       ".",
                                       "",
                                       "file:///dev/null",
                                       "file://./base.vhd",
                                       "file://%2e%2e/%00",
                                       "C:\\base.vhd",
                                       "\\\\server\\share\\base.vhd",
                                       "/",
                                       "%" };
  const char *path = paths[roll (G_N_ELEMENTS (paths))];

  for (unsigned n = 0; n <= strlen (path); n++)
    put (f, at + (little ? 2 * n : n), (uint8_t) path[n], 1);
}

static void
change_locator (GByteArray *f)
{
  static const char codes[][5] = { "W2ru", "W2ku", "MacX", "Mac ", "Wi2r", "Wi2k", "\0\0\0\0" };
  unsigned at = 512 + 576 + 24 * roll (8);

  switch (roll (6))
    {
    case 0: put (f, at + 4, nice_value (f), 4); break;
    case 1: put (f, at + 8, nice_value (f), 4); break;
    case 2: put (f, at + 16, nice_value (f), 8); break;
    case 3: put_path (f, get (f, 512 + 576 + 16, 8), true); break;
    case 4: put_path (f, get (f, 512 + 600 + 16, 8), false); break;
    default:
      memcpy (f->data + at, codes[roll (G_N_ELEMENTS (codes))], 4);
      put (f, at + 8, 1 + roll (200), 4);
      put (f, at + 16, roll (f->len), 8);
      break;
    }
  if (roll (4) == 0)
    put_path (f, 512 + 64 + 1, true); /* UTF-16BE, near enough */
  seal (f, 512, 1024, 36);
}

static void
change_table (GByteArray *f)
{
  uint64_t table = get (f, 512 + 16, 8), entries = get (f, 512 + 28, 4);

  for (unsigned n = 1 + roll (4); n > 0; n--)
    {
      uint64_t from = table + 4 * roll (MIN (entries, 64)), to = table + 4 * roll (entries);

      put (f, to, roll (3) ? nice_value (f) : get (f, from, 4), 4);
    }
}

static void
change_bitmap (GByteArray *f)
{
  uint64_t at = get (f, get (f, 512 + 16, 8) + 4 * roll (4), 4) * 512;

  for (unsigned n = roll (512); n > 0; n--)
    put (f, at + roll (512), g_rand_int (dice), 1);
}

static void
change_length (GByteArray *f)
{
  uint32_t before = f->len, size = roll (3) ? roll (before + 2) : before + roll (3 * MiB);

  if (roll (2))
    size &= ~511u;
  g_byte_array_set_size (f, size);
  if (size > before)
    memset (f->data + before, roll (2) ? 0 : g_rand_int (dice), size - before);
}

static void
change (GByteArray *f)
{
  if (f->len < 4096 && roll (2))
    return;
  switch (f->len < 2048 ? 20 : roll (21))
    {
    case 0 ... 4: change_footer (f); break;
    case 5 ... 8: change_header (f); break;
    case 9 ... 11: change_locator (f); break;
    case 12 ... 15: change_table (f); break;
    case 16 ... 17: change_bitmap (f); break;
    case 18 ... 19: change_length (f); break;
    default:
      for (unsigned n = roll (8); n > 0 && f->len > 0; n--)
        f->data[roll (roll (2) ? f->len : MIN (f->len, 4096))] = g_rand_int (dice);
      break;
    }
}

/* ---- What is done with them ---- */

static void
spill (const char *path, const GByteArray *f)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

  g_assert_cmpint (write (fd, f->data, f->len), ==, f->len);
  close (fd);
}

typedef struct {
  uint64_t offset;
  uint8_t value, count; /* of sectors */
} Written;

static void
random_access (Back *b, Written *written, unsigned *n_written)
{
  static uint8_t bytes[256 * 512];
  uint64_t size = back_size (b), offset = ((uint64_t) g_rand_int (dice) << 32 | g_rand_int (dice));
  Written w = { .value = 1 + roll (255), .count = 1 + roll (200) };
  int error;

  offset = roll (2) ? offset % MIN (size, 4 * MiB) : offset % (size + MiB);
  if (roll (3) == 0)
    {
      b->ops->read (b->self, offset, bytes, 1 + roll (sizeof bytes));
      return;
    }
  w.offset = offset & -UINT64_C (512);
  memset (bytes, w.value, w.count * 512u);
  error = b->ops->write (b->self, w.offset, bytes, w.count * 512u);
  if (error == 0)
    {
      g_assert_cmpuint (w.offset + w.count * 512u, <=, size);
      written[(*n_written)++] = w;
    }
}

/* The last write to a sector counts. */
static void
check_written (Back *b, const Written *written, unsigned n_written)
{
  uint8_t bytes[512];

  for (unsigned n = 0; n < n_written; n++)
    for (unsigned s = 0; s < written[n].count; s++)
      {
        uint64_t at = written[n].offset + s * 512;
        bool hidden = false;

        for (unsigned later = n + 1; later < n_written; later++)
          hidden |= at >= written[later].offset
                    && at < written[later].offset + written[later].count * 512u;
        if (hidden || b->ops->read (b->self, at, bytes, 512) != 0)
          continue; /* a truncated parent is an error, and no crash */
        if (bytes[0] != written[n].value || memcmp (bytes, bytes + 1, 511) != 0)
          g_error ("at %" G_GUINT64_FORMAT ": wrote %u, read %u", at, written[n].value, bytes[0]);
      }
}

static void
tell (void *data, const char *name, const char *value)
{
  g_assert_true (g_utf8_validate (name, -1, NULL));
}

static bool
tired (void *data, uint64_t done, uint64_t total)
{
  return (*(unsigned *) data)++ < 2000;
}

/* What is written to such an image may change what it says of its parent. */
static bool locator_in_block;

static void
note_found (void *data, TnImageFinding finding, const char *text)
{
  g_assert_true (g_utf8_validate (text, -1, NULL));
  if (strstr (text, "on a locator of its parent"))
    locator_in_block = true;
}

static void
walk_stored (Back *b)
{
  uint64_t size = back_size (b), length;

  for (uint64_t at = 0, steps = 0; at < size && steps < 500; at += length, steps++)
    {
      b->image->stored (b->self, at, &length);
      g_assert_cmpuint (length, >, 0);
    }
}

static void
merge (Back *b)
{
  unsigned steps = 0;
  TnImageMonitor monitor = { .data = &steps, .progress = tired, .found = note_found };
  GError *error = NULL;
  bool done = roll (2) ? b->image->commit (b->self, &monitor, &error)
                       : b->image->discard (b->self, &error);

  g_assert_true (done == (error == NULL));
  g_clear_error (&error);
}

/* `named`: the parent is given, too; it may be that it is not found without. */
static bool
try_open (Back *b, bool writable, bool named, GError **error)
{
  const char *any[]
      = { "file", image_path, "read-only", writable ? "false" : "true", "parent-time", "ignore",
          NULL,   NULL,       NULL };

  if (named)
    {
      any[6] = "parent";
      any[7] = base_path;
    }
  return back_try (b, "disk-vhd", any, error);
}

static void
use (void)
{
  bool writable = roll (4) != 0, named = roll (8) == 0;
  Written written[MAX_WRITES];
  unsigned n_written = 0;
  GError *error = NULL;
  Back b;

  if (!try_open (&b, writable, named, &error))
    {
      g_assert_nonnull (error);
      g_assert_true (g_utf8_validate (error->message, -1, NULL));
      g_error_free (error);
      refused++;
      return;
    }
  opened++;
  b.image->info (b.self, tell, NULL);
  walk_stored (&b);
  for (unsigned n = roll (MAX_WRITES); n > 0; n--)
    {
      random_access (&b, written, &n_written);
      if (roll (4) == 0)
        b.ops->flush (b.self);
    }
  check_written (&b, written, n_written);
  if (roll (8) == 0)
    {
      back_swap (&b);
      check_written (&b, written, n_written);
    }
  if (roll (6) == 0)
    {
      merge (&b);
      n_written = 0;
    }
  back_close (&b);
  if (!writable)
    return;
  try_open (&b, true, named || locator_in_block, &error);
  g_assert_no_error (error);
  check_written (&b, written, n_written);
  back_close (&b);
}

static void
check (bool repair)
{
  unsigned steps = 0;
  TnImageMonitor monitor = { .data = &steps, .progress = tired, .found = note_found };
  GError *error = NULL;

  if (!lib.image->check (image_path, repair, &monitor, &error))
    {
      g_clear_error (&error);
      return;
    }
  if (!repair)
    return;
  repaired++;
  steps = 0; /* it may take as long again */
  bool fine = lib.image->check (image_path, false, &monitor, &error);
  g_assert_no_error (error);
  g_assert_true (fine);
}

static void
one (void)
{
  const Template *t = &templates[fuzz_case % G_N_ELEMENTS (templates)];
  GByteArray *f = g_byte_array_new (), *parent = g_byte_array_new ();

  g_byte_array_append (f, t->bytes->data, t->bytes->len);
  g_byte_array_append (parent, base->data, base->len);
  for (unsigned n = 1 + roll (5); n > 0; n--)
    change (f);
  if (t->size == 0 && roll (4) == 0)
    change (parent);
  spill (image_path, f);
  spill (base_path, parent);
  locator_in_block = false;
  check (false);
  if (roll (3) == 0)
    check (true);
  use ();
  g_byte_array_unref (f);
  g_byte_array_unref (parent);
}

int
main (int argc, char **argv)
{
  dir = g_strdup ("/dev/shm/disk-fuzz-XXXXXX");
  if (g_mkdtemp (dir) == NULL)
    dir = g_dir_make_tmp ("disk-fuzz-XXXXXX", NULL);
  image_path = g_build_filename (dir, "image.vhd", NULL);
  base_path = g_build_filename (dir, "base.vhd", NULL);
  back_load (&lib, "disk-vhd");
  make_templates ();
  int code = fuzz_main (argc, argv, "/disk-vhd-fuzz", one);
  g_print ("# %u images could be opened, %u were refused; %u of the repairs worked\n", opened,
           refused, repaired);
  g_assert_true (opened || g_getenv ("TENON_FUZZ_COUNT"));
  for (unsigned n = 0; n < G_N_ELEMENTS (templates); n++)
    g_byte_array_unref (templates[n].bytes);
  g_byte_array_unref (base);
  back_close (&lib);
  g_unlink (image_path);
  g_unlink (base_path);
  g_rmdir (dir);
  g_free (image_path);
  g_free (base_path);
  g_free (dir);
  return code;
}
