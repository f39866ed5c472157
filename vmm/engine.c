/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The dispatcher: enters translated code, and does what it comes back for.
 *
 * A block runs by its handlers until it has done so c->config.heat times, then it is translated;
 * never under alignment checks.
 *
 * Counting (c->config.counted): each code takes its number of instructions from c->left when it is
 * entered, and does not run if there are not so many.  While it runs,
 *
 *   instructions retired = left_end - left - (those of the block that are not yet executed)
 *
 * which settle () writes to c->instructions whenever C has to know.  A slice's last instructions
 * are done one by one, so that a slice is exact.  Without counting c->instructions is not more than
 * the number of times that C was here; time slices end by a kick.
 */
#include "engine.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define UNCOUNTED_MIN 256 /* with a smaller budget nothing is entered that cannot be counted */

VmmBack vmm_enter (VmmVcpu *c, VmmTables *tables, const uint8_t *code);
uint32_t vmm_engine_slow (VmmVcpu *c, uint32_t offset);
uint64_t vmm_engine_miss (VmmVcpu *c, uint32_t linear, uint32_t offset, uint32_t write);
VmmTables *vmm_engine_tail (VmmVcpu *c, uint32_t offset);

VmmBlock *
vmm_block_of (const VmmInsn *insn)
{
  return (VmmBlock *) ((uint8_t *) (insn - insn->index_in_block) - offsetof (VmmBlock, insns));
}

/* c->instructions is right, `done` instructions of the block having been executed. */
static inline void
settle (VmmVcpu *c, const VmmInsn *insn, unsigned done)
{
  if (c->engine->counted)
    c->instructions = c->left_end - (uint64_t) c->left - (vmm_block_of (insn)->count - done);
}

static inline void
count (VmmVcpu *c, const VmmInsn *insn)
{
  c->engine->by_handler[insn->map << 8 | insn->opcode]++;
}

static int
compare_stats (const void *a, const void *b)
{
  uint64_t x = ((const VmmStat *) a)->value, y = ((const VmmStat *) b)->value;
  return x < y ? 1 : x > y ? -1 : 0;
}

size_t
vmm_engine_stats (VmmEngine *engine, VmmStat stats[VMM_OPCODES])
{
  size_t n = 0;
  for (unsigned opcode = 0; opcode < VMM_OPCODES; opcode++)
    {
      char *name = engine->names[opcode];
      uint64_t v = engine->by_handler[opcode];
      if (v == 0)
        continue;
      snprintf (name, sizeof engine->names[0], "by-handler.%s%02xh", opcode >= 256 ? "0f" : "",
                opcode & 255);
      stats[n++] = (VmmStat){ name, v };
    }
  qsort (stats, n, sizeof *stats, compare_stats);
  return n;
}

/* ---- Called by translated code ---- */

/* An exit has taken it away; else it is there, and the store, which waits for all before it, would
   be much of what a short handler costs. */
static inline void
in_code_again (VmmEngine *engine)
{
  if (!atomic_load_explicit (&engine->in_code, memory_order_relaxed))
    atomic_store (&engine->in_code, true);
}

/* Executes an instruction by its handler: 0 if the code may go on behind it. */
static uint32_t
by_handler (VmmVcpu *c, const VmmInsn *insn)
{
  const VmmBlock *b = vmm_block_of (insn);
  settle (c, insn, insn->index_in_block);
  count (c, insn);
  if (insn->hints & VMM_HINT_FPU)
    vmm_fpu_note_block (c, insn);
  c->inhibit = 0;
  insn->handler (c, insn);
  settle (c, insn, insn->index_in_block + 1u);
  in_code_again (c->engine);
  if (c->branched)
    {
      c->branched = false;
      return 1;
    }
  c->eip += insn->length;
  if (b->sync && insn->index_in_block + 1u == b->count)
    return vmm_sync_matters (c);
  return c->stop_block || ((insn->hints & VMM_HINT_FPU) && !c->fpu_ready);
}

uint32_t
vmm_engine_slow (VmmVcpu *c, uint32_t offset)
{
  c->stat.slow_calls++;
  vmm_left_code (c);
  return by_handler (c, vmm_insn_at (c, offset));
}

/* The table has no entry: the delta if it has one now, 0 if the instruction was executed, 1 if
   the code must be left. */
uint64_t
vmm_engine_miss (VmmVcpu *c, uint32_t linear, uint32_t offset, uint32_t write)
{
  const VmmInsn *insn = vmm_insn_at (c, offset);
  c->stat.misses++;
  vmm_left_code (c);
  settle (c, insn, insn->index_in_block);
  if (insn->hints & VMM_HINT_FPU)
    vmm_fpu_note_block (c, insn);                                           /* it may fault */
  if (VMM_UNLIKELY (linear & 15) && insn->map && vmm_sse_is_aligned (insn)) /* before #PF */
    return by_handler (c, insn);
  if (write)
    vmm_host_for_write (c, linear, c->user);
  else
    vmm_host_for_read (c, linear, c->user);
  uint64_t delta = (write ? c->now->write : c->now->read)[linear >> 12];
  if (delta != VMM_NO_ACCESS && !c->stop_block)
    {
      in_code_again (c->engine);
      return delta;
    }
  return by_handler (c, insn);
}

/* The instruction that ends a block and may have changed what the next one is executed under: mode,
   privilege, segments.  The access tables with which code goes on at c->eip by the tables of
   targets, or NULL if it is left. */
VmmTables *
vmm_engine_tail (VmmVcpu *c, uint32_t offset)
{
  VmmEngine *engine = c->engine;
  const VmmInsn *insn = vmm_insn_at (c, offset);
  vmm_left_code (c);
  settle (c, insn, insn->index_in_block);
  count (c, insn);
  c->stat.tails++;
  c->inhibit = 0;
  insn->handler (c, insn);
  if (c->branched)
    c->branched = false;
  else
    c->eip += insn->length;
  if (engine->counted)
    c->instructions = c->left_end - (uint64_t) c->left;
  c->blocks->resync = true;
  /* After an exit slices may be other ones. */
  if (!atomic_load_explicit (&engine->in_code, memory_order_relaxed) || !vmm_resync_in_code (c)
      || (c->seg[VMM_CS].base & 0xfff))
    return NULL;
  vmm_jump_mode (c);
  return c->now;
}

/* ---- What it came back for ---- */

static void
execute_insn (VmmVcpu *c, const VmmInsn *insn)
{
  settle (c, insn, insn->index_in_block);
  count (c, insn);
  c->inhibit = 0;
  insn->handler (c, insn);
  if (c->branched)
    c->branched = false;
  else
    c->eip += insn->length;
  c->instructions++;
  c->blocks->resync = true;
}

/* Is the rest of the slice so small that it has to be counted? */
static inline bool
slice_ends (const VmmVcpu *c, const VmmBlock *b)
{
  return c->slice_end - c->instructions < (c->engine->counted ? b->count : UNCOUNTED_MIN);
}

/* Code of a block on two pages looks whether the table has the second one. */
static bool
second_is_known (const VmmVcpu *c, const VmmBlock *b)
{
  uint32_t page = ((b->base + b->eip) >> 12) + 1;
  return page < VMM_PAGES && c->now->phys[page] == b->second;
}

/* The block that is to run now, translated if it may be; NULL if it ran by its handlers. */
static VmmBlock *
next_code (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  if (VMM_UNLIKELY (c->instructions >= c->trace.next))
    vmm_trace_point (c);
  VmmBlock *b = (VmmBlock *) vmm_block_next (c, bc);
  if (VMM_LIKELY (b->code != 0) && VMM_LIKELY (b->second == VMM_BLOCK_NO_PAGE))
    return b;
  if (c->engine->counted && vmm_alerted (c)) /* since the fetch */
    return NULL;
  if (b == bc->scratch || vmm_ac_on (c)
      || (b->second != VMM_BLOCK_NO_PAGE && !second_is_known (c, b)))
    ;
  else if (b->code)
    return b;
  else if (b->heat < c->engine->heat)
    b->heat++;
  else if (vmm_translate (c, b))
    return b;
  else
    {
      vmm_blocks_flush (c);
      return NULL;
    }
  c->stat.blocks_interpreted++;
  if (c->engine->counted && slice_ends (c, b))
    vmm_run_single (c);
  else
    vmm_run_block (c, b);
  return NULL;
}

/* A jump within a page, or to another one of a program that has a space. */
static void
link_exit (VmmVcpu *c, uint32_t site, const VmmBlock *to)
{
  VmmEngine *engine = c->engine;
  const VmmCode *from = vmm_code_at (engine, site);
  if ((c->config.stress & VMM_STRESS_UNLINKED) || !from)
    return;
  bool near = !((from->block->eip ^ to->eip) & ~0xfffu)
              && from->block->address >> 12 == to->address >> 12;
  if (!near && !vmm_space_link (c, from->block, to, site))
    return;
  vmm_code_link (engine, site, to->code);
  c->stat.links++;
}

static void
translate_again (VmmVcpu *c)
{
  VmmBlock *b = c->engine->again;
  c->engine->again = NULL;
  if (b->size == VMM_BLOCK_DEAD || !b->code)
    return;
  c->stat.retranslations++;
  if (!vmm_translate (c, b))
    vmm_blocks_flush (c);
}

/* The fetch of what follows must not fault any more in this slice. */
static inline bool
may_not_go_on (const VmmVcpu *c)
{
  return c->stop_block || c->instructions >= c->slice_end || vmm_alerted (c);
}

/* Returns whether the loop may go straight on with the next block. */
static bool
come_back (VmmVcpu *c, VmmBack back)
{
  VmmBlock *next;
  switch (back)
    {
      case VMM_BACK_EXIT: {
        uint32_t site = c->tail;
        if (may_not_go_on (c) || !(next = next_code (c)))
          return false;
        if (site)
          link_exit (c, site, next);
        return true;
      }
    case VMM_BACK_INDIRECT:
      c->stat.indirect++;
      if (may_not_go_on (c) || !(next = next_code (c)))
        return false;
      vmm_jump_enter (c, next);
      return true;
      case VMM_BACK_TRAP: {
        VmmInsn *insn = vmm_insn_at (c, c->tail);
        if (insn->hints & VMM_HINT_FPU)
          vmm_fpu_note_block (c, insn);
        if (c->engine->again)
          translate_again (c);
        vmm_space_trap (c, insn);
        execute_insn (c, insn);
        vmm_space_fault (c, insn);
        return false;
      }
    case VMM_BACK_RESUME:
    case VMM_BACK_ATTENTION:
    case VMM_BACK_BUDGET: break;
    }
  return false;
}

/* Until where code may run: b whole, and on to the next point of the trace. */
static inline uint64_t
look_at (const VmmVcpu *c, const VmmBlock *b)
{
  uint64_t end = c->slice_end, block_end = c->instructions + b->count;
  if (VMM_UNLIKELY (c->trace.next < end))
    end = c->trace.next > block_end ? c->trace.next : block_end;
  return end;
}

static VmmBack
enter (VmmVcpu *c, const VmmBlock *b)
{
  VmmEngine *engine = c->engine;
  vmm_jump_mode (c);
  if (engine->counted)
    {
      c->left_end = look_at (c, b);
      c->left = (int64_t) (c->left_end - c->instructions);
    }
  c->stat.enters++;
  atomic_store (&engine->in_code, true);
  VmmBack back = vmm_enter (c, c->now, engine->code + b->code);
  atomic_store_explicit (&engine->in_code, false, memory_order_relaxed);
  vmm_left_code (c);
  if (VMM_UNLIKELY (engine->patches))
    vmm_code_restore (engine);
  return back;
}

void
vmm_engine_left (VmmVcpu *c)
{
  atomic_store_explicit (&c->engine->in_code, false, memory_order_relaxed);
  vmm_code_restore (c->engine);
}

void
vmm_engine_run (VmmVcpu *c)
{
  VmmEngine *engine = c->engine;
  if (VMM_UNLIKELY (c->config.stress))
    vmm_stress_block (c);
  VmmBlock *b = next_code (c);
  if (!b)
    return;
  do
    {
      if (VMM_UNLIKELY (slice_ends (c, b)))
        {
          vmm_run_single (c);
          return;
        }
      VmmBack back = enter (c, b);
      if (!engine->counted)
        c->instructions++;
      else if (back == VMM_BACK_EXIT || back == VMM_BACK_INDIRECT || back == VMM_BACK_ATTENTION
               || back == VMM_BACK_BUDGET)
        c->instructions = c->left_end - (uint64_t) c->left;
      if (!come_back (c, back))
        return;
      if (atomic_load_explicit (&c->attention, memory_order_relaxed) & c->alert)
        return;
      b = (VmmBlock *) vmm_block_next (c, c->blocks);
    }
  while (b->code && b->second == VMM_BLOCK_NO_PAGE && !c->stop_block
         && c->instructions < c->slice_end);
}
