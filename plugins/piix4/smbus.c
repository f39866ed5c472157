/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PIIX4 function 3: SMBus host controller, 16 ports at SMBBA, with the serial presence detect EEPROMs
 * of the memory modules (24C02, addresses 50h-53h) on the bus.
 * After 82371AB data sheet, section 7.4; SPD after JEDEC / Intel PC SDRAM SPD specification 1.2.
 *
 *   00 HSTSTS  01 SLVSTS  02 HSTCNT  03 HSTCMD  04 HSTADD  05 HSTDAT0  06 HSTDAT1
 *   07 BLKDAT  08 SLVCNT  09 SHDWCMD 0A SLVEVT (16 bit)    0C SLVDAT (16 bit)
 *
 * A transaction ends before the OUT that starts it: HOST_BUSY is never seen.
 */
#include "piix4.h"

#include <string.h>

enum {
  HSTSTS = 0, SLVSTS, HSTCNT, HSTCMD, HSTADD, HSTDAT0, HSTDAT1, BLKDAT, SLVCNT, SHDWCMD,
  SLVEVT = 0x0a, SLVDAT = 0x0c
};

#define SMB_PORTS 16
#define REG_COMMAND 0x04
#define REG_SMBBA 0x90
#define REG_SMBHSTCFG 0xd2

#define STS_INTR 0x02
#define STS_DEV_ERR 0x04
#define STS_FAILED 0x10
#define STS_W1C 0x1e
#define CNT_INTEREN 0x01
#define CNT_KILL 0x02
#define CNT_PROTOCOL 0x1c
#define CNT_START 0x40
#define PROTOCOL_QUICK 0
#define PROTOCOL_BYTE 1
#define PROTOCOL_BYTE_DATA 2
#define PROTOCOL_WORD_DATA 3
#define PROTOCOL_BLOCK 5
#define HSTCFG_ENABLE 0x01
#define HSTCFG_SELECT 0x0e
#define HSTCFG_IRQ9 0x08
#define HSTCFG_SMI 0x00

#define SPD_ADDRESS 0x50
#define SLOTS 4
#define SLOT_MAX_MB 256

/* ---- SPD ---- */

static void
describe_module (uint8_t *spd, unsigned megabytes)
{
  unsigned row_bits = 11, column_bits = 8, sum = 0;
  /* One bank of 64 bits, four internal banks: MB = 2^(rows + columns) * 4 * 8 bytes. */
  while (1u << (row_bits + column_bits) < megabytes << 15)
    if (row_bits < 13)
      row_bits++;
    else
      column_bits++;
  const uint8_t head[] = {
    128, 8, 4, row_bits, column_bits, 1, 64, 0, 1, 0x75, 0x54, 0, 0x80, 8, 0, 1, 0x8f, 4, 0x04, 1, 1,
    0, 0x0e, 0xa0, 0x60, 0, 0, 20, 15, 20, 45, megabytes / 4, 0x15, 0x08, 0x15, 0x08
  };
  memset (spd, 0, 128);
  memcpy (spd, head, sizeof head);
  spd[62] = 0x12; /* SPD revision 1.2 */
  for (unsigned n = 0; n < 63; n++)
    sum += spd[n];
  spd[63] = sum;
  memcpy (spd + 73, "TENON SDRAM PC100 ", 18);
  spd[126] = 100;  /* MHz */
  spd[127] = 0xaf; /* CAS latency 3 and 2 */
}

/* One module for each power of two of the memory's size, the largest first. */
static void
fill_slots (Piix4 *p)
{
  unsigned left = (unsigned) (tn_device_ram_size (p->device) >> 20), slot = 0;
  for (unsigned size = SLOT_MAX_MB; size >= 8 && slot < SLOTS; size >>= 1)
    while (left >= size && slot < SLOTS)
      {
        describe_module (p->spd[slot++], size);
        left -= size;
      }
}

/* Byte at `offset` of the module that answers an address; false if none does. */
static bool
module_read (Piix4 *p, unsigned address, uint8_t offset, uint8_t *value)
{
  if (address < SPD_ADDRESS || address >= SPD_ADDRESS + SLOTS || p->spd[address - SPD_ADDRESS][0] == 0)
    return false;
  *value = offset < 128 ? p->spd[address - SPD_ADDRESS][offset] : 0xff;
  return true;
}

/* ---- Transactions ---- */

static void
update_interrupt (Piix4 *p)
{
  uint8_t select = tn_pci_bytes (p->power)[REG_SMBHSTCFG] & HSTCFG_SELECT;
  tn_line_set (p->smb_line, select == HSTCFG_IRQ9 && (p->smb.hstcnt & CNT_INTEREN)
                                && (p->smb.hststs & STS_W1C));
}

static bool
transact (Piix4 *p)
{
  Smbus *s = &p->smb;
  unsigned address = s->hstadd >> 1;
  bool read = s->hstadd & 1;
  uint8_t value;

  if (!module_read (p, address, s->hstcmd, &value))
    return false;
  switch ((s->hstcnt & CNT_PROTOCOL) >> 2)
    {
    case PROTOCOL_QUICK:
      return true;
    case PROTOCOL_BYTE: /* the EEPROM's address counter; a write sets it by HSTCMD, which is kept */
    case PROTOCOL_BYTE_DATA:
      if (read)
        s->hstdat0 = value;
      return true;
    case PROTOCOL_WORD_DATA:
      if (read)
        {
          s->hstdat0 = value;
          module_read (p, address, s->hstcmd + 1, &s->hstdat1);
        }
      return true;
    case PROTOCOL_BLOCK:
      return false; /* a 24C02 knows no block protocol: it does not acknowledge the count */
    default:
      return false;
    }
}

static void
start (Piix4 *p)
{
  p->smb.hststs |= transact (p) ? STS_INTR : STS_DEV_ERR;
  if ((p->smb.hstcnt & CNT_INTEREN)
      && (tn_pci_bytes (p->power)[REG_SMBHSTCFG] & HSTCFG_SELECT) == HSTCFG_SMI)
    tn_line_pulse (p->smi);
}

/* ---- Bus ---- */

static uint32_t
smbus_read (void *self, uint32_t offset, unsigned size)
{
  Smbus *s = &((Piix4 *) self)->smb;
  switch (offset)
    {
    case HSTSTS: return s->hststs;
    case SLVSTS: return s->slvsts;
    case HSTCNT: s->block_index = 0; return s->hstcnt;
    case HSTCMD: return s->hstcmd;
    case HSTADD: return s->hstadd;
    case HSTDAT0: return s->hstdat0;
    case HSTDAT1: return s->hstdat1;
    case BLKDAT: return s->block[s->block_index++ % sizeof s->block];
    case SLVCNT: return s->slvcnt;
    case SHDWCMD: return s->shdwcmd;
    case SLVEVT: return s->slvevt & 0xff;
    case SLVEVT + 1: return s->slvevt >> 8;
    case SLVDAT: return s->slvdat & 0xff;
    case SLVDAT + 1: return s->slvdat >> 8;
    default: return 0;
    }
}

static void
hstcnt_write (Piix4 *p, uint8_t value)
{
  p->smb.hstcnt = value & (CNT_INTEREN | CNT_KILL | CNT_PROTOCOL);
  if (value & CNT_KILL)
    p->smb.hststs |= STS_FAILED;
  else if (value & CNT_START)
    start (p);
}

static void
smbus_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  Smbus *s = &p->smb;
  switch (offset)
    {
    case HSTSTS: s->hststs &= ~(value & STS_W1C); break;
    case SLVSTS: s->slvsts &= ~(value & 0x3c); break;
    case HSTCNT: hstcnt_write (p, value); break;
    case HSTCMD: s->hstcmd = value; break;
    case HSTADD: s->hstadd = value; break;
    case HSTDAT0: s->hstdat0 = value; break;
    case HSTDAT1: s->hstdat1 = value; break;
    case BLKDAT: s->block[s->block_index++ % sizeof s->block] = value; break;
    case SLVCNT: s->slvcnt = value & 0x0d; break;
    case SLVEVT: s->slvevt = (s->slvevt & 0xff00) | (value & 0xff); break;
    case SLVEVT + 1: s->slvevt = (s->slvevt & 0xff) | (value & 0xff) << 8; break;
    default: break;
    }
  update_interrupt (p);
}

static const TnBusOps smbus_ops = { .read = smbus_read, .write = smbus_write, .max_size = 1 };

void
smbus_update_base (Piix4 *p)
{
  const uint8_t *config = tn_pci_bytes (p->power);
  uint32_t base = piix4_config32 (p->power, REG_SMBBA) & 0xfff0;
  bool enabled = base && (config[REG_COMMAND] & 1) && (config[REG_SMBHSTCFG] & HSTCFG_ENABLE);
  GError *error = NULL;
  if (!tn_region_set (p->smb_io, base, enabled, &error))
    {
      tn_device_log (p->device, TN_LOG_GUEST_ERROR, "SMBBA: %s", error->message);
      g_error_free (error);
    }
  update_interrupt (p);
}

/* ---- Life cycle ---- */

bool
smbus_realize (Piix4 *p, GError **error)
{
  fill_slots (p);
  p->smb_io = tn_device_add_ports (p->device, 0, SMB_PORTS, &smbus_ops, TN_REGION_HIDDEN, error);
  return p->smb_io != NULL;
}

void
smbus_reset (Piix4 *p)
{
  p->smb = (Smbus) { 0 };
  smbus_update_base (p);
}

bool
smbus_restored (Piix4 *p, GError **error)
{
  smbus_update_base (p);
  return true;
}

const TnField smbus_fields[] = {
  TN_FIELD (Smbus, hststs, 1), TN_FIELD (Smbus, slvsts, 1), TN_FIELD (Smbus, hstcnt, 1),
  TN_FIELD (Smbus, hstcmd, 1), TN_FIELD (Smbus, hstadd, 1), TN_FIELD (Smbus, hstdat0, 1),
  TN_FIELD (Smbus, hstdat1, 1), TN_FIELD (Smbus, slvcnt, 1), TN_FIELD (Smbus, shdwcmd, 1),
  TN_FIELD (Smbus, slvevt, 1), TN_FIELD (Smbus, slvdat, 1), TN_FIELD (Smbus, block, 1),
  TN_FIELD (Smbus, block_index, 1), TN_FIELD_END
};
