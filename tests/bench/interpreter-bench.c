/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the interpreter is: guest instructions per second in user code (protected mode, paging,
 * CPL 3) for some kernels (kernels.asm) and their geometric mean; and the decoder beside Zydis.
 *
 *   interpreter-bench [SECONDS [KERNEL]]
 *
 * Exits with 1 if the mean is below the 50 million that are asked for.
 */
#include "insn.h"

#include <Zydis/Zydis.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RAM            (16u << 20)
#define KERNEL_BASE    0x100000u
#define STACK          0x3ff000u
#define PAGE_DIRECTORY 0x10000u
#define PAGE_TABLES    0x11000u

extern const uint8_t bench_kernels[], bench_kernels_end[];

typedef struct
{
  char name[12];
  uint32_t offset;
} Kernel;

static double
seconds (void)
{
  struct timespec t;
  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
put32 (VmmVm *vm, uint32_t address, uint32_t v)
{
  vmm_vm_write (vm, address, &v, sizeof v);
}

static VmmVm *
make_vm (void)
{
  const char *error;
  VmmVm *vm = vmm_vm_new (RAM, &error);
  if (!vm)
    {
      fprintf (stderr, "interpreter-bench: %s\n", error);
      exit (2);
    }
  vmm_vm_map_read (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (vm, VMM_VIEW_NORMAL, 0, RAM, VMM_MAP_RAM, 0, NULL);
  vmm_vm_write (vm, KERNEL_BASE, bench_kernels, (uint32_t)(bench_kernels_end - bench_kernels));
  for (uint32_t page = 0; page < RAM / 4096; page++)
    put32 (vm, PAGE_TABLES + page * 4, page << 12 | 7);
  for (uint32_t table = 0; table < RAM >> 22; table++)
    put32 (vm, PAGE_DIRECTORY + table * 4, (PAGE_TABLES + table * 4096) | 7);
  return vm;
}

static void
set_segment (VmmSegmentState *s, uint16_t selector, uint16_t flags)
{
  *s = (VmmSegmentState){ .selector = selector, .flags = flags, .limit = 0xffffffffu };
}

/* A user program at `eip`. */
static void
start (VmmVcpu *c, uint32_t eip)
{
  VmmVcpuState s;
  vmm_vcpu_reset (c);
  vmm_vcpu_get_state (c, &s);
  for (int n = 0; n < 6; n++)
    set_segment (&s.segment[n], 0x23, 0xc0f3);
  set_segment (&s.segment[VMM_CS], 0x1b, 0xc0fb);
  s.cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
  s.cr3 = PAGE_DIRECTORY;
  s.cpl = 3;
  s.eip = eip;
  s.eflags = FL_1 | FL_IF;
  memset (s.gpr, 0, sizeof s.gpr);
  s.gpr[VMM_ESP] = STACK;
  const char *error = vmm_vcpu_set_state (c, &s);
  if (error)
    {
      fprintf (stderr, "interpreter-bench: %s\n", error);
      exit (2);
    }
}

/* Millions of instructions per second. */
static double
run (VmmVcpu *c, const Kernel *k, double duration)
{
  start (c, KERNEL_BASE + k->offset);
  vmm_vcpu_execute (c, 1000000);
  uint64_t count = vmm_vcpu_instructions (c);
  double begin = seconds (), now;
  do
    {
      VmmExitReason reason = vmm_vcpu_execute (c, 2000000);
      if (reason != VMM_EXIT_TIME_SLICE)
        {
          fprintf (stderr, "interpreter-bench: %s: exit %s\n", k->name, vmm_exit_name (reason));
          exit (2);
        }
      now = seconds ();
    }
  while (now - begin < duration);
  return (double)(vmm_vcpu_instructions (c) - count) / (now - begin) * 1e-6;
}

/* ---- Decoders ---- */

static double
decode_ours (const uint8_t *code, unsigned size, unsigned rounds, unsigned *count)
{
  double begin = seconds ();
  unsigned n = 0;
  for (unsigned r = 0; r < rounds; r++)
    for (unsigned at = 0; at < size;)
      {
        VmmInsn insn;
        unsigned decoded;
        int length
            = vmm_decode (code + at, size - at, VMM_KEY_CODE32 | VMM_KEY_FLAT, &insn, &decoded);
        at += length > 0 ? (unsigned)length : 1;
        n++;
      }
  *count = n;
  return (seconds () - begin) * 1e9 / n;
}

static double
decode_zydis (const uint8_t *code, unsigned size, unsigned rounds)
{
  ZydisDecoder decoder;
  ZydisDecoderInit (&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  double begin = seconds ();
  unsigned n = 0;
  for (unsigned r = 0; r < rounds; r++)
    for (unsigned at = 0; at < size;)
      {
        ZydisDecodedInstruction insn;
        bool ok = ZYAN_SUCCESS (
            ZydisDecoderDecodeInstruction (&decoder, NULL, code + at, size - at, &insn));
        at += ok ? insn.length : 1;
        n++;
      }
  return (seconds () - begin) * 1e9 / n;
}

static void
compare_decoders (void)
{
  const uint8_t *code = bench_kernels + ((const Kernel *)bench_kernels)->offset;
  unsigned size = (unsigned)(bench_kernels_end - code), count;
  double ours = decode_ours (code, size, 20000, &count), zydis = decode_zydis (code, size, 5000);
  printf ("decoder: %.1f ns an instruction; Zydis, without operands: %.1f ns\n", ours, zydis);
}

int
main (int argc, char **argv)
{
  double duration = argc > 1 ? atof (argv[1]) : 0.5, product = 0;
  const char *only = argc > 2 ? argv[2] : NULL, *error;
  unsigned kernels = 0;
  VmmVm *vm = make_vm ();
  VmmVcpuConfig config = { .engine = VMM_ENGINE_INTERPRET };
  VmmVcpu *c = vmm_vcpu_new (vm, &config, &error);
  if (!c)
    {
      fprintf (stderr, "interpreter-bench: %s\n", error);
      return 2;
    }
  for (const Kernel *k = (const Kernel *)bench_kernels; k->offset != 0; k++)
    {
      if (only && strcmp (only, k->name) != 0)
        continue;
      double mips = run (c, k, duration);
      printf ("%-12s %7.1f million instructions/s\n", k->name, mips);
      product += log (mips);
      kernels++;
    }
  double mean = kernels ? exp (product / kernels) : 0;
  printf ("%-12s %7.1f million instructions/s\n", "geomean", mean);
  if (!only)
    compare_decoders ();
  vmm_vcpu_free (c);
  vmm_vm_free (vm);
  return mean >= 50 ? 0 : 1;
}
