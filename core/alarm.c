/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "alarm.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct TnAlarm {
  TnMachine *machine;
  int fd;
  guint source;
};

void
tn_alarm_set (TnAlarm *alarm, int64_t when)
{
  int64_t delay = tn_clock_host_delay (tn_machine_clock (alarm->machine), when);
  struct itimerspec spec = { 0 };

  if (delay != TN_TIME_NEVER)
    {
      delay = MAX (delay, 1); /* 0 would disarm it */
      spec.it_value.tv_sec = delay / TN_NS_PER_S;
      spec.it_value.tv_nsec = delay % TN_NS_PER_S;
    }
  timerfd_settime (alarm->fd, 0, &spec, NULL);
}

static gboolean
ring (int fd, GIOCondition condition, void *data)
{
  TnAlarm *alarm = data;
  uint64_t expirations;

  if (read (fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
    return G_SOURCE_REMOVE;
  tn_machine_lock (alarm->machine);
  tn_alarm_set (alarm, tn_clock_run (tn_machine_clock (alarm->machine)));
  tn_machine_unlock (alarm->machine);
  return G_SOURCE_CONTINUE;
}

TnAlarm *
tn_alarm_new (TnMachine *m, GError **error)
{
  TnAlarm *alarm = g_new0 (TnAlarm, 1);

  alarm->machine = m;
  alarm->fd = timerfd_create (CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (alarm->fd < 0)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_FAILED, "cannot make a timer: %s", g_strerror (errno));
      g_free (alarm);
      return NULL;
    }
  alarm->source = g_unix_fd_add_full (G_PRIORITY_HIGH, alarm->fd, G_IO_IN, ring, alarm, NULL);
  return alarm;
}

void
tn_alarm_free (TnAlarm *alarm)
{
  if (!alarm)
    return;
  g_source_remove (alarm->source);
  close (alarm->fd);
  g_free (alarm);
}
