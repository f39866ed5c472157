/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PIIX4 function 2: USB host controller with two empty ports, 32 ports at BAR 4.
 * After Universal Host Controller Interface design guide 1.1.
 *
 *   00 USBCMD  02 USBSTS  04 USBINTR  06 FRNUM  08 FRBASEADD  0C SOFMOD  10 12 PORTSC1-2
 *
 * With nothing plugged in no transfer descriptor can complete, so the schedule is not walked; the
 * frame counter runs, which is what drivers watch.
 */
#include "piix4.h"

#include <string.h>

enum { USBCMD = 0, USBSTS = 2, USBINTR = 4, FRNUM = 6, FRBASEADD = 8, SOFMOD = 0x0c, PORTSC = 0x10 };

#define CMD_RS 0x0001
#define CMD_HCRESET 0x0002
#define CMD_GRESET 0x0004
#define CMD_MASK 0x00ff
#define STS_HALTED 0x0020
#define FRAME_MASK 0x07ff
#define PORTSC_ALWAYS 0x0080
#define PORTSC_MASK 0x1244 /* reset, suspend, resume detect, enable (needs a device) */
#define FRAME_NS TN_NS_PER_MS

static uint16_t
frame_now (Piix4 *p)
{
  Uhci *u = &p->uhci;
  if (u->started == TN_TIME_NEVER)
    return u->frame;
  return (u->frame + (tn_device_now (p->device) - u->started) / FRAME_NS) & FRAME_MASK;
}

static void
chip_reset (Piix4 *p)
{
  p->uhci = (Uhci) { .usbsts = STS_HALTED, .sofmod = 0x40, .started = TN_TIME_NEVER,
                     .portsc = { PORTSC_ALWAYS, PORTSC_ALWAYS } };
}

static void
usbcmd_write (Piix4 *p, uint16_t value)
{
  Uhci *u = &p->uhci;
  if (value & (CMD_HCRESET | CMD_GRESET))
    {
      chip_reset (p);
      u->usbcmd = value & CMD_GRESET; /* HCRESET clears itself; GRESET is the driver's to clear */
      return;
    }
  u->frame = frame_now (p);
  u->started = value & CMD_RS ? tn_device_now (p->device) : TN_TIME_NEVER;
  u->usbcmd = value & CMD_MASK;
  u->usbsts = (u->usbsts & ~STS_HALTED) | (value & CMD_RS ? 0 : STS_HALTED);
}

static uint16_t
uhci_read16 (Piix4 *p, unsigned reg)
{
  Uhci *u = &p->uhci;
  switch (reg)
    {
    case USBCMD: return u->usbcmd;
    case USBSTS: return u->usbsts;
    case USBINTR: return u->usbintr;
    case FRNUM: return frame_now (p);
    case FRBASEADD: return u->frbase;
    case FRBASEADD + 2: return u->frbase >> 16;
    case SOFMOD: return u->sofmod;
    case PORTSC: return u->portsc[0];
    case PORTSC + 2: return u->portsc[1];
    default: return 0;
    }
}

static void
uhci_write16 (Piix4 *p, unsigned reg, uint16_t value)
{
  Uhci *u = &p->uhci;
  switch (reg)
    {
    case USBCMD: usbcmd_write (p, value); break;
    case USBSTS: u->usbsts &= ~(value & 0x1f); break;
    case USBINTR: u->usbintr = value & 0x000f; break;
    case FRNUM:
      if (u->started == TN_TIME_NEVER)
        u->frame = value & FRAME_MASK;
      break;
    case FRBASEADD: u->frbase = (u->frbase & 0xffff0000) | (value & 0xf000); break;
    case FRBASEADD + 2: u->frbase = (u->frbase & 0xffff) | (uint32_t) value << 16; break;
    case SOFMOD: u->sofmod = value & 0x7f; break;
    case PORTSC: u->portsc[0] = PORTSC_ALWAYS | (value & PORTSC_MASK); break;
    case PORTSC + 2: u->portsc[1] = PORTSC_ALWAYS | (value & PORTSC_MASK); break;
    default: break;
    }
}

static uint32_t
uhci_read (void *self, uint32_t offset, unsigned size)
{
  Piix4 *p = self;
  unsigned reg = offset & ~1u;
  if (size == 4)
    return uhci_read16 (p, reg) | (uint32_t) uhci_read16 (p, reg + 2) << 16;
  return uhci_read16 (p, reg) >> (offset & 1) * 8;
}

static void
uhci_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  unsigned reg = offset & ~1u, shift = (offset & 1) * 8;
  if (size == 1 && reg == USBSTS)
    value <<= shift;
  else if (size == 1)
    value = (uhci_read16 (p, reg) & ~(0xffu << shift)) | (value & 0xff) << shift;
  uhci_write16 (p, reg, value);
  if (size == 4)
    uhci_write16 (p, reg + 2, value >> 16);
}

static const TnBusOps uhci_ops = { .read = uhci_read, .write = uhci_write };
static const TnPciOps usb_ops = { 0 };

static const Piix4Field usb_fields[] = {
  { 0x0d, 1, 0, 0xf0, 0 },           /* LTIMER */
  { 0x3c, 1, 0, 0xff, 0 },           /* INTLN */
  { 0x60, 1, 0x10, 0, 0 },           /* SBRNUM: USB 1.0 */
  { 0xc0, 2, 0x2000, 0x20bf, 0x8f00 }, /* LEGSUP */
};

bool
uhci_realize (Piix4 *p, GError **error)
{
  const TnPciConfig config = {
    .vendor = 0x8086, .device = 0x7112, .revision = 0x01, .class_code = 0x0c, .subclass = 0x03,
    .interrupt_pin = 4, .command_mask = 0x0005, .status = 0x0280, .status_w1c = 0x7800,
  };
  p->usb = tn_device_pci_new (p->device, 0, p->slot, 2, &config, &usb_ops, error);
  if (!p->usb)
    return false;
  piix4_add_fields (p->usb, usb_fields, G_N_ELEMENTS (usb_fields));
  tn_pci_bar (p->usb, 4, TN_BAR_IO, 32, &uhci_ops, TN_REGION_DEFAULT);
  return true;
}

void
uhci_reset (Piix4 *p)
{
  chip_reset (p);
}

bool
uhci_restored (Piix4 *p, GError **error)
{
  Uhci *u = &p->uhci;
  if (u->started != TN_TIME_NEVER && u->started > tn_device_now (p->device))
    return tn_device_fail (p->device, error, TN_ERROR_STATE,
                           "the USB frame counter starts in the future");
  u->frame &= FRAME_MASK;
  return true;
}

const TnField uhci_fields[] = {
  TN_FIELD (Uhci, usbcmd, 1), TN_FIELD (Uhci, usbsts, 1), TN_FIELD (Uhci, usbintr, 1),
  TN_FIELD (Uhci, portsc, 1), TN_FIELD (Uhci, frbase, 1), TN_FIELD (Uhci, frame, 1),
  TN_FIELD (Uhci, sofmod, 1), TN_FIELD_TIME (Uhci, started, 1), TN_FIELD_END
};
