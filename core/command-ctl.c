/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tenon ctl and tenon stat: requests to a running machine.  ORDER: requests (run-control.c,
 * tenon.1)
 */
#include "control.h"
#include "machine.h"
#include "options.h"
#include "suggest.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const char *const requests[]
    = { "swap",       "insert", "eject", "status", "pause", "resume", "reset", "quit",
        "poweroff",   "list",   "show",  "stat",   "block", "log",    "help",  "machines",
        "screenshot", "screen", "type",  "key",    "mouse", NULL };

static const TnUsage ctl_usage = {
  .name = "ctl",
  .synopsis = "tenon ctl [OPTIONS] [MACHINE] REQUEST [OPERAND...]",
  .summary
  = "Sends a request to a running machine; MACHINE may be left out if only one is running.\n"
    "\n"
    "Requests:\n"
    "  swap DEVICE [FILE]     replace a device's plugin while the machine runs\n"
    "  insert DEVICE FILE [force]\n"
    "                         put a medium in; DEVICE is the back end, such as cd0\n"
    "  eject DEVICE [force]   take the medium out, by force if the guest has locked it in\n"
    "  status                 what is running, and for how long\n"
    "  pause                  stop the machine's time\n"
    "  resume                 let it go on\n"
    "  reset                  press the reset button\n"
    "  quit, poweroff         switch the machine off and end the program\n"
    "  list                   devices, their plugins and files\n"
    "  show DEVICE            ports, memory, lines and timers that a device holds\n"
    "  stat [all]             counters; all: of ports and opcodes that are seldom used, too\n"
    "  block ADDRESS          guest and host code of the translated blocks that have this\n"
    "                         linear address (hexadecimal)\n"
    "  screenshot FILE [CARD] write what is on the screen to a PNG file\n"
    "  screen [CARD]          what stands on a text screen\n"
    "  type TEXT...           type a text; \\n is Enter\n"
    "  key NAME...            press keys one after the other: f1, ctrl-alt-delete\n"
    "  mouse DX DY [BUTTONS]  move the mouse, with these buttons down: left,right,middle\n"
    "  log [CATEGORY:]LEVEL   change what is logged\n"
    "  machines               the machines that are running",
  .examples = "  tenon ctl swap com1\n"
              "  tenon ctl type 'ls -l\\n'\n"
              "  tenon ctl block c0101234\n"
              "  tenon ctl insert cd0 debian.iso\n"
              "  tenon ctl demo swap com1 build/plugins/.libs/uart16550a.so\n"
              "  tenon ctl --socket /run/user/1000/tenon/demo.sock status\n",
  .min = 1,
  .max = G_MAXINT,
};

static const TnUsage stat_usage = {
  .name = "stat",
  .synopsis = "tenon stat [OPTIONS] [MACHINE]",
  .summary = "Shows the counters of a running machine.",
  .examples = "  tenon stat\n  watch -n1 tenon stat demo\n  tenon stat --all\n",
  .max = 1,
};

/* Names of the machines that answer. */
static GPtrArray *
running (GError **error)
{
  g_autofree char *directory = tn_control_directory (error);
  g_autoptr (GDir) dir = directory ? g_dir_open (directory, 0, error) : NULL;
  GPtrArray *names;
  const char *file;

  if (!dir)
    return NULL;
  names = g_ptr_array_new_with_free_func (g_free);
  while ((file = g_dir_read_name (dir)))
    {
      g_autofree char *path = g_build_filename (directory, file, NULL);

      if (g_str_has_suffix (file, ".sock") && tn_control_alive (path))
        g_ptr_array_add (names, g_strndup (file, strlen (file) - strlen (".sock")));
    }
  g_ptr_array_add (names, NULL);
  return names;
}

/* The socket of the machine of that name, or of the only one.  NULL after reporting. */
static char *
find_socket (const char *machine, int *code)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) names = running (&error);
  g_autofree char *near = NULL, *all = NULL;

  *code = EX_UNAVAILABLE;
  if (!names)
    {
      *code = tn_command_fail (tn_command_code (error), "%s", error->message);
      return NULL;
    }
  all = g_strjoinv (", ", (char **) names->pdata);
  if (machine && g_strv_contains ((const char *const *) names->pdata, machine))
    return tn_control_path (machine, NULL);
  if (!machine && names->len == 2)
    return tn_control_path (names->pdata[0], NULL);
  if (names->len == 1)
    tn_command_fail (EX_UNAVAILABLE, "%s%sno machine is running", machine ? machine : "",
                     machine ? ": " : "");
  else if (machine)
    {
      near = tn_suggest_text (machine, (const char *const *) names->pdata);
      tn_command_fail (EX_UNAVAILABLE, "no machine \"%s\" is running%s; running: %s", machine, near,
                       all);
    }
  else
    *code = tn_command_fail (EX_USAGE, "several machines are running, name one: %s", all);
  return NULL;
}

static int
list_machines (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) names = running (&error);

  if (!names)
    return tn_command_fail (tn_command_code (error), "%s", error->message);
  for (guint i = 0; i + 1 < names->len; i++)
    puts (names->pdata[i]);
  return EX_OK;
}

static int
call (const char *path, char **words)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  int code = tn_control_call (path, words, &text, &error);

  if (code < 0)
    return tn_command_fail (EX_UNAVAILABLE, "%s", error->message);
  if (code > 0)
    return tn_command_fail (code, "%s: %s", words[0], text);
  fputs (text, stdout);
  return fflush (stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Files are looked for by the machine's process, which may stand in another directory. */
static char *
absolute_file (GPtrArray *words)
{
  bool swap = strcmp (words->pdata[0], "swap") == 0;
  bool insert = strcmp (words->pdata[0], "insert") == 0;

  if (words->len >= 2 && strcmp (words->pdata[0], "screenshot") == 0)
    return words->pdata[1] = g_canonicalize_filename (words->pdata[1], NULL);
  if (words->len < 3 || !(insert || (swap && strchr (words->pdata[2], '/'))))
    return NULL;
  return words->pdata[2] = g_canonicalize_filename (words->pdata[2], NULL);
}

int
tn_command_ctl (int argc, char **argv)
{
  g_autoptr (GPtrArray) words = g_ptr_array_new ();
  const char *path = NULL, *machine = NULL;
  g_autofree char *found = NULL, *near = NULL, *file = NULL;
  const TnOption options[] = {
    { "socket", 's', "PATH", "the machine's control socket", TN_OPTION_STRING, &path },
    { NULL },
  };
  int code = tn_options_parse (&ctl_usage, options, argc, argv, words);

  if (code >= 0)
    return code;
  if (!g_strv_contains (requests, words->pdata[0]))
    {
      if (path || words->len == 1 || !g_strv_contains (requests, words->pdata[1]))
        {
          const char *word = words->pdata[0];

          near = tn_suggest_text (word, requests);
          if (!*near && words->len > 1 && !path)
            {
              word = words->pdata[1]; /* the first one is meant as a machine */
              g_free (near);
              near = tn_suggest_text (word, requests);
            }
          return tn_command_fail (
              EX_USAGE, "ctl: there is no request \"%s\"%s; try: tenon ctl --help", word, near);
        }
      machine = words->pdata[0];
      g_ptr_array_remove_index (words, 0);
    }
  if (strcmp (words->pdata[0], "machines") == 0)
    return list_machines ();
  if (!path && !(path = found = find_socket (machine, &code)))
    return code;
  file = absolute_file (words);
  g_ptr_array_add (words, NULL);
  return call (path, (char **) words->pdata);
}

int
tn_command_stat (int argc, char **argv)
{
  g_autoptr (GPtrArray) words = g_ptr_array_new ();
  const char *path = NULL;
  g_autofree char *found = NULL;
  bool all = false;
  char *request[] = { (char *) "stat", NULL, NULL };
  const TnOption options[] = {
    { "all", 'a', NULL, "of ports and opcodes that are seldom used, too", TN_OPTION_FLAG, &all },
    { "socket", 's', "PATH", "the machine's control socket", TN_OPTION_STRING, &path },
    { NULL },
  };
  int code = tn_options_parse (&stat_usage, options, argc, argv, words);

  if (code >= 0)
    return code;
  if (!path && !(path = found = find_socket (words->len ? words->pdata[0] : NULL, &code)))
    return code;
  request[1] = all ? (char *) "all" : NULL;
  return call (path, request);
}
