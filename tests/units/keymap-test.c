/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layouts: each has all of ASCII, each character on one key, and names lead to keys. */
#include "../../core/keymap.c"

static void
test_ascii (void)
{
  for (unsigned layout = 0; tn_keymap_names[layout]; layout++)
    for (gunichar c = ' '; c < 127; c++)
      {
        TnKeyStroke stroke = { 0 };
        if (!tn_keymap_character (layout, c, &stroke))
          g_error ("%s has no '%c'", tn_keymap_names[layout], c);
        g_assert_cmpuint (stroke.key, !=, TN_KEY_NONE);
      }
}

static void
assert_stroke (unsigned layout, gunichar c, TnKey key, TnKeyLevel level)
{
  TnKeyStroke stroke;
  g_assert_true (tn_keymap_character (layout, c, &stroke));
  g_assert_cmphex (stroke.key, ==, key);
  g_assert_cmpuint (stroke.level, ==, level);
}

static void
test_places (void)
{
  TnKeyStroke stroke;
  assert_stroke (0, '?', TN_KEY_SLASH, TN_LEVEL_SHIFT);
  assert_stroke (0, '|', TN_KEY_BACKSLASH, TN_LEVEL_SHIFT);
  assert_stroke (0, '0', TN_KEY_0, TN_LEVEL_PLAIN);
  assert_stroke (1, '"', TN_KEY_2, TN_LEVEL_SHIFT);
  assert_stroke (1, 0x20ac, TN_KEY_4, TN_LEVEL_ALTGR);
  assert_stroke (2, 'z', TN_KEY_Y, TN_LEVEL_PLAIN);
  assert_stroke (2, '@', TN_KEY_Q, TN_LEVEL_ALTGR);
  assert_stroke (2, '~', TN_KEY_RIGHT_BRACKET, TN_LEVEL_ALTGR);
  assert_stroke (2, '|', TN_KEY_ISO_BACKSLASH, TN_LEVEL_ALTGR);
  assert_stroke (2, 0xb5, TN_KEY_M, TN_LEVEL_ALTGR);
  assert_stroke (2, '/', TN_KEY_7, TN_LEVEL_SHIFT);
  assert_stroke (3, 'a', TN_KEY_Q, TN_LEVEL_PLAIN);
  assert_stroke (3, 'm', TN_KEY_SEMICOLON, TN_LEVEL_PLAIN);
  assert_stroke (3, '1', TN_KEY_1, TN_LEVEL_SHIFT);
  assert_stroke (3, '\\', TN_KEY_8, TN_LEVEL_ALTGR);
  assert_stroke (3, 0xa4, TN_KEY_RIGHT_BRACKET, TN_LEVEL_ALTGR);
  g_assert_true (tn_keymap_character (2, '^', &stroke) && stroke.dead);
  g_assert_true (tn_keymap_character (2, 'A', &stroke) && stroke.letter);
  g_assert_true (tn_keymap_character (2, 0xdf, &stroke) && !stroke.letter);
  g_assert_false (tn_keymap_character (0, 0x20ac, &stroke));
}

static void
test_keysyms (void)
{
  TnKeyStroke stroke;
  bool printable;
  g_assert_true (tn_keymap_keysym (0, 0xff0d, &stroke, &printable));
  g_assert_cmphex (stroke.key, ==, TN_KEY_ENTER);
  g_assert_false (printable);
  g_assert_true (tn_keymap_keysym (0, 0xffc9, &stroke, &printable));
  g_assert_cmphex (stroke.key, ==, TN_KEY_F12);
  g_assert_true (tn_keymap_keysym (0, 0xffb9, &stroke, &printable));
  g_assert_cmphex (stroke.key, ==, TN_KEY_KP_9);
  g_assert_true (tn_keymap_keysym (0, 'Q', &stroke, &printable));
  g_assert_true (printable);
  g_assert_cmphex (stroke.key, ==, TN_KEY_Q);
  g_assert_true (tn_keymap_keysym (2, 0x010020ac, &stroke, &printable));
  g_assert_cmphex (stroke.key, ==, TN_KEY_E);
  g_assert_false (tn_keymap_keysym (0, 0xfeff, &stroke, &printable));
}

static void
test_names (void)
{
  g_assert_cmphex (tn_keymap_named ("f12"), ==, TN_KEY_F12);
  g_assert_cmphex (tn_keymap_named ("F13"), ==, TN_KEY_F13);
  g_assert_cmphex (tn_keymap_named ("f25"), ==, TN_KEY_NONE);
  g_assert_cmphex (tn_keymap_named ("A"), ==, TN_KEY_A);
  g_assert_cmphex (tn_keymap_named ("f"), ==, TN_KEY_F);
  g_assert_cmphex (tn_keymap_named ("7"), ==, TN_KEY_7);
  g_assert_cmphex (tn_keymap_named ("kp7"), ==, TN_KEY_KP_7);
  g_assert_cmphex (tn_keymap_named ("Ctrl"), ==, TN_KEY_LEFT_CTRL);
  g_assert_cmphex (tn_keymap_named (" "), ==, TN_KEY_NONE);
  g_assert_cmphex (tn_keymap_named (""), ==, TN_KEY_NONE);
  g_assert_cmphex (tn_keymap_named ("control-x"), ==, TN_KEY_NONE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/keymap/ascii", test_ascii);
  g_test_add_func ("/keymap/places", test_places);
  g_test_add_func ("/keymap/keysyms", test_keysyms);
  g_test_add_func ("/keymap/names", test_names);
  return g_test_run ();
}
