/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Accesses that callbacks answer from within the instruction: values, what they change under the
 * processor (map, INTR), repeated instructions, the FPU; and those that they decline.
 */
#include "engine.h"
#include "vmm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM (1u << 20)
#define PROGRAM 0x8000u
#define PAGE_A 0x9000u
#define PAGE_B 0x20000u
#define MMIO 0xa000u

#define PROGRAMS(X) X (values) X (map) X (interrupt) X (strings) X (mmio) X (fpu)
#define DECLARE(name) extern const uint8_t calls_##name[], calls_##name##_end[];
PROGRAMS (DECLARE)

typedef struct {
  VmmVm *vm;
  VmmVcpu *cpu;
  char trace[1024];
  unsigned exits[VMM_EXIT_REASONS], blocks, dirty_fpu;
  bool post;
  uint16_t next;
} Guest;

static unsigned failures;
static const char *subject;

static void
check (bool ok, const char *what, unsigned line)
{
  if (ok)
    return;
  fprintf (stderr, "%s: line %u: %s\n", subject, line, what);
  failures++;
}
#define CHECK(condition) check (condition, #condition, __LINE__)

static void __attribute__ ((format (printf, 2, 3))) note (Guest *g, const char *format, ...)
{
  size_t used = strlen (g->trace);
  va_list args;
  va_start (args, format);
  vsnprintf (g->trace + used, sizeof g->trace - used, format, args);
  va_end (args);
}

static void
expect (Guest *g, const char *text, unsigned line)
{
  if (strcmp (g->trace, text) != 0)
    {
      fprintf (stderr, "%s: line %u: expected %s\n  found %s\n", subject, line, text, g->trace);
      failures++;
    }
}
#define EXPECT(text) expect (g, text, __LINE__)

/* ---- Callbacks ---- */

/* Wants a clean x87 unit, and writes over all of it. */
static void
use_fpu (Guest *g)
{
  uint16_t control, tags[14];
  asm volatile("fnstenv %0" : "=m"(tags));
  control = tags[0];
  if (control != 0x37f || tags[4] != 0xffff)
    g->dirty_fpu++;
  asm volatile("fninit; fldz; fldz; fldz; fldz; fldz; fldz; fldz; fldz; fninit" : : : "memory");
}

static void
move_page (Guest *g, uint32_t to)
{
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, PAGE_A, 4096, VMM_MAP_RAM, to, NULL);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, PAGE_A, 4096, VMM_MAP_RAM, to, NULL);
}

static VmmCall
io_read (void *opaque, uint16_t port, unsigned size, uint32_t *value)
{
  Guest *g = opaque;
  use_fpu (g);
  if (port == 0x30)
    return VMM_CALL_EXIT;
  note (g, "i%x.%u ", port, size);
  *value = 0xddccbbaa; /* more than was asked for */
  return VMM_CALL_DONE;
}

static VmmCall
io_write (void *opaque, uint16_t port, unsigned size, uint32_t value)
{
  Guest *g = opaque;
  use_fpu (g);
  if (port == 0x30)
    return VMM_CALL_EXIT;
  note (g, "o%x.%u=%x ", port, size, value);
  if (port == 0x40)
    move_page (g, PAGE_B);
  if (port == 0x41)
    vmm_vcpu_set_intr (g->cpu, true);
  return g->post ? VMM_CALL_POSTED : VMM_CALL_DONE;
}

static uint32_t
io_read_block (void *opaque, uint16_t port, unsigned size, void *items, uint32_t count)
{
  Guest *g = opaque;
  uint16_t *to = items;
  uint32_t n = count < 5 ? count : 5;
  note (g, "I%u/%u ", n, count);
  if (++g->blocks == 2)
    move_page (g, PAGE_B);
  for (uint32_t i = 0; i < n; i++)
    to[i] = g->next++;
  return g->blocks == 3 ? 0 : n;
}

static uint32_t
io_write_block (void *opaque, uint16_t port, unsigned size, const void *items, uint32_t count)
{
  Guest *g = opaque;
  const uint16_t *from = items;
  uint32_t n = count < 5 ? count : 5;
  note (g, "O%u/%u:%x ", n, count, from[0]);
  return n;
}

static VmmCall
mmio_read (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t *value)
{
  Guest *g = opaque;
  use_fpu (g);
  note (g, "r%x.%u ", address - MMIO, size);
  if (address == MMIO + 10)
    move_page (g, PAGE_B);
  *value = 0x03020100u + (address & 0xff) * 0x01010101u;
  return VMM_CALL_DONE;
}

static VmmCall
mmio_write (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t value)
{
  Guest *g = opaque;
  if (address >= MMIO + 0xff)
    return VMM_CALL_EXIT;
  note (g, "w%x.%u=%x ", address - MMIO, size, value);
  return VMM_CALL_DONE;
}

/* ---- One program ---- */

static void
start (Guest *g, const uint8_t *program, size_t size)
{
  VmmVcpuConfig config = { .opaque = g,
                           .io_read = io_read,
                           .io_write = io_write,
                           .io_read_block = io_read_block,
                           .io_write_block = io_write_block,
                           .mmio_read = mmio_read,
                           .mmio_write = mmio_write };
  const char *error = NULL;
  VmmVcpuState s;
  *g = (Guest){ .vm = vmm_vm_new (RAM, &error) };
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, MMIO, 4096, VMM_MAP_MMIO, 0, NULL);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, MMIO, 4096, VMM_MAP_MMIO, 0, NULL);
  vmm_vm_write (g->vm, PROGRAM, program, (uint32_t) size);
  vmm_vm_write (g->vm, PAGE_A, "A", 1);
  vmm_vm_write (g->vm, PAGE_B, "B", 1);
  engine_configure (&config);
  g->cpu = vmm_vcpu_new (g->vm, &config, &error);
  if (!g->cpu)
    {
      fprintf (stderr, "calls-test: %s\n", error);
      exit (99);
    }
  vmm_vcpu_get_state (g->cpu, &s);
  s.segment[1].selector = 0;
  s.segment[1].base = 0;
  s.eip = PROGRAM;
  s.gpr[4] = 0x7000;
  CHECK (vmm_vcpu_set_state (g->cpu, &s) == NULL);
}

/* Until HLT; exits are noted in capitals. */
static void
run (Guest *g, VmmVcpuState *state)
{
  for (unsigned n = 0; n < 1000; n++)
    {
      VmmExitReason reason = vmm_vcpu_execute (g->cpu, 1000);
      VmmExit *e = vmm_vcpu_exit (g->cpu);
      g->exits[reason]++;
      if (reason == VMM_EXIT_HLT)
        break;
      if (reason == VMM_EXIT_INTA)
        e->value = 0x20;
      else if (reason != VMM_EXIT_TIME_SLICE)
        note (g, "EXIT-%s:%x.%u*%u ", vmm_exit_name (reason), e->address, e->size, e->count);
      if (reason == VMM_EXIT_INTA)
        vmm_vcpu_set_intr (g->cpu, false);
      if (reason == VMM_EXIT_IO_IN)
        e->value = 0x5a;
      if (reason == VMM_EXIT_IO_INS)
        memset (e->items, 0xee, e->size * e->count);
    }
  CHECK (g->exits[VMM_EXIT_HLT] == 1);
  vmm_vcpu_get_state (g->cpu, state);
}

static void
stop (Guest *g)
{
  vmm_vcpu_free (g->cpu);
  vmm_vm_free (g->vm);
}

static uint64_t
counter (Guest *g, const char *name)
{
  VmmStat stats[256];
  size_t n = vmm_vcpu_stats (g->cpu, stats, 256);
  for (size_t i = 0; i < n; i++)
    if (strcmp (stats[i].name, name) == 0)
      return stats[i].value;
  CHECK (false);
  return 0;
}

/* ---- Tests ---- */

static void
test_values (Guest *g)
{
  VmmVcpuState s;
  run (g, &s);
  EXPECT ("i10.1 i12.2 i14.4 o20.1=11 o22.2=2211 o24.4=44332211 EXIT-io-out:30.1*1 "
          "EXIT-io-in:30.1*1 ");
  CHECK ((s.gpr[3] & 0xffff) == 0x5aaa && (s.gpr[6] & 0xffff) == 0xbbaa && s.gpr[7] == 0xddccbbaa);
  CHECK (counter (g, "fast-io-in") == 3 && counter (g, "fast-io-out") == 3);
  CHECK (counter (g, "exit-io-in") == 1 && counter (g, "exit-io-out") == 1);
  CHECK (g->dirty_fpu == 0);
}

static void
test_map (Guest *g)
{
  VmmVcpuState s;
  uint8_t byte = 0;
  run (g, &s);
  EXPECT ("o40.1=1 ");
  CHECK ((s.gpr[3] & 0xffff) == ('B' << 8 | 'A'));
  CHECK ((s.gpr[1] & 0xff) == 0x77);
  vmm_vm_read (g->vm, PAGE_B + 1, &byte, 1);
  CHECK (byte == 0x77);
}

static void
test_interrupt (Guest *g)
{
  VmmVcpuState s;
  run (g, &s);
  CHECK (g->exits[VMM_EXIT_INTA] == 1);
  CHECK ((s.gpr[3] & 0xff00) == 0); /* before the next instruction */
}

static void
test_strings (Guest *g)
{
  VmmVcpuState s;
  uint16_t a[16], b[16];
  run (g, &s);
  /* The third block is declined and comes as an exit, which takes what is left. */
  EXPECT ("I5/12 I5/7 I2/2 EXIT-io-ins:50.2*2 O5/12:42 O5/7:5 O2/2:eeee ");
  CHECK ((s.gpr[1] & 0xffff) == 0);
  vmm_vm_read (g->vm, PAGE_A, b, sizeof b); /* PAGE_A leads to PAGE_B now */
  move_page (g, PAGE_A);
  vmm_vm_read (g->vm, PAGE_A, a, sizeof a);
  CHECK (a[0] == 0 && a[4] == 4 && a[5] == 0);
  CHECK (b[5] == 5 && b[9] == 9 && b[10] == 0xeeee && b[11] == 0xeeee);
  CHECK (counter (g, "fast-io-ins") == 2 && counter (g, "fast-io-outs") == 3);
}

static void
test_mmio (Guest *g)
{
  VmmVcpuState s;
  uint8_t a[4], b[4];
  run (g, &s);
  EXPECT ("r8.1 r9.1 ra.1 rb.1 r10.2 w20.2=1110 r10.4 EXIT-mmio-write:a0ff.4*1 ");
  vmm_vm_read (g->vm, PAGE_A, b, sizeof b);
  move_page (g, PAGE_A);
  vmm_vm_read (g->vm, PAGE_A, a, sizeof a);
  CHECK (a[0] == 8 && a[1] == 9 && b[2] == 10 && b[3] == 11 && a[2] == 0);
  CHECK (counter (g, "fast-mmio-read") == 6 && counter (g, "fast-mmio-write") == 1);
}

static void
test_fpu (Guest *g)
{
  VmmVcpuState s;
  uint32_t sum = 0;
  uint16_t control = 0, mmx = 0;
  run (g, &s);
  vmm_vm_read (g->vm, 0x7002, &control, 2);
  vmm_vm_read (g->vm, 0x7004, &sum, 4);
  vmm_vm_read (g->vm, 0x7068, &mmx, 2);
  CHECK (g->dirty_fpu == 0);
  CHECK (sum == 4 && control == 0x0f7f && mmx == 0x5aa5);
}

/* Posted writes are counted apart; even if something has changed, nobody looks before the block's
   end at the latest. */
static void
test_posted (Guest *g)
{
  VmmVcpuState s;
  g->post = true;
  run (g, &s);
  CHECK (counter (g, "posted-out") == 3 && counter (g, "fast-io-out") == 0);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    const uint8_t *from, *to;
    void (*test) (Guest *g);
  } tests[] = {
#define TEST(program, name) { #name, calls_##program, calls_##program##_end, test_##name }
    TEST (values, values), TEST (map, map), TEST (interrupt, interrupt), TEST (strings, strings),
    TEST (mmio, mmio),     TEST (fpu, fpu), TEST (values, posted),
  };
  engine_option (&argc, argv);
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
    {
      Guest g;
      subject = tests[i].name;
      start (&g, tests[i].from, (size_t) (tests[i].to - tests[i].from));
      tests[i].test (&g);
      stop (&g);
    }
  if (failures == 0)
    printf ("calls-test: passed\n");
  return failures != 0;
}
