/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk requests.  Between front ends (controllers) and a back end (image) stands a store of the
 * core, known by the back end's name, with a queue and one worker thread: requests of a back end
 * run one at a time, in order, off the machine lock.  What is done waits in the hub's list until it
 * is delivered under the lock:
 *
 *   real time      a source on the machine's main context, woken by the worker
 *   counted time   an event of the clock COUNTED_LATENCY after the request, which waits for the
 * worker, so that a run can be repeated by hand        tn_machine_settle_blocks () alone (the
 * harness)
 *
 * Draining (before swaps and saves) delivers until nothing is in flight.
 *
 * Many guests never flush (DOS does not know how to), and a back end may keep in memory what says
 * where data is.  So, in real time, a disk that was written to is flushed when it has been idle for
 * two seconds, or after half a minute if it never is.
 */
#include "internal.h"

#include <errno.h>

#define COUNTED_LATENCY (100 * TN_NS_PER_US)

typedef enum { REQUEST_READ, REQUEST_WRITE, REQUEST_FLUSH } RequestKind;

typedef struct Store Store;

typedef struct {
  RequestKind kind;
  TnBlock *front;
  Store *store; /* NULL: no medium; completes by itself */
  const TnBlockOps *ops;
  void *self;
  uint64_t offset;
  void *buffer;
  size_t size;
  TnBlockFunc done;
  void *data;
  uint64_t serial; /* of submission */
  int error;
} Request;

struct Store {
  TnBlockHub *hub;
  char *name;
  TnDevice *back; /* or a host's: */
  const TnBlockOps *ops;
  void *self;
  TnBlock *front;
  bool used;                       /* since somebody asked */
  bool dirty;                      /* written to since the last flush */
  int64_t first_write, last_write; /* of these; g_get_monotonic_time () */
  GThread *worker;                 /* lazily made */
  GAsyncQueue *queue;
};

struct TnBlock {
  TnResource resource;
  TnMachine *machine;
  bool locked;
  Store *store; /* NULL: never a medium */
  TnMediaFunc changed;
  void *data;
};

struct TnBlockHub {
  TnMachine *machine;
  bool by_hand;
  GPtrArray *stores;
  GMutex lock; /* guards `done` */
  GCond cond;
  GQueue done;                   /* Request, in the order of completion */
  unsigned in_flight;            /* submitted and not delivered; under the machine lock */
  uint64_t submitted, delivered; /* serials */
  GSource *source;               /* real time */
  GSource *idle;                 /* real time: looks for dirty stores */
  TnEvent *event;                /* counted time */
};

/* ---- Worker ---- */

static int
run_request (const Request *r)
{
  switch (r->kind)
    {
    case REQUEST_READ: return r->ops->read (r->self, r->offset, r->buffer, r->size);
    case REQUEST_WRITE: return r->ops->write (r->self, r->offset, r->buffer, r->size);
    default: return r->ops->flush (r->self);
    }
}

static void
complete (TnBlockHub *hub, Request *r)
{
  g_mutex_lock (&hub->lock);
  g_queue_push_tail (&hub->done, r);
  g_cond_broadcast (&hub->cond);
  g_mutex_unlock (&hub->lock);
  if (hub->source != NULL)
    g_source_set_ready_time (hub->source, 0);
}

static void *
worker (void *data)
{
  Store *store = data;
  Request *r;

  /* A request without a store is the order to end. */
  while ((r = g_async_queue_pop (store->queue))->store != NULL)
    {
      r->error = run_request (r);
      complete (store->hub, r);
    }
  g_free (r);
  return NULL;
}

/* ---- Delivery, under the machine lock ---- */

/* What may be delivered next: anything in real time; else in the order of submission, as which back
   end is faster must not change a run. */
static Request *
take_done (TnBlockHub *hub)
{
  if (hub->source != NULL)
    return g_queue_pop_head (&hub->done);
  for (GList *l = hub->done.head; l != NULL; l = l->next)
    {
      Request *r = l->data;

      if (r->serial == hub->delivered)
        {
          g_queue_delete_link (&hub->done, l);
          return r;
        }
    }
  return NULL;
}

static Request *
pop_done (TnBlockHub *hub, bool wait)
{
  Request *r;

  g_mutex_lock (&hub->lock);
  while ((r = take_done (hub)) == NULL && wait && hub->in_flight > 0)
    g_cond_wait (&hub->cond, &hub->lock);
  g_mutex_unlock (&hub->lock);
  return r;
}

static void
deliver (TnBlockHub *hub, Request *r)
{
  hub->in_flight--;
  hub->delivered++;
  r->done (r->front->resource.owner->self, r->error, r->data);
  g_free (r);
}

static bool
deliver_all (TnBlockHub *hub, bool wait)
{
  bool any = false;
  Request *r;

  while ((r = pop_done (hub, wait)) != NULL)
    {
      deliver (hub, r);
      any = true;
    }
  return any;
}

bool
tn_machine_settle_blocks (TnMachine *m, bool wait)
{
  return deliver_all (m->blocks, wait);
}

void
tn_machine_drain_blocks (TnMachine *m)
{
  deliver_all (m->blocks, true);
}

static gboolean
source_dispatch (GSource *source, GSourceFunc callback, void *data)
{
  TnBlockHub *hub = data;

  g_source_set_ready_time (source, -1);
  tn_machine_lock (hub->machine);
  deliver_all (hub, false);
  tn_machine_unlock (hub->machine);
  return G_SOURCE_CONTINUE;
}

/* ---- Flushes that nobody asked for ---- */

#define IDLE_US (2 * G_USEC_PER_SEC)
#define BUSY_US (30 * G_USEC_PER_SEC)

static void submit (TnBlock *block, RequestKind kind, uint64_t offset, void *buffer, size_t size,
                    TnBlockFunc done, void *data);

static void
note_write (TnBlockHub *hub, Store *store)
{
  if (hub->idle == NULL)
    return;
  store->last_write = g_get_monotonic_time ();
  if (store->dirty)
    return;
  store->dirty = true;
  store->first_write = store->last_write;
  if (g_source_get_ready_time (hub->idle) < 0)
    g_source_set_ready_time (hub->idle, store->first_write + IDLE_US);
}

static void
idle_flushed (void *self, int error, void *data)
{
  Store *store = data;

  if (error != 0 && error != ENOMEDIUM)
    tn_machine_log (store->hub->machine, "machine", TN_LOG_WARNING,
                    "%s: what the guest wrote cannot be flushed: %s", store->name,
                    g_strerror (error));
}

/* Returns when to look again, or -1. */
static int64_t
flush_idle (Store *store, int64_t now)
{
  int64_t when = MIN (store->last_write + IDLE_US, store->first_write + BUSY_US);
  bool used = store->used;

  if (!store->dirty || store->front == NULL)
    return -1;
  if (when > now)
    return when;
  submit (store->front, REQUEST_FLUSH, 0, NULL, 0, idle_flushed, store);
  store->used = used;
  return -1;
}

static gboolean
idle_dispatch (GSource *source, GSourceFunc callback, void *data)
{
  TnBlockHub *hub = data;
  int64_t now = g_get_monotonic_time (), next = -1;

  tn_machine_lock (hub->machine);
  g_source_set_ready_time (source, -1);
  for (unsigned n = 0; n < hub->stores->len; n++)
    {
      int64_t when = flush_idle (hub->stores->pdata[n], now);

      if (when >= 0 && (next < 0 || when < next))
        next = when;
    }
  if (next >= 0)
    g_source_set_ready_time (source, next);
  tn_machine_unlock (hub->machine);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs idle_funcs = { .dispatch = idle_dispatch };

/* ---- Delivery in real and counted time ---- */

static GSourceFuncs source_funcs = { .dispatch = source_dispatch };

static gboolean
source_callback (void *data)
{
  return G_SOURCE_CONTINUE;
}

/* Those that were submitted before; what their completion submits has an event of its own. */
static void
counted_event (void *data)
{
  TnBlockHub *hub = data;
  Request *r;

  for (unsigned n = hub->in_flight; n > 0 && (r = pop_done (hub, true)) != NULL; n--)
    deliver (hub, r);
}

/* ---- Hub and stores ---- */

static GSource *
add_source (TnBlockHub *hub, GSourceFuncs *funcs)
{
  GSource *source = g_source_new (funcs, sizeof (GSource));

  g_source_set_callback (source, source_callback, hub, NULL);
  g_source_attach (source, hub->machine->context);
  return source;
}

static void
remove_source (GSource *source)
{
  if (source == NULL)
    return;
  g_source_destroy (source);
  g_source_unref (source);
}

TnBlockHub *
tn_block_hub_new (TnMachine *m, bool by_hand)
{
  TnBlockHub *hub = g_new0 (TnBlockHub, 1);

  hub->machine = m;
  hub->by_hand = by_hand;
  hub->stores = g_ptr_array_new ();
  g_mutex_init (&hub->lock);
  g_cond_init (&hub->cond);
  g_queue_init (&hub->done);
  if (by_hand)
    return hub;
  if (tn_clock_mode (m->clock) == TN_CLOCK_COUNTED)
    {
      hub->event = tn_event_new (m->clock, counted_event, hub);
      return hub;
    }
  hub->source = add_source (hub, &source_funcs);
  hub->idle = add_source (hub, &idle_funcs);
  return hub;
}

static void
store_free (Store *store)
{
  if (store->worker != NULL)
    {
      g_async_queue_push (store->queue, g_new0 (Request, 1));
      g_thread_join (store->worker);
    }
  g_async_queue_unref (store->queue);
  g_free (store->name);
  g_free (store);
}

void
tn_block_hub_free (TnBlockHub *hub)
{
  if (hub == NULL)
    return;
  g_assert (hub->in_flight == 0);
  for (unsigned n = 0; n < hub->stores->len; n++)
    store_free (hub->stores->pdata[n]);
  g_ptr_array_unref (hub->stores);
  remove_source (hub->source);
  remove_source (hub->idle);
  tn_event_free (hub->event);
  g_mutex_clear (&hub->lock);
  g_cond_clear (&hub->cond);
  g_free (hub);
}

static Store *
find_store (TnMachine *m, const char *name)
{
  for (unsigned n = 0; n < m->blocks->stores->len; n++)
    {
      Store *store = m->blocks->stores->pdata[n];

      if (strcmp (store->name, name) == 0)
        return store;
    }
  return NULL;
}

static Store *
get_store (TnMachine *m, const char *name)
{
  Store *store = find_store (m, name);

  if (store != NULL)
    return store;
  store = g_new0 (Store, 1);
  store->hub = m->blocks;
  store->name = g_strdup (name);
  store->queue = g_async_queue_new ();
  g_ptr_array_add (m->blocks->stores, store);
  return store;
}

static const TnBlockOps *
store_ops (const Store *store, void **self)
{
  if (store->ops != NULL)
    {
      *self = store->self;
      return store->ops;
    }
  if (store->back == NULL || !store->back->instance->realized)
    return NULL;
  *self = store->back->instance->self;
  return store->back->instance->plugin->block_ops;
}

void
tn_block_add_host (TnMachine *m, const char *name, const TnBlockOps *ops, void *self)
{
  Store *store = get_store (m, name);

  store->ops = ops;
  store->self = self;
}

bool
tn_block_has_host (TnMachine *m, const char *name)
{
  Store *store = find_store (m, name);

  return store != NULL && store->ops != NULL;
}

static void
tell_changed (TnMachine *m, const char *name)
{
  Store *store = find_store (m, name);
  TnBlock *front = store ? store->front : NULL;

  if (front != NULL && front->changed != NULL && m->loading == 0)
    front->changed (front->resource.owner->self, front->data);
}

void
tn_block_host_changed (TnMachine *m, const char *name)
{
  tell_changed (m, name);
}

void
tn_device_block_changed (TnDevice *device)
{
  g_return_if_fail (device != NULL);
  tell_changed (device->machine, device->name);
}

/* ---- Front ends ---- */

static void
block_detach (TnResource *resource)
{
  TnBlock *block = (TnBlock *) resource;

  if (block->store != NULL && block->store->front == block)
    block->store->front = NULL;
}

static void
block_attach (TnResource *resource)
{
  TnBlock *block = (TnBlock *) resource;

  if (block->store != NULL)
    block->store->front = block;
}

/* Requests hold a pointer to their stream: none may outlive it. */
static void
block_free (TnResource *resource)
{
  tn_machine_drain_blocks (((TnBlock *) resource)->machine);
  block_detach (resource);
  g_free (resource);
}

static void
block_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  TnBlock *block = (TnBlock *) resource;

  func (data, "block", 0, 0, block->store ? block->store->name : NULL);
}

static const TnResourceClass block_class = { .kind = "block",
                                             .detach = block_detach,
                                             .attach = block_attach,
                                             .free = block_free,
                                             .describe = block_describe };

static Store *
link_store (TnDevice *device, const char *link, GError **error)
{
  TnMachine *m = device->machine;
  TnDevice *back = tn_machine_find (m, link);
  Store *store;

  if (back == NULL && !tn_block_has_host (m, link))
    {
      tn_device_fail (device, error, TN_ERROR_MISSING, "there is no disk back end named '%s'",
                      link);
      return NULL;
    }
  if (back != NULL && back->instance->plugin->kind != TN_KIND_BLOCK)
    {
      tn_device_fail (device, error, TN_ERROR_CONFIG, "'%s' is not a disk back end", link);
      return NULL;
    }
  store = get_store (m, link);
  store->back = back;
  if (store->front == NULL)
    return store;
  tn_device_fail (device, error, TN_ERROR_CLASH, "the disk back end '%s' already serves %s", link,
                  store->front->resource.owner->device->name);
  return NULL;
}

TnBlock *
tn_device_block (TnDevice *device, const char *link, TnMediaFunc changed, void *data,
                 GError **error)
{
  Store *store = NULL;
  TnBlock *block;

  g_return_val_if_fail (device != NULL, NULL);
  if (link != NULL && (store = link_store (device, link, error)) == NULL)
    return NULL;
  block = g_new0 (TnBlock, 1);
  block->machine = device->machine;
  block->store = store;
  block->changed = changed;
  block->data = data;
  tn_resource_init (&block->resource, &block_class, device->instance);
  block_attach (&block->resource);
  return block;
}

TnBlockInfo
tn_block_info (const TnBlock *block)
{
  const TnBlockOps *ops = NULL;
  TnBlockInfo info;
  void *self;

  if (block != NULL && block->store != NULL)
    ops = store_ops (block->store, &self);
  if (ops == NULL)
    return (TnBlockInfo){ .sector_size = 512 };
  info = ops->info (self);
  if (!info.present)
    info.size = 0;
  return info;
}

static void
submit (TnBlock *block, RequestKind kind, uint64_t offset, void *buffer, size_t size,
        TnBlockFunc done, void *data)
{
  TnBlockHub *hub = block->machine->blocks;
  Store *store = block->store;
  Request *r = g_new0 (Request, 1);

  *r = (Request){ .kind = kind,
                  .front = block,
                  .offset = offset,
                  .buffer = buffer,
                  .size = size,
                  .done = done,
                  .data = data };
  if (store)
    store->used = true;
  if (store && kind == REQUEST_WRITE)
    note_write (hub, store);
  if (store && kind == REQUEST_FLUSH)
    store->dirty = false;
  r->ops = store ? store_ops (store, &r->self) : NULL;
  r->serial = hub->submitted++;
  hub->in_flight++;
  if (hub->event != NULL && tn_event_when (hub->event) == TN_TIME_NEVER)
    tn_event_set (hub->event, tn_clock_now (block->machine->clock) + COUNTED_LATENCY);
  if (r->ops == NULL)
    {
      r->error = ENOMEDIUM;
      complete (hub, r);
      return;
    }
  r->store = store;
  if (store->worker == NULL)
    store->worker = g_thread_new ("tenon-disk", worker, store);
  g_async_queue_push (store->queue, r);
}

void
tn_block_read (TnBlock *block, uint64_t offset, void *buffer, size_t size, TnBlockFunc done,
               void *data)
{
  g_return_if_fail (block != NULL && buffer != NULL && done != NULL);
  submit (block, REQUEST_READ, offset, buffer, size, done, data);
}

void
tn_block_write (TnBlock *block, uint64_t offset, const void *buffer, size_t size, TnBlockFunc done,
                void *data)
{
  g_return_if_fail (block != NULL && buffer != NULL && done != NULL);
  submit (block, REQUEST_WRITE, offset, (void *) buffer, size, done, data);
}

void
tn_block_flush (TnBlock *block, TnBlockFunc done, void *data)
{
  g_return_if_fail (block != NULL && done != NULL);
  submit (block, REQUEST_FLUSH, 0, NULL, 0, done, data);
}

void
tn_block_eject (TnBlock *block)
{
  const TnBlockOps *ops;
  void *self;

  g_return_if_fail (block != NULL);
  ops = block->store ? store_ops (block->store, &self) : NULL;
  if (ops != NULL && ops->eject != NULL)
    ops->eject (self);
}

void
tn_block_set_locked (TnBlock *block, bool locked)
{
  g_return_if_fail (block != NULL);
  block->locked = locked;
}

/* ---- Media ---- */

static bool
may_change (TnDevice *back, const char *file, bool force, GError **error)
{
  const TnPlugin *plugin = back->instance->plugin;
  Store *store = find_store (back->machine, back->name);

  if (plugin->kind != TN_KIND_BLOCK)
    return tn_device_fail (back, error, TN_ERROR_CONFIG,
                           "it is not a disk back end; name the one that holds the image");
  if (plugin->minor < 2 || plugin->block_ops->change == NULL)
    return tn_device_fail (back, error, TN_ERROR_CONFIG, "its medium cannot be changed");
  if (file == NULL && !plugin->block_ops->info (back->instance->self).present)
    return tn_device_fail (back, error, TN_ERROR_FAILED, "there is no medium in it");
  if (store != NULL && store->front != NULL && store->front->locked && !force)
    return tn_device_fail (back, error, TN_ERROR_FAILED,
                           "the guest has locked the medium in; eject it there, or add: force");
  return true;
}

bool
tn_machine_change_medium (TnMachine *m, TnDevice *back, const char *file, bool force,
                          GError **error)
{
  g_autofree char *path = file ? g_canonicalize_filename (file, m->base_dir) : NULL;

  if (!back->instance->realized || back->swapping)
    return tn_device_fail (back, error, TN_ERROR_FAILED, "it does not run, or is being swapped");
  if (!may_change (back, file, force, error))
    return false;
  tn_machine_drain_blocks (m);
  if (!back->instance->plugin->block_ops->change (back->instance->self, path, error))
    return false;
  tn_property_set_file (back->instance, "file", path);
  tell_changed (m, back->name);
  return true;
}

/* ---- Swap of a back end ---- */

bool
tn_block_backend_info (TnDevice *back, TnBlockInfo *info)
{
  Store *store = find_store (back->machine, back->name);

  if (store == NULL || store->front == NULL)
    return false;
  *info = tn_block_info (store->front);
  return true;
}

void
tn_block_commit (TnDevice *back, const TnBlockInfo *before)
{
  TnBlockInfo now;

  if (!tn_block_backend_info (back, &now))
    return;
  if (now.size != before->size || now.present != before->present
      || now.sector_size != before->sector_size || now.read_only != before->read_only)
    tell_changed (back->machine, back->name);
}

/* ---- For the title of a window ---- */

void
tn_machine_busy_blocks (TnMachine *m, GString *names)
{
  for (unsigned n = 0; n < m->blocks->stores->len; n++)
    {
      Store *store = m->blocks->stores->pdata[n];

      if (store->used)
        g_string_append_printf (names, "%s%s", names->len ? " " : "", store->name);
      store->used = false;
    }
}
