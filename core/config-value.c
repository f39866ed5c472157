/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Values of settings: one of libconfig's types, or text of the command line that is read as
 * whatever the setting wants.  Each function reports "expected ..., found ..." at the value's
 * place.
 */
#include "configuration.h"

#include "suggest.h"

#include <errno.h>
#include <string.h>

void
tn_config_problem (GPtrArray *errors, TnConfigWhere where, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  if (where.file && where.line)
    g_ptr_array_add (errors, g_strdup_printf ("%s:%u: %s", where.file, where.line, text));
  else if (where.file)
    g_ptr_array_add (errors, g_strdup_printf ("%s: %s", where.file, text));
  else
    g_ptr_array_add (errors, g_strdup_printf ("--set: %s", text));
}

bool
tn_config_same_name (const char *a, const char *b)
{
  for (; *a && *b; a++, b++)
    if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
      return false;
  return *a == *b;
}

char *
tn_config_absolute (TnConfigWhere where, const char *name)
{
  g_autofree char *dir = where.file ? g_path_get_dirname (where.file) : g_strdup (".");
  g_autofree char *base = g_canonicalize_filename (dir, NULL);

  return g_canonicalize_filename (name, base);
}

/* For messages: no control characters, not too long. */
static char *
presentable (const char *text)
{
  char *copy = g_utf8_make_valid (text, -1);

  if (g_utf8_strlen (copy, -1) > 60)
    strcpy (g_utf8_offset_to_pointer (copy, 57), "...");
  for (char *p = copy; *p; p++)
    if (g_ascii_iscntrl (*p))
      *p = '?';
  return copy;
}

bool
tn_config_wrong (const TnConfigValue *v, GPtrArray *errors, const char *expected)
{
  g_autofree char *found = presentable (v->string);
  const char *quote = v->type == TN_CONFIG_STRING || v->type == TN_CONFIG_TEXT ? "\"" : "";

  tn_config_problem (errors, v->where, "%s: expected %s, found %s%s%s", v->name, expected, quote,
                     found, quote);
  return false;
}

/* Decimal or 0x hexadecimal, all of the text. */
static bool
parse_uint (const char *text, uint64_t *result)
{
  bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  const char *digits = hex ? text + 2 : text;
  char *end;

  if (!(hex ? g_ascii_isxdigit (*digits) : g_ascii_isdigit (*digits)))
    return false;
  errno = 0;
  *result = g_ascii_strtoull (digits, &end, hex ? 16 : 10);
  return errno == 0 && *end == 0;
}

bool
tn_config_value_uint (const TnConfigValue *v, uint64_t min, uint64_t max, uint64_t *result,
                      GPtrArray *errors)
{
  uint64_t n = 0;
  bool number = false;
  char expected[96];
  bool hex = v->type == TN_CONFIG_INT ? v->unsigned_ : g_str_has_prefix (v->string, "0x");

  if (v->type == TN_CONFIG_INT)
    {
      number = v->integer >= 0 || v->unsigned_;
      n = (uint64_t) v->integer;
    }
  else if (v->type == TN_CONFIG_TEXT)
    number = parse_uint (v->string, &n);
  if (number && n >= min && n <= max)
    {
      *result = n;
      return true;
    }
  if (max == G_MAXUINT64 && min == 0)
    g_snprintf (expected, sizeof expected, "a number");
  else
    g_snprintf (expected, sizeof expected,
                hex ? "a number from %#" G_GINT64_MODIFIER "x to %#" G_GINT64_MODIFIER "x"
                    : "a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                min, max);
  return tn_config_wrong (v, errors, expected);
}

bool
tn_config_value_bool (const TnConfigValue *v, bool *result, GPtrArray *errors)
{
  static const char *const yes[] = { "true", "yes", "on", "1" };
  static const char *const no[] = { "false", "no", "off", "0" };

  if (v->type == TN_CONFIG_BOOL)
    {
      *result = v->integer;
      return true;
    }
  for (size_t i = 0; v->type == TN_CONFIG_TEXT && i < G_N_ELEMENTS (yes); i++)
    if (g_ascii_strcasecmp (v->string, yes[i]) == 0 || g_ascii_strcasecmp (v->string, no[i]) == 0)
      {
        *result = g_ascii_strcasecmp (v->string, yes[i]) == 0;
        return true;
      }
  return tn_config_wrong (v, errors, "true or false");
}

bool
tn_config_value_string (const TnConfigValue *v, const char **result, GPtrArray *errors)
{
  if (v->type != TN_CONFIG_STRING && v->type != TN_CONFIG_TEXT)
    return tn_config_wrong (v, errors, "a string in quotes");
  if (!g_utf8_validate (v->string, -1, NULL))
    return tn_config_wrong (v, errors, "text in UTF-8");
  *result = v->string;
  return true;
}

bool
tn_config_value_choice (const TnConfigValue *v, const char *const *choices, uint64_t *result,
                        GPtrArray *errors)
{
  g_autoptr (GString) expected = g_string_new (NULL);
  size_t n = g_strv_length ((char **) choices);

  if (v->type == TN_CONFIG_STRING || v->type == TN_CONFIG_TEXT)
    for (size_t i = 0; i < n; i++)
      if (strcmp (choices[i], v->string) == 0)
        {
          *result = i;
          return true;
        }
  for (size_t i = 0; i < n; i++)
    g_string_append_printf (expected, "%s\"%s\"",
                            i == 0      ? ""
                            : i + 1 < n ? ", "
                                        : " or ",
                            choices[i]);
  return tn_config_wrong (v, errors, expected->str);
}
