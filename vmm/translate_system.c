/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What kernels execute all the time and what only seldom has to be looked at by a handler: segment
 * registers, the interrupt flag, PUSHF and POPF, VERR and VERW.
 *
 * Each looks first whether this is the plain case, and goes aside to the handler if not:
 *
 *   CLI STI POPF   c->if_free: IF may simply be written (CPL <= IOPL, not v86 mode)
 *   POPF           no flag but IF, DF and the arithmetic ones changes (TF, NT, AC, IOPL ...)
 *   PUSHF          not v86 mode
 *   MOV, POP to a segment register; VERR, VERW: what vmm_engine_segment () and _verify () cannot
 *                  answer at once, leaving all registers but r8 and r9 alone
 *
 * IF decides which bits of `attention` are alerts: c->alerts[] has both answers.  Where it becomes
 * 1 the alert is set first, then attention is looked at: whatever comes between the two is seen,
 * and whatever comes later is a kick.
 */
#include "translate.h"

#include <stddef.h>

#define ALERTS(n) emit_at (R_13, (int32_t) (offsetof (VmmVcpu, alerts) + (n) * sizeof (uint32_t)))

static void
aside (Translator *t, unsigned condition, bool saved)
{
  vmm_add_stub (t, S_SLOW, emit_jcc (&t->e, condition))->saved = saved;
}

static bool
begin (Translator *t)
{
  bool saved = flags_live (t);
  if (saved)
    vmm_emit_save_flags (&t->e);
  return saved;
}

static void
end (Translator *t, bool saved)
{
  if (saved)
    vmm_emit_restore_flags (&t->e);
}

static EmitMem
selector_of (unsigned segment)
{
  size_t at = offsetof (VmmVcpu, seg) + segment * sizeof (VmmSegment);
  return emit_at (R_13, (int32_t) (at + offsetof (VmmSegment, selector)));
}

static void
aside_unless_if_free (Translator *t, bool saved)
{
  emit_rm (&t->e, 0, 0x80, 7, FIELD (if_free)); /* cmp byte [], 0 */
  emit8 (&t->e, 0);
  aside (t, CC_E, saved);
}

/* c->alert = [r13 + at], in r8d too */
static void
set_alert (Emit *e, EmitMem from)
{
  emit_rm (e, 0, 0x8b, R_8, from);
  emit_rm (e, 0, 0x89, R_8, FIELD (alert));
}

/* An event that may be served now, alert in r8d: the code is left behind this instruction. */
static void
leave_if_alerted (Translator *t, bool saved)
{
  emit_rm (&t->e, 0, 0x85, R_8, FIELD (attention)); /* test */
  Stub *s = vmm_add_stub (t, S_EXIT, emit_jcc (&t->e, CC_NE));
  s->saved = saved;
  s->eip = t->next;
}

/* ---- Interrupt flag ---- */

static void
cli (Translator *t)
{
  Emit *e = &t->e;
  bool saved = begin (t);
  aside_unless_if_free (t, saved);
  emit_rm (e, 0, 0x81, 4, FIELD (eflags)); /* and */
  emit32 (e, ~FL_IF);
  set_alert (e, ALERTS (0));
  end (t, saved);
}

/* The next instruction is in the shadow: who leaves the code there finds c->inhibit. */
static void
sti (Translator *t)
{
  Emit *e = &t->e;
  bool saved = begin (t);
  aside_unless_if_free (t, saved);
  emit_rm (e, 0, 0xf7, 0, FIELD (eflags)); /* test */
  emit32 (e, FL_IF);
  uint8_t *was_on = emit_jcc (e, CC_NE);
  emit_rm (e, 0, 0x81, 1, FIELD (eflags)); /* or */
  emit32 (e, FL_IF);
  emit_rm (e, 0, 0xc6, 0, FIELD (inhibit)); /* mov byte */
  emit8 (e, VMM_INHIBIT_STI);
  set_alert (e, ALERTS (1));
  leave_if_alerted (t, saved);
  emit_target (was_on, e->at);
  end (t, saved);
}

/* ---- PUSHF and POPF ---- */

/* The flags are set aside: r8d = the guest's EFLAGS. */
static void
gather_flags (Emit *e)
{
  emit_mov_rr (e, R_8, R_AX); /* flags in 15:8, OF in 0 */
  emit_rr (e, 0, 0x0fb6, R_9, R_8);
  emit_rr (e, 0, 0xc1, 4, R_9); /* shl r9d, 11 */
  emit8 (e, 11);
  emit_rr (e, 0, 0xc1, 5, R_8); /* shr r8d, 8 */
  emit8 (e, 8);
  emit_rr (e, 0, 0x81, 4, R_8); /* and r8d, */
  emit32 (e, FL_ARITH & ~FL_OF);
  emit_rr (e, 0, 0x0b, R_8, R_9);
  emit_rm (e, 0, 0x8b, R_9, FIELD (eflags));
  emit_rr (e, 0, 0x81, 4, R_9);
  emit32 (e, ~(FL_ARITH | FL_RF | FL_VM));
  emit_rr (e, 0, 0x0b, R_8, R_9);
}

static void
pushf (Translator *t)
{
  Emit *e = &t->e;
  vmm_emit_save_flags (e);
  if (!(t->b->key & VMM_KEY_CODE32)) /* v86 code always has 16 bits */
    {
      emit_rm (e, 0, 0xf7, 0, FIELD (eflags)); /* test */
      emit32 (e, FL_VM);
      aside (t, CC_NE, true);
    }
  gather_flags (e);
  vmm_emit_restore_flags (e);
  vmm_emit_push_r8 (t);
}

/* EAX is set aside, and AH and AL are what restoring flags takes: those of r8d. */
static void
scatter_flags (Emit *e)
{
  emit_rm (e, 0, 0x89, R_AX, FIELD (scratch_a));
  emit_mov_rr (e, R_AX, R_8);
  emit8 (e, 0x88); /* mov ah, al */
  emit8 (e, 0xc4);
  emit_rr (e, 0, 0x0fba, 4, R_8); /* bt r8d, 11 */
  emit8 (e, 11);
  emit_rr (e, 0, 0x0f92, 0, R_AX); /* setc al */
}

static void
popf (Translator *t)
{
  Emit *e = &t->e;
  bool o16 = t->d->size == 2;
  EmitMem m = vmm_emit_stack_access (t, 0, t->d->size, false);
  emit_rm (e, 0, o16 ? 0x0fb7 : 0x8b, R_8, m);
  bool saved = begin (t);
  aside_unless_if_free (t, saved);
  emit_rm (e, 0, 0x8b, R_9, FIELD (eflags));
  emit_rr (e, 0, 0x33, R_9, R_8);
  emit_rr (e, 0, 0xf7, 0, R_9); /* test */
  emit32 (e, ~(FL_ARITH | FL_IF | FL_DF) & (o16 ? 0xffffu : ~0u));
  aside (t, CC_NE, saved);
  if (saved) /* what was set aside is not wanted: EAX alone */
    emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_a));
  vmm_emit_move_stack (t, t->d->size, R_9);
  if (o16)
    emit8 (e, 0x66);
  emit_rm (e, 0, 0x89, R_8, FIELD (eflags));
  scatter_flags (e);
  emit_rr (e, 0, 0xc1, 5, R_8); /* shr r8d, 9: IF */
  emit8 (e, 9);
  emit_rr (e, 0, 0x81, 4, R_8);
  emit32 (e, 1);
  set_alert (e, (EmitMem){ R_13, R_8, 2, (int32_t) offsetof (VmmVcpu, alerts) });
  leave_if_alerted (t, true);
  vmm_emit_restore_flags (e);
}

/* ---- Segment registers ---- */

/* r8d = the operand of 16 bits. */
static void
load_selector (Translator *t)
{
  if (t->insn->flags & VMM_INSN_MEM)
    emit_rm (&t->e, 0, 0x0fb7, R_8, vmm_emit_access (t, 2, false));
  else
    emit_rr (&t->e, 0, 0x0fb7, R_8, host_register (t->insn->modrm & 7));
}

static void
call_with_r9 (Translator *t, uint32_t r9, unsigned thunk)
{
  emit_mov_ri (&t->e, R_9, r9);
  emit_rm (&t->e, 0, 0xff, 2, THUNK (thunk));
}

static void
load_segment (Translator *t)
{
  bool pops = t->d->template == T_POP_S;
  if (pops)
    emit_rm (&t->e, 0, 0x0fb7, R_8, vmm_emit_stack_access (t, 0, t->d->size, false));
  else
    load_selector (t);
  bool saved = begin (t);
  call_with_r9 (t, t->insn->reg, VMM_THUNK_SEGMENT);
  aside (t, CC_E, saved);
  end (t, saved);
  if (pops)
    vmm_emit_move_stack (t, t->d->size, R_8);
}

static void
store_segment (Translator *t)
{
  Emit *e = &t->e;
  EmitMem from = selector_of (t->insn->reg);
  if (t->d->template == T_PUSH_S)
    {
      emit_rm (e, 0, 0x0fb7, R_8, from);
      vmm_emit_push_r8 (t);
      return;
    }
  if (!(t->insn->flags & VMM_INSN_MEM))
    {
      if (t->d->size == 2)
        emit8 (e, 0x66);
      emit_rm (e, 0, t->d->size == 2 ? 0x8b : 0x0fb7, host_register (t->insn->modrm & 7), from);
      return;
    }
  EmitMem m = vmm_emit_access (t, 2, true);
  m = vmm_emit_pinned (t, m);
  emit_rm (e, 0, 0x0fb7, R_8, from);
  emit8 (e, 0x66);
  emit_rm (e, 0, 0x89, R_8, m);
}

static void
verify (Translator *t)
{
  Emit *e = &t->e;
  load_selector (t);
  vmm_emit_save_flags (e);
  call_with_r9 (t, (t->insn->modrm >> 3 & 7) == 5, VMM_THUNK_VERIFY);
  aside (t, CC_E, true);
  emit_rr (e, 0, 0xc1, 4, R_8); /* shl r8d, 14: ZF as LAHF has it */
  emit8 (e, 14);
  emit8 (e, 0x25); /* and eax, ~ */
  emit32 (e, ~(FL_ZF << 8));
  emit_rr (e, 0, 0x0b, R_AX, R_8);
  vmm_emit_restore_flags (e);
}

void
vmm_emit_system (Translator *t)
{
  switch (t->d->template)
    {
    case T_CLI: cli (t); break;
    case T_STI:
      /* Slices that are counted end behind it. */
      if (t->engine->counted)
        vmm_emit_handler (t);
      else
        sti (t);
      break;
    case T_PUSHF: pushf (t); break;
    case T_POPF: popf (t); break;
    case T_MOV_TO_S:
    case T_POP_S: load_segment (t); break;
    case T_MOV_FROM_S:
    case T_PUSH_S: store_segment (t); break;
    default: verify (t); break;
    }
}
