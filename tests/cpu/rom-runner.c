/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs a firmware image or a multiboot kernel on nothing but the processor and RAM.
 *
 *   rom-runner [OPTION...] FILE [ARGUMENT...]
 *     --engine ENGINE  see engine.h
 *     -m MIB   RAM (64)
 *     -p PORT  POST codes, a byte; the last one is reported (0x80)
 *     -t PORT  text port (0xe8)
 *     -e CODE  success is this last POST code
 *     -n N     stop after N million instructions (0: never)
 *     -w ADDRESS=HEX  write these bytes into RAM after loading (repeatable, up to 8)
 *     -x       print the registers before each instruction
 *     -q       say nothing but the text
 *
 * An ELF file with a multiboot header is loaded by its program headers and entered as the multiboot
 * specification, version 1, says: arguments are its command line, and a module carries environment
 * variables for the suites that ask for them.  Anything else is a ROM, put below 4 GiB and below
 * 1 MiB.
 *
 * Devices: text port; COM1's transmitter at 3F8h; exit port F4h (status = what was written);
 * scratch bytes E0h-E7h; interrupt lines 2000h-200Fh and the masks of the 8259s, 21h and A1h;
 * QEMU's firmware configuration, 510h and 511h (processors, RAM); 64 KiB of scratch MMIO at
 * FF000000h; the local APIC's timer.  Time is counted in instructions, one a nanosecond, and jumps
 * over HLT.
 */
#include "engine.h"
#include "vmm.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCRATCH 0xff000000u
#define SCRATCH_SIZE 0x10000u
#define STACK 0x80000u
#define INFO 0x500u /* multiboot information, below everything */

typedef struct {
  VmmVm *vm;
  VmmVcpu *cpu;
  uint32_t post_port, text_port, last_post, wanted_post;
  uint64_t limit, skipped; /* instructions; time that passed in HLT */
  int64_t timer;
  uint16_t lines, masked; /* latched edges of interrupt lines; the two 8259s' masks */
  uint8_t firmware[8]; /* what the firmware configuration port gives */
  unsigned firmware_at;
  uint8_t ports[8], scratch[SCRATCH_SIZE];
  uint8_t *rom;
  size_t rom_size;
  const char *patch[8];
  unsigned patches;
  bool quiet, trace, done;
  int status;
} Runner;

/* ---- The processor's callbacks ---- */

static int64_t
now (void *opaque)
{
  Runner *r = opaque;
  return (int64_t) (r->skipped + (r->cpu ? vmm_vcpu_instructions (r->cpu) : 0));
}

static uint64_t
read_tsc (void *opaque)
{
  return (uint64_t) now (opaque);
}

static void
set_timer (void *opaque, int64_t when)
{
  Runner *r = opaque;
  r->timer = when;
}

static void
eoi (void *opaque, uint8_t vector)
{
}

static void
ferr (void *opaque, bool level)
{
}

static void
log_text (void *opaque, int level, const char *text)
{
  Runner *r = opaque;
  if (!r->quiet)
    fprintf (stderr, "[%d] %s\n", level, text);
}

/* ---- Devices ---- */

/* Selectors of the firmware configuration that test suites ask for. */
static void
firmware_select (Runner *r, uint32_t selector)
{
  uint64_t v = selector == 3 ? vmm_vm_ram_size (r->vm) : selector == 5 || selector == 15 ? 1 : 0;
  memcpy (r->firmware, &v, sizeof v);
  r->firmware_at = 0;
}

static uint32_t
port_read (Runner *r, uint32_t port, uint32_t size)
{
  uint32_t v = 0xffffffffu;
  if (port == 0x3fd)
    return 0x60; /* transmitter empty */
  if (port == 0x511)
    return r->firmware_at < sizeof r->firmware ? r->firmware[r->firmware_at++] : 0;
  if (port >= 0xe0 && port < 0xe8 && port + size <= 0xe8)
    memcpy (&v, r->ports + port - 0xe0, size);
  return v;
}

static void
update_intr (Runner *r)
{
  vmm_vcpu_set_intr (r->cpu, r->lines & ~r->masked);
}

/* Just the edges and vectors of a pair of 8259s as a BIOS sets them up. */
static void
set_line (Runner *r, unsigned line, bool level)
{
  if (level)
    r->lines |= (uint16_t) (1u << line);
  update_intr (r);
}

static uint32_t
acknowledge (Runner *r)
{
  unsigned waiting = r->lines & ~r->masked & 0xffffu;
  if (!waiting)
    return 15; /* spurious */
  unsigned line = (unsigned) __builtin_ctz (waiting);
  r->lines &= (uint16_t) ~(1u << line);
  update_intr (r);
  return line < 8 ? 8 + line : 0x70 + line - 8;
}

static void
port_write (Runner *r, uint32_t port, uint32_t size, uint32_t value)
{
  if (port == r->post_port)
    {
      r->last_post = value & 0xff;
      if (!r->quiet)
        fprintf (stderr, "POST %02x\n", r->last_post);
    }
  else if (port == r->text_port || port == 0x3f8)
    putchar ((int) (value & 0xff));
  else if (port >= 0x2000 && port < 0x2010)
    set_line (r, port & 15, value);
  else if (port == 0x21)
    r->masked = (uint16_t) ((r->masked & 0xff00) | (value & 0xff));
  else if (port == 0xa1)
    r->masked = (uint16_t) ((r->masked & 0xff) | (value & 0xff) << 8);
  else if (port == 0x510)
    firmware_select (r, value);
  else if (port == 0xf4)
    {
      r->status = (int) value;
      r->done = true;
    }
  else if (port >= 0xe0 && port < 0xe8 && port + size <= 0xe8)
    memcpy (r->ports + port - 0xe0, &value, size);
}

static void
string_in (Runner *r, VmmExit *e)
{
  for (uint32_t i = 0; i < e->count; i++)
    {
      uint32_t v = port_read (r, e->address, e->size);
      memcpy (e->items + i * e->size, &v, e->size);
    }
}

static void
string_out (Runner *r, const VmmExit *e)
{
  for (uint32_t i = 0; i < e->count; i++)
    {
      uint32_t v = 0;
      memcpy (&v, e->items + i * e->size, e->size);
      port_write (r, e->address, e->size, v);
    }
}

static void
memory_access (Runner *r, VmmExit *e, bool write)
{
  uint32_t at = e->address - SCRATCH;
  if (at >= SCRATCH_SIZE || at + e->size > SCRATCH_SIZE)
    {
      e->value = 0xffffffffu;
      return;
    }
  if (write)
    memcpy (r->scratch + at, &e->value, e->size);
  else
    memcpy (&e->value, r->scratch + at, e->size);
}

/* ---- Loading ---- */

static uint8_t *
read_file (const char *name, size_t *size)
{
  FILE *f = fopen (name, "rb");
  uint8_t *data = NULL;
  long length;
  if (f && fseek (f, 0, SEEK_END) == 0 && (length = ftell (f)) > 0 && length < 64l << 20)
    {
      rewind (f);
      data = calloc (1, ((size_t) length + 0xffff) & ~(size_t) 0xffff);
      *size = data ? fread (data, 1, (size_t) length, f) : 0;
    }
  if (f)
    fclose (f);
  return data;
}

static void
put32 (Runner *r, uint32_t address, uint32_t value)
{
  vmm_vm_write (r->vm, address, &value, 4);
}

static uint32_t
put_text (Runner *r, uint32_t *at, const char *text)
{
  uint32_t address = *at;
  vmm_vm_write (r->vm, address, text, (uint32_t) strlen (text) + 1);
  *at += ((uint32_t) strlen (text) + 4) & ~3u;
  return address;
}

static void
multiboot_information (Runner *r, int count, char **arguments)
{
  char line[512] = "", environment[128];
  uint32_t at = INFO + 256;
  uint64_t mib = vmm_vm_ram_size (r->vm) >> 20;
  for (int i = 0; i < count; i++)
    snprintf (line + strlen (line), sizeof line - strlen (line), "%s%s", i ? " " : "",
              arguments[i]);
  snprintf (environment, sizeof environment, "NR_CPUS=1\nMEMSIZE=%u\nTEST_DEVICE=1\n",
            (unsigned) mib);
  uint32_t command = put_text (r, &at, line), module = put_text (r, &at, environment);
  put32 (r, INFO, 1 | 4 | 8); /* memory, command line, modules */
  put32 (r, INFO + 4, 640);
  put32 (r, INFO + 8, (uint32_t) (mib - 1) * 1024);
  put32 (r, INFO + 16, command);
  put32 (r, INFO + 20, 1);
  put32 (r, INFO + 24, INFO + 128);
  put32 (r, INFO + 128, module);
  put32 (r, INFO + 132, module + (uint32_t) strlen (environment));
}

static VmmSegmentState
flat (uint16_t selector, uint16_t type)
{
  return (VmmSegmentState) {
    .selector = selector, .flags = (uint16_t) (0xc090 | type), .limit = 0xffffffffu
  };
}

static void
enter_kernel (Runner *r, uint32_t entry)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (r->cpu, &s);
  for (int i = 0; i < 6; i++)
    s.segment[i] = flat (0x10, 3);
  s.segment[1] = flat (8, 0xb);
  s.cr0 = 0x11;
  s.eip = entry;
  s.gpr[0] = 0x2badb002;
  s.gpr[3] = INFO;
  s.gpr[4] = STACK;
  const char *wrong = vmm_vcpu_set_state (r->cpu, &s);
  if (wrong)
    fprintf (stderr, "rom-runner: %s\n", wrong);
}

static void
apply_patches (Runner *r)
{
  for (unsigned i = 0; i < r->patches; i++)
    {
      char *end;
      unsigned byte;
      uint32_t address = (uint32_t) strtoul (r->patch[i], &end, 0);
      if (*end == '=')
        end++;
      for (; sscanf (end, "%2x", &byte) == 1; address++)
        {
          vmm_vm_write (r->vm, address, &byte, 1);
          end += end[1] ? 2 : 1;
        }
    }
}

static bool
load_kernel (Runner *r, const uint8_t *data, size_t size, int count, char **arguments)
{
  const Elf32_Ehdr *header = (const Elf32_Ehdr *) data;
  if (size < sizeof *header || memcmp (header->e_ident, ELFMAG, SELFMAG) != 0)
    return false;
  for (unsigned i = 0; i < header->e_phnum; i++)
    {
      Elf32_Phdr segment;
      if (header->e_phoff + (i + 1) * sizeof segment > size)
        break;
      memcpy (&segment, data + header->e_phoff + i * sizeof segment, sizeof segment);
      if (segment.p_type == PT_LOAD && (size_t) segment.p_offset + segment.p_filesz <= size)
        vmm_vm_write (r->vm, segment.p_paddr, data + segment.p_offset, segment.p_filesz);
    }
  multiboot_information (r, count, arguments);
  enter_kernel (r, header->e_entry);
  return true;
}

static void
load_rom (Runner *r)
{
  uint32_t size = (uint32_t) (r->rom_size + 0xffff) & ~0xffffu;
  uint32_t low = size < 0x20000 ? size : 0x20000;
  vmm_vm_map_read (r->vm, VMM_VIEW_NORMAL, 0u - size, size, VMM_MAP_HOST, 0, r->rom);
  vmm_vm_map_write (r->vm, VMM_VIEW_NORMAL, 0u - size, size, VMM_MAP_IGNORE, 0, NULL);
  vmm_vm_map_read (r->vm, VMM_VIEW_NORMAL, 0x100000 - low, low, VMM_MAP_HOST, 0,
                   r->rom + size - low);
  vmm_vm_map_write (r->vm, VMM_VIEW_NORMAL, 0x100000 - low, low, VMM_MAP_IGNORE, 0, NULL);
}

/* ---- The loop ---- */

/* The processor sleeps: time passes at once, or for ever if nothing can wake it. */
static void
sleep_on (Runner *r)
{
  if (vmm_vcpu_runnable (r->cpu))
    return;
  if (r->timer == INT64_MAX)
    {
      r->done = true;
      return;
    }
  if (r->timer > now (r))
    r->skipped += (uint64_t) (r->timer - now (r));
  vmm_vcpu_apic_timer (r->cpu);
}

static void
serve (Runner *r, VmmExitReason reason)
{
  VmmExit *e = vmm_vcpu_exit (r->cpu);
  switch (reason)
    {
    case VMM_EXIT_IO_IN:
      e->value = port_read (r, e->address, e->size);
      break;
    case VMM_EXIT_IO_OUT:
      port_write (r, e->address, e->size, e->value);
      break;
    case VMM_EXIT_IO_INS:
      string_in (r, e);
      break;
    case VMM_EXIT_IO_OUTS:
      string_out (r, e);
      break;
    case VMM_EXIT_MMIO_READ:
    case VMM_EXIT_MMIO_WRITE:
      memory_access (r, e, reason == VMM_EXIT_MMIO_WRITE);
      break;
    case VMM_EXIT_INTA:
      e->value = acknowledge (r);
      break;
    case VMM_EXIT_HLT:
      sleep_on (r);
      break;
    case VMM_EXIT_SHUTDOWN:
      fprintf (stderr, "rom-runner: the processor shut down\n");
      r->done = true;
      break;
    default:
      break;
    }
}

static void
report (Runner *r)
{
  VmmVcpuState s;
  VmmStat stats[64];
  vmm_vcpu_get_state (r->cpu, &s);
  fprintf (stderr, "stopped at %04x:%08x eflags %08x cr0 %08x cr2 %08x cr3 %08x cr4 %x cpl %u\n",
           s.segment[1].selector, s.eip, s.eflags, s.cr0, s.cr2, s.cr3, s.cr4, s.cpl);
  fprintf (stderr, "eax %08x ecx %08x edx %08x ebx %08x esp %08x ebp %08x esi %08x edi %08x\n",
           s.gpr[0], s.gpr[1], s.gpr[2], s.gpr[3], s.gpr[4], s.gpr[5], s.gpr[6], s.gpr[7]);
  size_t n = vmm_vcpu_stats (r->cpu, stats, 64);
  for (size_t i = 0; i < n && i < 64; i++)
    if (stats[i].value)
      fprintf (stderr, "%s=%llu ", stats[i].name, (unsigned long long) stats[i].value);
  fprintf (stderr, "\n");
}

static void
trace (Runner *r)
{
  VmmVcpuState s;
  vmm_vcpu_get_state (r->cpu, &s);
  fprintf (stderr, "%04x:%08x %08x  %08x %08x %08x %08x  %08x %08x %08x %08x\n",
           s.segment[1].selector, s.eip, s.eflags, s.gpr[0], s.gpr[3], s.gpr[1], s.gpr[2], s.gpr[4],
           s.gpr[5], s.gpr[6], s.gpr[7]);
}

static void
run (Runner *r)
{
  while (!r->done)
    {
      if (r->trace)
        trace (r);
      serve (r, vmm_vcpu_execute (r->cpu, r->trace ? 1 : 100000));
      if (now (r) >= r->timer)
        {
          r->timer = INT64_MAX;
          vmm_vcpu_apic_timer (r->cpu);
        }
      if (r->limit && vmm_vcpu_instructions (r->cpu) > r->limit)
        {
          fprintf (stderr, "rom-runner: too many instructions\n");
          r->status = 124;
          break;
        }
    }
  fflush (stdout);
  if (!r->quiet)
    report (r);
}

static int
usage (void)
{
  fprintf (stderr, "usage: rom-runner [--engine ENGINE] [-m MIB] [-p POST] [-t TEXT] [-e CODE]\n"
                   "  [-n MILLIONS] [-w ADDRESS=HEX] [-qx] FILE [ARGUMENT...]\n");
  return 64;
}

static uint64_t
parse (Runner *r, int argc, char **argv)
{
  uint64_t mib = 64;
  int option;
  while ((option = getopt (argc, argv, "+m:p:t:e:n:w:qx")) != -1)
    switch (option)
      {
      case 'm': mib = strtoul (optarg, NULL, 0); break;
      case 'p': r->post_port = (uint32_t) strtoul (optarg, NULL, 0); break;
      case 't': r->text_port = (uint32_t) strtoul (optarg, NULL, 0); break;
      case 'e': r->wanted_post = (uint32_t) strtoul (optarg, NULL, 0); break;
      case 'n': r->limit = strtoull (optarg, NULL, 0) * 1000000; break;
      case 'w':
        if (r->patches < sizeof r->patch / sizeof r->patch[0])
          r->patch[r->patches++] = optarg;
        break;
      case 'x': r->trace = true; break;
      case 'q': r->quiet = true; break;
      default: return 0;
      }
  return optind < argc ? mib : 0;
}

static bool
build (Runner *r, uint64_t mib)
{
  const char *error = NULL;
  VmmVcpuConfig config = {
    .opaque = r, .tsc_hz = 1000000000, .apic = true, .sse2 = true, .apic_bus_hz = 100000000,
    .read_tsc = read_tsc, .now = now, .set_timer = set_timer, .apic_eoi = eoi, .ferr = ferr,
    .log = log_text,
  };
  engine_configure (&config);
  r->vm = vmm_vm_new (mib << 20, &error);
  if (!r->vm)
    {
      fprintf (stderr, "rom-runner: %s\n", error);
      return false;
    }
  vmm_vm_map_read (r->vm, VMM_VIEW_NORMAL, 0, mib << 20, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (r->vm, VMM_VIEW_NORMAL, 0, mib << 20, VMM_MAP_RAM, 0, NULL);
  r->cpu = vmm_vcpu_new (r->vm, &config, &error);
  if (!r->cpu)
    fprintf (stderr, "rom-runner: %s\n", error);
  return r->cpu != NULL;
}

int
main (int argc, char **argv)
{
  Runner *r = calloc (1, sizeof *r);
  int status = 1;
  if (!r)
    return 71;
  r->post_port = 0x80;
  r->text_port = 0xe8;
  r->wanted_post = 0x100;
  r->timer = INT64_MAX;
  engine_option (&argc, argv);
  uint64_t mib = parse (r, argc, argv);
  if (!mib)
    status = usage ();
  else if (!(r->rom = read_file (argv[optind], &r->rom_size)))
    fprintf (stderr, "rom-runner: cannot read %s\n", argv[optind]);
  else if (build (r, mib))
    {
      if (!load_kernel (r, r->rom, r->rom_size, argc - optind, argv + optind))
        load_rom (r);
      apply_patches (r);
      run (r);
      status = r->wanted_post < 0x100 && r->last_post != r->wanted_post ? 1 : r->status;
    }
  vmm_vcpu_free (r->cpu);
  vmm_vm_free (r->vm);
  free (r->rom);
  free (r);
  return status;
}
