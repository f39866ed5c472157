/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ledger: what an instance of a plugin has acquired, in that order.  Everything that a service
 * hands out begins with a TnResource, so that it can be revoked without the plugin's help.
 */
#include "internal.h"

void
tn_resource_init (TnResource *resource, const TnResourceClass *class, TnInstance *owner)
{
  resource->class = class;
  resource->owner = owner;
  resource->link.data = resource;
  if (owner != NULL)
    g_queue_push_tail_link (&owner->ledger, &resource->link);
}

void
tn_resource_free (TnResource *resource)
{
  if (resource == NULL)
    return;
  if (resource->owner != NULL)
    g_queue_unlink (&resource->owner->ledger, &resource->link);
  resource->class->free (resource);
}

void
tn_ledger_detach (TnInstance *instance)
{
  for (GList *l = instance->ledger.tail; l != NULL; l = l->prev)
    {
      TnResource *resource = l->data;

      if (resource->class->detach)
        resource->class->detach (resource);
    }
}

void
tn_ledger_attach (TnInstance *instance)
{
  for (GList *l = instance->ledger.head; l != NULL; l = l->next)
    {
      TnResource *resource = l->data;

      if (resource->class->attach)
        resource->class->attach (resource);
    }
}

void
tn_ledger_free (TnInstance *instance)
{
  while (instance->ledger.tail != NULL)
    tn_resource_free (instance->ledger.tail->data);
}

TnResource *
tn_ledger_nth (TnInstance *instance, const TnResourceClass *class, unsigned n)
{
  for (GList *l = instance->ledger.head; l != NULL; l = l->next)
    {
      TnResource *resource = l->data;

      if (resource->class == class && n-- == 0)
        return resource;
    }
  return NULL;
}

void
tn_device_resources (TnDevice *device, TnResourceFunc func, void *data)
{
  for (GList *l = device->instance->ledger.head; l != NULL; l = l->next)
    {
      TnResource *resource = l->data;

      if (resource->class->describe)
        resource->class->describe (resource, func, data);
    }
}
