/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The templates: one instruction of the guest to instructions of the host.
 *
 * The rule that makes exceptions precise: wherever the host may fault, the guest's registers are as
 * before the instruction.  So memory comes first, and what changes ESP last.
 *
 * Most instructions are copied.  What differs: ESP is r15, memory operands are replaced, 40-4F are
 * prefixes on the host, and AH, CH, DH, BH cannot be named beside r8 to r15.
 */
#include "translate.h"

#include <stddef.h>

unsigned
vmm_host_opcode (const VmmInsn *i)
{
  if (i->map)
    return 0x0f00u | i->opcode;
  return i->opcode == 0x82 ? 0x80 : i->opcode; /* 64-bit mode has not the second name */
}

static void
prefix16 (Translator *t)
{
  if (t->d->size == 2)
    emit8 (&t->e, 0x66);
}

static void
immediate (Translator *t, unsigned bytes)
{
  if (bytes == 1)
    emit8 (&t->e, t->insn->imm);
  else if (bytes == 2)
    emit16 (&t->e, t->insn->imm);
  else if (bytes == 4)
    emit32 (&t->e, t->insn->imm);
}

void
vmm_emit_with_memory (Translator *t, int reg, EmitMem m)
{
  if (t->insn->flags & VMM_INSN_LOCK)
    emit8 (&t->e, 0xf0);
  prefix16 (t);
  emit_rm (&t->e, 0, vmm_host_opcode (t->insn), reg, m);
  immediate (t, t->d->immediate);
}

static void
name_instruction (Translator *t)
{
  emit_mov_mi (&t->e, FIELD (eip), t->eip);
  emit_mov_ri (&t->e, R_8, vmm_insn_offset (t->c, t->insn));
}

void
vmm_emit_handler (Translator *t)
{
  vmm_emit_fpu_note (t); /* it may load others */
  name_instruction (t);
  emit_rm (&t->e, 0, 0xff, 2, THUNK (VMM_THUNK_SLOW));
  t->xmm_checked = false; /* it may be that they are no longer the host's */
}

void
vmm_emit_tail (Translator *t)
{
  vmm_emit_fpu_note (t);
  name_instruction (t);
  emit_rm (&t->e, 0, 0xff, 4, THUNK (VMM_THUNK_TAIL));
  t->ended = true;
}

/* ---- Copied instructions ---- */

static void
swap_high (Translator *t, int reg) /* AH with AL and so on */
{
  emit_rr (&t->e, 0, 0x86, reg - 4, reg);
}

/* reg is AH, CH, DH or BH and the other operand is memory. */
static void
high_byte (Translator *t, int reg)
{
  Emit *e = &t->e;
  unsigned opcode = vmm_host_opcode (t->insn);
  EmitMem m = vmm_emit_access (t, 1, t->d->memory == M_WRITE);
  m = vmm_emit_pinned (t, m);
  if (vmm_stores_high_byte (t->insn))
    {
      emit_rorx (e, R_8, reg - 4, 8);
      emit_rm (e, 0, opcode, R_8, m);
      return;
    }
  emit_rm (e, 0, 0x0fb6, R_8, m);
  swap_high (t, reg);
  emit_rr (e, 0, opcode, reg - 4, R_8);
  swap_high (t, reg);
}

/* MOVZX, MOVSX and SETcc have an r/m of 8 bits though the other is none. */
static bool
rm_is_byte (const Translator *t)
{
  unsigned opcode = vmm_host_opcode (t->insn);
  return t->d->size == 1 || opcode == 0x0fb6 || opcode == 0x0fbe;
}

static void
on_registers (Translator *t, int reg, bool reg_is_register)
{
  int rm = t->insn->modrm & 7;
  bool byte_reg = t->d->size == 1 && reg_is_register, byte_rm = rm_is_byte (t);
  if (reg_is_register && !byte_reg)
    reg = host_register ((unsigned) reg);
  if (!byte_rm)
    rm = host_register ((unsigned) rm);
  if (byte_rm && rm >= 4 && reg >= 8) /* MOVZX ESP, AH */
    {
      vmm_emit_handler (t);
      return;
    }
  prefix16 (t);
  emit_rr (&t->e, 0, vmm_host_opcode (t->insn), reg, rm);
  immediate (t, t->d->immediate);
}

static void
copied (Translator *t)
{
  bool reg_is_register = t->d->template == T_MODRM;
  int reg = t->insn->modrm >> 3 & 7;
  if (!t->insn->map && (t->insn->opcode & 0xfe) == 0xf6 && reg >= 6) /* DIV may fault, too */
    vmm_emit_fpu_note (t);
  if (!(t->insn->flags & VMM_INSN_MEM))
    on_registers (t, reg, reg_is_register);
  else if (reg_is_register && t->d->size == 1 && reg >= 4)
    high_byte (t, reg);
  else
    {
      EmitMem m = vmm_emit_access (t, t->d->msize, t->d->memory == M_WRITE);
      if (reg_is_register && t->d->size != 1)
        reg = host_register ((unsigned) reg);
      vmm_emit_with_memory (t, reg, m);
    }
}

static void
moffs (Translator *t)
{
  EmitMem m = vmm_emit_access (t, t->d->size, t->d->memory == M_WRITE);
  prefix16 (t);
  emit_rm (&t->e, 0, (t->insn->opcode & 1u) | (t->insn->opcode & 2 ? 0x88u : 0x8au), R_AX, m);
}

static void
lea (Translator *t)
{
  int to = host_register (t->insn->modrm >> 3 & 7);
  if (t->d->size == 4)
    {
      vmm_emit_ea (t, to);
      return;
    }
  vmm_emit_ea (t, R_8);
  emit8 (&t->e, 0x66);
  emit_rr (&t->e, 0, 0x8b, to, R_8);
}

static void
mov_immediate (Translator *t)
{
  unsigned n = t->insn->opcode & 7;
  Emit *e = &t->e;
  if (t->d->size == 1)
    {
      emit8 (e, 0xb0 | n);
      emit8 (e, t->insn->imm);
      return;
    }
  prefix16 (t);
  int reg = host_register (n);
  emit_rex (e, 0, 0, 0, reg);
  emit8 (e, 0xb8 | (unsigned) (reg & 7));
  immediate (t, t->d->size);
}

/* DF is in VmmVcpu alone; the host's is always clear. */
static void
cld (Translator *t)
{
  bool saved = flags_live (t);
  if (saved)
    vmm_emit_save_flags (&t->e);
  emit_rm (&t->e, 0, 0x81, 4, FIELD (eflags)); /* and */
  emit32 (&t->e, ~FL_DF);
  if (saved)
    vmm_emit_restore_flags (&t->e);
}

/* ---- Stack ---- */

void
vmm_emit_move_stack (Translator *t, int32_t by, int scratch)
{
  Emit *e = &t->e;
  if (by == 0)
    return;
  if (t->stack32)
    {
      emit_lea (e, R_15, emit_at (R_15, by));
      return;
    }
  emit_lea (e, scratch, emit_at (R_15, by));
  emit8 (e, 0x66);
  emit_rr (e, 0, 0x8b, R_15, scratch);
}

static void
move_stack (Translator *t, int32_t by)
{
  vmm_emit_move_stack (t, by, R_8);
}

static void
push_register (Translator *t, int reg)
{
  EmitMem m = vmm_emit_stack_access (t, -(int32_t) t->d->size, t->d->size, true);
  prefix16 (t);
  emit_rm (&t->e, 0, 0x89, reg, m);
  move_stack (t, -(int32_t) t->d->size);
}

static void
push_immediate (Translator *t, uint32_t value)
{
  EmitMem m = vmm_emit_stack_access (t, -(int32_t) t->d->size, t->d->size, true);
  prefix16 (t);
  emit_rm (&t->e, 0, 0xc7, 0, m);
  if (t->d->size == 2)
    emit16 (&t->e, value);
  else
    emit32 (&t->e, value);
}

/* A value in r8d is kept across the access to the stack; it is in r8d again, r9 may have the place.
 */
static EmitMem
access_stack_with_r8 (Translator *t)
{
  Emit *e = &t->e;
  int32_t offset = -(int32_t) t->d->size;
  if (vmm_stack_access_is_free (t))
    return vmm_emit_stack_access (t, offset, t->d->size, true);
  emit_rm (e, 0, 0x89, R_8, FIELD (scratch_b));
  EmitMem m = vmm_emit_pinned (t, vmm_emit_stack_access (t, offset, t->d->size, true));
  emit_rm (e, 0, 0x8b, R_8, FIELD (scratch_b));
  return m;
}

/* r8d = the operand of PUSH, CALL, JMP. */
static void
load_rm (Translator *t)
{
  Emit *e = &t->e;
  if (t->insn->flags & VMM_INSN_MEM)
    {
      EmitMem m = vmm_emit_access (t, t->d->size, false);
      emit_rm (e, 0, t->d->size == 2 ? 0x0fb7 : 0x8b, R_8, m);
      return;
    }
  emit_rr (e, 0, t->d->size == 2 ? 0x0fb7 : 0x8b, R_8, host_register (t->insn->modrm & 7));
}

void
vmm_emit_push_r8 (Translator *t)
{
  EmitMem m = access_stack_with_r8 (t);
  prefix16 (t);
  emit_rm (&t->e, 0, 0x89, R_8, m);
  move_stack (t, -(int32_t) t->d->size);
}

static void
push_rm (Translator *t)
{
  load_rm (t);
  vmm_emit_push_r8 (t);
}

static void
pop_register (Translator *t)
{
  Emit *e = &t->e;
  unsigned n = t->insn->opcode & 7;
  EmitMem m = vmm_emit_stack_access (t, 0, t->d->size, false);
  if (n != VMM_ESP)
    {
      prefix16 (t);
      emit_rm (e, 0, 0x8b, host_register (n), m);
      move_stack (t, t->d->size);
      return;
    }
  emit_rm (e, 0, t->d->size == 2 ? 0x0fb7 : 0x8b, R_9, m);
  move_stack (t, t->d->size);
  prefix16 (t);
  emit_rr (e, 0, 0x8b, R_15, R_9);
}

static void
leave (Translator *t)
{
  Emit *e = &t->e;
  EmitMem m = vmm_emit_stack_access (t, 0, t->d->size, false);
  emit_rm (e, 0, t->d->size == 2 ? 0x0fb7 : 0x8b, R_9, m);
  if (t->stack32)
    emit_lea (e, R_15, emit_at (R_BP, t->d->size));
  else
    {
      emit_lea (e, R_8, emit_at (R_BP, t->d->size));
      emit8 (e, 0x66);
      emit_rr (e, 0, 0x8b, R_15, R_8);
    }
  prefix16 (t);
  emit_rr (e, 0, 0x8b, R_BP, R_9);
}

/* ---- Calls and jumps ---- */

static uint32_t
relative_target (const Translator *t)
{
  uint32_t target = t->eip + t->insn->imm;
  return t->insn->flags & VMM_INSN_O16 ? target & 0xffff : target;
}

/* Targets of 16 bits are inside a segment of 64 KiB, those of 32 bits in one of 4 GiB. */
static bool
target_is_inside (const Translator *t)
{
  return t->b->code_end > (t->d->size == 2 ? 0xffffu : 0xffffffffu);
}

static void
call (Translator *t)
{
  uint32_t target = relative_target (t);
  if (!vmm_in_segment (t, target))
    {
      vmm_emit_tail (t);
      return;
    }
  push_immediate (t, t->next);
  if (t->pc_thunk >= 0)
    {
      vmm_emit_pc_thunk (t, target);
      return;
    }
  move_stack (t, -(int32_t) t->d->size);
  vmm_emit_fpu_note (t);
  vmm_emit_direct (t, target);
}

static void
call_rm (Translator *t)
{
  if (!target_is_inside (t))
    {
      vmm_emit_tail (t);
      return;
    }
  load_rm (t);
  EmitMem m = access_stack_with_r8 (t);
  prefix16 (t);
  emit_rm (&t->e, 0, 0xc7, 0, m);
  if (t->d->size == 2)
    emit16 (&t->e, t->next);
  else
    emit32 (&t->e, t->next);
  if (t->stack32)
    emit_lea (&t->e, R_15, emit_at (R_15, -(int32_t) t->d->size));
  else
    {
      emit_lea (&t->e, R_9, emit_at (R_15, -(int32_t) t->d->size));
      emit8 (&t->e, 0x66);
      emit_rr (&t->e, 0, 0x8b, R_15, R_9);
    }
  vmm_emit_indirect (t);
}

static void
jmp_rm (Translator *t)
{
  if (!target_is_inside (t))
    {
      vmm_emit_tail (t);
      return;
    }
  load_rm (t);
  vmm_emit_fpu_note (t);
  vmm_emit_indirect (t);
}

static void
ret (Translator *t)
{
  Emit *e = &t->e;
  if (!target_is_inside (t))
    {
      vmm_emit_tail (t);
      return;
    }
  int32_t by = t->d->size + (t->insn->opcode == 0xc2 ? (int32_t) t->insn->imm : 0);
  EmitMem m = vmm_emit_stack_access (t, 0, t->d->size, false);
  emit_rm (e, 0, t->d->size == 2 ? 0x0fb7 : 0x8b, R_8, m);
  if (t->stack32)
    emit_lea (e, R_15, emit_at (R_15, by));
  else
    {
      emit_lea (e, R_9, emit_at (R_15, by));
      emit8 (e, 0x66);
      emit_rr (e, 0, 0x8b, R_15, R_9);
    }
  vmm_emit_indirect (t);
}

static void
jump (Translator *t)
{
  uint32_t target = relative_target (t);
  vmm_emit_fpu_note (t);
  switch (t->d->template)
    {
    case T_JCC: vmm_emit_jcc (t, t->insn->opcode & 15u, target); return;
    case T_LOOP:
      if (t->insn->flags & VMM_INSN_A16)
        vmm_emit_handler (t);
      else
        vmm_emit_loop (t);
      return;
    default:
      if (vmm_in_segment (t, target))
        vmm_emit_direct (t, target);
      else
        vmm_emit_tail (t);
    }
}

/* ---- All ---- */

static void
acc_immediate (Translator *t)
{
  prefix16 (t);
  emit8 (&t->e, t->insn->opcode);
  immediate (t, t->d->immediate);
}

void
vmm_emit_insn (Translator *t)
{
  Emit *e = &t->e;
  unsigned n = t->insn->opcode & 7;
  switch (t->d->template)
    {
    case T_HANDLER: vmm_emit_handler (t); break;
    case T_TAIL: vmm_emit_tail (t); break;
    case T_NOP: break;
    case T_MODRM:
    case T_DIGIT: copied (t); break;
    case T_ACC: acc_immediate (t); break;
    case T_PLAIN:
      prefix16 (t);
      emit8 (e, t->insn->opcode);
      break;
    case T_MOV_RI: mov_immediate (t); break;
    case T_INC_DEC:
      prefix16 (t);
      emit_rr (e, 0, 0xff, t->insn->opcode & 8 ? 1 : 0, host_register (n));
      break;
    case T_XCHG_A:
      prefix16 (t);
      emit_rr (e, 0, 0x87, R_AX, host_register (n));
      break;
    case T_BSWAP:
      emit_rex (e, 0, 0, 0, host_register (n));
      emit8 (e, 0x0f);
      emit8 (e, 0xc8u | (unsigned) (host_register (n) & 7));
      break;
    case T_LEA: lea (t); break;
    case T_MOFFS: moffs (t); break;
    case T_PUSH_R: push_register (t, host_register (n)); break;
    case T_PUSH_I:
      push_immediate (t, t->insn->imm);
      move_stack (t, -(int32_t) t->d->size);
      break;
    case T_PUSH_M: push_rm (t); break;
    case T_POP_R: pop_register (t); break;
    case T_LEAVE: leave (t); break;
    case T_RET: ret (t); break;
    case T_CALL: call (t); break;
    case T_CALL_M: call_rm (t); break;
    case T_JMP_M: jmp_rm (t); break;
    case T_JMP:
    case T_JCC:
    case T_LOOP: jump (t); break;
    case T_FPU:
    case T_FPU_M:
    case T_MMX:
    case T_FLDCW: vmm_emit_fpu (t); break;
    case T_SSE: vmm_emit_sse (t); break;
    case T_FENCE:
      emit_opcode (e, 0x0fae);
      emit8 (e, t->insn->modrm);
      break;
    case T_CLD: cld (t); break;
    case T_MOVS:
    case T_STOS:
    case T_LODS: vmm_emit_string (t); break;
    case T_CMPS:
    case T_SCAS: vmm_emit_string_compare (t); break;
    case T_CLI:
    case T_STI:
    case T_PUSHF:
    case T_POPF:
    case T_MOV_TO_S:
    case T_MOV_FROM_S:
    case T_PUSH_S:
    case T_POP_S:
    case T_VERIFY: vmm_emit_system (t); break;
    }
}
