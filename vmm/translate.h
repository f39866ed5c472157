/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the translator share; see engine.md. */
#pragma once

#include "engine.h"

/* ---- describe.c: what an instruction is, for the translator ---- */

typedef enum {
  T_HANDLER, /* called, then on */
  T_TAIL,    /* ends the code; C executes it */
  T_NOP,
  T_MODRM, /* copied: opcode reg, r/m; reg is a register */
  T_DIGIT, /* copied: opcode /digit, r/m */
  T_ACC,   /* copied: opcode immediate, on AL, AX or EAX */
  T_PLAIN, /* copied as it is: one opcode without operands */
  T_MOV_RI,
  T_INC_DEC, /* 40-4F */
  T_XCHG_A,
  T_BSWAP,
  T_LEA,
  T_MOFFS,
  T_PUSH_R,
  T_PUSH_I,
  T_PUSH_M,
  T_POP_R,
  T_LEAVE,
  T_RET,
  T_CALL,
  T_CALL_M,
  T_JMP,
  T_JMP_M,
  T_JCC,
  T_LOOP,
  T_FPU, /* x87 on registers, FWAIT: needs c->fpu_ready */
  T_FPU_M,
  T_MMX,
  T_SSE, /* needs c->xmm */
  T_FENCE,
  T_FLDCW,
  T_CLD,
  T_MOVS,
  T_STOS,
  T_LODS, /* without REP */
  T_CMPS,
  T_SCAS,
  T_CLI,
  T_STI,
  T_PUSHF,
  T_POPF,
  T_MOV_TO_S, /* segment registers */
  T_MOV_FROM_S,
  T_PUSH_S,
  T_POP_S,
  T_VERIFY, /* VERR, VERW */
} Template;

enum { M_NONE, M_READ, M_WRITE };

typedef struct {
  uint8_t template;
  uint8_t size;      /* bytes of the operands */
  uint8_t memory;    /* M_*: what it does to the memory operand; M_WRITE: also reads it, perhaps */
  uint8_t msize;     /* bytes of the memory operand */
  uint8_t immediate; /* bytes of it behind the instruction */
  uint16_t reads, writes; /* arithmetic flags: that it looks at; that it surely sets anew */
  uint8_t defines;        /* a bit for each general register it writes */
} Description;

Description vmm_describe (const VmmInsn *i, bool last, bool sync);
/* reg is AH, CH, DH or BH, memory the other operand: may that be copied?  What it is for memory. */
bool vmm_has_high_byte (const VmmInsn *i, const Description *d);
bool vmm_stores_high_byte (const VmmInsn *i);
bool vmm_loads_high_byte (const VmmInsn *i);

/* ---- The state of a translation ---- */

/* A place beside the straight way, emitted behind the block. */
typedef enum { S_MISS, S_SLOW, S_EXIT, S_CROSS, S_TAIL, S_BUDGET, S_XMM, S_CALL } StubKind;
typedef struct {
  StubKind kind;
  uint8_t *site; /* distance that shall lead here */
  uint8_t insn;
  bool saved;     /* the flags are in AX, and EAX in c->scratch_a */
  bool write;     /* S_MISS */
  int8_t anchor;  /* S_MISS: register that must become invalid, or -1 */
  int8_t address; /* S_MISS: register with the linear address */
  uint8_t *retry; /* S_MISS, S_XMM */
  uint32_t eip;   /* S_EXIT, S_CROSS, S_CALL: target */
  bool link;      /* S_EXIT: may be linked */
} Stub;

/* Where an access finds its host address. */
typedef struct {
  int8_t reuse;  /* host register with an earlier address, or -1 */
  int8_t anchor; /* host register to keep the address in, or -1 */
  int16_t delta; /* reuse: distance from there */
} Access;

typedef struct {
  VmmVcpu *c;
  VmmEngine *engine;
  VmmBlock *b;
  Emit e;
  unsigned n; /* the instruction that is being translated */
  VmmInsn *insn;
  const Description *d;
  uint32_t eip, next; /* of it, and of the one behind it */
  Description describe[VMM_BLOCK_INSNS];
  uint16_t live[VMM_BLOCK_INSNS + 1]; /* flags that somebody may look at, before instruction n */
  Access access[VMM_BLOCK_INSNS][2];  /* of the memory operand; of the stack */
  uint8_t *start[VMM_BLOCK_INSNS + 1];
  Stub stubs[4 * VMM_BLOCK_INSNS + 4];
  unsigned stub_count;
  VmmCode code;
  const VmmBlock *follower; /* the block whose code will lie behind this one's, or NULL */
  int pc_thunk;             /* vmm_pc_thunk () */
  uint8_t *entry;
  bool space; /* memory is accessed in the space */
  bool flat, stack32, fpu_checked, ended, fpu_note, fpu_used;
  bool xmm_checked; /* the XMM registers are the host's from here on */
  unsigned fds_noted; /* segment + 1 whose selector FDS has */
  uint32_t fpu_insn;  /* pending: the last x87 instruction that was executed (vmm_insn_offset) */
} Translator;

/* The host's register for one of the guest's. */
static inline int
host_register (unsigned n)
{
  return n == VMM_ESP ? R_15 : (int) n;
}

/* Where a relative jump or call that ends the block goes to. */
static inline uint32_t
last_target (const VmmBlock *b)
{
  const VmmInsn *last = &b->insns[b->count - 1];
  uint32_t target = b->eip + b->size - last->length + last->imm;
  return last->flags & VMM_INSN_O16 ? target & 0xffff : target;
}

#define FIELD(member) emit_at (R_13, (int32_t) offsetof (VmmVcpu, member))
#define THUNK(n) emit_at (R_13, (int32_t) (offsetof (VmmVcpu, thunk) + (n) * sizeof (void *)))

static inline bool
flags_live (const Translator *t)
{
  return t->engine->precise || t->live[t->n];
}

/* ---- translate_access.c ---- */

/* Decides for all accesses of the block which can rely on an earlier one. */
void vmm_plan_accesses (Translator *t);
/* Emits what leads to the memory operand of the current instruction (which 0), or to `offset` bytes
   from ESP (which 1); returns the operand.  Scratch: r8, r9. */
EmitMem vmm_emit_access (Translator *t, unsigned size, bool write);
EmitMem vmm_emit_stack_access (Translator *t, int32_t offset, unsigned size, bool write);
/* The same for what lies at a linear address, to be read; the flags are lost. */
EmitMem vmm_emit_fixed_access (Translator *t, uint32_t linear, unsigned size);
/* Does the access to the stack of the current instruction do without r8 and r9? */
bool vmm_stack_access_is_free (const Translator *t);
/* The same operand by r9 alone. */
EmitMem vmm_emit_pinned (Translator *t, EmitMem m);
/* r8d = offset within the segment of the memory operand. */
void vmm_emit_ea (Translator *t, int to);
/* The current instruction is executed by its handler, from `site` on. */
Stub *vmm_add_stub (Translator *t, StubKind kind, uint8_t *site);
/* The flags are set aside and taken back; between, EAX is not the guest's. */
void vmm_emit_save_flags (Emit *e);
void vmm_emit_restore_flags (Emit *e);

/* ---- translate_jump.c ---- */

void vmm_emit_direct (Translator *t, uint32_t target);
void vmm_emit_jcc (Translator *t, unsigned condition, uint32_t target);
void vmm_emit_loop (Translator *t);
/* To the EIP in r8d. */
void vmm_emit_indirect (Translator *t);
/* If b ends with a call of `mov reg, [esp]; ret`, as code that may lie anywhere finds its address:
   that register.  Else -1. */
int vmm_pc_thunk (VmmVcpu *c, const VmmBlock *b);
void vmm_emit_pc_thunk (Translator *t, uint32_t target);
bool vmm_in_segment (const Translator *t, uint32_t eip);

/* ---- translate_fpu.c ---- */

void vmm_emit_fpu (Translator *t);
/* The pointers of x87 instructions before this point are noted. */
void vmm_emit_fpu_note (Translator *t);

/* ---- translate_sse.c ---- */

/* Is it an instruction on XMM registers that need not be left to its handler? */
bool vmm_describe_sse (const VmmInsn *i, Description *d);
void vmm_emit_sse (Translator *t);

/* ---- translate_string.c ---- */

void vmm_emit_string (Translator *t);
void vmm_emit_string_compare (Translator *t);

/* ---- translate_system.c ---- */

void vmm_emit_system (Translator *t);

/* ---- translate_insn.c ---- */

void vmm_emit_insn (Translator *t);
/* The current instruction by its handler. */
void vmm_emit_handler (Translator *t);
void vmm_emit_tail (Translator *t);
/* prefixes, opcode, ModRM with memory */
void vmm_emit_with_memory (Translator *t, int reg, EmitMem m);
unsigned vmm_host_opcode (const VmmInsn *i);
/* ESP or SP += by, without flags; by the scratch register. */
void vmm_emit_move_stack (Translator *t, int32_t by, int scratch);
/* The operand's size of r8 is pushed. */
void vmm_emit_push_r8 (Translator *t);
