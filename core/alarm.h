/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fires the clock's events in real time, from the main loop.  A timerfd, because GLib's own
 * timeouts are whole milliseconds.
 */
#pragma once

#include "machine.h"

G_BEGIN_DECLS

typedef struct TnAlarm TnAlarm;

TnAlarm *tn_alarm_new (TnMachine *m, GError **error);
void tn_alarm_free (TnAlarm *alarm);
/* The earliest event is now at `when` [any thread, machine locked]. */
void tn_alarm_set (TnAlarm *alarm, int64_t when);

G_END_DECLS
