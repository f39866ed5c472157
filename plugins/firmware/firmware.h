/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between firmware.c, acpi.c and int13.c. */
#pragma once

#include <tenon/tenon.h>

/* Moves the PIIX4 from device 1 to device 7 in the DSDTs of a bochsbios image, in place.  Fails, and
   changes nothing, if the image does not hold exactly what is expected. */
bool firmware_fix_acpi (uint8_t *image, size_t size, GError **error);
/* Has INT 13h wait after each block that it writes, in place.  False, and nothing is changed, unless the
   code that is to be corrected is there once. */
bool firmware_fix_writes (uint8_t *image, size_t size);
