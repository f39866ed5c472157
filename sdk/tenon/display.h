/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pictures.  A video card (front end) makes a display and draws on it when the core asks; what it
 * drew goes to all display back ends (windows, VNC servers, terminals), of which there may be any
 * number, and to screenshots.  The core keeps the picture between the two, so that either side may
 * be swapped.
 *
 * Refreshing follows the host's time and costs the guest none: a card is asked only while somebody
 * looks, and it looks at its own registers and memory (tn_region_take_dirty () in bus.h) to see
 * what is new.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

#define TN_DISPLAY_MAX_WIDTH 4096
#define TN_DISPLAY_MAX_HEIGHT 2048

typedef struct {
  uint32_t x, y, width, height;
} TnRect;

typedef struct {
  uint32_t character;              /* Unicode */
  uint32_t foreground, background; /* 0xRRGGBB */
} TnTextCell;

/* ---- Front end ---- */

typedef struct TnDisplay TnDisplay;
/* Bring the picture up to date. */
typedef void (*TnRefreshFunc) (void *self, TnDisplay *display, void *data);

/* The display of a card; after a swap or load it is black, or has what the predecessor drew: the
   first refresh draws everything. */
TnDisplay *tn_device_display_new (TnDevice *device, TnRefreshFunc refresh, void *data);
/* The picture has this size from now on (cut to the greatest); 0, 0: no signal.  Returns the
   pixels, 0xRRGGBB, line by line without gaps; a picture of another size is black. */
uint32_t *tn_display_mode (TnDisplay *display, uint32_t width, uint32_t height);
/* These pixels have changed. */
void tn_display_dirty (TnDisplay *display, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
/* The picture is text of this size from now on (0, 0: it is not); the cells, row by row, are for
   the card to fill in.  The cursor is a cell's number, or -1. */
TnTextCell *tn_display_text (TnDisplay *display, uint32_t columns, uint32_t rows, int32_t cursor);

/* ---- Back end (TN_KIND_DISPLAY) ---- */

typedef struct {
  uint32_t width, height;      /* 0: no signal */
  uint32_t aspect_x, aspect_y; /* of the picture as a monitor shows it */
  const uint32_t *pixels;      /* 0xRRGGBB, valid during the call */
  uint32_t columns, rows;      /* 0: not text */
  int32_t cursor;              /* number of a cell, or -1 */
  const TnTextCell *cells;
} TnScreen;

struct TnDisplayOps {
  /* Under the machine lock: be brief, and leave drawing to a thread of your own.  With `all` the
     picture is new, or has another size. */
  void (*update) (void *self, const TnScreen *screen, const TnRect *rects, unsigned n_rects,
                  bool all);
};
/* Shows the display of the card of that name, or of the first that has one, `hz` times a second at
   most; 0: nobody looks at present. Once in realize, and again to change it. */
void tn_device_show (TnDevice *device, const char *card, unsigned hz);
/* What a window may have in its title: the machine's name, disks at work, speed. */
char *tn_device_machine_title (TnDevice *device);

#pragma GCC visibility pop
G_END_DECLS
