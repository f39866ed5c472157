/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests of whole guests ask of a screenshot:
 *
 *   picture FILE.png sum X Y WIDTH HEIGHT    a sum of these pixels' colours, to compare with
 *   picture FILE.png share RRGGBB            how many of a thousand pixels have this colour
 *
 * Of pixels, since a PNG file's own bytes depend on the versions of libpng and zlib.
 */
#include <glib.h>
#include <png.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define PIXEL 3 /* bytes */

typedef struct {
  png_image image;
  uint8_t *pixels;
} Picture;

static bool
picture_read (Picture *p, const char *file)
{
  p->image = (png_image){ .version = PNG_IMAGE_VERSION };
  if (!png_image_begin_read_from_file (&p->image, file))
    return false;
  p->image.format = PNG_FORMAT_RGB;
  p->pixels = g_malloc (PNG_IMAGE_SIZE (p->image));
  return png_image_finish_read (&p->image, NULL, p->pixels, 0, NULL);
}

static int
sum (const Picture *p, char **words)
{
  g_autoptr (GChecksum) checksum = g_checksum_new (G_CHECKSUM_MD5);
  uint64_t place[4];
  for (unsigned i = 0; i < 4; i++)
    {
      uint64_t number = g_ascii_strtoull (words[i], NULL, 10);
      place[i] = MIN (number, UINT32_MAX);
    }
  if (place[0] + place[2] > p->image.width || place[1] + place[3] > p->image.height)
    {
      g_printerr ("picture: %ux%u has no such part\n", p->image.width, p->image.height);
      return 1;
    }
  for (uint64_t y = 0; y < place[3]; y++)
    g_checksum_update (checksum, p->pixels + ((place[1] + y) * p->image.width + place[0]) * PIXEL,
                       (gssize) place[2] * PIXEL);
  g_print ("%s\n", g_checksum_get_string (checksum));
  return 0;
}

static int
share (const Picture *p, const char *word)
{
  uint64_t color = g_ascii_strtoull (word, NULL, 16), all = 0, found = 0;
  const uint8_t *end = p->pixels + PNG_IMAGE_SIZE (p->image);
  for (const uint8_t *at = p->pixels; at < end; at += PIXEL, all++)
    found += ((uint64_t) at[0] << 16 | at[1] << 8 | at[2]) == color;
  g_print ("%" G_GUINT64_FORMAT "\n", found * 1000 / all);
  return 0;
}

int
main (int argc, char **argv)
{
  Picture picture;
  bool sums = argc == 7 && strcmp (argv[2], "sum") == 0;
  if (!sums && !(argc == 4 && strcmp (argv[2], "share") == 0))
    {
      g_printerr ("usage: picture FILE.png sum X Y WIDTH HEIGHT | share RRGGBB\n");
      return 2;
    }
  if (!picture_read (&picture, argv[1]))
    {
      g_printerr ("picture: %s: %s\n", argv[1], picture.image.message);
      return 1;
    }
  int status = sums ? sum (&picture, argv + 3) : share (&picture, argv[3]);
  g_free (picture.pixels);
  return status;
}
