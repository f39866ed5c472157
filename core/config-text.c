/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One pass over each file with a small lexer that knows strings, comments, brackets and numbers.
 * Limits keep hostile files from using up the host: bytes in all, files in all, depth of @include
 * and of brackets.
 */
#include "config-text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BYTES_MAX (4u << 20)
#define FILES_MAX 256
#define INCLUDE_DEPTH_MAX 16
#define BRACKET_DEPTH_MAX 32

typedef struct Source Source;
struct Source {
  const Source *includer; /* NULL for the first file */
  unsigned file;          /* index into files */
  dev_t dev;
  ino_t ino;
  unsigned line;
  const char *at, *end;
};

typedef struct {
  TnConfigText *out;
  GPtrArray *errors;
  GString *brackets;
  bool failed; /* a limit was reached: stop reading */
} Reader;

static void read_file (Reader *r, const Source *includer, const char *name);

static void G_GNUC_PRINTF (3, 4) problem (Reader *r, const Source *s, const char *format, ...)
{
  va_list args;
  char *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  if (s)
    g_ptr_array_add (
        r->errors,
        g_strdup_printf ("%s:%u: %s", (char *) r->out->files->pdata[s->file], s->line, text));
  else
    g_ptr_array_add (r->errors, g_strdup (text));
  g_free (text);
}

/* ---- Output ---- */

static void
start_line (Reader *r, const Source *s)
{
  TnConfigLine line = { s->file, s->line };

  g_array_append_val (r->out->lines, line);
}

static void
put (Reader *r, const char *from, const char *to)
{
  g_string_append_len (r->out->text, from, to - from);
}

/* Ends a line of text; the next one continues `s`. */
static void
new_line (Reader *r, const Source *s)
{
  g_string_append_c (r->out->text, '\n');
  start_line (r, s);
}

/* ---- Lexer ---- */

static void
comment (Reader *r, Source *s)
{
  bool block = s->at[0] == '/' && s->at[1] == '*';

  if (!block)
    {
      while (s->at < s->end && *s->at != '\n')
        s->at++;
      return;
    }
  for (s->at += 2; s->at < s->end; s->at++)
    if (*s->at == '\n')
      {
        s->line++;
        new_line (r, s);
      }
    else if (*s->at == '*' && s->at + 1 < s->end && s->at[1] == '/')
      {
        s->at += 2;
        g_string_append_c (r->out->text, ' ');
        return;
      }
  problem (r, s, "expected \"*/\" to end a comment, found the end of the file");
}

static void
string (Reader *r, Source *s)
{
  const char *from = s->at++;
  unsigned line = s->line;

  while (s->at < s->end && *s->at != '"')
    {
      if (*s->at == '\\' && s->at + 1 < s->end)
        s->at++;
      if (*s->at == '\n')
        {
          put (r, from, s->at);
          s->line++;
          new_line (r, s);
          from = s->at + 1;
        }
      s->at++;
    }
  if (s->at >= s->end)
    {
      s->line = line;
      problem (r, s, "expected '\"' to end the string that starts here, found the end of the file");
      return;
    }
  s->at++;
  put (r, from, s->at);
}

/* A word: name, number or keyword.  Integers beyond 32 bits get an L. */
static void
word (Reader *r, Source *s)
{
  const char *from = s->at, *digits;
  g_autofree char *text = NULL;
  char *end;
  unsigned long long value;
  bool hex;

  while (s->at < s->end && (g_ascii_isalnum (*s->at) || strchr ("_.-+*", *s->at)) && *s->at)
    s->at++;
  text = g_strndup (from, s->at - from);
  put (r, from, s->at);
  digits = text + (*text == '-' || *text == '+');
  hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
  if (!g_ascii_isdigit (*digits))
    return;
  errno = 0;
  value = g_ascii_strtoull (hex ? digits + 2 : digits, &end, hex ? 16 : 10);
  if (*end == 'L')
    end++;
  else if (*end == 0 && value > G_MAXINT32)
    g_string_append_c (r->out->text, 'L');
  if (*end == 'L')
    end++;
  if (*end == 0 && (errno == ERANGE || (!hex && value > G_MAXINT64)))
    problem (r, s, "expected a number of at most 64 bits, found %s", text);
}

static void
bracket (Reader *r, Source *s)
{
  char c = *s->at;
  static const char open[] = "({[", close[] = ")}]";
  const char *which = strchr (close, c);
  GString *b = r->brackets;

  if (!which)
    g_string_append_c (b, c);
  else if (b->len && b->str[b->len - 1] == open[which - close])
    g_string_truncate (b, b->len - 1);
  else
    {
      if (b->len)
        problem (r, s, "expected '%c', found '%c'", close[strchr (open, b->str[b->len - 1]) - open],
                 c);
      else
        problem (r, s, "'%c' closes nothing", c);
      r->failed = true;
    }
  if (b->len > BRACKET_DEPTH_MAX)
    {
      problem (r, s, "expected at most %d brackets in one another", BRACKET_DEPTH_MAX);
      r->failed = true;
    }
  put (r, s->at, s->at + 1);
  s->at++;
}

/* Drops the last thing of the text if it is a comma. */
static void
drop_comma (Reader *r)
{
  GString *t = r->out->text;

  for (size_t i = t->len; i-- > 0;)
    if (t->str[i] == ',')
      {
        t->str[i] = ' ';
        return;
      }
    else if (!g_ascii_isspace (t->str[i]))
      return;
}

/* At '@': the rest of an @include line. */
static void
include (Reader *r, Source *s)
{
  static const char keyword[] = "@include";
  const char *p = s->at + strlen (keyword), *end;
  g_autofree char *name = NULL;

  if (s->end - s->at < (ptrdiff_t) strlen (keyword)
      || strncmp (s->at, keyword, strlen (keyword)) != 0)
    {
      problem (r, s, "expected @include \"FILE\", found '@'");
      s->at++;
      return;
    }
  while (p < s->end && (*p == ' ' || *p == '\t'))
    p++;
  end = p < s->end && *p == '"' ? memchr (p + 1, '"', s->end - p - 1) : NULL;
  if (!end || memchr (p, '\n', end - p))
    {
      problem (r, s, "expected a file name in '\"' after @include");
      s->at = p;
      return;
    }
  name = g_strndup (p + 1, end - p - 1);
  s->at = end + 1;
  g_string_append_c (r->out->text, '\n');
  read_file (r, s, name);
  new_line (r, s);
}

static void
scan (Reader *r, Source *s)
{
  start_line (r, s);
  while (s->at < s->end && !r->failed)
    {
      char c = *s->at;

      if (c == '\n')
        {
          s->at++;
          s->line++;
          new_line (r, s);
        }
      else if (c == '#' || (c == '/' && s->at + 1 < s->end && strchr ("/*", s->at[1])))
        comment (r, s);
      else if (c == '"')
        string (r, s);
      else if (c == '@')
        include (r, s);
      else if (strchr ("(){}[]", c))
        {
          if (c == ')')
            drop_comma (r);
          bracket (r, s);
        }
      else if (g_ascii_isalnum (c) || strchr ("*_-+", c))
        word (r, s);
      else
        {
          put (r, s->at, s->at + 1);
          s->at++;
        }
    }
}

/* ---- Files ---- */

static char *
resolve (const Reader *r, const Source *includer, const char *name)
{
  g_autofree char *dir = NULL;

  if (!includer || g_path_is_absolute (name))
    return g_strdup (name);
  dir = g_path_get_dirname (r->out->files->pdata[includer->file]);
  return strcmp (dir, ".") == 0 ? g_strdup (name) : g_build_filename (dir, name, NULL);
}

static bool
looped (Reader *r, const Source *includer, const struct stat *st)
{
  unsigned depth = 0;

  for (const Source *s = includer; s; s = s->includer, depth++)
    if (s->dev == st->st_dev && s->ino == st->st_ino)
      return true;
  return depth > INCLUDE_DEPTH_MAX;
}

/* Reads a regular file of sensible size and text; NULL after reporting. */
static char *
load (Reader *r, const Source *includer, const char *name, size_t *size, struct stat *st)
{
  int fd = open (name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  char *bytes = NULL;
  const char *what = includer ? "cannot include" : "cannot read";
  ssize_t got = 0;

  *size = 0;
  if (fd < 0 || fstat (fd, st) != 0)
    problem (r, includer, "%s %s: %s", what, name, g_strerror (errno));
  else if (!S_ISREG (st->st_mode))
    problem (r, includer, "%s %s: expected a file, found a %s", what, name,
             S_ISDIR (st->st_mode) ? "directory" : "device or pipe");
  else if ((guint64) st->st_size + r->out->text->len > BYTES_MAX)
    problem (r, includer, "%s %s: expected a configuration of at most %u MiB in all", what, name,
             BYTES_MAX >> 20);
  else if (looped (r, includer, st))
    problem (r, includer, "%s %s: it includes itself, or files are included too deep", what, name);
  else
    {
      bytes = g_malloc (st->st_size + 1);
      while (*size < (size_t) st->st_size
             && (got = read (fd, bytes + *size, st->st_size - *size)) > 0)
        *size += got;
      bytes[*size] = 0;
      if (got < 0)
        problem (r, includer, "%s %s: %s", what, name, g_strerror (errno));
      else if (memchr (bytes, 0, *size))
        problem (r, includer, "%s %s: expected text, found a zero byte", what, name);
      if (got < 0 || memchr (bytes, 0, *size))
        g_clear_pointer (&bytes, g_free);
    }
  if (fd >= 0)
    close (fd);
  return bytes;
}

static void
read_file (Reader *r, const Source *includer, const char *name)
{
  g_autofree char *path = resolve (r, includer, name);
  g_autofree char *bytes = NULL;
  struct stat st;
  size_t size;
  Source s = { .includer = includer, .line = 1 };
  size_t depth = r->brackets->len;

  if (r->out->files->len >= FILES_MAX)
    {
      problem (r, includer, "expected at most %d files in a configuration", FILES_MAX);
      r->failed = true;
    }
  if (r->failed)
    {
      if (includer)
        start_line (r, includer);
      return;
    }
  s.file = r->out->files->len;
  g_ptr_array_add (r->out->files, g_strdup (path));
  bytes = load (r, includer, path, &size, &st);
  s.dev = bytes ? st.st_dev : 0;
  s.ino = bytes ? st.st_ino : 0;
  s.at = bytes ? bytes : "";
  s.end = s.at + (bytes ? size : 0);
  scan (r, &s);
  if (!r->failed && bytes && r->brackets->len > depth)
    {
      problem (r, &s, "expected '%c', found the end of the file",
               ")}]"[strchr ("({[", r->brackets->str[r->brackets->len - 1]) - "({["]);
      r->failed = true;
    }
}

TnConfigText *
tn_config_text_read (const char *file, GPtrArray *errors)
{
  TnConfigText *text = g_new0 (TnConfigText, 1);
  Reader r = { text, errors, g_string_new (NULL), false };

  text->text = g_string_new (NULL);
  text->files = g_ptr_array_new_with_free_func (g_free);
  text->lines = g_array_new (FALSE, FALSE, sizeof (TnConfigLine));
  read_file (&r, NULL, file);
  g_string_free (r.brackets, TRUE);
  return text;
}

void
tn_config_text_free (TnConfigText *text)
{
  if (!text)
    return;
  g_string_free (text->text, TRUE);
  g_ptr_array_unref (text->files);
  g_array_unref (text->lines);
  g_free (text);
}

const char *
tn_config_text_where (const TnConfigText *text, unsigned line, unsigned *file_line)
{
  const TnConfigLine *l;

  if (text->lines->len == 0 || line == 0)
    {
      *file_line = 0;
      return text->files->pdata[0];
    }
  l = &g_array_index (text->lines, TnConfigLine, MIN (line, text->lines->len) - 1);
  *file_line = l->line;
  return text->files->pdata[l->file];
}
