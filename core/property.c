/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Properties: configured values are kept by the device as they were given (bool, integer, text), so
 * that they can be given to another build of the plugin at a swap; they are converted and checked
 * against a descriptor's table.
 */
#include "internal.h"

#include <errno.h>

typedef union {
  bool truth;
  uint64_t number;
  const char *text;
} Value;

const TnProperty *
tn_plugin_property (const TnPlugin *plugin, const char *name)
{
  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    if (strcmp (p->name, name) == 0)
      return p;
  return NULL;
}

/* ---- Conversion ---- */

static bool
unexpected (const TnProperty *p, GVariant *given, const char *expected, GError **error)
{
  char *found = g_variant_is_of_type (given, G_VARIANT_TYPE_STRING)
                    ? g_strdup_printf ("'%s'", g_variant_get_string (given, NULL))
                    : g_variant_print (given, FALSE);

  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s: expected %s, found %s", p->name, expected,
               found);
  g_free (found);
  return false;
}

static bool
to_truth (const TnProperty *p, GVariant *given, Value *value, GError **error)
{
  static const char *const yes[] = { "true", "yes", "on", "1", NULL };
  static const char *const no[] = { "false", "no", "off", "0", NULL };
  const char *text;

  if (g_variant_is_of_type (given, G_VARIANT_TYPE_BOOLEAN))
    {
      value->truth = g_variant_get_boolean (given);
      return true;
    }
  text = g_variant_is_of_type (given, G_VARIANT_TYPE_STRING) ? g_variant_get_string (given, NULL)
                                                             : "";
  value->truth = g_strv_contains (yes, text);
  return value->truth || g_strv_contains (no, text)
         || unexpected (p, given, "true or false", error);
}

static bool
parse_number (const char *text, uint64_t *number)
{
  char *end;

  if (!g_ascii_isdigit (text[0]))
    return false;
  errno = 0;
  *number = g_ascii_strtoull (text, &end, g_str_has_prefix (text, "0x") ? 16 : 10);
  return errno == 0 && *end == '\0';
}

static bool
to_number (const TnProperty *p, GVariant *given, Value *value, GError **error)
{
  char expected[96];
  bool valid = false;

  if (g_variant_is_of_type (given, G_VARIANT_TYPE_INT64))
    {
      valid = g_variant_get_int64 (given) >= 0;
      value->number = g_variant_get_int64 (given);
    }
  else if (g_variant_is_of_type (given, G_VARIANT_TYPE_STRING))
    valid = parse_number (g_variant_get_string (given, NULL), &value->number);
  if (valid && value->number >= p->min && value->number <= p->max)
    return true;
  if (p->max > 0xffff || p->min > 0xff)
    g_snprintf (expected, sizeof expected,
                "a number from 0x%" G_GINT64_MODIFIER "x to 0x%" G_GINT64_MODIFIER "x", p->min,
                p->max);
  else
    g_snprintf (expected, sizeof expected, "a number from %u to %u", (unsigned) p->min,
                (unsigned) p->max);
  return unexpected (p, given, expected, error);
}

static bool
to_choice (const TnProperty *p, GVariant *given, Value *value, GError **error)
{
  char *list, *expected;

  if (g_variant_is_of_type (given, G_VARIANT_TYPE_STRING))
    for (value->number = 0; p->choices[value->number] != NULL; value->number++)
      if (strcmp (p->choices[value->number], g_variant_get_string (given, NULL)) == 0)
        return true;
  list = g_strjoinv ("', '", (char **) p->choices);
  expected = g_strdup_printf ("one of '%s'", list);
  unexpected (p, given, expected, error);
  g_free (expected);
  g_free (list);
  return false;
}

static bool
to_text (const TnProperty *p, GVariant *given, Value *value, GError **error)
{
  if (!g_variant_is_of_type (given, G_VARIANT_TYPE_STRING))
    return unexpected (p, given, p->type == TN_PROP_TYPE_LINK ? "the name of a device" : "a text",
                       error);
  value->text = g_variant_get_string (given, NULL);
  return true;
}

static bool
convert (const TnProperty *p, GVariant *given, Value *value, GError **error)
{
  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL: return to_truth (p, given, value, error);
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_UINT64: return to_number (p, given, value, error);
    case TN_PROP_TYPE_ENUM: return to_choice (p, given, value, error);
    default: return to_text (p, given, value, error);
    }
}

/* ---- Configuration ---- */

static bool
unknown (const TnPlugin *plugin, const char *name, GError **error)
{
  GPtrArray *names = g_ptr_array_new ();
  const char *meant;

  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    g_ptr_array_add (names, (char *) p->name);
  g_ptr_array_add (names, NULL);
  meant = tn_suggest (name, (const char *const *) names->pdata);
  g_ptr_array_unref (names);
  if (meant != NULL)
    g_set_error (error, TN_ERROR, TN_ERROR_MISSING,
                 "plugin %s has no property '%s'; did you mean '%s'?", plugin->name, name, meant);
  else
    g_set_error (error, TN_ERROR, TN_ERROR_MISSING, "plugin %s has no property '%s'", plugin->name,
                 name);
  return false;
}

static bool
configure (TnDevice *device, const char *name, GVariant *given, GError **error)
{
  const TnPlugin *plugin = device->instance->plugin;
  const TnProperty *p = tn_plugin_property (plugin, name);
  Value value;
  bool done = false;

  g_variant_ref_sink (given);
  if (p == NULL)
    unknown (plugin, name, error);
  else if (device->instance->realized)
    g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s: can be set only before the machine starts",
                 name);
  else if (convert (p, given, &value, error))
    {
      g_hash_table_insert (device->values, g_strdup (name), g_variant_ref (given));
      done = true;
    }
  g_variant_unref (given);
  return done;
}

bool
tn_device_config_string (TnDevice *device, const char *name, const char *value, GError **error)
{
  if (!g_utf8_validate (value, -1, NULL))
    {
      g_set_error (error, TN_ERROR, TN_ERROR_CONFIG, "%s: expected a text in UTF-8", name);
      return false;
    }
  return configure (device, name, g_variant_new_string (value), error);
}

bool
tn_device_config_int (TnDevice *device, const char *name, int64_t value, GError **error)
{
  return configure (device, name, g_variant_new_int64 (value), error);
}

bool
tn_device_config_bool (TnDevice *device, const char *name, bool value, GError **error)
{
  return configure (device, name, g_variant_new_boolean (value), error);
}

bool
tn_properties_check (TnDevice *device, const TnPlugin *plugin, GError **error)
{
  GHashTableIter iter;
  const char *name;
  GVariant *given;
  Value value;

  g_hash_table_iter_init (&iter, device->values);
  while (g_hash_table_iter_next (&iter, (void **) &name, (void **) &given))
    {
      const TnProperty *p = tn_plugin_property (plugin, name);

      if (p == NULL ? !unknown (plugin, name, error) : !convert (p, given, &value, error))
        {
          g_prefix_error (error, "%s: ", device->name);
          return false;
        }
    }
  return true;
}

/* ---- Links ---- */

static const char *
kind_name (TnKind kind)
{
  return kind == TN_KIND_CHAR    ? "character back end"
         : kind == TN_KIND_BLOCK ? "disk back end"
         : kind == TN_KIND_DISPLAY ? "display back end"
                                 : "device";
}

static bool
link_is (TnMachine *m, const char *name, TnKind kind, TnDevice **found)
{
  *found = tn_machine_find (m, name);
  if (*found != NULL)
    return (*found)->instance->plugin->kind == kind;
  return (kind == TN_KIND_CHAR && tn_char_has_host (m, name))
         || (kind == TN_KIND_BLOCK && tn_block_has_host (m, name));
}

bool
tn_properties_check_links (TnDevice *device, GError **error)
{
  const TnPlugin *plugin = device->instance->plugin;
  TnDevice *found;

  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    {
      GVariant *given = g_hash_table_lookup (device->values, p->name);
      const char *target
          = given && p->type == TN_PROP_TYPE_LINK ? g_variant_get_string (given, NULL) : "";

      if (*target == '\0' || link_is (device->machine, target, p->link_kind, &found))
        continue;
      if (found == NULL)
        return tn_device_fail (device, error, TN_ERROR_MISSING, "%s: there is no device named '%s'",
                               p->name, target);
      return tn_device_fail (device, error, TN_ERROR_CONFIG, "%s: expected a %s, but '%s' is a %s",
                             p->name, kind_name (p->link_kind), target,
                             kind_name (found->instance->plugin->kind));
    }
  return true;
}

/* ---- Into the instance, and out ---- */

static const char *
keep_text (TnInstance *instance, const TnProperty *p, const char *text)
{
  const char *base = instance->device->machine->base_dir;
  const char *kept;
  char *path;

  if (text == NULL
      || ((p->type == TN_PROP_TYPE_LINK || p->type == TN_PROP_TYPE_FILE) && *text == '\0'))
    return NULL;
  if (p->type != TN_PROP_TYPE_FILE || g_path_is_absolute (text))
    return g_string_chunk_insert (instance->strings, text);
  path = g_canonicalize_filename (text, base);
  kept = g_string_chunk_insert (instance->strings, path);
  g_free (path);
  return kept;
}

static void
store (TnInstance *instance, const TnProperty *p, const Value *value)
{
  uint8_t *member = (uint8_t *) instance->self + p->offset;

  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL: *(bool *) member = value->truth; break;
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_ENUM: *(uint32_t *) member = value->number; break;
    case TN_PROP_TYPE_UINT64: *(uint64_t *) member = value->number; break;
    default: *(const char **) member = keep_text (instance, p, value->text); break;
    }
}

static void
store_default (TnInstance *instance, const TnProperty *p)
{
  Value value;

  if (p->type == TN_PROP_TYPE_BOOL)
    value.truth = p->default_value != 0;
  else if (p->type == TN_PROP_TYPE_STRING || p->type == TN_PROP_TYPE_LINK
           || p->type == TN_PROP_TYPE_FILE)
    value.text = p->default_string;
  else
    value.number = p->default_value;
  store (instance, p, &value);
}

bool
tn_properties_apply (TnInstance *instance, GError **error)
{
  TnDevice *device = instance->device;

  for (const TnProperty *p = instance->plugin->properties; p != NULL && p->name != NULL; p++)
    {
      GVariant *given = g_hash_table_lookup (device->values, p->name);
      Value value;

      if (given == NULL && p->required)
        return tn_device_fail (device, error, TN_ERROR_CONFIG, "%s is missing: %s", p->name,
                               p->blurb);
      if (given == NULL)
        store_default (instance, p);
      else if (convert (p, given, &value, error))
        store (instance, p, &value);
      else
        {
          g_prefix_error (error, "%s: ", device->name);
          return false;
        }
    }
  return true;
}

void
tn_property_set_file (TnInstance *instance, const char *name, const char *path)
{
  const TnProperty *p = tn_plugin_property (instance->plugin, name);
  Value value = { .text = path };

  if (p == NULL || p->type != TN_PROP_TYPE_FILE)
    return;
  if (path == NULL)
    g_hash_table_remove (instance->device->values, name);
  else
    g_hash_table_insert (instance->device->values, g_strdup (name),
                         g_variant_ref_sink (g_variant_new_string (path)));
  store (instance, p, &value);
}

void
tn_property_get (TnInstance *instance, const TnProperty *p, GValue *value)
{
  const uint8_t *member = (const uint8_t *) instance->self + p->offset;

  switch (p->type)
    {
    case TN_PROP_TYPE_BOOL: g_value_set_boolean (value, *(const bool *) member); break;
    case TN_PROP_TYPE_UINT: g_value_set_uint (value, *(const uint32_t *) member); break;
    case TN_PROP_TYPE_ENUM:
      g_value_set_string (value, p->choices[*(const uint32_t *) member]);
      break;
    case TN_PROP_TYPE_UINT64: g_value_set_uint64 (value, *(const uint64_t *) member); break;
    default: g_value_set_string (value, *(const char *const *) member); break;
    }
}
