/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 82093AA on the fake bus: registers, edges, levels with Remote IRR, destinations, pins. */
#include "roundtrip.h"

#define BASE 0xfec00000u

static TnHarness *
new_ioapic (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "ioapic", "ioapic", NULL);
  tn_harness_start (h);
  return h;
}

static uint32_t
get (TnHarness *h, unsigned index)
{
  tn_harness_write (h, BASE, index, 4);
  return tn_harness_read (h, BASE + 0x10, 4);
}

static void
set (TnHarness *h, unsigned index, uint32_t value)
{
  tn_harness_write (h, BASE, index, 4);
  tn_harness_write (h, BASE + 0x10, value, 4);
}

static void
route (TnHarness *h, unsigned pin, uint32_t low, uint8_t destination)
{
  set (h, 0x11 + 2 * pin, (uint32_t) destination << 24);
  set (h, 0x10 + 2 * pin, low);
}

static void
test_registers (void)
{
  TnHarness *h = new_ioapic ();
  g_assert_cmphex (get (h, 1), ==, 0x00170011);
  set (h, 0, 0xffffffff);
  g_assert_cmphex (get (h, 0), ==, 0x0f000000);
  for (unsigned pin = 0; pin < 24; pin++)
    {
      g_assert_cmphex (get (h, 0x10 + 2 * pin), ==, 0x00010000);
      g_assert_cmphex (get (h, 0x11 + 2 * pin), ==, 0);
    }
  set (h, 0x10, 0xffffffff);
  set (h, 0x11, 0xffffffff);
  g_assert_cmphex (get (h, 0x10), ==, 0x0001afff);
  g_assert_cmphex (get (h, 0x11), ==, 0xff000000);
  g_assert_cmphex (tn_harness_read (h, BASE, 4), ==, 0x11);
  g_assert_cmphex (get (h, 0x40), ==, 0);
  set (h, 0xff, 0x1234);
  roundtrip (h, "ioapic");
  tn_harness_free (h);
}

static void
test_edge (void)
{
  TnHarness *h = new_ioapic ();
  TnApicMessage m;
  tn_harness_set_line (h, "isa:4", true);
  route (h, 4, 0x0034, 1);
  g_assert_false (tn_harness_apic_message (h, &m)); /* the edge came while it was masked */
  tn_harness_set_line (h, "isa:4", false);
  tn_harness_set_line (h, "isa:4", true);
  g_assert_true (tn_harness_apic_message (h, &m));
  g_assert_cmphex (m.vector, ==, 0x34);
  g_assert_cmpuint (m.delivery_mode, ==, 0);
  g_assert_false (m.logical);
  g_assert_false (m.level);
  g_assert_cmpuint (m.destination, ==, 1);
  g_assert_cmphex (get (h, 0x18), ==, 0x0034);
  tn_harness_set_line (h, "isa:4", false);
  g_assert_false (tn_harness_apic_message (h, &m));
  tn_harness_free (h);
}

static void
test_level (void)
{
  TnHarness *h = new_ioapic ();
  TnApicMessage m;
  route (h, 11, 0xa959, 3); /* level, low active, logical, lowest priority */
  tn_harness_set_line (h, "isa:11", true);
  g_assert_true (tn_harness_apic_message (h, &m));
  g_assert_true (m.level && m.logical);
  g_assert_cmpuint (m.delivery_mode, ==, 1);
  g_assert_cmpuint (m.destination, ==, 3);
  g_assert_cmphex (get (h, 0x26) & 0x4000, ==, 0x4000);
  roundtrip (h, "ioapic");
  g_assert_false (tn_harness_apic_message (h, &m));
  tn_harness_apic_eoi (h, 0x58); /* another's */
  g_assert_false (tn_harness_apic_message (h, &m));
  tn_harness_apic_eoi (h, 0x59); /* still high: again */
  g_assert_true (tn_harness_apic_message (h, &m));
  tn_harness_set_line (h, "isa:11", false);
  tn_harness_apic_eoi (h, 0x59);
  g_assert_false (tn_harness_apic_message (h, &m));
  g_assert_cmphex (get (h, 0x26) & 0x4000, ==, 0);

  set (h, 0x26, 0x1a959); /* masked: waits */
  tn_harness_set_line (h, "isa:11", true);
  g_assert_false (tn_harness_apic_message (h, &m));
  set (h, 0x26, 0x0a959);
  g_assert_true (tn_harness_apic_message (h, &m));
  set (h, 0x26, 0x12959); /* masked edge: clears Remote IRR, as some guests end it */
  g_assert_cmphex (get (h, 0x26) & 0x4000, ==, 0);
  set (h, 0x26, 0x0a959);
  g_assert_true (tn_harness_apic_message (h, &m));
  tn_harness_free (h);
}

static void
test_pins (void)
{
  TnHarness *h = new_ioapic ();
  TnApicMessage m;
  for (unsigned pin = 0; pin < 24; pin++)
    route (h, pin, 0x20 + pin, 0);
  tn_harness_set_line (h, "isa:0", true);
  g_assert_true (tn_harness_apic_message (h, &m));
  g_assert_cmphex (m.vector, ==, 0x22);
  tn_harness_set_line (h, "isa:2", true);
  g_assert_false (tn_harness_apic_message (h, &m));
  tn_harness_set_line (h, "gsi:19", true);
  g_assert_true (tn_harness_apic_message (h, &m));
  g_assert_cmphex (m.vector, ==, 0x33);
  route (h, 5, 0x0400, 0x0f); /* NMI to everybody */
  tn_harness_set_line (h, "isa:5", true);
  g_assert_true (tn_harness_apic_message (h, &m));
  g_assert_cmpuint (m.delivery_mode, ==, 4);
  g_assert_cmphex (m.destination, ==, 0xff);
  route (h, 6, 0x0300, 0); /* reserved */
  tn_harness_set_line (h, "isa:6", true);
  g_assert_false (tn_harness_apic_message (h, &m));
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ioapic/registers", test_registers);
  g_test_add_func ("/ioapic/edge", test_edge);
  g_test_add_func ("/ioapic/level", test_level);
  g_test_add_func ("/ioapic/pins", test_pins);
  return g_test_run ();
}
