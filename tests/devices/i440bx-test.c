/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 82443BX on the fake bus: identification, mechanism 1, PAM, SMRAM and its lock, DRB, state, swap. */
#include <tenon/harness.h>

static TnHarness *
new_board (uint64_t megabytes)
{
  TnHarness *h = tn_harness_new (megabytes << 20);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  tn_harness_start (h);
  return h;
}

static uint32_t
config_read (TnHarness *h, unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
  tn_harness_out32 (h, 0xcf8, 0x80000000u | bus << 16 | devfn << 8 | (reg & 0xfc));
  switch (size)
    {
    case 1: return tn_harness_in8 (h, 0xcfc + (reg & 3));
    case 2: return tn_harness_in16 (h, 0xcfc + (reg & 2));
    default: return tn_harness_in32 (h, 0xcfc);
    }
}

static void
config_write8 (TnHarness *h, unsigned devfn, unsigned reg, uint8_t value)
{
  tn_harness_out32 (h, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc));
  tn_harness_out8 (h, 0xcfc + (reg & 3), value);
}

static void
test_identity (void)
{
  TnHarness *h = new_board (64);
  g_assert_cmphex (config_read (h, 0, 0, 0, 4), ==, 0x71908086);
  g_assert_cmphex (config_read (h, 0, 0, 8, 4), ==, 0x06000002);
  g_assert_cmphex (config_read (h, 0, 8, 0, 4), ==, 0x71918086);
  g_assert_cmphex (config_read (h, 0, 8, 0x0e, 1), ==, 0x01);
  g_assert_cmphex (config_read (h, 0, 16, 0, 4), ==, 0xffffffff);
  g_assert_cmphex (config_read (h, 5, 0, 0, 4), ==, 0xffffffff);
  /* CF8 answers dwords only; the enable bit gates CFC. */
  tn_harness_out32 (h, 0xcf8, 0x80000000);
  g_assert_cmphex (tn_harness_in32 (h, 0xcf8), ==, 0x80000000);
  g_assert_cmphex (tn_harness_in8 (h, 0xcf9), ==, 0xff);
  tn_harness_out32 (h, 0xcf8, 0);
  g_assert_cmphex (tn_harness_in32 (h, 0xcfc), ==, 0xffffffff);
  tn_harness_free (h);
}

static void
test_rows (void)
{
  TnHarness *h = new_board (512);
  g_assert_cmphex (config_read (h, 0, 0, 0x60, 1), ==, 32);
  g_assert_cmphex (config_read (h, 0, 0, 0x61, 1), ==, 64);
  g_assert_cmphex (config_read (h, 0, 0, 0x67, 1), ==, 64);
  tn_harness_free (h);
}

/* Writes go to RAM while reads still see the (empty) bus, as a BIOS shadows itself. */
static void
test_pam (void)
{
  TnHarness *h = new_board (64);
  tn_harness_write (h, 0xf0000, 0x11, 1);
  g_assert_cmphex (tn_harness_read (h, 0xf0000, 1), ==, 0xff);
  config_write8 (h, 0, 0x59, 0x20); /* WE */
  tn_harness_write (h, 0xf0000, 0x22, 1);
  g_assert_cmphex (tn_harness_read (h, 0xf0000, 1), ==, 0xff);
  config_write8 (h, 0, 0x59, 0x10); /* RE */
  g_assert_cmphex (tn_harness_read (h, 0xf0000, 1), ==, 0x22);
  tn_harness_write (h, 0xf0000, 0x33, 1);
  g_assert_cmphex (tn_harness_read (h, 0xf0000, 1), ==, 0x22);
  config_write8 (h, 0, 0x5a, 0x30); /* C4000 only */
  tn_harness_write (h, 0xc4000, 0x44, 1);
  tn_harness_write (h, 0xc0000, 0x55, 1);
  g_assert_cmphex (tn_harness_read (h, 0xc4000, 1), ==, 0x44);
  g_assert_cmphex (tn_harness_read (h, 0xc0000, 1), ==, 0xff);
  tn_harness_reset (h);
  g_assert_cmphex (tn_harness_read (h, 0xc4000, 1), ==, 0xff);
  tn_harness_free (h);
}

static void
test_smram (void)
{
  TnHarness *h = new_board (64);
  g_assert_cmphex (config_read (h, 0, 0, 0x72, 1), ==, 0x02);
  config_write8 (h, 0, 0x72, 0x4a); /* D_OPEN, G_SMRAME */
  tn_harness_write (h, 0xa8000, 0x5a, 1);
  config_write8 (h, 0, 0x72, 0x0a);
  g_assert_cmphex (tn_harness_read (h, 0xa8000, 1), ==, 0xff);
  g_assert_cmphex (tn_harness_read_smm (h, 0xa8000, 1), ==, 0x5a);
  config_write8 (h, 0, 0x72, 0x5a); /* D_LCK clears D_OPEN and freezes */
  g_assert_cmphex (config_read (h, 0, 0, 0x72, 1), ==, 0x1a);
  config_write8 (h, 0, 0x72, 0x4a);
  g_assert_cmphex (config_read (h, 0, 0, 0x72, 1), ==, 0x1a);
  g_assert_true (tn_harness_swap (h, "bridge", NULL, NULL));
  config_write8 (h, 0, 0x72, 0x4a);
  g_assert_cmphex (config_read (h, 0, 0, 0x72, 1), ==, 0x1a);
  g_assert_cmphex (tn_harness_read_smm (h, 0xa8000, 1), ==, 0x5a);
  tn_harness_reset (h);
  g_assert_cmphex (config_read (h, 0, 0, 0x72, 1), ==, 0x02);
  tn_harness_free (h);
}

static void
test_aperture (void)
{
  TnHarness *h = new_board (64);
  tn_harness_pci_write (h, 0, 0, 0x10, 0xffffffff, 4);
  g_assert_cmphex (tn_harness_pci_read (h, 0, 0, 0x10, 4), ==, 0xf0000008); /* 256 MiB */
  tn_harness_pci_write (h, 0, 0, 0xb4, 0x3f, 1);
  tn_harness_pci_write (h, 0, 0, 0x10, 0xffffffff, 4);
  g_assert_cmphex (tn_harness_pci_read (h, 0, 0, 0x10, 4), ==, 0xffc00008); /* 4 MiB */
  tn_harness_free (h);
}

static void
test_too_much_memory (void)
{
  GError *error = NULL;
  TnHarness *h = tn_harness_new (UINT64_C (2048) << 20);
  tn_harness_add (h, "bridge", "i440bx", NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_nonnull (strstr (error->message, "1024 MB"));
  g_clear_error (&error);
  tn_harness_free (h);
}

static void
test_state (void)
{
  TnHarness *h = new_board (64), *other = new_board (64);
  config_write8 (h, 0, 0x59, 0x10);
  GBytes *state = tn_harness_save (h), *again;
  g_assert_true (tn_harness_load (other, state, NULL));
  again = tn_harness_save (other);
  g_assert_true (g_bytes_equal (state, again));
  g_assert_cmphex (tn_harness_pci_read (other, 0, 0, 0x59, 1), ==, 0x10);
  g_bytes_unref (state);
  g_bytes_unref (again);
  tn_harness_free (h);
  tn_harness_free (other);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/i440bx/identity", test_identity);
  g_test_add_func ("/i440bx/rows", test_rows);
  g_test_add_func ("/i440bx/pam", test_pam);
  g_test_add_func ("/i440bx/smram", test_smram);
  g_test_add_func ("/i440bx/aperture", test_aperture);
  g_test_add_func ("/i440bx/too-much-memory", test_too_much_memory);
  g_test_add_func ("/i440bx/state", test_state);
  return g_test_run ();
}
