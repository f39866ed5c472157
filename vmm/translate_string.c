/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MOVS, STOS and LODS, and REP MOVS and REP STOS as the host's own, if all of it lies within one
 * page of source and one of destination, upwards, in flat segments, and the tables know both; else
 * by the handler, which works page by page.
 *
 *   r11d = bytes, r10 = delta of the source, r9 = delta of the destination
 *   add rsi, r10 / add rdi, r9 / rep movs / sub rsi, r10 / sub rdi, r9
 *
 * Nothing faults in between: both pages are there.  The flags are the guest's throughout, or set
 * aside.
 *
 * CMPS and SCAS, and with REPE and REPNE, likewise, but as far as the pages go: most end long
 * before their count.  One that has not ended at a page's end goes on by the handler, which looks
 * for interrupts.
 *
 *   r11d = items to the end of the nearer page, or ECX; r8d = ECX - r11d; ecx = r11d
 *   rep cmps, as above / ecx += r8d, and what was found decides
 */
#include "translate.h"

#include <stddef.h>

#define MOST 1024 /* items: so that sizes do not overflow, and interrupts do not wait */

static void
slow_if (Translator *t, unsigned condition, bool saved)
{
  vmm_add_stub (t, S_SLOW, emit_jcc (&t->e, condition))->saved = saved;
}

/* r9 = delta for `bytes` (in r11d) at `reg`; goes aside if they are not simply there. */
static void
delta_of (Translator *t, int reg, int to, bool write, bool saved)
{
  Emit *e = &t->e;
  int32_t table
      = write ? (int32_t) offsetof (VmmTables, write) : (int32_t) offsetof (VmmTables, read);
  emit_mov_rr (e, R_8, reg);
  emit_rr (e, 0, 0x81, 4, R_8); /* and r8d, fff */
  emit32 (e, 0xfff);
  emit_rr (e, 0, 0x03, R_8, R_11);
  emit_rr (e, 0, 0x81, 7, R_8); /* cmp r8d, 1000 */
  emit32 (e, 0x1000);
  slow_if (t, CC_A, saved);
  emit_mov_rr (e, R_8, reg);
  emit_rr (e, 0, 0xc1, 5, R_8); /* shr r8d, 12 */
  emit8 (e, 12);
  emit_rm (e, REX_W, 0x8b, to, (EmitMem){ R_12, R_8, 3, table });
  emit_rr (e, REX_W, 0x85, to, to);
  slow_if (t, CC_S, saved);
}

/* The repeated ones: rsi and rdi are host addresses for the moment. */
static void
repeat (Translator *t, bool moves, bool saved)
{
  Emit *e = &t->e;
  if (moves)
    emit_rr (e, REX_W, 0x03, R_SI, R_10);
  emit_rr (e, REX_W, 0x03, R_DI, R_9);
  if (saved && !moves) /* STOS wants EAX */
    {
      emit_mov_rr (e, R_8, R_AX);
      emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_a));
    }
  emit8 (e, 0xf3);
  if (t->d->size == 2)
    emit8 (e, 0x66);
  emit8 (e, t->insn->opcode);
  if (saved && !moves)
    emit_mov_rr (e, R_AX, R_8);
  if (moves)
    emit_rr (e, REX_W, 0x2b, R_SI, R_10);
  emit_rr (e, REX_W, 0x2b, R_DI, R_9);
}

/* mov between memory and reg, of the operand's size */
static void
move (Translator *t, bool to_memory, int reg, EmitMem m)
{
  if (t->d->size == 2)
    emit8 (&t->e, 0x66);
  emit_rm (&t->e, 0, (to_memory ? 0x88u : 0x8au) | (t->d->size != 1), reg, m);
}

/* One item.  The flags are the guest's again, and so is EAX. */
static void
once (Translator *t)
{
  Emit *e = &t->e;
  EmitMem from = { R_10, R_SI, 0, 0 }, to = { R_9, R_DI, 0, 0 };
  switch (t->d->template)
    {
    case T_MOVS:
      move (t, false, R_8, from);
      move (t, true, R_8, to);
      break;
    case T_STOS: move (t, true, R_AX, to); break;
    default: move (t, false, R_AX, from);
    }
  if (t->d->template != T_STOS)
    emit_lea (e, R_SI, emit_at (R_SI, t->d->size));
  if (t->d->template != T_LODS)
    emit_lea (e, R_DI, emit_at (R_DI, t->d->size));
}

/* r11d = bytes */
static void
size_of_all (Translator *t, bool saved)
{
  Emit *e = &t->e;
  unsigned shift = t->d->size == 4 ? 2 : t->d->size == 2 ? 1 : 0;
  emit_rr (e, 0, 0x81, 7, R_CX); /* cmp ecx, MOST */
  emit32 (e, MOST);
  slow_if (t, CC_A, saved);
  emit_mov_rr (e, R_11, R_CX);
  if (!shift)
    return;
  emit_rr (e, 0, 0xc1, 4, R_11); /* shl r11d */
  emit8 (e, shift);
}

void
vmm_emit_string (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  bool repeats = i->flags & (VMM_INSN_REP | VMM_INSN_REPNE), saved = flags_live (t);
  bool reads = t->d->template != T_STOS, writes = t->d->template != T_LODS;
  if (!t->flat || (reads && (i->segment == VMM_CS || i->segment == VMM_FS || i->segment == VMM_GS)))
    {
      vmm_emit_handler (t);
      return;
    }
  if (saved)
    vmm_emit_save_flags (e);
  if (repeats)
    size_of_all (t, saved);
  else
    emit_mov_ri (e, R_11, t->d->size);
  emit_rm (e, 0, 0xf7, 0, FIELD (eflags)); /* test */
  emit32 (e, FL_DF);
  slow_if (t, CC_NE, saved);
  if (reads)
    delta_of (t, R_SI, R_10, false, saved);
  if (writes)
    delta_of (t, R_DI, R_9, true, saved);
  if (repeats)
    repeat (t, reads, saved);
  if (saved)
    vmm_emit_restore_flags (e);
  if (!repeats)
    once (t);
}

/* ---- CMPS and SCAS ---- */

/* r11d = the lesser of r11d and the items from `reg` to the end of its page. */
static void
items_to_end (Translator *t, int reg, unsigned shift)
{
  Emit *e = &t->e;
  emit_mov_rr (e, R_8, reg);
  emit_rr (e, 0, 0x81, 1, R_8); /* or r8d, fffff000 */
  emit32 (e, 0xfffff000u);
  emit_rr (e, 0, 0xf7, 3, R_8); /* neg */
  if (shift)
    {
      emit_rr (e, 0, 0xc1, 5, R_8); /* shr */
      emit8 (e, shift);
    }
  emit_rr (e, 0, 0x3b, R_8, R_11);   /* cmp r8d, r11d */
  emit_rr (e, 0, 0x0f42, R_11, R_8); /* cmovb r11d, r8d */
}

/* r9 = delta of the page of `reg`. */
static void
delta_of_page (Translator *t, int reg, int to, bool saved)
{
  Emit *e = &t->e;
  emit_mov_rr (e, R_8, reg);
  emit_rr (e, 0, 0xc1, 5, R_8); /* shr r8d, 12 */
  emit8 (e, 12);
  emit_rm (e, REX_W, 0x8b, to, (EmitMem){ R_12, R_8, 3, offsetof (VmmTables, read) });
  emit_rr (e, REX_W, 0x85, to, to);
  slow_if (t, CC_S, saved);
}

/* The pages are there, the registers set: the host's own instruction, and the registers back. */
static void
compare_items (Translator *t, bool two, bool repeats)
{
  Emit *e = &t->e;
  if (two)
    {
      emit_rr (e, REX_W, 0x03, R_SI, R_10);
      emit_rr (e, REX_W, 0xf7, 3, R_10); /* neg */
    }
  emit_rr (e, REX_W, 0x03, R_DI, R_9);
  emit_rr (e, REX_W, 0xf7, 3, R_9);
  if (repeats)
    emit8 (e, t->insn->flags & VMM_INSN_REP ? 0xf3 : 0xf2);
  if (t->d->size == 2)
    emit8 (e, 0x66);
  emit8 (e, t->insn->opcode);
  if (two)
    emit_lea (e, R_SI, (EmitMem){ R_SI, R_10, 0, 0 });
  emit_lea (e, R_DI, (EmitMem){ R_DI, R_9, 0, 0 });
}

void
vmm_emit_string_compare (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  bool repeats = i->flags & (VMM_INSN_REP | VMM_INSN_REPNE), two = t->d->template == T_CMPS;
  bool saved = flags_live (t);
  unsigned shift = t->d->size == 4 ? 2 : t->d->size == 2 ? 1 : 0;
  uint8_t *none = NULL;
  if (!t->flat || (two && (i->segment == VMM_CS || i->segment == VMM_FS || i->segment == VMM_GS)))
    {
      vmm_emit_handler (t);
      return;
    }
  if (saved)
    vmm_emit_save_flags (e);
  emit_rm (e, 0, 0xf7, 0, FIELD (eflags)); /* test */
  emit32 (e, FL_DF);
  slow_if (t, CC_NE, saved);
  if (repeats)
    {
      emit_rr (e, 0, 0x85, R_CX, R_CX);
      none = emit_jcc (e, CC_E);
      emit_mov_rr (e, R_11, R_CX);
    }
  else
    emit_mov_ri (e, R_11, 1);
  items_to_end (t, R_DI, shift);
  if (two)
    items_to_end (t, R_SI, shift);
  emit_rr (e, 0, 0x85, R_11, R_11); /* the first one crosses the page's end */
  slow_if (t, CC_E, saved);
  if (repeats && t->engine->counted) /* handlers count a round for each page */
    {
      emit_rr (e, 0, 0x3b, R_11, R_CX);
      slow_if (t, CC_NE, saved);
    }
  delta_of_page (t, R_DI, R_9, saved);
  if (two)
    delta_of_page (t, R_SI, R_10, saved);
  if (saved)
    {
      emit_rm (e, 0, 0x89, R_AX, FIELD (scratch_b)); /* should it fault on the next page */
      emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_a));
    }
  if (!repeats)
    {
      compare_items (t, two, false);
      return;
    }
  emit_mov_rr (e, R_8, R_CX);
  emit_rr (e, 0, 0x2b, R_8, R_11);
  emit_mov_rr (e, R_CX, R_11);
  compare_items (t, two, true);
  emit_lea (e, R_CX, (EmitMem){ R_CX, R_8, 0, 0 });
  uint8_t *found = emit_jcc (e, i->flags & VMM_INSN_REP ? CC_NE : CC_E);
  emit8 (e, 0x67); /* jecxz */
  emit8 (e, 0xe3);
  emit8 (e, 0);
  uint8_t *over = e->at - 1;
  if (saved)
    emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_b));
  vmm_add_stub (t, S_SLOW, emit_jmp (e))->saved = saved;
  emit_target (none, e->at);
  if (saved)
    vmm_emit_restore_flags (e);
  emit_target (found, e->at);
  if (!e->overflow)
    *over = (uint8_t) (e->at - (over + 1));
}
