/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The silicon test: random sequences of Pentium III and SSE2 instructions on the processor of the
 * host and on ours.  See README.md; the parts are
 *
 *   silicon.c            options, comparison, report
 *   silicon-explain.c    the differences that are no faults of ours
 *   silicon-generate.c   makes the cases, with silicon-units.c, silicon-sse2.c, silicon-values.c
 *   silicon-native.c     runs them on the host, with silicon-native.asm
 *   silicon-vmm.c        runs them through vmm.h
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Linear addresses, the same on both sides; far apart, shifted by a bit too ---- */

#define CODE(area) (0x5a4b0000u + (area) *0x01000000u) /* two areas: one is run while one is made */
#define CODE_SIZE 0x10000u
#define SLOT_SIZE 256u
/* Slot n lies across a multiple of 256, so that some lie across the ends of pages; the last is cut
   off by the end of the area. */
#define SLOT(n) ((n) * SLOT_SIZE + SLOT_SIZE / 2)
#define RETURN 0x61d35000u /* a page with the way back */
/* Eight pages: 0 missing, 1 and 2 writable, 3 missing, 4 read-only, 5 writable, 6 read-only,
   7 missing. */
#define DATA 0x2e7c0000u
#define DATA_PAGES 8
/* x87 and FXSAVE images, in the last KiB of a page; the page after it is missing. */
#define IMAGE 0x38a90000u
#define IMAGE_WINDOW 1024u
#define IMAGE_START (IMAGE + 4096u - IMAGE_WINDOW)

#define ARITHMETIC_FLAGS 0x8d5u

#define OUR_STACK 0xffe03000u /* of our side's kernel */

#define BATCH (CODE_SIZE / SLOT_SIZE)
#define MAX_INSNS 12

/* Selectors: the host's flat ones, and an LDT that both sides make. */
#define SEL_CODE32 0x23u
#define SEL_FLAT 0x2bu
enum {
  LDT_DATA,    /* base DATA, 32 KiB */
  LDT_ODD,     /* base DATA + 1000, limit 1FFB */
  LDT_RO,      /* base DATA, 32 KiB, not writable */
  LDT_DOWN,    /* base DATA, expand-down from 17FF */
  LDT_STACK16, /* base DATA, 32 KiB, a 16-bit stack */
  LDT_CODE16_0,
  LDT_CODE16_1,
  LDT_COUNT
};
#define SEL_LDT(n) ((uint16_t) ((n) << 3 | 7))
typedef struct {
  uint32_t base, limit; /* in bytes */
  bool big, readonly, down, code;
} LdtEntry;
extern const LdtEntry ldt_entries[LDT_COUNT];

typedef struct {
  uint8_t bytes[40];
  uint8_t length;
  uint8_t patch;    /* PATCH_*: a target is put at `at` */
  uint8_t at;
  uint8_t target;   /* index of an instruction */
} Insn;
enum { PATCH_NONE, PATCH_REL8, PATCH_REL16, PATCH_REL32, PATCH_ABS16, PATCH_ABS32 };

enum { IMAGE_ENV16, IMAGE_ENV32, IMAGE_FX };

typedef struct {
  uint32_t gpr[8], eflags;
  uint16_t cs, ds, es, ss, gs;
  uint16_t start;  /* offset of the code in its area */
  bool code16;
  uint8_t count;   /* instructions */
  uint8_t fx[512]; /* before */
  Insn insn[MAX_INSNS];
  uint16_t offset[MAX_INSNS + 1]; /* from the start, of the last emission */
  /* where FSAVE and the like write what differs between processors */
  uint8_t images;
  struct {
    uint8_t kind;
    uint32_t address;
  } image[MAX_INSNS];
} Case;

#define LINE 64u
#define MAX_LINES 12
#define VECTOR_END 0x100u /* the sequence came to its end */

typedef struct {
  uint32_t gpr[8], eflags, eip, vector, error, cr2;
  uint16_t cs, ds, es, ss, gs, lines;
  uint32_t checksum;
  uint8_t fx[512];
  struct {
    uint32_t where;
    uint8_t bytes[LINE];
  } line[MAX_LINES];
  uint8_t image[IMAGE_WINDOW];
} Result;

/* Shared between the two processes. */
typedef struct {
  uint32_t count;
  volatile uint32_t current;
  uint8_t memory[DATA_PAGES * 4096]; /* what the data pages hold before each case */
  uint8_t image[IMAGE_WINDOW];
  Case cases[BATCH];
  Result native[BATCH];
} Batch;

/* ---- silicon-generate.c ---- */

/* Kinds of instructions, and which are made. */
enum { KIND_INTEGER, KIND_X87, KIND_MMX, KIND_SSE, KIND_SSE2, KIND_FLOW, KIND_SYSTEM, KINDS };
typedef struct {
  uint64_t seed;
  unsigned kinds;  /* bit n: KIND_n */
  unsigned length; /* at most so many instructions in a sequence */
} Options;
/* Batch `number` of the run. */
void silicon_generate (Batch *batch, const Options *options, uint64_t number, unsigned area);
/* Writes the first `count` instructions and the end, a far jump to the way back, into a copy of the
   code area (CODE_SIZE bytes); the rest of the slot is filled. */
void silicon_emit (Case *k, unsigned slot, unsigned count, unsigned area, uint8_t *code);

/* ---- memory, shared by both sides (silicon.c) ---- */

/* The child knows more than the sanitizers do: a stack that a signal handler leaves, low memory. */
#define PLAIN __attribute__ ((no_sanitize ("address", "undefined")))

static inline PLAIN void
copy_plain (void *to, const void *from, size_t size)
{
  __asm__ volatile ("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* Writable pages of DATA, in the order of the pointers given to memory_take. */
#define RW_PAGES 3
extern const uint8_t rw_pages[RW_PAGES];
/* Notes in *r which lines differ from the template, and makes them equal to it. */
void memory_take (Result *r, uint8_t *const pages[RW_PAGES], const uint8_t *memory);

/* ---- silicon-explain.c ---- */

/* Takes the differences away that README.md explains; `code` is the area's. */
void silicon_explain (const Case *k, Result *native, Result *ours, unsigned area,
                      const uint8_t *code);
/* Where the host faulted in an instruction that ours may go past: the number of instructions up to
   and with it, for another run of ours that stops there; else 0. */
unsigned silicon_passed_fault (const Case *k, const Result *native, const Result *ours,
                               unsigned area, const uint8_t *code);

/* The index of a repeated comparison that both sides left between two rounds with other flags (the
   host's are those of the last round), for a run of ours that ends before it: ours have to be those
   that were there.  k->count if there is none. */
unsigned silicon_comparison (const Case *k, const Result *native, const Result *ours, unsigned area,
                             const uint8_t *code);
void silicon_explain_comparison (Result *native, const Result *ours, const Result *before);

/* ---- silicon-native.c ---- */

#define SEL_RETURN 0x33u /* the host's 64-bit code */

/* What the host is, as far as the manual leaves things to the maker. */
typedef struct {
  bool amd;
  bool guest; /* the host is itself a virtual machine */
  uint32_t mxcsr_mask;
} Host;
const Host *native_host (void);

/* NULL, or why the host cannot do it. */
const char *native_start (Batch *batches[2], uint8_t *code[2]);
/* What the host has in the page at RETURN. */
const uint8_t *native_return_page (void);
void native_begin (unsigned area); /* runs the batch of the area in the other process */
/* Until all that was begun is done; false: the process died, batch->current says where. */
bool native_wait (void);
void native_stop (void);

/* ---- silicon-vmm.c ---- */

/* uncounted: as machines in real time run, see README.md. */
void ours_start (bool uncounted);
/* Does it note x87 pointers of each instruction? */
bool ours_has_pointers (void);
void ours_prepare (const Batch *batch, unsigned area); /* memory and code of a batch */
void ours_code (unsigned area, unsigned slot, const uint8_t *code);
void ours_run (const Batch *batch, unsigned area, unsigned n, Result *r);
void ours_stop (void);
