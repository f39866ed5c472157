/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The task file and the transfer engine of ATA drives: see ata.h.
 *
 * Data passes through a buffer of 64 KiB.  A read command fills as much of it as it needs with one
 * request to the back end and then hands it out in DRQ blocks without further waiting; a write
 * gathers blocks and passes them on when the buffer is full or the command complete.  Between
 * requests all is in the saved fields, and a phase that has a request under way can be begun again
 * from them.
 *
 * A drive that is reset while its back end still works stays BSY until the request has come home:
 * the buffer belongs to the back end until then.
 *
 * A command that needs no medium is done at once, but says so, with an interrupt, only after the time
 * that a drive would take: drivers write a command and only then begin to wait for its end.
 */
#include "ata.h"

#include <errno.h>
#include <string.h>

static void ready_in (AtaDrive *d);
static void ready_out (AtaDrive *d, bool first);

#define ANSWER_TIME (50 * TN_NS_PER_US)

static bool
is_packet (const AtaDrive *d)
{
  return d->cdrom && d->command == ATA_CMD_PACKET;
}

static uint32_t
media_block (const AtaDrive *d)
{
  return d->cdrom ? ATAPI_SECTOR : ATA_SECTOR;
}

static uint32_t
chunk_limit (const AtaDrive *d)
{
  return ATA_BUFFER_SIZE / (d->raw ? ATAPI_RAW_SECTOR : media_block (d));
}

/* Shown as BSY until then. */
static void
hold (AtaDrive *d)
{
  d->held = true;
  d->held_status = d->status;
  d->held_due = tn_device_now (d->setup.device) + ANSWER_TIME;
  d->status = ATA_SR_BSY;
  tn_timer_set (d->timer, d->held_due);
}

static void
release (AtaDrive *d)
{
  d->held = false;
  d->held_due = TN_TIME_NEVER;
  tn_timer_cancel (d->timer);
}

static void
timer_event (void *self, void *data)
{
  AtaDrive *d = data;
  if (!d->held)
    return;
  d->status = d->held_status;
  release (d);
  ata_set_intrq (d, true);
}

void
ata_set_intrq (AtaDrive *d, bool level)
{
  if (level && d->dispatching)
    {
      hold (d);
      return;
    }
  d->intrq = level;
  d->setup.host->intrq (d);
}

void
ata_complete (AtaDrive *d)
{
  d->phase = ATA_IDLE;
  d->status = ATA_SR_READY;
  d->error = 0;
  if (is_packet (d))
    d->count = (d->count & 0xf8) | ATAPI_REASON_COMMAND | ATAPI_REASON_IN;
  ata_set_intrq (d, true);
}

void
ata_fail (AtaDrive *d, uint8_t status, uint8_t error)
{
  d->phase = ATA_IDLE;
  d->status = ATA_SR_READY | ATA_SR_ERR | status;
  d->error = error;
  if (is_packet (d))
    d->count = (d->count & 0xf8) | ATAPI_REASON_COMMAND | ATAPI_REASON_IN;
  ata_set_intrq (d, true);
}

static void
media_error (AtaDrive *d, int error, bool write)
{
  if (d->cdrom)
    atapi_media_error (d, error);
  else
    disk_media_error (d, error, write);
}

/* ---- Requests to the back end ---- */

static void request_done (void *self, int error, void *data);

static void
submit (AtaDrive *d)
{
  uint32_t size = d->chunk * media_block (d);
  uint64_t offset = (uint64_t) d->next * media_block (d);
  d->status = ATA_SR_BSY;
  d->in_flight = true;
  if (d->phase == ATA_READING)
    tn_block_read (d->block, offset, d->buffer, size, request_done, d);
  else if (d->phase == ATA_WRITING)
    tn_block_write (d->block, offset, d->buffer, size, request_done, d);
  else
    tn_block_flush (d->block, request_done, d);
}

static void
fetch (AtaDrive *d)
{
  d->chunk = MIN (d->left, chunk_limit (d));
  d->phase = ATA_READING;
  submit (d);
}

void
ata_start_flush (AtaDrive *d)
{
  d->phase = ATA_FLUSHING;
  submit (d);
}

static void
read_done (AtaDrive *d)
{
  d->next += d->chunk;
  d->left -= d->chunk;
  d->pos = 0;
  d->length = d->chunk * media_block (d);
  if (d->raw)
    atapi_expand_raw (d);
  if (!d->cdrom)
    disk_set_address (d, d->next - 1);
  ready_in (d);
}

static void
write_done (AtaDrive *d)
{
  d->next += d->chunk;
  d->left -= d->chunk;
  disk_set_address (d, d->next - 1);
  if (d->left)
    {
      d->chunk = MIN (d->left, chunk_limit (d));
      d->pos = 0;
      d->length = d->chunk * media_block (d);
      ready_out (d, false);
    }
  else if (d->write_cache)
    ata_complete (d);
  else
    ata_start_flush (d);
}

static void
request_done (void *self, int error, void *data)
{
  AtaDrive *d = data;
  AtaPhase phase = d->phase;
  d->in_flight = false;
  if (d->reset_pending)
    {
      d->reset_pending = false;
      ata_signature (d);
      return;
    }
  if (error)
    media_error (d, error, phase != ATA_READING);
  else if (phase == ATA_READING)
    read_done (d);
  else if (phase == ATA_WRITING)
    write_done (d);
  else
    ata_complete (d);
}

void
ata_start_read (AtaDrive *d)
{
  fetch (d);
}

void
ata_start_write (AtaDrive *d)
{
  d->chunk = MIN (d->left, chunk_limit (d));
  d->pos = 0;
  d->length = d->chunk * media_block (d);
  ready_out (d, true);
}

/* ---- Data phases ---- */

static void
set_packet_registers (AtaDrive *d, uint8_t reason)
{
  uint32_t bytes = d->block_end - d->pos;
  d->count = (d->count & 0xf8) | reason;
  d->lba_mid = bytes;
  d->lba_high = bytes >> 8;
}

static void
open_block (AtaDrive *d, AtaPhase phase, bool interrupt)
{
  d->phase = phase;
  d->block_end = MIN (d->pos + d->block_size, d->length);
  d->status = ATA_SR_READY | ATA_SR_DRQ;
  if (is_packet (d))
    set_packet_registers (d, phase == ATA_DATA_IN ? ATAPI_REASON_IN : 0);
  if (interrupt)
    ata_set_intrq (d, true);
}

static void
ready_in (AtaDrive *d)
{
  if (!d->dma)
    {
      open_block (d, ATA_DATA_IN, true);
      return;
    }
  d->phase = ATA_DMA_IN;
  d->status = ATA_SR_READY | ATA_SR_DRQ;
  ata_dma_ready (d);
}

/* A disk asks for the first block without an interrupt. */
static void
ready_out (AtaDrive *d, bool first)
{
  if (!d->dma)
    {
      open_block (d, ATA_DATA_OUT, !first || is_packet (d));
      return;
    }
  d->phase = ATA_DMA_OUT;
  d->status = ATA_SR_READY | ATA_SR_DRQ;
  ata_dma_ready (d);
}

void
ata_send (AtaDrive *d, uint32_t length)
{
  d->left = d->pos = 0;
  d->length = length;
  if (length)
    ready_in (d);
  else
    ata_complete (d);
}

void
ata_receive (AtaDrive *d, uint32_t length)
{
  d->left = d->pos = 0;
  d->length = length;
  ready_out (d, true);
}

static void
in_consumed (AtaDrive *d)
{
  if (d->pos < d->length)
    ready_in (d);
  else if (d->left)
    fetch (d);
  else if (is_packet (d) || d->dma)
    ata_complete (d);
  else
    {
      d->phase = ATA_IDLE; /* a disk says no more after its last block */
      d->status = ATA_SR_READY;
      d->error = 0;
    }
}

static void
out_filled (AtaDrive *d)
{
  if (d->phase == ATA_PACKET)
    {
      d->dispatching = true;
      atapi_packet (d);
      d->dispatching = false;
    }
  else if (d->pos < d->length)
    ready_out (d, false);
  else if (d->cdrom)
    atapi_received (d);
  else
    {
      d->phase = ATA_WRITING;
      submit (d);
    }
}

uint32_t
ata_data_in (AtaDrive *d, void *items, uint32_t count, unsigned size)
{
  uint8_t *to = items;
  uint32_t moved = 0;
  while (moved < count && d->phase == ATA_DATA_IN && !d->held)
    {
      uint32_t rest = d->block_end - d->pos;
      uint32_t n = MIN (count - moved, (rest + size - 1) / size);
      uint32_t bytes = MIN (n * size, rest);
      memcpy (to, d->buffer + d->pos, bytes);
      memset (to + bytes, 0, n * size - bytes);
      to += n * size;
      moved += n;
      d->pos += bytes;
      if (d->pos == d->block_end)
        in_consumed (d);
    }
  return moved;
}

uint32_t
ata_data_out (AtaDrive *d, const void *items, uint32_t count, unsigned size)
{
  const uint8_t *from = items;
  uint32_t moved = 0;
  while (moved < count && (d->phase == ATA_DATA_OUT || d->phase == ATA_PACKET) && !d->held)
    {
      uint32_t rest = d->block_end - d->pos;
      uint32_t n = MIN (count - moved, (rest + size - 1) / size);
      uint32_t bytes = MIN (n * size, rest);
      memcpy (d->buffer + d->pos, from, bytes);
      from += n * size;
      moved += n;
      d->pos += bytes;
      if (d->pos == d->block_end)
        out_filled (d);
    }
  return moved;
}

void
ata_dma_ready (AtaDrive *d)
{
  bool in = d->phase == ATA_DMA_IN;
  if ((!in && d->phase != ATA_DMA_OUT) || d->held)
    return;
  d->pos += d->setup.host->dma (d, d->buffer + d->pos, d->length - d->pos, in);
  if (d->pos < d->length)
    return;
  if (in)
    in_consumed (d);
  else
    out_filled (d);
}

/* ---- Registers ---- */

uint8_t
ata_alt_status (const AtaDrive *d)
{
  return d->status;
}

uint8_t
ata_read (AtaDrive *d, unsigned reg)
{
  switch (reg)
    {
    case ATA_ERROR:
      return d->error;
    case ATA_COUNT:
      return d->count;
    case ATA_LBA_LOW:
      return d->lba_low;
    case ATA_LBA_MID:
      return d->lba_mid;
    case ATA_LBA_HIGH:
      return d->lba_high;
    case ATA_DEVICE:
      return d->drive_head | ATA_DEV_ONES;
    case ATA_STATUS:
      ata_set_intrq (d, false);
      return d->status;
    }
  return 0xff;
}

/* While BSY the drive owns the registers. */
void
ata_write (AtaDrive *d, unsigned reg, uint8_t value)
{
  if (d->status & ATA_SR_BSY)
    return;
  switch (reg)
    {
    case ATA_FEATURE:
      d->feature = value;
      break;
    case ATA_COUNT:
      d->count = value;
      break;
    case ATA_LBA_LOW:
      d->lba_low = value;
      break;
    case ATA_LBA_MID:
      d->lba_mid = value;
      break;
    case ATA_LBA_HIGH:
      d->lba_high = value;
      break;
    case ATA_DEVICE:
      d->drive_head = value;
      break;
    }
}

void
ata_command (AtaDrive *d, uint8_t command)
{
  if ((d->status & ATA_SR_BSY) && !(d->cdrom && command == ATA_CMD_DEVICE_RESET))
    return;
  ata_set_intrq (d, false);
  release (d);
  d->command = command;
  if (!(d->status & ATA_SR_BSY))
    {
      d->phase = ATA_IDLE;
      d->dma = d->raw = false;
      d->left = d->chunk = d->pos = d->block_end = d->length = 0;
    }
  d->dispatching = true;
  if (d->cdrom)
    atapi_command (d);
  else
    disk_command (d);
  d->dispatching = false;
}

/* ---- Reset ---- */

void
ata_signature (AtaDrive *d)
{
  d->phase = ATA_IDLE;
  d->dma = d->raw = false;
  d->left = d->chunk = d->pos = d->block_end = d->length = 0;
  d->feature = 0;
  d->count = d->lba_low = 1;
  d->lba_mid = d->cdrom ? 0x14 : 0;
  d->lba_high = d->cdrom ? 0xeb : 0;
  d->drive_head &= ATA_DEV_DEV;
  d->error = 1; /* diagnostic code: passed */
  d->status = d->cdrom ? 0 : ATA_SR_READY;
}

void
ata_reset_begin (AtaDrive *d)
{
  release (d);
  d->status = ATA_SR_BSY;
  d->drive_head = 0;
  d->reset_pending = d->in_flight;
  if (!d->in_flight)
    d->phase = ATA_IDLE;
  ata_set_intrq (d, false);
}

void
ata_reset_end (AtaDrive *d)
{
  if (d->cdrom)
    atapi_reset (d, false);
  else
    disk_reset (d);
  if (!d->reset_pending)
    ata_signature (d);
}

void
ata_power_on (AtaDrive *d)
{
  ata_reset_begin (d);
  d->transfer_mode = 0;
  d->write_cache = d->look_ahead = d->smart = true;
  d->multiple = 0;
  d->command = 0;
  if (!d->in_flight)
    memset (d->buffer, 0, sizeof d->buffer);
  if (d->cdrom)
    atapi_reset (d, true);
  ata_reset_end (d);
}

void
ata_diagnostic (AtaDrive *d)
{
  if (d->status & ATA_SR_BSY)
    return;
  d->drive_head = 0;
  ata_signature (d);
}

/* ---- Settings that both kinds have ---- */

/* SET FEATURES.  Transfer modes: PIO 0-4 (00, 01, 08+n), multiword DMA 0-2, Ultra DMA 0-2. */
bool
ata_set_features (AtaDrive *d)
{
  static const uint8_t highest[32] = { [0] = 2, [1] = 5, [4] = 3, [8] = 3 };
  switch (d->feature)
    {
    case 0x03:
      if ((d->count & 7) >= highest[d->count >> 3])
        return false;
      if (d->count >= 0x20)
        d->transfer_mode = d->count;
      return true;
    case 0x02:
    case 0x82:
      d->write_cache = d->feature == 0x02;
      return true;
    case 0xaa:
    case 0x55:
      d->look_ahead = d->feature == 0xaa;
      return true;
    case 0x66: /* keep settings over a software reset, or not */
    case 0xcc:
      return true;
    }
  return false;
}

/* IDLE, STANDBY, SLEEP and CHECK POWER MODE: the drive is always at speed. */
void
ata_power_command (AtaDrive *d)
{
  if (d->command == 0xe5 || d->command == 0x98)
    d->count = 0xff;
  ata_complete (d);
}

void
ata_word (uint8_t *identify, unsigned word, uint16_t value)
{
  identify[2 * word] = value;
  identify[2 * word + 1] = value >> 8;
}

void
ata_string (uint8_t *at, const char *text, unsigned words)
{
  for (unsigned i = 0; i < 2 * words; i++)
    {
      at[i ^ 1] = *text ? *text : ' ';
      text += *text != 0;
    }
}

/* Words 62 to 68 and 88: transfer modes. */
void
ata_identify_modes (const AtaDrive *d, uint8_t *identify)
{
  uint16_t chosen = 0x100 << (d->transfer_mode & 7);
  ata_word (identify, 63, 0x0007 | ((d->transfer_mode & 0xf8) == 0x20 ? chosen : 0));
  ata_word (identify, 64, 0x0003);
  for (unsigned word = 65; word <= 68; word++)
    ata_word (identify, word, 120); /* ns */
  ata_word (identify, 88, 0x0007 | ((d->transfer_mode & 0xf8) == 0x40 ? chosen : 0));
}

/* ---- Life cycle ---- */

static void
medium_changed (void *self, void *data)
{
  AtaDrive *d = data;
  if (d->cdrom)
    atapi_medium_changed (d);
}

bool
ata_init (AtaDrive *d, const AtaSetup *setup, GError **error)
{
  TnBlockInfo info;
  d->setup = *setup;
  d->held_due = TN_TIME_NEVER;
  d->exists = setup->link != NULL || setup->kind == ATA_KIND_CDROM;
  if (!d->exists)
    return true;
  d->timer = tn_device_timer_new (setup->device, setup->slave ? "slave" : "master", timer_event, d);
  d->block = tn_device_block (setup->device, setup->link, medium_changed, d, error);
  if (!d->block)
    return false;
  info = tn_block_info (d->block);
  d->cdrom = setup->kind == ATA_KIND_CDROM
             || (setup->kind == ATA_KIND_AUTO && info.sector_size == ATAPI_SECTOR);
  if (d->cdrom)
    return true;
  if (!info.present || info.size < ATA_SECTOR)
    return tn_device_fail (setup->device, error, TN_ERROR_CONFIG,
                           "%s has no sectors, so it cannot be a hard disk", setup->link);
  d->total = MIN (info.size / ATA_SECTOR, 0x0fffffff);
  return true;
}

const TnField ata_drive_fields[] = {
  TN_FIELD (AtaDrive, command, 1),
  TN_FIELD (AtaDrive, feature, 1),
  TN_FIELD (AtaDrive, count, 1),
  TN_FIELD (AtaDrive, lba_low, 1),
  TN_FIELD (AtaDrive, lba_mid, 1),
  TN_FIELD (AtaDrive, lba_high, 1),
  TN_FIELD (AtaDrive, drive_head, 1),
  TN_FIELD (AtaDrive, status, 1),
  TN_FIELD (AtaDrive, error, 1),
  TN_FIELD (AtaDrive, intrq, 1),
  TN_FIELD (AtaDrive, phase, 1),
  TN_FIELD (AtaDrive, dma, 1),
  TN_FIELD (AtaDrive, raw, 1),
  TN_FIELD (AtaDrive, next, 1),
  TN_FIELD (AtaDrive, left, 1),
  TN_FIELD (AtaDrive, chunk, 1),
  TN_FIELD (AtaDrive, pos, 1),
  TN_FIELD (AtaDrive, block_end, 1),
  TN_FIELD (AtaDrive, length, 1),
  TN_FIELD (AtaDrive, block_size, 1),
  TN_FIELD (AtaDrive, buffer, 1),
  TN_FIELD (AtaDrive, multiple, 1),
  TN_FIELD (AtaDrive, transfer_mode, 1),
  TN_FIELD (AtaDrive, write_cache, 1),
  TN_FIELD (AtaDrive, look_ahead, 1),
  TN_FIELD (AtaDrive, heads, 1),
  TN_FIELD (AtaDrive, sectors, 1),
  TN_FIELD (AtaDrive, cdb, 1),
  TN_FIELD (AtaDrive, sense_key, 1),
  TN_FIELD (AtaDrive, asc, 1),
  TN_FIELD (AtaDrive, ascq, 1),
  TN_FIELD (AtaDrive, attention_reset, 1),
  TN_FIELD (AtaDrive, attention_medium, 1),
  TN_FIELD (AtaDrive, tray_open, 1),
  TN_FIELD (AtaDrive, locked, 1),
  TN_FIELD (AtaDrive, media_event, 1),
  TN_FIELD (AtaDrive, smart, 2),
  TN_FIELD (AtaDrive, smart_errors, 2),
  TN_FIELD (AtaDrive, smart_test, 2),
  TN_FIELD (AtaDrive, smart_result, 2),
  TN_FIELD (AtaDrive, smart_hours, 2),
  TN_FIELD (AtaDrive, held, 2),
  TN_FIELD (AtaDrive, held_status, 2),
  TN_FIELD_TIME (AtaDrive, held_due, 2),
  TN_FIELD_END,
};

static bool
transfer_valid (const AtaDrive *d)
{
  bool open = d->phase == ATA_DATA_IN || d->phase == ATA_DATA_OUT || d->phase == ATA_PACKET;
  bool dma = d->phase == ATA_DMA_IN || d->phase == ATA_DMA_OUT;
  bool request = d->phase == ATA_READING || d->phase == ATA_WRITING;
  bool out = d->phase == ATA_DATA_OUT || d->phase == ATA_DMA_OUT || d->phase == ATA_WRITING;
  if (d->held && (request || d->phase == ATA_FLUSHING || (d->held_status & ATA_SR_BSY)))
    return false;
  if (d->phase >= ATA_N_PHASES || d->pos > d->length || d->block_end > d->length
      || d->length > ATA_BUFFER_SIZE || d->chunk > chunk_limit (d))
    return false;
  if (open && (d->pos >= d->block_end || !d->block_size || d->block_size > ATA_BUFFER_SIZE))
    return false;
  if (dma && (d->pos >= d->length || !d->dma))
    return false;
  if ((request || (out && !d->cdrom)) && (!d->chunk || d->chunk > d->left))
    return false;
  if (out && !d->cdrom && d->length != d->chunk * ATA_SECTOR)
    return false;
  if (d->phase == ATA_READING && !d->dma && (!d->block_size || d->block_size > ATA_BUFFER_SIZE))
    return false;
  if (d->phase == ATA_WRITING && d->cdrom)
    return false;
  return (uint64_t) d->next + d->left <= UINT32_MAX;
}

bool
ata_restored (AtaDrive *d, GError **error)
{
  if (!d->exists)
    return true;
  d->reset_pending = false;
  if (!transfer_valid (d) || !(d->cdrom ? atapi_restored (d) : disk_restored (d)))
    return tn_device_fail (d->setup.device, error, TN_ERROR_STATE, "state of drive %u cannot be",
                           d->setup.number);
  if (d->held)
    tn_timer_set (d->timer, d->held_due);
  if (d->phase == ATA_READING || d->phase == ATA_WRITING || d->phase == ATA_FLUSHING)
    submit (d);
  return true;
}
