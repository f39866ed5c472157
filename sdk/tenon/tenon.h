/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tenon SDK: everything that a device or back-end plugin may use.
 *
 * A plugin is one shared object that exports one constant, tn_plugin_1 (see plugin.h), and calls
 * the tn_device_* services below.  It registers no GTypes, has no constructors and no mutable
 * globals.
 *
 *   plugin.h    the descriptor: properties, signals, saved fields, operations
 *   device.h    log, errors, life cycle, virtual clock, timers, file descriptors, signals
 *   bus.h       port and memory regions, guest memory, shadow RAM
 *   line.h      named wires: interrupts, A20, SMI, PCI INTx; interrupt acknowledge; APIC messages
 *   isadma.h    8237 channels: DREQ, and the controller's side
 *   pci.h       PCI functions, configuration space, BARs
 *   char.h      character streams: a UART on one side, a terminal on the other
 *   block.h     disks and removable media
 *   input.h     keys and the pointer
 *   display.h   pictures: video cards, and windows that show them
 *
 * Threads: every operation, handler and callback of a device runs under the machine lock, so that a
 * device is never entered twice at once; the exceptions (block back ends) say so.
 */
#pragma once

#include <tenon/plugin.h>
#include <tenon/device.h>
#include <tenon/bus.h>
#include <tenon/line.h>
#include <tenon/isadma.h>
#include <tenon/pci.h>
#include <tenon/char.h>
#include <tenon/block.h>
#include <tenon/input.h>
#include <tenon/display.h>
