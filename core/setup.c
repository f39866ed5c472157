/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "setup.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- Descriptors for the check: each file is loaded once and let go afterwards ---- */

static const TnPlugin *
find_plugin (void *opaque, const char *plugin, GError **error)
{
  GHashTable *modules = opaque;
  g_autofree char *path = strchr (plugin, '/') ? g_strdup (plugin) : tn_plugin_find (plugin, error);
  TnModule *module = path ? g_hash_table_lookup (modules, path) : NULL;

  if (path && !module)
    {
      module = tn_module_load (path, error);
      if (module)
        g_hash_table_insert (modules, g_steal_pointer (&path), module);
    }
  return module ? tn_module_plugin (module) : NULL;
}

static char **
plugin_names (void *opaque)
{
  g_autoptr (GPtrArray) files = tn_plugin_list ();
  GPtrArray *names = g_ptr_array_new ();

  for (guint i = 0; i < files->len; i++)
    {
      char *name = g_path_get_basename (files->pdata[i]);

      if (g_str_has_suffix (name, ".so"))
        name[strlen (name) - strlen (".so")] = 0;
      g_ptr_array_add (names, name);
    }
  g_ptr_array_add (names, NULL);
  return (char **) g_ptr_array_free (names, FALSE);
}

static char *
plugin_places (void *opaque)
{
  g_auto (GStrv) path = tn_plugin_path ();

  return path && *path ? g_strjoinv (", ", path) : g_strdup ("no directory at all");
}

static void
check (TnConfig *config, GPtrArray *errors)
{
  g_autoptr (GHashTable) modules
      = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) tn_module_unref);
  TnConfigPlugins plugins
      = { .find = find_plugin, .names = plugin_names, .places = plugin_places, .opaque = modules };

  tn_config_check (config, &plugins, errors);
  for (guint i = 0; i < config->devices->len; i++)
    {
      TnConfigDevice *d = config->devices->pdata[i];

      d->kind = d->type ? d->type->kind : TN_KIND_DEVICE;
      d->type = NULL; /* its module goes */
    }
}

TnConfig *
tn_setup_load (const char *file, const char *const *sets, int *code)
{
  g_autoptr (GPtrArray) errors = g_ptr_array_new_with_free_func (g_free);
  TnConfig *config = tn_config_load (file, sets, errors);

  *code = EX_OK;
  if (errors->len == 0 || config->devices->len)
    check (config, errors);
  if (errors->len == 0)
    return config;
  for (guint i = 0; i < errors->len; i++)
    fprintf (stderr, "%s\n", (char *) errors->pdata[i]);
  *code = access (file, R_OK) == 0 ? EX_CONFIG : EX_NOINPUT;
  tn_config_free (config);
  return NULL;
}

/* ---- Devices ---- */

/* With `trial`, leaves out what reaches into the host. */
static bool
reaches_host (TnDevice *device, const char *name)
{
  const TnProperty *p = tn_device_plugin (device)->properties;

  for (; p && p->name; p++)
    if (strcmp (p->name, name) == 0)
      return p->type == TN_PROP_TYPE_LINK || (p->type == TN_PROP_TYPE_FILE && !p->required);
  return false;
}

static bool
set_properties (TnDevice *device, const TnConfigDevice *d, bool trial, GError **error)
{
  for (guint i = 0; i < d->values->len; i++)
    {
      const TnConfigValue *v = d->values->pdata[i];

      if (!v->checked || !*v->checked || (trial && reaches_host (device, v->name)))
        continue;
      if (!tn_device_config_string (device, v->name, v->checked, error))
        {
          g_prefix_error (error, "%s:%u: %s: ", v->where.file ? v->where.file : "--set",
                          v->where.line, d->name);
          return false;
        }
    }
  return true;
}

static bool
add_devices (TnMachine *m, const TnConfig *config, bool trial, GError **error)
{
  for (guint i = 0; i < config->devices->len; i++)
    {
      const TnConfigDevice *d = config->devices->pdata[i];
      TnDevice *device;

      if (!d->enabled || (trial && d->kind != TN_KIND_DEVICE))
        continue;
      device = tn_machine_add (m, d->name, d->plugin, error);
      if (!device || !set_properties (device, d, trial, error))
        return false;
    }
  return true;
}

bool
tn_setup_devices (TnMachine *m, const TnConfig *config, GError **error)
{
  return add_devices (m, config, false, error);
}

/* The line of the device that an error speaks of: its message begins with the name. */
static void
print_trial_error (const TnConfig *config, const char *message)
{
  for (guint i = 0; i < config->devices->len; i++)
    {
      const TnConfigDevice *d = config->devices->pdata[i];
      size_t length = strlen (d->name);

      if (d->where.file && strncmp (message, d->name, length) == 0 && message[length] == ':')
        {
          fprintf (stderr, "%s:%u: %s\n", d->where.file, d->where.line, message);
          return;
        }
    }
  fprintf (stderr, "%s: %s\n", config->file, message);
}

bool
tn_setup_try (const TnConfig *config)
{
  const TnMachineConfig trial
      = { .ram_size = config->memory << 20, .clock = TN_CLOCK_COUNTED, .block_by_hand = true };
  g_autoptr (GError) error = NULL;
  TnMachine *m = tn_machine_new (&trial, &error);
  bool ok = false;

  if (m)
    {
      tn_machine_lock (m);
      ok = add_devices (m, config, true, &error) && tn_machine_realize (m, &error);
      tn_machine_unlock (m);
      tn_machine_free (m);
    }
  if (!ok)
    print_trial_error (config, error->message);
  return ok;
}

int64_t
tn_setup_clock_offset_us (const TnConfig *config)
{
  g_autoptr (GDateTime) now = config->rtc_local ? g_date_time_new_now_local () : NULL;

  return now ? g_date_time_get_utc_offset (now) : config->rtc_offset * G_USEC_PER_SEC;
}
