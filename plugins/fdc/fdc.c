/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Floppy disk controller Intel 82077AA in a PC/AT, after its data sheet (290166) and, for what that
 * leaves to its ancestor, the data sheet of the 8272A (210606).
 *
 *   port+2  DOR      motors 7:4, gate of IRQ and DREQ 3, nRESET 2, drive 1:0
 *   port+3  TDR      kept
 *   port+4  R MSR    W DSR
 *   port+5  FIFO     commands, results, data without DMA
 *   port+7  R DIR    bit 7 DSKCHG of the selected drive       W CCR  data rate 1:0
 *
 * A command's bytes are gathered here and dispatched by a table; what works on sectors is in
 * execute.c, heads and media are in drive.c.  A command ends with the result bytes and, for some,
 * an interrupt; seeks end with an interrupt alone, whose cause SENSE INTERRUPT STATUS tells.
 *
 * Time: the disk turns, sectors come by, heads step at SPECIFY's rate; with the property fast it
 * all goes two hundred times as fast, in the same order.
 *
 * Two things are there for the BIOS of Bochs, and end when a driver shows that it knows better.
 * Until a data rate is set, media are read at the one that they need.  Until CONFIGURE, a command
 * on sectors first moves the head to the cylinder that it names.
 *
 * Departures: a motor is at speed at once, and head load and unload times are 0; precompensation,
 * the gap lengths, TDR, power down and PERPENDICULAR MODE are kept and do nothing.  Images hold no
 * address marks: deleted data are written as data, FORMAT TRACK succeeds with the medium's own
 * format alone, a sector has its normal place, and there are no CRC errors but those of the host.
 * An overrun is noticed after a fifth of a second without a byte.
 */
#include "fdc.h"

#include <string.h>

enum { REG_DOR = 0, REG_TDR, REG_MSR_DSR, REG_FIFO, N_REGS, PORT_DIR_CCR = 7, FIRST_PORT = 2 };

#define RESET_TIME (250 * TN_NS_PER_US)
#define PULSE_TIME (16 * TN_NS_PER_US) /* of a byte at 500 kb/s */

/* ---- Interrupt ---- */

static bool
wants_byte (const Fdc *f)
{
  return (f->specify[1] & SPECIFY_ND) && (f->stage == STAGE_TO_HOST || f->stage == STAGE_FROM_HOST);
}

void
fdc_update_irq (Fdc *f)
{
  tn_line_set (f->line, (f->dor & DOR_GATE)
                            && (f->irq_result || f->irq_sense || (wants_byte (f) && !f->pulse)));
}

/* Without DMA, the interrupt of each byte is an edge of its own. */
static void
byte_moved (Fdc *f)
{
  f->pulse = wants_byte (f);
  f->pulse_due = tn_device_now (f->device) + PULSE_TIME;
  tn_timer_set (f->pulse_timer, f->pulse ? f->pulse_due : TN_TIME_NEVER);
  fdc_update_irq (f);
}

static void
pulse_event (void *self, void *data)
{
  Fdc *f = self;
  f->pulse = false;
  fdc_update_irq (f);
}

void
fdc_finish (Fdc *f, unsigned n_result, bool interrupt)
{
  f->stage = STAGE_NONE;
  fdc_update_irq (f); /* of a byte that was not fetched: the end is an edge of its own */
  f->stage_due = f->sector_end = TN_TIME_NEVER;
  tn_timer_cancel (f->stage_timer);
  f->pulse = false;
  f->n_command = 0;
  f->n_result = n_result;
  f->result_pos = 0;
  f->irq_result = interrupt;
  fdc_update_request (f);
  fdc_update_irq (f);
}

void
fdc_seek_ended (FdcDrive *d)
{
  Fdc *f = d->fdc;
  if (d->implied)
    {
      d->implied = false;
      fdc_implied_seek_ended (f);
      return;
    }
  d->ended = true;
  f->poll = 0;
  f->irq_sense = true;
  fdc_update_irq (f);
}

/* ---- Commands that only talk to the controller ---- */

static void
do_specify (Fdc *f)
{
  memcpy (f->specify, f->command + 1, 2);
  fdc_finish (f, 0, false);
}

static void
do_configure (Fdc *f)
{
  f->configure = f->command[2] & CONFIGURE_KEPT;
  f->precompensation = f->command[3];
  f->configured = true;
  fdc_finish (f, 0, false);
}

/* The drive bits change only with OW. */
static void
do_perpendicular (Fdc *f)
{
  uint8_t value = f->command[1];
  if (value & 0x80)
    f->perpendicular = value & 0x3f;
  else
    f->perpendicular = (f->perpendicular & 0x3c) | (value & 0x03);
  fdc_finish (f, 0, false);
}

static void
do_lock (Fdc *f)
{
  f->lock = f->command[0] == CMD_LOCK;
  f->result[0] = f->lock ? 0x10 : 0;
  fdc_finish (f, 1, false);
}

static void
do_version (Fdc *f)
{
  f->result[0] = 0x90;
  fdc_finish (f, 1, false);
}

static void
do_dumpreg (Fdc *f)
{
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    f->result[i] = f->drives[i].pcn;
  memcpy (f->result + 4, f->specify, 2);
  f->result[6] = f->command[6]; /* EOT of the last command that had one */
  f->result[7] = (f->lock ? 0x80 : 0) | f->perpendicular;
  f->result[8] = f->configure;
  f->result[9] = f->precompensation;
  fdc_finish (f, 10, false);
}

static void
do_sense_drive (Fdc *f)
{
  const FdcDrive *d = fdc_selected (f);
  uint8_t st3 = (f->command[1] & (ST3_HEAD | DOR_DRIVE)) | ST3_READY | ST3_TWO_SIDED;
  if (d->block && !d->track)
    st3 |= ST3_TRACK_0;
  if (d->block && tn_block_info (d->block).present && d->read_only)
    st3 |= ST3_PROTECTED;
  f->result[0] = st3;
  fdc_finish (f, 1, false);
}

static void
invalid (Fdc *f)
{
  f->result[0] = ST0_INVALID;
  fdc_finish (f, 1, false);
}

/* First the four drives of a reset, then the ends of seeks, one at a time. */
static void
do_sense_interrupt (Fdc *f)
{
  bool more = false;
  FdcDrive *d = NULL;
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    {
      FdcDrive *each = &f->drives[i];
      bool waits = f->poll ? f->poll & 1 << i : each->ended;
      if (waits && d)
        more = !f->poll;
      else if (waits)
        d = each;
    }
  f->irq_sense = false;
  fdc_update_irq (f);
  if (!d)
    {
      invalid (f);
      return;
    }
  f->result[0] = f->poll ? ST0_POLL | d->number : d->seek_status;
  f->result[1] = d->pcn;
  if (f->poll)
    f->poll &= ~(1 << d->number);
  else
    d->ended = false;
  f->irq_sense = more;
  fdc_finish (f, 2, false);
}

/* ---- Seeks: the command is over at once ---- */

static void
do_recalibrate (Fdc *f)
{
  FdcDrive *d = fdc_selected (f);
  fdc_finish (f, 0, false);
  fdc_drive_recalibrate (d);
}

static void
do_seek (Fdc *f)
{
  FdcDrive *d = fdc_selected (f);
  uint8_t to = f->command[2];
  fdc_finish (f, 0, false);
  fdc_drive_seek (d, ABS (to - d->pcn), to > d->pcn, to);
}

static void
do_relative_seek (Fdc *f)
{
  FdcDrive *d = fdc_selected (f);
  bool in = f->command[0] == CMD_SEEK_IN;
  uint8_t steps = f->command[2];
  fdc_finish (f, 0, false);
  fdc_drive_seek (d, steps, in, in ? d->pcn + steps : d->pcn - steps);
}

static void
do_execute (Fdc *f)
{
  tn_device_emit (f->device, "access", f->command[1] & DOR_DRIVE);
  fdc_execute (f);
}

/* ---- Dispatch ---- */

typedef struct {
  uint8_t mask, code, parameters;
  void (*run) (Fdc *f);
} Command;

#define MODIFIED COMMAND_CODE /* MT, MFM, SK are free */
#define MFM_ONLY ((uint8_t) ~COMMAND_MFM)
#define EXACT 0xff

static const Command commands[] = {
  { MODIFIED, CMD_READ, 8, do_execute },
  { MODIFIED, CMD_READ_DELETED, 8, do_execute },
  { MODIFIED, CMD_WRITE, 8, do_execute },
  { MODIFIED, CMD_WRITE_DELETED, 8, do_execute },
  { MODIFIED, CMD_READ_TRACK, 8, do_execute },
  { MODIFIED, CMD_VERIFY, 8, do_execute },
  { MODIFIED, CMD_SCAN_EQUAL, 8, do_execute },
  { MODIFIED, CMD_SCAN_LOW, 8, do_execute },
  { MODIFIED, CMD_SCAN_HIGH, 8, do_execute },
  { MFM_ONLY, CMD_FORMAT, 5, do_execute },
  { MFM_ONLY, CMD_READ_ID, 1, do_execute },
  { EXACT, CMD_SENSE_INTERRUPT, 0, do_sense_interrupt },
  { EXACT, CMD_SEEK, 2, do_seek },
  { EXACT, CMD_RECALIBRATE, 1, do_recalibrate },
  { EXACT, CMD_SENSE_DRIVE, 1, do_sense_drive },
  { EXACT, CMD_SPECIFY, 2, do_specify },
  { EXACT, CMD_CONFIGURE, 3, do_configure },
  { EXACT, CMD_VERSION, 0, do_version },
  { EXACT, CMD_DUMPREG, 0, do_dumpreg },
  { EXACT, CMD_PERPENDICULAR, 1, do_perpendicular },
  { EXACT, CMD_UNLOCK, 0, do_lock },
  { EXACT, CMD_LOCK, 0, do_lock },
  { EXACT, CMD_SEEK_OUT, 2, do_relative_seek },
  { EXACT, CMD_SEEK_IN, 2, do_relative_seek },
};

static const Command *
find_command (uint8_t byte)
{
  for (unsigned i = 0; i < G_N_ELEMENTS (commands); i++)
    if ((byte & commands[i].mask) == commands[i].code)
      return &commands[i];
  return NULL;
}

static void
write_command (Fdc *f, uint8_t byte)
{
  const Command *command = find_command (f->n_command ? f->command[0] : byte);
  if (!command)
    {
      tn_device_log (f->device, TN_LOG_DEBUG, "there is no command %02x", byte);
      invalid (f);
      return;
    }
  f->n_expected = 1 + command->parameters;
  f->command[f->n_command++] = byte;
  if (f->n_command < f->n_expected)
    return;
  if (command->run == do_execute)
    f->irq_sense = false; /* so that its end is an edge, whatever was not sensed before */
  command->run (f);
}

/* ---- Reset ---- */

/* All that a reset by DOR or DSR does; with LOCK, CONFIGURE's settings of the FIFO stay. */
static void
begin_reset (Fdc *f)
{
  fdc_execute_abort (f);
  fdc_finish (f, 0, false);
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    fdc_drive_reset (&f->drives[i]);
  f->n_command = f->n_expected = 0;
  f->poll = 0;
  f->irq_sense = false;
  f->perpendicular &= 0x3c;
  f->configure &= CONFIGURE_NO_FIFO | CONFIGURE_THRESHOLD;
  if (!f->lock)
    {
      f->configure = CONFIGURE_NO_FIFO;
      f->precompensation = 0;
    }
  f->configured = f->lock && f->configured;
  f->resetting = true;
  f->reset_due = TN_TIME_NEVER;
  tn_timer_cancel (f->reset_timer);
  fdc_update_irq (f);
}

static void
end_reset (Fdc *f)
{
  f->reset_due = tn_device_now (f->device) + RESET_TIME;
  tn_timer_set (f->reset_timer, f->reset_due);
}

/* The drives look as if they had become ready. */
static void
reset_event (void *self, void *data)
{
  Fdc *f = self;
  f->resetting = false;
  f->reset_due = TN_TIME_NEVER;
  f->poll = 0x0f;
  f->irq_sense = true;
  fdc_update_irq (f);
}

/* ---- Registers ---- */

static void
write_dor (Fdc *f, uint8_t value)
{
  uint8_t old = f->dor;
  f->dor = value;
  if (old & ~value & DOR_RUN)
    begin_reset (f);
  else if (value & ~old & DOR_RUN)
    end_reset (f);
  if ((old ^ value) & DOR_MOTORS)
    {
      tn_device_emit (f->device, "motors", value >> 4);
      fdc_execute_motors (f);
    }
  fdc_update_request (f);
  fdc_update_irq (f);
}

static void
write_dsr (Fdc *f, uint8_t value)
{
  f->dsr = value & ~DSR_RESET;
  f->rate_known = true;
  if (!(value & DSR_RESET) || !(f->dor & DOR_RUN))
    return;
  f->dsr &= ~DSR_POWER_DOWN;
  begin_reset (f);
  end_reset (f);
}

static uint8_t
read_msr (const Fdc *f)
{
  uint8_t msr = 0;
  if (f->resetting)
    return 0;
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    if ((f->drives[i].seeking && !f->drives[i].implied) || f->drives[i].ended)
      msr |= 1 << i;
  if (f->n_result)
    return msr | MSR_RQM | MSR_DIO | MSR_CB;
  if (f->stage == STAGE_NONE)
    return msr | MSR_RQM | (f->n_command ? MSR_CB : 0);
  if (f->specify[1] & SPECIFY_ND)
    msr |= MSR_NDMA;
  if (wants_byte (f))
    msr |= MSR_RQM | (f->stage == STAGE_TO_HOST ? MSR_DIO : 0);
  return msr | MSR_CB;
}

static uint8_t
read_fifo (Fdc *f)
{
  uint8_t byte;
  if (wants_byte (f) && f->stage == STAGE_TO_HOST)
    {
      byte = fdc_pio_read (f);
      byte_moved (f);
      return byte;
    }
  if (!f->n_result)
    {
      tn_device_log (f->device, TN_LOG_GUEST_ERROR, "the FIFO is read, but there is no result");
      return 0;
    }
  byte = f->result[f->result_pos++];
  if (f->result_pos == f->n_result)
    f->n_result = f->result_pos = 0;
  f->irq_result = false;
  fdc_update_irq (f);
  return byte;
}

static void
write_fifo (Fdc *f, uint8_t byte)
{
  if (f->resetting)
    return;
  if (wants_byte (f) && f->stage == STAGE_FROM_HOST)
    {
      fdc_pio_write (f, byte);
      byte_moved (f);
      return;
    }
  if (f->n_result || f->stage != STAGE_NONE)
    {
      tn_device_log (f->device, TN_LOG_GUEST_ERROR, "%02x written while the controller is busy",
                     byte);
      return;
    }
  write_command (f, byte);
  fdc_update_irq (f);
}

/* Only the selected drive, if its motor runs, drives the line. */
static uint8_t
read_dir (const Fdc *f)
{
  unsigned n = f->dor & DOR_DRIVE;
  bool selected = f->drives[n].block && (f->dor & 0x10 << n);
  return (selected && f->drives[n].changed ? DIR_CHANGED : 0) | (uint8_t) ~DIR_CHANGED;
}

static uint32_t
fdc_read (void *self, uint32_t offset, unsigned size)
{
  Fdc *f = self;
  switch (offset)
    {
    case REG_DOR: return f->dor;
    case REG_TDR: return 0xfc | f->tdr;
    case REG_MSR_DSR: return read_msr (f);
    default: return read_fifo (f);
    }
}

static void
fdc_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Fdc *f = self;
  switch (offset)
    {
    case REG_DOR: write_dor (f, value); break;
    case REG_TDR: f->tdr = value & 3; break;
    case REG_MSR_DSR: write_dsr (f, value); break;
    default: write_fifo (f, value);
    }
}

static uint32_t
fdc_read_dir (void *self, uint32_t offset, unsigned size)
{
  return read_dir (self);
}

static void
fdc_write_ccr (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Fdc *f = self;
  f->dsr = (f->dsr & ~DSR_RATE) | (value & DSR_RATE);
  f->rate_known = true;
}

/* ---- Life cycle ---- */

/* What kinds of drives there are, for the setup program's memory. */
static void
publish_types (Fdc *f)
{
  static const char *const facts[FDC_CONNECTORS] = { "floppy-a", "floppy-b" };
  for (unsigned i = 0; i < FDC_CONNECTORS; i++)
    tn_device_publish (f->device, facts[i], f->drives[i].type);
}

static bool
fdc_realize (void *self, GError **error)
{
  static const TnBusOps ops = { .read = fdc_read, .write = fdc_write, .max_size = 1 };
  static const TnBusOps last_ops = { .read = fdc_read_dir, .write = fdc_write_ccr, .max_size = 1 };
  Fdc *f = self;
  char name[16];

  if (f->port & 7)
    return tn_device_fail (f->device, error, TN_ERROR_CONFIG, "port 0x%x is not a multiple of 8",
                           f->port);
  if (!tn_device_add_ports (f->device, f->port + FIRST_PORT, N_REGS, &ops, TN_REGION_DEFAULT, error)
      || !tn_device_add_ports (f->device, f->port + PORT_DIR_CCR, 1, &last_ops, TN_REGION_DEFAULT,
                               error))
    return false;
  g_snprintf (name, sizeof name, "isa:%u", f->irq);
  f->line = tn_device_line (f->device, name);
  f->dma = tn_device_dma_channel (f->device, f->dma_channel, fdc_dma_transfer, NULL, error);
  if (!f->dma)
    return false;
  f->reset_timer = tn_device_timer_new (f->device, "reset", reset_event, NULL);
  f->stage_timer = tn_device_timer_new (f->device, "stage", fdc_stage_event, NULL);
  f->pulse_timer = tn_device_timer_new (f->device, "pulse", pulse_event, NULL);
  f->stage_due = f->reset_due = TN_TIME_NEVER;
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    if (!fdc_drive_init (&f->drives[i], f, i, error))
      return false;
  publish_types (f);
  return true;
}

/* RESET (pin 32).  The drives have none: heads and change lines stay. */
static void
fdc_reset (void *self)
{
  Fdc *f = self;
  f->lock = f->configured = false;
  begin_reset (f);
  f->dor = f->tdr = 0;
  f->dsr = RATE_250K;
  f->rate_known = false;
  f->perpendicular = 0;
  memset (f->specify, 0, sizeof f->specify);
  memset (f->command, 0, sizeof f->command);
  memset (f->result, 0, sizeof f->result);
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    f->drives[i].pcn = 0;
  fdc_update_irq (f);
}

static bool
fdc_restored (void *self, GError **error)
{
  Fdc *f = self;
  int64_t now = tn_device_now (f->device);
  bool valid = f->tdr <= 3 && !(f->dsr & DSR_RESET) && f->poll <= 0x0f && f->n_result <= FDC_RESULT
               && (f->result_pos < f->n_result || !f->result_pos) && f->n_command <= FDC_COMMAND
               && !(f->configure & ~CONFIGURE_KEPT) && !(f->perpendicular & ~0x3f)
               && (!f->n_result || f->stage == STAGE_NONE)
               && (f->resetting == !(f->dor & DOR_RUN) || f->reset_due != TN_TIME_NEVER)
               && (f->reset_due == TN_TIME_NEVER || f->reset_due - now <= TN_NS_PER_S)
               && (!f->pulse || f->pulse_due - now <= TN_NS_PER_S);
  if (valid && f->n_command)
    {
      const Command *command = find_command (f->command[0]);
      f->n_expected = command ? 1 + command->parameters : 0;
      valid = f->stage == STAGE_NONE ? f->n_command < f->n_expected
                                     : f->n_command == f->n_expected && command->run == do_execute;
    }
  else if (f->stage != STAGE_NONE)
    valid = false;
  for (unsigned i = 0; i < FDC_DRIVES; i++)
    valid = valid && fdc_drive_restored (&f->drives[i]);
  if (!valid || !fdc_execute_restored (f))
    return tn_device_fail (f->device, error, TN_ERROR_STATE, "the controller cannot be so");
  publish_types (f);
  if (f->reset_due != TN_TIME_NEVER)
    tn_timer_set (f->reset_timer, f->reset_due);
  if (f->pulse)
    tn_timer_set (f->pulse_timer, f->pulse_due);
  fdc_update_request (f);
  fdc_update_irq (f);
  return true;
}

/* ---- Descriptor ---- */

static const char *const drive_types[]
    = { "none", "360k", "1.2m", "720k", "1.44m", "2.88m", "auto", NULL };

static const TnProperty props[] = {
  TN_PROP_UINT (Fdc, port, "port", "first of eight I/O ports", 0x3f0, 0, 0xfff8),
  TN_PROP_UINT (Fdc, irq, "irq", "ISA interrupt, 0 to 15", 6, 0, 15),
  TN_PROP_UINT (Fdc, dma_channel, "dma", "ISA DMA channel, 0 to 3", 2, 0, 3),
  TN_PROP_LINK (Fdc, links[0], "drive-a", "disk image of drive A", TN_KIND_BLOCK),
  TN_PROP_LINK (Fdc, links[1], "drive-b", "disk image of drive B", TN_KIND_BLOCK),
  TN_PROP_ENUM (Fdc, types[0], "drive-a-type", "drive A; auto is what its first medium is made for",
                DRIVE_AUTO, drive_types),
  TN_PROP_ENUM (Fdc, types[1], "drive-b-type", "drive B", DRIVE_AUTO, drive_types),
  TN_PROP_BOOL (Fdc, fast, "fast", "disks turn and heads step two hundred times as fast", false),
  TN_PROP_BOOL (Fdc, any_rate, "any-rate",
                "media are read at any data rate, for a BIOS that does not look for theirs", false),
  TN_PROP_END,
};

static const TnSignal signals[] = {
  TN_SIGNAL_VALUE ("motors", "motors went on or off: one bit a drive"),
  TN_SIGNAL_VALUE ("access", "a command reads or writes: number of the drive"),
  TN_SIGNAL_END,
};

static const TnField drive_fields[] = {
  TN_FIELD (FdcDrive, track, 1),         TN_FIELD (FdcDrive, changed, 1),
  TN_FIELD (FdcDrive, pcn, 1),           TN_FIELD (FdcDrive, seeking, 1),
  TN_FIELD_TIME (FdcDrive, seek_due, 1), TN_FIELD (FdcDrive, seek_steps, 1),
  TN_FIELD (FdcDrive, seek_pcn, 1),      TN_FIELD (FdcDrive, seek_in, 1),
  TN_FIELD (FdcDrive, calibrate, 1),     TN_FIELD (FdcDrive, implied, 1),
  TN_FIELD (FdcDrive, ended, 1),         TN_FIELD (FdcDrive, seek_status, 1),
  TN_FIELD (FdcDrive, type, 2),          TN_FIELD_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Fdc, drives, FDC_DRIVES, drive_fields, 1),
  TN_FIELD (Fdc, dor, 1),
  TN_FIELD (Fdc, tdr, 1),
  TN_FIELD (Fdc, dsr, 1),
  TN_FIELD (Fdc, rate_known, 1),
  TN_FIELD (Fdc, resetting, 1),
  TN_FIELD_TIME (Fdc, reset_due, 1),
  TN_FIELD (Fdc, poll, 1),
  TN_FIELD (Fdc, irq_result, 1),
  TN_FIELD (Fdc, irq_sense, 1),
  TN_FIELD (Fdc, command, 1),
  TN_FIELD (Fdc, n_command, 1),
  TN_FIELD (Fdc, result, 1),
  TN_FIELD (Fdc, n_result, 1),
  TN_FIELD (Fdc, result_pos, 1),
  TN_FIELD (Fdc, specify, 1),
  TN_FIELD (Fdc, configure, 1),
  TN_FIELD (Fdc, configured, 1),
  TN_FIELD (Fdc, precompensation, 1),
  TN_FIELD (Fdc, perpendicular, 1),
  TN_FIELD (Fdc, lock, 1),
  TN_FIELD (Fdc, stage, 1),
  TN_FIELD_TIME (Fdc, stage_due, 1),
  TN_FIELD_TIME (Fdc, sector_end, 1),
  TN_FIELD (Fdc, c, 1),
  TN_FIELD (Fdc, h, 1),
  TN_FIELD (Fdc, r, 1),
  TN_FIELD (Fdc, head, 1),
  TN_FIELD (Fdc, st, 1),
  TN_FIELD (Fdc, left, 1),
  TN_FIELD (Fdc, scan, 1),
  TN_FIELD (Fdc, terminal_count, 1),
  TN_FIELD (Fdc, wrong_mark, 1),
  TN_FIELD (Fdc, buffer, 1),
  TN_FIELD (Fdc, sector, 1),
  TN_FIELD (Fdc, pos, 1),
  TN_FIELD (Fdc, length, 1),
  TN_FIELD (Fdc, pulse, 1),
  TN_FIELD_TIME (Fdc, pulse_due, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "port+2", "DOR: motors, gate, reset, drive" }, { "port+3", "TDR" },
  { "port+4", "MSR (read), DSR (write)" },         { "port+5", "FIFO" },
  { "port+7", "DIR (read), CCR (write)" },         { "IRQ irq", "while DOR bit 3 is set" },
  { "DMA dma", "while DOR bit 3 is set" },         { NULL, NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "fdc",
  .summary = "Floppy disk controller with two drives",
  .document = "Intel 290166 (82077AA), 210606 (8272A)",
  .kind = TN_KIND_DEVICE,
  .state_version = 2,
  .instance_size = sizeof (Fdc),
  .properties = props,
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = fdc_realize, .reset = fdc_reset, .restored = fdc_restored },
};
