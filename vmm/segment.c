/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segment registers and descriptors (Intel SDM vol. 3 chapters 3 and 5): reading descriptors with
 * the checks that every user of them shares, loads of data and stack segments, LDTR and TR, and
 * what LAR, LSL, VERR and VERW may see.
 *
 * A VmmSegment is the hidden part of a segment register.  low, high and can are derived from flags
 * and limit by vmm_segment_update (), so that an access costs two compares and a test.
 *
 * In real mode a load changes selector and base alone and keeps limit, D/B and G ("unreal" mode);
 * in v86 mode it makes a 64 KiB segment of privilege 3.
 */
#include "engine.h"
#include "system.h"

/* ---- Cached segments ---- */

/* low, high and can; false if they do not allow every offset up to the limit. */
static bool
update_range (VmmSegment *s)
{
  s->low = 0;
  s->high = s->limit;
  s->can = 0;
  if (!(s->flags & SEG_P) || !(s->flags & SEG_S))
    return false;
  if (s->flags & SEG_CODE)
    {
      s->can = s->flags & SEG_RW ? VMM_CAN_READ : 0;
      return true;
    }
  s->can = VMM_CAN_READ | (s->flags & SEG_RW ? VMM_CAN_WRITE : 0);
  if (!(s->flags & SEG_EC))
    return true;
  uint32_t top = s->flags & SEG_DB ? 0xffffffffu : 0xffffu;
  if (s->limit >= top)
    {
      s->low = 1;
      s->high = 0;
    }
  else
    {
      s->low = s->limit + 1;
      s->high = top;
    }
  return false;
}

void
vmm_segment_update (VmmSegment *s)
{
  bool simple = update_range (s);
  /* An operand may go past the end of a segment of 4 GiB. */
  uint64_t end = !simple ? 0 : s->high == 0xffffffffu ? UINT64_MAX : s->high + 1ull;
  s->read_end = s->can & VMM_CAN_READ ? end : 0;
  s->write_end = s->can & VMM_CAN_WRITE ? end : 0;
}

void
vmm_mode_changed (VmmVcpu *c)
{
  c->user = c->cpl == 3;
  c->code32 = c->seg[VMM_CS].flags & SEG_DB;
  c->stack32 = c->seg[VMM_SS].flags & SEG_DB;
  c->stop_block = true;
}

VmmSegment
vmm_segment_from (const VmmDescriptor *d, uint16_t selector)
{
  VmmSegment s = {
    .base = d->low >> 16 | (d->high & 0xff) << 16 | (d->high & 0xff000000u),
    .limit = (d->low & 0xffff) | (d->high & 0xf0000),
    .selector = selector,
    .flags = d->high >> 8 & 0xf0ff,
  };
  if (s.flags & SEG_G)
    s.limit = s.limit << 12 | 0xfff;
  vmm_segment_update (&s);
  return s;
}

VmmSegment
vmm_segment_null (uint16_t selector)
{
  return (VmmSegment){ .selector = selector, .low = 1 };
}

VmmSegment
vmm_segment_v86 (uint16_t selector)
{
  VmmSegment s = {
    .base = (uint32_t) selector << 4,
    .limit = 0xffff,
    .selector = selector,
    .flags = SEG_P | SEG_DPL | SEG_S | SEG_RW | SEG_A,
  };
  vmm_segment_update (&s);
  return s;
}

/* What real mode makes of it: limit, D/B and G stay. */
static VmmSegment
segment_real (const VmmSegment *old, uint16_t selector)
{
  VmmSegment s = *old;
  s.selector = selector;
  s.base = (uint32_t) selector << 4;
  s.flags = (s.flags & 0xf000) | SEG_P | SEG_S | SEG_RW | SEG_A;
  vmm_segment_update (&s);
  return s;
}

void
vmm_segment_fault (VmmVcpu *c, VmmSegId s)
{
  vmm_raise_error (c, s == VMM_SS ? EX_SS : EX_GP, 0);
}

void
vmm_alignment_check (VmmVcpu *c, uint32_t linear, unsigned size)
{
  /* Only operands of a natural size have an alignment: not 10-byte reals, 512-byte images. */
  if (size == 2 || size == 4 || size == 8 || size == 16)
    vmm_raise_error (c, EX_AC, 0);
}

/* ---- Descriptors ---- */

bool
vmm_descriptor_read (VmmVcpu *c, uint16_t selector, VmmDescriptor *d)
{
  uint32_t offset = selector & 0xfff8u, base = c->gdt_base, limit = c->gdt_limit;
  if (selector & 4)
    {
      if (!(c->ldtr.flags & SEG_P))
        return false;
      base = c->ldtr.base;
      limit = c->ldtr.limit;
    }
  if (offset + 7 > limit)
    return false;
  d->address = base + offset;
  uint64_t v = vmm_read_linear64 (c, d->address, false);
  d->low = (uint32_t) v;
  d->high = (uint32_t) (v >> 32);
  return true;
}

void
vmm_descriptor_fetch (VmmVcpu *c, uint16_t selector, unsigned vector, VmmDescriptor *d)
{
  if (!vmm_descriptor_read (c, selector, d))
    vmm_raise_error (c, vector, selector & 0xfffc);
}

void
vmm_descriptor_accessed (VmmVcpu *c, VmmDescriptor *d)
{
  if (d->high & 0x100)
    return;
  d->high |= 0x100;
  vmm_write_linear8 (c, d->address + 5, (uint8_t) (d->high >> 8), false);
}

void
vmm_descriptor_busy (VmmVcpu *c, const VmmDescriptor *d, bool busy)
{
  uint8_t type = (uint8_t) (d->high >> 8);
  vmm_write_linear8 (c, d->address + 5, busy ? type | 2 : type & 0xfd, false);
}

/* ---- Known segments ---- */

/* The descriptor of a selector of the GDT, if the access tables lead to it; 0 if not. */
static uint64_t
gdt_word (VmmVcpu *c, uint16_t selector)
{
  uint64_t v;
  uint32_t offset = selector & 0xfff8u, linear = c->gdt_base + offset;
  if ((selector & 4) || offset + 7 > c->gdt_limit)
    return 0;
  const uint8_t *host = vmm_direct (c->tables[0]->read, linear, sizeof v);
  if (!host)
    return 0;
  memcpy (&v, host, sizeof v);
  return v;
}

/* What a load of this selector, which is not null, gives; NULL if that is not known at once. */
static const VmmSegment *
known_segment (VmmVcpu *c, uint16_t selector)
{
  const VmmKnownSegment *known = &c->known[(selector >> 3) % VMM_KNOWN_SEGMENTS];
  if (known->segment.selector != selector || known->cpl != c->cpl || !known->descriptor
      || gdt_word (c, selector) != known->descriptor)
    return NULL;
  return &known->segment;
}

/* A load of it has succeeded. */
static void
note_segment (VmmVcpu *c, uint16_t selector, const VmmDescriptor *d, const VmmSegment *segment)
{
  if (selector & 4)
    return;
  c->known[(selector >> 3) % VMM_KNOWN_SEGMENTS]
      = (VmmKnownSegment){ (uint64_t) d->high << 32 | d->low, c->cpl, *segment };
}

/* Would the block's key be another one? */
static bool
changes_flatness (const VmmVcpu *c, VmmSegId s, const VmmSegment *to)
{
  return (s == VMM_DS || s == VMM_ES) && vmm_is_flat (to) != vmm_is_flat (&c->seg[s]);
}

uint32_t
vmm_engine_segment (VmmVcpu *c, uint32_t selector, uint32_t s)
{
  VmmSegment made;
  const VmmSegment *to = &made;
  vmm_left_code (c);
  if (!vmm_protected (c))
    {
      made = vmm_v86 (c) ? vmm_segment_v86 ((uint16_t) selector)
                         : segment_real (&c->seg[s], (uint16_t) selector);
    }
  else if (!(selector & 0xfffc))
    made = vmm_segment_null ((uint16_t) selector);
  else if (!(to = known_segment (c, (uint16_t) selector)))
    return false;
  if (changes_flatness (c, s, to))
    return false;
  c->seg[s] = *to;
  return true;
}

uint32_t
vmm_engine_verify (VmmVcpu *c, uint32_t selector, uint32_t write)
{
  if (!vmm_protected (c) || !gdt_word (c, (uint16_t) selector))
    return 2;
  return vmm_verify (c, (uint16_t) selector, write);
}

/* ---- Loads ---- */

void
vmm_load_segment_real (VmmVcpu *c, VmmSegId s, uint16_t selector)
{
  c->seg[s] = vmm_v86 (c) ? vmm_segment_v86 (selector) : segment_real (&c->seg[s], selector);
}

static void
load_stack_segment (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    vmm_gp0 (c);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if ((selector & 3) != c->cpl || !vmm_desc_is_writable_data (&d) || vmm_desc_dpl (&d) != c->cpl)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_SS, error);
  vmm_descriptor_accessed (c, &d);
  c->seg[VMM_SS] = vmm_segment_from (&d, selector);
  if (c->stack32 != !!(c->seg[VMM_SS].flags & SEG_DB))
    vmm_mode_changed (c);
}

void
vmm_load_segment (VmmVcpu *c, VmmSegId s, uint16_t selector)
{
  VmmDescriptor d;
  const VmmSegment *known;
  uint16_t error = selector & 0xfffc;
  if (!vmm_protected (c))
    vmm_load_segment_real (c, s, selector);
  else if (s == VMM_SS)
    load_stack_segment (c, selector);
  else if (!error)
    c->seg[s] = vmm_segment_null (selector);
  else if ((known = known_segment (c, selector)))
    c->seg[s] = *known;
  else
    {
      vmm_descriptor_fetch (c, selector, EX_GP, &d);
      bool readable = (d.high & 0x1000) && (!(d.high & 0x800) || (d.high & 0x200));
      if (!readable)
        vmm_raise_error (c, EX_GP, error);
      unsigned dpl = vmm_desc_dpl (&d);
      if (!vmm_desc_is_conforming (&d) && ((selector & 3u) > dpl || c->cpl > dpl))
        vmm_raise_error (c, EX_GP, error);
      if (!vmm_desc_present (&d))
        vmm_raise_error (c, EX_NP, error);
      vmm_descriptor_accessed (c, &d);
      c->seg[s] = vmm_segment_from (&d, selector);
      note_segment (c, selector, &d, &c->seg[s]);
    }
}

void
vmm_lldt (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    {
      c->ldtr = vmm_segment_null (selector);
      return;
    }
  if (selector & 4)
    vmm_raise_error (c, EX_GP, error);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if (vmm_desc_type (&d) != VMM_TYPE_LDT)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  c->ldtr = vmm_segment_from (&d, selector);
}

void
vmm_ltr (VmmVcpu *c, uint16_t selector)
{
  VmmDescriptor d;
  uint16_t error = selector & 0xfffc;
  if (!error)
    vmm_gp0 (c);
  if (selector & 4)
    vmm_raise_error (c, EX_GP, error);
  vmm_descriptor_fetch (c, selector, EX_GP, &d);
  if (vmm_desc_type (&d) != VMM_TYPE_TSS16 && vmm_desc_type (&d) != VMM_TYPE_TSS32)
    vmm_raise_error (c, EX_GP, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_NP, error);
  vmm_descriptor_busy (c, &d, true);
  d.high |= 0x200;
  c->tr = vmm_segment_from (&d, selector);
}

/* ---- What a selector lets one see ---- */

/* The descriptor if the selector is within its table and its privilege is enough. */
static bool
visible (VmmVcpu *c, uint16_t selector, VmmDescriptor *d)
{
  if (!(selector & 0xfffc) || !vmm_descriptor_read (c, selector, d))
    return false;
  if (vmm_desc_is_conforming (d))
    return true;
  return vmm_desc_dpl (d) >= c->cpl && vmm_desc_dpl (d) >= (selector & 3u);
}

bool
vmm_lar (VmmVcpu *c, uint16_t selector, uint32_t *value)
{
  /* System types that have rights to load: TSSs, LDT, call gates, task gate. */
  const uint16_t types = 1u << VMM_TYPE_TSS16 | 1u << VMM_TYPE_LDT | 1u << VMM_TYPE_TSS16_BUSY
                         | 1u << VMM_TYPE_CALL16 | 1u << VMM_TYPE_TASK_GATE | 1u << VMM_TYPE_TSS32
                         | 1u << VMM_TYPE_TSS32_BUSY | 1u << VMM_TYPE_CALL32;
  VmmDescriptor d;
  if (!visible (c, selector, &d))
    return false;
  if (!(d.high & 0x1000) && !(types >> vmm_desc_type (&d) & 1))
    return false;
  *value = d.high & 0x00ffff00; /* the limit's bits too, as the silicon does */
  return true;
}

bool
vmm_lsl (VmmVcpu *c, uint16_t selector, uint32_t *value)
{
  const uint16_t types = 1u << VMM_TYPE_TSS16 | 1u << VMM_TYPE_LDT | 1u << VMM_TYPE_TSS16_BUSY
                         | 1u << VMM_TYPE_TSS32 | 1u << VMM_TYPE_TSS32_BUSY;
  VmmDescriptor d;
  if (!visible (c, selector, &d))
    return false;
  if (!(d.high & 0x1000) && !(types >> vmm_desc_type (&d) & 1))
    return false;
  *value = vmm_segment_from (&d, selector).limit;
  return true;
}

bool
vmm_verify (VmmVcpu *c, uint16_t selector, bool write)
{
  VmmDescriptor d;
  if (!visible (c, selector, &d) || !(d.high & 0x1000))
    return false;
  if (write)
    return vmm_desc_is_writable_data (&d);
  return !vmm_desc_is_code (&d) || (d.high & 0x200);
}

/* ---- Stacks under construction ---- */

VmmStack
vmm_stack_current (const VmmVcpu *c)
{
  return (VmmStack){
    .ss = c->seg[VMM_SS],
    .sp = c->gpr[VMM_ESP],
    .mask = vmm_stack_mask (c),
    .user = c->user,
  };
}

VmmStack
vmm_stack_on (const VmmSegment *ss, uint32_t sp, unsigned cpl, uint32_t fault)
{
  return (VmmStack){
    .ss = *ss,
    .sp = sp,
    .mask = ss->flags & SEG_DB ? 0xffffffffu : 0xffffu,
    .user = cpl == 3,
    .fault = fault,
  };
}

void
vmm_stack_push (VmmVcpu *c, VmmStack *stack, uint32_t value, bool o16)
{
  uint32_t size = o16 ? 2 : 4, sp = (stack->sp - size) & stack->mask, last = sp + size - 1;
  const VmmSegment *ss = &stack->ss;
  if (sp < ss->low || last > ss->high || last < sp || !(ss->can & VMM_CAN_WRITE))
    if (!vmm_wraps (ss, VMM_CAN_WRITE))
      vmm_raise_error (c, EX_SS, stack->fault);
  if (stack->user && vmm_ac_on (c) && ((ss->base + sp) & (size - 1)))
    vmm_alignment_check (c, ss->base + sp, size);
  if (o16)
    vmm_write_linear16 (c, ss->base + sp, (uint16_t) value, stack->user);
  else
    vmm_write_linear32 (c, ss->base + sp, value, stack->user);
  stack->sp = (stack->sp & ~stack->mask) | sp;
}

void
vmm_stack_commit (VmmVcpu *c, const VmmStack *stack)
{
  c->seg[VMM_SS] = stack->ss;
  c->gpr[VMM_ESP] = stack->sp;
}

VmmStack
vmm_stack_inner (VmmVcpu *c, unsigned cpl)
{
  VmmDescriptor d;
  uint32_t sp, at = vmm_is_tss32 (&c->tr) ? 4 + cpl * 8 : 2 + cpl * 4;
  uint16_t selector;
  if (at + (vmm_is_tss32 (&c->tr) ? 5 : 3) > c->tr.limit)
    vmm_raise_error (c, EX_TS, c->tr.selector & 0xfffc);
  if (vmm_is_tss32 (&c->tr))
    {
      sp = vmm_read_linear32 (c, c->tr.base + at, false);
      selector = vmm_read_linear16 (c, c->tr.base + at + 4, false);
    }
  else
    {
      sp = vmm_read_linear16 (c, c->tr.base + at, false);
      selector = vmm_read_linear16 (c, c->tr.base + at + 2, false);
    }
  uint16_t error = selector & 0xfffc;
  if (!error)
    vmm_raise_error (c, EX_TS, 0);
  vmm_descriptor_fetch (c, selector, EX_TS, &d);
  if ((selector & 3u) != cpl || vmm_desc_dpl (&d) != cpl || !vmm_desc_is_writable_data (&d))
    vmm_raise_error (c, EX_TS, error);
  if (!vmm_desc_present (&d))
    vmm_raise_error (c, EX_SS, error);
  vmm_descriptor_accessed (c, &d);
  VmmSegment ss = vmm_segment_from (&d, selector);
  return vmm_stack_on (&ss, sp, cpl, error);
}
