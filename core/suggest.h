/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Near names for mistyped ones, in messages of the configuration and of the command line.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* " (did you mean "x"?)" with the candidate (NULL-terminated list) nearest to `word`, or "" when
   none is near enough to be meant.  Free with g_free (). */
char *tn_suggest_text (const char *word, const char *const *candidates);

G_END_DECLS
