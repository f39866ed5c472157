/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <config.h>

#include "additions.h"

#include <stdlib.h>

static uint64_t
version (void)
{
  char *end;
  unsigned long major = strtoul (PACKAGE_VERSION, &end, 10);
  unsigned long minor = *end == '.' ? strtoul (end + 1, &end, 10) : 0;
  unsigned long patch = *end == '.' ? strtoul (end + 1, &end, 10) : 0;

  return (major & 0xff) << 16 | (minor & 0xff) << 8 | (patch & 0xff);
}

static int64_t
utc_offset (TnClock *clock)
{
  g_autoptr (GDateTime) now = NULL;

  if (tn_clock_mode (clock) == TN_CLOCK_COUNTED) /* the host must not show */
    return 0;
  now = g_date_time_new_now_local ();
  return now ? g_date_time_get_utc_offset (now) / G_USEC_PER_SEC : 0;
}

bool
tn_additions_get (TnMachine *m, uint64_t tsc_hz, int64_t now, uint32_t index, uint64_t *value)
{
  TnClock *clock = tn_machine_clock (m);

  switch (index)
    {
    case TN_INFO_IDENTITY:
      *value = (uint64_t) TN_ADDITIONS_INTERFACE << 32 | TN_ADDITIONS_SIGNATURE;
      return true;
    case TN_INFO_VERSION: *value = version (); return true;
    case TN_INFO_RAM: *value = tn_machine_ram_size (m); return true;
    case TN_INFO_WALL_CLOCK: *value = (uint64_t) tn_clock_wall_us (clock); return true;
    case TN_INFO_VIRTUAL_TIME: *value = (uint64_t) now; return true;
    case TN_INFO_TSC_HZ: *value = tsc_hz; return true;
    case TN_INFO_UTC_OFFSET: *value = (uint64_t) utc_offset (clock); return true;
    default: return false;
    }
}
