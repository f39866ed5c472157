/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tenon check: everything that can be found wrong in a configuration without running the machine.
 */
#include "options.h"
#include "setup.h"

#include <stdio.h>
#include <sysexits.h>

static const TnUsage usage = {
  .name = "check",
  .synopsis = "tenon check [OPTIONS] FILE...",
  .summary
  = "Checks configurations and reports all errors as FILE:LINE: what was expected and found.\n"
    "Then the cards are put together for a moment, without their disks and terminals, which\n"
    "finds two that want the same ports.",
  .examples = "  tenon check config/demo.cfg\n",
  .min = 1,
  .max = G_MAXINT,
};

int
tn_command_check (int argc, char **argv)
{
  g_autoptr (GPtrArray) files = g_ptr_array_new (), sets = g_ptr_array_new ();
  g_autoptr (GPtrArray) directories = g_ptr_array_new ();
  const TnOption options[] = {
    { "set", 's', "DEVICE.PROPERTY=VALUE", "override a setting; machine.NAME too; may be repeated",
      TN_OPTION_STRINGS, sets },
    { "plugin-path", 'P', "DIR", "look for plugins here first; may be repeated", TN_OPTION_STRINGS,
      directories },
    { NULL },
  };
  int code = tn_options_parse (&usage, options, argc, argv, files), worst = EX_OK;

  if (code >= 0)
    return code;
  tn_command_plugin_path (directories);
  g_ptr_array_add (sets, NULL);
  for (guint i = 0; i < files->len; i++)
    {
      g_autoptr (TnConfig) config
          = tn_setup_load (files->pdata[i], (const char *const *) sets->pdata, &code);

      if (config && !tn_setup_try (config))
        code = EX_CONFIG;
      else if (config)
        printf ("%s: machine \"%s\", %u devices, no errors\n", config->file, config->name,
                config->devices->len);
      worst = MAX (worst, code);
    }
  return worst;
}
