/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ISA DMA: requester's side (floppy, sound) and controller's side (8237).
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef struct TnDma TnDma;

/* Requester: the controller moves up to `size` bytes.  to_memory: fill `data`; otherwise consume
   it. *tc is true when the channel reaches terminal count with the last byte of this call.  Returns
   how many bytes were moved; fewer ends the request until DREQ is raised again. */
typedef size_t (*TnDmaFunc) (void *self, uint8_t *data, size_t size, bool to_memory, bool tc,
                             void *user);
/* Claims channel 0-3 (8 bit) or 5-7 (16 bit). */
TnDma *tn_device_dma_channel (TnDevice *device, unsigned channel, TnDmaFunc func, void *user,
                              GError **error);
/* DREQ.  A transfer may happen before this returns, or when the guest unmasks the channel. */
void tn_dma_request (TnDma *dma, bool level);

/* Controller: told of DREQ changes. */
typedef void (*TnDreqFunc) (void *self, unsigned channel, bool level);
bool tn_device_provide_isa_dma (TnDevice *device, TnDreqFunc func, GError **error);
/* Controller: is DREQ of a channel high? and: run the requester of a channel. */
bool tn_device_dma_dreq (TnDevice *device, unsigned channel);
size_t tn_device_dma_service (TnDevice *device, unsigned channel, uint8_t *data, size_t size,
                              bool to_memory, bool tc);

#pragma GCC visibility pop
G_END_DECLS
