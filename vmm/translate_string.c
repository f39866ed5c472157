/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * REP MOVS and REP STOS as the host's own, if all of it lies within one page of source and one of
 * destination, upwards, in flat segments, and the tables know both; else by the handler, which works
 * page by page.
 *
 *   r8 = ESI + count, r9 = delta ...
 *   add rsi, source delta / add rdi, destination delta / rep movs / sub, sub
 *
 * Nothing faults in between: both pages are there.  The flags are the guest's throughout, or set
 * aside.
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
  int32_t table = write ? (int32_t) offsetof (VmmTables, write) : (int32_t) offsetof (VmmTables, read);
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

static void
add_delta (Emit *e, unsigned digit, int reg, int delta) /* digit: 0 add, 5 sub */
{
  emit_rr (e, REX_W, digit == 0 ? 0x03 : 0x2b, reg, delta);
}

void
vmm_emit_string (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  bool moves = t->d->template == T_MOVS, saved = flags_live (t);
  unsigned shift = t->d->size == 4 ? 2 : t->d->size == 2 ? 1 : 0;
  if (!t->flat || (moves && (i->segment == VMM_CS || i->segment == VMM_FS || i->segment == VMM_GS)))
    {
      vmm_emit_handler (t);
      return;
    }
  if (saved)
    vmm_emit_save_flags (e);
  emit_rr (e, 0, 0x81, 7, R_CX); /* cmp ecx, MOST */
  emit32 (e, MOST);
  slow_if (t, CC_A, saved);
  emit_rm (e, 0, 0xf7, 0, FIELD (eflags)); /* test */
  emit32 (e, FL_DF);
  slow_if (t, CC_NE, saved);
  emit_mov_rr (e, R_11, R_CX);
  if (shift)
    {
      emit_rr (e, 0, 0xc1, 4, R_11); /* shl r11d */
      emit8 (e, shift);
    }
  if (moves)
    delta_of (t, R_SI, R_10, false, saved);
  delta_of (t, R_DI, R_9, true, saved);
  if (moves)
    add_delta (e, 0, R_SI, R_10);
  add_delta (e, 0, R_DI, R_9);
  if (saved && !moves) /* STOS wants EAX */
    {
      emit_mov_rr (e, R_8, R_AX);
      emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_a));
    }
  emit8 (e, 0xf3);
  if (t->d->size == 2)
    emit8 (e, 0x66);
  emit8 (e, i->opcode);
  if (saved && !moves)
    emit_mov_rr (e, R_AX, R_8);
  if (moves)
    add_delta (e, 5, R_SI, R_10);
  add_delta (e, 5, R_DI, R_9);
  if (saved)
    vmm_emit_restore_flags (e);
}
