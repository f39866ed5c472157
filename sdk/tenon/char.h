/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Character streams between a front end (UART, debug port) and a back end (terminal, pty, file,
 * socket).  The front end names the back end in a link property.  Either may be swapped: the core
 * stands between, and holds bytes that the front end has not room for.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

/* ---- Front end ---- */

typedef struct {
  /* How many bytes it can take now (0: hold on; call tn_char_accept () later). */
  size_t (*room) (void *self, void *data);
  void (*receive) (void *self, const uint8_t *bytes, size_t size, void *data);
  /* The back end can take output again after tn_char_send () took less than all.  May be NULL. */
  void (*writable) (void *self, void *data);
  /* The peer came or went (sockets, pty); may be NULL. */
  void (*connected) (void *self, bool connected, void *data);
} TnCharFrontOps;

typedef struct TnChar TnChar;
/* `link` is the value of a TN_PROP_LINK property; NULL gives a stream that swallows output. */
TnChar *tn_device_char (TnDevice *device, const char *link, const TnCharFrontOps *ops, void *data,
                        GError **error);
/* Sends; returns how many bytes were taken. */
size_t tn_char_send (TnChar *chr, const uint8_t *bytes, size_t size);
/* There is room again. */
void tn_char_accept (TnChar *chr);
/* A break condition of `on`, and speed in bits/s; back ends that have no use for it ignore it. */
void tn_char_break (TnChar *chr, bool on);

/* ---- Back end (TN_KIND_CHAR) ---- */

struct TnCharOps {
  size_t (*send) (void *self, const uint8_t *bytes, size_t size); /* returns how many it took */
  void (*accept) (void *self); /* the front end has room again; may be NULL */
  void (*set_break) (void *self, bool on); /* may be NULL */
};
/* How many bytes the front end would take now. */
size_t tn_device_char_room (TnDevice *device);
/* Hands bytes to the front end; returns how many it took. */
size_t tn_device_char_receive (TnDevice *device, const uint8_t *bytes, size_t size);
void tn_device_char_writable (TnDevice *device);
void tn_device_char_connected (TnDevice *device, bool connected);

#pragma GCC visibility pop
G_END_DECLS
