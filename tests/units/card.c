/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plugin for tests of the core, built in several variants (CARD_VARIANT), which stand for builds
 * of one card over time, and for what can be wrong with one.
 *
 *   300h  value (read, write)        302h  variant (read)
 *   301h  1: raise IRQ line          303h  write: arm the timer for 1 ms x value; it counts in 304h
 */
#include <tenon/tenon.h>

#include <unistd.h>

#pragma GCC diagnostic ignored "-Woverride-init" /* variants override the header */
#pragma GCC diagnostic ignored "-Wunused-variable"

#define CARD_FIRST       1  /* state version 1 */
#define CARD_SECOND      2  /* version 2: a field more, another property */
#define CARD_NO_REALIZE  3  /* refuses after it has acquired everything */
#define CARD_NO_RESTORE  4  /* refuses any saved state */
#define CARD_NO_SYMBOL   5  /* exports no descriptor */
#define CARD_WRONG_MAGIC 6  /* ... one without the magic number */
#define CARD_FUTURE      7  /* ... one of a later interface */
#define CARD_SHORT       8  /* ... the least that an older interface had; it works */
#define CARD_BAD_FIELD   9  /* a field beyond the instance */
#define CARD_TWO_FIELDS  10 /* two fields of one name */
#define CARD_BAD_DEFAULT 11 /* a default out of range */
#define CARD_OTHER_NAME  12 /* another card altogether */
#define CARD_UNRESOLVED  13 /* calls a function that does not exist */
#define CARD_CLASH       14 /* claims a port that another device may have */

typedef struct {
  TnDevice *device;
#if CARD_VARIANT == CARD_SECOND
  uint8_t padding[24]; /* structs may change freely */
  uint32_t doubled;
  uint32_t extra;
#endif
  uint32_t port;
  const char *note;
  const char *link;
  TnLine *line;
  TnTimer *timer;
  TnChar *chr;
  uint8_t *memory;
  int fd;

  uint8_t value, count;
  bool raised;
  int64_t due;
  uint8_t received[8];
  uint32_t n_received;
} Card;

#if CARD_VARIANT == CARD_UNRESOLVED
void tn_device_that_never_was (void);
#endif

static uint32_t
card_read (void *self, uint32_t offset, unsigned size)
{
  Card *c = self;

  return offset == 0 ? c->value : offset == 2 ? CARD_VARIANT : offset == 4 ? c->count : c->raised;
}

static void
card_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Card *c = self;

  if (offset == 0)
    c->value = value;
  else if (offset == 1)
    {
      c->raised = value & 1;
      tn_line_set (c->line, c->raised);
      tn_device_emit (c->device, "raised", value);
    }
  else if (offset == 3)
    {
      c->due = tn_device_now (c->device) + value * TN_NS_PER_MS;
      tn_timer_set (c->timer, c->due);
    }
  else if (offset == 5)
    {
      uint8_t byte = value;

      tn_char_send (c->chr, &byte, 1);
    }
#if CARD_VARIANT == CARD_UNRESOLVED
  tn_device_that_never_was ();
#endif
}

static void
card_tick (void *self, void *data)
{
  Card *c = self;

  c->count++;
  c->due = TN_TIME_NEVER;
}

static size_t
card_room (void *self, void *data)
{
  return sizeof ((Card *) self)->received - ((Card *) self)->n_received;
}

static void
card_receive (void *self, const uint8_t *bytes, size_t size, void *data)
{
  Card *c = self;

  for (size_t n = 0; n < size; n++)
    c->received[c->n_received++] = bytes[n];
}

static bool
card_realize (void *self, GError **error)
{
  static const TnBusOps ops = { .read = card_read, .write = card_write, .max_size = 1 };
  static const TnCharFrontOps front = { .room = card_room, .receive = card_receive };
  Card *c = self;

  c->fd = tn_device_take_fd (c->device, "pipe");
  if (c->fd < 0)
    {
      c->fd = dup (0);
      tn_device_keep_fd (c->device, "pipe", c->fd);
    }
  c->due = TN_TIME_NEVER;
  c->line = tn_device_line (c->device, "isa:5");
  c->timer = tn_device_timer_new (c->device, "tick", card_tick, NULL);
  c->chr = tn_device_char (c->device, c->link, &front, NULL, error);
  if (c->chr == NULL || !tn_device_add_ports (c->device, c->port, 8, &ops, TN_REGION_DEFAULT, error)
      || !tn_device_add_ram (c->device, "memory", 0xe0000000 + (c->port << 12), 4096, &c->memory,
                             error))
    return false;
#if CARD_VARIANT == CARD_CLASH
  if (!tn_device_add_ports (c->device, 0x308, 8, &ops, TN_REGION_DEFAULT, error))
    return false;
#endif
#if CARD_VARIANT == CARD_NO_REALIZE
  tn_line_set (c->line, true);
  return tn_device_fail (c->device, error, TN_ERROR_IO, "the host has no such thing");
#endif
  return true;
}

static void
card_reset (void *self)
{
  Card *c = self;

  c->value = 0x5a;
  c->raised = false;
  c->count = 0;
  c->n_received = 0;
  tn_line_set (c->line, false);
  c->due = TN_TIME_NEVER;
  tn_timer_cancel (c->timer);
#if CARD_VARIANT == CARD_SECOND
  c->extra = 77;
#endif
}

static bool
card_restored (void *self, GError **error)
{
  Card *c = self;

#if CARD_VARIANT == CARD_NO_RESTORE
  return tn_device_fail (c->device, error, TN_ERROR_STATE, "I do not like it");
#endif
  if (c->n_received > sizeof c->received)
    return tn_device_fail (c->device, error, TN_ERROR_STATE, "more bytes than there is room for");
#if CARD_VARIANT == CARD_SECOND
  c->doubled = 2 * c->value;
#endif
  tn_timer_set (c->timer, c->due);
  tn_line_set (c->line, c->raised);
  return true;
}

static const TnProperty properties[] = {
  TN_PROP_UINT (Card, port, "port", "first of eight I/O ports",
                CARD_VARIANT == CARD_BAD_DEFAULT ? 0x10000 : 0x300, 0, 0xfff8),
  TN_PROP_STRING (Card, note, "note", "says nothing", "none"),
  TN_PROP_LINK (Card, link, "chardev", "character back end", TN_KIND_CHAR),
#if CARD_VARIANT == CARD_SECOND
  TN_PROP_UINT (Card, doubled, "doubled", "twice the value", 0, 0, 510),
#endif
  TN_PROP_END
};

static const TnSignal signals[]
    = { TN_SIGNAL_VALUE ("raised", "the line was set; what was written"), TN_SIGNAL_END };

static const TnField fields[] = {
  TN_FIELD (Card, value, 1),
  TN_FIELD (Card, count, 1),
  TN_FIELD (Card, raised, 1),
  TN_FIELD_TIME (Card, due, 1),
  TN_FIELD (Card, received, 1),
  TN_FIELD (Card, n_received, 1),
#if CARD_VARIANT == CARD_SECOND
  TN_FIELD (Card, extra, 2),
#elif CARD_VARIANT == CARD_BAD_FIELD
                                  { .name = "beyond",
                                    .type = TN_FIELD_TYPE_UINT,
                                    .since = 1,
                                    .offset = sizeof (Card) - 2,
                                    .size = 4,
                                    .count = 1 },
#elif CARD_VARIANT == CARD_TWO_FIELDS
  TN_FIELD (Card, value, 1),
#endif
  TN_FIELD_END
};

#if CARD_VARIANT == CARD_NO_SYMBOL
#define tn_plugin_1 tn_plugin_0
#endif

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
#if CARD_VARIANT == CARD_WRONG_MAGIC
  .magic = 42,
#elif CARD_VARIANT == CARD_FUTURE
  .minor = TN_PLUGIN_MINOR + 1, .struct_size = sizeof (TnPlugin) + 8,
#elif CARD_VARIANT == CARD_SHORT
  .struct_size = offsetof (TnPlugin, char_ops),
#endif
  .name = CARD_VARIANT == CARD_OTHER_NAME ? "trump" : "card",
  .summary = "a card for tests",
  .kind = TN_KIND_DEVICE,
  .state_version = CARD_VARIANT == CARD_SECOND ? 2 : 1,
  .instance_size = sizeof (Card),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .ops = { .realize = card_realize, .reset = card_reset, .restored = card_restored },
};
