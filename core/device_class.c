/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * GObject classes made from descriptors.  A class stands for one schema, that is, a plugin's name
 * with the names and types of its properties and signals; all its code and strings belong to the
 * core, as GLib never forgets a type.  An object of such a class is a device's card: what scripts
 * and the control interface see.  Properties are read only, as a running device takes no new ones.
 *
 * Types of properties: bool -> boolean, uint -> uint, uint64 -> uint64, the rest -> string.
 */
#include "internal.h"

typedef struct {
  GObject parent;
  TnDevice *device; /* NULL when it is gone */
} TnCard;

typedef struct {
  GObjectClass parent;
} TnCardClass;

/* What a class is made from; owned by the table of schemata for ever. */
typedef struct {
  GPtrArray *names; /* of properties; id n + 1 */
  GPtrArray *blurbs;
  GArray *types; /* TnPropType */
  GPtrArray *signals;
  GArray *values; /* bool: has a value */
} Schema;

GType tn_card_get_type (void);
G_DEFINE_ABSTRACT_TYPE (TnCard, tn_card, G_TYPE_OBJECT)

static void
tn_card_class_init (TnCardClass *class)
{
}

static void
tn_card_init (TnCard *card)
{
}

/* ---- Schemata ---- */

static char *
schema_key (const TnPlugin *plugin)
{
  GString *key = g_string_new (plugin->name);

  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    g_string_append_printf (key, " %s:%d", p->name, p->type);
  for (const TnSignal *s = plugin->signals; s != NULL && s->name != NULL; s++)
    g_string_append_printf (key, " !%s:%d", s->name, s->has_value);
  return g_string_free (key, FALSE);
}

static Schema *
schema_new (const TnPlugin *plugin)
{
  Schema *schema = g_new0 (Schema, 1);

  schema->names = g_ptr_array_new ();
  schema->blurbs = g_ptr_array_new ();
  schema->types = g_array_new (FALSE, FALSE, sizeof (TnPropType));
  schema->signals = g_ptr_array_new ();
  schema->values = g_array_new (FALSE, FALSE, sizeof (bool));
  for (const TnProperty *p = plugin->properties; p != NULL && p->name != NULL; p++)
    {
      g_ptr_array_add (schema->names, (char *) g_intern_string (p->name));
      g_ptr_array_add (schema->blurbs, (char *) g_intern_string (p->blurb));
      g_array_append_val (schema->types, p->type);
    }
  for (const TnSignal *s = plugin->signals; s != NULL && s->name != NULL; s++)
    {
      g_ptr_array_add (schema->signals, (char *) g_intern_string (s->name));
      g_array_append_val (schema->values, s->has_value);
    }
  return schema;
}

static void
card_get_property (GObject *object, guint id, GValue *value, GParamSpec *spec)
{
  TnCard *card = (TnCard *) object;
  const TnProperty *p;

  if (card->device == NULL)
    return;
  p = tn_plugin_property (card->device->instance->plugin, spec->name);
  if (p != NULL && card->device->instance->realized)
    tn_property_get (card->device->instance, p, value);
}

static GParamSpec *
make_spec (const char *name, const char *blurb, TnPropType type)
{
  GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  switch (type)
    {
    case TN_PROP_TYPE_BOOL: return g_param_spec_boolean (name, name, blurb, FALSE, flags);
    case TN_PROP_TYPE_UINT: return g_param_spec_uint (name, name, blurb, 0, G_MAXUINT, 0, flags);
    case TN_PROP_TYPE_UINT64:
      return g_param_spec_uint64 (name, name, blurb, 0, G_MAXUINT64, 0, flags);
    default: return g_param_spec_string (name, name, blurb, NULL, flags);
    }
}

static void
card_class_init (void *class, void *data)
{
  const Schema *schema = data;

  G_OBJECT_CLASS (class)->get_property = card_get_property;
  for (unsigned n = 0; n < schema->names->len; n++)
    g_object_class_install_property (class, n + 1,
                                     make_spec (schema->names->pdata[n], schema->blurbs->pdata[n],
                                                g_array_index (schema->types, TnPropType, n)));
  for (unsigned n = 0; n < schema->signals->len; n++)
    {
      GType type = G_TYPE_UINT64;

      g_signal_newv (schema->signals->pdata[n], G_OBJECT_CLASS_TYPE (class), G_SIGNAL_RUN_LAST,
                     NULL, NULL, NULL, NULL, G_TYPE_NONE, g_array_index (schema->values, bool, n),
                     &type);
    }
}

static GType
schema_type (const TnPlugin *plugin)
{
  static GMutex lock;
  static GHashTable *types; /* key -> GType */
  char *key = schema_key (plugin);
  GType type;

  g_mutex_lock (&lock);
  if (types == NULL)
    types = g_hash_table_new (g_str_hash, g_str_equal);
  type = GPOINTER_TO_SIZE (g_hash_table_lookup (types, key));
  if (type == 0)
    {
      char *name = g_strdup_printf ("TnCard-%s-%u", plugin->name, g_hash_table_size (types));
      GTypeInfo info = { .class_size = sizeof (TnCardClass),
                         .class_init = card_class_init,
                         .class_data = schema_new (plugin),
                         .instance_size = sizeof (TnCard) };

      type = g_type_register_static (tn_card_get_type (), name, &info, 0);
      g_hash_table_insert (types, g_strdup (key), GSIZE_TO_POINTER (type));
      g_free (name);
    }
  g_mutex_unlock (&lock);
  g_free (key);
  return type;
}

/* ---- Cards ---- */

GObject *
tn_card_new (TnDevice *device, const TnPlugin *plugin)
{
  TnCard *card = g_object_new (schema_type (plugin), NULL);

  card->device = device;
  return G_OBJECT (card);
}

bool
tn_card_suits (GObject *card, const TnPlugin *plugin)
{
  return G_OBJECT_TYPE (card) == schema_type (plugin);
}

void
tn_card_forget (GObject *card)
{
  ((TnCard *) card)->device = NULL;
}

void
tn_card_emit (GObject *card, const char *signal, uint64_t value)
{
  guint id = g_signal_lookup (signal, G_OBJECT_TYPE (card));
  GSignalQuery query;

  if (id == 0)
    return;
  g_signal_query (id, &query);
  if (query.n_params == 1)
    g_signal_emit (card, id, 0, (guint64) value);
  else
    g_signal_emit (card, id, 0);
}
