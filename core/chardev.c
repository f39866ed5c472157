/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character streams.  Between a front end (UART) and its back end (terminal, pty ...) stands a pipe
 * of the core, known by the back end's device name.  It holds two small buffers: bytes that the
 * back end delivered and the front end had no room for, and bytes that the front end sent while
 * there was no back end (during a swap) or while it was loading.  Either side may go and come; what
 * is held moves on when both are there again.
 */
#include "internal.h"

#define HOLD_MAX 4096 /* bytes a pipe holds in each direction */

typedef struct {
  char *name;
  TnChar *front;        /* NULL: nobody reads */
  TnDevice *back;       /* NULL: a host's, or none */
  const TnCharOps *ops; /* of a host's back end */
  void *self;
  GByteArray *to_front, *to_back;
  bool moving;
  bool connection_known, connected; /* what the back end said of its peer */
} Pipe;

struct TnChar {
  TnResource resource;
  TnMachine *machine;
  Pipe *pipe; /* NULL: swallows output */
  const TnCharFrontOps *ops;
  void *data;
};

struct TnCharHub {
  GPtrArray *pipes;
};

/* ---- Pipes ---- */

static void
pipe_free (void *data)
{
  Pipe *pipe = data;

  g_byte_array_unref (pipe->to_front);
  g_byte_array_unref (pipe->to_back);
  g_free (pipe->name);
  g_free (pipe);
}

TnCharHub *
tn_char_hub_new (void)
{
  TnCharHub *hub = g_new0 (TnCharHub, 1);

  hub->pipes = g_ptr_array_new_with_free_func (pipe_free);
  return hub;
}

void
tn_char_hub_free (TnCharHub *hub)
{
  if (hub == NULL)
    return;
  g_ptr_array_unref (hub->pipes);
  g_free (hub);
}

static Pipe *
find_pipe (TnMachine *m, const char *name)
{
  for (unsigned n = 0; n < m->chars->pipes->len; n++)
    {
      Pipe *pipe = m->chars->pipes->pdata[n];

      if (strcmp (pipe->name, name) == 0)
        return pipe;
    }
  return NULL;
}

static Pipe *
get_pipe (TnMachine *m, const char *name)
{
  Pipe *pipe = find_pipe (m, name);

  if (pipe != NULL)
    return pipe;
  pipe = g_new0 (Pipe, 1);
  pipe->name = g_strdup (name);
  pipe->to_front = g_byte_array_new ();
  pipe->to_back = g_byte_array_new ();
  g_ptr_array_add (m->chars->pipes, pipe);
  return pipe;
}

static const TnCharOps *
back_ops (TnMachine *m, const Pipe *pipe, void **self)
{
  if (pipe->ops != NULL)
    {
      *self = pipe->self;
      return pipe->ops;
    }
  if (pipe->back == NULL || !pipe->back->instance->realized || m->loading)
    return NULL;
  *self = pipe->back->instance->self;
  return pipe->back->instance->plugin->char_ops;
}

static size_t
front_room (TnMachine *m, const Pipe *pipe)
{
  TnChar *front = pipe->front;

  if (front == NULL || m->loading || front->ops->room == NULL)
    return 0;
  return front->ops->room (front->resource.owner->self, front->data);
}

/* Gives the front end up to what it has room for. */
static size_t
give_front (TnMachine *m, Pipe *pipe, const uint8_t *bytes, size_t size)
{
  size_t some = front_room (m, pipe); /* asked once: it can grow from one moment to the next */

  some = MIN (some, size);
  if (some > 0)
    pipe->front->ops->receive (pipe->front->resource.owner->self, bytes, some, pipe->front->data);
  return some;
}

static size_t
give_back (TnMachine *m, Pipe *pipe, const uint8_t *bytes, size_t size)
{
  void *self;
  const TnCharOps *ops = back_ops (m, pipe, &self);
  size_t taken = ops ? ops->send (self, bytes, size) : 0;

  return MIN (taken, size);
}

static size_t
hold (GByteArray *held, const uint8_t *bytes, size_t size)
{
  size_t some = MIN (size, HOLD_MAX - MIN (held->len, HOLD_MAX));

  g_byte_array_append (held, bytes, some);
  return some;
}

/* Moves some of what is held: a copy, as whoever gets it may answer at once, and the answer may be
   held behind it, and move it.  Returns false if nothing was taken. */
static bool
move_some (TnMachine *m, Pipe *pipe, GByteArray *held,
           size_t (*give) (TnMachine *m, Pipe *pipe, const uint8_t *bytes, size_t size))
{
  uint8_t part[HOLD_MAX];
  size_t size = MIN (held->len, sizeof part), some;

  if (size == 0)
    return false;
  memcpy (part, held->data, size);
  some = give (m, pipe, part, size);
  g_byte_array_remove_range (held, 0, some);
  return some > 0;
}

/* Moves what is held as far as both sides let it.  Not entered twice: a side may call back. */
static void
move_held (TnMachine *m, Pipe *pipe)
{
  if (pipe->moving)
    return;
  pipe->moving = true;
  while (move_some (m, pipe, pipe->to_front, give_front))
    continue;
  while (move_some (m, pipe, pipe->to_back, give_back))
    continue;
  pipe->moving = false;
}

/* ---- From the back end ---- */

/* A back end that no device is linked to is not held up. */
static bool
nobody_listens (TnMachine *m, const Pipe *pipe)
{
  return pipe->front == NULL && m->realized && m->loading == 0;
}

static size_t
receive (TnMachine *m, Pipe *pipe, const uint8_t *bytes, size_t size)
{
  size_t done = 0;

  if (nobody_listens (m, pipe))
    return size;
  move_held (m, pipe);
  if (pipe->to_front->len == 0 && !pipe->moving)
    {
      pipe->moving = true;
      done = give_front (m, pipe, bytes, size);
      pipe->moving = false;
    }
  return done + hold (pipe->to_front, bytes + done, size - done);
}

static size_t
room (TnMachine *m, const Pipe *pipe)
{
  if (nobody_listens (m, pipe))
    return HOLD_MAX;
  return pipe->to_front->len > 0 ? 0 : front_room (m, pipe);
}

static void
writable (TnMachine *m, Pipe *pipe)
{
  TnChar *front = pipe->front;

  move_held (m, pipe);
  if (pipe->to_back->len == 0 && front != NULL && front->ops->writable != NULL && m->loading == 0)
    front->ops->writable (front->resource.owner->self, front->data);
}

size_t
tn_device_char_room (TnDevice *device)
{
  return room (device->machine, get_pipe (device->machine, device->name));
}

size_t
tn_device_char_receive (TnDevice *device, const uint8_t *bytes, size_t size)
{
  g_return_val_if_fail (bytes != NULL || size == 0, 0);
  return receive (device->machine, get_pipe (device->machine, device->name), bytes, size);
}

void
tn_device_char_writable (TnDevice *device)
{
  writable (device->machine, get_pipe (device->machine, device->name));
}

static void
tell_connected (TnMachine *m, const Pipe *pipe)
{
  const TnChar *front = pipe->front;

  if (pipe->connection_known && front != NULL && front->ops->connected != NULL && m->loading == 0
      && front->resource.owner->realized)
    front->ops->connected (front->resource.owner->self, pipe->connected, front->data);
}

void
tn_device_char_connected (TnDevice *device, bool connected)
{
  Pipe *pipe = get_pipe (device->machine, device->name);

  pipe->connection_known = true;
  pipe->connected = connected;
  tell_connected (device->machine, pipe);
}

/* ---- Back ends of the host ---- */

void
tn_char_add_host (TnMachine *m, const char *name, const TnCharOps *ops, void *self)
{
  Pipe *pipe = get_pipe (m, name);

  pipe->ops = ops;
  pipe->self = self;
}

bool
tn_char_has_host (TnMachine *m, const char *name)
{
  Pipe *pipe = find_pipe (m, name);

  return pipe != NULL && pipe->ops != NULL;
}

size_t
tn_char_host_room (TnMachine *m, const char *name)
{
  return room (m, get_pipe (m, name));
}

size_t
tn_char_host_receive (TnMachine *m, const char *name, const uint8_t *bytes, size_t size)
{
  return receive (m, get_pipe (m, name), bytes, size);
}

void
tn_char_host_writable (TnMachine *m, const char *name)
{
  writable (m, get_pipe (m, name));
}

/* ---- Front ends ---- */

static void
char_detach (TnResource *resource)
{
  TnChar *chr = (TnChar *) resource;

  if (chr->pipe != NULL && chr->pipe->front == chr)
    chr->pipe->front = NULL;
}

static void
char_attach (TnResource *resource)
{
  TnChar *chr = (TnChar *) resource;

  if (chr->pipe != NULL)
    chr->pipe->front = chr;
}

static void
char_free (TnResource *resource)
{
  char_detach (resource);
  g_free (resource);
}

static void
char_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  TnChar *chr = (TnChar *) resource;

  func (data, "char", 0, 0, chr->pipe ? chr->pipe->name : NULL);
}

static const TnResourceClass char_class = { .kind = "char",
                                            .detach = char_detach,
                                            .attach = char_attach,
                                            .free = char_free,
                                            .describe = char_describe };

/* The pipe of a back end that can be linked to, or NULL. */
static Pipe *
link_pipe (TnDevice *device, const char *link, GError **error)
{
  TnMachine *m = device->machine;
  TnDevice *back = tn_machine_find (m, link);
  Pipe *pipe;

  if (back == NULL && !tn_char_has_host (m, link))
    {
      tn_device_fail (device, error, TN_ERROR_MISSING, "there is no character back end named '%s'",
                      link);
      return NULL;
    }
  if (back != NULL && back->instance->plugin->kind != TN_KIND_CHAR)
    {
      tn_device_fail (device, error, TN_ERROR_CONFIG, "'%s' is not a character back end", link);
      return NULL;
    }
  pipe = get_pipe (m, link);
  pipe->back = back;
  if (pipe->front == NULL)
    return pipe;
  tn_device_fail (device, error, TN_ERROR_CLASH, "the character back end '%s' already serves %s",
                  link, pipe->front->resource.owner->device->name);
  return NULL;
}

TnChar *
tn_device_char (TnDevice *device, const char *link, const TnCharFrontOps *ops, void *data,
                GError **error)
{
  Pipe *pipe = NULL;
  TnChar *chr;

  g_return_val_if_fail (device != NULL && ops != NULL, NULL);
  if (link != NULL && (pipe = link_pipe (device, link, error)) == NULL)
    return NULL;
  chr = g_new0 (TnChar, 1);
  chr->machine = device->machine;
  chr->pipe = pipe;
  chr->ops = ops;
  chr->data = data;
  tn_resource_init (&chr->resource, &char_class, device->instance);
  char_attach (&chr->resource);
  return chr;
}

size_t
tn_char_send (TnChar *chr, const uint8_t *bytes, size_t size)
{
  TnMachine *m;
  Pipe *pipe;
  void *self;

  g_return_val_if_fail (chr != NULL && (bytes != NULL || size == 0), 0);
  m = chr->machine;
  pipe = chr->pipe;
  if (pipe == NULL)
    return size;
  if (back_ops (m, pipe, &self) == NULL)
    return hold (pipe->to_back, bytes, size);
  move_held (m, pipe);
  return pipe->to_back->len > 0 ? 0 : give_back (m, pipe, bytes, size);
}

void
tn_char_accept (TnChar *chr)
{
  const TnCharOps *ops;
  void *self;

  g_return_if_fail (chr != NULL);
  if (chr->pipe == NULL || chr->pipe->moving)
    return;
  move_held (chr->machine, chr->pipe);
  if (chr->pipe->to_front->len > 0)
    return;
  ops = back_ops (chr->machine, chr->pipe, &self);
  if (ops != NULL && ops->accept != NULL)
    ops->accept (self);
}

void
tn_char_break (TnChar *chr, bool on)
{
  const TnCharOps *ops;
  void *self;

  g_return_if_fail (chr != NULL);
  if (chr->pipe == NULL)
    return;
  ops = back_ops (chr->machine, chr->pipe, &self);
  if (ops != NULL && ops->set_break != NULL)
    ops->set_break (self, on);
}

/* ---- Swap and state ---- */

/* After a reset, swap or load: what was held moves, and both sides are told how things stand. */
void
tn_char_commit (TnMachine *m)
{
  for (unsigned n = 0; n < m->chars->pipes->len; n++)
    {
      Pipe *pipe = m->chars->pipes->pdata[n];
      const TnCharOps *ops;
      void *self;

      tell_connected (m, pipe);
      writable (m, pipe);
      ops = back_ops (m, pipe, &self);
      if (ops != NULL && ops->accept != NULL && pipe->to_front->len == 0
          && front_room (m, pipe) > 0)
        ops->accept (self);
    }
}

static GVariant *
bytes_variant (const GByteArray *bytes)
{
  return g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, bytes->data, bytes->len, 1);
}

GVariant *
tn_char_save (TnDevice *back)
{
  Pipe *pipe = get_pipe (back->machine, back->name);

  return g_variant_new ("(@ay@ay)", bytes_variant (pipe->to_front), bytes_variant (pipe->to_back));
}

static void
load_bytes (GByteArray *bytes, GVariant *state, unsigned index)
{
  GVariant *child = g_variant_get_child_value (state, index);
  gsize size;
  const uint8_t *saved = g_variant_get_fixed_array (child, &size, 1);

  g_byte_array_set_size (bytes, 0);
  hold (bytes, saved, size);
  g_variant_unref (child);
}

void
tn_char_load (TnDevice *back, GVariant *state)
{
  Pipe *pipe = get_pipe (back->machine, back->name);

  load_bytes (pipe->to_front, state, 0);
  load_bytes (pipe->to_back, state, 1);
}
