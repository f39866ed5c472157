/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Display back end: a server for VNC clients (RFB protocol, RFC 6143), by LibVNCServer.
 *
 * All of the library runs on one thread of this plugin, so that a client that stalls holds up other
 * clients for a second at most, and never the machine.  The listening socket outlives a swap of the
 * plugin; clients are cut off by it and connect again.
 *
 * VNC's pointer is absolute and the guest's mouse is relative: what goes to the guest is how far
 * the pointer went, and at an edge of the screen a whole screen more, which brings the guest's
 * pointer to that edge, too, wherever it was.  Keys come as keysyms and are looked up in the
 * guest's layout (machine.keyboard).
 */
#define _GNU_SOURCE
#include "../lib/viewer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <rfb/rfb.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define STALL_MS 1000 /* a client that does not take or finish a message so long is cut off */
#define NO_SIGNAL_WIDTH 640
#define NO_SIGNAL_HEIGHT 480
#define BUFFER_SIZE ((size_t) TN_DISPLAY_MAX_WIDTH * TN_DISPLAY_MAX_HEIGHT * 4)

typedef struct {
  TnDevice *device;
  const char *address, *password, *card;
  uint32_t port, rate;

  Viewer viewer;
  int listener, wake_fd;
  GThread *thread;
  bool ending; /* under the viewer's lock */
  /* Of the thread: */
  rfbScreenInfoPtr screen;
  char *buffer;
  char *passwords[2];
  char name[64];
  unsigned clients;
  int x, y; /* the pointer as last told */
} Vnc;

static void
wake (void *self)
{
  static const uint64_t one = 1;

  if (write (((Vnc *) self)->wake_fd, &one, sizeof one) < 0)
    return; /* awake already */
}

/* ---- Clients ---- */

static void
client_gone (rfbClientPtr client)
{
  Vnc *vnc = client->screen->screenData;

  vnc->clients--;
  viewer_post_key (&vnc->viewer, VIEWER_RELEASE, 0, false);
  if (vnc->clients == 0)
    viewer_post_key (&vnc->viewer, VIEWER_LOOK, 0, false);
}

/* Width and height in one word: what a client was told last is kept in its clientData. */
static void *
size_of (const Vnc *vnc)
{
  return GUINT_TO_POINTER ((unsigned) vnc->screen->width << 16 | (unsigned) vnc->screen->height);
}

static enum rfbNewClientAction
client_came (rfbClientPtr client)
{
  Vnc *vnc = client->screen->screenData;

  if (vnc->clients >= CLIENTS_MAX)
    return RFB_CLIENT_REFUSE;
  client->clientGoneHook = client_gone;
  client->clientData = size_of (vnc);
  vnc->clients++;
  viewer_post_key (&vnc->viewer, VIEWER_LOOK, vnc->rate, false);
  return RFB_CLIENT_ACCEPT;
}

static void
key (rfbBool down, rfbKeySym keysym, rfbClientPtr client)
{
  Vnc *vnc = client->screen->screenData;

  viewer_post_key (&vnc->viewer, VIEWER_KEYSYM, keysym, down);
}

static int
travel (int from, int to, int size)
{
  if (to == from)
    return 0;
  if (to <= 0)
    return to - from - size;
  return to >= size - 1 ? to - from + size : to - from;
}

/* RFB: bits 0 to 4 are left, middle, right, wheel up and down. */
static void
pointer (int mask, int x, int y, rfbClientPtr client)
{
  Vnc *vnc = client->screen->screenData;
  ViewerEvent event = { .kind = VIEWER_POINTER };

  event.pointer.dx = travel (vnc->x, x, vnc->screen->width);
  event.pointer.dy = travel (vnc->y, y, vnc->screen->height);
  event.pointer.wheel = (mask >> 3 & 1) - (mask >> 4 & 1);
  event.pointer.buttons = (mask & 1 ? TN_BUTTON_LEFT : 0) | (mask & 2 ? TN_BUTTON_MIDDLE : 0)
                          | (mask & 4 ? TN_BUTTON_RIGHT : 0);
  vnc->x = x;
  vnc->y = y;
  viewer_post (&vnc->viewer, &event);
  rfbDefaultPtrAddEvent (mask, x, y, client);
}

/* ---- Picture: the library's own order of bytes is red, green, blue, nothing ---- */

static void
copy_rect (Vnc *vnc, const TnRect *rect)
{
  const Viewer *v = &vnc->viewer;

  for (uint32_t y = rect->y; y < rect->y + rect->height; y++)
    {
      const uint32_t *from = v->pixels + (size_t) y * v->width + rect->x;
      uint8_t *to = (uint8_t *) vnc->buffer + 4 * ((size_t) y * v->width + rect->x);

      for (uint32_t x = 0; x < rect->width; x++, to += 4)
        {
          to[0] = from[x] >> 16;
          to[1] = from[x] >> 8;
          to[2] = from[x];
        }
    }
}

static void
take_picture (Vnc *vnc)
{
  Viewer *v = &vnc->viewer;
  uint32_t width, height;
  GArray *rects;

  g_mutex_lock (&v->lock);
  rects = v->rects;
  v->rects = g_array_new (FALSE, FALSE, sizeof (TnRect));
  width = v->width ? v->width : NO_SIGNAL_WIDTH;
  height = v->width ? v->height : NO_SIGNAL_HEIGHT;
  if (v->width == 0)
    memset (vnc->buffer, 0, 4 * (size_t) width * height);
  for (unsigned n = 0; n < rects->len; n++)
    copy_rect (vnc, &g_array_index (rects, TnRect, n));
  v->all = false;
  g_mutex_unlock (&v->lock);
  if ((int) width != vnc->screen->width || (int) height != vnc->screen->height)
    rfbNewFramebuffer (vnc->screen, vnc->buffer, width, height, 8, 3, 4);
  for (unsigned n = 0; n < rects->len; n++)
    {
      const TnRect *r = &g_array_index (rects, TnRect, n);

      rfbMarkRectAsModified (vnc->screen, r->x, r->y, r->x + r->width, r->y + r->height);
    }
  g_array_unref (rects);
}

/* The library forgets to tell of a new size who had not said yet that he understands it. */
static void
tell_sizes (Vnc *vnc)
{
  rfbClientIteratorPtr iterator = rfbGetClientIterator (vnc->screen);
  rfbClientPtr client;

  while ((client = rfbClientIteratorNext (iterator)) != NULL)
    if (client->useNewFBSize && client->clientData != size_of (vnc))
      {
        client->newFBSizePending = TRUE;
        client->clientData = size_of (vnc);
      }
  rfbReleaseClientIterator (iterator);
}

/* ---- Thread ---- */

static void
accept_client (Vnc *vnc)
{
  int fd = accept4 (vnc->listener, NULL, NULL, SOCK_CLOEXEC);

  /* select () knows no others. */
  if (fd >= FD_SETSIZE)
    close (fd);
  else if (fd >= 0)
    rfbNewClient (vnc->screen, fd);
}

static bool
is_ending (Vnc *vnc)
{
  bool ending;

  g_mutex_lock (&vnc->viewer.lock);
  ending = vnc->ending;
  g_mutex_unlock (&vnc->viewer.lock);
  return ending;
}

static void *
run (void *data)
{
  Vnc *vnc = data;
  uint64_t count;

  while (!is_ending (vnc))
    {
      fd_set fds = vnc->screen->allFds;
      int last = MAX (MAX (vnc->screen->maxFd, vnc->listener), vnc->wake_fd);
      struct timeval timeout = { .tv_usec = 500000 };

      FD_SET (vnc->wake_fd, &fds);
      FD_SET (vnc->listener, &fds);
      if (select (last + 1, &fds, NULL, NULL, &timeout) < 0 && errno != EINTR)
        break;
      if (read (vnc->wake_fd, &count, sizeof count) > 0)
        take_picture (vnc);
      if (FD_ISSET (vnc->listener, &fds))
        accept_client (vnc);
      tell_sizes (vnc);
      rfbProcessEvents (vnc->screen, 0);
    }
  return NULL;
}

/* ---- Socket ---- */

static int
open_listener (Vnc *vnc, GError **error)
{
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons (vnc->port) };
  static const int on = 1;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (inet_pton (AF_INET, vnc->address, &address.sin_addr) != 1)
    tn_device_fail (vnc->device, error, TN_ERROR_CONFIG,
                    "address: expected an IPv4 address, found %s", vnc->address);
  else if (fd >= 0 && setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0
           && bind (fd, (struct sockaddr *) &address, sizeof address) == 0 && listen (fd, 8) == 0
           && fd < FD_SETSIZE)
    return fd;
  else
    tn_device_fail (vnc->device, error, TN_ERROR_IO, "cannot listen on %s port %u: %s",
                    vnc->address, vnc->port, g_strerror (errno));
  if (fd >= 0)
    close (fd);
  return -1;
}

static bool
take_listener (Vnc *vnc, GError **error)
{
  vnc->listener = tn_device_take_fd (vnc->device, "listener");
  if (vnc->listener >= 0)
    return true;
  vnc->listener = open_listener (vnc, error);
  if (vnc->listener < 0)
    return false;
  tn_device_keep_fd (vnc->device, "listener", vnc->listener);
  return true;
}

/* ---- Life ---- */

static void
make_screen (Vnc *vnc)
{
  vnc->buffer = g_malloc0 (BUFFER_SIZE);
  vnc->screen = rfbGetScreen (NULL, NULL, NO_SIGNAL_WIDTH, NO_SIGNAL_HEIGHT, 8, 3, 4);
  vnc->screen->frameBuffer = vnc->buffer;
  vnc->screen->screenData = vnc;
  vnc->screen->port = 0; /* connections are accepted here */
  vnc->screen->ipv6port = 0;
  vnc->screen->desktopName = vnc->name;
  vnc->screen->alwaysShared = TRUE;
  vnc->screen->deferUpdateTime = 0;
  vnc->screen->maxClientWait = STALL_MS;
  vnc->screen->newClientHook = client_came;
  vnc->screen->kbdAddEvent = key;
  vnc->screen->ptrAddEvent = pointer;
  if (vnc->password && *vnc->password)
    {
      vnc->passwords[0] = (char *) vnc->password;
      vnc->screen->authPasswdData = vnc->passwords;
      vnc->screen->passwordCheck = rfbCheckPasswordByList;
    }
  rfbSetCursor (vnc->screen, NULL);
  rfbInitServer (vnc->screen);
}

static bool
vnc_realize (void *self, GError **error)
{
  Vnc *vnc = self;

  if (!take_listener (vnc, error))
    return false;
  vnc->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (vnc->wake_fd < 0)
    return tn_device_fail (vnc->device, error, TN_ERROR_IO, "eventfd: %s", g_strerror (errno));
  if (!viewer_init (&vnc->viewer, vnc->device, vnc->card, wake, vnc, error))
    {
      close (vnc->wake_fd);
      return false;
    }
  rfbLogEnable (FALSE);
  rfbMaxClientWait = STALL_MS;
  g_snprintf (vnc->name, sizeof vnc->name, "Tenon: %s", tn_device_name (vnc->device));
  make_screen (vnc);
  tn_device_show (vnc->device, vnc->card, 0);
  vnc->thread = g_thread_new ("vnc", run, vnc);
  return true;
}

static void
vnc_unrealize (void *self)
{
  Vnc *vnc = self;

  g_mutex_lock (&vnc->viewer.lock);
  vnc->ending = true;
  g_mutex_unlock (&vnc->viewer.lock);
  wake (vnc);
  g_thread_join (vnc->thread);
  rfbShutdownServer (vnc->screen, TRUE);
  vnc->screen->frameBuffer = NULL;
  rfbScreenCleanup (vnc->screen);
  viewer_finish (&vnc->viewer);
  close (vnc->wake_fd);
  g_free (vnc->buffer);
}

static void
vnc_update (void *self, const TnScreen *screen, const TnRect *rects, unsigned n, bool all)
{
  viewer_update (&((Vnc *) self)->viewer, screen, rects, n, all);
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_STRING (Vnc, address, "address", "IPv4 address that it listens on; 0.0.0.0: all",
                  "127.0.0.1"),
  TN_PROP_UINT (Vnc, port, "port", "TCP port", 5900, 1, 65535),
  TN_PROP_STRING (Vnc, password, "password", "password, of which the first 8 characters count",
                  NULL),
  TN_PROP_STRING (Vnc, card, "card", "video card that is shown; the first if not given", NULL),
  TN_PROP_UINT (Vnc, rate, "rate", "pictures a second", 30, 1, 60),
  TN_PROP_END,
};

static const TnDisplayOps display_ops = { .update = vnc_update };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "display-vnc",
  .summary = "The screen for VNC clients",
  .document = "RFC 6143, The Remote Framebuffer Protocol",
  .kind = TN_KIND_DISPLAY,
  .state_version = 1,
  .instance_size = sizeof (Vnc),
  .properties = props,
  .ops = { .realize = vnc_realize, .unrealize = vnc_unrealize },
  .display_ops = &display_ops,
};
