/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the guest's additions ask the machine; additions/README.md has the list. */
#pragma once

#include "machine.h"

G_BEGIN_DECLS

enum {
  TN_INFO_IDENTITY = 0,     /* "TENO", version of this interface */
  TN_INFO_VERSION = 1,      /* major, minor, patch: a byte each, from bit 16 down */
  TN_INFO_RAM = 2,          /* bytes */
  TN_INFO_WALL_CLOCK = 3,   /* us since 1970-01-01 UTC, as the machine's clock chips see it */
  TN_INFO_VIRTUAL_TIME = 4, /* ns since power on */
  TN_INFO_TSC_HZ = 5,
  TN_INFO_UTC_OFFSET
  = 6,                   /* seconds that the host's local time is ahead of UTC; 0 in counted time */
  TN_INFO_POWER = 0x100, /* set alone: TN_POWER_* */
};
enum { TN_POWER_OFF = 0, TN_POWER_RESET = 1 };
#define TN_ADDITIONS_SIGNATURE 0x4f4e4554u
#define TN_ADDITIONS_INTERFACE 1u

/* `now`: virtual time.  False if there is no such value. */
bool tn_additions_get (TnMachine *m, uint64_t tsc_hz, int64_t now, uint32_t index, uint64_t *value);

G_END_DECLS
