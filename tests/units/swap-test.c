/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading, swapping and states, with the variants of card.c: what is carried over, what is refused
 * and with which words, and that whatever is refused leaves the old card running.
 */
#include <tenon/harness.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *
card_path (const char *variant)
{
  return g_strdup_printf ("%s/tests/units/.libs/card-%s.so", g_getenv ("TENON_BUILDDIR"), variant);
}

static TnHarness *
make (const char *variant)
{
  char *path = card_path (variant);
  TnHarness *h = tn_harness_new (1 << 20);

  tn_harness_add_char (h, "term");
  tn_harness_add (h, "card", path, "chardev", "term", "note", "hello", NULL);
  tn_harness_start (h);
  g_free (path);
  return h;
}

static void
swap_to (TnHarness *h, const char *variant)
{
  char *path = card_path (variant);
  GError *error = NULL;

  tn_harness_swap (h, "card", path, &error);
  g_assert_no_error (error);
  g_free (path);
}

static void
refuse_swap (TnHarness *h, const char *variant, int code, const char *words)
{
  char *path = strchr (variant, '/') ? g_strdup (variant) : card_path (variant);
  GError *error = NULL;

  g_assert_false (tn_harness_swap (h, "card", path, &error));
  g_assert_error (error, TN_ERROR, code);
  if (strstr (error->message, words) == NULL)
    g_error ("'%s' does not say '%s'", error->message, words);
  g_error_free (error);
  g_free (path);
}

static unsigned
open_fds (void)
{
  DIR *dir = opendir ("/proc/self/fd");
  unsigned n = 0;

  while (readdir (dir) != NULL)
    n++;
  closedir (dir);
  return n;
}

/* ---- Swaps ---- */

static void
set_state (TnHarness *h)
{
  tn_harness_out8 (h, 0x300, 0x21);
  tn_harness_out8 (h, 0x301, 1);
  tn_harness_out8 (h, 0x303, 10); /* 10 ms */
  tn_harness_write (h, 0xe0300010, 0xcafe, 4);
  tn_harness_clock_step (h, 4 * TN_NS_PER_MS);
}

static void
check_state (TnHarness *h, unsigned variant)
{
  g_assert_cmphex (tn_harness_in8 (h, 0x300), ==, 0x21);
  g_assert_cmphex (tn_harness_in8 (h, 0x302), ==, variant);
  g_assert_true (tn_harness_line (h, "isa:5"));
  g_assert_cmphex (tn_harness_read (h, 0xe0300010, 4), ==, 0xcafe);
}

static void
check_timer (TnHarness *h)
{
  g_assert_cmpuint (tn_harness_in8 (h, 0x304), ==, 0);
  tn_harness_clock_step (h, 5 * TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_in8 (h, 0x304), ==, 0);
  tn_harness_clock_step (h, 1 * TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_in8 (h, 0x304), ==, 1);
}

static void
test_carried (void)
{
  TnHarness *h = make ("first");

  set_state (h);
  tn_harness_line_edges (h, "isa:5");
  swap_to (h, "second");
  check_state (h, 2);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:5"), ==, 0); /* nobody saw the line fall */
  check_timer (h);
  refuse_swap (h, "first", TN_ERROR_STATE, "version 2");
  check_state (h, 2);
  tn_harness_out8 (h, 0x301, 0);
  g_assert_false (tn_harness_line (h, "isa:5"));
  tn_harness_free (h);
}

static void
test_roll_back (void)
{
  static const struct {
    const char *variant;
    int code;
    const char *words;
  } bad[] = {
    { "no-realize", TN_ERROR_IO, "card: the host has no such thing" },
    { "no-restore", TN_ERROR_STATE, "card: I do not like it" },
    { "no-symbol", TN_ERROR_PLUGIN, "no symbol tn_plugin_1" },
    { "wrong-magic", TN_ERROR_PLUGIN, "wrong magic" },
    { "future", TN_ERROR_PLUGIN, "built for plugin interface 1." },
    { "bad-field", TN_ERROR_PLUGIN, "'beyond' lies outside" },
    { "two-fields", TN_ERROR_PLUGIN, "two fields are named 'value'" },
    { "bad-default", TN_ERROR_PLUGIN, "'port': its default is out of its range" },
    { "other-name", TN_ERROR_PLUGIN, "is plugin 'trump'" },
    { "unresolved", TN_ERROR_PLUGIN, "tn_device_that_never_was" },
    { "clash", TN_ERROR_CLASH, "card: ports 0x308-0x30f already belong to other" },
  };
  char *path = card_path ("first");
  TnHarness *h = tn_harness_new (1 << 20);
  unsigned fds;

  tn_harness_add (h, "card", path, NULL);
  tn_harness_add (h, "other", path, "port", "0x308", NULL);
  tn_harness_start (h);
  set_state (h);
  fds = open_fds ();
  for (unsigned n = 0; n < G_N_ELEMENTS (bad); n++)
    {
      refuse_swap (h, bad[n].variant, bad[n].code, bad[n].words);
      check_state (h, 1);
    }
  check_timer (h);
#ifndef __SANITIZE_ADDRESS__ /* there, what was loaded stays */
  g_assert_cmpuint (open_fds (), ==, fds);
#else
  (void) fds;
#endif
  tn_harness_free (h);
  g_free (path);
}

static void
test_no_plugin (void)
{
  char *dir = g_dir_make_tmp ("tenon-swap-XXXXXX", NULL);
  char *file = g_build_filename (dir, "card.so", NULL);
  char *path = card_path ("first"), *bytes;
  TnHarness *h = make ("first");
  gsize size;

  g_assert_true (g_file_set_contents (file, "this is no shared object, but it is long enough to be "
                                            "looked at as if it were one", -1, NULL));
  refuse_swap (h, file, TN_ERROR_PLUGIN, "not a shared object");
  g_assert_true (g_file_get_contents (path, &bytes, &size, NULL));
  for (gsize part = 64; part < size; part += size / 7)
    {
      GError *error = NULL;

      g_assert_true (g_file_set_contents (file, bytes, part, NULL));
      if (!tn_harness_swap (h, "card", file, &error))
        g_assert_error (error, TN_ERROR, TN_ERROR_PLUGIN);
      g_clear_error (&error);
    }
  g_assert_cmphex (tn_harness_in8 (h, 0x302), ==, 1);
  tn_harness_free (h);
  remove (file);
  rmdir (dir);
  g_free (bytes);
  g_free (path);
  g_free (file);
  g_free (dir);
}

static void
test_short_descriptor (void)
{
  TnHarness *h = make ("first");

  set_state (h);
  swap_to (h, "short");
  check_state (h, 8);
  tn_harness_free (h);
}

static void
test_characters (void)
{
  TnHarness *h = make ("first");
  GByteArray *sent;

  tn_harness_char_feed (h, "term", "0123456789abcdef", 16); /* eight fit */
  swap_to (h, "second");
  tn_harness_out8 (h, 0x305, 'x');
  sent = tn_harness_char_take (h, "term");
  g_assert_cmpmem (sent->data, sent->len, "x", 1);
  g_byte_array_unref (sent);
  tn_harness_free (h);
}

/* Many swaps hold no more memory, mappings or descriptors than few. */
static unsigned
mappings (void)
{
  char *text;
  unsigned n = 0;

  g_assert_true (g_file_get_contents ("/proc/self/maps", &text, NULL, NULL));
  for (char *p = text; *p != '\0'; p++)
    n += *p == '\n';
  g_free (text);
  return n;
}

static void
test_many (void)
{
  const char *text = g_getenv ("TENON_SWAPS");
  unsigned count = text ? strtoul (text, NULL, 0) : 1000, maps = 0, fds = 0;
  TnHarness *h = make ("first");

  set_state (h);
  for (unsigned n = 0; n < count; n++)
    {
      swap_to (h, n % 3 == 1 ? "short" : "first");
      if (n % 10 == 5)
        refuse_swap (h, n % 20 == 5 ? "no-realize" : "no-restore",
                     n % 20 == 5 ? TN_ERROR_IO : TN_ERROR_STATE, "card: ");
      if (n == 20)
        {
          maps = mappings ();
          fds = open_fds ();
        }
    }
  check_timer (h);
  if (count > 20)
    {
      g_assert_cmpuint (open_fds (), ==, fds);
      g_assert_cmpuint (mappings (), <=, maps + 4);
    }
  tn_harness_free (h);
}

/* ---- The card as a GObject ---- */

static void
on_raised (GObject *card, guint64 value, guint64 *seen)
{
  *seen = value;
}

static GObject *
get_card (TnHarness *h)
{
  return tn_harness_card (h, "card");
}

static void
test_object (void)
{
  TnHarness *h = make ("first");
  guint64 seen = 0;
  GObject *card = get_card (h);
  char *note;
  guint port;

  g_object_get (card, "note", &note, "port", &port, NULL);
  g_assert_cmpstr (note, ==, "hello");
  g_assert_cmphex (port, ==, 0x300);
  g_free (note);
  g_signal_connect (card, "raised", G_CALLBACK (on_raised), &seen);
  tn_harness_out8 (h, 0x301, 3);
  g_assert_cmpuint (seen, ==, 3);
  g_object_ref (card);
  swap_to (h, "first");
  g_assert_true (get_card (h)
                 == card); /* the same schema: the same object, and who listens stays */
  tn_harness_out8 (h, 0x301, 5);
  g_assert_cmpuint (seen, ==, 5);
  swap_to (h, "second");
  g_assert_false (get_card (h) == card);
  g_assert_nonnull (g_object_class_find_property (G_OBJECT_GET_CLASS (get_card (h)), "doubled"));
  g_object_unref (card);
  tn_harness_free (h);
}

/* ---- States ---- */

static GVariant *
fields_of (GVariant *state, GVariantDict *top, GVariantDict *fields)
{
  GVariant *devices = g_variant_lookup_value (state, "devices", NULL);
  GVariant *device = g_variant_get_child_value (devices, 0);
  GVariant *saved = g_variant_get_child_value (device, 3);

  g_variant_dict_init (top, state);
  g_variant_dict_init (fields, saved);
  g_variant_unref (saved);
  g_variant_unref (devices);
  return device;
}

/* The saved machine with one field changed (value), or left out (NULL), and a state version. */
static GBytes *
edit (GBytes *bytes, const char *field, GVariant *value, unsigned version)
{
  GVariant *state
      = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
  GVariantDict top, fields;
  GVariant *device = fields_of (state, &top, &fields), *parts[9], *all;
  GVariantBuilder devices;
  GBytes *result;

  if (value != NULL)
    g_variant_dict_insert_value (&fields, field, value);
  else
    g_variant_dict_remove (&fields, field);
  for (unsigned n = 0; n < 9; n++)
    parts[n] = n == 2   ? g_variant_new_uint32 (version)
               : n == 3 ? g_variant_dict_end (&fields)
                        : g_variant_get_child_value (device, n);
  g_variant_builder_init (&devices, G_VARIANT_TYPE ("a(ssua{sv}a(sb)a(uay)a(ub)(ayay)a(say))"));
  g_variant_builder_add_value (&devices, g_variant_new_tuple (parts, 9));
  for (unsigned n = 0; n < 9; n++)
    if (n != 2 && n != 3)
      g_variant_unref (parts[n]);
  g_variant_dict_insert_value (&top, "devices", g_variant_builder_end (&devices));
  all = g_variant_ref_sink (g_variant_dict_end (&top));
  result = g_variant_get_data_as_bytes (all);
  g_variant_unref (all);
  g_variant_unref (device);
  g_variant_unref (state);
  return result;
}

static void
try_load (TnHarness *h, GBytes *state, const char *words)
{
  GError *error = NULL;
  bool loaded = tn_harness_load (h, state, &error);

  if (words == NULL)
    g_assert_no_error (error);
  else
    {
      g_assert_error (error, TN_ERROR, TN_ERROR_STATE);
      if (strstr (error->message, words) == NULL)
        g_error ("'%s' does not say '%s'", error->message, words);
      g_error_free (error);
    }
  g_assert_true (loaded == (words == NULL));
  g_bytes_unref (state);
}

static void
test_states (void)
{
  TnHarness *h = make ("first"), *newer = make ("second");
  GBytes *good, *now;

  set_state (h);
  good = tn_harness_save (h);
  try_load (h, edit (good, "value", g_variant_new_byte (0x33), 1), NULL);
  g_assert_cmphex (tn_harness_in8 (h, 0x300), ==, 0x33);
  try_load (h, g_bytes_ref (good), NULL);
  check_state (h, 1);
  try_load (h, edit (good, "value", g_variant_new_uint32 (1), 1), "field 'value' is of type 'u'");
  try_load (h, edit (good, "value", NULL, 1), "field 'value' is missing");
  try_load (h, edit (good, "colour", g_variant_new_byte (1), 1), "unknown field 'colour'");
  try_load (h, edit (good, "value", g_variant_new_byte (1), 2), "version 2");
  try_load (h, edit (good, "value", g_variant_new_byte (1), 0), "version 0");
  try_load (h, edit (good, "received", g_variant_new_bytestring ("abc"), 1), "has 4 bytes");
  try_load (h, edit (good, "n_received", g_variant_new_uint32 (9), 1), "more bytes than");
  try_load (h, g_bytes_new_from_bytes (good, 0, g_bytes_get_size (good) - 3), "damaged");
  try_load (h, g_bytes_new_static ("", 0), "another format");
  check_state (h, 1);
  now = tn_harness_save (h);
  g_assert_true (g_bytes_equal (good, now));
  /* A later build reads it; the field that it has more keeps its reset value. */
  try_load (newer, g_bytes_ref (good), NULL);
  check_state (newer, 2);
  check_timer (newer);
  try_load (newer, edit (good, "extra", g_variant_new_uint32 (1), 1),
            "does not belong to version 1");
  g_bytes_unref (good);
  g_bytes_unref (now);
  tn_harness_free (h);
  tn_harness_free (newer);
}

/* ---- Configuration ---- */

static void
refuse_pairs (const char *const *pairs, const char *words)
{
  TnHarness *h = tn_harness_new (1 << 20);
  char *path = card_path ("first");
  GError *error = NULL;

  if (tn_harness_try_add (h, "card", path, pairs, &error))
    g_assert_false (tn_harness_try_start (h, &error));
  if (strstr (error->message, words) == NULL)
    g_error ("'%s' does not say '%s'", error->message, words);
  g_error_free (error);
  g_free (path);
  tn_harness_free (h);
}

static void
test_properties (void)
{
  refuse_pairs ((const char *[]){ "prot", "1", NULL }, "did you mean 'port'?");
  refuse_pairs ((const char *[]){ "port", "many", NULL },
                "port: expected a number from 0 to 65528, found 'many'");
  refuse_pairs ((const char *[]){ "port", "0xffff", NULL }, "found '0xffff'");
  refuse_pairs ((const char *[]){ "port", "-1", NULL }, "found '-1'");
  refuse_pairs ((const char *[]){ "chardev", "nobody", NULL }, "there is no device named 'nobody'");
  refuse_pairs ((const char *[]){ "chardev", "card", NULL }, "expected a character back end");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/swap/carried", test_carried);
  g_test_add_func ("/swap/roll-back", test_roll_back);
  g_test_add_func ("/swap/no-plugin", test_no_plugin);
  g_test_add_func ("/swap/short-descriptor", test_short_descriptor);
  g_test_add_func ("/swap/characters", test_characters);
  g_test_add_func ("/swap/many", test_many);
  g_test_add_func ("/swap/object", test_object);
  g_test_add_func ("/swap/states", test_states);
  g_test_add_func ("/swap/properties", test_properties);
  return g_test_run ();
}
