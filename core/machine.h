/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machine, as the files of core/ see it.  Two halves share this header:
 *
 *   device half    machine.c clock.c bus.c memory_map.c line.c pci.c isadma.c chardev.c blockdev.c
 *                  plugin.c device.c device_class.c property.c state.c swap.c harness.c
 *   machine half   configuration, processor thread, main loop, commands, control socket, log sink
 *
 * A TnMachine works without any processor (the harness is one).  Life cycle:
 *
 *   TnMachineConfig config = { .ram_size = 64 << 20, .hooks = &hooks, .opaque = me };
 *   TnMachine *m = tn_machine_new (&config, &error);
 *   TnDevice *d = tn_machine_add (m, "com1", "uart16550a", &error);
 *   tn_device_config_string (d, "port", "0x3f8", &error);
 *   tn_machine_realize (m, &error);      back ends first, then devices in the order of adding
 *   tn_machine_reset (m);                power on
 *   ... under tn_machine_lock (): tn_machine_port_read (), tn_clock_run (), tn_machine_swap () ...
 *   tn_machine_free (m);
 *
 * Threads.  One recursive lock guards everything; whatever takes a TnMachine, TnDevice, TnClock or
 * TnLine is called with it held unless marked [locks itself] or [any thread].  Guest code runs
 * without the lock; the memory map may change only while none runs, so the map, swap, reset and
 * load call hooks->quiesce () and hooks->resume () around what they do.
 *
 * Symbols: only sdk/tenon/ and tn_main () are visible outside of libtenon; the tenon program is a
 * main () that calls tn_main ().
 */
#pragma once

#include <gio/gio.h>
#include <glib-object.h>
#include <tenon/tenon.h>
#include <vmm.h>

G_BEGIN_DECLS

typedef struct TnMachine TnMachine;
typedef struct TnClock TnClock;
typedef struct TnEvent TnEvent;
typedef struct TnModule TnModule;

/* ---- Machine ---- */

/* What the machine half does for the device half.  Any may be NULL.  Called with the lock held. */
typedef struct {
  /* `device` is NULL for the machine itself; category: the plugin's name, "firmware", "machine" */
  void (*log) (void *opaque, const char *category, TnLogLevel level, const char *device,
               const char *text);
  /* Note the wish and carry it out at the next safe point (tn_machine_reset () and the vCPU). */
  void (*request_reset) (void *opaque, TnResetKind kind);
  void (*request_poweroff) (void *opaque);
  /* The clock's earliest event is now at `when` (TN_TIME_NEVER: none): wake who runs the clock. */
  void (*deadline) (void *opaque, int64_t when);
  /* Stop guest code (return once no vCPU executes any), and let it go on.  They nest.  On the
     vCPU's own thread between exits there is nothing to do.  A vCPU waiting for the machine lock
     counts as stopped. */
  void (*quiesce) (void *opaque);
  void (*resume) (void *opaque);
  /* A message on the APIC bus; return whether a processor accepted it. */
  bool (*send_apic) (void *opaque, const TnApicMessage *message);
  /* The processors' part of a saved machine (floating or full reference; NULL: none), and back.
     With `check` only look whether it could be loaded. */
  GVariant *(*save_cpus) (void *opaque);
  bool (*load_cpus) (void *opaque, GVariant *state, bool check, GError **error);
  /* What a window's title says; free with g_free (). */
  char *(*title) (void *opaque);
} TnMachineHooks;

typedef enum {
  TN_CLOCK_REAL,    /* host's monotonic clock less the time paused */
  TN_CLOCK_COUNTED, /* goes on only by tn_clock_advance () */
} TnClockMode;

typedef struct {
  uint64_t ram_size; /* bytes, a multiple of 1 MiB */
  TnClockMode clock;
  int64_t wall_clock_offset_us; /* added to the host's wall clock */
  GMainContext *context;        /* serves fds and completions; NULL: the default one */
  const char *base_dir; /* relative FILE properties start here; NULL: the working directory */
  const TnMachineHooks *hooks; /* lives as long as the machine */
  void *opaque;
  bool block_by_hand; /* block completions are delivered by tn_machine_settle_blocks () alone */
} TnMachineConfig;

TnMachine *tn_machine_new (const TnMachineConfig *config, GError **error);
/* Unrealizes and frees all devices.  [locks itself; the vCPU must be gone] */
void tn_machine_free (TnMachine *m);
/* Posted writes have arrived when it returns. */
void tn_machine_lock (TnMachine *m);
bool tn_machine_trylock (TnMachine *m);
void tn_machine_unlock (TnMachine *m);
VmmVm *tn_machine_vm (TnMachine *m);
TnClock *tn_machine_clock (TnMachine *m);
uint64_t tn_machine_ram_size (TnMachine *m);
/* Logs for the machine itself: category and text; printf style. */
void tn_machine_log (TnMachine *m, const char *category, TnLogLevel level, const char *format, ...)
    G_GNUC_PRINTF (4, 5);
void tn_machine_quiesce (TnMachine *m); /* nest; see hooks */
void tn_machine_resume (TnMachine *m);

/* Adds a device that is not realized yet.  `plugin` is a type name looked up on the search path, or
   a path when it has a '/'.  The name is taken by the machine.  Owned by the machine. */
TnDevice *tn_machine_add (TnMachine *m, const char *name, const char *plugin, GError **error);
TnDevice *tn_machine_find (TnMachine *m, const char *name);
/* Devices in the order of adding; owned by the machine. */
GPtrArray *tn_machine_devices (TnMachine *m);
/* Checks links and required properties, then realizes all devices.  After a failure the machine
   holds nothing of them and can only be freed. */
bool tn_machine_realize (TnMachine *m, GError **error);
/* Hard reset of all devices (not of processors).  Quiesces. */
void tn_machine_reset (TnMachine *m);
/* Replaces the plugin of a running device; `file` NULL: look up the same name again (or the same
   path). False: the old one runs on.  Quiesces; any thread but not from a device's callback. */
bool tn_machine_swap (TnMachine *m, TnDevice *device, const char *file, GError **error);
/* Puts a medium into the drive that a disk back end stands for, or takes it out (NULL).  A medium
   that the guest locked in comes out by force alone. */
bool tn_machine_change_medium (TnMachine *m, TnDevice *back, const char *file, bool force,
                               GError **error);
/* All devices (and processors, by the hooks) without main memory.  Returns a full reference. */
GVariant *tn_machine_save (TnMachine *m, GError **error);
/* Refuses hostile input before anything has changed where it can be seen before; if a device
   refuses late, the state from before is put back. */
bool tn_machine_load (TnMachine *m, GVariant *state, GError **error);

/* ---- Guest's cycles: called by the vCPU's thread at its exits, by the harness, locked ---- */

uint32_t tn_machine_port_read (TnMachine *m, uint16_t port, unsigned size);
void tn_machine_port_write (TnMachine *m, uint16_t port, uint32_t value, unsigned size);
/* REP INS/OUTS: up to `count` items of `size` bytes; returns how many were moved, at least 1. */
uint32_t tn_machine_port_ins (TnMachine *m, uint16_t port, void *items, uint32_t count,
                              unsigned size);
uint32_t tn_machine_port_outs (TnMachine *m, uint16_t port, const void *items, uint32_t count,
                               unsigned size);
/* Cycles on the memory bus, wherever they lead (cards, ROM, main memory as routed). */
uint32_t tn_machine_mem_read (TnMachine *m, uint32_t address, unsigned size, bool smm);
void tn_machine_mem_write (TnMachine *m, uint32_t address, uint32_t value, unsigned size, bool smm);
/* Bus master's view, any length. */
void tn_machine_dma_read (TnMachine *m, uint32_t address, void *buffer, uint32_t size);
void tn_machine_dma_write (TnMachine *m, uint32_t address, const void *buffer, uint32_t size);
uint32_t tn_machine_pci_read (TnMachine *m, unsigned bus, unsigned devfn, unsigned offset,
                              unsigned size);
void tn_machine_pci_write (TnMachine *m, unsigned bus, unsigned devfn, unsigned offset,
                           uint32_t value, unsigned size);

/* How cycles may be served: sets of these.  Without the lock the answer is a hint, as other threads
   move regions.  `access` of memory is asked for reads and writes alike. */
enum {
  TN_ACCESS_READ_FAST = 1,    /* reads: by a short handler, without an exit */
  TN_ACCESS_WRITE_FAST = 2,   /* writes */
  TN_ACCESS_WRITE_POSTED = 4, /* writes may be posted */
};
unsigned tn_machine_port_access (const TnMachine *m, uint16_t port,
                                 unsigned size);                       /* [any thread] */
unsigned tn_machine_mem_access (const TnMachine *m, uint32_t address); /* [any thread] */
/* With the lock: is all of it handled by one region that is TN_IO_FAST? */
bool tn_machine_mem_is_fast (const TnMachine *m, uint32_t address, unsigned size);
/* Queues a write that arrives the next time the machine is locked; false: no room.  [the
   processor's thread, without the lock] */
bool tn_machine_post_port (TnMachine *m, uint16_t port, uint32_t value, unsigned size);
bool tn_machine_post_mem (TnMachine *m, uint32_t address, uint32_t value, unsigned size, bool smm);
typedef struct {
  uint64_t arrived; /* writes that were posted and have arrived */
  uint64_t rounds;  /* in so many goes */
  uint64_t full;    /* writes that found no room, and were made at once */
} TnPostedCounts;
void tn_machine_posted_counts (TnMachine *m, TnPostedCounts *counts);

/* While a cycle of the guest is served devices find this time, which was read just before.
   TN_CYCLE_UNREAD: nobody has read the clock; tell if someone asks.  TN_TIME_NEVER: it is over. */
#define TN_CYCLE_UNREAD (-1)
void tn_machine_set_cycle_time (TnMachine *m, int64_t now);
/* Has a device asked for the time of a cycle that was TN_CYCLE_UNREAD, since this was asked last?
 */
bool tn_machine_time_asked (TnMachine *m);

/* INTA cycles: the vector from the interrupt controller; 0xff where there is none. */
uint8_t tn_machine_inta (TnMachine *m);
/* A local APIC broadcasts an EOI. */
void tn_machine_apic_eoi (TnMachine *m, uint8_t vector);

/* ---- Lines of the core itself (processor pins, harness) ---- */

typedef void (*TnMachineLineFunc) (void *data, bool level);
/* Calls func at each change of the named line, and after a load with the level that it then has. */
void tn_machine_watch_line (TnMachine *m, const char *name, TnMachineLineFunc func, void *data);
bool tn_machine_line_level (TnMachine *m, const char *name);
/* Drives the line from outside of all devices: one source per name. */
void tn_machine_drive_line (TnMachine *m, const char *name, bool level);

/* ---- Clock ---- */

typedef void (*TnEventFunc) (void *data);
int64_t tn_clock_now (TnClock *clock); /* [any thread] */
TnClockMode tn_clock_mode (const TnClock *clock);
/* Real mode: virtual time stands still between the two.  They do not nest; idempotent. */
void tn_clock_pause (TnClock *clock);
void tn_clock_continue (TnClock *clock);
/* Real mode: the processor runs, and has come so far; until it calls again time goes on for a short
   while at most.  rest: it is idle, and sees to what is due at `deadline`; time goes on to there and
   a short while beyond, or freely if that is never.  [any thread] */
void tn_clock_follow (TnClock *clock);
void tn_clock_rest (TnClock *clock, int64_t deadline);
/* Counted mode: lets time pass up to `when`, firing what falls due in order at its own time. */
void tn_clock_advance (TnClock *clock, int64_t when);
/* Fires all events that are due now (both modes); returns when the next one is. */
int64_t tn_clock_run (TnClock *clock);
int64_t tn_clock_deadline (TnClock *clock); /* earliest event, or TN_TIME_NEVER */
/* What stands between virtual time and the host's CLOCK_MONOTONIC, for timeouts. */
int64_t tn_clock_host_delay (TnClock *clock, int64_t when); /* ns from now, >= 0; NEVER if none */
int64_t tn_clock_wall_us (TnClock *clock);

TnEvent *tn_event_new (TnClock *clock, TnEventFunc func, void *data);
void tn_event_free (TnEvent *event);
void tn_event_set (TnEvent *event, int64_t when); /* TN_TIME_NEVER cancels */
int64_t tn_event_when (const TnEvent *event);

/* ---- Devices, seen from configuration and control ---- */

#define TN_TYPE_DEVICE (tn_device_get_type ())
GType tn_device_get_type (void); /* signals: "swapped" () */
/* Before realize.  Errors say what was expected and found, without the device's name:
   "port: expected a number from 0 to 65528, found 70000"; unknown names come with a suggestion. */
bool tn_device_config_string (TnDevice *device, const char *name, const char *value,
                              GError **error);
bool tn_device_config_int (TnDevice *device, const char *name, int64_t value, GError **error);
bool tn_device_config_bool (TnDevice *device, const char *name, bool value, GError **error);
/* The descriptor now in use; valid until the next swap. */
const TnPlugin *tn_device_plugin (TnDevice *device);
const char *tn_device_file (TnDevice *device); /* path that the plugin was loaded from */
bool tn_device_realized (TnDevice *device);
/* The GObject that bears the properties and signals of the descriptor; of another class after a
   swap that changed the schema ("swapped" tells).  Owned by the device. */
GObject *tn_device_card (TnDevice *device);
/* What the device holds: a call per port range, memory range, line, timer ... */
typedef void (*TnResourceFunc) (void *data, const char *kind, uint64_t first, uint64_t count,
                                const char *name);
void tn_device_resources (TnDevice *device, TnResourceFunc func, void *data);

/* ---- Plugins ---- */

/* Directories searched for plugins: TENON_PLUGIN_PATH (colons), then that of the installation. */
char **tn_plugin_path (void);
/* Path of the plugin of that name, or NULL with TN_ERROR_MISSING and a suggestion. */
char *tn_plugin_find (const char *name, GError **error);
/* Sorted paths of everything ending in .so in the search path; first of each base name. */
GPtrArray *tn_plugin_list (void);
/* Loads a private copy of the file and checks the descriptor. */
TnModule *tn_module_load (const char *path, GError **error);
TnModule *tn_module_ref (TnModule *module);
void tn_module_unref (TnModule *module);
const TnPlugin *tn_module_plugin (const TnModule *module); /* complete, zero-extended copy */
const char *tn_module_path (const TnModule *module);

/* ---- User's input (input.h), to all devices that watch it; returns whether any does ---- */

bool tn_machine_send_key (TnMachine *m, TnKey key, bool down);
bool tn_machine_send_pointer (TnMachine *m, const TnPointerEvent *event);
/* Types a text; returns how many characters the keyboard does not have.  Presses keys one after the
   other and lets them go.  Both are queued. */
unsigned tn_machine_type (TnMachine *m, const char *text);
void tn_machine_press (TnMachine *m, const TnKey *keys, unsigned n);
/* The layout that the guest has, a number of tn_keymap_names. */
void tn_machine_set_keyboard (TnMachine *m, unsigned layout);

/* ---- Pictures ---- */

/* The screen of a card (NULL: the first that has one), brought up to date; valid until the lock is
   let go. */
const TnScreen *tn_machine_screen (TnMachine *m, const char *card, GError **error);
/* Its text, lines ended by '\n' without trailing blanks; free with g_free (). */
char *tn_screen_text (const TnScreen *screen);

/* ---- Block requests ---- */

/* Waits until no request is in flight, delivering completions. */
void tn_machine_drain_blocks (TnMachine *m);
/* Delivers what is complete; with `wait`, waits until none is in flight.  Returns whether any was
   delivered. */
bool tn_machine_settle_blocks (TnMachine *m, bool wait);

/* Names of the back ends that had requests since the last call, with spaces between them. */
void tn_machine_busy_blocks (TnMachine *m, GString *names);

/* ---- Odds and ends ---- */

/* The candidate (NULL-terminated list) that a misspelt word may have meant, or NULL. */
const char *tn_suggest (const char *word, const char *const *candidates);

/* The tenon command (machine half). */
__attribute__ ((visibility ("default"))) int tn_main (int argc, char **argv);

G_END_DECLS
