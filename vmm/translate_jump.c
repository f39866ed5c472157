/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How translated code goes from block to block.
 *
 * Within a page: a jump that first leads to its stub, which asks the dispatcher, which links it to
 * the code of its target.  Both lie on the same page, so no change of the mapping can come between.
 * To other pages, and where the target is not known: by the tables of jump.c.  A program that has a
 * space is linked to other pages, too: space.c watches where they are mapped.
 */
#include "translate.h"

#include <stddef.h>

bool
vmm_in_segment (const Translator *t, uint32_t eip)
{
  return eip < t->b->code_end;
}

static bool
same_page (const Translator *t, uint32_t eip)
{
  return !((eip ^ t->b->eip) & ~0xfffu) && (t->c->seg[VMM_CS].base & 0xfff) == 0;
}

void
vmm_emit_indirect (Translator *t)
{
  Emit *e = &t->e;
  vmm_emit_fpu_note (t);
  uint8_t *from = e->at;
  t->ended = true;
  if ((t->c->seg[VMM_CS].base & 0xfff) || !t->engine->bmi2)
    {
      emit_rm (e, 0, 0xff, 4, THUNK (VMM_THUNK_INDIRECT));
      return;
    }
  t->code.indirect[t->code.indirect[0] ? 1 : 0] = (uint32_t) (from - t->engine->writable);
  emit_shrx (e, R_9, R_8, R_14);
  emit_rm (e, REX_W, 0x8b, R_9, (EmitMem){ R_12, R_9, 3, offsetof (VmmTables, jump) });
  emit_rm (e, 0, 0x8b, R_9, (EmitMem){ R_9, R_8, 2, 0 });
  emit_rr (e, 0, 0xff, 4, R_9);
}

/* To another page, by the tables of targets? */
static bool
by_tables (const Translator *t, uint32_t target)
{
  return !t->space && vmm_in_segment (t, target) && !same_page (t, target)
         && !(t->c->seg[VMM_CS].base & 0xfff) && t->engine->bmi2;
}

static void
add_exit (Translator *t, uint8_t *site, uint32_t target)
{
  Stub *s = vmm_add_stub (t, by_tables (t, target) ? S_CROSS : S_EXIT, site);
  s->eip = target;
  s->link = t->space || same_page (t, target);
}

void
vmm_emit_direct (Translator *t, uint32_t target)
{
  t->ended = true;
  if (!by_tables (t, target))
    {
      add_exit (t, emit_jmp (&t->e), target);
      return;
    }
  emit_mov_ri (&t->e, R_8, target);
  vmm_emit_indirect (t);
}

/* A branch that is taken: to the target, or to the handler, which knows that it is outside. */
static void
branch (Translator *t, uint8_t *site, uint32_t target)
{
  if (vmm_in_segment (t, target))
    add_exit (t, site, target);
  else
    vmm_add_stub (t, S_TAIL, site);
}

void
vmm_emit_jcc (Translator *t, unsigned condition, uint32_t target)
{
  branch (t, emit_jcc (&t->e, condition), target);
  vmm_emit_direct (t, t->next);
}

/* LOOPNE LOOPE LOOP JECXZ on ECX. */
void
vmm_emit_loop (Translator *t)
{
  Emit *e = &t->e;
  uint32_t target = t->eip + t->insn->imm;
  if (t->insn->flags & VMM_INSN_O16)
    target &= 0xffff;
  emit8 (e, 0x67);
  emit8 (e, t->insn->opcode);
  emit8 (e, 5);
  add_exit (t, emit_jmp (e), t->next);
  branch (t, emit_jmp (e), target);
  t->ended = true;
}
