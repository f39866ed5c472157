/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* 8259A pair on the fake bus: ICWs, edges and levels, priorities, EOI forms, modes, poll. */
#include "roundtrip.h"

#define MASTER 0x20
#define SLAVE 0xa0
#define NO_IRQ -1

static void
program (TnHarness *h, uint8_t icw4)
{
  tn_harness_out8 (h, MASTER, 0x11);
  tn_harness_out8 (h, MASTER + 1, 0x30);
  tn_harness_out8 (h, MASTER + 1, 0x04);
  tn_harness_out8 (h, MASTER + 1, icw4);
  tn_harness_out8 (h, SLAVE, 0x11);
  tn_harness_out8 (h, SLAVE + 1, 0x38);
  tn_harness_out8 (h, SLAVE + 1, 0x02);
  tn_harness_out8 (h, SLAVE + 1, 0x01);
}

static TnHarness *
new_pic (uint8_t icw4)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "pic", "pic", NULL);
  tn_harness_start (h);
  program (h, icw4);
  return h;
}

static void
set_irq (TnHarness *h, unsigned irq, bool level)
{
  char name[8];
  g_snprintf (name, sizeof name, "isa:%u", irq);
  tn_harness_set_line (h, name, level);
}

static void
pulse (TnHarness *h, unsigned irq)
{
  set_irq (h, irq, true);
  set_irq (h, irq, false);
  set_irq (h, irq, true);
}

static bool
intr (TnHarness *h)
{
  return tn_harness_line (h, "cpu:intr");
}

/* What the processor would be given now. */
static int
take (TnHarness *h)
{
  return intr (h) ? tn_harness_inta (h) - 0x30 : NO_IRQ;
}

static uint8_t
irr (TnHarness *h, uint16_t chip)
{
  tn_harness_out8 (h, chip, 0x0a);
  return tn_harness_in8 (h, chip);
}

static uint8_t
isr (TnHarness *h, uint16_t chip)
{
  tn_harness_out8 (h, chip, 0x0b);
  return tn_harness_in8 (h, chip);
}

static void
test_reset (void)
{
  TnHarness *h = tn_harness_new (1 << 20);
  tn_harness_add (h, "pic", "pic", NULL);
  tn_harness_start (h);
  g_assert_cmphex (tn_harness_in8 (h, MASTER + 1), ==, 0xff);
  set_irq (h, 4, true);
  g_assert_false (intr (h));
  program (h, 0x01); /* ICW1 forgets the edge and clears the mask */
  g_assert_cmphex (tn_harness_in8 (h, MASTER + 1), ==, 0);
  g_assert_false (intr (h));
  tn_harness_out8 (h, MASTER + 1, 0xfb); /* how Linux looks for the chip */
  g_assert_cmphex (tn_harness_in8 (h, MASTER + 1), ==, 0xfb);
  tn_harness_free (h);
}

static void
test_edge (void)
{
  TnHarness *h = new_pic (0x01);
  set_irq (h, 4, true);
  g_assert_cmphex (irr (h, MASTER), ==, 0x10);
  g_assert_cmpint (take (h), ==, 4);
  g_assert_cmphex (irr (h, MASTER), ==, 0);
  g_assert_cmphex (isr (h, MASTER), ==, 0x10);
  tn_harness_out8 (h, MASTER, 0x20);
  g_assert_cmphex (isr (h, MASTER), ==, 0);
  g_assert_cmpint (take (h), ==, NO_IRQ); /* still high, but no new edge */
  set_irq (h, 4, false);
  set_irq (h, 4, true);
  g_assert_cmpint (take (h), ==, 4);
  roundtrip (h, "pic");
  tn_harness_free (h);
}

static void
test_level (void)
{
  TnHarness *h = new_pic (0x01);
  tn_harness_out8 (h, 0x4d0, 0xff);
  tn_harness_out8 (h, 0x4d1, 0xff);
  g_assert_cmphex (tn_harness_in8 (h, 0x4d0), ==, 0xf8);
  g_assert_cmphex (tn_harness_in8 (h, 0x4d1), ==, 0xde);
  set_irq (h, 11, true);
  g_assert_cmpint (take (h), ==, 11);
  g_assert_cmpint (take (h), ==, NO_IRQ);
  tn_harness_out8 (h, SLAVE, 0x63);
  tn_harness_out8 (h, MASTER, 0x62);
  g_assert_cmpint (take (h), ==, 11); /* as long as it is high */
  set_irq (h, 11, false);
  tn_harness_out8 (h, SLAVE, 0x63);
  tn_harness_out8 (h, MASTER, 0x62);
  g_assert_false (intr (h));
  roundtrip (h, "pic");
  tn_harness_free (h);
}

static void
test_spurious (void)
{
  TnHarness *h = new_pic (0x01);
  set_irq (h, 5, true);
  g_assert_true (intr (h));
  set_irq (h, 5, false);
  g_assert_false (intr (h));
  g_assert_cmpint (tn_harness_inta (h), ==, 0x37);
  g_assert_cmphex (isr (h, MASTER), ==, 0);

  set_irq (h, 14, true);
  tn_harness_out8 (h, SLAVE + 1, 0xff); /* the slave's request goes away */
  g_assert_false (intr (h));
  tn_harness_out8 (h, SLAVE + 1, 0x00);
  g_assert_cmpint (take (h), ==, 14);
  tn_harness_free (h);
}

static void
test_nesting (void)
{
  TnHarness *h = new_pic (0x01);
  set_irq (h, 6, true);
  g_assert_cmpint (take (h), ==, 6);
  set_irq (h, 7, true);
  g_assert_cmpint (take (h), ==, NO_IRQ);
  set_irq (h, 10, true); /* the slave stands between 1 and 3 */
  g_assert_cmpint (take (h), ==, 10);
  g_assert_cmphex (isr (h, MASTER), ==, 0x44);
  set_irq (h, 8, true); /* higher, but the master blocks its IR2 */
  g_assert_cmpint (take (h), ==, NO_IRQ);
  set_irq (h, 0, true);
  g_assert_cmpint (take (h), ==, 0);
  tn_harness_out8 (h, MASTER, 0x20); /* ends 0 */
  tn_harness_out8 (h, SLAVE, 0x20);
  tn_harness_out8 (h, MASTER, 0x20); /* ends the cascade */
  g_assert_cmpint (take (h), ==, 8);
  tn_harness_free (h);
}

static void
test_sfnm (void)
{
  TnHarness *h = new_pic (0x11);
  set_irq (h, 10, true);
  g_assert_cmpint (take (h), ==, 10);
  set_irq (h, 12, true);
  g_assert_cmpint (take (h), ==, NO_IRQ);
  set_irq (h, 8, true);
  g_assert_cmpint (take (h), ==, 8); /* a higher one of the slave comes through */
  tn_harness_free (h);
}

static void
test_aeoi (void)
{
  TnHarness *h = new_pic (0x03);
  set_irq (h, 3, true);
  g_assert_cmpint (take (h), ==, 3);
  g_assert_cmphex (isr (h, MASTER), ==, 0);
  set_irq (h, 4, true);
  g_assert_cmpint (take (h), ==, 4);
  tn_harness_out8 (h, MASTER, 0x80); /* rotate in AEOI mode */
  set_irq (h, 3, false);
  set_irq (h, 4, false);
  set_irq (h, 3, true);
  set_irq (h, 4, true);
  g_assert_cmpint (take (h), ==, 3); /* becomes the lowest, and 4 the highest */
  pulse (h, 3);
  pulse (h, 4);
  g_assert_cmpint (take (h), ==, 4);
  g_assert_cmpint (take (h), ==, 3);
  tn_harness_free (h);
}

static void
test_rotation (void)
{
  TnHarness *h = new_pic (0x01);
  tn_harness_out8 (h, MASTER, 0xc2); /* FreeBSD: IR2 the lowest, IR3 the highest */
  set_irq (h, 0, true);
  set_irq (h, 3, true);
  set_irq (h, 8, true);
  g_assert_cmpint (take (h), ==, 3);
  tn_harness_out8 (h, MASTER, 0x20);
  g_assert_cmpint (take (h), ==, 0);
  tn_harness_out8 (h, MASTER, 0xa0); /* rotate on EOI: 0 becomes the lowest */
  g_assert_cmphex (isr (h, MASTER), ==, 0);
  pulse (h, 0);
  pulse (h, 7);
  g_assert_cmpint (take (h), ==, 8);
  tn_harness_out8 (h, SLAVE, 0x20);
  tn_harness_out8 (h, MASTER, 0xe2); /* rotate on specific EOI */
  g_assert_cmpint (take (h), ==, 7);
  roundtrip (h, "pic");
  tn_harness_free (h);
}

static void
test_special_mask (void)
{
  TnHarness *h = new_pic (0x01);
  set_irq (h, 1, true);
  g_assert_cmpint (take (h), ==, 1);
  set_irq (h, 5, true);
  g_assert_cmpint (take (h), ==, NO_IRQ);
  tn_harness_out8 (h, MASTER + 1, 0x02);
  tn_harness_out8 (h, MASTER, 0x68); /* set special mask mode */
  g_assert_cmpint (take (h), ==, 5);
  tn_harness_out8 (h, MASTER, 0x20); /* the masked one is not ended by it */
  g_assert_cmphex (isr (h, MASTER), ==, 0x02);
  tn_harness_out8 (h, MASTER, 0x61);
  g_assert_cmphex (isr (h, MASTER), ==, 0);
  tn_harness_out8 (h, MASTER, 0x48);
  tn_harness_free (h);
}

static void
test_poll (void)
{
  TnHarness *h = new_pic (0x01);
  tn_harness_out8 (h, MASTER, 0x0c);
  g_assert_cmphex (tn_harness_in8 (h, MASTER) & 0x80, ==, 0);
  set_irq (h, 9, true);
  tn_harness_out8 (h, MASTER, 0x0c);
  g_assert_cmphex (tn_harness_in8 (h, MASTER), ==, 0x82);
  tn_harness_out8 (h, SLAVE, 0x0c);
  g_assert_cmphex (tn_harness_in8 (h, SLAVE), ==, 0x81);
  g_assert_cmphex (isr (h, MASTER), ==, 0x04);
  g_assert_cmphex (isr (h, SLAVE), ==, 0x02);
  g_assert_false (intr (h));
  tn_harness_free (h);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pic/reset", test_reset);
  g_test_add_func ("/pic/edge", test_edge);
  g_test_add_func ("/pic/level", test_level);
  g_test_add_func ("/pic/spurious", test_spurious);
  g_test_add_func ("/pic/nesting", test_nesting);
  g_test_add_func ("/pic/sfnm", test_sfnm);
  g_test_add_func ("/pic/aeoi", test_aeoi);
  g_test_add_func ("/pic/rotation", test_rotation);
  g_test_add_func ("/pic/special-mask", test_special_mask);
  g_test_add_func ("/pic/poll", test_poll);
  return g_test_run ();
}
