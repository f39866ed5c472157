/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * S3 Trio64V+ (86C765): a PCI graphics card with a VGA, 1 to 4 MiB, an engine for two dimensions,
 * a hardware cursor, a video overlay, and a monitor that tells its EDID.
 *
 *   3B0-3BB, 3C0-3DF, 46E8, 102   VGA and extended registers (registers.c)
 *   x2E8, x6E8, xAE8, xEE8        engine (engine.c)
 *   A0000-BFFFF                   memory window, or the engine's registers
 *   BAR0 + 0, 64 MiB              linear window, with CR58 bit 4
 *   BAR0 + 1000000h               registers, with CR53 bit 3 (mmio.c)
 *   ROM BAR                       BIOS
 *
 * The linear window is memory that the guest writes directly; pages that it wrote to are found when
 * the picture is refreshed.
 *
 * Departures: the big-endian image of the aperture is absent; the ROM answers when its BAR is
 * enabled, also while the command register has memory off: bochsbios copies it to C0000h at that
 * time.
 */
#include "s3.h"

#include <bios.h>

#include <string.h>

enum {
  PCI_COMMAND = 0x04,
  PCI_BAR0 = 0x10,
  PCI_ROM = 0x30,
  ROM_MAX = 65536,
  LINEAR_AT = 0x1000000,
};

/* ---- Bus ---- */

static uint32_t
low_read (void *self, uint32_t offset, unsigned size)
{
  return s3_port_read (self, 0x3b0 + offset);
}

static void
low_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  s3_port_write (self, 0x3b0 + offset, value);
}

static uint32_t
high_read (void *self, uint32_t offset, unsigned size)
{
  return s3_port_read (self, 0x3c0 + offset);
}

static void
high_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  s3_port_write (self, 0x3c0 + offset, value);
}

static uint32_t
window_read (void *self, uint32_t offset, unsigned size)
{
  return s3_window_read (self, offset, size);
}

static void
window_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  s3_window_write (self, offset, value, size);
}

static uint32_t
mmio_read (void *self, uint32_t offset, unsigned size)
{
  return s3_mmio_read (self, offset, size);
}

static void
mmio_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  s3_mmio_write (self, offset, value, size);
}

/* Setup: 46E8 is written alone; 102 wakes the VGA in setup mode. */
static void
setup_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  ((S3 *) self)->setup = value;
}

static uint32_t
wake_read (void *self, uint32_t offset, unsigned size)
{
  return ((S3 *) self)->wake;
}

static void
wake_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  ((S3 *) self)->wake = value & 1;
}

/* Handlers of the engine's ports differ by the port alone. */
#define ENGINE_PORTS(X)                                                                            \
  X (42e8)                                                                                         \
  X (4ae8)                                                                                         \
  X (82e8) X (86e8) X (8ae8) X (8ee8) X (92e8) X (96e8) X (9ae8) X (9ee8) X (a2e8) X (a6e8)        \
      X (aae8) X (aee8) X (b2e8) X (b6e8) X (bae8) X (bee8) X (e2e8)

#define ENGINE_HANDLERS(port)                                                                      \
  static uint32_t read_##port (void *self, uint32_t offset, unsigned size)                         \
  {                                                                                                \
    return s3_engine_read (self, 0x##port + offset, size);                                         \
  }                                                                                                \
  static void write_##port (void *self, uint32_t offset, uint32_t value, unsigned size)            \
  {                                                                                                \
    s3_engine_write (self, 0x##port + offset, value, size);                                        \
  }
ENGINE_PORTS (ENGINE_HANDLERS)

#define ENGINE_OPS(port) { 0x##port, { .read = read_##port, .write = write_##port } },
static const struct {
  uint16_t port;
  TnBusOps ops;
} engine_ports[] = { ENGINE_PORTS (ENGINE_OPS) };

/* ---- BIOS ---- */

static bool
file_bios (S3 *s3, uint8_t *rom, GError **error)
{
  g_autofree char *bytes = NULL;
  g_autoptr (GError) why = NULL;
  gsize size;

  if (!g_file_get_contents (s3->rom, &bytes, &size, &why))
    return tn_device_fail (s3->device, error, TN_ERROR_IO, "%s", why->message);
  if (size < 512 || size > ROM_MAX || (uint8_t) bytes[0] != 0x55 || (uint8_t) bytes[1] != 0xaa)
    return tn_device_fail (
        s3->device, error, TN_ERROR_IO,
        "%s is no BIOS of a card: it must begin with 55 AA and have at most 64 KiB", s3->rom);
  memcpy (rom, bytes, size);
  return true;
}

static uint32_t
rom_read (void *self, uint32_t offset, unsigned size)
{
  uint32_t value = 0;

  memcpy (&value, ((S3 *) self)->bios + offset, size);
  return value;
}

static bool
add_bios (S3 *s3, GError **error)
{
  static const TnBusOps ops = { .read = rom_read };

  memset (s3->bios, 0xff, ROM_MAX);
  if (s3->rom && *s3->rom)
    {
      if (!file_bios (s3, s3->bios, error))
        return false;
    }
  else
    memcpy (s3->bios, s3_bios, MIN (s3_bios_size, ROM_MAX));
  tn_pci_field (s3->pci, PCI_ROM, 4, 0, 0xffff0001, 0);
  s3->rom_window
      = tn_device_add_mmio (s3->device, LINEAR_AT, ROM_MAX, &ops, TN_REGION_HIDDEN, error);
  return s3->rom_window != NULL;
}

/* ---- PCI ---- */

static void
config_written (void *self, TnPci *pci, unsigned offset, unsigned size, const uint8_t *old)
{
  if ((offset < PCI_BAR0 + 4 && offset + size > PCI_COMMAND)
      || (offset < PCI_ROM + 4 && offset + size > PCI_ROM))
    s3_update_map (self);
}

static bool
add_pci (S3 *s3, GError **error)
{
  static const TnPciConfig config = { .vendor = 0x5333,
                                      .device = 0x8811,
                                      .revision = 0x40,
                                      .class_code = 0x03,
                                      .command_mask = 0x27,
                                      .status = 0x0200,
                                      .interrupt_pin = 1 };
  static const TnPciOps ops = { .written = config_written };
  static const TnBusOps mmio = { .read = mmio_read, .write = mmio_write };

  s3->pci = tn_device_pci_new (s3->device, 0, s3->slot, 0, &config, &ops, error);
  if (!s3->pci)
    return false;
  tn_pci_field (s3->pci, PCI_BAR0, 4, 0, 0xfc000000, 0);
  s3->linear = tn_device_ram_new (s3->device, "vram", s3->size, &s3->vram);
  tn_region_track (s3->linear);
  s3->mmio = tn_device_add_mmio (s3->device, LINEAR_AT, 0x10000, &mmio, TN_REGION_HIDDEN, error);
  return s3->mmio != NULL;
}

static bool
add_ports (S3 *s3, GError **error)
{
  static const TnBusOps low = { .read = low_read, .write = low_write, .max_size = 1 };
  static const TnBusOps high = { .read = high_read, .write = high_write, .max_size = 1 };
  static const TnBusOps setup = { .write = setup_write, .max_size = 1 };
  static const TnBusOps wake = { .read = wake_read, .write = wake_write, .max_size = 1 };
  static const TnBusOps window = { .read = window_read, .write = window_write };

  for (unsigned i = 0; i < G_N_ELEMENTS (engine_ports); i++)
    if (!tn_device_add_ports (s3->device, engine_ports[i].port, 4, &engine_ports[i].ops, 0, error))
      return false;
  return tn_device_add_ports (s3->device, 0x3b0, 12, &low, TN_IO_FAST, error)
         && tn_device_add_ports (s3->device, 0x3c0, 32, &high, TN_IO_FAST, error)
         && tn_device_add_ports (s3->device, 0x102, 1, &wake, TN_IO_FAST, error)
         && tn_device_add_ports (s3->device, 0x46e8, 1, &setup, TN_IO_FAST, error)
         && (s3->window = tn_device_add_mmio (s3->device, 0xa0000, VGA_WINDOW_SIZE, &window,
                                              TN_IO_FAST | TN_IO_POSTED, error))
         && (s3->window_mmio = tn_device_add_mmio (s3->device, 0xa0000, VGA_WINDOW_SIZE, &window,
                                                   TN_REGION_HIDDEN, error));
}

/* ---- Life ---- */

static bool
s3_realize (void *self, GError **error)
{
  S3 *s3 = self;

  s3->size = s3->memory_mb << 20;
  if (!add_pci (s3, error) || !add_ports (s3, error) || !add_bios (s3, error))
    return false;
  vga_init (&s3->vga, s3->vram, s3->size / 4);
  s3->frame_timer = tn_device_timer_new (s3->device, "frame", s3_frame_over, NULL);
  tn_device_display_new (s3->device, s3_refresh, NULL);
  return true;
}

static void
s3_reset (void *self)
{
  S3 *s3 = self;

  vga_reset (&s3->vga);
  memset (s3->vram, 0, s3->size);
  memset (s3->streams, 0, sizeof s3->streams);
  s3->setup = s3->wake = 0;
  s3_engine_reset (s3);
  s3_ddc_reset (s3);
  s3_registers_reset (s3);
  s3_update_map (s3);
  tn_timer_cancel (s3->frame_timer);
  s3->all_dirty = true;
}

static bool
possible (const S3 *s3)
{
  return vga_restored (&s3->vga) && s3_engine_restored (&s3->engine) && s3->bank <= 0x7f
         && s3->ink_next < 3 && s3->paper_next < 3 && s3->cursor_x <= 0x7ff && s3->cursor_y <= 0x7ff
         && s3->dot_m <= 0x7f && s3->dot_n <= 0x1f && s3->dot_r <= 3 && s3->adv_func <= 0x3f
         && !(s3->subsys_enable & ~0x0f00) && s3->subsys_status <= 0x0f && s3->ddc_state <= 6
         && (s3->ddc_bit <= 8 || s3->ddc_bit == 0xff) && s3->wake <= 1;
}

static bool
s3_restored (void *self, GError **error)
{
  S3 *s3 = self;

  if (!possible (s3))
    return tn_device_fail (s3->device, error, TN_ERROR_STATE, "registers cannot hold such values");
  s3_update (s3);
  s3_update_map (s3);
  s3_update_interrupt (s3);
  s3->in_enhanced = false;
  s3->all_dirty = true;
  return true;
}

/* ---- Descriptor ---- */

static const TnProperty props[] = {
  TN_PROP_UINT (S3, slot, "slot", "PCI device number on bus 0", 9, 0, 31),
  TN_PROP_UINT (S3, memory_mb, "memory", "video memory in MiB: 1, 2 or 4", 4, 1, 4),
  { .name = "rom",
    .blurb = "file with another BIOS than the card's own",
    .type = TN_PROP_TYPE_FILE,
    .offset = offsetof (S3, rom) },
  TN_PROP_BOOL (S3, fast, "fast", "the engine has short cuts, with the same results", true),
  TN_PROP_END,
};

static const TnField fields[] = {
  TN_FIELD_STRUCT (S3, vga, 1, vga_core_fields, 1),
  TN_FIELD (S3, crtc, 1),
  TN_FIELD (S3, sequencer, 1),
  TN_FIELD (S3, bank, 1),
  TN_FIELD (S3, ink, 1),
  TN_FIELD (S3, paper, 1),
  TN_FIELD (S3, ink_next, 1),
  TN_FIELD (S3, paper_next, 1),
  TN_FIELD (S3, cursor_x, 1),
  TN_FIELD (S3, cursor_y, 1),
  TN_FIELD (S3, setup, 1),
  TN_FIELD (S3, wake, 1),
  TN_FIELD (S3, dot_n, 1),
  TN_FIELD (S3, dot_m, 1),
  TN_FIELD (S3, dot_r, 1),
  TN_FIELD (S3, adv_func, 1),
  TN_FIELD (S3, subsys_enable, 1),
  TN_FIELD (S3, subsys_status, 1),
  TN_FIELD (S3, frame_seen, 1),
  TN_FIELD_STRUCT (S3, engine, 1, s3_engine_fields, 1),
  TN_FIELD (S3, streams, 1),
  TN_FIELD (S3, serial, 1),
  TN_FIELD (S3, ddc_state, 1),
  TN_FIELD (S3, ddc_bit, 1),
  TN_FIELD (S3, ddc_byte, 1),
  TN_FIELD (S3, ddc_address, 1),
  TN_FIELD (S3, ddc_scl, 1),
  TN_FIELD (S3, ddc_sda, 1),
  TN_FIELD (S3, ddc_pull, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "3B4h, 3B5h / 3D4h, 3D5h", "CRTC; from 2Dh on extended registers" },
  { "3C0h-3CFh, 3BAh / 3DAh", "VGA; sequencer from 08h on extended" },
  { "42E8h, 4AE8h", "subsystem status and control, advanced function" },
  { "82E8h-BEE8h, E2E8h", "graphics engine, pixel transfer" },
  { "A0000h-BFFFFh", "memory window; engine registers with CR53 bit 4" },
  { "BAR0+0", "linear window with CR58 bit 4" },
  { "BAR0+1000000h", "registers with CR53 bit 3" },
  { "46E8h, 102h", "setup and enable" },
  { "INTA", "end of frame" },
  { NULL, NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "s3",
  .summary = "S3 Trio64V+ graphics card",
  .document = "S3 Trio64V+ Integrated Graphics/Video Accelerator, DB018-B",
  .kind = TN_KIND_DEVICE,
  .state_version = 2,
  .instance_size = sizeof (S3),
  .properties = props,
  .fields = fields,
  .io = io,
  .ops = { .realize = s3_realize, .reset = s3_reset, .restored = s3_restored },
};
