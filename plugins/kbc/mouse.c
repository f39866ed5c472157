/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PS/2 mouse with wheel and five buttons, after IBM's Personal System/2 Hardware Interface
 * Technical Reference and Microsoft's description of the IntelliMouse protocol: it becomes ID 3
 * (wheel) after the sampling rates 200, 100, 80 and ID 4 (five buttons) after 200, 200, 80.
 *
 * Departures: the self-test takes 2 ms; the resolution is kept and reported but does not scale
 * motion; motion too large for a packet goes into the next ones, so that the overflow bits are
 * never set.
 */
#include "kbc.h"

#include <string.h>

#define BAT_NS (2 * TN_NS_PER_MS)
#define MAX_AHEAD (10 * TN_NS_PER_S)
#define MOTION_MAX 32767
#define PACKET_MOTION_MAX 255

enum {
  CMD_SCALING_1 = 0xe6,
  CMD_SCALING_2 = 0xe7,
  CMD_RESOLUTION = 0xe8,
  CMD_STATUS = 0xe9,
  CMD_STREAM = 0xea,
  CMD_READ = 0xeb,
  CMD_WRAP_OFF = 0xec,
  CMD_WRAP = 0xee,
  CMD_REMOTE = 0xf0,
  CMD_ID = 0xf2,
  CMD_RATE = 0xf3,
  CMD_ENABLE = 0xf4,
  CMD_DISABLE = 0xf5,
  CMD_DEFAULTS = 0xf6,
  CMD_RESEND = 0xfe,
  CMD_RESET = 0xff,
};

enum {
  ACK = 0xfa,
  ERROR = 0xfc,
  RESEND = 0xfe,
  BAT_PASSED = 0xaa,
  ID_PLAIN = 0,
  ID_WHEEL = 3,
  ID_FIVE_BUTTONS = 4,
  STATUS_REMOTE = 0x40,
  STATUS_ENABLED = 0x20,
  STATUS_SCALING = 0x10,
  PACKET_ALWAYS = 0x08,
  PACKET_X_SIGN = 0x10,
  PACKET_Y_SIGN = 0x20,
  DEFAULT_RATE = 100,
  DEFAULT_RESOLUTION = 2,
  THREE_BUTTONS = TN_BUTTON_LEFT | TN_BUTTON_RIGHT | TN_BUTTON_MIDDLE,
  ALL_BUTTONS = THREE_BUTTONS | TN_BUTTON_SIDE | TN_BUTTON_EXTRA,
};

/* ---- Packets ---- */

static bool
streaming (const Mouse *m)
{
  return m->enabled && !m->remote && !m->wrap && m->bat_at == TN_TIME_NEVER;
}

static uint8_t
visible_buttons (const Mouse *m)
{
  return m->buttons & (m->id == ID_FIVE_BUTTONS ? ALL_BUTTONS : THREE_BUTTONS);
}

static bool
something_new (const Mouse *m)
{
  return m->dx || m->dy || (m->wheel && m->id != ID_PLAIN)
         || visible_buttons (m) != m->sent_buttons;
}

static int32_t
scale (int32_t motion)
{
  static const int8_t curve[] = { 0, 1, 1, 3, 6, 9 };
  int32_t size = ABS (motion);
  size = size < (int32_t) G_N_ELEMENTS (curve) ? curve[size] : 2 * size;
  return motion < 0 ? -size : size;
}

/* Takes what fits into a packet off an accumulator. */
static int32_t
take_motion (int32_t *motion, bool scaled)
{
  int32_t limit = scaled ? PACKET_MOTION_MAX / 2 : PACKET_MOTION_MAX;
  int32_t part = CLAMP (*motion, -limit, limit);
  *motion -= part;
  return scaled ? scale (part) : part;
}

static uint8_t
wheel_byte (Mouse *m)
{
  int32_t part = CLAMP (m->wheel, -7, 7);
  m->wheel -= part;
  uint8_t byte = -part; /* towards the user is positive */
  if (m->id == ID_WHEEL)
    return byte;
  return (byte & 0x0f) | (m->buttons & TN_BUTTON_SIDE ? 0x10 : 0)
         | (m->buttons & TN_BUTTON_EXTRA ? 0x20 : 0);
}

static unsigned
build_packet (Mouse *m, uint8_t packet[PACKET_MAX], bool scaled)
{
  int32_t dx = take_motion (&m->dx, scaled);
  int32_t dy = -take_motion (&m->dy, scaled); /* up is positive */
  m->sent_buttons = visible_buttons (m);
  packet[0] = PACKET_ALWAYS | (m->buttons & THREE_BUTTONS) | (dx < 0 ? PACKET_X_SIGN : 0)
              | (dy < 0 ? PACKET_Y_SIGN : 0);
  packet[1] = dx;
  packet[2] = dy;
  if (m->id == ID_PLAIN)
    {
      m->wheel = 0;
      return 3;
    }
  packet[3] = wheel_byte (m);
  return 4;
}

/* Starts a packet if there is something to tell and the sampling rate allows. */
static void
stream (Mouse *m, int64_t now)
{
  if (!streaming (m) || m->packet_count || m->reply.count || m->packet_at > now
      || !something_new (m))
    return;
  m->packet_count = build_packet (m, m->packet, m->scaling);
  m->packet_at = now + TN_NS_PER_S / m->rate;
}

static void
drop_packet (Mouse *m)
{
  memset (m->packet, 0, sizeof m->packet);
  m->packet_count = 0;
}

static void
add (int32_t *sum, int32_t value)
{
  int64_t total = (int64_t) *sum + value;
  *sum = CLAMP (total, -MOTION_MAX, MOTION_MAX);
}

void
mouse_move (Mouse *m, const TnPointerEvent *event, int64_t now)
{
  m->buttons = event->buttons & ALL_BUTTONS;
  if (!m->enabled && !m->remote)
    return;
  add (&m->dx, event->dx);
  add (&m->dy, event->dy);
  if (m->id != ID_PLAIN)
    add (&m->wheel, event->wheel);
  stream (m, now);
}

/* ---- Commands ---- */

static void
forget_motion (Mouse *m)
{
  m->dx = m->dy = m->wheel = 0;
  m->sent_buttons = visible_buttons (m);
}

static void
defaults (Mouse *m)
{
  m->rate = DEFAULT_RATE;
  m->resolution = DEFAULT_RESOLUTION;
  m->scaling = m->remote = m->wrap = m->enabled = false;
  forget_motion (m);
}

void
mouse_power_on (Mouse *m, uint8_t max_id)
{
  *m = (Mouse){ .max_id = max_id, .packet_at = 0, .bat_at = TN_TIME_NEVER };
  defaults (m);
}

static void
refuse (Mouse *m)
{
  m->reply.count = 0;
  reply_put (&m->reply, m->refused ? ERROR : RESEND);
  m->refused = true;
}

static void
put_status (Mouse *m)
{
  uint8_t buttons = (m->buttons & TN_BUTTON_LEFT ? 4 : 0) | (m->buttons & TN_BUTTON_MIDDLE ? 2 : 0)
                    | (m->buttons & TN_BUTTON_RIGHT ? 1 : 0);
  reply_put (&m->reply, (m->remote ? STATUS_REMOTE : 0) | (m->enabled ? STATUS_ENABLED : 0)
                            | (m->scaling ? STATUS_SCALING : 0) | buttons);
  reply_put (&m->reply, m->resolution);
  reply_put (&m->reply, m->rate);
}

/* Three rates in a row are the knock on the door of the wheel. */
static void
note_rate (Mouse *m, uint8_t rate)
{
  memmove (m->rates, m->rates + 1, sizeof m->rates - 1);
  m->rates[2] = rate;
  if (m->rates[0] != 200 || m->rates[2] != 80)
    return;
  if (m->rates[1] == 100 && m->max_id >= ID_WHEEL)
    m->id = ID_WHEEL;
  else if (m->rates[1] == 200 && m->max_id >= ID_FIVE_BUTTONS)
    m->id = ID_FIVE_BUTTONS;
}

static void
parameter (Mouse *m, uint8_t command, uint8_t byte)
{
  static const uint8_t legal[] = { 10, 20, 40, 60, 80, 100, 200 };
  if (command == CMD_RESOLUTION)
    {
      if (byte > 3)
        {
          refuse (m);
          return;
        }
      m->resolution = byte;
    }
  else
    {
      if (!memchr (legal, byte, sizeof legal))
        {
          refuse (m);
          return;
        }
      m->rate = byte;
      note_rate (m, byte);
    }
  m->refused = false;
  reply_put (&m->reply, ACK);
}

static void
read_data (Mouse *m)
{
  uint8_t packet[PACKET_MAX];
  unsigned count = build_packet (m, packet, false);
  for (unsigned i = 0; i < count; i++)
    reply_put (&m->reply, packet[i]);
}

static void
reset (Mouse *m, int64_t now)
{
  defaults (m);
  m->id = ID_PLAIN;
  memset (m->rates, 0, sizeof m->rates);
  forget_motion (m);
  m->bat_at = now + BAT_NS;
}

static void
execute (Mouse *m, uint8_t byte, int64_t now)
{
  reply_put (&m->reply, ACK);
  switch (byte)
    {
    case CMD_SCALING_1:
    case CMD_SCALING_2: m->scaling = byte == CMD_SCALING_2; break;
    case CMD_RESOLUTION:
    case CMD_RATE: m->expect = byte; break;
    case CMD_STATUS: put_status (m); break;
    case CMD_STREAM:
    case CMD_REMOTE:
      m->remote = byte == CMD_REMOTE;
      forget_motion (m);
      break;
    case CMD_READ: read_data (m); break;
    case CMD_WRAP_OFF:
    case CMD_WRAP:
      m->wrap = byte == CMD_WRAP;
      forget_motion (m);
      break;
    case CMD_ID: reply_put (&m->reply, m->id); break;
    case CMD_ENABLE:
    case CMD_DISABLE:
      m->enabled = byte == CMD_ENABLE;
      forget_motion (m);
      break;
    case CMD_DEFAULTS: defaults (m); break;
    case CMD_RESEND: m->reply.bytes[0] = m->last; break;
    case CMD_RESET: reset (m, now); break;
    default: refuse (m); return;
    }
  m->refused = false;
}

void
mouse_command (Mouse *m, uint8_t byte, int64_t now)
{
  uint8_t expect = m->expect;
  m->expect = 0;
  m->reply = (Reply){ .count = 0 };
  m->bat_at = TN_TIME_NEVER;
  drop_packet (m);
  if (m->wrap && byte != CMD_WRAP_OFF && byte != CMD_RESET)
    reply_put (&m->reply, byte);
  else if (expect && byte < CMD_SCALING_1)
    parameter (m, expect, byte);
  else
    execute (m, byte, now);
}

/* ---- Time and output ---- */

void
mouse_tick (Mouse *m, int64_t now)
{
  if (m->bat_at <= now)
    {
      m->bat_at = TN_TIME_NEVER;
      reply_put (&m->reply, BAT_PASSED);
      reply_put (&m->reply, ID_PLAIN);
    }
  stream (m, now);
}

int64_t
mouse_wake (const Mouse *m)
{
  if (m->bat_at != TN_TIME_NEVER)
    return m->bat_at;
  bool waits = streaming (m) && !m->packet_count && !m->reply.count && something_new (m);
  return waits ? m->packet_at : TN_TIME_NEVER;
}

bool
mouse_ready (const Mouse *m)
{
  return m->reply.count > 0 || m->packet_count > 0;
}

uint8_t
mouse_take (Mouse *m, int64_t now)
{
  if (m->reply.count > 0)
    {
      m->last = reply_take (&m->reply);
    }
  else
    {
      m->last = m->packet[0];
      m->packet_count--;
      memmove (m->packet, m->packet + 1, m->packet_count);
      m->packet[m->packet_count] = 0;
    }
  stream (m, now);
  return m->last;
}

bool
mouse_valid (const Mouse *m, int64_t now)
{
  return m->reply.count <= REPLY_MAX && m->packet_count <= PACKET_MAX && m->rate > 0
         && (m->id == ID_PLAIN || m->id == ID_WHEEL || m->id == ID_FIVE_BUTTONS)
         && ABS ((int64_t) m->dx) <= MOTION_MAX && ABS ((int64_t) m->dy) <= MOTION_MAX
         && ABS ((int64_t) m->wheel) <= MOTION_MAX && m->packet_at <= now + MAX_AHEAD
         && (m->bat_at == TN_TIME_NEVER || m->bat_at <= now + MAX_AHEAD);
}

static const TnField reply_fields[] = {
  TN_FIELD (Reply, bytes, 1),
  TN_FIELD (Reply, count, 1),
  TN_FIELD_END,
};

const TnField mouse_fields[] = {
  TN_FIELD_STRUCT (Mouse, reply, 1, reply_fields, 1),
  TN_FIELD (Mouse, packet, 1),
  TN_FIELD (Mouse, packet_count, 1),
  TN_FIELD (Mouse, id, 1),
  TN_FIELD (Mouse, rate, 1),
  TN_FIELD (Mouse, resolution, 1),
  TN_FIELD (Mouse, rates, 1),
  TN_FIELD (Mouse, expect, 1),
  TN_FIELD (Mouse, last, 1),
  TN_FIELD (Mouse, enabled, 1),
  TN_FIELD (Mouse, remote, 1),
  TN_FIELD (Mouse, wrap, 1),
  TN_FIELD (Mouse, scaling, 1),
  TN_FIELD (Mouse, refused, 1),
  TN_FIELD (Mouse, dx, 1),
  TN_FIELD (Mouse, dy, 1),
  TN_FIELD (Mouse, wheel, 1),
  TN_FIELD (Mouse, buttons, 1),
  TN_FIELD (Mouse, sent_buttons, 1),
  TN_FIELD_TIME (Mouse, packet_at, 1),
  TN_FIELD_TIME (Mouse, bat_at, 1),
  TN_FIELD_END,
};
