/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Debug traps, breakpoints, interrupt shadows: runs the programs of trap.asm and compares EAX.
 *
 * Ports: OUT 81h raises the INTR line, 82h has it raised when the processor halts, 80h lowers it.
 */
#include "engine.h"
#include "guest.h"
#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

#define RAM   (4u << 20)
#define BASE  0x100000u
#define GDT   0x1000u
#define IDT   0x2000u
#define STACK 0x80000u

extern const uint8_t trap_programs[], trap_programs_end[];

typedef struct
{
  uint32_t debug, external, skip, plain;
} Handlers;

typedef struct
{
  char name[48];
  uint32_t offset, expected;
} Program;

static void
put_gate (VmmVm *vm, unsigned vector, uint32_t offset)
{
  uint64_t target = BASE + offset;
  put64 (vm, IDT + vector * 8,
         (target & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (target & 0xffff0000) << 32);
}

static void
fill_memory (VmmVm *vm)
{
  const Handlers *h = (const Handlers *)trap_programs;
  vmm_vm_write (vm, BASE, trap_programs, (uint32_t)(trap_programs_end - trap_programs));
  put64 (vm, GDT, 0);
  put64 (vm, GDT + 8, 0x00cf9b000000ffffull);
  put64 (vm, GDT + 16, 0x00cf93000000ffffull);
  put_gate (vm, EX_DE, h->skip);
  put_gate (vm, EX_DB, h->debug);
  put_gate (vm, EX_UD, h->skip);
  put_gate (vm, 0x40, h->external);
  put_gate (vm, 0x41, h->plain);
}

static bool
start (VmmVcpu *c, uint32_t eip)
{
  VmmVcpuState s;
  vmm_vcpu_reset (c);
  vmm_vcpu_set_intr (c, false);
  vmm_vcpu_get_state (c, &s);
  for (int n = 0; n < 6; n++)
    s.segment[n] = (VmmSegmentState){ 0x10, n == VMM_CS ? 0xc09b : 0xc093, 0, 0xffffffffu };
  s.segment[VMM_CS].selector = 8;
  s.cr0 = CR0_PE | CR0_ET;
  s.eip = eip;
  s.eflags = FL_1;
  s.gpr[VMM_ESP] = STACK;
  s.gdt_base = GDT;
  s.gdt_limit = 0xff;
  s.idt_base = IDT;
  s.idt_limit = 0x7ff;
  return vmm_vcpu_set_state (c, &s) == NULL;
}

/* Until the last HLT. */
static VmmExitReason
run (VmmVcpu *c)
{
  bool raise_when_halted = false;
  for (unsigned n = 0; n < 1000; n++)
    {
      VmmExitReason reason = vmm_vcpu_execute (c, 100000);
      VmmExit *e = vmm_vcpu_exit (c);
      if (reason == VMM_EXIT_INTA)
        e->value = 0x40;
      else if (reason == VMM_EXIT_IO_OUT && e->address == 0x82)
        raise_when_halted = true;
      else if (reason == VMM_EXIT_IO_OUT)
        vmm_vcpu_set_intr (c, e->address == 0x81);
      else if (reason == VMM_EXIT_HLT && raise_when_halted)
        {
          raise_when_halted = false;
          vmm_vcpu_set_intr (c, true);
        }
      else
        return reason;
    }
  return VMM_EXIT_TIME_SLICE;
}

/* Returns how many programs failed. */
static unsigned
run_programs (const VmmVcpuConfig *config)
{
  const char *error;
  unsigned failed = 0;
  VmmVcpuState s;
  VmmVm *vm = vmm_vm_new (RAM, &error);
  VmmVcpu *c = vm ? vmm_vcpu_new (vm, config, &error) : NULL;
  if (!c)
    return 1;
  vmm_vm_map_read (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  for (const Program *p = (const Program *)(trap_programs + sizeof (Handlers)); p->offset; p++)
    {
      fill_memory (vm);
      VmmExitReason reason = start (c, BASE + p->offset) ? run (c) : VMM_EXIT_DEBUG;
      vmm_vcpu_get_state (c, &s);
      bool ok = reason == VMM_EXIT_HLT && s.gpr[VMM_EAX] == p->expected;
      printf ("%s: %s (%s, %x, %x wanted)\n", ok ? "ok" : "FAILED", p->name, vmm_exit_name (reason),
              s.gpr[VMM_EAX], p->expected);
      failed += !ok;
    }
  vmm_vcpu_free (c);
  vmm_vm_free (vm);
  return failed;
}

int
main (int argc, char **argv)
{
  VmmVcpuConfig config = { 0 };
  engine_option (&argc, argv);
  engine_configure (&config);
  unsigned failed = run_programs (&config);
  /* As in real time: shadows are not stepped through then. */
  config.counted = false;
  if (!config.trace)
    failed += run_programs (&config);
  return failed != 0;
}
