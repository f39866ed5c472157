/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Test card: how a test program in the guest tells the host what it found.  Modelled on no part
 * that was ever sold; its ports are those that public test suites write to (kvm-unit-tests' test
 * device and exit port, the diagnostic port of BIOS replacements such as test386.asm).
 *
 *   text-port        a byte goes to the character back end; reads E9h
 *   post-port        POST code (passive listener): a line "@post XX"; the code `last-code` ends the
 * run exit-port +0..3  a value: a line "@exit N", then the machine is switched off E0-E3 scratch
 * register of 32 bits E4-E7            ignored (a hypervisor under test would drop a cached page)
 *   2000-200F        a byte: level of the ISA interrupt line 0 to 15
 *   FF000000-FF00FFFF  memory reached only through bus cycles, one handler call an access
 *
 * Text that the back end does not take waits in a buffer; what does not fit there is lost and
 * counted.
 */
#include <tenon/tenon.h>

#include <string.h>

#define PENDING_SIZE 4096
#define SCRATCH_PORT 0xe0
#define FLUSH_PORT 0xe4
#define LINES_PORT 0x2000
#define N_LINES 16
#define MEMORY_BASE 0xff000000u
#define MEMORY_SIZE 0x10000u
#define NO_CODE 0x100 /* last-code: the run ends in another way */

typedef struct {
  TnDevice *device;
  const char *link;
  uint32_t text_port, post_port, exit_port, last_code;
  bool memory_on;
  TnChar *chr;
  TnLine *lines[N_LINES];

  uint8_t post, scratch[4];
  uint8_t level[N_LINES];
  uint64_t lost;
  uint32_t pending_count;
  uint8_t pending[PENDING_SIZE];
  uint8_t memory[MEMORY_SIZE];
} Testcard;

/* ---- Text ---- */

static void
text_flush (void *self, void *data)
{
  Testcard *t = self;
  size_t taken = tn_char_send (t->chr, t->pending, t->pending_count);
  t->pending_count -= taken;
  memmove (t->pending, t->pending + taken, t->pending_count);
}

static void
text_add (Testcard *t, const char *bytes, size_t size)
{
  size_t fits = MIN (size, PENDING_SIZE - t->pending_count);
  memcpy (t->pending + t->pending_count, bytes, fits);
  t->pending_count += fits;
  if (fits < size && t->lost == 0)
    tn_device_log (t->device, TN_LOG_WARNING, "the back end takes too little: text is lost");
  t->lost += size - fits;
  text_flush (t, NULL);
}

static uint32_t
text_read (void *self, uint32_t offset, unsigned size)
{
  return 0xe9;
}

static void
text_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  char byte = (char) value;
  text_add (self, &byte, 1);
}

static void
post_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Testcard *t = self;
  char line[16];
  t->post = value;
  g_snprintf (line, sizeof line, "\n@post %02X\n", t->post);
  text_add (t, line, strlen (line));
  tn_device_emit (t->device, "post", t->post);
  if (t->post == t->last_code)
    tn_device_request_poweroff (t->device);
}

static void
exit_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Testcard *t = self;
  char line[32];
  g_snprintf (line, sizeof line, "\n@exit %u\n", value);
  text_add (t, line, strlen (line));
  tn_device_emit (t->device, "exit", value);
  tn_device_request_poweroff (t->device);
}

/* ---- Scratch register, interrupt lines, memory ---- */

static uint32_t
bytes_read (const uint8_t *bytes, unsigned size)
{
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t) bytes[i] << (8 * i);
  return value;
}

static void
bytes_write (uint8_t *bytes, uint32_t value, unsigned size)
{
  for (unsigned i = 0; i < size; i++)
    bytes[i] = value >> (8 * i);
}

static uint32_t
scratch_read (void *self, uint32_t offset, unsigned size)
{
  Testcard *t = self;
  return bytes_read (t->scratch + offset, MIN (size, 4 - offset));
}

static void
scratch_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Testcard *t = self;
  bytes_write (t->scratch + offset, value, MIN (size, 4 - offset));
}

static uint32_t
memory_read (void *self, uint32_t offset, unsigned size)
{
  Testcard *t = self;
  return bytes_read (t->memory + offset, MIN (size, MEMORY_SIZE - offset));
}

static void
memory_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Testcard *t = self;
  bytes_write (t->memory + offset, value, MIN (size, MEMORY_SIZE - offset));
}

static void
update_lines (Testcard *t)
{
  for (unsigned i = 0; i < N_LINES; i++)
    tn_line_set (t->lines[i], t->level[i]);
}

static void
lines_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Testcard *t = self;
  t->level[offset] = value != 0;
  update_lines (t);
}

/* ---- Life cycle ---- */

static const TnBusOps text_ops = { .read = text_read, .write = text_write, .max_size = 1 };
static const TnBusOps post_ops = { .write = post_write, .max_size = 1 };
static const TnBusOps exit_ops = { .write = exit_write };
static const TnBusOps scratch_ops = { .read = scratch_read, .write = scratch_write };
static const TnBusOps flush_ops = { .write = NULL };
static const TnBusOps lines_ops = { .write = lines_write, .max_size = 1 };
static const TnBusOps memory_ops = { .read = memory_read, .write = memory_write };
static const TnCharFrontOps front = { .writable = text_flush };

static bool
add_ports (Testcard *t, GError **error)
{
  TnDevice *d = t->device;
  return tn_device_add_ports (d, t->text_port, 1, &text_ops, TN_REGION_DEFAULT, error)
         && tn_device_add_ports (d, t->post_port, 1, &post_ops, TN_IO_SHARED_READ, error)
         && tn_device_add_ports (d, t->exit_port, 4, &exit_ops, TN_REGION_DEFAULT, error)
         && tn_device_add_ports (d, SCRATCH_PORT, 4, &scratch_ops, TN_REGION_DEFAULT, error)
         && tn_device_add_ports (d, FLUSH_PORT, 4, &flush_ops, TN_REGION_DEFAULT, error)
         && tn_device_add_ports (d, LINES_PORT, N_LINES, &lines_ops, TN_REGION_DEFAULT, error);
}

static bool
testcard_realize (void *self, GError **error)
{
  Testcard *t = self;
  char name[16];
  for (unsigned i = 0; i < N_LINES; i++)
    {
      g_snprintf (name, sizeof name, "isa:%u", i);
      t->lines[i] = tn_device_line (t->device, name);
    }
  if (t->memory_on
      && !tn_device_add_mmio (t->device, MEMORY_BASE, MEMORY_SIZE, &memory_ops, TN_REGION_DEFAULT,
                              error))
    return false;
  t->chr = tn_device_char (t->device, t->link, &front, NULL, error);
  return t->chr && add_ports (t, error);
}

static void
testcard_reset (void *self)
{
  Testcard *t = self;
  t->post = 0;
  memset (t->scratch, 0, sizeof t->scratch);
  memset (t->level, 0, sizeof t->level);
  update_lines (t);
}

static bool
testcard_restored (void *self, GError **error)
{
  Testcard *t = self;
  if (t->pending_count > PENDING_SIZE)
    return tn_device_fail (t->device, error, TN_ERROR_STATE, "%u bytes of text in a buffer of %u",
                           t->pending_count, PENDING_SIZE);
  for (unsigned i = 0; i < N_LINES; i++)
    if (t->level[i] > 1)
      return tn_device_fail (t->device, error, TN_ERROR_STATE, "line %u has level %u", i,
                             t->level[i]);
  update_lines (t);
  return true;
}

static const TnProperty properties[]
    = { TN_PROP_LINK (Testcard, link, "chardev", "character back end; none swallows the text",
                      TN_KIND_CHAR),
        TN_PROP_UINT (Testcard, text_port, "text-port", "I/O port for text", 0xe8, 0, 0xffff),
        TN_PROP_UINT (Testcard, post_port, "post-port", "I/O port of POST codes", 0x80, 0, 0xffff),
        TN_PROP_UINT (Testcard, exit_port, "exit-port", "first of four I/O ports that end the run",
                      0xf4, 0, 0xfffc),
        TN_PROP_UINT (Testcard, last_code, "last-code",
                      "POST code that ends the run; 256: none does", NO_CODE, 0, NO_CODE),
        TN_PROP_BOOL (Testcard, memory_on, "memory", "64 KiB of memory at FF000000h", true),
        TN_PROP_END };

static const TnSignal signals[]
    = { TN_SIGNAL_VALUE ("post", "a POST code was written"),
        TN_SIGNAL_VALUE ("exit", "the guest ended the run with this value"), TN_SIGNAL_END };

static const TnField fields[]
    = { TN_FIELD (Testcard, post, 1),          TN_FIELD (Testcard, scratch, 1),
        TN_FIELD (Testcard, level, 1),         TN_FIELD (Testcard, lost, 1),
        TN_FIELD (Testcard, pending_count, 1), TN_FIELD (Testcard, pending, 1),
        TN_FIELD (Testcard, memory, 1),        TN_FIELD_END };

static const TnIoDoc io[] = { { "text-port", "text (write)" },
                              { "post-port", "POST code (passive)" },
                              { "exit-port+0..3", "ends the run" },
                              { "E0h-E3h", "scratch register" },
                              { "E4h-E7h", "ignored" },
                              { "2000h-200Fh", "levels of ISA interrupts 0 to 15" },
                              { "memory FF000000h-FF00FFFFh", "scratch memory" },
                              { NULL, NULL } };

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "testcard",
  .summary = "text, exit and scratch ports for test programs in the guest",
  .document = "none: the ports of kvm-unit-tests and of diagnostic ROMs",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Testcard),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = testcard_realize, .reset = testcard_reset, .restored = testcard_restored },
};
