/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decoded blocks and their cache, shared by block.c (which fills it) and execute.c (which runs
 * them).
 *
 * A block is up to VMM_BLOCK_INSNS instructions in a row, within one page.  An instruction that
 * lies on two pages is a block of its own, so that a block never needs bytes of an instruction that
 * is not reached.  Blocks are found
 *   - by linear address in `recent`, a direct-mapped table whose tags carry the context (mode,
 * rights and a generation that changes with the mapping): the common case, inline below;
 *   - else by physical address and VMM_KEY_* in `hash`, after a translation that checks the rights.
 */
#pragma once

#include "insn.h"

#define VMM_BLOCK_INSNS     48
#define VMM_RECENT_BITS     13
#define VMM_BLOCK_HASH_BITS 16
#define VMM_BLOCK_QUEUE     64

typedef struct VmmBlock VmmBlock;
struct VmmBlock
{
  VmmBlock *next; /* in its hash chain */
  VmmInsn *last;  /* of insns; or the one before, if the two are executed as a pair */
  uint32_t size;  /* bytes; VMM_BLOCK_DEAD if it was dropped */
  uint16_t count; /* instructions */
  uint8_t key;
  bool sync;        /* the last instruction may change mode, segments, attention ... */
  uint32_t address; /* physical, of the first byte */
  uint32_t second;  /* physical page on which the rest lies, or VMM_BLOCK_NO_PAGE */
  uint32_t eip, base; /* of the first byte; of CS */
  uint32_t code;    /* translated: offset in the code cache; 0 if not */
  uint64_t code_end; /* VmmBlockCache.code_end when it was decoded */
  VmmHandler final; /* executes *last */
  struct VmmJumpPage *jump_page;
  uint8_t heat; /* how often it ran untranslated */
  VmmInsn insns[];
};
#define VMM_BLOCK_DEAD    0xffffffffu
#define VMM_BLOCK_NO_PAGE 1u

typedef struct
{
  uint64_t tag; /* context << 32 | linear address */
  VmmBlock *block;
} VmmRecent;

typedef struct VmmCodePage VmmCodePage; /* block.c */

struct VmmBlockCache
{
  /* where the loop stands */
  bool single;      /* one instruction at a time: traps, breakpoints, shadows */
  bool resync;      /* what follows is not known for what the next instruction will be */
  uint32_t key;     /* VMM_KEY_* of the next instruction */
  uint32_t context; /* generation << 8 | key, with VMM_KEY_USER */
  uint32_t generation;
  uint64_t flushes;        /* c->stat.tlb_flushes that `generation` knows */
  uint64_t code_end;       /* the first EIP that may not be fetched */
  const VmmBlock *running; /* its instructions are not yet counted; NULL between blocks */
  uint32_t running_eip;
  unsigned faults_in_a_row;

  VmmRecent recent[1u << VMM_RECENT_BITS];
  VmmBlock *hash[1u << VMM_BLOCK_HASH_BITS];
  VmmCodePage **pages; /* by frame */
  VmmCodePage *used_pages;
  uint8_t *arena;
  size_t arena_used;
  bool arena_reset;  /* flushed: nothing in the arena is wanted once the running block ended */
  VmmBlock *scratch; /* for what must not be cached */

  /* writes by other threads */
  atomic_flag queue_lock;
  unsigned queued; /* more than fit: drop everything */
  struct
  {
    uint32_t address, size;
  } queue[VMM_BLOCK_QUEUE];
};

/* The block at CS:EIP; raises what fetching it raises. */
const VmmBlock *vmm_block_find (VmmVcpu *c);
/* execute.c: runs a block by its handlers; the next instruction alone. */
void vmm_run_block (VmmVcpu *c, const VmmBlock *b);
void vmm_run_single (VmmVcpu *c);
/* After an instruction that may have changed what the next one is executed under: did it?  If not,
   translated code may simply go on. */
bool vmm_sync_matters (VmmVcpu *c);
/* At a boundary within translated code: takes over what the next instruction is executed under;
   false if that has to be done by the loop. */
bool vmm_resync_in_code (VmmVcpu *c);
/* Linear addresses may mean other memory now. */
void vmm_blocks_remapped (VmmVcpu *c);
/* fuse.c: if the last two instructions are a compare and a jump, makes a pair of them. */
void vmm_block_fuse (VmmBlock *b);
/* The block at `eip` on the page of b, of the same mode, if it has been decoded. */
VmmBlock *vmm_block_beside (VmmVcpu *c, const VmmBlock *b, uint32_t eip);
/* Number of instructions of the running block before c->eip. */
uint32_t vmm_block_position (const VmmVcpu *c);

VMM_INLINE uint32_t
vmm_block_slot (uint32_t linear)
{
  return (linear ^ linear >> VMM_RECENT_BITS) & ((1u << VMM_RECENT_BITS) - 1);
}

VMM_INLINE const VmmBlock *
vmm_block_next (VmmVcpu *c, const VmmBlockCache *bc)
{
  uint32_t linear = c->seg[VMM_CS].base + c->eip;
  const VmmRecent *r = &bc->recent[vmm_block_slot (linear)];
  if (VMM_LIKELY (r->tag == ((uint64_t)bc->context << 32 | linear)))
    {
      const VmmBlock *b = r->block;
      if (VMM_LIKELY (b->eip == c->eip && b->code_end == bc->code_end))
        return b;
    }
  return vmm_block_find (c);
}
