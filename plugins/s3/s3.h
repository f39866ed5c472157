/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * S3 Trio64V+ (86C765): what its files share.
 *
 *   s3.c          the card: PCI, regions, life cycle, saved state
 *   registers.c   extended CRTC and sequencer registers, locks, clocks, windows into memory
 *   engine.c      registers of the graphics engine, transfers of data by the processor
 *   draw.c        what its commands do, pixel by pixel; fast.c: the same by rows where it is simple
 *   mmio.c        its registers in memory, old and new
 *   picture.c     enhanced modes, hardware cursor, streams
 *   ddc.c         the monitor's EDID behind two wires
 */
#pragma once

#include "../lib/vga-core.h"

enum {
  S3_N_CRTC = 0x80 - VGA_N_CRTC, /* 19h-7Fh */
  S3_N_SEQUENCER = 0x20,
  S3_N_STREAMS = 32, /* 8180h-81FCh */
  S3_PAGE = 4096,
  S3_PAGES_MAX = (4 << 20) / S3_PAGE,

  SR_UNLOCK = 0x08,
  SR_DDC = 0x0d,
  SR_MCLK_N = 0x10,
  SR_MCLK_M = 0x11,
  SR_DCLK_N = 0x12,
  SR_DCLK_M = 0x13,
  SR_CLKSYN = 0x15,
  SR_17 = 0x17,

  CR_LATCHED_LINE = 0x18,
  CR_CHIP_ID = 0x30,
  CR_MEMORY = 0x31,
  CR_MEMORY_BANK = 0x01,
  CR_MEMORY_LINEAR = 0x08,
  CR_MEMORY_FAST_TEXT = 0x40,
  CR_BACKWARD = 0x32,
  CR_BACKWARD_INTERRUPT = 0x10,
  CR_BACKWARD_WRAP = 0x40,
  CR_LOCK = 0x35,
  CR_CONFIG_1 = 0x36,
  CR_CONFIG_2 = 0x37,
  CR_LOCK_1 = 0x38,
  CR_LOCK_2 = 0x39,
  CR_MISC_1 = 0x3a,
  CR_MISC_1_ENHANCED = 0x10,
  CR_SYSTEM_CONFIG = 0x40,
  CR_MODE_CONTROL = 0x42,
  CR_MODE_CONTROL_INTERLACE = 0x20,
  CR_EXT_MODE = 0x43,
  CR_CURSOR_MODE = 0x45,
  CR_CURSOR_X = 0x46,
  CR_CURSOR_Y = 0x48,
  CR_CURSOR_INK = 0x4a,
  CR_CURSOR_PAPER = 0x4b,
  CR_CURSOR_ADDRESS = 0x4c,
  CR_CURSOR_OFFSET_X = 0x4e,
  CR_CURSOR_OFFSET_Y = 0x4f,
  CR_SYSTEM_1 = 0x50,
  CR_SYSTEM_2 = 0x51,
  CR_MEMORY_2 = 0x53,
  CR_MEMORY_2_NEW_MMIO = 0x08,
  CR_MEMORY_2_OLD_MMIO = 0x10,
  CR_MEMORY_2_AT_B8000 = 0x20,
  CR_DAC = 0x55,
  CR_DAC_X11 = 0x10,
  CR_SYNC = 0x56,
  CR_LINEAR = 0x58,
  CR_LINEAR_ON = 0x10,
  CR_BASE_HIGH = 0x59,
  CR_BASE_LOW = 0x5a,
  CR_OUT = 0x5c,
  CR_H_OVERFLOW = 0x5d,
  CR_V_OVERFLOW = 0x5e,
  CR_MISC_2 = 0x66,
  CR_PIXELS = 0x67,
  CR_PIXELS_STREAMS = 0x0c,
  CR_START = 0x69,
  CR_BANK = 0x6a,
  CR_SERIAL = 0x6f,
};

/* Registers that two halves of the engine know; names as in the data book. */
typedef struct {
  uint16_t cur_x, cur_y, cur_x2, cur_y2;
  uint16_t dest_x, dest_y, dest_x2, dest_y2; /* or steps of lines: diagonal, axial */
  uint16_t err_term, err_term2;
  uint16_t maj_axis, maj_axis2;
  uint16_t cmd, short_stroke;
  uint32_t bkgd_color, frgd_color, wrt_mask, rd_mask, color_cmp;
  uint16_t bkgd_mix, frgd_mix;
  uint16_t multifunc[16]; /* BEE8h, 12 bits each */
  uint8_t read_sel;
  bool busy_seen; /* GP_STAT has not been read since the last command */

  /* A command that waits for the processor's data, or has some for it. */
  bool waiting;
  uint32_t x, y;           /* within the rectangle, or along the line */
  uint16_t line_x, line_y; /* present point of a line */
  int32_t error;           /* of Bresenham's lines */
  uint32_t half;           /* low word of 32 bits that come as two */
  bool has_half;
} S3Engine;

typedef struct S3 {
  TnDevice *device;
  const char *rom;
  uint32_t slot, memory_mb;
  bool fast;

  TnPci *pci;
  TnRegion *linear, *mmio, *rom_window;
  TnRegion *window, *window_mmio; /* A0000: memory, or the engine's registers as well */
  uint8_t bios[65536];
  TnTimer *frame_timer;
  uint8_t *vram;
  uint32_t size;               /* of vram, a power of two or 3 MiB */
  uint8_t dirty[S3_PAGES_MAX]; /* written by the card, since the last picture */
  bool all_dirty;
  bool in_enhanced; /* the last picture was of such a mode */

  VgaCore vga;
  VgaPicture picture;
  uint8_t crtc[S3_N_CRTC];
  uint8_t sequencer[S3_N_SEQUENCER]; /* from 08h on */
  uint8_t bank;
  uint8_t ink[3], paper[3]; /* of the cursor */
  uint8_t ink_next, paper_next;
  uint16_t cursor_x, cursor_y;  /* latched */
  uint8_t setup, wake;          /* 46E8h, 102h */
  uint32_t dot_n, dot_m, dot_r; /* of the clock that runs */

  uint16_t adv_func;
  uint16_t subsys_enable, subsys_status;
  int64_t frame_seen; /* number of the frame up to which VSYNC was cleared */
  S3Engine engine;
  uint32_t streams[S3_N_STREAMS];

  uint8_t serial; /* what the processor drives: FF20h */
  uint8_t ddc_state, ddc_bit, ddc_byte, ddc_address;
  bool ddc_scl, ddc_sda, ddc_pull;
} S3;

/* registers.c */
uint8_t s3_port_read (S3 *s3, uint32_t port);
void s3_port_write (S3 *s3, uint32_t port, uint8_t value);
uint32_t s3_window_read (S3 *s3, uint32_t offset, unsigned size);
void s3_window_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size);
/* After a reset: values that the board's straps give. */
void s3_registers_reset (S3 *s3);
/* Derives what other files and the VGA core go by. */
void s3_update (S3 *s3);
/* Shows or hides the windows on the PCI bus. */
void s3_update_map (S3 *s3);
static inline uint8_t
s3_cr (const S3 *s3, unsigned index)
{
  return index < VGA_N_CRTC ? s3->vga.crtc[index] : s3->crtc[index - VGA_N_CRTC];
}
bool s3_is_enhanced (const S3 *s3);
uint32_t s3_bytes_per_pixel (const S3 *s3); /* of the engine */
void s3_update_interrupt (S3 *s3);
uint32_t s3_subsys_read (S3 *s3);
void s3_subsys_write (S3 *s3, uint16_t value);
void s3_frame_over (void *self, void *data);

/* engine.c: ports as numbers of the full ones */
uint32_t s3_engine_read (S3 *s3, uint32_t port, unsigned size);
void s3_engine_write (S3 *s3, uint32_t port, uint32_t value, unsigned size);
void s3_pixels_write (S3 *s3, uint32_t value, unsigned size);
uint32_t s3_pixels_read (S3 *s3, unsigned size);
void s3_engine_reset (S3 *s3);
bool s3_engine_restored (const S3Engine *e);
extern const TnField s3_engine_fields[];

/* draw.c */
typedef struct {
  S3 *s3;
  S3Engine *e;
  uint32_t bytes, pitch;   /* of a pixel; pixels of a line */
  uint32_t mask;           /* bits of a pixel */
  uint32_t source, target; /* bytes */
  int32_t left, right, top, bottom;
  bool outside; /* draw out of the scissors */
} S3Draw;
void s3_draw_init (S3Draw *d, S3 *s3);
/* One pixel: `bit` chooses the mix where the processor's data do, `color` is its colour. */
void s3_draw_pixel (const S3Draw *d, uint32_t x, uint32_t y, uint32_t source, bool bit,
                    uint32_t color);
uint32_t s3_draw_get (const S3Draw *d, uint32_t base, uint32_t x, uint32_t y);
uint32_t s3_mix (unsigned mix, uint32_t source, uint32_t target);
/* Carries out a command that needs no data. */
void s3_draw_command (S3 *s3);
/* Starts one that does; the next pixel of it; false when it is done. */
void s3_draw_start (S3 *s3);
bool s3_draw_next (S3 *s3, const S3Draw *d, bool bit, uint32_t color);
uint32_t s3_draw_fetch (S3 *s3, const S3Draw *d); /* pixel to be read by the processor */
bool s3_draw_advance (S3 *s3);
void s3_draw_stroke (S3 *s3, uint8_t stroke);
void s3_touch (S3 *s3, uint32_t offset, uint32_t size);

/* fast.c: false if the command is not one of the simple ones. */
bool s3_fast_command (S3 *s3);

/* mmio.c: offset as in the 64 KiB of the new MMIO */
uint32_t s3_mmio_read (S3 *s3, uint32_t offset, unsigned size);
void s3_mmio_write (S3 *s3, uint32_t offset, uint32_t value, unsigned size);

/* picture.c */
void s3_refresh (void *self, TnDisplay *display, void *data);

/* ddc.c */
uint8_t s3_ddc_read (const S3 *s3);
void s3_ddc_write (S3 *s3, uint8_t value);
void s3_ddc_reset (S3 *s3);
