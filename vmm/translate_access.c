/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How translated code reaches guest memory.
 *
 *   lea  r8d, [offset]                 (not for [register])
 *   shrx r9d, r8d, r14d                page
 *   mov  r9, [r12 + r9 * 8 + table]    delta
 *   test r9, r9 / js miss
 *   op   [r9 + r8]
 *
 * TEST costs the flags.  Where somebody may look at them it is left out: VMM_NO_ACCESS plus an
 * address is no address, the access traps (trap.c), and an instruction that trapped is translated
 * anew so that it sets the flags aside (VMM_HINT_LOOK).  A page that is crossed is found by the
 * hole behind it, and likewise taken care of the next time (VMM_HINT_CROSS).
 *
 * Reuse.  An access to an address that is a known distance from an earlier one of the block needs
 * no look: the host address of the first is kept in r10 or r11.  If the page is another by now, the
 * access lands in the hole before or behind the first one's page: distances stay below 4080 bytes.
 *
 * Segments other than flat ones: offset and size are compared with VmmSegment.read_end or
 * write_end, and the base is added.
 */
#include "translate.h"

#include <stddef.h>

#define REUSE_MAX 4064

/* ---- Which access relies on which ---- */

/* A register's value: some unknown one plus a constant. */
typedef struct {
  uint32_t id, offset;
} Value;

/* An address as far as it is known: base + index << scale + offset. */
typedef struct {
  uint32_t base, index, offset;
  uint8_t scale;
} Address;

/* An access that may rely on an earlier one, or be relied on. */
typedef struct {
  Access *access;
  Address address;
  bool write, alone;
} Candidate;

typedef struct {
  Value values[8];
  uint32_t next_id;
  Candidate list[2 * VMM_BLOCK_INSNS];
  unsigned count;
} Plan;

static Address
operand_address (const Plan *p, const VmmInsn *i)
{
  Address a = { .offset = i->disp };
  if (i->base != VMM_ZERO)
    {
      a.base = p->values[i->base].id;
      a.offset += p->values[i->base].offset;
    }
  if (i->index != VMM_ZERO)
    {
      a.index = p->values[i->index].id;
      a.offset += p->values[i->index].offset << i->scale;
      a.scale = i->scale;
    }
  return a;
}

/* May `a` rely on the earlier access `first`? */
static bool
near_enough (const Candidate *first, const Candidate *a)
{
  int32_t distance = (int32_t) (a->address.offset - first->address.offset);
  return first->address.base == a->address.base && first->address.index == a->address.index
         && first->address.scale == a->address.scale && (first->write || !a->write) && !a->alone
         && distance >= -REUSE_MAX && distance <= REUSE_MAX;
}

static void
add_candidate (Plan *p, const VmmInsn *i, Access *access, Address a, bool write)
{
  p->list[p->count++] = (Candidate){ access, a, write, i->hints & VMM_HINT_ALONE };
}

/* The next access after `at` that can rely on `first`, not too far away; or NEVER. */
#define FAR 24u
#define NEVER (~0u)
static unsigned
next_use (const Plan *p, const Candidate *first, unsigned at)
{
  for (unsigned n = at + 1; n < p->count && n <= at + FAR; n++)
    if (near_enough (first, &p->list[n]))
      return n;
  return NEVER;
}

/* Which access is kept in r10 and r11, and who relies on it.  The register goes to who is needed
   sooner. */
static void
assign (Plan *p)
{
  const Candidate *anchors[2] = { NULL, NULL };
  for (unsigned n = 0; n < p->count; n++)
    {
      const Candidate *a = &p->list[n];
      unsigned slot = 0, latest = 0;
      while (slot < 2 && !(anchors[slot] && near_enough (anchors[slot], a)))
        slot++;
      if (slot < 2)
        {
          a->access->reuse = anchors[slot]->access->anchor = (int8_t) (R_10 + slot);
          a->access->delta = (int16_t) (a->address.offset - anchors[slot]->address.offset);
          continue;
        }
      unsigned mine = next_use (p, a, n);
      if (mine == NEVER)
        continue;
      for (unsigned k = 0; k < 2; k++)
        {
          unsigned use = anchors[k] ? next_use (p, anchors[k], n) : NEVER;
          if (use >= latest)
            {
              latest = use;
              slot = k;
            }
        }
      if (latest > mine)
        anchors[slot] = a;
    }
}

static void
set_unknown (Plan *p, unsigned reg)
{
  p->values[reg] = (Value){ p->next_id++, 0 };
}

/* The registers after an instruction. */
static void
follow_registers (Plan *p, const VmmInsn *i, const Description *d)
{
  Value *v = p->values;
  unsigned reg = i->modrm >> 3 & 7, rm = i->modrm & 7;
  bool memory = i->flags & VMM_INSN_MEM;
  switch (d->template)
    {
    case T_PUSH_R:
    case T_PUSH_I:
    case T_PUSH_M:
    case T_PUSH_S:
    case T_PUSHF: v[VMM_ESP].offset -= d->size; return;
    case T_POP_R:
      v[VMM_ESP].offset += d->size;
      set_unknown (p, i->opcode & 7);
      return;
    case T_LEAVE:
      v[VMM_ESP] = v[VMM_EBP];
      v[VMM_ESP].offset += d->size;
      set_unknown (p, VMM_EBP);
      return;
    case T_INC_DEC:
      if (d->size == 4)
        {
          v[i->opcode & 7].offset += i->opcode & 8 ? -1u : 1u;
          return;
        }
      break;
    case T_LEA:
      if (d->size == 4 && !(i->flags & VMM_INSN_A16) && i->index == VMM_ZERO && i->base != VMM_ZERO)
        {
          v[reg] = (Value){ v[i->base].id, v[i->base].offset + i->disp };
          return;
        }
      break;
    case T_MODRM: /* MOV between registers */
      if (!i->map && d->size == 4 && !memory && (i->opcode == 0x89 || i->opcode == 0x8b))
        {
          if (i->opcode == 0x89)
            v[rm] = v[reg];
          else
            v[reg] = v[rm];
          return;
        }
      break;
    case T_DIGIT: /* ADD and SUB of a constant */
      if (!i->map && d->size == 4 && !memory && (i->opcode == 0x81 || i->opcode == 0x83)
          && (reg == VMM_ADD || reg == VMM_SUB))
        {
          v[rm].offset += reg == VMM_ADD ? i->imm : -i->imm;
          return;
        }
      break;
    default: break;
    }
  for (unsigned n = 0; n < 8; n++)
    if (d->defines >> n & 1)
      set_unknown (p, n);
}

void
vmm_plan_accesses (Translator *t)
{
  Plan p;
  p.next_id = 1;
  p.count = 0;
  bool reuse = t->flat && t->stack32 && t->engine->holes;
  for (unsigned n = 0; n < 8; n++)
    set_unknown (&p, n);
  for (unsigned n = 0; n < t->b->count; n++)
    {
      const VmmInsn *i = &t->b->insns[n];
      const Description *d = &t->describe[n];
      Access *a = t->access[n];
      a[0] = a[1] = (Access){ -1, -1, 0 };
      if (!reuse)
        continue;
      if (t->space && !(i->hints & VMM_HINT_TABLE))
        {
          follow_registers (&p, i, d);
          continue;
        }
      bool plain = !(i->flags & VMM_INSN_A16) && i->segment != VMM_FS && i->segment != VMM_GS
                   && i->segment != VMM_CS;
      if (d->memory && plain)
        add_candidate (&p, i, &a[0], operand_address (&p, i), d->memory == M_WRITE);
      Address stack = { .base = p.values[VMM_ESP].id, .offset = p.values[VMM_ESP].offset };
      switch (d->template)
        {
        case T_PUSH_R:
        case T_PUSH_I:
        case T_PUSH_M:
        case T_PUSH_S:
        case T_PUSHF:
        case T_CALL:
        case T_CALL_M:
          stack.offset -= d->size;
          add_candidate (&p, i, &a[1], stack, true);
          break;
        case T_POP_R:
        case T_RET: add_candidate (&p, i, &a[1], stack, false); break;
        case T_LEAVE:
          stack = (Address){ .base = p.values[VMM_EBP].id, .offset = p.values[VMM_EBP].offset };
          add_candidate (&p, i, &a[1], stack, false);
          break;
        default: break;
        }
      follow_registers (&p, i, d);
    }
  assign (&p);
}

/* ---- Code ---- */

void
vmm_emit_save_flags (Emit *e)
{
  emit_rm (e, 0, 0x89, R_AX, FIELD (scratch_a));
  emit8 (e, 0x9f);                 /* lahf */
  emit_rr (e, 0, 0x0f90, 0, R_AX); /* seto al */
}

void
vmm_emit_restore_flags (Emit *e)
{
  emit8 (e, 0x04); /* add al, 7fh */
  emit8 (e, 0x7f);
  emit8 (e, 0x9e); /* sahf */
  emit_rm (e, 0, 0x8b, R_AX, FIELD (scratch_a));
}

Stub *
vmm_add_stub (Translator *t, StubKind kind, uint8_t *site)
{
  Stub *s = &t->stubs[t->stub_count++];
  *s = (Stub){ .kind = kind, .site = site, .insn = (uint8_t) t->n, .anchor = -1, .address = R_8 };
  return s;
}

void
vmm_emit_ea (Translator *t, int to)
{
  const VmmInsn *i = t->insn;
  EmitMem m = { .base = i->base == VMM_ZERO ? R_NONE : host_register (i->base),
                .index = i->index == VMM_ZERO ? R_NONE : host_register (i->index),
                .scale = i->scale,
                .disp = (int32_t) i->disp };
  if (m.base == R_NONE && m.index == R_NONE)
    emit_mov_ri (&t->e, to, i->flags & VMM_INSN_A16 ? i->disp & 0xffff : i->disp);
  else
    {
      emit_lea (&t->e, to, m);
      if (i->flags & VMM_INSN_A16)
        emit_rr (&t->e, 0, 0x0fb7, to, to); /* movzx */
    }
}

/* Goes aside if offset + size is past the end of what may be accessed; makes r8d linear. */
static void
emit_segment (Translator *t, unsigned segment, unsigned size, bool write, bool saved)
{
  Emit *e = &t->e;
  size_t at = offsetof (VmmVcpu, seg) + segment * sizeof (VmmSegment);
  size_t end = write ? offsetof (VmmSegment, write_end) : offsetof (VmmSegment, read_end);
  emit_rm (e, REX_W, 0x8d, R_9, emit_at (R_8, (int32_t) size));
  emit_rm (e, REX_W, 0x3b, R_9, emit_at (R_13, (int32_t) (at + end)));
  vmm_add_stub (t, S_SLOW, emit_jcc (e, CC_A))->saved = saved;
  emit_rm (e, 0, 0x03, R_8, emit_at (R_13, (int32_t) (at + offsetof (VmmSegment, base))));
}

static void
emit_cross (Translator *t, int linear, unsigned size, bool saved)
{
  Emit *e = &t->e;
  emit_lea (e, R_9, emit_at (linear, (int32_t) size - 1));
  emit_rr (e, 0, 0x33, R_9, linear);
  emit_rr (e, 0, 0xf7, 0, R_9);
  emit32 (e, 0xfffff000u);
  vmm_add_stub (t, S_SLOW, emit_jcc (e, CC_NE))->saved = saved;
}

/* From a linear (or, with `segment`, an offset in r8d) address to the operand. */
static EmitMem
emit_lookup (Translator *t, int linear, int segment, const Access *a, unsigned size, bool write)
{
  Emit *e = &t->e;
  uint8_t hints = t->insn->hints;
  bool cross = size > 1 && (!t->engine->holes || (hints & VMM_HINT_CROSS));
  bool look
      = !flags_live (t) || (hints & VMM_HINT_LOOK) || !t->engine->bmi2 || segment >= 0 || cross;
  bool saved = look && flags_live (t);
  if (saved)
    {
      if (linear != R_8)
        emit_mov_rr (e, R_8, linear);
      linear = R_8;
      vmm_emit_save_flags (e);
    }
  if (segment >= 0)
    emit_segment (t, (unsigned) segment, size, write, saved);
  if (cross)
    emit_cross (t, linear, size, saved);
  if (t->engine->bmi2)
    emit_shrx (e, R_9, linear, R_14);
  else
    {
      emit_mov_rr (e, R_9, linear);
      emit_rr (e, 0, 0xc1, 5, R_9);
      emit8 (e, 12);
    }
  EmitMem entry
      = { R_12, R_9, 3,
          write ? (int32_t) offsetof (VmmTables, write) : (int32_t) offsetof (VmmTables, read) };
  emit_rm (e, REX_W, 0x8b, R_9, entry);
  Stub *miss = NULL;
  if (look)
    {
      emit_rr (e, REX_W, 0x85, R_9, R_9);
      miss = vmm_add_stub (t, S_MISS, emit_jcc (e, CC_S));
    }
  if (saved)
    vmm_emit_restore_flags (e);
  if (miss)
    {
      miss->saved = saved;
      miss->write = write;
      miss->anchor = a->anchor;
      miss->address = (int8_t) linear;
      miss->retry = e->at;
    }
  if (a->anchor >= 0)
    emit_rm (e, REX_W, 0x8d, a->anchor, (EmitMem){ R_9, linear, 0, 0 });
  return (EmitMem){ R_9, linear, 0, 0 };
}

/* Does the current instruction access the space? */
static bool
in_space (const Translator *t)
{
  return t->space && !(t->insn->hints & VMM_HINT_TABLE);
}

/* The memory operand in the space: as the guest has it, or through r8d. */
static EmitMem
emit_in_space (Translator *t, unsigned size, bool write, bool based)
{
  const VmmInsn *i = t->insn;
  bool saved = based && flags_live (t);
  if (!based && !(i->flags & VMM_INSN_A16))
    return (EmitMem){ .base = i->base == VMM_ZERO ? R_NONE : host_register (i->base),
                      .index = i->index == VMM_ZERO ? R_NONE : host_register (i->index),
                      .scale = i->scale,
                      .disp = (int32_t) i->disp,
                      .space = true };
  vmm_emit_ea (t, R_8);
  if (saved)
    vmm_emit_save_flags (&t->e);
  if (based)
    emit_segment (t, i->segment, size, write, saved);
  if (saved)
    vmm_emit_restore_flags (&t->e);
  return (EmitMem){ .base = R_8, .index = R_NONE, .space = true };
}

EmitMem
vmm_emit_pinned (Translator *t, EmitMem m)
{
  EmitMem pinned = { .base = R_9, .index = R_NONE, .space = m.space };
  m.space = false;
  emit_rm (&t->e, pinned.space ? 0 : REX_W, 0x8d, R_9, m); /* lea */
  return pinned;
}

static EmitMem
emit_reuse (const Access *a)
{
  return emit_at (a->reuse, a->delta);
}

EmitMem
vmm_emit_access (Translator *t, unsigned size, bool write)
{
  const VmmInsn *i = t->insn;
  const Access *a = &t->access[t->n][0];
  bool based = !t->flat || i->segment == VMM_CS || i->segment == VMM_FS || i->segment == VMM_GS;
  if (in_space (t))
    return emit_in_space (t, size, write, based);
  if (a->reuse >= 0)
    return emit_reuse (a);
  bool one_register = i->disp == 0 && i->scale == 0 && !(i->flags & VMM_INSN_A16)
                      && (i->base == VMM_ZERO) != (i->index == VMM_ZERO);
  if (one_register && !based)
    {
      unsigned n = i->base == VMM_ZERO ? i->index : i->base;
      return emit_lookup (t, host_register (n), -1, a, size, write);
    }
  vmm_emit_ea (t, R_8);
  return emit_lookup (t, R_8, based ? i->segment : -1, a, size, write);
}

bool
vmm_stack_access_is_free (const Translator *t)
{
  return in_space (t) || t->access[t->n][1].reuse >= 0;
}

EmitMem
vmm_emit_stack_access (Translator *t, int32_t offset, unsigned size, bool write)
{
  const Access *a = &t->access[t->n][1];
  int base = t->d->template == T_LEAVE ? R_BP : R_15;
  if (in_space (t))
    return (EmitMem){ .base = base, .index = R_NONE, .disp = offset, .space = true };
  if (a->reuse >= 0)
    return emit_reuse (a);
  if (t->flat && t->stack32 && offset == 0)
    return emit_lookup (t, base, -1, a, size, write);
  emit_lea (&t->e, R_8, emit_at (base, offset));
  if (!t->stack32)
    emit_rr (&t->e, 0, 0x0fb7, R_8, R_8);
  return emit_lookup (t, R_8, t->flat ? -1 : VMM_SS, a, size, write);
}

EmitMem
vmm_emit_fixed_access (Translator *t, uint32_t linear, unsigned size)
{
  const Access none = { -1, -1, 0 };
  if (in_space (t))
    return (EmitMem){ .base = R_NONE, .index = R_NONE, .disp = (int32_t) linear, .space = true };
  emit_mov_ri (&t->e, R_8, linear);
  return emit_lookup (t, R_8, -1, &none, size, false);
}
