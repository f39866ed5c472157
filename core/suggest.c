/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Edit distance (case and '_' for '-' count as no difference) with neighbour swaps ("optimal string
 * alignment"), on words of at most 64 bytes; failing that, a name of which the word is the
 * beginning.
 */
#include "suggest.h"

#include <string.h>

#define WORD_MAX 64

static char
fold (char c)
{
  return c == '_' ? '-' : g_ascii_tolower (c);
}

static unsigned
distance (const char *a, const char *b)
{
  size_t n = strlen (a), m = strlen (b);
  unsigned before[WORD_MAX + 1] = { 0 }, row[WORD_MAX + 1], next[WORD_MAX + 1];

  if (n > WORD_MAX || m > WORD_MAX)
    return G_MAXUINT;
  for (size_t j = 0; j <= m; j++)
    row[j] = j;
  for (size_t i = 1; i <= n; i++)
    {
      next[0] = i;
      for (size_t j = 1; j <= m; j++)
        {
          unsigned change = row[j - 1] + (fold (a[i - 1]) != fold (b[j - 1]));

          next[j] = MIN (MIN (row[j], next[j - 1]) + 1, change);
          if (i > 1 && j > 1 && fold (a[i - 1]) == fold (b[j - 2])
              && fold (a[i - 2]) == fold (b[j - 1]))
            next[j] = MIN (next[j], before[j - 2] + 1);
        }
      memcpy (before, row, sizeof before);
      memcpy (row, next, sizeof row);
    }
  return row[m];
}

static const char *
nearest (const char *word, const char *const *candidates)
{
  const char *best = NULL;
  unsigned limit = strlen (word) <= 3 ? 1 : strlen (word) <= 6 ? 2 : 3, least = limit + 1;

  for (size_t i = 0; candidates[i]; i++)
    {
      unsigned d = distance (word, candidates[i]);

      if (d < least && d < strlen (candidates[i]))
        {
          least = d;
          best = candidates[i];
        }
    }
  for (size_t i = 0; !best && strlen (word) > 1 && candidates[i]; i++)
    if (g_str_has_prefix (candidates[i], word))
      best = candidates[i];
  return best;
}

char *
tn_suggest_text (const char *word, const char *const *candidates)
{
  const char *near = nearest (word, candidates);

  return near ? g_strdup_printf (" (did you mean \"%s\"?)", near) : g_strdup ("");
}
