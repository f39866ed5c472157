/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two cascaded 8237A DMA controllers and the page registers of the PIIX4, after Intel's 8237A data
 * sheet (231466) and the 82371AB data sheet (290562).
 *
 *   00-07     address and count of channels 0-3      C0-CE  the same of 4-7, every second port
 *   08 (D0)   R status, W command                    09 (D2)  W request
 *   0A (D4)   W single mask                          0B (D6)  W mode
 *   0C (D8)   W clear flip-flop                      0D (DA)  R temporary, W master clear
 *   0E (DC)   W clear all masks                      0F (DE)  R/W all masks
 *   80-8F     page registers: 87 83 81 82 channels 0-3, 8B 89 8A channels 5-7; rest scratch
 *
 * Channels 0-3 move bytes within a 64 KiB page, 5-7 words within 128 KiB.  They reach the bus
 * through channel 4, which must be unmasked and in cascade mode.  How many bytes go at once is the
 * requester's choice; the transfer mode (demand, single, block) makes no difference in time here.
 *
 * Departures: no memory-to-memory transfers, no address hold, fixed polarity of DREQ and DACK,
 * fixed priority; transfers take no time.  The PIIX4 has none of this either, but for the rotating
 * priority.
 */
#include <tenon/tenon.h>

#include <string.h>

enum {
  REG_STATUS_COMMAND = 8,
  REG_REQUEST,
  REG_MASK,
  REG_MODE,
  REG_CLEAR_FF,
  REG_MASTER_CLEAR,
  REG_CLEAR_MASKS,
  REG_ALL_MASKS
};

enum {
  COMMAND_DISABLE = 0x04,
  CHANNEL = 0x03,
  SET = 0x04, /* of the request and single mask registers */
  MODE_TRANSFER = 0x0c,
  MODE_VERIFY = 0x00,
  MODE_WRITE = 0x04, /* to memory */
  MODE_READ = 0x08,
  MODE_AUTO = 0x10,
  MODE_DOWN = 0x20,
  MODE_KIND = 0xc0,
  MODE_CASCADE = 0xc0,
  MODE_KEPT = 0xfc,
};

/* Bytes moved before the rest waits for a while: no request holds up the machine. */
#define BURST (64 * 1024)
#define CHUNK 4096

typedef struct {
  uint16_t base_address, base_count, address, count;
  uint8_t mode; /* without the channel number */
} Channel;

typedef struct {
  Channel channel[4];
  uint8_t command;
  uint8_t status; /* terminal counts */
  uint8_t request, mask;
  bool high; /* flip-flop: the next access is to the high byte */
} Chip;

typedef struct {
  TnDevice *device;
  TnTimer *timer;
  Chip chip[2];
  uint8_t page[16];
  int64_t resume_at; /* when an interrupted burst goes on, or TN_TIME_NEVER */
  bool running;      /* inside service (): requesters may change DREQ meanwhile */
  bool again;        /* ... and did */
} Dma;

/* Page register of each channel, as an offset from port 80h. */
static const uint8_t page_of[8] = { 7, 3, 1, 2, 15, 11, 9, 10 };

/* ---- Transfers ---- */

static bool
requested (Dma *d, unsigned n)
{
  return tn_device_dma_dreq (d->device, n) || (d->chip[n >> 2].request & 1 << (n & 3));
}

static bool
may_run (const Dma *d, unsigned n)
{
  const Chip *c = &d->chip[n >> 2];
  const Channel *ch = &c->channel[n & 3];
  unsigned transfer = ch->mode & MODE_TRANSFER;
  if ((c->command & COMMAND_DISABLE) || (c->mask & 1 << (n & 3)) || transfer == MODE_TRANSFER
      || (ch->mode & MODE_KIND) == MODE_CASCADE)
    return false;
  if (n >= 4)
    return true;
  const Chip *second = &d->chip[1];
  return !(second->command & COMMAND_DISABLE) && !(second->mask & 1)
         && (second->channel[0].mode & MODE_KIND) == MODE_CASCADE;
}

static uint32_t
physical (const Dma *d, unsigned n)
{
  const Channel *ch = &d->chip[n >> 2].channel[n & 3];
  uint32_t page = d->page[page_of[n]];
  return n < 4 ? page << 16 | ch->address : (page & 0xfe) << 16 | (uint32_t) ch->address << 1;
}

/* Units (bytes, words) that can go at once: to terminal count, the end of the page, a chunk. */
static uint32_t
units_at_once (const Channel *ch, uint32_t limit)
{
  uint32_t to_wrap = ch->mode & MODE_DOWN ? ch->address + 1u : 0x10000u - ch->address;
  return MIN (MIN (ch->count + 1u, to_wrap), limit);
}

/* A descending transfer takes units from the highest address to the lowest. */
static void
reverse (uint8_t *data, uint32_t size, unsigned width)
{
  for (uint32_t i = 0, j = size - width; i < j; i += width, j -= width)
    {
      for (unsigned k = 0; k < width; k++)
        {
          uint8_t byte = data[i + k];
          data[i + k] = data[j + k];
          data[j + k] = byte;
        }
    }
}

static void
terminal_count (Chip *c, unsigned n)
{
  Channel *ch = &c->channel[n];
  c->status |= 1 << n;
  c->request &= ~(1 << n);
  if (ch->mode & MODE_AUTO)
    {
      ch->address = ch->base_address;
      ch->count = ch->base_count;
    }
  else
    {
      c->mask |= 1 << n;
    }
}

/* Moves one chunk; returns how many bytes, and in *more whether the requester took all of it. */
static uint32_t
transfer (Dma *d, unsigned n, bool *more)
{
  Chip *c = &d->chip[n >> 2];
  Channel *ch = &c->channel[n & 3];
  unsigned width = n < 4 ? 1 : 2;
  uint8_t data[CHUNK];
  uint32_t units = units_at_once (ch, CHUNK / width);
  uint32_t size = units * width;
  bool down = ch->mode & MODE_DOWN;
  bool tc = units == ch->count + 1u;
  unsigned kind = ch->mode & MODE_TRANSFER;
  uint32_t address = physical (d, n);

  if (kind == MODE_READ)
    {
      tn_device_mem_read (d->device, down ? address - (size - width) : address, data, size);
      if (down)
        reverse (data, size, width);
    }
  size_t done = tn_device_dma_service (d->device, n, data, size, kind != MODE_READ, tc);
  done = MIN (done, size) / width * width;
  *more = done == size;
  if (done == 0)
    return 0;
  if (kind == MODE_WRITE)
    {
      if (down)
        reverse (data, done, width);
      tn_device_mem_write (d->device, down ? address - (done - width) : address, data, done);
    }
  ch->address += down ? -(done / width) : done / width;
  ch->count -= done / width;
  if (tc && *more)
    terminal_count (c, n & 3);
  return done;
}

/* Serves a channel as long as it asks; returns whether it was cut short. */
static bool
serve_channel (Dma *d, unsigned n)
{
  uint32_t moved = 0;
  bool more = true;
  while (more && requested (d, n) && may_run (d, n))
    {
      if (moved >= BURST)
        return true;
      moved += transfer (d, n, &more);
    }
  return false;
}

static void
resume_later (Dma *d, bool cut)
{
  d->resume_at = cut ? tn_device_now (d->device) + 100 * TN_NS_PER_US : TN_TIME_NEVER;
  tn_timer_set (d->timer, d->resume_at);
}

/* Serves all channels that may run, in the order of priority: 0 to 3 (through 4), then 5 to 7. */
static void
service (Dma *d)
{
  if (d->running)
    {
      d->again = true;
      return;
    }
  d->running = true;
  bool cut = false;
  for (unsigned round = 0; round < 4; round++)
    {
      d->again = false;
      for (unsigned n = 0; n < 8; n++)
        if (n != 4 && requested (d, n))
          cut |= serve_channel (d, n);
      if (!d->again || cut)
        break;
    }
  d->running = false;
  if (cut || d->again || d->resume_at != TN_TIME_NEVER)
    resume_later (d, cut || d->again);
}

static void
dreq_changed (void *self, unsigned channel, bool level)
{
  if (level)
    service (self);
}

static void
resume (void *self, void *data)
{
  Dma *d = self;
  d->resume_at = TN_TIME_NEVER;
  service (d);
}

/* ---- Registers ---- */

static void
master_clear (Chip *c)
{
  c->command = c->status = c->request = 0;
  c->mask = 0x0f;
  c->high = false;
}

static void
set_byte (uint16_t *reg, bool high, uint8_t value)
{
  *reg = high ? (*reg & 0x00ff) | value << 8 : (*reg & 0xff00) | value;
}

static uint8_t
status (Dma *d, unsigned which)
{
  Chip *c = &d->chip[which];
  uint8_t value = c->status;
  for (unsigned i = 0; i < 4; i++)
    if (requested (d, which * 4 + i))
      value |= 0x10 << i;
  c->status = 0;
  return value;
}

static uint8_t
chip_read (Dma *d, unsigned which, unsigned reg)
{
  Chip *c = &d->chip[which];
  switch (reg)
    {
    case REG_STATUS_COMMAND: return status (d, which);
    case REG_MASTER_CLEAR: /* temporary register: only memory-to-memory transfers fill it */
      return 0;
    case REG_ALL_MASKS: return 0xf0 | c->mask;
    default:
      if (reg >= REG_STATUS_COMMAND)
        return 0xff;
    }
  const Channel *ch = &c->channel[reg >> 1];
  uint16_t value = reg & 1 ? ch->count : ch->address;
  c->high = !c->high;
  return c->high ? value : value >> 8;
}

static void
channel_write (Chip *c, unsigned reg, uint8_t value)
{
  Channel *ch = &c->channel[reg >> 1];
  set_byte (reg & 1 ? &ch->base_count : &ch->base_address, c->high, value);
  set_byte (reg & 1 ? &ch->count : &ch->address, c->high, value);
  c->high = !c->high;
}

static void
set_bit (uint8_t *reg, uint8_t value)
{
  uint8_t bit = 1 << (value & CHANNEL);
  *reg = value & SET ? *reg | bit : *reg & ~bit;
}

static void
chip_write (Dma *d, unsigned which, unsigned reg, uint8_t value)
{
  Chip *c = &d->chip[which];
  switch (reg)
    {
    case REG_STATUS_COMMAND: c->command = value; break;
    case REG_REQUEST: set_bit (&c->request, value); break;
    case REG_MASK: set_bit (&c->mask, value); break;
    case REG_MODE: c->channel[value & CHANNEL].mode = value & MODE_KEPT; break;
    case REG_CLEAR_FF: c->high = false; return;
    case REG_MASTER_CLEAR: master_clear (c); return;
    case REG_CLEAR_MASKS: c->mask = 0; break;
    case REG_ALL_MASKS: c->mask = value & 0x0f; break;
    default: channel_write (c, reg, value); return;
    }
  service (d);
}

static uint32_t
first_read (void *self, uint32_t offset, unsigned size)
{
  return chip_read (self, 0, offset);
}

static void
first_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  chip_write (self, 0, offset, value);
}

/* The second controller ignores address line 0. */
static uint32_t
second_read (void *self, uint32_t offset, unsigned size)
{
  return chip_read (self, 1, offset >> 1);
}

static void
second_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  chip_write (self, 1, offset >> 1, value);
}

static uint32_t
page_read (void *self, uint32_t offset, unsigned size)
{
  Dma *d = self;
  return d->page[offset];
}

static void
page_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Dma *d = self;
  d->page[offset] = value;
}

static const TnBusOps first_ops = { .read = first_read, .write = first_write, .max_size = 1 };
static const TnBusOps second_ops = { .read = second_read, .write = second_write, .max_size = 1 };
static const TnBusOps page_ops = { .read = page_read, .write = page_write, .max_size = 1 };

/* ---- Life cycle ---- */

static bool
dma_realize (void *self, GError **error)
{
  Dma *d = self;
  if (!tn_device_add_ports (d->device, 0x00, 16, &first_ops, TN_REGION_DEFAULT, error)
      || !tn_device_add_ports (d->device, 0xc0, 32, &second_ops, TN_REGION_DEFAULT, error)
      /* What a page register holds is seen by reads and by transfers. */
      || !tn_device_add_ports (d->device, 0x80, 16, &page_ops, TN_IO_FAST | TN_IO_POSTED, error)
      || !tn_device_provide_isa_dma (d->device, dreq_changed, error))
    return false;
  d->timer = tn_device_timer_new (d->device, "resume", resume, NULL);
  d->resume_at = TN_TIME_NEVER;
  return true;
}

static void
dma_reset (void *self)
{
  Dma *d = self;
  memset (d->page, 0, sizeof d->page);
  for (unsigned i = 0; i < 2; i++)
    {
      d->chip[i] = (Chip){ 0 };
      master_clear (&d->chip[i]);
    }
  resume_later (d, false);
}

static bool
dma_restored (void *self, GError **error)
{
  Dma *d = self;
  for (unsigned i = 0; i < 2; i++)
    {
      const Chip *c = &d->chip[i];
      bool ok = !((c->status | c->request | c->mask) & 0xf0);
      for (unsigned n = 0; n < 4; n++)
        ok = ok && !(c->channel[n].mode & ~MODE_KEPT);
      if (!ok)
        return tn_device_fail (d->device, error, TN_ERROR_STATE, "controller %u is out of range",
                               i);
    }
  if (d->resume_at != TN_TIME_NEVER && d->resume_at > tn_device_now (d->device) + TN_NS_PER_S)
    return tn_device_fail (d->device, error, TN_ERROR_STATE, "resume_at lies too far ahead");
  tn_timer_set (d->timer, d->resume_at);
  return true;
}

static const TnField channel_fields[] = {
  TN_FIELD (Channel, base_address, 1), TN_FIELD (Channel, base_count, 1),
  TN_FIELD (Channel, address, 1),      TN_FIELD (Channel, count, 1),
  TN_FIELD (Channel, mode, 1),         TN_FIELD_END,
};

static const TnField chip_fields[] = {
  TN_FIELD_STRUCT (Chip, channel, 4, channel_fields, 1),
  TN_FIELD (Chip, command, 1),
  TN_FIELD (Chip, status, 1),
  TN_FIELD (Chip, request, 1),
  TN_FIELD (Chip, mask, 1),
  TN_FIELD (Chip, high, 1),
  TN_FIELD_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Dma, chip, 2, chip_fields, 1),
  TN_FIELD (Dma, page, 1),
  TN_FIELD_TIME (Dma, resume_at, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "00h-0Fh", "controller 1, channels 0-3 (8 bit)" },
  { "C0h-DFh", "controller 2, channels 4-7 (4 the cascade, 5-7 16 bit), every second port" },
  { "80h-8Fh", "page registers; the rest, port 80h too, is scratch" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "dma",
  .summary = "two 8237A DMA controllers and page registers",
  .document = "Intel 231466 (8237A), 290562 (82371AB)",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Dma),
  .fields = fields,
  .io = io,
  .ops = { .realize = dma_realize, .reset = dma_reset, .restored = dma_restored },
};
