/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Segment loads, flags and far transfers, which the translator does by short ways of its own: runs
 * the programs of paths.asm on the engine, and uncounted, and on the interpreter; the checksum of
 * all that they saw, and the whole state at the end, are the same.
 */
#include "engine.h"
#include "guest.h"
#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

#define RAM 0x400000u
#define BASE 0x8000u
#define SUM 0x7000u
#define GDT 0x1000u
#define GDT2 0x1400u
#define IDT 0x2000u
#define STUBS 0x3000u
#define TSS 0x4000u
#define DATA 0x180000u

extern const uint8_t path_programs[], path_programs_end[], path_real_interrupt[];

typedef struct {
  char name[48];
  uint32_t offset, expected, sum;
} Program;

typedef struct {
  VmmExitReason reason;
  VmmVcpuState state;
  uint32_t sum;
} Outcome;

/* A stub for each vector, and its gate, of privilege 3 from 30h on. */
static void
put_vector (VmmVm *vm, unsigned n)
{
  uint32_t at = STUBS + n * 16, common;
  memcpy (&common, path_programs, sizeof common);
  bool has_error = n == 8 || (n >= 10 && n <= 14) || n == 17;
  uint8_t stub[12] = { 0x6a, 0, 0x6a, (uint8_t) n, 0xe9 };
  unsigned skip = has_error ? 2 : 0, size = 9 - skip;
  int32_t distance = (int32_t) (BASE + common - (at + size));
  memmove (stub, stub + skip, sizeof stub - skip);
  memcpy (stub + 5 - skip, &distance, sizeof distance);
  put (vm, at, stub, size);
  put64 (vm, IDT + n * 8, at | 8u << 16 | (n >= 0x30 || n == 3 ? 0xee00ull : 0x8e00ull) << 32);
}

static void
fill_memory (VmmVm *vm)
{
  static const uint64_t gdt[16] = {
    [1] = 0x00cf9b000000ffff,  [2] = 0x00cf93000000ffff,  [3] = 0x00cffb000000ffff,
    [4] = 0x00cff3000000ffff,  [5] = 0x0000890040000067,  [6] = 0x0040931800000fff,
    [7] = 0x00009b000000ffff,  [8] = 0x000093000000ffff,  [9] = 0x00cf73000000ffff,
    [10] = 0x00409f000000ffff, [11] = 0x0040f21800000fff, [12] = 0x0000e20000000000,
  };
  put (vm, GDT, gdt, sizeof gdt);
  put (vm, GDT2, gdt, sizeof gdt);
  put64 (vm, GDT2 + 0x30, 0x0040931804000fff);
  for (unsigned n = 0; n < 0x48; n++)
    put_vector (vm, n);
  for (uint32_t n = 0; n < 0x4000; n++)
    put32 (vm, DATA + n * 4, n);
  put32 (vm, TSS + 4, 0x6800);
  put32 (vm, TSS + 8, 0x10);
  put32 (vm, 0x43 * 4, (uint32_t) (path_real_interrupt - path_programs) + BASE);
  put (vm, BASE, path_programs, (size_t) (path_programs_end - path_programs));
  put32 (vm, SUM, 0);
}

static bool
start (VmmVcpu *c, uint32_t eip)
{
  VmmVcpuState s;
  vmm_vcpu_reset (c);
  vmm_vcpu_get_state (c, &s);
  for (int n = 0; n < 6; n++)
    s.segment[n] = (VmmSegmentState){ 0x10, n == VMM_CS ? 0xc09b : 0xc093, 0, 0xffffffffu };
  s.segment[VMM_CS].selector = 8;
  s.tr = (VmmSegmentState){ 0x28, 0x8b, TSS, 0x67 };
  s.ldtr = (VmmSegmentState){ 0 };
  s.cr0 = CR0_PE | CR0_ET;
  s.eip = eip;
  s.eflags = FL_1;
  s.gpr[VMM_ESP] = 0x6800;
  s.gdt_base = GDT;
  s.gdt_limit = 0xff;
  s.idt_base = IDT;
  s.idt_limit = 0x48 * 8 - 1;
  return vmm_vcpu_set_state (c, &s) == NULL;
}

typedef struct {
  const char *name;
  VmmVm *vm;
  VmmVcpu *cpu;
} Machine;

static Machine
machine_new (const char *name, const VmmVcpuConfig *config)
{
  const char *error;
  Machine m = { .name = name, .vm = vmm_vm_new (RAM, &error) };
  if (!m.vm || !(m.cpu = vmm_vcpu_new (m.vm, config, &error)))
    exit (99);
  vmm_vm_map_read (m.vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (m.vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  return m;
}

static void
machine_free (Machine *m)
{
  vmm_vcpu_free (m->cpu);
  vmm_vm_free (m->vm);
}

static Outcome
run (Machine *m, const Program *p)
{
  Outcome o = { .reason = VMM_EXIT_DEBUG };
  fill_memory (m->vm);
  if (start (m->cpu, BASE + p->offset))
    for (unsigned n = 0; n < 1000; n++)
      if ((o.reason = vmm_vcpu_execute (m->cpu, 100000)) != VMM_EXIT_TIME_SLICE)
        break;
  if (o.reason == VMM_EXIT_HLT || o.reason == VMM_EXIT_SHUTDOWN)
    vmm_vcpu_get_state (m->cpu, &o.state);
  vmm_vm_read (m->vm, SUM, &o.sum, sizeof o.sum);
  return o;
}

static bool
same (const Outcome *a, const Outcome *b)
{
  return a->reason == b->reason && a->sum == b->sum
         && memcmp (&a->state, &b->state, offsetof (VmmVcpuState, tsc_offset)) == 0;
}

static void
show (const char *what, const Outcome *o)
{
  printf ("  %s: %s, checksum %08x, eax %x, eip %x\n", what, vmm_exit_name (o->reason), o->sum,
          o->state.gpr[VMM_EAX], o->state.eip);
}

enum { REFERENCE, ENGINE, UNCOUNTED, PLAIN, MACHINES };

static void
make_machines (Machine *m)
{
  VmmVcpuConfig config = { .tsc_hz = 1000000 };
  engine_configure (&config);
  m[ENGINE] = machine_new ("engine", &config);
  config.trace = NULL;
  config.counted = false;
  m[UNCOUNTED] = machine_new ("uncounted", &config);
  config.counted = config.precise_flags = config.plain_host = true;
  m[PLAIN] = machine_new ("plain host", &config);
  config = (VmmVcpuConfig){ .tsc_hz = 1000000, .counted = true, .engine = VMM_ENGINE_INTERPRET };
  m[REFERENCE] = machine_new ("interpreter", &config);
}

int
main (int argc, char **argv)
{
  Machine m[MACHINES];
  unsigned failed = 0;
  engine_option (&argc, argv);
  make_machines (m);
  for (const Program *p = (const Program *) (path_programs + 4); p->offset; p++)
    {
      Outcome o[MACHINES];
      bool ok = true;
      for (unsigned n = 0; n < MACHINES; n++)
        {
          o[n] = run (&m[n], p);
          ok = ok && same (&o[REFERENCE], &o[n]);
        }
      ok = ok && o[0].reason == VMM_EXIT_HLT && o[0].state.gpr[VMM_EAX] == p->expected
           && o[0].sum == p->sum;
      printf ("%s: %s\n", ok ? "ok" : "FAILED", p->name);
      failed += !ok;
      for (unsigned n = 0; !ok && n < MACHINES; n++)
        show (m[n].name, &o[n]);
    }
  for (unsigned n = 0; n < MACHINES; n++)
    machine_free (&m[n]);
  return failed != 0;
}
