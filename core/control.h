/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket: a Unix stream socket per running machine, for `tenon ctl` and for scripts.
 *
 * A request is one line of words, quoted as for a shell.  The reply is any number of lines that
 * begin with a space, then one line "ok" or "error CODE TEXT", CODE being what `tenon ctl` exits
 * with.
 *
 * Clients are hostile: only the same user (or root) may connect, lines, clients and replies are
 * bounded, a client that neither reads nor writes is dropped, and none is waited for.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

G_BEGIN_DECLS

typedef struct TnControl TnControl;

/* Serves one request on the main loop: appends lines (without the leading space) to `reply` and
   returns 0, or returns an exit code with the reason in `reply`. */
typedef int (*TnControlFunc) (void *opaque, int argc, char **argv, GString *reply);

/* Where the machine's socket is by default: $XDG_RUNTIME_DIR/tenon, or tenon-UID in the directory
   for temporary files; made if needed, and refused if it belongs to someone else.  Free with g_free
   (). */
char *tn_control_directory (GError **error);
char *tn_control_path (const char *machine, GError **error);

/* Listens.  A socket that nobody serves any more is replaced; a served one is an error. */
TnControl *tn_control_new (const char *path, TnControlFunc func, void *opaque, GError **error);
/* Tells clients that wait, closes, and removes the socket. */
void tn_control_free (TnControl *control);

/* ---- Client ---- */

/* Sends one request and waits for the whole reply.  Returns the code (0: ok), or -1 with *error set
   if there was no reply.  *text: the lines, or the reason; free with g_free (). */
int tn_control_call (const char *path, char **words, char **text, GError **error);
/* Is there someone who answers? */
bool tn_control_alive (const char *path);

G_END_DECLS
