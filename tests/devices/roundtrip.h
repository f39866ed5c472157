/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests of devices: a swap, and a load of what was saved, leave the saved state as it was. */
#pragma once

#include <tenon/harness.h>

static inline void
roundtrip (TnHarness *h, const char *device)
{
  GError *error = NULL;
  g_autoptr (GBytes) before = tn_harness_save (h);
  bool swapped = tn_harness_swap (h, device, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (swapped);
  g_autoptr (GBytes) after_swap = tn_harness_save (h);
  g_assert_true (g_bytes_equal (before, after_swap));
  bool loaded = tn_harness_load (h, before, &error);
  g_assert_no_error (error);
  g_assert_true (loaded);
  g_autoptr (GBytes) after_load = tn_harness_save (h);
  g_assert_true (g_bytes_equal (before, after_load));
}
