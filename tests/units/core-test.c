/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The services of the core, one by one, with probes (probe.h) in the place of devices. */
#include <tenon/harness.h>

#include "probe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static TnDevice *
try_add (TnHarness *h, const char *name, const char *kind, const ProbeHooks *hooks,
         const char *link, GError **error)
{
  char *path
      = g_strdup_printf ("%s/tests/units/.libs/probe-%s.so", g_getenv ("TENON_BUILDDIR"), kind);
  char *address = g_strdup_printf ("%" G_GUINT64_FORMAT, (guint64) (uintptr_t) hooks);
  const char *pairs[] = { "hooks", address, link ? "link" : NULL, link, NULL };
  TnDevice *device = tn_harness_try_add (h, name, path, pairs, error);

  g_free (path);
  g_free (address);
  return device;
}

static void
add (TnHarness *h, const char *name, const char *kind, const ProbeHooks *hooks, const char *link)
{
  GError *error = NULL;

  try_add (h, name, kind, hooks, link, &error);
  g_assert_no_error (error);
}

static Probe *
probe (TnHarness *h, const char *name)
{
  return tn_device_instance (tn_harness_device (h, name));
}

static TnHarness *
start_one (const ProbeHooks *hooks)
{
  TnHarness *h = tn_harness_new (2 << 20);

  add (h, "one", "device", hooks, NULL);
  tn_harness_start (h);
  return h;
}

static void
swap (TnHarness *h, const char *name)
{
  GError *error = NULL;

  tn_harness_swap (h, name, NULL, &error);
  g_assert_no_error (error);
}

/* What the handlers saw; cleared by each check. */
static GString *trace;

static void G_GNUC_PRINTF (1, 2)
note (const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_string_append_vprintf (trace, format, args);
  va_end (args);
}

static void
check (const char *expected)
{
  g_assert_cmpstr (trace->str, ==, expected);
  g_string_truncate (trace, 0);
}

/* ---- Ports ---- */

static uint32_t
noting_read (void *self, uint32_t offset, unsigned size)
{
  note ("r%x.%u ", offset, size);
  return 0x44332211u >> (8 * (offset & 3));
}

static void
noting_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  note ("w%x.%u=%x ", offset, size, value);
}

static bool
ports_realize (Probe *p, GError **error)
{
  static const TnBusOps bytes = { .read = noting_read, .write = noting_write, .max_size = 1 };
  static const TnBusOps any = { .read = noting_read, .write = noting_write };
  static const TnBusOps dwords = { .read = noting_read, .write = noting_write, .min_size = 4 };
  static const TnBusOps mute = { .max_size = 4 };

  return tn_device_add_ports (p->device, 0x100, 8, &bytes, 0, error)
         && tn_device_add_ports (p->device, 0x108, 8, &any, 0, error)
         && tn_device_add_ports (p->device, 0x110, 8, &dwords, 0, error)
         && tn_device_add_ports (p->device, 0x118, 3, &any, 0, error)
         && tn_device_add_ports (p->device, 0xcf8, 4, &any, TN_IO_DWORD, error)
         && tn_device_add_ports (p->device, 0x80, 1, &bytes, TN_IO_SHARED_READ, error)
         && tn_device_add_ports (p->device, 0xfffe, 2, &mute, 0, error);
}

static void
test_cycles (void)
{
  static const ProbeHooks hooks = { .realize = ports_realize };
  TnHarness *h = start_one (&hooks);

  g_assert_cmphex (tn_harness_in32 (h, 0x100), ==, 0x44332211);
  check ("r0.1 r1.1 r2.1 r3.1 ");
  tn_harness_out16 (h, 0x101, 0xbbaa);
  check ("w1.1=aa w2.1=bb ");
  g_assert_cmphex (tn_harness_in32 (h, 0x108), ==, 0x44332211);
  check ("r0.4 ");
  tn_harness_out32 (h, 0x10a, 0xddccbbaa); /* not aligned: two cycles */
  check ("w2.2=bbaa w4.2=ddcc ");
  g_assert_cmphex (tn_harness_in8 (h, 0x112), ==, 0x33);
  check ("r0.4 ");
  tn_harness_out8 (h, 0x112, 0x77);
  check ("w0.4=770000 ");
  g_assert_cmphex (tn_harness_in32 (h, 0x118), ==, 0xff332211); /* three ports, then nobody */
  check ("r0.2 r2.1 ");
  tn_harness_in8 (h, 0xcf9);
  tn_harness_in16 (h, 0xcf8);
  check ("");
  tn_harness_out32 (h, 0xcf8, 1);
  check ("w0.4=1 ");
  g_assert_cmphex (tn_harness_in8 (h, 0x80), ==, 0xff);
  tn_harness_out16 (h, 0x7f, 0xab00);
  check ("w0.1=ab ");
  g_assert_cmphex (tn_harness_in32 (h, 0xffff), ==, 0xffffffff);
  tn_harness_out32 (h, 0xffff, 0);
  tn_harness_free (h);
}

/* ---- Posted writes ---- */

static void
posted_timer (void *self, void *data)
{
  note ("timer ");
}

static bool
posted_realize (Probe *p, GError **error)
{
  static const TnBusOps any = { .read = noting_read, .write = noting_write };
  TnRegionFlags posted = TN_IO_FAST | TN_IO_POSTED;

  p->data[0] = tn_device_timer_new (p->device, "timer", posted_timer, NULL);
  p->data[1] = tn_device_add_ports (p->device, 0x200, 8, &any, posted, error);
  p->data[2] = tn_device_add_mmio (p->device, 0xe0000000, 0x1800, &any, posted, error);
  return p->data[1] && p->data[2]
         && tn_device_add_ports (p->device, 0x208, 4, &any, TN_IO_FAST, error)
         && tn_device_add_ports (p->device, 0x20c, 4, &any, posted | TN_IO_DWORD, error)
         && tn_device_add_ports (p->device, 0x210, 4, &any, posted, error)
         && tn_device_add_ports (p->device, 0x213, 1, &any, TN_IO_SHARED_READ | TN_IO_FAST, error);
}

static TnHarness *
start_posted (void)
{
  static const ProbeHooks hooks = { .realize = posted_realize };
  TnHarness *h = start_one (&hooks);

  tn_harness_post (h, true);
  return h;
}

/* Nothing is seen of a write until something looks; then all of them, in order. */
static void
test_posted_order (void)
{
  TnHarness *h = start_posted ();

  tn_harness_out8 (h, 0x200, 1);
  tn_harness_write (h, 0xe0000010, 2, 4);
  tn_harness_out32 (h, 0x20c, 3);
  tn_harness_out16 (h, 0x201, 4); /* not aligned: still two cycles */
  check ("");
  tn_harness_in8 (h, 0x200);
  check ("w0.1=1 w10.4=2 w0.4=3 w1.1=4 w2.1=0 r0.1 ");
  tn_harness_out8 (h, 0x203, 5);
  check ("");
  tn_harness_out8 (h, 0x208, 6); /* a region that is not posted */
  check ("w3.1=5 w0.1=6 ");
  tn_harness_out8 (h, 0x204, 7);
  tn_harness_line (h, "isa:1");
  check ("w4.1=7 ");
  tn_harness_post (h, false);
  tn_harness_out8 (h, 0x205, 8);
  check ("w5.1=8 ");
  tn_harness_free (h);
}

/* What posting must not do: half a page, a listener that does not allow it, two regions. */
static void
test_posted_limits (void)
{
  TnHarness *h = start_posted ();

  tn_harness_write (h, 0xe0001000, 1, 1);
  check ("w1000.1=1 ");
  tn_harness_write (h, 0xe0000ffe, 0x04030201, 4);
  check ("wffe.2=201 w1000.2=403 ");
  tn_harness_out16 (h, 0x206, 2);
  check ("");
  tn_harness_out32 (h, 0x206, 3); /* half of it leads elsewhere */
  check ("w6.2=2 w6.2=3 w0.2=0 ");
  tn_harness_out8 (h, 0x20c, 4); /* nobody answers but to dwords */
  check ("");
  tn_harness_out8 (h, 0x212, 5);
  check ("");
  tn_harness_out8 (h, 0x213, 6);
  check ("w2.1=5 w0.1=6 w3.1=6 ");
  tn_harness_free (h);
}

/* Timers, moved regions, saving, resets and the end find them, too. */
static void
test_posted_moments (void)
{
  TnHarness *h = start_posted ();
  Probe *p = probe (h, "one");

  tn_timer_set (p->data[0], 1000);
  tn_harness_out8 (h, 0x200, 1);
  tn_harness_clock_step (h, 1000);
  check ("w0.1=1 timer ");
  tn_harness_out8 (h, 0x200, 2);
  g_bytes_unref (tn_harness_save (h));
  check ("w0.1=2 ");
  tn_harness_out8 (h, 0x200, 3);
  tn_harness_reset (h);
  check ("w0.1=3 ");
  tn_harness_out8 (h, 0x200, 4);
  swap (h, "one");
  check ("w0.1=4 ");
  p = probe (h, "one");
  g_assert_true (tn_region_set (p->data[1], 0x300, true, NULL));
  tn_harness_out8 (h, 0x200, 5); /* nobody is there any more */
  tn_harness_out8 (h, 0x300, 6);
  check ("");
  tn_harness_in8 (h, 0x208);
  check ("w0.1=6 r0.1 ");
  g_assert_true (tn_region_set (p->data[2], 0xe0000800, true, NULL));
  tn_harness_write (h, 0xe0000ff0, 7, 1); /* the first page is no longer whole */
  check ("w7f0.1=7 ");
  tn_harness_write (h, 0xe0001000, 8, 1);
  check ("");
  tn_harness_free (h);
  check ("w800.1=8 ");
}

static void
test_posted_full (void)
{
  TnHarness *h = start_posted ();
  GString *expected = g_string_new (NULL);

  for (unsigned n = 0; n < 5000; n++)
    {
      g_string_append_printf (expected, "w0.2=%x ", n);
      tn_harness_out16 (h, 0x200, n);
    }
  g_assert_cmpuint (trace->len, <, expected->len);
  g_assert_cmpuint (trace->len, >, 0);
  tn_harness_in8 (h, 0x208);
  g_string_append (expected, "r0.1 ");
  check (expected->str);
  g_string_free (expected, TRUE);
  tn_harness_free (h);
}

static bool
clash_realize (Probe *p, GError **error)
{
  static const TnBusOps any = { .read = noting_read };

  return tn_device_add_ports (p->device, 0x11a, 2, &any, 0, error);
}

static void
test_clash (void)
{
  static const ProbeHooks first = { .realize = ports_realize },
                          second = { .realize = clash_realize };
  TnHarness *h = tn_harness_new (1 << 20);
  GError *error = NULL;

  add (h, "first", "device", &first, NULL);
  add (h, "second", "device", &second, NULL);
  g_assert_false (tn_harness_try_start (h, &error));
  g_assert_error (error, TN_ERROR, TN_ERROR_CLASH);
  g_assert_cmpstr (error->message, ==, "second: ports 0x11a-0x11b already belong to first");
  g_clear_error (&error);
  g_assert_null (try_add (h, "first", "device", &first, NULL, &error));
  g_assert_error (error, TN_ERROR, TN_ERROR_CLASH);
  g_clear_error (&error);
  tn_harness_free (h);
}

/* ---- Memory ---- */

enum { ROM = 0xfffff000, ALIAS = 0xff000, VIDEO = 0xa0000, WINDOW = 0xd0000 };

static bool
memory_realize (Probe *p, GError **error)
{
  static const TnBusOps any = { .read = noting_read, .write = noting_write };
  uint8_t bytes[4096];
  TnRegion *rom;

  for (unsigned n = 0; n < sizeof bytes; n++)
    bytes[n] = n * 3;
  rom = tn_device_add_rom (p->device, ROM, bytes, sizeof bytes, error);
  return rom && tn_region_alias (rom, 0, ALIAS, 4096, error)
         && tn_device_add_ram (p->device, "video", VIDEO, 8192, (uint8_t **) &p->data[0], error)
         && tn_device_add_mmio (p->device, WINDOW, 0x20, &any, 0, error);
}

static void
memory_reset (Probe *p)
{
  tn_device_route (p->device, 0xa0000, 0x60000, TN_VIEW_ALL, TN_ROUTE_BUS, TN_ROUTE_BUS);
}

static const ProbeHooks memory_hooks = { .realize = memory_realize, .reset = memory_reset };

static void
test_memory (void)
{
  TnHarness *h = start_one (&memory_hooks);
  uint8_t bytes[32];

  tn_harness_write (h, 0x1000, 0x12345678, 4);
  g_assert_cmphex (tn_harness_read (h, 0x1002, 2), ==, 0x1234);
  tn_harness_write (h, ROM + 4, 0, 4);
  g_assert_cmphex (tn_harness_read (h, ROM + 4, 4), ==, 0x15120f0c);
  g_assert_cmphex (tn_harness_read (h, ALIAS + 4, 4), ==, 0x15120f0c);
  tn_harness_write (h, VIDEO + 8190, 0xbeef, 2);
  g_assert_cmphex (((uint8_t *) probe (h, "one")->data[0])[8191], ==, 0xbe);
  g_assert_cmphex (tn_harness_read (h, VIDEO + 8192, 4), ==, 0xffffffff);
  g_assert_cmphex (tn_harness_read (h, WINDOW + 0x1c, 4), ==, 0x44332211);
  check ("r1c.4 ");
  tn_harness_mem_write (h, WINDOW + 2, "abcdefg", 7);
  check ("w2.2=6261 w4.4=66656463 w8.1=67 ");
  /* A range that begins on a page of main memory and ends in nothing. */
  tn_harness_mem_write (h, 0x9fff0, "0123456789abcdef0123456789abcdef", 32);
  tn_harness_mem_read (h, 0x9fff0, bytes, 32);
  g_assert_cmpmem (bytes, 32, "0123456789abcdef0123456789abcdef", 32);
  tn_harness_mem_read (h, 0xfffffff0, bytes, 32);
  g_assert_cmphex (bytes[15], ==, (4095 * 3) & 0xff);
  g_assert_cmphex (bytes[16], ==, 0xff);
  swap (h, "one");
  g_assert_cmphex (tn_harness_read (h, VIDEO + 8190, 2), ==, 0xbeef);
  tn_harness_free (h);
}

static void
test_routes (void)
{
  TnHarness *h = start_one (&memory_hooks);
  TnDevice *one = tn_harness_device (h, "one");

  /* Shadowing: write through to main memory, then read from there. */
  tn_device_route (one, ALIAS, 4096, TN_VIEW_ALL, TN_ROUTE_BUS, TN_ROUTE_RAM);
  tn_harness_write (h, ALIAS + 4, 0xfeedface, 4);
  g_assert_cmphex (tn_harness_read (h, ALIAS + 4, 4), ==, 0x15120f0c);
  tn_device_route (one, ALIAS, 4096, TN_VIEW_ALL, TN_ROUTE_RAM, TN_ROUTE_BUS);
  tn_harness_write (h, ALIAS + 4, 0, 4);
  g_assert_cmphex (tn_harness_read (h, ALIAS + 4, 4), ==, 0xfeedface);
  /* SMRAM: video memory for all but a processor in SMM. */
  tn_device_route (one, VIDEO, 4096, TN_VIEW_SMM, TN_ROUTE_RAM, TN_ROUTE_RAM);
  tn_harness_write (h, VIDEO, 0x11111111, 4);
  g_assert_cmphex (tn_harness_read_smm (h, VIDEO, 4), ==, 0);
  g_assert_cmphex (tn_harness_read (h, VIDEO, 4), ==, 0x11111111);
  tn_harness_free (h);
}

/* A bus master that is pointed at its own doorbell. */
static void
doorbell_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Probe *p = self;

  p->state[0]++;
  tn_device_mem_write (p->device, WINDOW, &value, 4);
}

static bool
doorbell_realize (Probe *p, GError **error)
{
  static const TnBusOps ops = { .write = doorbell_write };

  tn_device_route (p->device, WINDOW, 4096, TN_VIEW_ALL, TN_ROUTE_BUS, TN_ROUTE_BUS);
  return tn_device_add_mmio (p->device, WINDOW, 4, &ops, 0, error);
}

static void
test_own_doorbell (void)
{
  static const ProbeHooks hooks = { .realize = doorbell_realize };
  TnHarness *h = start_one (&hooks);

  tn_harness_write (h, WINDOW, 1, 4);
  g_assert_cmpuint (probe (h, "one")->state[0], <, 20);
  tn_harness_free (h);
}

/* ---- PCI ---- */

static uint32_t
config_read (TnHarness *h, unsigned slot, unsigned offset)
{
  return tn_harness_pci_read (h, 0, slot << 3, offset, 4);
}

static void
config_write (TnHarness *h, unsigned slot, unsigned offset, uint32_t value)
{
  tn_harness_pci_write (h, 0, slot << 3, offset, value, 4);
}

static bool
pci_realize (Probe *p, GError **error)
{
  static const TnBusOps ops = { .read = noting_read };
  static const TnPciConfig config = { .vendor = 0x1234, .device = 0x5678, .class_code = 2,
                                      .interrupt_pin = 1, .command_mask = 3, .status = 0x200,
                                      .status_w1c = 0xf900 };
  unsigned slot = tn_device_name (p->device)[0] == 'o' ? 3 : 4;
  TnPci *pci = tn_device_pci_new (p->device, 0, slot, 0, &config, NULL, error);

  p->data[0] = pci;
  return pci && tn_pci_bar (pci, 0, TN_BAR_IO, 16, &ops, 0)
         && tn_pci_bar (pci, 1, TN_BAR_MEM, 256, &ops, 0)
         && tn_pci_bar_ram (pci, 2, "ram", 65536, (uint8_t **)&p->data[1]);
}

static void
test_pci (void)
{
  static const ProbeHooks hooks = { .realize = pci_realize };
  TnHarness *h = tn_harness_new (1 << 20);

  add (h, "one", "device", &hooks, NULL);
  add (h, "two", "device", &hooks, NULL);
  tn_harness_start (h);
  g_assert_cmphex (config_read (h, 3, 0), ==, 0x56781234);
  g_assert_cmphex (config_read (h, 5, 0), ==, 0xffffffff);
  config_write (h, 3, 0, 0);
  g_assert_cmphex (config_read (h, 3, 0), ==, 0x56781234);
  for (unsigned bar = 0; bar < 4; bar++)
    config_write (h, 3, 0x10 + 4 * bar, 0xffffffff);
  g_assert_cmphex (config_read (h, 3, 0x10), ==, 0xfffffff1);
  g_assert_cmphex (config_read (h, 3, 0x14), ==, 0xffffff00);
  g_assert_cmphex (config_read (h, 3, 0x18), ==, 0xffff0008);
  g_assert_cmphex (config_read (h, 3, 0x1c), ==, 0);
  config_write (h, 3, 0x10, 0x1000);
  config_write (h, 3, 0x18, 0xe0000000);
  g_assert_cmphex (tn_harness_in8 (h, 0x1001), ==, 0xff);
  config_write (h, 3, 4, 0xffffffff); /* clears nothing of status that is not set */
  g_assert_cmphex (config_read (h, 3, 4), ==, 0x02000003);
  g_assert_cmphex (tn_harness_in8 (h, 0x1001), ==, 0x22);
  tn_harness_write (h, 0xe0000000, 0x99, 1);
  g_assert_cmphex (*(uint8_t *) probe (h, "one")->data[1], ==, 0x99);
  /* The second card on the same ports is hidden until the first moves away. */
  config_write (h, 4, 0x10, 0x1000);
  config_write (h, 4, 4, 3);
  g_string_truncate (trace, 0);
  tn_harness_in8 (h, 0x1001);
  config_write (h, 3, 0x10, 0x2000);
  tn_harness_in8 (h, 0x1002);
  check ("r1.1 r2.1 ");
  swap (h, "one");
  g_assert_cmphex (tn_harness_in8 (h, 0x2000), ==, 0x11);
  check ("r0.1 ");
  g_assert_cmphex (tn_harness_read (h, 0xe0000000, 1), ==, 0x99);
  tn_pci_set_intx (probe (h, "two")->data[0], true);
  g_assert_true (tn_harness_line (h, "pci:0:4:0"));
  tn_harness_reset (h);
  g_assert_false (tn_harness_line (h, "pci:0:4:0"));
  g_assert_cmphex (tn_harness_in8 (h, 0x2000), ==, 0xff);
  g_assert_cmphex (config_read (h, 3, 0x10), ==, 1);
  tn_harness_free (h);
}

/* ---- Lines ---- */

static void
line_changed (void *self, bool level, void *data)
{
  note ("%s%d ", (const char *) data, level);
}

static bool
line_realize (Probe *p, GError **error)
{
  p->data[0] = tn_device_line (p->device, "isa:3");
  p->data[1] = tn_device_line (p->device, "isa:3");
  tn_device_watch_line (p->device, "isa:3", line_changed, (void *) tn_device_name (p->device));
  return true;
}

static void
test_lines (void)
{
  static const ProbeHooks hooks = { .realize = line_realize };
  TnHarness *h = start_one (&hooks);
  Probe *p = probe (h, "one");

  tn_line_set (p->data[0], true);
  tn_line_set (p->data[1], true);
  check ("one1 ");
  tn_line_set (p->data[0], false);
  check ("");
  g_assert_true (tn_harness_line (h, "isa:3"));
  tn_harness_set_line (h, "isa:3", true);
  tn_line_set (p->data[1], false);
  tn_line_set (p->data[0], true);
  check ("");
  swap (h, "one");
  p = probe (h, "one");
  g_assert_true (tn_line_level (p->data[0]));
  g_assert_false (tn_line_level (p->data[1]));
  check ("");
  tn_line_set (p->data[0], false);
  tn_harness_set_line (h, "isa:3", false);
  check ("one0 ");
  tn_line_pulse (p->data[0]);
  check ("one1 one0 ");
  g_assert_cmpuint (tn_harness_line_edges (h, "isa:3"), ==, 2);
  tn_harness_free (h);
}

/* ---- Timers ---- */

static void
timer_fired (void *self, void *data)
{
  Probe *p = self;

  note ("%s@%d ", (const char *) data, (int) (tn_device_now (p->device) / 1000));
}

static void
timer_again (void *self, void *data)
{
  Probe *p = self;

  p->state[0]++;
  tn_timer_set (p->data[3], 0); /* at once, for ever */
}

static bool
timer_realize (Probe *p, GError **error)
{
  p->data[0] = tn_device_timer_new (p->device, "a", timer_fired, "a");
  p->data[1] = tn_device_timer_new (p->device, "b", timer_fired, "b");
  p->data[2] = tn_device_timer_new (p->device, "c", timer_fired, "c");
  p->data[3] = tn_device_timer_new (p->device, "again", timer_again, NULL);
  return true;
}

static bool
timer_restored (Probe *p, GError **error)
{
  tn_timer_set (p->data[1], p->when);
  return true;
}

static void
test_timers (void)
{
  static const ProbeHooks hooks = { .realize = timer_realize, .restored = timer_restored };
  TnHarness *h = start_one (&hooks);
  Probe *p = probe (h, "one");

  tn_timer_set (p->data[0], 3000);
  tn_timer_set (p->data[1], 1000);
  tn_timer_set (p->data[2], 3000);
  tn_harness_clock_step (h, 2000);
  check ("b@1 ");
  tn_timer_set (p->data[1], 500); /* in the past */
  tn_harness_clock_step (h, 0);
  check ("b@2 ");
  tn_harness_clock_step (h, 10000);
  check ("a@3 c@3 ");
  tn_timer_set (p->data[0], 20000);
  tn_timer_cancel (p->data[0]);
  p->when = 15000;
  tn_timer_set (p->data[0], 16000); /* is not saved: gone with the swap */
  swap (h, "one");
  tn_harness_clock_step (h, 10000);
  check ("b@15 ");
  p = probe (h, "one");
  tn_timer_set (p->data[3], 0);
  tn_harness_clock_step (h, 10);
  g_assert_cmpuint (p->state[0], >, 10);
  tn_harness_free (h);
  g_assert_cmpint (tn_ns_to_ticks (TN_NS_PER_S, 1193182), ==, 1193182);
  g_assert_cmpint (tn_ns_to_ticks (838, 1193182), ==, 0);
  g_assert_cmpint (tn_ticks_to_ns (1, 1193182), ==, 839);
  g_assert_cmpint (tn_ns_to_ticks (INT64_MAX, UINT64_MAX), ==, INT64_MAX);
  g_assert_cmpint (tn_ticks_to_ns (INT64_MAX, 1), ==, INT64_MAX);
  g_assert_cmpint (tn_ns_to_ticks (-1, 1000000000), ==, -1);
}

/* ---- Characters: both sides are swapped while bytes are on their way ---- */

static size_t
front_room (void *self, void *data)
{
  return ((Probe *) self)->state[0];
}

static void
front_receive (void *self, const uint8_t *bytes, size_t size, void *data)
{
  ((Probe *) self)->state[0] -= size;
  note ("%.*s", (int) size, bytes);
}

static bool
front_realize (Probe *p, GError **error)
{
  static const TnCharFrontOps ops = { .room = front_room, .receive = front_receive };

  p->data[0] = tn_device_char (p->device, p->link, &ops, NULL, error);
  return p->data[0] != NULL;
}

static bool
front_restored (Probe *p, GError **error)
{
  /* Sent while the back end cannot take anything. */
  tn_char_send (p->data[0], (const uint8_t *) "!", 1);
  return true;
}

static size_t
back_send (void *self, const uint8_t *bytes, size_t size)
{
  note ("<%.*s>", (int) size, bytes);
  return size;
}

static void
test_chars (void)
{
  static const ProbeHooks front = { .realize = front_realize, .restored = front_restored };
  static const ProbeHooks back = { .chars = { .send = back_send } };
  TnHarness *h = tn_harness_new (1 << 20);
  TnDevice *device;

  add (h, "front", "device-char", &front, "back");
  add (h, "back", "char", &back, NULL);
  tn_harness_start (h);
  device = tn_harness_device (h, "back");
  g_assert_cmpuint (tn_device_char_room (device), ==, 0);
  g_assert_cmpuint (tn_device_char_receive (device, (const uint8_t *) "abcdef", 6), ==, 6);
  check (""); /* the core holds them */
  swap (h, "back");
  probe (h, "front")->state[0] = 2;
  tn_char_accept (probe (h, "front")->data[0]);
  check ("ab");
  swap (h, "front");
  check ("<!>");
  probe (h, "front")->state[0] = 10;
  tn_char_accept (probe (h, "front")->data[0]);
  check ("cdef");
  g_assert_cmpuint (tn_device_char_room (device), ==, 6);
  g_assert_cmpuint (tn_char_send (probe (h, "front")->data[0], (const uint8_t *) "xy", 2), ==, 2);
  check ("<xy>");
  tn_harness_free (h);
}

/* A receiver gets room as time passes: each time that it is asked, it has more. */
static size_t
growing_room (void *self, void *data)
{
  uint32_t *room = &((Probe *) self)->state[0];

  return (*room)++ * 8;
}

static void
growing_receive (void *self, const uint8_t *bytes, size_t size, void *data)
{
  note ("%.*s", (int) size, bytes);
}

static bool
growing_realize (Probe *p, GError **error)
{
  static const TnCharFrontOps ops = { .room = growing_room, .receive = growing_receive };

  p->data[0] = tn_device_char (p->device, p->link, &ops, NULL, error);
  return p->data[0] != NULL;
}

static void
test_growing_room (void)
{
  static const ProbeHooks front = { .realize = growing_realize };
  static const ProbeHooks back = { .chars = { .send = back_send } };
  TnHarness *h = tn_harness_new (1 << 20);

  add (h, "front", "device-char", &front, "back");
  add (h, "back", "char", &back, NULL);
  tn_harness_start (h);
  probe (h, "front")->state[0] = 0;
  g_assert_cmpuint (
      tn_device_char_receive (tn_harness_device (h, "back"), (const uint8_t *) "abcSECRET", 3), ==, 3);
  tn_char_accept (probe (h, "front")->data[0]);
  check ("abc");
  tn_harness_free (h);
}

/* A receiver answers at once, and the other side echoes the answer, while the receiver still looks
   at what it got. */
static size_t
answering_room (void *self, void *data)
{
  return ((Probe *) self)->state[0];
}

static void
answering_receive (void *self, const uint8_t *bytes, size_t size, void *data)
{
  Probe *p = self;
  uint8_t answer[3000];

  p->state[0] -= MIN (size, p->state[0]);
  memset (answer, '-', sizeof answer);
  tn_char_send (p->data[0], answer, sizeof answer);
  note ("%.*s", (int) MIN (size, 4), bytes);
}

static bool
answering_realize (Probe *p, GError **error)
{
  static const TnCharFrontOps ops = { .room = answering_room, .receive = answering_receive };

  p->data[0] = tn_device_char (p->device, p->link, &ops, NULL, error);
  return p->data[0] != NULL;
}

static size_t
echoing_send (void *self, const uint8_t *bytes, size_t size)
{
  tn_device_char_receive (((Probe *) self)->device, bytes, size);
  return size;
}

static void
test_answered_at_once (void)
{
  static const ProbeHooks front = { .realize = answering_realize };
  static const ProbeHooks back = { .chars = { .send = echoing_send } };
  TnHarness *h = tn_harness_new (1 << 20);

  add (h, "front", "device-char", &front, "back");
  add (h, "back", "char", &back, NULL);
  tn_harness_start (h);
  tn_device_char_receive (tn_harness_device (h, "back"), (const uint8_t *) "held", 4);
  probe (h, "front")->state[0] = 4;
  tn_char_accept (probe (h, "front")->data[0]);
  check ("held");
  probe (h, "front")->state[0] = 4;
  tn_char_accept (probe (h, "front")->data[0]);
  check ("----");
  tn_harness_free (h);
}

/* ---- Blocks of port cycles ---- */

static uint32_t
short_read_block (void *self, uint32_t offset, void *items, uint32_t count, unsigned size)
{
  note ("read %u ", count);
  memset (items, 0x5a, MIN (count, 3) * size);
  return MIN (count, 3);
}

static uint32_t
short_write_block (void *self, uint32_t offset, const void *items, uint32_t count, unsigned size)
{
  note ("write %u ", count);
  return MIN (count, 3);
}

static bool
blocks_realize (Probe *p, GError **error)
{
  static const TnBusOps ops = { .read = noting_read,
                                .write = noting_write,
                                .max_size = 2,
                                .read_block = short_read_block,
                                .write_block = short_write_block };

  return tn_device_add_ports (p->device, 0x300, 2, &ops, 0, error) != NULL;
}

/* What a device did not take of a block is offered again by the caller, and nothing twice. */
static void
test_short_blocks (void)
{
  static const ProbeHooks hooks = { .realize = blocks_realize };
  TnHarness *h = start_one (&hooks);
  uint16_t items[8] = { 0 };

  tn_harness_ins (h, 0x300, items, 8, 2);
  check ("read 8 read 5 read 2 ");
  tn_harness_outs (h, 0x300, items, 8, 2);
  check ("write 8 write 5 write 2 ");
  tn_harness_free (h);
}

/* ---- Disks ---- */

static TnBlockInfo
store_info (void *self)
{
  return (TnBlockInfo){ .size = 1024, .sector_size = 512, .present = true };
}

static int
store_read (void *self, uint64_t offset, void *buffer, size_t size)
{
  g_usleep (1000);
  memset (buffer, offset, size);
  return 0;
}

static int
store_write (void *self, uint64_t offset, const void *buffer, size_t size)
{
  return 28; /* ENOSPC */
}

static int
store_flush (void *self)
{
  return 0;
}

static void
disk_done (void *self, int error, void *data)
{
  note ("%s:%d ", (const char *) data, error);
}

static bool
disk_realize (Probe *p, GError **error)
{
  p->data[0] = tn_device_block (p->device, p->link, NULL, NULL, error);
  return p->data[0] != NULL;
}

static void
test_disks (void)
{
  static const ProbeHooks controller = { .realize = disk_realize };
  static const ProbeHooks store
      = { .blocks = { store_info, store_read, store_write, store_flush } };
  TnHarness *h = tn_harness_new (1 << 20);
  uint8_t buffer[16];

  add (h, "disk", "device-block", &controller, "store");
  add (h, "nothing", "device-block", &controller, NULL);
  add (h, "store", "block", &store, NULL);
  tn_harness_start (h);
  g_assert_cmpuint (tn_block_info (probe (h, "disk")->data[0]).size, ==, 1024);
  g_assert_false (tn_block_info (probe (h, "nothing")->data[0]).present);
  tn_block_read (probe (h, "disk")->data[0], 7, buffer, sizeof buffer, disk_done, "r");
  tn_block_write (probe (h, "disk")->data[0], 0, buffer, sizeof buffer, disk_done, "w");
  tn_block_flush (probe (h, "disk")->data[0], disk_done, "f");
  check ("");
  tn_harness_settle (h);
  check ("r:0 w:28 f:0 ");
  g_assert_cmphex (buffer[15], ==, 7);
  tn_block_read (probe (h, "nothing")->data[0], 7, buffer, sizeof buffer, disk_done, "n");
  tn_harness_settle (h);
  check ("n:123 ");
  /* Whoever is swapped, what is on its way is done before. */
  tn_block_read (probe (h, "disk")->data[0], 8, buffer, sizeof buffer, disk_done, "r");
  swap (h, "disk");
  check ("r:0 ");
  tn_block_read (probe (h, "disk")->data[0], 8, buffer, sizeof buffer, disk_done, "r");
  swap (h, "store");
  check ("r:0 ");
  tn_block_read (probe (h, "disk")->data[0], 8, buffer, sizeof buffer, disk_done, "r");
  tn_harness_free (h);
  check ("r:0 ");
}

/* ---- Descriptors ---- */

static void
fd_ready (void *self, int fd, unsigned condition, void *data)
{
  char bytes[16];
  ssize_t n = read (fd, bytes, sizeof bytes);

  note ("%.*s", (int) MAX (n, 0), bytes);
}

static bool
fd_realize (Probe *p, GError **error)
{
  int fd = tn_device_take_fd (p->device, "pipe");

  if (fd < 0)
    {
      int ends[2];

      g_assert_cmpint (pipe (ends), ==, 0);
      fd = ends[0];
      tn_device_keep_fd (p->device, "pipe", fd);
      tn_device_keep_fd (p->device, "other-end", ends[1]);
    }
  note (tn_device_swapping (p->device) ? "again " : "new ");
  tn_device_watch_fd (p->device, fd, G_IO_IN, fd_ready, NULL);
  return true;
}

static void
test_descriptors (void)
{
  static const ProbeHooks hooks = { .realize = fd_realize };
  TnHarness *h = start_one (&hooks);
  int fd = tn_device_take_fd (tn_harness_device (h, "one"), "other-end");

  check ("new ");
  g_assert_cmpint (write (fd, "abc", 3), ==, 3);
  tn_harness_settle (h);
  check ("abc");
  g_assert_cmpint (write (fd, "def", 3), ==, 3);
  swap (h, "one");
  tn_harness_settle (h);
  check ("again def");
  tn_harness_free (h);
  g_assert_cmpint (write (fd, "ghi", 3), ==, -1); /* closed with the device */
}

int
main (int argc, char **argv)
{
  int result;

  g_test_init (&argc, &argv, NULL);
  trace = g_string_new (NULL);
  g_test_add_func ("/core/ports/cycles", test_cycles);
  g_test_add_func ("/core/ports/clash", test_clash);
  g_test_add_func ("/core/posted/order", test_posted_order);
  g_test_add_func ("/core/posted/limits", test_posted_limits);
  g_test_add_func ("/core/posted/moments", test_posted_moments);
  g_test_add_func ("/core/posted/full", test_posted_full);
  g_test_add_func ("/core/memory/cards", test_memory);
  g_test_add_func ("/core/memory/routes", test_routes);
  g_test_add_func ("/core/memory/own-doorbell", test_own_doorbell);
  g_test_add_func ("/core/pci", test_pci);
  g_test_add_func ("/core/lines", test_lines);
  g_test_add_func ("/core/timers", test_timers);
  g_test_add_func ("/core/chars", test_chars);
  g_test_add_func ("/core/chars/growing-room", test_growing_room);
  g_test_add_func ("/core/chars/answered-at-once", test_answered_at_once);
  g_test_add_func ("/core/ports/short-blocks", test_short_blocks);
  g_test_add_func ("/core/disks", test_disks);
  g_test_add_func ("/core/descriptors", test_descriptors);
  result = g_test_run ();
  g_string_free (trace, TRUE);
  return result;
}
