/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"

#include "suggest.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static void
print_options (const TnOption *options)
{
  for (const TnOption *o = options; o->name; o++)
    {
      char letter[8] = "    ";
      g_autofree char *left = NULL;

      if (o->letter)
        g_snprintf (letter, sizeof letter, "-%c, ", o->letter);
      left = g_strdup_printf ("%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                              o->argument ? o->argument : "");
      if (strlen (left) <= 26)
        printf ("  %-26s  %s\n", left, o->help);
      else
        printf ("  %s\n%30s%s\n", left, "", o->help);
    }
  printf ("      %-22s  %s\n", "--help", "show this and end");
}

static int
print_help (const TnUsage *usage, const TnOption *options)
{
  printf ("Usage: %s\n\n%s\n\nOptions:\n", usage->synopsis, usage->summary);
  print_options (options);
  if (usage->examples)
    printf ("\nExamples:\n%s", usage->examples);
  return EX_OK;
}

static int
refuse (const TnUsage *usage, const char *text)
{
  return tn_command_fail (EX_USAGE, "%s: %s; try: tenon %s --help", usage->name, text, usage->name);
}

static int
refuse_unknown (const TnUsage *usage, const TnOption *options, const char *word, size_t length)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *given = g_strndup (word, length), *near = NULL, *text = NULL;

  for (const TnOption *o = options; o->name; o++)
    g_ptr_array_add (names, g_strconcat ("--", o->name, NULL));
  g_ptr_array_add (names, g_strdup ("--help"));
  g_ptr_array_add (names, NULL);
  near = tn_suggest_text (given, (const char *const *) names->pdata);
  text = g_strdup_printf ("unknown option %s%s", given, near);
  return refuse (usage, text);
}

static const TnOption *
find (const TnOption *options, const char *word, size_t *length)
{
  *length = word[1] == '-' ? strcspn (word, "=") : 2;
  for (const TnOption *o = options; o->name; o++)
    if (word[1] == '-'
            ? strlen (o->name) + 2 == *length && strncmp (word + 2, o->name, *length - 2) == 0
            : o->letter && word[1] == o->letter)
      return o;
  return NULL;
}

static void
store (const TnOption *o, char *value)
{
  if (o->type == TN_OPTION_STRINGS)
    g_ptr_array_add (o->value, value);
  else
    *(char **) o->value = value;
}

/* argv[*at] is an option; moves *at to its last word. */
static int
take (const TnUsage *usage, const TnOption *options, int argc, char **argv, int *at)
{
  char *word = argv[*at], *value;
  size_t length;
  const TnOption *o = find (options, word, &length);
  g_autofree char *text = NULL;

  if (strcmp (word, "--help") == 0 || strcmp (word, "-h") == 0)
    return print_help (usage, options);
  if (!o)
    return refuse_unknown (usage, options, word, length);
  value = word[length] ? word + length + (word[1] == '-') : NULL;
  if (o->type == TN_OPTION_FLAG)
    {
      if (value)
        {
          text = g_strdup_printf ("--%s takes no value", o->name);
          return refuse (usage, text);
        }
      *(bool *) o->value = true;
      return -1;
    }
  if (!value && *at + 1 < argc)
    value = argv[++*at];
  if (!value)
    {
      text = g_strdup_printf ("--%s needs a value: %s", o->name, o->argument);
      return refuse (usage, text);
    }
  store (o, value);
  return -1;
}

int
tn_options_parse (const TnUsage *usage, const TnOption *options, int argc, char **argv,
                  GPtrArray *operands)
{
  bool ended = false;

  for (int i = 1; i < argc; i++)
    {
      int code = -1;

      if (!ended && strcmp (argv[i], "--") == 0)
        ended = true;
      else if (!ended && argv[i][0] == '-' && argv[i][1] && !g_ascii_isdigit (argv[i][1]))
        code = take (usage, options, argc, argv, &i);
      else
        g_ptr_array_add (operands, argv[i]);
      if (code >= 0)
        return code;
    }
  if (operands->len < usage->min)
    return refuse (usage, "an operand is missing");
  if (operands->len > usage->max)
    {
      g_autofree char *text
          = g_strdup_printf ("unexpected operand \"%s\"", (char *) operands->pdata[usage->max]);

      return refuse (usage, text);
    }
  return -1;
}
