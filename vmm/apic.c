/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The local APIC of a P6 processor.
 *
 * After Intel's Software Developer's Manual, volume 3 (the chapter on the APIC, P6 family).
 * Registers are dwords at steps of 16 bytes in the page of MSR 1B:
 *
 *   020 ID (27:24)     0B0 EOI        100-170 ISR   280 ESR       320 timer LVT  380 initial count
 *   030 version        0D0 LDR        180-1F0 TMR   300 ICR low   340 counters   390 current count
 *   080 TPR            0E0 DFR        200-270 IRR   310 ICR high  350 LINT0      3E0 divide
 *   090 APR  0A0 PPR   0F0 SVR                                    360 LINT1      370 error LVT
 *
 * Threads: messages come from any thread, everything else from the processor's.  The lock covers
 * what both touch; ATT_APIC is kept under it, so that it always says whether something is
 * deliverable. Callbacks are made without it: an EOI may bring the next message at once.  Timer
 * state belongs to the processor's thread alone.
 *
 * On purpose unlike the part:
 *  - The 8259's INTR reaches the processor until software has written LVT0 with its mask set,
 *    because firmware enables the APIC without programming LINT0.
 *  - NMI# reaches the processor whatever LVT1 says.
 *  - A periodic timer of less than 5 us fires every 5 us.
 *  - There is no bus to arbitrate for: no focus processor, no remote read; delivery takes no time.
 */
#include "vcpu.h"

#include <pthread.h>
#include <stdlib.h>

enum {
  REG_ID = 0x020,
  REG_VERSION = 0x030,
  REG_TPR = 0x080,
  REG_APR = 0x090,
  REG_PPR = 0x0a0,
  REG_EOI = 0x0b0,
  REG_RRD = 0x0c0,
  REG_LDR = 0x0d0,
  REG_DFR = 0x0e0,
  REG_SVR = 0x0f0,
  REG_ISR = 0x100,
  REG_TMR = 0x180,
  REG_IRR = 0x200,
  REG_ESR = 0x280,
  REG_ICR_LOW = 0x300,
  REG_ICR_HIGH = 0x310,
  REG_LVT = 0x320,
  REG_INITIAL = 0x380,
  REG_CURRENT = 0x390,
  REG_DIVIDE = 0x3e0,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_COUNTERS, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };
enum {
  MODE_FIXED,
  MODE_LOWEST,
  MODE_SMI,
  MODE_REMOTE_READ,
  MODE_NMI,
  MODE_INIT,
  MODE_SIPI,
  MODE_EXTINT
};

#define VERSION 0x00040011u
#define ID_WRITABLE 0x0f000000u
#define SVR_ENABLE 0x100u
#define SVR_WRITABLE 0x3f0u
#define SVR_FIXED 0x00fu /* the spurious vector ends in 1111 */
#define LVT_MASK 0x10000u
#define LVT_PERIODIC 0x20000u
#define ICR_WRITABLE 0x000ccfffu
#define ICR_LOGICAL 0x800u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ESR_SEND_ACCEPT 0x04u
#define ESR_SEND_ILLEGAL 0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER 0x80u
#define ESR_BITS 0xefu

#define SHORTEST_PERIOD 5000 /* ns */

struct VmmApic {
  pthread_mutex_t lock;
  uint32_t id, tpr, ldr, dfr, svr, icr_low, icr_high, lvt[LVTS];
  uint32_t esr, esr_latched; /* errors so far; what the last write made readable */
  uint32_t isr[8], tmr[8], irr[8];
  bool lint0_masked;         /* software has written LVT0 with its mask */
  _Atomic bool lint0_routed; /* INTR is a fixed interrupt or an NMI here, not ExtINT */
  _Atomic bool extint;       /* an ExtINT message arrived: let INTR pass once */
  /* timer, of the processor's thread */
  uint32_t initial, divide;
  int64_t start; /* when the count was `initial` */
  bool armed;
};

/* ORDER: LVT_* */
static const uint32_t lvt_writable[LVTS] = { 0x300ff, 0, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };

static bool
present (const VmmVcpu *c)
{
  return c->apic_base & 0x800;
}

/* ---- Sets of vectors ---- */

static inline bool
test_bit (const uint32_t set[8], unsigned vector)
{
  return set[vector >> 5] >> (vector & 31) & 1;
}

static inline void
put_bit (uint32_t set[8], unsigned vector, bool on)
{
  uint32_t bit = 1u << (vector & 31);
  set[vector >> 5] = on ? set[vector >> 5] | bit : set[vector >> 5] & ~bit;
}

static int
highest (const uint32_t set[8])
{
  for (int n = 7; n >= 0; n--)
    if (set[n])
      return n * 32 + 31 - __builtin_clz (set[n]);
  return -1;
}

/* ---- Priorities; with the lock held ---- */

static uint32_t
processor_priority (const VmmApic *a)
{
  int in_service = highest (a->isr);
  uint32_t service = in_service < 0 ? 0 : (uint32_t) in_service & 0xf0;
  return (a->tpr & 0xf0) >= service ? a->tpr : service;
}

static uint32_t
arbitration_priority (const VmmApic *a)
{
  int request = highest (a->irr), service = highest (a->isr);
  uint32_t r = request < 0 ? 0 : (uint32_t) request & 0xf0;
  uint32_t s = service < 0 ? 0 : (uint32_t) service & 0xf0;
  if ((a->tpr & 0xf0) >= r && (a->tpr & 0xf0) > s)
    return a->tpr;
  uint32_t p = a->tpr & 0xf0;
  p = p > r ? p : r;
  return p > s ? p : s;
}

static int
deliverable (const VmmVcpu *c)
{
  const VmmApic *a = c->apic;
  int vector = highest (a->irr);
  if (vector < 0 || !present (c) || (uint32_t) (vector & 0xf0) <= (processor_priority (a) & 0xf0))
    return -1;
  return vector;
}

static void
update (VmmVcpu *c)
{
  if (deliverable (c) >= 0)
    vmm_attention (c, ATT_APIC);
  else
    atomic_fetch_and (&c->attention, ~ATT_APIC);
}

/* ---- Requests; with the lock held ---- */

static void
request (VmmVcpu *c, uint8_t vector, bool level)
{
  put_bit (c->apic->irr, vector, true);
  put_bit (c->apic->tmr, vector, level);
  update (c);
}

static void
note_error (VmmVcpu *c, uint32_t bit)
{
  VmmApic *a = c->apic;
  uint32_t lvt = a->lvt[LVT_ERROR];
  a->esr |= bit;
  if (!(lvt & LVT_MASK) && (lvt & 0xff) >= 16)
    request (c, (uint8_t) lvt, false);
}

static void
deliver (VmmVcpu *c, uint8_t mode, uint8_t vector, bool level)
{
  switch (mode)
    {
    case MODE_FIXED:
    case MODE_LOWEST:
      if (vector < 16)
        note_error (c, ESR_RECEIVE_ILLEGAL);
      else
        request (c, vector, level);
      break;
    case MODE_SMI: vmm_attention (c, ATT_SMI); break;
    case MODE_NMI: vmm_attention (c, ATT_NMI); break;
    case MODE_INIT: vmm_attention (c, ATT_INIT); break;
    case MODE_EXTINT:
      atomic_store (&c->apic->extint, true);
      c->alert |= ATT_INTR;
      vmm_attention (c, ATT_KICK); /* INTR may be high already */
      break;
    default: break;
    }
}

static void
fire_lvt (VmmVcpu *c, unsigned n)
{
  uint32_t lvt = c->apic->lvt[n];
  bool has_mode = n != LVT_TIMER && n != LVT_ERROR;
  if (!(lvt & LVT_MASK))
    deliver (c, has_mode ? lvt >> 8 & 7 : MODE_FIXED, (uint8_t) lvt, false);
}

/* ---- Messages ---- */

static bool
addressed (const VmmApic *a, uint8_t destination, bool logical)
{
  uint8_t ldr = (uint8_t) (a->ldr >> 24);
  if (!logical)
    return destination == 0xff || (destination & 15) == 15 || destination == a->id >> 24;
  if (a->dfr >> 28 == 15)
    return destination & ldr;
  if (a->dfr >> 28 != 0)
    return false;
  bool cluster = (destination & 0xf0) == 0xf0 || (destination & 0xf0) == (ldr & 0xf0);
  return cluster && (destination & ldr & 15);
}

static bool
start_up (VmmVcpu *c, uint8_t vector)
{
  c->sipi_vector = vector;
  vmm_attention (c, ATT_SIPI);
  return true;
}

static bool
accept (VmmVcpu *c, uint8_t mode, uint8_t vector, bool level)
{
  bool ordinary = mode == MODE_FIXED || mode == MODE_LOWEST || mode == MODE_EXTINT;
  if (ordinary && !(c->apic->svr & SVR_ENABLE))
    return false;
  if (mode == MODE_REMOTE_READ)
    return false;
  if (mode == MODE_SIPI)
    return start_up (c, vector);
  deliver (c, mode, vector, level);
  return true;
}

bool
vmm_vcpu_apic_receive (VmmVcpu *c, const VmmApicMessage *m)
{
  VmmApic *a = c->apic;
  bool accepted = false;
  if (!present (c))
    return false;
  pthread_mutex_lock (&a->lock);
  if (addressed (a, m->destination, m->logical))
    accepted = accept (c, m->delivery_mode & 7, m->vector, m->level);
  pthread_mutex_unlock (&a->lock);
  return accepted;
}

/* INTR rose while LINT0 is not ExtINT.  [any thread] */
void
vmm_apic_lint0 (VmmVcpu *c)
{
  VmmApic *a = c->apic;
  if (!atomic_load (&a->lint0_routed) || !present (c))
    return;
  pthread_mutex_lock (&a->lock);
  fire_lvt (c, LVT_LINT0);
  pthread_mutex_unlock (&a->lock);
}

/* ---- The interrupt command register ---- */

static bool
send_to (VmmVcpu *to, uint32_t low, uint8_t destination)
{
  bool accepted = false;
  if (!present (to))
    return false;
  pthread_mutex_lock (&to->apic->lock);
  if (low >> 18 & 3 || addressed (to->apic, destination, low & ICR_LOGICAL))
    accepted = accept (to, low >> 8 & 7, (uint8_t) low, false);
  pthread_mutex_unlock (&to->apic->lock);
  return accepted;
}

static void
send_message (VmmVcpu *c, uint32_t low, uint8_t destination)
{
  unsigned mode = low >> 8 & 7, shorthand = low >> 18 & 3;
  bool accepted = false, illegal = mode <= MODE_LOWEST && (low & 0xff) < 16;
  if (mode == MODE_INIT && (low & ICR_LEVEL) && !(low & ICR_ASSERT))
    return; /* synchronises arbitration IDs */
  for (unsigned n = 0; n < c->vm->vcpus && !illegal; n++)
    {
      VmmVcpu *to = c->vm->vcpu[n];
      if (!to || (shorthand == 1 && to != c) || (shorthand == 3 && to == c))
        continue;
      accepted |= send_to (to, low, destination);
      if (accepted && mode == MODE_LOWEST)
        break;
    }
  if (accepted)
    return;
  pthread_mutex_lock (&c->apic->lock);
  note_error (c, illegal ? ESR_SEND_ILLEGAL : ESR_SEND_ACCEPT);
  pthread_mutex_unlock (&c->apic->lock);
}

/* ---- The timer ---- */

static int64_t
now (const VmmVcpu *c)
{
  return c->config.now ? c->config.now (c->config.opaque) : 0;
}

static unsigned
divisor (const VmmApic *a)
{
  unsigned n = (a->divide & 3) | (a->divide >> 1 & 4);
  return n == 7 ? 1 : 2u << n;
}

static uint64_t
ticks_since_start (const VmmVcpu *c, int64_t when)
{
  const VmmApic *a = c->apic;
  if (when <= a->start)
    return 0;
  __extension__ unsigned __int128 t = (uint64_t) (when - a->start);
  return (uint64_t) (t * c->config.apic_bus_hz / (1000000000ull * divisor (a)));
}

/* Nanoseconds of `ticks`, rounded up. */
static int64_t
duration (const VmmVcpu *c, uint64_t ticks)
{
  uint64_t hz = c->config.apic_bus_hz ? c->config.apic_bus_hz : 1;
  __extension__ unsigned __int128 t = ticks;
  t = (t * 1000000000ull * divisor (c->apic) + hz - 1) / hz;
  return t > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t) t;
}

static uint32_t
current_count (const VmmVcpu *c)
{
  const VmmApic *a = c->apic;
  uint64_t ticks = ticks_since_start (c, now (c));
  if (!a->armed)
    return 0;
  if (a->lvt[LVT_TIMER] & LVT_PERIODIC)
    return a->initial - (uint32_t) (ticks % a->initial);
  return ticks >= a->initial ? 0 : a->initial - (uint32_t) ticks;
}

/* Asks for the next call of vmm_vcpu_apic_timer. */
static void
schedule (VmmVcpu *c, int64_t at)
{
  const VmmApic *a = c->apic;
  int64_t when = INT64_MAX;
  if (a->armed && !(a->lvt[LVT_TIMER] & LVT_MASK))
    {
      when = a->start + duration (c, a->initial);
      if (when < at + SHORTEST_PERIOD && (a->lvt[LVT_TIMER] & LVT_PERIODIC))
        when = at + SHORTEST_PERIOD;
    }
  if (c->config.set_timer)
    c->config.set_timer (c->config.opaque, when);
}

/* Brings the timer up to `at`; returns whether it has run out since. */
static bool
advance (VmmVcpu *c, int64_t at)
{
  VmmApic *a = c->apic;
  uint64_t ticks = ticks_since_start (c, at);
  if (!a->armed || ticks < a->initial)
    return false;
  if (a->lvt[LVT_TIMER] & LVT_PERIODIC)
    {
      uint64_t left = ticks % a->initial;
      a->start = at - duration (c, left);
    }
  else
    a->armed = false;
  return true;
}

void
vmm_vcpu_apic_timer (VmmVcpu *c)
{
  VmmApic *a = c->apic;
  int64_t at = now (c);
  if (advance (c, at))
    {
      pthread_mutex_lock (&a->lock);
      fire_lvt (c, LVT_TIMER);
      pthread_mutex_unlock (&a->lock);
    }
  schedule (c, at);
}

static void
write_initial (VmmVcpu *c, uint32_t value)
{
  VmmApic *a = c->apic;
  a->initial = value;
  a->start = now (c);
  a->armed = value != 0;
  schedule (c, a->start);
}

static void
write_divide (VmmVcpu *c, uint32_t value)
{
  VmmApic *a = c->apic;
  int64_t at = now (c);
  advance (c, at);
  uint64_t gone = a->armed ? a->initial - current_count (c) : 0;
  a->divide = value & 0xb;
  a->start = at - duration (c, gone);
  schedule (c, at);
}

/* ---- Registers ---- */

static int
lvt_index (uint32_t offset)
{
  unsigned n = (offset - REG_LVT) >> 4;
  return offset >= REG_LVT && n < LVTS && n != LVT_THERMAL ? (int) n : -1;
}

static void
update_lint0 (VmmApic *a)
{
  uint32_t lvt = a->lvt[LVT_LINT0];
  atomic_store (&a->lint0_routed, !(lvt & LVT_MASK) && (lvt >> 8 & 7) != MODE_EXTINT);
}

static void
write_lvt (VmmVcpu *c, unsigned n, uint32_t value)
{
  VmmApic *a = c->apic;
  int64_t at = n == LVT_TIMER ? now (c) : 0;
  if (n == LVT_TIMER)
    advance (c, at);
  value &= lvt_writable[n];
  if (!(a->svr & SVR_ENABLE))
    value |= LVT_MASK;
  pthread_mutex_lock (&a->lock);
  a->lvt[n] = value;
  if (n == LVT_LINT0)
    c->stop_block = true; /* it decides what INTR may do: c->alert */
  if (n == LVT_LINT0 && (value & LVT_MASK))
    a->lint0_masked = true;
  update_lint0 (a);
  pthread_mutex_unlock (&a->lock);
  if (n == LVT_TIMER)
    schedule (c, at);
}

static void
write_svr (VmmVcpu *c, uint32_t value)
{
  VmmApic *a = c->apic;
  pthread_mutex_lock (&a->lock);
  a->svr = (value & SVR_WRITABLE) | SVR_FIXED;
  if (!(a->svr & SVR_ENABLE))
    for (unsigned n = 0; n < LVTS; n++)
      a->lvt[n] |= LVT_MASK;
  update_lint0 (a);
  pthread_mutex_unlock (&a->lock);
  schedule (c, now (c));
}

static void
end_of_interrupt (VmmVcpu *c)
{
  VmmApic *a = c->apic;
  bool level = false;
  pthread_mutex_lock (&a->lock);
  int vector = highest (a->isr);
  if (vector >= 0)
    {
      put_bit (a->isr, (unsigned) vector, false);
      level = test_bit (a->tmr, (unsigned) vector);
      update (c);
    }
  pthread_mutex_unlock (&a->lock);
  if (level && c->config.apic_eoi)
    c->config.apic_eoi (c->config.opaque, (uint8_t) vector);
}

static uint32_t
read_locked (VmmVcpu *c, uint32_t offset)
{
  VmmApic *a = c->apic;
  int lvt = lvt_index (offset);
  if (lvt >= 0)
    return a->lvt[lvt];
  if (offset >= REG_ISR && offset < REG_ESR)
    {
      const uint32_t *set = offset < REG_TMR ? a->isr : offset < REG_IRR ? a->tmr : a->irr;
      return set[offset >> 4 & 7];
    }
  switch (offset)
    {
    case REG_ID: return a->id;
    case REG_VERSION: return VERSION;
    case REG_TPR: return a->tpr;
    case REG_APR: return arbitration_priority (a);
    case REG_PPR: return processor_priority (a);
    case REG_EOI:
    case REG_RRD: return 0;
    case REG_LDR: return a->ldr;
    case REG_DFR: return a->dfr;
    case REG_SVR: return a->svr;
    case REG_ESR: return a->esr_latched;
    case REG_ICR_LOW: return a->icr_low;
    case REG_ICR_HIGH: return a->icr_high;
    }
  note_error (c, ESR_REGISTER);
  return 0;
}

uint32_t
vmm_apic_read (VmmVcpu *c, uint32_t offset)
{
  VmmApic *a = c->apic;
  if (offset & 15)
    return 0;
  switch (offset)
    {
    case REG_INITIAL: return a->initial;
    case REG_CURRENT: return current_count (c);
    case REG_DIVIDE: return a->divide;
    }
  pthread_mutex_lock (&a->lock);
  uint32_t value = read_locked (c, offset);
  pthread_mutex_unlock (&a->lock);
  return value;
}

static void
write_locked (VmmVcpu *c, uint32_t offset, uint32_t value)
{
  VmmApic *a = c->apic;
  switch (offset)
    {
    case REG_ID: a->id = value & ID_WRITABLE; break;
    case REG_TPR:
      a->tpr = value & 0xff;
      update (c);
      break;
    case REG_LDR: a->ldr = value & 0xff000000u; break;
    case REG_DFR: a->dfr = value | 0x0fffffffu; break;
    case REG_ESR:
      a->esr_latched = a->esr;
      a->esr = 0;
      break;
    case REG_ICR_HIGH: a->icr_high = value & 0xff000000u; break;
    case REG_VERSION:
    case REG_APR:
    case REG_PPR:
    case REG_RRD:
    case REG_CURRENT: break;
    default:
      if (offset < REG_ISR || offset >= REG_ESR)
        note_error (c, ESR_REGISTER);
    }
}

void
vmm_apic_write (VmmVcpu *c, uint32_t offset, uint32_t value)
{
  VmmApic *a = c->apic;
  int lvt = lvt_index (offset);
  if (offset & 15)
    return;
  if (lvt >= 0)
    {
      write_lvt (c, (unsigned) lvt, value);
      return;
    }
  switch (offset)
    {
    case REG_EOI: end_of_interrupt (c); return;
    case REG_SVR: write_svr (c, value); return;
    case REG_ICR_LOW:
      a->icr_low = value & ICR_WRITABLE;
      send_message (c, a->icr_low, (uint8_t) (a->icr_high >> 24));
      return;
    case REG_INITIAL: write_initial (c, value); return;
    case REG_DIVIDE: write_divide (c, value); return;
    }
  pthread_mutex_lock (&a->lock);
  write_locked (c, offset, value);
  pthread_mutex_unlock (&a->lock);
}

/* ---- The processor's side ---- */

int
vmm_apic_pending (VmmVcpu *c)
{
  VmmApic *a = c->apic;
  pthread_mutex_lock (&a->lock);
  int vector = deliverable (c);
  update (c);
  pthread_mutex_unlock (&a->lock);
  return vector;
}

void
vmm_apic_acknowledge (VmmVcpu *c, uint8_t vector)
{
  VmmApic *a = c->apic;
  pthread_mutex_lock (&a->lock);
  put_bit (a->irr, vector, false);
  put_bit (a->isr, vector, true);
  update (c);
  pthread_mutex_unlock (&a->lock);
}

bool
vmm_apic_passes_intr (VmmVcpu *c)
{
  const VmmApic *a = c->apic;
  uint32_t lvt = a->lvt[LVT_LINT0];
  if (!present (c) || atomic_load (&a->extint))
    return true;
  if (!(lvt & LVT_MASK))
    return (lvt >> 8 & 7) == MODE_EXTINT;
  return !a->lint0_masked;
}

void
vmm_apic_intr_taken (VmmVcpu *c)
{
  atomic_store (&c->apic->extint, false);
}

/* ---- Life ---- */

VmmApic *
vmm_apic_new (VmmVcpu *c)
{
  VmmApic *a = calloc (1, sizeof *a);
  if (!a)
    return NULL;
  if (pthread_mutex_init (&a->lock, NULL))
    {
      free (a);
      return NULL;
    }
  return a;
}

void
vmm_apic_free (VmmApic *a)
{
  if (!a)
    return;
  pthread_mutex_destroy (&a->lock);
  free (a);
}

void
vmm_apic_reset (VmmVcpu *c, bool init)
{
  VmmApic *a = c->apic;
  pthread_mutex_lock (&a->lock);
  if (!init)
    a->id = c->config.index << 24 & ID_WRITABLE;
  a->tpr = a->ldr = a->icr_low = a->icr_high = a->esr = a->esr_latched = 0;
  a->dfr = ~0u;
  a->svr = 0xff;
  for (unsigned n = 0; n < LVTS; n++)
    a->lvt[n] = LVT_MASK;
  memset (a->isr, 0, sizeof a->isr);
  memset (a->tmr, 0, sizeof a->tmr);
  memset (a->irr, 0, sizeof a->irr);
  a->lint0_masked = false;
  atomic_store (&a->extint, false);
  update_lint0 (a);
  a->initial = a->divide = 0;
  a->armed = false;
  a->start = 0;
  update (c);
  pthread_mutex_unlock (&a->lock);
  if (c->config.set_timer)
    c->config.set_timer (c->config.opaque, INT64_MAX);
}

/* ---- State ---- */

void
vmm_apic_get_state (VmmVcpu *c, VmmVcpuState *state)
{
  VmmApic *a = c->apic;
  pthread_mutex_lock (&a->lock);
  state->apic.id = a->id;
  state->apic.tpr = a->tpr;
  state->apic.ldr = a->ldr;
  state->apic.dfr = a->dfr;
  state->apic.svr = a->svr;
  state->apic.esr = a->esr;
  state->apic.esr_written = a->esr_latched;
  state->apic.icr_low = a->icr_low;
  state->apic.icr_high = a->icr_high;
  memcpy (state->apic.lvt, a->lvt, sizeof a->lvt);
  memcpy (state->apic.isr, a->isr, sizeof a->isr);
  memcpy (state->apic.tmr, a->tmr, sizeof a->tmr);
  memcpy (state->apic.irr, a->irr, sizeof a->irr);
  state->apic.lint0_touched = (a->lint0_masked ? 1 : 0) | (atomic_load (&a->extint) ? 2 : 0);
  pthread_mutex_unlock (&a->lock);
  int64_t at = now (c);
  state->apic.timer_initial = a->initial;
  state->apic.timer_divide = a->divide;
  state->apic.armed = a->armed;
  state->apic.timer_start = a->armed ? a->start - at : 0;
}

static const char *
check_state (const VmmVcpuState *state)
{
  if ((state->apic.id & ~ID_WRITABLE) || state->apic.tpr > 0xff || (state->apic.ldr & 0xffffff)
      || (~state->apic.dfr & 0x0fffffff) || (state->apic.svr & ~(SVR_WRITABLE | SVR_FIXED))
      || (state->apic.svr & SVR_FIXED) != SVR_FIXED)
    return "local APIC: reserved bits";
  if ((state->apic.esr & ~ESR_BITS) || (state->apic.esr_written & ~ESR_BITS)
      || (state->apic.icr_low & ~ICR_WRITABLE) || (state->apic.icr_high & 0xffffff))
    return "local APIC: reserved bits of ESR or ICR";
  for (unsigned n = 0; n < LVTS; n++)
    {
      uint32_t lvt = state->apic.lvt[n];
      if ((lvt & ~(lvt_writable[n] | LVT_MASK))
          || (!(state->apic.svr & SVR_ENABLE) && !(lvt & LVT_MASK)))
        return "local APIC: impossible local vector table";
    }
  if ((state->apic.isr[0] | state->apic.irr[0] | state->apic.tmr[0]) & 0xffff)
    return "local APIC: vectors below 16";
  if ((state->apic.timer_divide & ~0xbu) || state->apic.armed > 1 || state->apic.lint0_touched > 3
      || (state->apic.armed && !state->apic.timer_initial) || state->apic.timer_start > 0
      || state->apic.timer_start < -(INT64_MAX / 4))
    return "local APIC: impossible timer";
  return NULL;
}

const char *
vmm_apic_set_state (VmmVcpu *c, const VmmVcpuState *state)
{
  VmmApic *a = c->apic;
  const char *wrong = check_state (state);
  if (wrong)
    return wrong;
  pthread_mutex_lock (&a->lock);
  a->id = state->apic.id;
  a->tpr = state->apic.tpr;
  a->ldr = state->apic.ldr;
  a->dfr = state->apic.dfr;
  a->svr = state->apic.svr;
  a->esr = state->apic.esr;
  a->esr_latched = state->apic.esr_written;
  a->icr_low = state->apic.icr_low;
  a->icr_high = state->apic.icr_high;
  memcpy (a->lvt, state->apic.lvt, sizeof a->lvt);
  memcpy (a->isr, state->apic.isr, sizeof a->isr);
  memcpy (a->tmr, state->apic.tmr, sizeof a->tmr);
  memcpy (a->irr, state->apic.irr, sizeof a->irr);
  a->lint0_masked = state->apic.lint0_touched & 1;
  atomic_store (&a->extint, state->apic.lint0_touched >> 1 & 1);
  update_lint0 (a);
  update (c);
  pthread_mutex_unlock (&a->lock);
  int64_t at = now (c);
  a->initial = state->apic.timer_initial;
  a->divide = state->apic.timer_divide;
  a->armed = state->apic.armed;
  a->start = at + state->apic.timer_start;
  schedule (c, at);
  return NULL;
}
