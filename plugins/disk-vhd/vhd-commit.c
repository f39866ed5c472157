/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A differencing image into its parent, or away.
 *
 * The image is a difference to its parent at every moment of a commit: what is in it hides what is
 * being written below.  While a commit is under way the parent's time in its header is 0, so that
 * it fits a parent that was half written when something stopped it; then commit again.
 */
#include "vhd.h"

#include <string.h>

#define CHUNK (1u << 20)

static bool
fail (GError **error, const char *path, int failure)
{
  return vhd_fail (error, TN_ERROR_IO, "%s: %s", path, g_strerror (failure));
}

static int
set_parent_time (VhdImage *v, uint32_t time)
{
  v->header.parent_time = time;
  vhd_put32 (v->header_bytes + 56, time);
  return vhd_write_header (v);
}

/* ---- Away ---- */

/* The table first: blocks that nothing points to are unused space. */
static int
forget_blocks (VhdImage *v)
{
  size_t bytes = (size_t) v->entries * 4;
  uint8_t *unused = g_malloc (bytes);
  int error;

  memset (unused, 0xff, bytes);
  error = image_file_write (v->fd, v->header.table_offset, unused, bytes);
  g_free (unused);
  if (error == 0)
    error = image_file_sync (v->fd);
  if (error != 0)
    return error;
  g_array_set_size (v->dirty, 0);
  g_array_set_size (v->stale, 0);
  for (uint32_t n = 0; n < v->entries; n++)
    {
      v->table[n] = VHD_UNUSED;
      v->full[n] = 0;
      g_clear_pointer (&v->bitmaps[n], g_free);
    }
  v->loaded = 0;
  return 0;
}

static bool
check_difference (VhdImage *v, GError **error)
{
  if (v->parent == NULL)
    return vhd_fail (error, TN_ERROR_CONFIG, "%s is no differencing image: it has no parent",
                     v->path);
  if (!v->writable)
    return vhd_fail (error, TN_ERROR_CONFIG, "%s is open for reading alone", v->path);
  return true;
}

bool
vhd_discard (VhdImage *v, GError **error)
{
  VhdProblems p = { .path = v->path, .error = error };
  int failure;

  if (!check_difference (v, error))
    return false;
  failure = forget_blocks (v);
  if (failure != 0)
    return fail (error, v->path, failure);
  /* Where the header, the table and the locators end. */
  if (!vhd_check_blocks (v, v->end + VHD_FOOTER_SIZE, &p))
    return false;
  failure = vhd_tidy (v);
  return failure == 0 || fail (error, v->path, failure);
}

/* ---- Into the parent ---- */

static int
copy_run (VhdImage *v, uint64_t offset, uint64_t length, uint8_t *buffer)
{
  while (length > 0)
    {
      size_t count = MIN (length, CHUNK);
      int error = vhd_read (v, offset, buffer, count);

      if (error == 0)
        error = vhd_write (v->parent, offset, buffer, count);
      if (error != 0)
        return error;
      offset += count;
      length -= count;
    }
  return 0;
}

static bool
copy_down (VhdImage *v, const TnImageMonitor *monitor, GError **error)
{
  uint8_t *buffer = g_malloc (CHUNK);
  uint64_t length;
  bool fine = true;

  for (uint64_t at = 0; fine && at < v->size; at += length)
    {
      bool own = vhd_own (v, at, &length);
      int failure = own ? copy_run (v, at, length, buffer) : 0;

      if (failure != 0)
        fine = fail (error, v->parent->path, failure);
      else if (monitor != NULL && !monitor->progress (monitor->data, at, v->size))
        fine = vhd_fail (error, TN_ERROR_FAILED,
                         "interrupted; both images are as they should be, commit again to finish");
    }
  g_free (buffer);
  return fine;
}

static bool
commit_into (VhdImage *v, const TnImageMonitor *monitor, GError **error)
{
  int failure;

  if (!copy_down (v, monitor, error))
    return false;
  v->parent->unsynced = true; /* its time is of now, at the latest */
  failure = vhd_tidy (v->parent);
  return failure == 0 || fail (error, v->parent->path, failure);
}

bool
vhd_commit (VhdImage *v, const TnImageMonitor *monitor, GError **error)
{
  int failure;
  bool fine;

  if (!check_difference (v, error))
    return false;
  if (v->size > v->parent->size)
    return vhd_fail (error, TN_ERROR_CONFIG, "%s is larger than its parent %s", v->path,
                     v->parent->path);
  failure = vhd_flush (v);
  if (failure != 0)
    return fail (error, v->path, failure);
  if (!vhd_set_writable (v->parent, true, error))
    return false;
  failure = set_parent_time (v, 0);
  fine = failure == 0 ? commit_into (v, monitor, error) : fail (error, v->path, failure);
  if (fine)
    fine = vhd_discard (v, error);
  if (fine)
    {
      failure = set_parent_time (v, vhd_modified (v->parent));
      fine = failure == 0 || fail (error, v->path, failure);
    }
  return vhd_set_writable (v->parent, false, fine ? error : NULL) && fine;
}
