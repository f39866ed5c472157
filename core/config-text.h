/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text of a configuration with its @include files put in place, and where each line came from.
 *
 * libconfig 1.5 would read the files itself, but it cannot include relative to the including file,
 * ends the program when a file is a directory, and cuts integers to 32 bits in silence.  So the
 * text is put together here, and libconfig is handed one string:
 *   - @include "file" is replaced by the file, found relative to the file that names it;
 *   - integers that need more than 32 bits get the suffix L that libconfig 1.5 wants;
 *   - a comma before a closing bracket is dropped, as newer libconfigs allow it, so that a fragment
 * may hold list elements that each end in a comma.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
  GString *text;
  GPtrArray *files; /* of char *: names as the user gave them, resolved against the includer */
  GArray *lines;    /* of TnConfigLine, one for each line of text */
} TnConfigText;

typedef struct {
  unsigned file; /* index into files */
  unsigned line; /* from 1 */
} TnConfigLine;

/* Reads everything; problems are added to `errors` (of char *).  Never NULL; the text is whole only
   if no error was added. */
TnConfigText *tn_config_text_read (const char *file, GPtrArray *errors);
void tn_config_text_free (TnConfigText *text);
/* File and line of line `line` (from 1) of the text. */
const char *tn_config_text_where (const TnConfigText *text, unsigned line, unsigned *file_line);

G_END_DECLS
