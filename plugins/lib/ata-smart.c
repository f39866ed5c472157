/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SMART feature set of hard disks, after ATA/ATAPI-4 (8.41) and, for self tests and logs,
 * ATA/ATAPI-5: command B0h with C24Fh in the cylinder registers and a subcommand in the feature
 * register.
 *
 *   D0 read data          D4 execute off-line immediate      D8 enable, D9 disable operations
 *   D1 read thresholds    D5 read log                        DA return status
 *   D2 attribute autosave D6 write log                       D3 save attribute values
 *
 * The disk has counted what an image can tell: hours and starts since the machine was switched on,
 * and errors of the back end.  A self test ends at once, and well unless the back end has failed.
 */
#include "ata.h"

#include <errno.h>
#include <string.h>

enum {
  SMART_READ_DATA = 0xd0,
  SMART_READ_THRESHOLDS,
  SMART_AUTOSAVE,
  SMART_SAVE,
  SMART_EXECUTE,
  SMART_READ_LOG,
  SMART_WRITE_LOG,
  SMART_ENABLE = 0xd8,
  SMART_DISABLE,
  SMART_STATUS,

  KEY_MID = 0x4f,
  KEY_HIGH = 0xc2,

  FLAG_PRE_FAILURE = 0x01,
  FLAG_ONLINE = 0x02,
  FLAG_COUNT = 0x10,
  FLAG_KEEPS = 0x20,

  LOG_DIRECTORY = 0x00,
  LOG_ERRORS = 0x01,
  LOG_SELF_TESTS = 0x06,
  LOG_HOST_FIRST = 0x80,
  LOG_HOST_LAST = 0x9f,
};

#define HOUR (3600 * TN_NS_PER_S)

typedef struct {
  uint8_t id, flags, threshold;
} Attribute;

static const Attribute attributes[] = {
  { 1, FLAG_PRE_FAILURE | FLAG_ONLINE, 51 },              /* read errors */
  { 4, FLAG_ONLINE | FLAG_COUNT | FLAG_KEEPS, 0 },        /* starts and stops */
  { 5, FLAG_PRE_FAILURE | FLAG_ONLINE | FLAG_COUNT, 36 }, /* sectors that were replaced */
  { 9, FLAG_ONLINE | FLAG_COUNT | FLAG_KEEPS, 0 },        /* hours */
  { 12, FLAG_ONLINE | FLAG_COUNT | FLAG_KEEPS, 0 },       /* times switched on */
  { 194, FLAG_ONLINE | FLAG_KEEPS, 0 },                   /* degrees Celsius */
  { 197, FLAG_ONLINE | FLAG_COUNT, 0 },                   /* sectors that could not be read */
};

static uint32_t
raw_value (const AtaDrive *d, uint8_t id)
{
  switch (id)
    {
    case 1:
    case 197: return d->smart_errors;
    case 9: return tn_device_now (d->setup.device) / HOUR;
    case 4:
    case 12: return 1;
    case 194: return 30;
    }
  return 0;
}

/* Errors of the host's disk count as those of a failing one: a hundred are too many. */
static uint8_t
normalized (const AtaDrive *d, uint8_t id)
{
  return id == 1 || id == 197 ? 100 - MIN (d->smart_errors, 99) : 100;
}

static bool
failing (const AtaDrive *d)
{
  return normalized (d, 1) < attributes[0].threshold;
}

static void
put_sum (uint8_t *sector)
{
  uint8_t sum = 0;
  for (unsigned i = 0; i < 511; i++)
    sum += sector[i];
  sector[511] = -sum;
}

static void
send_sector (AtaDrive *d)
{
  put_sum (d->buffer);
  d->block_size = ATA_SECTOR;
  ata_send (d, ATA_SECTOR);
}

static void
read_data (AtaDrive *d)
{
  uint8_t *a = d->buffer;
  memset (a, 0, ATA_SECTOR);
  a[0] = 16; /* revision */
  for (unsigned i = 0; i < G_N_ELEMENTS (attributes); i++)
    {
      uint8_t *at = a + 2 + 12 * i;
      uint32_t raw = raw_value (d, attributes[i].id);
      at[0] = attributes[i].id;
      at[1] = attributes[i].flags;
      at[3] = at[4] = normalized (d, attributes[i].id);
      for (unsigned byte = 0; byte < 4; byte++)
        at[5 + byte] = raw >> 8 * byte;
    }
  a[362] = 0x80;                                /* off-line collection never began */
  a[363] = d->smart_test ? d->smart_result : 0; /* of the last self test */
  a[367] = 0x11;                                /* EXECUTE OFF-LINE IMMEDIATE, self tests */
  a[368] = 0x03;                                /* saves, also by itself */
  a[370] = 0x01;                                /* error log */
  a[372] = a[373] = 1;                          /* minutes of a self test */
  send_sector (d);
}

static void
read_thresholds (AtaDrive *d)
{
  uint8_t *a = d->buffer;
  memset (a, 0, ATA_SECTOR);
  a[0] = 16;
  for (unsigned i = 0; i < G_N_ELEMENTS (attributes); i++)
    {
      a[2 + 12 * i] = attributes[i].id;
      a[3 + 12 * i] = attributes[i].threshold;
    }
  send_sector (d);
}

/* The error log is empty; the self tests' has the last one. */
static void
read_log (AtaDrive *d)
{
  uint8_t *a = d->buffer;
  memset (a, 0, ATA_SECTOR);
  if (d->count != 1)
    {
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  switch (d->lba_low)
    {
    case LOG_DIRECTORY:
      a[0] = 1;
      a[2 * LOG_ERRORS] = a[2 * LOG_SELF_TESTS] = 1;
      break;
    case LOG_ERRORS:
      a[0] = 1;
      a[452] = d->smart_errors;
      a[453] = d->smart_errors >> 8;
      break;
    case LOG_SELF_TESTS:
      a[0] = 1;
      if (!d->smart_test)
        break;
      a[2] = d->smart_test;
      a[3] = d->smart_result;
      a[4] = d->smart_hours;
      a[5] = d->smart_hours >> 8;
      a[508] = 1;
      break;
    default: ata_fail (d, 0, ATA_ER_IDNF); return;
    }
  send_sector (d);
}

/* Off-line collection (0), short and extended self test (1, 2), each also in captive mode. */
static void
execute (AtaDrive *d)
{
  uint8_t test = d->lba_low;
  switch (test)
    {
    case 0x7f: /* abort: there is none */
    case 0x00: ata_complete (d); return;
    case 0x01:
    case 0x02:
    case 0x81:
    case 0x82: break;
    default: ata_fail (d, 0, ATA_ER_ABRT); return;
    }
  d->smart_test = test;
  d->smart_result = failing (d) ? 0x70 : 0x00; /* the read element failed */
  d->smart_hours = tn_device_now (d->setup.device) / HOUR;
  if ((test & 0x80) && d->smart_result)
    {
      d->lba_mid = 0xf4;
      d->lba_high = 0x2c;
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  ata_complete (d);
}

static void
return_status (AtaDrive *d)
{
  d->lba_mid = failing (d) ? 0xf4 : KEY_MID;
  d->lba_high = failing (d) ? 0x2c : KEY_HIGH;
  ata_complete (d);
}

void
smart_command (AtaDrive *d)
{
  bool key = d->lba_mid == KEY_MID && d->lba_high == KEY_HIGH;
  if (!key || (!d->smart && d->feature != SMART_ENABLE))
    {
      ata_fail (d, 0, ATA_ER_ABRT);
      return;
    }
  switch (d->feature)
    {
    case SMART_READ_DATA: read_data (d); break;
    case SMART_READ_THRESHOLDS: read_thresholds (d); break;
    case SMART_EXECUTE: execute (d); break;
    case SMART_READ_LOG: read_log (d); break;
    case SMART_STATUS: return_status (d); break;
    case SMART_ENABLE:
    case SMART_DISABLE:
      d->smart = d->feature == SMART_ENABLE;
      ata_complete (d);
      break;
    case SMART_AUTOSAVE:
      if (d->count == 0x00 || d->count == 0xf1 || d->count == 0xf8)
        ata_complete (d);
      else
        ata_fail (d, 0, ATA_ER_ABRT);
      break;
    case SMART_SAVE: ata_complete (d); break;
    default: ata_fail (d, 0, ATA_ER_ABRT);
    }
}
