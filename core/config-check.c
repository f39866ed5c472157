/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices of a configuration against the descriptors of their plugins: what can be known to be
 * wrong before anything is built.
 */
#include "configuration.h"

#include "suggest.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
  TnConfig *config;
  const TnConfigPlugins *plugins;
  GPtrArray *errors;
  GHashTable *users; /* back end's name -> "front.property" that names it */
} Check;

static const char *
kind_name (TnKind kind)
{
  switch (kind)
    {
    case TN_KIND_DEVICE: return "device";
    case TN_KIND_CHAR: return "character back end";
    case TN_KIND_BLOCK: return "block back end";
    case TN_KIND_DISPLAY: return "display back end";
    }
  return "plugin of another kind";
}

static const TnProperty *
find_property (const TnPlugin *plugin, const char *name)
{
  for (const TnProperty *p = plugin->properties; p && p->name; p++)
    if (tn_config_same_name (p->name, name))
      return p;
  return NULL;
}

static void
unknown_property (Check *c, const TnConfigDevice *d, const TnConfigValue *v)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autofree char *near = NULL, *all = NULL;

  for (const TnProperty *p = d->type->properties; p && p->name; p++)
    g_ptr_array_add (names, (char *) p->name);
  g_ptr_array_add (names, NULL);
  near = tn_suggest_text (v->name, (const char *const *) names->pdata);
  all = g_strjoinv (", ", (char **) names->pdata);
  tn_config_problem (c->errors, v->where, "%s: plugin %s has no property \"%s\"%s; it has %s",
                     d->name, d->type->name, v->name, near, *all ? all : "none");
}

/* ---- Links ---- */

static char *
near_devices (Check *c, const char *name, TnKind kind)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  for (guint i = 0; i < c->config->devices->len; i++)
    {
      const TnConfigDevice *d = c->config->devices->pdata[i];

      if (d->enabled && d->type && d->type->kind == kind)
        g_ptr_array_add (names, d->name);
    }
  g_ptr_array_add (names, NULL);
  return tn_suggest_text (name, (const char *const *) names->pdata);
}

static bool
check_link (Check *c, const TnConfigDevice *d, const TnProperty *p, TnConfigValue *v)
{
  const char *name;
  const TnConfigDevice *target;
  g_autofree char *near = NULL;
  char *user;

  if (!tn_config_value_string (v, &name, c->errors))
    return false;
  if (!*name)
    return true;
  target = tn_config_device (c->config, name);
  if (!target || !target->enabled)
    {
      near = near_devices (c, name, p->link_kind);
      tn_config_problem (c->errors, v->where,
                         "%s: %s: expected the name of a %s, but there is no "
                         "device \"%s\"%s%s",
                         d->name, v->name, kind_name (p->link_kind), name,
                         target ? " that is enabled" : "", near);
      return false;
    }
  if (target->type && target->type->kind != p->link_kind)
    {
      tn_config_problem (c->errors, v->where, "%s: %s: expected a %s, found %s, which is a %s",
                         d->name, v->name, kind_name (p->link_kind), name,
                         kind_name (target->type->kind));
      return false;
    }
  if ((user = g_hash_table_lookup (c->users, target->name)))
    tn_config_problem (c->errors, v->where, "%s: %s: %s serves %s already, and can serve only one",
                       d->name, v->name, name, user);
  g_hash_table_insert (c->users, target->name, g_strdup_printf ("%s.%s", d->name, v->name));
  return true;
}

/* ---- Files ---- */

/* What a device requires is read, and all that is a disk; the rest may be made, and so may what the
   plugin says. */
static bool
check_file (Check *c, const TnConfigDevice *d, const TnProperty *p, const char *path,
            const TnConfigValue *v)
{
  bool output = d->type->kind == TN_KIND_CHAR || (d->type->kind == TN_KIND_DEVICE && !p->required)
                || p->max != 0;
  g_autofree char *dir = g_path_get_dirname (path);
  const char *wanted = output ? dir : path;
  struct stat st;

  if (stat (wanted, &st) != 0)
    tn_config_problem (c->errors, v->where, "%s: %s: %s: %s", d->name, v->name, wanted,
                       g_strerror (errno));
  else if (!output && S_ISDIR (st.st_mode))
    tn_config_problem (c->errors, v->where, "%s: %s: %s: expected a file, found a directory",
                       d->name, v->name, path);
  else if (access (wanted, output ? X_OK : R_OK) != 0)
    tn_config_problem (c->errors, v->where, "%s: %s: %s: %s", d->name, v->name, wanted,
                       g_strerror (errno));
  else
    return true;
  return false;
}

/* ---- Properties ---- */

/* Returns the text for the device, or NULL after reporting. */
static char *
check_property (Check *c, const TnConfigDevice *d, const TnProperty *p, TnConfigValue *v)
{
  uint64_t n;
  bool on;
  const char *string;
  g_autofree char *path = NULL;

  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL:
      if (tn_config_value_bool (v, &on, c->errors))
        return g_strdup (on ? "true" : "false");
      break;
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_UINT64:
      if (tn_config_value_uint (v, p->min, p->max, &n, c->errors))
        return g_strdup_printf ("%" G_GUINT64_FORMAT, n);
      break;
    case TN_PROP_TYPE_ENUM:
      if (tn_config_value_choice (v, p->choices, &n, c->errors))
        return g_strdup (p->choices[n]);
      break;
    case TN_PROP_TYPE_STRING:
      if (tn_config_value_string (v, &string, c->errors))
        return g_strdup (string);
      break;
    case TN_PROP_TYPE_LINK:
      if (check_link (c, d, p, v))
        return g_strdup (v->string);
      break;
    case TN_PROP_TYPE_FILE:
      if (!tn_config_value_string (v, &string, c->errors))
        break;
      path = *string ? tn_config_absolute (v->where, string) : g_strdup ("");
      if (!*string || check_file (c, d, p, path, v))
        return g_steal_pointer (&path);
      break;
    case TN_PROP_TYPE_END: break;
    }
  return NULL;
}

/* Names in messages begin with the device: "com1: port". */
static void
check_value (Check *c, const TnConfigDevice *d, TnConfigValue *v)
{
  const TnProperty *p = find_property (d->type, v->name);
  char *name;

  if (!p)
    {
      unknown_property (c, d, v);
      return;
    }
  g_free (v->name);
  v->name = g_strdup (p->name);
  if (p->type == TN_PROP_TYPE_LINK || p->type == TN_PROP_TYPE_FILE)
    {
      v->checked = check_property (c, d, p, v);
      return;
    }
  name = v->name;
  v->name = g_strdup_printf ("%s: %s", d->name, name);
  v->checked = check_property (c, d, p, v);
  g_free (v->name);
  v->name = name;
}

static void
check_required (Check *c, const TnConfigDevice *d)
{
  for (const TnProperty *p = d->type->properties; p && p->name; p++)
    {
      bool given = false;

      for (guint i = 0; i < d->values->len; i++)
        given |= tn_config_same_name (((TnConfigValue *) d->values->pdata[i])->name, p->name);
      if (p->required && !given)
        tn_config_problem (c->errors, d->where, "%s: plugin %s requires the property \"%s\" (%s)",
                           d->name, d->type->name, p->name, p->blurb);
    }
}

/* ---- Plugins ---- */

static void
find_plugin (Check *c, TnConfigDevice *d)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) names = NULL;
  g_autofree char *near = NULL, *places = NULL;

  if (!d->plugin)
    return;
  if (strchr (d->plugin, '/') && access (d->plugin, R_OK) != 0)
    {
      tn_config_problem (c->errors, d->where, "%s: plugin: %s: %s", d->name, d->plugin,
                         g_strerror (errno));
      return;
    }
  d->type = c->plugins->find (c->plugins->opaque, d->plugin, &error);
  if (d->type)
    return;
  names = c->plugins->names (c->plugins->opaque);
  if (strchr (d->plugin, '/') || g_strv_contains ((const char *const *) names, d->plugin))
    {
      tn_config_problem (c->errors, d->where, "%s: %s", d->name, error->message);
      return;
    }
  near = tn_suggest_text (d->plugin, (const char *const *) names);
  places = c->plugins->places (c->plugins->opaque);
  tn_config_problem (c->errors, d->where, "%s: there is no plugin \"%s\"%s; looked in %s", d->name,
                     d->plugin, near, places);
}

void
tn_config_check (TnConfig *config, const TnConfigPlugins *plugins, GPtrArray *errors)
{
  Check c
      = { config, plugins, errors, g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free) };

  for (guint i = 0; i < config->devices->len; i++)
    {
      TnConfigDevice *d = config->devices->pdata[i];

      if (d->enabled)
        find_plugin (&c, d);
    }
  for (guint i = 0; i < config->devices->len; i++)
    {
      TnConfigDevice *d = config->devices->pdata[i];

      if (!d->enabled || !d->type)
        continue;
      for (guint j = 0; j < d->values->len; j++)
        check_value (&c, d, d->values->pdata[j]);
      check_required (&c, d);
    }
  g_hash_table_unref (c.users);
}
