/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the host's processor cannot show about x87, MMX and SSE: image formats of all modes with the
 * pointers that a Pentium III keeps, the rules of CR0 and CR4, FERR# and IGNNE#, operands in
 * devices, a clean x87 unit after each exit.  All of it with and without SSE2.  TAP on stdout.
 * After Intel's manual, volume 1, chapters 8 and 11, and volume 3, section 2.5.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "vmm.h"

#define GUEST(name) extern const uint8_t fpu_guest_##name[], fpu_guest_##name##_end[];
GUEST (protected)
GUEST (real)
GUEST (divide)
GUEST (ignored)
GUEST (device)

#define CR0_PE 1u
#define CR0_MP 2u
#define CR0_EM 4u
#define CR0_TS 8u
#define CR0_NE 0x20u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u

static struct {
  unsigned tests, failures, ferr_changes;
  bool ferr;
  uint8_t device[64];
  bool sse2;
} host;
static VmmVm *vm;
static VmmVcpu *cpu;
static uint8_t *page2;

static void
check (bool ok, const char *what)
{
  host.tests++;
  host.failures += !ok;
  printf ("%sok %u - %s%s\n", ok ? "" : "not ", host.tests, host.sse2 ? "SSE2: " : "", what);
}

static uint64_t
read_tsc (void *opaque)
{
  return 0;
}

static int64_t
now (void *opaque)
{
  return 0;
}

static void
set_timer (void *opaque, int64_t when)
{
}

static void
ferr (void *opaque, bool level)
{
  host.ferr = level;
  host.ferr_changes++;
}

static uint32_t
get32 (unsigned address)
{
  uint32_t v;
  memcpy (&v, page2 + (address - 0x2000), 4);
  return v;
}

static uint16_t
get16 (unsigned address)
{
  return (uint16_t) get32 (address);
}

/* ---- Running ---- */

/* The interrupt table: each vector stores its number at 2FF0h and EIP at 2FF4h, and halts. */
static void
make_handlers (void)
{
  uint8_t *page3 = vmm_vm_ram_page (vm, 0x3000), *page4 = vmm_vm_ram_page (vm, 0x4000);
  for (unsigned v = 0; v < 48; v++)
    {
      uint32_t at = 0x4000 + v * 16;
      /* mov byte [2ff0h], v; hlt */
      const uint8_t code[] = { 0xc6, 0x05, 0xf0, 0x2f, 0, 0, (uint8_t) v, 0xf4 };
      memcpy (page4 + v * 16, code, sizeof code);
      uint32_t gate[2] = { at | 8 << 16, 0x8e00 };
      memcpy (page3 + v * 8, gate, 8);
    }
  const uint64_t gdt[] = { 0, 0x00cf9b000000ffffull, 0x00cf93000000ffffull };
  memcpy (page3 + 0x800, gdt, sizeof gdt);
}

static VmmVcpuState *
fresh_state (bool protected, uint32_t cr0, uint32_t cr4)
{
  VmmVcpuState *s = calloc (1, sizeof *s);
  vmm_vcpu_reset (cpu);
  vmm_vcpu_get_state (cpu, s);
  s->cr0 = 0x10 | cr0 | (protected ? CR0_PE : 0);
  s->cr4 = cr4;
  s->eip = protected ? 0x1000 : 0;
  s->gpr[4] = 0x5ff0;
  s->idt_base = 0x3000;
  s->idt_limit = 0x7ff;
  s->gdt_base = 0x3800;
  s->gdt_limit = 0x17;
  for (unsigned n = 0; n < 6 && protected; n++)
    s->segment[n] = (VmmSegmentState) { 0x10, 0xc093, 0, 0xffffffff };
  if (protected)
    s->segment[1] = (VmmSegmentState) { 8, 0xc09b, 0, 0xffffffff };
  else
    {
      s->segment[1] = (VmmSegmentState) { 0x100, 0x9b, 0x1000, 0xffff };
      s->segment[3] = (VmmSegmentState) { 0x200, 0x93, 0x2000, 0xffff };
    }
  return s;
}

static void
load (const uint8_t *code, size_t size)
{
  vmm_vm_write (vm, 0x1000, code, (uint32_t) size);
  memset (page2, 0, 4096);
  const float number = 1.5f;
  memcpy (page2, &number, 4);
}

static void
start (VmmVcpuState *s)
{
  const char *wrong = vmm_vcpu_set_state (cpu, s);
  if (wrong)
    {
      printf ("Bail out! %s\n", wrong);
      exit (1);
    }
  free (s);
}

/* Is the host's x87 unit as the ABI wants it? */
static bool
clean (void)
{
  uint16_t environment[14];
  __asm__ volatile ("fnstenv %0\n\tfldenv %0" : "=m"(environment));
  return environment[0] == 0x37f && environment[4] == 0xffff;
}

static bool all_clean = true;

/* Runs until something other than a device's access; the vector that stopped it, or 0xff for the
   HLT of the program, 0x100 for none. */
static unsigned
run (void)
{
  for (unsigned n = 0; n < 50; n++)
    {
      VmmExitReason reason = vmm_vcpu_execute (cpu, 1000);
      VmmExit *e = vmm_vcpu_exit (cpu);
      all_clean &= clean ();
      if (reason == VMM_EXIT_HLT)
        return page2[0xff0] ? page2[0xff0] : 0xff;
      if (reason == VMM_EXIT_MMIO_READ)
        {
          e->value = 0;
          memcpy (&e->value, host.device + (e->address & 63), e->size);
        }
      else if (reason == VMM_EXIT_MMIO_WRITE)
        memcpy (host.device + (e->address & 63), &e->value, e->size);
      else if (reason == VMM_EXIT_INTA)
        e->value = 0x2d;
      else if (reason != VMM_EXIT_TIME_SLICE)
        return 0x200 + reason;
      else if (n == 20)
        return 0x100;
    }
  return 0x300;
}

#define LOAD(name) load (fpu_guest_##name, (size_t) (fpu_guest_##name##_end - fpu_guest_##name))

/* ---- Image formats ---- */

static void
formats_protected (void)
{
  LOAD (protected);
  start (fresh_state (true, 0, CR4_OSFXSR));
  check (run () == 0xff, "protected mode: the program ends");
  check (get32 (0x2100) == 0xffff037f && get32 (0x2104) == 0xffff3800
             && get32 (0x2108) == 0xffff3fff,
         "FNSTENV, 32 bits: control, status and tag words");
  check (get32 (0x210c) == 0x1002 && get32 (0x2110) == 0x01050008 && get32 (0x2114) == 0x2000
             && get32 (0x2118) == 0xffff0010,
         "FNSTENV, 32 bits: FIP, FCS, FOP, FDP, FDS");
  check (get16 (0x2140) == 0x37f && get16 (0x2142) == 0x3800 && get16 (0x2144) == 0x3fff
             && get16 (0x2146) == 0x1002 && get16 (0x2148) == 8 && get16 (0x214a) == 0x2000
             && get16 (0x214c) == 0x10,
         "FNSTENV, 16 bits");
  check (get16 (0x2200) == 0x37f && get16 (0x2202) == 0x3800 && get16 (0x2204) == 0x80
             && get16 (0x2206) == 0x105 && get32 (0x2208) == 0x1002 && get32 (0x220c) == 8
             && get32 (0x2210) == 0x2000 && get32 (0x2214) == 0x10 && get32 (0x2218) == 0x1f80
             && get32 (0x221c) == (host.sse2 ? 0xffff : 0xffbf),
         "FXSAVE");
  check (get16 (0x2480 + 14 + 8) == 0x3fff && get16 (0x2400 + 28 + 8) == 0x3fff,
         "FNSAVE, FRSTOR: registers");
  check (get32 (0x200c) == 0x3ff80000, "the number is still there at the end");
}

static void
formats_real (void)
{
  LOAD (real);
  start (fresh_state (false, 0, CR4_OSFXSR));
  check (run () == 0xff, "real mode: the program ends");
  check (get16 (0x2100) == 0x37f && get16 (0x2102) == 0x3800 && get16 (0x2104) == 0x3fff
             && get16 (0x2106) == 0x1002 && get16 (0x2108) == 0x106 && get16 (0x210a) == 0x2000
             && get16 (0x210c) == 0,
         "FNSTENV, 16 bits, real: linear pointers and FOP");
  check (get32 (0x2140) == 0xffff037f && get32 (0x214c) == 0xffff1002 && get32 (0x2150) == 0x106
             && get32 (0x2154) == 0xffff2000 && get32 (0x2158) == 0,
         "FNSTENV, 32 bits, real");
  check (get32 (0x2208) == 2 && get16 (0x220c) == 0x100 && get32 (0x2210) == 0
             && get16 (0x2214) == 0x200,
         "FXSAVE, real: selectors");
  check (get32 (0x200c) == 0x3ff80000, "the number is still there at the end");
}

/* ---- Control registers ---- */

/* What stops an instruction, followed by HLT, at these control registers; 0xff: nothing. */
static unsigned
vector_of (const uint8_t *code, unsigned length, uint32_t cr0, uint32_t cr4)
{
  uint8_t program[16];
  memcpy (program, code, length);
  program[length] = 0xf4;
  load (program, length + 1);
  start (fresh_state (true, cr0 | CR0_NE, cr4));
  return run ();
}

static void
rules (void)
{
  static const struct {
    const char *name;
    uint8_t code[8];
    uint32_t cr0, cr4;
    unsigned vector;
  } all[] = {
    { "FLD1 with TS", { 0xd9, 0xe8 }, CR0_TS, 0, 7 },
    { "FLD1 with EM", { 0xd9, 0xe8 }, CR0_EM, 0, 7 },
    { "FLD1 with MP", { 0xd9, 0xe8 }, CR0_MP, 0, 0xff },
    { "FNINIT with TS", { 0xdb, 0xe3 }, CR0_TS, 0, 7 },
    { "FNSTSW with EM", { 0xdf, 0xe0 }, CR0_EM, 0, 7 },
    { "FWAIT with TS", { 0x9b }, CR0_TS, 0, 0xff },
    { "FWAIT with TS and MP", { 0x9b }, CR0_TS | CR0_MP, 0, 7 },
    { "FWAIT with EM", { 0x9b }, CR0_EM, 0, 0xff },
    { "FISTTP", { 0xdb, 0x0d, 0x00, 0x20, 0, 0 }, 0, 0, 6 },
    { "PADDB with TS", { 0x0f, 0xfc, 0xc0 }, CR0_TS, 0, 7 },
    { "PADDB with EM", { 0x0f, 0xfc, 0xc0 }, CR0_EM, 0, 6 },
    { "PAVGB without OSFXSR", { 0x0f, 0xe0, 0xc0 }, 0, 0, 0xff },
    { "ADDPS", { 0x0f, 0x58, 0xc0 }, 0, CR4_OSFXSR, 0xff },
    { "ADDPS without OSFXSR", { 0x0f, 0x58, 0xc0 }, 0, 0, 6 },
    { "ADDPS with EM", { 0x0f, 0x58, 0xc0 }, CR0_EM, CR4_OSFXSR, 6 },
    { "ADDPS with TS", { 0x0f, 0x58, 0xc0 }, CR0_TS, CR4_OSFXSR, 7 },
    { "LDMXCSR without OSFXSR", { 0x0f, 0xae, 0x15, 0x00, 0x21, 0, 0 }, 0, 0, 6 },
    { "LDMXCSR of a float", { 0x0f, 0xae, 0x15, 0x00, 0x20, 0, 0 }, 0, CR4_OSFXSR, 13 },
    { "FXSAVE without OSFXSR", { 0x0f, 0xae, 0x05, 0x00, 0x22, 0, 0 }, 0, 0, 0xff },
    { "FXSAVE with TS", { 0x0f, 0xae, 0x05, 0x00, 0x22, 0, 0 }, CR0_TS, 0, 7 },
    { "FXSAVE misaligned", { 0x0f, 0xae, 0x05, 0x08, 0x22, 0, 0 }, 0, 0, 13 },
    { "SFENCE with EM", { 0x0f, 0xae, 0xf8 }, CR0_EM, 0, 0xff },
    { "PREFETCHNTA with EM", { 0x0f, 0x18, 0x00 }, CR0_EM, 0, 0xff },
  };
  for (unsigned n = 0; n < sizeof all / sizeof all[0]; n++)
    {
      const uint8_t *code = all[n].code;
      unsigned length = 8;
      char text[80];
      while (length > 1 && !code[length - 1])
        length--;
      if (code[0] == 0x0f && (code[1] == 0xae || code[1] == 0x18) && length > 3)
        length = 7;
      if (code[0] == 0x0f && code[1] == 0x18)
        length = 3;
      if (code[0] == 0xdb && code[1] == 0x0d)
        length = 6;
      unsigned vector = vector_of (code, length, all[n].cr0, all[n].cr4);
      snprintf (text, sizeof text, "%s: %s", all[n].name,
                all[n].vector == 0xff ? "works" : "faults");
      check (vector == all[n].vector, text);
    }
}

/* Instructions of SSE2 by what they work on: with it each is allowed by other control bits;
   without, there is none of them, whatever the bits are. */
static void
sse2_rules (void)
{
  enum { XMM = 1, MMX = 2, PLAIN = 4 };
  static const struct {
    const char *name;
    uint8_t length, code[8], on;
  } all[] = {
    { "ADDPD", 4, { 0x66, 0x0f, 0x58, 0xc0 }, XMM },
    { "ADDSD", 4, { 0xf2, 0x0f, 0x58, 0xc0 }, XMM },
    { "CVTPS2PD", 3, { 0x0f, 0x5a, 0xc0 }, XMM },
    { "CVTDQ2PS", 3, { 0x0f, 0x5b, 0xc0 }, XMM },
    { "CVTSS2SD", 4, { 0xf3, 0x0f, 0x5a, 0xc0 }, XMM },
    { "CVTDQ2PD", 4, { 0xf3, 0x0f, 0xe6, 0xc0 }, XMM },
    { "MOVAPD", 4, { 0x66, 0x0f, 0x28, 0xc1 }, XMM },
    { "MOVUPD", 4, { 0x66, 0x0f, 0x10, 0xc1 }, XMM },
    { "ANDPD", 4, { 0x66, 0x0f, 0x54, 0xc0 }, XMM },
    { "UNPCKLPD", 4, { 0x66, 0x0f, 0x14, 0xc0 }, XMM },
    { "SHUFPD", 5, { 0x66, 0x0f, 0xc6, 0xc0, 1 }, XMM },
    { "CMPPD", 5, { 0x66, 0x0f, 0xc2, 0xc0, 1 }, XMM },
    { "COMISD", 4, { 0x66, 0x0f, 0x2f, 0xc0 }, XMM },
    { "CVTSD2SI", 4, { 0xf2, 0x0f, 0x2d, 0xc0 }, XMM },
    { "MOVMSKPD", 4, { 0x66, 0x0f, 0x50, 0xc0 }, XMM },
    { "PADDB XMM", 4, { 0x66, 0x0f, 0xfc, 0xc0 }, XMM },
    { "PXOR XMM", 4, { 0x66, 0x0f, 0xef, 0xc0 }, XMM },
    { "PMOVMSKB XMM", 4, { 0x66, 0x0f, 0xd7, 0xc0 }, XMM },
    { "PSHUFD", 5, { 0x66, 0x0f, 0x70, 0xc0, 0 }, XMM },
    { "PSHUFLW", 5, { 0xf2, 0x0f, 0x70, 0xc0, 0 }, XMM },
    { "PSLLDQ", 5, { 0x66, 0x0f, 0x73, 0xf8, 1 }, XMM },
    { "PSRLQ XMM", 5, { 0x66, 0x0f, 0x73, 0xd0, 1 }, XMM },
    { "PINSRW XMM", 5, { 0x66, 0x0f, 0xc4, 0xc0, 1 }, XMM },
    { "PEXTRW XMM", 5, { 0x66, 0x0f, 0xc5, 0xc0, 1 }, XMM },
    { "MOVDQA", 4, { 0x66, 0x0f, 0x6f, 0xc1 }, XMM },
    { "MOVDQU", 4, { 0xf3, 0x0f, 0x6f, 0xc1 }, XMM },
    { "MOVD XMM", 4, { 0x66, 0x0f, 0x6e, 0xc0 }, XMM },
    { "MOVQ", 4, { 0xf3, 0x0f, 0x7e, 0xc0 }, XMM },
    { "MOVNTDQ", 8, { 0x66, 0x0f, 0xe7, 0x05, 0x00, 0x22, 0, 0 }, XMM },
    { "MOVQ2DQ", 4, { 0xf3, 0x0f, 0xd6, 0xc0 }, XMM | MMX },
    { "MOVDQ2Q", 4, { 0xf2, 0x0f, 0xd6, 0xc0 }, XMM | MMX },
    { "CVTPD2PI", 4, { 0x66, 0x0f, 0x2d, 0xc0 }, XMM | MMX },
    { "CVTPI2PD", 4, { 0x66, 0x0f, 0x2a, 0xc0 }, XMM | MMX },
    { "PADDQ", 3, { 0x0f, 0xd4, 0xc0 }, MMX },
    { "PMULUDQ", 3, { 0x0f, 0xf4, 0xc0 }, MMX },
    { "PSUBQ", 3, { 0x0f, 0xfb, 0xc0 }, MMX },
    { "MOVNTI", 7, { 0x0f, 0xc3, 0x05, 0x00, 0x22, 0, 0 }, PLAIN },
    { "CLFLUSH", 7, { 0x0f, 0xae, 0x3d, 0x00, 0x22, 0, 0 }, PLAIN },
    { "LFENCE", 3, { 0x0f, 0xae, 0xe8 }, PLAIN },
    { "MFENCE", 3, { 0x0f, 0xae, 0xf0 }, PLAIN },
  };
  for (unsigned n = 0; n < sizeof all / sizeof all[0]; n++)
    {
      unsigned on = all[n].on, none = host.sse2 ? 0xff : 6, ud = on & PLAIN ? none : 6;
      unsigned nm = on & PLAIN ? none : host.sse2 ? 7 : 6;
      const uint8_t *code = all[n].code;
      bool ok = vector_of (code, all[n].length, 0, CR4_OSFXSR) == none
                && vector_of (code, all[n].length, CR0_EM, CR4_OSFXSR) == ud
                && vector_of (code, all[n].length, CR0_TS, CR4_OSFXSR) == nm
                && vector_of (code, all[n].length, CR0_TS, 0) == (on & XMM ? 6 : nm)
                && vector_of (code, all[n].length, 0, 0) == (on & XMM ? 6 : none);
      check (ok, all[n].name);
    }
  /* A misaligned operand is never reached without SSE2. */
  const uint8_t misaligned[] = { 0x66, 0x0f, 0x6f, 0x05, 0x08, 0x20, 0, 0 };
  check (vector_of (misaligned, 8, 0, CR4_OSFXSR) == (host.sse2 ? 13 : 6), "MOVDQA, misaligned");
  const uint8_t cpuid[] = { 0xb8, 1, 0, 0, 0, 0x0f, 0xa2 };
  check (vector_of (cpuid, sizeof cpuid, 0, 0) == 0xff, "CPUID");
  VmmVcpuState *s = calloc (1, sizeof *s);
  vmm_vcpu_get_state (cpu, s);
  check ((s->gpr[2] & 0x04080000) == (host.sse2 ? 0x04080000 : 0)
             && (s->gpr[3] & 0xff00) == (host.sse2 ? 0x0800 : 0) && s->gpr[0] == 0x683,
         "CPUID: SSE2, CLFSH and its line");
  free (s);
}

/* LDMXCSR of denormals-are-zeros; CVTSS2SD of a denormal with it. */
static void
denormals (void)
{
  const uint8_t code[] = { 0xc7, 0x05, 0x00, 0x21, 0, 0, 0xc0, 0x1f, 0, 0, /* mov [2100h], 1fc0h */
                           0x0f, 0xae, 0x15, 0x00, 0x21, 0, 0,             /* ldmxcsr [2100h] */
                           0xf3, 0x0f, 0x58, 0xc1, 0xf4 };                 /* addss xmm0, xmm1 */
  load (code, sizeof code);
  VmmVcpuState *s = fresh_state (true, CR0_NE, CR4_OSFXSR);
  const uint32_t denormal = 1;
  memcpy (s->fx + 160 + 16, &denormal, 4);
  start (s);
  unsigned vector = run ();
  s = calloc (1, sizeof *s);
  vmm_vcpu_get_state (cpu, s);
  uint32_t sum, mxcsr;
  memcpy (&sum, s->fx + 160, 4);
  memcpy (&mxcsr, s->fx + 24, 4);
  if (host.sse2)
    check (vector == 0xff && sum == 0 && mxcsr == 0x1fc0, "denormals are zeros, silently");
  else
    check (vector == 13 && mxcsr == 0x1f80, "there is no denormals-are-zeros");
  free (s);
}

/* An unmasked SSE exception (square root of -1) with and without CR4.OSXMMEXCPT. */
static void
sse_exceptions (void)
{
  const uint8_t code[] = { 0xf3, 0x0f, 0x51, 0xc0, 0xf4 };
  for (unsigned on = 0; on < 2; on++)
    {
      const float minus = -1;
      const uint32_t mxcsr = 0x1f00;
      load (code, sizeof code);
      VmmVcpuState *s = fresh_state (true, CR0_NE, CR4_OSFXSR | (on ? CR4_OSXMMEXCPT : 0));
      memcpy (s->fx + 160, &minus, 4);
      memcpy (s->fx + 24, &mxcsr, 4);
      start (s);
      unsigned vector = run ();
      s = calloc (1, sizeof *s);
      vmm_vcpu_get_state (cpu, s);
      uint32_t after;
      memcpy (&after, s->fx + 24, 4);
      check (vector == (on ? 19 : 6) && after == 0x1f01 && !memcmp (s->fx + 160, &minus, 4),
             on ? "SSE exception: #XM" : "SSE exception: #UD without OSXMMEXCPT");
      free (s);
    }
}

/* ---- x87 errors ---- */

static void
set_unmasked (void)
{
  const uint16_t fcw = 0x37b; /* division by zero */
  memcpy (page2 + 0x10, &fcw, 2);
}

static uint32_t
pushed_eip (void)
{
  VmmVcpuState *s = calloc (1, sizeof *s);
  uint32_t eip = 0;
  vmm_vcpu_get_state (cpu, s);
  memcpy (&eip, (uint8_t *) vmm_vm_ram_page (vm, 0x5000) + (s->gpr[4] & 0xfff), 4);
  free (s);
  return eip;
}

static void
errors (void)
{
  uint32_t wait = 0x1000;
  while (fpu_guest_divide[wait - 0x1000] != 0x9b)
    wait++;
  LOAD (divide);
  set_unmasked ();
  start (fresh_state (true, CR0_NE, 0));
  check (run () == 16 && pushed_eip () == wait, "NE = 1: #MF at the next waiting instruction");
  check ((get16 (0x2012) & 0x8084) == 0x8084, "FNSTSW does not wait: ES, B and ZE");

  LOAD (divide);
  set_unmasked ();
  start (fresh_state (true, 0, 0));
  host.ferr_changes = 0;
  check (run () == 0x100 && host.ferr && host.ferr_changes == 1, "NE = 0: FERR#, and it waits");
  check (page2[0x14] == 0, "NE = 0: the waiting instruction is not done");
  vmm_vcpu_set_intr (cpu, true);
  check (run () == 0x100, "NE = 0: an interrupt does not come while IF is clear");
  VmmVcpuState *s = calloc (1, sizeof *s);
  vmm_vcpu_get_state (cpu, s);
  s->eflags |= 0x200;
  start (s);
  vmm_vcpu_set_intr (cpu, true);
  check (run () == 0x2d && pushed_eip () == wait,
         "NE = 0: the interrupt comes at the waiting instruction");
  vmm_vcpu_set_intr (cpu, false);

  LOAD (divide);
  set_unmasked ();
  start (fresh_state (true, 0, 0));
  check (run () == 0x100 && host.ferr, "NE = 0: it waits again");
  vmm_vcpu_set_ignne (cpu, true);
  check (run () == 0xff && page2[0x14] == 1 && !host.ferr,
         "IGNNE#: it goes on; FNCLEX takes FERR# away");

  LOAD (ignored);
  set_unmasked ();
  start (fresh_state (true, 0, 0));
  vmm_vcpu_set_ignne (cpu, true);
  check (run () == 0xff && get32 (0x2018) == 0x40000000,
         "IGNNE#: the unit works with an error pending");
  check ((get16 (0x2012) & 0x8084) == 0x8084 && !host.ferr,
         "IGNNE#: the error stays; FNINIT clears it");
  vmm_vcpu_set_ignne (cpu, false);
}

static void
devices (void)
{
  const double number = 2.25, sum = 3.75;
  const float other = 1.5f;
  memcpy (host.device, &number, 8);
  memcpy (host.device + 8, &other, 4);
  memset (host.device + 12, 0x55, 52);
  LOAD (device);
  start (fresh_state (true, CR0_NE, CR4_OSFXSR));
  check (run () == 0xff, "operands in a device: the program ends");
  check (!memcmp (host.device + 0x10, &sum, 8), "x87");
  check (!memcmp (host.device + 0x18, &number, 8), "MMX");
  check (!memcmp (host.device + 0x20, host.device, 16), "SSE");
}

static void
states (void)
{
  VmmVcpuState *s = fresh_state (true, 0, 0);
  uint16_t fsw = 0x81, fcw = 0x37e;
  memcpy (s->fx + 2, &fsw, 2);
  check (vmm_vcpu_set_state (cpu, s) != NULL, "refused: ES without an unmasked exception");
  fsw = 0x8081;
  memcpy (s->fx, &fcw, 2);
  memcpy (s->fx + 2, &fsw, 2);
  check (vmm_vcpu_set_state (cpu, s) == NULL, "taken: ES with one");
  s->fx[26] = 1;
  check (vmm_vcpu_set_state (cpu, s) != NULL, "refused: reserved bits of MXCSR");
  s->fx[26] = 0;
  s->fx[24] = 0x40;
  const char *wrong = vmm_vcpu_set_state (cpu, s);
  if (host.sse2)
    check (!wrong, "taken: denormals are zeros");
  else
    check (wrong && strstr (wrong, "without SSE2"), "refused: denormals are zeros");
  s->fx[24] = 0;
  check (s->sse2 == host.sse2, "a state tells whether there is SSE2");
  s->sse2 = 1;
  wrong = vmm_vcpu_set_state (cpu, s);
  check (host.sse2 ? !wrong : wrong && strstr (wrong, "SSE2"), "that of a processor with SSE2");
  s->sse2 = 0;
  check (vmm_vcpu_set_state (cpu, s) == NULL, "taken: that of a processor without SSE2");
  s->fx[1] |= 0x80;
  check (vmm_vcpu_set_state (cpu, s) != NULL, "refused: reserved bits of the control word");
  free (s);
}

static bool
all (bool sse2)
{
  const char *error;
  VmmVcpuConfig config = { .sse2 = sse2, .tsc_hz = 1000000000, .apic_bus_hz = 100000000,
                           .read_tsc = read_tsc, .now = now, .set_timer = set_timer,
                           .ferr = ferr };
  engine_configure (&config);
  host.sse2 = sse2;
  vm = vmm_vm_new (1 << 20, &error);
  cpu = vm ? vmm_vcpu_new (vm, &config, &error) : NULL;
  if (!cpu)
    {
      printf ("Bail out! %s\n", error);
      return false;
    }
  vmm_vm_map_read (vm, VMM_VIEW_NORMAL, 0, 0x80000, VMM_MAP_RAM, 0, NULL);
  vmm_vm_map_write (vm, VMM_VIEW_NORMAL, 0, 0x80000, VMM_MAP_RAM, 0, NULL);
  page2 = vmm_vm_ram_page (vm, 0x2000);
  make_handlers ();
  formats_protected ();
  formats_real ();
  rules ();
  sse2_rules ();
  denormals ();
  sse_exceptions ();
  errors ();
  devices ();
  states ();
  check (all_clean, "the host's x87 unit is clean after each exit");
  vmm_vcpu_free (cpu);
  vmm_vm_free (vm);
  return true;
}

int
main (int argc, char **argv)
{
  engine_option (&argc, argv);
  setvbuf (stdout, NULL, _IOLBF, 0); /* lockstep-test wants stderr between the lines */
  if (!all (false) || !all (true))
    return 1;
  printf ("1..%u\n", host.tests);
  return host.failures != 0;
}
