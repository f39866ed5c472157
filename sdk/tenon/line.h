/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named wires.  A line is the OR of all its sources; it tells its watchers when its level changes.
 * Names in use on a PC:
 *   "isa:0" ... "isa:15"    inputs of the interrupt controllers (8259 pair and I/O APIC pins)
 *   "gsi:16" ... "gsi:23"   further I/O APIC pins
 *   "pci:B:D:P"             INTx of bus B, device D, pin P (0 = A), asserted = true; driven with
 *                           tn_pci_set_intx (), watched by the interrupt router
 *   "cpu:intr" "cpu:nmi" "cpu:smi" "cpu:init" "cpu:a20" "cpu:ignne"  inputs of the processor
 *                           (true = asserted; a20 true = address line 20 passes)
 *   "cpu:ferr"              output of the processor
 *   "pit:out0"              and others that plugins agree on and document
 * Levels of watchers and sources are kept by the core across save, load and swap.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct TnLine TnLine; /* one device's source on a line */

/* A source of this device on the named line; it starts low. */
TnLine *tn_device_line (TnDevice *device, const char *name);
void tn_line_set (TnLine *line, bool level);
/* The level of this source, not of the whole line. */
bool tn_line_level (const TnLine *line);
/* High and low again: for edges. */
void tn_line_pulse (TnLine *line);

typedef void (*TnLineFunc) (void *self, bool level, void *data);
/* Calls func at each change of the whole line.  Not called for the present level. */
void tn_device_watch_line (TnDevice *device, const char *name, TnLineFunc func, void *data);
/* The level of a whole line now. */
bool tn_device_line_level (TnDevice *device, const char *name);

/* ---- Interrupt controller services ---- */

/* The device answers the processor's INTA cycles: returns the vector.  One per machine. */
typedef uint8_t (*TnIntaFunc) (void *self);
bool tn_device_provide_inta (TnDevice *device, TnIntaFunc func, GError **error);

/* A message on the APIC bus, as an I/O APIC's redirection entry sends it. */
typedef struct {
  uint8_t vector;
  uint8_t delivery_mode; /* 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT */
  bool logical;
  bool level; /* trigger mode: the local APIC sends an EOI message for it */
  uint8_t destination;
} TnApicMessage;
void tn_device_send_apic (TnDevice *device, const TnApicMessage *message);
/* EOI broadcasts of level-triggered vectors. */
typedef void (*TnEoiFunc) (void *self, uint8_t vector);
void tn_device_watch_eoi (TnDevice *device, TnEoiFunc func);

#pragma GCC visibility pop
G_END_DECLS
