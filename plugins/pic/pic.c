/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two cascaded 8259A interrupt controllers with the edge/level registers of the PIIX4, after
 * Intel's 8259A data sheet (231468) and the 82371AB data sheet (290562).
 *
 *   20 21    master: ICW1/OCW2/OCW3 and ICW2-4/OCW1; slave on IR2
 *   A0 A1    slave
 *   4D0 4D1  ELCR: a one makes the input level-triggered; IRQ 0, 1, 2, 8 and 13 stay edge-triggered
 *
 * An edge-triggered request disappears when its input falls before INTA, which then answers with
 * IR7 and sets no ISR bit, as the part does.  While an input is level-triggered its request is the
 * line.
 *
 * Departures: ICW1.LTIM and ICW1.SNGL, and the cascade number of ICW3, have no effect: the PIIX4
 * ties them down.  MCS-80 mode does not exist.  The slave's INT is a level for the master's IR2,
 * so that a second request of the slave is not lost when INT does not fall between two INTA
 * cycles.
 */
#include <tenon/tenon.h>

#include <string.h>

enum {
  ICW1_IC4 = 0x01,
  ICW1_INIT = 0x10,
  ICW2_BASE = 0xf8,
  ICW4_AEOI = 0x02,
  ICW4_SFNM = 0x10,

  OCW2_EOI = 0x20,
  OCW2_SL = 0x40,
  OCW2_R = 0x80,
  OCW2_LEVEL = 0x07,

  OCW3 = 0x08,
  OCW3_RIS = 0x01,
  OCW3_RR = 0x02,
  OCW3_POLL = 0x04,
  OCW3_SMM = 0x20,
  OCW3_ESMM = 0x40,

  POLL_REQUEST = 0x80,
  CASCADE = 1 << 2, /* the master's input that the slave drives */
  SPURIOUS_LEVEL = 7,
};

/* What the next write to the odd port means. */
enum { EXPECT_OCW1, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4, EXPECT_LAST_ = EXPECT_ICW4 };

typedef struct {
  uint8_t edge;   /* latched requests of edge-triggered inputs */
  uint8_t inputs; /* levels of the inputs */
  uint8_t elcr;
  uint8_t isr, imr;
  uint8_t base;   /* vector of IR0 */
  uint8_t lowest; /* input that has the lowest priority */
  uint8_t expect;
  bool wants_icw4;
  bool aeoi, rotate_aeoi, sfnm, special_mask;
  bool read_isr, poll;
} Chip;

typedef struct {
  TnDevice *device;
  TnLine *intr;
  Chip chip[2]; /* master, slave */
} Pic;

static const uint8_t elcr_mask[2] = { 0xf8, 0xde };

static uint8_t
requests (const Chip *c)
{
  return (c->elcr & c->inputs) | (~c->elcr & c->edge);
}

/* The input that INT stands for, or -1. */
static int
resolve (const Chip *c)
{
  uint8_t wanted = requests (c) & ~c->imr;
  for (unsigned i = 1; wanted != 0 && i <= 8; i++)
    {
      unsigned level = (c->lowest + i) & 7;
      uint8_t bit = 1 << level;
      bool in_service = c->isr & bit;
      if (in_service && !c->special_mask && !(c->sfnm && bit == CASCADE))
        return -1;
      if ((wanted & bit) && (!in_service || !c->special_mask))
        return level;
      if (in_service && !c->special_mask)
        return -1;
    }
  return -1;
}

static void
update_irq (Pic *p)
{
  Chip *master = &p->chip[0];
  bool slave_int = resolve (&p->chip[1]) >= 0;
  master->edge = slave_int ? master->edge | CASCADE : master->edge & ~CASCADE;
  tn_line_set (p->intr, resolve (master) >= 0);
}

static void
line_changed (void *self, bool level, void *data)
{
  Pic *p = self;
  unsigned irq = GPOINTER_TO_UINT (data);
  Chip *c = &p->chip[irq >> 3];
  uint8_t bit = 1 << (irq & 7);
  if (level)
    {
      c->edge |= bit & ~c->inputs;
      c->inputs |= bit;
    }
  else
    {
      c->edge &= ~bit;
      c->inputs &= ~bit;
    }
  update_irq (p);
}

/* ---- Acknowledge and end of interrupt ---- */

/* The part's side of an INTA or poll; returns the input, or -1 where nothing asks any more. */
static int
acknowledge (Chip *c)
{
  int level = resolve (c);
  if (level < 0)
    return -1;
  c->edge &= ~(1 << level);
  if (!c->aeoi)
    c->isr |= 1 << level;
  else if (c->rotate_aeoi)
    c->lowest = level;
  return level;
}

static uint8_t
inta (void *self)
{
  Pic *p = self;
  Chip *c = &p->chip[0];
  int level = acknowledge (c);
  if (level >= 0 && 1 << level == CASCADE)
    {
      c = &p->chip[1];
      level = acknowledge (c);
    }
  update_irq (p);
  return c->base + (level >= 0 ? level : SPURIOUS_LEVEL);
}

static uint8_t
poll (Pic *p, Chip *c)
{
  c->poll = false;
  int level = acknowledge (c);
  update_irq (p);
  return level >= 0 ? POLL_REQUEST | level : 0;
}

/* Non-specific EOI: the input in service with the highest priority, or -1.  In special mask mode
   the masked ones do not count. */
static int
highest_in_service (const Chip *c)
{
  uint8_t isr = c->special_mask ? c->isr & ~c->imr : c->isr;
  for (unsigned i = 1; i <= 8; i++)
    if (isr & 1 << ((c->lowest + i) & 7))
      return (c->lowest + i) & 7;
  return -1;
}

static void
ocw2_write (Chip *c, uint8_t value)
{
  int level = value & OCW2_SL ? value & OCW2_LEVEL : highest_in_service (c);
  switch (value & (OCW2_R | OCW2_SL | OCW2_EOI))
    {
    case OCW2_R: c->rotate_aeoi = true; break;
    case 0: c->rotate_aeoi = false; break;
    case OCW2_R | OCW2_SL: c->lowest = level; break;
    case OCW2_SL: /* no operation */ break;
    default: /* the four forms of EOI */
      if (level < 0)
        break;
      c->isr &= ~(1 << level);
      if (value & OCW2_R)
        c->lowest = level;
    }
}

/* ---- Ports ---- */

static void
icw1_write (Chip *c, uint8_t value)
{
  c->edge = 0;
  c->isr = c->imr = 0;
  c->lowest = 7;
  c->special_mask = c->read_isr = c->poll = c->rotate_aeoi = false;
  c->wants_icw4 = value & ICW1_IC4;
  if (!c->wants_icw4)
    c->aeoi = c->sfnm = false;
  c->expect = EXPECT_ICW2;
}

static void
ocw3_write (Chip *c, uint8_t value)
{
  if (value & OCW3_ESMM)
    c->special_mask = value & OCW3_SMM;
  c->poll = value & OCW3_POLL;
  if (value & OCW3_RR)
    c->read_isr = value & OCW3_RIS;
}

static void
odd_write (Chip *c, uint8_t value)
{
  switch (c->expect)
    {
    case EXPECT_OCW1: c->imr = value; return;
    case EXPECT_ICW2:
      c->base = value & ICW2_BASE;
      c->expect = EXPECT_ICW3;
      return;
    case EXPECT_ICW3: c->expect = c->wants_icw4 ? EXPECT_ICW4 : EXPECT_OCW1; return;
    case EXPECT_ICW4:
      c->aeoi = value & ICW4_AEOI;
      c->sfnm = value & ICW4_SFNM;
      c->expect = EXPECT_OCW1;
      return;
    }
}

static void
chip_write (Pic *p, Chip *c, uint32_t offset, uint8_t value)
{
  if (offset & 1)
    odd_write (c, value);
  else if (value & ICW1_INIT)
    icw1_write (c, value);
  else if (value & OCW3)
    ocw3_write (c, value);
  else
    ocw2_write (c, value);
  update_irq (p);
}

static uint8_t
chip_read (Pic *p, Chip *c, uint32_t offset)
{
  if (c->poll)
    return poll (p, c);
  if (offset & 1)
    return c->imr;
  return c->read_isr ? c->isr : requests (c);
}

static uint32_t
master_read (void *self, uint32_t offset, unsigned size)
{
  Pic *p = self;
  return chip_read (p, &p->chip[0], offset);
}

static void
master_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Pic *p = self;
  chip_write (p, &p->chip[0], offset, value);
}

static uint32_t
slave_read (void *self, uint32_t offset, unsigned size)
{
  Pic *p = self;
  return chip_read (p, &p->chip[1], offset);
}

static void
slave_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Pic *p = self;
  chip_write (p, &p->chip[1], offset, value);
}

static uint32_t
elcr_read (void *self, uint32_t offset, unsigned size)
{
  Pic *p = self;
  return p->chip[offset & 1].elcr;
}

static void
elcr_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Pic *p = self;
  p->chip[offset & 1].elcr = value & elcr_mask[offset & 1];
  update_irq (p);
}

static const TnBusOps master_ops = { .read = master_read, .write = master_write, .max_size = 1 };
static const TnBusOps slave_ops = { .read = slave_read, .write = slave_write, .max_size = 1 };
static const TnBusOps elcr_ops = { .read = elcr_read, .write = elcr_write, .max_size = 1 };

/* ---- Life cycle ---- */

static bool
pic_realize (void *self, GError **error)
{
  Pic *p = self;
  if (!tn_device_add_ports (p->device, 0x20, 2, &master_ops, TN_IO_FAST, error)
      || !tn_device_add_ports (p->device, 0xa0, 2, &slave_ops, TN_IO_FAST, error)
      || !tn_device_add_ports (p->device, 0x4d0, 2, &elcr_ops, TN_REGION_DEFAULT, error)
      || !tn_device_provide_inta (p->device, inta, error))
    return false;
  p->intr = tn_device_line (p->device, "cpu:intr");
  for (unsigned irq = 0; irq < 16; irq++)
    {
      if (irq == 2) /* the cascade */
        continue;
      char name[8];
      g_snprintf (name, sizeof name, "isa:%u", irq);
      tn_device_watch_line (p->device, name, line_changed, GUINT_TO_POINTER (irq));
    }
  return true;
}

/* The part has no reset pin: all is undefined until ICW1.  Masking everything is harmless.  Inputs
   are wires and keep their levels. */
static void
pic_reset (void *self)
{
  Pic *p = self;
  for (unsigned i = 0; i < 2; i++)
    {
      uint8_t inputs = p->chip[i].inputs;
      p->chip[i] = (Chip){ .inputs = inputs, .imr = 0xff, .base = i ? 0x70 : 0x08, .lowest = 7 };
    }
  update_irq (p);
}

static bool
pic_restored (void *self, GError **error)
{
  Pic *p = self;
  for (unsigned i = 0; i < 2; i++)
    {
      const Chip *c = &p->chip[i];
      if (c->lowest > 7 || c->expect > EXPECT_LAST_ || (c->base & ~ICW2_BASE)
          || (c->elcr & ~elcr_mask[i]))
        return tn_device_fail (p->device, error, TN_ERROR_STATE,
                               "chip %u: lowest %u, expect %u, base 0x%x, ELCR 0x%x cannot be", i,
                               c->lowest, c->expect, c->base, c->elcr);
    }
  update_irq (p);
  return true;
}

static const TnField chip_fields[] = {
  TN_FIELD (Chip, edge, 1),         TN_FIELD (Chip, inputs, 1),
  TN_FIELD (Chip, elcr, 1),         TN_FIELD (Chip, isr, 1),
  TN_FIELD (Chip, imr, 1),          TN_FIELD (Chip, base, 1),
  TN_FIELD (Chip, lowest, 1),       TN_FIELD (Chip, expect, 1),
  TN_FIELD (Chip, wants_icw4, 1),   TN_FIELD (Chip, aeoi, 1),
  TN_FIELD (Chip, rotate_aeoi, 1),  TN_FIELD (Chip, sfnm, 1),
  TN_FIELD (Chip, special_mask, 1), TN_FIELD (Chip, read_isr, 1),
  TN_FIELD (Chip, poll, 1),         TN_FIELD_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Pic, chip, 2, chip_fields, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "20h-21h", "master 8259A" },
  { "A0h-A1h", "slave 8259A" },
  { "4D0h-4D1h", "edge/level control of IRQ 0-7 and 8-15" },
  { "isa:0-isa:15", "inputs IRQ 0-15 (IRQ 2 is the cascade)" },
  { "cpu:intr", "output INTR" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "pic",
  .summary = "two 8259A interrupt controllers and ELCR",
  .document = "Intel 231468 (8259A), 290562 (82371AB)",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Pic),
  .fields = fields,
  .io = io,
  .ops = { .realize = pic_realize, .reset = pic_reset, .restored = pic_restored },
};
