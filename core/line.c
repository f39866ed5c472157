/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The IRQ broker: named wires.  A wire is a GObject whose signal "changed" tells its level; the
 * level is the OR of its sources, each of which belongs to a device's ledger or to the core.
 *
 * A wire remembers the level that it told last.  While the broker is muted (a swap, a load, a reset
 * of the whole machine) sources change silently; unmuting tells only what is different then.
 */
#include "internal.h"

#define MAX_ROUNDS 64 /* watchers that change the wire they watch */

typedef struct {
  GObject parent;
  char *name;
  TnBroker *broker;
  unsigned high; /* sources that are high */
  bool told;     /* level that the watchers know */
  bool telling;
  unsigned edges;
  TnLine *driven; /* the core's own source; lazily made */
} TnWire;

typedef GObjectClass TnWireClass;

struct TnLine {
  TnResource resource;
  TnWire *wire;
  bool level;
};

typedef struct {
  TnResource resource;
  TnWire *wire;
  gulong handler;
  TnLineFunc func;
  void *data;
} LineWatch;

typedef struct {
  TnMachineLineFunc func;
  void *data;
  TnWire *wire;
} CoreWatch;

struct TnBroker {
  TnMachine *machine;
  GHashTable *wires;  /* name -> TnWire */
  GPtrArray *order;   /* the same, in the order of creation */
  GPtrArray *watches; /* CoreWatch */
  unsigned muted;
  TnResource *inta, *dma; /* of interrupt controller services */
  GPtrArray *eoi;
};

/* ---- Wires ---- */

static guint changed_signal;

GType tn_wire_get_type (void);
G_DEFINE_TYPE (TnWire, tn_wire, G_TYPE_OBJECT)

static void
tn_wire_finalize (GObject *object)
{
  TnWire *wire = (TnWire *) object;

  g_free (wire->driven);
  g_free (wire->name);
  G_OBJECT_CLASS (tn_wire_parent_class)->finalize (object);
}

static void
tn_wire_class_init (TnWireClass *class)
{
  class->finalize = tn_wire_finalize;
  changed_signal = g_signal_new ("changed", tn_wire_get_type (), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                 NULL, G_TYPE_NONE, 1, G_TYPE_BOOLEAN);
}

static void
tn_wire_init (TnWire *wire)
{
}

static TnWire *
get_wire (TnBroker *broker, const char *name)
{
  TnWire *wire = g_hash_table_lookup (broker->wires, name);

  if (wire != NULL)
    return wire;
  wire = g_object_new (tn_wire_get_type (), NULL);
  wire->name = g_strdup (name);
  wire->broker = broker;
  g_hash_table_insert (broker->wires, wire->name, wire);
  g_ptr_array_add (broker->order, wire);
  return wire;
}

static void
tell (TnWire *wire)
{
  if (wire->broker->muted || wire->telling)
    return;
  wire->telling = true;
  for (unsigned n = 0; n < MAX_ROUNDS && wire->told != (wire->high > 0) && !wire->broker->muted;
       n++)
    {
      wire->told = wire->high > 0;
      wire->edges += wire->told;
      g_signal_emit (wire, changed_signal, 0, (gboolean) wire->told);
    }
  wire->telling = false;
}

static void
set_level (TnLine *line, bool level)
{
  if (line->level == level)
    return;
  line->level = level;
  line->wire->high += level ? 1 : -1;
  tell (line->wire);
}

/* ---- Broker ---- */

TnBroker *
tn_broker_new (TnMachine *m)
{
  TnBroker *broker = g_new0 (TnBroker, 1);

  broker->machine = m;
  broker->wires = g_hash_table_new (g_str_hash, g_str_equal);
  broker->order = g_ptr_array_new_with_free_func (g_object_unref);
  broker->watches = g_ptr_array_new_with_free_func (g_free);
  broker->eoi = g_ptr_array_new ();
  return broker;
}

void
tn_broker_free (TnBroker *broker)
{
  if (broker == NULL)
    return;
  g_hash_table_unref (broker->wires);
  g_ptr_array_unref (broker->order);
  g_ptr_array_unref (broker->watches);
  g_ptr_array_unref (broker->eoi);
  g_free (broker);
}

void
tn_broker_mute (TnBroker *broker)
{
  broker->muted++;
}

void
tn_broker_unmute (TnBroker *broker)
{
  g_assert (broker->muted > 0);
  if (--broker->muted > 0)
    return;
  for (unsigned n = 0; n < broker->order->len; n++)
    tell (broker->order->pdata[n]);
}

void
tn_broker_settle (TnBroker *broker)
{
  for (unsigned n = 0; n < broker->order->len; n++)
    {
      TnWire *wire = broker->order->pdata[n];

      wire->told = wire->high > 0;
    }
}

void
tn_broker_tell_core (TnBroker *broker)
{
  for (unsigned n = 0; n < broker->watches->len; n++)
    {
      CoreWatch *watch = broker->watches->pdata[n];

      watch->func (watch->data, watch->wire->told);
    }
}

unsigned
tn_broker_edges (TnBroker *broker, const char *name)
{
  TnWire *wire = get_wire (broker, name);
  unsigned edges = wire->edges;

  wire->edges = 0;
  return edges;
}

/* ---- Sources ---- */

static void
line_free (TnResource *resource)
{
  TnLine *line = (TnLine *) resource;

  set_level (line, false);
  g_free (line);
}

static void
line_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  TnLine *line = (TnLine *) resource;

  func (data, "line", line->level, line->wire->high > 0, line->wire->name);
}

const TnResourceClass tn_line_class
    = { .kind = "line", .free = line_free, .describe = line_describe };

TnLine *
tn_line_new (TnInstance *instance, const char *name)
{
  TnLine *line = g_new0 (TnLine, 1);

  line->wire = get_wire (instance->device->machine->broker, name);
  tn_resource_init (&line->resource, &tn_line_class, instance);
  return line;
}

TnLine *
tn_device_line (TnDevice *device, const char *name)
{
  g_return_val_if_fail (device != NULL && name != NULL, NULL);
  return tn_line_new (device->instance, name);
}

void
tn_line_set (TnLine *line, bool level)
{
  g_return_if_fail (line != NULL);
  set_level (line, level);
}

bool
tn_line_level (const TnLine *line)
{
  g_return_val_if_fail (line != NULL, false);
  return line->level;
}

void
tn_line_pulse (TnLine *line)
{
  g_return_if_fail (line != NULL);
  set_level (line, true);
  set_level (line, false);
}

bool
tn_device_line_level (TnDevice *device, const char *name)
{
  g_return_val_if_fail (device != NULL && name != NULL, false);
  return tn_machine_line_level (device->machine, name);
}

bool
tn_machine_line_level (TnMachine *m, const char *name)
{
  TnWire *wire = g_hash_table_lookup (m->broker->wires, name);

  return wire != NULL && wire->high > 0;
}

void
tn_machine_drive_line (TnMachine *m, const char *name, bool level)
{
  TnWire *wire = get_wire (m->broker, name);

  if (wire->driven == NULL)
    {
      wire->driven = g_new0 (TnLine, 1);
      wire->driven->wire = wire;
    }
  set_level (wire->driven, level);
}

/* ---- Watchers ---- */

static void
watch_changed (TnWire *wire, gboolean level, LineWatch *watch)
{
  watch->func (watch->resource.owner->self, level, watch->data);
}

static void
watch_free (TnResource *resource)
{
  LineWatch *watch = (LineWatch *) resource;

  g_signal_handler_disconnect (watch->wire, watch->handler);
  g_free (watch);
}

static void
watch_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  LineWatch *watch = (LineWatch *) resource;

  func (data, "watch", 0, watch->wire->high > 0, watch->wire->name);
}

static const TnResourceClass watch_class
    = { .kind = "watch", .free = watch_free, .describe = watch_describe };

void
tn_device_watch_line (TnDevice *device, const char *name, TnLineFunc func, void *data)
{
  LineWatch *watch;

  g_return_if_fail (device != NULL && name != NULL && func != NULL);
  watch = g_new0 (LineWatch, 1);
  watch->wire = get_wire (device->machine->broker, name);
  watch->func = func;
  watch->data = data;
  watch->handler = g_signal_connect (watch->wire, "changed", G_CALLBACK (watch_changed), watch);
  tn_resource_init (&watch->resource, &watch_class, device->instance);
}

static void
core_watch_changed (TnWire *wire, gboolean level, CoreWatch *watch)
{
  watch->func (watch->data, level);
}

void
tn_machine_watch_line (TnMachine *m, const char *name, TnMachineLineFunc func, void *data)
{
  CoreWatch *watch = g_new0 (CoreWatch, 1);

  *watch = (CoreWatch){ func, data, get_wire (m->broker, name) };
  g_ptr_array_add (m->broker->watches, watch);
  g_signal_connect (watch->wire, "changed", G_CALLBACK (core_watch_changed), watch);
}

/* ---- Saving ---- */

GVariant *
tn_lines_save (TnInstance *instance)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(sb)"));
  for (GList *l = instance->ledger.head; l != NULL; l = l->next)
    {
      TnLine *line = l->data;

      if (line->resource.class == &tn_line_class)
        g_variant_builder_add (&builder, "(sb)", line->wire->name, (gboolean) line->level);
    }
  return g_variant_builder_end (&builder);
}

/* The n-th saved source of a name is the n-th of that name now. */
static bool
saved_level (GVariant *levels, const char *name, unsigned n)
{
  GVariantIter iter;
  const char *saved;
  gboolean level;

  g_variant_iter_init (&iter, levels);
  while (g_variant_iter_next (&iter, "(&sb)", &saved, &level))
    if (strcmp (saved, name) == 0 && n-- == 0)
      return level;
  return false;
}

void
tn_lines_load (TnInstance *instance, GVariant *levels)
{
  GHashTable *seen = g_hash_table_new (NULL, NULL);

  for (GList *l = instance->ledger.head; l != NULL; l = l->next)
    {
      TnLine *line = l->data;
      unsigned n;

      if (line->resource.class != &tn_line_class)
        continue;
      n = GPOINTER_TO_UINT (g_hash_table_lookup (seen, line->wire));
      g_hash_table_insert (seen, line->wire, GUINT_TO_POINTER (n + 1));
      set_level (line, saved_level (levels, line->wire->name, n));
    }
  g_hash_table_unref (seen);
}

GVariant *
tn_broker_save_driven (TnBroker *broker)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(sb)"));
  for (unsigned n = 0; n < broker->order->len; n++)
    {
      TnWire *wire = broker->order->pdata[n];

      if (wire->driven != NULL && wire->driven->level)
        g_variant_builder_add (&builder, "(sb)", wire->name, TRUE);
    }
  return g_variant_builder_end (&builder);
}

void
tn_broker_load_driven (TnBroker *broker, GVariant *levels)
{
  GVariantIter iter;
  const char *name;
  gboolean level;

  for (unsigned n = 0; n < broker->order->len; n++)
    {
      TnWire *wire = broker->order->pdata[n];

      if (wire->driven != NULL)
        set_level (wire->driven, false);
    }
  g_variant_iter_init (&iter, levels);
  while (g_variant_iter_next (&iter, "(&sb)", &name, &level))
    tn_machine_drive_line (broker->machine, name, level);
}

/* ---- Interrupt controllers ---- */

typedef struct {
  TnResource resource;
  TnIntaFunc func;
} Inta;

static void
inta_detach (TnResource *resource)
{
  TnBroker *broker = resource->owner->device->machine->broker;

  if (broker->inta == resource)
    broker->inta = NULL;
}

static void
inta_attach (TnResource *resource)
{
  resource->owner->device->machine->broker->inta = resource;
}

static void
inta_free (TnResource *resource)
{
  inta_detach (resource);
  g_free (resource);
}

static const TnResourceClass inta_class
    = { .kind = "inta", .detach = inta_detach, .attach = inta_attach, .free = inta_free };

bool
tn_device_provide_inta (TnDevice *device, TnIntaFunc func, GError **error)
{
  TnBroker *broker = device->machine->broker;
  Inta *inta;

  if (broker->inta != NULL)
    return tn_device_fail (device, error, TN_ERROR_CLASH,
                           "%s answers interrupt acknowledge cycles already",
                           broker->inta->owner->device->name);
  inta = g_new0 (Inta, 1);
  inta->func = func;
  tn_resource_init (&inta->resource, &inta_class, device->instance);
  broker->inta = &inta->resource;
  return true;
}

uint8_t
tn_machine_inta (TnMachine *m)
{
  Inta *inta = (Inta *) m->broker->inta;

  if (inta != NULL)
    return inta->func (inta->resource.owner->self);
  tn_machine_log (m, "machine", TN_LOG_GUEST_ERROR,
                  "interrupt acknowledge without an interrupt controller");
  return 0xff;
}

void
tn_device_send_apic (TnDevice *device, const TnApicMessage *message)
{
  TnMachine *m = device->machine;

  g_return_if_fail (message != NULL);
  if (m->hooks.send_apic && m->loading == 0)
    m->hooks.send_apic (m->opaque, message);
}

typedef struct {
  TnResource resource;
  TnEoiFunc func;
} EoiWatch;

static void
eoi_detach (TnResource *resource)
{
  g_ptr_array_remove (resource->owner->device->machine->broker->eoi, resource);
}

static void
eoi_attach (TnResource *resource)
{
  g_ptr_array_add (resource->owner->device->machine->broker->eoi, resource);
}

static void
eoi_free (TnResource *resource)
{
  eoi_detach (resource);
  g_free (resource);
}

static const TnResourceClass eoi_class
    = { .kind = "eoi", .detach = eoi_detach, .attach = eoi_attach, .free = eoi_free };

void
tn_device_watch_eoi (TnDevice *device, TnEoiFunc func)
{
  EoiWatch *watch = g_new0 (EoiWatch, 1);

  watch->func = func;
  tn_resource_init (&watch->resource, &eoi_class, device->instance);
  eoi_attach (&watch->resource);
}

void
tn_machine_apic_eoi (TnMachine *m, uint8_t vector)
{
  for (unsigned n = 0; n < m->broker->eoi->len; n++)
    {
      EoiWatch *watch = m->broker->eoi->pdata[n];

      watch->func (watch->resource.owner->self, vector);
    }
}
