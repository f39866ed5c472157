/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Services that every device uses: messages, errors, time, timers, file descriptors, signals,
 * machine control.  All that is acquired stands in the device's ledger and ends with it.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

/* Name from the configuration ("com1"); owned by the device. */
const char *tn_device_name (TnDevice *device);
/* The instance structure of the plugin. */
void *tn_device_instance (TnDevice *device);

/* ---- Messages and errors ---- */

typedef enum {
  TN_LOG_ERROR,       /* the host failed: say what, and what to do */
  TN_LOG_WARNING,     /* works, but not as the user may expect */
  TN_LOG_INFO,        /* rare events a user may want to know */
  TN_LOG_GUEST_ERROR, /* the guest did what the data sheet forbids or leaves open */
  TN_LOG_DEBUG,       /* for those who write the device */
} TnLogLevel;

/* Logs under the category of the device's plugin.  Repeated guest errors are rate-limited. */
void tn_device_log (TnDevice *device, TnLogLevel level, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

#define TN_ERROR (tn_error_quark ())
GQuark tn_error_quark (void);
typedef enum {
  TN_ERROR_FAILED,  /* anything else */
  TN_ERROR_CONFIG,  /* a property's value cannot be used */
  TN_ERROR_CLASH,   /* a resource belongs to another device */
  TN_ERROR_IO,      /* the host's file or device failed */
  TN_ERROR_STATE,   /* a saved state cannot be loaded */
  TN_ERROR_PLUGIN,  /* a shared object is not a usable plugin */
  TN_ERROR_MISSING, /* something named does not exist */
} TnErrorCode;
/* Sets *error (prefixed with the device's name) and returns false, for `return tn_device_fail
 * (...)`. */
bool tn_device_fail (TnDevice *device, GError **error, TnErrorCode code, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

/* ---- Virtual time: ns since the machine was switched on, less the time paused ---- */

#define TN_TIME_NEVER INT64_MAX
#define TN_NS_PER_S INT64_C (1000000000)
#define TN_NS_PER_MS INT64_C (1000000)
#define TN_NS_PER_US INT64_C (1000)

int64_t tn_device_now (TnDevice *device);
/* Host wall clock as the guest shall see it, in microseconds since 1970 UTC plus the configured
   offset; in counted mode it starts at a fixed date and follows virtual time. */
int64_t tn_device_wall_clock_us (TnDevice *device);
/* ticks of a `hz` clock in `ns` (rounded down), without overflow; and the first ns at which a
   number of ticks is reached (rounded up). */
int64_t tn_ns_to_ticks (int64_t ns, uint64_t hz);
int64_t tn_ticks_to_ns (int64_t ticks, uint64_t hz);

typedef struct TnTimer TnTimer;
/* `self` of callbacks is the instance structure. */
typedef void (*TnTimerFunc) (void *self, void *data);
TnTimer *tn_device_timer_new (TnDevice *device, const char *name, TnTimerFunc func, void *data);
/* Fires once when now >= when; in the past fires as soon as possible; TN_TIME_NEVER cancels. */
void tn_timer_set (TnTimer *timer, int64_t when);
void tn_timer_cancel (TnTimer *timer);
/* When it will fire, or TN_TIME_NEVER. */
int64_t tn_timer_when (const TnTimer *timer);

/* ---- File descriptors, served by the main loop under the machine lock ---- */

typedef struct TnWatch TnWatch;
typedef void (*TnWatchFunc) (void *self, int fd, unsigned condition, void *data);
/* condition: GIOCondition bits.  The descriptor stays the plugin's and is not closed. */
TnWatch *tn_device_watch_fd (TnDevice *device, int fd, unsigned condition, TnWatchFunc func,
                             void *data);
void tn_watch_set_condition (TnWatch *watch, unsigned condition); /* 0 mutes */
void tn_watch_free (TnWatch *watch);

/* Is the device being swapped?  True in realize and restored of the new instance, and in saving and
   unrealize of the one that goes: it must then leave as it is what its successor goes on with (the
   mode of a terminal, a lock file). */
bool tn_device_swapping (TnDevice *device);
/* Descriptors that outlive a swap: connections, pty masters, listening sockets.  keep_fd () gives
   `fd` to the core under a name of the plugin's choice; the core closes it when the device ends,
   when another is kept under that name, or when -1 is.  It is never closed by the plugin.  take_fd
   () in realize tells the descriptor that the predecessor kept (it stays the core's), or -1:

     self->fd = tn_device_take_fd (self->device, "master");
     if (self->fd < 0)
       {
         self->fd = posix_openpt (O_RDWR | O_NOCTTY);
         ...
         tn_device_keep_fd (self->device, "master", self->fd);
       }

   If the swap is rolled back, the predecessor's descriptors are as they were. */
void tn_device_keep_fd (TnDevice *device, const char *name, int fd);
int tn_device_take_fd (TnDevice *device, const char *name);

/* ---- Signals of the descriptor ---- */

/* Emits a signal that the descriptor declares; value is ignored where it has none. */
void tn_device_emit (TnDevice *device, const char *signal, uint64_t value);

/* ---- Facts about the board, for cards that stand in for its setup program ---- */

/* Makes a number known to the other devices until this one ends; a second time replaces it.  To be
   called in realize, so that it is there when devices are reset.  Names in use:

     "floppy-a", "floppy-b"   type of the drive as CMOS byte 10h has it; 0 for none */
void tn_device_publish (TnDevice *device, const char *name, uint32_t value);
/* False if nobody has told it. */
bool tn_device_lookup (TnDevice *device, const char *name, uint32_t *value);

/* ---- Machine control: carried out at the next safe point ---- */

void tn_device_request_reset (TnDevice *device, TnResetKind kind);
void tn_device_request_poweroff (TnDevice *device);
/* Text that firmware writes to its debug port, and POST codes; goes to the category "firmware". */
void tn_device_firmware_message (TnDevice *device, const char *line);

#pragma GCC visibility pop
G_END_DECLS
