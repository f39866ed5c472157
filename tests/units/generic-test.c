/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives every plugin of the build through its whole life on the fake bus: create, reset, random
 * accesses to all that it claims, save, load, save (byte-equal), swap, destroy; two at once; a
 * realize that fails; states with random damage, which must be refused or taken, never crash.
 *
 *   TENON_SWAPS=n     swaps in the swap test (default 1,000)
 *   TENON_ROUNDS=n    random accesses (default 4,000)
 *   TENON_SEED=n      seed (default 1)
 *   generic-test -p /generic/rtc      one plugin
 */
#include <tenon/harness.h>

#include "../patience.h"

#include <glib/gstdio.h>
#include <unistd.h>
#include <string.h>

#define MAX_PAIRS 12

/* What a plugin needs to exist, beyond defaults.  "@dir" in a value is a fresh directory, "@file" a
   file of 128 KiB in it, "@char" and "@disk" back ends that the harness plays, "@port" a TCP port
   that is free. */
typedef struct {
  const char *plugin;
  const char *first[MAX_PAIRS];
  const char
      *second[MAX_PAIRS]; /* for another one on the same machine, which works if these differ */
} Setup;

static const Setup setups[] = {
  { "uart16550a", { "chardev", "@char" }, { "port", "0x2f8", "irq", "3" } },
  { "testcard", { "chardev", "@char" }, { NULL } },
  { "ide", { "primary-master", "@disk", "secondary-master-kind", "cdrom" }, { NULL } },
  { "firmware",
    { "file", "@file", "acpi-fix", "false" },
    { "file", "@file", "acpi-fix", "false" } },
  { "disk-raw", { "file", "@file" }, { "file", "@file2" } },
  { "disk-vhd",
    { "file", "@file", "undo", "@dir/undo.vhd" },
    { "file", "@file2", "undo", "@dir/undo2.vhd" } },
  { "char-file", { "file", "@dir/out" }, { "file", "@dir/out2" } },
  { "char-socket", { "path", "@dir/socket" }, { "path", "@dir/socket2" } },
  { "char-pty", { NULL }, { "symlink", "@dir/pty" } },
  { "display-vnc", { "port", "@port" }, { "port", "@port2" } },
};

typedef struct {
  char *name; /* of the plugin */
  char *dir;
  GRand *rand;
} Fixture;

static unsigned
from_environment (const char *name, unsigned otherwise)
{
  const char *text = g_getenv (name);

  return text ? strtoul (text, NULL, 0) : otherwise;
}

/* ---- Machines ---- */

static uint8_t disk_image[1 << 20];

static char *
make_file (const Fixture *f, const char *name)
{
  char *path = g_build_filename (f->dir, name, NULL);
  char *bytes = g_malloc0 (128 << 10);

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    g_assert_true (g_file_set_contents (path, bytes, 128 << 10, NULL));
  g_free (bytes);
  return path;
}

static char *
expand (const Fixture *f, TnHarness *h, const char *value)
{
  if (strcmp (value, "@file") == 0)
    return make_file (f, "image");
  if (strcmp (value, "@file2") == 0)
    return make_file (f, "image2");
  if (g_str_has_prefix (value, "@dir"))
    return g_strconcat (f->dir, value + 4, NULL);
  if (g_str_has_prefix (value, "@port"))
    return g_strdup_printf ("%u", free_port ());
  if (strcmp (value, "@char") == 0)
    tn_harness_add_char (h, "host-char");
  if (strcmp (value, "@disk") == 0)
    tn_harness_add_block (h, "host-disk", disk_image, sizeof disk_image, 512, false, false);
  return g_strdup (strcmp (value, "@char") == 0   ? "host-char"
                   : strcmp (value, "@disk") == 0 ? "host-disk"
                                                  : value);
}

static const Setup *
find_setup (const char *plugin)
{
  for (unsigned n = 0; n < G_N_ELEMENTS (setups); n++)
    if (strcmp (setups[n].plugin, plugin) == 0)
      return &setups[n];
  return NULL;
}

static bool
add (const Fixture *f, TnHarness *h, const char *name, const char *const *pairs, GError **error)
{
  const char *expanded[MAX_PAIRS + 1] = { NULL };
  TnDevice *device;

  for (unsigned n = 0; pairs != NULL && pairs[n] != NULL; n++)
    expanded[n] = n % 2 ? expand (f, h, pairs[n]) : g_strdup (pairs[n]);
  device = tn_harness_try_add (h, name, f->name, expanded, error);
  for (unsigned n = 0; expanded[n] != NULL; n++)
    g_free ((char *) expanded[n]);
  return device != NULL;
}

/* A machine with one of them, running. */
static TnHarness *
make_machine (const Fixture *f)
{
  const Setup *setup = find_setup (f->name);
  TnHarness *h = tn_harness_new (16 << 20);
  GError *error = NULL;

  if (add (f, h, "unit", setup ? setup->first : NULL, &error) && tn_harness_try_start (h, &error))
    return h;
  g_error ("%s: %s", f->name, error->message);
}

/* ---- Random accesses ---- */

typedef struct {
  GArray *ports, *memory; /* Range */
  GArray *functions;      /* guint */
  GPtrArray *lines;
  bool dma[8];
} Claims;

typedef struct {
  uint32_t first, count;
} Range;

static void
note_claim (void *data, const char *kind, uint64_t first, uint64_t count, const char *name)
{
  Claims *c = data;
  Range range = { first, count };
  guint function = first;

  if (strcmp (kind, "ports") == 0)
    g_array_append_val (c->ports, range);
  else if (strcmp (kind, "mmio") == 0 || strcmp (kind, "ram") == 0 || strcmp (kind, "rom") == 0)
    g_array_append_val (c->memory, range);
  else if (strcmp (kind, "pci") == 0)
    g_array_append_val (c->functions, function);
  else if (strcmp (kind, "watch") == 0)
    g_ptr_array_add (c->lines, g_strdup (name));
}

static void
claims_init (Claims *c, TnHarness *h)
{
  c->ports = g_array_new (FALSE, FALSE, sizeof (Range));
  c->memory = g_array_new (FALSE, FALSE, sizeof (Range));
  c->functions = g_array_new (FALSE, FALSE, sizeof (guint));
  c->lines = g_ptr_array_new_with_free_func (g_free);
  tn_harness_resources (h, "unit", note_claim, c);
}

static void
claims_finish (Claims *c)
{
  g_array_unref (c->ports);
  g_array_unref (c->memory);
  g_array_unref (c->functions);
  g_ptr_array_unref (c->lines);
}

static uint32_t
random_address (GRand *rand, const GArray *ranges)
{
  const Range *r = &g_array_index (ranges, Range, g_rand_int_range (rand, 0, ranges->len));

  return r->first + g_rand_int (rand) % r->count;
}

static uint32_t
random_value (GRand *rand)
{
  static const uint32_t nice[]
      = { 0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff, 0xffff, 0xffffffff };

  return g_rand_boolean (rand) ? g_rand_int (rand)
                               : nice[g_rand_int_range (rand, 0, G_N_ELEMENTS (nice))];
}

static void
random_port (TnHarness *h, GRand *rand, const Claims *c)
{
  uint16_t port = random_address (rand, c->ports);
  uint8_t items[64];
  unsigned size = 1 << g_rand_int_range (rand, 0, 3);
  uint32_t value = random_value (rand);

  switch (g_rand_int_range (rand, 0, 10))
    {
    case 0:
      tn_harness_ins (h, port, items, 16, size);
      break;
    case 1:
      memset (items, value, sizeof items);
      tn_harness_outs (h, port, items, 16, size);
      break;
    case 2:
    case 3:
    case 4:
      size == 1 ? tn_harness_in8 (h, port) : size == 2 ? tn_harness_in16 (h, port)
                                                       : tn_harness_in32 (h, port);
      break;
    default:
      if (size == 1)
        tn_harness_out8 (h, port, value);
      else if (size == 2)
        tn_harness_out16 (h, port, value);
      else
        tn_harness_out32 (h, port, value);
      break;
    }
}

static void
random_memory (TnHarness *h, GRand *rand, const Claims *c)
{
  uint32_t address = random_address (rand, c->memory);
  unsigned size = 1 << g_rand_int_range (rand, 0, 3);

  if (g_rand_boolean (rand))
    tn_harness_read (h, address, size);
  else
    tn_harness_write (h, address, random_value (rand), size);
}

static void
random_pci (TnHarness *h, GRand *rand, const Claims *c)
{
  guint function
      = g_array_index (c->functions, guint, g_rand_int_range (rand, 0, c->functions->len));
  unsigned size = 1 << g_rand_int_range (rand, 0, 3);
  unsigned offset = g_rand_int_range (rand, 0, 256) & ~(size - 1);

  if (g_rand_boolean (rand))
    tn_harness_pci_read (h, function >> 8, function & 0xff, offset, size);
  else
    tn_harness_pci_write (h, function >> 8, function & 0xff, offset, random_value (rand), size);
}

static void
random_step (TnHarness *h, GRand *rand, const Claims *c)
{
  unsigned what = g_rand_int_range (rand, 0, 100);

  if (what < 60 && c->ports->len > 0)
    random_port (h, rand, c);
  else if (what < 75 && c->memory->len > 0)
    random_memory (h, rand, c);
  else if (what < 80 && c->functions->len > 0)
    random_pci (h, rand, c);
  else if (what < 85 && c->lines->len > 0)
    tn_harness_set_line (h, c->lines->pdata[g_rand_int_range (rand, 0, c->lines->len)],
                         g_rand_boolean (rand));
  else if (what < 98)
    tn_harness_clock_step (h, g_rand_int (rand) >> g_rand_int_range (rand, 0, 32));
  else if (what == 98)
    tn_harness_settle (h);
  else
    tn_harness_take_reset (h, NULL);
}

/* The claims move (BARs, relocatable ports): look anew every now and then. */
static void
random_accesses (TnHarness *h, GRand *rand, unsigned count)
{
  while (count > 0)
    {
      Claims claims = { NULL };
      unsigned some = MIN (count, 50);

      claims_init (&claims, h);
      for (unsigned n = 0; n < some; n++)
        random_step (h, rand, &claims);
      claims_finish (&claims);
      count -= some;
    }
}

/* ---- Tests ---- */

static void
assert_same (GBytes *a, GBytes *b, const char *what)
{
  if (g_bytes_equal (a, b))
    return;
  GVariant *x = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, a, FALSE));
  GVariant *y = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, b, FALSE));
  char *s = g_variant_print (x, FALSE), *t = g_variant_print (y, FALSE);
  size_t n = 0, from;

  while (s[n] != '\0' && s[n] == t[n])
    n++;
  from = n > 60 ? n - 60 : 0;
  g_error ("%s: states differ:\n  %.200s\n  %.200s", what, s + from, t + from);
}

static void
load (TnHarness *h, GBytes *state)
{
  GError *error = NULL;

  tn_harness_load (h, state, &error);
  g_assert_no_error (error);
}

static void
swap (TnHarness *h)
{
  GError *error = NULL;

  tn_harness_swap (h, "unit", NULL, &error);
  g_assert_no_error (error);
}

/* Save, load, save; a swap; and another machine that is given the state. */
static void
check_state (const Fixture *f, TnHarness *h, TnHarness *other)
{
  GBytes *before, *after;

  tn_harness_settle (h);
  before = tn_harness_save (h);
  load (h, before);
  after = tn_harness_save (h);
  assert_same (before, after, "save, load, save");
  g_bytes_unref (after);
  swap (h);
  after = tn_harness_save (h);
  assert_same (before, after, "save, swap, save");
  g_bytes_unref (after);
  if (other != NULL)
    {
      /* The wall clock of the harness follows its virtual time, and a clock chip looks at it. */
      tn_harness_clock_step (other, tn_harness_now (h) - tn_harness_now (other));
      load (other, before);
      after = tn_harness_save (other);
      assert_same (before, after, "save, load elsewhere, save");
      g_bytes_unref (after);
    }
  g_bytes_unref (before);
}

static void
test_life (Fixture *f, const void *data)
{
  TnHarness *h = make_machine (f);

  check_state (f, h, NULL);
  tn_harness_reset (h);
  tn_harness_reset (h);
  tn_harness_settle (h);
  check_state (f, h, NULL);
  tn_harness_free (h);
}

/* Back ends hold on to files and sockets that cannot be had twice. */
static bool
can_be_twice (const Fixture *f)
{
  return !g_str_has_prefix (f->name, "char-") && !g_str_has_prefix (f->name, "disk-")
         && !g_str_has_prefix (f->name, "display-");
}

static void
test_random (Fixture *f, const void *data)
{
  unsigned rounds = from_environment ("TENON_ROUNDS", 4000);
  TnHarness *h = make_machine (f);
  TnHarness *other = can_be_twice (f) ? make_machine (f) : NULL;

  for (unsigned n = 0; n < rounds; n += 200)
    {
      random_accesses (h, f->rand, 200);
      check_state (f, h, other);
      if (n % 1000 == 800)
        tn_harness_reset (h);
    }
  tn_harness_free (other);
  tn_harness_free (h);
}

static void
test_swap (Fixture *f, const void *data)
{
  unsigned swaps = from_environment ("TENON_SWAPS", 1000);
  TnHarness *h = make_machine (f);
  GBytes *before, *after;

  random_accesses (h, f->rand, 100);
  tn_harness_settle (h);
  before = tn_harness_save (h);
  for (unsigned n = 0; n < swaps; n++)
    swap (h);
  after = tn_harness_save (h);
  assert_same (before, after, "swaps");
  g_bytes_unref (before);
  g_bytes_unref (after);
  tn_harness_free (h);
}

/* A second one on the same machine: it works, or the error says what clashes, and with whom. */
static void
test_two (Fixture *f, const void *data)
{
  const Setup *setup = find_setup (f->name);
  TnHarness *h = tn_harness_new (16 << 20);
  GError *error = NULL;
  bool both;

  g_assert_true (add (f, h, "unit", setup ? setup->first : NULL, &error));
  g_assert_true (add (f, h, "second", setup ? setup->second : NULL, &error));
  both = tn_harness_try_start (h, &error);
  if (setup != NULL && setup->second[0] != NULL
      && g_strcmp0 (setup->first[1], setup->second[1]) != 0)
    g_assert_no_error (error);
  if (both)
    {
      random_accesses (h, f->rand, 500);
      check_state (f, h, NULL);
    }
  else
    {
      g_test_message ("%s", error->message);
      g_assert_true (error->domain == TN_ERROR);
      g_assert_nonnull (strstr (error->message, "second"));
      if (error->code == TN_ERROR_CLASH)
        g_assert_nonnull (strstr (error->message, "unit"));
      g_error_free (error);
    }
  tn_harness_free (h);
}

/* One byte, a few bytes, or the length is wrong. */
static GBytes *
damage (GRand *rand, GBytes *state)
{
  gsize size;
  const uint8_t *bytes = g_bytes_get_data (state, &size);
  uint8_t *copy = g_memdup2 (bytes, size);
  unsigned hits = 1 + (g_rand_int (rand) & 3);

  for (unsigned n = 0; n < hits; n++)
    copy[g_rand_int (rand) % size] = random_value (rand);
  if (g_rand_int_range (rand, 0, 20) == 0)
    size = g_rand_int (rand) % size;
  return g_bytes_new_take (copy, size);
}

static void
test_damage (Fixture *f, const void *data)
{
  TnHarness *h = make_machine (f);
  unsigned taken = 0, rounds = from_environment ("TENON_ROUNDS", 4000) / 4;
  GBytes *good;

  random_accesses (h, f->rand, 200);
  tn_harness_settle (h);
  good = tn_harness_save (h);
  rounds /= 1 + g_bytes_get_size (good) / 32768; /* large memories take their time */
  for (unsigned n = 0; n < rounds; n++)
    {
      GBytes *bad = damage (f->rand, good), *expected, *after;
      GError *error = NULL;

      load (h, good);
      expected = tn_harness_save (h);
      if (tn_harness_load (h, bad, &error))
        {
          taken++;
          random_accesses (h, f->rand, 50);
          tn_harness_settle (h);
        }
      else
        {
          g_assert_nonnull (error);
          g_clear_error (&error);
          after = tn_harness_save (h);
          assert_same (expected, after, "a refused state");
          g_bytes_unref (after);
        }
      g_bytes_unref (bad);
      g_bytes_unref (expected);
    }
  g_test_message ("%u of %u damaged states were possible ones", taken, rounds);
  g_bytes_unref (good);
  tn_harness_free (h);
}

/* ---- All of them ---- */

static void
set_up (Fixture *f, const void *data)
{
  f->name = g_strdup (data);
  f->dir = g_dir_make_tmp ("tenon-generic-XXXXXX", NULL);
  f->rand = g_rand_new_with_seed (from_environment ("TENON_SEED", 1));
  g_assert_nonnull (f->dir);
}

static void
tear_down (Fixture *f, const void *data)
{
  GDir *dir = g_dir_open (f->dir, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      char *path = g_build_filename (f->dir, name, NULL);

      g_unlink (path);
      g_free (path);
    }
  g_dir_close (dir);
  g_rmdir (f->dir);
  g_free (f->dir);
  g_free (f->name);
  g_rand_free (f->rand);
}

static void
add_tests (const char *plugin)
{
  static const struct {
    const char *name;
    void (*func) (Fixture *, const void *);
  } tests[] = { { "life", test_life }, { "random", test_random }, { "swap", test_swap },
                { "two", test_two }, { "damage", test_damage } };

  for (unsigned n = 0; n < G_N_ELEMENTS (tests); n++)
    {
      char *path = g_strdup_printf ("/generic/%s/%s", plugin, tests[n].name);

      g_test_add (path, Fixture, plugin, set_up, tests[n].func, tear_down);
      g_free (path);
    }
}

static int
compare_names (const void *a, const void *b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

int
main (int argc, char **argv)
{
  const char *path = g_getenv ("TENON_PLUGIN_PATH");
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  GDir *dir = path ? g_dir_open (path, 0, NULL) : NULL;
  const char *name;
  int result;

  g_test_init (&argc, &argv, NULL);
  if (dir == NULL)
    g_error ("TENON_PLUGIN_PATH does not name the directory of the plugins");
  while ((name = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (name, ".so"))
      g_ptr_array_add (names, g_strndup (name, strlen (name) - 3));
  g_dir_close (dir);
  g_ptr_array_sort (names, compare_names);
  /* display-text needs a terminal, disk-nbd a server: its own test plays one. */
  for (unsigned n = 0; n < names->len; n++)
    if ((strcmp (names->pdata[n], "display-text") != 0 || isatty (STDIN_FILENO))
        && strcmp (names->pdata[n], "disk-nbd") != 0)
      add_tests (names->pdata[n]);
  result = g_test_run ();
  g_ptr_array_unref (names);
  return result;
}
