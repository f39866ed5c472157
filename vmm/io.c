/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * I/O ports: permission (IOPL, the TSS's bitmap), I/O breakpoints, and the accesses themselves,
 * which callbacks of the embedder answer, or else are exits.
 */
#include "system.h"

/* I/O breakpoints exist while CR4.DE is set: R/W field 2. */
static void
watch_port (VmmVcpu *c, uint16_t port, unsigned size)
{
  if (!(c->dr[7] & 0xff) || !(c->cr4 & CR4_DE))
    return;
  for (unsigned i = 0; i < 4; i++)
    {
      unsigned length = c->dr[7] >> (18 + i * 4) & 3;
      uint32_t first = c->dr[i] & ~length, last = first | length;
      if ((c->dr[7] >> i * 2 & 3) && (c->dr[7] >> (16 + i * 4) & 3) == 2 && port <= last
          && port + size - 1 >= first)
        c->debug_hits |= 1u << i;
    }
}

static bool
bitmap_allows (VmmVcpu *c, uint16_t port, unsigned size)
{
  if (!vmm_is_tss32 (&c->tr) || c->tr.limit < 103)
    return false;
  uint32_t at = vmm_read_linear16 (c, c->tr.base + 102, false) + port / 8u;
  /* The processor always reads two bytes, hence the byte of ones at the map's end. */
  if (at + 1 > c->tr.limit)
    return false;
  uint16_t map = vmm_read_linear16 (c, c->tr.base + at, false);
  return !(map >> (port & 7) & ((1u << size) - 1));
}

void
vmm_check_io (VmmVcpu *c, uint16_t port, unsigned size)
{
  unsigned iopl = (c->eflags & FL_IOPL) >> FL_IOPL_SHIFT;
  if ((c->cr0 & CR0_PE) && (vmm_v86 (c) || c->cpl > iopl) && !bitmap_allows (c, port, size))
    vmm_gp0 (c);
  watch_port (c, port, size);
}

static uint32_t
mask (unsigned size)
{
  return size == 4 ? 0xffffffffu : (1u << size * 8) - 1;
}

uint32_t
vmm_io_in (VmmVcpu *c, uint16_t port, unsigned size)
{
  if (c->config.io_read)
    {
      uint32_t value = 0;
      vmm_call (c);
      if (c->config.io_read (c->config.opaque, port, size, &value) != VMM_CALL_EXIT)
        {
          c->stat.fast_ins++;
          vmm_called (c);
          return value & mask (size);
        }
    }
  c->exit.address = port;
  c->exit.size = size;
  c->exit.count = 1;
  c->exit.value = mask (size);
  vmm_leave (c, VMM_EXIT_IO_IN);
  return c->exit.value & mask (size);
}

/* True if it is done. */
static bool
call_out (VmmVcpu *c, uint16_t port, uint32_t value, unsigned size)
{
  vmm_call (c);
  switch (c->config.io_write (c->config.opaque, port, size, value & mask (size)))
    {
    case VMM_CALL_DONE: c->stat.fast_outs++; break;
    case VMM_CALL_POSTED: c->stat.posted_outs++; return true;
    default: return false;
    }
  vmm_called (c);
  return true;
}

void
vmm_io_out (VmmVcpu *c, uint16_t port, uint32_t value, unsigned size)
{
  if (c->config.io_write && call_out (c, port, value, size))
    return;
  c->exit.address = port;
  c->exit.size = size;
  c->exit.count = 1;
  c->exit.value = value & mask (size);
  vmm_leave (c, VMM_EXIT_IO_OUT);
}
