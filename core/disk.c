/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "disk.h"

#include "suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK_SIZE 512      /* bytes that a probe sees of either end */
#define CHUNK (1u << 20)   /* copied at once */
#define GRAIN (64u << 10)  /* zeros of at least this size are left out */
#define DEVICE_NAME "disk" /* of the machine's only device */

G_GNUC_PRINTF (3, 4)
static bool
fail (GError **error, TnErrorCode code, const char *format, ...)
{
  va_list args;
  g_autofree char *text = NULL;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, TN_ERROR, code, "%s", text);
  return false;
}

/* ---- Formats ---- */

static void
format_free (void *data)
{
  TnDiskFormat *f = data;

  g_free (f->name);
  tn_module_unref (f->module);
  g_free (f);
}

/* A plugin that cannot be loaded may be no disk; who needs it will hear of it. */
GPtrArray *
tn_disk_formats (void)
{
  g_autoptr (GPtrArray) files = tn_plugin_list ();
  GPtrArray *formats = g_ptr_array_new_with_free_func (format_free);

  for (guint i = 0; i < files->len; i++)
    {
      TnModule *module = tn_module_load (files->pdata[i], NULL);
      TnDiskFormat *f;
      const char *dash;

      if (module == NULL)
        continue;
      f = g_new0 (TnDiskFormat, 1);
      f->module = module;
      f->plugin = tn_module_plugin (module);
      dash = strchr (f->plugin->name, '-');
      f->name = g_strdup (dash ? dash + 1 : f->plugin->name);
      if (f->plugin->image_ops != NULL)
        g_ptr_array_add (formats, f);
      else
        format_free (f);
    }
  return formats;
}

static char *
format_names (const GPtrArray *formats)
{
  GString *names = g_string_new (NULL);

  for (guint i = 0; i < formats->len; i++)
    g_string_append_printf (names, "%s%s", i ? ", " : "",
                            ((TnDiskFormat *) formats->pdata[i])->name);
  return g_string_free (names, FALSE);
}

const TnDiskFormat *
tn_disk_format_named (const GPtrArray *formats, const char *name, GError **error)
{
  g_autofree char *names = format_names (formats);

  for (guint i = 0; i < formats->len; i++)
    {
      const TnDiskFormat *f = formats->pdata[i];

      if (strcmp (f->name, name) == 0 || strcmp (f->plugin->name, name) == 0)
        return f;
    }
  fail (error, TN_ERROR_CONFIG, "there is no format \"%s\"; the plugins bring: %s", name, names);
  return NULL;
}

const TnDiskFormat *
tn_disk_format_for (const GPtrArray *formats, const char *path, GError **error)
{
  g_autofree char *base = g_path_get_basename (path), *names = format_names (formats);
  const char *dot = strrchr (base, '.');
  g_autofree char *suffix = g_ascii_strdown (dot ? dot + 1 : "", -1);

  for (guint i = 0; i < formats->len; i++)
    {
      const TnDiskFormat *f = formats->pdata[i];
      const TnImageOps *image = f->plugin->image_ops;

      if (image->suffixes != NULL && image->create != NULL
          && g_strv_contains (image->suffixes, suffix))
        return f;
    }
  fail (error, TN_ERROR_CONFIG,
        "%s: its suffix does not tell the format; add --format, with one of: %s", path, names);
  return NULL;
}

static size_t
read_marks (const char *path, uint8_t *head, uint8_t *tail)
{
  int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  off_t size = fd < 0 ? 0 : lseek (fd, 0, SEEK_END);
  size_t count = MIN (MAX (size, 0), MARK_SIZE);

  memset (head, 0, MARK_SIZE);
  memset (tail, 0, MARK_SIZE);
  if (count > 0
      && (pread (fd, head, count, 0) != (ssize_t) count
          || pread (fd, tail, count, size - count) != (ssize_t) count))
    count = 0;
  if (fd >= 0)
    close (fd);
  return count;
}

const TnDiskFormat *
tn_disk_format_of (const GPtrArray *formats, const char *path, GError **error)
{
  uint8_t head[MARK_SIZE], tail[MARK_SIZE];
  size_t size = read_marks (path, head, tail);
  const TnDiskFormat *best = NULL;
  unsigned most = 0;

  for (guint i = 0; i < formats->len; i++)
    {
      const TnDiskFormat *f = formats->pdata[i];
      const TnImageOps *image = f->plugin->image_ops;
      unsigned score = image->probe ? image->probe (path, head, tail, size) : 0;

      if (score > most)
        {
          most = score;
          best = f;
        }
    }
  if (best == NULL)
    fail (error, TN_ERROR_IO, "%s: no plugin knows what this is", path);
  return best;
}

/* ---- Opening ---- */

static const TnProperty *
find_property (const TnPlugin *plugin, const char *name)
{
  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    if (strcmp (p->name, name) == 0)
      return p;
  return NULL;
}

static bool
set_one (TnDevice *device, const char *set, GError **error)
{
  const char *equals = strchr (set, '=');
  g_autofree char *name = g_strndup (set, equals ? equals - set : 0);

  if (equals == NULL)
    return fail (error, TN_ERROR_CONFIG, "expected PROPERTY=VALUE, found \"%s\"", set);
  if (tn_device_config_string (device, name, equals + 1, error))
    return true;
  if (error != NULL)
    (*error)->code = TN_ERROR_CONFIG; /* whatever it was, it is the command line's fault */
  return false;
}

static bool
configure (TnDisk *disk, const char *path, bool writable, const GPtrArray *sets, GError **error)
{
  TnDevice *d = disk->device;

  if (!tn_device_config_string (d, disk->image->property, path, error))
    return false;
  if (!writable && find_property (disk->format->plugin, "read-only") != NULL
      && !tn_device_config_bool (d, "read-only", true, error))
    return false;
  for (guint i = 0; sets != NULL && i < sets->len; i++)
    if (!set_one (d, sets->pdata[i], error))
      return false;
  return true;
}

/* The device's name means nothing to the user. */
static void
strip_name (GError *error)
{
  const char *prefix = DEVICE_NAME ": ";

  if (g_str_has_prefix (error->message, prefix))
    memmove (error->message, error->message + strlen (prefix),
             strlen (error->message) - strlen (prefix) + 1);
}

static void
print_log (void *opaque, const char *category, TnLogLevel level, const char *device,
           const char *text)
{
  if (level <= TN_LOG_WARNING)
    fprintf (stderr, "tenon: %s\n", text);
}

static const TnMachineHooks hooks = { .log = print_log };

static bool
realize (TnDisk *disk, const char *path, bool writable, const GPtrArray *sets, GError **error)
{
  TnMachine *m = disk->machine;

  disk->device = tn_machine_add (m, DEVICE_NAME, tn_module_path (disk->format->module), error);
  if (disk->device == NULL || !configure (disk, path, writable, sets, error)
      || !tn_machine_realize (m, error))
    return false;
  disk->self = tn_device_instance (disk->device);
  disk->ops = tn_device_plugin (disk->device)->block_ops;
  disk->image = tn_device_plugin (disk->device)->image_ops;
  disk->info = disk->ops->info (disk->self);
  return true;
}

TnDisk *
tn_disk_open (const TnDiskFormat *format, const char *path, bool writable, const GPtrArray *sets,
              GError **error)
{
  const TnMachineConfig nothing
      = { .ram_size = 1 << 20, .clock = TN_CLOCK_COUNTED, .block_by_hand = true, .hooks = &hooks };
  TnDisk *disk = g_new0 (TnDisk, 1);
  g_autoptr (GError) why = NULL;
  bool fine;

  disk->format = format;
  disk->image = format->plugin->image_ops;
  disk->machine = tn_machine_new (&nothing, error);
  if (disk->machine == NULL)
    {
      g_free (disk);
      return NULL;
    }
  tn_machine_lock (disk->machine);
  fine = realize (disk, path, writable, sets, &why);
  tn_machine_unlock (disk->machine);
  if (fine)
    return disk;
  strip_name (why);
  g_propagate_error (error, g_steal_pointer (&why));
  tn_disk_close (disk);
  return NULL;
}

void
tn_disk_close (TnDisk *disk)
{
  if (disk == NULL)
    return;
  tn_machine_free (disk->machine);
  g_free (disk);
}

/* ---- Copying ---- */

static bool
is_zero (const uint8_t *bytes, size_t size)
{
  return bytes[0] == 0 && memcmp (bytes, bytes + 1, size - 1) == 0;
}

static int
copy_chunk (TnDisk *from, TnDisk *to, uint64_t offset, uint8_t *buffer, size_t size)
{
  int error = from->ops->read (from->self, offset, buffer, size);

  for (size_t at = 0; error == 0 && at < size; at += GRAIN)
    {
      size_t count = MIN (GRAIN, size - at);

      if (!is_zero (buffer + at, count))
        error = to->ops->write (to->self, offset + at, buffer + at, count);
    }
  return error;
}

static int
copy_all (TnDisk *from, TnDisk *to, uint8_t *buffer, const TnImageMonitor *monitor, bool *stopped)
{
  uint64_t size = from->info.size, length;
  int error = 0;

  for (uint64_t at = 0; error == 0 && at < size && !*stopped; at += length)
    {
      bool stored = true;

      length = MIN (size - at, CHUNK - at % CHUNK);
      if (from->image->stored != NULL)
        {
          uint64_t same;

          stored = from->image->stored (from->self, at, &same);
          /* Keep to the grain, so that no zeros are copied for holes that end within it. */
          if (!stored && same >= GRAIN)
            length = MIN (size - at, same & -(uint64_t) GRAIN);
          else
            stored = true;
        }
      if (stored)
        error = copy_chunk (from, to, at, buffer, length);
      *stopped = !monitor->progress (monitor->data, at, size);
    }
  return error ? error : to->ops->flush (to->self);
}

bool
tn_disk_copy (TnDisk *from, TnDisk *to, const TnImageMonitor *monitor, GError **error)
{
  g_autofree uint8_t *buffer = g_malloc (CHUNK);
  bool stopped = false;
  int failure = copy_all (from, to, buffer, monitor, &stopped);

  if (stopped)
    return fail (error, TN_ERROR_FAILED, "interrupted");
  return failure == 0 || fail (error, TN_ERROR_IO, "copying failed: %s", g_strerror (failure));
}

/* ---- Targets ---- */

/* Whoever uses the file that is to be replaced has it locked. */
static bool
lock_present (TnDiskTarget *t, GError **error)
{
  struct flock wish = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  struct stat st;

  if (stat (t->path, &st) != 0)
    return true;
  if (!t->replace)
    return fail (error, TN_ERROR_IO, "%s is there already; --force replaces it", t->path);
  if (!S_ISREG (st.st_mode))
    return fail (error, TN_ERROR_IO, "%s is no file that could be replaced", t->path);
  t->lock = open (t->path, O_RDWR | O_CLOEXEC);
  if (t->lock < 0)
    return fail (error, TN_ERROR_IO, "cannot replace %s: %s", t->path, g_strerror (errno));
  if (fcntl (t->lock, F_OFD_SETLK, &wish) != 0 && (errno == EAGAIN || errno == EACCES))
    return fail (error, TN_ERROR_IO, "%s is in use by a machine or another program", t->path);
  return true;
}

TnDiskTarget *
tn_disk_target_new (const char *path, bool replace, GError **error)
{
  TnDiskTarget *t = g_new0 (TnDiskTarget, 1);
  g_autofree char *folder = NULL, *base = NULL, *name = NULL;

  t->path = g_canonicalize_filename (path, NULL);
  t->replace = replace;
  t->lock = -1;
  folder = g_path_get_dirname (t->path);
  base = g_path_get_basename (t->path);
  name = g_strdup_printf (".%s.%08x", base, g_random_int ());
  t->making = g_build_filename (folder, name, NULL);
  if (lock_present (t, error))
    return t;
  tn_disk_target_free (t);
  return NULL;
}

static void
sync_folder (const char *path)
{
  g_autofree char *folder = g_path_get_dirname (path);
  int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0)
    return;
  fsync (fd);
  close (fd);
}

static int
move (const TnDiskTarget *t)
{
  if (t->replace)
    return rename (t->making, t->path);
  if (renameat2 (AT_FDCWD, t->making, AT_FDCWD, t->path, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  if (link (t->making, t->path) != 0) /* file systems that do not know how not to replace */
    return -1;
  return unlink (t->making);
}

bool
tn_disk_target_finish (TnDiskTarget *t, GError **error)
{
  if (move (t) != 0)
    return fail (error, TN_ERROR_IO, "cannot make %s: %s", t->path, g_strerror (errno));
  sync_folder (t->path);
  g_clear_pointer (&t->making, g_free);
  return true;
}

void
tn_disk_target_free (TnDiskTarget *t)
{
  if (t == NULL)
    return;
  if (t->making != NULL)
    unlink (t->making);
  if (t->lock >= 0)
    close (t->lock);
  g_free (t->making);
  g_free (t->path);
  g_free (t);
}

/* ---- Sizes ---- */

bool
tn_disk_parse_size (const char *text, uint64_t *size)
{
  static const char units[] = "KMGT";
  char *end;
  uint64_t number;
  const char *unit;
  unsigned shift = 0;

  if (!g_ascii_isdigit (*text))
    return false;
  errno = 0;
  number = g_ascii_strtoull (text, &end, 10);
  if (errno != 0)
    return false;
  if (*end != '\0')
    {
      unit = strchr (units, g_ascii_toupper (*end));
      if (unit == NULL)
        return false;
      shift = 10 * (unit - units + 1);
      end++;
      if (g_ascii_strcasecmp (end, "iB") == 0 || g_ascii_strcasecmp (end, "B") == 0)
        end += strlen (end);
    }
  if (*end != '\0' || number > (UINT64_MAX >> shift))
    return false;
  *size = number << shift;
  return true;
}
