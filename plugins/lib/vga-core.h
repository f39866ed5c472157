/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registers and the memory logic of an IBM VGA, for the plain card and for chips that contain
 * one. After IBM's PS/2 Hardware Interface Technical Reference, Video Subsystem (1992).
 *
 * The card owns the video memory (planes interleaved: byte 4 * address + plane) and tells the core
 * where it is; it decodes the bus and asks:
 *
 *   vga_port_read (&vga, 0x3da, now);  vga_port_write (&vga, 0x3d4, 0x0c);
 *   vga_memory_write (&vga, address - 0xa0000, value);
 *   vga_beam (&vga, now, &beam);            where the electron beam is
 *   vga_refresh (&vga, &picture, display, now);   the picture
 *   vga_text (&vga);                        what stands on a text screen
 *
 * vga_core_fields saves the registers, not the memory.
 */
#pragma once

#include <tenon/tenon.h>

enum {
  VGA_N_SEQUENCER = 5,
  VGA_N_CRTC = 25,
  VGA_N_GRAPHICS = 9,
  VGA_N_ATTRIBUTE = 21,
  VGA_WINDOW_SIZE = 0x20000, /* A0000-BFFFF */
};

/* What chips add to the CRTC's counters: bits in their places, 0 on a plain VGA.  Not saved. */
typedef struct {
  uint32_t h_total, h_display;
  uint32_t v_total, v_display, v_retrace, line_compare;
  uint32_t start, offset;
  uint32_t dot_hz; /* in place of the two clocks; 0: none */
  uint32_t bank;   /* added to addresses of the processor, in the planes */
  bool no_wrap;    /* addresses of the CRTC go on past 256 KiB */
  bool fast_text;  /* fonts lie line by line: all first lines, then all second ones ... */
  bool dwords;     /* the CRTC counts four bytes of memory at a time, whatever its mode says */
  bool nibbles;    /* shifting as for 256 colours, dots of 4 bits are upper halves of a colour */
  bool blank;
} VgaExtension;

typedef struct {
  uint8_t *memory;
  uint32_t addresses; /* per plane */
  /* IBM's reference knows cards that keep the palette from the processor while the screen is on,
     and cards that do not.  Not saved. */
  bool open_palette;

  uint8_t misc, feature, enable;
  uint8_t sequencer_index, sequencer[VGA_N_SEQUENCER];
  uint8_t crtc_index, crtc[VGA_N_CRTC];
  uint8_t graphics_index, graphics[VGA_N_GRAPHICS];
  uint8_t attribute_index, attribute[VGA_N_ATTRIBUTE]; /* bit 5 of the index: screen on */
  bool attribute_data;                                 /* the next write of 3C0 is data */
  uint8_t dac_mask, dac_index, dac_part, dac_state, palette[768];
  uint32_t latch; /* plane 0 in the low byte */

  VgaExtension extension;
  bool changed; /* something since the last picture */

  int64_t polled; /* when 3DA was read last */
} VgaCore;

extern const TnField vga_core_fields[];

void vga_init (VgaCore *vga, uint8_t *memory, uint32_t addresses);
void vga_reset (VgaCore *vga);
/* False: no sequence of writes leads to such registers. */
bool vga_restored (const VgaCore *vga);

/* Ports 3B0-3DF, a byte at a time; `now` is virtual time. */
uint8_t vga_port_read (VgaCore *vga, uint32_t port, int64_t now);
void vga_port_write (VgaCore *vga, uint32_t port, uint8_t value);

/* Offset from A0000; all ones, or nothing, outside of the window that the registers choose. */
uint8_t vga_memory_read (VgaCore *vga, uint32_t offset);
void vga_memory_write (VgaCore *vga, uint32_t offset, uint8_t value);

typedef struct {
  uint32_t dots_per_line, lines; /* totals */
  uint32_t dot, line;            /* now */
  bool display, retrace;         /* display enable, vertical retrace */
  int64_t retraces;              /* that have begun since time began */
} VgaBeam;

/* False while the CRTC's values make no picture. */
bool vga_beam (const VgaCore *vga, int64_t now, VgaBeam *beam);

/* The number of the frame since time began.  False as above. */
bool vga_frame (const VgaCore *vga, int64_t now, int64_t *frame);
/* Hz of the dot clock, and dots of a character clock. */
uint32_t vga_dot_clock (const VgaCore *vga);

/* What a picture was made of; all zero when there is none yet.  Not saved. */
typedef struct {
  bool drawn;
  unsigned phase; /* of what blinks */
} VgaPicture;

/* Brings the display up to date. */
void vga_refresh (VgaCore *vga, VgaPicture *picture, TnDisplay *display, int64_t now);
/* A colour of the DAC as 0xRRGGBB. */
uint32_t vga_color (const VgaCore *vga, uint8_t index);
/* Puts a line of the picture in its place, and says what of it is new. */
void vga_put_line (TnDisplay *display, uint32_t *pixels, uint32_t width, uint32_t y,
                   const uint32_t *line);
/* A character of code page 437. */
gunichar vga_unicode (uint8_t character);
/* The text screen in UTF-8, lines ended by '\n' without trailing blanks; NULL in graphics modes. */
char *vga_text (const VgaCore *vga);
