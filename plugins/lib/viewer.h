/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What display back ends with a thread of their own share: a copy of the picture, and the way back
 * for what the user does.
 *
 *   machine's side (under its lock)            the back end's thread
 *   viewer_update ()  copies, wakes      --->  viewer_lock (), takes what is new, viewer_unlock ()
 *   viewer_init ()'s watch: keys, pointer <--- viewer_post ()
 *
 * Neither waits for the other longer than a copy takes.
 */
#pragma once

#include <tenon/tenon.h>

typedef enum {
  VIEWER_KEY,     /* value, down */
  VIEWER_KEYSYM,  /* value, down */
  VIEWER_RELEASE, /* all keys */
  VIEWER_POINTER,
  VIEWER_TYPE,  /* text */
  VIEWER_LOOK,  /* value: times a second */
  VIEWER_TITLE, /* bring the title up to date */
  VIEWER_CLOSE, /* the user wants the machine off */
} ViewerEventKind;

typedef struct {
  ViewerEventKind kind;
  uint32_t value;
  bool down;
  TnPointerEvent pointer;
  char *text; /* owned by the event */
} ViewerEvent;

typedef struct {
  TnDevice *device;
  const char *card; /* owned by the plugin */
  void (*wake) (void *self);
  void *self;
  int event_fd;
  TnWatch *watch;

  GMutex lock; /* guards the rest */
  uint32_t *pixels;
  uint32_t width, height, aspect_x, aspect_y;
  bool all; /* size or everything is new */
  GArray *rects;
  GArray *events;
  char *title;
} Viewer;

/* wake: called on the machine's side when something is new; may be NULL. */
bool viewer_init (Viewer *viewer, TnDevice *device, const char *card, void (*wake) (void *self),
                  void *self, GError **error);
/* The thread must be gone. */
void viewer_finish (Viewer *viewer);
/* For TnDisplayOps. */
void viewer_update (Viewer *viewer, const TnScreen *screen, const TnRect *rects, unsigned n,
                    bool all);
/* [any thread] Hands over an event; text is taken. */
void viewer_post (Viewer *viewer, const ViewerEvent *event);
void viewer_post_key (Viewer *viewer, ViewerEventKind kind, uint32_t value, bool down);
