/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading tenon.cfg(5): `machine`, a group of the settings in machine_keys, and `devices`, a list
 * of groups with `name`, `plugin`, `enabled` and properties.  ORDER: machine_keys stands in
 * tenon.cfg.5, too.
 */
#include "configuration.h"

#include "config-text.h"
#include "keymap.h"
#include "suggest.h"

#include <libconfig.h>
#include <string.h>

#define DEVICES_MAX 256
#define DEVICE_NAME_MAX 32

typedef enum { KEY_UINT, KEY_BOOL, KEY_STRING, KEY_PATH, KEY_CHOICE, KEY_RTC } KeyType;

typedef struct {
  const char *name;
  KeyType type;
  size_t offset;
  uint64_t min, max;
  const char *const *choices;
} Key;

static const char *const clock_choices[] = { "real", "counted", NULL };
static const char *const fault_choices[] = { "reset", "stop", NULL };

/* ORDER: TnConfigEngine */
static const char *const engine_choices[] = { "translate", "interpret", NULL };
/* ORDER: TnConfigDisplay */
static const char *const display_choices[] = { "auto", "none", "text", "sdl", "vnc", NULL };

static const Key machine_keys[] = {
  { "name", KEY_STRING, offsetof (TnConfig, name) },
  { "memory", KEY_UINT, offsetof (TnConfig, memory), 1, 3072 },
  { "clock", KEY_CHOICE, offsetof (TnConfig, clock), .choices = clock_choices },
  { "instructions-per-second", KEY_UINT, offsetof (TnConfig, instructions_per_second), 1000,
    100000000000 },
  { "rtc", KEY_RTC },
  { "engine", KEY_CHOICE, offsetof (TnConfig, engine), .choices = engine_choices },
  { "triple-fault", KEY_CHOICE, offsetof (TnConfig, triple_fault), .choices = fault_choices },
  { "display", KEY_CHOICE, offsetof (TnConfig, display), .choices = display_choices },
  { "keyboard", KEY_CHOICE, offsetof (TnConfig, keyboard), .choices = tn_keymap_names },
  { "additions", KEY_BOOL, offsetof (TnConfig, additions) },
};
static const Key cpu_keys[] = {
  { "apic", KEY_BOOL, offsetof (TnConfig, apic) },
  { "sse2", KEY_BOOL, offsetof (TnConfig, sse2) },
  { "tsc-hz", KEY_UINT, offsetof (TnConfig, tsc_hz), 1000000, 10000000000 },
  { "apic-bus-hz", KEY_UINT, offsetof (TnConfig, apic_bus_hz), 1000000, 1000000000 },
  { "fast-io", KEY_BOOL, offsetof (TnConfig, fast_io) },
  { "host-mmu", KEY_BOOL, offsetof (TnConfig, host_mmu) },
  { "perf-map", KEY_BOOL, offsetof (TnConfig, perf_map) },
  { "jitdump", KEY_PATH, offsetof (TnConfig, jitdump) },
  { "gdb-jit", KEY_BOOL, offsetof (TnConfig, gdb_jit) },
};

typedef struct {
  TnConfig *config;
  TnConfigText *text;
  GPtrArray *errors;
} Loader;

/* ---- Values ---- */

static void
value_free (TnConfigValue *v)
{
  g_free (v->name);
  g_free (v->string);
  g_free (v->checked);
  g_free (v);
}

static void
device_free (TnConfigDevice *d)
{
  g_free (d->name);
  g_free (d->plugin);
  g_ptr_array_unref (d->values);
  g_free (d);
}

static TnConfigWhere
where (const Loader *l, const config_setting_t *s)
{
  TnConfigWhere w = { l->config->file, 0 };
  const char *file = tn_config_text_where (l->text, config_setting_source_line (s), &w.line);

  for (guint i = 0; i < l->config->files->len; i++)
    if (strcmp (l->config->files->pdata[i], file) == 0)
      w.file = l->config->files->pdata[i];
  return w;
}

static TnConfigValue *
value_new (const Loader *l, const config_setting_t *s)
{
  TnConfigValue *v = g_new0 (TnConfigValue, 1);
  bool hex = config_setting_get_format (s) == CONFIG_FORMAT_HEX;

  v->name = g_strdup (config_setting_name (s) ? config_setting_name (s) : "");
  v->where = where (l, s);
  switch (config_setting_type (s))
    {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
      v->type = TN_CONFIG_INT;
      v->integer
          = config_setting_type (s) == CONFIG_TYPE_INT
                ? hex ? (int64_t) (uint32_t) config_setting_get_int (s) : config_setting_get_int (s)
                : config_setting_get_int64 (s);
      v->unsigned_ = hex;
      v->string = hex ? g_strdup_printf ("%#" G_GINT64_MODIFIER "x", v->integer)
                      : g_strdup_printf ("%" G_GINT64_FORMAT, v->integer);
      break;
    case CONFIG_TYPE_BOOL:
      v->type = TN_CONFIG_BOOL;
      v->integer = config_setting_get_bool (s);
      v->string = g_strdup (v->integer ? "true" : "false");
      break;
    case CONFIG_TYPE_FLOAT:
      v->type = TN_CONFIG_FLOAT;
      v->real = config_setting_get_float (s);
      v->string = g_strdup_printf ("%g", v->real);
      break;
    case CONFIG_TYPE_STRING:
      v->type = TN_CONFIG_STRING;
      v->string = g_strdup (config_setting_get_string (s));
      break;
    default:
      v->type = TN_CONFIG_GROUP;
      v->string = g_strdup (config_setting_is_group (s)  ? "a group"
                            : config_setting_is_list (s) ? "a list"
                                                         : "an array");
    }
  if (!v->string)
    v->string = g_strdup ("");
  return v;
}

/* ---- machine ---- */

static void
set_rtc (TnConfig *c, const TnConfigValue *v, GPtrArray *errors)
{
  bool text = v->type == TN_CONFIG_TEXT, word = text || v->type == TN_CONFIG_STRING;
  int64_t seconds = v->integer;
  char *end = NULL;

  if (text)
    seconds = g_ascii_strtoll (v->string, &end, 10);
  if (word && (strcmp (v->string, "utc") == 0 || strcmp (v->string, "localtime") == 0))
    c->rtc_local = *v->string == 'l';
  else if ((v->type == TN_CONFIG_INT || (text && *v->string && *end == 0))
           && ABS (seconds) <= G_MAXINT32)
    c->rtc_offset = seconds;
  else
    tn_config_wrong (v, errors, "\"utc\", \"localtime\" or a number of seconds");
}

static void
set_key (TnConfig *c, const Key *key, const TnConfigValue *v, GPtrArray *errors)
{
  void *member = (char *) c + key->offset;
  const char *string;

  switch (key->type)
    {
    case KEY_UINT: tn_config_value_uint (v, key->min, key->max, member, errors); break;
    case KEY_BOOL: tn_config_value_bool (v, member, errors); break;
    case KEY_CHOICE: tn_config_value_choice (v, key->choices, member, errors); break;
    case KEY_RTC: set_rtc (c, v, errors); break;
    case KEY_STRING:
    case KEY_PATH:
      if (tn_config_value_string (v, &string, errors))
        {
          g_free (*(char **) member);
          *(char **) member = key->type == KEY_PATH ? tn_config_absolute (v->where, string)
                                                    : g_strdup (string);
        }
      break;
    }
}

static const Key *
find_key (const Key *keys, size_t n, const char *name)
{
  for (size_t i = 0; i < n; i++)
    if (tn_config_same_name (keys[i].name, name))
      return &keys[i];
  return NULL;
}

static void
unknown_key (const Key *keys, size_t n, const char *group, const TnConfigValue *v,
             GPtrArray *errors)
{
  const char *names[16] = { NULL };
  g_autofree char *near = NULL;
  g_autoptr (GString) all = g_string_new (NULL);

  for (size_t i = 0; i < n; i++)
    {
      names[i] = keys[i].name;
      g_string_append_printf (all, "%s%s", i ? ", " : "", keys[i].name);
    }
  if (keys == machine_keys)
    {
      names[n] = "cpu";
      g_string_append (all, ", cpu");
    }
  near = tn_suggest_text (v->name, names);
  tn_config_problem (errors, v->where, "%s has no setting \"%s\"%s; it has %s", group, v->name,
                     near, all->str);
}

static void
set_keys (Loader *l, const Key *keys, size_t n, const char *group, const config_setting_t *s)
{
  guint64 seen = 0;

  for (int i = 0; i < config_setting_length (s); i++)
    {
      config_setting_t *child = config_setting_get_elem (s, i);
      TnConfigValue *v = value_new (l, child);
      const Key *key = find_key (keys, n, v->name);

      if (keys == machine_keys && strcmp (v->name, "cpu") == 0)
        {
          if (config_setting_is_group (child))
            set_keys (l, cpu_keys, G_N_ELEMENTS (cpu_keys), "machine.cpu", child);
          else
            tn_config_problem (l->errors, v->where, "cpu: expected a group { ... }, found %s",
                               v->string);
        }
      else if (!key)
        unknown_key (keys, n, group, v, l->errors);
      else if (seen & (1u << (key - keys)))
        tn_config_problem (l->errors, v->where, "%s is set twice", v->name);
      else
        {
          seen |= 1u << (key - keys);
          set_key (l->config, key, v, l->errors);
        }
      value_free (v);
    }
}

/* ---- devices ---- */

static bool
good_device_name (const char *name)
{
  size_t n = strlen (name);

  return n > 0 && n <= DEVICE_NAME_MAX && g_ascii_isalpha (*name)
         && strspn (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n
         && strcmp (name, "machine") != 0 && strcmp (name, "cpu") != 0
         && strcmp (name, "tenon") != 0;
}

static void
device_value (Loader *l, TnConfigDevice *d, TnConfigValue *v)
{
  const char *string;

  if (strcmp (v->name, "name") == 0 && tn_config_value_string (v, &string, l->errors))
    d->name = g_strdup (string);
  else if (strcmp (v->name, "plugin") == 0 && tn_config_value_string (v, &string, l->errors))
    d->plugin = strchr (string, '/') ? tn_config_absolute (v->where, string) : g_strdup (string);
  else if (strcmp (v->name, "enabled") == 0)
    tn_config_value_bool (v, &d->enabled, l->errors);
  else if (strcmp (v->name, "name") != 0 && strcmp (v->name, "plugin") != 0)
    {
      for (guint i = 0; i < d->values->len; i++)
        {
          const TnConfigValue *other = d->values->pdata[i];

          if (tn_config_same_name (v->name, other->name))
            tn_config_problem (l->errors, v->where, "%s is set twice; first in line %u", v->name,
                               other->where.line);
        }
      g_ptr_array_add (d->values, v);
      return;
    }
  value_free (v);
}

static void
add_device (Loader *l, const config_setting_t *s)
{
  TnConfigDevice *d = g_new0 (TnConfigDevice, 1), *other;
  guint before = l->errors->len;

  d->where = where (l, s);
  d->enabled = true;
  d->values = g_ptr_array_new_with_free_func ((GDestroyNotify) value_free);
  for (int i = 0; i < config_setting_length (s); i++)
    device_value (l, d, value_new (l, config_setting_get_elem (s, i)));
  if (!d->name && l->errors->len == before)
    tn_config_problem (l->errors, d->where,
                       "expected the setting \"name\" in each device, found none");
  else if (d->name && !good_device_name (d->name))
    tn_config_problem (
        l->errors, d->where,
        "name: expected a letter, then letters, digits, '-' and '_', at most %d, and "
        "not machine, cpu or tenon",
        DEVICE_NAME_MAX);
  else if (d->name && (other = tn_config_device (l->config, d->name)))
    tn_config_problem (l->errors, d->where, "there are two devices \"%s\"; the first is in %s:%u",
                       d->name, other->where.file, other->where.line);
  else if (d->name)
    {
      if (!d->plugin && l->errors->len == before)
        tn_config_problem (l->errors, d->where, "%s: expected the setting \"plugin\", found none",
                           d->name);
      g_ptr_array_add (l->config->devices, d);
      return;
    }
  device_free (d);
}

static void
add_devices (Loader *l, const config_setting_t *list)
{
  int n = config_setting_length (list);

  if (!config_setting_is_list (list))
    {
      tn_config_problem (l->errors, where (l, list),
                         "devices: expected a list ( { ... }, { ... } ), found %s",
                         config_setting_is_group (list) ? "a group" : "something else");
      return;
    }
  for (int i = 0; i < n && i < DEVICES_MAX; i++)
    {
      config_setting_t *s = config_setting_get_elem (list, i);

      if (config_setting_is_group (s))
        add_device (l, s);
      else
        tn_config_problem (l->errors, where (l, s),
                           "devices: expected a group { name = ...; plugin = ...; }");
    }
  if (n > DEVICES_MAX)
    tn_config_problem (l->errors, where (l, list), "expected at most %d devices, found %d",
                       DEVICES_MAX, n);
}

/* ---- Command line ---- */

static void
set_device (Loader *l, const char *name, TnConfigValue *v)
{
  TnConfigDevice *d = tn_config_device (l->config, name);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autofree char *near = NULL;

  if (d)
    {
      for (guint i = d->values->len; i-- > 0;)
        if (tn_config_same_name (((TnConfigValue *) d->values->pdata[i])->name, v->name))
          g_ptr_array_remove_index (d->values, i);
      if (strcmp (v->name, "plugin") == 0)
        g_clear_pointer (&d->plugin, g_free);
      if (strcmp (v->name, "name") == 0)
        {
          tn_config_problem (l->errors, v->where, "the name of %s cannot be changed", name);
          value_free (v);
        }
      else
        device_value (l, d, v);
      return;
    }
  g_ptr_array_add (names, (char *) "machine");
  for (guint i = 0; i < l->config->devices->len; i++)
    g_ptr_array_add (names, ((TnConfigDevice *) l->config->devices->pdata[i])->name);
  g_ptr_array_add (names, NULL);
  near = tn_suggest_text (name, (const char *const *) names->pdata);
  tn_config_problem (l->errors, v->where, "there is no device \"%s\"%s", name, near);
  value_free (v);
}

static void
set_machine (Loader *l, bool cpu, TnConfigValue *v)
{
  const Key *keys = cpu ? cpu_keys : machine_keys;
  size_t n = cpu ? G_N_ELEMENTS (cpu_keys) : G_N_ELEMENTS (machine_keys);
  const Key *key = find_key (keys, n, v->name);

  if (key)
    set_key (l->config, key, v, l->errors);
  else
    unknown_key (keys, n, cpu ? "machine.cpu" : "machine", v, l->errors);
  value_free (v);
}

/* Settings of the machine first: they may add a device that others are about. */
static bool
sets_machine (const char *set)
{
  return g_str_has_prefix (set, "machine.");
}

static void
apply_set (Loader *l, const char *set)
{
  const char *equals = strchr (set, '=');
  g_autofree char *path = equals ? g_strndup (set, equals - set) : NULL;
  char *dot = path ? strrchr (path, '.') : NULL;
  TnConfigValue *v;

  if (!dot || dot == path || !dot[1])
    {
      tn_config_problem (l->errors, (TnConfigWhere){ 0 },
                         "expected DEVICE.PROPERTY=VALUE or machine.SETTING=VALUE, found \"%s\"",
                         set);
      return;
    }
  *dot = 0;
  v = g_new0 (TnConfigValue, 1);
  v->type = TN_CONFIG_TEXT;
  v->name = g_strdup (dot + 1);
  v->string = g_strdup (equals + 1);
  if (strcmp (path, "machine") == 0 || strcmp (path, "machine.cpu") == 0)
    set_machine (l, path[strlen ("machine")] == '.', v);
  else
    set_device (l, path, v);
}

/* ---- Display ---- */

static TnConfigValue *
text_value (const char *name, const char *text)
{
  TnConfigValue *v = g_new0 (TnConfigValue, 1);

  v->type = TN_CONFIG_TEXT;
  v->name = g_strdup (name);
  v->string = g_strdup (text);
  return v;
}

/* Display back ends are known by their plugins' names: display-sdl is what "sdl" asks for.  One
   that was asked for stands in for those of the file; without a wish there is a window where there
   is a desktop. */
static void
add_display (TnConfig *config)
{
  bool automatic = config->display == TN_CONFIG_DISPLAY_AUTO;
  uint64_t display = config->display;
  TnConfigDevice *d;

  for (guint i = 0; i < config->devices->len; i++)
    {
      d = config->devices->pdata[i];
      if (!d->plugin || !g_str_has_prefix (d->plugin, "display-"))
        continue;
      if (automatic)
        return;
      d->enabled = false;
    }
  if (automatic && (g_getenv ("DISPLAY") || g_getenv ("WAYLAND_DISPLAY")))
    display = TN_CONFIG_DISPLAY_SDL;
  if (display <= TN_CONFIG_DISPLAY_NONE)
    return;
  d = tn_config_device (config, "display");
  if (d && !d->plugin)
    return;
  if (d)
    g_ptr_array_remove (config->devices, d);
  d = g_new0 (TnConfigDevice, 1);
  d->name = g_strdup ("display");
  d->plugin = g_strconcat ("display-", display_choices[display], NULL);
  d->enabled = true;
  d->values = g_ptr_array_new_with_free_func ((GDestroyNotify) value_free);
  if (automatic)
    g_ptr_array_add (d->values, text_value ("optional", "true"));
  g_ptr_array_add (config->devices, d);
}

/* ---- The whole ---- */

/* libconfig says no more than "syntax error": add the line that it stumbled over. */
static void
syntax_error (Loader *l, const config_t *lc)
{
  TnConfigWhere w = { 0 };
  int line = config_error_line (lc);
  g_auto (GStrv) lines = g_strsplit (l->text->text->str, "\n", line + 1);
  const char *found = line > 0 && (guint) line <= g_strv_length (lines) ? lines[line - 1] : "";
  g_autofree char *shown = g_utf8_make_valid (found, -1);

  w.file = tn_config_text_where (l->text, line, &w.line);
  for (char *p = g_strstrip (shown); *p; p++)
    if (g_ascii_iscntrl (*p))
      *p = '?';
  if (strlen (shown) > 60)
    strcpy (g_utf8_find_prev_char (shown, shown + 58), "...");
  tn_config_problem (l->errors, w, "%s; expected NAME = VALUE; found: %s",
                     config_error_text (lc) ? config_error_text (lc) : "syntax error",
                     *shown ? shown : "the end");
}

static void
read_root (Loader *l, const config_t *lc)
{
  static const char *const names[] = { "machine", "devices", NULL };
  config_setting_t *root = config_root_setting (lc);
  bool machine = false;

  for (int i = 0; i < config_setting_length (root); i++)
    {
      config_setting_t *s = config_setting_get_elem (root, i);
      const char *name = config_setting_name (s);
      g_autofree char *near = NULL;

      if (strcmp (name, "machine") == 0 && config_setting_is_group (s))
        {
          machine = true;
          set_keys (l, machine_keys, G_N_ELEMENTS (machine_keys), "machine", s);
        }
      else if (strcmp (name, "machine") == 0)
        tn_config_problem (l->errors, where (l, s), "machine: expected a group { ... }");
      else if (strcmp (name, "devices") == 0)
        add_devices (l, s);
      else
        {
          near = tn_suggest_text (name, names);
          tn_config_problem (l->errors, where (l, s),
                             "expected \"machine\" or \"devices\", found \"%s\"%s", name, near);
        }
    }
  if (!machine && !config_lookup (lc, "machine"))
    tn_config_problem (l->errors, (TnConfigWhere){ l->config->file, 0 },
                       "expected a group \"machine\", found none");
}

static TnConfig *
config_new (const char *file)
{
  TnConfig *c = g_new0 (TnConfig, 1);
  g_autofree char *base = g_path_get_basename (file);

  if (g_str_has_suffix (base, ".cfg"))
    base[strlen (base) - strlen (".cfg")] = 0;
  c->file = g_strdup (file);
  c->name = g_steal_pointer (&base);
  c->memory = 64;
  c->instructions_per_second = 100000000;
  c->apic = c->sse2 = c->fast_io = c->host_mmu = true;
  c->tsc_hz = 1000000000;
  c->apic_bus_hz = 100000000;
  c->devices = g_ptr_array_new_with_free_func ((GDestroyNotify) device_free);
  c->files = g_ptr_array_new_with_free_func (g_free);
  return c;
}

TnConfig *
tn_config_load (const char *file, const char *const *sets, GPtrArray *errors)
{
  Loader l = { config_new (file), tn_config_text_read (file, errors), errors };
  config_t lc;

  for (guint i = 0; i < l.text->files->len; i++)
    g_ptr_array_add (l.config->files, g_strdup (l.text->files->pdata[i]));
  if (errors->len == 0)
    {
      config_init (&lc);
      config_set_auto_convert (&lc, 0);
      if (config_read_string (&lc, l.text->text->str))
        read_root (&l, &lc);
      else
        syntax_error (&l, &lc);
      config_destroy (&lc);
      for (const char *const *set = sets; set && *set; set++)
        if (sets_machine (*set))
          apply_set (&l, *set);
      if (errors->len == 0)
        add_display (l.config);
      for (const char *const *set = sets; set && *set; set++)
        if (!sets_machine (*set))
          apply_set (&l, *set);
    }
  tn_config_text_free (l.text);
  return l.config;
}

void
tn_config_free (TnConfig *config)
{
  if (!config)
    return;
  g_free (config->file);
  g_free (config->name);
  g_free (config->jitdump);
  g_ptr_array_unref (config->devices);
  g_ptr_array_unref (config->files);
  g_free (config);
}

TnConfigDevice *
tn_config_device (const TnConfig *config, const char *name)
{
  for (guint i = 0; i < config->devices->len; i++)
    {
      TnConfigDevice *d = config->devices->pdata[i];

      if (strcmp (d->name, name) == 0)
        return d;
    }
  return NULL;
}
