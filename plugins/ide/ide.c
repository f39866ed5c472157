/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * IDE function of the 82371AB/EB (PIIX4): PCI function 8086:7111 with two channels at the legacy
 * addresses and a bus-master DMA engine.  After Intel's 82371AB data sheet (290562), and for the
 * drives ATA/ATAPI-4 (see plugins/lib/ata.h).
 *
 *   1F0-1F7, 3F6   primary channel, IRQ 14, while IDETIM 40h bit 15 and PCI command bit 0 are set
 *   170-177, 376   secondary channel, IRQ 15, IDETIM 42h
 *   BMIBA+0        bus-master command (0 start, 3 to memory)       +8  the same for the secondary
 *   BMIBA+2        status (0 active, 1 error, 2 interrupt, 5-6 drive DMA capable)
 *   BMIBA+4        address of the PRD table
 *
 * Timing registers are kept and have no effect.  An empty channel floats with D7 pulled down (7Fh);
 * beside a master alone, the slave's registers read 0.
 */
#include "../lib/ata.h"

#include <string.h>

enum {
  PCI_COMMAND = 0x04,
  PCI_COMMAND_IO = 0x01,
  PCI_COMMAND_MASTER = 0x04,
  PCI_LATENCY = 0x0d,
  PCI_IDETIM = 0x40,
  PCI_IDETIM_DECODE = 0x8000,
  PCI_SIDETIM = 0x44,
  PCI_UDMACTL = 0x48,
  PCI_UDMATIM = 0x4a,
  PCI_BMIBA = 4, /* BAR number */

  DC_NIEN = 0x02,
  DC_SRST = 0x04,

  BM_COMMAND = 0,
  BM_STATUS = 2,
  BM_PRD = 4,
  BM_CHANNEL = 8,

  BMC_START = 0x01,
  BMC_TO_MEMORY = 0x08,
  BMS_ACTIVE = 0x01,
  BMS_ERROR = 0x02,
  BMS_INTERRUPT = 0x04,
  BMS_CAPABLE = 0x60,

  PRD_END = 0x80,
  FLOATING = 0x7f,
};

typedef struct Ide Ide;

typedef struct {
  Ide *ide;
  TnLine *line;
  TnRegion *command_block, *control_block;
  AtaDrive drives[2];
  bool irq; /* INTRQ as it leaves the channel */

  uint8_t selected, control;
  uint8_t bm_command, bm_status;
  uint32_t bm_prd;
  /* The descriptor under way: next one, rest of the present one, whether it is the last. */
  uint32_t prd_next, prd_address, prd_left;
  bool prd_last;
} Channel;

struct Ide {
  TnDevice *device;
  uint32_t slot, function;
  const char *links[4];
  uint32_t kinds[4];
  TnPci *pci;
  TnRegion *bm_region;
  Channel channels[2];
};

/* ---- Interrupt ---- */

static AtaDrive *
selected (Channel *c)
{
  return &c->drives[c->selected];
}

static void
update_irq (Channel *c)
{
  bool irq = selected (c)->exists && selected (c)->intrq && !(c->control & DC_NIEN);
  if (irq && !c->irq)
    c->bm_status |= BMS_INTERRUPT;
  c->irq = irq;
  tn_line_set (c->line, irq);
}

static void
drive_intrq (AtaDrive *drive)
{
  update_irq (drive->setup.owner);
}

/* ---- Bus master ---- */

/* Loads the next descriptor: even byte address, 16-bit count (0 for 64 KiB), end of table. */
static void
next_descriptor (Channel *c)
{
  uint8_t d[8];
  tn_device_mem_read (c->ide->device, c->prd_next, d, sizeof d);
  c->prd_address = (d[0] | d[1] << 8 | d[2] << 16 | (uint32_t) d[3] << 24) & ~1u;
  c->prd_left = (d[4] | d[5] << 8) & ~1u;
  if (!c->prd_left)
    c->prd_left = 65536;
  c->prd_last = d[7] & PRD_END;
  c->prd_next += sizeof d;
}

static bool
may_master (const Channel *c, bool to_memory)
{
  const uint8_t *config = tn_pci_bytes (c->ide->pci);
  return (config[PCI_COMMAND] & PCI_COMMAND_MASTER) && (c->bm_status & BMS_ACTIVE)
         && !(c->bm_command & BMC_TO_MEMORY) == !to_memory;
}

static size_t
drive_dma (AtaDrive *drive, uint8_t *bytes, size_t size, bool to_memory)
{
  Channel *c = drive->setup.owner;
  size_t done = 0;
  if (drive != selected (c))
    return 0;
  while (done < size && may_master (c, to_memory))
    {
      uint32_t n;
      if (!c->prd_left)
        next_descriptor (c);
      n = MIN (size - done, c->prd_left);
      if (to_memory)
        tn_device_mem_write (c->ide->device, c->prd_address, bytes + done, n);
      else
        tn_device_mem_read (c->ide->device, c->prd_address, bytes + done, n);
      done += n;
      c->prd_address += n;
      c->prd_left -= n;
      if (!c->prd_left && c->prd_last)
        c->bm_status &= ~BMS_ACTIVE;
    }
  return done;
}

static void
write_bm_command (Channel *c, uint8_t value)
{
  bool start = value & ~c->bm_command & BMC_START;
  c->bm_command = value & (BMC_START | BMC_TO_MEMORY);
  if (!(value & BMC_START))
    c->bm_status &= ~BMS_ACTIVE;
  if (!start)
    return;
  c->bm_status |= BMS_ACTIVE;
  c->prd_next = c->bm_prd;
  c->prd_left = 0;
  c->prd_last = false;
  if (selected (c)->exists)
    ata_dma_ready (selected (c));
}

static uint8_t
read_bm_byte (const Channel *c, unsigned reg)
{
  switch (reg)
    {
    case BM_COMMAND:
      return c->bm_command;
    case BM_STATUS:
      return c->bm_status;
    case BM_PRD ... BM_PRD + 3:
      return c->bm_prd >> 8 * (reg - BM_PRD);
    }
  return 0;
}

static void
write_bm_byte (Channel *c, unsigned reg, uint8_t value)
{
  unsigned shift = 8 * (reg & 3);
  switch (reg)
    {
    case BM_COMMAND:
      write_bm_command (c, value);
      break;
    case BM_STATUS:
      c->bm_status &= ~(value & (BMS_ERROR | BMS_INTERRUPT));
      c->bm_status = (c->bm_status & ~BMS_CAPABLE) | (value & BMS_CAPABLE);
      break;
    case BM_PRD ... BM_PRD + 3:
      c->bm_prd = (c->bm_prd & ~(0xffu << shift)) | (uint32_t) value << shift;
      c->bm_prd &= ~3u;
      break;
    }
}

static uint32_t
bm_read (void *self, uint32_t offset, unsigned size)
{
  Ide *ide = self;
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t) read_bm_byte (&ide->channels[(offset + i) / BM_CHANNEL & 1],
                                      (offset + i) % BM_CHANNEL)
             << 8 * i;
  return value;
}

static void
bm_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Ide *ide = self;
  for (unsigned i = 0; i < size; i++)
    write_bm_byte (&ide->channels[(offset + i) / BM_CHANNEL & 1], (offset + i) % BM_CHANNEL,
                   value >> 8 * i);
}

/* ---- Task file ---- */

/* What is read where no drive drives the bus. */
static uint8_t
nobody (const Channel *c)
{
  return c->selected && c->drives[0].exists ? 0 : FLOATING;
}

static uint8_t
read_register (Channel *c, unsigned reg)
{
  if (!selected (c)->exists)
    return nobody (c);
  return ata_read (selected (c), reg);
}

/* Both drives obey the diagnostic command; the master reports for both. */
static void
diagnose (Channel *c)
{
  c->selected = 0;
  for (unsigned i = 0; i < 2; i++)
    if (c->drives[i].exists)
      ata_diagnostic (&c->drives[i]);
  if (c->drives[0].exists)
    ata_set_intrq (&c->drives[0], true);
}

static void
write_register (Channel *c, unsigned reg, uint8_t value)
{
  if (reg == ATA_COMMAND && value == ATA_CMD_DIAGNOSTIC)
    {
      diagnose (c);
      return;
    }
  if (reg == ATA_COMMAND)
    {
      if (selected (c)->exists)
        ata_command (selected (c), value);
      return;
    }
  if (reg == ATA_DEVICE && !(ata_alt_status (selected (c)) & ATA_SR_BSY))
    c->selected = !!(value & ATA_DEV_DEV);
  for (unsigned i = 0; i < 2; i++)
    if (c->drives[i].exists)
      ata_write (&c->drives[i], reg, value);
  update_irq (c);
}

static uint32_t
read_block (Channel *c, uint32_t offset, void *items, uint32_t count, unsigned size)
{
  if (offset != ATA_DATA || !selected (c)->exists)
    return 0;
  return ata_data_in (selected (c), items, count, size);
}

static uint32_t
write_block (Channel *c, uint32_t offset, const void *items, uint32_t count, unsigned size)
{
  if (offset != ATA_DATA || !selected (c)->exists)
    return 0;
  return ata_data_out (selected (c), items, count, size);
}

static uint32_t
read_data (Channel *c, unsigned size)
{
  uint32_t value = 0;
  if (!read_block (c, ATA_DATA, &value, 1, size))
    value = selected (c)->exists ? UINT32_MAX : 0xff00ff00u | nobody (c) * 0x10001u;
  return value;
}

/* Only the data register is wider than a byte; other wide accesses touch the bytes one by one. */
static uint32_t
read_command_block (Channel *c, uint32_t offset, unsigned size)
{
  uint32_t value = 0;
  if (offset == ATA_DATA)
    return read_data (c, size);
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t) (offset + i < 8 ? read_register (c, offset + i) : 0xff) << 8 * i;
  return value;
}

static void
write_command_block (Channel *c, uint32_t offset, uint32_t value, unsigned size)
{
  if (offset == ATA_DATA)
    {
      write_block (c, ATA_DATA, &value, 1, size);
      return;
    }
  for (unsigned i = 0; i < size && offset + i < 8; i++)
    write_register (c, offset + i, value >> 8 * i);
}

static uint32_t
read_control (Channel *c)
{
  return selected (c)->exists ? ata_alt_status (selected (c)) : nobody (c);
}

static void
write_control (Channel *c, uint8_t value)
{
  bool was_reset = c->control & DC_SRST, reset = value & DC_SRST;
  c->control = value;
  if (reset && !was_reset)
    c->selected = 0;
  for (unsigned i = 0; i < 2; i++)
    if (c->drives[i].exists && reset && !was_reset)
      ata_reset_begin (&c->drives[i]);
    else if (c->drives[i].exists && !reset && was_reset)
      ata_reset_end (&c->drives[i]);
  update_irq (c);
}

#define CHANNEL_OPS(name, n)                                                                       \
  static uint32_t name##_read (void *self, uint32_t offset, unsigned size)                         \
  {                                                                                                \
    return read_command_block (&((Ide *) self)->channels[n], offset, size);                        \
  }                                                                                                \
  static void name##_write (void *self, uint32_t offset, uint32_t value, unsigned size)            \
  {                                                                                                \
    write_command_block (&((Ide *) self)->channels[n], offset, value, size);                       \
  }                                                                                                \
  static uint32_t name##_read_block (void *self, uint32_t offset, void *items, uint32_t count,     \
                                     unsigned size)                                                \
  {                                                                                                \
    return read_block (&((Ide *) self)->channels[n], offset, items, count, size);                  \
  }                                                                                                \
  static uint32_t name##_write_block (void *self, uint32_t offset, const void *items,              \
                                      uint32_t count, unsigned size)                               \
  {                                                                                                \
    return write_block (&((Ide *) self)->channels[n], offset, items, count, size);                 \
  }                                                                                                \
  static uint32_t name##_read_control (void *self, uint32_t offset, unsigned size)                 \
  {                                                                                                \
    return read_control (&((Ide *) self)->channels[n]);                                            \
  }                                                                                                \
  static void name##_write_control (void *self, uint32_t offset, uint32_t value, unsigned size)    \
  {                                                                                                \
    write_control (&((Ide *) self)->channels[n], value);                                           \
  }

CHANNEL_OPS (primary, 0)
CHANNEL_OPS (secondary, 1)

/* ---- PCI ---- */

static void
update_decode (Ide *ide)
{
  const uint8_t *config = tn_pci_bytes (ide->pci);
  bool io = config[PCI_COMMAND] & PCI_COMMAND_IO;
  for (unsigned n = 0; n < 2; n++)
    {
      Channel *c = &ide->channels[n];
      bool on = io && (config[PCI_IDETIM + 2 * n + 1] & PCI_IDETIM_DECODE >> 8);
      GError *error = NULL;
      if (!tn_region_set (c->command_block, n ? 0x170 : 0x1f0, on, &error)
          || !tn_region_set (c->control_block, n ? 0x376 : 0x3f6, on, &error))
        {
          tn_device_log (ide->device, TN_LOG_WARNING, "channel %u stays off: %s", n,
                         error->message);
          g_clear_error (&error);
        }
    }
}

static void
config_written (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old)
{
  Ide *ide = self;
  const uint8_t *config = tn_pci_bytes (pci);
  if (((config[PCI_COMMAND] ^ old[PCI_COMMAND]) & PCI_COMMAND_IO)
      || memcmp (config + PCI_IDETIM, old + PCI_IDETIM, 4))
    update_decode (ide);
  if (config[PCI_COMMAND] & ~old[PCI_COMMAND] & PCI_COMMAND_MASTER)
    for (unsigned n = 0; n < 2; n++)
      if (selected (&ide->channels[n])->exists)
        ata_dma_ready (selected (&ide->channels[n]));
}

static bool
add_pci (Ide *ide, GError **error)
{
  static const TnPciConfig config = {
    .vendor = 0x8086,
    .device = 0x7111,
    .revision = 0x01,
    .prog_if = 0x80,
    .subclass = 0x01,
    .class_code = 0x01,
    .command_mask = PCI_COMMAND_IO | PCI_COMMAND_MASTER,
    .status = 0x0280,
    .status_w1c = 0x3800,
  };
  static const TnPciOps ops = { .written = config_written };
  static const TnBusOps bm_ops = { .read = bm_read, .write = bm_write };
  ide->pci = tn_device_pci_new (ide->device, 0, ide->slot, ide->function, &config, &ops, error);
  if (!ide->pci)
    return false;
  tn_pci_field (ide->pci, PCI_LATENCY, 1, 0, 0xf0, 0);
  tn_pci_field (ide->pci, PCI_IDETIM, 2, 0, 0xf3ff, 0);
  tn_pci_field (ide->pci, PCI_IDETIM + 2, 2, 0, 0xf3ff, 0);
  tn_pci_field (ide->pci, PCI_SIDETIM, 1, 0, 0xff, 0);
  tn_pci_field (ide->pci, PCI_UDMACTL, 1, 0, 0x0f, 0);
  tn_pci_field (ide->pci, PCI_UDMATIM, 2, 0, 0x3333, 0);
  ide->bm_region = tn_pci_bar (ide->pci, PCI_BMIBA, TN_BAR_IO, 16, &bm_ops, TN_IO_FAST);
  return true;
}

/* ---- Life cycle ---- */

static bool
add_channel (Ide *ide, unsigned n, GError **error)
{
  static const TnBusOps command_ops[2] = {
    { primary_read, primary_write, 1, 4, primary_read_block, primary_write_block },
    { secondary_read, secondary_write, 1, 4, secondary_read_block, secondary_write_block },
  };
  static const TnBusOps control_ops[2] = {
    { primary_read_control, primary_write_control, 1, 1, NULL, NULL },
    { secondary_read_control, secondary_write_control, 1, 1, NULL, NULL },
  };
  static const AtaHost host = { drive_intrq, drive_dma };
  Channel *c = &ide->channels[n];

  c->ide = ide;
  c->line = tn_device_line (ide->device, n ? "isa:15" : "isa:14");
  c->command_block = tn_device_add_ports (ide->device, n ? 0x170 : 0x1f0, 8, &command_ops[n],
                                          TN_IO_FAST, error);
  if (!c->command_block)
    return false;
  c->control_block = tn_device_add_ports (ide->device, n ? 0x376 : 0x3f6, 1, &control_ops[n],
                                          TN_IO_FAST, error);
  if (!c->control_block)
    return false;
  for (unsigned i = 0; i < 2; i++)
    {
      AtaSetup setup
          = { ide->device, &host, c, ide->links[2 * n + i], 2 * n + i, i, ide->kinds[2 * n + i] };
      if (!ata_init (&c->drives[i], &setup, error))
        return false;
    }
  return true;
}

static bool
ide_realize (void *self, GError **error)
{
  Ide *ide = self;
  if (!add_pci (ide, error) || !add_channel (ide, 0, error) || !add_channel (ide, 1, error))
    return false;
  update_decode (ide);
  return true;
}

static void
ide_reset (void *self)
{
  Ide *ide = self;
  for (unsigned n = 0; n < 2; n++)
    {
      Channel *c = &ide->channels[n];
      c->selected = c->control = c->bm_command = c->bm_status = 0;
      c->bm_prd = c->prd_next = c->prd_address = c->prd_left = 0;
      c->prd_last = false;
      for (unsigned i = 0; i < 2; i++)
        if (c->drives[i].exists)
          ata_power_on (&c->drives[i]);
      update_irq (c);
      c->bm_status = 0;
    }
  update_decode (ide);
}

static bool
ide_restored (void *self, GError **error)
{
  Ide *ide = self;
  for (unsigned n = 0; n < 2; n++)
    {
      Channel *c = &ide->channels[n];
      uint8_t status = c->bm_status;
      if (c->selected > 1 || (c->bm_command & ~(BMC_START | BMC_TO_MEMORY))
          || (c->bm_status & ~(BMS_ACTIVE | BMS_ERROR | BMS_INTERRUPT | BMS_CAPABLE))
          || (c->bm_prd & 3) || c->prd_left > 65536)
        return tn_device_fail (ide->device, error, TN_ERROR_STATE, "channel %u cannot be so", n);
      for (unsigned i = 0; i < 2; i++)
        if (!ata_restored (&c->drives[i], error))
          return false;
      update_irq (c);
      c->bm_status = status;
    }
  update_decode (ide);
  return true;
}

/* ---- Descriptor ---- */

static const char *const kinds[] = { "auto", "disk", "cdrom", NULL };

#define DRIVE_PROPS(i, n)                                                                          \
  TN_PROP_LINK (Ide, links[i], n, "disk image or other block back end", TN_KIND_BLOCK),            \
      TN_PROP_ENUM (                                                                               \
          Ide, kinds[i], n "-kind",                                                                \
          "disk, cdrom (also without a medium), or auto: a CD if sectors have 2048 bytes", 0,      \
          kinds)

static const TnProperty props[] = {
  TN_PROP_UINT (Ide, slot, "slot", "PCI device number on bus 0", 7, 0, 31),
  TN_PROP_UINT (Ide, function, "function", "PCI function number", 1, 0, 7),
  DRIVE_PROPS (0, "primary-master"),
  DRIVE_PROPS (1, "primary-slave"),
  DRIVE_PROPS (2, "secondary-master"),
  DRIVE_PROPS (3, "secondary-slave"),
  TN_PROP_END,
};

static const TnField channel_fields[] = {
  TN_FIELD (Channel, selected, 1),
  TN_FIELD (Channel, control, 1),
  TN_FIELD (Channel, bm_command, 1),
  TN_FIELD (Channel, bm_status, 1),
  TN_FIELD (Channel, bm_prd, 1),
  TN_FIELD (Channel, prd_next, 1),
  TN_FIELD (Channel, prd_address, 1),
  TN_FIELD (Channel, prd_left, 1),
  TN_FIELD (Channel, prd_last, 1),
  TN_FIELD_STRUCT (Channel, drives, 2, ata_drive_fields, 1),
  TN_FIELD_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Ide, channels, 2, channel_fields, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "1F0h-1F7h, 3F6h", "primary channel: task file, device control" },
  { "170h-177h, 376h", "secondary channel" },
  { "BMIBA+0h, +8h", "bus-master command" },
  { "BMIBA+2h, +Ah", "bus-master status" },
  { "BMIBA+4h, +Ch", "descriptor table address" },
  { "PCI 40h, 42h", "IDETIM: timing, bit 15 decodes the channel" },
  { "PCI 44h, 48h, 4Ah", "SIDETIM, UDMACTL, UDMATIM: kept" },
  { "IRQ 14, 15", "primary, secondary" },
  { NULL, NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "ide",
  .summary = "IDE function of the PIIX4 with ATA disks and ATAPI CD drives",
  .document = "Intel 82371AB (290562), ANSI NCITS 317-1998",
  .kind = TN_KIND_DEVICE,
  .state_version = 2,
  .instance_size = sizeof (Ide),
  .properties = props,
  .fields = fields,
  .io = io,
  .ops = { .realize = ide_realize, .reset = ide_reset, .restored = ide_restored },
};
