/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Command lines: "--name VALUE", "--name=VALUE", "-n VALUE", "--" ends the options.  A
 * negative number is none.  Unknown options are errors with a suggestion.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef enum { TN_OPTION_FLAG, TN_OPTION_STRING, TN_OPTION_STRINGS } TnOptionType;

typedef struct {
  const char *name;
  char letter;          /* 0: none */
  const char *argument; /* as the help calls it; NULL for flags */
  const char *help;
  TnOptionType type;
  void *value; /* bool *, const char ** (last one counts), GPtrArray * (all; not owned) */
} TnOption;

typedef struct {
  const char *name;     /* "run" */
  const char *synopsis; /* "tenon run [OPTIONS] FILE" */
  const char *summary;  /* one sentence */
  const char *examples; /* whole lines, or NULL */
  unsigned min, max;    /* operands */
} TnUsage;

/* Operands are added to `operands` (char *, not owned).  Returns -1 to go on, or the exit code (0
   after
   --help).  `options` ends with a NULL name; --help is added. */
int tn_options_parse (const TnUsage *usage, const TnOption *options, int argc, char **argv,
                      GPtrArray *operands);

/* ---- Commands (one file each); they get what follows the program's name ---- */

int tn_command_run (int argc, char **argv);
int tn_command_check (int argc, char **argv);
int tn_command_devices (int argc, char **argv);
int tn_command_disk (int argc, char **argv);
int tn_command_ctl (int argc, char **argv);
int tn_command_stat (int argc, char **argv);
/* Says "tenon: TEXT" on standard error and returns `code`. */
int tn_command_fail (int code, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* The exit code that fits a GError of the core. */
int tn_command_code (const GError *error);
/* What --plugin-path gave, before TENON_PLUGIN_PATH; and after it the plugins of the build tree
   that this program stands in. */
void tn_command_plugin_path (GPtrArray *directories);

G_END_DECLS
