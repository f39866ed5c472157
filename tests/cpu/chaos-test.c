/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile guest: RAM full of random bytes, random (but legal) processor states, random answers to
 * exits, pins that toggle.  Nothing is expected but that the host survives (sanitizer builds look
 * closer), that every call returns, and that the same seed gives the same run.
 *
 *   chaos-test [ROUNDS [SEED]]
 */
#include "engine.h"
#include "guest.h"
#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

#define RAM    (2u << 20)
#define TABLES 0x10000u /* page directory, page tables, GDT, IDT: half sensible, half random */

typedef struct
{
  uint64_t state;
} Random;

static uint32_t
next (Random *r)
{
  r->state = r->state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(r->state >> 32);
}

static bool
one_in (Random *r, unsigned n)
{
  return next (r) % n == 0;
}

static uint64_t ticks;

static uint64_t
read_tsc (void *opaque)
{
  return ticks += 100;
}

static int64_t
now (void *opaque)
{
  return (int64_t)(ticks += 10);
}

static void
set_timer (void *opaque, int64_t when)
{
}

/* Opcodes that make random code go far: prefixes, 0F, moves, strings, stack, system instructions.
 */
static uint8_t
likely_byte (Random *r)
{
  static const uint8_t bytes[] = { 0x0f, 0x66, 0x67, 0xf3, 0xf2, 0xf0, 0x8b, 0x89, 0xa4,
                                   0xa5, 0xaa, 0xab, 0x50, 0x58, 0x9c, 0x9d, 0xcf, 0xcd,
                                   0x8e, 0xe8, 0xeb, 0x74, 0x75, 0xe2, 0x83, 0xff, 0xf7,
                                   0xc3, 0x22, 0x20, 0x01, 0xae, 0xd9, 0xdd, 0x6f, 0x7f,
                                   0xfb, 0xfa, 0x90, 0x90, 0x90, 0x40, 0x48, 0x31, 0x05 };
  return one_in (r, 3) ? bytes[next (r) % sizeof bytes] : (uint8_t)next (r);
}

static void
fill_memory (VmmVm *vm, Random *r)
{
  uint8_t page[VMM_PAGE_SIZE];
  for (uint32_t at = 0; at < RAM; at += sizeof page)
    {
      for (unsigned n = 0; n < sizeof page; n++)
        page[n] = likely_byte (r);
      vmm_vm_write (vm, at, page, sizeof page);
    }
  for (uint32_t n = 0; n < 1024; n++)
    {
      uint32_t flags = one_in (r, 8) ? next (r) & 0xfff : 0x067;
      put32 (vm, TABLES + n * 4, ((TABLES + 0x1000) & ~0xfffu) | flags);
      put32 (vm, TABLES + 0x1000 + n * 4, (one_in (r, 16) ? next (r) : n % 600 << 12) | flags);
    }
  for (uint32_t n = 0; n < 512; n++)
    if (!one_in (r, 4))
      {
        static const uint8_t types[] = { 0x93, 0x9b, 0xf3, 0xfb, 0x97, 0x9f, 0x89, 0x82, 0x8c };
        uint32_t type = types[next (r) % sizeof types];
        put32 (vm, TABLES + 0x2000 + n * 8, 0xffff);
        put32 (vm, TABLES + 0x2004 + n * 8, (one_in (r, 2) ? 0x00cf0000 : 0) | type << 8);
      }
  for (uint32_t n = 0; n < 256; n++)
    if (!one_in (r, 4))
      {
        uint32_t type = one_in (r, 8) ? 0x85 : one_in (r, 2) ? 0x8e : 0xef;
        put32 (vm, TABLES + 0x3000 + n * 8, (next (r) % 512) << 19 | (next (r) & 0xffff));
        put32 (vm, TABLES + 0x3004 + n * 8, type << 8 | (next (r) & 0x10000));
      }
}

static void
set_segments (VmmVcpuState *s, Random *r)
{
  bool real = !(s->cr0 & CR0_PE), v86 = s->eflags & FL_VM;
  for (unsigned n = 0; n < 6; n++)
    {
      VmmSegmentState *g = &s->segment[n];
      g->selector = (uint16_t)next (r) & 0xffff;
      g->base = (uint32_t)g->selector << 4;
      g->limit = 0xffff;
      g->flags = (uint16_t)(n == VMM_CS ? 0x9b : 0x93);
      if (v86)
        g->flags = 0xf3;
      if (real || v86)
        continue;
      g->selector = (uint16_t)((g->selector & ~3u) | s->cpl);
      g->flags = (uint16_t)(g->flags | s->cpl << 5 | (one_in (r, 3) ? 0 : 0xc000));
      g->base = one_in (r, 3) ? next (r) : 0;
      g->limit = g->flags & 0x8000 ? 0xffffffff : 0xffff;
    }
}

static void
random_state (VmmVcpu *c, Random *r)
{
  VmmVcpuState s;
  vmm_vcpu_reset (c);
  vmm_vcpu_get_state (c, &s);
  for (unsigned n = 0; n < 8; n++)
    s.gpr[n] = one_in (r, 2) ? next (r) % RAM : next (r);
  s.gpr[VMM_ECX] &= 0xffff;
  s.eip = next (r) & 0xffff;
  s.eflags = FL_1 | (next (r) & (FL_ARITH | FL_IF | FL_DF | FL_AC)) | (one_in (r, 10) ? FL_TF : 0);
  s.cr0 = CR0_ET | (one_in (r, 3) ? 0 : CR0_PE) | (one_in (r, 2) ? CR0_NE : 0)
          | (one_in (r, 4) ? CR0_AM | CR0_WP : 0);
  s.cr3 = TABLES;
  s.cr4 = next (r) & 0x69f & ~CR4_PAE;
  if ((s.cr0 & CR0_PE) && !one_in (r, 3))
    s.cr0 |= CR0_PG;
  s.cpl = (s.cr0 & CR0_PE) && one_in (r, 2) ? 3 : 0;
  if ((s.cr0 & CR0_PE) && one_in (r, 4))
    {
      s.eflags |= FL_VM | (next (r) & FL_IOPL);
      s.cpl = 3;
    }
  s.gdt_base = TABLES + 0x2000;
  s.idt_base = s.cr0 & CR0_PE ? TABLES + 0x3000 : 0;
  s.gdt_limit = 0xfff;
  s.idt_limit = 0x7ff;
  if (one_in (r, 8))
    {
      s.dr[0] = s.eip;
      s.dr[1] = next (r) % RAM;
      s.dr[7] = 0x400 | (next (r) & 0xf) | (next (r) & 0xffff) << 16;
    }
  set_segments (&s, r);
  /* What set_state refuses leaves the state after reset: as good a start as any. */
  vmm_vcpu_set_state (c, &s);
}

static void
answer (VmmVm *vm, VmmVcpu *c, Random *r, VmmExitReason reason)
{
  VmmExit *e = vmm_vcpu_exit (c);
  if (reason == VMM_EXIT_IO_IN || reason == VMM_EXIT_MMIO_READ || reason == VMM_EXIT_INTA)
    e->value = next (r);
  if (reason == VMM_EXIT_IO_INS)
    for (uint32_t n = 0; n < e->count * e->size; n++)
      e->items[n] = (uint8_t)next (r);
  if ((reason == VMM_EXIT_IO_INS || reason == VMM_EXIT_IO_OUTS) && one_in (r, 2))
    e->count = 1 + next (r) % e->count;
  if (one_in (r, 16))
    vmm_vcpu_set_a20 (c, next (r) & 1);
  if (one_in (r, 16))
    {
      uint32_t page = (next (r) % (RAM >> 12)) << 12;
      VmmMapKind kind = one_in (r, 4) ? VMM_MAP_MMIO : VMM_MAP_RAM;
      vmm_vm_map_read (vm, next (r) & 1, page, 4096, kind, next (r) % RAM & ~0xfffu, NULL);
      vmm_vm_map_write (vm, next (r) & 1, page, 4096, kind, next (r) % RAM & ~0xfffu, NULL);
    }
}

static void
toggle_pins (VmmVcpu *c, Random *r)
{
  if (one_in (r, 4))
    vmm_vcpu_set_intr (c, next (r) & 1);
  if (one_in (r, 16))
    vmm_vcpu_set_nmi (c, next (r) & 1);
  if (one_in (r, 32))
    vmm_vcpu_set_smi (c, next (r) & 1);
  if (one_in (r, 64))
    vmm_vcpu_set_init (c, next (r) & 1);
  if (one_in (r, 8))
    vmm_vcpu_kick (c);
}

static void
map_everything (VmmVm *vm)
{
  for (int view = 0; view < VMM_VIEWS; view++)
    {
      vmm_vm_map_read (vm, view, 0, 1ull << 32, VMM_MAP_MMIO, 0, NULL);
      vmm_vm_map_write (vm, view, 0, 1ull << 32, VMM_MAP_MMIO, 0, NULL);
      vmm_vm_map_read (vm, view, 0, RAM, VMM_MAP_RAM, 0, NULL);
      vmm_vm_map_write (vm, view, 0, RAM, VMM_MAP_RAM, 0, NULL);
      vmm_vm_map_read (vm, view, 0xffff0000u, 65536, VMM_MAP_RAM, 0x20000, NULL);
    }
}

static uint64_t
digest (VmmVcpu *c, uint64_t before)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (c, &s);
  uint64_t h = before ^ vmm_vcpu_instructions (c);
  for (unsigned n = 0; n < 8; n++)
    h = (h ^ s.gpr[n]) * 0x100000001b3ull;
  return (h ^ s.eip ^ (uint64_t)s.eflags << 32) * 0x100000001b3ull;
}

static uint64_t
run (unsigned rounds, uint64_t seed, uint64_t exits[VMM_EXIT_REASONS])
{
  Random r = { seed };
  const char *error;
  uint64_t h = 0;
  VmmVcpuConfig config = { .read_tsc = read_tsc,
                           .now = now,
                           .set_timer = set_timer,
                           .apic = true,
                           .sse2 = seed & 1,
                           .tsc_hz = 500000000,
                           .apic_bus_hz = 100000000 };
  engine_configure (&config);
  VmmVm *vm = vmm_vm_new (RAM, &error);
  VmmVcpu *c = vm ? vmm_vcpu_new (vm, &config, &error) : NULL;
  ticks = 0;
  if (!c)
    {
      printf ("FAILED: %s\n", error);
      exit (1);
    }
  for (unsigned n = 0; n < rounds; n++)
    {
      if (n % 64 == 0)
        {
          map_everything (vm);
          fill_memory (vm, &r);
        }
      random_state (c, &r);
      for (unsigned k = 0; k < 100; k++)
        {
          VmmExitReason reason = vmm_vcpu_execute (c, 1 + next (&r) % 200);
          exits[reason]++;
          answer (vm, c, &r, reason);
          toggle_pins (c, &r);
          if (reason == VMM_EXIT_SHUTDOWN)
            break;
        }
      h = digest (c, h);
    }
  vmm_vcpu_free (c);
  vmm_vm_free (vm);
  return h;
}

int
main (int argc, char **argv)
{
  engine_option (&argc, argv);
  unsigned rounds = argc > 1 ? (unsigned)strtoul (argv[1], NULL, 0) : 2000;
  uint64_t seed = argc > 2 ? strtoull (argv[2], NULL, 0) : 1, exits[VMM_EXIT_REASONS] = { 0 };
  uint64_t first = run (rounds, seed, exits);
  for (unsigned n = 0; n < VMM_EXIT_REASONS; n++)
    printf ("%s: %llu\n", vmm_exit_name (n), (unsigned long long)exits[n]);
  uint64_t second = run (rounds, seed, exits);
  printf ("%s: the same again\n", first == second ? "ok" : "FAILED");
  return first != second;
}
