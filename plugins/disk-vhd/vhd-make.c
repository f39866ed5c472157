/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New images, laid out as Virtual PC and others do: footer's copy, header at 512, table at 1,536,
 * locators, footer.
 *
 * The size is rounded up to what a geometry has exactly, unless the caller wants it exact: Virtual
 * PC, and programs that follow it, give their guests the geometry's size.  An exact image bears the
 * mark of a creator whose images go by the size in the footer.
 */
#define _GNU_SOURCE
#include "vhd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TABLE_OFFSET (VHD_FOOTER_SIZE + VHD_HEADER_SIZE)

typedef struct {
  const TnImageSpec *spec;
  VhdType type;
  uint64_t size;
  uint32_t block_size, entries;
  VhdImage *parent;
  GBytes *locators[2];
  uint8_t footer[VHD_FOOTER_SIZE], header[VHD_HEADER_SIZE];
  uint64_t end; /* where the footer goes */
} Making;

/* ---- What is asked for ---- */

static bool
choose_type (Making *m, GError **error)
{
  const char *type = m->spec->type;

  if (type == NULL)
    m->type = m->spec->parent != NULL ? VHD_DIFFERENCING : VHD_DYNAMIC;
  else if (strcmp (type, "fixed") == 0)
    m->type = VHD_FIXED;
  else if (strcmp (type, "dynamic") == 0)
    m->type = VHD_DYNAMIC;
  else if (strcmp (type, "differencing") == 0)
    m->type = VHD_DIFFERENCING;
  else
    return vhd_fail (error, TN_ERROR_CONFIG,
                     "expected fixed, dynamic or differencing, found \"%s\"", type);
  if (m->type == VHD_DIFFERENCING && m->spec->parent == NULL)
    return vhd_fail (error, TN_ERROR_CONFIG, "a differencing image needs a parent");
  if (m->type != VHD_DIFFERENCING && m->spec->parent != NULL)
    return vhd_fail (error, TN_ERROR_CONFIG, "only a differencing image has a parent");
  return true;
}

static bool
choose_size (Making *m, GError **error)
{
  uint64_t size = m->spec->size;

  if (m->parent != NULL && size != 0 && size != m->parent->size)
    return vhd_fail (error, TN_ERROR_CONFIG,
                     "a differencing image has its parent's size, %" G_GUINT64_FORMAT " bytes",
                     m->parent->size);
  if (m->parent != NULL)
    size = m->parent->size;
  if (size == 0 || size % VHD_SECTOR != 0)
    return vhd_fail (error, TN_ERROR_CONFIG, "expected a size in whole sectors of 512 bytes");
  if (size <= VHD_MAX_SIZE && m->parent == NULL && !m->spec->exact)
    size = vhd_round_up (size / VHD_SECTOR) * VHD_SECTOR;
  if (size > VHD_MAX_SIZE)
    return vhd_fail (error, TN_ERROR_CONFIG, "a VHD has 2040 GiB at most");
  m->size = size;
  return true;
}

static bool
choose_block_size (Making *m, GError **error)
{
  uint32_t size = m->spec->block_size ? m->spec->block_size : VHD_USUAL_BLOCK;

  if (size < VHD_MIN_BLOCK || size > VHD_MAX_BLOCK || (size & (size - 1)) != 0)
    return vhd_fail (error, TN_ERROR_CONFIG,
                     "expected a power of two from 4 KiB to 256 MiB as block size, found %u", size);
  if ((m->size + size - 1) / size > VHD_MAX_ENTRIES)
    return vhd_fail (error, TN_ERROR_CONFIG, "blocks of %u bytes are too small for this disk",
                     size);
  m->block_size = size;
  m->entries = (m->size + size - 1) / size;
  return true;
}

/* ---- Bytes ---- */

static void
make_uuid (uint8_t *uuid)
{
  char *text = g_uuid_string_random ();

  for (unsigned n = 0, at = 0; n < 16; n++, at += 2)
    {
      if (text[at] == '-')
        at++;
      uuid[n] = g_ascii_xdigit_value (text[at]) << 4 | g_ascii_xdigit_value (text[at + 1]);
    }
  g_free (text);
}

static int64_t
now (void)
{
  GDateTime *time = g_date_time_new_now_utc ();
  int64_t seconds = g_date_time_to_unix (time);

  g_date_time_unref (time);
  return seconds;
}

static void
fill_geometry (const Making *m, uint8_t *bytes)
{
  uint16_t cylinders;
  uint8_t heads, per_track;

  vhd_geometry (m->size / VHD_SECTOR, &cylinders, &heads, &per_track);
  if (m->parent != NULL && m->parent->type != VHD_RAW)
    {
      memcpy (bytes, m->parent->footer_bytes + 56, 4);
      return;
    }
  vhd_put16 (bytes, cylinders);
  bytes[2] = heads;
  bytes[3] = per_track;
}

static bool
goes_by_geometry (const uint8_t *geometry, uint64_t size)
{
  return (uint64_t) vhd_get16 (geometry) * geometry[2] * geometry[3] * VHD_SECTOR == size;
}

static void
fill_footer (Making *m)
{
  uint8_t *f = m->footer;

  memcpy (f, "conectix", 8);
  vhd_put32 (f + 8, 2); /* a bit that is always set */
  vhd_put32 (f + 12, 0x00010000);
  vhd_put64 (f + 16, m->type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER_SIZE);
  vhd_put32 (f + 24, vhd_time (now ()));
  fill_geometry (m, f + 56);
  memcpy (f + 28, goes_by_geometry (f + 56, m->size) ? "tnon" : "win ", 4);
  vhd_put32 (f + 32, 0x00010000);
  memcpy (f + 36, "Wi2k", 4);
  vhd_put64 (f + 40, m->size);
  vhd_put64 (f + 48, m->size);
  vhd_put32 (f + 60, m->type);
  make_uuid (f + 68);
  vhd_seal_footer (f);
}

static uint64_t
padded (uint64_t bytes)
{
  return (bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}

static void
fill_parent (Making *m, uint64_t *end)
{
  static const uint32_t codes[G_N_ELEMENTS (m->locators)] = { VHD_RELATIVE, VHD_URL };
  uint8_t *h = m->header;

  if (m->parent->type != VHD_RAW)
    memcpy (h + 40, m->parent->footer.uuid, 16);
  vhd_put32 (h + 56, vhd_modified (m->parent));
  vhd_make_parent_name (h + 64, m->spec->parent);
  for (unsigned n = 0; n < G_N_ELEMENTS (codes); n++)
    {
      uint8_t *l = h + 576 + 24 * n;
      size_t size;

      m->locators[n] = vhd_make_locator (codes[n], m->spec->path, m->spec->parent);
      if (m->locators[n] == NULL)
        continue;
      size = g_bytes_get_size (m->locators[n]);
      vhd_put32 (l, codes[n]);
      vhd_put32 (l + 4, padded (size)); /* in bytes, as Virtual PC has it, not as the text says */
      vhd_put32 (l + 8, size);
      vhd_put64 (l + 16, *end);
      *end += padded (size);
    }
}

static void
fill_header (Making *m)
{
  uint8_t *h = m->header;

  m->end = TABLE_OFFSET + padded ((uint64_t) m->entries * 4);
  memcpy (h, "cxsparse", 8);
  vhd_put64 (h + 8, UINT64_MAX);
  vhd_put64 (h + 16, TABLE_OFFSET);
  vhd_put32 (h + 24, 0x00010000);
  vhd_put32 (h + 28, m->entries);
  vhd_put32 (h + 32, m->block_size);
  if (m->parent != NULL)
    fill_parent (m, &m->end);
  vhd_seal_header (h);
}

/* ---- The file ---- */

static int
write_table (int fd, const Making *m)
{
  size_t size = padded ((uint64_t) m->entries * 4);
  uint8_t *table = g_malloc (size);
  int error;

  memset (table, 0xff, size);
  error = image_file_write (fd, TABLE_OFFSET, table, size);
  g_free (table);
  return error;
}

static int
write_sparse (int fd, const Making *m)
{
  int error = image_file_write (fd, 0, m->footer, VHD_FOOTER_SIZE);

  if (error == 0)
    error = image_file_write (fd, VHD_FOOTER_SIZE, m->header, VHD_HEADER_SIZE);
  if (error == 0)
    error = write_table (fd, m);
  for (unsigned n = 0; n < G_N_ELEMENTS (m->locators) && error == 0; n++)
    if (m->locators[n] != NULL)
      error = image_file_write (fd, vhd_get64 (m->header + 576 + 24 * n + 16),
                                g_bytes_get_data (m->locators[n], NULL),
                                g_bytes_get_size (m->locators[n]));
  return error;
}

static bool
write_file (const Making *m, GError **error)
{
  const char *path = m->spec->path;
  int fd = open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), failure = 0;

  if (fd < 0)
    return vhd_fail (error, TN_ERROR_IO, "cannot make %s: %s", path, g_strerror (errno));
  if (m->type != VHD_FIXED)
    failure = write_sparse (fd, m);
  if (failure == 0)
    failure = image_file_write (fd, m->end, m->footer, VHD_FOOTER_SIZE);
  if (failure == 0 && fsync (fd) != 0)
    failure = errno;
  close (fd);
  if (failure == 0)
    return true;
  unlink (path);
  return vhd_fail (error, TN_ERROR_IO, "cannot write %s: %s", path, g_strerror (failure));
}

static bool
open_parent (Making *m, bool raw, GError **error)
{
  VhdOpen how = { .key = "parent", .raw = raw, .parent = NULL };

  if (m->spec->parent == NULL)
    return true;
  m->parent = vhd_open (&how, m->spec->parent, error);
  return m->parent != NULL;
}

bool
vhd_create (const TnImageSpec *spec, bool raw_parent, GError **error)
{
  Making m = { .spec = spec };
  bool fine = choose_type (&m, error) && open_parent (&m, raw_parent, error)
              && choose_size (&m, error) && choose_block_size (&m, error);

  if (fine)
    {
      m.end = m.size;
      fill_footer (&m);
      if (m.type != VHD_FIXED)
        fill_header (&m);
      fine = write_file (&m, error);
    }
  for (unsigned n = 0; n < G_N_ELEMENTS (m.locators); n++)
    if (m.locators[n] != NULL)
      g_bytes_unref (m.locators[n]);
  vhd_close (m.parent);
  return fine;
}

int
vhd_write_header (VhdImage *v)
{
  int error;

  vhd_seal_header (v->header_bytes);
  v->unsynced = true;
  error = image_file_write (v->fd, v->footer.data_offset, v->header_bytes, VHD_HEADER_SIZE);
  return error ? error : image_file_sync (v->fd);
}
