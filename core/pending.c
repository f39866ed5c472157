/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Services that are still being written: they are here so that the others link. */
#include "internal.h"
#include <tenon/harness.h>
TnCharHub *tn_char_hub_new (void) { return NULL; }
void tn_char_hub_free (TnCharHub *hub) { }
void tn_char_add_host (TnMachine *m, const char *n, const TnCharOps *ops, void *self) { }
size_t tn_char_host_room (TnMachine *m, const char *name) { return 0; }
size_t tn_char_host_receive (TnMachine *m, const char *name, const uint8_t *bytes, size_t size) { return 0; }
void tn_char_host_writable (TnMachine *m, const char *name) { }
bool tn_char_has_host (TnMachine *m, const char *name) { return true; }
TnChar *tn_device_char (TnDevice *device, const char *link, const TnCharFrontOps *ops, void *data, GError **error) { return (TnChar *) device; }
size_t tn_char_send (TnChar *chr, const uint8_t *bytes, size_t size) { return size; }
void tn_char_accept (TnChar *chr) { }
void tn_char_break (TnChar *chr, bool on) { }
size_t tn_device_char_room (TnDevice *device) { return 0; }
size_t tn_device_char_receive (TnDevice *device, const uint8_t *bytes, size_t size) { return 0; }
void tn_device_char_writable (TnDevice *device) { }
void tn_device_char_connected (TnDevice *device, bool connected) { }
TnBlockHub *tn_block_hub_new (TnMachine *m, bool by_hand) { return NULL; }
void tn_block_hub_free (TnBlockHub *hub) { }
void tn_block_add_host (TnMachine *m, const char *name, const TnBlockOps *ops, void *self) { }
void tn_block_host_changed (TnMachine *m, const char *name) { }
bool tn_block_has_host (TnMachine *m, const char *name) { return true; }
void tn_machine_drain_blocks (TnMachine *m) { }
bool tn_machine_settle_blocks (TnMachine *m, bool wait) { return false; }
TnBlock *tn_device_block (TnDevice *device, const char *link, TnMediaFunc changed, void *data, GError **error) { return (TnBlock *) device; }
TnBlockInfo tn_block_info (const TnBlock *block) { return (TnBlockInfo){ 0 }; }
void tn_block_read (TnBlock *block, uint64_t offset, void *buffer, size_t size, TnBlockFunc done, void *data) { }
void tn_block_write (TnBlock *block, uint64_t offset, const void *buffer, size_t size, TnBlockFunc done, void *data) { }
void tn_block_flush (TnBlock *block, TnBlockFunc done, void *data) { }
void tn_block_eject (TnBlock *block) { }
void tn_device_block_changed (TnDevice *device) { }
GVariant *tn_machine_save (TnMachine *m, GError **error) { return g_variant_ref_sink (g_variant_new_array (G_VARIANT_TYPE ("{sv}"), NULL, 0)); }
bool tn_machine_load (TnMachine *m, GVariant *state, GError **error) { return true; }
bool tn_machine_swap (TnMachine *m, TnDevice *device, const char *file, GError **error) { return true; }
