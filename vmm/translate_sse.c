/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SSE and SSE2: the host's own instructions on the guest's XMM registers, which are the host's
 * while c->xmm is VMM_XMM_HOST.  The first such instruction after a block's beginning, or after a
 * handler, looks at that; if they are in memory, vmm_thunk_xmm loads them.  Whoever calls C from
 * code stores them before (engine.asm), so that a program that does not use them pays nothing.
 *
 * They are only loaded while all exceptions are masked, CR0.EM and TS are clear and CR4.OSFXSR is
 * set; else handlers execute the instructions, and raise what there is to raise.  An operand of 16
 * bytes that is not aligned traps on the host as it does in the guest.
 *
 * Left to handlers: what also uses an MMX register (c->fpu_ready would have to be looked at, too),
 * MASKMOVDQU, LDMXCSR, STMXCSR, FXSAVE, FXRSTOR, CLFLUSH.
 */
#include "translate.h"

/* An instruction: bytes of its memory operand (0: left to its handler), and what differs from xmm,
   xmm/m. */
typedef struct {
  uint8_t bytes;
  enum { PLAIN, STORE, TO_GENERAL, FROM_GENERAL, STORE_GENERAL } form;
} Form;

enum { NP, P66, PF3, PF2 };

static unsigned
prefix_of (const VmmInsn *i)
{
  if (i->flags & VMM_INSN_REP)
    return PF3;
  if (i->flags & VMM_INSN_REPNE)
    return PF2;
  return i->flags & VMM_INSN_66 ? P66 : NP;
}

/* By prefix: none, 66, F3, F2. */
static Form
by_prefix (unsigned prefix, unsigned none, unsigned p66, unsigned pf3, unsigned pf2)
{
  const uint8_t bytes[4] = { (uint8_t) none, (uint8_t) p66, (uint8_t) pf3, (uint8_t) pf2 };
  return (Form){ bytes[prefix], PLAIN };
}

static Form
as (unsigned form, Form f)
{
  f.form = form;
  return f;
}

/* Intel SDM vol. 2, opcode map of two bytes.  What does not exist need not be told apart: the
   decoder has seen that it is #UD. */
static Form
form_of (const VmmInsn *i)
{
  unsigned p = prefix_of (i);
  switch (i->opcode)
    {
    case 0x10: return by_prefix (p, 16, 16, 4, 8);
    case 0x11: return as (STORE, by_prefix (p, 16, 16, 4, 8));
    case 0x12:
    case 0x16: return by_prefix (p, 8, 8, 0, 0);
    case 0x13:
    case 0x17: return as (STORE, by_prefix (p, 8, 8, 0, 0));
    case 0x29:
    case 0x2b: return as (STORE, by_prefix (p, 16, 16, 0, 0));
    case 0x2a: return as (FROM_GENERAL, by_prefix (p, 0, 0, 4, 4));
    case 0x2c:
    case 0x2d: return as (TO_GENERAL, by_prefix (p, 0, 0, 4, 8));
    case 0x2e:
    case 0x2f: return by_prefix (p, 4, 8, 0, 0);
    case 0x50: return as (TO_GENERAL, by_prefix (p, 16, 16, 0, 0));
    case 0x52:
    case 0x53: return by_prefix (p, 16, 0, 4, 0);
    case 0x14:
    case 0x15:
    case 0x28:
    case 0x54 ... 0x57:
    case 0xc6: return by_prefix (p, 16, 16, 0, 0);
    case 0x51:
    case 0x58:
    case 0x59:
    case 0x5c ... 0x5f:
    case 0xc2: return by_prefix (p, 16, 16, 4, 8);
    case 0x5a: return by_prefix (p, 8, 16, 4, 8);
    case 0x5b: return by_prefix (p, 16, 16, 16, 0);
    case 0x6e: return as (FROM_GENERAL, by_prefix (p, 0, 4, 0, 0));
    case 0x6f: return by_prefix (p, 0, 16, 16, 0);
    case 0x70: return by_prefix (p, 0, 16, 16, 16);
    case 0x7e:
      return p == PF3 ? by_prefix (p, 0, 0, 8, 0) : as (STORE_GENERAL, by_prefix (p, 0, 4, 0, 0));
    case 0x7f: return as (STORE, by_prefix (p, 0, 16, 16, 0));
    case 0xc4: return as (FROM_GENERAL, by_prefix (p, 0, 2, 0, 0));
    case 0xc5:
    case 0xd7: return as (TO_GENERAL, by_prefix (p, 0, 16, 0, 0));
    case 0xd6: return as (STORE, by_prefix (p, 0, 8, 0, 0));
    case 0xe6: return by_prefix (p, 0, 16, 8, 16);
    case 0xe7: return as (STORE, by_prefix (p, 0, 16, 0, 0));
    case 0xf7: return (Form){ 0, PLAIN };
    case 0x60 ... 0x6d:
    case 0x71 ... 0x76:
    case 0xd1 ... 0xd5:
    case 0xd8 ... 0xe5:
    case 0xe8 ... 0xef:
    case 0xf1 ... 0xf6:
    case 0xf8 ... 0xfe: return by_prefix (p, 0, 16, 0, 0);
    default: return (Form){ 0, PLAIN };
    }
}

static bool
has_immediate (unsigned opcode)
{
  return (opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6);
}

bool
vmm_describe_sse (const VmmInsn *i, Description *d)
{
  Form f = form_of (i);
  bool memory = i->flags & VMM_INSN_MEM;
  if (!f.bytes || (i->flags & VMM_INSN_LOCK))
    return false;
  *d = (Description){ .template = T_SSE, .immediate = has_immediate (i->opcode) };
  if (memory)
    {
      d->msize = f.bytes;
      d->memory = f.form == STORE || f.form == STORE_GENERAL ? M_WRITE : M_READ;
    }
  if (f.form == TO_GENERAL)
    d->defines = (uint8_t) (1u << (i->modrm >> 3 & 7));
  if (f.form == STORE_GENERAL && !memory)
    d->defines = (uint8_t) (1u << (i->modrm & 7));
  if (i->opcode == 0x2e || i->opcode == 0x2f)
    d->writes = FL_ARITH;
  return true;
}

/* MOVUPS, MOVUPD and MOVDQU alone need no alignment. */
bool
vmm_sse_is_aligned (const VmmInsn *i)
{
  bool unaligned = i->opcode == 0x10 || i->opcode == 0x11
                   || ((i->opcode == 0x6f || i->opcode == 0x7f) && prefix_of (i) == PF3);
  return i->map && form_of (i).bytes == 16 && !unaligned;
}

static void
emit_ready (Translator *t)
{
  Emit *e = &t->e;
  if (t->xmm_checked)
    return;
  bool saved = flags_live (t);
  if (saved)
    vmm_emit_save_flags (e);
  emit_rm (e, 0, 0x80, 7, FIELD (xmm)); /* cmp byte */
  emit8 (e, VMM_XMM_HOST);
  Stub *s = vmm_add_stub (t, S_XMM, emit_jcc (e, CC_NE));
  s->saved = saved;
  if (saved)
    vmm_emit_restore_flags (e);
  s->retry = e->at;
  t->xmm_checked = true;
}

static void
emit_prefix (Emit *e, unsigned prefix)
{
  static const uint8_t bytes[4] = { 0, 0x66, 0xf3, 0xf2 };
  if (prefix != NP)
    emit8 (e, bytes[prefix]);
}

void
vmm_emit_sse (Translator *t)
{
  Emit *e = &t->e;
  const VmmInsn *i = t->insn;
  Form f = form_of (i);
  int reg = i->modrm >> 3 & 7, rm = i->modrm & 7;
  emit_ready (t);
  if (f.form == TO_GENERAL)
    reg = host_register ((unsigned) reg);
  if (f.form == FROM_GENERAL || f.form == STORE_GENERAL)
    rm = host_register ((unsigned) rm);
  if (i->flags & VMM_INSN_MEM)
    {
      EmitMem m = vmm_emit_access (t, t->d->msize, t->d->memory == M_WRITE);
      emit_prefix (e, prefix_of (i));
      emit_rm (e, 0, 0x0f00u | i->opcode, reg, m);
    }
  else
    {
      emit_prefix (e, prefix_of (i));
      emit_rr (e, 0, 0x0f00u | i->opcode, reg, rm);
    }
  if (t->d->immediate)
    emit8 (e, i->imm);
}
