/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our side of the silicon test: a small kernel in the guest that starts each sequence with IRET at
 * privilege 3 and takes whatever ends it.
 *
 * Everything goes through vmm.h.  The state to start with is written into the guest's control page,
 * loaded there by the guest's own FXRSTOR, POPA and IRET, and stored by a handler common to all
 * vectors, which then says by an OUT that it is done.  Physical pages: see PAGE_*.
 */
#include "silicon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "vmm.h"

/* Pages of RAM. */
enum {
  PAGE_DIRECTORY = 1,
  PAGE_TABLES = 2, /* one for each of the six 4 MiB areas below */
  PAGE_KERNEL = 8, /* code, descriptor tables, TSS, stack, control: KERNEL in linear space */
  PAGE_DATA = 16,  /* in the reverse order, so that neighbours in linear space are none here */
  PAGE_IMAGE = 32,
  PAGE_RETURN = 33,
  PAGE_CODE = 64,  /* 16 for each area */
};
#define RAM_SIZE (1u << 20)
#define WATCHDOG_US 50000

#define KERNEL (OUR_STACK - 0x3000)
#define K_CODE KERNEL
#define K_TABLES (KERNEL + 0x1000) /* GDT at 0, LDT at 100, TSS at 200, IDT at 800 */
#define K_STACK (KERNEL + 0x3000)  /* its end */
#define K_CONTROL (KERNEL + 0x3000)
#define K_PAGES 4
#define ENTRY (K_CODE + 0x800)
#define COMMON (K_CODE + 0x900)

/* The control page. */
#define C_FX_IN 0x000
#define C_FX_OUT 0x200
#define C_DS 0x400 /* ds, es, gs: dwords */
#define C_FRAME 0x410 /* POPA's eight, then EIP CS EFLAGS ESP SS */
#define C_CR2 0x480
#define C_ESP 0x484 /* at the end of the handler's pushes: tells whether there is an error code */

static struct {
  VmmVm *vm;
  VmmVcpu *cpu;
  uint8_t *control, *stack;
  uint8_t *pages[RW_PAGES], *image;
  bool pointers;
} ours;

static uint8_t *
page (unsigned n)
{
  return vmm_vm_ram_page (ours.vm, (uint64_t) n * 4096);
}

static void
put32 (uint8_t *at, uint32_t v)
{
  memcpy (at, &v, 4);
}

static uint32_t
get32 (const uint8_t *at)
{
  uint32_t v;
  memcpy (&v, at, 4);
  return v;
}

/* ---- Tables ---- */

static void
map (uint32_t linear, unsigned physical, unsigned table, bool user, bool writable)
{
  uint8_t *directory = page (PAGE_DIRECTORY), *pages = page (PAGE_TABLES + table);
  put32 (directory + (linear >> 22) * 4, (PAGE_TABLES + table) * 4096 + 7);
  put32 (pages + (linear >> 12 & 1023) * 4, physical * 4096 + 1 + 2 * writable + 4 * user);
}

static void
make_pages (void)
{
  for (unsigned n = 0; n < DATA_PAGES; n++)
    if (n != 0 && n != 3 && n != 7)
      map (DATA + n * 4096, PAGE_DATA + DATA_PAGES - n, 2, true,
           memchr (rw_pages, (int) n, RW_PAGES));
  map (IMAGE, PAGE_IMAGE, 3, true, true);
  map (RETURN, PAGE_RETURN, 4, true, false);
  for (unsigned n = 0; n < K_PAGES; n++)
    map (KERNEL + n * 4096, PAGE_KERNEL + n, 5, false, true);
}

static void
descriptor (uint8_t *at, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
  put32 (at, (limit & 0xffff) | base << 16);
  put32 (at + 4, (base >> 16 & 0xff) | (uint32_t) access << 8 | (limit & 0xf0000)
                     | (uint32_t) flags << 20 | (base & 0xff000000u));
}

static void
make_tables (void)
{
  uint8_t *tables = page (PAGE_KERNEL + 1);
  descriptor (tables + 0x08, 0, 0xfffff, 0x9b, 0xc);
  descriptor (tables + 0x10, 0, 0xfffff, 0x93, 0xc);
  descriptor (tables + 0x20, 0, 0xfffff, 0xfb, 0xc);
  descriptor (tables + 0x28, 0, 0xfffff, 0xf3, 0xc);
  descriptor (tables + 0x30, 0, 0xfffff, 0x7b,
              0xc); /* SEL_RETURN: not present, that ends sequences */
  descriptor (tables + 0x38, K_TABLES + 0x100, LDT_COUNT * 8 - 1, 0x82, 0);
  descriptor (tables + 0x40, K_TABLES + 0x200, 0x67, 0x8b, 0);
  for (unsigned n = 0; n < LDT_COUNT; n++)
    {
      const LdtEntry *e = &ldt_entries[n];
      uint8_t access = 0xf1;
      access |= e->code ? 0x0a : (e->down ? 4 : 0) | (e->readonly ? 0 : 2);
      descriptor (tables + 0x100 + n * 8, e->base, e->limit, access, e->big ? 4 : 0);
    }
  put32 (tables + 0x204, K_STACK);
  put32 (tables + 0x208, 0x10);
  put32 (tables + 0x264, 0x680000); /* no I/O bitmap */
  for (unsigned v = 0; v < 256; v++)
    {
      uint32_t handler = K_CODE + v * 8, access = v == 3 || v == 4 ? 0xee00 : 0x8e00;
      put32 (tables + 0x800 + v * 8, (handler & 0xffff) | 8 << 16);
      put32 (tables + 0x804 + v * 8, (handler & 0xffff0000u) | access);
    }
}

/* ---- The kernel ---- */

static uint8_t *
bytes (uint8_t *at, const char *hex)
{
  for (unsigned value; sscanf (hex, "%2x", &value) == 1; hex += 2)
    *at++ = (uint8_t) value;
  return at;
}

static uint8_t *
address (uint8_t *at, uint32_t offset)
{
  put32 (at, K_CONTROL + offset);
  return at + 4;
}

static uint8_t *
load_control (uint8_t *at, const char *hex, uint32_t offset)
{
  return address (bytes (at, hex), offset);
}

static void
make_kernel (void)
{
  uint8_t *code = page (PAGE_KERNEL), *at;
  for (unsigned v = 0; v < 256; v++)
    {
      at = bytes (code + v * 8, "6a"); /* push v; jmp common */
      *at++ = (uint8_t) v;
      at = bytes (at, "e9");
      put32 (at, COMMON - (K_CODE + v * 8 + 7));
    }
  at = code + (ENTRY - K_CODE);
  at = load_control (at, "0fae0d", C_FX_IN); /* fxrstor */
  at = load_control (at, "8e05", C_DS + 4);  /* mov es */
  at = load_control (at, "8e2d", C_DS + 8);  /* mov gs */
  at = load_control (at, "bc", C_FRAME);     /* mov esp */
  at = load_control (at, "8e1d", C_DS);      /* mov ds */
  bytes (at, "61cf");                        /* popa; iret */
  at = code + (COMMON - K_CODE);
  at = bytes (at, "601e060fa8");               /* pusha; push ds, es, gs */
  at = bytes (at, "66b810008ed8");             /* mov ds, 10h */
  at = load_control (at, "8925", C_ESP);       /* mov [], esp */
  at = bytes (at, "0f20d0a3");           /* mov eax, cr2; mov [], eax */
  at = address (at, C_CR2);
  at = load_control (at, "0fae05", C_FX_OUT); /* fxsave */
  at = bytes (at, "e6e9e9");                  /* out e9h, al; jmp entry */
  put32 (at, ENTRY - (K_CODE + (uint32_t) (at - code) + 4));
}

/* ---- The machine ---- */

static _Noreturn void
die (const char *what)
{
  fprintf (stderr, "silicon: our processor: %s\n", what);
  exit (1);
}

static uint64_t
read_tsc (void *opaque)
{
  return 0;
}

static int64_t
read_clock (void *opaque)
{
  return 0;
}

static void
set_timer (void *opaque, int64_t when)
{
}

static void
segment (VmmSegmentState *s, uint16_t selector, uint16_t flags)
{
  *s = (VmmSegmentState) { .selector = selector, .flags = flags, .base = 0, .limit = 0xffffffffu };
}

static void
start_state (void)
{
  VmmVcpuState *s = calloc (1, sizeof *s);
  vmm_vcpu_get_state (ours.cpu, s);
  s->cr0 = 0x80050033u; /* PG AM WP NE ET MP PE */
  s->cr3 = PAGE_DIRECTORY * 4096;
  s->cr4 = 0x600; /* OSFXSR OSXMMEXCPT */
  s->eip = ENTRY;
  s->eflags = 2;
  s->gpr[4] = K_STACK;
  s->gdt_base = K_TABLES;
  s->gdt_limit = 0x47;
  s->idt_base = K_TABLES + 0x800;
  s->idt_limit = 0x7ff;
  for (unsigned n = 0; n < 6; n++)
    segment (&s->segment[n], 0x10, 0xc093);
  segment (&s->segment[1], 0x08, 0xc09b);
  s->segment[4] = (VmmSegmentState) { 0 };
  s->segment[5] = (VmmSegmentState) { 0 };
  s->ldtr = (VmmSegmentState) { 0x38, 0x82, K_TABLES + 0x100, LDT_COUNT * 8 - 1 };
  s->tr = (VmmSegmentState) { 0x40, 0x8b, K_TABLES + 0x200, 0x67 };
  s->cpl = 0;
  const char *wrong = vmm_vcpu_set_state (ours.cpu, s);
  free (s);
  if (wrong)
    die (wrong);
}

bool
ours_has_pointers (void)
{
  return ours.pointers;
}

void
ours_start (bool uncounted)
{
  const char *error;
  VmmVcpuConfig config = { .sse2 = true, .tsc_hz = 1000000000, .apic_bus_hz = 100000000,
                           .read_tsc = read_tsc, .now = read_clock, .set_timer = set_timer };
  engine_configure (&config);
  ours.pointers = !uncounted || config.engine == VMM_ENGINE_INTERPRET;
  if (uncounted)
    {
      config.counted = false;
      config.stress |= VMM_STRESS_UNDEFINED;
    }
  ours.vm = vmm_vm_new (RAM_SIZE, &error);
  if (!ours.vm)
    die (error);
  for (unsigned view = 0; view < VMM_VIEWS; view++)
    {
      vmm_vm_map_read (ours.vm, view, 0, RAM_SIZE, VMM_MAP_RAM, 0, NULL);
      vmm_vm_map_write (ours.vm, view, 0, RAM_SIZE, VMM_MAP_RAM, 0, NULL);
    }
  ours.cpu = vmm_vcpu_new (ours.vm, &config, &error);
  if (!ours.cpu)
    die (error);
  if (uncounted) /* nothing else ends a slice */
    vmm_vcpu_pace (ours.cpu, WATCHDOG_US);
  make_pages ();
  make_tables ();
  make_kernel ();
  ours.control = page (PAGE_KERNEL + 3);
  ours.stack = page (PAGE_KERNEL + 2) + 4096;
  for (unsigned n = 0; n < RW_PAGES; n++)
    ours.pages[n] = page (PAGE_DATA + DATA_PAGES - rw_pages[n]);
  memcpy (page (PAGE_RETURN), native_return_page (), 4096);
  ours.image = page (PAGE_IMAGE) + 4096 - IMAGE_WINDOW;
  start_state ();
}

void
ours_stop (void)
{
  vmm_vcpu_free (ours.cpu);
  vmm_vm_free (ours.vm);
}

/* ---- Cases ---- */

void
ours_code (unsigned area, unsigned slot, const uint8_t *code)
{
  unsigned start = slot ? SLOT (slot) : 0, end = SLOT (slot) + SLOT_SIZE;
  if (end > CODE_SIZE)
    end = CODE_SIZE;
  vmm_vm_write (ours.vm, (PAGE_CODE + 16 * area) * 4096 + start, code + start, end - start);
}

/* One area is there, the other is not: it is being written. */
static void
switch_area (unsigned area)
{
  for (unsigned n = 0; n < 16; n++)
    {
      map (CODE (area) + n * 4096, PAGE_CODE + 16 * area + n, area, true, false);
      put32 (page (PAGE_TABLES + (area ^ 1)) + (CODE (area ^ 1) >> 12 & 1023) * 4 + n * 4, 0);
    }
  /* That flushes the TLB. */
  vmm_vm_map_read (ours.vm, VMM_VIEW_NORMAL, 0, VMM_PAGE_SIZE, VMM_MAP_RAM, 0, NULL);
}

void
ours_prepare (const Batch *batch, unsigned area)
{
  switch_area (area);
  for (unsigned n = 0; n < DATA_PAGES; n++)
    if (n != 0 && n != 3 && n != 7)
      memcpy (page (PAGE_DATA + DATA_PAGES - n), batch->memory + n * 4096, 4096);
  memcpy (ours.image, batch->image, IMAGE_WINDOW);
}

static void
put_case (const Case *k, unsigned area)
{
  uint8_t *c = ours.control, *frame = c + C_FRAME;
  memcpy (c + C_FX_IN, k->fx, 512);
  put32 (c + C_DS, k->ds);
  put32 (c + C_DS + 4, k->es);
  put32 (c + C_DS + 8, k->gs);
  for (unsigned n = 0; n < 8; n++)
    put32 (frame + 4 * n, k->gpr[7 - n]);
  put32 (frame + 32, k->start + (k->code16 ? 0 : CODE (area)));
  put32 (frame + 36, k->cs);
  put32 (frame + 40, k->eflags);
  put32 (frame + 44, k->gpr[4]);
  put32 (frame + 48, k->ss);
}

static void
take_case (const Case *k, unsigned area, Result *r)
{
  const uint8_t *top = ours.stack; /* SS ESP EFLAGS CS EIP [error] vector PUSHA ds es gs */
  uint32_t end = k->start + k->offset[k->count] + (k->code16 ? 0 : CODE (area));
  bool error = get32 (ours.control + C_ESP) == K_STACK - 28 - 44;
  uint32_t vector = get32 (top - (error ? 28 : 24)) & 0xff;
  const uint8_t *saved = top - (error ? 28 : 24) - 32;
  for (unsigned n = 0; n < 8; n++)
    r->gpr[n] = get32 (saved + 4 * (7 - n));
  r->gpr[4] = get32 (top - 8);
  r->ss = (uint16_t) get32 (top - 4);
  r->eflags = get32 (top - 12);
  r->cs = (uint16_t) get32 (top - 16);
  r->eip = get32 (top - 20);
  r->ds = (uint16_t) get32 (saved - 4);
  r->es = (uint16_t) get32 (saved - 8);
  r->gs = (uint16_t) get32 (saved - 12);
  r->vector = vector;
  r->error = error ? get32 (top - 24) : 0;
  r->cr2 = vector == 14 ? get32 (ours.control + C_CR2) : 0;
  memcpy (r->fx, ours.control + C_FX_OUT, 512);
  if (vector == 11 && r->error == (SEL_RETURN & ~3u) && r->eip == end)
    {
      r->vector = VECTOR_END;
      r->error = 0;
      r->eflags &= ~0x10000u; /* RF: it was a fault */
    }
}

void
ours_run (const Batch *batch, unsigned area, unsigned n, Result *r)
{
  const Case *k = &batch->cases[n];
  VmmExitReason reason = VMM_EXIT_TIME_SLICE;
  put_case (k, area);
  for (unsigned slices = 0; reason == VMM_EXIT_TIME_SLICE && slices < 100; slices++)
    reason = vmm_vcpu_execute (ours.cpu, 100000);
  if (reason != VMM_EXIT_IO_OUT || vmm_vcpu_exit (ours.cpu)->address != 0xe9)
    {
      fprintf (stderr, "silicon: our processor stopped with %s\n", vmm_exit_name (reason));
      r->vector = 0x200 + reason;
      return;
    }
  take_case (k, area, r);
  memory_take (r, ours.pages, batch->memory);
  if (!k->images)
    return;
  memcpy (r->image, ours.image, IMAGE_WINDOW);
  memcpy (ours.image, batch->image, IMAGE_WINDOW);
}
