/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A disk that a server of the Network Block Device protocol has (nbd-server, nbdkit, qemu-nbd), on
 * this host or another, by libnbd: images of other formats, remote disks.
 *
 * Follows the protocol's doc/proto.md and doc/uri.md, and libnbd (3).  Everything is done with the
 * library's asynchronous calls, so that a server that does not answer in `timeout` seconds is given
 * up.
 *
 * When the connection breaks, the disk waits up to `reconnect` seconds for the server to come back
 * and asks again.  A server that was started anew may have lost what it had not been asked to
 * flush: writes are remembered here until they were flushed, and repeated on the new connection.
 * When more than 64 MiB of them wait, a flush is asked for.
 *
 * In a swap the old instance lets its connection go before the new one connects, as some servers
 * serve only one client; if the swap fails, it connects again.
 */
#include "../lib/image-file.h"

#include <tenon/tenon.h>

#include <errno.h>
#include <libnbd.h>
#include <poll.h>
#include <string.h>

#define MOST_AT_ONCE (4u << 20)     /* bytes of a request */
#define MOST_REMEMBERED (64u << 20) /* bytes of writes that were not flushed */
#define RETRY_MS 250
#define ZEROS_AT_LEAST 4096 /* a request of its own for so many zeros */

typedef struct {
  uint64_t offset;
  size_t size;
  uint8_t *bytes; /* NULL: zeros */
} Remembered;

typedef struct {
  TnDevice *device;
  const char *uri;
  bool read_only, cdrom;
  uint32_t timeout, reconnect;
  struct nbd_handle *nbd; /* NULL: not connected */
  TnBlockInfo info;
  uint64_t export_size;
  bool can_flush, can_zero;
  uint32_t unit;    /* least size and alignment of requests */
  GQueue unflushed; /* Remembered, oldest first */
  uint64_t unflushed_size;
  bool told; /* that the connection is gone */
} Disk;

/* ---- Waiting ---- */

#define TURN_US G_USEC_PER_SEC

static int64_t
patience (const Disk *d)
{
  return (int64_t) d->timeout * G_USEC_PER_SEC;
}

/* Lets the library work until something happened; false: time is up, or it is broken.  Of a turn no
   more counts than it was to take: while this program was stopped, or the host too busy for it, the
   server may well have answered. */
static bool
turn (struct nbd_handle *nbd, int64_t *left)
{
  int64_t start = g_get_monotonic_time (), most = MIN (*left, TURN_US), took;
  int result;

  if (*left <= 0)
    return false;
  result = nbd_poll (nbd, most / 1000 + 1);
  took = g_get_monotonic_time () - start;
  *left -= MIN (took, most);
  return result >= 0;
}

static void
drop (Disk *d)
{
  nbd_close (d->nbd);
  d->nbd = NULL;
}

/* ---- Connecting ---- */

static bool
refuse (Disk *d, GError **error, const char *why)
{
  tn_device_fail (d->device, error, TN_ERROR_IO, "%s: %s", d->uri, why);
  return false;
}

/* The library's messages begin with the function that failed. */
static const char *
library_error (void)
{
  const char *text = nbd_get_error (), *colon = text ? strstr (text, ": ") : NULL;

  return colon ? colon + 2 : text ? text : "unknown error";
}

static bool
wait_for_connection (Disk *d, struct nbd_handle *nbd, GError **error)
{
  int64_t left = patience (d);

  if (nbd_aio_connect_uri (nbd, d->uri) < 0)
    return refuse (d, error, library_error ());
  while (nbd_aio_is_connecting (nbd) > 0)
    if (!turn (nbd, &left))
      return refuse (d, error, left > 0 ? library_error () : "the server does not answer in time");
  return nbd_aio_is_ready (nbd) > 0 || refuse (d, error, library_error ());
}

/* What the server says of the disk; once connected it may not change. */
static bool
take_facts (Disk *d, struct nbd_handle *nbd, GError **error)
{
  int64_t size = nbd_get_size (nbd), unit = nbd_get_block_size (nbd, LIBNBD_SIZE_MINIMUM);
  bool only_read = nbd_is_read_only (nbd) > 0, first = d->export_size == 0;

  if (size < (int64_t) d->info.sector_size)
    return refuse (d, error, "it is smaller than a sector");
  if (unit > MOST_AT_ONCE)
    return refuse (d, error, "the server takes only requests larger than 4 MiB");
  if (only_read && !d->info.read_only)
    return refuse (d, error, "the server does not let it be written; set read-only = true");
  if (!first && (uint64_t) size != d->export_size)
    return refuse (d, error, "it has another size than before");
  d->export_size = size;
  d->info.size = size - size % d->info.sector_size;
  d->unit = unit > 0 ? unit : 1;
  d->can_flush = nbd_can_flush (nbd) > 0;
  d->can_zero = nbd_can_zero (nbd) > 0;
  return true;
}

static bool
connect_once (Disk *d, GError **error)
{
  struct nbd_handle *nbd = nbd_create ();

  if (nbd == NULL)
    return refuse (d, error, library_error ());
  nbd_set_uri_allow_local_file (nbd, true); /* keys of TLS; the address is the user's own */
  if (wait_for_connection (d, nbd, error) && take_facts (d, nbd, error))
    {
      d->nbd = nbd;
      return true;
    }
  nbd_close (nbd);
  return false;
}

/* ---- Requests: one at a time ---- */

typedef enum { READ, WRITE, ZERO, FLUSH } Kind;

static int64_t
start (Disk *d, Kind kind, uint64_t offset, void *buffer, size_t size)
{
  switch (kind)
    {
    case READ: return nbd_aio_pread (d->nbd, buffer, size, offset, NBD_NULL_COMPLETION, 0);
    case WRITE: return nbd_aio_pwrite (d->nbd, buffer, size, offset, NBD_NULL_COMPLETION, 0);
    case ZERO: return nbd_aio_zero (d->nbd, size, offset, NBD_NULL_COMPLETION, 0);
    default: return nbd_aio_flush (d->nbd, NBD_NULL_COMPLETION, 0);
    }
}

/* 0, the server's error, or -1: the connection is gone, and with it the request. */
static int
ask (Disk *d, Kind kind, uint64_t offset, void *buffer, size_t size)
{
  int64_t left = patience (d), cookie = start (d, kind, offset, buffer, size);

  while (cookie >= 0)
    {
      int state = nbd_aio_command_completed (d->nbd, cookie),
          number = state < 0 ? nbd_get_errno () : 0;

      if (state > 0)
        return 0;
      /* The library fails a request with ENOTCONN when the connection ends. */
      if (state < 0 && nbd_aio_is_ready (d->nbd) > 0)
        return number > 0 ? number : EIO;
      if (state < 0 || !turn (d->nbd, &left))
        break;
    }
  drop (d);
  return -1;
}

/* ---- Writes that were not flushed ---- */

static void
forget (Disk *d)
{
  Remembered *r;

  while ((r = g_queue_pop_head (&d->unflushed)) != NULL)
    {
      g_free (r->bytes);
      g_free (r);
    }
  d->unflushed_size = 0;
}

static void
remember (Disk *d, uint64_t offset, const void *bytes, size_t size)
{
  Remembered *r;

  if (!d->can_flush)
    return; /* such a server says that it keeps nothing back */
  r = g_new0 (Remembered, 1);
  *r = (Remembered){ offset, size, bytes ? g_memdup2 (bytes, size) : NULL };
  g_queue_push_tail (&d->unflushed, r);
  d->unflushed_size += sizeof *r + (bytes ? size : 0);
}

static bool
repeat_writes (Disk *d)
{
  for (GList *l = d->unflushed.head; l != NULL; l = l->next)
    {
      Remembered *r = l->data;

      if (ask (d, r->bytes ? WRITE : ZERO, r->offset, r->bytes, r->size) != 0)
        return false;
    }
  return true;
}

/* ---- Coming back ---- */

static void
log_gone (Disk *d, const char *why)
{
  if (!d->told)
    tn_device_log (d->device, TN_LOG_WARNING, "%s; waiting up to %u s for the server", why,
                   d->reconnect);
  d->told = true;
}

static const char *
without_name (const Disk *d, const char *text)
{
  const char *name = tn_device_name (d->device);

  return g_str_has_prefix (text, name) ? text + strlen (name) + strlen (": ") : text;
}

static bool
come_back (Disk *d)
{
  int64_t end = g_get_monotonic_time () + (int64_t) d->reconnect * G_USEC_PER_SEC;

  do
    {
      GError *error = NULL;

      if (connect_once (d, &error) && repeat_writes (d))
        {
          if (d->told)
            tn_device_log (d->device, TN_LOG_INFO, "connected again; %u writes were repeated",
                           d->unflushed.length);
          d->told = false;
          return true;
        }
      if (d->nbd != NULL)
        drop (d);
      log_gone (d, error ? without_name (d, error->message) : "the connection broke again");
      g_clear_error (&error);
      poll (NULL, 0, RETRY_MS);
    }
  while (g_get_monotonic_time () < end);
  tn_device_log (d->device, TN_LOG_ERROR, "%s: the server did not come back", d->uri);
  d->told = false;
  return false;
}

static int
ask_until_done (Disk *d, Kind kind, uint64_t offset, void *buffer, size_t size)
{
  for (unsigned tries = 0; tries < 3; tries++)
    {
      int error;

      if (d->nbd == NULL && !come_back (d))
        return EIO;
      error = ask (d, kind, offset, buffer, size);
      if (error >= 0)
        return error;
      log_gone (d, "the connection is gone, or the server did not answer in time");
    }
  return EIO; /* this request breaks the connection each time */
}

/* ---- Operations ---- */

static TnBlockInfo
disk_info (void *self)
{
  return ((Disk *) self)->info;
}

static bool
inside (const Disk *d, uint64_t offset, size_t size)
{
  return offset <= d->info.size && size <= d->info.size - offset;
}

static int
disk_flush (void *self)
{
  Disk *d = self;
  int error = 0;

  if (d->info.read_only || (d->unflushed.length == 0 && d->can_flush))
    return 0;
  if (d->can_flush)
    error = ask_until_done (d, FLUSH, 0, NULL, 0);
  if (error == 0)
    forget (d);
  return error;
}

static bool
aligned (const Disk *d, uint64_t offset, size_t size)
{
  return offset % d->unit == 0 && size % d->unit == 0;
}

/* Reads the units around what is asked for; the last one may end with the export. */
static int
read_around (Disk *d, uint64_t offset, size_t size, uint64_t *start_of, uint8_t **bytes,
             size_t *count)
{
  uint64_t end = offset + size + d->unit - 1;
  int error;

  *start_of = offset - offset % d->unit;
  end = MIN (end - end % d->unit, d->export_size);
  *count = end - *start_of;
  *bytes = g_malloc (*count);
  error = ask_until_done (d, READ, *start_of, *bytes, *count);
  if (error != 0)
    g_free (*bytes);
  return error;
}

static int
read_some (Disk *d, uint64_t offset, uint8_t *to, size_t size)
{
  uint64_t from;
  uint8_t *bytes;
  size_t count;
  int error;

  if (aligned (d, offset, size))
    return ask_until_done (d, READ, offset, to, size);
  error = read_around (d, offset, size, &from, &bytes, &count);
  if (error != 0)
    return error;
  memcpy (to, bytes + (offset - from), size);
  g_free (bytes);
  return 0;
}

static int
disk_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  Disk *d = self;
  uint8_t *to = buffer;
  int error = inside (d, offset, size) ? 0 : EIO;

  for (size_t count; size > 0 && error == 0; size -= count, offset += count, to += count)
    {
      count = MIN (size, MOST_AT_ONCE);
      error = read_some (d, offset, to, count);
    }
  return error;
}

static int
put (Disk *d, uint64_t offset, const void *bytes, size_t size)
{
  bool zeros = d->can_zero && size >= ZEROS_AT_LEAST && image_is_zero (bytes, size);
  int error = ask_until_done (d, zeros ? ZERO : WRITE, offset, (void *) bytes, size);

  if (error == 0)
    remember (d, offset, zeros ? NULL : bytes, size);
  if (error == 0 && d->unflushed_size > MOST_REMEMBERED)
    error = disk_flush (d);
  return error;
}

static int
write_some (Disk *d, uint64_t offset, const uint8_t *from, size_t size)
{
  uint64_t start_of;
  uint8_t *bytes;
  size_t count;
  int error;

  if (aligned (d, offset, size))
    return put (d, offset, from, size);
  error = read_around (d, offset, size, &start_of, &bytes, &count);
  if (error != 0)
    return error;
  memcpy (bytes + (offset - start_of), from, size);
  error = put (d, start_of, bytes, count);
  g_free (bytes);
  return error;
}

static int
disk_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  Disk *d = self;
  const uint8_t *from = buffer;
  int error = d->info.read_only ? EROFS : inside (d, offset, size) ? 0 : EIO;

  for (size_t count; size > 0 && error == 0; size -= count, offset += count, from += count)
    {
      count = MIN (size, MOST_AT_ONCE);
      error = write_some (d, offset, from, count);
    }
  return error;
}

/* ---- Life ---- */

static bool
disk_realize (void *self, GError **error)
{
  Disk *d = self;

  g_queue_init (&d->unflushed);
  d->info = (TnBlockInfo){ .sector_size = d->cdrom ? 2048 : 512,
                           .read_only = d->read_only || d->cdrom,
                           .removable = d->cdrom,
                           .present = true };
  return connect_once (d, error);
}

static void
say_goodbye (Disk *d)
{
  int64_t left = G_USEC_PER_SEC;

  if (d->nbd == NULL)
    return;
  if (nbd_aio_is_ready (d->nbd) > 0 && nbd_aio_disconnect (d->nbd, 0) == 0)
    while (nbd_aio_is_closed (d->nbd) == 0 && nbd_aio_is_dead (d->nbd) == 0
           && turn (d->nbd, &left))
      ;
  drop (d);
}

static void
flush_for_good (Disk *d)
{
  int error = disk_flush (d);

  if (error != 0)
    tn_device_log (d->device, TN_LOG_ERROR, "what was written cannot be flushed: %s",
                   g_strerror (error));
}

static void
disk_saving (void *self)
{
  Disk *d = self;

  flush_for_good (d);
  if (tn_device_swapping (d->device))
    say_goodbye (d);
}

static void
disk_unrealize (void *self)
{
  Disk *d = self;

  flush_for_good (d);
  say_goodbye (d);
  forget (d);
}

/* ---- tenon disk ---- */

static unsigned
image_probe (const char *name, const uint8_t *head, const uint8_t *tail, size_t size)
{
  static const char *const schemes[]
      = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://", "nbd+vsock://" };

  for (unsigned n = 0; n < G_N_ELEMENTS (schemes); n++)
    if (g_str_has_prefix (name, schemes[n]))
      return 100;
  return 0;
}

static void
image_info (void *self, void (*tell) (void *data, const char *name, const char *value), void *data)
{
  const Disk *d = self;
  char *unit = g_strdup_printf ("%u bytes", d->unit);
  char *protocol = nbd_get_protocol (d->nbd) ? g_strdup (nbd_get_protocol (d->nbd)) : NULL;

  tell (data, "protocol", protocol ? protocol : "unknown");
  tell (data, "encrypted", nbd_get_tls_negotiated (d->nbd) > 0 ? "yes" : "no");
  tell (data, "least request", unit);
  tell (data, "can flush", d->can_flush ? "yes" : "no");
  g_free (protocol);
  g_free (unit);
}

static const TnImageOps image_ops = {
  .property = "uri",
  .probe = image_probe,
  .info = image_info,
};

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  { .name = "uri",
    .blurb = "address: nbd://HOST/EXPORT, nbds://..., nbd+unix:///EXPORT?socket=PATH",
    .type = TN_PROP_TYPE_STRING,
    .required = true,
    .offset = TN_PROP_CHECK_ (Disk, uri, const char *) },
  TN_PROP_BOOL (Disk, read_only, "read-only", "writes of the guest fail", false),
  TN_PROP_BOOL (Disk, cdrom, "cdrom", "it is a CD: read-only, 2048-byte sectors", false),
  TN_PROP_UINT (Disk, timeout, "timeout", "seconds that the server may take for an answer", 10, 1,
                3600),
  TN_PROP_UINT (Disk, reconnect, "reconnect",
                "seconds to wait for the server when the connection broke", 20, 0, 86400),
  TN_PROP_END,
};

static const TnBlockOps block_ops = {
  .info = disk_info,
  .read = disk_read,
  .write = disk_write,
  .flush = disk_flush,
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "disk-nbd",
  .summary = "Disk of a Network Block Device server",
  .document = "the NBD protocol, doc/proto.md of NetworkBlockDevice/nbd",
  .kind = TN_KIND_BLOCK,
  .state_version = 1,
  .instance_size = sizeof (Disk),
  .properties = props,
  .ops = { .realize = disk_realize, .unrealize = disk_unrealize, .saving = disk_saving },
  .block_ops = &block_ops,
  .image_ops = &image_ops,
};
