/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard disk images of Virtual PC (VHD): fixed, dynamic and differencing; and undo disks over these
 * or over raw images.  The format is told in vhd.h.
 *
 * An undo disk is a differencing image of the disk that is named in `file`; it is made when it is
 * not there.  The guest's changes go there, and the disk stays as it was, until they are committed
 * or discarded: by `undo-end`, when the machine ends, or by `tenon disk`.
 *
 * Departures: the footer's time stamps are never changed after the image was made, and its UUID
 * neither, so that children find a parent that was written to by the time of its file alone.
 */
#include "vhd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define KEY "image"

typedef struct {
  TnDevice *device;
  const char *file, *parent, *undo;
  uint32_t undo_end, parent_time;
  bool read_only;
  VhdImage *image;
} Disk;

enum { UNDO_KEEP, UNDO_COMMIT, UNDO_DISCARD };
enum { TIME_CHECK, TIME_IGNORE };

/* ---- Life ---- */

/* Errors of the files below do not know the device. */
static bool
named (Disk *d, bool fine, GError **error)
{
  if (!fine)
    g_prefix_error (error, "%s: ", tn_device_name (d->device));
  return fine;
}

static bool
make_undo (Disk *d, GError **error)
{
  TnImageSpec spec = { .path = d->undo, .parent = d->file, .type = "differencing" };

  if (g_file_test (d->undo, G_FILE_TEST_EXISTS) || tn_device_swapping (d->device))
    return true;
  if (!vhd_create (&spec, true, error))
    return false;
  tn_device_log (d->device, TN_LOG_INFO, "made the undo disk %s", d->undo);
  return true;
}

/* What the last machine left, if it did not come to its end. */
static bool
clear_undo (Disk *d, GError **error)
{
  if (d->undo == NULL || d->undo_end != UNDO_DISCARD || tn_device_swapping (d->device))
    return true;
  return vhd_discard (d->image, error);
}

static bool
open_image (Disk *d, GError **error)
{
  VhdOpen how = { .device = d->device,
                  .key = KEY,
                  .writable = !d->read_only,
                  .parent = d->parent,
                  .any_time = d->parent_time == TIME_IGNORE };

  if (d->undo != NULL && !make_undo (d, error))
    return false;
  if (d->undo != NULL)
    how.parent = d->file;
  d->image = vhd_open (&how, d->undo ? d->undo : d->file, error);
  if (how.warned)
    tn_device_log (d->device, TN_LOG_WARNING,
                   "%s cannot be locked here: keep others from writing it", d->file);
  return d->image != NULL && clear_undo (d, error);
}

static bool
check_properties (Disk *d, GError **error)
{
  if (d->undo != NULL && d->parent != NULL)
    return vhd_fail (error, TN_ERROR_CONFIG,
                     "parent and undo cannot be used together: the parent"
                     " of an undo disk is the file");
  if (d->undo != NULL && d->read_only)
    return vhd_fail (error, TN_ERROR_CONFIG, "read-only and undo cannot be used together");
  return true;
}

static bool
disk_realize (void *self, GError **error)
{
  Disk *d = self;

  d->image = NULL;
  if (check_properties (d, error) && open_image (d, error))
    return true;
  vhd_close (d->image);
  d->image = NULL;
  return named (d, false, error);
}

static void
end_undo (Disk *d)
{
  GError *error = NULL;
  bool fine = true;

  if (d->undo_end == UNDO_COMMIT)
    fine = vhd_commit (d->image, NULL, &error);
  else if (d->undo_end == UNDO_DISCARD)
    fine = vhd_discard (d->image, &error);
  if (fine)
    return;
  tn_device_log (d->device, TN_LOG_ERROR, "%s; the changes are kept in %s", error->message,
                 d->undo);
  g_error_free (error);
}

static void
disk_unrealize (void *self)
{
  Disk *d = self;

  if (d->undo != NULL && !tn_device_swapping (d->device))
    end_undo (d);
  vhd_close (d->image);
  d->image = NULL;
}

/* The successor in a swap reads from the file what this one knows; a saved state goes with it. */
static void
disk_saving (void *self)
{
  Disk *d = self;
  int failure = vhd_flush (d->image);

  if (failure != 0)
    tn_device_log (d->device, TN_LOG_ERROR, "cannot flush %s: %s", d->image->path,
                   g_strerror (failure));
}

/* ---- Requests (on the worker thread) ---- */

static TnBlockInfo
disk_info (void *self)
{
  const Disk *d = self;

  return (TnBlockInfo){ .size = d->image->size,
                        .sector_size = VHD_SECTOR,
                        .read_only = !d->image->writable,
                        .present = true };
}

static int
disk_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  VhdImage *v = ((Disk *) self)->image;

  if (offset > v->size || size > v->size - offset)
    return EIO;
  return vhd_read (v, offset, buffer, size);
}

static int
disk_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  return vhd_write (((Disk *) self)->image, offset, buffer, size);
}

static int
disk_flush (void *self)
{
  return vhd_flush (((Disk *) self)->image);
}

/* ---- tenon disk ---- */

static const char *const suffixes[] = { "vhd", "vud", NULL };
static const char *const types[] = { "dynamic", "fixed", "differencing", NULL };

static unsigned
image_probe (const char *name, const uint8_t *head, const uint8_t *tail, size_t size)
{
  if (size < VHD_FOOTER_SIZE)
    return 0;
  return vhd_has_mark (tail) || vhd_has_mark (head) || vhd_has_mark (tail + 1) ? 100 : 0;
}

static bool
image_create (const TnImageSpec *spec, GError **error)
{
  return vhd_create (spec, true, error);
}

typedef void (*Tell) (void *data, const char *name, const char *value);

static void G_GNUC_PRINTF (4, 5)
    tell (Tell func, void *data, const char *name, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  func (data, name, text);
  g_free (text);
}

static void
tell_uuid (Tell func, void *data, const char *name, const uint8_t *u)
{
  tell (func, data, name, "%08x-%04x-%04x-%04x-%08x%04x", vhd_get32 (u), vhd_get16 (u + 4),
        vhd_get16 (u + 6), vhd_get16 (u + 8), vhd_get32 (u + 10), vhd_get16 (u + 14));
}

static void
tell_time (Tell func, void *data, const char *name, uint32_t seconds)
{
  GDateTime *time = g_date_time_new_from_unix_utc (INT64_C (946684800) + seconds);
  char *text = g_date_time_format (time, "%Y-%m-%d %H:%M:%S UTC");

  func (data, name, text);
  g_free (text);
  g_date_time_unref (time);
}

static void
tell_footer (const VhdImage *v, Tell func, void *data)
{
  static const char *const names[] = { [VHD_RAW] = "raw",
                                       [VHD_FIXED] = "fixed",
                                       [VHD_DYNAMIC] = "dynamic",
                                       [VHD_DIFFERENCING] = "differencing" };
  const VhdFooter *f = &v->footer;
  char creator[5];

  vhd_code_text (vhd_get32 ((const uint8_t *) f->creator), creator);
  tell (func, data, "type", "%s", names[v->type]);
  tell (func, data, "geometry", "%u cylinders, %u heads, %u sectors", f->cylinders, f->heads,
        f->sectors);
  if (f->current_size != v->size)
    tell (func, data, "size in footer", "%" G_GUINT64_FORMAT " bytes", f->current_size);
  tell (func, data, "creator", "\"%s\"", creator);
  tell_time (func, data, "made", f->timestamp);
  tell_uuid (func, data, "UUID", f->uuid);
  if (f->saved_state)
    tell (func, data, "saved state", "a saved machine of Virtual PC belongs to it");
}

static void
tell_blocks (const VhdImage *v, Tell func, void *data)
{
  uint32_t used = 0;

  for (uint32_t n = 0; n < v->entries; n++)
    used += v->table[n] != VHD_UNUSED;
  tell (func, data, "block size", "%u bytes", v->block_size);
  tell (func, data, "blocks", "%u of %u are in use", used, v->entries);
}

static void
image_info (void *self, Tell func, void *data)
{
  const Disk *d = self;

  tell_footer (d->image, func, data);
  if (d->image->table != NULL)
    tell_blocks (d->image, func, data);
  for (const VhdImage *v = d->image; v->parent != NULL; v = v->parent)
    {
      tell (func, data, "parent", "%s", v->parent->path);
      tell_uuid (func, data, "parent's UUID", v->header.parent_uuid);
      if (v->header.parent_time != 0)
        tell_time (func, data, "parent's time", v->header.parent_time);
      else
        tell (func, data, "parent's time", "none: a commit was not finished");
    }
}

static bool
image_commit (void *self, const TnImageMonitor *monitor, GError **error)
{
  return vhd_commit (((Disk *) self)->image, monitor, error);
}

static bool
image_discard (void *self, GError **error)
{
  return vhd_discard (((Disk *) self)->image, error);
}

static bool
image_stored (void *self, uint64_t offset, uint64_t *length)
{
  return vhd_stored (((Disk *) self)->image, offset, length);
}

static const TnImageOps image_ops = {
  .property = "file",
  .suffixes = suffixes,
  .types = types,
  .probe = image_probe,
  .create = image_create,
  .check = vhd_check,
  .info = image_info,
  .commit = image_commit,
  .discard = image_discard,
  .stored = image_stored,
};

/* ---- Descriptor ---- */

static const char *const undo_ends[] = { "keep", "commit", "discard", NULL };
static const char *const parent_times[] = { "check", "ignore", NULL };

static const TnProperty props[] = {
  TN_PROP_FILE (Disk, file, "file", "image; with undo it may be a raw one", true),
  TN_PROP_BOOL (Disk, read_only, "read-only", "writes of the guest fail", false),
  TN_PROP_FILE (Disk, parent, "parent", "parent of a differencing image, if it is not where it was",
                false),
  TN_PROP_ENUM (Disk, parent_time, "parent-time",
                "check refuses a parent that was modified after the image was made", TIME_CHECK,
                parent_times),
  TN_PROP_FILE_MADE (Disk, undo, "undo", "undo disk, where changes go; made if it is not there"),
  TN_PROP_ENUM (Disk, undo_end, "undo-end", "what becomes of the changes when the machine ends",
                UNDO_KEEP, undo_ends),
  TN_PROP_END,
};

static const TnBlockOps block_ops = {
  .info = disk_info,
  .read = disk_read,
  .write = disk_write,
  .flush = disk_flush,
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "disk-vhd",
  .summary = "Virtual PC disk image (VHD) and undo disk",
  .document = "Virtual Hard Disk Image Format Specification 1.0",
  .kind = TN_KIND_BLOCK,
  .state_version = 1,
  .instance_size = sizeof (Disk),
  .properties = props,
  .ops = { .realize = disk_realize, .unrealize = disk_unrealize, .saving = disk_saving },
  .block_ops = &block_ops,
  .image_ops = &image_ops,
};
