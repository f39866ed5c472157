/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Footer and header of a VHD as bytes.
 *
 *   footer   0 "conectix"       8 features        12 version 1.0     16 offset of the header
 *           24 time of making  28 creator        32 its version     36 its host
 *           40 first size      48 size           56 C/H/S           60 type
 *           64 checksum        68 UUID           84 saved state     85 zeros
 *   header   0 "cxsparse"       8 all ones       16 offset of table 24 version 1.0
 *           28 entries         32 bytes a block  36 checksum        40 parent's UUID
 *           56 parent's time   60 zero           64 parent's name  576 eight locators of 24 bytes
 *   locator  0 code             4 space           8 length          12 zero        16 offset
 *
 * A checksum is the complement of the sum of all bytes but its own.
 */
#include "vhd.h"

#include <string.h>

#define CHECKSUM_FOOTER 64
#define CHECKSUM_HEADER 36
#define EPOCH_2000 946684800

uint16_t
vhd_get16 (const uint8_t *p)
{
  return p[0] << 8 | p[1];
}

uint32_t
vhd_get32 (const uint8_t *p)
{
  return (uint32_t) vhd_get16 (p) << 16 | vhd_get16 (p + 2);
}

uint64_t
vhd_get64 (const uint8_t *p)
{
  return (uint64_t) vhd_get32 (p) << 32 | vhd_get32 (p + 4);
}

void
vhd_put16 (uint8_t *p, uint16_t value)
{
  p[0] = value >> 8;
  p[1] = value;
}

void
vhd_put32 (uint8_t *p, uint32_t value)
{
  vhd_put16 (p, value >> 16);
  vhd_put16 (p + 2, value);
}

void
vhd_put64 (uint8_t *p, uint64_t value)
{
  vhd_put32 (p, value >> 32);
  vhd_put32 (p + 4, value);
}

/* ---- Checksums ---- */

static uint32_t
checksum (const uint8_t *bytes, size_t size, size_t hole)
{
  uint32_t sum = 0;

  for (size_t i = 0; i < size; i++)
    if (i < hole || i >= hole + 4)
      sum += bytes[i];
  return ~sum;
}

void
vhd_seal_footer (uint8_t *bytes)
{
  vhd_put32 (bytes + CHECKSUM_FOOTER, checksum (bytes, VHD_FOOTER_SIZE, CHECKSUM_FOOTER));
}

void
vhd_seal_header (uint8_t *bytes)
{
  vhd_put32 (bytes + CHECKSUM_HEADER, checksum (bytes, VHD_HEADER_SIZE, CHECKSUM_HEADER));
}

/* ---- Parsing ---- */

bool
vhd_has_mark (const uint8_t *bytes)
{
  return memcmp (bytes, "conectix", 8) == 0;
}

static const char *
check_footer (const VhdFooter *f)
{
  if (f->version >> 16 != 1)
    return "is of a version of the format that is not known";
  if (f->type != VHD_FIXED && f->type != VHD_DYNAMIC && f->type != VHD_DIFFERENCING)
    return "is neither fixed, dynamic nor differencing";
  if (f->current_size == 0 || f->current_size % VHD_SECTOR != 0)
    return "has a size that is no multiple of 512 bytes, or 0";
  if (f->current_size > VHD_MAX_SIZE)
    return "has a size beyond 2040 GiB, the format's limit";
  return NULL;
}

const char *
vhd_parse_footer (const uint8_t *bytes, VhdFooter *f)
{
  if (!vhd_has_mark (bytes))
    return "does not bear the mark of a VHD";
  if (vhd_get32 (bytes + CHECKSUM_FOOTER) != checksum (bytes, VHD_FOOTER_SIZE, CHECKSUM_FOOTER))
    return "has a wrong checksum";
  f->version = vhd_get32 (bytes + 12);
  f->data_offset = vhd_get64 (bytes + 16);
  f->timestamp = vhd_get32 (bytes + 24);
  memcpy (f->creator, bytes + 28, 4);
  f->creator[4] = '\0';
  f->current_size = vhd_get64 (bytes + 48);
  f->cylinders = vhd_get16 (bytes + 56);
  f->heads = bytes[58];
  f->sectors = bytes[59];
  f->type = vhd_get32 (bytes + 60);
  memcpy (f->uuid, bytes + 68, 16);
  f->saved_state = bytes[84] != 0;
  return check_footer (f);
}

static void
parse_locator (const uint8_t *bytes, VhdLocator *l)
{
  l->code = vhd_get32 (bytes);
  l->space = vhd_get32 (bytes + 4);
  l->length = vhd_get32 (bytes + 8);
  l->offset = vhd_get64 (bytes + 16);
}

static const char *
check_header (const VhdHeader *h)
{
  uint32_t size = h->block_size;

  if (h->version >> 16 != 1)
    return "is of a version of the format that is not known";
  if (size < VHD_MIN_BLOCK || size > VHD_MAX_BLOCK || (size & (size - 1)) != 0)
    return "has a block size that is no power of two from 4 KiB to 256 MiB";
  if (h->entries == 0)
    return "has a table without entries";
  return NULL;
}

const char *
vhd_parse_header (const uint8_t *bytes, VhdHeader *h)
{
  if (memcmp (bytes, "cxsparse", 8) != 0)
    return "does not bear its mark";
  if (vhd_get32 (bytes + CHECKSUM_HEADER) != checksum (bytes, VHD_HEADER_SIZE, CHECKSUM_HEADER))
    return "has a wrong checksum";
  h->table_offset = vhd_get64 (bytes + 16);
  h->version = vhd_get32 (bytes + 24);
  h->entries = vhd_get32 (bytes + 28);
  h->block_size = vhd_get32 (bytes + 32);
  memcpy (h->parent_uuid, bytes + 40, 16);
  h->parent_time = vhd_get32 (bytes + 56);
  memcpy (h->parent_name, bytes + 64, sizeof h->parent_name);
  for (unsigned n = 0; n < VHD_LOCATORS; n++)
    parse_locator (bytes + 576 + 24 * n, &h->locators[n]);
  return check_header (h);
}

void
vhd_code_text (uint32_t code, char *text)
{
  for (unsigned n = 0; n < 4; n++)
    {
      char c = code >> (24 - 8 * n);

      text[n] = g_ascii_isprint (c) ? c : '?';
    }
  text[4] = '\0';
}

/* ---- Sizes ---- */

void
vhd_geometry (uint64_t sectors, uint16_t *cylinders, uint8_t *heads, uint8_t *per_track)
{
  uint32_t total = MIN (sectors, UINT64_C (65535) * 16 * 255);
  uint32_t tracks, h = 16, s = 17;

  if (total >= 65535u * 16 * 63)
    s = 255;
  tracks = total / s;
  if (s == 17)
    {
      h = MAX ((tracks + 1023) / 1024, 4);
      /* Too many heads or cylinders: longer tracks. */
      if (tracks >= h * 1024 || h > 16)
        {
          h = 16;
          s = 31;
          tracks = total / s;
        }
      if (tracks >= h * 1024)
        {
          s = 63;
          tracks = total / s;
        }
    }
  *cylinders = tracks / h;
  *heads = h;
  *per_track = s;
}

static uint64_t
geometry_sectors (uint16_t cylinders, uint8_t heads, uint8_t per_track)
{
  return (uint64_t) cylinders * heads * per_track;
}

uint64_t
vhd_round_up (uint64_t sectors)
{
  for (uint64_t n = sectors;; n++)
    {
      uint16_t c;
      uint8_t h, s;

      vhd_geometry (n, &c, &h, &s);
      if (geometry_sectors (c, h, s) >= sectors)
        return geometry_sectors (c, h, s);
      if (c == 65535 && s == 255) /* beyond all geometries */
        return sectors;
    }
}

/* Virtual PC shows its guests the geometry's size; Hyper-V, Disk2vhd, XenServer and newer programs
   the one in the footer, which may be larger.  To see a disk as it was, go by who made it. */
uint64_t
vhd_disk_size (const VhdFooter *f)
{
  static const char by_size[][4] = { "win ", "d2v ", "qem2", "tap", "CTXS" };
  uint64_t geometry = geometry_sectors (f->cylinders, f->heads, f->sectors) * VHD_SECTOR;

  for (unsigned n = 0; n < G_N_ELEMENTS (by_size); n++)
    if (memcmp (f->creator, by_size[n], 4) == 0)
      return f->current_size;
  if (geometry == 0 || geometry == UINT64_C (65535) * 16 * 255 * VHD_SECTOR)
    return f->current_size;
  return MIN (geometry, f->current_size);
}

uint32_t
vhd_time (int64_t unix_seconds)
{
  return CLAMP (unix_seconds - EPOCH_2000, 0, (int64_t) UINT32_MAX);
}

uint32_t
vhd_bitmap_size (uint32_t block_size)
{
  uint32_t bytes = block_size / VHD_SECTOR / 8;

  return (bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}
