/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 8254 interval timer with port 61h, speaker and NMI status, after Intel's 8254 data sheet
 * (231164) and the PIIX4's (290562).
 *
 *   40 41 42  counters 0 (IRQ 0), 1 (refresh), 2 (speaker)     43  control word, read-back command
 *   61        bit 0 gate 2, 1 speaker data, 2 SERR# off, 3 IOCHK# off (all R/W);
 *             4 refresh toggle, 5 OUT2, 6 IOCHK# seen, 7 SERR# seen (read only)
 *
 * No work is done per tick: a counter is its count register and the time at which it was loaded;
 * the counting element and OUT are computed when somebody looks.  The clock has one timer, for the
 * next rising edge of OUT0.
 *
 * Departures:
 * - "isa:0" stays high between the edges of modes 2 to 5 and falls and rises again in an instant,
 *   so that one event per period suffices and a late host does not cancel a tick in the second
 *   half of a mode 3 period.  The status byte shows the true OUT.
 * - When the host is late by whole periods the missing edges follow a quarter of a period apart,
 *   so that a guest that counts them keeps time; what is older than 10 s is forgotten.  Edges come
 *   at most every 10 us.
 * - The refresh toggle of port 61h ticks every 15.085 us whatever counter 1 is set to.
 * - A count of 1 in modes 2 and 3, which the data sheet forbids, stops OUT from changing.
 * - NMI sources: lines "isa:iochk" and "pci:serr"; port 70h's mask is line "nmi:disable" (rtc).
 */
#include <tenon/tenon.h>

#include <string.h>

#define PIT_HZ 1193182
#define REFRESH_NS 15085
#define MIN_EDGE_NS (10 * TN_NS_PER_US)
#define MAX_BACKLOG_NS (10 * TN_NS_PER_S)
/* No load lies further from now; keeps sums of hostile saved times far from overflow. */
#define MAX_AGE (INT64_MAX / 4)
#define MAX_AHEAD (100 * TN_NS_PER_MS) /* longer than any count */

enum {
  CONTROL_BCD = 0x01,
  CONTROL_SELECT_READ_BACK = 3,
  READ_BACK_NO_COUNT = 0x20,
  READ_BACK_NO_STATUS = 0x10,
  STATUS_OUT = 0x80,
  STATUS_NULL = 0x40,
  STATUS_CONTROL = 0x3f,
};

enum { ACCESS_LATCH, ACCESS_LSB, ACCESS_MSB, ACCESS_WORD };

enum {
  P61_GATE2 = 0x01,
  P61_SPEAKER = 0x02,
  P61_SERR_OFF = 0x04,
  P61_IOCHK_OFF = 0x08,
  P61_WRITABLE = 0x0f,
  P61_REFRESH = 0x10,
  P61_OUT2 = 0x20,
  P61_IOCHK = 0x40,
  P61_SERR = 0x80,
};

typedef struct {
  uint8_t control; /* bits 5:0 of the last control word: access, mode, BCD */
  uint16_t reload; /* count register, as written */
  uint8_t low;     /* first byte of a two-byte count */
  bool have_low;
  bool loaded;  /* a count was written since the control word */
  bool pending; /* `reload` has not reached the counting element: null count */
  bool gate;
  bool running;      /* the counting element counts since `start`; else it stands at `held` */
  bool triggered;    /* modes 1 and 5: the gate has risen */
  uint16_t active;   /* the count that the counting element was loaded with */
  int64_t start;     /* when the counting element held `active` (virtual ns, may lie ahead) */
  int64_t held;      /* clocks since the load while it stands */
  int64_t reload_at; /* modes 2 and 3: when the pending count begins, or TN_TIME_NEVER */
  bool read_high;    /* the next read gives the second byte */
  bool count_latched, status_latched;
  uint16_t latched_count;
  uint8_t latched_status;
} Counter;

typedef struct {
  TnDevice *device;
  TnLine *irq, *nmi;
  TnTimer *timer;
  Counter counter[3];
  int64_t edge_at;   /* next rising edge of OUT0, or TN_TIME_NEVER */
  uint8_t port61;    /* writable bits and the two NMI status bits */
  bool nmi_disabled; /* level of "nmi:disable" */
  uint32_t tone;     /* last value of the signal "speaker" */
} Pit;

/* ---- The counting element ---- */

static unsigned
mode_of (const Counter *c)
{
  unsigned mode = c->control >> 1 & 7;
  return mode > 5 ? mode & 3 : mode; /* 6 and 7 are 2 and 3 */
}

static bool
periodic (const Counter *c)
{
  return mode_of (c) == 2 || mode_of (c) == 3;
}

/* A count register's value as a number of clocks; 0 stands for the greatest. */
static int64_t
clocks_of (const Counter *c, uint16_t count)
{
  if (!(c->control & CONTROL_BCD))
    return count ? count : 0x10000;
  int64_t n = 0;
  for (int shift = 12; shift >= 0; shift -= 4)
    n = n * 10 + (count >> shift & 15);
  return n ? n : 10000;
}

static uint16_t
count_from_clocks (const Counter *c, int64_t n)
{
  if (!(c->control & CONTROL_BCD))
    return n;
  n %= 10000;
  return n / 1000 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10;
}

/* Clocks since the load; 0 before the load has taken place. */
static int64_t
elapsed (const Counter *c, int64_t now)
{
  if (!c->running)
    return c->held;
  return now <= c->start ? 0 : tn_ns_to_ticks (now - c->start, PIT_HZ);
}

static void
load (Counter *c, int64_t start)
{
  c->active = c->reload;
  c->pending = false;
  c->start = start;
  c->held = 0;
  c->reload_at = TN_TIME_NEVER;
  c->running = c->gate || mode_of (c) == 1 || mode_of (c) == 5;
}

/* The time of the next clock edge, at which a new count is loaded. */
static int64_t
next_clock (int64_t now)
{
  return now + tn_ticks_to_ns (1, PIT_HZ);
}

/* First period of modes 2 and 3 that begins after now. */
static int64_t
next_period (const Counter *c, int64_t now)
{
  int64_t period = clocks_of (c, c->active);
  return c->start + tn_ticks_to_ns ((elapsed (c, now) / period + 1) * period, PIT_HZ);
}

/* A count written during a period of modes 2 and 3 begins with the next one. */
static void
catch_up (Counter *c, int64_t now)
{
  if (c->reload_at <= now)
    load (c, c->reload_at);
}

static int64_t
square_wave_count (int64_t period, int64_t position)
{
  int64_t half = (period + 1) / 2;
  if (position >= half)
    position -= half;
  return (period & ~INT64_C (1)) - 2 * position; /* odd counts start one lower */
}

static uint16_t
count_now (const Counter *c, int64_t now)
{
  int64_t n = clocks_of (c, c->active);
  int64_t e = elapsed (c, now);
  int64_t modulus = c->control & CONTROL_BCD ? 10000 : 0x10000;
  if (mode_of (c) == 3)
    n = square_wave_count (n, e % n);
  else if (mode_of (c) == 2)
    n -= e % n;
  else
    n = ((n - e) % modulus + modulus) % modulus;
  return count_from_clocks (c, n);
}

static bool
out_now (const Counter *c, int64_t now)
{
  int64_t n = clocks_of (c, c->active);
  int64_t e = elapsed (c, now);
  switch (mode_of (c))
    {
    case 0: return c->loaded && e >= n;
    case 1: return !c->triggered || e >= n;
    case 2: return !c->loaded || !c->running || n == 1 || e % n != n - 1;
    case 3: return !c->loaded || !c->running || e % n < (n + 1) / 2;
    case 4: return !c->loaded || e != n;
    default: return !c->triggered || e != n;
    }
}

/* ---- OUT0 ---- */

/* When OUT will rise next.  Gate 0 is tied high, so modes 1 and 5 never start. */
static int64_t
next_edge (const Counter *c, int64_t now)
{
  int64_t n = clocks_of (c, c->active);
  if (!c->loaded || !c->running)
    return TN_TIME_NEVER;
  switch (mode_of (c))
    {
    case 0: return elapsed (c, now) < n ? c->start + tn_ticks_to_ns (n, PIT_HZ) : TN_TIME_NEVER;
    case 2:
    case 3:
      if (n == 1 && !c->pending)
        return TN_TIME_NEVER;
      return c->pending ? c->reload_at : next_period (c, now);
    case 4:
      return elapsed (c, now) <= n ? c->start + tn_ticks_to_ns (n + 1, PIT_HZ) : TN_TIME_NEVER;
    default: return TN_TIME_NEVER;
    }
}

static void
schedule_edge (Pit *p, int64_t when)
{
  p->edge_at = when;
  tn_timer_set (p->timer, when);
}

static void
set_irq (Pit *p, int64_t now)
{
  const Counter *c = &p->counter[0];
  tn_line_set (p->irq, mode_of (c) != 0 || out_now (c, now));
}

/* How soon an edge may follow the last: a guest that was not let run gets those that it missed, but
   has time to serve each. */
static int64_t
spacing (const Counter *c)
{
  return MAX (tn_ticks_to_ns (clocks_of (c, c->active), PIT_HZ) / 4, MIN_EDGE_NS);
}

static void
edge (void *self, void *data)
{
  Pit *p = self;
  Counter *c = &p->counter[0];
  int64_t now = tn_device_now (p->device);
  catch_up (c, now);
  if (mode_of (c) != 0)
    tn_line_set (p->irq, false);
  tn_line_set (p->irq, true);
  p->edge_at = next_edge (c, CLAMP (p->edge_at, now - MAX_BACKLOG_NS, now));
  bool late = p->edge_at < now + MIN_EDGE_NS;
  tn_timer_set (p->timer, late ? now + spacing (c) : p->edge_at);
}

/* ---- Port 61h ---- */

static void
update_nmi (Pit *p)
{
  bool seen = p->port61 & (P61_SERR | P61_IOCHK);
  tn_line_set (p->nmi, seen && !p->nmi_disabled);
}

static void
update_speaker (Pit *p)
{
  const Counter *c = &p->counter[2];
  uint32_t tone = 0;
  if ((p->port61 & P61_SPEAKER) && c->gate && c->loaded && periodic (c))
    tone = clocks_of (c, c->reload);
  if (tone == p->tone)
    return;
  p->tone = tone;
  tn_device_emit (p->device, "speaker", tone);
}

static void
set_gate (Counter *c, bool level, int64_t now)
{
  if (level == c->gate)
    return;
  catch_up (c, now);
  unsigned mode = mode_of (c);
  c->gate = level;
  if (level && mode != 0 && mode != 4)
    { /* a trigger */
      if (!c->loaded)
        return;
      load (c, next_clock (now));
      c->triggered = true;
    }
  else if (level)
    {
      c->running = c->loaded;
      c->start = now - tn_ticks_to_ns (c->held, PIT_HZ);
    }
  else if (mode != 1 && mode != 5)
    {
      c->held = elapsed (c, now);
      c->running = false;
      c->reload_at = TN_TIME_NEVER; /* the next trigger loads it */
    }
}

static uint32_t
port61_read (void *self, uint32_t offset, unsigned size)
{
  Pit *p = self;
  int64_t now = tn_device_now (p->device);
  catch_up (&p->counter[2], now);
  return p->port61 | (now / REFRESH_NS & 1 ? P61_REFRESH : 0)
         | (out_now (&p->counter[2], now) ? P61_OUT2 : 0);
}

static void
port61_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Pit *p = self;
  uint8_t seen = p->port61 & (P61_SERR | P61_IOCHK);
  if (value & P61_SERR_OFF)
    seen &= ~P61_SERR;
  if (value & P61_IOCHK_OFF)
    seen &= ~P61_IOCHK;
  p->port61 = (value & P61_WRITABLE) | seen;
  set_gate (&p->counter[2], value & P61_GATE2, tn_device_now (p->device));
  update_nmi (p);
  update_speaker (p);
}

/* SERR# and IOCHK#: data is the status bit, which the enable bit four places below guards. */
static void
error_line (void *self, bool level, void *data)
{
  Pit *p = self;
  uint8_t status = GPOINTER_TO_UINT (data);
  uint8_t off = status == P61_SERR ? P61_SERR_OFF : P61_IOCHK_OFF;
  if (level && !(p->port61 & off))
    p->port61 |= status;
  update_nmi (p);
}

static void
nmi_disable (void *self, bool level, void *data)
{
  Pit *p = self;
  p->nmi_disabled = level;
  update_nmi (p);
}

/* ---- Ports 40h to 43h ---- */

static void
latch_count (Counter *c, int64_t now)
{
  if (c->count_latched)
    return;
  c->latched_count = count_now (c, now);
  c->count_latched = true;
}

static void
latch_status (Counter *c, int64_t now)
{
  if (c->status_latched)
    return;
  bool null_count = c->pending || (c->running && now < c->start);
  c->latched_status
      = c->control | (out_now (c, now) ? STATUS_OUT : 0) | (null_count ? STATUS_NULL : 0);
  c->status_latched = true;
}

static void
read_back (Pit *p, uint8_t value, int64_t now)
{
  for (unsigned i = 0; i < 3; i++)
    {
      if (!(value & 2 << i))
        continue;
      catch_up (&p->counter[i], now);
      if (!(value & READ_BACK_NO_COUNT))
        latch_count (&p->counter[i], now);
      if (!(value & READ_BACK_NO_STATUS))
        latch_status (&p->counter[i], now);
    }
}

static void
set_control (Counter *c, uint8_t value, int64_t now)
{
  c->held = elapsed (c, now);
  c->control = value & STATUS_CONTROL;
  c->running = c->loaded = c->triggered = false;
  c->pending = true;
  c->reload_at = TN_TIME_NEVER;
  c->have_low = c->read_high = c->count_latched = c->status_latched = false;
}

static void
control_write (Pit *p, uint8_t value, int64_t now)
{
  unsigned select = value >> 6;
  if (select == CONTROL_SELECT_READ_BACK)
    {
      read_back (p, value, now);
      return;
    }
  Counter *c = &p->counter[select];
  catch_up (c, now);
  if ((value >> 4 & 3) == ACCESS_LATCH)
    latch_count (c, now);
  else
    set_control (c, value, now);
}

static void
count_complete (Counter *c, int64_t now)
{
  bool first = !c->loaded;
  c->loaded = true;
  c->pending = true;
  switch (mode_of (c))
    {
    case 0:
    case 4: load (c, next_clock (now)); break;
    case 2:
    case 3:
      if (first)
        load (c, next_clock (now));
      else if (c->running && c->reload_at == TN_TIME_NEVER)
        c->reload_at = next_period (c, now);
      break;
    default: /* waits for the trigger */ break;
    }
}

static void
counter_write (Counter *c, uint8_t value, int64_t now)
{
  switch (c->control >> 4 & 3)
    {
    case ACCESS_LSB: c->reload = value; break;
    case ACCESS_MSB: c->reload = value << 8; break;
    default:
      if (!c->have_low)
        {
          c->low = value;
          c->have_low = true;
          if (mode_of (c) == 0)
            { /* the first byte stops the count and takes OUT low */
              c->held = elapsed (c, now);
              c->running = c->loaded = false;
            }
          return;
        }
      c->have_low = false;
      c->reload = value << 8 | c->low;
    }
  count_complete (c, now);
}

static uint8_t
counter_read (Counter *c, int64_t now)
{
  if (c->status_latched)
    {
      c->status_latched = false;
      return c->latched_status;
    }
  uint16_t count = c->count_latched ? c->latched_count : count_now (c, now);
  unsigned access = c->control >> 4 & 3;
  bool high = access == ACCESS_MSB;
  if (access == ACCESS_WORD || access == ACCESS_LATCH)
    {
      high = c->read_high;
      c->read_high = !high;
    }
  if (!c->read_high) /* that was the last byte */
    c->count_latched = false;
  return high ? count >> 8 : count;
}

static uint32_t
pit_read (void *self, uint32_t offset, unsigned size)
{
  Pit *p = self;
  if (offset == 3) /* the control register cannot be read */
    return 0xff;
  int64_t now = tn_device_now (p->device);
  catch_up (&p->counter[offset], now);
  return counter_read (&p->counter[offset], now);
}

static void
pit_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Pit *p = self;
  int64_t now = tn_device_now (p->device);
  bool timer = offset == 0;
  if (offset == 3)
    {
      timer = value >> 6 == 0 && (value >> 4 & 3) != ACCESS_LATCH;
      control_write (p, value, now);
    }
  else
    {
      catch_up (&p->counter[offset], now);
      counter_write (&p->counter[offset], value, now);
    }
  if (timer)
    {
      set_irq (p, now);
      schedule_edge (p, next_edge (&p->counter[0], now));
    }
  update_speaker (p);
}

static const TnBusOps pit_ops = { .read = pit_read, .write = pit_write, .max_size = 1 };
static const TnBusOps port61_ops = { .read = port61_read, .write = port61_write, .max_size = 1 };

/* ---- Life cycle ---- */

static bool
pit_realize (void *self, GError **error)
{
  Pit *p = self;
  if (!tn_device_add_ports (p->device, 0x40, 4, &pit_ops, TN_IO_FAST, error)
      || !tn_device_add_ports (p->device, 0x61, 1, &port61_ops, TN_IO_FAST, error))
    return false;
  p->irq = tn_device_line (p->device, "isa:0");
  p->nmi = tn_device_line (p->device, "cpu:nmi");
  p->timer = tn_device_timer_new (p->device, "out0", edge, NULL);
  tn_device_watch_line (p->device, "isa:iochk", error_line, GUINT_TO_POINTER (P61_IOCHK));
  tn_device_watch_line (p->device, "pci:serr", error_line, GUINT_TO_POINTER (P61_SERR));
  tn_device_watch_line (p->device, "nmi:disable", nmi_disable, NULL);
  return true;
}

/* The counters' power-up state is undefined; here they stand in mode 0 without a count. */
static void
pit_reset (void *self)
{
  Pit *p = self;
  for (unsigned i = 0; i < 3; i++)
    p->counter[i] = (Counter){
      .control = ACCESS_WORD << 4, .pending = true, .gate = i != 2, .reload_at = TN_TIME_NEVER
    };
  p->port61 = 0;
  schedule_edge (p, TN_TIME_NEVER);
  set_irq (p, tn_device_now (p->device));
  update_nmi (p);
  update_speaker (p);
}

static bool
time_ok (int64_t when, int64_t now)
{
  return when >= now - MAX_AGE && when <= now + MAX_AHEAD;
}

static bool
counter_ok (const Counter *c, bool gate, int64_t now)
{
  bool waits = c->running && c->pending && periodic (c) && time_ok (c->reload_at, now);
  return !(c->control & ~STATUS_CONTROL) && c->gate == gate && c->held >= 0
         && c->held <= MAX_AGE / 1000 && time_ok (c->start, now)
         && (c->reload_at == TN_TIME_NEVER || waits);
}

static bool
pit_restored (void *self, GError **error)
{
  Pit *p = self;
  int64_t now = tn_device_now (p->device);
  for (unsigned i = 0; i < 3; i++)
    if (!counter_ok (&p->counter[i], i != 2 || (p->port61 & P61_GATE2), now))
      return tn_device_fail (p->device, error, TN_ERROR_STATE, "counter %u is out of range", i);
  if ((p->port61 & (P61_REFRESH | P61_OUT2))
      || (p->edge_at != TN_TIME_NEVER && !time_ok (p->edge_at, now)))
    return tn_device_fail (p->device, error, TN_ERROR_STATE,
                           "port 61h or the next edge is out of range");
  schedule_edge (p, p->edge_at);
  update_nmi (p);
  return true;
}

static const TnField counter_fields[] = {
  TN_FIELD (Counter, control, 1),
  TN_FIELD (Counter, reload, 1),
  TN_FIELD (Counter, low, 1),
  TN_FIELD (Counter, have_low, 1),
  TN_FIELD (Counter, loaded, 1),
  TN_FIELD (Counter, pending, 1),
  TN_FIELD (Counter, gate, 1),
  TN_FIELD (Counter, running, 1),
  TN_FIELD (Counter, triggered, 1),
  TN_FIELD (Counter, active, 1),
  TN_FIELD_TIME (Counter, start, 1),
  TN_FIELD (Counter, held, 1),
  TN_FIELD_TIME (Counter, reload_at, 1),
  TN_FIELD (Counter, read_high, 1),
  TN_FIELD (Counter, count_latched, 1),
  TN_FIELD (Counter, status_latched, 1),
  TN_FIELD (Counter, latched_count, 1),
  TN_FIELD (Counter, latched_status, 1),
  TN_FIELD_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Pit, counter, 3, counter_fields, 1),
  TN_FIELD_TIME (Pit, edge_at, 1),
  TN_FIELD (Pit, port61, 1),
  TN_FIELD (Pit, nmi_disabled, 1),
  TN_FIELD (Pit, tone, 1),
  TN_FIELD_END,
};

static const TnSignal signals[] = {
  TN_SIGNAL_VALUE ("speaker",
                   "the speaker's tone changed: its period in clocks of 1193182 Hz, 0 silent"),
  TN_SIGNAL_END,
};

static const TnIoDoc io[] = {
  { "40h", "counter 0: IRQ 0" },
  { "41h", "counter 1: refresh" },
  { "42h", "counter 2: speaker" },
  { "43h", "control word, latch and read-back commands (write only)" },
  { "61h", "gate 2, speaker, NMI enables and status, refresh toggle, OUT2" },
  { "isa:0", "output OUT0" },
  { "cpu:nmi", "output NMI" },
  { "isa:iochk, pci:serr", "inputs: sources of NMI" },
  { "nmi:disable", "input: NMI mask of port 70h" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "pit",
  .summary = "8254 interval timer, port 61h and speaker",
  .document = "Intel 231164 (8254), 290562 (82371AB)",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Pit),
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = pit_realize, .reset = pit_reset, .restored = pit_restored },
};
