/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The synthetic instructions (vmm/additions.c).  Each that stands for another one is executed
 * beside it, from the same state, in all modes and with all kinds of privilege: registers, memory,
 * faults and exits must be the same to the last bit.  Then those that have no model, and what they
 * are without the additions.
 */
#include "vmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM (1u << 20)
#define GDT 0x1000u
#define IDT 0x1800u
#define TSS 0x2000u
#define LDT 0x3000u
#define HANDLERS 0x4000u /* of protected mode: HLT at 16 * vector */
#define REAL 0x5000u     /* of real mode, the same */
#define STACK 0x7000u
#define CODE 0x8000u
#define PAGES 0x10000u /* directory, then a table */
#define ROUNDS 150u

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum { ES, CS, SS, DS };

typedef struct {
  VmmVm *vm;
  VmmVcpu *cpu;
  unsigned exits[VMM_EXIT_REASONS];
  VmmExit call; /* the last call of the additions */
} Guest;

typedef enum { REAL_MODE, RING0, RING0_16, RING1, RING3, V86, MODES } Mode;
static const char *const mode_names[MODES]
    = { "real mode", "ring 0", "ring 0, 16 bits", "ring 1", "ring 3", "v86 mode" };

static unsigned failures;
static char subject[128];
static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t
random32 (void)
{
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (seed >> 32);
}

static void
check (bool ok, const char *what, unsigned line)
{
  if (ok)
    return;
  fprintf (stderr, "%s: line %u: %s\n", subject, line, what);
  failures++;
}
#define CHECK(condition) check (condition, #condition, __LINE__)

/* ---- The machine ---- */

static void
put (Guest *g, uint32_t address, const void *data, size_t size)
{
  vmm_vm_write (g->vm, address, data, (uint32_t) size);
}

static void
put32 (Guest *g, uint32_t address, uint32_t value)
{
  put (g, address, &value, 4);
}

static uint32_t
get32 (Guest *g, uint32_t address)
{
  uint32_t value = 0;
  vmm_vm_read (g->vm, address, &value, 4);
  return value;
}

static void
put64 (Guest *g, uint32_t address, uint64_t value)
{
  put (g, address, &value, 8);
}

static uint64_t
descriptor (uint32_t base, uint32_t limit, uint16_t flags)
{
  uint32_t high
      = (base & 0xff000000u) | (base >> 16 & 0xff) | (limit & 0xf0000) | (uint32_t) flags << 8;
  return (uint64_t) high << 32 | base << 16 | (limit & 0xffff);
}

static void
put_tables (Guest *g)
{
  const uint64_t gdt[] = {
    0,
    descriptor (0, 0xfffff, 0xc09b),
    descriptor (0, 0xfffff, 0xc093),
    descriptor (0, 0xfffff, 0xc0fb),
    descriptor (0, 0xfffff, 0xc0f3), /* 20 */
    descriptor (TSS, 0xfff, 0x008b),
    descriptor (0, 0xffff, 0x009b),
    descriptor (0, 0xfffff, 0xc0bb),
    descriptor (0, 0xfffff, 0xc0b3), /* 40 */
    descriptor (LDT, 0x17, 0x0082),
  };
  put (g, GDT, gdt, sizeof gdt);
  for (uint32_t n = 0; n < 64; n++)
    {
      uint64_t type = n == 0x30 ? 0xee00 : 0x8e00;
      put64 (g, IDT + n * 8, (uint64_t) type << 32 | 0x08u << 16 | (HANDLERS + n * 16));
      put32 (g, n * 4, REAL + n * 16);
      put (g, HANDLERS + n * 16, "\xf4", 1);
      put (g, REAL + n * 16, "\xf4", 1);
    }
  put32 (g, TSS + 4, STACK - 0x800);
  put32 (g, TSS + 8, 0x10);
  put32 (g, TSS + 0x64, 0x88u << 16);
  put32 (g, PAGES, (PAGES + 0x1000) | 7);
  for (uint32_t n = 0; n < RAM >> 12; n++)
    put32 (g, PAGES + 0x1000 + n * 4, n << 12 | 7);
}

static Guest *
guest_new (bool additions)
{
  Guest *g = calloc (1, sizeof *g);
  VmmVcpuConfig config = { .opaque = g, .additions = additions };
  const char *error = "out of memory";
  if (!g || !(g->vm = vmm_vm_new (RAM, &error))
      || !(g->cpu = vmm_vcpu_new (g->vm, &config, &error)))
    {
      fprintf (stderr, "additions-test: %s\n", error);
      exit (99);
    }
  vmm_vm_map_read (g->vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (g->vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  put_tables (g);
  return g;
}

static void
guest_free (Guest *g)
{
  vmm_vcpu_free (g->cpu);
  vmm_vm_free (g->vm);
  free (g);
}

static VmmSegmentState
segment (uint16_t selector, uint32_t base, uint32_t limit, uint16_t flags)
{
  return (VmmSegmentState){ .selector = selector, .flags = flags, .base = base, .limit = limit };
}

static VmmVcpuState
state_of (Guest *g, Mode mode)
{
  static const uint8_t rings[MODES] = { 0, 0, 0, 1, 3, 3 };
  static const uint16_t code[MODES] = { 0, 0x08, 0x30, 0x39, 0x1b, 0 };
  static const uint16_t data[MODES] = { 0, 0x10, 0x10, 0x41, 0x23, 0 };
  bool flat = mode != REAL_MODE && mode != V86;
  uint16_t dpl = (uint16_t) (rings[mode] << 5);
  VmmVcpuState s;
  vmm_vcpu_reset (g->cpu);
  vmm_vcpu_get_state (g->cpu, &s);
  for (int i = 0; i < 6; i++)
    s.segment[i] = flat ? segment (data[mode], 0, 0xffffffffu, 0xc093 | dpl)
                        : segment (0, 0, 0xffff, mode == V86 ? 0xf3 : 0x93);
  s.segment[CS] = mode == RING0_16 ? segment (0x30, 0, 0xffff, 0x9b)
                  : flat           ? segment (code[mode], 0, 0xffffffffu, 0xc09b | dpl)
                                   : segment (0, 0, 0xffff, mode == V86 ? 0xf3 : 0x9b);
  s.cpl = rings[mode];
  s.cr0 = mode == REAL_MODE ? 0x10 : 0x11;
  s.eflags = mode == V86 ? 0x20002 : 2;
  s.tr = segment (0x28, TSS, 0xfff, 0x8b);
  s.ldtr = segment (0x48, LDT, 0x17, 0x82);
  s.gdt_base = GDT;
  s.gdt_limit = 0x4f;
  s.idt_base = mode == REAL_MODE ? 0 : IDT;
  s.idt_limit = mode == REAL_MODE ? 0x3ff : 64 * 8 - 1;
  s.eip = CODE;
  s.gpr[ESP] = STACK;
  return s;
}

/* To HLT, shutdown, or 16 exits. */
static VmmVcpuState
run (Guest *g, const VmmVcpuState *from, bool intr)
{
  VmmVcpuState s;
  const char *wrong = vmm_vcpu_set_state (g->cpu, from);
  memset (g->exits, 0, sizeof g->exits);
  CHECK (wrong == NULL);
  vmm_vcpu_set_intr (g->cpu, intr);
  for (unsigned n = 0; n < 16; n++)
    {
      VmmExitReason reason = vmm_vcpu_execute (g->cpu, 100);
      VmmExit *e = vmm_vcpu_exit (g->cpu);
      g->exits[reason]++;
      if (reason == VMM_EXIT_HLT || reason == VMM_EXIT_SHUTDOWN)
        break;
      if (reason == VMM_EXIT_INTA)
        {
          e->value = 0x31;
          vmm_vcpu_set_intr (g->cpu, false);
        }
      if (reason != VMM_EXIT_ADDITIONS_CALL)
        continue;
      g->call = *e;
      e->done = e->count == 7;
      e->value = 0x11223344;
      e->high = 0x55667788;
    }
  vmm_vcpu_set_intr (g->cpu, false);
  vmm_vcpu_get_state (g->cpu, &s);
  return s;
}

/* Which exception's handler it halted in; -1: none. */
static int
vector (const VmmVcpuState *s)
{
  uint32_t base = s->cr0 & 1 ? HANDLERS : REAL;
  return s->activity == 1 && s->eip > base && s->eip < base + 64 * 16 ? (int) (s->eip - base) / 16
                                                                      : -1;
}

/* ---- The same as its model ---- */

typedef struct {
  const char *name;
  uint8_t y1, y2;
  uint8_t model[4], size;
  bool o32; /* 16-bit code needs an operand-size prefix for the model */
  bool a32; /* and an address-size prefix */
} Pair;

static const Pair pairs[] = {
  { "vmcpuid", 1, 0, { 0x0f, 0xa2 }, 2, false, false },
  { "vmhlt", 1, 1, { 0xf4 }, 1, false, false },
  { "vmpushfd", 2, 0, { 0x9c }, 1, true, false },
  { "vmpopfd", 2, 1, { 0x9d }, 1, true, false },
  { "vmcli", 2, 2, { 0xfa }, 1, false, false },
  { "vmsti", 2, 3, { 0xfb }, 1, false, false },
  { "vmiretd", 2, 4, { 0xcf }, 1, true, false },
  { "vmsgdt", 3, 0, { 0x0f, 0x01, 0x00 }, 3, true, true },
  { "vmsidt", 3, 1, { 0x0f, 0x01, 0x08 }, 3, true, true },
  { "vmsldt", 3, 2, { 0x0f, 0x00, 0xc0 }, 3, true, false },
  { "vmstr", 3, 3, { 0x0f, 0x00, 0xc8 }, 3, true, false },
};

/* Five bytes, filled up with DS prefixes, which say what is so anyway. */
static void
put_model (Guest *g, const Pair *p, bool code16)
{
  uint8_t bytes[5] = { 0x3e, 0x3e, 0x3e, 0x3e, 0x3e };
  unsigned at = 5u - p->size;
  memcpy (bytes + at, p->model, p->size);
  if (code16 && p->o32)
    bytes[--at] = 0x66;
  if (code16 && p->a32)
    bytes[--at] = 0x67;
  put (g, CODE, bytes, 5);
}

static void
put_synthetic (Guest *g, uint8_t y1, uint8_t y2)
{
  const uint8_t bytes[5] = { 0x0f, 0xc7, 0xc8, y1, y2 };
  put (g, CODE, bytes, 5);
}

/* What comes after it: INT 30h, which every mode can tell. */
static void
put_rest (Guest *g)
{
  put (g, CODE + 5, "\xcd\x30\xf4", 3);
}

static VmmVcpuState
random_state (Guest *g, Mode mode)
{
  VmmVcpuState s = state_of (g, mode);
  uint32_t flags = random32 ();
  for (int n = 0; n < 8; n++)
    if (n != ESP)
      s.gpr[n] = random32 ();
  s.eflags |= flags & 0x3ed5; /* arithmetic flags, IF, DF, IOPL */
  if (!(flags & 0xf0000000u))
    s.eflags |= 0x100; /* TF */
  if (flags & 0x01000000)
    s.eflags |= flags & 0x2c0000; /* AC, VIF, ID */
  s.cr4 = random32 () & 3;        /* VME, PVI */
  s.gpr[EAX] = random32 () & 0xf ? 0x6000 + (random32 () & 0xff) : 0xfffffffd;
  s.gpr[ECX] &= 3;
  return s;
}

/* What POPFD or IRETD finds. */
static void
put_stack (Guest *g, const VmmVcpuState *s, const Pair *p)
{
  uint32_t flags = (random32 () & 0x244fd5) | 2;
  uint8_t junk[0x1000];
  memset (junk, 0, sizeof junk);
  put (g, STACK - 0x1000, junk, sizeof junk);
  if (p->model[0] != 0xcf)
    {
      put32 (g, STACK, random32 ());
      return;
    }
  put32 (g, STACK, CODE + 5);
  put32 (g, STACK + 4, s->segment[CS].selector);
  put32 (g, STACK + 8, flags);
  put32 (g, STACK + 12, STACK + 0x40);
  put32 (g, STACK + 16, s->segment[SS].selector);
}

static bool
same_memory (Guest *a, Guest *b)
{
  for (uint32_t page = 0; page < RAM; page += 4096)
    {
      uint8_t x[4096], y[4096];
      vmm_vm_read (a->vm, page, x, sizeof x);
      vmm_vm_read (b->vm, page, y, sizeof y);
      if (memcmp (x, y, sizeof x) != 0)
        return false;
    }
  return true;
}

static void
compare (Guest *a, Guest *b, const Pair *p, Mode mode, unsigned *seen)
{
  VmmVcpuState s = random_state (a, mode), x, y;
  uint64_t before = seed;
  bool intr = random32 () & 1;
  put_stack (a, &s, p);
  put_rest (a);
  put_synthetic (a, p->y1, p->y2);
  x = run (a, &s, intr);
  seed = before;
  intr = random32 () & 1;
  put_stack (b, &s, p);
  put_rest (b);
  put_model (b, p, mode == REAL_MODE || mode == V86 || mode == RING0_16);
  y = run (b, &s, intr);
  put_synthetic (b, p->y1, p->y2);
  CHECK (memcmp (&x, &y, sizeof x) == 0);
  CHECK (memcmp (a->exits, b->exits, sizeof a->exits) == 0);
  CHECK (same_memory (a, b));
  seen[vector (&x) & 63]++;
}

static void
test_pairs (void)
{
  Guest *a = guest_new (true), *b = guest_new (false);
  for (size_t n = 0; n < sizeof pairs / sizeof pairs[0]; n++)
    for (Mode mode = 0; mode < MODES; mode++)
      {
        unsigned seen[64] = { 0 }, before = failures;
        snprintf (subject, sizeof subject, "%s in %s", pairs[n].name, mode_names[mode]);
        for (unsigned round = 0; round < ROUNDS && failures == before; round++)
          compare (a, b, &pairs[n], mode, seen);
        /* Never just #UD, but where the model says so. */
        if (pairs[n].y1 != 3 || pairs[n].y2 < 2)
          CHECK (seen[6] == 0);
        else
          CHECK ((seen[6] != 0) == (mode == REAL_MODE || mode == V86));
      }
  guest_free (a);
  guest_free (b);
}

/* ---- Those without a model ---- */

static VmmVcpuState
run_one (Guest *g, Mode mode, uint8_t y1, uint8_t y2, const uint32_t gpr[4])
{
  VmmVcpuState s = state_of (g, mode);
  memcpy (s.gpr, gpr, 4 * sizeof *gpr);
  put_synthetic (g, y1, y2);
  put_rest (g);
  memset (&g->call, 0, sizeof g->call);
  return run (g, &s, false);
}

static void
test_info (void)
{
  static const uint32_t known[4] = { 1, 7, 3, 4 }, unknown[4] = { 1, 8, 3, 4 };
  Guest *g = guest_new (true);
  VmmVcpuState s;
  snprintf (subject, sizeof subject, "information");
  for (Mode mode = 0; mode < MODES; mode++)
    {
      s = run_one (g, mode, 0, 0, known);
      CHECK (g->exits[VMM_EXIT_ADDITIONS_CALL] == 1 && g->call.address == VMM_CALL_GETINFO);
      CHECK (g->call.count == 7);
      CHECK (s.gpr[EAX] == 0x11223344 && s.gpr[EDX] == 0x55667788 && s.gpr[ECX] == 7);
      CHECK (s.gpr[EBX] == 4);
      CHECK (vector (&s) == (mode == V86 ? 13 : 0x30)); /* V86: INT with IOPL 0 */
      s = run_one (g, mode, 0, 0, unknown);
      CHECK (s.gpr[EAX] == 1 && s.gpr[EDX] == 3);
      s = run_one (g, mode, 0, 1, known);
      CHECK (s.gpr[EAX] == 1 && s.gpr[EDX] == 3);
      CHECK (g->exits[VMM_EXIT_ADDITIONS_CALL] == (s.cpl == 0 && vector (&s) == 0x30));
      if (mode > RING0_16)
        CHECK (vector (&s) == 13 && g->exits[VMM_EXIT_ADDITIONS_CALL] == 0);
      else
        CHECK (g->call.address == VMM_CALL_SETINFO && g->call.value == 1 && g->call.high == 3);
      s = run_one (g, mode, 1, 2, known);
      CHECK (g->exits[VMM_EXIT_ADDITIONS_CALL] == 1 && g->call.address == VMM_CALL_SPLAF);
      CHECK (memcmp (s.gpr, known, sizeof known) == 0);
    }
  /* CF, where the handler of INT 30h finds it. */
  s = run_one (g, RING0, 0, 0, known);
  CHECK (!(get32 (g, s.gpr[ESP] + 8) & 1));
  s = run_one (g, RING0, 0, 0, unknown);
  CHECK (get32 (g, s.gpr[ESP] + 8) & 1);
  guest_free (g);
}

static void
test_sdte (void)
{
  const uint32_t gdt[4] = { 0x89abcdef, 0x4b, 0x01234567, 0 };
  const uint32_t ldt[4] = { 0x89abcdef, 0x14, 0x01234567, 0 };
  const uint32_t past[4] = { 1, 0x50, 2, 0 }, past_ldt[4] = { 1, 0x1f, 2, 0 };
  Guest *g = guest_new (true);
  VmmVcpuState s;
  snprintf (subject, sizeof subject, "vmsdte");
  s = run_one (g, RING0, 4, 0, gdt);
  CHECK (vector (&s) == 0x30);
  CHECK (get32 (g, GDT + 0x48) == gdt[0] && get32 (g, GDT + 0x4c) == gdt[2]);
  CHECK (get32 (g, GDT + 0x50) == 0 && get32 (g, GDT + 0x44) != gdt[2]);
  s = run_one (g, RING0_16, 4, 0, ldt);
  CHECK (get32 (g, LDT + 0x10) == ldt[0] && get32 (g, LDT + 0x14) == ldt[2]);
  s = run_one (g, RING0, 4, 0, past);
  CHECK (vector (&s) == 13 && get32 (g, s.gpr[ESP]) == 0x50);
  s = run_one (g, RING0, 4, 0, past_ldt);
  CHECK (vector (&s) == 13 && get32 (g, s.gpr[ESP]) == 0x1c);
  put64 (g, GDT + 0x48, 0);
  s = run_one (g, RING3, 4, 0, gdt);
  CHECK (vector (&s) == 13 && get32 (g, s.gpr[ESP]) == 0 && get32 (g, GDT + 0x48) == 0);
  s = state_of (g, RING0);
  s.ldtr = segment (0, 0, 0xffff, 0x82);
  s.gpr[ECX] = 0x14;
  put_synthetic (g, 4, 0);
  s = run (g, &s, false);
  CHECK (vector (&s) == 13 && get32 (g, s.gpr[ESP]) == 0x14);
  guest_free (g);
}

/* ---- What is invalid ---- */

static void
test_invalid (void)
{
  static const uint32_t none[4];
  Guest *on = guest_new (true), *off = guest_new (false);
  VmmVcpuState s;
  for (unsigned y1 = 0; y1 < 256; y1 += y1 < 6 ? 1 : 50)
    for (unsigned y2 = 0; y2 < 256; y2 += y2 < 6 ? 1 : 50)
      {
        static const uint8_t valid[5] = { 0x03, 0x07, 0x1f, 0x0f, 0x01 };
        bool exists = y1 < 5 && y2 < 5 && (valid[y1] >> y2 & 1);
        snprintf (subject, sizeof subject, "0F C7 C8 %02X %02X", y1, y2);
        s = run_one (on, RING0, (uint8_t) y1, (uint8_t) y2, none);
        CHECK ((vector (&s) == 6) == !exists);
        s = run_one (off, RING0, (uint8_t) y1, (uint8_t) y2, none);
        CHECK (vector (&s) == 6 && get32 (off, s.gpr[ESP]) == CODE);
      }
  snprintf (subject, sizeof subject, "prefixes");
  s = state_of (on, RING0);
  put (on, CODE, "\xf0\x0f\xc7\xc8\x02\x02", 6);
  s = run (on, &s, false);
  CHECK (vector (&s) == 6);
  s = state_of (on, RING0);
  put (on, CODE, "\x66\x67\x0f\xc7\xc8\x02\x00\xcd\x30", 9);
  s = run (on, &s, false);
  CHECK (vector (&s) == 0x30 && s.gpr[ESP] == STACK - 4 - 12);
  guest_free (on);
  guest_free (off);
}

/* At the end of a page the rest is fetched if, and only if, the instruction exists. */
static void
test_page_end (void)
{
  for (int additions = 0; additions < 2; additions++)
    {
      Guest *g = guest_new (additions);
      VmmVcpuState s = state_of (g, RING0);
      snprintf (subject, sizeof subject, "page end, additions %s", additions ? "on" : "off");
      put (g, CODE + 0xffd, "\x0f\xc7\xc8\x02\x02\xcd\x30", 7);
      put32 (g, PAGES + 0x1000 + (CODE + 0x1000) / 4096 * 4, 0);
      s.cr0 |= 0x80000000u;
      s.cr3 = PAGES;
      s.eip = CODE + 0xffd;
      s = run (g, &s, false);
      CHECK (vector (&s) == (additions ? 14 : 6));
      CHECK (!additions || s.cr2 == CODE + 0x1000);
      put32 (g, PAGES + 0x1000 + (CODE + 0x1000) / 4096 * 4, (CODE + 0x1000) | 7);
      s = state_of (g, RING0);
      s.cr0 |= 0x80000000u;
      s.cr3 = PAGES;
      s.eip = CODE + 0xffd;
      s.eflags |= 0x200;
      s = run (g, &s, false);
      CHECK (vector (&s) == (additions ? 0x30 : 6));
      guest_free (g);
    }
}

int
main (void)
{
  test_pairs ();
  test_info ();
  test_sdte ();
  test_invalid ();
  test_page_end ();
  if (failures == 0)
    printf ("additions-test: passed\n");
  return failures != 0;
}
