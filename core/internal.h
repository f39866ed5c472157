/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Structures that the files of the device half share; the machine half includes machine.h alone.
 *
 * TnDevice is what the machine knows by name; TnInstance is one life of it: a module, a block of
 * instance_size bytes and a ledger of what the code acquired.  A swap makes a second instance
 * beside the first: the first one's resources are detached (they let go of exclusive things such as
 * ports, but remember them), then either freed (commit) or attached again (roll back).  Attaching
 * cannot fail, as the machine lock is held all the time.
 */
#pragma once

#include "machine.h"

#include <string.h>

/* ---- Ledger ---- */

typedef struct TnInstance TnInstance;
typedef struct TnResource TnResource;

typedef struct {
  const char *kind;
  void (*detach) (TnResource *resource); /* may be NULL */
  void (*attach) (TnResource *resource); /* may be NULL */
  void (*free) (TnResource *resource);   /* frees the memory, too */
  void (*describe) (TnResource *resource, TnResourceFunc func, void *data); /* may be NULL */
} TnResourceClass;

struct TnResource {
  const TnResourceClass *class;
  TnInstance *owner;
  GList link; /* in owner->ledger */
};

void tn_resource_init (TnResource *resource, const TnResourceClass *class, TnInstance *owner);
/* Strikes it from the ledger and frees it. */
void tn_resource_free (TnResource *resource);
void tn_ledger_detach (TnInstance *instance); /* last acquired first */
void tn_ledger_attach (TnInstance *instance);
void tn_ledger_free (TnInstance *instance); /* last acquired first */
/* The n-th resource of a class in the order of acquisition, or NULL. */
TnResource *tn_ledger_nth (TnInstance *instance, const TnResourceClass *class, unsigned n);

struct TnInstance {
  TnDevice *device;
  TnModule *module;
  const TnPlugin *plugin;
  void *self; /* instance_size bytes */
  GQueue ledger;
  GStringChunk *strings; /* values of string properties */
  bool realized;
};

/* ---- Devices ---- */

struct TnDevice {
  GObject parent;
  TnMachine *machine; /* owner; not NULL until dispose */
  char *name;
  char *wanted;       /* plugin as the configuration gave it: name or path */
  GHashTable *values; /* configured properties: name -> GVariant (b, x, s) */
  TnInstance *instance;
  TnInstance *other; /* in a swap: the instance that is not `instance` */
  GObject *card;
  GHashTable *fds; /* kept over swaps: name -> fd */
  GArray *closing; /* fds to close when the swap commits */
  bool swapping;
  int64_t log_window;
  unsigned log_count, log_suppressed;
};

TnDevice *tn_device_new (TnMachine *m, const char *name, const char *wanted, TnModule *module);
void tn_device_destroy (TnDevice *device); /* unrealizes; drops the machine's reference */
TnInstance *tn_instance_new (TnDevice *device, TnModule *module); /* takes the reference */
void tn_instance_free (TnInstance *instance);
/* Properties into the block, then ops.realize; on failure the ledger is empty again. */
bool tn_instance_realize (TnInstance *instance, GError **error);
void tn_instance_unrealize (TnInstance *instance);
void tn_instance_reset (TnInstance *instance);

/* property.c */
const TnProperty *tn_plugin_property (const TnPlugin *plugin, const char *name);
/* Stores configured values and defaults in the block; checks required ones. */
bool tn_properties_apply (TnInstance *instance, GError **error);
/* Every configured value suits this descriptor. */
bool tn_properties_check (TnDevice *device, const TnPlugin *plugin, GError **error);
/* Every link names a device of the right kind. */
bool tn_properties_check_links (TnDevice *device, GError **error);
/* Another file for a property that was set before; NULL for none. */
void tn_property_set_file (TnInstance *instance, const char *name, const char *path);
void tn_property_get (TnInstance *instance, const TnProperty *property, GValue *value);

/* device_class.c: GObject classes generated from descriptors */
GObject *tn_card_new (TnDevice *device, const TnPlugin *plugin);
bool tn_card_suits (GObject *card, const TnPlugin *plugin); /* same schema */
void tn_card_forget (GObject *card);                        /* the device is gone */
void tn_card_emit (GObject *card, const char *signal, uint64_t value);

/* ---- Machine ---- */

typedef struct TnBus TnBus;
typedef struct TnMemoryMap TnMemoryMap;
typedef struct TnBroker TnBroker;
typedef struct TnPciBus TnPciBus;
typedef struct TnIsaDma TnIsaDma;
typedef struct TnCharHub TnCharHub;
typedef struct TnBlockHub TnBlockHub;
typedef struct TnDisplayHub TnDisplayHub;
typedef struct TnTypist TnTypist;
typedef struct TnPosted TnPosted;

struct TnMachine {
  GRecMutex lock;
  unsigned locks; /* how often its holder has taken it */
  VmmVm *vm;
  uint64_t ram_size;
  TnClock *clock;
  int64_t cycle_time; /* of the cycle that is being served; TN_TIME_NEVER: none is */
  bool time_asked;
  TnBus *bus;
  TnPosted *posted;
  TnMemoryMap *memory;
  TnBroker *broker;
  TnPciBus *pci;
  TnIsaDma *dma;
  TnCharHub *chars;
  TnBlockHub *blocks;
  TnDisplayHub *displays;
  TnTypist *typist;
  GPtrArray *devices;
  GMainContext *context;
  char *base_dir;
  TnMachineHooks hooks;
  void *opaque;
  bool realized;
  unsigned loading; /* in a swap or load: wishes of devices are not heard */
};

/* ---- Clock ---- */

TnClock *tn_clock_new (TnMachine *m, TnClockMode mode, int64_t wall_offset_us);
void tn_clock_free (TnClock *clock);
/* Cancels all timers of an instance (before its state is loaded). */
void tn_timers_cancel (TnInstance *instance);

/* ---- Buses ---- */

typedef enum { TN_SPACE_PORT, TN_SPACE_MEMORY } TnSpace;
typedef enum { TN_REGION_HANDLERS, TN_REGION_ROM, TN_REGION_RAM } TnRegionKind;

typedef struct {
  int refs;
  uint8_t *bytes; /* page aligned */
  size_t size;
} TnCardMemory;

struct TnRegion {
  TnResource resource;
  TnMachine *machine;
  void *self;
  const TnBusOps *ops; /* TN_REGION_HANDLERS */
  TnSpace space;
  TnRegionKind kind;
  TnRegionFlags flags;
  uint8_t min_size, max_size;
  bool enabled;  /* its owner wants it seen */
  bool mapped;   /* and it is */
  bool detached; /* by a swap */
  bool retry;    /* enabled but hidden by a clash (BARs): shown when there is room */
  uint32_t first;
  uint32_t count;
  TnCardMemory *memory; /* ROM and RAM */
  uint32_t offset;      /* of the first byte in `memory` */
  char *name;           /* RAM that is saved; NULL for ROMs and aliases */
  uint8_t *dirty;       /* a byte per page: noted while it was not mapped; NULL: not tracked */
};

extern const TnResourceClass tn_region_class;

TnBus *tn_bus_new (void);
void tn_bus_free (TnBus *bus);
/* A region that is not shown yet. */
TnRegion *tn_region_new (TnInstance *owner, TnSpace space, TnRegionKind kind, uint32_t count,
                         const TnBusOps *ops, TnRegionFlags flags);
TnCardMemory *tn_card_memory_new (size_t size);
void tn_card_memory_unref (TnCardMemory *memory);
/* Enters it in its table or takes it out. */
bool tn_region_map (TnRegion *region, GError **error);
void tn_region_unmap (TnRegion *region);
/* BARs: shows it when possible, again and again. */
void tn_region_set_bar (TnRegion *region, uint32_t first, bool enabled);
void tn_regions_retry (TnMachine *m);
uint32_t tn_region_read (TnRegion *region, uint32_t address, unsigned size);
void tn_region_write (TnRegion *region, uint32_t address, uint32_t value, unsigned size);
bool tn_bus_claim (TnBus *bus, TnRegion *region, TnRegion **holder);
void tn_bus_release (TnBus *bus, TnRegion *region);

TnPosted *tn_posted_new (void);
void tn_posted_free (TnPosted *posted);
bool tn_posted_waiting (TnPosted *posted);
void tn_posted_arrive (TnMachine *m);

TnMemoryMap *tn_memory_map_new (TnMachine *m);
void tn_memory_map_free (TnMemoryMap *map);
bool tn_memory_map_claim (TnMemoryMap *map, TnRegion *region, TnRegion **holder);
void tn_memory_map_release (TnMemoryMap *map, TnRegion *region);
/* Between the two, changes are collected; they nest. */
void tn_memory_map_hold (TnMemoryMap *map);
void tn_memory_map_commit (TnMemoryMap *map);
/* Routes, for rolling back. */
GBytes *tn_memory_map_routes (TnMemoryMap *map);
void tn_memory_map_set_routes (TnMemoryMap *map, GBytes *routes);

/* ---- Lines ---- */

extern const TnResourceClass tn_line_class;
TnBroker *tn_broker_new (TnMachine *m);
void tn_broker_free (TnBroker *broker);
/* Between the two, sources change without anybody being told; they nest.  Unmuting tells the
   watchers of the wires whose level differs from what was told last. */
void tn_broker_mute (TnBroker *broker);
void tn_broker_unmute (TnBroker *broker);
unsigned tn_broker_edges (TnBroker *broker, const char *name); /* rising, since the last call */
/* A device's sources as a(sb), in the order of acquisition, and back. */
GVariant *tn_lines_save (TnInstance *instance);
void tn_lines_load (TnInstance *instance, GVariant *levels);
GVariant *tn_broker_save_driven (TnBroker *broker);
void tn_broker_load_driven (TnBroker *broker, GVariant *levels);
/* What the wires show now counts as told (machine load); and: the core's own watchers are told it.
 */
void tn_broker_settle (TnBroker *broker);
void tn_broker_tell_core (TnBroker *broker);
/* Interrupt controller services of the machine (line.c). */
TnLine *tn_line_new (TnInstance *instance, const char *name);

/* ---- PCI, DMA, characters, blocks ---- */

extern const TnResourceClass tn_pci_class;
TnPciBus *tn_pci_bus_new (void);
void tn_pci_bus_free (TnPciBus *bus);
void tn_pci_reset_functions (TnInstance *instance);
GVariant *tn_pci_save (TnInstance *instance); /* a(uay) */
bool tn_pci_check (TnInstance *instance, GVariant *state, GError **error);
void tn_pci_load (TnInstance *instance, GVariant *state);

extern const TnResourceClass tn_dma_class;
TnIsaDma *tn_isadma_new (void);
void tn_isadma_free (TnIsaDma *dma);
GVariant *tn_isadma_save (TnInstance *instance); /* a(ub) */
void tn_isadma_load (TnInstance *instance, GVariant *state);
/* The harness as requester of a channel. */
void tn_isadma_set_host (TnMachine *m, unsigned channel, TnDmaFunc func, void *user);
void tn_isadma_request_host (TnMachine *m, unsigned channel, bool level);

TnCharHub *tn_char_hub_new (void);
void tn_char_hub_free (TnCharHub *hub);
/* Bytes that the core holds between the two sides of a back end: (ayay) to the front, to the back.
 */
GVariant *tn_char_save (TnDevice *back);
void tn_char_load (TnDevice *back, GVariant *state);
void tn_char_commit (TnMachine *m); /* after a swap: moves what is held */
/* Back end played by the harness. */
void tn_char_add_host (TnMachine *m, const char *name, const TnCharOps *ops, void *self);
size_t tn_char_host_room (TnMachine *m, const char *name);
size_t tn_char_host_receive (TnMachine *m, const char *name, const uint8_t *bytes, size_t size);
void tn_char_host_writable (TnMachine *m, const char *name);
bool tn_char_has_host (TnMachine *m, const char *name);

TnBlockHub *tn_block_hub_new (TnMachine *m, bool by_hand);
void tn_block_hub_free (TnBlockHub *hub);
void tn_block_add_host (TnMachine *m, const char *name, const TnBlockOps *ops, void *self);
void tn_block_host_changed (TnMachine *m, const char *name);
bool tn_block_has_host (TnMachine *m, const char *name);
/* After a back end was swapped: tells the front end if its medium looks different. */
void tn_block_commit (TnDevice *back, const TnBlockInfo *before);
bool tn_block_backend_info (TnDevice *back, TnBlockInfo *info);

TnDisplayHub *tn_display_hub_new (TnMachine *m);
void tn_display_hub_free (TnDisplayHub *hub);

TnTypist *tn_typist_new (TnMachine *m);
void tn_typist_free (TnTypist *typist);

/* ---- State ---- */

/* (name, plugin, version, fields, lines, pci, dma, chars, memory) */
#define TN_DEVICE_STATE_TYPE "(ssua{sv}a(sb)a(uay)a(ub)(ayay)a(say))"
GVariant *tn_state_save_device (TnDevice *device, bool with_memory);
bool tn_state_check_device (TnDevice *device, GVariant *state, GError **error);
/* After a check: reset, fields, levels, PCI; then ops.restored. */
bool tn_state_load_device (TnInstance *instance, GVariant *state, GError **error);
GVariant *tn_fields_save (TnInstance *instance);
/* self NULL: only checks. */
bool tn_fields_load (const TnField *fields, const char *device, void *self, GVariant *state,
                     uint32_t version, int64_t now, GError **error);

/* ---- ELF ---- */

/* Why this file cannot be a shared object of this host, or NULL (static text). */
const char *tn_elf_refusal (const uint8_t *bytes, size_t size);
