/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PIIX4 function 3: power management, 64 ports at PMBA.
 * After 82371AB data sheet, sections 7.1 and 7.2.
 *
 *   00 PMSTS   02 PMEN   04 PMCNTRL   08 PMTMR (24 bit, 3.579545 MHz)
 *   0C GPSTS   0E GPEN   10 PCNTRL    14/15 PLVL2/3
 *   18 GLBSTS  1C DEVSTS 20 GLBEN     28 GLBCTL  2C DEVCTL  30 GPIREG  34 GPOREG
 *
 * SCI: level on IRQ 9 while SCI_EN and an enabled status of PMSTS is set.  SMI#: from APMC writes,
 * and from BIOS_STS (GBL_RLS).  On silicon GLBCTL.SMI_EN gates all of them; here DEVACTB.APMC_EN alone
 * is enough for APMC, because bochsbios never sets SMI_EN and would wait for its SMI for ever.
 *
 * The timer costs nothing while nobody asks: TMROF_STS is worked out when it is read, and a virtual
 * timer runs only while it could raise the SCI.
 *
 * Suspend: SUS_TYP 0 is soft off.  1 (to RAM) resets the machine at once with RSM_STS set, as a
 * wake-up event would; the BIOS then resumes by CMOS 0F.  Others are left (the guest goes on).
 */
#include "piix4.h"

#include <string.h>

#define PM_PORTS 64
#define REG_PMBA 0x40
#define REG_DEVRESA 0x5c
#define REG_DEVRESC 0x64
#define REG_DEVACTB 0x58
#define REG_PMREGMISC 0x80
#define REG_SMBBA 0x90
#define REG_SMBHSTCFG 0xd2
#define DEVACTB_APMC_EN (1u << 25)

enum {
  PMSTS = 0x00, PMEN = 0x02, PMCNTRL = 0x04, PMTMR = 0x08, GPSTS = 0x0c, GPEN = 0x0e, PCNTRL = 0x10,
  GLBSTS = 0x18, DEVSTS = 0x1c, GLBEN = 0x20, GLBCTL = 0x28, DEVCTL = 0x2c, GPIREG = 0x30,
  GPOREG = 0x34
};

#define STS_TMROF 0x0001
#define STS_GBL 0x0020
#define STS_PWRBTN 0x0100
#define STS_RTC 0x0400
#define STS_RSM 0x8000
#define PMSTS_MASK 0x8d31
#define PMEN_MASK 0x0521
#define CNTRL_SCI_EN 0x0001
#define CNTRL_GBL_RLS 0x0004
#define CNTRL_SUS_EN 0x2000
#define CNTRL_MASK 0x1c03
#define GLBSTS_BIOS 0x0001
#define GLBSTS_APM 0x0020
#define GLBSTS_MASK 0x0d27
#define GLBCTL_SMI_EN 0x00000001u
#define GLBCTL_BIOS_RLS 0x00000002u
#define GLBCTL_EOS 0x00010000u

#define PMTMR_HZ 3579545
#define PMTMR_HALF (1 << 23)

/* ---- Timer and SCI ---- */

static int64_t
timer_ticks (Piix4 *p)
{
  return tn_ns_to_ticks (tn_device_now (p->device), PMTMR_HZ);
}

static void
catch_overflow (Piix4 *p)
{
  int64_t halves = timer_ticks (p) / PMTMR_HALF;
  if (halves != p->pm.overflow)
    p->pm.pmsts |= STS_TMROF;
  p->pm.overflow = halves;
}

static void
update_sci (Piix4 *p)
{
  Pm *pm = &p->pm;
  bool armed = (pm->pmcntrl & CNTRL_SCI_EN) && (pm->pmen & STS_TMROF) && !(pm->pmsts & STS_TMROF);

  tn_line_set (p->sci, (pm->pmcntrl & CNTRL_SCI_EN) && (pm->pmsts & pm->pmen & PMEN_MASK));
  tn_timer_set (p->pm_timer,
                armed ? tn_ticks_to_ns ((pm->overflow + 1) * PMTMR_HALF, PMTMR_HZ) : TN_TIME_NEVER);
}

static void
timer_overflowed (void *self, void *data)
{
  catch_overflow (self);
  update_sci (self);
}

static void
rtc_alarm (void *self, bool level, void *data)
{
  Piix4 *p = self;
  if (level)
    p->pm.pmsts |= STS_RTC;
  update_sci (p);
}

static void
power_button (void *self, bool level, void *data)
{
  Piix4 *p = self;
  if (level)
    p->pm.pmsts |= STS_PWRBTN;
  update_sci (p);
}

/* ---- SMI ---- */

void
pm_apm_write (Piix4 *p)
{
  p->pm.glbsts |= GLBSTS_APM;
  if (piix4_config32 (p->power, REG_DEVACTB) & DEVACTB_APMC_EN)
    tn_line_pulse (p->smi);
}

static void
bios_release (Piix4 *p)
{
  p->pm.glbsts |= GLBSTS_BIOS;
  if ((p->pm.glben & GLBSTS_BIOS) && (p->pm.glbctl & GLBCTL_SMI_EN))
    tn_line_pulse (p->smi);
}

/* ---- Register writes ---- */

static void
sleep_now (Piix4 *p, unsigned type)
{
  tn_device_emit (p->device, "sleep", type);
  if (type == 0)
    tn_device_request_poweroff (p->device);
  else if (type == 1)
    {
      p->pm.pmsts |= STS_RSM;
      tn_device_request_reset (p->device, TN_RESET_HARD);
    }
  else
    tn_device_log (p->device, TN_LOG_GUEST_ERROR, "suspend type %u is not supported", type);
}

static void
pmcntrl_write (Piix4 *p, uint16_t value)
{
  p->pm.pmcntrl = value & CNTRL_MASK;
  if (value & CNTRL_GBL_RLS)
    bios_release (p);
  if (value & CNTRL_SUS_EN)
    sleep_now (p, value >> 10 & 7);
}

static void
glbctl_write (Piix4 *p, uint32_t value)
{
  if (value & GLBCTL_BIOS_RLS)
    p->pm.pmsts |= STS_GBL;
  /* EOS reads as one once SMI# is inactive again, which is at once. */
  p->pm.glbctl = (value & 0x0305ff0d) | (value & GLBCTL_EOS);
}

static void
pm_write16 (Piix4 *p, unsigned reg, uint16_t value)
{
  Pm *pm = &p->pm;
  uint32_t low = value;
  switch (reg)
    {
    case PMSTS: catch_overflow (p); pm->pmsts &= ~(value & PMSTS_MASK); break;
    case PMEN: catch_overflow (p); pm->pmen = value & PMEN_MASK; break;
    case PMCNTRL: pmcntrl_write (p, value); break;
    case GPSTS: pm->gpsts &= ~(value & 0x0f81); break;
    case GPEN: pm->gpen = value & 0x0f81; break;
    case PCNTRL: pm->pcntrl = (pm->pcntrl & 0xffff0000) | (low & 0x3e1e); break;
    case PCNTRL + 2: pm->pcntrl = (pm->pcntrl & 0xffff) | (low & 0x0001) << 16; break;
    case GLBSTS: pm->glbsts &= ~(value & GLBSTS_MASK); break;
    case DEVSTS: pm->devsts &= ~low; break;
    case DEVSTS + 2: pm->devsts &= ~(low << 16); break;
    case GLBEN: pm->glben = value & 0x8d03; break;
    case GLBCTL: glbctl_write (p, (pm->glbctl & 0xffff0000) | low); break;
    case GLBCTL + 2: glbctl_write (p, (pm->glbctl & 0xffff & ~GLBCTL_BIOS_RLS) | low << 16); break;
    case DEVCTL: pm->devctl = (pm->devctl & 0xffff0000) | low; break;
    case DEVCTL + 2: pm->devctl = (pm->devctl & 0xffff) | low << 16; break;
    case GPOREG: pm->gpo = (pm->gpo & 0xffff0000) | low; break;
    case GPOREG + 2: pm->gpo = (pm->gpo & 0xffff) | low << 16; break;
    default: break;
    }
  update_sci (p);
}

static uint16_t
pm_read16 (Piix4 *p, unsigned reg)
{
  Pm *pm = &p->pm;
  switch (reg)
    {
    case PMSTS: catch_overflow (p); return pm->pmsts;
    case PMEN: return pm->pmen;
    case PMCNTRL: return pm->pmcntrl;
    case GPSTS: return pm->gpsts;
    case GPEN: return pm->gpen;
    case PCNTRL: return pm->pcntrl;
    case PCNTRL + 2: return pm->pcntrl >> 16;
    case GLBSTS: return pm->glbsts;
    case DEVSTS: return pm->devsts;
    case DEVSTS + 2: return pm->devsts >> 16;
    case GLBEN: return pm->glben;
    case GLBCTL: return pm->glbctl;
    case GLBCTL + 2: return pm->glbctl >> 16;
    case DEVCTL: return pm->devctl;
    case DEVCTL + 2: return pm->devctl >> 16;
    case GPIREG: return 0xffff; /* inputs are pulled up */
    case GPIREG + 2: return 0x00ff;
    case GPOREG: return pm->gpo;
    case GPOREG + 2: return pm->gpo >> 16;
    default: return 0;
    }
}

/* ---- Bus: registers are 16 bits wide; other widths are made of those ---- */

static uint32_t
pm_read (void *self, uint32_t offset, unsigned size)
{
  Piix4 *p = self;
  unsigned reg = offset & ~1u;
  if ((offset & ~3u) == PMTMR)
    return (uint32_t) (timer_ticks (p) & 0xffffff) >> (offset & 3) * 8;
  if (size == 4)
    return pm_read16 (p, reg) | (uint32_t) pm_read16 (p, reg + 2) << 16;
  return pm_read16 (p, reg) >> (offset & 1) * 8;
}

static void
pm_write_byte (Piix4 *p, unsigned offset, uint8_t value)
{
  unsigned reg = offset & ~1u, shift = (offset & 1) * 8;
  bool clears = reg == PMSTS || reg == GPSTS || reg == GLBSTS || (reg & ~2u) == DEVSTS;
  uint16_t rest = clears ? 0 : pm_read16 (p, reg) & ~(0xff << shift);
  pm_write16 (p, reg, rest | (uint16_t) (value << shift));
}

static void
pm_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Piix4 *p = self;
  if (size == 1)
    {
      pm_write_byte (p, offset, value);
      return;
    }
  if (offset == GLBCTL && size == 4)
    {
      glbctl_write (p, value);
      update_sci (p);
      return;
    }
  pm_write16 (p, offset & ~1u, value);
  if (size == 4)
    pm_write16 (p, (offset & ~1u) + 2, value >> 16);
}

static const TnBusOps pm_ops = { .read = pm_read, .write = pm_write };

/* ---- Configuration space ---- */

static void
update_base (Piix4 *p)
{
  uint32_t base = piix4_config32 (p->power, REG_PMBA) & 0xffc0;
  bool enabled = base && (tn_pci_bytes (p->power)[REG_PMREGMISC] & 1);
  GError *error = NULL;
  if (!tn_region_set (p->pm_io, base, enabled, &error))
    {
      tn_device_log (p->device, TN_LOG_GUEST_ERROR, "PMBA: %s", error->message);
      g_error_free (error);
    }
}

static void
power_written (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old)
{
  Piix4 *p = self;
  if (piix4_touches (offset, size, REG_PMBA, REG_PMBA + 3)
      || piix4_touches (offset, size, REG_PMREGMISC, REG_PMREGMISC))
    update_base (p);
  if (piix4_touches (offset, size, 0x04, 0x05) || piix4_touches (offset, size, REG_SMBBA, REG_SMBBA + 3)
      || piix4_touches (offset, size, REG_SMBHSTCFG, REG_SMBHSTCFG))
    smbus_update_base (p);
}

static const TnPciOps power_ops = { .written = power_written };

static const Piix4Field power_fields[] = {
  { 0x3c, 1, 0, 0xff, 0 },                /* INTLN: bochsbios keeps the SCI number here */
  { 0x40, 4, 0x00000001, 0x0000ffc0, 0 }, /* PMBA */
  { 0x44, 4, 0, 0xffffffff, 0 }, { 0x48, 4, 0, 0xffffffff, 0 }, /* CNTA, CNTB */
  { 0x4c, 4, 0, 0xffffffff, 0 },          /* GPICTL */
  { 0x50, 4, 0, 0x00ffffff, 0 },          /* DEVRESD */
  { 0x54, 4, 0, 0xffffffff, 0 }, { 0x58, 4, 0, 0xffffffff, 0 }, /* DEVACTA, DEVACTB */
  { 0x5c, 4, 0, 0xffffffff, 0 }, { 0x60, 4, 0, 0xffffffff, 0 }, /* DEVRESA, B */
  { 0x64, 4, 0, 0xffffffff, 0 }, { 0x68, 4, 0, 0xffffffff, 0 }, /* DEVRESC, E */
  { 0x6c, 4, 0, 0xffffffff, 0 }, { 0x70, 4, 0, 0xffffffff, 0 }, /* DEVRESF, G */
  { 0x74, 4, 0, 0xffffffff, 0 }, { 0x78, 4, 0, 0xffffffff, 0 }, /* DEVRESH, I */
  { 0x7c, 4, 0, 0xffffffff, 0 },          /* DEVRESJ */
  { 0x80, 1, 0, 0x01, 0 },                /* PMREGMISC: PMIOSE */
  { 0x90, 4, 0x00000001, 0x0000fff0, 0 }, /* SMBBA */
  { 0xd2, 1, 0, 0x0f, 0 },                /* SMBHSTCFG */
  { 0xd3, 1, 0, 0xff, 0 }, { 0xd4, 1, 0, 0xff, 0 }, { 0xd5, 1, 0, 0xff, 0 },
};

/* Which ports of a Super I/O the board has, where bochsbios' DSDT looks for it. */
static void
add_presence (Piix4 *p)
{
  tn_pci_field (p->power, REG_DEVRESA, 4, (uint32_t) p->lpt << 31, 0xffffffff, 0);
  tn_pci_field (p->power, REG_DEVRESC, 4, (uint32_t) p->com1 << 27 | (uint32_t) p->com2 << 31,
                0xffffffff, 0);
}

bool
pm_realize (Piix4 *p, GError **error)
{
  const TnPciConfig config = {
    .vendor = 0x8086, .device = 0x7113, .revision = 0x02, .class_code = 0x06, .subclass = 0x80,
    .header_type = 0x80, .command_mask = 0x0001, .status = 0x0280, .status_w1c = 0x7800,
  };
  p->power = tn_device_pci_new (p->device, 0, p->slot, 3, &config, &power_ops, error);
  if (!p->power)
    return false;
  piix4_add_fields (p->power, power_fields, G_N_ELEMENTS (power_fields));
  add_presence (p);
  p->pm_timer = tn_device_timer_new (p->device, "pm-overflow", timer_overflowed, NULL);
  tn_device_watch_line (p->device, "isa:8", rtc_alarm, NULL);
  tn_device_watch_line (p->device, "button:power", power_button, NULL);
  p->pm_io = tn_device_add_ports (p->device, 0, PM_PORTS, &pm_ops, TN_REGION_HIDDEN | TN_IO_FAST,
                                 error);
  return p->pm_io != NULL;
}

void
pm_reset (Piix4 *p)
{
  uint16_t resume = p->pm.pmsts & STS_RSM; /* stands in the suspend well */
  p->pm = (Pm) { .pmsts = resume, .overflow = timer_ticks (p) / PMTMR_HALF, .gpo = 0x7fffbfff };
  update_base (p);
  update_sci (p);
}

void
pm_saving (Piix4 *p)
{
  catch_overflow (p);
}

bool
pm_restored (Piix4 *p, GError **error)
{
  Pm *pm = &p->pm;
  if ((pm->pmsts & ~PMSTS_MASK) || (pm->pmen & ~PMEN_MASK) || (pm->pmcntrl & ~CNTRL_MASK))
    return tn_device_fail (p->device, error, TN_ERROR_STATE,
                           "power management registers have reserved bits set");
  pm->overflow = timer_ticks (p) / PMTMR_HALF;
  update_base (p);
  update_sci (p);
  return true;
}

const TnField pm_fields[] = {
  TN_FIELD (Pm, pmsts, 1), TN_FIELD (Pm, pmen, 1), TN_FIELD (Pm, pmcntrl, 1),
  TN_FIELD (Pm, gpsts, 1), TN_FIELD (Pm, gpen, 1), TN_FIELD (Pm, glbsts, 1),
  TN_FIELD (Pm, glben, 1), TN_FIELD (Pm, glbctl, 1), TN_FIELD (Pm, pcntrl, 1),
  TN_FIELD (Pm, devsts, 1), TN_FIELD (Pm, devctl, 1), TN_FIELD (Pm, gpo, 1), TN_FIELD_END
};
