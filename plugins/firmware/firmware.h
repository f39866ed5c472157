/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between firmware.c and what corrects an image: acpi.c, int13.c, mtrr.c. */
#pragma once

#include <string.h>
#include <tenon/tenon.h>

/* Where the code stands in the image; NULL unless it is there once. */
static inline uint8_t *
firmware_find (uint8_t *image, size_t size, const uint8_t *code, size_t length)
{
  uint8_t *found = NULL;
  for (size_t n = 0; n + length <= size; n++)
    if (memcmp (image + n, code, length) == 0)
      {
        if (found)
          return NULL;
        found = image + n;
      }
  return found;
}

/* Moves the PIIX4 from device 1 to device 7 in the DSDTs of a bochsbios image, in place.  Fails, and
   changes nothing, if the image does not hold exactly what is expected. */
bool firmware_fix_acpi (uint8_t *image, size_t size, GError **error);
/* Has INT 13h wait after each block that it writes, in place.  False, and nothing is changed, unless the
   code that is to be corrected is there once. */
bool firmware_fix_writes (uint8_t *image, size_t size);
/* Has the BIOS give MTRR 0 a mask of 36 bits, in place.  False as above. */
bool firmware_fix_mtrr (uint8_t *image, size_t size);
