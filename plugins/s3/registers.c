/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Registers that the Trio64V+ has beyond the VGA's: CRTC 2Dh-6Fh, sequencer 08h-18h, the memory
 * window at A0000h with its banks, the linear window, clocks, interrupts.
 *
 * What a register does is told at update (): all of it follows from the registers' values.
 */
#include "s3.h"

#include <string.h>

#define CRYSTAL_HZ 14318180u

enum {
  SUBSYS_VSYNC = 0x01,
  SUBSYS_IDLE = 0x02,
  SUBSYS_OVERFLOW = 0x04,
  SUBSYS_EMPTY = 0x08,
  ADV_LINEAR = 0x10,
  ADV_MMIO = 0x20,
  PCI_COMMAND = 0x04,
  PCI_BAR0 = 0x10,
  PCI_ROM = 0x30,
};

/* ---- Locks ---- */

static bool
unlocked_1 (const S3 *s3)
{
  return (s3_cr (s3, CR_LOCK_1) & 0xcc) == 0x48;
}

static bool
unlocked_2 (const S3 *s3)
{
  return (s3_cr (s3, CR_LOCK_2) & 0xe0) == 0xa0;
}

static bool
crtc_unlocked (const S3 *s3, unsigned index)
{
  if (index == CR_LOCK_1 || index == CR_LOCK_2)
    return true;
  if (index == CR_CONFIG_1 || index == CR_CONFIG_2)
    return unlocked_2 (s3);
  return index < 0x40 ? unlocked_1 (s3) : unlocked_2 (s3);
}

static bool
sequencer_unlocked (const S3 *s3)
{
  return s3->sequencer[0] == 0x06;
}

/* ---- What follows from the registers ---- */

bool
s3_is_enhanced (const S3 *s3)
{
  return (s3_cr (s3, CR_MISC_1) & CR_MISC_1_ENHANCED) || s3_cr (s3, CR_PIXELS) >> 4 >= 3;
}

uint32_t
s3_bytes_per_pixel (const S3 *s3)
{
  static const uint8_t bytes[4] = { 1, 2, 2, 4 };

  return bytes[s3_cr (s3, CR_SYSTEM_1) >> 4 & 3];
}

static uint32_t
bit (uint8_t value, unsigned from, unsigned to)
{
  return (uint32_t) (value >> from & 1) << to;
}

static uint32_t
dot_hz (const S3 *s3)
{
  uint64_t hz;

  if ((s3->vga.misc & 0x0c) != 0x0c)
    return 0;
  hz = (uint64_t) CRYSTAL_HZ * (s3->dot_m + 2) / ((s3->dot_n + 2) << s3->dot_r);
  return hz;
}

/* The old registers of the upper bits of the start address, or the newer one. */
static uint32_t
start_high (const S3 *s3)
{
  uint8_t start = s3_cr (s3, CR_START) & 0x1f;

  if (start)
    return start << 16;
  return (s3_cr (s3, CR_MEMORY) >> 4 & 3) << 16 | (s3_cr (s3, CR_SYSTEM_2) & 3) << 18;
}

static uint32_t
offset_high (const S3 *s3)
{
  uint32_t high = s3_cr (s3, CR_SYSTEM_2) >> 4 & 3;

  return high ? high << 8 : bit (s3_cr (s3, CR_EXT_MODE), 2, 8);
}

void
s3_update (S3 *s3)
{
  uint8_t h = s3_cr (s3, CR_H_OVERFLOW), v = s3_cr (s3, CR_V_OVERFLOW);
  bool dwords = s3_cr (s3, CR_MEMORY) & CR_MEMORY_LINEAR;
  VgaExtension *e = &s3->vga.extension;

  *e = (VgaExtension){ .h_total = bit (h, 0, 8),
                       .h_display = bit (h, 1, 8),
                       .v_total = bit (v, 0, 10),
                       .v_display = bit (v, 1, 10),
                       .v_retrace = bit (v, 4, 10),
                       .line_compare = bit (v, 6, 10),
                       .start = start_high (s3),
                       .offset = offset_high (s3),
                       .dot_hz = dot_hz (s3),
                       .no_wrap = dwords || !(s3_cr (s3, CR_BACKWARD) & CR_BACKWARD_WRAP),
                       .fast_text = s3_cr (s3, CR_MEMORY) & CR_MEMORY_FAST_TEXT,
                       .dwords = dwords,
                       .nibbles = true,
                       .blank = s3_cr (s3, CR_SYNC) & 0x06 };
  if (s3_cr (s3, CR_MEMORY) & CR_MEMORY_BANK)
    e->bank = s3->bank * 0x4000u;
  s3->vga.changed = true;
}

/* ---- Windows ---- */

static bool
old_mmio (const S3 *s3)
{
  return (s3_cr (s3, CR_MEMORY_2) & CR_MEMORY_2_OLD_MMIO) || (s3->adv_func & ADV_MMIO);
}

static uint32_t
bar0 (const S3 *s3)
{
  return (uint32_t) tn_pci_bytes (s3->pci)[PCI_BAR0 + 3] << 24 & 0xfc000000u;
}

static void
show (S3 *s3, TnRegion *region, uint32_t first, bool on)
{
  g_autoptr (GError) error = NULL;

  if (!tn_region_set (region, first, on, &error))
    tn_device_log (s3->device, TN_LOG_DEBUG, "hidden for now: %s", error->message);
}

void
s3_update_map (S3 *s3)
{
  uint32_t base = bar0 (s3), rom;
  bool decode = (tn_pci_bytes (s3->pci)[PCI_COMMAND] & 2) && base != 0;
  bool linear = (s3_cr (s3, CR_LINEAR) & CR_LINEAR_ON) || (s3->adv_func & ADV_LINEAR);
  bool mmio = s3_cr (s3, CR_MEMORY_2) & CR_MEMORY_2_NEW_MMIO;

  memcpy (&rom, tn_pci_bytes (s3->pci) + PCI_ROM, sizeof rom);
  show (s3, s3->linear, base, decode && linear);
  show (s3, s3->mmio, base + 0x1000000, decode && mmio);
  /* Writes to memory may come late, those to the engine not. */
  show (s3, old_mmio (s3) ? s3->window : s3->window_mmio, 0xa0000, false);
  show (s3, old_mmio (s3) ? s3->window_mmio : s3->window, 0xa0000, true);
  if (s3->rom_window)
    show (s3, s3->rom_window, rom & 0xffff0000u, (rom & 1) && rom >= 0x10000);
}

static bool
linear_bank (const S3 *s3)
{
  return (s3_cr (s3, CR_MEMORY) & CR_MEMORY_LINEAR) && (s3->vga.sequencer[4] & 0x08);
}

/* The engine's registers instead of memory: A0000h-AFFFFh, or B8000h-BFFFFh for A8000h on. */
static bool
mmio_offset (const S3 *s3, uint32_t *offset)
{
  uint8_t control = s3_cr (s3, CR_MEMORY_2);

  if (!old_mmio (s3))
    return false;
  if (control & CR_MEMORY_2_AT_B8000)
    {
      *offset -= 0x10000;
      return *offset >= 0x8000 && *offset < 0x10000;
    }
  return *offset < 0x10000;
}

static uint32_t
bank_address (const S3 *s3, uint32_t offset)
{
  uint32_t bank = s3_cr (s3, CR_MEMORY) & CR_MEMORY_BANK ? s3->bank : 0;

  return (bank << 16) + offset;
}

uint32_t
s3_window_read (S3 *s3, uint32_t offset, unsigned size)
{
  uint32_t at = offset, value = 0;

  if (mmio_offset (s3, &at))
    return s3_mmio_read (s3, at, size);
  if (linear_bank (s3))
    {
      at = bank_address (s3, offset);
      if (offset >= 0x10000 || at + size > s3->size)
        return UINT32_MAX;
      memcpy (&value, s3->vram + at, size);
      return value;
    }
  for (unsigned i = 0; i < size; i++)
    value |= (uint32_t) vga_memory_read (&s3->vga, offset + i) << 8 * i;
  return value;
}

void
s3_window_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size)
{
  uint32_t at = offset;

  if (mmio_offset (s3, &at))
    s3_mmio_write (s3, at, value, size);
  else if (linear_bank (s3))
    {
      at = bank_address (s3, offset);
      if (offset >= 0x10000 || at + size > s3->size)
        return;
      memcpy (s3->vram + at, &value, size);
      s3_touch (s3, at, size);
    }
  else
    {
      for (unsigned i = 0; i < size; i++)
        vga_memory_write (&s3->vga, offset + i, value >> 8 * i);
      s3->all_dirty = true;
    }
}

/* ---- Interrupts: the frame's end, and the engine's, which is idle at once ---- */

void
s3_update_interrupt (S3 *s3)
{
  VgaBeam beam;
  int64_t now = tn_device_now (s3->device);
  bool wanted = (s3_cr (s3, CR_BACKWARD) & CR_BACKWARD_INTERRUPT)
                && (s3->subsys_enable >> 8 & SUBSYS_VSYNC);

  tn_pci_set_intx (s3->pci, (s3_cr (s3, CR_BACKWARD) & CR_BACKWARD_INTERRUPT)
                                && (s3->subsys_status & (s3->subsys_enable >> 8) & 0x0f));
  if (!wanted || !vga_beam (&s3->vga, now, &beam))
    tn_timer_cancel (s3->frame_timer);
  else if (tn_timer_when (s3->frame_timer) == TN_TIME_NEVER)
    tn_timer_set (s3->frame_timer,
                  now
                      + tn_ticks_to_ns ((int64_t) (beam.lines - beam.line) * beam.dots_per_line,
                                        vga_dot_clock (&s3->vga)));
}

/* Whether a frame has ended since it was last cleared. */
static void
notice_frame (S3 *s3)
{
  int64_t frame;

  if (vga_frame (&s3->vga, tn_device_now (s3->device), &frame) && frame != s3->frame_seen)
    {
      s3->subsys_status |= SUBSYS_VSYNC;
      s3->frame_seen = frame;
    }
}

void
s3_frame_over (void *self, void *data)
{
  S3 *s3 = self;

  notice_frame (s3);
  s3_update_interrupt (s3);
}

uint32_t
s3_subsys_read (S3 *s3)
{
  notice_frame (s3);
  s3_update_interrupt (s3);
  return s3->subsys_status | 0x80; /* eight planes; monitor 0 */
}

void
s3_subsys_write (S3 *s3, uint16_t value)
{
  notice_frame (s3);
  s3->subsys_status &= ~(value & 0x0f);
  s3->subsys_enable = value & 0x0f00;
  if (value >> 14 == 2)
    s3_engine_reset (s3);
  s3_update_interrupt (s3);
}

/* ---- CRTC ---- */

static uint8_t
clock_select (const S3 *s3)
{
  uint8_t select = s3->vga.misc >> 2 & 3;

  return select == 3 ? s3_cr (s3, CR_MODE_CONTROL) & 0x0f : select;
}

static uint8_t
crtc_read (S3 *s3)
{
  unsigned index = s3->vga.crtc_index;

  if (index < VGA_N_CRTC || index == 0x22 || index == 0x24)
    return vga_port_read (&s3->vga, s3->vga.misc & 1 ? 0x3d5 : 0x3b5, 0);
  switch (index)
    {
    case 0x2d: return 0x88;
    case 0x2e: return 0x11;
    case 0x2f: return 0x40;
    case CR_CHIP_ID: return 0xe1;
    case CR_CURSOR_MODE: s3->ink_next = s3->paper_next = 0; return s3_cr (s3, index);
    case CR_CURSOR_INK: return s3->ink[s3->ink_next % 3];
    case CR_CURSOR_PAPER: return s3->paper[s3->paper_next % 3];
    case CR_OUT: return (s3_cr (s3, index) & 0xf0) | clock_select (s3);
    case CR_BASE_HIGH: return tn_pci_bytes (s3->pci)[PCI_BAR0 + 3] & 0xfc;
    case CR_BASE_LOW: return 0;
    case CR_BANK: return s3->bank;
    case 0x6b: return tn_pci_bytes (s3->pci)[PCI_BAR0 + 3] & 0xfc;
    case 0x6c: return 0;
    }
  return s3_cr (s3, index);
}

static void
set_base (S3 *s3, uint8_t value)
{
  tn_pci_bytes (s3->pci)[PCI_BAR0 + 3] = value & 0xfc;
  s3_update_map (s3);
}

static void
crtc_effect (S3 *s3, unsigned index, uint8_t value)
{
  switch (index)
    {
    case CR_LOCK: s3->bank = (s3->bank & 0x70) | (value & 0x0f); break;
    case CR_SYSTEM_2: s3->bank = (s3->bank & 0x4f) | (value & 0x0c) << 2; break;
    case CR_BANK: s3->bank = value & 0x7f; break;
    case CR_CURSOR_INK:
      s3->ink[s3->ink_next] = value;
      s3->ink_next = (s3->ink_next + 1) % 3;
      break;
    case CR_CURSOR_PAPER:
      s3->paper[s3->paper_next] = value;
      s3->paper_next = (s3->paper_next + 1) % 3;
      break;
    case CR_CURSOR_Y: /* the position counts from here on */
      s3->cursor_x = (s3_cr (s3, CR_CURSOR_X) << 8 | s3_cr (s3, CR_CURSOR_X + 1)) & 0x7ff;
      s3->cursor_y = (value << 8 | s3_cr (s3, CR_CURSOR_Y + 1)) & 0x7ff;
      break;
    case CR_BASE_HIGH: set_base (s3, value); break;
    case CR_LINEAR:
    case CR_MEMORY_2: s3_update_map (s3); break;
    case CR_BACKWARD: s3_update_interrupt (s3); break;
    }
}

static bool
timing_locked (const S3 *s3, unsigned index)
{
  uint8_t lock = s3_cr (s3, CR_LOCK);

  if (index <= 5 && (lock & 0x20))
    return true;
  return (index == 6 || index == 0x10 || index == 0x12 || index == 0x15 || index == 0x16)
         && (lock & 0x10);
}

static void
crtc_write (S3 *s3, uint8_t value)
{
  unsigned index = s3->vga.crtc_index;

  if (index < VGA_N_CRTC)
    {
      if (!timing_locked (s3, index))
        vga_port_write (&s3->vga, s3->vga.misc & 1 ? 0x3d5 : 0x3b5, value);
      if (index == 0x11)
        s3_update_interrupt (s3);
      return;
    }
  if (index >= 0x80 || (index >= 0x2d && index <= CR_CHIP_ID) || !crtc_unlocked (s3, index))
    return;
  s3->crtc[index - VGA_N_CRTC] = value;
  crtc_effect (s3, index, value);
  s3_update (s3);
}

/* ---- Sequencer ---- */

static uint8_t
sequencer_read (S3 *s3)
{
  unsigned index = s3->vga.sequencer_index;

  if (index < SR_UNLOCK)
    return vga_port_read (&s3->vga, 0x3c5, 0);
  if (index != SR_UNLOCK && !sequencer_unlocked (s3))
    return 0xff;
  if (index == SR_17) /* counts while the clocks run; some wait for it to change */
    s3->sequencer[SR_17 - SR_UNLOCK] ^= 0xff;
  return s3->sequencer[index - SR_UNLOCK];
}

static void
load_dot_clock (S3 *s3)
{
  const uint8_t *r = s3->sequencer;

  s3->dot_m = r[SR_DCLK_M - SR_UNLOCK] & 0x7f;
  s3->dot_n = r[SR_DCLK_N - SR_UNLOCK] & 0x1f;
  s3->dot_r = r[SR_DCLK_N - SR_UNLOCK] >> 5 & 3;
}

static void
sequencer_write (S3 *s3, uint8_t value)
{
  unsigned index = s3->vga.sequencer_index;
  uint8_t old;

  if (index < SR_UNLOCK)
    {
      vga_port_write (&s3->vga, 0x3c5, value);
      return;
    }
  if (index != SR_UNLOCK && !sequencer_unlocked (s3))
    return;
  old = s3->sequencer[index - SR_UNLOCK];
  s3->sequencer[index - SR_UNLOCK] = index == SR_UNLOCK ? value & 0x0f : value;
  /* The new values count when bit 1 or 5 says so: at once while it is set, or as it becomes. */
  if ((index == SR_CLKSYN && (value & ~old & 0x22))
      || (index == SR_DCLK_M && (s3->sequencer[SR_CLKSYN - SR_UNLOCK] & 0x22)))
    load_dot_clock (s3);
  s3_update (s3);
}

/* ---- Ports ---- */

uint8_t
s3_port_read (S3 *s3, uint32_t port)
{
  bool color = s3->vga.misc & 1;

  if (port == (color ? 0x3d5u : 0x3b5u))
    return crtc_read (s3);
  if (port == 0x3c5)
    return sequencer_read (s3);
  return vga_port_read (&s3->vga, port, tn_device_now (s3->device));
}

void
s3_port_write (S3 *s3, uint32_t port, uint8_t value)
{
  bool color = s3->vga.misc & 1;

  if (port == (color ? 0x3d5u : 0x3b5u))
    crtc_write (s3, value);
  else if (port == 0x3c5)
    sequencer_write (s3, value);
  else
    vga_port_write (&s3->vga, port, value);
  if (port == 0x3c2)
    s3_update (s3);
}

/* ---- Reset ---- */

static uint8_t
memory_strap (const S3 *s3)
{
  static const uint8_t size[5] = { 7, 6, 4, 2, 0 };

  return size[s3->memory_mb] << 5 | 0x0e;
}

void
s3_registers_reset (S3 *s3)
{
  memset (s3->crtc, 0, sizeof s3->crtc);
  memset (s3->sequencer, 0, sizeof s3->sequencer);
  s3->crtc[CR_CONFIG_1 - VGA_N_CRTC] = memory_strap (s3);
  s3->crtc[CR_CONFIG_2 - VGA_N_CRTC] = 0xe1;
  s3->crtc[CR_BACKWARD - VGA_N_CRTC] = CR_BACKWARD_WRAP;
  s3->sequencer[SR_MCLK_N - SR_UNLOCK] = 0x42;
  s3->sequencer[SR_MCLK_M - SR_UNLOCK] = 0x3b;
  s3->sequencer[SR_DCLK_N - SR_UNLOCK] = 0x49;
  s3->sequencer[SR_DCLK_M - SR_UNLOCK] = 0x4f;
  load_dot_clock (s3);
  s3->bank = 0;
  s3->adv_func = 0x02;
  s3->subsys_enable = s3->subsys_status = 0;
  s3->frame_seen = 0;
  memset (s3->ink, 0, sizeof s3->ink);
  memset (s3->paper, 0, sizeof s3->paper);
  s3->ink_next = s3->paper_next = 0;
  s3->cursor_x = s3->cursor_y = 0;
  s3_update (s3);
}
