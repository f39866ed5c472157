/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual machine: RAM and the guest-physical map.
 *
 * RAM is one memfd.  Page n lies at offset n * 8192: the page after each one is a hole that nobody
 * touches.  Pages come into being when they are first touched; nothing is ever committed for the
 * holes.  The memfd is mapped twice: `ram` is for the embedder, devices and page tables; `window`
 * is what the access tables point to, and there userfaultfd turns an access to a hole into SIGBUS,
 * so that translated code finds out that an access crossed its page (trap.c) without looking.
 * Memory of the embedder (ROM, video memory) is aliased page by page into a second window of the
 * same form. Where the host forbids userfaultfd there is one mapping, and translated code must look
 * (vm->holes).
 *
 * The physical map has, for each view (normal, system management) and direction, one word for each
 * of the 2^20 page frames: the host address of the page, VMM_PHYS_MMIO or VMM_PHYS_IGNORE.  The
 * tables are anonymous memory, so that the unmapped parts (MMIO is 0) cost nothing.
 *
 * Life of a map change: vmm_vm_map_* rewrites the words, drops decoded code of pages whose reads
 * changed, and sets ATT_FLUSH in every processor, which throws its soft TLB away before its next
 * access (exit.c, when the exit that changed the map is resumed) or instruction.
 */
#include "vcpu.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMES (1u << 20)
#define STRIDE ((size_t) 2 * VMM_PAGE_SIZE)
#define GUARD ((size_t) VMM_PAGE_SIZE) /* below the window */

static void *
reserve (size_t size)
{
  void *p = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* ---- The windows ---- */

/* Lets accesses to holes of [p, p + size) end in SIGBUS.  The descriptor must stay open. */
static int
trap_holes (void *p, size_t size)
{
  int fd = (int) syscall (SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_CLOEXEC);
  struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
  struct uffdio_register range
      = { .range = { (uintptr_t) p, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };
  if (fd >= 0 && ioctl (fd, UFFDIO_API, &api) == 0 && ioctl (fd, UFFDIO_REGISTER, &range) == 0)
    return fd;
  if (fd >= 0)
    close (fd);
  return -1;
}

static void
open_window (VmmVm *vm, size_t span)
{
  vm->window = vm->ram;
  vm->uffd = -1;
  /* Code may reach as far below its first page as beyond its last one: nobody else lies there. */
  uint8_t *guard = mmap (NULL, span + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
  if (guard == MAP_FAILED)
    return;
  void *p = mmap (guard + GUARD, span, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_NORESERVE | MAP_FIXED, vm->ram_fd, 0);
  if (p == MAP_FAILED || (vm->uffd = trap_holes (p, span)) < 0)
    {
      munmap (guard, span + GUARD);
      return;
    }
  madvise (p, span, MADV_DONTDUMP);
  vm->window = p;
  vm->holes = true;
}

/* Aliases of the embedder's pages: slot n at aliases + n * STRIDE, found by open addressing. */
static uint32_t
alias_home (uintptr_t host)
{
  return (uint32_t) ((host >> 12) * 0x9e3779b1u) & (VMM_ALIASES - 1);
}

static uint8_t *
alias_slot (const VmmVm *vm, uint32_t n)
{
  return vm->aliases + (size_t) n * STRIDE + VMM_PAGE_SIZE;
}

/* Only shared memory can be mapped a second time. */
static uintptr_t
alias (VmmVm *vm, uintptr_t host)
{
  uint32_t n = alias_home (host);
  for (uint32_t tries = 0; tries < VMM_ALIASES; tries++, n = (n + 1) & (VMM_ALIASES - 1))
    {
      if (vm->alias_of[n] == host)
        return (uintptr_t) alias_slot (vm, n);
      if (vm->alias_of[n] != 0)
        continue;
      if (mremap ((void *) host, 0, VMM_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                  alias_slot (vm, n))
          == MAP_FAILED)
        return 0;
      vm->alias_of[n] = host;
      vm->aliased++;
      return (uintptr_t) alias_slot (vm, n);
    }
  return 0;
}

uintptr_t
vmm_vm_window (VmmVm *vm, uintptr_t host)
{
  uintptr_t offset = host - (uintptr_t) vm->ram;
  if (offset < vm->ram_size * 2)
    {
      /* Present before the window is used: a page that is not there would look like a hole. */
      (void) *(volatile const uint8_t *) host;
      return (uintptr_t) vm->window + offset;
    }
  return vm->aliases ? alias (vm, host) : 0;
}

bool
vmm_vm_window_repair (VmmVm *vm, uintptr_t address)
{
  uintptr_t offset = address - (uintptr_t) vm->window;
  if (!vm->holes || offset >= vm->ram_size * 2 || (offset & VMM_PAGE_SIZE))
    return false;
  (void) *(volatile const uint8_t *) ((uintptr_t) vm->ram + offset);
  return true;
}

/* The embedder may free the memory and get other memory at the same address: no alias outlives a
   change of the map.  They come back as they are needed. */
static void
forget_aliases (VmmVm *vm)
{
  if (vm->aliased == 0)
    return;
  mmap (vm->aliases, (size_t) VMM_ALIASES * STRIDE + VMM_PAGE_SIZE, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  memset (vm->alias_of, 0, VMM_ALIASES * sizeof *vm->alias_of);
  vm->aliased = 0;
}

static bool
reserve_aliases (VmmVm *vm)
{
  void *p = mmap (NULL, (size_t) VMM_ALIASES * STRIDE + VMM_PAGE_SIZE, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  vm->alias_of = calloc (VMM_ALIASES, sizeof *vm->alias_of);
  if (p == MAP_FAILED)
    return false;
  vm->aliases = p;
  return vm->alias_of != NULL;
}

/* ---- Life ---- */

static bool
allocate_ram (VmmVm *vm)
{
  size_t span = (size_t) vm->ram_size * 2;
  vm->ram_fd = memfd_create ("tenon-ram", MFD_CLOEXEC);
  if (vm->ram_fd < 0 || ftruncate (vm->ram_fd, (off_t) span) != 0)
    return false;
  void *p = mmap (NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, vm->ram_fd, 0);
  if (p == MAP_FAILED)
    return false;
  madvise (p, span, MADV_DONTDUMP);
  vm->ram = p;
  open_window (vm, span);
  return true;
}

static bool
allocate_maps (VmmVm *vm)
{
  for (int view = 0; view < VMM_VIEWS; view++)
    {
      vm->read_map[view] = reserve (FRAMES * sizeof (uintptr_t));
      vm->write_map[view] = reserve (FRAMES * sizeof (uintptr_t));
      if (!vm->read_map[view] || !vm->write_map[view])
        return false;
    }
  vm->page_flags = reserve (FRAMES);
  return vm->page_flags != NULL;
}

VmmVm *
vmm_vm_new (uint64_t ram_size, const char **error)
{
  if (ram_size == 0 || ram_size % (1u << 20) || ram_size > 3ull << 30)
    {
      *error = "the size of RAM is not a multiple of 1 MiB between 1 MiB and 3 GiB";
      return NULL;
    }
  VmmVm *vm = calloc (1, sizeof *vm);
  if (!vm)
    {
      *error = "out of memory";
      return NULL;
    }
  vm->ram_size = ram_size;
  vm->ram_fd = vm->uffd = -1;
  if (!allocate_ram (vm) || !allocate_maps (vm) || !reserve_aliases (vm))
    {
      *error = "cannot reserve host memory for the guest's RAM";
      vmm_vm_free (vm);
      return NULL;
    }
  return vm;
}

static void
release (void *p, size_t size)
{
  if (p)
    munmap (p, size);
}

void
vmm_vm_free (VmmVm *vm)
{
  if (!vm)
    return;
  for (int view = 0; view < VMM_VIEWS; view++)
    {
      release (vm->read_map[view], FRAMES * sizeof (uintptr_t));
      release (vm->write_map[view], FRAMES * sizeof (uintptr_t));
    }
  release (vm->page_flags, FRAMES);
  release (vm->aliases, (size_t) VMM_ALIASES * STRIDE + VMM_PAGE_SIZE);
  free (vm->alias_of);
  if (vm->window != vm->ram)
    release (vm->window - GUARD, (size_t) vm->ram_size * 2 + GUARD);
  if (vm->uffd >= 0)
    close (vm->uffd);
  release (vm->ram, (size_t) vm->ram_size * 2);
  if (vm->ram_fd >= 0)
    close (vm->ram_fd);
  free (vm);
}

uint64_t
vmm_vm_ram_size (const VmmVm *vm)
{
  return vm->ram_size;
}

void *
vmm_vm_ram_page (VmmVm *vm, uint64_t offset)
{
  if (offset >= vm->ram_size)
    return NULL;
  return vm->ram + (offset / VMM_PAGE_SIZE) * STRIDE;
}

bool
vmm_vm_ram_touched (VmmVm *vm, uint64_t offset)
{
  if (offset >= vm->ram_size)
    return false;
  /* Asks the file, not the page tables: a page that was swapped out is still data. */
  off_t at = (off_t) ((offset / VMM_PAGE_SIZE) * STRIDE);
  return lseek (vm->ram_fd, at, SEEK_DATA) == at;
}

/* Decoded code of these pages is void, now or at each processor's next instruction. */
static void
forget_code (VmmVm *vm, uint32_t address, uint32_t size)
{
  for (unsigned i = 0; i < vm->vcpus; i++)
    if (vm->vcpu[i])
      vmm_blocks_written_async (vm->vcpu[i], address, size);
}

void
vmm_vm_ram_discard (VmmVm *vm, uint64_t offset)
{
  if (offset >= vm->ram_size)
    return;
  uintptr_t host = (uintptr_t) vmm_vm_ram_page (vm, offset);
  fallocate (vm->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
             (off_t) ((offset / VMM_PAGE_SIZE) * STRIDE), VMM_PAGE_SIZE);
  /* Nearly always at its own number; code elsewhere (an alias) is found by the full search. */
  uint32_t frame = (uint32_t) (offset / VMM_PAGE_SIZE);
  if (vm->read_map[VMM_VIEW_NORMAL][frame] != host)
    for (frame = 0; frame < FRAMES - 1 && vm->read_map[VMM_VIEW_NORMAL][frame] != host; frame++)
      ;
  if (vm->page_flags[frame] & VMM_PAGE_CODE)
    forget_code (vm, frame * VMM_PAGE_SIZE, VMM_PAGE_SIZE);
}

/* ---- The map ---- */

static void
flush_all (VmmVm *vm)
{
  for (unsigned i = 0; i < vm->vcpus; i++)
    if (vm->vcpu[i])
      vmm_attention (vm->vcpu[i], ATT_FLUSH);
}

static uintptr_t
map_word (VmmVm *vm, VmmMapKind kind, uint64_t ram_offset, const void *host, uint64_t distance)
{
  switch (kind)
    {
    case VMM_MAP_RAM: return (uintptr_t) vmm_vm_ram_page (vm, ram_offset + distance);
    case VMM_MAP_HOST: return (uintptr_t) host + distance;
    case VMM_MAP_IGNORE: return VMM_PHYS_IGNORE;
    case VMM_MAP_MMIO:
    default: return VMM_PHYS_MMIO;
    }
}

static void
map (VmmVm *vm, uintptr_t *table, bool reads, uint32_t first, uint64_t size, VmmMapKind kind,
     uint64_t ram_offset, const void *host)
{
  uint32_t frame = first / VMM_PAGE_SIZE;
  uint64_t pages = size / VMM_PAGE_SIZE;
  if (pages > FRAMES - frame)
    pages = FRAMES - frame;
  for (uint64_t i = 0; i < pages; i++)
    {
      uintptr_t word = map_word (vm, kind, ram_offset, host, i * VMM_PAGE_SIZE);
      if (table[frame + i] == word)
        continue;
      table[frame + i] = word;
      if (reads && (vm->page_flags[frame + i] & VMM_PAGE_CODE))
        forget_code (vm, (uint32_t) (frame + i) * VMM_PAGE_SIZE, VMM_PAGE_SIZE);
    }
  forget_aliases (vm);
  flush_all (vm);
}

void
vmm_vm_map_read (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind,
                 uint64_t ram_offset, const void *host)
{
  map (vm, vm->read_map[view], true, first, size, kind, ram_offset, host);
}

void
vmm_vm_map_write (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind,
                  uint64_t ram_offset, void *host)
{
  map (vm, vm->write_map[view], false, first, size, kind, ram_offset, host);
}

void
vmm_vm_track (VmmVm *vm, uint32_t first, uint64_t size, bool on)
{
  uint32_t frame = first / VMM_PAGE_SIZE;
  uint64_t pages = size / VMM_PAGE_SIZE;
  for (uint64_t i = 0; i < pages && frame + i < FRAMES; i++)
    if (on)
      __atomic_fetch_or (&vm->page_flags[frame + i], VMM_PAGE_TRACK | VMM_PAGE_DIRTY,
                         __ATOMIC_RELAXED);
    else
      __atomic_fetch_and (&vm->page_flags[frame + i], (uint8_t) ~(VMM_PAGE_TRACK | VMM_PAGE_DIRTY),
                          __ATOMIC_RELAXED);
  flush_all (vm);
}

bool
vmm_vm_take_dirty (VmmVm *vm, uint32_t page_address)
{
  uint8_t *flags = &vm->page_flags[page_address / VMM_PAGE_SIZE];
  if (!(*flags & VMM_PAGE_DIRTY))
    return false;
  __atomic_fetch_and (flags, (uint8_t) ~VMM_PAGE_DIRTY, __ATOMIC_RELAXED);
  /* Until it flushes, a processor may go on writing unseen; the flush notes those pages again. */
  flush_all (vm);
  return true;
}

/* ---- Devices ---- */

uint32_t
vmm_vm_read (VmmVm *vm, uint32_t address, void *buffer, uint32_t size)
{
  uint32_t done = 0;
  while (done < size)
    {
      uint32_t at = address + done, room = VMM_PAGE_SIZE - at % VMM_PAGE_SIZE;
      uint32_t n = size - done < room ? size - done : room;
      uintptr_t host = vm->read_map[VMM_VIEW_NORMAL][at / VMM_PAGE_SIZE];
      if (host == VMM_PHYS_MMIO)
        break;
      if (host == VMM_PHYS_IGNORE)
        memset ((uint8_t *) buffer + done, 0xff, n);
      else
        memcpy ((uint8_t *) buffer + done, (const uint8_t *) host + at % VMM_PAGE_SIZE, n);
      done += n;
    }
  return done;
}

uint32_t
vmm_vm_write (VmmVm *vm, uint32_t address, const void *buffer, uint32_t size)
{
  uint32_t done = 0;
  while (done < size)
    {
      uint32_t at = address + done, room = VMM_PAGE_SIZE - at % VMM_PAGE_SIZE;
      uint32_t n = size - done < room ? size - done : room;
      uintptr_t host = vm->write_map[VMM_VIEW_NORMAL][at / VMM_PAGE_SIZE];
      if (host == VMM_PHYS_MMIO)
        break;
      if (host != VMM_PHYS_IGNORE)
        {
          memcpy ((uint8_t *) host + at % VMM_PAGE_SIZE, (const uint8_t *) buffer + done, n);
          /* The decoder sets VMM_PAGE_CODE before it reads the page, we write before we look. */
          atomic_thread_fence (memory_order_seq_cst);
          uint8_t flags = vm->page_flags[at / VMM_PAGE_SIZE];
          if (flags & VMM_PAGE_TRACK)
            __atomic_fetch_or (&vm->page_flags[at / VMM_PAGE_SIZE], VMM_PAGE_DIRTY,
                               __ATOMIC_RELAXED);
          if (flags & VMM_PAGE_CODE)
            forget_code (vm, at, n);
        }
      done += n;
    }
  return done;
}
