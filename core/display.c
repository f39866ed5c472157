/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pictures between video cards and those who show them.  A screen belongs to a card's name and
 * lives as long as the machine; the card's display is whoever draws on it now, viewers are the
 * display back ends.
 *
 *   source on the main context, host's time
 *     -> viewers that are due -> the card's refresh () -> rectangles into all viewers' lists
 *     -> update () of those that are due
 *
 * No virtual time is involved, so that a counted machine runs the same whoever looks.
 */
#include "internal.h"

#include <tenon/display.h>

#define RECTS_MAX 64

typedef struct {
  TnMachine *machine;
  char *name;
  TnDisplay *front; /* NULL: nobody draws */
  TnScreen screen;  /* pixels and cells point to the two below */
  uint32_t *pixels;
  TnTextCell *cells;
  size_t n_cells;
} Screen;

struct TnDisplay {
  TnResource resource;
  Screen *screen;
  TnRefreshFunc refresh;
  void *data;
};

typedef struct {
  TnResource resource;
  char *card;
  unsigned hz;
  int64_t due; /* host's monotonic time, us */
  Screen *shown;
  GArray *rects; /* TnRect: not shown yet */
  bool all;
} Viewer;

struct TnDisplayHub {
  TnMachine *machine;
  GPtrArray *screens;
  GPtrArray *viewers;
  GSource *source;
};

/* ---- Screens ---- */

static void
screen_free (void *data)
{
  Screen *screen = data;

  g_free (screen->name);
  g_free (screen->pixels);
  g_free (screen->cells);
  g_free (screen);
}

static Screen *
find_screen (TnMachine *m, const char *name)
{
  GPtrArray *screens = m->displays->screens;

  for (unsigned n = 0; n < screens->len; n++)
    {
      Screen *screen = screens->pdata[n];

      if (name == NULL ? screen->front != NULL : strcmp (screen->name, name) == 0)
        return screen;
    }
  return NULL;
}

static Screen *
get_screen (TnMachine *m, const char *name)
{
  Screen *screen = find_screen (m, name);

  if (screen != NULL)
    return screen;
  screen = g_new0 (Screen, 1);
  screen->machine = m;
  screen->name = g_strdup (name);
  screen->screen.cursor = -1;
  g_ptr_array_add (m->displays->screens, screen);
  return screen;
}

/* Small pictures that are not of a monitor's shape have pixels that are not square. */
static void
set_aspect (TnScreen *s)
{
  bool square = s->width * s->height > 720 * 480 || s->width * 3 == s->height * 4;

  s->aspect_x = square ? s->width : 4;
  s->aspect_y = square ? s->height : 3;
}

static void
all_new (Screen *screen)
{
  GPtrArray *viewers = screen->machine->displays->viewers;

  for (unsigned n = 0; n < viewers->len; n++)
    {
      Viewer *viewer = viewers->pdata[n];

      if (viewer->shown == screen)
        viewer->all = true;
    }
}

uint32_t *
tn_display_mode (TnDisplay *display, uint32_t width, uint32_t height)
{
  Screen *screen;
  TnScreen *s;

  g_return_val_if_fail (display != NULL, NULL);
  screen = display->screen;
  s = &screen->screen;
  width = MIN (width, TN_DISPLAY_MAX_WIDTH);
  height = MIN (height, TN_DISPLAY_MAX_HEIGHT);
  if (width == 0 || height == 0)
    width = height = 0;
  if (s->width == width && s->height == height && screen->pixels != NULL)
    return screen->pixels;
  g_free (screen->pixels);
  screen->pixels = g_new0 (uint32_t, MAX ((size_t) width * height, 1));
  s->width = width;
  s->height = height;
  s->pixels = screen->pixels;
  set_aspect (s);
  all_new (screen);
  return screen->pixels;
}

static bool
touch (const TnRect *a, const TnRect *b)
{
  return a->x <= b->x + b->width && b->x <= a->x + a->width && a->y <= b->y + b->height
         && b->y <= a->y + a->height;
}

static void
unite (TnRect *a, const TnRect *b)
{
  uint32_t right = MAX (a->x + a->width, b->x + b->width);
  uint32_t bottom = MAX (a->y + a->height, b->y + b->height);

  a->x = MIN (a->x, b->x);
  a->y = MIN (a->y, b->y);
  a->width = right - a->x;
  a->height = bottom - a->y;
}

static void
add_rect (GArray *rects, const TnRect *rect)
{
  TnRect *last = rects->len ? &g_array_index (rects, TnRect, rects->len - 1) : NULL;

  if (last != NULL && (rects->len == RECTS_MAX || touch (last, rect)))
    unite (last, rect);
  else
    g_array_append_vals (rects, rect, 1);
}

void
tn_display_dirty (TnDisplay *display, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
  Screen *screen;
  TnRect rect;

  g_return_if_fail (display != NULL);
  screen = display->screen;
  if (x >= screen->screen.width || y >= screen->screen.height || width == 0 || height == 0)
    return;
  rect = (TnRect){ x, y, MIN (width, screen->screen.width - x),
                   MIN (height, screen->screen.height - y) };
  for (unsigned n = 0; n < screen->machine->displays->viewers->len; n++)
    {
      Viewer *viewer = screen->machine->displays->viewers->pdata[n];

      if (viewer->shown == screen && !viewer->all)
        add_rect (viewer->rects, &rect);
    }
}

TnTextCell *
tn_display_text (TnDisplay *display, uint32_t columns, uint32_t rows, int32_t cursor)
{
  Screen *screen;
  TnScreen *s;
  size_t n = (size_t) columns * rows;

  g_return_val_if_fail (
      display != NULL && columns <= TN_DISPLAY_MAX_WIDTH && rows <= TN_DISPLAY_MAX_HEIGHT, NULL);
  screen = display->screen;
  s = &screen->screen;
  if (n == 0)
    columns = rows = 0;
  if (n != screen->n_cells || screen->cells == NULL)
    {
      g_free (screen->cells);
      screen->cells = g_new0 (TnTextCell, MAX (n, 1));
      screen->n_cells = n;
      s->cells = screen->cells;
    }
  if (s->columns != columns || s->rows != rows)
    all_new (screen);
  s->columns = columns;
  s->rows = rows;
  s->cursor = cursor >= 0 && (size_t) cursor < n ? cursor : -1;
  return screen->cells;
}

/* ---- Front ends ---- */

static void
display_detach (TnResource *resource)
{
  TnDisplay *display = (TnDisplay *) resource;

  if (display->screen->front == display)
    display->screen->front = NULL;
}

static void
display_attach (TnResource *resource)
{
  TnDisplay *display = (TnDisplay *) resource;

  display->screen->front = display;
}

static void
display_free (TnResource *resource)
{
  display_detach (resource);
  g_free (resource);
}

static void
display_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  const TnScreen *s = &((TnDisplay *) resource)->screen->screen;
  char size[32];

  g_snprintf (size, sizeof size, "%ux%u", s->width, s->height);
  func (data, "display", 0, 0, size);
}

static const TnResourceClass display_class = { .kind = "display",
                                               .detach = display_detach,
                                               .attach = display_attach,
                                               .free = display_free,
                                               .describe = display_describe };

TnDisplay *
tn_device_display_new (TnDevice *device, TnRefreshFunc refresh, void *data)
{
  TnDisplay *display;

  g_return_val_if_fail (device != NULL && refresh != NULL, NULL);
  display = g_new0 (TnDisplay, 1);
  display->screen = get_screen (device->machine, device->name);
  display->refresh = refresh;
  display->data = data;
  tn_resource_init (&display->resource, &display_class, device->instance);
  display_attach (&display->resource);
  return display;
}

static void
refresh (Screen *screen)
{
  TnDisplay *front = screen->front;

  if (front != NULL && screen->machine->loading == 0 && front->resource.owner->realized)
    front->refresh (front->resource.owner->self, front, front->data);
}

/* ---- Viewers ---- */

static void
viewer_update (Viewer *viewer)
{
  TnInstance *owner = viewer->resource.owner;
  const TnDisplayOps *ops = owner->plugin->display_ops;
  bool all = viewer->all;

  if (!owner->realized || (!all && viewer->rects->len == 0))
    return;
  viewer->all = false;
  ops->update (owner->self, &viewer->shown->screen, (const TnRect *) (void *) viewer->rects->data,
               viewer->rects->len, all);
  g_array_set_size (viewer->rects, 0);
}

static void
serve (TnDisplayHub *hub, Viewer *viewer, int64_t now)
{
  Screen *screen = find_screen (hub->machine, viewer->card);

  viewer->due = now + G_USEC_PER_SEC / viewer->hz;
  if (screen == NULL || hub->machine->loading)
    return;
  if (viewer->shown != screen)
    {
      viewer->shown = screen;
      viewer->all = true;
    }
  refresh (screen);
  viewer_update (viewer);
}

static int64_t
next_due (TnDisplayHub *hub)
{
  int64_t due = -1;

  for (unsigned n = 0; n < hub->viewers->len; n++)
    {
      Viewer *viewer = hub->viewers->pdata[n];

      if (viewer->hz > 0 && (due < 0 || viewer->due < due))
        due = viewer->due;
    }
  return due;
}

static gboolean
tick (void *data)
{
  TnDisplayHub *hub = data;
  int64_t now = g_get_monotonic_time ();

  tn_machine_lock (hub->machine);
  for (unsigned n = 0; n < hub->viewers->len; n++)
    {
      Viewer *viewer = hub->viewers->pdata[n];

      if (viewer->hz > 0 && viewer->due <= now)
        serve (hub, viewer, now);
    }
  g_source_set_ready_time (hub->source, next_due (hub));
  tn_machine_unlock (hub->machine);
  return G_SOURCE_CONTINUE;
}

static void
viewer_detach (TnResource *resource)
{
  Viewer *viewer = (Viewer *) resource;

  g_ptr_array_remove (viewer->resource.owner->device->machine->displays->viewers, viewer);
}

static void
viewer_attach (TnResource *resource)
{
  Viewer *viewer = (Viewer *) resource;
  TnDisplayHub *hub = viewer->resource.owner->device->machine->displays;

  g_ptr_array_add (hub->viewers, viewer);
  viewer->all = true;
  g_source_set_ready_time (hub->source, next_due (hub));
}

static void
viewer_free (TnResource *resource)
{
  Viewer *viewer = (Viewer *) resource;

  viewer_detach (resource);
  g_array_unref (viewer->rects);
  g_free (viewer->card);
  g_free (viewer);
}

static void
viewer_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  Viewer *viewer = (Viewer *) resource;

  func (data, "viewer", viewer->hz, 0, viewer->shown ? viewer->shown->name : viewer->card);
}

static const TnResourceClass viewer_class = { .kind = "viewer",
                                              .detach = viewer_detach,
                                              .attach = viewer_attach,
                                              .free = viewer_free,
                                              .describe = viewer_describe };

void
tn_device_show (TnDevice *device, const char *card, unsigned hz)
{
  Viewer *viewer;

  g_return_if_fail (device != NULL && device->instance->plugin->kind == TN_KIND_DISPLAY);
  viewer = (Viewer *) tn_ledger_nth (device->instance, &viewer_class, 0);
  if (viewer == NULL)
    {
      viewer = g_new0 (Viewer, 1);
      viewer->rects = g_array_new (FALSE, FALSE, sizeof (TnRect));
      tn_resource_init (&viewer->resource, &viewer_class, device->instance);
      viewer_attach (&viewer->resource);
    }
  if (g_strcmp0 (viewer->card, card) != 0)
    {
      g_free (viewer->card);
      viewer->card = g_strdup (card && *card ? card : NULL);
    }
  /* Who begins to look again has missed what changed meanwhile. */
  if (viewer->hz == 0)
    viewer->all = true;
  viewer->hz = MIN (hz, 240);
  viewer->due = g_get_monotonic_time ();
  g_source_set_ready_time (device->machine->displays->source, next_due (device->machine->displays));
}

char *
tn_device_machine_title (TnDevice *device)
{
  TnMachine *m;

  g_return_val_if_fail (device != NULL, NULL);
  m = device->machine;
  return m->hooks.title ? m->hooks.title (m->opaque) : g_strdup ("Tenon");
}

/* ---- For screenshots and tests ---- */

const TnScreen *
tn_machine_screen (TnMachine *m, const char *card, GError **error)
{
  Screen *screen = find_screen (m, card);

  if (screen == NULL || screen->front == NULL)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_MISSING,
                   card ? "%s has no display" : "%sno device has a display", card ? card : "");
      return NULL;
    }
  refresh (screen);
  return &screen->screen;
}

char *
tn_screen_text (const TnScreen *screen)
{
  GString *text = g_string_new (NULL);

  for (uint32_t y = 0; y < screen->rows; y++)
    {
      gsize end = text->len;

      for (uint32_t x = 0; x < screen->columns; x++)
        {
          gunichar c = screen->cells[y * screen->columns + x].character;

          g_string_append_unichar (text, c ? c : ' ');
          if (c != ' ' && c != 0)
            end = text->len;
        }
      g_string_truncate (text, end);
      g_string_append_c (text, '\n');
    }
  return g_string_free (text, FALSE);
}

/* ---- Hub ---- */

static gboolean
dispatch (GSource *source, GSourceFunc func, void *data)
{
  g_source_set_ready_time (source, -1);
  return func (data);
}

TnDisplayHub *
tn_display_hub_new (TnMachine *m)
{
  static GSourceFuncs funcs = { .dispatch = dispatch };
  TnDisplayHub *hub = g_new0 (TnDisplayHub, 1);

  hub->machine = m;
  hub->screens = g_ptr_array_new_with_free_func (screen_free);
  hub->viewers = g_ptr_array_new ();
  hub->source = g_source_new (&funcs, sizeof (GSource));
  g_source_set_callback (hub->source, tick, hub, NULL);
  g_source_attach (hub->source, m->context);
  return hub;
}

void
tn_display_hub_free (TnDisplayHub *hub)
{
  if (hub == NULL)
    return;
  g_source_destroy (hub->source);
  g_source_unref (hub->source);
  g_ptr_array_unref (hub->viewers);
  g_ptr_array_unref (hub->screens);
  g_free (hub);
}
