/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of devices: saved states that somebody has tampered with are refused or harmless. */
#pragma once

#include <tenon/harness.h>

/* Changes a few bytes of the state at random and loads it; returns whether it was taken. */
static inline bool
load_tampered (TnHarness *h, GRand *rand)
{
  g_autoptr (GBytes) state = tn_harness_save (h);
  g_autoptr (GBytes) changed = NULL;
  g_autoptr (GError) error = NULL;
  gsize size;
  uint8_t *bytes = g_memdup2 (g_bytes_get_data (state, &size), g_bytes_get_size (state));
  unsigned n = g_rand_int_range (rand, 1, 8);
  size = g_bytes_get_size (state);
  for (unsigned i = 0; i < n; i++)
    {
      /* Sizes and offsets of the container lie at the end, most registers at the start. */
      gsize span = g_rand_boolean (rand) ? size : MIN (size, 4096);
      bytes[g_rand_int_range (rand, 0, span)] = g_rand_boolean (rand) ? g_rand_int (rand) : 0xff;
    }
  changed = g_bytes_new_take (bytes, size);
  return tn_harness_load (h, changed, &error);
}
