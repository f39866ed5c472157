/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character back end on a socket: a Unix socket, or TCP on the loopback interface.
 *
 * It listens, or connects and tries again every second.  One peer at a time; others that come are
 * turned away.  While there is none, what the guest sends is dropped and the front end sees no
 * carrier.  A peer that does not read holds up the guest's serial port, as a terminal that has sent
 * XOFF does; a peer that sends faster than the guest reads is held up itself.  Connections outlive
 * a swap of the plugin.
 */
#define _GNU_SOURCE
#include <tenon/tenon.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_INTERVAL TN_NS_PER_S

typedef struct {
  TnDevice *device;
  const char *path, *host;
  uint32_t port;
  bool active; /* connects */

  union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
  } address;
  socklen_t address_size;

  int listener, peer;
  bool connected, bound;
  TnTimer *timer;
  TnWatch *listen_watch, *peer_watch;

  uint8_t pending[256]; /* received, and not taken yet */
  uint16_t pending_count;
} Socket;

static void peer_event (void *self, int fd, unsigned condition, void *data);
static void try_connect (void *self, void *data);

/* ---- Peer ---- */

static unsigned
wanted (const Socket *s, bool writable)
{
  return (s->pending_count ? 0 : G_IO_IN) | (writable ? G_IO_OUT : 0);
}

static void
set_connected (Socket *s, bool connected)
{
  if (s->connected == connected)
    return;
  s->connected = connected;
  tn_device_char_connected (s->device, connected);
}

static void
drop_peer (Socket *s)
{
  tn_watch_free (s->peer_watch);
  s->peer_watch = NULL;
  s->peer = -1;
  tn_device_keep_fd (s->device, "peer", -1);
  set_connected (s, false);
  tn_device_char_writable (s->device); /* what waited has nowhere to go */
  if (s->active)
    tn_timer_set (s->timer, tn_device_now (s->device) + RETRY_INTERVAL);
}

static void
take_peer (Socket *s, int fd, bool connected)
{
  int on = 1;
  s->peer = fd;
  tn_device_keep_fd (s->device, "peer", fd);
  if (s->address.any.sa_family != AF_UNIX)
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  s->peer_watch = tn_device_watch_fd (s->device, fd, connected ? wanted (s, false) : G_IO_OUT,
                                      peer_event, NULL);
  set_connected (s, connected);
}

static bool
deliver (Socket *s)
{
  size_t taken = tn_device_char_receive (s->device, s->pending, s->pending_count);
  taken = MIN (taken, s->pending_count);
  s->pending_count -= taken;
  memmove (s->pending, s->pending + taken, s->pending_count);
  return !s->pending_count;
}

/* Returns false when the peer has gone. */
static bool
read_input (Socket *s)
{
  ssize_t n;
  if (s->pending_count)
    return true;
  n = recv (s->peer, s->pending, sizeof s->pending, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return true;
  if (n <= 0)
    return false;
  s->pending_count = n;
  deliver (s);
  return true;
}

/* An attempt to connect has come to its end. */
static void
finish_connect (Socket *s)
{
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt (s->peer, SOL_SOCKET, SO_ERROR, &error, &size) || error)
    drop_peer (s);
  else
    {
      set_connected (s, true);
      tn_watch_set_condition (s->peer_watch, wanted (s, false));
    }
}

static void
peer_event (void *self, int fd, unsigned condition, void *data)
{
  Socket *s = self;
  if (!s->connected)
    {
      finish_connect (s);
      return;
    }
  if ((condition & (G_IO_IN | G_IO_HUP | G_IO_ERR)) && !read_input (s))
    {
      drop_peer (s);
      return;
    }
  /* A hang-up cannot be muted: with bytes left to deliver, wait for room without a watch. */
  if (s->pending_count && (condition & (G_IO_HUP | G_IO_ERR)))
    {
      tn_watch_set_condition (s->peer_watch, 0);
      return;
    }
  tn_watch_set_condition (s->peer_watch, wanted (s, false));
  if (condition & G_IO_OUT)
    tn_device_char_writable (s->device);
}

static size_t
socket_send (void *self, const uint8_t *bytes, size_t size)
{
  Socket *s = self;
  size_t done = 0;
  while (s->connected && done < size)
    {
      ssize_t n = send (s->peer, bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno != EAGAIN)
        return size; /* the watch tells of the end */
      if (n < 0)
        {
          tn_watch_set_condition (s->peer_watch, wanted (s, true));
          return done;
        }
      done += n;
    }
  return size;
}

static void
socket_accept (void *self)
{
  Socket *s = self;
  if (deliver (s) && s->peer_watch && s->connected)
    tn_watch_set_condition (s->peer_watch, wanted (s, false));
}

/* ---- Listening and connecting ---- */

static void
listener_ready (void *self, int fd, unsigned condition, void *data)
{
  Socket *s = self;
  int peer = accept4 (s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (peer < 0)
    return;
  if (s->peer >= 0)
    {
      tn_device_log (s->device, TN_LOG_INFO, "a second connection was turned away");
      close (peer);
      return;
    }
  take_peer (s, peer, true);
}

static int
new_socket (const Socket *s)
{
  return socket (s->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void
try_connect (void *self, void *data)
{
  Socket *s = self;
  int fd;
  if (s->peer >= 0 || !s->active)
    return;
  fd = new_socket (s);
  if (fd >= 0 && !connect (fd, &s->address.any, s->address_size))
    take_peer (s, fd, true);
  else if (fd >= 0 && errno == EINPROGRESS)
    take_peer (s, fd, false);
  else
    {
      if (fd >= 0)
        close (fd);
      tn_timer_set (s->timer, tn_device_now (s->device) + RETRY_INTERVAL);
    }
}

/* A Unix socket that nobody listens on is left over from an earlier run. */
static void
remove_stale (const Socket *s)
{
  struct stat st;
  int fd;
  if (!s->path || lstat (s->path, &st) || !S_ISSOCK (st.st_mode))
    return;
  fd = new_socket (s);
  if (fd >= 0 && connect (fd, &s->address.any, s->address_size) && errno == ECONNREFUSED)
    unlink (s->path);
  if (fd >= 0)
    close (fd);
}

static bool
start_listening (Socket *s, GError **error)
{
  int on = 1;
  s->listener = tn_device_take_fd (s->device, "listener");
  if (s->listener < 0)
    {
      remove_stale (s);
      s->listener = new_socket (s);
      if (s->listener >= 0)
        tn_device_keep_fd (s->device, "listener", s->listener);
      if (s->listener < 0 || setsockopt (s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on)
          || bind (s->listener, &s->address.any, s->address_size))
        return tn_device_fail (s->device, error, TN_ERROR_IO, "cannot listen on %s: %s",
                               s->path ? s->path : s->host, g_strerror (errno));
      s->bound = true;
      if (listen (s->listener, 1))
        return tn_device_fail (s->device, error, TN_ERROR_IO, "cannot listen: %s",
                               g_strerror (errno));
    }
  s->bound = true;
  s->listen_watch = tn_device_watch_fd (s->device, s->listener, G_IO_IN, listener_ready, NULL);
  return true;
}

/* ---- Addresses ---- */

static bool
local_address (Socket *s, GError **error)
{
  s->address.local.sun_family = AF_UNIX;
  s->address_size = sizeof s->address.local;
  if (strlen (s->path) >= sizeof s->address.local.sun_path)
    return tn_device_fail (s->device, error, TN_ERROR_CONFIG,
                           "path %s is longer than the %zu bytes of a socket's name", s->path,
                           sizeof s->address.local.sun_path - 1);
  g_strlcpy (s->address.local.sun_path, s->path, sizeof s->address.local.sun_path);
  return true;
}

static bool
loopback_address (Socket *s, GError **error)
{
  const char *host = strcmp (s->host, "localhost") ? s->host : "127.0.0.1";
  if (inet_pton (AF_INET, host, &s->address.ip4.sin_addr) == 1
      && ntohl (s->address.ip4.sin_addr.s_addr) >> 24 == 127)
    {
      s->address.ip4.sin_family = AF_INET;
      s->address.ip4.sin_port = htons (s->port);
      s->address_size = sizeof s->address.ip4;
      return true;
    }
  if (inet_pton (AF_INET6, host, &s->address.ip6.sin6_addr) == 1
      && IN6_IS_ADDR_LOOPBACK (&s->address.ip6.sin6_addr))
    {
      s->address.ip6.sin6_family = AF_INET6;
      s->address.ip6.sin6_port = htons (s->port);
      s->address_size = sizeof s->address.ip6;
      return true;
    }
  return tn_device_fail (s->device, error, TN_ERROR_CONFIG,
                         "host %s is not of the loopback interface (127.0.0.1, ::1, localhost)",
                         s->host);
}

/* ---- Life cycle ---- */

static bool
socket_realize (void *self, GError **error)
{
  Socket *s = self;
  struct sockaddr_storage name;
  socklen_t size = sizeof name;
  int peer = tn_device_take_fd (s->device, "peer");
  s->listener = s->peer = -1;
  s->timer = tn_device_timer_new (s->device, "connect", try_connect, NULL);
  if (!s->path == !s->port)
    return tn_device_fail (s->device, error, TN_ERROR_CONFIG, "expected either path or port");
  if (!(s->path ? local_address (s, error) : loopback_address (s, error)))
    return false;
  if (!s->active && !start_listening (s, error))
    return false;
  if (peer >= 0)
    take_peer (s, peer, !getpeername (peer, (struct sockaddr *) &name, &size));
  else
    tn_device_char_connected (s->device, false);
  return true;
}

static void
socket_unrealize (void *self)
{
  Socket *s = self;
  if (s->bound && s->path && !tn_device_swapping (s->device))
    unlink (s->path);
}

static void
socket_reset (void *self)
{
  Socket *s = self;
  if (s->active && s->peer < 0)
    tn_timer_set (s->timer, tn_device_now (s->device));
}

static bool
socket_restored (void *self, GError **error)
{
  Socket *s = self;
  if (s->pending_count > sizeof s->pending)
    return tn_device_fail (s->device, error, TN_ERROR_STATE, "too many pending characters");
  if (s->peer_watch && s->connected)
    tn_watch_set_condition (s->peer_watch, wanted (s, false));
  socket_reset (s);
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_FILE (Socket, path, "path", "name of a Unix socket", false),
  TN_PROP_UINT (Socket, port, "port", "TCP port; 0 for a Unix socket", 0, 0, 65535),
  TN_PROP_STRING (Socket, host, "host", "address of the loopback interface for TCP", "127.0.0.1"),
  TN_PROP_BOOL (Socket, active, "connect", "connect to a listening program instead of listening",
                false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (Socket, pending, 1),
  TN_FIELD (Socket, pending_count, 1),
  TN_FIELD_END,
};

static const TnCharOps char_ops = { .send = socket_send, .accept = socket_accept };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "char-socket",
  .summary = "Unix socket or TCP on the loopback interface",
  .document = "unix(7), tcp(7)",
  .kind = TN_KIND_CHAR,
  .state_version = 1,
  .instance_size = sizeof (Socket),
  .properties = props,
  .fields = fields,
  .ops = { .realize = socket_realize,
           .unrealize = socket_unrealize,
           .reset = socket_reset,
           .restored = socket_restored },
  .char_ops = &char_ops,
};
