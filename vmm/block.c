/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cache of decoded blocks: decoding, look-up, self-modifying code.
 *
 * Life of a block: vmm_block_find () translates CS:EIP, finds the block by its physical address or
 * decodes it, and notes it in `recent`.  The pages it was read from get VMM_PAGE_CODE, and no TLB
 * entry lets writes to them pass: they come to vmm_blocks_written ().  Each such page knows which
 * of its 64 lines of 64 bytes hold code, so that data beside code costs one test; blocks whose very
 * bytes are overwritten are dropped: unlinked and marked dead, their memory is reclaimed when the
 * arena is full and everything goes.  A block that drops itself is left after the instruction that
 * did it (c->stop_block).
 *
 * Writes by devices may come from any thread: they are queued and done at the next boundary.
 *
 * Code on pages that are not plain memory (an option ROM behind MMIO, all ones) is not cached.  A
 * block is known by its EIP and the limit of CS too: translated code has both built in.
 */
#include "engine.h"

#include <stdlib.h>
#include <sys/mman.h>

#define ARENA (32u << 20)
#define FRAMES (1u << 20)
#define BLOCK_MAX (sizeof (VmmBlock) + VMM_BLOCK_INSNS * sizeof (VmmInsn))

typedef struct CodeLink CodeLink;
struct CodeLink {
  CodeLink *next;
  VmmBlock *block;
};

struct VmmCodePage {
  VmmCodePage *next; /* of used_pages */
  uint32_t frame;
  uint64_t lines;  /* which lines of 64 bytes hold code */
  uint64_t peeked; /* which lines the translator looked at beyond that */
  CodeLink *links;
};

/* ---- Life ---- */

static void *
reserve (size_t size)
{
  void *p = mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

VmmBlockCache *
vmm_blocks_new (VmmVcpu *c)
{
  VmmBlockCache *bc = calloc (1, sizeof *bc);
  if (!bc)
    return NULL;
  bc->arena = reserve (ARENA);
  bc->pages = reserve (FRAMES * sizeof *bc->pages);
  bc->scratch = malloc (BLOCK_MAX);
  bc->generation = 1;
  atomic_flag_clear (&bc->queue_lock);
  if (bc->arena && bc->pages && bc->scratch)
    return bc;
  vmm_blocks_free (bc);
  return NULL;
}

void
vmm_blocks_free (VmmBlockCache *bc)
{
  if (!bc)
    return;
  if (bc->arena)
    munmap (bc->arena, ARENA);
  if (bc->pages)
    munmap (bc->pages, FRAMES * sizeof *bc->pages);
  free (bc->scratch);
  free (bc);
}

void
vmm_blocks_remapped (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  bc->generation = (bc->generation + 1) & 0xffffff;
  if (bc->generation == 0)
    {
      memset (bc->recent, 0, sizeof bc->recent);
      bc->generation = 1;
    }
  bc->resync = true;
}

static void
clear_code_flag (VmmVcpu *c, uint32_t frame)
{
  /* Other processors may have decoded code of it; then it stays, to no harm. */
  if (c->vm->vcpus == 1)
    __atomic_fetch_and (&c->vm->page_flags[frame], (uint8_t) ~VMM_PAGE_CODE, __ATOMIC_SEQ_CST);
}

void
vmm_blocks_flush (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  memset (bc->hash, 0, sizeof bc->hash);
  memset (bc->recent, 0, sizeof bc->recent); /* the blocks' memory will hold others */
  for (VmmCodePage *page = bc->used_pages; page; page = page->next)
    {
      bc->pages[page->frame] = NULL;
      clear_code_flag (c, page->frame);
    }
  bc->used_pages = NULL;
  bc->arena_reset = true;
  c->stop_block = true;
  vmm_engine_flush (c);
  vmm_blocks_remapped (c);
}

/* ---- Look-up ---- */

static inline VmmBlock **
bucket (VmmBlockCache *bc, uint32_t address, uint32_t key)
{
  uint32_t h = (address ^ key << 20) * 0x9e3779b1u;
  return &bc->hash[h >> (32 - VMM_BLOCK_HASH_BITS)];
}

static void *
allocate (VmmBlockCache *bc, size_t size)
{
  void *p = bc->arena + bc->arena_used;
  bc->arena_used += (size + 15) & ~(size_t) 15;
  return p;
}

/* Room for a block, its links and pages, or everything is dropped.  No block is running. */
static void
make_room (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  size_t wanted = BLOCK_MAX + 2 * (sizeof (CodeLink) + sizeof (VmmCodePage)) + 128;
  if (bc->arena_used + wanted > ARENA)
    vmm_blocks_flush (c);
  if (bc->arena_reset)
    {
      bc->arena_used = 0;
      bc->arena_reset = false;
    }
}

/* From now on writes to the page are seen. */
static VmmCodePage *
code_page (VmmVcpu *c, uint32_t address)
{
  VmmBlockCache *bc = c->blocks;
  uint32_t frame = address >> 12;
  VmmCodePage *page = bc->pages[frame];
  if (!page)
    {
      page = allocate (bc, sizeof *page);
      *page = (VmmCodePage){ .next = bc->used_pages, .frame = frame };
      bc->used_pages = bc->pages[frame] = page;
    }
  if (!(c->vm->page_flags[frame] & VMM_PAGE_CODE))
    {
      __atomic_fetch_or (&c->vm->page_flags[frame], VMM_PAGE_CODE, __ATOMIC_SEQ_CST);
      for (unsigned i = 0; i < c->vm->vcpus; i++)
        if (c->vm->vcpu[i])
          vmm_tlb_protect (c->vm->vcpu[i], frame << 12);
    }
  return page;
}

/* Lines first..last, numbers of bytes within the page. */
static uint64_t
line_mask (uint32_t first, uint32_t last)
{
  uint64_t up = ~0ull << (first >> 6), down = ~0ull >> (63 - (last >> 6));
  return up & down;
}

static void
link_block (VmmVcpu *c, VmmBlock *b)
{
  VmmBlockCache *bc = c->blocks;
  VmmBlock **chain = bucket (bc, b->address, b->key);
  b->next = *chain;
  *chain = b;
  uint32_t at = b->address & 0xfff;
  uint32_t here = b->second == VMM_BLOCK_NO_PAGE ? b->size : 4096 - at;
  for (int part = 0; part < (b->second == VMM_BLOCK_NO_PAGE ? 1 : 2); part++)
    {
      VmmCodePage *page = bc->pages[(part ? b->second : b->address) >> 12];
      CodeLink *link = allocate (bc, sizeof *link);
      *link = (CodeLink){ page->links, b };
      page->links = link;
      page->lines |= part ? line_mask (0, b->size - here - 1) : line_mask (at, at + here - 1);
    }
}

/* ---- Decoding ---- */

static VmmBlock *
begin_block (VmmVcpu *c, uint32_t address)
{
  VmmBlock *b = c->blocks->scratch;
  *b = (VmmBlock){ .address = address,
                   .second = VMM_BLOCK_NO_PAGE,
                   .eip = c->eip,
                   .base = c->seg[VMM_CS].base,
                   .code_end = c->blocks->code_end,
                   .key = (uint8_t) c->blocks->key,
                   .count = 1 };
  return b;
}

static void
end_block (VmmBlock *b, uint32_t size, unsigned decoded)
{
  b->size = size;
  b->last = &b->insns[b->count - 1];
  b->final = b->last->handler;
  b->sync = decoded & VMM_DECODED_SYNC;
}

/* Raises only for an instruction that is really reached: the first of its block. */
static int
decode_first (VmmVcpu *c, const uint8_t *bytes, uint32_t room, VmmBlock *b, unsigned *decoded)
{
  int n = vmm_decode (bytes, room, b->key, b->insns, decoded);
  if (n < 0)
    vmm_gp0 (c);
  return n;
}

static void
decode_rest (const uint8_t *bytes, uint32_t room, VmmBlock *b, unsigned decoded, bool short_blocks)
{
  unsigned most = (b->key & VMM_KEY_SINGLE) || short_blocks ? 1 : VMM_BLOCK_INSNS;
  while (!(decoded & VMM_DECODED_END) && b->count < most)
    {
      int n = vmm_decode (bytes + b->size, room - b->size, b->key, &b->insns[b->count], &decoded);
      if (n <= 0)
        {
          decoded = 0;
          break;
        }
      b->size += (uint32_t) n;
      b->count++;
    }
  end_block (b, b->size, decoded);
  vmm_block_fuse (b);
}

/* The rest of an instruction's bytes from the next page: one block of one instruction.  Returns
   whether it may be cached. */
static bool
decode_across (VmmVcpu *c, uint32_t linear, const uint8_t *bytes, uint32_t here, VmmBlock *b)
{
  const uint8_t *host;
  uint8_t both[16];
  unsigned decoded = 0;
  uint64_t limit = c->blocks->code_end - c->eip;
  memcpy (both, bytes, here);
  b->second = vmm_fetch_address (c, (linear & ~0xfffu) + 4096, &host);
  if (host)
    code_page (c, b->second);
  int n = 0;
  for (uint32_t room = here + 1; n == 0; room++)
    {
      uint32_t at = room - 1 - here;
      if (room > limit || room > sizeof both)
        vmm_gp0 (c);
      both[room - 1] = host ? host[at] : (uint8_t) vmm_phys_read (c, b->second + at, 1);
      n = decode_first (c, both, room, b, &decoded);
    }
  end_block (b, (uint32_t) n, decoded);
  return host != NULL;
}

/* Code that is read through exits: byte by byte, as many as the instruction has. */
static const VmmBlock *
decode_device (VmmVcpu *c, uint32_t linear, uint32_t address)
{
  VmmBlock *b = begin_block (c, address);
  uint8_t bytes[16];
  unsigned decoded;
  uint64_t limit = c->blocks->code_end - c->eip;
  int n = 0;
  for (uint32_t room = 1; n == 0; room++)
    {
      const uint8_t *host;
      if (room > limit || room > sizeof bytes)
        vmm_gp0 (c);
      if (room > 1 && ((linear + room - 1) & 0xfff) == 0)
        address = vmm_fetch_address (c, linear + room - 1, &host) - (room - 1);
      bytes[room - 1] = (uint8_t) vmm_phys_read (c, address + room - 1, 1);
      n = decode_first (c, bytes, room, b, &decoded);
    }
  end_block (b, (uint32_t) n, VMM_DECODED_SYNC);
  return b;
}

/* Into the scratch block; whether it may be cached. */
static bool
decode_block (VmmVcpu *c, uint32_t linear, uint32_t address, const uint8_t *host)
{
  VmmBlock *b = begin_block (c, address);
  uint32_t in_page = 4096 - (address & 0xfff);
  uint64_t in_limit = c->blocks->code_end - c->eip;
  uint32_t room = in_limit < in_page ? (uint32_t) in_limit : in_page;
  unsigned decoded;
  code_page (c, address);
  c->stat.blocks_decoded++;
  int n = decode_first (c, host, room, b, &decoded);
  if (n == 0 && room == in_limit)
    vmm_gp0 (c);
  if (n == 0)
    return decode_across (c, linear, host, room, b);
  b->size = (uint32_t) n;
  decode_rest (host, room, b, decoded, c->config.stress & VMM_STRESS_SHORT);
  return true;
}

/* The scratch block becomes a cached one. */
static VmmBlock *
keep_block (VmmVcpu *c)
{
  const VmmBlock *from = c->blocks->scratch;
  size_t size = sizeof *from + from->count * sizeof (VmmInsn);
  VmmBlock *b = allocate (c->blocks, size);
  memcpy (b, from, size);
  b->last = &b->insns[from->last - from->insns];
  link_block (c, b);
  return b;
}

static bool
same_second (VmmVcpu *c, const VmmBlock *b, uint32_t linear)
{
  const uint8_t *host;
  return b->second == VMM_BLOCK_NO_PAGE
         || vmm_fetch_address (c, (linear & ~0xfffu) + 4096, &host) == b->second;
}

/* In the cache, by physical address; comes to the front of its chain. */
static VmmBlock *
look_up (VmmVcpu *c, uint32_t linear, uint32_t address)
{
  uint32_t key = c->blocks->key;
  VmmBlock **chain = bucket (c->blocks, address, key), **link = chain, *b;
  while ((b = *link)
         && !(b->address == address && b->key == key && b->eip == c->eip
              && b->base == c->seg[VMM_CS].base && b->code_end == c->blocks->code_end
              && same_second (c, b, linear)))
    link = &b->next;
  if (b && link != chain)
    {
      *link = b->next;
      b->next = *chain;
      *chain = b;
    }
  return b;
}

const VmmBlock *
vmm_block_find (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  uint32_t linear = c->seg[VMM_CS].base + c->eip;
  VmmRecent *recent = &bc->recent[vmm_block_slot (linear)];
  const uint8_t *host;
  if (c->eip >= bc->code_end)
    vmm_gp0 (c);
  uint32_t address = vmm_fetch_address (c, linear, &host);
  if (!host)
    return decode_device (c, linear, address);
  /* After a change of the mapping most entries of `recent` are as good as before. */
  VmmBlock *b = recent->block;
  bool same = b && (uint32_t) recent->tag == linear && b->address == address && b->key == bc->key
              && b->eip == c->eip && b->base == c->seg[VMM_CS].base && b->code_end == bc->code_end
              && b->size != VMM_BLOCK_DEAD && b->second == VMM_BLOCK_NO_PAGE;
  if (!same)
    b = look_up (c, linear, address);
  if (!b)
    {
      make_room (c);
      if (!decode_block (c, linear, address, host))
        return bc->scratch;
      b = keep_block (c);
    }
  *recent = (VmmRecent){ (uint64_t) bc->context << 32 | linear, b };
  return b;
}

VmmBlock *
vmm_block_beside (VmmVcpu *c, const VmmBlock *b, uint32_t eip)
{
  uint32_t address = b->address + (eip - b->eip);
  if (((eip ^ b->eip) & ~0xfffu) || (b->base & 0xfff))
    return NULL;
  VmmBlock *n = *bucket (c->blocks, address, b->key);
  while (n
         && !(n->address == address && n->key == b->key && n->eip == eip && n->base == b->base
              && n->code_end == b->code_end))
    n = n->next;
  return n;
}

uint32_t
vmm_block_position (const VmmVcpu *c)
{
  const VmmBlock *b = c->blocks->running;
  uint32_t eip = c->blocks->running_eip, n = 0;
  if (!b)
    return 0;
  while (eip != c->eip && n + 1u < b->count)
    eip += b->insns[n++].length;
  return n;
}

/* ---- Self-modifying code ---- */

static bool
overlaps (const VmmBlock *b, uint32_t frame, uint32_t first, uint32_t last)
{
  uint32_t at = b->address & 0xfff, end = at + b->size - 1;
  if (b->second == VMM_BLOCK_NO_PAGE)
    return first <= end && last >= at;
  if (b->address >> 12 == frame && last >= at)
    return true;
  return b->second >> 12 == frame && first <= end - 4096;
}

static void
unlink_from_page (VmmBlockCache *bc, uint32_t frame, const VmmBlock *b)
{
  VmmCodePage *page = bc->pages[frame];
  for (CodeLink **link = &page->links; *link; link = &(*link)->next)
    if ((*link)->block == b)
      {
        *link = (*link)->next;
        break;
      }
}

static void
drop_block (VmmVcpu *c, VmmBlock *b)
{
  VmmBlockCache *bc = c->blocks;
  for (VmmBlock **link = bucket (bc, b->address, b->key); *link; link = &(*link)->next)
    if (*link == b)
      {
        *link = b->next;
        break;
      }
  unlink_from_page (bc, b->address >> 12, b);
  if (b->second != VMM_BLOCK_NO_PAGE)
    unlink_from_page (bc, b->second >> 12, b);
  vmm_code_drop (c, b);
  b->size = VMM_BLOCK_DEAD;
  b->code_end = 0; /* vmm_block_next () does not take it */
  c->stat.blocks_invalidated++;
  c->stop_block = true;
}

static void
recompute_lines (VmmCodePage *page)
{
  page->lines = 0;
  for (const CodeLink *link = page->links; link; link = link->next)
    {
      const VmmBlock *b = link->block;
      uint32_t at = b->address & 0xfff, end = at + b->size - 1;
      if (b->address >> 12 == page->frame)
        page->lines |= line_mask (at, end < 4096 ? end : 4095);
      if (b->second != VMM_BLOCK_NO_PAGE && b->second >> 12 == page->frame)
        page->lines |= line_mask (0, end - 4096);
    }
}

/* Flags may be needed that were not. */
static void
forget_translations (VmmVcpu *c, VmmCodePage *page)
{
  for (CodeLink *link = page->links; link; link = link->next)
    vmm_code_drop (c, link->block);
  page->peeked = 0;
  c->stop_block = true;
}

void
vmm_blocks_peeked (VmmVcpu *c, uint32_t address, unsigned size)
{
  VmmCodePage *page = c->blocks->pages[address >> 12];
  uint32_t first = address & 0xfff;
  if (page)
    page->peeked |= line_mask (first, first + size - 1);
}

const uint8_t *
vmm_code_bytes (VmmVcpu *c, uint32_t page_address)
{
  uintptr_t word = c->vm->read_map[c->smm ? VMM_VIEW_SMM : VMM_VIEW_NORMAL][page_address >> 12];
  return word > VMM_PHYS_IGNORE && !vmm_apic_hit (c, page_address) ? (const uint8_t *) word : NULL;
}

/* Bytes first..last of one page. */
static void
written (VmmVcpu *c, uint32_t frame, uint32_t first, uint32_t last)
{
  VmmCodePage *page = c->blocks->pages[frame];
  uint64_t lines = line_mask (first, last);
  bool dropped = false;
  if (page && (page->peeked & lines))
    forget_translations (c, page);
  if (!page || !(page->lines & lines))
    return;
  for (CodeLink *link = page->links, *next; link; link = next)
    {
      next = link->next;
      if (overlaps (link->block, frame, first, last))
        {
          /* Dropping unlinks this link alone, or, of a block on two pages, one of each. */
          drop_block (c, link->block);
          dropped = true;
        }
    }
  if (dropped)
    recompute_lines (page);
  if (!page->links)
    clear_code_flag (c, frame);
}

void
vmm_blocks_written (VmmVcpu *c, uint32_t address, unsigned size)
{
  while (size != 0)
    {
      uint32_t first = address & 0xfff, n = size < 4096 - first ? size : 4096 - first;
      written (c, address >> 12, first, first + n - 1);
      address += n;
      size -= n;
    }
}

/* ---- From other threads ---- */

static void
lock_queue (VmmBlockCache *bc)
{
  while (atomic_flag_test_and_set_explicit (&bc->queue_lock, memory_order_acquire))
    __builtin_ia32_pause ();
}

static void
unlock_queue (VmmBlockCache *bc)
{
  atomic_flag_clear_explicit (&bc->queue_lock, memory_order_release);
}

void
vmm_blocks_written_async (VmmVcpu *c, uint32_t address, unsigned size)
{
  VmmBlockCache *bc = c->blocks;
  lock_queue (bc);
  unsigned n = bc->queued;
  if (n > 0 && n <= VMM_BLOCK_QUEUE && bc->queue[n - 1].address + bc->queue[n - 1].size == address)
    bc->queue[n - 1].size += size; /* a transfer sector by sector */
  else if (n < VMM_BLOCK_QUEUE)
    {
      bc->queue[n].address = address;
      bc->queue[n].size = size;
      bc->queued++;
    }
  else
    bc->queued = VMM_BLOCK_QUEUE + 1;
  unlock_queue (bc);
  vmm_attention (c, ATT_CODE);
}

void
vmm_blocks_attend (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  atomic_fetch_and (&c->attention, ~ATT_CODE);
  lock_queue (bc);
  if (bc->queued > VMM_BLOCK_QUEUE)
    vmm_blocks_flush (c);
  else
    for (unsigned i = 0; i < bc->queued; i++)
      vmm_blocks_written (c, bc->queue[i].address, bc->queue[i].size);
  bc->queued = 0;
  unlock_queue (bc);
}
