/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The screen and the keyboard by way of the control socket, and the title of windows.
 */
#include "run.h"

#include "keymap.h"
#include "options.h"
#include "png-file.h"
#include "suggest.h"

#include <string.h>
#include <sysexits.h>

#define SPEED_PERIOD_US (G_USEC_PER_SEC / 2)
#define CHORD_MAX 8

/* ---- Title ---- */

static void
instructions (void *data, const char *name, uint64_t value)
{
  if (strcmp (name, "cpu.instructions") == 0)
    *(uint64_t *) data = value;
}

static void
measure (TnRun *run)
{
  int64_t now = g_get_monotonic_time (), passed = now - run->speed.time;
  uint64_t count = 0;

  if (passed < SPEED_PERIOD_US)
    return;
  tn_processor_stats (run->processor, false, instructions, &count);
  run->speed.mips = (count - run->speed.instructions) / (uint64_t) passed;
  run->speed.instructions = count;
  run->speed.time = now;
}

char *
tn_run_title (TnRun *run)
{
  g_autoptr (GString) disks = g_string_new (NULL);

  if (run->processor)
    measure (run);
  if (run->machine)
    tn_machine_busy_blocks (run->machine, disks);
  if (run->paused)
    return g_strdup_printf ("%s - paused - Tenon", run->config->name);
  return g_strdup_printf ("%s - %u MIPS%s%s - Tenon", run->config->name, run->speed.mips,
                          disks->len ? " - " : "", disks->str);
}

/* ---- Screen ---- */

static const TnScreen *
get_screen (TnRun *run, const char *card, GString *reply, int *code)
{
  g_autoptr (GError) error = NULL;
  const TnScreen *screen;

  if (card && !tn_machine_find (run->machine, card))
    {
      g_string_append_printf (reply, "there is no device \"%s\"", card);
      *code = EX_UNAVAILABLE;
      return NULL;
    }
  screen = tn_machine_screen (run->machine, card, &error);
  if (!screen)
    {
      g_string_append (reply, error->message);
      *code = EX_UNAVAILABLE;
    }
  return screen;
}

int
tn_run_screenshot (TnRun *run, char **words, int n, GString *reply)
{
  g_autoptr (GError) error = NULL;
  g_autofree uint32_t *pixels = NULL;
  const TnScreen *screen;
  uint32_t width = 0, height = 0;
  int code = EX_OK;

  tn_machine_lock (run->machine);
  screen = get_screen (run, n > 1 ? words[1] : NULL, reply, &code);
  if (screen && screen->width)
    {
      width = screen->width;
      height = screen->height;
      pixels = g_memdup2 (screen->pixels, (gsize) width * height * sizeof *pixels);
    }
  tn_machine_unlock (run->machine);
  if (!screen)
    return code;
  if (!pixels)
    {
      g_string_append (reply, "the card sends no picture");
      return EX_UNAVAILABLE;
    }
  if (tn_png_write (words[0], pixels, width, height, &error))
    return EX_OK;
  g_string_append (reply, error->message);
  return EX_CANTCREAT;
}

int
tn_run_screen (TnRun *run, char **words, int n, GString *reply)
{
  const TnScreen *screen;
  int code = EX_OK;

  tn_machine_lock (run->machine);
  screen = get_screen (run, n > 0 ? words[0] : NULL, reply, &code);
  if (screen && screen->columns)
    {
      g_autofree char *text = tn_screen_text (screen);

      g_string_append (reply, text);
    }
  else if (screen)
    {
      g_string_append (reply, "the screen shows graphics");
      code = EX_UNAVAILABLE;
    }
  tn_machine_unlock (run->machine);
  return code;
}

/* ---- Keyboard and mouse ---- */

int
tn_run_type (TnRun *run, char **words, int n, GString *reply)
{
  g_autofree char *joined = g_strjoinv (" ", words);
  g_autofree char *text = g_strcompress (joined);
  unsigned missing;

  if (!g_utf8_validate (text, -1, NULL))
    {
      g_string_append (reply, "expected text in UTF-8");
      return EX_DATAERR;
    }
  tn_machine_lock (run->machine);
  missing = tn_machine_type (run->machine, text);
  tn_machine_unlock (run->machine);
  if (!missing)
    return EX_OK;
  g_string_append_printf (reply, "%u of the characters are not on the keyboard \"%s\"", missing,
                          tn_keymap_names[run->config->keyboard]);
  return EX_DATAERR;
}

static bool
parse_chord (const char *word, TnKey *keys, unsigned *n, GString *reply)
{
  g_auto (GStrv) parts = g_strsplit_set (word, "-+", CHORD_MAX + 1);

  for (*n = 0; parts[*n]; ++*n)
    if (*n == CHORD_MAX || (keys[*n] = tn_keymap_named (parts[*n])) == TN_KEY_NONE)
      {
        g_string_append_printf (reply, "there is no key \"%s\" (in \"%s\")", parts[*n], word);
        return false;
      }
  return true;
}

int
tn_run_key (TnRun *run, char **words, int n, GString *reply)
{
  TnKey keys[CHORD_MAX];
  unsigned count;

  for (int i = 0; i < n; i++)
    if (!parse_chord (words[i], keys, &count, reply))
      return EX_USAGE;
  tn_machine_lock (run->machine);
  for (int i = 0; i < n; i++)
    {
      parse_chord (words[i], keys, &count, reply);
      tn_machine_press (run->machine, keys, count);
    }
  tn_machine_unlock (run->machine);
  return EX_OK;
}

static bool
parse_buttons (const char *word, uint32_t *buttons, GString *reply)
{
  static const char *const names[] = { "left", "right", "middle", "side", "extra", "none", NULL };
  g_auto (GStrv) parts = g_strsplit_set (word, ",+", 8);

  for (unsigned i = 0; parts[i]; i++)
    {
      unsigned n = 0;

      while (names[n] && strcmp (names[n], parts[i]) != 0)
        n++;
      if (!names[n])
        {
          g_string_append_printf (
              reply, "there is no button \"%s\": left, right, middle, side, extra", parts[i]);
          return false;
        }
      if (n < 5)
        *buttons |= 1u << n;
    }
  return true;
}

int
tn_run_mouse (TnRun *run, char **words, int n, GString *reply)
{
  TnPointerEvent event = { 0 };
  gint64 dx, dy;
  bool sent;

  if (!g_ascii_string_to_signed (words[0], 10, -10000, 10000, &dx, NULL)
      || !g_ascii_string_to_signed (words[1], 10, -10000, 10000, &dy, NULL))
    {
      g_string_append (reply, "expected two numbers from -10000 to 10000");
      return EX_USAGE;
    }
  if (n > 2 && !parse_buttons (words[2], &event.buttons, reply))
    return EX_USAGE;
  event.dx = dx;
  event.dy = dy;
  tn_machine_lock (run->machine);
  sent = tn_machine_send_pointer (run->machine, &event);
  tn_machine_unlock (run->machine);
  if (sent)
    return EX_OK;
  g_string_append (reply, "the machine has no mouse");
  return EX_UNAVAILABLE;
}
