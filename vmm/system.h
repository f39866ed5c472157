/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the system half (segments, interrupts, tasks, SMM, state) share among
 * themselves. */
#pragma once

#include "vcpu.h"

/* CPUID's signature: family 6, model 8, stepping 3. */
#define VMM_SIGNATURE 0x683u
#define VMM_MTRR_CAP 0x508u /* 8 variable ranges, fixed ranges, write combining */

/* Bits that a Pentium III lets software set. */
#define VMM_CR0_WRITABLE                                                                           \
  (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define VMM_CR4_WRITABLE 0x7ffu

static inline bool
vmm_v86 (const VmmVcpu *c)
{
  return c->eflags & FL_VM;
}

/* ---- vcpu.c ---- */

void vmm_init_processor (VmmVcpu *c); /* INIT# */
void vmm_a20_update (VmmVcpu *c);     /* takes the pin's level over */

/* ---- segment.c: descriptors ---- */

typedef struct {
  uint32_t low, high;
  uint32_t address; /* linear, of its 8 bytes */
} VmmDescriptor;

static inline unsigned
vmm_desc_dpl (const VmmDescriptor *d)
{
  return d->high >> 13 & 3;
}

static inline unsigned
vmm_desc_type (const VmmDescriptor *d) /* with S: 0x00-0x1f */
{
  return d->high >> 8 & 0x1f;
}

static inline bool
vmm_desc_present (const VmmDescriptor *d)
{
  return d->high & 0x8000;
}

#define VMM_TYPE_TSS16 0x1u
#define VMM_TYPE_LDT 0x2u
#define VMM_TYPE_TSS16_BUSY 0x3u
#define VMM_TYPE_CALL16 0x4u
#define VMM_TYPE_TASK_GATE 0x5u
#define VMM_TYPE_INT16 0x6u
#define VMM_TYPE_TRAP16 0x7u
#define VMM_TYPE_TSS32 0x9u
#define VMM_TYPE_TSS32_BUSY 0xbu
#define VMM_TYPE_CALL32 0xcu
#define VMM_TYPE_INT32 0xeu
#define VMM_TYPE_TRAP32 0xfu

static inline bool
vmm_desc_is_code (const VmmDescriptor *d)
{
  return (d->high & 0x1800) == 0x1800;
}

static inline bool
vmm_desc_is_conforming (const VmmDescriptor *d)
{
  return vmm_desc_is_code (d) && (d->high & 0x400);
}

static inline bool
vmm_desc_is_writable_data (const VmmDescriptor *d)
{
  return (d->high & 0x1a00) == 0x1200;
}

/* False if the selector, which is not null, lies outside its table (or there is no LDT). */
bool vmm_descriptor_read (VmmVcpu *c, uint16_t selector, VmmDescriptor *d);
/* As above, but raises `vector` (selector) when it lies outside. */
void vmm_descriptor_fetch (VmmVcpu *c, uint16_t selector, unsigned vector, VmmDescriptor *d);
/* Sets the accessed bit of a code or data descriptor in its table, if it is not yet set. */
void vmm_descriptor_accessed (VmmVcpu *c, VmmDescriptor *d);
/* Sets or clears the busy bit of a TSS descriptor in its table. */
void vmm_descriptor_busy (VmmVcpu *c, const VmmDescriptor *d, bool busy);
/* The cached form; the selector's RPL is set to rpl. */
VmmSegment vmm_segment_from (const VmmDescriptor *d, uint16_t selector);
VmmSegment vmm_segment_null (uint16_t selector);
/* What v86 mode makes of a selector. */
VmmSegment vmm_segment_v86 (uint16_t selector);
static inline uint16_t
vmm_selector_rpl (uint16_t selector, unsigned rpl)
{
  return (uint16_t) ((selector & 0xfffc) | rpl);
}

/* ---- segment.c: what translated code asks (translate_system.c); leaves all registers alone ---- */

/* Loads a segment register but SS and CS; false if that is not as simple as that: nothing is done. */
uint32_t vmm_engine_segment (VmmVcpu *c, uint32_t selector, uint32_t s);
/* VERR, VERW: 0 or 1; 2 if it is for the handler. */
uint32_t vmm_engine_verify (VmmVcpu *c, uint32_t selector, uint32_t write);

/* ---- segment.c: stacks other than the current one ---- */

/* A stack that is being pushed to before SS:ESP are committed. */
typedef struct {
  VmmSegment ss;
  uint32_t sp, mask;
  bool user;
  uint32_t fault; /* error code of #SS when it overflows */
} VmmStack;
VmmStack vmm_stack_current (const VmmVcpu *c);
VmmStack vmm_stack_on (const VmmSegment *ss, uint32_t sp, unsigned cpl, uint32_t fault);
void vmm_stack_push (VmmVcpu *c, VmmStack *stack, uint32_t value, bool o16);
/* SS and ESP become those of `stack` (the selector and CPL are the caller's business). */
void vmm_stack_commit (VmmVcpu *c, const VmmStack *stack);
/* Reads SSn:ESPn of the TSS and checks SSn as a stack for privilege `cpl` (#TS). */
VmmStack vmm_stack_inner (VmmVcpu *c, unsigned cpl);

/* ---- interrupt.c, attention.c ---- */

void vmm_shut_down (VmmVcpu *c);

/* ---- task.c ---- */

/* The busy or available TSS of a task gate's or far transfer's selector. */
static inline bool
vmm_is_tss32 (const VmmSegment *tr)
{
  return tr->flags & 8;
}

/* ---- smm.c, state.c: the part of a state that has rules of its own; NULL or what is wrong ---- */

const char *vmm_check_control (uint32_t cr0, uint32_t cr4);
