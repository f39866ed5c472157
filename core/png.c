/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "png-file.h"

#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <tenon/device.h>

/* libpng leaves by longjmp: nothing in here is changed after setjmp. */
static bool
write_png (FILE *file, const uint32_t *pixels, uint32_t width, uint32_t height, uint8_t *line)
{
  png_structp png = png_create_write_struct (PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png ? png_create_info_struct (png) : NULL;

  if (info == NULL || setjmp (png_jmpbuf (png)))
    {
      png_destroy_write_struct (&png, &info);
      return false;
    }
  png_init_io (png, file);
  png_set_IHDR (png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info (png, info);
  for (uint32_t y = 0; y < height; y++)
    {
      const uint32_t *from = pixels + (size_t) y * width;

      for (uint32_t x = 0; x < width; x++)
        {
          line[3 * x] = from[x] >> 16;
          line[3 * x + 1] = from[x] >> 8;
          line[3 * x + 2] = from[x];
        }
      png_write_row (png, line);
    }
  png_write_end (png, NULL);
  png_destroy_write_struct (&png, &info);
  return true;
}

bool
tn_png_write (const char *path, const uint32_t *pixels, uint32_t width, uint32_t height,
              GError **error)
{
  FILE *file = fopen (path, "wb");
  uint8_t *line = g_malloc (3 * (size_t) width + 1);
  bool done = file != NULL && write_png (file, pixels, width, height, line);

  if (file != NULL && fclose (file) != 0)
    done = false;
  g_free (line);
  if (!done)
    g_set_error (error, TN_ERROR, TN_ERROR_IO, "%s: %s", path, g_strerror (errno ? errno : EIO));
  return done;
}
