/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character back end on a pseudo-terminal: its slave side is a terminal that any program can open.
 *
 * While nobody has the slave open, what the guest sends is dropped, as on a serial port with
 * nothing plugged in, and the front end sees no carrier.  A master without slave is always "hung
 * up", so that state is polled by a timer instead of a watch.  The master outlives a swap.
 */
#define _GNU_SOURCE
#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define POLL_INTERVAL (TN_NS_PER_S / 4)

typedef struct {
  TnDevice *device;
  const char *symlink;

  int master;
  char slave[64];
  bool connected, linked;
  TnTimer *timer;
  TnWatch *watch;

  uint8_t pending[256]; /* read, and not taken yet */
  uint16_t pending_count;
} Pty;

/* ---- Connection ---- */

static void pty_event (void *self, int fd, unsigned condition, void *data);

/* What the program at the other end wants to be told, given the room that the front end has. */
static unsigned
wanted (const Pty *p, bool writable)
{
  return (p->pending_count ? 0 : G_IO_IN) | (writable ? G_IO_OUT : 0);
}

static void
set_connected (Pty *p, bool connected)
{
  p->connected = connected;
  tn_watch_free (p->watch);
  p->watch = connected
                 ? tn_device_watch_fd (p->device, p->master, wanted (p, false), pty_event, NULL)
                 : NULL;
  tn_device_char_connected (p->device, connected);
  if (connected)
    tn_timer_cancel (p->timer);
  else
    {
      tn_timer_set (p->timer, tn_device_now (p->device) + POLL_INTERVAL);
      tn_device_char_writable (p->device); /* what waited has nowhere to go */
    }
}

static void
look_for_peer (void *self, void *data)
{
  Pty *p = self;
  struct pollfd fd = { .fd = p->master, .events = POLLIN };
  if (poll (&fd, 1, 0) >= 0 && !(fd.revents & POLLHUP))
    set_connected (p, true);
  else
    tn_timer_set (p->timer, tn_device_now (p->device) + POLL_INTERVAL);
}

/* ---- Bytes ---- */

static bool
deliver (Pty *p)
{
  size_t taken = tn_device_char_receive (p->device, p->pending, p->pending_count);
  taken = MIN (taken, p->pending_count);
  p->pending_count -= taken;
  memmove (p->pending, p->pending + taken, p->pending_count);
  return !p->pending_count;
}

/* Returns false when the slave has been closed and all it wrote has been read. */
static bool
read_input (Pty *p)
{
  ssize_t n;
  if (p->pending_count)
    return true;
  n = read (p->master, p->pending, sizeof p->pending);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (n <= 0)
    return false;
  p->pending_count = n;
  deliver (p);
  return true;
}

static void
pty_event (void *self, int fd, unsigned condition, void *data)
{
  Pty *p = self;
  if ((condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) && !read_input (p))
    {
      set_connected (p, false);
      return;
    }
  if (p->pending_count && (condition & G_IO_HUP))
    {
      /* A hang-up cannot be muted: wait for room without a watch. */
      tn_watch_set_condition (p->watch, 0);
      return;
    }
  tn_watch_set_condition (p->watch, wanted (p, false));
  if (condition & G_IO_OUT)
    tn_device_char_writable (p->device);
}

static size_t
pty_send (void *self, const uint8_t *bytes, size_t size)
{
  Pty *p = self;
  size_t done = 0;
  while (p->connected && done < size)
    {
      ssize_t n = write (p->master, bytes + done, size - done);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0 && errno != EAGAIN)
        return size;
      if (n <= 0)
        {
          tn_watch_set_condition (p->watch, wanted (p, true));
          return done;
        }
      done += n;
    }
  return size;
}

static void
pty_accept (void *self)
{
  Pty *p = self;
  if (deliver (p) && p->watch)
    tn_watch_set_condition (p->watch, wanted (p, false));
}

/* ---- Life cycle ---- */

static bool
open_master (Pty *p, GError **error)
{
  struct termios mode;
  int slave;
  p->master = posix_openpt (O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (p->master < 0)
    return tn_device_fail (p->device, error, TN_ERROR_IO, "no pseudo-terminal: %s",
                           g_strerror (errno));
  tn_device_keep_fd (p->device, "master", p->master);
  if (grantpt (p->master) || unlockpt (p->master)
      || ptsname_r (p->master, p->slave, sizeof p->slave))
    return tn_device_fail (p->device, error, TN_ERROR_IO, "no pseudo-terminal: %s",
                           g_strerror (errno));
  slave = open (p->slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave >= 0 && !tcgetattr (slave, &mode))
    {
      cfmakeraw (&mode); /* no echo of the guest's own words before a program sets its mode */
      tcsetattr (slave, TCSANOW, &mode);
    }
  if (slave >= 0)
    close (slave);
  return true;
}

/* Replaces a link that an earlier run left, but nothing else. */
static bool
make_symlink (Pty *p, GError **error)
{
  g_autofree char *old = g_file_read_link (p->symlink, NULL);
  if (old)
    unlink (p->symlink);
  if (symlink (p->slave, p->symlink))
    return tn_device_fail (p->device, error, TN_ERROR_IO, "cannot make the link %s: %s", p->symlink,
                           g_strerror (errno));
  p->linked = true;
  return true;
}

static bool
pty_realize (void *self, GError **error)
{
  Pty *p = self;
  p->timer = tn_device_timer_new (p->device, "peer", look_for_peer, NULL);
  p->master = tn_device_take_fd (p->device, "master");
  if (p->master >= 0)
    {
      p->linked = p->symlink != NULL;
      return !ptsname_r (p->master, p->slave, sizeof p->slave);
    }
  if (!open_master (p, error) || (p->symlink && !make_symlink (p, error)))
    return false;
  tn_device_char_connected (p->device, false);
  tn_device_log (p->device, TN_LOG_INFO, "terminal %s", p->symlink ? p->symlink : p->slave);
  return true;
}

static void
pty_unrealize (void *self)
{
  Pty *p = self;
  if (p->linked && !tn_device_swapping (p->device))
    unlink (p->symlink);
}

static void
pty_reset (void *self)
{
  Pty *p = self;
  if (!p->watch)
    tn_timer_set (p->timer, tn_device_now (p->device));
}

static bool
pty_restored (void *self, GError **error)
{
  Pty *p = self;
  if (p->pending_count > sizeof p->pending)
    return tn_device_fail (p->device, error, TN_ERROR_STATE, "too many pending characters");
  pty_reset (p);
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_FILE (Pty, symlink, "symlink", "symbolic link to make to the terminal", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (Pty, pending, 1),
  TN_FIELD (Pty, pending_count, 1),
  TN_FIELD_END,
};

static const TnCharOps char_ops = { .send = pty_send, .accept = pty_accept };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "char-pty",
  .summary = "Pseudo-terminal that other programs can open",
  .document = "pty(7)",
  .kind = TN_KIND_CHAR,
  .state_version = 1,
  .instance_size = sizeof (Pty),
  .properties = props,
  .fields = fields,
  .ops = { .realize = pty_realize,
           .unrealize = pty_unrealize,
           .reset = pty_reset,
           .restored = pty_restored },
  .char_ops = &char_ops,
};
