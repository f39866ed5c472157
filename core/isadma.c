/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ISA DMA: which device requests on a channel, whether DREQ is high, and who controls.
 */
#include "internal.h"

#define CHANNELS 8

struct TnDma {
  TnResource resource;
  unsigned channel;
  TnDmaFunc func;
  void *user;
  bool dreq;
};

typedef struct {
  TnResource resource;
  TnDreqFunc func;
} Controller;

struct TnIsaDma {
  TnDma *channel[CHANNELS]; /* detached ones are not here */
  TnDma host[CHANNELS];     /* played by the harness */
  Controller *controller;
};

TnIsaDma *
tn_isadma_new (void)
{
  return g_new0 (TnIsaDma, 1);
}

void
tn_isadma_free (TnIsaDma *dma)
{
  g_free (dma);
}

/* ---- Requesters ---- */

static TnIsaDma *
hub (const TnResource *resource)
{
  return resource->owner->device->machine->dma;
}

static void
dma_detach (TnResource *resource)
{
  TnDma *dma = (TnDma *) resource;

  if (hub (resource)->channel[dma->channel] == dma)
    hub (resource)->channel[dma->channel] = NULL;
}

static void
dma_attach (TnResource *resource)
{
  TnDma *dma = (TnDma *) resource;

  hub (resource)->channel[dma->channel] = dma;
}

static void
dma_free (TnResource *resource)
{
  dma_detach (resource);
  g_free (resource);
}

static void
dma_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  func (data, "dma-channel", ((TnDma *) resource)->channel, 1, NULL);
}

const TnResourceClass tn_dma_class = { .kind = "dma-channel",
                                       .detach = dma_detach,
                                       .attach = dma_attach,
                                       .free = dma_free,
                                       .describe = dma_describe };

TnDma *
tn_device_dma_channel (TnDevice *device, unsigned channel, TnDmaFunc func, void *user,
                       GError **error)
{
  TnIsaDma *isa = device->machine->dma;
  TnDma *dma;

  g_return_val_if_fail (func != NULL, NULL);
  if (channel >= CHANNELS || channel == 4)
    {
      tn_device_fail (device, error, TN_ERROR_CONFIG, "there is no DMA channel %u", channel);
      return NULL;
    }
  if (isa->channel[channel] != NULL)
    {
      const TnInstance *owner = isa->channel[channel]->resource.owner;

      tn_device_fail (device, error, TN_ERROR_CLASH, "DMA channel %u already belongs to %s",
                      channel, owner ? owner->device->name : "the test");
      return NULL;
    }
  dma = g_new0 (TnDma, 1);
  *dma = (TnDma){ .channel = channel, .func = func, .user = user };
  tn_resource_init (&dma->resource, &tn_dma_class, device->instance);
  isa->channel[channel] = dma;
  return dma;
}

static void
request (TnMachine *m, TnDma *dma, bool level)
{
  Controller *controller = m->dma->controller;

  if (dma->dreq == level)
    return;
  dma->dreq = level;
  if (controller != NULL && m->loading == 0)
    controller->func (controller->resource.owner->self, dma->channel, level);
}

void
tn_dma_request (TnDma *dma, bool level)
{
  g_return_if_fail (dma != NULL);
  request (dma->resource.owner->device->machine, dma, level);
}

void
tn_isadma_set_host (TnMachine *m, unsigned channel, TnDmaFunc func, void *user)
{
  TnDma *dma = &m->dma->host[channel];

  *dma = (TnDma){ .channel = channel, .func = func, .user = user };
  m->dma->channel[channel] = dma;
}

void
tn_isadma_request_host (TnMachine *m, unsigned channel, bool level)
{
  request (m, &m->dma->host[channel], level);
}

/* ---- Controller ---- */

static void
controller_detach (TnResource *resource)
{
  if (hub (resource)->controller == (Controller *) resource)
    hub (resource)->controller = NULL;
}

static void
controller_attach (TnResource *resource)
{
  hub (resource)->controller = (Controller *) resource;
}

static void
controller_free (TnResource *resource)
{
  controller_detach (resource);
  g_free (resource);
}

static const TnResourceClass controller_class = { .kind = "dma-controller",
                                                  .detach = controller_detach,
                                                  .attach = controller_attach,
                                                  .free = controller_free };

bool
tn_device_provide_isa_dma (TnDevice *device, TnDreqFunc func, GError **error)
{
  TnIsaDma *isa = device->machine->dma;
  Controller *controller;

  g_return_val_if_fail (func != NULL, false);
  if (isa->controller != NULL)
    return tn_device_fail (device, error, TN_ERROR_CLASH, "%s controls ISA DMA already",
                           isa->controller->resource.owner->device->name);
  controller = g_new0 (Controller, 1);
  controller->func = func;
  tn_resource_init (&controller->resource, &controller_class, device->instance);
  isa->controller = controller;
  return true;
}

bool
tn_device_dma_dreq (TnDevice *device, unsigned channel)
{
  TnIsaDma *isa = device->machine->dma;

  return channel < CHANNELS && isa->channel[channel] != NULL && isa->channel[channel]->dreq;
}

size_t
tn_device_dma_service (TnDevice *device, unsigned channel, uint8_t *data, size_t size,
                       bool to_memory, bool tc)
{
  TnIsaDma *isa = device->machine->dma;
  TnDma *dma = channel < CHANNELS ? isa->channel[channel] : NULL;
  size_t moved;
  void *self;

  if (dma == NULL)
    return 0;
  self = dma->resource.owner ? dma->resource.owner->self : NULL;
  moved = dma->func (self, data, size, to_memory, tc, dma->user);
  return MIN (moved, size); /* a macro: its arguments may be evaluated twice */
}

/* ---- State ---- */

GVariant *
tn_isadma_save (TnInstance *instance)
{
  GVariantBuilder builder;
  TnResource *resource;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(ub)"));
  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_dma_class, n)) != NULL; n++)
    g_variant_builder_add (&builder, "(ub)", ((TnDma *) resource)->channel,
                           (gboolean) ((TnDma *) resource)->dreq);
  return g_variant_builder_end (&builder);
}

void
tn_isadma_load (TnInstance *instance, GVariant *state)
{
  GVariantIter iter;
  guint32 channel;
  gboolean level;
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_dma_class, n)) != NULL; n++)
    {
      TnDma *dma = (TnDma *) resource;

      dma->dreq = false;
      g_variant_iter_init (&iter, state);
      while (g_variant_iter_next (&iter, "(ub)", &channel, &level))
        if (channel == dma->channel)
          dma->dreq = level;
    }
}
