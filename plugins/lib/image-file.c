/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that hold disks, see image-file.h.  Holes: lseek (2), SEEK_DATA; fallocate (2). */
#define _GNU_SOURCE
#include "image-file.h"

#include <tenon/tenon.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLE_UNIT 4096 /* of most file systems; less than that is written */

static bool G_GNUC_PRINTF (2, 3) fail (GError **error, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s", text);
  g_free (text);
  return false;
}

static bool
lock (int fd, const char *path, bool writable, bool *unlocked, GError **error)
{
  struct flock wish = { .l_type = writable ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };

  if (fcntl (fd, F_OFD_SETLK, &wish) == 0)
    return true;
  if (errno == EAGAIN || errno == EACCES)
    return fail (error, "%s is in use by another disk or program; two writers would destroy it",
                 path);
  if (unlocked != NULL)
    *unlocked = true;
  return true;
}

static bool
check_kind (int fd, const char *path, GError **error)
{
  struct stat st;

  if (fstat (fd, &st) == 0 && (S_ISREG (st.st_mode) || S_ISBLK (st.st_mode)))
    return true;
  return fail (error, "%s is neither a file nor a block device", path);
}

int
image_file_open (const char *path, bool writable, bool *unlocked, GError **error)
{
  int fd = open (path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

  if (unlocked != NULL)
    *unlocked = false;
  if (fd < 0 && writable && (errno == EACCES || errno == EROFS || errno == EPERM))
    fail (error, "cannot write %s (%s); set read-only = true to use it all the same", path,
          g_strerror (errno));
  else if (fd < 0)
    fail (error, "cannot open %s: %s", path, g_strerror (errno));
  if (fd < 0)
    return -1;
  if (check_kind (fd, path, error) && lock (fd, path, writable, unlocked, error))
    return fd;
  close (fd);
  return -1;
}

int64_t
image_file_size (int fd, const char *path, GError **error)
{
  off_t size = lseek (fd, 0, SEEK_END);

  if (size < 0)
    fail (error, "size of %s is unknown: %s", path, g_strerror (errno));
  return size;
}

int
image_file_read (int fd, uint64_t offset, void *buffer, size_t size)
{
  uint8_t *to = buffer;

  while (size > 0)
    {
      ssize_t n = pread (fd, to, size, offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return n < 0 ? errno : EIO;
      to += n;
      offset += n;
      size -= n;
    }
  return 0;
}

int
image_file_write (int fd, uint64_t offset, const void *buffer, size_t size)
{
  const uint8_t *from = buffer;

  while (size > 0)
    {
      ssize_t n = pwrite (fd, from, size, offset);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return n < 0 ? errno : EIO;
      from += n;
      offset += n;
      size -= n;
    }
  return 0;
}

int
image_file_sync (int fd)
{
  return fdatasync (fd) == 0 ? 0 : errno;
}

bool
image_is_zero (const void *buffer, size_t size)
{
  const uint8_t *bytes = buffer;

  return size == 0 || (bytes[0] == 0 && memcmp (bytes, bytes + 1, size - 1) == 0);
}

bool
image_file_stored (int fd, uint64_t offset, uint64_t size, uint64_t *length)
{
  off_t data = lseek (fd, offset, SEEK_DATA), hole;

  *length = size - offset;
  if (data < 0)
    return errno != ENXIO; /* no data after it; or the file system cannot tell */
  if ((uint64_t) data > offset)
    {
      *length = MIN ((uint64_t) data, size) - offset;
      return false;
    }
  hole = lseek (fd, offset, SEEK_HOLE);
  if (hole > (off_t) offset)
    *length = MIN ((uint64_t) hole, size) - offset;
  return true;
}

int
image_file_write_zeros (int fd, uint64_t offset, const void *zeros, size_t size)
{
  uint64_t first = (offset + HOLE_UNIT - 1) & -(uint64_t) HOLE_UNIT;
  uint64_t end = (offset + size) & -(uint64_t) HOLE_UNIT;
  int error;

  if (first >= end)
    return image_file_write (fd, offset, zeros, size);
  if (fallocate (fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, first, end - first) != 0)
    return image_file_write (fd, offset, zeros, size);
  error = image_file_write (fd, offset, zeros, first - offset);
  return error ? error : image_file_write (fd, end, zeros, offset + size - end);
}
