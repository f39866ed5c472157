/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tn_run (): build, power on, serve, switch off.  What is built is taken down in reverse order,
 * also when building fails half way.
 *
 * SIGINT, SIGTERM and SIGHUP end the machine in order: the processor stops, devices are unrealized
 * (disks written out, the terminal restored).  A second signal ends the program at once, with the
 * terminal as it was.
 */
#include "run.h"

#include "options.h"
#include "setup.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

/* What the handler of a second signal needs; a handler has no argument to find it by. */
static struct {
  struct termios terminal;
  bool is_terminal;
} at_start;

/* ---- Hooks of the machine ---- */

static void
hook_log (void *opaque, const char *category, TnLogLevel level, const char *device,
          const char *text)
{
  tn_log_write (((TnRun *) opaque)->log, category, level, device, text);
}

static void
hook_request_reset (void *opaque, TnResetKind kind)
{
  TnRun *run = opaque;

  if (kind == TN_RESET_HARD)
    tn_log_print (run->log, "machine", TN_LOG_INFO, "the guest resets the machine");
  tn_processor_request_reset (run->processor, kind);
}

static void
hook_request_poweroff (void *opaque)
{
  TnRun *run = opaque;

  tn_log_print (run->log, "machine", TN_LOG_INFO, "the guest switched the machine off");
  tn_run_quit (run, EX_OK);
}

static void
hook_deadline (void *opaque, int64_t when)
{
  TnRun *run = opaque;

  if (!tn_processor_deadline (run->processor) && run->alarm)
    tn_alarm_set (run->alarm, when);
}

static void
hook_quiesce (void *opaque)
{
  tn_processor_quiesce (((TnRun *) opaque)->processor);
}

static void
hook_resume (void *opaque)
{
  tn_processor_resume (((TnRun *) opaque)->processor);
}

static bool
hook_send_apic (void *opaque, const TnApicMessage *message)
{
  return tn_processor_send_apic (((TnRun *) opaque)->processor, message);
}

static GVariant *
hook_save_cpus (void *opaque)
{
  return tn_processor_save (((TnRun *) opaque)->processor);
}

static bool
hook_load_cpus (void *opaque, GVariant *state, bool check, GError **error)
{
  return tn_processor_load (((TnRun *) opaque)->processor, state, check, error);
}

static char *
hook_title (void *opaque)
{
  return tn_run_title (opaque);
}

static const TnMachineHooks hooks = {
  .log = hook_log,
  .request_reset = hook_request_reset,
  .request_poweroff = hook_request_poweroff,
  .deadline = hook_deadline,
  .quiesce = hook_quiesce,
  .resume = hook_resume,
  .send_apic = hook_send_apic,
  .save_cpus = hook_save_cpus,
  .load_cpus = hook_load_cpus,
  .title = hook_title,
};

static void
triple_fault (void *opaque)
{
  tn_run_quit (opaque, EX_SOFTWARE);
}

static void
set_alarm (void *opaque, int64_t when)
{
  TnRun *run = opaque;

  if (run->alarm)
    tn_alarm_set (run->alarm, when);
}

/* ---- Control ---- */

static gboolean
quit_loop (void *data)
{
  g_main_loop_quit (((TnRun *) data)->loop);
  return G_SOURCE_REMOVE;
}

/* From within the loop: a loop that does not run yet would forget it. */
void
tn_run_quit (TnRun *run, int code)
{
  run->code = code;
  g_idle_add_full (G_PRIORITY_HIGH, quit_loop, run, NULL);
}

void
tn_run_pause (TnRun *run)
{
  if (run->paused)
    return;
  run->paused = true;
  tn_processor_park (run->processor);
  tn_machine_lock (run->machine);
  tn_clock_pause (tn_machine_clock (run->machine));
  tn_machine_unlock (run->machine);
}

void
tn_run_resume (TnRun *run)
{
  TnClock *clock = tn_machine_clock (run->machine);

  if (!run->paused)
    return;
  run->paused = false;
  tn_machine_lock (run->machine);
  tn_clock_continue (clock);
  if (run->alarm)
    tn_alarm_set (run->alarm, tn_clock_deadline (clock));
  tn_machine_unlock (run->machine);
  tn_processor_unpark (run->processor);
}

bool
tn_run_swap (TnRun *run, const char *device, const char *file, GError **error)
{
  TnDevice *d;
  bool ok = false;

  tn_processor_park (run->processor);
  tn_machine_lock (run->machine);
  d = tn_machine_find (run->machine, device);
  if (!d)
    g_set_error (error, TN_ERROR, TN_ERROR_MISSING, "there is no device \"%s\"", device);
  else
    ok = tn_machine_swap (run->machine, d, file, error);
  tn_machine_unlock (run->machine);
  tn_processor_unpark (run->processor);
  return ok;
}

/* ---- Signals ---- */

static void
second_signal (int number)
{
  static const char text[] = "\r\ntenon: forced to end\r\n";
  ssize_t ignored = write (STDERR_FILENO, text, sizeof text - 1);

  (void) ignored;
  if (at_start.is_terminal)
    tcsetattr (STDIN_FILENO, TCSANOW, &at_start.terminal);
  _exit (128 + number);
}

static gboolean
first_signal (void *data)
{
  TnRun *run = data;
  struct sigaction action = { .sa_handler = second_signal };
  static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

  for (unsigned i = 0; i < G_N_ELEMENTS (numbers); i++)
    {
      if (run->signals[i])
        g_source_remove (run->signals[i]);
      run->signals[i] = 0;
      sigaction (numbers[i], &action, NULL);
    }
  tn_log_print (run->log, "machine", TN_LOG_INFO, "interrupted; the machine is switched off");
  tn_run_quit (run, EX_OK);
  return G_SOURCE_CONTINUE; /* it is removed */
}

static void
watch_signals (TnRun *run)
{
  at_start.is_terminal = tcgetattr (STDIN_FILENO, &at_start.terminal) == 0;
  run->signals[0] = g_unix_signal_add (SIGINT, first_signal, run);
  run->signals[1] = g_unix_signal_add (SIGTERM, first_signal, run);
  run->signals[2] = g_unix_signal_add (SIGHUP, first_signal, run);
  signal (SIGPIPE, SIG_IGN);
}

/* ---- Building ---- */

static bool
make_machine (TnRun *run, GError **error)
{
  bool real = run->config->clock == TN_CONFIG_CLOCK_REAL;
  TnProcessorHost host = { .triple_fault = triple_fault,
                           .poweroff = hook_request_poweroff,
                           .alarm = set_alarm,
                           .opaque = run,
                           .trace = run->trace,
                           .stress = run->stress,
                           .log_block = run->log_block };
  TnMachineConfig config = { .ram_size = run->config->memory << 20,
                             .clock = real ? TN_CLOCK_REAL : TN_CLOCK_COUNTED,
                             .wall_clock_offset_us = tn_setup_clock_offset_us (run->config),
                             .hooks = &hooks,
                             .opaque = run };
  bool ok;

  run->machine = tn_machine_new (&config, error);
  if (!run->machine)
    return false;
  if (real && !(run->alarm = tn_alarm_new (run->machine, error)))
    return false;
  run->processor = tn_processor_new (run->machine, run->config, run->log, &host, error);
  if (!run->processor)
    return false;
  tn_machine_lock (run->machine);
  tn_machine_set_keyboard (run->machine, run->config->keyboard);
  ok = tn_setup_devices (run->machine, run->config, error)
       && tn_machine_realize (run->machine, error);
  if (ok)
    tn_machine_reset (run->machine);
  tn_machine_unlock (run->machine);
  return ok;
}

static bool
open_trace (TnRun *run, const TnRunOptions *options, GError **error)
{
  const char *path = options->trace ? options->trace : options->compare;
  guint64 every = 1;

  run->stress = options->stress;
  run->log_block = options->log_block;
  if (!path)
    return true;
  if (run->config->clock != TN_CONFIG_CLOCK_COUNTED)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "--trace and --compare want clock = \"counted\"");
      return false;
    }
  if (options->trace_every
      && !g_ascii_string_to_unsigned (options->trace_every, 10, 1, UINT32_MAX, &every, error))
    {
      g_prefix_error (error, "--trace-every: ");
      return false;
    }
  run->trace = trace_open (path, !options->trace, every);
  if (!run->trace)
    g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s: %s", path, g_strerror (errno));
  return run->trace;
}

/* Several machines of one name can run: the later ones get a number. */
static char *
free_path (const char *name, GError **error)
{
  char *path = tn_control_path (name, error);

  for (unsigned n = 2; path && n < 100 && tn_control_alive (path); n++)
    {
      g_autofree char *numbered = g_strdup_printf ("%s-%u", name, n);

      g_free (path);
      path = tn_control_path (numbered, error);
    }
  return path;
}

/* A default socket that cannot be made is no reason not to run; one that was asked for is. */
static bool
listen_control (TnRun *run, const TnRunOptions *options, GError **error)
{
  g_autoptr (GError) reason = NULL;
  g_autofree char *path = options->control ? g_strdup (options->control) : NULL;

  if (options->no_control)
    return true;
  if (!path)
    path = free_path (run->config->name, &reason);
  if (path)
    run->control = tn_control_new (path, tn_run_control, run, &reason);
  if (run->control)
    tn_log_print (run->log, "control", TN_LOG_DEBUG, "listening on %s", path);
  else if (options->control)
    {
      g_propagate_error (error, g_steal_pointer (&reason));
      return false;
    }
  else
    tn_log_print (run->log, "control", TN_LOG_WARNING, "tenon ctl will not work: %s",
                  reason->message);
  return true;
}

static void
start (TnRun *run, const TnRunOptions *options)
{
  TnClock *clock = tn_machine_clock (run->machine);

  if (options->watch)
    run->watchdog = tn_watchdog_new (run);
  tn_machine_lock (run->machine);
  run->paused = options->paused;
  if (run->paused)
    tn_clock_pause (clock);
  else if (run->alarm)
    tn_alarm_set (run->alarm, tn_clock_deadline (clock));
  tn_machine_unlock (run->machine);
  tn_processor_start (run->processor, run->paused);
}

static void
take_down (TnRun *run)
{
  TnAlarm *alarm = run->alarm;

  tn_watchdog_free (run->watchdog);
  tn_control_free (run->control);
  tn_processor_detach (run->processor);
  if (run->machine)
    {
      tn_machine_lock (run->machine);
      run->alarm = NULL;
      tn_machine_unlock (run->machine);
      tn_machine_free (run->machine);
    }
  while (g_idle_remove_by_data (run))
    continue;
  tn_alarm_free (alarm);
  tn_processor_free (run->processor);
  for (unsigned i = 0; i < G_N_ELEMENTS (run->signals); i++)
    if (run->signals[i])
      g_source_remove (run->signals[i]);
  g_main_loop_unref (run->loop);
}

int
tn_run (const TnConfig *config, TnLog *log, const TnRunOptions *options)
{
  TnRun run = { .config = config, .log = log };
  g_autoptr (GError) error = NULL;

  run.loop = g_main_loop_new (NULL, FALSE);
  watch_signals (&run);
  if (open_trace (&run, options, &error) && make_machine (&run, &error) && listen_control (&run, options, &error))
    {
      start (&run, options);
      g_main_loop_run (run.loop);
    }
  take_down (&run);
  if (run.trace) /* where the end of a machine falls is not counted */
    trace_close (run.trace);
  if (error)
    return tn_command_fail (tn_command_code (error), "%s", error->message);
  return run.code;
}
