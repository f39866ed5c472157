/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between firmware.c and acpi.c. */
#pragma once

#include <tenon/tenon.h>

/* Moves the PIIX4 from device 1 to device 7 in the DSDTs of a bochsbios image, in place.  Fails, and
   changes nothing, if the image does not hold exactly what is expected. */
bool firmware_fix_acpi (uint8_t *image, size_t size, GError **error);
