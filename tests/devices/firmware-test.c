/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The system ROM: mapping, refusals, the corrections of ACPI tables and of INT 13h on images made here,
   ports, power off. */
#include "firmware.h"

#include <glib/gstdio.h>
#include <tenon/harness.h>
#include <unistd.h>

#define TABLE_SIZE 1400

static void
put_name (GByteArray *a, const char *name, const uint8_t *tail, unsigned size)
{
  g_byte_array_append (a, (const uint8_t *) name, 4);
  g_byte_array_append (a, tail, size);
}

/* A DSDT like that of bochsbios in what matters: two addresses and 128 links. */
static void
put_table (GByteArray *a)
{
  guint start = a->len;
  const uint8_t isa[] = { 0x0c, 0, 0, 1, 0 }, power[] = { 0x0c, 3, 0, 1, 0 };
  const uint8_t package[] = { 0x12, 0x40 | (515 & 15), 515 >> 4, 128 };
  uint8_t header[36] = { 'D', 'S', 'D', 'T', TABLE_SIZE & 0xff, TABLE_SIZE >> 8 }, sum = 0;

  g_byte_array_append (a, header, sizeof header);
  put_name (a, "_PRT", package, sizeof package);
  for (unsigned n = 0; n < 128; n++)
    put_name (a, (const char[]) { 'L', 'N', 'K', (char) ('A' + n % 4) }, NULL, 0);
  put_name (a, "_ADR", isa, sizeof isa);
  put_name (a, "_ADR", power, sizeof power);
  put_name (a, "LNKA", NULL, 0); /* outside of _PRT: stays */
  g_byte_array_set_size (a, start + TABLE_SIZE);
  memset (a->data + start + 36 + 8 + 512 + 18 + 4, 0, TABLE_SIZE - (36 + 8 + 512 + 18 + 4));
  for (unsigned n = 0; n < TABLE_SIZE; n++)
    sum += a->data[start + n];
  a->data[start + 9] -= sum;
}

static GByteArray *
new_image (unsigned tables)
{
  GByteArray *a = g_byte_array_new ();
  const uint8_t pad[64] = { 0 };
  for (unsigned n = 0; n < tables; n++)
    {
      g_byte_array_append (a, pad, sizeof pad);
      put_table (a);
    }
  guint used = a->len;
  g_byte_array_set_size (a, 128 << 10);
  memset (a->data + used, 0, a->len - used);
  a->data[a->len - 16] = 0xea;
  return a;
}

static void
test_acpi (void)
{
  GByteArray *a = new_image (2);
  g_autofree uint8_t *before = g_memdup2 (a->data, a->len);
  GError *error = NULL;
  uint8_t sum = 0;

  g_assert_true (firmware_fix_acpi (a->data, a->len, &error));
  g_assert_no_error (error);
  for (unsigned n = 0; n < TABLE_SIZE; n++)
    sum += a->data[64 + n];
  g_assert_cmpuint (sum, ==, 0);
  const uint8_t *prt = a->data + 64 + 36 + 8, *isa = prt + 512;
  g_assert_cmpmem (prt, 16, "LNKCLNKDLNKALNKB", 16);
  g_assert_cmphex (isa[7], ==, 0x07);
  g_assert_cmphex (isa[9 + 7], ==, 0x07);
  g_assert_cmpmem (isa + 18, 4, "LNKA", 4);
  /* Not twice, and not on anything else: refused and untouched. */
  g_autofree uint8_t *after = g_memdup2 (a->data, a->len);
  g_assert_false (firmware_fix_acpi (a->data, a->len, NULL));
  g_assert_cmpmem (a->data, a->len, after, a->len);
  before[64 + 100] ^= 1;
  g_assert_false (firmware_fix_acpi (before, a->len, NULL));
  g_byte_array_unref (a);
}

static char *
write_image (const void *bytes, gsize size)
{
  char *path;
  int fd = g_file_open_tmp ("tenon-bios-XXXXXX", &path, NULL);
  g_assert_cmpint (fd, >=, 0);
  g_close (fd, NULL);
  g_assert_true (g_file_set_contents (path, bytes, size, NULL));
  return path;
}

static void
test_mapping (void)
{
  GByteArray *a = new_image (2);
  g_autofree char *path = write_image (a->data, a->len);
  TnHarness *h = tn_harness_new (64 << 20);
  tn_harness_add (h, "north", "i440bx", NULL);
  tn_harness_add (h, "bios", "firmware", "file", path, NULL);
  tn_harness_start (h);
  g_assert_cmphex (tn_harness_read (h, 0xfffffff0, 1), ==, 0xea);
  g_assert_cmphex (tn_harness_read (h, 0xffff0, 1), ==, 0xea);
  tn_harness_write (h, 0xffff0, 0, 1);
  g_assert_cmphex (tn_harness_read (h, 0xffff0, 1), ==, 0xea);
  tn_harness_out8 (h, 0x80, 0x42);
  for (const char *c = "ShutShutdown"; *c; c++)
    {
      g_assert_false (tn_harness_take_poweroff (h));
      tn_harness_out8 (h, 0x8900, (uint8_t) *c);
    }
  g_assert_true (tn_harness_take_poweroff (h));
  g_assert_true (tn_harness_swap (h, "bios", NULL, NULL));
  g_assert_cmphex (tn_harness_read (h, 0xffff0, 1), ==, 0xea);
  tn_harness_free (h);
  g_unlink (path);
  g_byte_array_unref (a);
}

/* Code as it stands in bochsbios, with something before and behind it. */
static void
test_writes (void)
{
  const uint8_t code[] = { 0x8b, 0x46, 0x04, 0x85, 0xc0, 0x75, 0x11, 0xb8, 0x00, 0x7d, 0x50 };
  const uint8_t fixed[] = { 0x8b, 0x46, 0x04, 0x85, 0xc0, 0x87, 0xff, 0xb8, 0x00, 0x7d, 0x50 };
  uint8_t image[256], before[256];

  memset (image, 0x90, sizeof image);
  memcpy (image + 240, code, sizeof code - 1);
  memcpy (before, image, sizeof image);
  g_assert_false (firmware_fix_writes (image, sizeof image)); /* none, and one that is cut */
  g_assert_false (firmware_fix_writes (image, 250));
  g_assert_cmpmem (image, sizeof image, before, sizeof image);
  memcpy (image + 1, code, sizeof code);
  g_assert_true (firmware_fix_writes (image, sizeof image));
  g_assert_cmpmem (image + 1, sizeof code, fixed, sizeof fixed);
  memcpy (image + 1, before + 1, sizeof code);
  g_assert_cmpmem (image, sizeof image, before, sizeof image);
  memcpy (image + 1, code, sizeof code);
  memcpy (image + 100, code, sizeof code);
  g_assert_false (firmware_fix_writes (image, sizeof image));
  g_assert_cmpmem (image + 1, sizeof code, code, sizeof code);
}

/* The BIOS that the machine loads has the code once; what it then does is the mask of 36 bits, and
   its sum is what it was. */
static void
test_mtrr (void)
{
  const uint8_t fixed[] = { 0xbd, 0x00, 0x08, 0x00, 0xc0, 0x6a, 0x0f, 0x5b,
                            0x89, 0x2c, 0x24, 0x89, 0x5c, 0x24, 0x04, 0xb8 };
  g_autofree char *image = NULL;
  gsize size;
  uint8_t before = 0, after = 0;

  if (!g_file_get_contents ("/usr/share/bochs/BIOS-bochs-latest", &image, &size, NULL))
    {
      g_test_skip ("bochsbios is not installed");
      return;
    }
  for (gsize n = 0; n < size; n++)
    before += image[n];
  g_assert_true (firmware_fix_mtrr ((uint8_t *) image, size));
  for (gsize n = 0; n < size; n++)
    after += image[n];
  g_assert_cmphex (after, ==, before);
  g_assert_nonnull (firmware_find ((uint8_t *) image, size, fixed, sizeof fixed));
  g_assert_false (firmware_fix_mtrr ((uint8_t *) image, size)); /* there is no more to correct */
}

/* ---- Typing ---- */

#define RING 0x1e /* of 16 words, as the BIOS has it */

static void
set_ring (TnHarness *h, uint16_t head, uint16_t tail)
{
  tn_harness_write (h, 0x41a, head, 2);
  tn_harness_write (h, 0x41c, tail, 2);
  tn_harness_write (h, 0x480, RING, 2);
  tn_harness_write (h, 0x482, RING + 32, 2);
}

/* Reads what the keyboard has sent within a second, as INT 9 does: the number of makes. */
static unsigned
take_keys (TnHarness *h)
{
  unsigned makes = 0;
  for (unsigned n = 0; n < 1000; n++)
    {
      tn_harness_clock_step (h, TN_NS_PER_MS);
      if (tn_harness_in8 (h, 0x64) & 1)
        makes += !(tn_harness_in8 (h, 0x60) & 0x80);
    }
  return makes;
}

/* A text waits while a key lies in the BIOS's ring, but not if that is not what takes the keys. */
static void
test_typing (void)
{
  GByteArray *a = new_image (2);
  g_autofree char *path = write_image (a->data, a->len);
  TnHarness *h = tn_harness_new (16 << 20);
  tn_harness_add (h, "bios", "firmware", "file", path, NULL);
  tn_harness_add (h, "kbc", "kbc", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0x64, 0x60);
  tn_harness_out8 (h, 0x60, 0x44); /* translated, no interrupts */

  set_ring (h, RING, RING);
  tn_harness_type (h, "abc");
  for (unsigned n = 0; n < 3; n++)
    {
      tn_harness_clock_step (h, 5 * TN_NS_PER_MS);
      tn_harness_clock_step (h, 5 * TN_NS_PER_MS);
      g_assert_true (tn_harness_in8 (h, 0x64) & 1);
      set_ring (h, RING + 2 * n, RING + 2 * n + 2);
      g_assert_cmpuint (take_keys (h), ==, 1);
      set_ring (h, RING + 2 * n + 2, RING + 2 * n + 2);
      tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
    }
  g_assert_cmpuint (take_keys (h), ==, 0);

  /* A key was left over when a system with a driver of its own started. */
  set_ring (h, RING + 6, RING + 8);
  tn_harness_reset (h);
  tn_harness_out8 (h, 0x64, 0x60);
  tn_harness_out8 (h, 0x60, 0x44);
  tn_harness_type (h, "defghi");
  g_assert_cmpuint (take_keys (h), ==, 6);
  /* No ring at all. */
  set_ring (h, 3, 0xffff);
  tn_harness_type (h, "jkl");
  g_assert_cmpuint (take_keys (h), ==, 3);
  tn_harness_free (h);
  g_unlink (path);
  g_byte_array_unref (a);
}

static void
refuses (const void *bytes, gsize size, const char *why)
{
  g_autofree char *path = write_image (bytes, size);
  g_autoptr (GError) error = NULL;
  TnHarness *h = tn_harness_new (64 << 20);
  tn_harness_add (h, "bios", "firmware", "file", path, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, why));
  tn_harness_free (h);
  g_unlink (path);
}

static void
test_refusals (void)
{
  GByteArray *one = new_image (1);
  refuses (one->data, one->len, "two DSDTs");
  refuses (one->data, 100000, "64, 128, 256 or 512 KiB");
  refuses ("", 0, "64, 128, 256 or 512 KiB");
  g_byte_array_unref (one);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/firmware/acpi", test_acpi);
  g_test_add_func ("/firmware/writes", test_writes);
  g_test_add_func ("/firmware/mtrr", test_mtrr);
  g_test_add_func ("/firmware/mapping", test_mapping);
  g_test_add_func ("/firmware/typing", test_typing);
  g_test_add_func ("/firmware/refusals", test_refusals);
  return g_test_run ();
}
