/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rom-machine.h. */
#include "rom-machine.h"

#include "vmm.h"

#include <string.h>

#define RAM_SIZE (1 << 20)
#define ROM_AT 0xc0000u
#define ROM_MAX 0x10000u
#define STUB 0x600u /* code that enters the ROM */
#define IRET 0x700u /* what unused vectors point to */
#define STACK 0x7c00u
#define LIMIT 20000000u /* instructions of a call */

struct RomMachine {
  TnHarness *h;
  VmmVm *vm;
  VmmVcpu *cpu;
  uint8_t *rom;
  VmmVcpuState start;
  unsigned rom_writes;
};

static uint64_t
no_tsc (void *opaque)
{
  return 0;
}

static int64_t
no_time (void *opaque)
{
  return 0;
}

static void
no_timer (void *opaque, int64_t when)
{
}

static void
no_eoi (void *opaque, uint8_t vector)
{
}

static void
no_ferr (void *opaque, bool level)
{
}

/* ---- Exits ---- */

static uint32_t
port_read (RomMachine *m, uint16_t port, uint32_t size)
{
  tn_harness_clock_step (m->h, TN_NS_PER_US);
  return size == 1   ? tn_harness_in8 (m->h, port)
         : size == 2 ? tn_harness_in16 (m->h, port)
                     : tn_harness_in32 (m->h, port);
}

static void
port_write (RomMachine *m, uint16_t port, uint32_t size, uint32_t value)
{
  tn_harness_clock_step (m->h, TN_NS_PER_US);
  if (size == 1)
    tn_harness_out8 (m->h, port, value);
  else if (size == 2)
    tn_harness_out16 (m->h, port, value);
  else
    tn_harness_out32 (m->h, port, value);
}

static void
string_io (RomMachine *m, VmmExit *e, bool in)
{
  for (uint32_t i = 0; i < e->count; i++)
    {
      uint32_t value = 0;
      if (in)
        value = port_read (m, e->address, e->size);
      else
        memcpy (&value, e->items + i * e->size, e->size);
      if (in)
        memcpy (e->items + i * e->size, &value, e->size);
      else
        port_write (m, e->address, e->size, value);
    }
}

static void
memory_access (RomMachine *m, VmmExit *e, bool write)
{
  bool rom = e->address >= ROM_AT && e->address < ROM_AT + ROM_MAX;
  if (write && rom)
    m->rom_writes++;
  else if (write)
    tn_harness_write (m->h, e->address, e->value, e->size);
  else
    e->value = tn_harness_read (m->h, e->address, e->size);
}

/* Until the code halts. */
static void
run (RomMachine *m)
{
  uint64_t first = vmm_vcpu_instructions (m->cpu);
  for (;;)
    {
      VmmExitReason reason = vmm_vcpu_execute (m->cpu, 100000);
      VmmExit *e = vmm_vcpu_exit (m->cpu);
      switch (reason)
        {
        case VMM_EXIT_HLT: return;
        case VMM_EXIT_IO_IN: e->value = port_read (m, e->address, e->size); break;
        case VMM_EXIT_IO_OUT: port_write (m, e->address, e->size, e->value); break;
        case VMM_EXIT_IO_INS: string_io (m, e, true); break;
        case VMM_EXIT_IO_OUTS: string_io (m, e, false); break;
        case VMM_EXIT_MMIO_READ: memory_access (m, e, false); break;
        case VMM_EXIT_MMIO_WRITE: memory_access (m, e, true); break;
        case VMM_EXIT_TIME_SLICE: break;
        default: g_error ("the processor stopped: %s", vmm_exit_name (reason));
        }
      if (vmm_vcpu_instructions (m->cpu) - first > LIMIT)
        {
          VmmVcpuState s;
          vmm_vcpu_get_state (m->cpu, &s);
          g_error ("endless at %04x:%04x", s.segment[1].selector, s.eip);
        }
    }
}

/* ---- Calls ---- */

static void
enter (RomMachine *m, const uint8_t *stub, size_t size, RomRegs *r)
{
  VmmVcpuState s = m->start;
  const char *wrong;
  vmm_vm_write (m->vm, STUB, stub, size);
  for (unsigned i = 0; i < 6; i++)
    {
      s.segment[i].selector = 0;
      s.segment[i].base = 0;
    }
  s.segment[0].selector = r->es;
  s.segment[0].base = r->es << 4;
  s.segment[3].selector = r->ds;
  s.segment[3].base = r->ds << 4;
  s.eip = STUB;
  s.gpr[0] = 0xaaaa0000 | r->ax;
  s.gpr[1] = 0xcccc0000 | r->cx;
  s.gpr[2] = 0xdddd0000 | r->dx;
  s.gpr[3] = 0xbbbb0000 | r->bx;
  s.gpr[4] = STACK;
  s.gpr[5] = r->bp;
  s.gpr[6] = 0x51510000 | r->si;
  s.gpr[7] = 0xd1d10000 | r->di;
  s.eflags = 0x202;
  wrong = vmm_vcpu_set_state (m->cpu, &s);
  if (wrong)
    g_error ("%s", wrong);
  run (m);
  vmm_vcpu_get_state (m->cpu, &s);
  g_assert_cmphex (s.gpr[4], ==, STACK);
  g_assert_cmphex (s.gpr[0] >> 16, ==, 0xaaaa); /* nobody's upper halves change */
  g_assert_cmphex (s.gpr[1] >> 16, ==, 0xcccc);
  g_assert_cmphex (s.gpr[2] >> 16, ==, 0xdddd);
  g_assert_cmphex (s.gpr[3] >> 16, ==, 0xbbbb);
  g_assert_cmphex (s.gpr[6] >> 16, ==, 0x5151);
  g_assert_cmphex (s.gpr[7] >> 16, ==, 0xd1d1);
  g_assert_cmphex (s.segment[4].selector | s.segment[5].selector, ==, 0);
  *r = (RomRegs){ .ax = s.gpr[0],
                  .bx = s.gpr[3],
                  .cx = s.gpr[1],
                  .dx = s.gpr[2],
                  .si = s.gpr[6],
                  .di = s.gpr[7],
                  .bp = s.gpr[5],
                  .ds = s.segment[3].selector,
                  .es = s.segment[0].selector,
                  .flags = s.eflags };
}

void
rom_machine_int (RomMachine *m, uint8_t vector, RomRegs *regs)
{
  uint8_t stub[] = { 0xcd, vector, 0xf4 };
  enter (m, stub, sizeof stub, regs);
}

void
rom_machine_far (RomMachine *m, uint16_t segment, uint16_t offset, RomRegs *regs)
{
  uint8_t stub[] = { 0x9a, offset, offset >> 8, segment, segment >> 8, 0xf4 };
  enter (m, stub, sizeof stub, regs);
}

void
rom_machine_post (RomMachine *m)
{
  RomRegs regs = { 0 };
  rom_machine_far (m, ROM_AT >> 4, 3, &regs);
}

void
rom_machine_near32 (RomMachine *m, uint32_t address, uint32_t *eax, uint32_t ebx, uint32_t ecx,
                    uint32_t *edx, uint32_t edi)
{
  static const uint8_t stub[] = { 0xff, 0xd6, 0xf4 }; /* call esi; hlt */
  VmmVcpuState s = m->start;
  vmm_vm_write (m->vm, STUB, stub, sizeof stub);
  for (unsigned i = 0; i < 6; i++)
    s.segment[i] = (VmmSegmentState){ .selector = i == 1 ? 8 : 0x10,
                                      .flags = i == 1 ? 0xc09b : 0xc093,
                                      .limit = 0xffffffff };
  s.cr0 |= 1;
  s.eip = STUB;
  s.gpr[0] = *eax;
  s.gpr[1] = ecx;
  s.gpr[2] = *edx;
  s.gpr[3] = ebx;
  s.gpr[4] = STACK;
  s.gpr[6] = address;
  s.gpr[7] = edi;
  s.eflags = 2;
  if (vmm_vcpu_set_state (m->cpu, &s))
    g_error ("%s", vmm_vcpu_set_state (m->cpu, &s));
  run (m);
  vmm_vcpu_get_state (m->cpu, &s);
  g_assert_cmphex (s.gpr[4], ==, STACK);
  g_assert_cmphex (s.gpr[3], ==, ebx);
  g_assert_cmphex (s.gpr[1], ==, ecx);
  g_assert_cmphex (s.gpr[7], ==, edi);
  *eax = s.gpr[0];
  *edx = s.gpr[2];
}

/* ---- Memory ---- */

void
rom_machine_read (RomMachine *m, uint32_t address, void *bytes, uint32_t size)
{
  vmm_vm_read (m->vm, address, bytes, size);
}

void
rom_machine_write (RomMachine *m, uint32_t address, const void *bytes, uint32_t size)
{
  vmm_vm_write (m->vm, address, bytes, size);
}

uint8_t
rom_machine_byte (RomMachine *m, uint32_t address)
{
  uint8_t value;
  vmm_vm_read (m->vm, address, &value, 1);
  return value;
}

uint16_t
rom_machine_word (RomMachine *m, uint32_t address)
{
  uint16_t value;
  vmm_vm_read (m->vm, address, &value, 2);
  return value;
}

uint32_t
rom_machine_dword (RomMachine *m, uint32_t address)
{
  uint32_t value;
  vmm_vm_read (m->vm, address, &value, 4);
  return value;
}

/* ---- Life cycle ---- */

static void
map_memory (RomMachine *m)
{
  uint8_t iret = 0xcf;
  uint32_t vector = IRET;
  vmm_vm_map_read (m->vm, VMM_VIEW_NORMAL, 0, 0xa0000, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (m->vm, VMM_VIEW_NORMAL, 0, 0xa0000, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_read (m->vm, VMM_VIEW_NORMAL, ROM_AT, ROM_MAX, VMM_MAP_HOST, 0, m->rom);
  vmm_vm_write (m->vm, IRET, &iret, 1);
  for (unsigned i = 0; i < 256; i++)
    vmm_vm_write (m->vm, 4 * i, &vector, 4);
}

RomMachine *
rom_machine_new (TnHarness *h, const char *rom)
{
  g_autofree char *bytes = NULL;
  gsize size;
  const char *error = NULL;
  RomMachine *m;
  VmmVcpuConfig config = { .tsc_hz = 1000000000,
                           .apic_bus_hz = 100000000,
                           .read_tsc = no_tsc,
                           .now = no_time,
                           .set_timer = no_timer,
                           .apic_eoi = no_eoi,
                           .ferr = no_ferr };
  if (!g_file_get_contents (rom, &bytes, &size, NULL) || size > ROM_MAX)
    return NULL;
  m = g_new0 (RomMachine, 1);
  m->h = h;
  m->rom = g_malloc (ROM_MAX);
  memset (m->rom, 0xff, ROM_MAX);
  memcpy (m->rom, bytes, size);
  m->vm = vmm_vm_new (RAM_SIZE, &error);
  g_assert_nonnull (m->vm);
  map_memory (m);
  m->cpu = vmm_vcpu_new (m->vm, &config, &error);
  g_assert_nonnull (m->cpu);
  vmm_vcpu_get_state (m->cpu, &m->start);
  return m;
}

void
rom_machine_free (RomMachine *m)
{
  if (!m)
    return;
  vmm_vcpu_free (m->cpu);
  vmm_vm_free (m->vm);
  tn_harness_free (m->h);
  g_free (m->rom);
  g_free (m);
}

TnHarness *
rom_machine_harness (RomMachine *m)
{
  return m->h;
}

unsigned
rom_machine_rom_writes (RomMachine *m)
{
  return m->rom_writes;
}
