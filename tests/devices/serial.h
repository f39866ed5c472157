/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of character back ends: a serial port in front of one, as a guest uses it by polling.
 */
#pragma once

#include "../patience.h"
#include "roundtrip.h"

#include <string.h>

#define SERIAL_CHAR INT64_C (90000) /* a little more than a character at 115200 */

static inline void
serial_start (TnHarness *h)
{
  tn_harness_add (h, "com1", "uart16550a", "chardev", "back", NULL);
  tn_harness_start (h);
  tn_harness_out8 (h, 0x3fb, 0x03);
  tn_harness_out8 (h, 0x3fa, 0x07);
  tn_harness_clock_step (h, TN_NS_PER_MS);
  tn_harness_settle (h);
}

/* Returns how many characters went out before the port was stuck for a while. */
static inline unsigned
serial_send (TnHarness *h, const char *text, unsigned size)
{
  for (unsigned i = 0; i < size; i++)
    {
      for (unsigned wait = 0; !(tn_harness_in8 (h, 0x3fd) & 0x40); wait++)
        {
          if (wait == 20)
            return i;
          tn_harness_clock_step (h, SERIAL_CHAR);
          tn_harness_settle (h);
        }
      tn_harness_out8 (h, 0x3f8, text[i]);
    }
  tn_harness_clock_step (h, SERIAL_CHAR);
  tn_harness_settle (h);
  return size;
}

/* Reads until nothing has come for a while. */
static inline unsigned
serial_receive (TnHarness *h, char *text, unsigned room)
{
  unsigned got = 0;
  for (unsigned wait = 0; wait < 20 && got < room; wait++)
    {
      while ((tn_harness_in8 (h, 0x3fd) & 1) && got < room)
        {
          text[got++] = tn_harness_in8 (h, 0x3f8);
          wait = 0;
        }
      tn_harness_settle (h);
      tn_harness_clock_step (h, SERIAL_CHAR);
    }
  return got;
}

/* Reads as many as are on their way through the kernel, which takes its time. */
static inline unsigned
serial_expect (TnHarness *h, char *text, unsigned size)
{
  unsigned got = 0;
  WAIT_FOR ((got += serial_receive (h, text + got, size - got)) == size);
  return got;
}

/* Data carrier detect: is the peer there? */
static inline bool
serial_carrier (TnHarness *h)
{
  return tn_harness_in8 (h, 0x3fe) & 0x80;
}
