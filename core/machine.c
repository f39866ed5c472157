/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine: owns clock, buses, broker, hubs and devices; see machine.h for the life cycle.
 */
#include "internal.h"

/* ---- Locking and safe points ---- */

void
tn_machine_lock (TnMachine *m)
{
  g_rec_mutex_lock (&m->lock);
  if (m->locks++ == 0 && tn_posted_waiting (m->posted))
    tn_posted_arrive (m);
}

bool
tn_machine_trylock (TnMachine *m)
{
  if (!g_rec_mutex_trylock (&m->lock))
    return false;
  if (m->locks++ == 0 && tn_posted_waiting (m->posted))
    tn_posted_arrive (m);
  return true;
}

void
tn_machine_unlock (TnMachine *m)
{
  m->locks--;
  g_rec_mutex_unlock (&m->lock);
}

void
tn_machine_quiesce (TnMachine *m)
{
  if (m->hooks.quiesce)
    m->hooks.quiesce (m->opaque);
}

void
tn_machine_resume (TnMachine *m)
{
  if (m->hooks.resume)
    m->hooks.resume (m->opaque);
}

void
tn_machine_log (TnMachine *m, const char *category, TnLogLevel level, const char *format, ...)
{
  va_list args;
  char *text;

  if (m->hooks.log == NULL)
    return;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  m->hooks.log (m->opaque, category, level, NULL, text);
  g_free (text);
}

/* ---- Birth and death ---- */

static VmmVm *
make_vm (uint64_t ram_size, GError **error)
{
  const char *why = "RAM is a multiple of 1 MiB up to 3 GiB";
  VmmVm *vm = NULL;

  if (ram_size > 0 && ram_size % (1 << 20) == 0)
    vm = vmm_vm_new (ram_size, &why);
  if (vm == NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_FAILED,
                 "cannot make a machine of 0x%" G_GINT64_MODIFIER "x bytes of RAM: %s", ram_size,
                 why);
  return vm;
}

TnMachine *
tn_machine_new (const TnMachineConfig *config, GError **error)
{
  VmmVm *vm = make_vm (config->ram_size, error);
  TnMachine *m;

  if (vm == NULL)
    return NULL;
  m = g_new0 (TnMachine, 1);
  g_rec_mutex_init (&m->lock);
  m->vm = vm;
  m->ram_size = config->ram_size;
  m->context = g_main_context_ref (config->context ? config->context : g_main_context_default ());
  m->base_dir
      = config->base_dir ? g_canonicalize_filename (config->base_dir, NULL) : g_get_current_dir ();
  if (config->hooks)
    m->hooks = *config->hooks;
  m->opaque = config->opaque;
  m->devices = g_ptr_array_new ();
  m->clock = tn_clock_new (m, config->clock, config->wall_clock_offset_us);
  m->cycle_time = TN_TIME_NEVER;
  m->bus = tn_bus_new ();
  m->posted = tn_posted_new ();
  m->memory = tn_memory_map_new (m);
  m->broker = tn_broker_new (m);
  m->pci = tn_pci_bus_new ();
  m->dma = tn_isadma_new ();
  m->chars = tn_char_hub_new ();
  m->blocks = tn_block_hub_new (m, config->block_by_hand);
  m->displays = tn_display_hub_new (m);
  m->typist = tn_typist_new (m);
  return m;
}

void
tn_machine_free (TnMachine *m)
{
  if (m == NULL)
    return;
  tn_machine_lock (m);
  m->loading++;
  tn_broker_mute (m->broker);
  tn_memory_map_hold (m->memory);
  tn_machine_drain_blocks (m);
  /* Front ends end before the back ends that they use. */
  for (TnKind kind = TN_KIND_DEVICE; kind <= TN_KIND_DISPLAY; kind++)
    for (unsigned n = m->devices->len; n-- > 0;)
      {
        TnDevice *device = m->devices->pdata[n];

        if (device->instance->plugin->kind == kind)
          tn_instance_unrealize (device->instance);
      }
  tn_block_hub_free (m->blocks);
  while (m->devices->len > 0)
    tn_device_destroy (g_ptr_array_steal_index (m->devices, m->devices->len - 1));
  tn_typist_free (m->typist);
  tn_display_hub_free (m->displays);
  tn_char_hub_free (m->chars);
  tn_isadma_free (m->dma);
  tn_pci_bus_free (m->pci);
  tn_broker_free (m->broker);
  tn_memory_map_free (m->memory);
  tn_bus_free (m->bus);
  tn_clock_free (m->clock);
  g_ptr_array_unref (m->devices);
  g_main_context_unref (m->context);
  g_free (m->base_dir);
  vmm_vm_free (m->vm);
  tn_machine_unlock (m);
  g_rec_mutex_clear (&m->lock);
  tn_posted_free (m->posted);
  g_free (m);
}

VmmVm *
tn_machine_vm (TnMachine *m)
{
  return m->vm;
}

TnClock *
tn_machine_clock (TnMachine *m)
{
  return m->clock;
}

uint64_t
tn_machine_ram_size (TnMachine *m)
{
  return m->ram_size;
}

/* ---- Devices ---- */

GPtrArray *
tn_machine_devices (TnMachine *m)
{
  return m->devices;
}

TnDevice *
tn_machine_find (TnMachine *m, const char *name)
{
  for (unsigned n = 0; n < m->devices->len; n++)
    {
      TnDevice *device = m->devices->pdata[n];

      if (strcmp (device->name, name) == 0)
        return device;
    }
  return NULL;
}

static bool
name_is_free (TnMachine *m, const char *name, GError **error)
{
  if (*name == '\0' || strlen (name) > 63 || !g_str_is_ascii (name)
      || strpbrk (name, " :/\t\n") != NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
                 "'%s' cannot name a device: expected up to 63 letters, digits, '-' and '_'", name);
  else if (tn_machine_find (m, name) != NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_CLASH, "there is a device named '%s' already", name);
  else
    return true;
  return false;
}

TnDevice *
tn_machine_add (TnMachine *m, const char *name, const char *plugin, GError **error)
{
  TnModule *module;
  TnDevice *device;
  char *path;

  if (!name_is_free (m, name, error))
    return NULL;
  path = strchr (plugin, '/') ? g_canonicalize_filename (plugin, m->base_dir)
                              : tn_plugin_find (plugin, error);
  module = path ? tn_module_load (path, error) : NULL;
  g_free (path);
  if (module == NULL)
    return NULL;
  device = tn_device_new (m, name, plugin, module);
  g_ptr_array_add (m->devices, device);
  return device;
}

static bool
realize_kind (TnMachine *m, bool back_ends, GError **error)
{
  for (unsigned n = 0; n < m->devices->len; n++)
    {
      TnDevice *device = m->devices->pdata[n];

      if ((device->instance->plugin->kind != TN_KIND_DEVICE) == back_ends
          && (!tn_properties_check_links (device, error)
              || !tn_instance_realize (device->instance, error)))
        return false;
    }
  return true;
}

static void
unrealize_all (TnMachine *m)
{
  for (unsigned n = m->devices->len; n-- > 0;)
    tn_instance_unrealize (((TnDevice *) m->devices->pdata[n])->instance);
}

bool
tn_machine_realize (TnMachine *m, GError **error)
{
  bool done;

  tn_machine_quiesce (m);
  tn_memory_map_hold (m->memory);
  done = realize_kind (m, true, error) && realize_kind (m, false, error);
  if (!done)
    {
      m->loading++;
      tn_broker_mute (m->broker);
      unrealize_all (m);
      tn_broker_unmute (m->broker);
      m->loading--;
    }
  tn_memory_map_commit (m->memory);
  tn_machine_resume (m);
  m->realized = done;
  return done;
}

/* Lines tell their changes while devices are reset: each settles to what all say in the end. */
void
tn_machine_reset (TnMachine *m)
{
  tn_machine_quiesce (m);
  tn_machine_drain_blocks (m);
  tn_memory_map_hold (m->memory);
  for (unsigned n = 0; n < m->devices->len; n++)
    tn_instance_reset (((TnDevice *) m->devices->pdata[n])->instance);
  tn_memory_map_commit (m->memory);
  tn_char_commit (m);
  tn_machine_resume (m);
}
