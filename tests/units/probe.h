/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A plugin that does what the test wants: its operations call functions of the test program, whose
 * addresses come in the property "hooks" (tests only: a real plugin has its code with it).
 */
#pragma once

#include <tenon/tenon.h>

typedef struct Probe Probe;

typedef struct {
  bool (*realize) (Probe *p, GError **error);
  void (*unrealize) (Probe *p);
  void (*reset) (Probe *p);
  bool (*restored) (Probe *p, GError **error);
  void (*saving) (Probe *p);
  TnCharOps chars;   /* self: Probe */
  TnBlockOps blocks; /* self: Probe */
} ProbeHooks;

struct Probe {
  TnDevice *device;
  uint64_t hooks;
  const char *link;
  void *data[8];
  uint32_t state[8]; /* saved */
  int64_t when;      /* saved */
};
