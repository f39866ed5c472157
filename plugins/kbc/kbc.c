/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * 8042 keyboard controller of a PS/2 with keyboard and mouse, after IBM's Personal System/2
 * Hardware Interface Technical Reference and Intel's UPI-41/42 manual (290393).
 *
 *   60  data      R output buffer, W to the keyboard or the parameter of a command
 *   64  R status  bit 0 OBF, 2 SYS, 3 command written last, 4 not locked, 5 mouse, 6 timeout
 *       W command 20-3F/60-7F memory, A4-A9 password and mouse, AA AB tests, AD AE, C0 D0 D1 ports,
 *                 D2 D3 echo, D4 to the mouse, DD DF A20, E0 test inputs, F0-FF pulse
 *
 * IRQ 1 and IRQ 12 are high while a byte for them is in the output buffer, so that a guest sees
 * one edge a byte.  A byte of a device takes 600 us from the moment the buffer is free.  Answers
 * of the controller itself come at once, before any byte of a device: one that was not read yet
 * waits and is given again.
 *
 * Output port: bit 0 low pulses "cpu:init" (the PC's INIT#, which resets the processor alone, and
 * the BIOS looks at CMOS 0F for the reason); bit 1 is this chip's source of "cpu:a20", high after
 * reset.
 *
 * Departures: IBF is never seen set; no password; A20 is not pulsed by F0-FF; C1 and C2 do nothing.
 */
#include "kbc.h"

#include <string.h>

#define BYTE_NS (600 * TN_NS_PER_US)
#define MAX_AHEAD (10 * TN_NS_PER_S)

enum {
  STATUS_OBF = 0x01,
  STATUS_SYS = 0x04,
  STATUS_COMMAND = 0x08,
  STATUS_UNLOCKED = 0x10,
  STATUS_AUX = 0x20,
  STATUS_TIMEOUT = 0x40,

  CB_KBD_INT = 0x01,
  CB_AUX_INT = 0x02,
  CB_SYS = 0x04,
  CB_KBD_OFF = 0x10,
  CB_AUX_OFF = 0x20,
  CB_TRANSLATE = 0x40,

  P1_UNLOCKED = 0xbf, /* colour display, manufacturing jumper off */
  P2_RUN = 0x01,      /* low resets the processor */
  P2_A20 = 0x02,
  P2_IRQ1 = 0x10,
  P2_IRQ12 = 0x20,
  P2_RESET = 0xcf,

  CMD_READ_FIRST = 0x20,
  CMD_READ_LAST = 0x3f,
  CMD_WRITE_FIRST = 0x60,
  CMD_WRITE_LAST = 0x7f,
  CMD_PASSWORD_TEST = 0xa4,
  CMD_PASSWORD_LOAD = 0xa5,
  CMD_PASSWORD_ENABLE = 0xa6,
  CMD_AUX_OFF = 0xa7,
  CMD_AUX_ON = 0xa8,
  CMD_AUX_TEST = 0xa9,
  CMD_SELF_TEST = 0xaa,
  CMD_KBD_TEST = 0xab,
  CMD_KBD_OFF = 0xad,
  CMD_KBD_ON = 0xae,
  CMD_READ_P1 = 0xc0,
  CMD_READ_P2 = 0xd0,
  CMD_WRITE_P2 = 0xd1,
  CMD_ECHO_KBD = 0xd2,
  CMD_ECHO_AUX = 0xd3,
  CMD_WRITE_AUX = 0xd4,
  CMD_A20_OFF = 0xdd,
  CMD_A20_ON = 0xdf,
  CMD_READ_TEST = 0xe0,
  CMD_PULSE = 0xf0,

  NO_PASSWORD = 0xf1,
  SELF_TEST_PASSED = 0x55,
  TEST_PASSED = 0x00,
  CLOCK_STUCK_LOW = 0x01,
  TIMED_OUT = 0xfe,
  BREAK = 0xf0,
};

/* Whose byte the output buffer holds. */
enum { FROM_KBD, FROM_AUX, FROM_CONTROLLER, FROM_CONTROLLER_AUX, FROM_LAST_ = FROM_CONTROLLER_AUX };

enum { MOUSE_NONE, MOUSE_PLAIN, MOUSE_WHEEL, MOUSE_FIVE_BUTTONS };

typedef struct {
  TnDevice *device;
  uint32_t mouse_kind; /* property */
  TnLine *irq1, *irq12, *a20, *init;
  TnTimer *byte_timer, *device_timer;

  uint8_t ram[32]; /* the command byte is the first */
  bool obf, sys, last_was_command, timeout;
  uint8_t out, from;
  uint8_t p2;
  uint8_t expect;     /* command that waits for a byte at port 60h, or 0 */
  bool broke;         /* translation has swallowed F0 */
  bool aux_turn;      /* the keyboard had the last byte */
  bool given_back[2]; /* a byte of the keyboard or mouse that an answer pushed aside */
  uint8_t back[2];
  int64_t byte_at; /* when the next byte of a device arrives, or TN_TIME_NEVER */
  Keyboard keyboard;
  Mouse mouse;
} Kbc;

/* ---- Output buffer ---- */

static bool
from_aux (const Kbc *k)
{
  return k->from == FROM_AUX || k->from == FROM_CONTROLLER_AUX;
}

static void
update_irq (Kbc *k)
{
  tn_line_set (k->irq1, k->obf && !from_aux (k) && (k->ram[0] & CB_KBD_INT));
  tn_line_set (k->irq12, k->obf && from_aux (k) && (k->ram[0] & CB_AUX_INT));
}

static bool
kbd_waits (const Kbc *k)
{
  return !(k->ram[0] & CB_KBD_OFF) && (k->given_back[FROM_KBD] || keyboard_ready (&k->keyboard));
}

static bool
aux_waits (const Kbc *k)
{
  return !(k->ram[0] & CB_AUX_OFF) && (k->given_back[FROM_AUX] || mouse_ready (&k->mouse));
}

/* After every change: fetches the next byte when the buffer is free, and sets the timers. */
static void
schedule (Kbc *k)
{
  if (k->obf || !(kbd_waits (k) || aux_waits (k)))
    k->byte_at = TN_TIME_NEVER;
  else if (k->byte_at == TN_TIME_NEVER)
    k->byte_at = tn_device_now (k->device) + BYTE_NS;
  tn_timer_set (k->byte_timer, k->byte_at);
  tn_timer_set (k->device_timer, MIN (keyboard_wake (&k->keyboard), mouse_wake (&k->mouse)));
}

static void
set_output (Kbc *k, uint8_t byte, uint8_t from)
{
  k->out = byte;
  k->from = from;
  k->obf = true;
  k->timeout = false;
  update_irq (k);
}

/* An answer of the controller. */
static void
answer (Kbc *k, uint8_t byte, uint8_t from)
{
  if (k->obf && k->from <= FROM_AUX)
    {
      k->given_back[k->from] = true;
      k->back[k->from] = k->out;
    }
  k->obf = false; /* an edge for each byte */
  update_irq (k);
  set_output (k, byte, from);
}

static void
deliver_kbd (Kbc *k)
{
  if (k->given_back[FROM_KBD])
    {
      k->given_back[FROM_KBD] = false;
      set_output (k, k->back[FROM_KBD], FROM_KBD);
      return;
    }
  uint8_t byte = keyboard_take (&k->keyboard, tn_device_now (k->device));
  if (!(k->ram[0] & CB_TRANSLATE))
    {
      k->broke = false;
    }
  else if (byte == BREAK)
    {
      k->broke = true;
      return;
    }
  else
    {
      byte = keymap_translate (byte) | (k->broke ? 0x80 : 0);
      k->broke = false;
    }
  set_output (k, byte, FROM_KBD);
}

static void
deliver_aux (Kbc *k)
{
  if (k->given_back[FROM_AUX])
    {
      k->given_back[FROM_AUX] = false;
      set_output (k, k->back[FROM_AUX], FROM_AUX);
      return;
    }
  set_output (k, mouse_take (&k->mouse, tn_device_now (k->device)), FROM_AUX);
}

static void
byte_arrives (void *self, void *data)
{
  Kbc *k = self;
  bool kbd = kbd_waits (k), aux = aux_waits (k);
  k->byte_at = TN_TIME_NEVER;
  if (!k->obf && (kbd || aux))
    {
      k->aux_turn = kbd && !(aux && k->aux_turn);
      if (k->aux_turn)
        deliver_kbd (k);
      else
        deliver_aux (k);
    }
  schedule (k);
}

static void
device_wakes (void *self, void *data)
{
  Kbc *k = self;
  int64_t now = tn_device_now (k->device);
  keyboard_tick (&k->keyboard, now);
  mouse_tick (&k->mouse, now);
  schedule (k);
}

/* ---- The user ---- */

static void
user_key (void *self, unsigned key, bool down)
{
  Kbc *k = self;
  keyboard_key (&k->keyboard, key, down, tn_device_now (k->device));
  schedule (k);
}

static void
user_pointer (void *self, const TnPointerEvent *event)
{
  Kbc *k = self;
  if (k->mouse_kind == MOUSE_NONE)
    return;
  mouse_move (&k->mouse, event, tn_device_now (k->device));
  schedule (k);
}

static bool
keys_taken (void *self)
{
  const Kbc *k = self;
  return keyboard_idle (&k->keyboard) && !k->given_back[FROM_KBD] && !(k->obf && !from_aux (k));
}

/* ---- Commands ---- */

static void
set_p2 (Kbc *k, uint8_t value)
{
  k->p2 = value | P2_RUN; /* the processor's reset sets it again */
  tn_line_set (k->a20, k->p2 & P2_A20);
  if (!(value & P2_RUN))
    tn_line_pulse (k->init);
}

static void
to_keyboard (Kbc *k, uint8_t byte)
{
  uint8_t leds = k->keyboard.leds;
  k->ram[0] &= ~CB_KBD_OFF; /* the clock line is let go to send */
  k->given_back[FROM_KBD] = k->broke = false;
  keyboard_command (&k->keyboard, byte, tn_device_now (k->device));
  if (k->keyboard.leds != leds)
    tn_device_emit (k->device, "leds", k->keyboard.leds);
}

static void
to_mouse (Kbc *k, uint8_t byte)
{
  k->ram[0] &= ~CB_AUX_OFF;
  k->given_back[FROM_AUX] = false;
  if (k->mouse_kind == MOUSE_NONE)
    {
      answer (k, TIMED_OUT, FROM_CONTROLLER_AUX);
      k->timeout = true;
      return;
    }
  mouse_command (&k->mouse, byte, tn_device_now (k->device));
}

static void
write_command_byte (Kbc *k, uint8_t value)
{
  k->ram[0] = value;
  k->sys = value & CB_SYS;
  update_irq (k);
}

static void
self_test (Kbc *k)
{
  k->obf = false;
  k->given_back[FROM_KBD] = k->given_back[FROM_AUX] = k->broke = false;
  k->ram[0] = CB_KBD_OFF | CB_AUX_OFF;
  k->sys = true;
  answer (k, SELF_TEST_PASSED, FROM_CONTROLLER);
}

static void
port_command (Kbc *k, uint8_t command)
{
  switch (command)
    {
    case CMD_READ_P1: answer (k, P1_UNLOCKED, FROM_CONTROLLER); break;
    case CMD_READ_P2:
      answer (k,
              (k->p2 & ~(P2_IRQ1 | P2_IRQ12)) | (tn_line_level (k->irq1) ? P2_IRQ1 : 0)
                  | (tn_line_level (k->irq12) ? P2_IRQ12 : 0),
              FROM_CONTROLLER);
      break;
    case CMD_READ_TEST: /* both clock lines are high unless held down */
      answer (k, (k->ram[0] & CB_KBD_OFF ? 0 : 1) | (k->ram[0] & CB_AUX_OFF ? 0 : 2),
              FROM_CONTROLLER);
      break;
    case CMD_A20_OFF: set_p2 (k, k->p2 & ~P2_A20); break;
    case CMD_A20_ON: set_p2 (k, k->p2 | P2_A20); break;
    default:
      if (command >= CMD_PULSE && !(command & P2_RUN))
        tn_line_pulse (k->init);
    }
}

static void
control_command (Kbc *k, uint8_t command)
{
  switch (command)
    {
    case CMD_PASSWORD_TEST: answer (k, NO_PASSWORD, FROM_CONTROLLER); break;
    case CMD_PASSWORD_ENABLE: break;
    case CMD_AUX_OFF: k->ram[0] |= CB_AUX_OFF; break;
    case CMD_AUX_ON: k->ram[0] &= ~CB_AUX_OFF; break;
    case CMD_AUX_TEST:
      answer (k, k->mouse_kind == MOUSE_NONE ? CLOCK_STUCK_LOW : TEST_PASSED, FROM_CONTROLLER);
      break;
    case CMD_SELF_TEST: self_test (k); break;
    case CMD_KBD_TEST: answer (k, TEST_PASSED, FROM_CONTROLLER); break;
    case CMD_KBD_OFF: k->ram[0] |= CB_KBD_OFF; break;
    case CMD_KBD_ON: k->ram[0] &= ~CB_KBD_OFF; break;
    default:
      tn_device_log (k->device, TN_LOG_GUEST_ERROR, "command 0x%02x does not exist", command);
    }
}

static bool
takes_parameter (uint8_t command)
{
  return (command >= CMD_WRITE_FIRST && command <= CMD_WRITE_LAST) || command == CMD_PASSWORD_LOAD
         || (command >= CMD_WRITE_P2 && command <= CMD_WRITE_AUX);
}

static void
command_write (Kbc *k, uint8_t command)
{
  k->last_was_command = true;
  k->expect = takes_parameter (command) ? command : 0;
  if (k->expect)
    return;
  if (command >= CMD_READ_FIRST && command <= CMD_READ_LAST)
    answer (k, k->ram[command - CMD_READ_FIRST], FROM_CONTROLLER);
  else if (command >= CMD_READ_P1)
    port_command (k, command);
  else
    control_command (k, command);
  schedule (k);
}

static void
parameter (Kbc *k, uint8_t command, uint8_t value)
{
  switch (command)
    {
    case CMD_PASSWORD_LOAD: /* a string up to its NUL */ k->expect = value ? command : 0; break;
    case CMD_WRITE_P2: set_p2 (k, value); break;
    case CMD_ECHO_KBD: answer (k, value, FROM_CONTROLLER); break;
    case CMD_ECHO_AUX: answer (k, value, FROM_CONTROLLER_AUX); break;
    case CMD_WRITE_AUX: to_mouse (k, value); break;
    case CMD_WRITE_FIRST: write_command_byte (k, value); break;
    default: k->ram[command - CMD_WRITE_FIRST] = value;
    }
}

/* ---- Ports ---- */

static uint32_t
data_read (void *self, uint32_t offset, unsigned size)
{
  Kbc *k = self;
  if (k->obf)
    {
      k->obf = false;
      update_irq (k);
      schedule (k);
    }
  return k->out;
}

static void
data_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  Kbc *k = self;
  uint8_t command = k->expect;
  k->last_was_command = false;
  k->expect = 0;
  if (command)
    parameter (k, command, value);
  else
    to_keyboard (k, value);
  schedule (k);
}

static uint32_t
status_read (void *self, uint32_t offset, unsigned size)
{
  Kbc *k = self;
  return (k->obf ? STATUS_OBF : 0) | (k->sys ? STATUS_SYS : 0)
         | (k->last_was_command ? STATUS_COMMAND : 0) | STATUS_UNLOCKED
         | (k->obf && from_aux (k) ? STATUS_AUX : 0) | (k->timeout ? STATUS_TIMEOUT : 0);
}

static void
status_write (void *self, uint32_t offset, uint32_t value, unsigned size)
{
  command_write (self, value);
}

static const TnBusOps data_ops = { .read = data_read, .write = data_write, .max_size = 1 };
static const TnBusOps status_ops = { .read = status_read, .write = status_write, .max_size = 1 };

/* ---- Life cycle ---- */

static bool
kbc_realize (void *self, GError **error)
{
  Kbc *k = self;
  if (!tn_device_add_ports (k->device, 0x60, 1, &data_ops, TN_IO_FAST, error)
      || !tn_device_add_ports (k->device, 0x64, 1, &status_ops, TN_IO_FAST, error))
    return false;
  k->irq1 = tn_device_line (k->device, "isa:1");
  k->irq12 = tn_device_line (k->device, "isa:12");
  k->a20 = tn_device_line (k->device, "cpu:a20");
  k->init = tn_device_line (k->device, "cpu:init");
  k->byte_timer = tn_device_timer_new (k->device, "byte", byte_arrives, NULL);
  k->device_timer = tn_device_timer_new (k->device, "devices", device_wakes, NULL);
  tn_device_watch_input (k->device, user_key, user_pointer);
  tn_device_watch_typing (k->device, keys_taken);
  return true;
}

static void
kbc_reset (void *self)
{
  static const uint8_t max_id[] = { 0, 0, 3, 4 };
  Kbc *k = self;
  memset (k->ram, 0, sizeof k->ram);
  k->ram[0] = CB_KBD_OFF | CB_AUX_OFF;
  k->obf = k->sys = k->last_was_command = k->timeout = false;
  k->out = k->from = k->expect = 0;
  k->broke = k->aux_turn = false;
  k->given_back[FROM_KBD] = k->given_back[FROM_AUX] = false;
  k->back[FROM_KBD] = k->back[FROM_AUX] = 0;
  k->byte_at = TN_TIME_NEVER;
  keyboard_power_on (&k->keyboard);
  mouse_power_on (&k->mouse, max_id[k->mouse_kind]);
  set_p2 (k, P2_RESET);
  update_irq (k);
  schedule (k);
}

static bool
kbc_restored (void *self, GError **error)
{
  static const uint8_t max_id[] = { 0, 0, 3, 4 };
  Kbc *k = self;
  int64_t now = tn_device_now (k->device);
  if (k->from > FROM_LAST_ || !(k->p2 & P2_RUN) || (k->expect && !takes_parameter (k->expect))
      || (k->byte_at != TN_TIME_NEVER && k->byte_at > now + MAX_AHEAD))
    return tn_device_fail (k->device, error, TN_ERROR_STATE, "a register is out of range");
  if (!keyboard_valid (&k->keyboard, now))
    return tn_device_fail (k->device, error, TN_ERROR_STATE, "the keyboard is out of range");
  if (!mouse_valid (&k->mouse, now))
    return tn_device_fail (k->device, error, TN_ERROR_STATE, "the mouse is out of range");
  k->mouse.max_id = max_id[k->mouse_kind];
  tn_line_set (k->a20, k->p2 & P2_A20);
  update_irq (k);
  schedule (k);
  return true;
}

static const char *const mouse_kinds[] = { "none", "plain", "wheel", "five-buttons", NULL };

static const TnProperty properties[] = {
  TN_PROP_ENUM (Kbc, mouse_kind, "mouse", "what is plugged into the mouse's socket",
                MOUSE_FIVE_BUTTONS, mouse_kinds),
  TN_PROP_END,
};

static const TnSignal signals[] = {
  TN_SIGNAL_VALUE ("leds", "the guest set the lamps: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock"),
  TN_SIGNAL_END,
};

static const TnField fields[] = {
  TN_FIELD (Kbc, ram, 1),
  TN_FIELD (Kbc, obf, 1),
  TN_FIELD (Kbc, sys, 1),
  TN_FIELD (Kbc, last_was_command, 1),
  TN_FIELD (Kbc, timeout, 1),
  TN_FIELD (Kbc, out, 1),
  TN_FIELD (Kbc, from, 1),
  TN_FIELD (Kbc, p2, 1),
  TN_FIELD (Kbc, expect, 1),
  TN_FIELD (Kbc, broke, 1),
  TN_FIELD (Kbc, aux_turn, 1),
  TN_FIELD (Kbc, given_back, 1),
  TN_FIELD (Kbc, back, 1),
  TN_FIELD_TIME (Kbc, byte_at, 1),
  TN_FIELD_STRUCT (Kbc, keyboard, 1, keyboard_fields, 1),
  TN_FIELD_STRUCT (Kbc, mouse, 1, mouse_fields, 1),
  TN_FIELD_END,
};

static const TnIoDoc io[] = {
  { "60h", "data" },
  { "64h", "status (read), command (write)" },
  { "isa:1", "output: a byte of the keyboard" },
  { "isa:12", "output: a byte of the mouse" },
  { "cpu:a20", "output: output port bit 1" },
  { "cpu:init", "output: pulse of output port bit 0" },
  { NULL },
};

TN_PLUGIN_EXPORT const TnPlugin tn_plugin_1 = {
  TN_PLUGIN_HEADER,
  .name = "kbc",
  .summary = "8042 keyboard controller with PS/2 keyboard and mouse",
  .document = "IBM PS/2 Hardware Interface Technical Reference, Intel 290393",
  .kind = TN_KIND_DEVICE,
  .state_version = 1,
  .instance_size = sizeof (Kbc),
  .properties = properties,
  .signals = signals,
  .fields = fields,
  .io = io,
  .ops = { .realize = kbc_realize, .reset = kbc_reset, .restored = kbc_restored },
};
