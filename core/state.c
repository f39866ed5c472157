/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Saved state.  A machine is a{sv}:
 *
 *   "format"   s   FORMAT
 *   "devices"  a   of TN_DEVICE_STATE_TYPE, in the order of adding:
 *                  (name, plugin, state version, fields, sources on lines, PCI configurations,
 *                   DREQs, bytes held to and from a character back end, memory on the card)
 *   "lines"    a(sb)  lines that the core drives
 *   "cpus"     v   what the machine half adds
 *
 * Loading checks everything that can be checked against tables first; then all devices are reset,
 * loaded, and asked whether what they got is possible.  If one says no, the state from before is
 * loaded back.  Line levels are loaded silently: watchers saved what they had seen of them.
 */
#include "internal.h"

#define FORMAT "tenon-machine-1"
#define DEVICES_TYPE "a" TN_DEVICE_STATE_TYPE

enum { S_NAME, S_PLUGIN, S_VERSION, S_FIELDS, S_LINES, S_PCI, S_DMA, S_CHARS, S_MEMORY };

/* ---- One device ---- */

static GVariant *
save_memory (TnInstance *instance)
{
  GVariantBuilder builder;
  TnResource *resource;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(say)"));
  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_region_class, n)) != NULL; n++)
    {
      TnRegion *r = (TnRegion *) resource;

      if (r->name != NULL)
        g_variant_builder_add (
            &builder, "(s@ay)", r->name,
            g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, r->memory->bytes, r->memory->size, 1));
    }
  return g_variant_builder_end (&builder);
}

static GVariant *
save_chars (TnDevice *device)
{
  if (device->instance->plugin->kind == TN_KIND_CHAR)
    return tn_char_save (device);
  return g_variant_new ("(@ay@ay)", g_variant_new_array (G_VARIANT_TYPE_BYTE, NULL, 0),
                        g_variant_new_array (G_VARIANT_TYPE_BYTE, NULL, 0));
}

GVariant *
tn_state_save_device (TnDevice *device, bool with_memory)
{
  TnInstance *instance = device->instance;

  if (instance->plugin->ops.saving)
    instance->plugin->ops.saving (instance->self);
  return g_variant_new ("(ssu@a{sv}@a(sb)@a(uay)@a(ub)@(ayay)@a(say))", device->name,
                        instance->plugin->name, instance->plugin->state_version,
                        tn_fields_save (instance), tn_lines_save (instance), tn_pci_save (instance),
                        tn_isadma_save (instance), save_chars (device),
                        with_memory ? save_memory (instance)
                                    : g_variant_new_array (G_VARIANT_TYPE ("(say)"), NULL, 0));
}

static bool
check_fields (TnInstance *instance, GVariant *state, GError **error)
{
  const TnPlugin *plugin = instance->plugin;
  GVariant *fields;
  const char *name;
  guint32 version;
  bool valid;

  g_variant_get_child (state, S_PLUGIN, "&s", &name);
  g_variant_get_child (state, S_VERSION, "u", &version);
  if (strcmp (name, plugin->name) != 0)
    return tn_device_fail (instance->device, error, TN_ERROR_STATE,
                           "the saved state is of plugin '%s', expected '%s'", name, plugin->name);
  if (version < 1 || version > plugin->state_version)
    return tn_device_fail (
        instance->device, error, TN_ERROR_STATE,
        "the saved state is of version %u, but this build of %s knows versions 1 to %u", version,
        plugin->name, plugin->state_version);
  fields = g_variant_get_child_value (state, S_FIELDS);
  valid = tn_fields_load (plugin->fields, instance->device->name, NULL, fields, version, 0, error);
  g_variant_unref (fields);
  return valid;
}

/* Saved memory is that of the regions in order, name by name; loads it unless only a check. */
static bool
take_memory (TnInstance *instance, GVariant *state, bool load, GError **error)
{
  GVariant *list = g_variant_get_child_value (state, S_MEMORY);
  GVariantIter iter;
  TnResource *resource;
  unsigned used = 0;
  bool valid = true;

  g_variant_iter_init (&iter, list);
  for (unsigned n = 0; valid && (resource = tn_ledger_nth (instance, &tn_region_class, n)) != NULL;
       n++)
    {
      TnRegion *r = (TnRegion *) resource;
      GVariant *saved = NULL;
      const char *name;
      gsize size;
      const void *bytes;

      if (r->name == NULL)
        continue;
      valid = g_variant_iter_next (&iter, "(&s@ay)", &name, &saved);
      if (!valid)
        break;
      used++;
      bytes = g_variant_get_fixed_array (saved, &size, 1);
      valid = strcmp (name, r->name) == 0 && size == r->memory->size;
      if (valid && load)
        memcpy (r->memory->bytes, bytes, size);
      g_variant_unref (saved);
    }
  valid = valid && used == g_variant_n_children (list);
  g_variant_unref (list);
  return valid
         || tn_device_fail (instance->device, error, TN_ERROR_STATE,
                            "the saved memory does not suit the card's");
}

static bool
check_pci (TnInstance *instance, GVariant *state, GError **error)
{
  GVariant *pci = g_variant_get_child_value (state, S_PCI);
  bool valid = tn_pci_check (instance, pci, error);

  g_variant_unref (pci);
  return valid;
}

bool
tn_state_check_device (TnDevice *device, GVariant *state, GError **error)
{
  return check_fields (device->instance, state, error) && check_pci (device->instance, state, error)
         && take_memory (device->instance, state, false, error);
}

/* Everything but what ops.restored makes of it. */
static bool
load_parts (TnInstance *instance, GVariant *state, GError **error)
{
  TnDevice *device = instance->device;
  GVariant *fields = g_variant_get_child_value (state, S_FIELDS);
  GVariant *lines = g_variant_get_child_value (state, S_LINES);
  GVariant *pci = g_variant_get_child_value (state, S_PCI);
  GVariant *dma = g_variant_get_child_value (state, S_DMA);
  guint32 version;
  bool done;

  g_variant_get_child (state, S_VERSION, "u", &version);
  tn_timers_cancel (instance);
  done = tn_fields_load (instance->plugin->fields, device->name, instance->self, fields, version,
                         tn_clock_now (device->machine->clock), error);
  tn_lines_load (instance, lines);
  tn_pci_load (instance, pci);
  tn_isadma_load (instance, dma);
  g_variant_unref (fields);
  g_variant_unref (lines);
  g_variant_unref (pci);
  g_variant_unref (dma);
  return done;
}

static bool
restored (TnInstance *instance, GError **error)
{
  GError *why = NULL;

  if (instance->plugin->ops.restored == NULL
      || instance->plugin->ops.restored (instance->self, &why))
    {
      g_clear_error (&why);
      return true;
    }
  if (why != NULL)
    g_propagate_error (error, why);
  else
    tn_device_fail (instance->device, error, TN_ERROR_STATE,
                    "refused its saved state without a reason");
  return false;
}

/* For a swap: the instance was just realized and reset, its memory copied. */
bool
tn_state_load_device (TnInstance *instance, GVariant *state, GError **error)
{
  if (!check_fields (instance, state, error) || !check_pci (instance, state, error))
    return false;
  return load_parts (instance, state, error) && restored (instance, error);
}

/* ---- The machine ---- */

/* The n-th device that belongs to a saved machine, or NULL: who looks at it does not. */
static TnDevice *
nth_saved (TnMachine *m, unsigned n)
{
  for (unsigned i = 0; i < m->devices->len; i++)
    {
      TnDevice *device = m->devices->pdata[i];

      if (device->instance->plugin->kind != TN_KIND_DISPLAY && n-- == 0)
        return device;
    }
  return NULL;
}

static GVariant *
save_devices (TnMachine *m)
{
  GVariantBuilder builder;
  TnDevice *device;

  g_variant_builder_init (&builder, G_VARIANT_TYPE (DEVICES_TYPE));
  for (unsigned n = 0; (device = nth_saved (m, n)) != NULL; n++)
    g_variant_builder_add_value (&builder, tn_state_save_device (device, true));
  return g_variant_builder_end (&builder);
}

GVariant *
tn_machine_save (TnMachine *m, GError **error)
{
  GVariantBuilder builder;
  GVariant *cpus;

  if (!m->realized)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_STATE,
                   "the machine does not run: there is nothing to save");
      return NULL;
    }
  tn_machine_quiesce (m);
  tn_machine_drain_blocks (m);
  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&builder, "{sv}", "format", g_variant_new_string (FORMAT));
  g_variant_builder_add (&builder, "{sv}", "devices", save_devices (m));
  g_variant_builder_add (&builder, "{sv}", "lines", tn_broker_save_driven (m->broker));
  cpus = m->hooks.save_cpus ? m->hooks.save_cpus (m->opaque) : NULL;
  if (cpus != NULL)
    g_variant_builder_add (&builder, "{sv}", "cpus", cpus);
  if (cpus != NULL && !g_variant_is_floating (cpus))
    g_variant_unref (cpus);
  tn_machine_resume (m);
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static bool
refuse (GError **error, const char *why)
{
  g_set_error (error, TN_ERROR, TN_ERROR_STATE, "saved state: %s", why);
  return false;
}

static bool
check_devices (TnMachine *m, GVariant *devices, GError **error)
{
  unsigned count = g_variant_n_children (devices);
  bool valid = true;

  if ((count > 0 && nth_saved (m, count - 1) == NULL) || nth_saved (m, count) != NULL)
    return refuse (error, "it is of a machine with other devices");
  for (unsigned n = 0; n < count && valid; n++)
    {
      TnDevice *device = nth_saved (m, n);
      GVariant *state = g_variant_get_child_value (devices, n);
      const char *name;

      g_variant_get_child (state, S_NAME, "&s", &name);
      if (strcmp (name, device->name) != 0)
        valid = tn_device_fail (device, error, TN_ERROR_STATE,
                                "the saved state has device '%s' in its place", name);
      else
        valid = tn_state_check_device (device, state, error);
      g_variant_unref (state);
    }
  return valid;
}

static bool
check_keys (GVariant *state, GError **error)
{
  static const char *const known[] = { "format", "devices", "lines", "cpus", NULL };
  unsigned seen = 0;
  GVariantIter iter;
  const char *name;

  g_variant_iter_init (&iter, state);
  while (g_variant_iter_next (&iter, "{&sv}", &name, NULL))
    {
      unsigned n = 0;

      while (known[n] != NULL && strcmp (known[n], name) != 0)
        n++;
      if (known[n] == NULL || (seen & 1u << n))
        return refuse (error, "it has a part that is unknown or comes twice");
      seen |= 1u << n;
    }
  return true;
}

static void
reset_devices (TnMachine *m)
{
  for (unsigned n = 0; n < m->devices->len; n++)
    tn_instance_reset (((TnDevice *) m->devices->pdata[n])->instance);
}

static bool
load_device (TnDevice *device, GVariant *state, GError **error)
{
  if (!load_parts (device->instance, state, error)
      || !take_memory (device->instance, state, true, error))
    return false;
  if (device->instance->plugin->kind == TN_KIND_CHAR)
    {
      GVariant *chars = g_variant_get_child_value (state, S_CHARS);

      tn_char_load (device, chars);
      g_variant_unref (chars);
    }
  return true;
}

static bool
load_devices (TnMachine *m, GVariant *devices, GVariant *lines, GError **error)
{
  bool done = true;

  unsigned count = g_variant_n_children (devices);

  for (unsigned n = 0; n < count && done; n++)
    {
      GVariant *state = g_variant_get_child_value (devices, n);

      done = load_device (nth_saved (m, n), state, error);
      g_variant_unref (state);
    }
  tn_broker_load_driven (m->broker, lines);
  tn_broker_settle (m->broker);
  for (unsigned n = 0; n < count && done; n++)
    done = restored (nth_saved (m, n)->instance, error);
  return done;
}

typedef struct {
  GVariant *devices, *lines, *cpus;
} Parts;

static void
parts_clear (Parts *parts)
{
  g_clear_pointer (&parts->devices, g_variant_unref);
  g_clear_pointer (&parts->lines, g_variant_unref);
  g_clear_pointer (&parts->cpus, g_variant_unref);
}

static bool
parts_take (Parts *parts, TnMachine *m, GVariant *state, GError **error)
{
  const char *format;

  if (!g_variant_is_of_type (state, G_VARIANT_TYPE_VARDICT) || !g_variant_is_normal_form (state))
    return refuse (error, "it is damaged, or no saved machine");
  if (!check_keys (state, error))
    return false;
  if (!g_variant_lookup (state, "format", "&s", &format) || strcmp (format, FORMAT) != 0)
    return refuse (error, "it is of another format; expected " FORMAT);
  parts->devices = g_variant_lookup_value (state, "devices", G_VARIANT_TYPE (DEVICES_TYPE));
  parts->lines = g_variant_lookup_value (state, "lines", G_VARIANT_TYPE ("a(sb)"));
  parts->cpus = g_variant_lookup_value (state, "cpus", NULL);
  if (parts->devices == NULL || parts->lines == NULL)
    return refuse (error, "its devices or lines are missing");
  if ((parts->cpus != NULL) != (m->hooks.load_cpus != NULL))
    return refuse (error, "it is of a machine with other processors");
  return check_devices (m, parts->devices, error)
         && (parts->cpus == NULL || m->hooks.load_cpus (m->opaque, parts->cpus, true, error));
}

static bool
load_or_put_back (TnMachine *m, const Parts *parts, GError **error)
{
  GVariant *before = g_variant_ref_sink (save_devices (m));
  GVariant *lines = g_variant_ref_sink (tn_broker_save_driven (m->broker));
  GError *why = NULL;
  bool done;

  /* Fields that the saved state does not have, as it is older, get their reset values. */
  reset_devices (m);
  done = load_devices (m, parts->devices, parts->lines, error)
         && (parts->cpus == NULL || m->hooks.load_cpus (m->opaque, parts->cpus, false, error));
  /* Putting back does without a reset: a device that has just refused what its fields hold now
     cannot be asked to work with them. */
  if (!done && !load_devices (m, before, lines, &why))
    {
      tn_machine_log (m, "machine", TN_LOG_ERROR, "the state before could not be put back: %s",
                      why->message);
      g_error_free (why);
    }
  g_variant_unref (before);
  g_variant_unref (lines);
  return done;
}

bool
tn_machine_load (TnMachine *m, GVariant *state, GError **error)
{
  Parts parts = { NULL };
  bool done;

  if (!m->realized)
    return refuse (error, "the machine does not run yet");
  if (!parts_take (&parts, m, state, error))
    {
      parts_clear (&parts);
      return false;
    }
  tn_machine_quiesce (m);
  tn_machine_drain_blocks (m);
  m->loading++;
  tn_broker_mute (m->broker);
  tn_memory_map_hold (m->memory);
  done = load_or_put_back (m, &parts, error);
  tn_memory_map_commit (m->memory);
  m->loading--;
  tn_broker_unmute (m->broker);
  tn_broker_tell_core (m->broker);
  tn_char_commit (m);
  tn_machine_resume (m);
  parts_clear (&parts);
  return done;
}
