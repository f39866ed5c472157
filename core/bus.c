/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Regions, and the port bus: a table of 64 Ki entries that leads from a port to the region that
 * owns it.  Passive listeners of writes (TN_IO_SHARED_READ), and ports that answer dwords alone
 * (TN_IO_DWORD), stand in lists beside it.
 *
 * Cycles: an access that is not naturally aligned is split into aligned ones, low part first, as
 * the processor's bus unit does; a part wider than the region's max_size, or one that leaves the
 * region, is split again.
 */
#include "internal.h"

#define PORTS 0x10000u
#define DWORD_PORT 8u /* 32-bit accesses go to a region of their own */
#define DWORD_SHIFT 4

struct TnBus {
  TnRegion *port[PORTS];
  uint8_t access[PORTS]; /* TN_ACCESS_*, DWORD_PORT, and TN_ACCESS_* << DWORD_SHIFT */
  GPtrArray *listeners;
  GPtrArray *dwords;
};

TnBus *
tn_bus_new (void)
{
  TnBus *bus = g_new0 (TnBus, 1);

  bus->listeners = g_ptr_array_new ();
  bus->dwords = g_ptr_array_new ();
  return bus;
}

void
tn_bus_free (TnBus *bus)
{
  if (bus == NULL)
    return;
  g_ptr_array_unref (bus->listeners);
  g_ptr_array_unref (bus->dwords);
  g_free (bus);
}

static TnRegion *
dword_region (const TnBus *bus, uint32_t port)
{
  for (unsigned n = 0; n < bus->dwords->len; n++)
    if (((TnRegion *) bus->dwords->pdata[n])->first == port)
      return bus->dwords->pdata[n];
  return NULL;
}

/* ---- What may be served without an exit ---- */

static unsigned
access_of (const TnRegion *r)
{
  return (r->flags & TN_IO_FAST ? TN_ACCESS_READ_FAST | TN_ACCESS_WRITE_FAST : 0)
         | (r->flags & TN_IO_POSTED ? TN_ACCESS_WRITE_POSTED : 0);
}

/* A write reaches the listeners, too: all must allow it. */
static unsigned
with_listeners (const TnBus *bus, unsigned access, uint32_t port, unsigned size)
{
  for (unsigned n = 0; n < bus->listeners->len; n++)
    {
      const TnRegion *r = bus->listeners->pdata[n];

      if (r->first < port + size && port < r->first + r->count)
        access &= access_of (r) | TN_ACCESS_READ_FAST;
    }
  return access;
}

static void
update_access (TnBus *bus, uint32_t first, uint32_t count)
{
  uint32_t from = first < 3 ? 0 : first - 3; /* a dword that begins before reaches into them */

  for (uint32_t port = from; port < first + count; port++)
    {
      const TnRegion *r = bus->port[port], *dword = dword_region (bus, port);
      unsigned access = r ? with_listeners (bus, access_of (r), port, 1) : 0;

      if (dword)
        access |= DWORD_PORT | with_listeners (bus, access_of (dword), port, 4) << DWORD_SHIFT;
      __atomic_store_n (&bus->access[port], access, __ATOMIC_RELAXED);
    }
}

static unsigned
port_access (const TnBus *bus, uint32_t port)
{
  return __atomic_load_n (&bus->access[port], __ATOMIC_RELAXED);
}

unsigned
tn_machine_port_access (const TnMachine *m, uint16_t port, unsigned size)
{
  unsigned access = port_access (m->bus, port);

  if (size == 1)
    return access;
  if (size == 4 && port % 4 == 0 && (access & DWORD_PORT))
    return access >> DWORD_SHIFT;
  for (unsigned n = 1; n < size; n++)
    access &= port + n < PORTS ? port_access (m->bus, port + n) : 0;
  return access;
}

/* ---- Claims ---- */

static bool
enter_region (TnBus *bus, TnRegion *region, TnRegion **holder)
{
  if (region->flags & TN_IO_SHARED_READ)
    {
      g_ptr_array_add (bus->listeners, region);
      return true;
    }
  if (region->flags & TN_IO_DWORD)
    {
      *holder = dword_region (bus, region->first);
      if (*holder == NULL)
        g_ptr_array_add (bus->dwords, region);
      return *holder == NULL;
    }
  for (uint32_t n = 0; n < region->count; n++)
    if (bus->port[region->first + n] != NULL)
      {
        *holder = bus->port[region->first + n];
        return false;
      }
  for (uint32_t n = 0; n < region->count; n++)
    bus->port[region->first + n] = region;
  return true;
}

bool
tn_bus_claim (TnBus *bus, TnRegion *region, TnRegion **holder)
{
  if (!enter_region (bus, region, holder))
    return false;
  update_access (bus, region->first, region->count);
  return true;
}

static void
remove_region (TnBus *bus, TnRegion *region)
{
  if (region->flags & TN_IO_SHARED_READ)
    {
      g_ptr_array_remove (bus->listeners, region);
      return;
    }
  if (region->flags & TN_IO_DWORD)
    {
      g_ptr_array_remove (bus->dwords, region);
      return;
    }
  for (uint32_t n = 0; n < region->count; n++)
    if (bus->port[region->first + n] == region)
      bus->port[region->first + n] = NULL;
}

void
tn_bus_release (TnBus *bus, TnRegion *region)
{
  remove_region (bus, region);
  update_access (bus, region->first, region->count);
}

/* ---- Cycles of one region ---- */

static uint32_t
lanes (unsigned size)
{
  return size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
}

static uint32_t
read_cycle (TnRegion *r, uint32_t offset, unsigned size)
{
  if (size < r->min_size)
    {
      uint32_t aligned = offset & ~(uint32_t) (r->min_size - 1);

      return r->ops->read (r->self, aligned, r->min_size) >> (8 * (offset - aligned))
             & lanes (size);
    }
  return r->ops->read (r->self, offset, size) & lanes (size);
}

static void
write_cycle (TnRegion *r, uint32_t offset, uint32_t value, unsigned size)
{
  if (size < r->min_size)
    {
      uint32_t aligned = offset & ~(uint32_t) (r->min_size - 1);

      r->ops->write (r->self, aligned, (value & lanes (size)) << (8 * (offset - aligned)),
                     r->min_size);
      return;
    }
  r->ops->write (r->self, offset, value & lanes (size), size);
}

/* The access lies within the region. */
uint32_t
tn_region_read (TnRegion *r, uint32_t address, unsigned size)
{
  uint32_t value = 0;
  unsigned step = MIN (size, r->max_size);

  if (r->ops->read == NULL)
    return lanes (size);
  for (unsigned n = 0; n < size; n += step)
    value |= read_cycle (r, address - r->first + n, step) << (8 * n);
  return value;
}

void
tn_region_write (TnRegion *r, uint32_t address, uint32_t value, unsigned size)
{
  uint32_t first = r->first;
  unsigned step = MIN (size, r->max_size);

  if (r->ops->write == NULL)
    return;
  /* The first part may move or hide the region: the rest is lost then, as a decoder would lose it.
   */
  for (unsigned n = 0; n < size && r->mapped && r->first == first; n += step)
    write_cycle (r, address - first + n, value >> (8 * n), step);
}

/* ---- The guest's cycles ---- */

static bool
within (const TnRegion *r, uint32_t address, unsigned size)
{
  return r != NULL && address >= r->first && address - r->first <= r->count - size
         && r->count >= size;
}

static TnRegion *
find (const TnBus *bus, uint32_t port, unsigned size)
{
  TnRegion *r = size == 4 ? dword_region (bus, port) : NULL;

  return r != NULL ? r : bus->port[port];
}

static uint32_t
read_aligned (TnMachine *m, uint32_t port, unsigned size)
{
  TnRegion *r = find (m->bus, port, size);
  uint32_t low;

  if (within (r, port, size))
    return tn_region_read (r, port, size);
  if (size == 1)
    return 0xff;
  low = read_aligned (m, port, size / 2);
  return low | read_aligned (m, port + size / 2, size / 2) << (4 * size);
}

static void
write_aligned (TnMachine *m, uint32_t port, uint32_t value, unsigned size)
{
  TnRegion *r = find (m->bus, port, size);

  if (within (r, port, size))
    tn_region_write (r, port, value, size);
  else if (size > 1)
    {
      write_aligned (m, port, value & lanes (size / 2), size / 2);
      write_aligned (m, port + size / 2, value >> (4 * size), size / 2);
    }
}

static void
tell_listeners (TnMachine *m, uint32_t port, uint32_t value, unsigned size)
{
  GPtrArray *listeners = m->bus->listeners;

  for (unsigned n = 0; n < listeners->len; n++)
    {
      TnRegion *r = listeners->pdata[n];

      for (unsigned i = 0; i < size; i++)
        if (within (r, port + i, 1))
          tn_region_write (r, port + i, value >> (8 * i) & 0xff, 1);
    }
}

/* Ports beyond FFFFh do not exist: the address wraps on real parts, but nothing answers there. */
uint32_t
tn_machine_port_read (TnMachine *m, uint16_t port, unsigned size)
{
  uint32_t value = 0;
  unsigned step = size;

  g_return_val_if_fail (size == 1 || size == 2 || size == 4, UINT32_MAX);
  while (port & (step - 1))
    step /= 2;
  for (unsigned n = 0; n < size; n += step)
    value |= (port + n < PORTS ? read_aligned (m, port + n, step) : lanes (step)) << (8 * n);
  return value;
}

void
tn_machine_port_write (TnMachine *m, uint16_t port, uint32_t value, unsigned size)
{
  unsigned step = size;

  g_return_if_fail (size == 1 || size == 2 || size == 4);
  if (m->bus->listeners->len != 0)
    tell_listeners (m, port, value, size);
  while (port & (step - 1))
    step /= 2;
  for (unsigned n = 0; n < size; n += step)
    if (port + n < PORTS)
      write_aligned (m, port + n, value >> (8 * n) & lanes (step), step);
}

static uint32_t
get_item (const uint8_t *item, unsigned size)
{
  uint32_t value = 0;

  memcpy (&value, item, size);
  return value;
}

/* The region that can move blocks at this port, or NULL. */
static TnRegion *
block_region (TnMachine *m, uint16_t port, unsigned size)
{
  TnRegion *r = m->bus->port[port];

  return within (r, port, size) && size <= r->max_size && size >= r->min_size
                 && (port & (size - 1)) == 0
             ? r
             : NULL;
}

uint32_t
tn_machine_port_ins (TnMachine *m, uint16_t port, void *items, uint32_t count, unsigned size)
{
  TnRegion *r = block_region (m, port, size);
  uint32_t done = 0;
  uint32_t value;

  if (count == 0)
    return 0;
  if (r != NULL && r->ops->read_block != NULL)
    done = r->ops->read_block (r->self, port - r->first, items, count, size);
  if (done == 0)
    {
      value = tn_machine_port_read (m, port, size);
      memcpy (items, &value, size);
      done = 1;
    }
  return MIN (done, count);
}

uint32_t
tn_machine_port_outs (TnMachine *m, uint16_t port, const void *items, uint32_t count, unsigned size)
{
  TnRegion *r = block_region (m, port, size);
  uint32_t done = 0;

  if (count == 0)
    return 0;
  if (r != NULL && r->ops->write_block != NULL)
    done = r->ops->write_block (r->self, port - r->first, items, count, size);
  if (done == 0)
    {
      tn_machine_port_write (m, port, get_item (items, size), size);
      done = 1;
    }
  return MIN (done, count);
}
