/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user's input, from the host's windows and scripts to the devices that watch it.  Nothing is
 * queued here: a keyboard has a buffer of its own, as real ones do.
 */
#include "internal.h"

typedef struct {
  TnResource resource;
  TnKeyFunc key;
  TnPointerFunc pointer;
} InputWatch;

static void
input_watch_free (TnResource *resource)
{
  g_free (resource);
}

static const TnResourceClass input_watch_class = { .kind = "input", .free = input_watch_free };

void
tn_device_watch_input (TnDevice *device, TnKeyFunc key, TnPointerFunc pointer)
{
  InputWatch *watch;

  g_return_if_fail (device != NULL);
  watch = g_new0 (InputWatch, 1);
  watch->key = key;
  watch->pointer = pointer;
  tn_resource_init (&watch->resource, &input_watch_class, device->instance);
}

/* The n-th watch of the machine, counted over all devices; input handlers may not add watches. */
static InputWatch *
nth_watch (TnMachine *m, unsigned n)
{
  for (unsigned i = 0; i < m->devices->len; i++)
    {
      TnDevice *device = m->devices->pdata[i];

      for (GList *l = device->instance->ledger.head; l != NULL; l = l->next)
        {
          InputWatch *watch = l->data;

          if (watch->resource.class == &input_watch_class && n-- == 0)
            return watch;
        }
    }
  return NULL;
}

bool
tn_machine_send_key (TnMachine *m, TnKey key, bool down)
{
  InputWatch *watch;
  bool sent = false;

  for (unsigned n = 0; (watch = nth_watch (m, n)) != NULL; n++)
    if (watch->key != NULL)
      {
        watch->key (watch->resource.owner->self, key, down);
        sent = true;
      }
  return sent;
}

bool
tn_machine_send_pointer (TnMachine *m, const TnPointerEvent *event)
{
  InputWatch *watch;
  bool sent = false;

  for (unsigned n = 0; (watch = nth_watch (m, n)) != NULL; n++)
    if (watch->pointer != NULL)
      {
        watch->pointer (watch->resource.owner->self, event);
        sent = true;
      }
  return sent;
}
