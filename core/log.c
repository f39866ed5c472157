/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The log sink.  A line is one write (), so that lines of threads do not mix.  While a character
 * back end holds the terminal in raw mode a line ends in CR LF; control characters of guests and
 * files are shown as \ooo, never sent to the terminal.
 */
#include "log.h"

#include "suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
  char *category; /* NULL: all */
  TnLogLevel level;
} Rule;

struct TnLog {
  GMutex mutex;
  GArray *rules;
  int file; /* -1: none */
};

static const char *const level_names[]
    = { "error", "warning", "info", "guest-error", "debug", NULL };

static void
rule_clear (void *data)
{
  g_free (((Rule *) data)->category);
}

TnLog *
tn_log_new (void)
{
  TnLog *log = g_new0 (TnLog, 1);

  g_mutex_init (&log->mutex);
  log->rules = g_array_new (FALSE, FALSE, sizeof (Rule));
  g_array_set_clear_func (log->rules, rule_clear);
  log->file = -1;
  return log;
}

void
tn_log_free (TnLog *log)
{
  if (!log)
    return;
  if (log->file >= 0)
    close (log->file);
  g_array_unref (log->rules);
  g_mutex_clear (&log->mutex);
  g_free (log);
}

static bool
parse_rule (const char *text, Rule *rule, GError **error)
{
  const char *colon = strrchr (text, ':'), *name = colon ? colon + 1 : text;
  g_autofree char *near = NULL;

  for (unsigned i = 0; level_names[i]; i++)
    if (strcmp (level_names[i], name) == 0)
      {
        rule->level = i;
        rule->category = colon ? g_strndup (text, colon - text) : NULL;
        if (rule->category && (!*rule->category || strcmp (rule->category, "all") == 0))
          g_clear_pointer (&rule->category, g_free);
        return true;
      }
  near = tn_suggest_text (name, level_names);
  g_set_error (error, TN_ERROR, TN_ERROR_CONFIG,
               "expected a level (error, warning, info, guest-error or debug), found \"%s\"%s",
               name, near);
  return false;
}

bool
tn_log_configure (TnLog *log, const char *specification, GError **error)
{
  g_auto (GStrv) parts = g_strsplit (specification, ",", 64);
  bool ok = true;

  g_mutex_lock (&log->mutex);
  for (unsigned i = 0; ok && parts[i]; i++)
    {
      Rule rule;

      ok = parse_rule (parts[i], &rule, error);
      if (ok)
        g_array_append_val (log->rules, rule);
    }
  g_mutex_unlock (&log->mutex);
  return ok;
}

bool
tn_log_open (TnLog *log, const char *file, GError **error)
{
  int fd = open (file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);

  if (fd < 0)
    {
      g_set_error (error, TN_ERROR, TN_ERROR_IO, "cannot open the log file %s: %s", file,
                   g_strerror (errno));
      return false;
    }
  if (log->file >= 0)
    close (log->file);
  log->file = fd;
  return true;
}

bool
tn_log_wants (TnLog *log, const char *category, const char *device, TnLogLevel level)
{
  TnLogLevel limit = TN_LOG_INFO;

  g_mutex_lock (&log->mutex);
  for (guint i = 0; i < log->rules->len; i++)
    {
      const Rule *rule = &g_array_index (log->rules, Rule, i);

      if (!rule->category || g_strcmp0 (rule->category, category) == 0
          || g_strcmp0 (rule->category, device) == 0)
        limit = rule->level;
    }
  g_mutex_unlock (&log->mutex);
  return level <= limit;
}

/* ---- Lines ---- */

static bool
raw_terminal (int fd)
{
  struct termios t;

  return tcgetattr (fd, &t) == 0 && !((t.c_oflag & OPOST) && (t.c_oflag & ONLCR));
}

static void
append_clean (GString *line, const char *text)
{
  for (; *text; text++)
    if (g_ascii_iscntrl (*text) && *text != '\t')
      g_string_append_printf (line, "\\%03o", (unsigned char) *text);
    else
      g_string_append_c (line, *text);
}

static void
write_all (int fd, const char *bytes, size_t size)
{
  while (size)
    {
      ssize_t n = write (fd, bytes, size);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return; /* nobody is left to be told */
      bytes += n;
      size -= n;
    }
}

static void
write_line (TnLog *log, const char *name, TnLogLevel level, const char *text)
{
  g_autoptr (GString) line = g_string_new ("tenon: ");

  if (name)
    g_string_append_printf (line, "%s: ", name);
  if (level == TN_LOG_GUEST_ERROR || level == TN_LOG_WARNING)
    g_string_append_printf (line, "%s: ", level_names[level]);
  append_clean (line, text);
  if (log->file >= 0)
    {
      g_autoptr (GDateTime) now = g_date_time_new_now_local ();
      g_autofree char *stamp = g_date_time_format (now, "%Y-%m-%d %H:%M:%S.%f ");
      g_autofree char *stamped = g_strconcat (stamp, line->str, "\n", NULL);

      write_all (log->file, stamped, strlen (stamped));
    }
  g_string_append (line, raw_terminal (STDERR_FILENO) ? "\r\n" : "\n");
  write_all (STDERR_FILENO, line->str, line->len);
}

void
tn_log_write (TnLog *log, const char *category, TnLogLevel level, const char *device,
              const char *text)
{
  g_auto (GStrv) lines = NULL;

  if (!tn_log_wants (log, category, device, level))
    return;
  lines = g_strsplit (text, "\n", 0);
  g_mutex_lock (&log->mutex);
  for (unsigned i = 0; lines[i]; i++)
    if (*lines[i] || i == 0)
      write_line (log, device ? device : category, level, lines[i]);
  g_mutex_unlock (&log->mutex);
}

void
tn_log_print (TnLog *log, const char *category, TnLogLevel level, const char *format, ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  tn_log_write (log, category, level, NULL, text);
}
