/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Load-time correction of bochsbios' ACPI tables.  The image holds two DSDTs (with and without a
 * HPET), written for a board whose south bridge is device 1.  On a 440BX board it is device 7, so in
 * each table:
 *
 *   - the two objects `Name (_ADR, 0x0001000n)` of the ISA bridge and the power management function
 *     become 0x0007000n;
 *   - the interrupt links in the package _PRT move by two: LNK[(d - 1 + pin) & 3] becomes
 *     LNK[(d - 7 + pin) & 3], that is A and C, and B and D, change places;
 *   - the checksum is made right again.
 *
 * ACPI 1.0b, sections 5.2.4 (checksum), 16.2.3 (AML names) and 16.2.4 (package lengths).
 */
#include "firmware.h"

#include <string.h>

#define TABLES 2
#define HEADER 36
#define CHECKSUM 9
#define PRT_ENTRIES 128
#define AML_PACKAGE 0x12
#define AML_DWORD 0x0c

typedef struct {
  uint8_t *bytes;
  size_t size;
} Table;

static uint32_t
read32 (const uint8_t *p)
{
  return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t) p[3] << 24;
}

static uint8_t
sum (const Table *t)
{
  uint8_t total = 0;
  for (size_t n = 0; n < t->size; n++)
    total += t->bytes[n];
  return total;
}

static unsigned
find_tables (uint8_t *image, size_t size, Table *tables)
{
  unsigned found = 0;
  for (size_t n = 0; n + HEADER <= size; n++)
    {
      Table t = { image + n, read32 (image + n + 4) };
      if (memcmp (t.bytes, "DSDT", 4) != 0 || t.size < HEADER || t.size > size - n || sum (&t) != 0)
        continue;
      if (found < TABLES)
        tables[found] = t;
      found++;
    }
  return found;
}

/* Name (_ADR, value) with a DWord constant: its value's place, or NULL unless it occurs once. */
static uint8_t *
find_address (const Table *t, uint32_t value)
{
  const uint8_t wanted[] = { '_', 'A', 'D', 'R', AML_DWORD, value & 0xff, value >> 8 & 0xff,
                             value >> 16 & 0xff, value >> 24 };
  uint8_t *found = NULL;
  for (size_t n = HEADER; n + sizeof wanted <= t->size; n++)
    if (memcmp (t->bytes + n, wanted, sizeof wanted) == 0)
      {
        if (found)
          return NULL;
        found = t->bytes + n + 5;
      }
  return found;
}

/* The package that Name (_PRT, Package ...) holds; a size of 0 if there is none. */
static Table
find_routing (const Table *t)
{
  for (size_t n = HEADER; n + 8 < t->size; n++)
    {
      const uint8_t *p = t->bytes + n;
      if (memcmp (p, "_PRT", 4) != 0 || p[4] != AML_PACKAGE || p[5] >> 6 != 1)
        continue;
      size_t size = (p[5] & 15) | p[6] << 4; /* two-byte PkgLength, which counts itself */
      if (n + 5 + size <= t->size)
        return (Table) { t->bytes + n + 5, size };
    }
  return (Table) { NULL, 0 };
}

static bool
is_link (const uint8_t *p)
{
  return memcmp (p, "LNK", 3) == 0 && p[3] >= 'A' && p[3] <= 'D';
}

static unsigned
count_links (const Table *routing)
{
  unsigned count = 0;
  for (size_t n = 0; n + 4 <= routing->size; n++)
    count += is_link (routing->bytes + n);
  return count;
}

static void
swap_links (const Table *routing)
{
  for (size_t n = 0; n + 4 <= routing->size; n++)
    if (is_link (routing->bytes + n))
      routing->bytes[n + 3] = 'A' + ((routing->bytes[n + 3] - 'A') ^ 2);
}

static bool
refuse (GError **error, const char *what)
{
  g_set_error (error, TN_ERROR, TN_ERROR_FAILED, "not the BIOS that is known: %s", what);
  return false;
}

bool
firmware_fix_acpi (uint8_t *image, size_t size, GError **error)
{
  Table table[TABLES], routing[TABLES];
  uint8_t *isa[TABLES], *power[TABLES];

  if (find_tables (image, size, table) != TABLES)
    return refuse (error, "it does not hold two DSDTs with right checksums");
  for (unsigned n = 0; n < TABLES; n++)
    {
      isa[n] = find_address (&table[n], 0x00010000);
      power[n] = find_address (&table[n], 0x00010003);
      routing[n] = find_routing (&table[n]);
      if (!isa[n] || !power[n])
        return refuse (error, "a DSDT does not hold the addresses of the PIIX4 once each");
      if (count_links (&routing[n]) != PRT_ENTRIES)
        return refuse (error, "a DSDT's _PRT does not have 128 entries");
    }
  for (unsigned n = 0; n < TABLES; n++)
    {
      isa[n][2] = power[n][2] = 0x07;
      swap_links (&routing[n]);
      table[n].bytes[CHECKSUM] -= sum (&table[n]);
    }
  return true;
}
