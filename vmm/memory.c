/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guest memory as the processor sees it: physical accesses, paging (Intel SDM vol. 3 chapter 4),
 * and the access tables, which are this processor's TLB.
 *
 * Life of an access: translated code and the inline accessors of vcpu.h look into c->tables[user];
 * a delta there says that the page may be read (written) straight through the host.  What it cannot
 * serve comes here:
 *   vmm_read_slow / vmm_write_slow
 *     -> translate ()   walk, rights, A and D; fills the entry if the page may be used directly
 *     -> data breakpoints
 *     -> load () / store ()   plain memory, decoded code, dirty tracking, local APIC, exit
 *
 * An entry is never filled for MMIO, ignored writes, the local APIC's page, pages with data
 * breakpoints; nor for writing while D is clear, or to pages with decoded code, or to tracked clean
 * pages, or where reads reach other memory than writes (shadow RAM behind a ROM).
 *
 * A and D are set once the whole walk has succeeded and the rights allow the access.  Physical
 * addresses have 32 bits: the host bridge of this machine has no more address lines, so that bits
 * 35:32 of PAE and PSE-36 entries fall away; bits 63:36 are reserved.
 */
#include "engine.h"

#define PTE_P 0x01u
#define PTE_W 0x02u
#define PTE_U 0x04u
#define PTE_A 0x20u
#define PTE_D 0x40u
#define PTE_PS 0x80u
#define PTE_G 0x100u

#define PF_P 1u
#define PF_W 2u
#define PF_U 4u
#define PF_RSVD 8u

#define PAGE 0xfffff000u

/* ---- Physical memory ---- */

static inline VmmView
view (const VmmVcpu *c)
{
  return c->smm ? VMM_VIEW_SMM : VMM_VIEW_NORMAL;
}

static uint32_t
mmio_read (VmmVcpu *c, uint32_t address, unsigned size)
{
  if (vmm_apic_hit (c, address))
    {
      uint32_t v = (address & 0xc) ? 0 : vmm_apic_read (c, address & 0xff0);
      return v >> (address & 3) * 8;
    }
  if (c->config.mmio_read)
    {
      uint32_t value = 0;
      vmm_call (c);
      if (c->config.mmio_read (c->config.opaque, address, size, c->smm, &value) != VMM_CALL_EXIT)
        {
          c->stat.fast_mmio_reads++;
          vmm_called (c);
          return value;
        }
    }
  c->exit.address = address;
  c->exit.size = size;
  c->exit.count = 1;
  c->exit.value = ~0u;
  vmm_leave (c, VMM_EXIT_MMIO_READ);
  return c->exit.value;
}

/* True if it is done. */
static bool
call_mmio_write (VmmVcpu *c, uint32_t address, uint32_t value, unsigned size)
{
  vmm_call (c);
  switch (c->config.mmio_write (c->config.opaque, address, size, c->smm, value))
    {
    case VMM_CALL_DONE: c->stat.fast_mmio_writes++; break;
    case VMM_CALL_POSTED: c->stat.posted_mmio_writes++; return true;
    default: return false;
    }
  vmm_called (c);
  return true;
}

static void
mmio_write (VmmVcpu *c, uint32_t address, uint32_t value, unsigned size)
{
  if (vmm_apic_hit (c, address))
    {
      /* Only whole, aligned registers are defined; other stores do nothing. */
      if (size == 4 && !(address & 0xf))
        vmm_apic_write (c, address & 0xff0, value);
      return;
    }
  if (c->config.mmio_write && call_mmio_write (c, address, value, size))
    return;
  c->exit.address = address;
  c->exit.size = size;
  c->exit.count = 1;
  c->exit.value = value;
  vmm_leave (c, VMM_EXIT_MMIO_WRITE);
}

static inline uint64_t
size_mask (unsigned size)
{
  return size == 8 ? ~0ull : (1ull << size * 8) - 1;
}

/* Copies whose common sizes the compiler turns into moves. */
static inline uint64_t
get (const uint8_t *from, unsigned size)
{
  uint64_t v = 0;
  switch (size)
    {
    case 1: return *from;
    case 2: memcpy (&v, from, 2); return v;
    case 4: memcpy (&v, from, 4); return v;
    default: memcpy (&v, from, size); return v;
    }
}

static inline void
put (uint8_t *to, uint64_t v, unsigned size)
{
  switch (size)
    {
    case 1: *to = (uint8_t) v; break;
    case 2: memcpy (to, &v, 2); break;
    case 4: memcpy (to, &v, 4); break;
    default: memcpy (to, &v, size);
    }
}

/* Within one page; any size up to 8. */
static uint64_t
load (VmmVcpu *c, uint32_t address, unsigned size)
{
  uintptr_t host = c->vm->read_map[view (c)][address >> 12];
  uint64_t v = 0;
  if (host > VMM_PHYS_IGNORE && !vmm_apic_hit (c, address))
    return get ((const uint8_t *) host + (address & 0xfff), size);
  if (host == VMM_PHYS_IGNORE && !vmm_apic_hit (c, address))
    return size_mask (size);
  for (unsigned at = 0; at < size;)
    {
      unsigned n = size - at >= 4 ? 4 : size - at >= 2 ? 2 : 1;
      v |= ((uint64_t) mmio_read (c, address + at, n) & size_mask (n)) << at * 8;
      at += n;
    }
  return v;
}

static void
note_write (VmmVcpu *c, uint32_t address, unsigned size)
{
  uint8_t *flags = &c->vm->page_flags[address >> 12];
  if (*flags & VMM_PAGE_TRACK)
    __atomic_fetch_or (flags, VMM_PAGE_DIRTY, __ATOMIC_RELAXED);
  if (*flags & VMM_PAGE_CODE)
    {
      vmm_blocks_written (c, address, size);
      for (unsigned i = 0; i < c->vm->vcpus; i++)
        if (c->vm->vcpu[i] && c->vm->vcpu[i] != c)
          vmm_blocks_written_async (c->vm->vcpu[i], address, size);
    }
}

static void
store (VmmVcpu *c, uint32_t address, uint64_t value, unsigned size)
{
  uintptr_t host = c->vm->write_map[view (c)][address >> 12];
  if (host > VMM_PHYS_IGNORE && !vmm_apic_hit (c, address))
    {
      put ((uint8_t *) host + (address & 0xfff), value, size);
      note_write (c, address, size);
      return;
    }
  if (host == VMM_PHYS_IGNORE && !vmm_apic_hit (c, address))
    return;
  for (unsigned at = 0; at < size;)
    {
      unsigned n = size - at >= 4 ? 4 : size - at >= 2 ? 2 : 1;
      mmio_write (c, address + at, (uint32_t) ((value >> at * 8) & size_mask (n)), n);
      at += n;
    }
}

uint32_t
vmm_phys_read (VmmVcpu *c, uint32_t address, unsigned size)
{
  uint32_t v = 0;
  if ((address & 0xfff) + size <= 4096)
    return (uint32_t) load (c, address & c->a20_mask, size);
  for (unsigned i = 0; i < size; i++)
    v |= (uint32_t) load (c, (address + i) & c->a20_mask, 1) << i * 8;
  return v;
}

void
vmm_phys_write (VmmVcpu *c, uint32_t address, uint32_t value, unsigned size)
{
  if ((address & 0xfff) + size <= 4096)
    store (c, address & c->a20_mask, value, size);
  else
    for (unsigned i = 0; i < size; i++)
      store (c, (address + i) & c->a20_mask, value >> i * 8 & 0xff, 1);
}

/* ---- The walk ---- */

typedef struct {
  uint32_t page;    /* physical page of the linear page, A20 applied */
  bool user, write; /* what the tables grant, CR0.WP aside */
  bool dirty;       /* D is set: a writing TLB entry may be made */
  uint8_t flags;    /* VMM_TABLE_GLOBAL, VMM_TABLE_LARGE */
} Walk;

/* One level: where an entry lies and what it holds. */
typedef struct {
  uint32_t address;
  uint64_t value;
} Entry;

_Noreturn static void
page_fault (VmmVcpu *c, uint32_t linear, uint32_t error)
{
  c->fault.cr2 = linear;
  vmm_raise_error (c, EX_PF, error);
}

static inline uint32_t
access_error (bool write, bool user)
{
  return (write ? PF_W : 0) | (user ? PF_U : 0);
}

static void
set_bits (VmmVcpu *c, const Entry *e, uint32_t bits)
{
  if ((e->value & bits) != bits)
    vmm_phys_write (c, e->address, (uint32_t) e->value | bits, 4);
}

static inline bool
allowed (const VmmVcpu *c, const Walk *w, bool write, bool user)
{
  if (user && !w->user)
    return false;
  return !write || w->write || (!user && !(c->cr0 & CR0_WP));
}

/* The rights of all levels are in *w: refuses, or sets A and D and finishes *w. */
static void
finish_walk (VmmVcpu *c, uint32_t linear, bool write, bool user, const Entry *upper,
             const Entry *last, Walk *w)
{
  if (!allowed (c, w, write, user))
    page_fault (c, linear, PF_P | access_error (write, user));
  if (upper)
    set_bits (c, upper, PTE_A);
  set_bits (c, last, write ? PTE_A | PTE_D : PTE_A);
  w->dirty = write || (last->value & PTE_D);
  if ((last->value & PTE_G) && (c->cr4 & CR4_PGE))
    w->flags |= VMM_TABLE_GLOBAL;
  w->page &= c->a20_mask;
}

/* Half an entry of a table; tables are aligned, and nearly always in RAM. */
static inline uint32_t
read_table (VmmVcpu *c, uint32_t address)
{
  uint32_t v;
  address &= c->a20_mask;
  uintptr_t host = c->vm->read_map[view (c)][address >> 12];
  if (VMM_UNLIKELY (host <= VMM_PHYS_IGNORE || vmm_apic_hit (c, address)))
    return (uint32_t) load (c, address, 4);
  memcpy (&v, (const uint8_t *) host + (address & 0xffc), sizeof v);
  return v;
}

static void
walk_32 (VmmVcpu *c, uint32_t linear, bool write, bool user, Walk *w)
{
  uint32_t error = access_error (write, user);
  Entry pde = { (c->cr3 & PAGE) + (linear >> 22) * 4, 0 }, pte;
  pde.value = read_table (c, pde.address);
  if (!(pde.value & PTE_P))
    page_fault (c, linear, error);
  w->user = pde.value & PTE_U;
  w->write = pde.value & PTE_W;
  w->flags = 0;
  if ((pde.value & PTE_PS) && (c->cr4 & CR4_PSE))
    {
      if (pde.value & 0x3e0000) /* 16:13 are address bits 35:32 (PSE-36) */
        page_fault (c, linear, error | PF_P | PF_RSVD);
      w->page = ((uint32_t) pde.value & 0xffc00000u) | (linear & 0x3ff000);
      w->flags = VMM_TABLE_LARGE;
      finish_walk (c, linear, write, user, NULL, &pde, w);
      return;
    }
  pte.address = ((uint32_t) pde.value & PAGE) + (linear >> 12 & 0x3ff) * 4;
  pte.value = read_table (c, pte.address);
  if (!(pte.value & PTE_P))
    page_fault (c, linear, error);
  w->user = w->user && (pte.value & PTE_U);
  w->write = w->write && (pte.value & PTE_W);
  w->page = (uint32_t) pte.value & PAGE;
  finish_walk (c, linear, write, user, &pde, &pte, w);
}

static uint64_t
read_entry (VmmVcpu *c, uint32_t address)
{
  uint64_t low = read_table (c, address);
  return low | (uint64_t) read_table (c, address + 4) << 32;
}

#define PAE_RESERVED 0xfffffff000000000ull

static void
walk_pae (VmmVcpu *c, uint32_t linear, bool write, bool user, Walk *w)
{
  uint32_t error = access_error (write, user);
  uint64_t pdpte = c->pdptr[linear >> 30];
  if (!(pdpte & PTE_P))
    page_fault (c, linear, error);
  Entry pde = { ((uint32_t) pdpte & PAGE) + (linear >> 21 & 0x1ff) * 8, 0 }, pte;
  pde.value = read_entry (c, pde.address);
  if (!(pde.value & PTE_P))
    page_fault (c, linear, error);
  bool large = pde.value & PTE_PS;
  if (pde.value & (large ? PAE_RESERVED | 0x1fe000 : PAE_RESERVED))
    page_fault (c, linear, error | PF_P | PF_RSVD);
  w->user = pde.value & PTE_U;
  w->write = pde.value & PTE_W;
  w->flags = 0;
  if (large)
    {
      w->page = ((uint32_t) pde.value & 0xffe00000u) | (linear & 0x1ff000);
      w->flags = VMM_TABLE_LARGE;
      finish_walk (c, linear, write, user, NULL, &pde, w);
      return;
    }
  pte.address = ((uint32_t) pde.value & PAGE) + (linear >> 12 & 0x1ff) * 8;
  pte.value = read_entry (c, pte.address);
  if (!(pte.value & PTE_P))
    page_fault (c, linear, error);
  if (pte.value & PAE_RESERVED)
    page_fault (c, linear, error | PF_P | PF_RSVD);
  w->user = w->user && (pte.value & PTE_U);
  w->write = w->write && (pte.value & PTE_W);
  w->page = (uint32_t) pte.value & PAGE;
  finish_walk (c, linear, write, user, &pde, &pte, w);
}

static void
walk (VmmVcpu *c, uint32_t linear, bool write, bool user, Walk *w)
{
  if (!(c->cr0 & CR0_PG))
    {
      w->page = linear & PAGE & c->a20_mask;
      w->user = w->write = w->dirty = true;
      w->flags = 0;
    }
  else if (c->cr4 & CR4_PAE)
    walk_pae (c, linear, write, user, w);
  else
    walk_32 (c, linear, write, user, w);
}

/* An entry in plain memory; 0 elsewhere. */
static uint64_t
peek_entry (VmmVcpu *c, uint32_t address, unsigned size)
{
  uint64_t v = 0;
  address &= c->a20_mask;
  uintptr_t host = c->vm->read_map[view (c)][address >> 12];
  if (host > VMM_PHYS_IGNORE && !vmm_apic_hit (c, address))
    memcpy (&v, (const uint8_t *) host + (address & 0xfff), size);
  return v;
}

/* The bits that all levels have, and the page; 0 in `bits` if a level has not those of `need`. */
static uint32_t
peek_walk (VmmVcpu *c, uint32_t linear, uint32_t need, uint32_t *page, bool *large)
{
  bool pae = c->cr4 & CR4_PAE;
  uint64_t top = pae ? c->pdptr[linear >> 30] : c->cr3, pde, pte;
  if (pae && !(top & PTE_P))
    return 0;
  pde = peek_entry (
      c, ((uint32_t) top & PAGE) + (pae ? (linear >> 21 & 0x1ff) * 8 : (linear >> 22) * 4),
      pae ? 8 : 4);
  *large = (pde & PTE_PS) && (pae || (c->cr4 & CR4_PSE));
  if (*large)
    {
      uint32_t size = pae ? 0x200000 : 0x400000;
      if ((pde & need) != need || (pde & (pae ? PAE_RESERVED | 0x1fe000 : 0x3e0000)))
        return 0;
      *page = ((uint32_t) pde & ~(size - 1)) | (linear & (size - 1) & PAGE);
      return (uint32_t) pde & 0xfff;
    }
  if ((pde & need) != need || (pae && (pde & PAE_RESERVED)))
    return 0;
  pte = peek_entry (
      c, ((uint32_t) pde & PAGE) + (pae ? (linear >> 12 & 0x1ff) * 8 : (linear >> 12 & 0x3ff) * 4),
      pae ? 8 : 4);
  if ((pte & need) != need || (pae && (pte & PAE_RESERVED)))
    return 0;
  *page = (uint32_t) pte & PAGE;
  return (uint32_t) pte & ((uint32_t) pde | ~PTE_W) & 0xfff;
}

bool
vmm_peek (VmmVcpu *c, uint32_t linear, VmmPeek *p)
{
  uint32_t page, bits = peek_walk (c, linear, PTE_P | PTE_U | PTE_A, &page, &p->large);
  if (!bits)
    return false;
  page &= c->a20_mask;
  uintptr_t reads = c->vm->read_map[view (c)][page >> 12];
  uintptr_t offset = reads - (uintptr_t) c->vm->ram;
  if (reads <= VMM_PHYS_IGNORE || offset >= c->vm->ram_size * 2 || vmm_apic_hit (c, page))
    return false;
  p->phys = page;
  p->slot = (uint32_t) (offset / (2 * VMM_PAGE_SIZE));
  p->write = (bits & (PTE_W | PTE_D)) == (PTE_W | PTE_D)
             && c->vm->write_map[view (c)][page >> 12] == reads
             && !(c->vm->page_flags[page >> 12] & (VMM_PAGE_CODE | VMM_PAGE_TRACK));
  return true;
}

void
vmm_load_pdptr (VmmVcpu *c, uint32_t cr3)
{
  uint64_t pdptr[4];
  for (int i = 0; i < 4; i++)
    {
      pdptr[i] = read_entry (c, (cr3 & 0xffffffe0u) + (uint32_t) i * 8);
      if ((pdptr[i] & PTE_P) && (pdptr[i] & (PAE_RESERVED | 0x1e6)))
        vmm_gp0 (c);
    }
  memcpy (c->pdptr, pdptr, sizeof pdptr);
}

/* ---- The access tables ---- */

static bool
watched_page (const VmmVcpu *c, uint32_t page)
{
  if (!(c->dr[7] & 0xff))
    return false;
  for (unsigned i = 0; i < 4; i++)
    if ((c->dr[7] >> i * 2 & 3) && (c->dr[7] >> (16 + i * 4) & 1))
      {
        uint32_t last = c->dr[i] | (c->dr[7] >> (18 + i * 4) & 3); /* 1 or 4 bytes, aligned: LEN */
        if ((c->dr[i] & PAGE) == page || (last & PAGE) == page)
          return true;
      }
  return false;
}

static void
remember (VmmTables *t, uint32_t page)
{
  if (t->flags[page] & VMM_TABLE_USED)
    return;
  t->flags[page] = VMM_TABLE_USED;
  t->used[t->used_count++] = page;
}

/* Dirty tracking: this entry let writes pass unseen; from now on they are seen again. */
static void
drop (VmmVcpu *c, VmmTables *t, uint32_t page)
{
  if (VMM_UNLIKELY (t->flags[page] & VMM_TABLE_TRACK) && t->write[page] != VMM_NO_ACCESS)
    __atomic_fetch_or (&c->vm->page_flags[t->phys[page] >> 12], VMM_PAGE_DIRTY, __ATOMIC_RELAXED);
  t->read[page] = t->write[page] = VMM_NO_ACCESS;
  t->phys[page] = VMM_NO_PAGE; /* translated code of two pages looks at it */
  t->flags[page] &= (uint8_t) ~VMM_TABLE_BESIDE_CODE;
  vmm_jump_forget (c, t, page);
}

static void
fill (VmmVcpu *c, uint32_t linear, bool user, const Walk *w)
{
  VmmTables *t = c->tables[user];
  uint32_t page = linear >> 12;
  uintptr_t reads = c->vm->read_map[view (c)][w->page >> 12];
  uintptr_t writes = c->vm->write_map[view (c)][w->page >> 12];
  uint8_t flags = c->vm->page_flags[w->page >> 12];
  uintptr_t window = 0;
  if (reads > VMM_PHYS_IGNORE && !vmm_apic_hit (c, w->page) && !watched_page (c, linear & PAGE))
    window = vmm_vm_window (c->vm, reads);
  bool may_write = writes == reads && w->dirty && allowed (c, w, true, user);
  bool writable = may_write && !(flags & VMM_PAGE_CODE)
                  && (flags & (VMM_PAGE_TRACK | VMM_PAGE_DIRTY)) != VMM_PAGE_TRACK;
  if (t->flags[page] & VMM_TABLE_USED)
    drop (c, t, page); /* there may be an older translation of this very page */
  if (window == 0)
    return;
  if ((t->flags[page] & VMM_TABLE_GLOBAL) && !(w->flags & VMM_TABLE_GLOBAL))
    t->used_global = 0;
  c->stat.tlb_fills++;
  remember (t, page);
  uint64_t delta = window - (linear & PAGE);
  t->read[page] = delta;
  t->write[page] = writable ? delta : VMM_NO_ACCESS;
  t->phys[page] = w->page;
  t->flags[page] = VMM_TABLE_USED | w->flags | (flags & VMM_PAGE_TRACK ? VMM_TABLE_TRACK : 0)
                   | (may_write && (flags & VMM_PAGE_CODE) ? VMM_TABLE_BESIDE_CODE : 0);
  if (flags & VMM_PAGE_CODE)
    vmm_jump_filled (c, t, page, w->page >> 12);
  if (w->flags & VMM_TABLE_LARGE)
    t->large[linear >> 25] |= (uint8_t) (1u << (linear >> 22 & 7));
}

static void
flush (VmmVcpu *c, VmmTables *t, bool global_too)
{
  uint32_t first = global_too ? 0 : t->used_global, kept = first;
  if (global_too)
    memset (t->large, 0, sizeof t->large);
  for (uint32_t i = first; i < t->used_count; i++)
    {
      uint32_t page = t->used[i];
      if (!global_too && (t->flags[page] & VMM_TABLE_GLOBAL))
        t->used[kept++] = page;
      else
        {
          drop (c, t, page);
          t->flags[page] = 0;
        }
    }
  t->used_count = t->used_global = kept;
}

void
vmm_tlb_flush (VmmVcpu *c, bool global_too)
{
  c->stat.tlb_flushes++;
  for (unsigned user = 0; user < 2; user++)
    flush (c, c->tables[user], global_too);
  vmm_spaces_flushed (c);
}

/* All the small entries made from one large page go together. */
static void
drop_large (VmmVcpu *c, VmmTables *t, uint32_t linear)
{
  uint32_t large = c->cr4 & CR4_PAE ? 0xffe00000u : 0xffc00000u;
  for (uint32_t i = 0; i < t->used_count; i++)
    if ((t->flags[t->used[i]] & VMM_TABLE_LARGE) && !(((t->used[i] << 12) ^ linear) & large))
      drop (c, t, t->used[i]);
  if (!(c->cr4 & CR4_PAE))
    t->large[linear >> 25] &= (uint8_t) ~(1u << (linear >> 22 & 7));
}

void
vmm_tlb_flush_page (VmmVcpu *c, uint32_t linear)
{
  vmm_space_flush_page (c, linear);
  for (unsigned user = 0; user < 2; user++)
    {
      VmmTables *t = c->tables[user];
      if (t->flags[linear >> 12] & VMM_TABLE_USED)
        drop (c, t, linear >> 12);
      if (t->large[linear >> 25] & 1u << (linear >> 22 & 7))
        drop_large (c, t, linear);
    }
}

void
vmm_tlb_protect (VmmVcpu *c, uint32_t page_address)
{
  page_address &= PAGE;
  for (unsigned user = 0; user < 2; user++)
    {
      VmmTables *t = c->tables[user];
      for (uint32_t i = 0; i < t->used_count; i++)
        if (t->phys[t->used[i]] == page_address)
          t->write[t->used[i]] = VMM_NO_ACCESS;
    }
  vmm_spaces_protect (c, page_address);
}

void
vmm_watchpoints_changed (VmmVcpu *c)
{
  c->code_breakpoints = false;
  for (unsigned i = 0; i < 4; i++)
    if ((c->dr[7] >> i * 2 & 3) && (c->dr[7] >> (16 + i * 4) & 3) == 0)
      c->code_breakpoints = true;
  vmm_tlb_flush (c, true);
  c->stop_block = true;
}

/* ---- Linear accesses ---- */

/* Data or a stack on a page with code, as in every small program of DOS: the entry says that the
 * write is allowed, though it has to take the slow way as long as there is code. */
static inline bool
beside_code (const VmmVcpu *c, const VmmTables *t, uint32_t page)
{
  return (t->flags[page] & VMM_TABLE_BESIDE_CODE)
         && (c->vm->page_flags[t->phys[page] >> 12] & VMM_PAGE_CODE);
}

/* Physical address, after the checks of an access; the TLB knows it afterwards if it may. */
static uint32_t
translate (VmmVcpu *c, uint32_t linear, bool write, bool user)
{
  const VmmTables *t = c->tables[user];
  if ((write ? t->write : t->read)[linear >> 12] != VMM_NO_ACCESS
      || (write && beside_code (c, t, linear >> 12)))
    return t->phys[linear >> 12] | (linear & 0xfff);
  Walk w;
  walk (c, linear, write, user, &w);
  fill (c, linear, user, &w);
  return w.page | (linear & 0xfff);
}

/* Data breakpoints on [linear, linear + size). */
static void
watch (VmmVcpu *c, uint32_t linear, unsigned size, bool write)
{
  if (VMM_LIKELY (!(c->dr[7] & 0xff)))
    return;
  uint32_t last = linear + size - 1;
  for (unsigned i = 0; i < 4; i++)
    {
      unsigned kind = c->dr[7] >> (16 + i * 4) & 3, length = c->dr[7] >> (18 + i * 4) & 3;
      if (!(c->dr[7] >> i * 2 & 3) || !(kind == 3 || (kind == 1 && write)))
        continue;
      uint32_t first = c->dr[i] & ~length, end = first | length;
      if (linear <= end && last >= first)
        c->debug_hits |= 1u << i;
    }
}

uint64_t
vmm_read_slow (VmmVcpu *c, uint32_t linear, unsigned size, bool user)
{
  unsigned room = 4096 - (linear & 0xfff);
  c->stat.slow_reads++;
  if (VMM_LIKELY (size <= room))
    {
      uint32_t address = translate (c, linear, false, user);
      watch (c, linear, size, false);
      return load (c, address, size);
    }
  uint32_t first = translate (c, linear, false, user);
  uint32_t second = translate (c, linear + room, false, user);
  watch (c, linear, size, false);
  uint64_t v = load (c, first, room);
  return v | load (c, second, size - room) << room * 8;
}

void
vmm_write_slow (VmmVcpu *c, uint32_t linear, uint64_t value, unsigned size, bool user)
{
  unsigned room = 4096 - (linear & 0xfff);
  c->stat.slow_writes++;
  if (VMM_LIKELY (size <= room))
    {
      uint32_t address = translate (c, linear, true, user);
      watch (c, linear, size, true);
      store (c, address, value, size);
      return;
    }
  uint32_t first = translate (c, linear, true, user);
  uint32_t second = translate (c, linear + room, true, user);
  watch (c, linear, size, true);
  store (c, first, value, room);
  store (c, second, value >> room * 8, size - room);
}

static void
probe (VmmVcpu *c, uint32_t linear, unsigned size, bool write, bool user)
{
  uint32_t last = linear + size - 1;
  translate (c, linear, write, user);
  if ((linear ^ last) & PAGE)
    translate (c, last & PAGE, write, user);
}

void
vmm_probe_write (VmmVcpu *c, uint32_t linear, unsigned size, bool user)
{
  probe (c, linear, size, true, user);
}

void
vmm_probe_read (VmmVcpu *c, uint32_t linear, unsigned size, bool user)
{
  probe (c, linear, size, false, user);
}

/* How much of `size` bytes at `linear` one step may do: to the page's end; 4, 2 or 1 if it has to
   go the slow way. */
static unsigned
step_size (uint32_t linear, unsigned size, bool plain)
{
  unsigned room = 4096 - (linear & 0xfff), n = size < room ? size : room;
  return plain ? n : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

void
vmm_read_bytes (VmmVcpu *c, uint32_t linear, void *to, unsigned size, bool user)
{
  uint8_t *p = to;
  vmm_probe_read (c, linear, size, user);
  while (size)
    {
      const uint8_t *host = vmm_host_for_read (c, linear, user);
      unsigned n = step_size (linear, size, host != NULL);
      if (host)
        memcpy (p, host, n);
      else
        {
          uint64_t v = vmm_read_slow (c, linear, n, user);
          memcpy (p, &v, n);
        }
      p += n, linear += n, size -= n;
    }
}

void
vmm_write_bytes (VmmVcpu *c, uint32_t linear, const void *from, unsigned size, bool user)
{
  const uint8_t *p = from;
  vmm_probe_write (c, linear, size, user);
  while (size)
    {
      uint8_t *host = vmm_host_for_write (c, linear, user);
      unsigned n = step_size (linear, size, host != NULL);
      if (host)
        memcpy (host, p, n);
      else
        {
          uint64_t v = 0;
          memcpy (&v, p, n);
          vmm_write_slow (c, linear, v, n, user);
        }
      p += n, linear += n, size -= n;
    }
}

uint32_t
vmm_rmw_slow (VmmVcpu *c, uint32_t linear, unsigned size, VmmRmw *rmw)
{
  unsigned room = 4096 - (linear & 0xfff);
  rmw->host = NULL;
  rmw->linear = linear;
  c->stat.slow_reads++;
  uint32_t first = translate (c, linear, true, c->user);
  if (VMM_LIKELY (size <= room))
    {
      rmw->host = vmm_direct (c->tables[c->user]->write, linear, size);
      watch (c, linear, size, true);
      return (uint32_t) load (c, first, size);
    }
  uint32_t second = translate (c, linear + room, true, c->user);
  watch (c, linear, size, true);
  uint32_t v = (uint32_t) load (c, first, room);
  return v | (uint32_t) load (c, second, size - room) << room * 8;
}

uint32_t
vmm_fetch_address (VmmVcpu *c, uint32_t linear, const uint8_t **host)
{
  uint32_t address = translate (c, linear, false, c->user);
  uintptr_t word = c->vm->read_map[view (c)][address >> 12];
  bool plain = word > VMM_PHYS_IGNORE && !vmm_apic_hit (c, address);
  *host = plain ? (const uint8_t *) word + (address & 0xfff) : NULL;
  return address;
}

uint8_t *
vmm_host_for_read (VmmVcpu *c, uint32_t linear, bool user)
{
  const uint64_t *table = c->tables[user]->read;
  if (table[linear >> 12] == VMM_NO_ACCESS)
    translate (c, linear, false, user);
  return vmm_direct (table, linear, 1);
}

bool
vmm_is_memory (VmmVcpu *c, uint32_t linear, bool user)
{
  uint32_t address = translate (c, linear, true, user);
  unsigned view = c->smm ? VMM_VIEW_SMM : VMM_VIEW_NORMAL;
  return c->vm->write_map[view][address >> 12] > VMM_PHYS_IGNORE && !vmm_apic_hit (c, address);
}

uint8_t *
vmm_host_for_write (VmmVcpu *c, uint32_t linear, bool user)
{
  const uint64_t *table = c->tables[user]->write;
  if (table[linear >> 12] == VMM_NO_ACCESS)
    translate (c, linear, true, user);
  return vmm_direct (table, linear, 1);
}
