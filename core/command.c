/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tn_main (): the tenon command hands over to one of its commands, command-*.c.
 *
 * Exit codes are those of sysexits.h:
 *    0  done; for run: the machine was switched off
 *   64  usage: the command line
 *   65  data: a saved state cannot be loaded
 *   66  no input: a file that was named does not exist or cannot be read
 *   69  unavailable: a plugin is missing or not usable; no machine is running
 *   70  software: anything else; a triple fault with triple-fault = "stop"
 *   73  cannot create: the log file
 *   74  I/O error of the host
 *   75  try again: the machine serves too many clients
 *   78  configuration
 *  129, 130, 143  a second SIGHUP, SIGINT or SIGTERM forced the end
 */
#include <config.h>

#include "machine.h"
#include "options.h"
#include "suggest.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

typedef struct {
  const char *name, *help;
  int (*func) (int argc, char **argv);
} Command;

static const Command commands[] = {
  { "run", "run a machine", tn_command_run },
  { "check", "check a configuration", tn_command_check },
  { "devices", "list and describe plugins", tn_command_devices },
  { "disk", "make, check, convert images of disks", tn_command_disk },
  { "ctl", "swap, pause, reset ... on a running machine", tn_command_ctl },
  { "stat", "counters of a running machine", tn_command_stat },
};

int
tn_command_fail (int code, const char *format, ...)
{
  va_list args;

  fputs ("tenon: ", stderr);
  va_start (args, format);
  vfprintf (stderr, format, args);
  va_end (args);
  fputc ('\n', stderr);
  return code;
}

int
tn_command_code (const GError *error)
{
  if (error->domain == G_FILE_ERROR)
    return EX_NOINPUT;
  if (error->domain != TN_ERROR)
    return EX_SOFTWARE;
  switch (error->code)
    {
    case TN_ERROR_CONFIG:
    case TN_ERROR_CLASH: return EX_CONFIG;
    case TN_ERROR_IO: return EX_IOERR;
    case TN_ERROR_STATE: return EX_DATAERR;
    case TN_ERROR_PLUGIN:
    case TN_ERROR_MISSING: return EX_UNAVAILABLE;
    }
  return EX_SOFTWARE;
}

/* BUILD/core/.libs/tenon -> BUILD/plugins/.libs, if that is where this program is. */
static char *
build_tree_plugins (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  char *end = self ? g_strrstr (self, "/core/.libs/") : NULL;
  g_autofree char *directory = NULL;

  if (!end || strchr (end + strlen ("/core/.libs/"), '/'))
    return NULL;
  *end = 0;
  directory = g_build_filename (self, "plugins", ".libs", NULL);
  return g_file_test (directory, G_FILE_TEST_IS_DIR) ? g_steal_pointer (&directory) : NULL;
}

void
tn_command_plugin_path (GPtrArray *directories)
{
  const char *given = g_getenv ("TENON_PLUGIN_PATH");
  g_auto (GStrv) parts = g_strsplit (given ? given : "", ":", -1);
  g_autofree char *build = build_tree_plugins ();
  g_autoptr (GString) path = g_string_new (NULL);

  for (guint i = 0; i < directories->len + g_strv_length (parts); i++)
    {
      const char *part = i < directories->len ? directories->pdata[i] : parts[i - directories->len];
      g_autofree char *absolute = *part ? g_canonicalize_filename (part, NULL) : NULL;

      if (absolute)
        g_string_append_printf (path, "%s%s", path->len ? ":" : "", absolute);
    }
  if (build)
    g_string_append_printf (path, "%s%s", path->len ? ":" : "", build);
  g_setenv ("TENON_PLUGIN_PATH", path->str, TRUE);
}

static int
help (void)
{
  puts ("Usage: tenon COMMAND [OPTIONS] ...\n\n"
        "Runs virtual PCs that are put together from plugins.\n\nCommands:");
  for (unsigned i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-10s %s\n", commands[i].name, commands[i].help);
  puts ("  --version  show the version\n  --help     show this\n\n"
        "tenon COMMAND --help tells more of each.\n\nExamples:\n"
        "  tenon run config/demo.cfg\n"
        "  tenon devices uart16550a\n"
        "  tenon ctl swap com1");
  return EX_OK;
}

static int
dispatch (int argc, char **argv)
{
  const char *names[G_N_ELEMENTS (commands) + 3] = { NULL };
  g_autofree char *near = NULL;

  if (argc < 2)
    return tn_command_fail (EX_USAGE, "a command is missing; try: tenon --help");
  if (strcmp (argv[1], "--help") == 0 || strcmp (argv[1], "-h") == 0
      || strcmp (argv[1], "help") == 0)
    return help ();
  if (strcmp (argv[1], "--version") == 0)
    {
      puts (PACKAGE_NAME " " PACKAGE_VERSION);
      return EX_OK;
    }
  for (unsigned i = 0; i < G_N_ELEMENTS (commands); i++)
    {
      if (strcmp (argv[1], commands[i].name) == 0)
        return commands[i].func (argc - 1, argv + 1);
      names[i] = commands[i].name;
    }
  names[G_N_ELEMENTS (commands)] = "--help";
  names[G_N_ELEMENTS (commands) + 1] = "--version";
  near = tn_suggest_text (argv[1], names);
  return tn_command_fail (EX_USAGE, "there is no command \"%s\"%s; try: tenon --help", argv[1],
                          near);
}

int
tn_main (int argc, char **argv)
{
  int code;

  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C");
  code = dispatch (argc, argv);
  if (fflush (stdout) != 0 && code == EX_OK)
    code = tn_command_fail (EX_IOERR, "cannot write to standard output");
  return code;
}
