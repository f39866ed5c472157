/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regions: ranges of ports or memory that a card answers.  A region is `enabled` when its owner
 * wants it seen, and `mapped` when it stands in its table.  A BAR that the guest moved onto another
 * card's range is enabled but not mapped, and is tried again whenever something gave way.
 */
#include "internal.h"

#include <sys/mman.h>

/* ---- Bytes of ROM and RAM ---- */

TnCardMemory *
tn_card_memory_new (size_t size)
{
  TnCardMemory *memory = g_new0 (TnCardMemory, 1);

  memory->refs = 1;
  memory->size = size;
  /* Shared: the VMM maps its pages a second time. */
  memory->bytes = mmap (NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory->bytes == MAP_FAILED)
    g_error ("cannot allocate %zu bytes of card memory", size);
  return memory;
}

void
tn_card_memory_unref (TnCardMemory *memory)
{
  if (memory == NULL || --memory->refs > 0)
    return;
  munmap (memory->bytes, memory->size);
  g_free (memory);
}

/* ---- Showing and hiding ---- */

static uint64_t
space_size (const TnRegion *r)
{
  return r->space == TN_SPACE_PORT ? UINT64_C (0x10000) : UINT64_C (0x100000000);
}

static const char *
owner_name (const TnRegion *r)
{
  return r->resource.owner->device->name;
}

static bool
claim (TnRegion *r, TnRegion **holder)
{
  TnMachine *m = r->machine;

  return r->space == TN_SPACE_PORT ? tn_bus_claim (m->bus, r, holder)
                                   : tn_memory_map_claim (m->memory, r, holder);
}

static bool
refuse (TnRegion *r, TnRegion *holder, GError **error)
{
  uint32_t last = r->first + (r->count - 1);
  bool ports = r->space == TN_SPACE_PORT;

  if (holder == NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_CLASH,
                 "%s: %s 0x%x (0x%x of them) leave the address space", owner_name (r),
                 ports ? "ports from" : "addresses from", r->first, r->count);
  else
    g_set_error (error, TN_ERROR, TN_ERROR_CLASH, "%s: %s 0x%x-0x%x already belong to %s",
                 owner_name (r), ports ? "ports" : "addresses", r->first, last,
                 owner_name (holder));
  return false;
}

bool
tn_region_map (TnRegion *r, GError **error)
{
  TnRegion *holder = NULL;

  if (r->mapped || r->detached)
    return true;
  if (r->first + (uint64_t) r->count > space_size (r))
    return refuse (r, NULL, error);
  if (!claim (r, &holder))
    return refuse (r, holder, error);
  r->mapped = true;
  if (r->dirty != NULL)
    vmm_vm_track (r->machine->vm, r->first, r->count, true);
  return true;
}

void
tn_region_unmap (TnRegion *r)
{
  TnMachine *m = r->machine;

  if (!r->mapped)
    return;
  r->mapped = false;
  /* What was written since, and not seen yet by whoever has it in his TLB. */
  if (r->dirty != NULL)
    {
      memset (r->dirty, 1, r->count / VMM_PAGE_SIZE);
      vmm_vm_track (m->vm, r->first, r->count, false);
    }
  if (r->space == TN_SPACE_PORT)
    tn_bus_release (m->bus, r);
  else
    tn_memory_map_release (m->memory, r);
}

bool
tn_region_set (TnRegion *r, uint32_t first, bool enabled, GError **error)
{
  g_return_val_if_fail (r != NULL, false);
  if (r->enabled == enabled && (r->mapped || !enabled) && (!enabled || r->first == first))
    {
      r->first = first;
      return true;
    }
  if (r->kind != TN_REGION_HANDLERS && (first & (VMM_PAGE_SIZE - 1)))
    {
      tn_region_unmap (r);
      r->enabled = false;
      g_set_error (error, TN_ERROR, TN_ERROR_FAILED, "%s: memory at 0x%x is not on a page boundary",
                   owner_name (r), first);
      return false;
    }
  tn_region_unmap (r);
  r->first = first;
  r->enabled = enabled;
  if (enabled && !tn_region_map (r, error))
    {
      r->enabled = r->retry;
      return false;
    }
  tn_regions_retry (r->machine);
  return true;
}

void
tn_region_set_bar (TnRegion *r, uint32_t first, bool enabled)
{
  GError *error = NULL;

  r->retry = true;
  if (!tn_region_set (r, first, enabled, &error))
    {
      tn_device_log (r->resource.owner->device, TN_LOG_DEBUG, "hidden for now: %s", error->message);
      g_error_free (error);
    }
}

void
tn_regions_retry (TnMachine *m)
{
  for (unsigned n = 0; n < m->devices->len; n++)
    {
      TnDevice *device = m->devices->pdata[n];

      for (GList *l = device->instance->ledger.head; l != NULL; l = l->next)
        {
          TnRegion *r = l->data;

          if (r->resource.class == &tn_region_class && r->retry && r->enabled && !r->mapped)
            tn_region_map (r, NULL);
        }
    }
}

/* ---- Ledger ---- */

static void
region_detach (TnResource *resource)
{
  TnRegion *r = (TnRegion *) resource;

  tn_region_unmap (r);
  r->detached = true;
}

static void
region_attach (TnResource *resource)
{
  TnRegion *r = (TnRegion *) resource;

  r->detached = false;
  if (r->enabled)
    tn_region_map (r, NULL);
}

static void
region_free (TnResource *resource)
{
  TnRegion *r = (TnRegion *) resource;

  tn_region_unmap (r);
  tn_card_memory_unref (r->memory);
  g_free (r->dirty);
  g_free (r->name);
  g_free (r);
}

static void
region_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  static const char *const kinds[]
      = { [TN_REGION_HANDLERS] = "mmio", [TN_REGION_ROM] = "rom", [TN_REGION_RAM] = "ram" };
  TnRegion *r = (TnRegion *) resource;

  if (r->mapped)
    func (data, r->space == TN_SPACE_PORT ? "ports" : kinds[r->kind], r->first, r->count, r->name);
}

const TnResourceClass tn_region_class = { .kind = "region",
                                          .detach = region_detach,
                                          .attach = region_attach,
                                          .free = region_free,
                                          .describe = region_describe };

void
tn_region_free (TnRegion *region)
{
  if (region == NULL)
    return;
  TnMachine *m = region->machine;

  tn_resource_free (&region->resource);
  tn_regions_retry (m);
}

TnRegion *
tn_region_new (TnInstance *owner, TnSpace space, TnRegionKind kind, uint32_t count,
               const TnBusOps *ops, TnRegionFlags flags)
{
  TnRegion *r = g_new0 (TnRegion, 1);

  r->machine = owner->device->machine;
  r->self = owner->self;
  r->ops = ops;
  r->space = space;
  r->kind = kind;
  r->flags = flags;
  r->count = count;
  r->min_size = ops && ops->min_size ? ops->min_size : 1;
  r->max_size = ops && ops->max_size ? ops->max_size : 4;
  tn_resource_init (&r->resource, &tn_region_class, owner);
  return r;
}

/* ---- What plugins call ---- */

static TnRegion *
show (TnRegion *r, uint32_t first, GError **error)
{
  if (tn_region_set (r, first, !(r->flags & TN_REGION_HIDDEN), error))
    return r;
  tn_region_free (r);
  return NULL;
}

static bool
valid_sizes (const TnBusOps *ops)
{
  unsigned lo = ops->min_size ? ops->min_size : 1;
  unsigned hi = ops->max_size ? ops->max_size : 4;

  return (lo == 1 || lo == 2 || lo == 4) && (hi == 1 || hi == 2 || hi == 4) && lo <= hi;
}

static bool
valid_range (TnDevice *device, TnSpace space, uint32_t first, uint32_t count, uint32_t grain,
             GError **error)
{
  uint64_t end = space == TN_SPACE_PORT ? 0x10000 : UINT64_C (0x100000000);

  if (count != 0 && first + (uint64_t) count <= end && !((first | count) & (grain - 1)))
    return true;
  g_set_error (error, TN_ERROR, TN_ERROR_FAILED, "%s: 0x%x bytes at 0x%x are no range of %s",
               device->name, count, first,
               space == TN_SPACE_PORT ? "ports"
               : grain > 1            ? "pages"
                                      : "memory");
  return false;
}

TnRegion *
tn_device_add_ports (TnDevice *device, uint32_t first, uint32_t count, const TnBusOps *ops,
                     TnRegionFlags flags, GError **error)
{
  g_return_val_if_fail (device != NULL && ops != NULL && valid_sizes (ops), NULL);
  if (!valid_range (device, TN_SPACE_PORT, first, count, 1, error))
    return NULL;
  g_return_val_if_fail (!(flags & TN_IO_DWORD) || (count == 4 && first % 4 == 0), NULL);
  return show (
      tn_region_new (device->instance, TN_SPACE_PORT, TN_REGION_HANDLERS, count, ops, flags), first,
      error);
}

TnRegion *
tn_device_add_mmio (TnDevice *device, uint32_t first, uint32_t count, const TnBusOps *ops,
                    TnRegionFlags flags, GError **error)
{
  g_return_val_if_fail (device != NULL && ops != NULL && valid_sizes (ops), NULL);
  if (!valid_range (device, TN_SPACE_MEMORY, first, count, 1, error))
    return NULL;
  return show (
      tn_region_new (device->instance, TN_SPACE_MEMORY, TN_REGION_HANDLERS, count, ops, flags),
      first, error);
}

TnRegion *
tn_device_add_rom (TnDevice *device, uint32_t first, const void *bytes, uint32_t count,
                   GError **error)
{
  TnRegion *r;

  g_return_val_if_fail (device != NULL && bytes != NULL, NULL);
  if (!valid_range (device, TN_SPACE_MEMORY, first, count, VMM_PAGE_SIZE, error))
    return NULL;
  r = tn_region_new (device->instance, TN_SPACE_MEMORY, TN_REGION_ROM, count, NULL, 0);
  r->memory = tn_card_memory_new (count);
  memcpy (r->memory->bytes, bytes, count);
  return show (r, first, error);
}

TnRegion *
tn_device_add_ram (TnDevice *device, const char *name, uint32_t first, uint32_t count,
                   uint8_t **host, GError **error)
{
  TnRegion *r;

  g_return_val_if_fail (device != NULL && name != NULL && host != NULL, NULL);
  if (!valid_range (device, TN_SPACE_MEMORY, first, count, VMM_PAGE_SIZE, error))
    return NULL;
  r = tn_region_new (device->instance, TN_SPACE_MEMORY, TN_REGION_RAM, count, NULL, 0);
  r->memory = tn_card_memory_new (count);
  r->name = g_strdup (name);
  *host = r->memory->bytes;
  return show (r, first, error);
}

TnRegion *
tn_device_ram_new (TnDevice *device, const char *name, uint32_t count, uint8_t **host)
{
  TnRegion *r;

  g_return_val_if_fail (device != NULL && name != NULL && host != NULL, NULL);
  g_return_val_if_fail (count > 0 && count % VMM_PAGE_SIZE == 0, NULL);
  r = tn_region_new (device->instance, TN_SPACE_MEMORY, TN_REGION_RAM, count, NULL, 0);
  r->memory = tn_card_memory_new (count);
  r->name = g_strdup (name);
  *host = r->memory->bytes;
  return r;
}

void
tn_region_track (TnRegion *r)
{
  g_return_if_fail (r != NULL && r->kind == TN_REGION_RAM);
  if (r->dirty == NULL)
    r->dirty = g_malloc (r->count / VMM_PAGE_SIZE);
  memset (r->dirty, 1, r->count / VMM_PAGE_SIZE);
  if (r->mapped)
    vmm_vm_track (r->machine->vm, r->first, r->count, true);
}

bool
tn_region_take_dirty (TnRegion *r, uint32_t offset)
{
  uint8_t *noted;
  bool dirty;

  g_return_val_if_fail (r != NULL && r->dirty != NULL && offset < r->count, false);
  noted = &r->dirty[offset / VMM_PAGE_SIZE];
  dirty = r->mapped && vmm_vm_take_dirty (r->machine->vm, r->first + (offset & -VMM_PAGE_SIZE));
  dirty |= *noted;
  *noted = 0;
  return dirty;
}

TnRegion *
tn_region_alias (TnRegion *region, uint32_t offset, uint32_t first, uint32_t count, GError **error)
{
  TnDevice *device;
  TnRegion *r;

  g_return_val_if_fail (region != NULL && region->memory != NULL, NULL);
  device = region->resource.owner->device;
  if (!valid_range (device, TN_SPACE_MEMORY, first, count, VMM_PAGE_SIZE, error)
      || !valid_range (device, TN_SPACE_MEMORY, offset, count, VMM_PAGE_SIZE, error))
    return NULL;
  if (offset + (uint64_t) count > region->count)
    {
      tn_device_fail (device, error, TN_ERROR_FAILED,
                      "an alias of 0x%x bytes from 0x%x leaves its region", count, offset);
      return NULL;
    }
  r = tn_region_new (region->resource.owner, TN_SPACE_MEMORY, region->kind, count, NULL, 0);
  r->memory = region->memory;
  r->memory->refs++;
  r->offset = region->offset + offset;
  return show (r, first, error);
}
