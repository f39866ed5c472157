/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The server's side of the control socket.
 */
#include <config.h>

#include "control.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <tenon/device.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define WORDS_MAX 64
#define CLIENTS_MAX 8
#define REPLY_MAX (1u << 20)
#define IDLE_SECONDS 60
#define STUCK_SECONDS 10

typedef struct {
  TnControl *control;
  int fd;
  guint source, timeout;
  GIOCondition condition;
  char line[LINE_MAX_BYTES];
  size_t used;
  GString *out; /* not sent yet */
  bool closing; /* once all is sent */
} Client;

struct TnControl {
  char *path;
  int fd;
  guint source;
  TnControlFunc func;
  void *opaque;
  GPtrArray *clients;
};

static bool
fail (GError **error, const char *what, const char *path)
{
  g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s %s: %s", what, path, g_strerror (errno));
  return false;
}

/* ---- Clients ---- */

static void
client_free (Client *c)
{
  g_source_remove (c->source);
  g_source_remove (c->timeout);
  close (c->fd);
  g_string_free (c->out, TRUE);
  g_free (c);
}

static void
drop (Client *c)
{
  g_ptr_array_remove_fast (c->control->clients, c);
}

static gboolean
client_late (void *data)
{
  Client *c = data;

  c->timeout = g_timeout_add_seconds (1, client_late, c); /* drop () removes a source */
  drop (c);
  return G_SOURCE_REMOVE;
}

static void
arm (Client *c)
{
  g_source_remove (c->timeout);
  c->timeout = g_timeout_add_seconds (c->out->len ? STUCK_SECONDS : IDLE_SECONDS, client_late, c);
}

static gboolean client_ready (int fd, GIOCondition condition, void *data);

static void
want (Client *c, GIOCondition condition)
{
  if (c->condition == condition)
    return;
  g_source_remove (c->source);
  c->condition = condition;
  c->source = g_unix_fd_add (c->fd, condition, client_ready, c);
}

/* Sends what can be sent; false when the client is gone or done. */
static bool
flush (Client *c)
{
  while (c->out->len)
    {
      ssize_t n = send (c->fd, c->out->str, c->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0 && errno == EAGAIN)
        break;
      if (n <= 0)
        return false;
      g_string_erase (c->out, 0, n);
    }
  return c->out->len > 0 || !c->closing;
}

static void
append_reply (Client *c, int code, const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", 0);

  if (code)
    {
      g_autofree char *flat = g_strjoinv (" ", lines);

      g_string_append_printf (c->out, "error %d %s\n", code, g_strstrip (flat));
      return;
    }
  for (unsigned i = 0; lines[i] && c->out->len < REPLY_MAX; i++)
    if (*lines[i] || lines[i + 1])
      g_string_append_printf (c->out, " %s\n", lines[i]);
  g_string_append (c->out, "ok\n");
}

static void
serve_line (Client *c, const char *line)
{
  g_autoptr (GString) reply = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) words = NULL;
  int n = 0, code = 64; /* EX_USAGE */

  if (!g_utf8_validate (line, -1, NULL))
    g_string_append (reply, "expected a request in UTF-8");
  else if (!g_shell_parse_argv (line, &n, &words, &error))
    g_string_append (reply, error->message);
  else if (n > WORDS_MAX)
    g_string_append_printf (reply, "expected at most %d words", WORDS_MAX);
  else
    code = c->control->func (c->control->opaque, n, words, reply);
  append_reply (c, code, reply->str);
}

/* Serves the whole lines that have come, as long as the client takes the replies. */
static bool
serve_lines (Client *c)
{
  char *end;

  while (!c->closing && c->out->len == 0 && (end = memchr (c->line, '\n', c->used)))
    {
      size_t length = end - c->line;

      *end = 0;
      if (strlen (c->line) != length)
        {
          append_reply (c, 64, "expected text, found a zero byte");
          c->closing = true;
        }
      else
        serve_line (c, c->line);
      c->used -= length + 1;
      memmove (c->line, end + 1, c->used);
      if (!flush (c))
        return false;
    }
  if (!c->closing && c->used == sizeof c->line && !memchr (c->line, '\n', c->used))
    {
      append_reply (c, 64, "expected a line of at most 4095 bytes");
      c->closing = true;
      return flush (c);
    }
  return true;
}

static bool
receive (Client *c)
{
  ssize_t n = recv (c->fd, c->line + c->used, sizeof c->line - c->used, MSG_DONTWAIT);

  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  c->used += n;
  return n > 0;
}

static gboolean
client_ready (int fd, GIOCondition condition, void *data)
{
  Client *c = data;
  guint source = c->source;
  bool alive = true;

  if (condition & G_IO_OUT)
    alive = flush (c);
  else if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))
    alive = receive (c);
  alive = alive && serve_lines (c);
  if (!alive)
    {
      drop (c);
      return G_SOURCE_CONTINUE; /* it is removed */
    }
  arm (c);
  want (c, c->out->len ? G_IO_OUT : G_IO_IN);
  return c->source == source;
}

/* ---- Listening ---- */

static bool
same_user (int fd)
{
  struct ucred peer;
  socklen_t size = sizeof peer;

  return getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
         && (peer.uid == geteuid () || peer.uid == 0);
}

static gboolean
incoming (int fd, GIOCondition condition, void *data)
{
  TnControl *control = data;
  int peer = accept4 (fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  static const char full[] = "error 75 too many clients; try again later\n";
  Client *c;

  if (peer < 0)
    return G_SOURCE_CONTINUE;
  if (!same_user (peer) || control->clients->len >= CLIENTS_MAX)
    {
      send (peer, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      close (peer);
      return G_SOURCE_CONTINUE;
    }
  c = g_new0 (Client, 1);
  c->control = control;
  c->fd = peer;
  c->out = g_string_new (NULL);
  c->condition = G_IO_IN;
  c->source = g_unix_fd_add (peer, G_IO_IN, client_ready, c);
  c->timeout = g_timeout_add_seconds (IDLE_SECONDS, client_late, c);
  g_ptr_array_add (control->clients, c);
  return G_SOURCE_CONTINUE;
}

static bool
fill_address (const char *path, struct sockaddr_un *address, GError **error)
{
  memset (address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (strlen (path) < sizeof address->sun_path)
    {
      strcpy (address->sun_path, path);
      return true;
    }
  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
               "%s: expected the path of a socket in at most %zu bytes, found %zu", path,
               sizeof address->sun_path - 1, strlen (path));
  return false;
}

static int
connect_to (const char *path, GError **error)
{
  struct sockaddr_un address;
  struct timeval patience = { .tv_sec = 30 };
  int fd;

  if (!fill_address (path, &address, error))
    return -1;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0)
    {
      setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      setsockopt (fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      if (connect (fd, (struct sockaddr *) &address, sizeof address) == 0)
        return fd;
    }
  fail (error, "cannot connect to", path);
  if (fd >= 0)
    close (fd);
  return -1;
}

bool
tn_control_alive (const char *path)
{
  int fd = connect_to (path, NULL);

  if (fd >= 0)
    close (fd);
  return fd >= 0;
}

/* Removes a socket that nobody listens on. */
static bool
clear_stale (const char *path, GError **error)
{
  struct stat st;

  if (lstat (path, &st) != 0)
    return errno == ENOENT || fail (error, "cannot look at", path);
  if (!S_ISSOCK (st.st_mode))
    g_set_error (error, TN_ERROR, TN_ERROR_CLASH, "%s: expected a place for a socket, found a file",
                 path);
  else if (tn_control_alive (path))
    g_set_error (error, TN_ERROR, TN_ERROR_CLASH, "%s: another machine is listening there", path);
  else
    return unlink (path) == 0 || errno == ENOENT || fail (error, "cannot remove", path);
  return false;
}

TnControl *
tn_control_new (const char *path, TnControlFunc func, void *opaque, GError **error)
{
  struct sockaddr_un address;
  TnControl *control;
  mode_t mask;
  int fd;
  bool bound;

  if (!fill_address (path, &address, error) || !clear_stale (path, error))
    return NULL;
  fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mask = umask (0077);
  bound = fd >= 0 && bind (fd, (struct sockaddr *) &address, sizeof address) == 0
          && listen (fd, CLIENTS_MAX) == 0;
  umask (mask);
  if (!bound)
    {
      fail (error, "cannot listen on", path);
      if (fd >= 0)
        close (fd);
      return NULL;
    }
  control = g_new0 (TnControl, 1);
  control->path = g_strdup (path);
  control->fd = fd;
  control->func = func;
  control->opaque = opaque;
  control->clients = g_ptr_array_new_with_free_func ((GDestroyNotify) client_free);
  control->source = g_unix_fd_add (fd, G_IO_IN, incoming, control);
  return control;
}

void
tn_control_free (TnControl *control)
{
  if (!control)
    return;
  for (guint i = 0; i < control->clients->len; i++)
    flush (control->clients->pdata[i]);
  g_ptr_array_unref (control->clients);
  g_source_remove (control->source);
  close (control->fd);
  unlink (control->path);
  g_free (control->path);
  g_free (control);
}

/* ---- Places ---- */

char *
tn_control_directory (GError **error)
{
  const char *runtime = g_getenv ("XDG_RUNTIME_DIR");
  g_autofree char *dir = runtime && g_path_is_absolute (runtime)
                             ? g_build_filename (runtime, "tenon", NULL)
                             : g_strdup_printf ("%s/tenon-%u", g_get_tmp_dir (), geteuid ());
  struct stat st;

  if (mkdir (dir, 0700) != 0 && errno != EEXIST)
    fail (error, "cannot make the directory", dir);
  else if (lstat (dir, &st) != 0)
    fail (error, "cannot look at", dir);
  else if (!S_ISDIR (st.st_mode) || st.st_uid != geteuid () || (st.st_mode & 0077))
    g_set_error (error, TN_ERROR, TN_ERROR_IO,
                 "%s: expected a directory of yours that only you can use (mode 0700)", dir);
  else
    return g_steal_pointer (&dir);
  return NULL;
}

char *
tn_control_path (const char *machine, GError **error)
{
  g_autofree char *dir = tn_control_directory (error);
  g_autofree char *file = g_strdup_printf ("%s.sock", machine);

  return dir ? g_build_filename (dir, g_strdelimit (file, "/", '-'), NULL) : NULL;
}

/* ---- Client ---- */

static bool
send_all (int fd, const char *text)
{
  size_t left = strlen (text);

  while (left)
    {
      ssize_t n = send (fd, text, left, MSG_NOSIGNAL);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return false;
      text += n;
      left -= n;
    }
  return true;
}

/* Reads until the closing line is whole; returns where it begins, or NULL. */
static char *
read_reply (int fd, GString *reply)
{
  char buffer[4096];
  size_t start = 0; /* of the line that is not whole yet */

  while (reply->len < 2 * REPLY_MAX)
    {
      ssize_t n = recv (fd, buffer, sizeof buffer, 0);
      char *end;

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return NULL;
      g_string_append_len (reply, buffer, n);
      while ((end = memchr (reply->str + start, '\n', reply->len - start)))
        {
          if (reply->str[start] != ' ')
            {
              *end = 0;
              return reply->str + start;
            }
          start = end + 1 - reply->str;
        }
    }
  return NULL;
}

/* Takes the leading spaces off. */
static char *
unindent (const char *lines)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (; *lines == ' '; lines += strcspn (lines, "\n") + 1)
    g_string_append_len (text, lines + 1, strcspn (lines, "\n"));
  return g_strdup (text->str);
}

int
tn_control_call (const char *path, char **words, char **text, GError **error)
{
  g_autoptr (GString) request = g_string_new (NULL), reply = g_string_new (NULL);
  int fd = connect_to (path, error), code = -1;
  char *last;

  if (fd < 0)
    return -1;
  for (unsigned i = 0; words[i]; i++)
    {
      g_autofree char *quoted = g_shell_quote (words[i]);

      g_string_append_printf (request, "%s%s", i ? " " : "", quoted);
    }
  g_string_append_c (request, '\n');
  if (!send_all (fd, request->str) || !(last = read_reply (fd, reply)))
    g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s: the machine did not answer", path);
  else if (strcmp (last, "ok") == 0)
    {
      code = 0;
      *text = unindent (reply->str);
    }
  else if (g_str_has_prefix (last, "error "))
    {
      char *reason;
      int64_t number = g_ascii_strtoll (last + strlen ("error "), &reason, 10);

      code = CLAMP (number, 1, 255);
      *text = g_strdup (g_strstrip (reason));
    }
  else
    g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s: expected a reply, found \"%.40s\"", path, last);
  close (fd);
  return code;
}
