/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Load-time correction of bochsbios' memory types.  It makes the last GiB below 4 GiB uncacheable
 * by MTRR 0, and takes its mask from CPUID 80000008h; for a processor that has no such leaf it
 * assumes 32 bits of physical address.  Those of a Pentium II or III have 36 (Intel SDM volume
 * 3A, 12.11.2.3): then the range is there again above each 4 GiB, and Linux complains about the
 * BIOS.
 *
 *   xor ebx, ebx                     becomes   mov ebp, C0000800h
 *   mov ebp, C0000800h                         push 0Fh
 *   mov dword [esp], C0000800h                 pop ebx
 *   mov dword [esp+4], 0                       mov [esp], ebp
 *                                              mov [esp+4], ebx
 *                                              mov eax, something that leaves the ROM's sum as it
 * was
 *
 * EBX:EBP is the mask for a list that other processors get it from, EAX is about to be loaded
 * anyway.
 */
#include "firmware.h"

#include <assert.h>

#define FILLER 16 /* its place: a byte of the number that nobody looks at */

static uint8_t
sum (const uint8_t *bytes, size_t n)
{
  uint8_t total = 0;
  while (n--)
    total += *bytes++;
  return total;
}

bool
firmware_fix_mtrr (uint8_t *image, size_t size)
{
  static const uint8_t code[]
      = { 0x31, 0xdb, 0xbd, 0x00, 0x08, 0x00, 0xc0, 0xc7, 0x04, 0x24, 0x00,
          0x08, 0x00, 0xc0, 0xc7, 0x44, 0x24, 0x04, 0x00, 0x00, 0x00, 0x00 };
  static const uint8_t fixed[]
      = { 0xbd, 0x00, 0x08, 0x00, 0xc0, 0x6a, 0x0f, 0x5b, 0x89, 0x2c, 0x24,
          0x89, 0x5c, 0x24, 0x04, 0xb8, 0x00, 0x00, 0x00, 0x00, 0x90, 0x90 };
  static_assert (sizeof code == sizeof fixed, "what follows stays where it is");
  uint8_t *found = firmware_find (image, size, code, sizeof code);
  if (!found)
    return false;
  memcpy (found, fixed, sizeof fixed);
  found[FILLER] = sum (code, sizeof code) - sum (fixed, sizeof fixed);
  return true;
}
