/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plugins as files: the search path, private copies, loading.
 *
 * Each load maps a private copy (a memfd), so that a rebuilt file under the same name is new code
 * for the dynamic linker, and so that whoever overwrites the file does not overwrite running code.
 * The descriptor keeps its number while the copy is mapped: the linker knows objects by name, and
 * the name is /proc/PID/fd/N.  Not /proc/self: a debugger opens what the linker's list names, and
 * would have one of its own descriptors.
 *
 * Sanitizers must be able to name the frames of freed code: in such a build nothing is unloaded,
 * and a file whose contents are loaded already is not loaded again.
 */
#include "config.h"
#include "internal.h"
#include "descriptor.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

struct TnModule {
  gatomicrefcount refs;
  char *path;
  int fd;
  void *handle;
  TnPlugin plugin; /* copy, extended with zeros */
  bool kept;       /* sanitizers: stands in the table of loaded contents */
};

#ifdef TENON_SANITIZERS
#define KEEP_LOADED true
#else
#define KEEP_LOADED false
#endif

/* ---- Search path ---- */

char **
tn_plugin_path (void)
{
  const char *path = g_getenv ("TENON_PLUGIN_PATH");
  GPtrArray *dirs = g_ptr_array_new ();
  char **parts = g_strsplit (path ? path : "", ":", -1);

  for (char **part = parts; *part != NULL; part++)
    if (**part != '\0')
      g_ptr_array_add (dirs, g_strdup (*part));
  g_strfreev (parts);
  g_ptr_array_add (dirs, g_strdup (TENON_PLUGINDIR));
  g_ptr_array_add (dirs, NULL);
  return (char **) g_ptr_array_free (dirs, FALSE);
}

static int
compare_strings (const void *a, const void *b)
{
  return strcmp (*(const char *const *) a, *(const char *const *) b);
}

static void
list_directory (const char *directory, GHashTable *seen, GPtrArray *paths)
{
  GDir *dir = g_dir_open (directory, 0, NULL);
  const char *name;

  if (dir == NULL)
    return;
  while ((name = g_dir_read_name (dir)) != NULL)
    if (g_str_has_suffix (name, ".so") && g_hash_table_add (seen, g_strdup (name)))
      g_ptr_array_add (paths, g_build_filename (directory, name, NULL));
  g_dir_close (dir);
}

GPtrArray *
tn_plugin_list (void)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func (g_free);
  GHashTable *seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  char **dirs = tn_plugin_path ();

  for (char **dir = dirs; *dir != NULL; dir++)
    list_directory (*dir, seen, paths);
  g_strfreev (dirs);
  g_hash_table_unref (seen);
  g_ptr_array_sort (paths, compare_strings);
  return paths;
}

static void
set_missing (const char *name, char **dirs, GError **error)
{
  GPtrArray *paths = tn_plugin_list ();
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);
  char *where = g_strjoinv (":", dirs);
  const char *meant;

  for (unsigned n = 0; n < paths->len; n++)
    {
      char *base = g_path_get_basename (paths->pdata[n]);

      base[strlen (base) - 3] = '\0';
      g_ptr_array_add (names, base);
    }
  g_ptr_array_add (names, NULL);
  meant = tn_suggest (name, (const char *const *) names->pdata);
  if (meant != NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_MISSING, "no plugin '%s' in %s; did you mean '%s'?",
                 name, where, meant);
  else
    g_set_error (error, TN_ERROR, TN_ERROR_MISSING, "no plugin '%s' in %s", name, where);
  g_free (where);
  g_ptr_array_unref (names);
  g_ptr_array_unref (paths);
}

char *
tn_plugin_find (const char *name, GError **error)
{
  char **dirs = tn_plugin_path ();
  char *found = NULL;

  for (char **dir = dirs; *dir != NULL && found == NULL; dir++)
    {
      char *file = g_strconcat (name, ".so", NULL);

      found = g_build_filename (*dir, file, NULL);
      g_free (file);
      if (!g_file_test (found, G_FILE_TEST_IS_REGULAR))
        g_clear_pointer (&found, g_free);
    }
  if (found == NULL)
    set_missing (name, dirs, error);
  g_strfreev (dirs);
  return found;
}

/* ---- Loading ---- */

static bool
fail (const char *path, GError **error, const char *why)
{
  g_set_error (error, TN_ERROR, TN_ERROR_PLUGIN, "%s: %s", path, why);
  return false;
}

static bool
write_all (int fd, const char *bytes, size_t size)
{
  while (size > 0)
    {
      ssize_t n = write (fd, bytes, size);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return false;
      bytes += n;
      size -= n;
    }
  return true;
}

static int
private_copy (const char *path, const char *bytes, size_t size, GError **error)
{
  char *base = g_path_get_basename (path);
  int fd = memfd_create (base, MFD_CLOEXEC);

  g_free (base);
  if (fd >= 0 && write_all (fd, bytes, size))
    return fd;
  fail (path, error, g_strerror (errno));
  if (fd >= 0)
    close (fd);
  return -1;
}

/* Libraries that came with the plugin stay: they may have registered things in GLib or made
 * threads. */
static void
pin_libraries (void *handle)
{
  struct link_map *map;
  const char *strings = NULL;

  if (dlinfo (handle, RTLD_DI_LINKMAP, &map) != 0)
    return;
  for (ElfW (Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++)
    if (d->d_tag == DT_STRTAB)
      strings = (const char *) d->d_un.d_ptr;
  for (ElfW (Dyn) *d = map->l_ld; strings != NULL && d->d_tag != DT_NULL; d++)
    if (d->d_tag == DT_NEEDED)
      {
        void *library = dlopen (strings + d->d_un.d_val, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);

        if (library != NULL)
          dlclose (library);
      }
}

static bool
open_object (TnModule *module, GError **error)
{
  char name[40];
  const TnPlugin *plugin;

  g_snprintf (name, sizeof name, "/proc/%d/fd/%d", (int) getpid (), module->fd);
  module->handle = dlopen (name, RTLD_NOW | RTLD_LOCAL);
  if (module->handle == NULL)
    {
      const char *why = dlerror ();

      /* The linker names the private copy, which says nothing to the user. */
      if (g_str_has_prefix (why, name))
        why += strlen (name) + (why[strlen (name)] == ':') + (why[strlen (name)] == ':' ? 1 : 0);
      return fail (module->path, error, why);
    }
  pin_libraries (module->handle);
  plugin = dlsym (module->handle, TN_PLUGIN_SYMBOL);
  if (plugin == NULL)
    return fail (module->path, error,
                 "no symbol " TN_PLUGIN_SYMBOL ": not a Tenon plugin of this major version");
  return tn_descriptor_take (&module->plugin, plugin, module->path, error);
}

static void
module_free (TnModule *module)
{
  if (module->handle != NULL && !KEEP_LOADED)
    dlclose (module->handle);
  if (module->fd >= 0 && (!KEEP_LOADED || module->handle == NULL))
    close (module->fd);
  g_free (module->path);
  g_free (module);
}

#ifdef TENON_SANITIZERS
/* Contents that are loaded: checksum -> TnModule.  Never emptied; under the lock of its own. */
static GMutex loaded_lock;
static GHashTable *loaded;

static TnModule *
find_loaded (const char *sum)
{
  TnModule *module;

  g_mutex_lock (&loaded_lock);
  if (loaded == NULL)
    loaded = g_hash_table_new (g_str_hash, g_str_equal);
  module = g_hash_table_lookup (loaded, sum);
  if (module != NULL)
    tn_module_ref (module);
  g_mutex_unlock (&loaded_lock);
  return module;
}

static void
note_loaded (char *sum, TnModule *module)
{
  g_mutex_lock (&loaded_lock);
  g_hash_table_insert (loaded, sum, tn_module_ref (module));
  g_mutex_unlock (&loaded_lock);
}
#endif

static TnModule *
load_bytes (const char *path, const char *bytes, size_t size, GError **error)
{
  const char *refusal = tn_elf_refusal ((const uint8_t *) bytes, size);
  TnModule *module;

  if (refusal != NULL)
    {
      fail (path, error, refusal);
      return NULL;
    }
  module = g_new0 (TnModule, 1);
  g_atomic_ref_count_init (&module->refs);
  module->path = g_strdup (path);
  module->fd = private_copy (path, bytes, size, error);
  if (module->fd >= 0 && open_object (module, error))
    return module;
  module_free (module);
  return NULL;
}

TnModule *
tn_module_load (const char *path, GError **error)
{
  TnModule *module;
  char *bytes;
  size_t size;

  if (!g_file_get_contents (path, &bytes, &size, error))
    return NULL;
#ifdef TENON_SANITIZERS
  char *sum = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (const uint8_t *) bytes, size);
  char *key = g_strconcat (sum, path, NULL);

  g_free (sum);
  module = find_loaded (key);
  if (module == NULL && (module = load_bytes (path, bytes, size, error)) != NULL)
    note_loaded (key, module);
  else
    g_free (key);
#else
  module = load_bytes (path, bytes, size, error);
#endif
  g_free (bytes);
  return module;
}

TnModule *
tn_module_ref (TnModule *module)
{
  g_atomic_ref_count_inc (&module->refs);
  return module;
}

void
tn_module_unref (TnModule *module)
{
  if (module != NULL && g_atomic_ref_count_dec (&module->refs))
    module_free (module);
}

const TnPlugin *
tn_module_plugin (const TnModule *module)
{
  return &module->plugin;
}

const char *
tn_module_path (const TnModule *module)
{
  return module->path;
}

/* ---- Suggestions ---- */

static unsigned
distance (const char *a, const char *b)
{
  size_t width = strlen (b) + 1;
  unsigned *row = g_new (unsigned, width);
  unsigned result;

  for (size_t j = 0; j < width; j++)
    row[j] = j;
  for (size_t i = 1; a[i - 1] != '\0'; i++)
    {
      unsigned corner = row[0];

      row[0] = i;
      for (size_t j = 1; j < width; j++)
        {
          unsigned change = corner + (a[i - 1] != b[j - 1]);

          corner = row[j];
          row[j] = MIN (change, MIN (row[j], row[j - 1]) + 1);
        }
    }
  result = row[width - 1];
  g_free (row);
  return result;
}

const char *
tn_suggest (const char *word, const char *const *candidates)
{
  const char *best = NULL;
  unsigned least = MAX (strlen (word) / 3, 2) + 1;

  if (strlen (word) > 64)
    return NULL;
  for (; *candidates != NULL; candidates++)
    {
      unsigned d = strlen (*candidates) > 64 ? least : distance (word, *candidates);

      if (d < least)
        {
          least = d;
          best = *candidates;
        }
    }
  return best;
}
