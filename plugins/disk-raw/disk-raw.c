/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image without a format: the file's bytes are the disk's bytes.  Serves hard disks and ISO
 * 9660 images, from files and from block devices of the host.
 *
 * A removable image can be taken out and another one put in while the machine runs; a file that may
 * not be written is then a medium with write protection.
 *
 * Holes of sparse files stay holes until something else than zeros is written there, and zeros make
 * holes again.  The file is locked (fcntl, of the open file description) for as long as the device
 * lives: one writer, or any number of readers; on file systems without locks a warning says so.
 * When the plugin is swapped, the descriptor and the lock with it go over to the new instance: the
 * core keeps it.
 */
#define _GNU_SOURCE
#include "../lib/image-file.h"

#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  TnDevice *device;
  const char *file;
  bool read_only, cdrom, removable, sparse;
  uint32_t sector_choice;
  int fd;
  bool holes; /* zeros become holes */
  TnBlockInfo info;
} Disk;

enum { SECTOR_AUTO, SECTOR_512, SECTOR_2048 };

/* ---- Opening ---- */

static bool
lock_file (Disk *d, const char *file, int fd, bool read_only, GError **error)
{
  struct flock lock = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
  if (!fcntl (fd, F_OFD_SETLK, &lock))
    return true;
  if (errno == EAGAIN || errno == EACCES)
    return tn_device_fail (d->device, error, TN_ERROR_IO,
                           "%s is in use by another disk or program; two writers would destroy it",
                           file);
  tn_device_log (d->device, TN_LOG_WARNING, "%s cannot be locked (%s): keep others from writing it",
                 file, g_strerror (errno));
  return true;
}

static bool
check_file (Disk *d, const char *file, int fd, TnBlockInfo *info, GError **error)
{
  struct stat st;
  off_t size;
  if (fstat (fd, &st) || !(S_ISREG (st.st_mode) || S_ISBLK (st.st_mode)))
    return tn_device_fail (d->device, error, TN_ERROR_IO, "%s is neither a file nor a block device",
                           file);
  if (!tn_device_swapping (d->device) && !lock_file (d, file, fd, info->read_only, error))
    return false;
  size = lseek (fd, 0, SEEK_END);
  if (size < 0)
    return tn_device_fail (d->device, error, TN_ERROR_IO, "size of %s is unknown: %s", file,
                           g_strerror (errno));
  if (!size)
    return tn_device_fail (d->device, error, TN_ERROR_IO, "%s is empty", file);
  if (size % info->sector_size)
    return tn_device_fail (d->device, error, TN_ERROR_IO,
                           "%s has %jd bytes, which is not a multiple of its sector size %u:"
                           " the image is truncated",
                           file, (intmax_t) size, info->sector_size);
  info->size = size;
  info->present = true;
  return true;
}

/* A preallocated file shall stay so. */
static bool
is_sparse (int fd)
{
  struct stat st;

  return fstat (fd, &st) == 0 && S_ISREG (st.st_mode) && st.st_blocks < st.st_size / 512;
}

/* Opens as the medium allows; info->read_only comes back. */
static int
open_file (Disk *d, const char *file, TnBlockInfo *info, GError **error)
{
  const int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  int fd = open (file, (info->read_only ? O_RDONLY : O_RDWR) | flags);
  bool forbidden = errno == EACCES || errno == EROFS || errno == EPERM;
  if (fd < 0 && !info->read_only && forbidden && info->removable)
    {
      info->read_only = true;
      fd = open (file, O_RDONLY | flags);
    }
  else if (fd < 0 && !info->read_only && forbidden)
    {
      tn_device_fail (d->device, error, TN_ERROR_IO,
                      "cannot write %s (%s); set read-only = true to use it all the same", file,
                      g_strerror (errno));
      return -1;
    }
  if (fd < 0)
    tn_device_fail (d->device, error, TN_ERROR_IO, "cannot open %s: %s", file, g_strerror (errno));
  return fd;
}

/* The properties of a medium that is not there yet. */
static TnBlockInfo
no_medium (const Disk *d)
{
  bool big = d->sector_choice == SECTOR_2048 || (d->sector_choice == SECTOR_AUTO && d->cdrom);
  return (TnBlockInfo){
    .sector_size = big ? 2048 : 512,
    .read_only = d->read_only || d->cdrom,
    .removable = d->removable || d->cdrom,
  };
}

/* Takes `file` in place of the medium that is in, which stays in after a failure. */
static bool
load (Disk *d, const char *file, GError **error)
{
  TnBlockInfo info = no_medium (d);
  int fd = open_file (d, file, &info, error);
  if (fd < 0)
    return false;
  if (!check_file (d, file, fd, &info, error))
    {
      close (fd);
      return false;
    }
  d->fd = fd;
  d->info = info;
  d->holes = d->sparse && is_sparse (fd);
  tn_device_keep_fd (d->device, "image", fd);
  return true;
}

/* The descriptor that the predecessor kept tells how it was opened. */
static bool
take_over (Disk *d, int fd, GError **error)
{
  TnBlockInfo info = no_medium (d);
  if ((fcntl (fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
    info.read_only = true;
  if (!check_file (d, d->file, fd, &info, error))
    return false;
  d->fd = fd;
  d->info = info;
  d->holes = d->sparse && is_sparse (fd);
  return true;
}

static bool
disk_realize (void *self, GError **error)
{
  Disk *d = self;
  int fd = tn_device_take_fd (d->device, "image");
  d->fd = -1;
  d->info = no_medium (d);
  if (fd >= 0)
    return take_over (d, fd, error);
  if (d->file)
    return load (d, d->file, error);
  if (d->info.removable)
    return true;
  return tn_device_fail (d->device, error, TN_ERROR_CONFIG,
                         "file is missing; a disk without one must be a CD or removable");
}

/* The medium that is in may be the one that is put in. */
static bool
exchange (Disk *d, const char *file, GError **error)
{
  struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
  bool done;
  if (d->fd >= 0)
    fcntl (d->fd, F_OFD_SETLK, &lock);
  done = load (d, file, error);
  if (!done && d->fd >= 0)
    {
      lock.l_type = d->info.read_only ? F_RDLCK : F_WRLCK;
      fcntl (d->fd, F_OFD_SETLK, &lock);
    }
  return done;
}

static bool
disk_change (void *self, const char *file, GError **error)
{
  Disk *d = self;
  if (!d->info.removable)
    return tn_device_fail (d->device, error, TN_ERROR_CONFIG,
                           "it is a fixed disk; set removable = true if it is not");
  if (file)
    return exchange (d, file, error);
  d->fd = -1;
  d->info = no_medium (d);
  tn_device_keep_fd (d->device, "image", -1);
  return true;
}

/* ---- Requests (on the worker thread: nothing but fd, info and the file) ---- */

static TnBlockInfo
disk_info (void *self)
{
  return ((Disk *) self)->info;
}

static bool
inside (const Disk *d, uint64_t offset, size_t size)
{
  return offset <= d->info.size && size <= d->info.size - offset;
}

static int
disk_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  Disk *d = self;

  if (!d->info.present)
    return ENOMEDIUM;
  return inside (d, offset, size) ? image_file_read (d->fd, offset, buffer, size) : EIO;
}

static int
disk_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  Disk *d = self;

  if (!d->info.present)
    return ENOMEDIUM;
  if (d->info.read_only)
    return EROFS;
  if (!inside (d, offset, size))
    return EIO;
  if (d->holes && image_is_zero (buffer, size))
    return image_file_write_zeros (d->fd, offset, buffer, size);
  return image_file_write (d->fd, offset, buffer, size);
}

static int
disk_flush (void *self)
{
  Disk *d = self;

  return d->info.read_only || !d->info.present ? 0 : image_file_sync (d->fd);
}

/* ---- tenon disk ---- */

static const char *const suffixes[] = { "img", "raw", "iso", "ima", "flp", "vfd", "bin", "dsk", NULL };

static unsigned
image_probe (const char *name, const uint8_t *head, const uint8_t *tail, size_t size)
{
  return size > 0;
}

static bool
make_file (const TnImageSpec *spec, GError **error)
{
  int fd = open (spec->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), failure = 0;

  if (fd >= 0 && ftruncate (fd, spec->size) == 0 && fsync (fd) == 0)
    {
      close (fd);
      return true;
    }
  failure = errno;
  if (fd >= 0)
    {
      close (fd);
      unlink (spec->path);
    }
  g_set_error (error, TN_ERROR, TN_ERROR_IO, "cannot make %s: %s", spec->path,
               g_strerror (failure));
  return false;
}

static bool
image_create (const TnImageSpec *spec, GError **error)
{
  if (spec->type == NULL && spec->parent == NULL && spec->block_size == 0 && spec->size > 0
      && spec->size % 512 == 0 && spec->size <= INT64_MAX)
    return make_file (spec, error);
  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
               spec->size == 0 || spec->size % 512 != 0 || spec->size > INT64_MAX
                   ? "expected a size in whole sectors of 512 bytes"
                   : "a raw image has neither types nor parents nor blocks");
  return false;
}

/* Nothing but its size can be wrong. */
static bool
image_check (const char *path, bool repair, const TnImageMonitor *monitor, GError **error)
{
  int fd = image_file_open (path, false, NULL, error);
  int64_t size = fd < 0 ? -1 : image_file_size (fd, path, error);

  if (fd >= 0)
    close (fd);
  if (size < 0)
    return false;
  if (size > 0 && size % 512 == 0)
    return true;
  monitor->found (monitor->data, TN_IMAGE_LOSS, "has no whole number of sectors, or none");
  return false;
}

static void
image_info (void *self, void (*tell) (void *data, const char *name, const char *value), void *data)
{
  tell (data, "type", is_sparse (((Disk *) self)->fd) ? "raw, sparse" : "raw");
}

static bool
image_stored (void *self, uint64_t offset, uint64_t *length)
{
  Disk *d = self;

  return image_file_stored (d->fd, offset, d->info.size, length);
}

static const TnImageOps image_ops = {
  .property = "file",
  .suffixes = suffixes,
  .probe = image_probe,
  .create = image_create,
  .check = image_check,
  .info = image_info,
  .stored = image_stored,
};

/* ---- Descriptor ---- */

static const char *const sector_sizes[] = { "auto", "512", "2048", NULL };

static const TnProperty props[] = {
  TN_PROP_FILE (Disk, file, "file", "image file or block device", false),
  TN_PROP_BOOL (Disk, read_only, "read-only", "writes of the guest fail", false),
  TN_PROP_BOOL (Disk, cdrom, "cdrom", "the image is a CD: removable, read-only, 2048-byte sectors",
                false),
  TN_PROP_BOOL (Disk, removable, "removable", "the medium can be changed, as a floppy", false),
  TN_PROP_BOOL (Disk, sparse, "sparse", "zeros that are written to a sparse file become holes",
                true),
  TN_PROP_ENUM (Disk, sector_choice, "sector-size",
                "bytes of a sector; auto is 512, or 2048 for a CD", SECTOR_AUTO, sector_sizes),
  TN_PROP_END,
};

static const TnBlockOps block_ops = {
  .info = disk_info,
  .read = disk_read,
  .write = disk_write,
  .flush = disk_flush,
  .change = disk_change,
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "disk-raw",
  .summary = "Raw disk image or CD image",
  .document = "the file's bytes are the disk's",
  .kind = TN_KIND_BLOCK,
  .state_version = 1,
  .instance_size = sizeof (Disk),
  .properties = props,
  .ops = { .realize = disk_realize },
  .block_ops = &block_ops,
  .image_ops = &image_ops,
};
