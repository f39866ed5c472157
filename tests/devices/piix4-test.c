/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 82371EB on the fake bus: PIRQ routing, resets, A20, SMI by APMC, ACPI timer and SCI, SMBus, UHCI. */
#include <tenon/harness.h>

#define ISA (7 << 3)
#define USB (7 << 3 | 2)
#define PM (7 << 3 | 3)
#define PMBA 0xb000
#define SMBBA 0xb100

static TnHarness *
new_board (void)
{
  TnHarness *h = tn_harness_new (256 << 20);
  tn_harness_add (h, "south", "piix4", NULL);
  tn_harness_start (h);
  tn_harness_pci_write (h, 0, PM, 0x40, PMBA, 4);
  tn_harness_pci_write (h, 0, PM, 0x80, 1, 1);
  tn_harness_pci_write (h, 0, PM, 0x90, SMBBA, 4);
  tn_harness_pci_write (h, 0, PM, 0xd2, 0x09, 1);
  tn_harness_pci_write (h, 0, PM, 0x04, 1, 2);
  return h;
}

static void
test_identity (void)
{
  TnHarness *h = new_board ();
  g_assert_cmphex (tn_harness_pci_read (h, 0, ISA, 0, 4), ==, 0x71108086);
  g_assert_cmphex (tn_harness_pci_read (h, 0, ISA, 0x0e, 1), ==, 0x80);
  g_assert_cmphex (tn_harness_pci_read (h, 0, USB, 0, 4), ==, 0x71128086);
  g_assert_cmphex (tn_harness_pci_read (h, 0, PM, 0, 4), ==, 0x71138086);
  g_assert_cmphex (tn_harness_pci_read (h, 0, PM, 0x40, 4), ==, PMBA | 1);
  g_assert_cmphex (tn_harness_pci_read (h, 0, PM, 0x64, 4), ==, 1u << 27);
  g_assert_cmphex (tn_harness_pci_read (h, 0, ISA, 0x60, 4), ==, 0x80808080);
  tn_harness_free (h);
}

static void
test_pirq (void)
{
  TnHarness *h = new_board ();
  tn_harness_pci_write (h, 0, ISA, 0x60, 0x0b, 1); /* PIRQA -> 11 */
  tn_harness_pci_write (h, 0, ISA, 0x61, 0x0b, 1); /* PIRQB -> 11 */
  tn_harness_set_line (h, "pci:0:11:0", true);     /* (11 - 7 + 0) & 3 = A */
  g_assert_true (tn_harness_line (h, "isa:11"));
  g_assert_true (tn_harness_line (h, "gsi:16"));
  tn_harness_set_line (h, "pci:0:8:0", true); /* B */
  tn_harness_set_line (h, "pci:0:11:0", false);
  g_assert_true (tn_harness_line (h, "isa:11"));
  g_assert_false (tn_harness_line (h, "gsi:16"));
  tn_harness_pci_write (h, 0, ISA, 0x61, 0x05, 1);
  g_assert_false (tn_harness_line (h, "isa:11"));
  g_assert_true (tn_harness_line (h, "isa:5"));
  g_assert_true (tn_harness_swap (h, "south", NULL, NULL));
  g_assert_true (tn_harness_line (h, "isa:5"));
  tn_harness_set_line (h, "pci:0:8:0", false);
  g_assert_false (tn_harness_line (h, "isa:5"));
  tn_harness_set_line (h, "pci:1:0:0", true); /* AGP slot: B */
  g_assert_true (tn_harness_line (h, "isa:5"));
  tn_harness_free (h);
}

static void
test_resets (void)
{
  TnHarness *h = new_board ();
  TnResetKind kind;
  tn_harness_line_edges (h, "cpu:init");
  tn_harness_out8 (h, 0x92, 0x03);
  g_assert_true (tn_harness_line (h, "cpu:a20"));
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:init"), ==, 1);
  tn_harness_out8 (h, 0xcf9, 0x02);
  g_assert_false (tn_harness_take_reset (h, &kind));
  tn_harness_out8 (h, 0xcf9, 0x06);
  g_assert_true (tn_harness_take_reset (h, &kind));
  g_assert_cmpint (kind, ==, TN_RESET_HARD);
  tn_harness_out8 (h, 0xcf9, 0x00);
  tn_harness_out8 (h, 0xcf9, 0x04);
  g_assert_false (tn_harness_take_reset (h, &kind));
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:init"), ==, 1);
  tn_harness_free (h);
}

static void
test_apm (void)
{
  TnHarness *h = new_board ();
  tn_harness_line_edges (h, "cpu:smi");
  tn_harness_out8 (h, 0xb2, 0xf1);
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:smi"), ==, 0);
  g_assert_cmphex (tn_harness_in16 (h, PMBA + 0x18) & 0x20, ==, 0x20);
  tn_harness_out16 (h, PMBA + 0x18, 0x20);
  g_assert_cmphex (tn_harness_in16 (h, PMBA + 0x18) & 0x20, ==, 0);
  tn_harness_pci_write (h, 0, PM, 0x5b, 0x02, 1); /* APMC_EN */
  tn_harness_out8 (h, 0xb3, 0x77);
  tn_harness_out8 (h, 0xb2, 0xf0);
  g_assert_cmpuint (tn_harness_line_edges (h, "cpu:smi"), ==, 1);
  g_assert_cmphex (tn_harness_in8 (h, 0xb2), ==, 0xf0);
  g_assert_cmphex (tn_harness_in8 (h, 0xb3), ==, 0x77);
  tn_harness_free (h);
}

static void
test_timer (void)
{
  TnHarness *h = new_board ();
  uint32_t before = tn_harness_in32 (h, PMBA + 8);
  tn_harness_clock_step (h, TN_NS_PER_S);
  g_assert_cmpuint ((tn_harness_in32 (h, PMBA + 8) - before) & 0xffffff, ==, 3579545);
  g_assert_cmphex (tn_harness_in16 (h, PMBA) & 1, ==, 0);
  tn_harness_out16 (h, PMBA + 4, 0x0001); /* SCI_EN */
  tn_harness_out16 (h, PMBA + 2, 0x0001); /* TMROF_EN */
  tn_harness_clock_step (h, 1343 * TN_NS_PER_MS); /* bit 23 changes after 2.3435 s */
  g_assert_false (tn_harness_line (h, "isa:9"));
  tn_harness_clock_step (h, 2 * TN_NS_PER_MS);
  g_assert_true (tn_harness_line (h, "isa:9"));
  g_assert_true (tn_harness_swap (h, "south", NULL, NULL));
  g_assert_true (tn_harness_line (h, "isa:9"));
  tn_harness_out16 (h, PMBA, 0x0001);
  g_assert_false (tn_harness_line (h, "isa:9"));
  tn_harness_free (h);
}

static void
test_power (void)
{
  TnHarness *h = new_board ();
  tn_harness_out16 (h, PMBA + 4, 0x0001);
  tn_harness_out16 (h, PMBA + 2, 0x0100);
  tn_harness_set_line (h, "button:power", true);
  g_assert_true (tn_harness_line (h, "isa:9"));
  tn_harness_out16 (h, PMBA + 4, 0x2001);
  g_assert_true (tn_harness_take_poweroff (h));
  tn_harness_free (h);
}

/* FERR# -> IRQ13; a write to F0 quiets it and asserts IGNNE# until FERR# is gone. */
static void
test_ferr (void)
{
  TnHarness *h = new_board ();
  tn_harness_pci_write (h, 0, ISA, 0x4e, 0x23, 1);
  tn_harness_set_line (h, "cpu:ferr", true);
  g_assert_true (tn_harness_line (h, "isa:13"));
  tn_harness_out8 (h, 0xf0, 0);
  g_assert_false (tn_harness_line (h, "isa:13"));
  g_assert_true (tn_harness_line (h, "cpu:ignne"));
  tn_harness_set_line (h, "cpu:ferr", false);
  g_assert_false (tn_harness_line (h, "cpu:ignne"));
  tn_harness_free (h);
}

static uint8_t
smbus_byte (TnHarness *h, uint8_t address, uint8_t command)
{
  tn_harness_out8 (h, SMBBA + 0, 0x1e);
  tn_harness_out8 (h, SMBBA + 4, address << 1 | 1);
  tn_harness_out8 (h, SMBBA + 3, command);
  tn_harness_out8 (h, SMBBA + 2, 0x48); /* byte data, start */
  return tn_harness_in8 (h, SMBBA);
}

static void
test_spd (void)
{
  TnHarness *h = new_board ();
  unsigned sum = 0;
  g_assert_cmphex (smbus_byte (h, 0x51, 0), ==, 0x04); /* empty slot: DEV_ERR */
  for (unsigned n = 0; n < 63; n++)
    {
      g_assert_cmphex (smbus_byte (h, 0x50, n), ==, 0x02);
      sum += tn_harness_in8 (h, SMBBA + 5);
    }
  smbus_byte (h, 0x50, 63);
  g_assert_cmphex (tn_harness_in8 (h, SMBBA + 5), ==, sum & 0xff);
  smbus_byte (h, 0x50, 31);
  g_assert_cmpuint (tn_harness_in8 (h, SMBBA + 5) * 4, ==, 256);
  tn_harness_free (h);
}

static void
test_uhci (void)
{
  TnHarness *h = new_board ();
  tn_harness_pci_write (h, 0, USB, 0x20, 0xc020, 4);
  tn_harness_pci_write (h, 0, USB, 0x04, 1, 2);
  g_assert_cmphex (tn_harness_in16 (h, 0xc022), ==, 0x20);
  g_assert_cmphex (tn_harness_in16 (h, 0xc030), ==, 0x80);
  tn_harness_out16 (h, 0xc020, 1);
  tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_in16 (h, 0xc026), ==, 10);
  tn_harness_out16 (h, 0xc020, 0);
  tn_harness_clock_step (h, 10 * TN_NS_PER_MS);
  g_assert_cmpuint (tn_harness_in16 (h, 0xc026), ==, 10);
  g_assert_cmphex (tn_harness_in16 (h, 0xc022), ==, 0x20);
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/piix4/identity", test_identity);
  g_test_add_func ("/piix4/pirq", test_pirq);
  g_test_add_func ("/piix4/resets", test_resets);
  g_test_add_func ("/piix4/apm", test_apm);
  g_test_add_func ("/piix4/timer", test_timer);
  g_test_add_func ("/piix4/power", test_power);
  g_test_add_func ("/piix4/ferr", test_ferr);
  g_test_add_func ("/piix4/spd", test_spd);
  g_test_add_func ("/piix4/uhci", test_uhci);
  return g_test_run ();
}
