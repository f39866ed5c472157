/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What may be wrong with the blocks of an image: one lies outside of the file, or on another one or
 * on the header or table.  Every opening looks for that, as writing to such an image would destroy
 * it; `tenon disk check` reports all of it.
 */
#include "vhd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STRUCTURES 3 /* copy of the footer, header, table */

typedef struct {
  const char *what;
  uint64_t start, end;
} Place;

typedef struct {
  VhdImage *image;
  VhdProblems *problems;
  uint64_t limit;   /* end of what blocks may use */
  uint64_t *blocks; /* offset in sectors << 32 | number of the block */
  uint32_t count;
  Place places[STRUCTURES + VHD_LOCATORS];
  unsigned n_places;
} Check;

static uint64_t
whole_block (const VhdImage *v)
{
  return v->bitmap_size + v->block_size;
}

/* ---- Inside of the file ---- */

static bool
collect_blocks (Check *c)
{
  VhdImage *v = c->image;
  uint32_t sector;

  for (uint32_t n = 0; n < v->entries; n++)
    {
      uint64_t offset = (uint64_t) v->table[n] * VHD_SECTOR;

      if (v->table[n] == VHD_UNUSED)
        continue;
      if (offset <= c->limit && whole_block (v) <= c->limit - offset)
        {
          c->blocks[c->count++] = (uint64_t) v->table[n] << 32 | n;
          continue;
        }
      if (!vhd_problem (c->problems, TN_IMAGE_LOSS,
                        "has block %u outside of the file (at %" G_GUINT64_FORMAT
                        "): the image is truncated",
                        n, offset))
        return false;
      sector = n / (VHD_SECTOR / 4);
      v->table[n] = VHD_UNUSED;
      c->problems->cleared++;
      if (c->problems->repair
          && (v->stale->len == 0
              || g_array_index (v->stale, uint32_t, v->stale->len - 1) != sector))
        g_array_append_val (v->stale, sector);
    }
  return true;
}

/* ---- Each by itself ---- */

static void
add_place (Check *c, const char *what, uint64_t start, uint64_t length)
{
  c->places[c->n_places++] = (Place){ what, start, start + length };
}

static void
add_locator (Check *c, const VhdLocator *l, uint64_t file_size)
{
  uint64_t length = l->length;

  if (l->code == 0 || l->length == 0)
    return;
  if (l->offset > file_size || length > file_size - l->offset)
    vhd_problem (c->problems, TN_IMAGE_NOTE, "has a locator of its parent outside of the file");
  else
    add_place (c, "a locator of its parent", l->offset, length);
}

static void
collect_places (Check *c, uint64_t file_size)
{
  VhdImage *v = c->image;

  add_place (c, "the footer's copy", 0, VHD_FOOTER_SIZE);
  add_place (c, "the header", v->footer.data_offset, VHD_HEADER_SIZE);
  add_place (c, "the table", v->header.table_offset, (uint64_t) v->entries * 4);
  for (unsigned n = 0; v->type == VHD_DIFFERENCING && n < VHD_LOCATORS; n++)
    add_locator (c, &v->header.locators[n], file_size);
}

/* Locators are hints, and only read: nothing is lost where they lie on something else. */
static bool
check_places (Check *c)
{
  for (unsigned i = 0; i < STRUCTURES; i++)
    for (unsigned j = 0; j < i; j++)
      if (c->places[i].start < c->places[j].end && c->places[j].start < c->places[i].end
          && !vhd_problem (c->problems, TN_IMAGE_LOSS, "has %s on %s", c->places[i].what,
                           c->places[j].what))
        return false;
  return true;
}

static bool
check_against_places (Check *c, uint64_t entry)
{
  uint64_t start = (entry >> 32) * VHD_SECTOR, end = start + whole_block (c->image);

  for (unsigned n = 0; n < c->n_places; n++)
    if (start < c->places[n].end && c->places[n].start < end)
      return vhd_problem (c->problems, n < STRUCTURES ? TN_IMAGE_LOSS : TN_IMAGE_NOTE,
                          "has block %u on %s", (uint32_t) entry, c->places[n].what);
  return true;
}

static int
compare (const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

  return x < y ? -1 : x > y;
}

static bool
check_overlaps (Check *c)
{
  qsort (c->blocks, c->count, sizeof *c->blocks, compare);
  for (uint32_t n = 0; n < c->count; n++)
    {
      if (!check_against_places (c, c->blocks[n]))
        return false;
      if (n > 0
          && ((c->blocks[n] >> 32) - (c->blocks[n - 1] >> 32)) * VHD_SECTOR < whole_block (c->image)
          && !vhd_problem (c->problems, TN_IMAGE_LOSS, "has block %u on block %u",
                           (uint32_t) c->blocks[n], (uint32_t) c->blocks[n - 1]))
        return false;
    }
  return true;
}

static void
find_end (Check *c)
{
  VhdImage *v = c->image;
  uint64_t end = 0;

  for (unsigned n = 0; n < c->n_places; n++)
    end = MAX (end, c->places[n].end);
  /* The room that a locator claims may be larger than the locator. */
  for (unsigned n = 0; v->type == VHD_DIFFERENCING && n < VHD_LOCATORS; n++)
    if (v->header.locators[n].length > 0 && v->header.locators[n].offset <= c->limit
        && v->header.locators[n].space <= c->limit - v->header.locators[n].offset)
      end = MAX (end, v->header.locators[n].offset + v->header.locators[n].space);
  if (c->count > 0)
    end = MAX (end, (c->blocks[c->count - 1] >> 32) * VHD_SECTOR + whole_block (v));
  v->next = (end + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
  v->end = v->tail_bad ? v->next : MAX (c->limit, v->next);
}

bool
vhd_check_blocks (VhdImage *v, uint64_t file_size, VhdProblems *p)
{
  Check c = { .image = v, .problems = p };
  bool fine;

  c.limit = v->tail_bad ? file_size : file_size - VHD_FOOTER_SIZE;
  c.blocks = g_new (uint64_t, v->entries);
  collect_places (&c, file_size);
  fine = check_places (&c) && collect_blocks (&c) && check_overlaps (&c);
  if (fine)
    find_end (&c);
  g_free (c.blocks);
  if (fine && v->end > v->next)
    return vhd_problem (p, TN_IMAGE_NOTE, "has %" G_GUINT64_FORMAT " unused bytes at its end",
                        v->end - v->next);
  return fine;
}

/* ---- tenon disk check ---- */

static void
tell_found (void *data, TnImageFinding finding, const char *text)
{
  const TnImageMonitor *monitor = data;

  monitor->found (monitor->data, finding, text);
}

/* Every block's bitmap must be readable. */
static bool
read_bitmaps (VhdImage *v, VhdProblems *p, const TnImageMonitor *monitor, GError **error)
{
  uint8_t *bits = g_malloc (v->bitmap_size);
  bool fine = true;

  for (uint32_t n = 0; fine && n < v->entries; n++)
    {
      if (v->table[n] != VHD_UNUSED
          && image_file_read (v->fd, (uint64_t) v->table[n] * VHD_SECTOR, bits, v->bitmap_size)
                 != 0)
        vhd_problem (p, TN_IMAGE_LOSS, "has block %u, which cannot be read", n);
      if (n % 256 == 0)
        fine = monitor->progress (monitor->data, n, v->entries)
               || vhd_fail (error, TN_ERROR_FAILED, "interrupted");
    }
  g_free (bits);
  return fine;
}

static bool
mend (VhdImage *v, VhdProblems *p, const TnImageMonitor *monitor, GError **error)
{
  int failure;

  v->unsynced = true;
  failure = vhd_tidy (v);
  if (failure != 0)
    return vhd_fail (error, TN_ERROR_IO, "cannot repair %s: %s", v->path, g_strerror (failure));
  if (p->damages > 0)
    monitor->found (monitor->data, TN_IMAGE_REPAIRED, "footer and its copy are in order");
  if (p->losses > 0)
    monitor->found (monitor->data, TN_IMAGE_REPAIRED,
                    "blocks outside of the file are cleared; what they held is lost");
  return true;
}

bool
vhd_check (const char *path, bool repair, const TnImageMonitor *monitor, GError **error)
{
  VhdImage *v = g_new0 (VhdImage, 1);
  VhdProblems p = {
    .path = path, .found = tell_found, .data = (void *) monitor, .error = error, .repair = repair
  };
  bool fine, loaded;

  v->path = g_strdup (path);
  v->fd = image_file_open (path, repair, NULL, error);
  if (v->fd < 0)
    {
      vhd_close (v);
      return false;
    }
  loaded = vhd_load (v, false, &p);
  fine = loaded && (v->table == NULL || read_bitmaps (v, &p, monitor, error));
  v->writable = repair && fine;
  /* Blocks on one another cannot be told apart: such an image stays as it is. */
  if (v->writable && p.losses == p.cleared)
    fine = mend (v, &p, monitor, error);
  else if (p.losses > 0 || p.damages > 0)
    fine = false;
  v->writable = false;
  vhd_close (v);
  return fine;
}
