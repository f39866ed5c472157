/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user's input, from the host's windows and scripts to the devices that watch it.  Single keys
 * are not queued here: a keyboard has a buffer of its own, as real ones do.  Text to be typed is:
 * it goes out stroke by stroke in virtual time, no faster than a keyboard's line takes it, and a
 * character only when the guest has taken the one before: buffers of keys are short.
 */
#include "internal.h"

#include "keymap.h"

#define STROKE_NS (8 * TN_NS_PER_MS)
#define PATIENCE_NS (60 * TN_NS_PER_S) /* with a guest that takes nothing */
#define STROKES_MAX (1 << 20)          /* waiting; what is beyond is dropped */
#define KEYS 256

typedef struct {
  TnResource resource;
  TnKeyFunc key;
  TnPointerFunc pointer;
  TnTypingFunc taken;
} InputWatch;

static void
input_watch_free (TnResource *resource)
{
  g_free (resource);
}

static const TnResourceClass input_watch_class = { .kind = "input", .free = input_watch_free };

void
tn_device_watch_input (TnDevice *device, TnKeyFunc key, TnPointerFunc pointer)
{
  InputWatch *watch;

  g_return_if_fail (device != NULL);
  watch = g_new0 (InputWatch, 1);
  watch->key = key;
  watch->pointer = pointer;
  tn_resource_init (&watch->resource, &input_watch_class, device->instance);
}

void
tn_device_watch_typing (TnDevice *device, TnTypingFunc taken)
{
  InputWatch *watch;

  g_return_if_fail (device != NULL && taken != NULL);
  watch = g_new0 (InputWatch, 1);
  watch->taken = taken;
  tn_resource_init (&watch->resource, &input_watch_class, device->instance);
}

/* The n-th watch of the machine, counted over all devices; input handlers may not add watches. */
static InputWatch *
nth_watch (TnMachine *m, unsigned n)
{
  for (unsigned i = 0; i < m->devices->len; i++)
    {
      TnDevice *device = m->devices->pdata[i];

      for (GList *l = device->instance->ledger.head; l != NULL; l = l->next)
        {
          InputWatch *watch = l->data;

          if (watch->resource.class == &input_watch_class && n-- == 0)
            return watch;
        }
    }
  return NULL;
}

bool
tn_machine_send_key (TnMachine *m, TnKey key, bool down)
{
  InputWatch *watch;
  bool sent = false;

  for (unsigned n = 0; (watch = nth_watch (m, n)) != NULL; n++)
    if (watch->key != NULL)
      {
        watch->key (watch->resource.owner->self, key, down);
        sent = true;
      }
  return sent;
}

bool
tn_machine_send_pointer (TnMachine *m, const TnPointerEvent *event)
{
  InputWatch *watch;
  bool sent = false;

  for (unsigned n = 0; (watch = nth_watch (m, n)) != NULL; n++)
    if (watch->pointer != NULL)
      {
        watch->pointer (watch->resource.owner->self, event);
        sent = true;
      }
  return sent;
}

/* ---- Text ---- */

typedef struct {
  uint8_t key;
  bool down;
  bool waits; /* a character begins, and it is not sent before the last one was taken */
} Stroke;

struct TnTypist {
  TnMachine *machine;
  TnEvent *event;
  GArray *strokes;
  unsigned next;
  unsigned layout;
  int64_t held_since; /* TN_TIME_NEVER: not held */
};

static bool
all_taken (TnMachine *m)
{
  InputWatch *watch;

  for (unsigned n = 0; (watch = nth_watch (m, n)) != NULL; n++)
    if (watch->taken != NULL && !watch->taken (watch->resource.owner->self))
      return false;
  return true;
}

/* Not before the guest has taken what it has; a guest that takes nothing gets the rest at once. */
static bool
is_held (TnTypist *t)
{
  int64_t now = tn_clock_now (t->machine->clock);

  if (all_taken (t->machine))
    t->held_since = TN_TIME_NEVER;
  else if (t->held_since == TN_TIME_NEVER)
    t->held_since = now;
  return t->held_since != TN_TIME_NEVER && now - t->held_since < PATIENCE_NS;
}

static void
strike (void *data)
{
  TnTypist *t = data;
  Stroke stroke;

  if (t->next >= t->strokes->len)
    {
      g_array_set_size (t->strokes, 0);
      t->next = 0;
      t->held_since = TN_TIME_NEVER;
      return;
    }
  tn_event_set (t->event, tn_clock_now (t->machine->clock) + STROKE_NS);
  if (t->machine->loading)
    return;
  stroke = g_array_index (t->strokes, Stroke, t->next);
  if (stroke.waits && is_held (t))
    return;
  t->next++;
  tn_machine_send_key (t->machine, stroke.key, stroke.down);
}

TnTypist *
tn_typist_new (TnMachine *m)
{
  TnTypist *t = g_new0 (TnTypist, 1);

  t->machine = m;
  t->held_since = TN_TIME_NEVER;
  t->strokes = g_array_new (FALSE, FALSE, sizeof (Stroke));
  t->event = tn_event_new (m->clock, strike, t);
  return t;
}

void
tn_typist_free (TnTypist *t)
{
  if (t == NULL)
    return;
  tn_event_free (t->event);
  g_array_unref (t->strokes);
  g_free (t);
}

static void
queue (TnTypist *t, TnKey key, bool down, bool waits)
{
  Stroke stroke = { key, down, waits };

  if (t->strokes->len >= STROKES_MAX)
    return;
  if (t->strokes->len == 0)
    tn_event_set (t->event, tn_clock_now (t->machine->clock));
  g_array_append_val (t->strokes, stroke);
}

static TnKey
level_key (TnKeyLevel level)
{
  return level == TN_LEVEL_SHIFT   ? TN_KEY_LEFT_SHIFT
         : level == TN_LEVEL_ALTGR ? TN_KEY_RIGHT_ALT
                                   : TN_KEY_NONE;
}

static void
queue_character (TnTypist *t, const TnKeyStroke *stroke)
{
  TnKey with = level_key (stroke->level);

  if (with != TN_KEY_NONE)
    queue (t, with, true, true);
  queue (t, stroke->key, true, with == TN_KEY_NONE);
  queue (t, stroke->key, false, false);
  if (with != TN_KEY_NONE)
    queue (t, with, false, false);
  if (stroke->dead)
    {
      queue (t, TN_KEY_SPACE, true, false);
      queue (t, TN_KEY_SPACE, false, false);
    }
}

unsigned
tn_machine_type (TnMachine *m, const char *text)
{
  TnTypist *t = m->typist;
  unsigned missing = 0;

  if (!g_utf8_validate (text, -1, NULL))
    return strlen (text);
  for (; *text; text = g_utf8_next_char (text))
    {
      gunichar c = g_utf8_get_char (text);
      TnKeyStroke stroke;

      if (c == '\r' && text[1] == '\n')
        continue;
      if (tn_keymap_character (t->layout, c, &stroke))
        queue_character (t, &stroke);
      else
        missing++;
    }
  return missing;
}

static bool
holds (const TnKey *keys, unsigned n, TnKey left, TnKey right)
{
  for (unsigned i = 0; i < n; i++)
    if (keys[i] == left || keys[i] == right)
      return true;
  return false;
}

void
tn_machine_press (TnMachine *m, const TnKey *keys, unsigned n)
{
  TnTypist *t = m->typist;
  bool restarts = holds (keys, n, TN_KEY_LEFT_CTRL, TN_KEY_RIGHT_CTRL)
                  && holds (keys, n, TN_KEY_LEFT_ALT, TN_KEY_RIGHT_ALT)
                  && holds (keys, n, TN_KEY_DELETE, TN_KEY_KP_DECIMAL);

  /* It is meant for a guest that hangs: not behind a text that the guest does not take. */
  if (restarts && t->held_since != TN_TIME_NEVER)
    {
      g_array_set_size (t->strokes, 0);
      t->next = 0;
      t->held_since = TN_TIME_NEVER;
    }
  for (unsigned i = 0; i < n; i++)
    queue (t, keys[i], true, false);
  while (n-- > 0)
    queue (t, keys[n], false, false);
}

void
tn_machine_set_keyboard (TnMachine *m, unsigned layout)
{
  m->typist->layout = layout;
}

/* ---- Keys of a back end ---- */

typedef struct {
  TnResource resource;
  bool down[KEYS];
  uint32_t keysym[KEYS]; /* that pressed it */
} InputSource;

static void
send (InputSource *source, TnKey key, bool down)
{
  if (key == TN_KEY_NONE || key >= KEYS || (!down && !source->down[key]))
    return;
  source->down[key] = down;
  tn_machine_send_key (source->resource.owner->device->machine, key, down);
}

static void
release_all (InputSource *source)
{
  for (unsigned key = 0; key < KEYS; key++)
    {
      send (source, key, false);
      source->keysym[key] = 0;
    }
}

static void
input_source_free (TnResource *resource)
{
  release_all ((InputSource *) resource);
  g_free (resource);
}

static const TnResourceClass input_source_class = { .kind = "keys", .free = input_source_free };

static InputSource *
get_source (TnDevice *device)
{
  InputSource *source = (InputSource *) tn_ledger_nth (device->instance, &input_source_class, 0);

  if (source == NULL)
    {
      source = g_new0 (InputSource, 1);
      tn_resource_init (&source->resource, &input_source_class, device->instance);
    }
  return source;
}

void
tn_device_send_key (TnDevice *device, TnKey key, bool down)
{
  g_return_if_fail (device != NULL);
  send (get_source (device), key, down);
}

void
tn_device_release_keys (TnDevice *device)
{
  g_return_if_fail (device != NULL);
  release_all (get_source (device));
}

/* Keys that are in the way of a character, or missing for it: changed for the stroke alone. */
static void
send_with_level (InputSource *source, const TnKeyStroke *stroke)
{
  static const uint8_t modifiers[] = { TN_KEY_LEFT_SHIFT, TN_KEY_RIGHT_SHIFT, TN_KEY_RIGHT_ALT };
  bool held[3], shift, altgr;
  TnKey with;

  for (unsigned n = 0; n < 3; n++)
    held[n] = source->down[modifiers[n]];
  shift = held[0] || held[1];
  altgr = held[2];
  if (stroke->letter
      || (shift == (stroke->level == TN_LEVEL_SHIFT) && altgr == (stroke->level == TN_LEVEL_ALTGR)))
    {
      send (source, stroke->key, true);
      return;
    }
  for (unsigned n = 0; n < 3; n++)
    if (held[n])
      send (source, modifiers[n], false);
  with = level_key (stroke->level);
  send (source, with, true);
  send (source, stroke->key, true);
  send (source, with, false);
  for (unsigned n = 0; n < 3; n++)
    if (held[n])
      send (source, modifiers[n], true);
}

void
tn_device_send_keysym (TnDevice *device, uint32_t keysym, bool down)
{
  InputSource *source;
  TnKeyStroke stroke;
  bool printable;

  g_return_if_fail (device != NULL);
  source = get_source (device);
  /* What is let go may be called otherwise by now, as Shift has changed. */
  for (unsigned key = 0; key < KEYS && !down; key++)
    if (source->keysym[key] == keysym && keysym != 0)
      {
        source->keysym[key] = 0;
        send (source, key, false);
        return;
      }
  if (!tn_keymap_keysym (device->machine->typist->layout, keysym, &stroke, &printable))
    return;
  if (down)
    source->keysym[stroke.key] = keysym;
  if (down && printable)
    send_with_level (source, &stroke);
  else
    send (source, stroke.key, down);
}

void
tn_device_send_pointer (TnDevice *device, const TnPointerEvent *event)
{
  g_return_if_fail (device != NULL && event != NULL);
  tn_machine_send_pointer (device->machine, event);
}

void
tn_device_type (TnDevice *device, const char *text)
{
  unsigned missing;

  g_return_if_fail (device != NULL && text != NULL);
  missing = tn_machine_type (device->machine, text);
  if (missing > 0)
    tn_device_log (device, TN_LOG_WARNING, "%u characters are not on the keyboard", missing);
}
