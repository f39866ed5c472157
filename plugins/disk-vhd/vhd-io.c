/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading, writing and flushing, so that whatever stops the host leaves an image that is whole and
 * holds all that was flushed.
 *
 * Data goes to its place in the file at once.  What says that it is there waits in memory: bits of
 * bitmaps, entries of the table.  A flush is
 *
 *   fdatasync        data is on the disk; so are the bitmaps of new blocks, all clear or all set
 *   bits, entries    in any order: each speaks of data that is there
 *   fdatasync
 *
 * so that no subset of the writes between two barriers can make an image that points to what is not
 * there.  Only overwriting data that the image has already needs no more care than on a real disk.
 *
 * New blocks go where the footer is.  Before that the footer is written further on, several blocks
 * at once as the file grows, with a barrier of its own: at every moment the file ends with a
 * footer. The space between is a hole, that is zeros, so a new block needs its bitmap alone.
 * vhd_tidy () puts the footer back to the end of what is in use.
 *
 * What was not flushed when the program is killed may be lost, as with the cache of a disk; the
 * core flushes disks that are idle.
 */
#include "vhd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MOST_GROWTH (32u << 20)       /* bytes of new blocks for one barrier */
#define MOST_BITMAPS (16u << 20)      /* bytes of clean bitmaps that are remembered */
#define TABLE_SECTOR (VHD_SECTOR / 4) /* entries */

static uint64_t
block_offset (const VhdImage *v, uint32_t block)
{
  return (uint64_t) v->table[block] * VHD_SECTOR;
}

static bool
bit (const uint8_t *bits, uint32_t n)
{
  return bits[n / 8] >> (7 - n % 8) & 1;
}

/* How many from `first` on, up to `limit`, are as the first one. */
static uint32_t
run_of (const uint8_t *bits, uint32_t first, uint32_t limit)
{
  bool value = bit (bits, first);
  uint32_t n = first + 1;

  while (n < limit && bit (bits, n) == value)
    n += n % 8 == 0 && limit - n >= 8 && bits[n / 8] == (value ? 0xff : 0) ? 8 : 1;
  return n - first;
}

/* ---- Bitmaps ---- */

/* Forgets clean ones when there are many. */
static void
shed_bitmaps (VhdImage *v)
{
  if ((uint64_t) v->loaded * v->bitmap_size < MOST_BITMAPS)
    return;
  for (uint32_t n = 0; n < v->entries; n++)
    if (v->bitmaps[n] != NULL && !v->bitmaps[n]->dirty)
      {
        g_clear_pointer (&v->bitmaps[n], g_free);
        v->loaded--;
      }
}

static VhdBitmap *
new_bitmap (VhdImage *v, uint32_t block)
{
  shed_bitmaps (v);
  v->bitmaps[block] = g_malloc0 (sizeof (VhdBitmap) + v->bitmap_size);
  v->loaded++;
  return v->bitmaps[block];
}

static void
note_full (VhdImage *v, uint32_t block)
{
  uint32_t sectors = v->block_size / VHD_SECTOR;
  VhdBitmap *bitmap = v->bitmaps[block];

  if (bitmap->dirty || !bit (bitmap->bits, 0) || run_of (bitmap->bits, 0, sectors) != sectors)
    return;
  v->full[block] = 1;
  g_clear_pointer (&v->bitmaps[block], g_free);
  v->loaded--;
}

/* The bitmap of a block that is there; *bits is NULL if all are set. */
static int
get_bitmap (VhdImage *v, uint32_t block, const uint8_t **bits)
{
  int error;

  if (!v->full[block] && v->bitmaps[block] == NULL)
    {
      VhdBitmap *bitmap = new_bitmap (v, block);

      error = image_file_read (v->fd, block_offset (v, block), bitmap->bits, v->bitmap_size);
      if (error != 0)
        {
          g_clear_pointer (&v->bitmaps[block], g_free);
          v->loaded--;
          return error;
        }
      note_full (v, block);
    }
  *bits = v->full[block] ? NULL : v->bitmaps[block]->bits;
  return 0;
}

static void
set_bits (VhdImage *v, uint32_t block, uint32_t first, uint32_t count)
{
  VhdBitmap *bitmap = v->bitmaps[block];

  if (v->full[block])
    return;
  for (uint32_t n = first; n < first + count; n++)
    if (!bit (bitmap->bits, n))
      {
        bitmap->bits[n / 8] |= 0x80 >> n % 8;
        if (!bitmap->dirty)
          g_array_append_val (v->dirty, block);
        bitmap->dirty = true;
      }
}

/* ---- Reading ---- */

static int
read_below (VhdImage *v, uint64_t offset, uint8_t *to, size_t size)
{
  if (v->parent != NULL)
    return vhd_read (v->parent, offset, to, size);
  memset (to, 0, size);
  return 0;
}

/* The bytes at `offset`, within one block: whether they are here, and how many go the same way. */
static int
look_up (VhdImage *v, uint64_t offset, size_t size, bool *here, size_t *count)
{
  uint32_t block = offset / v->block_size, in = offset % v->block_size;
  const uint8_t *bits;
  int error;

  *count = MIN (size, v->block_size - in);
  *here = v->table[block] != VHD_UNUSED;
  if (!*here)
    return 0;
  error = get_bitmap (v, block, &bits);
  if (error != 0 || bits == NULL)
    return error;
  *here = bit (bits, in / VHD_SECTOR);
  *count = MIN (*count,
                (size_t) run_of (bits, in / VHD_SECTOR, v->block_size / VHD_SECTOR) * VHD_SECTOR
                    - in % VHD_SECTOR);
  return 0;
}

static int
read_sparse (VhdImage *v, uint64_t offset, uint8_t *to, size_t size)
{
  int error = 0;

  while (size > 0 && error == 0)
    {
      uint64_t at;
      size_t count;
      bool here;

      error = look_up (v, offset, size, &here, &count);
      if (error != 0)
        break;
      if (here)
        {
          at = block_offset (v, offset / v->block_size) + v->bitmap_size + offset % v->block_size;
          error = image_file_read (v->fd, at, to, count);
        }
      else
        error = read_below (v, offset, to, count);
      offset += count;
      to += count;
      size -= count;
    }
  return error;
}

int
vhd_read (VhdImage *v, uint64_t offset, void *buffer, size_t size)
{
  uint64_t left = offset < v->size ? v->size - offset : 0;
  size_t inside = MIN (size, left);

  memset ((uint8_t *) buffer + inside, 0, size - inside);
  if (v->type == VHD_RAW || v->type == VHD_FIXED)
    return image_file_read (v->fd, offset, buffer, inside);
  return read_sparse (v, offset, buffer, inside);
}

bool
vhd_own (VhdImage *v, uint64_t offset, uint64_t *length)
{
  uint64_t left = v->size - offset;
  size_t count;
  bool here;

  if (v->type == VHD_RAW || v->type == VHD_FIXED)
    return image_file_stored (v->fd, offset, v->size, length);
  if (look_up (v, offset, MIN (left, v->block_size), &here, &count) != 0)
    {
      count = MIN (left, VHD_SECTOR); /* reading it will tell the error */
      here = true;
    }
  *length = count;
  return here;
}

bool
vhd_stored (VhdImage *v, uint64_t offset, uint64_t *length)
{
  uint64_t below;

  if (offset >= v->size)
    {
      *length = UINT64_MAX - offset;
      return false;
    }
  if (vhd_own (v, offset, length))
    return true;
  if (v->parent == NULL)
    return false;
  if (vhd_stored (v->parent, offset, &below))
    {
      *length = MIN (*length, below);
      return true;
    }
  *length = MIN (*length, below);
  return false;
}

/* ---- Growing ---- */

static int
barrier (VhdImage *v)
{
  int error = image_file_sync (v->fd);

  if (error == 0)
    v->unsynced = false;
  return error;
}

static int
put_footer (VhdImage *v, uint64_t offset)
{
  v->unsynced = true;
  return image_file_write (v->fd, offset, v->footer_bytes, VHD_FOOTER_SIZE);
}

static int publish (VhdImage *v);

/* Room for another block.  The more was written lately, the more room at once. */
static int
grow (VhdImage *v)
{
  static const uint8_t zeros[VHD_SECTOR];
  uint64_t whole = v->bitmap_size + v->block_size;
  uint64_t used = v->next / whole, most = MAX (MOST_GROWTH / whole, 1);
  uint64_t end = v->next + whole * CLAMP (used, 1, most);
  int error;

  if (v->next + whole <= v->end)
    return 0;
  if (end / VHD_SECTOR >= VHD_UNUSED)
    return ENOSPC;
  error = put_footer (v, end);
  if (error == 0)
    error = barrier (v);
  if (error != 0)
    return error; /* the file has two footers; the second is as good as the first */
  /* The old one lies where blocks will be; it goes before the next barrier. */
  error = image_file_write (v->fd, v->end, zeros, sizeof zeros);
  v->unsynced = true;
  v->end = end;
  v->tail_bad = false;
  return error ? error : publish (v);
}

static int
add_block (VhdImage *v, uint32_t block)
{
  VhdBitmap *bitmap;
  int error = grow (v);

  if (error != 0)
    return error;
  bitmap = new_bitmap (v, block);
  memset (bitmap->bits, v->parent != NULL ? 0 : 0xff, v->bitmap_size);
  v->unsynced = true;
  error = image_file_write (v->fd, v->next, bitmap->bits, v->bitmap_size);
  if (error != 0)
    {
      g_clear_pointer (&v->bitmaps[block], g_free);
      v->loaded--;
      return error;
    }
  v->table[block] = v->next / VHD_SECTOR;
  v->next += v->bitmap_size + v->block_size;
  note_full (v, block);
  block /= TABLE_SECTOR;
  for (unsigned n = 0; n < v->stale->len; n++)
    if (g_array_index (v->stale, uint32_t, n) == block)
      return 0;
  g_array_append_val (v->stale, block);
  return 0;
}

/* ---- Writing ---- */

static int
write_block (VhdImage *v, uint64_t offset, const uint8_t *from, size_t size)
{
  uint32_t block = offset / v->block_size, in = offset % v->block_size;
  const uint8_t *bits;
  int error = 0;

  if (v->table[block] == VHD_UNUSED)
    {
      if (v->parent == NULL && image_is_zero (from, size))
        return 0; /* it reads as zeros already */
      error = add_block (v, block);
    }
  if (error == 0)
    error = get_bitmap (v, block, &bits);
  if (error != 0)
    return error;
  v->unsynced = true;
  error = image_file_write (v->fd, block_offset (v, block) + v->bitmap_size + in, from, size);
  if (error == 0 && bits != NULL)
    set_bits (v, block, in / VHD_SECTOR, size / VHD_SECTOR);
  return error;
}

int
vhd_write (VhdImage *v, uint64_t offset, const void *buffer, size_t size)
{
  const uint8_t *from = buffer;
  int error = 0;

  if (!v->writable)
    return EROFS;
  if (offset > v->size || size > v->size - offset || (offset | size) % VHD_SECTOR != 0)
    return EIO;
  if (v->type == VHD_RAW || v->type == VHD_FIXED)
    {
      v->unsynced = true;
      return image_file_write (v->fd, offset, buffer, size);
    }
  while (size > 0 && error == 0)
    {
      size_t count = MIN (size, v->block_size - offset % v->block_size);

      error = write_block (v, offset, from, count);
      offset += count;
      from += count;
      size -= count;
    }
  return error;
}

/* ---- Flushing ---- */

static int
put_table_sector (VhdImage *v, uint32_t sector)
{
  uint8_t bytes[VHD_SECTOR];
  uint32_t first = sector * TABLE_SECTOR, count = MIN (TABLE_SECTOR, v->entries - first);

  for (uint32_t n = 0; n < count; n++)
    vhd_put32 (bytes + 4 * n, v->table[first + n]);
  return image_file_write (v->fd, v->header.table_offset + (uint64_t) first * 4, bytes, count * 4);
}

/* Says in the file what is there.  The data came to the disk with the barrier before. */
static int
publish (VhdImage *v)
{
  int error = 0;

  while (error == 0 && v->dirty->len > 0)
    {
      uint32_t block = g_array_index (v->dirty, uint32_t, v->dirty->len - 1);

      v->unsynced = true;
      error = image_file_write (v->fd, block_offset (v, block), v->bitmaps[block]->bits,
                                v->bitmap_size);
      if (error != 0)
        break;
      g_array_set_size (v->dirty, v->dirty->len - 1);
      v->bitmaps[block]->dirty = false;
      note_full (v, block);
    }
  while (error == 0 && v->stale->len > 0)
    {
      v->unsynced = true;
      error = put_table_sector (v, g_array_index (v->stale, uint32_t, v->stale->len - 1));
      if (error == 0)
        g_array_set_size (v->stale, v->stale->len - 1);
    }
  return error;
}

int
vhd_flush (VhdImage *v)
{
  int error = 0;

  if (!v->writable || !v->unsynced)
    return 0;
  error = barrier (v);
  if (error != 0 || v->table == NULL || v->dirty->len + v->stale->len == 0)
    return error;
  v->unsynced = true;
  error = publish (v);
  return error ? error : barrier (v);
}

/* ---- Order ---- */

static bool
in_order (const VhdImage *v, uint64_t file_size)
{
  return !v->tail_bad && v->end == v->next && file_size == v->end + VHD_FOOTER_SIZE;
}

int
vhd_tidy (VhdImage *v)
{
  int64_t file_size = image_file_size (v->fd, v->path, NULL);
  int error = vhd_flush (v);

  if (error != 0 || v->table == NULL || file_size < 0)
    return error;
  if (v->head_bad)
    {
      error = image_file_write (v->fd, 0, v->footer_bytes, VHD_FOOTER_SIZE);
      if (error == 0)
        error = barrier (v);
      v->head_bad = error != 0;
    }
  if (error != 0 || in_order (v, file_size))
    return error;
  error = put_footer (v, v->next);
  if (error == 0)
    error = barrier (v);
  if (error == 0 && ftruncate (v->fd, v->next + VHD_FOOTER_SIZE) != 0)
    error = errno;
  if (error != 0)
    return error;
  v->end = v->next;
  v->tail_bad = false;
  return barrier (v);
}
