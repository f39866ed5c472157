/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "viewer.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define RECTS_MAX 256
#define EVENTS_MAX 4096 /* what comes faster than the machine takes it is dropped */

/* ---- Events, on the machine's side ---- */

static void
new_title (Viewer *v)
{
  char *title = tn_device_machine_title (v->device), *old;

  g_mutex_lock (&v->lock);
  old = v->title;
  v->title = title;
  g_mutex_unlock (&v->lock);
  g_free (old);
  if (v->wake)
    v->wake (v->self);
}

static void
serve (Viewer *v, const ViewerEvent *event)
{
  switch (event->kind)
    {
    case VIEWER_KEY: tn_device_send_key (v->device, event->value, event->down); break;
    case VIEWER_KEYSYM: tn_device_send_keysym (v->device, event->value, event->down); break;
    case VIEWER_RELEASE: tn_device_release_keys (v->device); break;
    case VIEWER_POINTER: tn_device_send_pointer (v->device, &event->pointer); break;
    case VIEWER_TYPE: tn_device_type (v->device, event->text); break;
    case VIEWER_LOOK: tn_device_show (v->device, v->card, event->value); break;
    case VIEWER_TITLE: new_title (v); break;
    case VIEWER_CLOSE: tn_device_request_poweroff (v->device); break;
    }
}

static void
events_ready (void *self, int fd, unsigned condition, void *data)
{
  Viewer *v = data;
  GArray *events;
  uint64_t count;

  if (read (fd, &count, sizeof count) < 0)
    return;
  g_mutex_lock (&v->lock);
  events = v->events;
  v->events = g_array_new (FALSE, FALSE, sizeof (ViewerEvent));
  g_mutex_unlock (&v->lock);
  for (unsigned n = 0; n < events->len; n++)
    {
      ViewerEvent *event = &g_array_index (events, ViewerEvent, n);

      serve (v, event);
      g_free (event->text);
    }
  g_array_unref (events);
}

/* ---- Life ---- */

bool
viewer_init (Viewer *v, TnDevice *device, const char *card, void (*wake) (void *self), void *self,
             GError **error)
{
  v->device = device;
  v->card = card;
  v->wake = wake;
  v->self = self;
  v->event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (v->event_fd < 0)
    return tn_device_fail (device, error, TN_ERROR_IO, "eventfd: %s", g_strerror (errno));
  g_mutex_init (&v->lock);
  v->rects = g_array_new (FALSE, FALSE, sizeof (TnRect));
  v->events = g_array_new (FALSE, FALSE, sizeof (ViewerEvent));
  v->watch = tn_device_watch_fd (device, v->event_fd, G_IO_IN, events_ready, v);
  return true;
}

void
viewer_finish (Viewer *v)
{
  if (v->rects == NULL)
    return;
  tn_watch_free (v->watch);
  close (v->event_fd);
  for (unsigned n = 0; n < v->events->len; n++)
    g_free (g_array_index (v->events, ViewerEvent, n).text);
  g_array_unref (v->events);
  g_array_unref (v->rects);
  g_free (v->pixels);
  g_free (v->title);
  g_mutex_clear (&v->lock);
  v->rects = NULL;
}

/* ---- The picture ---- */

static void
copy_rect (Viewer *v, const TnScreen *screen, const TnRect *rect)
{
  for (uint32_t y = rect->y; y < rect->y + rect->height; y++)
    {
      size_t at = (size_t) y * screen->width + rect->x;

      memcpy (v->pixels + at, screen->pixels + at, rect->width * sizeof *v->pixels);
    }
}

void
viewer_update (Viewer *v, const TnScreen *screen, const TnRect *rects, unsigned n, bool all)
{
  TnRect whole = { 0, 0, screen->width, screen->height };

  g_mutex_lock (&v->lock);
  if (v->width != screen->width || v->height != screen->height)
    {
      g_free (v->pixels);
      v->pixels = g_new0 (uint32_t, MAX ((size_t) screen->width * screen->height, 1));
      v->width = screen->width;
      v->height = screen->height;
      all = true;
    }
  v->aspect_x = screen->aspect_x;
  v->aspect_y = screen->aspect_y;
  for (unsigned i = 0; i < n && !all; i++)
    copy_rect (v, screen, &rects[i]);
  if (all)
    copy_rect (v, screen, &whole);
  if (all || v->rects->len + n > RECTS_MAX)
    {
      g_array_set_size (v->rects, 0);
      g_array_append_val (v->rects, whole);
      v->all |= all;
    }
  else
    g_array_append_vals (v->rects, rects, n);
  g_mutex_unlock (&v->lock);
  if (v->wake)
    v->wake (v->self);
}

/* ---- From the thread ---- */

void
viewer_post (Viewer *v, const ViewerEvent *event)
{
  static const uint64_t one = 1;
  bool taken;

  g_mutex_lock (&v->lock);
  taken = v->events->len < EVENTS_MAX;
  if (taken)
    g_array_append_vals (v->events, event, 1);
  g_mutex_unlock (&v->lock);
  if (!taken)
    g_free (event->text);
  else if (write (v->event_fd, &one, sizeof one) < 0)
    return; /* it is full, and the other side awake */
}

void
viewer_post_key (Viewer *v, ViewerEventKind kind, uint32_t value, bool down)
{
  ViewerEvent event = { .kind = kind, .value = value, .down = down };

  viewer_post (v, &event);
}
