/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Disk image without a format: the file's bytes are the disk's bytes.  Serves hard disks and ISO
 * 9660 images, from files and from block devices of the host.
 *
 * Holes of sparse files stay holes until they are written.  The file is locked (fcntl, of the open
 * file description) for as long as the device lives: one writer, or any number of readers; on file
 * systems without locks a warning says so.  When the plugin is swapped, the descriptor and the lock
 * with it go over to the new instance: the core keeps it.
 */
#define _GNU_SOURCE
#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  TnDevice *device;
  const char *file;
  bool read_only, cdrom;
  uint32_t sector_choice;
  int fd;
  TnBlockInfo info;
} Disk;

enum { SECTOR_AUTO, SECTOR_512, SECTOR_2048 };

/* ---- Opening ---- */

static bool
lock_file (Disk *d, GError **error)
{
  struct flock lock = { .l_type = d->info.read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
  if (!fcntl (d->fd, F_OFD_SETLK, &lock))
    return true;
  if (errno == EAGAIN || errno == EACCES)
    return tn_device_fail (d->device, error, TN_ERROR_IO,
                           "%s is in use by another disk or program; two writers would destroy it",
                           d->file);
  tn_device_log (d->device, TN_LOG_WARNING, "%s cannot be locked (%s): keep others from writing it",
                 d->file, g_strerror (errno));
  return true;
}

static bool
open_file (Disk *d, GError **error)
{
  struct stat st;
  d->fd = tn_device_take_fd (d->device, "image");
  if (d->fd >= 0)
    return true;
  d->fd
      = open (d->file, (d->info.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (d->fd < 0 && !d->info.read_only && (errno == EACCES || errno == EROFS || errno == EPERM))
    return tn_device_fail (d->device, error, TN_ERROR_IO,
                           "cannot write %s (%s); set read-only = true to use it all the same",
                           d->file, g_strerror (errno));
  if (d->fd < 0)
    return tn_device_fail (d->device, error, TN_ERROR_IO, "cannot open %s: %s", d->file,
                           g_strerror (errno));
  tn_device_keep_fd (d->device, "image", d->fd);
  if (fstat (d->fd, &st) || !(S_ISREG (st.st_mode) || S_ISBLK (st.st_mode)))
    return tn_device_fail (d->device, error, TN_ERROR_IO, "%s is neither a file nor a block device",
                           d->file);
  return lock_file (d, error);
}

static bool
check_size (Disk *d, GError **error)
{
  off_t size = lseek (d->fd, 0, SEEK_END);
  if (size < 0)
    return tn_device_fail (d->device, error, TN_ERROR_IO, "size of %s is unknown: %s", d->file,
                           g_strerror (errno));
  if (!size)
    return tn_device_fail (d->device, error, TN_ERROR_IO, "%s is empty", d->file);
  if (size % d->info.sector_size)
    return tn_device_fail (d->device, error, TN_ERROR_IO,
                           "%s has %jd bytes, which is not a multiple of its sector size %u:"
                           " the image is truncated",
                           d->file, (intmax_t) size, d->info.sector_size);
  d->info.size = size;
  return true;
}

static bool
disk_realize (void *self, GError **error)
{
  Disk *d = self;
  bool big = d->sector_choice == SECTOR_2048 || (d->sector_choice == SECTOR_AUTO && d->cdrom);
  d->info.sector_size = big ? 2048 : 512;
  d->info.read_only = d->read_only || d->cdrom;
  d->info.removable = d->cdrom;
  d->info.present = true;
  d->fd = -1;
  return open_file (d, error) && check_size (d, error);
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
  uint8_t *to = buffer;
  if (!inside (d, offset, size))
    return EIO;
  while (size)
    {
      ssize_t n = pread (d->fd, to, size, offset);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0) /* 0: somebody cut the file */
        return n ? errno : EIO;
      to += n;
      offset += n;
      size -= n;
    }
  return 0;
}

static int
disk_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  Disk *d = self;
  const uint8_t *from = buffer;
  if (d->info.read_only)
    return EROFS;
  if (!inside (d, offset, size))
    return EIO;
  while (size)
    {
      ssize_t n = pwrite (d->fd, from, size, offset);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return n ? errno : EIO;
      from += n;
      offset += n;
      size -= n;
    }
  return 0;
}

static int
disk_flush (void *self)
{
  Disk *d = self;
  if (d->info.read_only)
    return 0;
  return fdatasync (d->fd) ? errno : 0;
}

/* ---- Descriptor ---- */

static const char *const sector_sizes[] = { "auto", "512", "2048", NULL };

static const TnProperty props[] = {
  TN_PROP_FILE (Disk, file, "file", "image file or block device", true),
  TN_PROP_BOOL (Disk, read_only, "read-only", "writes of the guest fail", false),
  TN_PROP_BOOL (Disk, cdrom, "cdrom", "the image is a CD: removable, read-only, 2048-byte sectors",
                false),
  TN_PROP_ENUM (Disk, sector_choice, "sector-size",
                "bytes of a sector; auto is 512, or 2048 for a CD", SECTOR_AUTO, sector_sizes),
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
  .name = "disk-raw",
  .summary = "Raw disk image or CD image",
  .document = "the file's bytes are the disk's",
  .kind = TN_KIND_BLOCK,
  .state_version = 1,
  .instance_size = sizeof (Disk),
  .properties = props,
  .ops = { .realize = disk_realize },
  .block_ops = &block_ops,
};
