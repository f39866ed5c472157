/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MC146818 real-time clock with 256 bytes of CMOS memory as in the PIIX4, after Motorola's
 * MC146818A data sheet (ADI1029) and the 82371AB's (290562).
 *
 *   70  W  bits 6:0 index, bit 7 masks NMI (line "nmi:disable")      71  data
 *   72  W  bits 6:0 index into the upper 128 bytes                   73  data of the upper bank
 *   index 00-09 time and alarm, 0A A, 0B B, 0C C, 0D D, 0E-FF memory, 32 century
 *
 * The clock is the host's wall clock plus an offset that changes when the guest sets the time.
 * While register B's SET or a divider in reset holds it, the registers are memory, and count as
 * the new time on release.  Flags are brought up to date when somebody looks; a timer runs only
 * for an interrupt that is enabled.
 *
 * UIP is set for the last 2228 us of each second, and the update ends, with UF, at the second.
 *
 * Departures: the time follows a change of register B's DM and 24/12 at once, though the part
 * would want to be set again; the century (32, memory on the PIIX4) follows the calendar; DSE does
 * nothing; the divider runs at 010 alone; the lock and enable bits of the PIIX4's RTCCFG are not
 * heeded.
 */
#include "rtc.h"

#include <string.h>

#define CRYSTAL_HZ 32768
#define US_PER_S INT64_C (1000000)
#define DAY_S INT64_C (86400)
#define UIP_US 2228       /* 244 before the update and 1984 of it */
#define RELEASE_US 500000 /* the first update comes half a second after the divider's release */
#define SAVE_DELAY (2 * TN_NS_PER_S)
#define ALARM_LOOK_AHEAD (60 * TN_NS_PER_S) /* the host's clock may be set meanwhile */

enum {
  REG_SECONDS,
  REG_SECONDS_ALARM,
  REG_MINUTES,
  REG_MINUTES_ALARM,
  REG_HOURS,
  REG_HOURS_ALARM,
  REG_WEEKDAY,
  REG_DAY,
  REG_MONTH,
  REG_YEAR,
  REG_A,
  REG_B,
  REG_C,
  REG_D
};

enum {
  A_UIP = 0x80,
  A_DIVIDER = 0x70,
  A_DIVIDER_RUN = 0x20,
  A_RATE = 0x0f,
  B_SET = 0x80,
  B_PIE = 0x40,
  B_AIE = 0x20,
  B_UIE = 0x10,
  B_SQWE = 0x08,
  B_DM = 0x04,
  B_24H = 0x02,
  C_IRQF = 0x80,
  C_PF = 0x40,
  C_AF = 0x20,
  C_UF = 0x10,
  C_FLAGS = 0x70,
  D_VRT = 0x80,
  HOUR_PM = 0x80,
  ALARM_ANY = 0xc0, /* both bits: the field does not matter */
  INDEX = 0x7f,
  NMI_MASK = 0x80,
};

/* ---- Calendar ---- */

typedef struct {
  int64_t year;
  unsigned month, day, hour, minute, second, weekday; /* weekday: 0 is Sunday */
} Civil;

static int64_t
floor_div (int64_t a, int64_t b)
{
  return a / b - (a % b < 0);
}

static bool
leap (int64_t year)
{
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned
days_in_month (int64_t year, unsigned month)
{
  static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
  return days[month - 1] + (month == 2 && leap (year));
}

/* Days from 1970-01-01 to the first of January; the Gregorian rule for all years. */
static int64_t
days_to_year (int64_t year)
{
  int64_t y = year - 1;
  return 365 * (year - 1970) + (floor_div (y, 4) - 492) - (floor_div (y, 100) - 19)
         + (floor_div (y, 400) - 4);
}

static int64_t
to_seconds (const Civil *c)
{
  int64_t days = days_to_year (c->year) + c->day - 1;
  for (unsigned month = 1; month < c->month; month++)
    days += days_in_month (c->year, month);
  return days * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

static Civil
from_seconds (int64_t seconds)
{
  int64_t days = floor_div (seconds, DAY_S);
  unsigned rest = seconds - days * DAY_S;
  Civil c = { .hour = rest / 3600, .minute = rest / 60 % 60, .second = rest % 60 };
  c.weekday = ((days + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
  c.year = 1970 + floor_div (days * 400, 146097);
  while (days_to_year (c.year) > days)
    c.year--;
  while (days_to_year (c.year + 1) <= days)
    c.year++;
  days -= days_to_year (c.year);
  for (c.month = 1; days >= days_in_month (c.year, c.month); c.month++)
    days -= days_in_month (c.year, c.month);
  c.day = days + 1;
  return c;
}

/* ---- Time registers ---- */

static uint8_t
encode (const Rtc *r, unsigned n)
{
  return r->cmos[REG_B] & B_DM ? n : n / 10 << 4 | n % 10;
}

static unsigned
decode (const Rtc *r, uint8_t byte)
{
  return r->cmos[REG_B] & B_DM ? byte : (byte >> 4) * 10 + (byte & 15);
}

static uint8_t
encode_hour (const Rtc *r, unsigned hour)
{
  if (r->cmos[REG_B] & B_24H)
    return encode (r, hour);
  return encode (r, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

/* Nonsense gives 24 or more. */
static unsigned
decode_hour (const Rtc *r, uint8_t byte)
{
  if (r->cmos[REG_B] & B_24H)
    return decode (r, byte);
  unsigned hour = decode (r, byte & ~HOUR_PM);
  if (hour < 1 || hour > 12)
    return 24;
  return hour % 12 + (byte & HOUR_PM ? 12 : 0);
}

static bool
running (const Rtc *r)
{
  return !(r->cmos[REG_B] & B_SET) && (r->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

static int64_t
clock_us (const Rtc *r)
{
  return tn_device_wall_clock_us (r->device) + r->offset_us;
}

static bool
is_time (unsigned index)
{
  return index == CMOS_CENTURY || (index <= REG_YEAR && (index > REG_HOURS_ALARM || !(index & 1)));
}

static void
store_time (Rtc *r, int64_t seconds)
{
  Civil c = from_seconds (seconds);
  unsigned year = (c.year % 10000 + 10000) % 10000;
  r->cmos[REG_SECONDS] = encode (r, c.second);
  r->cmos[REG_MINUTES] = encode (r, c.minute);
  r->cmos[REG_HOURS] = encode_hour (r, c.hour);
  r->cmos[REG_WEEKDAY] = encode (r, (c.weekday + r->weekday_shift) % 7 + 1);
  r->cmos[REG_DAY] = encode (r, c.day);
  r->cmos[REG_MONTH] = encode (r, c.month);
  r->cmos[REG_YEAR] = encode (r, year % 100);
  r->cmos[CMOS_CENTURY] = encode (r, year / 100);
}

/* What the registers say; fields out of range become the nearest time that exists. */
static int64_t
fetch_time (Rtc *r)
{
  unsigned century = decode (r, r->cmos[CMOS_CENTURY]), year = decode (r, r->cmos[REG_YEAR]);
  Civil c = { .year = century % 100 * 100 + year % 100 };
  c.month = CLAMP (decode (r, r->cmos[REG_MONTH]), 1, 12);
  c.day = CLAMP (decode (r, r->cmos[REG_DAY]), 1, days_in_month (c.year, c.month));
  c.hour = MIN (decode_hour (r, r->cmos[REG_HOURS]), 23);
  c.minute = MIN (decode (r, r->cmos[REG_MINUTES]), 59);
  c.second = MIN (decode (r, r->cmos[REG_SECONDS]), 59);
  int64_t seconds = to_seconds (&c);
  unsigned weekday = decode (r, r->cmos[REG_WEEKDAY]);
  if (weekday >= 1 && weekday <= 7)
    r->weekday_shift = (weekday - 1 + 7 - from_seconds (seconds).weekday) % 7;
  return seconds;
}

static void
mark_dirty (Rtc *r)
{
  r->dirty = true;
  if (r->nvram && tn_timer_when (r->save_timer) == TN_TIME_NEVER)
    tn_timer_set (r->save_timer, tn_device_now (r->device) + SAVE_DELAY);
}

/* Takes the registers as the time that it is now, without disturbing the fraction of the second. */
static void
set_clock (Rtc *r)
{
  int64_t now = clock_us (r);
  int64_t fraction = now - floor_div (now, US_PER_S) * US_PER_S;
  int64_t seconds = fetch_time (r);
  r->offset_us += seconds * US_PER_S + fraction - now;
  r->offset_us = CLAMP (r->offset_us, -RTC_MAX_OFFSET_US, RTC_MAX_OFFSET_US);
  r->seen_second = seconds;
  mark_dirty (r);
}

/* ---- Flags and the interrupt ---- */

static unsigned
periodic_shift (const Rtc *r)
{
  unsigned rate = r->cmos[REG_A] & A_RATE;
  return rate <= 2 ? rate + 6 : rate - 1; /* rates 1 and 2 act as 8 and 9 */
}

static bool
periodic (const Rtc *r)
{
  return (r->cmos[REG_A] & A_RATE) && (r->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
}

static int64_t
periods (const Rtc *r, int64_t when)
{
  return when <= r->periodic_base
             ? 0
             : tn_ns_to_ticks (when - r->periodic_base, CRYSTAL_HZ) >> periodic_shift (r);
}

/* An alarm register: -1 any, -2 never, or the value that it waits for. */
static int
alarm_value (const Rtc *r, unsigned index, unsigned limit)
{
  uint8_t byte = r->cmos[index];
  if ((byte & ALARM_ANY) == ALARM_ANY)
    return -1;
  unsigned n = index == REG_HOURS_ALARM ? decode_hour (r, byte) : decode (r, byte);
  return n < limit ? (int) n : -2;
}

/* The first second after `after` at which the alarm goes off, or INT64_MAX. */
static int64_t
next_alarm (const Rtc *r, int64_t after)
{
  int hour = alarm_value (r, REG_HOURS_ALARM, 24);
  int minute = alarm_value (r, REG_MINUTES_ALARM, 60);
  int second = alarm_value (r, REG_SECONDS_ALARM, 60);
  if (hour == -2 || minute == -2 || second == -2)
    return INT64_MAX;
  int64_t t = after + 1;
  while (t <= after + DAY_S)
    {
      int of_day = t - floor_div (t, DAY_S) * DAY_S;
      if (hour >= 0 && of_day / 3600 != hour)
        t += 3600 - of_day % 3600;
      else if (minute >= 0 && of_day / 60 % 60 != minute)
        t += 60 - of_day % 60;
      else if (second >= 0 && of_day % 60 != second)
        t++;
      else
        return t;
    }
  return INT64_MAX;
}

static void
update_flags (Rtc *r)
{
  int64_t now = tn_device_now (r->device);
  if (periodic (r) && periods (r, now) != periods (r, r->seen_at))
    r->flags |= C_PF;
  r->seen_at = now;
  int64_t second = floor_div (clock_us (r), US_PER_S);
  if (running (r) && second != r->seen_second)
    {
      r->flags |= C_UF;
      if (next_alarm (r, r->seen_second) <= second)
        r->flags |= C_AF;
    }
  r->seen_second = second;
}

static void
update_irq (Rtc *r)
{
  tn_line_set (r->irq, r->cmos[REG_B] & r->flags & C_FLAGS);
}

static int64_t
next_event (const Rtc *r)
{
  int64_t when = TN_TIME_NEVER, now = tn_device_now (r->device), us = clock_us (r);
  uint8_t wanted = r->cmos[REG_B] & ~r->flags;
  if ((wanted & B_PIE) && periodic (r))
    {
      int64_t ticks = (periods (r, now) + 1) << periodic_shift (r);
      when = r->periodic_base + tn_ticks_to_ns (ticks, CRYSTAL_HZ);
    }
  if (!running (r))
    return when;
  int64_t second = floor_div (us, US_PER_S);
  if (wanted & B_UIE)
    when = MIN (when, now + ((second + 1) * US_PER_S - us) * TN_NS_PER_US);
  if (wanted & B_AIE)
    {
      int64_t alarm = next_alarm (r, second);
      int64_t limit = us + ALARM_LOOK_AHEAD / TN_NS_PER_US;
      int64_t at = alarm == INT64_MAX ? limit : MIN (alarm * US_PER_S, limit);
      when = MIN (when, now + (at - us) * TN_NS_PER_US);
    }
  return when;
}

static void
update (Rtc *r)
{
  update_flags (r);
  update_irq (r);
  tn_timer_set (r->event_timer, next_event (r));
}

static void
event (void *self, void *data)
{
  update (self);
}

static void
save_due (void *self, void *data)
{
  rtc_cmos_save (self);
}

/* ---- Control registers ---- */

static void
set_control (Rtc *r, uint8_t a, uint8_t b)
{
  update_flags (r);
  bool was_running = running (r);
  bool chain_was_on = (r->cmos[REG_A] & A_DIVIDER) == A_DIVIDER_RUN;
  bool will_run = !(b & B_SET) && (a & A_DIVIDER) == A_DIVIDER_RUN;
  if (was_running && !will_run)
    store_time (r, floor_div (clock_us (r), US_PER_S));
  r->cmos[REG_A] = a & ~A_UIP;
  r->cmos[REG_B] = b & B_SET ? b & ~B_UIE : b;
  if (!chain_was_on && (a & A_DIVIDER) == A_DIVIDER_RUN)
    {
      r->periodic_base = r->seen_at;
      r->offset_us = RELEASE_US - tn_device_wall_clock_us (r->device) % US_PER_S;
    }
  if (!was_running && will_run)
    set_clock (r);
  update (r);
}

static uint8_t
c_read (Rtc *r)
{
  update_flags (r);
  uint8_t value = r->flags | (r->cmos[REG_B] & r->flags & C_FLAGS ? C_IRQF : 0);
  r->flags = 0;
  update (r);
  return value;
}

static uint8_t
a_read (const Rtc *r)
{
  int64_t us = clock_us (r);
  bool uip = running (r) && us - floor_div (us, US_PER_S) * US_PER_S >= US_PER_S - UIP_US;
  return r->cmos[REG_A] | (uip ? A_UIP : 0);
}

static uint8_t
cmos_read (Rtc *r, unsigned index)
{
  if (is_time (index) && running (r))
    store_time (r, floor_div (clock_us (r), US_PER_S));
  switch (index)
    {
    case REG_A: return a_read (r);
    case REG_C: return c_read (r);
    case REG_D: return D_VRT;
    default: return r->cmos[index];
    }
}

static void
time_write (Rtc *r, unsigned index, uint8_t value)
{
  if (index == REG_SECONDS)
    value &= 0x7f;
  if (!running (r))
    {
      r->cmos[index] = value;
      return;
    }
  update_flags (r);
  store_time (r, floor_div (clock_us (r), US_PER_S));
  r->cmos[index] = value;
  set_clock (r);
  update (r);
}

static void
cmos_write (Rtc *r, unsigned index, uint8_t value)
{
  if (is_time (index))
    {
      time_write (r, index, value);
      return;
    }
  switch (index)
    {
    case REG_A: set_control (r, value, r->cmos[REG_B]); return;
    case REG_B: set_control (r, r->cmos[REG_A], value); return;
    case REG_C:
    case REG_D: /* read only */ return;
    case REG_SECONDS_ALARM:
    case REG_MINUTES_ALARM:
    case REG_HOURS_ALARM:
      update_flags (r);
      r->cmos[index] = value;
      update (r);
      return;
    default:
      if (r->cmos[index] == value)
        return;
      r->cmos[index] = value;
      mark_dirty (r);
    }
}

/* ---- Ports ---- */

enum { PORT_INDEX, PORT_DATA, PORT_INDEX_HIGH, PORT_DATA_HIGH };

static uint32_t
rtc_read (void *self, uint32_t offset, unsigned size)
{
  Rtc *r = self;
  switch (offset)
    {
    case PORT_DATA: return cmos_read (r, r->index);
    case PORT_DATA_HIGH: return r->cmos[0x80 | r->index_high];
    default: /* the indexes cannot be read */ return 0xff;
    }
}

static void
rtc_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Rtc *r = self;
  switch (offset)
    {
    case PORT_INDEX:
      r->index = value & INDEX;
      r->nmi_masked = value & NMI_MASK;
      tn_line_set (r->nmi_disable, r->nmi_masked);
      return;
    case PORT_DATA: cmos_write (r, r->index, value); return;
    case PORT_INDEX_HIGH: r->index_high = value & INDEX; return;
    case PORT_DATA_HIGH: cmos_write (r, 0x80 | r->index_high, value); return;
    }
}

static const TnBusOps rtc_ops = { .read = rtc_read, .write = rtc_write, .max_size = 1 };

/* ---- Life cycle ---- */

static bool
rtc_realize (void *self, GError **error)
{
  Rtc *r = self;
  if (!tn_device_add_ports (r->device, 0x70, 4, &rtc_ops, TN_IO_FAST, error)
      || !rtc_cmos_load (r, error) || !rtc_cmos_fill (r, error))
    return false;
  r->irq = tn_device_line (r->device, "isa:8");
  r->nmi_disable = tn_device_line (r->device, "nmi:disable");
  r->event_timer = tn_device_timer_new (r->device, "event", event, NULL);
  r->save_timer = tn_device_timer_new (r->device, "save", save_due, NULL);
  r->cmos[REG_A] = A_DIVIDER_RUN | 6; /* 1024 Hz, as every BIOS sets it */
  r->cmos[REG_B] = B_24H;
  return true;
}

static void
rtc_unrealize (void *self)
{
  Rtc *r = self;
  if (r->dirty)
    rtc_cmos_save (r);
}

/* RESET# clears the interrupt enables and flags; the battery keeps all else. */
static void
rtc_reset (void *self)
{
  Rtc *r = self;
  r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
  update_flags (r);
  r->flags = 0;
  r->index = r->index_high = 0;
  r->nmi_masked = false;
  rtc_cmos_fill_floppies (r); /* now that all devices are there */
  tn_line_set (r->nmi_disable, false);
  update (r);
}

/* Makes equal states give equal bytes: while the clock runs its registers are stale. */
static void
rtc_saving (void *self)
{
  Rtc *r = self;
  update_flags (r);
  if (running (r))
    store_time (r, 0);
}

static bool
rtc_restored (void *self, GError **error)
{
  Rtc *r = self;
  int64_t now = tn_device_now (r->device);
  if (r->index > INDEX || r->index_high > INDEX || (r->flags & ~C_FLAGS) || r->weekday_shift > 6
      || (r->cmos[REG_A] & A_UIP) || r->offset_us < -RTC_MAX_OFFSET_US
      || r->offset_us > RTC_MAX_OFFSET_US || r->periodic_base > now || r->seen_at > now
      || r->periodic_base < now - INT64_MAX / 4 || r->seen_at < now - INT64_MAX / 4
      || r->seen_second > INT64_MAX / 4 || r->seen_second < -INT64_MAX / 4)
    return tn_device_fail (r->device, error, TN_ERROR_STATE, "a register or time is out of range");
  tn_line_set (r->nmi_disable, r->nmi_masked);
  if (r->dirty)
    mark_dirty (r);
  update_irq (r);
  tn_timer_set (r->event_timer, next_event (r));
  return true;
}

static const char *const floppy_types[]
    = { "none", "360k", "1.2m", "720k", "1.44m", "2.88m", "auto", NULL };
static const char *const translations[] = { "none", "lba", "large", "rechs", NULL };

static const TnProperty properties[] = {
  TN_PROP_STRING (Rtc, boot, "boot",
                  "boot order: up to three of cdrom, disk, floppy, network, with commas", NULL),
  TN_PROP_ENUM (Rtc, floppy_a, "floppy-a", "type of the first floppy drive; auto asks the controller", FLOPPY_AUTO,
                floppy_types),
  TN_PROP_ENUM (Rtc, floppy_b, "floppy-b", "type of the second floppy drive", FLOPPY_AUTO,
                floppy_types),
  TN_PROP_ENUM (Rtc, translation, "translation", "how the BIOS translates disk geometry", 1,
                translations),
  TN_PROP_BOOL (Rtc, fast_boot, "fast-boot", "do not wait for the boot menu key", true),
  TN_PROP_BOOL (Rtc, check_floppy, "check-floppy", "boot floppies only with the signature 55 AA",
                false),
  TN_PROP_FILE (Rtc, nvram, "nvram", "file that keeps the memory after power off", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD (Rtc, cmos, 1),          TN_FIELD (Rtc, index, 1),
  TN_FIELD (Rtc, index_high, 1),    TN_FIELD (Rtc, nmi_masked, 1),
  TN_FIELD (Rtc, flags, 1),         TN_FIELD (Rtc, offset_us, 1),
  TN_FIELD (Rtc, weekday_shift, 1), TN_FIELD_TIME (Rtc, periodic_base, 1),
  TN_FIELD (Rtc, seen_second, 1),   TN_FIELD_TIME (Rtc, seen_at, 1),
  TN_FIELD (Rtc, dirty, 1),         TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "70h", "index and NMI mask (write only)" },
  { "71h", "data of index 00h-7Fh" },
  { "72h", "index of the upper bank (write only)" },
  { "73h", "data of index 80h-FFh" },
  { "isa:8", "output IRQ 8" },
  { "nmi:disable", "output: NMI mask, to the owner of port 61h" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "rtc",
  .summary = "MC146818 real-time clock and CMOS memory",
  .document = "Motorola ADI1029 (MC146818A), Intel 290562 (82371AB)",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Rtc),
  .properties = properties,
  .fields = fields,
  .io = io,
  .ops = { .realize = rtc_realize,
           .unrealize = rtc_unrealize,
           .reset = rtc_reset,
           .restored = rtc_restored,
           .saving = rtc_saving },
};
