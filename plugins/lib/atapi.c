/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ATAPI CD-ROM drive: packet commands after SFF-8020i and MMC-2, on a disc with one data track.
 *
 * The tray belongs to the drive: an eject hides the medium until the guest or a medium change of
 * the back end closes it.  After a reset and after a medium change the drive reports a unit
 * attention.
 *
 * Departures: no audio playback (a disc has no audio track); READ CD of raw sectors gives sync,
 * header and user data with zeros for the error correction bytes.
 */
#include "ata.h"

#include <errno.h>
#include <string.h>

enum {
  CMD_IDENTIFY_PACKET = 0xa1,
  CMD_FLUSH_CACHE = 0xe7,
  CMD_SET_FEATURES = 0xef,

  KEY_NONE = 0,
  KEY_NOT_READY = 2,
  KEY_MEDIUM_ERROR = 3,
  KEY_ILLEGAL_REQUEST = 5,
  KEY_UNIT_ATTENTION = 6,

  /* ASC << 8 | ASCQ */
  SENSE_NONE = 0,
  SENSE_READ_ERROR = 0x1100,
  SENSE_OPCODE = 0x2000,
  SENSE_ADDRESS = 0x2100,
  SENSE_FIELD = 0x2400,
  SENSE_PARAMETER = 0x2600,
  SENSE_CHANGED = 0x2800,
  SENSE_RESET = 0x2900,
  SENSE_SAVING = 0x3900,
  SENSE_NO_MEDIUM = 0x3a01,
  SENSE_TRAY_OPEN = 0x3a02,
  SENSE_LOCKED = 0x5302,
  SENSE_TRACK_MODE = 0x6400,

  EVENT_NONE = 0,
  EVENT_NEW_MEDIA = 2,
  EVENT_REMOVED = 3,
};

#define SPEED_KB 4234 /* 24 times 176.4 kB/s */
#define LEAD_OUT 0xaa

/* ---- Helpers ---- */

static uint16_t
get16 (const uint8_t *at)
{
  return at[0] << 8 | at[1];
}

static uint32_t
get32 (const uint8_t *at)
{
  return (uint32_t) get16 (at) << 16 | get16 (at + 2);
}

static void
put16 (uint8_t *at, uint16_t value)
{
  at[0] = value >> 8;
  at[1] = value;
}

static void
put32 (uint8_t *at, uint32_t value)
{
  put16 (at, value >> 16);
  put16 (at + 2, value);
}

static void
put_msf (uint8_t *at, uint32_t lba)
{
  uint32_t frames = lba + 150;
  at[0] = MIN (frames / 75 / 60, 255);
  at[1] = frames / 75 % 60;
  at[2] = frames % 75;
}

static bool
has_medium (const AtaDrive *d)
{
  return !d->tray_open && tn_block_info (d->block).present;
}

static uint32_t
disc_blocks (const AtaDrive *d)
{
  TnBlockInfo info = tn_block_info (d->block);
  return has_medium (d) ? MIN (info.size / ATAPI_SECTOR, 0x7fffffff) : 0;
}

static void
set_sense (AtaDrive *d, uint8_t key, uint16_t code)
{
  d->sense_key = key;
  d->asc = code >> 8;
  d->ascq = code;
}

static void
check (AtaDrive *d, uint8_t key, uint16_t code)
{
  set_sense (d, key, code);
  ata_fail (d, 0, key << 4 | ATA_ER_ABRT);
}

static void
not_ready (AtaDrive *d)
{
  check (d, KEY_NOT_READY, d->tray_open ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM);
}

/* Sends at most `allocated` of the `length` bytes of an answer. */
static void
answer (AtaDrive *d, uint32_t length, uint32_t allocated)
{
  ata_send (d, MIN (length, allocated));
}

static uint8_t *
clear_answer (AtaDrive *d)
{
  memset (d->buffer, 0, 512);
  return d->buffer;
}

/* ---- Reading sectors ---- */

void
atapi_media_error (AtaDrive *d, int error)
{
  if (error == ENOMEDIUM)
    not_ready (d);
  else
    check (d, KEY_MEDIUM_ERROR, SENSE_READ_ERROR);
}

static void
read_blocks (AtaDrive *d, uint32_t first, uint32_t n, bool raw)
{
  uint32_t blocks = disc_blocks (d);
  if (!n)
    {
      ata_complete (d);
      return;
    }
  if (first >= blocks || n > blocks - first)
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_ADDRESS);
      return;
    }
  d->next = first;
  d->left = n;
  d->raw = raw;
  ata_start_read (d);
}

/* READ CD: byte 9 says which parts of a sector the host wants; mode 1 has these two useful ways. */
static void
read_cd (AtaDrive *d, uint32_t first, uint32_t n)
{
  uint8_t type = d->cdb[1] >> 2 & 7, parts = d->cdb[9] & 0xf8;
  if (type != 0 && type != 2)
    check (d, KEY_ILLEGAL_REQUEST, SENSE_TRACK_MODE);
  else if (!parts || !n)
    ata_complete (d);
  else if (parts == 0x10 || parts == 0xf8)
    read_blocks (d, first, n, parts == 0xf8);
  else
    check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
}

static void
read_cd_msf (AtaDrive *d)
{
  const uint8_t *c = d->cdb;
  int32_t first = (c[3] * 60 + c[4]) * 75 + c[5] - 150, end = (c[6] * 60 + c[7]) * 75 + c[8] - 150;
  if (first < 0 || end < first)
    check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
  else
    read_cd (d, first, end - first);
}

/* The buffer holds 2048-byte blocks that end at d->next: spreads them to raw mode 1 sectors. */
void
atapi_expand_raw (AtaDrive *d)
{
  for (uint32_t i = d->chunk; i-- > 0;)
    {
      uint8_t *raw = d->buffer + i * ATAPI_RAW_SECTOR, header[4] = { 0, 0, 0, 1 };
      put_msf (header, d->next - d->chunk + i);
      for (unsigned j = 0; j < 3; j++)
        header[j] = header[j] / 10 % 16 << 4 | header[j] % 10; /* BCD */
      memmove (raw + 16, d->buffer + i * ATAPI_SECTOR, ATAPI_SECTOR);
      memset (raw, 0xff, 12);
      raw[0] = raw[11] = 0;
      memcpy (raw + 12, header, sizeof header);
      memset (raw + 16 + ATAPI_SECTOR, 0, ATAPI_RAW_SECTOR - 16 - ATAPI_SECTOR);
    }
  d->length = d->chunk * ATAPI_RAW_SECTOR;
}

/* ---- Answers ---- */

static void
request_sense (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  if (d->sense_key == KEY_NONE && d->attention_reset)
    set_sense (d, KEY_UNIT_ATTENTION, SENSE_RESET);
  else if (d->sense_key == KEY_NONE && d->attention_medium)
    set_sense (d, KEY_UNIT_ATTENTION, SENSE_CHANGED);
  if (d->sense_key == KEY_UNIT_ATTENTION && d->asc == SENSE_RESET >> 8)
    d->attention_reset = false;
  else if (d->sense_key == KEY_UNIT_ATTENTION)
    d->attention_medium = false;
  a[0] = 0x70;
  a[2] = d->sense_key;
  a[7] = 10;
  a[12] = d->asc;
  a[13] = d->ascq;
  set_sense (d, KEY_NONE, SENSE_NONE);
  answer (d, 18, d->cdb[4]);
}

static void
inquiry (AtaDrive *d)
{
  static const char text[] = "TENON   CD-ROM          1.0 ";
  uint8_t *a = clear_answer (d);
  if ((d->cdb[1] & 1) || d->cdb[2])
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
      return;
    }
  a[0] = 5; /* CD-ROM */
  a[1] = 0x80;
  a[3] = 0x21;
  a[4] = 31;
  memcpy (a + 8, text, sizeof text - 1);
  answer (d, 36, d->cdb[4]);
}

static void
read_capacity (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  put32 (a, MAX (disc_blocks (d), 1) - 1);
  put32 (a + 4, ATAPI_SECTOR);
  answer (d, 8, 8);
}

static uint8_t *
toc_address (uint8_t *at, uint32_t lba, bool msf)
{
  put32 (at, lba);
  if (msf)
    {
      at[0] = 0;
      put_msf (at + 1, lba);
    }
  return at + 4;
}

static uint8_t *
toc_track (uint8_t *at, uint8_t track, uint32_t lba, bool msf)
{
  at[1] = 0x14; /* data track, ADR 1 */
  at[2] = track;
  return toc_address (at + 4, lba, msf);
}

static uint8_t *
toc_raw (uint8_t *at, uint8_t point, uint8_t m, uint8_t s, uint8_t f)
{
  at[0] = 1;
  at[1] = 0x14;
  at[3] = point;
  at[8] = m;
  at[9] = s;
  at[10] = f;
  return at + 11;
}

static void
read_toc (AtaDrive *d)
{
  uint8_t *a = clear_answer (d), *end = a + 4, out[3];
  uint8_t format = d->cdb[2] & 0x0f, start = d->cdb[6];
  bool msf = d->cdb[1] & 2;
  if (!format)
    format = d->cdb[9] >> 6; /* where SFF-8020i has it */
  a[2] = a[3] = 1;
  switch (format)
    {
    case 0:
      if (start > 1 && start != LEAD_OUT)
        goto bad;
      if (start <= 1)
        end = toc_track (end, 1, 0, msf);
      end = toc_track (end, LEAD_OUT, disc_blocks (d), msf);
      break;
    case 1:
      end = toc_track (end, 1, 0, msf);
      break;
    case 2:
      put_msf (out, disc_blocks (d));
      end = toc_raw (end, 0xa0, 1, 0, 0);
      end = toc_raw (end, 0xa1, 1, 0, 0);
      end = toc_raw (end, 0xa2, out[0], out[1], out[2]);
      end = toc_raw (end, 1, 0, 2, 0);
      break;
    default:
    bad:
      check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
      return;
    }
  put16 (a, end - a - 2);
  answer (d, end - a, get16 (d->cdb + 7));
}

static void
read_header (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  uint32_t lba = get32 (d->cdb + 2);
  if (lba >= disc_blocks (d))
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_ADDRESS);
      return;
    }
  a[0] = 1;
  toc_address (a + 4, lba, d->cdb[1] & 2);
  answer (d, 8, get16 (d->cdb + 7));
}

static void
read_subchannel (AtaDrive *d)
{
  uint8_t *a = clear_answer (d), format = d->cdb[3];
  uint32_t length = 4;
  a[1] = 0x15; /* no audio status to return */
  if (d->cdb[2] & 0x40)
    {
      if (format < 1 || format > 3)
        {
          check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
          return;
        }
      length = format == 1 ? 16 : 24;
      a[4] = format;
      a[5] = 0x14;
      a[6] = format == 2 ? 0 : 1;
      a[7] = format == 1;
    }
  put16 (a + 2, length - 4);
  answer (d, length, get16 (d->cdb + 7));
}

static uint8_t *
feature (uint8_t *at, uint16_t code, bool current, unsigned length)
{
  put16 (at, code);
  at[2] = current | (code < 4 ? 2 : 0); /* persistent */
  at[3] = length;
  return at + 4 + length;
}

static void
get_configuration (AtaDrive *d)
{
  enum { PROFILES = 0, CORE, MORPHING, REMOVABLE, RANDOM_READ = 0x10, CD_READ = 0x1e };
  uint8_t *a = clear_answer (d), *end = a + 8;
  uint16_t start = get16 (d->cdb + 2);
  bool medium = has_medium (d), one = (d->cdb[1] & 3) == 2;
  put16 (a + 6, medium ? 8 : 0); /* profile: CD-ROM */

#define WANTED(code) (one ? start == (code) : start <= (code))
  if (WANTED (PROFILES))
    {
      put16 (end + 4, 8);
      end[6] = medium;
      end = feature (end, PROFILES, true, 4);
    }
  if (WANTED (CORE))
    {
      put32 (end + 4, 2); /* ATAPI */
      end = feature (end, CORE, true, 4);
    }
  if (WANTED (MORPHING))
    end = feature (end, MORPHING, true, 4);
  if (WANTED (REMOVABLE))
    {
      end[4] = 0x29; /* tray, ejects, locks */
      end = feature (end, REMOVABLE, true, 4);
    }
  if (WANTED (RANDOM_READ))
    {
      put32 (end + 4, ATAPI_SECTOR);
      put16 (end + 8, 1);
      end = feature (end, RANDOM_READ, medium, 8);
    }
  if (WANTED (CD_READ))
    end = feature (end, CD_READ, medium, 4);
#undef WANTED
  put32 (a, end - a - 4);
  answer (d, end - a, get16 (d->cdb + 7));
}

static void
get_event (AtaDrive *d)
{
  enum { MEDIA_CLASS = 4 };
  uint8_t *a = clear_answer (d);
  if (!(d->cdb[1] & 1)) /* not polled: would have to wait */
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
      return;
    }
  a[3] = 1 << MEDIA_CLASS;
  if (!(d->cdb[4] & 1 << MEDIA_CLASS))
    {
      put16 (a, 2);
      a[2] = 0x80; /* no such event class */
      answer (d, 4, get16 (d->cdb + 7));
      return;
    }
  put16 (a, 6);
  a[2] = MEDIA_CLASS;
  a[4] = d->media_event;
  a[5] = d->tray_open | has_medium (d) << 1;
  d->media_event = EVENT_NONE;
  answer (d, 8, get16 (d->cdb + 7));
}

static void
read_disc_information (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  put16 (a, 32);
  a[2] = 0x0e; /* complete */
  a[3] = a[4] = a[5] = a[6] = 1;
  a[7] = 0x20; /* for unrestricted use */
  memset (a + 16, 0xff, 8);
  answer (d, 34, get16 (d->cdb + 7));
}

static void
read_track_information (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  put16 (a, 26);
  a[2] = a[3] = 1;
  a[5] = 4; /* data track */
  a[6] = 1; /* mode 1 */
  put32 (a + 24, disc_blocks (d));
  answer (d, 28, get16 (d->cdb + 7));
}

static void
mechanism_status (AtaDrive *d)
{
  uint8_t *a = clear_answer (d);
  a[1] = d->tray_open ? 0x10 : 0;
  a[5] = 1; /* slots */
  answer (d, 8, get16 (d->cdb + 8));
}

/* ---- Mode pages ---- */

static uint8_t *
mode_page (uint8_t *at, uint8_t page, bool changeable)
{
  static const struct {
    uint8_t page, length, bytes[18];
  } pages[] = {
    { 0x01, 6, { 0, 0x20 } },                           /* error recovery: retries */
    { 0x0d, 6, { 0, 8, 0, 60, 0, 75 } },                /* CD: 60 s a minute, 75 frames a second */
    { 0x0e, 14, { 4, 0, 0, 0, 0, 0, 1, 255, 2, 255 } }, /* audio: two channels, full volume */
    { 0x2a,
      18,
      { 0x07, 0, 0x70, 0x00, 0x29, 0, SPEED_KB >> 8, SPEED_KB & 0xff, 0, 2, 0, 128, SPEED_KB >> 8,
        SPEED_KB & 0xff } }, /* capabilities */
  };
  for (unsigned i = 0; i < G_N_ELEMENTS (pages); i++)
    if (page == 0x3f || page == pages[i].page)
      {
        at[0] = pages[i].page;
        at[1] = pages[i].length;
        if (!changeable)
          memcpy (at + 2, pages[i].bytes, pages[i].length);
        at += 2 + pages[i].length;
      }
  return at;
}

static void
mode_sense (AtaDrive *d, unsigned header, uint32_t allocated)
{
  uint8_t *a = clear_answer (d), *start = a + header, *end;
  uint8_t control = d->cdb[2] >> 6;
  uint8_t medium = d->tray_open ? 0x71 : has_medium (d) ? 0x01 : 0x70;
  if (control == 3)
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_SAVING);
      return;
    }
  end = mode_page (start, d->cdb[2] & 0x3f, control == 1);
  if (end == start)
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_FIELD);
      return;
    }
  for (uint8_t *p = start; p < end && control != 1; p += 2 + p[1])
    if (p[0] == 0x2a && d->locked)
      p[6] |= 2;
  if (header == 8)
    {
      put16 (a, end - a - 2);
      a[2] = medium;
    }
  else
    {
      a[0] = end - a - 1;
      a[1] = medium;
    }
  answer (d, end - a, allocated);
}

/* Parameters are taken and have no effect: none of the pages has a changeable field. */
static void
mode_select (AtaDrive *d, uint32_t length)
{
  if (length)
    ata_receive (d, length);
  else
    ata_complete (d);
}

void
atapi_received (AtaDrive *d)
{
  ata_complete (d);
}

/* ---- Tray ---- */

void
atapi_medium_changed (AtaDrive *d)
{
  bool present = tn_block_info (d->block).present;
  if (present)
    d->tray_open = false;
  d->attention_medium = true;
  d->media_event = present ? EVENT_NEW_MEDIA : EVENT_REMOVED;
}

static void
start_stop (AtaDrive *d)
{
  bool start = d->cdb[4] & 1, load = d->cdb[4] & 2;
  if (load && !start && d->locked)
    {
      check (d, KEY_ILLEGAL_REQUEST, SENSE_LOCKED);
      return;
    }
  if (load && !start && !d->tray_open)
    {
      d->tray_open = true;
      d->media_event = EVENT_REMOVED;
      tn_block_eject (d->block);
    }
  else if (load && start && d->tray_open)
    {
      d->tray_open = false;
      if (has_medium (d))
        {
          d->attention_medium = true;
          d->media_event = EVENT_NEW_MEDIA;
        }
    }
  else if (start && !has_medium (d))
    {
      not_ready (d);
      return;
    }
  ata_complete (d);
}

/* ---- Dispatch ---- */

enum { ANY_TIME = 1, NEEDS_MEDIUM = 2 };

static unsigned
packet_rules (uint8_t opcode)
{
  switch (opcode)
    {
    case 0x03: /* REQUEST SENSE */
    case 0x12: /* INQUIRY */
    case 0x46: /* GET CONFIGURATION */
    case 0x4a: /* GET EVENT STATUS NOTIFICATION */
      return ANY_TIME;
    case 0x00: /* TEST UNIT READY */
    case 0x25:
    case 0x28:
    case 0x2b:
    case 0x42:
    case 0x43:
    case 0x44:
    case 0x51:
    case 0x52:
    case 0xa8:
    case 0xb9:
    case 0xbe:
      return NEEDS_MEDIUM;
    }
  return 0;
}

/* False when it has failed the command for reasons that all commands share. */
static bool
may_run (AtaDrive *d)
{
  unsigned rules = packet_rules (d->cdb[0]);
  if (!(rules & ANY_TIME) && d->attention_reset)
    {
      d->attention_reset = false;
      check (d, KEY_UNIT_ATTENTION, SENSE_RESET);
      return false;
    }
  if (!(rules & ANY_TIME) && d->attention_medium)
    {
      d->attention_medium = false;
      check (d, KEY_UNIT_ATTENTION, SENSE_CHANGED);
      return false;
    }
  if (d->cdb[0] != 0x03)
    set_sense (d, KEY_NONE, SENSE_NONE);
  if ((rules & NEEDS_MEDIUM) && !has_medium (d))
    {
      not_ready (d);
      return false;
    }
  return true;
}

static void
illegal (AtaDrive *d)
{
  tn_device_log (d->setup.device, TN_LOG_DEBUG, "packet command %02x refused", d->cdb[0]);
  check (d, KEY_ILLEGAL_REQUEST, SENSE_OPCODE);
}

static void
seek (AtaDrive *d)
{
  if (get32 (d->cdb + 2) < disc_blocks (d))
    ata_complete (d);
  else
    check (d, KEY_ILLEGAL_REQUEST, SENSE_ADDRESS);
}

static void
run_packet (AtaDrive *d)
{
  const uint8_t *c = d->cdb;
  switch (c[0])
    {
    case 0x00: /* TEST UNIT READY */
    case 0x4e: /* STOP PLAY */
    case 0xbb: /* SET CD SPEED */
      ata_complete (d);
      break;
    case 0x03:
      request_sense (d);
      break;
    case 0x12:
      inquiry (d);
      break;
    case 0x15:
      mode_select (d, c[4]);
      break;
    case 0x55:
      mode_select (d, get16 (c + 7));
      break;
    case 0x1a:
      mode_sense (d, 4, c[4]);
      break;
    case 0x5a:
      mode_sense (d, 8, get16 (c + 7));
      break;
    case 0x1b:
      start_stop (d);
      break;
    case 0x1e: /* PREVENT/ALLOW MEDIUM REMOVAL */
      d->locked = c[4] & 1;
      tn_block_set_locked (d->block, d->locked);
      ata_complete (d);
      break;
    case 0x25:
      read_capacity (d);
      break;
    case 0x28: /* READ(10) */
      read_blocks (d, get32 (c + 2), get16 (c + 7), false);
      break;
    case 0xa8: /* READ(12) */
      read_blocks (d, get32 (c + 2), get32 (c + 6), false);
      break;
    case 0xbe:
      read_cd (d, get32 (c + 2), get32 (c + 5) & 0xffffff);
      break;
    case 0xb9:
      read_cd_msf (d);
      break;
    case 0x2b:
      seek (d);
      break;
    case 0x42:
      read_subchannel (d);
      break;
    case 0x43:
      read_toc (d);
      break;
    case 0x44:
      read_header (d);
      break;
    case 0x46:
      get_configuration (d);
      break;
    case 0x4a:
      get_event (d);
      break;
    case 0x51:
      read_disc_information (d);
      break;
    case 0x52:
      read_track_information (d);
      break;
    case 0xbd:
      mechanism_status (d);
      break;
    default:
      illegal (d);
    }
}

void
atapi_packet (AtaDrive *d)
{
  memcpy (d->cdb, d->buffer, sizeof d->cdb);
  d->phase = ATA_IDLE;
  d->pos = d->block_end = d->length = 0;
  if (may_run (d))
    run_packet (d);
}

/* ---- Task file commands ---- */

/* An odd limit stands for the even number below; 0 is not allowed, and taken as no limit. */
static void
start_packet (AtaDrive *d)
{
  uint32_t limit = d->lba_mid | d->lba_high << 8;
  d->dma = d->feature & 1;
  d->block_size = limit < 2 || limit == 0xffff ? 0xfffe : limit & ~1u;
  d->phase = ATA_PACKET;
  d->pos = 0;
  d->length = d->block_end = ATAPI_CDB_SIZE;
  d->count = (d->count & 0xf8) | ATAPI_REASON_COMMAND;
  d->status = ATA_SR_READY | ATA_SR_DRQ;
  d->error = 0;
}

static void
identify (AtaDrive *d)
{
  uint8_t *id = clear_answer (d);
  char serial[21];
  ata_word (id, 0, 0x85c0); /* removable CD-ROM, 12-byte packets, DRQ within 50 us */
  g_snprintf (serial, sizeof serial, "TN%08u", d->setup.number + 1);
  ata_string (id + 2 * 10, serial, 10);
  ata_string (id + 2 * 23, "1.0", 4);
  ata_string (id + 2 * 27, "TENON CD-ROM", 20);
  ata_word (id, 49, 0x0f00);
  ata_word (id, 51, 0x0200);
  ata_word (id, 53, 0x0006);
  ata_word (id, 73, 0x0004);
  ata_word (id, 80, 0x001e);
  ata_word (id, 82, 0x4218); /* NOP, DEVICE RESET, PACKET, power management */
  ata_word (id, 83, 0x4000);
  ata_word (id, 84, 0x4000);
  ata_word (id, 85, 0x4218);
  ata_word (id, 87, 0x4000);
  ata_identify_modes (d, id);
  d->block_size = 512;
  ata_send (d, 512);
}

/* ATA commands that a packet drive must not know leave its signature behind. */
static void
abort_with_signature (AtaDrive *d)
{
  uint8_t head = d->drive_head;
  ata_signature (d);
  d->drive_head = head;
  ata_fail (d, 0, ATA_ER_ABRT);
}

static void
device_reset (AtaDrive *d)
{
  d->status = ATA_SR_BSY;
  d->reset_pending = d->in_flight;
  if (!d->reset_pending)
    ata_signature (d);
}

void
atapi_command (AtaDrive *d)
{
  switch (d->command)
    {
    case ATA_CMD_DEVICE_RESET:
      device_reset (d);
      break;
    case ATA_CMD_PACKET:
      start_packet (d);
      break;
    case CMD_IDENTIFY_PACKET:
      identify (d);
      break;
    case CMD_FLUSH_CACHE:
      ata_complete (d);
      break;
    case CMD_SET_FEATURES:
      if (ata_set_features (d))
        ata_complete (d);
      else
        ata_fail (d, 0, ATA_ER_ABRT);
      break;
    case 0x20: /* READ SECTORS */
    case 0xec: /* IDENTIFY DEVICE */
      abort_with_signature (d);
      break;
    default:
      if (d->command >= 0xe0 && d->command <= 0xe6 && d->command != 0xe4)
        ata_power_command (d);
      else
        ata_fail (d, 0, ATA_ER_ABRT);
    }
}

void
atapi_reset (AtaDrive *d, bool hard)
{
  set_sense (d, KEY_NONE, SENSE_NONE);
  d->attention_reset = true;
  d->locked = false;
  tn_block_set_locked (d->block, false);
  if (!hard)
    return;
  d->tray_open = false;
  d->attention_medium = false;
  d->media_event = has_medium (d) ? EVENT_NEW_MEDIA : EVENT_NONE;
  memset (d->cdb, 0, sizeof d->cdb);
}

bool
atapi_restored (const AtaDrive *d)
{
  tn_block_set_locked (d->block, d->locked);
  return d->media_event <= EVENT_REMOVED && d->sense_key <= 15;
}
