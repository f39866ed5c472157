/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * VGA registers and the position of the beam: see vga-core.h.
 *
 *   3C0/3C1  attribute controller       3C2/3CC  miscellaneous output, input status 0
 *   3C4/3C5  sequencer                  3C6-3C9  DAC
 *   3CE/3CF  graphics controller        3CA/3xA  feature control, input status 1
 *   3x4/3x5  CRTC                       3C3      video subsystem enable
 *
 * x is B or D by bit 0 of the miscellaneous register; the other range is silent.
 *
 * Departures: the vertical interrupt is not wired (as on PCI cards); the light pen is absent; a poll
 * of 3DA hears of a retrace that came and went since the one before (retrace_status).
 */
#include "vga-core.h"

#include <string.h>

enum {
  MISC_COLOR = 0x01,
  MISC_CLOCK = 0x0c,

  SEQ_CLOCKING = 1,
  SEQ_CLOCKING_8_DOTS = 0x01,
  SEQ_CLOCKING_HALF = 0x08,

  CR_H_TOTAL = 0x00,
  CR_H_DISPLAY_END = 0x01,
  CR_V_TOTAL = 0x06,
  CR_OVERFLOW = 0x07,
  CR_OVERFLOW_LINE_COMPARE = 0x10,
  CR_V_RETRACE_START = 0x10,
  CR_V_RETRACE_END = 0x11,
  CR_PROTECT = 0x80,
  CR_V_DISPLAY_END = 0x12,
  CR_MODE = 0x17,
  CR_MODE_DOUBLE_LINES = 0x04,
  CR_LATCH = 0x22,
  CR_ATTRIBUTE_STATE = 0x24,

  ATTR_INDEX = 0x1f,
  ATTR_SCREEN_ON = 0x20,

  IS0_SENSE = 0x10,
  IS1_DISABLED = 0x01,
  IS1_RETRACE = 0x08,

  DAC_WRITING = 0,
  DAC_READING = 3,
};

static const uint8_t sequencer_mask[VGA_N_SEQUENCER] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t graphics_mask[VGA_N_GRAPHICS]
    = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };

static uint8_t
attribute_mask (unsigned index)
{
  static const uint8_t high[5] = { 0xef, 0xff, 0x3f, 0x0f, 0x0f };
  return index < 16 ? 0x3f : high[index - 16];
}

/* ---- Beam ---- */

static uint32_t
bit_at (uint8_t value, unsigned bit, unsigned to)
{
  return (uint32_t) (value >> bit & 1) << to;
}

uint32_t
vga_dot_clock (const VgaCore *vga)
{
  uint32_t hz = (vga->misc & MISC_CLOCK) == 0x04 ? 28322000 : 25175000;

  if (vga->extension.dot_hz)
    hz = vga->extension.dot_hz;
  return vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_HALF ? hz / 2 : hz;
}

static bool
totals (const VgaCore *vga, VgaBeam *beam)
{
  const uint8_t *c = vga->crtc, over = c[CR_OVERFLOW];
  const VgaExtension *e = &vga->extension;
  uint32_t dots = vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS ? 8 : 9;
  uint32_t scale = c[CR_MODE] & CR_MODE_DOUBLE_LINES ? 2 : 1;
  uint32_t total = (c[CR_V_TOTAL] | bit_at (over, 0, 8) | bit_at (over, 5, 9) | e->v_total) + 2;
  uint32_t across = c[CR_H_TOTAL] + e->h_total;

  if (across == 0 || total < 16)
    return false;
  beam->dots_per_line = (across + 5) * dots;
  beam->lines = total * scale;
  return true;
}

bool
vga_frame (const VgaCore *vga, int64_t now, int64_t *frame)
{
  VgaBeam beam;

  if (!totals (vga, &beam))
    return false;
  *frame = tn_ns_to_ticks (now, vga_dot_clock (vga)) / ((int64_t) beam.dots_per_line * beam.lines);
  return true;
}

bool
vga_beam (const VgaCore *vga, int64_t now, VgaBeam *beam)
{
  const uint8_t *c = vga->crtc, over = c[CR_OVERFLOW];
  const VgaExtension *e = &vga->extension;
  uint32_t dots = vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS ? 8 : 9;
  uint32_t scale = c[CR_MODE] & CR_MODE_DOUBLE_LINES ? 2 : 1;
  uint32_t display
      = (c[CR_V_DISPLAY_END] | bit_at (over, 1, 8) | bit_at (over, 6, 9) | e->v_display) + 1;
  uint32_t start = c[CR_V_RETRACE_START] | bit_at (over, 2, 8) | bit_at (over, 7, 9) | e->v_retrace;
  uint32_t length = (c[CR_V_RETRACE_END] - start) & 15;
  uint64_t ticks, frame;
  uint32_t position;

  if (!totals (vga, beam))
    return false;
  ticks = tn_ns_to_ticks (now, vga_dot_clock (vga));
  frame = (uint64_t) beam->dots_per_line * beam->lines;
  position = ticks % frame;
  beam->line = position / beam->dots_per_line;
  beam->dot = position % beam->dots_per_line;
  beam->display = beam->line < display * scale
                  && beam->dot < (c[CR_H_DISPLAY_END] + e->h_display + 1u) * dots;
  beam->retrace = beam->line - start * scale < (length ? length : 16) * scale;
  beam->retraces = start * scale < beam->lines ? ticks / frame + (beam->line >= start * scale) : 0;
  return true;
}

/* A retrace takes 64 us, and a loaded host may let the processor wait for 2 ms of virtual time: a
   guest that polls would lose a third of all retraces.  So the next poll is told of one that came
   and went since the last.  Who looks after a longer while is no longer waiting for that one. */
#define POLL_NS (3 * TN_NS_PER_MS)

static bool
retrace_status (VgaCore *vga, const VgaBeam *beam, int64_t now)
{
  VgaBeam before;
  bool missed = (uint64_t) now - (uint64_t) vga->polled < POLL_NS
                && vga_beam (vga, vga->polled, &before) && before.retraces != beam->retraces;

  vga->polled = now;
  return beam->retrace || missed;
}

static uint8_t
input_status_1 (VgaCore *vga, int64_t now)
{
  VgaBeam beam;
  vga->attribute_data = false;
  if (!vga_beam (vga, now, &beam))
    return 0;
  return (beam.display ? 0 : IS1_DISABLED) | (retrace_status (vga, &beam, now) ? IS1_RETRACE : 0);
}

/* ---- Indexed groups ---- */

static uint8_t
crtc_read (const VgaCore *vga)
{
  uint8_t index = vga->crtc_index;
  if (index < VGA_N_CRTC)
    return vga->crtc[index];
  if (index == CR_LATCH)
    return vga->latch >> 8 * (vga->graphics[4] & 3);
  if (index == CR_ATTRIBUTE_STATE)
    return vga->attribute_data ? 0x80 : 0;
  return 0;
}

static void
crtc_write (VgaCore *vga, uint8_t value)
{
  uint8_t index = vga->crtc_index;
  bool locked = vga->crtc[CR_V_RETRACE_END] & CR_PROTECT;
  if (index >= VGA_N_CRTC)
    return;
  if (locked && index == CR_OVERFLOW)
    value = (vga->crtc[index] & ~CR_OVERFLOW_LINE_COMPARE) | (value & CR_OVERFLOW_LINE_COMPARE);
  else if (locked && index < CR_OVERFLOW)
    return;
  vga->crtc[index] = value;
}

static void
attribute_write (VgaCore *vga, uint8_t value)
{
  uint8_t index = vga->attribute_index & ATTR_INDEX;
  vga->attribute_data = !vga->attribute_data;
  if (vga->attribute_data)
    vga->attribute_index = value & (ATTR_INDEX | ATTR_SCREEN_ON);
  else if (index < 16 && (vga->attribute_index & ATTR_SCREEN_ON) && !vga->open_palette)
    return; /* the palette is in use by the screen */
  else if (index < VGA_N_ATTRIBUTE)
    vga->attribute[index] = value & attribute_mask (index);
}

/* ---- DAC: three parts of six bits, then the next entry ---- */

static void
dac_next (VgaCore *vga)
{
  if (++vga->dac_part < 3)
    return;
  vga->dac_part = 0;
  vga->dac_index++;
}

static uint8_t
dac_read (VgaCore *vga)
{
  uint8_t value = vga->palette[3 * vga->dac_index + vga->dac_part];
  dac_next (vga);
  return value;
}

static void
dac_write (VgaCore *vga, uint8_t value)
{
  vga->palette[3 * vga->dac_index + vga->dac_part] = value & 0x3f;
  dac_next (vga);
}

static void
dac_select (VgaCore *vga, uint8_t index, uint8_t state)
{
  vga->dac_index = index;
  vga->dac_part = 0;
  vga->dac_state = state;
}

/* ---- Ports ---- */

/* 3B0-3BF and 3D0-3DF stand for one another; returns the port as in colour, or 0 for silence. */
static uint32_t
decode (const VgaCore *vga, uint32_t port)
{
  uint32_t range = vga->misc & MISC_COLOR ? 0x3d0 : 0x3b0;
  if ((port & ~15u) == 0x3c0)
    return port;
  return (port & ~15u) == range ? 0x3d0 | (port & 15) : 0;
}

uint8_t
vga_port_read (VgaCore *vga, uint32_t port, int64_t now)
{
  uint8_t index;
  switch (decode (vga, port))
    {
    case 0x3c0: return vga->attribute_index;
    case 0x3c1:
      index = vga->attribute_index & ATTR_INDEX;
      return index < VGA_N_ATTRIBUTE ? vga->attribute[index] : 0;
    case 0x3c2: return IS0_SENSE;
    case 0x3c3: return vga->enable;
    case 0x3c4: return vga->sequencer_index;
    case 0x3c5:
      return vga->sequencer_index < VGA_N_SEQUENCER ? vga->sequencer[vga->sequencer_index] : 0;
    case 0x3c6: return vga->dac_mask;
    case 0x3c7: return vga->dac_state;
    case 0x3c8: return vga->dac_index;
    case 0x3c9: return dac_read (vga);
    case 0x3ca: return vga->feature;
    case 0x3cc: return vga->misc;
    case 0x3ce: return vga->graphics_index;
    case 0x3cf:
      return vga->graphics_index < VGA_N_GRAPHICS ? vga->graphics[vga->graphics_index] : 0;
    case 0x3d4: return vga->crtc_index;
    case 0x3d5: return crtc_read (vga);
    case 0x3da: return input_status_1 (vga, now);
    }
  return 0xff;
}

void
vga_port_write (VgaCore *vga, uint32_t port, uint8_t value)
{
  vga->changed = true;
  switch (decode (vga, port))
    {
    case 0x3c0: attribute_write (vga, value); break;
    case 0x3c2: vga->misc = value; break;
    case 0x3c3: vga->enable = value & 1; break;
    case 0x3c4: vga->sequencer_index = value & 0x1f; break;
    case 0x3c5:
      if (vga->sequencer_index < VGA_N_SEQUENCER)
        vga->sequencer[vga->sequencer_index] = value & sequencer_mask[vga->sequencer_index];
      break;
    case 0x3c6: vga->dac_mask = value; break;
    case 0x3c7: dac_select (vga, value, DAC_READING); break;
    case 0x3c8: dac_select (vga, value, DAC_WRITING); break;
    case 0x3c9: dac_write (vga, value); break;
    case 0x3ce: vga->graphics_index = value & 0x0f; break;
    case 0x3cf:
      if (vga->graphics_index < VGA_N_GRAPHICS)
        vga->graphics[vga->graphics_index] = value & graphics_mask[vga->graphics_index];
      break;
    case 0x3d4: vga->crtc_index = value & 0x7f; break;
    case 0x3d5: crtc_write (vga, value); break;
    case 0x3da: vga->feature = value & 3; break;
    }
}

/* ---- Life cycle ---- */

void
vga_init (VgaCore *vga, uint8_t *memory, uint32_t addresses)
{
  vga->memory = memory;
  vga->addresses = addresses;
  vga->changed = true;
}

void
vga_reset (VgaCore *vga)
{
  uint8_t *memory = vga->memory;
  uint32_t addresses = vga->addresses;
  bool open_palette = vga->open_palette;
  memset (vga, 0, sizeof *vga);
  vga_init (vga, memory, addresses);
  vga->open_palette = open_palette;
  vga->changed = true;
  vga->enable = 1;
  vga->dac_mask = 0xff;
}

bool
vga_restored (const VgaCore *vga)
{
  for (unsigned i = 0; i < VGA_N_SEQUENCER; i++)
    if (vga->sequencer[i] & ~sequencer_mask[i])
      return false;
  for (unsigned i = 0; i < VGA_N_GRAPHICS; i++)
    if (vga->graphics[i] & ~graphics_mask[i])
      return false;
  for (unsigned i = 0; i < VGA_N_ATTRIBUTE; i++)
    if (vga->attribute[i] & ~attribute_mask (i))
      return false;
  for (unsigned i = 0; i < sizeof vga->palette; i++)
    if (vga->palette[i] > 0x3f)
      return false;
  return vga->sequencer_index <= 0x1f && vga->graphics_index <= 0x0f && vga->crtc_index <= 0x7f
         && vga->attribute_index <= 0x3f && vga->dac_part < 3 && vga->dac_state <= DAC_READING
         && vga->feature <= 3 && vga->enable <= 1;
}

const TnField vga_core_fields[] = {
  TN_FIELD (VgaCore, misc, 1),
  TN_FIELD (VgaCore, feature, 1),
  TN_FIELD (VgaCore, enable, 1),
  TN_FIELD (VgaCore, sequencer_index, 1),
  TN_FIELD (VgaCore, sequencer, 1),
  TN_FIELD (VgaCore, crtc_index, 1),
  TN_FIELD (VgaCore, crtc, 1),
  TN_FIELD (VgaCore, graphics_index, 1),
  TN_FIELD (VgaCore, graphics, 1),
  TN_FIELD (VgaCore, attribute_index, 1),
  TN_FIELD (VgaCore, attribute, 1),
  TN_FIELD (VgaCore, attribute_data, 1),
  TN_FIELD (VgaCore, dac_mask, 1),
  TN_FIELD (VgaCore, dac_index, 1),
  TN_FIELD (VgaCore, dac_part, 1),
  TN_FIELD (VgaCore, dac_state, 1),
  TN_FIELD (VgaCore, palette, 1),
  TN_FIELD (VgaCore, latch, 1),
  TN_FIELD_TIME (VgaCore, polled, 2),
  TN_FIELD_END,
};
