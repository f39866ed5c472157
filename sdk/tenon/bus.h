/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Port and memory buses.  Regions of one address space may not overlap: the second claim fails with
 * an error that names both owners.  PCI BARs are in pci.h and use the same operations.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct TnRegion TnRegion;

/* Bus cycles.  `offset` is relative to the region's start, `size` 1, 2 or 4.  Cycles are naturally
   aligned by address: an access that is not is split, low part first.  An access wider than
   max_size is split, low part first, as an 8-bit or 16-bit card sees it; one that is narrower than
   min_size is widened: reads are cut, writes are read-modify-write free and put the byte on its
   lane with the other lanes 0.  A read returns the value in its low bits; `self`: the instance. */
typedef struct {
  uint32_t (*read) (void *self, uint32_t offset, unsigned size);              /* NULL: all ones */
  void (*write) (void *self, uint32_t offset, uint32_t value, unsigned size); /* NULL: ignored */
  uint8_t min_size, max_size; /* 1, 2, 4; 0 stands for 1 and 4 */
  /* Optional block forms for REP INS/OUTS of `size`-byte items at one port: moves up to `count`,
     returns how many it moved; the rest goes item by item. */
  uint32_t (*read_block) (void *self, uint32_t offset, void *items, uint32_t count, unsigned size);
  uint32_t (*write_block) (void *self, uint32_t offset, const void *items, uint32_t count,
                           unsigned size);
} TnBusOps;

/* How the processor may reach a region.  Handlers are called under the machine lock in any case, one
   at a time, and may do what every bus handler may.

   TN_IO_FAST promises that the region's handlers are short: they compute, change state, raise lines,
   set timers, send characters, start requests; they wait for nothing, do not work through whole
   disks or screens, and need less than 64 KiB of stack.  Then they are called from within the
   guest's instruction, which costs about half of a cycle that leaves the guest.

   TN_IO_POSTED promises that a write may arrive late: up to a fraction of a millisecond after the
   guest went on, but always in the order of the guest's writes, and before anything that runs under
   the machine lock: other cycles of the guest that lead to a card, INTA cycles, timers, bus masters,
   the user's requests, saving, swaps, resets.  So no handler, here or elsewhere, ever finds one
   missing.  Two things can tell, and a region where they matter must not be TN_IO_POSTED:
     - the time: tn_device_now () is when the write arrives (a sound's pitch, a time-out);
     - what the guest sees without a cycle: memory that it reaches directly (add_ram, a change of the
       memory map, main memory that the write makes the card read or write) and interrupts (a write
       that masks, acknowledges or starts one).
   Registers that only say how something will look or be done, and debug ports, are what it is for.
   With TN_IO_FAST beside it, a write that cannot be queued is fast, otherwise it leaves the guest.
   In counted time nothing is posted. */
typedef enum {
  TN_REGION_DEFAULT = 0,
  TN_IO_FAST = 1 << 0,        /* short handlers */
  TN_IO_POSTED = 1 << 1,      /* writes may be queued */
  TN_IO_SHARED_READ = 1 << 2, /* passive listener of writes (e.g. port 80h): never answers reads
                                 and does not clash.  A port is fast or posted only if its
                                 listeners are, too */
  TN_IO_DWORD = 1 << 3, /* four ports that answer 32-bit accesses at the first only, before any
                           other owner; narrower ones go to who claims the ports (CF8 and CF9) */
  TN_REGION_HIDDEN = 1 << 4, /* starts hidden: claims nothing until tn_region_set () */
} TnRegionFlags;

/* Claims ports first..first+count-1 (within 0..0xffff).  NULL with *error set on a clash. */
TnRegion *tn_device_add_ports (TnDevice *device, uint32_t first, uint32_t count,
                               const TnBusOps *ops, TnRegionFlags flags, GError **error);
/* The same for physical memory; handlers are called for each access.  Posting works on whole pages
   of 4096 bytes. */
TnRegion *tn_device_add_mmio (TnDevice *device, uint32_t first, uint32_t count,
                              const TnBusOps *ops, TnRegionFlags flags, GError **error);
/* Memory that the guest reads directly; writes are ignored.  `bytes` is copied.  first and count
   are multiples of 4096. */
TnRegion *tn_device_add_rom (TnDevice *device, uint32_t first, const void *bytes, uint32_t count,
                             GError **error);
/* Memory on the card that the guest reads and writes directly (video memory); zeroed; *host
   receives its address, valid for the life of the region.  Saved with the device's state under
   `name`. */
TnRegion *tn_device_add_ram (TnDevice *device, const char *name, uint32_t first, uint32_t count,
                             uint8_t **host, GError **error);
/* The same, hidden at first: shown by tn_region_set (). */
TnRegion *tn_device_ram_new (TnDevice *device, const char *name, uint32_t count, uint8_t **host);
/* Which pages (4096 bytes) of RAM were written to through this region, by the guest or a bus
   master: track () starts noting them, and all count as written then.  take_dirty () tells of the
   page at byte `offset`, and forgets it.  What the device itself writes is not noted. */
void tn_region_track (TnRegion *region);
bool tn_region_take_dirty (TnRegion *region, uint32_t offset);
/* Moves or hides a region (relocatable devices: PMBA, SMBBA, ports of a Super I/O).  Fails on a
   clash and then leaves it hidden. */
bool tn_region_set (TnRegion *region, uint32_t first, bool enabled, GError **error);
void tn_region_free (TnRegion *region);
/* A second address for the same ROM or RAM bytes, from byte `offset` on (BIOS below 1 MiB). */
TnRegion *tn_region_alias (TnRegion *region, uint32_t offset, uint32_t first, uint32_t count,
                           GError **error);

/* ---- Main memory and the north bridge ---- */

/* Size in bytes of the machine's RAM (a multiple of 1 MiB). */
uint64_t tn_device_ram_size (TnDevice *device);

typedef enum {
  TN_ROUTE_BUS, /* cycles go to the buses: regions of cards answer */
  TN_ROUTE_RAM, /* cycles go to main memory at the same address */
} TnRoute;
typedef enum {
  TN_VIEW_NORMAL = 1, /* as seen outside SMM, and by bus masters */
  TN_VIEW_SMM = 2,    /* as seen by a processor in system management mode */
  TN_VIEW_ALL = 3,
} TnView;
/* Shadowing and SMRAM: where reads and writes of a range (multiples of 4096) go.  Main memory is
   routed as RAM over its whole size until someone says otherwise.  The core saves nothing of it:
   the owner restores its routes. */
void tn_device_route (TnDevice *device, uint32_t first, uint32_t count, TnView view, TnRoute read,
                      TnRoute write);

/* ---- Bus-master access to physical memory (cards and main memory alike, TN_VIEW_NORMAL) ---- */

void tn_device_mem_read (TnDevice *device, uint32_t address, void *buffer, uint32_t size);
void tn_device_mem_write (TnDevice *device, uint32_t address, const void *buffer, uint32_t size);

#pragma GCC visibility pop
G_END_DECLS
