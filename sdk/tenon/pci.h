/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI functions.  The core keeps the 256 configuration bytes, the write masks and the BARs'
 * mappings, and saves the bytes; the host bridge plugin decodes CF8/CFC and asks for them by bus
 * and devfn. After PCI Local Bus Specification 2.1.
 */
#pragma once

#include <tenon/bus.h>
#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct TnPci TnPci;

typedef struct {
  uint16_t vendor, device;
  uint8_t revision, prog_if, subclass, class_code;
  uint8_t header_type;        /* with bit 7 for multi-function */
  uint8_t interrupt_pin;      /* 0 none, 1 INTA */
  uint16_t command, command_mask; /* value at reset, bits that the guest may change */
  uint16_t status, status_w1c;    /* value at reset, bits cleared by writing one */
  uint16_t subsystem_vendor, subsystem;
} TnPciConfig;

typedef struct {
  /* After the guest changed bytes offset..offset+size-1 (masks applied); `old` holds the former
     256 bytes.  May be NULL. */
  void (*written) (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old);
  /* Before the guest reads: bring bytes up to date.  May be NULL. */
  void (*reading) (void *self, TnPci *pci, unsigned offset, unsigned size);
} TnPciOps;

/* Adds function `function` of device `slot` on `bus` (0, or a bridge's).  Fails on a clash. */
TnPci *tn_device_pci_new (TnDevice *device, unsigned bus, unsigned slot, unsigned function,
                          const TnPciConfig *config, const TnPciOps *ops, GError **error);
/* The 256 bytes; the device may write any. */
uint8_t *tn_pci_bytes (TnPci *pci);
/* Declares bits that the guest may write (mask), and that it clears by writing one (w1c), in `size`
   bytes (1, 2, 4) at `offset`, and their value at reset.  Undeclared bits are read only. */
void tn_pci_field (TnPci *pci, unsigned offset, unsigned size, uint32_t reset, uint32_t mask,
                   uint32_t w1c);
/* Changes which bits the guest may write from now on, and nothing else: locks, sizes that other
   registers set.  Not saved: declare it again in ops.reset and ops.restored. */
void tn_pci_set_mask (TnPci *pci, unsigned offset, unsigned size, uint32_t mask);
/* All bytes to their reset values; BARs unmapped.  Called by the core before ops.reset. */

typedef enum { TN_BAR_IO, TN_BAR_MEM, TN_BAR_MEM_PREFETCH, TN_BAR_ROM } TnBarKind;
/* BAR 0-5 (or 6 for the ROM), a power of two of bytes, with handlers. */
TnRegion *tn_pci_bar (TnPci *pci, unsigned bar, TnBarKind kind, uint32_t size, const TnBusOps *ops,
                      TnRegionFlags flags);
/* The same with memory on the card (see tn_device_add_ram) or, for TN_BAR_ROM, bytes to copy. */
TnRegion *tn_pci_bar_ram (TnPci *pci, unsigned bar, const char *name, uint32_t size,
                          uint8_t **host);
TnRegion *tn_pci_bar_rom (TnPci *pci, const void *bytes, uint32_t size);
/* An I/O or memory window whose base the device decodes by itself (PMBA, SMBBA, legacy IDE ports):
   use tn_device_add_ports () and tn_region_set (). */

/* Drives the function's INTx (pin from the configuration; nothing if 0). */
void tn_pci_set_intx (TnPci *pci, bool level);

/* Host bridge: configuration cycles.  Absent functions read all ones.  offset + size <= 256 and do
   not cross a dword. */
uint32_t tn_device_pci_config_read (TnDevice *device, unsigned bus, unsigned devfn,
                                    unsigned offset, unsigned size);
void tn_device_pci_config_write (TnDevice *device, unsigned bus, unsigned devfn, unsigned offset,
                                 uint32_t value, unsigned size);

#pragma GCC visibility pop
G_END_DECLS
