/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keymap.h"

#include <string.h>

const char *const tn_keymap_names[] = { "us", "uk", "de", "fr", NULL };

/* The keys that bear characters, row by row; ORDER: layouts */
static const uint8_t positions[] = {
  TN_KEY_GRAVE,
  TN_KEY_1,
  TN_KEY_2,
  TN_KEY_3,
  TN_KEY_4,
  TN_KEY_5,
  TN_KEY_6,
  TN_KEY_7,
  TN_KEY_8,
  TN_KEY_9,
  TN_KEY_0,
  TN_KEY_MINUS,
  TN_KEY_EQUAL,
  TN_KEY_Q,
  TN_KEY_W,
  TN_KEY_E,
  TN_KEY_R,
  TN_KEY_T,
  TN_KEY_Y,
  TN_KEY_U,
  TN_KEY_I,
  TN_KEY_O,
  TN_KEY_P,
  TN_KEY_LEFT_BRACKET,
  TN_KEY_RIGHT_BRACKET,
  TN_KEY_A,
  TN_KEY_S,
  TN_KEY_D,
  TN_KEY_F,
  TN_KEY_G,
  TN_KEY_H,
  TN_KEY_J,
  TN_KEY_K,
  TN_KEY_L,
  TN_KEY_SEMICOLON,
  TN_KEY_APOSTROPHE,
  TN_KEY_BACKSLASH,
  TN_KEY_ISO_BACKSLASH,
  TN_KEY_Z,
  TN_KEY_X,
  TN_KEY_C,
  TN_KEY_V,
  TN_KEY_B,
  TN_KEY_N,
  TN_KEY_M,
  TN_KEY_COMMA,
  TN_KEY_PERIOD,
  TN_KEY_SLASH,
};

/* A space: nothing there.  ORDER: layouts */
static const struct {
  const char *level[3];
  const char *dead;
} layouts[] = {
  { { "`1234567890-=qwertyuiop[]asdfghjkl;'\\ zxcvbnm,./",
      "~!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:\"| ZXCVBNM<>?", "" },
    "" },
  { { "`1234567890-=qwertyuiop[]asdfghjkl;'#\\zxcvbnm,./",
      "¬!\"£$%^&*()_+QWERTYUIOP{}ASDFGHJKL:@~|ZXCVBNM<>?", "¦   €" },
    "" },
  { { "^1234567890ß´qwertzuiopü+asdfghjklöä#<yxcvbnm,.-",
      "°!\"§$%&/()=?`QWERTZUIOPÜ*ASDFGHJKLÖÄ'>YXCVBNM;:_",
      "  ²³   {[]}\\ @ €        ~            |      µ" },
    "^´`" },
  { { "²&é\"'(-è_çà)=azertyuiop^$qsdfghjklmù*<wxcvbn,;:!",
      " 1234567890°+AZERTYUIOP¨£QSDFGHJKLM%µ>WXCVBN?./§", "  ~#{[|`\\^@]}  €        ¤" },
    "^¨" },
};

static gunichar
at (unsigned layout, TnKeyLevel level, unsigned position)
{
  const char *p = layouts[layout].level[level];

  for (; *p && position > 0; position--)
    p = g_utf8_next_char (p);
  return g_utf8_get_char (p);
}

static bool
is_letter (unsigned layout, unsigned position)
{
  gunichar plain = at (layout, TN_LEVEL_PLAIN, position);

  return g_unichar_isalpha (plain)
         && g_unichar_toupper (plain) == at (layout, TN_LEVEL_SHIFT, position);
}

static bool
find (unsigned layout, TnKeyLevel level, gunichar character, TnKeyStroke *stroke)
{
  const char *p = layouts[layout].level[level];

  for (unsigned n = 0; *p && n < G_N_ELEMENTS (positions); n++, p = g_utf8_next_char (p))
    if (g_utf8_get_char (p) == character)
      {
        *stroke
            = (TnKeyStroke){ positions[n], level, level != TN_LEVEL_ALTGR && is_letter (layout, n),
                             g_utf8_strchr (layouts[layout].dead, -1, character) != NULL };
        return true;
      }
  return false;
}

bool
tn_keymap_character (unsigned layout, gunichar character, TnKeyStroke *stroke)
{
  static const struct {
    gunichar character;
    uint8_t key;
  } same[] = { { ' ', TN_KEY_SPACE }, { '\n', TN_KEY_ENTER },  { '\r', TN_KEY_ENTER },
               { '\t', TN_KEY_TAB },  { 8, TN_KEY_BACKSPACE }, { 127, TN_KEY_BACKSPACE },
               { 27, TN_KEY_ESCAPE } };

  for (unsigned n = 0; n < G_N_ELEMENTS (same); n++)
    if (same[n].character == character)
      {
        *stroke = (TnKeyStroke){ same[n].key, TN_LEVEL_PLAIN, true, false };
        return true;
      }
  for (TnKeyLevel level = TN_LEVEL_PLAIN; level <= TN_LEVEL_ALTGR; level++)
    if (find (layout, level, character, stroke))
      return true;
  return false;
}

/* X keysyms of keys without a character, from X11/keysymdef.h */
static const struct {
  uint16_t keysym;
  uint8_t key;
} keysyms[] = {
  { 0xff08, TN_KEY_BACKSPACE },  { 0xff09, TN_KEY_TAB },         { 0xff0d, TN_KEY_ENTER },
  { 0xff13, TN_KEY_PAUSE },      { 0xff14, TN_KEY_SCROLL_LOCK }, { 0xff15, TN_KEY_PRINT_SCREEN },
  { 0xff1b, TN_KEY_ESCAPE },     { 0xff22, TN_KEY_INTL_5 },      { 0xff23, TN_KEY_INTL_4 },
  { 0xff27, TN_KEY_INTL_2 },     { 0xff31, TN_KEY_LANG_1 },      { 0xff34, TN_KEY_LANG_2 },
  { 0xff50, TN_KEY_HOME },       { 0xff51, TN_KEY_LEFT },        { 0xff52, TN_KEY_UP },
  { 0xff53, TN_KEY_RIGHT },      { 0xff54, TN_KEY_DOWN },        { 0xff55, TN_KEY_PAGE_UP },
  { 0xff56, TN_KEY_PAGE_DOWN },  { 0xff57, TN_KEY_END },         { 0xff61, TN_KEY_PRINT_SCREEN },
  { 0xff63, TN_KEY_INSERT },     { 0xff67, TN_KEY_MENU },        { 0xff6b, TN_KEY_PAUSE },
  { 0xff7f, TN_KEY_NUM_LOCK },   { 0xff8d, TN_KEY_KP_ENTER },    { 0xff95, TN_KEY_KP_7 },
  { 0xff96, TN_KEY_KP_4 },       { 0xff97, TN_KEY_KP_8 },        { 0xff98, TN_KEY_KP_6 },
  { 0xff99, TN_KEY_KP_2 },       { 0xff9a, TN_KEY_KP_9 },        { 0xff9b, TN_KEY_KP_3 },
  { 0xff9c, TN_KEY_KP_1 },       { 0xff9d, TN_KEY_KP_5 },        { 0xff9e, TN_KEY_KP_0 },
  { 0xff9f, TN_KEY_KP_DECIMAL }, { 0xffaa, TN_KEY_KP_MULTIPLY }, { 0xffab, TN_KEY_KP_ADD },
  { 0xffac, TN_KEY_KP_DECIMAL }, { 0xffad, TN_KEY_KP_SUBTRACT }, { 0xffae, TN_KEY_KP_DECIMAL },
  { 0xffaf, TN_KEY_KP_DIVIDE },  { 0xffb0, TN_KEY_KP_0 },        { 0xffbd, TN_KEY_KP_EQUAL },
  { 0xffe1, TN_KEY_LEFT_SHIFT }, { 0xffe2, TN_KEY_RIGHT_SHIFT }, { 0xffe3, TN_KEY_LEFT_CTRL },
  { 0xffe4, TN_KEY_RIGHT_CTRL }, { 0xffe5, TN_KEY_CAPS_LOCK },   { 0xffe7, TN_KEY_LEFT_GUI },
  { 0xffe8, TN_KEY_RIGHT_GUI },  { 0xffe9, TN_KEY_LEFT_ALT },    { 0xffea, TN_KEY_RIGHT_ALT },
  { 0xffeb, TN_KEY_LEFT_GUI },   { 0xffec, TN_KEY_RIGHT_GUI },   { 0xffff, TN_KEY_DELETE },
  { 0xfe03, TN_KEY_RIGHT_ALT },  { 0xff7e, TN_KEY_RIGHT_ALT },   { 0xfe20, TN_KEY_TAB },
};

static gunichar
keysym_character (uint32_t keysym)
{
  static const struct {
    uint16_t keysym, character;
  } other[] = { { 0x20ac, 0x20ac }, { 0xfe50, '`' }, { 0xfe51, 0xb4 },
                { 0xfe52, '^' },    { 0xfe53, '~' }, { 0xfe57, 0xa8 } };

  if ((keysym >= 0x20 && keysym < 0x7f) || (keysym >= 0xa0 && keysym < 0x100))
    return keysym;
  if (keysym >> 24 == 1 && (keysym & 0xffffff) <= 0x10ffff)
    return keysym & 0xffffff;
  for (unsigned n = 0; n < G_N_ELEMENTS (other); n++)
    if (other[n].keysym == keysym)
      return other[n].character;
  return 0;
}

bool
tn_keymap_keysym (unsigned layout, uint32_t keysym, TnKeyStroke *stroke, bool *printable)
{
  gunichar character = keysym_character (keysym);

  *stroke = (TnKeyStroke){ 0 };
  *printable = character != 0;
  if (character != 0)
    return tn_keymap_character (layout, character, stroke);
  if (keysym >= 0xffbe && keysym <= 0xffc9)
    stroke->key = TN_KEY_F1 + keysym - 0xffbe;
  else if (keysym >= 0xffca && keysym <= 0xffd5)
    stroke->key = TN_KEY_F13 + keysym - 0xffca;
  else if (keysym >= 0xffb1 && keysym <= 0xffb9)
    stroke->key = TN_KEY_KP_1 + keysym - 0xffb1;
  for (unsigned n = 0; n < G_N_ELEMENTS (keysyms) && stroke->key == TN_KEY_NONE; n++)
    if (keysyms[n].keysym == keysym)
      stroke->key = keysyms[n].key;
  return stroke->key != TN_KEY_NONE;
}

/* ---- Names; ORDER: key names (tenon.1) ---- */

static const struct {
  const char *name;
  uint8_t key;
} names[] = {
  { "enter", TN_KEY_ENTER },
  { "return", TN_KEY_ENTER },
  { "esc", TN_KEY_ESCAPE },
  { "escape", TN_KEY_ESCAPE },
  { "backspace", TN_KEY_BACKSPACE },
  { "tab", TN_KEY_TAB },
  { "space", TN_KEY_SPACE },
  { "minus", TN_KEY_MINUS },
  { "equal", TN_KEY_EQUAL },
  { "bracketleft", TN_KEY_LEFT_BRACKET },
  { "bracketright", TN_KEY_RIGHT_BRACKET },
  { "backslash", TN_KEY_BACKSLASH },
  { "semicolon", TN_KEY_SEMICOLON },
  { "apostrophe", TN_KEY_APOSTROPHE },
  { "grave", TN_KEY_GRAVE },
  { "comma", TN_KEY_COMMA },
  { "period", TN_KEY_PERIOD },
  { "slash", TN_KEY_SLASH },
  { "less", TN_KEY_ISO_BACKSLASH },
  { "capslock", TN_KEY_CAPS_LOCK },
  { "print", TN_KEY_PRINT_SCREEN },
  { "scrolllock", TN_KEY_SCROLL_LOCK },
  { "pause", TN_KEY_PAUSE },
  { "insert", TN_KEY_INSERT },
  { "home", TN_KEY_HOME },
  { "pageup", TN_KEY_PAGE_UP },
  { "delete", TN_KEY_DELETE },
  { "del", TN_KEY_DELETE },
  { "end", TN_KEY_END },
  { "pagedown", TN_KEY_PAGE_DOWN },
  { "right", TN_KEY_RIGHT },
  { "left", TN_KEY_LEFT },
  { "down", TN_KEY_DOWN },
  { "up", TN_KEY_UP },
  { "numlock", TN_KEY_NUM_LOCK },
  { "kpdivide", TN_KEY_KP_DIVIDE },
  { "kpmultiply", TN_KEY_KP_MULTIPLY },
  { "kpsubtract", TN_KEY_KP_SUBTRACT },
  { "kpadd", TN_KEY_KP_ADD },
  { "kpenter", TN_KEY_KP_ENTER },
  { "kpdecimal", TN_KEY_KP_DECIMAL },
  { "kp0", TN_KEY_KP_0 },
  { "menu", TN_KEY_MENU },
  { "power", TN_KEY_POWER },
  { "ctrl", TN_KEY_LEFT_CTRL },
  { "control", TN_KEY_LEFT_CTRL },
  { "shift", TN_KEY_LEFT_SHIFT },
  { "alt", TN_KEY_LEFT_ALT },
  { "meta", TN_KEY_LEFT_GUI },
  { "win", TN_KEY_LEFT_GUI },
  { "rctrl", TN_KEY_RIGHT_CTRL },
  { "rshift", TN_KEY_RIGHT_SHIFT },
  { "altgr", TN_KEY_RIGHT_ALT },
  { "rmeta", TN_KEY_RIGHT_GUI },
};

/* A number from 1 to `last` that follows `prefix`, or 0. */
static unsigned
numbered (const char *name, const char *prefix, unsigned last)
{
  size_t length = strlen (prefix);
  guint64 n;

  if (g_ascii_strncasecmp (name, prefix, length) != 0
      || !g_ascii_string_to_unsigned (name + length, 10, 1, last, &n, NULL))
    return 0;
  return n;
}

TnKey
tn_keymap_named (const char *name)
{
  unsigned n;

  if (name[0] != '\0' && name[1] == '\0')
    {
      TnKeyStroke stroke;
      gunichar c = g_ascii_tolower (name[0]);

      return find (0, TN_LEVEL_PLAIN, c, &stroke) && c != ' ' ? stroke.key : TN_KEY_NONE;
    }
  if ((n = numbered (name, "f", 24)) > 0)
    return n <= 12 ? TN_KEY_F1 + n - 1 : TN_KEY_F13 + n - 13;
  if ((n = numbered (name, "kp", 9)) > 0)
    return TN_KEY_KP_1 + n - 1;
  for (n = 0; n < G_N_ELEMENTS (names); n++)
    if (g_ascii_strcasecmp (names[n].name, name) == 0)
      return names[n].key;
  return TN_KEY_NONE;
}
