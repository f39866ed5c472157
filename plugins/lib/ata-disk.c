/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hard disk commands, after ATA/ATAPI-4: PIO, multiple mode, DMA, CHS and 28-bit LBA.
 *
 * Departures: no host protected area, no security, no 48-bit addresses; such commands are
 * aborted and IDENTIFY DEVICE does not claim them.
 */
#include "ata.h"

#include <errno.h>
#include <string.h>

#define MAX_MULTIPLE 16

enum {
  CMD_READ_SECTORS = 0x20,
  CMD_READ_SECTORS_ONCE = 0x21,
  CMD_WRITE_SECTORS = 0x30,
  CMD_WRITE_SECTORS_ONCE = 0x31,
  CMD_WRITE_VERIFY = 0x3c,
  CMD_VERIFY = 0x40,
  CMD_VERIFY_ONCE = 0x41,
  CMD_INIT_PARAMETERS = 0x91,
  CMD_READ_MULTIPLE = 0xc4,
  CMD_WRITE_MULTIPLE = 0xc5,
  CMD_SET_MULTIPLE = 0xc6,
  CMD_SMART = 0xb0,
  CMD_READ_DMA = 0xc8,
  CMD_READ_DMA_ONCE = 0xc9,
  CMD_WRITE_DMA = 0xca,
  CMD_WRITE_DMA_ONCE = 0xcb,
  CMD_FLUSH_CACHE = 0xe7,
  CMD_IDENTIFY = 0xec,
  CMD_SET_FEATURES = 0xef,
};

/* ---- Addresses ---- */

/* The first sector, or UINT32_MAX when the address does not exist in the current translation. */
static uint32_t
get_address (const AtaDrive *d)
{
  uint32_t head = d->drive_head & ATA_DEV_HEAD, cylinder = d->lba_mid | d->lba_high << 8;
  if (d->drive_head & ATA_DEV_LBA)
    return d->lba_low | cylinder << 8 | head << 24;
  if (!d->lba_low || d->lba_low > d->sectors || head >= d->heads)
    return UINT32_MAX;
  return (cylinder * d->heads + head) * d->sectors + d->lba_low - 1;
}

void
disk_set_address (AtaDrive *d, uint32_t lba)
{
  uint32_t cylinder = lba >> 8, head = lba >> 24;
  d->lba_low = lba;
  if (!(d->drive_head & ATA_DEV_LBA))
    {
      d->lba_low = lba % d->sectors + 1;
      head = lba / d->sectors % d->heads;
      cylinder = lba / d->sectors / d->heads;
    }
  d->lba_mid = cylinder;
  d->lba_high = cylinder >> 8;
  d->drive_head = (d->drive_head & ~ATA_DEV_HEAD) | (head & ATA_DEV_HEAD);
}

void
disk_media_error (AtaDrive *d, int error, bool write)
{
  if (error != EROFS)
    d->smart_errors++;
  if (d->phase != ATA_FLUSHING)
    disk_set_address (d, d->next);
  if (!write)
    ata_fail (d, 0, ATA_ER_UNC);
  else if (error == EROFS)
    ata_fail (d, 0, ATA_ER_ABRT);
  else
    ata_fail (d, ATA_SR_DF, ATA_ER_ABRT);
}

/* ---- Reads and writes ---- */

/* Sets next and left from the task file; false has reported the error. */
static bool
set_extent (AtaDrive *d)
{
  uint32_t first = get_address (d), n = d->count ? d->count : 256;
  if (first >= d->total || n > d->total - first)
    {
      /* What exists of the extent is not touched either: no guest depends on a partial transfer. */
      ata_fail (d, 0, ATA_ER_IDNF);
      return false;
    }
  d->next = first;
  d->left = n;
  return true;
}

static void
start_transfer (AtaDrive *d, bool write, unsigned sectors_per_block, bool dma)
{
  if (!sectors_per_block)
    {
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  if (!set_extent (d))
    return;
  d->dma = dma;
  d->block_size = sectors_per_block * ATA_SECTOR;
  if (write && tn_block_info (d->block).read_only)
    ata_fail (d, 0, ATA_ER_ABRT);
  else if (write)
    ata_start_write (d);
  else
    ata_start_read (d);
}

static void
verify (AtaDrive *d)
{
  if (!set_extent (d))
    return;
  disk_set_address (d, d->next + d->left - 1);
  ata_complete (d);
}

static void
set_multiple (AtaDrive *d)
{
  if (d->count > MAX_MULTIPLE || (d->count & (d->count - 1)))
    {
      d->multiple = 0;
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  d->multiple = d->count;
  ata_complete (d);
}

static void
init_parameters (AtaDrive *d)
{
  if (!d->count)
    {
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  d->sectors = d->count;
  d->heads = (d->drive_head & ATA_DEV_HEAD) + 1;
  ata_complete (d);
}

/* ---- IDENTIFY DEVICE ---- */

static uint32_t
cylinders (const AtaDrive *d, uint32_t heads, uint32_t sectors, uint32_t limit)
{
  return MIN (d->total / (heads * sectors), limit);
}

static void
identify_geometry (const AtaDrive *d, uint8_t *id)
{
  uint32_t now = cylinders (d, d->heads, d->sectors, 65535);
  uint32_t capacity = now * d->heads * d->sectors;
  ata_word (id, 1, MAX (cylinders (d, 16, 63, 16383), 1));
  ata_word (id, 3, 16);
  ata_word (id, 6, 63);
  ata_word (id, 54, now);
  ata_word (id, 55, d->heads);
  ata_word (id, 56, d->sectors);
  ata_word (id, 57, capacity);
  ata_word (id, 58, capacity >> 16);
  ata_word (id, 60, d->total);
  ata_word (id, 61, d->total >> 16);
}

static void
identify (AtaDrive *d)
{
  static const struct {
    uint8_t word;
    uint16_t value;
  } fixed[] = {
    { 0, 0x0040 },          /* fixed drive */
    { 4, 63 * ATA_SECTOR }, /* ATA-1: bytes of a track, and of a sector; bochsbios reads as */
    { 5, ATA_SECTOR },      /*   many bytes as word 5 says */
    { 20, 3 },              /* dual ported buffer with read cache */
    { 21, ATA_BUFFER_SIZE / 512 }, /* its size */
    { 22, 4 },                     /* bytes of READ LONG */
    { 47, 0x8000 | MAX_MULTIPLE },
    { 49, 0x0f00 }, /* IORDY, LBA, DMA */
    { 50, 0x4000 },
    { 51, 0x0200 },
    { 53, 0x0007 }, /* words 54-58, 64-70 and 88 are valid */
    { 80, 0x001e }, /* ATA-1 to ATA/ATAPI-4 */
    { 82, 0x0069 }, /* look-ahead, write cache, power management, SMART */
    { 83, 0x5000 }, /* FLUSH CACHE */
    { 84, 0x4003 }, /* SMART self test and error log */
    { 86, 0x1000 },
    { 87, 0x4003 },
  };
  uint8_t *id = d->buffer, sum = 0xa5;
  char serial[21];

  memset (id, 0, ATA_SECTOR);
  for (unsigned i = 0; i < G_N_ELEMENTS (fixed); i++)
    ata_word (id, fixed[i].word, fixed[i].value);
  g_snprintf (serial, sizeof serial, "TN%08u", d->setup.number + 1);
  ata_string (id + 2 * 10, serial, 10);
  ata_string (id + 2 * 23, "1.0", 4);
  ata_string (id + 2 * 27, "TENON HARDDISK", 20);
  identify_geometry (d, id);
  ata_identify_modes (d, id);
  ata_word (id, 59, d->multiple ? 0x0100 | d->multiple : 0);
  ata_word (id, 85, 0x0008 | d->smart | (d->write_cache ? 0x20 : 0) | (d->look_ahead ? 0x40 : 0));
  for (unsigned i = 0; i < 510; i++)
    sum += id[i];
  sum = -sum;
  ata_word (id, 255, 0xa5 | sum << 8);
  d->block_size = ATA_SECTOR;
  ata_send (d, ATA_SECTOR);
}

/* ---- Dispatch ---- */

static void
other_command (AtaDrive *d)
{
  bool calibrate = d->command >= 0x10 && d->command <= 0x1f;
  bool seek = d->command >= 0x70 && d->command <= 0x7f;
  bool power = (d->command >= 0x94 && d->command <= 0x99)
               || (d->command >= 0xe0 && d->command <= 0xe6 && d->command != 0xe4);
  if (power)
    ata_power_command (d);
  else if (calibrate || (seek && get_address (d) < d->total))
    ata_complete (d);
  else if (seek)
    ata_fail (d, 0, ATA_ER_IDNF);
  else
    {
      tn_device_log (d->setup.device, TN_LOG_DEBUG, "disk command %02x aborted", d->command);
      ata_fail (d, 0, ATA_ER_ABRT);
    }
}

void
disk_command (AtaDrive *d)
{
  switch (d->command)
    {
    case CMD_READ_SECTORS:
    case CMD_READ_SECTORS_ONCE:
      start_transfer (d, false, 1, false);
      break;
    case CMD_WRITE_SECTORS:
    case CMD_WRITE_SECTORS_ONCE:
    case CMD_WRITE_VERIFY:
      start_transfer (d, true, 1, false);
      break;
    case CMD_READ_MULTIPLE:
      start_transfer (d, false, d->multiple, false);
      break;
    case CMD_WRITE_MULTIPLE:
      start_transfer (d, true, d->multiple, false);
      break;
    case CMD_READ_DMA:
    case CMD_READ_DMA_ONCE:
      start_transfer (d, false, 1, true);
      break;
    case CMD_WRITE_DMA:
    case CMD_WRITE_DMA_ONCE:
      start_transfer (d, true, 1, true);
      break;
    case CMD_VERIFY:
    case CMD_VERIFY_ONCE:
      verify (d);
      break;
    case CMD_INIT_PARAMETERS:
      init_parameters (d);
      break;
    case CMD_SET_MULTIPLE:
      set_multiple (d);
      break;
    case CMD_FLUSH_CACHE:
      ata_start_flush (d);
      break;
    case CMD_SMART:
      smart_command (d);
      break;
    case CMD_IDENTIFY:
      identify (d);
      break;
    case CMD_SET_FEATURES:
      if (ata_set_features (d))
        ata_complete (d);
      else
        ata_fail (d, 0, ATA_ER_ABRT);
      break;
    default:
      other_command (d);
    }
}

void
disk_reset (AtaDrive *d)
{
  d->heads = 16;
  d->sectors = 63;
}

bool
disk_restored (const AtaDrive *d)
{
  if (!d->heads || d->heads > 16 || !d->sectors || d->raw || d->phase == ATA_PACKET)
    return false;
  if (d->multiple > MAX_MULTIPLE || (d->multiple & (d->multiple - 1)))
    return false;
  return d->next <= d->total && d->left <= d->total - d->next;
}
