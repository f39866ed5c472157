/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keyboard and the mouse at the other end of the 8042's two cables.  Both are plain state
 * machines without lines or timers: the controller (kbc.c) hands them bytes and the user's input,
 * asks when they want to be woken, and fetches what they have to say, a byte at a time.
 *
 *   keyboard_command (&k->keyboard, 0xf2, now);
 *   while (keyboard_ready (&k->keyboard))
 *     byte = keyboard_take (&k->keyboard);           FA AB 83
 */
#pragma once

#include <tenon/tenon.h>

#define REPLY_MAX 8  /* bytes of an answer */
#define CODES_MAX 16 /* the keyboard's buffer, as in the part */
#define EVENTS_MAX 64
#define EVENT_DOWN 0x8000u
#define PACKET_MAX 4

/* What a device has to say in answer to a command; it goes before anything else. */
typedef struct {
  uint8_t bytes[REPLY_MAX];
  uint8_t count;
} Reply;

typedef struct {
  Reply reply;
  uint8_t codes[CODES_MAX];
  uint8_t code_count;
  uint16_t events[EVENTS_MAX]; /* keys that the user pressed, not yet made into codes */
  uint8_t event_count;
  uint8_t down[32]; /* bit per key */
  uint8_t set;      /* scan code set, 1 to 3 */
  uint8_t leds, typematic;
  uint8_t expect; /* command that waits for its parameter, or 0 */
  uint8_t last;   /* byte sent last, for Resend */
  bool scanning;
  bool break_codes, repeats; /* set 3 only */
  uint8_t repeat_key;
  int64_t repeat_at;  /* typematic, or TN_TIME_NEVER */
  int64_t bat_at;     /* when the self-test is over, or TN_TIME_NEVER */
} Keyboard;

typedef struct {
  Reply reply;
  uint8_t packet[PACKET_MAX]; /* what is left of it to send */
  uint8_t packet_count;
  uint8_t id, max_id; /* 0, 3 with a wheel, 4 with five buttons */
  uint8_t rate, resolution, rates[3];
  uint8_t expect, last;
  bool enabled, remote, wrap, scaling, refused; /* refused: the last command was */
  int32_t dx, dy, wheel;
  uint8_t buttons, sent_buttons;
  int64_t packet_at; /* no packet before */
  int64_t bat_at;
} Mouse;

void reply_put (Reply *r, uint8_t byte);
uint8_t reply_take (Reply *r);

void keyboard_power_on (Keyboard *k);
void keyboard_command (Keyboard *k, uint8_t byte, int64_t now);
void keyboard_key (Keyboard *k, unsigned key, bool down, int64_t now);
/* Does what has fallen due; keyboard_wake () says when that will be next. */
void keyboard_tick (Keyboard *k, int64_t now);
int64_t keyboard_wake (const Keyboard *k);
bool keyboard_ready (const Keyboard *k);
/* Listens to keys, and has nothing to say. */
bool keyboard_idle (const Keyboard *k);
uint8_t keyboard_take (Keyboard *k, int64_t now);
bool keyboard_valid (const Keyboard *k, int64_t now);

void mouse_power_on (Mouse *m, uint8_t max_id);
void mouse_command (Mouse *m, uint8_t byte, int64_t now);
void mouse_move (Mouse *m, const TnPointerEvent *event, int64_t now);
void mouse_tick (Mouse *m, int64_t now);
int64_t mouse_wake (const Mouse *m);
bool mouse_ready (const Mouse *m);
uint8_t mouse_take (Mouse *m, int64_t now);
bool mouse_valid (const Mouse *m, int64_t now);

/* keymap.c */
#define CODE_E0 0xe000u
/* Scan code of a key in set 2 (with CODE_E0 if it is prefixed) and set 3; 0: no such key. */
uint16_t keymap_set2 (unsigned key);
uint8_t keymap_set3 (unsigned key);
/* The 8042's translation of a byte from set 2 to set 1. */
uint8_t keymap_translate (uint8_t byte);

extern const TnField keyboard_fields[], mouse_fields[];
