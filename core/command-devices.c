/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tenon devices: what the plugins say of themselves in their descriptors.
 */
#include "machine.h"
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const TnUsage usage = {
  .name = "devices",
  .synopsis = "tenon devices [OPTIONS] [NAME...]",
  .summary = "Lists the plugins that can be found; with names (or paths of files) describes them:\n"
             "properties with ranges and defaults, signals, saved state and I/O map.",
  .examples = "  tenon devices\n  tenon devices uart16550a\n  tenon devices ./my-card.so\n",
  .max = G_MAXINT,
};

static const char *
kind_name (TnKind kind)
{
  return kind == TN_KIND_CHAR    ? "character back end"
         : kind == TN_KIND_BLOCK ? "block back end"
         : kind == TN_KIND_DISPLAY ? "display back end"
                                 : "device";
}

/* ---- One plugin ---- */

static char *
range_of (const TnProperty *p)
{
  bool hex = p->max > 0xff && p->max <= G_MAXUINT32;

  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL: return g_strdup ("true or false");
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_UINT64:
      return hex ? g_strdup_printf (
                 "number from %#" G_GINT64_MODIFIER "x to %#" G_GINT64_MODIFIER "x", p->min, p->max)
                 : g_strdup_printf ("number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                                    p->min, p->max);
    case TN_PROP_TYPE_STRING: return g_strdup ("string");
    case TN_PROP_TYPE_ENUM: return g_strjoinv (" | ", (char **) p->choices);
    case TN_PROP_TYPE_LINK: return g_strdup_printf ("name of a %s", kind_name (p->link_kind));
    case TN_PROP_TYPE_FILE: return g_strdup ("path of a file");
    case TN_PROP_TYPE_END: break;
    }
  return g_strdup ("?");
}

static char *
default_of (const TnProperty *p)
{
  bool hex = p->max > 0xff && p->max <= G_MAXUINT32 && p->default_value > 9;

  if (p->required)
    return g_strdup ("required");
  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL: return g_strdup (p->default_value ? "default true" : "default false");
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_UINT64:
      return hex ? g_strdup_printf ("default %#" G_GINT64_MODIFIER "x", p->default_value)
                 : g_strdup_printf ("default %" G_GUINT64_FORMAT, p->default_value);
    case TN_PROP_TYPE_ENUM: return g_strdup_printf ("default %s", p->choices[p->default_value]);
    default:
      return p->default_string ? g_strdup_printf ("default \"%s\"", p->default_string)
                               : g_strdup ("none by default");
    }
}

static void
print_properties (const TnPlugin *plugin)
{
  if (!plugin->properties || !plugin->properties->name)
    return;
  puts ("\nProperties:");
  for (const TnProperty *p = plugin->properties; p->name; p++)
    {
      g_autofree char *range = range_of (p), *otherwise = default_of (p);

      printf ("  %-18s %s\n%21s%s; %s\n", p->name, p->blurb ? p->blurb : "", "", range, otherwise);
    }
}

static void
print_signals (const TnPlugin *plugin)
{
  if (!plugin->signals || !plugin->signals->name)
    return;
  puts ("\nSignals:");
  for (const TnSignal *s = plugin->signals; s->name; s++)
    printf ("  %-18s %s%s\n", s->name, s->blurb ? s->blurb : "", s->has_value ? " (value)" : "");
}

static void
print_fields (const TnField *fields, unsigned depth)
{
  static const char *const types[] = {
    [TN_FIELD_TYPE_BOOL] = "bool", [TN_FIELD_TYPE_UINT] = "uint",
    [TN_FIELD_TYPE_INT] = "int",   [TN_FIELD_TYPE_BYTES] = "bytes",
    [TN_FIELD_TYPE_TIME] = "time", [TN_FIELD_TYPE_STRUCT] = "structure",
  };

  for (const TnField *f = fields; f && f->name; f++)
    {
      g_autofree char *count = f->count > 1 ? g_strdup_printf ("[%zu]", f->count) : g_strdup ("");
      g_autofree char *since
          = f->since > 1 ? g_strdup_printf (", since version %u", f->since) : g_strdup ("");
      unsigned bits
          = f->type == TN_FIELD_TYPE_UINT || f->type == TN_FIELD_TYPE_INT ? f->size * 8 : 0;
      g_autofree char *width = bits                             ? g_strdup_printf ("%u", bits)
                               : f->type == TN_FIELD_TYPE_BYTES ? g_strdup_printf (" %zu", f->size)
                                                                : g_strdup ("");

      printf ("  %*s%-*s %s%s%s%s\n", depth * 2, "", 18 - (int) depth * 2, f->name,
              (unsigned) f->type < G_N_ELEMENTS (types) ? types[f->type] : "?", width, count,
              since);
      if (f->type == TN_FIELD_TYPE_STRUCT && depth < 4)
        print_fields (f->fields, depth + 1);
    }
}

static void
print_io (const TnPlugin *plugin)
{
  if (!plugin->io || !plugin->io->where)
    return;
  puts ("\nI/O map:");
  for (const TnIoDoc *io = plugin->io; io->where; io++)
    printf ("  %-18s %s\n", io->where, io->what ? io->what : "");
}

static int
describe (const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path
      = strchr (name, '/') ? g_canonicalize_filename (name, NULL) : tn_plugin_find (name, &error);
  TnModule *module = path ? tn_module_load (path, &error) : NULL;
  const TnPlugin *plugin;

  if (!module)
    return tn_command_fail (tn_command_code (error), "%s", error->message);
  plugin = tn_module_plugin (module);
  printf ("%s - %s\n", plugin->name, plugin->summary ? plugin->summary : "");
  printf ("  kind      %s\n  file      %s\n", kind_name (plugin->kind), path);
  if (plugin->document)
    printf ("  document  %s\n", plugin->document);
  print_properties (plugin);
  print_signals (plugin);
  print_io (plugin);
  if (plugin->fields && plugin->fields->name)
    {
      printf ("\nSaved state, version %u:\n", plugin->state_version);
      print_fields (plugin->fields, 0);
    }
  tn_module_unref (module);
  return EX_OK;
}

/* ---- All ---- */

static int
list (void)
{
  g_autoptr (GPtrArray) files = tn_plugin_list ();
  int code = EX_OK;

  for (guint i = 0; i < files->len; i++)
    {
      g_autoptr (GError) error = NULL;
      TnModule *module = tn_module_load (files->pdata[i], &error);

      if (!module)
        {
          code = tn_command_fail (tn_command_code (error), "%s", error->message);
          continue;
        }
      printf ("%-14s %-19s %s\n", tn_module_plugin (module)->name,
              kind_name (tn_module_plugin (module)->kind), tn_module_plugin (module)->summary);
      tn_module_unref (module);
    }
  if (files->len == 0)
    {
      g_auto (GStrv) path = tn_plugin_path ();
      g_autofree char *places = g_strjoinv (", ", path);

      return tn_command_fail (EX_UNAVAILABLE, "there are no plugins in %s", places);
    }
  return code;
}

int
tn_command_devices (int argc, char **argv)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new (), directories = g_ptr_array_new ();
  const TnOption options[] = {
    { "plugin-path", 'P', "DIR", "look for plugins here first; may be repeated", TN_OPTION_STRINGS,
      directories },
    { NULL },
  };
  int code = tn_options_parse (&usage, options, argc, argv, names), worst = EX_OK;

  if (code >= 0)
    return code;
  tn_command_plugin_path (directories);
  if (names->len == 0)
    return list ();
  for (guint i = 0; i < names->len; i++)
    {
      if (i)
        putchar ('\n');
      code = describe (names->pdata[i]);
      worst = MAX (worst, code);
    }
  return worst;
}
