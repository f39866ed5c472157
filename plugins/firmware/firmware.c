/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * System ROM: the flash chip with the BIOS at the top of the address space and below 1 MiB, the debug
 * ports that Bochs' BIOS writes to, and the POST code port.
 *
 *   FFFE0000-FFFFFFFF   the image (as large as the file), and its last 128 KiB at E0000-FFFFF
 *   port 80             POST code (passive)
 *   ports 400-403, 500  messages of bochsbios: 400/401 panic, 402 info, 403 debug
 *   port E9             the debug console of Bochs
 *   port 8900           the string "Shutdown" switches the machine off
 *
 * The image is Debian's BIOS-bochs-latest, built for a PIIX3 or PIIX4 at device 1.  On a 440BX board
 * the PIIX4 is device 7: acpi.c corrects the two ACPI tables that say otherwise, as they are loaded.
 * int13.c corrects its disk driver, which does not wait until a drive has taken what it writes, and
 * mtrr.c the width of a range of memory types.
 */
#include "firmware.h"

#include <string.h>

#define ROM_MAX (512u << 10)
#define LOW_SIZE (128u << 10)
#define LOW_TOP 0x100000u
#define DEFAULT_FILE "/usr/share/bochs/BIOS-bochs-latest"
#define LINE_MAX_CHARS 160

typedef struct {
  char text[LINE_MAX_CHARS];
  uint8_t length;
} Line;

typedef struct {
  TnDevice *device;
  const char *file;
  bool acpi_fix;
  uint8_t post, shutdown; /* last POST code; how much of "Shutdown" has been seen */
  bool panicked;          /* the next line of the BIOS says why it gives up */
  Line line[2];           /* of bochsbios, of port E9 */
  bool keys_known, keys_fed; /* the BIOS's buffer of keys: its tail is known; it moved, so it is in use */
  uint16_t keys_tail;
} Firmware;

/* ---- Messages ---- */

static void
line_flush (Firmware *fw, Line *line)
{
  char text[LINE_MAX_CHARS + 1];
  if (line->length == 0)
    return;
  memcpy (text, line->text, line->length);
  text[line->length] = '\0';
  line->length = 0;
  if (fw->panicked)
    tn_device_log (fw->device, TN_LOG_WARNING, "the BIOS gives up: %s", text);
  else
    tn_device_firmware_message (fw->device, text);
  fw->panicked = false;
}

static void
line_add (Firmware *fw, Line *line, uint8_t byte)
{
  if (byte == '\n' || line->length >= LINE_MAX_CHARS)
    line_flush (fw, line);
  if (byte >= 0x20 && byte < 0x7f)
    line->text[line->length++] = (char) byte;
}

/* The panic ports get the line number of the BIOS's source; its reason follows on port 402. */
static void
panic_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Firmware *fw = self;
  line_flush (fw, &fw->line[0]);
  fw->panicked = true;
}

static void
message_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Firmware *fw = self;
  line_add (fw, &fw->line[0], value);
}

static uint32_t
console_read (void *self, uint32_t offset, unsigned size)
{
  return 0xe9; /* how a guest finds the debug console */
}

static void
console_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Firmware *fw = self;
  line_add (fw, &fw->line[1], value);
}

static void
post_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Firmware *fw = self;
  fw->post = value;
  tn_device_emit (fw->device, "post", fw->post);
}

static void
shutdown_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  static const char word[] = "Shutdown";
  Firmware *fw = self;
  if ((value & 0xff) != (uint8_t) word[fw->shutdown])
    fw->shutdown = 0;
  if ((value & 0xff) == (uint8_t) word[fw->shutdown] && ++fw->shutdown == sizeof word - 1)
    {
      fw->shutdown = 0;
      tn_device_request_poweroff (fw->device);
    }
}

static const TnBusOps panic_ops = { .write = panic_write, .min_size = 1, .max_size = 2 };
static const TnBusOps message_ops = { .write = message_write, .max_size = 1 };
static const TnBusOps console_ops = { .read = console_read, .write = console_write, .max_size = 1 };
static const TnBusOps post_ops = { .write = post_write, .max_size = 1 };
static const TnBusOps shutdown_ops = { .write = shutdown_write, .max_size = 1 };

/* ---- Typing ---- */

/* INT 9 puts keys into a ring of 15 in the BIOS's data area (segment 40h: head at 1A, tail at 1C, first
   and end at 80 and 82), and whoever calls INT 16h takes them out.  An operating system with a driver
   of its own leaves the ring as it is, empty or not: it counts only once the tail has moved. */
static bool
keys_taken (void *self)
{
  Firmware *fw = self;
  uint16_t ring[2], bounds[2];
  tn_device_mem_read (fw->device, 0x41a, ring, sizeof ring);
  tn_device_mem_read (fw->device, 0x480, bounds, sizeof bounds);
  uint16_t head = GUINT16_FROM_LE (ring[0]), tail = GUINT16_FROM_LE (ring[1]);
  uint16_t first = GUINT16_FROM_LE (bounds[0]), end = GUINT16_FROM_LE (bounds[1]);
  bool sane = head >= first && head < end && tail >= first && tail < end;
  if (!sane || head == tail)
    fw->keys_fed = false;
  else if (fw->keys_known && tail != fw->keys_tail)
    fw->keys_fed = true;
  fw->keys_known = true;
  fw->keys_tail = tail;
  return !fw->keys_fed;
}

/* ---- Image ---- */

static bool
size_is_flash (gsize size)
{
  return size >= (64u << 10) && size <= ROM_MAX && (size & (size - 1)) == 0;
}

static bool
map_image (Firmware *fw, uint8_t *image, gsize size, GError **error)
{
  TnRegion *rom = tn_device_add_rom (fw->device, (uint32_t) (0x100000000ull - size), image,
                                     (uint32_t) size, error);
  uint32_t low = MIN (size, LOW_SIZE);
  return rom && tn_region_alias (rom, (uint32_t) size - low, LOW_TOP - low, low, error);
}

static bool
load_image (Firmware *fw, GError **error)
{
  char *image;
  gsize size;
  GError *reason = NULL;
  bool ok = false;

  if (!g_file_get_contents (fw->file, &image, &size, &reason))
    {
      tn_device_fail (fw->device, error, TN_ERROR_IO,
                      "cannot read the BIOS: %s; install the package bochsbios or set \"file\"",
                      reason->message);
      g_error_free (reason);
      return false;
    }
  if (!size_is_flash (size))
    tn_device_fail (fw->device, error, TN_ERROR_IO,
                    "%s: %" G_GSIZE_FORMAT " bytes, but a BIOS image has 64, 128, 256 or 512 KiB",
                    fw->file, size);
  else if (fw->acpi_fix && !firmware_fix_acpi ((uint8_t *) image, size, &reason))
    {
      tn_device_fail (fw->device, error, TN_ERROR_IO,
                      "%s: %s; use Debian's BIOS-bochs-latest, or set acpi-fix = false", fw->file,
                      reason->message);
      g_error_free (reason);
    }
  else
    {
      if (!firmware_fix_writes ((uint8_t *) image, size) && fw->acpi_fix)
        tn_device_log (fw->device, TN_LOG_WARNING,
                       "%s is not the BIOS that is known: writes by INT 13h may fail", fw->file);
      firmware_fix_mtrr ((uint8_t *) image, size); /* others may have no such code to correct */
      ok = map_image (fw, (uint8_t *) image, size, error);
    }
  g_free (image);
  return ok;
}

/* ---- Life cycle ---- */

static bool
firmware_realize (void *self, GError **error)
{
  /* Text for the host: nothing that the guest reads depends on it. */
  const TnRegionFlags fast = TN_IO_FAST | TN_IO_POSTED;
  Firmware *fw = self;
  tn_device_watch_typing (fw->device, keys_taken);
  return load_image (fw, error)
         && tn_device_add_ports (fw->device, 0x400, 2, &panic_ops, fast, error)
         && tn_device_add_ports (fw->device, 0x402, 2, &message_ops, fast, error)
         && tn_device_add_ports (fw->device, 0x500, 1, &message_ops, fast, error)
         && tn_device_add_ports (fw->device, 0xe9, 1, &console_ops, fast, error)
         && tn_device_add_ports (fw->device, 0x80, 1, &post_ops, TN_IO_SHARED_READ | fast, error)
         && tn_device_add_ports (fw->device, 0x8900, 1, &shutdown_ops, TN_REGION_DEFAULT, error);
}

static void
firmware_reset (void *self)
{
  Firmware *fw = self;
  line_flush (fw, &fw->line[0]);
  line_flush (fw, &fw->line[1]);
  fw->post = fw->shutdown = 0;
  fw->panicked = fw->keys_known = fw->keys_fed = false;
}

static bool
firmware_restored (void *self, GError **error)
{
  Firmware *fw = self;
  if (fw->shutdown >= sizeof "Shutdown" - 1 || fw->line[0].length > LINE_MAX_CHARS
      || fw->line[1].length > LINE_MAX_CHARS)
    return tn_device_fail (fw->device, error, TN_ERROR_STATE, "a message is longer than its buffer");
  return true;
}

static const TnProperty properties[] = {
  { .name = "file", .blurb = "BIOS image of 64 to 512 KiB", .type = TN_PROP_TYPE_FILE,
    .offset = TN_PROP_CHECK_ (Firmware, file, const char *), .default_string = DEFAULT_FILE },
  TN_PROP_BOOL (Firmware, acpi_fix, "acpi-fix",
                "correct the ACPI tables of bochsbios 2.7 for a PIIX4 at device 7", true),
  TN_PROP_END
};

static const TnSignal signals[] = {
  TN_SIGNAL_VALUE ("post", "the BIOS wrote a POST code to port 80h"),
  TN_SIGNAL_END
};

static const TnField line_fields[] = {
  { .name = "text", .type = TN_FIELD_TYPE_BYTES, .since = 1, .offset = offsetof (Line, text),
    .size = LINE_MAX_CHARS, .count = 1 },
  TN_FIELD (Line, length, 1), TN_FIELD_END
};

static const TnField fields[] = {
  TN_FIELD (Firmware, post, 1),
  TN_FIELD (Firmware, shutdown, 1),
  TN_FIELD (Firmware, panicked, 1),
  TN_FIELD_STRUCT (Firmware, line, 2, line_fields, 1),
  TN_FIELD_END
};

static const TnIoDoc io[] = {
  { "memory below 4 GiB", "the image" },
  { "memory E0000h-FFFFFh", "its last 128 KiB" },
  { "port 80h", "POST code" },
  { "ports 400h-403h, 500h, E9h", "messages, shown in the log under \"firmware\"" },
  { "port 8900h", "\"Shutdown\" switches the machine off" },
  { NULL, NULL }
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "firmware",
  .summary = "system ROM with a BIOS, its debug ports and POST codes",
  .document = "bochsbios 2.7; Intel 82371AB data sheet for the decoding",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Firmware),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = firmware_realize, .reset = firmware_reset, .restored = firmware_restored },
};
