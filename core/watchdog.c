/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `tenon run --watch`: the directories of the plugins in use are watched, and a device is swapped
 * when the file of its plugin has changed and then been left alone for a moment (linkers write in
 * several steps).
 */
#include "run.h"

#include <string.h>

#define SETTLE_MS 300

struct TnWatchdog {
  TnRun *run;
  GPtrArray *monitors;
  GHashTable *changed; /* set of paths */
  guint timer;
};

/* Names of devices whose plugin is this file. */
static GPtrArray *
users_of (TnWatchdog *w, const char *path)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  GPtrArray *devices;

  tn_machine_lock (w->run->machine);
  devices = tn_machine_devices (w->run->machine);
  for (guint i = 0; i < devices->len; i++)
    if (strcmp (tn_device_file (devices->pdata[i]), path) == 0)
      g_ptr_array_add (names, g_strdup (tn_device_name (devices->pdata[i])));
  tn_machine_unlock (w->run->machine);
  return names;
}

static void
swap_users (TnWatchdog *w, const char *path)
{
  g_autoptr (GPtrArray) names = users_of (w, path);

  if (!g_file_test (path, G_FILE_TEST_IS_REGULAR))
    return; /* being rebuilt: it comes back */
  for (guint i = 0; i < names->len; i++)
    {
      const char *name = names->pdata[i];
      g_autoptr (GError) error = NULL;

      if (tn_run_swap (w->run, name, path, &error))
        tn_log_print (w->run->log, "watch", TN_LOG_INFO, "%s: swapped, now %s", name, path);
      else
        tn_log_print (w->run->log, "watch", TN_LOG_ERROR,
                      "%s: not swapped, the old one runs on: %s", name, error->message);
    }
}

static gboolean
settled (void *data)
{
  TnWatchdog *w = data;
  g_autoptr (GHashTable) changed = w->changed;
  GHashTableIter iter;
  void *path;

  w->timer = 0;
  w->changed = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_hash_table_iter_init (&iter, changed);
  while (g_hash_table_iter_next (&iter, &path, NULL))
    swap_users (w, path);
  return G_SOURCE_REMOVE;
}

static void
note (TnWatchdog *w, GFile *file)
{
  g_autofree char *path = file ? g_file_get_path (file) : NULL;

  if (!path || !g_str_has_suffix (path, ".so"))
    return;
  g_hash_table_add (w->changed, g_steal_pointer (&path));
  if (w->timer)
    g_source_remove (w->timer);
  w->timer = g_timeout_add (SETTLE_MS, settled, w);
}

static void
changed (GFileMonitor *monitor, GFile *file, GFile *other, GFileMonitorEvent event, void *data)
{
  if (event == G_FILE_MONITOR_EVENT_ATTRIBUTE_CHANGED || event == G_FILE_MONITOR_EVENT_DELETED
      || event == G_FILE_MONITOR_EVENT_MOVED_OUT)
    return;
  note (data, file);
  note (data, other);
}

static void
watch (TnWatchdog *w, const char *directory)
{
  g_autoptr (GFile) file = g_file_new_for_path (directory);
  g_autoptr (GError) error = NULL;
  GFileMonitor *monitor = g_file_monitor_directory (file, G_FILE_MONITOR_WATCH_MOVES, NULL, &error);

  if (!monitor)
    {
      tn_log_print (w->run->log, "watch", TN_LOG_WARNING, "cannot watch %s: %s", directory,
                    error->message);
      return;
    }
  g_signal_connect (monitor, "changed", G_CALLBACK (changed), w);
  g_ptr_array_add (w->monitors, monitor);
}

TnWatchdog *
tn_watchdog_new (TnRun *run)
{
  TnWatchdog *w = g_new0 (TnWatchdog, 1);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GPtrArray *devices = tn_machine_devices (run->machine);

  w->run = run;
  w->monitors = g_ptr_array_new_with_free_func (g_object_unref);
  w->changed = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < devices->len; i++)
    {
      char *directory = g_path_get_dirname (tn_device_file (devices->pdata[i]));

      if (!g_hash_table_contains (seen, directory))
        watch (w, directory);
      g_hash_table_add (seen, directory);
    }
  return w;
}

void
tn_watchdog_free (TnWatchdog *w)
{
  if (!w)
    return;
  if (w->timer)
    g_source_remove (w->timer);
  for (guint i = 0; i < w->monitors->len; i++)
    g_signal_handlers_disconnect_by_data (w->monitors->pdata[i], w);
  g_ptr_array_unref (w->monitors);
  g_hash_table_unref (w->changed);
  g_free (w);
}
