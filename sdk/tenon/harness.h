/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Test harness: a machine with no processor.  Loads one or more plugins, plays the guest's bus
 * cycles and turns the clock by hand, in counted time that starts at 0.  Link with `pkg-config
 * --libs tenon-harness`.  Failures of the harness itself end the program with a message (exit code
 * 2); what a test asserts is its own business.
 *
 *   TnHarness *h = tn_harness_new (1 << 20);
 *   tn_harness_add (h, "com1", "uart16550a", "port", "0x3f8", "irq", "4", NULL);
 *   tn_harness_start (h);
 *   g_assert_cmphex (tn_harness_in8 (h, 0x3fd), ==, 0x60);
 */
#pragma once

#include <glib-object.h>
#include <tenon/tenon.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct TnHarness TnHarness;

TnHarness *tn_harness_new (uint64_t ram_size);
void tn_harness_free (TnHarness *h);
/* Adds a device before start: plugin is a type name found on TENON_PLUGIN_PATH, or a path with '/'.
   Then name, value pairs of strings as in a configuration, NULL-terminated. */
TnDevice *tn_harness_add (TnHarness *h, const char *name, const char *plugin, ...)
    G_GNUC_NULL_TERMINATED;
TnDevice *tn_harness_try_add (TnHarness *h, const char *name, const char *plugin,
                              const char *const *pairs, GError **error);
/* Realizes and resets all; the second form reports instead of ending the program. */
void tn_harness_start (TnHarness *h);
bool tn_harness_try_start (TnHarness *h, GError **error);
void tn_harness_reset (TnHarness *h);
TnDevice *tn_harness_device (TnHarness *h, const char *name);

uint8_t tn_harness_in8 (TnHarness *h, uint16_t port);
uint16_t tn_harness_in16 (TnHarness *h, uint16_t port);
uint32_t tn_harness_in32 (TnHarness *h, uint16_t port);
void tn_harness_out8 (TnHarness *h, uint16_t port, uint8_t value);
void tn_harness_out16 (TnHarness *h, uint16_t port, uint16_t value);
void tn_harness_out32 (TnHarness *h, uint16_t port, uint32_t value);
/* REP INS / REP OUTS. */
void tn_harness_ins (TnHarness *h, uint16_t port, void *items, uint32_t count, unsigned size);
void tn_harness_outs (TnHarness *h, uint16_t port, const void *items, uint32_t count,
                      unsigned size);
/* From now on writes to TN_IO_POSTED regions are queued, as the processor's are, until the next call
   of the harness that looks at anything.  Off at first. */
void tn_harness_post (TnHarness *h, bool on);
uint32_t tn_harness_read (TnHarness *h, uint32_t address, unsigned size);
void tn_harness_write (TnHarness *h, uint32_t address, uint32_t value, unsigned size);
void tn_harness_mem_read (TnHarness *h, uint32_t address, void *buffer, size_t size);
void tn_harness_mem_write (TnHarness *h, uint32_t address, const void *buffer, size_t size);
/* The same access as a processor in SMM makes it. */
uint32_t tn_harness_read_smm (TnHarness *h, uint32_t address, unsigned size);
/* PCI configuration of bus 0 without a host bridge. */
uint32_t tn_harness_pci_read (TnHarness *h, unsigned bus, unsigned devfn, unsigned offset,
                              unsigned size);
void tn_harness_pci_write (TnHarness *h, unsigned bus, unsigned devfn, unsigned offset,
                           uint32_t value, unsigned size);

/* Lines: level now; number of rising edges since the last call; drive one from outside. */
bool tn_harness_line (TnHarness *h, const char *name);
unsigned tn_harness_line_edges (TnHarness *h, const char *name);
void tn_harness_set_line (TnHarness *h, const char *name, bool level);
uint8_t tn_harness_inta (TnHarness *h);
/* Last APIC message that a device sent; false if none since the last call.  An EOI broadcast. */
bool tn_harness_apic_message (TnHarness *h, TnApicMessage *message);
void tn_harness_apic_eoi (TnHarness *h, uint8_t vector);

/* Turns the clock; timers fire in order at their times. */
void tn_harness_clock_step (TnHarness *h, int64_t ns);
int64_t tn_harness_now (TnHarness *h);
/* Runs the main loop and workers until no block request is in flight and no fd is ready. */
void tn_harness_settle (TnHarness *h);

/* Character back end played by the test: name it in a link property after adding it. */
void tn_harness_add_char (TnHarness *h, const char *name);
void tn_harness_char_feed (TnHarness *h, const char *name, const void *bytes, size_t size);
/* What the device sent since the last call; owned by the caller (g_byte_array_unref). */
GByteArray *tn_harness_char_take (TnHarness *h, const char *name);
/* Limits how many bytes it takes from now on (SIZE_MAX: all). */
void tn_harness_char_limit (TnHarness *h, const char *name, size_t bytes);
/* Block back end in memory (the harness uses `bytes`); error: errno to return from now on, or 0. */
void tn_harness_add_block (TnHarness *h, const char *name, uint8_t *bytes, uint64_t size,
                           uint32_t sector_size, bool read_only, bool removable);
void tn_harness_block_error (TnHarness *h, const char *name, int error);
void tn_harness_block_present (TnHarness *h, const char *name, bool present);
/* What tenon ctl insert and eject do (file NULL: eject) with a back end that was added by plugin. */
bool tn_harness_change_medium (TnHarness *h, const char *name, const char *file, bool force,
                               GError **error);

/* DMA requester played by the test on a channel: bytes to give or room to take. */
void tn_harness_add_dma (TnHarness *h, unsigned channel);
void tn_harness_dma_give (TnHarness *h, unsigned channel, const void *bytes, size_t size);
GByteArray *tn_harness_dma_take (TnHarness *h, unsigned channel, size_t room);

/* The user's input: a key goes down or up; the pointer moves (see input.h). */
void tn_harness_key (TnHarness *h, TnKey key, bool down);
/* A text, as tenon ctl type types it. */
void tn_harness_type (TnHarness *h, const char *text);
void tn_harness_pointer (TnHarness *h, int dx, int dy, int wheel, unsigned buttons);

/* The screen of a card (NULL: the first), brought up to date; valid until the card or the harness is
   called again.  Its text; free with g_free (). */
const TnScreen *tn_harness_screen (TnHarness *h, const char *card);
char *tn_harness_screen_text (TnHarness *h, const char *card);
/* Serves descriptors and displays for so long in the host's time; the clock stands. */
void tn_harness_run (TnHarness *h, unsigned ms);

/* State of all devices; free with g_bytes_unref.  load reports. */
GBytes *tn_harness_save (TnHarness *h);
bool tn_harness_load (TnHarness *h, GBytes *state, GError **error);
/* Swaps a device's plugin (NULL: the same file again). */
bool tn_harness_swap (TnHarness *h, const char *name, const char *file, GError **error);

/* The descriptor of a device's plugin as it runs now; until the next swap. */
const TnPlugin *tn_harness_plugin (TnHarness *h, const char *name);
/* What a device holds: kind "ports", "mmio", "rom", "ram" with first and count as the guest sees
   them; "pci" (first: bus << 8 | devfn), "line", "watch" (name), "timer" (name), "dma-channel"
   (first). */
typedef void (*TnHarnessResourceFunc) (void *data, const char *kind, uint64_t first, uint64_t count,
                                       const char *name);
void tn_harness_resources (TnHarness *h, const char *name, TnHarnessResourceFunc func, void *data);

/* The GObject that bears the properties and signals of the descriptor; owned by the device. */
GObject *tn_harness_card (TnHarness *h, const char *name);

/* Requests seen since the last call. */
bool tn_harness_take_reset (TnHarness *h, TnResetKind *kind);
bool tn_harness_take_poweroff (TnHarness *h);

#pragma GCC visibility pop
G_END_DECLS
