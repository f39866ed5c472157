/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory map: cards' regions, sorted by address, under the routes of the north bridge, which
 * send a page's reads and writes, per view, to main memory or to the bus.  What results is handed
 * to the VMM range by range; main memory itself is the VMM's.
 *
 * Routes are kept per page of main memory as the bits that lead to the bus, so that 0 (all to main
 * memory) is the state after power on.
 */
#include "internal.h"

#define PAGE VMM_PAGE_SIZE
#define MAX_DEPTH 4 /* bus masters that reach registers that master the bus ... */

#define PAGES (UINT64_C (0x100000000) / PAGE)
#define WHOLE_PAGE 8u /* all of the page belongs to one region of handlers */

enum { BUS_READ = 1, BUS_WRITE = 2, BUS_READ_SMM = 4, BUS_WRITE_SMM = 8 };

typedef struct {
  uint64_t first, end;
} Range;

struct TnMemoryMap {
  TnMachine *machine;
  GPtrArray *regions; /* mapped, sorted by first, disjoint */
  uint8_t *routes;    /* a byte per page of main memory */
  uint8_t *access;    /* a byte per page of 4 GiB: TN_ACCESS_*, WHOLE_PAGE */
  uint32_t pages;
  unsigned held;
  GArray *dirty; /* Range: to be handed to the VMM */
  unsigned depth;
};

/* Where a cycle leads. */
typedef struct {
  enum { TARGET_NONE, TARGET_RAM, TARGET_REGION } kind;
  TnRegion *region;
  uint64_t end; /* the answer holds up to here */
} Target;

/* ---- Looking up ---- */

/* Index of the first region that ends after `address`. */
static unsigned
region_index (const TnMemoryMap *map, uint64_t address)
{
  unsigned lo = 0, hi = map->regions->len;

  while (lo < hi)
    {
      unsigned mid = (lo + hi) / 2;
      const TnRegion *r = map->regions->pdata[mid];

      if (r->first + (uint64_t) r->count <= address)
        lo = mid + 1;
      else
        hi = mid;
    }
  return lo;
}

static Target
bus_target (const TnMemoryMap *map, uint64_t address)
{
  unsigned n = region_index (map, address);
  TnRegion *r = n < map->regions->len ? map->regions->pdata[n] : NULL;

  if (r == NULL)
    return (Target){ TARGET_NONE, NULL, UINT64_C (0x100000000) };
  if (r->first > address)
    return (Target){ TARGET_NONE, NULL, r->first };
  return (Target){ TARGET_REGION, r, r->first + (uint64_t) r->count };
}

static Target
target (const TnMemoryMap *map, uint64_t address, uint8_t route)
{
  uint64_t page = address / PAGE;
  Target t;

  if (page < map->pages && !(map->routes[page] & route))
    {
      do
        page++;
      while (page < map->pages && !(map->routes[page] & route));
      return (Target){ TARGET_RAM, NULL, page * PAGE };
    }
  t = bus_target (map, address);
  if (page < map->pages)
    {
      do
        page++;
      while (page < map->pages && (map->routes[page] & route) && page * PAGE < t.end);
      t.end = MIN (t.end, page * PAGE);
    }
  return t;
}

/* The same for one access: no need to know how far it holds. */
static Target
access_target (const TnMemoryMap *map, uint64_t address, uint8_t route)
{
  uint64_t page = address / PAGE;
  Target t;

  if (page < map->pages && !(map->routes[page] & route))
    return (Target){ TARGET_RAM, NULL, (page + 1) * PAGE };
  t = bus_target (map, address);
  if (page < map->pages)
    t.end = MIN (t.end, (page + 1) * PAGE);
  return t;
}

/* ---- What may be served without an exit ---- */

static unsigned
page_access (const TnMemoryMap *map, uint64_t page)
{
  uint64_t first = page * PAGE, end = first + PAGE;
  unsigned access = 0;

  for (unsigned n = region_index (map, first); n < map->regions->len; n++)
    {
      const TnRegion *r = map->regions->pdata[n];
      bool whole = r->first <= first && r->first + (uint64_t) r->count >= end;

      if (r->first >= end)
        break;
      if (r->kind != TN_REGION_HANDLERS)
        continue;
      if (r->flags & TN_IO_FAST)
        access |= TN_ACCESS_READ_FAST | TN_ACCESS_WRITE_FAST;
      if (whole)
        access |= WHOLE_PAGE | (r->flags & TN_IO_POSTED ? TN_ACCESS_WRITE_POSTED : 0);
    }
  return access;
}

static void
update_access (TnMemoryMap *map, const TnRegion *r)
{
  uint64_t last = (r->first + (uint64_t) r->count - 1) / PAGE;

  for (uint64_t page = r->first / PAGE; page <= last; page++)
    {
      unsigned access = page_access (map, page);

      if (map->access[page] != access) /* what is 0 needs no memory */
        __atomic_store_n (&map->access[page], access, __ATOMIC_RELAXED);
    }
}

unsigned
tn_machine_mem_access (const TnMachine *m, uint32_t address)
{
  return __atomic_load_n (&m->memory->access[address / PAGE], __ATOMIC_RELAXED);
}

bool
tn_machine_mem_is_fast (const TnMachine *m, uint32_t address, unsigned size)
{
  unsigned access = tn_machine_mem_access (m, address);
  Target t;

  if (!(access & TN_ACCESS_READ_FAST) || (access & WHOLE_PAGE))
    return access & TN_ACCESS_READ_FAST;
  t = bus_target (m->memory, address);
  return t.kind == TARGET_REGION && t.region->kind == TN_REGION_HANDLERS
         && (t.region->flags & TN_IO_FAST) && t.end - address >= size;
}

/* ---- Handing it to the VMM ---- */

typedef void (*MapFunc) (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind,
                         uint64_t ram_offset, void *host);

static void
map_read (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind, uint64_t offset,
          void *host)
{
  vmm_vm_map_read (vm, view, first, size, kind, offset, host);
}

/* Pages that hold no whole page of ROM or RAM exit to the buses. */
static void
map_region (TnMemoryMap *map, VmmView view, bool write, uint64_t first, uint64_t size, TnRegion *r)
{
  MapFunc func = write ? vmm_vm_map_write : map_read;
  VmmVm *vm = map->machine->vm;

  if (r == NULL || r->kind == TN_REGION_HANDLERS)
    func (vm, view, first, size, VMM_MAP_MMIO, 0, NULL);
  else if (write && r->kind == TN_REGION_ROM)
    func (vm, view, first, size, VMM_MAP_IGNORE, 0, NULL);
  else
    func (vm, view, first, size, VMM_MAP_HOST, 0,
          r->memory->bytes + r->offset + (first - r->first));
}

static void
apply_view (TnMemoryMap *map, VmmView view, bool write, uint64_t first, uint64_t end)
{
  MapFunc func = write ? vmm_vm_map_write : map_read;
  uint8_t route = (write ? BUS_WRITE : BUS_READ) << (view == VMM_VIEW_SMM ? 2 : 0);

  while (first < end)
    {
      Target t = target (map, first, route);
      uint64_t stop = MIN (t.end, end);

      if (t.kind == TARGET_RAM)
        func (map->machine->vm, view, first, stop - first, VMM_MAP_RAM, first, NULL);
      else
        {
          /* A handler's region or a gap may end within a page; the whole page exits. */
          stop = (stop + PAGE - 1) & ~(uint64_t) (PAGE - 1);
          map_region (map, view, write, first, stop - first, t.region);
        }
      first = stop;
    }
}

static void
apply (TnMemoryMap *map, Range range)
{
  for (int view = 0; view < VMM_VIEWS; view++)
    {
      apply_view (map, view, false, range.first, range.end);
      apply_view (map, view, true, range.first, range.end);
    }
}

static int
by_first (const void *a, const void *b)
{
  const Range *x = a, *y = b;

  return x->first < y->first ? -1 : x->first > y->first;
}

static void
flush (TnMemoryMap *map)
{
  GArray *dirty = map->dirty;

  if (dirty->len == 0)
    return;
  tn_machine_quiesce (map->machine);
  g_array_sort (dirty, by_first);
  for (unsigned n = 0; n < dirty->len;)
    {
      Range range = g_array_index (dirty, Range, n);

      while (++n < dirty->len && g_array_index (dirty, Range, n).first <= range.end)
        range.end = MAX (range.end, g_array_index (dirty, Range, n).end);
      apply (map, range);
    }
  g_array_set_size (dirty, 0);
  tn_machine_resume (map->machine);
}

static void
changed (TnMemoryMap *map, uint64_t first, uint64_t size)
{
  Range range
      = { first & ~(uint64_t) (PAGE - 1), (first + size + PAGE - 1) & ~(uint64_t) (PAGE - 1) };

  g_array_append_val (map->dirty, range);
  if (map->held == 0)
    flush (map);
}

void
tn_memory_map_hold (TnMemoryMap *map)
{
  map->held++;
}

void
tn_memory_map_commit (TnMemoryMap *map)
{
  g_assert (map->held > 0);
  if (--map->held == 0)
    flush (map);
}

/* ---- Regions and routes ---- */

TnMemoryMap *
tn_memory_map_new (TnMachine *m)
{
  TnMemoryMap *map = g_new0 (TnMemoryMap, 1);

  map->machine = m;
  map->regions = g_ptr_array_new ();
  map->pages = m->ram_size / PAGE;
  map->routes = g_malloc0 (map->pages);
  map->access = g_malloc0 (PAGES);
  map->dirty = g_array_new (FALSE, FALSE, sizeof (Range));
  changed (map, 0, m->ram_size);
  return map;
}

void
tn_memory_map_free (TnMemoryMap *map)
{
  if (map == NULL)
    return;
  g_ptr_array_unref (map->regions);
  g_array_unref (map->dirty);
  g_free (map->routes);
  g_free (map->access);
  g_free (map);
}

bool
tn_memory_map_claim (TnMemoryMap *map, TnRegion *region, TnRegion **holder)
{
  unsigned n = region_index (map, region->first);
  TnRegion *next = n < map->regions->len ? map->regions->pdata[n] : NULL;

  if (next != NULL && next->first < region->first + (uint64_t) region->count)
    {
      *holder = next;
      return false;
    }
  g_ptr_array_insert (map->regions, n, region);
  update_access (map, region);
  changed (map, region->first, region->count);
  return true;
}

void
tn_memory_map_release (TnMemoryMap *map, TnRegion *region)
{
  if (!g_ptr_array_remove (map->regions, region))
    return;
  update_access (map, region);
  changed (map, region->first, region->count);
}

static uint8_t
route_bits (TnView view, TnRoute read, TnRoute write)
{
  uint8_t bits = (read == TN_ROUTE_BUS ? BUS_READ : 0) | (write == TN_ROUTE_BUS ? BUS_WRITE : 0);

  return (view & TN_VIEW_NORMAL ? bits : 0) | (view & TN_VIEW_SMM ? bits << 2 : 0);
}

void
tn_device_route (TnDevice *device, uint32_t first, uint32_t count, TnView view, TnRoute read,
                 TnRoute write)
{
  TnMemoryMap *map = device->machine->memory;
  uint8_t mask = route_bits (view, TN_ROUTE_BUS, TN_ROUTE_BUS);
  uint8_t bits = route_bits (view, read, write);
  uint64_t from = first / PAGE, to = MIN ((first + (uint64_t) count) / PAGE, map->pages);
  uint64_t lowest = UINT64_MAX, highest = 0;

  g_return_if_fail (!((first | count) & (PAGE - 1)));
  for (uint64_t page = from; page < to; page++)
    {
      if ((map->routes[page] & mask) == bits)
        continue;
      map->routes[page] = (map->routes[page] & ~mask) | bits;
      lowest = MIN (lowest, page);
      highest = page;
    }
  if (lowest <= highest)
    changed (map, lowest * PAGE, (highest - lowest + 1) * PAGE);
}

GBytes *
tn_memory_map_routes (TnMemoryMap *map)
{
  return g_bytes_new (map->routes, map->pages);
}

void
tn_memory_map_set_routes (TnMemoryMap *map, GBytes *routes)
{
  if (memcmp (map->routes, g_bytes_get_data (routes, NULL), map->pages) == 0)
    return;
  memcpy (map->routes, g_bytes_get_data (routes, NULL), map->pages);
  changed (map, 0, (uint64_t) map->pages * PAGE);
}

uint64_t
tn_device_ram_size (TnDevice *device)
{
  return device->machine->ram_size;
}

/* ---- Cycles ---- */

/* Host bytes behind an address, or NULL: main memory, ROM and RAM of cards. */
static uint8_t *
host_bytes (TnMemoryMap *map, const Target *t, uint64_t address, bool write)
{
  if (t->kind == TARGET_RAM)
    return (uint8_t *) vmm_vm_ram_page (map->machine->vm, address & ~(uint64_t) (PAGE - 1))
           + (address & (PAGE - 1));
  if (t->kind == TARGET_REGION && t->region->kind != TN_REGION_HANDLERS
      && !(write && t->region->kind == TN_REGION_ROM))
    return t->region->memory->bytes + t->region->offset + (address - t->region->first);
  return NULL;
}

/* The VMM's fast path; nothing while it does not know the map yet, and never past 4 GiB. */
static uint32_t
vmm_read (TnMemoryMap *map, uint64_t address, void *buffer, uint64_t size)
{
  size = MIN (size, UINT64_C (0x100000000) - address);
  return map->dirty->len ? 0
                         : vmm_vm_read (map->machine->vm, address, buffer, MIN (size, UINT32_MAX));
}

static uint32_t
vmm_write (TnMemoryMap *map, uint64_t address, const void *buffer, uint64_t size)
{
  size = MIN (size, UINT64_C (0x100000000) - address);
  return map->dirty->len ? 0
                         : vmm_vm_write (map->machine->vm, address, buffer, MIN (size, UINT32_MAX));
}

/* Part of a read that stays within one target; `size` 1, 2 or 4. */
static uint32_t
read_part (TnMemoryMap *map, uint32_t address, unsigned size, uint8_t route)
{
  Target t = access_target (map, address, route);
  uint32_t value = UINT32_MAX;
  uint8_t *host;

  if (t.end < address + (uint64_t) size && size > 1)
    {
      value = read_part (map, address, size / 2, route);
      return value | read_part (map, address + size / 2, size / 2, route) << (4 * size);
    }
  host = host_bytes (map, &t, address, false);
  if (host != NULL)
    {
      value = 0;
      memcpy (&value, host, size);
    }
  else if (t.kind == TARGET_REGION)
    value = tn_region_read (t.region, address, size);
  return size == 4 ? value : value & ((1u << (8 * size)) - 1);
}

static void
write_part (TnMemoryMap *map, uint32_t address, uint32_t value, unsigned size, uint8_t route)
{
  Target t = access_target (map, address, route);
  uint8_t *host;

  if (t.end < address + (uint64_t) size && size > 1)
    {
      write_part (map, address, value & ((1u << (4 * size)) - 1), size / 2, route);
      write_part (map, address + size / 2, value >> (4 * size), size / 2, route);
      return;
    }
  host = host_bytes (map, &t, address, true);
  if (host != NULL)
    memcpy (host, &value, size);
  else if (t.kind == TARGET_REGION && t.region->kind == TN_REGION_HANDLERS)
    tn_region_write (t.region, address, value, size);
}

uint32_t
tn_machine_mem_read (TnMachine *m, uint32_t address, unsigned size, bool smm)
{
  uint8_t route = smm ? BUS_READ_SMM : BUS_READ;
  uint32_t value = 0;
  unsigned step = size;

  g_return_val_if_fail (size == 1 || size == 2 || size == 4, UINT32_MAX);
  while (address & (step - 1))
    step /= 2;
  for (unsigned n = 0; n < size; n += step)
    value |= read_part (m->memory, address + n, step, route) << (8 * n);
  return value;
}

void
tn_machine_mem_write (TnMachine *m, uint32_t address, uint32_t value, unsigned size, bool smm)
{
  uint8_t route = smm ? BUS_WRITE_SMM : BUS_WRITE;
  unsigned step = size;

  g_return_if_fail (size == 1 || size == 2 || size == 4);
  while (address & (step - 1))
    step /= 2;
  for (unsigned n = 0; n < size; n += step)
    {
      uint32_t part = value >> (8 * n);

      /* Mapped bytes go through the VMM, which knows what code was decoded from them. */
      if (!smm && vmm_write (m->memory, address + n, &part, step) == step)
        continue;
      write_part (m->memory, address + n, step == 4 ? part : part & ((1u << (8 * step)) - 1), step,
                  route);
    }
}

/* ---- Bus masters ---- */

/* A master that is told to read its own registers must not do so without end. */
static bool
enter (TnMemoryMap *map)
{
  if (map->depth >= MAX_DEPTH)
    {
      tn_machine_log (map->machine, "machine", TN_LOG_GUEST_ERROR,
                      "a bus master reaches registers that master the bus; cycle dropped");
      return false;
    }
  map->depth++;
  return true;
}

static unsigned
unit (uint64_t address, uint64_t size)
{
  return (address & 1) || size < 2 ? 1 : (address & 2) || size < 4 ? 2 : 4;
}

static uint32_t
read_some (TnMemoryMap *map, uint64_t address, uint8_t *buffer, uint64_t size)
{
  Target t = access_target (map, address, BUS_READ);
  uint64_t some = MIN (size, t.end - address);
  uint8_t *host;
  uint32_t value;

  if (t.kind == TARGET_RAM || (t.kind == TARGET_REGION && t.region->kind != TN_REGION_HANDLERS))
    some = MIN (some, PAGE - address % PAGE);
  if (t.kind == TARGET_NONE)
    memset (buffer, 0xff, some);
  else if ((host = host_bytes (map, &t, address, false)) != NULL)
    memcpy (buffer, host, some);
  else
    {
      some = unit (address, some);
      value = tn_region_read (t.region, address, some);
      memcpy (buffer, &value, some);
    }
  return some;
}

static uint32_t
write_some (TnMemoryMap *map, uint64_t address, const uint8_t *buffer, uint64_t size)
{
  Target t = access_target (map, address, BUS_WRITE);
  uint64_t some = MIN (size, t.end - address);
  uint8_t *host;
  uint32_t value = 0;

  if (t.kind == TARGET_NONE || (t.kind == TARGET_REGION && t.region->kind == TN_REGION_ROM))
    return some;
  some = MIN (some, PAGE - address % PAGE);
  if ((host = host_bytes (map, &t, address, true)) != NULL)
    memcpy (host, buffer, some);
  else
    {
      some = unit (address, some);
      memcpy (&value, buffer, some);
      tn_region_write (t.region, address, value, some);
    }
  return some;
}

void
tn_machine_dma_read (TnMachine *m, uint32_t address, void *buffer, uint32_t size)
{
  TnMemoryMap *map = m->memory;
  uint8_t *to = buffer;
  uint64_t at = address, end = at + size;

  if (!enter (map))
    {
      memset (buffer, 0xff, size);
      return;
    }
  while (at < end && at <= UINT32_MAX)
    {
      uint32_t some = vmm_read (map, at, to, end - at);

      if (some == 0)
        some = read_some (map, at, to, end - at);
      at += some;
      to += some;
    }
  if (at < end)
    memset (to, 0xff, end - at);
  map->depth--;
}

void
tn_machine_dma_write (TnMachine *m, uint32_t address, const void *buffer, uint32_t size)
{
  TnMemoryMap *map = m->memory;
  const uint8_t *from = buffer;
  uint64_t at = address, end = at + size;

  if (!enter (map))
    return;
  while (at < end && at <= UINT32_MAX)
    {
      uint32_t some = vmm_write (map, at, from, end - at);

      if (some == 0)
        some = write_some (map, at, from, end - at);
      at += some;
      from += some;
    }
  map->depth--;
}

void
tn_device_mem_read (TnDevice *device, uint32_t address, void *buffer, uint32_t size)
{
  g_return_if_fail (device != NULL && (buffer != NULL || size == 0));
  tn_machine_dma_read (device->machine, address, buffer, size);
}

void
tn_device_mem_write (TnDevice *device, uint32_t address, const void *buffer, uint32_t size)
{
  g_return_if_fail (device != NULL && (buffer != NULL || size == 0));
  tn_machine_dma_write (device->machine, address, buffer, size);
}
