/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PS/2 keyboard with 102 keys, after IBM's Personal System/2 Hardware Interface Technical
 * Reference: commands, scan code sets 1 to 3, typematic, the extra shift codes of the grey keys.
 *
 * Departures: the self-test takes 2 ms, as bochsbios waits for no more than 65,535 polls; nothing
 * is sent at power-on; a queue of 64 events stands before the part's 16-byte buffer, so that
 * pasted text is not lost, and presses beyond 48 waiting events are dropped where the part would
 * send an overrun code; key types of set 3 are set for all keys at once.
 */
#include "kbc.h"

#include <string.h>

#define BAT_NS (2 * TN_NS_PER_MS)
#define EVENTS_FOR_PRESSES 48 /* the rest is kept for releases, so that no key gets stuck */
#define MAX_AHEAD (10 * TN_NS_PER_S)

enum {
  CMD_LEDS = 0xed,
  CMD_ECHO = 0xee,
  CMD_SCAN_SET = 0xf0,
  CMD_ID = 0xf2,
  CMD_RATE = 0xf3,
  CMD_ENABLE = 0xf4,
  CMD_DISABLE = 0xf5,
  CMD_DEFAULTS = 0xf6,
  CMD_ALL_TYPEMATIC = 0xf7,
  CMD_ALL_MAKE_BREAK = 0xf8,
  CMD_ALL_MAKE = 0xf9,
  CMD_ALL_TYPEMATIC_MAKE_BREAK = 0xfa,
  CMD_KEY_TYPEMATIC = 0xfb, /* lists of keys */
  CMD_KEY_MAKE = 0xfd,
  CMD_RESEND = 0xfe,
  CMD_RESET = 0xff,
};

enum {
  ACK = 0xfa,
  RESEND = 0xfe,
  BAT_PASSED = 0xaa,
  ID_FIRST = 0xab,
  ID_SECOND = 0x83,
  BREAK = 0xf0,
  SYSRQ = 0x84,
  TYPEMATIC_DEFAULT = 0x2b, /* 500 ms, 10.9 a second */
  LED_NUM_LOCK = 0x02,
  LEDS = 0x07,
};

void
reply_put (Reply *r, uint8_t byte)
{
  if (r->count < REPLY_MAX)
    r->bytes[r->count++] = byte;
}

uint8_t
reply_take (Reply *r)
{
  uint8_t byte = r->bytes[0];
  r->count--;
  memmove (r->bytes, r->bytes + 1, r->count);
  r->bytes[r->count] = 0;
  return byte;
}

/* ---- Scan codes ---- */

typedef struct {
  uint8_t bytes[CODES_MAX];
  unsigned count;
} Sequence;

static bool
is_down (const Keyboard *k, unsigned key)
{
  return k->down[key >> 3] & 1 << (key & 7);
}

static bool
any_down (const Keyboard *k, unsigned one, unsigned other)
{
  return is_down (k, one) || is_down (k, other);
}

static void
put (Sequence *s, uint8_t byte)
{
  s->bytes[s->count++] = byte;
}

static void
put_code (const Keyboard *k, Sequence *s, uint16_t code, bool down)
{
  if (code & CODE_E0)
    put (s, CODE_E0 >> 8);
  if (k->set == 1)
    {
      put (s, keymap_translate (code) | (down ? 0 : 0x80));
      return;
    }
  if (!down)
    put (s, BREAK);
  put (s, code);
}

static void
put_pause (const Keyboard *k, Sequence *s)
{
  if (any_down (k, TN_KEY_LEFT_CTRL, TN_KEY_RIGHT_CTRL))
    { /* Break */
      put_code (k, s, CODE_E0 | 0x7e, true);
      put_code (k, s, CODE_E0 | 0x7e, false);
      return;
    }
  for (unsigned i = 0; i < 2; i++)
    {
      put (s, 0xe1);
      put_code (k, s, 0x14, i == 0);
      put_code (k, s, 0x77, i == 0);
    }
}

static void
put_print_screen (const Keyboard *k, Sequence *s, bool down)
{
  bool plain = !any_down (k, TN_KEY_LEFT_SHIFT, TN_KEY_RIGHT_SHIFT)
               && !any_down (k, TN_KEY_LEFT_CTRL, TN_KEY_RIGHT_CTRL);
  if (any_down (k, TN_KEY_LEFT_ALT, TN_KEY_RIGHT_ALT))
    {
      put_code (k, s, SYSRQ, down);
      return;
    }
  if (plain && down)
    put_code (k, s, CODE_E0 | 0x12, true);
  put_code (k, s, CODE_E0 | 0x7c, down);
  if (plain && !down)
    put_code (k, s, CODE_E0 | 0x12, false);
}

/* The grey keys undo Shift and Num Lock for those who take them for keys of the number pad. */
static void
put_grey (const Keyboard *k, Sequence *s, unsigned key, bool down)
{
  bool left = is_down (k, TN_KEY_LEFT_SHIFT), right = is_down (k, TN_KEY_RIGHT_SHIFT);
  bool num = key != TN_KEY_KP_DIVIDE && (k->leds & LED_NUM_LOCK);
  uint16_t code = keymap_set2 (key);
  if (num)
    {
      bool fake = !left && !right;
      if (fake && down)
        put_code (k, s, CODE_E0 | 0x12, true);
      put_code (k, s, code, down);
      if (fake && !down)
        put_code (k, s, CODE_E0 | 0x12, false);
      return;
    }
  if (!down)
    put_code (k, s, code, false);
  if (left)
    put_code (k, s, CODE_E0 | 0x12, !down);
  if (right)
    put_code (k, s, CODE_E0 | 0x59, !down);
  if (down)
    put_code (k, s, code, true);
}

static bool
is_grey (unsigned key)
{
  return (key >= TN_KEY_INSERT && key <= TN_KEY_UP) || key == TN_KEY_KP_DIVIDE;
}

static void
build (const Keyboard *k, Sequence *s, unsigned key, bool down)
{
  if (k->set == 3)
    {
      uint8_t code = keymap_set3 (key);
      if (code && (down || k->break_codes))
        put_code (k, s, code, down);
    }
  else if (key == TN_KEY_PAUSE)
    {
      if (down)
        put_pause (k, s);
    }
  else if (key == TN_KEY_PRINT_SCREEN)
    {
      put_print_screen (k, s, down);
    }
  else if (is_grey (key))
    {
      put_grey (k, s, key, down);
    }
  else if (keymap_set2 (key))
    {
      put_code (k, s, keymap_set2 (key), down);
    }
}

/* All of it, or nothing. */
static bool
append (Keyboard *k, const Sequence *s)
{
  if (s->count > (unsigned) CODES_MAX - k->code_count)
    return false;
  memcpy (k->codes + k->code_count, s->bytes, s->count);
  k->code_count += s->count;
  return true;
}

/* ---- Typematic ---- */

static int64_t
repeat_delay (const Keyboard *k)
{
  return (1 + (k->typematic >> 5 & 3)) * 250 * TN_NS_PER_MS;
}

static int64_t
repeat_period (const Keyboard *k)
{
  return TN_NS_PER_S * (8 + (k->typematic & 7)) * (1 << (k->typematic >> 3 & 3)) / 240;
}

static void
start_repeat (Keyboard *k, unsigned key, int64_t now)
{
  k->repeat_key = key;
  k->repeat_at = key == TN_KEY_PAUSE || (k->set == 3 && !k->repeats) ? TN_TIME_NEVER
                                                                     : now + repeat_delay (k);
}

static void
repeat (Keyboard *k, int64_t now)
{
  Sequence s = { .count = 0 };
  k->repeat_at = now + repeat_period (k);
  if (k->code_count > 0) /* the guest is slower than that */
    return;
  if (k->set == 3)
    put_code (k, &s, keymap_set3 (k->repeat_key), true);
  else
    put_code (k, &s, keymap_set2 (k->repeat_key), true);
  append (k, &s);
}

/* ---- The user's keys ---- */

/* Makes a waiting event into codes; false when the buffer has no room. */
static bool
convert (Keyboard *k, uint16_t event, int64_t now)
{
  unsigned key = event & 0xff;
  bool down = event & EVENT_DOWN;
  Sequence s = { .count = 0 };
  if (down == is_down (k, key)) /* the host's repetitions */
    return true;
  build (k, &s, key, down);
  if (k->scanning && !append (k, &s))
    return false;
  k->down[key >> 3] ^= 1 << (key & 7);
  if (down && k->scanning)
    start_repeat (k, key, now);
  else if (key == k->repeat_key)
    k->repeat_at = TN_TIME_NEVER;
  return true;
}

static void
convert_all (Keyboard *k, int64_t now)
{
  unsigned n = 0;
  while (n < k->event_count && convert (k, k->events[n], now))
    n++;
  k->event_count -= n;
  memmove (k->events, k->events + n, k->event_count * sizeof k->events[0]);
  memset (k->events + k->event_count, 0, n * sizeof k->events[0]);
}

void
keyboard_key (Keyboard *k, unsigned key, bool down, int64_t now)
{
  if (key > TN_KEY_LAST || !keymap_set2 (key)
      || k->event_count >= (down ? EVENTS_FOR_PRESSES : EVENTS_MAX))
    return;
  k->events[k->event_count++] = key | (down ? EVENT_DOWN : 0);
  convert_all (k, now);
}

/* ---- Commands ---- */

static void
clear_codes (Keyboard *k)
{
  memset (k->codes, 0, sizeof k->codes);
  k->code_count = 0;
  k->repeat_at = TN_TIME_NEVER;
}

static void
defaults (Keyboard *k)
{
  clear_codes (k);
  k->typematic = TYPEMATIC_DEFAULT;
  k->break_codes = k->repeats = true;
}

void
keyboard_power_on (Keyboard *k)
{
  *k = (Keyboard){
    .set = 2, .scanning = true, .repeat_at = TN_TIME_NEVER, .bat_at = TN_TIME_NEVER
  };
  defaults (k);
}

static void
parameter (Keyboard *k, uint8_t command, uint8_t byte)
{
  reply_put (&k->reply, ACK);
  switch (command)
    {
    case CMD_LEDS: k->leds = byte & LEDS; break;
    case CMD_RATE: k->typematic = byte; break;
    case CMD_SCAN_SET:
      if (byte == 0)
        {
          reply_put (&k->reply, k->set);
        }
      else if (byte <= 3)
        {
          k->set = byte;
          clear_codes (k);
        }
      else
        {
          k->reply.bytes[0] = RESEND;
        }
      break;
    default: /* keys of a list, ended by the next command */ k->expect = command;
    }
}

static void
set_types (Keyboard *k, uint8_t command)
{
  k->break_codes = command == CMD_ALL_MAKE_BREAK || command == CMD_ALL_TYPEMATIC_MAKE_BREAK;
  k->repeats = command == CMD_ALL_TYPEMATIC || command == CMD_ALL_TYPEMATIC_MAKE_BREAK;
}

static void
reset (Keyboard *k, int64_t now)
{
  defaults (k);
  k->set = 2;
  k->leds = 0;
  k->scanning = true;
  k->bat_at = now + BAT_NS;
}

static void
simple_command (Keyboard *k, uint8_t byte, int64_t now)
{
  reply_put (&k->reply, ACK);
  switch (byte)
    {
    case CMD_ID:
      reply_put (&k->reply, ID_FIRST);
      reply_put (&k->reply, ID_SECOND);
      break;
    case CMD_ENABLE:
      clear_codes (k);
      k->scanning = true;
      break;
    case CMD_DISABLE:
    case CMD_DEFAULTS:
      defaults (k);
      k->scanning = byte == CMD_DEFAULTS;
      break;
    case CMD_RESET: reset (k, now); break;
    default: set_types (k, byte);
    }
}

void
keyboard_command (Keyboard *k, uint8_t byte, int64_t now)
{
  uint8_t command = k->expect;
  k->expect = 0;
  k->reply = (Reply){ .count = 0 };
  k->bat_at = TN_TIME_NEVER;
  if (command && byte < CMD_LEDS)
    {
      parameter (k, command, byte);
      return;
    }
  switch (byte)
    {
    case CMD_LEDS:
    case CMD_SCAN_SET:
    case CMD_RATE:
    case CMD_KEY_TYPEMATIC ... CMD_KEY_MAKE:
      reply_put (&k->reply, ACK);
      k->expect = byte;
      break;
    case CMD_ECHO: reply_put (&k->reply, CMD_ECHO); break;
    case CMD_RESEND: reply_put (&k->reply, k->last); break;
    case CMD_ID:
    case CMD_ENABLE ... CMD_ALL_TYPEMATIC_MAKE_BREAK:
    case CMD_RESET: simple_command (k, byte, now); break;
    default: reply_put (&k->reply, RESEND);
    }
}

/* ---- Time and output ---- */

void
keyboard_tick (Keyboard *k, int64_t now)
{
  if (k->bat_at <= now)
    {
      k->bat_at = TN_TIME_NEVER;
      reply_put (&k->reply, BAT_PASSED);
    }
  if (k->repeat_at <= now)
    repeat (k, now);
}

int64_t
keyboard_wake (const Keyboard *k)
{
  return MIN (k->bat_at, k->repeat_at);
}

bool
keyboard_ready (const Keyboard *k)
{
  return k->reply.count > 0 || (k->code_count > 0 && k->bat_at == TN_TIME_NEVER);
}

bool
keyboard_idle (const Keyboard *k)
{
  return k->scanning && !k->code_count && !k->event_count && !k->reply.count
         && k->bat_at == TN_TIME_NEVER;
}

uint8_t
keyboard_take (Keyboard *k, int64_t now)
{
  if (k->reply.count > 0)
    return k->last = reply_take (&k->reply);
  k->last = k->codes[0];
  k->code_count--;
  memmove (k->codes, k->codes + 1, k->code_count);
  k->codes[k->code_count] = 0;
  convert_all (k, now);
  return k->last;
}

bool
keyboard_valid (const Keyboard *k, int64_t now)
{
  for (unsigned i = 0; i < k->event_count && i < EVENTS_MAX; i++)
    if ((k->events[i] & ~EVENT_DOWN) > TN_KEY_LAST)
      return false;
  return k->reply.count <= REPLY_MAX && k->code_count <= CODES_MAX && k->event_count <= EVENTS_MAX
         && k->set >= 1 && k->set <= 3 && k->repeat_key <= TN_KEY_LAST
         && (k->bat_at == TN_TIME_NEVER || k->bat_at <= now + MAX_AHEAD)
         && (k->repeat_at == TN_TIME_NEVER || k->repeat_at <= now + MAX_AHEAD);
}

static const TnField reply_fields[] = {
  TN_FIELD (Reply, bytes, 1),
  TN_FIELD (Reply, count, 1),
  TN_FIELD_END,
};

const TnField keyboard_fields[] = {
  TN_FIELD_STRUCT (Keyboard, reply, 1, reply_fields, 1),
  TN_FIELD (Keyboard, codes, 1),
  TN_FIELD (Keyboard, code_count, 1),
  TN_FIELD (Keyboard, events, 1),
  TN_FIELD (Keyboard, event_count, 1),
  TN_FIELD (Keyboard, down, 1),
  TN_FIELD (Keyboard, set, 1),
  TN_FIELD (Keyboard, leds, 1),
  TN_FIELD (Keyboard, typematic, 1),
  TN_FIELD (Keyboard, expect, 1),
  TN_FIELD (Keyboard, last, 1),
  TN_FIELD (Keyboard, scanning, 1),
  TN_FIELD (Keyboard, break_codes, 1),
  TN_FIELD (Keyboard, repeats, 1),
  TN_FIELD (Keyboard, repeat_key, 1),
  TN_FIELD_TIME (Keyboard, repeat_at, 1),
  TN_FIELD_TIME (Keyboard, bat_at, 1),
  TN_FIELD_END,
};
