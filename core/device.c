/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TnDevice, the core's wrapper of a plugin's instance, and the services of device.h that are no
 * subject of their own: messages, errors, file descriptors, signals, wishes.
 */
#include "internal.h"

#include <glib-unix.h>
#include <unistd.h>

#define LOG_WINDOW_US (1000 * 1000)
#define LOG_PER_WINDOW 10

typedef GObjectClass TnDeviceClass;

static guint swapped_signal;

G_DEFINE_TYPE (TnDevice, tn_device, G_TYPE_OBJECT)

G_DEFINE_QUARK (tn - error - quark, tn_error)

/* ---- Instances ---- */

TnInstance *
tn_instance_new (TnDevice *device, TnModule *module)
{
  TnInstance *instance = g_new0 (TnInstance, 1);

  instance->device = device;
  instance->module = module;
  instance->plugin = tn_module_plugin (module);
  instance->self = g_malloc0 (instance->plugin->instance_size);
  *(TnDevice **) instance->self = device;
  instance->strings = g_string_chunk_new (64);
  g_queue_init (&instance->ledger);
  return instance;
}

void
tn_instance_free (TnInstance *instance)
{
  if (instance == NULL)
    return;
  g_assert (!instance->realized && instance->ledger.length == 0);
  g_free (instance->self);
  g_string_chunk_free (instance->strings);
  tn_module_unref (instance->module);
  g_free (instance);
}

bool
tn_instance_realize (TnInstance *instance, GError **error)
{
  GError *why = NULL;

  if (!tn_properties_apply (instance, error))
    return false;
  if (instance->plugin->ops.realize (instance->self, &why))
    {
      if (why != NULL)
        {
          tn_device_log (instance->device, TN_LOG_WARNING, "realize: %s", why->message);
          g_error_free (why);
        }
      instance->realized = true;
      return true;
    }
  tn_ledger_free (instance);
  if (why != NULL)
    g_propagate_error (error, why);
  else
    tn_device_fail (instance->device, error, TN_ERROR_FAILED, "refused to start without a reason");
  return false;
}

void
tn_instance_unrealize (TnInstance *instance)
{
  if (!instance->realized)
    return;
  if (instance->plugin->ops.unrealize)
    instance->plugin->ops.unrealize (instance->self);
  tn_ledger_free (instance);
  instance->realized = false;
}

void
tn_instance_reset (TnInstance *instance)
{
  tn_pci_reset_functions (instance);
  if (instance->plugin->ops.reset)
    instance->plugin->ops.reset (instance->self);
}

/* ---- Devices ---- */

static void
close_fd (void *fd)
{
  close (GPOINTER_TO_INT (fd));
}

static void
tn_device_finalize (GObject *object)
{
  TnDevice *device = (TnDevice *) object;

  g_free (device->name);
  g_free (device->wanted);
  g_hash_table_unref (device->values);
  G_OBJECT_CLASS (tn_device_parent_class)->finalize (object);
}

static void
tn_device_class_init (TnDeviceClass *class)
{
  class->finalize = tn_device_finalize;
  swapped_signal = g_signal_new ("swapped", tn_device_get_type (), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                 NULL, G_TYPE_NONE, 0);
}

static void
tn_device_init (TnDevice *device)
{
  device->values
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_variant_unref);
  device->fds = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  device->closing = g_array_new (FALSE, FALSE, sizeof (int));
}

TnDevice *
tn_device_new (TnMachine *m, const char *name, const char *wanted, TnModule *module)
{
  TnDevice *device = g_object_new (TN_TYPE_DEVICE, NULL);

  device->machine = m;
  device->name = g_strdup (name);
  device->wanted = g_strdup (wanted);
  device->instance = tn_instance_new (device, module);
  device->card = tn_card_new (device, device->instance->plugin);
  return device;
}

void
tn_device_destroy (TnDevice *device)
{
  GHashTableIter iter;
  void *fd;

  tn_instance_unrealize (device->instance);
  tn_card_forget (device->card);
  g_clear_object (&device->card);
  g_clear_pointer (&device->instance, tn_instance_free);
  g_hash_table_iter_init (&iter, device->fds);
  while (g_hash_table_iter_next (&iter, NULL, &fd))
    close_fd (fd);
  g_hash_table_unref (device->fds);
  g_array_unref (device->closing);
  device->machine = NULL;
  g_object_unref (device);
}

const char *
tn_device_name (TnDevice *device)
{
  g_return_val_if_fail (device != NULL, NULL);
  return device->name;
}

void *
tn_device_instance (TnDevice *device)
{
  g_return_val_if_fail (device != NULL, NULL);
  return device->instance->self;
}

const TnPlugin *
tn_device_plugin (TnDevice *device)
{
  return device->instance->plugin;
}

const char *
tn_device_file (TnDevice *device)
{
  return tn_module_path (device->instance->module);
}

bool
tn_device_realized (TnDevice *device)
{
  return device->instance->realized;
}

GObject *
tn_device_card (TnDevice *device)
{
  return device->card;
}

/* ---- Messages and errors ---- */

/* Guest errors of a device: so many a second, then a count of the rest. */
static bool
log_allowed (TnDevice *device)
{
  int64_t now = g_get_monotonic_time ();
  unsigned suppressed = device->log_suppressed;

  if (now - device->log_window >= LOG_WINDOW_US || device->log_window == 0)
    {
      device->log_window = now;
      device->log_count = device->log_suppressed = 0;
      if (suppressed > 0)
        tn_device_log (device, TN_LOG_GUEST_ERROR, "%u more such messages were left out",
                       suppressed);
    }
  if (device->log_count++ < LOG_PER_WINDOW)
    return true;
  device->log_suppressed++;
  return false;
}

void
tn_device_log (TnDevice *device, TnLogLevel level, const char *format, ...)
{
  TnMachine *m;
  va_list args;
  char *text;

  g_return_if_fail (device != NULL && format != NULL);
  m = device->machine;
  if (m->hooks.log == NULL || (level == TN_LOG_GUEST_ERROR && !log_allowed (device)))
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  m->hooks.log (m->opaque, device->instance->plugin->name, level, device->name, text);
  g_free (text);
}

bool
tn_device_fail (TnDevice *device, GError **error, TnErrorCode code, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, TN_ERROR, code, "%s: %s", device->name, text);
  g_free (text);
  return false;
}

void
tn_device_firmware_message (TnDevice *device, const char *line)
{
  TnMachine *m = device->machine;

  g_return_if_fail (line != NULL);
  if (m->hooks.log)
    m->hooks.log (m->opaque, "firmware", TN_LOG_DEBUG, device->name, line);
}

/* ---- Signals and wishes ---- */

void
tn_device_emit (TnDevice *device, const char *signal, uint64_t value)
{
  g_return_if_fail (device != NULL && signal != NULL);
  if (device->machine->loading == 0)
    tn_card_emit (device->card, signal, value);
}

void
tn_device_request_reset (TnDevice *device, TnResetKind kind)
{
  TnMachine *m = device->machine;

  if (m->hooks.request_reset && m->loading == 0)
    m->hooks.request_reset (m->opaque, kind);
}

void
tn_device_request_poweroff (TnDevice *device)
{
  TnMachine *m = device->machine;

  if (m->hooks.request_poweroff && m->loading == 0)
    m->hooks.request_poweroff (m->opaque);
}

/* ---- File descriptors ---- */

/* What a source holds: it may be in dispatch, waiting for the lock, while the watch is freed. */
typedef struct {
  gatomicrefcount refs;
  TnMachine *machine;
  TnWatch *watch; /* NULL when freed; under the lock */
} WatchLink;

struct TnWatch {
  TnResource resource;
  WatchLink *link;
  GSource *source; /* on the machine's context; NULL while muted */
  int fd;
  unsigned condition;
  TnWatchFunc func;
  void *data;
};

static void
watch_link_unref (void *data)
{
  WatchLink *link = data;

  if (g_atomic_ref_count_dec (&link->refs))
    g_free (link);
}

static gboolean
watch_ready (int fd, GIOCondition condition, void *data)
{
  WatchLink *link = data;
  TnWatch *watch;

  tn_machine_lock (link->machine);
  watch = link->watch;
  if (watch != NULL && (condition & (watch->condition | G_IO_ERR | G_IO_HUP | G_IO_NVAL)))
    watch->func (watch->resource.owner->self, fd, condition, watch->data);
  tn_machine_unlock (link->machine);
  return G_SOURCE_CONTINUE;
}

static void
watch_mute (TnWatch *watch)
{
  if (watch->source == NULL)
    return;
  g_source_destroy (watch->source);
  g_clear_pointer (&watch->source, g_source_unref);
}

static void
watch_arm (TnWatch *watch)
{
  watch_mute (watch);
  if (watch->condition == 0)
    return;
  watch->source = g_unix_fd_source_new (watch->fd, watch->condition);
  g_atomic_ref_count_inc (&watch->link->refs);
  g_source_set_callback (watch->source, (GSourceFunc) (void (*) (void)) watch_ready, watch->link,
                         watch_link_unref);
  g_source_attach (watch->source, watch->link->machine->context);
}

static void
watch_free (TnResource *resource)
{
  TnWatch *watch = (TnWatch *) resource;

  watch_mute (watch);
  watch->link->watch = NULL;
  watch_link_unref (watch->link);
  g_free (watch);
}

static void
watch_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  func (data, "fd", ((TnWatch *) resource)->fd, 1, NULL);
}

static const TnResourceClass watch_class
    = { .kind = "fd", .free = watch_free, .describe = watch_describe };

TnWatch *
tn_device_watch_fd (TnDevice *device, int fd, unsigned condition, TnWatchFunc func, void *data)
{
  TnWatch *watch;

  g_return_val_if_fail (device != NULL && fd >= 0 && func != NULL, NULL);
  watch = g_new0 (TnWatch, 1);
  watch->link = g_new0 (WatchLink, 1);
  g_atomic_ref_count_init (&watch->link->refs);
  watch->link->machine = device->machine;
  watch->link->watch = watch;
  watch->fd = fd;
  watch->func = func;
  watch->data = data;
  tn_resource_init (&watch->resource, &watch_class, device->instance);
  tn_watch_set_condition (watch, condition);
  return watch;
}

void
tn_watch_set_condition (TnWatch *watch, unsigned condition)
{
  g_return_if_fail (watch != NULL);
  if (watch->condition == condition)
    return;
  watch->condition = condition;
  watch_arm (watch);
}

void
tn_watch_free (TnWatch *watch)
{
  if (watch != NULL)
    tn_resource_free (&watch->resource);
}

/* ---- Descriptors that outlive a swap ---- */

bool
tn_device_swapping (TnDevice *device)
{
  g_return_val_if_fail (device != NULL, false);
  return device->swapping;
}

/* A descriptor that goes away in a swap is closed when the swap commits: until then the old
   instance may have to go on with it. */
void
tn_device_keep_fd (TnDevice *device, const char *name, int fd)
{
  void *old;

  g_return_if_fail (device != NULL && name != NULL);
  if (g_hash_table_lookup_extended (device->fds, name, NULL, &old) && GPOINTER_TO_INT (old) != fd)
    {
      int number = GPOINTER_TO_INT (old);

      if (device->swapping)
        g_array_append_val (device->closing, number);
      else
        close (number);
    }
  if (fd < 0)
    g_hash_table_remove (device->fds, name);
  else
    g_hash_table_insert (device->fds, g_strdup (name), GINT_TO_POINTER (fd));
}

int
tn_device_take_fd (TnDevice *device, const char *name)
{
  void *fd;

  g_return_val_if_fail (device != NULL && name != NULL, -1);
  return g_hash_table_lookup_extended (device->fds, name, NULL, &fd) ? GPOINTER_TO_INT (fd) : -1;
}
