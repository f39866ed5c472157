/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DDC2B: an I2C memory at address 50h with the monitor's EDID (VESA EDID 1.3), behind the serial
 * port register: 0 SCL out, 1 SDA out, 2 SCL in, 3 SDA in, 4 drive.  Lines are open drain.
 *
 * The monitor is a plain colour screen up to 1280 by 1024 at 75 Hz and 135 MHz.
 */
#include "s3.h"

enum { SERIAL_SCL = 1, SERIAL_SDA = 2, SERIAL_DRIVE = 0x10, EDID_SIZE = 128 };
enum {
  IDLE,
  ADDRESS,
  POINTER,
  WRITE,
  READ,
  IGNORE,
  READ_NEXT /* once the address is acknowledged */
};

/* Without the checksum. */
static const uint8_t edid[EDID_SIZE - 1] = {
  0x00,
  0xff,
  0xff,
  0xff,
  0xff,
  0xff,
  0xff,
  0x00,
  /* TEN, model 1, serial 0, week 1 of 2000, EDID 1.3 */
  0x50,
  0xae,
  0x01,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x01,
  0x0a,
  0x01,
  0x03,
  /* analogue, separate sync; 32 by 24 cm, gamma 2.2, RGB, preferred timing first, DPMS */
  0x08,
  0x20,
  0x18,
  0x78,
  0xea,
  /* sRGB */
  0xee,
  0x91,
  0xa3,
  0x54,
  0x4c,
  0x99,
  0x26,
  0x0f,
  0x50,
  0x54,
  /* established: 720x400@70, 640x480@60/72/75, 800x600@56/60/72/75, 1024x768@60/70/75, 1280x1024@75
   */
  0xaf,
  0xcf,
  0x00,
  /* standard: 1280x1024@60, 1152x864@75 */
  0x81,
  0x80,
  0x71,
  0x4f,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  0x01,
  /* preferred: 1024x768@60, 65 MHz, 24 136 160, 3 6 29, 320 by 240 mm, both syncs negative */
  0x64,
  0x19,
  0x00,
  0x40,
  0x41,
  0x00,
  0x26,
  0x30,
  0x18,
  0x88,
  0x36,
  0x00,
  0x40,
  0xf0,
  0x10,
  0x00,
  0x00,
  0x18,
  /* limits: 50-85 Hz, 30-82 kHz, 140 MHz */
  0x00,
  0x00,
  0x00,
  0xfd,
  0x00,
  0x32,
  0x55,
  0x1e,
  0x52,
  0x0e,
  0x00,
  0x0a,
  0x20,
  0x20,
  0x20,
  0x20,
  0x20,
  0x20,
  /* name */
  0x00,
  0x00,
  0x00,
  0xfc,
  0x00,
  'T',
  'e',
  'n',
  'o',
  'n',
  '\n',
  ' ',
  ' ',
  ' ',
  ' ',
  ' ',
  ' ',
  ' ',
  /* nothing */
  0x00,
  0x00,
  0x00,
  0x10,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  0x00,
  /* no more blocks */
  0x00,
};

static uint8_t
edid_byte (uint8_t address)
{
  uint8_t sum = 0;

  if (address < sizeof edid)
    return edid[address];
  if (address != EDID_SIZE - 1)
    return 0xff;
  for (unsigned i = 0; i < sizeof edid; i++)
    sum += edid[i];
  return -sum;
}

/* SCL rises: bits 0 to 7 of a byte, then the acknowledge as bit 8. */
static void
clock_rises (S3 *s3, bool sda)
{
  if (s3->ddc_state == IDLE || s3->ddc_state == IGNORE)
    return;
  if (s3->ddc_bit < 8 && s3->ddc_state != READ)
    s3->ddc_byte = s3->ddc_byte << 1 | sda;
  else if (s3->ddc_bit == 8 && s3->ddc_state == READ && sda)
    s3->ddc_state = IGNORE; /* the master has read enough */
}

static void
byte_done (S3 *s3)
{
  if (s3->ddc_state == ADDRESS && s3->ddc_byte >> 1 != 0x50)
    s3->ddc_state = IGNORE;
  else if (s3->ddc_state == ADDRESS)
    s3->ddc_state = s3->ddc_byte & 1 ? READ_NEXT : POINTER;
  else if (s3->ddc_state == POINTER)
    {
      s3->ddc_address = s3->ddc_byte;
      s3->ddc_state = WRITE; /* what follows is swallowed: it is a ROM */
    }
}

/* SCL falls: the next bit is put on the line, or the acknowledge. */
static void
clock_falls (S3 *s3)
{
  bool reading = s3->ddc_state == READ;

  s3->ddc_pull = false;
  if (s3->ddc_state == IDLE || s3->ddc_state == IGNORE)
    return;
  s3->ddc_bit++;
  if (s3->ddc_bit == 8 && !reading)
    {
      byte_done (s3);
      s3->ddc_pull = s3->ddc_state != IGNORE;
      return;
    }
  if (s3->ddc_bit >= 9)
    {
      s3->ddc_bit = 0;
      if (s3->ddc_state == READ_NEXT)
        s3->ddc_state = READ;
      if (s3->ddc_state == READ)
        s3->ddc_byte = edid_byte (s3->ddc_address++);
    }
  if (s3->ddc_state == READ && s3->ddc_bit < 8)
    s3->ddc_pull = !(s3->ddc_byte >> (7 - s3->ddc_bit) & 1);
}

void
s3_ddc_write (S3 *s3, uint8_t value)
{
  bool drive = value & SERIAL_DRIVE;
  bool scl = !drive || (value & SERIAL_SCL), sda = !drive || (value & SERIAL_SDA);

  s3->serial = value & (SERIAL_SCL | SERIAL_SDA | SERIAL_DRIVE);
  if (scl && s3->ddc_scl && sda != s3->ddc_sda)
    {
      s3->ddc_state = sda ? IDLE : ADDRESS; /* stop, start */
      s3->ddc_bit = 0xff;                   /* until the clock falls */
      s3->ddc_pull = false;
    }
  else if (scl && !s3->ddc_scl)
    clock_rises (s3, sda);
  else if (!scl && s3->ddc_scl)
    clock_falls (s3);
  s3->ddc_scl = scl;
  s3->ddc_sda = sda;
}

uint8_t
s3_ddc_read (const S3 *s3)
{
  return s3->serial | (s3->ddc_scl ? 4 : 0) | (s3->ddc_sda && !s3->ddc_pull ? 8 : 0);
}

void
s3_ddc_reset (S3 *s3)
{
  s3->serial = 0;
  s3->ddc_state = IDLE;
  s3->ddc_bit = s3->ddc_byte = s3->ddc_address = 0;
  s3->ddc_scl = s3->ddc_sda = true;
  s3->ddc_pull = false;
}
