/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Facts about the board that a card makes known to the others (device.h).  They stand in the ledger
 * of the instance that told them, and nowhere else.
 */
#include "internal.h"

typedef struct {
  TnResource resource;
  char *name;
  uint32_t value;
} Fact;

static void
fact_free (TnResource *resource)
{
  Fact *fact = (Fact *) resource;

  g_free (fact->name);
  g_free (fact);
}

static const TnResourceClass fact_class = { .kind = "fact", .free = fact_free };

static Fact *
find (TnInstance *instance, const char *name)
{
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &fact_class, n)) != NULL; n++)
    if (strcmp (((Fact *) resource)->name, name) == 0)
      return (Fact *) resource;
  return NULL;
}

void
tn_device_publish (TnDevice *device, const char *name, uint32_t value)
{
  Fact *fact;

  g_return_if_fail (device != NULL && name != NULL);
  fact = find (device->instance, name);
  if (fact == NULL)
    {
      fact = g_new0 (Fact, 1);
      fact->name = g_strdup (name);
      tn_resource_init (&fact->resource, &fact_class, device->instance);
    }
  fact->value = value;
}

bool
tn_device_lookup (TnDevice *device, const char *name, uint32_t *value)
{
  TnMachine *m = device->machine;

  for (unsigned n = 0; n < m->devices->len; n++)
    {
      Fact *fact = find (((TnDevice *) m->devices->pdata[n])->instance, name);

      if (fact == NULL)
        continue;
      *value = fact->value;
      return true;
    }
  return false;
}
