/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How translated code goes from block to block.
 *
 * Within a page: a jump that first leads to its stub, which asks the dispatcher, which links it to
 * the code of its target.  Both lie on the same page, so no change of the mapping can come between.
 * If the target's code is made right behind this one's there is no jump at all.
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
  if (t->follower && t->follower->eip == target)
    {
      t->code.falls = true;
      while (t->e.at < t->entry + VMM_JUMP_SIZE)
        emit8 (&t->e, 0x90);
      return;
    }
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

/* ---- Calls that ask where they are ---- */

/*
 * i386 has no addresses relative to EIP, so position-independent code, all shared libraries, begins its
 * functions with a call of `mov ebx, [esp]; ret`.  The call is translated with what it calls: the
 * return address is stored as it should be, the bytes of the function are compared, and the register
 * is loaded.  The comparison is a read of the guest's; it needs no watch over another page's code.
 */
static uint32_t
pc_thunk_bytes (int reg)
{
  return 0xc324048bu | (uint32_t) reg << 11;
}

int
vmm_pc_thunk (VmmVcpu *c, const VmmBlock *b)
{
  const VmmInsn *call = &b->insns[b->count - 1];
  uint32_t target = last_target (b), linear = b->base + target, bytes;
  VmmPeek p;
  if (call->map || call->opcode != 0xe8 || (call->flags & (VMM_INSN_O16 | VMM_INSN_LOCK)) || !c->user
      || !(b->key & VMM_KEY_FLAT) || !(b->key & VMM_KEY_STACK32) || c->engine->precise
      || target >= b->code_end || (linear & 0xfff) > 0xffc || !vmm_peek (c, linear, &p))
    return -1;
  const uint8_t *page = vmm_code_bytes (c, p.phys);
  if (!page)
    return -1;
  memcpy (&bytes, page + (linear & 0xfff), 4);
  int reg = bytes >> 11 & 7;
  return bytes == pc_thunk_bytes (reg) && reg != VMM_ESP ? reg : -1;
}

void
vmm_emit_pc_thunk (Translator *t, uint32_t target)
{
  EmitMem m = vmm_emit_fixed_access (t, t->b->base + target, 4);
  emit_rm (&t->e, 0, 0x81, 7, m); /* cmp */
  emit32 (&t->e, pc_thunk_bytes (t->pc_thunk));
  vmm_add_stub (t, S_CALL, emit_jcc (&t->e, CC_NE))->eip = target;
  emit_mov_ri (&t->e, t->pc_thunk, t->next);
  vmm_emit_fpu_note (t);
  vmm_emit_direct (t, t->next);
}
