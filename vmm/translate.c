/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a decoded block to code of the host: the frame around the templates.
 *
 *   code   the instructions, then the jump to what follows
 *
 * and in another part of the code cache, so that what is often executed lies close together:
 *
 *   way out  sets c->eip to the block's and leaves: where a block that was dropped leads to
 *   stubs    what is seldom executed: misses, handlers, links
 *
 * Flags are followed backwards (`live`): an access may spoil flags that nobody will look at.  At a
 * block's end somebody might, unless what follows on the same page sets them anew: dead_after ()
 * reads ahead.  What was read that way stands in the page's `peeked` lines, and a write to it drops
 * all code of the page (block.c).
 */
#include "translate.h"

#include <stddef.h>
#include <time.h>

#define PEEK 8   /* instructions to read ahead */
#define CHAIN 16 /* blocks that are translated in a row */

/* ---- Flags ---- */

/* Multiplications, divisions and bit scans leave flags undefined, which on some hosts means: as they
   were.  Nobody relies on that but a test that compares with such a host. */
static bool
leaves_flags (const VmmInsn *i)
{
  if (i->map)
    return i->opcode == 0xaf || i->opcode == 0xbc || i->opcode == 0xbd;
  return i->opcode == 0x69 || i->opcode == 0x6b
         || ((i->opcode & 0xfe) == 0xf6 && (i->modrm >> 3 & 7) >= 4);
}

static Description
describe (const Translator *t, const VmmInsn *i, bool last, bool sync)
{
  if (VMM_UNLIKELY (!t->c->config.sse2) && i->handler != vmm_op_ud && vmm_is_sse2 (i))
    return (Description){ .template = T_HANDLER, .reads = FL_ARITH, .defines = 0xff };
  Description d = vmm_describe (i, last, sync);
  if (VMM_UNLIKELY (t->c->config.stress & VMM_STRESS_UNDEFINED) && leaves_flags (i))
    d.writes = 0;
  return d;
}

/* Flags that code from eip on, on the block's page, may look at. */
static uint16_t
live_after (Translator *t, uint32_t eip, unsigned depth)
{
  VmmVcpu *c = t->c;
  const VmmBlock *b = t->b;
  uint32_t at = b->address + (eip - b->eip), first = at;
  uint16_t open = FL_ARITH, live = 0;
  const uint8_t *page = vmm_code_bytes (c, b->address & ~0xfffu);
  if (!page || ((eip ^ b->eip) & ~0xfffu) || (c->seg[VMM_CS].base & 0xfff) || eip >= b->code_end)
    return FL_ARITH;
  for (unsigned n = 0; n < PEEK && open; n++)
    {
      VmmInsn i;
      unsigned decoded, room = 4096 - (at & 0xfff);
      int length = vmm_decode (page + (at & 0xfff), room, b->key, &i, &decoded);
      if (length <= 0 || (uint64_t) eip + (unsigned) length > b->code_end)
        break;
      Description d = describe (t, &i, decoded & VMM_DECODED_END, decoded & VMM_DECODED_SYNC);
      live |= d.reads & open;
      open &= (uint16_t) ~(d.writes | d.reads);
      uint32_t target = eip + i.imm;
      at += (unsigned) length;
      eip += (unsigned) length;
      if (d.template == T_JMP && depth)
        {
          live |= live_after (t, target, depth - 1) & open;
          open = 0;
        }
      else if (d.template == T_JCC && depth)
        {
          live |= (live_after (t, target, depth - 1) | live_after (t, eip, depth - 1)) & open;
          open = 0;
        }
      else if ((decoded & VMM_DECODED_END) || d.template == T_TAIL || !(at & 0xfff))
        break;
    }
  if (at != first)
    vmm_blocks_peeked (c, first, at - first);
  return live | open;
}

/* Where the block can go to directly. */
static uint16_t
live_at_end (Translator *t)
{
  uint32_t end = t->b->eip + t->b->size, target = last_target (t->b);
  if (t->engine->precise)
    return FL_ARITH;
  switch (t->describe[t->b->count - 1].template)
    {
    case T_JCC: return live_after (t, target, 1) | live_after (t, end, 1);
    case T_JMP: return live_after (t, target, 1);
    case T_CALL: return t->pc_thunk < 0 ? live_after (t, target, 0) : live_after (t, end, 1);
    case T_TAIL:
    case T_LOOP:
    case T_RET:
    case T_CALL_M:
    case T_JMP_M: return FL_ARITH;
    default: return live_after (t, end, 1);
    }
}

/* OF after a rotate by more than one is what the processor's maker likes, and differs between forms
   of one instruction.  Where engines are compared, the handlers are the reference. */
static bool
has_undefined_of (const Translator *t, const VmmInsn *i, uint16_t live)
{
  bool rotates
      = !i->map && ((i->opcode & 0xfe) == 0xc0 || (i->opcode & 0xfc) == 0xd0) && !(i->modrm & 0x20);
  bool by_one = (i->opcode & 0xfe) == 0xd0 || ((i->opcode & 0xfe) == 0xc0 && (i->imm & 31) == 1);
  return rotates && !by_one && t->engine->precise && (live & FL_OF);
}

/* What cannot be copied as it stands. */
static bool
needs_handler (const Translator *t, const VmmInsn *i, const Description *d, uint16_t live)
{
  if (!vmm_has_high_byte (i, d))
    return has_undefined_of (t, i, live);
  bool stores = vmm_stores_high_byte (i);
  return (!stores && !vmm_loads_high_byte (i)) || (stores && !t->engine->bmi2)
         || (i->flags & VMM_INSN_LOCK);
}

static void
describe_all (Translator *t)
{
  const VmmBlock *b = t->b;
  for (unsigned n = 0; n < b->count; n++)
    t->describe[n] = describe (t, &b->insns[n], n + 1u == b->count, b->sync);
  t->live[b->count] = live_at_end (t);
  if (t->live[b->count] && t->pc_thunk >= 0) /* the comparison would spoil them */
    {
      t->pc_thunk = -1;
      t->follower = NULL;
      t->live[b->count] = live_at_end (t);
    }
  for (unsigned n = b->count; n-- > 0;)
    {
      Description *d = &t->describe[n];
      if (needs_handler (t, &b->insns[n], d, t->live[n + 1]))
        *d = (Description){ .template = T_HANDLER, .reads = FL_ARITH, .defines = 0xff };
      t->live[n] = (uint16_t) ((t->live[n + 1] & ~d->writes) | d->reads);
    }
}

/* ---- Stubs ---- */

static uint32_t
offset_of (const Translator *t, const uint8_t *at)
{
  return (uint32_t) (at - t->engine->writable);
}

static void
emit_jump_to (Translator *t, const uint8_t *target)
{
  emit_target (emit_jmp (&t->e), target);
}

static uint32_t
eip_of (const Translator *t, unsigned n)
{
  uint32_t eip = t->b->eip;
  for (unsigned i = 0; i < n; i++)
    eip += t->b->insns[i].length;
  return eip;
}

static void
emit_miss (Translator *t, const Stub *s)
{
  Emit *e = &t->e;
  if (s->address != R_8)
    emit_mov_rr (e, R_8, s->address);
  emit_mov_mi (e, FIELD (eip), eip_of (t, s->insn));
  emit_mov_ri (e, R_9, vmm_insn_offset (t->c, &t->b->insns[s->insn]));
  emit_rm (e, 0, 0xff, 2, s->write ? THUNK (VMM_THUNK_MISS_WRITE) : THUNK (VMM_THUNK_MISS_READ));
  emit_jump_to (t, s->retry);
  if (s->anchor >= 0) /* an address that traps */
    emit_rr (e, REX_W, 0x8b, s->anchor, R_14);
  emit_jump_to (t, t->start[s->insn + 1]);
}

static void
emit_slow (Translator *t, const Stub *s)
{
  Emit *e = &t->e;
  const Access *a = t->access[s->insn];
  emit_mov_mi (e, FIELD (eip), eip_of (t, s->insn));
  emit_mov_ri (e, R_8, vmm_insn_offset (t->c, &t->b->insns[s->insn]));
  emit_rm (e, 0, 0xff, 2, THUNK (VMM_THUNK_SLOW));
  for (unsigned n = 0; n < 2; n++)
    if (a[n].anchor >= 0)
      emit_rr (e, REX_W, 0x8b, a[n].anchor, R_14);
  emit_jump_to (t, t->start[s->insn + 1]);
}

static void
emit_xmm (Translator *t, const Stub *s)
{
  Emit *e = &t->e;
  emit_mov_mi (e, FIELD (eip), eip_of (t, s->insn));
  emit_mov_ri (e, R_8, vmm_insn_offset (t->c, &t->b->insns[s->insn]));
  emit_rm (e, 0, 0xff, 2, THUNK (VMM_THUNK_XMM));
  emit_jump_to (t, s->retry);
}

static void
emit_exit (Translator *t, const Stub *s)
{
  Emit *e = &t->e;
  uint32_t site = offset_of (t, s->site);
  if (s->link)
    {
      unsigned n = t->code.exits[0] ? 1 : 0;
      t->code.exits[n] = site;
      t->code.stubs[n] = offset_of (t, e->at);
    }
  emit_mov_mi (e, FIELD (eip), s->eip);
  emit_mov_ri (e, R_8, s->link ? site : 0);
  emit_rm (e, 0, 0xff, 4, THUNK (VMM_THUNK_EXIT));
}

static void
emit_stub (Translator *t, const Stub *s)
{
  emit_target (s->site, t->e.at);
  if (s->saved)
    vmm_emit_restore_flags (&t->e);
  switch (s->kind)
    {
    case S_MISS: emit_miss (t, s); break;
    case S_SLOW: emit_slow (t, s); break;
    case S_XMM: emit_xmm (t, s); break;
    case S_CALL:
      emit_lea (&t->e, R_15, emit_at (R_15, -4));
      emit_exit (t, s);
      break;
    case S_EXIT: emit_exit (t, s); break;
    case S_CROSS:
      emit_mov_ri (&t->e, R_8, s->eip);
      vmm_emit_indirect (t);
      break;
    case S_TAIL:
      emit_mov_mi (&t->e, FIELD (eip), eip_of (t, s->insn));
      emit_mov_ri (&t->e, R_8, vmm_insn_offset (t->c, &t->b->insns[s->insn]));
      emit_rm (&t->e, 0, 0xff, 4, THUNK (VMM_THUNK_TAIL));
      break;
    case S_BUDGET:
      emit_mov_mi (&t->e, FIELD (eip), t->b->eip);
      emit_rm (&t->e, 0, 0xff, 4, THUNK (VMM_THUNK_BUDGET));
      break;
    }
}

/* ---- The block ---- */

static void
align (Emit *e, unsigned to)
{
  while ((uintptr_t) e->at & (to - 1))
    emit8 (e, 0xcc);
}

/* What is seldom executed lies elsewhere, so that what is often executed lies together. */
static void
go_aside (Translator *t)
{
  VmmEngine *engine = t->engine;
  t->code.end = offset_of (t, t->e.at);
  t->code.aside = engine->aside_used;
  t->e.at = engine->writable + engine->aside_used;
  t->e.end = engine->writable + engine->size;
  emit_mov_mi (&t->e, FIELD (eip), t->b->eip);
  emit_jump_to (t, engine->writable + engine->gone);
}

/* Counting: if the slice has not so many instructions left, nothing is executed. */
static void
emit_count (Translator *t)
{
  Emit *e = &t->e;
  vmm_emit_save_flags (e);
  emit_rm (e, REX_W, 0x83, 5, FIELD (left)); /* sub */
  emit8 (e, t->b->count);
  uint8_t *enough = emit_jcc (e, CC_AE);
  emit_rm (e, REX_W, 0x83, 0, FIELD (left)); /* add */
  emit8 (e, t->b->count);
  Stub *s = vmm_add_stub (t, S_BUDGET, emit_jmp (e));
  s->saved = true;
  emit_target (enough, e->at);
  vmm_emit_restore_flags (e);
}

/* The block's instruction ends on the next page: is that still the one that it was decoded from? */
static void
emit_second (Translator *t)
{
  Emit *e = &t->e;
  uint32_t page = ((t->b->base + t->b->eip) >> 12) + 1;
  bool saved = t->engine->precise || t->live[0];
  if (saved)
    vmm_emit_save_flags (e);
  emit_rm (e, 0, 0x81, 7, /* cmp */
           emit_at (R_12, (int32_t) (offsetof (VmmTables, phys) + page * sizeof (uint32_t))));
  emit32 (e, t->b->second);
  Stub *s = vmm_add_stub (t, S_EXIT, emit_jcc (e, CC_NE));
  s->saved = saved;
  s->eip = t->b->eip;
  if (saved)
    vmm_emit_restore_flags (e);
}

static void
emit_instructions (Translator *t)
{
  VmmBlock *b = t->b;
  t->eip = b->eip;
  for (t->n = 0; t->n < b->count; t->n++)
    {
      t->insn = &b->insns[t->n];
      t->d = &t->describe[t->n];
      t->next = t->eip + t->insn->length;
      t->insn->index_in_block = (uint8_t) t->n;
      t->start[t->n] = t->e.at;
      vmm_emit_insn (t);
      t->eip = t->next;
    }
  t->start[b->count] = t->e.at;
  t->n = b->count - 1u;
  if (!t->ended)
    {
      vmm_emit_fpu_note (t);
      vmm_emit_direct (t, t->next);
    }
}

static void
keep (Translator *t)
{
  VmmEngine *engine = t->engine;
  VmmBlock *b = t->b;
  uint32_t start = offset_of (t, t->entry);
  t->code.start = start;
  t->code.aside_end = engine->aside_used = offset_of (t, t->e.at);
  t->code.block = b;
  t->code.insns = engine->offsets_used;
  for (unsigned n = 0; n < b->count; n++)
    engine->offsets[engine->offsets_used++] = (uint16_t) (t->start[n] - t->entry);
  engine->codes[engine->count++] = t->code;
  engine->used = t->code.end;
  if (b->code) /* translated anew: who was linked to the old code goes on to this */
    vmm_code_redirect (engine, b->code, start);
  b->code = start;
  vmm_jump_update (t->c, b, start);
  for (unsigned n = 0; n < b->count; n++)
    if (t->fpu_used)
      b->insns[n].hints |= VMM_HINT_FPU;
}

uint64_t
vmm_host_ns (void)
{
  struct timespec ts;
  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

/* The block to which b's straight way goes on, if it is on the page, has run, but has no code: its
   code can lie behind that of b, and needs no jump.  Most conditional jumps are not taken, and what
   is executed in a row lies in a row. */
static VmmBlock *
follower (VmmVcpu *c, const VmmBlock *b, int pc_thunk)
{
  const VmmInsn *last = &b->insns[b->count - 1];
  Description d = vmm_describe (last, true, b->sync);
  uint32_t end = b->eip + b->size;
  if (b->second != VMM_BLOCK_NO_PAGE || (c->config.stress & VMM_STRESS_UNLINKED))
    return NULL;
  switch (d.template)
    {
    case T_JMP:
    case T_CALL:
      if (pc_thunk < 0)
        end = last_target (b);
      break;
    case T_TAIL:
    case T_LOOP:
    case T_RET:
    case T_CALL_M:
    case T_JMP_M: return NULL;
    default: break;
    }
  VmmBlock *next = vmm_block_beside (c, b, end);
  if (!next || next == b || next->code || next->size == VMM_BLOCK_DEAD
      || next->second != VMM_BLOCK_NO_PAGE)
    return NULL;
  return next;
}

static bool
translate (VmmVcpu *c, VmmBlock *b, int pc_thunk, const VmmBlock *next, bool chained)
{
  VmmEngine *engine = c->engine;
  uint64_t from = vmm_host_ns ();
  Translator t;
  memset (&t, 0, offsetof (Translator, describe));
  t.stub_count = 0;
  t.code = (VmmCode){ 0 };
  t.ended = t.fpu_checked = t.fpu_note = t.fpu_used = t.xmm_checked = false;
  t.fds_noted = 0;
  t.c = c;
  t.engine = engine;
  t.b = b;
  t.pc_thunk = pc_thunk;
  t.follower = next;
  t.e = (Emit){ engine->writable + engine->used, engine->writable + engine->aside, false };
  t.flat = b->key & VMM_KEY_FLAT;
  t.stack32 = b->key & VMM_KEY_STACK32;
  t.space = b->key & VMM_KEY_SPACE;
  describe_all (&t);
  vmm_plan_accesses (&t);
  if (!chained)
    align (&t.e, 16);
  t.entry = t.e.at;
  if (b->second != VMM_BLOCK_NO_PAGE)
    emit_second (&t);
  if (engine->counted)
    emit_count (&t);
  emit_instructions (&t);
  go_aside (&t);
  for (unsigned n = 0; n < t.stub_count; n++)
    emit_stub (&t, &t.stubs[n]);
  if (t.e.overflow)
    return false;
  keep (&t);
  c->stat.translations++;
  c->stat.translated_insns += b->count;
  c->stat.translated_bytes += b->size;
  c->stat.code_bytes += t.code.end - t.code.start + t.code.aside_end - t.code.aside;
  c->stat.translate_ns += vmm_host_ns () - from;
  if (c->config.translated)
    vmm_inspect (c, &t.code);
  return true;
}

bool
vmm_translate (VmmVcpu *c, VmmBlock *b)
{
  if (!vmm_code_room (c->engine, 1))
    return false;
  for (unsigned n = 0; b; n++)
    {
      bool more = n < CHAIN && vmm_code_room (c->engine, 2);
      int pc_thunk = vmm_pc_thunk (c, b);
      VmmBlock *next = more ? follower (c, b, pc_thunk) : NULL;
      if (!translate (c, b, pc_thunk, next, n > 0))
        return false;
      /* An end that leaves all the same does not fall. */
      b = c->engine->codes[c->engine->count - 1].falls ? next : NULL;
    }
  return true;
}
