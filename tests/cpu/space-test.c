/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Spaces (space.c): a user program whose accesses the host's MMU translates sees what the page
 * tables say, as after any flush.  Runs the programs of space.asm and compares what they saw, on
 * the engine under test, and on the translator with a space at once, or with one that is soon
 * gained and soon lost; there it looks that this happened.
 */
#include "engine.h"
#include "guest.h"
#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

#define RAM 0x400000u
#define BASE 0x8000u
#define GDT 0x1000u
#define IDT 0x2000u
#define TSS 0x4000u
#define STACK 0x6000u /* the kernel's */
#define USER_STACK 0x290000u
#define DIRECTORY 0x10000u /* of A; its table behind it; then the same of B */
#define RESULTS 0x280000u
#define FROM 0x302000u
#define TO 0x303000u
#define P 0x200000u
#define Q 0x201000u
#define ONE 0x202000u
#define TWO 0x203000u
#define JUMP 0x204000u
#define HERE 0x304000u
#define HERE_ECX 0x305000u

extern const uint8_t space_guest[], space_guest_end[];

/* ORDER: the table that the guest begins with */
enum { USER, KERNEL, PAGE_FAULT, LOSER, FAULTER, MOVER };

static const uint32_t user_saw[] = {
  0x50505050, 0x51515151, 0x50505050, 0x51515151, 0x50505050,    /* pages change */
  0x20,       0x60,       0x60,                                  /* A and D */
  7,          0x52525252, 4,          0x52525252, 5,             /* rights */
  0x77881122, 0xb2c3d444, 0x556677a1,                            /* across pages */
  1,          2,          3,                                     /* code */
  1,          2,          1,          2,          1,          2, /* jumps */
  0x10001,    0x10100,    0x10001,    0x10100,    0x10001,       /* calls that ask where they are */
  0x10001,    4,          1,
};

static const uint32_t loser_saw[] = { 1, 2, 1, 2, 1, 2 };
static const uint32_t faulter_saw[] = { 0x50505050 };
static const uint32_t mover_saw[] = { 0x50505050, 0x51515151 };

#define LOSSES 3u /* as in space.asm */
#define FAULTS 200u

typedef struct {
  unsigned entry;
  const uint32_t *saw;
  size_t count;
} Program;

#define PROGRAM(entry, saw)                                                                        \
  {                                                                                                \
    entry, saw, sizeof saw / sizeof saw[0]                                                         \
  }
static const Program user = PROGRAM (USER, user_saw);
static const Program loser = PROGRAM (LOSER, loser_saw);
static const Program faulter = PROGRAM (FAULTER, faulter_saw);
static const Program mover = PROGRAM (MOVER, mover_saw);

static void
put_gate (VmmVm *vm, unsigned vector, uint32_t target)
{
  put64 (vm, IDT + vector * 8,
         (target & 0xffff) | 8 << 16 | 0xee00ull << 32 | (uint64_t) (target & 0xffff0000) << 32);
}

static void
put_tables (VmmVm *vm, uint32_t directory, uint32_t x, uint32_t to)
{
  uint32_t table = directory + 0x1000;
  put32 (vm, directory, table | 7);
  for (uint32_t n = 0; n < 1024; n++)
    put32 (vm, table + n * 4, n << 12 | 7);
  put32 (vm, table + 0x300 * 4, x | 7);
  put32 (vm, table + 0x301 * 4, Q | 7);
  put32 (vm, table + 0x302 * 4, JUMP | 7);
  put32 (vm, table + 0x303 * 4, to | 7);
}

static void
put_function (VmmVm *vm, uint32_t address, uint32_t value)
{
  const uint8_t mov = 0xb8, ret = 0xc3;
  put (vm, address, &mov, 1);
  put32 (vm, address + 1, value);
  put (vm, address + 5, &ret, 1);
}

static void
fill_memory (VmmVm *vm)
{
  const uint32_t *handlers = (const uint32_t *) space_guest;
  const uint8_t jmp = 0xe9;
  put (vm, BASE, space_guest, (size_t) (space_guest_end - space_guest));
  put64 (vm, GDT + 8, 0x00cf9b000000ffffull);
  put64 (vm, GDT + 16, 0x00cf93000000ffffull);
  put64 (vm, GDT + 24, 0x00cffb000000ffffull);
  put64 (vm, GDT + 32, 0x00cff3000000ffffull);
  put32 (vm, TSS + 4, STACK);
  put32 (vm, TSS + 8, 0x10);
  put_gate (vm, 0x30, BASE + handlers[KERNEL]);
  put_gate (vm, EX_PF, BASE + handlers[PAGE_FAULT]);
  put_tables (vm, DIRECTORY, P, ONE);
  put_tables (vm, DIRECTORY + 0x2000, Q, TWO);
  put32 (vm, P, 0x50505050);
  put32 (vm, Q, 0x51515151);
  put_function (vm, ONE, 1);
  put_function (vm, TWO, 2);
  put32 (vm, HERE, 0xc3241c8bu);
  put32 (vm, HERE_ECX, 0xc3240c8bu);
  put (vm, JUMP, &jmp, 1);
  put32 (vm, JUMP + 1, TO - (FROM + 5));
}

static bool
start (VmmVcpu *c, unsigned entry)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (c, &s);
  for (int n = 0; n < 6; n++)
    s.segment[n] = (VmmSegmentState){ 0x23, 0xc0f3, 0, 0xffffffffu };
  s.segment[VMM_CS] = (VmmSegmentState){ 0x1b, 0xc0fb, 0, 0xffffffffu };
  s.tr = (VmmSegmentState){ 0x28, 0x8b, TSS, 0x67 };
  s.cpl = 3;
  s.cr0 = CR0_PG | CR0_PE | CR0_ET;
  s.cr3 = DIRECTORY;
  s.eip = BASE + ((const uint32_t *) space_guest)[entry];
  s.eflags = FL_1;
  s.gpr[VMM_ESP] = USER_STACK;
  s.gdt_base = GDT;
  s.gdt_limit = 0x2f;
  s.idt_base = IDT;
  s.idt_limit = 0x7ff;
  return vmm_vcpu_set_state (c, &s) == NULL;
}

static bool
results_are_right (VmmVm *vm, const Program *program)
{
  bool ok = true;
  for (unsigned n = 0; n < program->count; n++)
    {
      uint32_t saw;
      vmm_vm_read (vm, RESULTS + n * 4, &saw, sizeof saw);
      if (saw == program->saw[n])
        continue;
      printf ("step %u: %x, %x wanted\n", n, saw, program->saw[n]);
      ok = false;
    }
  return ok;
}

static unsigned
counter (const VmmVcpu *c, const char *name)
{
  VmmStat stats[128];
  size_t n = vmm_vcpu_stats (c, stats, 128);
  while (n-- > 0)
    if (!strcmp (stats[n].name, name))
      return (unsigned) stats[n].value;
  return 0;
}

/* After each slice the program is sampled. */
static VmmExitReason
execute (VmmVcpu *c)
{
  VmmExitReason reason = VMM_EXIT_TIME_SLICE;
  for (unsigned n = 0; n < 5000 && reason == VMM_EXIT_TIME_SLICE; n++)
    {
      if (c->config.counted)
        {
          vmm_vcpu_kick (c);
          vmm_vcpu_execute (c, 0);
        }
      reason = vmm_vcpu_execute (c, 1000);
    }
  return reason;
}

/* `used`: whether spaces were used as the program is there to have them used. */
static bool
run (const VmmVcpuConfig *config, const Program *program, const char *name,
     bool (*used) (const VmmVcpu *c))
{
  const char *error;
  VmmVm *vm = vmm_vm_new (RAM, &error);
  VmmVcpu *c = vm ? vmm_vcpu_new (vm, config, &error) : NULL;
  VmmExitReason reason = VMM_EXIT_TIME_SLICE;
  if (!c)
    return false;
  vmm_vm_map_read (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  fill_memory (vm);
  bool ok = start (c, program->entry);
  if (ok)
    reason = execute (c);
  ok = ok && reason == VMM_EXIT_IO_OUT && results_are_right (vm, program);
  if (ok && used && !used (c))
    {
      printf ("%u gained, %u lost, %u faults, %u traps\n", counter (c, "space-gains"),
              counter (c, "space-losses"), counter (c, "space-faults"), counter (c, "traps"));
      ok = false;
    }
  printf ("%s: %s (%s)\n", ok ? "ok" : "FAILED", name, vmm_exit_name (reason));
  vmm_vcpu_free (c);
  vmm_vm_free (vm);
  return ok;
}

static bool
was_used (const VmmVcpu *c)
{
  return counter (c, "space-gains") && counter (c, "space-faults");
}

static bool
was_lost_each_time (const VmmVcpu *c)
{
  return counter (c, "space-losses") == LOSSES && counter (c, "space-gains") == LOSSES + 1;
}

/* Instructions that have the guest look for their page, or a page mapped that soon goes, do not go
   on trapping. */
static bool
learnt_from_faults (const VmmVcpu *c)
{
  return counter (c, "space-gains") == 1 && !counter (c, "space-losses")
         && counter (c, "traps") < FAULTS / 4;
}

static bool
was_gained (const VmmVcpu *c)
{
  return counter (c, "space-gains") == 1;
}

/* A program has a space after one slice; traps come always too soon, or never.  At last it would
   not run for long enough, did its code not show that it does. */
static bool
run_with_rules (VmmVcpuConfig config)
{
  VmmSpaceRules *rules = &config.space_rules;
  *rules = (VmmSpaceRules){ .samples = 1, .credit = 8, .worth_ns = UINT64_MAX };
  bool ok = run (&config, &loser, "spaces that are lost", was_lost_each_time);
  rules->credit = 2 * FAULTS;
  ok = run (&config, &faulter, "faults in a space", learnt_from_faults) && ok;
  rules->worth_ns = 1;
  ok = run (&config, &mover, "pages that come and go", learnt_from_faults) && ok;
  rules->samples = 400;
  return run (&config, &mover, "code that is hot", was_gained) && ok;
}

int
main (int argc, char **argv)
{
  VmmVcpuConfig config = { 0 };
  engine_option (&argc, argv);
  engine_configure (&config);
  bool ok = run (&config, &user, engine_name (), NULL);
  ok = run (&config, &loser, "a jump's target changes", NULL) && ok;
  ok = run (&config, &faulter, "page faults", NULL) && ok;
  ok = run (&config, &mover, "another page each time", NULL) && ok;
  if (config.trace || config.engine == VMM_ENGINE_INTERPRET)
    return !ok;
  if (!config.stress)
    ok = run_with_rules (config) && ok;
  config.stress |= VMM_STRESS_SPACES;
  ok = run (&config, &user, "spaces, counted", was_used) && ok;
  config.counted = false;
  ok = run (&config, &user, "spaces", was_used) && ok;
  config.heat = 2; /* what a call leads to is known when it is translated */
  ok = run (&config, &user, "spaces, translated later", was_used) && ok;
  config.stress |= VMM_STRESS_DROP;
  ok = run (&config, &user, "spaces, with flushes between blocks", was_used) && ok;
  return !ok;
}
