/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The translator and its run time: what engine.c, code.c, jump.c, trap.c and translate*.c share.
 *
 * Read engine.md first.  The register contract stands at the head of engine.asm.
 */
#pragma once

#include "block.h"
#include "emit.h"

#define VMM_OPCODES 512u /* those behind 0F from 256 on */

typedef struct VmmCode VmmCode;
typedef struct VmmJumpPage VmmJumpPage;

/* Why translated code came back to C. */
typedef enum {
  VMM_BACK_ATTENTION, /* nothing was executed: c->attention asks for something */
  VMM_BACK_RESUME,    /* after an instruction that C executed; c->eip is right */
  VMM_BACK_TRAP,      /* c->tail has to be executed by its handler, after a host fault within it */
  VMM_BACK_EXIT,      /* to c->eip; c->tail: the site to link, or 0 */
  VMM_BACK_INDIRECT,  /* to c->eip by an indirect jump */
  VMM_BACK_BUDGET,    /* nothing was executed: the slice has not so many instructions left */
} VmmBack;

/* One translated block, in the order of their addresses. */
struct VmmCode {
  uint32_t start, end;       /* offsets in the code cache: the straight way */
  uint32_t aside, aside_end; /* the way out of its beginning, and stubs */
  VmmBlock *block;
  uint32_t exits[2];    /* offsets of the distances of linkable jumps, 0 if there are fewer */
  uint32_t stubs[2];    /* where they go when they are not linked */
  uint32_t indirect[2]; /* offsets of jumps by the tables of targets, 0 if there are fewer */
  uint32_t insns;       /* index of its instructions' offsets in VmmEngine.offsets */
  bool falls;           /* its straight way goes on with the next code */
};

#define VMM_JUMP_SIZE 5u      /* bytes of a direct jump, which every code has room for at its start */
#define VMM_INDIRECT_SIZE 20u /* bytes of the indirect jump; see translate_jump.c */

struct VmmEngine {
  /* code cache (code.c) */
  uint8_t *code, *writable; /* the same memory, executable and writable */
  uint32_t size, used;
  uint32_t aside, aside_used; /* where what is seldom executed lies: from, to */
  uint32_t gone, indirect; /* offsets of common stubs */
  VmmCode *codes;
  uint32_t count, count_max;
  uint16_t *offsets; /* host offset of each instruction, relative to its code */
  uint32_t offsets_used, offsets_max;
  /* where a kick has written a jump for the moment */
  struct {
    uint32_t at;
    uint8_t bytes[VMM_JUMP_SIZE];
  } patched[8];
  unsigned patches;
  /* jump.c */
  VmmJumpPage **jump_hash;
  VmmJumpPage *jump_pages;
  uint32_t *no_targets; /* the page of targets that leads to the resolver everywhere */
  /* who runs it */
  bool bmi2, holes;
  bool counted, precise;
  unsigned heat; /* executions before a block is translated */
  _Atomic bool in_code;
  int thread;               /* kernel's number of the thread in vmm_vcpu_execute () */
  uint64_t by_handler[VMM_OPCODES]; /* executions by handlers */
  char names[VMM_OPCODES][20];      /* of these counters */
  VmmBlock *again;                /* a trap taught something: to be translated anew */
};

/* ---- code.c ---- */

VmmEngine *vmm_engine_new (VmmVcpu *c, const char **error);
void vmm_engine_free (VmmEngine *engine);
/* Memory that the translator has touched, about. */
uint64_t vmm_engine_bytes (const VmmVcpu *c);
/* Everything that was translated is forgotten. */
void vmm_engine_flush (VmmVcpu *c);
static inline bool
vmm_in_code (const VmmEngine *engine, uintptr_t address)
{
  return address - (uintptr_t) engine->code < engine->size;
}
/* The code that this address belongs to, or NULL.  Async-signal-safe. */
VmmCode *vmm_code_at (const VmmEngine *engine, uint32_t offset);
/* The instruction of `code` at this offset in the cache. */
unsigned vmm_code_insn (const VmmEngine *engine, const VmmCode *code, uint32_t offset);
/* The code goes to another address. */
bool vmm_code_move (VmmEngine *engine);
/* The block's code leads to the dispatcher from now on. */
void vmm_code_drop (VmmVcpu *c, VmmBlock *b);
uint32_t vmm_code_used (const VmmEngine *engine);
/* Is there room for so many blocks? */
bool vmm_code_room (const VmmEngine *engine, unsigned blocks);
/* The first bytes of code at `start` become a jump to `target`. */
void vmm_code_redirect (VmmEngine *engine, uint32_t start, uint32_t target);
/* Makes the 32-bit distance at `site` lead to `target`, both offsets. */
void vmm_code_link (VmmEngine *engine, uint32_t site, uint32_t target);
/* The code that runs leaves at its end.  From the signal handler; returns the address to go on at.
 */
uint32_t vmm_code_interrupt (VmmEngine *engine, uint32_t offset);
/* Takes back what vmm_code_interrupt () wrote into code. */
void vmm_code_restore (VmmEngine *engine);

/* ---- translate.c ---- */

/* x87 instructions of the block before `insn`, which is at c->eip, have been executed by translated
   code: the last one's pointers.  (translate_fpu.c) */
void vmm_fpu_note_block (VmmVcpu *c, const VmmInsn *insn);
/* What translated code noted of x87 instructions becomes pointers. */
void vmm_fpu_resolve (VmmVcpu *c);
/* First thing when C runs that may change or look at what those depend on: CS, DS ..., blocks. */
static inline void
vmm_left_code (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->fpu.note | c->fpu.fds_of))
    vmm_fpu_resolve (c);
}
/* Time of the host, which only goes forward. */
uint64_t vmm_host_ns (void);
/* Translates b; false if there is no room (flush, and look the block up again). */
bool vmm_translate (VmmVcpu *c, VmmBlock *b);
/* Bytes that a block takes at most. */
#define VMM_CODE_MAX (24u << 10)

/* ---- translate_sse.c ---- */

/* Must its operand in memory be aligned to 16 bytes? */
bool vmm_sse_is_aligned (const VmmInsn *i);

/* ---- jump.c ---- */

bool vmm_jump_init (VmmEngine *engine);
uint64_t vmm_jump_bytes (const VmmEngine *engine);
/* Forgets all targets. */
void vmm_jump_reset (VmmVcpu *c);
/* Before code is entered: if it is of another mode than the jumps of c->now, they are reset. */
void vmm_jump_mode (VmmVcpu *c);
void vmm_jump_finish (VmmEngine *engine);
/* The code lies `by` bytes further on. */
void vmm_jump_rebase (VmmEngine *engine, uint32_t by);
/* Indirect jumps to c->eip shall go to b. */
void vmm_jump_enter (VmmVcpu *c, VmmBlock *b);
/* The block is gone, or has other code. */
void vmm_jump_update (VmmVcpu *c, const VmmBlock *b, uint32_t offset);
void vmm_jump_flush (VmmVcpu *c, VmmTables *t);

/* Instructions by their place in the arena of blocks: what translated code names them by. */
static inline uint32_t
vmm_insn_offset (const VmmVcpu *c, const VmmInsn *insn)
{
  return (uint32_t) ((const uint8_t *) insn - c->blocks->arena);
}

static inline VmmInsn *
vmm_insn_at (const VmmVcpu *c, uint32_t offset)
{
  return (VmmInsn *) (c->blocks->arena + offset);
}

/* ---- engine.c ---- */

VmmBlock *vmm_block_of (const VmmInsn *insn);
/* Runs translated code, or a block by its handlers, from c->eip on. */
void vmm_engine_run (VmmVcpu *c);

/* The opcodes that handlers have executed, the most frequent first. */
size_t vmm_engine_stats (VmmEngine *engine, VmmStat stats[VMM_OPCODES]);
/* A handler was left by a fault: no translated code is running. */
void vmm_engine_left (VmmVcpu *c);

/* ---- space.c ---- */

bool vmm_spaces_new (VmmVcpu *c);
void vmm_spaces_free (VmmVcpu *c);
/* Around the execution of guest code: GS. */
void vmm_spaces_enter (VmmVcpu *c);
void vmm_spaces_leave (VmmVcpu *c);
/* A time slice has ended in what runs now. */
void vmm_space_sample (VmmVcpu *c);
/* The TLB was flushed; a page of it; a physical page has code now. */
void vmm_spaces_flushed (VmmVcpu *c);
void vmm_space_flush_page (VmmVcpu *c, uint32_t linear);
void vmm_spaces_protect (VmmVcpu *c, uint32_t page_address);
/* The jump at `site` of `from` may be linked to `to` on another page; it is undone when the space no
   longer has that page there, or another space comes. */
bool vmm_space_link (VmmVcpu *c, const VmmBlock *from, const VmmBlock *to, uint32_t site);
/* All code was forgotten. */
void vmm_spaces_forget (VmmVcpu *c);
/* Where in the current space (and what lies behind it) a host address is, or VMM_NO_TRAP. */
#define VMM_NO_TRAP UINT64_MAX
uint64_t vmm_space_offset (const VmmVcpu *c, uintptr_t address);
/* This instruction has trapped, maybe in a space (c->space_trap): before its handler, which may
   raise a fault of the guest's, and after it. */
void vmm_space_trap (VmmVcpu *c, VmmInsn *insn);
void vmm_space_fault (VmmVcpu *c, VmmInsn *insn);

/* ---- inspect.c ---- */

/* Tells config.translated. */
void vmm_inspect (VmmVcpu *c, const VmmCode *code);

/* ---- trap.c ---- */

/* Tables with the same contents; NULL if there is no memory. */
VmmTables *vmm_tables_copy (const VmmTables *t);
/* The words of the tables that `page` lies among are there. */
void vmm_tables_ready (VmmTables *t, uint32_t page);
