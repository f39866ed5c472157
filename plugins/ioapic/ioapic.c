/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 82093AA I/O APIC at FEC00000h, after Intel's data sheet (290566).
 *
 *   +00  IOREGSEL  index            +10  IOWIN  the register that the index names
 *   index 0 IOAPICID   1 IOAPICVER (00170011h)   2 IOAPICARB   10h-3Fh redirection table
 *
 * Pins 0-15 are the wires of IRQ 0-15, with IRQ 0 on pin 2 and nothing on pin 0; pins 16-23 are
 * "gsi:16" to "gsi:23".  An edge on a masked pin is lost, as the data sheet says.  A
 * level-triggered pin keeps Remote IRR from the message until the EOI of its vector; setting the
 * entry to edge clears it, which guests use as an EOI.
 *
 * Departures: the polarity bit is kept but has no effect, since lines carry asserted and released
 * rather than high and low, and guests program the same wire one way or the other.  Delivery
 * status always reads idle.  NMI, SMI, INIT and ExtINT entries are sent on edges whatever their
 * trigger mode. The chip answers whatever bit 8 of the PIIX4's XBCS says.
 */
#include <tenon/tenon.h>

#define IOAPIC_BASE 0xfec00000u
#define IOAPIC_SIZE 0x1000u
#define IOAPIC_PINS 24u

enum { IOREGSEL = 0x00, IOWIN = 0x10 };
enum { IOAPICID = 0, IOAPICVER = 1, IOAPICARB = 2, IOREDTBL = 0x10 };

#define ID_MASK 0x0f000000u
#define VERSION 0x00170011u

#define RED_VECTOR UINT64_C (0xff)
#define RED_MODE_SHIFT 8
#define RED_LOGICAL (UINT64_C (1) << 11)
#define RED_REMOTE_IRR (UINT64_C (1) << 14)
#define RED_LEVEL (UINT64_C (1) << 15)
#define RED_MASK (UINT64_C (1) << 16)
#define RED_WRITABLE (UINT64_C (0xff0000000001afff))
#define RED_DESTINATION_SHIFT 56

enum { MODE_FIXED = 0, MODE_LOWEST = 1, MODE_RESERVED_3 = 3, MODE_RESERVED_6 = 6 };

typedef struct {
  TnDevice *device;
  uint32_t id, index;
  uint32_t inputs; /* levels of the pins */
  uint64_t redirection[IOAPIC_PINS];
} IoApic;

static unsigned
delivery_mode (uint64_t entry)
{
  return entry >> RED_MODE_SHIFT & 7;
}

/* Only fixed and lowest priority interrupts know levels. */
static bool
level_triggered (uint64_t entry)
{
  return (entry & RED_LEVEL) && delivery_mode (entry) <= MODE_LOWEST;
}

static void
send (IoApic *s, unsigned pin)
{
  uint64_t entry = s->redirection[pin];
  unsigned mode = delivery_mode (entry);
  if (mode == MODE_RESERVED_3 || mode == MODE_RESERVED_6)
    {
      tn_device_log (s->device, TN_LOG_GUEST_ERROR, "pin %u has the reserved delivery mode %u", pin,
                     mode);
      return;
    }
  TnApicMessage message = {
    .vector = entry & RED_VECTOR,
    .delivery_mode = mode,
    .logical = entry & RED_LOGICAL,
    .level = level_triggered (entry),
    .destination = entry >> RED_DESTINATION_SHIFT,
  };
  if (!message.logical)
    { /* four bits, all ones for everybody */
      message.destination &= 0x0f;
      if (message.destination == 0x0f)
        message.destination = 0xff;
    }
  if (message.level)
    s->redirection[pin] |= RED_REMOTE_IRR;
  tn_device_send_apic (s->device, &message);
}

static void
check_level (IoApic *s, unsigned pin)
{
  uint64_t entry = s->redirection[pin];
  if ((s->inputs & 1u << pin) && level_triggered (entry) && !(entry & (RED_MASK | RED_REMOTE_IRR)))
    send (s, pin);
}

static void
pin_changed (void *self, bool level, void *data)
{
  IoApic *s = self;
  unsigned pin = GPOINTER_TO_UINT (data);
  bool rising = level && !(s->inputs & 1u << pin);
  s->inputs = level ? s->inputs | 1u << pin : s->inputs & ~(1u << pin);
  if (level_triggered (s->redirection[pin]))
    check_level (s, pin);
  else if (rising && !(s->redirection[pin] & RED_MASK))
    send (s, pin);
}

static void
eoi (void *self, uint8_t vector)
{
  IoApic *s = self;
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
    {
      uint64_t *entry = &s->redirection[pin];
      if (!(*entry & RED_REMOTE_IRR) || (*entry & RED_VECTOR) != vector)
        continue;
      *entry &= ~RED_REMOTE_IRR;
      check_level (s, pin);
    }
}

/* ---- Registers ---- */

static uint32_t
window_read (const IoApic *s)
{
  switch (s->index)
    {
    case IOAPICID:
    case IOAPICARB: return s->id;
    case IOAPICVER: return VERSION;
    default:
      if (s->index < IOREDTBL || s->index >= IOREDTBL + 2 * IOAPIC_PINS)
        return 0;
      unsigned n = s->index - IOREDTBL;
      return s->redirection[n >> 1] >> (n & 1 ? 32 : 0);
    }
}

static void
redirection_write (IoApic *s, unsigned n, uint32_t value)
{
  unsigned pin = n >> 1;
  uint64_t old = s->redirection[pin];
  uint64_t entry = n & 1 ? (old & 0xffffffffu) | (uint64_t) value << 32
                         : (old & ~UINT64_C (0xffffffff)) | value;
  entry = (entry & RED_WRITABLE) | (old & RED_REMOTE_IRR);
  if (!level_triggered (entry))
    entry &= ~RED_REMOTE_IRR;
  s->redirection[pin] = entry;
  check_level (s, pin);
}

static uint32_t
ioapic_read (void *self, uint32_t offset, unsigned size)
{
  IoApic *s = self;
  switch (offset & 0xfc)
    {
    case IOREGSEL: return s->index;
    case IOWIN: return window_read (s);
    default: return 0;
    }
}

static void
ioapic_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  IoApic *s = self;
  if ((offset & 0xfc) == IOREGSEL)
    s->index = value & 0xff;
  else if ((offset & 0xfc) != IOWIN)
    return;
  else if (s->index == IOAPICID)
    s->id = value & ID_MASK;
  else if (s->index >= IOREDTBL && s->index < IOREDTBL + 2 * IOAPIC_PINS)
    redirection_write (s, s->index - IOREDTBL, value);
}

static const TnBusOps ops = { .read = ioapic_read, .write = ioapic_write, .min_size = 4 };

/* ---- Life cycle ---- */

static void
watch_pin (IoApic *s, const char *prefix, unsigned line, unsigned pin)
{
  char name[16];
  g_snprintf (name, sizeof name, "%s:%u", prefix, line);
  tn_device_watch_line (s->device, name, pin_changed, GUINT_TO_POINTER (pin));
}

static bool
ioapic_realize (void *self, GError **error)
{
  IoApic *s = self;
  if (!tn_device_add_mmio (s->device, IOAPIC_BASE, IOAPIC_SIZE, &ops, TN_IO_FAST, error))
    return false;
  for (unsigned irq = 0; irq < 16; irq++)
    if (irq != 2)
      watch_pin (s, "isa", irq, irq == 0 ? 2 : irq);
  for (unsigned gsi = 16; gsi < IOAPIC_PINS; gsi++)
    watch_pin (s, "gsi", gsi, gsi);
  tn_device_watch_eoi (s->device, eoi);
  return true;
}

static void
ioapic_reset (void *self)
{
  IoApic *s = self;
  s->id = s->index = 0;
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
    s->redirection[pin] = RED_MASK;
}

static bool
ioapic_restored (void *self, GError **error)
{
  IoApic *s = self;
  bool ok = !(s->id & ~ID_MASK) && s->index <= 0xff && !(s->inputs >> IOAPIC_PINS);
  for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
    {
      uint64_t entry = s->redirection[pin];
      ok = ok && !(entry & ~(RED_WRITABLE | RED_REMOTE_IRR))
           && (level_triggered (entry) || !(entry & RED_REMOTE_IRR));
    }
  return ok || tn_device_fail (s->device, error, TN_ERROR_STATE, "a register is out of range");
}

static const TnField fields[] = {
  TN_FIELD (IoApic, id, 1),
  TN_FIELD (IoApic, index, 1),
  TN_FIELD (IoApic, inputs, 1),
  TN_FIELD (IoApic, redirection, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "FEC00000h", "IOREGSEL" },
  { "FEC00010h", "IOWIN" },
  { "isa:0-isa:15", "inputs: pins 0-15; isa:0 is pin 2" },
  { "gsi:16-gsi:23", "inputs: pins 16-23" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "ioapic",
  .summary = "82093AA I/O APIC with 24 pins",
  .document = "Intel 290566 (82093AA)",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (IoApic),
  .fields = fields,
  .io = io,
  .ops = { .realize = ioapic_realize, .reset = ioapic_reset, .restored = ioapic_restored },
};
