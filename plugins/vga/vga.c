/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain VGA card with 256 KiB on the ISA side of the bus, and its BIOS.
 *
 *   3B0-3BB, 3C0-3DF   registers (see plugins/lib/vga-core.h)
 *   A0000-BFFFF        memory window
 *   C0000-             BIOS, as long as the host bridge routes reads there to the bus
 *
 * The BIOS is a file, by default Debian's package vgabios.  In text modes the property screen-file
 * has the characters on the screen written to a file of the host when they have changed.
 *
 * Departures: 3BC-3BF is left to printer ports.
 */
#include "../lib/vga-core.h"

#include <string.h>

#define MEMORY_SIZE     (256 * 1024)
#define ROM_MAX         65536
#define ROM_AT          0xc0000
#define PAGE            4096
#define SCREEN_INTERVAL (TN_NS_PER_S / 2)

typedef struct {
  TnDevice *device;
  const char *rom, *screen_file;
  bool bios;
  TnTimer *screen_timer;
  char *screen; /* as written last */
  VgaCore vga;
  VgaPicture picture;
  uint8_t memory[MEMORY_SIZE];
} Card;

/* ---- Bus ---- */

static uint32_t
low_read (void *self, uint32_t offset, unsigned size)
{
  Card *card = self;
  return vga_port_read (&card->vga, 0x3b0 + offset, tn_device_now (card->device));
}

static void
low_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  vga_port_write (&((Card *) self)->vga, 0x3b0 + offset, value);
}

static uint32_t
high_read (void *self, uint32_t offset, unsigned size)
{
  Card *card = self;
  return vga_port_read (&card->vga, 0x3c0 + offset, tn_device_now (card->device));
}

static void
high_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  vga_port_write (&((Card *) self)->vga, 0x3c0 + offset, value);
}

static uint32_t
window_read (void *self, uint32_t offset, unsigned size)
{
  Card *card = self;
  uint32_t value = 0;
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t) vga_memory_read (&card->vga, offset + i) << 8 * i;
  return value;
}

static void
window_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Card *card = self;
  for (unsigned i = 0; i < size; i++)
    vga_memory_write (&card->vga, offset + i, value >> 8 * i);
}

/* ---- BIOS ---- */

static bool
add_bios (Card *card, GError **error)
{
  g_autofree char *bytes = NULL;
  g_autofree uint8_t *rom = NULL;
  g_autoptr (GError) why = NULL;
  gsize size;
  if (!g_file_get_contents (card->rom, &bytes, &size, &why))
    return tn_device_fail (card->device, error, TN_ERROR_IO,
                           "%s; install the package vgabios, or set rom or bios = false",
                           why->message);
  if (size < 512 || size > ROM_MAX || (uint8_t) bytes[0] != 0x55 || (uint8_t) bytes[1] != 0xaa)
    return tn_device_fail (
        card->device, error, TN_ERROR_IO,
        "%s is no BIOS of a card: it must begin with 55 AA and have at most 64 KiB", card->rom);
  rom = g_malloc (ROM_MAX);
  memset (rom, 0xff, ROM_MAX);
  memcpy (rom, bytes, size);
  return tn_device_add_rom (card->device, ROM_AT, rom, (size + PAGE - 1) / PAGE * PAGE, error);
}

/* ---- Text screen on the host ---- */

static void
write_screen (void *self, void *data)
{
  Card *card = self;
  g_autoptr (GError) error = NULL;
  char *text = vga_text (&card->vga);
  tn_timer_set (card->screen_timer, tn_device_now (card->device) + SCREEN_INTERVAL);
  if (!text)
    text = g_strdup ("(graphics)\n");
  if (!g_strcmp0 (text, card->screen))
    {
      g_free (text);
      return;
    }
  g_free (card->screen);
  card->screen = text;
  if (g_file_set_contents (card->screen_file, text, -1, &error))
    return;
  tn_device_log (card->device, TN_LOG_WARNING, "no more screen-file: %s", error->message);
  tn_timer_cancel (card->screen_timer);
}

static void
start_screen (Card *card)
{
  if (card->screen_file)
    tn_timer_set (card->screen_timer, tn_device_now (card->device));
}

/* ---- Life cycle ---- */

static void
refresh (void *self, TnDisplay *display, void *data)
{
  Card *card = self;
  vga_refresh (&card->vga, &card->picture, display, tn_device_now (card->device));
}

static bool
card_realize (void *self, GError **error)
{
  static const TnBusOps low = { .read = low_read, .write = low_write, .max_size = 1 };
  static const TnBusOps high = { .read = high_read, .write = high_write, .max_size = 1 };
  static const TnBusOps window = { .read = window_read, .write = window_write };
  /* Writes touch nothing but what reads, the screen and the state see, all through handlers. */
  const TnRegionFlags fast = TN_IO_FAST | TN_IO_POSTED;
  Card *card = self;
  vga_init (&card->vga, card->memory, MEMORY_SIZE / 4);
  card->vga.open_palette = true; /* vgabios sets palette registers while the screen is on */
  tn_device_display_new (card->device, refresh, NULL);
  card->screen_timer = tn_device_timer_new (card->device, "screen", write_screen, NULL);
  return tn_device_add_ports (card->device, 0x3b0, 12, &low, fast, error)
         && tn_device_add_ports (card->device, 0x3c0, 32, &high, fast, error)
         && tn_device_add_mmio (card->device, 0xa0000, VGA_WINDOW_SIZE, &window, fast, error)
         && (!card->bios || add_bios (card, error));
}

static void
card_unrealize (void *self)
{
  Card *card = self;
  g_free (card->screen);
}

static void
card_reset (void *self)
{
  Card *card = self;
  vga_reset (&card->vga);
  memset (card->memory, 0, sizeof card->memory);
  start_screen (card);
}

static bool
card_restored (void *self, GError **error)
{
  Card *card = self;
  if (!vga_restored (&card->vga))
    return tn_device_fail (card->device, error, TN_ERROR_STATE,
                           "registers cannot hold such values");
  card->vga.changed = true;
  start_screen (card);
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  { .name = "rom",
    .blurb = "file with the BIOS of the card",
    .type = TN_PROP_TYPE_FILE,
    .offset = offsetof (Card, rom),
    .default_string = "/usr/share/vgabios/vgabios.bin" },
  TN_PROP_BOOL (Card, bios, "bios", "the card has a BIOS", true),
  TN_PROP_FILE (Card, screen_file, "screen-file",
                "file that the text screen is written to when it has changed", false),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (Card, vga, 1, vga_core_fields, 1),
  TN_FIELD (Card, memory, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "3B4h, 3B5h / 3D4h, 3D5h", "CRTC index and data, monochrome or colour" },
  { "3BAh / 3DAh", "input status 1 (read), feature control (write)" },
  { "3C0h, 3C1h", "attribute controller" },
  { "3C2h, 3CCh", "miscellaneous output; 3C2h reads input status 0" },
  { "3C4h, 3C5h", "sequencer" },
  { "3C6h-3C9h", "DAC" },
  { "3CEh, 3CFh", "graphics controller" },
  { "A0000h-BFFFFh", "memory window" },
  { "C0000h", "BIOS" },
  { NULL, NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "vga",
  .summary = "Plain VGA card with 256 KiB",
  .document = "IBM PS/2 Hardware Interface Technical Reference, Video Subsystem",
  .kind = TN_KIND_DEVICE,
  .state_version = 2,
  .instance_size = sizeof (Card),
  .properties = props,
  .fields = fields,
  .io = io,
  .ops = { .realize = card_realize,
           .unrealize = card_unrealize,
           .reset = card_reset,
           .restored = card_restored },
};
