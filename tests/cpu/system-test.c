/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The system half of the processor, through vmm.h alone: programs of system-guest.asm, each on a
 * fresh machine of 16 MiB, whose log of faults and values is compared with what the manual says.
 */
#include "engine.h"
#include "vmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAMS(X)                                                                                \
  X (monitor) X (segments) X (rings) X (paging) X (pae) X (tasks) X (v86) X (debug) X (real)       \
    X (mmio) X (smi) X (smi_moved) X (sleeper) X (spin) X (triple) X (doubles) X (fast)            \
    X (user_spin) X (nmi)
#define DECLARE(name) extern const uint8_t guest_##name[], guest_##name##_end[];
PROGRAMS (DECLARE)

#define RAM (16u << 20)
#define LOG 0x10000u
#define LOG_POINTER 0x0ff0u
#define MMIO 0xe0000000u
#define MAX_LOG 64

enum { GDT = 0x2800, IDT = 0x2000, TSS_A = 0x3000, TSS_B = 0x3200, TSS_16 = 0x3400 };

typedef struct {
  VmmVm *vm;
  VmmVcpu *cpu;
  uint8_t mmio[8192];
  char text[64];
  unsigned text_length, exits[VMM_EXIT_REASONS], last_size, vector;
  int64_t timer;
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

/* ---- Guest memory ---- */

static void
put (Guest *g, uint32_t address, const void *data, size_t size)
{
  CHECK (vmm_vm_write (g->vm, address, data, (uint32_t) size) == size);
}

static void
put16 (Guest *g, uint32_t address, uint16_t v)
{
  put (g, address, &v, sizeof v);
}

static void
put32 (Guest *g, uint32_t address, uint32_t v)
{
  put (g, address, &v, sizeof v);
}

static void
put64 (Guest *g, uint32_t address, uint64_t v)
{
  put (g, address, &v, sizeof v);
}

static uint32_t
get32 (Guest *g, uint32_t address)
{
  uint32_t v = 0;
  CHECK (vmm_vm_read (g->vm, address, &v, sizeof v) == sizeof v);
  return v;
}

static uint16_t
get16 (Guest *g, uint32_t address)
{
  return (uint16_t) get32 (g, address);
}

/* ---- The machine ---- */

static int64_t
now (void *opaque)
{
  return 0;
}

static void
set_timer (void *opaque, int64_t when)
{
  ((Guest *) opaque)->timer = when;
}

static void
map_ram (Guest *g, VmmView view)
{
  vmm_vm_map_read (g->vm, view, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (g->vm, view, 0, RAM, VMM_MAP_RAM, 0, NULL);
}

static Guest *
guest_new (void)
{
  Guest *g = calloc (1, sizeof *g);
  const char *error = NULL;
  VmmVcpuConfig config = { .opaque = g, .tsc_hz = 1000000, .apic = true, .apic_bus_hz = 1000000,
                           .now = now, .set_timer = set_timer };
  engine_configure (&config);
  if (!g || !(g->vm = vmm_vm_new (RAM, &error))
      || !(g->cpu = vmm_vcpu_new (g->vm, &config, &error)))
    {
      fprintf (stderr, "system-test: %s\n", error ? error : "out of memory");
      exit (99);
    }
  map_ram (g, VMM_VIEW_NORMAL);
  map_ram (g, VMM_VIEW_SMM);
  put32 (g, LOG_POINTER, LOG);
  return g;
}

static void
guest_free (Guest *g)
{
  vmm_vcpu_free (g->cpu);
  vmm_vm_free (g->vm);
  free (g);
}

static void
serve_block (Guest *g, VmmExit *e, bool in)
{
  /* In pieces: never more than two items at a time. */
  if (e->count > 2)
    e->count = 2;
  for (uint32_t i = 0; i < e->count * e->size; i++)
    if (in)
      e->items[i] = (uint8_t) ('a' + g->text_length++);
    else if (g->text_length < sizeof g->text)
      g->text[g->text_length++] = (char) e->items[i];
}

static void
serve (Guest *g, VmmExitReason reason)
{
  VmmExit *e = vmm_vcpu_exit (g->cpu);
  uint32_t at = e->address - MMIO;
  bool inside = at < sizeof g->mmio && at + e->size <= sizeof g->mmio;
  g->exits[reason]++;
  g->last_size = e->size;
  switch (reason)
    {
    case VMM_EXIT_IO_IN:
      e->value = 0xa5000000 + e->address;
      break;
    case VMM_EXIT_IO_OUT:
      if (e->address == 0xe9 && g->text_length < sizeof g->text)
        g->text[g->text_length++] = (char) e->value;
      break;
    case VMM_EXIT_IO_INS:
    case VMM_EXIT_IO_OUTS:
      serve_block (g, e, reason == VMM_EXIT_IO_INS);
      break;
    case VMM_EXIT_MMIO_READ:
      e->value = 0xffffffffu;
      if (inside)
        memcpy (&e->value, g->mmio + at, e->size);
      break;
    case VMM_EXIT_MMIO_WRITE:
      if (inside)
        memcpy (g->mmio + at, &e->value, e->size);
      break;
    case VMM_EXIT_INTA:
      e->value = g->vector;
      vmm_vcpu_set_intr (g->cpu, false);
      break;
    default:
      break;
    }
}

/* Until it halts or shuts down; or for so many exits. */
static VmmExitReason
run (Guest *g, unsigned limit)
{
  for (unsigned i = 0; i < limit; i++)
    {
      VmmExitReason reason = vmm_vcpu_execute (g->cpu, 10000);
      serve (g, reason);
      if (reason == VMM_EXIT_HLT || reason == VMM_EXIT_SHUTDOWN)
        return reason;
    }
  return VMM_EXIT_TIME_SLICE;
}

/* ---- Tables of protected mode ---- */

static uint64_t
descriptor (uint32_t base, uint32_t limit, uint16_t flags)
{
  uint32_t high
      = (base & 0xff000000u) | (base >> 16 & 0xff) | (limit & 0xf0000) | (uint32_t) flags << 8;
  return (uint64_t) high << 32 | base << 16 | (limit & 0xffff);
}

static uint64_t
gate (uint16_t selector, uint32_t offset, uint8_t type, uint8_t low)
{
  uint32_t high = (offset & 0xffff0000u) | (uint32_t) type << 8 | low;
  return (uint64_t) high << 32 | (uint32_t) selector << 16 | (offset & 0xffff);
}

static void
put_tss (Guest *g, uint32_t at, uint32_t eip, uint32_t esp)
{
  const uint16_t segments[6] = { 0x10, 0x08, 0x10, 0x10, 0x10, 0x10 };
  put32 (g, at + 4, 0x6f00);
  put32 (g, at + 8, 0x10);
  put32 (g, at + 0x20, eip);
  put32 (g, at + 0x24, 2);
  put32 (g, at + 0x2c, 0xb0b);
  put32 (g, at + 0x38, esp);
  for (unsigned i = 0; i < 6; i++)
    put32 (g, at + 0x48 + i * 4, segments[i]);
  put32 (g, at + 0x64, 0x88u << 16);
}

static void
put_tables (Guest *g)
{
  static const uint8_t ones[] = { 0xff, 0xff };
  const uint64_t gdt[] = {
    0,
    descriptor (0, 0xfffff, 0xc09b),
    descriptor (0, 0xfffff, 0xc093),
    descriptor (0, 0xfffff, 0xc0fa),
    descriptor (0, 0xfffff, 0xc0f2),
    descriptor (TSS_A, 0x1ff, 0x008b), /* 28: in TR */
    descriptor (0, 0xfff, 0x4092),
    descriptor (0, 0xfffff, 0xc012), /* 38: not present */
    descriptor (0, 0xfffff, 0xc09e),
    gate (0x08, 0x9000, 0xec, 2), /* 48: call gate, two parameters */
    descriptor (TSS_B, 0x67, 0x0089),
    descriptor (0, 0xfff, 0x4096), /* 58: expand-down */
    descriptor (0, 0xfffff, 0xc090), /* 60: read-only */
    descriptor (0, 0xffff, 0x009a),
    descriptor (0, 0xffff, 0x0092),
    descriptor (TSS_16, 0x2b, 0x0081), /* 78 */
    gate (0x50, 0, 0x85, 0), /* 80: task gate */
  };
  put (g, GDT, gdt, sizeof gdt);
  for (uint32_t n = 0; n < 64; n++)
    put64 (g, IDT + n * 8,
           gate (0x08, 0x4000 + n * 16, n == 0x30 || n == 0x22 || n == 3 ? 0xee : 0x8e, 0));
  put64 (g, IDT + 0x32 * 8, gate (0x50, 0, 0x85, 0));
  put_tss (g, TSS_A, 0, 0);
  put_tss (g, TSS_B, 0x8800, 0x7c00);
  /* Ports: all denied but 64h.  Redirection: only 23h stays with the monitor. */
  for (uint32_t i = 0; i < 0x70; i++)
    put (g, TSS_A + 0x88 + i, ones, 1);
  put (g, TSS_A + 0x88 + 0x64 / 8, "\xef", 1);
  put (g, TSS_A + 0x68 + 0x23 / 8, "\x08", 1);
  put16 (g, TSS_16 + 0x0e, 0x8900);
  put16 (g, TSS_16 + 0x22, 0x10);
  put16 (g, TSS_16 + 0x24, 0x68);
  put16 (g, TSS_16 + 0x26, 0x70);
  put16 (g, TSS_16 + 0x28, 0x10);
}

static VmmSegmentState
segment (uint16_t selector, uint32_t base, uint32_t limit, uint16_t flags)
{
  return (VmmSegmentState) { .selector = selector, .flags = flags, .base = base, .limit = limit };
}

static void
set_state (Guest *g, const VmmVcpuState *s)
{
  const char *wrong = vmm_vcpu_set_state (g->cpu, s);
  if (wrong)
    fprintf (stderr, "%s: %s\n", subject, wrong);
  CHECK (wrong == NULL);
}

#define LOAD(g, name, address)                                                                     \
  put (g, address, guest_##name, (size_t) (guest_##name##_end - guest_##name))

static void
enter_protected (Guest *g)
{
  VmmVcpuState s;
  LOAD (g, monitor, 0x4000);
  put_tables (g);
  vmm_vcpu_get_state (g->cpu, &s);
  for (int i = 0; i < 6; i++)
    s.segment[i] = segment (0x10, 0, 0xffffffffu, 0xc093);
  s.segment[1] = segment (0x08, 0, 0xffffffffu, 0xc09b);
  s.tr = segment (0x28, TSS_A, 0x1ff, 0x008b);
  s.cr0 = 0x11;
  s.gdt_base = GDT;
  s.gdt_limit = 0x87;
  s.idt_base = IDT;
  s.idt_limit = 64 * 8 - 1;
  s.eip = 0x8000;
  s.gpr[4] = 0x7000;
  set_state (g, &s);
}

static void
enter_real (Guest *g)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (g->cpu, &s);
  s.segment[1] = segment (0, 0, 0xffff, 0x9b);
  s.eip = 0x8000;
  s.gpr[4] = 0x7000;
  set_state (g, &s);
}

static void
compare_log (Guest *g, const uint32_t (*expected)[2], size_t count)
{
  size_t got = (get32 (g, LOG_POINTER) - LOG) / 8;
  if (got != count)
    fprintf (stderr, "%s: %zu log entries instead of %zu\n", subject, got, count);
  CHECK (got == count);
  for (size_t i = 0; i < got && i < count && i < MAX_LOG; i++)
    {
      uint32_t tag = get32 (g, LOG + (uint32_t) i * 8),
               value = get32 (g, LOG + (uint32_t) i * 8 + 4);
      if (tag == expected[i][0] && value == expected[i][1])
        continue;
      fprintf (stderr, "%s: entry %zu is %x %x instead of %x %x\n", subject, i, tag, value,
               expected[i][0], expected[i][1]);
      failures++;
    }
}
#define COMPARE_LOG(g, expected) compare_log (g, expected, sizeof expected / sizeof expected[0])

/* ---- Protected mode ---- */

static void
test_segments (void)
{
  static const uint32_t expected[][2] = {
    { 0x100d, 0 },    { 0x100d, 0 },    { 0x100b, 0x38 }, { 0x100c, 0x38 }, { 0x100d, 0x200 },
    { 0x100d, 0 },    { 0x100d, 0 },    { 0x100d, 0 },    { 0x100d, 0 },    { 0x100d, 0 },
    { 0x1006, 0 },    { 0x100d, 0x282 }, { 1, 0x38 },     { 2, 0xcf1200 },  { 3, 0xfff },
    { 4, 0xffffffff }, { 5, 0x100 },    { 6, 0x7000 },    { 0x100d, 0x10 }, { 0x100d, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, segments, 0x8000);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK (get32 (g, GDT + 0x30 + 4) & 0x100); /* accessed */
  CHECK (!(get32 (g, GDT + 0x38 + 4) & 0x100));
  guest_free (g);
}

static void
test_rings (void)
{
  static const uint32_t expected[][2] = {
    { 0x100d, 0 },          { 0x100d, 0 },          { 0x100d, 0 },    { 0x100d, 0 },
    { 0x100d, 0x10 },       { 0x100d, 0x18a },      { 0x100d, 8 },    { 0x12, 0x22222222 },
    { 0x13, 0x11111111 },   { 0x14, 0x77f8 },       { 0x15, 0x6ee8 }, { 0x10, 0 },
    { 0x11, 0x7800 },       { 0x1030, 0 },          { 0x20, 0x7000 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, rings, 0x8000);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK (g->exits[VMM_EXIT_IO_IN] == 1);
  guest_free (g);
}

/* Page tables at 100000h: 2 MiB of small pages, some odd; a large page; one with a reserved bit. */
static void
put_page_tables (Guest *g)
{
  put32 (g, 0x100000, 0x101007);
  put32 (g, 0x100004, 0x400083);
  put32 (g, 0x100008, 0x820083);
  for (uint32_t i = 0; i < 0x200; i++)
    put32 (g, 0x101000 + i * 4, i << 12 | 7);
  put32 (g, 0x101000 + 0x201 * 4, 0x201001);
  put32 (g, 0x101000 + 0x203 * 4, 0x203003);
  put32 (g, 0x101000 + 0x205 * 4, 0x205003);
  put32 (g, 0x101000 + 0x206 * 4, 0x206003);
  put32 (g, 0x101000 + 0x207 * 4, 0x207005);
}

static void
test_paging (void)
{
  static const uint32_t expected[][2] = {
    { 0x100e, 0 },        { 0x2000, 0x200000 }, { 0x100e, 3 },        { 0x2000, 0x201000 },
    { 0x100e, 2 },        { 0x2000, 0x204000 }, { 0x100e, 2 },        { 0x2000, 0x204000 },
    { 0x30, 0x1111 },     { 0x100e, 0 },        { 0x2000, 0x200000 }, { 0x31, 0x7000 },
    { 0x32, 0xabcd0001 }, { 0x100e, 9 },        { 0x2000, 0x800000 }, { 0x33, 0x11 },
    { 0x34, 0x22 },       { 0x100e, 7 },        { 0x2000, 0x207000 }, { 0x100e, 5 },
    { 0x2000, 0x203000 }, { 0x100e, 7 },        { 0x2000, 0x203000 }, { 0x1030, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, paging, 0x8000);
  put_page_tables (g);
  put32 (g, 0x400004, 0xabcd0001);
  put32 (g, 0x205000, 0x11);
  put32 (g, 0x206000, 0x22);
  put16 (g, 0x203ffe, 0x1111);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK (get32 (g, 0x101000 + 0x201 * 4) == 0x201061);
  CHECK (get32 (g, 0x101000 + 0x207 * 4) == 0x207025);
  CHECK (get32 (g, 0x101000 + 0x150 * 4) == 0x150007);
  CHECK (get32 (g, 0x100000) == 0x101027);
  CHECK (get32 (g, 0x100004) == 0x4000a3);
  CHECK (get32 (g, 0x201000) == 0x77);
  guest_free (g);
}

static void
test_pae (void)
{
  static const uint32_t expected[][2] = {
    { 0x100d, 0 },        { 0x100e, 0 },        { 0x2000, 0x200000 },   { 0x100e, 9 },
    { 0x2000, 0x201000 }, { 0x40, 0xabcd0002 }, { 0x100e, 0 },          { 0x2000, 0x40000000 },
    { 0x100e, 2 },        { 0x2000, 0x204000 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, pae, 0x8000);
  put64 (g, 0x110000, 0x111001);
  put64 (g, 0x110020, 0x111003);
  put64 (g, 0x111000, 0x112003);
  put64 (g, 0x111008, 0x113003);
  put64 (g, 0x111010, 0x400083);
  for (uint32_t i = 0; i < 512; i++)
    put64 (g, 0x112000 + i * 8, i << 12 | 3);
  put64 (g, 0x113008, 1ull << 63 | 0x201003);
  put64 (g, 0x113018, 0x203003);
  put32 (g, 0x400008, 0xabcd0002);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK (get32 (g, 0x113018) == 0x203063);
  CHECK (get32 (g, 0x111010) == 0x4000a3);
  CHECK (get16 (g, 0x203ffe) == 0);
  guest_free (g);
}

static void
test_tasks (void)
{
  static const uint32_t expected[][2] = {
    { 0x60, 0x50 }, { 0x61, 0xb0b },  { 0x50, 0 },      { 0x62, 0x4000 }, { 0x63, 0x28 },
    { 0x51, 0 },    { 0x52, 0 },      { 0x62, 0x4000 }, { 0x63, 0x28 },   { 0x62, 0x4000 },
    { 0x63, 0x28 }, { 0x100d, 0x28 }, { 0x100d, 0x38 }, { 0x53, 8 },      { 0x54, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, tasks, 0x8000);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK ((get32 (g, GDT + 0x28 + 4) & 0x1f00) == 0x0b00); /* busy */
  CHECK ((get32 (g, GDT + 0x50 + 4) & 0x1f00) == 0x0900);
  CHECK ((get32 (g, GDT + 0x78 + 4) & 0x1f00) == 0x0100);
  CHECK (get16 (g, TSS_16 + 0x1c) == 0x1234);
  guest_free (g);
}

/* The same with the T bit of task B. */
static void
test_task_trap (void)
{
#define TRAP { 0x1001, 0 }, { 0x3000, 0xffff8ff0 }
  static const uint32_t expected[][2] = {
    TRAP,           { 0x60, 0x50 },   { 0x61, 0xb0b },    { 0x50, 0 },        TRAP,
    { 0x62, 0x4000 }, { 0x63, 0x28 }, { 0x51, 0 },        { 0x52, 0 },        TRAP,
    { 0x62, 0x4000 }, { 0x63, 0x28 }, TRAP,               { 0x62, 0x4000 },   { 0x63, 0x28 },
    { 0x100d, 0x28 }, { 0x100d, 0x38 }, { 0x53, 8 },      { 0x54, 0 },
  };
#undef TRAP
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, tasks, 0x8000);
  put32 (g, TSS_B + 0x64, get32 (g, TSS_B + 0x64) | 1);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  guest_free (g);
}

static void
test_v86 (void)
{
  static const uint32_t expected[][2] = {
    { 0x100d, 0 }, { 0x1022, 0 }, { 0x1003, 0 }, { 0x100d, 0 },
    { 0x100d, 0 }, { 0x100d, 0 }, { 0x70, 0x7000 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, v86, 0x8000);
  put32 (g, 0x21 * 4, 0x00009000);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  CHECK (get16 (g, 0x500) == 0x1234);
  CHECK (get16 (g, 0x508) == 1);
  CHECK ((get16 (g, 0x506) & 0x3200) == 0x3200);
  CHECK ((get16 (g, 0x50a) & 0x3200) == 0x3200);
  CHECK ((get16 (g, 0x50c) & 0x3200) == 0x3000);
  CHECK (get16 (g, 0x50e) == 0x7777);
  guest_free (g);
}

static void
test_debug (void)
{
  static const uint32_t expected[][2] = {
    { 0x1001, 0 }, { 0x3000, 0xffff4ff0 }, { 0x1001, 0 }, { 0x3000, 0xffff4ff0 },
    { 0x1001, 0 }, { 0x3000, 0xffff4ff0 }, { 0x1001, 0 }, { 0x3000, 0xffff4ff0 },
    { 0x80, 0 },   { 0x1001, 0 },          { 0x3000, 0xffff0ff2 },
    { 0x1001, 0 }, { 0x3000, 0xffff0ff1 }, { 0x1001, 0 }, { 0x3000, 0xffff0ff4 },
    { 0x1001, 0 }, { 0x3000, 0xffff0ff8 }, { 0x1001, 0 }, { 0x3000, 0xffff0ff1 },
    { 0x1006, 0 }, { 0x1001, 0 },          { 0x3000, 0xffff2ff0 }, { 0x81, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, debug, 0x8000);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  guest_free (g);
}

static void
test_doubles (void)
{
  static const uint32_t expected[][2] = {
    { 0x100b, 0x33 }, { 0x100b, 0x102 }, { 0x1008, 0 }, { 0x1008, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, doubles, 0x8000);
  put64 (g, IDT + 6 * 8, gate (0x08, 0x4000, 0x0e, 0));
  put64 (g, IDT + 13 * 8, gate (0x08, 0x4000, 0x0e, 0));
  put64 (g, IDT + 0x20 * 8, gate (0x08, 0x4000, 0x0e, 0));
  CHECK (run (g, 100) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  guest_free (g);
}

static void
test_fast (void)
{
  static const uint32_t expected[][2] = {
    { 0x100d, 0 },    { 0x100d, 0 },    { 0x90, 0x08 }, { 0x91, 0x6800 }, { 0x92, 0x1b },
    { 0x93, 0x23 },   { 0x94, 0x7700 }, { 0x1011, 0 },  { 0x1011, 0 },    { 0x1030, 0 },
  };
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, fast, 0x8000);
  CHECK (run (g, 100) == VMM_EXIT_HLT);
  COMPARE_LOG (g, expected);
  guest_free (g);
}

static void
test_triple (void)
{
  VmmVcpuState s;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, triple, 0x8000);
  CHECK (run (g, 1000) == VMM_EXIT_SHUTDOWN);
  CHECK (run (g, 1000) == VMM_EXIT_SHUTDOWN);
  vmm_vcpu_get_state (g->cpu, &s);
  CHECK (s.activity == 2);
  vmm_vcpu_reset (g->cpu);
  vmm_vcpu_get_state (g->cpu, &s);
  CHECK (s.activity == 0 && s.segment[1].base == 0xffff0000u && s.eip == 0xfff0);
  guest_free (g);
}

/* ---- Real mode, I/O, interrupts ---- */

static void
test_real (void)
{
  Guest *g = guest_new ();
  LOAD (g, real, 0x8000);
  put32 (g, 0x40 * 4, 0x8100);
  put32 (g, 0, 0x8110);
  put32 (g, 0x48 * 4, 0x8120);
  enter_real (g);
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  CHECK ((get32 (g, 0x500) & 0xff) == 0x60);
  CHECK (get32 (g, 0x504) == 0xa5000071);
  CHECK (get16 (g, 0x508) == 0 && get16 (g, 0x50a) == 0x60a);
  /* A last single item is an ordinary exit. */
  CHECK (g->exits[VMM_EXIT_IO_INS] == 2 && g->exits[VMM_EXIT_IO_OUTS] == 5);
  CHECK (g->text[0] == 'x' && memcmp (g->text + 9, "bcdefghi\x70\x01", 10) == 0);
  CHECK (get16 (g, 0x512) == 1 && get16 (g, 0x50c) == 1 && get16 (g, 0x514) == 1);
  CHECK (!vmm_vcpu_runnable (g->cpu));
  CHECK (run (g, 10) == VMM_EXIT_HLT);
  g->vector = 0x48;
  vmm_vcpu_set_intr (g->cpu, true);
  CHECK (vmm_vcpu_runnable (g->cpu));
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  CHECK (g->exits[VMM_EXIT_INTA] == 1);
  CHECK (get16 (g, 0x50e) == 1 && get16 (g, 0x510) == 1);
  vmm_vcpu_set_intr (g->cpu, true); /* IF is clear now */
  CHECK (!vmm_vcpu_runnable (g->cpu));
  vmm_vcpu_set_nmi (g->cpu, true);
  CHECK (vmm_vcpu_runnable (g->cpu));
  guest_free (g);
}

static void
test_mmio (void)
{
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, mmio, 0x8000);
  for (unsigned i = 0; i < sizeof g->mmio; i++)
    g->mmio[i] = (uint8_t) i;
  CHECK (run (g, 1000) == VMM_EXIT_HLT);
  CHECK (memcmp (g->mmio + 0xffe, "\x01\x02\x03\x04", 4) == 0);
  CHECK (get32 (g, 0x600) == 0x13121110 && get32 (g, 0x60c) == 0x1f1e1d1c);
  CHECK (g->mmio[0x20] == 0x25);
  CHECK (g->exits[VMM_EXIT_MMIO_WRITE] == 3 && g->exits[VMM_EXIT_MMIO_READ] == 6);
  guest_free (g);
}

/* ---- Pins and modes ---- */

static void
pulse_smi (Guest *g)
{
  vmm_vcpu_set_smi (g->cpu, true);
  vmm_vcpu_set_smi (g->cpu, false);
}

static void
test_smm (void)
{
  VmmVcpuState s;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, sleeper, 0x8000);
  LOAD (g, smi, 0x38000);
  LOAD (g, smi_moved, 0xa8000);
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, 0xa0000, 0x20000, VMM_MAP_MMIO, 0, NULL);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0xa0000, 0x20000, VMM_MAP_MMIO, 0, NULL);
  CHECK (run (g, 100) == VMM_EXIT_HLT);
  CHECK (!vmm_vcpu_runnable (g->cpu));
  pulse_smi (g);
  CHECK (vmm_vcpu_runnable (g->cpu));
  CHECK (run (g, 100) == VMM_EXIT_HLT);
  CHECK (get32 (g, 0x520) == 1 && get32 (g, 0x528) == 0x10);
  vmm_vcpu_get_state (g->cpu, &s);
  CHECK (s.smbase == 0xa0000 && !s.smm && s.cr0 == 0x11 && s.cpl == 0);
  vmm_vcpu_set_a20 (g->cpu, false);
  pulse_smi (g);
  CHECK (run (g, 100) == VMM_EXIT_HLT);
  CHECK (get32 (g, 0x524) == 1);
  CHECK ((get32 (g, 0x52c) & 0xffff) == 0 && get32 (g, 0x52c) >> 16 == 2);
  CHECK (get32 (g, 0x110000) == 0x5a5a);
  CHECK (get32 (g, 0x530) == 1); /* it slept on */
  CHECK (g->exits[VMM_EXIT_MMIO_READ] == 0);
  guest_free (g);
}

/* RSM brings all of a ring 3 program's state back. */
static void
test_smm_user (void)
{
  VmmVcpuState s, t;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, user_spin, 0x8000);
  put_page_tables (g);
  LOAD (g, smi, 0x38000);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_TIME_SLICE);
  vmm_vcpu_get_state (g->cpu, &s);
  CHECK (s.cpl == 3 && s.cr0 == 0x80010011u && (s.gpr[2] & 0xffff0000u) == 0);
  pulse_smi (g);
  CHECK (vmm_vcpu_execute (g->cpu, 5) == VMM_EXIT_TIME_SLICE); /* SMM's own instructions */
  CHECK (get32 (g, 0x520) == 1);
  vmm_vcpu_get_state (g->cpu, &t);
  CHECK (t.smbase == 0xa0000 && !t.smm);
  t.smbase = s.smbase;
  if (t.gpr[2] == s.gpr[2])
    CHECK (memcmp (&s, &t, sizeof s) == 0);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_TIME_SLICE);
  vmm_vcpu_get_state (g->cpu, &t);
  CHECK (t.gpr[2] > s.gpr[2] && t.cpl == 3);
  guest_free (g);
}

static void
test_init (void)
{
  VmmVcpuState s;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, user_spin, 0x8000);
  put_page_tables (g);
  vmm_vcpu_execute (g->cpu, 1000);
  vmm_vcpu_set_init (g->cpu, true);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_MMIO_READ);
  CHECK (vmm_vcpu_exit (g->cpu)->address == 0xfffffff0u);
  vmm_vcpu_get_state (g->cpu, &s);
  CHECK (s.cr0 == 0x10 && s.cpl == 0 && s.eip == 0xfff0 && s.gpr[2] == 0x683);
  guest_free (g);
}

static void
pulse_nmi (Guest *g)
{
  vmm_vcpu_set_nmi (g->cpu, true);
  vmm_vcpu_set_nmi (g->cpu, false);
}

static void
test_nmi (void)
{
  Guest *g = guest_new ();
  LOAD (g, nmi, 0x9000);
  put (g, 0x8000, "\xeb\xfe", 2);
  put32 (g, 2 * 4, 0x9000);
  enter_real (g);
  CHECK (vmm_vcpu_execute (g->cpu, 100) == VMM_EXIT_TIME_SLICE);
  pulse_nmi (g);
  CHECK (vmm_vcpu_execute (g->cpu, 100) == VMM_EXIT_IO_OUT);
  CHECK (get16 (g, 0x550) == 1);
  pulse_nmi (g); /* blocked until IRET */
  CHECK (vmm_vcpu_execute (g->cpu, 100) == VMM_EXIT_IO_OUT);
  CHECK (vmm_vcpu_execute (g->cpu, 100) == VMM_EXIT_IO_OUT);
  CHECK (get16 (g, 0x552) == 1 && get16 (g, 0x550) == 2);
  guest_free (g);
}

static void
test_a20 (void)
{
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, spin, 0x8000);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
  CHECK (get32 (g, 0x110000) == 1);
  vmm_vcpu_set_a20 (g->cpu, false); /* from an exit */
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
  CHECK (get32 (g, 0x110000) == 1 && get32 (g, 0x10000) == 2);
  vmm_vcpu_set_a20 (g->cpu, true);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
  CHECK (get32 (g, 0x110000) == 3 && get32 (g, 0x10000) == 2);
  guest_free (g);
}

/* The map changes under a running program, from an exit. */
static void
test_remap (void)
{
  static uint8_t page[VMM_PAGE_SIZE];
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, spin, 0x8000);
  vmm_vcpu_execute (g->cpu, 1000);
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, 0x110000, 0x1000, VMM_MAP_HOST, 0, page);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0x110000, 0x1000, VMM_MAP_HOST, 0, page);
  vmm_vm_track (g->vm, 0x110000, 0x1000, true);
  CHECK (vmm_vm_take_dirty (g->vm, 0x110000));
  CHECK (!vmm_vm_take_dirty (g->vm, 0x110000));
  vmm_vcpu_execute (g->cpu, 1000);
  CHECK (page[0] == 2);
  CHECK (vmm_vm_take_dirty (g->vm, 0x110000));
  vmm_vcpu_execute (g->cpu, 1000);
  CHECK (page[0] == 3);
  CHECK (vmm_vm_take_dirty (g->vm, 0x110000));
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0x110000, 0x1000, VMM_MAP_IGNORE, 0, NULL);
  vmm_vcpu_execute (g->cpu, 1000);
  CHECK (page[0] == 3);
  vmm_vm_take_dirty (g->vm, 0x110000); /* noted once more when the TLB was flushed, to be sure */
  vmm_vcpu_execute (g->cpu, 1000);
  CHECK (!vmm_vm_take_dirty (g->vm, 0x110000));
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0x110000, 0x1000, VMM_MAP_MMIO, 0, NULL);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_MMIO_WRITE);
  guest_free (g);
}

/* A parked co-routine is thrown away; states go round. */
static void
test_abandon (void)
{
  VmmVcpuState s, t;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, spin, 0x8000);
  vmm_vcpu_get_state (g->cpu, &s);
  for (int i = 0; i < 10; i++)
    {
      CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
      set_state (g, &s);
    }
  vmm_vcpu_get_state (g->cpu, &t);
  CHECK (memcmp (&s, &t, sizeof s) == 0);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
  vmm_vcpu_reset (g->cpu);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_MMIO_READ);
  CHECK (vmm_vcpu_exit (g->cpu)->address >= 0xfffff000u);
  set_state (g, &s);
  vmm_vcpu_kick (g->cpu);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_TIME_SLICE);
  CHECK (vmm_vcpu_execute (g->cpu, 1000) == VMM_EXIT_IO_OUT);
  CHECK (vmm_vcpu_execute (g->cpu, 2) == VMM_EXIT_TIME_SLICE);
  guest_free (g);
}

static void
test_ram (void)
{
  Guest *g = guest_new ();
  CHECK (!vmm_vm_ram_touched (g->vm, 0x700000));
  put32 (g, 0x700000, 5);
  CHECK (vmm_vm_ram_touched (g->vm, 0x700000) && !vmm_vm_ram_touched (g->vm, 0x701000));
  vmm_vm_ram_discard (g->vm, 0x700000);
  CHECK (!vmm_vm_ram_touched (g->vm, 0x700000));
  CHECK (get32 (g, 0x700000) == 0);
  uint8_t byte[16];
  CHECK (vmm_vm_read (g->vm, RAM - 8, byte, 16) == 8);
  CHECK (vmm_vm_write (g->vm, RAM, byte, 16) == 0);
  guest_free (g);
}

/* ---- Hostile states: refused, or run without harm ---- */

static uint32_t
random32 (uint64_t *seed)
{
  *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t) (*seed >> 32);
}

static void
test_hostile (void)
{
  VmmVcpuState good, s;
  uint64_t seed = 1;
  unsigned accepted = 0, rounds = 3000;
  Guest *g = guest_new ();
  enter_protected (g);
  LOAD (g, rings, 0x8000);
  vmm_vcpu_get_state (g->cpu, &good);
  for (unsigned n = 0; n < rounds; n++)
    {
      s = good;
      unsigned changes = 1 + random32 (&seed) % 4;
      for (unsigned i = 0; i < changes; i++)
        {
          size_t at = 8 + random32 (&seed) % (sizeof s - 8);
          ((uint8_t *) &s)[at] ^= (uint8_t) (1u << random32 (&seed) % 8);
        }
      if (vmm_vcpu_set_state (g->cpu, &s))
        continue;
      accepted++;
      for (unsigned i = 0; i < 50; i++)
        {
          VmmExitReason reason = vmm_vcpu_execute (g->cpu, 200);
          serve (g, reason);
          if (reason == VMM_EXIT_HLT || reason == VMM_EXIT_SHUTDOWN)
            break;
        }
      vmm_vcpu_get_state (g->cpu, &s);
    }
  CHECK (accepted > 0 && accepted < rounds);
  s = good;
  s.version++;
  CHECK (vmm_vcpu_set_state (g->cpu, &s) != NULL);
  s = good;
  s.cr0 |= 0x80000000u, s.cr0 &= ~1u;
  CHECK (vmm_vcpu_set_state (g->cpu, &s) != NULL);
  s = good;
  s.fx[26] = 0xff;
  CHECK (vmm_vcpu_set_state (g->cpu, &s) != NULL);
  guest_free (g);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*test) (void);
  } tests[] = {
    { "segments", test_segments }, { "rings", test_rings },   { "paging", test_paging },
    { "pae", test_pae },           { "tasks", test_tasks },   { "task-trap", test_task_trap },
    { "v86", test_v86 },
    { "debug", test_debug },       { "triple", test_triple }, { "real", test_real },
    { "mmio", test_mmio },         { "smm", test_smm },       { "a20", test_a20 },
    { "doubles", test_doubles },   { "fast", test_fast },     { "smm-user", test_smm_user },
    { "init", test_init },         { "nmi", test_nmi },
    { "remap", test_remap },       { "abandon", test_abandon }, { "ram", test_ram },
    { "hostile", test_hostile },
  };
  engine_option (&argc, argv);
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
    {
      unsigned before = failures;
      subject = tests[i].name;
      tests[i].test ();
      printf ("%s %s\n", failures == before ? "ok" : "not ok", subject);
    }
  return failures ? 1 : 0;
}
