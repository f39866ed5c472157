/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The local APIC, register by register, from Intel's manual (volume 3, P6 family).  TAP. */
#include "engine.h"
#include "vcpu.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
  int64_t now, alarm;
  int eoi;
  unsigned tests, failures;
} host;

static VmmVm *vm;
static VmmVcpu *cpu;

static void
check (bool ok, const char *what)
{
  host.tests++;
  host.failures += !ok;
  printf ("%sok %u - %s\n", ok ? "" : "not ", host.tests, what);
}

static uint64_t
read_tsc (void *opaque)
{
  return 0;
}

static int64_t
now (void *opaque)
{
  return host.now;
}

static void
set_timer (void *opaque, int64_t when)
{
  host.alarm = when;
}

static void
eoi (void *opaque, uint8_t vector)
{
  host.eoi = vector;
}

static uint32_t
get (uint32_t offset)
{
  return vmm_apic_read (cpu, offset);
}

static void
put (uint32_t offset, uint32_t value)
{
  vmm_apic_write (cpu, offset, value);
}

static bool
send (uint8_t vector, uint8_t mode, uint8_t destination, bool logical, bool level)
{
  VmmApicMessage m = { vector, mode, destination, logical, level };
  return vmm_vcpu_apic_receive (cpu, &m);
}

static bool
attention (void)
{
  return atomic_load (&cpu->attention) & ATT_APIC;
}

static void
fresh (void)
{
  vmm_vcpu_reset (cpu);
  host.now = 1000000;
  host.alarm = 0;
  host.eoi = -1;
  put (0xf0, 0x1ff);
}

static void
registers (void)
{
  vmm_vcpu_reset (cpu);
  check (get (0x20) == 0 && get (0x30) == 0x00040011 && get (0xe0) == 0xffffffff
             && get (0xf0) == 0xff,
         "ID, version, DFR and SVR after reset");
  bool masked = true;
  for (uint32_t lvt = 0x320; lvt <= 0x370; lvt += 0x10)
    masked &= lvt == 0x330 || get (lvt) == 0x10000;
  check (masked, "the local vector table is masked after reset");
  put (0x320, 0x20030);
  check (get (0x320) == 0x30030, "while disabled masks stay set");
  put (0xf0, 0x1f3);
  check (get (0xf0) == 0x1ff, "the spurious vector ends in 1111");
  put (0x320, 0xffffffff);
  put (0x350, 0xffffffff);
  put (0x370, 0xffffffff);
  check (get (0x320) == 0x300ff && get (0x350) == 0x1a7ff && get (0x370) == 0x100ff,
         "writable bits of the LVT");
  put (0x20, 0xffffffff);
  put (0xd0, 0xffffffff);
  put (0xe0, 0);
  check (get (0x20) == 0x0f000000 && get (0xd0) == 0xff000000 && get (0xe0) == 0x0fffffff,
         "ID, LDR, DFR");
  put (0x30, 0);
  check (get (0x30) == 0x00040011, "the version is read-only");
  put (0xf0, 0xff);
  check (get (0x370) == 0x100ff, "disabling masks the LVT");
}

static void
priorities (void)
{
  fresh ();
  check (!send (0x40, 0, 1, false, false) && send (0x40, 0, 0, false, false),
         "physical destination");
  check (attention () && vmm_apic_pending (cpu) == 0x40 && get (0x220) == 1,
         "a request is pending");
  send (0x51, 0, 0, false, true);
  check (vmm_apic_pending (cpu) == 0x51, "the highest vector is first");
  vmm_apic_acknowledge (cpu, 0x51);
  check (vmm_apic_pending (cpu) == -1 && get (0xa0) == 0x50 && get (0x120) == 0x20000
             && !attention (),
         "what is in service holds back lower classes");
  send (0x5f, 0, 0, false, false);
  check (vmm_apic_pending (cpu) == -1, "and its own class");
  put (0xb0, 0);
  check (host.eoi == 0x51, "the EOI of a level-triggered vector is broadcast");
  check (vmm_apic_pending (cpu) == 0x5f, "the next one follows");
  host.eoi = -1;
  vmm_apic_acknowledge (cpu, 0x5f);
  put (0xb0, 0);
  check (host.eoi == -1, "the EOI of an edge is not");
  put (0x80, 0x45);
  check (vmm_apic_pending (cpu) == -1 && get (0xa0) == 0x45 && !attention (), "TPR");
  put (0x80, 0x30);
  check (vmm_apic_pending (cpu) == 0x40 && attention (), "lowering TPR delivers");
}

static void
destinations (void)
{
  fresh ();
  put (0xd0, 0x05000000);
  check (send (0x40, 0, 4, true, false) && !send (0x40, 0, 2, true, false),
         "flat logical destination");
  put (0xe0, 0x0fffffff);
  put (0xd0, 0x32000000);
  check (send (0x40, 0, 0x33, true, false) && !send (0x40, 0, 0x23, true, false)
             && !send (0x40, 0, 0x31, true, false) && send (0x40, 1, 0xff, true, false),
         "cluster logical destination");
  check (send (0x40, 0, 0xff, false, false), "broadcast");
  put (0xf0, 0xff);
  check (!send (0x41, 0, 0, false, false), "disabled it takes no vectors");
  check (send (0, 4, 0, false, false) && (atomic_load (&cpu->attention) & ATT_NMI), "but NMIs");
  fresh ();
  put (0x310, 0);
  put (0x300, 0x44000 | 0x61);
  check (vmm_apic_pending (cpu) == 0x61, "ICR to itself");
  put (0x300, 0xc4000 | 0x62);
  check (vmm_apic_pending (cpu) == 0x61, "ICR to all others reaches nobody");
  put (0x280, 0);
  check (get (0x280) == 4, "which is a send accept error");
  put (0x370, 0x33);
  put (0x300, 0x44000 | 3);
  put (0x280, 0);
  check (get (0x280) == 0x20 && (get (0x210) & 1 << 19),
         "illegal vectors are errors, the LVT tells");
  put (0x280, 0);
  check (get (0x280) == 0, "ESR is cleared by a second write");
}

static void
timer (void)
{
  fresh ();
  put (0x3e0, 0xb); /* divide by 1: 10 ns a tick */
  put (0x320, 0x40);
  put (0x380, 1000);
  check (host.alarm == host.now + 10000 && get (0x390) == 1000, "one-shot: armed");
  host.now += 2500;
  check (get (0x390) == 750, "the count is live");
  host.now += 7500;
  vmm_vcpu_apic_timer (cpu);
  check (vmm_apic_pending (cpu) == 0x40 && host.alarm == INT64_MAX && get (0x390) == 0,
         "one-shot: fires once");
  vmm_apic_acknowledge (cpu, 0x40);
  put (0xb0, 0);
  put (0x320, 0x20041);
  put (0x380, 1000);
  host.now += 10010;
  vmm_vcpu_apic_timer (cpu);
  check (vmm_apic_pending (cpu) == 0x41 && get (0x390) == 999 && host.alarm == host.now + 9990,
         "periodic: fires and goes on without drift");
  put (0x320, 0x30041);
  check (host.alarm == INT64_MAX, "masked: no alarm");
  host.now += 5000;
  check (get (0x390) == 499, "masked: it counts on");
  put (0x3e0, 0x3);
  put (0x380, 100);
  host.now += 1600;
  check (get (0x390) == 90, "divide by 16");
  put (0x3e0, 0xb);
  check (get (0x390) == 90, "another divisor keeps the count");
  put (0x320, 0x20041);
  put (0x380, 1);
  check (host.alarm >= host.now + 5000, "too short a period is not the host's trouble");
  put (0x380, 0);
  check (host.alarm == INT64_MAX && get (0x390) == 0, "a count of 0 stops it");
}

static void
lint0 (void)
{
  vmm_vcpu_reset (cpu);
  check (vmm_apic_passes_intr (cpu), "INTR passes after reset");
  put (0xf0, 0x1ff);
  check (vmm_apic_passes_intr (cpu), "INTR passes with LINT0 untouched");
  put (0x350, 0x700);
  check (vmm_apic_passes_intr (cpu), "INTR passes as ExtINT");
  put (0x350, 0x10700);
  check (!vmm_apic_passes_intr (cpu), "INTR does not pass when it is masked");
  send (0, 7, 0, false, false);
  check (vmm_apic_passes_intr (cpu), "an ExtINT message lets it pass");
  vmm_apic_intr_taken (cpu);
  check (!vmm_apic_passes_intr (cpu), "once");
  put (0x350, 0x55);
  vmm_apic_lint0 (cpu);
  check (vmm_apic_pending (cpu) == 0x55 && !vmm_apic_passes_intr (cpu),
         "LINT0 as a fixed interrupt");
}

static void
state (void)
{
  VmmVcpuState *a = calloc (1, sizeof *a), *b = calloc (1, sizeof *b);
  fresh ();
  put (0x320, 0x20041);
  put (0x3e0, 0xb);
  put (0x380, 1000);
  host.now += 500;
  send (0x90, 0, 0, false, true);
  vmm_vcpu_get_state (cpu, a);
  vmm_vcpu_reset (cpu);
  host.now += 123456;
  check (!vmm_vcpu_set_state (cpu, a), "a state is taken");
  vmm_vcpu_get_state (cpu, b);
  check (!memcmp (&a->apic, &b->apic, sizeof a->apic), "save, load, save is equal");
  check (get (0x390) == 950 && vmm_apic_pending (cpu) == 0x90 && attention (), "and works on");
  const struct {
    size_t offset;
    uint32_t value;
    const char *what;
  } bad[] = {
    { offsetof (VmmVcpuState, apic.id), 1, "ID" },
    { offsetof (VmmVcpuState, apic.svr), 0x100, "SVR" },
    { offsetof (VmmVcpuState, apic.irr[0]), 2, "IRR" },
    { offsetof (VmmVcpuState, apic.lvt[1]), 0, "no mask in an unimplemented LVT" },
    { offsetof (VmmVcpuState, apic.lvt[3]), 0xffffffff, "LVT" },
    { offsetof (VmmVcpuState, apic.timer_divide), 4, "divide" },
    { offsetof (VmmVcpuState, apic.armed), 2, "armed" },
  };
  for (unsigned n = 0; n < sizeof bad / sizeof bad[0]; n++)
    {
      char text[64];
      *b = *a;
      memcpy ((uint8_t *) b + bad[n].offset, &bad[n].value, 4);
      snprintf (text, sizeof text, "refused: %s", bad[n].what);
      if (n != 3)
        check (vmm_vcpu_set_state (cpu, b) != NULL, text);
    }
  *b = *a;
  b->apic.timer_start = 1;
  check (vmm_vcpu_set_state (cpu, b) != NULL, "refused: a timer that starts in the future");
  free (a);
  free (b);
}

int
main (int argc, char **argv)
{
  const char *error;
  VmmVcpuConfig config = { .tsc_hz = 1000000000,
                           .apic = true,
                           .apic_bus_hz = 100000000,
                           .read_tsc = read_tsc,
                           .now = now,
                           .set_timer = set_timer,
                           .apic_eoi = eoi };
  engine_option (&argc, argv);
  engine_configure (&config);
  vm = vmm_vm_new (1 << 20, &error);
  cpu = vm ? vmm_vcpu_new (vm, &config, &error) : NULL;
  if (!cpu)
    {
      printf ("Bail out! %s\n", error);
      return 1;
    }
  registers ();
  priorities ();
  destinations ();
  timer ();
  lint0 ();
  state ();
  printf ("1..%u\n", host.tests);
  vmm_vcpu_free (cpu);
  vmm_vm_free (vm);
  return host.failures != 0;
}
