/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Load-time correction of bochsbios' disk driver.  After a block that it has written it reads the
 * status once and takes BSY for an error, where the PIO data-out protocol of ATA (ANSI NCITS
 * 317-1998) has the host wait: INT 13h then reports failure, and its caller writes no more.  After
 * a block that was read it does wait, in one and the same place:
 *
 *   mov ax, [bp+4]      direction, 0 is in
 *   test ax, ax
 *   jnz over            becomes XCHG DI, DI, which does nothing and leaves the ROM's sum as it was
 *   mov ax, 32000       wait until not busy, so many ms at most
 *   push ax
 */
#include "firmware.h"

#define JUMP 5 /* its place */

bool
firmware_fix_writes (uint8_t *image, size_t size)
{
  static const uint8_t code[]
      = { 0x8b, 0x46, 0x04, 0x85, 0xc0, 0x75, 0x11, 0xb8, 0x00, 0x7d, 0x50 };
  uint8_t *found = firmware_find (image, size, code, sizeof code);
  if (!found)
    return false;
  found[JUMP] = 0x87;
  found[JUMP + 1] = 0xff;
  return true;
}
