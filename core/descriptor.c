/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of a plugin's descriptor: what a plugin's author got wrong is said once, at loading, with
 * the file's name.  A shared object can do what it likes, so this is no protection from malice.
 */
#include "internal.h"
#include "descriptor.h"

#define MAX_DEPTH 8    /* of structures within structures */
#define MAX_TABLE 4096 /* entries */
#define MAX_INSTANCE (64u << 20)

/* What a minor 0 descriptor of a device needs at least. */
#define LEAST_SIZE offsetof (TnPlugin, char_ops)

typedef struct {
  const char *path;
  const TnPlugin *plugin;
  GError **error;
} Check;

static bool G_GNUC_PRINTF (2, 3) fail (const Check *check, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (check->error, TN_ERROR, TN_ERROR_PLUGIN, "%s: %s", check->path, text);
  g_free (text);
  return false;
}

static bool
valid_name (const char *name)
{
  if (name == NULL || !g_ascii_islower (name[0]))
    return false;
  return strspn (name, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen (name)
         && strlen (name) < 64;
}

static bool
inside (const Check *check, size_t offset, size_t size)
{
  size_t whole = check->plugin->instance_size;

  return offset >= sizeof (TnDevice *) && offset <= whole && size <= whole - offset;
}

/* ---- Properties ---- */

static size_t
property_size (TnPropType type)
{
  switch (type)
    {
    case TN_PROP_TYPE_BOOL: return sizeof (bool);
    case TN_PROP_TYPE_UINT:
    case TN_PROP_TYPE_ENUM: return sizeof (uint32_t);
    case TN_PROP_TYPE_UINT64: return sizeof (uint64_t);
    case TN_PROP_TYPE_STRING:
    case TN_PROP_TYPE_LINK:
    case TN_PROP_TYPE_FILE: return sizeof (char *);
    default: return 0;
    }
}

static unsigned
choices (const TnProperty *p)
{
  unsigned n = 0;

  while (p->choices != NULL && p->choices[n] != NULL)
    n++;
  return n;
}

static bool
check_property (const Check *check, const TnProperty *p)
{
  size_t size = property_size (p->type);

  if (!valid_name (p->name))
    return fail (check, "property '%s': names are lower case words joined by '-'", p->name);
  if (size == 0)
    return fail (check, "property '%s' has no known type", p->name);
  if (!inside (check, p->offset, size))
    return fail (check, "property '%s' lies outside of the instance", p->name);
  if (p->type == TN_PROP_TYPE_ENUM && p->default_value >= choices (p))
    return fail (check, "property '%s': its default is none of its choices", p->name);
  if ((p->type == TN_PROP_TYPE_UINT || p->type == TN_PROP_TYPE_UINT64)
      && (p->min > p->max || p->default_value < p->min || p->default_value > p->max))
    return fail (check, "property '%s': its default is out of its range", p->name);
  if (p->type == TN_PROP_TYPE_UINT && p->max > UINT32_MAX)
    return fail (check, "property '%s': its range is wider than 32 bits", p->name);
  if (p->type == TN_PROP_TYPE_LINK
      && (p->link_kind < TN_KIND_DEVICE || p->link_kind > TN_KIND_DISPLAY))
    return fail (check, "property '%s' links to no known kind", p->name);
  return true;
}

static bool
check_properties (const Check *check)
{
  const TnProperty *first = check->plugin->properties;

  for (const TnProperty *p = first; p != NULL && p->name != NULL; p++)
    {
      if (p - first >= MAX_TABLE)
        return fail (check, "the property table has no end");
      if (!check_property (check, p))
        return false;
      for (const TnProperty *other = first; other < p; other++)
        if (strcmp (other->name, p->name) == 0)
          return fail (check, "two properties are named '%s'", p->name);
    }
  return true;
}

static bool
check_signals (const Check *check)
{
  const TnSignal *first = check->plugin->signals;

  for (const TnSignal *s = first; s != NULL && s->name != NULL; s++)
    {
      if (s - first >= MAX_TABLE)
        return fail (check, "the signal table has no end");
      if (!valid_name (s->name))
        return fail (check, "signal '%s': names are lower case words joined by '-'", s->name);
      for (const TnSignal *other = first; other < s; other++)
        if (strcmp (other->name, s->name) == 0)
          return fail (check, "two signals are named '%s'", s->name);
    }
  return true;
}

/* ---- Fields ---- */

static bool
field_size_known (const TnField *f)
{
  switch (f->type)
    {
    case TN_FIELD_TYPE_BOOL: return f->size == sizeof (bool);
    case TN_FIELD_TYPE_UINT:
    case TN_FIELD_TYPE_INT: return f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8;
    case TN_FIELD_TYPE_TIME: return f->size == sizeof (int64_t);
    case TN_FIELD_TYPE_BYTES: return f->size > 0 && f->count == 1;
    case TN_FIELD_TYPE_STRUCT: return f->size > 0 && f->fields != NULL;
    default: return false;
    }
}

static bool check_fields (const Check *check, const TnField *first, size_t from, size_t whole,
                          unsigned depth);

static bool
check_field (const Check *check, const TnField *f, size_t from, size_t whole, unsigned depth)
{
  if (!g_ascii_isalpha (f->name[0]) && f->name[0] != '_')
    return fail (check, "field '%s': names are those of members", f->name);
  if (!field_size_known (f) || f->count == 0)
    return fail (check, "field '%s' has a type that cannot be saved (size %zu, count %zu)", f->name,
                 f->size, f->count);
  if (f->offset < from || f->offset > whole || f->count > (whole - f->offset) / f->size)
    return fail (check, "field '%s' lies outside of its structure", f->name);
  if (f->since < 1 || f->since > check->plugin->state_version)
    return fail (check, "field '%s' is of version %u, but the state is of version %u", f->name,
                 f->since, check->plugin->state_version);
  return f->type != TN_FIELD_TYPE_STRUCT || check_fields (check, f->fields, 0, f->size, depth + 1);
}

static bool
check_fields (const Check *check, const TnField *first, size_t from, size_t whole, unsigned depth)
{
  if (depth > MAX_DEPTH)
    return fail (check, "structures of fields are nested too deeply");
  for (const TnField *f = first; f != NULL && f->name != NULL; f++)
    {
      if (f - first >= MAX_TABLE)
        return fail (check, "the field table has no end");
      if (!check_field (check, f, from, whole, depth))
        return false;
      for (const TnField *other = first; other < f; other++)
        if (strcmp (other->name, f->name) == 0)
          return fail (check, "two fields are named '%s'", f->name);
    }
  return true;
}

/* ---- The whole ---- */

static bool
has_property (const TnPlugin *plugin, const char *name)
{
  for (const TnProperty *p = plugin->properties; name != NULL && p != NULL && p->name != NULL; p++)
    if (strcmp (p->name, name) == 0)
      return true;
  return false;
}

static bool
check_operations (const Check *check)
{
  const TnPlugin *p = check->plugin;

  if (p->ops.realize == NULL)
    return fail (check, "the operation 'realize' is missing");
  if (p->kind == TN_KIND_CHAR && (p->char_ops == NULL || p->char_ops->send == NULL))
    return fail (check, "a character back end needs char_ops with 'send'");
  if (p->kind == TN_KIND_BLOCK
      && (p->block_ops == NULL || p->block_ops->info == NULL || p->block_ops->read == NULL
          || p->block_ops->write == NULL || p->block_ops->flush == NULL))
    return fail (check,
                 "a block back end needs block_ops with 'info', 'read', 'write' and 'flush'");
  if (p->kind == TN_KIND_DISPLAY && (p->display_ops == NULL || p->display_ops->update == NULL))
    return fail (check, "a display back end needs display_ops with 'update'");
  if (p->image_ops != NULL
      && (p->kind != TN_KIND_BLOCK || !has_property (p, p->image_ops->property)))
    return fail (check, "image_ops need a block back end, and one of its properties");
  return true;
}

static bool
check_header (const Check *check, const TnPlugin *raw)
{
  if (raw->magic != TN_PLUGIN_MAGIC)
    return fail (check, TN_PLUGIN_SYMBOL " is not a plugin descriptor (wrong magic)");
  if (raw->minor > TN_PLUGIN_MINOR || raw->struct_size > sizeof (TnPlugin))
    return fail (check,
                 "built for plugin interface %u.%u, but this Tenon has %u.%u; rebuild it, or "
                 "update Tenon",
                 TN_PLUGIN_MAJOR, raw->minor, TN_PLUGIN_MAJOR, TN_PLUGIN_MINOR);
  if (raw->struct_size < LEAST_SIZE)
    return fail (check, "its descriptor is too short (%u bytes)", raw->struct_size);
  return true;
}

bool
tn_descriptor_take (TnPlugin *plugin, const TnPlugin *raw, const char *path, GError **error)
{
  Check check = { path, plugin, error };

  if (!check_header (&check, raw))
    return false;
  memset (plugin, 0, sizeof *plugin);
  memcpy (plugin, raw, raw->struct_size);
  if (!valid_name (plugin->name))
    return fail (&check, "its name is missing, or not made of lower case letters, digits and '-'");
  if (plugin->kind < TN_KIND_DEVICE || plugin->kind > TN_KIND_DISPLAY)
    return fail (&check, "unknown kind %d", plugin->kind);
  if (plugin->instance_size < sizeof (TnDevice *) || plugin->instance_size > MAX_INSTANCE)
    return fail (&check, "instance size %zu is not possible", plugin->instance_size);
  if (plugin->state_version < 1)
    return fail (&check, "state versions start at 1");
  return check_properties (&check) && check_operations (&check) && check_signals (&check)
         && check_fields (&check, plugin->fields, sizeof (TnDevice *), plugin->instance_size, 0);
}
