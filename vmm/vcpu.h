/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inside of a virtual processor, shared by the files of vmm/ alone.
 *
 * Who does what:
 *   vm.c memory.c        physical map, RAM; soft TLB, paging, linear and segmented accesses
 *   segment.c far.c      descriptors, segment loads, far transfers, call gates, IRET
 *   interrupt.c task.c   exception and interrupt delivery; task switches
 *   system.c msr.c       CR, DR, descriptor-table instructions, CPUID, MSR, MTRR, SYSENTER
 *   smm.c state.c        SMI, RSM; save and load
 *   switch.asm exit.c    the co-routine
 *   apic.c               local APIC
 *   decode.c block.c     bytes to VmmInsn; cache of decoded blocks, self-modifying code
 *   execute.c            the loop: blocks, attention, faults
 *   alu.c string.c ...   integer instructions
 *   fpu.c mmx.c sse.c sse2.c  x87, MMX, SSE, SSE2 on the host's own units, with host_ops.asm
 *
 * Rules of the interpreter:
 *  - An instruction is a handler (VmmVcpu *, const VmmInsn *).  While it runs c->eip is still the
 *    address of the instruction itself (what a fault pushes); the next one is vmm_next_eip ().  A
 *    handler that does not branch leaves c->eip alone and the loop advances it; a handler that
 *    branches calls vmm_branch () or, after a change of CS or mode, the far functions do.
 *  - Faults leave by vmm_raise*(), which does not return.  Therefore nothing architectural may change
 *    before the last thing that can fault; reads of memory, then probes of writes, then commit.
 *    Memory that is read and then written is opened for writing first (vmm_rmw_*).
 *  - EFLAGS are always up to date in c->eflags (computed by the host's own instruction, so that
 *    undefined flags are what the silicon gives).
 *  - All state is in VmmVcpu and VmmVm.  No globals.
 */
#pragma once

#include "vmm.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define VMM_LIKELY(x) __builtin_expect (!!(x), 1)
#define VMM_UNLIKELY(x) __builtin_expect (!!(x), 0)
#define VMM_HOT __attribute__ ((hot))

enum { VMM_EAX, VMM_ECX, VMM_EDX, VMM_EBX, VMM_ESP, VMM_EBP, VMM_ESI, VMM_EDI, VMM_ZERO };
typedef enum { VMM_ES, VMM_CS, VMM_SS, VMM_DS, VMM_FS, VMM_GS, VMM_SEGMENTS } VmmSegId;

/* EFLAGS */
#define FL_CF 0x1u
#define FL_1 0x2u
#define FL_PF 0x4u
#define FL_AF 0x10u
#define FL_ZF 0x40u
#define FL_SF 0x80u
#define FL_TF 0x100u
#define FL_IF 0x200u
#define FL_DF 0x400u
#define FL_OF 0x800u
#define FL_IOPL 0x3000u
#define FL_IOPL_SHIFT 12
#define FL_NT 0x4000u
#define FL_RF 0x10000u
#define FL_VM 0x20000u
#define FL_AC 0x40000u
#define FL_VIF 0x80000u
#define FL_VIP 0x100000u
#define FL_ID 0x200000u
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)
#define FL_ALL 0x3f7fd7u

/* CR0, CR4 */
#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_AM 0x40000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u
#define CR4_VME 0x1u
#define CR4_PVI 0x2u
#define CR4_TSD 0x4u
#define CR4_DE 0x8u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_MCE 0x40u
#define CR4_PGE 0x80u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u

/* Exceptions */
enum {
  EX_DE = 0, EX_DB = 1, EX_NMI = 2, EX_BP = 3, EX_OF = 4, EX_BR = 5, EX_UD = 6, EX_NM = 7, EX_DF = 8,
  EX_TS = 10, EX_NP = 11, EX_SS = 12, EX_GP = 13, EX_PF = 14, EX_MF = 16, EX_AC = 17, EX_MC = 18,
  EX_XM = 19
};

/* ---- Segments ---- */

/* Descriptor bits as in its high dword shifted right by 8 (VmmSegmentState.flags). */
#define SEG_TYPE 0x000fu
#define SEG_A 0x0001u  /* accessed */
#define SEG_RW 0x0002u /* data: writable; code: readable */
#define SEG_EC 0x0004u /* data: expand down; code: conforming */
#define SEG_CODE 0x0008u
#define SEG_S 0x0010u /* code or data */
#define SEG_DPL 0x0060u
#define SEG_DPL_SHIFT 5
#define SEG_P 0x0080u
#define SEG_AVL 0x1000u
#define SEG_DB 0x4000u
#define SEG_G 0x8000u

typedef struct {
  uint32_t base;
  uint32_t limit;
  uint32_t low, high; /* offsets low..high are inside (expand-up: 0..limit; none: 1..0) */
  uint16_t selector;
  uint16_t flags; /* descriptor bits, 0xf0ff */
  uint8_t can;    /* VMM_CAN_*: what data accesses may do; 0 for a null selector */
  /* For translated code: an operand whose end (offset + size) is at most this is inside and may be
     read (written); 0 if that cannot be said so simply. */
  uint64_t read_end, write_end;
} VmmSegment;
#define VMM_CAN_READ 1
#define VMM_CAN_WRITE 2

/* A data segment that was loaded: what a selector of the GDT means at this privilege as long as its
   descriptor is the same (segment.c). */
typedef struct {
  uint64_t descriptor; /* accessed; 0: none */
  uint8_t cpl;
  VmmSegment segment;
} VmmKnownSegment;
#define VMM_KNOWN_SEGMENTS 32u

/* ---- Access tables: linear page to host address (memory.c) ---- */

/* One word for each linear page and direction: host address minus linear address, or VMM_NO_ACCESS
   if the access may not go straight to the host (not yet looked up, missing, MMIO, rights, code
   page, watched).  VMM_NO_ACCESS plus any linear address is no address at all, so that translated
   code may also access first and be trapped.  The words of 512 pages (2 MiB of linear space) come
   into being when they are first looked at, by a trap (trap.c).

   The host address lies in the window (vm.c), where a hole follows each page: translated code
   relies on that to find accesses that cross a page.  C code looks at the address instead. */
#define VMM_PAGES (1u << 20)
#define VMM_NO_ACCESS 0x8000000000000000ull
typedef struct {
  uint64_t read[VMM_PAGES], write[VMM_PAGES];
  uint64_t jump[VMM_PAGES]; /* where translated code of a page is entered (jump.c) */
  uint32_t phys[VMM_PAGES]; /* physical page, while read[] is a delta; else VMM_NO_PAGE or 0 */
  uint8_t flags[VMM_PAGES]; /* VMM_TABLE_* */
  uint32_t used[VMM_PAGES]; /* the pages with VMM_TABLE_USED: what a flush looks at */
  uint32_t used_count;
  uint32_t used_global; /* the first of used[] that are all global: a load of CR3 passes them by */
  uint32_t jump_key, jump_base; /* what the jumps were entered for: mode and CS, see jump.c */
  uint64_t jump_end;
  uintptr_t no_targets;  /* of the engine: where a word of jump[] leads that was never set */
  uint64_t ready[VMM_PAGES / 512 / 64]; /* bit n: the words of pages 512 n to 512 n + 511 are there */
  uint8_t large[128]; /* a bit for each 4 MiB of linear space that has had VMM_TABLE_LARGE pages */
} VmmTables;
#define VMM_NO_PAGE 1u /* a phys[] that no page has */
#define VMM_TABLE_GLOBAL 1
#define VMM_TABLE_LARGE 2
#define VMM_TABLE_TRACK 4 /* the page is tracked: what it lets through must be noted when it goes */
#define VMM_TABLE_USED 8
#define VMM_TABLE_BESIDE_CODE 16 /* could be written but for VMM_PAGE_CODE: no walk is needed */

/* ---- Decoded instructions ---- */

typedef struct VmmInsn VmmInsn;
typedef void (*VmmHandler) (VmmVcpu *c, const VmmInsn *i);

struct VmmInsn {
  VmmHandler handler;
  uint32_t disp; /* displacement, sign-extended; or the offset of moffs */
  uint32_t imm;  /* immediate, sign- or zero-extended as the operation wants; far: offset */
  uint16_t imm2; /* far selector; ENTER's level */
  uint8_t length;
  uint8_t opcode; /* last opcode byte */
  uint8_t modrm;  /* raw, 0 if none */
  uint8_t reg;    /* modrm.reg, or the register in the opcode's low bits */
  uint8_t rm;     /* modrm.rm (register number when mod == 3) */
  uint8_t base, index, scale; /* registers, VMM_ZERO where absent; index is shifted by scale */
  uint8_t segment;            /* VmmSegId of the memory operand, override applied */
  uint8_t flags;              /* VMM_INSN_* */
  uint8_t map;                /* 0: one-byte opcodes, 1: 0F */
  uint8_t index_in_block;     /* translator */
  uint8_t hints;              /* translator: VMM_HINT_*, what its executions taught */
};
#define VMM_HINT_LOOK 1   /* looks at the table before the access, even if that costs the flags */
#define VMM_HINT_CROSS 2  /* looks whether the access crosses a page */
#define VMM_HINT_ALONE 4  /* does not rely on an earlier access to the same page */
#define VMM_HINT_TABLE 16 /* uses the tables, though the block has a space */
#define VMM_HINT_STRIKE 32 /* one of up to VMM_STRIKES that lead to VMM_HINT_TABLE */
#define VMM_STRIKES 7
#define VMM_HINT_FPU 8    /* the block relies on c->fpu_ready */
#define VMM_INSN_MEM 0x01   /* the r/m operand is memory */
#define VMM_INSN_O16 0x02   /* operand size is 16 bits */
#define VMM_INSN_A16 0x04   /* address size is 16 bits */
#define VMM_INSN_LOCK 0x08
#define VMM_INSN_REPNE 0x10 /* F2 */
#define VMM_INSN_REP 0x20   /* F3 */
#define VMM_INSN_END 0x40   /* ends a block: branch, or may change mode, mapping or attention */
#define VMM_INSN_66 0x80    /* an operand-size prefix stood there (SSE tables) */

/* ---- The virtual machine ---- */

struct VmmVm {
  uint64_t ram_size;
  uint8_t *ram; /* host mapping; page n of RAM at vmm_vm_ram_page () */
  int ram_fd;
  uint8_t *window; /* the same memory as the access tables know it; may be `ram` itself */
  bool holes;      /* accesses to the holes in the window end in SIGBUS */
  int uffd;
  uint8_t *aliases; /* slots for pages of the embedder's memory, and whose page is in which */
  uintptr_t *alias_of;
  uint32_t aliased;
  /* Per view and guest page: host address of the page, or VMM_PHYS_*. */
  uintptr_t *read_map[VMM_VIEWS], *write_map[VMM_VIEWS];
  uint8_t *page_flags; /* per guest page frame, VMM_PAGE_* */
  VmmVcpu *vcpu[8];
  unsigned vcpus;
};
#define VMM_ALIASES (1u << 15)
/* The address in the window for a host page of the physical map, or 0 if it must be reached by
   vmm_read_slow () and vmm_write_slow (). */
uintptr_t vmm_vm_window (VmmVm *vm, uintptr_t host);
/* SIGBUS at `address`: true if that was a page of RAM, which now is there. */
bool vmm_vm_window_repair (VmmVm *vm, uintptr_t address);
#define VMM_PHYS_MMIO ((uintptr_t) 0)
#define VMM_PHYS_IGNORE ((uintptr_t) 1)
#define VMM_PAGE_CODE 1  /* decoded or translated code was read from it: writes take the slow path */
#define VMM_PAGE_TRACK 2 /* dirty tracking */
#define VMM_PAGE_DIRTY 4

/* ---- Attention: why the loop must look up, checked at block ends ---- */

#define ATT_KICK 0x01u
#define ATT_INTR 0x02u /* INTR pin is high */
#define ATT_NMI 0x04u
#define ATT_SMI 0x08u
#define ATT_INIT 0x10u
#define ATT_APIC 0x20u  /* the local APIC has something deliverable */
#define ATT_A20 0x40u   /* the A20 pin changed */
#define ATT_FLUSH 0x80u /* the memory map changed: flush the TLB */
#define ATT_CODE 0x100u /* a device wrote into a code page: invalidate (list in block.c) */
#define ATT_IDLE 0x200u /* activity is not VMM_ACTIVE (vmm_halt): vmm_attend waits there */
#define ATT_SIPI 0x400u /* a startup message arrived: c->sipi_vector */

/* ---- The processor ---- */

/* Ways out of translated code, see engine.asm. */
enum {
  VMM_THUNK_SLOW,
  VMM_THUNK_MISS_READ,
  VMM_THUNK_MISS_WRITE,
  VMM_THUNK_TAIL,
  VMM_THUNK_EXIT,
  VMM_THUNK_INDIRECT,
  VMM_THUNK_BUDGET,
  VMM_THUNK_SEGMENT,
  VMM_THUNK_VERIFY,
  VMM_THUNK_XMM,
  VMM_THUNKS
};

typedef struct VmmEngine VmmEngine; /* engine.h */
typedef struct VmmSpace VmmSpace;   /* space.c */
typedef struct VmmSpaces VmmSpaces;
typedef struct VmmBlockCache VmmBlockCache; /* block.c */
typedef struct VmmApic VmmApic;             /* apic.c */

typedef struct {
  uint64_t instructions, blocks_decoded, blocks_invalidated, tlb_fills, tlb_flushes, faults,
      interrupts, exits[VMM_EXIT_REASONS], slow_reads, slow_writes;
  /* answered by callbacks */
  uint64_t fast_ins, fast_outs, fast_block_ins, fast_block_outs, posted_outs;
  uint64_t fast_mmio_reads, fast_mmio_writes, posted_mmio_writes;
  uint64_t synthetic; /* instructions of the additions */
  /* translator */
  uint64_t translations, translated_insns, translated_bytes, code_bytes, translate_ns, code_flushes,
      retranslations, enters, links, indirect, slow_calls, misses, tails, traps, kicks,
      table_traps, window_repairs, blocks_interpreted;
  uint64_t space_gains, space_losses, space_switches, space_faults;
} VmmCounters;

struct VmmVcpu {
  /* hot; ORDER: engine.asm */
  uint32_t gpr[9]; /* gpr[VMM_ZERO] is always 0 */
  uint32_t eip, eflags;
  _Atomic uint32_t attention;
  uint32_t alert; /* the bits of attention that could be served now: translated code comes back */
  uint32_t tail;  /* translated code: what it leaves to C, see VmmBack */
  uint64_t frame; /* translated code: rsp */
  void (*thunk[VMM_THUNKS]) (void);
  int64_t left;     /* counted: instructions left of the slice while translated code runs */
  uint32_t scratch_a, scratch_b; /* translated code: EAX while it has the flags; a value across an access */
  uint32_t cr0, cr4;
  bool fpu_ready;   /* x87 and MMX instructions may simply be executed by the host */
  bool if_free;     /* IF may simply be written: CPL <= IOPL, not v86 mode */
  uint8_t xmm;      /* VMM_XMM_*: where the XMM registers and MXCSR are */
  uint32_t alerts[2]; /* what `alert` is while IF is 0, and while it is 1 */

  /* FPU: architectural image; `live` while the x87/MMX part is in the host's registers (fpu.c) */
  struct {
    uint8_t fx[512] __attribute__ ((aligned (64))); /* FXSAVE layout */
    bool live;
    bool ferr;
    bool ignne;
    bool masked;       /* while live: all exceptions are masked, none can become pending */
    uint8_t held;      /* while live: pending exceptions kept aside because IGNNE# is asserted */
    uint32_t fip, fdp; /* while live: guest instruction and operand pointers */
    uint16_t fcs, fds;
    uint32_t fop;
    /* Left by translated code until C runs (vmm_fpu_resolve). */
    uint32_t note;  /* the instruction that fip, fcs and fop are of, as vmm_insn_offset; or 0 */
    uint8_t fds_of; /* segment whose selector fds is, plus 1; or 0 */
  } fpu;
  VmmSegment seg[VMM_SEGMENTS];
  uint8_t cpl;      /* 0 in real mode, 3 in v86 mode */
  bool user;        /* accesses are made with user rights: cpl == 3 */
  bool branched;    /* the handler set eip itself */
  bool code32;      /* CS.D, and not real/v86 unless so loaded */
  bool stack32;     /* SS.B */
  bool smm;
  uint8_t inhibit;  /* VMM_INHIBIT_*, cleared after the next instruction */
  bool stop_block;  /* leave the block after this instruction (mapping, code or mode changed) */
  uint64_t instructions;   /* retired */
  uint64_t slice_end;      /* value of `instructions` at which the loop has to look: budget, trace */
  uint64_t budget_end;     /* at which the budget ends */
  uint64_t left_end;       /* counted: at which `left` is 0 */
  VmmTables *tables[2];    /* [user] */
  VmmTables *now;          /* tables[user] as of the last boundary, for the flat handlers */

  /* system */
  uint32_t cr2, cr3, dr[8];
  uint32_t gdt_base, gdt_limit, idt_base, idt_limit;
  VmmSegment ldtr, tr;
  uint64_t pdptr[4];
  uint32_t a20_mask; /* ~0 or ~(1 << 20) */
  uint8_t activity;  /* VMM_ACTIVE ... */
  bool nmi_blocked;
  uint32_t smbase;
  uint64_t tsc_offset, apic_base, sysenter_cs, sysenter_esp, sysenter_eip;
  uint64_t mtrr_cap, mtrr_def_type, mtrr_fixed[11], mtrr_physbase[8], mtrr_physmask[8], pat;
  uint64_t debugctl, microcode, mcg_status, mc_ctl[5], mc_status[5];
  _Atomic uint32_t pins; /* VMM_PIN_*: levels of the input pins, to find edges */
  uint32_t debug_hits;   /* DR6 bits of data breakpoints hit by the instruction in progress */
  bool code_breakpoints; /* DR7 enables one: the loop asks vmm_code_breakpoint () */
  bool step;             /* TF was set when the instruction began and nothing took the trap away: the
                            loop sets it before, deliveries clear it, the loop looks at it after */
  uint8_t sipi_vector;
  VmmKnownSegment known[VMM_KNOWN_SEGMENTS]; /* by the selector's index */

  /* exceptions in progress, for #DF and triple faults */
  bool delivering;
  uint8_t delivering_vector;
  bool delivering_exception; /* not an INT n or external interrupt */
  bool external;             /* EXT bit for error codes of faults met now */
  struct {
    uint8_t vector;
    bool has_error;
    uint32_t error, cr2;
  } fault;
  jmp_buf on_fault; /* set by the loop; vmm_raise jumps there (uses __builtin or _setjmp) */

  /* parts */
  VmmVm *vm;
  VmmVcpuConfig config;
  VmmBlockCache *blocks;
  VmmEngine *engine; /* the translator; NULL if there is none */
  VmmSpaces *spaces; /* NULL if there are none */
  VmmSpace *space;   /* the current one, or NULL */
  uintptr_t host_gs; /* GS base of whoever executes */
  uint64_t space_trap; /* offset in the space of the access that trapped last, or VMM_NO_TRAP */
  bool space_trap_write;
  VmmApic *apic;
  VmmExit exit;
  uint8_t items[4096]; /* of string I/O exits */
  VmmCounters stat;

  /* co-routine */
  void *stack;        /* its own host stack, with a guard page */
  void *guest_rsp;    /* saved stack pointer of the co-routine, NULL before it was started */
  void *host_rsp;     /* of whoever called vmm_vcpu_execute */
  timer_t pace; /* vmm_vcpu_pace () */
  bool pacing;
  unsigned long thread_seen; /* pthread_self () of who ran it last */
  struct {
    uint64_t next;  /* value of `instructions` from which on config.trace is called */
    uint64_t points, ram_next;
  } trace;
  uint64_t random;    /* config.stress */
  bool stress_kicks;  /* the timer is that of VMM_STRESS_KICK */
  _Atomic bool kicked; /* ATT_KICK is not (only) the timer's */
  bool slice_ended;   /* VMM_EXIT_TIME_SLICE is one for the host */
  bool in_exit;       /* an exit waits to be resumed in the middle of an instruction */
  /* AddressSanitizer's record of both stacks (exit.c) */
  void *guest_fake_stack, *host_fake_stack;
  const void *host_stack_bottom;
  size_t host_stack_size;
};
#define VMM_XMM_MEMORY 0 /* c->fpu.fx */
#define VMM_XMM_HOST 1   /* the host's registers: in translated code that has used them */
#define VMM_XMM_AWAY 2   /* c->fpu.fx; whoever goes back to code puts them into the host's registers */
#define VMM_INHIBIT_STI 1
#define VMM_INHIBIT_SS 2
enum { VMM_ACTIVE = 0, VMM_HALTED = 1, VMM_SHUT_DOWN = 2, VMM_WAIT_SIPI = 3 };
#define VMM_PIN_NMI 1u
#define VMM_PIN_SMI 2u
#define VMM_PIN_INIT 4u
#define VMM_PIN_A20 8u

/* ---- Faults: never return ---- */

_Noreturn void vmm_raise (VmmVcpu *c, unsigned vector);                      /* no error code */
_Noreturn void vmm_raise_error (VmmVcpu *c, unsigned vector, uint32_t error); /* with one */
/* Gives the instruction up without a fault: events are looked for, then it begins anew. */
_Noreturn void vmm_restart (VmmVcpu *c);
#define VMM_RESTART 2 /* what _setjmp (c->on_fault) then returns; 1 for a fault */
#define vmm_ud(c) vmm_raise (c, EX_UD)
#define vmm_gp0(c) vmm_raise_error (c, EX_GP, 0)

/* ---- exit.c: the co-routine; returns when the host executes on ---- */

void vmm_leave (VmmVcpu *c, VmmExitReason reason); /* c->exit's other fields are set before */
/* Brings the image in c->fpu.fx up to date and leaves the host's x87 unit clean; before anything that
   reads the image, and before every return from vmm_vcpu_execute.  (fpu.c) */
void vmm_fpu_sync (VmmVcpu *c);
/* Around a callback of the configuration that may change what the processor sees: before it, a clean
   FPU; after it, what vmm_leave () does when it is resumed. */
static inline void
vmm_call (VmmVcpu *c)
{
  if (VMM_UNLIKELY (c->fpu.live))
    vmm_fpu_sync (c);
}
void vmm_called_slow (VmmVcpu *c);
static inline void
vmm_called (VmmVcpu *c)
{
  if (VMM_UNLIKELY (atomic_load_explicit (&c->attention, memory_order_relaxed)))
    vmm_called_slow (c);
}
void vmm_log (VmmVcpu *c, int level, const char *format, ...) __attribute__ ((format (printf, 3, 4)));

/* ---- execute.c: the loop ---- */

/* Runs guest code for ever, on the co-routine's stack; it leaves by vmm_leave () alone.  It
   - calls _setjmp (c->on_fault), and vmm_deliver_fault () whenever that returns again;
   - at an instruction boundary with c->attention: vmm_attend () (also finishes HLT);
   - with c->instructions >= c->slice_end: vmm_leave (c, VMM_EXIT_TIME_SLICE), at a boundary;
   - with c->code_breakpoints and no RF: raises #DB if vmm_code_breakpoint () gives DR6 bits;
   - sets c->step from EFLAGS.TF before an instruction; after it, if c->step or c->debug_hits and no
     MOV SS shadow: vmm_debug_trap (); clears EFLAGS.RF after an instruction other than IRET. */
_Noreturn void vmm_run (VmmVcpu *c);
/* c->instructions together with those of the running block: exact in the middle of an instruction. */
uint64_t vmm_retired (const VmmVcpu *c);

/* Sets bits of c->attention, and sees to it that translated code comes back.  [any thread,
   async-signal-safe]  (trap.c) */
void vmm_attention (VmmVcpu *c, uint32_t bits);
/* After anything that decides whether events may be taken: c->alert. */
void vmm_alert_changed (VmmVcpu *c);

/* ---- trap.c ---- */

VmmTables *vmm_tables_new (void);
void vmm_tables_free (VmmTables *t);
bool vmm_traps_install (void);
/* This thread runs c from now on (until it runs another, or NULL). */
VmmVcpu *vmm_traps_enter (VmmVcpu *c);
void vmm_traps_leave (VmmVcpu *before);
void vmm_pace_end (VmmVcpu *c);

/* Is there something to do before the next instruction? */
static inline bool
vmm_alerted (const VmmVcpu *c)
{
  return atomic_load_explicit (&c->attention, memory_order_relaxed) & c->alert;
}

/* ---- stress.c ---- */

/* Between two blocks of the translator, and when guest code is entered. */
void vmm_stress_block (VmmVcpu *c);
void vmm_stress_enter (VmmVcpu *c);

/* ---- trace.c ---- */

void vmm_trace_begin (VmmVcpu *c);
/* Calls config.trace. */
void vmm_trace_point (VmmVcpu *c);
/* slice_end from budget_end and trace.next. */
void vmm_trace_plan (VmmVcpu *c);

/* ---- jump.c ---- */

/* The page means other memory now: translated code that jumps there looks it up anew. */
void vmm_jump_forget (VmmVcpu *c, VmmTables *t, uint32_t page);
/* A page with decoded code has come into the tables. */
void vmm_jump_filled (VmmVcpu *c, VmmTables *t, uint32_t page, uint32_t frame);

/* ---- memory.c ---- */

/* Linear accesses that the TLB could not serve: walk, rights, A/D, MMIO, page crossing, code pages,
   data breakpoints.  `user`: with user rights (0 for implicit supervisor accesses).  size 1, 2, 4, 8. */
uint64_t vmm_read_slow (VmmVcpu *c, uint32_t linear, unsigned size, bool user);
void vmm_write_slow (VmmVcpu *c, uint32_t linear, uint64_t value, unsigned size, bool user);
/* Checks that `size` bytes could be written (all pages, rights; sets A and D as a write would), or
   raises.  Size at most 512. */
void vmm_probe_write (VmmVcpu *c, uint32_t linear, unsigned size, bool user);
void vmm_probe_read (VmmVcpu *c, uint32_t linear, unsigned size, bool user);
/* Bytes, any size up to 512, page crossing allowed. */
void vmm_read_bytes (VmmVcpu *c, uint32_t linear, void *to, unsigned size, bool user);
void vmm_write_bytes (VmmVcpu *c, uint32_t linear, const void *from, unsigned size, bool user);
/* Physical, A20 applied, MMIO by exits.  A host pointer got before an exit is stale after it. */
uint32_t vmm_phys_read (VmmVcpu *c, uint32_t address, unsigned size);
void vmm_phys_write (VmmVcpu *c, uint32_t address, uint32_t value, unsigned size);
/* Translation for instruction fetch: physical address of `linear` (rights of c->user), or raises.
   *host: where the rest of that page can be read, or NULL if it is MMIO. */
uint32_t vmm_fetch_address (VmmVcpu *c, uint32_t linear, const uint8_t **host);
/* Host pointer to `linear` if the TLB or a walk gives plain memory that may be read (written) to the
   end of its page; NULL if it must go through the slow functions.  May raise. For REP strings. */
uint8_t *vmm_host_for_read (VmmVcpu *c, uint32_t linear, bool user);
uint8_t *vmm_host_for_write (VmmVcpu *c, uint32_t linear, bool user);
/* Does what is written there go to memory, be it decoded code?  Raises what the write would. */
bool vmm_is_memory (VmmVcpu *c, uint32_t linear, bool user);
/* What the page tables say now of a page for user accesses, without changing them: false unless it
   may be read straight from RAM, its A bits being set. */
typedef struct {
  uint32_t phys, slot; /* physical page; page of the file that is RAM */
  bool write;          /* it may be written, too: rights, D, no code, not tracked */
  bool large;          /* it is a part of a page of 2 or 4 MiB */
} VmmPeek;
bool vmm_peek (VmmVcpu *c, uint32_t linear, VmmPeek *p);
void vmm_tlb_flush (VmmVcpu *c, bool global_too);
void vmm_tlb_flush_page (VmmVcpu *c, uint32_t linear);
/* Removes the write permission of a physical page from all TLB entries (it has code now). */
void vmm_tlb_protect (VmmVcpu *c, uint32_t page_address);
/* Loads PDPTRs from CR3 (PAE); raises #GP for reserved bits. */
void vmm_load_pdptr (VmmVcpu *c, uint32_t cr3);
/* Physical page tables and the like changed under the vCPU; data breakpoints changed. */
void vmm_watchpoints_changed (VmmVcpu *c);

/* ---- Segmented access ---- */

/* Raises #SS(0) for SS, else #GP(0). */
_Noreturn void vmm_segment_fault (VmmVcpu *c, VmmSegId s);
void vmm_alignment_check (VmmVcpu *c, uint32_t linear, unsigned size); /* raises #AC(0) if misaligned */

static inline bool
vmm_protected (const VmmVcpu *c)
{
  return (c->cr0 & CR0_PE) && !(c->eflags & FL_VM);
}

static inline bool
vmm_ac_on (const VmmVcpu *c)
{
  return VMM_UNLIKELY (c->eflags & FL_AC) && (c->cr0 & CR0_AM) && c->cpl == 3;
}

/* An operand may go past the end of a segment of 4 GiB: it goes on at the beginning. */
static inline bool
vmm_wraps (const VmmSegment *seg, unsigned can)
{
  return (seg->can & can) && seg->low == 0 && seg->high == 0xffffffffu;
}

static inline bool
vmm_is_flat (const VmmSegment *s)
{
  return s->base == 0 && s->low == 0 && s->high == 0xffffffffu
         && s->can == (VMM_CAN_READ | VMM_CAN_WRITE);
}

/* Linear address of an operand of `size` bytes after the segment's checks. */
static inline uint32_t
vmm_linear (VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned size, unsigned can)
{
  const VmmSegment *seg = &c->seg[s];
  uint32_t last = offset + size - 1;
  if (VMM_UNLIKELY (offset < seg->low || last > seg->high || last < offset || !(seg->can & can)))
    if (!vmm_wraps (seg, can))
      vmm_segment_fault (c, s);
  uint32_t linear = seg->base + offset;
  if (vmm_ac_on (c) && (linear & (size - 1)))
    vmm_alignment_check (c, linear, size);
  return linear;
}

/* Host address of `size` bytes that lie within one page and may be accessed directly, or NULL. */
static inline uint8_t *
vmm_direct (const uint64_t *table, uint32_t linear, unsigned size)
{
  uint64_t delta = table[linear >> 12];
  if (VMM_LIKELY ((int64_t) delta >= 0 && (linear & 0xfff) <= 4096 - size))
    return (uint8_t *) (uintptr_t) (delta + linear);
  return NULL;
}

#define VMM_ACCESSORS_(bits, type)                                                                 \
  static inline type vmm_read_linear##bits (VmmVcpu *c, uint32_t linear, bool user)                \
  {                                                                                                \
    const uint8_t *host = vmm_direct (c->tables[user]->read, linear, sizeof (type));               \
    if (VMM_LIKELY (host != NULL))                                                                 \
      {                                                                                            \
        type v;                                                                                    \
        memcpy (&v, host, sizeof v);                                                               \
        return v;                                                                                  \
      }                                                                                            \
    return (type) vmm_read_slow (c, linear, sizeof (type), user);                                  \
  }                                                                                                \
  static inline void vmm_write_linear##bits (VmmVcpu *c, uint32_t linear, type v, bool user)       \
  {                                                                                                \
    uint8_t *host = vmm_direct (c->tables[user]->write, linear, sizeof (type));                    \
    if (VMM_LIKELY (host != NULL))                                                                 \
      memcpy (host, &v, sizeof v);                                                                 \
    else                                                                                           \
      vmm_write_slow (c, linear, v, sizeof (type), user);                                          \
  }                                                                                                \
  /* segment:offset with the rights of the current privilege level */                              \
  static inline type vmm_read##bits (VmmVcpu *c, VmmSegId s, uint32_t offset)                      \
  {                                                                                                \
    return vmm_read_linear##bits (c, vmm_linear (c, s, offset, sizeof (type), VMM_CAN_READ),       \
                                  c->user);                                                        \
  }                                                                                                \
  static inline void vmm_write##bits (VmmVcpu *c, VmmSegId s, uint32_t offset, type v)             \
  {                                                                                                \
    vmm_write_linear##bits (c, vmm_linear (c, s, offset, sizeof (type), VMM_CAN_WRITE), v,         \
                            c->user);                                                              \
  }
VMM_ACCESSORS_ (8, uint8_t)
VMM_ACCESSORS_ (16, uint16_t)
VMM_ACCESSORS_ (32, uint32_t)
VMM_ACCESSORS_ (64, uint64_t)
#undef VMM_ACCESSORS_

/* Read-modify-write: opens an operand for writing (checks, faults as a write), reads it; then the
   value is put back with vmm_rmw_write, which cannot fault. */
typedef struct {
  uint8_t *host; /* plain memory, or NULL */
  uint32_t linear;
} VmmRmw;
uint32_t vmm_rmw_slow (VmmVcpu *c, uint32_t linear, unsigned size, VmmRmw *rmw);

static inline uint32_t
vmm_rmw_open (VmmVcpu *c, VmmSegId s, uint32_t offset, unsigned size, VmmRmw *rmw)
{
  uint32_t linear = vmm_linear (c, s, offset, size, VMM_CAN_WRITE);
  rmw->linear = linear;
  rmw->host = vmm_direct (c->tables[c->user]->write, linear, size);
  if (VMM_LIKELY (rmw->host != NULL))
    {
      uint32_t v = 0;
      memcpy (&v, rmw->host, size);
      return v;
    }
  return vmm_rmw_slow (c, linear, size, rmw);
}

static inline void
vmm_rmw_write (VmmVcpu *c, const VmmRmw *rmw, uint32_t value, unsigned size)
{
  if (VMM_LIKELY (rmw->host != NULL))
    memcpy (rmw->host, &value, size);
  else
    vmm_write_slow (c, rmw->linear, value, size, c->user);
}

/* ---- Decoding helpers ---- */

static inline uint32_t
vmm_ea (const VmmVcpu *c, const VmmInsn *i)
{
  uint32_t ea = c->gpr[i->base] + (c->gpr[i->index] << i->scale) + i->disp;
  return i->flags & VMM_INSN_A16 ? ea & 0xffff : ea;
}

static inline uint32_t
vmm_next_eip (const VmmVcpu *c, const VmmInsn *i)
{
  return c->eip + i->length; /* in 16-bit code too it goes past FFFF, into the segment's limit */
}

/* Near branch within CS: checks the limit (#GP(0)), sets eip. */
static inline void
vmm_branch (VmmVcpu *c, uint32_t eip)
{
  if (VMM_UNLIKELY (eip > c->seg[VMM_CS].limit))
    vmm_gp0 (c);
  c->eip = eip;
  c->branched = true;
}

/* ---- Stack: SS:ESP or SS:SP.  The *_at forms leave ESP alone. ---- */

static inline uint32_t
vmm_stack_mask (const VmmVcpu *c)
{
  return c->stack32 ? 0xffffffffu : 0xffffu;
}

static inline void
vmm_set_sp (VmmVcpu *c, uint32_t sp)
{
  uint32_t mask = vmm_stack_mask (c);
  c->gpr[VMM_ESP] = (c->gpr[VMM_ESP] & ~mask) | (sp & mask);
}

static inline void
vmm_push (VmmVcpu *c, uint32_t value, bool o16)
{
  uint32_t sp = (c->gpr[VMM_ESP] - (o16 ? 2 : 4)) & vmm_stack_mask (c);
  if (o16)
    vmm_write16 (c, VMM_SS, sp, (uint16_t) value);
  else
    vmm_write32 (c, VMM_SS, sp, value);
  vmm_set_sp (c, sp);
}

/* Value at the top plus `depth` bytes. */
static inline uint32_t
vmm_stack_at (VmmVcpu *c, uint32_t depth, bool o16)
{
  uint32_t sp = (c->gpr[VMM_ESP] + depth) & vmm_stack_mask (c);
  return o16 ? vmm_read16 (c, VMM_SS, sp) : vmm_read32 (c, VMM_SS, sp);
}

/* ---- segment.c, far.c ---- */

/* MOV/POP/LDS to a data segment register, all modes, all checks.  CS is not allowed here. */
void vmm_load_segment (VmmVcpu *c, VmmSegId s, uint16_t selector);
/* Real and v86 mode load: base = selector << 4; the limit is kept in real mode. */
void vmm_load_segment_real (VmmVcpu *c, VmmSegId s, uint16_t selector);
/* Fills a VmmSegment's low, high and can from flags and limit. */
void vmm_segment_update (VmmSegment *segment);
/* After CS, SS, CR0.PE, VM or CPL changed: code32, stack32, user and block key. */
void vmm_mode_changed (VmmVcpu *c);
/* next_eip: of the instruction after it, for task switches. */
void vmm_far_jump (VmmVcpu *c, uint16_t selector, uint32_t offset, bool o16, uint32_t next_eip);
void vmm_far_call (VmmVcpu *c, uint16_t selector, uint32_t offset, bool o16, uint32_t return_eip);
void vmm_far_return (VmmVcpu *c, uint32_t release, bool o16);
void vmm_iret (VmmVcpu *c, bool o16, uint32_t next_eip);
/* LAR, LSL, VERR, VERW, ARPL helpers: true and *value if the selector is visible. */
bool vmm_lar (VmmVcpu *c, uint16_t selector, uint32_t *value);
bool vmm_lsl (VmmVcpu *c, uint16_t selector, uint32_t *value);
bool vmm_verify (VmmVcpu *c, uint16_t selector, bool write);
void vmm_lldt (VmmVcpu *c, uint16_t selector);
void vmm_ltr (VmmVcpu *c, uint16_t selector);
void vmm_sysenter (VmmVcpu *c);
void vmm_sysexit (VmmVcpu *c);

/* ---- interrupt.c, task.c ---- */

/* INT n, INT3, INTO, INT1 (icebp) from instructions; return_eip is what is pushed. */
void vmm_software_interrupt (VmmVcpu *c, uint8_t vector, uint32_t return_eip, bool icebp);
/* INT3 (CC) and INTO: as INT n, but neither IOPL-sensitive nor redirected in v86 mode. */
void vmm_software_exception (VmmVcpu *c, uint8_t vector, uint32_t return_eip);
/* The HLT instruction: goes on at next_eip once woken. */
void vmm_halt (VmmVcpu *c, uint32_t next_eip);
/* Deliver c->fault (called by the loop after a longjmp); handles #DF and shutdown. */
void vmm_deliver_fault (VmmVcpu *c);
/* External interrupt or NMI with this vector at an instruction boundary. */
void vmm_external_interrupt (VmmVcpu *c, uint8_t vector, bool nmi);
/* #DB traps: single step, data breakpoints, task switch; `dr6` bits to set.  Takes c->debug_hits
   along.  Returns when it is delivered (or raises). */
void vmm_debug_trap (VmmVcpu *c, uint32_t dr6);
typedef enum { VMM_TASK_JUMP, VMM_TASK_CALL, VMM_TASK_IRET, VMM_TASK_GATE } VmmTaskSource;
/* Switches to the TSS of `selector`; next_eip is saved in the old one; error code is pushed on the new
   stack if has_error (exceptions through task gates). */
void vmm_task_switch (VmmVcpu *c, uint16_t selector, VmmTaskSource source, uint32_t next_eip,
                      bool has_error, uint32_t error);
/* DR6 bits of the code breakpoints at this linear address.  (system.c) */
uint32_t vmm_code_breakpoint (VmmVcpu *c, uint32_t linear);
/* I/O permission: notes I/O breakpoints; raises #GP(0) unless CPL <= IOPL (not v86) or the TSS bitmap allows. */
void vmm_check_io (VmmVcpu *c, uint16_t port, unsigned size);
/* IN and OUT after the check: by callbacks, or exits. */
uint32_t vmm_io_in (VmmVcpu *c, uint16_t port, unsigned size);
void vmm_io_out (VmmVcpu *c, uint16_t port, uint32_t value, unsigned size);

/* Called by the loop when attention is not 0, at an instruction boundary, before the instruction at
   c->eip: takes SMI, INIT, NMI, INTR, APIC in order of priority unless inhibited; returns true if
   state changed so that the block must be looked up anew. (attention.c) */
bool vmm_attend (VmmVcpu *c);

/* ---- system.c, msr.c ---- */

void vmm_set_cr0 (VmmVcpu *c, uint32_t value);
void vmm_set_cr3 (VmmVcpu *c, uint32_t value);
void vmm_set_cr4 (VmmVcpu *c, uint32_t value);
uint32_t vmm_read_dr (VmmVcpu *c, unsigned n);
void vmm_write_dr (VmmVcpu *c, unsigned n, uint32_t value);
void vmm_cpuid (VmmVcpu *c);
uint64_t vmm_read_msr (VmmVcpu *c, uint32_t index);               /* raises #GP(0) */
void vmm_write_msr (VmmVcpu *c, uint32_t index, uint64_t value); /* raises #GP(0) */
uint64_t vmm_tsc (VmmVcpu *c);
/* Replaces the EFLAGS bits in `mask` (what the instruction may write; for 16-bit operands without the
   high half) after dropping from it what the current privilege may not change: IOPL unless CPL 0, IF
   unless CPL <= IOPL.  VM, RF, VIF, VIP are replaced only if in `mask`. */
void vmm_set_eflags (VmmVcpu *c, uint32_t value, uint32_t mask);

/* ---- smm.c ---- */

void vmm_enter_smm (VmmVcpu *c);
void vmm_rsm (VmmVcpu *c); /* #UD outside SMM */

/* ---- apic.c ---- */

VmmApic *vmm_apic_new (VmmVcpu *c);
void vmm_apic_free (VmmApic *apic);
void vmm_apic_reset (VmmVcpu *c, bool init);
/* Register page accesses (offset within the page, aligned dword). */
uint32_t vmm_apic_read (VmmVcpu *c, uint32_t offset);
void vmm_apic_write (VmmVcpu *c, uint32_t offset, uint32_t value);
/* Is `address` in the enabled APIC page? */
static inline bool
vmm_apic_hit (const VmmVcpu *c, uint32_t address)
{
  return (c->apic_base & 0x800) && (address & ~0xfffu) == ((uint32_t) c->apic_base & ~0xfffu);
}
/* Highest deliverable vector, or -1; acknowledge moves it to service. */
int vmm_apic_pending (VmmVcpu *c);
void vmm_apic_acknowledge (VmmVcpu *c, uint8_t vector);
/* Does the INTR pin reach the processor (LVT0)?  [any thread] */
bool vmm_apic_passes_intr (VmmVcpu *c);
/* INTR was taken (an ExtINT message lets it pass once). */
void vmm_apic_intr_taken (VmmVcpu *c);
/* The INTR pin rose: LINT0 may be programmed as a fixed interrupt or NMI.  [any thread] */
void vmm_apic_lint0 (VmmVcpu *c);
void vmm_apic_get_state (VmmVcpu *c, VmmVcpuState *state);
const char *vmm_apic_set_state (VmmVcpu *c, const VmmVcpuState *state);

/* ---- fpu.c, mmx.c, sse.c, sse2.c: handlers; NULL where the opcode does not exist (#UD) ---- */

VmmHandler vmm_fpu_handler (uint8_t opcode, uint8_t modrm);   /* D8-DF */
/* 0F xx: MMX, SSE, SSE2 (whether it is configured or not), FXSAVE group (AE), EMMS, prefetch.
   prefix: 0, 0x66, 0xf2, 0xf3 (the mandatory one in force). */
VmmHandler vmm_simd_handler (uint8_t opcode, uint8_t modrm, uint8_t prefix);
/* Did it come with SSE2?  Where that is not configured it is for its handler, which raises #UD. */
bool vmm_is_sse2 (const VmmInsn *i);
void vmm_fwait (VmmVcpu *c, const VmmInsn *i);
/* After CR0 or the place of the registers changed: c->fpu_ready. */
static inline void
vmm_fpu_ready_changed (VmmVcpu *c)
{
  c->fpu_ready = c->fpu.live && c->fpu.masked && !(c->cr0 & (CR0_EM | CR0_TS));
}
void vmm_fpu_reset (VmmVcpu *c, bool init); /* RESET (or INIT: left as it is) */
/* Could a processor hold this image?  NULL, or what is wrong (static text). */
const char *vmm_fpu_check_image (const VmmVcpu *c, const uint8_t fx[512]);
/* Takes a checked image from a saved state; reserved fields become zero. */
void vmm_fpu_set_image (VmmVcpu *c, const uint8_t fx[512]);

/* ---- block.c ---- */

VmmBlockCache *vmm_blocks_new (VmmVcpu *c);
void vmm_blocks_free (VmmBlockCache *blocks);
/* (Called by vmm_attend for ATT_CODE: does what vmm_blocks_written_async noted.) */
void vmm_blocks_attend (VmmVcpu *c);
/* A write of the vCPU reaches physical bytes of a page with VMM_PAGE_CODE.  Drops decoded code that
   overlaps; sets c->stop_block if that may concern the running block. */
void vmm_blocks_written (VmmVcpu *c, uint32_t address, unsigned size);
void vmm_blocks_flush (VmmVcpu *c);
/* Bytes of a page, whose translations rely on them though they are not theirs. */
void vmm_blocks_peeked (VmmVcpu *c, uint32_t address, unsigned size);
/* The bytes of a page of code, or NULL if it is not plain memory. */
const uint8_t *vmm_code_bytes (VmmVcpu *c, uint32_t page_address);
/* The same from another thread: noted, done at the next attention. */
void vmm_blocks_written_async (VmmVcpu *c, uint32_t address, unsigned size);
