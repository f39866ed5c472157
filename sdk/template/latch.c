/* SPDX-License-Identifier: MIT */
/* Latch, a template for devices: a byte written to the port raises the interrupt, and reading it
   lowers it again; port+1 counts the writes.  Copy it, rename it, make it yours. */
#include <tenon/tenon.h>

typedef struct {
  TnDevice *device;   /* must be first; the core sets it */
  uint32_t port, irq; /* properties */
  TnLine *line;
  uint8_t value, count; /* what the chip holds: saved */
} Latch;

static uint32_t
latch_read (void *self, uint32_t offset, unsigned size)
{
  Latch *l = self;
  if (offset == 0)
    tn_line_set (l->line, false);
  return offset == 0 ? l->value : l->count;
}

static void
latch_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Latch *l = self;
  if (offset != 0) return;
  l->value = value;
  l->count++;
  tn_line_set (l->line, true);
}

static bool
latch_realize (void *self, GError **error)
{
  static const TnBusOps ops = { .read = latch_read, .write = latch_write, .max_size = 1 };
  Latch *l = self;
  g_autofree char *irq = g_strdup_printf ("isa:%u", l->irq);
  l->line = tn_device_line (l->device, irq); /* its level is kept over save, load and swap */
  return tn_device_add_ports (l->device, l->port, 2, &ops, TN_REGION_DEFAULT, error) != NULL;
}

static void
latch_reset (void *self)
{
  Latch *l = self;
  l->value = l->count = 0;
  tn_line_set (l->line, false);
}

static const TnProperty properties[] = {
  TN_PROP_UINT (Latch, port, "port", "first of two I/O ports", 0x2a0, 0, 0xfffe),
  TN_PROP_UINT (Latch, irq, "irq", "ISA interrupt", 9, 0, 15), TN_PROP_END };
static const TnField fields[] = {
  TN_FIELD (Latch, value, 1), TN_FIELD (Latch, count, 1), TN_FIELD_END };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER, .name = "latch", .summary = "Template for devices: a latch that interrupts",
  .kind = TN_KIND_DEVICE, .state_version = 1, .instance_size = sizeof (Latch),
  .properties = properties, .fields = fields,
  .ops = { .realize = latch_realize, .reset = latch_reset } };
