/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The processor's thread: execute, look at the exit, serve it under the machine lock, again.
 *
 * `in_guest` is true from before vmm_vcpu_execute () until after it; `wishes` counts all reasons to
 * look before entering (quiesce, park, reset, quit).  The thread sets in_guest and then reads
 * wishes; who wishes something raises wishes and then reads in_guest, so one of the two sees the
 * other (both are sequentially consistent).  Everything else of that protocol is under `gate`,
 * which is taken after the machine lock and never before it.
 *
 * A callback from within vmm_vcpu_execute () that needs the machine lock leaves the guest for as
 * long as it waits for it: who holds the lock may be waiting for this processor to stop.  Once it
 * has the lock nobody else can be.
 *
 * Devices are reached in three ways, from the slowest to the fastest:
 *   exit     the VMM returns, the access is served under the lock (serve_exit)
 *   fast     TN_IO_FAST: the same from a callback within the instruction (io_read and so on)
 *   posted   TN_IO_POSTED: a write goes into the bus's ring without the lock (posted.c)
 * Whatever is unusual - a wish, a region that does not allow it - takes the exit.
 */
#include "processor-internal.h"

#include "additions.h"

#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Instructions to run in one go; in real time about SLICE_NS, so that the clock sees us go on. */
#define SLICE 2000000
#define SLICE_MIN 1000
#define SLICE_NS (250 * TN_NS_PER_US)
#define FOLLOW_NS (50 * TN_NS_PER_US) /* so often the clock hears that the processor goes on */
/* The translator does not count in real time: it is made to come back so often. */
#define PACE_US 1000
#define TRACE_RAM_EVERY 50000000 /* instructions between two sums of RAM */
#define HEAT 3 /* executions before a block is translated */

/* ---- Time ---- */

/* ns of virtual time; exact within the slice on the processor's own thread. */
static int64_t
virtual_now (TnProcessor *p)
{
  unsigned __int128 ns;
  int64_t clock = tn_clock_now (p->clock);

  if (!p->counted || !p->cpu) /* it asks while it is being made */
    return clock;
  ns = (unsigned __int128) vmm_vcpu_instructions (p->cpu) * TN_NS_PER_S / p->ips;
  return MAX ((int64_t) ns + p->skipped, clock);
}

/* Reading the clock is nearly half of a fast access.  A tick of the TSC is counted as a whole ns,
   which is always too much.  Should it jump, an event is late until the end of the slice. */
static void
plan_quiet (TnProcessor *p, int64_t now)
{
  int64_t span = FOLLOW_NS - (now - p->followed); /* followed <= now */

  p->quiet_deadline = tn_clock_deadline (p->clock);
  span = MIN (span, p->quiet_deadline - now);
  p->quiet_until = __builtin_ia32_rdtsc () + MAX (span, 0);
}

static bool
is_quiet (TnProcessor *p)
{
  return tn_clock_deadline (p->clock) == p->quiet_deadline
         && __builtin_ia32_rdtsc () < p->quiet_until;
}

/* Under the lock: fires what is due.  The cycle that follows finds the time that was read here. */
static void
catch_up (TnProcessor *p)
{
  int64_t now;

  if (p->counted)
    {
      tn_clock_advance (p->clock, virtual_now (p));
      return;
    }
  now = tn_clock_now (p->clock);
  if (tn_clock_deadline (p->clock) <= now)
    tn_clock_run (p->clock);
  if (now < p->followed || now - p->followed > FOLLOW_NS)
    {
      tn_clock_follow (p->clock);
      p->followed = now;
    }
  plan_quiet (p, now);
  tn_machine_set_cycle_time (p->machine, now);
}

/* Under the lock: how many instructions until something has to be done. */
static void
plan_slice (TnProcessor *p)
{
  int64_t deadline, from;
  unsigned __int128 n;

  if (!p->counted)
    return;
  deadline = tn_clock_deadline (p->clock);
  from = virtual_now (p);
  p->planned = deadline;
  p->slice = SLICE;
  if (deadline == TN_TIME_NEVER)
    return;
  n = deadline <= from
          ? 1
          : ((unsigned __int128) (deadline - from) * p->ips + TN_NS_PER_S - 1) / TN_NS_PER_S;
  p->slice = MIN (n, SLICE);
}

/* Real time: a whole slice took so long. */
static void
adapt_slice (TnProcessor *p, int64_t ns)
{
  if (ns > 2 * SLICE_NS)
    p->slice = MAX (p->slice / 2, SLICE_MIN);
  else if (ns < SLICE_NS / 2)
    p->slice = MIN (p->slice * 2, SLICE);
}

/* ---- Stopping and going on ---- */

static void
wish (TnProcessor *p)
{
  p->wishes++;
  vmm_vcpu_kick (p->cpu);
  g_cond_broadcast (&p->wake);
}

/* Wakes the thread out of HLT.  From then on it is ready to run, and time waits for it. */
static void
poke (TnProcessor *p)
{
  g_mutex_lock (&p->gate);
  if (p->halted && vmm_vcpu_runnable (p->cpu))
    {
      p->halted = false;
      tn_clock_follow (p->clock);
    }
  g_cond_broadcast (&p->wake);
  g_mutex_unlock (&p->gate);
}

static void
leave_guest (TnProcessor *p)
{
  p->in_guest = false;
  if (!p->wishes)
    return;
  g_mutex_lock (&p->gate);
  g_cond_broadcast (&p->stopped);
  g_mutex_unlock (&p->gate);
}

static void
hard_reset (TnProcessor *p)
{
  tn_machine_lock (p->machine);
  tn_machine_reset (p->machine);
  vmm_vcpu_reset (p->cpu);
  p->resets++;
  tn_machine_unlock (p->machine);
}

/* Does what is wished; false to end the thread. */
static bool
serve_wishes (TnProcessor *p)
{
  g_mutex_lock (&p->gate);
  while (!p->quit)
    {
      if (p->reset)
        {
          p->reset = false;
          p->wishes--;
          g_mutex_unlock (&p->gate);
          hard_reset (p);
          g_mutex_lock (&p->gate);
          p->boundary = true;
        }
      else if (p->quiesced)
        g_cond_wait (&p->wake, &p->gate);
      else if (p->parks && p->boundary)
        {
          p->parked = true;
          g_cond_broadcast (&p->stopped);
          g_cond_wait (&p->wake, &p->gate);
          p->parked = false;
        }
      else
        break;
    }
  g_mutex_unlock (&p->gate);
  return !p->quit;
}

static bool
enter_guest (TnProcessor *p)
{
  for (;;)
    {
      if (p->wishes && !serve_wishes (p))
        return false;
      p->in_guest = true;
      if (!p->wishes || (!p->quiesced && !p->reset && !p->quit && !(p->parks && p->boundary)))
        return true;
      leave_guest (p);
    }
}

void
tn_processor_quiesce (TnProcessor *p)
{
  if (!p || !p->thread || g_thread_self () == p->thread)
    return;
  g_mutex_lock (&p->gate);
  p->quiesced++;
  wish (p);
  while (p->in_guest)
    g_cond_wait (&p->stopped, &p->gate);
  g_mutex_unlock (&p->gate);
}

void
tn_processor_resume (TnProcessor *p)
{
  if (!p || !p->thread || g_thread_self () == p->thread)
    return;
  g_mutex_lock (&p->gate);
  p->quiesced--;
  p->wishes--;
  g_cond_broadcast (&p->wake);
  g_mutex_unlock (&p->gate);
}

void
tn_processor_park (TnProcessor *p)
{
  g_mutex_lock (&p->gate);
  p->parks++;
  wish (p);
  while (!p->parked && !p->quit && p->thread)
    g_cond_wait (&p->stopped, &p->gate);
  g_mutex_unlock (&p->gate);
}

void
tn_processor_unpark (TnProcessor *p)
{
  g_mutex_lock (&p->gate);
  p->parks--;
  p->wishes--;
  g_cond_broadcast (&p->wake);
  g_mutex_unlock (&p->gate);
}

void
tn_processor_request_reset (TnProcessor *p, TnResetKind kind)
{
  if (!p || !p->cpu)
    return;
  if (kind == TN_RESET_SOFT)
    {
      vmm_vcpu_set_init (p->cpu, true);
      vmm_vcpu_set_init (p->cpu, false);
      poke (p);
      return;
    }
  g_mutex_lock (&p->gate);
  if (!p->reset)
    {
      p->reset = true;
      wish (p);
    }
  g_mutex_unlock (&p->gate);
}

/* ---- Callbacks from within the guest ---- */

/* Takes the machine lock, in the guest; returns whether the guest was left for it. */
static bool
lock_in_guest (TnProcessor *p)
{
  if (tn_machine_trylock (p->machine))
    return false;
  leave_guest (p);
  tn_machine_lock (p->machine);
  return true;
}

/* The same from callbacks that come from elsewhere, too. */
static void
lock_from_guest (TnProcessor *p, bool *left)
{
  *left = false;
  if (g_thread_self () == p->thread && p->in_guest)
    *left = lock_in_guest (p);
  else
    tn_machine_lock (p->machine);
}

static void
unlock_from_guest (TnProcessor *p, bool left)
{
  if (left)
    p->in_guest = true;
  tn_machine_unlock (p->machine);
}

static uint64_t
read_tsc (void *opaque)
{
  TnProcessor *p = opaque;

  return tn_ns_to_ticks (virtual_now (p), p->tsc_hz);
}

static int64_t
now (void *opaque)
{
  return virtual_now (opaque);
}

static void
set_timer (void *opaque, int64_t when)
{
  TnProcessor *p = opaque;
  bool within = g_thread_self () == p->thread && p->in_guest, left;

  lock_from_guest (p, &left);
  tn_event_set (p->apic_timer, when);
  if (p->counted && within)
    vmm_vcpu_kick (p->cpu); /* it may be due within the slice */
  unlock_from_guest (p, left);
}

static void
apic_eoi (void *opaque, uint8_t vector)
{
  TnProcessor *p = opaque;
  bool left;

  lock_from_guest (p, &left);
  tn_machine_apic_eoi (p->machine, vector);
  unlock_from_guest (p, left);
}

static void
ferr (void *opaque, bool level)
{
  TnProcessor *p = opaque;
  bool left;

  lock_from_guest (p, &left);
  tn_machine_drive_line (p->machine, "cpu:ferr", level);
  unlock_from_guest (p, left);
}

static void
log_text (void *opaque, int level, const char *text)
{
  TnProcessor *p = opaque;

  tn_log_write (p->log, "cpu", CLAMP (level, TN_LOG_ERROR, TN_LOG_DEBUG), NULL, text);
}

static void
translated (void *opaque, VmmVcpu *cpu, const VmmTranslation *translation)
{
  tn_jit_translated (((TnProcessor *) opaque)->jit, cpu, translation);
}

static void
forgotten (void *opaque)
{
  tn_jit_forgotten (((TnProcessor *) opaque)->jit);
}

static void
apic_timer_due (void *data)
{
  TnProcessor *p = data;

  vmm_vcpu_apic_timer (p->cpu);
  poke (p);
}

/* ---- Accesses without an exit ---- */

#define MMIO 0x10000u /* the place of all memory in p->timed */

/* Locks the machine for an access; or refuses, so that an exit serves the wish. */
static bool
begin_access (TnProcessor *p, uint32_t port, bool *left)
{
  if (p->wishes)
    return false;
  *left = lock_in_guest (p);
  if (p->timed[port] || !is_quiet (p))
    catch_up (p);
  else
    tn_machine_set_cycle_time (p->machine, TN_CYCLE_UNREAD);
  return true;
}

static void
end_access (TnProcessor *p, uint32_t port, bool left)
{
  if (tn_machine_time_asked (p->machine))
    p->timed[port] = true;
  tn_machine_set_cycle_time (p->machine, TN_TIME_NEVER);
  /* The device has set a timer that falls due within the slice. */
  if (p->counted && tn_clock_deadline (p->clock) < p->planned)
    vmm_vcpu_kick (p->cpu);
  unlock_from_guest (p, left);
}

static VmmCall
io_read (void *opaque, uint16_t port, unsigned size, uint32_t *value)
{
  TnProcessor *p = opaque;
  bool left;

  if (!(tn_machine_port_access (p->machine, port, size) & TN_ACCESS_READ_FAST)
      || !begin_access (p, port, &left))
    return VMM_CALL_EXIT;
  p->ports[port]++;
  *value = tn_machine_port_read (p->machine, port, size);
  end_access (p, port, left);
  return VMM_CALL_DONE;
}

static VmmCall
io_write (void *opaque, uint16_t port, unsigned size, uint32_t value)
{
  TnProcessor *p = opaque;
  unsigned access = tn_machine_port_access (p->machine, port, size);
  bool left;

  if ((access & TN_ACCESS_WRITE_POSTED) && !p->counted
      && tn_machine_post_port (p->machine, port, value, size))
    {
      p->ports[port]++;
      return VMM_CALL_POSTED;
    }
  if (!(access & TN_ACCESS_WRITE_FAST) || !begin_access (p, port, &left))
    return VMM_CALL_EXIT;
  p->ports[port]++;
  tn_machine_port_write (p->machine, port, value, size);
  end_access (p, port, left);
  return VMM_CALL_DONE;
}

static uint32_t
io_read_block (void *opaque, uint16_t port, unsigned size, void *items, uint32_t count)
{
  TnProcessor *p = opaque;
  bool left;

  if (!(tn_machine_port_access (p->machine, port, size) & TN_ACCESS_READ_FAST)
      || !begin_access (p, port, &left))
    return 0;
  p->ports[port]++;
  count = tn_machine_port_ins (p->machine, port, items, count, size);
  end_access (p, port, left);
  return count;
}

static uint32_t
io_write_block (void *opaque, uint16_t port, unsigned size, const void *items, uint32_t count)
{
  TnProcessor *p = opaque;
  bool left;

  if (!(tn_machine_port_access (p->machine, port, size) & TN_ACCESS_WRITE_FAST)
      || !begin_access (p, port, &left))
    return 0;
  p->ports[port]++;
  count = tn_machine_port_outs (p->machine, port, items, count, size);
  end_access (p, port, left);
  return count;
}

static VmmCall
mmio_read (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t *value)
{
  TnProcessor *p = opaque;
  bool left, fast;

  if (!(tn_machine_mem_access (p->machine, address) & TN_ACCESS_READ_FAST)
      || !begin_access (p, MMIO, &left))
    return VMM_CALL_EXIT;
  fast = tn_machine_mem_is_fast (p->machine, address, size);
  if (fast)
    *value = tn_machine_mem_read (p->machine, address, size, smm);
  end_access (p, MMIO, left);
  return fast ? VMM_CALL_DONE : VMM_CALL_EXIT;
}

static VmmCall
mmio_write (void *opaque, uint32_t address, unsigned size, bool smm, uint32_t value)
{
  TnProcessor *p = opaque;
  unsigned access = tn_machine_mem_access (p->machine, address);
  bool left, fast;

  if ((access & TN_ACCESS_WRITE_POSTED) && !p->counted
      && tn_machine_post_mem (p->machine, address, value, size, smm))
    return VMM_CALL_POSTED;
  if (!(access & TN_ACCESS_WRITE_FAST) || !begin_access (p, MMIO, &left))
    return VMM_CALL_EXIT;
  fast = tn_machine_mem_is_fast (p->machine, address, size);
  if (fast)
    tn_machine_mem_write (p->machine, address, value, size, smm);
  end_access (p, MMIO, left);
  return fast ? VMM_CALL_DONE : VMM_CALL_EXIT;
}

static void
set_calls (VmmVcpuConfig *cpu)
{
  cpu->io_read = io_read;
  cpu->io_write = io_write;
  cpu->io_read_block = io_read_block;
  cpu->io_write_block = io_write_block;
  cpu->mmio_read = mmio_read;
  cpu->mmio_write = mmio_write;
}

/* ---- Pins ---- */

/* One of vmm_vcpu_set_*; a rise may end HLT. */
static void
set_pin (TnProcessor *p, void (*set) (VmmVcpu *cpu, bool level), bool level)
{
  if (!p->cpu)
    return;
  set (p->cpu, level);
  if (level)
    poke (p);
}

static void
pin_intr (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_intr, level);
}

static void
pin_nmi (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_nmi, level);
}

static void
pin_smi (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_smi, level);
}

static void
pin_init (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_init, level);
}

static void
pin_a20 (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_a20, level);
}

static void
pin_ignne (void *data, bool level)
{
  set_pin (data, vmm_vcpu_set_ignne, level);
}

static void
watch_pins (TnProcessor *p)
{
  tn_machine_watch_line (p->machine, "cpu:intr", pin_intr, p);
  tn_machine_watch_line (p->machine, "cpu:nmi", pin_nmi, p);
  tn_machine_watch_line (p->machine, "cpu:smi", pin_smi, p);
  tn_machine_watch_line (p->machine, "cpu:init", pin_init, p);
  tn_machine_watch_line (p->machine, "cpu:a20", pin_a20, p);
  tn_machine_watch_line (p->machine, "cpu:ignne", pin_ignne, p);
}

bool
tn_processor_send_apic (TnProcessor *p, const TnApicMessage *message)
{
  VmmApicMessage m = { .vector = message->vector,
                       .delivery_mode = message->delivery_mode,
                       .destination = message->destination,
                       .logical = message->logical,
                       .level = message->level };
  bool accepted = p && p->cpu && vmm_vcpu_apic_receive (p->cpu, &m);

  if (accepted)
    poke (p);
  return accepted;
}

/* ---- Exits ---- */

/* Fires what is due, and waits for the next event, a pin or a wish. */
static void
wait_halted (TnProcessor *p)
{
  int64_t deadline, delay;

  tn_machine_lock (p->machine);
  deadline = tn_clock_run (p->clock);
  tn_clock_rest (p->clock, deadline);
  delay = tn_clock_host_delay (p->clock, deadline);
  g_mutex_lock (&p->gate);
  tn_machine_unlock (p->machine); /* from here on tn_processor_deadline () wakes us */
  if (!vmm_vcpu_runnable (p->cpu) && !p->wishes)
    {
      if (delay == TN_TIME_NEVER)
        g_cond_wait (&p->wake, &p->gate);
      else if (delay > 0)
        g_cond_wait_until (&p->wake, &p->gate, g_get_monotonic_time () + delay / 1000 + 1);
    }
  g_mutex_unlock (&p->gate);
}

static void
set_halted (TnProcessor *p, bool halted)
{
  tn_machine_lock (p->machine);
  g_mutex_lock (&p->gate);
  p->halted = p->sees_to_events = halted;
  if (halted)
    tn_clock_rest (p->clock, tn_clock_deadline (p->clock));
  else
    tn_clock_follow (p->clock);
  g_mutex_unlock (&p->gate);
  p->host.alarm (p->host.opaque, halted ? TN_TIME_NEVER : tn_clock_deadline (p->clock));
  tn_machine_unlock (p->machine);
}

/* The main loop sleeps meanwhile: an idle guest's ticks then wake one thread, not two. */
static void
halt_real (TnProcessor *p)
{
  int64_t from = g_get_monotonic_time ();

  if (vmm_vcpu_runnable (p->cpu) || p->wishes)
    return;
  set_halted (p, true);
  if (p->paced)
    vmm_vcpu_pace (p->cpu, 0);
  while (!vmm_vcpu_runnable (p->cpu) && !p->wishes)
    wait_halted (p);
  if (p->paced)
    vmm_vcpu_pace (p->cpu, PACE_US);
  set_halted (p, false);
  p->halts_ns += (g_get_monotonic_time () - from) * 1000;
}

static void
halt_counted (TnProcessor *p)
{
  while (!vmm_vcpu_runnable (p->cpu) && !p->wishes)
    {
      int64_t deadline, from = virtual_now (p);

      tn_machine_lock (p->machine);
      deadline = tn_clock_deadline (p->clock);
      if (deadline != TN_TIME_NEVER)
        {
          if (deadline > from)
            {
              p->skipped += deadline - from;
              p->halts_ns += deadline - from;
            }
          tn_clock_advance (p->clock, MAX (deadline, from));
        }
      plan_slice (p);
      tn_machine_unlock (p->machine);
      if (deadline != TN_TIME_NEVER)
        continue;
      g_mutex_lock (&p->gate);
      if (!vmm_vcpu_runnable (p->cpu) && !p->wishes)
        g_cond_wait (&p->wake, &p->gate);
      g_mutex_unlock (&p->gate);
    }
}

/* INIT# of a processor that has shut down is what the chipset makes of it; here a hard reset. */
static void
triple_fault (TnProcessor *p)
{
  if (p->stop_on_fault)
    {
      tn_log_print (p->log, "cpu", TN_LOG_WARNING, "triple fault; the machine stops");
      p->host.triple_fault (p->host.opaque);
      g_mutex_lock (&p->gate);
      while (!p->wishes)
        g_cond_wait (&p->wake, &p->gate);
      g_mutex_unlock (&p->gate);
      return;
    }
  tn_log_print (p->log, "cpu", TN_LOG_INFO, "triple fault; the machine is reset");
  tn_processor_request_reset (p, TN_RESET_HARD);
}

/* Under the lock. */
static bool
set_info (TnProcessor *p, const VmmExit *e)
{
  if (e->count != TN_INFO_POWER || e->high != 0 || e->value > TN_POWER_RESET)
    return false;
  if (e->value == TN_POWER_OFF)
    p->host.poweroff (p->host.opaque);
  else
    tn_processor_request_reset (p, TN_RESET_HARD);
  return true;
}

static void
serve_additions (TnProcessor *p, VmmExit *e)
{
  uint64_t value;

  switch (e->address)
    {
    case VMM_CALL_GETINFO:
      e->done = tn_additions_get (p->machine, p->tsc_hz, virtual_now (p), e->count, &value);
      if (!e->done)
        break;
      e->value = (uint32_t) value;
      e->high = value >> 32;
      break;
    case VMM_CALL_SETINFO: e->done = set_info (p, e); break;
    default: break;
    }
}

/* Under the lock. */
static void
serve_cycle (TnProcessor *p, VmmExit *e)
{
  TnMachine *m = p->machine;

  switch (e->reason)
    {
    case VMM_EXIT_IO_IN:
      p->ports[e->address & 0xffff]++;
      e->value = tn_machine_port_read (m, e->address, e->size);
      break;
    case VMM_EXIT_IO_OUT:
      p->ports[e->address & 0xffff]++;
      tn_machine_port_write (m, e->address, e->value, e->size);
      break;
    case VMM_EXIT_IO_INS:
      p->ports[e->address & 0xffff]++;
      e->count = tn_machine_port_ins (m, e->address, e->items, e->count, e->size);
      break;
    case VMM_EXIT_IO_OUTS:
      p->ports[e->address & 0xffff]++;
      e->count = tn_machine_port_outs (m, e->address, e->items, e->count, e->size);
      break;
    case VMM_EXIT_MMIO_READ: e->value = tn_machine_mem_read (m, e->address, e->size, e->smm); break;
    case VMM_EXIT_MMIO_WRITE:
      tn_machine_mem_write (m, e->address, e->value, e->size, e->smm);
      break;
    case VMM_EXIT_INTA: e->value = tn_machine_inta (m); break;
    case VMM_EXIT_ADDITIONS_CALL: serve_additions (p, e); break;
    default: break;
    }
}

static void
serve_exit (TnProcessor *p, VmmExitReason reason)
{
  switch (reason)
    {
    case VMM_EXIT_HLT:
      p->boundary = true;
      if (p->counted)
        halt_counted (p);
      else
        halt_real (p);
      return;
    case VMM_EXIT_SHUTDOWN:
      p->boundary = true;
      triple_fault (p);
      return;
    case VMM_EXIT_TIME_SLICE:
    case VMM_EXIT_DEBUG: p->boundary = true; break;
    default: p->boundary = false;
    }
  tn_machine_lock (p->machine);
  catch_up (p);
  /* A reset that came meanwhile drops the cycle. */
  if (!p->boundary && !p->reset)
    serve_cycle (p, vmm_vcpu_exit (p->cpu));
  tn_machine_set_cycle_time (p->machine, TN_TIME_NEVER);
  plan_slice (p);
  tn_machine_unlock (p->machine);
  if (reason == VMM_EXIT_ADDITIONS_CALL && vmm_vcpu_exit (p->cpu)->address == VMM_CALL_SPLAF)
    g_thread_yield ();
}

static void *
thread_main (void *data)
{
  TnProcessor *p = data;

  p->boundary = true;
  if (p->paced)
    vmm_vcpu_pace (p->cpu, PACE_US);
  prctl (PR_SET_TIMERSLACK, 1000); /* ns; HLT ends with a timed wait */
  while (enter_guest (p))
    {
      bool whole = !p->wishes;
      int64_t from = p->counted ? 0 : tn_clock_now (p->clock);
      VmmExitReason reason = vmm_vcpu_execute (p->cpu, whole ? p->slice : 1);

      leave_guest (p);
      if (!p->counted && !p->paced && whole && reason == VMM_EXIT_TIME_SLICE)
        adapt_slice (p, tn_clock_now (p->clock) - from);
      serve_exit (p, reason);
    }
  return NULL;
}

/* ---- Life ---- */

TnProcessor *
tn_processor_new (TnMachine *machine, const TnConfig *config, TnLog *log,
                  const TnProcessorHost *host, GError **error)
{
  TnProcessor *p = g_new0 (TnProcessor, 1);
  const char *refusal = NULL;
  VmmVcpuConfig cpu = { .opaque = p,
                        .engine = config->engine == TN_CONFIG_ENGINE_INTERPRET
                                      ? VMM_ENGINE_INTERPRET
                                      : VMM_ENGINE_TRANSLATE,
                        .counted = tn_clock_mode (tn_machine_clock (machine)) == TN_CLOCK_COUNTED,
                        .spaces = config->host_mmu,
                        .heat = HEAT,
                        .tsc_hz = config->tsc_hz,
                        .apic = config->apic,
                        .sse2 = config->sse2,
                        .additions = config->additions,
                        .apic_bus_hz = config->apic_bus_hz,
                        .read_tsc = read_tsc,
                        .now = now,
                        .set_timer = set_timer,
                        .apic_eoi = apic_eoi,
                        .ferr = ferr,
                        .log = log_text };

  p->machine = machine;
  p->clock = tn_machine_clock (machine);
  p->log = log;
  p->host = *host;
  p->stop_on_fault = config->triple_fault == TN_CONFIG_FAULT_STOP;
  p->counted = tn_clock_mode (p->clock) == TN_CLOCK_COUNTED;
  p->ips = config->instructions_per_second;
  p->tsc_hz = config->tsc_hz;
  p->paced = !p->counted && config->engine == TN_CONFIG_ENGINE_TRANSLATE;
  p->slice = p->counted ? 1 : p->paced ? UINT64_MAX / 2 : SLICE_MIN;
  if (config->fast_io)
    set_calls (&cpu);
  if (host->trace)
    {
      trace_attach (host->trace, &cpu);
      cpu.trace_ram = TRACE_RAM_EVERY;
    }
  if (host->stress)
    trace_stress (host->stress, &cpu);
  g_mutex_init (&p->gate);
  g_cond_init (&p->wake);
  g_cond_init (&p->stopped);
  p->ports = g_new0 (uint32_t, 0x10000);
  p->timed = g_new0 (uint8_t, MMIO + 1);
  p->apic_timer = tn_event_new (p->clock, apic_timer_due, p);
  if (tn_jit_new (config, host->log_block, log, &p->jit, error))
    {
      cpu.translated = p->jit ? translated : NULL;
      cpu.forgotten = p->jit ? forgotten : NULL;
      p->cpu = vmm_vcpu_new (tn_machine_vm (machine), &cpu, &refusal);
    }
  if (!p->cpu)
    {
      if (refusal)
        g_set_error (error, TN_ERROR, TN_ERROR_FAILED, "cannot make the processor: %s", refusal);
      tn_processor_detach (p);
      tn_processor_free (p);
      return NULL;
    }
  tn_machine_lock (machine);
  watch_pins (p);
  tn_machine_unlock (machine);
  return p;
}

void
tn_processor_start (TnProcessor *p, bool parked)
{
  g_mutex_lock (&p->gate);
  if (parked)
    {
      p->parks++;
      p->wishes++;
    }
  p->thread = g_thread_new ("vcpu0", thread_main, p);
  g_mutex_unlock (&p->gate);
}

static void
stop (TnProcessor *p)
{
  if (!p->thread)
    return;
  g_mutex_lock (&p->gate);
  p->quit = true;
  wish (p);
  g_cond_broadcast (&p->stopped);
  g_mutex_unlock (&p->gate);
  g_thread_join (p->thread);
  p->thread = NULL;
}

void
tn_processor_detach (TnProcessor *p)
{
  if (!p)
    return;
  stop (p);
  tn_machine_lock (p->machine);
  tn_event_free (p->apic_timer);
  p->apic_timer = NULL;
  if (p->cpu)
    vmm_vcpu_free (p->cpu);
  p->cpu = NULL;
  tn_machine_unlock (p->machine);
}

void
tn_processor_free (TnProcessor *p)
{
  if (!p)
    return;
  g_mutex_clear (&p->gate);
  g_cond_clear (&p->wake);
  g_cond_clear (&p->stopped);
  g_free (p->ports);
  g_free (p->timed);
  tn_jit_free (p->jit);
  g_free (p);
}

/* The earliest event is another one.  Counted time: it may be due within the slice. */
bool
tn_processor_deadline (TnProcessor *p)
{
  bool ours;

  if (!p || !p->cpu)
    return false;
  if (p->counted && g_thread_self () != p->thread)
    {
      vmm_vcpu_kick (p->cpu);
      poke (p);
    }
  if (p->counted)
    return true;
  g_mutex_lock (&p->gate);
  ours = p->sees_to_events;
  if (ours)
    g_cond_broadcast (&p->wake);
  g_mutex_unlock (&p->gate);
  return ours;
}
