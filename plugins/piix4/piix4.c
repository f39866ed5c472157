/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Intel 82371EB (PIIX4E), function 0: PCI-to-ISA bridge, and the plugin's life cycle.
 * After 82371AB PCI-to-ISA/IDE Xcelerator (PIIX4), order 290562, and its specification update.
 *
 *   92            port 92: bit 0 fast INIT, bit 1 ALT_A20
 *   B2 B3         APMC, APMS: a write to APMC may raise SMI# (pm.c)
 *   CF9           RST_CNT: bit 1 hard or soft, bit 2 0->1 resets
 *   F0            coprocessor error: a write clears FERR's interrupt and asserts IGNNE#
 *   config 4E     XBCS: bit 5 enables FERR# -> IRQ13
 *   config 60-63  PIRQRC[A:D]: bit 7 off, 3:0 the ISA interrupt
 *
 * PCI interrupts: INTx of device d, pin p drives PIRQ[(d - slot + p) & 3], the wiring of Intel's
 * reference board and of bochsbios' tables; the AGP slot's INTA is PIRQB.  PIRQ lines are also inputs
 * 16-19 of an I/O APIC.
 *
 * The interrupt controllers, timer, DMA, RTC and keyboard controller of the ISA side are plugins of
 * their own, as is function 1 (ide).
 */
#include "piix4.h"

#include <string.h>

#define REG_XBCS 0x4e
#define REG_PIRQRC 0x60
#define XBCS_FERR 0x20
#define PIRQRC_OFF 0x80
#define PORT92_INIT 0x01
#define PORT92_A20 0x02
#define RST_CNT_HARD 0x02
#define RST_CNT_RESET 0x04
#define ISA_IRQS 16
#define PIRQ_LEGAL 0xdef8u /* IRQ 3-7, 9-12, 14, 15 */

void
piix4_add_fields (TnPci *pci, const Piix4Field *fields, size_t count)
{
  for (size_t n = 0; n < count; n++)
    tn_pci_field (pci, fields[n].offset, fields[n].size, fields[n].reset, fields[n].mask,
                  fields[n].w1c);
}

/* ---- PCI interrupt routing ---- */

static bool
pirq_level (Piix4 *p, unsigned pirq)
{
  char name[24];
  for (unsigned device = 0; device < 32; device++)
    {
      unsigned pin = (pirq + p->slot - device) & 3;
      g_snprintf (name, sizeof name, "pci:0:%u:%u", device, pin);
      if (tn_device_line_level (p->device, name))
        return true;
    }
  g_snprintf (name, sizeof name, "pci:1:0:%u", (pirq - 1) & 3);
  return tn_device_line_level (p->device, name);
}

/* Drives the ISA inputs from the PIRQs that are routed there. */
static void
update_pirqs (Piix4 *p)
{
  const uint8_t *route = tn_pci_bytes (p->isa) + REG_PIRQRC;
  uint32_t levels = 0;
  for (unsigned n = 0; n < PIRQS; n++)
    {
      tn_line_set (p->gsi_line[n], p->pirq[n]);
      if (p->pirq[n] && !(route[n] & PIRQRC_OFF))
        levels |= 1u << (route[n] & 15);
    }
  for (unsigned irq = 0; irq < ISA_IRQS; irq++)
    if (PIRQ_LEGAL >> irq & 1)
      tn_line_set (p->isa_line[irq], levels >> irq & 1);
}

static void
intx_changed (void *self, bool level, void *data)
{
  Piix4 *p = self;
  unsigned pirq = GPOINTER_TO_UINT (data);
  p->pirq[pirq] = level || pirq_level (p, pirq);
  update_pirqs (p);
}

static void
watch_intx (Piix4 *p)
{
  char name[24];
  for (unsigned device = 0; device < 32; device++)
    for (unsigned pin = 0; pin < 4; pin++)
      {
        g_snprintf (name, sizeof name, "pci:0:%u:%u", device, pin);
        tn_device_watch_line (p->device, name, intx_changed,
                              GUINT_TO_POINTER ((device - p->slot + pin) & 3));
      }
  for (unsigned pin = 0; pin < 4; pin++)
    {
      g_snprintf (name, sizeof name, "pci:1:0:%u", pin);
      tn_device_watch_line (p->device, name, intx_changed, GUINT_TO_POINTER ((pin + 1) & 3));
    }
}

/* ---- Coprocessor errors: FERR# -> IRQ13, write to F0 -> IGNNE# ---- */

static void
update_ferr (Piix4 *p)
{
  bool enabled = tn_pci_bytes (p->isa)[REG_XBCS] & XBCS_FERR;
  tn_line_set (p->isa_line[13], p->ferr && enabled && !p->ignne);
  tn_line_set (p->ignne_line, p->ignne);
}

static void
ferr_changed (void *self, bool level, void *data)
{
  Piix4 *p = self;
  p->ferr = level;
  if (!level)
    p->ignne = false;
  update_ferr (p);
}

static void
coprocessor_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  if (offset == 0 && p->ferr)
    p->ignne = true;
  update_ferr (p);
}

/* ---- Ports of function 0 ---- */

static uint32_t
port92_read (void *self, uint32_t offset, unsigned size)
{
  return ((Piix4 *) self)->port92;
}

static void
port92_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  bool init = value & ~p->port92 & PORT92_INIT;
  p->port92 = value & (PORT92_INIT | PORT92_A20);
  tn_line_set (p->a20, p->port92 & PORT92_A20);
  if (init)
    tn_line_pulse (p->init);
}

static uint32_t
apm_read (void *self, uint32_t offset, unsigned size)
{
  Piix4 *p = self;
  return offset ? p->apms : p->apmc;
}

static void
apm_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  if (offset)
    p->apms = value;
  else
    {
      p->apmc = value;
      pm_apm_write (p);
    }
}

static uint32_t
rst_cnt_read (void *self, uint32_t offset, unsigned size)
{
  return ((Piix4 *) self)->rst_cnt;
}

static void
rst_cnt_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  bool reset = value & ~p->rst_cnt & RST_CNT_RESET;
  p->rst_cnt = value & (RST_CNT_HARD | RST_CNT_RESET);
  if (!reset)
    return;
  if (value & RST_CNT_HARD)
    tn_device_request_reset (p->device, TN_RESET_HARD);
  else
    tn_line_pulse (p->init);
}

static const TnBusOps port92_ops = { .read = port92_read, .write = port92_write, .max_size = 1 };
static const TnBusOps apm_ops = { .read = apm_read, .write = apm_write, .max_size = 1 };
static const TnBusOps rst_cnt_ops = { .read = rst_cnt_read, .write = rst_cnt_write, .max_size = 1 };
static const TnBusOps coprocessor_ops = { .write = coprocessor_write, .max_size = 1 };

/* ---- Configuration space ---- */

static void
isa_written (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old)
{
  Piix4 *p = self;
  if (piix4_touches (offset, size, REG_PIRQRC, REG_PIRQRC + 3))
    update_pirqs (p);
  if (piix4_touches (offset, size, REG_XBCS, REG_XBCS))
    update_ferr (p);
}

static const TnPciOps isa_ops = { .written = isa_written };

static const Piix4Field isa_fields[] = {
  { 0x4c, 1, 0x4d, 0xff, 0 },   /* IORT */
  { 0x4e, 2, 0x0003, 0x07ff, 0 }, /* XBCS */
  { 0x60, 4, 0x80808080, 0x8f8f8f8f, 0 }, /* PIRQRC */
  { 0x64, 1, 0x10, 0xff, 0 },   /* SERIRQC */
  { 0x69, 1, 0x02, 0xfe, 0 },   /* TOM */
  { 0x6a, 2, 0x0000, 0x00c0, 0x0300 }, /* MSTAT */
  { 0x76, 2, 0x0404, 0x8787, 0 }, /* MBDMA */
  { 0x80, 1, 0x00, 0x7f, 0 },   /* APICBASE */
  { 0x82, 1, 0x00, 0x0f, 0 },   /* DLC */
  { 0x90, 4, 0, 0xffffffff, 0 }, /* PDMACFG, DDMABP */
  { 0x94, 2, 0, 0xffff, 0 },
  { 0xb0, 4, 0, 0xffffffff, 0 }, /* GENCFG */
  { 0xcb, 1, 0x21, 0x3d, 0 },   /* RTCCFG */
};

static bool
add_isa_bridge (Piix4 *p, GError **error)
{
  const TnPciConfig config = {
    .vendor = 0x8086, .device = 0x7110, .revision = 0x02, .class_code = 0x06, .subclass = 0x01,
    .header_type = 0x80, .command = 0x0007, .command_mask = 0x0108, .status = 0x0280,
    .status_w1c = 0x7800,
  };
  p->isa = tn_device_pci_new (p->device, 0, p->slot, 0, &config, &isa_ops, error);
  if (!p->isa)
    return false;
  piix4_add_fields (p->isa, isa_fields, G_N_ELEMENTS (isa_fields));
  return tn_device_add_ports (p->device, 0x92, 1, &port92_ops, 0, error)
         && tn_device_add_ports (p->device, 0xb2, 2, &apm_ops, 0, error)
         && tn_device_add_ports (p->device, 0xcf9, 1, &rst_cnt_ops, 0, error)
         && tn_device_add_ports (p->device, 0xf0, 2, &coprocessor_ops, 0, error);
}

static void
add_lines (Piix4 *p)
{
  char name[16];
  for (unsigned irq = 0; irq < ISA_IRQS; irq++)
    {
      g_snprintf (name, sizeof name, "isa:%u", irq);
      if (irq == 13 || (PIRQ_LEGAL >> irq & 1))
        p->isa_line[irq] = tn_device_line (p->device, name);
    }
  for (unsigned n = 0; n < PIRQS; n++)
    {
      g_snprintf (name, sizeof name, "gsi:%u", 16 + n);
      p->gsi_line[n] = tn_device_line (p->device, name);
    }
  p->a20 = tn_device_line (p->device, "cpu:a20");
  p->init = tn_device_line (p->device, "cpu:init");
  p->smi = tn_device_line (p->device, "cpu:smi");
  p->ignne_line = tn_device_line (p->device, "cpu:ignne");
  p->sci = tn_device_line (p->device, "isa:9");
  p->smb_line = tn_device_line (p->device, "isa:9");
  watch_intx (p);
  tn_device_watch_line (p->device, "cpu:ferr", ferr_changed, NULL);
}

/* ---- Life cycle ---- */

static bool
piix4_realize (void *self, GError **error)
{
  Piix4 *p = self;
  add_lines (p);
  return add_isa_bridge (p, error) && uhci_realize (p, error) && pm_realize (p, error)
         && smbus_realize (p, error);
}

static void
piix4_reset (void *self)
{
  Piix4 *p = self;
  p->port92 = 0;
  p->apmc = p->apms = 0;
  p->rst_cnt = 0;
  p->ferr = p->ignne = false;
  tn_line_set (p->a20, false);
  for (unsigned n = 0; n < PIRQS; n++)
    p->pirq[n] = pirq_level (p, n);
  update_pirqs (p);
  update_ferr (p);
  uhci_reset (p);
  pm_reset (p);
  smbus_reset (p);
}

static void
piix4_saving (void *self)
{
  pm_saving (self);
}

static bool
piix4_restored (void *self, GError **error)
{
  Piix4 *p = self;
  p->port92 &= PORT92_INIT | PORT92_A20;
  p->rst_cnt &= RST_CNT_HARD | RST_CNT_RESET;
  p->ignne = p->ignne && p->ferr;
  tn_line_set (p->a20, p->port92 & PORT92_A20);
  for (unsigned n = 0; n < PIRQS; n++)
    p->pirq[n] = pirq_level (p, n);
  update_pirqs (p);
  update_ferr (p);
  return uhci_restored (p, error) && pm_restored (p, error) && smbus_restored (p, error);
}

static const TnProperty properties[] = {
  TN_PROP_UINT (Piix4, slot, "slot", "PCI device number on bus 0", 7, 1, 31),
  TN_PROP_BOOL (Piix4, com1, "com1", "tell the firmware that COM1 is there (DEVRESC bit 27)", true),
  TN_PROP_BOOL (Piix4, com2, "com2", "tell the firmware that COM2 is there (DEVRESC bit 31)", false),
  TN_PROP_BOOL (Piix4, lpt, "lpt", "tell the firmware that LPT1 is there (DEVRESA bit 31)", false),
  TN_PROP_END
};

static const TnSignal signals[] = {
  TN_SIGNAL_VALUE ("sleep", "the guest entered a sleep state; value: SUS_TYP"),
  TN_SIGNAL_END
};

static const TnField fields[] = {
  TN_FIELD (Piix4, port92, 1),
  TN_FIELD (Piix4, apmc, 1),
  TN_FIELD (Piix4, apms, 1),
  TN_FIELD (Piix4, rst_cnt, 1),
  TN_FIELD (Piix4, ferr, 1),
  TN_FIELD (Piix4, ignne, 1),
  TN_FIELD_STRUCT (Piix4, pm, 1, pm_fields, 1),
  TN_FIELD_STRUCT (Piix4, smb, 1, smbus_fields, 1),
  TN_FIELD_STRUCT (Piix4, uhci, 1, uhci_fields, 1),
  TN_FIELD_END
};

static const TnIoDoc io[] = {
  { "port 92h", "fast INIT, ALT_A20" },
  { "ports B2h-B3h", "APM control and status; SMI#" },
  { "port CF9h", "reset control" },
  { "ports F0h-F1h", "coprocessor error" },
  { "PCI 00:slot.0", "ISA bridge, PIRQ routing" },
  { "PCI 00:slot.2", "USB host controller without devices (UHCI, I/O BAR 4)" },
  { "PCI 00:slot.3", "power management (PMBA, 64 ports) and SMBus (SMBBA, 16 ports)" },
  { "isa:9", "SCI, SMBus" },
  { "isa:13", "coprocessor error" },
  { NULL, NULL }
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "piix4",
  .summary = "Intel 82371EB (PIIX4E) south bridge: ISA, PIRQ, power management, SMBus, USB",
  .document = "Intel 82371AB (PIIX4) data sheet, order 290562",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Piix4),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = piix4_realize, .reset = piix4_reset, .restored = piix4_restored,
           .saving = piix4_saving },
};
