/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 8042 with keyboard and mouse on the fake bus: the controller's commands, what Linux and a BIOS
 * do with it, scan codes in all sets, typematic, the mouse's protocols.
 */
#include "roundtrip.h"

#include <string.h>

#define DATA 0x60
#define STATUS 0x64
enum { OBF = 0x01, SYS = 0x04, AUX = 0x20, TIMEOUT = 0x40 };
enum { NOTHING = -1 };

static TnHarness *
new_kbc_with (const char *mouse)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "kbc", "kbc", "mouse", mouse, NULL);
  tn_harness_start (h);
  return h;
}

static void
command (TnHarness *h, uint8_t value)
{
  tn_harness_out8 (h, STATUS, value);
}

static void
data (TnHarness *h, uint8_t value)
{
  tn_harness_out8 (h, DATA, value);
}

static uint8_t
status (TnHarness *h)
{
  return tn_harness_in8 (h, STATUS);
}

/* The next byte within 10 ms, with AUX above it, or NOTHING. */
static int
next (TnHarness *h)
{
  for (unsigned i = 0; i < 100 && !(status (h) & OBF); i++)
    tn_harness_clock_step (h, 100 * TN_NS_PER_US);
  if (!(status (h) & OBF))
    return NOTHING;
  int aux = status (h) & AUX ? 0x100 : 0;
  return aux | tn_harness_in8 (h, DATA);
}

static void
expect (TnHarness *h, const char *bytes)
{
  g_autoptr (GString) got = g_string_new (NULL);
  for (int byte = next (h); byte != NOTHING; byte = next (h))
    g_string_append_printf (got, "%s%02x", got->len ? " " : "", byte);
  g_assert_cmpstr (got->str, ==, bytes);
}

static void
command_byte (TnHarness *h, uint8_t value)
{
  command (h, 0x60);
  data (h, value);
}

static TnHarness *
new_kbc (uint8_t cb)
{
  TnHarness *h = new_kbc_with ("five-buttons");
  command_byte (h, cb);
  return h;
}

static void
key (TnHarness *h, TnKey k)
{
  tn_harness_key (h, k, true);
  tn_harness_key (h, k, false);
}

static void
test_controller (void)
{
  TnHarness *h = new_kbc_with ("five-buttons");
  g_assert_cmphex (status (h), ==, 0x10);
  command (h, 0xaa);
  g_assert_cmphex (status (h), ==, 0x10 | OBF | SYS | 0x08);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x55);
  command (h, 0x20);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x30);
  command_byte (h, 0x61);
  g_assert_cmphex (status (h), ==, 0x10);
  command (h, 0x20);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x61);
  command (h, 0x6a);
  data (h, 0x99);
  command (h, 0x2a);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x99);
  command (h, 0xab);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x00);
  command (h, 0xa9);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x00);
  command (h, 0xa4);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0xf1);
  command (h, 0xa7);
  command (h, 0x20);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x61 | 0x20);
  command (h, 0xa8);
  command (h, 0xad);
  command (h, 0x20);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x41 | 0x10);
  command (h, 0xa5); /* a password up to its NUL */
  data (h, 0x12);
  data (h, 0x00);
  roundtrip (h, "kbc");
  tn_harness_free (h);
}

static void
test_a20_and_reset (void)
{
  TnHarness *h = new_kbc (0x65);
  TnResetKind kind;
  g_assert_true (tn_harness_line (h, "cpu:a20"));
  command (h, 0xd1);
  data (h, 0xdd);
  g_assert_false (tn_harness_line (h, "cpu:a20"));
  roundtrip (h, "kbc");
  g_assert_false (tn_harness_line (h, "cpu:a20"));
  command (h, 0xdf);
  g_assert_true (tn_harness_line (h, "cpu:a20"));
  command (h, 0xdd);
  g_assert_false (tn_harness_line (h, "cpu:a20"));
  command (h, 0xd0);
  g_assert_cmphex (next (h) & 0x03, ==, 0x01);
  tn_harness_reset (h);
  g_assert_true (tn_harness_line (h, "cpu:a20"));
  tn_harness_line_edges (h, "cpu:init");
  command (h, 0xff);
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:init"), ==, 0);
  command (h, 0xfe);
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:init"), ==, 1);
  command (h, 0xd1);
  data (h, 0x02);
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:init"), ==, 1);
  g_assert_false (tn_harness_take_reset (h, &kind));
  tn_harness_free (h);
}

/* The order of Bochs' BIOS at power on. */
static void
test_bios (void)
{
  TnHarness *h = new_kbc_with ("five-buttons");
  command (h, 0xaa);
  g_assert_cmphex (next (h), ==, 0x55);
  command (h, 0xab);
  g_assert_cmphex (next (h), ==, 0x00);
  command (h, 0xae);
  command (h, 0xa8);
  data (h, 0xff);
  expect (h, "fa aa");
  data (h, 0xf5);
  expect (h, "fa");
  command_byte (h, 0x61);
  data (h, 0xf4);
  expect (h, "fa");
  tn_harness_free (h);
}

/* What i8042.c of Linux does before it believes in an AUX port. */
static void
test_linux_aux (void)
{
  TnHarness *h = new_kbc (0x65);
  command (h, 0xd3);
  data (h, 0x5a);
  g_assert_cmphex (next (h), ==, 0x15a);
  static const uint8_t mux[] = { 0xf0, 0x56, 0xa4 };
  for (unsigned i = 0; i < 3; i++)
    {
      command (h, 0xd3);
      data (h, mux[i]);
      g_assert_cmphex (next (h), ==, 0x100 | mux[i]);
    }
  command_byte (h, 0x47);
  command (h, 0xd3);
  data (h, 0xa5);
  g_assert_true (tn_harness_line (h, "isa:12"));
  g_assert_false (tn_harness_line (h, "isa:1"));
  g_assert_cmphex (next (h), ==, 0x1a5);
  g_assert_false (tn_harness_line (h, "isa:12"));
  command (h, 0xd2);
  data (h, 0x77);
  g_assert_true (tn_harness_line (h, "isa:1"));
  g_assert_cmphex (next (h), ==, 0x77);
  tn_harness_free (h);
}

static void
test_interrupts (void)
{
  TnHarness *h = new_kbc (0x47);
  tn_harness_line_edges (h, "isa:1");
  key (h, TN_KEY_A);
  g_assert_false (tn_harness_line (h, "isa:1"));
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_true (tn_harness_line (h, "isa:1"));
  roundtrip (h, "kbc");
  g_assert_true (tn_harness_line (h, "isa:1"));
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x1e);
  g_assert_false (tn_harness_line (h, "isa:1"));
  tn_harness_clock_step (h, 300 * TN_NS_PER_US); /* bytes keep their distance */
  g_assert_false (tn_harness_line (h, "isa:1"));
  tn_harness_clock_step (h, 5 * TN_NS_PER_MS);
  g_assert_true (tn_harness_line (h, "isa:1"));
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x9e);
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:1"), ==, 2);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x9e); /* nothing new */
  tn_harness_free (h);
}

/* An answer of the controller is never mistaken for a key, and no key is lost for it. */
static void
test_answer_first (void)
{
  TnHarness *h = new_kbc (0x45);
  key (h, TN_KEY_B);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  g_assert_true (status (h) & OBF);
  command (h, 0x20);
  g_assert_cmphex (tn_harness_in8 (h, DATA), ==, 0x45);
  expect (h, "30 b0");
  command (h, 0xad); /* keyboard off: keys wait */
  key (h, TN_KEY_C);
  expect (h, "");
  command (h, 0xae);
  expect (h, "2e ae");
  tn_harness_free (h);
}

static void
test_keyboard_commands (void)
{
  TnHarness *h = new_kbc (0x45);
  data (h, 0xf2);
  expect (h, "fa ab 41");
  data (h, 0xee);
  expect (h, "ee");
  data (h, 0xfe);
  expect (h, "ee");
  data (h, 0xed);
  expect (h, "fa");
  data (h, 0x07);
  expect (h, "fa");
  data (h, 0xf3);
  data (h, 0x00);
  expect (h, "fa");
  data (h, 0xf0);
  data (h, 0x00);
  expect (h, "fa 41");
  data (h, 0xea);
  expect (h, "fe");
  data (h, 0xff);
  roundtrip (h, "kbc");
  expect (h, "fa aa");
  data (h, 0xf5);
  expect (h, "fa");
  key (h, TN_KEY_A); /* scanning is off */
  expect (h, "");
  data (h, 0xf4);
  expect (h, "fa");
  key (h, TN_KEY_A);
  expect (h, "1e 9e");
  command_byte (h, 0x05); /* untranslated */
  data (h, 0xf2);
  expect (h, "fa ab 83");
  tn_harness_free (h);
}

static void
test_scan_codes (void)
{
  TnHarness *h = new_kbc (0x05); /* set 2 as it is */
  key (h, TN_KEY_A);
  expect (h, "1c f0 1c");
  key (h, TN_KEY_F7);
  expect (h, "83 f0 83");
  key (h, TN_KEY_UP);
  expect (h, "e0 75 e0 f0 75");
  key (h, TN_KEY_PAUSE);
  expect (h, "e1 14 77 e1 f0 14 f0 77");
  key (h, TN_KEY_PRINT_SCREEN);
  expect (h, "e0 12 e0 7c e0 f0 7c e0 f0 12");
  tn_harness_key (h, TN_KEY_LEFT_CTRL, true);
  key (h, TN_KEY_PAUSE);
  key (h, TN_KEY_PRINT_SCREEN);
  tn_harness_key (h, TN_KEY_LEFT_CTRL, false);
  expect (h, "14 e0 7e e0 f0 7e e0 7c e0 f0 7c f0 14");
  tn_harness_key (h, TN_KEY_RIGHT_ALT, true);
  key (h, TN_KEY_PRINT_SCREEN);
  tn_harness_key (h, TN_KEY_RIGHT_ALT, false);
  expect (h, "e0 11 84 f0 84 e0 f0 11");
  tn_harness_key (h, TN_KEY_LEFT_SHIFT, true);
  key (h, TN_KEY_HOME);
  tn_harness_key (h, TN_KEY_LEFT_SHIFT, false);
  expect (h, "12 e0 f0 12 e0 6c e0 f0 6c e0 12 f0 12");
  data (h, 0xed);
  data (h, 0x02); /* Num Lock is on */
  expect (h, "fa");
  key (h, TN_KEY_DELETE);
  expect (h, "e0 12 e0 71 e0 f0 71 e0 f0 12");
  tn_harness_key (h, 0xffff, true); /* no such key */
  tn_harness_key (h, 0, true);
  expect (h, "");
  tn_harness_free (h);
}

static void
test_sets (void)
{
  TnHarness *h = new_kbc (0x45); /* translated to set 1 */
  key (h, TN_KEY_PAUSE);
  expect (h, "e1 1d 45 e1 9d c5");
  key (h, TN_KEY_F12);
  expect (h, "58 d8");
  key (h, TN_KEY_RIGHT_CTRL);
  expect (h, "e0 1d e0 9d");
  command_byte (h, 0x05);
  data (h, 0xf0);
  data (h, 0x01);
  expect (h, "fa");
  key (h, TN_KEY_KP_ENTER);
  expect (h, "e0 1c e0 9c");
  key (h, TN_KEY_PAUSE);
  expect (h, "e1 1d 45 e1 9d c5");
  data (h, 0xf0);
  data (h, 0x03);
  expect (h, "fa");
  key (h, TN_KEY_LEFT_CTRL);
  key (h, TN_KEY_PAUSE);
  expect (h, "11 f0 11 62 f0 62");
  data (h, 0xf9); /* make only */
  expect (h, "fa");
  key (h, TN_KEY_A);
  expect (h, "1c");
  data (h, 0xfb); /* a list of keys */
  data (h, 0x1c);
  data (h, 0x32);
  expect (h, "fa");
  data (h, 0xf0);
  data (h, 0x00);
  expect (h, "fa 03");
  data (h, 0xf0);
  data (h, 0x09);
  expect (h, "fe");
  tn_harness_free (h);
}

/* Set 1 of the whole keyboard, by translation, against the codes of an AT. */
static void
test_translation (void)
{
  static const struct {
    TnKey key;
    const char *bytes;
  } keys[] = {
    { TN_KEY_ESCAPE, "01 81" },
    { TN_KEY_1, "02 82" },
    { TN_KEY_0, "0b 8b" },
    { TN_KEY_BACKSPACE, "0e 8e" },
    { TN_KEY_TAB, "0f 8f" },
    { TN_KEY_Q, "10 90" },
    { TN_KEY_ENTER, "1c 9c" },
    { TN_KEY_LEFT_CTRL, "1d 9d" },
    { TN_KEY_GRAVE, "29 a9" },
    { TN_KEY_LEFT_SHIFT, "2a aa" },
    { TN_KEY_BACKSLASH, "2b ab" },
    { TN_KEY_Z, "2c ac" },
    { TN_KEY_RIGHT_SHIFT, "36 b6" },
    { TN_KEY_KP_MULTIPLY, "37 b7" },
    { TN_KEY_LEFT_ALT, "38 b8" },
    { TN_KEY_SPACE, "39 b9" },
    { TN_KEY_CAPS_LOCK, "3a ba" },
    { TN_KEY_F1, "3b bb" },
    { TN_KEY_F7, "41 c1" },
    { TN_KEY_F10, "44 c4" },
    { TN_KEY_NUM_LOCK, "45 c5" },
    { TN_KEY_SCROLL_LOCK, "46 c6" },
    { TN_KEY_KP_7, "47 c7" },
    { TN_KEY_KP_SUBTRACT, "4a ca" },
    { TN_KEY_KP_ADD, "4e ce" },
    { TN_KEY_KP_DECIMAL, "53 d3" },
    { TN_KEY_ISO_BACKSLASH, "56 d6" },
    { TN_KEY_F11, "57 d7" },
    { TN_KEY_INSERT, "e0 52 e0 d2" },
    { TN_KEY_LEFT, "e0 4b e0 cb" },
    { TN_KEY_LEFT_GUI, "e0 5b e0 db" },
    { TN_KEY_MENU, "e0 5d e0 dd" },
    { TN_KEY_PRINT_SCREEN, "e0 2a e0 37 e0 b7 e0 aa" },
  };
  TnHarness *h = new_kbc (0x45);
  for (unsigned i = 0; i < G_N_ELEMENTS (keys); i++)
    {
      key (h, keys[i].key);
      expect (h, keys[i].bytes);
    }
  tn_harness_free (h);
}

static unsigned
repeats (TnHarness *h, int64_t ns)
{
  unsigned n = 0;
  for (int64_t t = 0; t < ns; t += TN_NS_PER_MS)
    {
      tn_harness_clock_step (h, TN_NS_PER_MS);
      if (status (h) & OBF)
        n += tn_harness_in8 (h, DATA) == 0x1e;
    }
  return n;
}

static void
test_typematic (void)
{
  TnHarness *h = new_kbc (0x45);
  tn_harness_key (h, TN_KEY_A, true);
  g_assert_cmpuint (repeats (h, 490 * TN_NS_PER_MS), ==, 1);
  roundtrip (h, "kbc");
  unsigned n = repeats (h, TN_NS_PER_S);
  g_assert_cmpuint (n, >=, 10);
  g_assert_cmpuint (n, <=, 12);
  tn_harness_key (h, TN_KEY_A, true); /* the host's own repetition */
  tn_harness_key (h, TN_KEY_A, false);
  g_assert_cmpuint (repeats (h, 2 * TN_NS_PER_S), ==, 0);
  data (h, 0xf3);
  data (h, 0x00); /* 250 ms, 30 a second */
  expect (h, "fa");
  tn_harness_key (h, TN_KEY_A, true);
  g_assert_cmpuint (repeats (h, 1245 * TN_NS_PER_MS), >=, 30);
  tn_harness_free (h);
}

static void
test_flood (void)
{
  TnHarness *h = new_kbc (0x45);
  for (unsigned i = 0; i < 200; i++)
    key (h, TN_KEY_A + i % 26);
  for (unsigned i = 0; i < 20; i++)
    {
      g_assert_cmphex (next (h) | 0x80, ==, next (h)); /* a release follows each press */
    }
  roundtrip (h, "kbc");
  while (next (h) != NOTHING)
    ;
  key (h, TN_KEY_Z);
  expect (h, "2c ac");
  tn_harness_free (h);
}

static void
mouse (TnHarness *h, uint8_t byte)
{
  command (h, 0xd4);
  data (h, byte);
}

static void
test_mouse_commands (void)
{
  TnHarness *h = new_kbc (0x47);
  mouse (h, 0xff);
  roundtrip (h, "kbc");
  expect (h, "1fa 1aa 100");
  mouse (h, 0xf2);
  expect (h, "1fa 100");
  mouse (h, 0xe9);
  expect (h, "1fa 100 102 164");
  mouse (h, 0xe8);
  mouse (h, 0x03);
  expect (h, "1fa");
  mouse (h, 0xe7);
  expect (h, "1fa");
  mouse (h, 0xf4);
  expect (h, "1fa");
  tn_harness_pointer (h, 0, 0, 0, TN_BUTTON_LEFT | TN_BUTTON_RIGHT);
  expect (h, "10b 100 100");
  mouse (h, 0xe9);
  expect (h, "1fa 135 103 164");
  mouse (h, 0xe1);
  expect (h, "1fe");
  mouse (h, 0xe1);
  expect (h, "1fc");
  mouse (h, 0xee);
  expect (h, "1fa");
  mouse (h, 0xf4);
  expect (h, "1f4"); /* wrapped */
  mouse (h, 0xec);
  expect (h, "1fa");
  mouse (h, 0xf6);
  expect (h, "1fa");
  mouse (h, 0xe9);
  expect (h, "1fa 105 102 164");
  mouse (h, 0xf0); /* remote mode: only on demand */
  tn_harness_pointer (h, 3, -4, 0, 0);
  expect (h, "1fa");
  mouse (h, 0xeb);
  expect (h, "1fa 108 103 104");
  mouse (h, 0xf3);
  mouse (h, 99);
  expect (h, "1fe");
  tn_harness_free (h);
}

static void
test_mouse_stream (void)
{
  TnHarness *h = new_kbc (0x47);
  tn_harness_pointer (h, 5, 5, 0, 0); /* nobody listens */
  expect (h, "");
  mouse (h, 0xf4);
  expect (h, "1fa");
  tn_harness_line_edges (h, "isa:12");
  tn_harness_pointer (h, 10, 20, 0, 0);
  expect (h, "128 10a 1ec");
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:12"), ==, 3);
  tn_harness_pointer (h, -300, 0, 0, TN_BUTTON_MIDDLE);
  roundtrip (h, "kbc");
  expect (h, "11c 101 100 11c 1d3 100"); /* 255 and the rest */
  tn_harness_pointer (h, 1, 0, 0, 0);
  tn_harness_pointer (h, 1, 0, 0, 0); /* adds up while the first is under way */
  tn_harness_pointer (h, 1, 0, 0, 0);
  expect (h, "108 101 100 108 102 100");
  mouse (h, 0xe7);
  expect (h, "1fa");
  tn_harness_pointer (h, 5, -7, 0, 0);
  expect (h, "108 109 10e");
  tn_harness_pointer (h, 50, 0, 0, 0);
  tn_harness_clock_step (h, 700 * TN_NS_PER_US);
  mouse (h, 0xf5); /* a command cuts a packet off; its first byte was here already */
  expect (h, "108 1fa");
  tn_harness_free (h);
}

static void
rates (TnHarness *h, uint8_t a, uint8_t b, uint8_t c)
{
  const uint8_t rate[3] = { a, b, c };
  for (unsigned i = 0; i < 3; i++)
    {
      mouse (h, 0xf3);
      mouse (h, rate[i]);
      expect (h, "1fa");
    }
}

static void
test_wheel (void)
{
  TnHarness *h = new_kbc (0x47);
  rates (h, 200, 100, 80);
  mouse (h, 0xf2);
  expect (h, "1fa 103");
  mouse (h, 0xf4);
  expect (h, "1fa");
  tn_harness_pointer (h, 0, 0, 1, 0);
  expect (h, "108 100 100 1ff");
  tn_harness_pointer (h, 0, 0, -2, TN_BUTTON_SIDE);
  expect (h, "108 100 100 102"); /* this one knows of three buttons only */
  tn_harness_pointer (h, 0, 0, 0, 0);
  expect (h, "");
  rates (h, 200, 200, 80);
  mouse (h, 0xf2);
  expect (h, "1fa 104");
  tn_harness_pointer (h, 0, 0, 1, TN_BUTTON_SIDE);
  expect (h, "108 100 100 11f");
  tn_harness_pointer (h, 0, 0, 0, TN_BUTTON_EXTRA);
  expect (h, "108 100 100 120");
  mouse (h, 0xff);
  expect (h, "1fa 1aa 100");
  mouse (h, 0xf2);
  expect (h, "1fa 100");
  tn_harness_free (h);

  h = new_kbc_with ("plain");
  rates (h, 200, 100, 80);
  mouse (h, 0xf2);
  expect (h, "1fa 100");
  tn_harness_free (h);
}

static void
test_no_mouse (void)
{
  TnHarness *h = new_kbc_with ("none");
  mouse (h, 0xf2);
  g_assert_cmphex (status (h) & (OBF | AUX | TIMEOUT), ==, OBF | AUX | TIMEOUT);
  g_assert_cmphex (next (h), ==, 0x1fe);
  tn_harness_pointer (h, 1, 1, 1, 1);
  expect (h, "");
  tn_harness_free (h);
}

/* Translated make codes that come within 10 ms each, one a time, with a pause before each. */
static unsigned
read_makes (TnHarness *h, uint8_t make, unsigned limit, int64_t pause)
{
  unsigned makes = 0;
  for (int byte = next (h); byte != NOTHING; byte = next (h))
    {
      g_assert_true (byte == make || byte == (make | 0x80));
      makes += byte == make;
      if (makes == limit)
        break;
      tn_harness_clock_step (h, pause);
    }
  return makes;
}

/* A text is longer than the keyboard's buffer, and the guest takes its time: nothing is lost.  Keys
   that are pressed after it come after it. */
static void
test_typing (void)
{
  TnHarness *h = new_kbc (0x45);
  g_autofree char *text = g_strnfill (300, 'a');
  tn_harness_type (h, text);
  tn_harness_clock_step (h, 30 * TN_NS_PER_S);
  g_assert_cmpuint (read_makes (h, 0x1e, 100, 40 * TN_NS_PER_MS), ==, 100);
  tn_harness_clock_step (h, 20 * TN_NS_PER_S);
  g_assert_cmpuint (read_makes (h, 0x1e, 100, 15 * TN_NS_PER_MS), ==, 100);
  /* It stopped listening for a while. */
  data (h, 0xf5);
  g_assert_cmphex (next (h), ==, 0xfa);
  tn_harness_clock_step (h, TN_NS_PER_S);
  data (h, 0xf4);
  while (next (h) != 0xfa)
    ;
  g_assert_cmpuint (read_makes (h, 0x1e, 101, 5 * TN_NS_PER_MS), ==, 100);
  tn_harness_free (h);
}

/* Nobody reads: after a minute the rest is typed into the void, and a later text comes again. */
static void
test_typing_lost (void)
{
  TnHarness *h = new_kbc (0x45);
  g_autofree char *text = g_strnfill (300, 'a');
  tn_harness_type (h, text);
  tn_harness_clock_step (h, 90 * TN_NS_PER_S);
  unsigned makes = read_makes (h, 0x1e, 1000, TN_NS_PER_MS);
  g_assert_cmpuint (makes, >, 4);
  g_assert_cmpuint (makes, <, 100);
  text[20] = 0;
  tn_harness_type (h, text);
  g_assert_cmpuint (read_makes (h, 0x1e, 1000, 15 * TN_NS_PER_MS), ==, 20);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/kbc/controller", test_controller);
  g_test_add_func ("/kbc/a20-and-reset", test_a20_and_reset);
  g_test_add_func ("/kbc/bios", test_bios);
  g_test_add_func ("/kbc/linux-aux", test_linux_aux);
  g_test_add_func ("/kbc/interrupts", test_interrupts);
  g_test_add_func ("/kbc/answer-first", test_answer_first);
  g_test_add_func ("/kbc/keyboard-commands", test_keyboard_commands);
  g_test_add_func ("/kbc/scan-codes", test_scan_codes);
  g_test_add_func ("/kbc/sets", test_sets);
  g_test_add_func ("/kbc/translation", test_translation);
  g_test_add_func ("/kbc/typing", test_typing);
  g_test_add_func ("/kbc/typing-lost", test_typing_lost);
  g_test_add_func ("/kbc/typematic", test_typematic);
  g_test_add_func ("/kbc/flood", test_flood);
  g_test_add_func ("/kbc/mouse-commands", test_mouse_commands);
  g_test_add_func ("/kbc/mouse-stream", test_mouse_stream);
  g_test_add_func ("/kbc/wheel", test_wheel);
  g_test_add_func ("/kbc/no-mouse", test_no_mouse);
  return g_test_run ();
}
