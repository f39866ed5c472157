/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Swap: other code for a device of a running machine.
 *
 *   load and check the file, and the configured properties and the saved fields against its tables
 *   drain disk requests, save; from here on lines are mute, the memory map is held
 *   detach the old instance; make, realize, reset the new one; copy memory; load; ops.restored
 *   commit: unrealize and free the old one      roll back: free the new one, attach the old one
 *   show the memory map, unmute: whoever watches a line is told if it differs now
 *
 * The lock is held all the time and no guest code runs, so the guest sees nothing but the
 * difference.
 */
#include "internal.h"

#include <unistd.h>

typedef struct {
  TnMachine *machine;
  TnDevice *device;
  TnInstance *old;
  TnInstance *new;
  GVariant *state;
  GBytes *routes;
  GHashTable *fds; /* copy of those of before */
} Swap;

/* ---- Which file, and is it one for this device? ---- */

static char *
find_file (TnMachine *m, TnDevice *device, const char *file, GError **error)
{
  const char *wanted = file ? file : device->wanted;

  if (file == NULL && g_file_test (tn_device_file (device), G_FILE_TEST_EXISTS))
    return g_strdup (tn_device_file (device));
  if (strchr (wanted, '/'))
    return g_canonicalize_filename (wanted, file ? NULL : m->base_dir);
  return tn_plugin_find (wanted, error);
}

static TnModule *
load_module (TnMachine *m, TnDevice *device, const char *file, GError **error)
{
  const TnPlugin *old = device->instance->plugin;
  const TnPlugin *new;
  char *path = find_file (m, device, file, error);
  TnModule *module = path ? tn_module_load (path, error) : NULL;

  g_free (path);
  if (module == NULL)
    return NULL;
  new = tn_module_plugin (module);
  if (strcmp (new->name, old->name) == 0 && new->kind == old->kind)
    return module;
  tn_device_fail (device, error, TN_ERROR_PLUGIN,
                  "%s is plugin '%s', expected another build of '%s'", tn_module_path (module),
                  new->name, old->name);
  tn_module_unref (module);
  return NULL;
}

/* ---- Descriptors of files ---- */

static GHashTable *
copy_fds (GHashTable *fds)
{
  GHashTable *copy = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GHashTableIter iter;
  void *name, *fd;

  g_hash_table_iter_init (&iter, fds);
  while (g_hash_table_iter_next (&iter, &name, &fd))
    g_hash_table_insert (copy, g_strdup (name), fd);
  return copy;
}

static bool
holds_fd (GHashTable *fds, int wanted)
{
  GHashTableIter iter;
  void *fd;

  g_hash_table_iter_init (&iter, fds);
  while (g_hash_table_iter_next (&iter, NULL, &fd))
    if (GPOINTER_TO_INT (fd) == wanted)
      return true;
  return false;
}

/* Closes what only one of the two sides knows: what the old one gave up, or what the new one
 * opened. */
static void
settle_fds (Swap *s, bool committed)
{
  TnDevice *device = s->device;
  GHashTableIter iter;
  void *fd;

  if (!committed)
    {
      g_hash_table_iter_init (&iter, device->fds);
      while (g_hash_table_iter_next (&iter, NULL, &fd))
        if (!holds_fd (s->fds, GPOINTER_TO_INT (fd)))
          close (GPOINTER_TO_INT (fd));
    }
  for (unsigned n = 0; n < device->closing->len; n++)
    {
      int number = g_array_index (device->closing, int, n);

      if (committed ? !holds_fd (device->fds, number) : !holds_fd (s->fds, number))
        close (number);
    }
  g_array_set_size (device->closing, 0);
  if (committed)
    g_hash_table_unref (s->fds);
  else
    {
      g_hash_table_unref (device->fds);
      device->fds = s->fds;
    }
}

/* ---- The exchange ---- */

/* Memory of the same name goes on with its bytes. */
static bool
copy_memory (Swap *s, GError **error)
{
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (s->old, &tn_region_class, n)) != NULL; n++)
    {
      TnRegion *from = (TnRegion *) resource;
      TnRegion *to = NULL;

      if (from->name == NULL)
        continue;
      for (unsigned i = 0; (resource = tn_ledger_nth (s->new, &tn_region_class, i)) != NULL; i++)
        if (g_strcmp0 (((TnRegion *) resource)->name, from->name) == 0)
          to = (TnRegion *) resource;
      if (to == NULL || to->memory->size != from->memory->size)
        return tn_device_fail (s->device, error, TN_ERROR_STATE,
                               "the new build has no memory '%s' of 0x%zx bytes", from->name,
                               from->memory->size);
      memcpy (to->memory->bytes, from->memory->bytes, from->memory->size);
    }
  return true;
}

static bool
bring_up (Swap *s, GError **error)
{
  if (!tn_properties_check_links (s->device, error) || !tn_instance_realize (s->new, error))
    return false;
  tn_instance_reset (s->new);
  return copy_memory (s, error) && tn_state_load_device (s->new, s->state, error);
}

static void
commit (Swap *s)
{
  TnDevice *device = s->device;

  tn_instance_unrealize (s->old);
  device->other = NULL;
  /* The card's class belongs to the schema; a changed one needs another card. */
  if (!tn_card_suits (device->card, s->new->plugin))
    {
      tn_card_forget (device->card);
      g_object_unref (device->card);
      device->card = tn_card_new (device, s->new->plugin);
    }
  tn_instance_free (s->old);
}

static void
roll_back (Swap *s)
{
  TnDevice *device = s->device;

  tn_instance_unrealize (s->new);
  device->instance = s->old;
  device->other = NULL;
  tn_instance_free (s->new);
  tn_ledger_attach (s->old);
  tn_memory_map_set_routes (s->machine->memory, s->routes);
}

static bool
exchange (Swap *s, TnModule *module, GError **error)
{
  TnDevice *device = s->device;
  bool done;

  s->old = device->instance;
  s->routes = tn_memory_map_routes (s->machine->memory);
  s->fds = copy_fds (device->fds);
  s->new = tn_instance_new (device, module);
  device->swapping = true;
  tn_ledger_detach (s->old);
  device->instance = s->new;
  device->other = s->old;
  done = bring_up (s, error);
  if (done)
    commit (s);
  else
    roll_back (s);
  settle_fds (s, done);
  device->swapping = false;
  g_bytes_unref (s->routes);
  return done;
}

static bool
swap_quiet (TnMachine *m, TnDevice *device, TnModule *module, GError **error)
{
  Swap s = { .machine = m, .device = device };
  TnBlockInfo before;
  bool disk, done;

  tn_machine_drain_blocks (m);
  disk = tn_block_backend_info (device, &before);
  device->swapping = true;
  s.state = g_variant_ref_sink (tn_state_save_device (device, false));
  m->loading++;
  tn_broker_mute (m->broker);
  tn_memory_map_hold (m->memory);
  done = exchange (&s, module, error);
  tn_regions_retry (m);
  tn_memory_map_commit (m->memory);
  m->loading--;
  tn_broker_unmute (m->broker);
  tn_char_commit (m);
  if (done && disk)
    tn_block_commit (device, &before);
  g_variant_unref (s.state);
  return done;
}

bool
tn_machine_swap (TnMachine *m, TnDevice *device, const char *file, GError **error)
{
  TnModule *module;
  bool done;

  if (!device->instance->realized || device->swapping)
    return tn_device_fail (device, error, TN_ERROR_FAILED, "it does not run, or is being swapped");
  module = load_module (m, device, file, error);
  if (module == NULL)
    return false;
  if (!tn_properties_check (device, tn_module_plugin (module), error))
    {
      tn_module_unref (module);
      return false;
    }
  tn_machine_quiesce (m);
  done = swap_quiet (m, device, module, error);
  tn_machine_resume (m);
  if (done)
    g_signal_emit_by_name (device, "swapped");
  return done;
}
