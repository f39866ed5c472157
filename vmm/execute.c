/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop that runs guest code.
 *
 *   boundary ()       attention, end of the time slice, then what the next instruction depends on
 *   run_block ()      a whole decoded block; between its instructions only stop_block is looked at
 *   step ()           one instruction, with single-step traps, breakpoints and interrupt shadows
 *   fault ()          after vmm_raise ()
 *
 * c->instructions is brought up to date at the end of a block; in between, and at faults, the
 * position in the running block is found from c->eip (vmm_retired ()).  A delivered fault counts as
 * one, so that a guest whose handlers fault for ever uses its slice up; and so does an instruction
 * that is given up and begins anew, so that a count tells between which instructions the guest is.
 */
#include "engine.h"

#define MODE_TRAPS (FL_TF | FL_RF)

uint64_t
vmm_retired (const VmmVcpu *c)
{
  return c->instructions + vmm_block_position (c);
}

/* ---- Boundaries ---- */

static uint32_t
current_key (const VmmVcpu *c, bool single)
{
  uint32_t key = (c->code32 ? VMM_KEY_CODE32 : 0) | (c->stack32 ? VMM_KEY_STACK32 : 0)
                 | (c->smm ? VMM_KEY_SMM : 0) | (single ? VMM_KEY_SINGLE : 0)
                 | (c->config.additions ? VMM_KEY_ADDITIONS : 0);
  if (vmm_is_flat (&c->seg[VMM_DS]) && vmm_is_flat (&c->seg[VMM_SS])
      && vmm_is_flat (&c->seg[VMM_ES]) && !vmm_ac_on (c))
    key |= VMM_KEY_FLAT;
  if (c->space && c->user && c->code32 && c->stack32 && (key & VMM_KEY_FLAT)
      && c->seg[VMM_CS].base == 0)
    key |= VMM_KEY_SPACE;
  return key;
}

/* What the next instruction is executed under.  After whatever may have changed it. */
static void
resync_for (VmmVcpu *c, bool single)
{
  VmmBlockCache *bc = c->blocks;
  uint32_t limit = c->seg[VMM_CS].limit;
  if (bc->flushes != c->stat.tlb_flushes)
    {
      bc->flushes = c->stat.tlb_flushes;
      vmm_blocks_remapped (c);
    }
  bc->key = current_key (c, single);
  c->now = c->tables[c->user];
  bc->context = bc->generation << 8 | bc->key | (c->user ? VMM_KEY_USER : 0);
  bc->code_end = (uint64_t) (c->code32 || limit < 0xffff ? limit : 0xffff) + 1;
  bc->resync = false;
  c->branched = false; /* deliveries between instructions set it too */
}

static void
resync (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  bc->single = (c->eflags & MODE_TRAPS) || c->inhibit || c->debug_hits || (c->dr[7] & 0xff);
  resync_for (c, bc->single);
  vmm_alert_changed (c);
}

static void
slice_over (VmmVcpu *c)
{
  if (c->instructions >= c->budget_end)
    {
      c->slice_ended = true;
      vmm_leave (c, VMM_EXIT_TIME_SLICE);
    }
  else if (c->instructions >= c->trace.next)
    vmm_trace_point (c);
  vmm_trace_plan (c);
}

static void
boundary (VmmVcpu *c)
{
  /* What the host asks for between two slices comes before the first instruction of the next. */
  for (;;)
    {
      if (atomic_load_explicit (&c->attention, memory_order_relaxed) && vmm_attend (c))
        continue;
      if (c->instructions < c->slice_end)
        break;
      slice_over (c);
    }
  c->stop_block = false;
  resync (c);
}

/* ---- One instruction at a time ---- */

static void
code_breakpoint (VmmVcpu *c)
{
  uint32_t hits = vmm_code_breakpoint (c, c->seg[VMM_CS].base + c->eip);
  if (hits == 0)
    return;
  c->dr[6] |= hits;
  vmm_raise (c, EX_DB);
}

/* RF lasts until the instruction is done: a repeated one may take several rounds. */
static inline bool
goes_round (const VmmVcpu *c, const VmmInsn *i, uint32_t eip)
{
  return (i->flags & (VMM_INSN_REP | VMM_INSN_REPNE)) && c->branched && c->eip == eip;
}

static void
step (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  if (c->code_breakpoints && !(c->eflags & FL_RF) && !(c->inhibit & VMM_INHIBIT_SS))
    code_breakpoint (c);
  const VmmInsn *i = vmm_block_next (c, bc)->last;
  uint32_t eip = c->eip, rf = c->eflags & FL_RF;
  c->inhibit = 0;
  c->step = c->eflags & FL_TF;
  c->eflags &= ~FL_RF;
  bc->resync = true;
  i->handler (c, i);
  bool round = goes_round (c, i, eip);
  if (round)
    c->eflags |= rf;
  if (!c->branched)
    c->eip = vmm_next_eip (c, i);
  c->branched = false;
  c->instructions++;
  if ((c->step || c->debug_hits) && !(c->inhibit & VMM_INHIBIT_SS))
    {
      if (round) /* a trap between two rounds saves RF set */
        c->eflags |= FL_RF;
      vmm_debug_trap (c, c->step ? 0x4000 : 0);
    }
  c->step = false;
}

/* ---- Blocks ---- */

VMM_INLINE void
run_block (VmmVcpu *c, VmmBlockCache *bc, const VmmBlock *b)
{
  const VmmInsn *i = b->insns, *last = b->last;
  uint32_t eip = c->eip;
  bc->running = b;
  bc->running_eip = eip;
  while (i != last)
    {
      i->handler (c, i);
      eip += i->length;
      c->eip = eip;
      i++;
      if (VMM_UNLIKELY (c->stop_block))
        {
          bc->running = NULL;
          bc->resync = true;
          c->instructions += (uint32_t) (i - b->insns);
          return;
        }
    }
  b->final (c, i);
  bc->running = NULL;
  c->instructions += b->count;
  if (c->branched)
    c->branched = false;
  else
    c->eip = vmm_next_eip (c, i);
  if (b->sync)
    bc->resync = true;
}

void
vmm_run_block (VmmVcpu *c, const VmmBlock *b)
{
  c->inhibit = 0; /* of STI: no interrupt is taken before the block's end */
  run_block (c, c->blocks, b);
}

void
vmm_run_single (VmmVcpu *c)
{
  resync_for (c, true);
  run_block (c, c->blocks, vmm_block_next (c, c->blocks));
  c->blocks->resync = true;
}

/* STI's shadow matters only if an interrupt is waiting: translated code is left at the end of a
   block at the earliest, and whoever leaves it before the next instruction finds c->inhibit as it
   was. */
static bool
only_sti_shadow (const VmmVcpu *c)
{
  return c->inhibit == VMM_INHIBIT_STI && !c->config.counted && !(c->eflags & MODE_TRAPS)
         && !c->debug_hits && !(c->dr[7] & 0xff);
}

bool
vmm_sync_matters (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  uint32_t context = bc->context;
  uint64_t end = bc->code_end;
  const VmmTables *tables = c->now;
  bc->resync = true;
  if (c->stop_block)
    return true;
  bool shadow = only_sti_shadow (c);
  resync (c);
  if (bc->single && shadow)
    {
      bc->single = false;
      resync_for (c, false);
    }
  bc->resync = bc->single || bc->context != context || bc->code_end != end || c->now != tables
               || (atomic_load (&c->attention) & c->alert);
  return bc->resync;
}

bool
vmm_resync_in_code (VmmVcpu *c)
{
  c->stop_block = false; /* what it asked for concerned the block that has ended */
  resync (c);
  c->blocks->resync = c->blocks->single;
  return !c->blocks->single;
}

/* A counted slice is exact, whatever engine runs it. */
VMM_INLINE void
run_counted (VmmVcpu *c, VmmBlockCache *bc, const VmmBlock *b)
{
  if (VMM_UNLIKELY (c->config.counted) && vmm_alerted (c)) /* since the fetch */
    return;
  if (VMM_UNLIKELY (c->config.counted) && c->slice_end - c->instructions < b->count)
    vmm_run_single (c);
  else
    run_block (c, bc, b);
}

/* Not inlined: beside _setjmp nothing would stay in registers. */
_Noreturn VMM_HOT __attribute__ ((noinline)) static void
loop (VmmVcpu *c)
{
  VmmBlockCache *bc = c->blocks;
  bc->resync = true;
  bc->faults_in_a_row = 0;
  for (;;)
    {
      if (VMM_UNLIKELY (bc->resync || c->stop_block || c->instructions >= c->slice_end
                        || atomic_load_explicit (&c->attention, memory_order_relaxed)))
        {
          boundary (c);
          if (bc->single)
            {
              step (c); /* asks for another resync */
              continue;
            }
        }
      if (c->engine)
        vmm_engine_run (c);
      else
        run_counted (c, bc, vmm_block_next (c, bc));
    }
}

/* Deliveries that fail one after the other: two or three end in shutdown, but a guest can make #AC
   and #GP follow each other for ever, and then it must still be possible to leave. */
#define FAULTS_IN_A_ROW 64

static void
fault (VmmVcpu *c)
{
  c->instructions += vmm_block_position (c) + 1;
  c->blocks->running = NULL;
  c->branched = false;
  c->step = false;
  c->inhibit = 0;
  if (++c->blocks->faults_in_a_row > FAULTS_IN_A_ROW)
    {
      /* To the boundary, and through the instruction again. */
      c->delivering = c->delivering_exception = c->external = false;
      return;
    }
  vmm_deliver_fault (c);
}

/* The instruction was given up (vmm_restart): to the boundary, and to it again. */
static void
restart (VmmVcpu *c)
{
  c->instructions += vmm_block_position (c) + 1;
  c->blocks->running = NULL;
  c->branched = false;
  c->step = false;
  c->stop_block = true;
}

void
vmm_run (VmmVcpu *c)
{
  c->blocks->running = NULL;
  c->branched = false;
  int why = _setjmp (c->on_fault);
  if (c->engine)
    vmm_engine_left (c);
  switch (why)
    {
    case 0: break;
    case VMM_RESTART: restart (c); break;
    default: fault (c);
    }
  loop (c);
}
