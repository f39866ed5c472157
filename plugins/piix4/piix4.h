/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the 82371EB that this plugin models: function 0 (ISA bridge, piix4.c), function 2 (USB,
 * uhci.c) and function 3 (power management in pm.c, SMBus in smbus.c).  Function 1 is the ide plugin.
 */
#pragma once

#include <tenon/tenon.h>

#define PIRQS 4

typedef struct {
  uint16_t pmsts, pmen, pmcntrl;
  uint16_t gpsts, gpen;
  uint16_t glbsts, glben;
  uint32_t glbctl, pcntrl, devsts, devctl, gpo;
  int64_t overflow; /* half periods of PMTMR (bit 23 changes) that TMROF_STS has told of */
} Pm;

typedef struct {
  uint8_t hststs, slvsts, hstcnt, hstcmd, hstadd, hstdat0, hstdat1, slvcnt, shdwcmd;
  uint16_t slvevt, slvdat;
  uint8_t block[32];
  uint8_t block_index;
} Smbus;

typedef struct {
  uint16_t usbcmd, usbsts, usbintr, portsc[2];
  uint32_t frbase;
  uint16_t frame; /* frame number when the counter was last started or stopped */
  uint8_t sofmod;
  int64_t started; /* virtual time of the start, TN_TIME_NEVER when halted */
} Uhci;

typedef struct {
  TnDevice *device;
  uint32_t slot;
  bool com1, com2, lpt;
  /* function 0 */
  TnPci *isa;
  uint8_t port92, apmc, apms, rst_cnt;
  bool ferr, ignne;
  bool pirq[PIRQS];
  TnLine *isa_line[16], *gsi_line[PIRQS];
  TnLine *a20, *init, *smi, *ignne_line;
  /* function 2 */
  TnPci *usb;
  TnRegion *usb_io;
  Uhci uhci;
  /* function 3 */
  TnPci *power;
  TnRegion *pm_io, *smb_io;
  Pm pm;
  TnTimer *pm_timer;
  TnLine *sci, *smb_line;
  Smbus smb;
  uint8_t spd[4][128]; /* what the DIMMs' EEPROMs hold */
} Piix4;

/* Registers of a function beyond its header: value at reset, writable bits, write-one-to-clear. */
typedef struct {
  uint8_t offset, size;
  uint32_t reset, mask, w1c;
} Piix4Field;
void piix4_add_fields (TnPci *pci, const Piix4Field *fields, size_t count);
static inline bool
piix4_touches (unsigned offset, unsigned size, unsigned first, unsigned last)
{
  return offset <= last && offset + size > first;
}
static inline uint32_t
piix4_config32 (TnPci *pci, unsigned offset)
{
  const uint8_t *b = tn_pci_bytes (pci) + offset;
  return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t) b[3] << 24;
}

bool pm_realize (Piix4 *p, GError **error);
void pm_reset (Piix4 *p);
void pm_saving (Piix4 *p);
bool pm_restored (Piix4 *p, GError **error);
/* The guest wrote APMC (port B2h). */
void pm_apm_write (Piix4 *p);
extern const TnField pm_fields[];

bool smbus_realize (Piix4 *p, GError **error);
void smbus_reset (Piix4 *p);
bool smbus_restored (Piix4 *p, GError **error);
/* Maps or hides the ports after the configuration changed. */
void smbus_update_base (Piix4 *p);
extern const TnField smbus_fields[];

bool uhci_realize (Piix4 *p, GError **error);
void uhci_reset (Piix4 *p);
bool uhci_restored (Piix4 *p, GError **error);
extern const TnField uhci_fields[];
