/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the parent of a differencing image is.  Up to eight locators say it in ways of several
 * systems; of these are used
 *
 *   W2ru   relative to the image, Windows' way, UTF-16LE
 *   MacX   file: URL, UTF-8; taken as absolute, or with "." as host as relative
 *   W2ku   absolute, Windows' way; here it helps if it is an absolute path of this system
 *
 * and, for images that were moved together, the bare name of the parent in the image's own folder.
 * All of it is hostile: what such a path leads to is used only if it is an image with the UUID that
 * the child names.
 */
#include "vhd.h"

#include <string.h>

/* ---- Text ---- */

char *
vhd_utf16_text (const uint8_t *bytes, size_t size, bool big_endian)
{
  size_t length = size / 2;
  gunichar2 *units = g_new0 (gunichar2, length + 1);
  char *text;

  for (size_t n = 0; n < length; n++)
    units[n]
        = big_endian ? bytes[2 * n] << 8 | bytes[2 * n + 1] : bytes[2 * n + 1] << 8 | bytes[2 * n];
  text = g_utf16_to_utf8 (units, -1, NULL, NULL, NULL);
  g_free (units);
  if (text != NULL && *text == '\0')
    g_clear_pointer (&text, g_free);
  return text;
}

static uint8_t *
utf16_bytes (const char *text, bool big_endian, size_t *size)
{
  glong length;
  gunichar2 *units = g_utf8_to_utf16 (text, -1, NULL, &length, NULL);
  uint8_t *bytes;

  *size = 0;
  if (units == NULL)
    return NULL;
  *size = 2 * length;
  bytes = g_malloc0 (*size + 1);
  for (glong n = 0; n < length; n++)
    {
      bytes[2 * n] = big_endian ? units[n] >> 8 : units[n];
      bytes[2 * n + 1] = big_endian ? units[n] : units[n] >> 8;
    }
  g_free (units);
  return bytes;
}

/* ---- From the file ---- */

static uint8_t *
read_locator (const VhdImage *v, const VhdLocator *l)
{
  uint8_t *bytes;

  if (l->code == 0 || l->length == 0 || l->length > VHD_MAX_LOCATOR)
    return NULL;
  if (l->offset > INT64_MAX - VHD_MAX_LOCATOR)
    return NULL;
  bytes = g_malloc0 (l->length + 1);
  if (image_file_read (v->fd, l->offset, bytes, l->length) == 0)
    return bytes;
  g_free (bytes);
  return NULL;
}

static char *
beside (const VhdImage *v, const char *relative)
{
  char *folder = g_path_get_dirname (v->path);
  char *path = g_canonicalize_filename (relative, folder);

  g_free (folder);
  return path;
}

/* Base name of a path with either kind of slash. */
static const char *
base_name (const char *path)
{
  const char *slash = strrchr (path, '/'), *back = strrchr (path, '\\');

  return MAX (slash, back) != NULL ? MAX (slash, back) + 1 : path;
}

static void
add_path (GPtrArray *paths, char *path)
{
  for (unsigned n = 0; n < paths->len && path != NULL; n++)
    if (strcmp (paths->pdata[n], path) == 0)
      g_clear_pointer (&path, g_free);
  if (path != NULL)
    g_ptr_array_add (paths, path);
}

static void
add_windows (GPtrArray *paths, const VhdImage *v, char *text)
{
  if (text == NULL)
    return;
  g_strdelimit (text, "\\", '/');
  /* "C:/..." means nothing here; the bare name is tried in any case. */
  if (!(g_ascii_isalpha (text[0]) && text[1] == ':'))
    add_path (paths, beside (v, text));
  g_free (text);
}

static int
hex (char c)
{
  return g_ascii_isxdigit (c) ? g_ascii_xdigit_value (c) : -1;
}

static void
unescape (char *text)
{
  char *to = text;

  for (const char *from = text; *from != '\0'; from++)
    if (*from == '%' && hex (from[1]) >= 0 && hex (from[2]) >= 0
        && (from[1] != '0' || from[2] != '0'))
      {
        *to++ = hex (from[1]) << 4 | hex (from[2]);
        from += 2;
      }
    else
      *to++ = *from;
  *to = '\0';
}

static void
add_url (GPtrArray *paths, const VhdImage *v, const char *url)
{
  char *path;

  if (!g_str_has_prefix (url, "file://"))
    return;
  url += strlen ("file://");
  if (g_str_has_prefix (url, "localhost/"))
    url += strlen ("localhost");
  path = g_strdup (url);
  unescape (path);
  if (*path == '/' || *path == '.')
    add_path (paths, beside (v, path));
  g_free (path);
}

static void
add_locators (GPtrArray *paths, const VhdImage *v, uint32_t code)
{
  for (unsigned n = 0; n < VHD_LOCATORS; n++)
    {
      const VhdLocator *l = &v->header.locators[n];
      uint8_t *bytes = l->code == code ? read_locator (v, l) : NULL;

      if (bytes != NULL && code == VHD_URL)
        add_url (paths, v, (const char *) bytes);
      else if (bytes != NULL)
        add_windows (paths, v, vhd_utf16_text (bytes, l->length, false));
      g_free (bytes);
    }
}

GPtrArray *
vhd_parent_paths (const VhdImage *v)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func (g_free);
  char *name = vhd_utf16_text (v->header.parent_name, sizeof v->header.parent_name, true);

  add_locators (paths, v, VHD_RELATIVE);
  add_locators (paths, v, VHD_URL);
  add_locators (paths, v, VHD_ABSOLUTE);
  if (name != NULL && *base_name (name) != '\0')
    add_path (paths, beside (v, base_name (name)));
  g_free (name);
  return paths;
}

/* ---- Into a file ---- */

/* Way from one absolute path's folder to another path, with slashes; begins with a dot. */
static char *
relative_path (const char *from, const char *to)
{
  GString *way = g_string_new (NULL);
  size_t common = 0;

  for (size_t n = 0; from[n] != '\0' && from[n] == to[n]; n++)
    if (from[n] == '/')
      common = n + 1;
  for (const char *rest = from + common; (rest = strchr (rest, '/')) != NULL; rest++)
    g_string_append (way, "../");
  if (way->len == 0)
    g_string_append (way, "./");
  g_string_append (way, to + common);
  return g_string_free (way, FALSE);
}

static char *
make_url (const char *path)
{
  GString *url = g_string_new ("file://");

  for (; *path != '\0'; path++)
    if (g_ascii_isalnum (*path) || strchr ("/-._~", *path) != NULL)
      g_string_append_c (url, *path);
    else
      g_string_append_printf (url, "%%%02X", (unsigned char) *path);
  return g_string_free (url, FALSE);
}

GBytes *
vhd_make_locator (uint32_t code, const char *child, const char *parent)
{
  char *from = g_canonicalize_filename (child, NULL), *to = g_canonicalize_filename (parent, NULL);
  char *text = code == VHD_URL ? make_url (to) : relative_path (from, to);
  size_t size = strlen (text);
  uint8_t *bytes = (uint8_t *) text;

  if (code != VHD_URL)
    {
      g_strdelimit (text, "/", '\\');
      bytes = utf16_bytes (text, false, &size);
      g_free (text);
    }
  g_free (from);
  g_free (to);
  if (bytes != NULL && size > 0 && size <= VHD_MAX_LOCATOR)
    return g_bytes_new_take (bytes, size);
  g_free (bytes);
  return NULL;
}

void
vhd_make_parent_name (uint8_t *name, const char *parent)
{
  size_t size;
  uint8_t *bytes = utf16_bytes (base_name (parent), true, &size);

  memset (name, 0, 512);
  if (bytes != NULL)
    memcpy (name, bytes, MIN (size, 510));
  g_free (bytes);
}
