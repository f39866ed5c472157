/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands on sectors.  A command goes through stages, each of which ends with an event: the stage
 * timer, the end of a request to the image, a last byte from or to the host.
 *
 *   read     SEARCH  FETCH  PASS  TO_HOST  NEXT                   for each sector
 *   verify   SEARCH  FETCH  PASS  NEXT
 *   scan     SEARCH  FETCH  PASS  FROM_HOST  NEXT
 *   write    SEARCH  FROM_HOST  PASS_WRITE  STORE  NEXT
 *   format   INDEX, then for each sector  FROM_HOST (its ID)  PASS_WRITE  STORE  NEXT
 *   read ID  READ_ID
 *
 * before which there may be SEEK (implied), and STILL while the medium does not turn; an error
 * shows at the end of FAIL.  The result is never there at once: drivers set their flags after the
 * command.
 *
 * The request to the image has a buffer of its own (io).  One that is not wanted any more is left
 * to end by itself; the next one waits for it.
 */
#include "fdc.h"

#include <errno.h>
#include <string.h>

#define TURNAROUND (20 * TN_NS_PER_US) /* from the last byte to the result */
#define PATIENCE (200 * TN_NS_PER_MS)  /* with a host that neither gives nor takes bytes */

static void search (Fdc *f);

static void
enter (Fdc *f, FdcStage stage, int64_t due)
{
  f->stage = stage;
  f->stage_due = due;
  tn_timer_set (f->stage_timer, due);
}

/* Until the disk turns again, which may be never. */
static void
wait_for_index (Fdc *f)
{
  f->sector_end = TN_TIME_NEVER;
  enter (f, STAGE_STILL, TN_TIME_NEVER);
}

static int64_t
soon (const Fdc *f)
{
  return tn_device_now (f->device) + TURNAROUND;
}

static int64_t
not_before (const Fdc *f, int64_t when)
{
  int64_t first = soon (f);
  return MAX (when, first);
}

/* ---- Which command is it ---- */

static bool
is_scan (const Fdc *f)
{
  uint8_t code = fdc_code (f);
  return code == CMD_SCAN_EQUAL || code == CMD_SCAN_LOW || code == CMD_SCAN_HIGH;
}

static bool
is_write (const Fdc *f)
{
  uint8_t code = fdc_code (f);
  return code == CMD_WRITE || code == CMD_WRITE_DELETED || code == CMD_FORMAT;
}

static bool
is_verify (const Fdc *f)
{
  return fdc_code (f) == CMD_VERIFY;
}

/* VERIFY's EC and SCAN's step are in the places of MT's neighbours. */
static bool
verify_counts (const Fdc *f)
{
  return is_verify (f) && (f->command[1] & 0x80);
}

static unsigned
sector_step (const Fdc *f)
{
  return is_scan (f) && f->command[8] == 2 ? 2 : 1;
}

static unsigned
sector_bytes (const FdcDrive *d)
{
  return 128u << d->format->size_code;
}

/* ---- Results ---- */

static void
finish (Fdc *f, uint8_t st0)
{
  const FdcDrive *d = fdc_selected (f);
  uint8_t *result = f->result;
  result[0] = st0 | f->st[0] | (f->head ? ST0_HEAD : 0) | (f->command[1] & DOR_DRIVE);
  result[1] = f->st[1];
  result[2] = f->st[2];
  result[3] = f->c;
  result[4] = f->h;
  result[5] = f->r;
  result[6] = f->command[5];
  if (fdc_code (f) == CMD_FORMAT)
    result[6] = f->command[2];
  else if (fdc_code (f) == CMD_READ_ID)
    result[6] = f->r && d->format ? d->format->size_code : 0;
  fdc_finish (f, 7, true);
}

static void
fail_at (Fdc *f, uint8_t st1, uint8_t st2, int64_t when)
{
  f->st[1] |= st1;
  f->st[2] |= st2;
  enter (f, STAGE_FAIL, when);
}

/* An address mark is looked for until the index has passed twice. */
static void
fail_at_index (Fdc *f, uint8_t st1, uint8_t st2)
{
  const FdcDrive *d = fdc_selected (f);
  fail_at (f, st1, st2, fdc_drive_next_slot (d, 0, 1) + fdc_drive_rotation (d));
}

/* What the result names: the sector after the last one (82077AA, table 6-7). */
static void
advance_result (Fdc *f)
{
  if (f->r != f->command[6])
    {
      f->r += sector_step (f);
      return;
    }
  f->r = 1;
  if ((f->command[0] & COMMAND_MT) && fdc_code (f) != CMD_READ_TRACK)
    {
      f->c += f->head;
      f->h ^= 1;
    }
  else
    f->c++;
}

static void
finish_well (Fdc *f)
{
  advance_result (f);
  f->st[2] |= f->scan;
  finish (f, 0);
}

/* ---- Requests to the image ---- */

static void submit (Fdc *f);
static void stored (Fdc *f, int error);
static void fetched (Fdc *f, int error);

static void
request_done (void *self, int error, void *data)
{
  Fdc *f = self;
  bool stale = f->io_stale, again = f->io_again;
  f->io_busy = f->io_stale = f->io_again = false;
  if (again)
    submit (f);
  else if (!stale && f->stage == STAGE_FETCH)
    fetched (f, error);
  else if (!stale && f->stage == STAGE_STORE)
    stored (f, error);
}

static uint64_t
sector_offset (const FdcDrive *d, uint8_t cylinder, uint8_t head, uint8_t sector)
{
  const FdcFormat *m = d->format;
  uint64_t track = (uint64_t) cylinder * m->heads + head;
  return (track * m->sectors + sector - 1) << (7 + m->size_code);
}

/* Reads the sector c, head, r into io, or writes io there. */
static void
submit (Fdc *f)
{
  FdcDrive *d = fdc_selected (f);
  uint64_t offset;
  unsigned size;
  if (f->io_busy)
    {
      f->io_again = true;
      return;
    }
  if (!d->format)
    {
      fdc_execute_medium (f);
      return;
    }
  offset = sector_offset (d, f->c, f->head, f->r);
  size = sector_bytes (d);
  f->io_busy = true;
  if (f->stage == STAGE_STORE)
    {
      memcpy (f->io, f->buffer, size);
      if (offset + size <= d->size)
        tn_block_write (d->block, offset, f->io, size, request_done, NULL);
      else
        {
          f->io_busy = false;
          fail_at (f, ST1_DE, ST2_DD, soon (f)); /* the image is too short for its format */
        }
      return;
    }
  memset (f->io, 0, sizeof f->io); /* all of it is saved in the end */
  if (offset + size <= d->size)
    tn_block_read (d->block, offset, f->io, size, request_done, NULL);
  else if (offset < d->size)
    tn_block_read (d->block, offset, f->io, d->size - offset, request_done, NULL);
  else
    {
      f->io_busy = false;
      fetched (f, 0);
    }
}

static void
fetched (Fdc *f, int error)
{
  if (error == ENOMEDIUM)
    fdc_execute_medium (f);
  else if (error)
    fail_at (f, ST1_DE, ST2_DD, soon (f));
  else
    {
      memcpy (is_scan (f) ? f->sector : f->buffer, f->io, FDC_SECTOR);
      enter (f, STAGE_PASS, f->sector_end);
    }
}

static void
stored (Fdc *f, int error)
{
  if (error == ENOMEDIUM)
    fdc_execute_medium (f);
  else if (error)
    fail_at (f, error == EROFS ? ST1_NW : ST1_DE, 0, soon (f));
  else
    enter (f, STAGE_NEXT, soon (f));
}

/* ---- Data phase ---- */

void
fdc_update_request (Fdc *f)
{
  bool phase = f->stage == STAGE_TO_HOST || f->stage == STAGE_FROM_HOST;
  tn_dma_request (f->dma, phase && (f->dor & DOR_GATE) && !(f->specify[1] & SPECIFY_ND));
}

static void
exchange (Fdc *f, FdcStage stage, unsigned length)
{
  f->pos = 0;
  f->length = length;
  enter (f, stage, tn_device_now (f->device) + PATIENCE);
  fdc_update_request (f);
  fdc_update_irq (f);
}

static uint8_t
compare (const Fdc *f)
{
  bool equal = true, low = true, high = true;
  for (unsigned i = 0; i < f->pos; i++)
    {
      uint8_t disk = f->sector[i], host = f->buffer[i];
      if (disk == 0xff || host == 0xff || disk == host)
        continue;
      equal = false;
      low = low && disk < host;
      high = high && disk > host;
    }
  if (equal)
    return ST2_SH;
  if ((fdc_code (f) == CMD_SCAN_LOW && low) || (fdc_code (f) == CMD_SCAN_HIGH && high))
    return 0;
  return ST2_SN;
}

/* The four bytes of an ID: the image can only hold what its own format has. */
static void
take_id (Fdc *f)
{
  const FdcDrive *d = fdc_selected (f);
  const uint8_t *id = f->buffer;
  uint8_t cylinder;
  f->c = id[0];
  f->h = id[1];
  f->r = id[2];
  if (!d->format || !fdc_drive_readable (d, f->head, true, &cylinder) || f->c != cylinder
      || f->h != f->head || id[3] != d->format->size_code || !f->r || f->r > d->format->sectors)
    {
      tn_device_log (f->device, TN_LOG_WARNING,
                     "drive %c: an image cannot be formatted to another format", 'A' + d->number);
      fail_at (f, ST1_MA | ST1_ND, 0, soon (f));
      return;
    }
  memset (f->buffer, f->command[5], sizeof f->buffer);
  enter (f, STAGE_PASS_WRITE, not_before (f, f->sector_end));
}

/* The bytes of a sector are complete, or as complete as terminal count leaves them. */
static void
exchanged (Fdc *f)
{
  if (f->stage == STAGE_TO_HOST)
    {
      enter (f, STAGE_NEXT, soon (f));
      return;
    }
  memset (f->buffer + f->pos, 0, sizeof f->buffer - f->pos);
  if (is_scan (f))
    {
      f->scan = compare (f);
      enter (f, STAGE_NEXT, soon (f));
    }
  else if (fdc_code (f) == CMD_FORMAT)
    take_id (f);
  else
    enter (f, STAGE_PASS_WRITE, not_before (f, f->sector_end));
}

size_t
fdc_dma_transfer (void *self, uint8_t *data, size_t size, bool to_memory, bool tc, void *user)
{
  Fdc *f = self;
  size_t n = MIN (size, (size_t) f->length - f->pos);
  if (f->stage != (to_memory ? STAGE_TO_HOST : STAGE_FROM_HOST) || !n)
    return 0;
  if (to_memory)
    memcpy (data, f->buffer + f->pos, n);
  else
    memcpy (f->buffer + f->pos, data, n);
  f->pos += n;
  f->terminal_count |= tc && n == size;
  if (f->pos == f->length || f->terminal_count)
    {
      exchanged (f);
      fdc_update_request (f);
    }
  else
    enter (f, f->stage, tn_device_now (f->device) + PATIENCE);
  return n;
}

static void
byte_exchanged (Fdc *f)
{
  if (f->pos == f->length)
    exchanged (f);
  else
    enter (f, f->stage, tn_device_now (f->device) + PATIENCE);
}

uint8_t
fdc_pio_read (Fdc *f)
{
  uint8_t byte = f->buffer[f->pos++];
  byte_exchanged (f);
  return byte;
}

void
fdc_pio_write (Fdc *f, uint8_t byte)
{
  f->buffer[f->pos++] = byte;
  byte_exchanged (f);
}

/* ---- Sectors ---- */

/* Deleted data do not exist here: READ DELETED DATA finds each sector with the wrong mark, reads it
   and ends, or with SK skips it. */
static bool
skips_all (const Fdc *f)
{
  return f->wrong_mark && (f->command[0] & COMMAND_SK);
}

/* The sector after this one, or the end of the command. */
static void
next (Fdc *f)
{
  if (fdc_code (f) == CMD_FORMAT)
    {
      if (--f->left == 0 || f->terminal_count)
        finish (f, 0);
      else
        {
          f->sector_end += fdc_drive_rotation (fdc_selected (f)) / f->command[3];
          exchange (f, STAGE_FROM_HOST, 4);
        }
      return;
    }
  if (f->left)
    f->left--;
  if (f->terminal_count || (is_scan (f) && f->scan != ST2_SN) || (f->wrong_mark && !skips_all (f))
      || (verify_counts (f) && !f->left))
    {
      finish_well (f);
      return;
    }
  if (fdc_code (f) == CMD_READ_TRACK ? f->left > 0 : f->r != f->command[6])
    f->r += sector_step (f);
  else if ((f->command[0] & COMMAND_MT) && !f->head && fdc_code (f) != CMD_READ_TRACK)
    {
      f->head = 1;
      f->h ^= 1;
      f->r = 1;
    }
  else if (is_verify (f) || is_scan (f))
    {
      finish_well (f);
      return;
    }
  else
    {
      f->st[1] |= ST1_EN; /* the result names the last sector: Linux counts from there */
      finish (f, ST0_ABNORMAL);
      return;
    }
  search (f);
}

/* Looks at the IDs that will come by for the one wanted. */
static void
search (Fdc *f)
{
  const FdcDrive *d = fdc_selected (f);
  int64_t now = tn_device_now (f->device), start, slot;
  uint8_t cylinder;
  if (!fdc_drive_turns (d))
    {
      wait_for_index (f);
      return;
    }
  if (!fdc_drive_readable (d, f->head, f->command[0] & COMMAND_MFM, &cylinder))
    {
      fail_at_index (f, ST1_MA, 0);
      return;
    }
  if (fdc_code (f) == CMD_READ_TRACK)
    {
      /* Takes what comes, and tells whether it was what the command named. */
      if (f->c != cylinder || f->h != f->head || f->command[4] != 1)
        f->st[1] |= ST1_ND;
      f->c = cylinder;
      f->h = f->head;
    }
  if (f->c != cylinder)
    {
      fail_at_index (f, ST1_ND, f->c == 0xff ? 0 : ST2_WC);
      return;
    }
  if (f->h != f->head || f->command[5] != d->format->size_code || !f->r
      || f->r > d->format->sectors)
    {
      fail_at_index (f, ST1_ND, 0);
      return;
    }
  slot = fdc_drive_rotation (d) / d->format->sectors;
  start = fdc_drive_next_slot (d, f->r - 1, d->format->sectors);
  /* The next one of a run comes right after its predecessor, even if the host took its time. */
  if (f->sector_end != TN_TIME_NEVER && f->r > 1 && now - f->sector_end < slot)
    start = MAX (now, f->sector_end);
  f->sector_end = start + slot;
  enter (f, STAGE_SEARCH, start);
}

static void
sector_found (Fdc *f)
{
  if (is_write (f))
    exchange (f, STAGE_FROM_HOST, sector_bytes (fdc_selected (f)));
  else
    {
      enter (f, STAGE_FETCH, TN_TIME_NEVER);
      submit (f);
    }
}

static void
sector_passed (Fdc *f)
{
  unsigned size = sector_bytes (fdc_selected (f));
  if (is_scan (f))
    exchange (f, STAGE_FROM_HOST, size);
  else if (is_verify (f) || skips_all (f))
    next (f);
  else
    exchange (f, STAGE_TO_HOST, size);
}

/* ---- Beginning ---- */

static void
read_id (Fdc *f)
{
  const FdcDrive *d = fdc_selected (f);
  int64_t now = tn_device_now (f->device), best = TN_TIME_NEVER;
  uint8_t cylinder;
  if (!fdc_drive_readable (d, f->head, f->command[0] & COMMAND_MFM, &cylinder))
    {
      f->c = f->h = f->r = 0;
      fail_at_index (f, ST1_MA, 0);
      return;
    }
  f->c = cylinder;
  f->h = f->head;
  for (unsigned i = 0; i < d->format->sectors; i++)
    {
      int64_t when = fdc_drive_next_slot (d, i, d->format->sectors);
      if (when > now && when < best)
        {
          best = when;
          f->r = i + 1;
        }
    }
  enter (f, STAGE_READ_ID, not_before (f, best));
}

static void
begin (Fdc *f)
{
  const FdcDrive *d = fdc_selected (f);
  uint8_t code = fdc_code (f);
  if (!fdc_drive_turns (d))
    wait_for_index (f);
  else if (is_write (f) && d->read_only)
    fail_at (f, ST1_NW, 0, soon (f));
  else if (code == CMD_READ_ID)
    read_id (f);
  else if (code != CMD_FORMAT)
    search (f);
  else if (!f->command[3])
    finish (f, 0);
  else
    enter (f, STAGE_INDEX, fdc_drive_next_slot (d, 0, 1));
}

static void
begin_format (Fdc *f)
{
  f->left = f->command[3];
  f->sector_end = tn_device_now (f->device) + fdc_drive_rotation (fdc_selected (f)) / f->command[3];
  exchange (f, STAGE_FROM_HOST, 4);
}

void
fdc_execute (Fdc *f)
{
  FdcDrive *d = fdc_selected (f);
  uint8_t code = fdc_code (f), *k = f->command;
  bool addressed = code != CMD_READ_ID && code != CMD_FORMAT;
  f->head = !!(k[1] & ST0_HEAD);
  f->c = addressed ? k[2] : d->pcn;
  f->h = addressed ? k[3] : f->head;
  f->r = addressed ? k[4] : 0;
  memset (f->st, 0, sizeof f->st);
  f->left = verify_counts (f) ? k[8] : code == CMD_READ_TRACK ? k[6] : 0;
  f->scan = 0;
  f->terminal_count = false;
  f->wrong_mark = code == CMD_READ_DELETED;
  f->st[2] = f->wrong_mark ? ST2_CM : 0;
  f->sector_end = TN_TIME_NEVER;
  if (code == CMD_READ_TRACK)
    f->r = 1;
  if (addressed && fdc_drive_implied_seek (d, f->c))
    enter (f, STAGE_SEEK, TN_TIME_NEVER);
  else
    begin (f);
}

void
fdc_implied_seek_ended (Fdc *f)
{
  if (f->stage != STAGE_SEEK)
    return;
  f->st[0] |= ST0_SE;
  begin (f);
}

void
fdc_execute_motors (Fdc *f)
{
  bool turns = fdc_drive_turns (fdc_selected (f));
  bool waits = f->stage == STAGE_SEARCH || f->stage == STAGE_INDEX || f->stage == STAGE_READ_ID;
  if (f->stage == STAGE_STILL && turns)
    begin (f);
  else if (waits && !turns)
    wait_for_index (f);
}

/* A command that is under way has lost its disk. */
void
fdc_execute_medium (Fdc *f)
{
  if (f->stage == STAGE_NONE || f->stage == STAGE_SEEK)
    return;
  f->sector_end = TN_TIME_NEVER;
  if (f->stage == STAGE_STILL)
    {
      begin (f);
      return;
    }
  f->io_stale = f->io_busy;
  f->io_again = false;
  fail_at (f, ST1_MA, 0, soon (f));
  fdc_update_request (f);
  fdc_update_irq (f);
}

void
fdc_execute_abort (Fdc *f)
{
  f->io_stale = f->io_busy;
  f->io_again = false;
  f->pos = f->length = 0;
  f->terminal_count = f->wrong_mark = false;
  f->left = f->scan = 0;
}

/* ---- Events ---- */

void
fdc_stage_event (void *self, void *data)
{
  Fdc *f = self;
  f->stage_due = TN_TIME_NEVER;
  switch ((FdcStage) f->stage)
    {
    case STAGE_SEARCH: sector_found (f); break;
    case STAGE_PASS: sector_passed (f); break;
    case STAGE_TO_HOST:
    case STAGE_FROM_HOST: /* the host's patience is the disk's */
      f->st[1] |= ST1_OR;
      finish (f, ST0_ABNORMAL);
      break;
    case STAGE_PASS_WRITE:
      enter (f, STAGE_STORE, TN_TIME_NEVER);
      submit (f);
      break;
    case STAGE_NEXT: next (f); break;
    case STAGE_INDEX: begin_format (f); break;
    case STAGE_READ_ID: finish (f, 0); break;
    case STAGE_FAIL: finish (f, ST0_ABNORMAL); break;
    default: break;
    }
}

/* ---- State ---- */

/* Rate, head and medium may have become others since the stage began: that shows in the next one.
 */
static bool
stage_fits (const Fdc *f)
{
  const FdcDrive *d = &f->drives[f->command[1] & DOR_DRIVE];
  bool format = fdc_code (f) == CMD_FORMAT;
  bool data = f->stage == STAGE_TO_HOST || f->stage == STAGE_FROM_HOST;
  if (f->stage >= N_STAGES || f->pos > sizeof f->buffer || f->length > sizeof f->buffer
      || f->head > 1)
    return false;
  if (f->stage == STAGE_NONE || f->stage == STAGE_FAIL || f->stage == STAGE_STILL)
    return true;
  if (f->stage == STAGE_SEEK)
    return d->seeking && d->implied;
  if (format && (!f->command[3] || (f->stage != STAGE_INDEX && !f->left)))
    return false;
  if (f->stage == STAGE_INDEX || f->stage == STAGE_READ_ID)
    return format || fdc_code (f) == CMD_READ_ID;
  if (data && f->pos >= f->length)
    return false;
  if (format && f->stage == STAGE_FROM_HOST)
    return f->length == 4;
  return d->format && f->r && f->r <= d->format->sectors && f->head < d->format->heads
         && f->c < d->format->cylinders && (!data || f->length <= sector_bytes (d));
}

/* It may have passed long ago, if the image's bytes were long on their way. */
static bool
sector_end_fits (const Fdc *f)
{
  int64_t now = tn_device_now (f->device), end = f->sector_end;
  return end == TN_TIME_NEVER || (end > INT64_MIN / 2 && end / 2 - now / 2 <= 30 * TN_NS_PER_S);
}

bool
fdc_execute_restored (Fdc *f)
{
  int64_t now = tn_device_now (f->device);
  f->io_stale = f->io_busy;
  f->io_again = false;
  if (!stage_fits (f) || (f->stage_due != TN_TIME_NEVER && f->stage_due - now > 60 * TN_NS_PER_S)
      || !sector_end_fits (f))
    return false;
  if (f->stage == STAGE_FETCH || f->stage == STAGE_STORE)
    submit (f);
  else if (f->stage != STAGE_NONE && f->stage != STAGE_SEEK && f->stage != STAGE_STILL)
    tn_timer_set (f->stage_timer, f->stage_due == TN_TIME_NEVER ? now : f->stage_due);
  return true;
}
