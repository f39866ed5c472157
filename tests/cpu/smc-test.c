/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Self-modifying code, in all the ways in which decoded blocks could be stale: the programs of
 * smc.asm, writes by devices (between exits and from another thread), and that data beside code
 * costs nothing; and that bytes of instructions are fetched only when these are reached.
 */
#include "engine.h"
#include "guest.h"
#include "vcpu.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define RAM            (16u << 20)
#define BASE           0x100000u
#define STACK          0x80000u
#define PAGE_DIRECTORY 0x10000u
#define PAGE_TABLES    0x11000u
#define DEVICE_CODE    0x700000u

extern const uint8_t smc_programs[], smc_programs_end[];

typedef struct
{
  char name[44];
  uint32_t offset;
} Program;

static unsigned failed;

static void
expect (const char *name, bool ok, uint64_t value)
{
  printf ("%s: %s (%llx)\n", ok ? "ok" : "FAILED", name, (unsigned long long)value);
  failed += !ok;
}

static void
fill_memory (VmmVm *vm)
{
  vmm_vm_write (vm, BASE, smc_programs, (uint32_t)(smc_programs_end - smc_programs));
  for (uint32_t page = 0; page < RAM / 4096; page++)
    put32 (vm, PAGE_TABLES + page * 4, (page == 0x500 ? 0x400 : page) << 12 | 7);
  for (uint32_t table = 0; table < RAM >> 22; table++)
    put32 (vm, PAGE_DIRECTORY + table * 4, (PAGE_TABLES + table * 4096) | 7);
}

static void
start (VmmVcpu *c, uint32_t eip)
{
  VmmVcpuState s;
  vmm_vcpu_reset (c);
  vmm_vcpu_get_state (c, &s);
  for (int n = 0; n < 6; n++)
    s.segment[n] = (VmmSegmentState){ 0x10, n == VMM_CS ? 0xc09b : 0xc093, 0, 0xffffffffu };
  s.segment[VMM_CS].selector = 8;
  s.cr0 = CR0_PE | CR0_PG | CR0_ET;
  s.cr3 = PAGE_DIRECTORY;
  s.eip = eip;
  s.eflags = FL_1;
  s.gpr[VMM_ESP] = STACK;
  const char *error = vmm_vcpu_set_state (c, &s);
  if (error)
    {
      printf ("FAILED: set_state: %s\n", error);
      exit (1);
    }
}

static uint32_t
eax (VmmVcpu *c)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (c, &s);
  return s.gpr[VMM_EAX];
}

static uint64_t
stat_value (VmmVcpu *c, const char *name)
{
  VmmStat stats[64];
  size_t n = vmm_vcpu_stats (c, stats, 64);
  for (size_t i = 0; i < n && i < 64; i++)
    if (strcmp (stats[i].name, name) == 0)
      return stats[i].value;
  return 0;
}

static void
run_programs (VmmVm *vm, VmmVcpu *c)
{
  for (const Program *p = (const Program *)smc_programs; p->offset != 0; p++)
    {
      fill_memory (vm);
      start (c, BASE + p->offset);
      uint64_t before = stat_value (c, "blocks-invalidated");
      uint64_t fills = stat_value (c, "tlb-fills");
      VmmExitReason reason = vmm_vcpu_execute (c, 10000000);
      uint32_t v = reason == VMM_EXIT_HLT ? eax (c) : 0xbad;
      expect (p->name, v == 7, v);
      if (strcmp (p->name, "data beside code") == 0)
        {
          uint64_t dropped = stat_value (c, "blocks-invalidated") - before;
          expect ("... drops no blocks", dropped == 0, dropped);
          fills = stat_value (c, "tlb-fills") - fills;
          expect ("... needs no walks", fills < 100, fills);
        }
    }
}

/* The same with code and tables of the translator somewhere else in each slice. */
static void
run_relocated (VmmVm *vm, VmmVcpu *c, bool translates)
{
  for (const Program *p = (const Program *)smc_programs; p->offset != 0; p++)
    {
      VmmExitReason reason = VMM_EXIT_TIME_SLICE;
      unsigned moved = 0;
      fill_memory (vm);
      start (c, BASE + p->offset);
      for (unsigned n = 0; n < 20000 && reason == VMM_EXIT_TIME_SLICE; n++)
        {
          reason = vmm_vcpu_execute (c, 997);
          moved += vmm_vcpu_relocate (c);
        }
      uint32_t v = reason == VMM_EXIT_HLT ? eax (c) : 0xbad;
      expect (p->name, v == 7, v);
      expect ("... relocated", (moved != 0) == translates, moved);
    }
}

/* MOV EAX, n; HLT; and back. */
static void
put_device_code (VmmVm *vm, uint8_t n)
{
  const uint8_t code[] = { 0xb8, n, 0, 0, 0, 0xf4, 0xeb, 0xf8 };
  vmm_vm_write (vm, DEVICE_CODE, code, sizeof code);
}

static void
device_writes (VmmVm *vm, VmmVcpu *c)
{
  bool ok = true;
  fill_memory (vm);
  for (unsigned n = 0; n < 200; n++)
    {
      put_device_code (vm, (uint8_t)n);
      start (c, DEVICE_CODE);
      ok &= vmm_vcpu_execute (c, 1000) == VMM_EXIT_HLT && eax (c) == (uint8_t)n;
    }
  expect ("written by a device, then run", ok, 0);
}

/* L: MOV AL, n; JMP L, while another thread counts n up. */
typedef struct
{
  VmmVm *vm;
  VmmVcpu *c;
} Writer;

static void *
write_along (void *data)
{
  Writer *w = data;
  for (unsigned n = 1; n <= 250; n++)
    {
      uint8_t byte = (uint8_t)n;
      vmm_vm_write (w->vm, DEVICE_CODE + 1, &byte, 1);
      for (volatile unsigned pause = 0; pause < 2000; pause++)
        ;
    }
  vmm_vcpu_kick (w->c);
  return NULL;
}

static void
thread_writes (VmmVm *vm, VmmVcpu *c)
{
  static const uint8_t code[] = { 0xb0, 0, 0xeb, 0xfc };
  Writer w = { vm, c };
  pthread_t thread;
  fill_memory (vm);
  vmm_vm_write (vm, DEVICE_CODE, code, sizeof code);
  start (c, DEVICE_CODE);
  vmm_vcpu_execute (c, 1000);
  pthread_create (&thread, NULL, write_along, &w);
  vmm_vcpu_execute (c, UINT64_MAX);
  pthread_join (thread, NULL);
  vmm_vcpu_execute (c, 1000);
  uint32_t v = eax (c) & 0xff;
  expect ("written by another thread while it runs", v == 250, v);
}

/* The bytes of an instruction are fetched when it is reached, not before: code up to a page that is
   not present, and up to the limit of CS, then an instruction that lies across. */
static void
fetch_ahead (VmmVm *vm, VmmVcpu *c, uint32_t limit)
{
  static const uint8_t code[] = { 0xb0, 7, 0xe6, 0x10, 0xb8, 1, 2, 3, 4 }; /* the last crosses */
  uint32_t eip = DEVICE_CODE + 0x1000 - 6;
  VmmVcpuState s;
  fill_memory (vm);
  vmm_vm_write (vm, eip, code, sizeof code);
  if (limit == 0xffffffffu)
    put32 (vm, PAGE_TABLES + ((DEVICE_CODE >> 12) + 1) * 4, 0);
  start (c, eip);
  vmm_vcpu_get_state (c, &s);
  s.segment[VMM_CS].limit = limit;
  s.segment[VMM_CS].flags = limit == 0xffffffffu ? 0xc09b : 0x409b;
  vmm_vcpu_set_state (c, &s);
  uint64_t count = vmm_vcpu_instructions (c);
  VmmExitReason reason = vmm_vcpu_execute (c, 1000);
  count = vmm_vcpu_instructions (c) - count;
  expect ("runs up to it", reason == VMM_EXIT_IO_OUT && vmm_vcpu_exit (c)->value == 7, reason);
  expect ("... and has counted", count == 1, count);
  reason = vmm_vcpu_execute (c, 1000);
  vmm_vcpu_get_state (c, &s);
  expect ("faults there", reason == VMM_EXIT_SHUTDOWN && s.eip == eip + 4, s.eip);
  if (limit == 0xffffffffu)
    expect ("... with CR2 on the second page", s.cr2 == DEVICE_CODE + 0x1000, s.cr2);
}

int
main (int argc, char **argv)
{
  const char *error;
  VmmVcpuConfig config = { 0 };
  engine_option (&argc, argv);
  engine_configure (&config);
  VmmVm *vm = vmm_vm_new (RAM, &error);
  if (!vm)
    return 1;
  vmm_vm_map_read (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  VmmVcpu *c = vmm_vcpu_new (vm, &config, &error);
  if (!c)
    return 1;
  run_programs (vm, c);
  run_relocated (vm, c, config.engine == VMM_ENGINE_TRANSLATE);
  device_writes (vm, c);
  thread_writes (vm, c);
  fetch_ahead (vm, c, 0xffffffffu);
  fetch_ahead (vm, c, DEVICE_CODE + 0xfff);
  fetch_ahead (vm, c, DEVICE_CODE + 0x1001);
  vmm_vcpu_free (c);
  vmm_vm_free (vm);
  return failed != 0;
}
