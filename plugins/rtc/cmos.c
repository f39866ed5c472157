/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * CMOS configuration memory: the bytes that bochsbios 2.7 reads (its rombios.c and rombios32.c),
 * and the file that stands for the battery.
 *
 *   0F shutdown code          15 16 base memory, KiB         34 35 memory above 16 MiB, 64 KiB
 *   10 floppy types           17 18, 30 31 extended, KiB     38 bits 7:4 third, 0 no check
 *   14 equipment              2D bit 5: floppy before disk   39 3A disk translation, 2 bits a disk
 *   2E 2F sum of 10-2D        32 century                     3D first (3:0), second boot device
 *   3F bit 0: fast boot       5B-5D memory above 4 GiB
 *
 * The file holds 256 bytes of CMOS, of which those below 0E are unused, and the guest's offset
 * from the host's clock in microseconds, eight bytes, low byte first.
 */
#include "rtc.h"

#include <string.h>

enum {
  CMOS_SHUTDOWN = 0x0f,
  CMOS_FLOPPIES = 0x10,
  CMOS_EQUIPMENT = 0x14,
  CMOS_BASE_MEMORY = 0x15,
  CMOS_EXTENDED = 0x17,
  CMOS_SYSTEM_FLAGS = 0x2d,
  CMOS_SUM = 0x2e,
  CMOS_EXTENDED_POST = 0x30,
  CMOS_ABOVE_16M = 0x34,
  CMOS_BOOT_THIRD = 0x38,
  CMOS_TRANSLATION = 0x39,
  CMOS_BOOT = 0x3d,
  CMOS_FAST_BOOT = 0x3f,
  CMOS_ABOVE_4G = 0x5b,
};

enum {
  EQUIPMENT_FLOPPY = 0x01,
  EQUIPMENT_FPU = 0x02,
  EQUIPMENT_POINTER = 0x04,
  EQUIPMENT_TWO_FLOPPIES = 0x40,
  FLAGS_FLOPPY_FIRST = 0x20,
  BOOT_NO_FLOPPY_CHECK = 0x01,
  FAST_BOOT = 0x01,
};

enum { BOOT_NONE, BOOT_FLOPPY, BOOT_DISK, BOOT_CDROM, BOOT_NETWORK };

#define BASE_MEMORY_KIB 640
#define EXTENDED_MAX_KIB 0xfc00u
#define FILE_SIZE (CMOS_SIZE + 8)
#define DEFAULT_BOOT "cdrom,disk,floppy"

static void
set_word (Rtc *r, unsigned offset, uint16_t value)
{
  r->cmos[offset] = value;
  r->cmos[offset + 1] = value >> 8;
}

static void
fill_memory (Rtc *r)
{
  uint64_t kib = tn_device_ram_size (r->device) / 1024;
  uint64_t extended = kib > 1024 ? MIN (kib - 1024, EXTENDED_MAX_KIB) : 0;
  uint64_t above_16m = kib > 16 * 1024 ? MIN ((kib - 16 * 1024) / 64, 0xffff) : 0;
  set_word (r, CMOS_BASE_MEMORY, BASE_MEMORY_KIB);
  set_word (r, CMOS_EXTENDED, extended);
  set_word (r, CMOS_EXTENDED_POST, extended);
  set_word (r, CMOS_ABOVE_16M, above_16m);
  memset (&r->cmos[CMOS_ABOVE_4G], 0, 3);
}

static void
fill_sum (Rtc *r)
{
  uint16_t sum = 0;
  for (unsigned i = CMOS_FLOPPIES; i <= CMOS_SYSTEM_FLAGS; i++)
    sum += r->cmos[i];
  r->cmos[CMOS_SUM] = sum >> 8;
  r->cmos[CMOS_SUM + 1] = sum;
}

static uint8_t
floppy_type (Rtc *r, uint32_t configured, const char *fact)
{
  uint32_t value;
  if (configured != FLOPPY_AUTO)
    return configured;
  return tn_device_lookup (r->device, fact, &value) && value < FLOPPY_AUTO ? value : FLOPPY_NONE;
}

void
rtc_cmos_fill_floppies (Rtc *r)
{
  uint8_t a = floppy_type (r, r->floppy_a, "floppy-a");
  uint8_t b = floppy_type (r, r->floppy_b, "floppy-b");
  r->cmos[CMOS_FLOPPIES] = a << 4 | b;
  r->cmos[CMOS_EQUIPMENT] = EQUIPMENT_FPU | EQUIPMENT_POINTER | (a || b ? EQUIPMENT_FLOPPY : 0)
                            | (a && b ? EQUIPMENT_TWO_FLOPPIES : 0);
  fill_sum (r);
}

static int
boot_device (const char *word)
{
  static const char *const names[] = { "", "floppy", "disk", "cdrom", "network" };
  for (unsigned i = BOOT_FLOPPY; i < G_N_ELEMENTS (names); i++)
    if (strcmp (word, names[i]) == 0)
      return i;
  return -1;
}

static bool
fill_boot (Rtc *r, const char *order, GError **error)
{
  uint8_t device[3] = { BOOT_NONE, BOOT_NONE, BOOT_NONE };
  g_auto (GStrv) words = g_strsplit (order, ",", 0);
  unsigned floppy = 3, disk = 3;
  if (g_strv_length (words) > 3)
    return tn_device_fail (r->device, error, TN_ERROR_CONFIG,
                           "boot: expected at most three devices, found \"%s\"", order);
  for (unsigned i = 0; words[i]; i++)
    {
      int number = boot_device (g_strstrip (words[i]));
      if (number < 0)
        return tn_device_fail (r->device, error, TN_ERROR_CONFIG,
                               "boot: expected floppy, disk, cdrom or network, found \"%s\"",
                               words[i]);
      device[i] = number;
      if (number == BOOT_FLOPPY)
        floppy = MIN (floppy, i);
      if (number == BOOT_DISK)
        disk = MIN (disk, i);
    }
  r->cmos[CMOS_BOOT] = device[1] << 4 | device[0];
  r->cmos[CMOS_BOOT_THIRD] = (r->cmos[CMOS_BOOT_THIRD] & 0x0f) | device[2] << 4;
  r->cmos[CMOS_SYSTEM_FLAGS] &= ~FLAGS_FLOPPY_FIRST;
  if (floppy < disk)
    r->cmos[CMOS_SYSTEM_FLAGS] |= FLAGS_FLOPPY_FIRST;
  return true;
}

static void
set_flag (uint8_t *byte, uint8_t flag, bool on)
{
  *byte = on ? *byte | flag : *byte & ~flag;
}

bool
rtc_cmos_fill (Rtc *r, GError **error)
{
  const char *boot = r->boot;
  if (!boot && r->cmos[CMOS_BOOT] == 0) /* nor does the file say */
    boot = DEFAULT_BOOT;
  if (boot && !fill_boot (r, boot, error))
    return false;
  r->cmos[CMOS_SHUTDOWN] = 0;
  fill_memory (r);
  memset (&r->cmos[CMOS_TRANSLATION], r->translation * 0x55, 2);
  set_flag (&r->cmos[CMOS_BOOT_THIRD], BOOT_NO_FLOPPY_CHECK, !r->check_floppy);
  set_flag (&r->cmos[CMOS_FAST_BOOT], FAST_BOOT, r->fast_boot);
  rtc_cmos_fill_floppies (r);
  return true;
}

bool
rtc_cmos_load (Rtc *r, GError **error)
{
  g_autofree char *bytes = NULL;
  gsize size = 0;
  g_autoptr (GError) local = NULL;
  if (!r->nvram)
    return true;
  if (!g_file_get_contents (r->nvram, &bytes, &size, &local))
    {
      if (g_error_matches (local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return true;
      return tn_device_fail (r->device, error, TN_ERROR_IO, "nvram: %s", local->message);
    }
  if (size != FILE_SIZE)
    return tn_device_fail (r->device, error, TN_ERROR_CONFIG,
                           "nvram: %s: expected %d bytes, found %" G_GSIZE_FORMAT
                           "; remove it to start with an empty one",
                           r->nvram, FILE_SIZE, size);
  memcpy (r->cmos + CMOS_FIRST_FREE, bytes + CMOS_FIRST_FREE, CMOS_SIZE - CMOS_FIRST_FREE);
  uint64_t offset = 0;
  for (unsigned i = 0; i < 8; i++)
    offset |= (uint64_t) (uint8_t) bytes[CMOS_SIZE + i] << 8 * i;
  r->offset_us = offset;
  if (r->offset_us < -RTC_MAX_OFFSET_US || r->offset_us > RTC_MAX_OFFSET_US)
    return tn_device_fail (r->device, error, TN_ERROR_CONFIG,
                           "nvram: %s: the clock's offset is out of range; remove the file",
                           r->nvram);
  return true;
}

void
rtc_cmos_save (Rtc *r)
{
  char bytes[FILE_SIZE] = { 0 };
  g_autoptr (GError) error = NULL;
  r->dirty = false;
  if (!r->nvram)
    return;
  memcpy (bytes + CMOS_FIRST_FREE, r->cmos + CMOS_FIRST_FREE, CMOS_SIZE - CMOS_FIRST_FREE);
  for (unsigned i = 0; i < 8; i++)
    bytes[CMOS_SIZE + i] = (uint64_t) r->offset_us >> 8 * i;
  if (!g_file_set_contents_full (r->nvram, bytes, sizeof bytes, G_FILE_SET_CONTENTS_CONSISTENT,
                                 0666, &error))
    tn_device_log (r->device, TN_LOG_ERROR, "nvram is not saved: %s", error->message);
}
