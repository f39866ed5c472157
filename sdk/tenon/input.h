/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Input from the user: keys and a pointer, from whatever window, terminal or script the host has,
 * to the devices that watch (a keyboard controller, a USB keyboard).
 *
 * A key is a usage of the USB HID Usage Tables, page 7 (keyboard), the number of a place on the
 * keyboard and not of a character: TN_KEY_A is where a US keyboard has its A.
 */
#pragma once

#include <tenon/plugin.h>

G_BEGIN_DECLS
#pragma GCC visibility push(default)

typedef enum {
  TN_KEY_NONE = 0,
  TN_KEY_A = 0x04, TN_KEY_B, TN_KEY_C, TN_KEY_D, TN_KEY_E, TN_KEY_F, TN_KEY_G, TN_KEY_H, TN_KEY_I,
  TN_KEY_J, TN_KEY_K, TN_KEY_L, TN_KEY_M, TN_KEY_N, TN_KEY_O, TN_KEY_P, TN_KEY_Q, TN_KEY_R,
  TN_KEY_S, TN_KEY_T, TN_KEY_U, TN_KEY_V, TN_KEY_W, TN_KEY_X, TN_KEY_Y, TN_KEY_Z,
  TN_KEY_1, TN_KEY_2, TN_KEY_3, TN_KEY_4, TN_KEY_5, TN_KEY_6, TN_KEY_7, TN_KEY_8, TN_KEY_9,
  TN_KEY_0,
  TN_KEY_ENTER = 0x28,
  TN_KEY_ESCAPE,
  TN_KEY_BACKSPACE,
  TN_KEY_TAB,
  TN_KEY_SPACE,
  TN_KEY_MINUS,
  TN_KEY_EQUAL,
  TN_KEY_LEFT_BRACKET,
  TN_KEY_RIGHT_BRACKET,
  TN_KEY_BACKSLASH,
  TN_KEY_HASH, /* next to Enter on ISO keyboards */
  TN_KEY_SEMICOLON,
  TN_KEY_APOSTROPHE,
  TN_KEY_GRAVE,
  TN_KEY_COMMA,
  TN_KEY_PERIOD,
  TN_KEY_SLASH,
  TN_KEY_CAPS_LOCK,
  TN_KEY_F1, TN_KEY_F2, TN_KEY_F3, TN_KEY_F4, TN_KEY_F5, TN_KEY_F6, TN_KEY_F7, TN_KEY_F8,
  TN_KEY_F9, TN_KEY_F10, TN_KEY_F11, TN_KEY_F12,
  TN_KEY_PRINT_SCREEN,
  TN_KEY_SCROLL_LOCK,
  TN_KEY_PAUSE,
  TN_KEY_INSERT,
  TN_KEY_HOME,
  TN_KEY_PAGE_UP,
  TN_KEY_DELETE,
  TN_KEY_END,
  TN_KEY_PAGE_DOWN,
  TN_KEY_RIGHT,
  TN_KEY_LEFT,
  TN_KEY_DOWN,
  TN_KEY_UP,
  TN_KEY_NUM_LOCK,
  TN_KEY_KP_DIVIDE,
  TN_KEY_KP_MULTIPLY,
  TN_KEY_KP_SUBTRACT,
  TN_KEY_KP_ADD,
  TN_KEY_KP_ENTER,
  TN_KEY_KP_1, TN_KEY_KP_2, TN_KEY_KP_3, TN_KEY_KP_4, TN_KEY_KP_5, TN_KEY_KP_6, TN_KEY_KP_7,
  TN_KEY_KP_8, TN_KEY_KP_9,
  TN_KEY_KP_0,
  TN_KEY_KP_DECIMAL,
  TN_KEY_ISO_BACKSLASH, /* between left Shift and Z */
  TN_KEY_MENU,
  TN_KEY_POWER,
  TN_KEY_KP_EQUAL,
  TN_KEY_F13, TN_KEY_F14, TN_KEY_F15, TN_KEY_F16, TN_KEY_F17, TN_KEY_F18, TN_KEY_F19, TN_KEY_F20,
  TN_KEY_F21, TN_KEY_F22, TN_KEY_F23, TN_KEY_F24,
  TN_KEY_INTL_1 = 0x87, /* Ro */
  TN_KEY_INTL_2,        /* Katakana, Hiragana */
  TN_KEY_INTL_3,        /* Yen */
  TN_KEY_INTL_4,        /* Henkan */
  TN_KEY_INTL_5,        /* Muhenkan */
  TN_KEY_LANG_1 = 0x90, /* Hangul */
  TN_KEY_LANG_2,        /* Hanja */
  TN_KEY_LEFT_CTRL = 0xe0,
  TN_KEY_LEFT_SHIFT,
  TN_KEY_LEFT_ALT,
  TN_KEY_LEFT_GUI,
  TN_KEY_RIGHT_CTRL,
  TN_KEY_RIGHT_SHIFT,
  TN_KEY_RIGHT_ALT,
  TN_KEY_RIGHT_GUI,
  TN_KEY_LAST = TN_KEY_RIGHT_GUI,
} TnKey;

typedef enum {
  TN_BUTTON_LEFT = 1 << 0,
  TN_BUTTON_RIGHT = 1 << 1,
  TN_BUTTON_MIDDLE = 1 << 2,
  TN_BUTTON_SIDE = 1 << 3,  /* "back" */
  TN_BUTTON_EXTRA = 1 << 4, /* "forward" */
} TnButtons;

/* What happened to the pointer since the last event; buttons are those that are down now. */
typedef struct {
  int32_t dx, dy; /* right and down are positive; counts of a mouse, about 4 a millimetre */
  int32_t wheel;  /* notches; away from the user is positive */
  uint32_t buttons;
} TnPointerEvent;

/* key: a value of TnKey; hosts may send numbers that the device does not know. */
typedef void (*TnKeyFunc) (void *self, unsigned key, bool down);
typedef void (*TnPointerFunc) (void *self, const TnPointerEvent *event);
/* Tells the device of the user's input from now on.  Either function may be NULL. */
void tn_device_watch_input (TnDevice *device, TnKeyFunc key, TnPointerFunc pointer);
/* Has the guest taken the keys that it was given?  A text is typed no faster than all devices that
   watch say so; single keys do not wait.  Called with the machine's lock, some hundred times a second
   while a text is typed. */
typedef bool (*TnTypingFunc) (void *self);
void tn_device_watch_typing (TnDevice *device, TnTypingFunc taken);

/* ---- The host's side: windows, terminals, servers ---- */

/* A key of the user's keyboard.  The core knows which keys a device holds down: one that is down is
   let go when the device ends or calls tn_device_release_keys () (the window lost its focus). */
void tn_device_send_key (TnDevice *device, TnKey key, bool down);
/* The same for a key known by what it stands for: an X keysym.  The core looks up where the
   machine's keyboard layout has it, with Shift or AltGr as needed. */
void tn_device_send_keysym (TnDevice *device, uint32_t keysym, bool down);
void tn_device_release_keys (TnDevice *device);
void tn_device_send_pointer (TnDevice *device, const TnPointerEvent *event);
/* Types a text (UTF-8, of any length; a line feed is Enter), as fast as the guest takes it. */
void tn_device_type (TnDevice *device, const char *text);

#pragma GCC visibility pop
G_END_DECLS
