/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fields of an instance as a{sv}, driven by the descriptor's table:
 *
 *   bool -> b, UINT -> y q u t, INT -> n n i x (there is no signed byte), several of these ->
 * arrays, BYTES -> ay, TIME -> x relative to now (the largest number: never), STRUCT -> a{sv} or
 * aa{sv}
 *
 * Loading trusts nothing: a name that the table does not know, one that comes twice, a wrong type
 * or length are errors; a field is missed unless it is newer than the saved version.
 */
#include "internal.h"

typedef struct {
  const char *device;
  uint32_t version;
  int64_t now;
  GError **error;
} Load;

/* ---- Types ---- */

static const char *
element_type (const TnField *f)
{
  switch (f->type)
    {
    case TN_FIELD_TYPE_BOOL: return "b";
    case TN_FIELD_TYPE_UINT:
      return f->size == 1 ? "y" : f->size == 2 ? "q" : f->size == 4 ? "u" : "t";
    case TN_FIELD_TYPE_INT: return f->size <= 2 ? "n" : f->size == 4 ? "i" : "x";
    case TN_FIELD_TYPE_BYTES: return "ay";
    case TN_FIELD_TYPE_TIME: return "x";
    default: return "a{sv}";
    }
}

/* A structure that the table declares as an array of one is saved as a plain one. */
static char *
field_type (const TnField *f)
{
  return g_strconcat (f->count > 1 ? "a" : "", element_type (f), NULL);
}

static uint64_t
get_unsigned (const uint8_t *at, size_t size)
{
  uint64_t value = 0;

  memcpy (&value, at, size);
  return value;
}

static int64_t
get_signed (const uint8_t *at, size_t size)
{
  unsigned shift = 64 - 8 * size;

  return (int64_t) (get_unsigned (at, size) << shift) >> shift;
}

static int64_t
saturating (__int128 value)
{
  return value >= INT64_MAX ? INT64_MAX - 1 : value <= INT64_MIN ? INT64_MIN + 1 : (int64_t) value;
}

/* ---- Saving ---- */

static GVariant *save_struct (const TnField *fields, const uint8_t *self, int64_t now);

static GVariant *
save_integer (const TnField *f, const uint8_t *at)
{
  uint64_t u = get_unsigned (at, f->size);
  int64_t i = get_signed (at, f->size);

  if (f->type == TN_FIELD_TYPE_INT)
    return f->size <= 2   ? g_variant_new_int16 (i)
           : f->size == 4 ? g_variant_new_int32 (i)
                          : g_variant_new_int64 (i);
  return f->size == 1   ? g_variant_new_byte (u)
         : f->size == 2 ? g_variant_new_uint16 (u)
         : f->size == 4 ? g_variant_new_uint32 (u)
                        : g_variant_new_uint64 (u);
}

static GVariant *
save_time (const uint8_t *at, int64_t now)
{
  int64_t when = get_signed (at, sizeof (int64_t));

  return g_variant_new_int64 (when == TN_TIME_NEVER ? TN_TIME_NEVER
                                                    : saturating ((__int128) when - now));
}

static GVariant *
save_element (const TnField *f, const uint8_t *at, int64_t now)
{
  switch (f->type)
    {
    case TN_FIELD_TYPE_BOOL: return g_variant_new_boolean (*at != 0);
    case TN_FIELD_TYPE_BYTES:
      return g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, at, f->size, 1);
    case TN_FIELD_TYPE_TIME: return save_time (at, now);
    case TN_FIELD_TYPE_STRUCT: return save_struct (f->fields, at, now);
    default: return save_integer (f, at);
    }
}

static GVariant *
save_field (const TnField *f, const uint8_t *at, int64_t now)
{
  GVariantBuilder builder;
  char *type;

  if (f->count == 1)
    return save_element (f, at, now);
  type = field_type (f);
  g_variant_builder_init (&builder, G_VARIANT_TYPE (type));
  g_free (type);
  for (size_t n = 0; n < f->count; n++)
    g_variant_builder_add_value (&builder, save_element (f, at + n * f->size, now));
  return g_variant_builder_end (&builder);
}

static GVariant *
save_struct (const TnField *fields, const uint8_t *self, int64_t now)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  for (const TnField *f = fields; f != NULL && f->name != NULL; f++)
    g_variant_builder_add (&builder, "{sv}", f->name, save_field (f, self + f->offset, now));
  return g_variant_builder_end (&builder);
}

GVariant *
tn_fields_save (TnInstance *instance)
{
  return save_struct (instance->plugin->fields, instance->self,
                      tn_clock_now (instance->device->machine->clock));
}

/* ---- Loading ---- */

static bool load_struct (const Load *load, const TnField *fields, uint8_t *self, GVariant *state);

static bool G_GNUC_PRINTF (2, 3) refuse (const Load *load, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (load->error, TN_ERROR, TN_ERROR_STATE, "%s: saved state: %s", load->device, text);
  g_free (text);
  return false;
}

static uint64_t
variant_integer (GVariant *v)
{
  switch (g_variant_get_type_string (v)[0])
    {
    case 'y': return g_variant_get_byte (v);
    case 'q': return g_variant_get_uint16 (v);
    case 'u': return g_variant_get_uint32 (v);
    case 't': return g_variant_get_uint64 (v);
    case 'n': return (int64_t) g_variant_get_int16 (v);
    case 'i': return (int64_t) g_variant_get_int32 (v);
    default: return g_variant_get_int64 (v);
    }
}

static bool
load_integer (const Load *load, const TnField *f, uint8_t *at, GVariant *v)
{
  uint64_t value = variant_integer (v);

  if (f->type == TN_FIELD_TYPE_INT && f->size == 1 && (int8_t) value != (int64_t) value)
    return refuse (load, "field '%s' is out of range", f->name);
  if (at != NULL)
    memcpy (at, &value, f->size);
  return true;
}

static bool
load_bytes (const Load *load, const TnField *f, uint8_t *at, GVariant *v)
{
  gsize size;
  const void *bytes = g_variant_get_fixed_array (v, &size, 1);

  if (size != f->size)
    return refuse (load, "field '%s' has %zu bytes, expected %zu", f->name, size, f->size);
  if (at != NULL)
    memcpy (at, bytes, size);
  return true;
}

static void
load_time (const Load *load, uint8_t *at, GVariant *v)
{
  int64_t value = g_variant_get_int64 (v);

  if (value != TN_TIME_NEVER)
    value = saturating ((__int128) value + load->now);
  if (at != NULL)
    memcpy (at, &value, sizeof value);
}

static bool
load_element (const Load *load, const TnField *f, uint8_t *at, GVariant *v)
{
  switch (f->type)
    {
    case TN_FIELD_TYPE_BOOL:
      if (at != NULL)
        *(bool *) at = g_variant_get_boolean (v);
      return true;
    case TN_FIELD_TYPE_BYTES: return load_bytes (load, f, at, v);
    case TN_FIELD_TYPE_TIME: load_time (load, at, v); return true;
    case TN_FIELD_TYPE_STRUCT: return load_struct (load, f->fields, at, v);
    default: return load_integer (load, f, at, v);
    }
}

static bool
load_array (const Load *load, const TnField *f, uint8_t *at, GVariant *v)
{
  bool valid = true;

  if (g_variant_n_children (v) != f->count)
    return refuse (load, "field '%s' has %zu elements, expected %zu", f->name,
                   g_variant_n_children (v), f->count);
  for (size_t n = 0; n < f->count && valid; n++)
    {
      GVariant *child = g_variant_get_child_value (v, n);

      valid = load_element (load, f, at ? at + n * f->size : NULL, child);
      g_variant_unref (child);
    }
  return valid;
}

static bool
load_field (const Load *load, const TnField *f, uint8_t *at, GVariant *v)
{
  char *type = field_type (f);
  bool typed = g_variant_is_of_type (v, G_VARIANT_TYPE (type));

  if (!typed)
    refuse (load, "field '%s' is of type '%s', expected '%s'", f->name,
            g_variant_get_type_string (v), type);
  g_free (type);
  return typed && (f->count == 1 ? load_element (load, f, at, v) : load_array (load, f, at, v));
}

static bool
load_one (const Load *load, const TnField *fields, uint8_t *self, const char *name, GVariant *v,
          GHashTable *seen)
{
  for (const TnField *f = fields; f != NULL && f->name != NULL; f++)
    if (strcmp (f->name, name) == 0)
      {
        if (!g_hash_table_add (seen, (void *) f))
          return refuse (load, "field '%s' comes twice", name);
        if (f->since > load->version)
          return refuse (load, "field '%s' does not belong to version %u", name, load->version);
        return load_field (load, f, self ? self + f->offset : NULL, v);
      }
  return refuse (load, "unknown field '%s'", name);
}

static bool
all_seen (const Load *load, const TnField *fields, GHashTable *seen)
{
  for (const TnField *f = fields; f != NULL && f->name != NULL; f++)
    if (f->since <= load->version && !g_hash_table_contains (seen, f))
      return refuse (load, "field '%s' is missing", f->name);
  return true;
}

static bool
load_struct (const Load *load, const TnField *fields, uint8_t *self, GVariant *state)
{
  GHashTable *seen = g_hash_table_new (NULL, NULL);
  GVariantIter iter;
  const char *name;
  GVariant *v;
  bool valid = true;

  g_variant_iter_init (&iter, state);
  while (valid && g_variant_iter_next (&iter, "{&sv}", &name, &v))
    {
      valid = load_one (load, fields, self, name, v, seen);
      g_variant_unref (v);
    }
  valid = valid && all_seen (load, fields, seen);
  g_hash_table_unref (seen);
  return valid;
}

bool
tn_fields_load (const TnField *fields, const char *device, void *self, GVariant *state,
                uint32_t version, int64_t now, GError **error)
{
  Load load = { device, version, now, error };

  return load_struct (&load, fields, self, state);
}
