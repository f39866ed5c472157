/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening VHDs: files, locks, footer, header and table, and then the parent, and its parent.
 * Nothing that a file says is trusted.
 *
 * The footer at the end counts; if it is not whole, the copy at the head of a dynamic image does.
 * That happens to other programs when they are stopped while they move it; vhd-io.c does not let
 * it.
 */
#define _GNU_SOURCE
#include "vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names in a file may be no text at all, or mean something to a terminal. */
static char *
readable (const char *text)
{
  char *valid = g_utf8_make_valid (text, -1);

  for (char *p = valid; *p != '\0'; p = g_utf8_next_char (p))
    if (g_unichar_iscntrl (g_utf8_get_char (p)))
      memset (p, '?', g_utf8_next_char (p) - p);
  return valid;
}

bool
vhd_fail (GError **error, TnErrorCode code, const char *format, ...)
{
  va_list args;
  char *text, *shown;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  shown = readable (text);
  g_set_error (error, TN_ERROR, code, "%s", shown);
  g_free (shown);
  g_free (text);
  return false;
}

bool
vhd_problem (VhdProblems *p, TnImageFinding finding, const char *format, ...)
{
  va_list args;
  char *text;

  p->damages += finding == TN_IMAGE_DAMAGE;
  p->losses += finding == TN_IMAGE_LOSS;
  if (p->found == NULL && finding != TN_IMAGE_LOSS)
    return true;
  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  if (p->found != NULL)
    p->found (p->data, finding, text);
  else
    vhd_fail (p->error, TN_ERROR_IO, "%s %s", p->path, text);
  g_free (text);
  return p->found != NULL;
}

/* ---- Footer ---- */

static bool
bad_read (VhdProblems *p, const char *what, int error)
{
  vhd_problem (p, TN_IMAGE_LOSS, "cannot be read (%s): %s", what, g_strerror (error));
  return false;
}

/* Versions before Virtual PC 2004 wrote 511 bytes. */
static bool
read_tail (VhdImage *v, uint64_t file_size, uint8_t *bytes, VhdProblems *p)
{
  unsigned length
      = file_size % VHD_SECTOR == VHD_FOOTER_SIZE - 1 ? VHD_FOOTER_SIZE - 1 : VHD_FOOTER_SIZE;
  int error;

  memset (bytes, 0, VHD_FOOTER_SIZE);
  if (file_size < length)
    return true;
  error = image_file_read (v->fd, file_size - length, bytes, length);
  return error == 0 || bad_read (p, "footer", error);
}

static void
take_footer (VhdImage *v, const uint8_t *bytes, const VhdFooter *footer)
{
  memcpy (v->footer_bytes, bytes, VHD_FOOTER_SIZE);
  v->footer = *footer;
  v->type = footer->type;
  v->size = vhd_disk_size (footer);
}

static bool
check_fixed (VhdImage *v, uint64_t file_size, VhdProblems *p)
{
  if (v->footer.current_size <= file_size - MIN (file_size, VHD_FOOTER_SIZE - 1))
    return true;
  vhd_problem (p, TN_IMAGE_LOSS,
               "has %" G_GUINT64_FORMAT " bytes, too few for its disk of %" G_GUINT64_FORMAT
               ": the image is truncated",
               file_size, v->footer.current_size);
  return false;
}

static bool
take_either (VhdImage *v, const uint8_t *tail, const uint8_t *head, uint64_t file_size,
             VhdProblems *p)
{
  VhdFooter at_tail = { 0 }, at_head = { 0 };
  const char *bad_tail = vhd_parse_footer (tail, &at_tail);
  const char *bad_head = vhd_parse_footer (head, &at_head);

  if (bad_tail == NULL)
    take_footer (v, tail, &at_tail);
  else if (bad_head == NULL && at_head.type != VHD_FIXED)
    take_footer (v, head, &at_head);
  else
    {
      vhd_problem (p, TN_IMAGE_LOSS, "%s",
                   vhd_has_mark (tail) ? bad_tail
                   : vhd_has_mark (head)
                       ? bad_head
                       : "is no VHD: neither its end nor its start bears the mark");
      return false;
    }
  if (v->type == VHD_FIXED)
    return check_fixed (v, file_size, p);
  v->tail_bad = bad_tail != NULL;
  v->head_bad = bad_tail == NULL && (bad_head != NULL || memcmp (head, tail, VHD_FOOTER_SIZE) != 0);
  if (v->tail_bad)
    return vhd_problem (p, TN_IMAGE_DAMAGE,
                        "has no footer at its end; the copy at its start is used");
  if (v->head_bad)
    return vhd_problem (p, TN_IMAGE_DAMAGE, "has a copy of its footer that differs, at its start");
  return true;
}

static bool
load_footer (VhdImage *v, uint64_t file_size, bool raw, VhdProblems *p)
{
  uint8_t tail[VHD_FOOTER_SIZE], head[VHD_FOOTER_SIZE] = { 0 };
  int error = 0;

  if (!read_tail (v, file_size, tail, p))
    return false;
  if (file_size >= VHD_FOOTER_SIZE)
    error = image_file_read (v->fd, 0, head, sizeof head);
  if (error != 0)
    return bad_read (p, "its start", error);
  if (!raw || vhd_has_mark (tail) || vhd_has_mark (head))
    return take_either (v, tail, head, file_size, p);
  v->type = VHD_RAW;
  v->size = file_size;
  if (file_size > 0 && file_size % VHD_SECTOR == 0)
    return true;
  vhd_problem (p, TN_IMAGE_LOSS, "has no whole number of sectors, or none");
  return false;
}

/* ---- Header and table ---- */

static bool
check_table_place (VhdImage *v, uint64_t file_size, VhdProblems *p)
{
  const VhdHeader *h = &v->header;
  uint64_t bytes = (uint64_t) h->entries * 4;

  if (h->entries > VHD_MAX_ENTRIES)
    vhd_problem (p, TN_IMAGE_LOSS, "has a table of %u blocks, more than any disk needs",
                 h->entries);
  else if ((uint64_t) h->entries * h->block_size < v->size)
    vhd_problem (p, TN_IMAGE_LOSS, "has a table of %u blocks, too few for its disk", h->entries);
  else if (h->table_offset > file_size || bytes > file_size - h->table_offset)
    vhd_problem (p, TN_IMAGE_LOSS, "ends before the end of its table: the image is truncated");
  else
    return true;
  return false;
}

static bool
load_table (VhdImage *v, VhdProblems *p)
{
  size_t bytes = (size_t) v->header.entries * 4;
  uint8_t *raw = g_malloc (bytes);
  int error = image_file_read (v->fd, v->header.table_offset, raw, bytes);

  v->entries = v->header.entries;
  v->block_size = v->header.block_size;
  v->bitmap_size = vhd_bitmap_size (v->block_size);
  v->table = g_new (uint32_t, v->entries);
  v->bitmaps = g_new0 (VhdBitmap *, v->entries);
  v->full = g_malloc0 (v->entries);
  v->dirty = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  v->stale = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (uint32_t n = 0; error == 0 && n < v->entries; n++)
    v->table[n] = vhd_get32 (raw + 4 * (size_t) n);
  g_free (raw);
  return error == 0 || bad_read (p, "table", error);
}

static bool
load_header (VhdImage *v, uint64_t file_size, VhdProblems *p)
{
  uint64_t offset = v->footer.data_offset;
  const char *wrong;
  int error;

  if (offset < VHD_FOOTER_SIZE || offset > file_size || file_size - offset < VHD_HEADER_SIZE)
    {
      vhd_problem (p, TN_IMAGE_LOSS, "has no header inside of the file: the image is truncated");
      return false;
    }
  error = image_file_read (v->fd, offset, v->header_bytes, VHD_HEADER_SIZE);
  if (error != 0)
    return bad_read (p, "header", error);
  wrong = vhd_parse_header (v->header_bytes, &v->header);
  if (wrong != NULL)
    {
      vhd_problem (p, TN_IMAGE_LOSS, "has a header that cannot be used: it %s", wrong);
      return false;
    }
  return check_table_place (v, file_size, p) && load_table (v, p);
}

bool
vhd_load (VhdImage *v, bool raw, VhdProblems *p)
{
  int64_t file_size = image_file_size (v->fd, v->path, p->error);

  if (file_size < 0 || !load_footer (v, file_size, raw, p))
    return false;
  if (v->type == VHD_RAW || v->type == VHD_FIXED)
    return true;
  return load_header (v, file_size, p) && vhd_check_blocks (v, file_size, p);
}

/* ---- Files ---- */

/* In a swap the core still has the predecessor's descriptor, with its lock. */
static bool
open_file (VhdImage *v, VhdOpen *how, GError **error)
{
  struct stat st;
  bool unlocked = false;

  v->fd = v->device != NULL ? tn_device_take_fd (v->device, v->key) : -1;
  if (v->fd < 0)
    {
      v->fd = image_file_open (v->path, v->writable, &unlocked, error);
      if (v->fd >= 0 && v->device != NULL)
        tn_device_keep_fd (v->device, v->key, v->fd);
    }
  how->warned |= unlocked;
  if (v->fd < 0)
    return false;
  if (fstat (v->fd, &st) != 0)
    return vhd_fail (error, TN_ERROR_IO, "%s: %s", v->path, g_strerror (errno));
  v->device_number = st.st_dev;
  v->inode = st.st_ino;
  return true;
}

uint32_t
vhd_modified (const VhdImage *v)
{
  struct stat st;

  return fstat (v->fd, &st) == 0 ? vhd_time (st.st_mtime) : 0;
}

bool
vhd_set_writable (VhdImage *v, bool writable, GError **error)
{
  struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
  struct stat st;
  int fd;

  if (v->writable == writable)
    return true;
  fcntl (v->fd, F_OFD_SETLK, &unlock);
  fd = image_file_open (v->path, writable, NULL, error);
  if (fd < 0)
    return false;
  if (fstat (fd, &st) != 0 || st.st_dev != v->device_number || st.st_ino != v->inode)
    {
      close (fd);
      return vhd_fail (error, TN_ERROR_IO, "%s was replaced by another file", v->path);
    }
  if (v->device != NULL)
    tn_device_keep_fd (v->device, v->key, fd); /* closes the other one */
  else
    close (v->fd);
  v->fd = fd;
  v->writable = writable;
  return true;
}

/* ---- Parents ---- */

static bool
is_ancestor (const VhdImage *v, const char *path)
{
  struct stat st;

  if (stat (path, &st) != 0)
    return false;
  for (; v != NULL; v = v->child)
    if (v->device_number == st.st_dev && v->inode == st.st_ino)
      return true;
  return false;
}

static bool
no_uuid (const uint8_t *uuid)
{
  return image_is_zero (uuid, 16);
}

static bool
check_parent (const VhdImage *v, const VhdImage *parent, bool any_time, GError **error)
{
  bool same = parent->type == VHD_RAW
                  ? no_uuid (v->header.parent_uuid)
                  : memcmp (parent->footer.uuid, v->header.parent_uuid, 16) == 0;

  if (!same)
    return vhd_fail (error, TN_ERROR_IO, "%s is not the parent of %s: its UUID is another one",
                     parent->path, v->path);
  if (any_time || v->header.parent_time == 0 || v->header.parent_time == vhd_modified (parent))
    return true;
  return vhd_fail (
      error, TN_ERROR_IO,
      "%s was modified after %s was made from it, so that the two may not fit any more;"
      " if it was only copied, set parent-time = \"ignore\"",
      parent->path, v->path);
}

static VhdImage *open_image (VhdOpen *how, const char *path, const VhdImage *child, unsigned depth,
                             GError **error);

static VhdImage *
try_parent (VhdImage *v, VhdOpen *how, const char *path, unsigned depth, GError **error)
{
  VhdOpen next = { .device = how->device, .key = how->key, .any_time = how->any_time };
  VhdImage *parent;

  if (is_ancestor (v, path))
    {
      vhd_fail (error, TN_ERROR_IO, "%s is a parent of itself", path);
      return NULL;
    }
  /* That an image may name any file of the host as a raw disk would give it away to the guest. */
  next.raw = how->parent != NULL && no_uuid (v->header.parent_uuid);
  parent = open_image (&next, path, v, depth + 1, error);
  how->warned |= next.warned;
  if (parent != NULL && check_parent (v, parent, how->any_time, error))
    return parent;
  vhd_close (parent);
  if (v->device != NULL && !tn_device_swapping (v->device))
    {
      char *key = g_strdup_printf ("%s-parent-%u", how->key, depth + 1);

      tn_device_keep_fd (v->device, key, -1);
      g_free (key);
    }
  return NULL;
}

static bool
open_parent (VhdImage *v, VhdOpen *how, unsigned depth, GError **error)
{
  GPtrArray *paths = vhd_parent_paths (v);
  GError *first = NULL;

  if (depth >= VHD_MAX_DEPTH)
    vhd_fail (&first, TN_ERROR_IO, "%s: more than %u images stand on one another", v->path, depth);
  else if (how->parent != NULL)
    v->parent = try_parent (v, how, how->parent, depth, &first);
  else if (no_uuid (v->header.parent_uuid))
    vhd_fail (&first, TN_ERROR_IO,
              "the parent of %s is a raw image (%s?), which must be named: parent = \"FILE\"",
              v->path, paths->len > 0 ? (char *) paths->pdata[0] : "unknown");
  else
    for (unsigned n = 0; v->parent == NULL && n < paths->len; n++)
      if (g_file_test (paths->pdata[n], G_FILE_TEST_IS_REGULAR))
        v->parent = try_parent (v, how, paths->pdata[n], depth, first ? NULL : &first);
  if (v->parent == NULL && first == NULL && paths->len > 0)
    vhd_fail (&first, TN_ERROR_IO,
              "the parent of %s was not found (%s); name it with the property parent", v->path,
              (char *) paths->pdata[0]);
  else if (v->parent == NULL && first == NULL)
    vhd_fail (&first, TN_ERROR_IO,
              "%s does not say where its parent is; name it with the property"
              " parent",
              v->path);
  g_ptr_array_unref (paths);
  if (v->parent != NULL)
    g_clear_error (&first);
  else
    g_propagate_error (error, first);
  return v->parent != NULL;
}

/* ---- The whole ---- */

static VhdImage *
open_image (VhdOpen *how, const char *path, const VhdImage *child, unsigned depth, GError **error)
{
  VhdImage *v = g_new0 (VhdImage, 1);
  VhdProblems p = { .path = path, .error = error };
  bool fine;

  v->device = how->device;
  v->key = depth == 0 ? g_strdup (how->key) : g_strdup_printf ("%s-parent-%u", how->key, depth);
  v->path = g_strdup (path);
  v->writable = how->writable;
  v->child = child;
  fine = open_file (v, how, error) && vhd_load (v, how->raw, &p);
  if (fine && v->type == VHD_DIFFERENCING)
    fine = open_parent (v, how, depth, error);
  /* The file of before a swap is in order, and must stay as it is if the swap is rolled back. */
  if (fine && v->writable && (v->device == NULL || !tn_device_swapping (v->device)))
    {
      int failure = vhd_tidy (v);

      fine = failure == 0
             || vhd_fail (error, TN_ERROR_IO, "cannot put %s in order: %s", path,
                          g_strerror (failure));
    }
  if (fine)
    return v;
  v->writable = false; /* leave it as it is */
  vhd_close (v);
  return NULL;
}

VhdImage *
vhd_open (VhdOpen *how, const char *path, GError **error)
{
  return open_image (how, path, NULL, 0, error);
}

void
vhd_close (VhdImage *v)
{
  if (v == NULL)
    return;
  if (v->writable && (v->device == NULL || !tn_device_swapping (v->device)))
    vhd_tidy (v);
  vhd_close (v->parent);
  for (uint32_t n = 0; v->bitmaps != NULL && n < v->entries; n++)
    g_free (v->bitmaps[n]);
  g_free (v->bitmaps);
  g_free (v->full);
  g_free (v->table);
  if (v->dirty != NULL)
    g_array_unref (v->dirty);
  if (v->stale != NULL)
    g_array_unref (v->stale);
  if (v->device == NULL && v->fd >= 0)
    close (v->fd);
  g_free (v->key);
  g_free (v->path);
  g_free (v);
}
