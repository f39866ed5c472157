/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Display back end: a window, by SDL 2.
 *
 * SDL runs on one thread of this plugin from SDL_Init () to SDL_Quit (): it wants all calls from
 * the same one.  In a swap the new build opens its window when the old one's is gone, with the
 * first picture that it gets.
 *
 * Scaling keeps the picture's shape and sharp pixels: it is enlarged to the next whole multiple
 * without smoothing and then, if the window is not such a multiple, reduced with smoothing.
 */
#include "../lib/viewer.h"

#include <SDL.h>
#include <string.h>

#define TITLE_MS 500
#define SCALE_MAX 8

typedef struct {
  TnDevice *device;
  const char *card;
  bool optional, full_screen;
  uint32_t rate;

  Viewer viewer;
  GThread *thread;
  bool running; /* a window was opened */
  bool ending;  /* under the viewer's lock */
  uint32_t wake_event;

  /* Of the thread: */
  SDL_Window *window;
  SDL_Renderer *renderer;
  SDL_Texture *picture, *enlarged;
  uint32_t width, height, aspect_x, aspect_y;
  int scale_x, scale_y;           /* of `enlarged` */
  uint32_t fit_width, fit_height; /* that the window was given */
  bool grabbed, sized_by_user, full;
  bool swallow[SDL_NUM_SCANCODES]; /* went to a command: its release goes nowhere, too */
  uint32_t title_due;
} Window;

typedef struct {
  Window *window;
  GMutex lock;
  GCond cond;
  bool done;
  char *error; /* NULL: it is open */
} Start;

/* ---- Grabbing ---- */

static void
set_grab (Window *w, bool on)
{
  if (w->grabbed == on)
    return;
  w->grabbed = on;
  SDL_SetRelativeMouseMode (on);
  SDL_SetWindowKeyboardGrab (w->window, on);
  SDL_SetWindowMouseGrab (w->window, on);
  w->title_due = 0;
}

/* ---- Drawing ---- */

static SDL_Rect
destination (const Window *w)
{
  SDL_Rect r = { 0 };
  int width, height;

  SDL_GetRendererOutputSize (w->renderer, &width, &height);
  r.w = width;
  r.h = (int64_t) width * w->aspect_y / w->aspect_x;
  if (r.h > height)
    {
      r.h = height;
      r.w = (int64_t) height * w->aspect_x / w->aspect_y;
    }
  r.x = (width - r.w) / 2;
  r.y = (height - r.h) / 2;
  return r;
}

static int
whole_scale (int size, uint32_t of)
{
  return CLAMP ((size + (int) of - 1) / (int) of, 1, SCALE_MAX);
}

/* A texture for the enlarged picture, or NULL if there is no need or no way. */
static SDL_Texture *
get_enlarged (Window *w, const SDL_Rect *to)
{
  int x = whole_scale (to->w, w->width), y = whole_scale (to->h, w->height);

  if (to->w == x * (int) w->width && to->h == y * (int) w->height)
    return NULL;
  if (w->enlarged && x == w->scale_x && y == w->scale_y)
    return w->enlarged;
  if (w->enlarged)
    SDL_DestroyTexture (w->enlarged);
  w->scale_x = x;
  w->scale_y = y;
  w->enlarged = SDL_CreateTexture (w->renderer, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_TARGET,
                                   x * w->width, y * w->height);
  if (w->enlarged)
    SDL_SetTextureScaleMode (w->enlarged, SDL_ScaleModeLinear);
  return w->enlarged;
}

static void
draw (Window *w)
{
  SDL_Texture *enlarged;
  SDL_Rect to;

  SDL_SetRenderDrawColor (w->renderer, 0, 0, 0, 255);
  SDL_RenderClear (w->renderer);
  if (w->picture)
    {
      to = destination (w);
      enlarged = get_enlarged (w, &to);
      if (enlarged && SDL_SetRenderTarget (w->renderer, enlarged) == 0)
        {
          SDL_RenderCopy (w->renderer, w->picture, NULL, NULL);
          SDL_SetRenderTarget (w->renderer, NULL);
          SDL_RenderCopy (w->renderer, enlarged, NULL, &to);
        }
      else
        SDL_RenderCopy (w->renderer, w->picture, NULL, &to);
    }
  SDL_RenderPresent (w->renderer);
}

/* ---- The picture's size ---- */

/* Small pictures are doubled, and given their shape. */
static void
fit_window (Window *w)
{
  uint32_t scale = w->width <= 400 ? 2 : 1;
  uint32_t width = w->width * scale, height = w->height * scale;

  if ((uint64_t) width * w->aspect_y > (uint64_t) height * w->aspect_x)
    height = (uint64_t) width * w->aspect_y / w->aspect_x;
  else
    width = (uint64_t) height * w->aspect_x / w->aspect_y;
  if (w->sized_by_user || w->full)
    return;
  w->fit_width = width;
  w->fit_height = height;
  SDL_SetWindowSize (w->window, width, height);
}

static void
new_size (Window *w)
{
  Viewer *v = &w->viewer;
  bool same = w->picture && w->width == v->width && w->height == v->height;

  w->aspect_x = v->aspect_x;
  w->aspect_y = v->aspect_y;
  if (same)
    return;
  w->width = v->width;
  w->height = v->height;
  if (w->picture)
    SDL_DestroyTexture (w->picture);
  if (w->enlarged)
    SDL_DestroyTexture (w->enlarged);
  w->picture = w->enlarged = NULL;
  if (w->width == 0)
    return;
  w->picture = SDL_CreateTexture (w->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING,
                                  w->width, w->height);
  if (w->picture)
    SDL_SetTextureScaleMode (w->picture, SDL_ScaleModeNearest);
  fit_window (w);
}

static void
take_picture (Window *w)
{
  Viewer *v = &w->viewer;
  SDL_Rect whole = { 0 };

  g_mutex_lock (&v->lock);
  new_size (w);
  for (unsigned n = 0; n < v->rects->len && w->picture; n++)
    {
      const TnRect *r = &g_array_index (v->rects, TnRect, n);

      whole = (SDL_Rect){ r->x, r->y, r->width, r->height };
      SDL_UpdateTexture (w->picture, &whole, v->pixels + (size_t) r->y * v->width + r->x,
                         v->width * sizeof *v->pixels);
    }
  g_array_set_size (v->rects, 0);
  v->all = false;
  if (v->title)
    {
      g_autofree char *title = g_strdup_printf (
          "%s%s", v->title, w->grabbed ? " - Ctrl+Alt+G gives the mouse back" : "");

      SDL_SetWindowTitle (w->window, title);
      g_clear_pointer (&v->title, g_free);
    }
  g_mutex_unlock (&v->lock);
  draw (w);
}

/* ---- Keys and mouse ---- */

static void
paste (Window *w)
{
  char *text = SDL_GetClipboardText ();
  ViewerEvent event = { .kind = VIEWER_TYPE };

  if (text && *text)
    {
      event.text = g_strdup (text);
      viewer_post (&w->viewer, &event);
    }
  SDL_free (text);
}

static void
toggle_full_screen (Window *w)
{
  w->full = !w->full;
  SDL_SetWindowFullscreen (w->window, w->full ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
  if (!w->full && w->picture)
    fit_window (w);
}

/* Ctrl+Alt with one of these is for the window.  Returns whether it was. */
static bool
command (Window *w, const SDL_KeyboardEvent *key)
{
  if (!(key->keysym.mod & KMOD_CTRL) || !(key->keysym.mod & KMOD_ALT))
    return false;
  switch (key->keysym.scancode)
    {
    case SDL_SCANCODE_G: set_grab (w, !w->grabbed); break;
    case SDL_SCANCODE_F: toggle_full_screen (w); break;
    case SDL_SCANCODE_V: paste (w); break;
    case SDL_SCANCODE_0:
      w->sized_by_user = false;
      if (w->picture)
        fit_window (w);
      break;
    default: return false;
    }
  w->swallow[key->keysym.scancode] = true;
  viewer_post_key (&w->viewer, VIEWER_RELEASE, 0, false);
  return true;
}

/* SDL's scan codes are usages of the USB HID tables, as TnKey is. */
static void
key_event (Window *w, const SDL_KeyboardEvent *key)
{
  bool down = key->type == SDL_KEYDOWN;
  SDL_Scancode code = key->keysym.scancode;

  if (key->repeat || code <= 0 || (int) code > TN_KEY_LAST || (down && command (w, key)))
    return;
  if (!down && w->swallow[code])
    {
      w->swallow[code] = false;
      return;
    }
  viewer_post_key (&w->viewer, VIEWER_KEY, code, down);
}

static uint32_t
buttons (uint32_t state)
{
  return (state & SDL_BUTTON_LMASK ? TN_BUTTON_LEFT : 0)
         | (state & SDL_BUTTON_RMASK ? TN_BUTTON_RIGHT : 0)
         | (state & SDL_BUTTON_MMASK ? TN_BUTTON_MIDDLE : 0)
         | (state & SDL_BUTTON_X1MASK ? TN_BUTTON_SIDE : 0)
         | (state & SDL_BUTTON_X2MASK ? TN_BUTTON_EXTRA : 0);
}

static void
post_pointer (Window *w, int dx, int dy, int wheel)
{
  ViewerEvent event = {
    .kind = VIEWER_POINTER,
    .pointer
    = { .dx = dx, .dy = dy, .wheel = wheel, .buttons = buttons (SDL_GetMouseState (NULL, NULL)) }
  };

  viewer_post (&w->viewer, &event);
}

static void
window_event (Window *w, const SDL_WindowEvent *event)
{
  switch (event->event)
    {
    case SDL_WINDOWEVENT_FOCUS_LOST:
      set_grab (w, false);
      viewer_post_key (&w->viewer, VIEWER_RELEASE, 0, false);
      break;
    case SDL_WINDOWEVENT_RESIZED: /* by the user or the window manager, not by fit_window () */
      w->sized_by_user
          |= !w->full
             && (event->data1 != (int) w->fit_width || event->data2 != (int) w->fit_height);
      draw (w);
      break;
    case SDL_WINDOWEVENT_MINIMIZED: viewer_post_key (&w->viewer, VIEWER_LOOK, 0, false); break;
    case SDL_WINDOWEVENT_RESTORED:
    case SDL_WINDOWEVENT_MAXIMIZED:
      viewer_post_key (&w->viewer, VIEWER_LOOK, w->rate, false);
      break;
    case SDL_WINDOWEVENT_EXPOSED: draw (w); break;
    }
}

static void
handle (Window *w, const SDL_Event *event)
{
  switch (event->type)
    {
    case SDL_KEYDOWN:
    case SDL_KEYUP: key_event (w, &event->key); break;
    case SDL_MOUSEMOTION:
      if (w->grabbed)
        post_pointer (w, event->motion.xrel, event->motion.yrel, 0);
      break;
    case SDL_MOUSEBUTTONDOWN:
      if (!w->grabbed)
        set_grab (w, true);
      else
        post_pointer (w, 0, 0, 0);
      break;
    case SDL_MOUSEBUTTONUP:
      if (w->grabbed)
        post_pointer (w, 0, 0, 0);
      break;
    case SDL_MOUSEWHEEL:
      if (w->grabbed)
        post_pointer (w, 0, 0, event->wheel.y);
      break;
    case SDL_WINDOWEVENT: window_event (w, &event->window); break;
    case SDL_QUIT: viewer_post_key (&w->viewer, VIEWER_CLOSE, 0, false); break;
    default:
      if (event->type == w->wake_event)
        take_picture (w);
    }
}

/* ---- Thread ---- */

static bool
open_window (Window *w)
{
  SDL_SetHint (SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  SDL_SetHint (SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
  SDL_SetHint (SDL_HINT_GRAB_KEYBOARD, "0");
  if (SDL_WasInit (SDL_INIT_VIDEO))
    {
      SDL_SetError ("there is a window of this program already");
      return false;
    }
  if (SDL_InitSubSystem (SDL_INIT_VIDEO) < 0)
    return false;
  w->window = SDL_CreateWindow ("Tenon", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 720, 540,
                                SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
  if (w->window)
    w->renderer = SDL_CreateRenderer (w->window, -1, 0);
  if (w->window && !w->renderer)
    w->renderer = SDL_CreateRenderer (w->window, -1, SDL_RENDERER_SOFTWARE);
  if (w->renderer)
    {
      w->wake_event = SDL_RegisterEvents (1);
      if (w->full_screen)
        toggle_full_screen (w);
      return true;
    }
  if (w->window)
    SDL_DestroyWindow (w->window);
  w->window = NULL;
  SDL_QuitSubSystem (SDL_INIT_VIDEO);
  return false;
}

static void
close_window (Window *w)
{
  set_grab (w, false);
  if (w->enlarged)
    SDL_DestroyTexture (w->enlarged);
  if (w->picture)
    SDL_DestroyTexture (w->picture);
  SDL_DestroyRenderer (w->renderer);
  SDL_DestroyWindow (w->window);
  SDL_QuitSubSystem (SDL_INIT_VIDEO);
}

static bool
is_ending (Window *w)
{
  bool ending;

  g_mutex_lock (&w->viewer.lock);
  ending = w->ending;
  g_mutex_unlock (&w->viewer.lock);
  return ending;
}

static void
serve (Window *w)
{
  SDL_Event event;

  while (!is_ending (w))
    {
      if (SDL_WaitEventTimeout (&event, TITLE_MS))
        handle (w, &event);
      if (SDL_TICKS_PASSED (SDL_GetTicks (), w->title_due))
        {
          w->title_due = SDL_GetTicks () + TITLE_MS;
          viewer_post_key (&w->viewer, VIEWER_TITLE, 0, false);
        }
    }
}

static void *
run (void *data)
{
  Start *start = data;
  Window *w = start->window;
  bool open = open_window (w);

  g_mutex_lock (&start->lock);
  start->error = open ? NULL : g_strdup (SDL_GetError ());
  start->done = true;
  g_cond_signal (&start->cond);
  g_mutex_unlock (&start->lock);
  if (open)
    {
      serve (w);
      close_window (w);
    }
  SDL_TLSCleanup (); /* the thread is none of SDL's, which keeps its errors for each */
  return NULL;
}

/* Opens the window and waits for it; NULL, or why not. */
static char *
start_thread (Window *w)
{
  Start start = { .window = w };

  g_mutex_init (&start.lock);
  g_cond_init (&start.cond);
  w->thread = g_thread_new ("sdl", run, &start);
  g_mutex_lock (&start.lock);
  while (!start.done)
    g_cond_wait (&start.cond, &start.lock);
  g_mutex_unlock (&start.lock);
  g_mutex_clear (&start.lock);
  g_cond_clear (&start.cond);
  w->running = start.error == NULL;
  if (!w->running)
    {
      g_thread_join (w->thread);
      w->thread = NULL;
    }
  return start.error;
}

/* ---- Life ---- */

static void
wake (void *self)
{
  Window *w = self;
  SDL_Event event = { 0 };

  if (!w->running)
    return;
  event.type = w->wake_event;
  SDL_PushEvent (&event);
}

static bool
sdl_realize (void *self, GError **error)
{
  Window *w = self;
  g_autofree char *why = NULL;

  if (!viewer_init (&w->viewer, w->device, w->card, wake, w, error))
    return false;
  if (!tn_device_swapping (w->device) && (why = start_thread (w)) != NULL)
    {
      if (!w->optional)
        {
          viewer_finish (&w->viewer);
          return tn_device_fail (w->device, error, TN_ERROR_IO,
                                 "cannot open a window: %s; try --display vnc or none", why);
        }
      tn_device_log (w->device, TN_LOG_WARNING, "no window: %s", why);
      return true;
    }
  tn_device_show (w->device, w->card, w->rate);
  return true;
}

static void
sdl_unrealize (void *self)
{
  Window *w = self;

  if (w->running)
    {
      g_mutex_lock (&w->viewer.lock);
      w->ending = true;
      g_mutex_unlock (&w->viewer.lock);
      wake (w);
      g_thread_join (w->thread);
    }
  viewer_finish (&w->viewer);
}

static void
sdl_update (void *self, const TnScreen *screen, const TnRect *rects, unsigned n, bool all)
{
  Window *w = self;

  if (!w->running)
    {
      g_autofree char *why = start_thread (w);

      if (why)
        {
          tn_device_log (w->device, TN_LOG_ERROR, "cannot open a window: %s", why);
          tn_device_show (w->device, w->card, 0);
          return;
        }
    }
  viewer_update (&w->viewer, screen, rects, n, all);
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_STRING (Window, card, "card", "video card that is shown; the first if not given", NULL),
  TN_PROP_UINT (Window, rate, "rate", "pictures a second", 60, 1, 240),
  TN_PROP_BOOL (Window, full_screen, "full-screen", "begin with the whole screen", false),
  TN_PROP_BOOL (Window, optional, "optional", "go on without a window if there can be none", false),
  TN_PROP_END,
};

static const TnDisplayOps display_ops = { .update = sdl_update };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "display-sdl",
  .summary = "A window",
  .document = "SDL 2",
  .kind = TN_KIND_DISPLAY,
  .state_version = 1,
  .instance_size = sizeof (Window),
  .properties = props,
  .ops = { .realize = sdl_realize, .unrealize = sdl_unrealize },
  .display_ops = &display_ops,
};
