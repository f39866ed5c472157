/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual clock and its one queue of events.
 *
 * Real mode: now = CLOCK_MONOTONIC - base; a pause moves base on.  Counted mode: now stands still
 * until tn_clock_advance ().  Events are a binary heap ordered by time, then by the order of
 * setting, so that a run can be repeated.  Events that are set again and again to a time that has
 * passed go on at the next nanosecond (counted, after ROUNDS_PER_TIME) or in the next run (real),
 * so that no device can hold the queue for ever.
 */
#include "internal.h"

#include <time.h>

#define EVENTS_PER_RUN 1024
#define GRACE_NS (2 * TN_NS_PER_MS)
/* What is longer is forgotten: nobody wants hours made up for after the host slept or the machine
   was stopped.  A busy host makes many short gaps.  These are kept for long, as the wall clock
   leaps by what is forgotten, while the guest's other clocks do not. */
#define GAP_MAX (60 * TN_NS_PER_S)
#define LAG_MAX (3600 * TN_NS_PER_S)
#define CATCH_UP 8
#define STALL_NS (500 * TN_NS_PER_US)
#define ROUNDS_PER_TIME 1000
/* Start of the wall clock in counted mode: 2004-01-01 00:00:00 UTC. */
#define COUNTED_EPOCH_US (INT64_C (1072915200) * 1000000)

struct TnEvent {
  TnClock *clock;
  TnEventFunc func;
  void *data;
  int64_t when;
  uint64_t serial;
  size_t index; /* in the heap; NOT_QUEUED otherwise */
};
#define NOT_QUEUED SIZE_MAX

struct TnClock {
  TnMachine *machine;
  TnClockMode mode;
  int64_t base;      /* real: CLOCK_MONOTONIC at virtual time 0 */
  int64_t limit;     /* real: virtual time stops here until the processor goes on; or NEVER */
  int64_t lag;       /* real: how far virtual time is behind */
  int64_t seen;      /* real: when the processor last was here */
  GMutex follow;     /* who changes base, limit, lag and seen; a leaf */
  int64_t paused_at; /* real: virtual time of the pause, or -1 */
  int64_t counted;   /* counted: now */
  int64_t wall_offset_us;
  GPtrArray *heap;
  uint64_t serial;
  int64_t told; /* deadline that the machine half knows */
  bool firing;
};

static int64_t
host_ns (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * TN_NS_PER_S + ts.tv_nsec;
}

TnClock *
tn_clock_new (TnMachine *m, TnClockMode mode, int64_t wall_offset_us)
{
  TnClock *clock = g_new0 (TnClock, 1);

  clock->machine = m;
  clock->mode = mode;
  clock->base = host_ns ();
  clock->limit = TN_TIME_NEVER;
  g_mutex_init (&clock->follow);
  clock->paused_at = -1;
  clock->wall_offset_us = wall_offset_us;
  clock->heap = g_ptr_array_new ();
  clock->told = TN_TIME_NEVER;
  return clock;
}

void
tn_clock_free (TnClock *clock)
{
  if (clock == NULL)
    return;
  g_assert (clock->heap->len == 0);
  g_ptr_array_unref (clock->heap);
  g_mutex_clear (&clock->follow);
  g_free (clock);
}

TnClockMode
tn_clock_mode (const TnClock *clock)
{
  return clock->mode;
}

int64_t
tn_clock_now (TnClock *clock)
{
  int64_t paused, limit, running;

  if (clock->mode == TN_CLOCK_COUNTED)
    return __atomic_load_n (&clock->counted, __ATOMIC_RELAXED);
  paused = __atomic_load_n (&clock->paused_at, __ATOMIC_ACQUIRE);
  if (paused >= 0)
    return paused;
  /* The limit first: with an old base and a new limit the time could go back later. */
  limit = __atomic_load_n (&clock->limit, __ATOMIC_ACQUIRE);
  running = host_ns () - __atomic_load_n (&clock->base, __ATOMIC_ACQUIRE);
  return MIN (running, limit);
}

/* With `follow` held: takes what went past the limit for lag, or makes up for some; returns now. */
static int64_t
settle_lag (TnClock *clock)
{
  int64_t base = clock->base, now = host_ns () - base, lag = clock->lag, correction;

  if (now > clock->limit)
    correction = now - clock->limit;
  else
    correction = -CLAMP ((now - clock->seen) / CATCH_UP, 0, lag);
  lag = MIN (lag + MIN (correction, GAP_MAX), LAG_MAX);
  __atomic_store_n (&clock->lag, lag, __ATOMIC_RELAXED);
  __atomic_store_n (&clock->base, base + correction, __ATOMIC_RELEASE);
  clock->seen = now - correction;
  return clock->seen;
}

void
tn_clock_follow (TnClock *clock)
{
  int64_t now;

  if (clock->mode != TN_CLOCK_REAL)
    return;
  g_mutex_lock (&clock->follow);
  if (clock->paused_at < 0)
    {
      now = settle_lag (clock);
      __atomic_store_n (&clock->limit, now + GRACE_NS, __ATOMIC_RELEASE);
    }
  g_mutex_unlock (&clock->follow);
}

void
tn_clock_rest (TnClock *clock, int64_t deadline)
{
  int64_t now, limit = TN_TIME_NEVER;

  if (clock->mode != TN_CLOCK_REAL)
    return;
  g_mutex_lock (&clock->follow);
  if (clock->paused_at < 0)
    {
      now = settle_lag (clock);
      if (deadline != TN_TIME_NEVER)
        limit = MAX (now, deadline) + GRACE_NS;
      __atomic_store_n (&clock->limit, limit, __ATOMIC_RELEASE);
    }
  g_mutex_unlock (&clock->follow);
}

void
tn_clock_pause (TnClock *clock)
{
  g_mutex_lock (&clock->follow);
  if (clock->mode == TN_CLOCK_REAL && clock->paused_at < 0)
    __atomic_store_n (&clock->paused_at, tn_clock_now (clock), __ATOMIC_RELEASE);
  g_mutex_unlock (&clock->follow);
}

void
tn_clock_continue (TnClock *clock)
{
  g_mutex_lock (&clock->follow);
  if (clock->mode == TN_CLOCK_REAL && clock->paused_at >= 0)
    {
      clock->seen = clock->paused_at;
      __atomic_store_n (&clock->base, host_ns () - clock->paused_at, __ATOMIC_RELEASE);
      __atomic_store_n (&clock->paused_at, -1, __ATOMIC_RELEASE);
    }
  g_mutex_unlock (&clock->follow);
}

int64_t
tn_clock_wall_us (TnClock *clock)
{
  if (clock->mode == TN_CLOCK_COUNTED)
    return COUNTED_EPOCH_US + clock->wall_offset_us + tn_clock_now (clock) / 1000;
  return g_get_real_time () - __atomic_load_n (&clock->lag, __ATOMIC_RELAXED) / 1000
         + clock->wall_offset_us;
}

/* ---- Heap ---- */

static bool
earlier (const TnEvent *a, const TnEvent *b)
{
  return a->when != b->when ? a->when < b->when : a->serial < b->serial;
}

static void
place (GPtrArray *heap, size_t index, TnEvent *event)
{
  heap->pdata[index] = event;
  event->index = index;
}

static void
sift_up (GPtrArray *heap, size_t index, TnEvent *event)
{
  while (index > 0 && earlier (event, heap->pdata[(index - 1) / 2]))
    {
      place (heap, index, heap->pdata[(index - 1) / 2]);
      index = (index - 1) / 2;
    }
  place (heap, index, event);
}

static void
sift_down (GPtrArray *heap, size_t index, TnEvent *event)
{
  for (;;)
    {
      size_t child = 2 * index + 1;

      if (child + 1 < heap->len && earlier (heap->pdata[child + 1], heap->pdata[child]))
        child++;
      if (child >= heap->len || !earlier (heap->pdata[child], event))
        break;
      place (heap, index, heap->pdata[child]);
      index = child;
    }
  place (heap, index, event);
}

static void
enqueue (TnClock *clock, TnEvent *event)
{
  event->serial = clock->serial++;
  g_ptr_array_add (clock->heap, event);
  sift_up (clock->heap, clock->heap->len - 1, event);
}

static void
dequeue (TnClock *clock, TnEvent *event)
{
  GPtrArray *heap = clock->heap;
  size_t index = event->index;
  TnEvent *last = heap->pdata[heap->len - 1];

  g_ptr_array_set_size (heap, heap->len - 1);
  event->index = NOT_QUEUED;
  if (last == event)
    return;
  if (index > 0 && earlier (last, heap->pdata[(index - 1) / 2]))
    sift_up (heap, index, last);
  else
    sift_down (heap, index, last);
}

int64_t
tn_clock_deadline (TnClock *clock)
{
  return clock->heap->len ? ((TnEvent *) clock->heap->pdata[0])->when : TN_TIME_NEVER;
}

static void
tell_deadline (TnClock *clock)
{
  TnMachine *m = clock->machine;
  int64_t when = tn_clock_deadline (clock);

  if (clock->firing || when == clock->told)
    return;
  clock->told = when;
  if (m->hooks.deadline)
    m->hooks.deadline (m->opaque, when);
}

int64_t
tn_clock_host_delay (TnClock *clock, int64_t when)
{
  int64_t now = tn_clock_now (clock);

  if (when == TN_TIME_NEVER || clock->paused_at >= 0)
    return TN_TIME_NEVER;
  if (when <= now)
    return 0;
  /* At the limit time stands still: look again in a while. */
  return now >= __atomic_load_n (&clock->limit, __ATOMIC_RELAXED) ? MAX (when - now, STALL_NS)
                                                                  : when - now;
}

/* ---- Events ---- */

TnEvent *
tn_event_new (TnClock *clock, TnEventFunc func, void *data)
{
  TnEvent *event = g_new0 (TnEvent, 1);

  *event = (TnEvent){
    .clock = clock, .func = func, .data = data, .when = TN_TIME_NEVER, .index = NOT_QUEUED
  };
  return event;
}

void
tn_event_free (TnEvent *event)
{
  if (event == NULL)
    return;
  tn_event_set (event, TN_TIME_NEVER);
  g_free (event);
}

int64_t
tn_event_when (const TnEvent *event)
{
  return event->when;
}

void
tn_event_set (TnEvent *event, int64_t when)
{
  TnClock *clock = event->clock;

  if (event->index != NOT_QUEUED)
    dequeue (clock, event);
  event->when = when;
  if (when != TN_TIME_NEVER)
    enqueue (clock, event);
  tell_deadline (clock);
}

static void
fire (TnClock *clock, TnEvent *event)
{
  dequeue (clock, event);
  event->when = TN_TIME_NEVER;
  event->func (event->data);
}

/* Fires what is due at `now`, at most `limit` events, each at most once for what was set before. */
static unsigned
fire_due (TnClock *clock, int64_t now, unsigned limit)
{
  uint64_t before = clock->serial;
  unsigned fired = 0;

  while (fired < limit && clock->heap->len)
    {
      TnEvent *event = clock->heap->pdata[0];

      if (event->when > now || event->serial >= before)
        break;
      fire (clock, event);
      fired++;
    }
  return fired;
}

int64_t
tn_clock_run (TnClock *clock)
{
  if (!clock->firing)
    {
      clock->firing = true;
      fire_due (clock, tn_clock_now (clock), EVENTS_PER_RUN);
      clock->firing = false;
      clock->told = tn_clock_deadline (clock);
    }
  return tn_clock_deadline (clock);
}

void
tn_clock_advance (TnClock *clock, int64_t when)
{
  unsigned rounds = 0;

  g_return_if_fail (clock->mode == TN_CLOCK_COUNTED);
  if (clock->firing)
    return;
  clock->firing = true;
  while (tn_clock_deadline (clock) <= when && when != TN_TIME_NEVER)
    {
      int64_t next = tn_clock_deadline (clock);

      if (next > clock->counted)
        rounds = 0;
      else if (++rounds > ROUNDS_PER_TIME)
        {
          if (clock->counted >= when)
            break;
          next = clock->counted + 1;
          rounds = 0;
        }
      if (next > clock->counted)
        __atomic_store_n (&clock->counted, next, __ATOMIC_RELAXED);
      fire_due (clock, clock->counted, UINT_MAX);
    }
  if (when > clock->counted && when != TN_TIME_NEVER)
    __atomic_store_n (&clock->counted, when, __ATOMIC_RELAXED);
  clock->firing = false;
  tell_deadline (clock);
}

/* ---- Timers of devices ---- */

struct TnTimer {
  TnResource resource;
  TnEvent *event;
  char *name;
  TnTimerFunc func;
  void *data;
};

static void
timer_fire (void *data)
{
  TnTimer *timer = data;

  timer->func (timer->resource.owner->self, timer->data);
}

static void
timer_free (TnResource *resource)
{
  TnTimer *timer = (TnTimer *) resource;

  tn_event_free (timer->event);
  g_free (timer->name);
  g_free (timer);
}

static void
timer_describe (TnResource *resource, TnResourceFunc func, void *data)
{
  func (data, "timer", 0, 0, ((TnTimer *) resource)->name);
}

static const TnResourceClass timer_class
    = { .kind = "timer", .free = timer_free, .describe = timer_describe };

TnTimer *
tn_device_timer_new (TnDevice *device, const char *name, TnTimerFunc func, void *data)
{
  TnTimer *timer;

  g_return_val_if_fail (device != NULL && func != NULL, NULL);
  timer = g_new0 (TnTimer, 1);
  timer->name = g_strdup (name ? name : "timer");
  timer->func = func;
  timer->data = data;
  timer->event = tn_event_new (device->machine->clock, timer_fire, timer);
  tn_resource_init (&timer->resource, &timer_class, device->instance);
  return timer;
}

void
tn_timer_set (TnTimer *timer, int64_t when)
{
  g_return_if_fail (timer != NULL);
  tn_event_set (timer->event, when);
}

void
tn_timer_cancel (TnTimer *timer)
{
  g_return_if_fail (timer != NULL);
  tn_event_set (timer->event, TN_TIME_NEVER);
}

int64_t
tn_timer_when (const TnTimer *timer)
{
  g_return_val_if_fail (timer != NULL, TN_TIME_NEVER);
  return timer->event->when;
}

void
tn_timers_cancel (TnInstance *instance)
{
  TnResource *resource;

  for (unsigned n = 0; (resource = tn_ledger_nth (instance, &timer_class, n)) != NULL; n++)
    tn_timer_cancel ((TnTimer *) resource);
}

void
tn_machine_set_cycle_time (TnMachine *m, int64_t now)
{
  __atomic_store_n (&m->cycle_time, now, __ATOMIC_RELAXED);
}

bool
tn_machine_time_asked (TnMachine *m)
{
  bool asked = __atomic_load_n (&m->time_asked, __ATOMIC_RELAXED);

  if (asked)
    __atomic_store_n (&m->time_asked, false, __ATOMIC_RELAXED);
  return asked;
}

int64_t
tn_device_now (TnDevice *device)
{
  TnMachine *m = device->machine;
  int64_t now = __atomic_load_n (&m->cycle_time, __ATOMIC_RELAXED);

  if (now >= 0 && now != TN_TIME_NEVER)
    return now;
  if (now == TN_CYCLE_UNREAD)
    __atomic_store_n (&m->time_asked, true, __ATOMIC_RELAXED);
  return tn_clock_now (m->clock);
}

int64_t
tn_device_wall_clock_us (TnDevice *device)
{
  return tn_clock_wall_us (device->machine->clock);
}

static int64_t
clamp128 (__int128 value)
{
  return value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : (int64_t) value;
}

/* Floor for negative numbers, too: times may be relative. */
int64_t
tn_ns_to_ticks (int64_t ns, uint64_t hz)
{
  __int128 product, quotient;

  if (hz == TN_NS_PER_S) /* a guest that reads the TSC in each system call divides nothing */
    return ns;
  product = (__int128) ns * hz;
  quotient = product / TN_NS_PER_S;
  return clamp128 (product % TN_NS_PER_S < 0 ? quotient - 1 : quotient);
}

int64_t
tn_ticks_to_ns (int64_t ticks, uint64_t hz)
{
  __int128 product, quotient;

  if (hz == 0)
    return TN_TIME_NEVER;
  product = (__int128) ticks * TN_NS_PER_S;
  quotient = product / hz;
  return clamp128 (product % (__int128) hz > 0 ? quotient + 1 : quotient);
}
