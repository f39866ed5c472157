/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual machine monitor's interface: a VM (physical memory) and its virtual processors, each a
 * co-routine that is executed until it needs its host.
 *
 *   VmmVm *vm = vmm_vm_new (256 << 20, &error);
 *   VmmVcpu *cpu = vmm_vcpu_new (vm, &config, &error);
 *   for (;;)
 *     switch (vmm_vcpu_execute (cpu, budget))
 *       {
 *       case VMM_EXIT_IO_IN:
 *         exit->value = port_read (exit->address, exit->size);
 *         break;
 *       ...
 *
 * The VMM is plain C and NASM.  It knows no device, no GLib and no configuration; whoever embeds it
 * answers its exits and callbacks.  Processor: Pentium III class (family 6), with local APIC.
 *
 * Threads: vmm_vcpu_execute and everything that takes a VmmVcpu is called by one thread at a time,
 * except the functions marked [any thread].  The memory map is changed only while no vCPU of the VM
 * executes guest code (that is, between exits, or from a callback or exit of that vCPU).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct VmmVm VmmVm;
typedef struct VmmVcpu VmmVcpu;

/* ---- The VM: guest-physical address space of 4 GiB, in pages of 4 KiB ---- */

#define VMM_PAGE_SIZE 4096u

typedef enum { VMM_VIEW_NORMAL = 0, VMM_VIEW_SMM = 1, VMM_VIEWS = 2 } VmmView;

/* RAM of `ram_size` bytes (multiple of 1 MiB, at most 3 GiB), allocated on demand.  Nothing is mapped
   at first.  NULL with *error (static text) set. */
VmmVm *vmm_vm_new (uint64_t ram_size, const char **error);
void vmm_vm_free (VmmVm *vm);
uint64_t vmm_vm_ram_size (const VmmVm *vm);
/* Host address of one page of RAM (offset within RAM); pages need not be neighbours on the host. */
void *vmm_vm_ram_page (VmmVm *vm, uint64_t offset);
/* Has the guest or host touched this page?  (For saving: untouched pages are zero.) */
bool vmm_vm_ram_touched (VmmVm *vm, uint64_t offset);
/* Give a page back to the host; it reads as zero. */
void vmm_vm_ram_discard (VmmVm *vm, uint64_t offset);

/* What reads, and what writes, of a range of pages reach.  Addresses and sizes are multiples of
   VMM_PAGE_SIZE.  Unmapped (MMIO) accesses exit with VMM_EXIT_MMIO_*. */
typedef enum {
  VMM_MAP_MMIO,   /* exits */
  VMM_MAP_RAM,    /* main memory at `ram_offset` */
  VMM_MAP_HOST,   /* memory of the embedder at `host`, contiguous (ROM, video memory) */
  VMM_MAP_IGNORE, /* writes are dropped without an exit; reads give all ones */
} VmmMapKind;
void vmm_vm_map_read (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind,
                      uint64_t ram_offset, const void *host);
void vmm_vm_map_write (VmmVm *vm, VmmView view, uint32_t first, uint64_t size, VmmMapKind kind,
                       uint64_t ram_offset, void *host);
/* Dirty tracking of mapped memory of the embedder: after vmm_vm_track (vm, first, size, true) the
   first write to each page since the last call of vmm_vm_take_dirty is noted. */
void vmm_vm_track (VmmVm *vm, uint32_t first, uint64_t size, bool on);
bool vmm_vm_take_dirty (VmmVm *vm, uint32_t page_address);

/* Device access to mapped memory (normal view), coherent with translated and decoded code.  Returns
   how many bytes from `address` on were done before the first byte that is MMIO; ignored writes count
   as done.  [any thread, but see the rule on the memory map] */
uint32_t vmm_vm_read (VmmVm *vm, uint32_t address, void *buffer, uint32_t size);
uint32_t vmm_vm_write (VmmVm *vm, uint32_t address, const void *buffer, uint32_t size);

/* ---- Virtual processors ---- */

/* What a callback made of an access. */
typedef enum {
  VMM_CALL_EXIT,   /* nothing: it takes an exit */
  VMM_CALL_DONE,   /* it is answered */
  VMM_CALL_POSTED, /* a write was queued; nothing that the processor could see has changed */
} VmmCall;
typedef enum {
  VMM_ENGINE_TRANSLATE, /* to code of the host, what is executed more than once */
  VMM_ENGINE_INTERPRET, /* one instruction after the other by its handler: the reference */
} VmmEngineKind;

/* When a program has a space, see space.c; 0 for the usual. */
typedef struct {
  uint32_t samples;  /* time slices that it must have used */
  uint32_t first;    /* pages that are mapped at once */
  uint32_t credit;   /* pages that it may lose, and traps that came too soon, before it loses all */
  uint64_t worth_ns; /* a trap that comes so long after the one before has paid for itself */
} VmmSpaceRules;

typedef struct VmmTraceState VmmTraceState;
typedef struct VmmTranslation VmmTranslation;

/* VmmVcpuConfig.stress */
#define VMM_STRESS_UNLINKED 1u /* the translator comes back, and looks for events, after each block */
#define VMM_STRESS_DROP 2u     /* between blocks access tables, jump tables or all code are forgotten */
#define VMM_STRESS_SHORT 4u    /* blocks of one instruction */
#define VMM_STRESS_MOVE 8u     /* between blocks code and access tables go to other host addresses */
#define VMM_STRESS_SPACES 64u /* every program has a space at once (VmmVcpuConfig.spaces) */
#define VMM_STRESS_UNDEFINED 32u /* flags that an instruction leaves undefined count as kept */
#define VMM_STRESS_KICK 16u    /* a timer kicks again and again; what it ends goes on by itself */

typedef struct {
  void *opaque; /* handed to the callbacks */
  VmmEngineKind engine;
  /* Slices are exact in instructions, and vmm_vcpu_instructions () too.  Else the translator does
     not count, a slice ends by a kick, and `budget` limits interpreted instructions alone. */
  bool counted;
  /* For tests of the translator.  precise_flags: the flags that a fault pushes are right even where
     the instruction would have overwritten them.  plain_host: as on a host without BMI2 and
     userfaultfd. */
  bool precise_flags, plain_host;
  bool spaces;         /* long-running user programs' memory is accessed by the host's MMU (space.c) */
  VmmSpaceRules space_rules; /* for tests */
  uint8_t heat;        /* executions of a block before it is translated */
  uint8_t stress;      /* VMM_STRESS_* */
  uint32_t code_cache; /* bytes, 0 for the usual */
  unsigned index; /* processor number; 0 is the bootstrap processor */
  uint64_t tsc_hz;
  bool apic;      /* CPUID reports a local APIC */
  bool sse2;      /* SSE2 and CLFLUSH exist, and denormals-are-zeros in MXCSR */
  bool additions; /* the synthetic instructions exist */
  uint64_t apic_bus_hz; /* clock of its timer */
  /* Time stamp counter now. */
  uint64_t (*read_tsc) (void *opaque);
  /* Virtual time in ns; the local APIC's timer wants vmm_vcpu_apic_timer () at `when` (INT64_MAX:
     no more). */
  int64_t (*now) (void *opaque);
  void (*set_timer) (void *opaque, int64_t when);
  /* The local APIC broadcasts an EOI of a level-triggered vector. */
  void (*apic_eoi) (void *opaque, uint8_t vector);
  /* FERR# changed (x87 error with CR0.NE = 0). */
  void (*ferr) (void *opaque, bool level);
  /* Accesses that are answered without an exit, from within the instruction; each may be NULL, and
     may decline any access.  They are called on the processor's own stack (VMM_STACK_SIZE, 1 MiB),
     with the host's x87 unit clean, and may do what is allowed between exits - set pins, change
     the memory map, kick - but for executing, resetting, and getting or setting state: the
     instruction is not at its end.  What they changed is seen by the next instruction. */
  VmmCall (*io_read) (void *opaque, uint16_t port, unsigned size, uint32_t *value);
  VmmCall (*io_write) (void *opaque, uint16_t port, unsigned size, uint32_t value);
  /* REP INS and OUTS: how many of `count` items were moved; 0: it takes an exit. */
  uint32_t (*io_read_block) (void *opaque, uint16_t port, unsigned size, void *items,
                             uint32_t count);
  uint32_t (*io_write_block) (void *opaque, uint16_t port, unsigned size, const void *items,
                              uint32_t count);
  /* Sizes and addresses as in the exits. */
  VmmCall (*mmio_read) (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t *value);
  VmmCall (*mmio_write) (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t value);
  /* A block of guest code was translated: for profilers and debuggers.  And: none of the code that
     was told of is where it was.  From within execution, or from what changes the state; either may
     be NULL. */
  void (*translated) (void *opaque, VmmVcpu *vcpu, const VmmTranslation *translation);
  void (*forgotten) (void *opaque);
  /* Diagnostics; level 0 error, 1 warning, 2 info, 3 guest error, 4 debug.  May be NULL. */
  void (*log) (void *opaque, int level, const char *text);
  /* Lockstep, where slices are counted; may be NULL.  Called between two instructions; returns at
     how many instructions it wants to be called next.  The translator then calls at the end of the
     block that reaches it, or, with trace_exact, exactly there, as the interpreter always does.  With
     state NULL: vmm_vcpu_execute () begins. */
  uint64_t (*trace) (void *trace_opaque, VmmVcpu *vcpu, const VmmTraceState *state);
  void *trace_opaque;
  bool trace_exact;
  uint64_t trace_ram; /* instructions from one checksum of RAM to the next; 0: none */
} VmmVcpuConfig;

VmmVcpu *vmm_vcpu_new (VmmVm *vm, const VmmVcpuConfig *config, const char **error);
void vmm_vcpu_free (VmmVcpu *vcpu);
/* RESET#: state after power on (CS:IP F000:FFF0 with base FFFF0000).  Drops a pending exit. */
void vmm_vcpu_reset (VmmVcpu *vcpu);

typedef enum {
  VMM_EXIT_TIME_SLICE,  /* budget used up, or kicked; at an instruction boundary */
  VMM_EXIT_IO_IN,       /* address = port, size; answer in value */
  VMM_EXIT_IO_OUT,      /* address = port, size, value */
  VMM_EXIT_IO_INS,      /* REP INS: address, size, count items wanted into items[]; set count to how
                           many were read (at least 1) */
  VMM_EXIT_IO_OUTS,     /* REP OUTS: count items in items[]; set count to how many were taken (>= 1) */
  VMM_EXIT_MMIO_READ,   /* address, size 1, 2 or 4 (not crossing a page); answer in value */
  VMM_EXIT_MMIO_WRITE,  /* address, size, value */
  VMM_EXIT_HLT,         /* halted: execute again once vmm_vcpu_runnable () */
  VMM_EXIT_INTA,        /* INTR is being taken: answer the 8259's vector in value */
  VMM_EXIT_SHUTDOWN,    /* triple fault */
  VMM_EXIT_DEBUG,       /* a host-requested stop (vmm_vcpu_step_limit) */
  VMM_EXIT_ADDITIONS_CALL, /* a synthetic instruction (additions.c): address = VMM_CALL_*; count =
                              ECX, value = EAX, high = EDX; answer in value, high, done */
  VMM_EXIT_REASONS
} VmmExitReason;

/* Synthetic instructions that the host answers: their last two bytes, the first one low. */
enum {
  VMM_CALL_GETINFO = 0x0000, /* the value of index `count`; done = false if there is none */
  VMM_CALL_SETINFO = 0x0100, /* sets it; done = false if it cannot be set */
  VMM_CALL_SPLAF = 0x0201,   /* someone else may use the time; nothing to answer */
};

typedef struct {
  VmmExitReason reason;
  uint32_t address;
  uint32_t size;  /* bytes of one item */
  uint32_t value;
  uint32_t count; /* items */
  uint32_t high;  /* of an additions call */
  bool done;      /* of an additions call */
  bool smm;       /* the access was made in system management mode */
  uint8_t *items; /* count * size bytes, owned by the vCPU */
} VmmExit;

/* The record of the exit in progress; answers are written here before executing on. */
VmmExit *vmm_vcpu_exit (VmmVcpu *vcpu);

/* Runs at most about `budget` instructions; returns why it stopped.  Guest state is kept, a second
   call goes on exactly there, in the middle of an instruction if that is where it stopped. */
VmmExitReason vmm_vcpu_execute (VmmVcpu *vcpu, uint64_t budget);
/* Makes execute return with VMM_EXIT_TIME_SLICE soon.  [any thread, async-signal-safe] */
void vmm_vcpu_kick (VmmVcpu *vcpu);
/* While it executes, vmm_vcpu_execute () returns at least so often, whatever the budget; 0: no more.
   For the thread that executes it. */
void vmm_vcpu_pace (VmmVcpu *vcpu, uint32_t us);
/* Is there something that ends HLT (or is it not halted)?  [any thread] */
bool vmm_vcpu_runnable (VmmVcpu *vcpu);
/* Instructions retired since reset of the count at creation. */
uint64_t vmm_vcpu_instructions (const VmmVcpu *vcpu);

/* Input pins.  [any thread] */
void vmm_vcpu_set_intr (VmmVcpu *vcpu, bool level);  /* level; from the 8259 */
void vmm_vcpu_set_nmi (VmmVcpu *vcpu, bool level);   /* rising edge */
void vmm_vcpu_set_smi (VmmVcpu *vcpu, bool level);   /* rising edge */
void vmm_vcpu_set_init (VmmVcpu *vcpu, bool level);  /* rising edge: INIT, no loss of memory */
void vmm_vcpu_set_a20 (VmmVcpu *vcpu, bool level);   /* true: A20 passes; takes effect at the next
                                                        instruction when set from an exit */
void vmm_vcpu_set_ignne (VmmVcpu *vcpu, bool level);

/* A message arrives on the APIC bus; returns whether this processor accepted it.  [any thread] */
typedef struct {
  uint8_t vector, delivery_mode, destination;
  bool logical, level;
} VmmApicMessage;
bool vmm_vcpu_apic_receive (VmmVcpu *vcpu, const VmmApicMessage *message);
/* The time set by set_timer has come. */
void vmm_vcpu_apic_timer (VmmVcpu *vcpu);

/* ---- Architectural state, for saving and tests ---- */

typedef struct {
  uint16_t selector, flags; /* flags: descriptor bits 8-15 and 20-23 in place (0xf0ff) */
  uint32_t base, limit;     /* limit in bytes */
} VmmSegmentState;

#define VMM_VCPU_STATE_VERSION 1
typedef struct {
  uint32_t version, size; /* VMM_VCPU_STATE_VERSION, sizeof */
  uint32_t gpr[8];        /* EAX ECX EDX EBX ESP EBP ESI EDI */
  uint32_t eip, eflags;
  VmmSegmentState segment[6]; /* ES CS SS DS FS GS */
  VmmSegmentState ldtr, tr;
  uint32_t gdt_base, gdt_limit, idt_base, idt_limit;
  uint32_t cr0, cr2, cr3, cr4, dr[8];
  uint32_t cpl, activity; /* activity: 0 active, 1 halted, 2 shut down, 3 wait for SIPI */
  uint32_t inhibit;       /* bit 0: STI shadow, bit 1: MOV SS shadow */
  uint32_t nmi_blocked, nmi_pending, smi_pending, init_pending, smm, smbase;
  uint32_t intr, a20, ignne, ferr;
  uint32_t sse2; /* the processor had it: software will have chosen by that */
  uint64_t pdptr[4];
  uint64_t tsc_offset, apic_base, sysenter_cs, sysenter_esp, sysenter_eip;
  uint64_t mtrr_cap, mtrr_def_type, mtrr_fixed[11], mtrr_physbase[8], mtrr_physmask[8], pat;
  uint64_t debugctl, microcode, mcg_status, mc_ctl[5], mc_status[5];
  uint8_t fx[512] __attribute__ ((aligned (16))); /* FXSAVE image as the guest would store it */
  struct {
    uint32_t id, tpr, ldr, dfr, svr, esr, esr_written, icr_low, icr_high, lvt[6];
    uint32_t timer_initial, timer_divide, isr[8], tmr[8], irr[8];
    int64_t timer_start; /* ns relative to now when saved */
    uint32_t lint0_touched, armed;
  } apic;
} VmmVcpuState;

/* Complete only at an instruction boundary: after VMM_EXIT_TIME_SLICE, HLT or SHUTDOWN.  Setting a
   state abandons an exit in progress, as reset does; neither may be called from a callback. */
void vmm_vcpu_get_state (VmmVcpu *vcpu, VmmVcpuState *state);
/* Refuses what no processor could hold; returns NULL, or what is wrong (static text). */
const char *vmm_vcpu_set_state (VmmVcpu *vcpu, const VmmVcpuState *state);

/* ---- Lockstep ---- */

/* What two runs of the same machine are compared by; all of it is filled in, so memcmp will do. */
struct VmmTraceState {
  uint64_t instructions;
  uint32_t gpr[8], eip, eflags;
  VmmSegmentState segment[6], ldtr, tr;
  uint32_t gdt_base, gdt_limit, idt_base, idt_limit;
  uint32_t cr0, cr2, cr3, cr4, dr6, dr7;
  uint8_t cpl, activity, inhibit, smm;
  uint8_t fx[32]; /* of the FXSAVE image: what comes before its registers, at every 64th point; else 0 */
  uint64_t fpu;   /* checksum of its registers */
  uint64_t ram; /* checksum of RAM, after each trace_ram instructions; else 0 */
};
/* Bytes of memory at a linear address, as far as the TLB knows its pages; returns how many.  Between
   exits, and from config.trace. */
uint32_t vmm_vcpu_peek (VmmVcpu *vcpu, uint32_t linear, void *bytes, uint32_t size);
/* Code and access tables of the translator go to other host addresses; false if the processor is in
   the middle of an instruction, or there is no translator, or no room. */
bool vmm_vcpu_relocate (VmmVcpu *vcpu);

/* ---- What the translator made ---- */

#define VMM_TRANSLATION_INSNS 48

/* A block of guest code, and the code of the host for it. */
struct VmmTranslation {
  uint32_t linear, eip; /* of its first instruction */
  bool code32;          /* CS.D */
  uint32_t count;       /* instructions */
  uint32_t guest_size;  /* bytes of them, in guest[] */
  const void *code;     /* where it is executed; from the first byte on */
  const void *aside;    /* what of it is seldom executed */
  uint32_t size;        /* bytes of both */
  uint32_t straight;    /* of the first */
  bool falls;           /* the first goes on with the code of another block, right behind it */
  struct {
    uint8_t length;  /* of the guest's instruction */
    uint16_t offset; /* where its code begins; what is before the first one checks the block */
  } insns[VMM_TRANSLATION_INSNS];
  uint8_t guest[VMM_TRANSLATION_INSNS * 15];
};

/* Between exits or from config.translated.  The next block that is translated now and has a byte at
   this linear address, *position being 0 at first; false if there are no more. */
bool vmm_vcpu_translation (VmmVcpu *vcpu, uint32_t linear, uint32_t *position,
                           VmmTranslation *translation);
/* Which block begins at this address of the host?  The same times. */
bool vmm_vcpu_code_linear (const VmmVcpu *vcpu, const void *code, uint32_t *linear);
/* What memory at this distance from a register of translated code is, if that register (its number)
   points to something of the VMM: static text, or NULL. */
const char *vmm_code_memory (unsigned host_register, int64_t distance);

/* ---- Counters ---- */

typedef struct {
  const char *name;
  uint64_t value;
} VmmStat;
/* Fills up to `max`, returns how many there are: VMM_STATS_MAX or fewer.  Last come by-handler.XXh,
   opcodes that the translator left to handlers, the most frequent first. */
#define VMM_STATS_MAX 640u
size_t vmm_vcpu_stats (const VmmVcpu *vcpu, VmmStat *stats, size_t max);
const char *vmm_exit_name (VmmExitReason reason);

#ifdef __cplusplus
}
#endif
