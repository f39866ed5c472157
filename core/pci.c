/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI functions after PCI Local Bus Specification 2.1: configuration bytes with masks of what the
 * guest may write and of what it clears by writing one, and base address registers that move
 * regions.
 *
 * A BAR shows its region while the command register enables its space and the base is not 0 (the
 * value after reset, which no firmware assigns).  One that clashes with another card stays hidden
 * until there is room; see region.c.
 */
#include "internal.h"

#include <tenon/pci.h>

#define SPACE 256
#define BARS 7 /* six and the ROM */

enum {
  PCI_VENDOR = 0x00,
  PCI_COMMAND = 0x04,
  PCI_STATUS = 0x06,
  PCI_REVISION = 0x08,
  PCI_HEADER_TYPE = 0x0e,
  PCI_BAR0 = 0x10,
  PCI_SUBSYSTEM = 0x2c,
  PCI_ROM = 0x30,
  PCI_ROM_BRIDGE = 0x38,
  PCI_LINE = 0x3c,
  PCI_PIN = 0x3d,
};
enum { COMMAND_IO = 1, COMMAND_MEMORY = 2 };
enum { BAR_IS_IO = 1, BAR_PREFETCH = 8, ROM_ENABLE = 1 };

struct TnPci {
  TnResource resource;
  unsigned bus, devfn;
  const TnPciOps *ops;
  uint8_t bytes[SPACE], reset[SPACE], mask[SPACE], w1c[SPACE];
  struct {
    TnRegion *region; /* NULL: not there */
    TnBarKind kind;
    uint32_t size;
  } bar[BARS];
  TnLine *intx;
};

struct TnPciBus {
  GHashTable *functions; /* bus << 8 | devfn -> TnPci */
};

TnPciBus *
tn_pci_bus_new (void)
{
  TnPciBus *bus = g_new0 (TnPciBus, 1);

  bus->functions = g_hash_table_new (NULL, NULL);
  return bus;
}

void
tn_pci_bus_free (TnPciBus *bus)
{
  if (bus == NULL)
    return;
  g_hash_table_unref (bus->functions);
  g_free (bus);
}

static void *
key (unsigned bus, unsigned devfn)
{
  return GUINT_TO_POINTER (bus << 8 | devfn);
}

static void
put (uint8_t *bytes, unsigned offset, uint32_t value, unsigned size)
{
  for (unsigned n = 0; n < size; n++)
    bytes[offset + n] = value >> (8 * n);
}

static uint32_t
get (const uint8_t *bytes, unsigned offset, unsigned size)
{
  uint32_t value = 0;

  for (unsigned n = 0; n < size; n++)
    value |= (uint32_t) bytes[offset + n] << (8 * n);
  return value;
}

/* ---- Base address registers ---- */

static unsigned
bar_offset (const TnPci *pci, unsigned bar)
{
  if (bar < 6)
    return PCI_BAR0 + 4 * bar;
  return (pci->reset[PCI_HEADER_TYPE] & 0x7f) == 1 ? PCI_ROM_BRIDGE : PCI_ROM;
}

static void
update_bar (TnPci *pci, unsigned bar)
{
  uint32_t value = get (pci->bytes, bar_offset (pci, bar), 4);
  bool io = pci->bar[bar].kind == TN_BAR_IO;
  uint32_t base = value & -pci->bar[bar].size;
  bool on = pci->bytes[PCI_COMMAND] & (io ? COMMAND_IO : COMMAND_MEMORY);

  if (pci->bar[bar].kind == TN_BAR_ROM && !(value & ROM_ENABLE))
    on = false;
  if (base == 0 || (io && base > 0xffff))
    on = false;
  tn_region_set_bar (pci->bar[bar].region, on ? base : pci->bar[bar].region->first, on);
}

static void
update_bars (TnPci *pci)
{
  for (unsigned n = 0; n < BARS; n++)
    if (pci->bar[n].region != NULL)
      update_bar (pci, n);
}

static uint32_t
bar_type (TnBarKind kind)
{
  return kind == TN_BAR_IO ? BAR_IS_IO : kind == TN_BAR_MEM_PREFETCH ? BAR_PREFETCH : 0;
}

static bool
add_bar (TnPci *pci, unsigned bar, TnBarKind kind, uint32_t size, TnRegion *region)
{
  uint32_t writable = -size | (kind == TN_BAR_ROM ? ROM_ENABLE : 0);

  pci->bar[bar].kind = kind;
  pci->bar[bar].size = size;
  pci->bar[bar].region = region;
  region->retry = true;
  tn_pci_field (pci, bar_offset (pci, bar), 4, bar_type (kind), writable, 0);
  return true;
}

static bool
bar_possible (const TnPci *pci, unsigned bar, TnBarKind kind, uint32_t size)
{
  uint32_t least = kind == TN_BAR_IO ? 4 : 16;

  return pci != NULL && bar < BARS && (bar == 6) == (kind == TN_BAR_ROM)
         && pci->bar[bar].region == NULL && size >= least && (size & (size - 1)) == 0
         && (kind != TN_BAR_IO || size <= 0x8000);
}

TnRegion *
tn_pci_bar (TnPci *pci, unsigned bar, TnBarKind kind, uint32_t size, const TnBusOps *ops,
            TnRegionFlags flags)
{
  TnRegion *region;

  g_return_val_if_fail (bar_possible (pci, bar, kind, size) && ops != NULL, NULL);
  region = tn_region_new (pci->resource.owner, kind == TN_BAR_IO ? TN_SPACE_PORT : TN_SPACE_MEMORY,
                          TN_REGION_HANDLERS, size, ops, flags);
  add_bar (pci, bar, kind, size, region);
  return region;
}

TnRegion *
tn_pci_bar_ram (TnPci *pci, unsigned bar, const char *name, uint32_t size, uint8_t **host)
{
  TnRegion *region;

  g_return_val_if_fail (bar_possible (pci, bar, TN_BAR_MEM_PREFETCH, size) && name != NULL, NULL);
  g_return_val_if_fail (size >= VMM_PAGE_SIZE && host != NULL, NULL);
  region = tn_region_new (pci->resource.owner, TN_SPACE_MEMORY, TN_REGION_RAM, size, NULL, 0);
  region->memory = tn_card_memory_new (size);
  region->name = g_strdup (name);
  *host = region->memory->bytes;
  add_bar (pci, bar, TN_BAR_MEM_PREFETCH, size, region);
  return region;
}

TnRegion *
tn_pci_bar_rom (TnPci *pci, const void *bytes, uint32_t size)
{
  TnRegion *region;

  g_return_val_if_fail (bar_possible (pci, 6, TN_BAR_ROM, size) && bytes != NULL, NULL);
  g_return_val_if_fail (size >= VMM_PAGE_SIZE, NULL);
  region = tn_region_new (pci->resource.owner, TN_SPACE_MEMORY, TN_REGION_ROM, size, NULL, 0);
  region->memory = tn_card_memory_new (size);
  memcpy (region->memory->bytes, bytes, size);
  add_bar (pci, 6, TN_BAR_ROM, size, region);
  return region;
}

/* ---- Functions ---- */

static TnPciBus *
hub (const TnResource *resource)
{
  return resource->owner->device->machine->pci;
}

static void
pci_detach (TnResource *resource)
{
  TnPci *pci = (TnPci *) resource;
  GHashTable *functions = hub (resource)->functions;

  if (g_hash_table_lookup (functions, key (pci->bus, pci->devfn)) == pci)
    g_hash_table_remove (functions, key (pci->bus, pci->devfn));
}

static void
pci_attach (TnResource *resource)
{
  TnPci *pci = (TnPci *) resource;

  g_hash_table_insert (hub (resource)->functions, key (pci->bus, pci->devfn), pci);
}

static void
pci_free (TnResource *resource)
{
  pci_detach (resource);
  g_free (resource);
}

static void
pci_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  TnPci *pci = (TnPci *) resource;

  func (data, "pci", pci->bus << 8 | pci->devfn, 1, NULL);
}

const TnResourceClass tn_pci_class = { .kind = "pci",
                                       .detach = pci_detach,
                                       .attach = pci_attach,
                                       .free = pci_free,
                                       .describe = pci_describe };

void
tn_pci_field (TnPci *pci, unsigned offset, unsigned size, uint32_t reset, uint32_t mask,
              uint32_t w1c)
{
  g_return_if_fail (pci != NULL && offset + size <= SPACE && size <= 4);
  put (pci->reset, offset, reset, size);
  put (pci->bytes, offset, reset, size);
  put (pci->mask, offset, mask, size);
  put (pci->w1c, offset, w1c, size);
}

void
tn_pci_set_mask (TnPci *pci, unsigned offset, unsigned size, uint32_t mask)
{
  g_return_if_fail (pci != NULL && offset + size <= SPACE && size <= 4);
  put (pci->mask, offset, mask, size);
}

static void
fill (TnPci *pci, const TnPciConfig *c)
{
  tn_pci_field (pci, PCI_VENDOR, 4, c->vendor | (uint32_t) c->device << 16, 0, 0);
  tn_pci_field (pci, PCI_COMMAND, 2, c->command, c->command_mask, 0);
  tn_pci_field (pci, PCI_STATUS, 2, c->status, 0, c->status_w1c);
  tn_pci_field (pci, PCI_REVISION, 4,
                c->revision | (uint32_t) c->prog_if << 8 | (uint32_t) c->subclass << 16
                    | (uint32_t) c->class_code << 24,
                0, 0);
  tn_pci_field (pci, PCI_HEADER_TYPE, 1, c->header_type, 0, 0);
  if ((c->header_type & 0x7f) == 0)
    tn_pci_field (pci, PCI_SUBSYSTEM, 4, c->subsystem_vendor | (uint32_t) c->subsystem << 16, 0, 0);
  tn_pci_field (pci, PCI_PIN, 1, c->interrupt_pin, 0, 0);
  if (c->interrupt_pin != 0)
    tn_pci_field (pci, PCI_LINE, 1, 0, 0xff, 0);
}

TnPci *
tn_device_pci_new (TnDevice *device, unsigned bus, unsigned slot, unsigned function,
                   const TnPciConfig *config, const TnPciOps *ops, GError **error)
{
  TnPciBus *pci_bus = device->machine->pci;
  unsigned devfn = slot << 3 | function;
  TnPci *pci, *holder;

  g_return_val_if_fail (config != NULL && config->interrupt_pin <= 4, NULL);
  if (bus > 255 || slot > 31 || function > 7)
    {
      tn_device_fail (device, error, TN_ERROR_CONFIG, "there is no PCI function %u:%u.%u", bus,
                      slot, function);
      return NULL;
    }
  holder = g_hash_table_lookup (pci_bus->functions, key (bus, devfn));
  if (holder != NULL)
    {
      tn_device_fail (device, error, TN_ERROR_CLASH, "PCI function %u:%u.%u already belongs to %s",
                      bus, slot, function, holder->resource.owner->device->name);
      return NULL;
    }
  pci = g_new0 (TnPci, 1);
  pci->bus = bus;
  pci->devfn = devfn;
  pci->ops = ops;
  fill (pci, config);
  tn_resource_init (&pci->resource, &tn_pci_class, device->instance);
  pci_attach (&pci->resource);
  if (config->interrupt_pin != 0)
    {
      char name[32];

      g_snprintf (name, sizeof name, "pci:%u:%u:%u", bus, slot, config->interrupt_pin - 1);
      pci->intx = tn_line_new (device->instance, name);
    }
  return pci;
}

uint8_t *
tn_pci_bytes (TnPci *pci)
{
  g_return_val_if_fail (pci != NULL, NULL);
  return pci->bytes;
}

void
tn_pci_set_intx (TnPci *pci, bool level)
{
  g_return_if_fail (pci != NULL);
  if (pci->intx != NULL)
    tn_line_set (pci->intx, level);
}

void
tn_pci_reset_functions (TnInstance *instance)
{
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_pci_class, n)) != NULL; n++)
    {
      TnPci *pci = (TnPci *) resource;

      memcpy (pci->bytes, pci->reset, SPACE);
      update_bars (pci);
      tn_pci_set_intx (pci, false);
    }
}

/* ---- Configuration cycles ---- */

static bool
valid_cycle (unsigned offset, unsigned size)
{
  return (size == 1 || size == 2 || size == 4) && offset < SPACE && (offset & 3) + size <= 4;
}

uint32_t
tn_machine_pci_read (TnMachine *m, unsigned bus, unsigned devfn, unsigned offset, unsigned size)
{
  TnPci *pci
      = bus < 256 && devfn < 256 ? g_hash_table_lookup (m->pci->functions, key (bus, devfn)) : NULL;

  if (pci == NULL || !valid_cycle (offset, size))
    return size >= 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
  if (pci->ops != NULL && pci->ops->reading != NULL)
    pci->ops->reading (pci->resource.owner->self, pci, offset, size);
  return get (pci->bytes, offset, size);
}

static bool
touches (unsigned offset, unsigned size, unsigned first, unsigned count)
{
  return offset < first + count && first < offset + size;
}

void
tn_machine_pci_write (TnMachine *m, unsigned bus, unsigned devfn, unsigned offset, uint32_t value,
                      unsigned size)
{
  TnPci *pci
      = bus < 256 && devfn < 256 ? g_hash_table_lookup (m->pci->functions, key (bus, devfn)) : NULL;
  uint8_t old[SPACE];

  if (pci == NULL || !valid_cycle (offset, size))
    return;
  memcpy (old, pci->bytes, SPACE);
  for (unsigned n = offset; n < offset + size; n++)
    {
      uint8_t byte = value >> (8 * (n - offset));

      pci->bytes[n] = ((old[n] & ~pci->mask[n]) | (byte & pci->mask[n])) & ~(byte & pci->w1c[n]);
    }
  if (touches (offset, size, PCI_COMMAND, 2) || touches (offset, size, PCI_BAR0, 24)
      || touches (offset, size, bar_offset (pci, 6), 4))
    update_bars (pci);
  if (pci->ops != NULL && pci->ops->written != NULL)
    pci->ops->written (pci->resource.owner->self, pci, offset, size, old);
}

uint32_t
tn_device_pci_config_read (TnDevice *device, unsigned bus, unsigned devfn, unsigned offset,
                           unsigned size)
{
  return tn_machine_pci_read (device->machine, bus, devfn, offset, size);
}

void
tn_device_pci_config_write (TnDevice *device, unsigned bus, unsigned devfn, unsigned offset,
                            uint32_t value, unsigned size)
{
  tn_machine_pci_write (device->machine, bus, devfn, offset, value, size);
}

/* ---- State ---- */

GVariant *
tn_pci_save (TnInstance *instance)
{
  GVariantBuilder builder;
  TnResource *resource;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(uay)"));
  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_pci_class, n)) != NULL; n++)
    {
      TnPci *pci = (TnPci *) resource;

      g_variant_builder_add (&builder, "(u@ay)", pci->bus << 8 | pci->devfn,
                             g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, pci->bytes, SPACE, 1));
    }
  return g_variant_builder_end (&builder);
}

/* What identifies the function cannot have been changed by any guest. */
static bool
same_identity (const TnPci *pci, const uint8_t *bytes)
{
  return memcmp (bytes, pci->reset, 4) == 0
         && ((bytes[PCI_HEADER_TYPE] ^ pci->bytes[PCI_HEADER_TYPE]) & 0x7f) == 0;
}

static bool
valid_bars (const TnPci *pci, const uint8_t *bytes)
{
  for (unsigned n = 0; n < BARS; n++)
    {
      unsigned offset = bar_offset (pci, n);

      for (unsigned i = offset; pci->bar[n].region != NULL && i < offset + 4; i++)
        if ((bytes[i] ^ pci->reset[i]) & ~pci->mask[i])
          return false;
    }
  return true;
}

static bool
check_function (TnInstance *instance, const TnPci *pci, guint32 address, GVariant *bytes,
                GError **error)
{
  gsize size;
  const uint8_t *saved = g_variant_get_fixed_array (bytes, &size, 1);

  if (address == (pci->bus << 8 | pci->devfn) && size == SPACE && same_identity (pci, saved)
      && valid_bars (pci, saved))
    return true;
  return tn_device_fail (instance->device, error, TN_ERROR_STATE,
                         "the saved configuration of PCI function %u:%u.%u does not suit it",
                         pci->bus, pci->devfn >> 3, pci->devfn & 7);
}

bool
tn_pci_check (TnInstance *instance, GVariant *state, GError **error)
{
  TnResource *resource;
  unsigned n;

  for (n = 0; (resource = tn_ledger_nth (instance, &tn_pci_class, n)) != NULL; n++)
    {
      GVariant *bytes;
      guint32 address;
      bool suits;

      if (n >= g_variant_n_children (state))
        break;
      g_variant_get_child (state, n, "(u@ay)", &address, &bytes);
      suits = check_function (instance, (TnPci *) resource, address, bytes, error);
      g_variant_unref (bytes);
      if (!suits)
        return false;
    }
  if (resource == NULL && n == g_variant_n_children (state))
    return true;
  return tn_device_fail (instance->device, error, TN_ERROR_STATE,
                         "the saved state has another number of PCI functions");
}

/* Read-only bytes of the standard header are those of the code that runs now: another build of a
   plugin may have another revision. */
static void
load_bytes (TnPci *pci, const uint8_t *saved)
{
  for (unsigned n = 0; n < SPACE; n++)
    {
      bool constant = n < 4 || (n >= PCI_REVISION && n < PCI_REVISION + 4)
                      || (n >= PCI_SUBSYSTEM && n < PCI_SUBSYSTEM + 4) || n == PCI_PIN;

      if (!constant || pci->mask[n] || pci->w1c[n])
        pci->bytes[n] = saved[n];
    }
}

void
tn_pci_load (TnInstance *instance, GVariant *state)
{
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &tn_pci_class, n)) != NULL; n++)
    {
      TnPci *pci = (TnPci *) resource;
      GVariant *bytes;
      gsize size;

      g_variant_get_child (state, n, "(u@ay)", NULL, &bytes);
      load_bytes (pci, g_variant_get_fixed_array (bytes, &size, 1));
      g_variant_unref (bytes);
      update_bars (pci);
    }
}
