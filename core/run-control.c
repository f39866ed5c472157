/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests of the control socket.  ORDER: requests (tenon.1, command-ctl.c)
 */
#include "run.h"

#include "listing.h"
#include "options.h"
#include "suggest.h"

#include <string.h>
#include <sysexits.h>
#include <unistd.h>

typedef struct {
  const char *name, *operands, *help;
  int min, max;
  int (*func) (TnRun *run, char **words, int n, GString *reply);
} Request;

static int
swap (TnRun *run, char **words, int n, GString *reply)
{
  g_autoptr (GError) error = NULL;
  TnDevice *device;

  if (!tn_run_swap (run, words[0], n > 1 ? words[1] : NULL, &error))
    {
      g_string_append (reply, error->message);
      return tn_command_code (error);
    }
  tn_machine_lock (run->machine);
  device = tn_machine_find (run->machine, words[0]);
  g_string_append_printf (reply, "%s: %s is now %s", words[0], tn_device_plugin (device)->name,
                          tn_device_file (device));
  tn_machine_unlock (run->machine);
  return EX_OK;
}

static int
change_medium (TnRun *run, char **words, const char *file, const char *option, GString *reply)
{
  g_autoptr (GError) error = NULL;
  TnDevice *device;

  if (option && strcmp (option, "force") != 0)
    {
      g_string_append_printf (reply, "expected \"force\" or nothing, found \"%.64s\"", option);
      return EX_USAGE;
    }
  tn_machine_lock (run->machine);
  device = tn_machine_find (run->machine, words[0]);
  if (!device)
    g_set_error (&error, TN_ERROR, TN_ERROR_MISSING, "there is no device \"%.64s\"", words[0]);
  else
    tn_machine_change_medium (run->machine, device, file, option != NULL, &error);
  tn_machine_unlock (run->machine);
  if (!error)
    return EX_OK;
  g_string_append (reply, error->message);
  return tn_command_code (error);
}

static int
eject (TnRun *run, char **words, int n, GString *reply)
{
  return change_medium (run, words, NULL, n > 1 ? words[1] : NULL, reply);
}

static int
insert (TnRun *run, char **words, int n, GString *reply)
{
  return change_medium (run, words, words[1], n > 2 ? words[2] : NULL, reply);
}

static int
status (TnRun *run, char **words, int n, GString *reply)
{
  int64_t up = tn_clock_now (tn_machine_clock (run->machine));

  g_string_append_printf (reply, "name %s\n", run->config->name);
  g_string_append_printf (reply, "state %s\n", run->paused ? "paused" : "running");
  g_string_append_printf (reply, "file %s\n", run->config->file);
  g_string_append_printf (reply, "memory %" G_GUINT64_FORMAT " MiB\n", run->config->memory);
  g_string_append_printf (reply, "clock %s\n", run->alarm ? "real" : "counted");
  g_string_append_printf (reply, "up %" G_GINT64_FORMAT ".%03d s\n", up / TN_NS_PER_S,
                          (int) (up / TN_NS_PER_MS % 1000));
  g_string_append_printf (reply, "process %d", (int) getpid ());
  return EX_OK;
}

static int
request_pause (TnRun *run, char **words, int n, GString *reply)
{
  tn_run_pause (run);
  return EX_OK;
}

static int
request_resume (TnRun *run, char **words, int n, GString *reply)
{
  tn_run_resume (run);
  return EX_OK;
}

static int
request_reset (TnRun *run, char **words, int n, GString *reply)
{
  tn_log_print (run->log, "machine", TN_LOG_INFO, "reset by the user");
  tn_processor_request_reset (run->processor, TN_RESET_HARD);
  return EX_OK;
}

static int
request_quit (TnRun *run, char **words, int n, GString *reply)
{
  tn_log_print (run->log, "machine", TN_LOG_INFO, "switched off by the user");
  tn_run_quit (run, EX_OK);
  return EX_OK;
}

static int
list (TnRun *run, char **words, int n, GString *reply)
{
  GPtrArray *devices;

  tn_machine_lock (run->machine);
  devices = tn_machine_devices (run->machine);
  for (guint i = 0; i < devices->len; i++)
    {
      TnDevice *d = devices->pdata[i];

      g_string_append_printf (reply, "%s%-10s %-12s %s (%s)", i ? "\n" : "", tn_device_name (d),
                              tn_device_plugin (d)->name, tn_device_plugin (d)->summary,
                              tn_device_file (d));
    }
  tn_machine_unlock (run->machine);
  return EX_OK;
}

static void
resource (void *data, const char *kind, uint64_t first, uint64_t count, const char *name)
{
  GString *reply = data;

  g_string_append_printf (reply, "%s%s", reply->len ? "\n" : "", kind);
  if (strcmp (kind, "line") == 0)
    g_string_append_printf (reply, " %s", first ? "high" : "low"); /* that is what it tells */
  else if (count)
    g_string_append_printf (reply, " %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER "x", first,
                            first + count - 1);
  if (name)
    g_string_append_printf (reply, " %s", name);
}

static int
show (TnRun *run, char **words, int n, GString *reply)
{
  TnDevice *d;
  int code = EX_OK;

  tn_machine_lock (run->machine);
  d = tn_machine_find (run->machine, words[0]);
  if (d)
    tn_device_resources (d, resource, reply);
  else
    {
      g_string_append_printf (reply, "there is no device \"%s\"", words[0]);
      code = EX_UNAVAILABLE;
    }
  tn_machine_unlock (run->machine);
  return code;
}

static void
counter (void *data, const char *name, uint64_t value)
{
  g_string_append_printf (data, "%-28s %" G_GUINT64_FORMAT "\n", name, value);
}

static void
posted_stats (TnRun *run, GString *reply)
{
  TnPostedCounts counts;

  tn_machine_lock (run->machine);
  tn_machine_posted_counts (run->machine, &counts);
  tn_machine_unlock (run->machine);
  counter (reply, "bus.posted-arrived", counts.arrived);
  counter (reply, "bus.posted-rounds", counts.rounds);
  counter (reply, "bus.posted-full", counts.full);
}

static int
stat_request (TnRun *run, char **words, int n, GString *reply)
{
  bool all = n > 0;

  if (all && strcmp (words[0], "all") != 0)
    {
      g_string_append_printf (reply, "expected stat or stat all, found \"%s\"", words[0]);
      return EX_USAGE;
    }
  counter (reply, "clock.virtual-ns", tn_clock_now (tn_machine_clock (run->machine)));
  tn_processor_stats (run->processor, all, counter, reply);
  posted_stats (run, reply);
  return EX_OK;
}

static int
block (TnRun *run, char **words, int n, GString *reply)
{
  g_autoptr (GError) error = NULL;
  uint32_t linear;

  if (!tn_listing_address (words[0], &linear, &error))
    {
      g_string_append (reply, error->message);
      return EX_USAGE;
    }
  if (tn_processor_listing (run->processor, linear, reply))
    return EX_OK;
  if (run->config->engine == TN_CONFIG_ENGINE_INTERPRET)
    g_string_append (reply, "the processor interprets, nothing is translated");
  else
    g_string_append_printf (reply, "no translated block has an instruction at %08x", linear);
  return EX_UNAVAILABLE;
}

static int
log_request (TnRun *run, char **words, int n, GString *reply)
{
  g_autoptr (GError) error = NULL;

  if (tn_log_configure (run->log, words[0], &error))
    return EX_OK;
  g_string_append (reply, error->message);
  return EX_USAGE;
}

static int help (TnRun *run, char **words, int n, GString *reply);

static const Request requests[] = {
  { "swap", "DEVICE [FILE]", "replace a device's plugin while the machine runs", 1, 2, swap },
  { "insert", "DEVICE FILE [force]", "put a medium in, for instead of the one that is in", 2, 3,
    insert },
  { "eject", "DEVICE [force]", "take the medium out", 1, 2, eject },
  { "status", "", "what is running, and for how long", 0, 0, status },
  { "pause", "", "stop the machine's time", 0, 0, request_pause },
  { "resume", "", "let it go on", 0, 0, request_resume },
  { "reset", "", "press the reset button", 0, 0, request_reset },
  { "quit", "", "switch the machine off and end the program", 0, 0, request_quit },
  { "poweroff", "", "the same", 0, 0, request_quit },
  { "list", "", "devices, their plugins and files", 0, 0, list },
  { "show", "DEVICE", "ports, memory, lines and timers that a device holds", 1, 1, show },
  { "stat", "[all]", "counters; all: of ports and opcodes that are seldom used, too", 0, 1,
    stat_request },
  { "block", "ADDRESS", "the guest and host code of translated blocks with this address", 1, 1,
    block },
  { "screenshot", "FILE.png [CARD]", "write what is on the screen to a file", 1, 2,
    tn_run_screenshot },
  { "screen", "[CARD]", "what stands on a text screen", 0, 1, tn_run_screen },
  { "type", "TEXT...", "type a text; \\n is Enter", 1, 60, tn_run_type },
  { "key", "NAME...", "press keys, one after the other: f1 ctrl-alt-delete", 1, 60, tn_run_key },
  { "mouse", "DX DY [BUTTONS]", "move the mouse, with these buttons down: left,right", 2, 3,
    tn_run_mouse },
  { "log", "[CATEGORY:]LEVEL", "change what is logged", 1, 1, log_request },
  { "help", "", "this list", 0, 0, help },
};

static int
help (TnRun *run, char **words, int n, GString *reply)
{
  for (unsigned i = 0; i < G_N_ELEMENTS (requests); i++)
    {
      g_autofree char *left = g_strdup_printf ("%s %s", requests[i].name, requests[i].operands);

      g_string_append_printf (reply, "%s%-22s %s", i ? "\n" : "", left, requests[i].help);
    }
  return EX_OK;
}

int
tn_run_control (void *run, int argc, char **argv, GString *reply)
{
  const char *names[G_N_ELEMENTS (requests) + 1] = { NULL };
  g_autofree char *near = NULL;

  for (unsigned i = 0; i < G_N_ELEMENTS (requests); i++)
    {
      const Request *r = &requests[i];

      names[i] = r->name;
      if (strcmp (argv[0], r->name) != 0)
        continue;
      if (argc - 1 >= r->min && argc - 1 <= r->max)
        return r->func (run, argv + 1, argc - 1, reply);
      g_string_append_printf (reply, "expected %s %s", r->name, r->operands);
      return EX_USAGE;
    }
  near = tn_suggest_text (argv[0], names);
  g_string_append_printf (reply, "there is no request \"%.64s\"%s", argv[0], near);
  return EX_USAGE;
}
