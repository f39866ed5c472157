/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * x87 and MMX: the host's own instructions on the guest's registers, which are in the host's while
 * c->fpu_ready (live, all exceptions masked, nothing pending, CR0.EM and TS clear).  The first such
 * instruction of a block looks at that; if not, its handler makes them live or raises.  What may
 * take them away again comes back to C (engine.c, by_handler).
 *
 * The pointers FIP, FDP, FOP, FCS and FDS are the guest's, never the host's.  Each operand's address
 * is noted as it is used, and its segment once in a block.  The rest follows from the instruction,
 * which is named at the end of the block; when C comes to run, it makes pointers of that
 * (vmm_fpu_resolve).  Where a block is left to C before its end, C finds the last instruction that
 * counts (vmm_fpu_note_block).
 *
 * All that but the last is done where runs are compared (engine->precise).  Elsewhere the pointers
 * are those of the last instruction that C has to do with, be it that it executed it or found it
 * so: exceptions that are not masked are its business.  A third of the time of a tight loop went
 * into pointers that nobody looks at, and processors after 2010 keep them no better.
 */
#include "translate.h"

#include <stddef.h>

#define FPU_FIELD(member) emit_at (R_13, (int32_t) offsetof (VmmVcpu, fpu.member))

static void
emit_ready (Translator *t)
{
  Emit *e = &t->e;
  if (t->fpu_checked)
    return;
  bool saved = flags_live (t);
  t->fpu_used = true;
  if (saved)
    vmm_emit_save_flags (e);
  emit_rm (e, 0, 0x80, 7, FIELD (fpu_ready)); /* cmp byte [], 0 */
  emit8 (e, 0);
  Stub *s = vmm_add_stub (t, S_SLOW, emit_jcc (e, CC_E));
  s->saved = saved;
  if (saved)
    vmm_emit_restore_flags (e);
  t->fpu_checked = true;
}

void
vmm_emit_fpu_note (Translator *t)
{
  if (!t->fpu_note)
    return;
  emit_mov_mi (&t->e, FPU_FIELD (note), t->fpu_insn);
  t->fpu_note = false;
}

/* Instructions that are not control instructions. */
static bool
is_noted (const VmmInsn *i)
{
  if (i->opcode < 0xd8 || i->opcode > 0xdf || i->map)
    return false;
  unsigned reg = i->modrm >> 3 & 7;
  if (i->flags & VMM_INSN_MEM)
    return !(i->opcode == 0xd9 && reg >= 4) && !(i->opcode == 0xdd && reg >= 4);
  return !(i->opcode == 0xdb && i->modrm >= 0xe0 && i->modrm < 0xe8)
         && !(i->opcode == 0xdf && i->modrm == 0xe0);
}

static uint32_t
operation (const VmmInsn *i)
{
  return (i->opcode & 7u) << 8 | i->modrm;
}

/* FLDENV, FRSTOR, FINIT, FXRSTOR: the pointers are theirs. */
static bool
sets_pointers (const VmmInsn *i)
{
  if (i->map)
    return i->opcode == 0xae && (i->flags & VMM_INSN_MEM) && (i->modrm >> 3 & 7) == 1;
  if (i->flags & VMM_INSN_MEM)
    return (i->opcode == 0xd9 || i->opcode == 0xdd) && (i->modrm >> 3 & 7) == 4;
  return i->opcode == 0xdb && i->modrm == 0xe3;
}

static void
set_pointers (VmmVcpu *c, const VmmInsn *i, uint32_t eip)
{
  c->fpu.fip = eip;
  c->fpu.fop = operation (i);
  c->fpu.fcs = c->seg[VMM_CS].selector;
}

void
vmm_fpu_resolve (VmmVcpu *c)
{
  if (c->fpu.fds_of)
    c->fpu.fds = c->seg[c->fpu.fds_of - 1].selector;
  c->fpu.fds_of = 0;
  if (c->fpu.note == 0)
    return;
  const VmmInsn *i = vmm_insn_at (c, c->fpu.note), *first = i - i->index_in_block;
  uint32_t eip = vmm_block_of (i)->eip;
  for (const VmmInsn *at = first; at < i; at++)
    eip += at->length;
  set_pointers (c, i, eip);
  c->fpu.note = 0;
}

void
vmm_fpu_note_block (VmmVcpu *c, const VmmInsn *insn)
{
  const VmmInsn *first = insn - insn->index_in_block, *i = insn;
  if (!c->fpu.live)
    return;
  uint32_t eip = c->eip;
  while (i > first)
    {
      i--;
      eip -= i->length;
      if (sets_pointers (i))
        return;
      if (is_noted (i))
        {
          set_pointers (c, i, eip);
          return;
        }
    }
}

static void
note (Translator *t)
{
  if (!is_noted (t->insn) || !t->engine->precise)
    return;
  t->fpu_note = true;
  t->fpu_insn = vmm_insn_offset (t->c, t->insn);
}

/* FDP and FDS. */
static void
note_operand (Translator *t)
{
  const VmmInsn *i = t->insn;
  Emit *e = &t->e;
  int offset = R_8;
  if (!is_noted (i) || !t->engine->precise)
    return;
  if (i->disp == 0 && i->index == VMM_ZERO && i->base != VMM_ZERO && !(i->flags & VMM_INSN_A16))
    offset = host_register (i->base);
  else
    vmm_emit_ea (t, R_8);
  emit_rm (e, 0, 0x89, offset, FPU_FIELD (fdp));
  if (t->fds_noted == i->segment + 1u)
    return;
  t->fds_noted = i->segment + 1u;
  emit_rm (e, 0, 0xc6, 0, FPU_FIELD (fds_of));
  emit8 (e, t->fds_noted);
}

static void
on_registers (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  if (i->opcode != 0x9b) /* FWAIT: nothing is pending */
    {
      emit8 (e, i->opcode);
      emit8 (e, i->modrm);
    }
  note (t);
}

static void
on_memory (Translator *t)
{
  const VmmInsn *i = t->insn;
  EmitMem m = vmm_emit_access (t, t->d->msize, t->d->memory == M_WRITE);
  emit_rm (&t->e, 0, i->opcode, i->modrm >> 3 & 7, m);
  note (t);
  note_operand (t);
}

/* Only a control word that masks everything: else no instruction could be simply executed. */
static void
load_control (Translator *t)
{
  Emit *e = &t->e;
  EmitMem m = vmm_emit_access (t, 2, false);
  bool saved = flags_live (t);
  m = vmm_emit_pinned (t, m);
  emit_rm (e, 0, 0x0fb7, R_8, m); /* if it faults then here */
  if (saved)
    vmm_emit_save_flags (e);
  emit_rr (e, 0, 0xf7, 2, R_8); /* not r8d */
  emit_rr (e, 0, 0xf6, 0, R_8); /* test r8b, 3fh */
  emit8 (e, 0x3f);
  Stub *s = vmm_add_stub (t, S_SLOW, emit_jcc (e, CC_NE));
  s->saved = saved;
  if (saved)
    vmm_emit_restore_flags (e);
  emit_rm (e, 0, 0xd9, 5, m);
}

/* MOVD, PINSRW and their like name a general register in r/m (PEXTRW, PMOVMSKB: in reg). */
static void
mmx (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  int reg = i->modrm >> 3 & 7, rm = i->modrm & 7;
  unsigned opcode = 0x0f00u | i->opcode;
  if (i->opcode == 0x77) /* EMMS has no ModRM */
    {
      emit_opcode (e, opcode);
      return;
    }
  if (i->flags & VMM_INSN_MEM)
    {
      EmitMem m = vmm_emit_access (t, t->d->msize, t->d->memory == M_WRITE);
      emit_rm (e, 0, opcode, reg, m);
    }
  else
    {
      if (i->opcode == 0x6e || i->opcode == 0x7e || i->opcode == 0xc4)
        rm = host_register ((unsigned) rm);
      else if (i->opcode == 0xc5 || i->opcode == 0xd7)
        reg = host_register ((unsigned) reg);
      emit_rr (e, 0, opcode, reg, rm);
    }
  if (t->d->immediate)
    emit8 (e, i->imm);
}

void
vmm_emit_fpu (Translator *t)
{
  emit_ready (t);
  switch (t->d->template)
    {
    case T_FPU: on_registers (t); break;
    case T_FPU_M: on_memory (t); break;
    case T_FLDCW: load_control (t); break;
    default: mmx (t); break;
    }
}
