/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ATA drives behind a task file: disks (ata-disk.c, ata-smart.c) and packet CD drives (atapi.c) over one
 * transfer engine (ata.c).  After ANSI NCITS 317-1998 (ATA/ATAPI-4) and SFF-8020i/MMC-2.
 *
 * The host adapter owns two AtaDrive per channel, hands register and data cycles to the drive that
 * it wants to answer, and implements AtaHost for the wires that come back.
 *
 *   ata_init (&drive, &setup, &error);      once, in realize
 *   ata_power_on (&drive);                  hard reset
 *   ata_write (&drive, ATA_COUNT, 1); ... ata_command (&drive, 0x20);
 *   ata_data_in (&drive, buffer, 256, 2);   when status says DRQ
 *   ata_restored (&drive, &error);          after its fields were loaded
 */
#pragma once

#include <tenon/tenon.h>

/* Task file, by offset from the command block. */
enum {
  ATA_DATA,
  ATA_ERROR,
  ATA_FEATURE = ATA_ERROR,
  ATA_COUNT,
  ATA_LBA_LOW,
  ATA_LBA_MID,
  ATA_LBA_HIGH,
  ATA_DEVICE,
  ATA_STATUS,
  ATA_COMMAND = ATA_STATUS,
};

enum {
  ATA_SR_ERR = 0x01,
  ATA_SR_DRQ = 0x08,
  ATA_SR_DSC = 0x10,
  ATA_SR_DF = 0x20,
  ATA_SR_DRDY = 0x40,
  ATA_SR_BSY = 0x80,
  ATA_SR_READY = ATA_SR_DRDY | ATA_SR_DSC,

  ATA_ER_ABRT = 0x04,
  ATA_ER_IDNF = 0x10,
  ATA_ER_UNC = 0x40,

  ATA_DEV_HEAD = 0x0f,
  ATA_DEV_DEV = 0x10,
  ATA_DEV_LBA = 0x40,
  ATA_DEV_ONES = 0xa0,

  ATA_CMD_DEVICE_RESET = 0x08,
  ATA_CMD_DIAGNOSTIC = 0x90,
  ATA_CMD_PACKET = 0xa0,

  ATAPI_REASON_COMMAND = 0x01, /* C/D */
  ATAPI_REASON_IN = 0x02,      /* I/O */
};

#define ATA_BUFFER_SIZE  65536
#define ATA_SECTOR       512
#define ATAPI_SECTOR     2048
#define ATAPI_RAW_SECTOR 2352
#define ATAPI_CDB_SIZE   12

/* What the drive is about.  Those marked with * have a back end request under way. */
typedef enum {
  ATA_IDLE,
  ATA_PACKET,   /* takes a command packet */
  ATA_DATA_IN,  /* DRQ: the host reads the buffer */
  ATA_DATA_OUT, /* DRQ: the host fills it */
  ATA_DMA_IN,   /* the bus master takes it */
  ATA_DMA_OUT,  /* the bus master fills it */
  ATA_READING,  /* * */
  ATA_WRITING,  /* * */
  ATA_FLUSHING, /* * */
  ATA_N_PHASES,
} AtaPhase;

typedef struct AtaDrive AtaDrive;

typedef struct {
  /* drive->intrq changed. */
  void (*intrq) (AtaDrive *drive);
  /* Moves up to size bytes by bus-master DMA, as far as the host is ready; returns how many. */
  size_t (*dma) (AtaDrive *drive, uint8_t *bytes, size_t size, bool to_memory);
} AtaHost;

typedef struct {
  TnDevice *device;
  const AtaHost *host;
  void *owner;      /* for the host */
  const char *link; /* back end; NULL: no drive */
  unsigned number;  /* of the drive in the machine: makes its serial number */
  bool slave;
  enum { ATA_KIND_AUTO, ATA_KIND_DISK, ATA_KIND_CDROM } kind;
} AtaSetup;

struct AtaDrive {
  AtaSetup setup;
  TnBlock *block;
  bool exists, cdrom, in_flight;
  uint32_t total; /* sectors that a disk reports */

  /* Task file */
  uint8_t command, feature, count, lba_low, lba_mid, lba_high, drive_head, status, error;
  bool intrq;

  /* Transfer: `left` blocks from `next` on are still to be exchanged with the back end. */
  uint8_t phase;
  /* The end of a command that asks no back end shows only after a while: what the status will be. */
  TnTimer *timer;
  bool dispatching, held;
  uint8_t held_status;
  int64_t held_due;
  bool dma, raw, reset_pending;
  uint32_t next, left, chunk;
  uint32_t pos, block_end, length; /* in the buffer; pos <= block_end <= length */
  uint32_t block_size;             /* bytes per DRQ */
  uint8_t buffer[ATA_BUFFER_SIZE];

  /* Settings */
  uint8_t multiple, transfer_mode;
  bool write_cache, look_ahead;
  uint8_t heads, sectors; /* of the current translation */

  /* SMART: enabled; errors of the back end; the last self test, its result and when it was */
  bool smart;
  uint32_t smart_errors;
  uint8_t smart_test, smart_result;
  uint16_t smart_hours;

  /* Packet drive */
  uint8_t cdb[ATAPI_CDB_SIZE];
  uint8_t sense_key, asc, ascq;
  bool attention_reset, attention_medium; /* unit attentions to report */
  bool tray_open, locked;
  uint8_t media_event;
};

extern const TnField ata_drive_fields[];

bool ata_init (AtaDrive *d, const AtaSetup *setup, GError **error);
void ata_power_on (AtaDrive *d);
/* EXECUTE DEVICE DIAGNOSTIC, which both drives of a channel obey; the host raises INTRQ. */
void ata_diagnostic (AtaDrive *d);
/* SRST went high, and low again. */
void ata_reset_begin (AtaDrive *d);
void ata_reset_end (AtaDrive *d);
bool ata_restored (AtaDrive *d, GError **error);

/* Registers other than data; reading ATA_STATUS drops INTRQ, ata_alt_status () does not. */
uint8_t ata_read (AtaDrive *d, unsigned reg);
uint8_t ata_alt_status (const AtaDrive *d);
void ata_write (AtaDrive *d, unsigned reg, uint8_t value);
void ata_command (AtaDrive *d, uint8_t command);
/* Moves items while the drive has DRQ set; returns how many. */
uint32_t ata_data_in (AtaDrive *d, void *items, uint32_t count, unsigned size);
uint32_t ata_data_out (AtaDrive *d, const void *items, uint32_t count, unsigned size);
/* The bus master was started. */
void ata_dma_ready (AtaDrive *d);

/* ---- Between the engine and the command sets ---- */

void ata_signature (AtaDrive *d);
void ata_set_intrq (AtaDrive *d, bool level);
/* Ends a command: well, or with bits of the status and error registers. */
void ata_complete (AtaDrive *d);
void ata_fail (AtaDrive *d, uint8_t status, uint8_t error);
/* Moves left blocks from next on; d->dma, d->raw and d->block_size are set. */
void ata_start_read (AtaDrive *d);
void ata_start_write (AtaDrive *d);
void ata_start_flush (AtaDrive *d);
/* Sends length bytes of the buffer to the host, or asks for as many. */
void ata_send (AtaDrive *d, uint32_t length);
void ata_receive (AtaDrive *d, uint32_t length);
void ata_power_command (AtaDrive *d);
bool ata_set_features (AtaDrive *d);
/* IDENTIFY strings: `words` words, padded with blanks, first character in the high byte. */
void ata_string (uint8_t *at, const char *text, unsigned words);
void ata_word (uint8_t *identify, unsigned word, uint16_t value);
void ata_identify_modes (const AtaDrive *d, uint8_t *identify);

void disk_command (AtaDrive *d);
void disk_reset (AtaDrive *d);
/* Task file after a transfer that ended at block d->next. */
void disk_set_address (AtaDrive *d, uint32_t lba);
void disk_media_error (AtaDrive *d, int error, bool write);
bool disk_restored (const AtaDrive *d);

/* ata-smart.c */
void smart_command (AtaDrive *d);

void atapi_command (AtaDrive *d);
void atapi_reset (AtaDrive *d, bool hard);
void atapi_packet (AtaDrive *d);
/* The host has sent d->length bytes of a command's parameters. */
void atapi_received (AtaDrive *d);
void atapi_media_error (AtaDrive *d, int error);
void atapi_medium_changed (AtaDrive *d);
void atapi_expand_raw (AtaDrive *d);
bool atapi_restored (const AtaDrive *d);
