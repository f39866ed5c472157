/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lockstep: the points at which two runs of one machine are compared.
 *
 * Who leads is the translator: it calls config.trace where it comes to the end of a block (or of
 * several, if the trace does not want to be called so often), and no sooner than `next`
 * instructions have retired.  Who follows stops at exactly these counts, after interrupts that are
 * taken there. A point changes nothing of what is translated, linked or executed, but for the x87
 * unit, which is stored at every 64th.
 */
#include "engine.h"

#define FPU_EVERY 64u
#define MIX 0x9e3779b97f4a7c15ull

void
vmm_trace_plan (VmmVcpu *c)
{
  bool exact = c->config.trace_exact || !c->engine;
  c->slice_end = exact && c->trace.next < c->budget_end ? c->trace.next : c->budget_end;
}

void
vmm_trace_begin (VmmVcpu *c)
{
  if (c->config.trace)
    c->trace.next = c->config.trace (c->config.trace_opaque, c, NULL);
  vmm_trace_plan (c);
}

uint32_t
vmm_vcpu_peek (VmmVcpu *c, uint32_t linear, void *bytes, uint32_t size)
{
  uint32_t done = 0;
  for (; done < size; done++)
    {
      uint32_t at = linear + done;
      uint64_t delta = VMM_NO_ACCESS;
      for (unsigned user = 0; user < 2 && delta == VMM_NO_ACCESS; user++)
        if (c->tables[user]->flags[at >> 12] & VMM_TABLE_USED)
          delta = c->tables[user]->read[at >> 12];
      if (delta == VMM_NO_ACCESS)
        break;
      ((uint8_t *) bytes)[done] = *(const uint8_t *) (uintptr_t) (delta + at);
    }
  return done;
}

/* ---- Checksums ---- */

static uint64_t
checksum (uint64_t sum, const void *bytes, size_t size)
{
  const uint8_t *at = bytes;
  for (size_t n = 0; n < size; n += 8)
    {
      uint64_t word;
      memcpy (&word, at + n, 8);
      sum = (sum ^ word) * MIX;
      sum ^= sum >> 32;
    }
  return sum;
}

static bool
is_zero (const uint8_t *page)
{
  return page[0] == 0 && memcmp (page, page + 1, VMM_PAGE_SIZE - 1) == 0;
}

/* A page that was never touched is as one that is zero. */
static uint64_t
checksum_ram (VmmVm *vm)
{
  uint64_t sum = 1;
  for (uint64_t at = 0; at < vmm_vm_ram_size (vm); at += VMM_PAGE_SIZE)
    if (vmm_vm_ram_touched (vm, at))
      {
        const uint8_t *page = vmm_vm_ram_page (vm, at);
        if (!is_zero (page))
          sum += checksum (at + 1, page, VMM_PAGE_SIZE);
      }
  return sum;
}

/* ---- Points ---- */

static VmmSegmentState
segment_state (const VmmSegment *s)
{
  return (VmmSegmentState){ s->selector, s->flags, s->base, s->limit };
}

static void
take_registers (const VmmVcpu *c, VmmTraceState *s)
{
  memcpy (s->gpr, c->gpr, sizeof s->gpr);
  s->eip = c->eip;
  s->eflags = c->eflags;
  for (unsigned n = 0; n < VMM_SEGMENTS; n++)
    s->segment[n] = segment_state (&c->seg[n]);
  s->ldtr = segment_state (&c->ldtr);
  s->tr = segment_state (&c->tr);
  s->gdt_base = c->gdt_base;
  s->gdt_limit = c->gdt_limit;
  s->idt_base = c->idt_base;
  s->idt_limit = c->idt_limit;
  s->cr0 = c->cr0;
  s->cr2 = c->cr2;
  s->cr3 = c->cr3;
  s->cr4 = c->cr4;
  s->dr6 = c->dr[6];
  s->dr7 = c->dr[7];
  s->cpl = c->cpl;
  s->activity = c->activity;
  s->inhibit = c->inhibit;
  s->smm = c->smm;
}

void
vmm_trace_point (VmmVcpu *c)
{
  VmmTraceState s;
  memset (&s, 0, sizeof s);
  s.instructions = c->instructions;
  take_registers (c, &s);
  if (c->trace.points++ % FPU_EVERY == 0)
    {
      vmm_fpu_sync (c);
      memcpy (s.fx, c->fpu.fx, sizeof s.fx);
      s.fpu = checksum (1, c->fpu.fx + 32, 16 * 16);
    }
  if (c->config.trace_ram && c->instructions >= c->trace.ram_next)
    {
      s.ram = checksum_ram (c->vm);
      c->trace.ram_next = c->instructions + c->config.trace_ram;
    }
  c->trace.next = c->config.trace (c->config.trace_opaque, c, &s);
}
