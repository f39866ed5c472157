/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Display back end: the text screen in the terminal, by ncurses.
 *
 * The guest's cells are shown with their colours, brought to the 16 (or 8) of a terminal.  Keys are
 * those that a terminal can tell: it has no releases, so that each is pressed and let go at once.
 *
 * One such display a program: ncurses keeps its state in globals, and there is one terminal.  So a
 * successor begins with its first picture or key, when its predecessor has gone.  The terminal
 * stays as it is between them, and the mode to go back to is handed over in a memory file.
 */
#define _GNU_SOURCE
#define NCURSES_WIDECHAR 1
#include <tenon/tenon.h>

#include <curses.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define PREFIX 1 /* Ctrl-A, as the serial console has it */

typedef struct {
  TnDevice *device;
  const char *card;
  uint32_t rate;
  SCREEN *screen;
  FILE *out, *in;
  struct termios before; /* mode of the terminal before there was such a display */
  bool prefix;           /* Ctrl-A came */
  unsigned colors;
} Text;

/* ---- Output ---- */

static unsigned
nearest_color (uint32_t rgb, unsigned colors)
{
  static const uint32_t palette[16]
      = { 0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa,
          0x555555, 0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff };
  unsigned best = 0, least = UINT32_MAX;

  for (unsigned n = 0; n < MIN (colors, 16); n++)
    {
      int r = (int) (rgb >> 16 & 0xff) - (int) (palette[n] >> 16 & 0xff);
      int g = (int) (rgb >> 8 & 0xff) - (int) (palette[n] >> 8 & 0xff);
      int b = (int) (rgb & 0xff) - (int) (palette[n] & 0xff);
      unsigned distance = r * r + g * g + b * b;

      if (distance < least)
        {
          least = distance;
          best = n;
        }
    }
  return best;
}

static void
put_cell (const Text *t, int y, int x, const TnTextCell *cell)
{
  wchar_t text[2] = { cell->character >= ' ' ? (wchar_t) cell->character : L' ', 0 };
  unsigned ink = nearest_color (cell->foreground, t->colors);
  unsigned paper = nearest_color (cell->background, t->colors);
  cchar_t c;

  if (setcchar (&c, text, A_NORMAL, t->colors ? 1 + ink * t->colors + paper : 0, NULL) == OK)
    mvadd_wch (y, x, &c);
}

static void
put_graphics (const TnScreen *screen)
{
  char line[80];

  erase ();
  if (screen->width)
    g_snprintf (line, sizeof line, "[graphics, %u by %u]", screen->width, screen->height);
  else
    g_snprintf (line, sizeof line, "[no signal]");
  mvaddstr (LINES / 2, MAX (0, (COLS - (int) strlen (line)) / 2), line);
  curs_set (0);
}

static bool start_screen (Text *t);

static void
text_update (void *self, const TnScreen *screen, const TnRect *rects, unsigned n, bool all)
{
  Text *t = self;
  uint32_t columns = screen->columns;

  if (!t->screen && !start_screen (t))
    return;
  set_term (t->screen);
  if (all)
    erase ();
  if (columns == 0)
    put_graphics (screen);
  for (uint32_t y = 0; y < screen->rows && (int) y < LINES; y++)
    for (uint32_t x = 0; x < columns && (int) x < COLS; x++)
      put_cell (t, y, x, &screen->cells[y * columns + x]);
  if (columns && screen->cursor >= 0)
    {
      curs_set (1);
      move (MIN (screen->cursor / (int) columns, LINES - 1),
            MIN (screen->cursor % (int) columns, COLS - 1));
    }
  else
    curs_set (0);
  refresh ();
}

/* ---- Keys ---- */

static void
press (Text *t, TnKey with, TnKey key)
{
  if (with != TN_KEY_NONE)
    tn_device_send_key (t->device, with, true);
  tn_device_send_key (t->device, key, true);
  tn_device_send_key (t->device, key, false);
  if (with != TN_KEY_NONE)
    tn_device_send_key (t->device, with, false);
}

static TnKey
named_key (wint_t code)
{
  static const struct {
    uint16_t code;
    uint8_t key;
  } keys[] = {
    { KEY_UP, TN_KEY_UP },         { KEY_DOWN, TN_KEY_DOWN },           { KEY_LEFT, TN_KEY_LEFT },
    { KEY_RIGHT, TN_KEY_RIGHT },   { KEY_HOME, TN_KEY_HOME },           { KEY_END, TN_KEY_END },
    { KEY_PPAGE, TN_KEY_PAGE_UP }, { KEY_NPAGE, TN_KEY_PAGE_DOWN },     { KEY_IC, TN_KEY_INSERT },
    { KEY_DC, TN_KEY_DELETE },     { KEY_BACKSPACE, TN_KEY_BACKSPACE }, { KEY_ENTER, TN_KEY_ENTER }
  };

  if (code >= KEY_F (1) && code <= KEY_F (12))
    return TN_KEY_F1 + (code - KEY_F (1));
  for (unsigned n = 0; n < G_N_ELEMENTS (keys); n++)
    if (keys[n].code == code)
      return keys[n].key;
  return TN_KEY_NONE;
}

static void
character (Text *t, wint_t c)
{
  char text[8] = "";

  if (c == '\r' || c == '\n')
    press (t, TN_KEY_NONE, TN_KEY_ENTER);
  else if (c == '\t')
    press (t, TN_KEY_NONE, TN_KEY_TAB);
  else if (c == 27)
    press (t, TN_KEY_NONE, TN_KEY_ESCAPE);
  else if (c == 127 || c == 8)
    press (t, TN_KEY_NONE, TN_KEY_BACKSPACE);
  else if (c >= 1 && c <= 26)
    press (t, TN_KEY_LEFT_CTRL, TN_KEY_A + c - 1);
  else if (c >= ' ')
    {
      text[g_unichar_to_utf8 (c, text)] = '\0';
      tn_device_type (t->device, text);
    }
}

/* After Ctrl-A: x ends, d sends Ctrl-Alt-Delete, a sends Ctrl-A. */
static void
command (Text *t, wint_t c)
{
  if (c == 'x' || c == 'X' || c == 24)
    tn_device_request_poweroff (t->device);
  else if (c == 'd' || c == 'D')
    {
      tn_device_send_key (t->device, TN_KEY_LEFT_CTRL, true);
      press (t, TN_KEY_LEFT_ALT, TN_KEY_DELETE);
      tn_device_send_key (t->device, TN_KEY_LEFT_CTRL, false);
    }
  else if (c == 'a' || c == PREFIX)
    character (t, PREFIX);
}

static void
read_keys (Text *t)
{
  wint_t c;
  int kind;

  set_term (t->screen);
  while ((kind = get_wch (&c)) != ERR)
    {
      TnKey key = kind == KEY_CODE_YES ? named_key (c) : TN_KEY_NONE;

      if (t->prefix)
        command (t, c);
      else if (kind == KEY_CODE_YES && key != TN_KEY_NONE)
        press (t, TN_KEY_NONE, key);
      else if (kind == OK && c != PREFIX)
        character (t, c);
      t->prefix = !t->prefix && kind == OK && c == PREFIX;
    }
}

static void
keys_ready (void *self, int fd, unsigned condition, void *data)
{
  Text *t = self;

  if (t->screen || start_screen (t))
    read_keys (t);
  /* A terminal that has gone is ready for ever. */
  if (!t->screen || (condition & (G_IO_HUP | G_IO_ERR)))
    tn_device_request_poweroff (t->device);
}

/* ---- Life ---- */

static void
start_colors (Text *t)
{
  if (!has_colors ())
    return;
  start_color ();
  t->colors = COLORS >= 16 ? 16 : 8;
  if (COLOR_PAIRS <= (int) (t->colors * t->colors))
    t->colors = 0;
  for (unsigned ink = 0; ink < t->colors; ink++)
    for (unsigned paper = 0; paper < t->colors; paper++)
      init_extended_pair (1 + ink * t->colors + paper, ink, paper);
}

/* Takes over what the terminal was like at first, or looks, and keeps it for a successor. */
static void
remember_mode (Text *t)
{
  int fd = tn_device_take_fd (t->device, "terminal");

  if (fd >= 0 && pread (fd, &t->before, sizeof t->before, 0) == sizeof t->before)
    return;
  tcgetattr (STDIN_FILENO, &t->before);
  fd = memfd_create ("terminal", MFD_CLOEXEC);
  if (fd >= 0 && write (fd, &t->before, sizeof t->before) == sizeof t->before)
    tn_device_keep_fd (t->device, "terminal", fd);
  else if (fd >= 0)
    close (fd);
}

static bool
start_screen (Text *t)
{
  t->in = fdopen (dup (STDIN_FILENO), "r");
  t->out = fdopen (dup (STDOUT_FILENO), "w");
  t->screen = t->in && t->out ? newterm (NULL, t->out, t->in) : NULL;
  if (!t->screen)
    {
      g_clear_pointer (&t->in, fclose);
      g_clear_pointer (&t->out, fclose);
      return false;
    }
  raw ();
  noecho ();
  nonl ();
  keypad (stdscr, TRUE);
  nodelay (stdscr, TRUE);
  set_escdelay (25);
  start_colors (t);
  return true;
}

static void
end_screen (Text *t)
{
  if (!t->screen)
    return;
  set_term (t->screen);
  if (!tn_device_swapping (t->device))
    {
      endwin ();
      tcsetattr (STDIN_FILENO, TCSADRAIN, &t->before);
    }
  delscreen (t->screen);
  fclose (t->in);
  fclose (t->out);
}

static bool
text_realize (void *self, GError **error)
{
  Text *t = self;

  if (!isatty (STDIN_FILENO) || !isatty (STDOUT_FILENO))
    return tn_device_fail (t->device, error, TN_ERROR_IO,
                           "standard input and output are not a terminal");
  remember_mode (t);
  if (!tn_device_swapping (t->device) && !start_screen (t))
    return tn_device_fail (t->device, error, TN_ERROR_IO,
                           "ncurses does not know the terminal \"%s\"",
                           g_getenv ("TERM") ? g_getenv ("TERM") : "");
  tn_device_watch_fd (t->device, STDIN_FILENO, G_IO_IN, keys_ready, NULL);
  tn_device_show (t->device, t->card, t->rate);
  return true;
}

static void
text_unrealize (void *self)
{
  end_screen (self);
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_STRING (Text, card, "card", "video card that is shown; the first if not given", NULL),
  TN_PROP_UINT (Text, rate, "rate", "pictures a second", 20, 1, 60),
  TN_PROP_END,
};

static const TnDisplayOps display_ops = { .update = text_update };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "display-text",
  .summary = "The text screen in the terminal",
  .document = "ncurses",
  .kind = TN_KIND_DISPLAY,
  .state_version = 1,
  .instance_size = sizeof (Text),
  .properties = props,
  .ops = { .realize = text_realize, .unrealize = text_unrealize },
  .display_ops = &display_ops,
};
