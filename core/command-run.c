/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tenon run: a machine from switching on to switching off.
 */
#include "listing.h"
#include "options.h"
#include "run.h"
#include "setup.h"

#include <sysexits.h>

static const TnUsage usage = {
  .name = "run",
  .synopsis = "tenon run [OPTIONS] FILE",
  .summary = "Runs the machine that FILE configures, see tenon.cfg(5).",
  .examples = "  tenon run config/demo.cfg\n"
              "  tenon run --set machine.memory=512 --set cd.file=debian.iso config/demo.cfg\n"
              "  tenon run --watch --log uart16550a:debug my.cfg\n",
  .min = 1,
  .max = 1,
};

static bool
set_up_log (TnLog *log, const GPtrArray *levels, const char *file, GError **error)
{
  for (guint i = 0; i < levels->len; i++)
    if (!tn_log_configure (log, levels->pdata[i], error))
      {
        g_prefix_error (error, "--log: ");
        return false;
      }
  return !file || tn_log_open (log, file, error);
}

int
tn_command_run (int argc, char **argv)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new (), sets = g_ptr_array_new ();
  g_autoptr (GPtrArray) directories = g_ptr_array_new (), levels = g_ptr_array_new ();
  g_autoptr (TnLog) log = tn_log_new ();
  g_autoptr (TnConfig) config = NULL;
  g_autoptr (GError) error = NULL;
  const char *log_file = NULL, *display = NULL, *engine = NULL, *jitdump = NULL;
  g_autofree char *display_set = NULL, *engine_set = NULL, *jitdump_set = NULL;
  bool perf_map = false, gdb_jit = false;
  uint32_t address;
  TnRunOptions run = { 0 };
  const TnOption options[] = {
    { "set", 's', "DEVICE.PROPERTY=VALUE", "override a setting; machine.NAME too; may be repeated",
      TN_OPTION_STRINGS, sets },
    { "plugin-path", 'P', "DIR", "look for plugins here first; may be repeated", TN_OPTION_STRINGS,
      directories },
    { "display", 'd', "KIND",
      "where the screen is shown: none, text, sdl, vnc; auto: a window if\n"
      "                              there is a desktop",
      TN_OPTION_STRING, &display },
    { "engine", 'e', "KIND", "how the processor works: translate, or interpret (exact, slow)",
      TN_OPTION_STRING, &engine },
    { "log", 'l', "[CATEGORY:]LEVEL", "what to log: error, warning, info, guest-error, debug",
      TN_OPTION_STRINGS, levels },
    { "log-file", 0, "FILE", "log to this file, too", TN_OPTION_STRING, &log_file },
    { "watch", 'w', NULL, "swap a device whenever the file of its plugin changes", TN_OPTION_FLAG,
      &run.watch },
    { "paused", 'p', NULL, "wait for 'tenon ctl resume' before the first instruction",
      TN_OPTION_FLAG, &run.paused },
    { "control", 'c', "PATH", "where the control socket is made", TN_OPTION_STRING, &run.control },
    { "no-control", 0, NULL, "make no control socket", TN_OPTION_FLAG, &run.no_control },
    { "trace", 0, "FIFO", "lockstep: write what the processor does", TN_OPTION_STRING,
      &run.trace },
    { "compare", 0, "FIFO", "lockstep: compare, and end with 3 at the first difference",
      TN_OPTION_STRING, &run.compare },
    { "trace-every", 0, "N", "lockstep: compare after N instructions, or somewhat more",
      TN_OPTION_STRING, &run.trace_every },
    { "stress", 0, "LIST", "test the translator: unlinked,drop,short,move,kick,small,hot,spaces,plain,all",
      TN_OPTION_STRING, &run.stress },
    { "log-block", 0, "ADDRESS",
      "log the guest and host code of blocks with this linear\n"
      "                              address (hexadecimal), whenever they are translated",
      TN_OPTION_STRING, &run.log_block },
    { "perf-map", 0, NULL, "name translated code for perf report: /tmp/perf-PID.map",
      TN_OPTION_FLAG, &perf_map },
    { "jitdump", 0, "DIR", "and for perf annotate: DIR/jit-PID.dump", TN_OPTION_STRING, &jitdump },
    { "gdb-jit", 0, NULL, "and for gdb, by its JIT interface", TN_OPTION_FLAG, &gdb_jit },
    { NULL },
  };
  int code = tn_options_parse (&usage, options, argc, argv, files);

  if (code >= 0)
    return code;
  if (!set_up_log (log, levels, log_file, &error))
    return tn_command_fail (error->code == TN_ERROR_IO ? EX_CANTCREAT : EX_USAGE, "%s",
                            error->message);
  if (run.stress && trace_stress (run.stress, &(VmmVcpuConfig){ 0 }))
    return tn_command_fail (EX_USAGE, "--stress: there is no mode \"%s\"",
                            trace_stress (run.stress, &(VmmVcpuConfig){ 0 }));
  if (run.log_block && !tn_listing_address (run.log_block, &address, &error))
    return tn_command_fail (EX_USAGE, "--log-block: %s", error->message);
  tn_command_plugin_path (directories);
  if (display)
    g_ptr_array_add (sets, display_set = g_strconcat ("machine.display=", display, NULL));
  if (engine)
    g_ptr_array_add (sets, engine_set = g_strconcat ("machine.engine=", engine, NULL));
  if (jitdump)
    g_ptr_array_add (sets, jitdump_set = g_strconcat ("machine.cpu.jitdump=", jitdump, NULL));
  if (perf_map)
    g_ptr_array_add (sets, (char *) "machine.cpu.perf-map=true");
  if (gdb_jit)
    g_ptr_array_add (sets, (char *) "machine.cpu.gdb-jit=true");
  g_ptr_array_add (sets, NULL);
  config = tn_setup_load (files->pdata[0], (const char *const *) sets->pdata, &code);
  return config ? tn_run (config, log, &run) : code;
}
